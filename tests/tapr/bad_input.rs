//! What the control paths are asked without sense, or by somebody who should not ask.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use dunlin::CloseCode;
use dunlin::net::{Client, ClientError, HttpAnswer, http_request};
use serde_json::json;

use crate::gateway::{Gateway, SUCCESS, closed, hears_nothing, text};
use crate::support::{PATIENCE, eventually};

/// As it is, and everything that comes back until the end.
fn raw(gateway: &Gateway, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(&gateway.dunlin.tapr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn head(gateway: &Gateway, length: usize) -> String {
    format!(
        "POST /tapr/ws/conn/send HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n",
        gateway.dunlin.tapr
    )
}

#[test]
fn a_body_may_have_four_mebibytes_and_no_more() {
    let gateway = Gateway::start_as(&[]);
    let most = 4 << 20;
    let mut body = json!({"payload": 1, "conn_id": "x"}).to_string();
    body.push_str(&" ".repeat(most - body.len()));
    assert_eq!(gateway.post("send", &body), SUCCESS);
    for verb in ["send", "close", "debug"] {
        // Refused by the announced length, before anything of it is sent.
        let announced = head(&gateway, most + 1).replace("/send", &format!("/{verb}"));
        let answer = raw(&gateway, announced.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 413 "), "{verb}: {answer}");
    }
    // In chunks nobody knows the length beforehand.
    let mut chunked = head(&gateway, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    chunked.push_str(&format!("{:x}\r\n", most + 1));
    let answer = raw(&gateway, chunked.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    gateway.stop();
}

#[test]
fn a_body_that_does_not_come_to_its_end_does_nothing() {
    let gateway = Gateway::start_as(&[]);
    let mut alice = gateway.user("alice", "t");
    let body = json!({"payload": 1, "users": ["alice"]}).to_string();
    let mut request = head(&gateway, body.len() + 1);
    request.push_str(&body);
    let answer = raw(&gateway, request.as_bytes());
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    hears_nothing(&mut alice);
    drop(alice);
    gateway.stop();
}

#[test]
fn a_body_that_is_slow_gets_408() {
    let gateway = Gateway::start_as(&[
        ("DUNLIN_LIMITS__REQUEST_TIMEOUT_MS", "200"),
        ("DUNLIN_LIMITS__HANDSHAKE_TIMEOUT_MS", "200"),
    ]);
    let mut stream = TcpStream::connect(&gateway.dunlin.tapr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("{}{{", head(&gateway, 100));
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    gateway.stop();
}

#[test]
fn what_is_no_json_is_told_and_does_nothing() {
    let gateway = Gateway::start_as(&[]);
    let mut alice = gateway.user("alice", "t");
    let whole = json!({"payload": {"x": [1, 2]}, "users": ["alice"]}).to_string();
    let deep = format!(
        "{{\"users\":{}1{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let mut bodies: Vec<Vec<u8>> = (0..whole.len())
        .map(|n| whole.as_bytes()[..n].to_vec())
        .collect();
    bodies.extend([
        b"payload=1&users=alice".to_vec(),
        b"\xff\xfe{}".to_vec(),
        b"[{}]".to_vec(),
        br#"{"payload":1,"users":"alice"}"#.to_vec(),
        br#"{"payload":1,"users":[7]}"#.to_vec(),
        br#"{"payload":1,"users":["alice"],"users_access_type":3}"#.to_vec(),
        deep.into_bytes(),
    ]);
    for body in &bodies {
        let answer = gateway.ask("POST", "send", body);
        let said = String::from_utf8(answer.body).unwrap();
        let shown = body[..body.len().min(80)].escape_ascii();
        assert_eq!(answer.status, 200, "{shown}: {said}");
        assert!(
            said.starts_with(r#"{"code":400,"message":"send"#),
            "{shown}: {said}"
        );
        let answer = gateway.ask("POST", "close", body);
        let said = String::from_utf8(answer.body).unwrap();
        assert!(
            said.starts_with(r#"{"code":400,"message":"receive"#),
            "{shown}: {said}"
        );
    }
    hears_nothing(&mut alice);
    assert_eq!(gateway.refused("tapr_send"), bodies.len() as u64);
    drop(alice);
    gateway.stop();
}

#[test]
fn unknown_names_and_a_hundred_thousand_users_are_no_trouble() {
    let gateway = Gateway::start_as(&[]);
    let mut alice = gateway.user("alice", "t");
    gateway.close(&json!({"conns": ["x"], "users": ["nobody"], "tokens": ["none"]}));
    let mut users: Vec<String> = (0..100_000).map(|n| format!("user-{n}")).collect();
    gateway.send(&json!({"payload": 1, "users": users}));
    hears_nothing(&mut alice);
    users.push("alice".to_owned());
    gateway.send(&json!({"payload": 2, "users": users}));
    assert_eq!(text(&mut alice), "2");
    gateway.close(&json!({"users": users}));
    assert_eq!(closed(&mut alice).0, CloseCode::NORMAL);
    gateway.stop();
}

#[test]
fn other_methods_are_told_which_one_it_is() {
    let gateway = Gateway::start_as(&[]);
    for (method, verb) in [
        ("POST", "list"),
        ("GET", "send"),
        ("PUT", "close"),
        ("DELETE", "debug"),
    ] {
        assert_eq!(
            gateway.ask(method, verb, b"").status,
            405,
            "{method} {verb}"
        );
    }
    assert_eq!(gateway.post("debug", "anything"), SUCCESS);
    gateway.stop();
}

/// A page in a browser of this machine can send a form anywhere without asking, and always says where it is from.
#[test]
fn a_web_page_does_not_drive_the_control_paths() {
    let gateway = Gateway::start_as(&[("DUNLIN_ORIGINS", "*")]);
    let mut alice = gateway.user("alice", "t");
    let body = json!({"payload": 1, "users": ["alice"]}).to_string();
    let form = "application/x-www-form-urlencoded";
    let port = gateway.dunlin.tapr.rsplit_once(':').unwrap().1;
    for origin in [
        "https://example.org",
        "null",
        &format!("http://localhost.example.org:{port}"),
    ] {
        for (kind, verb) in [
            (form, "send"),
            ("text/plain", "send"),
            ("application/json", "send"),
            (form, "close"),
            (form, "debug"),
        ] {
            let headers = [("Origin", origin), ("Content-Type", kind)];
            let answer =
                http_request("POST", &gateway.url(verb), &headers, body.as_bytes()).unwrap();
            assert_eq!(answer.status, 403, "{origin} {verb}");
        }
        let answer = http_request("GET", &gateway.url("list"), &[("Origin", origin)], b"").unwrap();
        assert_eq!(answer.status, 403, "{origin}");
        // Clients come from pages.
        drop(Client::connect(&gateway.ws(), &[("Origin", origin)]).unwrap());
    }
    hears_nothing(&mut alice);
    drop(alice);
    gateway.stop();
}

/// A page whose name was made to mean this machine is of the same origin, so it is its name that gives it away.
#[test]
fn a_foreign_name_for_this_machine_is_421() {
    let gateway = Gateway::start_as(&[]);
    let mut alice = gateway.user("alice", "t");
    let own = head(&gateway, 2);
    let line = format!("Host: {}\r\n", gateway.dunlin.tapr);
    for foreign in [
        "Host: evil.example:40010\r\n",
        "Host: evil.example\r\nOrigin: http://evil.example\r\n",
    ] {
        for verb in ["send", "close"] {
            let request = own
                .replace(&line, foreign)
                .replace("/send", &format!("/{verb}"));
            let answer = raw(&gateway, format!("{request}{{}}").as_bytes());
            assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
        }
    }
    hears_nothing(&mut alice);
    let localhost = own.replace(&line, "Host: localhost:40010\r\n");
    let answer = raw(&gateway, format!("{localhost}{{}}").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(alice);
    gateway.stop();
}

#[test]
fn keys_hold_for_the_gateway_too() {
    let gateway = Gateway::start_as(&[("DUNLIN_KEYS", "geheim")]);
    let list = |headers: &[(&str, &str)]| -> HttpAnswer {
        http_request("GET", &gateway.url("list"), headers, b"").unwrap()
    };
    assert_eq!(list(&[]).status, 401);
    let key = [("Authorization", "Bearer geheim")];
    assert_eq!(list(&key).status, 200);
    let refused = Client::connect(&gateway.ws(), &[]);
    assert!(matches!(refused, Err(ClientError::Refused(401, _))));
    drop(Client::connect(&gateway.ws(), &key).unwrap());
    eventually("an empty list", || {
        list(&key)
            .body
            .starts_with(br#"{"code":0,"data":[],"#)
            .then_some(())
    });
    gateway.stop();
}

/// What the proxy in front says is believed once; what a client can add to it is refused.
#[test]
fn a_client_cannot_be_two_users() {
    let gateway = Gateway::start_as(&[]);
    let twice = [("X-Bfl-User", "alice"), ("x-bfl-user", "bob")];
    let refused = Client::connect(&gateway.ws(), &twice);
    assert!(matches!(refused, Err(ClientError::Refused(400, _))));
    assert_eq!(gateway.users().len(), 0);
    gateway.stop();
}
