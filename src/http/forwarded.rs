//! What proxies write into a request about who sent it: `X-Forwarded-For` and `Forwarded` (RFC 7239).
//!
//! The rule: both are lists to which every proxy appends, so they are read from the right, one entry at a time, and
//! whoever reads stops where trust ends. What stands further left came from strangers; it is not even looked at, so
//! it can neither lie nor spoil what our own proxies wrote.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::fields::{is_token, trim};
use super::head::Head;

/// Which header tells who the client is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: client, proxy`. The default: what proxies write unless they are told otherwise.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=client, for=proxy` (RFC 7239).
    Forwarded,
    /// None.
    Off,
}

/// Who a proxy took a request from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedNode {
    /// This address; the port is 0 if the proxy did not say it. IPv4-mapped IPv6 addresses are given as IPv4.
    Address(SocketAddr),
    /// Somebody it does not name: `unknown`, `_hidden`, an element without `for` (RFC 7239 §6.2, §6.3).
    Hidden,
}

/// An entry that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedNode;

/// The entries of the head's lists, the last one first.
pub fn forwarded_nodes(
    head: &Head,
    header: ForwardedHeader,
) -> impl Iterator<Item = Result<ForwardedNode, MalformedNode>> {
    let name = match header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
        // No header has an empty name.
        ForwardedHeader::Off => "",
    };
    let lines: Vec<&[u8]> = head.header_all(name).collect();
    nodes_of(lines, header)
}

fn nodes_of(
    mut lines: Vec<&[u8]>,
    header: ForwardedHeader,
) -> impl Iterator<Item = Result<ForwardedNode, MalformedNode>> {
    let mut rest: Option<&[u8]> = None;
    std::iter::from_fn(move || {
        loop {
            let list = match rest.take() {
                Some(list) => list,
                None => lines.pop()?,
            };
            let quotes = header == ForwardedHeader::Forwarded;
            let (before, item) = split_last(list, b',', quotes);
            rest = before;
            let item = trim(item);
            if item.is_empty() {
                continue; // RFC 9110 §5.6.1: empty items do not count.
            }
            let node = if quotes { element(item) } else { entry(item) };
            return Some(node.ok_or(MalformedNode));
        }
    })
}

/// What stands behind the last separator outside of quotes, and what stands in front of it. Seen from the right, the
/// quotes of a well-formed end are in pairs whatever a stranger has put in front of it.
fn split_last(list: &[u8], separator: u8, quotes: bool) -> (Option<&[u8]>, &[u8]) {
    let mut quoted = false;
    for (at, &byte) in list.iter().enumerate().rev() {
        if byte == b'"' && quotes && !is_escaped(list, at) {
            quoted = !quoted;
        } else if byte == separator && !quoted {
            let (before, item) = list.split_at(at);
            return (Some(before), item.get(1..).unwrap_or_default());
        }
    }
    (None, list)
}

/// Whether an odd number of backslashes stands in front of it.
fn is_escaped(list: &[u8], at: usize) -> bool {
    let before = list.get(..at).unwrap_or_default();
    let backslashes = before.iter().rev().take_while(|b| **b == b'\\').count();
    backslashes % 2 == 1
}

/// An entry of `X-Forwarded-For`: an address as proxies write it, with or without port and brackets.
fn entry(item: &[u8]) -> Option<ForwardedNode> {
    let item = std::str::from_utf8(item).ok()?;
    match item.parse::<Ipv6Addr>() {
        Ok(bare) => Some(address(IpAddr::V6(bare), 0)),
        Err(_) => node(item),
    }
}

/// An element of `Forwarded`: pairs with `;` between, of which `for` counts. It may stand there once (RFC 7239 §4).
fn element(item: &[u8]) -> Option<ForwardedNode> {
    let mut found = None;
    let mut rest = Some(item);
    while let Some(pairs) = rest {
        let (before, pair) = split_last(pairs, b';', true);
        rest = before;
        let pair = trim(pair);
        let at = pair.iter().position(|b| *b == b'=')?;
        let (name, value) = pair.split_at(at);
        let value = unquoted(value.get(1..)?)?;
        if !is_token(name) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") && found.replace(node(&value)?).is_some() {
            return None;
        }
    }
    Some(found.unwrap_or(ForwardedNode::Hidden))
}

/// A token, or what a quoted string means (RFC 9110 §5.6.4).
fn unquoted(value: &[u8]) -> Option<String> {
    let Some(inside) = value.strip_prefix(b"\"") else {
        return is_token(value)
            .then(|| String::from_utf8(value.to_vec()).ok())
            .flatten();
    };
    let mut meant = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    loop {
        match bytes.next()? {
            b'"' => break,
            b'\\' => meant.push(*bytes.next()?),
            byte => meant.push(*byte),
        }
    }
    bytes.next().is_none().then_some(())?;
    String::from_utf8(meant).ok()
}

/// `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`, `unknown`, `_hidden` (RFC 7239 §6).
fn node(text: &str) -> Option<ForwardedNode> {
    let (name, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (ip, port) = bracketed.split_once(']')?;
            let ip: Ipv6Addr = ip.parse().ok()?;
            let port = match port {
                "" => None,
                _ => Some(port.strip_prefix(':')?),
            };
            return Some(address(IpAddr::V6(ip), self::port(port)?));
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let port = self::port(port)?;
    if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        return Some(ForwardedNode::Hidden);
    }
    let ip: Ipv4Addr = name.parse().ok()?;
    Some(address(IpAddr::V4(ip), port))
}

