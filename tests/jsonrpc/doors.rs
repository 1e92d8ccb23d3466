//! The scenarios that the dialect is accepted by: transports, limits, and who may come in.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use dunlin::net::{Client, ClientError, http_request};
use serde_json::Value;

use crate::gateway::Gateway;
use crate::line::Pieces;
use crate::node::Node;
use crate::support::PATIENCE;

#[test]
fn et_13_plain_http() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"test_echo","params":[1]}"#;
    let ask = |method: &str, media_type: &str, body: &[u8]| {
        let headers = [("Content-Type", media_type)];
        let headers = if media_type.is_empty() {
            &[][..]
        } else {
            &headers
        };
        http_request(method, &gateway.http(), headers, body).unwrap()
    };
    let expected = r#"{"jsonrpc":"2.0","id":1,"result":[1]}"#;
    for media_type in [
        "application/json",
        "application/json-rpc",
        "application/jsonrequest",
        "application/json; charset=utf-8",
    ] {
        let answer = ask("POST", media_type, call.as_bytes());
        assert_eq!((answer.status, &*answer.body), (200, expected.as_bytes()));
    }
    let answer = ask("POST", "text/plain", call.as_bytes());
    assert_eq!(answer.status, 415);
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(
        text.trim_end(),
        "invalid content type, only application/json is supported"
    );
    assert_eq!(ask("POST", "", call.as_bytes()).status, 415);
    for method in ["PUT", "DELETE"] {
        let answer = ask(method, "application/json", call.as_bytes());
        assert_eq!(answer.status, 405);
        assert_eq!(
            String::from_utf8(answer.body).unwrap().trim_end(),
            "method not allowed"
        );
    }
    let answer = ask("GET", "", b"");
    assert_eq!((answer.status, answer.body), (200, Vec::new()));
    // Errors are answers too.
    let answer = ask("POST", "application/json", b"{");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}"#
    );
    gateway.stop();
}

/// 5 MiB are taken, one byte more is not, and what would be far too much is refused before it comes.
#[test]
fn et_13_the_length_of_a_body() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let of = |length: usize| {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"test_number","params":[]}"#;
        format!("{call}{}", " ".repeat(length - call.len()))
    };
    let answer = gateway.post(&of(5 << 20));
    assert_eq!(
        (answer.status, &*answer.body),
        (200, &br#"{"jsonrpc":"2.0","id":1,"result":1}"#[..])
    );
    for length in [(5 << 20) + 1, 6 << 20] {
        let mut stream = TcpStream::connect(&gateway.dunlin.main).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    assert_eq!(node.count("test_number"), 1);
    gateway.stop();
}

#[test]
fn et_14_no_subscriptions_over_http() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    for (method, expected) in [
        (
            "eth_subscribe",
            r#""error":{"code":-32601,"message":"notifications not supported"}}"#,
        ),
        // Nobody has subscribed here, so there is nothing to be found.
        (
            "eth_unsubscribe",
            r#""error":{"code":-32000,"message":"subscription not found"}}"#,
        ),
    ] {
        let call =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":["newHeads"]}}"#);
        let answer = gateway.post(&call);
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(
            text,
            format!(r#"{{"jsonrpc":"2.0","id":1,{expected}"#),
            "{method}"
        );
    }
    assert_eq!(node.count("eth_subscribe"), 0);
    gateway.stop();
}

#[test]
fn et_15_origins() {
    let node = Node::start();
    let gateway = Gateway::start_with(&[node.ws()], "origins = [\"https://app\"]");
    let connect = |origin: &str| Client::connect(&gateway.ws(), &[("Origin", origin)]);
    match connect("https://evil").map(drop) {
        Err(ClientError::Refused(403, _)) => {}
        other => panic!("{other:?}"),
    }
    assert!(connect("https://app").is_ok());
    let mut wallet = gateway.connect();
    wallet.hears_nothing();
    gateway.stop();
}

/// What a browser asks before a page may call, and what it looks for in the answer; by curl.
#[test]
fn et_15_pages_may_call_by_http_if_their_origin_may() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let curl = |origin: &str, more: &[&str]| {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--include", "--max-time", "60"])
            .args(["--header", &format!("Origin: {origin}")])
            .args(more)
            .arg(gateway.http())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    };
    let preflight = [
        "--request",
        "OPTIONS",
        "--header",
        "Access-Control-Request-Method: POST",
    ];
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"test_echo","params":[1]}"#;
    let post = ["--header", "Content-Type: application/json", "--data", call];
    // A gateway without a list takes pages of this machine, whatever their port.
    let allowed = "Access-Control-Allow-Origin: http://localhost:3000\r\n";
    let answer = curl("http://localhost:3000", &preflight);
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains(allowed),
        "{answer}"
    );
    assert!(
        answer.contains("Access-Control-Allow-Headers: Content-Type\r\n"),
        "{answer}"
    );
    let answer = curl("http://localhost:3000", &post);
    assert!(answer.contains(allowed), "{answer}");
    assert!(
        answer.ends_with(r#"{"jsonrpc":"2.0","id":1,"result":[1]}"#),
        "{answer}"
    );
    for ask in [&preflight[..], &post] {
        let answer = curl("https://evil.example", ask);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(!answer.contains("Access-Control"), "{answer}");
    }
    gateway.stop();
}

