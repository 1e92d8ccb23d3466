//! Patterns (feature `wildcards`): `/ch/a.*` and `/ch/a.>` hear every channel whose name is like that.
//!
//! | request | answer |
//! | --- | --- |
//! | WebSocket `/ch/a.*`, lines | what is published to all of them, as it is |
//! | … `?positions`, `Accept: application/x-ndjson` | behind `{"type":"subscribed","pattern":"a.*"}`, in envelopes: `{"channel":"a.b","position":…}` |
//! | `Accept: text/event-stream` | `data:` is the envelope, and there is no `id:` |
//! | `?poll` | the next envelope, or 204; without a position to go on from |
//! | `?since`, `?rewind`, `?presence`, `?member`, `?info` | 400: those are for one channel |
//! | `POST` | 400 |
//! | a right that does not cover all that the pattern may have, a rule for some of it that refuses | 403 (401: who has no user) |
//!
//! `Last-Event-ID` and `If-None-Match` say nothing here: an `EventSource` that comes back has been given no id.

use super::wanted::{Wanted, wanted};
use super::{Begin, Who};
use crate::dialect::members::push_string;
use crate::dialect::permits::forbidden;
use crate::http::Response;
use crate::hub::{Context, NameError, Request, SubscribeError, check_pattern, is_pattern};
use crate::token::Action;

/// Whether a name is a pattern.
pub(super) fn is_one(name: &str) -> bool {
    is_pattern(name)
}

/// Whether a request makes sense with a pattern.
///
/// # Errors
/// Why not.
pub(super) fn check(request: &Request<'_>, pattern: &str) -> Result<(), String> {
    if request.method() == "POST" {
        return Err(NameError::IsPattern.to_string());
    }
    check_pattern(pattern).map_err(|why| why.to_string())?;
    let queries = ["since", "rewind", "presence", "member", "info"];
    let query = queries.iter().find(|name| request.query(name).is_some());
    let is_info = wanted(request) == Wanted::Info && request.header("Upgrade").is_none();
    match query.or(is_info.then_some(&"info")) {
        Some(name) => Err(format!(
            "`{name}` is for one channel, and this is a pattern: publications of many channels"
        )),
        None => Ok(()),
    }
}

/// Whether all channels of a pattern are allowed, or the 403 that says no.
pub(super) fn permit(cx: &mut Context<'_>, action: Action, pattern: &str) -> Result<(), Response> {
    if cx.may_pattern(action, pattern) || cx.may(Action::Admin, "") {
        return Ok(());
    }
    Err(forbidden(cx, action, "all channels of this pattern"))
}

/// Whether the options of all channels that a pattern may have let this session subscribe.
pub(super) fn admit(cx: &mut Context<'_>, pattern: &str) -> Result<(), Response> {
    let has_user = cx.user().is_some();
    let refuses = |who: Who| who == Who::Nobody || who == Who::Users && !has_user;
    let rules = cx.who_may_subscribe(pattern);
    let Some((names, who)) = rules.into_iter().find(|(_, who)| refuses(*who)) else {
        return Ok(());
    };
    let (status, whom) = match who {
        Who::Nobody => (403, "nobody"),
        _ => (401, "only users"),
    };
    let why =
        format!("this pattern has channels of the rule `{names}`, to which {whom} may subscribe");
    Err(super::not_admitted(cx, status, &why))
}

/// Subscribes, and says so to whoever wants to know where publications stand.
pub(super) fn join(
    cx: &mut Context<'_>,
    pattern: &str,
    begin: Begin,
) -> Result<(), SubscribeError> {
    cx.subscribe_pattern(pattern)?;
    if begin.wants_positions && cx.want_envelopes() {
        let mut json = String::from("{\"type\":\"subscribed\",\"pattern\":");
        push_string(&mut json, pattern);
        json.push('}');
        cx.send_text(&json);
    }
    Ok(())
}

/// Why a session may not say anything here, if that is for its pattern.
pub(super) fn why_silent(cx: &Context<'_>) -> Option<&'static str> {
    let why =
        "this is a pattern and no channel: publish to one channel, with POST or over its own URL";
    cx.has_patterns().then_some(why)
}
