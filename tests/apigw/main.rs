//! The gateway between devices and HTTP back ends, as the real program over real sockets: every scenario of the dialect,
//! back ends that misbehave, bad input, a crowd, and real clients with a real back end.
//!
//! `tests/clients/install` installs what the last of these need; a client that is missing fails its test and says so.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

// An HTTP server that does with each request what a test says.
#[path = "../tapr/app.rs"]
#[allow(dead_code)]
mod app;

mod clients;
mod crowd;
mod faults;
mod rig;
mod scenarios;
