//! Requests to back ends, by socket and by plain HTTP.

use serde_json::json;

use super::{Rig, header, options};
use crate::dialect::apigw::ApiGatewayOptions;
use crate::hub::CallError;

#[test]
fn al_3_a_registration_reaches_its_back_end_whole() {
    let mut rig = Rig::new();
    let id = rig.device("0a1b2c3d@12344133");
    let text = json!({
        "method": "POST", "host": "api.example.com", "path": "/register",
        "querys": {"a": "1"},
        "headers": {
            "x-ca-seq": ["0"], "x-ca-websocket_api_type": ["REGISTER"], "X-Other": ["x", "y"],
            "host": ["evil"], "connection": ["close, X-Hop"], "x-hop": ["1"], "content-length": ["99"],
            "transfer-encoding": ["chunked"], "x-forwarded-for": ["1.2.3.4"],
        },
        "isBase64": 0, "body": "username=xiaoming",
    });
    rig.house.text(id, &text.to_string());
    let asked = rig.asked();
    let call = &asked.call;
    assert_eq!(
        (call.method, call.target.authority().as_str()),
        ("POST", "app:3000")
    );
    assert_eq!(call.target.path, "/base/register?a=1");
    assert_eq!(call.body, b"username=xiaoming");
    let names: Vec<_> = call.headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        [
            "X-Other",
            "X-Other",
            "x-ca-seq",
            "x-ca-websocket_api_type",
            "x-ca-deviceid",
            "x-ca-request-id",
            "x-forwarded-host"
        ]
    );
    assert_eq!(header(&asked, "x-ca-deviceid"), Some("0a1b2c3d@12344133"));
    assert_eq!(header(&asked, "x-forwarded-host"), Some("api.example.com"));
    rig.house
        .answer_with(asked, 200, "Content-Type: text/plain\r\n", b"hi");
    let answer = rig.answer(id);
    assert_eq!(answer["status"], 200);
    assert_eq!(answer["header"]["x-ca-seq"], "0");
    assert_eq!(answer["header"]["content-type"], "text/plain");
    assert_eq!(answer["body"], "hi");
    rig.everybody_leaves();
}

#[test]
fn al_4_and_al_7_only_who_is_registered_is_notified() {
    let mut rig = Rig::new();
    let id = rig.device("d");
    let register = json!({"x-ca-websocket_api_type": "REGISTER"});
    let unregister = json!({"x-ca-websocket_api_type": "[\"UNREGISTER\"]"});
    assert_eq!(rig.notify_refused("d"), 404);
    for (headers, status, notified) in [
        (&register, 401, false),
        (&register, 200, true),
        (&unregister, 500, true),
        (&unregister, 200, false),
        (&register, 204, false),
        (&register, 200, true),
        (&register, 403, false),
    ] {
        rig.call(id, "7", "POST", "/r", headers.clone());
        let asked = rig.asked();
        rig.house.answer(asked, status, b"");
        assert_eq!(rig.status(id), ("7".to_owned(), u64::from(status)));
        if notified {
            rig.notify("d", "x");
            assert_eq!(rig.said(id), ["NF#x"]);
        } else {
            assert_eq!(rig.notify_refused("d"), 404);
        }
    }
    rig.call(id, "8", "POST", "/r", register.clone());
    let asked = rig.asked();
    rig.house.fail(asked, CallError::Timeout);
    assert_eq!(rig.status(id), ("8".to_owned(), 504));
    assert_eq!(rig.notify_refused("d"), 404);
    rig.everybody_leaves();
}

