//! The writing half of a session: the replies of one read, what waits in the outbox, a pong between two frames.

use std::io::{self, IoSlice};

use super::connection::{Connection, Fate, Phase, Wire};
use super::note_write;
use super::open::PAUSE_BYTES;
use super::transport::Transport;
use super::wheel::tick_at;
use super::worker::Core;
use crate::ws::{self, OpCode};

/// What one flush of one connection may write before others have their turn.
const FLUSH_BYTES_MAX: usize = 64 << 10;
/// Frames up to this size are copied together into one buffer; larger ones go out as they lie.
const GATHER_FRAME_BYTES_MAX: usize = 4 << 10;
/// Frames in one gathered write.
const GATHER_SLICES: usize = 16;

impl Core {
    /// Writes the gathered replies; what the transport does not take becomes the head of the outbox.
    pub(super) fn write_replies<T: Transport>(&mut self, connection: &mut Connection<T>) -> Fate {
        let mut written = 0;
        let replies = self.hub.replies();
        while connection.writable && written < replies.len() {
            let taken = connection.transport.write(&replies[written..]);
            let Ok(taken) = note_write(taken, &mut connection.writable) else {
                return Fate::Drop;
            };
            written += taken;
        }
        self.hub.metrics.sent_bytes_total += written as u64;
        self.hub.end_replies(written);
        Fate::Keep
    }

    /// Writes what waits in a session's outbox, as far as the transport and this turn's share allow.
    #[inline]
    pub(super) fn flush<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        _key: u32,
    ) -> Fate {
        let Some((session, route)) = connection.session() else {
            return Fate::Keep;
        };
        // One publication, nothing before it and nothing else on anybody's mind: most flushes are this.
        if connection.writable
            && connection.is_calm()
            && let Some(frame) = self.hub.lone_frame(session)
        {
            let len = frame.len();
            let taken = connection.transport.write(frame);
            let Ok(taken) = note_write(taken, &mut connection.writable) else {
                return Fate::Drop;
            };
            self.hub.metrics.sent_bytes_total += taken as u64;
            self.hub.outbox_advance(session, taken);
            if taken == len {
                return Fate::Keep;
            }
        }
        self.flush_all(connection, session, route)
    }

    /// The same for everybody else.
    #[inline(never)]
    fn flush_all<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        session: u32,
        route: u16,
    ) -> Fate {
        if matches!(&connection.phase, Phase::Open(open) if open.wire == Wire::Poll) {
            return self.answer_poll(connection, false);
        }
        self.hub.feed(session);
        let handler = &*self.routes[route as usize].handler;
        self.hub.place_gap_marker_of(session, handler);
        let mut share = FLUSH_BYTES_MAX;
        while connection.writable && share > 0 && !self.hub.outbox_is_empty(session) {
            let mut frames_max = usize::MAX;
            if matches!(&connection.phase, Phase::Open(open) if open.has_pending_pong()) {
                if !self.hub.is_mid_frame(session) {
                    if self.write_pong(connection, session) == Fate::Drop {
                        return Fate::Drop;
                    }
                    continue;
                }
                frames_max = 1; // To its end, and the pong behind it.
            }
            let taken = self.write_some(connection, session, frames_max);
            let Ok(taken) = note_write(taken, &mut connection.writable) else {
                return Fate::Drop;
            };
            share = share.saturating_sub(taken);
            self.hub.metrics.sent_bytes_total += taken as u64;
            self.hub.outbox_advance(session, taken);
            if taken > 0
                && let Phase::Open(open) = &mut connection.phase
            {
                if !open.closing.is_open() {
                    open.extra.get_or_insert_default().taken = tick_at(self.now.ms);
                }
                if !open.paused && open.wire != Wire::Response {
                    continue;
                }
                // Nothing is read from it, so taking what we write is its sign of life, and the only answer to a
                // ping that it can give.
                connection.life = tick_at(self.now.ms);
                if open.closing.is_open() {
                    open.since = 0;
                }
            }
        }
        if connection.writable && (!self.hub.outbox_is_empty(session) || self.hub.follows(session))
        {
            self.hub.mark_dirty(session);
        }
        self.after_write(connection)
    }

    /// Answers the newest ping, between two frames. While there is always something to write, an answer that came behind
    /// it all would never come (RFC 6455 §5.5: control frames may come between any two). What the transport does not
    /// take counts as begun, so that nothing overtakes it.
    fn write_pong<T: Transport>(&mut self, connection: &mut Connection<T>, session: u32) -> Fate {
        if let Phase::Open(open) = &mut connection.phase
            && open.has_pending_pong()
            && let Some(payload) = open.extra.as_mut().and_then(|extra| extra.pong.take())
        {
            self.hub.begin_replies(session);
            self.hub
                .reply_with(|out| ws::encode_frame(out, OpCode::Pong, &payload, None));
            return self.write_replies(connection);
        }
        Fate::Keep
    }

    /// One write of at most so many frames: small ones together in the shared buffer, large ones as they lie.
    fn write_some<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        session: u32,
        frames_max: usize,
    ) -> io::Result<usize> {
        self.scratch.clear();
        let (frame, all) = (GATHER_FRAME_BYTES_MAX, FLUSH_BYTES_MAX);
        let scratch = &mut self.scratch;
        if self.hub.gather(session, frames_max, frame, all, scratch) > 0 {
            return connection.transport.write(&self.scratch);
        }
        let mut slices = [IoSlice::new(&[]); GATHER_SLICES];
        let (mut used, mut bytes) = (0, 0);
        let frames = self.hub.outbox_frames(session).take(frames_max);
        for (slot, frame) in slices.iter_mut().zip(frames) {
            *slot = IoSlice::new(frame);
            used += 1;
            bytes += frame.len();
            if bytes >= FLUSH_BYTES_MAX {
                break;
            }
        }
        match &slices[..used] {
            [] => Ok(0),
            [one] => connection.transport.write(one),
            several => connection.transport.write_vectored(several),
        }
    }

    /// What an emptied outbox allows: the pending pong, reading again, the end of the closing handshake.
    pub(super) fn after_write<T: Transport>(&mut self, connection: &mut Connection<T>) -> Fate {
        let Phase::Open(open) = &mut connection.phase else {
            return Fate::Keep;
        };
        let waiting = self.hub.outbox_bytes(open.session);
        if open.paused {
            if waiting <= PAUSE_BYTES / 2 {
                open.paused = false;
                connection.life = tick_at(self.now.ms);
                open.note_message(true, tick_at(self.now.ms));
            }
        } else if waiting > PAUSE_BYTES && open.wire != Wire::Response {
            open.paused = true;
        }
        if waiting > 0 {
            return Fate::Keep;
        }
        if open.has_pending_pong() {
            let session = open.session;
            return self.write_pong(connection, session);
        }
        if open.closing.is_done() {
            // RFC 6455 §7.1.1: both close frames are through, the server ends the TCP connection first, and throws away what
            // still comes. There are clients that answer the answer to their close; a socket that is gone would reset them.
            let session = open.session;
            let fate = self.linger(connection);
            if fate == Fate::Keep {
                self.hub.remove(session);
            }
            return fate;
        }
        Fate::Keep
    }
}
