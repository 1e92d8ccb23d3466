//! The load tool against the real program, against a server that is not ours, and against servers that do wrong:
//! what was asked for is what is counted, and what goes wrong has a name and an exit code.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod faulty;
mod schema;
#[path = "../support/mod.rs"]
mod support;

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use dunlin::net::http_request;
use faulty::{Wrong, serve, serve_first};
use serde_json::Value;
use support::{Child, Dunlin, Folder, eventually};

/// The tool, with words as in a shell.
fn tool(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin-bench"));
    command.args(line.split_whitespace());
    command
}

/// Exit code, stdout, stderr.
fn run(line: &str) -> (i32, String, String) {
    let output = tool(line).output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The report, which says the exit code too.
fn report(line: &str) -> (i32, Value) {
    let (code, out, err) = run(&format!("{line} --json --quiet"));
    let value = serde_json::from_str::<Value>(&out).unwrap_or_else(|_| panic!("{line}: {err}"));
    assert_eq!(value["exit"], code, "{value}");
    schema::check(&value);
    (code, value)
}

/// The report of a run in which nothing went wrong.
fn good(line: &str) -> Value {
    let (code, value) = report(line);
    assert_eq!(code, 0, "{line}: {value}");
    for name in ["lost", "duplicate", "out_of_order", "other_messages"] {
        assert_eq!(value[name], 0, "{name}: {line}: {value}");
    }
    assert_eq!(value["errors"], serde_json::json!({}), "{line}: {value}");
    value
}

fn dunlin() -> Dunlin {
    Dunlin::start_with(
        &[("DUNLIN_CHAT__MESSAGES_PER_SECOND", "0")],
        &["--log-level", "error"],
    )
}

#[test]
fn echo_counts_exactly_what_was_asked_for() {
    let dunlin = dunlin();
    let (url, pid) = (dunlin.ws("/echo"), dunlin.child.id());
    let value = good(&format!(
        "echo {url} --connections 7 --pipeline 8 --count 1001 --pid {pid}"
    ));
    assert_eq!(value["messages"], 1001, "{value}");
    assert_eq!(value["latency_us"]["count"], 1001);
    assert_eq!(value["bytes"], 1001 * 125);
    assert_eq!(value["connections"], 7);
    assert_eq!(value["latency_from"], "send");
    assert_eq!(value["server"]["pid"], pid);
    assert!(value["server"]["rss_start_bytes"].as_u64() > Some(0));
    assert!(value["server"]["cpu_per_message_ns"].is_u64());
    let per_column = value["per_100_ms"].as_array().unwrap();
    let all: u64 = per_column.iter().filter_map(Value::as_u64).sum();
    assert_eq!(all, 1001);

    let value = good(&format!("echo {url} --connections 3 --count 90 --rate 900"));
    assert_eq!(value["messages"], 90, "{value}");
    assert_eq!(value["latency_from"], "intended");
    assert!(value["interval_ms"].as_u64().unwrap() >= 98, "{value}");
    dunlin.stop();
}

#[test]
fn echo_takes_messages_of_every_length_and_form() {
    let dunlin = dunlin();
    let url = dunlin.ws("/echo");
    for payload in [0, 1, 36, 37, 57, 58, 125, 126, 65_535, 65_536, 300_000] {
        for form in ["", "--binary"] {
            let value = good(&format!(
                "echo {url} --connections 2 --pipeline 3 --count 20 --payload {payload} {form}"
            ));
            assert_eq!(value["messages"], 20);
            assert_eq!(value["bytes"], 20 * payload);
        }
    }
}

#[test]
fn echo_for_a_time_has_a_warm_up() {
    let dunlin = dunlin();
    let value = good(&format!(
        "echo {} --connections 4 --duration 300ms --warmup 100ms",
        dunlin.ws("/echo")
    ));
    let interval = value["interval_ms"].as_u64().unwrap();
    assert!(interval >= 300, "{value}");
    assert!(value["messages"].as_u64() > Some(0));
    assert_eq!(value["latency_us"]["count"], value["messages"]);
}

#[test]
fn a_publication_reaches_everybody_over_websockets() {
    let dunlin = dunlin();
    let (url, pid) = (dunlin.ws("/chat/x"), dunlin.child.id());
    let value = good(&format!(
        "fanout {url} --connections 40 --count 30 --burst 4 --pid {pid}"
    ));
    assert_eq!(value["messages"], 30, "{value}");
    assert_eq!(value["deliveries"], 30 * 40);
    assert_eq!(value["bytes"], 30 * 40 * 200);
    assert!(value["server"]["cpu_per_delivery_ns"].is_u64());

    let value = good(&format!(
        "fanout {url} --connections 20 --publishers 3 --rate 300 --duration 200ms --warmup 50ms"
    ));
    assert!(value["deliveries"].as_u64() > Some(0), "{value}");
    assert_eq!(value["latency_from"], "intended");
}

#[test]
fn a_publication_reaches_everybody_by_post() {
    let dunlin = dunlin();
    let (url, main) = (dunlin.ws("/ch/x"), &dunlin.main);
    for (publishers, burst) in [(1, 1), (2, 5)] {
        let value = good(&format!(
            "fanout {url} --publish post --publish-url http://{main}/ch/x --connections 30 \
             --publishers {publishers} --burst {burst} --count 23"
        ));
        assert_eq!(value["messages"], 23, "{value}");
        assert_eq!(value["deliveries"], 23 * 30);
        assert_eq!(value["publisher_deliveries"], 0);
    }
    let (code, value) = report(&format!(
        "fanout {url} --publish-url http://{main}/nowhere --connections 3 --count 5"
    ));
    assert_eq!(code, 1);
    assert_eq!(value["errors"]["status_404"], 1, "{value}");
}

#[test]
fn messages_are_compressed_where_that_was_agreed() {
    let dunlin = Dunlin::start_with(
        &[
            ("DUNLIN_CHAT__MESSAGES_PER_SECOND", "0"),
            ("DUNLIN_DEFLATE", "true"),
            ("DUNLIN_DEFLATE_MIN_BYTES", "0"),
        ],
        &["--log-level", "error"],
    );
    let url = dunlin.ws("/echo");
    for (payload, connections, flags) in [
        (125, 3, "--pipeline 4"),
        (1024, 4, "--pipeline 8 --binary"),
        (16_384, 2, "--pipeline 2"),
        (300_000, 2, ""),
        (1024, 3, "--rate 2000"),
    ] {
        let value = good(&format!(
            "echo {url} --deflate --connections {connections} --payload {payload} --count 100 {flags}"
        ));
        let deflate = &value["deflate"];
        assert_eq!(deflate["connections"], connections, "{value}");
        assert_eq!(deflate["messages"], 100, "{value}");
        assert_eq!(deflate["inflated_bytes"], 100 * payload, "{value}");
        assert_eq!(value["bytes"], 100 * payload, "{value}");
        assert_eq!(value["payload_kind"], "json");
        let compressed = deflate["compressed_bytes"].as_u64().unwrap();
        assert!(compressed < 100 * payload, "{value}");
        assert!(payload < 1024 || compressed < 65 * payload, "{value}");
    }

    let url = dunlin.ws("/chat/x");
    for flags in ["--burst 16 --count 64", "--rate 200 --count 20"] {
        let value = good(&format!(
            "fanout {url} --deflate --connections 30 --payload 2000 {flags}"
        ));
        let deliveries = value["deliveries"].as_u64().unwrap();
        let deflate = &value["deflate"];
        assert_eq!(deflate["connections"], 30, "{value}");
        assert!(deflate["messages"].as_u64() >= Some(deliveries), "{value}");
        let bytes = ["compressed_bytes", "inflated_bytes"].map(|name| deflate[name].as_u64());
        assert!(bytes[0].unwrap() < bytes[1].unwrap() * 6 / 10, "{value}");
    }
    let (code, out, _) = run(&format!("fanout {url} --deflate --connections 5 --count 9"));
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains("all connections; 100 % of the messages"),
        "{out}"
    );
    // Not offered, not used.
    let value = good(&format!("fanout {url} --connections 3 --count 5"));
    assert_eq!(value["deflate"], Value::Null, "{value}");
}

