//! The opening handshake: the check of a browser's request and the answer, against the hash it cannot avoid.
//!
//! Budget: a connection costs tens of microseconds in the kernel; the handshake should stay at a small part of one.

#![allow(missing_docs)]

mod common;

use common::{Bench, Contender};
use dunlin::ws::{Subprotocols, UpgradeRequest, accept_key, check, write_switching_protocols};
use std::hint::black_box;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a browser sends, in its order.
const HEADERS: [(&str, &[u8]); 14] = [
    ("Host", b"server.example.com"),
    ("Connection", b"Upgrade"),
    ("Pragma", b"no-cache"),
    ("Cache-Control", b"no-cache"),
    (
        "User-Agent",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
    ),
    ("Upgrade", b"websocket"),
    ("Origin", b"http://server.example.com"),
    ("Sec-WebSocket-Version", b"13"),
    ("Accept-Encoding", b"gzip, deflate, br, zstd"),
    ("Accept-Language", b"en-GB,en;q=0.9"),
    (
        "Cookie",
        b"session=0123456789abcdef0123456789abcdef; theme=dark",
    ),
    ("Sec-WebSocket-Key", KEY.as_bytes()),
    (
        "Sec-WebSocket-Extensions",
        b"permessage-deflate; client_max_window_bits",
    ),
    ("Sec-WebSocket-Protocol", b"chat, superchat"),
];

fn main() {
    let bench = Bench::from_args();
    let policy = Subprotocols::List(vec!["superchat".to_owned()]);
    let request = || UpgradeRequest {
        method: "GET",
        target: "/chat",
        minor_version: 1,
        headers: HEADERS.iter().copied(),
    };
    let mut out = Vec::new();
    let whole = || {
        out.clear();
        if let Ok(offer) = check(black_box(request())) {
            let extra = [("Server", "dunlin")];
            write_switching_protocols(&mut out, offer.key, policy.choose(&offer), extra);
        }
        assert!(!out.is_empty());
    };
    let accept = || {
        black_box(accept_key(black_box(KEY)));
    };
    let check = || {
        let _ = black_box(check(black_box(request())));
    };
    let contenders: Vec<Contender<'_>> = vec![
        ("accept key", Box::new(accept)),
        ("check", Box::new(check)),
        ("whole", Box::new(whole)),
    ];
    bench.group("handshake", 0, contenders);
}
