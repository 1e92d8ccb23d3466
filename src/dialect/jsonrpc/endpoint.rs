//! Where nodes are.

use std::fmt;
use std::rc::Rc;

use crate::hub::{LinkTarget, Target};

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonRpcEndpoint {
    /// A connection that stays: `ws://HOST:PORT/PATH` or `ipc:/PATH` (also `unix:/PATH`).
    Link(Rc<LinkTarget>),
    /// One HTTP request per call: `http://HOST:PORT/PATH`. It has no subscriptions.
    Http(Rc<Target>),
}

impl std::str::FromStr for JsonRpcEndpoint {
    type Err = JsonRpcEndpointError;

    fn from_str(url: &str) -> Result<Self, JsonRpcEndpointError> {
        let bad = |why| JsonRpcEndpointError {
            url: url.to_owned(),
            why,
        };
        if url.starts_with("wss://") || url.starts_with("https://") {
            return Err(bad(
                "this build has no TLS: put a proxy that has beside it, or use the node's own port",
            ));
        }
        if let Some(path) = url.strip_prefix("ipc:").or(url.strip_prefix("unix:")) {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(bad("the path of a socket begins with /"));
            }
            return Ok(Self::Link(Rc::new(LinkTarget::Values(path.to_owned()))));
        }
        if let Some(rest) = url.strip_prefix("ws://") {
            // A WebSocket's URL differs from another one in its scheme alone (RFC 6455 §3).
            let target = format!("http://{rest}").parse();
            return match target {
                Ok(target) => Ok(Self::Link(Rc::new(LinkTarget::WebSocket(target)))),
                Err(_) => Err(bad(FORMS)),
            };
        }
        match url.parse() {
            Ok(target) => Ok(Self::Http(Rc::new(target))),
            Err(_) => Err(bad(FORMS)),
        }
    }
}

const FORMS: &str = "write ws://HOST:PORT/PATH, http://HOST:PORT/PATH or ipc:/PATH";

/// A text that is no [`JsonRpcEndpoint`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonRpcEndpointError {
    url: String,
    why: &'static str,
}

impl fmt::Display for JsonRpcEndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, why } = self;
        write!(f, "{url:?} is no node that can be reached: {why}")
    }
}

impl std::error::Error for JsonRpcEndpointError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        let read = |url: &str| match url.parse::<JsonRpcEndpoint>() {
            Ok(JsonRpcEndpoint::Link(target)) => target.to_string(),
            Ok(JsonRpcEndpoint::Http(target)) => {
                format!("http {}{}", target.authority(), target.path)
            }
            Err(why) => why.to_string(),
        };
        assert_eq!(read("ws://node:8546/x"), "ws://node:8546");
        assert_eq!(read("ws://[::1]:8546"), "ws://[::1]:8546");
        assert_eq!(read("ipc:/run/geth.ipc"), "unix:/run/geth.ipc");
        assert_eq!(read("ipc:///run/geth.ipc"), "unix:/run/geth.ipc");
        assert_eq!(read("unix:/run/geth.ipc"), "unix:/run/geth.ipc");
        assert_eq!(read("http://node:8545"), "http node:8545/");
        for bad in ["", "ws://", "ftp://x/", "ipc:x", "ws://a b/", "node:8546"] {
            assert!(read(bad).contains("write ws://") || bad == "ipc:x", "{bad}");
        }
        assert!(read("wss://node/").contains("no TLS"));
    }
}
