//! Oracle: what is taken is signed, has not ended and allows what it says; and an object that tokens are made of is read
//! like serde_json reads it.
//!
//! Where the reading may differ, and why:
//!
//! | the object has | serde_json | dunlin |
//! | --- | --- | --- |
//! | a member twice | the last one | refused |
//! | more than 64 members | an object | refused |
//! | a string that Unicode cannot express, as a value | an error | passed on: who reads it says so |
//! | numbers beyond the range of a double | an error | passed on |

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The first byte says what the rest is: see [`dunlin::token::fuzz::token`]; with its top bit, an object.
pub(crate) fn token(data: &[u8]) {
    match data.split_first() {
        Some((&how, rest)) if how >= 0x80 => object(rest),
        _ => dunlin::token::fuzz::token(data),
    }
}

fn object(text: &[u8]) {
    let ours = dunlin::token::fuzz::members(text);
    let theirs = serde_json::from_slice::<BTreeMap<String, &RawValue>>(text);
    let (ours, theirs) = match (ours, theirs) {
        (None, Err(_)) => return,
        (Some(ours), Ok(theirs)) => (ours, theirs),
        (Some(_), Err(error)) => panic!("no object for serde_json: {error}"),
        // Too many, or one twice: then they are not the number that was written.
        (None, Ok(theirs)) => {
            let text = std::str::from_utf8(text).unwrap();
            let written = written_members(text);
            assert!(theirs.len() < written || written > 64, "refused: {text:?}");
            return;
        }
    };
    assert_eq!(ours.len(), theirs.len());
    for (name, value, text) in ours {
        let raw = theirs.get(&name).unwrap();
        assert_eq!(raw.get(), value);
        let string = serde_json::from_str::<String>(&value).ok();
        assert_eq!(text, string, "{value}");
    }
}

/// Members of the outermost object, those of one name counted each.
fn written_members(text: &str) -> usize {
    let (mut depth, mut colons, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth -= 1,
            b':' if !in_string && depth == 1 => colons += 1,
            _ => {}
        }
    }
    colons
}
