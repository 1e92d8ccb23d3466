//! Where requests go: host and the beginning of a path → URL.
//!
//! | `back_ends` | request | goes to |
//! | --- | --- | --- |
//! | `/=http://127.0.0.1:3000` | `/a/b` of any host | `http://127.0.0.1:3000/a/b` |
//! | `/v1=http://10.0.0.2:80/inner` | `/v1/x` | `http://10.0.0.2:80/inner/x` |
//! | `api.example.com/=http://b:80` | `/v1/x` of `api.example.com` | `http://b:80/v1/x` |
//!
//! What stands left of `=` is replaced by what stands right of it. A path is cut between segments only. A host that is
//! named beats one that is not, then the longer path counts.

use std::fmt;

use crate::http::percent_decode;
use crate::hub::Target;

/// One row of the table; written `HOST/PATH=URL`, or `/PATH=URL` for every host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackEnd {
    /// In lower case; empty: every host.
    host: String,
    /// Without `/` at its end.
    path: String,
    target: Target,
}

/// The table. The first one of equal rows counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackEnds(pub Vec<BackEnd>);

impl BackEnd {
    /// Where it is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What of the path is replaced.
    fn matches(&self, host: &str, path: &str) -> Option<usize> {
        let rest = path.strip_prefix(self.path.as_str())?;
        let is_whole = rest.is_empty() || rest.starts_with('/');
        let of_host = self.host.is_empty() || self.host.eq_ignore_ascii_case(host);
        (is_whole && of_host).then_some(self.path.len())
    }
}

impl std::str::FromStr for BackEnd {
    type Err = BackEndError;

    fn from_str(text: &str) -> Result<Self, BackEndError> {
        let bad = |why| BackEndError {
            text: text.to_owned(),
            why,
        };
        let forms = "write HOST/PATH=http://HOST:PORT/PATH, or /PATH=… for every host";
        let (from, url) = text.split_once('=').ok_or(bad(forms))?;
        let (from, url) = (from.trim(), url.trim());
        let at = from.find('/').ok_or(bad(forms))?;
        let (host, path) = from.split_at(at);
        if url.starts_with("https://") {
            return Err(bad(
                "this build has no TLS: put a proxy that has beside it, or use the back end's own port",
            ));
        }
        let mut target: Target = url.parse().map_err(|_| bad(forms))?;
        if target.path.contains(['?', '#']) {
            return Err(bad("the URL of a back end has no query"));
        }
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
        if !from.bytes().all(is_plain) || host.contains(':') {
            return Err(bad(
                "a host has no port here, and a path neither query nor spaces",
            ));
        }
        target
            .path
            .truncate(target.path.trim_end_matches('/').len());
        Ok(Self {
            host: host.to_ascii_lowercase(),
            path: path.trim_end_matches('/').to_owned(),
            target,
        })
    }
}

/// A text that is no [`BackEnd`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackEndError {
    text: String,
    why: &'static str,
}

impl fmt::Display for BackEndError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, why } = self;
        write!(f, "{text:?} is no back end: {why}")
    }
}

impl std::error::Error for BackEndError {}

impl BackEnds {
    /// Where a request for a path (with its query) of a host goes.
    pub(super) fn find(&self, host: &str, path: &str, query: &str) -> Option<Target> {
        let host = without_port(host);
        let mut best: Option<(&BackEnd, (bool, usize))> = None;
        for row in &self.0 {
            let Some(length) = row.matches(host, path) else {
                continue;
            };
            let rank = (!row.host.is_empty(), length);
            if best.is_none_or(|(_, known)| rank > known) {
                best = Some((row, rank));
            }
        }
        let (row, (_, length)) = best?;
        let mut target = row.target.clone();
        target.path.push_str(path.get(length..).unwrap_or_default());
        if target.path.is_empty() {
            target.path.push('/');
        }
        if !query.is_empty() {
            target.path.push('?');
            target.path.push_str(query);
        }
        Some(target)
    }
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.split(':').next().unwrap_or(host)
}

