//! Who is on the other side: proxies that are trusted, and whom they speak for.
//!
//! The rule: the address of a connection is the one the kernel saw. Only where that is a trusted proxy's, its word
//! is taken for the client's: once in front of the first byte (PROXY protocol), then with each request (a header).
//!
//! ```text
//!   accept ── listener declares PROXY ──▶ peer trusted? ── no ──▶ closed, counted
//!      │                                      │ yes
//!      │                                      ▼
//!      │                                 PROXY header ──▶ peer = its source
//!      ▼                                      │
//!   request ◀─────────────────────────────────┘
//!      └─▶ peer trusted? ── yes ──▶ client = the rightmost address of the header that is no trusted proxy's
//!                        └─ no ───▶ client = peer, whatever the header says
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::connection::{Http, Stage};
use super::worker::Core;
use crate::http::{
    ForwardedHeader, ForwardedNode, Head, MalformedNode, ProxySource, forwarded_nodes,
    read_proxy_header,
};
use crate::hub::Peer;

/// Whose word is taken for who the client is, and in which form.
#[derive(Debug, Clone, Default)]
pub struct ProxySettings {
    /// Peers that are believed. None: nobody.
    pub trusted: Vec<TrustedProxy>,
    /// The header they say it with.
    pub header: ForwardedHeader,
    /// Numbers of the listeners on which every connection begins with a PROXY protocol header.
    pub listeners: Vec<u16>,
}

impl ProxySettings {
    /// Whether this peer is one of the trusted proxies.
    pub fn trusts(&self, peer: Peer) -> bool {
        self.trusted.iter().any(|proxy| proxy.is(peer))
    }

    /// The client that a request of `peer` is made for.
    fn client(&self, peer: Peer, head: &Head) -> Result<Peer, MalformedNode> {
        let mut client = peer;
        if self.trusted.is_empty() || !self.trusts(peer) {
            return Ok(client);
        }
        for node in forwarded_nodes(head, self.header) {
            match node? {
                ForwardedNode::Address(addr) => match told_by(client, addr) {
                    Some(told) => client = told,
                    None => break,
                },
                // Whoever hides somebody answers for them.
                ForwardedNode::Hidden => break,
            }
            if !self.trusts(client) {
                break;
            }
        }
        Ok(client)
    }
}

/// What an address means that `teller` says. A loopback address is that of the teller's own machine, which is this
/// one only if the teller is: nobody becomes local by hearsay.
fn told_by(teller: Peer, addr: SocketAddr) -> Option<Peer> {
    (teller.is_local() || !addr.ip().is_loopback()).then_some(Peer::Tcp(addr))
}

/// Peers that are believed: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`, `loopback` (every loopback address), `unix`
/// (whoever connects through a Unix socket).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Addresses that share their first `prefix` bits with `ip`.
    Network {
        /// The network's first address.
        ip: IpAddr,
        /// How many bits count.
        prefix: u8,
    },
    /// 127.0.0.0/8 and ::1.
    Loopback,
    /// A process on this machine, through a Unix socket.
    Unix,
}

impl TrustedProxy {
    /// The words that are no addresses.
    pub const WORDS: [&'static str; 2] = ["loopback", "unix"];

    /// Whether this peer is meant.
    pub fn is(self, peer: Peer) -> bool {
        match (self, peer) {
            (Self::Unix, Peer::Unix) => true,
            (Self::Loopback, Peer::Tcp(addr)) => addr.ip().is_loopback(),
            (Self::Network { ip, prefix }, Peer::Tcp(addr)) => {
                network_of(addr.ip(), prefix) == Some(ip)
            }
            _ => false,
        }
    }
}

/// The address with only its first bits; `None` if it has fewer.
fn network_of(ip: IpAddr, prefix: u8) -> Option<IpAddr> {
    let prefix = u32::from(prefix);
    match ip {
        IpAddr::V4(ip) => {
            let host = 32_u32.checked_sub(prefix)?;
            let mask = u32::MAX.checked_shl(host).unwrap_or(0);
            Some(IpAddr::V4((ip.to_bits() & mask).into()))
        }
        IpAddr::V6(ip) => {
            let host = 128_u32.checked_sub(prefix)?;
            let mask = u128::MAX.checked_shl(host).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask)))
        }
    }
}

impl FromStr for TrustedProxy {
    type Err = TrustedProxyError;

