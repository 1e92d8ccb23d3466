//! Who may use a route: keys, tokens and origins.

use std::sync::Arc;

use crate::http::Head;
use crate::token::{Action, Gate, Grant, TokenError};
use crate::ws::{BEARER_SUBPROTOCOL, offered_subprotocols};

/// Keys and tokens that open a route, and where clients may present them.
///
/// ```
/// use dunlin::server::Keys;
/// use dunlin::token::{Action, Grant, Rights};
///
/// let news = Rights::default().allow(Action::Subscribe, "news.*")?;
/// let keys = Keys::new(["opens everything".to_owned()])
///     .grant("a reader's", Grant::new("ann", &news))
///     .cookie("session");
/// # assert!(!keys.is_empty());
/// # Ok::<(), dunlin::token::PatternError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Keys {
    gate: Gate,
    /// Query parameters that may carry a key.
    parameters: Vec<String>,
    /// The cookie likewise.
    cookie: Option<String>,
    /// Who presents nothing may still do so in its first message.
    in_message: bool,
    /// What a client without a good key is answered.
    forbids: bool,
}

/// Who is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admitted {
    /// Somebody who may do everything.
    Everything,
    /// Somebody who may do this.
    Granted(Arc<Grant>),
    /// Somebody who has to show a token in a message first.
    Awaited,
}

impl Admitted {
    pub(super) fn grant(&self) -> Option<&Arc<Grant>> {
        match self {
            Self::Granted(grant) => Some(grant),
            Self::Everything | Self::Awaited => None,
        }
    }
}

impl Keys {
    /// These keys, each of which opens everything; no key at all leaves the route open.
    pub fn new(keys: impl IntoIterator<Item = String>) -> Self {
        let mut gate = Gate::default();
        keys.into_iter().for_each(|key| gate.add_key(key, None));
        Self {
            gate,
            parameters: vec!["token".to_owned()],
            ..Self::default()
        }
    }

    /// A key that opens what a grant says.
    pub fn grant(self, key: &str, grant: Grant) -> Self {
        self.shared_grant(key, Arc::new(grant))
    }

    /// As [`grant`](Self::grant), with one grant for several routes.
    pub fn shared_grant(mut self, key: &str, grant: Arc<Grant>) -> Self {
        self.gate.add_key(key.to_owned(), Some(grant));
        self
    }

    /// Takes signed tokens too.
    #[cfg(feature = "jwt")]
    pub fn tokens(mut self, verifier: Arc<crate::token::Verifier>) -> Self {
        self.gate.set_verifier(verifier);
        self
    }

    /// Another query parameter that may carry the key, beside `token`.
    pub fn parameter(mut self, name: &str) -> Self {
        self.parameters.push(name.to_owned());
        self
    }

    /// A cookie that may carry the key. Browsers send cookies for whichever page asks: set
    /// [`origins`](super::RouteSettings::origins) with it.
    pub fn cookie(mut self, name: &str) -> Self {
        self.cookie = Some(name.to_owned());
        self
    }

    /// Lets a WebSocket in that presents nothing, to do so in a message: see
    /// [`Context::authenticate`](crate::hub::Context::authenticate), and set
    /// [`first_command_timeout_ms`](super::RouteSettings::first_command_timeout_ms) with it.
    pub fn in_message(mut self) -> Self {
        self.in_message = true;
        self
    }

    /// What a grant must allow with all channels to open the route: for handlers that do not ask what is allowed.
    pub fn need(mut self, action: Action) -> Self {
        self.gate.need(action);
        self
    }

    /// Answers 403 and not 401 to a client without a good key, for those that know nothing else.
    pub fn forbid(mut self) -> Self {
        self.forbids = true;
        self
    }

    /// The status for a refusal by these keys.
    pub(super) fn status(&self, error: AccessError) -> u16 {
        match error {
            AccessError::NoKey | AccessError::Key(_) if self.forbids => 403,
            _ => error.status(),
        }
    }

