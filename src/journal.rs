//! The log of what channels keep, as bytes: segments of records (feature `history-log`).
//!
//! ```text
//! segment   "dunlinhl"  version u32   mark u32   seed u32   CRC-32 of these 20 bytes
//! record    mark u32   length u32   CRC-32 of the length and what follows, begun with the seed
//!           kind u8   opcode u8   bytes of space u16   bytes of name u16   tag before u32
//!           epoch u32   offset u64   tag u32   time u64 (ms since 1970)   space   name   payload
//! kind 3    … space   name   bytes of event u16   bytes of tags u16   event   tags   payload
//! ```
//!
//! All numbers are little-endian. **A reader trusts nothing**: a record counts if its mark, its length and its checksum
//! agree and its names are text; whatever lies between two of them is skipped, and counted. Mark and seed are drawn anew by
//! each process that writes, so that nobody can publish a message with a record inside that is found when what is
//! around it was spoiled. A kind that is not known is skipped too: it is a later version's.
//!
//! A publication that is called nothing is of kind 1, as all were before they could be called anything; one that has an event's
//! name or tags is of kind 3. 65,535 bytes of event are none. Who knows no kind 3 skips it as if it were missing.
//!
//! What is missing in a log shows by itself: each publication names its predecessor, and only what links is a history.

#[cfg(any(test, feature = "sim"))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::num::TryFromIntError;

use crc32fast::Hasher;

const MAGIC: &[u8; 8] = b"dunlinhl";
const VERSION: u32 = 1;
/// What stands in front of the first record of a segment.
pub const SEGMENT_HEADER_BYTES: usize = 24;
/// Mark, length, checksum.
const RECORD_HEADER_BYTES: usize = 12;
/// What stands in front of the names.
const FIXED_BYTES: usize = 34;
/// Beyond this no channel comes by counting.
const OFFSET_MAX: u64 = i64::MAX as u64;

const PUBLICATION: u8 = 1;
const HEAD: u8 = 2;
const CALLED: u8 = 3;
/// What stands in front of what a publication is called.
const CALLED_BYTES: usize = 4;
/// In the place of the length of an event's name: it has none, which is another thing than an empty one.
const NO_EVENT: u16 = u16::MAX;

/// What one process writes in front of its records and begins their checksums with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt {
    mark: [u8; 4],
    seed: u32,
}

impl Salt {
    /// Out of 64 random bits.
    pub fn new(random: u64) -> Self {
        Self {
            mark: ((random >> 32) as u32).to_le_bytes(),
            seed: random as u32,
        }
    }

    fn checksum(self, parts: &[&[u8]]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.seed);
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize()
    }

    /// The beginning of a segment.
    pub fn segment_header(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&self.mark);
        header[16..20].copy_from_slice(&self.seed.to_le_bytes());
        let sum = crc32fast::hash(&header[..20]);
        header[20..].copy_from_slice(&sum.to_le_bytes());
        header
    }
}

/// What a record says of its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said<'a> {
    /// A publication.
    Publication {
        /// The tag of the one before it.
        tag_before: u32,
        /// It is text, which was checked.
        is_text: bool,
        /// What it is called.
        event: Option<&'a str>,
        /// How it is tagged: words with a comma between; empty: it is not.
        tags: &'a str,
        /// What it says.
        payload: &'a [u8],
    },
    /// Only where the channel's newest publication stands.
    Head,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The name space of the channel.
    pub space: &'a str,
    /// The channel.
    pub channel: &'a str,
    /// Which life of the channel.
    pub epoch: u32,
    /// Which publication in it.
    pub offset: u64,
    /// The publication's own tag.
    pub tag: u32,
    /// When it was accepted, in milliseconds since 1970.
    pub unix_ms: u64,
    /// What it says.
    pub said: Said<'a>,
}

