//! RFC 7692 as a matrix: what compressed messages may look like, what they may not, and what they cost.
//!
//! `sX_Y` in a test's name is the section it covers.

#![cfg(feature = "deflate")]
#![allow(clippy::unwrap_used)]

use dunlin::ws::deflate::{
    Agreement, ClientOffer, Compressor, Inflater, Settings, Windows, negotiate,
};
use dunlin::ws::{Event, Limits, Message, OpCode, ProtocolError, Role, WebSocket, encode_frame};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const HELLO: &[u8] = &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];

/// What a server agrees on with this offer.
fn agreed(offer: &str) -> Agreement {
    let settings = Settings {
        offered: true,
        ..Settings::default()
    };
    negotiate([offer.as_bytes()], &settings).unwrap()
}

fn without_context() -> Agreement {
    agreed("permessage-deflate; client_no_context_takeover")
}

fn with_context() -> Agreement {
    agreed("permessage-deflate")
}

/// An event with everything copied, or the fault that ended the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Close,
    Fault(ProtocolError),
}

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

/// One connection's end of a server, and what its worker shares.
struct Server {
    socket: WebSocket,
    limits: Limits,
    inflater: Inflater,
    windows: Windows,
}

impl Server {
    fn new(agreed: &Agreement) -> Self {
        Self {
            socket: WebSocket::with_deflate(Role::Server, agreed),
            limits: Limits::default(),
            inflater: Inflater::default(),
            windows: Windows::default(),
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<Seen> {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        let mut seen = Vec::new();
        loop {
            let event = self.socket.next_event_inflating(
                &self.limits,
                &mut input,
                &mut self.inflater,
                &mut self.windows,
                5,
            );
            seen.push(match event {
                Ok(None) => break seen,
                Ok(Some(Event::Message(Message::Text(message)))) => text(message),
                Ok(Some(Event::Message(Message::Binary(bytes)))) => Seen::Binary(bytes.to_vec()),
                Ok(Some(Event::Ping(payload) | Event::Pong(payload))) => {
                    Seen::Ping(payload.to_vec())
                }
                Ok(Some(Event::Close(..))) => Seen::Close,
                Err(error) => Seen::Fault(error),
            });
        }
    }
}

/// What a server sees of these bytes, which must be the same whole, byte by byte, and cut in two anywhere.
fn server(agreed: &Agreement, bytes: &[u8]) -> Vec<Seen> {
    let whole = Server::new(agreed).feed(bytes);
    let mut bytewise = Server::new(agreed);
    let seen: Vec<Seen> = bytes
        .chunks(1)
        .flat_map(|piece| bytewise.feed(piece))
        .collect();
    assert_eq!(whole, seen, "whole and byte by byte");
    for cut in 0..bytes.len().min(64) {
        let mut server = Server::new(agreed);
        let mut seen = server.feed(&bytes[..cut]);
        seen.extend(server.feed(&bytes[cut..]));
        assert_eq!(whole, seen, "cut at {cut}");
    }
    whole
}

/// First byte of a frame: FIN, RSV1, opcode.
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CONTINUATION: u8 = 0;

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(&mut out, OpCode::Binary, payload, Some(KEY));
    out[0] = first;
    out
}

fn deflated(first: u8, payload: &[u8]) -> Vec<Seen> {
    server(&without_context(), &frame(FIN | RSV1 | first, payload))
}

/// zlib's raw stream with a sync flush at the end, without its tail.
fn compress(payload: &[u8], bits: u8, level: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let message = Message::Binary(payload);
    assert!(Compressor::default().encode_message(&mut out, message, bits, level, None) > 0);
    let header = match out[1] {
        0x7E => 4,
        0x7F => 10,
        _ => 2,
    };
    out[header..].to_vec()
}

/// Bytes that neither repeat nor compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(next).collect()
}

/// One deflate block that holds the bytes as they are (RFC 1951 §3.2.4).
fn stored(payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u16;
    let mut out = vec![0];
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&(!len).to_le_bytes());
    out.extend_from_slice(payload);
    out
}