#[test]
fn the_last_signal_counts_whatever_order_the_answers_have() {
    let mut rig = Rig::new();
    let id = rig.device("d");
    for signal in ["REGISTER", "UNREGISTER"] {
        rig.call(
            id,
            signal,
            "POST",
            "/r",
            json!({"x-ca-websocket_api_type": signal}),
        );
    }
    let mut asked = rig.house.calls();
    rig.house.answer(asked.remove(1), 200, b"");
    rig.house.answer(asked.remove(0), 200, b"");
    assert_eq!(rig.notify_refused("d"), 404);
    for signal in ["UNREGISTER", "REGISTER"] {
        rig.call(
            id,
            signal,
            "POST",
            "/r",
            json!({"x-ca-websocket_api_type": signal}),
        );
    }
    let mut asked = rig.house.calls();
    rig.house.answer(asked.remove(1), 200, b"");
    rig.house.answer(asked.remove(0), 200, b"");
    assert_eq!(rig.said(id).len(), 4);
    rig.notify("d", "x");
    rig.everybody_leaves();
}

#[test]
fn al_9_answers_come_as_they_come() {
    let mut rig = Rig::new();
    let id = rig.stranger();
    for seq in ["1", "2", "2"] {
        rig.call(id, seq, "GET", "/", json!({}));
    }
    let mut asked = rig.house.calls();
    for (at, seq, body) in [(1, "2", "b"), (0, "1", "a"), (0, "2", "c")] {
        rig.house.answer(asked.remove(at), 200, body.as_bytes());
        let answer = rig.answer(id);
        assert_eq!(
            (&answer["header"]["x-ca-seq"], &answer["body"]),
            (&json!(seq), &json!(body))
        );
    }
    rig.everybody_leaves();
}

#[test]
fn al_13_a_device_cannot_be_pretended() {
    let mut rig = Rig::new();
    let (id, stranger) = (rig.device("d"), rig.stranger());
    let pretends = json!({"X-CA-DeviceId": "other"});
    rig.call(id, "1", "GET", "/", pretends.clone());
    let asked = rig.asked();
    assert_eq!(header(&asked, "x-ca-deviceid"), Some("d"));
    rig.house.answer(asked, 200, b"");
    rig.call(stranger, "1", "GET", "/", pretends);
    let asked = rig.asked();
    assert_eq!(header(&asked, "x-ca-deviceid"), None);
    rig.house.answer(asked, 200, b"");
    rig.http("GET", "/", &[("X-Ca-Deviceid", "d")], b"")
        .unwrap_err();
    let asked = rig.asked();
    assert_eq!(header(&asked, "x-ca-deviceid"), None);
    rig.house.answer(asked, 200, b"");
    rig.everybody_leaves();
}

#[test]
fn signals_need_a_device_and_perhaps_a_path() {
    let mut rig = Rig::with(ApiGatewayOptions {
        register_paths: vec!["/register".to_owned()],
        ..options()
    });
    let (id, stranger) = (rig.device("d"), rig.stranger());
    let register = json!({"x-ca-websocket_api_type": "register"});
    rig.call(stranger, "1", "POST", "/register", register.clone());
    assert_eq!(rig.status(stranger), ("1".to_owned(), 400));
    rig.call(id, "2", "POST", "/public", register.clone());
    assert_eq!(rig.status(id), ("2".to_owned(), 400));
    rig.call(
        id,
        "3",
        "POST",
        "/x",
        json!({"x-ca-websocket_api_type": "PARTY"}),
    );
    assert_eq!(rig.status(id), ("3".to_owned(), 400));
    let answer = rig.http(
        "POST",
        "/register",
        &[("X-Ca-Websocket_Api_Type", "REGISTER")],
        b"",
    );
    assert_eq!(answer.unwrap().status, 400);
    rig.nothing_asked();
    rig.call(id, "4", "POST", "/register", register);
    let asked = rig.asked();
    rig.house.answer(asked, 200, b"");
    assert_eq!(rig.status(id), ("4".to_owned(), 200));
    rig.refused("apigw_signal", 3);
    rig.everybody_leaves();
}

