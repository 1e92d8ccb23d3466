//! The same channel by server-sent events, lines and polls: real clients against the real program.
//!
//! | | |
//! | --- | --- |
//! | FB-1 | `EventSource` of Chromium: in order, lines intact, names, CORS |
//! | FB-2 | cut, and back with `Last-Event-ID`: what was missed comes, what is not kept any more is said |
//! | FB-3 | long polls of Python's `requests` over time-outs |
//! | FB-4 | 401 is final for an `EventSource` (npm `undici`) |
//! | FB-5 | events, lines of JSON and a WebSocket hear one sequence (npm `undici`) |
//! | FB-6 | readers that do not read, many that are idle |
//!
//! Beside them `curl -N`. The scenarios in a simulated network: `tests/scenarios/responses.rs` and `polls.rs`.
//! `tests/clients/install` installs what is needed; a client that is missing fails its test and says so.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use dunlin::net::http_request;
#[cfg(feature = "wildcards")]
use dunlin::net::{Client, Received};
use support::{Child, Dunlin, Folder, PATIENCE, chromium, client_file as file, eventually, serve};

/// All channels keep the newest three, and who is cut comes back after two seconds.
const SETTINGS: &str = "[limits]\nstream_retry_ms = 2000\npoll_timeout_ms = 300\n\
    [[pubsub.channels]]\nmatch = \"*\"\nhistory_messages_max = 3\n\
    [[pubsub.channels]]\nmatch = \"log*\"\nhistory_messages_max = 1000\n";

fn served(settings: &str) -> (Dunlin, Folder) {
    let folder = Folder::new();
    let file = folder.file("dunlin.toml", settings.as_bytes());
    let dunlin = Dunlin::start(&["--config", file.to_str().unwrap()]);
    (dunlin, folder)
}

fn node(script: &str) -> Command {
    file("node_modules/undici");
    let mut command = Command::new("node");
    command.arg("--no-warnings").arg(file(script));
    command
}

/// `curl -N` on a channel, and more flags.
fn curl(dunlin: &Dunlin, target: &str, flags: &[&str]) -> Child {
    let mut command = Command::new("curl");
    let url = format!("http://{}{target}", dunlin.main);
    command.args(["-sSN", "--max-time", "60"]).args(flags);
    Child::start(command.arg(url))
}

/// Publishes, with more headers, and gives the number of subscribers it has reached.
fn publish_with(dunlin: &Dunlin, channel: &str, body: &[u8], headers: &[(&str, &str)]) -> u64 {
    let url = format!("http://{}/ch/{channel}", dunlin.main);
    let answer = http_request("POST", &url, headers, body).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.status, 200, "{json}");
    json["receivers"].as_u64().unwrap()
}

fn publish(dunlin: &Dunlin, channel: &str, body: &str) -> u64 {
    publish_with(dunlin, channel, body.as_bytes(), &[])
}

fn subscribers(dunlin: &Dunlin, channel: &str) -> u64 {
    let url = format!("http://{}/ch/{channel}?info", dunlin.main);
    let answer = http_request("GET", &url, &[], b"").unwrap();
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    json["subscribers"].as_u64().unwrap()
}

fn has_subscribers(dunlin: &Dunlin, channel: &str, count: u64) {
    eventually("subscribers", || {
        (subscribers(dunlin, channel) == count).then_some(())
    });
}

/// Ends every session on a channel, as an operator does.
fn cut(dunlin: &Dunlin, channel: &str) {
    let url = format!("http://{}/v1/connections", dunlin.control);
    let list = http_request("GET", &format!("{url}?channel={channel}"), &[], b"").unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    for connection in list["connections"].as_array().unwrap() {
        let id = connection["id"].as_str().unwrap();
        let json = [("Content-Type", "application/json")];
        let answer = http_request("POST", &format!("{url}/{id}/close"), &json, b"{}").unwrap();
        assert!(answer.status < 300, "{}", answer.status);
    }
}

