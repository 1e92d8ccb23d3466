//! What is sent back: a response and its bytes.
//!
//! The rule: the encoder alone writes the framing. It counts the body and says so, whatever headers it was given,
//! and it never writes a header that could become two lines.

use std::borrow::Cow;

use super::fields::{is_token, list_items};
use super::framing::has_no_body;
use super::text::json_escape;

/// Tells a client that waits for it (RFC 9110 §10.1.1) to send its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// An answer with its whole body.
///
/// ```
/// use dunlin::http::{EncodeOptions, Response};
/// let mut out = Vec::new();
/// let options = EncodeOptions { head_only: false, close: false, date: None };
/// Response::text(200, "hello\n").header("X-Channel", "news").encode(&mut out, options);
/// assert!(out.starts_with(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nX-Channel: news\r\n"));
/// assert!(out.ends_with(b"Content-Length: 6\r\n\r\nhello\n"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 100 to 999.
    pub status: u16,
    /// Name and value, in the order they are sent.
    pub headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// Not sent with statuses that have none (1xx, 204, 304).
    pub body: Vec<u8>,
}

/// What the connection, not the handler, knows about an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions<'a> {
    /// The request was HEAD: send the same head, but no body (RFC 9110 §9.3.2).
    pub head_only: bool,
    /// This is the last answer on the connection: say so (RFC 9112 §9.6).
    pub close: bool,
    /// The value of the `Date` header (RFC 9110 §6.6.1), from whoever has a clock.
    pub date: Option<&'a str>,
}

impl Response {
    /// An empty answer.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// An answer in plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status).with_body("text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// An answer in JSON, which the caller has written.
    pub fn json(status: u16, json: impl Into<Vec<u8>>) -> Self {
        Self::new(status).with_body("application/json", json.into())
    }

    /// An error a program can read and a person too (RFC 9457 §3). Put nothing of the request into `detail`.
    pub fn problem(status: u16, detail: &str) -> Self {
        let mut json = format!(
            "{{\"type\":\"about:blank\",\"title\":\"{}\",",
            reason_phrase(status)
        );
        json.push_str(&format!("\"status\":{status},\"detail\":\""));
        json_escape(&mut json, detail);
        json.push_str("\"}");
        Self::new(status).with_body("application/problem+json", json.into_bytes())
    }

    /// The sentence of a [`problem`](Self::problem), as it stands in the body.
    pub(crate) fn detail(&self) -> Option<&str> {
        let body = std::str::from_utf8(&self.body).ok()?;
        let (_, detail) = body
            .strip_prefix("{\"type\":\"about:blank\",")?
            .split_once("\"detail\":\"")?;
        detail.strip_suffix("\"}")
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Appends the answer's bytes to `out`.
    ///
    /// `Content-Length` is counted here, one that was set is not sent (unless it is passed on with the answer to a HEAD,
    /// which has nothing to count), and neither is `Transfer-Encoding`. Headers
    /// that could not be written as one line (CR, LF, NUL, a name that is no token) are left out.
    pub fn encode(&self, out: &mut Vec<u8>, options: EncodeOptions<'_>) {
        let status = self.encode_fields(out, options);
        // RFC 9110 §8.6: no length where there can be no body.
        let has_body = !has_no_body(status);
        if has_body {
            let passed_on = self.passed_on_length().filter(|_| options.head_only);
            let length = passed_on.unwrap_or(self.body.len() as u64);
            push_line(out, &["Content-Length: ", &length.to_string()]);
        }
        push_line(out, &[]);
        if has_body && !options.head_only {
            out.extend_from_slice(&self.body);
        }
    }

    /// Appends the head of an answer whose body is everything that follows, until the connection ends (RFC 9112 §6.3,
    /// rule 8). Its own body is not sent.
    pub fn encode_until_close(&self, out: &mut Vec<u8>, date: Option<&str>) {
        let options = EncodeOptions {
            close: true,
            date,
            ..EncodeOptions::default()
        };
        self.encode_fields(out, options);
        push_line(out, &[]);
    }

    /// Status line and headers, without framing; answers the status that was written.
    fn encode_fields(&self, out: &mut Vec<u8>, options: EncodeOptions<'_>) -> u16 {
        debug_assert!(
            (100..=999).contains(&self.status),
            "a status has three digits"
        );
        let status = if (100..=999).contains(&self.status) {
            self.status
        } else {
            500
        };
        push_line(
            out,
            &["HTTP/1.1 ", &status.to_string(), " ", reason_phrase(status)],
        );

        let (mut close_said, mut date_said) = (!options.close, options.date.is_none());
        for (name, value) in &self.headers {
            debug_assert!(
                is_writable(name, value),
                "the header {name:?} does not fit into one line"
            );
            if !is_writable(name, value) || is_framing(name) {
                continue;
            }
            date_said |= name.eq_ignore_ascii_case("date");
            if !close_said && name.eq_ignore_ascii_case("connection") {
                // Into the same list: not every client reads a second line of it.
                let named =
                    list_items(value.as_bytes()).any(|item| item.eq_ignore_ascii_case(b"close"));
                push_line(
                    out,
                    &[name, ": ", value, if named { "" } else { ", close" }],
                );
                close_said = true;
            } else {
                push_line(out, &[name, ": ", value]);
            }
        }
        if let Some(date) = options
            .date
            .filter(|date| !date_said && is_writable("Date", date))
        {
            push_line(out, &["Date: ", date]);
        }
        if !close_said {
            push_line(out, &["Connection: close"]);
        }
        status
    }

    /// What somebody else has counted, where there is no body.
    fn passed_on_length(&self) -> Option<u64> {
        let mut lines = self.headers.iter().filter(|_| self.body.is_empty());
        let (_, value) = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
        let is_number = value.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| value.parse().ok())?
    }

