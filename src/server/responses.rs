//! Sessions on a response that does not end: server-sent events, and lines (`curl -N`).
//!
//! The same session, handler, limits and outbox as behind a WebSocket, in one direction:
//!
//! ```text
//!   request ─▶ on_request ─▶ Reply::Stream ─▶ (limits of a handshake) ─▶ on_upgrade ─▶ 200, on_open ─▶ messages …
//!                                                                            │
//!                                                                            └─ Refuse ─▶ answer, as for any request
//! ```
//!
//! The end of the body is the end of the connection (RFC 9112 §6.3, rule 8), so a message is the same bytes for every
//! reader and needs no chunk around it. What the client sends behind its request is no message: it is read, counted as
//! one against the route's rate, and thrown away. Its end is the session's. Now and then something goes out that says
//! nothing ([`keep_alive`](Core::keep_alive)); taking it is the only sign of life that a reader gives.

use std::sync::Arc;

use super::connection::{Connection, Fate, Http, Incoming, Open, Phase, Stage, Wire};
use super::polls::CURSOR;
use super::transport::Transport;
use super::wheel::tick_at;
use super::worker::Core;
use crate::http::{Head, Response};
use crate::hub::{Accept, Context, Request, Stream, Upgrade};
use crate::ws::{Closing, Role, WebSocket};

impl Core {
    /// A handler has answered with a stream: the connection becomes a session, unless somebody has something against it.
    pub(super) fn begin_stream<T>(
        &mut self,
        connection: &mut Connection<T>,
        key: u32,
        incoming: &Incoming,
        stream: Stream,
    ) {
        if let Stream::Poll { waits } = stream {
            return self.begin_poll(connection, key, incoming, waits);
        }
        let Phase::Http(http) = &mut connection.phase else {
            return;
        };
        let (head, route) = (&incoming.head, incoming.route);
        if head.method() == "HEAD" {
            let response = head_of(stream, Accept::default());
            self.push_head(&mut http.output, &response);
            http.answered += 1;
            http.stage = Stage::Closing;
            http.since = tick_at(self.now.ms);
            return;
        }
        if let Err(refusal) = self.admit(http, &mut connection.account) {
            return self.refuse_for(http, head, &refusal);
        }
        let Some((session, accept)) = self.let_in(http, key, incoming, stream) else {
            return;
        };
        self.hub.metrics.streams_total += 1;
        let mut first = http.unwritten().to_vec();
        let begins = accept.headers.iter().find(|(name, _)| name == CURSOR);
        let begins = begins.map(|(_, tag)| tag.trim_matches('"').to_owned());
        self.push_head(&mut first, &head_of(stream, accept));
        if stream == Stream::Events {
            // Before anything else, so that it holds for the first reconnection too. An event without data is not
            // dispatched, but its id is remembered (WHATWG HTML §9.2.6).
            let ms = self.routes[route as usize].settings.stream_retry_ms;
            first.extend_from_slice(format!("retry: {ms}\n").as_bytes());
            if let Some(begins) = begins {
                first.extend_from_slice(format!("id: {begins}\n").as_bytes());
            }
            first.push(b'\n');
        }
        self.hub.begin_replies(session);
        self.hub.reply_with(|out| out.extend_from_slice(&first));
        self.release_memory(&connection.phase);
        connection.armed = 0;
        connection.life = tick_at(self.now.ms);
        connection.phase = Phase::Open(Open {
            ws: WebSocket::new(Role::Server),
            wire: Wire::Response,
            session,
            route,
            closing: Closing::Open,
            paused: false,
            held: false,
            since: 0,
            extra: None,
        });
        let mut cx = Context::new(&mut self.hub, route, Some(session));
        self.routes[route as usize].handler.on_open(&mut cx);
    }

    /// A session for a request, if its handler wants one; if not, the request is answered.
    pub(super) fn let_in(
        &mut self,
        http: &mut Http,
        key: u32,
        incoming: &Incoming,
        stream: Stream,
    ) -> Option<(u32, Accept)> {
        let (head, route) = (&incoming.head, incoming.route);
        let session = self.hub.open_for_stream(key, route, stream);
        if let Some(grant) = &incoming.grant
            && let Err(why) = self.hub.admit(session, Arc::clone(grant))
        {
            self.hub.remove(session);
            let response = Response::problem(503, &why.to_string());
            self.refuse(http, head, response, "user_channel", None);
            return None;
        }
        let request = Request {
            head,
            body: &incoming.body,
            params: &incoming.params,
            peer: http.client,
            grant: incoming.grant.as_deref(),
        };
        let entry = &mut self.routes[route as usize];
        let mut cx = Context::new(&mut self.hub, route, Some(session));
        match entry.handler.on_upgrade(&mut cx, &request) {
            Upgrade::Accept(accept) => Some((session, accept)),
            Upgrade::Refuse(response) => {
                self.refuse_by_handler(http, head, session, response);
                None
            }
        }
    }

    /// A handler does not want a session that was opened for it.
    pub(super) fn refuse_by_handler(
        &mut self,
        http: &mut Http,
        head: &Head,
        session: u32,
        response: Response,
    ) {
        self.hub.remove(session);
        // A handler's own limits are told as ours are; what it says otherwise may not be for the log.
        let is_limit = matches!(response.status, 429 | 503);
        let why = response.detail().filter(|_| is_limit).map(str::to_owned);
        self.refuse(http, head, response, "handler", why.as_deref());
    }

    /// Throws away what the reader of a stream says, and writes what is there for it.
    pub(super) fn consume_nothing<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        data: &[u8],
    ) -> Fate {
        if let Phase::Open(open) = &mut connection.phase
            && !data.is_empty()
            && open.closing.is_open()
        {
            self.charge_message(open);
        }
        if self.write_replies(connection) == Fate::Drop {
            return Fate::Drop;
        }
        self.after_write(connection)
    }

    /// Shows the reader of a stream, and everybody in between, that it has not ended. Until some of it is taken nobody
    /// knows whether there is still a reader.
    pub(super) fn keep_alive(&mut self, open: &mut Open) {
        open.since = tick_at(self.now.ms);
        self.hub.push_keep_alive(open.session);
    }
}

/// The head of a stream. A cache would keep a moment for the whole, and nginx what it should pass on.
fn head_of(stream: Stream, accept: Accept) -> Response {
    let mut response = Response::new(200)
        .header("Content-Type", stream.content_type())
        .header("Cache-Control", "no-cache")
        .header("X-Accel-Buffering", "no")
        // Lines are what somebody has published, and no page of ours.
        .header("X-Content-Type-Options", "nosniff");
    response.headers.extend(accept.headers);
    response
}
