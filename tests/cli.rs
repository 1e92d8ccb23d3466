//! The program as a person meets it: start-up lines, flags, exit codes, `sub` and `pub`, signals.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod program;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use dunlin::net::{Client, HttpAnswer, http_request};
use program::{Running, Served, TempFile, dunlin, run};

fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
    http_request(method, url, headers, body).unwrap()
}

#[cfg(not(feature = "bench"))]
#[test]
fn a_build_without_the_load_tool_says_how_to_get_it() {
    let ended = run(&mut dunlin(&["bench", "echo", "ws://localhost:1/"]));
    assert_eq!(ended.code, Some(64));
    assert!(ended.err.contains("--features bench"), "{}", ended.err);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
}

#[test]
fn start_up_prints_every_url_and_lines_to_paste() {
    let served = Served::start(&[]);
    let text = served.lines.join("\n");
    let expected = [
        ("main", "ws", "/ws", "hierachain"),
        ("main", "http", "/ws/status", "hierachain-status"),
        ("main", "ws", "/ch/{channel}", "pubsub"),
        ("main", "http", "/ch", "pubsub"),
        ("main", "ws", "/echo", "echo"),
        ("main", "ws", "/websocket", "echo"),
        ("main", "ws", "/chat/{group}", "chat"),
        ("main", "ws", "/pair/{a}/{b}", "chat"),
        (
            "control",
            "http",
            "/hierachain/publish",
            "hierachain-publish",
        ),
        ("control", "ws", "/ch/{channel}", "pubsub"),
        ("control", "http", "/ch", "pubsub"),
        ("control", "http", "/healthz", "health"),
        ("control", "http", "/readyz", "ready"),
        ("control", "http", "/metrics", "metrics"),
        ("tapr", "ws", "/ws", "tapr"),
        ("tapr", "http", "/tapr/ws/conn/list", "tapr-list"),
        ("tapr", "http", "/tapr/ws/conn/send", "tapr-send"),
        ("tapr", "http", "/tapr/ws/conn/close", "tapr-close"),
        ("tapr", "http", "/tapr/ws/conn/debug", "tapr-debug"),
        ("control", "http", "/v1/openapi.json", "admin"),
    ];
    for (listener, scheme, path, dialect) in expected {
        let url = served.url(listener, path);
        assert!(url.starts_with(&format!("{scheme}://localhost:")), "{url}");
        let line = served
            .lines
            .iter()
            .find(|l| l.split_whitespace().next() == Some(url.as_str()))
            .unwrap();
        assert!(line.ends_with(dialect), "{line}");
    }
    let base = served.base("main");
    assert!(
        text.contains(&format!(
            "{} sub --url {base} news",
            env!("CARGO_BIN_EXE_dunlin")
        )),
        "{text}"
    );
    assert!(
        text.contains(&format!(
            "curl -d hello {}/ch/news",
            base.replace("ws:", "http:")
        )),
        "{text}"
    );
    assert!(
        !text.contains("/v1/connections"),
        "that is what the file is for: {text}"
    );
    assert!(!text.contains('\x1b'), "a pipe gets no colour: {text:?}");

    assert_eq!(
        request("GET", &served.url("control", "/healthz"), &[], b"").body,
        b"ok"
    );
    assert_eq!(
        request("GET", &served.url("main", "/ws/status"), &[], b"").status,
        200
    );
    let metrics = request("GET", &served.url("control", "/metrics"), &[], b"");
    assert!(
        String::from_utf8(metrics.body)
            .unwrap()
            .contains("dunlin_sessions 0\n")
    );
    let on_main = served
        .url("main", "/ws/status")
        .replace("/ws/status", "/healthz");
    assert_eq!(
        request("GET", &on_main, &[], b"").status,
        404,
        "control is not on the main listener"
    );
}

#[test]
fn colour_only_where_it_is_wanted() {
    let args = [
        "--listen",
        "localhost:0",
        "--control",
        "off",
        "--tapr",
        "off",
    ];
    let forced = Served::start_with(dunlin(&args).env("CLICOLOR_FORCE", "1"));
    assert!(forced.lines.join("\n").contains("\x1b[36mws://localhost:"));
    let refused = Served::start_with(
        dunlin(&args)
            .env("CLICOLOR_FORCE", "1")
            .env("NO_COLOR", "1"),
    );
    assert!(!refused.lines.join("\n").contains('\x1b'));
    assert!(
        !refused.lines.iter().any(|line| line.contains("healthz")),
        "control is off"
    );
}

