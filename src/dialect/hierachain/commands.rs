//! A client's message: is it a command, and in which vocabulary?

use serde_json::value::RawValue;

use super::state::{Mode, Shared};
use super::{guide, server};
use crate::dialect::bad_message;
use crate::dialect::members::{self, Malformed};
use crate::hub::Context;
use crate::ws::Message;

/// The members that any command of either vocabulary has.
pub(super) struct Command<'a> {
    pub(super) action: Option<&'a RawValue>,
    pub(super) kind: Option<&'a RawValue>,
    pub(super) chain_name: Option<&'a RawValue>,
    pub(super) event_type: Option<&'a RawValue>,
    pub(super) event_types: Option<&'a RawValue>,
    pub(super) timestamp: Option<&'a RawValue>,
    /// What `subscribe` may say of positions.
    pub(super) since: Option<&'a RawValue>,
    pub(super) rewind: Option<&'a RawValue>,
    pub(super) positions: Option<&'a RawValue>,
}

impl<'a> Command<'a> {
    fn read(text: &'a str) -> Result<Self, Malformed> {
        let keys = [
            "action",
            "type",
            "chain_name",
            "event_type",
            "event_types",
            "timestamp",
            "since",
            "rewind",
            "positions",
        ];
        let [
            action,
            kind,
            chain_name,
            event_type,
            event_types,
            timestamp,
            since,
            rewind,
            positions,
        ] = members::members(text, keys)?;
        Ok(Self {
            action,
            kind,
            chain_name,
            event_type,
            event_types,
            timestamp,
            since,
            rewind,
            positions,
        })
    }
}

/// One message of a session.
pub(super) fn on_message(shared: &mut Shared, cx: &mut Context<'_>, message: Message<'_>) {
    let Shared {
        options,
        members,
        tally,
    } = shared;
    let connections = members.len();
    let Some(member) = members.get_mut(cx) else {
        return;
    };
    let read = match message {
        Message::Text(text) => Command::read(text),
        Message::Binary(_) => Err(Malformed::NotObject),
    };
    let command = match read {
        Ok(command) => command,
        Err(Malformed::NotObject) if member.mode == Mode::Guide => {
            return bad_message(cx, guide::NOT_AN_OBJECT);
        }
        Err(Malformed::NotObject) => return bad_message(cx, server::INTERNAL_ERROR),
        Err(Malformed::NotJson | Malformed::TooDeep) => return bad_message(cx, "Invalid JSON"),
    };
    if member.mode == Mode::Undecided {
        if command.action.is_some() {
            member.mode = Mode::Guide;
        } else if command.kind.is_some() {
            member.mode = Mode::Server;
            member.since_unix_ms = cx.now().unix_ms;
            server::welcome(options, cx, member);
        }
    }
    match member.mode {
        Mode::Guide => guide::command(options, tally, cx, member, &command),
        // One that is still undecided has neither key: the program's answer to that fits.
        Mode::Server | Mode::Undecided => {
            server::command(options, tally, connections, cx, member, &command);
        }
    }
}
