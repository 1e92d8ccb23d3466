//! Addresses to listen on, and the socket options that accepted sockets inherit.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, TcpKeepalive, Type};

use super::socket::Socket;
use crate::hub::Peer;

/// Somewhere to listen: `127.0.0.1:2661`, `[::1]:2661`, `localhost:2661` (both loopback addresses),
/// `*:2661` (every address of the machine), `unix:/run/dunlin.sock`, `ipc:/run/dunlin.ipc` (a Unix socket that carries
/// JSON values instead of HTTP and that only this user may open).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// Both loopback addresses at this port.
    Localhost(u16),
    /// Every IPv4 and IPv6 address of this machine at this port.
    Any(u16),
    /// A Unix socket at this path.
    Unix(PathBuf),
    /// A Unix socket at this path for streams of JSON values.
    Ipc(PathBuf),
}

impl Address {
    /// The addresses to bind, in order. The second one of a pair may be missing on this machine.
    fn socket_addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Tcp(addr) => vec![*addr],
            Self::Localhost(port) => {
                vec![
                    (Ipv4Addr::LOCALHOST, *port).into(),
                    (Ipv6Addr::LOCALHOST, *port).into(),
                ]
            }
            Self::Any(port) => {
                vec![
                    (Ipv4Addr::UNSPECIFIED, *port).into(),
                    (Ipv6Addr::UNSPECIFIED, *port).into(),
                ]
            }
            Self::Unix(_) | Self::Ipc(_) => Vec::new(),
        }
    }

    /// Whether machines other than this one can reach it.
    pub fn is_public(&self) -> bool {
        match self {
            Self::Tcp(addr) => !addr.ip().to_canonical().is_loopback(),
            Self::Any(_) => true,
            Self::Localhost(_) | Self::Unix(_) | Self::Ipc(_) => false,
        }
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError(text.to_owned());
        match text.split_once(':') {
            Some(("unix" | "ipc", "")) => return Err(bad()),
            Some(("unix", path)) => return Ok(Self::Unix(path.into())),
            Some(("ipc", path)) => return Ok(Self::Ipc(path.into())),
            _ => {}
        }
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self::Tcp(addr));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        match host {
            "localhost" => Ok(Self::Localhost(port)),
            "*" => Ok(Self::Any(port)),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::Any(port) => write!(f, "*:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Ipc(path) => write!(f, "ipc:{}", path.display()),
        }
    }
}

/// A text that is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        write!(
            f,
            "{text:?} is not an address to listen on: \
             write IP:PORT, [IPv6]:PORT, localhost:PORT, *:PORT, unix:PATH or ipc:PATH"
        )
    }
}

impl std::error::Error for AddressError {}

/// A bound listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
    /// Its connections carry values.
    Ipc(UnixListener, PathBuf),
}

impl Listener {
    /// Binds everything an [`Address`] stands for.
    pub(crate) fn bind(address: &Address) -> io::Result<Vec<Self>> {
        // A port that the system chose for the first of a pair may be taken on the second: choose again.
        for _ in 1..PAIR_ATTEMPTS {
            match Self::bind_once(address) {
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse
                        && matches!(address, Address::Localhost(0) | Address::Any(0)) => {}
                bound => return bound,
            }
        }
        Self::bind_once(address)
    }

    fn bind_once(address: &Address) -> io::Result<Vec<Self>> {
        match address {
            Address::Unix(path) => {
                return Ok(vec![Self::Unix(bind_unix(path)?, path.clone())]);
            }
            Address::Ipc(path) => {
                return Ok(vec![Self::Ipc(bind_for_us(path)?, path.clone())]);
            }
            _ => {}
        }
        let mut bound: Vec<Self> = Vec::new();
        for mut addr in address.socket_addresses() {
            // Port 0: the second of a pair takes the port that the system gave to the first.
            if let (0, Some(Self::Tcp(first))) = (addr.port(), bound.first()) {
                addr.set_port(first.local_addr()?.port());
            }
            match bind_tcp(addr) {
                Ok(listener) => bound.push(Self::Tcp(listener)),
                // A machine without IPv6 still serves what it has.
                Err(error) if !bound.is_empty() && is_missing_family(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bound)
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => Ok(Address::Tcp(listener.local_addr()?)),
            Self::Unix(_, path) => Ok(Address::Unix(path.clone())),
            Self::Ipc(_, path) => Ok(Address::Ipc(path.clone())),
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Self::Unix(listener, _) | Self::Ipc(listener, _) => {
                listener.register(registry, token, Interest::READABLE)
            }
        }
    }

    /// Its connections carry values instead of HTTP.
    pub(crate) fn is_for_values(&self) -> bool {
        matches!(self, Self::Ipc(..))
    }

    pub(crate) fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, addr) = listener.accept()?;
                // `::ffff:192.0.2.1` is printed and counted as the IPv4 address it means.
                let peer = SocketAddr::new(addr.ip().to_canonical(), addr.port());
                Ok((stream.into(), Peer::Tcp(peer)))
            }
            Self::Unix(listener, _) | Self::Ipc(listener, _) => {
                let (stream, _) = listener.accept()?;
                Ok((stream.into(), Peer::Unix))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) | Self::Ipc(_, path) = self {
            // It may be gone already; there is nobody to tell.
            _ = std::fs::remove_file(path);
        }
    }
}

