//! A client that does what it likes: a socket, frames and heads by hand, and the answers as they come.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dunlin::ws::{self, OpCode};
use socket2::{Domain, SockRef, Socket, Type};

use crate::support::PATIENCE;

/// How long a flooder rests when nothing fits any more.
const REST: Duration = Duration::from_micros(500);

/// The masking key of all attackers.
pub(crate) const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A socket and what came on it.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// How a WebSocket ended: the close code, or `None` for a connection that was cut.
pub(crate) type Code = Option<u16>;

impl Raw {
    pub(crate) fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// From an address of this machine's own.
    pub(crate) fn connect_from(source: &str, address: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let source = SocketAddr::new(source.parse().unwrap(), 0);
        socket.bind(&source.into()).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Through the opening handshake.
    #[track_caller]
    pub(crate) fn open(address: &str, path: &str) -> Self {
        let mut raw = Self::connect(address);
        raw.send(&upgrade(path)).unwrap();
        raw.opened();
        raw
    }

    /// Reads the answer to an opening handshake.
    #[track_caller]
    pub(crate) fn opened(&mut self) {
        let head = self.head().unwrap_or_default();
        assert!(
            head.starts_with("HTTP/1.1 101 "),
            "refused: {head:?} {}",
            self.buffer.escape_ascii()
        );
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// More bytes; `false` at the end, gentle or not.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(n) => {
                    self.buffer.extend_from_slice(&chunk[..n]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("no answer and no end within {PATIENCE:?}")
                }
                Err(_) => return false,
            }
        }
    }

    fn head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..at + 4).collect();
                return Some(String::from_utf8_lossy(&head).into_owned());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// The next answer: status and body. `None`: the connection has ended.
    pub(crate) fn answer(&mut self) -> Option<(u16, Vec<u8>)> {
        let head = self.head()?;
        let status = head.get(9..12)?.parse().ok()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        let length = length.unwrap_or(0);
        while self.buffer.len() < length {
            if !self.fill() {
                return None;
            }
        }
        Some((status, self.buffer.drain(..length).collect()))
    }

    /// The next frame of the server: opcode and payload. `None`: the connection has ended.
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((opcode, at, end)) = frame_at(&self.buffer) {
                let payload = self.buffer[at..end].to_vec();
                self.buffer.drain(..end);
                return Some((opcode, payload));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads on to the end: data frames on the way, and how it ended.
    pub(crate) fn end(&mut self) -> (usize, Code) {
        let (mut messages, mut code) = (0, None);
        while let Some((opcode, payload)) = self.frame() {
            match opcode {
                0x8 => {
                    code = payload
                        .get(..2)
                        .map(|b| u16::from_be_bytes([b[0], b[1]]))
                        .or(Some(1005));
                    _ = self.stream.shutdown(Shutdown::Write);
                }
                0x1 | 0x2 => messages += 1,
                _ => {}
            }
        }
        (messages, code)
    }

    /// Ends by a reset, whatever is under way.
    pub(crate) fn reset(self) {
        _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Writes `chunk` again and again until the time is up or the server will have no more. `reads`: what comes is
    /// read, and a close frame is the end. Answers the bytes that were taken.
    pub(crate) fn flood(&mut self, chunk: &[u8], until: Instant, reads: bool) -> u64 {
        self.stream.set_nonblocking(true).unwrap();
        let (mut taken, mut at) = (0, 0);
        let mut sink = [0; 256 << 10];
        while Instant::now() < until {
            let mut idle = true;
            match self.stream.write(&chunk[at..]) {
                Ok(n) => {
                    taken += n as u64;
                    at = (at + n) % chunk.len();
                    idle = false;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
            if reads {
                match self.stream.read(&mut sink) {
                    Ok(0) => break,
                    Ok(n) => {
                        idle = false;
                        if self.keep(&sink[..n]) {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
            if idle {
                std::thread::sleep(REST);
            }
        }
        self.stream.set_nonblocking(false).unwrap();
        taken
    }

    /// Keeps received bytes from the last unfinished frame on, or from a close frame; `true`: there is one.
    fn keep(&mut self, bytes: &[u8]) -> bool {
        self.buffer.extend_from_slice(bytes);
        let (mut at, mut is_closed) = (0, false);
        while let Some((opcode, _, end)) = frame_at(&self.buffer[at..]) {
            if opcode == 0x8 {
                is_closed = true;
                break;
            }
            at += end;
        }
        self.buffer.drain(..at);
        is_closed
    }
}

/// Opcode, begin and end of the payload of the first frame.
fn frame_at(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (header, used) = ws::FrameHeader::parse(bytes).unwrap()?;
    let end = used + header.len as usize;
    (bytes.len() >= end).then_some((header.opcode as u8, used, end))
}

/// An opening handshake.
pub(crate) fn upgrade(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A whole, masked frame.
pub(crate) fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ws::encode_frame(&mut out, opcode, payload, Some(KEY));
    out
}

/// A masked header without what it announces; `first` is FIN, RSV and opcode, the length takes the longest form.
pub(crate) fn header(first: u8, len: u64) -> Vec<u8> {
    let mut out = vec![first, 0xFF];
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&KEY);
    out
}

/// `n` times the same.
pub(crate) fn times(n: usize, what: &[u8]) -> Vec<u8> {
    what.repeat(n)
}

/// Counts per close code, as text.
pub(crate) fn codes(codes: &[Code]) -> String {
    let mut counts: BTreeMap<Code, usize> = BTreeMap::new();
    for code in codes {
        *counts.entry(*code).or_default() += 1;
    }
    let texts: Vec<String> = counts
        .iter()
        .map(|(code, n)| match code {
            Some(code) => format!("{n} × {code}"),
            None => format!("{n} × cut"),
        })
        .collect();
    texts.join(", ")
}
