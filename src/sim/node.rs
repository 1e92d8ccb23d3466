//! The far side of links: a server that a script drives, and the sockets that lead to it.
//!
//! ```text
//!   Worker::next_want ──▶ connecting ──connect_ms──▶ connected ──▶ (handshake) ──▶ hears and says
//!                            │ down: refused             │ the script ends, closes or resets it at any time
//! ```
//!
//! It reads everything as soon as it comes and writes it down. What it says by itself is what it was told with
//! [`behave`](NodeHandle::behave), and pongs.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::peer::Received;
use super::socket::{Faults, SimSocket, Wire};
use super::world::Inner;
use crate::http::{Head, HeadLimits, HeadSeeker};
use crate::values::Values;
use crate::ws::{self, CloseCode, Event, Limits, OpCode, Role, WebSocket};

/// Says what comes back for a message.
type Behave = Box<dyn FnMut(&str) -> Vec<String>>;

/// The server.
pub(crate) struct Node {
    ends: Vec<End>,
    made: usize,
    heard: Vec<Received>,
    pings: usize,
    behave: Behave,
    is_down: bool,
    /// It answers handshakes with this status and not with 101.
    refuses: Option<u16>,
    /// It takes connections and says nothing on them, no pong either.
    is_silent: bool,
    connect_ms: u64,
    /// Most bytes that reach the worker at once.
    cut: usize,
    /// What sockets to it do to the worker.
    pub(crate) faults: Faults,
}

#[derive(Debug)]
struct End {
    key: usize,
    wire: Rc<RefCell<Wire>>,
    /// When connecting ends; `None`: it has.
    connecting: Option<u64>,
    speech: Speech,
    out: VecDeque<u8>,
    ends: bool,
}

#[derive(Debug)]
enum Speech {
    Handshake(HeadSeeker, Vec<u8>),
    WebSocket(WebSocket),
    Values(Values),
    Over,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("ends", &self.ends).finish()
    }
}

impl Node {
    pub(crate) fn new() -> Self {
        Self {
            ends: Vec::new(),
            made: 0,
            heard: Vec::new(),
            pings: 0,
            behave: Box::new(|_| Vec::new()),
            is_down: false,
            refuses: None,
            is_silent: false,
            connect_ms: 0,
            cut: usize::MAX,
            faults: Faults::default(),
        }
    }

    /// A socket for the worker, which will have it under `key`; `None`: nobody listens.
    pub(crate) fn connect(&mut self, key: usize, is_unix: bool, now_ms: u64) -> Option<SimSocket> {
        self.made += 1;
        if self.is_down && self.connect_ms == 0 {
            return None;
        }
        let (socket, wire) = SimSocket::pair(64 << 10);
        wire.borrow_mut().faults = self.faults;
        wire.borrow_mut().begin_connecting();
        self.ends.push(End {
            key,
            wire,
            connecting: Some(now_ms + self.connect_ms),
            speech: if is_unix {
                Speech::Values(Values::new(64 << 20))
            } else {
                Speech::Handshake(HeadSeeker::default(), Vec::new())
            },
            out: VecDeque::new(),
            ends: false,
        });
        Some(socket)
    }

    /// When somebody here has something to do.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.ends.iter().filter_map(|end| end.connecting).min()
    }

    /// Edges for the worker.
    pub(crate) fn edges(&mut self) -> Vec<(usize, super::socket::Edge)> {
        let edges = self.ends.iter().map(|end| (end.key, &end.wire));
        edges
            .filter_map(|(key, wire)| Some((key, wire.borrow_mut().take_edge()?)))
            .collect()
    }

    /// Reads, answers and writes; `true` if anything moved.
    pub(crate) fn exchange(&mut self, now_ms: u64) -> bool {
        let mut moved = false;
        for at in 0..self.ends.len() {
            let mut end = self.ends.swap_remove(at);
            moved |= self.work(&mut end, now_ms);
            self.ends.push(end);
            let last = self.ends.len() - 1;
            self.ends.swap(at, last);
        }
        self.ends.retain(|end| !end.wire.borrow().gone);
        moved
    }

    fn work(&mut self, end: &mut End, now_ms: u64) -> bool {
        if let Some(at) = end.connecting {
            if now_ms < at {
                return false;
            }
            end.connecting = None;
            if self.is_down {
                end.wire.borrow_mut().reset_by_peer();
            } else {
                end.wire.borrow_mut().end_connecting();
            }
            return true;
        }
        let mut bytes = Vec::new();
        let mut moved = end.wire.borrow_mut().collect(usize::MAX, &mut bytes) > 0;
        if !self.is_silent {
            self.hear(end, &mut bytes);
        }
        moved |= end.wire.borrow_mut().deliver(&mut end.out, self.cut) > 0;
        if end.ends && end.out.is_empty() {
            end.ends = false;
            end.wire.borrow_mut().end_by_peer();
            moved = true;
        }
        moved
    }

    fn hear(&mut self, end: &mut End, mut bytes: &mut [u8]) {
        if let Speech::Handshake(seeker, input) = &mut end.speech {
            input.extend_from_slice(bytes);
            let limits = HeadLimits::default();
            let Ok(Some(at)) = seeker.seek(input, &limits) else {
                return;
            };
            let answer = match (self.refuses, Head::parse(&input[..at], &limits)) {
                (Some(status), _) => {
                    end.ends = true;
                    format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n")
                }
                (None, Ok(head)) => {
                    let key = head.header("sec-websocket-key").unwrap_or_default();
                    let accept = ws::accept_key(key);
                    let accept = String::from_utf8_lossy(&accept);
                    format!(
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                         Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                    )
                }
                (None, Err(error)) => panic!("no request head: {error}"),
            };
            assert_eq!(at, input.len(), "frames before the 101");
            end.out.extend(answer.as_bytes());
            end.speech = Speech::WebSocket(WebSocket::new(Role::Server));
            return;
        }
        let limits = Limits::for_message_bytes(64 << 20);
        let mut texts = Vec::new();
        match &mut end.speech {
            Speech::WebSocket(ws) => {
                while let Some(event) = ws.next_event(&limits, &mut bytes).transpose() {
                    match event {
                        Ok(Event::Message(ws::Message::Text(text))) => {
                            self.heard.push(Received::Text(text.to_owned()));
                            texts.push(text.to_owned());
                        }
                        Ok(Event::Message(ws::Message::Binary(bytes))) => {
                            self.heard.push(Received::Binary(bytes.to_vec()));
                        }
                        Ok(Event::Ping(payload)) => {
                            self.pings += 1;
                            let mut pong = Vec::new();
                            ws::encode_frame(&mut pong, OpCode::Pong, payload, None);
                            end.out.extend(pong);
                        }
                        Ok(Event::Pong(_)) => {}
                        Ok(Event::Close(code, reason)) => {
                            self.heard.push(Received::Close(code.0, reason.to_owned()));
                            break;
                        }
                        Err(error) => panic!("a link breaks the protocol: {error}"),
                    }
                }
            }
            Speech::Values(values) => {
                let mut input: &[u8] = bytes;
                while let Ok(Some(value)) = values.next(&mut input) {
                    let text = String::from_utf8_lossy(value).into_owned();
                    self.heard.push(Received::Text(text.clone()));
                    texts.push(text);
                }
            }
            Speech::Handshake(..) | Speech::Over => {}
        }
        for text in texts {
            for answer in (self.behave)(&text) {
                end.say(&answer);
            }
        }
    }
}

