//! Notifications and their acknowledgements.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use super::{Rig, options};
use crate::dialect::apigw::ApiGatewayOptions;
use crate::hub::Peer;

#[test]
fn al_5_a_notification_arrives_unchanged_and_is_acknowledged() {
    let mut rig = Rig::new();
    let id = rig.registered("d");
    let body = "{\"from\":\"x\"}#NF#\n\u{e9}";
    let first = rig.notify("d", body);
    let second = rig.notify("d", "");
    assert_eq!(rig.said(id), [format!("NF#{body}"), "NF#".to_owned()]);
    assert_eq!(rig.answers(), []);
    rig.house.text(id, "NO");
    assert_eq!(rig.answers(), [(first, 200)]);
    rig.house.text(id, "NO");
    assert_eq!(rig.answers(), [(second, 200)]);
    rig.refused("apigw_unasked", 0);
    rig.house.text(id, "NO");
    rig.refused("apigw_unasked", 1);
    rig.nothing_asked();
    rig.everybody_leaves();
}

#[test]
fn al_6_nobody_is_there() {
    let mut rig = Rig::new();
    assert_eq!(rig.notify_refused("nobody"), 404);
    let id = rig.registered("d");
    rig.house.leave(id);
    assert_eq!(rig.notify_refused("d"), 404);
    rig.refused("apigw_notify_nobody", 2);
    rig.everybody_leaves();
}

#[test]
fn a_late_acknowledgement_keeps_its_place() {
    let mut rig = Rig::new();
    let id = rig.registered("d");
    let late = rig.notify("d", "1");
    rig.house.pass(1_000);
    let next = rig.notify("d", "2");
    rig.house.pass(3_999);
    assert_eq!(rig.answers(), []);
    rig.house.pass(1);
    assert_eq!(rig.answers(), [(late, 504)]);
    rig.house.text(id, "NO");
    assert_eq!(rig.answers(), [], "it is the first one's");
    rig.house.text(id, "NO");
    assert_eq!(rig.answers(), [(next, 200)]);
    rig.house.pass(5_000);
    assert_eq!(rig.answers(), []);
    rig.refused("apigw_notify_late", 1);
    rig.everybody_leaves();
}

#[test]
fn a_device_that_goes_has_not_acknowledged() {
    let mut rig = Rig::new();
    let id = rig.registered("d");
    let ticket = rig.notify("d", "1");
    rig.house.leave(id);
    rig.house.pass(0);
    // What is told by the end of a session is carried out with what comes next.
    assert_eq!(rig.notify_refused("d"), 404);
    assert_eq!(rig.answers(), [(ticket, 404)]);
    rig.refused("apigw_notify_gone", 1);
    rig.everybody_leaves();
}

#[test]
fn so_many_notifications_wait_for_a_device() {
    let mut rig = Rig::with(ApiGatewayOptions {
        notify_pending_max: 2,
        ..options()
    });
    let id = rig.registered("d");
    rig.notify("d", "1");
    rig.notify("d", "2");
    assert_eq!(rig.notify_refused("d"), 429);
    // One that never acknowledges gets what there is, each after its time.
    rig.house.pass(5_000);
    assert_eq!(rig.answers().len(), 2);
    rig.notify("d", "3");
    rig.notify("d", "4");
    assert_eq!(rig.notify_refused("d"), 429);
    assert_eq!(rig.said(id).len(), 4);
    rig.refused("apigw_notify_pending", 2);
    rig.everybody_leaves();
}

#[test]
fn an_answer_may_come_at_once() {
    let mut rig = Rig::with(ApiGatewayOptions {
        notify_wait: false,
        ..options()
    });
    let id = rig.registered("d");
    let ticket = rig.notify("d", "1");
    assert_eq!(rig.answers(), [(ticket, 200)]);
    rig.house.text(id, "NO");
    rig.refused("apigw_unasked", 0);
    assert_eq!(rig.said(id), ["NF#1"]);
    rig.everybody_leaves();
}

