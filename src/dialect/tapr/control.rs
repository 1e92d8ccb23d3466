//! The control paths: what the application asks for.
//!
//! | request | answer | does |
//! | --- | --- | --- |
//! | `GET …/list` | `{"code":0,"data":[…],"message":"success"}` | one entry per user, sorted by name |
//! | `POST …/send` | `{"code":0,"message":"success"}` | sends `payload` as one text message to each selected connection |
//! | `POST …/close` | the same | closes the selected connections with 1000 |
//! | `POST …/debug` | the same | nothing |
//! | a body that is not understood | `{"code":400,"message":"…"}` | nothing at all |
//! | no memory for it | `{"code":503,"message":"…"}` | nothing at all |
//! | another method | 405 with `Allow` | |
//! | from another machine | 404, unless [`TaprOptions::control_from_anywhere`](super::TaprOptions) is set | |
//!
//! The status is 200 wherever a `code` is told. Bodies are read as JSON whatever their content type says, and the
//! names of members in any case; of a repeated member the last one counts.
//!
//! | selector | selects |
//! | --- | --- |
//! | `users` | connections of these users; with `users_access_type` 1 those with a token of their own, with 2 the public ones |
//! | `tokens` | connections with one of these tokens; an empty one selects nobody |
//! | `conn_id` (send), `conns` (close) | these connections |
//!
//! Selectors are intersected; null, an empty list and an empty `conn_id` count as not given. Without any, `send` is
//! refused and `close` closes all.

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

use md5::{Digest, Md5};
use serde_json::value::RawValue;

use super::registry::{Member, Registry, Selection};
use super::{SPACE, Shared};
use crate::dialect::members::{self, Malformed, push_string};
use crate::dialect::{has_room, only};
use crate::http::Response;
use crate::hub::{Context, Handler, Reply, Request, Upgrade};
use crate::ws::{CloseCode, Message};

/// One control path; made by the methods of [`Tapr`](super::Tapr).
#[derive(Debug, Clone)]
pub struct TaprControl {
    shared: Rc<RefCell<Shared>>,
    verb: Verb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Send,
    Close,
    Debug,
}

impl TaprControl {
    pub(super) fn new(shared: Rc<RefCell<Shared>>, verb: Verb) -> Self {
        Self { shared, verb }
    }

    fn list(&self, cx: &mut Context<'_>) -> Response {
        let shared = self.shared.borrow();
        let max = shared.app.options.list_bytes_max;
        match list(&shared.registry, max) {
            Some(json) => Response::json(200, json),
            None => {
                cx.count_refusal("tapr_list_bytes");
                failure(503, &format!("the list is longer than {max} bytes"))
            }
        }
    }

    fn send(&self, cx: &mut Context<'_>, body: &[u8]) -> Response {
        let shared = self.shared.borrow();
        let (payload, found) = match read_send(&shared.registry, body) {
            Ok((payload, Some(found))) => (payload, found),
            Ok((_, None)) => {
                cx.count_refusal("tapr_send");
                return failure(400, "send message target is nil");
            }
            Err(why) => {
                cx.count_refusal("tapr_send");
                return failure(400, &format!("send data invalid, {why}"));
            }
        };
        let message = Message::Text(payload);
        if let Err(why) = has_room(cx, &[payload.len()]) {
            return failure(503, &why);
        }
        match &*found {
            [] => {}
            [member] => _ = cx.send_to(member.session, message),
            many => {
                let sessions: Vec<_> = many.iter().map(|member| member.session).collect();
                if let Err(why) = cx.send_many(&sessions, message) {
                    return failure(503, &why.to_string());
                }
            }
        }
        if shared.app.options.verbose_close {
            for member in &found {
                member.sent.count(payload.len());
            }
        }
        success()
    }

