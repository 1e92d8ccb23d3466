//! Where a subscriber stands in a channel.
//!
//! A position names one publication: the **epoch** (which life of the channel), the **offset** (its number there, from 1)
//! and the **tag** (32 random bits of its own). Epoch and offset alone lose silently: a home of channels that is
//! restored from an older state counts on from there, in the same epoch, and gives the same offsets to other
//! publications. The tag tells them apart.
//!
//! **Each publication names its predecessor**, and whoever stands at a position accepts only what follows it. Anything
//! else is a gap, and is said.
//!
//! ```text
//!   4f1c2a90.0.91be07d3 ◀── 4f1c2a90.1.7a0d55e1 ◀── 4f1c2a90.2.0c33b8f4      the head
//!   (the beginning)              follows it               follows that
//! ```

use std::fmt;
use std::str::FromStr;

/// Where a subscriber stands in a channel: behind the publication that it names. Text to clients, who give it back as
/// they got it.
///
/// ```
/// use dunlin::hub::Position;
///
/// let position: Position = "4f1c2a90.17.7a0d55e1".parse().unwrap();
/// assert_eq!((position.epoch, position.offset, position.tag), (0x4f1c_2a90, 17, 0x7a0d_55e1));
/// assert_eq!(position.to_string(), "4f1c2a90.17.7a0d55e1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Drawn anew whenever the channel comes into being.
    pub epoch: u32,
    /// Publications in this epoch so far.
    pub offset: u64,
    /// Of this very publication.
    pub tag: u32,
}

impl Position {
    /// Of a life that no channel has: offsets count from 1, and this is not the beginning of any.
    pub(crate) const UNKNOWN: Self = Self {
        epoch: 0,
        offset: u64::MAX,
        tag: 0,
    };
    /// The longest text of one.
    pub const TEXT_BYTES_MAX: usize = 8 + 1 + 20 + 1 + 8;

    /// Appends its text.
    pub(crate) fn append_to(self, out: &mut Vec<u8>) {
        append_word(out, self.epoch);
        out.push(b'.');
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = self.offset;
        while let Some(digit) = digits.get_mut(..at).and_then(<[u8]>::last_mut) {
            *digit = b'0' + (rest % 10) as u8;
            at -= 1;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        out.extend_from_slice(digits.get(at..).unwrap_or_default());
        out.push(b'.');
        append_word(out, self.tag);
    }

    /// The position of the next publication, which gets this tag. For positions that were counted up to here.
    pub(crate) fn next(self, tag: u32) -> Self {
        Self {
            offset: self.offset + 1,
            tag,
            ..self
        }
    }

    /// The same for any position; `None`: there is no next offset.
    pub(crate) fn checked_next(self, tag: u32) -> Option<Self> {
        let offset = self.offset.checked_add(1)?;
        Some(Self {
            offset,
            tag,
            ..self
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, offset, tag } = self;
        write!(f, "{epoch:08x}.{offset}.{tag:08x}")
    }
}

/// A text that is no [`Position`]: no such text was ever given to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPosition;

impl fmt::Display for NoPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a position is given back as it was received, like 4f1c2a90.17.7a0d55e1")
    }
}

impl std::error::Error for NoPosition {}

impl FromStr for Position {
    type Err = NoPosition;

    /// Strict: what is printed, and nothing else.
    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().ok_or(NoPosition);
        let (epoch, offset, tag) = (next()?, next()?, next()?);
        let is_plain = offset == "0" || !offset.starts_with('0');
        if !is_plain || !offset.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NoPosition);
        }
        Ok(Self {
            epoch: word(epoch)?,
            offset: offset.parse().map_err(|_| NoPosition)?,
            tag: word(tag)?,
        })
    }
}

fn append_word(out: &mut Vec<u8>, word: u32) {
    out.extend((0..8).rev().map(|at| {
        let digit = (word >> (4 * at)) as u8 & 15;
        if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        }
    }));
}

/// Eight lower-case hexadecimal digits.
fn word(text: &str) -> Result<u32, NoPosition> {
    let is_word = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let number = u32::from_str_radix(text, 16).ok();
    number.filter(|_| is_word).ok_or(NoPosition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_and_nothing_else() {
        for position in [
            (0, 0, 0),
            (1, 1, 1),
            (u32::MAX, u64::MAX, u32::MAX),
            (0x0abc_def0, 10, 7),
        ] {
            let (epoch, offset, tag) = position;
            let position = Position { epoch, offset, tag };
            let text = position.to_string();
            assert!(text.len() <= Position::TEXT_BYTES_MAX);
            assert_eq!(text.parse(), Ok(position));
            let mut appended = Vec::new();
            position.append_to(&mut appended);
            assert_eq!(appended, text.as_bytes());
        }
        for bad in [
            "",
            "..",
            "0",
            "00000000.1",
            "00000000.1.00000000.",
            "00000000.1.00000000.0",
            "00000000..00000000",
            "00000000.01.00000000",
            "00000000.+1.00000000",
            "+0000000.1.00000000",
            "0000000A.1.00000000",
            "0000000.1.00000000",
            "00000000.18446744073709551616.00000000",
            " 00000000.1.00000000",
            "00000000.1.0000000é",
        ] {
            assert_eq!(bad.parse::<Position>(), Err(NoPosition), "{bad}");
        }
    }
}
