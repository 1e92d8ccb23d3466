//! Chapter 5: data framing.

use super::*;
use dunlin::ws::{CloseCode, encode_message};

// §5.1 Overview: masking by role --------------------------------------------------------------------------------

#[test]
fn s5_1_a_server_refuses_an_unmasked_frame_after_two_bytes() {
    for opcode in [Text, Binary, Ping, Pong, Close] {
        let frame = frame_to(Role::Client, FIN, opcode, b"");
        assert_eq!(server(&frame[..2]), fault(ProtocolError::Unmasked));
    }
}

#[test]
fn s5_1_a_client_refuses_a_masked_frame_after_two_bytes() {
    for opcode in [Text, Binary, Ping, Pong, Close] {
        let frame = frame_to(Role::Server, FIN, opcode, b"");
        assert_eq!(client(&frame[..2]), fault(ProtocolError::Masked));
    }
}

// §5.2 Base framing protocol ------------------------------------------------------------------------------------

#[test]
fn s5_2_each_reserved_bit_is_refused_after_two_bytes() {
    for role in ROLES {
        for bit in [0x10, 0x20, 0x40, 0x70] {
            let mut frame = frame_to(role, FIN, Text, b"x");
            frame[0] |= bit;
            assert_eq!(
                both_ways(role, &frame[..2]),
                fault(ProtocolError::ReservedBits)
            );
        }
    }
}

#[test]
fn s5_2_each_reserved_opcode_is_refused_after_two_bytes() {
    for role in ROLES {
        for bits in (0x3..=0x7).chain(0xB..=0xF) {
            let mut frame = frame_to(role, FIN, Text, b"");
            frame[0] = 0x80 | bits;
            assert_eq!(
                both_ways(role, &frame[..2]),
                fault(ProtocolError::ReservedOpCode)
            );
        }
    }
}

#[test]
fn s5_2_lengths_at_the_edges_of_each_form_arrive() {
    for len in [0, 1, 125, 126, 127, 65_534, 65_535, 65_536] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        assert_eq!(
            both(&[(FIN, Binary, &payload)]),
            [Seen::Binary(payload.clone())],
            "{len}"
        );
    }
}

#[test]
fn s5_2_a_length_not_in_its_shortest_form_is_refused_before_the_key() {
    let long_forms: [&[u8]; 5] = [
        &[0x82, 0xFE, 0, 0],
        &[0x82, 0xFE, 0, 125],
        &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 5],
        &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 126],
        &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
    ];
    for header in long_forms {
        assert_eq!(server(header), fault(ProtocolError::LengthNotMinimal));
        let mut unmasked = header.to_vec();
        unmasked[1] &= 0x7F;
        assert_eq!(client(&unmasked), fault(ProtocolError::LengthNotMinimal));
    }
}

