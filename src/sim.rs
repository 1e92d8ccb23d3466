//! A simulated world: the same worker as in the real server, over fake sockets and a virtual clock.
//!
//! **For your own handlers:** put a handler on a route, connect clients, cut their bytes, let them stop
//! reading, let a minute pass in no time. Everything repeats exactly, and nothing needs a port.
//!
//! ```
//! use dunlin::server::WorkerSettings;
//! use dunlin::sim::World;
//! use dunlin::{Context, Handler, Message};
//!
//! struct Echo;
//! impl Handler for Echo {
//!     fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
//!         cx.send(message);
//!     }
//! }
//!
//! let mut world = World::new(WorkerSettings::default());
//! world.route("/echo", || Echo);
//!
//! let mut a = world.connect("/echo");
//! a.cut_into(1); // every byte in a segment of its own
//! a.send_text("hello");
//! a.expect_text("hello");
//!
//! a.stop_reading();
//! a.send_text("for later");
//! assert_eq!(a.next(), None);
//! a.resume_reading();
//! a.expect_text("for later");
//!
//! // A client that is alive answers pings by itself, so an hour of silence is no reason to part.
//! world.advance_ms(3_600_000);
//! a.send_text("still here");
//! a.expect_text("still here");
//!
//! // Plain HTTP works too: this route wants an upgrade.
//! let answer = world.request("GET /echo HTTP/1.1\r\nHost: sim\r\n\r\n");
//! assert_eq!(answer.status(), 426);
//!
//! a.close(1000, "bye");
//! a.expect_close(1000);
//! assert_eq!(world.sessions(), 0);
//! ```
//!
//! **For dunlin itself:** [`Run`] lets a seed, or fuzz bytes, decide what happens: which peer says what, where
//! its bytes are cut, who stops reading, when time jumps. After each step invariants are swept, and whenever
//! the world comes to rest a model says what everybody must have received.
//!
//! | file | subject |
//! | --- | --- |
//! | `socket.rs` | [`SimSocket`] and its wire: two bounded pipes, edges, short calls, resets |
//! | `peer.rs` | the far end: handshake, frames, pongs, closing, HTTP answers |
//! | `world.rs` | [`World`]: worker, clock, peers, and how they take turns |
//! | `client.rs` | [`Client`]: what a script does with one peer |
//! | `gateway.rs` | the application that calls go to, and its sockets |
//! | `deflate.rs` | a peer that speaks permessage-deflate (feature `deflate`) |
//! | `deed.rs` | [`Deed`]: what it does with one request |
//! | `application.rs` | [`AppHandle`]: what a script does with that application |
//! | `chooser.rs` | [`Chooser`]: choices from a seed or from fuzz bytes |
//! | `node.rs` | the server that links lead to, driven by a script |
//! | `app.rs` | the application that random runs talk to, and its diary |
//! | `model.rs` | what every subscriber must receive, computed from the diary |
//! | `callbacks.rs` | what must become of every call to the application behind the gateway |
//! | `outages.rs` | what a run does to that application |
//! | `actor.rs` | a peer with a character: polite, slow, rude, or a plain HTTP client |
//! | `house.rs` | what kind of house a run lives in: memory, proxies, limits per address; who comes from where |
//! | `doors.rs` | oracles of houses that turn somebody away |
//! | `run.rs` | [`Run`]: one random life of a world |
//! | `oracles.rs` | what must hold after each step, at rest, and at the end |
//! | `fuzz.rs` | the body of the fuzz target |
//!
//! **Never in here:** `net`, a real clock, a real socket.

mod actor;
mod app;
mod application;
mod callbacks;
mod chooser;
mod client;
mod deed;
#[cfg(feature = "deflate")]
mod deflate;
mod doors;
#[doc(hidden)]
pub mod fuzz;
mod gateway;
mod house;
mod model;
mod node;
mod oracles;
mod outages;
mod peer;
mod run;
mod socket;
mod world;

pub use application::AppHandle;
pub use chooser::Chooser;
pub use client::Client;
pub use deed::{Deed, End, Framing};
pub use gateway::Asked;
pub use node::NodeHandle;
pub use peer::{Answer, Received};
pub use run::{Run, Summary};
pub use socket::SimSocket;
pub use world::{Connect, World};
