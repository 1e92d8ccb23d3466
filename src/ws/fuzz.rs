//! The bodies of this room's fuzz targets: ordinary functions that any test can call.
//!
//! The rule: a body takes bytes, and panics only if an oracle fails. Each names its oracles in its first line.

use super::{
    CONTROL_BYTES_MAX, Event, FrameHeader, HEADER_BYTES_MAX, Limits, Message, Offer, ProtocolError,
    Role, UpgradeRequest, WebSocket, accept_key, check, check_response, wants_upgrade,
    write_switching_protocols,
};
use std::str;

#[cfg(feature = "deflate")]
mod deflate;
#[cfg(feature = "deflate")]
pub use deflate::deflate;
mod unmask;
pub use unmask::unmask;

/// Oracle: encode and parse are each other's inverse, in both directions, and a prefix asks for more.
///
/// That a parsed header encodes to the very same bytes means that only the shortest form is accepted.
pub fn frame_header(data: &[u8]) {
    let Ok(Some((header, taken))) = FrameHeader::parse(data) else {
        return;
    };
    let mut out = [0; HEADER_BYTES_MAX];
    let written = header.encode(&mut out);
    assert_eq!(data.get(..taken), out.get(..written), "{header:?}");
    assert_eq!(
        FrameHeader::parse(&out[..written]),
        Ok(Some((header, written)))
    );
    for cut in 0..written {
        assert_eq!(
            FrameHeader::parse(&out[..cut]),
            Ok(None),
            "{header:?} cut at {cut}"
        );
    }
}

/// Oracle: whole equals chunked equals byte by byte, a naive decoder agrees, and memory follows what was received.
///
/// Byte 0 chooses role and limits, byte 1 the cuts, the rest is the stream.
pub fn frame_stream(data: &[u8]) {
    let Some((&[setup, seed], stream)) = data.split_first_chunk::<2>() else {
        return;
    };
    let role = if setup & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let limits = match setup >> 1 & 3 {
        0 => Limits::default(),
        1 => Limits {
            message_bytes_max: 64,
            frame_bytes_max: 32,
            fragments_max: 4,
        },
        2 => Limits {
            message_bytes_max: 300,
            frame_bytes_max: 1000,
            fragments_max: 1000,
        },
        _ => Limits {
            message_bytes_max: 5,
            frame_bytes_max: 5,
            fragments_max: 1,
        },
    };
    let whole = decode(role, &limits, stream, |_| usize::MAX);
    let chunked = decode(role, &limits, stream, cuts(seed));
    let bytewise = decode(role, &limits, stream, |_| 1);
    assert_eq!(whole, chunked, "whole and chunked");
    assert_eq!(whole, bytewise, "whole and byte by byte");
    let expected = naive_decode(role, &limits, stream);
    let seen: Vec<Plain> = whole.seen.iter().map(Seen::plain).collect();
    assert_eq!(seen, expected, "decoder and naive decoder");
}

/// Oracle: what is accepted satisfies a naive re-check, and the answer opens the connection at the other end.
///
/// The bytes are a request head with LF or CRLF lines, `name: value` behind the request line.
pub fn handshake(data: &[u8]) {
    let mut lines = data
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let Ok(first) = str::from_utf8(lines.next().unwrap_or_default()) else {
        return;
    };
    let mut parts = first.split(' ');
    let (method, target) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let minor_version = u8::from(parts.next() != Some("HTTP/1.0"));
    let headers: Vec<(&str, &[u8])> = lines.filter_map(split_header).collect();
    let request = UpgradeRequest {
        method,
        target,
        minor_version,
        headers: headers.iter().copied(),
    };
    match check(request) {
        Err(refusal) => {
            assert!([400, 405, 426, 505].contains(&refusal.status()));
            assert!(!refusal.to_string().is_empty());
        }
        Ok(offer) => {
            assert!(wants_upgrade(headers.iter().copied()));
            assert_naively_acceptable(method, target, minor_version, &headers);
            assert_answer_opens(&offer);
        }
    }
}

/// What a decoder made of a stream, with everything copied.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    seen: Vec<Seen>,
    is_mid_message: bool,
    is_closed: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Event(Plain),
    Fault(ProtocolError),
}

