//! A parsed request head. The one file that knows the tokeniser (`httparse`).
//!
//! The rule: parsed once, kept as long as needed: one copy of the bytes, and spans into it. The tokeniser accepts
//! more than the RFCs do (lone LF, several blank lines, any target), so its input is checked before and its output
//! after: line ends and control characters by [`HeadSeeker`], the first line by hand, names and `Host` here.

use std::fmt;

use super::fields::{Fields, Span, is_token, list_items, trim};
use super::framing::{self, BodyLength};
use super::target::{Target, is_authority};
use super::text::form_decode;
use super::{HeadLimits, HeadSeeker, HttpError};

/// A request head: method, target, version and header lines.
///
/// `Debug` shows the path and the names of the headers, never their values or the query: those hold secrets.
#[derive(Clone)]
pub struct Head {
    fields: Fields,
    method: Span,
    raw_target: Span,
    /// Path and query, the absolute form's authority taken off.
    target: Span,
    path: Span,
    query: Option<Span>,
    authority: Option<Span>,
    minor_version: u8,
}

impl Head {
    /// Parses a whole head, blank line included: what [`HeadSeeker::seek`] found.
    ///
    /// # Errors
    /// Any rule of RFC 9112 §2 to §5 that is broken, as the [`HttpError`] that names it.
    pub fn parse(bytes: &[u8], limits: &HeadLimits) -> Result<Self, HttpError> {
        let (first_line, field_lines) = split(bytes, limits)?;
        let line = RequestLine::parse(first_line, limits)?;
        let target = Target::parse(line.target, line.method)?;
        let lines = parse_lines(bytes, field_lines, limits)?;

        let mut copy = bytes.to_vec();
        let mut target_span = Span::of(bytes, target.rest.as_bytes());
        if !target.rest.starts_with(['/', '*']) {
            // RFC 9112 §3.2.1: an empty path is `/`. It is not among the bytes, so it is added behind them.
            let start = copy.len();
            copy.push(b'/');
            copy.extend_from_slice(target.rest.as_bytes());
            target_span = Span::new(start..copy.len());
        }
        let (path, query) = match target_span.text(&copy).split_once('?') {
            Some((path, query)) => (
                Span::of(&copy, path.as_bytes()),
                Some(Span::of(&copy, query.as_bytes())),
            ),
            None => (target_span, None),
        };
        let head = Self {
            method: Span::of(bytes, line.method.as_bytes()),
            raw_target: Span::of(bytes, line.target.as_bytes()),
            target: target_span,
            path,
            query,
            authority: target
                .authority
                .map(|authority| Span::of(bytes, authority.as_bytes())),
            minor_version: line.minor_version,
            fields: Fields {
                bytes: copy.into(),
                lines,
            },
        };
        head.check_host()?;
        Ok(head)
    }

    /// The method as sent. Methods are case-sensitive (RFC 9110 §9.1), so `get` is simply an unknown one.
    pub fn method(&self) -> &str {
        self.method.text(&self.fields.bytes)
    }

    /// Path and query; of an absolute-form target without its scheme and authority. `*` for `OPTIONS *`.
    pub fn target(&self) -> &str {
        self.target.text(&self.fields.bytes)
    }

    /// The path as sent (not decoded), without the query.
    pub fn path(&self) -> &str {
        self.path.text(&self.fields.bytes)
    }

    /// What follows the `?`, as sent.
    pub fn query(&self) -> Option<&str> {
        self.query.map(|query| query.text(&self.fields.bytes))
    }

    /// The authority of an absolute-form target.
    pub fn authority(&self) -> Option<&str> {
        self.authority
            .map(|authority| authority.text(&self.fields.bytes))
    }

    /// The host that is asked for: the target's authority, else the `Host` header (RFC 9112 §3.2.2).
    pub fn host(&self) -> Option<&str> {
        self.authority().or_else(|| self.header("host"))
    }

    /// The target exactly as sent.
    pub fn raw_target(&self) -> &str {
        self.raw_target.text(&self.fields.bytes)
    }

    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub fn minor_version(&self) -> u8 {
        self.minor_version
    }

