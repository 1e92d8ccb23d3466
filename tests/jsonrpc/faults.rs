//! A node that is slow, mad, deaf, or away: its clients are told, and nobody else notices.

use std::time::{Duration, Instant};

use dunlin::net::Client;
use dunlin::{CloseCode, Message};
use serde_json::{Value, json};

use crate::gateway::{Gateway, error, number};
use crate::node::{Deed, Node};
use crate::support::{PATIENCE, eventually};

const TIMED_OUT: &str = "request timed out";

#[test]
fn a_slow_answer_is_given_up_and_comes_too_late() {
    let node = Node::start_as(|asked| match asked.method.as_str() {
        "test_number" => Deed::Hold,
        _ => Deed::Usual,
    });
    let gateway = Gateway::start_with(&[node.ws()], "call_timeout_ms = 300");
    let mut wallet = gateway.connect();
    assert_eq!(
        wallet.error("test_number", &json!([])),
        (-32002, TIMED_OUT.to_owned())
    );
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"test_number"},{"jsonrpc":"2.0","id":"x","method":"test_echo"}]"#;
    let answers: Value = serde_json::from_str(&wallet.ask(batch)).unwrap();
    assert_eq!(
        (&answers[0]["id"], &answers[1]["id"]),
        (&json!(1), &json!("x"))
    );
    assert_eq!(error(&answers[0]).0, -32002);
    node.await_held(2);
    node.release(false);
    wallet.hears_nothing();
    // The same by HTTP.
    let answer = gateway.post(r#"{"jsonrpc":"2.0","id":5,"method":"test_number"}"#);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&answer["id"], error(&answer).0), (&json!(5), -32002));
    gateway.stop();
}

#[test]
fn answers_may_come_in_any_order() {
    let node = Node::start_as(|asked| match asked.method.as_str() {
        "test_echo" if asked.params[0] == "hold" => Deed::Hold,
        _ => Deed::Usual,
    });
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallets: Vec<_> = (0..10).map(|_| gateway.connect()).collect();
    for n in 0..10 {
        for wallet in &mut wallets {
            wallet.call("test_echo", &json!(["hold", n]));
        }
    }
    node.await_held(100);
    // Whoever asks now is answered first.
    for wallet in &mut wallets {
        wallet.hears_nothing();
    }
    node.release(true);
    for wallet in &mut wallets {
        for n in (0..10).rev() {
            let answer = wallet.answer();
            assert_eq!(answer["id"], n + 1);
            assert_eq!(answer["result"], json!(["hold", n]));
        }
    }
    gateway.stop();
}

