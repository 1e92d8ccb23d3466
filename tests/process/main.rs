//! Processes behind WebSockets, over real sockets and with real children.
#![cfg(feature = "process")]
#![allow(clippy::unwrap_used)]

mod clients;
mod links;
mod machine;
#[path = "../program/mod.rs"]
mod program;
mod remote;
mod rig;
mod shared;
