//! Lists of connections and channels, in pages.
//!
//! A page ends at `limit` entries, at [`PAGE_BYTES_MAX`] of JSON, or after as many slots of the hub as one request may
//! look at ([`SLOTS_PER_PAGE`](crate::hub::SLOTS_PER_PAGE)). Whatever ended it, `next_cursor` says where the next one
//! begins; `null`: this was the last. So a page can be empty and yet not be the last.

use std::fmt::Write;

use super::super::{bad_request, members::push_string};
use super::push_member;
use crate::http::Response;
use crate::hub::{Context, Request, SessionFilter, SessionView};

pub(super) fn connections(
    cx: &mut Context<'_>,
    request: &Request<'_>,
) -> Result<Response, Response> {
    let page = Page::of(cx, request)?;
    let [user, channel, space, route] =
        ["user", "channel", "space", "route"].map(|name| filter(request, name));
    let filter = SessionFilter {
        user: user.as_deref(),
        channel: channel.as_deref(),
        space: space.as_deref(),
        route: route.as_deref(),
    };
    let mut list = List::new("connections", page);
    let next = cx.list_sessions(&filter, page.from, &mut |session| {
        list.has_room() && push_session(list.next(), &session)
    });
    Ok(list.end(next))
}

pub(super) fn channels(cx: &mut Context<'_>, request: &Request<'_>) -> Result<Response, Response> {
    let page = Page::of(cx, request)?;
    let [prefix, space] = ["prefix", "space"].map(|name| filter(request, name));
    let mut list = List::new("channels", page);
    let next = cx.list_channels(
        space.as_deref(),
        prefix.as_deref().unwrap_or_default(),
        page.from,
        &mut |channel| {
            if !list.has_room() {
                return false;
            }
            let json = list.next();
            json.push_str("{\"space\":");
            push_string(json, channel.space);
            push_member(json, "name", Some(channel.name));
            _ = write!(json, ",\"subscribers\":{}}}", channel.subscribers);
            true
        },
    );
    Ok(list.end(next))
}

/// One connection as an object; always `true`.
pub(super) fn push_session(json: &mut String, session: &SessionView<'_>) -> bool {
    _ = write!(json, "{{\"id\":\"{}\"", session.id());
    push_member(json, "route", Some(session.template()));
    _ = write!(json, ",\"route_number\":{}", session.route());
    push_member(json, "user", session.user());
    json.push_str(",\"channels\":[");
    for (at, channel) in session.channels().enumerate() {
        json.push_str(if at == 0 {
            "{\"space\":"
        } else {
            ",{\"space\":"
        });
        push_string(json, channel.space);
        push_member(json, "name", Some(channel.name));
        json.push('}');
    }
    _ = write!(json, "],\"queued_bytes\":{}}}", session.queued_bytes());
    true
}

/// A filter that is not empty. No user and no channel has an empty name.
fn filter(request: &Request<'_>, name: &str) -> Option<String> {
    request.query(name).filter(|value| !value.is_empty())
}

#[derive(Clone, Copy)]
struct Page {
    limit: usize,
    from: u32,
}

impl Page {
    fn of(cx: &mut Context<'_>, request: &Request<'_>) -> Result<Self, Response> {
        let limit = match filter(request, "limit") {
            None => Some(LIMIT),
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MAX).contains(limit)),
        };
        let from = match filter(request, "cursor") {
            None => Some(0),
            Some(text) => text.parse().ok(),
        };
        let why = match (limit, from) {
            (Some(limit), Some(from)) => return Ok(Self { limit, from }),
            (None, _) => "`limit` must be a number from 1 to 1000",
            _ => "`cursor` must be the `next_cursor` of the page before",
        };
        Err(bad_request(cx, why))
    }
}

struct List {
    json: String,
    left: usize,
    is_empty: bool,
}

impl List {
    fn new(name: &str, page: Page) -> Self {
        Self {
            json: format!("{{\"{name}\":["),
            left: page.limit,
            is_empty: true,
        }
    }

    fn has_room(&self) -> bool {
        self.left > 0 && self.json.len() < PAGE_BYTES_MAX
    }

    /// Where the next entry is to be written.
    fn next(&mut self) -> &mut String {
        self.left -= 1;
        if !std::mem::take(&mut self.is_empty) {
            self.json.push(',');
        }
        &mut self.json
    }

    fn end(mut self, next: Option<u32>) -> Response {
        self.json.push(']');
        let next = next.map(|slot| slot.to_string());
        push_member(&mut self.json, "next_cursor", next.as_deref());
        self.json.push('}');
        Response::json(200, self.json)
    }
}

/// Entries of a page if nothing is said.
const LIMIT: usize = 100;
/// Most entries of a page.
const LIMIT_MAX: usize = 1000;
/// JSON beyond which a page takes no further entry.
const PAGE_BYTES_MAX: usize = 256 << 10;