/// What is no answer to anything is no reason to fall over, nor to end what is well.
#[test]
fn junk_from_the_node_harms_nobody() {
    for (junk, ends) in [
        ("{", true),
        ("\"", true),
        ("[]", false),
        ("7", false),
        ("null", false),
        ("[[[]]]", false),
        ("{}", false),
        (r#"{"jsonrpc":"2.0"}"#, false),
        (r#"{"jsonrpc":"2.0","id":999999,"result":1}"#, false),
        (r#"{"jsonrpc":"2.0","id":"x","result":1}"#, false),
        (
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}"#,
            false,
        ),
        (r#"[{"jsonrpc":"2.0","id":4,"result":1},7,[]]"#, false),
        (r#"{"jsonrpc":"2.0","method":"eth_subscription"}"#, false),
        (
            r#"{"jsonrpc":"2.0","method":"eth_subscription","params":[1]}"#,
            false,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":7,"result":1}}"#,
            false,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x7","result":1}}"#,
            false,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#, false),
    ] {
        let node = Node::start();
        let gateway = Gateway::start(&[node.ws()]);
        let mut wallet = gateway.connect();
        let name = wallet.heads();
        node.say(junk);
        // Whether the link was given up for it or not: it is there, or there again.
        eventually(junk, || {
            wallet.call("test_echo", &json!([]));
            wallet.answer().get("result").map(drop)
        });
        node.await_subscriptions(1);
        if !ends {
            assert_eq!(node.opened(), 1, "{junk}");
        }
        let number = node.mine();
        assert_eq!(wallet.head(&name), number, "{junk}");
        wallet.hears_nothing();
        gateway.stop();
    }
}

/// An answer that is none to the call that it should be for.
#[test]
fn a_junk_answer_is_an_error_for_who_asked() {
    for junk in [
        r#"{"jsonrpc":"2.0","id":ID}"#,
        r#"{"jsonrpc":"2.0","id":ID,"error":null}"#,
        r#"{"jsonrpc":"2.0","id":ID,"error":"no"}"#,
    ] {
        let node = Node::start_as(|asked| match asked.method.as_str() {
            "test_number" => {
                let junk = asked.params[0].as_str().unwrap();
                Deed::Junk(junk.replace("ID", &asked.id.to_string()))
            }
            _ => Deed::Usual,
        });
        let gateway = Gateway::start_with(&[node.ws()], "call_timeout_ms = 2000");
        let mut wallet = gateway.connect();
        let id = wallet.call("test_number", &json!([junk]));
        let answer = wallet.answer();
        // Whatever it says, it is JSON, under the right id, and comes once.
        assert_eq!(answer["id"], id, "{answer}");
        wallet.hears_nothing();
        gateway.stop();
    }
}

#[test]
fn a_refused_subscription_is_refused_for_all_who_wait() {
    let node = Node::start_as(|asked| match asked.method.as_str() {
        "eth_subscribe" => Deed::Error(-32005, "too many subscriptions".to_owned()),
        _ => Deed::Usual,
    });
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallets: Vec<_> = (0..5).map(|_| gateway.connect()).collect();
    for wallet in &mut wallets {
        let refused = (-32005, "too many subscriptions".to_owned());
        assert_eq!(wallet.error("eth_subscribe", &json!(["newHeads"])), refused);
    }
    node.behave(|_| Deed::Usual);
    let names: Vec<_> = wallets.iter_mut().map(|wallet| wallet.heads()).collect();
    let number = node.mine();
    for (wallet, name) in wallets.iter_mut().zip(&names) {
        assert_eq!(wallet.head(name), number);
    }
    gateway.stop();
}

/// A node that comes back and does not want to renew a subscription: who had it is told to go elsewhere.
#[test]
fn a_subscription_that_is_not_renewed_ends_its_clients() {
    let mut node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut watcher = gateway.connect();
    watcher.heads();
    let mut other = gateway.connect();
    other.hears_nothing();
    node.kill();
    node.behave(|asked| match asked.method.as_str() {
        "eth_subscribe" => Deed::Error(-32005, "too many subscriptions".to_owned()),
        _ => Deed::Usual,
    });
    node.revive();
    assert_eq!(watcher.closed().0, CloseCode::TRY_LATER);
    other.hears_nothing();
    gateway.stop();
}

#[test]
fn a_subscription_that_is_never_answered_times_out() {
    let node = Node::start_as(|asked| match asked.method.as_str() {
        "eth_subscribe" => Deed::Never,
        _ => Deed::Usual,
    });
    let gateway = Gateway::start_with(&[node.ws()], "call_timeout_ms = 300");
    let mut wallet = gateway.connect();
    let params = json!(["newHeads"]);
    assert_eq!(
        wallet.error("eth_subscribe", &params),
        (-32002, TIMED_OUT.to_owned())
    );
    wallet.hears_nothing();
    node.behave(|_| Deed::Usual);
    let name = wallet.heads();
    // The first one is there on the node as well; nobody hears twice of it.
    let number = node.mine();
    assert_eq!(wallet.head(&name), number);
    wallet.hears_nothing();
    gateway.stop();
}

/// Cut off or closed in the middle of a call: an error for it, and the next one is answered.
#[test]
fn a_link_that_ends_is_made_again() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    let name = wallet.heads();
    for (round, code) in [None, Some(1000), Some(1001), Some(1011), Some(1013)]
        .into_iter()
        .enumerate()
    {
        node.behave(|asked| match asked.method.as_str() {
            "test_number" => Deed::Never,
            _ => Deed::Usual,
        });
        wallet.call("test_number", &json!([]));
        node.await_count("test_number", round + 1);
        node.hang_up(code);
        assert_eq!(error(&wallet.answer()).0, -32000);
        node.await_count("eth_subscribe", round + 2);
        node.await_subscriptions(1);
        let number = node.mine();
        assert_eq!(wallet.head(&name), number);
        wallet.hears_nothing();
    }
    gateway.stop();
}

/// The next one in the list, as long as the first is not there.
#[test]
fn another_node_takes_over() {
    let mut first = Node::start();
    let second = Node::start();
    let gateway = Gateway::start(&[first.ws(), second.ws()]);
    let mut wallet = gateway.connect();
    let name = wallet.heads();
    let number = first.mine();
    assert_eq!(wallet.head(&name), number);
    assert_eq!(second.opened(), 0);
    first.kill();
    second.await_subscriptions(1);
    let number = second.mine();
    assert_eq!(wallet.head(&name), number);
    wallet.hears_nothing();
    assert_eq!(second.count("test_echo"), 1);
    gateway.stop();
}

/// Calls go by HTTP when there is nothing else; subscriptions cannot.
#[test]
fn a_node_without_notifications() {
    let node = Node::start_as(|asked| match asked.method.as_str() {
        "test_number" => Deed::Status(503),
        _ => Deed::Usual,
    });
    let gateway = Gateway::start(&[node.http()]);
    let mut wallet = gateway.connect();
    wallet.hears_nothing();
    let unsupported = (-32601, "notifications not supported".to_owned());
    assert_eq!(
        wallet.error("eth_subscribe", &json!(["newHeads"])),
        unsupported
    );
    let (code, why) = wallet.error("test_number", &json!([]));
    assert!(
        (-32099..=-32000).contains(&code) || code == -32603,
        "{code} {why}"
    );
    wallet.hears_nothing();
    assert_eq!(node.opened(), 0, "no link is made");
    gateway.stop();
}

/// What stays the same is asked once, until the node may be another one.
#[test]
fn some_answers_are_kept() {
    let mut node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    let kept = ["eth_chainId", "net_version", "web3_clientVersion"];
    for round in 1..3 {
        for method in kept {
            let one = wallet.result(method, &json!([]));
            assert_eq!(gateway.connect().result(method, &json!([])), one);
            assert_eq!(node.count(method), round, "{method}");
        }
        node.kill();
        node.revive();
        eventually("a node", || {
            wallet.call("test_echo", &json!([]));
            wallet.answer().get("result").map(drop)
        });
    }
    gateway.stop();
}

/// The best and the worst of a bystander's round trips while clients keep a bad node busy.
fn bystander(what: &str, behave: impl Fn(&crate::node::Asked) -> Deed + Send + Sync + 'static) {
    let node = Node::start_as(behave);
    let gateway = Gateway::start_with(&[node.ws()], "call_timeout_ms = 500");
    let mut wallets: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    let mut echo = Client::connect(&gateway.dunlin.ws("/echo"), &[]).unwrap();
    echo.set_timeout(Some(PATIENCE)).unwrap();
    let mut worst = Duration::ZERO;
    for n in 0..200 {
        if n % 10 == 0 {
            for wallet in &mut wallets {
                wallet.call("test_number", &json!([]));
            }
        }
        let said = format!("round {n}");
        let before = Instant::now();
        echo.send(Message::Text(&said)).unwrap();
        assert_eq!(echo.receive().unwrap(), dunlin::net::Received::Text(said));
        worst = worst.max(before.elapsed());
    }
    assert!(worst < Duration::from_secs(1), "{what}: {worst:?}");
    // Everybody gets an answer to everything, whichever.
    for wallet in &mut wallets {
        for id in 1..=20 {
            assert_eq!(wallet.answer()["id"], id, "{what}");
        }
    }
    println!("{what}: the worst of 200 round trips took {worst:?}");
    gateway.stop();
}

#[test]
fn a_bystander_does_not_notice_a_node_that_never_answers() {
    bystander("never", |_| Deed::Never);
}

#[test]
fn a_bystander_does_not_notice_a_node_that_cuts() {
    bystander("cut", |_| Deed::Cut);
}

#[test]
fn a_bystander_does_not_notice_a_node_that_sends_junk() {
    bystander("junk", |_| Deed::Junk("}{".to_owned()));
}

#[test]
fn a_bystander_does_not_notice_a_node_with_large_answers() {
    let large = format!("\"{}\"", "x".repeat(128 << 10));
    bystander("large", move |_| Deed::Result(large.clone()));
}

/// A node that reads nothing: calls time out, memory does not grow with them, and it may come to its senses.
#[test]
fn a_deaf_node_is_not_waited_for() {
    let node = Node::start();
    let gateway = Gateway::start_with(&[node.ws()], "call_timeout_ms = 500");
    let mut wallet = gateway.connect();
    wallet.hears_nothing();
    node.set_deaf(true);
    let large = "x".repeat(4 << 20);
    let mut failed = Vec::new();
    for _ in 0..4 {
        let (code, why) = wallet.error("test_echo", &json!([large]));
        failed.push((code, why));
    }
    assert!(
        failed
            .iter()
            .all(|(code, _)| [-32002, -32011].contains(code)),
        "{failed:?}"
    );
    node.set_deaf(false);
    eventually("a node that listens", || {
        wallet.call("test_echo", &json!(["again"]));
        wallet.answer().get("result").map(drop)
    });
    gateway.stop();
}

/// Gone while its subscription is on the way, its news too: nobody else gets what was meant for it.
#[test]
fn clients_that_leave_at_every_moment() {
    let node = Node::start_as(|asked| match asked.method.as_str() {
        "eth_subscribe" => Deed::Late(Duration::from_millis(5)),
        _ => Deed::Usual,
    });
    let gateway = Gateway::start_with(&[node.ws()], "linger_ms = 1");
    let mut stays = gateway.connect();
    let logs = stays.subscribe(&json!(["logs", {}]));
    for n in 0..60 {
        let mut wallet = gateway.connect();
        wallet.call("eth_subscribe", &json!(["newHeads"]));
        match n % 3 {
            0 => {}
            1 => node.await_count("eth_subscribe", 2),
            _ => drop(wallet.answer()),
        }
        if n % 2 == 0 {
            wallet.client.close(CloseCode::NORMAL, "").unwrap();
        }
        drop(wallet);
        node.mine();
    }
    gateway.await_sessions(1);
    node.await_subscriptions(1);
    let last = node.mine();
    let mut seen = 0;
    loop {
        let (name, log) = stays.news();
        assert_eq!(name, logs);
        seen += 1;
        if number(&log["blockNumber"]) == last && log["logIndex"] == "0x2" {
            break;
        }
    }
    assert_eq!(seen, 61 * 3);
    gateway.stop();
}

/// Answered when nobody waits for it any more: it is given back, and does not go on for nobody.
#[test]
fn a_subscription_that_is_answered_too_late_is_given_back() {
    let node = Node::start_as(|asked| match asked.method.as_str() {
        "eth_subscribe" => Deed::Hold,
        _ => Deed::Usual,
    });
    let gateway = Gateway::start_with(&[node.ws()], "call_timeout_ms = 300\nlinger_ms = 60000");
    let mut wallet = gateway.connect();
    let params = json!(["newHeads"]);
    assert_eq!(wallet.error("eth_subscribe", &params).0, -32002);
    node.await_held(1);
    node.release(false);
    node.await_count("eth_unsubscribe", 1);
    assert_eq!(node.subscription_names(), [""; 0]);
    node.behave(|_| Deed::Usual);
    let name = wallet.heads();
    let number = node.mine();
    assert_eq!(wallet.head(&name), number);
    gateway.stop();
}
