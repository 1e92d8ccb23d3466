//! The WebSocket side of a connection: events to handlers, pings, rates, the closing handshake. Writing is `writing.rs`.

use super::connection::{Connection, Extra, Fate, Open, Phase, Wire};
use super::transport::Transport;
use super::wheel::tick_at;
use super::worker::Core;
use super::{ReadOutcome, read_some};
use crate::hub::{CloseInfo, Context, Initiator};
use crate::ws::{self, CloseCode, Event, OpCode};

/// Replies gathered while one read is worked through are written out when they reach this.
pub(super) const REPLY_BYTES_MAX: usize = 256 << 10;
/// A connection with more than this waiting to be written is not read from until it has drained: its own
/// replies would pile up.
pub(super) const PAUSE_BYTES: usize = 64 << 10;
/// A connection that holds more than this of an unfinished message is read no further than its frame's end …
const HELD_BYTES_READ_ON: usize = 256 << 10;
/// … or, where that is near, this far. What is read behind a message has to wait while its answer does.
const READ_ON_BYTES: usize = 64 << 10;

/// What ends the reason of a close for pings and pongs.
const CONTROL_LIMIT: &str = "control frames per second (setting control_per_second)";

impl Core {
    pub(super) fn work_open<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        key: u32,
    ) -> (Fate, usize) {
        let waits = connection
            .session()
            .is_some_and(|(session, _)| self.hub.outbox_exists(session));
        if waits && self.flush(connection, key) == Fate::Drop {
            return (Fate::Drop, 0);
        }
        let Phase::Open(open) = &mut connection.phase else {
            return (Fate::Keep, 0);
        };
        let hears = matches!(open.wire, Wire::Frames | Wire::Values);
        let may_call = self.routes[open.route as usize].calls && hears;
        if may_call && self.is_call_load_above(100) {
            self.hold(open, connection.generation);
        }
        if open.paused || open.is_held() {
            return (Fate::Keep, 0);
        }
        if let Some(extra) = &mut open.extra
            && !extra.backlog.is_empty()
        {
            let mut backlog = std::mem::take(&mut extra.backlog);
            let bytes = backlog.len();
            self.hub.begin_replies(open.session);
            return (self.consume(connection, &mut backlog), bytes);
        }
        if !connection.readable {
            return (Fate::Keep, 0);
        }
        let session = open.session;
        let is_done = open.closing.is_done();
        let mut receive = std::mem::take(&mut self.receive);
        let room = match open.ws.buffered_bytes() {
            held if held > HELD_BYTES_READ_ON => open.ws.missing_bytes().max(READ_ON_BYTES),
            _ => usize::MAX,
        };
        let room = room.min(receive.len());
        let result = match read_some(connection, &mut receive[..room], self.now) {
            ReadOutcome::Bytes(n) => {
                self.hub.metrics.received_bytes_total += n as u64;
                self.hub.begin_replies(session);
                (self.consume(connection, &mut receive[..n]), n)
            }
            ReadOutcome::Nothing => (Fate::Keep, 0),
            ReadOutcome::End if is_done && !self.hub.outbox_is_empty(session) => {
                // It has said goodbye and has nothing to add; what is queued is still on its way to it.
                connection.readable = false;
                (Fate::Keep, 0)
            }
            ReadOutcome::End => {
                self.end_stream(connection);
                (Fate::Drop, 0)
            }
            ReadOutcome::Failed => (Fate::Drop, 0),
        };
        self.receive = receive;
        result
    }

    /// Works through received bytes, replies being gathered, and writes the replies.
    pub(super) fn consume<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        mut data: &mut [u8],
    ) -> Fate {
        let Phase::Open(open) = &mut connection.phase else {
            return Fate::Keep;
        };
        match open.wire {
            Wire::Frames => {}
            Wire::Values => return self.consume_stream(connection, data),
            Wire::Response => return self.consume_nothing(connection, data),
            Wire::Poll => return self.consume_ahead(connection, data),
        }
        let mut open: &mut Open = open;
        let mut pong_expected = open.closing.is_open() && std::mem::take(&mut open.since) != 0;
        let generation = connection.generation;
        let mut completed = false;
        let calls_before = self.hub.calls.asked;
        let session = open.session;
        loop {
            #[cfg(feature = "deflate")]
            if self.has_inflated_enough() && !data.is_empty() {
                open.put_off(data);
                break;
            }
            let route = &mut self.routes[open.route as usize];
            let settings = &route.settings;
            #[cfg(not(feature = "deflate"))]
            let event = open.ws.next_event(&settings.ws, &mut data);
            #[cfg(feature = "deflate")]
            let event = open.ws.next_event_inflating(
                &settings.ws,
                &mut data,
                &mut self.inflater,
                self.hub.windows(),
                open.session,
            );
            match event {
                Ok(None) => break,
                Ok(Some(Event::Message(message))) => {
                    completed = true;
                    if !open.closing.is_open() || self.hub.is_leaving(open.session) {
                        continue; // RFC 6455 §1.4: after our close frame, data is ignored.
                    }
                    self.hub.metrics.messages_received_total += 1;
                    let (rate, burst) = (settings.messages_per_second, settings.messages_burst);
                    if !Extra::message_is_within(&mut open.extra, self.now.ms, rate, burst) {
                        self.close_for_message_rate(open);
                        continue;
                    }
                    let mut cx = Context::new(&mut self.hub, open.route, Some(open.session));
                    route.handler.on_message(&mut cx, message);
                    #[cfg(feature = "deflate")]
                    self.check_windows(open);
                }
                Ok(Some(Event::Ping(payload))) => {
                    if open.closing.is_open() {
                        let (rate, burst) = (settings.control_per_second, settings.control_burst);
                        if !Extra::control_is_within(&mut open.extra, self.now.ms, rate, burst) {
                            let code = CloseCode::POLICY;
                            self.close_for_rate(open, code, "control_rate", rate, CONTROL_LIMIT);
                            continue;
                        }
                        if self.hub.outbox_is_empty(open.session) {
                            self.hub.reply_with(|out| {
                                ws::encode_frame(out, OpCode::Pong, payload, None);
                            });
                        } else {
                            // RFC 6455 §5.5.3: only the most recent ping needs an answer.
                            open.extra.get_or_insert_default().pong = Some(payload.to_vec());
                        }
                    }
                }
                Ok(Some(Event::Pong(_))) => {
                    if std::mem::take(&mut pong_expected) {
                        continue; // It answers a ping of ours.
                    }
                    let (rate, burst) = (settings.control_per_second, settings.control_burst);
                    if !Extra::control_is_within(&mut open.extra, self.now.ms, rate, burst) {
                        let code = CloseCode::POLICY;
                        self.close_for_rate(open, code, "control_rate", rate, CONTROL_LIMIT);
                        continue;
                    }
                }
                Ok(Some(Event::Close(code, reason))) => {
                    // What it is lent from is needed again.
                    #[cfg(feature = "deflate")]
                    let reason = &*reason.to_owned();
                    if open.closing.is_open() {
                        open.since = tick_at(self.now.ms);
                    }
                    open.closing.receive();
                    self.end_session(open.session, open.route, code, reason, Initiator::Peer);
                    if open.closing.send() {
                        self.hub
                            .push_close(open.session, ws::echo_code(code), "", false);
                    }
                    // Nothing is read any more, and who reads slowly may stay until its time is up.
                    open.ws.release();
                    break;
                }
                Err(error) => {
                    self.hub.metrics.refuse(error.name());
                    let session = self.hub.conn_id(open.session);
                    self.notice(error.name(), || {
                        let id = session.map(|s| s.to_string()).unwrap_or_default();
                        format!("closed session {id}: {} {error}", error.close_code())
                    });
                    self.begin_close(open, error.close_code(), &error.to_string(), false);
                    // RFC 6455 §7.1.7: the connection has failed; the peer's close is not waited for.
                    open.closing.receive();
                    break;
                }
            }
            if self.hub.turn_is_full() && !data.is_empty() {
                // What it has published goes out first: a burst must not look like slow readers.
                open.put_off(data);
                break;
            }
            if self.hub.calls.asked != calls_before && self.is_call_load_above(100) {
                self.hold(open, generation);
                open.put_off(data);
                break;
            }
            if self.hub.replies().len() >= REPLY_BYTES_MAX
                || (self.hub.outbox_exists(open.session)
                    && self.hub.outbox_bytes(open.session) > PAUSE_BYTES)
            {
                let session = open.session;
                if self.write_replies(connection) == Fate::Drop {
                    return Fate::Drop;
                }
                let Phase::Open(again) = &mut connection.phase else {
                    return Fate::Keep;
                };
                open = again;
                if self.hub.outbox_bytes(session) > PAUSE_BYTES {
                    open.paused = true;
                    open.put_off(data);
                    break;
                }
                self.hub.begin_replies(session);
            }
        }
        open.note_message(completed, tick_at(self.now.ms));
        if self.write_replies(connection) == Fate::Drop {
            return Fate::Drop;
        }
        if connection.is_calm() && !self.hub.outbox_exists(session) {
            return Fate::Keep;
        }
        self.after_write(connection)
    }

    /// Whether what was just inflated has filled this turn: a read full of kilobytes that become megabytes would
    /// keep everybody else waiting.
    #[cfg(feature = "deflate")]
    fn has_inflated_enough(&mut self) -> bool {
        self.hub.note_inflated(self.inflater.bytes()) && self.hub.turn_is_full()
    }

    /// A client that keeps its context costs memory, which may be used up.
    #[cfg(feature = "deflate")]
    fn check_windows(&mut self, open: &mut Open) {
        if self.hub.window_is_too_much(open.session) {
            self.hub.metrics.refuse("deflate_memory");
            let reason = "no memory left for your compression context: connect without one";
            self.begin_close(open, CloseCode::TRY_LATER, reason, false);
            self.stop_hearing(open);
        }
    }

    /// RFC 6455 §7.1.7: as after a failure, nothing more is read from a session that was told to go, and what was kept
    /// for that is given back.
    pub(super) fn stop_hearing(&mut self, open: &mut Open) {
        open.ws.discard();
        open.closing.receive();
        #[cfg(feature = "deflate")]
        self.hub.windows().remove(open.session);
        if let Some(extra) = &mut open.extra {
            extra.backlog = Vec::new();
            extra.pong = None;
            extra.message_since = 0;
            if let Some(values) = &mut extra.values {
                values.discard();
            }
        }
    }

    /// A client sends more messages than its route allows.
    pub(super) fn close_for_message_rate(&mut self, open: &mut Open) {
        let settings = &self.routes[open.route as usize].settings;
        let (code, rate) = (settings.rate_code, settings.messages_per_second);
        let limit = "messages per second (setting messages_per_second)";
        self.close_for_rate(open, code, "message_rate", rate, limit);
    }

    /// A client is faster than its route allows: it is told how fast that is.
    fn close_for_rate(
        &mut self,
        open: &mut Open,
        code: CloseCode,
        kind: &'static str,
        rate: u32,
        limit: &str,
    ) {
        if !open.closing.is_open() {
            return; // It goes already, for another reason.
        }
        self.hub.metrics.refuse(kind);
        let reason = format!("more than {rate} {limit}");
        let session = self.hub.conn_id(open.session);
        self.notice(kind, || {
            let id = session.map(|s| s.to_string()).unwrap_or_default();
            format!("closed session {id}: {code} {reason}")
        });
        self.begin_close(open, code, &reason, false);
    }

    /// Decides to close from our side: the handler is told, the close frame is queued.
    pub(super) fn begin_close(
        &mut self,
        open: &mut Open,
        code: CloseCode,
        reason: &str,
        slow: bool,
    ) {
        if open.closing.send() {
            open.since = tick_at(self.now.ms);
            self.end_session(open.session, open.route, code, reason, Initiator::Server);
            self.hub.push_close(open.session, code, reason, slow);
            if open.wire != Wire::Frames {
                // A stream waits for no answer: it ends when all is written.
                open.closing.receive();
                if let Some(poll) = open.extra.as_mut().and_then(|extra| extra.poll.as_mut()) {
                    poll.close(code, reason);
                }
            }
        }
    }

    /// Closes a connection's session; the frame goes out with the next flush.
    pub(super) fn close<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        code: CloseCode,
        reason: &str,
        slow: bool,
    ) -> Fate {
        let Phase::Open(open) = &mut connection.phase else {
            return Fate::Keep;
        };
        if slow {
            self.hub.metrics.refuse("slow_consumer");
            let id = self.hub.conn_id(open.session);
            self.notice("slow_consumer", || {
                let id = id.map(|s| s.to_string()).unwrap_or_default();
                format!("closed session {id}: {code} {reason}")
            });
        }
        self.begin_close(open, code, reason, slow);
        Fate::Keep
    }

    /// More waits for a session than may. Nobody is slow before the transport has said so.
    pub(super) fn judge<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        key: u32,
        session: u32,
    ) -> Fate {
        while connection.writable && self.hub.is_over(session) {
            if self.flush(connection, key) == Fate::Drop {
                return Fate::Drop;
            }
        }
        if self.hub.judge(session) {
            let limits = self.hub.session_limits(session);
            // A reason has room for 123 bytes: the settings are all called outbox_….
            let reason = format!(
                "slow consumer: over {} bytes or {} frames, or {} bytes for {} ms (settings outbox_)",
                limits.outbox_bytes_max,
                limits.outbox_frames_max,
                limits.outbox_soft_bytes,
                limits.outbox_soft_ms
            );
            return self.close(connection, CloseCode::TRY_LATER, &reason, true);
        }
        Fate::Keep
    }

    /// Tells the handler, once.
    pub(super) fn end_session(
        &mut self,
        session: u32,
        route: u16,
        code: CloseCode,
        reason: &str,
        initiator: Initiator,
    ) {
        if !self.hub.is_open(session) {
            return;
        }
        self.hub.end(session);
        let side = if initiator == Initiator::Peer {
            "peer"
        } else {
            "server"
        };
        self.hub.metrics.close(code.0, side);
        let mut cx = Context::new(&mut self.hub, route, Some(session));
        self.routes[route as usize].handler.on_close(
            &mut cx,
            CloseInfo {
                code,
                reason,
                initiator,
            },
        );
    }

    /// The peer has ended its direction. On a stream that is how one says goodbye.
    fn end_stream<T>(&mut self, connection: &Connection<T>) {
        if let Phase::Open(open) = &connection.phase
            && open.wire != Wire::Frames
        {
            let (session, route) = (open.session, open.route);
            self.end_session(session, route, CloseCode::NORMAL, "", Initiator::Peer);
        }
    }

    /// The transport went away without a closing handshake.
    pub(super) fn end_abnormally(&mut self, open: &Open) {
        self.end_session(
            open.session,
            open.route,
            CloseCode::ABNORMAL,
            "",
            Initiator::Peer,
        );
    }

    /// Asks whether the peer is still there. Behind what waits, if something does: it takes part in the grace.
    pub(super) fn send_ping(&mut self, open: &mut Open) {
        open.since = tick_at(self.now.ms);
        self.hub.push_raw(open.session, |out| {
            ws::encode_frame(out, OpCode::Ping, &[], None);
        });
    }

    /// An open connection's deadline has come.
    pub(super) fn open_deadline<T: Transport>(&mut self, connection: &mut Connection<T>) -> Fate {
        let readable = connection.readable;
        let Phase::Open(open) = &mut connection.phase else {
            return Fate::Keep;
        };
        if self.ends_with_its_grant(open) {
            return Fate::Keep;
        }
        if open.wire == Wire::Poll {
            return self.answer_poll(connection, true);
        }
        let settings = &self.routes[open.route as usize].settings;
        let (grace, message) = (settings.ping_grace_ms, settings.message_timeout_ms);
        let (messages, controls) = (settings.messages_per_second, settings.control_per_second);
        let now = tick_at(self.now.ms);
        let s = &self.settings;
        let in_all = s.close_timeout_ms.saturating_add(s.close_flush_timeout_ms);
        let is_too_late =
            !open.closing.is_open() && super::deadline::after(open.since, in_all) <= now;
        if readable && !open.paused && !is_too_late {
            return Fate::Keep; // It has said something that we have not read yet: nobody is accused unheard.
        }
        if !open.closing.is_open() {
            self.hub.metrics.refuse("close_timeout");
            return Fate::Drop;
        }
        if !open.paused
            && open
                .message_since()
                .is_some_and(|since| super::deadline::after(since, message) <= now)
        {
            self.hub.metrics.refuse("message_timeout");
            self.begin_close(
                open,
                CloseCode::POLICY,
                &format!(
                    "a message stayed unfinished for {message} ms (setting message_timeout_ms)"
                ),
                false,
            );
            return Fate::Keep;
        }
        if open.first_due().is_some_and(|due| due <= now) {
            self.hub.metrics.refuse("first_command_timeout");
            let ms = settings.first_command_timeout_ms;
            let reason = format!("no message within {ms} ms (setting first_command_timeout_ms)");
            self.begin_close(open, CloseCode::AUTH_MISSING, &reason, false);
            return Fate::Keep;
        }
        if open.since == 0 {
            open.tidy(self.now.ms, messages, controls);
            if open.wire == Wire::Response {
                self.keep_alive(open);
            } else {
                self.send_ping(open);
            }
            return Fate::Keep;
        }
        if super::deadline::after(open.since, grace) <= now {
            self.hub.metrics.refuse("ping_timeout");
            let (session, route) = (open.session, open.route);
            self.end_session(
                session,
                route,
                CloseCode::ABNORMAL,
                "no answer to a ping",
                Initiator::Server,
            );
            return Fate::Drop;
        }
        Fate::Keep
    }
}
