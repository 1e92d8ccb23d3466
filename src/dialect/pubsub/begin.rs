//! Where a subscriber begins: with what comes, with what is kept, or behind what it has seen.

use std::fmt::Write;

use super::wanted::{Wanted, wanted};
use super::{CHANNEL, patterns};
use crate::dialect::begin;
use crate::dialect::members::push_string;
use crate::hub::{Context, Joined, Position, Request, Start, Stream};
use crate::token::Action;

/// Where a subscriber wants to begin, as its query says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) start: Start,
    /// It wants to know where publications stand.
    pub(super) wants_positions: bool,
    /// It is over with the first messages.
    pub(super) polls: bool,
}

impl Begin {
    /// `since=POSITION`, `rewind=N`, `rewind=30s`, `rewind=all`; `positions`. One who `comes_back` by plain HTTP says it in a
    /// header, and that counts, because the URL is still the one of the first time.
    ///
    /// # Errors
    /// What is wrong with it, never what it says.
    pub(super) fn read(request: &Request<'_>, comes_back: bool) -> Result<Self, String> {
        let wanted = comes_back.then(|| wanted(request));
        let polls = matches!(wanted, Some(Wanted::Stream(Stream::Poll { .. })));
        // Of a pattern no position is given out.
        let has_positions = !request.param(CHANNEL).is_some_and(patterns::is_one);
        if comes_back
            && has_positions
            && let Some(seen) = last_seen(request)
        {
            return Ok(Self {
                start: Start::Position(seen),
                wants_positions: true,
                polls,
            });
        }
        let since = request.query("since");
        let rewind = request.query("rewind");
        let wants_positions = since.is_some()
            || request.query("positions").is_some()
            || wanted == Some(Wanted::Stream(Stream::Envelopes));
        let start = match (since, rewind) {
            (None, None) => Start::Now,
            (Some(_), Some(_)) => {
                return Err(begin::BOTH.into());
            }
            (Some(since), None) => match since.parse() {
                Ok(position) => Start::Position(position),
                Err(why) => return Err(format!("`since`: {why}")),
            },
            (None, Some(rewind)) => begin::rewind_from(&rewind).ok_or(begin::NO_REWIND)?,
        };
        Ok(Self {
            start,
            wants_positions,
            polls,
        })
    }

    /// What one has to be allowed for it.
    pub(super) fn actions(self) -> &'static [Action] {
        begin::actions(self.start)
    }

    /// Whether it is told where it stands, so that it can go on from there. Without a history a poll begins anew each
    /// time: its channel may end with its answer, and every position would be one of another life.
    pub(super) fn has_cursor(&self, cx: &Context<'_>, channel: &str) -> bool {
        !patterns::is_one(channel) && (!self.polls || cx.keeps(channel))
    }

    /// Where to begin, for one who may do what it may.
    pub(super) fn start_in(&self, cx: &Context<'_>, channel: &str) -> Start {
        if self.has_cursor(cx, channel) {
            begin::permitted(self.start, cx.may(Action::History, channel))
        } else {
            Start::Now
        }
    }
}

/// What a browser says that comes back for events (`Last-Event-ID`), or a client that asks whether there is something new
/// (`If-None-Match`, RFC 9110 §13.1.2). If we have never said that, it is from another life: there is a gap, and no reason
/// to refuse, which an `EventSource` would take as final.
fn last_seen(request: &Request<'_>) -> Option<Position> {
    let seen = request
        .header("Last-Event-ID")
        .map(str::to_owned)
        .or_else(|| request.query("lastEventId"))
        .or_else(|| request.header("If-None-Match").map(str::to_owned))
        .filter(|seen| !seen.is_empty())?;
    let tag = seen.trim().trim_start_matches("W/").trim_matches('"');
    Some(tag.parse().unwrap_or(Position::UNKNOWN))
}

/// The first message to a subscriber that wants positions.
pub(super) fn subscribed(channel: &str, joined: Joined) -> String {
    let mut json = String::from("{\"type\":\"subscribed\",\"channel\":");
    push_string(&mut json, channel);
    _ = write!(json, ",\"position\":\"{}\"", joined.position);
    if let Some(recovered) = joined.recovered {
        _ = write!(json, ",\"recovered\":{recovered}");
    }
    json.push('}');
    json
}
