//! Who is in a channel (feature `presence`), where its options have `presence = true`.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /ch/{channel}?presence` | 200 with the list |
//! | WebSocket `/ch/{channel}?presence` | the list first, then every change |
//! | WebSocket `/ch/{channel}?member={"name":"Zoe"}` | what the others are shown of this connection: a JSON object |
//! | `?presence` on a channel without the option | 404 |
//! | `?presence` without the right to it (`presence` of a key or token) | 403; 4403 where the token came in a message |
//!
//! | text | says |
//! | --- | --- |
//! | `{"type":"presence","channel":"a","users":1,"connections":3,"members":[…]}` | the list; without `members`: too many for one |
//! | `{"type":"join","channel":"a","user":"ann","connections":1,"info":{…},"users":1}` | a member has come |
//! | `{"type":"leave", …}` | a member has gone |
//!
//! A member is a `user` or, where nobody has said who it is, a `connection`. With more members than
//! `presence_list_max` there are only counts, once a second while they change; when it has become small enough again,
//! a list, and from then on changes:
//!
//! ```text
//!            more members than the list may have
//!   changes ─────────────────────────────────────▶ counts ──┐ at most one a second
//!      ▲                                             │  ▲───┘
//!      └───────────── the list, once ────────────────┘ few enough
//! ```
//!
//! Who has asked is a subscriber of the channel of the same name in a space of its own, so it costs sessions nothing.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::value::RawValue;

use super::PubSubOptions;
use crate::dialect::members::push_string;
use crate::dialect::permits::permit;
use crate::dialect::{bad_request, unavailable};
use crate::http::Response;
use crate::hub::{Context, Member, PresenceChange, PresenceView, Request, Ticket};
use crate::token::Action;
use crate::ws::{CloseCode, Message};

/// The space of those who have asked for changes.
const WATCHERS: &str = "presence";
/// Between two messages that tell how many there are.
const COUNTS_EVERY_MS: u64 = 1000;

/// What a client wants when it connects.
#[derive(Debug)]
pub(super) struct Wish {
    info: Option<String>,
    watches: bool,
}

impl Wish {
    /// Reads it from a request, before anything is subscribed.
    pub(super) fn read(
        cx: &mut Context<'_>,
        request: &Request<'_>,
        channel: &str,
        options: &PubSubOptions,
    ) -> Result<Self, Response> {
        let watches = request.query("presence").is_some();
        if watches && cx.presence(channel).is_none() {
            return Err(not_kept(cx));
        }
        let info = request.query("member");
        if let Some(info) = &info {
            let max = options.presence_info_bytes_max;
            if info.len() > max {
                let why = format!(
                    "`member` has {} bytes, at most {max} are allowed",
                    info.len()
                );
                return Err(bad_request(cx, &why));
            }
            let is_object =
                info.starts_with('{') && serde_json::from_str::<&RawValue>(info).is_ok();
            // It goes out as it came in, also where a line is a message.
            if !is_object || info.contains(char::is_control) {
                return Err(bad_request(
                    cx,
                    "`member` must be a JSON object on one line",
                ));
            }
        }
        Ok(Self { info, watches })
    }

    /// Once the session is subscribed.
    pub(super) fn grant(&self, cx: &mut Context<'_>, channel: &str) -> Result<(), Response> {
        if let Some(info) = &self.info
            && cx.presence(channel).is_some()
            && !cx.set_member_info(channel, info)
        {
            return Err(unavailable(
                "no room is left to keep who is in this channel",
            ));
        }
        if self.watches {
            permit(cx, Action::Presence, channel)?;
            cx.ask_presence(channel);
        }
        Ok(())
    }
}

/// The answer to `GET /ch/{channel}?presence`.
pub(super) fn page(cx: &mut Context<'_>, channel: &str, options: &PubSubOptions) -> Response {
    if let Err(refusal) = permit(cx, Action::Presence, channel) {
        return refusal;
    }
    match cx.presence(channel) {
        Some(view) => {
            let mut json = String::from("{");
            push_list(&mut json, channel, view, options.presence_list_max);
            Response::json(200, json).header("Cache-Control", "no-store")
        }
        None => not_kept(cx),
    }
}

fn not_kept(cx: &mut Context<'_>) -> Response {
    cx.count_refusal("presence_not_kept");
    Response::problem(
        404,
        "who is in this channel is not kept (option `presence` in [[pubsub.channels]])",
    )
}

/// Channels that are told of in counts, and when the next is due.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    /// With the timer that is under way.
    channels: HashMap<Box<str>, Option<Ticket>>,
    timers: HashMap<Ticket, Box<str>>,
}

