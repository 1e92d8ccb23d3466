//! `admin`: what an operator's tools and the application behind this server ask for.
//!
//! Pages of their own:
//!
//! | request | answer |
//! | --- | --- |
//! | `GET` on [`Health`] | 200 `ok`, while the event loop turns |
//! | `GET` on [`Ready`] | 200 `ready`; 503 while the server drains |
//! | `GET` on [`MetricsPage`] | 200, Prometheus text format 0.0.4 |
//!
//! [`Admin`] serves one of these, told by the end of its path template:
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `GET …/connections?user=&channel=&space=&route=&limit=&cursor=` | – | 200 `{"connections":[…],"next_cursor":…}` |
//! | `GET …/connections/{id}` | – | 200 `{"id":"0-2-5","route":"/ch/{channel}",…}` |
//! | `DELETE …/connections/{id}` | – | 204; the client gets 1000 |
//! | `POST …/connections/{id}/send` | the message | 200 `{"id":…,"queued_bytes":7}` |
//! | `POST …/connections/{id}/close` | `{"code":1000,"reason":"…"}`, both optional | 200 `{"id":…,"code":1000}` |
//! | `POST …/connections/{id}/subscribe` | `{"channel":"…","space":"pubsub"}` | 200 `{…,"changed":true}` |
//! | `POST …/connections/{id}/unsubscribe` | the same | the same |
//! | `POST …/publish` | as [`PubSub`](super::PubSub) at `/ch` | the same; see `publish.rs` for `Idempotency-Key` |
//! | `GET …/channels?prefix=&space=&limit=&cursor=` | – | 200 `{"channels":[…],"next_cursor":…}` |
//! | `POST …/users/{user}/revoke` | – | 200 `{"user":"ann","closed":2,"since":1795170653}` |
//! | `GET …/openapi.json` | – | 200, all of this for programs |
//! | `POST`, `GET`, `DELETE …/@connections/{id}` | – | as an AWS API gateway, see `aws.rs` |
//!
//! A key or token that is limited must allow `admin`, or it is 403.
//!
//! Errors are problems (RFC 9457): 400 for a request that breaks a rule, 404 for an unknown connection, 405 with
//! `Allow`, 415 where JSON is needed and something else is announced (so that a form of a web page gets no further than
//! a browser's preflight), 422 for what cannot be done, 503 when the memory budget is used up. `HEAD` is answered as
//! `GET`. A WebSocket is refused with 404: nothing is spoken here.

mod aws;
mod connections;
mod listings;
mod probes;
mod publish;
mod users;

pub use probes::{Health, MetricsPage, Ready};

use super::permits::permit;
use super::pubsub::PubSubOptions;
use super::{members, only};
use crate::http::Response;
use crate::hub::{ConnId, Context, Handler, Reply, Request, Upgrade};
use crate::token::Action;
use crate::ws::Message;

/// One page of the administration: which one is told by its path template.
///
/// ```
/// use dunlin::dialect::{Admin, PubSubOptions};
/// let options = PubSubOptions::default();
/// assert!(Admin::at("/v1/connections/{id}/close", options).is_some());
/// assert!(Admin::at("/v1/anything", options).is_none());
/// ```
#[derive(Debug)]
pub struct Admin {
    page: Page,
    methods: &'static [&'static str],
    publisher: publish::Publisher,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Connections,
    Connection,
    Send,
    Close,
    Subscribe,
    Unsubscribe,
    Publish,
    Channels,
    Revoke,
    OpenApi,
    Aws,
}

/// How a path template ends, the page that is served there, the methods it answers.
const PAGES: [(&str, Page, &[&str]); 11] = [
    ("/connections", Page::Connections, READ),
    ("/connections/{id}", Page::Connection, READ_DELETE),
    ("/connections/{id}/send", Page::Send, POST),
    ("/connections/{id}/close", Page::Close, POST),
    ("/connections/{id}/subscribe", Page::Subscribe, POST),
    ("/connections/{id}/unsubscribe", Page::Unsubscribe, POST),
    ("/publish", Page::Publish, POST),
    ("/channels", Page::Channels, READ),
    ("/users/{user}/revoke", Page::Revoke, POST),
    ("/openapi.json", Page::OpenApi, READ),
    ("/@connections/{id}", Page::Aws, READ_POST_DELETE),
];
const READ: &[&str] = &["GET", "HEAD"];
const READ_DELETE: &[&str] = &["GET", "HEAD", "DELETE"];
const READ_POST_DELETE: &[&str] = &["GET", "HEAD", "POST", "DELETE"];
const POST: &[&str] = &["POST"];