#[test]
fn a_server_that_does_not_compress_is_said() {
    let dunlin = dunlin();
    let url = dunlin.ws("/echo");
    let value = good(&format!("echo {url} --deflate --count 50 --payload 1024"));
    assert_eq!(value["deflate"]["connections"], 0, "{value}");
    assert_eq!(value["deflate"]["messages"], 0, "{value}");
    assert_eq!(value["messages"], 50, "{value}");
    let (code, out, _) = run(&format!("echo {url} --deflate --count 50"));
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("DECLINED by the server"), "{out}");
    // The same messages without the offer.
    let value = good(&format!("echo {url} --payload-kind json --count 50"));
    assert_eq!(value["payload_kind"], "json", "{value}");
}

#[test]
fn connections_come_and_go() {
    let dunlin = dunlin();
    let (url, pid) = (dunlin.ws("/echo"), dunlin.child.id());
    let value = good(&format!(
        "connect {url} --connections 5 --count 103 --pid {pid}"
    ));
    assert_eq!(value["connects"], 103, "{value}");
    assert_eq!(value["latency_us"]["count"], 103);
    assert_eq!(value["latency_from"], "connect");
    assert!(value["server"]["cpu_per_connection_ns"].is_u64());

    let value = good(&format!(
        "idle {url} --connections 1000 --duration 50ms --pid {pid}"
    ));
    assert_eq!(value["connections"], 1000, "{value}");
    assert!(value["server"]["bytes_per_connection"].is_u64());

    let value = good(&format!(
        "churn {url} --connections 20 --rate 200 --trickle 300 --duration 300ms --warmup 50ms"
    ));
    assert!(value["connects"].as_u64() > Some(0), "{value}");
    assert!(value["messages"].as_u64() > Some(0), "{value}");
    assert_eq!(value["latency_from"], "intended");
}

