//! Answers that a web page of another origin may read (CORS, Fetch §3.2).
//!
//! The rule: **whose page may connect may read.** The server has checked the route's `origins` before a handler sees a
//! request, so the origin of one that is here is allowed, and is told so by name. Cookies are not invited
//! (`Access-Control-Allow-Credentials` is never sent): what a page may do it does with what it knows itself.

use std::borrow::Cow;

use crate::http::Response;
use crate::hub::Request;

/// Seconds for which a browser need not ask again whether it may.
const PREFLIGHT_SECONDS: &str = "600";

/// A header's name and value.
type Header = (Cow<'static, str>, Cow<'static, str>);

/// The origin of the page that asks, if it is one.
pub(super) fn page_of(request: &Request<'_>) -> Option<String> {
    request.header("Origin").map(str::to_owned)
}

/// An answer as the page that has asked may read it.
pub(super) fn for_page(mut response: Response, origin: Option<String>) -> Response {
    response
        .headers
        .extend(origin.into_iter().flat_map(headers_for));
    response
}

/// What lets a page of this origin read an answer.
pub(super) fn headers_for(origin: String) -> [Header; 2] {
    [
        ("Access-Control-Allow-Origin".into(), origin.into()),
        ("Vary".into(), "Origin".into()),
    ]
}

/// The answer to a browser that asks whether a page may send such a request (Fetch §4.8); `None`: it asks nothing of
/// the kind.
pub(super) fn preflight(
    request: &Request<'_>,
    methods: &'static str,
    headers: &'static str,
) -> Option<Response> {
    let asks =
        request.method() == "OPTIONS" && request.header("Access-Control-Request-Method").is_some();
    asks.then(|| {
        Response::new(200)
            .header("Access-Control-Allow-Methods", methods)
            .header("Access-Control-Allow-Headers", headers)
            .header("Access-Control-Max-Age", PREFLIGHT_SECONDS)
    })
}
