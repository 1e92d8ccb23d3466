//! The checker, tested: each rule keeps a snippet in and another one out.

use crate::rules::{check, check_dependencies};
use crate::scan::{Source, strip};

/// What is broken in a snippet that stands in `file`.
fn broken(file: &str, snippet: &str) -> Vec<(usize, String)> {
    let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
    let module: Vec<String> = match inside {
        "lib" | "main" => Vec::new(),
        path => path
            .trim_end_matches("/mod")
            .split('/')
            .map(str::to_owned)
            .collect(),
    };
    check(file, &Source::read(snippet, &module, false))
}

#[track_caller]
fn keeps(file: &str, snippet: &str) {
    assert_eq!(broken(file, snippet), [], "{file}: {snippet}");
}

/// The snippet breaks exactly one rule, on this line, and the sentence names what it is about.
#[track_caller]
fn breaks(file: &str, snippet: &str, line: usize, about: &str) {
    let broken = broken(file, snippet);
    assert_eq!(broken.len(), 1, "{file}: {snippet}: {broken:?}");
    assert_eq!(broken[0].0, line, "{file}: {snippet}: {broken:?}");
    assert!(broken[0].1.contains(about), "{file}: {snippet}: {broken:?}");
}

#[test]
fn rooms_know_the_rooms_below_them_only() {
    keeps("src/ws/frame.rs", "use super::error::ProtocolError;");
    breaks(
        "src/ws/frame.rs",
        "\nuse crate::hub::Hub;",
        2,
        "`ws` must not know `hub`",
    );
    breaks(
        "src/ws/frame.rs",
        "use crate::time::Now;",
        1,
        "must not know `time`",
    );
    breaks(
        "src/http/head.rs",
        "use crate::ws::mask;",
        1,
        "must not know `ws`",
    );
    keeps(
        "src/hub/mod.rs",
        "use crate::{http::Response, ws::{self, Message}, time::Now};",
    );
    breaks(
        "src/hub/mod.rs",
        "use crate::server::Worker;",
        1,
        "must not know `server`",
    );
    keeps("src/dialect/echo.rs", "use crate::hub::{Context, Handler};");
    breaks(
        "src/dialect/echo.rs",
        "use crate::{hub::Hub, server::Keys};",
        1,
        "`server`",
    );
    breaks("src/dialect/echo.rs", "use crate::net::Server;", 1, "`net`");
    breaks(
        "src/server/mod.rs",
        "use crate::dialect::Echo;",
        1,
        "`dialect`",
    );
    keeps("src/net/driver.rs", "use crate::server::Worker;");
    breaks(
        "src/net/driver.rs",
        "use crate::dialect::Echo;",
        1,
        "`dialect`",
    );
    keeps("src/sim/world.rs", "use crate::server::Worker;");
    breaks("src/sim/world.rs", "use crate::net::Server;", 1, "`net`");
    keeps("src/time.rs", "use std::fmt;");
    breaks("src/time.rs", "use crate::hub::Hub;", 1, "`hub`");
    breaks(
        "src/server/mod.rs",
        "use crate::config::Config;",
        1,
        "`config`",
    );
    keeps(
        "src/config/mod.rs",
        "use crate::net::Server; use crate::dialect::Echo;",
    );
    breaks("src/attic.rs", "", 1, "`attic` is no room");
}

#[test]
fn a_path_is_found_however_it_is_written() {
    let wall = "must not know `server`";
    for snippet in [
        "fn f() { crate::server::Worker::new(); }",
        "fn f(w: &super::super::server::Worker) {}",
        "use super::super::server;",
        "use super::super::{server::{self as s}};",
        "pub(in crate::server) fn f() {}",
        "fn f() -> impl Fn() + use<> { <crate::server::Worker as Default>::default }",
        "mod inner { use super::super::super::server::Worker; }",
        "use ::dunlin::server::Worker;",
        "fn f<T: crate::server::Transport>() {}",
        "fn f() { let s: Vec<crate::server::Worker> = v; }",
        "macro_rules! m { () => { $crate::server::Worker::new() } }",
    ] {
        breaks("src/hub/session.rs", snippet, 1, wall);
    }
    breaks("src/hub/session.rs", "use crate as all;", 1, "whole crate");
    breaks(
        "src/hub/session.rs",
        "use super::super::*;",
        1,
        "whole crate",
    );
    breaks(
        "src/hub/session.rs",
        "use crate::Server;",
        1,
        "must name the room where `Server`",
    );
    keeps(
        "src/hub/session.rs",
        "mod tests { use super::*; use super::super::Hub; }",
    );
    keeps("src/hub/session.rs", "use self::inner::server;");
}

