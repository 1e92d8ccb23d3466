#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::hub::encoding::Encoding;
use crate::hub::{ChannelOptions, HubLimits, NameError, SessionLimits, SlowPolicy, Start, Who};
use crate::random::Random;
use crate::token::{Grant, Rights};

/// What a pattern has, said as plainly as it can be.
fn naive(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        ([">"], [_, ..]) => true,
        (["*", pattern @ ..], [_, name @ ..]) => naive(pattern, name),
        ([segment, pattern @ ..], [own, name @ ..]) => segment == own && naive(pattern, name),
        ([], []) => true,
        _ => false,
    }
}

fn segments(name: &str) -> Vec<&str> {
    name.split('.').collect()
}

/// A name of few segments out of few words, so that many are alike.
fn name(random: &mut Random, words: &[&str], most: u64) -> String {
    let count = 1 + random.next_u64() % most;
    let mut drawn = (0..count).map(|_| words[random.next_u64() as usize % words.len()]);
    let first = drawn.next().unwrap().to_owned();
    drawn.fold(first, |name, word| name + "." + word)
}

const WORDS: [&str; 4] = ["", "a", "b", "aa"];

#[test]
fn the_trie_has_what_a_naive_matcher_has() {
    let mut random = Random::seeded(5);
    let mut tree = Tree::new(Space(0), Space(1));
    let mut there: BTreeMap<String, u32> = BTreeMap::new();
    let mut matched = 0;
    for number in 0..20_000 {
        let pattern = name(&mut random, &["a", "b", "aa", "*", ">"], 5);
        if check_pattern(&pattern).is_ok() {
            if there.remove(&pattern).is_some() {
                tree.remove(&pattern);
            } else if there.len() < 40 {
                tree.insert(&pattern, number);
                there.insert(pattern, number);
            }
        }
        let name = name(&mut random, &WORDS, 6);
        let mut found = BTreeSet::new();
        tree.find(&name, &mut |at| {
            assert!(found.insert(at), "{name} is found twice")
        });
        let expected = there.iter().filter(|(pattern, _)| {
            let has_it = naive(&segments(pattern), &segments(&name));
            assert_eq!(has(pattern, &name), has_it, "{pattern} {name}");
            has_it
        });
        let expected: BTreeSet<u32> = expected.map(|(_, number)| *number).collect();
        assert_eq!(found, expected, "{name} among {there:?}");
        matched += found.len();
        assert_eq!(tree.check(), there.len());
    }
    assert!(matched > 10_000, "{matched}");
    for pattern in there.keys() {
        tree.remove(pattern);
    }
    assert_eq!(tree.check(), 0);
}

#[test]
fn a_pattern_has_some_name_with_a_beginning_or_none() {
    let mut random = Random::seeded(6);
    // All names of up to four segments out of few words.
    let mut names: Vec<String> = vec![String::new()];
    for _ in 0..4 {
        let longer = names.iter().flat_map(|name| {
            let dot = if name.is_empty() { "" } else { "." };
            ["a", "ab", "b"].map(|word| format!("{name}{dot}{word}"))
        });
        let longer: Vec<String> = longer.collect();
        names.extend(longer);
        names.sort_unstable();
        names.dedup();
    }
    let mut some = 0;
    for _ in 0..3_000 {
        let pattern = name(&mut random, &["a", "ab", "*", ">"], 3);
        if check_pattern(&pattern).is_err() {
            continue;
        }
        let whole = name(&mut random, &["a", "ab", "b"], 3);
        let beginning = &whole[..random.next_u64() as usize % (whole.len() + 1)];
        let mut own = names.iter().filter(|name| has(&pattern, name));
        assert!(
            own.clone()
                .all(|name| name.starts_with(beginning_of(&pattern)))
        );
        let expected = own.any(|name| name.starts_with(beginning));
        assert_eq!(
            has_some(&pattern, beginning),
            expected,
            "{pattern} {beginning}"
        );
        some += usize::from(expected);
    }
    assert!(some > 500, "{some}");
}

