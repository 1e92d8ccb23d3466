//! The PROXY protocol, versions 1 and 2: what a proxy writes in front of the first request to say for whom it connects.
//!
//! The rule: the header is read as strictly as its specification is written, because what it says is believed. A
//! version 1 line is one of the three that may be; in version 2 every byte that has a meaning is checked, and what
//! has none for us (TLVs, the destination) is skipped. How the bytes were cut never matters.
//!
//! ```text
//!   first bytes ──┬─ "PROXY "    ──▶ v1: up to CRLF, 107 bytes at most  ──┬─▶ Source, and the HTTP head follows
//!                 ├─ signature   ──▶ v2: 16 bytes, then their length    ──┘
//!                 └─ neither     ──▶ ProxyError::Missing
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is read: what fits into any TCP segment (specification §2).
pub const PROXY_HEADER_BYTES_MAX: usize = 536;

/// The longest line of version 1, CRLF included (specification §2.1).
const LINE_BYTES_MAX: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
/// What no other protocol begins with (specification §2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;

/// For whom the proxy connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxySource {
    /// For a client at this address; an IPv4-mapped IPv6 address is given as the IPv4 address it means.
    Address(SocketAddr),
    /// For a client on a Unix socket of the proxy's machine.
    Unix,
    /// For itself (`LOCAL`, a health check), or for somebody it cannot name (`UNKNOWN`, `UNSPEC`).
    Itself,
}

/// Reads the header at the start of `bytes`, everything that was received so far.
///
/// `Ok(Some((n, source)))`: the header is `bytes[..n]`. `Ok(None)`: more bytes are needed.
///
/// # Errors
/// As soon as the bytes cannot become a header any more.
pub fn read_proxy_header(bytes: &[u8]) -> Result<Option<(usize, ProxySource)>, ProxyError> {
    if starts_alike(bytes, SIGNATURE) {
        return read_binary(bytes);
    }
    if starts_alike(bytes, LINE_START) {
        return read_line(bytes);
    }
    Err(ProxyError::Missing)
}

/// As far as there are bytes they are those of `start`.
fn starts_alike(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(a, b)| a == b)
}

fn read_line(bytes: &[u8]) -> Result<Option<(usize, ProxySource)>, ProxyError> {
    let reach = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = reach.iter().position(|b| *b == b'\n') else {
        return if reach.len() == LINE_BYTES_MAX {
            Err(ProxyError::TooLong)
        } else {
            Ok(None)
        };
    };
    let line = reach
        .get(LINE_START.len()..end)
        .and_then(|line| line.strip_suffix(b"\r"))
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(ProxyError::Line)?;
    Ok(Some((end + 1, line_source(line).ok_or(ProxyError::Line)?)))
}

/// `TCP4 192.0.2.1 198.51.100.1 40000 443`; behind `UNKNOWN` anything may stand (specification §2.1).
fn line_source(line: &str) -> Option<ProxySource> {
    let mut parts = line.split(' ');
    let family = parts.next()?;
    if family == "UNKNOWN" {
        return Some(ProxySource::Itself);
    }
    let source = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (source, destination, port, destination_port) = source;
    if parts.next().is_some() {
        return None;
    }
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    address(destination)?;
    line_port(destination_port)?;
    Some(ProxySource::Address(SocketAddr::new(
        address(source)?.to_canonical(),
        line_port(port)?,
    )))
}

/// Decimal, without leading zeros.
fn line_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn read_binary(bytes: &[u8]) -> Result<Option<(usize, ProxySource)>, ProxyError> {
    let known = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    // Each byte is judged when it is there: a wrong one is not waited behind.
    let is_local = match known.first() {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(byte) if byte >> 4 == 2 => return Err(ProxyError::Command),
        Some(_) => return Err(ProxyError::Version),
    };
    let Some(&family) = known.get(1) else {
        return Ok(None);
    };
    let source_bytes = match family {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        // With `LOCAL` the family is to be discarded (specification §2.2).
        _ if is_local => 0,
        _ => return Err(ProxyError::Family),
    };
    let (Some(&high), Some(&low)) = (known.get(2), known.get(3)) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let end = FIXED_BYTES + length;
    if end > PROXY_HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    if !is_local && length < source_bytes {
        return Err(ProxyError::TooShort);
    }
    let Some(block) = bytes.get(FIXED_BYTES..end) else {
        return Ok(None);
    };
    let source = match family >> 4 {
        _ if is_local => ProxySource::Itself,
        1 => v4(block).ok_or(ProxyError::TooShort)?,
        2 => v6(block).ok_or(ProxyError::TooShort)?,
        3 => ProxySource::Unix,
        _ => ProxySource::Itself,
    };
    Ok(Some((end, source)))
}

