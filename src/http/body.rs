//! Takes a body out of arriving bytes.
//!
//! The rule: memory follows the bytes that came, never a length that was announced; and the result does not depend
//! on how the bytes were cut. A chunked body (RFC 9112 §7.1) goes this way, one byte at a time but for the data:
//!
//! ```text
//!  Size ──CR──► SizeEnd ──LF──► Data ──complete──► DataEnd ──CR──► DataLf ──LF──► Size
//!   │ │            ▲   │
//!   │ │           CR   └──LF, size 0──► TrailerStart ──CR──► LastLf ──LF──► Done
//!   │ │            │                     │        ▲
//!   │ └──;──► Extension                  visible  LF
//!   │            ▲ ;                     ▼        │
//!   └─blank─► Blank                     Trailer ──CR──► TrailerLf
//! ```

use super::HttpError;
use super::framing::{BodyLength, ResponseBody};
use super::text::hex_value;

/// Takes one body out of arriving bytes; see [`read`](Self::read).
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
    /// The size of the chunk at hand.
    size: u64,
    /// Bytes handed out so far.
    taken: u64,
    bytes_max: usize,
    /// Spent on chunk extensions so far, all chunks together.
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of a body of known length are missing.
    Exact(u64),
    /// Everything until the connection ends.
    UntilClose,
    /// In a chunk size, after so many digits.
    Size(u8),
    /// White space between a size and the `;` of an extension.
    Blank,
    Extension,
    SizeEnd,
    /// So many bytes of a chunk are missing.
    Data(u64),
    DataEnd,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    Done,
    Failed(HttpError),
}

impl BodyReader {
    /// Prepares for the body of a request.
    ///
    /// # Errors
    /// [`HttpError::BodyTooLarge`] if the declared length is above `body_bytes_max`: refuse before reading on.
    pub fn new(length: BodyLength, body_bytes_max: usize) -> Result<Self, HttpError> {
        Self::for_response(
            match length {
                BodyLength::None => ResponseBody::None,
                BodyLength::Exact(length) => ResponseBody::Exact(length),
                BodyLength::Chunked => ResponseBody::Chunked,
            },
            body_bytes_max,
        )
    }

