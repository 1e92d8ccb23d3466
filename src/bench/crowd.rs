//! All connections of a run: opened, written to, closed. What they receive is the engine's to read.
//!
//! The life of one:
//!
//! ```text
//!   Gone ──open──▶ Connecting ──writable──▶ Upgrading ──101──▶ Open ──close──▶ Closing ─┐
//!    ▲                 │                        │               │                       │
//!    │              refused,               other status,     the server's close,        │
//!    │              time-out                time-out         reset: a fault      end or time-out:
//!    └─────────────────┴────────────────────────┴───────────────┴──────────────── no fault ┘
//!
//!   Gone ──open_plain──▶ Connecting ──▶ Plain: an HTTP connection for publications by POST
//! ```
//!
//! The rule: a write that fails is not told where it happens but put on the list `broken`, which the engine works
//! off, so a scenario can write whenever it likes.

use std::io::{self, Write};
use std::ops::Range;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::deflate::{self, Deflate};
use super::fault::Fault;
use super::options::Options;
use super::reader::FrameReader;
use super::stamp::{Stamp, Template};
use super::target::{Sources, Target};
use crate::http::{AnswerReader, HeadLimits, HeadSeeker, ResponseHead};
use crate::random::Random;
use crate::ws::{self, CloseCode, Message};

/// How long a server may take to answer our close frame before we hang up.
const CLOSE_TIMEOUT_NS: u64 = 5_000_000_000;
/// An answer to a POST, at most.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where a connection stands; the module's picture.
#[derive(Debug, Default)]
pub(crate) enum State {
    #[default]
    Gone,
    Connecting,
    Upgrading(Box<Upgrading>),
    Open,
    Closing,
    Plain(Box<AnswerReader>),
}

/// The answer to the handshake, as it arrives.
#[derive(Debug)]
pub(crate) struct Upgrading {
    key: String,
    seeker: HeadSeeker,
    bytes: Vec<u8>,
}

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    pub(crate) state: State,
    pub(crate) stream: Option<TcpStream>,
    pub(crate) reader: FrameReader,
    /// Whether it is to be an HTTP connection.
    is_plain: bool,
    /// Whether messages may be compressed: offered and agreed.
    is_deflating: bool,
    /// Whether the server has said close.
    pub(crate) has_heard_close: bool,
    /// When it entered its state.
    since: u64,
    /// When it began to connect.
    pub(crate) dialled: u64,
    /// What of the shared frames is still to be written; it stands before `out`.
    window: Range<usize>,
    /// What is to be written, and how much of it has been.
    out: Vec<u8>,
    written: usize,
}

/// The connections of a run.
#[derive(Debug)]
pub(crate) struct Crowd {
    registry: Registry,
    target: Target,
    /// Where publications by POST go.
    plain: Option<Target>,
    sources: Sources,
    random: Random,
    headers: Vec<(String, String)>,
    subprotocols: Vec<String>,
    first: Vec<String>,
    /// Whether the request offers what browsers offer; the answer may then take it.
    is_browser: bool,
    /// What compresses and inflates, if that is to be offered.
    pub(crate) deflate: Option<Deflate>,
    /// Subscribers, or all but those that publish only; how many of these have agreed to compress.
    ordinary: usize,
    pub(crate) agreed: u64,
    timeout_ns: u64,
    pub(crate) members: Vec<Connection>,
    /// Frames that are the same for all: written from here without a copy.
    pub(crate) windows: Vec<u8>,
    /// Connections that came to an end while something was written.
    pub(crate) broken: Vec<(usize, Fault)>,
    /// How many are on their way to be open.
    pub(crate) opening: usize,
    /// How many WebSockets are open.
    pub(crate) open: usize,
}

impl Crowd {
    pub(crate) fn new(registry: Registry, options: &Options, connections: usize) -> Self {
        Self {
            registry,
            sources: Sources::new(options.source, options.target.address, connections),
            target: options.target.clone(),
            plain: options.publish_target.clone(),
            random: Random::system(),
            headers: options.headers.clone(),
            subprotocols: options.subprotocols.clone(),
            first: options.first.clone(),
            is_browser: options.is_browser(),
            deflate: options.deflate.then(Deflate::default),
            ordinary: connections,
            agreed: 0,
            timeout_ns: options.timeout_ns(),
            members: Vec::new(),
            windows: Vec::new(),
            broken: Vec::new(),
            opening: 0,
            open: 0,
        }
    }

    /// A key for one frame. RFC 6455 §5.3.
    pub(crate) fn mask_key(&mut self) -> [u8; 4] {
        self.random.mask_key()
    }

    /// Begins to open connection `at`.
    pub(crate) fn open(&mut self, at: usize, now: u64) {
        self.begin(at, now, false);
    }

