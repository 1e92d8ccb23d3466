//! Links: connections of ours to other servers that stay, for a handler.
//!
//! ```text
//!   Connecting ──writable──▶ Shaking ──101──▶ Open ──the handler has enough──▶ Leaving ──all written──▶ (dropped)
//!       │        (a stream of    │             │ close frame, end, error,
//!       │         values skips)  │             │ no answer to a ping
//!       └────────────────────────┴─────────────┴──▶ (dropped; the handler is told why, exactly once)
//! ```

use slab::Slab;
#[cfg(feature = "process")]
use std::collections::VecDeque;

use super::calls::{Place, Want, WantId};
use super::connection::{Connection, Fate, Phase};
use super::deadline::after;
use super::transport::Transport;
use super::wheel::{Tick, tick_at};
use super::worker::{Core, Worker};
use super::{ReadOutcome, note_write, read_some};
use crate::http::{HeadSeeker, ResponseHead};
use crate::hub::{Context, Dial, LinkEnd, LinkEvent, LinkId, LinkTarget};
use crate::time::Now;
use crate::values::Values;
use crate::ws::{self, CloseCode, Event, Limits, Message, OpCode, Role, WebSocket};
#[cfg(feature = "process")]
use {super::processes::Running, crate::hub::Ordered};

#[cfg(feature = "process")]
const PROCESS_READ_BYTES: usize = 64 << 10;

/// What the worker keeps of a link beside its connection.
#[derive(Debug)]
pub(crate) struct Linked {
    pub(super) id: LinkId,
    pub(super) route: u16,
    pub(super) dial: Dial,
    pub(super) state: LinkState,
    /// When connecting or leaving began; while it is open: when a ping went out that nothing has answered (0: none).
    pub(super) since: Tick,
    /// Input that the turn had no time for, or the handler no room.
    pub(super) backlog: Vec<u8>,
    /// What the handler will be told when the connection is dropped.
    pub(super) end: LinkEnd,
    /// Bytes that are counted into the memory budget.
    pub(super) accounted: u32,
}

#[derive(Debug)]
pub(super) enum LinkState {
    Connecting,
    Shaking(Box<Shaking>),
    WebSocket(WebSocket, Limits),
    Values(Values),
    #[cfg(feature = "process")]
    Process(Running),
    Leaving,
}

/// The answer to our opening handshake is awaited.
#[derive(Debug)]
pub(super) struct Shaking {
    key: String,
    seeker: HeadSeeker,
    input: Vec<u8>,
}

/// The links of a worker, as far as they have no connection yet.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    waiting: Slab<(LinkId, u16, Dial)>,
    wants: Vec<Want>,
    /// Links that have a connection.
    pub(super) made: usize,
    /// Those of them whose other end is a process.
    #[cfg(feature = "process")]
    pub(super) processes: usize,
    /// What is to be done with processes.
    #[cfg(feature = "process")]
    pub(super) process_orders: VecDeque<Ordered>,
}

impl Dials {
    pub(super) fn next_want(&mut self) -> Option<Want> {
        self.wants.pop()
    }
}

impl Linked {
    pub(super) fn held_bytes(&self) -> usize {
        let state = match &self.state {
            LinkState::Shaking(shaking) => shaking.input.capacity(),
            LinkState::WebSocket(ws, _) => ws.buffered_bytes(),
            LinkState::Values(values) => values.buffered_bytes(),
            #[cfg(feature = "process")]
            LinkState::Process(running) => running.held_bytes(),
            LinkState::Connecting | LinkState::Leaving => 0,
        };
        state + self.backlog.capacity()
    }

    pub(super) fn id(&self) -> LinkId {
        self.id
    }

