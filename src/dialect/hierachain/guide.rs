//! Guide mode: what the guide describes, and nothing it does not list.
//!
//! | command (`action`) | does | answer |
//! | --- | --- | --- |
//! | `subscribe` with `chain_name` | adds the chain: its blocks and events | none (`subscribed` with `acks`) |
//! | … and `event_type` | adds the events of that type | the same |
//! | `unsubscribe` with both | drops that pair | none (`unsubscribed` with `acks`) |
//! | … with `chain_name` | drops everything of the chain | the same |
//! | … with neither | drops everything | the same |
//! | `ping` | – | `pong` with Unix seconds |
//! | another | – | error `Unknown action: …` |
//!
//! `subscribe` may also say of positions what `recovery.rs` lists, and is then confirmed in any case.
//!
//! A `chain_name` that is missing, empty or no string, or an `event_type` that is no string, is an
//! `Invalid subscription`; where it is a limit that refuses, the reason follows. The chain `all` means every chain.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::commands::Command;
use super::recovery::{self, Wish};
use super::state::{Member, Mode, Tally, Topic, channel};
use super::{ALL, HieraChainOptions};
use crate::dialect::bad_message;
use crate::dialect::members::string;
use crate::hub::{Context, check_channel_name};

/// The answer to JSON that is no object, and to binary.
pub(super) const NOT_AN_OBJECT: &str = "A message must be a JSON object sent as text";
const INVALID: &str = "Invalid subscription";

/// Carries a command out.
pub(super) fn command(
    options: &HieraChainOptions,
    tally: &mut Tally,
    cx: &mut Context<'_>,
    member: &mut Member,
    command: &Command<'_>,
) {
    let action = command.action.map_or(Cow::Borrowed(""), |raw| {
        string(raw).unwrap_or(Cow::Borrowed(raw.get()))
    });
    match &*action {
        "subscribe" => {
            let Ok((Some(chain), event_type)) = fields(command) else {
                return bad_message(cx, INVALID);
            };
            let topic = Topic::new(&chain, event_type.as_deref());
            let only = std::slice::from_ref(&topic);
            let wish = match Wish::read(cx, Mode::Guide, only, command) {
                Ok(wish) => wish,
                Err(why) => return bad_message(cx, &format!("{INVALID}: {why}")),
            };
            if let Err(why) = subscribe(tally, cx, member, &topic) {
                return bad_message(cx, &why);
            }
            let positions = recovery::begin(cx, Mode::Guide, only, wish.as_ref());
            if options.acks || wish.is_some() {
                acknowledge(cx, "subscribed", command, &positions);
            }
        }
        "unsubscribe" => {
            let (chain, event_type) = match fields(command) {
                // A type of no chain: it is not clear what should go.
                Err(()) | Ok((None, Some(_))) => return bad_message(cx, INVALID),
                Ok(fields) => fields,
            };
            unsubscribe(tally, cx, member, chain.as_deref(), event_type.as_deref());
            if options.acks {
                acknowledge(cx, "unsubscribed", command, "");
            }
        }
        "ping" => {
            let text = format!(
                "{{\"type\":\"pong\",\"timestamp\":{}}}",
                cx.now().unix_seconds()
            );
            cx.send_text(&text);
        }
        unknown => bad_message(cx, &format!("Unknown action: {unknown}")),
    }
}

type Fields<'a> = (Option<Cow<'a, str>>, Option<Cow<'a, str>>);

/// `chain_name` and `event_type`, each a proper name if it is there at all.
fn fields<'a>(command: &Command<'a>) -> Result<Fields<'a>, ()> {
    let name = |raw: Option<&'a RawValue>| match raw {
        None => Ok(None),
        Some(raw) => {
            let name = string(raw).ok_or(())?;
            check_channel_name(&name).map_err(drop)?;
            Ok(Some(name))
        }
    };
    Ok((name(command.chain_name)?, name(command.event_type)?))
}

fn subscribe(
    tally: &mut Tally,
    cx: &mut Context<'_>,
    member: &mut Member,
    topic: &Topic,
) -> Result<(), String> {
    if cx
        .subscribe(&topic.channel(Mode::Guide))
        .map_err(|why| format!("{INVALID}: {why}"))?
    {
        tally.add(topic, &member.topics);
        member.topics.push(topic.clone());
    }
    Ok(())
}

fn unsubscribe(
    tally: &mut Tally,
    cx: &mut Context<'_>,
    member: &mut Member,
    chain: Option<&str>,
    event_type: Option<&str>,
) {
    let goes = |topic: &Topic| {
        chain.is_none_or(|chain| *topic.chain == *chain)
            && event_type.is_none_or(|event_type| topic.event_type.as_deref() == Some(event_type))
    };
    while let Some(at) = member.topics.iter().position(goes) {
        let topic = member.topics.remove(at);
        cx.unsubscribe(&topic.channel(Mode::Guide));
        tally.remove(&topic, &member.topics);
    }
}

fn acknowledge(cx: &mut Context<'_>, kind: &str, command: &Command<'_>, positions: &str) {
    let mut text = format!("{{\"type\":\"{kind}\"");
    for (key, value) in [
        ("chain_name", command.chain_name),
        ("event_type", command.event_type),
    ] {
        if let Some(value) = value {
            text += &format!(",\"{key}\":{}", value.get());
        }
    }
    text.push_str(positions);
    text.push('}');
    cx.send_text(&text);
}

/// The channels of a publication in this mode: the chain, every chain, and the same with its type.
pub(super) fn audience(chain: &str, event_type: Option<&str>) -> Vec<String> {
    let mut channels = vec![channel(Mode::Guide, chain, None)];
    if event_type.is_some() {
        channels.push(channel(Mode::Guide, chain, event_type));
    }
    if chain != ALL {
        channels.push(channel(Mode::Guide, ALL, None));
        if event_type.is_some() {
            channels.push(channel(Mode::Guide, ALL, event_type));
        }
    }
    channels
}
