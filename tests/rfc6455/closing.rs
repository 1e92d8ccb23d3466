//! Chapter 7: closing the connection.

use super::*;
use dunlin::ws::{CloseCode, Closing, echo_code, encode_close};

// §7.1 The closing handshake ------------------------------------------------------------------------------------

#[test]
fn s7_1_we_close_first() {
    let mut closing = Closing::Open;
    assert!(closing.send() && !closing.may_send_data() && !closing.is_done());
    assert!(!closing.send(), "a close frame goes out once");
    assert!(closing.receive() && closing.is_done());
    assert!(!closing.send(), "theirs was the answer");
}

#[test]
fn s7_1_the_peer_closes_first() {
    let mut closing = Closing::default();
    assert!(closing.is_open() && closing.receive() && !closing.is_open());
    assert!(
        closing.may_send_data(),
        "answers to what came before the close"
    );
    assert!(closing.send() && closing.is_done() && !closing.may_send_data());
    assert!(!closing.receive());
}

#[test]
fn s7_1_every_legal_code_is_echoed() {
    for code in (1000..=1003).chain(1007..=1014).chain(3000..=4999) {
        let mut sent = Vec::new();
        encode_close(&mut sent, CloseCode(code), "why", Some(KEY));
        assert_eq!(server(&sent), [close(code, "why")]);
        let mut echo = Vec::new();
        encode_close(&mut echo, echo_code(CloseCode(code)), "", None);
        assert_eq!(client(&echo), [close(code, "")]);
    }
}

#[test]
fn s7_1_an_empty_close_is_echoed_empty() {
    let mut echo = Vec::new();
    encode_close(&mut echo, echo_code(CloseCode::NO_STATUS), "", None);
    assert_eq!(echo, [0x88, 0x00]);
}

// §7.4 Status codes ---------------------------------------------------------------------------------------------

#[test]
fn s7_4_codes_that_may_not_travel_are_refused() {
    let illegal = [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ];
    for code in illegal {
        let payload: [u8; 2] = u16::to_be_bytes(code);
        let error = ProtocolError::IllegalCloseCode(CloseCode(code));
        assert_eq!(both(&[(FIN, Close, &payload)]), fault(error));
        assert_eq!(error.close_code(), CloseCode::PROTOCOL);
    }
}