    /// Whether it is a WebSocket that is open.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, LinkState::WebSocket(..))
    }

    /// Whether its other end is a process.
    #[cfg(feature = "process")]
    pub(super) fn is_process(&self) -> bool {
        matches!(*self.dial.target, LinkTarget::Process(_))
    }

    /// Most bytes of one read. What a process says may have to wait for somebody who does not take it, and then this
    /// much of it is kept.
    fn room(&self) -> usize {
        match *self.dial.target {
            #[cfg(feature = "process")]
            LinkTarget::Process(_) => PROCESS_READ_BYTES,
            _ => usize::MAX,
        }
    }

    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// When it has to be looked at; `life`: when it last said something.
    pub(super) fn due(&self, life: Tick, close_timeout_ms: u64) -> Option<Tick> {
        match &self.state {
            LinkState::Connecting | LinkState::Shaking(_) => {
                Some(after(self.since, self.dial.connect_timeout_ms))
            }
            LinkState::WebSocket(..) if self.dial.ping_after_ms == 0 => None,
            LinkState::WebSocket(..) if self.since != 0 => {
                Some(after(self.since, self.dial.ping_grace_ms))
            }
            LinkState::WebSocket(..) => Some(after(life, self.dial.ping_after_ms)),
            LinkState::Values(_) => None,
            #[cfg(feature = "process")]
            LinkState::Process(running) => running.due(self.since),
            LinkState::Leaving => Some(after(self.since, close_timeout_ms)),
        }
    }
}

impl<T: Transport> Worker<T> {
    /// A transport for a link, whose connecting may still be under way.
    pub(super) fn link_connected(&mut self, dialled: u32, transport: T, now: Now) -> usize {
        let dialled = self.core.dials.waiting.try_remove(dialled as usize);
        debug_assert!(dialled.is_some(), "nobody has dialled");
        let (id, route, dial) = dialled.expect("a want is answered once");
        let linked = Linked {
            id,
            route,
            dial,
            state: LinkState::Connecting,
            since: tick_at(now.ms),
            backlog: Vec::new(),
            end: LinkEnd::Unreachable,
            accounted: 0,
        };
        self.core.dials.made += 1;
        #[cfg(feature = "process")]
        if linked.is_process() {
            self.core.dials.processes += 1;
        }
        let phase = Phase::Link(Box::new(linked));
        let key = self.insert(transport, super::addresses::EXEMPT, phase, now);
        let is_wanted = self.core.hub.links().set_key(id, key as u32);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.writable = false;
            if !is_wanted && let Phase::Link(linked) = &mut connection.phase {
                linked.end = LinkEnd::Ours;
            }
            #[cfg(feature = "process")]
            if is_wanted
                && let Phase::Link(linked) = &mut connection.phase
                && linked.is_process()
            {
                // It runs: there is nothing to wait for, and the news of its end may come before any other.
                connection.writable = true;
                self.core.begin_link(linked);
            }
        }
        let fate = if is_wanted { Fate::Keep } else { Fate::Drop };
        self.settle(key as u32, fate);
        key
    }

    pub(super) fn link_not_connected(&mut self, dialled: u32) {
        if let Some((id, route, dial)) = self.core.dials.waiting.try_remove(dialled as usize) {
            self.core.end_link(id, route, &dial, LinkEnd::Unreachable);
        }
    }

    /// Writes what handlers have sent on links, and ends those they have enough of.
    pub(super) fn flush_links(&mut self) {
        if !self.core.hub.links().has_dirty() {
            return;
        }
        for (id, key) in self.core.hub.links().take_dirty() {
            let Some(key) = key else {
                continue; // It is being dialled, and found out when that is done.
            };
            if let Some(connection) = self.connections.get_mut(key as usize)
                && matches!(&connection.phase, Phase::Link(linked) if linked.id == id)
            {
                let fate = self.core.flush_link(connection);
                self.settle(key, fate);
            }
        }
    }
}

impl Core {
    /// A handler wants a link.
    pub(super) fn dial(&mut self, id: LinkId, route: u16, dial: Dial) {
        self.hub.metrics.links_total += 1;
        let place = match &*dial.target {
            LinkTarget::WebSocket(target) => Place::Tcp {
                host: target.host.clone(),
                port: target.port,
            },
            LinkTarget::Values(path) => Place::Unix(path.clone()),
            #[cfg(feature = "process")]
            LinkTarget::Process(_) => Place::Process(id, dial.target.clone()),
        };
        let dialled = self.dials.waiting.insert((id, route, dial));
        self.dials.wants.push(Want {
            id: WantId::link(dialled as u32),
            place,
        });
    }

