//! One JSON object, strictly: whole, in UTF-8, nothing behind it, no member twice, and not too many of them.
//!
//! What is signed is only as good as its reading: two readers that disagree about which of two `exp` counts are a way in.
//! RFC 7515 §4 and RFC 7519 §4 leave it to the reader whether such a text is refused; here it is. The grammar is that of
//! [`values`](crate::values), which has no opinion about members; names are compared after their escapes are resolved.

use std::borrow::Cow;

use crate::values::{Scanned, Scanner};

/// More members than any token needs.
const MEMBERS_MAX: usize = 64;

/// The members of an object, in their order; the values as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, &'a str)>);

/// It is no such object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoObject;

impl<'a> Object<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, NoObject> {
        let text = std::str::from_utf8(text).map_err(|_| NoObject)?;
        let Scanned::Whole(end) = Scanner::default().scan(text.as_bytes()) else {
            return Err(NoObject);
        };
        let (text, rest) = text.split_at_checked(end).ok_or(NoObject)?;
        if !skip_space(rest).is_empty() {
            return Err(NoObject);
        }
        // From here on it is known to be JSON, so nothing but the form can be wrong.
        let mut rest = skip_space(text).strip_prefix('{').ok_or(NoObject)?;
        let mut members: Vec<(Cow<'a, str>, &'a str)> = Vec::new();
        loop {
            rest = skip_space(rest);
            if rest.starts_with('}') {
                return Ok(Self(members));
            }
            let name = value_at(rest)?;
            rest = skip_space(rest.get(name.len()..).ok_or(NoObject)?);
            rest = skip_space(rest.strip_prefix(':').ok_or(NoObject)?);
            let value = value_at(rest)?;
            rest = skip_space(rest.get(value.len()..).ok_or(NoObject)?);
            rest = rest.strip_prefix(',').unwrap_or(rest);
            let name = string(name).ok_or(NoObject)?;
            if members.len() == MEMBERS_MAX || members.iter().any(|(known, _)| *known == name) {
                return Err(NoObject);
            }
            members.push((name, value));
        }
    }

    /// All members.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    /// A member's value, as it is written.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value)
    }
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

/// The value that a text begins with.
fn value_at(text: &str) -> Result<&str, NoObject> {
    match Scanner::default().scan(text.as_bytes()) {
        Scanned::Whole(end) => text.get(..end).ok_or(NoObject),
        Scanned::More | Scanned::Wrong(..) => Err(NoObject),
    }
}

/// The text of a JSON string; `None` for another value, or for one that Unicode cannot express.
pub(super) fn string(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        text.push(match chars.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = hex4(&mut chars)?;
                let units = if (0xD800..0xDC00).contains(&first) {
                    (chars.next() == Some('\\') && chars.next() == Some('u')).then_some(())?;
                    vec![first, hex4(&mut chars)?]
                } else {
                    vec![first]
                };
                let mut decoded = char::decode_utf16(units);
                let one = decoded.next()?.ok()?;
                decoded.next().is_none().then_some(one)?
            }
            itself => itself,
        });
    }
    Some(Cow::Owned(text))
}

fn hex4(chars: &mut std::str::Chars<'_>) -> Option<u16> {
    let mut number = 0;
    for _ in 0..4 {
        number = number * 16 + chars.next()?.to_digit(16)?;
    }
    u16::try_from(number).ok()
}

/// The strings of an array, at most `max`, or a string that stands alone; `None` for anything else.
pub(super) fn strings(value: &str, max: usize) -> Option<Vec<Cow<'_, str>>> {
    if value.starts_with('"') {
        return Some(vec![string(value)?]);
    }
    let mut found = Vec::new();
    for item in items(value)? {
        if found.len() == max {
            return None;
        }
        found.push(string(item.ok()?)?);
    }
    Some(found)
}

/// The values of an array, as they are written; `None` for anything else.
pub(super) fn items(value: &str) -> Option<impl Iterator<Item = Result<&str, NoObject>>> {
    let mut rest = value.strip_prefix('[')?;
    Some(std::iter::from_fn(move || {
        rest = skip_space(rest);
        if rest.starts_with(']') || rest.is_empty() {
            return None;
        }
        let item = value_at(rest);
        match item {
            Ok(item) => {
                rest = skip_space(rest.get(item.len()..).unwrap_or_default());
                rest = rest.strip_prefix(',').unwrap_or(rest);
            }
            Err(NoObject) => rest = "",
        }
        Some(item)
    }))
}

