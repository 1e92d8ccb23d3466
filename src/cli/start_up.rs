//! The lines a started server prints: where it listens, what is served there, and something to paste.

use std::fmt::Write;

use super::terminal::paint;
use crate::config::{Config, Dialect};
use crate::net::Address;

/// What there is to print.
pub(super) struct StartUp {
    groups: Vec<Group>,
    /// Where a channel can be subscribed to and published, as a URL without scheme.
    channel: Option<String>,
    keys: bool,
    /// What a process says, as a URL, and whether that wants a key.
    process: Option<(String, bool)>,
}

struct Group {
    name: String,
    places: Vec<String>,
    /// URL and dialect.
    urls: Vec<(String, &'static str)>,
}

/// `bound`: the addresses that were really bound, with their listeners' numbers.
pub(super) fn start_up(config: &Config, bound: &[(u16, Address)]) -> StartUp {
    let mut groups = Vec::new();
    let mut channel = None;
    let mut keys = false;
    let mut process = None;
    for listener in config.listeners.iter().filter(|l| !l.addresses.is_empty()) {
        let own = bound
            .iter()
            .filter(|(number, _)| *number == listener.number);
        let addresses = paired(own.map(|(_, address)| address));
        let Some(first) = addresses.first() else {
            continue;
        };
        let base = base(first);
        let mut urls = Vec::new();
        let routes = || {
            let all = config.routes.iter();
            all.filter(|route| route.listener == listener.number)
        };
        let is_described = routes().any(|route| describes(route.dialect, &route.path));
        for route in routes() {
            if is_described
                && route.dialect == Dialect::Admin
                && !describes(route.dialect, &route.path)
            {
                continue;
            }
            let scheme = if route.dialect.speaks_websocket()
                && !is_publishing_only(route.dialect, &route.path)
            {
                "ws"
            } else {
                "http"
            };
            let url = match first {
                // A stream of values has no path, and leads to one route.
                Address::Ipc(_) if route.path == "/" => first.to_string(),
                Address::Ipc(_) => continue,
                _ => format!("{scheme}://{base}{}", route.path),
            };
            urls.push((url, route.dialect.name()));
            if process.is_none()
                && route.dialect == Dialect::Process
                && !route.path.contains('{')
                && !matches!(first, Address::Unix(_) | Address::Ipc(_))
            {
                let keys = !route.settings.keys.is_empty();
                process = Some((format!("ws://{base}{}", route.path), keys));
            }
            let is_tcp = !matches!(first, Address::Unix(_) | Address::Ipc(_));
            if is_tcp && channel.is_none() && route.path == "/ch/{channel}" {
                channel = Some(base.clone());
                keys = !route.settings.keys.is_empty();
            }
        }
        let places = addresses.iter().map(Address::to_string).collect();
        groups.push(Group {
            name: listener.name.clone(),
            places,
            urls,
        });
    }
    StartUp {
        groups,
        channel,
        keys,
        process,
    }
}

/// `/ch` takes several publications at once, and nobody can subscribe there.
fn is_publishing_only(dialect: Dialect, path: &str) -> bool {
    dialect == Dialect::PubSub && !path.contains('{')
}

/// The one page of the administration that tells of all the others: they need no lines of their own.
fn describes(dialect: Dialect, path: &str) -> bool {
    dialect == Dialect::Admin && path.ends_with("/openapi.json")
}

/// Host and port of a URL that reaches an address from this machine.
fn base(address: &Address) -> String {
    match address {
        Address::Tcp(addr) if addr.ip().is_unspecified() => format!("localhost:{}", addr.port()),
        Address::Tcp(addr) => addr.to_string(),
        Address::Localhost(port) | Address::Any(port) => format!("localhost:{port}"),
        Address::Unix(_) | Address::Ipc(_) => "localhost".to_owned(),
    }
}

/// Both halves of `localhost:PORT` and `*:PORT` as the one address they were written as.
fn paired<'a>(bound: impl Iterator<Item = &'a Address>) -> Vec<Address> {
    let mut addresses: Vec<Address> = Vec::new();
    for address in bound {
        let whole = match (addresses.last(), address) {
            (Some(Address::Tcp(a)), Address::Tcp(b))
                if a.port() == b.port() && a.is_ipv4() && b.is_ipv6() =>
            {
                if a.ip().is_loopback() && b.ip().is_loopback() {
                    Some(Address::Localhost(a.port()))
                } else if a.ip().is_unspecified() && b.ip().is_unspecified() {
                    Some(Address::Any(a.port()))
                } else {
                    None
                }
            }
            _ => None,
        };
        if whole.is_some() {
            addresses.pop();
        }
        addresses.push(whole.unwrap_or_else(|| address.clone()));
    }
    addresses
}

