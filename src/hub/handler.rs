//! The [`Handler`] trait: application code behind a route, and everything it is given or answers.

use std::borrow::Cow;
use std::fmt;

#[cfg(feature = "presence")]
use super::PresenceChange;
use super::{Answered, Call, CallError, ConnId, Context, Dial, LinkEvent, LinkId};
use crate::http::{Head, Response};
use crate::token::Grant;
use crate::ws::{CloseCode, Message};

/// Application code behind one route. One value lives per route and worker, on the worker's thread: no
/// locks, no `Send`. A built-in dialect is a handler like any other and can do nothing that yours cannot.
///
/// For every WebSocket the calls come in this order, whatever happens on the wire:
///
/// ```text
/// on_upgrade ──Accept──▶ on_open ──▶ (on_message | on_outcome)* ──▶ on_close
///     └──────Refuse────▶ (nothing more)                             exactly once
/// ```
///
/// A plain request that is answered with [`Reply::Stream`] goes the same way from `on_upgrade` on. It is a session like
/// any other that never says anything.
///
/// A call must return quickly: every other connection of this worker waits meanwhile.
///
/// ```
/// use dunlin::{Context, Handler, Message};
///
/// struct Echo;
/// impl Handler for Echo {
///     fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
///         cx.send(message);
///     }
/// }
/// ```
pub trait Handler {
    /// A WebSocket opening handshake that is correct so far (RFC 6455 §4.2.1, Origin and keys of the route
    /// checked). The session exists already: what is sent or subscribed here goes out after the 101, and
    /// is forgotten if the handshake is refused.
    ///
    /// It is asked for a plain request too that [`on_request`](Self::on_request) has answered with
    /// [`Reply::Stream`]: one door for all who listen.
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        _ = (cx, request);
        Upgrade::accept()
    }

    /// The session is open.
    fn on_open(&mut self, cx: &mut Context<'_>) {
        _ = cx;
    }

    /// A whole message arrived. Text is valid UTF-8.
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>);

    /// The session is over: called exactly once for each [`on_open`](Self::on_open), also after errors.
    /// Nothing can be sent to it any more.
    fn on_close(&mut self, cx: &mut Context<'_>, close: CloseInfo<'_>) {
        _ = (cx, close);
    }

    /// A plain HTTP request on this route. The default answers 426: this route speaks WebSocket.
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        _ = (cx, request);
        Reply::Now(
            Response::problem(
                426,
                "this URL speaks WebSocket: send an upgrade request (RFC 6455 §4.1)",
            )
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13"),
        )
    }

    /// An effect asked for earlier came to its end.
    fn on_outcome(&mut self, cx: &mut Context<'_>, ticket: Ticket, outcome: Outcome<'_>) {
        _ = (cx, ticket, outcome);
    }

    /// The server is going down, and it is this session's turn to be told. `false`, the default: it is closed with the
    /// route's drain code. `true`: the protocol has words of its own for it, which were sent, and the session ends by
    /// itself; what is left of it when most of the drain's time has gone by is closed like the others.
    fn on_drain(&mut self, cx: &mut Context<'_>) -> bool {
        _ = cx;
        false
    }

    /// Nothing waits to be sent to this session any more, as [`Context::tell_when_drained`] has asked for.
    fn on_drained(&mut self, cx: &mut Context<'_>) {
        _ = cx;
    }

    /// Something happened on a link that this handler has asked for with [`Context::dial`]. There is no session.
    fn on_link(&mut self, cx: &mut Context<'_>, link: LinkId, event: LinkEvent<'_>) {
        _ = (cx, link, event);
    }

    /// Somebody has come into a channel of this handler's name space or left it, where the options ask for it
    /// ([`ChannelOptions::presence`](super::ChannelOptions)). Told at the end of the turn, in order; of several routes of
    /// the space the first that has options for channels is told. Only after [`Context::ask_presence`] there is a session.
    #[cfg(feature = "presence")]
    fn on_presence(&mut self, cx: &mut Context<'_>, channel: &str, change: PresenceChange<'_>) {
        _ = (cx, channel, change);
    }

    /// The text that tells a subscriber how many messages it missed, if that is known: where the oldest are dropped, or
    /// a channel does not keep any more what it asked for. `None`: this protocol has no word for it.
    fn gap_marker(&self, missed: Option<u32>) -> Option<String> {
        _ = missed;
        None
    }

    /// The same for a session that wants places ([`Context::want_places`]): it may know words that others do not.
    #[cfg(feature = "hierachain-history")]
    fn gap_marker_of_placed(&self, missed: Option<u32>) -> Option<String> {
        self.gap_marker(missed)
    }

    /// The name space this handler's channel names live in. Handlers with the same space share channels.
    fn space(&self) -> &str {
        "app"
    }
}

/// The answer to an opening handshake.
#[derive(Debug)]
pub enum Upgrade {
    /// Switch protocols.
    Accept(Accept),
    /// Answer this instead of a 101 and close.
    Refuse(Response),
}

impl Upgrade {
    /// Accept with nothing special.
    pub fn accept() -> Self {
        Self::Accept(Accept::default())
    }

    /// Refuse with a status and a sentence that says why.
    pub fn refuse(status: u16, detail: &str) -> Self {
        Self::Refuse(Response::problem(status, detail))
    }
}

