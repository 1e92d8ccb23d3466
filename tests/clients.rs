//! Real clients against the real program: the clients printed in the documents of HieraChain and hyperlane, a
//! browser, and well-known libraries, each as a process of its own.
//!
//! `tests/clients/install` installs what is needed; a client that is missing fails its test and says so.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use dunlin::net::http_request;
use support::{Child, Dunlin, Folder, PATIENCE, client_file as file, eventually};

const BLOCK: &str =
    r#"{"chain_name":"supply_chain","kind":"block","data":{"block_hash":"b10c","height":10}}"#;
const LAST_BLOCK: &str =
    r#"{"chain_name":"supply_chain","kind":"block","data":{"block_hash":"1a57","height":11}}"#;
const EVENT: &str = r#"{"chain_name":"supply_chain","kind":"event","data":{"entity_id":"p-1","event_type":"production_complete"}}"#;

fn node(script: &str) -> Command {
    file("node_modules/ws");
    file("node_modules/undici");
    let mut command = Command::new("node");
    command.arg(file(script));
    command
}

/// A document's client, which finds its URL, its `WebSocket` and a faster clock through the prelude.
fn node_document(script: &str, url: &str, hurry: u32, flags: &[&str]) -> Command {
    file("node_modules/ws");
    let mut command = Command::new("node");
    command
        .args(flags)
        .arg("--import")
        .arg(file("prelude.mjs"))
        .arg(file(script))
        .env("CLIENT_URL", url)
        .env("CLIENT_HURRY", hurry.to_string());
    command
}

fn python(script: &str) -> Command {
    let mut command = Command::new(file(".venv/bin/python"));
    command.arg("-u").arg(file(script)).env("PYTHONUTF8", "1");
    command
}

fn curl(arguments: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(arguments);
    command
}