#[test]
fn what_is_no_pattern_is_told() {
    let segments = |count: usize| vec!["*"; count].join(".");
    for good in [
        ">",
        "*",
        "a.*",
        "a.>",
        "*.*.>",
        "tàu hỏa.*",
        &segments(8),
        "*. ",
    ] {
        assert_eq!(check_pattern(good), Ok(()), "{good}");
    }
    for (bad, why) in [
        (
            "a.>.b",
            "a `>` stands for the rest of a name, so it comes last",
        ),
        (
            ">.>",
            "a `>` stands for the rest of a name, so it comes last",
        ),
        ("a..*", "a segment of the pattern is empty"),
        ("*.", "a segment of the pattern is empty"),
        (".>", "a segment of the pattern is empty"),
        ("*a.*", "a `*` or `>` in a pattern is a whole segment"),
        ("a.b>.*", "a `*` or `>` in a pattern is a whole segment"),
        ("**.*", "a `*` or `>` in a pattern is a whole segment"),
        (&segments(9), "a pattern has at most 8 segments"),
        ("a.b", "a pattern has a segment `*` or `>`"),
    ] {
        assert_eq!(check_pattern(bad), Err(NameError::Pattern(why)), "{bad}");
    }
    let long = format!("*.{}", "x".repeat(254));
    assert_eq!(check_pattern(&long), Err(NameError::TooLong(256)));
    assert_eq!(check_pattern("*.\n"), Err(NameError::Control));
    assert_eq!(check_pattern(""), Err(NameError::Empty));
}

#[test]
fn how_all_names_of_a_pattern_begin() {
    for (pattern, beginning) in [
        (">", ""),
        ("*", ""),
        ("a.*", "a."),
        ("a.b.>", "a.b."),
        ("a.*.b", "a."),
        ("*.b", ""),
    ] {
        assert_eq!(beginning_of(pattern), beginning, "{pattern}");
    }
}

/// A hub with one route, and the space of its channels.
fn hub_with(limits: SessionLimits, channels: &[ChannelOptions]) -> (Hub, Space) {
    let mut hub = Hub::new(0, HubLimits::default(), Random::seeded(1));
    let route = hub.add_route(limits, "app", "/");
    for options in channels {
        assert!(hub.add_channel_options(route, options));
    }
    let space = hub.channels.space("app");
    (hub, space)
}

fn hub() -> (Hub, Space) {
    hub_with(SessionLimits::default(), &[])
}

fn listener(hub: &mut Hub, space: Space, patterns: &[&str]) -> u32 {
    let session = hub.open(0, 0);
    for pattern in patterns {
        assert_eq!(hub.subscribe_pattern(session, space, pattern), Ok(true));
    }
    session
}

fn publish(hub: &mut Hub, space: Space, names: &[&str], text: &str) -> usize {
    let message = Message::Text(text);
    let published = hub.publish(space, names, message, None).unwrap();
    hub.check_invariants();
    published.receivers
}

