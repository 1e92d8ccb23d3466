//! What moves bytes for a connection: a TCP or Unix socket, or something simulated.

use std::io;

/// A non-blocking byte stream, as the worker needs it.
///
/// `read` and `write` answer `WouldBlock` when nothing can be done now and `Interrupted` when it is worth
/// trying again; the worker copes with both, with short reads and with short writes.
pub trait Transport: io::Read + io::Write {
    /// Ends our direction: the peer reads everything written so far and then the end.
    ///
    /// # Errors
    /// The transport's own; the worker then drops the connection.
    fn close_write(&mut self) -> io::Result<()>;

    /// Bytes that `write` took but that are not on their way yet (a TLS record, for example).
    fn pending_output(&self) -> bool {
        false
    }

    /// Whether a read that filled less than the buffer means that nothing is left, so that the next read
    /// may wait for the next readiness (true for sockets under edge-triggered epoll, see epoll(7) Q9).
    fn short_read_drains(&self) -> bool {
        false
    }
}
