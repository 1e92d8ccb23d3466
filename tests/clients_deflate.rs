//! Real clients that offer permessage-deflate, against the real program that accepts it.
//!
//! `tests/clients/install` installs what is needed; a client that is missing fails its test and says so.

#![cfg(all(feature = "cli", feature = "deflate"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use dunlin::net::http_request;
use dunlin::ws::deflate::{Compressor, HEADER};
use dunlin::ws::{self, Message, OpCode};
use support::{Child, Dunlin, Folder, PATIENCE, client_file as file};

fn python(script: &str) -> Command {
    let mut command = Command::new(file(".venv/bin/python"));
    command.arg("-u").arg(file(script)).env("PYTHONUTF8", "1");
    command
}

/// The program with permessage-deflate on every route, for small messages too.
fn deflating() -> Dunlin {
    let settings = [
        ("DUNLIN_DEFLATE", "true"),
        ("DUNLIN_DEFLATE_MIN_BYTES", "1"),
    ];
    Dunlin::start_with(&settings, &[])
}

/// A value of the metrics page.
fn metric(dunlin: &Dunlin, name: &str) -> u64 {
    let url = format!("http://{}/metrics", dunlin.control);
    let answer = http_request("GET", &url, &[], b"").unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Runs a script that checks for itself; each line `ok: …` was counted by whoever wrote it.
#[track_caller]
fn checks(dunlin: Dunlin, mut command: Command, ok: usize) {
    let said = Child::start(&mut command).success();
    println!("{said}");
    assert_eq!(said.matches("ok: ").count(), ok, "{said}");
    assert!(said.contains("done: "), "{said}");
    assert!(metric(&dunlin, "dunlin_deflate_saved_bytes_total") > 10_000);
    let inflated = metric(&dunlin, "dunlin_deflate_inflated_bytes_total");
    assert!(inflated > 2 * metric(&dunlin, "dunlin_deflate_received_bytes_total"));
    dunlin.stop();
}

#[test]
fn pypi_websockets() {
    let dunlin = deflating();
    let mut command = python("deflate_websockets.py");
    command.args([&dunlin.main, &dunlin.control]);
    checks(dunlin, command, 4);
}

#[test]
fn npm_ws() {
    let dunlin = deflating();
    file("node_modules/ws");
    let mut command = Command::new("node");
    command.arg(file("deflate_ws.mjs")).arg(dunlin.ws("/echo"));
    checks(dunlin, command, 5);
}

#[test]
fn pypi_aiohttp() {
    let dunlin = deflating();
    let mut command = python("deflate_aiohttp.py");
    command.arg(dunlin.ws("/echo"));
    checks(dunlin, command, 3);
}

#[test]
fn a_browser() {
    let dunlin = deflating();
    let profile = Folder::new();
    let page = format!(
        "file://{}?url={}",
        file("deflate.html").display(),
        dunlin.ws("/echo")
    );
    let mut command = Command::new("chromium");
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-sync"])
        .args(["--disable-component-update", "--remote-debugging-port=0"])
        .args(["--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", profile.0.display()))
        .arg(page);
    let mut browser = Child::start(&mut command);
    browser.line("ok: agreed on permessage-deflate; server_no_context_takeover");
    browser.line("ok: the same messages came back");
    browser.line("done: 4000");
    assert_eq!(browser.count("wrong:"), 0);
    // It keeps its context and compresses every message.
    assert!(metric(&dunlin, "dunlin_deflate_inflated_bytes_total") > 90_000);
    drop(browser);
    dunlin.stop();
}

/// Clients that do not offer it are none the worse for a server that would.
#[test]
fn who_does_not_offer_it_gets_plain_messages() {
    let dunlin = deflating();
    let answer = Command::new("curl")
        .args(["--silent", "--include", "--max-time", "2", "--no-buffer"])
        .args([
            "--header",
            "Connection: Upgrade",
            "--header",
            "Upgrade: websocket",
        ])
        .args(["--header", "Sec-WebSocket-Version: 13"])
        .args(["--header", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="])
        .arg(format!("http://{}/echo", dunlin.main))
        .output()
        .unwrap();
    let head = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(
        !head.to_lowercase().contains("sec-websocket-extensions"),
        "{head}"
    );
    dunlin.stop();
}

/// Zeros that would be a GiB, in about a MiB: a block of 32 KiB and its repetitions.
fn bomb() -> Vec<u8> {
    let mut frame = Vec::new();
    let zeros = vec![0; 32 << 10];
    let message = Message::Binary(&zeros);
    Compressor::default().encode_message(&mut frame, message, 15, 9, None);
    // Two bytes of header, then the block; the tail it travels without goes between two of them.
    let block = [&frame[2..], &[0, 0, 0xFF, 0xFF]].concat();
    block.repeat((1 << 20) / block.len())
}

/// Resident bytes of the program.
fn resident(dunlin: &Dunlin) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", dunlin.child.id())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<usize>().unwrap() << 10
}

#[test]
fn bombs_leave_resident_memory_as_it_was() {
    let dunlin = deflating();
    let mut bytes = Vec::new();
    let key = ws::client_key([7; 16]);
    let offer = [(HEADER, "permessage-deflate")];
    ws::write_request(&mut bytes, "localhost", "/echo", &key, &[], &offer);
    ws::encode_frame(&mut bytes, OpCode::Binary, &bomb(), Some([1; 4]));
    // The first frame's first byte stands behind the head.
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    bytes[head] |= 0x40;
    let mut before = 0;
    for n in 0..40 {
        let mut stream = TcpStream::connect(&dunlin.main).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        // 1009 in a close frame, behind the 101.
        let head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(answer[head], 0x88);
        assert_eq!(answer[head + 2..head + 4], 1009_u16.to_be_bytes());
        if n == 4 {
            before = resident(&dunlin);
        }
    }
    let after = resident(&dunlin);
    // Thirty-five of them: what one leaves behind would show.
    assert!(after < before + (4 << 20), "{before} → {after}");
    dunlin.stop();
}
