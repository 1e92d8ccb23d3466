//! The server's side of the opening handshake: a request checked, an answer written.
//!
//! The rule: a request is accepted only if every line of RFC 6455 §4.2.1 holds; otherwise it gets a [`Refusal`] that
//! knows its HTTP status, its headers and its reason. The head was split into lines by whoever received it; nothing
//! of it is ever repeated in an answer but the chosen subprotocol.
//!
//! ```text
//!   headers ─▶ wants_upgrade? ─▶ check ─┬─▶ Offer ─▶ Subprotocols::choose ─▶ write_switching_protocols
//!                                       └─▶ Refusal: status, headers, reason
//! ```

use super::token;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use std::fmt;

/// A request that asks for a WebSocket, its head already split into parts.
#[derive(Debug, Clone)]
pub struct UpgradeRequest<'a, H>
where
    H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
{
    /// The method, as it came.
    pub method: &'a str,
    /// The request target, as it came.
    pub target: &'a str,
    /// The `1` of HTTP/1.1.
    pub minor_version: u8,
    /// All header lines in their order, as names and values.
    pub headers: H,
}

/// What an acceptable request offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer<'a> {
    /// The value of `Sec-WebSocket-Key`, to be answered through [`accept_key`].
    pub key: &'a str,
    protocols: Vec<&'a str>,
}

impl<'a> Offer<'a> {
    /// The subprotocols offered, in the client's order of preference. RFC 6455 §4.1 item 10.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> {
        self.protocols.iter().copied()
    }

    /// Those of them that may be answered: a client's token is none.
    pub(crate) fn choices(&self) -> impl Iterator<Item = &'a str> {
        let all = self.protocols();
        all.filter(|name| !name.starts_with(super::BEARER_SUBPROTOCOL))
    }
}

/// Why an opening handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not a GET. RFC 6455 §4.2.1 item 1.
    Method,
    /// Below HTTP/1.1, which has no upgrade. RFC 6455 §4.2.1 item 1.
    HttpVersion,
    /// Neither a path nor an absolute URL of ours. RFC 6455 §4.2.1 item 1.
    Target,
    /// An absolute URL whose authority is not the one in Host. RFC 6455 §4.2.1 item 1.
    Authority,
    /// No Host. RFC 6455 §4.2.1 item 2.
    HostMissing,
    /// More than one Host. RFC 6455 §4.2.1 item 2.
    HostRepeated,
    /// An empty Host, or one that names no host. RFC 6455 §4.2.1 item 2.
    HostInvalid,
    /// No `Upgrade` that names websocket. RFC 6455 §4.2.1 item 3.
    Upgrade,
    /// No `Connection` with the token upgrade. RFC 6455 §4.2.1 item 4.
    Connection,
    /// No version, or another one than 13. RFC 6455 §4.2.1 item 6, §4.4.
    Version,
    /// More than one version. RFC 6455 §11.3.5.
    VersionRepeated,
    /// No key. RFC 6455 §4.2.1 item 5.
    KeyMissing,
    /// More than one key. RFC 6455 §11.3.1.
    KeyRepeated,
    /// A key that is not 16 bytes in base64. RFC 6455 §4.2.1 item 5.
    KeyInvalid,
    /// An announced body. RFC 6455 §4.1: the first bytes behind the head are frames.
    ContentLength,
    /// A transfer coding. RFC 6455 §4.1: the first bytes behind the head are frames.
    TransferEncoding,
    /// A subprotocol that is not a token. RFC 6455 §4.1 item 10.
    Protocol,
}

impl Refusal {
    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Method => 405,
            Self::HttpVersion => 505,
            Self::Version => 426,
            _ => 400,
        }
    }

    /// The headers that this status asks for. RFC 6455 §4.4 for the version, RFC 9110 for the others.
    pub fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Method => &[("Allow", "GET")],
            Self::Version => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            _ => &[],
        }
    }

    /// A stable label for counters and logs.
    pub fn name(&self) -> &'static str {
        self.texts().0
    }

    /// Label and sentence of each refusal: one table, so that neither is forgotten.
    fn texts(&self) -> (&'static str, &'static str) {
        match self {
            Self::Method => (
                "upgrade_method",
                "a WebSocket opening handshake uses the method GET",
            ),
            Self::HttpVersion => (
                "upgrade_http_version",
                "a WebSocket opening handshake needs HTTP/1.1",
            ),
            Self::Target => (
                "upgrade_target",
                "the request target must be a path that begins with a slash",
            ),
            Self::Authority => (
                "upgrade_authority",
                "the authority of the request target must equal Host",
            ),
            Self::HostMissing => ("upgrade_host_missing", "the header Host is missing"),
            Self::HostRepeated => (
                "upgrade_host_repeated",
                "the header Host must not be repeated",
            ),
            Self::HostInvalid => (
                "upgrade_host_invalid",
                "the header Host must be a host name with an optional port",
            ),
            Self::Upgrade => ("upgrade_upgrade", "the header Upgrade must name websocket"),
            Self::Connection => (
                "upgrade_connection",
                "the header Connection must contain the token upgrade",
            ),
            Self::Version => (
                "upgrade_version",
                "the header Sec-WebSocket-Version must be 13",
            ),
            Self::VersionRepeated => (
                "upgrade_version_repeated",
                "the header Sec-WebSocket-Version must not be repeated",
            ),
            Self::KeyMissing => (
                "upgrade_key_missing",
                "the header Sec-WebSocket-Key is missing",
            ),
            Self::KeyRepeated => (
                "upgrade_key_repeated",
                "the header Sec-WebSocket-Key must not be repeated",
            ),
            Self::KeyInvalid => (
                "upgrade_key_invalid",
                "the header Sec-WebSocket-Key must be 16 bytes in base64",
            ),
            Self::ContentLength => (
                "upgrade_content_length",
                "a request with Content-Length other than 0 cannot upgrade",
            ),
            Self::TransferEncoding => (
                "upgrade_transfer_encoding",
                "a request with Transfer-Encoding cannot upgrade",
            ),
            Self::Protocol => (
                "upgrade_protocol",
                "the header Sec-WebSocket-Protocol must be a list of tokens",
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.texts().1)
    }
}

