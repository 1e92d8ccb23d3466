//! One connection of the scripted node: how a text leaves it, and how one is read from it.
//!
//! Frames are read by tungstenite, so that it is not our own reading that judges our own writing; they are written here,
//! because a node is to be able to cut them in odd places.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

/// Either kind of socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().unwrap()),
            Self::Unix(stream) => Self::Unix(stream.try_clone().unwrap()),
        }
    }

    pub(crate) fn end(&self) {
        _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    /// Nobody waits for ever for a reader that does not read.
    pub(crate) fn limit_writing(&self) {
        let limit = Some(Duration::from_secs(20));
        _ = match self {
            Self::Tcp(stream) => stream.set_write_timeout(limit),
            Self::Unix(stream) => stream.set_write_timeout(limit),
        };
        if let Self::Tcp(stream) = self {
            _ = stream.set_nodelay(true);
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    Http,
    Ipc,
}

/// How what is said is cut into writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    Whole,
    /// Every text in two writes, with a pause between them.
    Halves,
    /// Two texts in one write: the first waits for the second.
    Pairs,
}

/// A connection as those see it who write to it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) id: u64,
    pub(crate) transport: Transport,
    socket: Mutex<Socket>,
    waiting: Mutex<Vec<u8>>,
    /// The close frame was sent; nothing may follow it.
    closed: AtomicBool,
}

impl Line {
    pub(crate) fn new(id: u64, transport: Transport, socket: &Socket) -> Self {
        Self {
            id,
            transport,
            socket: Mutex::new(socket.copy()),
            waiting: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
        }
    }

    /// Says a text in the way of this transport. Whoever is gone does not hear it.
    pub(crate) fn say(&self, text: &str, pieces: Pieces) {
        let bytes = match self.transport {
            Transport::WebSocket => frame(0x81, text.as_bytes()),
            Transport::Ipc => [text.as_bytes(), b"\n"].concat(),
            Transport::Http => format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
            .into_bytes(),
        };
        let mut waiting = self.waiting.lock().unwrap();
        let first = waiting.is_empty();
        waiting.extend_from_slice(&bytes);
        if pieces == Pieces::Pairs && first {
            return;
        }
        let bytes = std::mem::take(&mut *waiting);
        if pieces == Pieces::Halves {
            let (before, behind) = bytes.split_at(bytes.len() / 2);
            self.write(before);
            // Nothing depends on how long: the reader may well see both in one.
            std::thread::sleep(Duration::from_millis(20));
            self.write(behind);
        } else {
            self.write(&bytes);
        }
    }

    /// An answer to an HTTP request with a status that is not 200.
    pub(crate) fn say_status(&self, status: u16) {
        self.write(format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").as_bytes());
    }

    /// Begins the closing handshake.
    pub(crate) fn close(&self, code: u16) {
        self.write(&frame(0x88, &code.to_be_bytes()));
        self.closed.store(true, Ordering::Release);
    }

    /// Ends the connection without a word.
    pub(crate) fn cut(&self) {
        self.socket.lock().unwrap().end();
    }

    /// Bytes as they are.
    pub(crate) fn write(&self, bytes: &[u8]) {
        if !self.closed.load(Ordering::Acquire) {
            _ = self.socket.lock().unwrap().write_all(bytes);
        }
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(short as u8),
        medium @ 126..0x1_0000 => {
            bytes.push(126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// Reads from the socket and writes through the line, so that pongs do not fall into the middle of a frame.
struct Ends<'a> {
    read: Socket,
    line: &'a Line,
}

impl Read for Ends<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read.read(buffer)
    }
}

impl Write for Ends<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hands every message to `hear`, until the connection ends.
pub(crate) fn hear_messages(socket: Socket, line: &Line, mut hear: impl FnMut(String)) {
    let ends = Ends { read: socket, line };
    // What Go's node takes.
    let limits = WebSocketConfig::default()
        .max_message_size(Some(32 << 20))
        .max_frame_size(Some(32 << 20));
    let mut reader = WebSocket::from_raw_socket(ends, Role::Server, Some(limits));
    loop {
        match reader.read() {
            Ok(Message::Text(text)) => hear(text.to_string()),
            Ok(Message::Binary(bytes)) => hear(String::from_utf8(bytes.into()).unwrap()),
            Ok(_) => {}
            Err(_) => break,
        }
        // Pongs and the answer to a close frame wait for this.
        _ = reader.flush();
    }
}

/// The same on a stream of values without any other mark.
pub(crate) fn hear_values(socket: Socket, mut hear: impl FnMut(String)) {
    let reader = BufReader::new(socket);
    let values = serde_json::Deserializer::from_reader(reader).into_iter::<Value>();
    for value in values.map_while(Result::ok) {
        hear(value.to_string());
    }
}
