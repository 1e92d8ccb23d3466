//! Frames waiting for one session: four ids inline, a spill beyond, and how much of the first one is
//! already on the wire. It exists only while more than one whole frame waits.

use std::collections::VecDeque;

use super::frames::{FrameId, Frames};

/// The queue of one session.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Queue,
    /// Bytes that still have to be written.
    bytes: u32,
    /// Bytes of the first frame that are written.
    head_written: u32,
    /// Messages dropped since the last gap marker.
    pub(crate) missed: u32,
    /// What the gap marker says that is queued and has not begun to go out; it is the first such frame.
    /// 0: there is none.
    marked: u32,
    /// Since when (in 64 ms units, 0 = not) it is above its soft limit.
    pub(crate) soft_since: u32,
    /// It has gone beyond a limit and is to be judged in this turn.
    pub(crate) suspected: bool,
}

/// A queue that is too long for the outbox itself: boxed, because most are not and the outbox stays small this way.
pub(super) type Spill = Box<VecDeque<FrameId>>;

#[derive(Debug)]
enum Queue {
    Inline { len: u8, ids: [FrameId; INLINE] },
    Spill(Spill),
}

const INLINE: usize = 4;
/// Ids that a spill has room for at first.
const SPILL_IDS: usize = 16;

impl Default for Queue {
    fn default() -> Self {
        Self::Inline {
            len: 0,
            ids: [FrameId(0); INLINE],
        }
    }
}

