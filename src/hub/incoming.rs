//! Publications of channels that live elsewhere.
//!
//! **A channel's home is whoever numbers its publications.** For most that is this hub: `publish` numbers and fans out.
//! Another home (a store that several servers share, a server upstream) numbers by itself, and its publications come here
//! one by one, as [`Incoming`]. Both end in the same fan-out, the same rings and the same followers; only this side cannot
//! trust that nothing was lost on the way.
//!
//! So **only what links is accepted in silence**. Each publication names its predecessor, and if that is not the channel's
//! head, something is missing: it was lost, it came in another order, or the home has lost its memory and counts on from
//! an older state. Whatever it was, subscribers are told of a gap at that very place, and the channel goes on from there.
//!
//! ```text
//!   its predecessor is the head ──▶ Delivered        it stands in the ring already ──▶ Repeated: nobody hears it twice
//!   anything else               ──▶ Gap: the ring begins anew, everybody is told and then gets it
//! ```
//!
//! Who listens by a pattern (feature `wildcards`) is not told of gaps: patterns remember no channels, so only the envelopes
//! say what each publication follows.

use super::channel::Space;
use super::encoding::check_event;
use super::history::{Found, HistoryOptions, Ring, missed_between};
use super::publish::{Label, Reach, check_internal_name};
use super::{Hub, Position, PublishError};
use crate::ws::{self, Message};

/// A publication as its channel's home tells of it.
///
/// ```
/// use dunlin::Message;
/// use dunlin::hub::{Incoming, Position};
///
/// let previous = Position { epoch: 7, offset: 0, tag: 1 };
/// let position = Position { offset: 1, tag: 2, ..previous };
/// let goal = Incoming::of(position, previous, Message::Text("1:0")).event(Some("goal"));
/// assert_eq!(goal.event, Some("goal"));
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Incoming<'a> {
    /// Where it stands.
    pub position: Position,
    /// Where the one before it stands, or the beginning of this life of the channel, at offset 0.
    pub previous: Position,
    /// What it says.
    pub message: Message<'a>,
    /// What it is called, if it is called anything: 1 to 64 bytes without control characters, and neither `gap` nor `close`,
    /// which the server says itself.
    pub event: Option<&'a str>,
    /// How it is tagged, if it is.
    #[cfg(feature = "filters")]
    pub tags: Option<&'a super::Tags>,
}

impl<'a> Incoming<'a> {
    /// One that is called nothing.
    pub fn of(position: Position, previous: Position, message: Message<'a>) -> Self {
        Self {
            position,
            previous,
            message,
            event: None,
            #[cfg(feature = "filters")]
            tags: None,
        }
    }

    /// As this one, called so.
    pub fn event(self, event: Option<&'a str>) -> Self {
        Self { event, ..self }
    }

    /// As this one, tagged so (feature `filters`).
    #[cfg(feature = "filters")]
    pub fn tags(self, tags: &'a super::Tags) -> Self {
        let tags = Some(tags);
        Self { tags, ..self }
    }

    fn label(&self) -> Label<'a> {
        Label {
            event: self.event,
            #[cfg(feature = "filters")]
            tags: self.tags,
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It follows what came before, and so many sessions get it. Or all of them listen by patterns, and nobody here knows what
    /// came before.
    Delivered(usize),
    /// It came before.
    Repeated,
    /// It follows something else. So many sessions are told of the gap and get it.
    Gap(usize),
    /// Its position is not the next one behind its predecessor's, in the same epoch, or no publication may be called so.
    /// Nobody gets it.
    Malformed,
    /// Nobody here listens to the channel, and nothing of it is kept.
    Unheard,
}

/// What a channel that lives elsewhere keeps if nobody says anything: a few, so that a gap is told in its place.
const KEPT_OF_OTHERS: u32 = 16;

impl Hub {
    /// The same by the name of the space; one that nobody has a route for is unheard.
    pub(crate) fn receive_in(
        &mut self,
        space: &str,
        name: &str,
        incoming: &Incoming<'_>,
    ) -> Result<Received, PublishError> {
        match self.channels.find_space(space) {
            Some(space) => self.receive(space, name, incoming),
            None => Ok(Received::Unheard),
        }
    }

