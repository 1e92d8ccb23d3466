//! The forms of a request target, and the grammar of an authority.
//!
//! The rule: `/path?query` is what a server is asked for; `scheme://authority/path?query` means the same and brings
//! its own host; `*` goes with OPTIONS; everything else is refused. Inside a path or query any visible byte and any
//! UTF-8 is let through (curl sends both unescaped), because nothing here gives them a meaning.

use super::HttpError;

/// A target, cut into its parts. All of them are slices of the text that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Of the absolute form.
    pub(super) authority: Option<&'a str>,
    /// Path and query as sent. In the absolute form it may be empty or begin with `?`: then the path is `/`.
    pub(super) rest: &'a str,
}

impl<'a> Target<'a> {
    /// RFC 9112 §3.2: the forms of a target.
    pub(super) fn parse(raw: &'a str, method: &str) -> Result<Self, HttpError> {
        if raw.contains('#') {
            return Err(HttpError::TargetFragment);
        }
        if raw.bytes().any(|b| b <= b' ' || b == 0x7f) {
            return Err(HttpError::Target);
        }
        if raw.starts_with('/') || (raw == "*" && method == "OPTIONS") {
            return Ok(Self {
                authority: None,
                rest: raw,
            });
        }
        let (scheme, hierarchy) = raw.split_once("://").ok_or(HttpError::Target)?;
        if !SCHEMES
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
        {
            return Err(HttpError::Target);
        }
        let (authority, rest) =
            hierarchy.split_at(hierarchy.find(['/', '?']).unwrap_or(hierarchy.len()));
        // RFC 9110 §4.2.1: an http URL with an empty host is invalid.
        if authority.is_empty() || !is_authority(authority.as_bytes()) {
            return Err(HttpError::HostInvalid);
        }
        Ok(Self {
            authority: Some(authority),
            rest,
        })
    }
}

/// Whether this may stand in `Host` (RFC 9112 §3.2): a name or address, and a port. Empty is allowed: a target
/// without authority has an empty `Host`. User names, spaces, paths and comma lists are not.
pub(super) fn is_authority(text: &[u8]) -> bool {
    let (host_is_valid, port) = if let Some(inner) = text.strip_prefix(b"[") {
        let mut parts = inner.splitn(2, |&b| b == b']');
        let address = parts.next().unwrap_or_default();
        let Some(port) = parts.next() else {
            return false;
        };
        (
            !address.is_empty()
                && address
                    .iter()
                    .all(|&b| b.is_ascii_hexdigit() || b == b':' || b == b'.'),
            port,
        )
    } else {
        let (host, port) =
            text.split_at(text.iter().position(|&b| b == b':').unwrap_or(text.len()));
        (
            host.iter()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(b)),
            port,
        )
    };
    host_is_valid && is_port(port)
}

/// Nothing, or a colon and a port (which may be empty, RFC 3986 §3.2.3).
fn is_port(text: &[u8]) -> bool {
    let Some(digits) = text.strip_prefix(b":") else {
        return text.is_empty();
    };
    let value = digits.iter().try_fold(0u16, |sum, b| {
        let digit = b.is_ascii_digit().then(|| u16::from(b - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    });
    value.is_some()
}

const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_target() {
        let origin = |rest| {
            Ok(Target {
                authority: None,
                rest,
            })
        };
        let absolute = |authority, rest| {
            Ok(Target {
                authority: Some(authority),
                rest,
            })
        };
        for (raw, method, expected) in [
            ("/", "GET", origin("/")),
            ("//x//?a?b", "GET", origin("//x//?a?b")),
            ("/a://b", "GET", origin("/a://b")),
            ("/ch/\u{fc}|{}", "GET", origin("/ch/\u{fc}|{}")),
            ("*", "OPTIONS", origin("*")),
            ("*", "GET", Err(HttpError::Target)),
            ("http://a", "GET", absolute("a", "")),
            ("HTTP://a:80?x", "GET", absolute("a:80", "?x")),
            ("wss://[::1]:2661/ws", "GET", absolute("[::1]:2661", "/ws")),
            ("ftp://a/", "GET", Err(HttpError::Target)),
            ("http:/a", "GET", Err(HttpError::Target)),
            ("http:///a", "GET", Err(HttpError::HostInvalid)),
            ("http://u:p@a/", "GET", Err(HttpError::HostInvalid)),
            ("a.example:443", "GET", Err(HttpError::Target)),
            ("path", "GET", Err(HttpError::Target)),
            ("/a#b", "GET", Err(HttpError::TargetFragment)),
            ("/a\tb", "GET", Err(HttpError::Target)),
            ("/a b", "GET", Err(HttpError::Target)),
        ] {
            assert_eq!(Target::parse(raw, method), expected, "{method} {raw}");
        }
    }

    #[test]
    fn authorities() {
        for good in [
            "",
            "a",
            "a.example",
            "a_b",
            "127.0.0.1:80",
            "a:",
            "a:65535",
            "[::1]",
            "[::ffff:1.2.3.4]:8080",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b", "a@b", "a/b", "a,b", "a:b", "a:80:80", "a:65536", "a:-1", "[::1", "[]", "[g]",
            "[::1]80", "\u{fc}",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
