//! Bytes to events: the receiving half of a connection.
//!
//! The rule: **call [`WebSocket::next_event`] until it answers `Ok(None)`**; then all input is consumed. Whatever a
//! header shows is refused at the header, before any payload. A message that lies whole in the input is unmasked
//! where it lies and lent; only what is cut is copied.
//!
//! Most frames are whole messages that came in one piece. `whole_message` takes those in one step and nothing
//! else: whatever it does not know, it leaves untouched to the general way, which alone says what is wrong.
//!
//! ```text
//!            ┌───────────── next header ◀──────────────────────────────────┐
//!            ▼                                                             │
//!   ┌─ between frames ─┐  header whole   ┌─ payload whole in the input: lent ─┤
//!   │ a cut header     │ ───────────────▶│                                    │
//!   │ is assembled too │                 └─ cut, or a fragment: assembled ────┤
//!   └──────────────────┘                                                      │
//!            │ fault: Err, once                           close: Event, once  │
//!            ▼                                                                ▼
//!         Failed: input is discarded                       Closed: input is discarded
//! ```

use super::assembly::{Assembly, Complete};
use super::closing::CloseCode;
use super::error::ProtocolError;
use super::frame::{FrameHeader, HEADER_BYTES_MAX, OpCode, Role};
use super::mask::mask;
use super::message::{Event, Message};
use super::utf8::from_utf8;
use std::{mem, str};

#[cfg(feature = "deflate")]
mod inflating;

/// The receiving half of one connection: 16 bytes while nothing is cut.
#[derive(Debug)]
pub struct WebSocket {
    assembly: Option<Box<Assembly>>,
    flags: u8,
}

/// How much a peer may send at once. RFC 6455 §10.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, all fragments together.
    pub message_bytes_max: usize,
    /// The largest single data frame.
    pub frame_bytes_max: usize,
    /// The most frames a fragmented message may come in, empty ones included.
    pub fragments_max: u32,
}

impl Limits {
    /// Limits for messages of up to `bytes_max` bytes, whole or in fragments.
    ///
    /// Fragments are assembled into one buffer, so they cost time and not memory: 1,024 and one per 32 bytes leave
    /// room for every honest client.
    pub fn for_message_bytes(bytes_max: usize) -> Self {
        Self {
            message_bytes_max: bytes_max,
            frame_bytes_max: bytes_max,
            fragments_max: u32::try_from(1024 + bytes_max / 32).unwrap_or(u32::MAX),
        }
    }
}

impl Default for Limits {
    /// Messages of up to 64 KiB.
    fn default() -> Self {
        Self::for_message_bytes(64 * 1024)
    }
}

impl WebSocket {
    /// The decoder for this end of a connection that has just been opened.
    pub fn new(role: Role) -> Self {
        Self {
            assembly: None,
            flags: match role {
                Role::Server => 0,
                Role::Client => CLIENT,
            },
        }
    }