    fn from_str(text: &str) -> Result<Self, TrustedProxyError> {
        let error = |why| TrustedProxyError {
            text: text.to_owned(),
            why,
        };
        match text {
            "loopback" => return Ok(Self::Loopback),
            "unix" => return Ok(Self::Unix),
            _ => {}
        }
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| error(Why::NoAddress))?;
        if ip.to_canonical() != ip {
            // Peers are compared as the IPv4 addresses they are: this would never match.
            return Err(error(Why::Mapped));
        }
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) => match digits.parse() {
                Ok(0) => return Err(error(Why::Everybody)),
                Ok(prefix) if prefix <= bits => prefix,
                _ => return Err(error(Why::Prefix(bits))),
            },
        };
        match network_of(ip, prefix) {
            Some(network) if network == ip => Ok(Self::Network { ip, prefix }),
            Some(network) => Err(error(Why::HostBits(network, prefix))),
            None => Err(error(Why::Prefix(bits))),
        }
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { ip, prefix } => write!(f, "{ip}/{prefix}"),
            Self::Loopback => f.write_str("loopback"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// A text that is no [`TrustedProxy`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxyError {
    text: String,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    NoAddress,
    Mapped,
    Everybody,
    Prefix(u8),
    HostBits(IpAddr, u8),
}

impl fmt::Display for TrustedProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        match &self.why {
            Why::NoAddress => write!(
                f,
                "{text:?} is no proxy to trust: write an address, a network (\"10.0.0.0/8\"), \"loopback\" or \"unix\""
            ),
            Why::Mapped => write!(f, "{text:?}: write an IPv4-mapped address as IPv4"),
            Why::Everybody => write!(
                f,
                "{text:?} is everybody, and then every client says itself who it is: name the proxies"
            ),
            Why::Prefix(bits) => {
                write!(f, "{text:?}: behind the / stands a number from 1 to {bits}")
            }
            Why::HostBits(network, prefix) => write!(
                f,
                "{text:?} is an address within its network, did you mean \"{network}/{prefix}\"?"
            ),
        }
    }
}

impl std::error::Error for TrustedProxyError {}

/// What became of the bytes in front of the first request.
pub(super) enum Introduced {
    /// Not all of them are there.
    NotYet,
    /// So many were the header; what follows is HTTP.
    After(usize),
    /// They are no header: the connection is dropped.
    Refused,
}

impl Core {
    /// Whether a connection on this listener begins with a PROXY header, and whether this peer may send one.
    pub(super) fn introduces_itself(&mut self, listener: u16, peer: Peer) -> (bool, bool) {
        let proxies = &self.settings.proxies;
        let expected = proxies.listeners.contains(&listener);
        let refused = expected && !proxies.trusts(peer);
        if refused {
            self.hub.metrics.refuse("proxy_protocol_peer");
            self.notice("proxy_protocol_peer", || {
                format!(
                    "closed a connection from {peer}: this listener takes PROXY protocol headers \
                     (setting `proxy_protocol`), and only from `trusted_proxies`"
                )
            });
        }
        (expected, refused)
    }

    /// Reads the PROXY header: from here on the connection is the client's, and counted as that.
    pub(super) fn read_introduction(
        &mut self,
        http: &mut Http,
        account: &mut u32,
        data: &[u8],
    ) -> Introduced {
        let proxy = http.peer;
        let (end, source) = match read_proxy_header(data) {
            Ok(None) => return Introduced::NotYet,
            Ok(Some(read)) => read,
            Err(error) => {
                self.hub.metrics.refuse(error.name());
                self.notice(error.name(), || {
                    format!(
                        "closed a connection of the proxy {proxy}: {error} (setting `proxy_protocol`)"
                    )
                });
                return Introduced::Refused;
            }
        };
        http.stage = Stage::Head;
        let told = match source {
            ProxySource::Address(addr) => told_by(proxy, addr),
            ProxySource::Unix => proxy.is_local().then_some(Peer::Unix),
            ProxySource::Itself => None,
        };
        if let Some(peer) = told {
            http.peer = peer;
            http.client = peer;
            if let Err(refusal) = self.hand_over(account, peer) {
                self.refuse_unread(http, refusal);
            }
        }
        Introduced::After(end)
    }

    /// Notes whose request this is.
    pub(super) fn learn_client(&mut self, http: &mut Http, head: &Head) {
        http.client = match self.settings.proxies.client(http.peer, head) {
            Ok(client) => client,
            Err(MalformedNode) => {
                self.hub.metrics.forwarded_malformed_total += 1;
                let peer = http.peer;
                self.notice("forwarded_malformed", || {
                    format!("the proxy {peer} names no client that can be read (setting `forwarded_header`)")
                });
                peer
            }
        };
    }

