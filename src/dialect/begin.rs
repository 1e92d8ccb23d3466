//! Where one may begin in a channel, for every dialect whose channels keep something.

use crate::hub::Start;
use crate::token::Action;

/// What one has to be allowed to begin there. What was missed since a position belongs to the subscription; what was said
/// before one came does not.
pub(super) fn actions(start: Start) -> &'static [Action] {
    match start {
        Start::Now | Start::Position(_) | Start::Seen(_) => &[Action::Subscribe],
        Start::Newest(_) | Start::Age(_) | Start::All => &[Action::Subscribe, Action::History],
    }
}

/// Where to begin, for one who may do what it may.
pub(super) fn permitted(start: Start, may_read_history: bool) -> Start {
    match start {
        // A position that nobody has given out would else open what only `history` may.
        Start::Position(seen) if !may_read_history => Start::Seen(seen),
        start => start,
    }
}

/// `10`, `30s`, `5m`, `1h`, `all`.
pub(super) fn rewind_from(text: &str) -> Option<Start> {
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

/// What a text is told that [`rewind_from`] does not understand.
pub(super) const NO_REWIND: &str =
    "`rewind` is a number of messages, a time like 30s, 5m or 1h, or `all`";
/// What one is told who says two places.
pub(super) const BOTH: &str = "either `since` or `rewind` says where to begin, not both";
