//! RFC 6455 as a matrix: a file per chapter, a heading per section, a test per rule, both roles where both are concerned.
//!
//! `sX_Y` in a test's name is the section it covers.

#![allow(clippy::unwrap_used)]

mod closing;
mod cuts;
mod framing;
mod handshake;
mod limits;

use dunlin::ws::{
    Event, FrameHeader, HEADER_BYTES_MAX, Limits, Message, OpCode, ProtocolError, Role, WebSocket,
    encode_frame,
};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// An event with everything copied, or the fault that ended the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    Fault(ProtocolError),
}

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

fn close(code: u16, reason: &str) -> Seen {
    Seen::Close(code, reason.to_owned())
}

/// Feeds pieces to a fresh decoder, and tells all it made of them.
fn decode(role: Role, limits: &Limits, pieces: &[&[u8]]) -> Vec<Seen> {
    let mut socket = WebSocket::new(role);
    let mut seen = Vec::new();
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut input = &mut bytes[..];
        loop {
            seen.push(match socket.next_event(limits, &mut input) {
                Ok(None) => break,
                Ok(Some(Event::Message(Message::Text(message)))) => text(message),
                Ok(Some(Event::Message(Message::Binary(bytes)))) => Seen::Binary(bytes.to_vec()),
                Ok(Some(Event::Ping(payload))) => Seen::Ping(payload.to_vec()),
                Ok(Some(Event::Pong(payload))) => Seen::Pong(payload.to_vec()),
                Ok(Some(Event::Close(code, reason))) => close(code.0, reason),
                Err(error) => Seen::Fault(error),
            });
        }
        assert!(input.is_empty());
    }
    seen
}

/// What a server sees of these bytes, which must be the same whole and byte by byte.
fn server(bytes: &[u8]) -> Vec<Seen> {
    both_ways(Role::Server, bytes)
}

/// What a client sees of these bytes, which must be the same whole and byte by byte.
fn client(bytes: &[u8]) -> Vec<Seen> {
    both_ways(Role::Client, bytes)
}

fn both_ways(role: Role, bytes: &[u8]) -> Vec<Seen> {
    let limits = Limits::default();
    let whole = decode(role, &limits, &[bytes]);
    let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(
        whole,
        decode(role, &limits, &bytewise),
        "whole and byte by byte"
    );
    whole
}

/// A frame as `role` must receive it: masked for a server.
fn frame_to(role: Role, fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mask = (role == Role::Server).then_some(KEY);
    let mut out = Vec::new();
    encode_frame(&mut out, opcode, payload, mask);
    if !fin {
        out[0] &= 0x7F;
    }
    out
}

const FIN: bool = true;
const MORE: bool = false;
const ROLES: [Role; 2] = [Role::Server, Role::Client];
use OpCode::{Binary, Close, Continuation, Ping, Pong, Text};

/// A stream of frames to `role`.
fn stream(role: Role, frames: &[(bool, OpCode, &[u8])]) -> Vec<u8> {
    frames
        .iter()
        .flat_map(|&(fin, opcode, payload)| frame_to(role, fin, opcode, payload))
        .collect()
}

/// What both roles see of these frames, each in its own masking; it must be the same.
fn both(frames: &[(bool, OpCode, &[u8])]) -> Vec<Seen> {
    let seen = server(&stream(Role::Server, frames));
    assert_eq!(
        seen,
        client(&stream(Role::Client, frames)),
        "server and client"
    );
    seen
}

/// A header alone, as `role` must receive it, announcing `len` bytes that do not come.
fn announced(role: Role, fin: bool, opcode: OpCode, len: u64) -> Vec<u8> {
    let mask = (role == Role::Server).then_some(KEY);
    let mut out = [0; HEADER_BYTES_MAX];
    let taken = FrameHeader {
        fin,
        rsv: 0,
        opcode,
        mask,
        len,
    }
    .encode(&mut out);
    out[..taken].to_vec()
}

fn fault(error: ProtocolError) -> Vec<Seen> {
    vec![Seen::Fault(error)]
}