#[test]
fn help_and_version() {
    for flag in ["--help", "-h", "help"] {
        let help = run(&mut dunlin(&[flag]));
        assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
        assert!(help.out.lines().count() <= 24, "one screen");
        for code in ["0 ok", "64 usage", "66 ", "69 ", "70 ", "71 ", "78 "] {
            assert!(help.out.contains(code), "{code}");
        }
    }
    for flag in ["--version", "-V"] {
        let version = run(&mut dunlin(&[flag]));
        assert_eq!(version.code, Some(0));
        assert!(version.out.starts_with(&format!(
            "dunlin {}\nfeatures: cli",
            env!("CARGO_PKG_VERSION")
        )));
        assert!(version.out.contains(std::env::consts::ARCH));
    }
}

#[test]
fn mistakes_on_the_command_line_are_64() {
    for (args, says) in [
        (
            &["--lisen", "x"][..],
            "unknown flag --lisen, did you mean --listen?",
        ),
        (
            &["chekc"],
            "unknown command \"chekc\", did you mean \"check\"?",
        ),
        (&["sub"], "sub wants a channel or a URL"),
        (&["sub", "a", "b"], "\"b\" is one word too many"),
        (
            &["sub", "--url", "wss://x", "news"],
            "\"wss://x\" is not the URL of a server",
        ),
        (&["sub", "wss://localhost/ws"], "is not a WebSocket URL"),
        (&["pub", "--key", "a b", "news", "x"], "printable ASCII"),
    ] {
        let ended = run(&mut dunlin(args));
        assert_eq!(ended.code, Some(64), "{args:?}: {ended:?}");
        assert!(ended.err.contains(says), "{args:?}: {ended:?}");
    }
}

#[test]
fn an_address_in_use_is_69_and_no_server_too() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, way_out) in [
        ("--listen", &["--listen ADDR"][..]),
        ("--control", &["--control ADDR", "--control off"]),
        ("--tapr", &["--tapr ADDR", "--tapr off"]),
    ] {
        let mut args = vec![flag, &address];
        for other in ["--listen", "--control", "--tapr"] {
            if other != flag {
                args.extend([other, "localhost:0"]);
            }
        }
        let ended = run(&mut dunlin(&args));
        assert_eq!(ended.code, Some(69));
        assert!(
            ended.err.contains(&format!("cannot listen on {address}")),
            "{}",
            ended.err
        );
        for way in way_out {
            assert!(ended.err.contains(way), "the way out: {}", ended.err);
        }
        assert_eq!(ended.out, "");
    }

    drop(taken);
    let url = format!("ws://{address}");
    for args in [
        &["sub", "--url", &url, "news"][..],
        &["pub", "--url", &url, "news", "x"],
    ] {
        let ended = run(&mut dunlin(args));
        assert_eq!(ended.code, Some(69), "{ended:?}");
        assert!(ended.err.contains("is the server running?"), "{ended:?}");
    }
}

#[test]
fn a_default_that_nobody_asked_for_does_not_keep_the_server_from_running() {
    // Whoever holds the port, this test or somebody before it: it is not free.
    let held = TcpListener::bind("127.0.0.1:40010");
    let mut served = Running::start(&mut dunlin(&[
        "--listen",
        "127.0.0.1:0",
        "--control",
        "off",
    ]));
    let text = served.err_line("is taken");
    assert!(text.contains("localhost:40010 is taken"), "{text}");
    for way_out in ["--tapr ADDR", "--tapr off"] {
        assert!(text.contains(way_out), "{text}");
    }
    served.signal("-TERM");
    assert!(served.wait().success());
    drop(held);
}

