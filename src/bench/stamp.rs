//! What stands in a message, so that whoever receives it knows which one it is and when it was due.
//!
//! ```text
//!   {"stamp":"5f0c21ab-00-0000000042-00000123456789","pad":"xxxxxxxx…"}
//!             run      │  number     when it was due (or left), in
//!                      publisher     nanoseconds since the run began
//! ```
//!
//! The rule: the stamp survives a server that wraps the message or quotes it as a JSON string, because it has only
//! letters, digits and dashes; and a message has exactly the length that was asked for. Too short for JSON, it is
//! the bare stamp and padding; too short for a stamp, only padding, and then messages are counted, not recognised.

use super::filler::Filler;
use crate::ws::{OpCode, encode_frame};

/// Run (8), publisher (2), number (10), time (14), and three dashes.
pub(crate) const STAMP_BYTES: usize = 37;
const BEFORE: &[u8] = b"{\"stamp\":\"";
const BETWEEN: &[u8] = b"\",";
const PAD: &[u8] = b"\"pad\":\"";
const AFTER: &[u8] = b"\"}";

/// What a stamp says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) publisher: u32,
    pub(crate) number: u64,
    pub(crate) at: u64,
}

/// Writes the messages of one run.
#[derive(Debug)]
pub(crate) struct Template {
    /// They take turns.
    payloads: Vec<Vec<u8>>,
    /// Where the stamp stands in each, if there is one.
    stamp: Option<usize>,
    length: usize,
    opcode: OpCode,
}

impl Template {
    /// Messages of exactly `length` bytes.
    pub(crate) fn new(run: &Run, length: usize, binary: bool, filler: Filler) -> Self {
        let json = BEFORE.len() + STAMP_BYTES + BETWEEN.len() + PAD.len() + AFTER.len();
        let stamp = match length {
            _ if length >= json => Some(BEFORE.len()),
            _ if length >= STAMP_BYTES => Some(0),
            _ => None,
        };
        let payload = |variant| {
            let mut payload = Vec::with_capacity(length);
            if length >= json {
                payload.extend_from_slice(BEFORE);
                payload.extend_from_slice(&run.blank());
                payload.extend_from_slice(BETWEEN);
                filler.members(&mut payload, length - json, variant);
                payload.extend_from_slice(PAD);
                let letters = length - AFTER.len() - payload.len();
                filler.letters(&mut payload, letters, variant);
                payload.extend_from_slice(AFTER);
            } else {
                if stamp.is_some() {
                    payload.extend_from_slice(&run.blank());
                }
                let letters = length - payload.len();
                filler.letters(&mut payload, letters, variant);
            }
            payload
        };
        Self {
            payloads: (0..filler.variants()).map(payload).collect(),
            length,
            stamp,
            opcode: if binary { OpCode::Binary } else { OpCode::Text },
        }
    }

    /// Whether messages can be told apart.
    pub(crate) fn has_stamp(&self) -> bool {
        self.stamp.is_some()
    }

    /// How long each message is.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Text or binary.
    pub(crate) fn opcode(&self) -> OpCode {
        self.opcode
    }

    /// The message with this stamp.
    pub(crate) fn message(&mut self, stamp: Stamp) -> &[u8] {
        let turn = stamp.number % self.payloads.len() as u64;
        let payload = &mut self.payloads[turn as usize];
        if let Some(start) = self.stamp
            && let Some(bytes) = payload.get_mut(start..start + STAMP_BYTES)
        {
            write_digits(&mut bytes[9..11], u64::from(stamp.publisher));
            write_digits(&mut bytes[12..22], stamp.number);
            write_digits(&mut bytes[23..37], stamp.at);
        }
        payload
    }

    /// Appends the message with this stamp as a client's frame. RFC 6455 §5.3.
    pub(crate) fn encode(&mut self, out: &mut Vec<u8>, stamp: Stamp, mask: [u8; 4]) {
        let opcode = self.opcode;
        encode_frame(out, opcode, self.message(stamp), Some(mask));
    }
}

/// Whose messages these are: eight digits that another run does not share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run([u8; 8]);

impl Run {
    pub(crate) fn new(random: u64) -> Self {
        let mut digits = [0; 8];
        for (i, digit) in digits.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(random >> (4 * i) & 15) as usize];
        }
        Self(digits)
    }

    fn blank(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [b'0'; STAMP_BYTES];
        bytes[..8].copy_from_slice(&self.0);
        for dash in [8, 11, 22] {
            bytes[dash] = b'-';
        }
        bytes
    }

    /// The stamp of this run in the first bytes of a message. `hint` is where the last one stood: servers put the
    /// same in front of each.
    pub(crate) fn find(self, start: &[u8], hint: &mut usize) -> Option<Stamp> {
        if let Some(stamp) = start.get(*hint..).and_then(|bytes| self.read(bytes)) {
            return Some(stamp);
        }
        let (at, stamp) = (0..start.len().saturating_sub(STAMP_BYTES - 1))
            .find_map(|at| Some((at, self.read(&start[at..])?)))?;
        *hint = at;
        Some(stamp)
    }

    fn read(self, bytes: &[u8]) -> Option<Stamp> {
        let bytes = bytes.first_chunk::<STAMP_BYTES>()?;
        if bytes[..8] != self.0 || bytes[8] != b'-' {
            return None;
        }
        Some(Stamp {
            publisher: read_digits(&bytes[9..11])? as u32,
            number: read_digits(&bytes[12..22])?,
            at: read_digits(&bytes[23..37])?,
        })
    }
}

