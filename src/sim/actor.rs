//! Peers with a character: what they do next, and what may be done to them.
//!
//! | kind | what it does | what may happen to it |
//! | --- | --- | --- |
//! | polite | commands, answers everything, reads at once | nothing it did not ask for, but the drain |
//! | slow | the same, but stops reading for some seconds or has a tiny window | 1013 too, where the route closes slow ones |
//! | http | requests, pipelined and in pieces | every answer, in order |
//! | rude | broken frames, silence, floods, never reads | anything, as long as others do not suffer |

use std::collections::VecDeque;

use super::chooser::Chooser;
use super::house::{Caller, name_of};
use super::peer::{Peer, Received};
use crate::hub::SlowPolicy;
use crate::ws::{CloseCode, OpCode};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Polite,
    Slow,
    Http,
    Rude,
}

/// An answer that a request is to have.
#[derive(Debug)]
pub(crate) struct Owed {
    pub(crate) status: u16,
    /// `None`: any.
    pub(crate) bytes: Option<usize>,
    /// `None`: any.
    pub(crate) text: Option<String>,
}

/// A peer's character and its memory.
#[derive(Debug)]
pub(crate) struct Actor {
    /// Which peer of the world it is.
    pub(crate) peer: usize,
    /// The number in its path: the application's name for it.
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    /// What its route does with slow readers.
    pub(crate) slow: SlowPolicy,
    /// On the route of large messages, where nobody publishes: its own replies pile up, and it is never slow.
    pub(crate) is_bulk: bool,
    /// On the route that calls the application behind the gateway.
    pub(crate) is_calling: bool,
    /// Has asked for a WebSocket.
    pub(crate) is_ws: bool,
    /// Messages sent that the application has not heard yet.
    pub(crate) sent: VecDeque<Received>,
    /// Commands sent whose answer may be long.
    pub(crate) codes: Vec<u16>,
    /// Answers that are due.
    pub(crate) due: VecDeque<Owed>,
    /// From where it comes.
    pub(crate) caller: Caller,
    /// It was told that it is not wanted.
    pub(crate) refused: bool,
    /// Others with its address were there: it may have been one too many.
    pub(crate) crowded: bool,
    /// It was ended for want of memory.
    pub(crate) was_cut: bool,
    /// It has ended the connection without a closing handshake: it cannot complain.
    pub(crate) broke_off: bool,
    /// When it last received an answer.
    pub(crate) answered_at: u64,
    /// It has asked again after so long a silence that the server may have ended the connection meanwhile.
    pub(crate) asked_late: bool,
    /// It has ended its direction after the requests it had sent.
    pub(crate) last_request_sent: bool,
    /// When it stopped reading.
    pub(crate) stalled_since: Option<u64>,
    /// When it had stopped before it began to read again, until it has had the time to.
    pub(crate) stalled_before: Option<u64>,
    /// The longest it did not read, in milliseconds.
    pub(crate) stalled_longest: u64,
    /// The code of the server's close frame.
    pub(crate) got_close: Option<u16>,
    /// It was told that it broke a rule, or may have been; from then on it sees nothing through.
    pub(crate) misbehaved: bool,
    pings: u32,
    /// The payload of its newest ping, until the pong has come.
    pub(crate) last_ping: Option<Vec<u8>>,
    /// Has said `join` once.
    has_joined: bool,
    /// In the middle of a fragmented message.
    unfinished: Option<(OpCode, Vec<u8>)>,
    /// Its end was looked at.
    pub(crate) is_judged: bool,
}

impl Actor {
    pub(crate) fn new(peer: usize, id: u32, kind: Kind, caller: Caller, now: u64) -> Self {
        Self {
            peer,
            id,
            kind,
            slow: SlowPolicy::Close,
            is_bulk: false,
            is_calling: false,
            is_ws: false,
            sent: VecDeque::new(),
            codes: Vec::new(),
            due: VecDeque::new(),
            caller,
            refused: false,
            crowded: false,
            was_cut: false,
            broke_off: false,
            answered_at: now,
            asked_late: false,
            last_request_sent: false,
            stalled_since: None,
            stalled_before: None,
            stalled_longest: 0,
            got_close: None,
            misbehaved: false,
            pings: 0,
            last_ping: None,
            has_joined: false,
            unfinished: None,
            is_judged: false,
        }
    }

