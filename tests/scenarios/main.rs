//! Scenarios that can be named: one worker, a few clients, a virtual clock.
//!
//! | file | subject |
//! | --- | --- |
//! | `handshake.rs` | the opening handshake, end to end |
//! | `closing.rs` | the closing handshake, from both sides |
//! | `timing.rs` | pings, time-outs, standstills |
//! | `filters.rs` | sessions that want some of what their channels say (feature `filters`) |
//! | `grants.rs` | keys that allow some things and not others |
//! | `limits.rs` | each limit at n and n + 1 |
//! | `apigw.rs` | the API gateway: back ends that are away, connections that are told to go |
//! | `hierachain.rs` | HieraChain's clients that come back (feature `hierachain-history`) |
//! | `jsonrpc.rs` | the JSON-RPC gateway: its times, slow consumers, lives that chance makes up |
//! | `links.rs` | connections to other servers, that stay |
//! | `memory.rs` | the memory budget |
//! | `patterns.rs` | subscriptions to all channels whose names are alike (feature `wildcards`) |
//! | `presence.rs` | who is in a channel; an application that is told of first and last subscribers |
//! | `proxies.rs` | trusted proxies, the PROXY protocol, limits that follow the client |
//! | `slow.rs` | slow consumers, replies that pile up |
//! | `mixtures.rs` | sessions whose channels have policies of their own |
//! | `streams.rs` | streams of values; texts that differ in one place |
//! | `polls.rs` | channels by plain HTTP: polls, and streams that go on where they were |
//! | `transports.rs` | lives that chance makes up: readers of one channel by every transport |
//! | `responses.rs` | server-sent events and lines: responses that do not end |
//! | `tokens.rs` | signed tokens: their end, what follows, who is shut out (feature `jwt`) |
//! | `http.rs` | plain HTTP: keep-alive, pipelining, answers put off |
//! | `deflate.rs` | permessage-deflate, end to end (feature `deflate`) |
//! | `drain.rs` | going down gently |
//! | `app.rs` | calls to an application that answers late, wrongly or not at all |
//! | `callbacks.rs` | the callbacks of `tapr`, however a session ends |
//! | `library.rs` | what a user of the library may rely on |

#![allow(clippy::unwrap_used)]

mod apigw;
mod app;
mod callbacks;
mod closing;
#[cfg(feature = "deflate")]
mod deflate;
mod drain;
#[cfg(feature = "filters")]
mod filters;
mod grants;
mod handshake;
#[cfg(feature = "hierachain-history")]
mod hierachain;
mod history;
mod http;
mod jsonrpc;
mod library;
mod limits;
mod links;
mod memory;
mod mixtures;
#[cfg(feature = "wildcards")]
mod patterns;
mod polls;
#[cfg(feature = "presence")]
mod presence;
mod proxies;
mod responses;
mod slow;
mod streams;
mod timing;
#[cfg(feature = "jwt")]
mod tokens;
mod transports;

use dunlin::http::Response;
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::World;
use dunlin::{CloseCode, Context, Handler, Message, Outcome, Reply, Request, Ticket};

/// `join X`, `pub X text`, `close code`, `big n`, `bad`; anything else comes back. HTTP: the body comes back,
/// after `?ms=`; `?never` has no answer.
#[derive(Default)]
struct App;

impl Handler for App {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Message::Text(text) = message else {
            cx.send(message);
            return;
        };
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "join" => assert!(cx.subscribe(rest).is_ok()),
            "pub" => {
                let (channel, text) = rest.split_once(' ').unwrap();
                cx.publish(channel, Message::Text(text)).unwrap();
            }
            "close" => cx.close(CloseCode(rest.parse().unwrap()), "as ordered"),
            "big" => assert!(cx.send_text(&"x".repeat(rest.parse().unwrap()))),
            "bad" => {
                if cx.bad_message() {
                    cx.send_text("bad");
                }
            }
            _ => assert!(cx.send_text(text)),
        }
    }

    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        if request.query("never").is_some() {
            return Reply::Later(cx.ticket());
        }
        match request.query("ms") {
            Some(ms) => Reply::Later(cx.timer(ms.parse().unwrap())),
            None => {
                let mut response = Response::new(200);
                response.body = request.body.to_vec();
                Reply::Now(response)
            }
        }
    }

    fn on_outcome(&mut self, cx: &mut Context<'_>, ticket: Ticket, _: Outcome<'_>) {
        cx.reply(ticket, Response::text(200, "later"));
    }

    fn gap_marker(&self, missed: Option<u32>) -> Option<String> {
        missed.map(|missed| format!("gap {missed}"))
    }
}

/// The app on `/app`.
fn world() -> World {
    world_with(|_| {}, |_| {})
}

fn world_with(
    worker: impl FnOnce(&mut WorkerSettings),
    route: impl FnOnce(&mut RouteSettings),
) -> World {
    let mut settings = WorkerSettings::default();
    worker(&mut settings);
    let mut world = World::new(settings);
    let mut settings = RouteSettings::default();
    route(&mut settings);
    world.route_with("/app", settings, App::default);
    world
}
