//! A build without the feature `wildcards`: whoever asks for a pattern is told so, and waits for nothing.

use super::Begin;
use crate::http::Response;
use crate::hub::{Context, Request, SubscribeError};
use crate::token::Action;

/// Nobody comes in with one.
pub(super) fn is_one(_name: &str) -> bool {
    false
}

pub(super) fn check(_: &Request<'_>, _pattern: &str) -> Result<(), String> {
    Err("this build knows no patterns (`*`, `>`): build it with the feature `wildcards`".into())
}

pub(super) fn permit(_: &mut Context<'_>, _: Action, _pattern: &str) -> Result<(), Response> {
    Ok(())
}

pub(super) fn admit(_: &mut Context<'_>, _pattern: &str) -> Result<(), Response> {
    Ok(())
}

pub(super) fn join(_: &mut Context<'_>, _pattern: &str, _: Begin) -> Result<(), SubscribeError> {
    Ok(())
}

pub(super) fn why_silent(_: &Context<'_>) -> Option<&'static str> {
    None
}
