//! Header lines as spans into one copy of the head, and the look-ups that both sides share.
//!
//! The rule: names compare without case; a list spread over several lines is one list (RFC 9110 §5.3).

use std::ops::Range;

/// A piece of the owned bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part`, a slice of `whole`, lies in it.
    pub(super) fn of(whole: &[u8], part: &[u8]) -> Self {
        if part.is_empty() {
            return Self::default(); // Wherever an empty slice points to, it holds the same nothing.
        }
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        debug_assert!(
            start
                .checked_add(part.len())
                .is_some_and(|end| end <= whole.len()),
            "a slice of the head"
        );
        Self::new(start..start.wrapping_add(part.len()))
    }

    /// The span of a range. Heads are far shorter than 4 GiB; one that were not would read as empty.
    pub(super) fn new(range: Range<usize>) -> Self {
        match (u32::try_from(range.start), u32::try_from(range.end)) {
            (Ok(start), Ok(end)) => Self { start, end },
            _ => Self::default(),
        }
    }

    pub(super) fn bytes(self, whole: &[u8]) -> &[u8] {
        whole
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// The piece as text; empty if it is none (the parsers only make text spans of checked text).
    pub(super) fn text(self, whole: &[u8]) -> &str {
        std::str::from_utf8(self.bytes(whole)).unwrap_or_default()
    }
}

/// The header lines of a head, with the bytes they lie in.
#[derive(Clone)]
pub(super) struct Fields {
    /// One copy of the head.
    pub(super) bytes: Box<[u8]>,
    /// Name and value of each line, in the order they came.
    pub(super) lines: Box<[(Span, Span)]>,
}

impl Fields {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        self.lines
            .iter()
            .map(|(name, value)| (name.text(&self.bytes), value.bytes(&self.bytes)))
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + Clone {
        let named = move |line: &&(Span, Span)| {
            line.0
                .bytes(&self.bytes)
                .eq_ignore_ascii_case(name.as_bytes())
        };
        self.lines
            .iter()
            .filter(named)
            .map(|(_, value)| value.bytes(&self.bytes))
    }

    pub(super) fn first(&self, name: &str) -> Option<&str> {
        let named = |line: &&(Span, Span)| {
            line.0
                .bytes(&self.bytes)
                .eq_ignore_ascii_case(name.as_bytes())
        };
        let (_, value) = self.lines.iter().find(named)?;
        std::str::from_utf8(value.bytes(&self.bytes)).ok()
    }

    pub(super) fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(list_items)
            .any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// RFC 9112 §9.3: HTTP/1.1 keeps the connection unless told otherwise, HTTP/1.0 only when told so.
    pub(super) fn keep_alive(&self, minor_version: u8) -> bool {
        !self.has_token("connection", "close")
            && (minor_version > 0 || self.has_token("connection", "keep-alive"))
    }
}

/// The items of a comma list, without white space; empty items do not count (RFC 9110 §5.6.1).
pub(super) fn list_items(list: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    list.split(|&b| b == b',')
        .map(trim)
        .filter(|item| !item.is_empty())
}

/// Without the spaces and tabs around it (RFC 9110 §5.5).
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether this is a token (RFC 9110 §5.6.2): a method, a header name.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| OF_TOKEN[usize::from(b)])
}

/// The bytes that a token is made of.
const OF_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trim_takes_spaces_and_tabs_only() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
        assert_eq!(trim(b"\xa0a"), b"\xa0a");
    }

    #[test]
    fn lists_skip_empty_items() {
        let items: Vec<_> = list_items(b", keep-alive,,\tUpgrade ,").collect();
        assert_eq!(items, [&b"keep-alive"[..], b"Upgrade"]);
    }

    #[test]
    fn tokens_have_no_separators() {
        assert!(is_token(b"M-SEARCH") && is_token(b"x_y.z~") && is_token(b"!#$%&'*+-.^_`|~"));
        for bad in [
            &b""[..],
            b"a b",
            b"a:",
            b"a/b",
            b"\"a\"",
            b"a\xc3",
            b"a\0",
            b"(a)",
        ] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }

    #[test]
    fn spans_of_slices_and_ranges() {
        let whole = b"GET /path";
        assert_eq!(Span::of(whole, &whole[4..]).text(whole), "/path");
        assert_eq!(Span::of(whole, b"").bytes(whole), b"");
        assert_eq!(Span::new(7..99).bytes(whole), b"");
    }
}
