#![allow(clippy::unwrap_used)]
use super::*;
use crate::dialect::testing::{Got, House, Id};
use crate::hub::ChannelOptions;

fn house_with(options: PubSubOptions, channels: &[ChannelOptions]) -> (House, usize) {
    let mut house = House::new();
    let route = house.route_with("/ch/{channel}", PubSub::new(options), channels);
    (house, route)
}

fn house() -> (House, usize) {
    house_with(PubSubOptions::default(), &[])
}

fn ask(house: &mut House, route: usize, query: &str, channel: &str) -> Result<Id, (u16, String)> {
    let target = format!("/ch/x{query}");
    let asked = house.upgrade(route, &target, &[("channel", channel)]);
    asked.map_err(|refused| (refused.status, String::from_utf8(refused.body).unwrap()))
}

fn join(house: &mut House, route: usize, query: &str, channel: &str) -> Id {
    ask(house, route, query, channel).unwrap()
}

fn request(
    house: &mut House,
    route: usize,
    method: &str,
    query: &str,
    channel: &str,
) -> (u16, String) {
    let target = format!("/ch/x{query}");
    let answer = house.request_with(route, method, &target, &[], &[("channel", channel)], b"m");
    (answer.status, String::from_utf8(answer.body).unwrap())
}

fn texts(house: &mut House, guest: Id) -> Vec<String> {
    let got = house.got(guest);
    got.iter().map(|got| got.text().to_owned()).collect()
}

#[test]
fn a_pattern_hears_what_is_published_to_all_it_has() {
    let (mut house, route) = house();
    let [one, rest, all] = ["a.*", "a.>", ">"].map(|pattern| join(&mut house, route, "", pattern));
    let direct = join(&mut house, route, "", "a.b");
    for (channel, receivers) in [("a.b", 4), ("a.b.c", 2), ("a", 1), ("*a", 1), ("a.*b", 3)] {
        let (status, json) = request(&mut house, route, "POST", "", channel);
        assert_eq!(status, 200, "{json}");
        let receivers = format!("\"receivers\":{receivers}}}");
        assert!(json.ends_with(&receivers), "{channel}: {json}");
    }
    let heard = [all, rest, one, direct].map(|guest| house.got(guest).len());
    assert_eq!(heard, [5, 3, 2, 1]);
}

#[test]
fn who_wants_positions_is_told_the_channel() {
    let (mut house, route) = house();
    let guest = join(&mut house, route, "?positions", "a.*");
    let (_, published) = request(&mut house, route, "POST", "", "a.b");
    let position = published.split('"').nth(9).unwrap();
    let expected = [
        "{\"type\":\"subscribed\",\"pattern\":\"a.*\"}".to_owned(),
        format!("{{\"channel\":\"a.b\",\"position\":\"{position}\",\"text\":\"m\"}}"),
    ];
    assert_eq!(texts(&mut house, guest), expected);
}

#[test]
fn what_is_for_one_channel_is_refused_for_a_pattern() {
    let (mut house, route) = house_with(
        PubSubOptions::default(),
        &[ChannelOptions::of("*").history_messages_max(9)],
    );
    let position = "?since=4f1c2a90.17.7a0d55e1";
    for (query, name) in [
        (position, "since"),
        ("?since=nonsense", "since"),
        ("?rewind=all", "rewind"),
        ("?positions&rewind=1", "rewind"),
        ("?presence", "presence"),
        ("?member={}", "member"),
        ("?info", "info"),
    ] {
        let (status, why) = ask(&mut house, route, query, "a.*").unwrap_err();
        assert_eq!(status, 400, "{query}");
        assert!(
            why.contains(&format!("`{name}` is for one channel")),
            "{why}"
        );
        let (status, plain) = request(&mut house, route, "GET", query, "a.*");
        assert_eq!((status, plain), (400, why), "{query}");
    }
    let headers = [("Accept", "application/json")];
    let params = [("channel", ">")];
    let info = house.request_with(route, "GET", "/ch/x", &headers, &params, b"");
    assert_eq!(info.status, 400);
    assert!(ask(&mut house, route, "?since=4f1c2a90.17.7a0d55e1", "a.b").is_ok());
}