fn address(ip: IpAddr, port: u16) -> ForwardedNode {
    ForwardedNode::Address(SocketAddr::new(ip.to_canonical(), port))
}

/// One to five digits, or a hidden one, which counts as none said.
fn port(text: Option<&str>) -> Option<u16> {
    match text {
        None => Some(0),
        Some(text) if is_obfuscated(text) => Some(0),
        Some(text) => text
            .parse()
            .ok()
            .filter(|_| text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())),
    }
}

/// RFC 7239 §6.3.
fn is_obfuscated(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    text.strip_prefix('_')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ForwardedHeader::{Forwarded, XForwardedFor};

    /// The entries from the right; `?` is somebody hidden, `!` a malformed one.
    fn read(header: ForwardedHeader, lines: &[&str]) -> String {
        let lines = lines.iter().map(|line| line.as_bytes()).collect();
        let nodes = nodes_of(lines, header).map(|node| match node {
            Ok(ForwardedNode::Address(addr)) => addr.to_string(),
            Ok(ForwardedNode::Hidden) => "?".to_owned(),
            Err(MalformedNode) => "!".to_owned(),
        });
        nodes.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn x_forwarded_for_from_the_right() {
        for (lines, nodes) in [
            (&["192.0.2.1"][..], "192.0.2.1:0"),
            (&["192.0.2.1, 10.0.0.1"], "10.0.0.1:0 192.0.2.1:0"),
            (&["192.0.2.1,10.0.0.1 ,\t"], "10.0.0.1:0 192.0.2.1:0"),
            (&["192.0.2.1", "10.0.0.1"], "10.0.0.1:0 192.0.2.1:0"),
            (&["192.0.2.1:4711"], "192.0.2.1:4711"),
            (&["2001:db8::1"], "[2001:db8::1]:0"),
            (&["[2001:db8::1]"], "[2001:db8::1]:0"),
            (&["[2001:db8::1]:80"], "[2001:db8::1]:80"),
            (&["::ffff:192.0.2.1"], "192.0.2.1:0"),
            (&["unknown, _x1"], "? ?"),
            (&[], ""),
            (&["", " , "], ""),
            (&["localhost"], "!"),
            (&["192.0.2.256"], "!"),
            (&["192.0.2.1:"], "!"),
            (&["192.0.2.1:99999"], "!"),
            (&["192.0.2.1:+1"], "!"),
            (&["[2001:db8::1"], "!"),
            (&["[2001:db8::1]80"], "!"),
            (&["fe80::1%eth0"], "!"),
            (&["\"192.0.2.1\""], "!"),
            (&["evil\", 192.0.2.1"], "192.0.2.1:0 !"),
        ] {
            assert_eq!(read(XForwardedFor, lines), nodes, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_from_the_right() {
        for (lines, nodes) in [
            (&["for=192.0.2.1"][..], "192.0.2.1:0"),
            (&["FOR=192.0.2.1;proto=https;by=203.0.113.9"], "192.0.2.1:0"),
            (&["proto=http; For=\"192.0.2.1:4711\""], "192.0.2.1:4711"),
            (&["for=\"[2001:db8::1]:80\""], "[2001:db8::1]:80"),
            (&["for=\"[2001:db8::1]\""], "[2001:db8::1]:0"),
            (
                &["for=192.0.2.1, for=198.51.100.7"],
                "198.51.100.7:0 192.0.2.1:0",
            ),
            (
                &["for=192.0.2.1", "for=198.51.100.7"],
                "198.51.100.7:0 192.0.2.1:0",
            ),
            (&["for=_hidden, for=unknown, proto=http"], "? ? ?"),
            (&["for=\"_x:_y\""], "?"),
            (&["for=\"\\192.0.2.1\""], "192.0.2.1:0"),
            (
                &["host=\"a,b;for=1.1.1.1\\\"\";for=192.0.2.1"],
                "192.0.2.1:0",
            ),
            (&["for=192.0.2.1;for=192.0.2.2"], "!"),
            (&["for=192.0.2.1:80"], "!"),
            (&["for=[2001:db8::1]"], "!"),
            (&["for=\"2001:db8::1\""], "!"),
            (&["for="], "!"),
            (&["192.0.2.1"], "!"),
            (&["for=\"192.0.2.1"], "!"),
            (&["for=\"192.0.2.1\"x"], "!"),
            // What a stranger left open does not reach what our proxy appended.
            (&["for=\"x, for=192.0.2.1"], "192.0.2.1:0 !"),
            (
                &["for=\"x\\, for=\"[2001:db8::1]:80\""],
                "[2001:db8::1]:80 !",
            ),
        ] {
            assert_eq!(read(Forwarded, lines), nodes, "{lines:?}");
        }
    }

    #[test]
    fn off_reads_nothing() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
        let head = Head::parse(head, &super::super::HeadLimits::default()).expect("a head");
        assert_eq!(forwarded_nodes(&head, ForwardedHeader::Off).count(), 0);
        assert_eq!(forwarded_nodes(&head, XForwardedFor).count(), 1);
        assert_eq!(forwarded_nodes(&head, Forwarded).count(), 0);
    }
}
