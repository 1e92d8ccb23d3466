//! What waits for each session, and what becomes of those for whom too much does.

use super::super::super::SlowPolicy;
use super::super::super::session::Life;
use super::super::wire::{self, Accepted};
use super::{Frame, Model, Session, encoded};

/// Replies to one slow reader share a frame up to here; what has to wait is copied up to there.
const PRIVATE_BYTES: usize = 16 << 10;
const COPY_BYTES_MAX: usize = 64 << 10;

/// The hub's clock for soft limits ticks in units of 64 ms.
fn ticks(ms: u64) -> u64 {
    (ms / 64).max(1)
}

impl Model {
    pub(super) fn accept(
        &mut self,
        index: u32,
        number: u32,
        publication: Option<&Frame>,
        is_ping: bool,
    ) {
        let epoch = publication.and_then(|frame| frame.epoch);
        let of_channel = publication.and_then(|frame| frame.slow);
        let slow = of_channel.unwrap_or(self.limits(index).slow);
        if let Some(session) = self.get_mut(index) {
            session.wire.accepted.push(Accepted {
                number,
                epoch,
                slow,
                is_ping,
            });
        }
    }

    /// Whether a reply can leave at once: nothing waits, not even the news of a gap.
    pub(super) fn replies_to(&mut self, index: u32) -> Option<&mut Vec<u8>> {
        let session = self.sessions.get(index as usize)?.as_ref()?;
        let gap = session.outbox.as_ref().is_some_and(|o| o.missed > 0);
        let (to, bytes) = self.reply.as_mut()?;
        (*to == index && session.queue.is_empty() && !gap).then_some(bytes)
    }

    pub(in super::super) fn send(&mut self, index: u32, text: &str, number: u32) -> bool {
        if self.get(index).is_none_or(|s| s.life != Life::Open) {
            return false;
        }
        self.accept(index, number, None, false);
        let bytes = encoded(text);
        if let Some(replies) = self.replies_to(index) {
            replies.extend(bytes);
            self.sent += 1;
            return true;
        }
        let is_nothing = self.get(index).is_some_and(Session::is_nothing);
        if !is_nothing && let Some(session) = self.get_mut(index) {
            // From here on it is more than a lone frame, even if nothing is appended.
            let gap = session.outbox.get_or_insert_default().missed > 0;
            let joins = !gap || session.queue.len() > session.first_unsent();
            let last = session.queue.back_mut().filter(|_| joins);
            if let Some(last) = last.filter(|f| f.private && f.bytes.len() < PRIVATE_BYTES) {
                last.bytes.extend(bytes);
                last.messages += 1;
                self.sent += 1;
                self.watch(index);
                return true;
            }
        }
        let mut frame = self.frame(bytes);
        (frame.messages, frame.private) = (1, true);
        self.queue(index, frame);
        true
    }

    pub(super) fn queue(&mut self, index: u32, frame: Frame) {
        let limits = self.limits(index);
        self.sent += 1;
        let Some(session) = self.get_mut(index) else {
            return;
        };
        let alone = session.is_nothing() && frame.bytes.len() <= limits.outbox_soft_bytes;
        session.queue.push_back(frame);
        if alone {
            return;
        }
        session.outbox.get_or_insert_default();
        let least = limits.outbox_soft_bytes.min(limits.outbox_bytes_max);
        if session.bytes() > least || session.queue.len() > limits.outbox_frames_max {
            self.watch(index);
        }
    }

    pub(super) fn watch(&mut self, index: u32) {
        let (limits, now) = (self.limits(index), ticks(self.now_ms));
        let Some(session) = self.get_mut(index) else {
            return;
        };
        let above = session.bytes() > limits.outbox_soft_bytes;
        let Some(outbox) = &mut session.outbox else {
            return;
        };
        if above {
            outbox.soft_since.get_or_insert(now);
        } else {
            outbox.soft_since = None;
        }
        let known = outbox.suspected;
        // While it is read, the newest of what it makes for itself does not count.
        let newest = session.queue.back().map_or(0, |frame| frame.bytes.len());
        let before = session.bytes().saturating_sub(newest);
        let few = session.queue.len() <= limits.outbox_frames_max;
        let excused = before <= limits.outbox_bytes_max && few && newest > 0;
        let is_read = self.reply.as_ref().is_some_and(|(to, _)| *to == index);
        if is_read && excused && !self.is_over_soft(index) {
            return;
        }
        if !known
            && self.is_over(index)
            && let Some(session) = self.get_mut(index)
        {
            let birth = session.birth;
            session.outbox.get_or_insert_default().suspected = true;
            self.suspects.push((index, birth));
        }
    }

