//! The scenarios that the dialect is accepted by: calls, batches and subscriptions.

use std::time::{Duration, Instant};

use dunlin::net::Received;
use dunlin::{CloseCode, Message};
use serde_json::{Value, json};

use crate::chain::{TOKENS, TRANSFER};
use crate::gateway::{Gateway, Wallet, error, number};
use crate::node::{Deed, Node};
use crate::support::eventually;

const NOT_FOUND: (i64, &str) = (-32000, "subscription not found");

fn is(error: (i64, String), expected: (i64, &str)) {
    assert_eq!((error.0, error.1.as_str()), expected);
}

/// Many who have subscribed to heads, with the names of their subscriptions.
fn watchers(gateway: &Gateway, number: usize) -> Vec<(Wallet, String)> {
    (0..number)
        .map(|_| {
            let mut wallet = gateway.connect();
            let name = wallet.heads();
            (wallet, name)
        })
        .collect()
}

#[test]
fn et_1_a_hundred_clients_are_one_subscription() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut all = watchers(&gateway, 100);
    let names: std::collections::BTreeSet<_> = all.iter().map(|(_, name)| name).collect();
    assert_eq!(names.len(), 100);
    let numbers: Vec<u64> = (0..5).map(|_| node.mine()).collect();
    for (wallet, name) in &mut all {
        for number in &numbers {
            assert_eq!(wallet.head(name), *number);
        }
        wallet.hears_nothing();
    }
    assert_eq!(node.count("eth_subscribe"), 1);
    assert_eq!(node.opened(), 1);
    gateway.stop();
}

/// A head arrives as the node has written it, byte for byte.
#[test]
fn et_1_a_head_is_passed_on_as_it_is() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    let name = wallet.heads();
    node.mine();
    let header = node.chain(|chain| chain.head().header.clone());
    assert_eq!(
        wallet.text(),
        format!(
            r#"{{"jsonrpc":"2.0","method":"eth_subscription","params":{{"subscription":"{name}","result":{header}}}}}"#
        )
    );
    gateway.stop();
}

#[test]
fn et_2_one_client_subscribes_twice() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    let names = [wallet.heads(), wallet.heads()];
    assert_ne!(names[0], names[1]);
    for _ in 0..3 {
        let number = node.mine();
        let mut of = [wallet.news(), wallet.news()];
        of.sort_by_key(|(name, _)| *name != names[0]);
        for ((name, head), expected) in of.iter().zip(&names) {
            assert_eq!(name, expected);
            assert_eq!(self::number(&head["number"]), number);
        }
    }
    wallet.unsubscribe(&names[0]);
    let number = node.mine();
    assert_eq!(wallet.head(&names[1]), number);
    wallet.hears_nothing();
    assert_eq!(node.count("eth_subscribe"), 1);
    assert_eq!(node.count("eth_unsubscribe"), 0);
    gateway.stop();
}

#[test]
fn et_3_the_last_one_to_leave_ends_it_after_a_while() {
    let node = Node::start();
    let gateway = Gateway::start_with(&[node.ws()], "linger_ms = 300");
    let mut all = watchers(&gateway, 100);
    let (mut last, last_name) = all.pop().unwrap();
    for (n, (mut wallet, name)) in all.into_iter().enumerate() {
        match n % 3 {
            0 => wallet.unsubscribe(&name),
            1 => wallet.client.close(CloseCode::NORMAL, "").unwrap(),
            // Gone without a word.
            _ => {}
        }
    }
    gateway.await_sessions(1);
    // Longer than it would linger, and everybody has left but one.
    std::thread::sleep(Duration::from_millis(500));
    let number = node.mine();
    assert_eq!(last.head(&last_name), number);
    assert_eq!(node.count("eth_unsubscribe"), 0);
    let left = Instant::now();
    last.unsubscribe(&last_name);
    node.await_count("eth_unsubscribe", 1);
    assert!(left.elapsed() >= Duration::from_millis(250));
    node.await_subscriptions(0);
    node.mine();
    last.hears_nothing();
    assert_eq!(node.count("eth_unsubscribe"), 1);
    // And it begins anew.
    let name = last.heads();
    let number = node.mine();
    assert_eq!(last.head(&name), number);
    assert_eq!(node.count("eth_subscribe"), 2);
    gateway.stop();
}