#[test]
fn comments_and_texts_are_not_code() {
    keeps(
        "src/ws/frame.rs",
        r####"
        //! crate::hub::Hub
        /* crate::hub::Hub /* use mio; */ use mio; */
        const A: &str = "crate::hub \" use mio::Poll; x.unwrap()";
        const B: &str = r#"use "mio"::Poll;"#;
        const C: &[u8] = br##"use mio::Poll;"# "##;
        const D: char = '"';
        const E: char = '\'';
        const F: char = 'é';
        fn f<'a>(x: &'a str) -> &'a str { x } // "
        const G: u8 = b'"';
        "####,
    );
    let source = "let a = 'x'; // é\nlet b = \"\n\"; let c = r\"\\\"; mio";
    let code = strip(source);
    assert_eq!(code.len(), source.len());
    assert_eq!(code.find("mio"), source.find("mio"));
    assert_eq!(code.lines().count(), source.lines().count());
    breaks(
        "src/ws/a.rs",
        "const A: &str = \"\n\";\nuse mio::Poll;",
        3,
        "`mio`",
    );
}

#[test]
fn rooms_of_bytes_never_touch_the_outside() {
    keeps(
        "src/ws/frame.rs",
        "use std::{fmt, mem}; use std::collections::HashMap;",
    );
    for (file, snippet, about) in [
        ("src/ws/frame.rs", "use std::net::IpAddr;", "std::net"),
        ("src/ws/frame.rs", "use std::io::Read;", "std::io"),
        ("src/ws/frame.rs", "use std::{fmt, io};", "std::io"),
        ("src/ws/frame.rs", "use std::*;", "not all of it"),
        ("src/http/head.rs", "use std::time::Duration;", "std::time"),
        ("src/http/head.rs", "fn f(e: std::io::Error) {}", "std::io"),
        ("src/hub/mod.rs", "use std::net::TcpStream;", "std::net"),
        ("src/hub/mod.rs", "use std::net;", "std::net"),
        ("src/hub/mod.rs", "use std::net::*;", "std::net"),
        (
            "src/hub/mod.rs",
            "fn f() { std::thread::yield_now() }",
            "std::thread",
        ),
        ("src/hub/mod.rs", "use std::sync::Mutex;", "std::sync"),
        ("src/hub/mod.rs", "use std::fs::File;", "std::fs"),
        (
            "src/dialect/echo.rs",
            "use std::time::Instant;",
            "std::time",
        ),
        ("src/dialect/echo.rs", "use std::net::IpAddr;", "std::net"),
        ("src/server/mod.rs", "use std::time::Instant;", "std::time"),
        (
            "src/server/mod.rs",
            "use std::net::TcpListener;",
            "std::net",
        ),
        ("src/server/mod.rs", "use std::thread;", "std::thread"),
        ("src/sim/world.rs", "use std::time::Instant;", "std::time"),
        ("src/sim/world.rs", "use std::net::UdpSocket;", "std::net"),
        ("src/random.rs", "use std::fs::File;", "std::fs"),
    ] {
        breaks(file, snippet, 1, about);
    }
    keeps("src/hub/mod.rs", "use std::net::{IpAddr, SocketAddr};");
    keeps("src/server/mod.rs", "use std::io::{self, IoSlice};");
    keeps("src/server/mod.rs", "use std::net::{IpAddr, Ipv6Addr};");
    keeps(
        "src/net/driver.rs",
        "use std::time::Instant; use std::net::TcpStream;",
    );
    keeps(
        "src/log.rs",
        "use std::thread; use std::sync::mpsc; use std::io::Write;",
    );
}