    pub(in super::super) fn is_over(&self, index: u32) -> bool {
        let limits = self.limits(index);
        let Some(session) = self.get(index).filter(|s| s.outbox.is_some()) else {
            return false;
        };
        let frames = session.queue.len();
        (session.bytes() > limits.outbox_bytes_max && frames > 1)
            || frames > limits.outbox_frames_max
            || self.is_over_soft(index)
    }

    /// What becomes of a frame of this session; `None`: it is no message.
    fn policy(frame: &Frame, of_route: SlowPolicy) -> Option<SlowPolicy> {
        (frame.messages > 0).then(|| frame.slow.unwrap_or(of_route))
    }

    pub(super) fn is_over_soft(&self, index: u32) -> bool {
        let outbox = self.get(index).and_then(|s| s.outbox.as_ref());
        let since = outbox.and_then(|o| o.soft_since);
        let ms = self.limits(index).outbox_soft_ms;
        since.is_some_and(|since| (ticks(self.now_ms) - since) * 64 > ms)
    }

    pub(in super::super) fn take_suspects(&mut self) -> Vec<u32> {
        let suspects = std::mem::take(&mut self.suspects);
        let still = |(index, birth): &(u32, u32)| {
            let session = self.get(*index);
            session.is_some_and(|s| s.birth == *birth && s.life != Life::Ended)
        };
        let mut indices: Vec<u32> = suspects.iter().filter(|s| still(s)).map(|s| s.0).collect();
        indices.sort_unstable();
        indices
    }

    pub(in super::super) fn judge(&mut self, index: u32) -> bool {
        let limits = self.limits(index);
        let Some(session) = self.get_mut(index) else {
            return false;
        };
        let Some(outbox) = &mut session.outbox else {
            return false;
        };
        outbox.suspected = false;
        if !self.is_over(index) {
            return false;
        }
        self.drop_outdated(index);
        self.note_soft(index);
        let over_soft = self.is_over_soft(index);
        let is_too_much = |model: &Self| {
            let (bytes, frames) = model
                .get(index)
                .map_or((0, 0), |s| (s.bytes(), s.queue.len()));
            (bytes > limits.outbox_bytes_max && frames > 1)
                || frames > limits.outbox_frames_max
                || (over_soft && bytes > limits.outbox_soft_bytes)
        };
        while is_too_much(self) && self.drop_oldest(index) {}
        self.note_soft(index);
        let must_stay = |frame: &Frame| {
            Self::policy(frame, limits.slow).is_some_and(|slow| slow != SlowPolicy::DropOldest)
        };
        self.is_over(index)
            && self
                .get(index)
                .is_some_and(|s| s.queue.iter().any(must_stay))
    }

    /// Who is below the soft limit again has time again.
    fn note_soft(&mut self, index: u32) {
        let soft = self.limits(index).outbox_soft_bytes;
        if let Some(session) = self.get_mut(index)
            && session.bytes() <= soft
            && let Some(outbox) = &mut session.outbox
        {
            outbox.soft_since = None;
        }
    }

    pub(super) fn drop_outdated(&mut self, index: u32) {
        let of_route = self.limits(index).slow;
        let Some(session) = self.get_mut(index) else {
            return;
        };
        let (first, before) = (session.first_unsent(), session.queue.len());
        let frames: Vec<Frame> = session.queue.drain(..).collect();
        let epochs: Vec<Option<u32>> = frames.iter().map(|f| f.epoch).collect();
        let latest = frames
            .iter()
            .map(|f| Self::policy(f, of_route) == Some(SlowPolicy::Latest));
        let latest: Vec<bool> = latest.collect();
        let is_followed =
            |at: usize| epochs[at].is_some() && epochs[at + 1..].contains(&epochs[at]);
        let outdated = |at: usize| latest[at] && is_followed(at);
        let kept = frames.into_iter().enumerate();
        let kept = kept.filter(|(at, _)| *at < first || !outdated(*at));
        session.queue = kept.map(|(_, frame)| frame).collect();
        let dropped = before - session.queue.len();
        self.dropped += dropped as u64;
    }