#[test]
fn s7_2_3_1_one_compressed_block() {
    assert_eq!(deflated(TEXT, HELLO), [text("Hello")]);
    assert_eq!(deflated(BINARY, HELLO), [Seen::Binary(b"Hello".to_vec())]);
    // The frames of the example, unmasked: what a client receives.
    let offer = ClientOffer::default();
    let agreed = offer.check([&b"permessage-deflate"[..]]).unwrap().unwrap();
    let mut client = Server::new(&agreed);
    client.socket = WebSocket::with_deflate(Role::Client, &agreed);
    let mut bytes = vec![0xC1, 0x07];
    bytes.extend_from_slice(HELLO);
    // Its two fragments.
    bytes.extend_from_slice(&[
        0x41, 0x03, 0xF2, 0x48, 0xCD, 0x80, 0x04, 0xC9, 0xC9, 0x07, 0x00,
    ]);
    assert_eq!(client.feed(&bytes), [text("Hello"), text("Hello")]);
}

#[test]
fn s7_2_3_1_fragments_with_control_frames_between_them() {
    let (first, second) = HELLO.split_at(3);
    let mut stream = frame(RSV1 | TEXT, first);
    stream.extend(frame(FIN | 9, b"ping"));
    stream.extend(frame(CONTINUATION, b""));
    stream.extend(frame(FIN | CONTINUATION, second));
    stream.extend(frame(FIN | TEXT, b"plain"));
    let expected = [Seen::Ping(b"ping".to_vec()), text("Hello"), text("plain")];
    assert_eq!(server(&without_context(), &stream), expected);
}

#[test]
fn s7_2_3_2_sharing_the_window() {
    let again = [0xF2, 0x00, 0x11, 0x00, 0x00];
    let mut stream = frame(FIN | RSV1 | TEXT, HELLO);
    stream.extend(frame(FIN | RSV1 | TEXT, &again));
    stream.extend(frame(FIN | TEXT, b"not part of the context"));
    stream.extend(frame(FIN | RSV1 | TEXT, &again));
    let expected = [
        text("Hello"),
        text("Hello"),
        text("not part of the context"),
        text("Hello"),
    ];
    assert_eq!(server(&with_context(), &stream), expected);
    // Who has said that it keeps none may not refer to it.
    let expected = [text("Hello"), Seen::Fault(ProtocolError::Deflate)];
    assert_eq!(server(&without_context(), &stream), expected);
    let mut server = Server::new(&with_context());
    assert_eq!(
        server.windows.bytes(),
        0,
        "nothing is kept before the first"
    );
    server.feed(&frame(FIN | RSV1 | TEXT, HELLO));
    assert!(server.windows.bytes() > 0);
    server.windows.remove(5);
    assert_eq!(server.windows.bytes(), 0);
}

#[test]
fn s7_2_3_3_a_block_without_compression() {
    let block = [
        0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00,
    ];
    assert_eq!(deflated(TEXT, &block), [text("Hello")]);
}

#[test]
fn s7_2_3_4_a_block_with_bfinal() {
    let ended = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let whole = [&ended[..], &[0x00]].concat();
    assert_eq!(deflated(TEXT, &whole), [text("Hello")]);
    assert_eq!(
        deflated(TEXT, &ended),
        [text("Hello")],
        "without the last byte"
    );
    let twice = [&whole[..7], &whole[..]].concat();
    assert_eq!(deflated(TEXT, &twice), [text("HelloHello")]);
    // What follows may refer to what came before, in this message and in those before it.
    let referring = [&ended[..], &[0xF2, 0x00, 0x11, 0x00, 0x00]].concat();
    assert_eq!(deflated(TEXT, &referring), [text("HelloHello")]);
    let mut stream = frame(FIN | RSV1 | TEXT, &whole);
    stream.extend(frame(FIN | RSV1 | TEXT, &referring[7..]));
    assert_eq!(
        server(&with_context(), &stream),
        [text("Hello"), text("Hello")]
    );
}

#[test]
fn s7_2_3_5_two_blocks() {
    let blocks = [
        0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00,
    ];
    assert_eq!(deflated(TEXT, &blocks), [text("Hello")]);
}