    pub(super) fn work_link<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
    ) -> (Fate, usize) {
        if self.flush_link(connection) == Fate::Drop {
            return (Fate::Drop, 0);
        }
        let Phase::Link(linked) = &mut connection.phase else {
            return (Fate::Keep, 0);
        };
        if self.hub.is_link_paused(linked.id) {
            return (Fate::Keep, 0);
        }
        if !linked.backlog.is_empty() {
            let mut backlog = std::mem::take(&mut linked.backlog);
            let bytes = backlog.len();
            let fate = self.consume_link(linked, &mut backlog);
            return (self.then_flush_link(connection, fate), bytes);
        }
        if !connection.readable || matches!(linked.state, LinkState::Connecting) {
            return (Fate::Keep, 0);
        }
        let mut receive = std::mem::take(&mut self.receive);
        let room = linked.room().min(receive.len());
        let outcome = read_some(connection, &mut receive[..room], self.now);
        let mut result = (Fate::Keep, 0);
        if let Phase::Link(linked) = &mut connection.phase {
            result = match outcome {
                ReadOutcome::Bytes(n) => {
                    self.hub.metrics.received_bytes_total += n as u64;
                    (self.consume_link(linked, &mut receive[..n]), n)
                }
                ReadOutcome::Nothing => (Fate::Keep, 0),
                #[cfg(feature = "process")]
                ReadOutcome::End | ReadOutcome::Failed if linked.is_process() => {
                    (self.end_output(connection), 0)
                }
                ReadOutcome::End | ReadOutcome::Failed => (Fate::Drop, 0),
            };
        }
        self.receive = receive;
        (self.then_flush_link(connection, result.0), result.1)
    }

    /// What was said while it was read goes out at once; of a link that is to be dropped, as far as the transport
    /// takes it.
    fn then_flush_link<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        fate: Fate,
    ) -> Fate {
        match self.flush_link(connection) {
            Fate::Keep => fate,
            Fate::Drop => Fate::Drop,
        }
    }

    fn flush_link<T: Transport>(&mut self, connection: &mut Connection<T>) -> Fate {
        let Phase::Link(linked) = &mut connection.phase else {
            return Fate::Keep;
        };
        if let LinkState::Connecting = linked.state {
            if connection.ended {
                return Fate::Drop;
            }
            if !connection.writable {
                return Fate::Keep;
            }
            self.begin_link(linked);
        }
        #[cfg(feature = "process")]
        if let LinkState::Process(_) = linked.state {
            return self.flush_process(connection);
        }
        if self.hub.links().is_leaving(linked.id) && !matches!(linked.state, LinkState::Leaving) {
            if let LinkState::WebSocket(..) = linked.state {
                let mask = self.hub.random.mask_key();
                self.hub.links().push_raw(linked.id, |out| {
                    ws::encode_close(out, CloseCode::NORMAL, "", Some(mask));
                });
            }
            linked.state = LinkState::Leaving;
            linked.since = tick_at(self.now.ms);
            linked.end = LinkEnd::Ours;
        }
        while connection.writable {
            let output = self.hub.links().output(linked.id);
            if output.is_empty() {
                break;
            }
            let taken = connection.transport.write(output);
            let Ok(taken) = note_write(taken, &mut connection.writable) else {
                return Fate::Drop;
            };
            self.hub.links().advance(linked.id, taken);
            self.hub.metrics.sent_bytes_total += taken as u64;
        }
        let is_done = self.hub.links().output(linked.id).is_empty();
        match linked.state {
            LinkState::Leaving if is_done => Fate::Drop,
            _ => Fate::Keep,
        }
    }

    /// The transport is connected.
    fn begin_link(&mut self, linked: &mut Linked) {
        linked.end = LinkEnd::Broken;
        match &*linked.dial.target {
            LinkTarget::Values(_) => {
                let values = Values::new(linked.dial.message_bytes_max);
                self.open_link(linked, LinkState::Values(values));
            }
            #[cfg(feature = "process")]
            LinkTarget::Process(program) => {
                let running = Running::new(program, linked.dial.message_bytes_max);
                self.open_link(linked, LinkState::Process(running));
            }
            LinkTarget::WebSocket(target) => {
                let key = ws::client_key(self.hub.random.bytes16());
                let authority = target.authority();
                self.hub.links().push_raw(linked.id, |out| {
                    ws::write_request(out, &authority, &target.path, &key, &[], &[]);
                });
                linked.state = LinkState::Shaking(Box::new(Shaking {
                    key,
                    seeker: HeadSeeker::default(),
                    input: Vec::new(),
                }));
            }
        }
    }

    fn open_link(&mut self, linked: &mut Linked, state: LinkState) {
        linked.state = state;
        linked.since = 0;
        self.hub.links().set_open(linked.id);
        let target = linked.dial.target.clone();
        self.notice("link_open", || format!("linked to {target}"));
        self.tell_link(linked.route, linked.id, LinkEvent::Open);
    }

    pub(super) fn tell_link(&mut self, route: u16, id: LinkId, event: LinkEvent<'_>) {
        if let Some(entry) = self.routes.get_mut(route as usize) {
            let mut cx = Context::new(&mut self.hub, route, None);
            entry.handler.on_link(&mut cx, id, event);
        }
    }

    /// Works through what has come.
    fn consume_link(&mut self, linked: &mut Linked, data: &mut [u8]) -> Fate {
        if let LinkState::Shaking(_) = linked.state {
            return self.shake(linked, data);
        }
        match &mut linked.state {
            LinkState::WebSocket(..) => self.consume_frames(linked, data),
            LinkState::Values(_) => self.consume_values(linked, data),
            #[cfg(feature = "process")]
            LinkState::Process(_) => self.consume_output(linked, data),
            _ => Fate::Keep, // It is read to its end, and what it says is not heard any more.
        }
    }

    /// Looks for the answer to our opening handshake.
    fn shake(&mut self, linked: &mut Linked, data: &mut [u8]) -> Fate {
        let LinkState::Shaking(shaking) = &mut linked.state else {
            return Fate::Keep;
        };
        shaking.input.extend_from_slice(data);
        let limits = &self.settings.head;
        let end = match shaking.seeker.seek(&shaking.input, limits) {
            Ok(Some(end)) => end,
            Ok(None) => return Fate::Keep,
            Err(_) => {
                linked.end = LinkEnd::Protocol;
                return Fate::Drop;
            }
        };
        let (head, rest) = shaking
            .input
            .split_at_mut_checked(end)
            .unwrap_or((&mut [], &mut []));
        let Ok(head) = ResponseHead::parse(head, limits) else {
            linked.end = LinkEnd::Protocol;
            return Fate::Drop;
        };
        if let Err(error) = ws::check_response(head.status(), head.headers(), &shaking.key, &[]) {
            linked.end = match error {
                ws::AnswerError::Status(status) => LinkEnd::Refused(status),
                _ => LinkEnd::Protocol,
            };
            return Fate::Drop;
        }
        let mut rest = rest.to_vec();
        let limits = Limits::for_message_bytes(linked.dial.message_bytes_max);
        self.open_link(
            linked,
            LinkState::WebSocket(WebSocket::new(Role::Client), limits),
        );
        self.consume_link(linked, &mut rest)
    }

    fn consume_frames(&mut self, linked: &mut Linked, mut data: &mut [u8]) -> Fate {
        linked.since = 0;
        let LinkState::WebSocket(socket, limits) = &mut linked.state else {
            return Fate::Keep;
        };
        loop {
            match socket.next_event(limits, &mut data) {
                Ok(None) => return Fate::Keep,
                Ok(Some(Event::Message(message))) => {
                    self.hub.metrics.link_messages_total += 1;
                    let mut cx = Context::new(&mut self.hub, linked.route, None);
                    let handler = &mut self.routes[linked.route as usize].handler;
                    handler.on_link(&mut cx, linked.id, LinkEvent::Message(message));
                    if self.hub.is_link_paused(linked.id) && !data.is_empty() {
                        linked.backlog.extend_from_slice(data);
                        return Fate::Keep;
                    }
                }
                Ok(Some(Event::Ping(payload))) => {
                    let mask = self.hub.random.mask_key();
                    self.hub.links().push_raw(linked.id, |out| {
                        ws::encode_frame(out, OpCode::Pong, payload, Some(mask));
                    });
                }
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(code, _))) => {
                    linked.end = LinkEnd::Closed(code);
                    self.say_goodbye(linked.id, ws::echo_code(code));
                    return Fate::Drop;
                }
                Err(error) => {
                    linked.end = LinkEnd::Protocol;
                    self.say_goodbye(linked.id, error.close_code());
                    return Fate::Drop;
                }
            }
            if self.hub.turn_is_full() && !data.is_empty() {
                // What it has given rise to goes out first.
                linked.backlog.extend_from_slice(data);
                return Fate::Keep;
            }
        }
    }

    fn say_goodbye(&mut self, id: LinkId, code: CloseCode) {
        let mask = self.hub.random.mask_key();
        self.hub.links().push_raw(id, |out| {
            ws::encode_close(out, code, "", Some(mask));
        });
    }

    fn consume_values(&mut self, linked: &mut Linked, data: &[u8]) -> Fate {
        let LinkState::Values(values) = &mut linked.state else {
            return Fate::Keep;
        };
        let mut input = data;
        loop {
            let value = match values.next(&mut input) {
                Ok(None) => return Fate::Keep,
                Ok(Some(value)) => std::str::from_utf8(value),
                Err(_) => {
                    linked.end = LinkEnd::Protocol;
                    return Fate::Drop;
                }
            };
            let Ok(text) = value else {
                linked.end = LinkEnd::Protocol;
                return Fate::Drop;
            };
            self.hub.metrics.link_messages_total += 1;
            let mut cx = Context::new(&mut self.hub, linked.route, None);
            let handler = &mut self.routes[linked.route as usize].handler;
            let event = LinkEvent::Message(Message::Text(text));
            handler.on_link(&mut cx, linked.id, event);
            let is_enough = self.hub.turn_is_full() || self.hub.is_link_paused(linked.id);
            if is_enough && !input.is_empty() {
                linked.backlog.extend_from_slice(input);
                return Fate::Keep;
            }
        }
    }

    /// A link's time has come.
    pub(super) fn link_deadline<T: Transport>(&mut self, connection: &mut Connection<T>) -> Fate {
        let readable = connection.readable;
        let Phase::Link(linked) = &mut connection.phase else {
            return Fate::Drop;
        };
        match linked.state {
            LinkState::Connecting | LinkState::Shaking(_) => linked.end = LinkEnd::ConnectTimeout,
            LinkState::WebSocket(..) if readable => return Fate::Keep,
            LinkState::WebSocket(..) if linked.since == 0 => {
                linked.since = tick_at(self.now.ms);
                let mask = self.hub.random.mask_key();
                self.hub.links().push_raw(linked.id, |out| {
                    ws::encode_frame(out, OpCode::Ping, &[], Some(mask));
                });
                return self.flush_link(connection);
            }
            LinkState::WebSocket(..) => linked.end = LinkEnd::PingTimeout,
            LinkState::Values(_) => return Fate::Keep,
            #[cfg(feature = "process")]
            LinkState::Process(_) => return self.process_deadline(linked),
            LinkState::Leaving => {}
        }
        Fate::Drop
    }

    /// A link's connection is gone.
    pub(super) fn forget_link(&mut self, linked: &Linked) {
        self.dials.made -= 1;
        #[cfg(feature = "process")]
        self.forget_process(linked);
        self.end_link(linked.id, linked.route, &linked.dial, linked.end);
    }

    fn end_link(&mut self, id: LinkId, route: u16, dial: &Dial, end: LinkEnd) {
        // Whoever has given it up meanwhile knows why it is gone.
        let is_ours = self.hub.links().is_leaving(id);
        let end = if is_ours { LinkEnd::Ours } else { end };
        self.hub.links().remove(id);
        if let Some(why) = complaint(end) {
            self.hub.metrics.refuse(end.name());
            self.notice(end.name(), || format!("{why} {}: {end}", dial.target));
        }
        self.tell_link(route, id, LinkEvent::Closed(end));
    }
}

/// How to begin to tell of an end that is worth telling; `None`: it was in order.
fn complaint(end: LinkEnd) -> Option<&'static str> {
    match end {
        LinkEnd::Ours => None,
        #[cfg(feature = "process")]
        LinkEnd::Exited(exit) if exit.is_success() => None,
        #[cfg(feature = "process")]
        LinkEnd::Exited(_) => Some("ended:"),
        _ => Some("no link to"),
    }
}
