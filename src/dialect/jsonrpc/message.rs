//! JSON-RPC 2.0 as Ethereum nodes speak it: what a client's message is, and how an answer is written.
//!
//! The rule: *ids, methods and parameters are lent, never rebuilt*. An id comes back byte for byte, parameters go on
//! as they came. The order of the checks and every word of an error are go-ethereum's, because clients compare them.
//!
//! ```text
//!   bytes ─▶ no JSON ─▶ -32700          object ─▶ jsonrpc "2.0"? method? id? ─▶ Call (id)
//!      └───▶ array ─▶ each item ──┐        ▲                                 ├▶ Notification (no id)
//!      └───▶ anything else ───────┴────────┘                                 ├▶ Nothing (somebody's answer)
//!                                                                            └▶ Invalid, with the id if it is one
//! ```

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::members::{Malformed, each_item, is_array, members_any_case, string};
use crate::http::json_escape;
use crate::values::{Scanned, Scanner, fault};

/// Longest name of a method.
pub(super) const METHOD_BYTES_MAX: usize = 2048;
/// Longest id. Nodes know no limit, but it is kept for as long as the call is under way.
pub(super) const ID_BYTES_MAX: usize = 1024;

/// An error that is found here, with a text that is always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    code: i32,
    message: &'static str,
}

impl Failure {
    const fn fixed(code: i32, message: &'static str) -> Self {
        Self { code, message }
    }

    /// The end of an answer that says so.
    pub(super) fn tail(&self) -> String {
        error_tail(self.code, self.message)
    }

    /// A whole answer.
    pub(super) fn answer(&self, id: &str) -> String {
        answer(id, &self.tail())
    }
}

/// The end of an answer with an error.
pub(super) fn error_tail(code: i32, message: &str) -> String {
    let mut escaped = String::new();
    json_escape(&mut escaped, message);
    let mut text = format!(",\"error\":{{\"code\":{code},\"message\":\"");
    for character in escaped.chars() {
        // As Go writes them: such a text may stand in a page.
        match character {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            _ => text.push(character),
        }
    }
    text.push_str("\"}");
    text
}

/// The same for arguments that a node would not take.
pub(super) fn params_tail(message: &str) -> String {
    error_tail(-32602, message)
}

pub(super) const INVALID_REQUEST: Failure = Failure::fixed(-32600, "invalid request");
pub(super) const PARSE_ERROR: i32 = -32700;
pub(super) const EMPTY_BATCH: Failure = Failure::fixed(-32600, "empty batch");
pub(super) const BATCH_TOO_LARGE: Failure = Failure::fixed(-32600, "batch too large");
pub(super) const NO_NOTIFICATIONS: Failure = Failure::fixed(-32601, "notifications not supported");
pub(super) const NOT_WHITELISTED: Failure = Failure::fixed(-32601, "rpc method is not whitelisted");
pub(super) const NO_SUBSCRIPTION: Failure = Failure::fixed(-32000, "subscription not found");
pub(super) const CONNECTION_LOST: Failure = Failure::fixed(
    -32000,
    "the connection to the node was lost, the call may have been executed",
);
pub(super) const TIMED_OUT: Failure = Failure::fixed(-32002, "request timed out");
pub(super) const RESPONSE_TOO_LARGE: Failure = Failure::fixed(-32003, "response too large");
pub(super) const LIMIT_EXCEEDED: Failure = Failure::fixed(-32005, "limit exceeded");
pub(super) const UNAVAILABLE: Failure =
    Failure::fixed(-32011, "no backend is currently healthy to serve traffic");
pub(super) const NO_ANSWER: Failure = Failure::fixed(
    -32603,
    "the node has answered without an answer to this call",
);

/// A whole answer with this end.
pub(super) fn answer(id: &str, tail: &str) -> String {
    [ANSWER, id, tail, "}"].concat()
}

/// How every answer begins; the id follows.
pub(super) const ANSWER: &str = "{\"jsonrpc\":\"2.0\",\"id\":";

/// A request, or a notification.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// As it was written; `None`: nobody waits for an answer.
    pub(super) id: Option<&'a str>,
    pub(super) method: Cow<'a, str>,
    /// The same as it was written.
    pub(super) method_json: &'a str,
    /// What was written, unless that is `null`.
    pub(super) params: Option<&'a RawValue>,
}