    /// Prepares for the body of an answer. One that lasts until the connection ends is never done by itself.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn for_response(body: ResponseBody, body_bytes_max: usize) -> Result<Self, HttpError> {
        let state = match body {
            ResponseBody::None | ResponseBody::Exact(0) => State::Done,
            ResponseBody::Exact(length) if length > body_bytes_max as u64 => {
                return Err(HttpError::BodyTooLarge {
                    bytes_max: body_bytes_max,
                });
            }
            ResponseBody::Exact(length) => State::Exact(length),
            ResponseBody::Chunked => State::Size(0),
            ResponseBody::UntilClose => State::UntilClose,
        };
        Ok(Self {
            state,
            size: 0,
            taken: 0,
            bytes_max: body_bytes_max,
            extension_bytes: 0,
            trailer_bytes: 0,
        })
    }

    /// Consumes bytes of `input` and appends what belongs to the body to `out`; returns how many it consumed, which
    /// is all of them until the body is done. What follows the body is left alone.
    ///
    /// # Errors
    /// A malformed chunk, trailers or a body above the limit. The same error comes again if asked again.
    pub fn read(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, HttpError> {
        self.advance(input, out)
            .inspect_err(|error| self.state = State::Failed(*error))
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, HttpError> {
        let mut rest = input;
        while !rest.is_empty() {
            match self.state {
                State::Exact(missing) => {
                    let missing = self.take(&mut rest, missing, out);
                    self.state = if missing == 0 {
                        State::Done
                    } else {
                        State::Exact(missing)
                    };
                }
                State::Data(missing) => {
                    let missing = self.take(&mut rest, missing, out);
                    self.state = if missing == 0 {
                        State::DataEnd
                    } else {
                        State::Data(missing)
                    };
                }
                State::UntilClose => {
                    let room = (self.bytes_max as u64).saturating_sub(self.taken);
                    self.take(&mut rest, room, out);
                    if !rest.is_empty() {
                        return Err(HttpError::BodyTooLarge {
                            bytes_max: self.bytes_max,
                        });
                    }
                }
                State::Done => break,
                State::Failed(error) => return Err(error),
                _ => {
                    let Some((&byte, behind)) = rest.split_first() else {
                        break;
                    };
                    self.state = self.step(byte)?;
                    rest = behind;
                }
            }
        }
        Ok(input.len() - rest.len())
    }

    /// Moves up to `missing` bytes over; returns how many are missing then.
    fn take(&mut self, rest: &mut &[u8], missing: u64, out: &mut Vec<u8>) -> u64 {
        let len = usize::try_from(missing)
            .unwrap_or(usize::MAX)
            .min(rest.len());
        let (data, behind) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        out.extend_from_slice(data);
        *rest = behind;
        self.taken += len as u64;
        missing.saturating_sub(len as u64)
    }

    /// One byte of what stands around the data of chunks.
    fn step(&mut self, byte: u8) -> Result<State, HttpError> {
        use State::{Blank, Data, DataEnd, DataLf, Done, Extension, LastLf, Size, SizeEnd};
        use State::{Trailer, TrailerLf, TrailerStart};
        match (self.state, byte) {
            (Size(digits), _) if byte.is_ascii_hexdigit() => self.size_digit(digits, byte),
            (Size(1..), b'\r') => Ok(SizeEnd),
            (Size(1..) | Blank, b' ' | b'\t') => self.extension_byte(Blank),
            (Size(1..) | Blank, b';') => self.extension_byte(Extension),
            (Size(_) | Blank, _) => Err(HttpError::ChunkSize),

            (Extension, b'\r') => Ok(SizeEnd),
            (Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extension_byte(Extension),
            (Extension, _) => Err(HttpError::ChunkExtension),

            (SizeEnd, b'\n') if self.size == 0 => Ok(TrailerStart),
            (SizeEnd, b'\n') => Ok(Data(self.size)),
            (SizeEnd, _) => Err(HttpError::ChunkSize),

            (DataEnd, b'\r') => Ok(DataLf),
            (DataLf, b'\n') => {
                self.size = 0;
                Ok(Size(0))
            }
            (DataEnd | DataLf, _) => Err(HttpError::ChunkEnd),

            (TrailerStart, b'\r') => Ok(LastLf),
            (Trailer, b'\r') => self.trailer_byte(TrailerLf),
            (TrailerLf, b'\n') => self.trailer_byte(TrailerStart),
            (LastLf, b'\n') => Ok(Done),
            // RFC 9112 §5.2: no folded lines here either.
            (TrailerStart, b' ' | b'\t') => Err(HttpError::Trailer),
            (TrailerStart | Trailer, b'\t' | b' '..=b'~' | 0x80..) => self.trailer_byte(Trailer),
            (TrailerStart | Trailer | TrailerLf | LastLf, _) => Err(HttpError::Trailer),

            // `advance` deals with these before it looks at single bytes.
            (State::Exact(_) | State::UntilClose | Data(_) | Done | State::Failed(_), _) => {
                Ok(self.state)
            }
        }
    }

    /// Refuses a size as soon as the sum is above the limit, so no number here can overflow.
    fn size_digit(&mut self, digits: u8, byte: u8) -> Result<State, HttpError> {
        let too_large = HttpError::BodyTooLarge {
            bytes_max: self.bytes_max,
        };
        if digits >= SIZE_DIGITS_MAX {
            return Err(HttpError::ChunkSize);
        }
        let digit = u64::from(hex_value(byte).ok_or(HttpError::ChunkSize)?);
        self.size = self
            .size
            .checked_mul(16)
            .and_then(|size| size.checked_add(digit))
            .ok_or(too_large)?;
        match self.taken.checked_add(self.size) {
            Some(sum) if sum <= self.bytes_max as u64 => Ok(State::Size(digits + 1)),
            _ => Err(too_large),
        }
    }

    /// RFC 9112 §7.1.1: extensions that are not known are ignored, and their total length is limited.
    fn extension_byte(&mut self, next: State) -> Result<State, HttpError> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX {
            Err(HttpError::ChunkExtension)
        } else {
            Ok(next)
        }
    }

    /// RFC 9112 §7.1.2: trailers may be discarded, and their length is limited.
    fn trailer_byte(&mut self, next: State) -> Result<State, HttpError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(HttpError::TrailersTooLong {
                bytes_max: TRAILER_BYTES_MAX,
            });
        }
        Ok(next)
    }
}

/// Digits of a chunk size, leading zeros included.
const SIZE_DIGITS_MAX: u8 = 16;