#[test]
fn tests_of_a_room_may_use_the_outside_but_no_other_room() {
    keeps(
        "src/ws/frame.rs",
        "#[cfg(test)]\n#[allow(x)]\nmod tests { use std::io::Read; fn f() { g().unwrap(); } }",
    );
    keeps(
        "src/ws/frame.rs",
        "#[cfg(any(test, feature = \"sim\"))] fn f(a: [u8; 2]) { std::fs::read(p).unwrap(); }",
    );
    keeps(
        "src/log.rs",
        "#[cfg(test)] mod tests { use serde_json::Value; }",
    );
    breaks(
        "src/ws/frame.rs",
        "#[cfg(test)] mod tests { use crate::hub::Hub; }",
        1,
        "`hub`",
    );
    breaks(
        "src/ws/frame.rs",
        "#[cfg(not(test))] mod real { use std::io::Read; }",
        1,
        "std::io",
    );
    breaks(
        "src/ws/frame.rs",
        "#[cfg(test)] use std::io;\nuse std::fs;",
        2,
        "std::fs",
    );
    breaks(
        "src/ws/frame.rs",
        "#[cfg(test)] mod tests;\nfn f() { x.unwrap() }",
        2,
        "unwrap",
    );
}

#[test]
fn each_external_crate_has_one_place() {
    for (inside, outside, snippet, name) in [
        (
            "src/net/driver.rs",
            "src/server/mod.rs",
            "use mio::Poll;",
            "mio",
        ),
        (
            "src/bench/engine.rs",
            "src/cli/client.rs",
            "use mio::Poll;",
            "mio",
        ),
        (
            "src/bench/meter.rs",
            "src/server/mod.rs",
            "use hdrhistogram::Histogram;",
            "hdrhistogram",
        ),
        (
            "src/bench/progress.rs",
            "src/bench/mod.rs",
            "use indicatif::ProgressBar;",
            "indicatif",
        ),
        (
            "src/net/mod.rs",
            "src/server/mod.rs",
            "use rlimit::Resource;",
            "rlimit",
        ),
        (
            "src/net/listener.rs",
            "src/net/socket.rs",
            "use socket2::Socket;",
            "socket2",
        ),
        (
            "src/net/signals.rs",
            "src/net/driver.rs",
            "use signal_hook::consts;",
            "signal_hook",
        ),
        (
            "src/net/signals.rs",
            "src/main.rs",
            "#![forbid(unsafe_code)] use signal_hook_mio::v1_0;",
            "signal_hook_mio",
        ),
        (
            "src/http/head.rs",
            "src/http/mod.rs",
            "fn f() { httparse::parse() }",
            "httparse",
        ),
        (
            "src/ws/handshake.rs",
            "src/ws/client.rs",
            "use sha1::{Digest as _};",
            "sha1",
        ),
        (
            "src/ws/handshake.rs",
            "src/ws/client.rs",
            "use base64::Engine as _;",
            "base64",
        ),
        (
            "src/dialect/json.rs",
            "src/hub/mod.rs",
            "use serde_json::Value;",
            "serde_json",
        ),
        (
            "src/dialect/json.rs",
            "src/net/mod.rs",
            "#[derive(serde::Serialize)] struct S;",
            "serde",
        ),
        (
            "src/config/document.rs",
            "src/config/record.rs",
            "use toml_parser::Source;",
            "toml_parser",
        ),
        (
            "src/cli/mod.rs",
            "src/config.rs",
            "use lexopt::Arg;",
            "lexopt",
        ),
        (
            "src/token/gate.rs",
            "src/server/access.rs",
            "use subtle::Choice;",
            "subtle",
        ),
        (
            "src/random.rs",
            "src/ws/mask.rs",
            "fn f() { ::getrandom::fill(b) }",
            "getrandom",
        ),
        (
            "src/hub/mod.rs",
            "src/net/mod.rs",
            "use slab::Slab;",
            "slab",
        ),
    ] {
        keeps(inside, snippet);
        breaks(outside, snippet, 1, &format!("the crate `{name}` lives in"));
    }
}

