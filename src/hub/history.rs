//! What channels keep of their publications, for those who come later, come back, or read slowly.
//!
//! A channel with [`HistoryOptions`] has a ring: its newest publications, each the very frame that was broadcast, held by
//! one more reference. **Entries link**: each is the predecessor of the next, so a ring is a piece of its channel without
//! a hole, and whoever stands inside it can go on without one.
//!
//! ```text
//!   base ◀── entry ◀── entry ◀── entry == head        base: the position in front of the oldest entry
//! ```
//!
//! Rings are bounded by count, bytes and age each, and all together by one budget. When that is used up, or the memory
//! budget is, the ring that was used least recently goes whole: its channel begins a new life, or, while it has
//! subscribers, an empty ring. A channel that has a ring outlives its last subscriber, so that its positions go on
//! meaning something; it counts into the budget for that, from its first subscriber or publication on. Empty rings go
//! before any other: who only listens pushes out nothing that was said.

use std::collections::{BTreeSet, VecDeque};

use super::frames::{FrameId, Frames};
use super::{Hub, Position};
use crate::ws::Message;

/// What a channel keeps: see [`ChannelOptions`](super::ChannelOptions).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HistoryOptions {
    pub(crate) messages_max: u32,
    pub(crate) bytes_max: usize,
    pub(crate) age_ms_max: u64,
    /// It is logged too, if there is a log.
    #[cfg(feature = "history-log")]
    pub(crate) durable: bool,
}

impl HistoryOptions {
    /// At most so many publications, of at most 1 MiB together, for an hour, in memory alone.
    pub(crate) fn of(messages_max: u32) -> Self {
        Self {
            messages_max,
            bytes_max: 1 << 20,
            age_ms_max: 3_600_000,
            #[cfg(feature = "history-log")]
            durable: false,
        }
    }
}

/// Where in a channel to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the next publication.
    Now,
    /// Behind this one; if nothing that is kept follows it, behind an announced gap with all that is kept.
    Position(Position),
    /// Behind this one; if nothing that is kept follows it, behind an announced gap with the next publication: for those
    /// who may not read what was said before they came.
    Seen(Position),
    /// With so many that are kept, the newest ones.
    Newest(u32),
    /// With those that are kept and not older than so many milliseconds.
    Age(u64),
    /// With all that are kept.
    All,
}

/// The ring of one channel.
#[derive(Debug)]
pub(crate) struct Ring {
    options: HistoryOptions,
    entries: VecDeque<Entry>,
    /// In front of the oldest entry.
    base: Position,
    /// Of its frames, and what the entries take.
    bytes: usize,
    /// What it counts in the budget beside its entries.
    overhead: usize,
    /// Its key in [`Histories::by_use`]; 0: it has none, for nobody was told where it stands, or it was let go. It counts
    /// nothing then, and its channel ends with its last subscriber.
    used: u64,
    /// Its key in [`Histories::by_expiry`]; 0: it has none, for it is empty.
    expires_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    frame: FrameId,
    tag: u32,
    at_ms: u64,
}

/// What an entry takes beside the bytes of its frame.
const ENTRY_BYTES: usize = 96;
/// What a channel that is kept takes beside its name and its entries.
const CHANNEL_BYTES: usize = 256;
/// Rings are looked at for what is too old in steps of this.
const EXPIRY_STEP_MS: u64 = 1_000;
/// Rings count time from so long before the clock's zero, because what a log gives back was kept before that: at least
/// as long as anything is kept.
const BEFORE_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// Bytes that rings count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counted {
    /// In the history budget.
    all: usize,
    /// In the memory budget beside the frames, which are counted where they are.
    beside_frames: usize,
}

impl Counted {
    /// A ring has counted `before` and counts `now`.
    fn change(&mut self, before: Self, now: Self) {
        self.all = self.all - before.all + now.all;
        self.beside_frames = self.beside_frames - before.beside_frames + now.beside_frames;
    }
}

/// What a reader finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it stands now.
    pub(crate) after: Position,
    /// What lies between where it stood and there: that many publications, `u32::MAX` if nobody knows how many.
    pub(crate) missed: u32,
}

/// Nobody knows how many publications were missed.
pub(crate) const MISSED_UNKNOWN: u32 = u32::MAX;

