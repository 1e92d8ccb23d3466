//! dunlin: a WebSocket server and gateway for the edge, hand-rolled on mio.
//!
//! One single-threaded event loop speaks HTTP/1.1 and RFC 6455, keeps sessions and channels in slabs, and
//! fans a message out to all its subscribers from one buffer that was encoded once. Run the program
//! `dunlin` for the protocols that are built in, or write a [`Handler`]:
//!
//! ```no_run
//! use dunlin::{Context, Handler, Message, Server};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
//!         cx.send(message);
//!     }
//! }
//!
//! fn main() -> Result<(), dunlin::ServerError> {
//!     Server::new().listen("127.0.0.1:8080").route("/echo", || Echo).run()
//! }
//! ```
//!
//! A room where everybody hears everybody, with the room's name in the path:
//!
//! ```
//! use dunlin::{Context, Handler, Locals, Message, Request, Server, Upgrade};
//!
//! #[derive(Default)]
//! struct Room { names: Locals<String> }
//!
//! impl Handler for Room {
//!     fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
//!         let name = request.param("room").unwrap_or("lobby");
//!         if let Err(error) = cx.subscribe(name) {
//!             return Upgrade::refuse(503, &error.to_string());
//!         }
//!         self.names.insert(cx, name.to_owned());
//!         Upgrade::accept()
//!     }
//!
//!     fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
//!         if let Some(name) = self.names.get(cx)
//!             && let Err(error) = cx.publish(name, message)
//!         {
//!             cx.send_text(&error.to_string());
//!         }
//!     }
//!
//!     fn on_close(&mut self, cx: &mut Context<'_>, _: dunlin::CloseInfo<'_>) {
//!         self.names.remove(cx);
//!     }
//! }
//!
//! # fn main() -> Result<(), dunlin::ServerError> {
//! let server = Server::new().listen("127.0.0.1:0").route("/room/{room}", Room::default).bind()?;
//! assert!(server.port(0).is_some());
//! # Ok(())
//! # }
//! ```
//!
//! # The rooms
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`ws`] | RFC 6455 over byte slices, both roles |
//! | [`http`] | HTTP/1.1 heads and bodies over byte slices |
//! | [`hub`] | sessions, channels, outboxes, the [`Handler`] trait |
//! | [`dialect`] | application protocols as handlers |
//! | [`token`] | keys, signed tokens, and what they allow |
//! | [`server`] | the worker that drives transports through all of that |
//! | [`net`] | mio, sockets, signals, the real clock |
//! | `sim` | the same worker over simulated sockets (feature `sim`) |
//!
//! `ws` and `http` turn bytes into meaning and import nothing; `server` and `dialect` never see each other:
//! they meet in [`Handler`], so your handler can do whatever a built-in one can.
#![forbid(unsafe_code)]

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod config;
pub mod dialect;
pub mod http;
pub mod hub;
#[cfg(feature = "history-log")]
#[doc(hidden)]
pub mod journal;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod log;
pub mod metrics;
pub mod net;
pub mod random;
pub mod server;
#[cfg(feature = "sim")]
pub mod sim;
pub mod time;
pub mod token;
pub mod values;
pub mod ws;

pub use hub::{
    Accept, CloseInfo, ConnId, Context, Handler, Initiator, Locals, Outcome, Reply, Request,
    Ticket, Upgrade,
};
pub use net::{Server, ServerError};
pub use ws::{CloseCode, Message};
