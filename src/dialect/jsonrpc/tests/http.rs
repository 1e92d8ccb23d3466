//! Plain HTTP, on either side.

use super::*;
use crate::http::Response;

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json; charset=utf-8")];

fn text(response: &Response) -> (u16, &str) {
    (
        response.status,
        std::str::from_utf8(&response.body).expect("text"),
    )
}

#[test]
fn et_13_statuses_are_those_of_a_node() {
    let mut rig = Rig::open();
    let mut ask = |method: &str, target: &str, headers: &[(&str, &str)], body: &str| {
        let answer = rig
            .house
            .asks(rig.route, method, target, headers, body.as_bytes());
        let answer = answer.expect("an answer at once");
        let (status, text) = text(&answer);
        (status, text.to_owned())
    };
    let empty = (200, String::new());
    let plain: &[(&str, &str)] = &[("Content-Type", "text/plain")];
    assert_eq!(ask("GET", "/", &[], ""), empty);
    assert_eq!(ask("HEAD", "/", &[], ""), empty);
    assert_eq!(ask("OPTIONS", "/", &[], ""), empty);
    assert_eq!(ask("POST", "/", JSON, ""), empty);
    for method in ["PUT", "DELETE"] {
        assert_eq!(
            ask(method, "/", JSON, "1"),
            (405, "method not allowed\n".to_owned())
        );
    }
    let wrong = "invalid content type, only application/json is supported\n".to_owned();
    for (method, target, headers) in [
        ("POST", "/", plain),
        ("POST", "/", &[][..]),
        ("GET", "/?x", &[]),
    ] {
        assert_eq!(
            ask(method, target, headers, ""),
            (415, wrong.clone()),
            "{method} {target}"
        );
    }
    let parse = (200, error("null", -32700, "parse error"));
    assert_eq!(ask("POST", "/", JSON, "'"), parse);
    for kind in ["application/json-rpc", "Application/JSONrequest"] {
        let headers = &[("Content-Type", kind)];
        let answer = ask("POST", "/", headers, "1");
        assert_eq!(answer, (200, error("null", -32600, "invalid request")));
    }
    let notification = r#"{"jsonrpc":"2.0","method":"eth_a"}"#;
    assert_eq!(ask("POST", "/", JSON, notification), empty);
    assert_eq!(rig.asked(), [notification]);
    rig.ends();
}

#[test]
fn calls_by_http_are_answered_later() {
    let mut rig = Rig::open();
    let first = rig
        .house
        .asks(rig.route, "POST", "/", JSON, call("1", "eth_a").as_bytes());
    let batch = format!("[{},{}]", call("2", "eth_chainId"), call("3", "eth_b"));
    let second = rig
        .house
        .asks(rig.route, "POST", "/", JSON, batch.as_bytes());
    let (first, second) = (first.expect_err("later"), second.expect_err("later"));
    let asked = rig.asked();
    let [a, both] = &asked[..] else {
        panic!("{asked:?}")
    };
    let (b, c) = both.split_once("},{").expect("two");
    rig.node_says(&format!(
        "[{},{}]",
        result(&own_id(b), "\"0x1\""),
        result(&own_id(c), "3")
    ));
    rig.node_says(&error(&own_id(a), -32000, "no"));
    let answers = rig.house.answers();
    let expected = format!("[{},{}]", result("2", "\"0x1\""), result("3", "3"));
    assert_eq!(answers[0].0, second);
    assert_eq!(text(&answers[0].1), (200, &*expected));
    assert_eq!(answers[1].0, first);
    assert_eq!(text(&answers[1].1), (200, &*error("1", -32000, "no")));
    // What is known is answered at once.
    let kept = rig.house.asks(
        rig.route,
        "POST",
        "/",
        JSON,
        call("4", "eth_chainId").as_bytes(),
    );
    assert_eq!(
        text(&kept.expect("at once")),
        (200, &*result("4", "\"0x1\""))
    );
    let late = rig
        .house
        .asks(rig.route, "POST", "/", JSON, call("5", "eth_a").as_bytes());
    rig.house.pass(25_000);
    let answers = rig.house.answers();
    assert_eq!(Err(answers[0].0), late);
    assert_eq!(
        text(&answers[0].1),
        (200, &*error("5", -32002, "request timed out"))
    );
    rig.ends();
}

#[test]
fn et_14_nobody_subscribes_by_http() {
    let mut rig = Rig::open();
    let answer = rig
        .house
        .asks(rig.route, "POST", "/", JSON, HEADS.as_bytes());
    let expected = error("1", -32601, "notifications not supported");
    assert_eq!(text(&answer.expect("at once")), (200, &*expected));
    rig.ends();
}

fn by_http() -> JsonRpcOptions {
    JsonRpcOptions {
        upstream: endpoints(&["http://one:8545/x", "http://two:8545"]),
        ..options()
    }
}

