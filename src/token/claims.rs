//! What a signed token says, as a grant.
//!
//! | claim | means |
//! | --- | --- |
//! | `sub` | the user (RFC 7519 §4.1.2); without it the token is nobody's |
//! | `exp`, `nbf`, `iat` | when it ends, begins, was made, in seconds since 1970 |
//! | `iss`, `aud` | for whom it was made and by whom, held against what is configured |
//! | `dunlin` | `{"subscribe":[…],"publish":[…],"presence":[…],"history":[…],"admin":["*"]}`, names and patterns |
//! | `mercure` | `{"subscribe":[…],"publish":[…]}`, as a Mercure hub has them: `*` is every channel, the rest are names or patterns |
//! | `channels` | names to which it may subscribe, as Centrifugo has them: a `*` in one is part of the name |
//!
//! They add up. Any other claim says nothing here.

use super::json::{self, Object};
use super::verifier::Expected;
use super::{Action, Grant, Rights, TokenError};

/// Channels and patterns in one token.
const PATTERNS_MAX: usize = 64;
/// As long as the name of a user may be: it is the name of a channel.
const USER_BYTES_MAX: usize = 255;

/// The grant that these claims are at a second since 1970.
pub(super) fn grant(payload: &[u8], expected: &Expected, now: u64) -> Result<Grant, TokenError> {
    let claims = Object::parse(payload).map_err(|_| TokenError::Malformed)?;
    let seconds = |name| match claims.get(name) {
        None => Ok(None),
        Some(value) => json::seconds(value).map(Some).ok_or(TokenError::Claims),
    };
    let leeway = expected.leeway_s;
    let (expires, issued) = (seconds("exp")?, seconds("iat")?);
    let expires_late = expires.map(|expires| expires.saturating_add(leeway));
    if expires_late.is_some_and(|until| now >= until) {
        return Err(TokenError::Expired);
    }
    if expires.is_none() && !expected.endless {
        return Err(TokenError::Endless);
    }
    // RFC 7519 says nothing of a token that was made tomorrow; it could not be told from one that was made after its
    // user was shut out.
    let latest = now.saturating_add(leeway);
    if [seconds("nbf")?, issued]
        .into_iter()
        .flatten()
        .any(|begin| begin > latest)
    {
        return Err(TokenError::NotYet);
    }
    check_issuer(&claims, expected)?;
    check_audience(&claims, expected)?;
    let user = match claims.get("sub") {
        None => String::new(),
        Some(value) => {
            let user = json::string(value).ok_or(TokenError::Claims)?.into_owned();
            let is_name = !user.is_empty() && user.len() <= USER_BYTES_MAX;
            if !is_name || user.contains(char::is_control) {
                return Err(TokenError::Claims);
            }
            user
        }
    };
    let mut rights = Rights::default();
    read_rights(&claims, "dunlin", &Action::ALL, &mut rights)?;
    read_rights(
        &claims,
        "mercure",
        &[Action::Subscribe, Action::Publish],
        &mut rights,
    )?;
    if let Some(names) = claims.get("channels") {
        let names = json::strings(names, PATTERNS_MAX).ok_or(TokenError::Claims)?;
        for name in names {
            let added = rights.add_name(Action::Subscribe, &name);
            added.map_err(|_| TokenError::Claims)?;
        }
    }
    if rights.len() > PATTERNS_MAX {
        return Err(TokenError::Claims);
    }
    rights.extend(&expected.rights);
    let grant = Grant::new(&user, &rights).signed(issued);
    Ok(match expires {
        Some(expires) => grant.expires(expires, leeway),
        None => grant,
    })
}

/// RFC 7519 §4.1.1: it means something where issuers are told apart.
fn check_issuer(claims: &Object<'_>, expected: &Expected) -> Result<(), TokenError> {
    if expected.issuers.is_empty() {
        return Ok(());
    }
    let issuer = claims.get("iss").and_then(json::string);
    let is_known =
        issuer.is_some_and(|issuer| expected.issuers.iter().any(|known| *known == issuer));
    is_known.then_some(()).ok_or(TokenError::Issuer)
}

/// RFC 7519 §4.1.3: a token that is for somebody by name is for nobody else, and who has no name is not meant.
fn check_audience(claims: &Object<'_>, expected: &Expected) -> Result<(), TokenError> {
    let named = match claims.get("aud") {
        None if expected.audiences.is_empty() => return Ok(()),
        None => return Err(TokenError::Audience),
        Some(value) => json::strings(value, PATTERNS_MAX).ok_or(TokenError::Claims)?,
    };
    let is_us = |name: &str| expected.audiences.iter().any(|own| own == name);
    let meant = named.iter().any(|name| is_us(name));
    meant.then_some(()).ok_or(TokenError::Audience)
}

/// The lists of a claim that is an object.
fn read_rights(
    claims: &Object<'_>,
    claim: &str,
    actions: &[Action],
    rights: &mut Rights,
) -> Result<(), TokenError> {
    let Some(value) = claims.get(claim) else {
        return Ok(());
    };
    let lists = Object::parse(value.as_bytes()).map_err(|_| TokenError::Claims)?;
    for action in actions {
        let Some(list) = lists.get(action.name()) else {
            continue;
        };
        for pattern in json::strings(list, PATTERNS_MAX).ok_or(TokenError::Claims)? {
            let is_admin_of_some = *action == Action::Admin && pattern != "*";
            if is_admin_of_some || rights.add(*action, &pattern).is_err() {
                return Err(TokenError::Claims);
            }
        }
    }
    Ok(())
}