#[test]
fn a_server_that_is_not_ours_is_loaded_just_so() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    assert!(
        folder.join("node_modules/ws").exists(),
        "run tests/clients/install first"
    );
    let mut server = Child::start(Command::new("node").arg(folder.join("ws_server.mjs")));
    let line = server.line("listening on ");
    let port = line.rsplit_once(' ').unwrap().1;
    let base = format!("ws://127.0.0.1:{port}");
    let value = good(&format!(
        "echo {base}/echo --connections 5 --pipeline 4 --count 200"
    ));
    assert_eq!(value["messages"], 200, "{value}");
    let value = good(&format!(
        "fanout {base}/room --connections 10 --count 20 --burst 2"
    ));
    assert_eq!(value["deliveries"], 200, "{value}");
    let value = good(&format!("connect {base}/echo --count 50 --connections 4"));
    assert_eq!(value["connects"], 50, "{value}");
    // The roll call waits for those who are late.
    let value = good(&format!(
        "fanout {base}/other --connections 10 --duration 200ms --warmup 0s"
    ));
    assert!(value["deliveries"].as_u64() > Some(0), "{value}");
}

#[test]
fn what_a_server_does_wrong_is_reported() {
    for (wrong, flags, field, code) in [
        (Wrong::Loses, "", "lost", 1),
        (Wrong::Loses, "--fail-if-lost", "lost", 99),
        (Wrong::SaysTwice, "", "duplicate", 0),
        (Wrong::Swaps, "", "out_of_order", 0),
    ] {
        let url = serve(wrong);
        let (exit, value) = report(&format!(
            "echo {url} --connections 1 --pipeline 8 --count 16 --timeout 1s {flags}"
        ));
        assert_eq!((exit, &value[field]), (code, &1.into()), "{value}");
        // Not in windows, each message has a number of its own.
        let (_, value) = report(&format!(
            "echo {url} --connections 1 --rate 2000 --count 16 --timeout 1s"
        ));
        assert_eq!(value[field], 1, "{wrong:?}: {value}");
    }
    for (wrong, name) in [
        (Wrong::Loses, "time_out"),
        (Wrong::Shortens, "altered_message"),
        (Wrong::Closes(1013), "close_code_1013"),
        (Wrong::Masks, "protocol_masked"),
        (Wrong::Refuses(503), "status_503"),
        (Wrong::Lies, "handshake_answer_accept"),
        (Wrong::Compresses, "protocol_reserved_bits"),
    ] {
        let (exit, value) = report(&format!(
            "echo {} --connections 1 --pipeline 8 --count 16 --timeout 1s",
            serve(wrong)
        ));
        assert_eq!(exit, 1, "{wrong:?}: {value}");
        assert_eq!(value["errors"][name], 1, "{wrong:?}: {value}");
    }
    // Agreed or not: what is no deflate stream has a name.
    let (exit, value) = report(&format!(
        "echo {} --connections 1 --count 16 --timeout 1s --deflate",
        serve(Wrong::Spoils)
    ));
    assert_eq!(exit, 1, "{value}");
    assert_eq!(value["errors"]["protocol_deflate"], 1, "{value}");
    let (code, value) = report(&format!("echo {} --count 40", serve(Wrong::Nothing)));
    assert_eq!((code, &value["messages"]), (0, &40.into()));
}