/// Source, destination, source port, destination port.
fn v4(block: &[u8]) -> Option<ProxySource> {
    let (ip, rest) = block.split_first_chunk::<4>()?;
    let (port, _) = rest.get(4..)?.split_first_chunk::<2>()?;
    let ip = IpAddr::V4(Ipv4Addr::from(*ip));
    let address = SocketAddr::new(ip, u16::from_be_bytes(*port));
    Some(ProxySource::Address(address))
}

fn v6(block: &[u8]) -> Option<ProxySource> {
    let (ip, rest) = block.split_first_chunk::<16>()?;
    let (port, _) = rest.get(16..)?.split_first_chunk::<2>()?;
    let ip = IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical();
    let address = SocketAddr::new(ip, u16::from_be_bytes(*port));
    Some(ProxySource::Address(address))
}

/// Why bytes are no PROXY protocol header. The connection is closed without an answer: whoever sent them does not
/// speak HTTP here yet (specification §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// They begin with neither version.
    Missing,
    /// A version 1 line that is none of the three.
    Line,
    /// A version other than 2 behind the signature.
    Version,
    /// A command other than `LOCAL` and `PROXY`.
    Command,
    /// An address family or transport that does not exist.
    Family,
    /// The announced length does not hold the addresses.
    TooShort,
    /// Longer than a header may be.
    TooLong,
}

impl ProxyError {
    /// A label for a counter, in snake_case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "proxy_header_missing",
            Self::Line => "proxy_header_line",
            Self::Version => "proxy_header_version",
            Self::Command => "proxy_header_command",
            Self::Family => "proxy_header_family",
            Self::TooShort => "proxy_header_too_short",
            Self::TooLong => "proxy_header_too_long",
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => {
                "the connection does not begin with a PROXY protocol header; let the proxy send one"
            }
            Self::Line => {
                "the PROXY line must be TCP4 or TCP6 with two addresses and two ports, or UNKNOWN, and end in CRLF"
            }
            Self::Version => "the only binary version of the PROXY protocol is 2",
            Self::Command => "the PROXY protocol's commands are LOCAL and PROXY",
            Self::Family => "this is no address family and transport of the PROXY protocol",
            Self::TooShort => "the PROXY header is too short for the addresses of its family",
            Self::TooLong => {
                "the PROXY header is longer than 107 bytes (version 1) or 536 bytes (version 2); send fewer TLVs"
            }
        })
    }
}

