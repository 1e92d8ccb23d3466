//! The application's view of an open WebSocket.

use std::fmt;

use super::channel::Subscription;
use super::encoding::Encoding;
use super::outboxes::Waits;

/// Names one session for good: the generation makes sure that a reused slot is never mistaken for the
/// session that lived there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    pub(crate) worker: u16,
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:x}-{:x}-{:x}",
            self.worker, self.index, self.generation
        )
    }
}

impl std::str::FromStr for ConnId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(());
        let id = Self {
            worker: u16::from_str_radix(next()?, 16).map_err(drop)?,
            index: u32::from_str_radix(next()?, 16).map_err(drop)?,
            generation: u32::from_str_radix(next()?, 16).map_err(drop)?,
        };
        if parts.next().is_some() {
            Err(())
        } else {
            Ok(id)
        }
    }
}

/// What the hub keeps per session. Small on purpose: ten thousand of them are idle most of the time.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) generation: u32,
    /// The server's key of the connection underneath.
    pub(crate) link: u32,
    pub(crate) route: u16,
    pub(crate) life: Life,
    /// On the hub's dirty list.
    pub(crate) dirty: bool,
    pub(crate) marks: Marks,
    /// How its messages are encoded.
    pub(crate) encoding: Encoding,
    pub(crate) bad_messages: u8,
    /// The minute they came in, of the last 256.
    pub(crate) bad_minute: u8,
    /// The last publication that reached it, so that one sent to several channels arrives once.
    pub(crate) stamp: u32,
    /// A word that belongs to the handler, for example a slab key.
    pub(crate) word: u64,
    pub(crate) subscriptions: Subscriptions,
    /// What waits to be written to it.
    pub(crate) waits: Waits,
}

/// What is the matter with a session at the moment, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks(u8);

impl Marks {
    /// The worker does not read from it.
    pub(crate) const HELD_BACK: Self = Self(1);
    /// It stands behind the head of some channel, and catches up.
    pub(crate) const FOLLOWS: Self = Self(2);
    /// It does not want all that its channels say.
    #[cfg(feature = "filters")]
    pub(crate) const FILTERS: Self = Self(4);

    #[inline]
    pub(crate) fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    pub(crate) fn set(&mut self, mark: Self, is_so: bool) {
        self.0 = if is_so {
            self.0 | mark.0
        } else {
            self.0 & !mark.0
        };
    }
}

/// How far a session's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    /// A close order is under way: nothing more is queued for it or taken from it.
    Leaving,
    /// Its handler has been told; what was queued before still drains.
    Ended,
}

impl Session {
    pub(crate) fn new(generation: u32, link: u32, route: u16) -> Self {
        Self {
            generation,
            link,
            route,
            life: Life::Open,
            dirty: false,
            marks: Marks::default(),
            encoding: Encoding::default(),
            bad_messages: 0,
            bad_minute: 0,
            stamp: 0,
            word: 0,
            subscriptions: Subscriptions::default(),
            waits: Waits::NOTHING,
        }
    }

    /// Its application has not been told of an end.
    pub(crate) fn is_open(&self) -> bool {
        self.life != Life::Ended
    }
}

/// A session's subscriptions: most have none or one, and those need no allocation.
#[derive(Debug, Default)]
pub(crate) enum Subscriptions {
    #[default]
    None,
    One(Subscription),
    #[expect(
        clippy::box_collection,
        reason = "a thin pointer keeps the enum at 16 bytes"
    )]
    Many(Box<Vec<Subscription>>),
}

impl Subscriptions {
    pub(crate) fn as_slice(&self) -> &[Subscription] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Subscription] {
        match self {
            Self::None => &mut [],
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(many) => many,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(crate) fn push(&mut self, subscription: Subscription) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(subscription),
            Self::One(one) => Self::Many(Box::new(vec![one, subscription])),
            Self::Many(mut many) => {
                many.push(subscription);
                Self::Many(many)
            }
        }
    }

    pub(crate) fn swap_remove(&mut self, at: usize) {
        match self {
            Self::None => {}
            Self::One(_) => *self = Self::None,
            Self::Many(many) => {
                many.swap_remove(at);
                if let [one] = many[..] {
                    *self = Self::One(one);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse() {
        let id = ConnId {
            worker: 1,
            index: 0xab,
            generation: 7,
        };
        assert_eq!(id.to_string(), "1-ab-7");
        assert_eq!("1-ab-7".parse(), Ok(id));
        for bad in ["", "1-ab", "1-ab-7-8", "1-ab-x", "fffff-1-1"] {
            assert_eq!(bad.parse::<ConnId>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn an_idle_session_is_small() {
        assert!(size_of::<Session>() <= 48, "{}", size_of::<Session>());
    }
}
