//! TP-1 to TP-19, without TP-13 (`failures.rs`) and TP-17 (`clients.rs`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dunlin::net::http_request;
use dunlin::{CloseCode, Message};
use serde_json::json;

use crate::app::{Answer, App};
use crate::gateway::{Gateway, PING, PONG, SUCCESS, closed, hears_nothing, say, text};
use crate::support::{PATIENCE, Port, eventually};

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let hex = |part: &&str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    lengths == [8, 4, 4, 4, 12] && parts.iter().all(hex) && parts[2].starts_with('4')
}

#[test]
fn tp_1_the_application_is_told_who_has_come() {
    let port = Port::reserve();
    let app = App::start(&port);
    // As a manifest says it.
    let number = port.number.to_string();
    let gateway = Gateway::start_as(&[("WS_PORT", &number), ("WS_URL", "/ws/message")]);
    let cookie = "auth_token=t; a=b";
    let client = gateway.connect(&[("X-Bfl-User", "alice"), ("Cookie", cookie)]);
    let open = app.next();
    assert_eq!(open.line, "POST /ws/message HTTP/1.1");
    let id = open.conn();
    assert!(is_uuid(&id), "{id}");
    let body = |action: &str| {
        format!(
            r#"{{"data":{{}},"action":"{action}","user_name":"alice","conn_id":"{id}","token":"t","access_public":false}}"#
        )
    };
    assert_eq!(open.text, body("open"));
    assert_eq!(open.header("Cookie"), Some(cookie));
    assert_eq!(open.header("Content-Type"), Some("application/json"));
    let host = format!("127.0.0.1:{number}");
    assert_eq!(open.header("Host"), Some(host.as_str()));
    drop(client);
    let close = app.next();
    assert_eq!(close.text, body("close"));
    assert_eq!(close.header("Cookie"), Some(cookie));

    // Nobody in particular: public, with a random token and an empty cookie.
    let client = gateway.connect(&[]);
    let open = app.next().json();
    assert_eq!(
        (&open["user_name"], &open["access_public"]),
        (&json!(""), &json!(true))
    );
    assert!(is_uuid(open["token"].as_str().unwrap()), "{open}");
    drop(client);
    let close = app.next();
    assert_eq!(
        (close.action().as_str(), close.header("Cookie")),
        ("close", Some(""))
    );
    gateway.stop();
}