    /// Whether the route is open to all.
    pub fn is_empty(&self) -> bool {
        self.gate.is_open()
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Looks for a key or token in `Authorization: Bearer`, `X-API-Key`, a subprotocol `bearer.TOKEN`, the query and
    /// the cookie, in this order; the first one that is there decides.
    pub(super) fn check(
        &self,
        head: &Head,
        is_upgrade: bool,
        unix_seconds: u64,
        sparing: bool,
    ) -> Result<Admitted, AccessError> {
        if self.gate.is_open() {
            return Ok(Admitted::Everything);
        }
        let Some(presented) = self.presented(head) else {
            let may_follow = is_upgrade && self.in_message;
            return may_follow
                .then_some(Admitted::Awaited)
                .ok_or(AccessError::NoKey);
        };
        let judged = self.gate.judge(&presented, unix_seconds, sparing);
        let Some(grant) = judged.map_err(AccessError::Key)? else {
            return Ok(Admitted::Everything);
        };
        if !self.gate.is_enough(&grant) {
            return Err(AccessError::Permission);
        }
        Ok(Admitted::Granted(grant))
    }

    fn presented(&self, head: &Head) -> Option<String> {
        let bearer = head.header("authorization").and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then(|| key.trim().to_owned())
        });
        let offered = || {
            let mut tokens = offered_subprotocols(head.headers())
                .filter_map(|name| name.strip_prefix(BEARER_SUBPROTOCOL));
            tokens.next().map(str::to_owned)
        };
        let cookie = || head.cookie(self.cookie.as_deref()?).map(str::to_owned);
        bearer
            .or_else(|| head.header("x-api-key").map(str::to_owned))
            .or_else(offered)
            .or_else(|| {
                self.parameters
                    .iter()
                    .find_map(|name| head.query_param(name))
            })
            .or_else(cookie)
    }
}

/// Which web pages may use a route (RFC 6455 §10.2). Only browsers send `Origin`, and they always do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// Any page.
    #[default]
    Any,
    /// Pages of these origins (`https://example.org`, `http://localhost:8080`, `null`), and clients that
    /// are not browsers.
    List(Vec<String>),
    /// Pages of origins that one of these rules allows, and clients that are not browsers. A rule has a host, and a
    /// scheme and a port if it wants: `https://app.example` allows every port of that host by https, `app.example` every
    /// scheme and port, as Ethereum nodes read their lists of origins.
    Rules(Vec<String>),
    /// Only pages that this very listener served, and clients that are not browsers; `Host` must be an
    /// address or `localhost`, so that a name rebound to this machine does not count as one.
    Same,
}

impl Origins {
    /// Checks a request's `Origin` (and for [`Same`](Self::Same) its `Host`).
    ///
    /// # Errors
    /// [`AccessError::Origin`] or [`AccessError::Host`].
    pub fn check(&self, head: &Head) -> Result<(), AccessError> {
        let mut origins = head.header_all("origin");
        let origin = origins.next();
        if origins.next().is_some() {
            return Err(AccessError::Origin);
        }
        match self {
            Self::Any => Ok(()),
            Self::List(list) => match origin {
                None => Ok(()),
                Some(origin)
                    if list
                        .iter()
                        .any(|o| o.as_bytes().eq_ignore_ascii_case(origin)) =>
                {
                    Ok(())
                }
                Some(_) => Err(AccessError::Origin),
            },
            Self::Rules(rules) => match origin.map(std::str::from_utf8) {
                None => Ok(()),
                Some(Ok(origin)) if rules.iter().any(|rule| rule_allows(rule, origin)) => Ok(()),
                Some(_) => Err(AccessError::Origin),
            },
            Self::Same => {
                let host = head.header("host").unwrap_or_default();
                if !host.is_empty() && !is_literal_host(host) {
                    return Err(AccessError::Host);
                }
                match origin {
                    None => Ok(()),
                    Some(origin) => {
                        let own = origin
                            .strip_prefix(b"http://")
                            .or_else(|| origin.strip_prefix(b"https://"));
                        match own {
                            Some(own) if own.eq_ignore_ascii_case(host.as_bytes()) => Ok(()),
                            _ => Err(AccessError::Origin),
                        }
                    }
                }
            }
        }
    }
}