    /// The account that a plain request is charged to: connections of a proxy carry those of many clients, so the
    /// connection itself stays the proxy's.
    pub(super) fn account_of(&mut self, http: &Http, account: u32) -> u32 {
        if http.client == http.peer {
            return account;
        }
        let trusted = self.settings.proxies.trusts(http.client);
        self.addresses.account(http.client, trusted, self.now.ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Peer {
        let ip: IpAddr = text.parse().expect("an address");
        Peer::Tcp(SocketAddr::new(ip, 0))
    }

    #[test]
    fn proxies_are_read_printed_and_matched() {
        for (text, inside, outside) in [
            (
                "10.0.0.0/8",
                &["10.0.0.1", "10.255.255.255"][..],
                &["11.0.0.1", "a00::"][..],
            ),
            ("192.0.2.7/32", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]),
            ("128.0.0.0/1", &["255.0.0.1"], &["127.0.0.1"]),
            (
                "2001:db8::/33",
                &["2001:db8::1", "2001:db8:7fff::"],
                &["2001:db8:8000::", "::"],
            ),
            ("::1/128", &["::1"], &["::2", "127.0.0.1"]),
            ("loopback", &["127.9.9.9", "::1"], &["128.0.0.1"]),
            ("unix", &[], &["127.0.0.1"]),
        ] {
            let proxy: TrustedProxy = text.parse().expect(text);
            assert_eq!(proxy.to_string(), text);
            assert!(inside.iter().all(|ip| proxy.is(tcp(ip))), "{text}");
            assert!(!outside.iter().any(|ip| proxy.is(tcp(ip))), "{text}");
            assert_eq!(proxy.is(Peer::Unix), text == "unix");
        }
        assert_eq!("192.0.2.7".parse(), "192.0.2.7/32".parse::<TrustedProxy>());
        for (text, says) in [
            ("", "is no proxy"),
            ("proxy.example", "is no proxy"),
            ("10.0.0.0/33", "from 1 to 32"),
            ("::/129", "from 1 to 128"),
            ("10.0.0.0/x", "from 1 to 32"),
            ("0.0.0.0/0", "is everybody"),
            ("::/0", "is everybody"),
            ("10.1.2.3/8", "did you mean \"10.0.0.0/8\"?"),
            ("::ffff:10.0.0.1", "as IPv4"),
        ] {
            let error = text.parse::<TrustedProxy>().expect_err(text).to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_no_proxy() {
        let settings = ProxySettings {
            trusted: ["10.0.0.0/8", "loopback", "unix"]
                .map(|text| text.parse().expect(text))
                .to_vec(),
            ..ProxySettings::default()
        };
        let client = |peer: Peer, list: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {list}\r\n\r\n")
                .into_bytes();
            let head = Head::parse(&head, &Default::default()).expect("a head");
            settings.client(peer, &head)
        };
        let (near, far) = (tcp("127.0.0.1"), tcp("10.0.0.1"));
        for (peer, list, expected) in [
            (near, "203.0.113.1", tcp("203.0.113.1")),
            (far, "203.0.113.1", tcp("203.0.113.1")),
            (Peer::Unix, "203.0.113.1", tcp("203.0.113.1")),
            // The client lied; the proxy did not.
            (near, "198.51.100.66, 203.0.113.1", tcp("203.0.113.1")),
            (near, "nonsense, \", 203.0.113.1", tcp("203.0.113.1")),
            (near, "203.0.113.1, 10.0.0.9, 10.0.0.1", tcp("203.0.113.1")),
            // Somebody inside: the leftmost of them.
            (near, "10.0.0.2, 10.0.0.1", tcp("10.0.0.2")),
            (near, "unknown", near),
            (near, "unknown, 10.0.0.1", far),
            (near, "", near),
            // Local is who this machine's own proxy says is local.
            (near, "127.0.0.5", tcp("127.0.0.5")),
            (far, "127.0.0.5", far),
            (near, "127.0.0.5, 10.0.0.1", far),
            // Nobody else is believed.
            (tcp("203.0.113.9"), "198.51.100.1", tcp("203.0.113.9")),
            (tcp("203.0.113.9"), "nonsense", tcp("203.0.113.9")),
        ] {
            assert_eq!(client(peer, list), Ok(expected), "{peer} {list}");
        }
        assert_eq!(client(near, "203.0.113.1, nonsense"), Err(MalformedNode));
    }
}