#[test]
fn tp_2_pings_are_answered_to_the_byte_and_not_passed_on() {
    let port = Port::reserve();
    let app = App::start(&port);
    let gateway = Gateway::start(&port);
    let mut client = gateway.user("alice", "t");
    assert_eq!(app.next().action(), "open");
    for ping in [PING, r#"{"event":"ping","data":{}}"#] {
        say(&mut client, ping);
        assert_eq!(text(&mut client), r#"{"event":"pong"}"#);
    }
    say(&mut client, r#"{"n":1}"#);
    assert_eq!(app.next().short(), "1", "the pings were passed on");
    drop(client);
    assert_eq!(app.next().action(), "close");
    gateway.stop();
}

#[test]
fn tp_3_a_message_goes_to_the_application_and_its_answer_back() {
    let port = Port::reserve();
    let app = App::start(&port);
    let gateway = Gateway::start(&port);
    let mut client = gateway.user("alice", "t");
    let id = app.next().conn();
    let sent = r#"{"event":"ai","data":{"q":1}}"#;
    say(&mut client, sent);
    let message = app.next();
    let expected = format!(
        r#"{{"data":{sent},"action":"message","user_name":"alice","conn_id":"{id}","token":"t","access_public":false}}"#
    );
    assert_eq!(message.text, expected);
    let payload = r#"{ "event" : "ai", "data":{"a":9007199254740993} }"#;
    let body = format!(r#"{{"payload":{payload},"conn_id":"{id}"}}"#);
    assert_eq!(gateway.post("send", &body), SUCCESS);
    assert_eq!(text(&mut client), payload);
    drop(client);
    gateway.stop();
}

#[test]
fn tp_4_users_hear_it_on_all_their_connections() {
    let gateway = Gateway::start_as(&[]);
    let mut hear = [
        gateway.user("alice", "a"),
        gateway.user("alice", "b"),
        gateway.user("bob", "c"),
    ];
    let mut carol = gateway.user("carol", "d");
    gateway.send(&json!({"payload": {"x": 1}, "users": ["alice", "bob"]}));
    for client in &mut hear {
        assert_eq!(text(client), r#"{"x":1}"#);
        hears_nothing(client);
    }
    hears_nothing(&mut carol);
    drop((hear, carol));
    gateway.stop();
}

#[test]
fn tp_5_selectors_are_intersected() {
    let gateway = Gateway::start_as(&[]);
    let (mut alice, mut bob) = (gateway.user("alice", "a"), gateway.user("bob", "b"));
    let bobs = &gateway.ids("bob", "conns")[0];
    gateway.send(&json!({"payload": 1, "users": ["alice"], "conn_id": bobs}));
    hears_nothing(&mut alice);
    hears_nothing(&mut bob);
    gateway.send(&json!({"payload": 2, "users": ["bob"], "conn_id": bobs, "tokens": ["b"]}));
    assert_eq!(text(&mut bob), "2");
    hears_nothing(&mut alice);
    drop((alice, bob));
    gateway.stop();
}

#[test]
fn tp_6_an_unknown_connection_is_no_error() {
    let gateway = Gateway::start_as(&[]);
    let mut alice = gateway.user("alice", "a");
    for id in ["00000000-0000-4000-8000-000000000000", "7"] {
        let body = json!({"payload": 1, "conn_id": id});
        assert_eq!(gateway.post("send", &body.to_string()), SUCCESS);
    }
    hears_nothing(&mut alice);
    drop(alice);
    gateway.stop();
}

#[test]
fn tp_7_mistakes_are_told_with_200_and_a_code() {
    let gateway = Gateway::start_as(&[]);
    let mut alice = gateway.user("alice", "a");
    let nil = r#"{"code":400,"message":"send message target is nil"}"#;
    assert_eq!(gateway.post("send", r#"{"payload":1}"#), nil);
    assert_eq!(
        gateway.post("send", r#"{"payload":1,"users":[],"conn_id":""}"#),
        nil
    );
    assert_eq!(
        gateway.post("send", "x"),
        r#"{"code":400,"message":"send data invalid, invalid character 'x' looking for beginning of value"}"#
    );
    let said = gateway.post("close", "x");
    assert!(
        said.starts_with(r#"{"code":400,"message":"receive data invalid, "#),
        "{said}"
    );
    hears_nothing(&mut alice);
    drop(alice);
    gateway.stop();
}

#[test]
fn tp_8_private_and_public_connections_are_told_apart() {
    let gateway = Gateway::start_as(&[]);
    let mut private = gateway.user("alice", "a");
    let mut public = gateway.connect(&[("X-Bfl-User", "alice"), ("Cookie", "auth_token=")]);
    for (access, to_private, to_public) in [(1, true, false), (2, false, true), (0, true, true)] {
        gateway.send(&json!({"payload": access, "users": ["alice"], "users_access_type": access}));
        for (client, hears) in [(&mut private, to_private), (&mut public, to_public)] {
            if hears {
                assert_eq!(text(client), access.to_string());
            }
            hears_nothing(client);
        }
    }
    drop((private, public));
    gateway.stop();
}

#[test]
fn tp_9_a_closed_connection_ends_at_once_and_is_told_once() {
    let port = Port::reserve();
    let app = App::start(&port);
    let gateway = Gateway::start(&port);
    let mut alice = gateway.user("alice", "a");
    let id = app.next().conn();
    let mut bob = gateway.user("bob", "b");
    assert_eq!(app.next().string("user_name"), "bob");
    let before = Instant::now();
    gateway.close(&json!({"conns": [id]}));
    assert_eq!(gateway.ids("alice", "conns"), [""; 0]);
    assert_eq!(closed(&mut alice).0, CloseCode::NORMAL);
    assert!(
        before.elapsed() < Duration::from_secs(2),
        "{:?}",
        before.elapsed()
    );
    let close = app.next();
    assert_eq!((close.action(), close.conn()), ("close".into(), id.clone()));
    assert_eq!(close.json()["data"], json!({}));
    // Again, and then something else: no second callback comes before it.
    gateway.close(&json!({"conns": [id]}));
    drop(alice);
    say(&mut bob, r#"{"n":1}"#);
    assert_eq!(app.next().short(), "1");
    drop(bob);
    assert_eq!(app.next().string("user_name"), "bob");
    gateway.stop();
    assert_eq!(app.stop().len(), 0);
}

#[test]
fn tp_9_a_client_that_does_not_answer_the_close_is_told_of_too() {
    let port = Port::reserve();
    let app = App::start(&port);
    let gateway = Gateway::start_with(&port, &[("DUNLIN_LIMITS__CLOSE_TIMEOUT_MS", "200")]);
    let alice = gateway.user("alice", "a");
    assert_eq!(app.next().action(), "open");
    gateway.close(&json!({"users": ["alice"]}));
    assert_eq!(app.next().action(), "close");
    drop(alice);
    gateway.stop();
    assert_eq!(app.stop().len(), 0);
}

#[test]
fn tp_9_how_it_ended_is_told_if_it_is_wanted() {
    let port = Port::reserve();
    let app = App::start(&port);
    let gateway = Gateway::start_with(&port, &[("DUNLIN_TAPR__VERBOSE_CLOSE", "true")]);
    let mut alice = gateway.user("alice", "a");
    let id = app.next().conn();
    say(&mut alice, r#"{"n":1}"#);
    assert_eq!(app.next().short(), "1");
    gateway.send(&json!({"payload": "hi", "conn_id": id}));
    assert_eq!(text(&mut alice), "\"hi\"");
    alice.close(CloseCode(4001), "enough").unwrap();
    let data = app.next().json()["data"].clone();
    assert_eq!(
        (&data["code"], &data["reason"]),
        (&json!(4001), &json!("enough"))
    );
    assert_eq!(
        (&data["messages_in"], &data["bytes_in"]),
        (&json!(1), &json!(7))
    );
    assert_eq!(
        (&data["messages_out"], &data["bytes_out"]),
        (&json!(1), &json!(4))
    );
    assert!(data["connected_ms"].is_u64(), "{data}");
    gateway.stop();
}

#[test]
fn tp_10_close_without_a_selector_closes_everybody() {
    let port = Port::reserve();
    let app = App::start(&port);
    let gateway = Gateway::start(&port);
    let mut clients: Vec<_> = (0..5)
        .map(|n| gateway.user(&format!("u{n}"), "t"))
        .collect();
    gateway.close(&json!({}));
    for client in &mut clients {
        assert_eq!(closed(client).0, CloseCode::NORMAL);
    }
    assert_eq!(gateway.users().len(), 0);
    let mut actions: Vec<String> = (0..10).map(|_| app.next().action()).collect();
    actions.sort();
    assert_eq!(actions, [["close"; 5], ["open"; 5]].concat());
    gateway.stop();

    let careful = Gateway::start_with(&port, &[("DUNLIN_TAPR__CLOSE_ALL", "false")]);
    let mut client = careful.user("alice", "t");
    let said = careful.post("close", "{}");
    assert!(said.starts_with(r#"{"code":400,"#), "{said}");
    hears_nothing(&mut client);
    drop(client);
    careful.stop();
}

#[test]
fn tp_11_the_list_shows_who_is_there() {
    let gateway = Gateway::start_as(&[]);
    assert_eq!(
        gateway.list(),
        r#"{"code":0,"data":[],"message":"success"}"#
    );
    let mut clients = vec![gateway.user("alice", "a")];
    let agent = [
        ("X-Bfl-User", "alice"),
        ("User-Agent", "Mozilla/5.0"),
        ("Cookie", "auth_token=b"),
    ];
    clients.push(gateway.connect(&agent));
    clients.push(gateway.connect(&[("X-Bfl-User", "alice")]));
    clients.push(gateway.connect(&[("X-Bfl-User", "bob")]));
    let users = gateway.users();
    let names: Vec<_> = users.iter().map(|user| &user["name"]).collect();
    assert_eq!(names, ["alice", "bob"]);
    let counts = |n: usize| {
        (
            users[n]["conns_number"].as_u64(),
            users[n]["public_conns_number"].as_u64(),
        )
    };
    assert_eq!(
        (counts(0), counts(1)),
        ((Some(2), Some(1)), (Some(0), Some(1)))
    );
    assert_eq!(users[1]["conns"], json!([]));
    let conns = users[0]["conns"].as_array().unwrap();
    let with = conns.iter().find(|c| c["token"] == "b").unwrap();
    assert_eq!(
        (&with["userAgent"], &with["userAgentTag"]),
        // md5sum says so.
        (
            &json!("Mozilla/5.0"),
            &json!("0e3c1d553071f45ae73c51aa46fc11d8")
        )
    );
    let without = conns.iter().find(|c| c["token"] == "a").unwrap();
    assert_eq!(
        (&without["userAgent"], &without["userAgentTag"]),
        (&json!(""), &json!(""))
    );
    let public = users[0]["public_conns"].as_array().unwrap();
    assert!(is_uuid(public[0]["id"].as_str().unwrap()), "{public:?}");
    drop(clients);
    eventually("an empty list", || gateway.users().is_empty().then_some(()));
    gateway.stop();
}

/// The rule of 45 seconds, looked at every 30, with a hundredth of the time: 450 and 300 ms, so that a silent client
/// is closed after 450 to 750 ms and whatever a busy machine adds.
#[test]
fn tp_12_who_does_not_ping_is_closed() {
    let port = Port::reserve();
    let app = App::start(&port);
    let hurry = [
        ("DUNLIN_TAPR__PING_TIMEOUT_MS", "450"),
        ("DUNLIN_TAPR__PING_CHECK_MS", "300"),
    ];
    let gateway = Gateway::start_with(&port, &hurry);
    let before = Instant::now();
    let mut silent = gateway.user("silent", "a");
    let mut talking = gateway.user("talking", "b");
    talking
        .set_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut n = 0;
    let (code, _) = loop {
        say(&mut talking, &format!("{{\"n\":{n}}}"));
        n += 1;
        match talking.receive() {
            Ok(dunlin::net::Received::Closed(code, reason)) => break (code, reason),
            Ok(other) => panic!("{other:?}"),
            Err(_) => assert!(before.elapsed() < PATIENCE, "it goes on talking"),
        }
    };
    assert_eq!(code, CloseCode::POLICY);
    assert!(n >= 5, "it said only {n} messages");
    assert_eq!(closed(&mut silent).0, CloseCode::POLICY);
    assert!(before.elapsed() >= Duration::from_millis(450));
    assert_eq!(gateway.refused("tapr_ping_timeout"), 2);
    let mut closes: Vec<_> = (0..n + 4).map(|_| app.next()).collect();
    closes.retain(|callback| callback.action() == "close");
    assert_eq!(closes.len(), 2);
    gateway.stop();
}

/// Ten minutes of a client that pings every 30 seconds, a hundredth of it: 20 pings 300 ms apart. The time that a
/// busy machine may add to one of them is stretched to two seconds.
#[test]
fn tp_12_who_pings_stays() {
    let stretched = [
        ("DUNLIN_TAPR__PING_TIMEOUT_MS", "2300"),
        ("DUNLIN_TAPR__PING_CHECK_MS", "300"),
    ];
    let gateway = Gateway::start_as(&stretched);
    let mut client = gateway.user("alice", "a");
    client
        .set_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    for _ in 0..20 {
        say(&mut client, PING);
        assert_eq!(text(&mut client), PONG);
        // Nothing comes for 300 ms, in particular no close.
        assert!(client.receive().is_err());
    }
    assert_eq!(gateway.refused("tapr_ping_timeout"), 0);
    drop(client);
    gateway.stop();
}

#[test]
fn tp_14_the_kind_of_a_frame_does_not_matter_and_junk_is_an_empty_object() {
    let port = Port::reserve();
    let app = App::start(&port);
    let gateway = Gateway::start(&port);
    let mut client = gateway.user("alice", "t");
    assert_eq!(app.next().action(), "open");
    client.send(Message::Binary(PING.as_bytes())).unwrap();
    assert_eq!(text(&mut client), PONG);
    for (sent, data) in [
        ("hello", json!({})),
        ("[1]", json!({})),
        ("7", json!({})),
        ("null", json!(null)),
        (r#"{"event":"ping "}"#, json!({"event": "ping "})),
    ] {
        say(&mut client, sent);
        let message = app.next().json();
        assert_eq!(
            (&message["action"], &message["data"]),
            (&json!("message"), &data),
            "{sent}"
        );
    }
    client.send(Message::Binary(br#"{"n":8}"#)).unwrap();
    assert_eq!(app.next().short(), "8");
    drop(client);
    gateway.stop();
}

#[test]
fn tp_15_without_an_application_everything_else_works() {
    // One of the two variables is not enough.
    let gateway = Gateway::start_as(&[("WS_URL", "/ws/message")]);
    let mut client = gateway.user("alice", "t");
    say(&mut client, r#"{"event":"login","data":{"id":1}}"#);
    hears_nothing(&mut client);
    let id = &gateway.ids("alice", "conns")[0];
    gateway.send(&json!({"payload": 1, "conn_id": id}));
    assert_eq!(text(&mut client), "1");
    gateway.close(&json!({"conns": [id]}));
    assert_eq!(closed(&mut client).0, CloseCode::NORMAL);
    assert_eq!(gateway.metric("dunlin_calls"), 0);
    assert_eq!(
        gateway.refused("call_connect"),
        0,
        "a callback was attempted"
    );
    gateway.stop();
}

#[test]
fn tp_16_a_plain_request_is_told_to_upgrade() {
    let gateway = Gateway::start_as(&[]);
    let url = gateway.ws().replace("ws://", "http://");
    let answer = http_request("GET", &url, &[], b"").unwrap();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (426, &b"Upgrade Required"[..])
    );
    // Control paths of this listener are nowhere else, and those of others are not here.
    for (base, path) in [
        (&gateway.dunlin.main, "/tapr/ws/conn/list"),
        (&gateway.dunlin.control, "/tapr/ws/conn/list"),
        (&gateway.dunlin.tapr, "/metrics"),
        (&gateway.dunlin.tapr, "/echo"),
    ] {
        let answer = http_request("GET", &format!("http://{base}{path}"), &[], b"").unwrap();
        assert_eq!(answer.status, 404, "{path}");
    }
    gateway.stop();
}

#[test]
fn tp_18_large_payloads_and_odd_characters_arrive_as_they_are() {
    let port = Port::reserve();
    let app = App::start(&port);
    let gateway = Gateway::start(&port);
    let mut client = gateway.user("Ælfrēd", "t");
    let id = app.next().conn();
    let odd = format!(
        r#"{{"z":1, "a":"<b>&\u2028 đặng 鸟 \ud83d\udc26 🐦","n":9007199254740993,"n2":1e400,"pad":"{}"}}"#,
        "é<".repeat(34_000)
    );
    assert!(odd.len() > 100_000);
    let body = format!(r#"{{"payload":{odd},"conn_id":"{id}"}}"#);
    assert_eq!(gateway.post("send", &body), SUCCESS);
    assert!(text(&mut client) == odd, "the payload was changed");
    say(&mut client, &odd);
    let message = app.next();
    assert!(
        message.text.starts_with(&format!("{{\"data\":{odd},")),
        "the message was changed"
    );
    // As much as may be sent at once, and again before the client has read it.
    let most = format!("\"{}\"", "x".repeat((4 << 20) - 100));
    let body = format!(r#"{{"payload":{most},"conn_id":"{id}"}}"#);
    for _ in 0..2 {
        assert_eq!(gateway.post("send", &body), SUCCESS);
    }
    for _ in 0..2 {
        assert!(text(&mut client) == most);
    }
    drop(client);
    gateway.stop();
}

#[test]
fn tp_19_of_the_subprotocols_the_first_is_taken() {
    let gateway = Gateway::start_as(&[]);
    let mut stream = TcpStream::connect(&gateway.dunlin.tapr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: a, b\r\nOrigin: https://desktop.alice.olares.com\r\n\r\n",
        gateway.dunlin.tapr
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    let chosen: Vec<&str> = head
        .lines()
        .filter(|l| l.starts_with("sec-websocket-protocol:"))
        .collect();
    assert_eq!(chosen, ["sec-websocket-protocol: a"]);
    drop(stream);
    gateway.stop();
}

/// An option beyond the protocol: what a callback is answered goes to the client.
#[test]
fn the_answer_of_a_callback_is_a_reply_if_it_is_wanted() {
    let port = Port::reserve();
    let app = App::start_as(&port, |callback| {
        Answer::Status(200, callback.json()["data"].to_string())
    });
    let gateway = Gateway::start_with(&port, &[("DUNLIN_TAPR__REPLY_FROM_CALLBACK", "true")]);
    let mut client = gateway.user("alice", "t");
    assert_eq!(text(&mut client), "{}");
    say(&mut client, r#"{"n":1}"#);
    assert_eq!(text(&mut client), r#"{"n":1}"#);
    drop(client);
    let shorts: Vec<_> = (0..3).map(|_| app.next().short()).collect();
    assert_eq!(shorts, ["open", "1", "close"]);
    gateway.stop();
}
