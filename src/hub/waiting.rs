//! What waits to be written: replies to the session that is being read, outboxes, and the dirty list.

use std::collections::VecDeque;

use super::Hub;
use super::encoding::{Encoder, Encoding};
use super::history::MISSED_UNKNOWN;
use super::outbox::Outbox;
use super::session::{Life, Marks, Session};
use super::{CloseOrder, Handler, Waiting, Waits};
use crate::ws::{self, CloseCode, Message};

/// Why a session is closed whose handler has no gap marker.
const NO_WORD_FOR_GAPS: &str = "messages were missed: come back for those that are kept";

/// Replies to the session whose input is being read: encoded straight into one shared buffer, so that
/// thirty-two pipelined answers leave in one system call and no frame slot is touched.
#[derive(Debug, Default)]
pub(super) struct ReplyBuffer {
    pub(super) to: Option<u32>,
    /// The first `used` bytes are replies; the rest is room that was written to before, so that a short reply needs
    /// no more than one look at its length.
    bytes: Vec<u8>,
    used: usize,
    /// Where a control frame or a 101 is encoded first, so that the room behind the replies is kept.
    other: Vec<u8>,
}

/// The reply buffer gives back what it grew beyond this.
const REPLY_CAPACITY_KEPT: usize = 512 << 10;
/// More than this is not copied when it has to wait: the buffer itself waits, and the next replies get a new one.
const REPLY_COPY_MAX: usize = 64 << 10;
/// So much room is made at a time.
const REPLY_ROOM: usize = 4 << 10;

impl ReplyBuffer {
    #[inline]
    pub(super) fn push_message(&mut self, message: Message<'_>) {
        let room = self.bytes.get_mut(self.used..).unwrap_or_default();
        match ws::write_short_message(room, message) {
            Some(taken) => self.used += taken,
            None => self.push_long(message),
        }
    }

    /// A message that is long, or for which there was no room.
    #[cold]
    fn push_long(&mut self, message: Message<'_>) {
        self.push_with(|out| ws::encode_message(out, message, None));
        // A long one fills a buffer of its size and is written at once: room behind it would be a second one.
        if self.used < REPLY_CAPACITY_KEPT {
            self.bytes.resize(self.used + REPLY_ROOM, 0);
        }
    }

    /// A message of any length, by whoever knows how it is encoded.
    pub(super) fn push_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.truncate(self.used);
        encode(&mut self.bytes);
        self.used = self.bytes.len();
    }

    /// Something short that is no message.
    fn push_other(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.other.clear();
        encode(&mut self.other);
        let end = self.used + self.other.len();
        if let Some(room) = self.bytes.get_mut(self.used..end) {
            room.copy_from_slice(&self.other);
        } else {
            self.bytes.truncate(self.used);
            self.bytes.extend_from_slice(&self.other);
        }
        self.used = end;
    }

    fn filled(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
        if self.bytes.capacity() > REPLY_CAPACITY_KEPT {
            self.bytes = Vec::new();
        }
    }

    /// Takes the buffer as it is, replies and all.
    fn take(&mut self) -> Vec<u8> {
        self.bytes.truncate(self.used);
        self.used = 0;
        std::mem::take(&mut self.bytes)
    }
}

impl Hub {
    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The next session with something in its outbox, and the server's key of its connection.
    pub(crate) fn next_dirty(&mut self) -> Option<(u32, u32)> {
        while let Some(index) = self.dirty.pop_front() {
            // The session may be gone, and its slot may have a new tenant that is not dirty.
            if let Some(session) = self.sessions.get_mut(index as usize)
                && session.dirty
            {
                session.dirty = false;
                return Some((index, session.link));
            }
        }
        None
    }

    pub(crate) fn mark_dirty(&mut self, index: u32) {
        if let Some(session) = self.sessions.get_mut(index as usize) {
            mark_dirty(&mut self.dirty, session, index);
        }
    }

    /// What waits for a session.
    pub(super) fn waits(&self, index: u32) -> Waits {
        let session = self.sessions.get(index as usize);
        session.map_or(Waits::NOTHING, |session| session.waits)
    }

