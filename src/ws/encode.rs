//! Events to bytes: frames appended to a buffer.
//!
//! The rule: one message, one frame. Whatever these functions write, the other role's decoder accepts. A client
//! passes a fresh random key for each frame, a server none. RFC 6455 §5.1, §5.3.

use super::closing::CloseCode;
use super::frame::{CONTROL_BYTES_MAX, FrameHeader, HEADER_BYTES_MAX, OpCode};
use super::mask::mask as apply_mask;
use super::message::Message;

/// Appends a whole frame with FIN set.
///
/// The payload of a control frame is the caller's to keep within [`CONTROL_BYTES_MAX`]; what is longer is cut there,
/// because a longer one would end the connection. RFC 6455 §5.5.
pub fn encode_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8], mask: Option<[u8; 4]>) {
    let payload = match payload.get(..CONTROL_BYTES_MAX) {
        Some(short) if opcode.is_control() => short,
        _ => payload,
    };
    let header = FrameHeader {
        fin: true,
        rsv: 0,
        opcode,
        mask,
        len: payload.len() as u64,
    };
    let mut bytes = [0; HEADER_BYTES_MAX];
    let taken = header.encode(&mut bytes);
    out.reserve(taken + payload.len());
    out.extend_from_slice(&bytes[..taken]);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        apply_mask(&mut out[start..], key, 0);
    }
}

/// Appends the header of a server's text message of so many bytes, for whoever keeps the message in parts.
pub fn encode_text_header(out: &mut Vec<u8>, len: usize) {
    let header = FrameHeader {
        fin: true,
        rsv: 0,
        opcode: OpCode::Text,
        mask: None,
        len: len as u64,
    };
    let mut bytes = [0; HEADER_BYTES_MAX];
    let taken = header.encode(&mut bytes);
    out.extend_from_slice(bytes.get(..taken).unwrap_or_default());
}

/// Appends a message as one frame. RFC 6455 §5.6.
pub fn encode_message(out: &mut Vec<u8>, message: Message<'_>, mask: Option<[u8; 4]>) {
    encode_frame(out, message.opcode(), message.as_bytes(), mask);
}

/// Writes a server's message to the start of `out` and tells how many bytes it took; `None`: it is longer than 64 KiB
/// or there is no room for it, and nothing of it counts.
///
/// What a server sends most is short, and its header of two or four bytes is written as one number.
#[inline]
pub fn write_short_message(out: &mut [u8], message: Message<'_>) -> Option<usize> {
    let payload = message.as_bytes();
    let first = 0x80 | message.opcode() as u8;
    let len = payload.len();
    if len <= 125 {
        let (header, rest) = out.split_first_chunk_mut()?;
        *header = [first, len as u8];
        rest.get_mut(..len)?.copy_from_slice(payload);
        return Some(2 + len);
    }
    let [high, low] = u16::try_from(len).ok()?.to_be_bytes();
    let (header, rest) = out.split_first_chunk_mut()?;
    *header = [first, 126, high, low];
    rest.get_mut(..len)?.copy_from_slice(payload);
    Some(4 + len)
}

/// Appends a close frame. RFC 6455 §5.5.1.
///
/// A code that may not travel ([`CloseCode::NO_STATUS`], [`CloseCode::ABNORMAL`]) gives an empty payload. The reason
/// is cut to what fits behind the code, 123 bytes, never inside a character.
pub fn encode_close(out: &mut Vec<u8>, code: CloseCode, reason: &str, mask: Option<[u8; 4]>) {
    let mut payload = [0; CONTROL_BYTES_MAX];
    let mut len = 0;
    if code.may_be_sent() {
        let reason = cut(reason, CONTROL_BYTES_MAX - 2).as_bytes();
        len = 2 + reason.len();
        payload[..2].copy_from_slice(&code.0.to_be_bytes());
        payload[2..len].copy_from_slice(reason);
    }
    encode_frame(out, OpCode::Close, &payload[..len], mask);
}

/// The longest beginning of `text` of at most `bytes_max` bytes that ends between characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1; // 0 is a boundary
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_frame_is_the_example_of_section_5_7() {
        let mut out = vec![0xEE];
        encode_message(
            &mut out,
            Message::Text("Hello"),
            Some([0x37, 0xFA, 0x21, 0x3D]),
        );
        assert_eq!(out, b"\xEE\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    }

    #[test]
    fn a_short_message_is_the_same_frame_or_none() {
        for len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, 70_000] {
            let text = "m".repeat(len);
            for message in [Message::Text(&text), Message::Binary(text.as_bytes())] {
                let mut frame = Vec::new();
                encode_message(&mut frame, message, None);
                let mut room = vec![0; frame.len()];
                let written = write_short_message(&mut room, message);
                if len > 0xFFFF {
                    assert_eq!(written, None, "{len}");
                } else {
                    assert_eq!((written, &room), (Some(frame.len()), &frame), "{len}");
                    room.pop();
                    assert_eq!(write_short_message(&mut room, message), None, "{len}");
                }
            }
        }
    }

    #[test]
    fn a_close_frame_carries_code_and_reason() {
        let mut out = Vec::new();
        encode_close(&mut out, CloseCode::AWAY, "bye", None);
        assert_eq!(out, b"\x88\x05\x03\xe9bye");
    }

    #[test]
    fn a_code_that_may_not_travel_gives_an_empty_close() {
        for code in [
            CloseCode::NO_STATUS,
            CloseCode::ABNORMAL,
            CloseCode(0),
            CloseCode(1015),
        ] {
            let mut out = Vec::new();
            encode_close(&mut out, code, "unsaid", None);
            assert_eq!(out, b"\x88\x00");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        // 122 bytes and a two-byte character: the 123rd byte would be half of it.
        let reason = format!("{}\u{e9}", "x".repeat(122));
        let mut out = Vec::new();
        encode_close(&mut out, CloseCode::NORMAL, &reason, None);
        assert_eq!(out.len(), 2 + 2 + 122);
        out.clear();
        encode_close(&mut out, CloseCode::NORMAL, &"y".repeat(500), None);
        assert_eq!(out.len(), 2 + CONTROL_BYTES_MAX);
    }

    #[test]
    fn a_control_payload_is_cut_and_a_message_is_not() {
        let mut out = Vec::new();
        encode_frame(&mut out, OpCode::Ping, &[7; 126], None);
        assert_eq!(out.len(), 2 + 125);
        out.clear();
        encode_frame(&mut out, OpCode::Binary, &[7; 126], None);
        assert_eq!(out.len(), 4 + 126);
    }
}
