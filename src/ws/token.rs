//! Lists of tokens in header values.
//!
//! The rule: several lines of one name are one list, elements are separated by commas, white space around them and
//! empty elements mean nothing. RFC 6455 §4.2.1 asks for these lists, RFC 9110 §5.6.1 defines them.

/// The elements of a comma-separated value, trimmed, without the empty ones.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}

/// True if the list contains this token, in any case.
pub(super) fn contains(value: &[u8], token: &str) -> bool {
    elements(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// The element as a token, if it is one. RFC 9110 §5.6.2.
pub(super) fn token(element: &[u8]) -> Option<&str> {
    let legal = |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if element.is_empty() || !element.iter().all(legal) {
        return None;
    }
    std::str::from_utf8(element).ok()
}

/// The value without the white space around it: spaces and tabs, nothing else.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let blank = |&byte: &u8| byte == b' ' || byte == b'\t';
    let start = value
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_their_white_space_and_empty_elements() {
        let list: Vec<&[u8]> = elements(b" a,\tb ,, c d,").collect();
        assert_eq!(list, [&b"a"[..], b"b", b"c d"]);
        assert_eq!(elements(b" , ,").count(), 0);
        assert!(contains(b"keep-alive, Upgrade", "upgrade"));
        assert!(!contains(b"notupgrade, upgrade2", "upgrade"));
    }

    #[test]
    fn trimming_takes_spaces_and_tabs_only() {
        assert_eq!(trim(b"\t x y \t"), b"x y");
        assert_eq!(trim(b" \t "), b"");
        assert_eq!(trim(b"\rx\n"), b"\rx\n");
        assert_eq!(trim(b""), b"");
    }

    #[test]
    fn tokens_have_no_separators() {
        assert_eq!(token(b"v1.chat-2"), Some("v1.chat-2"));
        for bad in [
            &b""[..],
            b"a b",
            b"a/b",
            b"a;b",
            b"\"a\"",
            b"a\x80",
            b"a\0",
            b"a=b",
            b"{a}",
        ] {
            assert_eq!(token(bad), None);
        }
    }
}
