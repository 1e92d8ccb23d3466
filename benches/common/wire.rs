//! Connections in memory: what the benches of the worker use instead of sockets.

use dunlin::Handler;
use dunlin::hub::Peer;
use dunlin::random::Random;
use dunlin::server::{On, RouteSettings, Transport, Worker, WorkerSettings};
use dunlin::time::Now;
use dunlin::ws::{self, Message};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;

/// The worker's end: reads what was sent, counts what it writes.
pub(crate) struct Socket(Rc<RefCell<State>>);

/// The other end.
pub(crate) struct Wire(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    input: Vec<u8>,
    taken: usize,
    written: usize,
}

impl Wire {
    /// A client's text message of so many bytes.
    #[allow(dead_code)] // Not every bench says the same for all.
    pub(crate) fn message(len: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        ws::encode_message(&mut frame, Message::Text(&"x".repeat(len)), Some([7; 4]));
        frame
    }

    /// Bytes for the worker to read.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut state = self.0.borrow_mut();
        state.input.clear();
        state.input.extend_from_slice(bytes);
        state.taken = 0;
    }

    /// How many bytes the worker has written since the last call.
    pub(crate) fn take(&self) -> usize {
        std::mem::take(&mut self.0.borrow_mut().written)
    }
}

/// A worker with so many open WebSockets on one route, and their other ends by key.
#[allow(dead_code)] // Not every bench has plain clients only.
pub(crate) fn worker(
    connections: usize,
    handler: Box<dyn Handler>,
) -> (Worker<Socket>, Vec<(usize, Wire)>) {
    let route = RouteSettings {
        ping_after_ms: 0,
        ..RouteSettings::default()
    };
    worker_with(connections, handler, route, &[])
}

/// The same with settings of the route, and with headers in each client's handshake.
pub(crate) fn worker_with(
    connections: usize,
    handler: Box<dyn Handler>,
    route: RouteSettings,
    headers: &[(&str, &str)],
) -> (Worker<Socket>, Vec<(usize, Wire)>) {
    let settings = WorkerSettings {
        connections_max: CONNECTIONS_MAX,
        ..WorkerSettings::default()
    };
    let mut worker = Worker::new(settings, Random::seeded(1));
    let route = RouteSettings {
        messages_per_second: 0,
        ..route
    };
    let added = worker.route("/", On::Every, route, handler);
    assert_eq!(added, Ok(()));
    let mut wires = Vec::new();
    for _ in 0..connections {
        let (at, wire) = connect(&mut worker, headers);
        assert!(wire.take() > 100, "a 101 was written");
        wires.push((at, wire));
    }
    (worker, wires)
}

/// One more client, as far as it comes by itself.
pub(crate) fn connect(worker: &mut Worker<Socket>, headers: &[(&str, &str)]) -> (usize, Wire) {
    let now = Now::new(1_000_000, 0);
    let mut request = Vec::new();
    let key = ws::client_key([1; 16]);
    ws::write_request(&mut request, "bench", "/", &key, &[], headers);
    let state = Rc::new(RefCell::new(State::default()));
    let wire = Wire(state.clone());
    let at = worker.accept(Socket(state), 0, Peer::Unix, now);
    wire.send(&request);
    worker.ready(at, true, true, false);
    while worker.turn(now) {}
    (at, wire)
}

/// No bench opens more.
const CONNECTIONS_MAX: usize = 20_000;

impl io::Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        let rest = &state.input[state.taken..];
        if rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        state.taken += n;
        Ok(n)
    }
}

impl io::Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().written += bytes.len();
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        self.0.borrow_mut().written += bytes;
        Ok(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Socket {
    fn close_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn short_read_drains(&self) -> bool {
        true
    }
}
