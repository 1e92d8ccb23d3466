//! The client's side of the opening handshake: a request written, an answer checked.
//!
//! The rule: an answer is taken only if it proves that the server read this very request and promises nothing that
//! was not asked for. RFC 6455 §4.1.

#[cfg(feature = "deflate")]
use super::deflate::{self, Agreement, ClientOffer};
use super::handshake::{KEY_BYTES, accept_key, encode_base64, write_header, write_text};
use super::token;
use std::fmt;

/// A fresh key out of 16 random bytes. RFC 6455 §4.1 item 7.
pub fn client_key(random: [u8; 16]) -> String {
    let mut out = [0; KEY_BYTES];
    encode_base64(&random, &mut out);
    out.iter().map(|&byte| char::from(byte)).collect()
}

/// Appends the request that asks for a WebSocket. RFC 6455 §4.1.
///
/// `host` is what stands in the URL, with the port unless it is the scheme's own; `target` is path and query. A
/// control character in any of the texts is left out, a space in the target too, so no text can begin a line of its own.
pub fn write_request(
    out: &mut Vec<u8>,
    host: &str,
    target: &str,
    key: &str,
    protocols: &[&str],
    extra: &[(&str, &str)],
) {
    out.extend_from_slice(b"GET ");
    out.extend(
        target
            .bytes()
            .filter(|byte| !byte.is_ascii_control() && *byte != b' '),
    );
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_header(out, "Host", host);
    out.extend_from_slice(
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
    );
    write_header(out, "Sec-WebSocket-Key", key);
    if let Some((first, others)) = protocols.split_first() {
        out.extend_from_slice(b"Sec-WebSocket-Protocol: ");
        write_text(out, first);
        for other in others {
            out.extend_from_slice(b", ");
            write_text(out, other);
        }
        out.extend_from_slice(b"\r\n");
    }
    for (name, value) in extra {
        write_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Why an answer does not open a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerError {
    /// Another status than 101. RFC 6455 §4.1, answer item 1.
    Status(u16),
    /// No `Upgrade: websocket`. RFC 6455 §4.1, answer item 2.
    Upgrade,
    /// No `Connection` with the token upgrade. RFC 6455 §4.1, answer item 3.
    Connection,
    /// `Sec-WebSocket-Accept` is missing, repeated, or not the answer to our key. RFC 6455 §4.1, answer item 4.
    Accept,
    /// An extension that was not offered. RFC 6455 §4.1, answer item 5.
    Extension,
    /// A subprotocol that was not offered, or more than one. RFC 6455 §4.1, answer item 6.
    Subprotocol,
}

impl AnswerError {
    /// A stable label for counters and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status(_) => "answer_status",
            Self::Upgrade => "answer_upgrade",
            Self::Connection => "answer_connection",
            Self::Accept => "answer_accept",
            Self::Extension => "answer_extension",
            Self::Subprotocol => "answer_subprotocol",
        }
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the server answered {status} instead of 101"),
            Self::Upgrade => f.write_str("the answer has no Upgrade: websocket"),
            Self::Connection => f.write_str("the answer has no Connection: Upgrade"),
            Self::Accept => f.write_str("Sec-WebSocket-Accept does not answer our key"),
            Self::Extension => f.write_str("the answer names an extension that was not offered"),
            Self::Subprotocol => f.write_str("the answer names a subprotocol that was not offered"),
        }
    }
}

impl std::error::Error for AnswerError {}

/// Checks the answer to a request written by [`write_request`] with this `key` and these `offered` subprotocols.
///
/// Gives the subprotocol the server chose. That it chose none is no error here. RFC 6455 §4.1.
///
/// # Errors
///
/// The first rule that does not hold, in the order in which RFC 6455 §4.1 lists them.
pub fn check_response<'a>(
    status: u16,
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    key: &str,
    offered: &[&str],
) -> Result<Option<String>, AnswerError> {
    if status != 101 {
        return Err(AnswerError::Status(status));
    }
    let values = |wanted: &'static str| {
        let lines = headers
            .clone()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(wanted));
        lines.map(|(_, value)| token::trim(value))
    };
    if !values("upgrade").any(|value| token::contains(value, "websocket")) {
        return Err(AnswerError::Upgrade);
    }
    if !values("connection").any(|value| token::contains(value, "upgrade")) {
        return Err(AnswerError::Connection);
    }
    let mut accepts = values("sec-websocket-accept");
    if accepts.next() != Some(&accept_key(key)[..]) || accepts.next().is_some() {
        return Err(AnswerError::Accept);
    }
    if values("sec-websocket-extensions").any(|value| token::elements(value).next().is_some()) {
        return Err(AnswerError::Extension);
    }
    let mut protocols = values("sec-websocket-protocol");
    let Some(chosen) = protocols.next() else {
        return Ok(None);
    };
    if protocols.next().is_some() {
        return Err(AnswerError::Subprotocol);
    }
    match offered.iter().find(|offered| offered.as_bytes() == chosen) {
        Some(chosen) => Ok(Some((*chosen).to_owned())),
        None => Err(AnswerError::Subprotocol),
    }
}

/// As [`check_response`], for a request that offered permessage-deflate in an extra header. Gives what was agreed on
/// too; `None`: the server declined.
///
/// # Errors
///
/// As there; [`AnswerError::Extension`] for an answer that the offer does not allow. RFC 7692 §7.1.
#[cfg(feature = "deflate")]
pub fn check_response_deflating<'a>(
    status: u16,
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    key: &str,
    offered: &[&str],
    offer: &ClientOffer,
) -> Result<(Option<String>, Option<Agreement>), AnswerError> {
    let is_extension = |name: &str| name.eq_ignore_ascii_case(deflate::HEADER);
    let others = headers.clone().filter(|(name, _)| !is_extension(name));
    let subprotocol = check_response(status, others, key, offered)?;
    let lines = headers.filter(|(name, _)| is_extension(name));
    let agreed = offer.check(lines.map(|(_, value)| value))?;
    Ok((subprotocol, agreed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_base64_with_padding() {
        assert_eq!(client_key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[test]
    fn a_request_is_written_as_section_1_2_shows_it() {
        let mut out = Vec::new();
        write_request(
            &mut out,
            "server.example.com",
            "/chat",
            "KEY",
            &["chat", "superchat"],
            &[("Origin", "http://example.com")],
        );
        let expected = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: KEY\r\n\
            Sec-WebSocket-Protocol: chat, superchat\r\nOrigin: http://example.com\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn no_text_can_begin_a_line_of_its_own() {
        let mut out = Vec::new();
        write_request(
            &mut out,
            "h\r\nX: 1",
            "/a HTTP/1.1\r\nY: 2",
            "k\r\n",
            &["p\r\nq"],
            &[("N\r\n", "v\r\n\r\n")],
        );
        let text = String::from_utf8_lossy(&out);
        assert_eq!(text.matches("\r\n").count(), 9, "{text}");
        assert!(text.starts_with("GET /aHTTP/1.1Y:2 HTTP/1.1\r\n"));
    }
}