    pub(super) fn close(&self, cx: &mut Context<'_>, body: &[u8]) -> Response {
        let mut shared = self.shared.borrow_mut();
        let found = match read_close(&shared.registry, body) {
            Ok(Some(found)) => found,
            Ok(None) if shared.app.options.close_all => {
                cx.count_refusal("tapr_close_all");
                shared.registry.everybody()
            }
            Ok(None) => {
                cx.count_refusal("tapr_close");
                return failure(400, "receive data invalid, no connection is named");
            }
            Err(why) => {
                cx.count_refusal("tapr_close");
                return failure(400, &format!("receive data invalid, {why}"));
            }
        };
        for member in &found {
            // Who asks for the list next does not see it any more. The application is told when it has ended.
            shared.registry.leave(member);
            cx.close_other(member.session, CloseCode::NORMAL, CLOSED_BY_APP);
        }
        success()
    }
}

impl Handler for TaprControl {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        if !self.shared.borrow().app.options.control_from_anywhere && !request.peer.is_local() {
            cx.count_refusal("tapr_control_peer");
            return Response::problem(404, "nothing is here").into();
        }
        let methods: &[&str] = match self.verb {
            Verb::List => &["GET", "HEAD"],
            Verb::Send | Verb::Close | Verb::Debug => &["POST"],
        };
        if let Some(refusal) = only(request, methods) {
            return refusal.into();
        }
        match self.verb {
            Verb::List => self.list(cx),
            Verb::Send => self.send(cx, request.body),
            Verb::Close => self.close(cx, request.body),
            Verb::Debug => success(),
        }
        .header("Cache-Control", "no-store")
        .into()
    }

    fn on_upgrade(&mut self, _: &mut Context<'_>, _: &Request<'_>) -> Upgrade {
        Upgrade::refuse(
            404,
            "this URL answers plain HTTP requests, it does not speak WebSocket",
        )
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}

    fn space(&self) -> &str {
        SPACE
    }
}

fn success() -> Response {
    Response::json(200, "{\"code\":0,\"message\":\"success\"}")
}

fn failure(code: u16, message: &str) -> Response {
    let mut json = format!("{{\"code\":{code},\"message\":");
    push_string(&mut json, message);
    json.push('}');
    Response::json(200, json)
}

type Found = Option<Vec<Rc<Member>>>;

/// The payload, and whom it is for; `None`: nobody is named.
fn read_send<'a>(registry: &Registry, body: &'a [u8]) -> Result<(&'a str, Found), String> {
    let keys = ["payload", "users", "users_access_type", "tokens", "conn_id"];
    let [payload, users, access, tokens, conn_id] = read(body, keys)?;
    let mut selection = registry.select();
    if let Some(raw) = conn_id.filter(|raw| !matches!(raw.get(), "null" | "\"\"")) {
        let text = members::string(raw).ok_or_else(|| mistyped("conn_id", raw))?;
        selection.narrow();
        selection.conn(&text);
    }
    narrow(&mut selection, users, access, tokens)?;
    Ok((payload.map_or("null", RawValue::get), selection.finish()))
}

/// Who is to be closed; `None`: nobody is named.
fn read_close(registry: &Registry, body: &[u8]) -> Result<Found, String> {
    let keys = ["conns", "users", "users_access_type", "tokens"];
    let [conns, users, access, tokens] = read(body, keys)?;
    let mut selection = registry.select();
    each("conns", conns, &mut selection, |selection, id| {
        selection.conn(id);
    })?;
    narrow(&mut selection, users, access, tokens)?;
    Ok(selection.finish())
}

fn narrow(
    selection: &mut Selection<'_>,
    users: Option<&RawValue>,
    access: Option<&RawValue>,
    tokens: Option<&RawValue>,
) -> Result<(), String> {
    each("tokens", tokens, selection, |selection, token| {
        selection.token(token);
    })?;
    let public = match access.map_or("null", RawValue::get) {
        "null" | "0" => None,
        "1" => Some(false),
        "2" => Some(true),
        _ => return Err("users_access_type must be 0, 1 or 2".into()),
    };
    each("users", users, selection, |selection, user| {
        selection.user(user, |member| public.is_none_or(|p| p == member.public));
    })
}