#[test]
fn a_run_ends_even_if_some_cannot_do_their_part() {
    // 4 connections with 25 messages each; one of them ends at its fourth.
    let url = serve_first(Wrong::HangsUp, 1);
    let (code, value) = report(&format!("echo {url} --connections 4 --count 100"));
    assert_eq!((code, &value["messages"]), (1, &78.into()), "{value}");
    assert_eq!(value["lost"], 1, "{value}");
    let url = serve_first(Wrong::HangsUp, 1);
    let (code, value) = report(&format!(
        "echo {url} --connections 4 --count 100 --rate 2000"
    ));
    let (messages, lost) = (&value["messages"], &value["lost"]);
    let all = messages.as_u64().unwrap() + lost.as_u64().unwrap();
    assert_eq!((code, all), (1, 100), "{value}");
    let url = serve_first(Wrong::Refuses(503), 3);
    let (code, value) = report(&format!("connect {url} --connections 4 --count 20"));
    assert_eq!((code, &value["connects"]), (1, &17.into()), "{value}");
    assert_eq!(value["errors"]["status_503"], 3, "{value}");
}

#[test]
fn a_server_that_goes_away_is_missed() {
    let (code, value) = report(&format!(
        "echo {} --connections 3 --duration 20s",
        serve(Wrong::HangsUp)
    ));
    assert_eq!(code, 69, "{value}");
    let gone = ["ended_without_close", "reset"];
    let gone = gone.map(|name| value["errors"][name].as_u64().unwrap_or(0));
    assert_eq!(gone.iter().sum::<u64>(), 3, "{value}");

    for line in ["echo URL/echo", "churn URL/echo", "fanout URL/chat/x"] {
        let dunlin = dunlin();
        let line = line.replace("URL", &dunlin.ws(""));
        let mut tool = tool(&format!(
            "{line} --connections 10 --duration 60s --json --quiet"
        ));
        let mut running = Child::start(&mut tool);
        let metrics = format!("http://{}/metrics", dunlin.control);
        eventually("messages arrive", || {
            let answer = http_request("GET", &metrics, &[], b"").unwrap();
            let text = String::from_utf8(answer.body).unwrap();
            let line = text
                .lines()
                .find(|line| line.starts_with("dunlin_messages_received_total"))?;
            let count: u64 = line.rsplit_once(' ')?.1.parse().ok()?;
            (count > 20).then_some(())
        });
        drop(dunlin); // killed
        let code = running.end().code();
        let report = running.seen.iter().find(|line| line.starts_with('{'));
        let value: Value = serde_json::from_str(report.unwrap()).unwrap();
        assert_eq!(code, Some(69), "{line}: {value}");
        assert_ne!(value["errors"], serde_json::json!({}), "{line}");
    }
}