impl Ring {
    pub(crate) fn new(options: HistoryOptions, head: Position, name_bytes: usize) -> Self {
        Self {
            options,
            entries: VecDeque::new(),
            base: head,
            bytes: 0,
            overhead: CHANNEL_BYTES + name_bytes,
            used: 0,
            expires_ms: 0,
        }
    }

    pub(super) fn head(&self) -> Position {
        match self.entries.back() {
            Some(newest) => Position {
                offset: self.base.offset + self.entries.len() as u64,
                tag: newest.tag,
                ..self.base
            },
            None => self.base,
        }
    }

    /// Where the first `kept` of its entries end.
    fn position_at(&self, kept: usize) -> Position {
        match kept.checked_sub(1).and_then(|at| self.entries.get(at)) {
            Some(entry) => Position {
                offset: self.base.offset + kept as u64,
                tag: entry.tag,
                ..self.base
            },
            None => self.base,
        }
    }

    /// How many entries stand before and at a position; `None`: it does not link to any of them.
    fn entries_until(&self, position: Position) -> Option<usize> {
        let kept = position.offset.checked_sub(self.base.offset)?;
        let kept = usize::try_from(kept).ok()?;
        let is_inside = kept <= self.entries.len();
        (is_inside && self.position_at(kept) == position).then_some(kept)
    }

    /// Where a reader begins.
    pub(crate) fn find(&self, start: Start, now_ms: u64) -> Found {
        let len = self.entries.len();
        let kept = match start {
            Start::Now => len,
            Start::Newest(count) => len - len.min(count as usize),
            Start::Age(ms) => {
                let since = now_ms.saturating_sub(ms);
                self.entries.partition_point(|entry| entry.at_ms < since)
            }
            Start::All => 0,
            Start::Position(position) | Start::Seen(position) => {
                let after = match start {
                    Start::Seen(_) => self.head(),
                    _ => self.base,
                };
                match self.entries_until(position) {
                    Some(kept) => kept,
                    None => {
                        let missed = missed_between(position, after);
                        return Found { after, missed };
                    }
                }
            }
        };
        Found {
            after: self.position_at(kept),
            missed: 0,
        }
    }

    /// The publication that follows a position which links, the frame, and where it stands.
    pub(crate) fn next(&self, after: Position) -> Option<(FrameId, Position)> {
        let kept = self.entries_until(after)?;
        let entry = self.entries.get(kept)?;
        Some((entry.frame, after.next(entry.tag)))
    }

    /// Where the publication behind a position which links stands in another ring that keeps it too.
    #[cfg(feature = "hierachain-history")]
    pub(super) fn next_in(&self, after: Position, other: &Self) -> Option<Position> {
        let entry = self.entries.get(self.entries_until(after)?)?;
        let (frame, at_ms) = (entry.frame, entry.at_ms);
        let first = other.entries.partition_point(|e| e.at_ms < at_ms);
        let mut same_ms = other.entries.range(first..);
        let mut same_ms = same_ms.by_ref().take_while(|e| e.at_ms == at_ms);
        let at = same_ms.position(|e| e.frame == frame)?;
        Some(other.position_at(first + at + 1))
    }

