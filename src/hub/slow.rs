//! Slow consumers: those for whom more waits than may.
//!
//! **A subscriber for whom too much waits is told**: it is closed with 1013, or (drop-oldest) the next thing it gets is a
//! gap marker, or (latest) it gets the newest of what it missed. Nothing is dropped in silence.
//!
//! ```text
//!   an outbox grows beyond a limit ──▶ suspected ── the transport takes what it can ──▶ within its limits: nothing
//!                                                                                  └─▶ judged: what may go goes,
//!                                                                                      and if that is not enough, it
//! ```

use super::outbox::Outbox;
use super::publish::limits_of;
use super::{Hub, SessionLimits};

/// What to do with a session for which more waits than may: a route's policy, or that of some of its channels
/// ([`ChannelOptions`](super::ChannelOptions)).
///
/// **In mixtures each message has the policy of its channel**, and replies and messages to certain sessions have the
/// route's. A session's limits are over all that waits for it, and when they are exceeded, room is made by what may go:
///
/// 1. Of each channel with `Latest` everything but its newest publication goes. It replaces nothing of another channel.
/// 2. If that is not enough, messages with `DropOldest` go, the oldest first, until it is. A marker tells how many.
/// 3. If a message with `Close` or `Latest` then still finds no room, the session is closed, whatever else waits.
///
/// Before all that, what channels keep
/// ([`ChannelOptions::history_messages_max`](super::ChannelOptions::history_messages_max)) and have no policy for is taken
/// back, to be given again when the session has room: it catches up, and is told of a gap only where the channel has let go
/// of what comes next.
///
/// So a message with `Close` is never dropped from a session that goes on, nor is the newest of a channel with `Latest`. What
/// is not dropped keeps its order, and the marker stands in front of all that is left. A publication to several channels has
/// the strictest policy of those that have subscribers (`Close`, then the route's, `DropOldest`, `Latest`), and it is
/// never outdated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowPolicy {
    /// Close it with 1013 (try again later). No silent gap: the subscriber is told.
    #[default]
    Close,
    /// Drop its oldest messages; the next thing it gets is the handler's gap marker.
    DropOldest,
    /// Keep the newest publication of each channel and drop those before it: for values that replace each other, where
    /// nobody wants the gap filled. If that is not enough, close it.
    Latest,
}

/// Of two policies, `None` being whatever a route says, the one that gives up less.
pub(super) fn stricter(a: Option<SlowPolicy>, b: Option<SlowPolicy>) -> Option<SlowPolicy> {
    let strictness = |policy: &Option<SlowPolicy>| match policy {
        Some(SlowPolicy::Close) => 3,
        None => 2,
        Some(SlowPolicy::DropOldest) => 1,
        Some(SlowPolicy::Latest) => 0,
    };
    if strictness(&b) > strictness(&a) {
        b
    } else {
        a
    }
}