impl Crowds {
    /// Somebody has come, gone, or asked.
    pub(super) fn changed(
        &mut self,
        cx: &mut Context<'_>,
        channel: &str,
        change: PresenceChange<'_>,
        list_max: usize,
    ) {
        let Some(view) = cx.presence(channel) else {
            return;
        };
        let is_crowd = view.len() > list_max;
        let mut text = String::from("{\"type\":");
        match change {
            PresenceChange::Joined(member) => push_change(&mut text, "join", channel, member, view),
            PresenceChange::Left(member) => push_change(&mut text, "leave", channel, member, view),
            PresenceChange::Asked => {
                push_typed_list(&mut text, channel, view, list_max);
                return self.welcome(cx, channel, &text, is_crowd);
            }
            _ => return,
        }
        if is_crowd || self.channels.contains_key(channel) {
            return self.arm(cx, channel);
        }
        if !Self::say(cx, channel, &text) {
            // Who could not be told gets the list as soon as there is room.
            self.arm(cx, channel);
        }
    }

    /// A session has asked: it gets the list, and what comes after.
    fn welcome(&mut self, cx: &mut Context<'_>, channel: &str, list: &str, is_crowd: bool) {
        let watchers = cx.space_named(WATCHERS);
        if let Err(why) = cx.subscribe_in(watchers, channel) {
            return cx.close(CloseCode::TRY_LATER, &why.to_string());
        }
        cx.send_text(list);
        if is_crowd {
            // It knows no names: changes mean nothing to it until there was a list.
            self.channels.entry(channel.into()).or_default();
        }
    }

    fn arm(&mut self, cx: &mut Context<'_>, channel: &str) {
        let armed = self.channels.entry(channel.into()).or_default();
        if armed.is_none() {
            let ticket = cx.timer_apart(COUNTS_EVERY_MS);
            *armed = Some(ticket);
            self.timers.insert(ticket, channel.into());
        }
    }

    /// A timer has come to its end; `false`: it is somebody else's.
    pub(super) fn elapsed(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        list_max: usize,
    ) -> bool {
        let Some(channel) = self.timers.remove(&ticket) else {
            return false;
        };
        self.channels.insert(channel.clone(), None);
        let Some(view) = cx.presence(&channel) else {
            return true;
        };
        let is_crowd = view.len() > list_max;
        let mut text = String::from("{\"type\":");
        push_typed_list(&mut text, &channel, view, list_max);
        let is_heard = !audience(cx, &channel).is_empty();
        if !is_heard || !is_crowd {
            self.channels.remove(&channel);
        }
        if is_heard && !Self::say(cx, &channel, &text) {
            self.arm(cx, &channel);
        }
        true
    }

    /// Sends to all who are told of changes. `false`: there is no room.
    fn say(cx: &mut Context<'_>, channel: &str, text: &str) -> bool {
        let audience = audience(cx, channel);
        audience.is_empty() || cx.send_many(&audience, Message::Text(text)).is_ok()
    }
}

/// Those who have asked; all subscribers, where the options say so.
fn audience(cx: &mut Context<'_>, channel: &str) -> Vec<crate::hub::ConnId> {
    let watchers = cx.space_named(WATCHERS);
    let mut ids = cx.subscriber_ids(watchers, channel);
    if cx.channel_options(channel).join_leave == Some(true) {
        ids.extend(cx.subscriber_ids(cx.space(), channel));
    }
    ids
}

fn push_change(
    text: &mut String,
    kind: &str,
    channel: &str,
    member: Member<'_>,
    view: PresenceView<'_>,
) {
    _ = write!(text, "\"{kind}\",\"channel\":");
    push_string(text, channel);
    text.push(',');
    push_member(text, member);
    _ = write!(text, ",\"users\":{}}}", view.users());
}

fn push_typed_list(text: &mut String, channel: &str, view: PresenceView<'_>, list_max: usize) {
    text.push_str("\"presence\",");
    push_list(text, channel, view, list_max);
}

fn push_list(text: &mut String, channel: &str, view: PresenceView<'_>, list_max: usize) {
    text.push_str("\"channel\":");
    push_string(text, channel);
    let (users, connections) = (view.users(), view.connections());
    _ = write!(text, ",\"users\":{users},\"connections\":{connections}");
    if view.len() <= list_max {
        text.push_str(",\"members\":[");
        for (at, member) in view.members().enumerate() {
            text.push_str(if at > 0 { ",{" } else { "{" });
            push_member(text, member);
            text.push('}');
        }
        text.push(']');
    }
    text.push('}');
}

fn push_member(text: &mut String, member: Member<'_>) {
    match member.user {
        Some(user) => {
            text.push_str("\"user\":");
            push_string(text, user);
        }
        None => _ = write!(text, "\"connection\":\"{}\"", member.id),
    }
    _ = write!(text, ",\"connections\":{}", member.connections);
    if let Some(info) = member.info {
        _ = write!(text, ",\"info\":{info}");
    }
}