impl Call<'_> {
    /// Appends the call under another id.
    pub(super) fn push(&self, out: &mut String, id: Option<u64>) {
        out.push_str("{\"jsonrpc\":\"2.0\"");
        if let Some(id) = id {
            out.push_str(",\"id\":");
            out.push_str(&id.to_string());
        }
        out.push_str(",\"method\":");
        out.push_str(self.method_json);
        if let Some(params) = self.params {
            out.push_str(",\"params\":");
            out.push_str(params.get());
        }
        out.push('}');
    }
}

/// What an object of a client says.
#[derive(Debug)]
pub(super) enum Said<'a> {
    Call(Call<'a>),
    /// An answer, or news of a subscription: we have asked clients for neither.
    Nothing,
    /// With its id, as it was written.
    Invalid(Option<&'a str>),
}

/// A message of a client.
#[derive(Debug)]
pub(super) enum Parsed<'a> {
    One(Said<'a>),
    /// At most one more than was asked for.
    Batch(Vec<Said<'a>>),
}

/// Reads the first value of a message; what stands behind it does not count. Of a batch at most `batch_max + 1` items
/// are looked at.
///
/// # Errors
/// Why it is no JSON, in Go's words.
pub(super) fn parse(bytes: &[u8], batch_max: usize) -> Result<Parsed<'_>, String> {
    if let Some(parsed) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| parse_text(text, batch_max))
    {
        return Ok(parsed);
    }
    if let Some(fault) = fault(bytes) {
        return Err(fault.to_string());
    }
    let end = match Scanner::default().scan(bytes) {
        Scanned::Whole(end) => end,
        _ => bytes.len(),
    };
    let first = bytes.get(..end).unwrap_or_default();
    let Ok(text) = std::str::from_utf8(first) else {
        return Err("invalid UTF-8 in string literal".to_owned());
    };
    // What is JSON and cannot be read even so, such as a key with half a character in it, is no request.
    Ok(parse_text(text, batch_max).unwrap_or(Parsed::One(Said::Invalid(None))))
}

