//! Calls, batches, limits.

use super::*;

const UNAVAILABLE: &str = "no backend is currently healthy to serve traffic";

#[test]
fn et_5_ids_come_back_as_they_were_written() {
    let mut rig = Rig::open();
    let client = rig.join();
    let uuid = "\"3f2504e0-4f89-11d3-9a0c-0305e82c3301\"";
    for id in ["1", "\"1\"", "null", "1.0", uuid, "1", "\"\\u0031\""] {
        rig.says(client, &call(id, "eth_gasPrice"));
        let (own, asked) = rig.question();
        assert_eq!(asked, call(&own, "eth_gasPrice"));
        rig.node_answers(&own, "\"0x1\"");
        assert_eq!(rig.one(client), result(id, "\"0x1\""));
    }
    // Two in flight with the same id, answered the other way round.
    rig.says(client, &call("7", "eth_a"));
    rig.says(client, &call("7", "eth_b"));
    let own: Vec<_> = rig.asked().iter().map(|asked| own_id(asked)).collect();
    assert_ne!(own[0], own[1]);
    rig.node_answers(&own[1], "\"b\"");
    rig.node_answers(&own[0], "\"a\"");
    assert_eq!(
        rig.got(client),
        [result("7", "\"b\""), result("7", "\"a\"")]
    );
    rig.ends();
}

#[test]
fn et_6_a_binary_message_is_answered_by_text() {
    let mut rig = Rig::open();
    let client = rig.join();
    rig.house
        .binary(client, call("0", "eth_gasPrice").as_bytes());
    let (own, _) = rig.question();
    rig.node_answers(&own, "{ \"as\": [\"it\", \"came\"] }");
    assert_eq!(
        rig.one(client),
        result("0", "{ \"as\": [\"it\", \"came\"] }")
    );
    rig.ends();
}

