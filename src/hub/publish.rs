//! Fan-out: one message, encoded once, queued for every subscriber of one or several channels.
//!
//! Publishing only *marks*: ids go into outboxes, sessions onto the dirty list. The worker writes at the end
//! of the turn, so a burst of publications leaves in one system call per subscriber, and batches grow with
//! load by themselves.
//!
//! What becomes of a subscriber whose outbox is over its limits is told in `slow.rs`.

use std::fmt;

use super::channel::{INTERNAL_NAME_BYTES_MAX, NameError, Space, SubscribeError};
use super::encoding::check_event;
use super::listing::USER_SPACE;
use super::session::Life;
use super::slow;
use super::waiting::mark_dirty;
use super::{ConnId, FrameId, Hub, Position, RouteEntry, SessionLimits, SlowPolicy, Waits};
use crate::random::Random;
use crate::ws::{self, Message};

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Where the publication stands in its channel. Of several channels: in the first that has subscribers.
    pub position: Position,
    /// Sessions it was queued for, each counted once.
    pub receivers: usize,
}

/// Why a publication is refused. Nothing of it was queued anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishError {
    /// The channel's name.
    Name(NameError),
    /// So much waits or is unfinished that the budget (this many bytes) is used up.
    Budget(usize),
    /// The channel keeps what is published, and there are as many channels as there may be: this many.
    TooManyChannels(usize),
    /// What the publication is called, and why it cannot be called so.
    Event(&'static str),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::TooManyChannels(max) => SubscribeError::TooManyChannels(*max).fmt(f),
            Self::Event(why) => f.write_str(why),
            Self::Budget(bytes) => {
                write!(
                    f,
                    "the memory budget of {bytes} bytes is used up by waiting messages (setting \
                     memory_budget_bytes): try again later"
                )
            }
        }
    }
}

impl std::error::Error for PublishError {}

/// What a publication is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label<'a> {
    pub(super) event: Option<&'a str>,
    #[cfg(feature = "filters")]
    pub(super) tags: Option<&'a super::Tags>,
}

impl<'a> Label<'a> {
    pub(super) fn of(event: Option<&'a str>) -> Self {
        Self {
            event,
            #[cfg(feature = "filters")]
            tags: None,
        }
    }
}

/// Whom a publication is for.
pub(super) struct Reach<'a> {
    pub(super) space: Space,
    /// All channels that it goes to.
    pub(super) names: &'a [&'a str],
    /// Not this session.
    pub(super) but: Option<u32>,
    /// Of the publication, if it goes to several channels, so that nobody gets it twice; else 0.
    pub(super) stamp: u32,
}

impl Hub {
    /// Subscribes a session; `Ok(false)` if it already was.
    pub(crate) fn subscribe(
        &mut self,
        index: u32,
        space: Space,
        name: &str,
    ) -> Result<bool, SubscribeError> {
        let max = self.session_limits(index).subscriptions_max;
        self.subscribe_within(index, space, name, max)
            .map(|(_, new)| new)
    }

    /// Answers the channel too. `max` is the number of subscriptions the session may have afterwards.
    pub(crate) fn subscribe_within(
        &mut self,
        index: u32,
        space: Space,
        name: &str,
        max: usize,
    ) -> Result<(u32, bool), SubscribeError> {
        check_internal_name(name).map_err(SubscribeError::Name)?;
        let (Some(id), Some(session)) = (
            self.conn_id(index),
            self.sessions
                .get_mut(index as usize)
                .filter(|s| s.is_open()),
        ) else {
            return Err(SubscribeError::Closed);
        };
        let found = self.channels.find(space, name);
        if let Some(channel) = found
            && session
                .subscriptions
                .as_slice()
                .iter()
                .any(|s| s.channel == channel)
        {
            return Ok((channel, false));
        }
        let made = session.subscriptions.as_slice();
        // A user's own channel is none that the client has asked for.
        if made.len() >= max && made.len() - self.channels.count_users(made) >= max {
            self.metrics.refuse("subscriptions_per_session");
            return Err(SubscribeError::TooManySubscriptions(max));
        }
        let channel = match found {
            Some(channel) => channel,
            None => {
                self.make_room_for_channels(1)
                    .map_err(SubscribeError::TooManyChannels)?;
                let beginning = beginning(&mut self.random);
                self.channels.create(space, name, beginning)
            }
        };
        if let Some(session) = self.sessions.get_mut(index as usize) {
            self.channels.join(channel, id, session);
        }
        Ok((channel, true))
    }

