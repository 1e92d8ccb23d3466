//! Streaming a channel to a session from some position on, until it is live.
//!
//! **One mechanism for three needs**: a client that comes back and says what it has seen, one that wants the last few
//! publications, and one that reads more slowly than its channel speaks. Each *follows*: it stands at a position behind
//! the head, live publications of that channel pass it by, and whenever it has room it is fed the next ones from the
//! ring. When it has reached the head it is live.
//!
//! ```text
//!                     subscribe_from(a position)                the head is reached
//!   (not subscribed) ────────────────────────────▶ Following ──────────────────────▶ Live
//!          │                                          ▲   │ fed from the ring          │ publications are queued
//!          │                                          └───┘ when it has room           │
//!          │                                          ▲                                │ too much waits: what the ring
//!          │ subscribe                                └────────────────────────────────┘ has is taken back
//!          └────────────────────────────────────────────────────────────────────────▶ Live
//! ```
//!
//! A ring goes on meanwhile. If it has let go what comes next, the gap marker says so, and the session goes on with
//! the oldest that is kept. So a slow reader costs what [`FEED_BYTES`] allows, however far it is behind.

#[cfg(feature = "hierachain-history")]
mod places;

#[cfg(feature = "hierachain-history")]
pub use places::Placed;
#[cfg(feature = "hierachain-history")]
pub(super) use places::PlacedSessions;

use super::channel::{Channel, Space, SubscribeError};
use super::encoding::message_in;
use super::history::{Found, History, Kept, MISSED_UNKNOWN, Start, missed_between};
use super::session::Marks;
use super::{Hub, Position};
use crate::ws::{Message, OpCode};

/// What became of a subscription that says where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// The first publication it gets follows this one.
    pub position: Position,
    /// Whether it gets everything behind the position that it gave. If not, the next thing it gets is the gap marker, and
    /// then what is kept. `None`: it gave none, or was subscribed already.
    pub recovered: Option<bool>,
}

/// A session that follows a channel.
#[derive(Debug)]
pub(super) struct Following {
    channel: u32,
    /// It has got this one, or was told of it, or began behind it.
    after: Position,
    /// Publications that it will never get and has not been told of.
    missed: u32,
}

/// A session is fed while less than this waits for it, or half of what may, so that there is room for everything else.
const FEED_BYTES: usize = 64 << 10;
/// Likewise.
const FEED_FRAMES: usize = 64;
/// Publications that are looked at for a session with a filter before others have their turn.
const LOOK_MAX: usize = 256;

impl Hub {
    /// Subscribes a session from some position on. One that is subscribed already goes on as it was.
    pub(crate) fn subscribe_from(
        &mut self,
        index: u32,
        space: Space,
        name: &str,
        start: Start,
    ) -> Result<Joined, SubscribeError> {
        let max = self.session_limits(index).subscriptions_max;
        let (channel, is_new) = self.subscribe_within(index, space, name, max)?;
        let start = if is_new { start } else { Start::Now };
        self.begin_at(index, channel, start)
            .ok_or(SubscribeError::Closed)
    }

    /// A session that is subscribed goes on from some position.
    fn begin_at(&mut self, index: u32, channel: u32, start: Start) -> Option<Joined> {
        self.remember(channel);
        let entry = self.channels.get(channel)?;
        let head = entry.head;
        let found = entry.find(start, self.ring_ms());
        let is_asked = start.is_position();
        let recovered = is_asked.then_some(found.missed == 0);
        if let Some(recovered) = recovered {
            let counter = if recovered {
                &mut self.metrics.recoveries_total
            } else {
                &mut self.metrics.recoveries_failed_total
            };
            *counter += 1;
        }
        if found.after != head || found.missed > 0 {
            self.note_ring_use(channel);
            self.follow(index, channel, found);
        }
        Some(Joined {
            position: found.after,
            recovered,
        })
    }

