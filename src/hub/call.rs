//! Calls: HTTP requests to an application that a handler asks for, made by the worker without blocking the loop.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use crate::http::ResponseHead;

/// Where calls go: `http://HOST:PORT/PATH`. One value is shared by all calls to it, and the worker keeps its
/// connections open for the next call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// A name or an address (IPv6 without brackets).
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path: String,
}

impl Target {
    /// The value of the `Host` header.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

impl std::str::FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        let bad = || TargetError(url.to_owned());
        let rest = url.strip_prefix("http://").ok_or_else(bad)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or_else(bad)?;
                (
                    host,
                    after.strip_prefix(':').or(after.is_empty().then_some("80")),
                )
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, Some("80")),
            },
        };
        let port = port
            .and_then(|port| port.parse().ok())
            .filter(|port| *port != 0)
            .ok_or_else(bad)?;
        let plain = |text: &str| text.bytes().all(|byte| byte > b' ' && byte != 0x7f);
        if host.is_empty() || host.contains(['@', '?', '#']) || !plain(url) {
            return Err(bad());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }
}

/// A text that is no [`Target`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetError(String);

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0;
        write!(
            f,
            "{url:?} is not a URL that can be called: write http://HOST:PORT/PATH"
        )
    }
}

impl std::error::Error for TargetError {}

/// One request to an application.
#[derive(Clone)]
pub struct Call {
    /// Where to.
    pub target: Rc<Target>,
    /// The request method.
    pub method: &'static str,
    /// Header lines beside `Host` and `Content-Length`.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// From the moment the request is sent to the end of the answer, in milliseconds.
    pub timeout_ms: u64,
}

impl Call {
    /// Bytes that wait with it: body and headers.
    pub(crate) fn bytes(&self) -> usize {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len());
        self.body.len() + headers.sum::<usize>()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No header value, no body, no query: secrets live there.
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("host", &self.target.host)
            .field("port", &self.target.port)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The end of a call, as the handler is told.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// Status and headers.
    pub head: &'a ResponseHead,
    /// The body.
    pub body: &'a [u8],
}

/// Why a call has no answer. Attempts to connect are repeated until they succeed, unless somebody waits
/// ([`Context::call_now`](super::Context::call_now)); otherwise this is about requests that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallError {
    /// The answer did not come in time.
    Timeout,
    /// No connection could be made, and the call was not to wait for one.
    Unreachable,
    /// The connection broke after the request was sent.
    Broken,
    /// The answer was not HTTP, or larger than allowed.
    BadAnswer,
    /// The server is going down and the application could not be reached.
    ShuttingDown,
}

impl CallError {
    /// The counter's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "call_timeout",
            Self::Unreachable => "call_unreachable",
            Self::Broken => "call_broken",
            Self::BadAnswer => "call_bad_answer",
            Self::ShuttingDown => "call_shutting_down",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let target = |url: &str| url.parse::<Target>().map(|t| (t.authority(), t.path));
        let ok = |authority: &str, path: &str| Ok((authority.to_owned(), path.to_owned()));
        assert_eq!(
            target("http://127.0.0.1:3000/ws?x=1"),
            ok("127.0.0.1:3000", "/ws?x=1")
        );
        assert_eq!(target("http://app.local"), ok("app.local:80", "/"));
        assert_eq!(target("http://[::1]:9/a"), ok("[::1]:9", "/a"));
        assert_eq!(target("http://[::1]/a"), ok("[::1]:80", "/a"));
        for bad in [
            "",
            "https://a/",
            "http://",
            "http://:80/",
            "http://a:0/",
            "http://a:b/",
            "http://u@a/",
            "http://a/ b",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
