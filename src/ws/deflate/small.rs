//! A compressor for small messages.
//!
//! The rule: **what does not depend on the message is not done per message.** zlib clears a hash table of 128 KiB
//! before each, which is most of what a kilobyte costs; this table has 8 KiB and is forgotten by counting on. One
//! block per message, with codes of its own if they pay for their description, else with the fixed ones (RFC 1951
//! §3.2.6, §3.2.7). Whatever it writes is a deflate stream, or a peer notices: tests and a fuzz target inflate all.
//!
//! ```text
//!   payload ─▶ find: bytes and matches, counted ─▶ code lengths ─▶ shorter than fixed? ─▶ write ─▶ flush to a byte
//! ```

use super::huffman::{Codes, Description, FIXED, code_lengths};

/// The longest message that is compressed here: up to there this is smaller and faster than zlib's quickest level,
/// beyond it is smaller and slower.
pub(super) const SMALL_BYTES_MAX: usize = 4 << 10;

/// What is kept between messages.
pub(super) struct Small {
    /// By hash of four bytes: where they were last, counted from the first message after the table was cleared.
    table: Box<[u16; TABLE]>,
    /// Where this message begins in that count.
    base: u16,
    /// The message as literals (the byte) and matches (length and distance, see [`packed`]).
    tokens: Vec<u32>,
}

const TABLE_BITS: u32 = 12;
const TABLE: usize = 1 << TABLE_BITS;
/// Shorter repetitions are not looked for.
const MATCH_MIN: usize = 4;
/// RFC 1951 §3.2.5.
const MATCH_MAX: usize = 258;
/// The symbol that ends a block.
const END: usize = 256;
/// In a token: this is a match.
const MATCH: u32 = 1 << 31;

impl Default for Small {
    fn default() -> Self {
        Self {
            table: Box::new([0; TABLE]),
            base: 1,
            tokens: Vec::new(),
        }
    }
}

/// How often each symbol occurs in a message.
struct Counts {
    literals: [u16; 286],
    distances: [u16; 30],
    /// Bits behind symbols, whatever their codes.
    extra_bits: usize,
}

impl Small {
    /// Compresses into `room`, without the tail of the flush: `None` if it does not shrink. No match goes back
    /// farther than `window` bytes.
    pub(super) fn compress(
        &mut self,
        payload: &[u8],
        room: &mut [u8],
        window: usize,
    ) -> Option<usize> {
        if payload.len() > SMALL_BYTES_MAX {
            return None;
        }
        let counts = self.find(payload, window);
        let mut own = Codes::default();
        code_lengths(&counts.literals, 15, &mut own.literal_lengths);
        code_lengths(&counts.distances, 15, &mut own.distance_lengths);
        let description = Description::of(&own);
        let own_bits = description.bits() + own.bits(&counts.literals, &counts.distances);
        let fixed_bits = FIXED.bits(&counts.literals, &counts.distances);
        let bits = 3 + own_bits.min(fixed_bits) + counts.extra_bits + 3;
        if bits.div_ceil(8) >= payload.len() || bits / 8 + 16 > room.len() {
            return None;
        }
        let mut out = Bits {
            room,
            len: 0,
            bits: 0,
            count: 0,
        };
        if own_bits < fixed_bits {
            out.put(0b100, 3);
            description.write(|bits, count| out.put(bits, count));
            own.number();
            write(&self.tokens, &own, &mut out);
        } else {
            out.put(0b010, 3);
            write(&self.tokens, &FIXED, &mut out);
        }
        // The empty block that every flush ends with; its length does not travel.
        out.put(0, 3);
        Some(out.finish())
    }

