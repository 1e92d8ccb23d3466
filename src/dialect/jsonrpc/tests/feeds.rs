//! Shared subscriptions.

use super::*;

fn unsubscribe(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":9,"method":"eth_unsubscribe","params":["{id}"]}}"#)
}

fn not_found() -> String {
    error("9", -32000, "subscription not found")
}

const GIVEN_BACK: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"eth_unsubscribe","params":["0xfeed"]}"#;

#[test]
fn et_1_one_subscription_of_the_node_serves_a_hundred_clients() {
    let mut rig = Rig::open();
    let clients: Vec<_> = (0..100).map(|_| rig.join()).collect();
    for client in &clients {
        rig.says(*client, HEADS);
    }
    let (own, asked) = rig.question();
    assert_eq!(
        asked,
        format!(r#"{{"jsonrpc":"2.0","id":{own},"method":"eth_subscribe","params":["newHeads"]}}"#)
    );
    rig.node_answers(&own, "\"0xfeed\"");
    let mut ids = Vec::new();
    for client in &clients {
        ids.push(id_in(&rig.one(*client)));
    }
    for number in [1, 2, 2] {
        rig.head(number);
        for (client, id) in clients.iter().zip(&ids) {
            let expected = news(id, &format!(r#"{{"number":"{number:#x}"}}"#));
            assert_eq!(rig.one(*client), expected);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100);
    let late = rig.join();
    let id = rig.subscribes(late);
    rig.head(3);
    assert_eq!(rig.one(late), news(&id, r#"{"number":"0x3"}"#));
    assert_eq!(rig.asked(), [""; 0]);
    rig.ends();
}

#[test]
fn et_2_who_subscribes_twice_hears_it_twice() {
    let mut rig = Rig::open();
    let client = rig.join();
    let ids = [rig.subscribes(client), rig.subscribes(client)];
    assert_ne!(ids[0], ids[1]);
    rig.head(1);
    let expected = ids.map(|id| news(&id, r#"{"number":"0x1"}"#));
    assert_eq!(rig.got(client), expected);
    rig.ends();
}

#[test]
fn et_3_the_last_one_gives_the_subscription_back_after_a_while() {
    let mut rig = Rig::open();
    let clients: Vec<_> = (0..10).map(|_| rig.join()).collect();
    let ids: Vec<_> = clients
        .iter()
        .map(|client| rig.subscribes(*client))
        .collect();
    for (at, client) in clients.iter().enumerate().skip(1) {
        if at % 2 == 0 {
            rig.house.leave(*client);
        } else {
            let text = unsubscribe(&ids[at]);
            assert_eq!(rig.reply(*client, &text), result("9", "true"));
            assert_eq!(rig.reply(*client, &text), not_found());
        }
    }
    rig.house.pass(100_000);
    assert_eq!(rig.asked(), [""; 0]);
    rig.house.leave(clients[0]);
    rig.house.pass(29_999);
    // Somebody comes back in time.
    let client = rig.join();
    let id = rig.subscribes(client);
    rig.house.pass(100_000);
    rig.head(1);
    assert_eq!(rig.one(client), news(&id, r#"{"number":"0x1"}"#));
    assert_eq!(rig.asked(), [""; 0]);
    assert_eq!(rig.reply(client, &unsubscribe(&id)), result("9", "true"));
    rig.head(2);
    assert_eq!(rig.got(client), [""; 0]);
    rig.house.pass(29_999);
    assert_eq!(rig.asked(), [""; 0]);
    rig.house.pass(1);
    assert_eq!(rig.asked(), [GIVEN_BACK]);
    rig.house.pass(100_000);
    assert_eq!(rig.asked(), [""; 0]);
    // And anew.
    rig.says(client, HEADS);
    let (own, _) = rig.question();
    rig.node_answers(&own, "\"0xfeed\"");
    rig.one(client);
    rig.ends();
}

#[test]
fn et_4_nobody_ends_the_subscription_of_another() {
    let mut rig = Rig::open();
    let (a, b) = (rig.join(), rig.join());
    let id = rig.subscribes(a);
    assert_eq!(rig.reply(b, &unsubscribe(&id)), not_found());
    assert_eq!(rig.reply(a, &unsubscribe("0xfeed")), not_found());
    rig.head(1);
    assert_eq!(rig.one(a), news(&id, r#"{"number":"0x1"}"#));
    assert_eq!(rig.got(b), [""; 0]);
    rig.ends();
}

#[test]
fn et_10_the_answer_comes_before_the_first_news() {
    let mut rig = Rig::open();
    let (a, b) = (rig.join(), rig.join());
    rig.says(a, HEADS);
    rig.says(b, &format!("[{HEADS}]"));
    let (own, _) = rig.question();
    rig.head(1);
    rig.node_says(&news("0xelse", "0"));
    rig.head(2);
    assert_eq!((rig.got(a), rig.got(b)), (vec![], vec![]));
    rig.node_answers(&own, "\"0xfeed\"");
    rig.head(3);
    for (client, is_batch) in [(a, false), (b, true)] {
        let got = rig.got(client);
        let answer = &got[0];
        let answer = match is_batch {
            true => answer.trim_matches(['[', ']']),
            false => answer,
        };
        let id = id_in(answer);
        let expected = [1, 2, 3].map(|n| news(&id, &format!(r#"{{"number":"{n:#x}"}}"#)));
        assert_eq!(got[1..], expected);
    }
    rig.ends();
}

#[test]
fn news_that_come_too_early_are_bounded() {
    let mut rig = Rig::open();
    let client = rig.join();
    rig.says(client, HEADS);
    let (own, _) = rig.question();
    for number in 0..300 {
        rig.head(number);
    }
    rig.node_answers(&own, "\"0xfeed\"");
    assert_eq!(rig.got(client).len(), 1 + 256);
    rig.head(1);
    rig.one(client);
    rig.ends();
}

#[test]
fn et_11_filters_that_mean_the_same_share_a_subscription() {
    let mut rig = Rig::open();
    let client = rig.join();
    let (a, b) = (
        "0x".to_owned() + &"a".repeat(40),
        "0x".to_owned() + &"b".repeat(40),
    );
    let logs = |filter: String| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["logs",{filter}]}}"#)
    };
    rig.says(client, &logs(format!(r#"{{"address":["{b}","{a}"]}}"#)));
    let (own, asked) = rig.question();
    assert!(
        asked.contains(&format!(r#""params":["logs",{{"address":["{a}","{b}"]}}]"#)),
        "{asked}"
    );
    rig.node_answers(&own, "\"0x1065\"");
    let first = id_in(&rig.one(client));
    let upper = format!("0x{}", "A".repeat(40));
    let second = rig.reply(
        client,
        &logs(format!(
            r#"{{"topics":[],"address":["{upper}","{b}","{a}"]}}"#
        )),
    );
    let second = id_in(&second);
    assert_eq!(rig.asked(), [""; 0]);
    rig.node_says(&news("0x1065", "{\"removed\":true}"));
    let expected = [first, second].map(|id| news(&id, "{\"removed\":true}"));
    assert_eq!(rig.got(client), expected);
    rig.says(client, &logs(format!(r#"{{"address":"{a}"}}"#)));
    let (own, _) = rig.question();
    rig.node_says(&error(&own, -32000, "exceed max topics"));
    assert_eq!(rig.one(client), error("1", -32000, "exceed max topics"));
    rig.ends();
}

#[test]
fn a_refusal_of_the_node_reaches_all_who_wait() {
    let mut rig = Rig::open();
    let (a, b) = (rig.join(), rig.join());
    rig.says(a, HEADS);
    rig.says(b, HEADS);
    let (own, _) = rig.question();
    rig.node_says(&error(&own, -32601, "no"));
    assert_eq!(rig.one(a), error("1", -32601, "no"));
    assert_eq!(rig.one(b), error("1", -32601, "no"));
    assert_eq!((rig.house.closed(a), rig.house.closed(b)), (None, None));
    // Nothing is left of it: the next one asks again.
    rig.says(a, HEADS);
    let (own, _) = rig.question();
    rig.node_answers(&own, "\"0xfeed\"");
    rig.one(a);
    rig.ends();
}

#[test]
fn wrong_subscriptions_are_refused_without_the_node() {
    let mut rig = Rig::open();
    let client = rig.join();
    for (method, params, code, message) in [
        ("eth_subscribe", "", -32602, "non-array args"),
        ("eth_subscribe", r#","params":{}"#, -32602, "non-array args"),
        (
            "eth_subscribe",
            r#","params":[]"#,
            -32602,
            "expected subscription name as first argument",
        ),
        (
            "eth_subscribe",
            r#","params":["foo"]"#,
            -32601,
            r#"no \"foo\" subscription in eth namespace"#,
        ),
        (
            "net_subscribe",
            r#","params":["foo"]"#,
            -32601,
            r#"no \"foo\" subscription in net namespace"#,
        ),
        (
            "eth_subscribe",
            r#","params":["logs"]"#,
            -32602,
            "missing value for required argument 1",
        ),
        (
            "eth_unsubscribe",
            "",
            -32602,
            "missing value for required argument 0",
        ),
        (
            "eth_unsubscribe",
            r#","params":["0x0"]"#,
            -32000,
            "subscription not found",
        ),
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"{params}}}"#);
        assert_eq!(
            rig.reply(client, &text),
            error("1", code, message),
            "{text}"
        );
    }
    // Nobody could ever end it.
    rig.says(client, &HEADS.replace("\"id\":1,", ""));
    assert_eq!((rig.asked(), rig.got(client)), (vec![], vec![]));
    rig.ends();
}

#[test]
fn subscriptions_of_a_session_and_of_all_are_bounded() {
    let mut rig = Rig::open_with(JsonRpcOptions {
        subscriptions_max: 2,
        feeds_max: 2,
        ..options()
    });
    let client = rig.join();
    let id = rig.subscribes(client);
    rig.subscribes(client);
    let limit = error("1", -32005, "limit exceeded");
    assert_eq!(rig.reply(client, HEADS), limit);
    rig.reply(client, &unsubscribe(&id));
    let syncing = HEADS.replace("newHeads", "syncing");
    rig.says(client, &syncing);
    let (own, _) = rig.question();
    rig.node_answers(&own, "\"0xb\"");
    let syncing_id = id_in(&rig.one(client));
    let other = rig.join();
    let pending = HEADS.replace("newHeads", "newPendingTransactions");
    assert_eq!(rig.reply(other, &pending), limit);
    // What only lingers makes room.
    rig.reply(client, &unsubscribe(&syncing_id));
    rig.says(other, &pending);
    let asked = rig.asked();
    assert_eq!(asked[0], GIVEN_BACK.replace("0xfeed", "0xb"));
    rig.node_answers(&own_id(&asked[1]), "\"0xc\"");
    rig.one(other);
    rig.ends();
}

#[test]
fn a_subscription_that_comes_when_nobody_waits_is_given_back() {
    let mut rig = Rig::open();
    let client = rig.join();
    rig.says(client, HEADS);
    let (own, _) = rig.question();
    rig.house.pass(25_000);
    assert_eq!(rig.one(client), error("1", -32002, "request timed out"));
    rig.node_answers(&own, "\"0xfeed\"");
    assert_eq!(rig.asked(), [GIVEN_BACK]);
    // The client goes while the node thinks about it.
    rig.says(client, HEADS);
    let (own, _) = rig.question();
    rig.house.leave(client);
    rig.node_answers(&own, "\"0xfeed\"");
    rig.house.pass(30_000);
    assert_eq!(rig.asked(), [GIVEN_BACK]);
    rig.ends();
}

#[test]
fn the_latest_number_may_come_from_the_heads() {
    let mut rig = Rig::open_with(JsonRpcOptions {
        head_number: true,
        ..options()
    });
    let client = rig.join();
    rig.subscribes(client);
    rig.says(client, &call("2", "eth_blockNumber"));
    let (own, _) = rig.question();
    rig.node_answers(&own, "\"0x6\"");
    assert_eq!(rig.one(client), result("2", "\"0x6\""));
    rig.head(7);
    rig.one(client);
    assert_eq!(
        rig.reply(client, &call("3", "eth_blockNumber")),
        result("3", "\"0x7\"")
    );
    rig.node_goes();
    let away = "no backend is currently healthy to serve traffic";
    assert_eq!(
        rig.reply(client, &call("4", "eth_blockNumber")),
        error("4", -32011, away)
    );
    rig.ends();
}

#[test]
fn news_that_nobody_can_take_close_their_subscription() {
    let mut rig = Rig::open();
    let client = rig.join();
    rig.subscribes(client);
    let large = format!("\"{}\"", "x".repeat(80 << 20));
    rig.node_says(&news("0xfeed", &large));
    assert_eq!(rig.house.closed(client), Some(CloseCode::TRY_LATER));
    rig.ends();
}
