//! What the kernel alone costs: a server that knows the length of a frame, and nothing of the protocol.
//!
//! `peer-raw PORT echo|fan PAYLOAD [CYCLE]`: every client frame carries PAYLOAD bytes (more than a close frame does).
//! The upgrade is answered as far as a real client insists on (`Sec-WebSocket-Accept`); after it
//!
//! - `echo` counts bytes, and writes as many answers as whole frames have arrived: one read and one write, whatever
//!   is in them. The answers are there beforehand: every connection says the same CYCLE messages again and again, and
//!   whoever says one first teaches what the answer is;
//! - `fan` unmasks what was said once and writes it to every connection, one write per frame and connection.
//!
//! Edge-triggered epoll, one buffer for all reads, a short read has emptied the socket: as cheap as the system calls
//! that such a server cannot do without. It trusts its clients completely: it is a ruler, not a server.
//!
//! ```text
//!            head complete: 101              bytes: whole frames ──▶ answers, what does not fit is owed
//!   accept ──────────────────────▶ open ─────┤
//!                                            └ a close frame, or the end ──▶ close frame, end
//! ```

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use base64::Engine as _;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use sha1::{Digest, Sha1};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
/// For all reads; as large as dunlin's.
const READ_BYTES: usize = 256 * 1024;
/// Prebuilt answers that one write can carry, at least.
const ANSWER_BYTES: usize = 256 * 1024;
const CLOSE: [u8; 4] = [0x88, 0x02, 0x03, 0xe8];

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Echo,
    Fan,
}

struct Connection {
    socket: TcpStream,
    /// The head is still to come.
    head: Option<Vec<u8>>,
    /// Bytes of an unfinished frame that have arrived; they themselves only where they are looked at.
    have: usize,
    part: Vec<u8>,
    /// `echo`: messages that were learned from, bytes of answers that the socket has taken, and those it has not.
    taught: usize,
    paid: usize,
    owed: usize,
    /// `fan`: what the socket has not taken.
    late: Vec<u8>,
}

struct Server {
    mode: Mode,
    payload: usize,
    /// Bytes of a client's frame.
    frame: usize,
    /// Bytes of one answer, and the answers to the messages of a cycle in their order, many times over.
    answer: usize,
    answers: Vec<u8>,
    cycle: usize,
    /// How many of them are known.
    learned: usize,
    connections: Slab<Connection>,
    buffer: Vec<u8>,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || io::Error::other("usage: peer-raw PORT echo|fan PAYLOAD [CYCLE]");
    let [port, mode, payload, rest @ ..] = &arguments[..] else {
        return Err(usage());
    };
    let cycle = rest.first().map_or(Ok(1), |cycle| cycle.parse());
    let (Ok(port), Ok(payload), Ok(cycle)) = (port.parse(), payload.parse(), cycle) else {
        return Err(usage());
    };
    let mode = match &mode[..] {
        "echo" => Mode::Echo,
        "fan" => Mode::Fan,
        _ => return Err(usage()),
    };
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("{}", listener.local_addr()?.port());
    Server::new(mode, payload, cycle).run(&mut poll, &listener)
}

impl Server {
    fn new(mode: Mode, payload: usize, cycle: usize) -> Self {
        let answer = framed(&vec![b'x'; payload]).len();
        Self {
            mode,
            payload,
            frame: answer + 4,
            answer,
            answers: Vec::new(),
            cycle,
            learned: 0,
            connections: Slab::new(),
            buffer: vec![0; READ_BYTES],
        }
    }

