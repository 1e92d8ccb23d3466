//! What is kept of a connection between two reads, when a frame or a message is cut.
//!
//! The rule: memory follows bytes *received*. A buffer grows by doubling with what has arrived and is never sized
//! by what a header announces, which only caps it. An idle connection has no assembly at all.
//!
//! ```text
//!   header:   the beginning of one that is not whole yet
//!   frame:    the one whose payload is arriving            (none between frames)
//!   message:  the text or binary under construction        (none outside a message)
//!   control:  up to 125 bytes of a control frame, which may come between two fragments
//! ```

use super::decoder::{Limits, close_event};
use super::error::ProtocolError;
use super::frame::{CONTROL_BYTES_MAX, FrameHeader, HEADER_BYTES_MAX, OpCode};
use super::mask::mask;
use super::message::{Event, Message};
use super::utf8::Utf8Buffer;
use std::mem;

/// The unfinished part of one connection's input.
#[derive(Debug)]
pub(super) struct Assembly {
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    frame: Option<Frame>,
    message: Option<Partial>,
    control: [u8; CONTROL_BYTES_MAX],
    control_len: u8,
}

/// What an assembly has completed and can now lend.
#[derive(Debug, Clone, Copy)]
pub(super) enum Complete {
    /// The message.
    Message,
    /// The control frame with this opcode.
    Control(OpCode),
}

/// A frame whose payload is arriving.
#[derive(Debug)]
struct Frame {
    opcode: OpCode,
    fin: bool,
    mask: Option<[u8; 4]>,
    len: usize,
    taken: usize,
}

/// A message under construction.
#[derive(Debug)]
struct Partial {
    body: Body,
    fragments: u32,
}

/// The payload so far, and how it is to be checked.
#[derive(Debug)]
enum Body {
    Text(Utf8Buffer),
    Binary(Vec<u8>),
    /// A message of this kind, still compressed.
    #[cfg(feature = "deflate")]
    Deflated(OpCode, Vec<u8>),
}

impl Assembly {
    /// An assembly that holds nothing yet.
    pub(super) fn new() -> Self {
        Self {
            header: [0; HEADER_BYTES_MAX],
            header_len: 0,
            frame: None,
            message: None,
            control: [0; CONTROL_BYTES_MAX],
            control_len: 0,
        }
    }

    /// One more byte of a header that came in pieces; gives back what there is of it.
    pub(super) fn push_header<'h>(
        &mut self,
        byte: u8,
        begun: &'h mut [u8; HEADER_BYTES_MAX],
    ) -> &'h [u8] {
        // 14 bytes are always a whole header, so there is room.
        if let Some(place) = self.header.get_mut(usize::from(self.header_len)) {
            *place = byte;
            self.header_len += 1;
        }
        *begun = self.header;
        begun
            .get(..usize::from(self.header_len))
            .unwrap_or_default()
    }

    /// The header was whole.
    pub(super) fn end_header(&mut self) {
        self.header_len = 0;
    }

    /// True while a header is arriving.
    pub(super) fn is_mid_header(&self) -> bool {
        self.header_len > 0
    }

    /// Begins the frame with this header, which the decoder has checked against `limits` and the state.
    pub(super) fn begin(&mut self, header: &FrameHeader) {
        let (fin, mask) = (header.fin, header.mask);
        let opcode = header.opcode;
        match opcode {
            #[cfg(feature = "deflate")]
            OpCode::Text | OpCode::Binary if header.rsv != 0 => {
                self.message = Some(Partial::new(Body::Deflated(opcode, Vec::new())));
            }
            OpCode::Text => self.message = Some(Partial::new(Body::Text(Utf8Buffer::default()))),
            OpCode::Binary => self.message = Some(Partial::new(Body::Binary(Vec::new()))),
            OpCode::Continuation => {
                if let Some(partial) = &mut self.message {
                    partial.fragments += 1;
                }
            }
            OpCode::Close | OpCode::Ping | OpCode::Pong => self.control_len = 0,
        }
        // The limits are of type usize, so a length within them fits.
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        self.frame = Some(Frame {
            opcode,
            fin,
            mask,
            len,
            taken: 0,
        });
    }

    /// Takes what `input` has of the frame's payload, and tells what that completes.
    pub(super) fn take_payload(
        &mut self,
        limits: &Limits,
        input: &mut &mut [u8],
    ) -> Result<Option<Complete>, ProtocolError> {
        let Some(frame) = &mut self.frame else {
            return Ok(None);
        };
        let present = input.len().min(frame.len - frame.taken);
        let (chunk, rest) = mem::take(input).split_at_mut(present);
        *input = rest;
        if let Some(key) = frame.mask {
            mask(chunk, key, frame.taken);
        }
        frame.taken += chunk.len();
        let (opcode, fin, missing) = (frame.opcode, frame.fin, frame.len - frame.taken);
        if missing == 0 {
            self.frame = None;
        }
        if opcode.is_control() {
            self.push_control(chunk);
            if missing > 0 {
                return Ok(None);
            }
            if opcode == OpCode::Close {
                close_event(self.control())?;
            }
            return Ok(Some(Complete::Control(opcode)));
        }
        let Some(partial) = &mut self.message else {
            return Ok(None);
        };
        // What the message can still become: known with its last frame, else bounded by the limit.
        let len_max = if fin {
            partial.len() + chunk.len() + missing
        } else {
            limits.message_bytes_max
        };
        partial.body.push(chunk, len_max)?;
        if missing > 0 || !fin {
            return Ok(None);
        }
        #[cfg(feature = "deflate")]
        if let Body::Deflated(..) = partial.body {
            return Ok(Some(Complete::Message));
        }
        partial.body.whole().ok_or(ProtocolError::InvalidUtf8)?;
        Ok(Some(Complete::Message))
    }

    /// Lends what was completed.
    pub(super) fn lend(&self, complete: Complete) -> Option<Event<'_>> {
        match complete {
            Complete::Message => self.message.as_ref()?.body.whole().map(Event::Message),
            Complete::Control(OpCode::Ping) => Some(Event::Ping(self.control())),
            Complete::Control(OpCode::Pong) => Some(Event::Pong(self.control())),
            Complete::Control(_) => close_event(self.control()).ok(),
        }
    }

    /// The message, if it is a compressed one: its kind and what has come of it.
    #[cfg(feature = "deflate")]
    pub(super) fn deflated(&self) -> Option<(OpCode, &[u8])> {
        match &self.message.as_ref()?.body {
            Body::Deflated(opcode, bytes) => Some((*opcode, bytes)),
            _ => None,
        }
    }

    /// True while the payload of a frame is arriving.
    pub(super) fn is_mid_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Length and fragments of the message so far, if one has begun.
    pub(super) fn message(&self) -> Option<(usize, u32)> {
        let partial = self.message.as_ref()?;
        Some((partial.len(), partial.fragments))
    }

    /// Bytes of heap held, this box included.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.message.as_ref().map_or(0, Partial::capacity)
    }

    /// Bytes of the frame that is arriving that have not come yet.
    pub(super) fn missing_bytes(&self) -> usize {
        self.frame
            .as_ref()
            .map_or(0, |frame| frame.len - frame.taken)
    }

    /// Forgets the message: nothing of it is wanted any more.
    pub(super) fn drop_message(&mut self) {
        self.message = None;
    }

    /// The control frame's payload so far.
    fn control(&self) -> &[u8] {
        self.control
            .get(..usize::from(self.control_len))
            .unwrap_or_default()
    }

    /// Appends to it. The header was refused if it announced more than there is room for.
    fn push_control(&mut self, chunk: &[u8]) {
        let start = usize::from(self.control_len);
        if let Some(room) = self.control.get_mut(start..start + chunk.len()) {
            room.copy_from_slice(chunk);
            self.control_len += chunk.len() as u8;
        }
    }
}

