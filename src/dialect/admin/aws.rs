//! The verbs of an AWS WebSocket API (`@connections`), for programs that were written for one: point their SDK's
//! `endpoint_url` at the listener of this server, with or without a stage behind it.
//!
//! | request | SDK | answer |
//! | --- | --- | --- |
//! | `POST …/@connections/{id}` | `post_to_connection` | 200; the client gets the body |
//! | `GET …/@connections/{id}` | `get_connection` | 200 `{}` while it is open |
//! | `DELETE …/@connections/{id}` | `delete_connection` | 204; the client gets 1000 |
//! | an unknown id | | 410, `GoneException` |
//! | a body above [`BODY_BYTES_MAX`] | | 413, `PayloadTooLargeException` |
//!
//! A body goes out as text if it is UTF-8, whatever its content type is. When the connection was made and from where is
//! not kept, and members that are not known are left out. The signature of a request is not looked at: keys of the
//! route, if it has any, are sent as to every other route.

use super::connections::send_message;
use crate::http::Response;
use crate::hub::{ConnId, Context, Request};
use crate::ws::{CloseCode, Message};

pub(super) fn answer(cx: &mut Context<'_>, request: &Request<'_>) -> Response {
    let id = request
        .param_as::<ConnId>("id")
        .filter(|id| cx.is_open(*id));
    let Some(id) = id else {
        cx.count_refusal("no_connection");
        return gone();
    };
    match request.method() {
        "POST" => post(cx, request.body, id),
        "DELETE" => {
            cx.close_other(id, CloseCode::NORMAL, "");
            Response::new(204)
        }
        _ => Response::json(200, "{}"),
    }
}

fn post(cx: &mut Context<'_>, body: &[u8], id: ConnId) -> Response {
    if body.len() > BODY_BYTES_MAX {
        cx.count_refusal("aws_payload");
        return error(
            413,
            "PayloadTooLargeException",
            "{\"message\":\"the data has more than 131072 bytes\"}",
        );
    }
    let message = std::str::from_utf8(body).map_or(Message::Binary(body), Message::Text);
    match send_message(cx, id, message) {
        Ok(()) => Response::json(200, "{}"),
        Err(refusal) if refusal.status == 409 => gone(),
        Err(refusal) => refusal,
    }
}

fn gone() -> Response {
    error(410, "GoneException", "{\"message\":null}")
}

fn error(status: u16, kind: &'static str, json: &str) -> Response {
    Response::json(status, json).header("x-amzn-ErrorType", kind)
}

/// What AWS takes.
const BODY_BYTES_MAX: usize = 128 << 10;