/// Narrows by a list of strings, unless there is nothing in it.
fn each(
    name: &str,
    list: Option<&RawValue>,
    selection: &mut Selection<'_>,
    mut select: impl FnMut(&mut Selection<'_>, &str),
) -> Result<(), String> {
    let Some(list) = list.filter(|raw| raw.get() != "null") else {
        return Ok(());
    };
    let mut wrong = None;
    let mut first = true;
    let is_list = members::each_item(list, &mut |item| {
        if std::mem::take(&mut first) {
            selection.narrow();
        }
        match members::string(item) {
            Some(text) => select(selection, &text),
            // Half a character is in no name.
            None if item.get().starts_with('"') || item.get() == "null" => {}
            None => wrong = Some(mistyped(name, item)),
        }
    });
    match wrong {
        _ if !is_list => Err(mistyped(name, list)),
        Some(why) => Err(why),
        None => Ok(()),
    }
}

fn mistyped(name: &str, raw: &RawValue) -> String {
    let kind = match raw.get().bytes().next() {
        Some(b'"') => "string",
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "bool",
        _ => "number",
    };
    format!("json: cannot unmarshal {kind} into the field {name}")
}

/// The members of a body, or the words for what is wrong with it.
fn read<'a, const N: usize>(
    body: &'a [u8],
    keys: [&str; N],
) -> Result<[Option<&'a RawValue>; N], String> {
    let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8".to_owned())?;
    members::members_any_case(text, keys).map_err(|why| {
        let text = text.trim_ascii();
        match (why, text.chars().next()) {
            (Malformed::NotJson, None) => "unexpected end of JSON input".into(),
            (Malformed::NotJson, Some(first))
                if !matches!(first, '{' | '[' | '"' | '-' | '0'..='9' | 't' | 'f' | 'n') =>
            {
                format!("invalid character '{first}' looking for beginning of value")
            }
            (Malformed::NotJson, _) if ends_early(text) => "unexpected end of JSON input".into(),
            (why, _) => why.to_string(),
        }
    })
}

fn ends_early(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_err_and(|why| why.is_eof())
}

/// Everybody, by user; `None` if that takes more than `max` bytes.
fn list(registry: &Registry, max: usize) -> Option<String> {
    let mut json = String::from("{\"code\":0,\"data\":[");
    for (name, members) in registry.users() {
        json.push_str("{\"conns\":");
        let private = push_conns(&mut json, members, false, max);
        _ = write!(json, ",\"conns_number\":{private},\"name\":");
        push_string(&mut json, name);
        json.push_str(",\"public_conns\":");
        let public = push_conns(&mut json, members, true, max);
        _ = write!(json, ",\"public_conns_number\":{public}}},");
        if json.len() > max {
            return None;
        }
    }
    if json.ends_with(',') {
        json.pop();
    }
    json.push_str("],\"message\":\"success\"}");
    (json.len() <= max).then_some(json)
}

/// Appends the members with this access as an array; answers how many there are. Stops beyond `max` bytes.
fn push_conns(json: &mut String, members: &[Rc<Member>], public: bool, max: usize) -> usize {
    let mut count = 0;
    json.push('[');
    for member in members.iter().filter(|member| member.public == public) {
        if json.len() > max {
            break;
        }
        if count > 0 {
            json.push(',');
        }
        count += 1;
        _ = write!(json, "{{\"id\":\"{}\",\"token\":", member.id);
        push_string(json, &member.token);
        json.push_str(",\"userAgent\":");
        push_string(json, &member.user_agent);
        json.push_str(",\"userAgentTag\":\"");
        // A short name for a kind of client, which is what this digest is good for.
        if !member.user_agent.is_empty() {
            for byte in Md5::digest(member.user_agent.as_bytes()) {
                _ = write!(json, "{byte:02x}");
            }
        }
        json.push_str("\"}");
    }
    json.push(']');
    count
}

const CLOSED_BY_APP: &str = "closed by the application";