    /// Begins to open connection `at` as one for POST.
    pub(crate) fn open_plain(&mut self, at: usize, now: u64) {
        self.begin(at, now, true);
    }

    fn begin(&mut self, at: usize, now: u64, is_plain: bool) {
        if self.members.len() <= at {
            self.members.resize_with(at + 1, Connection::default);
        }
        let to = match &self.plain {
            Some(plain) if is_plain => plain.address,
            _ => self.target.address,
        };
        self.opening += 1;
        let both = Interest::READABLE | Interest::WRITABLE;
        let dialled = self.sources.dial(to).and_then(|mut stream| {
            self.registry.register(&mut stream, Token(at), both)?;
            Ok(stream)
        });
        let member = &mut self.members[at];
        *member = Connection {
            state: State::Connecting,
            is_plain,
            since: now,
            dialled: now,
            ..Connection::default()
        };
        match dialled {
            Ok(stream) => member.stream = Some(stream),
            Err(error) => self.broken.push((at, Fault::of(&error))),
        }
    }

    /// Connection `at` has shown a sign of life while connecting: true once it is connected, its request sent.
    pub(crate) fn connected(&mut self, at: usize, now: u64) -> Result<bool, Fault> {
        let member = &mut self.members[at];
        let Some(stream) = &member.stream else {
            return Ok(false);
        };
        if let Some(error) = stream.take_error().map_err(|error| Fault::of(&error))? {
            return Err(Fault::of(&error));
        }
        if let Err(error) = stream.peer_addr() {
            return match error.kind() {
                io::ErrorKind::NotConnected => Ok(false),
                _ => Err(Fault::of(&error)),
            };
        }
        member.since = now;
        if member.is_plain {
            member.state = State::Plain(Box::new(answer_reader()));
            self.opening -= 1;
            return Ok(true);
        }
        let key = ws::client_key(self.random.bytes16());
        let mut headers: Vec<_> = self.headers.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        if self.deflate.is_some() {
            headers.push((ws::deflate::HEADER, deflate::OFFER));
        }
        let subprotocols: Vec<_> = self.subprotocols.iter().map(String::as_str).collect();
        let (host, path) = (&self.target.authority, &self.target.path);
        ws::write_request(&mut member.out, host, path, &key, &subprotocols, &headers);
        member.state = State::Upgrading(Box::new(Upgrading {
            key,
            seeker: HeadSeeker::default(),
            bytes: Vec::new(),
        }));
        self.flush(at);
        Ok(true)
    }

    /// Bytes of the answer to the handshake of `at`. Once it is whole, the connection is open and has said its first
    /// words; what came behind the answer is handed back.
    pub(crate) fn answer(
        &mut self,
        at: usize,
        bytes: &[u8],
        now: u64,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let member = &mut self.members[at];
        let State::Upgrading(upgrading) = &mut member.state else {
            return Ok(None);
        };
        upgrading.bytes.extend_from_slice(bytes);
        let limits = HeadLimits::default();
        let fault = |error: crate::http::HttpError| Fault::Answer(error.name());
        let sought = upgrading.seeker.seek(&upgrading.bytes, &limits);
        let Some(end) = sought.map_err(fault)? else {
            return Ok(None);
        };
        let head = ResponseHead::parse(&upgrading.bytes[..end], &limits).map_err(fault)?;
        let subprotocols: Vec<_> = self.subprotocols.iter().map(String::as_str).collect();
        let fault = |error| match error {
            ws::AnswerError::Status(status) => Fault::Status(status),
            other => Fault::Answer(other.name()),
        };
        let (status, key) = (head.status(), &upgrading.key);
        let is_deflating = if self.deflate.is_some() {
            let headers = head.headers();
            ws::check_response_deflating(status, headers, key, &subprotocols, &deflate::MEANT)
                .and_then(|(_, agreed)| deflate::is_agreed(agreed))
                .map_err(fault)?
        } else {
            let may_extend = self.is_browser;
            let headers = head.headers().filter(|(name, _)| {
                !(may_extend && name.eq_ignore_ascii_case(ws::deflate::HEADER))
            });
            ws::check_response(status, headers, key, &subprotocols).map_err(fault)?;
            false
        };
        let rest = upgrading.bytes.split_off(end);
        member.state = State::Open;
        if is_deflating {
            member.is_deflating = true;
            member.reader.allow_compressed();
            self.agreed += u64::from(at < self.ordinary);
        }
        member.since = now;
        self.opening -= 1;
        self.open += 1;
        for text in &self.first {
            let mask = Some(self.random.mask_key());
            ws::encode_message(&mut self.members[at].out, Message::Text(text), mask);
        }
        self.flush(at);
        Ok(Some(rest))
    }

