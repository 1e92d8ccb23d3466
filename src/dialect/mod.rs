//! Application protocols ("dialects") as handlers over the hub.
//!
//! A dialect is an ordinary [`Handler`](crate::hub::Handler): what these files do, a handler of yours can do too.
//! Read [`Echo`] first, then [`PubSub`]; [`HieraChain`] is the one with a protocol of its own.
//!
//! | file | handlers | speaks |
//! | --- | --- | --- |
//! | `echo.rs` | [`Echo`] | whatever it hears |
//! | `chat.rs` | [`Chat`] | groups and pairs |
//! | `pubsub/` | [`PubSub`] | subscribe by WebSocket or a response that does not end, publish by `POST` |
//! | `hierachain/` | [`HieraChain`], [`HieraChainStatus`], [`HieraChainIngest`] | chain events, two vocabularies |
//! | `tapr/` | [`Tapr`], [`TaprControl`] | a gateway: clients on one side, an application's callbacks on the other |
//! | `jsonrpc/` | `JsonRpc` | a gateway in front of Ethereum nodes (feature `jsonrpc`) |
//! | `process/` | `ProcessPerClient`, `SharedProcess` | lines of programs (feature `process`) |
//! | `apigw/` | `ApiGateway` | a gateway between devices and HTTP back ends (feature `apigw`) |
//! | `json.rs` | [`Json`] around a [`JsonHandler`] | typed messages of an embedding program |
//! | `admin/` | [`Admin`], [`Health`], [`Ready`], [`MetricsPage`] | an operator's tools, AWS's `@connections` |
//! | `begin.rs` | – | where one may begin in a channel that keeps something |
//! | `cors.rs` | – | answers that pages may read |
//! | `permits.rs` | – | what a key or token allows, tokens in messages |
//! | `members.rs` | – | finding members of a JSON object, for all of them |
//!
//! **Never in here:** the server, sockets, clocks (the time is `cx.now()`), threads. Payloads pass through as the
//! bytes they came as.

mod admin;
#[cfg(any(feature = "apigw", feature = "jsonrpc"))]
mod allowance;
#[cfg(feature = "apigw")]
mod apigw;
mod begin;
mod chat;
mod cors;
mod echo;
#[cfg(any(test, feature = "sim"))]
#[doc(hidden)]
pub mod fuzz;
mod hierachain;
mod json;
#[cfg(feature = "jsonrpc")]
mod jsonrpc;
pub(crate) mod members;
mod permits;
#[cfg(feature = "process")]
mod process;
mod pubsub;
mod tapr;
#[cfg(any(test, feature = "sim"))]
mod testing;
#[cfg(test)]
mod transcripts;

pub use admin::{Admin, Health, MetricsPage, Ready};
#[cfg(feature = "apigw")]
pub use apigw::{
    ApiGateway, ApiGatewayOptions, AppKey, AppKeyError, AppKeys, BackEnd, BackEndError, BackEnds,
};
pub use chat::{Chat, ChatOptions};
pub use echo::{Echo, EchoOptions};
pub use hierachain::{
    HieraChain, HieraChainIngest, HieraChainMode, HieraChainOptions, HieraChainStatus,
};
pub use json::{Json, JsonError, JsonHandler, send_json};
#[cfg(feature = "jsonrpc")]
pub use jsonrpc::{JsonRpc, JsonRpcEndpoint, JsonRpcEndpointError, JsonRpcOptions};
#[cfg(feature = "cli")]
pub(crate) use members::string_member;
#[cfg(feature = "process")]
pub use process::{
    CommandError, InvalidUtf8, LongLines, ProcessOptions, ProcessPerClient, Restart, SharedProcess,
    split_command,
};
#[cfg(feature = "presence")]
pub use pubsub::PubSubCallback;
pub use pubsub::{PubSub, PubSubOptions};
#[cfg(feature = "signature")]
pub use tapr::SignatureKeys;
pub use tapr::{Tapr, TaprControl, TaprOptions};

use crate::http::Response;
use crate::hub::{Context, Request};
use crate::ws::{HEADER_BYTES_MAX, Message};

/// The 405 for a request whose method is none of `methods`.
fn only(request: &Request<'_>, methods: &[&str]) -> Option<Response> {
    if methods.contains(&request.method()) {
        return None;
    }
    let allow = methods.join(", ");
    let detail = format!("this URL answers {allow} only");
    Some(Response::problem(405, &detail).header("Allow", allow))
}

/// The 400 for a plain request that breaks a rule of its dialect, counted (refused handshakes are counted anyway).
fn bad_request(cx: &mut Context<'_>, detail: &str) -> Response {
    cx.count_refusal("bad_request");
    Response::problem(400, detail)
}

/// The 503 for something that works again in a moment.
fn unavailable(detail: &str) -> Response {
    Response::problem(503, detail).header("Retry-After", RETRY_AFTER_SECONDS)
}

/// Whether the memory budget has room for messages of these lengths together, or why not. Publications that
/// belong together are asked for here first, so that never one of them goes out alone.
fn has_room(cx: &mut Context<'_>, lengths: &[usize]) -> Result<(), String> {
    let total = lengths.iter().fold(0_usize, |sum, len| {
        sum.saturating_add(len + HEADER_BYTES_MAX)
    });
    cx.has_room(total).map_err(|why| why.to_string())
}

/// What tells a reader that it missed something.
fn gap_marker(missed: Option<u32>) -> String {
    let missed = missed.map_or("null".to_owned(), |missed| missed.to_string());
    format!("{{\"type\":\"gap\",\"missed\":{missed}}}")
}

/// Sends `{"type":"error","message":…}` and counts a bad message; over the limit it only closes.
fn bad_message(cx: &mut Context<'_>, message: &str) {
    if cx.bad_message() {
        send_error(cx, message);
    }
}

/// Sends `{"type":"error","message":…}`.
fn send_error(cx: &mut Context<'_>, message: &str) {
    let mut text = String::from(r#"{"type":"error","message":"#);
    members::push_string(&mut text, message);
    text.push('}');
    cx.send(Message::Text(&text));
}

/// Long enough for slow subscribers to be cut, short enough for a publisher to wait.
const RETRY_AFTER_SECONDS: &str = "5";