/// A NumericDate (RFC 7519 §2): seconds since 1970, whole ones; what is before that is the beginning. `None` for other
/// values, and for numbers in a notation that nobody uses for a date.
pub(super) fn seconds(value: &str) -> Option<u64> {
    let (is_negative, digits) = match value.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    if is_negative {
        return Some(0);
    }
    // Later than any number is never.
    Some(whole.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Result<Vec<(String, String)>, NoObject> {
        let object = Object::parse(text.as_bytes())?;
        let pairs = object.0.iter();
        Ok(pairs
            .map(|(n, v)| (n.to_string(), (*v).to_owned()))
            .collect())
    }

    #[test]
    fn members_in_their_order() {
        let text =
            " {\r\n \"a\":1, \"b\\u0063\" : [ {\"x\":\"}\"} ,2] ,\"\":\"\\\"\",\"n\":-1.5e3}\n";
        let expected = [
            ("a", "1"),
            ("bc", "[ {\"x\":\"}\"} ,2]"),
            ("", "\"\\\"\""),
            ("n", "-1.5e3"),
        ];
        let expected = expected.map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(members(text), Ok(expected.to_vec()));
        assert_eq!(members("{}"), Ok(Vec::new()));
        assert_eq!(
            members("{\"a\":{\"a\":1,\"a\":2}}").map(|m| m.len()),
            Ok(1),
            "only its own members"
        );
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in [
            "",
            "[]",
            "1",
            "\"a\"",
            "null",
            "{",
            "{}{}",
            "{} x",
            "{\"a\":1,}",
            "{\"a\":1 \"b\":2}",
            "{a:1}",
            "{\"a\":01}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"\\ud800\":1}",
            "\u{feff}{}",
            "{\"a\":\"\n\"}",
        ] {
            assert_eq!(members(text), Err(NoObject), "{text}");
        }
        assert_eq!(Object::parse(b"{\"a\":\"\xff\"}"), Err(NoObject));
    }

    #[test]
    fn members_are_bounded_at_the_limit() {
        let object = |n: usize| {
            let members: Vec<String> = (0..n).map(|n| format!("\"{n}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(members(&object(MEMBERS_MAX)).is_ok());
        assert_eq!(members(&object(MEMBERS_MAX + 1)), Err(NoObject));
    }

    #[test]
    fn strings_have_their_escapes_resolved() {
        for (text, expected) in [
            (r#""plain é""#, Some("plain é")),
            (r#""\"\\\/\b\f\n\r\t""#, Some("\"\\/\u{8}\u{c}\n\r\t")),
            (r#""\u0041\ud83d\ude00""#, Some("A😀")),
            (r#""\ud83d""#, None),
            (r#""\ud83dx""#, None),
            (r#""\ud83d\u0041""#, None),
            (r#""\ude00""#, None),
            ("7", None),
        ] {
            assert_eq!(string(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn lists_of_strings() {
        let list = |text, max| {
            let found = strings(text, max);
            found.map(|f| {
                f.iter()
                    .map(|s| s.to_string())
                    .collect::<Vec<_>>()
                    .join("|")
            })
        };
        assert_eq!(list(r#"[ "a" , "b\n"]"#, 2).as_deref(), Some("a|b\n"));
        assert_eq!(list(r#"["a","b"]"#, 1), None);
        assert_eq!(list(r#""a""#, 1).as_deref(), Some("a"));
        assert_eq!(list("[]", 1).as_deref(), Some(""));
        for bad in ["[1]", "{}", "null", "[[\"a\"]]"] {
            assert_eq!(list(bad, 9), None, "{bad}");
        }
    }

    #[test]
    fn dates_are_seconds() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1300819380", Some(1_300_819_380)),
            ("1300819380.9", Some(1_300_819_380)),
            ("-1", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("1e9", None),
            ("\"1\"", None),
            ("true", None),
            ("null", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
