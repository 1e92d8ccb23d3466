//! Clients that are dropped a hundred times each while ten thousand messages are published: `EventSource` in a browser,
//! `curl -N`, Python's `websockets` and npm `ws` on one channel. Each ends with all of them in order, or with gaps that
//! were announced.
//!
//! Each client has a door of its own, which cuts it off after so many bytes: what was on its way then is lost.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dunlin::random::Random;
use support::{Child, Dunlin, Folder, PATIENCE, chromium, client_file as file, serve};

const MESSAGES: u32 = 10_000;
const DROPS: u32 = 100;

/// A way to the server that ends again and again, until it has done so often enough.
struct Door {
    address: SocketAddr,
    drops: Arc<AtomicU32>,
}

impl Door {
    fn to(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let drops = Arc::new(AtomicU32::new(0));
        let count = drops.clone();
        thread::spawn(move || {
            let mut random = Random::seeded(seed);
            for client in listener.incoming().flatten() {
                let bytes = 500 + random.below(7_000);
                let count = count.clone();
                thread::spawn(move || pass(client, server, bytes, &count));
            }
        });
        Self { address, drops }
    }

    fn drops(&self) -> u32 {
        self.drops.load(Ordering::Relaxed)
    }
}

/// Passes on what both say, as far as `bytes` of the server's; then both are cut off.
fn pass(client: TcpStream, server: SocketAddr, bytes: u64, count: &AtomicU32) {
    let Ok(server) = TcpStream::connect(server) else {
        return;
    };
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        _ = std::io::copy(&mut from, &mut to);
        _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (&server, &client);
    let is_last = count.load(Ordering::Relaxed) >= DROPS;
    let passed = if is_last {
        std::io::copy(&mut from, &mut to)
    } else {
        std::io::copy(&mut from.take(bytes), &mut to)
    };
    if !is_last && passed.is_ok_and(|passed| passed == bytes) {
        count.fetch_add(1, Ordering::Relaxed);
    }
    _ = client.shutdown(Shutdown::Both);
    _ = server.shutdown(Shutdown::Both);
}

/// What a client has heard.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    got: u32,
    gaps: u32,
    wrong: u32,
    drops: u32,
}

impl Seen {
    /// `NAME {"got":…,"gaps":…,"wrong":…,"drops":…}`
    fn read(line: &str) -> Self {
        let (_, json) = line.split_once(' ').unwrap();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        let number = |name: &str| json[name].as_u64().unwrap() as u32;
        Self {
            got: number("got"),
            gaps: number("gaps"),
            wrong: number("wrong"),
            drops: number("drops"),
        }
    }
}

/// `curl -N`, started again with the last position whenever it ends.
fn curl(door: SocketAddr, channel: &'static str) -> JoinHandle<Seen> {
    thread::spawn(move || {
        let mut seen = Seen::default();
        // Who begins with what is kept begins anywhere.
        let (mut next, mut told) = (0, true);
        let mut query = "positions&rewind=all".to_owned();
        loop {
            let mut curl = Command::new("curl")
                .args(["-sN", "--max-time", "60"])
                .arg(format!("http://{door}/ch/{channel}?{query}"))
                .stdout(Stdio::piped())
                .spawn()
                .expect("curl is there");
            let mut lines = BufReader::new(curl.stdout.take().unwrap());
            let mut line = String::new();
            // A line without its end was cut.
            while lines.read_line(&mut line).is_ok() && line.ends_with('\n') {
                if let Ok(json) = serde_json::from_str::<serde_json::Value>(&line) {
                    if let Some(position) = json["position"].as_str() {
                        query = format!("since={position}");
                    }
                    if json["type"] == "gap" {
                        seen.gaps += 1;
                        told = true;
                    }
                    if let Some(text) = json["text"].as_str() {
                        let number: u32 = text.split(' ').next().unwrap().parse().unwrap();
                        seen.wrong += u32::from(number != next && !(told && number > next));
                        (next, told) = (number + 1, false);
                        seen.got += 1;
                        if next == MESSAGES {
                            _ = curl.kill();
                            _ = curl.wait();
                            return seen;
                        }
                    }
                }
                line.clear();
            }
            _ = curl.wait();
            seen.drops += 1;
        }
    })
}

