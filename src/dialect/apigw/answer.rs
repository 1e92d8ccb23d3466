//! Answers, as JSON to devices and as plain HTTP.
//!
//! ```text
//!   {"status":200,"header":{"x-ca-request-id":"…","x-ca-seq":"0","content-type":"…"},"body":"…"}
//! ```
//!
//! Headers have lower-case names and are strings; one that is repeated is a list. A body that is not UTF-8 is base64,
//! with `"isBase64":1` beside it. Headers that speak of the connection to the back end stay here.

use std::fmt::Write;

use base64::Engine;

use super::request::BASE64;
use crate::dialect::members::push_string;
use crate::http::Response;
use crate::hub::{Answered, CallError};

/// What is wrong with a request, in the words of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) why: &'static str,
    /// Of the counter.
    pub(super) label: &'static str,
}

impl Refused {
    pub(super) const fn new(status: u16, why: &'static str, label: &'static str) -> Self {
        Self { status, why, label }
    }

    /// A call that has no answer. It has been counted already.
    pub(super) fn failed(error: CallError) -> Self {
        let (status, why) = match error {
            CallError::Timeout => (504, "the back end did not answer in time"),
            CallError::Unreachable => (502, "the back end cannot be reached"),
            CallError::Broken => (502, "the back end has ended the connection"),
            CallError::BadAnswer => (
                502,
                "the back end has answered something that cannot be passed on",
            ),
            CallError::ShuttingDown => (503, "this gateway is going down"),
        };
        Self::new(status, why, "apigw_back_end")
    }
}

/// An answer before it is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer<'a> {
    /// Of the back end.
    Passed(Answered<'a>),
    Refused(Refused),
    /// It was done here.
    Done,
}

const ERROR_MESSAGE: &str = "x-ca-error-message";
pub(super) const REQUEST_ID: &str = "x-ca-request-id";
const SEQ: &str = "x-ca-seq";

impl Answer<'_> {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Passed(answered) => answered.head.status(),
            Self::Refused(refused) => refused.status,
            Self::Done => 200,
        }
    }

    fn body(&self) -> &[u8] {
        match self {
            Self::Passed(answered) => answered.body,
            Self::Refused(_) | Self::Done => b"",
        }
    }

    /// The headers that go to whoever has asked, names in lower case.
    fn headers(&self) -> Vec<(String, String)> {
        match self {
            Self::Passed(answered) => {
                let head = answered.head;
                let all = head.headers().map(|(n, v)| (n.to_ascii_lowercase(), v));
                let own = [REQUEST_ID, SEQ, "date"];
                all.filter(|(name, _)| {
                    !is_of_connection(name)
                        && !own.contains(&name.as_str())
                        && !head.has_token("connection", name)
                })
                .map(|(name, value)| (name, String::from_utf8_lossy(value).into_owned()))
                .collect()
            }
            Self::Refused(refused) => vec![(ERROR_MESSAGE.to_owned(), refused.why.to_owned())],
            Self::Done => Vec::new(),
        }
    }

    /// For a device.
    pub(super) fn json(&self, seq: Option<&str>, request_id: &str) -> String {
        let body = self.body();
        let mut out = String::with_capacity(body.len() + 256);
        _ = write!(out, "{{\"status\":{},\"header\":{{", self.status());
        out.push_str("\"x-ca-request-id\":");
        push_string(&mut out, request_id);
        if let Some(seq) = seq {
            out.push_str(",\"x-ca-seq\":");
            push_string(&mut out, seq);
        }
        let headers = self.headers();
        for (at, (name, value)) in headers.iter().enumerate() {
            let earlier = headers.iter().take(at);
            if name == "content-length" || earlier.into_iter().any(|(known, _)| known == name) {
                continue;
            }
            out.push(',');
            push_string(&mut out, name);
            out.push(':');
            let more = headers
                .iter()
                .skip(at + 1)
                .filter(|(other, _)| other == name);
            let more: Vec<_> = more.map(|(_, value)| value).collect();
            if more.is_empty() {
                push_string(&mut out, value);
                continue;
            }
            out.push('[');
            push_string(&mut out, value);
            for value in more {
                out.push(',');
                push_string(&mut out, value);
            }
            out.push(']');
        }
        out.push_str("},\"body\":");
        match std::str::from_utf8(body) {
            Ok(text) => push_string(&mut out, text),
            Err(_) => {
                out.push('"');
                BASE64.encode_string(body, &mut out);
                out.push_str("\",\"isBase64\":1");
            }
        }
        out.push('}');
        out
    }

    /// For whoever speaks plain HTTP.
    pub(super) fn response(&self, request_id: &str) -> Response {
        let mut response = match self {
            Self::Refused(refused) => {
                let response = Response::problem(refused.status, refused.why);
                match refused.status {
                    405 => response.header("Allow", ALLOW),
                    502 | 503 => response.header("Retry-After", "1"),
                    _ => response,
                }
            }
            _ => Response::new(self.status()),
        };
        for (name, value) in self.headers() {
            // A line that the encoder would not write; the body says it as well.
            if !value.contains(['\r', '\n', '\0']) {
                response = response.header(name, value);
            }
        }
        if let Self::Passed(answered) = self {
            response.body = answered.body.to_vec();
        }
        response.header(REQUEST_ID, request_id.to_owned())
    }
}