/// Publishes and gives the number of sessions that were reached.
#[track_caller]
fn publish(dunlin: &Dunlin, body: &str) -> u64 {
    let url = format!("http://{}/hierachain/publish", dunlin.control);
    let answer = http_request("POST", &url, &[], body.as_bytes()).unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(answer.status, 200, "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["delivered"].as_u64().unwrap()
}

/// A block until somebody has heard it, then an event, then another block, so that whoever has seen that one has
/// seen everything before it.
#[track_caller]
fn publish_all(dunlin: &Dunlin) {
    eventually("a subscriber of supply_chain", || {
        (publish(dunlin, BLOCK) == 1).then_some(())
    });
    assert_eq!(publish(dunlin, EVENT), 1);
    assert_eq!(publish(dunlin, LAST_BLOCK), 1);
}

/// What the document's JavaScript must print; HC-8 and HC-14.
#[track_caller]
fn javascript_prints(dunlin: Dunlin, client: &mut Child) {
    client.line("✅ Connected to HieraChain WebSocket");
    // Both subscriptions are there once something behind them is answered.
    client.line("💚 Pong received");
    publish_all(&dunlin);
    client.line("🆕 New block: b10c");
    client.line("📝 New event: production_complete");
    client.line("🆕 New block: 1a57");
    client.line("💚 Pong received");
    dunlin.stop();
    client.line("🔌 Disconnected");
    assert_eq!(client.count("New event"), 1, "{:?}", client.seen);
    assert_eq!(client.count("New block"), 2, "{:?}", client.seen);
    assert_eq!(client.count("rror"), 0, "{:?}", client.seen);
}

#[test]
fn hierachain_javascript_with_npm_ws() {
    let dunlin = Dunlin::start(&[]);
    let command = &mut node_document("hierachain.mjs", &dunlin.ws("/ws"), 300, &[]);
    javascript_prints(dunlin, &mut Child::start(command));
}

#[test]
fn hierachain_javascript_with_the_websocket_of_node() {
    let dunlin = Dunlin::start(&[]);
    let flags = ["--experimental-websocket", "--no-warnings"];
    let command = &mut node_document("hierachain.mjs", &dunlin.ws("/ws"), 300, &flags);
    javascript_prints(dunlin, &mut Child::start(command));
}

#[test]
fn hierachain_javascript_with_a_key_in_the_url() {
    let dunlin = Dunlin::start(&["--key", "s3cret"]);
    let url = dunlin.ws("/ws?token=s3cret");
    let mut client = Child::start(&mut node_document("hierachain.mjs", &url, 300, &[]));
    client.line("✅ Connected");
    client.line("💚 Pong received");

    let url = dunlin.ws("/ws");
    let mut client = Child::start(&mut node_document("hierachain.mjs", &url, 300, &[]));
    client.sooner_or_later("WebSocket error:");
    client.sooner_or_later("🔌 Disconnected");
    assert_eq!(client.count("Connected to"), 0, "{:?}", client.seen);
}

/// The document's Python client never pings, so it has no pong to print.
#[test]
fn hierachain_python() {
    let dunlin = Dunlin::start(&[]);
    let mut client = Child::start(python("hierachain.py").arg(dunlin.ws("/ws")));
    publish_all(&dunlin);
    client.line("🆕 New block: b10c");
    client.line("📝 New event: production_complete");
    client.line("🆕 New block: 1a57");
    assert_eq!(client.seen.len(), 3, "{:?}", client.seen);
    dunlin.stop();
}

#[test]
fn hierachain_rust() {
    let dunlin = Dunlin::start(&[]);
    let mut command = Command::new(file("rust/target/debug/hierachain-client"));
    let mut client = Child::start(command.arg(dunlin.ws("/ws")));
    publish_all(&dunlin);
    let block = client.line("Received: ");
    for part in ["new_block", "b10c", "supply_chain", "Number(10)"] {
        assert!(block.contains(part), "{block}");
    }
    let event = client.line("Received: ");
    for part in ["new_event", "production_complete", "p-1"] {
        assert!(event.contains(part), "{event}");
    }
    assert!(client.line("Received: ").contains("1a57"));
    dunlin.stop();
    assert!(client.end().success(), "{:?}", client.seen);
}

#[test]
fn hierachain_in_a_browser() {
    let dunlin = Dunlin::start(&[]);
    let profile = Folder::new();
    let pages = Pages::serve();
    let page = format!(
        "http://{}/hierachain.html?hurry=300&url={}",
        pages.address,
        dunlin.ws("/ws")
    );
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args(["--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync"])
        .args(["--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", profile.0.display()))
        .arg(page);
    let _browser = Child::start(&mut command);
    let line = |part: &str| {
        let mut line = String::new();
        while !line.contains(part) {
            line = pages.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
                panic!("no line {part:?} from the page: {error}");
            });
            println!("{line}");
        }
    };
    line("✅ Connected to HieraChain WebSocket");
    line("💚 Pong received");
    publish_all(&dunlin);
    line("🆕 New block: b10c");
    line("📝 New event: production_complete");
    line("🆕 New block: 1a57");
    line("💚 Pong received");
    dunlin.stop();
    line("🔌 Disconnected");
}

/// HL-2: an own message every second, which the prelude makes a tenth of one.
#[test]
fn hyperlane_javascript() {
    let dunlin = Dunlin::start(&[]);
    let url = dunlin.ws("/websocket");
    let mut client = Child::start(&mut node_document("hyperlane.js", &url, 10, &[]));
    client.line("WebSocket opened");
    let first = client.line("Receive: ");
    assert!(first.starts_with("Receive:  Now time: 2"), "{first}");
    assert_ne!(client.line("Receive: "), first);
    dunlin.stop();
    client.line("WebSocket closed");
}

/// HC-11
#[test]
fn the_status_counts_the_subscribers_of_each_chain() {
    let dunlin = Dunlin::start(&[]);
    let mut five = Child::start(python("hierachain_five.py").arg(dunlin.ws("/ws")));
    five.line("ready");
    let url = format!("http://{}/ws/status", dunlin.main);
    let status = Child::start(&mut curl(&[&url])).success();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["status"], "running");
    assert_eq!(status["total_connections"], 5);
    assert_eq!(
        status["chains"],
        serde_json::json!({"supply_chain": 3, "orders": 2})
    );
    assert_eq!(status["stats"]["max_connections"], 1000);
    drop(five);
    // All five are gone without a closing handshake; the status must notice.
    eventually("an empty house", || {
        let answer = http_request("GET", &url, &[], b"").unwrap();
        let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (status["total_connections"] == 0 && status["chains"] == serde_json::json!({}))
            .then_some(())
    });
    dunlin.stop();
}