    /// Takes the next event out of `input`, which advances behind what was taken.
    ///
    /// `Ok(None)` means that all of `input` was consumed and more is needed. The event borrows from the input or
    /// from the decoder, until the next call. After an error, and after a close event, everything is discarded.
    ///
    /// # Errors
    ///
    /// The peer's first breach of the protocol or of `limits`; it is reported once.
    #[inline(always)]
    pub fn next_event<'a, 'b: 'a>(
        &'a mut self,
        limits: &Limits,
        input: &mut &'b mut [u8],
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        // Nothing is held and nothing has ended: the way of most frames.
        if self.assembly.is_none() && self.flags & !CLIENT == 0 {
            if input.is_empty() {
                return Ok(None);
            }
            if let Some((is_text, payload)) = whole_message(self.flags != 0, limits, input) {
                if !is_text {
                    return Ok(Some(Event::Message(Message::Binary(payload))));
                }
                return match from_utf8(payload) {
                    Ok(text) => Ok(Some(Event::Message(Message::Text(text)))),
                    Err(_) => {
                        *input = &mut [];
                        Err(self.fail(ProtocolError::InvalidUtf8))
                    }
                };
            }
        }
        self.next_of_any(limits, input)
    }

    /// The general way: frames of all kinds, cut anywhere.
    #[inline(never)]
    fn next_of_any<'a, 'b: 'a>(
        &'a mut self,
        limits: &Limits,
        input: &mut &'b mut [u8],
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        self.release();
        if self.has(CLOSED | FAILED) {
            *input = &mut [];
            return Ok(None);
        }
        match self.advance(limits, input) {
            Ok(None) => Ok(None),
            Ok(Some(Ready::InPlace(event))) => Ok(Some(event)),
            Ok(Some(Ready::Assembled(complete))) => Ok(self
                .assembly
                .as_ref()
                .and_then(|assembly| assembly.lend(complete))),
            // Only who agreed to compress may send this, and who agreed calls `next_event_inflating`.
            #[cfg(feature = "deflate")]
            Ok(Some(Ready::Deflated(..))) => {
                *input = &mut [];
                Err(self.fail(ProtocolError::ReservedBits))
            }
            Err(error) => {
                *input = &mut [];
                Err(self.fail(error))
            }
        }
    }

    /// Notes that the peer has broken the protocol.
    #[cold]
    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.flags |= FAILED;
        self.assembly = None;
        error
    }

    /// True while an unfinished header, frame or message is held: what a message time-out is about.
    pub fn is_mid_message(&self) -> bool {
        let assembly = self.assembly.as_ref().filter(|_| !self.has(LENT_MESSAGE));
        assembly.is_some_and(|assembly| {
            assembly.is_mid_header() || assembly.is_mid_frame() || assembly.message().is_some()
        })
    }

    /// Bytes of heap held; 0 when nothing is cut, up to twice what has been received of a message otherwise.
    ///
    /// What an event lends from is given back by the next call of [`next_event`](Self::next_event).
    pub fn buffered_bytes(&self) -> usize {
        self.assembly
            .as_ref()
            .map_or(0, |assembly| assembly.heap_bytes())
    }

    /// Bytes that the frame which is arriving has announced and that have not come yet.
    pub fn missing_bytes(&self) -> usize {
        self.assembly
            .as_ref()
            .map_or(0, |assembly| assembly.missing_bytes())
    }

    /// Forgets what is unfinished; from now on everything that comes is discarded.
    pub fn discard(&mut self) {
        self.flags = (self.flags & CLIENT) | FAILED;
        self.assembly = None;
    }

    /// True once a close event was returned. What comes after it is discarded. RFC 6455 §5.5.1.
    pub fn is_closed(&self) -> bool {
        self.has(CLOSED)
    }

    /// The loop behind `next_event`: frames until one of them makes an event, or the input ends.
    fn advance<'b>(
        &mut self,
        limits: &Limits,
        input: &mut &'b mut [u8],
    ) -> Result<Option<Ready<'b>>, ProtocolError> {
        loop {
            if let Some(assembly) = self
                .assembly
                .as_mut()
                .filter(|assembly| assembly.is_mid_frame())
            {
                if let Some(complete) = assembly.take_payload(limits, input)? {
                    self.completed(complete);
                    return Ok(Some(Ready::Assembled(complete)));
                }
                if assembly.is_mid_frame() {
                    return Ok(None);
                }
            }
            let Some(header) = self.take_header(limits, input)? else {
                return Ok(None);
            };
            let whole_message = header.fin && header.opcode != OpCode::Continuation;
            let len = usize::try_from(header.len).unwrap_or(usize::MAX);
            if whole_message && len <= input.len() {
                let (payload, rest) = mem::take(input).split_at_mut(len);
                *input = rest;
                #[cfg(feature = "deflate")]
                if header.rsv != 0 {
                    if let Some(key) = header.mask {
                        mask(payload, key, 0);
                    }
                    return Ok(Some(Ready::Deflated(header.opcode, payload)));
                }
                return self
                    .in_place(&header, payload)
                    .map(|event| Some(Ready::InPlace(event)));
            }
            self.assembly_mut().begin(&header);
        }
    }

    /// The event of a frame that is one by itself and lies whole in the input.
    fn in_place<'b>(
        &mut self,
        header: &FrameHeader,
        payload: &'b mut [u8],
    ) -> Result<Event<'b>, ProtocolError> {
        if let Some(key) = header.mask {
            mask(payload, key, 0);
        }
        Ok(match header.opcode {
            OpCode::Text => {
                let text = from_utf8(payload).map_err(|_| ProtocolError::InvalidUtf8)?;
                Event::Message(Message::Text(text))
            }
            OpCode::Binary | OpCode::Continuation => Event::Message(Message::Binary(payload)),
            OpCode::Ping => Event::Ping(payload),
            OpCode::Pong => Event::Pong(payload),
            OpCode::Close => {
                let event = close_event(payload)?;
                self.flags |= CLOSED;
                self.assembly = None;
                event
            }
        })
    }

    /// Takes a header out of what was kept of it and the input, once it is whole.
    fn take_header(
        &mut self,
        limits: &Limits,
        input: &mut &mut [u8],
    ) -> Result<Option<FrameHeader>, ProtocolError> {
        let is_cut = |assembly: &Assembly| assembly.is_mid_header();
        if !self.assembly.as_deref().is_some_and(is_cut) {
            if let Some((header, taken)) = self.parse_header(limits, input)? {
                *input = mem::take(input).split_at_mut(taken).1;
                return Ok(Some(header));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
        while let Some((byte, rest)) = mem::take(input).split_first_mut() {
            *input = rest;
            let mut begun = [0; HEADER_BYTES_MAX];
            let begun = self.assembly_mut().push_header(*byte, &mut begun);
            if let Some((header, _)) = self.parse_header(limits, begun)? {
                self.assembly_mut().end_header();
                // With a message under way it is kept for that, else it has served its purpose.
                self.assembly.take_if(|a| a.message().is_none());
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn assembly_mut(&mut self) -> &mut Assembly {
        self.assembly
            .get_or_insert_with(|| Box::new(Assembly::new()))
    }

    /// Parses a header and judges it: by its bytes, by this end's role, by the frames before, by the limits.
    ///
    /// The order is fixed, and what two bytes show comes first, so that a fault is the same one however the bytes
    /// were cut.
    fn parse_header(
        &self,
        limits: &Limits,
        bytes: &[u8],
    ) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
        let Some(&[first, second]) = bytes.first_chunk::<2>() else {
            return Ok(None);
        };
        // RFC 6455 §5.2: reserved bits are zero unless an extension was negotiated that gives them a meaning.
        if first & 0x70 != 0 && !self.is_compressed(first) {
            return Err(ProtocolError::ReservedBits);
        }
        // RFC 6455 §5.1: masked from the client, and only from there.
        match (self.has(CLIENT), second & 0x80 != 0) {
            (false, false) => return Err(ProtocolError::Unmasked),
            (true, true) => return Err(ProtocolError::Masked),
            _ => {}
        }
        let opcode = OpCode::from_bits(first & 0x0F).ok_or(ProtocolError::ReservedOpCode)?;
        let begun = self
            .assembly
            .as_ref()
            .and_then(|assembly| assembly.message());
        let (received, fragments) = begun.unwrap_or((0, 0));
        if !opcode.is_control() {
            // RFC 6455 §5.4: the fragments of a message follow each other.
            match (begun, opcode) {
                (None, OpCode::Continuation) => return Err(ProtocolError::UnexpectedContinuation),
                (Some(_), OpCode::Text | OpCode::Binary) => {
                    return Err(ProtocolError::ExpectedContinuation);
                }
                _ => {}
            }
            let is_fragment = first & 0x80 == 0 || opcode == OpCode::Continuation;
            if is_fragment && fragments >= limits.fragments_max {
                return Err(ProtocolError::TooManyFragments);
            }
        }
        let Some((header, taken)) = FrameHeader::parse(bytes)? else {
            return Ok(None);
        };
        if !opcode.is_control() {
            let (frame_max, message_max) = self.wire_limits(limits, first);
            if header.len > frame_max as u64 {
                return Err(ProtocolError::FrameTooBig);
            }
            if header.len.saturating_add(received as u64) > message_max as u64 {
                return Err(ProtocolError::MessageTooBig);
            }
        }
        Ok(Some((header, taken)))
    }

    /// No extension gives a meaning to the reserved bits.
    #[cfg(not(feature = "deflate"))]
    #[inline(always)]
    fn is_compressed(&self, _first: u8) -> bool {
        false
    }

    /// The limits of a frame and its message on the wire.
    #[cfg(not(feature = "deflate"))]
    #[inline(always)]
    fn wire_limits(&self, limits: &Limits, _first: u8) -> (usize, usize) {
        (limits.frame_bytes_max, limits.message_bytes_max)
    }

    /// Remembers what the assembly is about to lend.
    fn completed(&mut self, complete: Complete) {
        match complete {
            Complete::Message => self.flags |= LENT_MESSAGE,
            Complete::Control(OpCode::Close) => {
                self.flags |= LENT_CONTROL | CLOSED;
                if let Some(assembly) = &mut self.assembly {
                    assembly.drop_message();
                }
            }
            Complete::Control(_) => self.flags |= LENT_CONTROL,
        }
    }

    /// Gives back what the last event was lent from. [`next_event`](Self::next_event) does it too; this is for who will
    /// not call it soon.
    pub fn release(&mut self) {
        if !self.has(LENT_MESSAGE | LENT_CONTROL) {
            return;
        }
        let message_follows = self.has(LENT_CONTROL)
            && self
                .assembly
                .as_ref()
                .is_some_and(|assembly| assembly.message().is_some());
        if !message_follows {
            self.assembly = None;
        }
        self.flags &= !(LENT_MESSAGE | LENT_CONTROL);
    }

    /// True if any of these flags is set.
    fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

/// Takes a whole unfragmented text or binary message that lies at the front of `input`, and unmasks it. `None`: it
/// is something else, cut, or not in order; nothing was taken or changed.
#[inline(always)]
fn whole_message<'b>(
    is_client: bool,
    limits: &Limits,
    input: &mut &'b mut [u8],
) -> Option<(bool, &'b mut [u8])> {
    let &[first, second, third, fourth] = input.first_chunk::<4>()?;
    let is_text = first == 0x81;
    if !is_text && first != 0x82 {
        return None;
    }
    if (second & 0x80 == 0) != is_client {
        return None;
    }
    let (len, head) = match second & 0x7F {
        126 => (usize::from(u16::from_be_bytes([third, fourth])), 4),
        127 => return None,
        short => (usize::from(short), 2),
    };
    let is_minimal = head == 2 || len > 125;
    if !is_minimal || len > limits.frame_bytes_max || len > limits.message_bytes_max {
        return None;
    }
    if is_client {
        input.get(head + len..head + len)?;
        let (_, rest) = mem::take(input).split_at_mut(head);
        let (payload, rest) = rest.split_at_mut(len);
        *input = rest;
        return Some((is_text, payload));
    }
    input.get(head + 4 + len..)?;
    let (_, rest) = mem::take(input).split_at_mut(head);
    let (key, rest) = rest.split_first_chunk_mut::<4>()?;
    let (payload, rest) = rest.split_at_mut(len);
    *input = rest;
    mask(payload, *key, 0);
    Some((is_text, payload))
}

/// The meaning of a close frame's payload. RFC 6455 §5.5.1, §7.4.
pub(super) fn close_event(payload: &[u8]) -> Result<Event<'_>, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(Event::Close(CloseCode::NO_STATUS, ""))
        } else {
            Err(ProtocolError::ClosePayloadTooShort)
        };
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.may_be_sent() {
        return Err(ProtocolError::IllegalCloseCode(code));
    }
    let reason = str::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
    Ok(Event::Close(code, reason))
}

/// An event, or where it can be borrowed from.
enum Ready<'b> {
    InPlace(Event<'b>),
    Assembled(Complete),
    /// A whole compressed message of this kind, unmasked.
    #[cfg(feature = "deflate")]
    Deflated(OpCode, &'b mut [u8]),
}

/// This end is the client.
const CLIENT: u8 = 0x01;
/// A close event was returned.
const CLOSED: u8 = 0x02;
/// An error was returned.
const FAILED: u8 = 0x04;
/// The last event was the assembled message.
const LENT_MESSAGE: u8 = 0x08;
/// The last event was the assembled control frame.
const LENT_CONTROL: u8 = 0x10;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ws::encode_message;

    const LIMITS: Limits = Limits {
        message_bytes_max: 100,
        frame_bytes_max: 100,
        fragments_max: 8,
    };

    #[test]
    fn an_idle_connection_is_two_words() {
        assert!(size_of::<WebSocket>() <= 16);
    }

    #[test]
    fn a_whole_message_is_lent_from_the_input() {
        let mut socket = WebSocket::new(Role::Client);
        let mut bytes = *b"\x81\x02hi\x82\x01x";
        let range = bytes.as_ptr_range();
        let mut input = &mut bytes[..];
        let Some(Event::Message(message)) = socket.next_event(&LIMITS, &mut input).unwrap() else {
            panic!("no message");
        };
        assert_eq!(message, Message::Text("hi"));
        assert!(range.contains(&message.as_bytes().as_ptr()));
        assert_eq!(input.len(), 3);
        assert_eq!(socket.buffered_bytes(), 0);
    }

    #[test]
    fn memory_follows_bytes_received_and_is_given_back() {
        let limits = Limits::for_message_bytes(1 << 30);
        let mut socket = WebSocket::new(Role::Client);
        let mut header = [0; HEADER_BYTES_MAX];
        let len = 100_000;
        let announced = FrameHeader {
            fin: true,
            rsv: 0,
            opcode: OpCode::Binary,
            mask: None,
            len,
        };
        let taken = announced.encode(&mut header);
        assert_eq!(
            socket.next_event(&limits, &mut &mut header[..taken]),
            Ok(None)
        );
        assert!(
            socket.buffered_bytes() <= size_of::<Assembly>(),
            "nothing received yet"
        );
        let mut received = 0;
        let mut delivered = 0;
        while received < len as usize {
            let mut piece = [7; 1000];
            if let Some(Event::Message(message)) =
                socket.next_event(&limits, &mut &mut piece[..]).unwrap()
            {
                delivered = message.len();
            }
            received += piece.len();
            assert!(socket.buffered_bytes() <= 2 * received + size_of::<Assembly>());
        }
        assert_eq!(delivered as u64, len);
        assert!(!socket.is_mid_message());
        assert_eq!(socket.next_event(&limits, &mut &mut [][..]), Ok(None));
        assert_eq!(socket.buffered_bytes(), 0);
    }

    #[test]
    fn memory_never_exceeds_what_a_text_can_become() {
        let text = format!("x{}", "\u{e9}".repeat(1000));
        let mut bytes = Vec::new();
        encode_message(&mut bytes, Message::Text(&text), None);
        let limits = Limits::for_message_bytes(1 << 20);
        // Pieces of even length end inside a character each time.
        for piece_bytes in [1, 7, 334, 1002, 1998] {
            let mut socket = WebSocket::new(Role::Client);
            let mut bytes = bytes.clone();
            let mut delivered = 0;
            for piece in bytes.chunks_mut(piece_bytes) {
                if let Some(Event::Message(message)) =
                    socket.next_event(&limits, &mut &mut *piece).unwrap()
                {
                    delivered = message.len();
                }
                assert!(socket.buffered_bytes() <= text.len() + size_of::<Assembly>());
            }
            assert_eq!(delivered, text.len());
        }
    }

    #[test]
    fn mid_message_says_whether_something_is_unfinished() {
        let mut socket = WebSocket::new(Role::Client);
        // First fragment, ping, pong cut in the middle, last fragment: byte by byte.
        let stream = b"\x01\x01a\x89\x00\x8a\x01p\x80\x01b";
        let expected = [
            true, true, true, true, true, true, true, true, true, true, false,
        ];
        for (&byte, expected) in stream.iter().zip(expected) {
            socket.next_event(&LIMITS, &mut &mut [byte][..]).unwrap();
            assert_eq!(socket.is_mid_message(), expected);
        }
        assert_eq!(socket.next_event(&LIMITS, &mut &mut [][..]), Ok(None));
        assert_eq!(
            (socket.is_mid_message(), socket.buffered_bytes()),
            (false, 0)
        );
    }

    #[test]
    fn a_held_control_frame_leaves_nothing_behind() {
        let mut socket = WebSocket::new(Role::Client);
        assert_eq!(
            socket.next_event(&LIMITS, &mut &mut b"\x89\x02o".to_vec()[..]),
            Ok(None)
        );
        assert!(socket.is_mid_message() && socket.buffered_bytes() > 0);
        let mut rest = *b"k";
        let event = socket.next_event(&LIMITS, &mut &mut rest[..]);
        assert_eq!(event, Ok(Some(Event::Ping(b"ok"))));
        assert!(!socket.is_mid_message());
        assert_eq!(socket.next_event(&LIMITS, &mut &mut [][..]), Ok(None));
        assert_eq!(socket.buffered_bytes(), 0);
    }

    #[test]
    fn after_an_error_everything_is_discarded() {
        let mut socket = WebSocket::new(Role::Server);
        let mut bytes = b"\x81\x02hi\x81\x02hi".to_vec();
        let mut input = &mut bytes[..];
        assert_eq!(
            socket.next_event(&LIMITS, &mut input),
            Err(ProtocolError::Unmasked)
        );
        assert!(input.is_empty());
        let mut more = b"\x89\x80\0\0\0\0".to_vec();
        let mut input = &mut more[..];
        assert_eq!(socket.next_event(&LIMITS, &mut input), Ok(None));
        assert!(input.is_empty() && !socket.is_mid_message());
    }
}