impl End {
    fn say(&mut self, text: &str) {
        if let Speech::Values(_) = self.speech {
            self.out.extend(text.as_bytes());
            self.out.push_back(b'\n');
        } else {
            let mut frame = Vec::new();
            ws::encode_message(&mut frame, ws::Message::Text(text), None);
            self.out.extend(frame);
        }
    }
}

/// The server that links of a [`World`](super::World) lead to, wherever they were dialled to.
#[derive(Debug, Clone)]
pub struct NodeHandle {
    inner: Rc<RefCell<Inner>>,
}

impl NodeHandle {
    pub(crate) fn new(inner: Rc<RefCell<Inner>>) -> Self {
        Self { inner }
    }

    /// Changes it, and lets everybody act until nothing moves any more.
    fn with(&self, change: impl FnOnce(&mut Node)) {
        let mut inner = self.inner.borrow_mut();
        change(&mut inner.node);
        inner.run();
    }

    /// What it says to each text that it hears, from now on.
    pub fn behave(&self, behave: impl FnMut(&str) -> Vec<String> + 'static) {
        self.with(|node| node.behave = Box::new(behave));
    }

    /// Messages and close frames that it has heard since it was asked last.
    pub fn heard(&self) -> Vec<Received> {
        std::mem::take(&mut self.inner.borrow_mut().node.heard)
    }

    /// Pings that it has heard, ever.
    pub fn pings(&self) -> usize {
        self.inner.borrow().node.pings
    }

    /// Attempts to connect, ever.
    pub fn attempts(&self) -> usize {
        self.inner.borrow().node.made
    }

    /// Connections at the moment.
    pub fn connections(&self) -> usize {
        self.inner.borrow().node.ends.len()
    }

    /// Says something on every connection.
    pub fn say(&self, text: &str) {
        self.with(|node| node.ends.iter_mut().for_each(|end| end.say(text)));
    }

    /// Writes these bytes on every connection.
    pub fn say_bytes(&self, bytes: &[u8]) {
        self.with(|node| node.ends.iter_mut().for_each(|end| end.out.extend(bytes)));
    }

    /// Closes every WebSocket, and the connection behind it.
    pub fn close(&self, code: u16) {
        self.with(|node| {
            for end in &mut node.ends {
                let mut frame = Vec::new();
                ws::encode_close(&mut frame, CloseCode(code), "", None);
                end.out.extend(frame);
                end.ends = true;
                end.speech = Speech::Over;
            }
        });
    }

    /// Ends every connection in order.
    pub fn hang_up(&self) {
        self.with(|node| node.ends.iter_mut().for_each(|end| end.ends = true));
    }

    /// Resets every connection and refuses new ones.
    pub fn down(&self) {
        self.with(|node| {
            node.is_down = true;
            for end in node.ends.iter().filter(|end| end.connecting.is_none()) {
                end.wire.borrow_mut().reset_by_peer();
            }
        });
    }

    /// Listens again.
    pub fn up(&self) {
        self.with(|node| node.is_down = false);
    }

    /// From now on handshakes are answered with this status.
    pub fn refuse(&self, status: Option<u16>) {
        self.with(|node| node.refuses = status);
    }

    /// From now on it hears nothing and says nothing by itself, or does again.
    pub fn silent(&self, is_silent: bool) {
        self.with(|node| node.is_silent = is_silent);
    }

    /// How long connecting takes from now on, and being refused.
    pub fn connect_ms(&self, ms: u64) {
        self.with(|node| node.connect_ms = ms);
    }

    /// At most so many bytes of it reach the server at once.
    pub fn cut(&self, bytes: usize) {
        self.with(|node| node.cut = bytes);
    }
}