#[test]
fn what_is_no_pattern_is_refused_or_a_channel() {
    let (mut house, route) = house();
    let many = ["*"; 9].join(".");
    let long = format!("*.{}", "x".repeat(254));
    for (pattern, why) in [
        ("a.>.b", "comes last"),
        ("a..*", "is empty"),
        (".>", "is empty"),
        ("*a.*", "whole segment"),
        (&*many, "at most 8 segments"),
        (&*long, "256 bytes"),
        ("*.\u{7}", "control character"),
    ] {
        let (status, said) = ask(&mut house, route, "", pattern).unwrap_err();
        assert_eq!(status, 400, "{pattern}");
        assert!(said.contains(why), "{pattern}: {said}");
        assert_eq!(
            request(&mut house, route, "GET", "", pattern).0,
            400,
            "{pattern}"
        );
    }
    // A star that is no segment is a letter like any other.
    for channel in ["*a", "a*", "**", "a.b>", "a..b", ">>"] {
        let guest = join(&mut house, route, "", channel);
        let (status, json) = request(&mut house, route, "POST", "", channel);
        assert_eq!(status, 200, "{json}");
        assert_eq!(house.got(guest).len(), 1, "{channel}");
    }
    for pattern in [">", "*", "*.*.*.*.*.*.*.>"] {
        join(&mut house, route, "", pattern);
    }
    house.hub.check_invariants();
}

#[test]
fn nothing_is_published_to_a_pattern() {
    let options = PubSubOptions {
        clients_publish: true,
        ..PubSubOptions::default()
    };
    let (mut house, route) = house_with(options, &[]);
    let many = house.route("/ch", PubSub::default());
    let guest = join(&mut house, route, "", "a.*");
    let direct = join(&mut house, route, "", "a.b");
    let (status, why) = request(&mut house, route, "POST", "", "a.*");
    assert_eq!(status, 400);
    assert!(why.contains("this is a pattern"), "{why}");
    for body in [
        r#"{"channel":"a.>","data":1}"#,
        r#"{"batch":[{"channel":"a.b","data":1},{"channels":["a.c","*"],"data":2}]}"#,
    ] {
        let answer = house.request(many, "POST", "/ch", body.as_bytes());
        assert_eq!(answer.status, 400, "{body}");
    }
    house.text(guest, "hello");
    let expected = "{\"type\":\"error\",\"message\":\"this is a pattern and no channel: publish to one \
                    channel, with POST or over its own URL\"}";
    assert_eq!(texts(&mut house, guest), [expected]);
    house.text(direct, "hello");
    assert_eq!(house.got(guest), [Got::Text("hello".into())]);
}

/// A rule that is about some channels of a pattern counts, unless a longer one is about all of them.
#[test]
fn every_rule_that_is_about_some_of_it_counts() {
    let rules = [
        ChannelOptions::of("*").subscribe(Who::Users),
        ChannelOptions::of("open.*").subscribe(Who::Anyone),
        ChannelOptions::of("open.secret").subscribe(Who::Nobody),
        ChannelOptions::of("quiet.log").subscribe(Who::Nobody),
    ];
    let (mut house, route) = house_with(PubSubOptions::default(), &rules);
    for (user, pattern, expected) in [
        ("", "open.x.*", Ok(())),
        ("", "open.*.x", Ok(())),
        ("", "open.*", Err((403, "`open.secret`"))),
        ("ann", "open.>", Err((403, "`open.secret`"))),
        ("", "closed.*", Err((401, "`*`"))),
        ("ann", "closed.*", Ok(())),
        ("", "*.x", Err((401, "`*`"))),
        ("ann", "*.x", Ok(())),
        ("ann", "*.log", Err((403, "`quiet.log`"))),
        ("ann", ">", Err((403, "`"))),
        ("ann", "quiet.log.*", Ok(())),
    ] {
        if !user.is_empty() {
            house.next_user(user);
        }
        let asked = ask(&mut house, route, "", pattern).map(drop);
        match (asked, expected) {
            (Ok(()), Ok(())) => {}
            (Err((status, why)), Err((wanted, rule))) => {
                assert_eq!(status, wanted, "{pattern}: {why}");
                assert!(
                    why.contains(&format!("of the rule {rule}")),
                    "{pattern}: {why}"
                );
            }
            (asked, _) => panic!("{user} {pattern}: {asked:?}"),
        }
    }
}
