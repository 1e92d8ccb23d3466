//! All chapters at once: the same stream means the same wherever reads are cut.

use super::*;
use dunlin::ws::{CloseCode, encode_close, encode_message};

// Wherever reads are cut ----------------------------------------------------------------------------------------

/// Streams of many kinds, ending well or with a fault.
fn streams(role: Role) -> Vec<Vec<u8>> {
    let medium = [b'm'; 300];
    let frames = |list: &[(bool, OpCode, &[u8])]| stream(role, list);
    let mut streams = vec![
        frames(&[
            (FIN, Text, b"one"),
            (FIN, Binary, b"two"),
            (FIN, Ping, b"three"),
            (FIN, Close, b"\x03\xe8four"),
        ]),
        frames(&[
            (MORE, Text, b"a\xce"),
            (FIN, Ping, b"inside"),
            (MORE, Continuation, b"\xba"),
            (FIN, Continuation, b""),
        ]),
        frames(&[(FIN, Binary, &medium), (FIN, Text, b""), (FIN, Pong, b"")]),
        frames(&[
            (MORE, Binary, b"x"),
            (FIN, Close, b"\x03\xe9"),
            (FIN, Text, b"ignored"),
        ]),
        frames(&[
            (FIN, Text, b"fine"),
            (FIN, Text, b"broken \xff here"),
            (FIN, Text, b"ignored"),
        ]),
        frames(&[(FIN, Text, b"fine"), (FIN, Continuation, b"x")]),
        frames(&[(FIN, Text, b"fine"), (FIN, Close, b"\x03")]),
        frames(&[
            (MORE, Text, "caf\u{e9} \u{1F980}".as_bytes()),
            (FIN, Continuation, "\u{10FFFF}".as_bytes()),
        ]),
    ];
    let mut too_big = frames(&[(FIN, Text, b"fine")]);
    too_big.extend(announced(role, FIN, Binary, 1 << 20));
    streams.push(too_big);
    let mut unfinished = frames(&[(FIN, Text, b"fine")]);
    unfinished.extend(announced(role, FIN, Text, 3000));
    unfinished.extend(b"never finished");
    streams.push(unfinished);
    streams
}

#[test]
fn whole_equals_chunked_at_every_pair_of_cuts() {
    let limits = Limits::default();
    for role in ROLES {
        for bytes in streams(role) {
            let whole = decode(role, &limits, &[&bytes]);
            for first in 0..=bytes.len() {
                // Every second cut for short streams, a window of near ones for long streams.
                let last = if bytes.len() < 100 {
                    bytes.len()
                } else {
                    bytes.len().min(first + 16)
                };
                for second in first..=last {
                    let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    assert_eq!(
                        decode(role, &limits, &pieces),
                        whole,
                        "cut at {first} and {second}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_one_role_encodes_the_other_decodes() {
    let payloads = ["", "x", "\u{1F980}", &"long ".repeat(100)];
    for role in ROLES {
        let mask = (role == Role::Server).then_some([0xA5, 0x5A, 0x00, 0xFF]);
        let mut bytes = Vec::new();
        for payload in payloads {
            encode_message(&mut bytes, Message::Text(payload), mask);
            encode_message(&mut bytes, Message::Binary(payload.as_bytes()), mask);
        }
        encode_close(&mut bytes, CloseCode::RESTART, "restart", mask);
        let mut expected = Vec::new();
        for payload in payloads {
            expected.push(text(payload));
            expected.push(Seen::Binary(payload.as_bytes().to_vec()));
        }
        expected.push(close(1012, "restart"));
        assert_eq!(both_ways(role, &bytes), expected);
    }
}
