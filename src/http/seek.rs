//! Finds the end of a head in bytes that arrive piece by piece.
//!
//! The rule: each byte is looked at once, and the answer depends on the bytes alone, never on how they were cut.
//! Whatever can be refused by looking at single bytes is refused here, as soon as it shows: a client that ends
//! its lines with a lone LF gets an answer instead of a time-out.

use super::HttpError;

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The whole head with its blank line. Default 8 KiB, what most servers of the field allow.
    pub head_bytes_max: usize,
    /// The request target as sent. Default 4 KiB, so that a long target alone cannot fill the head.
    pub target_bytes_max: usize,
    /// Header lines. Default 64; browsers send about 20.
    pub headers_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_bytes_max: 8 * 1024,
            target_bytes_max: 4 * 1024,
            headers_max: 64,
        }
    }
}

/// Finds the end of a head in a growing buffer, and remembers how far it looked.
///
/// One seeker serves one head; start the next head with a new one.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadSeeker {
    /// Bytes looked at, times two, plus one once the first line has ended.
    memory: u32,
}

impl HeadSeeker {
    /// Looks at what is new. `head` is everything received so far of this head, from its first byte on.
    ///
    /// `Ok(Some(n))`: the head is `head[..n]`, blank line included. `Ok(None)`: more bytes are needed.
    /// Asking again after an end or an error gives the same answer again.
    ///
    /// # Errors
    /// [`HttpError::HeadTooLong`] at the first byte above `head_bytes_max`, [`HttpError::TargetTooLong`] when the
    /// first line cannot hold an acceptable target any more, and a 400 as soon as a lone LF or CR, a control
    /// character, a folded line or a second leading blank line shows.
    pub fn seek(&mut self, head: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HttpError> {
        let mut at = (self.memory >> 1) as usize;
        let mut first_line = self.memory & 1 == 0;
        while let Some(&byte) = head.get(at) {
            let (stop, too_long) = border(first_line, limits);
            if at >= stop {
                return Err(too_long);
            }
            let before = at.checked_sub(1).and_then(|i| head.get(i));
            match (before, byte) {
                (Some(b'\r'), b'\n') => {
                    let blank = at == 1 || head.get(at - 2) == Some(&b'\n');
                    match (blank, first_line) {
                        (true, false) => return Ok(Some(at + 1)),
                        // RFC 9112 §2.2: one blank line in front of a request is forgiven.
                        (true, true) if at == 1 => {}
                        (true, true) => return Err(HttpError::LeadingBlankLines),
                        (false, _) => first_line = false,
                    }
                }
                // RFC 9112 §2.2: a lone CR is invalid; a lone LF may be refused, and two readers may differ on it.
                (Some(b'\r'), _) | (_, b'\n') => return Err(HttpError::LineEnding),
                // RFC 9112 §5.2: a server refuses folded lines.
                (Some(b'\n'), b' ' | b'\t') => return Err(HttpError::ObsFold),
                (_, b'\r' | b'\t') => {}
                (_, byte) if !is_plain(byte) => return Err(HttpError::ControlByte),
                _ => {
                    let reach = head.get(at..stop.min(head.len())).unwrap_or_default();
                    at += plain_run(reach);
                    continue;
                }
            }
            at += 1;
        }
        // `at` fits: it never passes `stop`, which leaves room for the flag.
        self.memory = (at as u32) << 1 | u32::from(!first_line);
        Ok(None)
    }
}

/// Where this head or its first line becomes too long, and what is said then.
fn border(first_line: bool, limits: &HeadLimits) -> (usize, HttpError) {
    let head_bytes_max = limits.head_bytes_max.min(HEAD_BYTES_COUNTABLE);
    let line_bytes_max = limits.target_bytes_max.saturating_add(FIRST_LINE_SLACK);
    if first_line && line_bytes_max < head_bytes_max {
        (
            line_bytes_max,
            HttpError::TargetTooLong {
                bytes_max: limits.target_bytes_max,
            },
        )
    } else {
        (
            head_bytes_max,
            HttpError::HeadTooLong {
                bytes_max: limits.head_bytes_max,
            },
        )
    }
}

/// How many bytes from the start need no further thought, eight at a time.
fn plain_run(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        if let Some(first) = first_special(u64::from_le_bytes(*word)) {
            return at * 8 + first;
        }
    }
    words.len() * 8 + tail.iter().take_while(|&&b| is_plain(b)).count()
}