/// Whoever comes back before the time is up finds the node's subscription as it was.
#[test]
fn et_3_it_lingers_for_those_who_come_back() {
    let node = Node::start();
    let gateway = Gateway::start_with(&[node.ws()], "linger_ms = 60000");
    for _ in 0..3 {
        let mut wallet = gateway.connect();
        let name = wallet.heads();
        let number = node.mine();
        assert_eq!(wallet.head(&name), number);
        drop(wallet);
        gateway.await_sessions(0);
    }
    assert_eq!(node.count("eth_subscribe"), 1);
    assert_eq!(node.count("eth_unsubscribe"), 0);
    gateway.stop();
}

#[test]
fn et_4_nobody_ends_the_subscription_of_another() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut all = watchers(&gateway, 2);
    let (mut second, second_name) = all.pop().unwrap();
    let (mut first, first_name) = all.pop().unwrap();
    is(
        second.error("eth_unsubscribe", &json!([first_name])),
        NOT_FOUND,
    );
    // Not the node's own name either, whatever it is, and no name at all.
    is(second.error("eth_unsubscribe", &json!(["0x1"])), NOT_FOUND);
    is(second.error("eth_unsubscribe", &json!([""])), NOT_FOUND);
    second.unsubscribe(&second_name);
    is(
        second.error("eth_unsubscribe", &json!([second_name])),
        NOT_FOUND,
    );
    let number = node.mine();
    assert_eq!(first.head(&first_name), number);
    second.hears_nothing();
    gateway.stop();
}

#[test]
fn et_5_ids_come_back_as_they_were_written() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    for id in [
        "1",
        "\"1\"",
        "null",
        "1.0",
        "1e3",
        "-0",
        "123456789012345678901234567890",
        "\"0ac4d4a6-9a4b-4d13-9a9b-8d2f6a1f3c55\"",
        r#""\u0041\/é""#,
        "true",
    ] {
        for method in ["test_echo", "eth_chainId"] {
            let call = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":[]}}"#);
            let result = if method == "test_echo" {
                "[]"
            } else {
                "\"0x539\""
            };
            let expected = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
            assert_eq!(wallet.ask(&call), expected);
            let answer = gateway.post(&call);
            assert_eq!((answer.status, answer.body), (200, expected.into_bytes()));
        }
    }
    gateway.stop();
}

#[test]
fn et_5_equal_ids_in_flight_are_both_answered() {
    let node = Node::start_as(|asked| match asked.method.as_str() {
        "test_echo" => Deed::Hold,
        _ => Deed::Usual,
    });
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallets = [gateway.connect(), gateway.connect()];
    for wallet in &mut wallets {
        for n in 0..2 {
            wallet.say(&format!(
                r#"{{"jsonrpc":"2.0","id":7,"method":"test_echo","params":[{n}]}}"#
            ));
        }
    }
    node.await_held(4);
    node.release(true);
    for wallet in &mut wallets {
        let mut answers = [wallet.text(), wallet.text()];
        answers.sort();
        for (n, answer) in answers.iter().enumerate() {
            assert_eq!(
                *answer,
                format!(r#"{{"jsonrpc":"2.0","id":7,"result":[{n}]}}"#)
            );
        }
    }
    let asked = node.asked("test_echo");
    let ids: std::collections::BTreeSet<_> = asked.iter().map(|a| a.id.to_string()).collect();
    assert_eq!(ids.len(), 4, "the node was asked under different ids");
    gateway.stop();
}

#[test]
fn et_6_binary_is_answered_with_text() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    for (call, expected) in [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"test_echo","params":["é"]}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":["é"]}"#,
        ),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"test_echo","params":[1]}]"#,
            r#"[{"jsonrpc":"2.0","id":1,"result":[1]}]"#,
        ),
        (
            "[]",
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"empty batch"}}"#,
        ),
    ] {
        wallet
            .client
            .send(Message::Binary(call.as_bytes()))
            .unwrap();
        // `text` takes nothing else.
        assert_eq!(wallet.text(), expected);
    }
    gateway.stop();
}

