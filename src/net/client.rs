//! A blocking WebSocket client over TCP, on our own client role: for the command line and for tests.
//!
//! It answers pings and the closing handshake by itself; everything else is handed to the caller.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::http::{BodyReader, HeadLimits, HeadSeeker, ResponseHead};
use crate::random::Random;
use crate::ws::{self, CloseCode, Event, Limits, Message, OpCode, Role, WebSocket};

/// A connected client.
pub struct Client {
    stream: TcpStream,
    ws: WebSocket,
    limits: Limits,
    random: Random,
    buffer: Vec<u8>,
    used: usize,
    subprotocol: Option<String>,
    closed: bool,
}

/// What a server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// The server has closed; nothing comes after it.
    Closed(CloseCode, String),
    /// The TCP connection ended without a close frame.
    Gone,
}

/// Why a client could not connect or go on.
#[derive(Debug)]
pub enum ClientError {
    /// The URL is not `ws://HOST:PORT/PATH`.
    Url(String),
    /// The network.
    Io(io::Error),
    /// The server answered the handshake with this status and text.
    Refused(u16, String),
    /// The server broke the protocol.
    Protocol(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => {
                write!(
                    f,
                    "{url:?} is not a WebSocket URL: write ws://HOST:PORT/PATH (wss needs a TLS proxy)"
                )
            }
            Self::Io(error) => error.fmt(f),
            Self::Refused(status, text) => {
                write!(f, "the server refused the handshake with {status}: {text}")
            }
            Self::Protocol(text) => write!(f, "the server broke the protocol: {text}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(crate) struct Target<'a> {
    pub(crate) authority: &'a str,
    /// With the port.
    pub(crate) address: String,
    pub(crate) path: &'a str,
}

/// Splits `scheme://authority/path`; the port is the scheme's when it is not named.
pub(crate) fn split_url<'a>(url: &'a str, schemes: &[&str]) -> Option<Target<'a>> {
    let rest = schemes
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme)?.strip_prefix("://"))?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if authority.is_empty() || path.starts_with('?') {
        return None;
    }
    let address = if has_port {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    Some(Target {
        authority,
        address,
        path: if path.is_empty() { "/" } else { path },
    })
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = None;
    for addr in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the name has no address")))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages larger than this are refused; a command line has no use for them.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

impl Client {
    /// Connects to `ws://HOST:PORT/PATH`, with more header lines if need be.
    ///
    /// # Errors
    /// When there is no server, or it does not switch protocols.
    pub fn connect(url: &str, headers: &[(&str, &str)]) -> Result<Self, ClientError> {
        let target = split_url(url, &["ws"]).ok_or_else(|| ClientError::Url(url.to_owned()))?;
        let mut stream = connect(&target.address)?;
        let mut random = Random::system();
        let key = ws::client_key(random.bytes16());
        let mut request = Vec::new();
        ws::write_request(
            &mut request,
            target.authority,
            target.path,
            &key,
            &[],
            headers,
        );
        stream.write_all(&request)?;
        let (head, mut buffer) = read_head(&mut stream)?;
        let subprotocol = match ws::check_response(head.status(), head.headers(), &key, &[]) {
            Ok(subprotocol) => subprotocol,
            Err(_) if head.status() != 101 => {
                let body = read_body(&mut stream, &head, std::mem::take(&mut buffer), false)?;
                return Err(ClientError::Refused(
                    head.status(),
                    String::from_utf8_lossy(&body).into_owned(),
                ));
            }
            Err(error) => return Err(ClientError::Protocol(error.to_string())),
        };
        Ok(Self {
            stream,
            ws: WebSocket::new(Role::Client),
            limits: Limits::for_message_bytes(MESSAGE_BYTES_MAX),
            random,
            buffer,
            used: 0,
            subprotocol,
            closed: false,
        })
    }

    /// The subprotocol that the server chose.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// How long [`receive`](Self::receive) may wait; `None`: for ever.
    ///
    /// # Errors
    /// The socket's own.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    /// Sends one message.
    ///
    /// # Errors
    /// The socket's own.
    pub fn send(&mut self, message: Message<'_>) -> io::Result<()> {
        let mut out = Vec::with_capacity(message.len() + ws::HEADER_BYTES_MAX);
        ws::encode_message(&mut out, message, Some(self.random.mask_key()));
        self.stream.write_all(&out)
    }

    /// Begins the closing handshake; [`receive`](Self::receive) until `Closed` ends it.
    ///
    /// # Errors
    /// The socket's own.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> io::Result<()> {
        self.closed = true;
        let mut out = Vec::new();
        ws::encode_close(&mut out, code, reason, Some(self.random.mask_key()));
        self.stream.write_all(&out)
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// The socket's own (a time-out is `WouldBlock`), or what the server did wrong.
    pub fn receive(&mut self) -> Result<Received, ClientError> {
        loop {
            let mut input = &mut self.buffer[self.used..];
            let before = input.len();
            let event = self.ws.next_event(&self.limits, &mut input);
            let after = input.len();
            let mut answer = Vec::new();
            let received = match event {
                Ok(None) => None,
                Ok(Some(Event::Message(Message::Text(text)))) => {
                    Some(Received::Text(text.to_owned()))
                }
                Ok(Some(Event::Message(Message::Binary(bytes)))) => {
                    Some(Received::Binary(bytes.to_vec()))
                }
                Ok(Some(Event::Ping(payload))) => {
                    ws::encode_frame(
                        &mut answer,
                        OpCode::Pong,
                        payload,
                        Some(self.random.mask_key()),
                    );
                    None
                }
                Ok(Some(Event::Pong(_))) => None,
                Ok(Some(Event::Close(code, reason))) => {
                    if !self.closed {
                        let echo = ws::echo_code(code);
                        ws::encode_close(&mut answer, echo, "", Some(self.random.mask_key()));
                    }
                    Some(Received::Closed(code, reason.to_owned()))
                }
                Err(error) => return Err(ClientError::Protocol(error.to_string())),
            };
            self.used += before - after;
            if !answer.is_empty() {
                self.stream.write_all(&answer)?;
            }
            if let Some(received) = received {
                return Ok(received);
            }
            if self.used < self.buffer.len() {
                continue;
            }
            self.buffer.resize(READ_BYTES, 0);
            self.used = READ_BYTES;
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Ok(Received::Gone),
                Ok(n) => {
                    self.buffer.truncate(n);
                    self.used = 0;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(Received::Gone);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

const READ_BYTES: usize = 64 << 10;

/// A server's answer to a plain request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Sends one HTTP request to `http://HOST:PORT/PATH` and waits for the whole answer.
///
/// # Errors
/// When there is no server, or it does not speak HTTP.
pub fn http_request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<HttpAnswer, ClientError> {
    let target = split_url(url, &["http"]).ok_or_else(|| ClientError::Url(url.to_owned()))?;
    let mut stream = connect(&target.address)?;
    let mut request = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\n",
        target.path, target.authority
    );
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!(
        "Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    stream.write_all(&bytes)?;
    let (head, rest) = read_head(&mut stream)?;
    let body = read_body(&mut stream, &head, rest, method == "HEAD")?;
    Ok(HttpAnswer {
        status: head.status(),
        body,
    })
}

/// Reads a response head; what came behind it is handed back too.
fn read_head(stream: &mut TcpStream) -> Result<(ResponseHead, Vec<u8>), ClientError> {
    let limits = HeadLimits {
        head_bytes_max: 64 << 10,
        ..HeadLimits::default()
    };
    let mut seeker = HeadSeeker::default();
    let mut bytes = Vec::new();
    loop {
        let protocol = |error: crate::http::HttpError| ClientError::Protocol(error.to_string());
        if let Some(end) = seeker.seek(&bytes, &limits).map_err(protocol)? {
            let head = ResponseHead::parse(&bytes[..end], &limits).map_err(protocol)?;
            if head.status() == 100 {
                bytes.drain(..end);
                seeker = HeadSeeker::default();
                continue;
            }
            return Ok((head, bytes.split_off(end)));
        }
        if read_more(stream, &mut bytes)? == 0 {
            return Err(ClientError::Protocol(
                "the connection ended before an answer".to_owned(),
            ));
        }
    }
}

fn read_body(
    stream: &mut TcpStream,
    head: &ResponseHead,
    mut bytes: Vec<u8>,
    request_was_head: bool,
) -> Result<Vec<u8>, ClientError> {
    let protocol = |error: crate::http::HttpError| ClientError::Protocol(error.to_string());
    let length = head.body(request_was_head).map_err(protocol)?;
    let mut reader = BodyReader::for_response(length, MESSAGE_BYTES_MAX).map_err(protocol)?;
    let mut body = Vec::new();
    loop {
        let used = reader.read(&bytes, &mut body).map_err(protocol)?;
        bytes.drain(..used);
        if reader.is_done() || read_more(stream, &mut bytes)? == 0 {
            return Ok(body);
        }
    }
}

fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 8 << 10];
    loop {
        match stream.read(&mut chunk) {
            Ok(n) => {
                bytes.extend_from_slice(&chunk[..n]);
                return Ok(n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
