//! One connection: looked at, sent to, closed, subscribed.

use std::borrow::Cow;
use std::fmt::Write;

use super::super::{bad_request, has_room, members, pubsub, unavailable};
use super::{PUBSUB, json_text, listings, push_member};
use crate::http::Response;
use crate::hub::{
    ConnId, Context, NameError, Request, SubscribeError, check_channel_name, is_pattern,
};
use crate::ws::{CloseCode, Message};

pub(super) fn one(
    cx: &mut Context<'_>,
    request: &Request<'_>,
    id: ConnId,
) -> Result<Response, Response> {
    if request.method() == "DELETE" {
        cx.close_other(id, CloseCode::NORMAL, "");
        return Ok(Response::new(204));
    }
    let mut json = String::new();
    if let Some(session) = cx.session(id) {
        listings::push_session(&mut json, &session);
    }
    Ok(Response::json(200, json))
}

pub(super) fn send(
    cx: &mut Context<'_>,
    request: &Request<'_>,
    id: ConnId,
) -> Result<Response, Response> {
    send_message(cx, id, pubsub::message_of(request))?;
    let mut json = object(id);
    let queued = cx.session(id).map_or(0, |session| session.queued_bytes());
    _ = write!(json, ",\"queued_bytes\":{queued}}}");
    Ok(Response::json(200, json))
}

/// Sends within the memory budget: 503 if that is used up, 409 if the connection is being closed.
pub(super) fn send_message(
    cx: &mut Context<'_>,
    id: ConnId,
    message: Message<'_>,
) -> Result<(), Response> {
    has_room(cx, &[message.len()]).map_err(|why| unavailable(&why))?;
    if cx.send_to(id, message) {
        return Ok(());
    }
    cx.count_refusal("connection_closing");
    Err(Response::problem(
        409,
        "this connection is being closed and takes nothing more",
    ))
}

pub(super) fn close(
    cx: &mut Context<'_>,
    request: &Request<'_>,
    id: ConnId,
) -> Result<Response, Response> {
    let (code, reason) =
        read_close(json_text(cx, request)?).map_err(|why| bad_request(cx, &why))?;
    cx.close_other(id, code, &reason);
    let mut json = object(id);
    _ = write!(json, ",\"code\":{code}");
    push_member(&mut json, "reason", Some(&reason));
    json.push('}');
    Ok(Response::json(200, json))
}

fn read_close(text: &str) -> Result<(CloseCode, Cow<'_, str>), String> {
    let [code, reason] =
        members::members(text, ["code", "reason"]).map_err(|why| why.to_string())?;
    let code = match code.map(|raw| raw.get().parse().map(CloseCode)) {
        None => CloseCode::NORMAL,
        Some(Ok(code)) if code.may_be_sent() => code,
        Some(_) => {
            return Err(
                "\"code\" must be a close code that may be sent: 1000 to 1003, \
                        1007 to 1014 or 3000 to 4999"
                    .into(),
            );
        }
    };
    let reason = match reason {
        None => Cow::Borrowed(""),
        Some(raw) => members::string(raw).ok_or("\"reason\" must be a string")?,
    };
    if reason.len() > REASON_BYTES_MAX {
        return Err(format!(
            "\"reason\" has {} bytes, at most {REASON_BYTES_MAX} travel (RFC 6455 §5.5)",
            reason.len()
        ));
    }
    Ok((code, reason))
}

/// Subscribes, or (`wanted` is false) unsubscribes.
pub(super) fn subscribe(
    cx: &mut Context<'_>,
    request: &Request<'_>,
    id: ConnId,
    wanted: bool,
) -> Result<Response, Response> {
    let text = json_text(cx, request)?;
    let [channel, name] = read_channel(text).map_err(|why| bad_request(cx, &why))?;
    // Users are kept as channels too, but who is whose is not for subscriptions to say.
    let space = cx.find_space(&name).filter(|_| name != "user");
    let Some(space) = space else {
        return Err(bad_request(
            cx,
            "no dialect on this server keeps channels in that \"space\"",
        ));
    };
    // It would be a channel that never speaks.
    if wanted && name == "pubsub" && is_pattern(&channel) {
        return Err(bad_request(cx, &NameError::IsPattern.to_string()));
    }
    let changed = if wanted {
        cx.subscribe_other(id, space, &channel)
            .map_err(|why| refusal(&why))?
    } else {
        cx.unsubscribe_other(id, space, &channel)
    };
    let mut json = object(id);
    push_member(&mut json, "space", Some(&name));
    push_member(&mut json, "channel", Some(&channel));
    _ = write!(json, ",\"subscribed\":{wanted},\"changed\":{changed}}}");
    Ok(Response::json(200, json))
}

/// Channel and space.
fn read_channel(text: &str) -> Result<[Cow<'_, str>; 2], String> {
    let [channel, space] =
        members::members(text, ["channel", "space"]).map_err(|why| why.to_string())?;
    let channel = channel
        .and_then(members::string)
        .ok_or("\"channel\" must be there, and a string")?;
    check_channel_name(&channel).map_err(|why| why.to_string())?;
    let space = match space {
        None => Cow::Borrowed(PUBSUB),
        Some(raw) => members::string(raw).ok_or("\"space\" must be a string")?,
    };
    Ok([channel, space])
}

fn refusal(why: &SubscribeError) -> Response {
    let status = match why {
        SubscribeError::Name(_) => 400,
        SubscribeError::TooManySubscriptions(_) => 422,
        SubscribeError::Closed => 404,
        SubscribeError::TooManyChannels(_) => return unavailable(&why.to_string()),
    };
    Response::problem(status, &why.to_string())
}

/// `{"id":"…"`, to be continued.
fn object(id: ConnId) -> String {
    format!("{{\"id\":\"{id}\"")
}

/// What a close frame has room for beside its code.
const REASON_BYTES_MAX: usize = 123;
