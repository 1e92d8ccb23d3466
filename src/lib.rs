//! dunlin.
#![forbid(unsafe_code)]
pub mod http;
pub mod hub;
pub mod metrics;
pub mod net;
pub mod random;
pub mod server;
pub mod time;
pub mod ws;
pub use hub::{
    Accept, CloseInfo, ConnId, Context, Handler, Initiator, Locals, Outcome, Reply, Request,
    Ticket, Upgrade,
};
pub use net::{Server, ServerError};
pub use ws::{CloseCode, Message};