    /// A session's outbox; `None`: nothing waits for it, or one frame.
    pub(super) fn outbox(&self, index: u32) -> Option<&Outbox> {
        self.outboxes.get(self.waits(index))
    }

    /// Whether anything waits for a session, if it is only the news that something was dropped.
    pub(crate) fn outbox_exists(&self, index: u32) -> bool {
        !self.waits(index).is_nothing()
    }

    /// The one frame that waits for a session, if that is all, nothing of it was written, it lies in one piece, and
    /// nothing is to be read for the session from a history.
    #[inline]
    pub(crate) fn lone_frame(&self, index: u32) -> Option<&[u8]> {
        let session = self.sessions.get(index as usize)?;
        match session.waits.get() {
            Waiting::Lone(frame) if !session.marks.has(Marks::FOLLOWS) => {
                match self.frames.parts(frame) {
                    [own, []] => Some(own),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// How many frames wait for a session.
    pub(super) fn outbox_len(&self, index: u32) -> usize {
        let waits = self.waits(index);
        match waits.get() {
            Waiting::Nothing => 0,
            Waiting::Lone(_) => 1,
            Waiting::Queue(_) => self.outboxes.get(waits).map_or(0, Outbox::len),
        }
    }

    pub(crate) fn outbox_bytes(&self, index: u32) -> usize {
        let waits = self.waits(index);
        match waits.get() {
            Waiting::Nothing => 0,
            Waiting::Lone(frame) => self.frames.len_of(frame),
            Waiting::Queue(_) => self.outboxes.get(waits).map_or(0, Outbox::bytes),
        }
    }

    /// The bytes that the end of a session would give back, of what waits for it and what is kept of it: of a frame
    /// that waits for others too its share, and of a half-written one all.
    pub(crate) fn held_for(&self, index: u32) -> usize {
        let queued = self.outbox(index).map(Outbox::ids);
        let (front, back) = queued.unwrap_or_default();
        let lone = match self.waits(index).get() {
            Waiting::Lone(frame) => Some(frame),
            _ => None,
        };
        let all = front.iter().chain(back).copied().chain(lone);
        let frames: usize = all.map(|frame| self.frames.share(frame)).sum();
        #[cfg(feature = "deflate")]
        let frames = frames + self.window_bytes_of(index);
        frames
    }

    /// Users with a session.
    #[cfg(feature = "sim")]
    pub(crate) fn users(&self) -> usize {
        self.channels.count_in("user")
    }

    pub(crate) fn outbox_is_empty(&self, index: u32) -> bool {
        let waits = self.waits(index);
        waits.is_nothing() || self.outboxes.get(waits).is_some_and(Outbox::is_empty)
    }

    /// Whether nothing has to go out before what comes now, not even the news of a gap.
    pub(super) fn is_next(&self, index: u32) -> bool {
        let waits = self.waits(index);
        let outbox = self.outboxes.get(waits);
        waits.is_nothing() || outbox.is_some_and(|outbox| outbox.is_empty() && outbox.missed == 0)
    }

    /// Whether a frame is half written: nothing else may go out before its end.
    pub(crate) fn is_mid_frame(&self, index: u32) -> bool {
        self.outbox(index)
            .is_some_and(|outbox| outbox.head_written() > 0)
    }

    /// The bytes of a session's frames, oldest first; of a half-written first frame only the rest.
    pub(crate) fn outbox_frames(&self, index: u32) -> impl Iterator<Item = &[u8]> {
        let outbox = self.outbox(index);
        let lone = match self.waits(index).get() {
            Waiting::Lone(frame) => Some(frame),
            _ => None,
        };
        let queued = (0..outbox.map_or(0, Outbox::len)).filter_map(move |at| outbox?.get(at));
        let mut skip = outbox.map_or(0, Outbox::head_written);
        let parts = lone.into_iter().chain(queued);
        let parts = parts.flat_map(move |frame| self.frames.parts(frame));
        parts.filter_map(move |part| {
            let rest = part.get(skip..);
            skip = skip.saturating_sub(part.len());
            rest.filter(|rest| !rest.is_empty())
        })
    }

    /// Copies at most `frames_max` of a session's frames to the end of `out`, oldest first, as long as they are of at most
    /// `frame_bytes_max` and all together of at most `bytes_max`. Answers how many frames those are.
    pub(crate) fn gather(
        &self,
        index: u32,
        frames_max: usize,
        frame_bytes_max: usize,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> usize {
        let waits = self.waits(index);
        let lone;
        let ((front, back), mut skip) = match (waits.get(), self.outboxes.get(waits)) {
            (Waiting::Lone(frame), _) => {
                lone = [frame];
                ((&lone[..], &[][..]), 0)
            }
            (_, Some(outbox)) => (outbox.ids(), outbox.head_written()),
            (_, None) => return 0,
        };
        let mut gathered = 0;
        for &id in front.iter().chain(back).take(frames_max) {
            let [own, shared] = self.frames.parts(id);
            let rest = (own.len() + shared.len()).saturating_sub(skip);
            if rest > frame_bytes_max || out.len() + rest > bytes_max {
                break;
            }
            out.extend_from_slice(own.get(skip..).unwrap_or_default());
            if !shared.is_empty() {
                let skip = skip.saturating_sub(own.len());
                out.extend_from_slice(shared.get(skip..).unwrap_or_default());
            }
            skip = 0;
            gathered += 1;
        }
        gathered
    }

    /// Notes that so many more bytes of a session's outbox were written.
    #[inline]
    pub(crate) fn outbox_advance(&mut self, index: u32, written: usize) {
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return;
        };
        if let Waiting::Lone(frame) = session.waits.get()
            && self.frames.len_of(frame) == written
        {
            session.waits = Waits::NOTHING;
            self.frames.release(frame);
            self.note_drained(index);
        } else if written > 0 && !session.waits.is_nothing() {
            self.advance_queue(index, written);
        }
    }

    /// The same where that is not all.
    #[inline(never)]
    fn advance_queue(&mut self, index: u32, written: usize) {
        let soft_bytes = self.session_limits(index).outbox_soft_bytes;
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return;
        };
        let outbox = self.outboxes.of(&mut session.waits, &self.frames);
        outbox.advance(written, &mut self.frames);
        if outbox.bytes() <= soft_bytes {
            outbox.soft_since = 0;
        }
        if outbox.is_empty() && outbox.missed == 0 {
            self.outboxes.remove_empty(&mut session.waits);
            self.note_drained(index);
        }
    }

    /// Nothing waits for a session any more. Somebody may have waited for that.
    #[inline]
    fn note_drained(&mut self, index: u32) {
        if !self.awaited.is_empty() {
            self.note_drained_if_awaited(index);
        }
    }

    #[cold]
    fn note_drained_if_awaited(&mut self, index: u32) {
        if self.awaited.remove(&index) {
            let generation = self.sessions.get(index as usize).map(|s| s.generation);
            self.drained
                .extend(generation.map(|generation| (index, generation)));
        }
    }

    /// Tells a session's handler when nothing waits for it any more: once, and at once if that is so.
    pub(super) fn await_drained(&mut self, index: u32) {
        self.awaited.insert(index);
        if self.waits(index).is_nothing() {
            self.note_drained(index);
        }
    }

    /// As [`place_gap_marker`](Self::place_gap_marker), in the words of the session's handler.
    pub(crate) fn place_gap_marker_of(&mut self, index: u32, handler: &dyn Handler) {
        #[cfg(feature = "hierachain-history")]
        if self.wants_places(index) {
            return self.place_gap_marker(index, |missed| handler.gap_marker_of_placed(missed));
        }
        self.place_gap_marker(index, |missed| handler.gap_marker(missed));
    }

    /// If frames were dropped, puts a marker where they were: in front of everything not yet begun. A session that has
    /// ended meanwhile is told too, for what is left drains before its close frame.
    pub(crate) fn place_gap_marker(
        &mut self,
        index: u32,
        text: impl FnOnce(Option<u32>) -> Option<String>,
    ) {
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return;
        };
        let Some(outbox) = self.outboxes.get_mut(session.waits) else {
            return;
        };
        if outbox.missed == 0 {
            return;
        }
        let missed = std::mem::take(&mut outbox.missed);
        let known = Some(missed).filter(|missed| *missed != MISSED_UNKNOWN);
        if let Some(text) = text(known) {
            let message = Message::Text(&text);
            let how = session.encoding;
            let frame = self
                .frames
                .insert(|out| self.encoder.encode_marker(out, message, how));
            self.frames.retain(frame, 1);
            outbox.push_marker(frame, self.frames.len_of(frame), missed);
        } else if session.is_open() {
            // Whoever cannot be told in its own words is told by a close.
            session.life = Life::Leaving;
            self.closing.push(CloseOrder {
                session: index,
                generation: session.generation,
                code: CloseCode::TRY_LATER,
                reason: NO_WORD_FOR_GAPS.into(),
            });
        }
    }

    /// From now on, replies to this session are gathered in the shared reply buffer.
    pub(crate) fn begin_replies(&mut self, index: u32) {
        debug_assert!(self.reply.to.is_none() && self.reply.used == 0);
        self.reply.to = Some(index);
    }

    /// The replies gathered so far. The worker writes them and says how far it came.
    pub(crate) fn replies(&self) -> &[u8] {
        self.reply.filled()
    }

    /// Gathers something that is not a message.
    pub(crate) fn reply_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.reply.push_other(encode);
    }

    /// Stops gathering. What the transport did not take (`rest`) becomes the first frame of the outbox:
    /// it is older than whatever was queued meanwhile.
    pub(crate) fn end_replies(&mut self, rest_from: usize) {
        let Some(index) = self.reply.to.take() else {
            return;
        };
        let rest = self.reply.filled().get(rest_from..).unwrap_or_default();
        if !rest.is_empty()
            && let Some(session) = self.sessions.get_mut(index as usize)
        {
            // It may begin inside a frame, or with a 101: one byte in front stands for what is on the wire, so
            // that nothing is ever dropped or put in before its end.
            let (rest, begun, frame) = if rest.len() > REPLY_COPY_MAX && rest_from > 0 {
                let rest = rest.len();
                let whole = self.reply.take();
                (rest, rest_from, self.frames.insert(|out| *out = whole))
            } else {
                let frame = self.frames.insert(|out| {
                    out.push(0);
                    out.extend_from_slice(rest);
                });
                (rest.len(), 1, frame)
            };
            self.frames.retain(frame, 1);
            let outbox = self.outboxes.of(&mut session.waits, &self.frames);
            outbox.push_front_begun(frame, rest, begun);
        }
        self.reply.clear();
    }

    /// Queues raw bytes (an encoded control frame) behind everything that waits.
    pub(crate) fn push_raw(&mut self, index: u32, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.reply.to == Some(index) && self.is_next(index) {
            self.reply.push_other(encode);
            return;
        }
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return;
        };
        let frame = self.frames.insert(encode);
        self.frames.retain(frame, 1);
        let len = self.frames.len_of(frame);
        self.outboxes
            .push(&mut session.waits, frame, len, &self.frames);
        mark_dirty(&mut self.dirty, session, index);
    }

