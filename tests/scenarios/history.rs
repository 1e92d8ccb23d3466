//! Channels that keep what was published: who comes late, comes back, or reads slowly.

use dunlin::Handler;
use dunlin::dialect::PubSub;
use dunlin::hub::{ChannelOptions, Context, Position, Reply, Request, Start, Upgrade};
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{Client, World};
use dunlin::ws::Message;

/// `/ch/{channel}`: `news` keeps 100, `brief` for a minute, `big` 64 KiB, all others nothing.
fn house() -> World {
    house_with(|_| {}, |_| {})
}

fn house_with(
    worker: impl FnOnce(&mut WorkerSettings),
    route: impl FnOnce(&mut RouteSettings),
) -> World {
    let mut settings = WorkerSettings::default();
    worker(&mut settings);
    let mut world = World::new(settings);
    let mut settings = RouteSettings {
        channels: vec![
            ChannelOptions::of("news*").history_messages_max(100),
            ChannelOptions::of("brief")
                .history_messages_max(100)
                .history_ms_max(60_000),
            ChannelOptions::of("big")
                .history_messages_max(1_000_000)
                .history_bytes_max(64 << 10),
        ],
        ..RouteSettings::default()
    };
    route(&mut settings);
    world.route_with("/ch/{channel}", settings, PubSub::default);
    world
}

