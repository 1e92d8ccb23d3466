//! The server: connections over any transport, driven through `http` and `ws` into the hub.
//!
//! Read `worker.rs` first (the turn), then `connection.rs` (the picture of a connection's life):
//!
//! | file | subject |
//! | --- | --- |
//! | `worker.rs` | [`Worker`]: the turn, what is ready, what has ended |
//! | `arrivals.rs` | how connections come |
//! | `orders.rs` | what handlers asked for while they were called |
//! | `ready.rs` | who is ready, and who waits for whom |
//! | `connection.rs` | the states of a connection |
//! | `requests.rs` | HTTP requests, routing, the opening handshake |
//! | `open.rs` | WebSocket events, rates, closing, time-outs |
//! | `writing.rs` | replies, flushing, the pong between two frames |
//! | `streams.rs` | sessions on a stream of JSON values |
//! | `responses.rs` | sessions on a response that does not end |
//! | `polls.rs` | sessions that are over with their first messages |
//! | `memory.rs` | the memory budget: what is counted, and who is cut |
//! | `deadline.rs`, `wheel.rs` | time-outs and the wheel that wakes for them |
//! | `calls.rs`, `upstream.rs` | HTTP requests to applications: order, connections, answers |
//! | `links.rs` | connections to other servers that stay: dialling, shaking hands, reading, writing |
//! | `processes.rs`, `lines.rs` | links to processes: their output in lines, their end in steps (feature `process`) |
//! | `home.rs` | publications of channels that live elsewhere |
//! | `presence.rs` | telling handlers who comes and goes (feature `presence`) |
//! | `journal.rs` | what channels keep, on its way to a log and back (feature `history-log`) |
//! | `drain.rs` | going down gently |
//! | `router.rs` | path templates |
//! | `access.rs`, `admission.rs` | keys, tokens, origins; what becomes of a grant while its session is open |
//! | `addresses.rs`, `bucket.rs` | limits per address, rates |
//! | `proxies.rs` | trusted proxies, and whom they speak for |
//! | `refusals.rs` | 429 and 503: the rule, its value, when to come back |
//! | `settings.rs` | every limit with its default |
//! | `inspect.rs` | what the simulated world asks |
//! | `transport.rs` | [`Transport`], the seam where tests put simulated sockets |
//!
//! **Never in here:** mio, `Instant::now`, a dialect.

mod access;
mod addresses;
mod admission;
mod arrivals;
mod bucket;
mod calls;
mod connection;
mod deadline;
mod drain;
mod home;
#[cfg(feature = "sim")]
mod inspect;
#[cfg(feature = "history-log")]
mod journal;
#[cfg(feature = "process")]
mod lines;
mod links;
mod memory;
mod open;
mod orders;
mod polls;
#[cfg(feature = "presence")]
mod presence;
#[cfg(feature = "process")]
mod processes;
mod proxies;
mod ready;
mod refusals;
mod requests;
mod responses;
mod router;
mod settings;
mod streams;
mod transport;
mod upstream;
mod wheel;
mod worker;
mod writing;

pub use access::{AccessError, Keys, Origins};
pub use calls::{Place, Want, WantId};
pub use proxies::{ProxySettings, TrustedProxy, TrustedProxyError};
#[cfg(feature = "cli")]
pub(crate) use router::Router;
pub use router::{On, RouteError};
pub use settings::{AddressLimits, CallSettings, RouteSettings, WorkerSettings};
pub use transport::Transport;
pub use worker::{Notice, Worker};

use std::io;

use crate::time::Now;
use connection::Connection;

enum ReadOutcome {
    Bytes(usize),
    /// Nothing now; later perhaps.
    Nothing,
    /// The peer has ended its direction.
    End,
    Failed,
}

/// The transport takes nothing more, ever.
struct Gone;

/// What a write has come to, with what it says about the transport's readiness written down. `Ok(0)`: it took nothing
/// this time.
fn note_write(written: io::Result<usize>, writable: &mut bool) -> Result<usize, Gone> {
    match written {
        Ok(0) => Err(Gone),
        Ok(n) => Ok(n),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => {
                *writable = false;
                Ok(0)
            }
            io::ErrorKind::Interrupted => Ok(0),
            _ => Err(Gone),
        },
    }
}

/// One read, with what it says about the transport's readiness written down.
fn read_some<T: Transport>(
    connection: &mut Connection<T>,
    buffer: &mut [u8],
    now: Now,
) -> ReadOutcome {
    match connection.transport.read(buffer) {
        Ok(0) => ReadOutcome::End,
        Ok(n) => {
            connection.life = wheel::tick_at(now.ms);
            if n < buffer.len() && !connection.ended && connection.transport.short_read_drains() {
                connection.readable = false;
            }
            ReadOutcome::Bytes(n)
        }
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => {
                connection.readable = false;
                ReadOutcome::Nothing
            }
            // Still readable: the next turn tries again.
            io::ErrorKind::Interrupted => ReadOutcome::Nothing,
            _ => ReadOutcome::Failed,
        },
    }
}
