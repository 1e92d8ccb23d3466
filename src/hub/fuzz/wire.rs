//! What a client sees, held against what was accepted for it. Knows frames and numbers, nothing of queues.

use super::super::SlowPolicy;
use crate::ws::FrameHeader;

/// The words of a gap marker.
pub(super) fn marker(missed: u32) -> String {
    format!("gap {missed}")
}

/// One session's side: what it was promised, and the bytes that went out.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) accepted: Vec<Accepted>,
    pub(super) bytes: Vec<u8>,
    /// It was closed for being slow after so many promises: what waited was thrown away.
    pub(super) cut_at: Option<usize>,
}

/// A message or a ping that the hub took for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    pub(super) number: u32,
    /// The life of the one channel it was published to.
    pub(super) epoch: Option<u32>,
    /// Its channel's policy, or the route's.
    pub(super) slow: SlowPolicy,
    pub(super) is_ping: bool,
}

impl Wire {
    /// All is written: in order, nothing twice, nothing missing but what its policy allows, and in front of each message
    /// markers have told of all that was dropped before it. They may tell of more: of what was dropped behind a message
    /// that had to stay.
    pub(super) fn check(&self) {
        let mut due = self.accepted.iter().enumerate();
        let (mut announced, mut missed) = (0, 0);
        let stays = |accepted: &Accepted| accepted.slow != SlowPolicy::DropOldest;
        let mixed = self.accepted.iter().any(|a| stays(a) && !a.is_ping);
        for event in events(&self.bytes) {
            let number = match event {
                Event::Gap(missed) => {
                    announced += missed;
                    continue;
                }
                Event::Close => continue,
                Event::Message(number) | Event::Ping(number) => number,
            };
            loop {
                let Some((at, accepted)) = due.next() else {
                    panic!("{number} came twice, out of order or out of nothing");
                };
                if accepted.number == number {
                    assert_eq!(matches!(event, Event::Ping(_)), accepted.is_ping);
                    break;
                }
                missed += self.missed(at);
            }
            let told = announced == missed || mixed && announced > missed;
            assert!(
                told || self.cut_at.is_some() || matches!(event, Event::Ping(_)),
                "the marker before {number} says {announced}, and {missed} are missing"
            );
        }
        for (at, _) in due {
            missed += self.missed(at);
        }
        let told = announced == missed || self.cut_at.is_some();
        assert!(told, "a gap at the end: {announced} of {missed}");
    }

    /// One did not come: whether that may be, and whether a marker counts it.
    fn missed(&self, at: usize) -> u32 {
        let (accepted, later) = (self.accepted[at], &self.accepted[at + 1..]);
        if self.cut_at.is_some_and(|cut| at < cut) {
            return 1; // Thrown away with the rest, or dropped before.
        }
        assert!(!accepted.is_ping, "a ping was dropped: {accepted:?}");
        match accepted.slow {
            SlowPolicy::Close => panic!("lost in silence: {accepted:?}"),
            SlowPolicy::DropOldest => 1,
            SlowPolicy::Latest => {
                let same = |other: &Accepted| other.epoch == accepted.epoch;
                let outdated = accepted.epoch.is_some() && later.iter().any(same);
                assert!(
                    outdated,
                    "the newest of its channel was dropped: {accepted:?}"
                );
                0
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Message(u32),
    Ping(u32),
    Gap(u32),
    Close,
}

/// Whole frames, one behind the other.
fn events(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let Ok(Some((header, taken))) = FrameHeader::parse(bytes) else {
            panic!("no frame begins here: {}", bytes.escape_ascii());
        };
        let (payload, rest) = bytes[taken..].split_at(header.len as usize);
        bytes = rest;
        let text = String::from_utf8_lossy(payload);
        let number = |rest: &str| rest.trim_end_matches('.').parse().expect("a number");
        events.push(if header.opcode.is_control() {
            match text.strip_prefix('p') {
                Some(rest) => Event::Ping(number(rest)),
                None => Event::Close,
            }
        } else if let Some(rest) = text.strip_prefix("gap ") {
            Event::Gap(number(rest))
        } else {
            Event::Message(number(text.strip_prefix('m').expect("a message of ours")))
        });
    }
    events
}
