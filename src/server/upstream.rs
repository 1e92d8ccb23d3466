//! A connection from the worker to an application, for calls.
//!
//! ```text
//!                    ready for writing             a call               answer whole, keep-alive
//!   Connecting ──────────────────────────▶ Idle ─────────▶ Busy ──────────────────────────────▶ Idle
//!       │ error, time-out                   │ end, bytes     │ end, error, time-out, close
//!       ▼                                   ▼ nobody asked   ▼
//!   (dropped, the endpoint rests)       (dropped)        (dropped, the call ends or goes out again)
//! ```
//!
//! An idle connection is read once more before a call goes out on it: what the application has said by then belongs to no
//! request, and a connection whose answers may be off by one is good for nothing.

use std::io;

use super::calls::{Queued, WantFor, WantId};
use super::connection::{Connection, Fate, Open, Phase};
use super::deadline::after;
use super::transport::Transport;
use super::wheel::{Tick, tick_at};
use super::worker::{Core, Worker};
use super::{ReadOutcome, note_write, read_some};
use crate::http::{AnswerReader, encode_request};
use crate::hub::{Answered, CallError, Context, Outcome, Target};
use crate::time::Now;

#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) endpoint: u32,
    /// The endpoint's when it was begun.
    epoch: u32,
    /// The round of calls in which it was connected; `None`: it has carried a call.
    new_in: Option<u32>,
    pub(crate) state: UpstreamState,
    /// When the state began.
    pub(crate) since: Tick,
}

#[derive(Debug)]
pub(crate) enum UpstreamState {
    Connecting,
    Idle,
    Busy(Box<Exchange>),
}

#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) queued: Queued,
    request: Vec<u8>,
    written: usize,
    /// Its connection was made just before.
    is_on_new: bool,
    reader: AnswerReader,
}

impl<T: Transport> Worker<T> {
    /// A connection to another server that the worker wants; hand it over with [`connected`](Self::connected)
    /// or say [`not_connected`](Self::not_connected).
    pub fn next_want(&mut self) -> Option<super::Want> {
        self.core
            .calls
            .next_want()
            .or_else(|| self.core.dials.next_want())
    }

    /// Takes a transport for a [`Want`](super::Want), whose connecting may still be under way: the worker
    /// waits until it is reported writable.
    pub fn connected(&mut self, want: WantId, transport: T, now: Now) -> usize {
        let endpoint = match want.0 {
            WantFor::Calls(endpoint) => endpoint,
            WantFor::Link(dialled) => return self.link_connected(dialled, transport, now),
        };
        let upstream = Upstream {
            endpoint,
            epoch: self.core.calls.epoch(endpoint),
            new_in: None,
            state: UpstreamState::Connecting,
            since: tick_at(now.ms),
        };
        let phase = Phase::Upstream(Box::new(upstream));
        self.core.calls.note_made();
        let key = self.insert(transport, super::addresses::EXEMPT, phase, now);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.writable = false;
        }
        self.rearm(key as u32);
        key
    }

    /// No transport could be made for a [`Want`](super::Want).
    pub fn not_connected(&mut self, want: WantId, now: Now) {
        let endpoint = match want.0 {
            WantFor::Calls(endpoint) => endpoint,
            WantFor::Link(dialled) => return self.link_not_connected(dialled),
        };
        self.core.hub.metrics.refuse("call_connect");
        self.core.calls.note_refused(endpoint, now.ms);
    }

    /// Hosts whose last connection could not be made: another of their addresses may answer.
    pub fn take_unreachable(&mut self) -> Vec<String> {
        self.core.calls.take_unreachable()
    }

    /// Starts every call that can start, after telling of those that will not be made.
    pub(super) fn start_calls(&mut self) {
        self.core.calls.expire(self.core.now.ms);
        for (queued, why) in self.core.calls.take_given_up() {
            self.core.tell_failed(&queued, why);
        }
        loop {
            for key in self.core.calls.take_retired() {
                // It may have ended by itself meanwhile, and somebody else have its key.
                let phase = self.connections.get(key as usize).map(|c| &c.phase);
                if let Some(Phase::Upstream(upstream)) = phase
                    && matches!(upstream.state, UpstreamState::Idle)
                {
                    self.settle(key, Fate::Drop);
                }
            }
            let Some((key, queued)) = self.core.calls.start(self.core.now.ms) else {
                if self.core.calls.has_retired() {
                    continue;
                }
                return self.core.calls.next_round();
            };
            let Some(connection) = self.connections.get_mut(key as usize) else {
                debug_assert!(false, "an idle connection is gone");
                self.core.calls.repeat(queued);
                continue;
            };
            if self.core.was_told_unasked(connection) {
                self.core.distrust(connection);
                self.core.calls.put_back(queued);
                self.settle(key, Fate::Drop);
                continue;
            }
            self.core.begin_call(connection, queued);
            let (fate, _) = self.core.work_upstream(connection, key);
            self.settle(key, fate);
        }
    }

    /// Reads again from everybody who was held back, once enough calls are done.
    pub(super) fn release_held(&mut self) {
        if self.core.held.is_empty() || self.core.is_call_load_above(50) {
            return;
        }
        for (key, generation) in std::mem::take(&mut self.core.held) {
            if let Some(connection) = self.connections.get_mut(key as usize)
                && connection.generation == generation
                && let Phase::Open(open) = &mut connection.phase
            {
                open.held = false;
                let session = open.session;
                // While it was not heard, neither its pong nor the rest of its message was.
                let now = tick_at(self.core.now.ms);
                connection.life = now;
                if open.closing.is_open() && open.since != 0 {
                    open.since = now;
                }
                open.note_message(true, now);
                self.core.hub.set_held_back(session, false);
                self.settle(key, Fate::Keep);
            }
        }
    }

    /// Gives up calls that nobody will make any more.
    pub(super) fn abandon_calls(&mut self) {
        for queued in self.core.calls.abandon() {
            self.core.tell_failed(&queued, CallError::ShuttingDown);
        }
    }
}

