//! The node goes, and comes back or does not.

use super::*;

#[test]
fn et_9_clients_keep_their_subscriptions_while_the_node_is_away() {
    let mut rig = Rig::open();
    let (a, b) = (rig.join(), rig.join());
    let (id_a, id_b) = (rig.subscribes(a), rig.subscribes(b));
    rig.says(a, &call("5", "eth_a"));
    rig.says(a, &format!("[{}]", call("6", "eth_b")));
    rig.node_goes();
    let lost = "the connection to the node was lost, the call may have been executed";
    let expected = [
        error("5", -32000, lost),
        format!("[{}]", error("6", -32000, lost)),
    ];
    assert_eq!(rig.got(a), expected);
    let away = "no backend is currently healthy to serve traffic";
    assert_eq!(rig.reply(a, &call("7", "eth_a")), error("7", -32011, away));
    assert_eq!(rig.reply(b, HEADS), error("1", -32011, away));
    rig.house.pass(250);
    rig.node_opens();
    let (own, asked) = rig.question();
    assert!(asked.contains("eth_subscribe"), "{asked}");
    rig.node_answers(&own, "\"0xnew\"");
    assert_eq!((rig.got(a), rig.got(b)), (vec![], vec![]));
    rig.node_says(&news("0xfeed", "0"));
    rig.node_says(&news("0xnew", "1"));
    assert_eq!(rig.one(a), news(&id_a, "1"));
    assert_eq!(rig.one(b), news(&id_b, "1"));
    rig.house.pass(200_000);
    assert_eq!((rig.house.closed(a), rig.house.closed(b)), (None, None));
    rig.ends();
}

#[test]
fn dialling_backs_off_and_goes_through_the_endpoints() {
    let mut rig = Rig::with(JsonRpcOptions {
        upstream: endpoints(&["ws://one:1", "ipc:/two", "ws://three:3"]),
        away_ms_max: 0,
        ..options()
    });
    let client = rig.join();
    rig.says(client, &call("1", "eth_a"));
    let mut gaps = Vec::new();
    for round in 0..12 {
        for expected in ["ws://one:1", "unix:/two", "ws://three:3"] {
            let mut dialled = rig.house.dialled();
            let mut waited = 0;
            while dialled.is_empty() {
                rig.house.pass(5);
                waited += 5;
                dialled = rig.house.dialled();
            }
            assert_eq!(dialled[0].target.to_string(), expected);
            if waited > 0 {
                gaps.push(waited);
            }
            rig.house.link_ends(&dialled[0], LinkEnd::Unreachable);
        }
        let answers = rig.got(client).len();
        assert_eq!(answers, usize::from(round == 0), "it waits for one round");
    }
    assert_eq!(gaps.len(), 11);
    for (round, gap) in gaps.iter().enumerate() {
        let most = (500_u64 << round).min(30_000);
        assert!((most / 2..=most + 10).contains(gap), "{round}: {gap}");
    }
    assert_eq!(rig.house.closed(client), None);
    rig.ends();
}

