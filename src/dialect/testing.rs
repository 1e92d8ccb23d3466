//! A house for dialects: a real hub, handlers behind routes and guests that read what waits for them, without a
//! worker. Closes are carried out and timers fire as the worker would do it.

#[cfg(any(test, feature = "jsonrpc"))]
mod links;

#[cfg(any(test, feature = "jsonrpc"))]
pub(super) use links::Dialled;

use std::collections::VecDeque;

use crate::http::{Head, HeadLimits, Response, ResponseHead};
#[cfg(any(test, feature = "presence"))]
use crate::hub::ChannelOptions;
#[cfg(feature = "presence")]
use crate::hub::NO_ROUTE;
use crate::hub::{
    Accept, Answered, Call, CallError, CloseInfo, ConnId, Context, Dial, Effect, Handler, Hub,
    HubLimits, Initiator, LinkId, Outcome, Params, Peer, Reply, Request, SessionLimits, Ticket,
    Upgrade,
};
use crate::random::Random;
use crate::time::Now;
use crate::ws::{CloseCode, Message};

/// A guest.
pub(super) type Id = usize;

/// What a guest received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Got {
    Text(String),
    Binary(Vec<u8>),
}

impl Got {
    /// The text.
    #[track_caller]
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Binary(bytes) => panic!("text was expected, not {bytes:?}"),
        }
    }
}

/// Hub, handlers, guests, and a clock that only goes when told.
pub(super) struct House {
    pub(super) hub: Hub,
    session_limits: SessionLimits,
    handlers: Vec<Box<dyn Handler>>,
    guests: Vec<Guest>,
    timers: Vec<Timer>,
    calls: VecDeque<Asked>,
    /// Links that were asked for, and the routes whose handlers did.
    dialled: VecDeque<(LinkId, u16, Dial)>,
    answers: Vec<(Ticket, Response)>,
    peer: Peer,
    /// The next one at the door is this user.
    user: Option<String>,
}

/// A call that a handler has asked for and nobody has answered.
pub(super) struct Asked {
    ticket: Ticket,
    route: u16,
    session: Option<ConnId>,
    pub(super) call: Call,
}

impl Asked {
    /// The route whose handler has asked.
    #[cfg(feature = "apigw")]
    pub(super) fn route(&self) -> usize {
        usize::from(self.route)
    }
}

struct Guest {
    session: u32,
    route: usize,
    got: Vec<Got>,
    here: bool,
    closed: Option<CloseCode>,
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests"))]
    accept: Accept,
}

struct Timer {
    at_ms: u64,
    ticket: Ticket,
    route: usize,
    guest: Option<Id>,
}

impl House {
    pub(super) fn new() -> Self {
        Self::with_limits(HubLimits::default(), SessionLimits::default())
    }

    #[cfg(test)]
    pub(super) fn with_budget(bytes: usize) -> Self {
        Self::with_limits(
            HubLimits {
                memory_budget_bytes: bytes,
                ..HubLimits::default()
            },
            SessionLimits::default(),
        )
    }

    pub(super) fn with_limits(limits: HubLimits, session_limits: SessionLimits) -> Self {
        let mut hub = Hub::new(0, limits, Random::seeded(1));
        hub.now = Now::new(0, START_UNIX_MS);
        Self {
            hub,
            session_limits,
            handlers: Vec::new(),
            guests: Vec::new(),
            timers: Vec::new(),
            calls: VecDeque::new(),
            dialled: VecDeque::new(),
            answers: Vec::new(),
            peer: Peer::Unix,
            user: None,
        }
    }

    /// Adds a handler.
    pub(super) fn route(&mut self, path: &str, handler: impl Handler + 'static) -> usize {
        self.hub
            .add_route(self.session_limits, handler.space(), path);
        self.handlers.push(Box::new(handler));
        self.handlers.len() - 1
    }

    /// Adds a handler, and options of channels.
    #[cfg(any(test, feature = "presence"))]
    pub(super) fn route_with(
        &mut self,
        path: &str,
        handler: impl Handler + 'static,
        channels: &[ChannelOptions],
    ) -> usize {
        let route = self.route(path, handler);
        for options in channels {
            assert!(self.hub.add_channel_options(route as u16, options));
        }
        route
    }

    /// The next one at the door is this user, as an authentication in front of the handler would say.
    #[cfg(test)]
    pub(super) fn next_user(&mut self, user: &str) {
        self.user = Some(user.to_owned());
    }

    /// The session of a guest becomes this user's.
    #[cfg(all(test, feature = "presence"))]
    pub(super) fn is_user(&mut self, guest: Id, user: &str) {
        let Guest { session, route, .. } = self.guests[guest];
        let mut cx = Context::new(&mut self.hub, route as u16, Some(session));
        assert_eq!(cx.set_user(user), Ok(()));
        self.settle();
    }