/// HC-12
#[test]
fn a_key_opens_the_door_in_three_ways() {
    let dunlin = Dunlin::start(&["--key", "s3cret", "--key", "0ther"]);
    let mut command = python("websockets_keys.py");
    let said = Child::start(command.arg(dunlin.ws("/ws")).arg("s3cret")).success();
    let expected = "no key: 401\nwrong ?token=: 401\nwrong X-API-Key: 401\nwrong Bearer: 401\n\
        ?token=: 101\nX-API-Key: 101\nBearer: 101\n";
    assert!(said.starts_with(expected), "{said}");

    let url = format!("http://{}/ch/news", dunlin.main);
    let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    let post = |more: &[&str]| {
        let arguments = [&status[..], &["--data", "hello", &url], more].concat();
        Child::start(&mut curl(&arguments)).success()
    };
    assert_eq!(post(&[]), "401");
    assert_eq!(post(&["--header", "X-API-Key: wrong"]), "401");
    assert_eq!(post(&["--header", "X-API-Key: 0ther"]), "200");
    assert_eq!(post(&["--oauth2-bearer", "s3cret"]), "200");
    let health = format!("http://{}/healthz", dunlin.control);
    let arguments = [&status[..], &[&health]].concat();
    assert_eq!(Child::start(&mut curl(&arguments)).success(), "200");

    // Keys are never said aloud.
    let seen = dunlin.child.seen.join("\n");
    assert!(
        !seen.contains("s3cret") && !seen.contains("0ther"),
        "{seen}"
    );
    dunlin.stop();
}

#[test]
fn curl_keeps_its_connection() {
    let dunlin = Dunlin::start(&[]);
    let health = format!("http://{}/healthz", dunlin.control);
    let nothing = format!("http://{}/nothing", dunlin.control);
    let out = ["--write-out", "%{http_code} %{num_connects}\\n"];
    let quiet = |url| ["--output", "/dev/null", url];
    let urls = [quiet(&health), quiet(&nothing), quiet(&health)].concat();
    let said = Child::start(&mut curl(&[&out[..], &urls].concat())).success();
    assert_eq!(said, "200 1\n404 0\n200 0");

    let said = Child::start(&mut curl(&["--head", &health])).success();
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    assert!(said.to_lowercase().contains("content-length: 2"), "{said}");
    assert!(!said.ends_with("ok"), "{said}");
    let said = Child::start(&mut curl(&["--http1.0", "--include", &health])).success();
    assert!(said.ends_with("\nok"), "{said}");
    dunlin.stop();
}

#[test]
fn curl_uploads_in_every_way() {
    let dunlin = Dunlin::start(&[]);
    let mut subscriber = dunlin::net::Client::connect(&dunlin.ws("/ch/news"), &[]).unwrap();
    subscriber.set_timeout(Some(PATIENCE)).unwrap();
    let mut arrives = |expected: &str| match subscriber.receive().unwrap() {
        dunlin::net::Received::Text(text) => assert!(text == expected, "{} bytes", text.len()),
        other => panic!("{other:?}"),
    };
    let folder = Folder::new();
    let text = "0123456789".repeat(6_000);
    let body = format!("@{}", folder.file("body", text.as_bytes()).display());
    let url = format!("http://{}/ch/news", dunlin.control);
    let upload = |more: &[&str]| {
        let arguments = [&["--verbose", "--data-binary", &body, &url], more].concat();
        Child::start(&mut curl(&arguments)).success()
    };

    let said = upload(&["--header", "Expect: 100-continue"]);
    let order: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("< HTTP/1.1"))
        .collect();
    assert_eq!(
        order,
        ["< HTTP/1.1 100 Continue", "< HTTP/1.1 200 OK"],
        "{said}"
    );
    arrives(&text);

    let said = upload(&[
        "--header",
        "Transfer-Encoding: chunked",
        "--header",
        "Expect:",
    ]);
    assert!(said.contains("> Transfer-Encoding: chunked"), "{said}");
    assert!(said.contains("< HTTP/1.1 200 OK"), "{said}");
    arrives(&text);

    let said = upload(&[
        "--header",
        "Transfer-Encoding: chunked",
        "--header",
        "Expect: 100-continue",
    ]);
    assert!(said.contains("< HTTP/1.1 100 Continue"), "{said}");
    assert!(said.contains("< HTTP/1.1 200 OK"), "{said}");
    arrives(&text);

    let said = upload(&["--header", "Expect:"]);
    assert!(!said.contains("100 Continue"), "{said}");
    assert!(said.contains("\"receivers\":1"), "{said}");
    arrives(&text);
    dunlin.stop();
}

