//! An API request, as JSON from a device and as plain HTTP.
//!
//! | member | is |
//! | --- | --- |
//! | `method` | one of [`METHODS`] |
//! | `host`, `path` | as in a URL; the path begins with `/` |
//! | `querys` | an object of strings; may be missing |
//! | `headers` | an object of strings, of lists of strings, or of such a list written as a string |
//! | `body` | a string, `null` or nothing; with `isBase64` 1 its bytes in base64 |
//!
//! Names of headers are compared without case. What is wrong is told with the request's seq, if it has one.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::value::RawValue;

use super::ApiGatewayOptions;
use super::answer::Refused;
use super::back_ends::clean_path;
use crate::dialect::members::{self, Malformed, each_item, each_member, is_array};
use crate::http::{Head, percent_encode};

/// Standard base64; clients that leave out its padding are understood.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What may be done with an API.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A request that can be judged.
#[derive(Debug)]
pub(super) struct ApiRequest {
    pub(super) method: &'static str,
    pub(super) host: String,
    /// As it was said, for whoever has signed it.
    pub(super) said_path: String,
    /// As it is passed on.
    pub(super) path: String,
    /// Escaped, without `?`.
    pub(super) query: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Common,
    Register,
    Unregister,
    Notify,
}

/// A request as JSON: its seq, and itself or what is wrong with it.
pub(super) struct Read {
    pub(super) seq: Option<String>,
    pub(super) request: Result<ApiRequest, Refused>,
}

impl ApiRequest {
    /// The first header of that name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter();
        let found = lines.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// What it is for, by the header that says so.
    pub(super) fn signal(&self) -> Result<Signal, Refused> {
        let word = self.header("x-ca-websocket_api_type").unwrap_or_default();
        let is = |known: &str| word.eq_ignore_ascii_case(known);
        if word.is_empty() || is("COMMON") {
            Ok(Signal::Common)
        } else if is("REGISTER") {
            Ok(Signal::Register)
        } else if is("UNREGISTER") {
            Ok(Signal::Unregister)
        } else if is("NOTIFY") {
            Ok(Signal::Notify)
        } else {
            Err(bad("x-ca-websocket_api_type is no kind of API"))
        }
    }

    /// A plain HTTP request.
    pub(super) fn of_http(head: &Head, body: &[u8]) -> Result<Self, Refused> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = head.headers();
        Ok(Self {
            method: method(head.method())?,
            host: head.host().unwrap_or_default().to_owned(),
            said_path: head.path().to_owned(),
            path: clean_path(head.path()).ok_or(BAD_PATH)?,
            query: head.query().unwrap_or_default().to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), text(value)))
                .collect(),
            body: body.to_vec(),
        })
    }
}

const BAD_PATH: Refused =
    bad("the path does not begin with /, or has escapes or dots that mean another one");

const fn bad(why: &'static str) -> Refused {
    Refused::new(400, why, "apigw_request")
}

fn method(name: &str) -> Result<&'static str, Refused> {
    let mut known = METHODS.into_iter();
    let found = known.find(|known| known.eq_ignore_ascii_case(name));
    found.ok_or(Refused::new(405, "the method is unknown", "apigw_request"))
}

/// Reads a request of a device.
pub(super) fn read_json(text: &str, options: &ApiGatewayOptions) -> Read {
    let keys = [
        "method", "host", "path", "querys", "headers", "isBase64", "body",
    ];
    let found = match members::members(text, keys) {
        Ok(found) => found,
        Err(why) => {
            let why = match why {
                Malformed::NotJson => "this is not JSON",
                Malformed::NotObject => "a JSON object is expected",
                Malformed::TooDeep => "the JSON is nested too deeply",
            };
            return Read {
                seq: None,
                request: Err(bad(why)),
            };
        }
    };
    let [.., headers, _, _] = found;
    let headers = read_headers(headers, options.call_headers_max);
    let lines = match &headers {
        Ok(lines) | Err((lines, _)) => lines,
    };
    let is_seq = |(name, value): &&(String, String)| {
        name.eq_ignore_ascii_case("x-ca-seq") && !value.is_empty() && value.len() <= SEQ_BYTES_MAX
    };
    let seq = lines.iter().find(is_seq).map(|(_, value)| value.clone());
    let request = match headers {
        Err((_, refused)) => Err(refused),
        Ok(_) if seq.is_none() => Err(bad("x-ca-seq is missing")),
        Ok(headers) => read_rest(found, headers, options),
    };
    Read { seq, request }
}

const SEQ_BYTES_MAX: usize = 64;

