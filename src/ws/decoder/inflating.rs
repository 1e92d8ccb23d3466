//! What permessage-deflate adds to the decoder. RFC 7692 §6.
//!
//! The rule: a compressed message is collected as it came, under the limits of the wire, and inflated once it is whole.
//! So an unfinished message costs what was received of it, and no connection owns an inflater.

use super::super::deflate::{Agreement, InflateContext, Inflater, RSV1, Windows, wire_bytes_max};
use super::super::error::ProtocolError;
use super::super::frame::{OpCode, Role};
use super::super::message::{Event, Message};
use super::super::utf8::from_utf8;
use super::{CLOSED, Complete, FAILED, Limits, Ready, WebSocket};

impl WebSocket {
    /// A decoder for a connection on which permessage-deflate was agreed. RFC 7692 §6.2.
    pub fn with_deflate(role: Role, agreed: &Agreement) -> Self {
        let mut socket = Self::new(role);
        let word = if agreed.peer_keeps_context {
            // Nine bits are taken for ten: that leaves three bits for all there is to remember.
            agreed.receive_bits.clamp(10, 15) - 8
        } else {
            1
        };
        socket.flags |= word << SHIFT;
        socket
    }

    /// How far back the peer's compressed messages may refer; `None`: each stands by itself.
    fn window_bytes(&self) -> Option<usize> {
        match self.flags >> SHIFT {
            0 | 1 => None,
            word => Some(1 << (word + 8)),
        }
    }

    /// As [`next_event`](Self::next_event), for a connection with permessage-deflate: a compressed message is lent
    /// from the inflater. `key` names this connection's place in `windows`, if the peer keeps its context.
    ///
    /// # Errors
    ///
    /// As there, and whatever is wrong with a compressed message.
    pub fn next_event_inflating<'a, 'b: 'a>(
        &'a mut self,
        limits: &Limits,
        input: &mut &'b mut [u8],
        inflater: &'a mut Inflater,
        windows: &mut Windows,
        key: u32,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        if self.flags >> SHIFT == 0 {
            return self.next_event(limits, input);
        }
        self.release();
        if self.has(CLOSED | FAILED) {
            *input = &mut [];
            return Ok(None);
        }
        let window_bytes = self.window_bytes();
        let (opcode, payload) = match self.advance(limits, input) {
            Ok(None) => return Ok(None),
            Ok(Some(Ready::InPlace(event))) => return Ok(Some(event)),
            Ok(Some(Ready::Deflated(opcode, payload))) => (opcode, &*payload),
            Ok(Some(Ready::Assembled(complete))) => {
                let deflated = match complete {
                    Complete::Message => self.assembly.as_ref().and_then(|a| a.deflated()),
                    Complete::Control(_) => None,
                };
                match deflated {
                    Some(deflated) => deflated,
                    None => {
                        let assembly = self.assembly.as_ref();
                        return Ok(assembly.and_then(|assembly| assembly.lend(complete)));
                    }
                }
            }
            Err(error) => {
                *input = &mut [];
                return Err(self.fail(error));
            }
        };
        let context = window_bytes.map(|bytes_max| InflateContext {
            windows,
            key,
            bytes_max,
        });
        let inflated = inflater
            .inflate(payload, limits.message_bytes_max, context)
            .and_then(|bytes| match opcode {
                OpCode::Text => from_utf8(bytes)
                    .map(Message::Text)
                    .map_err(|_| ProtocolError::InvalidUtf8),
                _ => Ok(Message::Binary(bytes)),
            });
        match inflated {
            Ok(message) => Ok(Some(Event::Message(message))),
            Err(error) => {
                *input = &mut [];
                Err(self.fail(error))
            }
        }
    }

    /// RFC 7692 §6: RSV1, and it alone, on the first frame of a data message says that the message is compressed.
    pub(super) fn is_compressed(&self, first: u8) -> bool {
        self.flags >> SHIFT != 0 && first & 0x70 == RSV1 << 4 && matches!(first & 0xF, 1 | 2)
    }

    /// The limits of a frame and its message on the wire. What does not shrink is a little longer compressed.
    pub(super) fn wire_limits(&self, limits: &Limits, first: u8) -> (usize, usize) {
        let begun = || {
            self.assembly
                .as_ref()
                .is_some_and(|a| a.deflated().is_some())
        };
        let (frame, message) = (limits.frame_bytes_max, limits.message_bytes_max);
        if first & 0x70 != 0 || first & 0xF == 0 && begun() {
            (wire_bytes_max(frame), wire_bytes_max(message))
        } else {
            (frame, message)
        }
    }
}

/// The upper three bits of the flags: no deflate (0), deflate without a context (1), or the bits of the peer's window
/// less eight.
const SHIFT: u8 = 5;
