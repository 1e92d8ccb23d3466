#![allow(clippy::unwrap_used)]
use super::*;
use crate::dialect::testing::{Got, House, Id};
use crate::hub::{ChannelOptions, Who};

fn house() -> (House, usize, usize) {
    let mut house = House::new();
    let one = house.route("/ch/{channel}", PubSub::default());
    let many = house.route("/ch", PubSub::default());
    (house, one, many)
}

fn join(house: &mut House, route: usize, channel: &str) -> Id {
    house.join(route, "/ch/x", &[("channel", channel)])
}

fn post(house: &mut House, route: usize, channel: &str, body: &[u8]) -> (u16, String) {
    answer(house.request_with(route, "POST", "/ch/x", &[], &[("channel", channel)], body))
}

fn answer(response: Response) -> (u16, String) {
    (response.status, String::from_utf8(response.body).unwrap())
}

/// The answer without its epochs and positions, which are random, but agree.
fn without_epoch(answer: &str) -> String {
    let mut parts = answer.split("\"epoch\":\"");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (epoch, rest) = part.split_once("\",\"position\":\"").unwrap();
        let (position, rest) = rest.split_once("\",").unwrap();
        let position: Position = position.parse().unwrap();
        assert_eq!(format!("{:08x}", position.epoch), epoch, "{answer}");
        assert!(
            out.ends_with(&format!("\"offset\":{},", position.offset)),
            "{answer}"
        );
        out += rest;
    }
    out
}

#[test]
fn a_post_reaches_the_subscribers_of_its_channel() {
    let (mut house, one, _) = house();
    let a = join(&mut house, one, "news");
    let b = join(&mut house, one, "news");
    let other = join(&mut house, one, "weather");
    for (offset, body) in [(1, "hello"), (2, "")] {
        let (status, json) = post(&mut house, one, "news", body.as_bytes());
        assert_eq!(status, 200);
        assert_eq!(
            without_epoch(&json),
            format!("{{\"offset\":{offset},\"receivers\":2}}")
        );
    }
    for guest in [a, b] {
        assert_eq!(
            house.got(guest),
            [Got::Text("hello".into()), Got::Text(String::new())]
        );
    }
    assert_eq!(house.got(other), []);
    assert_eq!(
        without_epoch(&post(&mut house, one, "nobody", b"x").1),
        "{\"offset\":1,\"receivers\":0}"
    );
}

#[test]
fn text_or_binary_goes_by_body_and_content_type() {
    let (mut house, one, _) = house();
    let a = join(&mut house, one, "news");
    post(&mut house, one, "news", &[0xFF]);
    for kind in [
        "application/octet-stream",
        "Application/Octet-Stream; v=1",
        "text/plain",
    ] {
        let params = [("channel", "news")];
        house.request_with(
            one,
            "POST",
            "/ch/news",
            &[("Content-Type", kind)],
            &params,
            b"x",
        );
    }
    assert_eq!(
        house.got(a),
        [
            Got::Binary(vec![0xFF]),
            Got::Binary(b"x".to_vec()),
            Got::Binary(b"x".to_vec()),
            Got::Text("x".into())
        ]
    );
}