/// What an accepted handshake adds to the 101.
#[derive(Debug, Default)]
pub struct Accept {
    /// The subprotocol to answer. It is only sent if the client offered it; `None` leaves the choice to
    /// the route's policy.
    pub subprotocol: Option<String>,
    /// More header lines for the 101.
    pub headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

/// The answer to a plain HTTP request.
#[derive(Debug)]
pub enum Reply {
    /// This.
    Now(Response),
    /// [`Context::reply`] with this ticket, later. The connection waits, others do not.
    Later(Ticket),
    /// A response that does not end: the connection becomes a session. [`Handler::on_upgrade`] is asked next, with the
    /// same request, and may still refuse; the headers of its [`Accept`] go out with the 200. A request with `HEAD` gets
    /// that head and is no session.
    Stream(Stream),
}

/// In which form a response that does not end carries a session's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stream {
    /// Server-sent events (WHATWG HTML §9.2), as `EventSource` reads them.
    Events,
    /// Each message as it is, with a line feed behind it.
    Lines,
    /// A line for each message: of a publication, its envelope (see [`Context::want_envelopes`]).
    Envelopes,
    /// One answer with what there is for the session, which is over then: `{"messages":[…],"position":"…"}`, and 204 (or
    /// 304) where there is nothing. The `ETag` of the [`Accept`] says where the session begins, and is moved on.
    Poll {
        /// Wait for a message, if there is none yet.
        waits: bool,
    },
}

impl Stream {
    /// The media type of the response.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "text/plain; charset=utf-8",
            Self::Envelopes => "application/x-ndjson",
            Self::Poll { .. } => "application/json",
        }
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Now(response)
    }
}

/// Stands for one pending request or effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub(crate) u64);

/// What a handler asks of the outside; made by methods of [`Context`], carried out by the worker.
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Call `on_outcome` with [`Outcome::Elapsed`] when so much time has gone by.
    Timer {
        /// Returned with the outcome.
        ticket: Ticket,
        /// Milliseconds from now.
        after_ms: u64,
        /// The route whose handler asked.
        route: u16,
        /// The session it is for; if that is gone by then, nothing is called.
        session: Option<ConnId>,
    },
    /// Make an HTTP request, and call `on_outcome` with [`Outcome::Answered`] or [`Outcome::Failed`].
    Call {
        /// Returned with the outcome.
        ticket: Ticket,
        /// The route whose handler asked.
        route: u16,
        /// Calls of one session are made one after the other, in the order they were asked for; those of
        /// different sessions, and those of none, side by side. If the session is gone when the call ends,
        /// the outcome is told without one.
        session: Option<ConnId>,
        /// The request.
        call: Call,
        /// It is made side by side with all others, whatever its session.
        apart: bool,
        /// It is made now or not at all, see [`Context::call_now`].
        now: bool,
    },
    /// Make a link, and tell [`Handler::on_link`] how it went.
    Dial {
        /// Its name.
        link: LinkId,
        /// The route whose handler asked.
        route: u16,
        /// Where to, and within which limits.
        dial: Dial,
    },
}

/// How an effect ended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// The time has gone by.
    Elapsed,
    /// The application has answered a call.
    Answered(Answered<'a>),
    /// A call has no answer.
    Failed(CallError),
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseInfo<'a> {
    /// The code of the close frame: the peer's if it closed, ours if we did;
    /// [`CloseCode::NO_STATUS`] if the frame had none, [`CloseCode::ABNORMAL`] if there was no frame.
    pub code: CloseCode,
    /// The reason that stood beside the code.
    pub reason: &'a str,
    /// Who began.
    pub initiator: Initiator,
}

/// Who began to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiator {
    /// The client.
    Peer,
    /// This server: a handler, a limit, a time-out or the drain.
    Server,
}

/// A request as a handler sees it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Request line and header lines.
    pub head: &'a Head,
    /// The whole body (empty for a handshake).
    pub body: &'a [u8],
    /// Values of the route template's variables.
    pub params: &'a Params,
    /// Where it comes from: the client that a trusted proxy names, else the other end of the transport.
    pub peer: Peer,
    /// What its key or token allows, and to whom; `None`: everything, to anybody.
    pub grant: Option<&'a Grant>,
}

impl<'a> Request<'a> {
    /// For whom the request's key or token was made.
    pub fn user(&self) -> Option<&'a str> {
        self.grant?.user()
    }

    /// The request method, as sent.
    pub fn method(&self) -> &'a str {
        self.head.method()
    }

    /// The path, as sent (still percent-encoded).
    pub fn path(&self) -> &'a str {
        self.head.path()
    }

    /// The first header of that name, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.head.header(name)
    }

    /// The first query parameter of that name, percent-decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        self.head.query_param(name)
    }

    /// The percent-decoded value of a template variable: `group` in `/chat/{group}`.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.get(name)
    }

    /// A template variable as another type; `None` if absent or not parsable.
    pub fn param_as<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.param(name)?.parse().ok()
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No header values, no query string: secrets live there.
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("body_bytes", &self.body.len())
            .field("peer", &self.peer)
            .finish()
    }
}

/// Names and decoded values of a route template's variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(pub(crate) Vec<(Box<str>, String)>);

impl Params {
    /// The value of variable `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| **n == *name)
            .map(|(_, v)| v.as_str())
    }
}

/// The other end of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A TCP peer; an IPv4-mapped IPv6 address is kept as the IPv4 address it means.
    Tcp(std::net::SocketAddr),
    /// A process on this machine, through a Unix socket.
    Unix,
}

impl Peer {
    /// On this machine.
    pub fn is_local(self) -> bool {
        match self {
            Self::Tcp(addr) => addr.ip().is_loopback(),
            Self::Unix => true,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A proxy has named the address alone.
            Self::Tcp(addr) if addr.port() == 0 => addr.ip().fmt(f),
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}
