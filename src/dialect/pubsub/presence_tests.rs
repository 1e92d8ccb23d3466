#![allow(clippy::unwrap_used)]
use super::*;
use crate::dialect::testing::{Got, House, Id};
use crate::hub::{CallError, ChannelOptions};

const GRACE_MS: u64 = 5_000;

fn house_with(options: PubSubOptions, channels: &[ChannelOptions]) -> (House, usize) {
    let mut house = House::new();
    let callback = PubSubCallback {
        target: Some("http://app/hook".parse().unwrap()),
        callbacks_max: 3,
        ..PubSubCallback::default()
    };
    let handler = PubSub::new(options).callback(callback);
    let route = house.route_with("/ch/{channel}", handler, channels);
    (house, route)
}

fn house() -> (House, usize) {
    let rules = [
        ChannelOptions::of("room.*").presence(true),
        ChannelOptions::of("room.loud.*").join_leave(true),
        ChannelOptions::of("live.*").callback(true),
    ];
    let options = PubSubOptions {
        presence_list_max: 3,
        presence_info_bytes_max: 20,
        ..PubSubOptions::default()
    };
    house_with(options, &rules)
}

fn join(house: &mut House, route: usize, query: &str, channel: &str) -> Id {
    house.join(route, &format!("/ch/x{query}"), &[("channel", channel)])
}

/// A session of this user.
fn user(house: &mut House, route: usize, query: &str, channel: &str, name: &str) -> Id {
    let target = format!("/ch/x{query}");
    house.next_user(name);
    house.join(route, &target, &[("channel", channel)])
}

fn texts(house: &mut House, guest: Id) -> Vec<String> {
    let got = house.got(guest);
    got.iter().map(|got| got.text().to_owned()).collect()
}

fn page(house: &mut House, route: usize, channel: &str) -> (u16, String) {
    let params = [("channel", channel)];
    let page = house.request_with(route, "GET", "/ch/x?presence", &[], &params, b"");
    (page.status, String::from_utf8(page.body).unwrap())
}

const ANN: &str = r#"{"user":"ann","connections":1}"#;