#[test]
fn the_real_clock_ticks_at_the_edge_only() {
    keeps("src/net/driver.rs", "fn f() { Instant::now(); }");
    keeps("src/bench/engine.rs", "fn f() { Instant::now(); }");
    keeps("src/log.rs", "fn f() { std::time::SystemTime::now(); }");
    keeps("src/hub/mod.rs", "fn f(cx: C) { cx.now(); Now::now(); }");
    breaks(
        "src/hub/mod.rs",
        "fn f() { Instant::now(); }",
        1,
        "must not read the clock",
    );
    breaks(
        "src/time.rs",
        "fn f() { SystemTime::now(); }",
        1,
        "must not read the clock",
    );
}

#[test]
fn small_rules_of_a_file() {
    keeps("src/hub/a.rs", &"//\n".repeat(700));
    breaks("src/hub/a.rs", &"//\n".repeat(701), 701, "701 lines");
    keeps(
        "src/lib.rs",
        "#![warn(missing_docs)]\n#![forbid(unsafe_code)]",
    );
    breaks(
        "src/lib.rs",
        "#![deny(unsafe_code)]",
        1,
        "forbid(unsafe_code)",
    );
    breaks("src/main.rs", "fn main() {}", 1, "forbid(unsafe_code)");
    keeps(
        "src/hub/a.rs",
        "fn f() { a.unwrap_or(1); a.expect(\"b\"); }",
    );
    breaks("src/hub/a.rs", "fn f() { a\n.unwrap() }", 2, "`.unwrap()`");
    keeps("src/cli.rs", "fn f() { println!(\"a\"); }");
    keeps("src/sim/run.rs", "fn f() { eprintln!(\"a\"); }");
    breaks(
        "src/hub/a.rs",
        "fn f() { eprintln!(\"a\"); }",
        1,
        "must not print",
    );
}

#[test]
fn each_dependency_has_a_place_and_a_use() {
    let all = [
        "base64",
        "crc32fast",
        "ed25519-dalek",
        "getrandom",
        "hdrhistogram",
        "hmac",
        "httparse",
        "indicatif",
        "landlock",
        "lexopt",
        "libc",
        "md-5",
        "mio",
        "p256",
        "rlimit",
        "rsa",
        "rustix",
        "seccompiler",
        "serde",
        "serde_json",
        "sha1",
        "sha2",
        "signal-hook",
        "signal-hook-mio",
        "simdutf8",
        "slab",
        "socket2",
        "subtle",
        "toml_parser",
        "zlib-rs",
    ];
    let toml = |names: &[&str]| {
        let lines: Vec<_> = names.iter().map(|n| format!("{n} = \"1\"")).collect();
        format!(
            "[package]\nname = \"x\"\n[dependencies]\n{}\n[dev-dependencies]\nrand = \"1\"\n",
            lines.join("\n")
        )
    };
    let spelled = |name: &&str| match *name {
        "md-5" => "md5".to_owned(),
        name => name.replace('-', "_"),
    };
    let used: Vec<String> = all.iter().map(spelled).collect();
    assert_eq!(check_dependencies(&toml(&all), &used), [""; 0]);

    let fewer = check_dependencies(&toml(&all[1..]), &used);
    assert_eq!(fewer.len(), 1, "{fewer:?}");
    assert!(fewer[0].contains("`base64`, which is no dependency"));

    let unused = check_dependencies(&toml(&all), &used[1..]);
    assert_eq!(unused, ["the crate `base64` is a dependency nobody names"]);

    let mut more = all.to_vec();
    more.push("rand");
    let mut used = used;
    used.push("rand".to_owned());
    let unknown = check_dependencies(&toml(&more), &used);
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    assert!(unknown[0].contains("`rand` has no room"));
}