impl std::error::Error for Refusal {}

/// True if an `Upgrade` header names websocket: the request is meant for [`check`], not for plain HTTP.
pub fn wants_upgrade<'a>(mut headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> bool {
    headers.any(|(name, value)| {
        name.eq_ignore_ascii_case("upgrade") && token::contains(value, "websocket")
    })
}

/// Checks a request against RFC 6455 §4.2.1.
///
/// A missing version is refused like a wrong one, with 426: the answer then tells an old client what to speak.
/// Unknown extensions are no reason to refuse, and neither is an empty or a repeated subprotocol.
///
/// # Errors
///
/// The first rule that does not hold, in the order in which they are listed there.
pub fn check<'a, H>(request: UpgradeRequest<'a, H>) -> Result<Offer<'a>, Refusal>
where
    H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
{
    if request.method != "GET" {
        return Err(Refusal::Method);
    }
    if request.minor_version == 0 {
        return Err(Refusal::HttpVersion);
    }
    let fields = Fields::read(request.headers);
    let host = fields
        .host
        .once(Refusal::HostMissing, Refusal::HostRepeated)?;
    if !is_host(host) {
        return Err(Refusal::HostInvalid);
    }
    check_target(request.target, host)?;
    if fields.transfer_encoding {
        return Err(Refusal::TransferEncoding);
    }
    if fields.body {
        return Err(Refusal::ContentLength);
    }
    if !fields.upgrade {
        return Err(Refusal::Upgrade);
    }
    if !fields.connection {
        return Err(Refusal::Connection);
    }
    if fields
        .version
        .once(Refusal::Version, Refusal::VersionRepeated)?
        != b"13"
    {
        return Err(Refusal::Version);
    }
    let key = fields.key.once(Refusal::KeyMissing, Refusal::KeyRepeated)?;
    let key = std::str::from_utf8(key).map_err(|_| Refusal::KeyInvalid)?;
    if !is_key(key) {
        return Err(Refusal::KeyInvalid);
    }
    let protocols = fields.protocols.ok_or(Refusal::Protocol)?;
    Ok(Offer { key, protocols })
}

/// The value of `Sec-WebSocket-Accept` for a key: base64 of SHA-1 of key and GUID. RFC 6455 §4.2.2 item 5.
pub fn accept_key(key: &str) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut out = [0; 28];
    encode_base64(&digest, &mut out);
    out
}

/// Appends the 101 that opens the connection. RFC 6455 §4.2.2.
///
/// `Upgrade` and `Connection` stand there as single tokens in their usual case, because small clients compare
/// strings. A control character in `extra` is left out, so no value can begin a line of its own.
pub fn write_switching_protocols(
    out: &mut Vec<u8>,
    key: &str,
    subprotocol: Option<&str>,
    extra: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(&accept_key(key));
    out.extend_from_slice(b"\r\n");
    if let Some(subprotocol) = subprotocol {
        write_header(out, "Sec-WebSocket-Protocol", subprotocol);
    }
    for (name, value) in extra {
        write_header(out, name.as_ref(), value.as_ref());
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one header line.
pub(super) fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    write_text(out, name);
    out.extend_from_slice(b": ");
    write_text(out, value);
    out.extend_from_slice(b"\r\n");
}

/// Appends text without its control characters.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| !byte.is_ascii_control()));
}

/// Writes the base64 of `bytes` over `out`, which has just that length.
pub(super) fn encode_base64(bytes: &[u8], out: &mut [u8]) {
    let written = STANDARD.encode_slice(bytes, out);
    debug_assert!(written.is_ok(), "the buffer has the length of the text");
}

/// Appends the base64 of `bytes`.
pub fn append_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let begin = out.len();
    out.resize(begin + bytes.len().div_ceil(3) * 4, 0);
    encode_base64(bytes, out.get_mut(begin..).unwrap_or_default());
}

/// What the headers say, read in one pass.
struct Fields<'a> {
    host: Field<'a>,
    key: Field<'a>,
    version: Field<'a>,
    upgrade: bool,
    connection: bool,
    body: bool,
    transfer_encoding: bool,
    /// None once an element was no token.
    protocols: Option<Vec<&'a str>>,
}

