//! Callbacks: what the application is told about a session, and what becomes of its answers.
//!
//! | `action` | when | `data` |
//! | --- | --- | --- |
//! | `open` | the session is open and can be found by the control paths | `{}` |
//! | `message` | a client's message that is no ping | the client's object as it was sent, see [`data`] |
//! | `close` | exactly once, after the last message | `{}`, or how it ended if [`verbose_close`](super::TaprOptions) is set |
//!
//! | the application | counted as | the client |
//! | --- | --- | --- |
//! | answers 2xx | – | stays; gets the answer's JSON if [`reply_from_callback`](super::TaprOptions) is set |
//! | answers another status | `tapr_callback_status` | stays |
//! | does not answer | `tapr_callback_failed` | stays |

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::value::RawValue;

use super::App;
use super::registry::Member;
use crate::dialect::members::{self, Malformed, push_string};
use crate::hub::{Answered, Call, CloseInfo, Context};

/// A session is open.
pub(super) fn open(app: &App, cx: &mut Context<'_>, member: &Member) {
    ask(app, cx, member, "open", "{}");
}

/// A session sent something.
pub(super) fn message(app: &App, cx: &mut Context<'_>, member: &Member, data: &str) {
    ask(app, cx, member, "message", data);
}

/// A session is over.
pub(super) fn close(app: &App, cx: &mut Context<'_>, member: &Member, close: CloseInfo<'_>) {
    let mut data = String::from("{");
    if app.options.verbose_close {
        _ = write!(data, "\"code\":{},\"reason\":", close.code.0);
        push_string(&mut data, close.reason);
        _ = write!(
            data,
            ",\"connected_ms\":{},\"messages_in\":{},\"bytes_in\":{},\"messages_out\":{},\"bytes_out\":{}",
            cx.now().ms.saturating_sub(member.opened_ms),
            member.received.messages.get(),
            member.received.bytes.get(),
            member.sent.messages.get(),
            member.sent.bytes.get(),
        );
    }
    data.push('}');
    ask(app, cx, member, "close", &data);
}

fn ask(app: &App, cx: &mut Context<'_>, member: &Member, action: &str, data: &str) {
    let Some(target) = &app.target else {
        return;
    };
    let mut body = String::with_capacity(data.len() + 160);
    _ = write!(
        body,
        "{{\"data\":{data},\"action\":\"{action}\",\"user_name\":"
    );
    push_string(&mut body, &member.user);
    _ = write!(body, ",\"conn_id\":\"{}\",\"token\":", member.id);
    push_string(&mut body, &member.token);
    _ = write!(body, ",\"access_public\":{}}}", member.public);
    let mut headers = vec![
        (
            Cow::Borrowed("Content-Type"),
            String::from("application/json"),
        ),
        (Cow::Borrowed("Cookie"), String::from(&*member.cookie)),
    ];
    if app.options.forwarded_for {
        headers.push((
            Cow::Borrowed(super::FORWARDED_FOR),
            String::from(&*member.forwarded_for),
        ));
    }
    #[cfg(feature = "signature")]
    {
        let keys = &app.options.signature_keys;
        headers.extend(keys.header(cx.now().unix_seconds(), body.as_bytes()));
    }
    cx.call(Call {
        target: target.clone(),
        method: "POST",
        headers,
        body: body.into_bytes(),
        timeout_ms: app.options.callback_timeout_ms,
    });
}

/// What a client's message is for the application.
pub(super) enum Said<'a> {
    /// A sign of life, which is not passed on.
    Ping,
    /// The value of `data`.
    Data(&'a str),
}

/// Reads a client's message: an object and null as they were sent; of anything else, which an application cannot
/// expect, an empty object.
pub(super) fn data(text: &str) -> Said<'_> {
    match members::members(text, ["event"]) {
        Ok([event]) if event.and_then(members::string).as_deref() == Some("ping") => Said::Ping,
        Ok(_) => Said::Data(text.trim_ascii()),
        Err(Malformed::NotObject) if text.trim_ascii() == "null" => Said::Data("null"),
        Err(_) => Said::Data("{}"),
    }
}

/// An application's answer, to a session that may be gone meanwhile.
pub(super) fn answered(
    app: &App,
    cx: &mut Context<'_>,
    member: Option<&Member>,
    answered: Answered<'_>,
) {
    if !(200..300).contains(&answered.head.status()) {
        cx.count_refusal("tapr_callback_status");
        return;
    }
    let Some(member) = member.filter(|_| app.options.reply_from_callback) else {
        return;
    };
    let text = std::str::from_utf8(answered.body).map(str::trim_ascii);
    match text.map(|text| (text, serde_json::from_str::<&RawValue>(text).is_ok())) {
        // Nothing, or a word for it, is no reply.
        Ok(("" | "null", _)) => {}
        Ok((text, true)) => {
            if cx.send_text(text) {
                member.sent.count(text.len());
            }
        }
        _ => cx.count_refusal("tapr_callback_reply"),
    }
}
