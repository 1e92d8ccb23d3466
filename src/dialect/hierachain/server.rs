//! Server mode: what the program itself speaks, text for text.
//!
//! | command (`type`) | answer |
//! | --- | --- |
//! | `subscribe` | `subscribed` with `chain_name` and `event_types` as they were sent |
//! | `unsubscribe` | `unsubscribed` |
//! | `ping` | `pong` with `timestamp` as it was sent, or null |
//! | `get_stats` | `stats` |
//! | `get_connection_info` | `connection_info` |
//! | another, or none | error `Unknown message type: …` |
//!
//! `subscribe` may also say of positions what `recovery.rs` lists. A refused subscription changes nothing: the one before stays.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::value::RawValue;

use super::commands::Command;
use super::recovery::{self, Wish};
use super::state::{Member, Mode, Tally, Topic, channel};
use super::status::push_stats;
use super::{ALL, HieraChainOptions};
use crate::dialect::bad_message;
use crate::dialect::members::{items, push_string, string};
use crate::hub::{Context, SubscribeError, check_channel_name};
use crate::time::Now;

/// The answer to what the program does not expect at all.
pub(super) const INTERNAL_ERROR: &str = "An internal error occurred";
const FAILED: &str = "Failed to subscribe";

/// Greets a session and starts its keep-alive.
pub(super) fn welcome(options: &HieraChainOptions, cx: &mut Context<'_>, member: &Member) {
    let text = format!(
        "{{\"type\":\"connected\",\"connection_id\":\"{}\",\
         \"message\":\"Connected to HieraChain WebSocket\",\"chain_name\":{}}}",
        member.id_hex(),
        chain_json(member)
    );
    cx.send_text(&text);
    arm(options, cx);
}

/// Sends the keep-alive and asks for the next one.
pub(super) fn keep_alive(options: &HieraChainOptions, cx: &mut Context<'_>) {
    let text = format!(
        "{{\"type\":\"ping\",\"timestamp\":\"{}\"}}",
        cx.now().iso_micros()
    );
    if cx.send_text(&text) {
        arm(options, cx);
    }
}

fn arm(options: &HieraChainOptions, cx: &mut Context<'_>) {
    if options.ping_ms > 0 {
        cx.timer(options.ping_ms);
    }
}

/// Carries a command out.
pub(super) fn command(
    options: &HieraChainOptions,
    tally: &mut Tally,
    connections: usize,
    cx: &mut Context<'_>,
    member: &mut Member,
    command: &Command<'_>,
) {
    let kind = command.kind.map_or(Cow::Borrowed(""), |raw| {
        name(raw).unwrap_or(Cow::Borrowed(raw.get()))
    });
    match &*kind {
        "subscribe" => subscribe(tally, cx, member, command),
        "unsubscribe" => {
            // To drop subscriptions needs no room, so this cannot fail.
            _ = select(tally, cx, member, Selection::default());
            cx.send_text(r#"{"type":"unsubscribed","message":"Unsubscribed from all channels"}"#);
        }
        "ping" => {
            let timestamp = command.timestamp.map_or("null", RawValue::get);
            cx.send_text(&format!("{{\"type\":\"pong\",\"timestamp\":{timestamp}}}"));
        }
        "get_stats" => {
            let mut text = String::from("{\"type\":\"stats\",\"data\":");
            push_stats(&mut text, options, tally, connections);
            text.push('}');
            cx.send_text(&text);
        }
        "get_connection_info" => send_connection_info(cx, member),
        unknown => bad_message(cx, &format!("Unknown message type: {unknown}")),
    }
}

fn subscribe(tally: &mut Tally, cx: &mut Context<'_>, member: &mut Member, command: &Command<'_>) {
    let selection = match Selection::read(command.chain_name, command.event_types) {
        Ok(selection) => selection,
        Err(why) => return bad_message(cx, why),
    };
    let wish = match Wish::read(cx, Mode::Server, &selection.topics, command) {
        Ok(wish) => wish,
        Err(why) => return bad_message(cx, &format!("{FAILED}: {why}")),
    };
    if select(tally, cx, member, selection).is_err() {
        return bad_message(cx, FAILED);
    }
    let positions = recovery::begin(cx, Mode::Server, &member.topics, wish.as_ref());
    cx.send_text(&format!(
        "{{\"type\":\"subscribed\",\"chain_name\":{},\"event_types\":{}{positions}}}",
        command.chain_name.map_or(ALL_JSON, RawValue::get),
        command.event_types.map_or("[]", RawValue::get),
    ));
}

fn send_connection_info(cx: &mut Context<'_>, member: &Member) {
    let mut text = String::from("{\"type\":\"connection_info\",\"data\":{");
    _ = write!(
        text,
        "\"connection_id\":\"{}\",\"chain_name\":{},\"event_types\":[{}],\"subscribed_at\":\"{}\",\"metadata\":{{}}}}}}",
        member.id_hex(),
        chain_json(member),
        member.types_json,
        Now::new(0, member.since_unix_ms).iso_micros(),
    );
    cx.send_text(&text);
}

fn chain_json(member: &Member) -> &str {
    if member.chain_json.is_empty() {
        ALL_JSON
    } else {
        &member.chain_json
    }
}

/// What a server-mode session listens to.
#[derive(Default)]
pub(super) struct Selection {
    topics: Vec<Topic>,
    chain_json: String,
    types_json: String,
}

impl Selection {
    /// A chain and none of its event types. The name has been checked.
    pub(super) fn whole_chain(chain: &str) -> Self {
        let mut chain_json = String::new();
        push_string(&mut chain_json, chain);
        Self {
            topics: chain_topic(chain).collect(),
            chain_json,
            types_json: String::new(),
        }
    }

    /// What a client asks for, or the text that refuses it.
    fn read(
        chain: Option<&RawValue>,
        event_types: Option<&RawValue>,
    ) -> Result<Self, &'static str> {
        let chain_json = chain.map_or(ALL_JSON, RawValue::get);
        if chain_json.starts_with(NESTED) {
            return Err(INTERNAL_ERROR);
        }
        let chain = chain.map_or(Some(Cow::Borrowed(ALL)), name).ok_or(FAILED)?;
        check_channel_name(&chain).map_err(|_| FAILED)?;
        let mut topics: Vec<_> = chain_topic(&chain).collect();
        let mut types_json = String::new();
        // What is no list counts as none.
        let list = event_types.filter(|types| types.get().starts_with('['));
        for item in list
            .map_or(Ok(Vec::new()), |list| items(list, EVENT_TYPES_MAX))
            .map_err(|_| FAILED)?
        {
            if item.get().starts_with(NESTED) {
                return Err(INTERNAL_ERROR);
            }
            let event_type = name(item).ok_or(FAILED)?;
            check_channel_name(&event_type).map_err(|_| FAILED)?;
            if !types_json.is_empty() {
                types_json.push(',');
            }
            types_json.push_str(item.get());
            // Only a string ever equals the type of an event.
            let is_string = item.get().starts_with('"');
            let is_new = || {
                topics
                    .iter()
                    .all(|t| t.event_type.as_deref() != Some(&*event_type))
            };
            if is_string && is_new() {
                topics.push(Topic::new(&chain, Some(&event_type)));
            }
        }
        Ok(Self {
            topics,
            chain_json: chain_json.to_owned(),
            types_json,
        })
    }
}