    /// The frames behind a position which links.
    pub(crate) fn frames_after(
        &self,
        after: Position,
    ) -> impl Iterator<Item = (FrameId, Position)> {
        let kept = self.entries_until(after).unwrap_or(self.entries.len());
        let mut position = after;
        self.entries.iter().skip(kept).map(move |entry| {
            position = position.next(entry.tag);
            (entry.frame, position)
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The frames it holds.
    pub(super) fn frames(&self) -> impl Iterator<Item = FrameId> {
        self.entries.iter().map(|entry| entry.frame)
    }

    /// What it counts in the budgets.
    fn counted(&self) -> Counted {
        if !self.is_listed() {
            return Counted::default();
        }
        Counted {
            all: self.bytes + self.overhead,
            beside_frames: self.entries.len() * ENTRY_BYTES + self.overhead,
        }
    }

    /// Something is kept in it, or was: its channel is to outlive its subscribers.
    pub(crate) fn is_listed(&self) -> bool {
        self.used != 0
    }

    fn pop(&mut self, frames: &mut Frames) -> bool {
        let Some(oldest) = self.entries.pop_front() else {
            return false;
        };
        self.base = self.base.next(oldest.tag);
        self.bytes -= frames.kept_bytes(oldest.frame) + ENTRY_BYTES;
        frames.release(oldest.frame);
        true
    }

    /// What is kept in it is logged too.
    #[cfg(feature = "history-log")]
    pub(super) fn is_durable(&self) -> bool {
        self.options.durable
    }

    #[cfg(feature = "history-log")]
    pub(super) fn age_ms_max(&self) -> u64 {
        self.options.age_ms_max
    }

    /// Whether it knows this position.
    pub(super) fn knows(&self, position: Position) -> bool {
        self.entries_until(position).is_some()
    }

    /// Lets go what is more, or older, than it may keep.
    fn trim(&mut self, frames: &mut Frames, now_ms: u64) {
        let HistoryOptions {
            messages_max,
            bytes_max,
            age_ms_max,
            ..
        } = self.options;
        while let Some(oldest) = self.entries.front()
            && (self.entries.len() > messages_max as usize
                || self.bytes - self.entries.len() * ENTRY_BYTES > bytes_max
                || now_ms.saturating_sub(oldest.at_ms) >= age_ms_max)
        {
            self.pop(frames);
        }
    }
}

impl Start {
    /// It says what was seen, so that it is told whether it gets all behind that.
    pub(super) fn is_position(self) -> bool {
        matches!(self, Self::Position(_) | Self::Seen(_))
    }
}

/// How many publications of the same life lie between; unknown if it is another life, or not between.
pub(crate) fn missed_between(position: Position, base: Position) -> u32 {
    let between = base.offset.checked_sub(position.offset);
    let between = between.filter(|n| position.epoch == base.epoch && *n > 0);
    between.map_or(MISSED_UNKNOWN, |n| {
        u32::try_from(n).unwrap_or(MISSED_UNKNOWN)
    })
}

/// Of a ring's key among the uses: it holds something.
const HAS_ENTRIES: u64 = 1 << 63;

/// All rings together.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    counted: Counted,
    /// Channels with a ring, the least recently used first: counted in uses, not in time.
    by_use: BTreeSet<(u64, u32)>,
    /// Those whose ring is not empty, by when its oldest entry is too old.
    by_expiry: BTreeSet<(u64, u32)>,
    uses: u64,
    /// Sessions that are told where publications stand in all of their channels.
    #[cfg(feature = "hierachain-history")]
    pub(super) placed: super::follow::PlacedSessions,
}

impl Histories {
    /// Bytes that count into the budget.
    pub(crate) fn bytes(&self) -> usize {
        self.counted.all
    }

    /// Those of them that are not in frames.
    pub(crate) fn bytes_beside_frames(&self) -> usize {
        self.counted.beside_frames
    }

    /// Channels that outlive their subscribers, for what they keep or have kept.
    pub(crate) fn len(&self) -> usize {
        self.by_use.len()
    }

    /// When the next publication is too old.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        let (due, _) = self.by_expiry.first()?;
        Some(due.saturating_sub(BEFORE_MS))
    }

    /// A ring was written to or read from. Empty ones are less worth than any other.
    fn note_use(&mut self, channel: u32, ring: &mut Ring) {
        let class = if ring.entries.is_empty() {
            0
        } else {
            HAS_ENTRIES
        };
        let is_newest = self.by_use.last().is_some_and(|(_, last)| *last == channel);
        if is_newest && ring.used & HAS_ENTRIES == class {
            return;
        }
        self.by_use.remove(&(ring.used, channel));
        self.uses += 1;
        ring.used = self.uses | class;
        self.by_use.insert((ring.used, channel));
    }

    /// Looks again at when its oldest entry is too old.
    fn note_expiry(&mut self, channel: u32, ring: &mut Ring) {
        let age = ring.options.age_ms_max;
        let due = ring.entries.front().map_or(0, |oldest| {
            let due = oldest.at_ms.saturating_add(age);
            due.saturating_add(EXPIRY_STEP_MS - 1) / EXPIRY_STEP_MS * EXPIRY_STEP_MS
        });
        if due == ring.expires_ms {
            return;
        }
        if ring.expires_ms != 0 {
            self.by_expiry.remove(&(ring.expires_ms, channel));
        }
        if due != 0 {
            self.by_expiry.insert((due, channel));
        }
        ring.expires_ms = due;
    }

    fn forget(&mut self, channel: u32, ring: &mut Ring) {
        self.by_use.remove(&(ring.used, channel));
        if ring.expires_ms != 0 {
            self.by_expiry.remove(&(ring.expires_ms, channel));
        }
        self.counted.change(ring.counted(), Counted::default());
        (ring.used, ring.expires_ms) = (0, 0);
    }
}

impl Hub {
    /// A publication that has just become its channel's head is kept, if the channel keeps any.
    #[inline]
    pub(super) fn keep(&mut self, channel: u32, frame: FrameId) {
        if let Some(entry) = self.channels.get_mut(channel)
            && entry.ring.is_some()
        {
            #[cfg(feature = "history-log")]
            self.log_publication(channel, frame);
            self.keep_since(channel, frame, 0);
        }
    }