#[test]
fn et_8_a_batch_is_answered_in_its_order() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    let batch = json!([
        {"jsonrpc": "2.0", "id": "a", "method": "test_echo", "params": [1]},
        {"jsonrpc": "2.0", "id": "b", "method": "eth_subscribe", "params": ["newHeads"]},
        {"jsonrpc": "2.0", "id": "c", "method": "eth_chainId", "params": []},
    ]);
    let answers: Value = serde_json::from_str(&wallet.ask(&batch.to_string())).unwrap();
    assert_eq!(
        answers[0],
        json!({"jsonrpc": "2.0", "id": "a", "result": [1]})
    );
    assert_eq!(answers[1]["id"], "b");
    assert_eq!(
        answers[2],
        json!({"jsonrpc": "2.0", "id": "c", "result": "0x539"})
    );
    assert_eq!(answers.as_array().unwrap().len(), 3);
    let name = answers[1]["result"].as_str().unwrap().to_owned();
    let number = node.mine();
    assert_eq!(wallet.head(&name), number);

    // Notifications alone are done and not answered.
    let silent = r#"{"jsonrpc":"2.0","method":"test_number","params":[]}"#;
    wallet.say(&format!("[{silent},{silent}]"));
    wallet.say(silent);
    wallet.hears_nothing();
    node.await_count("test_number", 3);

    // A batch without anything of ours goes as one, and comes back as one.
    let plain = r#"[{"jsonrpc":"2.0","id":1,"method":"test_number"},{"jsonrpc":"2.0","method":"test_number"},{"jsonrpc":"2.0","id":2,"method":"test_number"}]"#;
    assert_eq!(
        wallet.ask(plain),
        r#"[{"jsonrpc":"2.0","id":1,"result":4},{"jsonrpc":"2.0","id":2,"result":6}]"#
    );
    assert!(
        node.asked("test_number")[3..]
            .iter()
            .all(|asked| asked.batch)
    );
    gateway.stop();
}

#[test]
fn et_8_a_batch_may_have_a_thousand_calls() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    let batch = |calls: std::ops::Range<usize>| {
        let calls: Vec<String> = calls
            .map(|n| format!(r#"{{"jsonrpc":"2.0","id":{n},"method":"test_echo","params":[{n}]}}"#))
            .collect();
        format!("[{}]", calls.join(","))
    };
    let answers: Value = serde_json::from_str(&wallet.ask(&batch(5..1005))).unwrap();
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 1000);
    for (n, answer) in (5..).zip(answers) {
        assert_eq!(*answer, json!({"jsonrpc": "2.0", "id": n, "result": [n]}));
    }
    let too_large =
        r#"[{"jsonrpc":"2.0","id":5,"error":{"code":-32600,"message":"batch too large"}}]"#;
    assert_eq!(wallet.ask(&batch(5..1006)), too_large);
    assert_eq!(gateway.post(&batch(5..1006)).body, too_large.as_bytes());
    assert_eq!(node.count("test_echo"), 1000);
    gateway.stop();
}

