//! A user is shut out.

use super::super::bad_request;
use super::push_member;
use crate::http::Response;
use crate::hub::{Context, Request, check_channel_name};
use crate::ws::CloseCode;

/// Closes the user's connections with 4403 and takes no signed token of it any more that was made up to this second.
pub(super) fn revoke(cx: &mut Context<'_>, request: &Request<'_>) -> Result<Response, Response> {
    let user = request.param("user").unwrap_or_default();
    if let Err(why) = check_channel_name(user) {
        return Err(bad_request(cx, &format!("the user: {why}")));
    }
    let closed = cx.revoke_user(user, CloseCode::FORBIDDEN, "access was revoked");
    let mut json = format!(
        "{{\"closed\":{closed},\"since\":{}",
        cx.now().unix_seconds()
    );
    push_member(&mut json, "user", Some(user));
    json.push('}');
    Ok(Response::json(200, json))
}
