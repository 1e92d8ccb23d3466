//! Real sockets, the real clock, signals: everything between the worker and the operating system.
//!
//! | file | subject |
//! | --- | --- |
//! | `server.rs` | [`Server`]: listeners and routes put together, for the program and for library users |
//! | `driver.rs` | the loop: poll, accept, hand readiness to the worker, turn |
//! | `listener.rs` | addresses, socket options |
//! | `socket.rs` | TCP and Unix streams as a [`Transport`](crate::server::Transport) |
//! | `resolver.rs` | names of applications to addresses, off the loop |
//! | `journal.rs` | histories on disk: what was kept is read at the start, and written by a thread (feature `history-log`) |
//! | `sandbox.rs` | what the process gives up when everything is open (Linux, feature `sandbox`) |
//! | `process.rs` | child processes: starting, ending, reaping (feature `process`) |
//! | `signals.rs` | SIGTERM and SIGINT, SIGCHLD |
//! | `client.rs` | a blocking WebSocket client for the command line and for tests |
//!
//! **Never in here:** protocol rules, serde_json, a dialect.

mod client;
mod driver;
#[cfg(feature = "history-log")]
mod journal;
mod listener;
#[cfg(feature = "process")]
mod process;
mod resolver;
#[cfg(all(
    feature = "sandbox",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub mod sandbox;
mod server;
#[cfg(feature = "signals")]
mod signals;
mod socket;

#[cfg(feature = "bench")]
pub(crate) use client::split_url;
pub use client::{Client, ClientError, HttpAnswer, Received, http_request};
pub use driver::Handle;
#[cfg(feature = "history-log")]
pub use journal::HistoryLog;
pub use listener::{Address, AddressError};
pub use server::{Bound, Server, ServerError};
#[cfg(feature = "signals")]
pub use signals::exit_on_interrupt;

/// Whether this build can give up what a server does not need (`sandbox`).
pub const HAS_SANDBOX: bool = cfg!(all(
    feature = "sandbox",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
));

/// Raises the number of files this process may open to what the system allows and answers it.
pub fn raise_open_files_max() -> usize {
    match rlimit::getrlimit(rlimit::Resource::NOFILE) {
        Ok((soft, hard)) => {
            let raised = rlimit::setrlimit(rlimit::Resource::NOFILE, hard, hard).is_ok();
            usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX)
        }
        Err(_) => 1024,
    }
}
