//! A build without the feature `presence`: whoever asks who is in a channel is told so.

use super::PubSubOptions;
use crate::http::Response;
use crate::hub::{Context, Request};

#[derive(Debug)]
pub(super) struct Wish;

impl Wish {
    pub(super) fn read(
        cx: &mut Context<'_>,
        request: &Request<'_>,
        channel: &str,
        options: &PubSubOptions,
    ) -> Result<Self, Response> {
        match request.query("presence") {
            Some(_) => Err(page(cx, channel, options)),
            None => Ok(Self),
        }
    }

    pub(super) fn grant(&self, _: &mut Context<'_>, _channel: &str) -> Result<(), Response> {
        Ok(())
    }
}

pub(super) fn page(cx: &mut Context<'_>, _channel: &str, _: &PubSubOptions) -> Response {
    cx.count_refusal("presence_not_kept");
    Response::problem(
        404,
        "who is in a channel is not kept by this build (feature `presence`)",
    )
}