impl Record<'_> {
    /// Appends it. One that cannot be written (no name is so long, no payload so large) is left out: `false`.
    pub fn append_to(&self, out: &mut Vec<u8>, salt: Salt) -> bool {
        let (kind, opcode, tag_before, called, payload) = match self.said {
            Said::Publication {
                tag_before,
                is_text,
                event,
                tags,
                payload,
            } => {
                let Ok(called) = Called::of(event, tags) else {
                    return false;
                };
                let kind = called.as_ref().map_or(PUBLICATION, |_| CALLED);
                (kind, 2 - u8::from(is_text), tag_before, called, payload)
            }
            Said::Head => (HEAD, 0, 0, None, &[][..]),
        };
        let beside = FIXED_BYTES
            + self.space.len()
            + self.channel.len()
            + called.as_ref().map_or(0, Called::bytes);
        let length = beside + payload.len();
        let (Ok(space), Ok(name), Ok(length)) = (
            u16::try_from(self.space.len()),
            u16::try_from(self.channel.len()),
            u32::try_from(length),
        ) else {
            return false;
        };
        let length = length.to_le_bytes();
        out.reserve(RECORD_HEADER_BYTES + beside);
        out.extend_from_slice(&salt.mark);
        out.extend_from_slice(&length);
        let sum_at = out.len();
        out.extend_from_slice(&[0; 4]);
        let body_at = out.len();
        out.extend_from_slice(&[kind, opcode]);
        out.extend_from_slice(&space.to_le_bytes());
        out.extend_from_slice(&name.to_le_bytes());
        out.extend_from_slice(&tag_before.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.tag.to_le_bytes());
        out.extend_from_slice(&self.unix_ms.to_le_bytes());
        out.extend_from_slice(self.space.as_bytes());
        out.extend_from_slice(self.channel.as_bytes());
        if let Some(called) = called {
            called.append_to(out);
        }
        out.extend_from_slice(payload);
        let sum = salt.checksum(&[&length, out.get(body_at..).unwrap_or_default()]);
        if let Some(place) = out.get_mut(sum_at..body_at) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
        true
    }
}

/// What a publication is called that is called anything.
struct Called<'a> {
    event: Option<&'a str>,
    event_bytes: u16,
    tags: &'a str,
    tags_bytes: u16,
}

impl<'a> Called<'a> {
    /// `None`: it is called nothing.
    ///
    /// # Errors
    /// A name is too long.
    fn of(event: Option<&'a str>, tags: &'a str) -> Result<Option<Self>, TryFromIntError> {
        if event.is_none() && tags.is_empty() {
            return Ok(None);
        }
        let event_bytes = match event {
            // The longest length stands for none.
            Some(event) => u16::try_from(event.len() + 1)? - 1,
            None => NO_EVENT,
        };
        Ok(Some(Self {
            event,
            event_bytes,
            tags,
            tags_bytes: tags.len().try_into()?,
        }))
    }

    fn bytes(&self) -> usize {
        CALLED_BYTES + self.event.map_or(0, str::len) + self.tags.len()
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.event_bytes.to_le_bytes());
        out.extend_from_slice(&self.tags_bytes.to_le_bytes());
        out.extend_from_slice(self.event.unwrap_or_default().as_bytes());
        out.extend_from_slice(self.tags.as_bytes());
    }

    /// What stands in front of a payload, and the payload.
    fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (event_bytes, rest) = bytes.split_first_chunk()?;
        let (tags_bytes, rest) = rest.split_first_chunk()?;
        let event_bytes = u16::from_le_bytes(*event_bytes);
        let tags_bytes = u16::from_le_bytes(*tags_bytes);
        let (event, rest) = match event_bytes {
            NO_EVENT => (None, rest),
            length => {
                let (event, rest) = rest.split_at_checked(length.into())?;
                (Some(std::str::from_utf8(event).ok()?), rest)
            }
        };
        let (tags, payload) = rest.split_at_checked(tags_bytes.into())?;
        let called = Self {
            event,
            event_bytes,
            tags: std::str::from_utf8(tags).ok()?,
            tags_bytes,
        };
        // What is called nothing is of another kind.
        let is_called = event.is_some() || !tags.is_empty();
        is_called.then_some((called, payload))
    }
}

/// How many bytes of `records`, which were appended one after the other, are whole records that come to at most `max`
/// together; if the first alone is more, it and nothing else.
pub fn whole_records(records: &[u8], max: usize) -> usize {
    let mut end = 0;
    while let Some(length) = records.get(end + 4..).and_then(word) {
        let next = end + RECORD_HEADER_BYTES + length as usize;
        if next > records.len() || next > max && end > 0 {
            break;
        }
        end = next;
    }
    end
}

