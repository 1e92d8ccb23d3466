//! `dunlin sub` and `dunlin pub`.

use std::io::{self, BufRead, IsTerminal, Write};

use super::Exit;
use super::args::Args;
use super::terminal::say;
use crate::dialect::string_member;
use crate::http::percent_encode;
use crate::log::is_unprintable;
use crate::net::{self, Client, ClientError, HttpAnswer, Received};
use crate::ws::CloseCode;

/// Where the channels of `dunlin` without configuration are.
const DEFAULT_BASE: &str = "ws://localhost:2661";
/// Messages longer than this are not read from stdin; no route takes them by default.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// `scheme://host/ch/channel` on the server that was asked for.
fn channel_url(args: &Args, scheme: &str, channel: &str) -> Result<String, Exit> {
    let base = base(args, scheme, DEFAULT_BASE)?;
    Ok(format!("{base}/ch/{}", percent_encode(channel)))
}

/// `scheme://host` of the server that was asked for, by flag, by environment or by default.
pub(super) fn base(args: &Args, scheme: &str, default: &str) -> Result<String, Exit> {
    let of_environment = || {
        std::env::var("DUNLIN_URL")
            .ok()
            .filter(|url| !url.is_empty())
    };
    let base = args
        .url
        .clone()
        .or_else(of_environment)
        .unwrap_or_else(|| default.to_owned());
    let rest = ["ws://", "http://"]
        .into_iter()
        .find_map(|scheme| base.strip_prefix(scheme));
    match rest {
        Some(rest) if !rest.is_empty() => Ok(format!("{scheme}://{}", rest.trim_end_matches('/'))),
        _ => {
            say(&format!(
                "dunlin: {base:?} is not the URL of a server: write ws://HOST:PORT or http://HOST:PORT \
                 (TLS needs a proxy)"
            ));
            Err(Exit::Usage)
        }
    }
}

/// `Bearer KEY`, if there is a key to present.
pub(super) fn bearer(args: &Args) -> Result<Option<String>, Exit> {
    let of_environment = || {
        std::env::var("DUNLIN_KEY")
            .ok()
            .filter(|key| !key.is_empty())
    };
    let Some(key) = args.key().map(str::to_owned).or_else(of_environment) else {
        return Ok(None);
    };
    // It becomes a header line; nothing else may.
    if key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(format!("Bearer {key}")));
    }
    say("dunlin: the key is not made of printable ASCII without spaces");
    Err(Exit::Usage)
}

pub(super) fn failed(url: &str, error: &ClientError) -> Exit {
    match error {
        ClientError::Refused(status, body) => {
            say(&format!(
                "dunlin: {url}: refused with {status}: {}",
                detail(body.as_bytes())
            ));
            Exit::Refused
        }
        ClientError::Url(_) => {
            say(&format!("dunlin: {error}"));
            Exit::Usage
        }
        ClientError::Io(_) => {
            say(&format!(
                "dunlin: cannot reach {url}: {error} (is the server running?)"
            ));
            Exit::Unavailable
        }
        ClientError::Protocol(_) => {
            say(&format!("dunlin: {url}: {error}"));
            Exit::Unavailable
        }
    }
}