impl StartUp {
    /// All addresses, for the log.
    pub(super) fn places(&self) -> String {
        let places: Vec<&str> = self
            .groups
            .iter()
            .flat_map(|g| &g.places)
            .map(String::as_str)
            .collect();
        places.join(", ")
    }

    /// How many routes can be reached.
    pub(super) fn routes(&self) -> usize {
        self.groups.iter().map(|group| group.urls.len()).sum()
    }

    /// The lines. `hint`: say how it ends, which only a person at a terminal needs to know.
    pub(super) fn render(&self, colour: bool, hint: bool) -> String {
        let bold = |text: &str| paint(text, "1", colour);
        let mut out = format!("{} {}\n", bold("dunlin"), env!("CARGO_PKG_VERSION"));
        let urls = self.groups.iter().flat_map(|group| &group.urls);
        let width = urls
            .map(|(url, _)| url.chars().count())
            .max()
            .unwrap_or_default();
        for group in &self.groups {
            _ = writeln!(
                out,
                "\n{} on {}",
                bold(&group.name),
                group.places.join(", ")
            );
            for (url, dialect) in &group.urls {
                let padding = " ".repeat(width - url.chars().count());
                _ = writeln!(out, "  {}{padding}  {dialect}", paint(url, "36", colour));
            }
        }
        if let Some(base) = &self.channel {
            let port = base.strip_prefix("localhost:");
            let url = if port == Some("2661") {
                String::new()
            } else {
                format!(" --url ws://{base}")
            };
            let (key, header) = match self.keys {
                true => (" --key KEY", " -H 'Authorization: Bearer KEY'"),
                false => ("", ""),
            };
            _ = writeln!(
                out,
                "\n{}",
                bold("See a message arrive: subscribe, and publish from another terminal")
            );
            _ = writeln!(out, "  {} sub{url}{key} news", invoked_as());
            _ = writeln!(out, "  curl{header} -d hello http://{base}/ch/news");
        }
        if let Some((url, keys)) = &self.process {
            let key = if *keys { " --key KEY" } else { "" };
            _ = writeln!(out, "\n{}", bold("See what a process says"));
            _ = writeln!(out, "  {} sub{key} {url}", invoked_as());
        }
        if hint {
            out.push_str("\nCtrl-C drains and ends; twice ends at once.\n");
        }
        out.push('\n');
        out
    }
}

/// This program as it was called, if that was by its path: what is pasted has to find it too.
fn invoked_as() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    if called.contains('/') && called.bytes().all(is_plain) {
        called
    } else {
        "dunlin".to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pairs_are_one_address_again() {
        let bound = [
            "127.0.0.1:80",
            "[::1]:80",
            "0.0.0.0:81",
            "[::]:81",
            "127.0.0.1:82",
            "unix:/x",
        ];
        let bound: Vec<Address> = bound.iter().map(|a| a.parse().unwrap()).collect();
        let texts: Vec<String> = paired(bound.iter())
            .iter()
            .map(Address::to_string)
            .collect();
        assert_eq!(texts, ["localhost:80", "*:81", "127.0.0.1:82", "unix:/x"]);
        let urls: Vec<String> = paired(bound.iter()).iter().map(base).collect();
        assert_eq!(
            urls,
            ["localhost:80", "localhost:81", "127.0.0.1:82", "localhost"]
        );
    }
}
