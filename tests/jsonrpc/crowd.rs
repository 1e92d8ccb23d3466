//! A thousand clients on one subscription.

use std::io::{Write, stderr};
use std::time::Instant;

use dunlin::net::raise_open_files_max;

use crate::gateway::{Gateway, Wallet};
use crate::node::Node;

const CLIENTS: usize = 1_000;
const HEADS: usize = 10;

fn crowd(gateway: &Gateway) -> Vec<(Wallet, String)> {
    let files = raise_open_files_max();
    assert!(files >= CLIENTS + 100, "{files} open files are too few");
    let mut all: Vec<Wallet> = (0..CLIENTS).map(|_| gateway.connect()).collect();
    for wallet in &mut all {
        wallet.call("eth_subscribe", &serde_json::json!(["newHeads"]));
    }
    all.into_iter()
        .map(|mut wallet| {
            let name = wallet.answer()["result"].as_str().unwrap().to_owned();
            (wallet, name)
        })
        .collect()
}

#[track_caller]
fn hear(all: &mut [(Wallet, String)], numbers: &[u64]) {
    for (wallet, name) in all {
        for number in numbers {
            assert_eq!(wallet.head(name), *number);
        }
    }
}

#[test]
fn every_head_reaches_a_thousand_in_order() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let begin = Instant::now();
    let mut all = crowd(&gateway);
    let connected = begin.elapsed();
    // One at a time, then all at once.
    let mut numbers: Vec<u64> = Vec::new();
    for _ in 0..HEADS / 2 {
        numbers.push(node.mine());
        hear(&mut all, &numbers.split_off(numbers.len() - 1));
    }
    let numbers: Vec<u64> = (0..HEADS / 2).map(|_| node.mine()).collect();
    hear(&mut all, &numbers);
    let heard = begin.elapsed() - connected;
    assert_eq!(node.count("eth_subscribe"), 1);
    for (wallet, _) in &mut all {
        wallet.hears_nothing();
    }
    _ = writeln!(
        stderr(),
        "crowd: {CLIENTS} subscribed in {connected:?}, heard {HEADS} heads each in {heard:?}"
    );
    gateway.stop();
}

#[test]
fn the_same_while_the_node_goes_down_and_comes_back() {
    let mut node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut all = crowd(&gateway);
    let before: Vec<u64> = (0..3).map(|_| node.mine()).collect();
    hear(&mut all, &before);
    node.kill();
    node.revive();
    node.await_subscriptions(1);
    let after: Vec<u64> = (0..3).map(|_| node.mine()).collect();
    hear(&mut all, &after);
    assert_eq!(node.count("eth_subscribe"), 2);
    gateway.stop();
}
