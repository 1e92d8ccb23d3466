//! Sessions that are over with their first messages: long polls and interval polls.
//!
//! ```text
//!   request ─▶ on_request ─▶ Reply::Stream(Poll) ─▶ on_upgrade ─▶ on_open
//!                                                                   │
//!             ┌──────────────┬──────────────────┬───────────────────┤
//!             ▼              ▼                  ▼                   ▼
//!         something      nothing, and       poll_timeout_ms      a close
//!         is queued      it does not wait   have gone by         of ours
//!             │              │                  │                   │
//!            200            204                204              503, 401 or 403 (200, if something is queued)
//!             └──────────────┴────── on_close ──┴───────────────────┘
//!                                       │
//!                                       ▼
//!                     the connection speaks HTTP as before, and the next request may come
//! ```
//!
//! While it waits it is a subscriber like any other, so publications reach it, it is counted and listed, and it is told to
//! go when the others are. What is queued for it in one turn is one answer. Where the next request goes on is the
//! `ETag` of the answer and a member of its body; what is published between two requests only a history has.

use super::connection::{Connection, Extra, Fate, Http, Incoming, Open, Phase, Wire};
use super::note_write;
use super::transport::Transport;
use super::wheel::tick_at;
use super::worker::Core;
use crate::http::Response;
use crate::hub::{Accept, Context, Initiator, Stream};
use crate::ws::{CloseCode, Closing, Role, WebSocket};

/// A request that waits for messages.
#[derive(Debug)]
pub(crate) struct Poll {
    /// What its connection was and will be.
    http: Http,
    /// Headers of the answer.
    accept: Accept,
    keep_alive: bool,
    /// It is answered at once, if it is with nothing.
    is_impatient: bool,
    /// It is answered as soon as all that there is has been looked at.
    is_due: bool,
    /// The request said what it has (`If-None-Match`), so that there is a word for nothing new: 304.
    is_conditional: bool,
    /// Why it is told to go.
    closed: Option<(CloseCode, Box<str>)>,
}

impl Poll {
    pub(crate) fn held_bytes(&self) -> usize {
        self.http.input.capacity() + self.http.output.capacity()
    }

    /// Notes why it is told to go.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str) {
        self.closed.get_or_insert((code, reason.into()));
    }
}

/// Requests that a client may send before it has its answer are kept up to this; then it is not read from.
const AHEAD_BYTES_MAX: usize = 4 << 10;
/// The header that says where the next request goes on.
pub(super) const CURSOR: &str = "ETag";
/// When to come back after a close.
const RETRY_AFTER_SECONDS: &str = "1";

impl Core {
    /// A handler has answered with a poll: the connection is a session's until there is something for it.
    pub(super) fn begin_poll<T>(
        &mut self,
        connection: &mut Connection<T>,
        key: u32,
        incoming: &Incoming,
        waits: bool,
    ) {
        let Phase::Http(http) = &mut connection.phase else {
            return;
        };
        let (head, route) = (&incoming.head, incoming.route);
        if let Err(refusal) = self.admit_poll() {
            return self.refuse_for(http, head, &refusal);
        }
        let stream = Stream::Poll { waits };
        let Some((session, accept)) = self.let_in(http, key, incoming, stream) else {
            return;
        };
        self.release_memory(&connection.phase);
        let since = tick_at(self.now.ms);
        let open = Open {
            ws: WebSocket::new(Role::Server),
            wire: Wire::Poll,
            session,
            route,
            closing: Closing::Open,
            paused: false,
            held: false,
            since,
            extra: None,
        };
        let Phase::Http(mut http) = std::mem::replace(&mut connection.phase, Phase::Open(open))
        else {
            return;
        };
        http.accounted = 0;
        let poll = Poll {
            http: *http,
            accept,
            keep_alive: head.keep_alive(),
            is_impatient: !waits,
            is_due: false,
            is_conditional: head.header("if-none-match").is_some(),
            closed: None,
        };
        if let Phase::Open(open) = &mut connection.phase {
            open.extra = Some(Box::new(Extra {
                poll: Some(Box::new(poll)),
                ..Extra::default()
            }));
        }
        connection.armed = 0;
        let mut cx = Context::new(&mut self.hub, route, Some(session));
        self.routes[route as usize].handler.on_open(&mut cx);
    }

