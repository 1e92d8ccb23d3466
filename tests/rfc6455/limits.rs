//! Chapters 8 and 10: what is refused for its content or its size.

use super::*;
use dunlin::ws::CloseCode;

// §8.1 Text is UTF-8 --------------------------------------------------------------------------------------------

/// Valid and invalid texts, the last byte of each prefix deciding.
const TEXTS: [&[u8]; 12] = [
    b"",
    b"ascii only",
    "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}".as_bytes(),
    "\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}".as_bytes(),
    b"stray \x80",
    b"overlong \xc0\xaf",
    b"overlong \xe0\x9f\xbf",
    b"surrogate \xed\xa0\x80",
    b"beyond \xf4\x90\x80\x80",
    b"never \xff",
    b"cut \xe2\x82",
    b"cut \xf0\x9f\x98 short",
];

#[test]
fn s8_1_agrees_with_std_whole_and_at_every_split() {
    for sample in TEXTS {
        let expected = match std::str::from_utf8(sample) {
            Ok(valid) => vec![text(valid)],
            Err(_) => fault(ProtocolError::InvalidUtf8),
        };
        assert_eq!(both(&[(FIN, Text, sample)]), expected, "{sample:x?}");
        for cut in 0..=sample.len() {
            let (head, tail) = sample.split_at(cut);
            assert_eq!(
                both(&[(MORE, Text, head), (FIN, Continuation, tail)]),
                expected
            );
            // The same, with a control frame inside the character.
            let seen = both(&[
                (MORE, Text, head),
                (FIN, Pong, b"\xff"),
                (FIN, Continuation, tail),
            ]);
            let without_pong: Vec<Seen> = seen
                .into_iter()
                .filter(|seen| !matches!(seen, Seen::Pong(_)))
                .collect();
            assert_eq!(without_pong, expected);
        }
    }
}

#[test]
fn s8_1_a_fault_shows_with_its_first_byte_inside_a_frame() {
    for sample in TEXTS {
        let dead = |end: &usize| {
            std::str::from_utf8(&sample[..*end]).is_err_and(|fault| fault.error_len().is_some())
        };
        let Some(end) = (0..=sample.len()).find(dead) else {
            continue;
        };
        let mut bytes = announced(Role::Client, FIN, Text, 1000);
        bytes.extend(&sample[..end - 1]);
        assert_eq!(client(&bytes), [], "{sample:x?}");
        bytes.push(sample[end - 1]);
        assert_eq!(
            client(&bytes),
            fault(ProtocolError::InvalidUtf8),
            "{sample:x?}"
        );
    }
}

#[test]
fn s8_1_a_character_may_not_span_messages() {
    let seen = both(&[(FIN, Text, b"\xc3"), (FIN, Text, b"\xa9")]);
    assert_eq!(seen, fault(ProtocolError::InvalidUtf8));
}

// §10.4 Limits, at the edge -------------------------------------------------------------------------------------

const TIGHT: Limits = Limits {
    message_bytes_max: 20,
    frame_bytes_max: 10,
    fragments_max: 3,
};

fn tight(role: Role, bytes: &[u8]) -> Vec<Seen> {
    let whole = decode(role, &TIGHT, &[bytes]);
    let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(whole, decode(role, &TIGHT, &bytewise));
    whole
}

#[test]
fn s10_4_a_frame_of_n_bytes_passes_and_n_plus_1_is_refused_at_the_header() {
    for role in ROLES {
        for opcode in [Text, Binary] {
            let seen = tight(role, &frame_to(role, FIN, opcode, &[b'x'; 10]));
            assert!(matches!(&seen[..], [Seen::Text(_) | Seen::Binary(_)]));
            let seen = tight(role, &announced(role, FIN, opcode, 11));
            assert_eq!(seen, fault(ProtocolError::FrameTooBig));
            let seen = tight(role, &announced(role, MORE, opcode, i64::MAX as u64));
            assert_eq!(seen, fault(ProtocolError::FrameTooBig));
        }
    }
    assert_eq!(ProtocolError::FrameTooBig.close_code(), CloseCode::TOO_BIG);
}

#[test]
fn s10_4_a_message_of_n_bytes_passes_and_n_plus_1_is_refused_at_the_header() {
    for role in ROLES {
        let ten: (bool, OpCode, &[u8]) = (MORE, Binary, &[1; 10]);
        let seen = tight(role, &stream(role, &[ten, (FIN, Continuation, &[1; 10])]));
        assert_eq!(seen, [Seen::Binary(vec![1; 20])]);
        let mut bytes = stream(role, &[ten, (MORE, Continuation, &[1; 10])]);
        bytes.extend(announced(role, FIN, Continuation, 1));
        assert_eq!(tight(role, &bytes), fault(ProtocolError::MessageTooBig));
    }
    assert_eq!(
        ProtocolError::MessageTooBig.close_code(),
        CloseCode::TOO_BIG
    );
}

#[test]
fn s10_4_n_fragments_pass_and_n_plus_1_are_refused_empty_ones_too() {
    for role in ROLES {
        let three: [(bool, OpCode, &[u8]); 3] = [
            (MORE, Text, b""),
            (MORE, Continuation, b""),
            (FIN, Continuation, b""),
        ];
        assert_eq!(tight(role, &stream(role, &three)), [text("")]);
        let mut bytes = stream(
            role,
            &[
                (MORE, Text, b""),
                (MORE, Continuation, b""),
                (MORE, Continuation, b""),
            ],
        );
        bytes.extend(&frame_to(role, FIN, Continuation, b"")[..2]);
        assert_eq!(tight(role, &bytes), fault(ProtocolError::TooManyFragments));
    }
    assert_eq!(
        ProtocolError::TooManyFragments.close_code(),
        CloseCode::POLICY
    );
}

#[test]
fn s10_4_limits_count_each_message_anew() {
    for role in ROLES {
        let message: [(bool, OpCode, &[u8]); 2] =
            [(MORE, Binary, &[1; 10]), (FIN, Continuation, &[1; 10])];
        let bytes = stream(role, &[message, message, message].concat());
        assert_eq!(tight(role, &bytes), vec![Seen::Binary(vec![1; 20]); 3]);
    }
}

#[test]
fn s10_4_the_defaults() {
    let limits = Limits::default();
    let expected = Limits {
        message_bytes_max: 65_536,
        frame_bytes_max: 65_536,
        fragments_max: 1024 + 2048,
    };
    assert_eq!(limits, expected);
    assert_eq!(
        Limits::for_message_bytes(usize::MAX).fragments_max,
        u32::MAX
    );
    // A conformance suite sends 4 MiB as 65,536 frames.
    assert!(Limits::for_message_bytes(4 << 20).fragments_max >= 65_536);
}
