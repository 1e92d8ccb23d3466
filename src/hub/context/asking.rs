//! What a handler asks for and is told later: timers, calls, links, answers that it puts off.

use super::Context;
use crate::http::Response;
use crate::hub::session::Marks;
use crate::hub::{Call, ConnId, Dial, Effect, LinkId, Ticket};
use crate::ws::Message;

impl Context<'_> {
    /// Asks for [`on_outcome`](crate::hub::Handler::on_outcome) with `Elapsed` after so many milliseconds, for
    /// this session (nothing is called if it is gone by then) or, without one, for the handler.
    pub fn timer(&mut self, after_ms: u64) -> Ticket {
        let session = self.id();
        self.timer_of(session, after_ms)
    }

    /// As [`timer`](Self::timer), for the handler and not for this session.
    pub fn timer_apart(&mut self, after_ms: u64) -> Ticket {
        self.timer_of(None, after_ms)
    }

    fn timer_of(&mut self, session: Option<ConnId>, after_ms: u64) -> Ticket {
        let ticket = self.hub.ticket();
        self.hub.effects.push(Effect::Timer {
            ticket,
            after_ms,
            route: self.route,
            session,
        });
        ticket
    }

    /// Asks for an HTTP request to an application; see [`Effect::Call`] for the order of calls. While more
    /// calls wait than the server allows, this session is not read from until its own are done: nothing is
    /// dropped.
    pub fn call(&mut self, call: Call) -> Ticket {
        self.call_with(call, false, false)
    }

    /// As [`call`](Self::call), side by side with every other call: the order of answers is open.
    pub fn call_apart(&mut self, call: Call) -> Ticket {
        self.call_with(call, true, false)
    }

    /// As [`call_apart`](Self::call_apart), for somebody who waits for the answer: it does not wait for a server that
    /// cannot be reached, but fails with [`CallError::Unreachable`](crate::hub::CallError::Unreachable) as soon as that is
    /// known, and its time-out begins now and not when it is sent. What is not idempotent (RFC 9110 §9.2.2) goes out
    /// again only where an old connection had ended before anybody could read it.
    pub fn call_now(&mut self, call: Call) -> Ticket {
        self.call_with(call, true, true)
    }

    fn call_with(&mut self, call: Call, apart: bool, now: bool) -> Ticket {
        let ticket = self.hub.ticket();
        let session = self.id();
        self.hub.calls.note_asked(call.bytes());
        self.hub.effects.push(Effect::Call {
            ticket,
            route: self.route,
            session,
            call,
            apart,
            now,
        });
        ticket
    }

    /// Asks for a connection to another server that stays. [`on_link`](crate::hub::Handler::on_link) is told how it went:
    /// with `Open`, then messages, then `Closed` exactly once; or with `Closed` at once.
    pub fn dial(&mut self, dial: Dial) -> LinkId {
        let link = self.hub.links.begin(self.route, &dial);
        self.hub.effects.push(Effect::Dial {
            link,
            route: self.route,
            dial,
        });
        link
    }

    /// Sends on a link. `false`: it is not open (yet, or any more), or too much waits for it already.
    pub fn link_send(&mut self, link: LinkId, message: Message<'_>) -> bool {
        self.hub.links.send(link, message, &mut self.hub.random)
    }

    /// Stops reading from a link, or goes on: for whoever passes on what it says, while that is not taken. What was read
    /// already and not told waits; the other side feels it when its buffers are full.
    pub fn link_pause(&mut self, link: LinkId, paused: bool) {
        self.hub.links.pause(link, paused);
    }

    /// Ends a link, after what was sent on it; `Closed` is still told.
    pub fn link_close(&mut self, link: LinkId) {
        self.hub.links.close(link);
    }

    /// Whether this session's input is held back at the moment (its calls or its replies have piled up), so
    /// that what the client may have said in time has not been heard yet.
    pub fn is_held_back(&self) -> bool {
        self.session
            .and_then(|s| self.hub.sessions.get(s as usize))
            .is_some_and(|s| s.marks.has(Marks::HELD_BACK))
    }

    /// A ticket for a request that will be answered with [`reply`](Self::reply) later.
    pub fn ticket(&mut self) -> Ticket {
        self.hub.ticket()
    }

    /// Answers a request that got [`Reply::Later`](crate::hub::Reply::Later).
    pub fn reply(&mut self, ticket: Ticket, response: Response) {
        self.hub.answers.push((ticket, response));
    }
}
