//! Finds the top-level members of a JSON object without building a tree.
//!
//! The rule: *values are lent, never rebuilt*. A member comes back as the bytes the sender wrote, so duplicate keys
//! inside it, integers beyond 64 bits and spacing survive a trip through the server.
//!
//! | input | answer |
//! | --- | --- |
//! | an object | the value of each wanted key; of a repeated key the last one, as JavaScript and Python read it |
//! | other JSON | [`Malformed::NotObject`] |
//! | anything else | [`Malformed::NotJson`] |
//! | JSON nested deeper than [`DEPTH_MAX`] | [`Malformed::TooDeep`], so that what is passed on does not break a reader behind |

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Most levels of arrays and objects in a text that is read or passed on.
pub(crate) const DEPTH_MAX: usize = 128;

/// Why a text is not the object that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Not JSON.
    NotJson,
    /// JSON, but not an object.
    NotObject,
    /// Nested too deeply.
    TooDeep,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("this is not JSON"),
            Self::NotObject => f.write_str("a JSON object is expected"),
            Self::TooDeep => write!(f, "JSON nested deeper than {DEPTH_MAX} levels"),
        }
    }
}

/// The values of `keys` in the object that `text` is.
pub(crate) fn members<'a, const N: usize>(
    text: &'a str,
    keys: [&str; N],
) -> Result<[Option<&'a RawValue>; N], Malformed> {
    let mut found = [None; N];
    find(text, &keys, str::eq, &mut found)?;
    Ok(found)
}

/// As [`members`], for readers that do not care about the case of (ASCII) letters in a key.
pub(super) fn members_any_case<'a, const N: usize>(
    text: &'a str,
    keys: [&str; N],
) -> Result<[Option<&'a RawValue>; N], Malformed> {
    let mut found = [None; N];
    find(text, &keys, str::eq_ignore_ascii_case, &mut found)?;
    Ok(found)
}

/// As [`members`], however deep the text is nested: for one whose reader knows what it has asked for.
#[cfg(feature = "jsonrpc")]
pub(super) fn members_any_depth<'a, const N: usize>(
    text: &'a str,
    keys: [&str; N],
) -> Result<[Option<&'a RawValue>; N], Malformed> {
    let mut found = [None; N];
    read(text, &keys, str::eq, &mut found)?;
    Ok(found)
}

fn find<'a>(
    text: &'a str,
    keys: &[&str],
    same: fn(&str, &str) -> bool,
    found: &mut [Option<&'a RawValue>],
) -> Result<(), Malformed> {
    if deeper_than(text, DEPTH_MAX) {
        return Err(Malformed::TooDeep);
    }
    read(text, keys, same, found)
}

/// The same for any number of keys, so that there is one reader in the program and not one for each number.
fn read<'a>(
    text: &'a str,
    keys: &[&str],
    same: fn(&str, &str) -> bool,
    found: &mut [Option<&'a RawValue>],
) -> Result<(), Malformed> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let is_object = reader
        .deserialize_any(Members { keys, same, found })
        .map_err(|_| Malformed::NotJson)?;
    reader.end().map_err(|_| Malformed::NotJson)?;
    if is_object {
        Ok(())
    } else {
        Err(Malformed::NotObject)
    }
}

/// The text of a JSON string; `None` for another value, or for one that Unicode cannot express.
pub(crate) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The text of one string member of an object; `None` if there is no such thing.
#[cfg(feature = "cli")]
pub(crate) fn string_member<'a>(text: &'a str, key: &str) -> Option<Cow<'a, str>> {
    let [member] = members(text, [key]).ok()?;
    string(member?)
}

/// Whether the value is an object.
pub(crate) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// Whether the value is an array.
pub(crate) fn is_array(raw: &RawValue) -> bool {
    raw.get().starts_with('[')
}

/// Why a value is not the list that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoList {
    /// Not an array.
    NotArray,
    /// More items than this many.
    TooLong(usize),
}

