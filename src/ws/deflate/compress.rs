//! A message to a compressed frame.
//!
//! The rule: each message is compressed by itself and flushed to a byte, without the four bytes that every flush
//! ends with (RFC 7692 §7.2.1). What does not shrink travels as it is, with RSV1 clear.
//!
//! A message that is no longer than the peer's window cannot refer back beyond it, so it is compressed with the
//! largest one and is the same for every peer; only long messages are compressed once more per window. zlib's
//! states are large (380 KiB) and are made when they are first needed: one for most workers, none for those whose
//! messages are small.

use std::fmt;

use zlib_rs::{Deflate, DeflateFlush, compress_bound};

use super::super::encode::encode_frame;
use super::super::frame::{FrameHeader, HEADER_BYTES_MAX, OpCode};
use super::super::mask::mask as apply_mask;
use super::super::message::Message;
use super::small::{SMALL_BYTES_MAX, Small};
use super::{RSV1, TAIL, WINDOW_BITS_MAX, WINDOW_BITS_MIN};

/// The compressors of one worker.
#[derive(Default)]
pub struct Compressor {
    /// By window bits, with the level each is set to.
    states: [Option<(Deflate, u8)>; WINDOWS],
    small: Small,
    runs: u64,
}

/// What a sync flush adds at most, and one byte that shows that there was room.
const FLUSH_BYTES: usize = 16;
const WINDOWS: usize = (WINDOW_BITS_MAX - WINDOW_BITS_MIN + 1) as usize;

impl Compressor {
    /// How often something was compressed.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// The window that a message of this length needs, for a peer whose window is `bits`: a group of peers for whom
    /// the compressed message is the same.
    pub fn effective_bits(bits: u8, message_bytes: usize) -> u8 {
        if message_bytes <= 1 << bits {
            WINDOW_BITS_MAX
        } else {
            bits
        }
    }

    /// Appends a message as one frame, compressed if that makes it shorter; answers how many bytes it saved.
    pub fn encode_message(
        &mut self,
        out: &mut Vec<u8>,
        message: Message<'_>,
        bits: u8,
        level: u8,
        mask: Option<[u8; 4]>,
    ) -> usize {
        self.encode_frame(out, message.opcode(), message.as_bytes(), bits, level, mask)
    }

    /// The same for a message in its parts.
    pub fn encode_frame(
        &mut self,
        out: &mut Vec<u8>,
        opcode: OpCode,
        payload: &[u8],
        bits: u8,
        level: u8,
        mask: Option<[u8; 4]>,
    ) -> usize {
        let start = out.len();
        // The header's length follows from the payload's, so room is left for the longest it can be.
        let gap = header_bytes(payload.len(), mask.is_some());
        let body = start + gap;
        // Room for everything that can come out: a state that was stopped half-way cannot be used again (its
        // `reset` forgets where in its own buffer it was).
        out.resize(body + compress_bound(payload.len()) + FLUSH_BYTES, 0);
        let room = out.get_mut(body..).unwrap_or_default();
        let Some(len) = self.compress(payload, room, bits, level) else {
            out.truncate(start);
            encode_frame(out, opcode, payload, mask);
            return 0;
        };
        out.truncate(body + len);
        if let (Some(key), Some(compressed)) = (mask, out.get_mut(body..)) {
            apply_mask(compressed, key, 0);
        }
        let header = FrameHeader {
            fin: true,
            rsv: RSV1,
            opcode,
            mask,
            len: len as u64,
        };
        let mut bytes = [0; HEADER_BYTES_MAX];
        let taken = header.encode(&mut bytes);
        if taken < gap {
            out.copy_within(body.., start + taken);
            out.truncate(start + taken + len);
        }
        if let (Some(place), Some(bytes)) = (out.get_mut(start..start + taken), bytes.get(..taken))
        {
            place.copy_from_slice(bytes);
        }
        payload.len() - len
    }

    /// Compresses into `room`: `None` if it does not shrink.
    fn compress(&mut self, payload: &[u8], room: &mut [u8], bits: u8, level: u8) -> Option<usize> {
        let bits = Self::effective_bits(bits, payload.len());
        let place = usize::from(bits.checked_sub(WINDOW_BITS_MIN)?);
        let level = level.clamp(1, 9);
        self.runs += 1;
        if level == 1 && payload.len() <= SMALL_BYTES_MAX {
            return self.small.compress(payload, room, 1 << bits);
        }
        let state = self.states.get_mut(place)?;
        if state.as_ref().is_none_or(|(_, set)| *set != level) {
            *state = Some((Deflate::new(i32::from(level), false, bits), level));
        }
        let (deflate, _) = state.as_mut()?;
        deflate.reset();
        let flushed = deflate.compress(payload, room, DeflateFlush::SyncFlush);
        let made = usize::try_from(deflate.total_out()).ok()?;
        let whole = flushed.is_ok()
            && deflate.total_in() == payload.len() as u64
            && made < room.len()
            && room.get(..made)?.ends_with(&TAIL);
        if !whole {
            *state = None;
            return None;
        }
        let len = made - TAIL.len();
        (len < payload.len()).then_some(len)
    }
}

/// How long the header of such a frame is.
fn header_bytes(payload_bytes: usize, masked: bool) -> usize {
    let length = match payload_bytes {
        0..=0x7D => 2,
        0x7E..=0xFFFF => 4,
        _ => 10,
    };
    length + if masked { 4 } else { 0 }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("runs", &self.runs)
            .finish_non_exhaustive()
    }
}
