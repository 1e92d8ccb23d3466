//! Oracle: our scanner and serde_json find the same values in the same bytes, whole and cut.
//!
//! Where they may differ, and why:
//!
//! | the stream has | serde_json | dunlin |
//! | --- | --- | --- |
//! | a number at its very end | a value | unfinished: more digits may come |
//! | two values without white space between them, one a number or a word | an error | two values, as Go reads them |
//! | `\ud800` and the like, which stand for no character | an error in a string, none in raw text | passed on |
//! | bytes that are no UTF-8 in a string | an error | passed on: who reads it says so |
//! | numbers beyond the range of a double | an error, unless it is raw text | passed on |

use dunlin::values::{DEPTH_MAX, Scanned, Scanner, Values};
use serde_json::value::RawValue;

/// Byte 0 says how the stream is cut, the rest is the stream.
pub(crate) fn values(data: &[u8]) {
    let Some((&setup, stream)) = data.split_first() else {
        return;
    };
    let whole = cut(stream, stream.len().max(1));
    assert_eq!(
        whole,
        cut(stream, usize::from(setup) % 7 + 1),
        "cuts make a difference"
    );
    for (n, value) in whole.iter().enumerate() {
        let mut scanner = Scanner::default();
        // A number is whole when something stands behind it.
        let is_whole = matches!(scanner.scan(&[&value[..], b" "].concat()), Scanned::Whole(at) if at == value.len());
        assert_eq!(
            is_whole,
            dunlin::values::fault(value).is_none(),
            "two answers for {:?}",
            String::from_utf8_lossy(value)
        );
        assert!(
            is_whole || n + 1 == whole.len(),
            "something came behind what is no JSON"
        );
        let Ok(text) = std::str::from_utf8(value) else {
            continue;
        };
        let theirs = serde_json::from_str::<&RawValue>(text);
        match (is_whole, theirs) {
            (true, Ok(raw)) => assert_eq!(raw.get(), text),
            (true, Err(error)) => panic!("{text:?} is no value for serde_json: {error}"),
            (false, Ok(_)) => assert!(depth(text) > usize::from(DEPTH_MAX), "{text:?} is a value"),
            (false, Err(_)) => {}
        }
    }
}

/// The values of a stream that comes in pieces of `size` bytes.
fn cut(stream: &[u8], size: usize) -> Vec<Vec<u8>> {
    let mut values = Values::new(usize::MAX / 2);
    let mut all = Vec::new();
    for piece in stream.chunks(size) {
        let mut input = piece;
        loop {
            match values.next(&mut input) {
                Ok(Some(value)) => all.push(value.to_vec()),
                Ok(None) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(input.is_empty(), "not all was taken");
        assert!(values.buffered_bytes() <= 2 * stream.len() + 8);
    }
    all
}

/// How deep brackets are nested, those in strings left out.
fn depth(text: &str) -> usize {
    let (mut depth, mut most, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}
