//! The closing handshake: its codes, and who has sent what.
//!
//! The rule: each side sends one close frame and no data after it. Whoever receives the first one answers with the
//! same code. RFC 6455 §5.5.1, §7.1.

use std::fmt;

/// Why a connection closes. RFC 6455 §7.4.
///
/// What the server sends of its own accord are the constants below except [`NO_STATUS`](Self::NO_STATUS),
/// [`ABNORMAL`](Self::ABNORMAL) and [`EXTENSION`](Self::EXTENSION); what a peer may send is wider, see
/// [`may_be_sent`](Self::may_be_sent).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Done.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes away: shutdown, page left.
    pub const AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// A kind of data that is not accepted here.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Stands for a close frame without a code; never travels.
    pub const NO_STATUS: Self = Self(1005);
    /// Stands for a connection that ended without a close frame; never travels.
    pub const ABNORMAL: Self = Self(1006);
    /// Data that contradicts its kind, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// Against the rules of this server.
    pub const POLICY: Self = Self(1008);
    /// A message larger than allowed.
    pub const TOO_BIG: Self = Self(1009);
    /// A client misses an extension it needs.
    pub const EXTENSION: Self = Self(1010);
    /// The server met a condition it cannot handle.
    pub const INTERNAL: Self = Self(1011);
    /// The server restarts; come back.
    pub const RESTART: Self = Self(1012);
    /// The server is overloaded; come back later.
    pub const TRY_LATER: Self = Self(1013);
    /// Authentication missing.
    pub const AUTH_MISSING: Self = Self(4401);
    /// Authenticated, but not allowed.
    pub const FORBIDDEN: Self = Self(4403);
    /// The peer reads too slowly.
    pub const SLOW: Self = Self(4408);
    /// The peer sends too often.
    pub const RATE: Self = Self(4429);

    /// True for a code that may stand in a close frame. RFC 6455 §7.4.1, §7.4.2, and what IANA registered since.
    pub fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The code to echo for a received one: the same, where "no status" means an empty close frame. RFC 6455 §5.5.1.
pub fn echo_code(received: CloseCode) -> CloseCode {
    if received.may_be_sent() {
        received
    } else {
        CloseCode::NO_STATUS
    }
}

/// How far the closing handshake has come. RFC 6455 §7.1.2, §7.1.3.
///
/// ```text
///               send                     receive
///        ┌────────────────▶ Sent ────────────────────┐
///      Open                                          ▼
///        └────────────────▶ Received ──────────────▶ Done
///               receive                  send
/// ```
///
/// Every other pair leaves the state as it is and answers `false`: a close frame goes out once, and counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Closing {
    /// No close frame yet.
    #[default]
    Open,
    /// Ours went out, theirs is awaited.
    Sent,
    /// Theirs came, ours is due.
    Received,
    /// Both: the transport may close.
    Done,
}

impl Closing {
    /// A close frame is about to be sent: `true` if it may be, and then it counts as sent.
    pub fn send(&mut self) -> bool {
        let (next, may) = match *self {
            Self::Open => (Self::Sent, true),
            Self::Received => (Self::Done, true),
            Self::Sent | Self::Done => (*self, false),
        };
        *self = next;
        may
    }

    /// A close frame was received: `true` if it is the peer's first. If ours had not been sent, [`send`](Self::send)
    /// is now due with [`echo_code`].
    pub fn receive(&mut self) -> bool {
        let (next, first) = match *self {
            Self::Open => (Self::Received, true),
            Self::Sent => (Self::Done, true),
            Self::Received | Self::Done => (*self, false),
        };
        *self = next;
        first
    }

    /// No close frame has passed in either direction.
    pub fn is_open(self) -> bool {
        self == Self::Open
    }

    /// Both close frames have passed.
    pub fn is_done(self) -> bool {
        self == Self::Done
    }

    /// Data may go out until our own close frame does. RFC 6455 §5.5.1.
    pub fn may_send_data(self) -> bool {
        matches!(self, Self::Open | Self::Received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Closing::{Done, Open, Received, Sent};

    #[test]
    fn every_state_meets_every_event() {
        let table = [
            // before, after send, may, after receive, first
            (Open, Sent, true, Received, true),
            (Sent, Sent, false, Done, true),
            (Received, Done, true, Received, false),
            (Done, Done, false, Done, false),
        ];
        for (before, sent, may, received, first) in table {
            let mut state = before;
            assert_eq!((state.send(), state), (may, sent), "{before:?} send");
            let mut state = before;
            assert_eq!(
                (state.receive(), state),
                (first, received),
                "{before:?} receive"
            );
        }
    }

    #[test]
    fn every_state_says_what_it_allows() {
        // state, is_open, is_done, may_send_data
        for (state, open, done, data) in [
            (Open, true, false, true),
            (Sent, false, false, false),
            (Received, false, false, true),
            (Done, false, true, false),
        ] {
            assert_eq!(
                (state.is_open(), state.is_done(), state.may_send_data()),
                (open, done, data)
            );
        }
    }

    #[test]
    fn codes_that_may_travel() {
        let legal = |code: &u16| CloseCode(*code).may_be_sent();
        let ranges: Vec<u16> = (0..=u16::MAX).filter(legal).collect();
        let expected: Vec<u16> = (1000..=1003)
            .chain(1007..=1014)
            .chain(3000..=4999)
            .collect();
        assert_eq!(ranges, expected);
    }

    #[test]
    fn legal_codes_are_echoed_and_a_missing_one_by_an_empty_frame() {
        for code in 0..=u16::MAX {
            let expected = if CloseCode(code).may_be_sent() {
                code
            } else {
                1005
            };
            assert_eq!(echo_code(CloseCode(code)), CloseCode(expected));
        }
    }
}
