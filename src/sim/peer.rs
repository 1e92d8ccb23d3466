//! The far end of a simulated connection: what a client does, over our own `ws` client role and `http`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::socket::Wire;
use crate::http::{BodyReader, HeadLimits, HeadSeeker, ResponseBody, ResponseHead};
use crate::random::Random;
use crate::ws::{
    self, CloseCode, Closing, Event, FrameHeader, HEADER_BYTES_MAX, Limits, OpCode, Role, WebSocket,
};

/// What a client has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// The server's close frame: its code (1005 if it had none) and reason.
    Close(u16, String),
}

/// An answer to a plain HTTP request, or to an opening handshake.
#[derive(Debug, Clone)]
pub struct Answer {
    head: ResponseHead,
    body: Vec<u8>,
}

impl Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The head.
    pub fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How far a peer has come.
#[derive(Debug)]
enum Stage {
    /// Speaks HTTP; a handshake with this key is under way, or none.
    Http { key: Option<String> },
    /// Speaks WebSocket.
    Open,
    /// Reads values from a stream, each a line.
    Values,
}

/// One far end.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) wire: Rc<RefCell<Wire>>,
    stage: Stage,
    /// Written and not delivered yet.
    pub(crate) out: VecDeque<u8>,
    /// End our direction when `out` is delivered.
    pub(crate) ends: bool,
    /// Most bytes delivered, and collected, at once.
    pub(crate) cut: usize,
    pub(crate) reading: bool,
    /// Answers pings.
    pub(crate) pongs: bool,
    /// Answers close frames.
    pub(crate) answers_close: bool,
    /// Ends its own direction when the server has ended the other.
    pub(crate) hangs_up: bool,
    /// HTTP bytes not understood yet.
    http: Vec<u8>,
    seeker: HeadSeeker,
    /// The answer whose body is arriving.
    answer: Option<(ResponseHead, BodyReader, Vec<u8>)>,
    /// Whether the next answers are to HEAD requests.
    pub(crate) heads: VecDeque<bool>,
    offered: Vec<String>,
    ws: WebSocket,
    #[cfg(feature = "deflate")]
    pub(crate) deflate: super::deflate::Far,
    pub(crate) closing: Closing,
    pub(crate) subprotocol: Option<String>,
    pub(crate) answers: VecDeque<Answer>,
    pub(crate) inbox: VecDeque<Received>,
    pub(crate) pings_seen: u32,
    pub(crate) pongs_seen: Vec<Vec<u8>>,
    /// The server has ended its direction.
    pub(crate) ended: bool,
    /// The server has cut the connection.
    pub(crate) was_reset: bool,
    /// Its request for a head was refused: what follows may be a body all the same, and is the end.
    is_refused: bool,
    /// What the server did that no server may do.
    pub(crate) complaint: Option<String>,
    random: Random,
}

const LIMITS: Limits = Limits {
    message_bytes_max: 64 << 20,
    frame_bytes_max: 64 << 20,
    fragments_max: u32::MAX,
};

