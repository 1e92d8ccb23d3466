//! Back ends that are away or misbehave, and clients that do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dunlin::net::{Client, Received};
use dunlin::{CloseCode, Message};
use serde_json::json;

use crate::app::{Answer, App};
use crate::rig::{Rig, answer, call, closed, path, say, status, text};
use crate::support::{PATIENCE, Port};

fn is(seq: &str, status: u64) -> (String, u64) {
    (seq.to_owned(), status)
}

#[test]
fn a_back_end_goes_and_comes_back() {
    let port = Port::reserve();
    let rig = Rig::start(&port);
    let mut client = rig.connect();
    let begun = Instant::now();
    say(&mut client, &call("1", "GET", "/"));
    assert_eq!(status(&mut client), is("1", 502));
    assert_eq!(rig.http("GET", "/", &[], b"").status, 502);
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "it is told as soon as it is known"
    );
    let app = App::start(&port);
    say(&mut client, &call("2", "POST", "/"));
    assert_eq!(status(&mut client), is("2", 200));
    app.stop();
    say(&mut client, &call("3", "POST", "/"));
    assert_eq!(status(&mut client), is("3", 502));
    let _app = App::start(&port);
    say(&mut client, &call("4", "POST", "/"));
    assert_eq!(status(&mut client), is("4", 200));
    drop(client);
    rig.stop();
}

#[test]
fn a_back_end_that_misbehaves_costs_its_own_requests_only() {
    let port = Port::reserve();
    let big = "x".repeat((1 << 20) + 1);
    let app = App::start_as(&port, move |asked| match path(asked) {
        "/never" => Answer::Never,
        "/cut" => Answer::Cut,
        "/junk" => Answer::Junk,
        "/endless" => Answer::EndlessHead,
        "/big" => Answer::Status(200, big.clone()),
        "/exact" => Answer::Status(200, big[1..].to_owned()),
        _ => Answer::Status(299, "fine".to_owned()),
    });
    let rig = Rig::start_with(&port, &[("call_timeout_ms", "1500")]);
    let mut client = rig.connect();
    let asked = [
        ("/never", 504),
        ("/cut", 502),
        ("/junk", 502),
        ("/endless", 502),
        ("/big", 502),
        ("/exact", 200),
        ("/well", 299),
    ];
    for (path, _) in asked {
        say(&mut client, &call(&path.len().to_string(), "POST", path));
    }
    let mut heard: Vec<_> = asked.iter().map(|_| status(&mut client)).collect();
    heard.sort();
    let mut expected = asked
        .map(|(path, status)| is(&path.len().to_string(), status))
        .to_vec();
    expected.sort();
    assert_eq!(heard, expected);
    for (path, expected) in asked {
        assert_eq!(
            u64::from(rig.http("POST", path, &[], b"").status),
            expected,
            "{path}"
        );
    }
    assert!(app.calls() >= 2 * asked.len());
    assert_eq!(rig.refused("call_bad_answer"), 6);
    drop(client);
    rig.stop();
}

/// Each kind of bad input: its answer and its counter, and a bystander that does not notice.
#[test]
fn bad_input_is_answered_and_harms_nobody() {
    let port = Port::reserve();
    let app = App::start(&port);
    let settings = [("call_headers_max", "5"), ("call_target_bytes_max", "100")];
    let variables = [("DUNLIN_APIGW__BAD_MESSAGES_PER_MINUTE", "254")];
    let rig = Rig::start_as(&port, &settings, &variables);
    let (mut bystander, credential) = rig.device("bystander");
    let mut client = rig.connect();
    let with = |name: &str, value: serde_json::Value| {
        let mut request = json!({"method": "GET", "path": "/", "headers": {"x-ca-seq": "7"}});
        request[name] = value;
        request.to_string()
    };
    let many: serde_json::Map<_, _> = (0..6).map(|n| (format!("h{n}"), json!("x"))).collect();
    let mut headers = serde_json::Map::from_iter([("x-ca-seq".to_owned(), json!("7"))]);
    headers.extend(many);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let cases = [
        ("x".to_owned(), "-", 400),
        ("XX#y".to_owned(), "-", 400),
        ("[]".to_owned(), "-", 400),
        ("{".to_owned(), "-", 400),
        ("{}".to_owned(), "-", 400),
        (deep, "-", 400),
        (
            json!({"method": "GET", "path": "/", "headers": {}}).to_string(),
            "-",
            400,
        ),
        (with("method", json!("TRACE")), "7", 405),
        (with("method", json!(5)), "7", 400),
        (with("path", json!("no/slash")), "7", 400),
        (with("path", json!("/a/../b")), "7", 400),
        (with("path", json!("/%zz")), "7", 400),
        (
            with("path", json!(format!("/{}", "a".repeat(100)))),
            "7",
            414,
        ),
        (with("querys", json!("x")), "7", 400),
        (with("querys", json!({"a": [["b"]]})), "7", 400),
        (
            with("headers", json!({"x-ca-seq": "7", "bad name": "x"})),
            "7",
            400,
        ),
        (
            with("headers", json!({"x-ca-seq": "7", "x": "a\r\nEvil: 1"})),
            "7",
            400,
        ),
        (with("headers", json!({"x-ca-seq": "7", "x": {}})), "7", 400),
        (
            with("headers", serde_json::Value::Object(headers)),
            "7",
            431,
        ),
        (
            with(
                "headers",
                json!({"x-ca-seq": "7", "x-ca-websocket_api_type": "?"}),
            ),
            "7",
            400,
        ),
        (
            with(
                "headers",
                json!({"x-ca-seq": "7", "x-ca-websocket_api_type": "REGISTER"}),
            ),
            "7",
            400,
        ),
        (with("body", json!([1])), "7", 400),
        (
            with("isBase64", json!(1)).replace("\"path\"", "\"body\":\"%\",\"path\""),
            "7",
            400,
        ),
    ];
    for (message, seq, expected) in &cases {
        say(&mut client, message);
        let answer = answer(&mut client);
        let got = answer["header"]["x-ca-seq"].as_str().unwrap_or("-");
        assert_eq!(
            (got, &answer["status"]),
            (*seq, &json!(expected)),
            "{message}"
        );
        let why = answer["header"]["x-ca-error-message"].as_str();
        assert!(why.is_some_and(|why| !why.is_empty()), "{message}");
    }
    client.send(Message::Binary(b"H1")).unwrap();
    assert_eq!(status(&mut client), is("-", 400));
    assert_eq!(app.calls(), 0, "none of it reaches a back end");
    assert_eq!(rig.refused("apigw_headers"), 1);
    assert_eq!(rig.refused("apigw_target_bytes"), 1);
    assert_eq!(rig.refused("apigw_signal"), 1);
    assert!(rig.refused("apigw_request") >= 15);
    say(&mut bystander, "H1");
    assert_eq!(text(&mut bystander), format!("HO#{credential}"));
    drop((client, bystander));
    rig.stop();
}