#[test]
fn et_9_clients_stay_while_the_node_is_away() {
    let mut node = Node::start_as(|asked| match asked.method.as_str() {
        "test_number" => Deed::Never,
        _ => Deed::Usual,
    });
    let gateway = Gateway::start(&[node.ws()]);
    let mut all = watchers(&gateway, 10);
    let logs = all[0].0.subscribe(&json!(["logs", {"address": TOKENS[1]}]));
    let before = node.mine();
    for (wallet, name) in &mut all {
        assert_eq!(wallet.head(name), before);
        wallet.call("test_number", &json!([]));
    }
    assert_eq!(all[0].0.news().0, logs);
    node.await_count("test_number", 10);

    node.kill();
    // What was under way fails.
    for (wallet, _) in &mut all {
        let (code, why) = error(&wallet.answer());
        assert_eq!(code, -32000, "{why}");
    }
    // And so does what is asked now, once it is known that nobody is there.
    let (wallet, _) = &mut all[1];
    let expected = (-32011, "no backend is currently healthy to serve traffic");
    is(wallet.error("test_echo", &json!([])), expected);
    assert_eq!(node.count("test_echo"), 0);

    node.revive();
    node.await_subscriptions(2);
    let after = node.mine();
    assert_eq!(after, before + 1);
    for (n, (wallet, name)) in all.iter_mut().enumerate() {
        assert_eq!(wallet.head(name), after);
        if n == 0 {
            let (name, log) = wallet.news();
            assert_eq!((name, number(&log["blockNumber"])), (logs.clone(), after));
        }
        wallet.hears_nothing();
    }
    let kinds: Vec<_> = node
        .asked("eth_subscribe")
        .iter()
        .map(|asked| asked.params[0].clone())
        .collect();
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    // The names are the ones they had.
    for (wallet, name) in &mut all {
        wallet.unsubscribe(name);
    }
    gateway.stop();
}

#[test]
fn et_10_the_answer_comes_before_the_news() {
    let node = Node::start_as(|asked| match asked.method.as_str() {
        "eth_subscribe" => Deed::MineFirst,
        _ => Deed::Usual,
    });
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    let id = wallet.call("eth_subscribe", &json!(["newHeads"]));
    let first: Value = serde_json::from_str(&wallet.text()).unwrap();
    assert_eq!(first["id"], id, "{first}");
    let name = first["result"].as_str().unwrap().to_owned();
    // What came with it is not lost.
    let head = node.chain(|chain| chain.head().number);
    assert_eq!(wallet.head(&name), head);
    let number = node.mine();
    assert_eq!(wallet.head(&name), number);
    gateway.stop();
}

#[test]
fn et_11_one_filter_in_many_spellings_is_one_subscription() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    let upper = TOKENS.map(|token| format!("0x{}", token[2..].to_uppercase()));
    let filters = [
        json!({"address": [TOKENS[0], TOKENS[1]], "topics": [TRANSFER]}),
        json!({"topics": [[TRANSFER]], "address": [TOKENS[1], TOKENS[0]]}),
        json!({"address": [upper[1], upper[0]], "topics": [TRANSFER]}),
        json!({"address": [upper[0], TOKENS[1], TOKENS[0]], "topics": [[TRANSFER, TRANSFER]]}),
    ];
    let mut names: Vec<_> = filters
        .iter()
        .map(|filter| wallet.subscribe(&json!(["logs", filter])))
        .collect();
    assert_eq!(node.count("eth_subscribe"), 1);
    node.mine();
    let mut told: Vec<String> = (0..12).map(|_| wallet.news().0).collect();
    told.sort();
    told.dedup();
    names.sort();
    assert_eq!(told, names);
    wallet.hears_nothing();
    // Another filter is another subscription, and hears what it asked for.
    let other = wallet.subscribe(&json!(["logs", {"address": upper[1]}]));
    assert_eq!(node.count("eth_subscribe"), 2);
    for name in &names {
        wallet.unsubscribe(name);
    }
    node.mine();
    let (name, log) = wallet.news();
    assert_eq!((name, &log["address"]), (other, &json!(TOKENS[1])));
    wallet.hears_nothing();
    gateway.stop();
}

