//! Calls by plain HTTP on the same route, as a node takes them.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET`, `HEAD` without query and body | 200, empty: a load balancer looks whether somebody is there |
//! | `PUT`, `DELETE` | 405 |
//! | `OPTIONS` | 200, empty; where a browser asks whether a page may, what it may (CORS) |
//! | another content type than JSON's three | 415 |
//! | anything else | a message; its answer comes with 200, also where it is an error |
//!
//! Pages of the route's `origins` may read the answers.

use super::super::cors;
use super::Asker;
use super::gateway::{Gateway, Heard};
use super::message::{PARSE_ERROR, answer, error_tail};
use crate::http::Response;
use crate::hub::{Context, Reply, Request};

const CONTENT_TYPES: [&str; 3] = [
    "application/json",
    "application/json-rpc",
    "application/jsonrequest",
];

pub(super) fn on_request(
    gateway: &mut Gateway,
    cx: &mut Context<'_>,
    request: &Request<'_>,
) -> Reply {
    let origin = cors::page_of(request);
    match take(gateway, cx, request) {
        Reply::Now(response) => cors::for_page(response, origin).into(),
        Reply::Later(ticket) => {
            gateway.pages.extend(origin.map(|origin| (ticket, origin)));
            Reply::Later(ticket)
        }
        other => other,
    }
}

fn take(gateway: &mut Gateway, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
    let method = request.method();
    let is_bare = request.body.is_empty() && !request.head.target().contains('?');
    if matches!(method, "GET" | "HEAD") && is_bare {
        return Response::new(200).into();
    }
    if matches!(method, "PUT" | "DELETE") {
        cx.count_refusal("bad_request");
        let response = Response::text(405, "method not allowed\n");
        return response.header("Allow", "GET, HEAD, POST, OPTIONS").into();
    }
    if let Some(answer) = cors::preflight(request, "POST, GET", "Content-Type") {
        return answer.into();
    }
    if method != "OPTIONS" && !is_json(request.header("Content-Type")) {
        cx.count_refusal("bad_request");
        let detail = "invalid content type, only application/json is supported\n";
        return Response::text(415, detail).into();
    }
    if request.body.iter().all(u8::is_ascii_whitespace) {
        return Response::json(200, "").into();
    }
    let ticket = cx.ticket();
    match gateway.hear(cx, Asker::Request(ticket), request.body) {
        Heard::Answer(text) => Response::json(200, text).into(),
        Heard::Later => Reply::Later(ticket),
        Heard::Nothing => Response::json(200, "").into(),
        Heard::Broken(_) => {
            let tail = error_tail(PARSE_ERROR, "parse error");
            Response::json(200, answer("null", &tail)).into()
        }
    }
}

fn is_json(content_type: Option<&str>) -> bool {
    let kind = content_type.unwrap_or_default().split(';').next();
    let kind = kind.unwrap_or_default().trim();
    CONTENT_TYPES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(kind))
}