#[test]
fn s7_2_3_6_an_empty_message() {
    assert_eq!(deflated(TEXT, &[0x00]), [text("")]);
    assert_eq!(
        deflated(TEXT, &[0x02, 0x00]),
        [text("")],
        "an empty fixed block"
    );
    assert_eq!(
        deflated(TEXT, &[]),
        [text("")],
        "some senders leave out the byte"
    );
}

#[test]
fn s6_rsv1_on_the_first_frame_of_a_message_only() {
    let reserved = [Seen::Fault(ProtocolError::ReservedBits)];
    for first in [
        FIN | RSV1 | 9,
        FIN | RSV1 | 10,
        FIN | RSV1 | 8,
        FIN | RSV1 | CONTINUATION,
        FIN | RSV1 | 3,
        FIN | 0x20 | TEXT,
        FIN | 0x10 | TEXT,
        FIN | RSV1 | 0x20 | TEXT,
        FIN | 0x70 | BINARY,
    ] {
        let bytes = frame(first, b"");
        assert_eq!(server(&without_context(), &bytes), reserved, "{first:x}");
    }
    let mut stream = frame(RSV1 | TEXT, &HELLO[..3]);
    stream.extend(frame(FIN | RSV1 | CONTINUATION, &HELLO[3..]));
    assert_eq!(server(&without_context(), &stream), reserved);
    // Not agreed on: as ever.
    let mut plain = WebSocket::new(Role::Server);
    let mut bytes = frame(FIN | RSV1 | TEXT, HELLO);
    let event = plain.next_event(&Limits::default(), &mut &mut bytes[..]);
    assert_eq!(event, Err(ProtocolError::ReservedBits));
}

#[test]
fn s6_2_messages_may_come_uncompressed() {
    let mut stream = frame(FIN | TEXT, b"a");
    stream.extend(frame(TEXT, b"b"));
    stream.extend(frame(FIN | CONTINUATION, b"c"));
    stream.extend(frame(FIN | RSV1 | TEXT, HELLO));
    let expected = [text("a"), text("bc"), text("Hello")];
    assert_eq!(server(&with_context(), &stream), expected);
}

#[test]
fn s7_2_2_what_is_no_deflate_stream_ends_the_connection_with_1007() {
    let fault = [Seen::Fault(ProtocolError::Deflate)];
    assert_eq!(ProtocolError::Deflate.close_code().0, 1007);
    for bad in [
        &[0x06][..], // block type 3
        &[0xFF; 8],
        &HELLO[..3], // ends inside a block
        &HELLO[..6],
        &[0x00, 0x05, 0x00, 0x00, 0x00], // a length and another complement
        &stored(b"Hello")[..8],          // a stored block cut short
        &[0xF2, 0x00, 0x11, 0x00, 0x00], // refers to what never was
        &[0x00, 0x00, 0x00, 0xFF, 0xFF], // the tail sent along, but not as a whole block
        b"Hello",
    ] {
        assert_eq!(deflated(TEXT, bad), fault, "{bad:x?}");
    }
}

#[test]
fn s7_2_2_many_endings_are_no_honest_message() {
    // Each two bytes long, each a new beginning for the inflater.
    let endings = [0x03, 0x00].repeat(10_000);
    assert_eq!(
        deflated(TEXT, &endings),
        [Seen::Fault(ProtocolError::Deflate)]
    );
    assert_eq!(deflated(TEXT, &[0x03, 0x00].repeat(5)), [text("")]);
}

#[test]
fn text_is_checked_once_inflated() {
    let bad = compress(&[0xC3; 600], 15, 1);
    assert_eq!(
        deflated(TEXT, &bad),
        [Seen::Fault(ProtocolError::InvalidUtf8)]
    );
    assert_eq!(deflated(BINARY, &bad), [Seen::Binary(vec![0xC3; 600])]);
}