    /// All header lines in the order they came; values are trimmed.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        self.fields.iter()
    }

    /// The value of the first header of that name, trimmed. `None` if there is none or it is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.fields.first(name)
    }

    /// The values of all headers of that name, in order, trimmed.
    pub fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.fields.all(name)
    }

    /// Whether a comma list contains a token; all lines of that name are one list, case does not matter.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.fields.has_token(name, token)
    }

    /// How the body ends (RFC 9112 §6.3).
    ///
    /// # Errors
    /// Whatever two readers could understand in two ways: both lengths, several, malformed or unknown ones.
    pub fn body(&self) -> Result<BodyLength, HttpError> {
        framing::request_body(&self.fields, self.minor_version)
    }

    /// Whether the client wants to send another request on this connection (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        self.fields.keep_alive(self.minor_version)
    }

    /// Whether the client waits for [`CONTINUE`](super::CONTINUE) before it sends the body (RFC 9110 §10.1.1).
    ///
    /// # Errors
    /// [`HttpError::Expectation`] if it expects anything else. HTTP/1.0 clients expect nothing.
    pub fn expects_continue(&self) -> Result<bool, HttpError> {
        let mut expected = false;
        if self.minor_version == 0 {
            return Ok(expected);
        }
        for item in self.fields.all("expect").flat_map(list_items) {
            if !item.eq_ignore_ascii_case(b"100-continue") {
                return Err(HttpError::Expectation);
            }
            expected = true;
        }
        Ok(expected)
    }

    /// The first parameter of that name in the query, decoded (`+` is a space). `None` if there is none or its
    /// value does not decode to UTF-8.
    pub fn query_param(&self, name: &str) -> Option<String> {
        self.query()?.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (form_decode(key)? == name).then(|| form_decode(value).map(String::from))
        })?
    }

    /// The first cookie of that name (RFC 6265 §4.2.1), without the quotes that some clients put around the value.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self
            .fields
            .all("cookie")
            .flat_map(|line| line.split(|&b| b == b';'));
        let value = pairs.filter_map(|pair| {
            let equals = pair.iter().position(|&b| b == b'=')?;
            let (key, value) = pair.split_at_checked(equals)?;
            (trim(key) == name.as_bytes()).then(|| trim(value.get(1..).unwrap_or_default()))
        });
        let text = std::str::from_utf8(value.into_iter().next()?).ok()?;
        Some(
            text.strip_prefix('"')
                .and_then(|inner| inner.strip_suffix('"'))
                .unwrap_or(text),
        )
    }

    /// RFC 9112 §3.2: exactly one valid `Host`, which only HTTP/1.0 may leave out.
    fn check_host(&self) -> Result<(), HttpError> {
        let mut hosts = self.fields.all("host");
        match (hosts.next(), hosts.next()) {
            (None, _) if self.minor_version == 0 => Ok(()),
            (None, _) => Err(HttpError::HostMissing),
            (Some(_), Some(_)) => Err(HttpError::HostRepeated),
            (Some(host), None) if is_authority(host) => Ok(()),
            (Some(_), None) => Err(HttpError::HostInvalid),
        }
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("minor_version", &self.minor_version)
            .field(
                "header_names",
                &self.headers().map(|(name, _)| name).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

/// RFC 9112 §3: method, target and version, single spaces between.
struct RequestLine<'a> {
    method: &'a str,
    target: &'a str,
    minor_version: u8,
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8], limits: &HeadLimits) -> Result<Self, HttpError> {
        let mut parts = line.split(|&b| b == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(HttpError::RequestLine);
        };
        // The version first: the preface of HTTP/2 has a target that is wrong here, and would get the wrong answer.
        let minor_version = minor_version(version).ok_or(HttpError::RequestLine)??;
        if target.is_empty() {
            return Err(HttpError::RequestLine);
        }
        if !is_token(method) {
            return Err(HttpError::Method);
        }
        if method.len() > METHOD_BYTES_MAX {
            return Err(HttpError::MethodTooLong);
        }
        if method == b"CONNECT" {
            return Err(HttpError::NotAProxy);
        }
        if target.len() > limits.target_bytes_max {
            return Err(HttpError::TargetTooLong {
                bytes_max: limits.target_bytes_max,
            });
        }
        Ok(Self {
            method: std::str::from_utf8(method).map_err(|_| HttpError::Method)?,
            target: std::str::from_utf8(target).map_err(|_| HttpError::Target)?,
            minor_version,
        })
    }
}

/// The minor version of HTTP/1; `None` if this is no version at all.
pub(super) fn minor_version(text: &[u8]) -> Option<Result<u8, HttpError>> {
    match text {
        b"HTTP/1.1" => Some(Ok(1)),
        b"HTTP/1.0" => Some(Ok(0)),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Some(Err(HttpError::Version))
        }
        _ => None,
    }
}

/// Cuts a whole head into its first line and its header lines (with the blank line), once the seeker has found
/// nothing to object to.
pub(super) fn split<'a>(
    bytes: &'a [u8],
    limits: &HeadLimits,
) -> Result<(&'a [u8], &'a [u8]), HttpError> {
    if HeadSeeker::default().seek(bytes, limits)? != Some(bytes.len()) {
        return Err(HttpError::HeadIncomplete);
    }
    let head = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let end = head
        .iter()
        .position(|&b| b == b'\r')
        .ok_or(HttpError::HeadIncomplete)?;
    let first_line = head.get(..end).unwrap_or_default();
    Ok((first_line, head.get(end + 2..).unwrap_or_default()))
}