/// A path as it is passed on: what may not stand there is escaped. `None`: it is no path, or one that a back end could
/// understand as another one than this table does.
pub(super) fn clean_path(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return None;
    }
    let decoded = percent_decode(path)?;
    let is_dots = |segment: &str| segment == "." || segment == "..";
    if decoded.split(['/', '\\']).any(is_dots) || decoded.chars().any(char::is_control) {
        return None;
    }
    let mut clean = String::with_capacity(path.len());
    let mut pieces = path.split('%');
    let push = |clean: &mut String, byte: u8, keep: &[u8]| {
        if byte.is_ascii_alphanumeric() || keep.contains(&byte) {
            clean.push(char::from(byte));
        } else {
            clean.push_str(&format!("%{byte:02X}"));
        }
    };
    for byte in pieces.next().unwrap_or_default().bytes() {
        push(&mut clean, byte, OF_PATH);
    }
    for piece in pieces {
        let (escape, rest) = piece.split_at_checked(2)?;
        // RFC 3986 §6.2.2.2: an escape of one of these and the character itself mean the same.
        push(&mut clean, u8::from_str_radix(escape, 16).ok()?, UNRESERVED);
        for byte in rest.bytes() {
            push(&mut clean, byte, OF_PATH);
        }
    }
    Some(clean)
}

/// RFC 3986 §2.3, without letters and digits.
const UNRESERVED: &[u8] = b"-._~";
/// What a path may have beside letters and digits (RFC 3986 §3.3).
const OF_PATH: &[u8] = b"-._~/:@!$&'()*+,;=";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn table(rows: &[&str]) -> BackEnds {
        BackEnds(rows.iter().map(|row| row.parse().unwrap()).collect())
    }

    #[test]
    fn the_best_row_counts() {
        let table = table(&[
            "/=http://a:1",
            "/v1=http://b:2/inner/",
            "/v1/deep/=http://c:3",
            "API.example.com/=http://d:4/x",
            "/v1=http://never:9",
        ]);
        let find = |host, path, query| {
            let target = table.find(host, path, query).unwrap();
            format!("{}{}", target.authority(), target.path)
        };
        assert_eq!(find("h", "/", ""), "a:1/");
        assert_eq!(find("h", "/a/b", "x=1"), "a:1/a/b?x=1");
        assert_eq!(find("h", "/v1", ""), "b:2/inner");
        assert_eq!(find("h", "/v1/", ""), "b:2/inner/");
        assert_eq!(find("h", "/v1/x", ""), "b:2/inner/x");
        assert_eq!(find("h", "/v10", ""), "a:1/v10");
        assert_eq!(find("h", "/v1/deep", ""), "c:3/");
        assert_eq!(find("h", "/v1/deep/er", "q"), "c:3/er?q");
        assert_eq!(find("api.Example.com:8080", "/v1/x", ""), "d:4/x/v1/x");
        let one = BackEnds(vec![
            "[::1]/a=http://b:2".parse().unwrap_or(table.0[1].clone()),
        ]);
        assert!(one.find("[::1]:80", "/b", "").is_none());
        assert!(BackEnds::default().find("h", "/", "").is_none());
    }

    #[test]
    fn rows_that_are_none() {
        for bad in [
            "",
            "/",
            "=http://a",
            "/=",
            "/=a:1",
            "/=https://a/",
            "/=http://a/?x",
            "h:80/=http://a/",
            "/a b=http://a/",
            "/a?b=http://a/",
            "host=http://a/",
        ] {
            let error = bad.parse::<BackEnd>().unwrap_err();
            assert!(error.to_string().contains("is no back end: "), "{bad}");
        }
    }

    #[test]
    fn paths_mean_one_thing() {
        for (path, expected) in [
            ("/a/b", Some("/a/b")),
            ("/a b/\u{fc}", Some("/a%20b/%C3%BC")),
            ("/a%20b", Some("/a%20b")),
            ("/%61%2f%2F%c3%bc%7e", Some("/a%2F%2F%C3%BC~")),
            ("/a:b@c;d=e,f", Some("/a:b@c;d=e,f")),
            ("/a?b#c", Some("/a%3Fb%23c")),
            ("/a\\b", Some("/a%5Cb")),
            ("/...", Some("/...")),
            ("/a/../b", None),
            ("/a/%2e%2E/b", None),
            ("/a/.", None),
            ("/a\\..\\b", None),
            ("/a/..%2fb", None),
            ("/a%5c..%5cb", None),
            ("/a\nb", None),
            ("/a%00", None),
            ("/a%0d%0a", None),
            ("/a%f", None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(clean_path(path).as_deref(), expected, "{path}");
        }
    }
}
