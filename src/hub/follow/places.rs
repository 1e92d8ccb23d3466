//! Publications to several channels that say where they stand in each, and come once.
//!
//! A session that is subscribed to more than one channel of a publication gets it by one of them, and would not know that
//! it need not ask for it again in the others. So here **a publication says all of its places**: a session that wants them
//! (`want_places`) knows after each message where it stands in all its channels. It is written once more for such
//! sessions, and that is what rings keep (and a log, where there is one).
//!
//! ```text
//!   publish_placed ──▶ frame ────────────────▶ sessions that have not asked: as it was published
//!                  └─▶ the same, with places ─▶ sessions that want them, live
//!                                   └─▶ rings ─▶ … when they come back
//! ```
//!
//! **What comes from several rings comes once, and in order.** A session that catches up in two channels is given a
//! publication that both keep when it has come to it in both:
//!
//! ```text
//!   a:  1 ──▶ 2 ─────────▶ 4      1 by a; 2 stands in b too, behind 0, so a waits; 0 by b; 2 once; 3 by b; 4 once
//!   b:  0 ──▶ 2 ──▶ 3 ───▶ 4
//! ```
//!
//! To know what a session has had, where it began in each of its channels is kept: what stands behind that, and not
//! behind where it is now, has gone to it or is announced as a gap. **A publication is left out only if it is that very
//! one**: what is not in both rings is never taken for something else.

use std::collections::HashMap;

use super::{Following, Joined};
use crate::hub::channel::Space;
use crate::hub::encoding::Encoding;
use crate::hub::encoding::places::append_placed;
#[cfg(feature = "history-log")]
use crate::hub::encoding::places::has_places;
use crate::hub::publish::{Reach, check_internal_name};
use crate::hub::{Context, FrameId, Hub, Position, PublishError, Published, SlowPolicy, Start};
use crate::ws::{self, Message};

/// A channel that a publication goes to, and how it is told apart from the others.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// Its name.
    pub channel: &'a str,
    /// Members of a JSON object, at least one: `"room":"a"`.
    pub label: &'a str,
}

/// Sessions that want places, with where they began in their channels.
#[derive(Debug, Default)]
pub(in crate::hub) struct PlacedSessions {
    begun: HashMap<u32, Vec<Begun>>,
    /// What came out of a log last, and when it was said.
    #[cfg(feature = "history-log")]
    restored: Option<(FrameId, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    channel: u32,
    from: Position,
}

impl PlacedSessions {
    fn of(&self, index: u32) -> &[Begun] {
        self.begun.get(&index).map_or(&[], |begun| begun)
    }

    /// In how many channels it has begun.
    pub(in crate::hub) fn subscriptions_of(&self, index: u32) -> usize {
        self.of(index).len()
    }

    fn begin(&mut self, index: u32, channel: u32, from: Position) {
        if let Some(begun) = self.begun.get_mut(&index) {
            begun.push(Begun { channel, from });
        }
    }

    /// It has left a channel, or ends.
    pub(in crate::hub) fn end(&mut self, index: u32, channel: Option<u32>) {
        match channel {
            None => _ = self.begun.remove(&index),
            Some(channel) => {
                if let Some(begun) = self.begun.get_mut(&index) {
                    begun.retain(|b| b.channel != channel);
                }
            }
        }
    }
}

/// How one of a session's channels has what comes next in another.
enum Elsewhere {
    /// It does not, or it comes next there too.
    No,
    /// It has gone to the session.
    Had,
    /// Something else comes first there.
    Ahead,
}

impl Hub {
    /// `false`: its messages have no room for places.
    fn want_places(&mut self, index: u32) -> bool {
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return false;
        };
        if session.encoding.is_stream() || !session.is_open() {
            return false;
        }
        if session.encoding != Encoding::PLACED {
            session.encoding = Encoding::PLACED;
            let subscribed = session.subscriptions.as_slice().iter();
            let begun = subscribed.filter_map(|subscription| {
                let channel = subscription.channel;
                let from = self.channels.get(channel)?.head;
                Some(Begun { channel, from })
            });
            self.histories.placed.begun.insert(index, begun.collect());
        }
        true
    }

    pub(crate) fn wants_places(&self, index: u32) -> bool {
        let session = self.sessions.get(index as usize);
        session.is_some_and(|session| session.encoding == Encoding::PLACED)
    }

