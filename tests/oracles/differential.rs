//! Oracle: our decoder and tungstenite's read the same messages out of the same bytes and come to the same verdict.
//!
//! Where they may differ, and why ours does what it does:
//!
//! | the peer sends | tungstenite | dunlin | RFC 6455 |
//! | --- | --- | --- | --- |
//! | a length that is not in its shortest form | reads it | 1002 | §5.2: the minimal number of bytes MUST be used |
//! | a length with the highest bit set | too large | 1002 | §5.2: that bit MUST be 0 |
//! | a wrong header, a wrong byte of text, and not yet the rest of the frame | waits for it | refuses now | §8.1, §7.1.7 leave the moment open |
//! | a close frame with a code that may not travel | a close, answered with 1002 | an error, 1002 | §7.4.1, the same on the wire |
//! | close code 1014 | as any unknown code: 1002 | a close | §7.4.2, §11.7: registered with IANA since |
//! | more than one fault in one frame | names one | names another | – |
//!
//! Limits are the same for both; those that tungstenite does not have are switched off.

use std::io::{self, Cursor, Read, Write};

use dunlin::ws::{self, CloseCode, Event, Limits};
use tungstenite::error::{Error, ProtocolError};
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

/// Byte 0 chooses role and limits, the rest is what the peer sends.
pub(crate) fn differential(data: &[u8]) {
    let Some((&setup, stream)) = data.split_first() else {
        return;
    };
    let is_server = setup & 1 == 0;
    let bytes_max = [125, 300, 70_000, 1_000][usize::from(setup >> 1 & 3)];
    let sound = sound_lengths(stream);
    let ours = ours(is_server, bytes_max, &stream[..sound]);
    let theirs = theirs(is_server, bytes_max, &stream[..sound]);
    assert_eq!(ours.seen, theirs.seen, "{ours:?} {theirs:?}");
    match (ours.end, theirs.end) {
        // Ours does not wait for the rest of a frame that is wrong already.
        (End::Fault(_), End::Open) | (End::Fault(_), End::Fault(_)) => {}
        (ours, theirs) => assert_eq!(ours, theirs),
    }
    if sound < stream.len() && ours.end == End::Open {
        let all = self::ours(is_server, bytes_max, stream);
        assert_eq!(all.end, End::Fault(1002), "a length that is not sound");
    }
    assert_they_read_us(is_server, &ours.seen);
}

/// What came out of a stream.
#[derive(Debug)]
struct Reading {
    seen: Vec<Plain>,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Plain {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

/// How it ended. Of faults, theirs is only known by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// More is awaited.
    Open,
    Closed(u16),
    Fault(u16),
}

fn ours(is_server: bool, bytes_max: usize, stream: &[u8]) -> Reading {
    let limits = Limits {
        message_bytes_max: bytes_max,
        frame_bytes_max: bytes_max,
        fragments_max: u32::MAX,
    };
    let role = if is_server {
        ws::Role::Server
    } else {
        ws::Role::Client
    };
    let mut socket = ws::WebSocket::new(role);
    let mut bytes = stream.to_vec();
    let mut input = &mut bytes[..];
    let mut seen = Vec::new();
    let end = loop {
        match socket.next_event(&limits, &mut input) {
            Ok(None) => break End::Open,
            Ok(Some(Event::Close(code, _))) => break End::Closed(code.0),
            Ok(Some(Event::Message(ws::Message::Text(text)))) => {
                seen.push(Plain::Text(text.into()))
            }
            Ok(Some(Event::Message(ws::Message::Binary(b)))) => seen.push(Plain::Binary(b.into())),
            Ok(Some(Event::Ping(payload))) => seen.push(Plain::Ping(payload.into())),
            Ok(Some(Event::Pong(payload))) => seen.push(Plain::Pong(payload.into())),
            Err(error) => break End::Fault(error.close_code().0),
        }
    };
    Reading { seen, end }
}

fn theirs(is_server: bool, bytes_max: usize, stream: &[u8]) -> Reading {
    let role = if is_server {
        Role::Server
    } else {
        Role::Client
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max));
    let pipe = Pipe(Cursor::new(stream));
    let mut socket = WebSocket::from_raw_socket(pipe, role, Some(config));
    let mut seen = Vec::new();
    let end = loop {
        match socket.read() {
            Ok(tungstenite::Message::Text(text)) => seen.push(Plain::Text(text.to_string())),
            Ok(tungstenite::Message::Binary(bytes)) => seen.push(Plain::Binary(bytes.to_vec())),
            Ok(tungstenite::Message::Ping(payload)) => seen.push(Plain::Ping(payload.to_vec())),
            Ok(tungstenite::Message::Pong(payload)) => seen.push(Plain::Pong(payload.to_vec())),
            Ok(tungstenite::Message::Frame(frame)) => panic!("a raw frame: {frame}"),
            Ok(tungstenite::Message::Close(frame)) => break closed(frame, stream),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => break End::Open,
            Err(Error::Utf8(_)) => break End::Fault(1007),
            Err(Error::Capacity(_)) => break End::Fault(1009),
            Err(Error::Protocol(_)) => break End::Fault(1002),
            Err(other) => panic!("{other}"),
        }
    };
    Reading { seen, end }
}