    /// The marker if there is one, whose number is counted on, else the oldest message that may go; `false`: there is
    /// none.
    pub(super) fn drop_oldest(&mut self, index: u32) -> bool {
        let of_route = self.limits(index).slow;
        let Some(session) = self.get_mut(index) else {
            return false;
        };
        let first = session.first_unsent();
        let outbox = session.outbox.get_or_insert_default();
        if outbox.marked > 0 {
            outbox.missed += std::mem::take(&mut outbox.marked);
            return session.queue.remove(first).is_some();
        }
        let at = (first..session.queue.len())
            .find(|at| Self::policy(&session.queue[*at], of_route) == Some(SlowPolicy::DropOldest));
        let Some(frame) = at.and_then(|at| session.queue.remove(at)) else {
            return false;
        };
        outbox.missed += frame.messages;
        self.dropped += u64::from(frame.messages);
        true
    }

    pub(in super::super) fn place_gap_marker(&mut self, index: u32) {
        let session = self.get_mut(index);
        let missed = session.and_then(|s| Some(std::mem::take(&mut s.outbox.as_mut()?.missed)));
        let Some(missed) = missed.filter(|missed| *missed > 0) else {
            return;
        };
        let frame = self.frame(encoded(&wire::marker(missed)));
        if let Some(session) = self.get_mut(index) {
            session.queue.insert(session.first_unsent(), frame);
            session.outbox.get_or_insert_default().marked = missed;
        }
    }

    /// What waits for a session, frame by frame; of the first only what is not on the wire.
    pub(super) fn frames(&self, index: u32) -> impl Iterator<Item = &[u8]> {
        let queue = self.get(index).map(|s| (s.written, &s.queue));
        let frames = queue.into_iter().flat_map(|(written, queue)| {
            let skipped = [written].into_iter().chain(std::iter::repeat(0));
            queue.iter().zip(skipped)
        });
        frames.map(|(frame, skipped)| &frame.bytes[skipped..])
    }

    pub(in super::super) fn waiting(&self, index: u32) -> Vec<u8> {
        self.frames(index).collect::<Vec<_>>().concat()
    }

    pub(in super::super) fn advance(&mut self, index: u32, written: usize) {
        let bytes = self.waiting(index);
        let soft = self.limits(index).outbox_soft_bytes;
        let Some(session) = self.get_mut(index) else {
            return;
        };
        session.wire.bytes.extend(&bytes[..written]);
        let front = session.queue.get(session.first_unsent()).map(|f| f.number);
        session.written += written;
        while let Some(first) = session.queue.front().map(|f| f.bytes.len())
            && first <= session.written
        {
            session.written -= first;
            session.queue.pop_front();
        }
        let next = session.queue.get(session.first_unsent()).map(|f| f.number);
        let rest = session.bytes();
        if rest > 0 || session.outbox.is_some() {
            let outbox = session.outbox.get_or_insert_default();
            if next != front {
                outbox.marked = 0; // If it was there, it is on its way.
            }
            if rest <= soft {
                outbox.soft_since = None;
            }
            if session.queue.is_empty() && outbox.missed == 0 {
                session.outbox = None;
            }
        }
    }

    pub(in super::super) fn push_raw(&mut self, index: u32, bytes: &[u8], ping: Option<u32>) {
        if self.get(index).is_none() {
            return;
        }
        if let Some(number) = ping {
            self.accept(index, number, None, true);
        }
        if let Some(replies) = self.replies_to(index) {
            replies.extend(bytes);
            return;
        }
        let frame = self.frame(bytes.to_vec());
        if let Some(session) = self.get_mut(index) {
            session.queue.push_back(frame);
            session.outbox.get_or_insert_default();
        }
    }

    pub(in super::super) fn begin_replies(&mut self, index: u32) {
        self.reply = Some((index, Vec::new()));
    }

    pub(in super::super) fn replies(&self) -> &[u8] {
        self.reply.as_ref().map_or(&[], |(_, bytes)| bytes)
    }

    pub(in super::super) fn end_replies(&mut self, taken: usize) {
        let Some((index, replies)) = self.reply.take() else {
            return;
        };
        let (sent, rest) = replies.split_at(taken);
        if let Some(session) = self.get_mut(index) {
            session.wire.bytes.extend(sent);
        }
        if rest.is_empty() {
            return;
        }
        let (bytes, written) = if rest.len() > COPY_BYTES_MAX && taken > 0 {
            (replies.clone(), taken)
        } else {
            ([&[0], rest].concat(), 1)
        };
        let frame = self.frame(bytes);
        if let Some(session) = self.get_mut(index) {
            session.queue.push_front(frame);
            session.written = written;
            session.outbox.get_or_insert_default();
        }
    }
}
