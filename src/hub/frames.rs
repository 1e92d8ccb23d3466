//! Encoded-once frames. A frame's bytes are shared by every outbox that waits to send them; a plain count
//! of those outboxes decides when they go. One thread owns them, so no atomic is needed.

use slab::Slab;

use super::publish::Label;
#[cfg(feature = "filters")]
use super::{Filter, Tags};
use super::{Position, SlowPolicy};

/// Names a frame in the worker's frame slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameId(pub(crate) u32);

/// All frames that wait somewhere, and a small pool of buffers for the next ones.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    slab: Slab<Frame>,
    bytes: usize,
    pool: Vec<Vec<u8>>,
    /// What the buffers of the pool have room for.
    pool_bytes: usize,
}

#[derive(Debug)]
struct Frame {
    references: u32,
    /// Messages in it; 0: it is a control frame, a gap marker, or what is left of gathered replies.
    messages: u32,
    /// It belongs to one session alone, and more messages may be appended.
    private: bool,
    /// What becomes of it where it piles up; `None`: what the session's route says.
    slow: Option<SlowPolicy>,
    /// The life of the one channel it was published to; 0: none, or several.
    epoch: u32,
    /// Its number in there, and the tag of the publication before it, if that channel gives it again to those who read
    /// slowly; 0: it does not.
    offset: u64,
    tag_before: u32,
    /// What the publication is called, if it is called anything.
    event: Option<Box<str>>,
    /// And how it is tagged.
    #[cfg(feature = "filters")]
    tags: Tags,
    bytes: Vec<u8>,
    /// What follows behind `bytes`: another frame, shared with others that begin differently. Most have none.
    tail: FrameId,
}

impl FrameId {
    const NONE: Self = Self(u32::MAX);
}

