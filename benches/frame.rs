//! Frames: headers, and the whole way from received bytes to messages, against a decoder that copies.
//!
//! Budget: a gathered small frame costs 130 to 150 ns in the kernel; decoding one should stay well below that.

#![allow(missing_docs)]

mod common;

use common::{Bench, Contender};
use dunlin::ws::{
    Event, FrameHeader, HEADER_BYTES_MAX, Limits, Message, OpCode, Role, WebSocket, encode_message,
    mask_bytewise,
};
use std::hint::black_box;

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
/// Messages that lie in one receive buffer.
const PIPELINED: usize = 64;

fn main() {
    let bench = Bench::from_args();
    header(&bench);
    for len in [16, 125, 1024, 4096] {
        decode(&bench, len);
        encode(&bench, len);
    }
}

fn header(bench: &Bench) {
    let header = FrameHeader {
        fin: true,
        rsv: 0,
        opcode: OpCode::Text,
        mask: Some(KEY),
        len: 1024,
    };
    let mut bytes = [0; HEADER_BYTES_MAX];
    let taken = header.encode(&mut bytes);
    let parse = || {
        let _ = black_box(FrameHeader::parse(black_box(&bytes[..taken])));
    };
    let encode = || {
        let mut out = [0; HEADER_BYTES_MAX];
        black_box(header).encode(black_box(&mut out));
    };
    let contenders: Vec<Contender<'_>> =
        vec![("parse", Box::new(parse)), ("encode", Box::new(encode))];
    bench.group("header", 0, contenders);
}

/// Pipelined masked text messages, in place, cut at odd places, and by a naive decoder with a buffer of its own.
fn decode(bench: &Bench, len: usize) {
    let limits = Limits::default();
    let mut stream = Vec::new();
    for _ in 0..PIPELINED {
        encode_message(&mut stream, Message::Text(&"x".repeat(len)), Some(KEY));
    }
    let bytes = stream.len();
    let mut buffers = [stream.clone(), stream.clone(), stream.clone()];
    let [whole, cut, naive] = &mut buffers;
    // Every contender begins by receiving: decoding changes the bytes where they lie.
    let whole = || {
        whole.copy_from_slice(&stream);
        let mut socket = WebSocket::new(Role::Server);
        assert_eq!(count(&mut socket, &limits, whole), PIPELINED);
    };
    let cut = || {
        cut.copy_from_slice(&stream);
        let mut socket = WebSocket::new(Role::Server);
        let pieces = cut.chunks_mut(len + len / 3);
        let messages: usize = pieces.map(|piece| count(&mut socket, &limits, piece)).sum();
        assert_eq!(messages, PIPELINED);
    };
    let naive = || {
        naive.copy_from_slice(&stream);
        assert_eq!(copying(naive), PIPELINED);
    };
    let contenders: Vec<Contender<'_>> = vec![
        ("in place", Box::new(whole)),
        ("cut", Box::new(cut)),
        ("copying", Box::new(naive)),
    ];
    bench.group(&format!("decode {PIPELINED}x/{len}"), bytes, contenders);
}

fn count(socket: &mut WebSocket, limits: &Limits, mut input: &mut [u8]) -> usize {
    let mut messages = 0;
    while let Ok(Some(event)) = socket.next_event(limits, &mut input) {
        messages += usize::from(matches!(black_box(event), Event::Message(_)));
    }
    messages
}

/// A decoder as one might write it first: a buffer, a copy per message, unmasking byte by byte.
fn copying(mut input: &[u8]) -> usize {
    let mut messages = 0;
    while let Ok(Some((header, taken))) = FrameHeader::parse(input) {
        let end = taken + header.len as usize;
        let mut payload = input[taken..end].to_vec();
        mask_bytewise(&mut payload, header.mask.unwrap_or_default(), 0);
        messages += usize::from(black_box(String::from_utf8(payload)).is_ok());
        input = &input[end..];
    }
    messages
}

/// One message into a buffer that is reused: as the server sends, and as the client does.
fn encode(bench: &Bench, len: usize) {
    let text = "x".repeat(len);
    let message = Message::Text(&text);
    let (mut plain, mut masked) = (Vec::new(), Vec::new());
    let contenders: Vec<Contender<'_>> = vec![
        (
            "plain",
            Box::new(|| {
                plain.clear();
                encode_message(black_box(&mut plain), black_box(message), None);
            }),
        ),
        (
            "masked",
            Box::new(|| {
                masked.clear();
                encode_message(black_box(&mut masked), black_box(message), Some(KEY));
            }),
        ),
    ];
    bench.group(&format!("encode/{len}"), len, contenders);
}
