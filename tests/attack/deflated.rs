//! Attacks by compression: little that becomes much, and much that becomes nothing.

use std::time::Instant;

use dunlin::ws::OpCode;
use dunlin::ws::deflate::Compressor;

use crate::arena::{Arena, Class};
use crate::frames::{FLOODERS, NONE};
use crate::raw::{Code, KEY, Raw, codes, frame, times};

pub(crate) const CLASSES: &[Class] = &[
    Class {
        name: "compression bombs",
        settings: &[("DEFLATE", "true")],
        attack: bombs,
        ..NONE
    },
    Class {
        name: "compressed blocks without content",
        settings: &[("DEFLATE", "true")],
        attack: empty_blocks,
        ..NONE
    },
];

/// An opening handshake that offers the extension, answered with it.
fn open(address: &str) -> Raw {
    let mut raw = Raw::connect(address);
    raw.send(
        b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
          Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    )
    .unwrap();
    raw.opened();
    raw
}

/// A compressed message (RFC 7692 §7.2.1: RSV1 of its first frame).
fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut message = frame(OpCode::Binary, payload);
    message[0] |= 0x40;
    message
}

/// Floods with one message, each time anew; how each connection ended.
fn flood(arena: &mut Arena, message: &[u8]) -> (usize, Vec<Code>) {
    let (address, until) = (arena.main(), arena.until());
    arena.attackers = FLOODERS;
    arena.each_kib_max = 4096;
    // A compressed message is collected before it is inflated: buffers of a size that an allocator likes to keep.
    arena.left_kib_max = 8 << 10;
    std::thread::scope(|scope| {
        let flooder = || {
            let (mut count, mut ends) = (0, Vec::new());
            while Instant::now() < until {
                let mut raw = open(&address);
                for _ in 0..20 {
                    if raw.send(message).is_err() {
                        break;
                    }
                    count += 1;
                }
                _ = raw.send(&frame(OpCode::Close, &1000_u16.to_be_bytes()));
                ends.push(raw.end().1);
            }
            (count, ends)
        };
        let threads: Vec<_> = (0..FLOODERS).map(|_| scope.spawn(flooder)).collect();
        let (mut count, mut ends) = (0, Vec::new());
        for thread in threads {
            let (sent, ended) = thread.join().unwrap();
            count += sent;
            ends.extend(ended);
        }
        (count, ends)
    })
}

fn bombs(arena: &mut Arena) -> String {
    let mut message = Vec::new();
    let zeros = vec![0; 64 << 20];
    Compressor::default().encode_frame(&mut message, OpCode::Binary, &zeros, 15, 9, Some(KEY));
    let (count, ends) = flood(arena, &message);
    let known = |end: &Code| end.is_none() || *end == Some(1009);
    arena.expect(ends.iter().all(known), || codes(&ends));
    format!(
        "{count} messages of {} KiB that would become 64 MiB: {}",
        message.len() / 1024,
        codes(&ends)
    )
}

fn empty_blocks(arena: &mut Arena) -> String {
    // Four blocks with fixed codes and nothing but their end, in five bytes; then the header of the block that the
    // receiver completes.
    let mut payload = times(arena.pick(40_000, 200_000), &[0x02, 0x08, 0x20, 0x80, 0x00]);
    payload.push(0);
    let (count, ends) = flood(arena, &compressed(&payload));
    let known = |end: &Code| end.is_none() || *end == Some(1000);
    arena.expect(ends.iter().all(known), || codes(&ends));
    format!(
        "{count} messages of {} KiB that become nothing: {}",
        payload.len() / 1024,
        codes(&ends)
    )
}