#[test]
fn a_node_that_speaks_http_alone_is_asked_one_by_one() {
    let mut rig = Rig::with(by_http());
    let client = rig.join();
    let expected = error("1", -32601, "notifications not supported");
    assert_eq!(rig.reply(client, HEADS), expected);
    rig.says(client, &call("1", "eth_a"));
    rig.says(
        client,
        &format!("[{},{}]", call("2", "eth_b"), call("3", "eth_c")),
    );
    assert!(rig.house.dialled().is_empty());
    let mut calls = rig.house.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].call.target.path, "/x");
    let body = |asked: &crate::dialect::testing::Asked| {
        String::from_utf8(asked.call.body.clone()).expect("text")
    };
    let (a, both) = (own_id(&body(&calls[0])), body(&calls[1]));
    let (b, _) = both.split_once("},{").expect("two");
    let answer = format!("[{}]", result(&own_id(b), "2"));
    rig.house.answer(calls.remove(1), 200, answer.as_bytes());
    let nothing = "the node has answered without an answer to this call";
    let expected = [result("2", "2"), error("3", -32603, nothing)];
    assert_eq!(rig.one(client), format!("[{}]", expected.join(",")));
    rig.house
        .answer(calls.remove(0), 200, result(&a, "1").as_bytes());
    assert_eq!(rig.one(client), result("1", "1"));
    rig.ends();
}

#[test]
fn a_failed_request_moves_to_the_next_endpoint() {
    let mut rig = Rig::with(by_http());
    let client = rig.join();
    let away = "no backend is currently healthy to serve traffic";
    let ask = |rig: &mut Rig, id: &str| {
        rig.says(client, &call(id, "eth_a"));
        let asked = rig.house.calls().remove(0);
        let host = asked.call.target.host.clone();
        (host, asked)
    };
    let (host, asked) = ask(&mut rig, "1");
    assert_eq!(host, "one");
    rig.house.answer(asked, 503, b"busy");
    assert_eq!(rig.one(client), error("1", -32011, away));
    let (host, asked) = ask(&mut rig, "2");
    assert_eq!(host, "two");
    rig.house.fail(asked, crate::hub::CallError::Timeout);
    assert_eq!(rig.one(client), error("2", -32002, "request timed out"));
    let (host, asked) = ask(&mut rig, "3");
    assert_eq!(host, "one");
    rig.house.pass(25_000);
    assert_eq!(rig.one(client), error("3", -32002, "request timed out"));
    rig.house.fail(asked, crate::hub::CallError::Broken);
    assert_eq!(rig.got(client), [""; 0]);
    rig.ends();
}

#[test]
fn plain_calls_go_by_http_while_there_is_no_link() {
    let mut rig = Rig::open_with(JsonRpcOptions {
        upstream: endpoints(&["ws://one:1", "http://two:2"]),
        ..options()
    });
    let client = rig.join();
    let id = rig.subscribes(client);
    rig.node_goes();
    rig.says(client, &call("1", "eth_a"));
    let asked = rig.house.calls().remove(0);
    let own = own_id(std::str::from_utf8(&asked.call.body).expect("text"));
    rig.house.pass(250);
    rig.node_opens();
    rig.house.answer(asked, 200, result(&own, "1").as_bytes());
    assert_eq!(rig.one(client), result("1", "1"));
    let (own, _) = rig.question();
    rig.node_answers(&own, "\"0xfeed\"");
    rig.head(1);
    assert_eq!(rig.one(client), news(&id, r#"{"number":"0x1"}"#));
    rig.ends();
}

#[test]
fn pages_of_the_routes_origins_may_read_the_answers() {
    let mut rig = Rig::open();
    let page = ("Origin", "http://localhost:3000");
    let allowed = |response: &Response| {
        let of = |name: &str| {
            let found = response.headers.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| value.to_string())
        };
        (
            of("Access-Control-Allow-Origin"),
            of("Access-Control-Allow-Methods"),
        )
    };
    let origin = Some(page.1.to_owned());
    let preflight = [page, ("Access-Control-Request-Method", "POST")];
    let answer = rig.house.asks(rig.route, "OPTIONS", "/", &preflight, b"");
    let methods = Some("POST, GET".to_owned());
    assert_eq!(
        allowed(&answer.expect("at once")),
        (origin.clone(), methods)
    );
    // At once, and later.
    let json = [page, JSON[0]];
    let answer = rig.house.asks(rig.route, "POST", "/", &json, b"[]");
    assert_eq!(allowed(&answer.expect("at once")), (origin.clone(), None));
    let asked = call("1", "eth_a");
    for (headers, expected) in [(&json[..], origin), (JSON, None)] {
        let ticket = rig
            .house
            .asks(rig.route, "POST", "/", headers, asked.as_bytes());
        let ticket = ticket.expect_err("the node is asked");
        let (own, _) = rig.question();
        rig.node_answers(&own, "1");
        let (of, answer) = rig.house.answers().remove(0);
        assert_eq!(of, ticket);
        assert_eq!(text(&answer), (200, &*result("1", "1")));
        assert_eq!(allowed(&answer), (expected, None));
    }
    rig.ends();
}
