//! HTTP/1.1 as a table: what is sent, and what becomes of it.
//!
//! Rows are (input, outcome); an outcome is the parsed part that matters or the status of the refusal. Sections
//! follow RFC 9112. The last two parts send everything again, cut at every place.
#![allow(clippy::unwrap_used, clippy::type_complexity)]

use dunlin::http::{BodyLength, BodyReader, Head, HeadLimits, HeadSeeker, HttpError};

// ---------------------------------------------------------------- helpers

/// Seeks and parses what a client sent.
fn receive(head: &[u8]) -> Result<Head, HttpError> {
    let limits = HeadLimits::default();
    let end = HeadSeeker::default()
        .seek(head, &limits)?
        .ok_or(HttpError::HeadIncomplete)?;
    Head::parse(&head[..end], &limits)
}

/// 200 for a head that is accepted, else the status of the refusal.
fn status(head: &[u8]) -> u16 {
    receive(head).map_or_else(|error| error.status(), |_| 200)
}

fn seek(head: &[u8]) -> Result<Option<usize>, u16> {
    let limits = HeadLimits::default();
    HeadSeeker::default()
        .seek(head, &limits)
        .map_err(|error| error.status())
}

/// A request with these header lines (each with its CRLF) behind its Host.
fn with(version: &str, lines: &str) -> Result<Head, HttpError> {
    receive(format!("POST / HTTP/{version}\r\nHost: a\r\n{lines}\r\n").as_bytes())
}

/// Reads a body in the pieces given; the body and what was left over, or a status.
fn read(length: BodyLength, max: usize, pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>, bool), u16> {
    let mut reader = BodyReader::new(length, max).map_err(|error| error.status())?;
    let (mut body, mut left) = (Vec::new(), Vec::new());
    for piece in pieces {
        let used = reader
            .read(piece, &mut body)
            .map_err(|error| error.status())?;
        left.extend_from_slice(&piece[used..]);
    }
    Ok((body, left, reader.is_done()))
}

// ---------------------------------------------------------------- RFC 9112 §2.2: lines

#[test]
fn lines() {
    #[rustfmt::skip]
    let table: &[(&[u8], u16)] = &[
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b" \r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
        (b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d\r\n\r\n", 400),
        // RFC 9112 §5.2: folded lines, the first header line included.
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\tc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", 400),
        // Not HTTP at all: TLS, SSH, HTTP/2.
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 400),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ];
    for (head, expected) in table {
        assert_eq!(
            status(head),
            *expected,
            "{:?}",
            head.escape_ascii().to_string()
        );
    }
}

// ---------------------------------------------------------------- RFC 9112 §3: the request line