#[test]
fn curl_is_told_what_it_did_wrong() {
    let dunlin = Dunlin::start(&[]);
    let main = format!("http://{}", dunlin.main);
    let control = format!("http://{}", dunlin.control);
    let ask = |arguments: &[&str]| {
        Child::start(&mut curl(&[&["--include"], arguments].concat())).success()
    };
    let header = |said: &str, name: &str| {
        let lines = said.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.to_owned())
    };
    let said = ask(&[&format!("{main}/no/such/path")]);
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    // Publishing on behalf of the chain is not for the public listener.
    let said = ask(&["--data", BLOCK, &format!("{main}/hierachain/publish")]);
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");

    let said = ask(&[
        "--request",
        "DELETE",
        &format!("{control}/hierachain/publish"),
    ]);
    assert!(said.starts_with("HTTP/1.1 405 "), "{said}");
    assert_eq!(header(&said, "Allow").as_deref(), Some("POST"), "{said}");

    let said = ask(&[&format!("{main}/echo")]);
    assert!(said.starts_with("HTTP/1.1 426 "), "{said}");
    assert_eq!(header(&said, "Upgrade").as_deref(), Some("websocket"));
    assert_eq!(
        header(&said, "Sec-WebSocket-Version").as_deref(),
        Some("13")
    );

    let folder = Folder::new();
    let body = format!(
        "@{}",
        folder.file("body", &vec![b'x'; (1 << 20) + 1]).display()
    );
    let url = format!("{control}/ch/news");
    let length = [
        "--header",
        "Expect: 100-continue",
        "--data-binary",
        &body,
        &url,
    ];
    let said = ask(&length);
    assert!(
        said.starts_with("HTTP/1.1 413 "),
        "refused before the body: {said}"
    );
    // In chunks nobody knows the length beforehand; curl may still be sending when the answer comes.
    let chunked = [
        "--header",
        "Transfer-Encoding: chunked",
        "--header",
        "Expect:",
    ];
    let said = ask(&[&chunked[..], &["--data-binary", &body, &url]].concat());
    assert!(said.contains("HTTP/1.1 413 "), "{said}");

    let said = ask(&[
        "--data",
        "{\"chain_name\":7}",
        &format!("{control}/hierachain/publish"),
    ]);
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    assert!(said.contains("chain_name"), "the reason is said: {said}");
    dunlin.stop();
}

/// The example of RFC 6455 §1.3, asked by a client that knows nothing of WebSockets.
#[test]
fn curl_sees_the_handshake_of_the_rfc() {
    let dunlin = Dunlin::start(&[]);
    let url = format!("http://{}/chat/room", dunlin.main);
    let arguments = [
        "--verbose",
        "--no-buffer",
        "--header",
        "Connection: keep-alive, Upgrade",
        "--header",
        "Upgrade: websocket",
        "--header",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "--header",
        "Sec-WebSocket-Version: 13",
        "--header",
        "Sec-WebSocket-Protocol: chat, superchat",
        &url,
    ];
    let mut client = Child::start(&mut curl(&arguments));
    client.line("< HTTP/1.1 101 Switching Protocols");
    let lines: Vec<String> = (0..4).map(|_| client.line("< ").to_lowercase()).collect();
    for expected in [
        "< upgrade: websocket",
        "< connection: upgrade",
        "< sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
        "< sec-websocket-protocol: chat",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{lines:?}");
    }
    drop(client);
    dunlin.stop();
}

/// Runs a script that checks for itself; each line `ok: …` was counted by whoever wrote it.
#[track_caller]
fn checks(mut command: Command, ok: usize) {
    let said = Child::start(&mut command).success();
    println!("{said}");
    assert_eq!(said.matches("ok: ").count(), ok, "{said}");
    assert!(said.contains("done: "), "{said}");
}