#[test]
fn whoever_goes_on_with_it_is_closed() {
    let rig = Rig::start(&Port::reserve());
    let mut client = rig.connect();
    for _ in 0..20 {
        say(&mut client, "nonsense");
        assert_eq!(status(&mut client), is("-", 400));
    }
    say(&mut client, "nonsense");
    assert_eq!(closed(&mut client).0, CloseCode::POLICY);
    assert_eq!(rig.refused("bad_messages_per_minute"), 1);
    rig.stop();
}

#[test]
fn plain_requests_that_are_none() {
    let port = Port::reserve();
    let app = App::start(&port);
    let rig = Rig::start(&port);
    for (request, expected) in [
        ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "405"),
        ("GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n", "400"),
        ("GET /%2e%2e/b HTTP/1.1\r\nHost: h\r\n\r\n", "400"),
        ("GET /a%0d%0aEvil:1 HTTP/1.1\r\nHost: h\r\n\r\n", "400"),
        (
            "POST /notify HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            "400",
        ),
        (
            "GET /notify HTTP/1.1\r\nHost: h\r\nX-Ca-DeviceId: d\r\n\r\n",
            "405",
        ),
        (
            "POST /r HTTP/1.1\r\nHost: h\r\nX-Ca-Websocket_Api_Type: REGISTER\r\nContent-Length: 0\r\n\r\n",
            "400",
        ),
    ] {
        let mut stream = TcpStream::connect(&rig.dunlin.main).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{request}: {answer}"
        );
    }
    assert_eq!(app.calls(), 0);
    rig.stop();
}

/// SIGTERM: devices are told in their own words, and those who go by themselves are answered.
#[test]
fn the_drain_is_told_in_the_clients_own_words() {
    let port = Port::reserve();
    let app = App::start(&port);
    let rig = Rig::start(&port);
    let mut polite = rig.registered(&app, "polite");
    let (mut deaf, _) = rig.device("deaf");
    let dunlin = std::thread::spawn(move || rig.stop());
    assert_eq!(text(&mut polite), "CR");
    assert_eq!(text(&mut deaf), "CR");
    polite.close(CloseCode::NORMAL, "Reconnect").unwrap();
    assert_eq!(closed(&mut polite).0, CloseCode::NORMAL);
    let end = loop {
        match deaf.receive() {
            Ok(Received::Closed(code, _)) => break code,
            Ok(_) => {}
            Err(why) => panic!("{why}"),
        }
    };
    assert_eq!(end.0, 1012);
    drop(deaf);
    dunlin.join().unwrap();
}

#[test]
fn a_message_that_is_too_large_ends_its_own_connection() {
    let rig = Rig::start(&Port::reserve());
    let (mut bystander, credential) = rig.device("bystander");
    let mut client = Client::connect(&rig.ws(), &[]).unwrap();
    client.set_timeout(Some(PATIENCE)).unwrap();
    let large = format!("{{\"body\":\"{}\"}}", "x".repeat(1 << 20));
    _ = client.send(Message::Text(&large));
    assert_eq!(closed(&mut client).0.0, 1009);
    say(&mut bystander, "H1");
    assert_eq!(text(&mut bystander), format!("HO#{credential}"));
    drop(bystander);
    rig.stop();
}
