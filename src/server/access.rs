//! Who may use a route: keys and origins.

use subtle::ConstantTimeEq;

use crate::http::Head;

/// Keys that open a route. Comparing takes the same time wherever the difference is.
#[derive(Clone, Default)]
pub struct Keys {
    keys: Vec<String>,
    /// Query parameters that may carry a key.
    parameters: Vec<String>,
    /// What a client without a good key is answered.
    forbids: bool,
}

impl Keys {
    /// These keys; no key at all leaves the route open.
    pub fn new(keys: impl IntoIterator<Item = String>) -> Self {
        Self {
            keys: keys.into_iter().filter(|k| !k.is_empty()).collect(),
            parameters: vec!["token".to_owned()],
            forbids: false,
        }
    }

    /// Another query parameter that may carry the key, beside `token`.
    pub fn parameter(mut self, name: &str) -> Self {
        self.parameters.push(name.to_owned());
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
            AccessError::NoKey | AccessError::WrongKey if self.forbids => 403,
            _ => error.status(),
        }
    }

    /// Whether the route is open to all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Looks for a key in `Authorization: Bearer`, `X-API-Key` and the query, in this order; the first one
    /// that is there decides.
    ///
    /// # Errors
    /// [`AccessError::NoKey`] or [`AccessError::WrongKey`].
    pub fn check(&self, head: &Head) -> Result<(), AccessError> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let bearer = head.header("authorization").and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then(|| key.trim().to_owned())
        });
        let presented = bearer
            .or_else(|| head.header("x-api-key").map(str::to_owned))
            .or_else(|| {
                self.parameters
                    .iter()
                    .find_map(|name| head.query_param(name))
            })
            .ok_or(AccessError::NoKey)?;
        let mut found = subtle::Choice::from(0);
        for key in &self.keys {
            found |= key.as_bytes().ct_eq(presented.as_bytes());
        }
        if bool::from(found) {
            Ok(())
        } else {
            Err(AccessError::WrongKey)
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the keys themselves.
        write!(f, "Keys({})", self.keys.len())
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
    /// The key is not one of the route's.
    WrongKey,
    /// The page's origin is not allowed.
    Origin,
    /// `Host` is a name that this listener does not answer to.
    Host,
}

impl AccessError {
    /// The status to answer.
    pub fn status(self) -> u16 {
        match self {
            Self::NoKey | Self::WrongKey => 401,
            Self::Origin => 403,
            Self::Host => 421,
        }
    }

    /// What to tell the client. Never the value it sent.
    pub fn detail(self) -> &'static str {
        match self {
            Self::NoKey => {
                "this route needs a key: send `Authorization: Bearer KEY`, `X-API-Key: KEY` or `?token=KEY`"
            }
            Self::WrongKey => "the key is not one of this route's keys",
            Self::Origin => "pages of this origin may not use this route (setting `origins`)",
            Self::Host => {
                "this listener answers to addresses and to localhost only, not to other host names"
            }
        }
    }

    /// The counter's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoKey => "key_missing",
            Self::WrongKey => "key_wrong",
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
