//! Clients, and what the application is told about them.

use super::*;

#[test]
fn tp_1_the_application_hears_of_a_new_connection() {
    let mut gateway = Gateway::new(options());
    gateway.join(&[("X-Bfl-User", "alice"), ("Cookie", "auth_token=t; a=b")]);
    let asked = gateway.house.calls().pop().unwrap();
    let call = &asked.call;
    assert_eq!(
        *call.target,
        "http://127.0.0.1:3010/websocket/message".parse().unwrap()
    );
    let headers: Vec<_> = call.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(
        headers,
        [
            ("Content-Type", "application/json"),
            ("Cookie", "auth_token=t; a=b")
        ]
    );
    assert_eq!(call.timeout_ms, 2000);
    let body = String::from_utf8(call.body.clone()).unwrap();
    let (before, rest) = body.split_once("\"conn_id\":\"").unwrap();
    assert_eq!(before, r#"{"data":{},"action":"open","user_name":"alice","#);
    let (id, after) = rest.split_at(36);
    assert!(ConnUuid::parse(id).is_some(), "{id}");
    assert_eq!(after, r#"","token":"t","access_public":false}"#);
}

#[test]
fn tp_1_it_can_be_found_before_the_application_hears_of_it() {
    let mut gateway = Gateway::new(options());
    let (alice, id) = gateway.named("alice", "t");
    let body = format!(r#"{{"conn_id":"{id}","payload":1}}"#);
    assert_eq!(gateway.send(&body), SUCCESS);
    assert_eq!(gateway.texts(alice), ["1"]);
}

#[test]
fn tp_2_a_ping_gets_its_pong_and_goes_no_further() {
    let mut gateway = Gateway::new(options());
    let alice = gateway.user("alice", "t");
    assert_eq!(gateway.bodies().len(), 1);
    for ping in [
        r#"{"event":"ping"}"#,
        r#"{"event":"ping","data":{}}"#,
        r#" { "data" : [1], "event" : "\u0070ing" } "#,
        r#"{"event":"x","event":"ping"}"#,
    ] {
        gateway.says(alice, ping);
        assert_eq!(gateway.texts(alice), [r#"{"event":"pong"}"#], "{ping}");
    }
    assert_eq!(gateway.bodies(), [""; 0]);
    for other in [
        r#"{"event":"Ping"}"#,
        r#"{"Event":"ping"}"#,
        r#"{"event":["ping"]}"#,
        r#"{"event":"ping","event":"x"}"#,
    ] {
        gateway.says(alice, other);
        assert_eq!(gateway.texts(alice), [""; 0], "{other}");
    }
    assert_eq!(gateway.bodies().len(), 4);
}

#[test]
fn tp_3_a_message_and_its_reply() {
    let mut gateway = Gateway::new(options());
    let (alice, id) = gateway.named("alice", "t");
    gateway.says(alice, r#"{"event":"ai","data":{"q":1}}"#);
    assert_eq!(
        gateway.bodies(),
        [format!(
            "{{\"data\":{{\"event\":\"ai\",\"data\":{{\"q\":1}}}},\"action\":\"message\",\"user_name\":\"alice\",\
             \"conn_id\":\"{id}\",\"token\":\"t\",\"access_public\":false}}"
        )]
    );
    let body = format!(r#"{{"payload": {{ "b":1, "a": 9007199254740993 }} ,"conn_id":"{id}"}}"#);
    assert_eq!(gateway.send(&body), SUCCESS);
    assert_eq!(
        gateway.house.got(alice),
        [Got::Text(r#"{ "b":1, "a": 9007199254740993 }"#.into())]
    );
    for (payload, text) in [("\"a<b\"", "\"a<b\""), ("null", "null"), ("[]", "[]")] {
        gateway.send(&format!(r#"{{"payload":{payload},"conn_id":"{id}"}}"#));
        assert_eq!(gateway.texts(alice), [text]);
    }
    gateway.send(&format!(r#"{{"conn_id":"{id}"}}"#));
    assert_eq!(gateway.texts(alice), ["null"], "a missing payload");
}

#[test]
fn tp_3_what_clients_send_passes_as_it_is() {
    let mut gateway = Gateway::new(options());
    let alice = gateway.user("alice", "t");
    gateway.bodies();
    let sent = r#"{"z": 9007199254740993, "a":"<&>\u003c", "z":1.0e5}"#;
    gateway.says(alice, &format!(" {sent}\n"));
    let body = gateway.bodies().remove(0);
    assert!(body.starts_with(&format!("{{\"data\":{sent},\"action\"")));
}

#[test]
fn tp_12_only_pings_keep_a_client() {
    let mut gateway = Gateway::new(options());
    let silent = gateway.user("silent", "t");
    let talker = gateway.user("talker", "t");
    let pinger = gateway.user("pinger", "t");
    let mut ended = None;
    for second in 1..=600 {
        gateway.house.pass(1000);
        if second % 10 == 0 {
            gateway.says(talker, "{\"x\":1}");
        }
        if second % 30 == 0 {
            gateway.says(pinger, "{\"event\":\"ping\"}");
        }
        if ended.is_none() && gateway.house.closed(silent).is_some() {
            ended = Some(second);
            assert_eq!(gateway.house.closed(talker), Some(CloseCode::POLICY));
        }
    }
    assert!((46..=75).contains(&ended.unwrap()), "{ended:?}");
    assert_eq!(gateway.house.closed(pinger), None);
    let actions = gateway.actions();
    assert_eq!(actions.iter().filter(|(a, _)| a == "close").count(), 2);
    assert_eq!(gateway.house.hub.metrics().refused("tapr_ping_timeout"), 2);
}

#[test]
fn tp_12_every_last_ping_ends_between_45_and_75_seconds_later() {
    for last in [1, 14, 15, 16, 29, 31, 44, 46, 59] {
        let mut gateway = Gateway::new(options());
        let alice = gateway.user("alice", "t");
        gateway.house.pass(last * 1000);
        gateway.says(alice, "{\"event\":\"ping\"}");
        gateway.house.pass(45_000);
        assert_eq!(gateway.house.closed(alice), None, "{last}");
        gateway.house.pass(30_000);
        assert!(gateway.house.closed(alice).is_some(), "{last}");
    }
    let mut patient = Gateway::new(TaprOptions {
        ping_timeout_ms: 0,
        ..options()
    });
    let alice = patient.user("alice", "t");
    patient.house.pass(1_000_000);
    assert_eq!(patient.house.closed(alice), None);
}

#[test]
fn tp_12_a_client_that_is_held_back_is_not_accused() {
    let mut gateway = Gateway::new(options());
    let alice = gateway.user("alice", "t");
    gateway.house.hold_back(alice, true);
    gateway.house.pass(200_000);
    assert_eq!(gateway.house.closed(alice), None);
    // Let go between two looks, by the end of its callbacks.
    let mut asked = gateway.house.calls();
    gateway.house.pass(29_000);
    gateway.house.answer(asked.remove(0), 200, b"");
    gateway.house.hold_back(alice, false);
    gateway.house.pass(44_000);
    assert_eq!(gateway.house.closed(alice), None);
    gateway.house.pass(31_000);
    assert_eq!(gateway.house.closed(alice), Some(CloseCode::POLICY));
}

#[test]
fn tp_13_a_failing_application_costs_no_client() {
    let mut gateway = Gateway::new(options());
    let alice = gateway.user("alice", "t");
    gateway.says(alice, "{\"n\":1}");
    gateway.says(alice, "{\"n\":2}");
    gateway.says(alice, "{\"n\":3}");
    let mut asked = gateway.house.calls().into_iter();
    gateway.house.answer(asked.next().unwrap(), 500, b"no");
    gateway.house.answer(asked.next().unwrap(), 302, b"");
    gateway
        .house
        .fail(asked.next().unwrap(), CallError::Timeout);
    gateway.house.fail(asked.next().unwrap(), CallError::Broken);
    let refused = |gateway: &Gateway, reason| gateway.house.hub.metrics().refused(reason);
    assert_eq!(refused(&gateway, "tapr_callback_status"), 2);
    assert_eq!(refused(&gateway, "tapr_callback_failed"), 2);
    assert_eq!(gateway.house.closed(alice), None);
    gateway.says(alice, "{\"n\":4}");
    gateway.house.leave(alice);
    assert_eq!(
        gateway.actions(),
        [data(json!({"n": 4})), ("close".into(), json!({}))]
    );
}

#[test]
fn tp_13_answers_mean_nothing_and_may_come_too_late() {
    let mut gateway = Gateway::new(options());
    let alice = gateway.user("alice", "t");
    let bob = gateway.user("bob", "t");
    let mut asked = gateway.house.calls();
    gateway.house.leave(alice);
    gateway.house.answer(asked.remove(0), 200, b"{\"x\":1}");
    gateway.house.answer(asked.remove(0), 200, b"{\"x\":1}");
    assert_eq!(gateway.house.got(bob), []);
}

#[test]
fn tp_14_binary_is_read_like_text() {
    let mut gateway = Gateway::new(options());
    let alice = gateway.user("alice", "t");
    gateway.bodies();
    gateway.house.binary(alice, b"{\"event\":\"ping\"}");
    assert_eq!(gateway.texts(alice), [r#"{"event":"pong"}"#]);
    assert_eq!(gateway.bodies(), [""; 0]);
    for (text, expected) in [
        ("hello", json!({})),
        ("[1]", json!({})),
        ("7", json!({})),
        ("\"ping\"", json!({})),
        ("", json!({})),
        ("{} {}", json!({})),
        (" null ", Value::Null),
        ("{}", json!({})),
        ("{\"a\":[]}", json!({"a": []})),
    ] {
        gateway.house.binary(alice, text.as_bytes());
        gateway.says(alice, text);
        assert_eq!(gateway.actions(), [data(expected.clone()), data(expected)]);
    }
    gateway.house.binary(alice, b"{\"a\":\"x\xff\"}");
    gateway.house.binary(alice, b"\xff");
    assert_eq!(
        gateway.actions(),
        [data(json!({"a": "x\u{fffd}"})), data(json!({}))]
    );
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(128), "]".repeat(128));
    gateway.says(alice, &deep);
    assert_eq!(gateway.actions(), [data(json!({}))]);
}

#[test]
fn tp_15_without_a_url_nothing_is_called() {
    assert_eq!(Tapr::callback_url("", "/a"), Ok(None));
    assert_eq!(Tapr::callback_url("3010", ""), Ok(None));
    assert!(Tapr::callback_url("x", "/a").is_err());
    let target = Tapr::callback_url("3010", "/a?b=c").unwrap().unwrap();
    assert_eq!(target.authority(), "127.0.0.1:3010");
    assert_eq!(target.path, "/a?b=c");
    let mut gateway = Gateway::new(TaprOptions::default());
    let alice = gateway.user("alice", "t");
    gateway.says(alice, "{\"x\":1}");
    gateway.says(alice, "{\"event\":\"ping\"}");
    assert_eq!(gateway.texts(alice), [r#"{"event":"pong"}"#]);
    gateway.send(r#"{"users":["alice"],"payload":1}"#);
    assert_eq!(gateway.texts(alice), ["1"]);
    gateway.close(r#"{"users":["alice"]}"#);
    assert_eq!(gateway.house.closed(alice), Some(CloseCode::NORMAL));
    assert_eq!(gateway.bodies(), [""; 0]);
}

#[test]
fn tp_16_a_plain_request_is_told_to_upgrade() {
    let mut gateway = Gateway::new(options());
    let answer = gateway.house.request(gateway.ws, "GET", "/ws", b"");
    assert_eq!(
        (answer.status, &*answer.body),
        (426, &b"Upgrade Required"[..])
    );
    let answer = gateway.house.request(gateway.ws, "POST", "/ws", b"");
    assert_eq!(answer.status, 405);
}

#[test]
fn tp_18_large_payloads_arrive_intact() {
    let mut gateway = Gateway::new(options());
    let alice = gateway.user("alice", "t");
    gateway.bodies();
    let payload = format!("{{\"ü<\":\"{}\"}}", "ä<&>".repeat(20_000));
    gateway.send(&format!(r#"{{"users":["alice"],"payload":{payload}}}"#));
    assert_eq!(gateway.texts(alice).concat(), payload);
    gateway.says(alice, &payload);
    assert_eq!(
        gateway.actions(),
        [data(serde_json::from_str(&payload).unwrap())]
    );
}

#[test]
fn tp_19_the_route_chooses_the_subprotocol() {
    let mut gateway = Gateway::new(options());
    let alice = gateway.join(&[("Sec-WebSocket-Protocol", "a, b")]);
    assert_eq!(gateway.house.accepted(alice).subprotocol, None);
}

#[test]
fn names_and_headers_are_checked_before_they_are_passed_on() {
    let mut gateway = Gateway::new(options());
    for headers in [
        &[("X-Bfl-User", "alice"), ("x-bfl-user", "bob")][..],
        &[("X-Bfl-User", "al\tice")],
        &[("Cookie", "a=\tb")],
    ] {
        let refused = gateway
            .house
            .upgrade_with(gateway.ws, "/ws", headers, &[])
            .unwrap_err();
        assert_eq!(refused.status, 400, "{headers:?}");
    }
    assert_eq!(gateway.house.hub.metrics().refused("bad_request"), 3);
    gateway.join(&[
        ("X-Bfl-User", "a\"\\ü"),
        ("Cookie", "auth_token=\"q\\\""),
        ("Cookie", "b=c"),
        ("X-Original-Forwarded-For", "192.0.2.1"),
    ]);
    let asked = gateway.house.calls().pop().unwrap();
    assert_eq!(asked.call.headers[1].1, "auth_token=\"q\\\"; b=c");
    assert_eq!(asked.call.headers.len(), 2);
    let open: Value = serde_json::from_slice(&asked.call.body).unwrap();
    assert_eq!(open["user_name"], "a\"\\ü");
    assert_eq!(open["token"], "q\\");
    gateway.house.is_empty();
}

#[test]
fn where_a_client_comes_from_is_passed_on_if_asked_for() {
    let mut gateway = Gateway::new(TaprOptions {
        forwarded_for: true,
        ..options()
    });
    gateway.join(&[("X-Original-Forwarded-For", "192.0.2.1")]);
    let asked = gateway.house.calls().pop().unwrap();
    assert_eq!(
        asked.call.headers[2],
        ("X-Original-Forwarded-For".into(), "192.0.2.1".into())
    );
}

#[cfg(feature = "signature")]
#[test]
fn callbacks_are_signed_with_every_key() {
    let keys = crate::dialect::SignatureKeys(vec!["old".to_owned(), "new".to_owned()]);
    let mut gateway = Gateway::new(TaprOptions {
        signature_keys: keys.clone(),
        ..options()
    });
    gateway.join(&[]);
    let call = gateway.house.calls().pop().unwrap().call;
    let (name, value) = call.headers.last().unwrap();
    assert_eq!(*name, "X-Dunlin-Signature");
    let now = gateway.house.hub.now.unix_seconds();
    assert_eq!(Some(value), keys.sign(now, &call.body).as_ref());
    assert_eq!(value.matches(",v1=").count(), 2);
}

#[test]
fn the_close_callback_tells_how_it_ended_if_asked_for() {
    let mut gateway = Gateway::new(TaprOptions {
        verbose_close: true,
        ..options()
    });
    let ids = [gateway.user("alice", "t"), gateway.user("alice", "u")];
    gateway.says(ids[0], "{\"event\":\"ping\"}");
    gateway.says(ids[0], "hello");
    gateway.send(r#"{"users":["alice"],"payload":[1]}"#);
    gateway.house.pass(1234);
    gateway.close(r#"{"tokens":["t"]}"#);
    gateway.house.leave(ids[1]);
    let closes: Vec<_> = gateway.actions().split_off(3);
    assert_eq!(
        closes,
        [
            (
                "close".into(),
                json!({"code": 1000, "reason": "closed by the application", "connected_ms": 1234, "messages_in": 2, "bytes_in": 21,
                       "messages_out": 2, "bytes_out": 19})
            ),
            (
                "close".into(),
                json!({"code": 1000, "reason": "", "connected_ms": 1234, "messages_in": 0, "bytes_in": 0,
                       "messages_out": 1, "bytes_out": 3})
            ),
        ]
    );
}

#[test]
fn answers_of_the_application_are_replies_if_asked_for() {
    let mut gateway = Gateway::new(TaprOptions {
        reply_from_callback: true,
        ..options()
    });
    let alice = gateway.user("alice", "t");
    for (status, body, expected) in [
        (200, " {\"b\": 1.0} ", Some("{\"b\": 1.0}")),
        (201, "\"text\"", Some("\"text\"")),
        (200, "", None),
        (200, "null", None),
        (200, "ok", None),
        (200, "{} {}", None),
        (500, "{}", None),
    ] {
        gateway.says(alice, "{}");
        let asked = gateway.house.calls().pop().unwrap();
        gateway.house.answer(asked, status, body.as_bytes());
        assert_eq!(gateway.texts(alice), Vec::from_iter(expected), "{body}");
    }
    assert_eq!(
        gateway.house.hub.metrics().refused("tapr_callback_reply"),
        2
    );
    gateway.says(alice, "{}");
    let asked = gateway.house.calls().pop().unwrap();
    gateway.house.leave(alice);
    gateway.house.answer(asked, 200, b"{}");
}

#[test]
fn secrets_are_not_shown() {
    let mut house = House::new();
    let tapr = Tapr::new(options());
    let ws = house.route("/ws", tapr.clone());
    let headers = [
        ("X-Bfl-User", "alice"),
        ("Cookie", "auth_token=hush; b=hush"),
    ];
    house.upgrade_with(ws, "/ws", &headers, &[]).unwrap();
    let shown = format!("{tapr:?} {:?}", tapr.list());
    assert!(
        shown.contains("conns: 1") && !shown.contains("hush"),
        "{shown}"
    );
}