#[test]
fn sub_prints_what_pub_sends() {
    let served = Served::start(&[]);
    let channel = "tàu hỏa/1";
    let sub = served.sub(channel);
    let base = served.base("main");
    let sent = run(&mut dunlin(&[
        "pub", "--url", &base, channel, "hello", "there",
    ]));
    assert_eq!(
        (sent.code, sent.out.as_str(), sent.err.as_str()),
        (Some(0), "", "")
    );
    assert_eq!(sub.line(), "hello there");
    // The control listener publishes to the same channels, and the environment names the server.
    let mut again = dunlin(&["pub", "-v", channel, "again"]);
    let sent = run(again.env("DUNLIN_URL", served.base("control")));
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert!(sent.out.contains("\"receivers\":1"), "{sent:?}");
    assert_eq!(sub.line(), "again");
}

#[test]
fn a_hundred_lines_keep_their_order() {
    let served = Served::start(&[]);
    let sub = served.sub("news");
    let mut publisher = Running::start(
        dunlin(&["pub", "--url", &served.base("main"), "news", "-"]).stdin(Stdio::piped()),
    );
    let mut text = String::new();
    for n in 0..100 {
        _ = writeln!(text, "line {n}");
    }
    text.push_str("and one without an end");
    publisher.stdin().write_all(text.as_bytes()).unwrap();
    for n in 0..100 {
        assert_eq!(sub.line(), format!("line {n}"));
    }
    assert_eq!(sub.line(), "and one without an end");
    assert_eq!(publisher.wait().code(), Some(0));
}

#[test]
fn keys_open_the_routes_and_refusals_are_1() {
    let served = Served::start(&["--key", "geheim"]);
    assert!(
        served
            .lines
            .iter()
            .any(|line| line.contains("dunlin sub --url") && line.contains("--key KEY"))
    );
    let base = served.base("main");
    for args in [
        &["sub", "--url", &base, "news"][..],
        &["pub", "--url", &base, "news", "x"],
    ] {
        let ended = run(&mut dunlin(args));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended.err.contains("401") && ended.err.contains("this route needs a key"),
            "{ended:?}"
        );
        let ended = run(dunlin(args).env("DUNLIN_KEY", "falsch"));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended.err.contains("not one of this route's keys"),
            "{ended:?}"
        );
    }
    let sub = Running::start(&mut dunlin(&[
        "sub", "-v", "--url", &base, "--key", "geheim", "news",
    ]));
    sub.err_line("subscribed to");
    let sent = run(dunlin(&["pub", "--url", &base, "news", "x"]).env("DUNLIN_KEY", "geheim"));
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(sub.line(), "x");
    assert_eq!(
        request("GET", &served.url("control", "/healthz"), &[], b"").status,
        200,
        "a probe has no key"
    );
    assert_eq!(
        request("GET", &served.url("control", "/metrics"), &[], b"").status,
        401
    );
    // None of the keys, right or wrong, is in the log.
    served.running.signal("-TERM");
    let mut running = served.running;
    running.wait();
    let log = running.rest_of_err();
    assert!(
        log.contains("key_missing") && log.contains("key_wrong"),
        "{log}"
    );
    assert!(!log.contains("geheim") && !log.contains("falsch"), "{log}");
}

#[test]
fn the_control_listener_answers_to_no_foreign_page() {
    let served = Served::start(&[]);
    let url = served.url("control", "/healthz");
    assert_eq!(
        request("GET", &url, &[("Origin", "https://example.org")], b"").status,
        403
    );
    let own = url.trim_end_matches("/healthz");
    assert_eq!(request("GET", &url, &[("Origin", own)], b"").status, 200);
}

#[test]
fn sub_takes_any_websocket_url() {
    let served = Served::start(&[]);
    let url = served
        .url("main", "/chat/{group}")
        .replace("{group}", "room");
    let sub = Running::start(&mut dunlin(&["sub", "-v", &format!("{url}?token=geheim")]));
    let line = sub.err_line("subscribed to");
    assert!(!line.contains("geheim"), "{line}");
    let mut client = Client::connect(&url, &[]).unwrap();
    client.send(dunlin::Message::Text("hi")).unwrap();
    assert_eq!(sub.line(), "hi");
}