    /// A publication has come from its channel's home.
    pub(crate) fn receive(
        &mut self,
        space: Space,
        name: &str,
        incoming: &Incoming<'_>,
    ) -> Result<Received, PublishError> {
        let Incoming {
            position,
            previous,
            message,
            ..
        } = *incoming;
        let label = incoming.label();
        if previous.checked_next(position.tag) != Some(position) {
            self.metrics.refuse("position_malformed");
            return Ok(Received::Malformed);
        }
        // It would stand in a line of its own, in a stream of events.
        if label.event.is_some_and(|event| check_event(event).is_err()) {
            self.metrics.refuse("event_malformed");
            return Ok(Received::Malformed);
        }
        check_internal_name(name).map_err(PublishError::Name)?;
        self.has_room(message.len())?;
        self.make_room_for_channels_that_keep(space, &[name])?;
        let names = &[name];
        let mut heard = self.heard_by_patterns(space, names);
        self.stamp = self.stamp.wrapping_add(1).max(1);
        let to = Reach {
            space,
            names,
            but: None,
            stamp: if heard.is_nothing() { 0 } else { self.stamp },
        };
        heard.note(0, position, previous);
        let mut first = Some(position);
        let Some(id) = self.channel_to_publish(space, name) else {
            if heard.is_nothing() {
                return Ok(Received::Unheard);
            }
            // Nobody here knows what came before, so only who gets it can say whether something is missing.
            self.metrics.publications_total += 1;
            let receivers = self.publish_to_patterns(heard, label, message, &to, &mut first);
            return Ok(Received::Delivered(receivers));
        };
        let Some(channel) = self.channels.get_mut(id) else {
            return Ok(Received::Unheard);
        };
        let head = channel.head;
        let ring = channel.ring.get_or_insert_with(|| {
            let few = HistoryOptions::of(KEPT_OF_OTHERS);
            Box::new(Ring::new(few, head, name.len()))
        });
        if ring.knows(position) {
            return Ok(Received::Repeated);
        }
        let links = previous == head;
        if !links {
            self.restart_ring(id, previous);
            self.tell_of_gap(id, head, previous);
        }
        let Some(channel) = self.channels.get_mut(id) else {
            return Ok(Received::Unheard);
        };
        channel.head = position;
        let (slow, is_given_again) = (channel.slow, channel.catches_up());
        self.metrics.publications_total += 1;
        self.turn_frames += 1;
        self.turn_bytes += message.len();
        self.encoder.about(position, previous);
        heard.name(&mut self.encoder, name);
        let frame = self.frames.insert_publication(position.epoch, slow, |out| {
            ws::encode_message(out, message, None);
        });
        self.frames.label(frame, label);
        if is_given_again {
            self.frames.note_kept(frame, previous);
        }
        let mut receivers = self.fan_out(id, frame, &to);
        self.keep(id, frame);
        self.encoder.end_copies(&mut self.frames, frame);
        self.frames.discard(frame);
        receivers += self.publish_to_patterns(heard, label, message, &to, &mut first);
        Ok(if links {
            Received::Delivered(receivers)
        } else {
            Received::Gap(receivers)
        })
    }

    /// What follows `previous` comes next, and the channel stood at `head`: whoever was live is told, and goes on from
    /// the ring. Those who follow find out when they come to where it was torn.
    fn tell_of_gap(&mut self, id: u32, head: Position, previous: Position) {
        self.metrics.gaps_total += 1;
        let Some(channel) = self.channels.get_mut(id) else {
            return;
        };
        channel.head = previous;
        let subscribers: Vec<u32> = channel.subscribers.iter().map(|s| s.session).collect();
        let found = Found {
            after: previous,
            missed: missed_between(head, previous),
        };
        for index in subscribers {
            if !self.follows_channel(index, id) {
                self.follow(index, id, found);
            }
        }
    }
}
