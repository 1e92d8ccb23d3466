//! TCP and Unix streams as the worker's transport.
//!
//! Both are kept as a [`TcpStream`], which is nothing but a file descriptor: `recv`, `send`, `writev` and `shutdown`
//! are the same for every stream socket, so that a socket takes four bytes and no read asks which kind it is.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use crate::server::Transport;

/// A connected socket, registered once for both directions, edge-triggered.
#[derive(Debug)]
pub(crate) struct Socket(TcpStream);

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        let stream: std::net::TcpStream = OwnedFd::from(stream).into();
        Self(TcpStream::from_std(stream))
    }
}

impl Socket {
    /// Begins to connect; the socket becomes writable when it is connected.
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        if is_itself(&stream, addr) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Connects to the Unix socket at `path`, at once or not at all.
    pub(crate) fn connect_unix(path: &str) -> io::Result<Self> {
        UnixStream::connect(path).map(Self::from)
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.0.register(registry, token, both)
    }
}

/// Whether a socket is connected to itself. Where nobody listens on a port that the system gives to outgoing
/// connections, it may choose just that one for ours, and TCP lets both ends be the same.
fn is_itself(stream: &TcpStream, addr: SocketAddr) -> bool {
    stream.local_addr().is_ok_and(|own| own == addr)
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Socket {
    fn close_write(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    /// epoll(7), question 9: for a stream, a short read means that nothing is left; the next arrival,
    /// the peer's end included, is a new edge.
    fn short_read_drains(&self) -> bool {
        cfg!(target_os = "linux")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_socket_that_is_connected_to_itself_is_known() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let own = socket.local_addr().unwrap();
        socket.connect(&own).unwrap();
        let stream = TcpStream::from_std(socket.into());
        assert!(is_itself(&stream, own.as_socket().unwrap()));

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let stream = TcpStream::connect(there).unwrap();
        assert!(!is_itself(&stream, there));
    }
}