impl Hub {
    /// Looks at an outbox that has just grown. One beyond its limits is judged later in this turn, after the
    /// transport was asked: until then nobody knows whether its reader is slow or a burst was large.
    pub(super) fn watch(&mut self, index: u32) {
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return;
        };
        let Some(outbox) = self.outboxes.get_mut(session.waits) else {
            return;
        };
        let limits = limits_of(&self.routes, session.route);
        let now = soft_stamp(self.now.ms);
        if outbox.bytes() <= limits.outbox_soft_bytes {
            outbox.soft_since = 0;
        } else if outbox.soft_since == 0 {
            outbox.soft_since = now;
        }
        // What a session makes for itself while it is read is bounded by the pause that follows. So the newest of its
        // replies does not count, or a reply of the largest size behind the end of another would be one too many.
        if self.reply.to == Some(index)
            && let Some(newest) = outbox.last()
            && outbox.bytes().saturating_sub(self.frames.len_of(newest)) <= limits.outbox_bytes_max
            && outbox.len() <= limits.outbox_frames_max
            && !is_over_soft(outbox, &limits, now)
        {
            return;
        }
        if !outbox.suspected && is_over(outbox, &limits, now) {
            outbox.suspected = true;
            self.suspects.push((index, session.generation));
        }
    }

    /// Whether more waits for a session than may.
    pub(crate) fn is_over(&self, index: u32) -> bool {
        let limits = self.session_limits(index);
        let now = soft_stamp(self.now.ms);
        self.outbox(index)
            .is_some_and(|outbox| is_over(outbox, &limits, now))
    }

    /// The transport takes nothing more for now: what becomes of a session that was suspected? What may be dropped is;
    /// `true`: that is not enough, it is to be closed. The rule is [`SlowPolicy`]'s.
    pub(crate) fn judge(&mut self, index: u32) -> bool {
        let limits = self.session_limits(index);
        let now = soft_stamp(self.now.ms);
        let Some(session) = self.sessions.get(index as usize) else {
            return false;
        };
        let Some(outbox) = self.outboxes.get_mut(session.waits) else {
            return false;
        };
        outbox.suspected = false;
        if !is_over(outbox, &limits, now) {
            return false;
        }
        self.fall_back(index);
        let waits = self.waits(index);
        let Some(outbox) = self.outboxes.get_mut(waits) else {
            return false;
        };
        if outbox.bytes() <= limits.outbox_soft_bytes {
            outbox.soft_since = 0;
        }
        let frames = &self.frames;
        let has = |policy| move |id| frames.policy(id, limits.slow) == Some(policy);
        let mut dropped = Vec::new();
        if self.outdates {
            outbox.drop_outdated(frames, has(SlowPolicy::Latest), |id| dropped.push((id, 1)));
            if outbox.bytes() <= limits.outbox_soft_bytes {
                outbox.soft_since = 0;
            }
        }
        let over_soft = is_over_soft(outbox, &limits, now);
        let mut missed: u32 = 0;
        outbox.drop_oldest_while(
            frames,
            has(SlowPolicy::DropOldest),
            |bytes, len| {
                is_over_hard(bytes, len, &limits) || over_soft && bytes > limits.outbox_soft_bytes
            },
            |id| {
                let messages = frames.messages(id);
                missed = missed.saturating_add(messages);
                dropped.push((id, messages));
            },
        );
        outbox.missed = outbox.missed.saturating_add(missed);
        if outbox.bytes() <= limits.outbox_soft_bytes {
            outbox.soft_since = 0;
        }
        // What is left may be control frames, or one half on the wire that nobody would miss: that is bounded, and the
        // next ping finds out whether its reader is there.
        let stays = |id| {
            frames
                .policy(id, limits.slow)
                .is_some_and(|p| p != SlowPolicy::DropOldest && frames.kept_at(id).is_none())
        };
        let (front, back) = outbox.ids();
        let is_slow =
            is_over(outbox, &limits, now) && front.iter().chain(back).any(|id| stays(*id));
        for (id, messages) in dropped {
            self.metrics.frames_dropped_total += u64::from(messages);
            self.frames.release(id);
        }
        is_slow
    }
}

/// `soft_since` counts in units that fit 32 bits for eight years.
const SOFT_UNIT_MS: u64 = 64;

fn is_over(outbox: &Outbox, limits: &SessionLimits, now: u32) -> bool {
    is_over_hard(outbox.bytes(), outbox.len(), limits) || is_over_soft(outbox, limits, now)
}

/// One frame alone is never too much: a message may be as large as the route allows.
fn is_over_hard(bytes: usize, frames: usize, limits: &SessionLimits) -> bool {
    (bytes > limits.outbox_bytes_max && frames > 1) || frames > limits.outbox_frames_max
}

fn is_over_soft(outbox: &Outbox, limits: &SessionLimits, now: u32) -> bool {
    outbox.soft_since != 0
        && u64::from(now.wrapping_sub(outbox.soft_since)) * SOFT_UNIT_MS > limits.outbox_soft_ms
}

fn soft_stamp(ms: u64) -> u32 {
    // Zero means "not above the limit".
    ((ms / SOFT_UNIT_MS) as u32).max(1)
}