    fn with_body(mut self, content_type: &'static str, body: Vec<u8>) -> Self {
        self.body = body;
        self.header("Content-Type", content_type)
    }
}

/// The words behind a status (RFC 9110 §15); empty for one that has none.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        511 => "Network Authentication Required",
        _ => "",
    }
}

fn push_line(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn is_writable(name: &str, value: &str) -> bool {
    is_token(name.as_bytes()) && !value.bytes().any(|b| matches!(b, b'\r' | b'\n' | b'\0'))
}

fn is_framing(name: &str) -> bool {
    name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn encode(response: &Response, options: EncodeOptions<'_>) -> String {
        let mut out = Vec::new();
        response.encode(&mut out, options);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_encoder_counts_the_body() {
        let options = EncodeOptions {
            date: Some("Thu, 01 Jan 1970 00:00:00 GMT"),
            ..EncodeOptions::default()
        };
        let response = Response::json(201, "{}")
            .header("content-length", "99")
            .header("Transfer-Encoding", "chunked");
        let head = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\
                    Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(encode(&response, options), format!("{head}{{}}"));
        assert_eq!(
            encode(
                &response,
                EncodeOptions {
                    head_only: true,
                    ..options
                }
            ),
            head
        );
    }

    #[test]
    fn the_length_that_a_head_was_told_is_passed_on() {
        let to_head = EncodeOptions {
            head_only: true,
            ..EncodeOptions::default()
        };
        let response = Response::new(200).header("Content-Length", "99");
        assert!(encode(&response, to_head).ends_with("\r\nContent-Length: 99\r\n\r\n"));
        let counted = encode(&response, EncodeOptions::default());
        assert!(counted.ends_with("\r\nContent-Length: 0\r\n\r\n"));
    }

    #[test]
    fn statuses_without_a_body_have_no_length() {
        for status in [101, 204, 304] {
            let mut response = Response::new(status);
            response.body = b"lost".to_vec();
            let phrase = reason_phrase(status);
            assert_eq!(
                encode(&response, EncodeOptions::default()),
                format!("HTTP/1.1 {status} {phrase}\r\n\r\n")
            );
        }
        assert_eq!(
            encode(&Response::new(299), EncodeOptions::default()),
            "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn close_is_said_once() {
        let close = EncodeOptions {
            close: true,
            ..EncodeOptions::default()
        };
        let lines = |response: Response| {
            let text = encode(&response, close);
            text.lines()
                .filter(|line| line.starts_with("Connection"))
                .collect::<Vec<_>>()
                .join("|")
        };
        assert_eq!(lines(Response::new(400)), "Connection: close");
        assert_eq!(
            lines(Response::new(400).header("Connection", "Close")),
            "Connection: Close"
        );
        assert_eq!(
            lines(Response::new(426).header("Connection", "Upgrade")),
            "Connection: Upgrade, close"
        );
    }

    #[test]
    fn a_date_that_was_set_stays_alone() {
        let options = EncodeOptions {
            date: Some("now"),
            ..EncodeOptions::default()
        };
        let text = encode(&Response::new(200).header("date", "then"), options);
        assert!(
            text.contains("date: then\r\n") && !text.contains("now"),
            "{text}"
        );
        let unwritable = EncodeOptions {
            date: Some("now\r\n"),
            ..EncodeOptions::default()
        };
        assert!(!encode(&Response::new(200), unwritable).contains("now"));
    }

    #[test]
    fn a_header_is_one_line() {
        assert!(is_writable("X-A", "b\tc \u{fc}") && is_writable("X-A", ""));
        for (name, value) in [
            ("X-A", "b\r\nC: d"),
            ("X-A", "b\n"),
            ("X-A", "\0"),
            ("X\r\nB", "c"),
            ("", "c"),
            ("a b", "c"),
        ] {
            assert!(!is_writable(name, value), "{name:?} {value:?}");
        }
    }

    #[test]
    fn problems_are_json() {
        let response = Response::problem(404, "no \"such\"\nthing");
        let expected = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"no \"such\"\nthing"}"#;
        assert_eq!(response.detail(), Some(r#"no \"such\"\nthing"#));
        assert_eq!(Response::text(200, "{}").detail(), None);
        assert_eq!(String::from_utf8(response.body).unwrap(), expected);
        assert_eq!(
            response.headers,
            [("Content-Type".into(), "application/problem+json".into())]
        );
    }
}