/// Puts a selection in the place of the session's last one. If there is no room for it the last one stays.
pub(super) fn select(
    tally: &mut Tally,
    cx: &mut Context<'_>,
    member: &mut Member,
    selection: Selection,
) -> Result<(), SubscribeError> {
    if let Err(why) = listen_to(cx, &selection.topics) {
        // What was dropped a moment ago still has its place: nobody else has had a turn since.
        _ = listen_to(cx, &member.topics);
        return Err(why);
    }
    tally.leave(&member.topics);
    tally.enter(&selection.topics);
    member.topics = selection.topics;
    member.chain_json = selection.chain_json.into();
    member.types_json = selection.types_json.into();
    member.since_unix_ms = cx.now().unix_ms;
    Ok(())
}

/// Leaves every channel but those of `topics` and joins those that are missing.
fn listen_to(cx: &mut Context<'_>, topics: &[Topic]) -> Result<(), SubscribeError> {
    let channels = topics.iter().map(|topic| topic.channel(Mode::Server));
    let channels: Vec<String> = channels.collect();
    // Borrowed, as chains are where they are sorted: one sort in the program is enough.
    let mut sorted: Vec<&str> = channels.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let space = cx.space();
    cx.unsubscribe_where(space, |name| sorted.binary_search(&name).is_err());
    for channel in sorted {
        cx.subscribe(channel)?;
    }
    Ok(())
}

/// The channel of a publication in this mode.
pub(super) fn audience(chain: &str, event_type: Option<&str>) -> String {
    channel(Mode::Server, chain, event_type)
}

fn chain_topic(chain: &str) -> impl Iterator<Item = Topic> {
    (chain != ALL).then(|| Topic::new(chain, None)).into_iter()
}

/// A string's text, if it has one; of another value the JSON itself, which is how the program prints it.
fn name(raw: &RawValue) -> Option<Cow<'_, str>> {
    if raw.get().starts_with('"') {
        string(raw)
    } else {
        Some(Cow::Borrowed(raw.get()))
    }
}

const ALL_JSON: &str = "\"all\"";
/// How an array or an object begins: the program cannot look such a value up.
const NESTED: [char; 2] = ['[', '{'];
/// Most event types of one subscription: as many as a session may have subscriptions by default.
const EVENT_TYPES_MAX: usize = 128;