/// What waits for a session, as text, and gone.
fn taken(hub: &mut Hub, session: u32) -> String {
    hub.feed(session);
    hub.place_gap_marker(session, |missed| Some(format!("gap {missed:?}")));
    let bytes: Vec<u8> = hub.outbox_frames(session).flatten().copied().collect();
    hub.outbox_advance(session, bytes.len());
    hub.check_invariants();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_publication_reaches_everybody_once() {
    let (mut hub, space) = hub();
    let both = listener(&mut hub, space, &["a.*", "a.>", ">"]);
    hub.subscribe(both, space, "a.b").unwrap();
    let one = listener(&mut hub, space, &["a.*"]);
    let other = listener(&mut hub, space, &["b.>"]);
    assert_eq!(publish(&mut hub, space, &["a.b"], "1"), 2);
    assert_eq!(
        publish(&mut hub, space, &["a.c"], "2"),
        2,
        "nobody is in a.c"
    );
    assert_eq!(publish(&mut hub, space, &["a.b", "a.c", "b.c"], "3"), 3);
    assert_eq!(publish(&mut hub, space, &["a"], "4"), 1);
    assert_eq!(
        taken(&mut hub, both),
        "\u{FFFD}\u{1}1\u{FFFD}\u{1}2\u{FFFD}\u{1}3\u{FFFD}\u{1}4"
    );
    assert_eq!(
        taken(&mut hub, one),
        "\u{FFFD}\u{1}1\u{FFFD}\u{1}2\u{FFFD}\u{1}3"
    );
    assert_eq!(taken(&mut hub, other), "\u{FFFD}\u{1}3");
    let published = hub.publish(space, &["a.b"], Message::Text("5"), Some(one));
    assert_eq!(published.unwrap().receivers, 1, "but not to this one");
    assert_eq!(hub.metrics().publications_total, 5);
    // Another space is another.
    let elsewhere = hub.channels.space("elsewhere");
    assert_eq!(publish(&mut hub, elsewhere, &["a.b"], "6"), 0);
}

#[test]
fn a_pattern_ends_with_its_last_subscriber() {
    let (mut hub, space) = hub();
    let a = listener(&mut hub, space, &["a.*", "*.b"]);
    let b = listener(&mut hub, space, &["a.*"]);
    assert_eq!(hub.subscribe_pattern(a, space, "a.*"), Ok(false));
    let own = hub.channels.patterns.space_of(space).unwrap();
    assert_eq!(
        (hub.channels.patterns.len(), hub.subscribers(own, "a.*")),
        (2, 2)
    );
    assert_eq!(hub.subscribers(space, "a.*"), 0, "a pattern is no channel");
    hub.end(a);
    assert_eq!(
        (hub.channels.patterns.len(), hub.subscribers(own, "a.*")),
        (1, 1)
    );
    assert!(hub.unsubscribe(b, own, "a.*"));
    assert!(!hub.unsubscribe(b, own, "a.*"));
    assert_eq!((hub.channels.patterns.len(), hub.channels()), (0, 0));
    assert_eq!(publish(&mut hub, space, &["a.b"], "x"), 0);
    hub.check_invariants();
}

#[test]
fn limits_are_those_of_channels() {
    let limits = SessionLimits {
        subscriptions_max: 2,
        ..SessionLimits::default()
    };
    let (mut hub, space) = hub_with(limits, &[]);
    hub.limits.channels_max = 3;
    let a = listener(&mut hub, space, &["a.*"]);
    hub.subscribe(a, space, "b").unwrap();
    let too_many = Err(SubscribeError::TooManySubscriptions(2));
    assert_eq!(hub.subscribe_pattern(a, space, "c.*"), too_many);
    let b = listener(&mut hub, space, &["c.*"]);
    let too_many = Err(SubscribeError::TooManyChannels(3));
    assert_eq!(hub.subscribe_pattern(b, space, "d.*"), too_many);
    let why = NameError::Pattern("a segment of the pattern is empty");
    let bad = Err(SubscribeError::Name(why));
    assert_eq!(hub.subscribe_pattern(b, space, "d..*"), bad);
    hub.check_invariants();
}

#[test]
fn envelopes_and_events_say_the_channel_to_those_who_listen_to_several() {
    let (mut hub, space) = hub();
    let session = |hub: &mut Hub, encoding: Encoding, patterns: &[&str]| {
        let session = listener(hub, space, patterns);
        hub.sessions[session as usize].encoding = encoding;
        hub.name_channels_if_several(session);
        session
    };
    let lines = session(&mut hub, Encoding::ENVELOPE_LINES, &["a.*"]);
    let events = session(&mut hub, Encoding::EVENTS, &["a.>"]);
    let items = session(&mut hub, Encoding::ITEMS, &["a.*"]);
    let plain = session(&mut hub, Encoding::VALUES, &["*.*"]);
    let frames = session(&mut hub, Encoding::default(), &["a.*"]);
    assert!(hub.want_envelopes(frames), "in whatever order");
    let direct = session(&mut hub, Encoding::ENVELOPE_LINES, &[]);
    hub.subscribe(direct, space, "a.b").unwrap();
    let both = session(&mut hub, Encoding::ENVELOPE_LINES, &["*.b"]);
    hub.subscribe(both, space, "a.b").unwrap();
    let first = hub.publish(space, &["a.b"], Message::Text("x"), None);
    let first = first.unwrap().position;
    let event = Label::of(Some("goal"));
    let second = hub.publish_event(space, &["a.b"], event, Message::Text("[1,\n2]"), None);
    let second = second.unwrap().position;
    let third = hub.publish(space, &["a.\"c"], Message::Binary(&[0, 255]), None);
    let third = third.unwrap().position;
    assert_eq!(third.offset, 1, "nobody is in it, so it begins and ends");
    let one = format!("\"position\":\"{first}\",\"text\":\"x\"}}");
    let two = format!(
        "\"position\":\"{second}\",\"previous\":\"{first}\",\"event\":\"goal\",\"data\":[1, 2]}}"
    );
    let three = format!("\"position\":\"{third}\",\"base64\":\"AP8=\"}}");
    let [ab, ac] = ["{\"channel\":\"a.b\",", "{\"channel\":\"a.\\\"c\","];
    let expected = format!("{ab}{one}\n{ab}{two}\n{ac}{three}\n");
    assert_eq!(taken(&mut hub, lines), expected);
    let expected = format!("{ab}{one},{ab}{two},{ac}{three},");
    assert_eq!(
        hub.items_for(items),
        (expected.clone().into_bytes(), None),
        "no cursor"
    );
    assert_eq!(taken(&mut hub, items), expected);
    let expected =
        format!("data: {ab}{one}\n\nevent: goal\ndata: {ab}{two}\n\ndata: {ac}{three}\n\n");
    assert_eq!(taken(&mut hub, events), expected);
    assert_eq!(taken(&mut hub, plain), "x\n[1,\n2]\n\0\u{FFFD}\n");
    let framed = taken(&mut hub, frames);
    assert!(framed.contains(&format!("{ab}{two}")), "{framed}");
    assert_eq!(
        taken(&mut hub, direct),
        format!("{{{one}\n{{{two}\n"),
        "as ever"
    );
    assert_eq!(taken(&mut hub, both), format!("{ab}{one}\n{ab}{two}\n"));
    // One that is not published is as it was, and the last word of a stream too.
    assert!(hub.send(events, Message::Text("private")));
    hub.push_close(events, crate::ws::CloseCode::AWAY, "", false);
    let said = taken(&mut hub, events);
    assert!(
        said.starts_with("data: private\n\nevent: close\n"),
        "{said}"
    );
    assert!(hub.sessions[items as usize].encoding.is_poll());
    assert!(hub.sessions[lines as usize].encoding.is_stream());
    assert!(!hub.sessions[frames as usize].encoding.is_stream());
}

#[test]
fn of_several_channels_each_is_named() {
    let (mut hub, space) = hub();
    let direct = hub.open(0, 0);
    hub.sessions[direct as usize].encoding = Encoding::ENVELOPE_LINES;
    hub.subscribe(direct, space, "b.x").unwrap();
    let sessions = ["a.*", "b.*", "*.y"].map(|pattern| {
        let session = listener(&mut hub, space, &[pattern]);
        hub.want_envelopes(session);
        session
    });
    assert_eq!(publish(&mut hub, space, &["a.x", "b.x", "c.y"], "m"), 4);
    for (session, channel) in sessions.into_iter().zip(["a.x", "b.x", "c.y"]) {
        let text = taken(&mut hub, session);
        assert!(
            text.contains(&format!("{{\"channel\":\"{channel}\",")),
            "{text}"
        );
    }
    assert!(taken(&mut hub, direct).starts_with("{\"position\":"));
}

/// What waits for those who listen by patterns has their route's policy, whatever the channel's is and whoever else is in it.
#[test]
fn a_slow_listener_has_the_policy_of_its_route() {
    for (route, closes) in [
        (SlowPolicy::Close, true),
        (SlowPolicy::DropOldest, false),
        // Each may be the newest of its channel.
        (SlowPolicy::Latest, true),
    ] {
        let limits = SessionLimits {
            outbox_frames_max: 3,
            slow: route,
            ..SessionLimits::default()
        };
        let rules = [
            ChannelOptions::of("a.keeps").history_messages_max(10),
            ChannelOptions::of("a.latest").slow(SlowPolicy::Latest),
            ChannelOptions::of("a.close").slow(SlowPolicy::Close),
        ];
        let (mut hub, space) = hub_with(limits, &rules);
        for channel in ["a.keeps", "a.latest", "a.close", "a.none"] {
            let slow = listener(&mut hub, space, &["a.*"]);
            // Somebody else is in the channel; that changes nothing.
            let direct = hub.open(0, 0);
            hub.subscribe(direct, space, channel).unwrap();
            for n in 0..5 {
                publish(&mut hub, space, &[channel], &n.to_string());
                taken(&mut hub, direct);
            }
            assert!(hub.is_over(slow));
            assert_eq!(hub.judge(slow), closes, "{channel} {route:?}");
            if !closes {
                let said = taken(&mut hub, slow);
                assert!(
                    said.contains("gap Some(2)") && said.ends_with('4'),
                    "{said:?}"
                );
            }
            hub.remove(slow);
            hub.remove(direct);
        }
    }
}

/// It is given again what it missed of the channel it is in, and by the pattern everything else; nothing twice.
#[test]
fn who_follows_a_channel_gets_it_in_its_turn() {
    let rules = [ChannelOptions::of("a.kept").history_messages_max(10)];
    let (mut hub, space) = hub_with(SessionLimits::default(), &rules);
    for text in ["k1", "k2"] {
        publish(&mut hub, space, &["a.kept"], text);
    }
    let session = listener(&mut hub, space, &["a.*"]);
    hub.subscribe_from(session, space, "a.kept", Start::All)
        .unwrap();
    assert!(hub.follows(session));
    assert_eq!(publish(&mut hub, space, &["a.kept"], "k3"), 1);
    assert_eq!(publish(&mut hub, space, &["a.kept", "a.other"], "k4"), 1);
    assert_eq!(publish(&mut hub, space, &["a.other"], "o1"), 1);
    let said = taken(&mut hub, session);
    let texts: Vec<&str> = said
        .split(['\u{FFFD}', '\u{2}'])
        .filter(|t| !t.is_empty())
        .collect();
    assert_eq!(texts, ["o1", "k1", "k2", "k3", "k4"], "{said:?}");
    assert!(!hub.follows(session));
    assert_eq!(publish(&mut hub, space, &["a.kept"], "k5"), 1);
    assert!(taken(&mut hub, session).ends_with("k5"));
    // Too much waits: what the ring has is taken back, what came by the pattern stays.
    let limits = SessionLimits {
        outbox_frames_max: 4,
        ..SessionLimits::default()
    };
    hub.routes[0].limits = limits;
    publish(&mut hub, space, &["a.other"], "o2");
    for n in 6..10 {
        assert_eq!(publish(&mut hub, space, &["a.kept"], &format!("k{n}")), 1);
    }
    assert!(hub.is_over(session) && !hub.judge(session) && hub.follows(session));
    let mut said = String::new();
    while hub.follows(session) || !hub.outbox_is_empty(session) {
        said += &taken(&mut hub, session);
    }
    for text in ["o2", "k6", "k7", "k8", "k9"] {
        assert_eq!(said.matches(text).count(), 1, "{text} in {said:?}");
    }
}

#[test]
fn a_channel_that_lives_elsewhere_is_heard_by_patterns_too() {
    use crate::hub::{Incoming, Received};
    let (mut hub, space) = hub();
    let session = listener(&mut hub, space, &["a.*"]);
    hub.want_envelopes(session);
    let at = |offset, tag| Position {
        epoch: 9,
        offset,
        tag,
    };
    let incoming = |offset| {
        let previous = at(offset - 1, offset as u32 - 1);
        Incoming::of(at(offset, offset as u32), previous, Message::Text("m"))
    };
    let receive = |hub: &mut Hub, offset| {
        let received = hub.receive(space, "a.b", &incoming(offset)).unwrap();
        hub.check_invariants();
        received
    };
    assert_eq!(receive(&mut hub, 2), Received::Delivered(1));
    let said = taken(&mut hub, session);
    let expected = format!(
        "{{\"channel\":\"a.b\",\"position\":\"{}\",\"previous\":\"{}\",\"text\":\"m\"}}",
        at(2, 2),
        at(1, 1)
    );
    assert!(said.ends_with(&expected), "{said}");
    // Somebody is in it: what comes twice is not told twice, and both hear what does not link.
    let direct = hub.open(0, 0);
    hub.subscribe(direct, space, "a.b").unwrap();
    hub.subscribe(session, space, "a.b").unwrap();
    assert_eq!(receive(&mut hub, 3), Received::Gap(2));
    assert_eq!(receive(&mut hub, 3), Received::Repeated);
    assert_eq!(receive(&mut hub, 4), Received::Delivered(2));
    let said = taken(&mut hub, session) + &taken(&mut hub, session);
    assert_eq!(said.matches("\"text\":\"m\"").count(), 2, "{said}");
    assert_eq!(
        hub.receive(space, "b.b", &incoming(5)),
        Ok(Received::Unheard)
    );
}

#[test]
fn a_right_covers_a_pattern_if_it_covers_all_that_the_pattern_has() {
    for (right, user, pattern, expected) in [
        ("*", "", ">", true),
        ("a.*", "", "a.*", true),
        ("a.*", "", "a.>", true),
        ("a.*", "", "a.b.*.c", true),
        ("a*", "", "a.*", true),
        ("a.b*", "", "a.*", false),
        ("a.b*", "", "a.b.*", true),
        ("a.*", "", "*.b", false),
        ("a.*", "", ">", false),
        ("a.*", "", "*", false),
        ("a.b", "", "a.*", false),
        ("user.{user}.*", "ann", "user.ann.>", true),
        ("user.{user}.*", "ann", "user.*", false),
        ("user.{user}.*", "ann", "user.*.inbox", false),
        // A user may be called anything, and is nobody else for that.
        ("user.{user}", "*", "user.*", false),
        ("user.{user}", ">", "user.>", false),
        ("user.{user}.*", "*", "user.*.>", false),
    ] {
        let rights = Rights::default().allow(Action::Subscribe, right).unwrap();
        let (mut hub, space) = hub();
        let session = listener(&mut hub, space, &[pattern]);
        let grant = std::sync::Arc::new(Grant::new(user, &rights));
        hub.admit(session, grant).unwrap();
        let cx = Context::new(&mut hub, 0, Some(session));
        let may = cx.may_pattern(Action::Subscribe, pattern);
        assert_eq!(may, expected, "{right} {pattern}");
        assert_eq!(cx.may_keep_its_channels(), expected, "{right} {pattern}");
        assert!(!cx.may_pattern(Action::History, pattern));
    }
}

#[test]
fn rules_that_are_about_some_of_a_pattern_are_found() {
    let rules = [
        ChannelOptions::of("*").subscribe(Who::Users),
        ChannelOptions::of("open.*").subscribe(Who::Anyone),
        ChannelOptions::of("open.x").subscribe(Who::Nobody),
        ChannelOptions::of("open.x.y.*").subscribe(Who::Nobody),
        ChannelOptions::of("open.quiet.*").history_messages_max(9),
    ];
    let (mut hub, _) = hub_with(SessionLimits::default(), &rules);
    let cx = Context::new(&mut hub, 0, None);
    let [users, anyone, nobody] = [
        ("*", Who::Users),
        ("open.*", Who::Anyone),
        ("open.x", Who::Nobody),
    ];
    let below = ("open.x.y.*", Who::Nobody);
    for (pattern, expected) in [
        ("closed.*", vec![users]),
        ("open.*", vec![anyone, nobody]),
        ("open.*.z", vec![anyone]),
        ("open.>", vec![anyone, below, nobody]),
        ("open.*.y.*", vec![anyone, below]),
        ("open.quiet.>", vec![anyone]),
        ("*.*", vec![users, anyone, nobody]),
        ("*", vec![users]),
        ("*.x.>", vec![users, anyone, below]),
        (">", vec![users, anyone, below, nobody]),
    ] {
        assert_eq!(cx.who_may_subscribe(pattern), expected, "{pattern}");
    }
}

#[test]
fn a_listing_shows_patterns_in_a_space_of_their_own() {
    let (mut hub, space) = hub();
    listener(&mut hub, space, &["a.*"]);
    let cx = Context::new(&mut hub, 0, None);
    assert_eq!(cx.channels_in(space), []);
    let mut listed = Vec::new();
    cx.list_channels(None, "", 0, &mut |channel| {
        listed.push((channel.space.to_owned(), channel.name.to_owned()));
        true
    });
    assert_eq!(listed, [("app/patterns".to_owned(), "a.*".to_owned())]);
    assert_eq!(cx.find_space("app/patterns"), None);
    assert!(cx.metrics_text().contains("\ndunlin_patterns 1\n"));
}
