//! Messages as server-sent events (WHATWG HTML §9.2.6): what `EventSource` reads.
//!
//! | part | from |
//! | --- | --- |
//! | `id: POSITION` | where a publication stands: the browser says it when it comes back (`Last-Event-ID`) |
//! | `event: NAME` | the publication's name, if it has one; `binary` for a binary message without |
//! | `data: …`, once for each line | the text; a binary message in base64 |
//! | a blank line | always: it is what makes the browser dispatch the event |
//!
//! CR, LF and CRLF end a line of the stream, so a text is cut at all three and arrives with LF in their place. A text
//! without anything is one `data:` without anything, which is dispatched too.

use super::Position;
use crate::ws::{self, OpCode};

/// What stands in for an event's name where a message is binary, because `data` is text.
const BINARY: &str = "binary";
/// What a page can hear that a gap or the end is told with.
pub(super) const GAP: &str = "gap";
const CLOSE: &str = "close";

/// What readers of events are told by the server, and by nobody else.
const OURS: [&str; 2] = [GAP, CLOSE];
/// The longest name of an event.
const NAME_BYTES_MAX: usize = 64;

/// Whether a publication may be called so: a line of a stream can hold it, and it is none of the server's own.
pub(crate) fn check_event(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        Err("the name of an event has 1 to 64 bytes")
    } else if name.contains(char::is_control) {
        Err("the name of an event has no control characters")
    } else if OURS.contains(&name) {
        Err("the server itself says `gap` and `close`: call the event something else")
    } else {
        Ok(())
    }
}

/// Says nothing, but keeps proxies and clients from taking the stream for dead.
pub(super) const COMMENT: &[u8] = b":\n\n";

/// Appends one event.
pub(super) fn append(
    out: &mut Vec<u8>,
    position: Option<Position>,
    name: Option<&str>,
    opcode: OpCode,
    payload: &[u8],
) {
    let is_text = opcode == OpCode::Text;
    out.reserve(payload.len() + 16);
    if let Some(position) = position {
        out.extend_from_slice(b"id: ");
        position.append_to(out);
        out.push(b'\n');
    }
    if let Some(name) = name.or((!is_text).then_some(BINARY)) {
        field(out, "event", name.as_bytes());
    }
    if is_text {
        encode_lines(out, payload);
    } else {
        out.extend_from_slice(b"data: ");
        ws::append_base64(out, payload);
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Appends one event whose data is an envelope, on one line. It has no id: a position in one channel is none in several.
pub(super) fn append_envelope(
    out: &mut Vec<u8>,
    name: Option<&str>,
    envelope: impl FnOnce(&mut Vec<u8>),
) {
    if let Some(name) = name {
        field(out, "event", name.as_bytes());
    }
    out.extend_from_slice(b"data: ");
    envelope(out);
    out.extend_from_slice(b"\n\n");
}

/// Appends where a reader stands. It is no event: the browser remembers it, and nothing is dispatched.
pub(super) fn encode_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(b"id: ");
    position.append_to(out);
    out.extend_from_slice(b"\n\n");
}

/// The last event of a stream: why it ends. What comes back to the same URL goes on from there.
pub(super) fn encode_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let mut data = format!("{{\"code\":{code},\"reason\":\"");
    // A reason is ours, or a handler's; what JSON would have to escape is left out.
    data.extend(
        reason
            .chars()
            .filter(|c| !c.is_control() && !matches!(c, '"' | '\\')),
    );
    data.push_str("\"}");
    append(out, None, Some(CLOSE), OpCode::Text, data.as_bytes());
}

fn encode_lines(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        let end = text.iter().position(|b| matches!(b, b'\n' | b'\r'));
        let (line, rest) = text.split_at(end.unwrap_or(text.len()));
        field(out, "data", line);
        text = match rest {
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
            [] => return,
        };
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    if !value.is_empty() {
        // One space is the reader's to strip, so that a value may begin with one.
        out.push(b' ');
        out.extend_from_slice(value);
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn event(payload: &str, name: Option<&str>) -> String {
        let mut out = Vec::new();
        append(&mut out, None, name, OpCode::Text, payload.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_text_is_a_line_of_data_for_each_of_its_own() {
        for (text, expected) in [
            ("hello", "data: hello\n\n"),
            ("", "data:\n\n"),
            (" x", "data:  x\n\n"),
            ("a\nb\rc\r\nd", "data: a\ndata: b\ndata: c\ndata: d\n\n"),
            ("a\n", "data: a\ndata:\n\n"),
            ("\r\n\n\r", "data:\ndata:\ndata:\ndata:\n\n"),
            (
                "event: x\n\ndata: y",
                "data: event: x\ndata:\ndata: data: y\n\n",
            ),
        ] {
            assert_eq!(event(text, None), expected, "{text:?}");
        }
        assert_eq!(event("x", Some("goal")), "event: goal\ndata: x\n\n");
        let position = "4f1c2a90.17.7a0d55e1".parse().ok();
        let mut out = Vec::new();
        append(&mut out, position, None, OpCode::Text, b"x");
        assert_eq!(out, b"id: 4f1c2a90.17.7a0d55e1\ndata: x\n\n");
    }

    #[test]
    fn what_is_binary_is_base64() {
        // RFC 4648 §10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            append(&mut out, None, None, OpCode::Binary, bytes.as_bytes());
            let expected = format!("event: binary\ndata: {text}\n\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        let mut out = Vec::new();
        append(&mut out, None, Some("raw"), OpCode::Binary, &[0xFB, 0xFF]);
        assert_eq!(out, b"event: raw\ndata: +/8=\n\n");
    }

    #[test]
    fn the_last_event_is_json_whatever_the_reason() {
        let mut out = Vec::new();
        encode_close(&mut out, 1013, "a \"slow\"\n\\ one");
        let expected = "event: close\ndata: {\"code\":1013,\"reason\":\"a slow one\"}\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
