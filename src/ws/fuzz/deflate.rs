//! The body of the fuzz target `deflate`.

use super::{Decoded, Seen, copied, cuts};
use crate::ws::deflate::{ClientOffer, Compressor, Inflater, Windows};
use crate::ws::{Limits, Message, OpCode, Role, WebSocket, encode_frame};

/// Oracle: whole equals chunked equals byte by byte, nothing is larger than the limit, what the peer's context costs
/// is bounded; and what we compress inflates to what it was.
///
/// Byte 0 chooses what the rest is (frames, payloads of compressed messages, or messages to compress), context and
/// limits, byte 1 the cuts or the window and level.
pub fn deflate(data: &[u8]) {
    let Some((&[setup, seed], rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    if setup & 3 == 0 {
        round_trip(seed, rest);
        return;
    }
    let frames;
    let stream = if setup & 3 == 1 {
        rest
    } else {
        frames = payloads(rest);
        &frames
    };
    let limits = Limits::for_message_bytes(match setup >> 2 & 3 {
        0 => 64 << 10,
        1 => 4 << 10,
        2 => 100,
        _ => 1,
    });
    let keeps_context = setup & 0x10 != 0;
    // One inflater for all three, as connections share one: what is left of one must not show in the next.
    let mut inflater = Inflater::default();
    let whole = decode(&mut inflater, keeps_context, &limits, stream, |_| {
        usize::MAX
    });
    let chunked = decode(&mut inflater, keeps_context, &limits, stream, cuts(seed));
    let bytewise = decode(&mut inflater, keeps_context, &limits, stream, |_| 1);
    assert_eq!(whole, chunked, "whole and chunked");
    assert_eq!(whole, bytewise, "whole and byte by byte");
}

/// A length byte and so many bytes of payload, each as one compressed message.
fn payloads(mut rest: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let Some((&len, behind)) = rest.split_first() {
        let (payload, behind) = behind.split_at(behind.len().min(usize::from(len)));
        rest = behind;
        let start = stream.len();
        encode_frame(&mut stream, OpCode::Binary, payload, Some([1, 2, 3, len]));
        stream[start] |= 0x40;
    }
    stream
}

/// As `decode` of the plain decoder, with permessage-deflate agreed on.
fn decode(
    inflater: &mut Inflater,
    keeps_context: bool,
    limits: &Limits,
    stream: &[u8],
    mut piece: impl FnMut(usize) -> usize,
) -> Decoded {
    // The server's side of this, seen by a client that reads it as an answer.
    let answer = if keeps_context {
        &b"permessage-deflate; server_max_window_bits=10"[..]
    } else {
        b"permessage-deflate; server_no_context_takeover"
    };
    let agreed = ClientOffer::default().check([answer]);
    let agreed = agreed.expect("a good answer").expect("an extension");
    let mut socket = WebSocket::with_deflate(Role::Server, &agreed);
    let mut windows = Windows::default();
    let mut bytes = stream.to_vec();
    let mut rest = &mut bytes[..];
    let mut seen = Vec::new();
    let mut received = 0;
    while !rest.is_empty() {
        let length = piece(received).clamp(1, rest.len());
        let (mut input, behind) = rest.split_at_mut(length);
        rest = behind;
        received += length;
        loop {
            match socket.next_event_inflating(limits, &mut input, inflater, &mut windows, 0) {
                Ok(Some(event)) => seen.push(Seen::Event(copied(event))),
                Ok(None) => break,
                Err(error) => seen.push(Seen::Fault(error)),
            }
        }
        for message in &seen {
            if let Seen::Event(super::Plain::Binary(bytes)) = message {
                assert!(bytes.len() <= limits.message_bytes_max);
            }
        }
        assert!(input.is_empty(), "None means that all was consumed");
        assert!(inflater.heap_bytes() <= (64 << 10) + 1 + 2 * (stream.len() + 16));
        assert!(windows.bytes() <= 1 << 10);
        assert!(keeps_context || windows.is_empty());
        assert!(socket.buffered_bytes() <= 2 * received + super::ASSEMBLY_BYTES_MAX);
    }
    Decoded {
        seen,
        is_mid_message: socket.is_mid_message(),
        is_closed: socket.is_closed(),
    }
}

/// The same compressor for several messages, as a worker has one for all.
fn round_trip(seed: u8, rest: &[u8]) {
    let (bits, level) = (9 + seed % 7, 1 + seed / 7 % 9);
    let mut compressor = Compressor::default();
    let repeated = rest.repeat(1 + usize::from(seed >> 6) * 40);
    for payload in [rest, &repeated, rest] {
        let mut frame = Vec::new();
        let message = Message::Binary(payload);
        let saved = compressor.encode_message(&mut frame, message, bits, level, Some([5; 4]));
        assert_eq!(saved > 0, frame[0] & 0x40 != 0);
        assert!(frame.len() <= payload.len() + 14 - saved);
        let mut inflater = Inflater::default();
        let limits = Limits::for_message_bytes(1 << 24);
        let seen = decode_one(&mut inflater, &limits, &mut frame);
        assert_eq!(seen, [Seen::Event(super::Plain::Binary(payload.to_vec()))]);
    }
}

fn decode_one(inflater: &mut Inflater, limits: &Limits, frame: &mut [u8]) -> Vec<Seen> {
    let answer = &b"permessage-deflate; server_no_context_takeover"[..];
    let agreed = ClientOffer::default().check([answer]);
    let agreed = agreed.expect("a good answer").expect("an extension");
    let mut socket = WebSocket::with_deflate(Role::Server, &agreed);
    let (mut windows, mut input, mut seen) = (Windows::default(), frame, Vec::new());
    while let Ok(Some(event)) =
        socket.next_event_inflating(limits, &mut input, inflater, &mut windows, 0)
    {
        seen.push(Seen::Event(copied(event)));
    }
    seen
}
