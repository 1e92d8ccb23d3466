//! What waits for each session, in four bytes of the session.
//!
//! Most of the time nothing waits, and when something does it is one frame that has just been published. Neither
//! needs an [`Outbox`]: a thousand subscribers of a channel are marked with the frame's id and nothing else.
//!
//! ```text
//!   Nothing ── a frame ──▶ Lone(frame) ── another one, a short write, a marker ──▶ Queue(outbox)
//!      ▲                        │ written                                             │ all written
//!      └────────────────────────┴─────────────────────────────────────────────────────┘
//! ```

use slab::Slab;

use super::frames::{FrameId, Frames};
use super::outbox::{Outbox, Spill};

/// What waits for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waits(u32);

/// The same, spelled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    Nothing,
    /// One frame, of which nothing was written.
    Lone(FrameId),
    /// The key of an outbox.
    Queue(u32),
}

/// Marks a frame's id; what is not marked is the key of an outbox.
const LONE: u32 = 1 << 31;

impl Waits {
    pub(crate) const NOTHING: Self = Self(u32::MAX);

    #[inline]
    pub(crate) fn lone(frame: FrameId) -> Self {
        debug_assert!(frame.0 < LONE - 1);
        Self(frame.0 | LONE)
    }

    #[inline]
    pub(crate) fn is_nothing(self) -> bool {
        self == Self::NOTHING
    }

    #[inline]
    pub(crate) fn get(self) -> Waiting {
        match self.0 {
            u32::MAX => Waiting::Nothing,
            frame if frame & LONE != 0 => Waiting::Lone(FrameId(frame & !LONE)),
            outbox => Waiting::Queue(outbox),
        }
    }
}

/// The outboxes of those for whom more waits, and the queues of former ones: a burst to many subscribers takes them
/// from there and brings them back.
#[derive(Debug, Default)]
pub(crate) struct Outboxes {
    slab: Slab<Outbox>,
    spare: Vec<Spill>,
    /// Ids that the spare queues have room for.
    spare_ids: usize,
}

/// Spare queues have room for at most so many ids: 256 KiB.
const SPARE_IDS_MAX: usize = 64 << 10;
/// A queue that grew beyond this is not kept.
const SPARE_QUEUE_IDS_MAX: usize = 256;

impl Outboxes {
    /// The outbox, if there is one.
    #[inline]
    pub(crate) fn get(&self, waits: Waits) -> Option<&Outbox> {
        match waits.get() {
            Waiting::Queue(key) => self.slab.get(key as usize),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, waits: Waits) -> Option<&mut Outbox> {
        match waits.get() {
            Waiting::Queue(key) => self.slab.get_mut(key as usize),
            _ => None,
        }
    }

    /// The outbox, which comes into being if there is none; a lone frame becomes its first one.
    pub(crate) fn of(&mut self, waits: &mut Waits, frames: &Frames) -> &mut Outbox {
        let key = match waits.get() {
            Waiting::Queue(key) => key,
            waiting => {
                let key = self.slab.insert(Outbox::default()) as u32;
                *waits = Waits(key);
                if let Waiting::Lone(frame) = waiting {
                    let len = frames.len_of(frame);
                    self.slab[key as usize].push(frame, len);
                }
                key
            }
        };
        // `remove` is the only one that takes an outbox away, and forgets its key.
        self.slab
            .get_mut(key as usize)
            .expect("a key that waits names is valid")
    }

    /// Queues a frame behind what waits already; answers what waits now.
    #[inline]
    pub(crate) fn push(
        &mut self,
        waits: &mut Waits,
        frame: FrameId,
        len: usize,
        frames: &Frames,
    ) -> &Outbox {
        let key = match waits.get() {
            Waiting::Queue(key) => key,
            _ => {
                let outbox = self.of(waits, frames);
                outbox.push(frame, len);
                return outbox;
            }
        };
        let outbox = &mut self.slab[key as usize];
        if outbox.is_at_its_inline_end()
            && let Some(queue) = self.spare.pop()
        {
            self.spare_ids -= queue.capacity();
            outbox.move_into(queue);
        }
        outbox.push(frame, len);
        outbox
    }

    /// Takes an outbox away; its frames are the caller's to release.
    pub(crate) fn remove(&mut self, waits: &mut Waits) -> Option<Outbox> {
        let Waiting::Queue(key) = std::mem::replace(waits, Waits::NOTHING).get() else {
            return None;
        };
        self.slab.try_remove(key as usize)
    }

    /// Takes an empty outbox away and keeps its queue for others.
    pub(crate) fn remove_empty(&mut self, waits: &mut Waits) {
        let Some(outbox) = self.remove(waits) else {
            return;
        };
        debug_assert!(outbox.is_empty());
        if let Some(queue) = outbox.into_queue()
            && queue.capacity() <= SPARE_QUEUE_IDS_MAX
            && self.spare_ids + queue.capacity() <= SPARE_IDS_MAX
        {
            self.spare_ids += queue.capacity();
            self.spare.push(queue);
        }
    }

    pub(crate) fn check_invariants(&self) {
        let room: usize = self.spare.iter().map(|queue| queue.capacity()).sum();
        assert_eq!(room, self.spare_ids, "spare queues were lost or grew");
        assert!(self.spare.iter().all(|queue| queue.is_empty()));
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_frame_needs_no_outbox_and_becomes_the_first_of_one() {
        let mut frames = Frames::default();
        let mut outboxes = Outboxes::default();
        let mut waits = Waits::NOTHING;
        assert_eq!(waits.get(), Waiting::Nothing);
        let mut ids = Vec::new();
        for text in ["a", "bb", "ccc", "dddd", "eeeee", "ffffff"] {
            let id = frames.insert_message(|out| out.extend_from_slice(text.as_bytes()));
            frames.retain(id, 1);
            ids.push(id);
        }
        waits = Waits::lone(ids[0]);
        assert_eq!(waits.get(), Waiting::Lone(ids[0]));
        assert!(outboxes.get(waits).is_none() && !waits.is_nothing());
        for (at, id) in ids.iter().enumerate().skip(1) {
            outboxes.push(&mut waits, *id, at + 1, &frames);
        }
        let outbox = outboxes.get(waits).expect("an outbox");
        assert_eq!((outbox.len(), outbox.bytes()), (6, 21));
        outboxes.of(&mut waits, &frames).advance(21, &mut frames);
        outboxes.remove_empty(&mut waits);
        assert!(waits.is_nothing() && outboxes.len() == 0 && frames.len() == 0);
        assert_eq!(outboxes.spare.len(), 1, "its queue is kept …");
        outboxes.check_invariants();
    }

    #[test]
    fn a_burst_takes_the_queues_that_the_last_one_left() {
        let mut frames = Frames::default();
        let mut outboxes = Outboxes::default();
        let mut waits = [Waits::NOTHING; 10];
        for _ in 0..3 {
            for waits in &mut waits {
                for _ in 0..16 {
                    let id = frames.insert_message(|out| out.push(b'x'));
                    frames.retain(id, 1);
                    outboxes.push(waits, id, 1, &frames);
                    outboxes.check_invariants();
                }
            }
            for waits in &mut waits {
                outboxes.of(waits, &frames).advance(16, &mut frames);
                outboxes.remove_empty(waits);
            }
            assert_eq!((outboxes.spare.len(), outboxes.len()), (10, 0));
            outboxes.check_invariants();
        }
    }
}