/// A code that may not travel is answered with theirs for it; 1014 is among those.
fn closed(frame: Option<tungstenite::protocol::CloseFrame>, stream: &[u8]) -> End {
    let Some(frame) = frame else {
        return End::Closed(CloseCode::NO_STATUS.0);
    };
    let code = u16::from(frame.code);
    if code != 1002 || frame.reason.as_str() != "Protocol violation" {
        return End::Closed(code);
    }
    match close_code_in(stream) {
        Some(code @ (1002 | 1014)) => End::Closed(code),
        _ => End::Fault(1002),
    }
}

/// Frames one by one, as far as their headers are whole: where each begins, its header's length, key and payload.
fn frames(stream: &[u8]) -> impl Iterator<Item = (usize, u8, Option<[u8; 4]>, &[u8], bool)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (start, rest) = (at, &stream[at..]);
        let [first, second, rest @ ..] = rest else {
            return None;
        };
        let (width, least) = match second & 0x7F {
            126 => (2, 126),
            127 => (8, 65_536),
            _ => (0, 0),
        };
        let (length, rest) = rest.split_at_checked(width)?;
        let length = match width {
            0 => u64::from(second & 0x7F),
            _ => length
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let is_sound = length >= least && length < 1 << 63;
        let (key, rest) = match second & 0x80 {
            0 => (None, rest),
            _ => {
                let (key, rest) = rest.split_first_chunk::<4>()?;
                (Some(*key), rest)
            }
        };
        let len = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(rest.len());
        at = stream.len() - rest.len() + len;
        Some((start, first & 0x0F, key, &rest[..len], is_sound))
    })
}

/// Bytes in front of the first length that is too long or not in its shortest form.
fn sound_lengths(stream: &[u8]) -> usize {
    let unsound = frames(stream).find(|frame| !frame.4);
    unsound.map_or(stream.len(), |frame| frame.0)
}

/// The code of the first close frame.
fn close_code_in(stream: &[u8]) -> Option<u16> {
    let (_, _, key, payload, _) = frames(stream).find(|frame| frame.1 == 8)?;
    let (high, low) = (*payload.first()?, *payload.get(1)?);
    let key = key.unwrap_or_default();
    Some(u16::from_be_bytes([high ^ key[0], low ^ key[1]]))
}

/// What we encode, masked or not, they read as what it was.
fn assert_they_read_us(is_server: bool, seen: &[Plain]) {
    let mut bytes = Vec::new();
    let mask = is_server.then_some([0x37, 0xFA, 0x21, 0x3D]);
    for plain in seen {
        match plain {
            Plain::Text(text) => ws::encode_message(&mut bytes, ws::Message::Text(text), mask),
            Plain::Binary(b) => ws::encode_message(&mut bytes, ws::Message::Binary(b), mask),
            Plain::Ping(payload) => ws::encode_frame(&mut bytes, ws::OpCode::Ping, payload, mask),
            Plain::Pong(payload) => ws::encode_frame(&mut bytes, ws::OpCode::Pong, payload, mask),
        }
    }
    let theirs = theirs(is_server, 70_000, &bytes);
    assert_eq!(theirs.seen, seen);
    assert_eq!(theirs.end, End::Open);
}

/// Bytes that come in, and nobody who reads what goes out.
struct Pipe<'a>(Cursor<&'a [u8]>);

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