/// The items of an array, at most `max` of them.
pub(crate) fn items(raw: &RawValue, max: usize) -> Result<Vec<&RawValue>, NoList> {
    if !is_array(raw) {
        return Err(NoList::NotArray);
    }
    // The value is known to be JSON, so the only thing that can fail is the count.
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    reader
        .deserialize_seq(Items { max })
        .map_err(|_| NoList::TooLong(max))
}

/// Hands the items of an array to `take`, one by one and without a list of them; `false`: it is no array.
pub(super) fn each_item<'a>(raw: &'a RawValue, take: &mut dyn FnMut(&'a RawValue)) -> bool {
    // As above; here nothing fails at all.
    is_array(raw)
        && serde_json::Deserializer::from_str(raw.get())
            .deserialize_seq(Each(take))
            .is_ok()
}

/// Hands the members of an object to `take`, one by one, as they come; `false`: it is no object, or one with a key that
/// Unicode cannot express.
#[cfg(feature = "apigw")]
pub(super) fn each_member<'a>(
    raw: &'a RawValue,
    take: &mut dyn FnMut(String, &'a RawValue),
) -> bool {
    is_object(raw)
        && serde_json::Deserializer::from_str(raw.get())
            .deserialize_map(Pairs(take))
            .is_ok()
}

/// Appends `text` as a JSON string.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    crate::http::json_escape(out, text);
    out.push('"');
}

/// Fills `found`; answers whether it was an object.
struct Members<'m, 'de> {
    keys: &'m [&'m str],
    same: fn(&str, &str) -> bool,
    found: &'m mut [Option<&'de RawValue>],
}

impl<'de> Visitor<'de> for Members<'_, 'de> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (keys, same) = (self.keys, self.same);
        while let Some(at) = map.next_key_seed(Key { keys, same })? {
            match at.and_then(|at| self.found.get_mut(at)) {
                Some(slot) => *slot = Some(map.next_value()?),
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(false)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(false)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(false)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(false)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(false)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(false)
    }
}

/// Which of the wanted keys a key is.
struct Key<'k> {
    keys: &'k [&'k str],
    same: fn(&str, &str) -> bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.keys.iter().position(|wanted| (self.same)(key, wanted)))
    }
}

struct Items {
    max: usize,
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == self.max {
                return Err(A::Error::custom("too many items"));
            }
            items.push(item);
        }
        Ok(items)
    }
}

struct Each<'f, 'de>(&'f mut dyn FnMut(&'de RawValue));

impl<'de> Visitor<'de> for Each<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}

#[cfg(feature = "apigw")]
struct Pairs<'f, 'de>(&'f mut dyn FnMut(String, &'de RawValue));

#[cfg(feature = "apigw")]
impl<'de> Visitor<'de> for Pairs<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry()? {
            (self.0)(key, value);
        }
        Ok(())
    }
}