    pub(super) fn follow(&mut self, index: u32, channel: u32, found: Found) {
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return;
        };
        session.marks.set(Marks::FOLLOWS, true);
        let followed = self.followed.entry(index).or_default();
        followed.push(Following {
            channel,
            after: found.after,
            missed: found.missed,
        });
        self.mark_dirty(index);
    }

    /// Whether a session stands behind the head of some channel.
    pub(crate) fn follows(&self, index: u32) -> bool {
        let session = self.sessions.get(index as usize);
        session.is_some_and(|session| session.marks.has(Marks::FOLLOWS))
    }

    /// Whether it does in this one, so that its publications pass it by.
    pub(super) fn follows_channel(&self, index: u32, channel: u32) -> bool {
        let followed = self.followed.get(&index);
        followed.is_some_and(|followed| followed.iter().any(|f| f.channel == channel))
    }

    /// Where it stands in one whose head is there; `None`: it is to be told of a gap first.
    #[cfg(feature = "filters")]
    pub(super) fn stands_at(&self, index: u32, channel: u32, head: Position) -> Option<Position> {
        let mut followed = self.followed.get(&index).into_iter().flatten();
        match followed.find(|f| f.channel == channel) {
            Some(following) => (following.missed == 0).then_some(following.after),
            None => Some(head),
        }
    }

    /// It has left a channel, or all of them.
    pub(super) fn end_following(&mut self, index: u32, channel: Option<u32>) {
        #[cfg(feature = "hierachain-history")]
        self.histories.placed.end(index, channel);
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return;
        };
        if !session.marks.has(Marks::FOLLOWS) {
            return;
        }
        let Some(followed) = self.followed.get_mut(&index) else {
            return;
        };
        followed.retain(|f| channel.is_some_and(|channel| f.channel != channel));
        if followed.is_empty() {
            session.marks.set(Marks::FOLLOWS, false);
            self.followed.remove(&index);
        }
    }

    /// Queues for a session what comes next in the channels that it follows, as far as it has room.
    pub(crate) fn feed(&mut self, index: u32) {
        if !self.follows(index) {
            return;
        }
        let Some(mut followed) = self.followed.remove(&index) else {
            return;
        };
        // One that is to be closed gets nothing more.
        let is_fed = self.is_leaving(index);
        #[cfg(feature = "hierachain-history")]
        let is_fed = is_fed || self.feed_places(index, &mut followed);
        if !is_fed {
            followed.retain_mut(|following| !self.feed_from(index, following));
        }
        if followed.is_empty() {
            if let Some(session) = self.sessions.get_mut(index as usize) {
                session.marks.set(Marks::FOLLOWS, false);
            }
        } else {
            self.followed.insert(index, followed);
        }
    }

    /// `true`: it has reached the head.
    fn feed_from(&mut self, index: u32, following: &mut Following) -> bool {
        let mut left = LOOK_MAX;
        loop {
            let Some(session) = self.sessions.get(index as usize) else {
                return true;
            };
            let how = session.encoding;
            let Some(channel) = self.channels.get(following.channel) else {
                return true;
            };
            if following.missed > 0 {
                // The marker stands in front of all that waits: nothing may.
                if !self.outbox_is_empty(index) || !self.is_told_of_gap(index) {
                    return false;
                }
                self.note_missed(index, std::mem::take(&mut following.missed));
                return false;
            }
            if channel.head == following.after {
                return true;
            }
            if !self.has_room_for_more(index) {
                return false;
            }
            if !self.filters.is_empty()
                && let Some(after) =
                    self.pass_over(index, following.channel, following.after, &mut left)
            {
                following.after = after;
                if left == 0 {
                    self.mark_dirty(index);
                    return false;
                }
                continue;
            }
            let next = channel
                .ring
                .as_ref()
                .and_then(|ring| ring.next(following.after));
            let Some((plain, position)) = next else {
                let found = channel.find(Start::Position(following.after), self.ring_ms());
                (following.after, following.missed) = (found.after, found.missed.max(1));
                continue;
            };
            let len = self.frames.len_of(plain);
            // Before a copy is made for it, for every bit that its reader takes anew.
            if !self.fits_behind(index, len) {
                return false;
            }
            self.encoder.about(position, following.after);
            #[cfg(feature = "wildcards")]
            if self.channels.patterns.are_known() {
                self.encoder.name_channel(&channel.name);
            }
            self.frames.retain(plain, 1);
            let (frame, len) = self.encoder.copy_for(&mut self.frames, plain, len, how);
            let fits = self.fits_behind(index, len);
            if fits {
                self.queue(index, frame, len);
            }
            self.encoder.end_copies(&mut self.frames, plain);
            if !fits {
                self.frames.release(frame);
                return false;
            }
            following.after = position;
        }
    }

    /// Whether a session may be fed. It is never brought near its limits by that.
    fn has_room_for_more(&self, index: u32) -> bool {
        let limits = self.session_limits(index);
        let bytes_max = limits.outbox_soft_bytes.min(limits.outbox_bytes_max) / 2;
        let frames_max = limits.outbox_frames_max / 2;
        self.outbox_bytes(index) < bytes_max.clamp(1, FEED_BYTES)
            && self.outbox_len(index) < frames_max.clamp(1, FEED_FRAMES)
    }

    /// Whether a frame of that length may wait for a session too. One that brings it over its limits would be taken back at
    /// once, and given again.
    fn fits_behind(&self, index: u32, len: usize) -> bool {
        let limits = self.session_limits(index);
        let bytes_max = limits.outbox_soft_bytes.min(limits.outbox_bytes_max);
        self.outbox_is_empty(index) || self.outbox_bytes(index).saturating_add(len) <= bytes_max
    }

    /// No marker waits to be placed.
    fn is_told_of_gap(&self, index: u32) -> bool {
        self.outbox(index).is_none_or(|outbox| outbox.missed == 0)
    }

    fn note_missed(&mut self, index: u32, missed: u32) {
        if let Some(session) = self.sessions.get_mut(index as usize) {
            let outbox = self.outboxes.of(&mut session.waits, &self.frames);
            outbox.missed = outbox.missed.saturating_add(missed);
            self.mark_dirty(index);
        }
    }

    /// Too much waits for a session: takes back what rings will give it again, and lets it follow. Answers whether
    /// there was any.
    pub(super) fn fall_back(&mut self, index: u32) -> bool {
        // What it has by one of several subscriptions, it does not get by another.
        #[cfg(feature = "hierachain-history")]
        if self.histories.placed.subscriptions_of(index) > 1 {
            return false;
        }
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return false;
        };
        let Some(outbox) = self.outboxes.get_mut(session.waits) else {
            return false;
        };
        let (frames, channels) = (&self.frames, &self.channels);
        let subscriptions = session.subscriptions.as_slice();
        let channel_of = |id| {
            let epoch = frames.kept_at(id)?.epoch;
            let mut own = subscriptions.iter().map(|s| s.channel);
            own.find(|id| channels.get(*id).is_some_and(|c| c.head.epoch == epoch))
        };
        // A gap marker would be taken on the way.
        let (front, back) = outbox.ids();
        let mut waiting = front.iter().chain(back);
        if !waiting.any(|id| channel_of(*id).is_some()) {
            return false;
        }
        let mut taken = Vec::new();
        outbox.drop_oldest_while(
            frames,
            |id| channel_of(id).is_some(),
            |_, _| true,
            |id| taken.push((id, channel_of(id))),
        );
        let mut fell = false;
        for (id, channel) in taken {
            if let Some(channel) = channel
                && let Some(previous) = self.frames.kept_at(id)
            {
                fell = true;
                self.stand_at(index, channel, previous);
            }
            self.frames.release(id);
        }
        if fell {
            self.metrics.fallbacks_total += 1;
            self.mark_dirty(index);
        }
        fell
    }

    /// It follows from there, if it does not from further back.
    fn stand_at(&mut self, index: u32, channel: u32, after: Position) {
        let followed = self.followed.entry(index).or_default();
        match followed.iter_mut().find(|f| f.channel == channel) {
            Some(following) if following.after.offset > after.offset => following.after = after,
            Some(_) => {}
            None => followed.push(Following {
                channel,
                after,
                missed: 0,
            }),
        }
        if let Some(session) = self.sessions.get_mut(index as usize) {
            session.marks.set(Marks::FOLLOWS, true);
        }
    }

    /// What a channel has kept, for one who asks now and not for those who subscribe.
    pub(crate) fn history(
        &mut self,
        space: Space,
        name: &str,
        start: Start,
        messages_max: usize,
    ) -> Option<History<'_>> {
        let channel = self.channels.find(space, name)?;
        self.note_ring_use(channel);
        let entry = self.channels.get(channel)?;
        let Found { mut after, missed } = entry.find(start, self.ring_ms());
        let is_asked = start.is_position();
        let begin = after;
        let ring = entry.ring.iter();
        let behind = ring.flat_map(|ring| ring.frames_after(begin));
        let publications = behind.take(messages_max).filter_map(|(frame, position)| {
            let previous = std::mem::replace(&mut after, position);
            let (opcode, payload) = message_in(self.frames.get(frame))?;
            let text = std::str::from_utf8(payload).ok();
            let message = match text.filter(|_| opcode == OpCode::Text) {
                Some(text) => Message::Text(text),
                None => Message::Binary(payload),
            };
            Some(Kept {
                position,
                previous,
                message,
            })
        });
        Some(History {
            publications: publications.collect(),
            after: begin,
            head: entry.head,
            recovered: is_asked.then_some(missed == 0),
            missed: (missed != MISSED_UNKNOWN).then_some(missed),
        })
    }

    pub(super) fn check_following(&self) {
        #[cfg(feature = "hierachain-history")]
        self.check_places();
        for (index, session) in &self.sessions {
            let followed = self.followed.get(&(index as u32));
            assert_eq!(
                session.marks.has(Marks::FOLLOWS),
                followed.is_some_and(|f| !f.is_empty())
            );
            for following in followed.into_iter().flatten() {
                let mut subscribed = session.subscriptions.as_slice().iter();
                assert!(
                    subscribed.any(|s| s.channel == following.channel),
                    "a channel is followed without a subscription"
                );
            }
        }
        let known = |index: &u32| self.sessions.contains(*index as usize);
        assert!(self.followed.keys().all(known), "nobody follows");
    }
}

impl Channel {
    /// Where one begins who wants to begin there. Without a ring nothing is kept.
    fn find(&self, start: Start, now_ms: u64) -> Found {
        if let Some(ring) = &self.ring {
            return ring.find(start, now_ms);
        }
        let missed = match start {
            Start::Position(position) | Start::Seen(position) if position != self.head => {
                missed_between(position, self.head)
            }
            _ => 0,
        };
        Found {
            after: self.head,
            missed,
        }
    }
}