    /// Queues the close frame of a session, after everything else or (for a slow one) instead of it. A stream of events
    /// has an event for it, one of values or lines nothing.
    pub(crate) fn push_close(&mut self, index: u32, code: CloseCode, reason: &str, slow: bool) {
        if slow
            && let Some(session) = self.sessions.get_mut(index as usize)
            && !session.waits.is_nothing()
        {
            let outbox = self.outboxes.of(&mut session.waits, &self.frames);
            // A frame whose first bytes are on the wire must be finished, or the close would not be one.
            while let Some(frame) = outbox.drop_oldest_unsent(&self.frames) {
                self.frames.release(frame);
            }
            outbox.missed = 0;
        }
        let how = self.encoding_of(index);
        if !how.has_last_word() {
            self.mark_dirty(index);
        } else {
            self.push_raw(index, |out| Encoder::encode_close(out, code, reason, how));
        }
    }

    /// Queues what shows the reader of a response that does not end that it has not ended.
    pub(crate) fn push_keep_alive(&mut self, index: u32) {
        let how = self.encoding_of(index);
        // Behind what was queued before it, and taken back, it would say too much.
        let seen = match self.is_next(index) {
            true => self.seen_up_to(index),
            false => None,
        };
        self.push_raw(index, |out| Encoder::encode_keep_alive(out, how, seen));
    }

