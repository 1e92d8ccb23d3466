//! What a `GET` of a channel wants: the same URL is a stream, a page of numbers, or a WebSocket's.
//!
//! | request | gets |
//! | --- | --- |
//! | `?info` | the channel's numbers |
//! | `?poll`, `?poll=0` | what there is, at once or when there is something |
//! | `?presence`, unless a stream is asked for by its type | who is in the channel |
//! | `Accept: text/event-stream` (`EventSource`) | server-sent events |
//! | `Accept: application/x-ndjson` | a line of JSON for each message |
//! | `Accept: application/json` | the channel's numbers |
//! | `Accept: text/html` (a browser's address bar) | 426: this URL speaks WebSocket |
//! | `Accept: text/plain` or `*/*` (`curl -N`), or nothing | a line for each message |
//!
//! Lines are of JSON too where the query says `since` or `positions`. The rows are tried from above; weights (`q=`) are not looked at, except that `q=0` is a no.

use crate::hub::{Request, Stream};

/// What a `GET` without an upgrade wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Info,
    Presence,
    Stream(Stream),
    WebSocket,
}

pub(super) fn wanted(request: &Request<'_>) -> Wanted {
    if request.query("info").is_some() {
        return Wanted::Info;
    }
    if let Some(poll) = request.query("poll") {
        let waits = poll != "0";
        return Wanted::Stream(Stream::Poll { waits });
    }
    let has_positions = ["since", "positions"]
        .iter()
        .any(|name| request.query(name).is_some());
    let lines = Wanted::Stream(match has_positions {
        true => Stream::Envelopes,
        false => Stream::Lines,
    });
    let accept = request.header("Accept");
    // On a stream it asks for changes.
    let is_stream = |accept| STREAMS.iter().any(|media_type| names(accept, media_type));
    if request.query("presence").is_some() && !accept.is_some_and(is_stream) {
        return Wanted::Presence;
    }
    let Some(accept) = accept else {
        return lines;
    };
    let rows = [
        ("text/event-stream", Wanted::Stream(Stream::Events)),
        ("application/x-ndjson", Wanted::Stream(Stream::Envelopes)),
        ("application/json", Wanted::Info),
        ("text/html", Wanted::WebSocket),
        ("text/plain", lines),
        ("*/*", lines),
    ];
    let row = rows
        .iter()
        .find(|(media_type, _)| names(accept, media_type));
    row.map_or(Wanted::WebSocket, |(_, wanted)| *wanted)
}

/// Types that nobody names who does not want a stream.
const STREAMS: [&str; 3] = ["text/event-stream", "application/x-ndjson", "text/plain"];

/// Whether a list of media types (RFC 9110 §12.5.1) has this one.
fn names(accept: &str, media_type: &str) -> bool {
    accept.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_it = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(media_type));
        is_it && !parts.any(is_no)
    })
}

/// `q=0`, however many digits it is written with.
fn is_no(parameter: &str) -> bool {
    let value = parameter
        .strip_prefix("q=")
        .or_else(|| parameter.strip_prefix("Q="));
    value.is_some_and(|q| q.starts_with('0') && q.bytes().all(|b| matches!(b, b'0' | b'.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accept_names_a_media_type() {
        for (accept, yes) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("a/b , text/event-stream;q=0.1", true),
            ("text/event-stream;q=0", false),
            ("text/event-stream ; q=0.000", false),
            ("text/event-streams", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(names(accept, "text/event-stream"), yes, "{accept}");
        }
    }
}