#[test]
fn s8_2_the_limit_holds_while_inflating() {
    let limit = 10_000;
    let at = |len: usize| {
        let mut server = Server::new(&without_context());
        server.limits = Limits::for_message_bytes(limit);
        server.feed(&frame(FIN | RSV1 | BINARY, &compress(&vec![7; len], 15, 1)))
    };
    assert_eq!(at(limit), [Seen::Binary(vec![7; limit])]);
    let too_big = [Seen::Fault(ProtocolError::InflatedTooBig)];
    assert_eq!(at(limit + 1), too_big);
    assert_eq!(at(100 * limit), too_big);
    assert_eq!(ProtocolError::InflatedTooBig.close_code().0, 1009);
}

#[test]
fn s8_2_a_gib_of_zeros_costs_no_more_than_a_message_may_have() {
    // A block of 32 KiB of zeros that refers to the one before, sent 32,768 times: about a MiB for a GiB.
    let begin = compress(&vec![0; 32 << 10], 15, 9);
    let mut bomb = begin.clone();
    bomb.extend_from_slice(&[0, 0, 0xFF, 0xFF]);
    while bomb.len() < 1 << 20 {
        bomb.extend_from_slice(&begin);
        bomb.extend_from_slice(&[0, 0, 0xFF, 0xFF]);
    }
    let mut server = Server::new(&with_context());
    server.limits = Limits {
        frame_bytes_max: 2 << 20,
        ..Limits::for_message_bytes(1 << 20)
    };
    let seen = server.feed(&frame(FIN | RSV1 | BINARY, &bomb));
    assert_eq!(seen, [Seen::Fault(ProtocolError::InflatedTooBig)]);
    assert!(server.inflater.heap_bytes() <= (1 << 20) + 1 + 2 * bomb.len());
    assert_eq!(server.windows.bytes(), 0);
    // And it goes back with the next message.
    let mut other = WebSocket::with_deflate(Role::Server, &without_context());
    let mut bytes = frame(FIN | RSV1 | TEXT, HELLO);
    let event = other.next_event_inflating(
        &server.limits,
        &mut &mut bytes[..],
        &mut server.inflater,
        &mut server.windows,
        6,
    );
    assert_eq!(event, Ok(Some(Event::Message(Message::Text("Hello")))));
    assert!(server.inflater.heap_bytes() <= 1 << 20);
}

#[test]
fn what_does_not_shrink_may_be_as_long_as_the_limit_says() {
    let limit = 8 * 65_535;
    let payload = noise(limit);
    let blocks: Vec<u8> = payload.chunks(65_535).flat_map(stored).collect();
    let mut server = Server::new(&without_context());
    server.limits = Limits::for_message_bytes(limit);
    let whole = [&blocks[..], &[0]].concat();
    assert!(whole.len() > limit);
    let seen = server.feed(&frame(FIN | RSV1 | BINARY, &whole));
    assert_eq!(seen, [Seen::Binary(payload)]);
    // In fragments too, and no further than that.
    let mut stream = frame(RSV1 | BINARY, &whole[..limit]);
    stream.extend(frame(FIN | CONTINUATION, &whole[limit..]));
    assert!(matches!(server.feed(&stream)[..], [Seen::Binary(_)]));
    let announced = [
        FIN | RSV1 | BINARY,
        0xFF,
        0,
        0,
        0,
        0,
        0,
        0x0F,
        0xFF,
        0xFF,
        0,
        0,
        0,
        0,
    ];
    let expected = [Seen::Fault(ProtocolError::FrameTooBig)];
    assert_eq!(server.feed(&announced), expected);
}

#[test]
fn fragments_are_counted_as_ever() {
    let mut server = Server::new(&without_context());
    server.limits.fragments_max = 2;
    let mut stream = frame(RSV1 | TEXT, HELLO);
    stream.extend(frame(CONTINUATION, b""));
    stream.extend(frame(FIN | CONTINUATION, b""));
    assert_eq!(
        server.feed(&stream),
        [Seen::Fault(ProtocolError::TooManyFragments)]
    );
}

/// Repeats itself at distances beyond the small windows and within the large ones.
fn long_text() -> Vec<u8> {
    let block = noise(700);
    let mut text = Vec::new();
    for n in 0..100_u8 {
        text.extend_from_slice(&block);
        text.extend_from_slice(&[n; 40]);
    }
    text
}