    /// What time it is, as rings count it.
    pub(super) fn ring_ms(&self) -> u64 {
        self.now.ms.saturating_add(BEFORE_MS)
    }

    /// The same for one that was published so long ago.
    pub(super) fn keep_since(&mut self, channel: u32, frame: FrameId, ago_ms: u64) {
        let now_ms = self.ring_ms();
        let Some(entry) = self.channels.get_mut(channel) else {
            return;
        };
        let head = entry.head;
        let Some(ring) = &mut entry.ring else {
            return;
        };
        let before = ring.counted();
        self.frames.retain(frame, 1);
        self.frames.shrink(frame);
        // A calendar that was set back makes nothing older than what came before it.
        let before_ms = ring.entries.back().map_or(0, |newest| newest.at_ms);
        ring.entries.push_back(Entry {
            frame,
            tag: head.tag,
            at_ms: now_ms.saturating_sub(ago_ms).max(before_ms),
        });
        ring.bytes += self.frames.kept_bytes(frame) + ENTRY_BYTES;
        debug_assert_eq!(ring.head(), head, "an entry links to the one before it");
        ring.trim(&mut self.frames, now_ms);
        self.histories.note_use(channel, ring);
        self.histories.counted.change(before, ring.counted());
        self.histories.note_expiry(channel, ring);
        self.keep_to_budget();
    }

    fn keep_to_budget(&mut self) {
        while self.histories.bytes() > self.limits.history_budget_bytes
            && let Some((_, channel)) = self.histories.by_use.first().copied()
        {
            self.metrics.histories_evicted_total += 1;
            self.let_go(channel);
        }
    }

    /// Somebody is told where a channel stands that keeps publications and has none yet. That shall go on meaning
    /// something when the last subscriber has left: else one who comes back could not know whether anything was missed.
    pub(super) fn remember(&mut self, channel: u32) {
        let entry = self.channels.get_mut(channel);
        if let Some(ring) = entry.and_then(|entry| entry.ring.as_mut())
            && !ring.is_listed()
        {
            self.histories.note_use(channel, ring);
            let now = ring.counted();
            self.histories.counted.change(Counted::default(), now);
            self.keep_to_budget();
        }
    }

    /// Makes room for whatever is more urgent than what was kept: rings go, the least recently used first, until so
    /// much of the memory budget is used at most, or none is left.
    pub(crate) fn evict_for(&mut self, used_bytes_max: usize) {
        while self.used_bytes() > used_bytes_max
            && let Some((_, channel)) = self.histories.by_use.first().copied()
        {
            self.metrics.histories_evicted_total += 1;
            self.let_go(channel);
        }
    }

    /// Lets go the least recently used ring of a channel without subscribers, and the channel with it.
    pub(super) fn let_go_of_one(&mut self) -> bool {
        let is_alone = |id: &u32| {
            let channel = self.channels.get(*id);
            channel.is_some_and(|channel| channel.subscribers.is_empty())
        };
        let mut by_use = self.histories.by_use.iter().map(|(_, channel)| *channel);
        let Some(channel) = by_use.find(is_alone) else {
            return false;
        };
        self.metrics.histories_evicted_total += 1;
        self.let_go(channel);
        true
    }

    /// What comes next does not follow what is kept: the ring begins anew at `base`.
    pub(super) fn restart_ring(&mut self, channel: u32, base: Position) {
        let entry = self.channels.get_mut(channel);
        if let Some(ring) = entry.and_then(|entry| entry.ring.as_mut()) {
            let before = ring.counted();
            while ring.pop(&mut self.frames) {}
            ring.base = base;
            self.histories.counted.change(before, ring.counted());
            self.histories.note_expiry(channel, ring);
        }
    }