    /// Takes the message apart, greedily.
    fn find(&mut self, payload: &[u8], window: usize) -> Counts {
        let mut counts = Counts {
            literals: [0; 286],
            distances: [0; 30],
            extra_bits: 0,
        };
        let base = usize::from(self.begin(payload.len()));
        let mut at = 0;
        let mut in_vain = 0;
        while let Some(&four) = payload.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
            let before = self.seen(four, base + at);
            let (from, len) = match before.checked_sub(base) {
                Some(from) if at - from <= window => (from, same(payload, from, at, four)),
                _ => (0, 0),
            };
            if len < MATCH_MIN {
                // What has not repeated itself for a while is looked at less closely.
                in_vain += 1;
                if in_vain < 64 {
                    let [byte, ..] = four;
                    self.literal(byte, &mut counts);
                    at += 1;
                    continue;
                }
                let end = payload.len().min(at + (in_vain >> 6));
                for &byte in payload.get(at..end).unwrap_or_default() {
                    self.literal(byte, &mut counts);
                }
                at = end;
                continue;
            }
            in_vain = 0;
            let (length, distance) = (Length::of(len), Distance::of(at - from));
            count(&mut counts.literals, length.symbol);
            count(&mut counts.distances, distance.symbol);
            counts.extra_bits += (length.extra_bits + distance.extra_bits) as usize;
            self.tokens.push(packed(len, at - from));
            // Two places inside it, so that what overlaps its end is found.
            for inside in [at + 1, at + len - 1] {
                if let Some(&four) = payload
                    .get(inside..)
                    .and_then(|rest| rest.first_chunk::<4>())
                {
                    self.seen(four, base + inside);
                }
            }
            at += len;
        }
        for &byte in payload.get(at..).unwrap_or_default() {
            self.literal(byte, &mut counts);
        }
        counts.literals[END] = 1;
        counts
    }

    /// Makes room for the places of a message in the table's count.
    fn begin(&mut self, bytes: usize) -> u16 {
        self.tokens.clear();
        self.tokens.reserve(bytes);
        // At most 4 KiB, so it fits sixteen times.
        let bytes = bytes as u16;
        let base = self.base;
        match base.checked_add(bytes) {
            Some(next) => {
                self.base = next;
                base
            }
            None => {
                self.table.fill(0);
                self.base = 1 + bytes;
                1
            }
        }
    }

    /// Where these bytes were last; from now on they are here.
    #[inline]
    fn seen(&mut self, four: [u8; 4], here: usize) -> usize {
        let hash = u32::from_le_bytes(four).wrapping_mul(0x9E37_79B1) >> (32 - TABLE_BITS);
        match self.table.get_mut(hash as usize) {
            Some(place) => usize::from(std::mem::replace(place, here as u16)),
            None => 0,
        }
    }

    #[inline]
    fn literal(&mut self, byte: u8, counts: &mut Counts) {
        counts.literals[usize::from(byte)] += 1;
        self.tokens.push(u32::from(byte));
    }
}

#[inline]
fn count(counts: &mut [u16], symbol: usize) {
    if let Some(count) = counts.get_mut(symbol) {
        *count += 1;
    }
}