    /// Writes the answers to what was asked before the poll, as far as the transport takes them.
    pub(super) fn write_earlier<T: Transport>(&mut self, connection: &mut Connection<T>) -> Fate {
        let Phase::Open(open) = &mut connection.phase else {
            return Fate::Keep;
        };
        let Some(poll) = open.extra.as_mut().and_then(|extra| extra.poll.as_mut()) else {
            return Fate::Keep;
        };
        let http = &mut poll.http;
        while connection.writable && !http.unwritten().is_empty() {
            let taken = connection.transport.write(http.unwritten());
            let Ok(taken) = note_write(taken, &mut connection.writable) else {
                return Fate::Drop;
            };
            http.written += taken;
            self.hub.metrics.sent_bytes_total += taken as u64;
        }
        if http.unwritten().is_empty() {
            http.output = Vec::new();
            http.written = 0;
        }
        Fate::Keep
    }

    /// What came behind the request of a poll waits until that is answered.
    pub(super) fn consume_ahead<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        data: &[u8],
    ) -> Fate {
        // There are no replies: what a handler says to a poll is its answer.
        if self.write_replies(connection) == Fate::Drop
            || self.write_earlier(connection) == Fate::Drop
        {
            return Fate::Drop;
        }
        let Phase::Open(open) = &mut connection.phase else {
            return Fate::Keep;
        };
        if let Some(poll) = open.extra.as_mut().and_then(|extra| extra.poll.as_mut()) {
            poll.http.input.extend_from_slice(data);
            open.paused = poll.http.input.len() > AHEAD_BYTES_MAX;
            if poll.is_impatient {
                return self.answer_poll(connection, true);
            }
        }
        Fate::Keep
    }

    /// Answers a poll if there is something for it, or in any case (`at_last`). Its session is over then.
    pub(super) fn answer_poll<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        at_last: bool,
    ) -> Fate {
        let Phase::Open(open) = &mut connection.phase else {
            return Fate::Keep;
        };
        let (session, route) = (open.session, open.route);
        // Behind the marker of a gap comes what is there.
        for _ in 0..2 {
            self.hub.feed(session);
            let handler = &*self.routes[route as usize].handler;
            self.hub.place_gap_marker_of(session, handler);
        }
        let (items, last) = self.hub.items_for(session);
        let is_nothing = items.is_empty() && open.closing.is_open();
        let Some(extra) = open.extra.as_mut() else {
            return Fate::Drop;
        };
        if let Some(poll) = &mut extra.poll {
            poll.is_due |= at_last;
            if is_nothing && (!poll.is_due || self.hub.looks_on(session)) {
                return Fate::Keep;
            }
        }
        let Some(poll) = extra.poll.take() else {
            return Fate::Drop;
        };
        let Poll {
            mut http,
            accept,
            keep_alive,
            is_conditional,
            closed,
            ..
        } = *poll;
        let response = match closed {
            Some((code, reason)) if items.is_empty() => refusal(code, &reason),
            _ => answer(accept, &items, last, is_conditional),
        };
        self.hub.metrics.polls_total += 1;
        self.end_session(session, route, CloseCode::NORMAL, "", Initiator::Server);
        self.hub.remove(session);
        self.release_memory(&connection.phase);
        self.answer(&mut http, response, false, keep_alive);
        http.has_more = !http.input.is_empty();
        connection.phase = Phase::Http(Box::new(http));
        connection.armed = 0;
        self.write_http(connection)
    }
}

/// What there was for a poll.
fn answer(accept: Accept, items: &[u8], last: Option<String>, is_conditional: bool) -> Response {
    let Accept { mut headers, .. } = accept;
    // It begins where the handler says, and is moved on.
    let cursor = headers.iter_mut().find(|(name, _)| name == CURSOR);
    let position = cursor.map(|(_, value)| {
        if let Some(last) = last {
            *value = format!("\"{last}\"").into();
        }
        value.trim_matches('"').to_owned()
    });
    let mut response = if items.is_empty() {
        Response::new(if is_conditional { 304 } else { 204 })
    } else {
        let mut body = b"{\"messages\":[".to_vec();
        // Each item has a comma behind it.
        body.extend_from_slice(items.strip_suffix(b",").unwrap_or(items));
        body.push(b']');
        if let Some(position) = position {
            body.extend_from_slice(format!(",\"position\":\"{position}\"").as_bytes());
        }
        body.push(b'}');
        Response::json(200, body)
    };
    response.headers.extend(headers);
    response.header("Cache-Control", "no-store")
}

/// Why a poll gets nothing.
fn refusal(code: CloseCode, reason: &str) -> Response {
    match code.0 {
        4401 => Response::problem(401, reason).header("WWW-Authenticate", "Bearer"),
        1008 | 4403 => Response::problem(403, reason),
        _ => Response::problem(503, reason).header("Retry-After", RETRY_AFTER_SECONDS),
    }
}