    pub(crate) fn is_open(&self, at: usize) -> bool {
        matches!(self.member(at), Some(State::Open))
    }

    pub(crate) fn is_plain(&self, at: usize) -> bool {
        matches!(self.member(at), Some(State::Plain(_)))
    }

    fn member(&self, at: usize) -> Option<&State> {
        self.members.get(at).map(|member| &member.state)
    }

    /// Whether connection `at` compresses what it sends.
    pub(crate) fn is_deflating(&self, at: usize) -> bool {
        self.members
            .get(at)
            .is_some_and(|member| member.is_deflating)
    }

    /// Appends the message with this stamp to what connection `at` is to send, compressed if that was agreed.
    pub(crate) fn put(&mut self, at: usize, template: &mut Template, stamp: Stamp) {
        let mask = self.mask_key();
        let member = &mut self.members[at];
        match &mut self.deflate {
            Some(deflate) if member.is_deflating => {
                deflate.encode(&mut member.out, template, stamp, mask);
            }
            _ => template.encode(&mut member.out, stamp, mask),
        }
    }

    /// Where to append what connection `at` is to send; [`flush`](Self::flush) sends it.
    pub(crate) fn out(&mut self, at: usize) -> &mut Vec<u8> {
        &mut self.members[at].out
    }

    /// Sends a part of the shared frames on connection `at`.
    pub(crate) fn send_window(&mut self, at: usize, part: Range<usize>) {
        let member = &mut self.members[at];
        if member.window.is_empty() && member.out.is_empty() {
            member.window = part;
        } else {
            member.out.extend_from_slice(&self.windows[part]);
        }
        self.flush(at);
    }

    /// Writes what the socket takes; the rest goes when it is writable again.
    pub(crate) fn flush(&mut self, at: usize) {
        let member = &mut self.members[at];
        let Some(stream) = &mut member.stream else {
            return;
        };
        if matches!(member.state, State::Connecting) {
            return;
        }
        loop {
            let is_window = !member.window.is_empty();
            let bytes = if is_window {
                &self.windows[member.window.clone()]
            } else {
                &member.out[member.written..]
            };
            if bytes.is_empty() {
                member.out.clear();
                member.written = 0;
                return;
            }
            match stream.write(bytes) {
                Ok(taken) if is_window => member.window.start += taken,
                Ok(taken) => member.written += taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.broken.push((at, Fault::of(&error)));
                    return;
                }
            }
        }
    }

    /// Answers a ping. RFC 6455 §5.5.3.
    pub(crate) fn pong(&mut self, at: usize, payload: &[u8]) {
        let mask = Some(self.random.mask_key());
        ws::encode_frame(&mut self.members[at].out, ws::OpCode::Pong, payload, mask);
        self.flush(at);
    }

    /// Begins the closing handshake of `at`, or ends it: then the connection is over once the server ends it.
    pub(crate) fn close(&mut self, at: usize, code: CloseCode, now: u64) {
        let mask = Some(self.random.mask_key());
        let member = &mut self.members[at];
        match member.state {
            State::Open => {
                member.state = State::Closing;
                member.since = now;
                self.open -= 1;
                ws::encode_close(&mut member.out, code, "", mask);
                self.flush(at);
            }
            State::Plain(_) => self.remove(at),
            _ => {}
        }
    }

    /// Forgets connection `at`; its socket is closed with it.
    pub(crate) fn remove(&mut self, at: usize) {
        let member = std::mem::take(&mut self.members[at]);
        match member.state {
            State::Connecting | State::Upgrading(_) => self.opening -= 1,
            State::Open => self.open -= 1,
            State::Gone | State::Closing | State::Plain(_) => {}
        }
    }

    /// Puts whoever has waited too long on the list. Called about once a second.
    pub(crate) fn sweep(&mut self, now: u64) {
        for (at, member) in self.members.iter().enumerate() {
            let (limit, fault) = match member.state {
                State::Connecting | State::Upgrading(_) => (self.timeout_ns, Fault::ConnectTimeOut),
                State::Closing => (CLOSE_TIMEOUT_NS.min(self.timeout_ns), Fault::CloseTimeOut),
                State::Gone | State::Open | State::Plain(_) => continue,
            };
            if now.saturating_sub(member.since) > limit {
                self.broken.push((at, fault));
            }
        }
    }

    /// Whether nothing is connected any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.iter().all(|m| matches!(m.state, State::Gone))
    }
}

/// Takes one answer to a POST.
pub(crate) fn answer_reader() -> AnswerReader {
    AnswerReader::new(HeadLimits::default(), ANSWER_BYTES_MAX)
}