#[test]
fn sigterm_drains_and_tells_subscribers_to_come_back() {
    let mut served = Served::start(&[]);
    let mut sub = served.sub("news");
    served.running.signal("-TERM");
    sub.err_line("closed: 1012");
    assert_eq!(sub.wait().code(), Some(69), "worth coming back");
    assert_eq!(served.running.wait().code(), Some(0));
    let log = served.running.rest_of_err();
    assert!(
        log.contains("kind=drain") && log.contains("kind=stop"),
        "{log}"
    );
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let mut served = Served::start(&[]);
    // A client that never answers a close frame keeps a drain waiting.
    let url = served.url("main", "/echo");
    let address = url.trim_start_matches("ws://").trim_end_matches("/echo");
    let mut deaf = std::net::TcpStream::connect(address).unwrap();
    let upgrade = "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    deaf.write_all(upgrade.as_bytes()).unwrap();
    let mut answer = [0; 12];
    deaf.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    served.running.signal("-TERM");
    served.running.err_line("kind=drain");
    let before = std::time::Instant::now();
    served.running.signal("-TERM");
    assert_eq!(served.running.wait().code(), Some(0));
    assert!(
        before.elapsed().as_secs() < 4,
        "sooner than the close time-out of five seconds"
    );
}

#[test]
fn ctrl_c_ends_sub_as_a_success() {
    let served = Served::start(&[]);
    let mut sub = served.sub("news");
    sub.signal("-INT");
    assert_eq!(sub.wait().code(), Some(0));
}

#[test]
fn a_unix_socket_serves_too() {
    let socket = TempFile::path("control.sock");
    let address = format!("unix:{}", socket.as_str());
    let mut served = Served::start_with(&mut dunlin(&[
        "--listen",
        "localhost:0",
        "--tapr",
        "off",
        "--control",
        &address,
    ]));
    assert!(
        served.lines.contains(&format!("control on {address}")),
        "{:?}",
        served.lines
    );
    let mut stream = UnixStream::connect(&socket.0).unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"),
        "{answer}"
    );
    drop(stream);
    served.running.signal("-TERM");
    assert_eq!(served.running.wait().code(), Some(0));
    assert!(
        !socket.0.exists(),
        "the socket file is gone with the server"
    );
}

#[test]
fn the_log_speaks_json_or_nothing() {
    let args = [
        "--listen",
        "localhost:0",
        "--control",
        "off",
        "--tapr",
        "off",
        "--log-format",
        "json",
    ];
    let mut running = Running::start(&mut dunlin(&args));
    running.err_line("\"kind\":\"start\"");
    while !running.line().contains("-d hello") {}
    running.signal("-INT");
    assert_eq!(running.wait().code(), Some(0));
    let log = running.rest_of_err();
    let last = log.lines().last().unwrap();
    let value: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(value["kind"], "stop");
    assert!(value["time"].as_str().unwrap().ends_with('Z'));

    let silent = [
        "--listen",
        "localhost:0",
        "--control",
        "off",
        "--tapr",
        "off",
        "--log-level",
        "off",
    ];
    let mut running = Running::start(&mut dunlin(&silent));
    while !running.line().contains("-d hello") {}
    running.signal("-TERM");
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!(running.rest_of_err(), "");
}

/// Whoever reads the log may have stopped before we began: the pipe is full, and the server serves all the same.
#[test]
fn a_log_pipe_that_is_full_before_the_start_keeps_nobody_waiting() {
    let (unread, mut full) = std::io::pipe().unwrap();
    full.write_all(&[b'x'; 64 << 10]).unwrap(); // What a pipe takes.
    let mut command = dunlin(&[
        "--listen",
        "127.0.0.1:0",
        "--control",
        "off",
        "--tapr",
        "off",
    ]);
    let mut server = command.stdout(Stdio::piped()).stderr(full).spawn().unwrap();
    let printed = std::io::BufReader::new(server.stdout.take().unwrap());
    let status = std::io::BufRead::lines(printed)
        .map_while(Result::ok)
        .find_map(|line| {
            let url = line.split_whitespace().next()?;
            url.ends_with("/ws/status").then(|| url.to_owned())
        });
    let (sender, answers) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(request("GET", &status.unwrap(), &[], b"").status));
    let answer = answers.recv_timeout(std::time::Duration::from_secs(60));
    server.kill().unwrap();
    server.wait().unwrap();
    drop(unread);
    assert_eq!(answer, Ok(200));
}
