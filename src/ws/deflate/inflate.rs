//! A compressed payload to a message.
//!
//! The rule: **the limit holds while inflating.** The inflater is never given room for more than one byte beyond
//! what a message may have; when that byte comes, the message is too big and nothing of it is looked at further
//! (1009). A payload that is no deflate stream, or that ends inside a block, is data that contradicts its kind
//! (1007; RFC 7692 §7.2.2 leaves the code open).
//!
//! ```text
//!   window kept? ─▶ set as dictionary ─▶ payload, tail 00 00 FF FF, an empty last block ─▶ whole? ─▶ message
//!                          ▲                │ a block of its own with BFINAL set ends the stream (§7.2.3.5):
//!                          └────────────────┘ begun anew with what came out so far
//! ```

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::super::error::ProtocolError;
use super::window::Windows;
use super::{TAIL, WINDOW_BITS_MAX};

/// One inflater for all connections of a worker, and the room that messages are lent from.
#[derive(Default)]
pub struct Inflater {
    /// 47 KiB, from the first compressed message on.
    state: Option<Inflate>,
    /// The payload, and what ends it.
    input: Vec<u8>,
    /// Initialised throughout; the message is at its beginning.
    out: Vec<u8>,
    /// Compressed bytes taken in, and bytes that came out.
    taken: u64,
    made: u64,
}

/// Whose context a message continues, and how far back it may refer.
#[derive(Debug)]
pub(in super::super) struct Context<'w> {
    pub(in super::super) windows: &'w mut Windows,
    pub(in super::super) key: u32,
    pub(in super::super) bytes_max: usize,
}

impl Inflater {
    /// Compressed bytes taken in so far, and the bytes they became.
    pub fn bytes(&self) -> (u64, u64) {
        (self.taken, self.made)
    }

    /// Bytes of heap held between messages: at most a MiB and zlib's own.
    pub fn heap_bytes(&self) -> usize {
        self.out.capacity() + self.input.capacity()
    }

    /// Inflates the payload of one message and lends the message.
    pub(in super::super) fn inflate(
        &mut self,
        payload: &[u8],
        message_bytes_max: usize,
        context: Option<Context<'_>>,
    ) -> Result<&[u8], ProtocolError> {
        if self.out.len() > KEPT_BYTES {
            self.out.truncate(KEPT_BYTES);
            self.out.shrink_to_fit();
        }
        if self.input.capacity() > KEPT_BYTES {
            self.input = Vec::new();
        }
        self.taken += payload.len() as u64;
        let dictionary = context
            .as_ref()
            .map_or(&[][..], |context| context.windows.get(context.key));
        let len = self.run(payload, message_bytes_max, dictionary)?;
        self.made += len as u64;
        let message = self.out.get(..len).unwrap_or_default();
        if let Some(context) = context {
            context
                .windows
                .push(context.key, message, context.bytes_max);
        }
        Ok(message)
    }

    /// Inflates into `out` and tells how long the message is.
    fn run(
        &mut self,
        payload: &[u8],
        message_bytes_max: usize,
        dictionary: &[u8],
    ) -> Result<usize, ProtocolError> {
        if payload.is_empty() {
            return Ok(0); // An empty message is one zero byte (§7.2.3.6); without it, it is empty all the same.
        }
        // In one piece with what belongs behind it: a call more costs more than the copy.
        self.input.clear();
        self.input.extend_from_slice(payload);
        self.input.extend_from_slice(&TAIL);
        self.input.extend_from_slice(&LAST_BLOCK);
        let behind = TAIL.len() + LAST_BLOCK.len();
        let state = self
            .state
            .get_or_insert_with(|| Inflate::new(false, WINDOW_BITS_MAX));
        let mut run = Run {
            state,
            out: &mut self.out,
            made: 0,
            bytes_max: message_bytes_max,
        };
        let mut rest = &self.input[..];
        // Each block with BFINAL costs a new beginning, and two bytes are enough for one.
        let mut endings = 8 + payload.len() / 256;
        loop {
            run.begin(dictionary)?;
            let (taken, ended) = run.feed(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
            if !ended {
                return Err(ProtocolError::Deflate);
            }
            // The last block was ours; or the payload ends with one of its own, without the byte that should come
            // behind that (§7.2.3.5), and nothing is missing.
            if rest.is_empty() || rest.len() == behind {
                return Ok(run.made);
            }
            endings = endings.checked_sub(1).ok_or(ProtocolError::Deflate)?;
        }
    }
}

/// One message on its way through the inflater.
struct Run<'r> {
    state: &'r mut Inflate,
    out: &'r mut Vec<u8>,
    made: usize,
    bytes_max: usize,
}

impl Run<'_> {
    /// Begins a stream that may refer back to the window, and to what this message has given so far.
    fn begin(&mut self, window: &[u8]) -> Result<(), ProtocolError> {
        self.state.reset(false);
        let made = self.out.get(..self.made).unwrap_or_default();
        for dictionary in [window, made] {
            if !dictionary.is_empty() {
                let back = dictionary.len().saturating_sub(1 << WINDOW_BITS_MAX);
                self.state
                    .set_dictionary(dictionary.get(back..).unwrap_or_default())
                    .map_err(|_| ProtocolError::Deflate)?;
            }
        }
        Ok(())
    }

    /// Inflates `input` until it is used up or its stream ends: how much was taken, and whether it ended.
    fn feed(&mut self, input: &[u8]) -> Result<(usize, bool), ProtocolError> {
        let mut taken = 0;
        loop {
            if self.made == self.out.len() {
                self.grow(input.len() - taken);
            }
            let rest = input.get(taken..).unwrap_or_default();
            let room = self.out.get_mut(self.made..).unwrap_or_default();
            let room_bytes = room.len();
            let before = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(rest, room, InflateFlush::SyncFlush)
                .map_err(|_| ProtocolError::Deflate)?;
            taken += (self.state.total_in() - before.0) as usize;
            let made = (self.state.total_out() - before.1) as usize;
            self.made += made;
            if self.made > self.bytes_max {
                return Err(ProtocolError::InflatedTooBig);
            }
            if status == Status::StreamEnd {
                return Ok((taken, true));
            }
            // With room left over, everything there was has come out.
            if made < room_bytes {
                return Ok((taken, false));
            }
        }
    }

    /// Makes room: by doubling, and never for more than one byte too many.
    fn grow(&mut self, input_bytes: usize) {
        let wanted = (self.out.len() * 2).max(input_bytes * 4).max(FIRST_BYTES);
        let len = wanted.min(self.bytes_max.saturating_add(1));
        // Whoever comes here with all the room used has not gone beyond the limit, so this grows.
        let len = len.max(self.made + 1);
        self.out.reserve_exact(len - self.out.len());
        self.out.resize(len, 0);
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("taken", &self.taken)
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

/// What the payload of a compressed message may have, if the message may have so many bytes: data that does not
/// shrink grows, by an eighth in the worst encoding.
pub(in super::super) fn wire_bytes_max(message_bytes_max: usize) -> usize {
    message_bytes_max
        .saturating_add(message_bytes_max / 8)
        .saturating_add(64)
}

/// An empty block with BFINAL set and fixed codes: behind the tail it ends the stream if, and only if, the payload
/// ended between two blocks.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];
/// The least room to begin with.
const FIRST_BYTES: usize = 16 << 10;
/// The most room that is kept for the next message.
const KEPT_BYTES: usize = 512 << 10;