pub(super) fn sub(args: &Args, target: &str) -> Exit {
    let url = if target.contains("://") {
        Ok(target.to_owned())
    } else {
        channel_url(args, "ws", target)
    };
    let (url, key) = match (url, bearer(args)) {
        (Ok(url), Ok(key)) => (url, key),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    if let Err(error) = net::exit_on_interrupt() {
        say(&format!("dunlin: cannot handle signals: {error}"));
        return Exit::System;
    }
    let headers: Vec<(&str, &str)> = key
        .iter()
        .map(|key| ("Authorization", key.as_str()))
        .collect();
    let mut client = match Client::connect(&url, &headers) {
        Ok(client) => client,
        Err(error) => return failed(shown(&url), &error),
    };
    if args.verbose {
        say(&format!("subscribed to {}", shown(&url)));
    }
    let terminal = io::stdout().is_terminal();
    loop {
        let line = match client.receive() {
            Ok(Received::Text(text)) => text.into_bytes(),
            Ok(Received::Binary(bytes)) => bytes,
            Ok(Received::Closed(code, reason)) => {
                let reason = if reason.is_empty() {
                    reason
                } else {
                    format!(" {reason}")
                };
                say(&printable(&format!("closed: {code}{reason}")));
                return exit_of(code);
            }
            Ok(Received::Gone) => {
                say(&format!(
                    "closed: {} the connection ended without a close frame",
                    CloseCode::ABNORMAL
                ));
                return Exit::Unavailable;
            }
            Err(error) => return failed(shown(&url), &error),
        };
        if print(line, terminal).is_err() {
            // Whoever read this has had enough, as in `dunlin sub news | head`.
            return Exit::Ok;
        }
    }
}

/// A URL without its query: that may carry a key.
fn shown(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

fn exit_of(code: CloseCode) -> Exit {
    match code {
        CloseCode::NORMAL | CloseCode::NO_STATUS => Exit::Ok,
        // Going away, restarting, overloaded: it is worth coming back.
        CloseCode::AWAY | CloseCode::RESTART | CloseCode::TRY_LATER => Exit::Unavailable,
        _ => Exit::Refused,
    }
}

/// One message, one line, at once. A terminal gets nothing that could move its cursor.
fn print(mut line: Vec<u8>, terminal: bool) -> io::Result<()> {
    if terminal {
        line = printable(&String::from_utf8_lossy(&line)).into_bytes();
    }
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

pub(super) fn printable(text: &str) -> String {
    let plain = |c: char| {
        if c != '\t' && c != '\n' && is_unprintable(c) {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(plain).collect()
}

pub(super) fn publish(args: &Args, channel: &str, text: Option<&str>) -> Exit {
    let (url, key) = match (channel_url(args, "http", channel), bearer(args)) {
        (Ok(url), Ok(key)) => (url, key),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    let send = |message: &[u8]| post(args, &url, key.as_deref(), message);
    if let Some(text) = text {
        return send(text.as_bytes()).err().unwrap_or(Exit::Ok);
    }
    let mut stdin = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        match io::Read::take(&mut stdin, LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return Exit::Ok,
            Ok(_) => {}
            Err(error) => {
                say(&format!("dunlin: cannot read stdin: {error}"));
                return Exit::System;
            }
        }
        if let Err(exit) = send(line.strip_suffix(b"\n").unwrap_or(&line)) {
            return exit;
        }
    }
}

fn post(args: &Args, url: &str, key: Option<&str>, message: &[u8]) -> Result<(), Exit> {
    // Text unless it cannot be: the server decides by the bytes when it is told nothing.
    let headers: Vec<(&str, &str)> = key.iter().map(|key| ("Authorization", *key)).collect();
    match net::http_request("POST", url, &headers, message) {
        Ok(HttpAnswer {
            status: 200..=299,
            body,
        }) => {
            if args.verbose {
                _ = print(body, true);
            }
            Ok(())
        }
        Ok(HttpAnswer { status, body }) => {
            say(&format!(
                "dunlin: {url}: refused with {status}: {}",
                detail(&body)
            ));
            Err(Exit::Refused)
        }
        Err(error) => Err(failed(url, &error)),
    }
}

/// What an answer says in words: the `detail` of a problem (RFC 9457), else its text.
pub(super) fn detail(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let detail = string_member(&text, "detail");
    printable(detail.as_ref().unwrap_or(&text).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_in_words() {
        assert_eq!(
            detail(br#"{"status":400,"detail":"no \u001b[1m name"}"#),
            "no \u{fffd}[1m name"
        );
        assert_eq!(detail(b"not found\n"), "not found");
    }

    #[test]
    fn urls_are_shown_without_their_query() {
        assert_eq!(shown("ws://h/ws?token=geheim"), "ws://h/ws");
        assert_eq!(exit_of(CloseCode(4401)), Exit::Refused);
    }
}