#[test]
fn several_channels_and_batches() {
    let (mut house, one, many) = house();
    let a = join(&mut house, one, "a");
    let b = join(&mut house, one, "b");
    let body = br#"{"channels":["a","b"],"data":{"n": 18446744073709551616, "n":1}}"#;
    let (status, json) = answer(house.request(many, "POST", "/ch", body));
    assert_eq!(status, 200);
    assert_eq!(
        without_epoch(&json),
        r#"{"results":[{"channel":"a","offset":1,"receivers":1},{"channel":"b","offset":1,"receivers":1}]}"#
    );
    let body =
        br#"{"batch":[{"channel":"a","data":"line\n1"},{"channels":["b","c"],"data":[1 ,2]}]}"#;
    let (status, json) = answer(house.request(many, "POST", "/ch", body));
    assert_eq!(status, 200);
    assert_eq!(json.matches("\"channel\":").count(), 3);
    let raw = Got::Text(r#"{"n": 18446744073709551616, "n":1}"#.into());
    assert_eq!(house.got(a), [raw.clone(), Got::Text("line\n1".into())]);
    assert_eq!(house.got(b), [raw, Got::Text("[1 ,2]".into())]);
    let empty = answer(house.request(many, "POST", "/ch", b"{\"batch\":[]}"));
    assert_eq!(empty, (200, "{\"results\":[]}".into()));
}

#[test]
fn a_bad_request_publishes_nothing_and_says_why() {
    let (mut house, one, many) = house();
    let a = join(&mut house, one, "a");
    let long = format!(
        r#"{{"batch":[{{"channel":"a","data":1}},{{"channel":"{}","data":1}}]}}"#,
        "x".repeat(256)
    );
    for (body, why) in [
        ("", "not JSON"),
        ("[]", "object is expected"),
        ("{}", "is needed"),
        (r#"{"channel":"a"}"#, "is missing"),
        (r#"{"channels":"a","data":1}"#, "must be an array"),
        (r#"{"channel":"a","channels":["a"],"data":1}"#, "is needed"),
        (r#"{"channels":["a",7],"data":1}"#, "must be a string"),
        (r#"{"channels":["a",""],"data":1}"#, "is empty"),
        (r#"{"channels":["a","b\n"],"data":1}"#, "control character"),
        (r#"{"channels":["a"],"data":"\ud800"}"#, "surrogate"),
        (
            r#"{"batch":[{"channel":"a","data":1},{"channel":"a"}]}"#,
            "batch[1]: ",
        ),
        (r#"{"batch":[{"channel":"a","data":1},7]}"#, "batch[1]: "),
        (r#"{"batch":[{"channel":"a","data":1}],"data":2}"#, "beside"),
        (&long, "batch[1]: the channel name has 256 bytes"),
    ] {
        let (status, json) = answer(house.request(many, "POST", "/ch", body.as_bytes()));
        assert_eq!(status, 400, "{body}");
        assert!(json.contains(&why.replace('"', "\\\"")), "{body}: {json}");
    }
    assert_eq!(answer(house.request(many, "POST", "/ch", &[0xFF])).0, 400);
    assert_eq!(post(&mut house, one, "a\n", b"x").0, 400);
    assert_eq!(house.got(a), []);
}

#[test]
fn channels_of_a_request_are_bounded_at_the_limit() {
    let mut house = House::new();
    let options = PubSubOptions {
        channels_max: 3,
        batch_max: 2,
        ..PubSubOptions::default()
    };
    let many = house.route("/ch", PubSub::new(options));
    let mut status = |body: &str| house.request(many, "POST", "/ch", body.as_bytes()).status;
    assert_eq!(status(r#"{"channels":["a","b","c"],"data":1}"#), 200);
    assert_eq!(status(r#"{"channels":["a","b","c","d"],"data":1}"#), 400);
    let item = |n: usize| {
        format!(
            r#"{{"channels":[{}],"data":1}}"#,
            vec!["\"a\""; n].join(",")
        )
    };
    assert_eq!(
        status(&format!("{{\"batch\":[{},{}]}}", item(1), item(2))),
        200
    );
    assert_eq!(
        status(&format!("{{\"batch\":[{},{}]}}", item(2), item(2))),
        400
    );
    assert_eq!(
        status(&format!(
            "{{\"batch\":[{},{},{}]}}",
            item(1),
            item(1),
            item(1)
        )),
        400
    );
}

#[test]
fn a_full_budget_refuses_the_whole_request() {
    let mut house = House::with_budget(250);
    let one = house.route("/ch/{channel}", PubSub::default());
    let many = house.route("/ch", PubSub::default());
    let a = join(&mut house, one, "a");
    let b = join(&mut house, one, "b");
    let text = "x".repeat(150);
    let body = format!(r#"{{"channels":["a","b"],"data":"{text}"}}"#);
    let refused = house.request(many, "POST", "/ch", body.as_bytes());
    assert_eq!(refused.status, 503);
    assert!(
        refused
            .headers
            .iter()
            .any(|(name, _)| name == "Retry-After")
    );
    assert_eq!(
        (house.got(a), house.got(b)),
        (vec![], vec![]),
        "not even the one that had room"
    );
    assert_eq!(post(&mut house, one, "a", text.as_bytes()).0, 200);
    assert_eq!(post(&mut house, one, "b", text.as_bytes()).0, 503);
    assert_eq!(house.got(a).len(), 1);
    assert_eq!(
        post(&mut house, one, "b", text.as_bytes()).0,
        200,
        "room again"
    );
}

#[test]
fn listeners_do_not_speak_unless_they_may() {
    let mut house = House::new();
    let quiet = house.route("/ch/{channel}", PubSub::default());
    let loud = house.route(
        "/ch/{channel}",
        PubSub::new(PubSubOptions {
            clients_publish: true,
            ..Default::default()
        }),
    );
    let a = join(&mut house, quiet, "news");
    let b = join(&mut house, loud, "news");
    house.text(a, "hi");
    let error = r#"{"type":"error","message":"this channel is read-only here: publish with POST"}"#;
    assert_eq!(house.got(a), [Got::Text(error.into())]);
    assert_eq!(house.got(b), []);
    house.binary(b, &[1]);
    for guest in [a, b] {
        assert_eq!(house.got(guest), [Got::Binary(vec![1])]);
    }
    for _ in 0..20 {
        house.text(a, "hi");
    }
    assert_eq!(house.closed(a), Some(crate::ws::CloseCode::POLICY));
    house.is_empty();
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    let found = response.headers.iter().find(|(n, _)| n == name);
    found.map_or("", |(_, value)| value)
}

#[test]
fn a_page_may_read_what_it_may_ask() {
    let (mut house, one, many) = house();
    let _a = join(&mut house, one, "news");
    let params = [("channel", "news")];
    let page = ("Origin", "https://page.example");
    let got = house.request_with(one, "POST", "/ch/news", &[page], &params, b"x");
    assert_eq!(header(&got, "Access-Control-Allow-Origin"), page.1);
    assert_eq!(header(&got, "Vary"), "Origin");
    let asks = [page, ("Access-Control-Request-Method", "POST")];
    for (route, target) in [(one, "/ch/news"), (many, "/ch")] {
        let got = house.request_with(route, "OPTIONS", target, &asks, &params, b"");
        assert_eq!(got.status, 200);
        assert_eq!(header(&got, "Access-Control-Allow-Origin"), page.1);
        assert_eq!(header(&got, "Access-Control-Allow-Methods"), "GET, POST");
        assert!(header(&got, "Access-Control-Allow-Headers").contains("Content-Type"));
    }
    let plain = house.request_with(one, "OPTIONS", "/ch/news", &[page], &params, b"");
    assert_eq!(plain.status, 405);
    let nobody = house.request_with(one, "POST", "/ch/news", &[], &params, b"x");
    assert_eq!(header(&nobody, "Access-Control-Allow-Origin"), "");
}

#[test]
fn methods_and_channel_information() {
    let (mut house, one, many) = house();
    let _a = join(&mut house, one, "news");
    let params = [("channel", "news")];
    let mut get = |method: &str, target: &str, headers: &[(&str, &str)]| {
        house.request_with(one, method, target, headers, &params, b"")
    };
    let info = "{\"channel\":\"news\",\"subscribers\":1}";
    assert_eq!(answer(get("GET", "/ch/news?info", &[])), (200, info.into()));
    assert_eq!(
        answer(get("HEAD", "/ch/news", &[("Accept", "application/json")])),
        (200, info.into())
    );
    for (accept, media_type) in [
        ("*/*", "text/plain; charset=utf-8"),
        ("text/event-stream", "text/event-stream"),
        ("text/event-stream, application/json", "text/event-stream"),
        ("application/json, text/plain, */*", "application/json"),
    ] {
        let got = get("GET", "/ch/news", &[("Accept", accept)]);
        assert_eq!(
            (got.status, header(&got, "Content-Type")),
            (200, media_type)
        );
    }
    let got = get("GET", "/ch/news", &[]);
    assert_eq!(header(&got, "Content-Type"), "text/plain; charset=utf-8");
    let browser = [("Accept", "text/html,application/xml;q=0.9,*/*;q=0.8")];
    let upgrade = get("GET", "/ch/news", &browser);
    assert_eq!(upgrade.status, 426);
    assert!(
        upgrade
            .headers
            .iter()
            .any(|(name, _)| name == "Sec-WebSocket-Version")
    );
    assert_eq!(get("PUT", "/ch/news", &[]).status, 405);
    let refused = house.request(many, "GET", "/ch", b"");
    assert_eq!(refused.status, 405);
    assert!(refused.headers.contains(&("Allow".into(), "POST".into())));
    assert_eq!(house.upgrade(many, "/ch", &[]).unwrap_err().status, 400);
    assert_eq!(
        house
            .upgrade(one, "/ch/x", &[("channel", "a\n")])
            .unwrap_err()
            .status,
        400
    );
    assert_eq!(
        PubSub::default().gap_marker(Some(3)).unwrap(),
        "{\"type\":\"gap\",\"missed\":3}"
    );
}

#[test]
fn options_say_who_may_listen_and_whether_clients_speak() {
    let rules = [
        ChannelOptions::of("members.*")
            .subscribe(Who::Users)
            .publish(true),
        ChannelOptions::of("members.read").publish(false),
        ChannelOptions::of("log").subscribe(Who::Nobody),
        ChannelOptions::of("members.open").subscribe(Who::Anyone),
    ];
    for clients_publish in [false, true] {
        let mut house = House::new();
        let options = PubSubOptions {
            clients_publish,
            ..PubSubOptions::default()
        };
        let route = house.route_with("/ch/{channel}", PubSub::new(options), &rules);
        for (channel, anonymous, user) in [
            ("news", 101, 101),
            ("members.a", 401, 101),
            ("members.read", 401, 101),
            ("members.open", 101, 101),
            ("log", 403, 403),
        ] {
            for (name, expected) in [(None, anonymous), (Some("ann"), user)] {
                if let Some(name) = name {
                    house.next_user(name);
                }
                let answer = house.upgrade(route, "/ch/x", &[("channel", channel)]);
                let status = answer.as_ref().map_or_else(|r| r.status, |_| 101);
                assert_eq!(status, expected, "{channel} {name:?}");
                let Ok(guest) = answer else { continue };
                house.text(guest, "said");
                let speaks = match channel {
                    "news" => clients_publish,
                    "members.read" => false,
                    _ => true,
                };
                let heard = house.got(guest);
                assert_eq!(heard[0].text() == "said", speaks, "{channel} {heard:?}");
                house.leave(guest);
            }
        }
        assert_eq!(house.hub.metrics().refused("channel_subscribe"), 4);
        // Who may publish by POST is a matter of keys.
        assert_eq!(post(&mut house, route, "log", b"x").0, 200);
        house.is_empty();
    }
}
