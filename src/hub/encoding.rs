//! How messages are encoded for a session: as they are, or compressed (feature `deflate`).
//!
//! The rule: **a publication is compressed once for all who want it the same way.** It is encoded plainly first, and
//! the first delivery to a session with permessage-deflate makes the compressed copy of that frame; the next one to
//! a session of its kind shares it. Copies live as frames do. What does not shrink, or is too small to try, is shared
//! with those who get it plainly. Without the feature all of this is nothing, and costs nothing.
//!
//! ```text
//!   publish ─▶ frame ──┬─────────────────────▶ plain subscribers
//!                      └─▶ copy (15 bits, 1) ─▶ subscribers with deflate, once for all windows it fits into
//! ```

#[cfg(feature = "deflate")]
pub(crate) use compressing::{Encoder, Encoding};
#[cfg(not(feature = "deflate"))]
pub(crate) use plain::{Encoder, Encoding};

#[cfg(not(feature = "deflate"))]
mod plain {
    use crate::ws::{self, Message};

    /// How a session wants its messages: there is one way.
    #[derive(Debug, Clone, Copy, Default)]
    pub(crate) struct Encoding {}

    impl Encoding {
        #[inline(always)]
        pub(crate) fn is_plain(self) -> bool {
            true
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Encoder {}

    impl Encoder {
        #[inline(always)]
        pub(crate) fn encode(&mut self, out: &mut Vec<u8>, message: Message<'_>, _: Encoding) {
            ws::encode_message(out, message, None);
        }
    }
}

#[cfg(feature = "deflate")]
mod compressing {
    use super::super::Hub;
    use super::super::frames::{FrameId, Frames};
    use crate::ws::deflate::{Agreement, Compressor, Settings, Windows};
    use crate::ws::{self, FrameHeader, Message, OpCode};

    /// How a session wants its messages: as they are (0), or like the encoder's group of this number.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct Encoding(u8);

    impl Encoding {
        #[inline]
        pub(crate) fn is_plain(self) -> bool {
            self.0 == 0
        }
    }

    /// Sessions that get the same bytes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Group {
        bits: u8,
        level: u8,
        min_bytes: usize,
    }

    /// One more version of the frame that is being published.
    #[derive(Debug)]
    struct Copy {
        bits: u8,
        level: u8,
        /// The frame itself, if it did not shrink.
        frame: FrameId,
        len: usize,
        /// Sessions that wait for it.
        references: u32,
    }

    /// The worker's compressor, and what is kept of clients that keep their context.
    #[derive(Debug, Default)]
    pub(crate) struct Encoder {
        compressor: Compressor,
        /// Few: one per window size and per route with settings of its own.
        groups: Vec<Group>,
        /// Copies of the frame that is being published.
        copies: Vec<Copy>,
        /// Payload bytes that did not have to be sent.
        saved: u64,
        pub(in super::super) windows: Windows,
    }

    impl Encoder {
        /// Appends a message to one session.
        pub(crate) fn encode(&mut self, out: &mut Vec<u8>, message: Message<'_>, how: Encoding) {
            match self.group(how) {
                Some(group) if message.len() >= group.min_bytes => {
                    let (bits, level) = (group.bits, group.level);
                    let saved = &mut self.saved;
                    *saved += self
                        .compressor
                        .encode_message(out, message, bits, level, None)
                        as u64;
                }
                _ => ws::encode_message(out, message, None),
            }
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
            let number = u8::try_from(at + 1).ok()?;
            if at == self.groups.len() {
                self.groups.push(group);
            }
            Some(Encoding(number))
        }

        /// The frame to queue for a session instead of `plain`, which holds one message, and its length. The caller
        /// counts a reference to `plain` all the same.
        #[inline]
        pub(crate) fn copy_for(
            &mut self,
            frames: &mut Frames,
            plain: FrameId,
            plain_bytes: usize,
            how: Encoding,
        ) -> (FrameId, usize) {
            match self.group(how) {
                Some(group) => self.copy_in(frames, plain, plain_bytes, group),
                None => (plain, plain_bytes),
            }
        }

        fn copy_in(
            &mut self,
            frames: &mut Frames,
            plain: FrameId,
            plain_bytes: usize,
            group: Group,
        ) -> (FrameId, usize) {
            let message_bytes = match message_in(frames.get(plain)) {
                Some((_, payload)) if payload.len() >= group.min_bytes => payload.len(),
                _ => return (plain, plain_bytes),
            };
            let bits = Compressor::effective_bits(group.bits, message_bytes);
            let level = group.level;
            let is_it = |copy: &Copy| (copy.bits, copy.level) == (bits, level);
            let at = self.copies.iter().position(is_it);
            let at = at.unwrap_or(self.copies.len());
            if at == self.copies.len() {
                let frame = self.compress(frames, plain, bits, level).unwrap_or(plain);
                self.copies.push(Copy {
                    bits,
                    level,
                    frame,
                    len: frames.get(frame).len(),
                    references: 0,
                });
            }
            let Some(copy) = self.copies.get_mut(at).filter(|copy| copy.frame != plain) else {
                return (plain, plain_bytes);
            };
            copy.references += 1;
            self.saved += plain_bytes.saturating_sub(copy.len) as u64;
            (copy.frame, copy.len)
        }

        /// A compressed version of a frame, if that is shorter.
        fn compress(
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

        /// The frame has been published: its copies belong to those who wait for them.
        pub(crate) fn end_copies(&mut self, frames: &mut Frames, plain: FrameId) {
            for copy in self.copies.drain(..).filter(|copy| copy.frame != plain) {
                frames.retain(copy.frame, copy.references);
                frames.forgo(plain, copy.references);
                frames.discard(copy.frame);
            }
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
            let Some(encoding) = self.encoder.join(agreed, settings) else {
                return false;
            };
            session.encoding = encoding;
            self.metrics.deflate_connections_total += 1;
            true
        }

        /// What is kept of clients that keep their context, by session.
        pub(crate) fn windows(&mut self) -> &mut Windows {
            &mut self.encoder.windows
        }

        /// Whether a session's window has to go: with all that is kept and waits it is more than the memory budget.
        pub(crate) fn window_is_too_much(&self, index: u32) -> bool {
            let windows = &self.encoder.windows;
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
            self.metrics.deflate_compressions_total = self.encoder.compressor.runs();
            self.metrics.deflate_saved_bytes_total = self.encoder.saved;
            self.metrics.deflate_window_bytes = self.encoder.windows.bytes() as u64;
        }
    }

    /// What a compressed byte counts for in a turn. Block headers that hold nothing take 50 to 80 ns a byte to read.
    const INPUT_COST: u64 = 8;

    /// The message of a frame that we have encoded: whole, unmasked, not compressed.
    fn message_in(frame: &[u8]) -> Option<(OpCode, &[u8])> {
        let (header, taken) = FrameHeader::parse(frame).ok()??;
        Some((header.opcode, frame.get(taken..)?))
    }
}