    /// It keeps the rules: every complaint about it would be a bug of ours.
    pub(crate) fn is_polite(&self) -> bool {
        matches!(self.kind, Kind::Polite | Kind::Slow)
    }

    /// Its closing handshake, or its last answer, may be cut if it does not read for so long as to miss it.
    pub(crate) fn may_be_cut_for_stalling(&self) -> bool {
        self.kind == Kind::Slow
            || (self.kind == Kind::Http && (self.last_request_sent || self.crowded))
    }

    /// Large messages through a keyhole would take for ever.
    pub(crate) fn window_min(&self) -> usize {
        if self.is_bulk { 1024 } else { 1 }
    }

    /// Its first bytes.
    pub(crate) fn begin(&mut self, peer: &mut Peer, chooser: &mut Chooser) {
        peer.out.extend(&self.caller.introduction);
        match self.kind {
            Kind::Http => self.request(peer, chooser),
            Kind::Rude if chooser.one_in(3) => {
                self.misbehaved = true;
                peer.out.extend(rude_request(chooser).iter());
            }
            _ => {
                self.is_ws = true;
                let route = match self.slow {
                    _ if self.is_bulk => "bulk",
                    _ if self.is_calling => "call",
                    SlowPolicy::DropOldest => "feed",
                    SlowPolicy::Latest => "last",
                    SlowPolicy::Close => "work",
                };
                let early = if chooser.one_in(4) { "?early=1" } else { "" };
                let target = format!("/{route}/{}{early}", self.id);
                let protocols: &[&str] = if chooser.one_in(4) { &["a", "b"] } else { &[] };
                #[cfg(feature = "deflate")]
                if chooser.one_in(3) {
                    peer.deflate.offer = Some(crate::ws::deflate::ClientOffer {
                        server_no_context_takeover: chooser.one_in(2),
                        server_max_window_bits: chooser.one_in(2).then_some(10),
                        client_keeps_context: chooser.one_in(2),
                    });
                }
                let forwarded = self.caller.forwarded.as_deref();
                let headers: Vec<_> = forwarded
                    .map(|f| ("X-Forwarded-For", f))
                    .into_iter()
                    .collect();
                peer.ask_upgrade(&target, protocols, &headers);
                if chooser.one_in(3) {
                    // Without waiting for the 101.
                    self.command(peer, chooser, 0);
                }
            }
        }
    }

    /// What it does next.
    pub(crate) fn act(&mut self, peer: &mut Peer, chooser: &mut Chooser, others: u32, now: u64) {
        if self.refused {
            return;
        }
        self.asked_late |= self.due.is_empty() && now > self.answered_at + KEEP_ALIVE_MS;
        match self.kind {
            Kind::Http => self.request(peer, chooser),
            Kind::Rude => self.be_rude(peer, chooser, others),
            Kind::Polite | Kind::Slow => self.command(peer, chooser, others),
        }
    }

    fn command(&mut self, peer: &mut Peer, chooser: &mut Chooser, others: u32) {
        if !peer.closing.is_open() || peer.ends {
            return;
        }
        if let Some((opcode, rest)) = self.unfinished.take() {
            return self.go_on(peer, chooser, opcode, rest);
        }
        // A patient client waits for its answers before it asks for more.
        if self.sent.len() >= COMMANDS_IN_FLIGHT {
            return;
        }
        let channel = ["a", "b", "c"][chooser.index(3)];
        let text = match chooser.index(16) {
            0..=14 if self.is_bulk => match chooser.index(2) {
                0 => format!("big {}", chooser.below(60_000)),
                _ => format!("echo {}", "e".repeat(chooser.index(3_000))),
            },
            _ if !self.has_joined => {
                self.has_joined = true;
                format!("join {channel}")
            }
            0..=2 => format!("join {channel}"),
            3 if chooser.one_in(3) => format!("leave {channel}"),
            6..=7 => format!("pubs {channel} {} {}-", chooser.index(30), self.id),
            4..=5 => format!(
                "pub {channel} {}-{}",
                self.id,
                "p".repeat(chooser.index(300))
            ),
            3 | 8 => format!("others {channel} {}", self.id),
            9 => format!("both a+{channel}+c {}", self.id),
            10 => format!("user {}", ["ann", "bob"][chooser.index(2)]),
            11 => format!("big {}", chooser.below(3000)),
            12 => format!("timer {}", chooser.below(30_000)),
            13 if chooser.one_in(10) => {
                let code = [1000, 1001, 3000, 4321][chooser.index(4)];
                self.codes.push(code);
                format!("close {code}")
            }
            14 if chooser.one_in(10) => format!("kick {}", chooser.below(u64::from(others) + 1)),
            15 => return self.control(peer, chooser),
            _ => format!("echo {}", chooser.below(1 << 20)),
        };
        let (message, opcode) = if chooser.one_in(10) {
            let bytes = vec![chooser.below(256) as u8; chooser.index(200)];
            (Received::Binary(bytes.clone()), OpCode::Binary)
        } else {
            (Received::Text(text), OpCode::Text)
        };
        let payload = match &message {
            Received::Text(text) => text.clone().into_bytes(),
            Received::Binary(bytes) => bytes.clone(),
            Received::Close(..) => return,
        };
        self.sent.push_back(message);
        if chooser.one_in(5) {
            self.go_on(peer, chooser, opcode, payload);
        } else {
            peer.send_frame(true, opcode, &payload);
        }
    }

