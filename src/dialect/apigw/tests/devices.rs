//! Words, takeovers, heartbeats, and who is told to go.

use serde_json::json;

use super::{Rig, options};
use crate::dialect::apigw::ApiGatewayOptions;
use crate::dialect::testing::START_UNIX_MS;
use crate::ws::CloseCode;

#[test]
fn al_1_and_al_2_a_device_says_who_it_is() {
    let mut rig = Rig::new();
    let id = rig.stranger();
    rig.house.text(id, "RG#0a1b2c3d@12344133");
    assert_eq!(rig.said(id), [format!("RO#{START_UNIX_MS}#25000")]);
    rig.house.text(id, "H1");
    rig.house.text(id, "");
    rig.house.text(id, "H1");
    let heard = format!("HO#{START_UNIX_MS}");
    assert_eq!(rig.said(id), [heard.clone(), heard]);
    // The same again is the same; another is not.
    rig.house.text(id, "RG#0a1b2c3d@12344133");
    assert_eq!(rig.said(id), [format!("RO#{START_UNIX_MS}#25000")]);
    rig.house.text(id, "RG#other");
    assert_eq!(rig.said(id), ["RF#this connection has a device already"]);
    rig.refused("apigw_device", 1);
    let next = rig.stranger();
    rig.house.text(next, "H1");
    assert_eq!(rig.said(next), [format!("HO#{}", START_UNIX_MS + 1)]);
    rig.everybody_leaves();
}

#[test]
fn al_10_what_is_no_device_is_refused_in_words() {
    let mut rig = Rig::new();
    let id = rig.stranger();
    let long = format!("RG#{}", "x".repeat(256));
    for bad in ["RG", "RG#", "RG#a#b", "RG#a b", "RG#\u{e9}", &long] {
        rig.house.text(id, bad);
        let said = rig.said(id);
        assert!(said.len() == 1 && said[0].len() > 3, "{said:?}");
        assert!(said[0].starts_with("RF#"), "{said:?}");
    }
    rig.refused("apigw_device", 6);
    rig.everybody_leaves();
}

#[test]
fn what_is_no_word_is_answered_and_counted() {
    let mut rig = Rig::new();
    let id = rig.stranger();
    for n in 0..20 {
        match n % 3 {
            0 => rig.house.text(id, "XY"),
            1 => rig.house.text(id, "[1]"),
            _ => rig.house.binary(id, b"H1"),
        }
        assert_eq!(rig.status(id), ("-".to_owned(), 400));
        assert_eq!(rig.house.closed(id), None);
    }
    rig.house.text(id, "{");
    assert_eq!(rig.house.closed(id), Some(CloseCode::POLICY));
    rig.refused("bad_messages_per_minute", 1);
    rig.everybody_leaves();
}

#[test]
fn al_12_the_newer_connection_of_a_device_takes_over() {
    let mut rig = Rig::new();
    let old = rig.registered("d");
    let new = rig.device("d");
    assert_eq!(rig.said(old), ["CR"]);
    assert_eq!(
        rig.notify_refused("d"),
        404,
        "its back end has not agreed yet"
    );
    let headers = json!({"x-ca-websocket_api_type": "REGISTER"});
    rig.call(old, "1", "POST", "/register", headers.clone());
    assert_eq!(rig.status(old), ("1".to_owned(), 400));
    rig.call(new, "2", "POST", "/register", headers);
    let asked = rig.asked();
    rig.house.answer(asked, 200, b"");
    assert_eq!(rig.status(new), ("2".to_owned(), 200));
    rig.notify("d", "hello");
    assert_eq!(
        (rig.said(old).len(), rig.said(new)),
        (0, vec!["NF#hello".to_owned()])
    );
    // The older one's time is over, and the device stays.
    rig.house.pass(9_999);
    assert_eq!(rig.house.closed(old), None);
    rig.house.pass(1);
    assert_eq!(rig.house.closed(old), Some(CloseCode::NORMAL));
    rig.notify("d", "again");
    assert_eq!(rig.said(new), ["NF#again"]);
    rig.refused("apigw_takeover", 1);
    rig.everybody_leaves();
}

#[test]
fn a_takeover_may_keep_the_registration() {
    let mut rig = Rig::with(ApiGatewayOptions {
        takeover_keeps_registration: true,
        ..options()
    });
    let old = rig.registered("d");
    let new = rig.device("d");
    rig.notify("d", "hello");
    assert_eq!(
        (rig.said(old), rig.said(new)),
        (vec!["CR".to_owned()], vec!["NF#hello".to_owned()])
    );
    let stranger = rig.device("e");
    let newer = rig.device("e");
    assert_eq!(rig.notify_refused("e"), 404);
    _ = (stranger, newer);
    rig.everybody_leaves();
}

