//! What a subscriber wants of a channel, and how publications are tagged (feature `filters`).
//!
//! | request | |
//! | --- | --- |
//! | subscribing, `?types=goal,card` | what is called one of these (`X-EventSource-Event`, `event`) |
//! | … `?tags=red,blue` | what has one of these tags; with both queries one of each |
//! | `POST /ch/{channel}`, `X-Tags: red, blue` | tags of this publication |
//! | `POST /ch`, `"tags":["red","blue"]` beside `data` | the same |
//!
//! Words stand in lists with commas between, and spaces around them do not count. An empty list, an empty word or one too
//! many is a 400: what is misspelled must not look like silence.

use serde_json::value::RawValue;

use crate::dialect::{members, unavailable};
use crate::http::Response;
use crate::hub::{Context, Filter, PublishError, Published, Request, Tags as Words, check_event};
use crate::ws::Message;

/// Of a publication.
pub(super) struct Tags(Words);

impl Tags {
    /// All lines of the header are one list (RFC 9110 §5.3).
    pub(super) fn read(request: &Request<'_>) -> Result<Self, String> {
        let mut list = String::new();
        for line in request.head.header_all("X-Tags") {
            let line = std::str::from_utf8(line).map_err(|_| "`X-Tags` is not UTF-8")?;
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(line);
        }
        if list.is_empty() && request.head.header_all("X-Tags").next().is_none() {
            return Ok(Self(Words::default()));
        }
        let tags = Words::new(split(&list));
        tags.map(Self).map_err(|why| format!("`X-Tags`: {why}"))
    }

    /// Those of a member of an object, a list of strings.
    pub(super) fn of(list: Option<&RawValue>) -> Result<Self, String> {
        let Some(list) = list else {
            return Ok(Self(Words::default()));
        };
        let none = || "\"tags\" must be an array of strings".to_owned();
        // One too many is enough to be told so.
        let items = members::items(list, ITEMS_MAX).map_err(|_| none())?;
        let tags = items.into_iter().map(members::string);
        let tags = tags.collect::<Option<Vec<_>>>().ok_or_else(none)?;
        let tags = Words::new(tags.iter().map(|tag| &**tag));
        tags.map(Self).map_err(|why| format!("\"tags\": {why}"))
    }
}

/// Items that are looked at of a list that may have fewer.
const ITEMS_MAX: usize = 256;

pub(super) fn publish(
    cx: &mut Context<'_>,
    channel: &str,
    event: Option<&str>,
    Tags(tags): &Tags,
    message: Message<'_>,
) -> Result<Published, PublishError> {
    cx.publish_tagged(channel, event, tags, message)
}

/// Makes the session one that gets what its request asks for.
///
/// # Errors
/// The answer to a request that is wrong, or for which there is no room.
pub(super) fn filter(cx: &mut Context<'_>, request: &Request<'_>) -> Result<(), Response> {
    match wanted(request) {
        Ok(None) => Ok(()),
        Ok(Some(filter)) => cx
            .filter(filter)
            .map_err(|why| unavailable(&why.to_string())),
        Err(why) => Err(Response::problem(400, &why)),
    }
}

fn wanted(request: &Request<'_>) -> Result<Option<Filter>, String> {
    let (types, tags) = (request.query("types"), request.query("tags"));
    if types.is_none() && tags.is_none() {
        return Ok(None);
    }
    let mut filter = Filter::default();
    if let Some(types) = &types {
        filter = filter
            .types(split(types))
            .map_err(|why| format!("`types`: {why}"))?;
        for name in split(types) {
            check_event(name).map_err(|why| format!("`types`: {why}"))?;
        }
    }
    if let Some(tags) = &tags {
        filter = filter
            .tags(split(tags))
            .map_err(|why| format!("`tags`: {why}"))?;
    }
    Ok(Some(filter))
}

/// The words of a list.
fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}