#[test]
fn s5_2_the_top_bit_of_a_64_bit_length_is_refused() {
    let header = [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(server(&header), fault(ProtocolError::LengthTopBit));
}

// §5.3 Client-to-server masking ---------------------------------------------------------------------------------

#[test]
fn s5_3_any_key_is_undone_even_zero_and_across_every_cut() {
    for key in [[0; 4], KEY, [0xFF; 4], [1, 0, 0, 0]] {
        let mut frame = Vec::new();
        encode_message(&mut frame, Message::Binary(b"0123456789abcdef!"), Some(key));
        for cut in 0..=frame.len() {
            let pieces = [&frame[..cut], &frame[cut..]];
            let seen = decode(Role::Server, &Limits::default(), &pieces);
            assert_eq!(seen, [Seen::Binary(b"0123456789abcdef!".to_vec())]);
        }
    }
}

// §5.4 Fragmentation --------------------------------------------------------------------------------------------

#[test]
fn s5_4_fragments_make_one_message() {
    let frames: &[(bool, OpCode, &[u8])] = &[
        (MORE, Text, b"Hel"),
        (MORE, Continuation, b""),
        (FIN, Continuation, b"lo"),
    ];
    assert_eq!(both(frames), [text("Hello")]);
}

#[test]
fn s5_4_empty_fragments_make_an_empty_message() {
    let seen = both(&[
        (MORE, Text, b""),
        (MORE, Continuation, b""),
        (FIN, Continuation, b""),
    ]);
    assert_eq!(seen, [text("")]);
}

#[test]
fn s5_4_control_frames_come_between_fragments() {
    let seen = both(&[
        (MORE, Binary, b"a"),
        (FIN, Ping, b"p"),
        (FIN, Pong, b""),
        (FIN, Continuation, b"b"),
        (FIN, Text, b"next"),
    ]);
    let expected = [
        Seen::Ping(b"p".to_vec()),
        Seen::Pong(vec![]),
        Seen::Binary(b"ab".to_vec()),
        text("next"),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn s5_4_several_control_frames_between_fragments_keep_their_payloads_apart() {
    let seen = both(&[
        (MORE, Text, b"a"),
        (FIN, Ping, b"first"),
        (FIN, Ping, b"2"),
        (FIN, Pong, b""),
        (FIN, Continuation, b"b"),
    ]);
    let expected = [
        Seen::Ping(b"first".to_vec()),
        Seen::Ping(b"2".to_vec()),
        Seen::Pong(vec![]),
        text("ab"),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn s5_4_a_continuation_without_a_start_is_refused_after_two_bytes() {
    for role in ROLES {
        for fin in [FIN, MORE] {
            let frame = frame_to(role, fin, Continuation, b"x");
            assert_eq!(
                both_ways(role, &frame[..2]),
                fault(ProtocolError::UnexpectedContinuation)
            );
        }
        // Also where a whole message went before.
        let frames = stream(
            role,
            &[
                (MORE, Text, b"a"),
                (FIN, Continuation, b"b"),
                (FIN, Continuation, b"c"),
            ],
        );
        assert_eq!(
            both_ways(role, &frames),
            [
                text("ab"),
                Seen::Fault(ProtocolError::UnexpectedContinuation)
            ]
        );
    }
}

#[test]
fn s5_4_a_new_message_inside_a_message_is_refused_after_two_bytes() {
    for role in ROLES {
        for opcode in [Text, Binary] {
            let mut frames = frame_to(role, MORE, Text, b"x");
            frames.extend(&frame_to(role, FIN, opcode, b"y")[..2]);
            assert_eq!(
                both_ways(role, &frames),
                fault(ProtocolError::ExpectedContinuation)
            );
        }
    }
}

// §5.5 Control frames -------------------------------------------------------------------------------------------

#[test]
fn s5_5_125_bytes_pass_and_126_are_refused_after_two_bytes() {
    let payload = [b'x'; 125];
    assert_eq!(
        both(&[(FIN, Ping, &payload)]),
        [Seen::Ping(payload.to_vec())]
    );
    assert_eq!(
        both(&[(FIN, Pong, &payload)]),
        [Seen::Pong(payload.to_vec())]
    );
    for role in ROLES {
        for opcode in [Ping, Pong, Close] {
            let header = announced(role, FIN, opcode, 126);
            assert_eq!(
                both_ways(role, &header[..2]),
                fault(ProtocolError::ControlTooLong)
            );
        }
    }
}

#[test]
fn s5_5_a_fragmented_control_frame_is_refused_after_two_bytes() {
    for role in ROLES {
        for opcode in [Ping, Pong, Close] {
            let frame = frame_to(role, MORE, opcode, b"");
            assert_eq!(
                both_ways(role, &frame[..2]),
                fault(ProtocolError::FragmentedControl)
            );
        }
    }
}

// §5.5.1 Close --------------------------------------------------------------------------------------------------

#[test]
fn s5_5_1_an_empty_close_has_no_status() {
    assert_eq!(both(&[(FIN, Close, b"")]), [close(1005, "")]);
}

#[test]
fn s5_5_1_code_and_reason_arrive_up_to_the_longest() {
    let reason = "r".repeat(123);
    let mut payload = 4999_u16.to_be_bytes().to_vec();
    assert_eq!(both(&[(FIN, Close, &payload)]), [close(4999, "")]);
    payload.extend(reason.as_bytes());
    assert_eq!(both(&[(FIN, Close, &payload)]), [close(4999, &reason)]);
}

#[test]
fn s5_5_1_half_a_code_is_refused() {
    assert_eq!(
        both(&[(FIN, Close, b"\x03")]),
        fault(ProtocolError::ClosePayloadTooShort)
    );
}

#[test]
fn s5_5_1_a_reason_that_is_not_utf8_is_1007() {
    for reason in [&b"\x80"[..], b"ok \xc3", b"\xed\xa0\x80"] {
        let payload = [&1000_u16.to_be_bytes()[..], reason].concat();
        let seen = both(&[(FIN, Close, &payload)]);
        assert_eq!(seen, fault(ProtocolError::InvalidCloseReason));
    }
    assert_eq!(
        ProtocolError::InvalidCloseReason.close_code(),
        CloseCode::INVALID_DATA
    );
}

#[test]
fn s5_5_1_everything_after_a_close_is_discarded() {
    let seen = both(&[
        (FIN, Text, b"before"),
        (FIN, Close, b""),
        (FIN, Text, b"after"),
        (FIN, Close, b""),
    ]);
    assert_eq!(seen, [text("before"), close(1005, "")]);
    // Even what would be a fault.
    let mut bytes = frame_to(Role::Client, FIN, Close, b"");
    bytes.extend([0xFF; 40]);
    assert_eq!(client(&bytes), [close(1005, "")]);
}

#[test]
fn s5_5_1_a_close_inside_a_fragmented_message_closes() {
    let seen = both(&[(MORE, Text, b"half"), (FIN, Close, &1001_u16.to_be_bytes())]);
    assert_eq!(seen, [close(1001, "")]);
}

#[test]
fn s5_5_1_a_closed_decoder_says_so_and_holds_nothing() {
    let mut socket = WebSocket::new(Role::Client);
    let limits = Limits::default();
    for byte in stream(Role::Client, &[(MORE, Binary, &[1; 50]), (FIN, Close, b"")]) {
        assert!(!socket.is_closed());
        socket.next_event(&limits, &mut &mut [byte][..]).unwrap();
    }
    assert!(socket.is_closed() && !socket.is_mid_message());
    assert_eq!(
        socket.next_event(&limits, &mut &mut [0xFF; 3][..]),
        Ok(None)
    );
    assert_eq!(socket.buffered_bytes(), 0);
}

// §5.5.2, §5.5.3 Ping and pong ----------------------------------------------------------------------------------

#[test]
fn s5_5_2_pings_carry_any_bytes() {
    let payload: Vec<u8> = (131..=255).collect();
    assert_eq!(both(&[(FIN, Ping, &payload)]), [Seen::Ping(payload)]);
}

#[test]
fn s5_5_3_an_unasked_pong_is_an_event_and_no_fault() {
    assert_eq!(
        both(&[(FIN, Pong, b"heartbeat")]),
        [Seen::Pong(b"heartbeat".to_vec())]
    );
}

// §5.6 Data frames ----------------------------------------------------------------------------------------------

#[test]
fn s5_6_empty_messages_are_messages() {
    assert_eq!(
        both(&[(FIN, Text, b""), (FIN, Binary, b"")]),
        [text(""), Seen::Binary(vec![])]
    );
}

#[test]
fn s5_6_binary_is_not_looked_at() {
    assert_eq!(
        both(&[(FIN, Binary, b"\xff\xfe\x80")]),
        [Seen::Binary(b"\xff\xfe\x80".to_vec())]
    );
}

// §5.7 Examples -------------------------------------------------------------------------------------------------

#[test]
fn s5_7_unmasked_text() {
    assert_eq!(
        client(&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]),
        [text("Hello")]
    );
}

#[test]
fn s5_7_masked_text() {
    let bytes = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(server(&bytes), [text("Hello")]);
}

#[test]
fn s5_7_fragmented_unmasked_text() {
    let bytes = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(client(&bytes), [text("Hello")]);
}

#[test]
fn s5_7_unmasked_ping_and_masked_pong() {
    assert_eq!(
        client(&[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]),
        [Seen::Ping(b"Hello".to_vec())]
    );
    let pong = [
        0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(server(&pong), [Seen::Pong(b"Hello".to_vec())]);
}

#[test]
fn s5_7_256_bytes_and_64_kib_of_binary() {
    let mut bytes = vec![0x82, 0x7E, 0x01, 0x00];
    bytes.extend([9; 256]);
    assert_eq!(client(&bytes), [Seen::Binary(vec![9; 256])]);
    let mut bytes = vec![0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0];
    bytes.extend(vec![9; 65_536]);
    assert_eq!(client(&bytes), [Seen::Binary(vec![9; 65_536])]);
}

#[test]
fn s5_7_the_examples_are_what_is_encoded() {
    let encoded = |opcode, payload: &[u8], mask| {
        let mut out = Vec::new();
        encode_frame(&mut out, opcode, payload, mask);
        out
    };
    assert_eq!(encoded(Text, b"Hello", None), b"\x81\x05Hello");
    assert_eq!(encoded(Ping, b"Hello", None), b"\x89\x05Hello");
    assert_eq!(
        encoded(Pong, b"Hello", Some(KEY)),
        b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
    );
    assert_eq!(
        encoded(Binary, &[0; 256], None)[..4],
        [0x82, 0x7E, 0x01, 0x00]
    );
    assert_eq!(
        encoded(Binary, &[0; 65_536], None)[..10],
        [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]
    );
}