#[test]
fn every_window_and_level_inflates_to_what_went_in() {
    let long = long_text();
    let short =
        b"{\"chain\":\"supply\",\"chain\":\"supply\",\"height\":1234,\"height\":1235}".repeat(4);
    let mut compressor = Compressor::default();
    for bits in 9..=15 {
        for level in [1, 6, 9] {
            for payload in [
                &long[..],
                &short[..],
                &vec![9; 1 << bits],
                &vec![9; (1 << bits) + 1],
            ] {
                let mut out = b"before".to_vec();
                let message = Message::Binary(payload);
                let saved = compressor.encode_message(&mut out, message, bits, level, Some(KEY));
                let mut server = Server::new(&without_context());
                server.limits = Limits::for_message_bytes(1 << 20);
                let seen = server.feed(&out[6..]);
                assert!(seen == [Seen::Binary(payload.to_vec())], "{bits} {level}");
                assert_eq!(&out[..6], b"before");
                assert!(
                    saved > 0 || (bits == 9 && payload == long),
                    "{bits} {level}"
                );
                // Kept to the window: an inflater that has no more than that agrees.
                if saved > 0 {
                    let raw = compress(payload, bits, level);
                    let mut small = zlib_rs::Inflate::new(false, bits);
                    let mut room = vec![0; 64];
                    let mut got = Vec::new();
                    loop {
                        let (from, before) = (small.total_in() as usize, small.total_out());
                        let rest = &raw[from..];
                        small
                            .decompress(rest, &mut room, zlib_rs::InflateFlush::NoFlush)
                            .unwrap();
                        let made = (small.total_out() - before) as usize;
                        got.extend_from_slice(&room[..made]);
                        if made < room.len() {
                            break;
                        }
                    }
                    assert!(got == payload, "{bits} {level}");
                }
            }
        }
    }
}

#[test]
fn a_client_that_keeps_its_context_is_understood_in_every_window() {
    for bits in 9..=15_u8 {
        let agreed = agreed(&format!(
            "permessage-deflate; client_max_window_bits={bits}"
        ));
        let mut server = Server::new(&agreed);
        let mut client = zlib_rs::Deflate::new(6, false, bits);
        let block = noise(300);
        for n in 0..200_usize {
            let mut message = block[n % 100..].to_vec();
            message.extend_from_slice(&noise(n * n % 3000));
            let mut room = vec![0; message.len() + 200];
            let before = client.total_out();
            client
                .compress(&message, &mut room, zlib_rs::DeflateFlush::SyncFlush)
                .unwrap();
            room.truncate((client.total_out() - before) as usize - 4);
            let seen = server.feed(&frame(FIN | RSV1 | BINARY, &room));
            assert_eq!(seen, [Seen::Binary(message)], "{bits} {n}");
            assert!(server.windows.bytes() <= 1 << bits.max(10), "{bits} {n}");
        }
    }
}

#[test]
fn what_does_not_shrink_goes_out_as_it_is() {
    let mut compressor = Compressor::default();
    for payload in [&b""[..], b"x", &noise(100), &noise(70_000)] {
        let mut out = Vec::new();
        let saved = compressor.encode_message(&mut out, Message::Binary(payload), 15, 1, None);
        assert_eq!((saved, out[0]), (0, FIN | BINARY));
        assert!(out.ends_with(payload));
    }
    let mut out = Vec::new();
    let text = "all the same ".repeat(10_000);
    let saved = compressor.encode_message(&mut out, Message::Text(&text), 15, 1, None);
    assert_eq!(
        (out[0], out[1]),
        (FIN | RSV1 | TEXT, 0x7E),
        "a shorter header too"
    );
    assert_eq!(saved, text.len() - (out.len() - 4));
}

#[test]
fn after_a_close_frame_nothing_is_inflated() {
    let mut stream = frame(FIN | 8, &[]);
    stream.extend(frame(FIN | RSV1 | TEXT, &[0xFF; 8]));
    assert_eq!(server(&without_context(), &stream), [Seen::Close]);
}

