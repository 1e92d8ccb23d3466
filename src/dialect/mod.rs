//! Application protocols ("dialects") as handlers over the hub.
//!
//! A dialect is an ordinary [`Handler`](crate::hub::Handler): what these files do, a handler of yours can do too.
//! Read [`Echo`] first.
//!
//! | file | handlers | speaks |
//! | --- | --- | --- |
//! | `echo.rs` | [`Echo`] | whatever it hears |
//! | `chat.rs` | [`Chat`] | groups and pairs |
//! | `admin.rs` | [`Health`], [`MetricsPage`] | an operator's tools |
//!
//! **Never in here:** the server, sockets, clocks (the time is `cx.now()`), threads. Payloads pass through as the
//! bytes they came as.

mod admin;
mod chat;
mod echo;
#[cfg(any(test, feature = "sim"))]
mod testing;

pub use admin::{Health, MetricsPage};
pub use chat::{Chat, ChatOptions};
pub use echo::{Echo, EchoOptions};

use crate::http::Response;
use crate::hub::{Context, Request};

/// The 405 for a request whose method is none of `methods`.
fn only(request: &Request<'_>, methods: &[&str]) -> Option<Response> {
    if methods.contains(&request.method()) {
        return None;
    }
    let allow = methods.join(", ");
    let detail = format!("this URL answers {allow} only");
    Some(Response::problem(405, &detail).header("Allow", allow))
}

/// The 400 for a request that breaks a rule of its dialect, counted.
fn bad_request(cx: &mut Context<'_>, detail: &str) -> Response {
    cx.count_refusal("bad_request");
    Response::problem(400, detail)
}

/// The 503 for something that works again in a moment.
fn unavailable(detail: &str) -> Response {
    Response::problem(503, detail).header("Retry-After", RETRY_AFTER_SECONDS)
}

/// Long enough for slow subscribers to be cut, short enough for a publisher to wait.
const RETRY_AFTER_SECONDS: &str = "5";