    fn run(&mut self, poll: &mut Poll, listener: &TcpListener) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match poll.poll(&mut events, None) {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept(poll, listener)?;
                    continue;
                }
                let key = event.token().0;
                if event.is_writable() && self.connections.contains(key) && !self.pay(key) {
                    self.connections.remove(key);
                }
                let ended = event.is_read_closed();
                if event.is_readable() && self.connections.contains(key) && !self.read(key, ended) {
                    self.connections.remove(key);
                }
            }
        }
    }

    fn accept(&mut self, poll: &Poll, listener: &TcpListener) -> io::Result<()> {
        loop {
            let socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(why) => return Err(why),
            };
            socket.set_nodelay(true)?;
            let entry = self.connections.vacant_entry();
            let token = Token(entry.key());
            let connection = entry.insert(Connection {
                socket,
                head: Some(Vec::new()),
                have: 0,
                part: Vec::new(),
                taught: 0,
                paid: 0,
                owed: 0,
                late: Vec::new(),
            });
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut connection.socket, token, both)?;
        }
    }

    /// Reads until the socket is empty, which a short read says unless the client has `ended` its direction; whether
    /// the connection lives on.
    fn read(&mut self, key: usize, ended: bool) -> bool {
        loop {
            // Nothing is read on while answers are owed: what is behind comes with the next writable edge.
            if self.connections[key].owed > 0 {
                return true;
            }
            let mut buffer = std::mem::take(&mut self.buffer);
            let got = self.connections[key].socket.read(&mut buffer);
            let goes_on = match got {
                Ok(0) => Some(false),
                Ok(bytes) if !self.take(key, &buffer[..bytes]) => Some(false),
                Ok(bytes) if bytes < buffer.len() && !ended => Some(true),
                Ok(_) => None,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => None,
                Err(why) => Some(why.kind() == io::ErrorKind::WouldBlock),
            };
            self.buffer = buffer;
            if let Some(goes_on) = goes_on {
                return goes_on;
            }
        }
    }

    fn take(&mut self, key: usize, mut bytes: &[u8]) -> bool {
        let connection = &mut self.connections[key];
        if let Some(head) = &mut connection.head {
            head.extend_from_slice(bytes);
            let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
                return true;
            };
            let Some(answer) = upgrade(&head[..end]) else {
                return false;
            };
            let behind = head.len() - (end + 4);
            connection.head = None;
            if connection.socket.write(answer.as_bytes()).is_err() {
                return false;
            }
            bytes = &bytes[bytes.len() - behind..];
        }
        match self.mode {
            Mode::Echo => self.echo(key, bytes),
            Mode::Fan => self.fan(key, bytes),
        }
    }

    fn echo(&mut self, key: usize, bytes: &[u8]) -> bool {
        let connection = &mut self.connections[key];
        let is_over = if self.learned < self.cycle {
            let answer = self.answer;
            self.look(key, bytes, |server, said| {
                server.learn(key, said);
                server.connections[key].owed += answer;
            })
        } else {
            let have = std::mem::take(&mut connection.part).len() + connection.have + bytes.len();
            let rest = have % self.frame;
            connection.owed += have / self.frame * self.answer;
            connection.have = rest;
            rest > 0 && rest <= bytes.len() && bytes[bytes.len() - rest] == CLOSE[0]
        };
        let alive = self.pay(key);
        if is_over {
            // What could not be written is not waited for: a client that closes has got its answers.
            _ = self.connections[key].socket.write(&CLOSE);
        }
        alive && !is_over
    }

    fn fan(&mut self, key: usize, bytes: &[u8]) -> bool {
        let is_over = self.look(key, bytes, |server, said| {
            let frame = framed(&server.unmasked(said));
            server.publish(&frame);
        });
        if is_over {
            _ = self.connections[key].socket.write(&CLOSE);
        }
        !is_over
    }

    /// Tells every whole frame; whether a close frame has come.
    fn look(&mut self, key: usize, bytes: &[u8], tell: impl Fn(&mut Self, &[u8])) -> bool {
        let mut part = std::mem::take(&mut self.connections[key].part);
        part.extend_from_slice(bytes);
        let mut at = 0;
        while part.len() - at >= self.frame && part[at] != CLOSE[0] {
            tell(self, &part[at..at + self.frame]);
            at += self.frame;
        }
        let is_over = part.get(at) == Some(&CLOSE[0]);
        part.drain(..at);
        // An idle connection owns no buffer.
        self.connections[key].part = if part.is_empty() { Vec::new() } else { part };
        is_over
    }

    /// The next message of a connection: no connection is ahead of all others, so it is known, or the next to learn.
    fn learn(&mut self, key: usize, said: &[u8]) {
        let connection = &mut self.connections[key];
        let number = connection.taught;
        connection.taught += 1;
        if number == self.learned && self.learned < self.cycle {
            let answer = framed(&self.unmasked(said));
            self.answers.extend_from_slice(&answer);
            self.learned += 1;
            if self.learned == self.cycle {
                let times = ANSWER_BYTES.div_ceil(self.answers.len()) + 1;
                self.answers = self.answers.repeat(times);
            }
        }
    }

    fn unmasked(&self, said: &[u8]) -> Vec<u8> {
        let (mask, masked) = said[self.frame - self.payload - 4..].split_at(4);
        let mask = mask.iter().cycle();
        masked
            .iter()
            .zip(mask)
            .map(|(byte, mask)| byte ^ mask)
            .collect()
    }

    fn publish(&mut self, frame: &[u8]) {
        for (_, connection) in &mut self.connections {
            if connection.head.is_some() {
                continue;
            }
            let taken = if connection.late.is_empty() {
                connection.socket.write(frame).unwrap_or(0)
            } else {
                0
            };
            if taken < frame.len() {
                connection.late.extend_from_slice(&frame[taken..]);
            }
        }
    }

    /// Writes what is owed; whether the connection lives on.
    fn pay(&mut self, key: usize) -> bool {
        let connection = &mut self.connections[key];
        if !connection.late.is_empty() {
            return match connection.socket.write(&connection.late) {
                Ok(taken) => {
                    connection.late.drain(..taken);
                    true
                }
                Err(why) => why.kind() == io::ErrorKind::WouldBlock,
            };
        }
        while connection.owed > 0 {
            // The answers come in their cycle, so where the next byte stands follows from how many were paid.
            let at = connection.paid % (self.answer * self.cycle);
            let bytes = connection.owed.min(self.answers.len() - at);
            match connection.socket.write(&self.answers[at..at + bytes]) {
                Ok(taken) => {
                    connection.owed -= taken;
                    connection.paid += taken;
                }
                Err(why) => return why.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// The 101, or nothing for a head without a key.
fn upgrade(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then(|| value.trim())
    })?;
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
}

/// A server's text frame (RFC 6455 §5.2).
fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match body.len() {
        length @ 0..=125 => frame.push(length as u8),
        length @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(body);
    frame
}
