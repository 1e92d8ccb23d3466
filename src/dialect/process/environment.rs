//! A request as environment variables, under the names that CGI gave them (RFC 3875 §4.1) and as websocketd sets them.
//!
//! What a client has sent comes in here, so:
//!
//! * Control characters become spaces: no value can end early or begin a new line in whatever a script makes of it.
//! * `Proxy` is left out: as `HTTP_PROXY` it would tell many programs where to send their requests.
//! * A header whose name has an underscore is left out: `X_User` and `X-User` would be the same variable, and only the
//!   latter is what a proxy in front of us removes or sets.

use crate::http::percent_decode;
use crate::hub::{Peer, Request};
use crate::time::Now;

/// The environment of a process for this request. `number` tells it from others of the same millisecond.
pub(super) fn of(
    request: &Request<'_>,
    now: Now,
    number: u64,
    inherited: &[(String, String)],
) -> Vec<(String, String)> {
    let mut all = inherited.to_vec();
    let mut set = |name: &str, value: &str| all.push((name.to_owned(), clean(value)));
    let path = request.path();
    let decoded = percent_decode(path);
    let path = decoded.as_deref().unwrap_or(path);
    let host = request.header("host").unwrap_or_default();
    // Behind the last colon, unless that stands within the brackets of an IPv6 address.
    let port = host
        .rsplit_once(':')
        .filter(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let (name, port) = port.unwrap_or((host, "80"));
    let (address, remote_port) = match request.peer {
        Peer::Tcp(addr) => (addr.ip().to_string(), addr.port().to_string()),
        Peer::Unix => ("unix".to_owned(), String::new()),
    };
    set(
        "SERVER_SOFTWARE",
        concat!("dunlin/", env!("CARGO_PKG_VERSION")),
    );
    set("REMOTE_ADDR", &address);
    set("REMOTE_HOST", &address);
    set("REMOTE_PORT", &remote_port);
    set("SERVER_NAME", name);
    set("SERVER_PORT", port);
    set("SERVER_PROTOCOL", "HTTP/1.1");
    set("GATEWAY_INTERFACE", "CGI/1.1");
    set("REQUEST_METHOD", request.method());
    set("SCRIPT_NAME", "/");
    set("PATH_INFO", path);
    set("PATH_TRANSLATED", path);
    set("QUERY_STRING", request.head.query().unwrap_or_default());
    set("REQUEST_URI", request.head.target());
    set(
        "UNIQUE_ID",
        &format!("{}{:06}", now.unix_ms, number % 1_000_000),
    );
    for empty in [
        "AUTH_TYPE",
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "REMOTE_IDENT",
        "REMOTE_USER",
    ] {
        set(empty, "");
    }
    let from = all.len();
    for (name, value) in request.head.headers() {
        if name.contains('_') || name.eq_ignore_ascii_case("proxy") {
            continue;
        }
        let name = variable(name);
        let value = clean(&String::from_utf8_lossy(value));
        match all[from..].iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => {
                known.push_str(", ");
                known.push_str(&value);
            }
            None => all.push((name, value)),
        }
    }
    all
}

/// `HTTP_X_NAME` for `X-Name`.
fn variable(header: &str) -> String {
    let letters = header.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte.to_ascii_uppercase()),
        _ => '_',
    });
    "HTTP_".chars().chain(letters).collect()
}

fn clean(value: &str) -> String {
    let letters = value.chars();
    letters
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