/// All chunk extensions of a body together. Signing clients send about 90 bytes with each chunk of 64 KiB.
const EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// All trailer lines of a body together.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Reads a chunked body whole.
    fn chunked(input: &[u8], bytes_max: usize) -> Result<(usize, Vec<u8>, bool), HttpError> {
        let mut reader = BodyReader::new(BodyLength::Chunked, bytes_max)?;
        let mut out = Vec::new();
        let used = reader.read(input, &mut out)?;
        Ok((used, out, reader.is_done()))
    }

    #[test]
    fn an_exact_body_leaves_the_rest() {
        let mut reader = BodyReader::new(BodyLength::Exact(5), 5).unwrap();
        let mut out = Vec::new();
        assert_eq!(reader.read(b"hel", &mut out), Ok(3));
        assert!(!reader.is_done());
        assert_eq!(reader.read(b"loGET /", &mut out), Ok(2));
        assert!(reader.is_done());
        assert_eq!(reader.read(b"GET /", &mut out), Ok(0));
        assert_eq!(out, b"hello");
    }

    #[test]
    fn an_announced_length_is_refused_before_reading_and_reserves_nothing() {
        assert_eq!(
            BodyReader::new(BodyLength::Exact(6), 5).unwrap_err(),
            HttpError::BodyTooLarge { bytes_max: 5 }
        );
        assert!(BodyReader::new(BodyLength::Exact(0), 0).unwrap().is_done());
        assert!(BodyReader::new(BodyLength::None, 0).unwrap().is_done());
        let mut out = Vec::new();
        BodyReader::new(BodyLength::Exact(1 << 30), 1 << 30)
            .unwrap()
            .read(b"a", &mut out)
            .unwrap();
        assert!(out.capacity() < 1024);
    }

    #[test]
    fn a_body_until_close_is_bounded_too() {
        let mut reader = BodyReader::for_response(ResponseBody::UntilClose, 4).unwrap();
        let mut out = Vec::new();
        assert_eq!(reader.read(b"abcd", &mut out), Ok(4));
        assert!(!reader.is_done());
        assert_eq!(
            reader.read(b"e", &mut out),
            Err(HttpError::BodyTooLarge { bytes_max: 4 })
        );
        assert_eq!(reader.read(b"", &mut out), Ok(0));
        assert_eq!(
            reader.read(b"f", &mut out),
            Err(HttpError::BodyTooLarge { bytes_max: 4 })
        );
    }

    #[test]
    fn every_state_meets_every_byte() {
        use State::*;
        let reader = |state| BodyReader {
            state,
            size: 0,
            taken: 0,
            bytes_max: 1 << 20,
            extension_bytes: 0,
            trailer_bytes: 0,
        };
        // Each state, and the bytes it accepts; all others must be refused.
        let visible = |b: u8| b == b'\t' || (b >= b' ' && b != 0x7f);
        let table: [(State, &dyn Fn(u8) -> bool); 10] = [
            (Size(0), &|b| b.is_ascii_hexdigit()),
            (Size(1), &|b| {
                b.is_ascii_hexdigit() || b"\r; \t".contains(&b)
            }),
            (Blank, &|b| b"; \t".contains(&b)),
            (Extension, &|b| b == b'\r' || visible(b)),
            (SizeEnd, &|b| b == b'\n'),
            (DataEnd, &|b| b == b'\r'),
            (DataLf, &|b| b == b'\n'),
            (TrailerStart, &|b| {
                b == b'\r' || (visible(b) && b != b' ' && b != b'\t')
            }),
            (Trailer, &|b| b == b'\r' || visible(b)),
            (TrailerLf, &|b| b == b'\n'),
        ];
        for (state, accepts) in table {
            for byte in 0..=255 {
                assert_eq!(
                    reader(state).step(byte).is_ok(),
                    accepts(byte),
                    "{state:?} {byte:#04x}"
                );
            }
        }
    }

    #[test]
    fn limits_hold_at_n_and_not_at_n_plus_1() {
        let with_extension = |n: usize| [b"1", &vec![b';'; n][..], b"\r\na\r\n0\r\n\r\n"].concat();
        assert!(chunked(&with_extension(EXTENSION_BYTES_MAX), 9).unwrap().2);
        assert_eq!(
            chunked(&with_extension(EXTENSION_BYTES_MAX + 1), 9),
            Err(HttpError::ChunkExtension)
        );
        let with_trailer = |n: usize| [b"0\r\n", &vec![b'a'; n - 2][..], b"\r\n\r\n"].concat();
        assert!(chunked(&with_trailer(TRAILER_BYTES_MAX), 9).unwrap().2);
        let too_long = HttpError::TrailersTooLong {
            bytes_max: TRAILER_BYTES_MAX,
        };
        assert_eq!(
            chunked(&with_trailer(TRAILER_BYTES_MAX + 1), 9),
            Err(too_long)
        );
        assert!(chunked(b"0000000000000001\r\na\r\n0\r\n\r\n", 9).unwrap().2);
        assert_eq!(chunked(b"00000000000000001", 9), Err(HttpError::ChunkSize));
        assert!(chunked(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 3).unwrap().2);
        assert_eq!(
            chunked(b"2\r\nab\r\n2\r\n", 3),
            Err(HttpError::BodyTooLarge { bytes_max: 3 })
        );
    }
}