#[test]
fn the_next_endpoint_takes_over() {
    let mut rig = Rig::open_with(JsonRpcOptions {
        upstream: endpoints(&["ws://one:1", "ipc:/two"]),
        ..options()
    });
    let client = rig.join();
    let id = rig.subscribes(client);
    rig.node_goes();
    rig.house.pass(250);
    let node = rig.house.dialled().remove(0);
    assert_eq!(node.target.to_string(), "unix:/two");
    rig.house.link_opens(&node);
    rig.node = Some(node);
    let (own, _) = rig.question();
    rig.node_answers(&own, "\"0xfeed\"");
    rig.head(1);
    assert_eq!(rig.one(client), news(&id, r#"{"number":"0x1"}"#));
    rig.ends();
}

#[test]
fn clients_are_closed_when_the_node_stays_away() {
    let mut rig = Rig::open();
    let (a, b) = (rig.join(), rig.join());
    rig.subscribes(a);
    rig.node_goes();
    let mut passed = 0;
    while passed < 59_990 {
        rig.house.pass(10);
        passed += 10;
        for node in rig.house.dialled() {
            rig.house.link_ends(&node, LinkEnd::Unreachable);
        }
    }
    assert_eq!((rig.house.closed(a), rig.house.closed(b)), (None, None));
    rig.house.pass(10);
    let expected = Some(CloseCode::TRY_LATER);
    assert_eq!(
        (rig.house.closed(a), rig.house.closed(b)),
        (expected, expected)
    );
    // Nobody is there: nobody is dialled, until somebody comes.
    for node in rig.house.dialled() {
        rig.house.link_ends(&node, LinkEnd::Unreachable);
    }
    rig.house.pass(100_000);
    assert!(rig.house.dialled().is_empty());
    let client = rig.join();
    rig.says(client, &call("1", "eth_a"));
    rig.node_opens();
    let (own, _) = rig.question();
    rig.node_answers(&own, "1");
    assert_eq!(rig.one(client), result("1", "1"));
    rig.ends();
}

#[test]
fn a_node_that_does_not_renew_a_subscription_costs_its_clients_the_connection() {
    let mut rig = Rig::open();
    let (a, b) = (rig.join(), rig.join());
    rig.subscribes(a);
    rig.node_goes();
    rig.house.pass(250);
    rig.node_opens();
    let (own, _) = rig.question();
    // Somebody new wants it meanwhile.
    rig.says(b, HEADS);
    rig.node_says(&error(&own, -32601, "notifications not supported"));
    assert_eq!(rig.house.closed(a), Some(CloseCode::TRY_LATER));
    assert_eq!(rig.house.closed(b), None);
    assert_eq!(
        rig.one(b),
        error("1", -32601, "notifications not supported")
    );
    rig.ends();
}

#[test]
fn a_link_that_is_lost_again_and_again_is_harmless() {
    let mut rig = Rig::open();
    let client = rig.join();
    let id = rig.subscribes(client);
    for round in 0..5 {
        rig.node_goes();
        rig.house.pass(500);
        rig.node_opens();
        let (own, _) = rig.question();
        if round % 2 == 0 {
            rig.node_answers(&own, "\"0xfeed\"");
            rig.head(round);
            let expected = news(&id, &format!(r#"{{"number":"{round:#x}"}}"#));
            assert_eq!(rig.one(client), expected);
        }
    }
    assert_eq!(rig.house.closed(client), None);
    rig.ends();
}

#[test]
fn a_batch_with_a_subscription_survives_the_loss_of_its_feed() {
    let mut rig = Rig::open();
    let (a, b) = (rig.join(), rig.join());
    rig.subscribes(a);
    rig.says(b, &format!("[{HEADS},{}]", call("2", "eth_a")));
    rig.node_goes();
    let lost = "the connection to the node was lost, the call may have been executed";
    let away = "no backend is currently healthy to serve traffic";
    let expected = [error("1", -32011, away), error("2", -32000, lost)];
    assert_eq!(rig.one(b), format!("[{}]", expected.join(",")));
    rig.ends();
}

#[test]
fn the_node_is_left_alone_when_nobody_is_there() {
    let mut rig = Rig::open();
    rig.node_goes();
    rig.house.pass(100_000);
    assert!(rig.house.dialled().is_empty());
    rig.ends();
}

/// A head of this number.
fn head(number: u64) -> String {
    format!("{{\"parentHash\":\"0xp\",\"number\":\"0x{number:x}\",\"hash\":\"0xh\"}}")
}

/// The same as a block of the node, which has more to say.
fn block(number: u64) -> String {
    format!(
        "{{\"hash\":\"0xh\",\"number\":\"0x{number:x}\",\"parentHash\":\"0xp\",\"transactions\":[\"0x1\"],\"size\":\"0x9\"}}"
    )
}

/// A client of heads, of which the last was number 5, on a node that went away and came back.
fn after_an_outage(most: u64) -> (Rig, Id, String) {
    let mut rig = Rig::open_with(JsonRpcOptions {
        gap_heads_max: most,
        ..options()
    });
    let client = rig.join();
    let id = rig.subscribes(client);
    rig.node_says(&news("0xfeed", &head(5)));
    assert_eq!(rig.one(client), news(&id, &head(5)));
    rig.node_goes();
    rig.house.pass(250);
    rig.node_opens();
    let (own, _) = rig.question();
    rig.node_answers(&own, "\"0xnew\"");
    (rig, client, id)
}

#[test]
fn heads_that_were_missed_are_told_in_their_order() {
    let (mut rig, client, id) = after_an_outage(10);
    rig.node_says(&news("0xnew", &head(8)));
    for number in [6, 7] {
        let (own, asked) = rig.question();
        let params = format!("\"eth_getBlockByNumber\",\"params\":[\"0x{number:x}\",false]");
        assert!(asked.contains(&params), "{asked}");
        if number == 6 {
            // The next one comes meanwhile, and waits too.
            rig.node_says(&news("0xnew", &head(9)));
            assert_eq!(rig.got(client), [""; 0]);
        }
        rig.node_answers(&own, &block(number));
    }
    let expected = [6, 7, 8, 9].map(|number| news(&id, &head(number)));
    assert_eq!(rig.got(client), expected);
    rig.node_says(&news("0xnew", &head(12)));
    assert_eq!(
        rig.one(client),
        news(&id, &head(12)),
        "a jump of the node's own"
    );
    rig.ends();
}

#[test]
fn a_gap_is_filled_as_far_as_is_allowed_and_possible() {
    // Two at most: the newest.
    let (mut rig, client, id) = after_an_outage(2);
    rig.node_says(&news("0xnew", &head(20)));
    let (own, asked) = rig.question();
    assert!(asked.contains("\"0x12\""), "{asked}");
    rig.node_answers(&own, &block(18));
    let (own, _) = rig.question();
    // The node does not have it.
    rig.node_answers(&own, "null");
    let expected = [18, 20].map(|number| news(&id, &head(number)));
    assert_eq!(rig.got(client), expected);
    rig.ends();
    // The node goes away again meanwhile.
    let (mut rig, client, id) = after_an_outage(10);
    rig.node_says(&news("0xnew", &head(8)));
    rig.question();
    rig.node_goes();
    assert_eq!(
        rig.one(client),
        news(&id, &head(8)),
        "what it has said is told"
    );
    rig.ends();
    // Nothing was missed, or nobody knows: nothing is asked.
    let (mut rig, client, id) = after_an_outage(10);
    rig.node_says(&news("0xnew", &head(6)));
    assert_eq!(rig.one(client), news(&id, &head(6)));
    rig.ends();
}