fn read_rest(
    [said_method, host, path, querys, _, is_base64, body]: [Option<&RawValue>; 7],
    headers: Vec<(String, String)>,
    options: &ApiGatewayOptions,
) -> Result<ApiRequest, Refused> {
    let text = |raw: Option<&RawValue>, why| match raw {
        None => Ok(String::new()),
        Some(raw) if raw.get() == "null" => Ok(String::new()),
        Some(raw) => members::string(raw).map(Into::into).ok_or(bad(why)),
    };
    let method = method(&text(said_method, "method is no string")?)?;
    let host = text(host, "host is no string")?;
    let said = text(path, "path is no string")?;
    let (said_path, said_query) = said.split_once('?').unwrap_or((&said, ""));
    let path = clean_path(said_path).ok_or(BAD_PATH)?;
    let mut query = clean_query(said_query);
    if let Some(querys) = querys.filter(|raw| raw.get() != "null") {
        push_querys(&mut query, querys)?;
    }
    if path.len() + 1 + query.len() > options.call_target_bytes_max {
        let why = "path and query are too long (setting call_target_bytes_max)";
        return Err(Refused::new(414, why, "apigw_target_bytes"));
    }
    let body = text(body, "body is no string")?;
    let is_base64 = is_base64.is_some_and(|raw| matches!(raw.get(), "1" | "true" | "\"1\""));
    let body = if is_base64 {
        BASE64.decode(&body).map_err(|_| bad("body is no base64"))?
    } else {
        body.into_bytes()
    };
    Ok(ApiRequest {
        method,
        host,
        said_path: said_path.to_owned(),
        path,
        query,
        headers,
        body,
    })
}

/// A query that stands in the path, against the rules, as it may be passed on.
fn clean_query(said: &str) -> String {
    let mut clean = String::new();
    for byte in said.bytes() {
        if byte.is_ascii_graphic() && !b"\"#<>".contains(&byte) {
            clean.push(char::from(byte));
        } else {
            clean.push_str(&format!("%{byte:02X}"));
        }
    }
    clean
}

fn push_querys(query: &mut String, raw: &RawValue) -> Result<(), Refused> {
    let mut is_good = true;
    let mut push = |name: &str, value: &str| {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&percent_encode(name));
        query.push('=');
        query.push_str(&percent_encode(value));
    };
    let is_object = each_member(raw, &mut |name, value| {
        is_good &= each_text(value, &mut |text| push(&name, text));
    });
    if is_object && is_good {
        Ok(())
    } else {
        Err(bad("querys is no object of strings"))
    }
}

type Lines = Vec<(String, String)>;

/// All header lines; if something is wrong with one, those that could be read.
fn read_headers(raw: Option<&RawValue>, lines_max: usize) -> Result<Lines, (Lines, Refused)> {
    let mut lines = Lines::new();
    let mut wrong = None;
    let Some(raw) = raw else {
        return Ok(lines);
    };
    let is_object = each_member(raw, &mut |name, value| {
        if !is_token(&name) {
            wrong = Some(bad("the name of a header is no token"));
            return;
        }
        let is_text = each_text(value, &mut |text| {
            let text = text.trim();
            if text.contains(|c: char| c.is_control() && c != '\t') {
                wrong = Some(bad("a header has control characters"));
            } else if lines.len() >= lines_max && !is_missing_seq(&lines, &name) {
                let why = "there are too many headers (setting call_headers_max)";
                wrong = Some(Refused::new(431, why, "apigw_headers"));
            } else {
                lines.push((name.clone(), text.to_owned()));
            }
        });
        if !is_text {
            wrong = Some(bad("a header is neither a string nor a list of strings"));
        }
    });
    match wrong {
        Some(refused) => Err((lines, refused)),
        None if !is_object => Err((lines, bad("headers is no object"))),
        None => Ok(lines),
    }
}

/// Whether this is the seq: the answer to a request with too many headers says which one it was.
fn is_missing_seq(lines: &Lines, name: &str) -> bool {
    let is_seq = |name: &str| name.eq_ignore_ascii_case("x-ca-seq");
    is_seq(name) && !lines.iter().any(|(known, _)| is_seq(known))
}

/// The texts of a string, a number, a list of strings, or a string with such a list in it.
fn each_text(raw: &RawValue, take: &mut dyn FnMut(&str)) -> bool {
    if is_array(raw) {
        let mut is_good = true;
        each_item(raw, &mut |item| match scalar(item) {
            Some(text) => take(&text),
            None => is_good = false,
        });
        return is_good;
    }
    let Some(text) = scalar(raw) else {
        return false;
    };
    // One library writes `"[\"UNREGISTER\"]"`.
    if text.starts_with("[\"")
        && let Ok(inner) = serde_json::from_str::<&RawValue>(&text)
        && is_array(inner)
    {
        let mut texts = Vec::new();
        let is_read = each_item(inner, &mut |item| texts.push(members::string(item)));
        if is_read && texts.iter().all(Option::is_some) {
            texts.into_iter().flatten().for_each(|text| take(&text));
            return true;
        }
    }
    take(&text);
    true
}