/// The records of a segment, in order.
#[derive(Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    salt: Salt,
    /// Where the last good record ends.
    pub good_end: usize,
    /// Places between good records where something is spoiled.
    pub spoiled: usize,
}

/// These bytes do not begin like a segment of a version that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSegment;

impl<'a> Records<'a> {
    /// Of a whole segment.
    ///
    /// # Errors
    /// It does not begin like one.
    pub fn of(segment: &'a [u8]) -> Result<Self, NoSegment> {
        let header = segment.get(..SEGMENT_HEADER_BYTES).ok_or(NoSegment)?;
        let (Some(mark), Some(seed)) = (word(&header[12..]), word(&header[16..])) else {
            return Err(NoSegment);
        };
        let salt = Salt::new(u64::from(mark) << 32 | u64::from(seed));
        if header != salt.segment_header() {
            return Err(NoSegment);
        }
        Ok(Self {
            bytes: segment,
            at: SEGMENT_HEADER_BYTES,
            salt,
            good_end: SEGMENT_HEADER_BYTES,
            spoiled: 0,
        })
    }

    /// What its records begin with.
    pub fn salt(&self) -> Salt {
        self.salt
    }

    /// The body of the record here, and where it ends.
    fn body_at(&self, at: usize) -> Option<(&'a [u8], usize)> {
        let rest = self.bytes.get(at..)?;
        if rest.get(..4)? != self.salt.mark {
            return None;
        }
        let length = rest.get(4..8)?;
        let end = RECORD_HEADER_BYTES.checked_add(word(length)? as usize)?;
        let body = rest.get(RECORD_HEADER_BYTES..end)?;
        let is_whole = self.salt.checksum(&[length, body]) == word(&rest[8..])?;
        is_whole.then_some((body, at + end))
    }

    /// Where the next mark stands, from here on.
    fn mark_from(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let found = rest.windows(4).position(|four| four == self.salt.mark);
        found.map_or(self.bytes.len(), |ahead| at + ahead)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        while self.at < self.bytes.len() {
            let Some((body, end)) = self.body_at(self.at) else {
                self.at = self.mark_from(self.at + 1);
                continue;
            };
            // Something lay between.
            self.spoiled += usize::from(self.at != self.good_end);
            (self.at, self.good_end) = (end, end);
            // Whole, but of a kind that this version does not know.
            if let Some(record) = parse(body) {
                return Some(record);
            }
        }
        None
    }
}

fn parse(body: &[u8]) -> Option<Record<'_>> {
    let (fixed, rest) = body.split_at_checked(FIXED_BYTES)?;
    let short = |at: usize| Some(u16::from_le_bytes(fixed.get(at..at + 2)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_le_bytes(fixed.get(at..at + 8)?.try_into().ok()?));
    let (space, rest) = rest.split_at_checked(short(2)?.into())?;
    let (channel, rest) = rest.split_at_checked(short(4)?.into())?;
    let (event, tags, payload) = match fixed[0] {
        CALLED => {
            let (called, payload) = Called::parse(rest)?;
            (called.event, called.tags, payload)
        }
        _ => (None, "", rest),
    };
    let tag_before = word(&fixed[6..])?;
    let offset = long(14)?;
    let said = match (fixed[0], fixed[1]) {
        (PUBLICATION | CALLED, opcode @ 1..=2) => Said::Publication {
            tag_before,
            is_text: opcode == 1,
            event,
            tags,
            payload,
        },
        (HEAD, 0) if payload.is_empty() && tag_before == 0 => Said::Head,
        _ => return None,
    };
    let (is_text, first) = match said {
        Said::Publication { is_text, .. } => (is_text, 1),
        Said::Head => (false, 0),
    };
    let is_good = (first..=OFFSET_MAX).contains(&offset)
        && !channel.is_empty()
        && (!is_text || std::str::from_utf8(payload).is_ok());
    let record = Record {
        space: std::str::from_utf8(space).ok()?,
        channel: std::str::from_utf8(channel).ok()?,
        epoch: word(&fixed[10..])?,
        offset,
        tag: word(&fixed[22..])?,
        unix_ms: long(26)?,
        said,
    };
    is_good.then_some(record)
}

fn word(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?))
}