impl Core {
    /// Whether calls wait beyond this share of their limits.
    pub(super) fn is_call_load_above(&self, percent: usize) -> bool {
        let (load, limits) = (self.hub.calls, self.calls.settings());
        load.count > limits.queue_max * percent / 100
            || load.bytes > limits.queue_bytes_max * percent / 100
    }

    /// Stops reading from a session until enough calls are done.
    pub(super) fn hold(&mut self, open: &mut Open, generation: u32) {
        if !open.held
            && let Some(key) = self.hub.link(open.session)
        {
            open.held = true;
            self.held.push((key, generation));
            self.hub.set_held_back(open.session, true);
            self.hub.metrics.refuse("calls_held_back");
        }
    }

    /// Whether an idle connection has bytes that nobody asked for. They may have come after its last look, and would be
    /// taken for the answer to what is sent now. (What comes behind the request cannot be told from an answer.)
    fn was_told_unasked<T: Transport>(&mut self, connection: &mut Connection<T>) -> bool {
        loop {
            match connection.transport.read(&mut [0]) {
                // Its end is found when it is used, or cut.
                Ok(0) => {
                    (connection.readable, connection.ended) = (true, true);
                    return false;
                }
                Ok(_) => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    connection.readable = error.kind() != io::ErrorKind::WouldBlock;
                    return false;
                }
            }
        }
    }

    /// The application has said something that nobody asked for. The connection goes, and the next one is made after a
    /// moment, for it may do the same there.
    fn distrust<T>(&mut self, connection: &Connection<T>) {
        let Phase::Upstream(upstream) = &connection.phase else {
            return;
        };
        self.hub.metrics.refuse("call_unasked");
        self.calls.rest(upstream.endpoint, self.now.ms);
        let (host, port) = self.calls.address(upstream.endpoint);
        let text = format!("closed a connection to {host}:{port}: it sent something unasked");
        self.notice("call_unasked", || text);
    }

    fn begin_call<T>(&mut self, connection: &mut Connection<T>, mut queued: Queued) {
        let Phase::Upstream(upstream) = &mut connection.phase else {
            return;
        };
        if let Some(until_ms) = queued.until_ms {
            queued.call.timeout_ms = until_ms.saturating_sub(self.now.ms).max(1);
        }
        let target = &queued.call.target;
        let mut request = Vec::with_capacity(queued.call.body.len() + 512);
        let headers = queued
            .call
            .headers
            .iter()
            .map(|(name, value)| (&**name, value.as_str()));
        encode_request(
            &mut request,
            queued.call.method,
            &target.authority(),
            &target.path,
            headers,
            &queued.call.body,
        );
        let mut reader =
            AnswerReader::new(self.settings.head, self.calls.settings().answer_bytes_max);
        if queued.call.method == "HEAD" {
            reader = reader.to_head();
        }
        upstream.since = tick_at(self.now.ms);
        let is_on_new = upstream.new_in.take() == Some(self.calls.round());
        upstream.state = UpstreamState::Busy(Box::new(Exchange {
            queued,
            request,
            written: 0,
            is_on_new,
            reader,
        }));
    }

    pub(super) fn work_upstream<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        key: u32,
    ) -> (Fate, usize) {
        let Phase::Upstream(upstream) = &mut connection.phase else {
            return (Fate::Keep, 0);
        };
        if matches!(upstream.state, UpstreamState::Connecting) {
            if connection.writable && !connection.ended {
                upstream.state = UpstreamState::Idle;
                upstream.since = tick_at(self.now.ms);
                upstream.new_in = Some(self.calls.round());
                self.calls.note_connected(upstream.endpoint);
                if upstream.epoch != self.calls.epoch(upstream.endpoint) {
                    return (Fate::Drop, 0);
                }
                self.calls.note_idle(upstream.endpoint, key);
            } else if connection.ended {
                return (Fate::Drop, 0);
            }
            return (Fate::Keep, 0);
        }
        if let UpstreamState::Busy(exchange) = &mut upstream.state {
            while connection.writable && exchange.written < exchange.request.len() {
                let rest = &exchange.request[exchange.written..];
                let taken = connection.transport.write(rest);
                let Ok(taken) = note_write(taken, &mut connection.writable) else {
                    return (Fate::Drop, 0);
                };
                exchange.written += taken;
                self.hub.metrics.sent_bytes_total += taken as u64;
            }
        }
        if !connection.readable {
            return (Fate::Keep, 0);
        }
        let mut receive = std::mem::take(&mut self.receive);
        let result = match read_some(connection, &mut receive, self.now) {
            ReadOutcome::Bytes(n) => (self.take_answer(connection, key, &receive[..n]), n),
            ReadOutcome::Nothing => (Fate::Keep, 0),
            ReadOutcome::End => {
                if let Phase::Upstream(upstream) = &mut connection.phase
                    && let UpstreamState::Busy(exchange) = &mut upstream.state
                {
                    exchange.reader.end();
                    self.finish_if_done(connection, key, false);
                }
                (Fate::Drop, 0)
            }
            ReadOutcome::Failed => (Fate::Drop, 0),
        };
        self.receive = receive;
        result
    }

    fn take_answer<T>(&mut self, connection: &mut Connection<T>, key: u32, bytes: &[u8]) -> Fate {
        self.hub.metrics.received_bytes_total += bytes.len() as u64;
        let Phase::Upstream(upstream) = &mut connection.phase else {
            return Fate::Drop;
        };
        let UpstreamState::Busy(exchange) = &mut upstream.state else {
            self.distrust(connection);
            return Fate::Drop;
        };
        match exchange.reader.read(bytes) {
            Ok(used) => {
                let clean = used == bytes.len() && exchange.written == exchange.request.len();
                if !exchange.reader.is_done() {
                    return Fate::Keep;
                }
                self.finish_if_done(connection, key, clean)
            }
            Err(_) => {
                let state = std::mem::replace(&mut upstream.state, UpstreamState::Idle);
                if let UpstreamState::Busy(exchange) = state {
                    self.tell_failed(&exchange.queued, CallError::BadAnswer);
                }
                Fate::Drop
            }
        }
    }

    /// Tells the handler of a whole answer. `reusable`: the connection is in a state to carry another call.
    fn finish_if_done<T>(
        &mut self,
        connection: &mut Connection<T>,
        key: u32,
        reusable: bool,
    ) -> Fate {
        let Phase::Upstream(upstream) = &mut connection.phase else {
            return Fate::Drop;
        };
        if !matches!(&upstream.state, UpstreamState::Busy(e) if e.reader.is_done()) {
            return Fate::Keep;
        }
        let state = std::mem::replace(&mut upstream.state, UpstreamState::Idle);
        let UpstreamState::Busy(exchange) = state else {
            return Fate::Drop;
        };
        let Exchange { queued, reader, .. } = *exchange;
        let Some(answer) = reader.into_answer() else {
            return Fate::Drop;
        };
        upstream.since = tick_at(self.now.ms);
        let keep = reusable
            && answer.head.keep_alive()
            && self.drain.is_none()
            && upstream.epoch == self.calls.epoch(upstream.endpoint);
        if keep {
            self.calls.note_idle(upstream.endpoint, key);
        }
        let answered = Answered {
            head: &answer.head,
            body: &answer.body,
        };
        self.tell(&queued, Outcome::Answered(answered));
        if keep { Fate::Keep } else { Fate::Drop }
    }

    /// The call is over without an answer.
    pub(super) fn tell_failed(&mut self, queued: &Queued, error: CallError) {
        self.hub.metrics.refuse(error.name());
        let target = queued.call.target.clone();
        self.notice(error.name(), || {
            let Target { host, port, .. } = &*target;
            format!("a call to {host}:{port} has no answer: {}", error.name())
        });
        self.tell(queued, Outcome::Failed(error));
    }

    fn tell(&mut self, queued: &Queued, outcome: Outcome<'_>) {
        self.hub.calls.note_ended(queued.call.bytes());
        self.calls.end(queued);
        let session = queued.session.and_then(|id| self.hub.index_of(id));
        if let Some(route) = self.routes.get_mut(queued.route as usize) {
            let mut cx = Context::new(&mut self.hub, queued.route, session);
            route.handler.on_outcome(&mut cx, queued.ticket, outcome);
        }
    }

    /// An upstream connection is gone, for whatever reason.
    pub(super) fn forget_upstream(&mut self, upstream: Upstream, key: u32) {
        self.calls.note_dropped();
        match upstream.state {
            UpstreamState::Connecting => {
                self.hub.metrics.refuse("call_connect");
                self.calls.note_refused(upstream.endpoint, self.now.ms);
            }
            UpstreamState::Idle => self.calls.note_gone(upstream.endpoint, key),
            UpstreamState::Busy(exchange) => {
                self.calls.note_gone(upstream.endpoint, key);
                let Exchange {
                    mut queued,
                    is_on_new,
                    reader,
                    ..
                } = *exchange;
                let may_repeat =
                    !is_on_new || queued.until_ms.is_none() || is_idempotent(queued.call.method);
                if !reader.has_begun() && may_repeat && queued.tries.again(is_on_new) {
                    self.calls.repeat(queued);
                } else {
                    self.tell_failed(&queued, CallError::Broken);
                }
            }
        }
    }

    pub(super) fn upstream_due(&self, upstream: &Upstream) -> Tick {
        let settings = self.calls.settings();
        let ms = match &upstream.state {
            UpstreamState::Connecting => settings.connect_timeout_ms,
            UpstreamState::Idle => settings.idle_ms,
            UpstreamState::Busy(exchange) => exchange.queued.call.timeout_ms,
        };
        after(upstream.since, ms)
    }

    pub(super) fn upstream_deadline<T>(&mut self, connection: &mut Connection<T>) -> Fate {
        let Phase::Upstream(upstream) = &mut connection.phase else {
            return Fate::Drop;
        };
        if let UpstreamState::Busy(_) = &upstream.state
            && let UpstreamState::Busy(exchange) =
                std::mem::replace(&mut upstream.state, UpstreamState::Idle)
        {
            self.tell_failed(&exchange.queued, CallError::Timeout);
        }
        Fate::Drop
    }
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &str) -> bool {
    !matches!(method, "POST" | "PATCH")
}