/// `None`: it is not one JSON value.
fn parse_text(text: &str, batch_max: usize) -> Option<Parsed<'_>> {
    if !text.trim_start_matches(SPACES).starts_with('[') {
        return match said(text) {
            Ok(said) => Some(Parsed::One(said)),
            Err(Malformed::NotObject) => Some(Parsed::One(Said::Invalid(None))),
            Err(_) => None,
        };
    }
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    debug_assert!(is_array(raw), "it begins with a bracket");
    let mut items = Vec::new();
    let is_read = each_item(raw, &mut |item| {
        if items.len() <= batch_max {
            items.push(said(item.get()).unwrap_or(Said::Invalid(None)));
        }
    });
    is_read.then_some(Parsed::Batch(items))
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Go reads keys in any case and takes the last of several; a member of the wrong type is as good as none.
fn said(text: &str) -> Result<Said<'_>, Malformed> {
    let [version, id, method, params, result, error] = members_any_case(
        text,
        ["jsonrpc", "id", "method", "params", "result", "error"],
    )?;
    let id = id.map(RawValue::get);
    let valid_id = id.filter(|id| !id.starts_with(['{', '[']) && id.len() <= ID_BYTES_MAX);
    let invalid = Ok(Said::Invalid(valid_id));
    if version.and_then(string).is_none_or(|v| v != "2.0") || id.is_some() && valid_id.is_none() {
        return invalid;
    }
    let name = method.and_then(string).filter(|name| !name.is_empty());
    let (Some(raw), Some(method)) = (method, name) else {
        let is_answer = valid_id.is_some() && params.is_none() && (result.or(error)).is_some();
        return if is_answer {
            Ok(Said::Nothing)
        } else {
            invalid
        };
    };
    if id.is_none() && method.ends_with("_subscription") {
        return Ok(Said::Nothing);
    }
    Ok(Said::Call(Call {
        id: valid_id,
        method,
        method_json: raw.get(),
        params: params.filter(|raw| raw.get() != "null"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        match parse(text.as_bytes(), 10) {
            Ok(Parsed::One(said)) => show(&said),
            Ok(Parsed::Batch(items)) => {
                let items: Vec<_> = items.iter().map(show).collect();
                format!("[{}]", items.join(" "))
            }
            Err(why) => why,
        }
    }

    fn show(said: &Said<'_>) -> String {
        match said {
            Said::Call(call) => {
                let mut text = String::new();
                call.push(&mut text, call.id.map(|_| 7));
                format!("{} {text}", call.id.unwrap_or("-"))
            }
            Said::Nothing => "nothing".to_owned(),
            Said::Invalid(id) => format!("invalid {}", id.unwrap_or("null")),
        }
    }

    #[test]
    fn calls_and_notifications() {
        assert_eq!(
            one(r#"{"method":"a_b","params": [1, {"x":2}],"id":1.0,"jsonrpc":"2.0"}"#),
            r#"1.0 {"jsonrpc":"2.0","id":7,"method":"a_b","params":[1, {"x":2}]}"#
        );
        assert_eq!(
            one(r#"{"jsonrpc":"2.0","method":"a\u005fb","params":null}"#),
            r#"- {"jsonrpc":"2.0","method":"a\u005fb"}"#
        );
        assert_eq!(
            one(r#"{"JSONRPC":"2.0","id":null,"id":"x","Method":"m"}"#),
            r#""x" {"jsonrpc":"2.0","id":7,"method":"m"}"#
        );
        assert_eq!(
            one(r#"{"jsonrpc":"2.0","id":null,"method":"m"} what follows"#),
            r#"null {"jsonrpc":"2.0","id":7,"method":"m"}"#
        );
    }

    #[test]
    fn what_is_no_request_is_told_with_its_id() {
        for (text, expected) in [
            ("1", "invalid null"),
            ("null", "invalid null"),
            ("\"x\"", "invalid null"),
            ("{}", "invalid null"),
            (r#"{"id":1}"#, "invalid 1"),
            (r#"{"id":1,"jsonrpc":"2.0"}"#, "invalid 1"),
            (r#"{"id":1,"jsonrpc":"2.0","method":5}"#, "invalid 1"),
            (r#"{"id":1,"jsonrpc":"2.0","method":""}"#, "invalid 1"),
            (r#"{"id":1,"jsonrpc":"2.1","method":"m"}"#, "invalid 1"),
            (r#"{"id":1,"jsonrpc":2.0,"method":"m"}"#, "invalid 1"),
            (r#"{"id":1,"method":"m"}"#, "invalid 1"),
            (r#"{"id":[],"jsonrpc":"2.0","method":"m"}"#, "invalid null"),
            (r#"{"id":{},"jsonrpc":"2.0","method":"m"}"#, "invalid null"),
            (r#"{"id":1,"jsonrpc":"2.0","result":null}"#, "nothing"),
            (r#"{"id":1,"jsonrpc":"2.0","error":{}}"#, "nothing"),
            (
                r#"{"id":1,"jsonrpc":"2.0","result":1,"params":[]}"#,
                "invalid 1",
            ),
            (
                r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{}}"#,
                "nothing",
            ),
            ("[]", "[]"),
            ("[1]", "[invalid null]"),
            (
                r#" [{"id":2},[],{"jsonrpc":"2.0","id":3,"result":1}]"#,
                "[invalid 2 invalid null nothing]",
            ),
            (r#"{"\ud800":1,"id":1}"#, "invalid null"),
        ] {
            assert_eq!(one(text), expected, "{text}");
        }
        let id = "1".repeat(ID_BYTES_MAX + 1);
        let text = format!(r#"{{"id":{id},"jsonrpc":"2.0","method":"m"}}"#);
        assert_eq!(one(&text), "invalid null");
        assert!(one(&text.replacen('1', "", 1)).starts_with("11"));
    }

    #[test]
    fn what_is_no_json_is_told_in_gos_words() {
        for (text, expected) in [
            ("", "unexpected EOF"),
            ("{", "unexpected EOF"),
            (
                "'x'",
                r"invalid character '\'' looking for beginning of value",
            ),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            (
                "{'id':1}",
                r"invalid character '\'' looking for beginning of object key string",
            ),
        ] {
            assert_eq!(one(text), expected, "{text}");
        }
        let deep = "[".repeat(128);
        assert_eq!(one(&deep), "exceeded max depth");
        let bytes = b"\"\xff\"";
        assert!(parse(bytes, 10).is_err_and(|why| why.starts_with("invalid UTF-8")));
    }

    #[test]
    fn a_batch_is_looked_at_one_item_further_than_asked() {
        let count = |n: usize| match parse(format!("[{}1]", "1,".repeat(n - 1)).as_bytes(), 3) {
            Ok(Parsed::Batch(items)) => items.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!([count(2), count(3), count(4), count(5)], [2, 3, 4, 4]);
    }

    #[test]
    fn failures_are_written_as_go_writes_them() {
        assert_eq!(
            answer("\"a\"", &error_tail(-32600, "3000 > \"2\"")),
            r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32600,"message":"3000 \u003e \"2\""}}"#
        );
    }
}