impl Seen {
    /// The naive decoder knows close codes, not the names of faults.
    fn plain(&self) -> Plain {
        match self {
            Self::Event(plain) => plain.clone(),
            Self::Fault(error) => Plain::Fault(error.close_code().0),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Plain {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    Fault(u16),
}

/// Feeds the stream in pieces of the lengths that `piece` gives (from the position), checking what always holds.
fn decode(
    role: Role,
    limits: &Limits,
    stream: &[u8],
    mut piece: impl FnMut(usize) -> usize,
) -> Decoded {
    let mut socket = WebSocket::new(role);
    let mut bytes = stream.to_vec();
    let mut rest = &mut bytes[..];
    let mut seen = Vec::new();
    let mut received = 0;
    let mut faulty = false;
    while !rest.is_empty() {
        let length = piece(received).clamp(1, rest.len());
        let (mut input, behind) = rest.split_at_mut(length);
        rest = behind;
        received += length;
        loop {
            let (over, event) = (
                faulty || socket.is_closed(),
                socket.next_event(limits, &mut input),
            );
            assert!(!over || event == Ok(None), "nothing comes after the end");
            match event {
                Ok(Some(event)) => seen.push(Seen::Event(copied(event))),
                Ok(None) => break,
                Err(error) => {
                    seen.push(Seen::Fault(error));
                    faulty = true;
                }
            }
        }
        assert!(input.is_empty(), "None means that all was consumed");
        assert!(socket.buffered_bytes() <= 2 * received + ASSEMBLY_BYTES_MAX);
        assert!(
            socket.is_mid_message() || socket.buffered_bytes() == 0,
            "an idle connection holds nothing"
        );
    }
    Decoded {
        seen,
        is_mid_message: socket.is_mid_message(),
        is_closed: socket.is_closed(),
    }
}

/// What an assembly may cost beside its message.
const ASSEMBLY_BYTES_MAX: usize = 2 * CONTROL_BYTES_MAX;

/// Piece lengths from a seed: mostly short, sometimes long.
fn cuts(seed: u8) -> impl FnMut(usize) -> usize {
    let mut state = u32::from(seed) | 0x100;
    move |_| {
        // xorshift32 (Marsaglia)
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let long = state & 0x700 == 0;
        if long {
            (state >> 16) as usize & 0x3FF
        } else {
            state as usize & 0xF
        }
    }
}

fn copied(event: Event<'_>) -> Plain {
    match event {
        Event::Message(Message::Text(text)) => Plain::Text(text.to_owned()),
        Event::Message(Message::Binary(bytes)) => Plain::Binary(bytes.to_vec()),
        Event::Ping(payload) => Plain::Ping(payload.to_vec()),
        Event::Pong(payload) => Plain::Pong(payload.to_vec()),
        Event::Close(code, reason) => Plain::Close(code.0, reason.to_owned()),
    }
}

/// RFC 6455 §5 once more, as plainly as it can be said: one pass over the whole stream, everything copied.
fn naive_decode(role: Role, limits: &Limits, stream: &[u8]) -> Vec<Plain> {
    let mut seen = Vec::new();
    if let Err(code) = naive_frames(role, limits, stream, &mut seen) {
        seen.push(Plain::Fault(code));
    }
    seen
}

fn naive_frames(
    role: Role,
    limits: &Limits,
    mut stream: &[u8],
    seen: &mut Vec<Plain>,
) -> Result<(), u16> {
    let mut message: Option<(u8, Vec<u8>, u32)> = None;
    loop {
        let [first, second, rest @ ..] = stream else {
            return Ok(());
        };
        let (fin, opcode) = (first >= &0x80, first & 0xF);
        let (masked, short) = (second >= &0x80, second & 0x7F);
        let known = [0, 1, 2, 8, 9, 10].contains(&opcode);
        let sequence_ok = opcode >= 8 || (opcode == 0) == message.is_some();
        if first & 0x70 != 0 || masked != (role == Role::Server) || !known || !sequence_ok {
            return Err(1002);
        }
        let frames = message.as_ref().map_or(0, |message| message.2);
        if opcode < 8 && (opcode == 0 || !fin) && frames >= limits.fragments_max {
            return Err(1008);
        }
        if opcode >= 8 && (!fin || short > 125) {
            return Err(1002);
        }
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if rest.len() < length_bytes {
            return Ok(());
        }
        let length = match length_bytes {
            0 => u128::from(short),
            _ => rest[..length_bytes]
                .iter()
                .fold(0, |sum, &byte| sum << 8 | u128::from(byte)),
        };
        let least = [(0, 0), (2, 126), (8, 65_536)]
            .iter()
            .find(|form| form.0 == length_bytes);
        if length >= 1 << 63 || least.is_some_and(|form| length < form.1) {
            return Err(1002);
        }
        let key_bytes = if masked { 4 } else { 0 };
        if rest.len() < length_bytes + key_bytes {
            return Ok(());
        }
        let key = &rest[length_bytes..length_bytes + key_bytes];
        let rest = &rest[length_bytes + key_bytes..];
        let so_far = message.as_ref().map_or(0, |message| message.1.len());
        let too_big = length > limits.frame_bytes_max as u128
            || length + so_far as u128 > limits.message_bytes_max as u128;
        if opcode < 8 && too_big {
            return Err(1009);
        }
        let present = rest.len().min(length as usize);
        let whole = present as u128 == length;
        let unmask = |(i, byte): (usize, &u8)| byte ^ key.get(i % 4).unwrap_or(&0);
        let payload: Vec<u8> = rest[..present].iter().enumerate().map(unmask).collect();
        stream = &rest[present..];
        match opcode {
            8 if whole => return naive_close(&payload).map(|close| seen.push(close)),
            9 if whole => seen.push(Plain::Ping(payload)),
            10 if whole => seen.push(Plain::Pong(payload)),
            8..=10 => return Ok(()),
            _ => {
                let (kind, mut bytes, frames) = message.take().unwrap_or((opcode, Vec::new(), 0));
                bytes.extend(payload);
                let text = str::from_utf8(&bytes);
                let last = fin && whole;
                if kind == 1 && text.is_err_and(|fault| last || fault.error_len().is_some()) {
                    return Err(1007);
                }
                match (last, text) {
                    (false, _) => message = Some((kind, bytes, frames + 1)),
                    (true, Ok(text)) if kind == 1 => seen.push(Plain::Text(text.to_owned())),
                    (true, _) => seen.push(Plain::Binary(bytes)),
                }
                if !whole {
                    return Ok(());
                }
            }
        }
    }
}

fn naive_close(payload: &[u8]) -> Result<Plain, u16> {
    match payload {
        [] => Ok(Plain::Close(1005, String::new())),
        [_] => Err(1002),
        [high, low, reason @ ..] => {
            let code = u16::from(*high) * 256 + u16::from(*low);
            let unassigned = [1004, 1005, 1006].contains(&code) || (1015..3000).contains(&code);
            if !(1000..5000).contains(&code) || unassigned {
                return Err(1002);
            }
            let reason = String::from_utf8(reason.to_vec()).map_err(|_| 1007_u16)?;
            Ok(Plain::Close(code, reason))
        }
    }
}

fn split_header(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = str::from_utf8(&line[..colon]).ok()?;
    Some((name, &line[colon + 1..]))
}

/// The rules of RFC 6455 §4.2.1 as string operations, independent of the checker's own.
fn assert_naively_acceptable(
    method: &str,
    target: &str,
    minor_version: u8,
    headers: &[(&str, &[u8])],
) {
    assert_eq!((method, minor_version), ("GET", 1));
    let all = |wanted: &str| -> Vec<String> {
        let lines = headers
            .iter()
            .filter(|(name, _)| name.to_ascii_lowercase() == wanted);
        let blank = |c: char| c == ' ' || c == '\t';
        lines
            .map(|(_, value)| {
                String::from_utf8_lossy(value)
                    .trim_matches(blank)
                    .to_owned()
            })
            .collect()
    };
    let tokens = |wanted: &str| {
        all(wanted)
            .join(",")
            .to_ascii_lowercase()
            .replace([' ', '\t'], "")
    };
    let has = |wanted: &str, token: &str| tokens(wanted).split(',').any(|element| element == token);
    assert!(has("upgrade", "websocket"));
    assert!(has("connection", "upgrade"));
    assert_eq!(all("sec-websocket-version"), ["13"]);
    assert_eq!(all("host").len(), 1);
    let host = all("host").concat();
    assert!(!host.is_empty() && !host.contains(['/', '@', ' ', ',']));
    assert!(
        target.starts_with('/')
            || target
                .to_ascii_lowercase()
                .contains(&host.to_ascii_lowercase())
    );
    assert!(all("content-length").iter().all(|value| value == "0"));
    assert!(all("transfer-encoding").is_empty());
    let keys = all("sec-websocket-key");
    assert_eq!(keys.len(), 1);
    let (body, padding) = keys[0].split_at(22);
    assert_eq!(padding, "==");
    assert!(
        body.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
    );
    // 22 characters carry 132 bits: the last four must be zero.
    assert!(body.ends_with(['A', 'Q', 'g', 'w']));
}

/// The answer parses, and the client that sent this key and this offer accepts it.
fn assert_answer_opens(offer: &Offer<'_>) {
    let protocols: Vec<&str> = offer.protocols().collect();
    for chosen in [None, protocols.first().copied(), protocols.last().copied()] {
        let mut answer = Vec::new();
        write_switching_protocols(&mut answer, offer.key, chosen, [("Server", "dunlin")]);
        let text = str::from_utf8(&answer).expect("the answer is text");
        let head = text
            .strip_suffix("\r\n\r\n")
            .expect("the answer ends with an empty line");
        let mut lines = head.split("\r\n");
        assert_eq!(lines.next(), Some("HTTP/1.1 101 Switching Protocols"));
        let headers: Vec<(&str, &[u8])> = lines
            .filter_map(|line| split_header(line.as_bytes()))
            .collect();
        let result = check_response(101, headers.iter().copied(), offer.key, &protocols);
        assert_eq!(result, Ok(chosen.map(str::to_owned)));
        assert!(accept_key(offer.key).is_ascii());
    }
}
