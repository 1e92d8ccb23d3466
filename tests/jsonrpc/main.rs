//! The gateway between Ethereum's clients and a node, as the real program over real sockets: every scenario of the
//! dialect, a node that misbehaves, a thousand clients, and real clients of three languages.
//!
//! `tests/clients/install` installs what the last of these need; a client that is missing fails its test and says so.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod chain;
mod clients;
mod conformance;
mod crowd;
mod doors;
mod faults;
mod gateway;
mod line;
mod methods;
mod node;
mod scenarios;
mod sizes;