impl Partial {
    fn new(body: Body) -> Self {
        Self { body, fragments: 1 }
    }

    fn len(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.len(),
            Body::Binary(bytes) => bytes.len(),
            #[cfg(feature = "deflate")]
            Body::Deflated(_, bytes) => bytes.len(),
        }
    }

    fn capacity(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.capacity(),
            Body::Binary(bytes) => bytes.capacity(),
            #[cfg(feature = "deflate")]
            Body::Deflated(_, bytes) => bytes.capacity(),
        }
    }
}

impl Body {
    /// Appends unmasked bytes. `len_max` is the most the message can still become.
    fn push(&mut self, chunk: &[u8], len_max: usize) -> Result<(), ProtocolError> {
        match self {
            Self::Text(text) => {
                text.reserve_exact(growth(text.len(), text.capacity(), chunk.len(), len_max));
                text.push(chunk).map_err(|_| ProtocolError::InvalidUtf8)
            }
            Self::Binary(bytes) => {
                push_bytes(bytes, chunk, len_max);
                Ok(())
            }
            #[cfg(feature = "deflate")]
            Self::Deflated(_, bytes) => {
                push_bytes(bytes, chunk, len_max);
                Ok(())
            }
        }
    }

    /// The message, unless its text ends inside a character.
    fn whole(&self) -> Option<Message<'_>> {
        match self {
            Self::Text(text) => text.whole().map(Message::Text),
            Self::Binary(bytes) => Some(Message::Binary(bytes)),
            #[cfg(feature = "deflate")]
            Self::Deflated(..) => None,
        }
    }
}

/// Appends to a buffer that is to hold `len_max` bytes at most.
fn push_bytes(bytes: &mut Vec<u8>, chunk: &[u8], len_max: usize) {
    bytes.reserve_exact(growth(bytes.len(), bytes.capacity(), chunk.len(), len_max));
    bytes.extend_from_slice(chunk);
}

/// How many bytes beyond `len` to make room for: none while `chunk` fits, else up to twice what has been received.
fn growth(len: usize, capacity: usize, chunk: usize, len_max: usize) -> usize {
    let needed = len + chunk;
    if needed <= capacity {
        return 0;
    }
    needed.saturating_mul(2).min(len_max).max(needed) - len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_doubles_what_was_received_and_stops_at_the_most_possible() {
        assert_eq!(growth(0, 0, 10, 1000), 20);
        assert_eq!(growth(10, 20, 10, 1000), 0);
        assert_eq!(growth(20, 20, 10, 1000), 40);
        assert_eq!(growth(20, 20, 10, 45), 25);
        assert_eq!(growth(20, 20, 10, 30), 10);
        assert_eq!(growth(0, 0, 0, 1000), 0);
    }
}