fn write_digits(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[inline]
fn read_digits(bytes: &[u8]) -> Option<u64> {
    let mut value = 0;
    for &byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value)
}

/// What a message is to a receiver that knows which ones came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The one that was due, or one after a gap: what lies in the gap is missing until it comes.
    Next,
    /// One that was missing.
    Late,
    /// One that was here before.
    Again,
}

/// Which messages of one sender one receiver has seen.
#[derive(Debug, Default, Clone)]
pub(crate) struct Track {
    next: u64,
    missing: Vec<u64>,
}

impl Track {
    /// One more; numbers begin with 0.
    #[inline]
    pub(crate) fn see(&mut self, number: u64) -> Arrival {
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
            return Arrival::Next;
        }
        match self.missing.iter().position(|&missing| missing == number) {
            Some(at) => {
                self.missing.swap_remove(at);
                Arrival::Late
            }
            None => Arrival::Again,
        }
    }

    /// The number that is due.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// How many of the first `sent` have not come.
    pub(crate) fn lost(&self, sent: u64) -> u64 {
        self.missing.len() as u64 + sent.saturating_sub(self.next)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::deflate::Deflate;
    use super::*;

    #[test]
    fn a_message_has_its_length_and_is_recognised_even_when_wrapped() {
        let run = Run::new(0x1234_5678_9abc_def0);
        let stamp = Stamp {
            publisher: 7,
            number: 42,
            at: 123_456_789,
        };
        for length in [37, 50, 57, 58, 125, 1024] {
            let mut template = Template::new(&run, length, false, Filler::X);
            let message = template.message(stamp).to_vec();
            assert_eq!((message.len(), template.len()), (length, length));
            let mut hint = 99;
            assert_eq!(run.find(&message, &mut hint), Some(stamp), "{length}");
            assert_eq!(hint, if length < 58 { 0 } else { 10 });
            let wrapped = [b"{\"channel\":\"x\",\"data\":", &message[..]].concat();
            assert_eq!(run.find(&wrapped, &mut hint), Some(stamp));
            assert_eq!(Run::new(1).find(&wrapped, &mut hint), None);
        }
        assert!(!Template::new(&run, 36, false, Filler::X).has_stamp());
        assert_eq!(Template::new(&run, 0, true, Filler::Json).len(), 0);
    }

    #[test]
    fn long_messages_are_json() {
        for filler in [Filler::X, Filler::Json] {
            for length in [58, 59, 125, 130, 131, 200, 1024, 16384] {
                let mut template = Template::new(&Run::new(9), length, false, filler);
                for number in 0..20 {
                    let stamp = Stamp {
                        publisher: 0,
                        number,
                        at: 2,
                    };
                    let message = template.message(stamp);
                    assert_eq!(message.len(), length);
                    let value: serde_json::Value = serde_json::from_slice(message).unwrap();
                    let expected = format!("90000000-00-{number:010}-00000000000002");
                    assert_eq!(value["stamp"], expected);
                    let is_long = filler == Filler::Json && length >= 200;
                    assert!(value["events"].is_array() || !is_long, "{value}");
                }
            }
        }
    }

    #[test]
    fn events_shrink_as_in_life() {
        let mut template = Template::new(&Run::new(9), 1024, false, Filler::Json);
        let mut messages = Vec::new();
        for number in 0..32 {
            let stamp = Stamp {
                publisher: 0,
                number,
                at: 2,
            };
            let mut deflate = Deflate::default();
            let mut frame = Vec::new();
            deflate.encode(&mut frame, &mut template, stamp, [0; 4]);
            assert!((350..650).contains(&frame.len()), "{}", frame.len());
            messages.push(template.message(stamp)[60..].to_vec());
        }
        assert_ne!(messages[0], messages[1]);
        assert_eq!(messages[0], messages[16]);
    }

    #[test]
    fn gaps_close_when_the_late_one_comes() {
        let mut track = Track::default();
        assert_eq!(track.see(0), Arrival::Next);
        assert_eq!(track.see(3), Arrival::Next);
        assert_eq!(track.lost(5), 3);
        assert_eq!(track.see(1), Arrival::Late);
        assert_eq!(track.see(1), Arrival::Again);
        assert_eq!(track.see(3), Arrival::Again);
        assert_eq!((track.lost(5), track.next()), (2, 4));
    }
}
