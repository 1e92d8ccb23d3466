//! Percent-encoding of URLs and escapes of JSON strings.
//!
//! The rule: decoding either succeeds as a whole or not at all; nothing is guessed.

use std::borrow::Cow;
use std::fmt::Write;

/// Decodes percent-encoding (RFC 3986 §2.1). `None` if an escape is bad or the result is not UTF-8. `+` stays `+`.
///
/// ```
/// use dunlin::http::percent_decode;
/// assert_eq!(percent_decode("a%20b").as_deref(), Some("a b"));
/// assert_eq!(percent_decode("a%2"), None);
/// ```
pub fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    let mut pieces = text.split('%');
    let plain = pieces.next().unwrap_or_default();
    if plain.len() == text.len() {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(plain.as_bytes());
    for piece in pieces {
        let [high, low, rest @ ..] = piece.as_bytes() else {
            return None;
        };
        decoded.push(hex_value(*high)? << 4 | hex_value(*low)?);
        decoded.extend_from_slice(rest);
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// As [`percent_decode`], with `+` as space: the encoding of HTML forms.
pub(super) fn form_decode(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('+') {
        return percent_decode(&text.replace('+', " "))
            .map(|decoded| Cow::Owned(decoded.into_owned()));
    }
    percent_decode(text)
}

/// Encodes everything but letters, digits and `-._~`, so that the result fits into one segment of a path and
/// into a query value alike.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}"); // Writing to a String cannot fail.
        }
    }
    encoded
}

/// Appends `text` as the inside of a JSON string (RFC 8259 §7), without the quotes around it.
pub fn json_escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character)); // Writing to a String cannot fail.
            }
            _ => out.push(character),
        }
    }
}

/// The value of one hexadecimal digit.
pub(super) fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_is_all_or_nothing() {
        for (text, expected) in [
            ("", Some("")),
            ("abc+d", Some("abc+d")),
            ("%41%6a%6A", Some("Ajj")),
            ("%c3%bc\u{fc}", Some("\u{fc}\u{fc}")),
            ("%00", Some("\0")),
            ("%2541", Some("%41")),
            ("%", None),
            ("%4", None),
            ("a%4", None),
            ("%4g", None),
            ("%+4", None),
            ("%%41", None),
            ("%\u{fc}", None),
            ("%ff", None),
            ("%c3", None),
        ] {
            assert_eq!(percent_decode(text).as_deref(), expected, "{text}");
        }
        assert!(matches!(
            percent_decode("plain"),
            Some(Cow::Borrowed("plain"))
        ));
        assert_eq!(form_decode("a+b%2B").as_deref(), Some("a b+"));
    }

    #[test]
    fn encoding_comes_back() {
        let text: String = (0..0x250).filter_map(char::from_u32).collect();
        let encoded = percent_encode(&text);
        assert!(
            encoded
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b))
        );
        assert_eq!(percent_decode(&encoded).as_deref(), Some(text.as_str()));
    }

    #[test]
    fn json_strings() {
        let mut out = String::new();
        json_escape(&mut out, "a\"b\\c\n\r\t\0\x1f\u{7f}\u{fc}/");
        assert_eq!(out, "a\\\"b\\\\c\\n\\r\\t\\u0000\\u001f\u{7f}\u{fc}/");
    }
}
