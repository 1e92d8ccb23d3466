//! Where to connect, and from which address.
//!
//! The rule: one local address has some 28,000 ports towards one server, so a run with more connections takes
//! further loopback addresses (127.0.0.2, …) by itself, or those that `--source` names.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::split_url;

/// Connections from one local address: below the usual range of ports, with room for those that are closing.
const PER_SOURCE: usize = 20_000;
/// Loopback addresses that are taken, at most, when ports run out.
const SOURCES_MAX: u32 = 200;

/// A URL, taken apart and looked up.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// As typed.
    pub(crate) url: String,
    /// What stands in `Host`.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) address: SocketAddr,
}

impl Target {
    /// Of `scheme://HOST:PORT/PATH`.
    pub(crate) fn parse(url: &str, scheme: &str) -> Result<Self, String> {
        let parts = split_url(url, &[scheme]).ok_or_else(|| {
            format!(
                "{url:?} is not a URL to load: write {scheme}://HOST:PORT/PATH (TLS needs a proxy)"
            )
        })?;
        let looked_up = parts
            .address
            .to_socket_addrs()
            .map_err(|error| format!("cannot find {}: {error}", parts.address))?;
        // A name with both kinds of address (localhost) means the one that most servers listen on.
        let mut addresses: Vec<_> = looked_up.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        let address = addresses
            .first()
            .ok_or_else(|| format!("{} has no address", parts.address))?;
        Ok(Self {
            url: url.to_owned(),
            authority: parts.authority.to_owned(),
            path: parts.path.to_owned(),
            address: *address,
        })
    }
}

/// The local addresses, taken in turn.
#[derive(Debug)]
pub(crate) struct Sources {
    first: Option<Ipv4Addr>,
    count: u32,
    next: u32,
    /// Whether more may be taken when ports run out.
    may_grow: bool,
}

impl Sources {
    /// As `--source` says, else as many as `connections` to this address need.
    pub(crate) fn new(named: Option<(Ipv4Addr, u32)>, to: SocketAddr, connections: usize) -> Self {
        let is_loopback = to.ip().is_loopback() && to.is_ipv4();
        let (first, count) = match named {
            Some((first, count)) => (Some(first), count.max(1)),
            None if is_loopback && connections > PER_SOURCE => {
                let count = u32::try_from(connections / PER_SOURCE + 1).unwrap_or(SOURCES_MAX);
                (Some(Ipv4Addr::LOCALHOST), count.min(SOURCES_MAX))
            }
            None => (None, 1),
        };
        Self {
            first,
            count,
            next: 0,
            may_grow: named.is_none() && is_loopback,
        }
    }

    fn take(&mut self) -> Option<IpAddr> {
        let first = u32::from(self.first?);
        let offset = self.next % self.count;
        self.next = self.next.wrapping_add(1);
        Some(Ipv4Addr::from(first.wrapping_add(offset)).into())
    }

    /// One address more, if that is allowed.
    fn grow(&mut self) -> bool {
        if !self.may_grow || self.count >= SOURCES_MAX {
            return false;
        }
        self.first.get_or_insert(Ipv4Addr::LOCALHOST);
        self.next = self.count; // the new one is the next one
        self.count += 1;
        true
    }

    /// Begins to connect; the socket becomes writable when it is decided.
    pub(crate) fn dial(&mut self, to: SocketAddr) -> io::Result<TcpStream> {
        loop {
            let source = self.take();
            match dial(source, to) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse
                    ) && self.grow() => {}
                dialled => return dialled,
            }
        }
    }
}

fn dial(source: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A message is written when it is due, not when the one before it has been acknowledged.
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
        _ => {}
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// EINPROGRESS, for which stable Rust has no name.
const IN_PROGRESS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    115
} else {
    36
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_and_a_path() {
        let target = Target::parse("ws://127.0.0.1:2661/ch/a?b=c", "ws").unwrap();
        assert_eq!(target.path, "/ch/a?b=c");
        assert_eq!(target.authority, "127.0.0.1:2661");
        assert_eq!(target.address.port(), 2661);
        for url in ["wss://localhost/", "localhost:1", "ws://"] {
            assert!(Target::parse(url, "ws").unwrap_err().contains("ws://HOST"));
        }
    }

    #[test]
    fn sources_are_taken_in_turn_and_grow_on_loopback_only() {
        let to = "127.0.0.1:1".parse().unwrap();
        let mut sources = Sources::new(None, to, 100);
        assert_eq!(sources.take(), None);
        assert!(sources.grow());
        assert_eq!(sources.take(), Some("127.0.0.2".parse().unwrap()));
        assert_eq!(sources.take(), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(Sources::new(None, to, 50_000).count, 3);
        let named = Some((Ipv4Addr::new(127, 0, 1, 0), 2));
        let mut sources = Sources::new(named, to, 50_000);
        let taken: Vec<_> = (0..3).filter_map(|_| sources.take()).collect();
        assert_eq!(taken[0], taken[2]);
        assert!(!sources.grow());
        let away = "192.0.2.1:1".parse().unwrap();
        assert!(!Sources::new(None, away, 50_000).grow());
    }
}