/// How many bytes at `from` are those at `at`, where `four` are: fewer than four, or up to the longest match.
#[inline]
fn same(payload: &[u8], from: usize, at: usize, four: [u8; 4]) -> usize {
    let there = payload.get(from..).unwrap_or_default();
    if there.first_chunk() != Some(&four) {
        return 0;
    }
    let end = payload.len().min(at + MATCH_MAX);
    let here = payload.get(at..end).unwrap_or_default();
    let mut len = 4;
    while let (Some(a), Some(b)) = (eight(here, len), eight(there, len)) {
        let differ = a ^ b;
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    while here
        .get(len)
        .is_some_and(|byte| there.get(len) == Some(byte))
    {
        len += 1;
    }
    len
}

#[inline]
fn eight(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
}

/// A match as a token.
fn packed(len: usize, distance: usize) -> u32 {
    MATCH | (len as u32) << 16 | (distance - 1) as u32
}

/// A length's symbol and what follows its code. RFC 1951 §3.2.5.
struct Length {
    symbol: usize,
    extra: u32,
    extra_bits: u32,
}

impl Length {
    #[inline]
    fn of(len: usize) -> Self {
        let past = (len - 3) as u32;
        let (code, extra_bits) = match past {
            255 => (28, 0),
            0..8 => (past, 0),
            _ => {
                // From here on four symbols for each doubling.
                let extra_bits = past.ilog2() - 2;
                ((extra_bits << 2) + (past >> extra_bits), extra_bits)
            }
        };
        Self {
            symbol: 257 + code as usize,
            extra: past & ((1 << extra_bits) - 1),
            extra_bits,
        }
    }
}

/// A distance's symbol and what follows its code. RFC 1951 §3.2.5.
struct Distance {
    symbol: usize,
    extra: u32,
    extra_bits: u32,
}

impl Distance {
    #[inline]
    fn of(distance: usize) -> Self {
        let past = (distance - 1) as u32;
        let (code, extra_bits) = match past {
            0..4 => (past, 0),
            _ => {
                // Two symbols for each doubling.
                let extra_bits = past.ilog2() - 1;
                ((extra_bits << 1) + (past >> extra_bits), extra_bits)
            }
        };
        Self {
            symbol: code as usize,
            extra: past & ((1 << extra_bits) - 1),
            extra_bits,
        }
    }
}

/// Writes the message and the end of its block.
fn write(tokens: &[u32], codes: &Codes, out: &mut Bits<'_>) {
    for &token in tokens {
        if token & MATCH == 0 {
            out.put_code(codes.literal(token as usize));
            continue;
        }
        let length = Length::of((token >> 16 & 0x1FF) as usize);
        out.put_code(codes.literal(length.symbol));
        out.put(length.extra, length.extra_bits);
        let distance = Distance::of((token & 0xFFFF) as usize + 1);
        out.put_code(codes.distance(distance.symbol));
        out.put(distance.extra, distance.extra_bits);
    }
    out.put_code(codes.literal(END));
}

/// Bits to bytes, the first bit lowest. RFC 1951 §3.1.1.
struct Bits<'r> {
    room: &'r mut [u8],
    len: usize,
    bits: u64,
    count: u32,
}

impl Bits<'_> {
    /// Appends up to 16 bits.
    #[inline]
    fn put(&mut self, bits: u32, count: u32) {
        self.bits |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            // There is room for all that was counted, and for eight bytes more.
            if let Some(place) = self.room.get_mut(self.len..self.len + 4) {
                place.copy_from_slice(&(self.bits as u32).to_le_bytes());
            }
            self.len += 4;
            self.bits >>= 32;
            self.count -= 32;
        }
    }

    #[inline]
    fn put_code(&mut self, (code, len): (u16, u8)) {
        self.put(u32::from(code), u32::from(len));
    }

    /// Fills the last byte up; how many there are.
    fn finish(self) -> usize {
        let rest = (self.count as usize).div_ceil(8);
        if let Some(place) = self.room.get_mut(self.len..self.len + 4) {
            place.copy_from_slice(&(self.bits as u32).to_le_bytes());
        }
        self.len + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_distances_are_those_of_the_table() {
        // RFC 1951 §3.2.5: symbol, extra bits, first length.
        for (symbol, bits, first) in [
            (257, 0, 3),
            (264, 0, 10),
            (265, 1, 11),
            (268, 1, 17),
            (269, 2, 19),
            (276, 3, 59),
            (284, 5, 227),
            (285, 0, 258),
        ] {
            let length = Length::of(first);
            assert_eq!(
                (length.symbol, length.extra_bits, length.extra),
                (symbol, bits, 0)
            );
        }
        let last = Length::of(257);
        assert_eq!((last.symbol, last.extra), (284, 30));
        for (symbol, bits, first) in [
            (0, 0, 1),
            (3, 0, 4),
            (4, 1, 5),
            (5, 1, 7),
            (6, 2, 9),
            (28, 13, 16_385),
            (29, 13, 24_577),
        ] {
            let distance = Distance::of(first);
            assert_eq!(
                (distance.symbol, distance.extra_bits, distance.extra),
                (symbol, bits, 0)
            );
        }
    }
}
