//! Pairs of a message and its answer as Go's node gives it, to the byte, on every transport.

use dunlin::CloseCode;
use serde_json::json;

use crate::gateway::{Gateway, Wallet};
use crate::node::Node;

const INVALID: &str =
    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request"}}"#;
const INVALID_1: &str =
    r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request"}}"#;

/// Which the node has nothing to do with.
fn pairs() -> Vec<(String, String)> {
    let mut pairs = vec![
        (
            "[]",
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"empty batch"}}"#.to_owned(),
        ),
        ("[1]", format!("[{INVALID}]")),
        ("[1,2,3]", format!("[{INVALID},{INVALID},{INVALID}]")),
        ("[null]", format!("[{INVALID}]")),
        ("[[]]", format!("[{INVALID}]")),
        ("1", INVALID.to_owned()),
        ("null", INVALID.to_owned()),
        ("\"x\"", INVALID.to_owned()),
        ("true", INVALID.to_owned()),
        ("{}", INVALID.to_owned()),
        (r#"{"id":1}"#, INVALID_1.to_owned()),
        (r#"{"id":"1"}"#, INVALID_1.replace(":1,", ":\"1\",")),
        (r#"{"id":[],"method":"test_foo"}"#, INVALID.to_owned()),
        (r#"{"id":{},"method":"test_foo"}"#, INVALID.to_owned()),
        (r#"{"jsonrpc":"2.0","id":[],"method":"test_foo"}"#, INVALID.to_owned()),
        (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, INVALID_1.to_owned()),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, INVALID_1.to_owned()),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"test_echo","params":["foo",1]},55,{"jsonrpc":"2.0","id":2,"method":"unknown_method"},{"foo":"bar"}]"#,
            format!(
                r#"[{{"jsonrpc":"2.0","id":1,"result":["foo",1]}},{INVALID},{{"jsonrpc":"2.0","id":2,"error":{{"code":-32601,"message":"the method unknown_method does not exist/is not available"}}}},{INVALID}]"#
            ),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"test_echo","params":{"int":23},"id":3}"#,
            r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"non-array args"}}"#.to_owned(),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"unknown_method"}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"the method unknown_method does not exist/is not available"}}"#.to_owned(),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"test_error","params":[3,"execution reverted"]}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":3,"message":"execution reverted"}}"#.to_owned(),
        ),
        (
            // In any order, with other members, and white space.
            " {\n\t\"params\" : [ ] ,\r\n\"x\":null,\"method\":\"eth_chainId\",\"id\":1,\"jsonrpc\":\"2.0\"} ",
            r#"{"jsonrpc":"2.0","id":1,"result":"0x539"}"#.to_owned(),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":null}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":"0x539"}"#.to_owned(),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":"0x539"}"#.to_owned(),
        ),
    ]
    .into_iter()
    .map(|(said, answer)| (said.to_owned(), answer))
    .collect::<Vec<_>>();
    for version in ["\"2.1\"", "\"go-ethereum\"", "1", "2.0", "null", "[]"] {
        let said =
            format!(r#"{{"jsonrpc":{version},"id":1,"method":"test_echo","params":["x",3]}}"#);
        pairs.push((said, INVALID_1.to_owned()));
    }
    let said = r#"{"id":1,"method":"test_echo","params":["x",3]}"#;
    pairs.push((said.to_owned(), INVALID_1.to_owned()));
    for (length, message) in [
        (
            2048,
            format!(
                "the method {} does not exist/is not available",
                "m".repeat(2048)
            ),
        ),
        (2049, r"method name too long: 2049 \u003e 2048".to_owned()),
    ] {
        let code = if length > 2048 { -32600 } else { -32601 };
        let name = "m".repeat(length);
        pairs.push((
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{name}"}}"#),
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"{message}"}}}}"#
            ),
        ));
    }
    pairs
}

#[test]
fn et_7_pairs_on_a_websocket() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    for (said, answer) in pairs() {
        assert_eq!(wallet.ask(&said), answer, "{said}");
    }
    wallet.hears_nothing();
    gateway.stop();
}

#[test]
fn et_7_pairs_over_http() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    for (said, expected) in pairs() {
        let answer = gateway.post(&said);
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!((answer.status, text), (200, expected), "{said}");
    }
    gateway.stop();
}

