//! The client side: status line and headers of an answer, for our own command line and for callbacks.
//!
//! The rule is the one of requests: where two readers could disagree, the answer is unusable.

use std::fmt;

use super::fields::Fields;
use super::framing::{self, ResponseBody};
use super::head::{minor_version, parse_lines, split};
use super::{HeadLimits, HttpError};

/// The head of an answer.
///
/// `Debug` shows the status and the names of the headers, never their values.
#[derive(Clone)]
pub struct ResponseHead {
    fields: Fields,
    status: u16,
    minor_version: u8,
}

impl ResponseHead {
    /// Parses a whole head, blank line included: what [`HeadSeeker::seek`](super::HeadSeeker::seek) found.
    ///
    /// # Errors
    /// Any rule of RFC 9112 §4 and §5 that is broken. The status of the error would be that of a request; to the
    /// application's own client it means a bad gateway.
    pub fn parse(bytes: &[u8], limits: &HeadLimits) -> Result<Self, HttpError> {
        let (first_line, field_lines) = split(bytes, limits)?;
        if bytes.starts_with(b"\r\n") {
            // RFC 9112 §2.2 forgives blank lines before requests only; here they mean that bodies were miscounted.
            return Err(HttpError::StatusLine);
        }
        let (minor_version, status) = status_line(first_line)?;
        let lines = parse_lines(bytes, field_lines, limits)?;
        Ok(Self {
            fields: Fields {
                bytes: bytes.into(),
                lines,
            },
            status,
            minor_version,
        })
    }

    /// The status, 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
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
    /// As [`Head::body`](super::Head::body).
    pub fn body(&self, request_was_head: bool) -> Result<ResponseBody, HttpError> {
        framing::response_body(
            &self.fields,
            self.minor_version,
            self.status,
            request_was_head,
        )
    }

    /// Whether the connection may be used again after the body. One whose body ends with the connection may not,
    /// whatever this says.
    pub fn keep_alive(&self) -> bool {
        self.fields.keep_alive(self.minor_version)
    }
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("minor_version", &self.minor_version)
            .field(
                "header_names",
                &self.headers().map(|(name, _)| name).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

/// RFC 9112 §4: version, three digits, and a reason that nobody reads (many leave it out, with its space).
fn status_line(line: &[u8]) -> Result<(u8, u16), HttpError> {
    let mut parts = line.splitn(3, |&b| b == b' ');
    let version =
        minor_version(parts.next().unwrap_or_default()).ok_or(HttpError::StatusLine)??;
    match parts.next() {
        Some(
            &[
                hundreds @ b'1'..=b'9',
                tens @ b'0'..=b'9',
                ones @ b'0'..=b'9',
            ],
        ) => {
            let digit = |b: u8| u16::from(b - b'0');
            Ok((
                version,
                digit(hundreds) * 100 + digit(tens) * 10 + digit(ones),
            ))
        }
        _ => Err(HttpError::StatusLine),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(head: &str) -> Result<ResponseHead, HttpError> {
        ResponseHead::parse(head.as_bytes(), &HeadLimits::default())
    }

    #[test]
    fn status_lines() {
        for (line, expected) in [
            ("HTTP/1.1 200 OK", Ok((1, 200))),
            ("HTTP/1.0 404 Not  Found", Ok((0, 404))),
            ("HTTP/1.1 204 ", Ok((1, 204))),
            ("HTTP/1.1 299", Ok((1, 299))),
            ("HTTP/2.0 200 OK", Err(HttpError::Version)),
            ("HTTP/1.1  200 OK", Err(HttpError::StatusLine)),
            ("HTTP/1.1 20 OK", Err(HttpError::StatusLine)),
            ("HTTP/1.1 099 OK", Err(HttpError::StatusLine)),
            ("HTTP/1.1 +20 OK", Err(HttpError::StatusLine)),
            ("HTTP/1.1 2000 OK", Err(HttpError::StatusLine)),
            ("HTTP/1.1", Err(HttpError::StatusLine)),
            ("ICY 200 OK", Err(HttpError::StatusLine)),
        ] {
            assert_eq!(status_line(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn bodies() {
        let body = |status, fields: &str, was_head| {
            parse(&format!("HTTP/1.1 {status} X\r\n{fields}\r\n"))
                .unwrap()
                .body(was_head)
        };
        assert_eq!(body(200, "", false), Ok(ResponseBody::UntilClose));
        assert_eq!(
            body(200, "Content-Length: 5\r\n", false),
            Ok(ResponseBody::Exact(5))
        );
        assert_eq!(
            body(200, "Content-Length: 5\r\n", true),
            Ok(ResponseBody::None)
        );
        assert_eq!(
            body(304, "Content-Length: 5\r\n", false),
            Ok(ResponseBody::None)
        );
        assert_eq!(body(101, "", false), Ok(ResponseBody::None));
        assert_eq!(
            body(200, "Transfer-Encoding: chunked\r\n", false),
            Ok(ResponseBody::Chunked)
        );
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n";
        assert_eq!(body(200, both, false), Err(HttpError::LengthAndCoding));
    }

    #[test]
    fn the_rules_of_requests_hold() {
        let ok = "HTTP/1.1 200 OK\r\n";
        for (lines, error) in [
            ("A: b\n\r\n", HttpError::LineEnding),
            ("A : b\r\n\r\n", HttpError::HeaderLine),
            ("A: b\r\n c\r\n\r\n", HttpError::ObsFold),
            ("A: \0\r\n\r\n", HttpError::ControlByte),
            ("A: b\r\n", HttpError::HeadIncomplete),
        ] {
            assert_eq!(
                parse(&format!("{ok}{lines}")).unwrap_err(),
                error,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn an_answer_may_not_begin_with_a_blank_line() {
        assert_eq!(
            parse("\r\nHTTP/1.1 200 OK\r\n\r\n").unwrap_err(),
            HttpError::StatusLine
        );
        assert!(
            parse("HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
                .unwrap()
                .keep_alive()
        );
        assert!(!parse("HTTP/1.0 200 OK\r\n\r\n").unwrap().keep_alive());
        assert!(
            !format!(
                "{:?}",
                parse("HTTP/1.1 200 OK\r\nSet-Cookie: hush\r\n\r\n").unwrap()
            )
            .contains("hush")
        );
    }
}