    /// A guest at the door: in, or refused with this answer.
    #[cfg(test)]
    pub(super) fn upgrade(
        &mut self,
        route: usize,
        target: &str,
        params: &[(&str, &str)],
    ) -> Result<Id, Response> {
        self.upgrade_with(route, target, &[], params)
    }

    /// The same with headers.
    pub(super) fn upgrade_with(
        &mut self,
        route: usize,
        target: &str,
        headers: &[(&str, &str)],
        params: &[(&str, &str)],
    ) -> Result<Id, Response> {
        let session = self.hub.open(self.guests.len() as u32, route as u16);
        let head = head("GET", target, headers);
        let params = parameters(params);
        let request = Request {
            head: &head,
            body: b"",
            params: &params,
            peer: self.peer,
            grant: None,
        };
        let mut cx = Context::new(&mut self.hub, route as u16, Some(session));
        if let Some(user) = self.user.take() {
            assert_eq!(cx.set_user(&user), Ok(()));
        }
        match self.handlers[route].on_upgrade(&mut cx, &request) {
            Upgrade::Refuse(response) => {
                self.hub.remove(session);
                self.settle();
                Err(response)
            }
            Upgrade::Accept(accept) => {
                self.guests.push(Guest {
                    session,
                    route,
                    got: Vec::new(),
                    here: true,
                    closed: None,
                    accept,
                });
                let mut cx = Context::new(&mut self.hub, route as u16, Some(session));
                self.handlers[route].on_open(&mut cx);
                self.settle();
                Ok(self.guests.len() - 1)
            }
        }
    }

    #[cfg(test)]
    /// A guest who gets in.
    #[track_caller]
    pub(super) fn join(&mut self, route: usize, target: &str, params: &[(&str, &str)]) -> Id {
        match self.upgrade(route, target, params) {
            Ok(guest) => guest,
            Err(response) => panic!(
                "refused: {} {}",
                response.status,
                String::from_utf8_lossy(&response.body)
            ),
        }
    }

    /// What the handler added to a guest's 101.
    #[cfg(test)]
    pub(super) fn accepted(&self, guest: Id) -> &Accept {
        &self.guests[guest].accept
    }

    #[cfg(test)]
    pub(super) fn text(&mut self, guest: Id, text: &str) {
        self.says(guest, Message::Text(text));
    }

    #[cfg(test)]
    pub(super) fn binary(&mut self, guest: Id, bytes: &[u8]) {
        self.says(guest, Message::Binary(bytes));
    }

    /// A message of a guest; one who has gone says nothing.
    pub(super) fn says(&mut self, guest: Id, message: Message<'_>) {
        let Guest {
            session,
            route,
            here: true,
            ..
        } = self.guests[guest]
        else {
            return;
        };
        self.hub.begin_replies(session);
        let mut cx = Context::new(&mut self.hub, route as u16, Some(session));
        self.handlers[route].on_message(&mut cx, message);
        self.hub.end_replies(0);
        self.settle();
    }

    /// A guest goes.
    pub(super) fn leave(&mut self, guest: Id) {
        self.close(guest, CloseCode::NORMAL, "", Initiator::Peer);
        self.settle();
    }

    /// What a guest received since the last time.
    pub(super) fn got(&mut self, guest: Id) -> Vec<Got> {
        self.collect(guest);
        std::mem::take(&mut self.guests[guest].got)
    }

    /// How the server ended a guest's session.
    pub(super) fn closed(&self, guest: Id) -> Option<CloseCode> {
        self.guests[guest].closed
    }

    /// From now on everybody comes from there.
    #[cfg(test)]
    pub(super) fn comes_from(&mut self, peer: Peer) {
        self.peer = peer;
    }

    /// The calls asked for since the last time, in order.
    pub(super) fn calls(&mut self) -> Vec<Asked> {
        self.calls.drain(..).collect()
    }

    /// The application answers a call.
    pub(super) fn answer(&mut self, asked: Asked, status: u16, body: &[u8]) {
        self.answer_with(asked, status, "", body);
    }

    /// The same with header lines, each with its end.
    pub(super) fn answer_with(&mut self, asked: Asked, status: u16, lines: &str, body: &[u8]) {
        let text = format!("HTTP/1.1 {status} \r\n{lines}\r\n");
        let head = match ResponseHead::parse(text.as_bytes(), &HeadLimits::default()) {
            Ok(head) => head,
            Err(why) => panic!("{why}: {text}"),
        };
        self.outcome(asked, Outcome::Answered(Answered { head: &head, body }));
    }