fn scalar(raw: &RawValue) -> Option<std::borrow::Cow<'_, str>> {
    match raw.get().bytes().next() {
        Some(b'"') => members::string(raw),
        Some(b'-' | b'0'..=b'9') => Some(raw.get().into()),
        _ => None,
    }
}

/// RFC 9110 §5.6.2.
fn is_token(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let options = ApiGatewayOptions {
            call_headers_max: 3,
            call_target_bytes_max: 40,
            ..ApiGatewayOptions::default()
        };
        let Read { seq, request } = read_json(text, &options);
        let seq = seq.unwrap_or_else(|| "-".to_owned());
        match request {
            Ok(r) => format!(
                "{seq} {} {} {}?{} {:?} {}",
                r.method,
                r.host,
                r.path,
                r.query,
                r.headers.iter().skip(1).collect::<Vec<_>>(),
                r.body.escape_ascii(),
            ),
            Err(refused) => format!("{seq} {} {}", refused.status, refused.why),
        }
    }

    #[test]
    fn requests_in_every_spelling() {
        assert_eq!(
            read(
                r#"{"method":"POST","host":"h","path":"/a","querys":{"q":"1 2","r":"&"},
                   "headers":{"x-ca-seq":["7"],"accept":["a","b"]},"isBase64":0,"body":"x=1"}"#
            ),
            r#"7 POST h /a?q=1%202&r=%26 [("accept", "a"), ("accept", "b")] x=1"#
        );
        assert_eq!(
            read(
                r#"{"method":"get","path":"/","headers":{"X-Ca-Seq":"0","A":"[\"UNREGISTER\"]","B":"[x"},"body":null}"#
            ),
            r#"0 GET  /? [("A", "UNREGISTER"), ("B", "[x")] "#
        );
        assert_eq!(
            read(
                r#"{"method":"PUT","path":"/a?b=c d","querys":null,"headers":{"x-ca-seq":5,"n":[1]},"isBase64":1,"body":"AP8"}"#
            ),
            r#"5 PUT  /a?b=c%20d [("n", "1")] \x00\xff"#
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_the_seq() {
        for (text, expected) in [
            ("{", "- 400 this is not JSON"),
            ("{} x", "- 400 this is not JSON"),
            ("{}", "- 400 x-ca-seq is missing"),
            (
                r#"{"headers":{"x-ca-seq":""}}"#,
                "- 400 x-ca-seq is missing",
            ),
            (r#"{"headers":[]}"#, "- 400 headers is no object"),
            (
                r#"{"headers":{"x-ca-seq":"1"}}"#,
                "1 405 the method is unknown",
            ),
            (
                r#"{"headers":{"x-ca-seq":"1"},"method":"BREW"}"#,
                "1 405 the method is unknown",
            ),
            (
                r#"{"headers":{"x-ca-seq":"1"},"method":7}"#,
                "1 400 method is no string",
            ),
            (
                r#"{"headers":{"x-ca-seq":"1","b":true},"method":"GET"}"#,
                "1 400 a header is neither a string nor a list of strings",
            ),
            (
                r#"{"headers":{"x-ca-seq":"1","b":"x\r\ny"},"method":"GET"}"#,
                "1 400 a header has control characters",
            ),
            (
                r#"{"headers":{"x-ca-seq":"1","b:":"x"},"method":"GET"}"#,
                "1 400 the name of a header is no token",
            ),
            (
                r#"{"headers":{"x-ca-seq":"1","a":["1","2","3"]},"method":"GET"}"#,
                "1 431 there are too many headers (setting call_headers_max)",
            ),
            (
                r#"{"headers":{"x-ca-seq":"1"},"method":"GET","path":"a"}"#,
                "1 400 the path does not begin with /, or has escapes or dots that mean another one",
            ),
            (
                r#"{"headers":{"x-ca-seq":"1"},"method":"GET","path":"/","querys":[]}"#,
                "1 400 querys is no object of strings",
            ),
            (
                r#"{"headers":{"x-ca-seq":"1"},"method":"GET","path":"/","querys":{"a":{}}}"#,
                "1 400 querys is no object of strings",
            ),
            (
                r#"{"headers":{"x-ca-seq":"1"},"method":"GET","path":"/","body":{}}"#,
                "1 400 body is no string",
            ),
            (
                r#"{"headers":{"x-ca-seq":"1"},"method":"GET","path":"/","body":"?","isBase64":1}"#,
                "1 400 body is no base64",
            ),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(128), "]".repeat(128));
        assert_eq!(read(&deep), "- 400 the JSON is nested too deeply");
        let long = |n: usize| {
            let path = "a".repeat(n);
            read(&format!(
                r#"{{"headers":{{"x-ca-seq":"1"}},"method":"GET","path":"/{path}"}}"#
            ))
        };
        assert!(long(38).starts_with("1 GET"), "{}", long(38));
        assert!(long(39).starts_with("1 414"), "{}", long(39));
    }
}
