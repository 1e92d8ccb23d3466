//! What kind of house a [`Run`](super::Run) lives in, and through which door somebody comes.
//!
//! | house | one in | what is different | what may happen to the polite |
//! | --- | --- | --- | --- |
//! | plain | | | nothing they did not ask for |
//! | tight | 3 | a memory budget of a few KiB | 503 above 7/8 of it, 1013 or an end beyond, and no more of them than the server has counted |
//! | proxied | 4 | proxies in 10.0.0.0/8 and on Unix sockets, listener 1 wants PROXY headers, few connections per address | 429, but only when their own address has as many as it may |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::chooser::Chooser;
use super::world::local_peer;
use crate::hub::Peer as From;
use crate::server::{AddressLimits, CallSettings, ProxySettings, TrustedProxy, WorkerSettings};

/// What is special about a house.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct House {
    /// The memory budget, if it is so small that it will be used up.
    pub(crate) budget: Option<usize>,
    /// Connections that one address may have, where clients come through proxies too.
    pub(crate) per_address: Option<u32>,
}

/// Who connects, from where, and what is said before the first request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// As the kernel sees it.
    pub(crate) from: From,
    pub(crate) listener: u16,
    /// In front of everything else.
    pub(crate) introduction: Vec<u8>,
    /// Sent with each request as `X-Forwarded-For`.
    pub(crate) forwarded: Option<String>,
    /// Who it is in truth, as far as the server can know.
    pub(crate) client: From,
    /// It is not to be let in: its introduction is missing or wrong, or it may not introduce anybody.
    pub(crate) is_wrong: bool,
}

/// The only listener that wants PROXY headers.
const PROXY_LISTENER: u16 = 1;

impl House {
    pub(crate) fn choose(chooser: &mut Chooser) -> Self {
        Self {
            budget: chooser.one_in(3).then(|| (1 << 10) << chooser.below(6)),
            per_address: chooser.one_in(4).then(|| 1 + chooser.below(3) as u32),
        }
    }

    pub(crate) fn settings(&self, chooser: &mut Chooser) -> WorkerSettings {
        let mut settings = WorkerSettings {
            receive_buffer_bytes: 4096 << chooser.below(5),
            connections_max: 64,
            calls: CallSettings {
                connections_max: 1 + chooser.index(6),
                queue_max: 2 + chooser.index(20),
                ..CallSettings::default()
            },
            ..WorkerSettings::default()
        };
        if let Some(budget) = self.budget {
            settings.hub.memory_budget_bytes = budget;
        }
        if let Some(connections_max) = self.per_address {
            settings.address = AddressLimits {
                connections_max,
                ..AddressLimits::default()
            };
            let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0));
            settings.proxies = ProxySettings {
                trusted: vec![TrustedProxy::Network { ip, prefix: 8 }, TrustedProxy::Unix],
                listeners: vec![PROXY_LISTENER],
                ..ProxySettings::default()
            };
        }
        settings
    }

    /// The next one to come.
    pub(crate) fn caller(&self, chooser: &mut Chooser) -> Caller {
        let from = match chooser.index(3) {
            0 => local_peer(),
            1 => From::Unix,
            _ => far(203, chooser.below(250) as u8),
        };
        let mut caller = Caller {
            from,
            listener: 0,
            introduction: Vec::new(),
            forwarded: None,
            client: from,
            is_wrong: false,
        };
        if self.per_address.is_some() {
            let client = client(chooser);
            caller.client = client;
            match chooser.index(6) {
                1 if is_stranger(client) => {
                    // It says whom it speaks for, but nobody has asked it.
                    caller.from = client;
                    caller.forwarded = Some("198.51.100.99".to_owned());
                }
                0 | 1 => caller.from = client,
                2 | 3 => caller.forward(chooser),
                _ => caller.introduce(chooser),
            }
        }
        caller
    }
}

impl Caller {
    /// Through a proxy that names it in each request.
    fn forward(&mut self, chooser: &mut Chooser) {
        let proxy = [far(10, 1), From::Unix][chooser.index(2)];
        let who = self.client.to_string();
        self.from = proxy;
        if self.client == From::Unix {
            self.client = proxy; // "unix" is no address.
        }
        self.forwarded = Some(match chooser.index(5) {
            0 => who,
            // What the client says itself stands further left.
            1 => format!("198.51.100.66, {who}"),
            2 => format!("nonsense, {who}, 10.9.9.9"),
            3 => {
                self.client = proxy;
                "unknown".to_owned()
            }
            _ => {
                self.client = proxy;
                format!("{who}, nonsense")
            }
        });
    }