/// Whether scheme, host and port of an origin are those of a rule, as far as the rule names them.
fn rule_allows(rule: &str, origin: &str) -> bool {
    let (scheme, host, port) = parts_of_origin(rule);
    let (its_scheme, its_host, its_port) = parts_of_origin(origin);
    rule == "*"
        || (!host.is_empty()
            && host.eq_ignore_ascii_case(its_host)
            && (scheme.is_empty() || scheme.eq_ignore_ascii_case(its_scheme))
            && (port.is_empty() || port == its_port))
}

/// Scheme, host and port; what is not there is empty.
fn parts_of_origin(origin: &str) -> (&str, &str, &str) {
    let (scheme, authority) = origin.split_once("://").unwrap_or(("", origin));
    let after_host = match authority.strip_prefix('[') {
        Some(v6) => v6.find(']').map_or(authority.len(), |end| end + 2),
        None => authority.rfind(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority
        .split_at_checked(after_host)
        .unwrap_or((authority, ""));
    (scheme, host, rest.strip_prefix(':').unwrap_or_default())
}

/// `127.0.0.1:2662`, `[::1]:2662`, `localhost:2662`, with or without the port.
fn is_literal_host(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return rest
            .split_once(']')
            .is_some_and(|(ip, _)| ip.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Why access is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessError {
    /// The route wants a key and there is none.
    NoKey,
    /// What was presented is not good.
    Key(TokenError),
    /// It is good, and not for this.
    Permission,
    /// The page's origin is not allowed.
    Origin,
    /// `Host` is a name that this listener does not answer to.
    Host,
}

impl AccessError {
    /// The status to answer.
    pub fn status(self) -> u16 {
        match self {
            Self::NoKey | Self::Key(_) => 401,
            Self::Origin | Self::Permission => 403,
            Self::Host => 421,
        }
    }

    /// What to tell the client. Never the value it sent.
    pub fn detail(self) -> &'static str {
        match self {
            Self::NoKey => {
                "this route needs a key: send `Authorization: Bearer KEY`, `X-API-Key: KEY` or `?token=KEY`"
            }
            Self::Key(error) => error.detail(),
            Self::Permission => "what the key or token allows is too little for this route",
            Self::Origin => "pages of this origin may not use this route (setting `origins`)",
            Self::Host => {
                "this listener answers to addresses and to localhost only, not to other host names"
            }
        }
    }

    /// `WWW-Authenticate` for it (RFC 6750 §3), if it is the key's fault.
    pub(super) fn challenge(self) -> Option<String> {
        match self {
            Self::NoKey => Some("Bearer".to_owned()),
            Self::Key(_) => Some(format!(
                "Bearer error=\"invalid_token\", error_description=\"{}\"",
                self.detail()
            )),
            Self::Permission => Some("Bearer error=\"insufficient_scope\"".to_owned()),
            Self::Origin | Self::Host => None,
        }
    }

    /// The counter's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoKey => "key_missing",
            Self::Key(error) => error.name(),
            Self::Permission => "permission",
            Self::Origin => "origin",
            Self::Host => "host",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_as_far_as_it_goes() {
        let cases = [
            ("https://app", "https://app", true),
            ("https://app", "https://APP:8443", true),
            ("https://app", "http://app", false),
            ("https://app", "https://app.evil", false),
            ("https://app:8443", "https://app:8443", true),
            ("https://app:8443", "https://app", false),
            ("app", "ftp://app:1", true),
            ("app:80", "http://app:80", true),
            ("app:80", "http://app:81", false),
            ("http://[::1]", "http://[::1]:3000", true),
            ("http://[::1]:1", "http://[::1]:3000", false),
            ("https://app", "null", false),
            ("", "null", false),
            ("", "", false),
            ("*", "null", true),
        ];
        for (rule, origin, allowed) in cases {
            assert_eq!(rule_allows(rule, origin), allowed, "{rule:?} {origin:?}");
        }
    }
}