    /// A channel forgets what it kept. Without a subscriber, it is forgotten itself.
    pub(super) fn let_go(&mut self, channel: u32) {
        let Some(entry) = self.channels.get_mut(channel) else {
            return;
        };
        let Some(ring) = &mut entry.ring else {
            return;
        };
        self.histories.forget(channel, ring);
        while ring.pop(&mut self.frames) {}
        if entry.subscribers.is_empty() {
            self.channels.remove(channel);
        }
    }

    /// Lets go what has become too old.
    pub(crate) fn expire_histories(&mut self) {
        let now_ms = self.ring_ms();
        while let Some((due, channel)) = self.histories.by_expiry.first().copied()
            && due <= now_ms
        {
            let Some(ring) = self.channels.get_mut(channel).and_then(|c| c.ring.as_mut()) else {
                debug_assert!(false, "a ring that is gone would expire");
                self.histories.by_expiry.remove(&(due, channel));
                continue;
            };
            let before = ring.counted();
            ring.trim(&mut self.frames, now_ms);
            self.histories.counted.change(before, ring.counted());
            self.histories.note_expiry(channel, ring);
        }
    }

    /// When [`expire_histories`](Self::expire_histories) has something to do.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        self.histories.next_expiry_ms()
    }

    /// A ring is known to have had something, so that its channel outlives its subscribers.
    #[cfg(feature = "history-log")]
    pub(super) fn list_ring(&mut self, channel: u32) {
        let entry = self.channels.get_mut(channel);
        if let Some(ring) = entry.and_then(|entry| entry.ring.as_mut()) {
            let before = ring.counted();
            self.histories.note_use(channel, ring);
            self.histories.counted.change(before, ring.counted());
            self.keep_to_budget();
        }
    }

    /// A reader has come to a ring.
    pub(super) fn note_ring_use(&mut self, channel: u32) {
        let entry = self.channels.get_mut(channel);
        if let Some(ring) = entry.and_then(|entry| entry.ring.as_mut())
            && ring.is_listed()
        {
            self.histories.note_use(channel, ring);
        }
    }

    pub(super) fn check_histories(&self) {
        let mut counted = Counted::default();
        let mut rings = 0;
        for (id, channel) in self.channels.iter() {
            let Some(ring) = &channel.ring else {
                continue;
            };
            rings += usize::from(ring.is_listed());
            counted.change(Counted::default(), ring.counted());
            assert!(ring.is_listed() || ring.len() == 0);
            assert_eq!(
                ring.head(),
                channel.head,
                "a ring ends at its channel's head"
            );
            let held: usize = ring
                .frames()
                .map(|f| self.frames.kept_bytes(f) + ENTRY_BYTES)
                .sum();
            assert_eq!(ring.bytes, held, "a ring has lost count of its bytes");
            assert!(ring.len() <= ring.options.messages_max as usize);
            assert_eq!(
                ring.is_listed(),
                self.histories.by_use.contains(&(ring.used, id))
            );
            let expires = ring.expires_ms != 0;
            assert_eq!(expires, ring.len() > 0, "what is kept becomes too old");
            assert_eq!(
                expires,
                self.histories.by_expiry.contains(&(ring.expires_ms, id))
            );
        }
        assert_eq!(self.histories.counted, counted, "histories have lost count");
        assert_eq!(self.histories.by_use.len(), rings);
        assert!(self.histories.bytes() <= self.limits.history_budget_bytes);
    }
}

/// A publication that is kept.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a> {
    /// Where it stands.
    pub position: Position,
    /// Where the one before it stood.
    pub previous: Position,
    /// What it says.
    pub message: Message<'a>,
}

/// What a channel has kept behind some position, oldest first.
#[derive(Debug)]
pub struct History<'a> {
    /// Where the first of them follows.
    pub after: Position,
    /// The channel's head: where the last of them stands.
    pub head: Position,
    /// Behind the position that was asked for lies what is not kept any more; `None`: no position was asked for.
    pub recovered: Option<bool>,
    /// How many of those are not kept any more, if that is known.
    pub missed: Option<u32>,
    /// The publications.
    pub publications: Vec<Kept<'a>>,
}
