//! Clients that come back (feature `hierachain-history`): what a `subscribe` may say of positions, and what it is told.
//!
//! | member of `subscribe`, in both vocabularies | means |
//! | --- | --- |
//! | `"positions":true` | from now on every block and event says where it stands |
//! | `"since":"POSITION"` | likewise, and first what came behind that, for a command that is one subscription |
//! | `"since":[{"chain_name":"sc","position":"…"},{"chain_name":"sc","event_type":"qc","position":"…"}]` | the same for each of its subscriptions; one that is not in the list begins now, and what is none of them is passed over |
//! | `"rewind":10`, `"30s"`, `"all"` | likewise, and first what is kept: so many, so old at most, all |
//!
//! **A position belongs to one subscription**: a chain, or one event type of it. A publication may be one of several, so it
//! says at its end where it stands in each, and the acknowledgement where each of its subscriptions begins:
//!
//! ```text
//!   ──▶ {"action":"subscribe","chain_name":"sc","since":"4f1c2a90.1.7a0d55e1"}
//!   ◀── {"type":"subscribed","chain_name":"sc","positions":[{"chain_name":"sc","position":"4f1c2a90.1.7a0d55e1","recovered":true}]}
//!   ◀── {"type":"new_block",…,"positions":[{"chain_name":"sc","position":"4f1c2a90.2.0c33b8f4","previous":"4f1c2a90.1.7a0d55e1"}]}
//! ```
//!
//! A client keeps the last position of each of its subscriptions and gives them back. What is not kept any more is said:
//! `"recovered":false`, and `{"type":"gap","missed":N}` in the place of what is missing. What two of its subscriptions have
//! comes once (`hub/follow/places.rs`). Who asks for nothing of this sees none of it: the session's other messages, and other
//! sessions, are as they were.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::value::RawValue;

use super::commands::Command;
use super::state::{Mode, TYPE_MARK, Topic};
use super::{ALL, HieraChain, HieraChainMode};
use crate::dialect::begin;
use crate::dialect::members::{is_array, items, members, push_string, string};
use crate::dialect::permits::PERMISSION;
use crate::hub::{ChannelOptions, Context, Placed, Position, Start};
use crate::token::Action;

/// Where a `subscribe` wants to begin, for one who wants positions.
pub(super) struct Wish<'a>(Begin<'a>);

enum Begin<'a> {
    /// Where it is, or now.
    Here,
    Behind(Position),
    BehindEach(Vec<Seen<'a>>),
    Rewind(Start),
}

/// A position with the subscription that it belongs to.
struct Seen<'a> {
    chain: Cow<'a, str>,
    event_type: Option<Cow<'a, str>>,
    position: Position,
}

impl<'a> Wish<'a> {
    /// What a command says that is for these subscriptions; `None`: nothing of positions.
    ///
    /// # Errors
    /// What is wrong with it, never what it says.
    pub(super) fn read(
        cx: &mut Context<'_>,
        mode: Mode,
        topics: &[Topic],
        command: &Command<'a>,
    ) -> Result<Option<Self>, String> {
        let wants = match command.positions.map(RawValue::get) {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err("`positions` is true or false".into()),
        };
        let begin = match (command.since, command.rewind) {
            (None, None) if !wants => return Ok(None),
            (None, None) => Begin::Here,
            (Some(_), Some(_)) => return Err(begin::BOTH.into()),
            (Some(since), None) if is_array(since) => Begin::BehindEach(seen_in(since)?),
            (Some(_), None) if topics.len() != 1 => return Err(SEVERAL.into()),
            (Some(since), None) => Begin::Behind(position(since)?),
            (None, Some(rewind)) => {
                let text = string(rewind).unwrap_or(Cow::Borrowed(rewind.get()));
                let start = begin::rewind_from(&text).ok_or(begin::NO_REWIND)?;
                let wants_history = begin::actions(start).contains(&Action::History);
                if wants_history && !topics.iter().all(|topic| may_read(cx, mode, topic)) {
                    cx.count_refusal(PERMISSION);
                    return Err(NOT_ALLOWED.into());
                }
                Begin::Rewind(start)
            }
        };
        Ok(Some(Self(begin)))
    }

    fn start(&self, topic: &Topic) -> Option<Start> {
        match &self.0 {
            Begin::Here => None,
            Begin::Behind(position) => Some(Start::Position(*position)),
            Begin::Rewind(start) => Some(*start),
            Begin::BehindEach(list) => {
                let is_it = |seen: &&Seen<'_>| {
                    *seen.chain == *topic.chain
                        && seen.event_type.as_deref() == topic.event_type.as_deref()
                };
                let last = list.iter().rfind(is_it)?;
                Some(Start::Position(last.position))
            }
        }
    }
}

/// Lets a session begin where its command says, in subscriptions that it has by now. Answers what the acknowledgement
/// says at its end: nothing, if the command says nothing.
pub(super) fn begin(
    cx: &mut Context<'_>,
    mode: Mode,
    topics: &[Topic],
    wish: Option<&Wish<'_>>,
) -> String {
    let wants = match wish {
        Some(_) => cx.want_places(),
        None => cx.wants_places(),
    };
    let mut said = String::new();
    if !wants {
        return said;
    }
    for topic in topics {
        let start = wish.and_then(|wish| wish.start(topic));
        let start = start.map(|start| begin::permitted(start, may_read(cx, mode, topic)));
        let Some(joined) = cx.begin_placed(&topic.channel(mode), start) else {
            continue;
        };
        said.push_str(if said.is_empty() { "{" } else { ",{" });
        push_label(&mut said, &topic.chain, topic.event_type.as_deref());
        _ = write!(said, ",\"position\":\"{}\"", joined.position);
        if let Some(recovered) = joined.recovered {
            _ = write!(said, ",\"recovered\":{recovered}");
        }
        said.push('}');
    }
    match wish {
        Some(_) => format!(",\"positions\":[{said}]"),
        None => String::new(),
    }
}