/// Two values in one read, one value in two, and both at once.
#[test]
fn et_16_values_come_in_any_pieces() {
    for target in [Node::ipc, Node::ws] {
        let node = Node::start();
        let gateway = Gateway::start(&[target(&node)]);
        let mut wallet = gateway.connect();
        let name = wallet.heads();
        node.cut_into(Pieces::Pairs);
        let numbers = [node.mine(), node.mine()];
        for number in numbers {
            assert_eq!(wallet.head(&name), number);
        }
        node.cut_into(Pieces::Halves);
        for _ in 0..3 {
            let number = node.mine();
            assert_eq!(wallet.head(&name), number);
            wallet.hears_nothing();
        }
        gateway.stop();
    }
}

/// No line feeds between values: nothing says that there must be any.
#[test]
fn et_16_values_without_anything_between_them() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ipc()]);
    let mut wallet = gateway.connect();
    let name = wallet.heads();
    let whole: Vec<String> = (0..3)
        .map(|n| {
            // The node's name of it is not the client's.
            let of = node.subscription_names().concat();
            format!(
                r#"{{"jsonrpc":"2.0","method":"eth_subscription","params":{{"subscription":"{of}","result":{{"number":"0x{n}","text":"}}]"}}}}}}"#
            )
        })
        .collect();
    node.write(whole.concat().as_bytes());
    for n in 0..3 {
        assert_eq!(wallet.head(&name), n);
    }
    gateway.stop();
}

/// The head of a frame is enough: nobody has to send what is not wanted.
#[test]
fn et_17_a_message_of_33_mib_is_too_large() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut stream = raw(&gateway);
    let mut frame = vec![0x81, 0x80 | 127];
    frame.extend(u64::to_be_bytes(33 << 20));
    frame.extend([0; 4]);
    stream.write_all(&frame).unwrap();
    let mut close = [0; 4];
    stream.read_exact(&mut close).unwrap();
    assert_eq!(close[0], 0x88);
    assert_eq!(u16::from_be_bytes([close[2], close[3]]), 1009);
    gateway.stop();
}

/// 32 MiB are not; a little less, because the gateway's ids are longer and a node takes no more either.
#[test]
fn et_17_a_message_of_nearly_32_mib_is_passed_on() {
    let node = Node::start();
    let gateway = Gateway::start_with(&[node.ws()], "call_timeout_ms = 60000");
    let mut wallet = gateway.connect();
    // What waits for the first link may not be so large.
    wallet.hears_nothing();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"test_number","params":[""#;
    let filler = "a".repeat((32 << 20) - call.len() - 100);
    let text = format!("{call}{filler}\"]}}");
    assert_eq!(wallet.ask(&text), r#"{"jsonrpc":"2.0","id":1,"result":1}"#);
    gateway.stop();
}

/// A connection to the route, with the handshake behind it.
fn raw(gateway: &Gateway) -> TcpStream {
    let mut stream = TcpStream::connect(&gateway.dunlin.main).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

/// The times are a hundredth of what they are by default.
#[test]
fn et_18_silence_is_asked_whether_somebody_is_there() {
    let node = Node::start();
    let times = "ping_after_ms = 300\nping_grace_ms = 300";
    let gateway = Gateway::start_with(&[node.ws()], times);
    let began = Instant::now();
    let mut stream = raw(&gateway);
    let mut ping = [0; 2];
    stream.read_exact(&mut ping).unwrap();
    assert_eq!(ping[0], 0x89);
    let pinged = began.elapsed();
    assert!(pinged >= Duration::from_millis(250), "{pinged:?}");
    // Not answered: dropped, without more.
    let mut rest = Vec::new();
    _ = stream.read_to_end(&mut rest);
    let dropped = began.elapsed();
    assert!(dropped >= Duration::from_millis(550), "{dropped:?}");

    // Whoever answers stays, although it says nothing else.
    let mut stream = raw(&gateway);
    for _ in 0..4 {
        stream.read_exact(&mut ping).unwrap();
        assert_eq!(ping, [0x89, 0]);
        stream.write_all(&[0x8a, 0x80, 1, 2, 3, 4]).unwrap();
    }
    gateway.stop();
}

/// Programs of this machine: no HTTP, no frames, no length, no line feeds.
#[test]
fn the_unix_socket_of_the_gateway() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut stream = gateway.connect_ipc();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"test_echo","params":["}{"]}"#;
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":["}{"]}"#;
    // Byte by byte, and two in one.
    for byte in call.bytes() {
        stream.write(&[byte]);
    }
    assert_eq!(stream.line(), answer);
    stream.write(format!("{call}{call}").as_bytes());
    assert_eq!([stream.line(), stream.line()], [answer, answer]);

    let subscribe = r#"{"jsonrpc":"2.0","id":2,"method":"eth_subscribe","params":["newHeads"]}"#;
    let subscribed: Value = serde_json::from_str(&stream.ask(subscribe)).unwrap();
    let name = subscribed["result"].as_str().unwrap();
    // It shares the node's subscription with everybody else, and has a name of its own.
    let mut wallet = gateway.connect();
    let other = wallet.heads();
    assert_ne!(name, other);
    let number = node.mine();
    assert_eq!(wallet.head(&other), number);
    let header = node.chain(|chain| chain.head().header.clone());
    assert_eq!(
        stream.line(),
        format!(
            r#"{{"jsonrpc":"2.0","method":"eth_subscription","params":{{"subscription":"{name}","result":{header}}}}}"#
        )
    );
    assert_eq!(node.count("eth_subscribe"), 1);

    // Not JSON: told, and over.
    assert_eq!(
        stream.ask("'"),
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"invalid character '\\'' looking for beginning of value"}}"#
    );
    assert_eq!(stream.line(), "");
    gateway.stop();
}
