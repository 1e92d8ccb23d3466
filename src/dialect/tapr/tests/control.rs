//! What the application asks for.

use super::*;

#[test]
fn tp_4_users_are_addressed_on_all_their_connections() {
    let mut gateway = Gateway::new(options());
    let ids = [
        gateway.user("alice", "a1"),
        gateway.user("alice", "a2"),
        gateway.user("bob", "b"),
        gateway.user("carol", "c"),
    ];
    let body = r#"{"payload":{"x":1},"users":["alice","bob","alice","nobody"]}"#;
    assert_eq!(gateway.send(body), SUCCESS);
    assert_eq!(gateway.counts(ids), [1, 1, 1, 0]);
    let any_case = r#"{"Payload":{"x":1},"USERS":["carol"],"TokenS":["c"]}"#;
    assert_eq!(gateway.send(any_case), SUCCESS);
    assert_eq!(gateway.counts(ids), [0, 0, 0, 1]);
}

#[test]
fn tp_5_selectors_are_intersected() {
    let mut gateway = Gateway::new(options());
    let (alice, _) = gateway.named("alice", "t");
    let (bob, bobs) = gateway.named("bob", "t");
    for (selectors, expected) in [
        (format!(r#""users":["alice"],"conn_id":"{bobs}""#), [0, 0]),
        (format!(r#""users":["bob"],"conn_id":"{bobs}""#), [0, 1]),
        (format!(r#""tokens":["x"],"conn_id":"{bobs}""#), [0, 0]),
        (r#""tokens":["t"]"#.into(), [1, 1]),
        (r#""tokens":["x","t"],"users":["alice"]"#.into(), [1, 0]),
        (r#""tokens":[],"users":["alice"]"#.into(), [1, 0]),
        (r#""tokens":["x"],"users":["alice"]"#.into(), [0, 0]),
    ] {
        assert_eq!(gateway.send(&format!("{{{selectors}}}")), SUCCESS);
        assert_eq!(gateway.counts([alice, bob]), expected, "{selectors}");
    }
}

#[test]
fn tp_6_unknown_names_are_no_error() {
    let mut gateway = Gateway::new(options());
    let alice = gateway.user("alice", "t");
    for body in [
        r#"{"payload":1,"conn_id":"7"}"#,
        r#"{"payload":1,"conn_id":"00000000-0000-4000-8000-000000000000"}"#,
        r#"{"payload":1,"users":["x", null, "\ud800"]}"#,
    ] {
        assert_eq!(gateway.send(body), SUCCESS);
    }
    assert_eq!(gateway.counts([alice]), [0]);
}

#[test]
fn tp_7_what_is_wrong_is_told_with_status_200() {
    let mut gateway = Gateway::new(options());
    let alice = gateway.user("alice", "t");
    let nil = r#"{"code":400,"message":"send message target is nil"}"#;
    for body in [
        "{}",
        r#"{"payload":1}"#,
        r#"{"payload":1,"users":[],"tokens":null,"conn_id":""}"#,
        r#"{"users_access_type":1}"#,
    ] {
        assert_eq!(gateway.send(body), nil, "{body}");
    }
    for (body, why) in [
        ("x", "invalid character 'x' looking for beginning of value"),
        ("", "unexpected end of JSON input"),
        ("{\"users\":[\"alice\"]", "unexpected end of JSON input"),
        ("{\"users\":[\"alice\"],}", "this is not JSON"),
        ("[]", "a JSON object is expected"),
        ("null", "a JSON object is expected"),
        (
            r#"{"users":"alice"}"#,
            "json: cannot unmarshal string into the field users",
        ),
        (
            r#"{"users":["alice",7]}"#,
            "json: cannot unmarshal number into the field users",
        ),
        (
            r#"{"users":["alice"],"conn_id":{}}"#,
            "json: cannot unmarshal object into the field conn_id",
        ),
        (
            r#"{"users":["alice"],"tokens":true}"#,
            "json: cannot unmarshal bool into the field tokens",
        ),
        (
            r#"{"users":["alice"],"users_access_type":"1"}"#,
            "users_access_type must be 0, 1 or 2",
        ),
    ] {
        let expected = json!({"code": 400, "message": format!("send data invalid, {why}")});
        assert_eq!(gateway.send(body), expected.to_string(), "{body}");
        let closed = gateway.close(&body.replace("conn_id", "conns"));
        assert!(
            closed.starts_with(r#"{"code":400,"message":"receive data invalid, "#),
            "{closed}"
        );
    }
    let bytes = gateway
        .house
        .request(gateway.send, "POST", "/", b"{\"users\":[\"\xff\"]}");
    assert_eq!(bytes.status, 200);
    assert!(bytes.body.starts_with(br#"{"code":400,"#));
    assert_eq!(gateway.counts([alice]), [0]);
    assert_eq!(gateway.house.closed(alice), None);
    assert_eq!(gateway.house.hub.metrics().refused("tapr_send"), 16);
}

#[test]
fn tp_8_access_narrows_users_and_only_them() {
    let mut gateway = Gateway::new(options());
    let ids = [gateway.user("alice", "t"), gateway.public("alice")];
    for (access, expected) in [
        ("0", [1, 1]),
        ("1", [1, 0]),
        ("2", [0, 1]),
        ("null", [1, 1]),
    ] {
        let body = format!(r#"{{"users":["alice"],"users_access_type":{access}}}"#);
        assert_eq!(gateway.send(&body), SUCCESS);
        assert_eq!(gateway.counts(ids), expected, "{access}");
    }
    gateway.send(r#"{"tokens":["t"],"users_access_type":2}"#);
    assert_eq!(gateway.counts(ids), [1, 0]);
}

#[test]
fn tp_8_no_empty_token_finds_a_public_connection() {
    let mut gateway = Gateway::new(options());
    let ids = [
        gateway.public("alice"),
        gateway.join(&[("X-Bfl-User", "alice"), ("Cookie", "auth_token=")]),
    ];
    let opened = gateway.bodies();
    let opened: Vec<Value> = opened
        .iter()
        .map(|b| serde_json::from_str(b).unwrap())
        .collect();
    let tokens: Vec<_> = opened
        .iter()
        .map(|o| o["token"].as_str().unwrap())
        .collect();
    assert_ne!(tokens[0], tokens[1]);
    for (open, token) in opened.iter().zip(&tokens) {
        assert_eq!(open["access_public"], true);
        assert!(ConnUuid::parse(token).is_some(), "{token}");
    }
    gateway.send(r#"{"tokens":[""],"payload":1}"#);
    gateway.send(r#"{"tokens":["",null],"users":["alice"],"payload":1}"#);
    gateway.close(r#"{"tokens":[""]}"#);
    assert_eq!(gateway.counts(ids), [0, 0]);
    assert_eq!(ids.map(|id| gateway.house.closed(id)), [None, None]);
    gateway.send(&json!({"tokens": [tokens[1]]}).to_string());
    assert_eq!(gateway.counts(ids), [0, 1], "the application knows it");
}

#[test]
fn tp_9_a_close_is_prompt_and_told_once() {
    let mut gateway = Gateway::new(options());
    let (alice, id) = gateway.named("alice", "t");
    let (bob, _) = gateway.named("bob", "t");
    gateway.says(alice, "{\"x\":1}");
    let body = format!(r#"{{"conns":["{id}","{id}","x"]}}"#);
    assert_eq!(gateway.close(&body), SUCCESS);
    assert_eq!(gateway.house.closed(alice), Some(CloseCode::NORMAL));
    assert_eq!(gateway.close(&body), SUCCESS);
    gateway.says(alice, "{\"late\":1}");
    gateway.house.leave(alice);
    assert_eq!(
        gateway.actions(),
        [data(json!({"x": 1})), ("close".into(), json!({}))]
    );
    let list = gateway.list();
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(list["data"][0]["name"], "bob");
    gateway.house.leave(bob);
    assert_eq!(gateway.actions(), [("close".into(), json!({}))]);
    gateway.house.is_empty();
}

#[test]
fn tp_9_who_is_being_closed_is_not_listed_any_more() {
    let mut house = House::new();
    let tapr = Tapr::new(options());
    let ws = house.route("/ws", tapr.clone());
    house.join(ws, "/ws", &[]);
    assert_eq!(tapr.shared.borrow().registry.len(), 1);
    let mut cx = Context::new(&mut house.hub, ws as u16, None);
    _ = tapr.close().close(&mut cx, b"{}");
    // The worker has not carried the order out yet.
    assert!(house.hub.is_open(0));
    assert_eq!(tapr.shared.borrow().registry.len(), 0);
}

#[test]
fn tp_10_a_close_without_a_selector_closes_all() {
    for body in [
        "{}",
        r#"{"conns":[],"users":[],"tokens":[],"users_access_type":1}"#,
    ] {
        let mut gateway = Gateway::new(options());
        let ids = [gateway.user("alice", "t"), gateway.public("bob")];
        assert_eq!(gateway.close(body), SUCCESS);
        for id in ids {
            assert_eq!(gateway.house.closed(id), Some(CloseCode::NORMAL));
        }
        let actions = gateway.actions();
        assert_eq!(actions.len(), 4);
        assert_eq!(gateway.house.hub.metrics().refused("tapr_close_all"), 1);
        assert_eq!(gateway.list()["data"], json!([]));
    }
}

#[test]
fn close_all_can_be_refused() {
    let mut gateway = Gateway::new(TaprOptions {
        close_all: false,
        ..options()
    });
    let alice = gateway.user("alice", "t");
    let refused = gateway.close("{}");
    assert_eq!(
        refused,
        r#"{"code":400,"message":"receive data invalid, no connection is named"}"#
    );
    assert_eq!(gateway.house.closed(alice), None);
}

#[test]
fn tp_11_the_list() {
    let mut gateway = Gateway::new(options());
    let empty = gateway.control(gateway.list, "GET", "");
    assert_eq!(empty, r#"{"code":0,"data":[],"message":"success"}"#);
    let user = ("X-Bfl-User", "b\"ob");
    gateway.join(&[
        user,
        ("Cookie", "auth_token=t"),
        ("User-Agent", "curl/8.5.0"),
    ]);
    gateway.join(&[user]);
    gateway.user("alice", "x");
    let opened = gateway.bodies();
    let opened: Vec<Value> = opened
        .iter()
        .map(|b| serde_json::from_str(b).unwrap())
        .collect();
    let text = |n: usize, key: &str| opened[n][key].as_str().unwrap();
    let expected = format!(
        "{{\"code\":0,\"data\":[\
         {{\"conns\":[{{\"id\":\"{}\",\"token\":\"x\",\"userAgent\":\"\",\"userAgentTag\":\"\"}}],\
         \"conns_number\":1,\"name\":\"alice\",\"public_conns\":[],\"public_conns_number\":0}},\
         {{\"conns\":[{{\"id\":\"{}\",\"token\":\"t\",\"userAgent\":\"curl/8.5.0\",\
         \"userAgentTag\":\"766bd1c4d31f3db19e021dad30f395a0\"}}],\"conns_number\":1,\"name\":\"b\\\"ob\",\
         \"public_conns\":[{{\"id\":\"{}\",\"token\":\"{}\",\"userAgent\":\"\",\"userAgentTag\":\"\"}}],\
         \"public_conns_number\":1}}],\"message\":\"success\"}}",
        text(2, "conn_id"),
        text(0, "conn_id"),
        text(1, "conn_id"),
        text(1, "token"),
    );
    assert_eq!(gateway.control(gateway.list, "GET", ""), expected);
}

#[test]
fn the_list_is_bounded() {
    let mut gateway = Gateway::new(TaprOptions {
        list_bytes_max: 300,
        ..options()
    });
    gateway.user("alice", "t");
    assert_eq!(gateway.list()["code"], 0);
    gateway.user("alice", "t");
    let refused = gateway.list();
    assert_eq!(refused["code"], 503);
    assert_eq!(refused["message"], "the list is longer than 300 bytes");
}

#[test]
fn control_paths_know_their_methods_and_their_neighbours() {
    let mut gateway = Gateway::new(options());
    assert_eq!(gateway.control(gateway.debug, "POST", "whatever"), SUCCESS);
    for (route, method) in [
        (gateway.list, "POST"),
        (gateway.send, "GET"),
        (gateway.close, "PUT"),
        (gateway.debug, "GET"),
    ] {
        assert_eq!(gateway.house.request(route, method, "/", b"{}").status, 405);
        let refused = gateway.house.upgrade(route, "/", &[]).unwrap_err();
        assert_eq!(refused.status, 404);
    }
    let alice = gateway.user("alice", "t");
    let away = |gateway: &mut Gateway, peer: &str| {
        gateway.house.comes_from(Peer::Tcp(peer.parse().unwrap()));
        gateway
            .house
            .request(gateway.close, "POST", "/", b"{}")
            .status
    };
    assert_eq!(away(&mut gateway, "192.0.2.1:7"), 404);
    assert_eq!(gateway.house.closed(alice), None);
    assert_eq!(away(&mut gateway, "[::1]:7"), 200);
    assert!(gateway.house.closed(alice).is_some());
    let mut open = Gateway::new(TaprOptions {
        control_from_anywhere: true,
        ..options()
    });
    assert_eq!(away(&mut open, "192.0.2.1:7"), 200);
}

#[test]
fn a_send_without_memory_for_it_is_refused_as_a_whole() {
    let limits = HubLimits {
        memory_budget_bytes: 400,
        ..HubLimits::default()
    };
    let house = House::with_limits(limits, SessionLimits::default());
    let mut gateway = Gateway::in_house(house, options());
    let ids = [gateway.user("alice", "t"), gateway.user("bob", "t")];
    let payload = "x".repeat(500);
    for users in [r#"["alice","bob"]"#, r#"["alice"]"#] {
        let body = format!(r#"{{"users":{users},"payload":"{payload}"}}"#);
        let refused = gateway.send(&body);
        assert!(refused.starts_with(r#"{"code":503,"message":"the memory budget"#));
    }
    assert_eq!(gateway.counts(ids), [0, 0]);
}

#[test]
fn a_hundred_thousand_users_in_one_send() {
    let mut gateway = Gateway::new(TaprOptions::default());
    let ids = [3, 70_000].map(|n| gateway.user(&format!("user{n}"), "t"));
    let users: Vec<_> = (0..100_000).map(|n| format!("user{n}")).collect();
    let body = json!({"users": users, "tokens": users.iter().map(|_| "t").collect::<Vec<_>>()});
    assert_eq!(gateway.send(&body.to_string()), SUCCESS);
    assert_eq!(gateway.counts(ids), [1, 1]);
}

#[test]
fn a_slow_client_stalls_nobody() {
    let limits = SessionLimits {
        outbox_frames_max: 3,
        ..SessionLimits::default()
    };
    let house = House::with_limits(HubLimits::default(), limits);
    let mut gateway = Gateway::in_house(house, options());
    let (slow, bob) = (gateway.user("slow", "t"), gateway.user("bob", "t"));
    gateway.actions();
    for n in 0..6 {
        let body = format!(r#"{{"users":["slow","bob"],"payload":{n}}}"#);
        assert_eq!(gateway.send(&body), SUCCESS);
        assert_eq!(gateway.texts(bob), [n.to_string()]);
    }
    assert_eq!(gateway.house.closed(slow), Some(CloseCode::TRY_LATER));
    assert_eq!(gateway.actions(), [("close".into(), json!({}))]);
}