#[test]
fn bad_notifications() {
    let mut rig = Rig::new();
    let id = rig.registered("d");
    let device = [("x-ca-deviceid", "d")];
    for (method, headers, body, status) in [
        ("GET", &device[..], &b"x"[..], 405),
        ("POST", &[], b"x", 400),
        ("POST", &[("x-ca-deviceid", "")], b"x", 400),
        ("POST", &device, b"\xff", 400),
        ("POST", &[device[0], ("Origin", "http://page")], b"x", 403),
        ("POST", &[device[0], ("X-Forwarded-For", "::1")], b"x", 403),
        ("POST", &[device[0], ("Via", "1.1 proxy")], b"x", 403),
    ] {
        let answer = rig.http(method, "/notify", headers, body).unwrap();
        assert_eq!(answer.status, status, "{method} {headers:?}");
    }
    let elsewhere = [device[0], ("x-ca-websocket_api_type", "NOTIFY")];
    let answer = rig.http("POST", "/else", &elsewhere, b"x").unwrap();
    assert_eq!(answer.status, 404);
    assert_eq!(rig.said(id).len(), 0);
    rig.nothing_asked();
    rig.everybody_leaves();
}

#[test]
fn other_machines_do_not_notify() {
    let other = Peer::Tcp(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 7)));
    for from_anywhere in [false, true] {
        let mut rig = Rig::with(ApiGatewayOptions {
            notify_from_anywhere: from_anywhere,
            ..options()
        });
        let id = rig.registered("d");
        rig.house.comes_from(other);
        let stranger = rig.stranger();
        rig.call(
            stranger,
            "1",
            "POST",
            "/notify",
            json!({"x-ca-deviceid": "d"}),
        );
        if from_anywhere {
            rig.notify("d", "x");
            assert_eq!(rig.said(id), ["NF#", "NF#x"]);
            rig.house.text(id, "NO");
            assert_eq!(rig.status(stranger), ("1".to_owned(), 200));
        } else {
            assert_eq!(rig.status(stranger), ("1".to_owned(), 403));
            assert_eq!(rig.notify_refused("d"), 403);
            rig.refused("apigw_notify_peer", 2);
        }
        rig.everybody_leaves();
    }
}

#[test]
fn a_back_end_may_notify_by_socket() {
    let mut rig = Rig::new();
    let (id, back_end) = (rig.registered("d"), rig.stranger());
    let headers = json!({"x-ca-deviceid": "d", "x-ca-websocket_api_type": "NOTIFY"});
    rig.call(back_end, "5", "POST", "/notify", headers.clone());
    assert_eq!(rig.said(id), ["NF#"]);
    assert_eq!(rig.said(back_end).len(), 0);
    rig.house.text(id, "NO");
    assert_eq!(rig.status(back_end), ("5".to_owned(), 200));
    rig.call(back_end, "6", "POST", "/notify", headers);
    rig.house.pass(5_000);
    assert_eq!(rig.status(back_end), ("6".to_owned(), 504));
    rig.everybody_leaves();
}

#[test]
fn a_notification_may_be_quicker_than_the_answer_to_a_registration() {
    let mut rig = Rig::new();
    let id = rig.device("d");
    let register = json!({"x-ca-websocket_api_type": "REGISTER"});
    let ask = |rig: &mut Rig| {
        rig.call(id, "1", "POST", "/r", register.clone());
        rig.asked()
    };
    // The answer comes soon …
    let asked = ask(&mut rig);
    let first = rig.notify("d", "1");
    let second = rig.notify("d", "2");
    assert_eq!(rig.said(id).len(), 0);
    rig.house.answer(asked, 200, b"");
    assert_eq!(rig.said(id)[1..], ["NF#1", "NF#2"]);
    for ticket in [first, second] {
        rig.house.text(id, "NO");
        assert_eq!(rig.answers(), [(ticket, 200)]);
    }
    rig.house.pass(10_000);
    assert_eq!(rig.answers(), []);
    // … or it is no …
    rig.call(
        id,
        "2",
        "POST",
        "/r",
        json!({"x-ca-websocket_api_type": "UNREGISTER"}),
    );
    let asked = rig.asked();
    rig.house.answer(asked, 200, b"");
    let asked = ask(&mut rig);
    let refused = rig.notify("d", "3");
    rig.house.answer(asked, 401, b"");
    assert_eq!(rig.answers(), [(refused, 404)]);
    // … or it waits for us.
    let asked = ask(&mut rig);
    let late = rig.notify("d", "4");
    rig.house.pass(99);
    assert_eq!(rig.answers(), []);
    rig.house.pass(1);
    assert_eq!(rig.answers(), [(late, 404)]);
    let lost = rig.notify("d", "5");
    rig.house.leave(id);
    rig.house.answer(asked, 200, b"");
    assert_eq!(rig.answers(), [(lost, 404)]);
    rig.refused("apigw_notify_nobody", 3);
    rig.everybody_leaves();
}