impl Outbox {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    pub(crate) fn len(&self) -> usize {
        match &self.queue {
            Queue::Inline { len, .. } => *len as usize,
            Queue::Spill(ids) => ids.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn head_written(&self) -> usize {
        self.head_written as usize
    }

    pub(crate) fn get(&self, at: usize) -> Option<FrameId> {
        match &self.queue {
            Queue::Inline { len, ids } => ids[..*len as usize].get(at).copied(),
            Queue::Spill(ids) => ids.get(at).copied(),
        }
    }

    /// The frame that was queued last, if what comes now may be a part of it: not if a marker has yet to come between.
    pub(crate) fn last_to_append_to(&self) -> Option<FrameId> {
        let is_behind_the_gap = self.missed == 0 || self.len() > self.first_unsent();
        self.last().filter(|_| is_behind_the_gap)
    }

    /// The frame that was queued last.
    pub(crate) fn last(&self) -> Option<FrameId> {
        self.get(self.len().checked_sub(1)?)
    }

    /// The last frame has grown.
    pub(crate) fn note_appended(&mut self, bytes: usize) {
        self.bytes += bytes as u32;
    }

    #[inline]
    pub(crate) fn push(&mut self, id: FrameId, bytes: usize) {
        match &mut self.queue {
            Queue::Inline { len, ids } if usize::from(*len) < INLINE => {
                ids[usize::from(*len)] = id;
                *len += 1;
                self.bytes += bytes as u32;
            }
            Queue::Spill(queue) => {
                queue.push_back(id);
                self.bytes += bytes as u32;
            }
            Queue::Inline { .. } => self.insert(INLINE, id, bytes),
        }
    }

    /// The next id does not fit inline any more.
    #[inline]
    pub(crate) fn is_at_its_inline_end(&self) -> bool {
        matches!(&self.queue, Queue::Inline { len, .. } if usize::from(*len) == INLINE)
    }

    /// Moves the inline ids into an empty queue that has served before.
    pub(crate) fn move_into(&mut self, mut queue: Spill) {
        if let Queue::Inline { len, ids } = &self.queue {
            queue.extend(&ids[..usize::from(*len)]);
            self.queue = Queue::Spill(queue);
        }
    }

    /// The ids, oldest first: those of the second slice come behind those of the first.
    #[inline]
    pub(crate) fn ids(&self) -> (&[FrameId], &[FrameId]) {
        match &self.queue {
            Queue::Inline { len, ids } => (ids.get(..usize::from(*len)).unwrap_or_default(), &[]),
            Queue::Spill(queue) => queue.as_slices(),
        }
    }

    /// What its ids were kept in, if that was a queue of its own.
    pub(crate) fn into_queue(self) -> Option<Spill> {
        match self.queue {
            Queue::Inline { .. } => None,
            Queue::Spill(queue) => Some(queue),
        }
    }

    /// In front of everything, as a frame whose first `begun` bytes are written already, so that it is not dropped any
    /// more; `bytes` are left. The first frame until now must not be half written.
    pub(crate) fn push_front_begun(&mut self, id: FrameId, bytes: usize, begun: usize) {
        debug_assert_eq!(self.head_written, 0);
        debug_assert!(begun > 0);
        self.insert(0, id, bytes);
        self.head_written = begun as u32;
    }

    /// Puts a marker for `missed` messages where they were: behind the first frame if that is half written,
    /// else in front of everything.
    pub(crate) fn push_marker(&mut self, id: FrameId, bytes: usize, missed: u32) {
        debug_assert_eq!(self.marked, 0);
        self.insert(self.first_unsent(), id, bytes);
        self.marked = missed;
    }

    /// The position of the oldest frame that is not on the wire yet.
    fn first_unsent(&self) -> usize {
        usize::from(self.head_written > 0)
    }

    fn insert(&mut self, at: usize, id: FrameId, bytes: usize) {
        self.bytes += bytes as u32;
        if let Queue::Inline { len, ids } = &mut self.queue {
            let n = *len as usize;
            if n < INLINE {
                ids.copy_within(at..n, at + 1);
                ids[at] = id;
                *len += 1;
                return;
            }
            let mut queue = VecDeque::with_capacity(SPILL_IDS);
            queue.extend(ids.iter());
            self.queue = Queue::Spill(Box::new(queue));
        }
        if let Queue::Spill(ids) = &mut self.queue {
            if at == ids.len() {
                ids.push_back(id);
            } else {
                ids.insert(at, id);
            }
        }
    }

    /// Takes the first frame, whatever was written of it; the caller releases it. For the end of a session.
    pub(crate) fn pop(&mut self) -> Option<FrameId> {
        let first = self.remove(0);
        self.head_written = 0;
        if first.is_none() {
            self.bytes = 0;
        }
        first
    }

    /// Notes that `written` more bytes went out and hands every frame that is finished to `done`.
    pub(crate) fn advance(&mut self, written: usize, frames: &mut Frames) {
        let marker = self.get(self.first_unsent());
        self.take_written(written, frames);
        if self.get(self.first_unsent()) != marker {
            self.marked = 0; // If there was a marker, it is on its way now.
        }
    }

    fn take_written(&mut self, mut written: usize, frames: &mut Frames) {
        self.bytes = self.bytes.saturating_sub(written as u32);
        let (front, back) = self.ids();
        let mut finished = 0;
        let mut head_written = self.head_written as usize;
        for &id in front.iter().chain(back) {
            let left = frames.len_of(id) - head_written;
            if written < left {
                head_written += written;
                break;
            }
            written -= left;
            head_written = 0;
            finished += 1;
            frames.release(id);
        }
        self.head_written = head_written as u32;
        match &mut self.queue {
            Queue::Inline { len, ids } => {
                ids.copy_within(finished..usize::from(*len), 0);
                *len -= finished as u8;
            }
            Queue::Spill(queue) => drop(queue.drain(..finished)),
        }
    }

    /// Takes the oldest frame that is not on the wire yet, whatever it is; the caller releases it.
    pub(crate) fn drop_oldest_unsent(&mut self, frames: &Frames) -> Option<FrameId> {
        self.drop_at(self.first_unsent(), frames)
    }

    /// Takes messages that are not on the wire yet and that `may_go`, oldest first, as long as the bytes and frames that
    /// are left are `too_much`; the caller releases them, and counts the messages in them. All else stays as it stood. A
    /// gap marker is taken too, and its number counted on.
    pub(crate) fn drop_oldest_while(
        &mut self,
        frames: &Frames,
        may_go: impl Fn(FrameId) -> bool,
        too_much: impl Fn(usize, usize) -> bool,
        mut dropped: impl FnMut(FrameId),
    ) {
        let first = self.first_unsent();
        // What stays is put aside, so that each frame is looked at once, however many stay in front of those that go.
        let mut staying: Vec<FrameId> = Vec::new();
        while too_much(self.bytes(), self.len() + staying.len()) {
            let Some(id) = self.get(first) else {
                break;
            };
            if self.marked > 0 {
                self.missed = self.missed.saturating_add(std::mem::take(&mut self.marked));
            } else if !may_go(id) {
                self.remove(first);
                staying.push(id);
                continue;
            }
            self.drop_at(first, frames);
            dropped(id);
        }
        for id in staying.into_iter().rev() {
            self.insert(first, id, 0);
        }
    }

    /// Takes every publication that `may_go`, is not on the wire yet, and is followed by one of the same channel; the
    /// caller releases them. All else stays, and the order of what is left.
    pub(crate) fn drop_outdated(
        &mut self,
        frames: &Frames,
        may_go: impl Fn(FrameId) -> bool,
        mut dropped: impl FnMut(FrameId),
    ) {
        let mut seen: Vec<u32> = Vec::new();
        for at in (self.first_unsent()..self.len()).rev() {
            let Some(id) = self.get(at).filter(|id| may_go(*id)) else {
                continue;
            };
            let epoch = frames.epoch(id);
            if epoch == 0 {
                continue;
            }
            if !seen.contains(&epoch) {
                seen.push(epoch);
            } else if let Some(id) = self.drop_at(at, frames) {
                dropped(id);
            }
        }
    }

    fn drop_at(&mut self, at: usize, frames: &Frames) -> Option<FrameId> {
        let id = self.remove(at)?;
        self.bytes = self.bytes.saturating_sub(frames.len_of(id) as u32);
        Some(id)
    }

    fn remove(&mut self, at: usize) -> Option<FrameId> {
        match &mut self.queue {
            Queue::Inline { len, ids } => {
                let n = *len as usize;
                let id = *ids[..n].get(at)?;
                ids.copy_within(at + 1..n, at);
                *len -= 1;
                Some(id)
            }
            Queue::Spill(ids) if at == 0 => ids.pop_front(),
            Queue::Spill(ids) => ids.remove(at),
        }
    }

    /// Answers how many frames are queued.
    pub(crate) fn check_invariants(&self, frames: &Frames) -> usize {
        let mut bytes = 0;
        for at in 0..self.len() {
            let id = self.get(at).expect("an entry below len");
            assert!(
                !frames.get(id).is_empty(),
                "an outbox names a frame that is gone"
            );
            bytes += frames.len_of(id);
        }
        assert_eq!(
            self.bytes(),
            bytes - self.head_written(),
            "an outbox has lost count of its bytes"
        );
        self.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(frames: &mut Frames, text: &str) -> (FrameId, usize) {
        let id = frames.insert_message(|out| out.extend_from_slice(text.as_bytes()));
        frames.retain(id, 1);
        (id, text.len())
    }

    fn contents(outbox: &Outbox, frames: &Frames) -> String {
        let mut all = String::new();
        for at in 0..outbox.len() {
            all += std::str::from_utf8(frames.get(outbox.get(at).expect("entry"))).expect("text");
        }
        all[outbox.head_written()..].to_owned()
    }

    #[test]
    fn order_is_kept_across_the_spill_and_short_writes() {
        let mut frames = Frames::default();
        let mut outbox = Outbox::default();
        let mut expected = String::new();
        for n in 0..9 {
            let text = format!("<{n}>");
            let (id, len) = frame(&mut frames, &text);
            outbox.push(id, len);
            expected += &text;
        }
        let (id, len) = frame(&mut frames, "-[first]");
        outbox.push_front_begun(id, len - 1, 1);
        expected.insert_str(0, "[first]");
        while !expected.is_empty() {
            assert_eq!(contents(&outbox, &frames), expected);
            outbox.check_invariants(&frames);
            let written = 2.min(expected.len());
            outbox.advance(written, &mut frames);
            expected.drain(..written);
        }
        assert!(outbox.is_empty());
        assert_eq!((outbox.bytes(), frames.len()), (0, 0));
        assert!(outbox.into_queue().is_some_and(|queue| queue.is_empty()));
    }

    /// Drops one message, or the marker.
    fn drop_oldest(outbox: &mut Outbox, frames: &Frames) -> Option<FrameId> {
        let (len, mut dropped) = (outbox.len(), None);
        let is_message = |id| frames.messages(id) > 0;
        outbox.drop_oldest_while(
            frames,
            is_message,
            |_, left| left == len,
            |id| dropped = Some(id),
        );
        dropped
    }

    #[test]
    fn what_stays_keeps_its_place_and_its_order() {
        for stays in [&b"a"[..], b"c", b"ace", b"bdfg", b"abcdefg", b""] {
            let mut frames = Frames::default();
            let mut outbox = Outbox::default();
            for text in ["HALF", "a", "b", "c", "d", "e", "f", "g"] {
                let (id, len) = frame(&mut frames, text);
                outbox.push(id, len);
            }
            outbox.advance(2, &mut frames);
            let may_go =
                |id| !stays.starts_with(frames.get(id)) && !stays.ends_with(frames.get(id));
            let before = contents(&outbox, &frames);
            let mut dropped = Vec::new();
            outbox.drop_oldest_while(
                &frames,
                may_go,
                |bytes, len| bytes > 5 || len > 5,
                |id| dropped.push(id),
            );
            let gone: String = dropped
                .iter()
                .map(|id| String::from_utf8_lossy(frames.get(*id)).into_owned())
                .collect();
            assert_eq!(gone.len(), 4, "{gone}");
            assert!(gone.bytes().is_sorted(), "oldest first: {gone}");
            let left: String = before.chars().filter(|c| !gone.contains(*c)).collect();
            assert_eq!(contents(&outbox, &frames), left);
            outbox.check_invariants(&frames);
        }
    }

    #[test]
    fn a_half_written_frame_is_never_dropped() {
        let mut frames = Frames::default();
        let mut outbox = Outbox::default();
        for text in ["aaaa", "bbbb", "cccc"] {
            let (id, len) = frame(&mut frames, text);
            outbox.push(id, len);
        }
        outbox.advance(1, &mut frames);
        let dropped = drop_oldest(&mut outbox, &frames).expect("one");
        assert_eq!(frames.get(dropped), b"bbbb");
        frames.release(dropped);
        for _ in 0..2 {
            let (marker, len) = frame(&mut frames, "!gap!");
            outbox.push_marker(marker, len, 1);
            assert_eq!(contents(&outbox, &frames), "aaa!gap!cccc");
            outbox.check_invariants(&frames);
            let dropped = drop_oldest(&mut outbox, &frames).expect("the marker");
            assert_eq!((frames.get(dropped), outbox.missed), (&b"!gap!"[..], 1));
            frames.release(dropped);
            outbox.missed = 0;
        }
        let (marker, len) = frame(&mut frames, "!gap!");
        outbox.push_marker(marker, len, 1);
        outbox.advance(4, &mut frames);
        let dropped = drop_oldest(&mut outbox, &frames).expect("the last");
        assert_eq!((frames.get(dropped), outbox.missed), (&b"cccc"[..], 0));
        assert_eq!(contents(&outbox, &frames), "gap!");
    }
}