    /// A session that wants places begins anew in a channel that it is subscribed to, or (`None`) is told where it
    /// stands. What waits for it stays.
    fn begin_placed(
        &mut self,
        index: u32,
        space: Space,
        name: &str,
        start: Option<Start>,
    ) -> Option<Joined> {
        let channel = self.channels.find(space, name)?;
        let session = self.sessions.get(index as usize);
        let session = session.filter(|session| session.encoding == Encoding::PLACED)?;
        let mut subscribed = session.subscriptions.as_slice().iter();
        subscribed.find(|s| s.channel == channel)?;
        let has_begun = self
            .histories
            .placed
            .of(index)
            .iter()
            .any(|b| b.channel == channel);
        if start.is_none() && has_begun {
            self.remember(channel);
            let followed = self.followed.get(&index).map_or(&[][..], |f| f);
            let position = self.stands(followed, channel)?;
            let recovered = None;
            return Some(Joined {
                position,
                recovered,
            });
        }
        self.end_following(index, Some(channel));
        let joined = self.begin_at(index, channel, start.unwrap_or(Start::Now))?;
        let placed = &mut self.histories.placed;
        placed.begin(index, channel, joined.position);
        // What it has by another channel it is not given again, and it is not told that it stands in front of that.
        let position = self.pass_what_it_had(index, channel);
        Some(Joined {
            position: position.unwrap_or(joined.position),
            ..joined
        })
    }

    /// A session passes what comes next in a channel that it follows, as long as it has that by others. Answers where it
    /// stands then.
    fn pass_what_it_had(&mut self, index: u32, channel: u32) -> Option<Position> {
        let is_it = |f: &Following| f.channel == channel && f.missed == 0;
        let at = self.followed.get(&index)?.iter().position(is_it)?;
        loop {
            let followed = self.followed.get(&index)?;
            let after = followed.get(at)?.after;
            let next = self.channels.get(channel)?.ring.as_ref()?.next(after);
            let had = self.elsewhere(index, followed, channel, after);
            let Some((_, position)) = next.filter(|_| matches!(had, Elsewhere::Had)) else {
                return Some(after);
            };
            self.followed.get_mut(&index)?.get_mut(at)?.after = position;
        }
    }

    /// Where one stands who follows these channels.
    fn stands(&self, followed: &[Following], channel: u32) -> Option<Position> {
        let following = followed.iter().find(|f| f.channel == channel);
        let head = || self.channels.get(channel).map(|entry| entry.head);
        following.map(|f| f.after).or_else(head)
    }

