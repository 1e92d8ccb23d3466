//! The HTTP side of a connection: heads, bodies, routing, answers, and the step to WebSocket.

use super::access::Admitted;
use super::connection::{Connection, Extra, Fate, Http, Incoming, Open, Phase, Stage, Wire};
use super::deadline::after;
use super::proxies::Introduced;
use super::router::NoRoute;
use super::transport::Transport;
use super::wheel::tick_at;
use super::worker::Core;
use super::{ReadOutcome, note_write, read_some};
use crate::http::{self, BodyLength, BodyReader, Head, HttpError, Response};
use crate::hub::{Context, Params, Reply, Request, Ticket, Upgrade};
#[cfg(feature = "deflate")]
use crate::ws::deflate;
use crate::ws::{self, Closing, Role, UpgradeRequest, WebSocket};

/// Requests of one connection in one go. One read may hold thousands, and each may publish.
const REQUESTS_PER_READ: u32 = 64;
/// How long a client may take for its token in a message, where the route has no time-out for first messages.
const TOKEN_TIMEOUT_MS: u64 = 10_000;
/// What going on with such a read counts for in a turn that is bounded in bytes: a turn takes a thousand requests.
const MORE_REQUESTS_BYTES: usize = 64 << 10;

impl Core {
    /// One unit of work for a ready connection; answers how many bytes were read too.
    pub(super) fn work<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        key: u32,
    ) -> (Fate, usize) {
        match &connection.phase {
            Phase::Http(_) => self.work_http(connection, key),
            Phase::Open(open) => {
                if open.wire == Wire::Poll && self.write_earlier(connection) == Fate::Drop {
                    return (Fate::Drop, 0);
                }
                self.work_open(connection, key)
            }
            Phase::Linger { .. } => self.work_linger(connection),
            Phase::Upstream(_) => self.work_upstream(connection, key),
            Phase::Link(_) => self.work_link(connection),
        }
    }

    /// Whether a connection should go (back) onto the ready queue.
    pub(super) fn wants_work<T>(&self, connection: &Connection<T>) -> bool {
        match &connection.phase {
            Phase::Http(http) => {
                let may_write = connection.writable && !http.unwritten().is_empty();
                let may_read = http.is_reading() && !http.is_stalled();
                may_write || (may_read && (connection.readable || http.has_more))
            }
            Phase::Open(open) => {
                let backlog = open.extra.as_ref().is_some_and(|e| !e.backlog.is_empty());
                !open.paused && !open.is_held() && (connection.readable || backlog)
            }
            // Reading finds the end of an idle one; writing goes on when there is room.
            Phase::Upstream(_) => connection.readable,
            Phase::Link(linked) => {
                (connection.readable || linked.has_backlog())
                    && !self.hub.is_link_paused(linked.id())
            }
            Phase::Linger { .. } => connection.readable,
        }
    }

    fn work_http<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        key: u32,
    ) -> (Fate, usize) {
        let was_stalled = self.is_stalled(connection);
        if self.write_http(connection) == Fate::Drop {
            return (Fate::Drop, 0);
        }
        if self.is_stalled(connection) {
            return (Fate::Keep, 0);
        }
        let Phase::Http(http) = &mut connection.phase else {
            return (Fate::Keep, 0);
        };
        if was_stalled || http.has_more {
            // Requests that came while the answers could not be written, or that were too many for one turn, are
            // still in the buffer. Their time begins now.
            http.since = tick_at(self.now.ms);
            return (self.feed(connection, key, &mut []), MORE_REQUESTS_BYTES);
        }
        if !connection.readable || !http.is_reading() {
            return (Fate::Keep, 0);
        }
        let mut receive = std::mem::take(&mut self.receive);
        let result = match read_some(connection, &mut receive, self.now) {
            ReadOutcome::Bytes(n) => {
                self.hub.metrics.received_bytes_total += n as u64;
                (self.feed(connection, key, &mut receive[..n]), n)
            }
            ReadOutcome::Nothing => (Fate::Keep, 0),
            ReadOutcome::End => (self.end_of_requests(connection), 0),
            ReadOutcome::Failed => (Fate::Drop, 0),
        };
        self.receive = receive;
        result
    }

    fn is_stalled<T>(&self, connection: &Connection<T>) -> bool {
        matches!(&connection.phase, Phase::Http(http) if http.is_stalled())
    }

    /// The peer sends nothing more; what it asked for before is still answered.
    fn end_of_requests<T: Transport>(&mut self, connection: &mut Connection<T>) -> Fate {
        let Phase::Http(http) = &mut connection.phase else {
            return Fate::Drop;
        };
        if http.unwritten().is_empty() {
            return Fate::Drop;
        }
        http.stage = Stage::Closing;
        http.since = tick_at(self.now.ms);
        Fate::Keep
    }

    /// Puts fresh bytes behind the ones that wait and goes as far as they reach.
    fn feed<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        key: u32,
        fresh: &mut [u8],
    ) -> Fate {
        let Phase::Http(http) = &mut connection.phase else {
            return Fate::Keep;
        };
        http.has_more = false;
        if http.input.is_empty() {
            if http.answered > 0 && matches!(http.stage, Stage::Head) && !fresh.is_empty() {
                // The first byte of a later request: from here on it has its time.
                http.since = tick_at(self.now.ms);
            }
            return self.advance(connection, key, fresh);
        }
        let mut all = std::mem::take(&mut http.input);
        all.extend_from_slice(fresh);
        self.advance(connection, key, &mut all)
    }

    /// Takes requests out of `data` and answers them; what is left over waits in the connection.
    fn advance<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        key: u32,
        mut data: &mut [u8],
    ) -> Fate {
        let mut heads = 0;
        loop {
            let Phase::Http(http) = &mut connection.phase else {
                return Fate::Keep;
            };
            match &mut http.stage {
                Stage::Proxy => match self.read_introduction(http, &mut connection.account, data) {
                    Introduced::After(end) => data = &mut data[end..],
                    Introduced::NotYet => {
                        http.input.extend_from_slice(data);
                        break;
                    }
                    Introduced::Refused => return Fate::Drop,
                },
                Stage::Head => {
                    if data.is_empty() {
                        break;
                    }
                    if heads == REQUESTS_PER_READ || self.hub.turn_is_full() {
                        // Others have their turn, and what was published goes out before there is more of it.
                        http.has_more = true;
                        http.input.extend_from_slice(data);
                        break;
                    }
                    heads += 1;
                    let end = match http.seeker.seek(data, &self.settings.head) {
                        Ok(Some(end)) => end,
                        Ok(None) => {
                            http.input.extend_from_slice(data);
                            break;
                        }
                        Err(error) => {
                            self.refuse_http(http, error);
                            break;
                        }
                    };
                    let (head, rest) = data.split_at_mut(end);
                    data = rest;
                    let head = match Head::parse(head, &self.settings.head) {
                        Ok(head) => head,
                        Err(error) => {
                            self.refuse_http(http, error);
                            break;
                        }
                    };
                    self.learn_client(http, &head);
                    let found = match self.router.find(http.listener, head.path()) {
                        Ok(found) => found,
                        Err(no_route) => {
                            self.refuse_route(http, &head, no_route);
                            continue;
                        }
                    };
                    if ws::wants_upgrade(head.headers()) {
                        return self.upgrade(connection, key, &head, found.0, &found.1, data);
                    }
                    self.begin_body(http, connection.account, head, found, data.is_empty());
                }
                Stage::Body(incoming) => {
                    match incoming.reader.read(data, &mut incoming.body) {
                        Ok(used) => data = &mut data[used..],
                        Err(error) => {
                            self.refuse_http(http, error);
                            break;
                        }
                    }
                    if !incoming.reader.is_done() {
                        break;
                    }
                    self.call_handler(connection, key);
                    if matches!(connection.phase, Phase::Open(_)) {
                        return self.consume(connection, data);
                    }
                }
                Stage::Waiting { .. } | Stage::Closing => {
                    if !matches!(http.stage, Stage::Closing) {
                        http.input.extend_from_slice(data);
                    }
                    break;
                }
            }
            if self.is_stalled(connection) {
                if self.write_http(connection) == Fate::Drop {
                    return Fate::Drop;
                }
                if self.is_stalled(connection) {
                    if let Phase::Http(http) = &mut connection.phase {
                        http.input.extend_from_slice(data);
                    }
                    break;
                }
            }
        }
        self.write_http(connection)
    }

    /// A head without an upgrade: checks access and prepares for the body.
    fn begin_body(
        &mut self,
        http: &mut Http,
        account: u32,
        head: Head,
        (route, params): (u16, Params),
        body_pending: bool,
    ) {
        let account = self.account_of(http, account);
        let admitted = match self.check_access(http.client, account, &head, false, route) {
            Ok(admitted) => admitted,
            Err(denied) => return self.refuse_access(http, &head, route, denied),
        };
        let prepared = head.body().and_then(|length| {
            let max = self.routes[route as usize].settings.body_bytes_max;
            Ok((BodyReader::new(length, max)?, head.expects_continue()?))
        });
        match prepared {
            Ok((reader, _)) if !reader.is_done() && self.is_short_of_memory() => {
                let refusal = self.short_of_memory();
                self.refuse_for(http, &head, &refusal);
            }
            Ok((reader, expects_continue)) => {
                if expects_continue && !reader.is_done() && body_pending {
                    http.output.extend_from_slice(http::CONTINUE);
                }
                http.since = tick_at(self.now.ms);
                http.stage = Stage::Body(Box::new(Incoming {
                    head,
                    route,
                    params,
                    grant: admitted.grant().cloned(),
                    reader,
                    body: Vec::new(),
                }));
            }
            Err(error) => self.refuse_http(http, error),
        }
    }

    fn call_handler<T>(&mut self, connection: &mut Connection<T>, key: u32) {
        let Phase::Http(http) = &mut connection.phase else {
            return;
        };
        let Stage::Body(incoming) = std::mem::replace(&mut http.stage, Stage::Closing) else {
            return;
        };
        let request = Request {
            head: &incoming.head,
            body: &incoming.body,
            params: &incoming.params,
            peer: http.client,
            grant: incoming.grant.as_deref(),
        };
        let head_only = incoming.head.method() == "HEAD";
        let keep_alive = incoming.head.keep_alive();
        self.hub.metrics.requests_total += 1;
        let mut cx = Context::for_request(&mut self.hub, incoming.route, request.grant);
        match self.routes[incoming.route as usize]
            .handler
            .on_request(&mut cx, &request)
        {
            Reply::Stream(stream) => self.begin_stream(connection, key, &incoming, stream),
            Reply::Now(response) => self.answer(http, response, head_only, keep_alive),
            Reply::Later(ticket) => {
                self.waiting.insert(ticket, (key, connection.generation));
                http.since = tick_at(self.now.ms);
                http.stage = Stage::Waiting {
                    ticket,
                    head_only,
                    keep_alive,
                };
            }
        }
    }

    /// The answer to a request that a handler had put off.
    pub(super) fn answer_late<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        key: u32,
        answered: Ticket,
        response: Response,
    ) -> Fate {
        let Phase::Http(http) = &mut connection.phase else {
            return Fate::Keep;
        };
        match http.stage {
            Stage::Waiting {
                ticket,
                head_only,
                keep_alive,
            } if ticket == answered => {
                self.answer(http, response, head_only, keep_alive);
                self.feed(connection, key, &mut [])
            }
            _ => Fate::Keep,
        }
    }

    /// An opening handshake (RFC 6455 §4.2). Refused ones are answered and closed.
    fn upgrade<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        key: u32,
        head: &Head,
        route: u16,
        params: &Params,
        rest: &mut [u8],
    ) -> Fate {
        let Phase::Http(http) = &mut connection.phase else {
            return Fate::Keep;
        };
        let asked = UpgradeRequest {
            method: head.method(),
            target: head.raw_target(),
            minor_version: head.minor_version(),
            headers: head.headers(),
        };
        let offer = match ws::check(asked) {
            Ok(offer) => offer,
            Err(refusal) => {
                let mut response = Response::problem(refusal.status(), &refusal.to_string());
                for (name, value) in refusal.headers() {
                    response = response.header(*name, *value);
                }
                self.refuse(http, head, response, refusal.name(), None);
                return self.write_http(connection);
            }
        };
        if let Err(refusal) = self.admit(http, &mut connection.account) {
            self.refuse_for(http, head, &refusal);
            return self.write_http(connection);
        }
        let checked = self.check_access(http.client, connection.account, head, true, route);
        let admitted = match checked {
            Ok(admitted) => admitted,
            Err(denied) => {
                self.refuse_access(http, head, route, denied);
                return self.write_http(connection);
            }
        };
        let session = self.hub.open(key, route);
        if let Err(why) = self.grant_session(session, &admitted) {
            self.hub.remove(session);
            let response = Response::problem(503, &why.to_string());
            self.refuse(http, head, response, "user_channel", None);
            return self.write_http(connection);
        }
        let request = Request {
            head,
            body: &[],
            params,
            peer: http.client,
            grant: admitted.grant().map(|grant| &**grant),
        };
        let entry = &mut self.routes[route as usize];
        let mut cx = Context::new(&mut self.hub, route, Some(session));
        #[cfg_attr(
            not(feature = "deflate"),
            expect(unused_mut, reason = "an extension adds a header")
        )]
        let mut accept = match entry.handler.on_upgrade(&mut cx, &request) {
            Upgrade::Accept(accept) => accept,
            Upgrade::Refuse(response) => {
                self.refuse_by_handler(http, head, session, response);
                return self.write_http(connection);
            }
        };
        let wanted = accept.subprotocol.as_deref();
        let subprotocol = match wanted {
            // A token is no protocol, and is not said back.
            Some(wanted) => offer.choices().find(|offered| *offered == wanted),
            None => entry.settings.subprotocols.choose(&offer),
        };
        #[cfg(feature = "deflate")]
        let agreed = {
            let offers = head
                .headers()
                .filter(|(name, _)| name.eq_ignore_ascii_case(deflate::HEADER));
            let deflate = &entry.settings.deflate;
            deflate::negotiate(offers.map(|(_, value)| value), deflate)
                .filter(|agreed| self.hub.agree_deflate(session, agreed, deflate))
        };
        #[cfg(feature = "deflate")]
        if let Some(agreed) = &agreed {
            let value = agreed.to_string();
            accept.headers.push((deflate::HEADER.into(), value.into()));
        }
        #[cfg(not(feature = "deflate"))]
        let ws = WebSocket::new(Role::Server);
        #[cfg(feature = "deflate")]
        let ws = match &agreed {
            Some(agreed) => WebSocket::with_deflate(Role::Server, agreed),
            None => WebSocket::new(Role::Server),
        };
        self.hub.metrics.handshakes_total += 1;
        self.hub.begin_replies(session);
        self.hub.reply_with(|out| {
            out.extend_from_slice(http.unwritten());
            let headers = accept.headers.iter().map(|(n, v)| (n, v));
            ws::write_switching_protocols(out, offer.key, subprotocol, headers);
        });
        self.release_memory(&connection.phase);
        connection.armed = 0; // What was armed was a request's deadline; an open connection's may come sooner.
        let first_ms = self.routes[route as usize]
            .settings
            .first_command_timeout_ms;
        // Whoever owes a token owes it soon, whatever the route says of messages.
        let first_ms = match admitted {
            Admitted::Awaited if first_ms == 0 => TOKEN_TIMEOUT_MS,
            _ => first_ms,
        };
        let extra = (first_ms > 0).then(|| {
            let first_due = after(tick_at(self.now.ms), first_ms);
            Box::new(Extra {
                first_due,
                ..Extra::default()
            })
        });
        connection.phase = Phase::Open(Open {
            ws,
            wire: Wire::Frames,
            session,
            route,
            closing: Closing::Open,
            paused: false,
            held: false,
            since: 0,
            extra,
        });
        let mut cx = Context::new(&mut self.hub, route, Some(session));
        self.routes[route as usize].handler.on_open(&mut cx);
        self.consume(connection, rest)
    }

    fn refuse_route(&mut self, http: &mut Http, head: &Head, no_route: NoRoute) {
        let (response, reason) = match no_route {
            NoRoute::NotFound => (
                Response::problem(404, "nothing is served at this path"),
                "no_route",
            ),
            NoRoute::BadEscape => (
                Response::problem(
                    400,
                    "the path has a percent escape that is broken or not UTF-8",
                ),
                "path_escape",
            ),
        };
        self.refuse(http, head, response, reason, None);
    }

    /// Answers, counts, notes. The connection is kept only if nothing of this request can still be under way:
    /// behind an unread body or a refused upgrade, what follows would be guesswork.
    pub(super) fn refuse(
        &mut self,
        http: &mut Http,
        head: &Head,
        response: Response,
        reason: &'static str,
        why: Option<&str>,
    ) {
        self.hub.metrics.refuse(reason);
        let (client, status) = (http.client, response.status);
        self.notice(reason, || {
            let (method, path) = (head.method(), head.path());
            let mut text = format!("refused {method} {path} from {client}: {status} ({reason})");
            if let Some(why) = why {
                text.push_str(": ");
                text.push_str(why);
            }
            text
        });
        let is_whole = head.body() == Ok(BodyLength::None) && !ws::wants_upgrade(head.headers());
        let keep_alive = is_whole && head.keep_alive();
        self.answer(http, response, head.method() == "HEAD", keep_alive);
    }

    fn refuse_http(&mut self, http: &mut Http, error: HttpError) {
        self.hub.metrics.refuse(error.name());
        // A head that cannot be read names no client.
        let peer = http.peer;
        self.notice(error.name(), || {
            format!(
                "refused a request from {peer}: {} ({error})",
                error.status()
            )
        });
        let mut response = Response::problem(error.status(), &error.to_string());
        for (name, value) in error.headers() {
            response = response.header(*name, *value);
        }
        self.answer(http, response, false, false);
    }

    /// A request has taken too long.
    pub(super) fn http_deadline<T: Transport>(&mut self, connection: &mut Connection<T>) -> Fate {
        let Phase::Http(http) = &mut connection.phase else {
            return Fate::Keep;
        };
        let has_more = connection.queued && (connection.readable || http.has_more);
        match http.stage {
            // It has sent something that we have not read yet: nobody is accused unheard.
            _ if http.is_reading() && has_more => Fate::Keep,
            // Whoever has not said for whom it speaks is not spoken to.
            Stage::Proxy => {
                if !http.input.is_empty() {
                    self.hub.metrics.refuse("proxy_header_timeout");
                }
                Fate::Drop
            }
            Stage::Head | Stage::Body(_) if http.is_stalled() => Fate::Drop,
            Stage::Head if http.input.is_empty() => Fate::Drop,
            Stage::Head | Stage::Body(_) => {
                self.hub.metrics.refuse("request_timeout");
                let response = Response::problem(408, "the request did not arrive whole in time");
                self.answer(http, response, false, false);
                self.write_http(connection)
            }
            Stage::Waiting {
                ticket, head_only, ..
            } => {
                self.waiting.remove(&ticket);
                self.hub.metrics.refuse("reply_timeout");
                let response = Response::problem(504, "the application did not answer in time");
                self.answer(http, response, head_only, false);
                self.write_http(connection)
            }
            Stage::Closing => Fate::Drop,
        }
    }

    /// Writes answers as far as the transport takes them; after the last one our direction is ended.
    pub(super) fn write_http<T: Transport>(&mut self, connection: &mut Connection<T>) -> Fate {
        let Phase::Http(http) = &mut connection.phase else {
            return Fate::Keep;
        };
        while connection.writable && !http.unwritten().is_empty() {
            let taken = connection.transport.write(&http.output[http.written..]);
            let Ok(taken) = note_write(taken, &mut connection.writable) else {
                return Fate::Drop;
            };
            http.written += taken;
            self.hub.metrics.sent_bytes_total += taken as u64;
            if taken > 0 && (matches!(http.stage, Stage::Closing) || http.is_stalled()) {
                // It waits for its reader, and that one is reading.
                http.since = tick_at(self.now.ms);
            }
        }
        if !http.unwritten().is_empty() {
            http.forget_written();
            return Fate::Keep;
        }
        http.output = Vec::new();
        http.written = 0;
        if matches!(http.stage, Stage::Closing) {
            self.linger(connection)
        } else {
            Fate::Keep
        }
    }

    /// Ends our direction; what the peer still sends is read and thrown away until it ends too.
    pub(super) fn linger<T: Transport>(&mut self, connection: &mut Connection<T>) -> Fate {
        if connection.transport.close_write().is_err() {
            return Fate::Drop;
        }
        self.release_memory(&connection.phase);
        connection.phase = Phase::Linger {
            since: tick_at(self.now.ms),
        };
        Fate::Keep
    }

    fn work_linger<T: Transport>(&mut self, connection: &mut Connection<T>) -> (Fate, usize) {
        if !connection.readable {
            return (Fate::Keep, 0);
        }
        let mut receive = std::mem::take(&mut self.receive);
        let result = match read_some(connection, &mut receive, self.now) {
            ReadOutcome::Bytes(n) => (Fate::Keep, n),
            ReadOutcome::Nothing => (Fate::Keep, 0),
            ReadOutcome::End | ReadOutcome::Failed => (Fate::Drop, 0),
        };
        self.receive = receive;
        result
    }
}