impl std::error::Error for ProxyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> ProxySource {
        ProxySource::Address(text.parse().expect("an address"))
    }

    /// A version 2 header: command, family, and the bytes behind the length.
    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((block.len() as u16).to_be_bytes());
        bytes.extend(block);
        bytes
    }

    #[test]
    fn version_1_line_by_line() {
        let read = |line: &str| read_proxy_header(format!("{line}\r\nGET /").as_bytes());
        let longest = format!(
            "PROXY TCP6 {0} {0} 65535 65535",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        );
        for (line, source) in [
            (
                "PROXY TCP4 192.0.2.1 198.51.100.1 40000 443",
                from("192.0.2.1:40000"),
            ),
            ("PROXY TCP6 2001:db8::1 ::1 1 0", from("[2001:db8::1]:1")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2", from("192.0.2.1:1")),
            ("PROXY UNKNOWN", ProxySource::Itself),
            (
                "PROXY UNKNOWN ffff::1 whatever it says 7",
                ProxySource::Itself,
            ),
            (
                &longest,
                from("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
            ),
        ] {
            assert_eq!(read(line), Ok(Some((line.len() + 2, source))), "{line}");
        }
        for line in [
            "PROXY ",
            "PROXY  TCP4 192.0.2.1 198.51.100.1 1 2",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1 65536",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 2",
            "PROXY TCP4 192.0.2.1 198.51.100.1 01 2",
            "PROXY TCP4 192.0.2.01 198.51.100.1 1 2",
            "PROXY TCP4 ::1 ::1 1 2",
            "PROXY TCP6 192.0.2.1 192.0.2.1 1 2",
            "PROXY TCP6 fe80::1%eth0 ::1 1 2",
            "PROXY TCP5 192.0.2.1 198.51.100.1 1 2",
            "PROXY unknown",
        ] {
            assert_eq!(read(line), Err(ProxyError::Line), "{line}");
        }
        assert_eq!(read_proxy_header(b"PROXY UNKNOWN\n"), Err(ProxyError::Line));
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
        assert_eq!(long.len(), 107);
        assert!(matches!(
            read_proxy_header(long.as_bytes()),
            Ok(Some((107, _)))
        ));
        let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!(
            read_proxy_header(longer.as_bytes()),
            Err(ProxyError::TooLong)
        );
    }

    #[test]
    fn version_2_field_by_field() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x9c, 0x40, 1, 187];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().expect("v6").octets());
        v6[33] = 7;
        let tlvs = [&v4[..], &[3, 0, 4, 1, 2, 3, 4, 4, 0, 0]].concat();
        let good = [
            (0x21, 0x11, &v4[..], from("192.0.2.1:40000")),
            (0x21, 0x12, &v4, from("192.0.2.1:40000")),
            (0x21, 0x11, &tlvs, from("192.0.2.1:40000")),
            (0x21, 0x21, &v6, from("[2001:db8::1]:7")),
            (0x21, 0x31, &[0; 216], ProxySource::Unix),
            (0x21, 0x00, &[], ProxySource::Itself),
            (0x21, 0x00, &[1; 20], ProxySource::Itself),
            (0x20, 0x00, &[], ProxySource::Itself),
            (0x20, 0x11, &v4, ProxySource::Itself),
            (0x20, 0x11, &[1], ProxySource::Itself),
            (0x20, 0xFF, &[1], ProxySource::Itself),
        ];
        for (command, family, block, source) in good {
            let mut bytes = binary(command, family, block);
            let end = bytes.len();
            bytes.extend(b"GET / HTTP/1.1");
            let expected = Ok(Some((end, source)));
            assert_eq!(
                read_proxy_header(&bytes),
                expected,
                "{command:x} {family:x}"
            );
            for cut in 0..end {
                assert_eq!(read_proxy_header(&bytes[..cut]), Ok(None), "{cut}");
            }
        }
        let bad = [
            (0x11, 0x11, &v4[..], ProxyError::Version),
            (0x31, 0x11, &v4, ProxyError::Version),
            (0x22, 0x11, &v4, ProxyError::Command),
            (0x21, 0x10, &v4, ProxyError::Family),
            (0x21, 0x13, &v4, ProxyError::Family),
            (0x21, 0x41, &v4, ProxyError::Family),
            (0x21, 0x11, &v4[..11], ProxyError::TooShort),
            (0x21, 0x21, &v6[..35], ProxyError::TooShort),
            (0x21, 0x31, &[0; 215], ProxyError::TooShort),
        ];
        for (command, family, block, error) in bad {
            let bytes = binary(command, family, block);
            assert_eq!(
                read_proxy_header(&bytes),
                Err(error),
                "{command:x} {family:x}"
            );
        }
        let long = binary(0x21, 0x11, &[0; 520]);
        assert_eq!(long.len(), PROXY_HEADER_BYTES_MAX);
        assert!(matches!(read_proxy_header(&long), Ok(Some((536, _)))));
        let longer = binary(0x21, 0x11, &[0; 521]);
        // Refused by the length, not by reading on.
        assert_eq!(read_proxy_header(&longer[..16]), Err(ProxyError::TooLong));
    }

    #[test]
    fn anything_else_is_refused_with_its_first_wrong_byte() {
        for bytes in [
            &b"G"[..],
            b"PROXY\r",
            b"proxy ",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"\x81",
        ] {
            assert_eq!(
                read_proxy_header(bytes),
                Err(ProxyError::Missing),
                "{bytes:?}"
            );
        }
        for bytes in [&b""[..], b"P", b"PROXY", b"\r\n\r\n\0\r\nQUIT\n", b"\r"] {
            assert_eq!(read_proxy_header(bytes), Ok(None), "{bytes:?}");
        }
    }
}
