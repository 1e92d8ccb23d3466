//! What a key or token allows, asked by dialects that know channels, and tokens that come in messages.
//!
//! ```text
//!   client                                              server
//!     {"type":"auth","token":"…"}                  ──▶
//!                                                  ◀──  {"type":"auth","user":"ann","expires":1795174253}
//!                                                  ◀──  {"type":"error","message":"…"}   a later one that is not good:
//!                                                                                        what was allowed stays so
//!                                                  ◀──  close 4401                       a first one that is not good
//! ```

use std::borrow::Cow;
use std::fmt::Write;

use super::bad_message;
use super::members::{self, push_string};
use crate::http::Response;
use crate::hub::Context;
use crate::token::Action;
use crate::ws::{CloseCode, Message};

/// Whether something is allowed with a channel, or the 403 that says no. Who looks after the server may do everything.
pub(super) fn permit(cx: &mut Context<'_>, action: Action, channel: &str) -> Result<(), Response> {
    if cx.may(action, channel) || cx.may(Action::Admin, "") {
        return Ok(());
    }
    Err(forbidden(cx, action, "this channel"))
}

/// The 403 for something that is not allowed there.
pub(super) fn forbidden(cx: &mut Context<'_>, action: Action, place: &str) -> Response {
    cx.count_refusal(PERMISSION);
    let verb = action.name();
    let detail = format!("what your key or token allows does not include: {verb} on {place}");
    Response::problem(403, &detail).header("WWW-Authenticate", INSUFFICIENT)
}

/// The counter's label.
pub(super) const PERMISSION: &str = "permission";
/// RFC 6750 §3.1.
const INSUFFICIENT: &str = "Bearer error=\"insufficient_scope\"";

/// What a message has to do with tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing: it is for the dialect.
    Nothing,
    /// The session may begin.
    Admitted,
    /// It was a token and has been answered, or the session is being closed.
    Answered,
}

/// Takes a message for a token, if this session has one or needs one. Elsewhere it is a message like any other.
pub(super) fn hear_token(cx: &mut Context<'_>, message: Message<'_>) -> Heard {
    let first = cx.awaits_token();
    if !first && cx.grant().is_none() {
        return Heard::Nothing;
    }
    let Some(token) = token_in(message) else {
        if !first {
            return Heard::Nothing;
        }
        cx.count_refusal("key_missing");
        let why = "the first message must be {\"type\":\"auth\",\"token\":\"…\"}";
        cx.close(CloseCode::AUTH_MISSING, why);
        return Heard::Answered;
    };
    match cx.authenticate(&token) {
        Ok(expires) => {
            let mut text = String::from("{\"type\":\"auth\",\"user\":");
            match cx.user() {
                Some(user) => push_string(&mut text, user),
                None => text.push_str("null"),
            }
            match expires {
                Some(expires) => _ = write!(text, ",\"expires\":{expires}}}"),
                None => text.push_str(",\"expires\":null}"),
            }
            cx.send(Message::Text(&text));
            if first {
                return Heard::Admitted;
            }
            if !cx.may_keep_its_channels() {
                cx.count_refusal(PERMISSION);
                let why = "the new token does not allow a channel that you are subscribed to";
                cx.close(CloseCode::FORBIDDEN, why);
            }
        }
        Err(why) if first => cx.close(CloseCode::AUTH_MISSING, &why.to_string()),
        Err(why) => bad_message(cx, &why.to_string()),
    }
    Heard::Answered
}

/// The token, if the message is there to bring one.
fn token_in(message: Message<'_>) -> Option<Cow<'_, str>> {
    let Message::Text(text) = message else {
        return None;
    };
    // Most messages are no such thing, and need not be read to know it.
    if !text.contains("\"token\"") {
        return None;
    }
    let [kind, token] = members::members(text, ["type", "token"]).ok()?;
    (members::string(kind?)? == "auth").then_some(())?;
    members::string(token?)
}