    fn encoding_of(&self, index: u32) -> Encoding {
        let session = self.sessions.get(index as usize);
        session.map_or_else(Encoding::default, |session| session.encoding)
    }
}

pub(super) fn mark_dirty(dirty: &mut VecDeque<u32>, session: &mut Session, index: u32) {
    if !session.dirty {
        session.dirty = true;
        dirty.push_back(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{HubLimits, SessionLimits, SlowPolicy};
    use crate::random::Random;

    /// A session of which nothing is left but the news that its only message was dropped.
    fn with_a_gap() -> (Hub, u32) {
        let mut hub = Hub::new(0, HubLimits::default(), Random::seeded(1));
        let limits = SessionLimits {
            outbox_soft_bytes: 8,
            slow: SlowPolicy::DropOldest,
            ..SessionLimits::default()
        };
        let route = hub.add_route(limits, "", "/");
        let session = hub.open(0, route);
        // Nothing is left of what waited too long, and the transport has not taken the marker yet.
        assert!(hub.send(session, Message::Text("a long message")));
        hub.now.ms += limits.outbox_soft_ms + 1_000;
        assert!(!hub.judge(session) && hub.outbox_is_empty(session));
        (hub, session)
    }

    fn waiting(hub: &Hub, session: u32) -> Vec<u8> {
        hub.outbox_frames(session).flatten().copied().collect()
    }

    #[test]
    fn the_news_of_a_gap_is_older_than_a_close() {
        let (mut hub, session) = with_a_gap();
        hub.end(session);
        hub.push_close(session, CloseCode::AWAY, "", false);
        hub.place_gap_marker(session, |missed| {
            missed.map(|missed| format!("gap {missed}"))
        });
        assert_eq!(waiting(&hub, session), b"\x81\x05gap 1\x88\x02\x03\xe9");
    }

    #[test]
    fn the_news_of_a_gap_is_older_than_what_would_join_a_half_written_frame() {
        let mut hub = Hub::new(0, HubLimits::default(), Random::seeded(1));
        let limits = SessionLimits {
            outbox_frames_max: 1,
            slow: SlowPolicy::DropOldest,
            ..SessionLimits::default()
        };
        let route = hub.add_route(limits, "", "/");
        let session = hub.open(0, route);
        assert!(hub.send(session, Message::Text("half")));
        hub.outbox_advance(session, 1);
        let id = hub.conn_id(session).expect("it is open");
        assert_eq!(hub.send_many(&[id], Message::Text("missed")), Ok(1));
        assert!(!hub.judge(session));
        assert!(hub.send(session, Message::Text("next")));
        hub.place_gap_marker(session, |missed| {
            missed.map(|missed| format!("gap {missed}"))
        });
        let expected = b"\x04half\x81\x05gap 1\x81\x04next";
        assert_eq!(waiting(&hub, session), expected);
    }

    #[test]
    fn the_news_of_a_gap_is_older_than_replies() {
        let (mut hub, session) = with_a_gap();
        hub.begin_replies(session);
        assert!(hub.send(session, Message::Text("reply")));
        hub.push_raw(session, |out| out.extend_from_slice(b"ping"));
        assert_eq!(hub.replies(), b"", "they wait behind the marker");
        hub.end_replies(0);
        hub.place_gap_marker(session, |missed| {
            missed.map(|missed| format!("gap {missed}"))
        });
        let expected = b"\x81\x05gap 1\x81\x05replyping";
        assert_eq!(waiting(&hub, session), expected);
    }
}