/// The first byte (the lowest) that is not plain. Subtracting lets a byte's top bit show that it was too small; what is
/// borrowed on the way only disturbs the bytes above the first one that was, and those are not asked about.
fn first_special(word: u64) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xFF;
    let below = |limit: u64, word: u64| word.wrapping_sub(ONES * limit) & !word & (ONES << 7);
    let special = below(0x20, word) | below(1, word ^ (ONES * 0x7F));
    (special != 0).then(|| special.trailing_zeros() as usize / 8)
}

fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f
}

/// Room in the first line beside the target: the longest method (32), two spaces, the version, CRLF, and a blank
/// line in front.
const FIRST_LINE_SLACK: usize = 64;

/// What the seeker's memory can count; far above any sensible limit.
const HEAD_BYTES_COUNTABLE: usize = (u32::MAX >> 1) as usize;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_whatever_stands_around_it() {
        let mut state = 7_u64;
        let mut below = |n: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % n
        };
        for _ in 0..50_000 {
            // Mostly bytes at the borders, where borrowing could mislead.
            let bytes: [u8; 8] = std::array::from_fn(|_| match below(4) {
                0 => b"\x00\x1f\x20\x21\x7e\x7f\x80\xff"[below(8) as usize],
                1 => below(256) as u8,
                _ => b'a',
            });
            let expected = bytes.iter().position(|&b| !is_plain(b));
            assert_eq!(
                first_special(u64::from_le_bytes(bytes)),
                expected,
                "{bytes:x?}"
            );
            assert_eq!(plain_run(&bytes), expected.unwrap_or(8));
        }
    }

    fn seek(head: &[u8]) -> Result<Option<usize>, HttpError> {
        HeadSeeker::default().seek(head, &HeadLimits::default())
    }

    #[test]
    fn the_end_is_behind_the_blank_line() {
        assert_eq!(seek(b"GET / HTTP/1.1\r\n\r\nbody"), Ok(Some(18)));
        assert_eq!(seek(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n"), Ok(Some(27)));
        assert_eq!(seek(b"\r\nGET / HTTP/1.1\r\n\r\n"), Ok(Some(20)));
        assert_eq!(seek(b"GET / HTTP/1.1\r\n\r"), Ok(None));
        assert_eq!(seek(b""), Ok(None));
    }

    #[test]
    fn what_one_byte_can_spoil_is_refused_at_that_byte() {
        for (head, error) in [
            (&b"GET / HTTP/1.1\n"[..], HttpError::LineEnding),
            (b"\n", HttpError::LineEnding),
            (b"GET /\rx", HttpError::LineEnding),
            (b"GET /\r\r", HttpError::LineEnding),
            (b"\x16\x03\x01", HttpError::ControlByte),
            (b"GET /\0", HttpError::ControlByte),
            (b"GET /\x7f", HttpError::ControlByte),
            (b"\r\n\r\n", HttpError::LeadingBlankLines),
            (b"GET / HTTP/1.1\r\n ", HttpError::ObsFold),
            (b"GET / HTTP/1.1\r\nA: b\r\n\t", HttpError::ObsFold),
        ] {
            assert_eq!(seek(head), Err(error), "{head:?}");
        }
    }

    #[test]
    fn each_byte_is_looked_at_once() {
        let mut seeker = HeadSeeker::default();
        let limits = HeadLimits::default();
        assert_eq!(seeker.seek(b"GET / HTTP/1.1\r\nA:", &limits), Ok(None));
        // What was seen is not seen again: the seeker would refuse these control characters otherwise.
        assert_eq!(
            seeker.seek(b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0b\r\n\r\n", &limits),
            Ok(Some(23))
        );
        assert_eq!(size_of::<HeadSeeker>(), 4);
    }

    #[test]
    fn limits_hold_at_n_and_not_at_n_plus_1() {
        let limits = HeadLimits {
            head_bytes_max: 200,
            target_bytes_max: 50,
            headers_max: 64,
        };
        let head = |filler: usize| {
            let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
            head.resize(filler - 4, b'a');
            head.extend_from_slice(b"\r\n\r\n");
            head
        };
        let mut seeker = HeadSeeker::default();
        assert_eq!(seeker.seek(&head(200), &limits), Ok(Some(200)));
        assert_eq!(
            seeker.seek(&head(201), &limits),
            Err(HttpError::HeadTooLong { bytes_max: 200 })
        );
        let line = vec![b'a'; 115];
        let mut seeker = HeadSeeker::default();
        assert_eq!(seeker.seek(&line[..114], &limits), Ok(None));
        assert_eq!(
            seeker.seek(&line, &limits),
            Err(HttpError::TargetTooLong { bytes_max: 50 })
        );
    }
}
