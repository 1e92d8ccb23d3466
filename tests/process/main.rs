//! Processes behind WebSockets, over real sockets and with real children.
#![allow(clippy::unwrap_used)]

mod links;
mod machine;
