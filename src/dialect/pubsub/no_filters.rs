//! A build without the feature `filters`: whoever asks for some of a channel, or tags what it says, is told so.

use serde_json::value::RawValue;

use crate::http::Response;
use crate::hub::{Context, PublishError, Published, Request};
use crate::ws::Message;

/// Of a publication: none.
pub(super) struct Tags;

const NONE_HERE: &str = "this build does not filter: build it with the feature `filters`";

impl Tags {
    pub(super) fn read(request: &Request<'_>) -> Result<Self, String> {
        none(request.header("X-Tags").is_some())
    }

    pub(super) fn of(list: Option<&RawValue>) -> Result<Self, String> {
        none(list.is_some())
    }
}

fn none(is_asked: bool) -> Result<Tags, String> {
    match is_asked {
        true => Err(NONE_HERE.into()),
        false => Ok(Tags),
    }
}

pub(super) fn publish(
    cx: &mut Context<'_>,
    channel: &str,
    event: Option<&str>,
    _: &Tags,
    message: Message<'_>,
) -> Result<Published, PublishError> {
    cx.publish_event(channel, event, message)
}

pub(super) fn filter(_: &mut Context<'_>, request: &Request<'_>) -> Result<(), Response> {
    let is_asked = ["types", "tags"]
        .iter()
        .any(|name| request.query(name).is_some());
    match none(is_asked) {
        Ok(_) => Ok(()),
        Err(why) => Err(Response::problem(400, &why)),
    }
}
