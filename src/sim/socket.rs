//! The fake socket: two bounded pipes between the worker and a peer.
//!
//! The rule: **an edge is reported when something becomes possible, never that it still is.** That is the least
//! an edge-triggered epoll promises, so a worker that forgets what it was told stands still here:
//!
//! | what happens | edge |
//! | --- | --- |
//! | bytes arrive | readable, also if others still lie there unread |
//! | the peer ends its direction | readable and ended |
//! | room appears after a write found none | writable |
//! | the peer resets | readable, writable and ended |
//!
//! Beyond that, reads and writes may be short or interrupted, and a socket dropped while input is unread (or
//! still comes) resets the connection: what lay in the other pipe is lost, as TCP may lose it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use crate::server::Transport;

/// The worker's end of a simulated connection.
#[derive(Debug)]
pub struct SimSocket {
    wire: Rc<RefCell<Wire>>,
}

/// Both pipes and what disturbs them.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) to_server: Pipe,
    pub(crate) to_client: Pipe,
    /// The worker has dropped its end.
    pub(crate) gone: bool,
    /// Somebody has reset the connection.
    pub(crate) reset: bool,
    pub(crate) faults: Faults,
    edge: Edge,
    /// A write found no room: the next room is an edge.
    blocked: bool,
    calls: u32,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) bytes: VecDeque<u8>,
    /// Most bytes that lie in it.
    pub(crate) window: usize,
    /// Its writer has ended it.
    pub(crate) ended: bool,
}

/// How the socket makes life hard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    /// Most bytes one read gives; not below the buffer's size if `short_read_drains`.
    pub(crate) read_max: usize,
    /// Most bytes one write takes.
    pub(crate) write_max: usize,
    /// Each so-and-so-manieth call is interrupted; 0: none.
    pub(crate) interrupt_every: u32,
    /// The socket promises that a read which does not fill the buffer has taken everything.
    pub(crate) short_read_drains: bool,
    /// An edge tells everything that is possible at that moment, as epoll does, not only what is new.
    pub(crate) chatty: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            read_max: usize::MAX,
            write_max: usize::MAX,
            interrupt_every: 0,
            short_read_drains: false,
            chatty: false,
        }
    }
}

/// What the next poll has to report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) ended: bool,
}

impl SimSocket {
    /// A socket and the wire it shares with its peer.
    pub(crate) fn pair(window: usize) -> (Self, Rc<RefCell<Wire>>) {
        let pipe = || Pipe {
            bytes: VecDeque::new(),
            window,
            ended: false,
        };
        let wire = Rc::new(RefCell::new(Wire {
            to_server: pipe(),
            to_client: pipe(),
            gone: false,
            reset: false,
            faults: Faults::default(),
            edge: Edge {
                writable: true,
                ..Edge::default()
            },
            blocked: false,
            calls: 0,
        }));
        (Self { wire: wire.clone() }, wire)
    }
}

impl Wire {
    /// The peer's bytes reach the server as far as its window allows; answers how many.
    pub(crate) fn deliver(&mut self, bytes: &mut VecDeque<u8>, most: usize) -> usize {
        if self.gone {
            // Bytes for a socket that is closed are answered with a reset.
            if !bytes.is_empty() {
                self.reset_by_server();
            }
            bytes.clear();
            return 0;
        }
        if self.reset || self.to_server.ended {
            bytes.clear();
            return 0;
        }
        let room = self
            .to_server
            .window
            .saturating_sub(self.to_server.bytes.len());
        let n = most.min(room).min(bytes.len());
        if n > 0 {
            self.to_server.bytes.extend(bytes.drain(..n));
            self.edge.readable = true;
        }
        n
    }

    /// The worker's end is handed over before it is connected: nothing is possible yet.
    pub(crate) fn begin_connecting(&mut self) {
        self.edge = Edge::default();
    }

    /// It is connected.
    pub(crate) fn end_connecting(&mut self) {
        self.edge.writable = true;
    }

    /// The peer ends its direction.
    pub(crate) fn end_by_peer(&mut self) {
        if !self.to_server.ended && !self.reset {
            self.to_server.ended = true;
            self.edge.readable = true;
            self.edge.ended = true;
        }
    }

    /// The peer resets the connection: what lay in the pipes is lost.
    pub(crate) fn reset_by_peer(&mut self) {
        self.reset = true;
        self.to_server.bytes.clear();
        self.to_client.bytes.clear();
        self.edge = Edge {
            readable: true,
            writable: true,
            ended: true,
        };
    }

    fn reset_by_server(&mut self) {
        self.reset = true;
        self.to_client.bytes.clear();
    }

