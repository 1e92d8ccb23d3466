//! What fills a message beside its stamp.
//!
//! The rule: one letter, where only the length counts; and where messages are compressed, **what a compressor meets in
//! life**, because a run of one letter shrinks to nothing. That is events as JSON with repeated keys, ids, prices and
//! tags, which level 1 brings to about half at 1 KiB. It is the same in every run, and sixteen different ones take
//! turns, so that no branch of a compressor knows the message by heart.
//!
//! ```text
//!   {"stamp":"…","events":[{"id":48213977,"kind":"fill","price":103.25,"tag":"9f3ab2c4"},…],"pad":"swift limit …"}
//!               └──────────────────────── as many as there is room for ───────────────────┘
//! ```

use std::io::Write;

use crate::random::Random;

/// What the rest of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filler {
    /// `xxxx`.
    X,
    /// Events.
    Json,
}

/// How many different messages of events there are.
const VARIANTS: u64 = 16;
const EVENTS: &[u8] = b"\"events\":[";
const END: &[u8] = b"],";
const KINDS: [&str; 4] = ["fill", "order", "cancel", "quote"];
const WORDS: [&[u8]; 8] = [
    b"swift ", b"limit ", b"market ", b"dunlin ", b"depth ", b"spread ", b"tick ", b"sell ",
];

impl Filler {
    /// How many messages differ by more than their stamps.
    pub(crate) fn variants(self) -> u64 {
        match self {
            Self::X => 1,
            Self::Json => VARIANTS,
        }
    }

    /// Appends the members of an object that take at most `room` bytes, with a comma behind them; often none.
    pub(crate) fn members(self, out: &mut Vec<u8>, room: usize, variant: u64) {
        if self == Self::X {
            return;
        }
        let mut random = Random::seeded(variant);
        let (begin, most) = (out.len(), out.len() + room);
        out.extend_from_slice(EVENTS);
        let empty = out.len();
        loop {
            let (end, number) = (out.len(), random.next_u64());
            if end > empty {
                out.push(b',');
            }
            let kind = KINDS[(number >> 62) as usize];
            let (id, tag) = (10_000_000 + number % 90_000_000, random.next_u64() as u32);
            let (whole, part) = (number >> 32 & 0x7F, number >> 40 & 0x3F);
            // A vector takes everything.
            _ = write!(
                out,
                "{{\"id\":{id},\"kind\":\"{kind}\",\"price\":{}.{:02},\"tag\":\"{tag:08x}\"}}",
                100 + whole,
                part
            );
            if out.len() + END.len() > most {
                out.truncate(end);
                break;
            }
        }
        if out.len() == empty {
            out.truncate(begin);
        } else {
            out.extend_from_slice(END);
        }
    }

    /// Appends `length` bytes that need no escape in a JSON string.
    pub(crate) fn letters(self, out: &mut Vec<u8>, length: usize, variant: u64) {
        let end = out.len() + length;
        if self == Self::X {
            out.resize(end, b'x');
            return;
        }
        let mut random = Random::seeded(variant);
        while out.len() < end {
            out.extend_from_slice(WORDS[(random.next_u64() >> 61) as usize]);
        }
        out.truncate(end);
    }
}