    /// Publishes to the union of several channels of one space, with its places for those who want them.
    fn publish_placed(
        &mut self,
        space: Space,
        to: &[Placed<'_>],
        object: &str,
    ) -> Result<Published, PublishError> {
        for placed in to {
            check_internal_name(placed.channel).map_err(PublishError::Name)?;
        }
        let names: Vec<&str> = to.iter().map(|placed| placed.channel).collect();
        let twice = self.is_written_twice(space, &names);
        self.has_room(room_for(object, if twice { to.len() } else { 0 }))?;
        self.make_room_for_channels_that_keep(space, &names)?;
        self.metrics.publications_total += 1;
        self.stamp = self.stamp.wrapping_add(1).max(1);
        let (_, slow) = self.policy_of_union(space, &names);
        let mut reached: Vec<(u32, &str, Position, Position)> = Vec::with_capacity(names.len());
        for placed in to {
            if let Some(id) = self.channel_to_publish(space, placed.channel)
                && let Some(channel) = self.channels.get_mut(id)
            {
                let previous = channel.head;
                channel.head = previous.next(self.random.next_u64() as u32);
                reached.push((id, placed.label, channel.head, previous));
            }
        }
        let Some(&(first, _, position, previous)) = reached.first() else {
            return Ok(Published {
                position: self.stand_alone().0,
                receivers: 0,
            });
        };
        let alone = reached.len() == 1;
        let epoch = if alone { position.epoch } else { 0 };
        let message = Message::Text(object);
        let frame = self
            .frames
            .insert_publication(epoch, slow, |out| ws::encode_message(out, message, None));
        self.turn_frames += 1;
        self.turn_bytes += object.len();
        let placed = if twice {
            self.encode_placed(epoch, slow, object, &reached)
        } else {
            None
        };
        if let Some(placed) = placed {
            let channel = self.channels.get(first);
            if alone && channel.is_some_and(|channel| channel.catches_up()) {
                self.frames.note_kept(placed, previous);
            }
            self.turn_frames += 1;
            let len = self.frames.len_of(placed);
            self.encoder.offer_placed(placed, len);
        }
        self.follow_together(&reached);
        let mut receivers = 0;
        let reach = Reach {
            space,
            names: &names,
            but: None,
            stamp: self.stamp,
        };
        for (id, ..) in &reached {
            receivers += self.fan_out(*id, frame, &reach);
            self.keep(*id, placed.unwrap_or(frame));
        }
        self.encoder.end_copies(&mut self.frames, frame);
        self.frames.discard(frame);
        Ok(Published {
            position,
            receivers,
        })
    }

    /// The same publication with its places; `None`: it has no room for them.
    fn encode_placed(
        &mut self,
        epoch: u32,
        slow: Option<SlowPolicy>,
        object: &str,
        reached: &[(u32, &str, Position, Position)],
    ) -> Option<FrameId> {
        let mut text = Vec::with_capacity(room_for(object, reached.len()) - object.len());
        let places = reached.iter().map(|r| (r.1, r.2, r.3));
        if !append_placed(&mut text, object, places) {
            debug_assert!(false, "not the text of an object");
            return None;
        }
        let frame = self.frames.insert_publication(epoch, slow, |out| {
            ws::encode_text_header(out, text.len());
            out.extend_from_slice(&text);
        });
        Some(frame)
    }

    /// Whether somebody wants the places of a publication to these channels, or will want them.
    fn is_written_twice(&self, space: Space, names: &[&str]) -> bool {
        let is_kept = |name: &&str| self.channels.keeps(space, name);
        !self.histories.placed.begun.is_empty() || names.iter().any(is_kept)
    }

    /// Takes a publication that came out of a log for the one before it, if it is the same in another of its channels:
    /// no two have the same places.
    #[cfg(feature = "history-log")]
    pub(in crate::hub) fn same_as_before(&mut self, frame: FrameId, unix_ms: u64) -> FrameId {
        let before = self.histories.placed.restored.replace((frame, unix_ms));
        let bytes = self.frames.get(frame);
        let Some((before, _)) = before.filter(|(before, at)| {
            *before != frame && *at == unix_ms && self.frames.get(*before) == bytes
        }) else {
            return frame;
        };
        if !has_places(bytes) {
            return frame;
        }
        self.frames.note_several(before);
        self.frames.discard(frame);
        self.histories.placed.restored = Some((before, unix_ms));
        before
    }

    /// Who catches up in one of these channels gets the publication from its ring, in its turn; so what follows it in
    /// the others has to wait for that too.
    fn follow_together(&mut self, reached: &[(u32, &str, Position, Position)]) {
        if self.followed.is_empty() || reached.len() < 2 {
            return;
        }
        let mut together = Vec::new();
        for (index, followed) in &self.followed {
            let is_behind = |id: u32| followed.iter().any(|f| f.channel == id);
            if !reached.iter().any(|(id, ..)| is_behind(*id)) {
                continue;
            }
            for begun in self.histories.placed.of(*index) {
                let channel = self.channels.get(begun.channel);
                let is_kept = channel.is_some_and(|channel| channel.ring.is_some());
                let place = reached.iter().find(|(id, ..)| *id == begun.channel);
                if let Some((id, _, _, previous)) = place
                    && is_kept
                    && !is_behind(*id)
                {
                    together.push((*index, *id, *previous));
                }
            }
        }
        for (index, id, previous) in together {
            self.stand_at(index, id, previous);
        }
    }

    /// Feeds a session that wants places; `false`: it does not.
    pub(in crate::hub) fn feed_places(
        &mut self,
        index: u32,
        followed: &mut Vec<Following>,
    ) -> bool {
        if !self.wants_places(index) {
            return false;
        }
        loop {
            let mut moved = false;
            for at in 0..followed.len() {
                while self.feed_next(index, followed, at) {
                    moved = true;
                }
            }
            followed.retain(|f| {
                let channel = self.channels.get(f.channel);
                f.missed > 0 || channel.is_some_and(|channel| channel.head != f.after)
            });
            if !moved {
                return true;
            }
        }
    }

    /// One step in one of the channels that a session follows; `false`: there is none, or not now.
    fn feed_next(&mut self, index: u32, followed: &mut [Following], at: usize) -> bool {
        let Some(following) = followed.get_mut(at) else {
            return false;
        };
        let (id, after) = (following.channel, following.after);
        if following.missed > 0 {
            // The marker stands in front of all that waits: nothing may.
            if self.outbox_is_empty(index) && self.is_told_of_gap(index) {
                self.note_missed(index, std::mem::take(&mut following.missed));
            }
            return false;
        }
        let Some(channel) = self.channels.get(id).filter(|c| c.head != after) else {
            return false;
        };
        let space = channel.space;
        let next = channel.ring.as_ref().and_then(|ring| ring.next(after));
        let Some((frame, position)) = next else {
            let found = channel.find(Start::Position(after), self.ring_ms());
            (following.after, following.missed) = (found.after, found.missed.max(1));
            return true;
        };
        match self.elsewhere(index, followed, id, after) {
            Elsewhere::Ahead => return false,
            Elsewhere::Had => {}
            Elsewhere::No if self.is_filtered_out(index, space, frame) => {}
            Elsewhere::No => {
                let len = self.frames.len_of(frame);
                if !self.has_room_for_more(index) || !self.fits_behind(index, len) {
                    return false;
                }
                self.frames.retain(frame, 1);
                self.queue(index, frame, len);
            }
        }
        if let Some(following) = followed.get_mut(at) {
            following.after = position;
        }
        true
    }

    /// Whether a session gets what follows `after` in a channel by another one, too.
    fn elsewhere(&self, index: u32, followed: &[Following], id: u32, after: Position) -> Elsewhere {
        let ring_of = |id| self.channels.get(id).and_then(|c| c.ring.as_ref());
        let mut elsewhere = Elsewhere::No;
        for begun in self
            .histories
            .placed
            .of(index)
            .iter()
            .filter(|b| b.channel != id)
        {
            let Some((ring, other)) = ring_of(id).zip(ring_of(begun.channel)) else {
                continue;
            };
            let Some(place) = ring.next_in(after, other) else {
                continue;
            };
            let Some(stands) = self.stands(followed, begun.channel) else {
                continue;
            };
            if place.offset <= begun.from.offset {
                // It was there before the session was.
            } else if place.offset <= stands.offset {
                return Elsewhere::Had;
            } else if place.offset > stands.offset + 1 {
                elsewhere = Elsewhere::Ahead;
            }
        }
        elsewhere
    }

    pub(in crate::hub) fn check_places(&self) {
        for (index, begun) in &self.histories.placed.begun {
            let session = &self.sessions[*index as usize];
            assert!(session.is_open() && session.encoding == Encoding::PLACED);
            for begun in begun {
                let mut subscribed = session.subscriptions.as_slice().iter();
                assert!(
                    subscribed.any(|s| s.channel == begun.channel),
                    "begun in a channel without a subscription"
                );
            }
        }
    }
}

/// What a publication takes that is written a second time with so many places, if there are any.
fn room_for(object: &str, places: usize) -> usize {
    let plain = object.len() + ws::HEADER_BYTES_MAX;
    if places == 0 {
        plain
    } else {
        2 * plain + places * PLACE_BYTES
    }
}

/// What a place takes, its label being a short one.
const PLACE_BYTES: usize = 192;

impl Context<'_> {
    /// From now on this session is told where publications stand that were published with
    /// [`publish_placed`](Self::publish_placed): `"positions":[{…,"position":"…","previous":"…"},…]` is their last
    /// member. `previous` is missing at the beginning of a channel's life. `false`: it is no WebSocket.
    pub fn want_places(&mut self) -> bool {
        let session = self.session;
        session.is_some_and(|session| self.hub.want_places(session))
    }