    /// Unsubscribes a session; `false` if it was not subscribed.
    pub(crate) fn unsubscribe(&mut self, index: u32, space: Space, name: &str) -> bool {
        let Some(channel) = self.channels.find(space, name) else {
            return false;
        };
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return false;
        };
        let Some(at) = session
            .subscriptions
            .as_slice()
            .iter()
            .position(|s| s.channel == channel)
        else {
            return false;
        };
        self.channels.leave(&mut self.sessions, index, at);
        self.end_following(index, Some(channel));
        true
    }

    /// Unsubscribes a session from every channel of `space` whose name `matches`; answers how many.
    pub(crate) fn unsubscribe_where(
        &mut self,
        index: u32,
        space: Space,
        mut matches: impl FnMut(&str) -> bool,
    ) -> usize {
        let mut gone = 0;
        let mut at = 0;
        while let Some(session) = self.sessions.get(index as usize)
            && let Some(subscription) = session.subscriptions.as_slice().get(at)
        {
            let id = subscription.channel;
            let channel = self.channels.get(id);
            if channel.is_some_and(|c| c.space == space && matches(&c.name)) {
                self.channels.leave(&mut self.sessions, index, at);
                self.end_following(index, Some(id));
                gone += 1;
            } else {
                at += 1;
            }
        }
        gone
    }

    /// Makes the session one of user `name`'s: it joins that user's personal channel (and leaves another's).
    pub(crate) fn set_user(&mut self, index: u32, name: &str) -> Result<(), SubscribeError> {
        let space = self.user_space();
        self.unsubscribe_where(index, space, |_| true);
        let joined = self.subscribe_within(index, space, name, usize::MAX);
        self.rename_member(index);
        joined.map(drop)
    }

    /// The user a session belongs to: the name of the one user channel it is subscribed to.
    pub(crate) fn user(&self, index: u32) -> Option<&str> {
        let space = self.channels.find_space(USER_SPACE)?;
        let session = self.sessions.get(index as usize)?;
        let mut channels = session
            .subscriptions
            .as_slice()
            .iter()
            .filter_map(|s| self.channels.get(s.channel));
        channels.find(|c| c.space == space).map(|c| &*c.name)
    }

    pub(crate) fn user_space(&mut self) -> Space {
        self.channels.space(USER_SPACE)
    }

    /// Open sessions subscribed to a channel.
    pub(crate) fn subscribers(&self, space: Space, name: &str) -> usize {
        let channel = self
            .channels
            .find(space, name)
            .and_then(|c| self.channels.get(c));
        channel.map_or(0, |c| c.subscribers.len())
    }

    /// Indices of the sessions subscribed to a channel.
    pub(crate) fn subscriber_indices(&self, space: Space, name: &str) -> Vec<u32> {
        let channel = self
            .channels
            .find(space, name)
            .and_then(|c| self.channels.get(c));
        channel.map_or_else(Vec::new, |c| {
            c.subscribers.iter().map(|s| s.session).collect()
        })
    }

    /// Publishes to the union of several channels of one space: a session subscribed to more than one of
    /// them gets the message once. `but` is left out.
    pub(crate) fn publish(
        &mut self,
        space: Space,
        names: &[&str],
        message: Message<'_>,
        but: Option<u32>,
    ) -> Result<Published, PublishError> {
        self.publish_event(space, names, Label::of(None), message, but)
    }

    /// As [`publish`](Self::publish), called something.
    pub(super) fn publish_event(
        &mut self,
        space: Space,
        names: &[&str],
        label: Label<'_>,
        message: Message<'_>,
        but: Option<u32>,
    ) -> Result<Published, PublishError> {
        for name in names {
            check_internal_name(name).map_err(PublishError::Name)?;
        }
        if let Some(event) = label.event {
            check_event(event).map_err(PublishError::Event)?;
        }
        self.has_room(message.len())?;
        self.make_room_for_channels_that_keep(space, names)?;
        self.metrics.publications_total += 1;
        let mut first = None;
        let mut receivers = 0;
        let mut frame = None;
        // Only the union of several channels, or of a channel and patterns, can reach a session twice.
        self.stamp = self.stamp.wrapping_add(1).max(1);
        let several = names.len() > 1;
        let mut heard = self.heard_by_patterns(space, names);
        let is_stamped = several || !heard.is_nothing();
        let to = Reach {
            space,
            names,
            but,
            stamp: if is_stamped { self.stamp } else { 0 },
        };
        let shared = several.then(|| self.policy_of_union(space, names));
        for (at, name) in names.iter().enumerate() {
            let Some(id) = self.channel_to_publish(space, name) else {
                continue;
            };
            let Some(channel) = self.channels.get_mut(id) else {
                continue;
            };
            let previous = channel.head;
            channel.head = previous.next(self.random.next_u64() as u32);
            first.get_or_insert(channel.head);
            heard.note(at, channel.head, previous);
            self.encoder.about(channel.head, previous);
            heard.name(&mut self.encoder, name);
            let (epoch, slow) = shared.unwrap_or((channel.head.epoch, channel.slow));
            let is_given_again = shared.is_none() && channel.catches_up();
            let frame = *frame.get_or_insert_with(|| {
                self.turn_frames += 1;
                self.turn_bytes += message.len();
                let frame = self
                    .frames
                    .insert_publication(epoch, slow, |out| ws::encode_message(out, message, None));
                self.frames.label(frame, label);
                frame
            });
            if is_given_again {
                self.frames.note_kept(frame, previous);
            }
            receivers += self.fan_out(id, frame, &to);
            if several {
                self.encoder
                    .end_copies_of_positions(&mut self.frames, frame);
            }
            self.keep(id, frame);
        }
        if let Some(frame) = frame {
            self.encoder.end_copies(&mut self.frames, frame);
            self.frames.discard(frame);
        }
        receivers += self.publish_to_patterns(heard, label, message, &to, &mut first);
        let position = first.unwrap_or_else(|| self.stand_alone().0);
        Ok(Published {
            position,
            receivers,
        })
    }

    /// Where a publication stands whose channel nobody is in, and what it follows: the channel begins and ends with it.
    pub(super) fn stand_alone(&mut self) -> (Position, Position) {
        let beginning = beginning(&mut self.random);
        (beginning.next(self.random.next_u64() as u32), beginning)
    }

    /// Queues a frame for the subscribers of a channel; answers how many get it, now or when they have caught up.
    #[inline]
    pub(super) fn fan_out(&mut self, id: u32, frame: FrameId, to: &Reach<'_>) -> usize {
        let Some(channel) = self.channels.get_mut(id) else {
            return 0;
        };
        // The list is lent out while its sessions are visited; nothing below subscribes or unsubscribes.
        let subscribers = std::mem::take(&mut channel.subscribers);
        let len = self.frames.len_of(frame);
        let (mut queued, mut later) = (0, 0);
        self.turn_deliveries += subscribers.len();
        for subscriber in &subscribers {
            let index = subscriber.session;
            if Some(index) == to.but {
                continue;
            }
            if !self.filters.is_empty() && self.is_filtered_out(index, to.space, frame) {
                continue;
            }
            if !self.followed.is_empty() && self.follows(index) && self.is_passed_by(index, to) {
                later += 1;
            } else if self.deliver(index, frame, len, to.stamp) {
                queued += 1;
            }
        }
        self.frames.retain(frame, queued);
        if let Some(channel) = self.channels.get_mut(id) {
            channel.subscribers = subscribers;
        }
        queued as usize + later
    }

    /// The channel of that name. One that keeps its publications needs no subscriber to have a first one.
    #[inline]
    pub(super) fn channel_to_publish(&mut self, space: Space, name: &str) -> Option<u32> {
        let found = self.channels.find(space, name);
        if found.is_none() && self.channels.keeps(space, name) {
            let beginning = beginning(&mut self.random);
            return Some(self.channels.create(space, name, beginning));
        }
        found
    }

    pub(super) fn make_room_for_channels_that_keep(
        &mut self,
        space: Space,
        names: &[&str],
    ) -> Result<(), PublishError> {
        let begins = |name: &&&str| {
            self.channels.find(space, name).is_none() && self.channels.keeps(space, name)
        };
        let count = names.iter().filter(begins).count();
        self.make_room_for_channels(count)
            .map_err(PublishError::TooManyChannels)
    }

    /// Whether there may be so many more channels. Those that are only kept for what they have give way.
    pub(super) fn make_room_for_channels(&mut self, count: usize) -> Result<(), usize> {
        let max = self.limits.channels_max;
        while count > 0 && self.channels.len() + count > max {
            if !self.let_go_of_one() {
                self.metrics.refuse("channels_overall");
                return Err(max);
            }
        }
        Ok(())
    }

    /// Whether a session follows one of these channels, and is given the publication when it has come so far.
    fn is_passed_by(&mut self, index: u32, to: &Reach<'_>) -> bool {
        let followed = |name: &&str| {
            let channel = self.channels.find(to.space, name);
            channel.is_some_and(|channel| self.follows_channel(index, channel))
        };
        if !to.names.iter().any(followed) {
            return false;
        }
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return false;
        };
        let is_first = to.stamp == 0 || session.stamp != to.stamp;
        session.stamp = to.stamp;
        is_first && session.life == Life::Open
    }

    /// The life and the policy of a publication to several channels. Of those with subscribers the strictest policy
    /// counts: who may not be dropped for one of them is not dropped. One that reaches several is never outdated, for
    /// it may be the newest of any of them.
    pub(super) fn policy_of_union(
        &self,
        space: Space,
        names: &[&str],
    ) -> (u32, Option<SlowPolicy>) {
        let ids = names
            .iter()
            .filter_map(|name| self.channels.find(space, name));
        let mut channels = ids.filter_map(|id| self.channels.get(id));
        let Some(first) = channels.next() else {
            return (0, None);
        };
        channels.fold((first.head.epoch, first.slow), |(_, slow), other| {
            (0, slow::stricter(slow, other.slow))
        })
    }

    /// Sends to many sessions, encoded once; answers how many took it. One named twice gets it once.
    pub(crate) fn send_many(
        &mut self,
        ids: &[ConnId],
        message: Message<'_>,
    ) -> Result<usize, PublishError> {
        self.has_room(message.len())?;
        self.stamp = self.stamp.wrapping_add(1).max(1);
        self.turn_frames += 1;
        self.turn_bytes += message.len();
        let frame = self
            .frames
            .insert_message(|out| ws::encode_message(out, message, None));
        let len = self.frames.len_of(frame);
        let mut receivers = 0;
        self.turn_deliveries += ids.len();
        for id in ids {
            if let Some(index) = self.index_of(*id)
                && self.deliver(index, frame, len, self.stamp)
            {
                receivers += 1;
            }
        }
        self.frames.retain(frame, receivers as u32);
        self.encoder.end_copies(&mut self.frames, frame);
        self.frames.discard(frame);
        Ok(receivers)
    }

    /// Sends to many sessions a text of which one place is each one's own.
    pub(crate) fn send_patched<'i>(
        &mut self,
        receivers: impl IntoIterator<Item = (ConnId, &'i str)>,
        before: &str,
        after: &str,
    ) -> Result<usize, PublishError> {
        self.has_room(before.len() + after.len())?;
        let is_shared = after.len() >= SHARED_END_BYTES_MIN;
        let end = is_shared.then(|| {
            self.frames
                .insert(|out| out.extend_from_slice(after.as_bytes()))
        });
        self.turn_bytes += after.len();
        let mut taken = 0;
        for (id, own) in receivers {
            let Some(index) = self.index_of(id) else {
                continue;
            };
            let Some(session) = self.sessions.get(index as usize) else {
                continue;
            };
            let Some(end) = end.filter(|_| session.encoding.is_plain()) else {
                let text = [before, own, after].concat();
                taken += usize::from(self.send(index, Message::Text(&text)));
                continue;
            };
            if session.life != Life::Open {
                continue;
            }
            let len = before.len() + own.len() + after.len();
            let frame = self.frames.insert_patched(end, |out| {
                out.reserve(ws::HEADER_BYTES_MAX + before.len() + own.len());
                ws::encode_text_header(out, len);
                out.extend_from_slice(before.as_bytes());
                out.extend_from_slice(own.as_bytes());
            });
            self.turn_bytes += before.len() + own.len();
            self.turn_deliveries += 1;
            self.frames.retain(frame, 1);
            let len = self.frames.len_of(frame);
            self.queue(index, frame, len);
            taken += 1;
        }
        if let Some(end) = end {
            self.frames.discard(end);
        }
        Ok(taken)
    }

    /// Whether the memory budget has room for so many more bytes.
    pub(crate) fn has_room(&mut self, bytes: usize) -> Result<(), PublishError> {
        let budget = self.limits.memory_budget_bytes;
        if self.used_bytes().saturating_add(bytes) > budget {
            self.evict_for(budget.saturating_sub(bytes));
        }
        if self.used_bytes().saturating_add(bytes) > budget {
            self.metrics.refuse("memory_budget");
            return Err(PublishError::Budget(budget));
        }
        Ok(())
    }

    /// Queues a shared frame of `len` bytes for one session; `false` if it had it already or takes nothing more. The
    /// caller adds the references.
    #[inline]
    fn deliver(&mut self, index: u32, frame: FrameId, len: usize, stamp: u32) -> bool {
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return false;
        };
        let twice = stamp != 0 && session.stamp == stamp;
        if twice || session.life != Life::Open {
            return false;
        }
        session.stamp = stamp;
        let how = session.encoding;
        let (frame, len) = self.encoder.copy_for(&mut self.frames, frame, len, how);
        self.queue(index, frame, len);
        true
    }

    /// Queues one message for one session; `false` if it takes nothing more.
    #[inline]
    pub(crate) fn send(&mut self, index: u32, message: Message<'_>) -> bool {
        let Some(session) = self.sessions.get(index as usize) else {
            return false;
        };
        if session.life != Life::Open {
            return false;
        }
        let is_plain = session.encoding.is_plain();
        if is_plain && self.reply.to == Some(index) && session.waits.is_nothing() {
            self.metrics.messages_sent_total += 1;
            self.reply.push_message(message);
            return true;
        }
        self.send_behind(index, message)
    }

    /// The same for a session that is not being read, for which something waits already, or which wants its messages
    /// in another way.
    fn send_behind(&mut self, index: u32, message: Message<'_>) -> bool {
        let is_next = self.is_next(index);
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return false;
        };
        let encoding = session.encoding;
        if self.reply.to == Some(index) && is_next {
            self.metrics.messages_sent_total += 1;
            if encoding.is_plain() {
                self.reply.push_message(message);
            } else {
                self.reply
                    .push_with(|out| self.encoder.encode(out, message, encoding));
            }
            return true;
        }
        // A client may pipeline thousands of commands and read later: their replies share a few frames.
        if !session.waits.is_nothing()
            && let outbox = self.outboxes.of(&mut session.waits, &self.frames)
            && let Some(last) = outbox.last_to_append_to()
            && let Some(added) = self
                .frames
                .append(last, |out| self.encoder.encode(out, message, encoding))
        {
            outbox.note_appended(added);
            self.metrics.messages_sent_total += 1;
            self.turn_bytes += added;
            self.watch(index);
            return true;
        }
        self.turn_frames += 1;
        self.turn_bytes += message.len();
        let frame = self
            .frames
            .insert_private(|out| self.encoder.encode(out, message, encoding));
        let len = self.frames.len_of(frame);
        self.frames.retain(frame, 1);
        self.queue(index, frame, len);
        true
    }

    /// Queues a frame for a session that is there. The caller adds the reference.
    #[inline]
    pub(super) fn queue(&mut self, index: u32, frame: FrameId, len: usize) {
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return;
        };
        self.metrics.messages_sent_total += 1;
        mark_dirty(&mut self.dirty, session, index);
        let limits = limits_of(&self.routes, session.route);
        // One frame alone is never over a limit, but the soft one, which takes time.
        if session.waits.is_nothing() && len <= limits.outbox_soft_bytes {
            session.waits = Waits::lone(frame);
            return;
        }
        self.queue_behind(index, frame, len);
    }

    /// The same where something waits already, or the frame is large.
    #[inline(never)]
    fn queue_behind(&mut self, index: u32, frame: FrameId, len: usize) {
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return;
        };
        let limits = limits_of(&self.routes, session.route);
        let outbox = self
            .outboxes
            .push(&mut session.waits, frame, len, &self.frames);
        let least = limits.outbox_soft_bytes.min(limits.outbox_bytes_max);
        if outbox.bytes() > least || outbox.len() > limits.outbox_frames_max {
            self.watch(index);
        }
    }

    pub(crate) fn session_limits(&self, index: u32) -> super::SessionLimits {
        let route = self.sessions.get(index as usize).map_or(0, |s| s.route);
        limits_of(&self.routes, route)
    }
}

/// Where the first publication of a new life of a channel will follow.
fn beginning(random: &mut Random) -> Position {
    let drawn = random.next_u64();
    Position {
        epoch: (drawn >> 32) as u32,
        offset: 0,
        tag: drawn as u32,
    }
}

#[inline]
pub(super) fn limits_of(routes: &[RouteEntry], route: u16) -> SessionLimits {
    routes
        .get(route as usize)
        .map_or_else(Default::default, |r| r.limits)
}

/// An end shorter than this is copied to each: sharing would cost more.
const SHARED_END_BYTES_MIN: usize = 512;

pub(super) fn check_internal_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        Err(NameError::Empty)
    } else if name.len() > INTERNAL_NAME_BYTES_MAX {
        Err(NameError::TooLong(name.len()))
    } else {
        Ok(())
    }
}