#[test]
fn a_late_registration_of_the_older_connection_means_nothing() {
    let mut rig = Rig::new();
    let old = rig.device("d");
    rig.call(
        old,
        "1",
        "POST",
        "/r",
        json!({"x-ca-websocket_api_type": "REGISTER"}),
    );
    let asked = rig.asked();
    let new = rig.device("d");
    rig.house.answer(asked, 200, b"");
    assert_eq!(rig.notify_refused("d"), 404);
    assert_eq!(rig.said(old).len(), 2, "CR, and the answer");
    assert_eq!(rig.said(new).len(), 0);
    rig.everybody_leaves();
}

#[test]
fn al_15_silence_ends_a_connection() {
    let mut rig = Rig::new();
    let (id, other) = (rig.device("d"), rig.stranger());
    rig.house.pass(74_999);
    rig.house.text(id, "NO");
    assert_eq!(rig.house.closed(other), None);
    rig.house.pass(1);
    assert_eq!(rig.house.closed(other), Some(CloseCode::POLICY));
    rig.house.pass(74_998);
    assert_eq!(rig.house.closed(id), None);
    rig.house.pass(1);
    assert_eq!(rig.house.closed(id), Some(CloseCode::POLICY));
    rig.refused("apigw_heartbeat", 2);
    // Whoever is held back may have sent it.
    let held = rig.device("d");
    rig.house.pass(74_000);
    rig.house.hold_back(held, true);
    rig.house.pass(74_000);
    rig.house.hold_back(held, false);
    assert_eq!(rig.house.closed(held), None);
    rig.everybody_leaves();
}

#[test]
fn al_11_too_many_requests_are_told_once_and_then_cut() {
    let mut rig = Rig::with(ApiGatewayOptions {
        calls_per_second: 1,
        calls_burst: 2,
        ..options()
    });
    let id = rig.device("d");
    for seq in ["1", "2"] {
        rig.call(id, seq, "GET", "/", json!({}));
        let asked = rig.asked();
        rig.house.answer(asked, 200, b"");
        assert_eq!(rig.status(id), (seq.to_owned(), 200));
    }
    rig.call(id, "3", "GET", "/", json!({}));
    rig.nothing_asked();
    let said = rig.said(id);
    assert_eq!((said.len(), said[0].as_str()), (2, "OS"));
    assert!(said[1].contains(r#""status":429"#) && said[1].contains(r#""x-ca-seq":"3""#));
    rig.call(id, "4", "GET", "/", json!({}));
    assert_eq!(rig.status(id), ("4".to_owned(), 429));
    rig.house.pass(1_000);
    rig.call(id, "5", "GET", "/", json!({}));
    let asked = rig.asked();
    rig.house.answer(asked, 200, b"");
    assert_eq!(rig.status(id), ("5".to_owned(), 200));
    rig.house.pass(28_999);
    assert_eq!(rig.house.closed(id), None);
    rig.house.pass(1);
    assert_eq!(rig.house.closed(id), Some(CloseCode::POLICY));
    rig.refused("apigw_rate", 2);
    rig.everybody_leaves();
}

#[test]
fn al_11_a_life_has_an_end() {
    let mut rig = Rig::with(ApiGatewayOptions {
        lifetime_ms: 60_000,
        ..options()
    });
    let id = rig.device("d");
    rig.house.pass(59_999);
    assert_eq!(rig.said(id).len(), 0);
    rig.house.pass(1);
    assert_eq!(rig.said(id), ["CR"]);
    rig.house.text(id, "H1");
    assert_eq!(rig.said(id).len(), 1);
    rig.house.pass(29_999);
    assert_eq!((rig.house.closed(id), rig.said(id).len()), (None, 0));
    rig.house.pass(1);
    assert_eq!(rig.house.closed(id), Some(CloseCode::NORMAL));
    rig.everybody_leaves();
}

#[test]
fn there_is_room_for_so_many_devices() {
    let mut rig = Rig::with(ApiGatewayOptions {
        devices_max: 2,
        ..options()
    });
    let (a, _) = (rig.device("a"), rig.device("b"));
    let third = rig.stranger();
    rig.house.text(third, "RG#c");
    assert_eq!(
        rig.said(third),
        ["RF#too many devices are here (setting devices_max)"]
    );
    // Who is here already may come again.
    rig.device("b");
    rig.house.leave(a);
    rig.house.text(third, "RG#c");
    assert!(rig.said(third)[0].starts_with("RO#"));
    rig.refused("apigw_device", 1);
    rig.everybody_leaves();
}
