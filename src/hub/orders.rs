//! What handlers asked for, until the worker takes it, and how much of it a turn may be.

use super::{Effect, Hub, Ticket};
use crate::http::Response;
use crate::ws::CloseCode;

/// Frames that one turn may queue before it stops reading.
const TURN_FRAMES_MAX: usize = 1024;
/// Bytes likewise.
const TURN_BYTES_MAX: usize = 1 << 20;
/// Deliveries likewise: a few milliseconds of them. Frames alone say nothing where each has thousands of subscribers.
const TURN_DELIVERIES_MAX: usize = 64 << 10;

/// How many calls there are, and how many bytes their bodies have.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CallLoad {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
    /// All calls ever asked for.
    pub(crate) asked: u64,
}

impl CallLoad {
    pub(crate) fn note_asked(&mut self, body_bytes: usize) {
        self.count += 1;
        self.bytes += body_bytes;
        self.asked += 1;
    }

    pub(crate) fn note_ended(&mut self, body_bytes: usize) {
        self.count -= 1;
        self.bytes -= body_bytes;
    }
}

/// A close that somebody decided while a turn was under way; the worker carries it out.
#[derive(Debug)]
pub(crate) struct CloseOrder {
    pub(crate) session: u32,
    pub(crate) generation: u32,
    pub(crate) code: CloseCode,
    pub(crate) reason: Box<str>,
}

impl Hub {
    /// Takes the effects that handlers asked for since the last call.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn has_orders(&self) -> bool {
        !(self.effects.is_empty()
            && self.answers.is_empty()
            && self.closing.is_empty()
            && self.drained.is_empty()
            && self.suspects.is_empty())
            || self.grants.has_orders()
            || self.channels.presences.has_orders()
    }

    /// Takes the answers to requests that handlers had put off.
    pub(crate) fn take_answers(&mut self) -> Vec<(Ticket, Response)> {
        std::mem::take(&mut self.answers)
    }

    /// A turn begins.
    pub(crate) fn begin_turn(&mut self) {
        (self.turn_frames, self.turn_bytes, self.turn_deliveries) = (0, 0, 0);
    }

    /// This turn has queued so much that it is time to write: what is read now waits for the next one.
    pub(crate) fn turn_is_full(&self) -> bool {
        self.turn_frames >= TURN_FRAMES_MAX
            || self.turn_bytes >= TURN_BYTES_MAX
            || self.turn_deliveries >= TURN_DELIVERIES_MAX
    }

    /// Takes the sessions that have gone beyond a limit of their outbox, and the server's keys of their
    /// connections.
    pub(crate) fn take_suspects(&mut self) -> Vec<(u32, u32)> {
        let mut suspects = std::mem::take(&mut self.suspects);
        suspects.retain_mut(|(index, other)| {
            let session = self.sessions.get(*index as usize);
            let session = session.filter(|s| s.generation == *other && s.is_open());
            *other = session.map_or(0, |s| s.link);
            session.is_some()
        });
        suspects
    }

    /// Takes the sessions that have drained, as far as they are still open. One for which something waits again (it may
    /// be a reply that was gathered at the time) goes on being awaited.
    pub(crate) fn take_drained(&mut self) -> Vec<u32> {
        let mut drained = std::mem::take(&mut self.drained);
        drained.retain(|(index, generation)| {
            let session = self.sessions.get(*index as usize);
            let session = session.filter(|s| s.generation == *generation && s.is_open());
            let waits = session.is_some_and(|session| !session.waits.is_nothing());
            if waits {
                self.awaited.insert(*index);
            }
            session.is_some() && !waits
        });
        drained.into_iter().map(|(index, _)| index).collect()
    }

    /// Takes the closes that were decided since the last call.
    pub(crate) fn take_close_orders(&mut self) -> Vec<CloseOrder> {
        std::mem::take(&mut self.closing)
    }

    /// Whether the order still means the session it was given for.
    pub(crate) fn order_is_current(&self, order: &CloseOrder) -> bool {
        self.sessions
            .get(order.session as usize)
            .is_some_and(|s| s.generation == order.generation)
    }
}