/// Unsent bytes in the kernel at which a socket stops being writable. Without it a reader that has stopped
/// pins megabytes of kernel memory; `SO_SNDBUF` would prevent that too, and slow down everybody else.
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT_BYTES: u32 = 16 << 10;
/// Sent and not acknowledged for so long: the peer is gone.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(30);
const BACKLOG: i32 = 4096;
/// How often a common port for a pair is looked for.
const PAIR_ATTEMPTS: usize = 16;

/// Options go on the listener; accepted sockets inherit them, so accepting costs one system call.
fn bind_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    }
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // A socket file that nobody listens behind was left by a process that is gone.
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        Err(error) => Err(error),
    }
}

/// As [`bind_unix`], for nobody but this user (mode 0600, as Ethereum nodes do it): it comes into being under another
/// name, so that there is no moment in which somebody else could open it.
fn bind_for_us(path: &Path) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let first = PathBuf::from(name);
    let listener = bind_unix(&first)?;
    let only_us = std::fs::Permissions::from_mode(0o600);
    let moved =
        std::fs::set_permissions(&first, only_us).and_then(|()| std::fs::rename(&first, path));
    if let Err(error) = moved {
        _ = std::fs::remove_file(&first);
        return Err(error);
    }
    Ok(listener)
}

fn is_missing_family(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::AddrNotAvailable
        || kind == io::ErrorKind::Unsupported
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// "Address family not supported": std has no kind for it.
const EAFNOSUPPORT: i32 = 97;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed() {
        let good = [
            "127.0.0.1:80",
            "[::1]:2661",
            "localhost:0",
            "*:443",
            "unix:/run/x.sock",
            "ipc:/run/x.ipc",
        ];
        for text in good {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
        let bad = [
            "",
            "80",
            ":80",
            "example.org:80",
            "127.0.0.1",
            "unix:",
            "ipc:",
            "localhost:70000",
        ];
        for text in bad {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        let public = |text: &str| text.parse::<Address>().expect(text).is_public();
        assert!(public("0.0.0.0:1") && public("*:1") && public("[::]:1") && public("192.0.2.1:1"));
        assert!(!public("127.0.0.9:1") && !public("localhost:1") && !public("unix:/x"));
    }

    #[test]
    fn an_ipc_socket_is_ours_alone() {
        let folder = std::env::temp_dir().join(format!("dunlin-ipc-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("x.ipc");
        // One that was left by a process that is gone is replaced.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket that is left"));
        {
            let address = Address::Ipc(path.clone());
            let _bound = Listener::bind(&address).expect("it can be bound");
            let mode = std::fs::metadata(&path)
                .expect("a socket")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
            let second = Listener::bind(&address).map(|_| ()).map_err(|e| e.kind());
            assert_eq!(second, Err(io::ErrorKind::AddrInUse));
        }
        assert!(!path.exists(), "it goes with its listener");
        std::fs::remove_dir_all(&folder).expect("the folder goes");
    }

    #[test]
    fn both_loopback_addresses_share_a_port() {
        let bound = Listener::bind(&Address::Localhost(0)).expect("loopback");
        let mut ports = bound
            .iter()
            .map(|l| match l.local_address().expect("an address") {
                Address::Tcp(addr) => addr.port(),
                other => panic!("{other}"),
            });
        let first = ports.next().expect("one");
        assert!(first != 0 && ports.all(|port| port == first));
    }
}