#[test]
fn fb_1_and_2_event_source_of_a_browser() {
    let (dunlin, _folder) = served(SETTINGS);
    let mut report = curl(&dunlin, "/ch/report?rewind=all", &[]);
    has_subscribers(&dunlin, "report", 1);
    let (page, profile) = (serve("fallbacks.html"), Folder::new());
    let url = format!("http://{page}/?url=http://{}", dunlin.main);
    let _browser = chromium(&profile, &url);
    report.line("open");
    has_subscribers(&dunlin, "news", 1);

    publish(&dunlin, "news", "one");
    publish(&dunlin, "news", "a\nb\r\nc\rd\n");
    publish(&dunlin, "news", "");
    publish(&dunlin, "news", " data: x\n\nevent: tàu hỏa");
    let goal = [("X-EventSource-Event", "goal")];
    publish_with(&dunlin, "news", b"1:0", &goal);
    publish_with(&dunlin, "news", &[0, 255], &[]);
    for line in [
        r#"message "one""#,
        r#"message "a\nb\nc\nd\n""#,
        r#"message """#,
        r#"message " data: x\n\nevent: tàu hỏa""#,
        r#"goal "1:0""#,
        r#"binary "AP8=""#,
    ] {
        assert_eq!(report.line(" "), line);
    }

    // Cut, and back: two were missed, and they come.
    cut(&dunlin, "news");
    assert_eq!(publish(&dunlin, "news", "two"), 0);
    assert_eq!(publish(&dunlin, "news", "three"), 0);
    let close = report.line(" ");
    assert!(close.starts_with(r#"close "{\"code\":10"#), "{close}");
    assert_eq!(report.line(" "), "error 0", "it comes back");
    report.line("open");
    for line in [r#"message "two""#, r#"message "three""#] {
        assert_eq!(report.line(" "), line);
    }

    // Away for longer than three messages: the gap is said.
    cut(&dunlin, "news");
    for n in 0..5 {
        assert_eq!(publish(&dunlin, "news", &format!("m{n}")), 0);
    }
    report.line("open");
    assert_eq!(report.line(" "), r#"gap "{\"type\":\"gap\",\"missed\":2}""#);
    for n in 2..5 {
        assert_eq!(report.line(" "), format!("message \"m{n}\""));
    }
    dunlin.stop();
}

#[test]
fn fb_3_long_polls_lose_nothing() {
    let (dunlin, _folder) = served(SETTINGS);
    let mut command = Command::new(file(".venv/bin/python"));
    command.arg("-u").arg(file("fallbacks_polls.py"));
    command.arg(format!("http://{}/ch/log", dunlin.main));
    let mut client = Child::start(command.arg("200"));
    client.line("ready");
    for n in 0..200 {
        publish(&dunlin, "log", &format!("m{n}"));
        if n == 100 {
            client.line("timeout");
        }
    }
    let said = client.success();
    assert!(said.contains("done: requests"), "{said}");
    assert!(dunlin.metric("dunlin_polls_total") > 2);
    dunlin.stop();
}

#[test]
fn fb_4_a_wrong_key_is_final() {
    let (dunlin, _folder) = served("keys = [\"s3cret\"]\n");
    let mut client = Child::start(node("fallbacks_key.mjs").args([&dunlin.main, "s3cret"]));
    client.line("refused for good");
    client.line("ready");
    let key = [("Authorization", "Bearer s3cret")];
    assert_eq!(publish_with(&dunlin, "news", b"hello", &key), 1);
    client.line("heard hello");
    assert!(client.end().success());
    dunlin.stop();
}

#[test]
fn fb_5_one_sequence_for_all() {
    let (dunlin, _folder) = served(SETTINGS);
    let mut client = Child::start(node("fallbacks.mjs").args([&dunlin.main, "300"]));
    client.line("ready");
    has_subscribers(&dunlin, "news", 3);
    for n in 0..300 {
        let tick = [("X-EventSource-Event", "tick")];
        publish_with(&dunlin, "news", format!("m{n}").as_bytes(), &tick);
    }
    client.line("one sequence");
    assert!(client.end().success());
    dunlin.stop();
}

#[test]
fn fb_6_a_reader_that_does_not_read_is_bounded() {
    let (dunlin, _folder) = served("");
    let mut healthy = curl(&dunlin, "/ch/news", &[]);
    let mut stream = TcpStream::connect(&dunlin.main).unwrap();
    let request = b"GET /ch/news HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(request).unwrap();
    has_subscribers(&dunlin, "news", 2);
    let long = "x".repeat(32 << 10);
    let mut used = 0;
    // What the kernel takes for it is not ours: some MiB. Then a MiB of ours, and then it is told to go.
    for n in 0..2_000 {
        publish(&dunlin, "news", &format!("{n} {long}"));
        healthy.line(&format!("{n} x"));
        used = used.max(dunlin.metric("dunlin_memory_used_bytes"));
        if dunlin.metric("dunlin_refused_total{reason=\"slow_consumer\"}") == 1 {
            break;
        }
    }
    assert_eq!(
        dunlin.metric("dunlin_refused_total{reason=\"slow_consumer\"}"),
        1
    );
    assert!(used <= (1 << 20) + (256 << 10), "{used} bytes were kept");
    has_subscribers(&dunlin, "news", 1);
    // It reads after all: what was sent is whole, and the last word says why it ends.
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let end = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(
        end.starts_with("event: close\ndata: {\"code\":1013,\"reason\":\"slow consumer"),
        "{end}"
    );
    assert_eq!(publish(&dunlin, "news", "still here"), 1);
    healthy.line("still here");
    drop(healthy);
    dunlin.stop();
}

#[test]
fn fb_6_idle_streams_cost_no_buffer() {
    let (dunlin, _folder) = served("connections_max = 600\n");
    let streams: Vec<TcpStream> = (0..500)
        .map(|_| {
            let mut stream = TcpStream::connect(&dunlin.main).unwrap();
            let request = b"GET /ch/idle HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n";
            stream.write_all(request).unwrap();
            stream
        })
        .collect();
    has_subscribers(&dunlin, "idle", 500);
    assert_eq!(publish(&dunlin, "idle", "x"), 500);
    eventually("empty outboxes", || {
        (dunlin.metric("dunlin_memory_used_bytes") < 64 << 10).then_some(())
    });
    assert_eq!(dunlin.metric("dunlin_queued_frames"), 0);
    assert_eq!(dunlin.metric("dunlin_streams_total"), 500);
    drop(streams);
    has_subscribers(&dunlin, "idle", 0);
    dunlin.stop();
}

#[test]
fn curl_reads_lines_and_events_to_the_end() {
    let (dunlin, _folder) = served(SETTINGS);
    let mut lines = curl(&dunlin, "/ch/news", &[]);
    let mut json = curl(&dunlin, "/ch/news?positions", &[]);
    let mut events = curl(&dunlin, "/ch/news", &["-H", "Accept: text/event-stream"]);
    let mut old = curl(&dunlin, "/ch/news", &["--http1.0"]);
    has_subscribers(&dunlin, "news", 4);
    publish(&dunlin, "news", "{\"n\":1}");
    assert_eq!(lines.line("n"), "{\"n\":1}");
    assert_eq!(old.line("n"), "{\"n\":1}");
    assert!(json.line("position").contains("\"type\":\"subscribed\""));
    assert!(json.line("position").ends_with(",\"data\":{\"n\":1}}"));
    assert_eq!(events.line("data"), "data: {\"n\":1}");
    let head = curl(&dunlin, "/ch/news", &["--head"]).success();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    // A poll by curl, and what it missed.
    let poll = curl(&dunlin, "/ch/news?poll&rewind=1", &[]).success();
    let poll: serde_json::Value = serde_json::from_str(&poll).unwrap();
    assert_eq!(poll["messages"][0]["data"]["n"], 1);
    assert_eq!(poll["messages"][0]["position"], poll["position"]);
    dunlin.stop();
    for mut client in [lines, json, events, old] {
        assert!(client.end().success(), "the end is one: {:?}", client.seen);
    }
}

/// All of one URL again, where it stands for many channels.
#[test]
#[cfg(feature = "wildcards")]
fn curl_and_a_websocket_hear_every_channel_of_a_pattern() {
    let (dunlin, _folder) = served("");
    let mut socket = Client::connect(&dunlin.ws("/ch/news.*"), &[]).unwrap();
    let mut lines = curl(&dunlin, "/ch/news.*", &[]);
    let mut json = curl(&dunlin, "/ch/news.%3E?positions", &[]);
    let mut events = curl(&dunlin, "/ch/>", &["-H", "Accept: text/event-stream"]);
    let mut poll = curl(&dunlin, "/ch/news.*?poll", &[]);
    eventually("everybody listens", || {
        (dunlin.metric("dunlin_sessions") == 5).then_some(())
    });
    assert_eq!(dunlin.metric("dunlin_patterns"), 3);
    assert_eq!(publish(&dunlin, "news.eu", "{\"n\":1}"), 5);
    let answer = poll.line("messages");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["messages"][0]["channel"], "news.eu");
    assert_eq!(answer.get("position"), None);
    assert!(poll.end().success());
    assert_eq!(publish(&dunlin, "news.eu.it", "far"), 2);
    assert_eq!(publish(&dunlin, "sport", "goal"), 1);
    assert_eq!(publish(&dunlin, "news.us", "last"), 4);
    assert_eq!(lines.line("n"), "{\"n\":1}");
    assert_eq!(lines.line("last"), "last", "and nothing between");
    assert!(
        json.line("{")
            .contains("{\"type\":\"subscribed\",\"pattern\":\"news.>\"}")
    );
    for channel in ["news.eu", "news.eu.it", "news.us"] {
        let begins = format!("{{\"channel\":\"{channel}\",\"position\":\"");
        assert!(json.line("{").starts_with(&begins));
    }
    for channel in ["news.eu", "news.eu.it", "sport", "news.us"] {
        let begins = format!("data: {{\"channel\":\"{channel}\",");
        assert!(events.line("data").starts_with(&begins));
    }
    assert_eq!(events.count("id:"), 0);
    for text in ["{\"n\":1}", "last"] {
        let heard = socket.receive().unwrap();
        assert!(
            matches!(&heard, Received::Text(heard) if heard == text),
            "{heard:?}"
        );
    }
    let refused = curl(&dunlin, "/ch/news.*?rewind=all", &[]).success();
    assert!(refused.contains("`rewind` is for one channel"), "{refused}");
    drop(socket);
    dunlin.stop();
}

/// All of one URL again, where it is asked for some of what is said.
#[test]
#[cfg(feature = "filters")]
fn curl_hears_what_it_has_asked_for() {
    let (dunlin, _folder) = served(SETTINGS);
    let mut lines = curl(&dunlin, "/ch/log?types=goal,card", &[]);
    let events = ["-H", "Accept: text/event-stream"];
    let mut events = curl(&dunlin, "/ch/log?tags=red", &events);
    let mut json = curl(&dunlin, "/ch/log?positions&types=goal&tags=blue", &[]);
    let mut poll = curl(&dunlin, "/ch/log?poll&types=end", &[]);
    has_subscribers(&dunlin, "log", 4);
    let say = |event, tags, text: &str| {
        let headers = [("X-EventSource-Event", event), ("X-Tags", tags)];
        publish_with(&dunlin, "log", text.as_bytes(), &headers)
    };
    assert_eq!(say("goal", "red, blue", "1:0"), 3);
    assert_eq!(say("card", "red", "yellow"), 2);
    assert_eq!(say("goal", "red", "2:0"), 2);
    assert_eq!(publish(&dunlin, "log", "who knows"), 0);
    assert_eq!(say("offside", "green", "no"), 0);
    assert_eq!(say("goal", "blue", "3:0"), 2);
    // The poll may have had its time by now.
    assert!(say("end", "red", "over") >= 1);
    poll.end();
    for text in ["1:0", "yellow", "2:0", "3:0"] {
        assert_eq!(lines.line("").trim_end(), text);
    }
    for text in ["1:0", "yellow", "2:0", "over"] {
        assert_eq!(events.line("data: "), format!("data: {text}"));
    }
    assert!(json.line("{").contains("\"type\":\"subscribed\""));
    for text in ["1:0", "3:0"] {
        let line = json.line("{");
        assert!(
            line.ends_with(&format!("\"event\":\"goal\",\"text\":\"{text}\"}}")),
            "{line}"
        );
        assert!(!line.contains("previous"), "{line}");
    }
    let kept = curl(&dunlin, "/ch/log?poll=0&rewind=all&tags=blue", &[]).success();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept["messages"].as_array().unwrap().len(), 2, "{kept}");
    let refused = curl(&dunlin, "/ch/log?types=", &[]).success();
    assert!(refused.contains("`types`: "), "{refused}");
    dunlin.stop();
}