/// Every kind of subscription passes through, and a reorganisation with its removed logs.
#[test]
fn every_kind_of_subscription() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();

    let pending = wallet.subscribe(&json!(["newPendingTransactions"]));
    let whole = wallet.subscribe(&json!(["newPendingTransactions", true]));
    let hash = node.pend();
    let mut told = [wallet.news(), wallet.news()];
    told.sort_by_key(|(name, _)| *name != pending);
    assert_eq!(told[0], (pending.clone(), json!(hash)));
    assert_eq!((&told[1].0, &told[1].1["hash"]), (&whole, &json!(hash)));
    wallet.unsubscribe(&pending);
    wallet.unsubscribe(&whole);

    let syncing = wallet.subscribe(&json!(["syncing"]));
    node.sync(true);
    let (name, status) = wallet.news();
    assert_eq!((name, &status["syncing"]), (syncing.clone(), &json!(true)));
    node.sync(false);
    assert_eq!(wallet.news(), (syncing.clone(), json!(false)));
    wallet.unsubscribe(&syncing);

    let receipts = wallet.subscribe(&json!(["transactionReceipts", {"transactionHashes": []}]));
    node.mine();
    let (name, all) = wallet.news();
    assert_eq!((name, all.as_array().unwrap().len()), (receipts.clone(), 3));
    wallet.unsubscribe(&receipts);

    let heads = wallet.heads();
    let logs = wallet.subscribe(&json!(["logs", {"address": TOKENS[1]}]));
    let head = node.reorganise(2);
    let mut seen = Vec::new();
    for _ in 0..8 {
        let (name, news) = wallet.news();
        if name == heads {
            seen.push(format!("head {}", head - number(&news["number"])));
        } else {
            assert_eq!(name, logs);
            let back = head - number(&news["blockNumber"]);
            seen.push(format!("{} {back}", news["removed"]));
        }
    }
    assert_eq!(
        seen,
        [
            "true 2", "true 1", "head 2", "false 2", "head 1", "false 1", "head 0", "false 0"
        ]
    );
    wallet.hears_nothing();
    gateway.stop();
}

/// Everybody whose node stays away is told to go and look for another one.
#[test]
fn et_9_heads_that_were_missed_are_told_if_that_is_wanted() {
    let mut node = Node::start();
    let gateway = Gateway::start_with(&[node.ws()], "gap_heads_max = 10");
    let mut all = watchers(&gateway, 10);
    let before = node.mine();
    for (wallet, name) in &mut all {
        assert_eq!(wallet.head(name), before);
    }
    node.kill();
    node.silently_mine(3);
    node.revive();
    node.await_subscriptions(1);
    let after = node.mine();
    assert_eq!(after, before + 4);
    for (wallet, name) in &mut all {
        for number in before + 1..=after {
            let (of, head) = wallet.news();
            assert_eq!((&of, self::number(&head["number"])), (&*name, number));
            assert!(head.get("transactions").is_none() && head["logsBloom"].is_string());
        }
        wallet.hears_nothing();
    }
    assert_eq!(node.count("eth_getBlockByNumber"), 3);
}

#[test]
fn et_9_a_node_that_stays_away_ends_its_clients() {
    let mut node = Node::start();
    let gateway = Gateway::start_with(&[node.ws()], "away_ms_max = 500");
    let mut all = watchers(&gateway, 10);
    node.kill();
    let gone = Instant::now();
    for (wallet, _) in &mut all {
        let code = loop {
            match wallet.client.receive().unwrap() {
                Received::Closed(code, _) => break code,
                Received::Text(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(code, CloseCode::TRY_LATER);
    }
    assert!(gone.elapsed() >= Duration::from_millis(450));
    // Whoever comes now is not turned away, but told what is the matter; and at the next failure, where to go.
    assert_eq!(gateway.connect().error("test_echo", &json!([])).0, -32011);
    node.revive();
    eventually("a node", || {
        let mut wallet = gateway.connect();
        wallet.call("test_echo", &json!([]));
        match wallet.client.receive().unwrap() {
            Received::Text(text) => text.contains("result").then_some(()),
            _ => None,
        }
    });
    gateway.stop();
}