#[test]
fn et_7_pairs_on_the_unix_socket() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut stream = gateway.connect_ipc();
    for (said, answer) in pairs() {
        // A number ends where something else begins.
        assert_eq!(stream.ask(&format!("{said}\n")), answer, "{said}");
    }
    gateway.stop();
}

/// The same when the node itself is asked by HTTP, and by the Unix socket.
#[test]
fn et_7_pairs_with_other_nodes() {
    let node = Node::start();
    for upstream in [node.http(), node.ipc()] {
        let gateway = Gateway::start(&[upstream]);
        let mut wallet = gateway.connect();
        for (said, answer) in pairs() {
            assert_eq!(wallet.ask(&said), answer, "{said}");
        }
        gateway.stop();
    }
}

#[test]
fn et_7_what_is_not_answered() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    for said in [
        r#"{"jsonrpc":"2.0","method":"test_echo","params":["x",99]}"#,
        r#"[{"jsonrpc":"2.0","method":"test_echo","params":["x",99]}]"#,
        // Answers to what nobody has asked.
        r#"{"jsonrpc":"2.0","id":1,"result":true}"#,
        r#"[{"jsonrpc":"2.0","id":1,"result":true}]"#,
        r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":1}}"#,
    ] {
        wallet.say(said);
        wallet.hears_nothing();
        let answer = gateway.post(said);
        assert_eq!((answer.status, answer.body), (200, Vec::new()), "{said}");
    }
    gateway.stop();
}

#[test]
fn et_7_bad_json_is_told_and_ends_the_connection() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    for (said, why) in [
        (
            "'f",
            r"invalid character '\\'' looking for beginning of value",
        ),
        (
            "{\"id\":1,}",
            r#"invalid character '}' looking for beginning of object key string"#,
        ),
        ("[1 2]", "invalid character '2' after array element"),
        ("{\"id\" 1}", "invalid character '1' after object key"),
        (
            "nul1",
            "invalid character '1' in literal null (expecting 'l')",
        ),
        ("\"\\x\"", r"invalid character 'x' in string escape code"),
    ] {
        let mut wallet = gateway.connect();
        let answer =
            format!(r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":-32700,"message":"{why}"}}}}"#);
        assert_eq!(wallet.ask(said), answer, "{said}");
        assert_eq!(wallet.closed().0, CloseCode::NORMAL, "{said}");
    }
    gateway.stop();
}

/// Arguments of subscriptions that are none, in the node's words.
#[test]
fn subscriptions_that_make_no_sense() {
    let node = Node::start();
    let gateway = Gateway::start(&[node.ws()]);
    let mut wallet = gateway.connect();
    let long = vec!["0x0000000000000000000000000000000000000001"; 1001];
    let topic = format!("0x{}", "0".repeat(64));
    for (params, code) in [
        (json!([]), -32602),
        (json!({"a": 1}), -32602),
        (json!([1]), -32602),
        (json!(["foo"]), -32601),
        (json!(["newHeads", 1, 2]), -32602),
        (json!(["logs", {"address": "0x12"}]), -32602),
        (json!(["logs", {"address": 7}]), -32602),
        (json!(["logs", {"topics": ["0x12"]}]), -32602),
        (
            json!(["logs", {"topics": [topic, topic, topic, topic, topic]}]),
            -32000,
        ),
        (json!(["logs", {"address": long}]), -32000),
    ] {
        let answer = {
            wallet.call("eth_subscribe", &params);
            wallet.answer()
        };
        assert_eq!(answer["error"]["code"], code, "{params}: {answer}");
    }
    for params in [json!([]), json!([1]), json!(["a", "b"])] {
        let (code, why) = wallet.error("eth_unsubscribe", &params);
        assert_eq!(code, -32602, "{why}");
    }
    // Nothing of it is left, and it is still possible to do better.
    assert_eq!(node.subscription_names(), [""; 0]);
    let name = wallet.heads();
    wallet.unsubscribe(&name);
    gateway.stop();
}

/// Directly: what the node says is what the pairs above say, where it is asked at all.
#[test]
fn the_node_says_the_same() {
    let node = Node::start();
    let mut wallet = Wallet::connect(&node.ws());
    for (said, expected) in pairs() {
        if expected.contains("-3260") || expected.contains("empty batch") {
            continue;
        }
        assert_eq!(wallet.ask(&said), expected, "{said}");
    }
}
