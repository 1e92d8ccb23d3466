//! Ten thousand subscribers of one channel on the real program: what each costs in memory, and that every one of them
//! hears every publication, in order and once.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use dunlin::http::{HeadLimits, ResponseHead};
use dunlin::net::{http_request, raise_open_files_max};
use dunlin::ws::{self, CloseCode, Event, Limits, Message, OpCode, Role, WebSocket};
use support::{Dunlin, PATIENCE};

const CONNECTIONS: usize = 10_000;
/// Files of both processes that are no connections of this test.
const OTHER_FILES: usize = 200;
const PUBLICATIONS: usize = 20;
/// Opened at once before the first answer is read; less than what the listener lets wait.
const BATCH: usize = 200;

/// Bytes that an idle subscriber may cost the server. Debug builds keep more beside each value.
const BYTES_MAX: u64 = if cfg!(debug_assertions) { 1024 } else { 200 };

#[test]
fn ten_thousand_subscribers_hear_everything_once_and_in_order() {
    let files = raise_open_files_max();
    let connections = CONNECTIONS.min(files.saturating_sub(OTHER_FILES));
    if connections < CONNECTIONS {
        say(&format!(
            "load: this system allows {files} open files, so {connections} connections are \
             tried instead of {CONNECTIONS}"
        ));
    }
    assert!(connections >= 100, "{files} open files are too few to try");

    // A drain is spread over most of its time on purpose; this one need not take the usual half minute.
    let drain = ("DUNLIN_DRAIN_TIMEOUT_MS", "10000");
    let mut dunlin = Dunlin::start_with(&[drain], &["--log-level", "error"]);
    // What is only set up for the first of them does not count for each.
    drop(subscribers(&dunlin, BATCH, "/ch/warm-up"));
    let before = memory(dunlin.child.id());
    let mut subscribers = subscribers(&dunlin, connections, "/ch/news");
    let after = memory(dunlin.child.id());
    let each = |total: u64| total.saturating_sub(before.anonymous) * 1024 / connections as u64;
    say(&format!(
        "load: {connections} idle subscribers cost {} bytes each; the whole server holds {} KiB, \
         {} KiB of it anonymous",
        each(after.anonymous),
        after.resident,
        after.anonymous
    ));
    assert!(
        each(after.anonymous) <= BYTES_MAX,
        "{} bytes each, at most {BYTES_MAX}: {before:?}, {after:?}",
        each(after.anonymous)
    );

    let url = format!("http://{}/ch/news", dunlin.control);
    let texts: Vec<String> = (1..=PUBLICATIONS)
        .map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(180)))
        .collect();
    for (i, text) in texts.iter().enumerate() {
        let answer = http_request("POST", &url, &[], text.as_bytes()).unwrap();
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status, 200, "{said}");
        assert_eq!(said["receivers"], connections, "{said}");
        assert_eq!(said["offset"], i + 1, "{said}");
    }
    for (i, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.read_until(|s| s.texts.len() >= texts.len() || s.close.is_some());
        assert!(subscriber.texts == texts, "subscriber {i}: {subscriber:?}");
    }

    // The end: each is told to come back later, and has heard nothing twice until then.
    dunlin.child.terminate();
    for (i, mut subscriber) in subscribers.into_iter().enumerate() {
        subscriber.read_until(|s| s.close.is_some());
        assert_eq!(subscriber.close, Some(CloseCode::RESTART), "subscriber {i}");
        assert_eq!(subscriber.texts.len(), texts.len(), "subscriber {i}");
        subscriber.answer_close();
    }
    let status = dunlin.child.end();
    assert!(status.success(), "{status}: {:?}", dunlin.child.seen);
}

/// To the terminal even when the test passes.
fn say(text: &str) {
    _ = writeln!(io::stderr(), "{text}");
}

/// KiB of a process.
#[derive(Debug)]
struct Memory {
    resident: u64,
    anonymous: u64,
}

fn memory(process: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    Memory {
        resident: field("Rss:"),
        anonymous: field("Anonymous:"),
    }
}

struct Subscriber {
    stream: TcpStream,
    ws: WebSocket,
    texts: Vec<String>,
    close: Option<CloseCode>,
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} after {:?}", self.close, self.texts)
    }
}

/// Opens that many WebSockets at `path`, all of them through their handshake.
fn subscribers(dunlin: &Dunlin, count: usize, path: &str) -> Vec<Subscriber> {
    let mut subscribers = Vec::with_capacity(count);
    while subscribers.len() < count {
        let batch = BATCH.min(count - subscribers.len());
        let opening: Vec<_> = (0..batch)
            .map(|i| {
                let number = (subscribers.len() + i) as u128;
                let key = ws::client_key(number.to_be_bytes());
                let mut request = Vec::new();
                ws::write_request(&mut request, &dunlin.main, path, &key, &[], &[]);
                let mut stream = TcpStream::connect(&dunlin.main).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.write_all(&request).unwrap();
                (stream, key)
            })
            .collect();
        subscribers.extend(
            opening
                .into_iter()
                .map(|(stream, key)| opened(stream, &key)),
        );
    }
    subscribers
}

/// Reads the answer to an opening handshake.
fn opened(mut stream: TcpStream, key: &str) -> Subscriber {
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    while !bytes.ends_with(b"\r\n\r\n") {
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "refused: {}", bytes.escape_ascii());
        bytes.extend_from_slice(&chunk[..n]);
    }
    let head = ResponseHead::parse(&bytes, &HeadLimits::default()).unwrap();
    ws::check_response(head.status(), head.headers(), key, &[]).unwrap();
    Subscriber {
        stream,
        ws: WebSocket::new(Role::Client),
        texts: Vec::new(),
        close: None,
    }
}

impl Subscriber {
    /// Reads and decodes until `enough`.
    fn read_until(&mut self, enough: impl Fn(&Self) -> bool) {
        let mut chunk = [0; 16 << 10];
        while !enough(self) {
            let n = self.stream.read(&mut chunk).unwrap();
            assert!(n > 0, "the connection ended: {self:?}");
            let mut input = &mut chunk[..n];
            let mut pongs = Vec::new();
            let limits = Limits::default();
            while let Some(event) = self.ws.next_event(&limits, &mut input).unwrap() {
                match event {
                    Event::Message(Message::Text(text)) => self.texts.push(text.to_owned()),
                    Event::Close(code, _) => self.close = Some(code),
                    Event::Ping(payload) => {
                        ws::encode_frame(&mut pongs, OpCode::Pong, payload, Some([1, 2, 3, 4]));
                    }
                    other => panic!("{other:?}"),
                }
            }
            self.stream.write_all(&pongs).unwrap();
        }
    }

    fn answer_close(&mut self) {
        let mut frame = Vec::new();
        ws::encode_close(&mut frame, CloseCode::RESTART, "", Some([1, 2, 3, 4]));
        // The server may have lost its patience, which is no fault of its.
        _ = self.stream.write_all(&frame);
    }
}