    /// Through a proxy that names it in front of the first byte.
    fn introduce(&mut self, chooser: &mut Chooser) {
        self.listener = PROXY_LISTENER;
        self.from = [far(10, 2), From::Unix][chooser.index(2)];
        let version = chooser.index(2);
        self.introduction = match (self.client, version) {
            (From::Tcp(addr), 0) => line(addr),
            (From::Tcp(addr), _) => binary(addr, chooser.index(20)),
            (_, 0) => b"PROXY UNKNOWN\r\n".to_vec(),
            (_, _) => binary_head(0x20, 0, 0),
        };
        if self.client == From::Unix {
            self.client = self.from;
        }
        if !chooser.one_in(6) {
            return;
        }
        self.is_wrong = true;
        match chooser.index(5) {
            0 => self.introduction.clear(),
            1 => self.introduction.insert(0, b'X'),
            2 => drop(self.introduction.pop()),
            3 => self.introduction = b"PROXY TCP4 203.0.113.256 198.51.100.1 1 2\r\n".to_vec(),
            // Right, but by somebody who is no proxy.
            _ => self.from = far(203, 1),
        }
    }
}

/// Whether both mean the same client; ports tell nothing.
pub(crate) fn is_same(a: From, b: From) -> bool {
    match (a, b) {
        (From::Tcp(a), From::Tcp(b)) => a.ip() == b.ip(),
        (From::Unix, From::Unix) => true,
        _ => false,
    }
}

/// Whether its address is counted: that of a client from elsewhere, which no proxy is.
pub(crate) fn is_stranger(client: From) -> bool {
    match client {
        From::Tcp(addr) => {
            !client.is_local() && !matches!(addr.ip(), IpAddr::V4(ip) if ip.octets()[0] == 10)
        }
        From::Unix => false,
    }
}

/// How the application calls it.
pub(crate) fn name_of(client: From) -> String {
    match client {
        From::Tcp(addr) => addr.ip().to_string(),
        From::Unix => "unix".to_owned(),
    }
}

/// One of few, so that they meet.
fn client(chooser: &mut Chooser) -> From {
    match chooser.index(4) {
        0 => From::Unix,
        1 => From::Tcp(SocketAddr::new(
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
            40_000,
        )),
        n => far(203, n as u8),
    }
}

fn far(network: u8, host: u8) -> From {
    let ip = match network {
        10 => Ipv4Addr::new(10, 0, 0, host),
        _ => Ipv4Addr::new(203, 0, 113, host),
    };
    From::Tcp(SocketAddr::new(IpAddr::V4(ip), 40_000))
}

/// Version 1 of the PROXY protocol.
fn line(client: SocketAddr) -> Vec<u8> {
    let (family, server) = match client.ip() {
        IpAddr::V4(_) => ("TCP4", "198.51.100.1"),
        IpAddr::V6(_) => ("TCP6", "2001:db8::ffff"),
    };
    let (ip, port) = (client.ip(), client.port());
    format!("PROXY {family} {ip} {server} {port} 443\r\n").into_bytes()
}

/// Version 2, with so many bytes of a TLV behind the addresses.
fn binary(client: SocketAddr, extra: usize) -> Vec<u8> {
    let mut addresses = Vec::new();
    let family = match client.ip() {
        IpAddr::V4(ip) => {
            addresses.extend(ip.octets());
            addresses.extend([198, 51, 100, 1]);
            0x11
        }
        IpAddr::V6(ip) => {
            addresses.extend(ip.octets());
            addresses.extend([0; 16]);
            0x21
        }
    };
    addresses.extend(client.port().to_be_bytes());
    addresses.extend(443_u16.to_be_bytes());
    addresses.extend([4, 0, extra as u8]);
    addresses.resize(addresses.len() + extra, 0);
    let mut header = binary_head(0x21, family, addresses.len() as u16);
    header.extend(addresses);
    header
}

fn binary_head(command: u8, family: u8, len: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend(len.to_be_bytes());
    header
}