    /// Sends one more fragment; perhaps not the last one.
    fn go_on(&mut self, peer: &mut Peer, chooser: &mut Chooser, opcode: OpCode, rest: Vec<u8>) {
        let cut = chooser.index(rest.len() + 1);
        let (now, later) = rest.split_at(cut);
        if later.is_empty() || chooser.one_in(2) {
            peer.send_frame(false, opcode, now);
            peer.send_frame(true, OpCode::Continuation, later);
        } else {
            peer.send_frame(false, opcode, now);
            self.unfinished = Some((OpCode::Continuation, later.to_vec()));
        }
    }

    /// Finishes the message it has begun: before time goes by, so that no time-out is its fault.
    pub(crate) fn finish(&mut self, peer: &mut Peer) {
        if let Some((opcode, rest)) = self.unfinished.take()
            && peer.closing.is_open()
            && !peer.ends
        {
            peer.send_frame(true, opcode, &rest);
        }
    }

    fn control(&mut self, peer: &mut Peer, chooser: &mut Chooser) {
        let mut payload = vec![b'.'; chooser.index(120)];
        if chooser.one_in(3) {
            peer.send_frame(true, OpCode::Pong, &payload);
        } else {
            self.pings += 1;
            payload.extend(self.pings.to_be_bytes());
            peer.send_frame(true, OpCode::Ping, &payload);
            self.last_ping = Some(payload);
        }
    }

    /// Begins the closing handshake.
    pub(crate) fn close(&mut self, peer: &mut Peer, chooser: &mut Chooser) {
        if self.kind == Kind::Http {
            peer.ends = true;
            self.last_request_sent = true;
            return;
        }
        if !self.is_ws || !peer.closing.is_open() || self.unfinished.is_some() {
            return;
        }
        let code = [1000, 1001, 3999, 4000, 1005][chooser.index(5)];
        self.codes.push(code);
        peer.send_close(CloseCode(code), "");
        if chooser.one_in(3) {
            // Some clients end their direction right behind the close frame, and go on reading.
            peer.ends = true;
        }
    }

    /// Goes away without a word.
    pub(crate) fn break_off(&mut self, peer: &mut Peer, chooser: &mut Chooser) {
        self.broke_off = true;
        if chooser.one_in(2) {
            peer.ends = true;
        } else {
            peer.out.clear();
            peer.was_reset = true;
            peer.wire.borrow_mut().reset_by_peer();
        }
    }