impl Admin {
    /// The page for a path template; `None` if it ends like none of them. `options` are the limits of `…/publish`.
    pub fn at(template: &str, options: PubSubOptions) -> Option<Self> {
        let (_, page, methods) = PAGES
            .into_iter()
            .find(|(end, ..)| template.ends_with(end))?;
        Some(Self {
            page,
            methods,
            publisher: publish::Publisher::new(options),
        })
    }

    fn answer(
        &mut self,
        cx: &mut Context<'_>,
        request: &Request<'_>,
    ) -> Result<Response, Response> {
        if let Some(refusal) = only(request, self.methods) {
            return Err(refusal);
        }
        permit(cx, Action::Admin, "")?;
        match self.page {
            Page::Connections => listings::connections(cx, request),
            Page::Channels => listings::channels(cx, request),
            Page::Publish => {
                expect_json(cx, request)?;
                self.publisher.publish(cx, request)
            }
            Page::Revoke => users::revoke(cx, request),
            Page::OpenApi => Ok(Response::json(200, OPENAPI)),
            Page::Aws => Ok(aws::answer(cx, request)),
            page => {
                if matches!(page, Page::Close | Page::Subscribe | Page::Unsubscribe) {
                    expect_json(cx, request)?;
                }
                let id = connection(cx, request)?;
                match page {
                    Page::Send => connections::send(cx, request, id),
                    Page::Close => connections::close(cx, request, id),
                    Page::Subscribe => connections::subscribe(cx, request, id, true),
                    Page::Unsubscribe => connections::subscribe(cx, request, id, false),
                    _ => connections::one(cx, request, id),
                }
            }
        }
    }
}

impl Handler for Admin {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        match self.answer(cx, request) {
            Ok(response) if self.methods.contains(&"GET") => {
                response.header("Cache-Control", "no-store").into()
            }
            Ok(response) | Err(response) => response.into(),
        }
    }

    fn on_upgrade(&mut self, _: &mut Context<'_>, _: &Request<'_>) -> Upgrade {
        no_websocket()
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}

    fn space(&self) -> &str {
        PUBSUB
    }
}

/// The open connection that the path names, or the 404.
fn connection(cx: &mut Context<'_>, request: &Request<'_>) -> Result<ConnId, Response> {
    let id = request
        .param_as::<ConnId>("id")
        .filter(|id| cx.is_open(*id));
    id.ok_or_else(|| {
        cx.count_refusal("no_connection");
        Response::problem(
            404,
            "there is no such connection: it is over, or it never was",
        )
    })
}

/// A body that is announced as something else than JSON is not read as JSON: forms of web pages announce other types,
/// and with this one a browser asks first. An empty body counts too.
fn expect_json(cx: &mut Context<'_>, request: &Request<'_>) -> Result<(), Response> {
    let mut types = request.head.header_all("content-type");
    let is_json = |value: &[u8]| {
        let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
        let media_type = media_type.trim_ascii().to_ascii_lowercase();
        media_type == b"application/json"
            || (media_type.starts_with(b"application/") && media_type.ends_with(b"+json"))
    };
    if types.all(is_json) {
        return Ok(());
    }
    cx.count_refusal("media_type");
    let detail = "this URL takes JSON: send it with `Content-Type: application/json`";
    Err(Response::problem(415, detail).header("Accept-Post", "application/json"))
}

/// The body as text, for [`members::members`]. An empty one stands for an object without members.
fn json_text<'a>(cx: &mut Context<'_>, request: &Request<'a>) -> Result<&'a str, Response> {
    match std::str::from_utf8(request.body) {
        Ok("") => Ok("{}"),
        Ok(text) => Ok(text),
        Err(_) => Err(super::bad_request(cx, "the body is not UTF-8")),
    }
}

/// `,"name":"value"`, or `null` for none.
fn push_member(json: &mut String, name: &str, value: Option<&str>) {
    json.push_str(",\"");
    json.push_str(name);
    json.push_str("\":");
    match value {
        Some(value) => members::push_string(json, value),
        None => json.push_str("null"),
    }
}

fn no_websocket() -> Upgrade {
    Upgrade::refuse(
        404,
        "this URL answers plain HTTP requests, it does not speak WebSocket",
    )
}

/// Where channels are meant to be if a request does not say otherwise.
const PUBSUB: &str = "pubsub";

/// Held against the real server by `tests/admin.rs`.
const OPENAPI: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests;