impl<'a> Fields<'a> {
    fn read(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut fields = Self {
            host: Field::Missing,
            key: Field::Missing,
            version: Field::Missing,
            upgrade: false,
            connection: false,
            body: false,
            transfer_encoding: false,
            protocols: Some(Vec::new()),
        };
        for (name, value) in headers {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if is("host") {
                fields.host.add(value);
            } else if is("sec-websocket-key") {
                fields.key.add(value);
            } else if is("sec-websocket-version") {
                fields.version.add(value);
            } else if is("upgrade") {
                fields.upgrade |= token::contains(value, "websocket");
            } else if is("connection") {
                fields.connection |= token::contains(value, "upgrade");
            } else if is("content-length") {
                fields.body |= token::trim(value) != b"0";
            } else if is("transfer-encoding") {
                fields.transfer_encoding = true;
            } else if is("sec-websocket-protocol") {
                fields.offer(value);
            }
        }
        fields
    }

    /// Adds a line of offered subprotocols.
    fn offer(&mut self, value: &'a [u8]) {
        let Some(protocols) = &mut self.protocols else {
            return;
        };
        for element in token::elements(value) {
            match token::token(element) {
                Some(token) => protocols.push(token),
                None => {
                    self.protocols = None;
                    return;
                }
            }
        }
    }
}

/// A header that must come once.
enum Field<'a> {
    Missing,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> Field<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Missing => Self::Once(token::trim(value)),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }

    fn once(&self, missing: Refusal, repeated: Refusal) -> Result<&'a [u8], Refusal> {
        match self {
            Self::Missing => Err(missing),
            Self::Once(value) => Ok(value),
            Self::Repeated => Err(repeated),
        }
    }
}

/// RFC 6455 §4.2.1 item 1: a path, or an absolute URL whose authority is the one in Host. No fragment (§3).
fn check_target(target: &str, host: &[u8]) -> Result<(), Refusal> {
    if target
        .bytes()
        .any(|byte| byte == b'#' || byte == b' ' || byte.is_ascii_control())
    {
        return Err(Refusal::Target);
    }
    if target.starts_with('/') {
        return Ok(());
    }
    let (scheme, rest) = target.split_once("://").ok_or(Refusal::Target)?;
    if !["http", "https", "ws", "wss"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return Err(Refusal::Target);
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if !authority.as_bytes().eq_ignore_ascii_case(host) {
        return Err(Refusal::Authority);
    }
    Ok(())
}

/// True for `host` or `host:port`, where the host is a name, an address or a bracketed address.
fn is_host(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else {
        return false;
    };
    let (name_ok, port) = if let Some(rest) = value.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        let legal = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        (!address.is_empty() && address.bytes().all(legal), port)
    } else {
        let (name, port) = value.split_at(value.find(':').unwrap_or(value.len()));
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(&byte);
        (!name.is_empty() && name.bytes().all(legal), port)
    };
    let port_ok = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    name_ok && port_ok
}

/// True for the base64 of 16 bytes, with its padding and without stray bits.
fn is_key(key: &str) -> bool {
    // The decoder wants room for three bytes per group of four; a longer key finds no room.
    let mut room = [0; 18];
    STANDARD.decode_slice(key, &mut room) == Ok(16)
}

/// The length of a key: 16 bytes in base64.
pub(super) const KEY_BYTES: usize = 24;

/// RFC 6455 §1.3: appended to the key before hashing.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_the_example_of_section_1_3() {
        assert_eq!(
            &accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn a_key_is_the_canonical_base64_of_16_bytes() {
        assert!(is_key("dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(is_key("AAAAAAAAAAAAAAAAAAAAAA=="));
        for bad in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",     // no padding
            "dGhlIHNhbXBsZSBub25jZR==",   // stray bits
            "dGhlIHNhbXBsZSBub25j",       // 15 bytes
            "dGhlIHNhbXBsZSBub25jZWU=",   // 17 bytes
            "dGhlIHNhbXBsZSBub25jZQ==\n", // more behind it
            "dGhlIHNhbXBsZSBub25-ZQ==",   // the other alphabet
            "dGhlIHNhbXBsZSBub25jZQ= ",
        ] {
            assert!(!is_key(bad), "{bad:?}");
        }
    }

    #[test]
    fn hosts() {
        for good in [
            "a",
            "example.org",
            "example.org:80",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:80",
            "a_b",
            "h:",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a b", "a/b", "u@h", "a,b", "a:b", "a:1:2", "[]", "[::1", "[::1]x", "a#",
            "a?b", "\u{e9}",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn no_value_can_begin_a_line_of_its_own() {
        let mut out = Vec::new();
        write_switching_protocols(
            &mut out,
            "k",
            Some("a\r\nX: 1"),
            [("Server\r\n", "x\r\n\r\ny\0")],
        );
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("Sec-WebSocket-Protocol: aX: 1\r\nServer: xy\r\n\r\n"));
        assert_eq!(text.matches("\r\n\r\n").count(), 1);
    }
}