impl Peer {
    pub(crate) fn new(wire: Rc<RefCell<Wire>>, seed: u64) -> Self {
        Self {
            wire,
            stage: Stage::Http { key: None },
            out: VecDeque::new(),
            ends: false,
            cut: usize::MAX,
            reading: true,
            pongs: true,
            answers_close: true,
            hangs_up: true,
            http: Vec::new(),
            seeker: HeadSeeker::default(),
            answer: None,
            heads: VecDeque::new(),
            offered: Vec::new(),
            ws: WebSocket::new(Role::Client),
            #[cfg(feature = "deflate")]
            deflate: Default::default(),
            closing: Closing::Open,
            subprotocol: None,
            answers: VecDeque::new(),
            inbox: VecDeque::new(),
            pings_seen: 0,
            pongs_seen: Vec::new(),
            ended: false,
            was_reset: false,
            is_refused: false,
            complaint: None,
            random: Random::seeded(seed),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Nothing more can come.
    pub(crate) fn is_over(&self) -> bool {
        self.ended || self.was_reset
    }

    /// Writes the request of an opening handshake.
    pub(crate) fn ask_upgrade(
        &mut self,
        target: &str,
        protocols: &[&str],
        headers: &[(&str, &str)],
    ) {
        let key = ws::client_key(self.random.bytes16());
        let mut request = Vec::new();
        #[cfg(feature = "deflate")]
        let offer = self.deflate.header();
        #[cfg(feature = "deflate")]
        let headers: &[(&str, &str)] = &headers
            .iter()
            .copied()
            .chain(offer.iter().map(|(name, value)| (*name, &**value)))
            .collect::<Vec<_>>();
        ws::write_request(&mut request, "sim", target, &key, protocols, headers);
        self.out.extend(request);
        self.offered = protocols.iter().map(|p| (*p).to_owned()).collect();
        self.stage = Stage::Http { key: Some(key) };
    }

    /// Reads a stream of values from now on.
    pub(crate) fn read_values(&mut self) {
        self.stage = Stage::Values;
    }

    /// A 101 is welcome if it answers this key.
    pub(crate) fn expect_upgrade(&mut self, key: &str) {
        self.stage = Stage::Http {
            key: Some(key.to_owned()),
        };
    }

    pub(crate) fn send_frame(&mut self, fin: bool, opcode: OpCode, payload: &[u8]) {
        let key = self.random.mask_key();
        #[cfg(feature = "deflate")]
        if fin && let Some(frame) = self.deflate.encode(opcode, payload, key) {
            self.out.extend(frame);
            return;
        }
        let header = FrameHeader {
            fin,
            rsv: 0,
            opcode,
            mask: Some(key),
            len: payload.len() as u64,
        };
        let mut head = [0; HEADER_BYTES_MAX];
        let taken = header.encode(&mut head);
        self.out.extend(head.iter().take(taken));
        let mut masked = payload.to_vec();
        ws::mask(&mut masked, key, 0);
        self.out.extend(masked);
    }

    /// Begins the closing handshake, or answers it.
    pub(crate) fn send_close(&mut self, code: CloseCode, reason: &str) {
        if self.closing.send() {
            let mut frame = Vec::new();
            ws::encode_close(&mut frame, code, reason, Some(self.random.mask_key()));
            self.out.extend(frame);
        }
    }

    /// Hands bytes to the wire; `true` if any moved, or the end did.
    pub(crate) fn deliver(&mut self, most: usize) -> bool {
        let mut wire = self.wire.borrow_mut();
        let n = wire.deliver(&mut self.out, most.min(self.cut));
        if self.out.is_empty() && self.ends && !(wire.to_server.ended || wire.reset || wire.gone) {
            wire.end_by_peer();
            return true;
        }
        n > 0
    }

    /// Takes bytes from the wire and understands them; `true` if there was any news.
    pub(crate) fn collect(&mut self, most: usize) -> bool {
        if !self.reading || self.is_over() {
            return false;
        }
        let mut bytes = Vec::new();
        let (n, ended) = {
            let mut wire = self.wire.borrow_mut();
            let n = wire.collect(most.min(self.cut), &mut bytes);
            let empty = wire.to_client.bytes.is_empty();
            if empty && wire.reset {
                self.was_reset = true;
            }
            (n, empty && wire.to_client.ended)
        };
        if n > 0 {
            self.understand(&mut bytes);
        }
        if ended && !self.was_reset {
            self.ended = true;
            self.at_end();
        }
        n > 0 || self.is_over()
    }

    fn understand(&mut self, bytes: &mut [u8]) {
        match self.stage {
            Stage::Http { .. } => {
                self.http.extend_from_slice(bytes);
                self.read_answers();
            }
            Stage::Open => self.read_frames(bytes),
            Stage::Values => {
                self.http.extend_from_slice(bytes);
                while let Some(end) = self.http.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.http.drain(..=end).collect();
                    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                    self.inbox.push_back(Received::Text(text));
                }
            }
        }
    }

    fn read_answers(&mut self) {
        let limits = HeadLimits::default();
        loop {
            if self.is_refused && self.answer.is_none() {
                return self.http.clear();
            }
            if let Some((head, mut reader, mut body)) = self.answer.take() {
                match reader.read(&self.http, &mut body) {
                    Ok(used) => drop(self.http.drain(..used)),
                    Err(error) => return self.complain(&format!("a bad body: {error}")),
                }
                if !reader.is_done() {
                    self.answer = Some((head, reader, body));
                    return;
                }
                self.answers.push_back(Answer { head, body });
                continue;
            }
            let end = match self.seeker.seek(&self.http, &limits) {
                Ok(Some(end)) => end,
                Ok(None) => return,
                Err(error) => return self.complain(&format!("a bad head: {error}")),
            };
            let bytes: Vec<u8> = self.http.drain(..end).collect();
            self.seeker = HeadSeeker::default();
            let head = match ResponseHead::parse(&bytes, &limits) {
                Ok(head) => head,
                Err(error) => return self.complain(&format!("a bad head: {error}")),
            };
            if head.status() == 100 {
                continue;
            }
            if head.status() == 101 {
                return self.switch(head);
            }
            let was_head = self.heads.pop_front().unwrap_or(false);
            // Whoever refuses before it has read the request does not know that it is to have no body.
            self.is_refused |= was_head && matches!(head.status(), 429 | 503);
            let reader = head
                .body(was_head)
                .and_then(|length| BodyReader::for_response(length, 64 << 20));
            match reader {
                Ok(reader) => self.answer = Some((head, reader, Vec::new())),
                Err(error) => return self.complain(&format!("a bad length: {error}")),
            }
        }
    }

    fn switch(&mut self, head: ResponseHead) {
        let Stage::Http { key: Some(key) } = &self.stage else {
            return self.complain("101 unasked");
        };
        let offered: Vec<&str> = self.offered.iter().map(String::as_str).collect();
        #[cfg(not(feature = "deflate"))]
        let checked = ws::check_response(101, head.headers(), key, &offered);
        #[cfg(feature = "deflate")]
        let checked = self.deflate.check(&head, key, &offered);
        match checked {
            Ok(chosen) => self.subprotocol = chosen,
            Err(error) => return self.complain(&error.to_string()),
        }
        #[cfg(feature = "deflate")]
        if let Some(agreed) = &self.deflate.agreed {
            self.ws = WebSocket::with_deflate(Role::Client, agreed);
        }
        self.stage = Stage::Open;
        self.answers.push_back(Answer {
            head,
            body: Vec::new(),
        });
        let mut rest = std::mem::take(&mut self.http);
        self.read_frames(&mut rest);
    }

    fn read_frames(&mut self, mut bytes: &mut [u8]) {
        let mut replies: Vec<(OpCode, Vec<u8>)> = Vec::new();
        let mut answer_close = None;
        loop {
            if self.closing.is_done() || self.ws.is_closed() {
                if !bytes.is_empty() {
                    self.complain("bytes after the close frame");
                }
                break;
            }
            #[cfg(not(feature = "deflate"))]
            let event = self.ws.next_event(&LIMITS, &mut bytes);
            #[cfg(feature = "deflate")]
            let event = self.ws.next_event_inflating(
                &LIMITS,
                &mut bytes,
                &mut self.deflate.inflater,
                &mut self.deflate.windows,
                0,
            );
            match event {
                Ok(None) => break,
                Ok(Some(Event::Message(ws::Message::Text(text)))) => {
                    self.inbox.push_back(Received::Text(text.to_owned()));
                }
                Ok(Some(Event::Message(ws::Message::Binary(data)))) => {
                    self.inbox.push_back(Received::Binary(data.to_vec()));
                }
                Ok(Some(Event::Ping(payload))) => {
                    self.pings_seen += 1;
                    if self.pongs && self.closing.is_open() {
                        replies.push((OpCode::Pong, payload.to_vec()));
                    }
                }
                Ok(Some(Event::Pong(payload))) => self.pongs_seen.push(payload.to_vec()),
                Ok(Some(Event::Close(code, reason))) => {
                    self.closing.receive();
                    self.inbox
                        .push_back(Received::Close(code.0, reason.to_owned()));
                    answer_close = Some(code);
                }
                Err(error) => {
                    self.complain(&error.to_string());
                    break;
                }
            }
        }
        for (opcode, payload) in replies {
            self.send_frame(true, opcode, &payload);
        }
        if let Some(code) = answer_close
            && self.answers_close
        {
            self.send_close(ws::echo_code(code), "");
        }
    }

    /// What has come of an answer that is still arriving: its head, and of its body what is new.
    pub(crate) fn arriving(&mut self) -> Option<Answer> {
        let (head, _, body) = self.answer.as_mut()?;
        Some(Answer {
            head: head.clone(),
            body: std::mem::take(body),
        })
    }

    /// The server has ended: nothing may be half said.
    fn at_end(&mut self) {
        self.ends |= self.hangs_up;
        // An answer without a length ends like this (RFC 9112 §6.3, rule 8).
        if let Some((head, _, body)) = self
            .answer
            .take_if(|(head, ..)| head.body(false) == Ok(ResponseBody::UntilClose))
        {
            self.answers.push_back(Answer { head, body });
        }
        if !self.http.is_empty() || self.answer.is_some() {
            self.complain("the connection ended inside an answer");
        }
        if self.is_open() && self.ws.is_mid_message() {
            self.complain("the connection ended inside a frame");
        }
    }

    fn complain(&mut self, what: &str) {
        self.complaint.get_or_insert_with(|| what.to_owned());
    }
}