const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Headers that hold for one connection and not for a message (RFC 9110 §7.6.1), and those of its framing.
pub(super) fn is_of_connection(name: &str) -> bool {
    [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
    .iter()
    .any(|known| known.eq_ignore_ascii_case(name))
}

/// A name for a request, as the original writes it.
pub(super) fn request_id(random: [u8; 16]) -> String {
    let hex = format!("{:032X}", u128::from_be_bytes(random));
    let mut id = String::with_capacity(36);
    for (at, digit) in hex.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit);
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeadLimits, ResponseHead};

    fn head(lines: &str) -> ResponseHead {
        let text = format!("HTTP/1.1 201 Created\r\n{lines}\r\n");
        ResponseHead::parse(text.as_bytes(), &HeadLimits::default()).expect("a head")
    }

    #[test]
    fn an_answer_as_json() {
        let head = head(
            "Content-Type: text/plain\r\nSet-Cookie: a=1\r\nX-Ca-Seq: 9\r\nContent-Length: 3\r\n\
             Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nset-cookie: \"b\"\r\nDate: now\r\n",
        );
        let answered = Answered {
            head: &head,
            body: "a\"\u{fc}".as_bytes(),
        };
        assert_eq!(
            Answer::Passed(answered).json(Some("0"), "ID"),
            "{\"status\":201,\"header\":{\"x-ca-request-id\":\"ID\",\"x-ca-seq\":\"0\",\"content-type\":\"text/plain\",\
             \"set-cookie\":[\"a=1\",\"\\\"b\\\"\"]},\"body\":\"a\\\"\u{fc}\"}"
        );
        let bytes = Answered {
            head: &head,
            body: b"\xff\x00",
        };
        let json = Answer::Passed(bytes).json(Some("0"), "ID");
        assert!(
            json.ends_with(",\"body\":\"/wA=\",\"isBase64\":1}"),
            "{json}"
        );
    }

    #[test]
    fn a_refusal_in_both_forms() {
        let refused = Answer::Refused(Refused::new(404, "no such thing", "x"));
        assert_eq!(
            refused.json(None, "ID"),
            r#"{"status":404,"header":{"x-ca-request-id":"ID","x-ca-error-message":"no such thing"},"body":""}"#
        );
        let response = refused.response("ID");
        assert_eq!(response.status, 404);
        assert_eq!(response.detail(), Some("no such thing"));
        let has = |name: &str| response.headers.iter().any(|(known, _)| known == name);
        assert!(has("x-ca-error-message") && has("x-ca-request-id"));
    }

    #[test]
    fn request_ids_are_uuids() {
        assert_eq!(
            request_id([0xab; 16]),
            "ABABABAB-ABAB-ABAB-ABAB-ABABABABABAB"
        );
    }
}
