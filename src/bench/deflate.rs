//! `--deflate`: permessage-deflate from the client's end. RFC 7692.
//!
//! The offer is `permessage-deflate; server_no_context_takeover; client_no_context_takeover`: each message stands by
//! itself in both directions, so every server that takes it does the same work for each. What is sent is compressed
//! at level 1 (`echo` without a rate: once, when its windows are made; else message by message, which costs this end
//! some 4 to 10 us each).
//!
//! The rule: a load tool must cost less than the server it loads, and inflating costs as much as a whole delivery. So
//! **the same compressed bytes are inflated once**: what stands by itself says the same whoever it is sent to. A
//! publication that was compressed once for all, and an echo of a window that came before, cost a comparison of
//! bytes; everything is still looked at, to the last byte.
//!
//! ```text
//!   compressed payload ──▶ as the one behind the last? as another of the last 64? ──yes──▶ its start and length
//!                                                        └──no──▶ inflated, remembered ──▶ its start and length
//! ```

use super::reader::START_BYTES;
use super::stamp::{Stamp, Template};
use crate::ws::deflate::{Agreement, ClientOffer, Compressor, Inflater, WINDOW_BITS_MAX, Windows};
use crate::ws::{AnswerError, Event, Limits, OpCode, ProtocolError, Role, WebSocket, encode_frame};

/// What stands in `Sec-WebSocket-Extensions`. Nothing of windows: 32 KiB both ways. RFC 7692 §7.1.
pub(crate) const OFFER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// The same, to hold the answer against.
pub(crate) const MEANT: ClientOffer = ClientOffer {
    server_no_context_takeover: true,
    server_max_window_bits: None,
    client_keeps_context: false,
};
const LEVEL: u8 = 1;
/// RSV1, of the three reserved bits of a frame. RFC 7692 §6.
pub(crate) const RSV1: u8 = 0b100;
/// A compressed message, and what comes out of it, at most.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// How many payloads are remembered: two windows of 32.
const KNOWN_MAX: usize = 64;

/// Whether the server has agreed; the answer must allow what we do.
pub(crate) fn is_agreed(agreed: Option<Agreement>) -> Result<bool, AnswerError> {
    match agreed {
        Some(agreed) if agreed.send_bits < WINDOW_BITS_MAX => Err(AnswerError::Extension),
        agreed => Ok(agreed.is_some()),
    }
}

/// Compresses what is sent, inflates what is received: one for all connections.
#[derive(Debug, Default)]
pub(crate) struct Deflate {
    compressor: Compressor,
    inflater: Inflater,
    /// The last payload that was inflated, as a frame.
    frame: Vec<u8>,
    known: Vec<Known>,
    /// Where the next one is likely to be, and which one makes room for a new one.
    likely: usize,
    oldest: usize,
}

/// A compressed payload, and what is in it.
#[derive(Debug, Default)]
struct Known {
    payload: Vec<u8>,
    start: Vec<u8>,
    length: u64,
}

impl Deflate {
    /// Appends the message with this stamp as a client's frame.
    pub(crate) fn encode(
        &mut self,
        out: &mut Vec<u8>,
        template: &mut Template,
        stamp: Stamp,
        mask: [u8; 4],
    ) {
        let opcode = template.opcode();
        let message = template.message(stamp);
        self.compressor
            .encode_frame(out, opcode, message, WINDOW_BITS_MAX, LEVEL, Some(mask));
    }

    /// The first bytes of the message in this payload, and its length.
    pub(crate) fn unpack(&mut self, payload: &[u8]) -> Result<(&[u8], u64), ProtocolError> {
        // One without a payload was wrong.
        let is_it = |known: &Known| known.payload == payload && !payload.is_empty();
        let found = if self.known.get(self.likely).is_some_and(is_it) {
            Some(self.likely)
        } else {
            self.known.iter().position(is_it)
        };
        let at = match found {
            Some(at) => at,
            None => self.learn(payload)?,
        };
        self.likely = (at + 1) % KNOWN_MAX;
        let known = &self.known[at];
        Ok((&known.start, known.length))
    }

    /// Inflates a payload that is new, and remembers it: where.
    fn learn(&mut self, payload: &[u8]) -> Result<usize, ProtocolError> {
        let at = self.oldest;
        if at == self.known.len() {
            self.known.push(Known::default());
        }
        self.oldest = (at + 1) % KNOWN_MAX;
        let place = &mut self.known[at];
        // What was there must not be taken for this one if this one is wrong.
        place.payload.clear();
        place.start.clear();
        self.frame.clear();
        encode_frame(&mut self.frame, OpCode::Binary, payload, None);
        if let Some(first) = self.frame.first_mut() {
            *first |= RSV1 << 4;
        }
        let agreed = MEANT.check([OFFER.as_bytes()]).ok().flatten();
        let agreed = agreed.ok_or(ProtocolError::Deflate)?;
        // Through the decoder of our client role, whose limits hold meanwhile. As binary: UTF-8 is not checked here.
        let mut socket = WebSocket::with_deflate(Role::Client, &agreed);
        let limits = Limits::for_message_bytes(MESSAGE_BYTES_MAX);
        let (mut windows, mut input) = (Windows::default(), &mut self.frame[..]);
        let inflater = &mut self.inflater;
        let event = socket.next_event_inflating(&limits, &mut input, inflater, &mut windows, 0)?;
        let Some(Event::Message(message)) = event else {
            return Err(ProtocolError::Deflate);
        };
        let bytes = message.as_bytes();
        place
            .start
            .extend_from_slice(&bytes[..bytes.len().min(START_BYTES)]);
        place.length = bytes.len() as u64;
        place.payload.extend_from_slice(payload);
        Ok(at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::filler::Filler;
    use super::super::stamp::Run;
    use super::*;

    #[test]
    fn the_offer_is_what_is_meant() {
        let agreed = MEANT.check([OFFER.as_bytes()]);
        assert_eq!(is_agreed(agreed.unwrap()), Ok(true));
        assert_eq!(is_agreed(MEANT.check([]).unwrap()), Ok(false));
        let narrow = format!("{OFFER}; client_max_window_bits=10");
        let agreed = MEANT.check([narrow.as_bytes()]).unwrap();
        assert_eq!(is_agreed(agreed), Err(AnswerError::Extension));
        assert!(MEANT.check([&b"permessage-deflate"[..]]).is_err());
    }

    #[test]
    fn what_is_known_is_not_inflated_again() {
        let run = Run::new(7);
        let mut deflate = Deflate::default();
        let mut template = Template::new(&run, 2000, false, Filler::Json);
        let mut payloads = Vec::new();
        for number in 0..100 {
            let stamp = Stamp {
                publisher: 1,
                number,
                at: 5,
            };
            let mut frame = Vec::new();
            deflate.encode(&mut frame, &mut template, stamp, [0; 4]);
            assert_eq!(frame[0], 0xC1, "text, compressed");
            payloads.push(frame.split_off(8));
        }
        let mut inflated = 0;
        for burst in payloads.chunks(16) {
            for _ in 0..3 {
                for payload in burst {
                    let (start, length) = deflate.unpack(payload).unwrap();
                    assert_eq!((start.len(), length), (START_BYTES, 2000));
                    assert!(run.find(start, &mut 0).is_some());
                }
            }
            inflated += 2000 * burst.len() as u64;
            assert_eq!(deflate.inflater.bytes().1, inflated);
        }
        assert_eq!(deflate.unpack(b"no deflate"), Err(ProtocolError::Deflate));
        assert_eq!(deflate.unpack(b""), Ok((&b""[..], 0)));
    }
}