    fn request(&mut self, peer: &mut Peer, chooser: &mut Chooser) {
        if self.last_request_sent || self.due.len() >= REQUESTS_IN_FLIGHT {
            return;
        }
        let length = chooser.index(2000);
        let body = "b".repeat(length);
        let mut text = None;
        let (request, status, answered) = match chooser.index(8) {
            0 | 1 => (
                format!(
                    "POST /http/echo HTTP/1.1\r\nHost: sim\r\nContent-Length: {length}\r\n\r\n{body}"
                ),
                200,
                length,
            ),
            2 => {
                let (one, two) = body.split_at(chooser.index(length + 1));
                let mut chunks = String::new();
                for chunk in [one, two].into_iter().filter(|c| !c.is_empty()) {
                    chunks += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
                }
                (
                    format!(
                        "POST /http/echo HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
                    ),
                    200,
                    length,
                )
            }
            3 => {
                let ms = chooser.below(5000);
                (
                    format!("GET /http/later?ms={ms} HTTP/1.1\r\nHost: sim\r\n\r\n"),
                    200,
                    5,
                )
            }
            4 => (
                "GET /http/big HTTP/1.1\r\nHost: sim\r\n\r\n".to_owned(),
                200,
                40_000,
            ),
            5 => (
                "GET /http/echo HTTP/1.1\r\nHost: sim\r\n\r\n".to_owned(),
                200,
                0,
            ),
            6 => {
                let name = name_of(self.caller.client);
                let length = name.len();
                text = Some(name);
                (
                    "GET /http/who HTTP/1.1\r\nHost: sim\r\n\r\n".to_owned(),
                    200,
                    length,
                )
            }
            _ if chooser.one_in(4) => {
                self.last_request_sent = true;
                (
                    "GET /nowhere HTTP/1.1\r\nHost: sim\r\n\r\n".to_owned(),
                    404,
                    usize::MAX,
                )
            }
            _ => (
                "HEAD /http/big HTTP/1.1\r\nHost: sim\r\n\r\n".to_owned(),
                200,
                0,
            ),
        };
        peer.heads.push_back(request.starts_with("HEAD"));
        self.due.push_back(Owed {
            status,
            bytes: Some(answered).filter(|bytes| *bytes != usize::MAX),
            text,
        });
        let request = match &self.caller.forwarded {
            None => request,
            Some(list) => {
                let line = format!("\r\nX-Forwarded-For: {list}\r\n");
                request.replacen("\r\n", &line, 1)
            }
        };
        peer.out.extend(request.as_bytes());
    }

    fn be_rude(&mut self, peer: &mut Peer, chooser: &mut Chooser, others: u32) {
        if !self.is_ws || chooser.one_in(3) {
            if !self.misbehaved {
                return self.command(peer, chooser, others);
            }
            return peer.out.extend([b'?'; 7]);
        }
        self.misbehaved = true;
        match chooser.index(14) {
            0 => peer.out.extend(b"\x81\x05hello"),
            1 => peer.out.extend(b"\xC1\x80\0\0\0\0"),
            2 => peer.out.extend(b"\x83\x80\0\0\0\0"),
            3 => peer.out.extend(b"\x81\xFF\0\0\0\xFF\0\0\0\0\0\0\0\0"),
            4 => peer.out.extend(b"\x81\xFE\0\x01\0\0\0\0x"),
            5 => peer.out.extend(b"\x88\x81\0\0\0\0\x03"),
            6 => peer.out.extend(b"\x81\x82\0\0\0\0\xFF\xFF"),
            7 => peer.out.extend(b"\x09\x80\0\0\0\0"),
            8 => peer.out.extend(b"\x80\x80\0\0\0\0"),
            9 => peer.out.extend(b"\x01\x84\0\0\0\0"),
            10 => peer.reading = false,
            11 => {
                peer.pongs = false;
                peer.answers_close = false;
                peer.hangs_up = chooser.one_in(2);
            }
            12 => {
                for _ in 0..chooser.index(200) {
                    peer.send_frame(true, OpCode::Ping, b"flood");
                }
            }
            _ => {
                peer.send_close(CloseCode(1000), "");
                peer.send_frame(true, OpCode::Text, b"echo after the end");
            }
        }
    }
}

/// Requests that are wrong, unfinished, or never end.
fn rude_request(chooser: &mut Chooser) -> &'static [u8] {
    let requests: [&[u8]; 12] = [
        b"",
        b"\0\0\0\0",
        b"GET / HTTP/1.1\nHost: sim\n\n",
        b"GET /work/1 HTTP/1.1\r\nHost: sim\r\n",
        b"GET /work/1 HTTP/1.1\r\n\r\n",
        b"GET /work/one HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        b"GET /work/1 HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        b"POST /http/echo HTTP/1.1\r\nHost: sim\r\nContent-Length: 9999999\r\n\r\n",
        b"POST /http/echo HTTP/1.1\r\nHost: sim\r\nContent-Length: 10\r\n\r\nhalf",
        b"POST /http/echo HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /http/%FF HTTP/1.1\r\nHost: sim\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xFC",
    ];
    requests[chooser.index(requests.len())]
}

/// Less than the server's keep-alive time, by as long as an answer may have lain unread.
const KEEP_ALIVE_MS: u64 = 54_000;
/// Commands a patient client has under way.
const COMMANDS_IN_FLIGHT: usize = 6;
/// Requests an HTTP client pipelines.
const REQUESTS_IN_FLIGHT: usize = 5;