/// Publishes, and answers where that stands.
fn publish(world: &mut World, channel: &str, body: &str) -> String {
    let length = body.len();
    let answer = world.request(format!(
        "POST /ch/{channel} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    member(&answer.text(), "position").expect("a position")
}

/// The value of a member that is a string.
fn member(json: &str, name: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{name}\":\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

/// What came in envelopes, each linked to the one before; the first follows `after`.
fn linked(client: &mut Client, mut after: String) -> Vec<String> {
    let mut bodies = Vec::new();
    for envelope in client.texts() {
        let previous = member(&envelope, "previous");
        let stood: Position = after.parse().expect("a position");
        let expected = (stood.offset > 0).then_some(after);
        assert_eq!(previous, expected, "{envelope}");
        after = member(&envelope, "position").expect("a position");
        bodies.push(member(&envelope, "text").expect("a text"));
    }
    bodies
}

fn first(client: &mut Client) -> String {
    match client.next() {
        Some(dunlin::sim::Received::Text(text)) => text,
        other => panic!("a text was expected: {other:?}"),
    }
}

#[test]
fn who_comes_back_gets_what_it_missed_and_goes_on() {
    let mut world = house();
    let mut reader = world.connect("/ch/news?positions");
    let hello = first(&mut reader);
    let begin = member(&hello, "position").unwrap();
    assert_eq!(
        hello,
        format!("{{\"type\":\"subscribed\",\"channel\":\"news\",\"position\":\"{begin}\"}}")
    );
    publish(&mut world, "news", "one");
    let two = publish(&mut world, "news", "two");
    assert_eq!(linked(&mut reader, begin), ["one", "two"]);
    reader.reset();
    for body in ["three", "four"] {
        publish(&mut world, "news", body);
    }
    let mut reader = world.connect(format!("/ch/news?since={two}").as_str());
    assert_eq!(
        first(&mut reader),
        format!(
            "{{\"type\":\"subscribed\",\"channel\":\"news\",\"position\":\"{two}\",\"recovered\":true}}"
        )
    );
    publish(&mut world, "news", "five");
    assert_eq!(linked(&mut reader, two), ["three", "four", "five"]);
    assert_eq!(world.metrics().recoveries_total, 1);
    world.check_idle();
}

#[test]
fn nothing_missed_is_recovered_too() {
    let mut world = house();
    let mut at = publish(&mut world, "news", "one");
    for _ in 0..3 {
        let mut reader = world.connect(format!("/ch/news?since={at}").as_str());
        assert!(first(&mut reader).ends_with("\"recovered\":true}"));
        assert_eq!(reader.texts(), [""; 0]);
        at = publish(&mut world, "news", "next");
        assert_eq!(reader.texts().len(), 1);
        reader.reset();
        // Nobody is there, and what was kept is too old: the position still means something.
        world.advance_ms(2 * 3_600_000);
    }
    assert_eq!(world.queued_bytes(), 0, "all of it was too old");
}

#[test]
fn who_came_before_the_first_message_misses_none() {
    let mut world = house_with(|w| w.hub.history_budget_bytes = 4_000, |_| {});
    let mut reader = world.connect("/ch/news?positions");
    let begin = member(&first(&mut reader), "position").unwrap();
    reader.reset();
    // Nobody is there and nothing was said: the position still means something.
    let target = format!("/ch/news?since={begin}");
    let mut reader = world.connect(target.as_str());
    assert!(first(&mut reader).ends_with("\"recovered\":true}"));
    reader.reset();
    publish(&mut world, "news", "one");
    let mut reader = world.connect(target.as_str());
    assert!(first(&mut reader).ends_with("\"recovered\":true}"));
    assert_eq!(linked(&mut reader, begin.clone()), ["one"]);
    reader.reset();
    // What was said is pushed out, and that it was is said.
    for n in 0..8 {
        publish(&mut world, &format!("news.{n}"), &"x".repeat(600));
    }
    let mut reader = world.connect(target.as_str());
    assert!(first(&mut reader).ends_with("\"recovered\":false}"));
    assert_eq!(reader.texts(), ["{\"type\":\"gap\",\"missed\":null}"]);
    reader.reset();
    // Those who only listen push out nothing that was said.
    let kept = publish(&mut world, "news.8", "kept");
    for n in 0..200 {
        world.connect(format!("/ch/news-{n}").as_str()).reset();
    }
    let mut reader = world.connect(format!("/ch/news.8?since={kept}").as_str());
    assert!(first(&mut reader).ends_with("\"recovered\":true}"));
    world.check_invariants();
}

#[test]
fn rewind_counts_messages_or_time_or_takes_all() {
    let mut world = house();
    for n in 1..=120 {
        publish(&mut world, "news", &n.to_string());
        world.advance_ms(1_000);
    }
    for (rewind, expected) in [
        ("3", 118..121),
        ("0", 121..121),
        ("1000", 21..121),
        ("10s", 111..121),
        ("1m", 61..121),
        ("1h", 21..121),
        ("all", 21..121),
    ] {
        let mut reader = world.connect(format!("/ch/news?rewind={rewind}").as_str());
        let expected: Vec<String> = expected.map(|n| n.to_string()).collect();
        assert_eq!(reader.texts(), expected, "{rewind}");
        reader.reset();
    }
    let mut reader = world.connect("/ch/news?rewind=2&positions");
    let hello = first(&mut reader);
    assert_eq!(member(&hello, "recovered"), None);
    let texts = reader.texts();
    assert!(
        texts.len() == 2 && texts[1].ends_with("\"data\":120}"),
        "{texts:?}"
    );
    // A channel that keeps nothing has nothing to rewind.
    publish(&mut world, "other", "lost");
    assert_eq!(world.connect("/ch/other?rewind=all").texts(), [""; 0]);
}

#[test]
fn a_position_that_does_not_link_is_announced() {
    let mut world = house();
    let mut old = Vec::new();
    for n in 1..=103 {
        old.push(publish(&mut world, "news", &format!("n{n}")));
    }
    // The ring holds n4 to n103: who stands at the third misses nothing, who stands at the second misses one.
    let at = |offset: usize| old[offset - 1].clone();
    let mut changed: Position = at(50).parse().unwrap();
    changed.tag ^= 1;
    let mut ahead: Position = at(103).parse().unwrap();
    ahead.offset += 1;
    let elsewhere = publish(&mut world, "news.other", "x");
    for (since, missed) in [
        (at(3), None),
        (at(2), Some("1")),
        (at(1), Some("2")),
        (changed.to_string(), Some("null")),
        (ahead.to_string(), Some("null")),
        (elsewhere, Some("null")),
        ("00000000.0.00000000".into(), Some("null")),
        (
            "ffffffff.18446744073709551615.ffffffff".into(),
            Some("null"),
        ),
    ] {
        let mut reader = world.connect(format!("/ch/news?since={since}").as_str());
        let hello = first(&mut reader);
        let recovered = missed.is_none();
        assert!(
            hello.ends_with(&format!("\"recovered\":{recovered}}}")),
            "{hello}"
        );
        let after = member(&hello, "position").unwrap();
        assert_eq!(
            after == since,
            recovered,
            "it begins where it said, or at the oldest"
        );
        if let Some(missed) = missed {
            let gap = format!("{{\"type\":\"gap\",\"missed\":{missed}}}");
            assert_eq!(first(&mut reader), gap, "{since}");
        }
        assert_eq!(linked(&mut reader, after).len(), 100, "{since}");
        reader.reset();
    }
    // A channel without a history knows its head and nothing else.
    let mut reader = world.connect("/ch/plain?positions");
    let begin = member(&first(&mut reader), "position").unwrap();
    let one = publish(&mut world, "plain", "one");
    for (since, recovered) in [(&one, true), (&begin, false)] {
        let mut other = world.connect(format!("/ch/plain?since={since}").as_str());
        assert!(first(&mut other).ends_with(&format!("\"recovered\":{recovered}}}")));
        let texts = other.texts();
        if recovered {
            assert_eq!(texts, [""; 0]);
        } else {
            assert_eq!(texts, ["{\"type\":\"gap\",\"missed\":1}"]);
        }
    }
}

#[test]
fn what_is_no_beginning_is_refused() {
    let mut world = house();
    for query in [
        "since=",
        "since=1",
        "since=00000000.00.00000000",
        "since=00000000.1.00000000%20",
        "since=00000000.1.00000000&rewind=1",
        "rewind=",
        "rewind=-1",
        "rewind=1d",
        "rewind=s",
        "rewind=4294967296",
        "rewind=18446744073709551615h",
        "rewind=ALL",
    ] {
        let answer = world.connect_refused(format!("/ch/news?{query}").as_str());
        assert_eq!(answer.status(), 400, "{query}");
        let text = answer.text();
        assert!(
            text.contains("`since`") || text.contains("`rewind`"),
            "{text}"
        );
    }
}

/// A client that stands still with one byte of a first message taken, and tiny limits for what may wait for it.
fn slow_house() -> World {
    house_with(
        |_| {},
        |s| {
            s.session.outbox_bytes_max = 4_000;
            s.session.outbox_soft_bytes = 2_000;
            s.session.outbox_frames_max = 20;
        },
    )
}

#[test]
fn a_slow_reader_catches_up_and_misses_nothing() {
    let mut world = slow_house();
    let mut slow = world.connect("/ch/big?positions");
    let begin = member(&first(&mut slow), "position").unwrap();
    slow.stop_reading();
    slow.window(1);
    let expected: Vec<String> = (0..200).map(|n| format!("message {n}")).collect();
    for body in &expected {
        publish(&mut world, "big", body);
        world.check_invariants();
    }
    assert_eq!(
        world.metrics().fallbacks_total,
        1,
        "once, and then it follows"
    );
    assert_eq!(world.refused("slow_consumer"), 0);
    slow.window(1 << 20);
    slow.resume_reading();
    assert_eq!(linked(&mut slow, begin), expected);
    let head = publish(&mut world, "big", "live");
    let last = slow.texts();
    assert!(last.len() == 1 && last[0].contains(&head), "{last:?}");
    assert_eq!(slow.complaint(), None);
    world.check_idle();
}

#[test]
fn a_slow_reader_is_told_what_was_let_go_meanwhile() {
    let mut world = slow_house();
    let mut slow = world.connect("/ch/news");
    slow.stop_reading();
    slow.window(1);
    for n in 0..500 {
        publish(&mut world, "news", &format!("n{n}"));
        world.check_invariants();
    }
    slow.window(1 << 20);
    slow.resume_reading();
    let texts = slow.texts();
    // The first few were on their way; then the marker; then what the ring has.
    let before = texts.len() - 101;
    assert!((1..20).contains(&before), "{before}");
    let numbers = |of: std::ops::Range<usize>| of.map(|n| format!("n{n}")).collect::<Vec<_>>();
    assert_eq!(texts[..before], numbers(0..before));
    let gap = format!("{{\"type\":\"gap\",\"missed\":{}}}", 400 - before);
    assert_eq!(texts[before], gap);
    assert_eq!(texts[before + 1..], numbers(400..500));
    assert_eq!(world.refused("slow_consumer"), 0);
    world.check_idle();
}

#[test]
fn a_policy_of_the_channel_beats_catching_up() {
    let mut world = house_with(
        |_| {},
        |s| {
            s.session.outbox_frames_max = 20;
            let strict = ChannelOptions::of("news").slow(dunlin::hub::SlowPolicy::Close);
            s.channels.push(strict);
        },
    );
    let mut slow = world.connect("/ch/news");
    slow.stop_reading();
    slow.window(1);
    for n in 0..22 {
        publish(&mut world, "news", &format!("n{n}"));
    }
    assert_eq!(world.refused("slow_consumer"), 1);
}

#[test]
fn replies_to_a_slow_reader_are_not_given_again() {
    // What is its own has the route's policy: it is closed for its own replies, as ever.
    let mut world = house_with(
        |_| {},
        |s| {
            s.session.outbox_frames_max = 4;
            s.messages_per_second = 0;
        },
    );
    let mut slow = world.connect("/ch/news");
    slow.stop_reading();
    slow.window(1);
    for n in 0..30 {
        publish(&mut world, "news", &format!("n{n}"));
    }
    assert_eq!(world.sessions(), 1, "it follows");
    slow.window(1 << 20);
    slow.resume_reading();
    assert_eq!(slow.texts().len(), 30);
}

#[test]
fn what_is_too_old_goes_by_itself() {
    let mut world = house();
    publish(&mut world, "brief", "one");
    world.advance_ms(30_000);
    publish(&mut world, "brief", "two");
    assert_eq!(
        world.connect("/ch/brief?rewind=all").texts(),
        ["one", "two"]
    );
    world.advance_ms(30_999);
    assert_eq!(world.connect("/ch/brief?rewind=all").texts(), ["two"]);
    world.advance_ms(30_000);
    assert_eq!(world.queued_bytes(), 0);
    assert_eq!(world.connect("/ch/brief?rewind=all").texts(), [""; 0]);
}

#[test]
fn the_budget_lets_go_of_what_was_used_least_recently() {
    let mut world = house_with(|w| w.hub.history_budget_bytes = 4_000, |_| {});
    let body = "x".repeat(500);
    for name in ["news.a", "news.b", "news.c"] {
        publish(&mut world, name, &body);
    }
    // `a` is asked for, so `b` is the one that nobody has used for longest.
    assert_eq!(world.connect("/ch/news.a?rewind=all").texts().len(), 1);
    for name in ["news.d", "news.e"] {
        publish(&mut world, name, &body);
    }
    let kept = |world: &mut World, name: &str| {
        let target = format!("/ch/{name}?rewind=all");
        world.connect(target.as_str()).texts().len()
    };
    let left: Vec<usize> = ["a", "b", "c", "d", "e"]
        .map(|name| kept(&mut world, &format!("news.{name}")))
        .to_vec();
    assert_eq!(left, [1, 0, 1, 1, 1]);
    assert_eq!(world.metrics().histories_evicted_total, 1);
    // One message that is larger than all of it is delivered and not kept.
    let mut reader = world.connect("/ch/news.f");
    publish(&mut world, "news.f", &"y".repeat(5_000));
    assert_eq!(reader.texts().len(), 1);
    assert_eq!(kept(&mut world, "news.f"), 0);
    world.check_invariants();
}

#[test]
fn memory_that_is_needed_is_taken_from_histories_first() {
    let mut world = house_with(
        |w| {
            w.hub.memory_budget_bytes = 80_000;
            w.hub.history_budget_bytes = 40_000;
        },
        |_| {},
    );
    for n in 0..40 {
        publish(&mut world, &format!("news.{n}"), &"x".repeat(1_000));
    }
    let held = world.used_bytes();
    assert!((30_000..=40_000).contains(&held), "{held}");
    // A reader that stands still, and messages that wait for it.
    let mut slow = world.connect("/ch/plain");
    slow.stop_reading();
    slow.window(1);
    for _ in 0..35 {
        publish(&mut world, "plain", &"y".repeat(2_000));
        world.check_invariants();
    }
    assert!(world.metrics().histories_evicted_total > 10);
    assert_eq!(world.refused("memory_budget"), 0);
    slow.window(1 << 20);
    slow.resume_reading();
    assert_eq!(slow.texts().len(), 35);
}

#[test]
fn channels_that_are_only_kept_give_way_to_new_ones() {
    let mut world = house_with(|w| w.hub.channels_max = 3, |_| {});
    for n in 0..10 {
        publish(&mut world, &format!("news.{n}"), "x");
        assert!(world.channels() <= 3);
    }
    let mut readers: Vec<Client> = (0..3)
        .map(|n| world.connect(format!("/ch/r{n}").as_str()))
        .collect();
    // Now all three have a subscriber, and none gives way.
    assert_eq!(world.connect_refused("/ch/r3").status(), 503);
    let answer = world.request(
        "POST /ch/news.x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
    );
    assert_eq!(answer.status(), 503, "it was to be kept and cannot be");
    assert!(answer.text().contains("channels_max"), "{}", answer.text());
    publish(&mut world, "r0", "y");
    readers[0].expect_text("y");
}

#[test]
fn hundreds_come_back_at_once() {
    let mut world = house();
    let since = publish(&mut world, "news", "first");
    let body = "x".repeat(1_000);
    for _ in 0..100 {
        publish(&mut world, "news", &body);
    }
    let kept = world.queued_bytes();
    let mut readers: Vec<Client> = Vec::new();
    for _ in 0..900 {
        let mut reader = world.connect(format!("/ch/news?rewind=all&r={since}").as_str());
        reader.stop_reading();
        reader.window(1);
        readers.push(reader);
    }
    // Whoever reads nothing is fed the first few, and those are the frames that are kept anyway.
    let grown = world.queued_bytes() - kept;
    assert!(grown < 1_000_000, "{grown}");
    for mut reader in readers {
        reader.window(1 << 20);
        reader.resume_reading();
        assert_eq!(reader.texts().len(), 100);
    }
    world.check_idle();
}

/// A handler of somebody's own: no gap marker, and history for whoever asks by HTTP.
struct Own;

impl Handler for Own {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        let since = request.query("since").and_then(|since| since.parse().ok());
        let start = since.map_or(Start::All, Start::Position);
        cx.subscribe_from("news", start).expect("there is room");
        Upgrade::accept()
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        cx.publish("news", message).expect("there is room");
    }

    fn on_request(&mut self, cx: &mut Context<'_>, _: &Request<'_>) -> Reply {
        let history = cx.history("news", Start::Newest(3), 2).expect("it is kept");
        let mut text = format!("{:?} {}:", history.recovered, history.head.offset);
        for kept in &history.publications {
            assert_eq!(kept.previous.offset + 1, kept.position.offset);
            text += &format!(" {} {:?}", kept.position.offset, kept.message);
        }
        dunlin::http::Response::text(200, &text).into()
    }

    fn space(&self) -> &str {
        "own"
    }
}

#[test]
fn a_handler_without_a_word_for_gaps_closes() {
    let mut world = World::new(WorkerSettings::default());
    let settings = RouteSettings {
        channels: vec![ChannelOptions::of("*").history_messages_max(4)],
        ..RouteSettings::default()
    };
    world.route_with("/own", settings, || Own);
    let mut speaker = world.connect("/own");
    for n in 0..6 {
        speaker.send_text(&format!("m{n}"));
    }
    assert_eq!(speaker.texts().len(), 6);
    let mut late = world.connect("/own");
    assert_eq!(
        late.texts(),
        ["m2", "m3", "m4", "m5"],
        "nothing was asked that is missing"
    );
    let answer = world.request("GET /own HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(answer.text(), "None 6: 4 Text(\"m3\") 5 Text(\"m4\")");
    let mut lost = world.connect("/own?since=00000000.1.00000000");
    lost.expect_close(1013);
    world.check_idle();
}
