//! Large calls and large answers: what fits arrives, and what does not is no harm to others.

use serde_json::json;

use crate::gateway::Gateway;
use crate::node::{Deed, Node};

/// A node answers with whatever it has; a link carries it, and everybody else goes on.
#[test]
fn large_answers_arrive() {
    let node = Node::start_as(|asked| match asked.params[0].as_u64() {
        Some(bytes) => Deed::Result(format!("\"{}\"", "x".repeat(bytes as usize))),
        None => Deed::Usual,
    });
    for upstream in [node.ws(), node.ipc(), node.http()] {
        let gateway = Gateway::start(std::slice::from_ref(&upstream));
        let mut wallet = gateway.connect();
        for mib in [1, 8] {
            let text = wallet.result("test_large", &json!([mib << 20]));
            assert_eq!(text.as_str().unwrap().len(), mib << 20, "{upstream}");
            let call =
                json!({"jsonrpc": "2.0", "id": 1, "method": "test_large", "params": [mib << 20]});
            let answer = gateway.post(&call.to_string());
            assert!(
                answer.body.len() > mib << 20,
                "{upstream}: {}",
                answer.body.len()
            );
        }
        gateway.stop();
    }
}

/// What is too much of an answer ends the link: who asked is told, and the others go on with the next one.
#[test]
fn an_answer_beyond_the_limit() {
    let node = Node::start_as(|asked| match asked.params[0].as_u64() {
        Some(bytes) => Deed::Result(format!("\"{}\"", "x".repeat(bytes as usize))),
        None => Deed::Usual,
    });
    let gateway = Gateway::start(&[node.ws()]);
    let mut other = gateway.connect();
    let name = other.heads();
    let mut wallet = gateway.connect();
    let (code, why) = wallet.error("test_large", &json!([33 << 20]));
    assert_eq!(code, -32000, "{why}");
    node.await_count("eth_subscribe", 2);
    node.await_subscriptions(1);
    let number = node.mine();
    assert_eq!(other.head(&name), number);
    other.hears_nothing();
    gateway.stop();
}

/// A message that only the gateway would take, because its own ids make it longer than what a node takes: it must not
/// end the link of everybody.
#[test]
fn a_call_that_the_node_would_not_take_is_refused() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut other = gateway.connect();
    other.hears_nothing();
    let mut wallet = gateway.connect();
    let refused = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"limit exceeded"}}"#;
    // So many calls that the next id has more digits than theirs.
    for _ in 0..10 {
        wallet.hears_nothing();
    }
    let call = |length: usize| {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"test_number","params":[""#;
        let filler = "a".repeat(length - call.len() - 3);
        format!("{call}{filler}\"]}}")
    };
    assert_eq!(wallet.ask(&call(32 << 20)), refused);
    let batch = format!("[{}]", call((32 << 20) - 2));
    assert_eq!(wallet.ask(&batch), format!("[{refused}]"));
    wallet.hears_nothing();
    other.hears_nothing();
    assert_eq!(node.opened(), 1);
    gateway.stop();
}

/// The first call of all may be a large one, as any later one may.
#[test]
fn a_large_call_waits_for_the_first_link() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    let large = "x".repeat(5 << 20);
    assert_eq!(wallet.result("test_number", &json!([large])), 1);
    gateway.stop();
}