    /// A call gets no answer.
    pub(super) fn fail(&mut self, asked: Asked, error: CallError) {
        self.outcome(asked, Outcome::Failed(error));
    }

    fn outcome(&mut self, asked: Asked, outcome: Outcome<'_>) {
        self.hub.calls.note_ended(asked.call.bytes());
        let session = asked.session.and_then(|id| self.hub.index_of(id));
        let mut cx = Context::new(&mut self.hub, asked.route, session);
        self.handlers[asked.route as usize].on_outcome(&mut cx, asked.ticket, outcome);
        self.settle();
    }

    /// How often something was refused.
    #[cfg(test)]
    pub(super) fn refused(&self, reason: &str) -> u64 {
        self.hub.metrics.refused(reason)
    }

    /// The worker stops reading from a guest, or goes on.
    #[cfg(test)]
    pub(super) fn hold_back(&mut self, guest: Id, held_back: bool) {
        let session = self.guests[guest].session;
        self.hub.set_held_back(session, held_back);
    }

    #[cfg(test)]
    pub(super) fn request(
        &mut self,
        route: usize,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Response {
        self.request_with(route, method, target, &[], &[], body)
    }

    /// A plain request. These dialects answer at once.
    pub(super) fn request_with(
        &mut self,
        route: usize,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        params: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        match self.reply_to(route, method, target, headers, params, body) {
            Reply::Now(response) => response,
            // Of one that does not end, the head.
            Reply::Stream(stream) => {
                Response::new(200).header("Content-Type", stream.content_type())
            }
            Reply::Later(ticket) => panic!("{ticket:?} was put off"),
        }
    }

    fn reply_to(
        &mut self,
        route: usize,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        params: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let head = head(method, target, headers);
        let params = parameters(params);
        let request = Request {
            head: &head,
            body,
            params: &params,
            peer: self.peer,
            grant: None,
        };
        let mut cx = Context::new(&mut self.hub, route as u16, None);
        let reply = self.handlers[route].on_request(&mut cx, &request);
        self.settle();
        reply
    }

    /// A plain request, and its answer if that comes at once.
    #[cfg(any(test, feature = "apigw", feature = "jsonrpc"))]
    pub(super) fn asks(
        &mut self,
        route: usize,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, Ticket> {
        match self.reply_to(route, method, target, headers, &[], body) {
            Reply::Now(response) => Ok(response),
            Reply::Later(ticket) => Err(ticket),
            Reply::Stream(stream) => panic!("{stream:?} does not end"),
        }
    }

    /// Answers to requests that were put off, since the last time.
    #[cfg(any(test, feature = "apigw", feature = "jsonrpc"))]
    pub(super) fn answers(&mut self) -> Vec<(Ticket, Response)> {
        std::mem::take(&mut self.answers)
    }

    /// Time goes by; timers fire on the way.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.hub.now.ms + ms;
        while let Some(at) = self
            .timers
            .iter()
            .filter(|t| t.at_ms <= end)
            .map(|t| t.at_ms)
            .min()
        {
            self.clock(at);
            let next = self.timers.iter().position(|t| t.at_ms == at);
            let Some(timer) = next.map(|next| self.timers.remove(next)) else {
                break;
            };
            let session = match timer.guest {
                Some(guest) if self.guests[guest].here => Some(self.guests[guest].session),
                Some(_) => continue,
                None => None,
            };
            #[cfg(feature = "presence")]
            if timer.route == usize::from(NO_ROUTE) {
                self.hub.end_timer(timer.ticket);
                self.settle();
                continue;
            }
            let mut cx = Context::new(&mut self.hub, timer.route as u16, session);
            self.handlers[timer.route].on_outcome(&mut cx, timer.ticket, Outcome::Elapsed);
            self.settle();
        }
        self.clock(end);
    }

    /// Everybody goes, and nothing stays behind.
    #[track_caller]
    pub(super) fn is_empty(&mut self) {
        for guest in 0..self.guests.len() {
            self.leave(guest);
        }
        let left = (
            self.hub.sessions(),
            self.hub.channels(),
            self.hub.queued_frames(),
        );
        assert_eq!(left, (0, 0, 0), "sessions, channels, frames");
    }

    fn clock(&mut self, ms: u64) {
        self.hub.now = Now::new(ms, START_UNIX_MS + ms);
    }

    #[cfg(feature = "presence")]
    fn tell_presence(&mut self) {
        self.hub.tend_presence();
        while let Some(told) = self.hub.next_presence_change() {
            let mut cx = Context::new(&mut self.hub, told.route, told.session);
            self.handlers[told.route as usize].on_presence(&mut cx, &told.channel, told.change());
        }
    }

    /// What the worker does at the end of a turn.
    fn settle(&mut self) {
        #[cfg(feature = "presence")]
        self.tell_presence();
        for effect in self.hub.take_effects() {
            let (ticket, after_ms, route, session) = match effect {
                Effect::Timer {
                    ticket,
                    after_ms,
                    route,
                    session,
                } => (ticket, after_ms, route, session),
                Effect::Call {
                    ticket,
                    route,
                    session,
                    call,
                    ..
                } => {
                    self.calls.push_back(Asked {
                        ticket,
                        route,
                        session,
                        call,
                    });
                    continue;
                }
                Effect::Dial { link, route, dial } => {
                    self.dialled.push_back((link, route, dial));
                    continue;
                }
            };
            let index = session.map(|id| id.index);
            let guest = self
                .guests
                .iter()
                .position(|g| g.here && Some(g.session) == index);
            let timer = Timer {
                at_ms: self.hub.now.ms + after_ms,
                ticket,
                route: route as usize,
                guest,
            };
            if session.is_none() || guest.is_some() {
                self.timers.push(timer);
            }
        }
        let answers = self.hub.take_answers();
        self.answers.extend(answers);
        for order in self.hub.take_close_orders() {
            let guest = self
                .guests
                .iter()
                .position(|g| g.here && g.session == order.session);
            if let Some(guest) = guest.filter(|_| self.hub.order_is_current(&order)) {
                self.guests[guest].closed = Some(order.code);
                self.close(guest, order.code, &order.reason, Initiator::Server);
            }
        }
        for (session, _) in self.hub.take_suspects() {
            let guest = self
                .guests
                .iter()
                .position(|g| g.here && g.session == session);
            if let Some(guest) = guest.filter(|_| self.hub.judge(session)) {
                self.guests[guest].closed = Some(CloseCode::TRY_LATER);
                self.close(
                    guest,
                    CloseCode::TRY_LATER,
                    "slow consumer",
                    Initiator::Server,
                );
            }
        }
        if self.hub.has_orders() {
            self.settle();
        }
        // Guests read when they like, so nobody needs to be reminded.
        while self.hub.next_dirty().is_some() {}
        self.hub.check_invariants();
    }

    fn close(&mut self, guest: Id, code: CloseCode, reason: &str, initiator: Initiator) {
        let Guest {
            session,
            route,
            here: true,
            ..
        } = self.guests[guest]
        else {
            return;
        };
        self.collect(guest);
        self.guests[guest].here = false;
        self.hub.end(session);
        let mut cx = Context::new(&mut self.hub, route as u16, Some(session));
        self.handlers[route].on_close(
            &mut cx,
            CloseInfo {
                code,
                reason,
                initiator,
            },
        );
        self.hub.remove(session);
    }

    fn collect(&mut self, guest: Id) {
        let guest = &mut self.guests[guest];
        while guest.here {
            // As the worker does in front of each write.
            self.hub.feed(guest.session);
            let handler = &*self.handlers[guest.route];
            self.hub.place_gap_marker_of(guest.session, handler);
            if self.hub.outbox_is_empty(guest.session) {
                return;
            }
            let frames = self.hub.outbox_frames(guest.session);
            let bytes = frames.collect::<Vec<_>>().concat();
            self.hub.outbox_advance(guest.session, bytes.len());
            decode(&bytes, &mut guest.got);
        }
    }
}

/// 2026-11-20T10:30:53.557Z.
pub(super) const START_UNIX_MS: u64 = 1_795_170_653_557;

fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Head {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: house\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    match Head::parse(text.as_bytes(), &HeadLimits::default()) {
        Ok(head) => head,
        Err(why) => panic!("{why}: {text}"),
    }
}

fn parameters(params: &[(&str, &str)]) -> Params {
    Params(
        params
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
    )
}

/// Reads unmasked frames of whole messages.
fn decode(mut bytes: &[u8], got: &mut Vec<Got>) {
    while let [first, length, rest @ ..] = bytes {
        let (len, rest) = match (*length, rest) {
            (126, [a, b, rest @ ..]) => (u16::from_be_bytes([*a, *b]) as usize, rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => (
                u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize,
                rest,
            ),
            (len, rest) => (len as usize, rest),
        };
        let (payload, rest) = rest.split_at(len);
        got.push(match first {
            0x81 => Got::Text(
                std::str::from_utf8(payload)
                    .expect("text is UTF-8")
                    .to_owned(),
            ),
            0x82 => Got::Binary(payload.to_vec()),
            other => panic!("a frame that begins with {other:#x}"),
        });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame");
}
