//! Where a subscriber begins: with what comes, with what is kept, or behind what it has seen.

use std::fmt::Write;

use crate::dialect::members::push_string;
use crate::hub::{Joined, Request, Start};
use crate::token::Action;

/// Where a subscriber wants to begin, as its query says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) start: Start,
    /// It wants to know where publications stand.
    pub(super) wants_positions: bool,
}

impl Begin {
    /// `since=POSITION`, `rewind=N`, `rewind=30s`, `rewind=all`; `positions`.
    ///
    /// # Errors
    /// What is wrong with it, never what it says.
    pub(super) fn read(request: &Request<'_>) -> Result<Self, String> {
        let since = request.query("since");
        let rewind = request.query("rewind");
        let wants_positions = since.is_some() || request.query("positions").is_some();
        let start = match (since, rewind) {
            (None, None) => Start::Now,
            (Some(_), Some(_)) => {
                return Err("either `since` or `rewind` says where to begin, not both".into());
            }
            (Some(since), None) => match since.parse() {
                Ok(position) => Start::Position(position),
                Err(why) => return Err(format!("`since`: {why}")),
            },
            (None, Some(rewind)) => rewind_from(&rewind)
                .ok_or("`rewind` is a number of messages, a time like 30s, 5m or 1h, or `all`")?,
        };
        Ok(Self {
            start,
            wants_positions,
        })
    }
}

impl Begin {
    /// What one has to be allowed for it. What was missed since a position belongs to the subscription; what was said
    /// before one came does not.
    pub(super) fn actions(self) -> &'static [Action] {
        match self.start {
            Start::Now | Start::Position(_) => &[Action::Subscribe],
            Start::Newest(_) | Start::Age(_) | Start::All => &[Action::Subscribe, Action::History],
        }
    }
}

/// `10`, `30s`, `5m`, `1h`, `all`.
fn rewind_from(text: &str) -> Option<Start> {
    if text == "all" {
        return Some(Start::All);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    if unit.is_empty() {
        return number.parse().ok().map(Start::Newest);
    }
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(Start::Age(number.checked_mul(unit_ms)?))
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