    /// The peer takes up to `most` bytes out of its pipe.
    pub(crate) fn collect(&mut self, most: usize, into: &mut Vec<u8>) -> usize {
        let n = most.min(self.to_client.bytes.len());
        into.extend(self.to_client.bytes.drain(..n));
        self.room_changed();
        n
    }

    /// The peer's receive window is another one now.
    pub(crate) fn set_window(&mut self, bytes: usize) {
        self.to_client.window = bytes;
        self.room_changed();
    }

    fn room_changed(&mut self) {
        if self.blocked && self.to_client.bytes.len() < self.to_client.window {
            self.blocked = false;
            self.edge.writable = true;
        }
    }

    /// What a poll would report, once.
    pub(crate) fn take_edge(&mut self) -> Option<Edge> {
        let mut edge = std::mem::take(&mut self.edge);
        if self.gone || edge == Edge::default() {
            return None;
        }
        if self.faults.chatty {
            edge.readable |= !self.to_server.bytes.is_empty() || self.to_server.ended;
            edge.writable |= !self.blocked && self.to_client.bytes.len() < self.to_client.window;
            edge.ended |= self.to_server.ended;
        }
        Some(edge)
    }

    fn is_interrupted(&mut self) -> bool {
        self.calls = self.calls.wrapping_add(1);
        let every = self.faults.interrupt_every;
        every > 1 && self.calls.is_multiple_of(every)
    }
}

impl io::Read for SimSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wire = &mut *self.wire.borrow_mut();
        if wire.is_interrupted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if wire.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let most = if wire.faults.short_read_drains {
            buffer.len()
        } else {
            buffer.len().min(wire.faults.read_max)
        };
        let n = most.min(wire.to_server.bytes.len());
        if n == 0 && !buffer.is_empty() {
            return if wire.to_server.ended {
                Ok(0)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        for (place, byte) in buffer.iter_mut().zip(wire.to_server.bytes.drain(..n)) {
            *place = byte;
        }
        Ok(n)
    }
}

impl io::Write for SimSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wire = &mut *self.wire.borrow_mut();
        if wire.is_interrupted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if wire.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if wire.to_client.ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let pipe = &mut wire.to_client;
        let room = pipe.window.saturating_sub(pipe.bytes.len());
        if room == 0 && !bytes.is_empty() {
            wire.blocked = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = bytes.len().min(room).min(wire.faults.write_max);
        pipe.bytes.extend(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        // As the system call: one row of bytes, cut where it must be cut.
        let bytes: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
        self.write(&bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for SimSocket {
    fn close_write(&mut self) -> io::Result<()> {
        let mut wire = self.wire.borrow_mut();
        if wire.reset {
            return Err(io::ErrorKind::NotConnected.into());
        }
        wire.to_client.ended = true;
        Ok(())
    }

    fn short_read_drains(&self) -> bool {
        self.wire.borrow().faults.short_read_drains
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        let mut wire = self.wire.borrow_mut();
        wire.gone = true;
        wire.to_client.ended = true;
        if !wire.to_server.bytes.is_empty() {
            wire.reset_by_server();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn edges_come_once_and_only_for_news() {
        let (mut socket, wire) = SimSocket::pair(4);
        let mut buffer = [0; 8];
        assert!(wire.borrow_mut().take_edge().unwrap().writable);
        assert_eq!(wire.borrow_mut().take_edge(), None);
        let mut bytes: VecDeque<u8> = (*b"abcdef").into();
        assert_eq!(wire.borrow_mut().deliver(&mut bytes, 99), 4);
        assert!(wire.borrow_mut().take_edge().unwrap().readable);
        assert_eq!(socket.read(&mut buffer).unwrap(), 4);
        let kind = |result: io::Result<usize>| result.unwrap_err().kind();
        assert_eq!(kind(socket.read(&mut buffer)), io::ErrorKind::WouldBlock);
        assert_eq!(socket.write(b"123456").unwrap(), 4);
        let mut got = Vec::new();
        wire.borrow_mut().collect(1, &mut got);
        assert_eq!(
            wire.borrow_mut().take_edge(),
            None,
            "nobody had found it full"
        );
        assert_eq!(socket.write(b"56").unwrap(), 1);
        assert_eq!(kind(socket.write(b"6")), io::ErrorKind::WouldBlock);
        wire.borrow_mut().collect(9, &mut got);
        assert!(wire.borrow_mut().take_edge().unwrap().writable);
        assert_eq!(got, b"12345");
    }

    #[test]
    fn dropping_with_unread_input_resets() {
        let (mut socket, wire) = SimSocket::pair(9);
        socket.write_all(b"answer").unwrap();
        wire.borrow_mut().deliver(&mut (*b"more").into(), 9);
        drop(socket);
        let wire = wire.borrow();
        assert!(wire.reset && wire.gone && wire.to_client.bytes.is_empty());
    }
}