#[test]
fn s7_1_the_answer_to_a_clients_offer() {
    use dunlin::ws::{AnswerError, accept_key, check_response_deflating};
    let accept = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
    let check = |extension: Option<&'static str>| {
        let mut headers = vec![
            ("Upgrade", &b"websocket"[..]),
            ("Connection", b"Upgrade"),
            ("Sec-WebSocket-Accept", &accept),
        ];
        headers.extend(extension.map(|value| ("sec-websocket-extensions", value.as_bytes())));
        let offer = ClientOffer::default();
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        check_response_deflating(101, headers.into_iter(), key, &[], &offer)
    };
    assert_eq!(check(None), Ok((None, None)));
    let (_, agreed) = check(Some("permessage-deflate; server_no_context_takeover")).unwrap();
    assert!(!agreed.unwrap().peer_keeps_context);
    for bad in [
        "permessage-deflate; x",
        "x",
        "permessage-deflate; client_max_window_bits=8",
    ] {
        assert_eq!(check(Some(bad)), Err(AnswerError::Extension), "{bad}");
    }
}

/// What zlib makes of a payload, with no more than a window of so many bits.
fn inflate(raw: &[u8], bits: u8, room: usize) -> Vec<u8> {
    let mut state = zlib_rs::Inflate::new(false, bits);
    let mut out = vec![0; room];
    let whole = [raw, &[0, 0, 0xFF, 0xFF]].concat();
    state
        .decompress(&whole, &mut out, zlib_rs::InflateFlush::SyncFlush)
        .unwrap();
    assert_eq!(state.total_in() as usize, whole.len());
    out.truncate(state.total_out() as usize);
    out
}

#[test]
fn small_messages_of_all_kinds_inflate_in_zlib() {
    let mut state = 7_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % bound
    };
    let mut compressor = Compressor::default();
    let mut shrunk = 0;
    for round in 0..4000 {
        let len = 1 + below([16, 300, 2000, 5000][round % 4]);
        // From one symbol to all of them, in runs, in copies of what was, and at random.
        let alphabet = 1 + below(256);
        let mut payload = Vec::new();
        while payload.len() < len {
            match below(4) {
                0 => payload.resize(payload.len() + 1 + below(400), below(alphabet) as u8),
                1 if !payload.is_empty() => {
                    let from = below(payload.len());
                    let end = (from + below(300)).min(payload.len());
                    payload.extend_from_within(from..end);
                }
                _ => payload.extend((0..1 + below(40)).map(|_| below(alphabet) as u8)),
            }
        }
        payload.truncate(len);
        let bits = 9 + (round % 7) as u8;
        let mut out = Vec::new();
        let message = Message::Binary(&payload);
        if compressor.encode_message(&mut out, message, bits, 1, None) == 0 {
            continue;
        }
        shrunk += 1;
        let header = if out[1] == 0x7E { 4 } else { 2 };
        assert!(
            inflate(&out[header..], bits, len + 1) == payload,
            "{payload:x?}"
        );
    }
    assert!(shrunk > 2000, "{shrunk}");
}

#[test]
fn counts_of_every_shape_give_codes_that_zlib_takes() {
    let mut compressor = Compressor::default();
    // Frequencies that grow like Fibonacci numbers make the deepest trees.
    for symbols in 1..=18_u8 {
        let (mut a, mut b) = (1_usize, 1);
        let mut payload = Vec::new();
        for symbol in 0..symbols {
            // Spread out, so that they stay literals.
            payload.extend((0..a).map(|n| (symbol, n * 7919 % 4096)));
            (a, b) = (b, a + b);
        }
        payload.sort_by_key(|(symbol, place)| (*place, *symbol));
        let payload: Vec<u8> = payload
            .iter()
            .map(|(symbol, _)| *symbol)
            .take(4096)
            .collect();
        let mut out = Vec::new();
        let message = Message::Binary(&payload);
        if compressor.encode_message(&mut out, message, 15, 1, None) > 0 {
            let header = if out[1] == 0x7E { 4 } else { 2 };
            assert!(inflate(&out[header..], 15, 5000) == payload, "{symbols}");
        }
    }
}