/// Publishes `0 …` to `9999 …`, one after the other.
fn publish_all(server: SocketAddr, channel: &str) {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for number in 0..MESSAGES {
        let body = format!("{number} {}", "x".repeat(20));
        let request = format!(
            "POST /ch/{channel} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // In one piece: the server answers what is whole.
        stream.write_all(request.as_bytes()).unwrap();
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            assert!(
                answers.read_line(&mut line).unwrap() > 0,
                "the server ended it"
            );
            let lower = line.to_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        answers.read_exact(&mut answer).unwrap();
        assert!(answer.starts_with(b"{\"offset\":"));
        // Clients that come back a hundred times shall find something new most of them.
        if number % 50 == 0 {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// All four on one channel; what each has heard.
fn drop_them(channel: &'static str) -> [(&'static str, Seen, u32); 4] {
    let folder = Folder::new();
    let settings = "[limits]\nstream_retry_ms = 20\n\
        [[pubsub.channels]]\nmatch = \"all\"\nhistory_messages_max = 20000\nhistory_bytes_max = 4000000\n\
        [[pubsub.channels]]\nmatch = \"few\"\nhistory_messages_max = 20\n\
        [[pubsub.channels]]\nmatch = \"report\"\nhistory_messages_max = 20\n";
    let config = folder.file("dunlin.toml", settings.as_bytes());
    let dunlin = Dunlin::start(&["--config", config.to_str().unwrap()]);
    let server: SocketAddr = dunlin.main.to_string().parse().unwrap();
    let doors = [1, 2, 3, 4].map(|seed| Door::to(server, seed));
    let last = (MESSAGES - 1).to_string();

    let (page, profile) = (serve("dropped.html"), Folder::new());
    let url = format!(
        "http://{page}/?url=http://{}/ch/{channel}?rewind=all&report=http://{server}/ch/report&last={last}",
        doors[0].address
    );
    let _browser = chromium(&profile, &url);
    let by_curl = curl(doors[1].address, channel);
    let python = file(".venv/bin/python3");
    let mut python = Child::start(
        Command::new(python)
            .arg(file("dropped_websockets.py"))
            .arg(format!("ws://{}/ch/{channel}", doors[2].address))
            .arg(&last),
    );
    let mut node = Child::start(
        Command::new("node")
            .arg(file("dropped_ws.mjs"))
            .arg(format!("ws://{}/ch/{channel}", doors[3].address))
            .arg(&last),
    );
    let mut report = Child::start(
        Command::new("curl")
            .args(["-sN", "--max-time", "120"])
            .arg(format!("http://{server}/ch/report?rewind=all")),
    );
    publish_all(server, channel);
    let seen = [
        ("EventSource", Seen::read(&report.line("EventSource"))),
        ("curl", by_curl.join().unwrap()),
        ("websockets", Seen::read(&python.line("websockets {"))),
        ("ws", Seen::read(&node.line("ws {"))),
    ];
    dunlin.stop();
    let mut doors = doors.iter();
    seen.map(|(name, seen)| (name, seen, doors.next().unwrap().drops()))
}

#[test]
fn all_of_them_in_order() {
    for (name, seen, drops) in drop_them("all") {
        println!("{name}: {seen:?}, cut off {drops} times");
        assert_eq!(
            (seen.got, seen.gaps, seen.wrong),
            (MESSAGES, 0, 0),
            "{name}"
        );
        assert!(
            seen.drops >= DROPS && drops >= DROPS,
            "{name}: {seen:?} {drops}"
        );
    }
}

#[test]
fn or_with_gaps_that_are_announced() {
    let mut gaps = 0;
    for (name, seen, drops) in drop_them("few") {
        println!("{name}: {seen:?}, cut off {drops} times");
        assert_eq!(seen.wrong, 0, "{name}: {seen:?}");
        assert!(seen.got == MESSAGES || seen.gaps > 0, "{name}: {seen:?}");
        gaps += seen.gaps;
    }
    assert!(gaps > 0, "twenty are kept, and nobody was away for longer");
}