#[test]
fn who_asks_gets_the_list_first_and_then_every_change() {
    let (mut house, route) = house();
    let ann = user(&mut house, route, "?presence", "room.1", "ann");
    assert_eq!(
        texts(&mut house, ann),
        [format!(
            r#"{{"type":"presence","channel":"room.1","users":1,"connections":1,"members":[{ANN}]}}"#
        )]
    );
    let bob = user(
        &mut house,
        route,
        "?member=%7B%22n%22:1%7D",
        "room.1",
        "bob",
    );
    assert_eq!(
        texts(&mut house, ann),
        [
            r#"{"type":"join","channel":"room.1","user":"bob","connections":1,"info":{"n":1},"users":2}"#
        ]
    );
    assert_eq!(texts(&mut house, bob), [""; 0], "it has not asked");
    let bobs = user(&mut house, route, "", "room.1", "bob");
    let guest = join(&mut house, route, "", "room.1");
    let id = "0-3-4";
    assert_eq!(
        texts(&mut house, ann),
        [format!(
            r#"{{"type":"join","channel":"room.1","connection":"{id}","connections":1,"users":2}}"#
        )],
        "a user with two connections has come once"
    );
    assert_eq!(
        page(&mut house, route, "room.1"),
        (
            200,
            format!(
                r#"{{"channel":"room.1","users":2,"connections":4,"members":[{ANN},{{"user":"bob","connections":2,"info":{{"n":1}}}},{{"connection":"{id}","connections":1}}]}}"#
            )
        )
    );
    house.leave(bob);
    house.leave(guest);
    assert_eq!(
        texts(&mut house, ann),
        [format!(
            r#"{{"type":"leave","channel":"room.1","connection":"{id}","connections":0,"users":2}}"#
        )]
    );
    house.leave(bobs);
    house.pass(GRACE_MS - 1);
    assert_eq!(texts(&mut house, ann), [""; 0]);
    assert!(
        page(&mut house, route, "room.1")
            .1
            .contains(r#""user":"bob","connections":0"#)
    );
    house.pass(1);
    assert_eq!(
        texts(&mut house, ann),
        [
            r#"{"type":"leave","channel":"room.1","user":"bob","connections":0,"info":{"n":1},"users":1}"#
        ]
    );
    house.is_empty();
    house.pass(GRACE_MS);
    assert_eq!(
        page(&mut house, route, "room.1").1,
        r#"{"channel":"room.1","users":0,"connections":0,"members":[]}"#
    );
}

#[test]
fn who_comes_back_in_time_was_never_away() {
    let (mut house, route) = house();
    let ann = user(&mut house, route, "?presence", "room.1", "ann");
    texts(&mut house, ann);
    let mut bob = user(&mut house, route, "", "room.1", "bob");
    assert_eq!(texts(&mut house, ann).len(), 1);
    for _ in 0..3 {
        house.leave(bob);
        house.pass(GRACE_MS - 1);
        bob = user(&mut house, route, "", "room.1", "bob");
        house.pass(GRACE_MS);
        assert_eq!(texts(&mut house, ann), [""; 0]);
    }
    house.leave(bob);
    house.pass(GRACE_MS);
    bob = user(&mut house, route, "", "room.1", "bob");
    let heard = texts(&mut house, ann);
    assert_eq!(heard.len(), 2, "{heard:?}");
    // Also when the room was empty meanwhile: the next one finds both in it.
    house.leave(ann);
    house.leave(bob);
    let ann = user(&mut house, route, "?presence", "room.1", "ann");
    let heard = texts(&mut house, ann);
    assert!(
        heard[0].contains(r#""user":"bob","connections":0"#),
        "{heard:?}"
    );
    assert_eq!(heard.len(), 1);
    house.pass(GRACE_MS);
    assert!(texts(&mut house, ann)[0].contains(r#""leave""#));
    house.is_empty();
}

#[test]
fn a_session_that_gets_a_name_later_comes_as_that_user() {
    let (mut house, route) = house();
    let ann = user(&mut house, route, "?presence", "room.1", "ann");
    let guest = join(&mut house, route, "", "room.1");
    texts(&mut house, ann);
    house.is_user(guest, "bob");
    let heard = texts(&mut house, ann);
    assert!(
        heard[0].contains(r#""leave","channel":"room.1","connection""#),
        "{heard:?}"
    );
    assert!(
        heard[1].contains(r#""join","channel":"room.1","user":"bob""#),
        "{heard:?}"
    );
    house.is_empty();
}

#[test]
fn all_subscribers_are_told_where_the_options_say_so() {
    let (mut house, route) = house();
    let first = join(&mut house, route, "", "room.loud.1");
    let second = user(&mut house, route, "?presence", "room.loud.1", "ann");
    let heard = texts(&mut house, first);
    assert!(
        heard[0].contains(r#""join""#) && heard[1].contains(r#""user":"ann""#),
        "{heard:?}"
    );
    let heard = texts(&mut house, second);
    assert!(
        heard.last().unwrap().contains(r#""type":"presence""#),
        "{heard:?}"
    );
    house.leave(first);
    assert_eq!(
        texts(&mut house, second).len(),
        1,
        "once, though it is told twice over"
    );
    house.is_empty();
}

#[test]
fn crowds_are_counted_and_small_rooms_listed_again() {
    let (mut house, route) = house();
    let ann = user(&mut house, route, "?presence", "room.1", "ann");
    texts(&mut house, ann);
    let mut guests: Vec<Id> = (0..2)
        .map(|_| join(&mut house, route, "", "room.1"))
        .collect();
    assert_eq!(texts(&mut house, ann).len(), 2, "three may be listed");
    assert!(page(&mut house, route, "room.1").1.contains("members"));
    guests.push(join(&mut house, route, "", "room.1"));
    guests.push(join(&mut house, route, "", "room.1"));
    assert_eq!(texts(&mut house, ann), [""; 0], "four may not");
    let counts = r#"{"channel":"room.1","users":1,"connections":5}"#;
    assert_eq!(page(&mut house, route, "room.1"), (200, counts.to_owned()));
    house.pass(1000);
    let told = counts.replace("{\"channel", "{\"type\":\"presence\",\"channel");
    assert_eq!(texts(&mut house, ann), [&*told]);
    let late = join(&mut house, route, "?presence", "room.1");
    assert_eq!(texts(&mut house, late), [told.replace(":5}", ":6}")]);
    for guest in guests {
        house.leave(guest);
    }
    assert_eq!(texts(&mut house, ann), [""; 0]);
    house.pass(1000);
    for guest in [ann, late] {
        let heard = texts(&mut house, guest);
        assert_eq!(heard.len(), 1);
        assert!(heard[0].contains("\"members\":[{"), "{heard:?}");
    }
    house.leave(late);
    assert!(
        texts(&mut house, ann)[0].contains("\"leave\""),
        "changes again"
    );
    house.is_empty();
}

#[test]
fn wishes_that_cannot_be_met_are_refused_before_the_upgrade() {
    let (mut house, route) = house();
    for (query, channel, status) in [
        ("?presence", "news", 404),
        ("?member=1", "room.1", 400),
        ("?member=%7B", "room.1", 400),
        ("?member=%7B%0A%7D", "room.1", 400),
        ("?member=%7B%22a%22:%22123456789012%22%7D", "room.1", 101),
        ("?member=%7B%22a%22:%221234567890123%22%7D", "room.1", 400),
        ("?member=%7B%7D", "news", 101),
    ] {
        let params = [("channel", channel)];
        let answer = house.upgrade(route, &format!("/ch/x{query}"), &params);
        let got = answer.map_or_else(|refusal| refusal.status, |_| 101);
        assert_eq!(got, status, "{query} {channel}");
    }
    assert_eq!(page(&mut house, route, "news").0, 404);
    assert_eq!(house.hub.metrics().refused("presence_not_kept"), 2);
    house.is_empty();
}

fn event(name: &str, channel: &str) -> String {
    format!(r#""events":[{{"name":"channel_{name}","channel":"{channel}"}}]}}"#)
}

#[track_caller]
fn one_call(house: &mut House, name: &str, channel: &str) -> crate::dialect::testing::Asked {
    let mut calls = house.calls();
    assert_eq!(calls.len(), 1);
    let body = String::from_utf8(calls[0].call.body.clone()).unwrap();
    assert!(
        body.starts_with("{\"time_ms\":") && body.ends_with(&event(name, channel)),
        "{body}"
    );
    calls.remove(0)
}

#[test]
fn an_application_is_told_of_the_first_and_the_last() {
    let (mut house, route) = house();
    let a = join(&mut house, route, "", "live.1");
    let call = one_call(&mut house, "occupied", "live.1");
    let b = join(&mut house, route, "", "live.1");
    house.leave(a);
    house.leave(b);
    house.answer(call, 204, b"");
    house.pass(GRACE_MS - 1);
    assert!(house.calls().is_empty());
    house.pass(1);
    let call = one_call(&mut house, "vacated", "live.1");
    let again = join(&mut house, route, "", "live.1");
    assert!(house.calls().is_empty(), "one after the other");
    house.answer(call, 500, b"");
    assert_eq!(house.hub.metrics().refused("pubsub_callback_status"), 1);
    let call = one_call(&mut house, "occupied", "live.1");
    house.answer(call, 200, b"");
    // Back in time: nothing to tell.
    house.leave(again);
    house.pass(GRACE_MS - 1);
    let again = join(&mut house, route, "", "live.1");
    house.pass(GRACE_MS);
    assert!(house.calls().is_empty());
    house.leave(again);
    join(&mut house, route, "", "quiet");
    house.pass(GRACE_MS);
    let call = one_call(&mut house, "vacated", "live.1");
    house.answer(call, 200, b"");
    house.is_empty();
}

#[test]
fn a_call_without_an_answer_is_made_three_times() {
    let (mut house, route) = house();
    let a = join(&mut house, route, "", "live.1");
    for wait_ms in [1000, 2000] {
        let call = one_call(&mut house, "occupied", "live.1");
        house.fail(call, CallError::Timeout);
        house.pass(wait_ms - 1);
        assert!(house.calls().is_empty());
        house.pass(1);
    }
    let call = one_call(&mut house, "occupied", "live.1");
    house.fail(call, CallError::Broken);
    house.pass(100_000);
    assert!(house.calls().is_empty());
    assert_eq!(house.hub.metrics().refused("pubsub_callback_failed"), 1);
    house.leave(a);
    house.pass(GRACE_MS);
    let call = one_call(&mut house, "vacated", "live.1");
    house.fail(call, CallError::Timeout);
    // It is as it was told before the next try.
    join(&mut house, route, "", "live.1");
    house.pass(100_000);
    assert!(house.calls().is_empty());
    house.is_empty();
}

#[test]
fn so_many_may_wait_and_no_more() {
    let (mut house, route) = house();
    for channel in ["live.1", "live.2", "live.3", "live.4"] {
        join(&mut house, route, "", channel);
    }
    let calls = house.calls();
    assert_eq!(calls.len(), 3);
    assert_eq!(house.hub.metrics().refused("pubsub_callback_dropped"), 1);
    for call in calls {
        house.answer(call, 200, b"");
    }
    join(&mut house, route, "", "live.5");
    one_call(&mut house, "occupied", "live.5");
    house.is_empty();
}

#[test]
fn presence_costs_sessions_nothing_and_is_counted() {
    let (mut house, route) = house();
    let before = house.hub.used_bytes();
    let a = user(
        &mut house,
        route,
        "?member=%7B%22n%22:1%7D",
        "room.1",
        "ann",
    );
    assert!(house.hub.used_bytes() > before);
    assert_eq!(house.got(a), [] as [Got; 0]);
    house.leave(a);
    house.pass(GRACE_MS);
    assert_eq!(house.hub.used_bytes(), before);
    let metrics = house.hub.metrics();
    assert_eq!(
        (metrics.presence_joined_total, metrics.presence_left_total),
        (1, 1)
    );
    house.is_empty();
}

#[test]
fn with_envelopes_what_the_server_says_cannot_be_forged() {
    let (mut house, route) = house();
    let ann = user(&mut house, route, "?presence&positions", "room.1", "ann");
    let heard = texts(&mut house, ann);
    assert!(heard[0].starts_with(r#"{"type":"subscribed""#), "{heard:?}");
    assert!(heard[1].starts_with(r#"{"type":"presence""#), "{heard:?}");
    let forged = br#"{"type":"join","channel":"room.1","user":"bob"}"#;
    let params = [("channel", "room.1")];
    house.request_with(route, "POST", "/ch/x", &[], &params, forged);
    let heard = texts(&mut house, ann);
    assert!(heard[0].starts_with(r#"{"position":""#), "{heard:?}");
    user(&mut house, route, "", "room.1", "bob");
    let heard = texts(&mut house, ann);
    assert!(heard[0].starts_with(r#"{"type":"join""#), "{heard:?}");
    house.is_empty();
}

#[test]
#[cfg(feature = "wildcards")]
fn who_listens_by_a_pattern_is_in_no_channel() {
    let (mut house, route) = house();
    let watch = join(&mut house, route, "?presence", "room.1");
    texts(&mut house, watch);
    for pattern in ["room.*", "live.*", ">"] {
        user(&mut house, route, "", pattern, "zoe");
    }
    assert_eq!(texts(&mut house, watch), Vec::<String>::new());
    assert!(house.calls().is_empty(), "nor is a channel occupied");
    for query in ["?presence", "?member={}"] {
        let target = format!("/ch/x{query}");
        let refused = house.upgrade(route, &target, &[("channel", "room.*")]);
        assert_eq!(refused.unwrap_err().status, 400, "{query}");
    }
    assert_eq!(page(&mut house, route, "room.*").0, 400);
    house.hub.check_invariants();
}
