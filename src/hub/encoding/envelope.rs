//! Publications in envelopes: JSON texts that say where each one stands.
//!
//! ```text
//!   {"position":"4f1c2a90.2.0c33b8f4","previous":"4f1c2a90.1.7a0d55e1","data":{"temp":21}}     JSON goes in as it came
//!   {"position":"…","previous":"…","text":"hello"}                                              other text
//!   {"position":"…","previous":"…","event":"goal","text":"1:0"}                          one that has a name
//!   {"position":"…","base64":"AAECAw=="}                          bytes; and the first publication of its channel's life
//!   {"channel":"a.b","position":"…","previous":"…","text":"hello"}            where they are of several channels
//! ```

use super::About;
use crate::values::{is_value, write_string};
use crate::ws::{self, OpCode};

/// Appends the envelope of a message, in one line. One that was not published stands nowhere.
pub(super) fn append_envelope(
    out: &mut Vec<u8>,
    about: Option<About>,
    event: Option<&str>,
    opcode: OpCode,
    payload: &[u8],
) {
    append_envelope_of(out, "", about, event, opcode, payload);
}

/// The same for a message of a channel that has to be named, if it is not empty.
pub(super) fn append_envelope_of(
    out: &mut Vec<u8>,
    channel: &str,
    about: Option<About>,
    event: Option<&str>,
    opcode: OpCode,
    payload: &[u8],
) {
    out.reserve(payload.len() + channel.len() + 128);
    out.push(b'{');
    if !channel.is_empty() {
        out.extend_from_slice(b"\"channel\":");
        write_string(out, channel);
        out.push(b',');
    }
    if let Some(About { position, previous }) = about {
        out.extend_from_slice(POSITION);
        position.append_to(out);
        if previous.offset > 0 {
            out.extend_from_slice(b"\",\"previous\":\"");
            previous.append_to(out);
        }
        out.extend_from_slice(b"\",");
    }
    if let Some(event) = event {
        out.extend_from_slice(b"\"event\":");
        write_string(out, event);
        out.push(b',');
    }
    let text = std::str::from_utf8(payload).ok();
    match text.filter(|_| opcode == OpCode::Text) {
        Some(text) if is_value(payload) => {
            out.extend_from_slice(b"\"data\":");
            // Line feeds in JSON stand between its tokens only.
            out.extend(
                text.bytes()
                    .map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { b }),
            );
        }
        Some(text) => {
            out.extend_from_slice(b"\"text\":");
            write_string(out, text);
        }
        None => {
            out.extend_from_slice(b"\"base64\":\"");
            ws::append_base64(out, payload);
            out.push(b'"');
        }
    }
    out.push(b'}');
}

/// How every envelope of a publication begins, behind its brace. (One of several channels is no cursor for a poll.)
const POSITION: &[u8] = b"\"position\":\"";

/// The position that an envelope says, if it is one of a publication.
pub(super) fn position_in(envelope: &[u8]) -> Option<&str> {
    let text = envelope.strip_prefix(b"{")?;
    let text = text.strip_prefix(POSITION)?;
    let end = text.iter().position(|b| *b == b'"')?;
    std::str::from_utf8(text.get(..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Position;

    fn envelope(offset: u64, opcode: OpCode, payload: &[u8]) -> String {
        let position = |offset, tag| Position {
            epoch: 0xabc,
            offset,
            tag,
        };
        let about = About {
            position: position(offset, 2),
            previous: position(offset - 1, 1),
        };
        let mut out = Vec::new();
        append_envelope(&mut out, Some(about), None, opcode, payload);
        assert_eq!(position_in(&out), Some(&*about.position.to_string()));
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn each_kind_of_message_has_its_member() {
        let first = "{\"position\":\"00000abc.1.00000002\",";
        let second = "{\"position\":\"00000abc.2.00000002\",\"previous\":\"00000abc.1.00000001\",";
        for (payload, member) in [
            ("{\"a\": [1]}", "\"data\":{\"a\": [1]}}"),
            ("{\n\t\"a\":\r\n1}\n", "\"data\":{ \t\"a\":  1} }"),
            ("12", "\"data\":12}"),
            ("\"x\"", "\"data\":\"x\"}"),
            ("12 13", "\"text\":\"12 13\"}"),
            ("{}x", "\"text\":\"{}x\"}"),
            ("", "\"text\":\"\"}"),
            ("nul", "\"text\":\"nul\"}"),
            (
                "a \"b\"\n\\\u{1}\u{7f}é\u{2028}",
                "\"text\":\"a \\\"b\\\"\\n\\\\\\u0001\u{7f}é\u{2028}\"}",
            ),
        ] {
            let bytes = payload.as_bytes();
            assert_eq!(envelope(1, OpCode::Text, bytes), format!("{first}{member}"));
            assert_eq!(
                envelope(2, OpCode::Text, bytes),
                format!("{second}{member}")
            );
        }
        let binary = envelope(1, OpCode::Binary, &[0, 1, 2, 255]);
        assert_eq!(binary, format!("{first}\"base64\":\"AAEC/w==\"}}"));
    }
}
