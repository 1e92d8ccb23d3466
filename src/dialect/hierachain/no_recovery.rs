//! What stands in for `recovery.rs` in a build without the feature `hierachain-history`: who asks for positions is told.

use super::commands::Command;
use super::state::{Mode, Topic};
use crate::dialect::has_room;
use crate::hub::Context;
use crate::ws::Message;

/// Nobody has one.
pub(super) enum Wish {}

impl Wish {
    pub(super) fn read(
        _: &mut Context<'_>,
        _: Mode,
        _: &[Topic],
        command: &Command<'_>,
    ) -> Result<Option<Self>, &'static str> {
        let asked = [command.since, command.rewind, command.positions];
        if asked.iter().any(Option::is_some) {
            return Err(
                "this build has no positions: build it with the feature `hierachain-history`",
            );
        }
        Ok(None)
    }
}

pub(super) fn begin(_: &mut Context<'_>, _: Mode, _: &[Topic], _: Option<&Wish>) -> String {
    String::new()
}

pub(super) fn keeps(_: &Context<'_>, _: &str) -> bool {
    false
}

/// Publishes each of the texts to its channels, or none of them; answers how many sessions get one.
pub(super) fn publish_all(
    cx: &mut Context<'_>,
    deliveries: &[(Vec<String>, String)],
) -> Result<usize, String> {
    let lengths: Vec<_> = deliveries.iter().map(|(_, text)| text.len()).collect();
    has_room(cx, &lengths)?;
    let space = cx.space();
    let mut delivered = 0;
    for (channels, text) in deliveries {
        let names: Vec<_> = channels.iter().map(String::as_str).collect();
        let published = cx
            .publish_in(space, &names, Message::Text(text))
            .map_err(|why| why.to_string())?;
        delivered += published.receivers;
    }
    Ok(delivered)
}