/// Whether arrays and objects are nested more than `max` levels deep. Says nothing about whether it is JSON.
fn deeper_than(text: &str, max: usize) -> bool {
    // Each level takes a bracket at either end: most texts are too short to need a look.
    if text.len() <= 2 * max {
        return false;
    }
    let mut depth = 0_usize;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => loop {
                match bytes.next() {
                    Some(b'\\') => _ = bytes.next(),
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn get(text: &str) -> Result<[Option<&str>; 2], Malformed> {
        members(text, ["a", "b"]).map(|found| found.map(|value| value.map(RawValue::get)))
    }

    #[test]
    fn members_are_lent_as_they_were_written() {
        assert_eq!(
            get(r#" { "a" : {"x":1, "x": 18446744073709551616} , "z":[[]], "b":"\u0041" } "#),
            Ok([
                Some(r#"{"x":1, "x": 18446744073709551616}"#),
                Some(r#""\u0041""#)
            ])
        );
        assert_eq!(get("{}"), Ok([None, None]));
        assert_eq!(
            get(r#"{"\u0061":1}"#),
            Ok([Some("1"), None]),
            "an escaped key is the same key"
        );
        assert_eq!(
            get(r#"{"a":1,"a":2}"#),
            Ok([Some("2"), None]),
            "the last one counts"
        );
        assert_eq!(
            get(r#"{"a":null}"#),
            Ok([Some("null"), None]),
            "null is a value"
        );
    }

    #[test]
    fn keys_in_any_case() {
        let found = members_any_case(r#"{"A":1,"b":2,"a":3,"B ":4}"#, ["a", "b"]).unwrap();
        assert_eq!(
            found.map(|value| value.map(RawValue::get)),
            [Some("3"), Some("2")]
        );
        assert_eq!(get(r#"{"A":1}"#), Ok([None, None]));
    }

    #[test]
    fn items_one_by_one() {
        let raw: &RawValue = serde_json::from_str(r#"[1, "a",{ }]"#).unwrap();
        let mut seen = Vec::new();
        assert!(each_item(raw, &mut |item| seen.push(item.get())));
        assert_eq!(seen, ["1", "\"a\"", "{ }"]);
        let raw: &RawValue = serde_json::from_str("{}").unwrap();
        assert!(!each_item(raw, &mut |_| panic!("an item of no array")));
    }

    #[test]
    fn what_is_no_object_is_told_from_what_is_no_json() {
        for text in [
            "[]", "[1,{}]", "1", "-1", "1.5", "\"x\"", "\"\\n\"", "true", "null", " 7 ",
        ] {
            assert_eq!(get(text), Err(Malformed::NotObject), "{text}");
        }
        for text in [
            "",
            "x",
            "{",
            "{}}",
            "{} {}",
            "[",
            "[1",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":01}",
            "\"",
            "{\"a\":\"\t\"}",
        ] {
            assert_eq!(get(text), Err(Malformed::NotJson), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_at_the_limit() {
        let nested = |depth: usize| {
            format!(
                "{{\"a\":{}{}}}",
                "[".repeat(depth - 1),
                "]".repeat(depth - 1)
            )
        };
        assert!(get(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(get(&nested(DEPTH_MAX + 1)), Err(Malformed::TooDeep));
        let brackets_in_text = format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(1000));
        assert!(get(&brackets_in_text).is_ok());
        assert_eq!(get(&"[".repeat(100_000)), Err(Malformed::TooDeep));
    }

    #[test]
    fn strings_borrow_unless_escaped() {
        let read = |text: &str| {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            string(raw).map(|s| (matches!(s, Cow::Borrowed(_)), s.into_owned()))
        };
        assert_eq!(read(r#""sc""#), Some((true, "sc".into())));
        assert_eq!(read(r#""tàu""#), Some((true, "tàu".into())));
        assert_eq!(read(r#""s\u0063""#), Some((false, "sc".into())));
        assert_eq!(read(r#""\ud800""#), None, "half a character");
        assert_eq!(read("7"), None);
    }

    #[test]
    fn lists_are_bounded_at_the_limit() {
        let list = |text: &str, max| {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            items(raw, max)
                .map(|items| items.iter().map(|i| i.get().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            list(r#"["a", {"b":[ ]},3]"#, 3).unwrap(),
            [r#""a""#, r#"{"b":[ ]}"#, "3"]
        );
        assert_eq!(list(r#"[1,2,3]"#, 2), Err(NoList::TooLong(2)));
        assert_eq!(list(r#"{}"#, 2), Err(NoList::NotArray));
    }

    #[test]
    fn strings_are_written_as_json() {
        let mut out = String::new();
        push_string(&mut out, "a\"b\\c\n\u{1}é");
        assert_eq!(
            serde_json::from_str::<String>(&out).unwrap(),
            "a\"b\\c\n\u{1}é"
        );
    }
}