    /// Whether it has asked for that.
    pub fn wants_places(&self) -> bool {
        let session = self.session;
        session.is_some_and(|session| self.hub.wants_places(session))
    }

    /// Lets this session, which wants places, begin anew in a channel that it is subscribed to. `start` `None`: it goes
    /// on as it is, and is told where that is. What it gets by another of its channels too comes once.
    ///
    /// `None`: it is not subscribed, or does not want places.
    pub fn begin_placed(&mut self, channel: &str, start: Option<Start>) -> Option<Joined> {
        let space = self.space();
        self.hub.begin_placed(self.session?, space, channel, start)
    }

    /// Publishes the text of a JSON object with at least one member to the union of several channels: each session gets
    /// it once, those that want places with the places that it has in all of these channels. That is what is kept, so
    /// only such sessions may begin with what is kept.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_placed(
        &mut self,
        to: &[Placed<'_>],
        object: &str,
    ) -> Result<Published, PublishError> {
        self.hub.publish_placed(self.space(), to, object)
    }

    /// Whether all of these publications can be published, each with the number of channels that it goes to: for those
    /// that belong together and shall go out all or none.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn has_room_for_placed(
        &mut self,
        publications: &[(&[Placed<'_>], &str)],
    ) -> Result<(), PublishError> {
        let space = self.space();
        let mut bytes = 0;
        let mut channels = Vec::new();
        for (to, object) in publications {
            let names: Vec<&str> = to.iter().map(|placed| placed.channel).collect();
            let twice = self.hub.is_written_twice(space, &names);
            bytes += room_for(object, if twice { to.len() } else { 0 });
            channels.extend(names);
        }
        self.hub
            .make_room_for_channels_that_keep(space, &channels)?;
        self.hub.has_room(bytes)
    }
}