impl Frames {
    /// Encodes a frame into a buffer of the pool. It has no reference yet: the caller adds them with
    /// [`retain`](Self::retain), or gives it back with [`discard`](Self::discard).
    pub(crate) fn insert(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> FrameId {
        let mut bytes = self.buffer();
        encode(&mut bytes);
        self.bytes += bytes.len();
        let frame = Frame {
            references: 0,
            messages: 0,
            private: false,
            slow: None,
            epoch: 0,
            offset: 0,
            tag_before: 0,
            event: None,
            #[cfg(feature = "filters")]
            tags: Tags::default(),
            bytes,
            tail: FrameId::NONE,
        };
        FrameId(self.slab.insert(frame) as u32)
    }

    /// An empty buffer.
    #[inline]
    fn buffer(&mut self) -> Vec<u8> {
        let buffer = self.pool.pop().unwrap_or_default();
        self.pool_bytes -= buffer.capacity();
        buffer
    }

    /// As [`insert`](Self::insert), for one message to be shared.
    pub(crate) fn insert_message(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> FrameId {
        let id = self.insert(encode);
        if let Some(frame) = self.slab.get_mut(id.0 as usize) {
            frame.messages = 1;
        }
        id
    }

    /// As [`insert_message`](Self::insert_message), published to a channel in this life of it (0: to several), whose
    /// policy for slow sessions it has.
    pub(crate) fn insert_publication(
        &mut self,
        epoch: u32,
        slow: Option<SlowPolicy>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> FrameId {
        let id = self.insert_message(encode);
        if let Some(frame) = self.slab.get_mut(id.0 as usize) {
            frame.epoch = epoch;
            frame.slow = slow;
        }
        id
    }

    /// It is a publication that is called so.
    pub(super) fn label(&mut self, id: FrameId, label: Label<'_>) {
        let Some(frame) = self.slab.get_mut(id.0 as usize) else {
            return;
        };
        if let Some(event) = label.event {
            frame.event = Some(event.into());
            self.bytes += event.len();
        }
        #[cfg(feature = "filters")]
        if let Some(tags) = label.tags {
            frame.tags = tags.clone();
            self.bytes += tags.bytes();
        }
    }

    /// What a publication is called.
    pub(crate) fn event(&self, id: FrameId) -> Option<&str> {
        self.slab.get(id.0 as usize)?.event.as_deref()
    }

    /// How a publication is tagged: words with a comma between.
    #[cfg(feature = "history-log")]
    pub(crate) fn tags(&self, id: FrameId) -> &str {
        #[cfg(feature = "filters")]
        if let Some(frame) = self.slab.get(id.0 as usize) {
            return frame.tags.as_str();
        }
        _ = id;
        ""
    }

    /// Whether a publication is wanted.
    #[cfg(feature = "filters")]
    pub(crate) fn matches(&self, id: FrameId, filter: &Filter) -> bool {
        let frame = self.slab.get(id.0 as usize);
        frame.is_none_or(|frame| filter.matches(frame.event.as_deref(), &frame.tags))
    }

    /// Its channel keeps it, and gives it again to those who stand at `previous`.
    pub(crate) fn note_kept(&mut self, id: FrameId, previous: Position) {
        if let Some(frame) = self.slab.get_mut(id.0 as usize) {
            frame.offset = previous.offset + 1;
            frame.tag_before = previous.tag;
        }
    }

    /// It was published to several channels, and none of them gives it again to those who read slowly.
    #[cfg(all(feature = "hierachain-history", feature = "history-log"))]
    pub(crate) fn note_several(&mut self, id: FrameId) {
        if let Some(frame) = self.slab.get_mut(id.0 as usize) {
            (frame.epoch, frame.offset) = (0, 0);
        }
    }

    /// Where one has to stand to be given a frame again; `None`: nobody will.
    pub(crate) fn kept_at(&self, id: FrameId) -> Option<Position> {
        let frame = self.slab.get(id.0 as usize)?;
        Some(Position {
            epoch: frame.epoch,
            offset: frame.offset.checked_sub(1)?,
            tag: frame.tag_before,
        })
    }

    /// It will be there for a while: gives back room that it does not need.
    pub(crate) fn shrink(&mut self, id: FrameId) {
        if let Some(frame) = self.slab.get_mut(id.0 as usize)
            && frame.bytes.capacity() > 2 * frame.bytes.len() + KEPT_ROOM_BYTES
        {
            frame.bytes.shrink_to_fit();
        }
    }

    /// Which life of which channel a frame was published to; 0: none, or several.
    pub(crate) fn epoch(&self, id: FrameId) -> u32 {
        self.slab.get(id.0 as usize).map_or(0, |frame| frame.epoch)
    }

    /// What becomes of a frame where it piles up, for a session whose route says `of_route`; `None`: it holds no
    /// message, and nobody is slow for its sake.
    pub(crate) fn policy(&self, id: FrameId, of_route: SlowPolicy) -> Option<SlowPolicy> {
        let frame = self.slab.get(id.0 as usize)?;
        (frame.messages > 0).then(|| frame.slow.unwrap_or(of_route))
    }

    /// As [`insert`](Self::insert), for a message to one session alone: more may be appended later.
    pub(crate) fn insert_private(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> FrameId {
        let id = self.insert(encode);
        if let Some(frame) = self.slab.get_mut(id.0 as usize) {
            frame.messages = 1;
            frame.private = true;
        }
        id
    }

    /// Appends a message to a private frame that has room left; answers how many bytes it took.
    pub(crate) fn append(
        &mut self,
        id: FrameId,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Option<usize> {
        let frame = self.slab.get_mut(id.0 as usize)?;
        if !frame.private || frame.bytes.len() >= PRIVATE_FRAME_BYTES {
            return None;
        }
        let before = frame.bytes.len();
        encode(&mut frame.bytes);
        frame.messages += 1;
        let added = frame.bytes.len() - before;
        self.bytes += added;
        Some(added)
    }

    /// Encodes another version of a frame, from its bytes. It has no reference yet.
    pub(crate) fn insert_copy(
        &mut self,
        of: FrameId,
        encode: impl FnOnce(&[u8], &mut Vec<u8>),
    ) -> Option<FrameId> {
        let mut bytes = self.buffer();
        let original = self.slab.get(of.0 as usize)?;
        encode(&original.bytes, &mut bytes);
        self.bytes += bytes.len();
        let frame = Frame {
            references: 0,
            messages: original.messages,
            private: false,
            slow: original.slow,
            epoch: original.epoch,
            offset: original.offset,
            tag_before: original.tag_before,
            event: None,
            #[cfg(feature = "filters")]
            tags: Tags::default(),
            bytes,
            tail: FrameId::NONE,
        };
        Some(FrameId(self.slab.insert(frame) as u32))
    }

    /// Messages in a frame.
    pub(crate) fn messages(&self, id: FrameId) -> u32 {
        self.slab
            .get(id.0 as usize)
            .map_or(0, |frame| frame.messages)
    }

    pub(crate) fn retain(&mut self, id: FrameId, references: u32) {
        if let Some(frame) = self.slab.get_mut(id.0 as usize) {
            frame.references += references;
        }
    }

    /// So many references were counted that belong to a copy of it. It stays until it is discarded.
    pub(crate) fn forgo(&mut self, id: FrameId, references: u32) {
        if let Some(frame) = self.slab.get_mut(id.0 as usize) {
            frame.references = frame.references.saturating_sub(references);
        }
    }

    /// One outbox less waits for it.
    #[inline]
    pub(crate) fn release(&mut self, id: FrameId) {
        let Some(frame) = self.slab.get_mut(id.0 as usize) else {
            debug_assert!(false, "a frame was released once too often");
            return;
        };
        frame.references = frame.references.saturating_sub(1);
        if frame.references == 0 {
            self.free(id);
        }
    }

    /// Takes the frame back if nobody waits for it.
    pub(crate) fn discard(&mut self, id: FrameId) {
        let frame = self.slab.get(id.0 as usize);
        if frame.is_some_and(|frame| frame.references == 0) {
            self.free(id);
        }
    }

    fn free(&mut self, id: FrameId) {
        let Some(Frame {
            mut bytes,
            tail,
            event,
            #[cfg(feature = "filters")]
            tags,
            ..
        }) = self.slab.try_remove(id.0 as usize)
        else {
            return;
        };
        self.bytes -= bytes.len() + event.map_or(0, |event| event.len());
        #[cfg(feature = "filters")]
        {
            self.bytes -= tags.bytes();
        }
        let room = bytes.capacity();
        if self.pool_bytes + room <= POOL_BYTES_MAX && room <= POOL_BUFFER_BYTES_MAX {
            bytes.clear();
            self.pool_bytes += room;
            self.pool.push(bytes);
        }
        if tail != FrameId::NONE {
            self.release(tail);
        }
    }

    /// As [`insert_message`](Self::insert_message), with an end that it shares with others: `tail` is a frame without
    /// a tail of its own, and holds what stands behind the bytes that are encoded here.
    pub(crate) fn insert_patched(
        &mut self,
        tail: FrameId,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> FrameId {
        let id = self.insert_message(encode);
        self.retain(tail, 1);
        if let Some(frame) = self.slab.get_mut(id.0 as usize) {
            frame.tail = tail;
        }
        id
    }

    /// The bytes of a frame of its own, without those that it shares (empty for one that is gone).
    pub(crate) fn get(&self, id: FrameId) -> &[u8] {
        self.slab.get(id.0 as usize).map_or(&[], |f| &f.bytes)
    }

    /// All bytes of a frame: its own, then those that it shares.
    #[inline]
    pub(crate) fn parts(&self, id: FrameId) -> [&[u8]; 2] {
        match self.slab.get(id.0 as usize) {
            Some(frame) if frame.tail != FrameId::NONE => [&frame.bytes, self.get(frame.tail)],
            Some(frame) => [&frame.bytes, &[]],
            None => [&[], &[]],
        }
    }

    /// How long a frame is, with what it shares.
    #[inline]
    pub(crate) fn len_of(&self, id: FrameId) -> usize {
        let [own, shared] = self.parts(id);
        own.len() + shared.len()
    }

    /// What a ring keeps with it: the frame, and what it is called.
    pub(crate) fn kept_bytes(&self, id: FrameId) -> usize {
        let Some(frame) = self.slab.get(id.0 as usize) else {
            return 0;
        };
        let label = frame.event.as_ref().map_or(0, |event| event.len());
        #[cfg(feature = "filters")]
        let label = label + frame.tags.bytes();
        self.len_of(id) + label
    }

    /// A frame's bytes, divided among those who wait for it.
    pub(crate) fn share(&self, id: FrameId) -> usize {
        let Some(frame) = self.slab.get(id.0 as usize) else {
            return 0;
        };
        // What it shares with frames that begin differently is theirs too.
        let bytes = frame.bytes.len() + self.share(frame.tail);
        bytes.div_ceil(frame.references.max(1) as usize)
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How often outboxes name a frame.
    pub(crate) fn references(&self) -> usize {
        let all = self.slab.iter().map(|(_, f)| f.references as usize);
        let tails = self.slab.iter().filter(|(_, f)| f.tail != FrameId::NONE);
        all.sum::<usize>() - tails.count()
    }
}

/// So much room that is not needed is left to a frame that is kept: what goes back to the pool is larger then.
const KEPT_ROOM_BYTES: usize = 64;
/// Replies to one slow reader are gathered in frames of about this size.
const PRIVATE_FRAME_BYTES: usize = 16 << 10;
/// Room that is kept idle: 64 of the largest buffers, or a small one for each of a thousand subscribers who got a frame
/// with a beginning of their own.
const POOL_BYTES_MAX: usize = 256 << 10;
const POOL_BUFFER_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_release_frees() {
        let mut frames = Frames::default();
        let id = frames.insert(|out| out.extend_from_slice(b"hello"));
        frames.retain(id, 2);
        assert_eq!((frames.len(), frames.bytes()), (1, 5));
        frames.release(id);
        assert_eq!(frames.get(id), b"hello");
        frames.release(id);
        assert_eq!((frames.len(), frames.bytes(), frames.pool.len()), (0, 0, 1));
    }

    #[test]
    fn a_shared_end_goes_with_the_last_that_has_it() {
        let mut frames = Frames::default();
        let tail = frames.insert(|out| out.extend_from_slice(b"world"));
        let ids = [&b"hello "[..], b"my "].map(|own| {
            let id = frames.insert_patched(tail, |out| out.extend_from_slice(own));
            frames.retain(id, 1);
            id
        });
        frames.discard(tail);
        assert_eq!(
            (frames.len(), frames.bytes(), frames.references()),
            (3, 14, 2)
        );
        assert_eq!(frames.parts(ids[1]), [&b"my "[..], b"world"]);
        assert_eq!(frames.len_of(ids[0]), 11);
        frames.release(ids[0]);
        assert_eq!((frames.len(), frames.len_of(ids[1])), (2, 8));
        frames.release(ids[1]);
        assert_eq!((frames.len(), frames.bytes()), (0, 0));
    }
}