#[test]
fn nobody_there_is_said_in_one_line() {
    // A port that was free a moment ago, and nobody takes it: the system gives it out again last.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for kind in ["echo", "fanout", "connect --count 50", "idle", "churn"] {
        let (kind, flags) = kind.split_once(' ').unwrap_or((kind, ""));
        let line = format!("{kind} ws://{address}/ --connections 20 {flags} --quiet");
        let (code, _, err) = run(&line);
        assert_eq!(code, 69, "{line}: {err}");
        assert!(err.contains("connect_refused"), "{err}");
        assert!(err.contains(&address.to_string()), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}

#[test]
fn thresholds_usage_and_limits_have_their_codes() {
    let dunlin = dunlin();
    let url = dunlin.ws("/echo");
    let (code, out, _) = run(&format!("echo {url} --count 100 --fail-if-p99-above 1us"));
    assert_eq!(code, 99, "{out}");
    assert!(out.contains("FAILED"), "{out}");
    let (code, out, _) = run(&format!("echo {url} --count 100 --fail-if-p99-above 60s"));
    assert_eq!(code, 0, "{out}");
    let (code, _, err) = run("ecko");
    assert_eq!(code, 64, "{err}");
    assert!(err.contains("did you mean \"echo\"?"), "{err}");
    let (code, _, err) = run(&format!("echo {url} --pid 4294967295"));
    assert_eq!(code, 64, "{err}");
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 64 && exec \"$0\" idle \"$1\" --connections 100",
        ])
        .args([env!("CARGO_BIN_EXE_dunlin-bench"), &url])
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(71), "{err}");
    assert!(err.contains("ulimit"), "{err}");
    let (code, out, _) = run("--help");
    assert_eq!(code, 0);
    assert!(out.contains("fanout"), "{out}");
}

#[test]
fn a_person_gets_a_text_and_a_picture() {
    let dunlin = dunlin();
    let folder = Folder::new();
    let plot = folder.0.join("run.svg");
    let mut line = tool(&format!(
        "echo {} --connections 10 --count 2000 --pid {}",
        dunlin.ws("/echo"),
        dunlin.child.id()
    ));
    let output = line.arg("--plot").arg(&plot).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "2,000 there and back",
        "p99.9",
        "us per message",
        "errors       none",
        "█",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("opening 10 connections"), "{err}");
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("prefers-color-scheme") && svg.contains("<polyline"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");

    // The same as a word of the program itself.
    let output = Command::new(env!("CARGO_BIN_EXE_dunlin"))
        .args([
            "bench",
            "echo",
            &dunlin.ws("/echo"),
            "--count",
            "10",
            "--quiet",
        ])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
}

#[test]
fn first_words_headers_and_subprotocols_are_said() {
    // What an echo server answers to the first words is no message of the load.
    let dunlin = dunlin();
    let mut line = tool(&format!(
        "echo {} --connections 2 --count 10 --json --quiet",
        dunlin.ws("/echo")
    ));
    let output = line
        .args(["--first", "a", "--first", "b"])
        .output()
        .unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["other_messages"], 4, "{value}");
    assert_eq!(value["messages"], 10, "{value}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = vec![0; 4096];
        let length = stream.read(&mut head).unwrap();
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let mut line = tool(&format!(
        "connect ws://{address}/a?b=c --connections 1 --count 1 --quiet --subprotocol p --subprotocol q"
    ));
    _ = line.args(["--header", "X-A: b c"]).output().unwrap();
    let head = asked.join().unwrap();
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
    for line in [
        "X-A: b c",
        "Sec-WebSocket-Protocol: p, q",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "Origin: http://127.0.0.1:",
    ] {
        assert!(head.contains(&format!("\r\n{line}")), "{line}: {head}");
    }
}