#[test]
fn npm_ws() {
    let dunlin = Dunlin::start(&[]);
    let mut command = node("ws_checks.mjs");
    command.arg(dunlin.ws("/echo"));
    checks(command, 5);
    dunlin.stop();
}

#[test]
fn npm_undici() {
    let dunlin = Dunlin::start(&[]);
    let mut command = node("undici_checks.mjs");
    command.args([&dunlin.main, &dunlin.control]);
    checks(command, 3);
    dunlin.stop();
}

#[test]
fn pypi_websockets() {
    let dunlin = Dunlin::start(&[]);
    let mut command = python("websockets_checks.py");
    command.arg(dunlin.ws("/echo"));
    checks(command, 8);
    dunlin.stop();
}

#[test]
fn lib_7_libwebsockets() {
    let dunlin = Dunlin::start(&[]);
    let (_, port) = dunlin.main.rsplit_once(':').unwrap();
    let mut command = Command::new(file(".built/lws"));
    command.args([port, "/echo"]);
    let said = Child::start(&mut command).success();
    assert!(said.contains("received 10000 bytes in "), "{said}");
    assert!(said.contains("done: libwebsockets"), "{said}");
    let url = format!("http://{}/metrics", dunlin.control);
    let metrics = http_request("GET", &url, &[], b"").unwrap().body;
    let line = "dunlin_closes_total{code=\"1000\",side=\"peer\"} 1";
    assert!(String::from_utf8(metrics).unwrap().contains(line));
    dunlin.stop();
}

#[test]
fn pypi_boto3() {
    let dunlin = Dunlin::start(&[]);
    let mut command = python("aws.py");
    command.arg(format!("ws://{}", dunlin.main));
    command.arg(format!("http://{}", dunlin.control));
    let said = Child::start(&mut command).success();
    for part in [
        "post: 200",
        "too large: ",
        "delete: 204, closed with 1000",
        "unknown: GoneException",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("done: boto3"), "{said}");
    dunlin.stop();
}

#[test]
fn pypi_aiohttp() {
    let dunlin = Dunlin::start(&[]);
    let mut command = python("aiohttp_checks.py");
    command.args([&dunlin.main, &dunlin.control]);
    checks(command, 2);
    dunlin.stop();
}

#[test]
fn pypi_websocket_client() {
    let dunlin = Dunlin::start(&[]);
    let mut command = python("websocket_client_checks.py");
    command.arg(dunlin.ws("/echo"));
    checks(command, 3);
    dunlin.stop();
}

#[test]
fn java_http_client() {
    let dunlin = Dunlin::start(&[]);
    let mut command = Command::new("java");
    command
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .arg(file("Client.java"))
        .args([&dunlin.main, &dunlin.control]);
    checks(command, 2);
    dunlin.stop();
}

/// A web server for the browser's page, which also takes the lines that the page reports.
struct Pages {
    address: String,
    lines: Receiver<String>,
}

impl Pages {
    fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                // Browsers open connections ahead and may say nothing on them: a thread each.
                thread::spawn(move || stream.map(|stream| page(stream, &sender)));
            }
        });
        Self { address, lines }
    }
}

/// Answers one request.
fn page(mut stream: TcpStream, lines: &Sender<String>) {
    _ = stream.set_read_timeout(Some(PATIENCE));
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    let (head, body) = loop {
        let Ok(n @ 1..) = stream.read(&mut chunk) else {
            return;
        };
        request.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let lower = head.to_lowercase();
        let length = lower.split_once("content-length: ").map_or(0, |(_, rest)| {
            rest.lines().next().unwrap().parse::<usize>().unwrap()
        });
        if body.len() >= length {
            break (head.to_owned(), body.to_owned());
        }
    };
    let target = head.split(' ').nth(1).unwrap_or_default();
    let (status, media_type, content) = match target.split('?').next().unwrap_or_default() {
        "/hierachain.html" => ("200 OK", "text/html", read(&file("hierachain.html"))),
        "/hierachain.mjs" => ("200 OK", "text/javascript", read(&file("hierachain.mjs"))),
        "/line" => {
            _ = lines.send(body);
            ("204 No Content", "text/plain", Vec::new())
        }
        _ => ("404 Not Found", "text/plain", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        content.len()
    );
    _ = stream.write_all(&[head.as_bytes(), &content].concat());
}

fn read(path: &std::path::Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