#[test]
fn failures_of_back_ends_are_answers() {
    let mut rig = Rig::new();
    let id = rig.stranger();
    for (error, status) in [
        (CallError::Timeout, 504),
        (CallError::Unreachable, 502),
        (CallError::Broken, 502),
        (CallError::BadAnswer, 502),
        (CallError::ShuttingDown, 503),
    ] {
        rig.call(id, "1", "GET", "/", json!({}));
        let asked = rig.asked();
        rig.house.fail(asked, error);
        let answer = rig.answer(id);
        assert_eq!(
            (&answer["status"], &answer["header"]["x-ca-seq"]),
            (&json!(status), &json!("1"))
        );
        assert!(answer["header"]["x-ca-error-message"].is_string());
        let ticket = rig.http("GET", "/x", &[], b"").unwrap_err();
        let asked = rig.asked();
        rig.house.fail(asked, error);
        assert_eq!(rig.answers(), [(ticket, status)]);
    }
    rig.everybody_leaves();
}

#[test]
fn so_many_requests_are_under_way_at_a_time() {
    let mut rig = Rig::with(ApiGatewayOptions {
        in_flight_max: 2,
        ..options()
    });
    let (id, other) = (rig.stranger(), rig.stranger());
    for _ in 0..2 {
        rig.call(id, "1", "GET", "/", json!({}));
    }
    assert_eq!(rig.said(id).len(), 0);
    rig.call(id, "2", "GET", "/", json!({}));
    assert_eq!(rig.status(id), ("2".to_owned(), 429));
    rig.call(other, "1", "GET", "/", json!({}));
    let mut asked = rig.house.calls();
    assert_eq!(asked.len(), 3, "others are not concerned");
    rig.house.answer(asked.remove(0), 200, b"");
    rig.call(id, "3", "GET", "/", json!({}));
    rig.asked();
    rig.refused("apigw_in_flight", 1);
    // Whoever goes meanwhile is not answered, and nothing is left of it.
    rig.house.leave(id);
    for asked in asked {
        rig.house.answer(asked, 200, b"");
    }
    assert_eq!(rig.said(other).len(), 1);
}

#[test]
fn plain_http_is_passed_on_and_back() {
    let mut rig = Rig::new();
    let headers = [("Accept", "a"), ("Cookie", "b"), ("Te", "trailers")];
    let ticket = rig
        .http("PUT", "/x%2fy?a=%20&b", &headers, b"\xff")
        .unwrap_err();
    let asked = rig.asked();
    assert_eq!(
        (asked.call.method, &*asked.call.body),
        ("PUT", &b"\xff"[..])
    );
    assert_eq!(asked.call.target.path, "/base/x%2Fy?a=%20&b");
    assert_eq!(header(&asked, "Accept"), Some("a"));
    assert_eq!(header(&asked, "te"), None);
    assert_eq!(header(&asked, "host"), None);
    let lines = "Content-Type: x/y\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nConnection: close\r\n";
    rig.house.answer_with(asked, 207, lines, b"\x00\xff");
    let (answered, response) = rig.house.answers().remove(0);
    assert_eq!(
        (answered, response.status, &*response.body),
        (ticket, 207, &b"\x00\xff"[..])
    );
    let names: Vec<_> = response.headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        [
            "content-type",
            "set-cookie",
            "set-cookie",
            "x-ca-request-id"
        ]
    );
    for (method, path, status) in [
        ("BREW", "/", 405),
        ("GET", "/a/../b", 400),
        ("GET", "/%2e%2e/b", 400),
    ] {
        assert_eq!(rig.http(method, path, &[], b"").unwrap().status, status);
    }
    rig.nothing_asked();
    rig.everybody_leaves();
}

#[test]
fn no_api_no_back_end() {
    let mut rig = Rig::with(ApiGatewayOptions {
        back_ends: super::BackEnds(vec!["api/v1=http://app:1".parse().unwrap()]),
        ..options()
    });
    let id = rig.stranger();
    rig.call(id, "1", "GET", "/v2", json!({}));
    assert_eq!(rig.status(id), ("1".to_owned(), 404));
    assert_eq!(
        rig.http("GET", "/v1", &[], b"").unwrap().status,
        404,
        "of another host"
    );
    rig.nothing_asked();
    rig.refused("apigw_no_api", 2);
    rig.everybody_leaves();
}