/// What was said in a chain, or in every one, may be told.
fn may_read(cx: &Context<'_>, mode: Mode, topic: &Topic) -> bool {
    let may = match mode {
        Mode::Guide if *topic.chain == *ALL => cx.may_all(Action::History, ""),
        _ => cx.may(Action::History, &topic.chain),
    };
    may || cx.may(Action::Admin, "")
}

fn seen_in(list: &RawValue) -> Result<Vec<Seen<'_>>, String> {
    let list = items(list, SINCE_MAX).map_err(|_| NO_SINCE)?;
    let seen = list.into_iter().map(|item| {
        let [chain, event_type, at] =
            members(item.get(), ["chain_name", "event_type", "position"]).map_err(|_| NO_SINCE)?;
        let event_type = match event_type {
            Some(event_type) => Some(string(event_type).ok_or(NO_SINCE)?),
            None => None,
        };
        Ok(Seen {
            chain: chain.and_then(string).ok_or(NO_SINCE)?,
            event_type,
            position: position(at.ok_or(NO_SINCE)?)?,
        })
    });
    seen.collect()
}

fn position(raw: &RawValue) -> Result<Position, String> {
    let text = string(raw).ok_or(NO_SINCE)?;
    text.parse().map_err(|why| format!("`since`: {why}"))
}

/// How a subscription is named in `positions`.
fn push_label(out: &mut String, chain: &str, event_type: Option<&str>) {
    out.push_str("\"chain_name\":");
    push_string(out, chain);
    if let Some(event_type) = event_type {
        out.push_str(",\"event_type\":");
        push_string(out, event_type);
    }
}

/// The same by the name of its channel.
fn label_of(channel: &str) -> String {
    let topic = channel.get(1..).unwrap_or_default();
    let (chain, event_type) = match topic.split_once(TYPE_MARK) {
        Some((chain, event_type)) => (chain, Some(event_type)),
        None => (topic, None),
    };
    let mut label = String::new();
    push_label(&mut label, chain, event_type);
    label
}

/// Whether what is published there is kept, so that it is published even if nobody hears it.
pub(super) fn keeps(cx: &Context<'_>, channel: &str) -> bool {
    cx.keeps(channel)
}

/// Publishes each of the texts to its channels, or none of them; answers how many sessions get one.
pub(super) fn publish_all(
    cx: &mut Context<'_>,
    deliveries: &[(Vec<String>, String)],
) -> Result<usize, String> {
    let labels: Vec<Vec<String>> = deliveries
        .iter()
        .map(|(channels, _)| channels.iter().map(|channel| label_of(channel)).collect())
        .collect();
    let placed: Vec<(Vec<Placed<'_>>, &str)> = deliveries
        .iter()
        .zip(&labels)
        .map(|((channels, text), labels)| {
            let both = channels.iter().zip(labels);
            let placed = both.map(|(channel, label)| Placed { channel, label });
            (placed.collect(), text.as_str())
        })
        .collect();
    let all: Vec<_> = placed.iter().map(|(to, text)| (&to[..], *text)).collect();
    cx.has_room_for_placed(&all)
        .map_err(|why| why.to_string())?;
    let mut delivered = 0;
    for (to, text) in all {
        let published = cx.publish_placed(to, text);
        delivered += published.map_err(|why| why.to_string())?.receivers;
    }
    Ok(delivered)
}

impl HieraChain {
    /// Options of chains, by the names of chains, as options of the channels that this dialect has for them, each in the
    /// vocabularies that it speaks: for [`RouteSettings::channels`](crate::server::RouteSettings).
    ///
    /// ```
    /// use dunlin::dialect::{HieraChain, HieraChainMode};
    /// use dunlin::hub::ChannelOptions;
    /// let chains = [ChannelOptions::of("orders*").history_messages_max(100)];
    /// let channels = HieraChain::channels_of(&chains, HieraChainMode::Auto);
    /// # assert_eq!(channels.len(), 2);
    /// ```
    pub fn channels_of(chains: &[ChannelOptions], mode: HieraChainMode) -> Vec<ChannelOptions> {
        let modes: &[Mode] = match mode {
            HieraChainMode::Auto => &[Mode::Server, Mode::Guide],
            HieraChainMode::Guide => &[Mode::Guide],
            HieraChainMode::Server => &[Mode::Server],
        };
        let mut channels = Vec::new();
        for (mode, options) in modes
            .iter()
            .flat_map(|m| chains.iter().map(move |c| (m, c)))
        {
            let whole = format!("{}{}", mode.letter(), options.names);
            // The beginning of chains is that of their event types too.
            let typed = (!whole.ends_with('*')).then(|| format!("{whole}{TYPE_MARK}*"));
            for names in std::iter::once(whole).chain(typed) {
                let mut options = options.clone();
                options.names = names;
                channels.push(options);
            }
        }
        channels
    }
}

const NOT_ALLOWED: &str =
    "your key or token does not allow to read what was said in this chain before";
const SEVERAL: &str =
    "`since` is one position, and this command is not one subscription: give a list of them";
const NO_SINCE: &str = "`since` is a position, or a list of objects as they stand in `positions`";
/// More than a session may have subscriptions: a client may give back what it has of all chains.
pub(super) const SINCE_MAX: usize = 1024;
