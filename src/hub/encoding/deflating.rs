//! Messages compressed with permessage-deflate.

use super::super::Hub;
use super::super::frames::{FrameId, Frames};
use super::{Encoding, Kind, message_in};
use crate::ws::Message;
use crate::ws::deflate::{Agreement, Compressor, Settings, Windows};

/// Sessions that get the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    bits: u8,
    level: u8,
    min_bytes: usize,
}

/// The worker's compressor, and what is kept of clients that keep their context.
#[derive(Debug, Default)]
pub(super) struct Deflating {
    compressor: Compressor,
    /// Few: one per window size and per route with settings of its own.
    groups: Vec<Group>,
    /// Payload bytes that did not have to be sent.
    saved: u64,
    windows: Windows,
}

impl Deflating {
    /// Appends a message to one session, if it is worth compressing.
    pub(super) fn encode(
        &mut self,
        out: &mut Vec<u8>,
        message: Message<'_>,
        how: Encoding,
    ) -> bool {
        let Some(group) = self.group(how).filter(|g| message.len() >= g.min_bytes) else {
            return false;
        };
        let saved = self
            .compressor
            .encode_message(out, message, group.bits, group.level, None);
        self.saved += saved as u64;
        true
    }

    fn group(&self, how: Encoding) -> Option<Group> {
        let at = usize::from(how.0).checked_sub(1)?;
        self.groups.get(at).copied()
    }

    /// The encoding for sessions with this agreement; `None`: there are too many kinds.
    fn join(&mut self, agreed: &Agreement, settings: &Settings) -> Option<Encoding> {
        let group = Group {
            bits: agreed.send_bits,
            level: settings.level,
            min_bytes: settings.min_bytes,
        };
        let at = self.groups.iter().position(|known| *known == group);
        let at = at.unwrap_or(self.groups.len());
        let encoding = Encoding(u8::try_from(at + 1).ok()?);
        if encoding.0 >= super::NAMED {
            return None;
        }
        if at == self.groups.len() {
            self.groups.push(group);
        }
        Some(encoding)
    }

    /// Which copy of a frame these sessions want; `None`: the frame itself.
    pub(super) fn kind(&self, frame: &[u8], how: Encoding) -> Option<Kind> {
        let group = self.group(how)?;
        let (_, payload) = message_in(frame)?;
        if payload.len() < group.min_bytes {
            return None;
        }
        let bits = Compressor::effective_bits(group.bits, payload.len());
        let level = group.level;
        Some(Kind::Compressed { bits, level })
    }

    /// A compressed version of a frame, if that is shorter.
    pub(super) fn compress(
        &mut self,
        frames: &mut Frames,
        plain: FrameId,
        bits: u8,
        level: u8,
    ) -> Option<FrameId> {
        let compressor = &mut self.compressor;
        let mut shrank = false;
        let copy = frames.insert_copy(plain, |plain, out| {
            if let Some((opcode, payload)) = message_in(plain) {
                shrank = compressor.encode_frame(out, opcode, payload, bits, level, None) > 0;
            }
        })?;
        if !shrank {
            frames.discard(copy);
        }
        shrank.then_some(copy)
    }

    pub(super) fn note_saved(&mut self, plain_bytes: usize, bytes: usize) {
        self.saved += plain_bytes.saturating_sub(bytes) as u64;
    }
}

impl Hub {
    /// From now on the session gets its messages compressed. `false`: it has to do without.
    pub(crate) fn agree_deflate(
        &mut self,
        index: u32,
        agreed: &Agreement,
        settings: &Settings,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return false;
        };
        if !session.encoding.is_plain() {
            return false; // It wants something else already.
        }
        let Some(encoding) = self.encoder.deflating.join(agreed, settings) else {
            return false;
        };
        session.encoding = encoding;
        self.metrics.deflate_connections_total += 1;
        true
    }

    /// Bytes of windows that are kept.
    pub(in super::super) fn window_bytes(&self) -> usize {
        self.encoder.deflating.windows.bytes()
    }

    /// What is kept of clients that keep their context, by session.
    pub(crate) fn windows(&mut self) -> &mut Windows {
        &mut self.encoder.deflating.windows
    }

    /// The bytes that are kept of one of them.
    pub(crate) fn window_bytes_of(&self, index: u32) -> usize {
        self.encoder.deflating.windows.bytes_of(index)
    }

    /// Whether a session's window has to go: with all that is kept and waits it is more than the memory budget.
    pub(crate) fn window_is_too_much(&self, index: u32) -> bool {
        let windows = &self.encoder.deflating.windows;
        self.used_bytes() > self.limits.memory_budget_bytes && windows.has(index)
    }

    /// Writes down what was inflated so far. It counts for the turn: a kilobyte may become a megabyte, and others
    /// want their turn too. Answers whether there was any.
    pub(crate) fn note_inflated(&mut self, (received, inflated): (u64, u64)) -> bool {
        let metrics = &mut self.metrics;
        let made = inflated - metrics.deflate_inflated_bytes_total;
        let taken = received - metrics.deflate_received_bytes_total;
        let cost = made.saturating_add(taken.saturating_mul(INPUT_COST));
        self.turn_bytes = self.turn_bytes.saturating_add(cost as usize);
        metrics.deflate_received_bytes_total = received;
        metrics.deflate_inflated_bytes_total = inflated;
        cost > 0
    }

    /// Writes down what was compressed so far, and what is kept.
    pub(crate) fn note_encoded(&mut self) {
        self.metrics.deflate_compressions_total = self.encoder.deflating.compressor.runs();
        self.metrics.deflate_saved_bytes_total = self.encoder.deflating.saved;
        self.metrics.deflate_window_bytes = self.encoder.deflating.windows.bytes() as u64;
    }
}

/// What a compressed byte counts for in a turn. Block headers that hold nothing take 50 to 80 ns a byte to read.
const INPUT_COST: u64 = 8;
