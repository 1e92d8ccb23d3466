//! The gateway between clients and an application, as the real program over real sockets: every scenario of the
//! dialect, an application that misbehaves, a thousand clients, bad input on the control paths, and real clients with
//! a real application.
//!
//! `tests/clients/install` installs what the last of these need; a client that is missing fails its test and says so.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod app;
mod bad_input;
mod clients;
mod failures;
mod gateway;
mod load;
mod scenarios;