#[test]
fn request_lines() {
    #[rustfmt::skip]
    let table: &[(&str, Result<(&str, &str), u16>)] = &[
        ("GET / HTTP/1.1", Ok(("GET", "/"))),
        ("GET /a/b?c=d HTTP/1.0", Ok(("GET", "/a/b?c=d"))),
        ("get / HTTP/1.1", Ok(("get", "/"))),
        ("M-SEARCH / HTTP/1.1", Ok(("M-SEARCH", "/"))),
        ("OPTIONS * HTTP/1.1", Ok(("OPTIONS", "*"))),
        ("GET http://b/c?d HTTP/1.1", Ok(("GET", "/c?d"))),
        ("GET wss://b:443 HTTP/1.1", Ok(("GET", "/"))),
        ("GET /%zz HTTP/1.1", Ok(("GET", "/%zz"))),
        ("GET //b/c HTTP/1.1", Ok(("GET", "//b/c"))),
        ("GET /\u{fc} HTTP/1.1", Ok(("GET", "/\u{fc}"))),
        ("GET  / HTTP/1.1", Err(400)),
        ("GET /  HTTP/1.1", Err(400)),
        (" GET / HTTP/1.1", Err(400)),
        ("GET / HTTP/1.1 ", Err(400)),
        ("GET\t/\tHTTP/1.1", Err(400)),
        ("GET /a b HTTP/1.1", Err(400)),
        ("GET /", Err(400)),
        ("GET", Err(400)),
        ("GET HTTP/1.1", Err(400)),
        ("GET  HTTP/1.1", Err(400)),
        (" / HTTP/1.1", Err(400)),
        ("G@T / HTTP/1.1", Err(400)),
        ("G\u{c9}T / HTTP/1.1", Err(400)),
        ("GET/ / HTTP/1.1", Err(400)),
        ("GET / http/1.1", Err(400)),
        ("GET / HTTP/1", Err(400)),
        ("GET / HTTP/1.10", Err(400)),
        ("GET / HTTP/01.1", Err(400)),
        ("GET / HTTP/+1.1", Err(400)),
        ("GET / HTTP 1.1", Err(400)),
        ("GET / HTTP/0.9", Err(505)),
        ("GET / HTTP/1.2", Err(505)),
        ("GET / HTTP/2.0", Err(505)),
        ("GET * HTTP/1.1", Err(400)),
        ("OPTIONS ** HTTP/1.1", Err(400)),
        ("GET path HTTP/1.1", Err(400)),
        ("GET ?a HTTP/1.1", Err(400)),
        ("GET /a#b HTTP/1.1", Err(400)),
        ("GET http://b#c HTTP/1.1", Err(400)),
        ("GET http:// HTTP/1.1", Err(400)),
        ("GET http://u@b/ HTTP/1.1", Err(400)),
        ("GET http://b:x/ HTTP/1.1", Err(400)),
        ("GET file:///etc HTTP/1.1", Err(400)),
        ("GET /\u{7f} HTTP/1.1", Err(400)),
        ("GET a.example:443 HTTP/1.1", Err(400)),
        ("CONNECT a.example:443 HTTP/1.1", Err(405)),
    ];
    for (line, expected) in table {
        let head = receive(format!("{line}\r\nHost: a\r\n\r\n").as_bytes());
        let parts = head.as_ref().map(|head| (head.method(), head.target()));
        assert_eq!(parts.map_err(HttpError::status), *expected, "{line:?}");
    }
    // Bytes that are not UTF-8 have no meaning in a target.
    assert_eq!(status(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn host() {
    #[rustfmt::skip]
    let table = [
        ("1.1", "Host: a\r\n", 200),
        ("1.1", "hOST:a.example:8080\r\n", 200),
        ("1.1", "A: b\r\nHost: \t[::1]:2661 \r\n", 200),
        ("1.1", "Host:\r\n", 200),
        ("1.1", "", 400),
        ("1.1", "X-Host: a\r\n", 400),
        ("1.1", "Host: a\r\nHost: a\r\n", 400),
        ("1.1", "Host: a\r\nhost: b\r\n", 400),
        ("1.1", "Host: a, b\r\n", 400),
        ("1.1", "Host: a,b\r\n", 400),
        ("1.1", "Host: a b\r\n", 400),
        ("1.1", "Host: u@a\r\n", 400),
        ("1.1", "Host: a/\r\n", 400),
        ("1.1", "Host: http://a\r\n", 400),
        ("1.1", "Host: a:80a\r\n", 400),
        ("1.1", "Host: a:65536\r\n", 400),
        ("1.1", "Host: \u{fc}\r\n", 400),
        ("1.0", "", 200),
        ("1.0", "Host: a\r\n", 200),
        ("1.0", "Host: a\r\nHost: a\r\n", 400),
        ("1.0", "Host: a b\r\n", 400),
    ];
    for (version, lines, expected) in table {
        let head = format!("GET / HTTP/{version}\r\n{lines}\r\n");
        assert_eq!(status(head.as_bytes()), expected, "{head:?}");
    }
}

#[test]
fn the_authority_of_the_target_wins_over_host() {
    let head = receive(b"GET http://b:1/ HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(
        (head.authority(), head.host(), head.header("host")),
        (Some("b:1"), Some("b:1"), Some("a"))
    );
    let head = with("1.1", "").unwrap();
    assert_eq!((head.authority(), head.host()), (None, Some("a")));
}

// ---------------------------------------------------------------- RFC 9112 §5: header lines

#[test]
fn header_lines() {
    #[rustfmt::skip]
    let table: &[(&[u8], Result<&[u8], u16>)] = &[
        (b"X: y", Ok(b"y")),
        (b"x:y", Ok(b"y")),
        (b"X:\t y\tz \t", Ok(b"y\tz")),
        (b"X:", Ok(b"")),
        (b"X: \t ", Ok(b"")),
        (b"X: :y", Ok(b":y")),
        (b"X: \xff\x80\xa0", Ok(b"\xff\x80\xa0")),
        (b"X: \"\\<>@,;{}[]()", Ok(b"\"\\<>@,;{}[]()")),
        (b"X : y", Err(400)),
        (b"X\t: y", Err(400)),
        (b": y", Err(400)),
        (b"X y", Err(400)),
        (b"X", Err(400)),
        (b"X y: z", Err(400)),
        (b"X\xff: y", Err(400)),
        (b"X(: y", Err(400)),
        (b"X: y\0", Err(400)),
        (b"X: \x01y", Err(400)),
        (b"X: y\x7f", Err(400)),
        (b"X:\x0by", Err(400)),
        (b"X\0: y", Err(400)),
    ];
    for (line, expected) in table {
        let head = receive(&[b"GET / HTTP/1.1\r\nHost: a\r\n", *line, b"\r\n\r\n"].concat());
        let value = head
            .as_ref()
            .map(|head| head.header_all("x").next().unwrap());
        let shown = line.escape_ascii().to_string();
        assert_eq!(value.map_err(HttpError::status), *expected, "{shown}");
    }
}

#[test]
fn headers_keep_their_order_and_names_have_no_case() {
    let head = with("1.1", "B: 1\r\na: 2\r\nb: \u{c3}\r\nA:\r\n").unwrap();
    let lines: Vec<_> = head
        .headers()
        .map(|(name, value)| (name, value.len()))
        .collect();
    assert_eq!(lines, [("Host", 1), ("B", 1), ("a", 1), ("b", 2), ("A", 0)]);
    assert_eq!(
        (head.header("b"), head.header("A"), head.header("c")),
        (Some("1"), Some("2"), None)
    );
    assert_eq!(head.header_all("A").collect::<Vec<_>>(), [&b"2"[..], b""]);
    // A value that is not UTF-8 is there as bytes only.
    let head = receive(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\r\nX: y\r\n\r\n").unwrap();
    assert_eq!((head.header("x"), head.header_all("x").count()), (None, 2));
}

#[test]
fn token_lists() {
    for (lines, expected) in [
        ("Connection: Upgrade\r\n", true),
        ("Connection: keep-alive, Upgrade\r\n", true),
        ("Connection:keep-alive,UPGRADE\r\n", true),
        (
            "connection: keep-alive\r\nCONNECTION: ,\tupgrade ,\r\n",
            true,
        ),
        ("Connection: notupgrade\r\n", false),
        ("Connection: upgrade2, not upgrade\r\n", false),
        ("Connection: \"upgrade\"\r\n", false),
        ("Connection:\r\n", false),
        ("Upgrade: upgrade\r\n", false),
        ("", false),
    ] {
        let head = with("1.1", lines).unwrap();
        assert_eq!(
            head.has_token("connection", "upgrade"),
            expected,
            "{lines:?}"
        );
    }
}

// ---------------------------------------------------------------- RFC 9112 §6: framing and smuggling

#[test]
fn framing() {
    use BodyLength::{Chunked, Exact, None};
    #[rustfmt::skip]
    let table: &[(&str, &str, Result<BodyLength, u16>)] = &[
        ("1.1", "", Ok(None)),
        ("1.1", "Content-Length: 0\r\n", Ok(Exact(0))),
        ("1.1", "content-length:\t5 \r\n", Ok(Exact(5))),
        ("1.0", "Content-Length: 5\r\n", Ok(Exact(5))),
        ("1.1", "Content-Length: 18446744073709551615\r\n", Ok(Exact(u64::MAX))),
        ("1.1", "Content-Length: 18446744073709551616\r\n", Err(413)),
        ("1.1", "Content-Length: 99999999999999999999999999\r\n", Err(413)),
        // One length, twice the same or different.
        ("1.1", "Content-Length: 5\r\nContent-Length: 5\r\n", Ok(Exact(5))),
        ("1.1", "Content-Length: 5\r\nContent-Length: 6\r\n", Err(400)),
        ("1.1", "Content-Length: 5\r\nContent-Length:\r\n", Err(400)),
        ("1.1", "Content-Length: 5, 5\r\n", Err(400)),
        ("1.1", "Content-Length: 5,\r\n", Err(400)),
        // Not a number.
        ("1.1", "Content-Length:\r\n", Err(400)),
        ("1.1", "Content-Length: +5\r\n", Err(400)),
        ("1.1", "Content-Length: -5\r\n", Err(400)),
        ("1.1", "Content-Length: 0x5\r\n", Err(400)),
        ("1.1", "Content-Length: 5 5\r\n", Err(400)),
        ("1.1", "Content-Length: 5.0\r\n", Err(400)),
        ("1.1", "Content-Length: 5;\r\n", Err(400)),
        ("1.1", "Content-Length: \"5\"\r\n", Err(400)),
        ("1.1", "Content-Length: \u{665}\r\n", Err(400)),
        // The only coding.
        ("1.1", "Transfer-Encoding: chunked\r\n", Ok(Chunked)),
        ("1.1", "transfer-encoding:   CHUNKED\t\r\n", Ok(Chunked)),
        ("1.0", "Transfer-Encoding: chunked\r\n", Err(400)),
        // Both lengths, in both orders: CL.TE and TE.CL.
        ("1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Err(400)),
        ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Err(400)),
        ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", Err(400)),
        ("1.1", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n", Err(400)),
        ("1.1", "Content-Length: 99999999999999999999\r\nTransfer-Encoding: chunked\r\n", Err(400)),
        // TE.TE: one reader may miss what another sees.
        ("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Err(501)),
        ("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(501)),
        ("1.1", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", Err(501)),
        ("1.1", "Transfer-Encoding: gzip, chunked\r\n", Err(501)),
        ("1.1", "Transfer-Encoding: chunked, identity\r\n", Err(501)),
        ("1.1", "Transfer-Encoding: xchunked\r\n", Err(501)),
        ("1.1", "Transfer-Encoding: chunkedx\r\n", Err(501)),
        ("1.1", "Transfer-Encoding: \"chunked\"\r\n", Err(501)),
        ("1.1", "Transfer-Encoding: chunked;q=1\r\n", Err(501)),
        ("1.1", "Transfer-Encoding: chunked,\r\n", Err(501)),
        ("1.1", "Transfer-Encoding: identity\r\n", Err(501)),
        ("1.1", "Transfer-Encoding:\r\n", Err(501)),
        // Names that only resemble: refused as lines, or simply other headers.
        ("1.1", "Transfer-Encoding : chunked\r\n", Err(400)),
        ("1.1", " Transfer-Encoding: chunked\r\n", Err(400)),
        ("1.1", "Transfer-Encoding:\x0bchunked\r\n", Err(400)),
        ("1.1", "X: y\nTransfer-Encoding: chunked\r\n", Err(400)),
        ("1.1", "Transfer-Encoding\r\n: chunked\r\n", Err(400)),
        ("1.1", "Transfer_Encoding: chunked\r\n", Ok(None)),
        ("1.1", "Content-Length : 5\r\n", Err(400)),
        ("1.1", "Content_Length: 5\r\n", Ok(None)),
    ];
    for (version, lines, expected) in table {
        let length = with(version, lines)
            .and_then(|head| head.body())
            .map_err(|error| error.status());
        assert_eq!(length, *expected, "{version} {lines:?}");
    }
}

#[test]
fn connections_that_stay() {
    for (version, lines, expected) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Upgrade, CLOSE\r\n", false),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        (
            "1.0",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
    ] {
        let head = with(version, lines).unwrap();
        assert_eq!(head.keep_alive(), expected, "{version} {lines:?}");
    }
}

#[test]
fn expectations() {
    for (version, lines, expected) in [
        ("1.1", "", Ok(false)),
        ("1.1", "Expect:\r\n", Ok(false)),
        ("1.1", "Expect: 100-continue\r\n", Ok(true)),
        ("1.1", "expect: 100-Continue\r\n", Ok(true)),
        ("1.1", "Expect: 200-ok\r\n", Err(417)),
        ("1.1", "Expect: 100-continue, x\r\n", Err(417)),
        ("1.0", "Expect: 100-continue\r\n", Ok(false)),
    ] {
        let expects = with(version, lines).unwrap().expects_continue();
        assert_eq!(
            expects.map_err(|error| error.status()),
            expected,
            "{version} {lines:?}"
        );
    }
}

// ---------------------------------------------------------------- RFC 9112 §7.1: chunked bodies

/// Wire bytes, and the body with what is left behind it, or the status of the refusal. The limit is 20 bytes.
#[rustfmt::skip]
const CHUNKED: &[(&[u8], Result<(&[u8], &[u8]), u16>)] = &[
    (b"0\r\n\r\n", Ok((b"", b""))),
    (b"5\r\nhello\r\n0\r\n\r\n", Ok((b"hello", b""))),
    (b"5\r\nhello\r\n0\r\n\r\nGET / ", Ok((b"hello", b"GET / "))),
    (b"1\r\na\r\n2\r\n\r\n\r\n00\r\n\r\n", Ok((b"a\r\n", b""))),
    (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", Ok((b"01234567890123456789", b""))),
    (b"0000000000000001\r\na\r\n0\r\n\r\n", Ok((b"a", b""))),
    // Extensions and trailers are ignored.
    (b"1;a\r\nb\r\n0;c=\"d\"\r\n\r\n", Ok((b"b", b""))),
    (b"1 ;a=b;\tc\r\nb\r\n0\t;\r\n\r\n", Ok((b"b", b""))),
    (b"1;\xff\r\nb\r\n0\r\n\r\n", Ok((b"b", b""))),
    (b"1\r\nb\r\n0\r\nT: u\r\nContent-Length: 5\r\n\r\nrest", Ok((b"b", b"rest"))),
    // Sizes.
    (b"\r\n\r\n", Err(400)),
    (b"x\r\n", Err(400)),
    (b"+1\r\n", Err(400)),
    (b"-1\r\n", Err(400)),
    (b" 1\r\n", Err(400)),
    (b"0x1\r\na\r\n0\r\n\r\n", Err(400)),
    (b"1_0\r\n", Err(400)),
    (b"1 \r\na\r\n0\r\n\r\n", Err(400)),
    (b"1 1\r\n", Err(400)),
    (b";a\r\n", Err(400)),
    (b"00000000000000001\r\na\r\n0\r\n\r\n", Err(400)),
    (b"15\r\n", Err(413)),
    (b"ffffffffffffffff\r\n", Err(413)),
    (b"10000000000000000\r\n", Err(413)),
    (b"fffffffffffffffff0\r\n", Err(413)),
    (b"8000000000000001\r\n", Err(413)),
    (b"5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n", Err(413)),
    // Line ends.
    (b"5\nhello\r\n0\r\n\r\n", Err(400)),
    (b"5\r\rhello\r\n0\r\n\r\n", Err(400)),
    (b"5\r\nhello\n0\r\n\r\n", Err(400)),
    (b"5\r\nhello0\r\n\r\n", Err(400)),
    (b"5\r\nhelloo\r\n0\r\n\r\n", Err(400)),
    (b"5\r\nhell\r\n0\r\n\r\n", Err(400)),
    (b"5;a\nhello\r\n0\r\n\r\n", Err(400)),
    (b"5;a\0\r\nhello\r\n0\r\n\r\n", Err(400)),
    (b"0\r\n\n", Err(400)),
    (b"0\n\r\n", Err(400)),
    (b"0\r\nT: u\n\r\n", Err(400)),
    (b"0\r\nT: \0\r\n\r\n", Err(400)),
    (b"0\r\nT: u\r\n v\r\n\r\n", Err(400)),
    (b"0\r\n\rX", Err(400)),
];

#[test]
fn chunked_bodies() {
    for (wire, expected) in CHUNKED {
        let shown = wire.escape_ascii().to_string();
        let outcome = read(BodyLength::Chunked, 20, &[wire]);
        let expected = expected.map(|(body, left)| (body.to_vec(), left.to_vec(), true));
        assert_eq!(outcome, expected, "{shown}");
    }
}

#[test]
fn exact_bodies() {
    #[rustfmt::skip]
    let table: &[(u64, usize, &[u8], Result<(&[u8], &[u8], bool), u16>)] = &[
        (5, 5, b"hello", Ok((b"hello", b"", true))),
        (5, 5, b"hello, GET", Ok((b"hello", b", GET", true))),
        (5, 5, b"hel", Ok((b"hel", b"", false))),
        (0, 0, b"x", Ok((b"", b"x", true))),
        (6, 5, b"", Err(413)),
        (u64::MAX, usize::MAX >> 1, b"", Err(413)),
    ];
    for (length, max, wire, expected) in table {
        let outcome = read(BodyLength::Exact(*length), *max, &[wire]);
        let outcome = outcome
            .as_ref()
            .map(|(body, left, done)| (&body[..], &left[..], *done));
        assert_eq!(
            outcome.map_err(|status| *status),
            *expected,
            "{length} of at most {max}"
        );
    }
}

// ---------------------------------------------------------------- limits: n and n + 1

#[test]
fn limits_of_a_head() {
    let defaults = HeadLimits {
        head_bytes_max: 8192,
        target_bytes_max: 4096,
        headers_max: 64,
    };
    assert_eq!(HeadLimits::default(), defaults);

    let head_of = |len: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{start}{}\r\n\r\n", "x".repeat(len - start.len() - 4)).into_bytes()
    };
    assert_eq!(status(&head_of(8192)), 200);
    assert_eq!(status(&head_of(8193)), 431);
    // Without an end it is refused as soon as the end can no longer come in time.
    let unfinished = vec![b'x'; 8193];
    let mut long_line = b"GET / HTTP/1.1\r\nX: ".to_vec();
    long_line.extend_from_slice(&unfinished);
    assert_eq!(seek(&long_line[..8192]), Ok(None));
    assert_eq!(seek(&long_line[..8193]), Err(431));

    let target_of = |len: usize| {
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 1)).into_bytes()
    };
    assert_eq!(status(&target_of(4096)), 200);
    assert_eq!(status(&target_of(4097)), 414);
    assert_eq!(seek(&unfinished), Err(414));

    let headers_of = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(count - 1)
        )
        .into_bytes()
    };
    assert_eq!(status(&headers_of(64)), 200);
    assert_eq!(status(&headers_of(65)), 431);

    let method_of =
        |len: usize| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "X".repeat(len)).into_bytes();
    assert_eq!(status(&method_of(32)), 200);
    assert_eq!(status(&method_of(33)), 501);
}

#[test]
fn limits_of_a_body() {
    let whole = |length, max, wire: &[u8]| read(length, max, &[wire]).map(|(body, ..)| body.len());
    assert_eq!(
        whole(BodyLength::Exact(8192), 8192, &[b'x'; 8192]),
        Ok(8192)
    );
    assert_eq!(whole(BodyLength::Exact(8193), 8192, b""), Err(413));
    let wire = |len: usize| format!("{len:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(len)).into_bytes();
    assert_eq!(whole(BodyLength::Chunked, 8192, &wire(8192)), Ok(8192));
    assert_eq!(whole(BodyLength::Chunked, 8192, &wire(8193)), Err(413));
    // Refused by its announcement, before a byte of it came.
    assert_eq!(whole(BodyLength::Chunked, 8192, b"2001"), Err(413));
    let pieces = |count: usize| [b"1\r\nx\r\n".repeat(count), b"0\r\n\r\n".to_vec()].concat();
    assert_eq!(whole(BodyLength::Chunked, 100, &pieces(100)), Ok(100));
    assert_eq!(whole(BodyLength::Chunked, 100, &pieces(101)), Err(413));
}

// ---------------------------------------------------------------- clients as they are

#[rustfmt::skip]
const CLIENTS: &[(&str, &str)] = &[
    ("curl", "POST /ch/news HTTP/1.1\r\nHost: localhost:2661\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\
        Content-Length: 5\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"),
    ("a browser", "GET /ws?token=a%2Fb HTTP/1.1\r\nHost: localhost:2661\r\nConnection: Upgrade\r\n\
        Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
        Upgrade: websocket\r\nOrigin: http://localhost:2661\r\nSec-WebSocket-Version: 13\r\n\
        Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\
        Cookie: sid=\"x\"; theme=dark\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"),
    ("axios", "POST /a HTTP/1.1\r\nAccept: application/json, text/plain, */*\r\nContent-Type: application/json\r\n\
        User-Agent: axios/1.7.2\r\nContent-Length: 2\r\nAccept-Encoding: gzip, compress, deflate, br\r\n\
        Host: 127.0.0.1:2661\r\nConnection: close\r\n\r\n"),
    ("Go", "POST /a HTTP/1.1\r\nHost: [::1]:2661\r\nUser-Agent: Go-http-client/1.1\r\n\
        Transfer-Encoding: chunked\r\nAccept-Encoding: gzip\r\n\r\n"),
    ("Java", "POST /a HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 2\r\nHost: localhost:2661\r\n\
        HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n\
        User-Agent: Java-http-client/21\r\n\r\n"),
    ("ab", "GET / HTTP/1.0\r\nHost: localhost\r\nUser-Agent: ApacheBench/2.3\r\nAccept: */*\r\n\r\n"),
];

#[test]
fn heads_of_known_clients_are_accepted() {
    for (client, head) in CLIENTS {
        let head = receive(head.as_bytes()).unwrap_or_else(|error| panic!("{client}: {error}"));
        assert!(
            head.body().is_ok() && head.expects_continue() == Ok(false),
            "{client}"
        );
    }
    let browser = receive(CLIENTS[1].1.as_bytes()).unwrap();
    assert_eq!(
        (browser.cookie("sid"), browser.cookie("theme")),
        (Some("x"), Some("dark"))
    );
    assert_eq!(browser.query_param("token").as_deref(), Some("a/b"));
}

// ---------------------------------------------------------------- every segmentation

#[test]
fn a_head_may_arrive_in_any_pieces() {
    let limits = HeadLimits::default();
    let refused: [&[u8]; 5] = [
        b"GET / HTTP/1.1\n\n",
        b"\r\n\r\n",
        b"GET /\x01",
        b"A\r\n B\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\r\r\n",
    ];
    let accepted = CLIENTS.iter().map(|(_, head)| head.as_bytes());
    for head in accepted.chain(refused) {
        let whole = HeadSeeker::default().seek(head, &limits);
        // Byte by byte: nothing is said before its time, and then the same is said.
        let mut seeker = HeadSeeker::default();
        let steps = (0..=head.len()).map(|len| seeker.seek(&head[..len], &limits));
        let first_answer = steps
            .into_iter()
            .find(|answer| *answer != Ok(None))
            .unwrap();
        assert_eq!(first_answer, whole);
        // In two pieces, cut anywhere, with the beginning of something else behind.
        let longer = [head, b"\x81\x85rest"].concat();
        for cut in 0..head.len() {
            let mut seeker = HeadSeeker::default();
            if let Ok(None) = seeker.seek(&head[..cut], &limits) {
                assert_eq!(seeker.seek(&longer, &limits), whole, "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_body_may_arrive_in_any_pieces() {
    let exact: [(BodyLength, &[u8]); 2] = [
        (BodyLength::Exact(5), b"hello"),
        (BodyLength::Exact(5), b"hello GET"),
    ];
    let chunked = CHUNKED.iter().map(|(wire, _)| (BodyLength::Chunked, *wire));
    for (length, wire) in chunked.chain(exact) {
        let shown = wire.escape_ascii().to_string();
        let whole = read(length, 20, &[wire]);
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(read(length, 20, &bytes), whole, "{shown} byte by byte");
        for cut in 0..=wire.len() {
            let (front, back) = wire.split_at(cut);
            let cut_once = read(length, 20, &[front, b"", back]);
            assert_eq!(cut_once, whole, "{shown} cut at {cut}");
        }
    }
}