/// Tokenises header lines; the spans are relative to `whole`.
pub(super) fn parse_lines(
    whole: &[u8],
    field_lines: &[u8],
    limits: &HeadLimits,
) -> Result<Box<[(Span, Span)]>, HttpError> {
    // Each line has one LF, and the blank line has one too: count first, and reserve what is there.
    let count = count_lf(field_lines).saturating_sub(1);
    if count > limits.headers_max {
        return Err(HttpError::TooManyHeaders {
            max: limits.headers_max,
        });
    }
    let mut headers = vec![httparse::EMPTY_HEADER; count];
    match httparse::parse_headers(field_lines, &mut headers) {
        Ok(httparse::Status::Complete((len, lines))) if len == field_lines.len() => {
            let spans = lines.iter().map(|line| {
                // RFC 9112 §5: a name is a token; the tokeniser says so too, but our promise rests on our own check.
                let name = Some(line.name.as_bytes())
                    .filter(|name| is_token(name))
                    .ok_or(HttpError::HeaderLine)?;
                Ok((Span::of(whole, name), Span::of(whole, trim(line.value))))
            });
            spans.collect()
        }
        _ => Err(HttpError::HeaderLine),
    }
}

/// In blocks of which the compiler makes vector instructions.
fn count_lf(bytes: &[u8]) -> usize {
    let (blocks, tail) = bytes.as_chunks::<32>();
    let of = |part: &[u8]| part.iter().map(|&b| u8::from(b == b'\n')).sum::<u8>();
    blocks
        .iter()
        .map(|block| usize::from(of(block)))
        .sum::<usize>()
        + usize::from(of(tail))
}

/// RFC 9112 §3.1: methods longer than any known one may be answered with 501. The longest registered has 17 bytes.
const METHOD_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(head: &str) -> Head {
        Head::parse(head.as_bytes(), &HeadLimits::default()).unwrap()
    }

    #[test]
    fn parts_of_the_absolute_form() {
        for (raw, target, path, query) in [
            ("http://a", "/", "/", None),
            ("http://a?x=1", "/?x=1", "/", Some("x=1")),
            ("http://a/?", "/?", "/", Some("")),
            ("ws://a:1/b?c?d", "/b?c?d", "/b", Some("c?d")),
        ] {
            let head = parse(&format!("GET {raw} HTTP/1.1\r\nHost: b\r\n\r\n"));
            assert_eq!(
                (head.target(), head.path(), head.query()),
                (target, path, query),
                "{raw}"
            );
            assert_eq!(head.raw_target(), raw);
            assert_eq!(head.host(), head.authority());
            assert!(head.authority().unwrap().starts_with('a'));
        }
    }

    #[test]
    fn debug_hides_secrets() {
        let head = parse("GET /p?token=hush HTTP/1.1\r\nHost: a\r\nCookie: hush\r\n\r\n");
        let shown = format!("{head:?}");
        assert!(shown.contains("/p") && shown.contains("Cookie"), "{shown}");
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn query_parameters() {
        let head =
            parse("GET /?a=1&b=x+y%2B&a=2&c&%64=e&f=%ff&g=%zz&h=a=b HTTP/1.1\r\nHost: a\r\n\r\n");
        let param = |name| head.query_param(name);
        assert_eq!(param("a").as_deref(), Some("1"));
        assert_eq!(param("b").as_deref(), Some("x y+"));
        assert_eq!(param("c").as_deref(), Some(""));
        assert_eq!(param("d").as_deref(), Some("e"));
        assert_eq!(param("f"), None);
        assert_eq!(param("g"), None);
        assert_eq!(param("h").as_deref(), Some("a=b"));
        assert_eq!(param("absent"), None);
        assert_eq!(
            parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n").query_param("a"),
            None
        );
    }

    #[test]
    fn cookies() {
        let head = parse(
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=\"q\" ;c=x=y;d\r\ncookie: e=; a=2\r\n\r\n",
        );
        let expected = [
            ("a", Some("1")),
            ("b", Some("q")),
            ("c", Some("x=y")),
            ("d", None),
            ("e", Some("")),
            ("A", None),
        ];
        for (name, value) in expected {
            assert_eq!(head.cookie(name), value, "{name}");
        }
    }

    #[test]
    fn an_incomplete_head_is_refused() {
        let limits = HeadLimits::default();
        let whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(
                Head::parse(&whole[..end], &limits).unwrap_err(),
                HttpError::HeadIncomplete
            );
        }
        assert_eq!(
            Head::parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n!", &limits).unwrap_err(),
            HttpError::HeadIncomplete
        );
    }
}