#[test]
fn et_7_what_is_no_request_is_answered_as_a_node_does() {
    let mut rig = Rig::open();
    let client = rig.join();
    let invalid = |id| error(id, -32600, "invalid request");
    for (said, expected) in [
        ("[]", error("null", -32600, "empty batch")),
        ("[1]", format!("[{}]", invalid("null"))),
        ("1", invalid("null")),
        ("null", invalid("null")),
        (r#"{"id":1}"#, invalid("1")),
        (r#"{"jsonrpc":"2.0","id":[],"method":"m"}"#, invalid("null")),
        (r#"{"jsonrpc":"2.1","id":1,"method":"m"}"#, invalid("1")),
        (r#"{"jsonrpc":2,"id":1,"method":"m"}"#, invalid("1")),
        (r#"{"id":1,"method":"m"}"#, invalid("1")),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":{"a":1}}"#,
            error("1", -32602, "non-array args"),
        ),
    ] {
        assert_eq!(rig.reply(client, said), expected, "{said}");
    }
    let long = "m".repeat(2049);
    let expected = error("1", -32600, "method name too long: 2049 \\u003e 2048");
    assert_eq!(rig.reply(client, &call("1", &long)), expected);
    assert_eq!(rig.asked(), [""; 0]);
    let expected = error(
        "null",
        -32700,
        r"invalid character '\\'' looking for beginning of value",
    );
    assert_eq!(rig.reply(client, "'x'"), expected);
    assert_eq!(rig.house.closed(client), Some(CloseCode::NORMAL));
    rig.ends();
}

#[test]
fn et_8_batches_are_answered_in_order() {
    let mut rig = Rig::open();
    let client = rig.join();
    let batch = format!(
        "[{},{},{}]",
        call("\"a\"", "eth_a"),
        HEADS,
        call("\"c\"", "eth_c")
    );
    rig.says(client, &batch);
    let asked = rig.asked();
    let [subscribe, parts] = &asked[..] else {
        panic!("{asked:?}")
    };
    let (first, second) = parts.split_once("},{").expect("two");
    let (a, c) = (own_id(first), own_id(second));
    assert_eq!(
        *parts,
        format!("[{},{}]", call(&a, "eth_a"), call(&c, "eth_c"))
    );
    rig.node_answers(&own_id(subscribe), "\"0xfeed\"");
    assert_eq!(rig.got(client), [""; 0]);
    rig.node_says(&format!(
        "[{},{}]",
        result(&c, "3"),
        error(&a, -32000, "no")
    ));
    let answer = rig.one(client);
    let start = format!("[{},", error("\"a\"", -32000, "no"));
    let end = format!(",{}]", result("\"c\"", "3"));
    let middle = answer
        .strip_prefix(&start)
        .and_then(|rest| rest.strip_suffix(&end));
    let id = id_in(middle.unwrap_or_else(|| panic!("{answer}")));
    rig.head(1);
    assert_eq!(rig.one(client), news(&id, r#"{"number":"0x1"}"#));

    // Only notifications: they are carried out, and nothing is answered.
    let notification = r#"{"jsonrpc":"2.0","method":"eth_a"}"#;
    let unknown = r#"{"jsonrpc":"2.0","method":"eth_unsubscribe","params":["0x1"]}"#;
    rig.says(client, &format!("[{notification},{unknown}]"));
    assert_eq!(rig.asked(), [format!("[{notification}]")]);
    let mixed = format!("[{},{notification},7]", call("5", "eth_b"));
    rig.says(client, &mixed);
    let (own, asked) = rig.question();
    assert_eq!(asked, format!("[{},{notification}]", call(&own, "eth_b")));
    rig.node_says(&format!("[{}]", result(&own, "true")));
    let invalid = error("null", -32600, "invalid request");
    assert_eq!(
        rig.one(client),
        format!("[{},{invalid}]", result("5", "true"))
    );
    assert_eq!(rig.got(client), [""; 0]);

    let many = vec![call("9", "eth_a"); 1001].join(",");
    let too_large = |id| format!("[{}]", error(id, -32600, "batch too large"));
    assert_eq!(rig.reply(client, &format!("[{many}]")), too_large("9"));
    let many = vec!["1"; 1001].join(",");
    assert_eq!(rig.reply(client, &format!("[{many}]")), too_large("null"));
    rig.ends();
}

#[test]
fn a_batch_that_the_node_refuses_as_a_whole_is_answered_even_so() {
    let mut rig = Rig::open();
    let client = rig.join();
    rig.says(
        client,
        &format!("[{},{}]", call("1", "eth_a"), call("2", "eth_b")),
    );
    let (own, _) = rig.question();
    rig.node_says(&format!("[{}]", error(&own, -32600, "batch too large")));
    let rest = "the node has answered without an answer to this call";
    let expected = [
        error("1", -32600, "batch too large"),
        error("2", -32603, rest),
    ];
    assert_eq!(rig.one(client), format!("[{}]", expected.join(",")));
    rig.ends();
}

#[test]
fn results_of_a_batch_are_bounded() {
    let mut rig = Rig::open_with(JsonRpcOptions {
        batch_bytes_max: 40,
        ..options()
    });
    let client = rig.join();
    let calls: Vec<_> = ["1", "2", "3"].map(|id| call(id, "eth_a")).into();
    rig.says(client, &format!("[{}]", calls.join(",")));
    let asked = rig.asked().remove(0);
    let own: Vec<_> = asked.split("},{").map(own_id).collect();
    let large = format!("\"{}\"", "x".repeat(20));
    let answers: Vec<_> = own.iter().map(|id| result(id, &large)).collect();
    rig.node_says(&format!("[{}]", answers.join(",")));
    let expected = [
        result("1", &large),
        result("2", &large),
        error("3", -32003, "response too large"),
    ];
    assert_eq!(rig.one(client), format!("[{}]", expected.join(",")));
    rig.ends();
}

#[test]
fn a_call_times_out_and_its_late_answer_finds_nobody() {
    let mut rig = Rig::open();
    let client = rig.join();
    rig.says(client, &call("1", "eth_slow"));
    let (first, _) = rig.question();
    rig.house.pass(20_000);
    rig.says(
        client,
        &format!("[{},{}]", call("2", "eth_a"), call("3", "eth_b")),
    );
    let asked = rig.asked().remove(0);
    rig.house.pass(4_999);
    assert_eq!(rig.got(client), [""; 0]);
    rig.house.pass(1);
    assert_eq!(rig.one(client), error("1", -32002, "request timed out"));
    rig.node_answers(&first, "1");
    rig.node_says(&format!("[{}]", result(&own_id(&asked), "2")));
    let rest = "the node has answered without an answer to this call";
    let expected = [result("2", "2"), error("3", -32603, rest)];
    assert_eq!(rig.one(client), format!("[{}]", expected.join(",")));
    rig.says(client, &format!("[{}]", call("4", "eth_a")));
    rig.house.pass(25_000);
    assert_eq!(
        rig.one(client),
        format!("[{}]", error("4", -32002, "request timed out"))
    );
    rig.ends();
}

#[test]
fn answers_for_clients_that_have_gone_are_dropped() {
    let mut rig = Rig::open();
    let client = rig.join();
    rig.says(client, &call("1", "eth_a"));
    rig.says(client, &format!("[{}]", call("2", "eth_a")));
    let asked = rig.asked();
    rig.house.leave(client);
    // Whoever is in its place now is not meant.
    let other = rig.join();
    rig.node_answers(&own_id(&asked[0]), "1");
    rig.node_says(&format!("[{}]", result(&own_id(&asked[1]), "1")));
    assert_eq!(rig.got(other), [""; 0]);
    rig.ends();
}

#[test]
fn what_is_in_flight_is_bounded() {
    let mut rig = Rig::open_with(JsonRpcOptions {
        in_flight_max: 2,
        ..options()
    });
    let client = rig.join();
    rig.says(client, &call("1", "eth_a"));
    rig.says(client, &format!("[{}]", call("2", "eth_a")));
    let asked = rig.asked();
    let limit = |id| error(id, -32005, "limit exceeded");
    assert_eq!(rig.reply(client, &call("3", "eth_a")), limit("3"));
    assert_eq!(rig.reply(client, HEADS), limit("1"));
    let batch = format!("[{}]", call("4", "eth_a"));
    assert_eq!(rig.reply(client, &batch), format!("[{}]", limit("4")));
    rig.node_answers(&own_id(&asked[0]), "1");
    rig.got(client);
    rig.says(client, &call("5", "eth_a"));
    assert_eq!(rig.got(client), [""; 0]);
    assert_eq!(rig.reply(client, &call("6", "eth_a")), limit("6"));
    rig.ends();
}

#[test]
fn a_sessions_rate_is_bounded() {
    let mut rig = Rig::open_with(JsonRpcOptions {
        calls_per_second: 1,
        calls_burst: 3,
        ..options()
    });
    let client = rig.join();
    let limit = error("1", -32005, "limit exceeded");
    let call = call("1", "eth_a");
    rig.says(client, &format!("[{call},{call}]"));
    rig.says(client, &call);
    assert_eq!(rig.got(client), [""; 0]);
    assert_eq!(rig.reply(client, &call), limit);
    rig.house.pass(1000);
    rig.says(client, &call);
    assert_eq!(rig.got(client), [""; 0]);
    assert_eq!(
        rig.reply(client, &format!("[{call}]")),
        format!("[{limit}]")
    );
    rig.ends();
}

#[test]
fn what_stays_the_same_is_asked_for_once() {
    let mut rig = Rig::open();
    let client = rig.join();
    for method in ["eth_chainId", "net_version", "web3_clientVersion"] {
        rig.says(client, &call("1", method));
        let (own, _) = rig.question();
        rig.node_says(&error(&own, -32000, "not now"));
        assert_eq!(rig.one(client), error("1", -32000, "not now"));
        rig.says(client, &format!("[{}]", call("1", method)));
        let own = own_id(&rig.asked()[0]);
        rig.node_says(&format!("[{}]", result(&own, "\"0x1\"")));
        rig.one(client);
        assert_eq!(
            rig.reply(client, &call("2", method)),
            result("2", "\"0x1\"")
        );
        let bare = format!(r#"{{"jsonrpc":"2.0","id":null,"method":"{method}"}}"#);
        assert_eq!(rig.reply(client, &bare), result("null", "\"0x1\""));
        rig.says(client, &bare.replacen('}', ",\"params\":[1]}", 1));
        let (own, _) = rig.question();
        rig.node_answers(&own, "0");
        rig.one(client);
    }
    rig.node_goes();
    rig.house.pass(1000);
    rig.node_opens();
    rig.says(client, &call("3", "net_version"));
    let (own, _) = rig.question();
    rig.node_answers(&own, "\"2\"");
    assert_eq!(rig.one(client), result("3", "\"2\""));
    rig.ends();
}

#[test]
fn methods_may_be_denied() {
    let mut rig = Rig::open_with(JsonRpcOptions {
        allow: vec!["eth_*".to_owned(), "net_listening".to_owned()],
        deny: vec!["eth_sub*".to_owned(), "eth_sign".to_owned()],
        ..options()
    });
    let client = rig.join();
    let denied = |id| error(id, -32601, "rpc method is not whitelisted");
    assert_eq!(rig.reply(client, HEADS), denied("1"));
    assert_eq!(rig.reply(client, &call("2", "eth_sign")), denied("2"));
    let batch = format!("[{},{}]", call("3", "debug_x"), call("4", "eth_call"));
    rig.says(client, &batch);
    let (own, asked) = rig.question();
    assert_eq!(asked, format!("[{}]", call(&own, "eth_call")));
    rig.node_says(&format!("[{}]", result(&own, "1")));
    assert_eq!(
        rig.one(client),
        format!("[{},{}]", denied("3"), result("4", "1"))
    );
    rig.says(client, r#"{"jsonrpc":"2.0","method":"debug_x"}"#);
    assert_eq!((rig.asked(), rig.got(client)), (vec![], vec![]));
    rig.ends();
}

#[test]
fn calls_wait_for_the_first_link() {
    let mut rig = Rig::new();
    let client = rig.join();
    assert!(rig.house.dialled().is_empty(), "nobody needs it");
    rig.says(client, &call("1", "eth_a"));
    let node = rig.house.dialled().remove(0);
    rig.says(client, &call("2", "eth_b"));
    rig.says(client, HEADS);
    rig.house.link_opens(&node);
    rig.node = Some(node);
    let asked = rig.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    for (asked, expected) in asked.iter().zip(["eth_a", "eth_b", "eth_subscribe"]) {
        assert!(asked.contains(expected), "{asked}");
    }
    rig.node_answers(&own_id(&asked[1]), "2");
    assert_eq!(rig.one(client), result("2", "2"));
    rig.ends();
}

#[test]
fn calls_do_not_wait_for_a_node_that_is_not_there() {
    let mut rig = Rig::new();
    let client = rig.join();
    rig.says(client, &call("1", "eth_a"));
    rig.says(client, &format!("[{},1]", call("2", "eth_b")));
    rig.says(client, HEADS);
    let node = rig.house.dialled().remove(0);
    rig.house.link_ends(&node, LinkEnd::Unreachable);
    let away = |id| error(id, -32011, UNAVAILABLE);
    let invalid = error("null", -32600, "invalid request");
    let batch = format!("[{},{invalid}]", away("2"));
    assert_eq!(rig.got(client), [away("1"), batch, away("1")]);
    assert_eq!(rig.reply(client, &call("3", "eth_a")), away("3"));
    assert_eq!(rig.reply(client, HEADS), away("1"));
    rig.ends();
}

#[test]
fn what_is_no_answer_is_nobodys_business() {
    let mut rig = Rig::open();
    let client = rig.join();
    rig.says(client, &call("1", "eth_a"));
    let (own, _) = rig.question();
    for text in [
        "",
        "{",
        "[",
        "1",
        "[1,{}]",
        "{}",
        r#"{"id":"x"}"#,
        r#"{"id":-1,"result":1}"#,
        r#"{"id":1.5,"result":1}"#,
        r#"{"id":99999999999999999999,"result":1}"#,
        r#"{"id":0,"result":1}"#,
        r#"{"method":"eth_subscription"}"#,
        r#"{"method":"eth_subscription","params":[]}"#,
        r#"{"method":"eth_subscription","params":{"subscription":"0x1","result":1}}"#,
    ] {
        rig.node_says(text);
    }
    assert_eq!(rig.got(client), [""; 0]);
    // An answer may be nested as deeply as a trace is.
    let deep = format!("{}{}", "[".repeat(4000), "]".repeat(4000));
    rig.node_answers(&own, &deep);
    assert_eq!(rig.one(client), result("1", &deep));
    rig.says(client, &call("2", "eth_a"));
    let (own, _) = rig.question();
    rig.node_says(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{own}}}"));
    let nothing = "the node has answered without an answer to this call";
    assert_eq!(rig.one(client), error("2", -32603, nothing));
    rig.ends();
}
