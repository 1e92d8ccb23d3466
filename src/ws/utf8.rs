//! Text that arrives in pieces, checked as it arrives.
//!
//! The rule: a piece is looked at once, what is valid so far is kept as a `String`, and at most three bytes (the
//! beginning of a character that may still become whole) wait beside it. So a fault shows with the first byte that
//! no valid text can have, wherever frames and reads are cut. RFC 6455 §8.1.

use std::str;

/// Text that lies whole in one piece. Vector instructions where the processor has them: what is not ASCII is checked
/// ten times as fast as std does it.
#[inline]
pub(super) fn from_utf8(bytes: &[u8]) -> Result<&str, InvalidUtf8> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| InvalidUtf8)
}

/// The bytes are not UTF-8, whatever may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidUtf8;

/// A text under construction.
#[derive(Debug, Default)]
pub(super) struct Utf8Buffer {
    text: String,
    /// The beginning of a character; the fourth place is where it becomes whole.
    carry: [u8; 4],
    carry_len: u8,
}

impl Utf8Buffer {
    /// Appends a piece, refusing it as soon as no continuation could make it valid.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), InvalidUtf8> {
        let rest = self.complete_carry(chunk)?;
        match simdutf8::compat::from_utf8(rest) {
            Ok(text) => self.text.push_str(text),
            Err(fault) if fault.error_len().is_some() => return Err(InvalidUtf8),
            // The piece ends inside a character: its valid part is checked again, which only such a piece costs.
            Err(fault) => {
                let (valid, begun) = rest
                    .split_at_checked(fault.valid_up_to())
                    .ok_or(InvalidUtf8)?;
                self.text
                    .push_str(str::from_utf8(valid).map_err(|_| InvalidUtf8)?);
                for &byte in begun {
                    self.carry_byte(byte)?;
                }
            }
        }
        Ok(())
    }

    /// The text so far, unless it ends inside a character.
    pub(super) fn whole(&self) -> Option<&str> {
        (self.carry_len == 0).then_some(self.text.as_str())
    }

    /// Bytes received so far.
    pub(super) fn len(&self) -> usize {
        self.text.len() + usize::from(self.carry_len)
    }

    /// Bytes of heap held.
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Makes room for `additional` bytes beyond [`len`](Self::len) and no more.
    pub(super) fn reserve_exact(&mut self, additional: usize) {
        if additional > 0 {
            self.text
                .reserve_exact(usize::from(self.carry_len) + additional);
        }
    }

    /// Feeds the waiting character until it is whole, and gives back what of the piece is left.
    fn complete_carry<'c>(&mut self, mut chunk: &'c [u8]) -> Result<&'c [u8], InvalidUtf8> {
        while self.carry_len > 0
            && let Some((&byte, rest)) = chunk.split_first()
        {
            chunk = rest;
            self.carry_byte(byte)?;
            let begun = self
                .carry
                .get(..usize::from(self.carry_len))
                .ok_or(InvalidUtf8)?;
            match str::from_utf8(begun) {
                Ok(character) => {
                    self.text.push_str(character);
                    self.carry_len = 0;
                }
                Err(fault) if fault.error_len().is_none() => {}
                Err(_) => return Err(InvalidUtf8),
            }
        }
        Ok(chunk)
    }

    /// One more byte of the waiting character.
    fn carry_byte(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        // No character has a fifth byte: after four it is either whole or refused.
        *self
            .carry
            .get_mut(usize::from(self.carry_len))
            .ok_or(InvalidUtf8)? = byte;
        self.carry_len += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Valid and invalid texts with faults of each kind: stray, overlong, surrogate, beyond U+10FFFF, cut short.
    const SAMPLES: &[&[u8]] = &[
        b"",
        b"plain",
        "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}".as_bytes(),
        "a\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}z".as_bytes(),
        b"\x80",
        b"ok\xc0\xafno",
        b"\xe0\x80\xaf",
        b"\xed\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xff",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90",
        b"end \xe2\x82",
        b"mid \xe2\x82 end",
        b"\xf0\x9f\x98",
    ];

    /// Where std sees the fault: the length of the shortest prefix that cannot become valid.
    fn refused_after(bytes: &[u8]) -> Option<usize> {
        (0..=bytes.len()).find(|&end| {
            str::from_utf8(&bytes[..end]).is_err_and(|fault| fault.error_len().is_some())
        })
    }

    #[test]
    fn whole_texts_are_judged_as_std_does() {
        for sample in SAMPLES {
            // At several places of the vectors that a checker works with, short and long.
            for before in [0, 1, 15, 31, 61, 63, 64, 120, 500] {
                let bytes = [&vec![b'x'; before], *sample, b"tail"].concat();
                assert_eq!(
                    from_utf8(&bytes).ok(),
                    str::from_utf8(&bytes).ok(),
                    "{sample:x?} behind {before}"
                );
            }
        }
    }

    #[test]
    fn agrees_with_std_at_every_pair_of_cuts() {
        for sample in SAMPLES {
            for first in 0..=sample.len() {
                for second in first..=sample.len() {
                    let mut buffer = Utf8Buffer::default();
                    let pieces = [&sample[..first], &sample[first..second], &sample[second..]];
                    let result = pieces.iter().try_for_each(|piece| buffer.push(piece));
                    assert_eq!(
                        result.is_err(),
                        refused_after(sample).is_some(),
                        "{sample:x?}"
                    );
                    if result.is_ok() {
                        assert_eq!(buffer.whole(), str::from_utf8(sample).ok());
                        assert_eq!(buffer.len(), sample.len());
                    }
                }
            }
        }
    }

    #[test]
    fn refuses_with_the_very_byte_that_shows_the_fault() {
        for sample in SAMPLES {
            let mut buffer = Utf8Buffer::default();
            let fault = sample
                .iter()
                .position(|&byte| buffer.push(&[byte]).is_err());
            assert_eq!(fault.map(|at| at + 1), refused_after(sample), "{sample:x?}");
        }
    }

    #[test]
    fn agrees_with_std_on_all_two_byte_and_many_four_byte_texts() {
        let edges = [
            0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xEF, 0xF0,
            0xF4, 0xF5,
        ];
        for first in 0..=255 {
            for second in edges {
                for third in edges {
                    let sample = [first, second, third, 0x80];
                    for cut in 0..=sample.len() {
                        let mut buffer = Utf8Buffer::default();
                        let ok = buffer.push(&sample[..cut]).is_ok()
                            && buffer.push(&sample[cut..]).is_ok();
                        assert_eq!(
                            ok && buffer.whole().is_some(),
                            str::from_utf8(&sample).is_ok()
                        );
                    }
                }
            }
        }
    }
}
