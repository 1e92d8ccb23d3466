//! Subscriptions to all channels whose names are alike (feature `wildcards`), by every transport of the one URL.

use dunlin::dialect::{PubSub, PubSubOptions};
use dunlin::hub::{ChannelOptions, Incoming, Position, Received, SlowPolicy, Start};
use dunlin::server::{Keys, RouteSettings, WorkerSettings};
use dunlin::sim::{Client, World};
use dunlin::token::{Action, Grant, Rights};
use dunlin::{Context, Handler, Message};

/// `/ch/{channel}`: `news.*` keeps 5, all others nothing.
fn house_with(change: impl FnOnce(&mut RouteSettings)) -> World {
    let mut world = World::new(WorkerSettings::default());
    let mut route = RouteSettings {
        channels: vec![ChannelOptions::of("news.*").history_messages_max(5)],
        ..RouteSettings::default()
    };
    change(&mut route);
    world.route_with("/ch/{channel}", route, || {
        PubSub::new(PubSubOptions::default())
    });
    world
}

fn house() -> World {
    house_with(|_| {})
}

fn get(target: &str, headers: &str) -> String {
    format!("GET /ch/{target} HTTP/1.1\r\nHost: sim\r\n{headers}\r\n")
}

fn listen(world: &mut World, target: &str, headers: &str) -> Client {
    let mut client = world.open();
    client.send_bytes(get(target, headers).as_bytes());
    client
}

/// Publishes, and answers where that stands and how many get it.
fn publish_with(world: &mut World, channel: &str, body: &str, headers: &str) -> (String, u64) {
    let length = body.len();
    let answer = world.request(format!(
        "POST /ch/{channel} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    ));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let json: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    let position = json["position"].as_str().unwrap().to_owned();
    (position, json["receivers"].as_u64().unwrap())
}

fn publish(world: &mut World, channel: &str, body: &str) -> (String, u64) {
    publish_with(world, channel, body, "")
}

fn text_of(client: &mut Client) -> String {
    client.arriving().map_or_else(String::new, |a| a.text())
}

fn is_empty(mut world: World, clients: impl IntoIterator<Item = Client>) {
    for mut client in clients {
        assert_eq!(client.complaint(), None);
        client.reset();
    }
    world.check_invariants();
    world.advance_ms(100_000);
    assert_eq!((world.connections(), world.sessions()), (0, 0));
    assert!(world.channels() < 2, "but for one that keeps something");
    world.check_invariants();
}

#[test]
fn every_transport_hears_all_channels_of_a_pattern() {
    let mut world = house();
    let mut socket = world.connect("/ch/a.*");
    let mut envelopes = world.connect("/ch/a.%3E?positions");
    envelopes.expect_text(r#"{"type":"subscribed","pattern":"a.>"}"#);
    let mut lines = listen(&mut world, "a.*", "");
    let mut json = listen(&mut world, "a.*", "Accept: application/x-ndjson\r\n");
    let mut events = listen(&mut world, "a.%3E", "Accept: text/event-stream\r\n");
    let mut poll = listen(&mut world, "a.*?poll", "");
    let head = events.arriving().unwrap();
    assert_eq!((head.status(), head.header("ETag")), (200, None));
    assert_eq!(text_of(&mut lines), "");
    assert_eq!(
        text_of(&mut json),
        "{\"type\":\"subscribed\",\"pattern\":\"a.*\"}\n"
    );
    let goal = "X-EventSource-Event: goal\r\n";
    let (first, receivers) = publish_with(&mut world, "a.b", "1:0", goal);
    assert_eq!(receivers, 6);
    let (second, receivers) = publish(&mut world, "a.c", "{\"n\":1}");
    assert_eq!(receivers, 5, "the poll is over");
    publish(&mut world, "b", "nobody");
    let one = format!(r#"{{"channel":"a.b","position":"{first}","event":"goal","text":"1:0"}}"#);
    let two = format!(r#"{{"channel":"a.c","position":"{second}","data":{{"n":1}}}}"#);
    assert_eq!(socket.texts(), ["1:0", "{\"n\":1}"]);
    assert_eq!(envelopes.texts(), [one.clone(), two.clone()]);
    assert_eq!(text_of(&mut lines), "1:0\n{\"n\":1}\n");
    assert_eq!(text_of(&mut json), format!("{one}\n{two}\n"));
    let expected = format!("event: goal\ndata: {one}\n\ndata: {two}\n\n");
    assert_eq!(text_of(&mut events), expected, "without an id");
    let answer = poll.answer().unwrap();
    assert_eq!((answer.status(), answer.header("ETag")), (200, None));
    assert_eq!(answer.text(), format!("{{\"messages\":[{one}]}}"));
    // The next one begins anew; one that does not wait has nothing, ever.
    poll.send_bytes(get("a.*?poll", "If-None-Match: \"4f1c2a90.17.7a0d55e1\"\r\n").as_bytes());
    assert!(poll.answer().is_none());
    publish(&mut world, "a.d", "next");
    let answer = poll.answer().unwrap().text();
    assert!(answer.contains("\"channel\":\"a.d\""), "{answer}");
    poll.send_bytes(get("a.*?poll=0", "").as_bytes());
    assert_eq!(poll.answer().unwrap().status(), 204);
    is_empty(world, [socket, envelopes, lines, json, events, poll]);
}

/// An `EventSource` that comes back has been given no id. If it says one all the same, it is no position in any channel.
#[test]
fn last_event_id_says_nothing_of_a_pattern() {
    let mut world = house();
    let (seen, _) = publish(&mut world, "news.a", "one");
    publish(&mut world, "news.a", "two");
    let headers = format!("Accept: text/event-stream\r\nLast-Event-ID: {seen}\r\n");
    let mut events = listen(&mut world, "news.*", &headers);
    assert_eq!(text_of(&mut events), "retry: 3000\n\n", "and no gap");
    publish(&mut world, "news.a", "three");
    let text = text_of(&mut events);
    assert!(text.starts_with("data: {\"channel\":\"news.a\""), "{text}");
    let mut refused = listen(&mut world, &format!("news.*?since={seen}"), "");
    let refused_with = refused.answer().unwrap();
    assert_eq!(refused_with.status(), 400);
    assert!(refused_with.text().contains("`since` is for one channel"));
    is_empty(world, [events, refused]);
}

#[test]
fn a_slow_listener_is_treated_as_its_route_says() {
    for policy in [SlowPolicy::Close, SlowPolicy::DropOldest] {
        let mut world = house_with(|route| {
            route.session.slow = policy;
            route.session.outbox_frames_max = 4;
        });
        let mut slow = world.connect("/ch/news.*");
        let mut member = world.connect("/ch/news.a");
        for client in [&mut slow, &mut member] {
            client.stop_reading();
            client.window(1);
        }
        for n in 0..20 {
            publish(&mut world, "news.a", &format!("m{n}"));
        }
        for client in [&mut slow, &mut member] {
            client.window(1 << 20);
            client.resume_reading();
        }
        let kept: Vec<String> = (15..20).map(|n| format!("m{n}")).collect();
        match policy {
            SlowPolicy::Close => {
                slow.expect_text("m0");
                slow.expect_close(1013);
            }
            _ => {
                let texts = slow.texts();
                assert_eq!(texts[0], "m0", "it was half on the wire");
                assert_eq!(texts[1], "{\"type\":\"gap\",\"missed\":16}");
                assert_eq!(texts[2..], kept[2..]);
            }
        }
        // Who is in the channel itself catches up with what it keeps.
        let texts = member.texts();
        assert_eq!(texts[texts.len() - 5..], kept);
        is_empty(world, [slow, member]);
    }
}

fn rights(all: &[&str]) -> Rights {
    let mut rights = Rights::default();
    for pattern in all {
        rights.add(Action::Subscribe, pattern).unwrap();
    }
    rights
}

#[test]
fn a_key_has_to_allow_all_that_a_pattern_has() {
    let keys = || {
        let reader = rights(&["news.*", "user.{user}.*", "just"]);
        Keys::new(["everything".to_owned()])
            .grant("reads", Grant::new("ann", &reader))
            .grant("less", Grant::new("ann", &rights(&["news.eu.*"])))
            .grant("star", Grant::new("*", &rights(&["user.{user}"])))
    };
    let mut world = house_with(|route| route.keys = keys());
    for (target, status) in [
        ("news.*?token=reads", 101),
        ("news.%3E?token=reads", 101),
        ("news.eu.*.x?token=reads", 101),
        ("user.ann.%3E?token=reads", 101),
        ("user.*?token=reads", 403),
        ("*.a?token=reads", 403),
        ("%3E?token=reads", 403),
        ("%3E?token=everything", 101),
        ("just?token=reads", 101),
        // A user of this name has a channel of this name, and not everybody's.
        ("user.*?token=star", 403),
        ("news.*", 401),
    ] {
        let target = format!("/ch/{target}");
        if status == 101 {
            world.connect(target.as_str());
        } else {
            let refused = world.connect_refused(target.as_str());
            assert_eq!(refused.status(), status, "{target}");
        }
    }
    let plain = world.request(get("user.*?token=reads", "Connection: close\r\n"));
    assert_eq!(plain.status(), 403);
    assert!(
        plain
            .text()
            .contains("subscribe on all channels of this pattern")
    );

    // The same where the key comes in a message; and one that follows may not allow less than what one has.
    let mut world = house_with(|route| route.keys = keys().in_message());
    let auth = |key: &str| format!("{{\"type\":\"auth\",\"token\":\"{key}\"}}");
    let is_ann = r#"{"type":"auth","user":"ann","expires":null}"#;
    let mut client = world.connect("/ch/user.*");
    client.send_text(&auth("reads"));
    client.expect_text(is_ann);
    client.expect_close(4403);
    let mut client = world.connect("/ch/news.*?positions");
    client.send_text(&auth("reads"));
    client.expect_text(is_ann);
    client.expect_text(r#"{"type":"subscribed","pattern":"news.*"}"#);
    client.send_text("hello");
    let said = client.texts();
    assert!(
        said[0].contains("this is a pattern and no channel"),
        "{said:?}"
    );
    client.send_text(&auth("less"));
    client.expect_text(is_ann);
    client.expect_close(4403);
}

/// `pattern P`, `from C`, `join C`, `leave P`; anything else is published: `CHANNEL text`.
#[derive(Default)]
struct App;

impl Handler for App {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Message::Text(text) = message else {
            return;
        };
        let (word, rest) = text.split_once(' ').unwrap();
        let done = match word {
            "pattern" => format!("{:?}", cx.subscribe_pattern(rest)),
            "from" => format!("{:?}", cx.subscribe_from(rest, Start::All).is_ok()),
            "join" => format!("{:?}", cx.subscribe(rest)),
            "leave" => format!("{:?}", cx.unsubscribe_pattern(rest)),
            "count" => cx.pattern_subscribers(rest).to_string(),
            channel => {
                let published = cx.publish(channel, Message::Text(rest)).unwrap();
                format!("to {}", published.receivers)
            }
        };
        cx.send_text(&done);
    }

    fn gap_marker(&self, missed: Option<u32>) -> Option<String> {
        Some(format!("gap {missed:?}"))
    }
}

#[test]
fn what_a_handler_may_do_with_patterns() {
    let mut world = World::new(WorkerSettings::default());
    let route = RouteSettings {
        channels: vec![ChannelOptions::of("a.kept").history_messages_max(9)],
        ..RouteSettings::default()
    };
    world.route_with("/", route, App::default);
    let [mut one, mut two] = [world.connect("/"), world.connect("/")];
    let say = |client: &mut Client, text: &str, answer: &str| {
        client.send_text(text);
        client.expect_text(answer);
    };
    say(&mut two, "a.kept k1", "to 0");
    say(&mut two, "a.kept k2", "to 0");
    say(&mut one, "pattern a.*", "Ok(true)");
    say(&mut one, "pattern a.*", "Ok(false)");
    say(&mut two, "count a.*", "1");
    one.send_text("from a.kept");
    assert_eq!(one.texts(), ["true", "k1", "k2"]);
    say(&mut two, "a.kept k3", "to 1");
    say(&mut two, "a.other o1", "to 1");
    assert_eq!(one.texts(), ["k3", "o1"], "once each");
    // It reads nothing: what is kept is given again, the rest waits.
    one.stop_reading();
    one.window(1);
    say(&mut two, "a.kept k4", "to 1");
    say(&mut two, "a.other o2", "to 1");
    one.window(1 << 20);
    one.resume_reading();
    let mut texts = one.texts();
    texts.sort_unstable();
    assert_eq!(texts, ["k4", "o2"]);
    // To the library a star is a letter: only patterns know it.
    say(&mut two, "join b.*", "Ok(true)");
    two.send_text("b.* x");
    assert_eq!(two.texts(), ["x", "to 1"]);
    say(&mut two, "b.c x", "to 0");
    say(&mut one, "leave a.*", "true");
    say(&mut one, "leave a.*", "false");
    say(&mut two, "a.other o3", "to 0");
    say(&mut two, "a.kept k5", "to 1");
    one.expect_text("k5");
    world.check_invariants();
}

#[test]
fn publications_of_another_home_reach_patterns() {
    let mut world = house();
    let mut events = listen(&mut world, "far.*", "Accept: text/event-stream\r\n");
    text_of(&mut events);
    let at = |offset| Position {
        epoch: 7,
        offset,
        tag: offset as u32,
    };
    for offset in [3, 5] {
        let incoming = Incoming::of(at(offset), at(offset - 1), Message::Text("m"))
            .event((offset == 5).then_some("goal"));
        let received = world.publication("pubsub", "far.away", &incoming);
        assert_eq!(received, Ok(Received::Delivered(1)));
        let (line, member) = match offset {
            5 => ("event: goal\n", "\"event\":\"goal\","),
            _ => ("", ""),
        };
        let expected = format!(
            "{line}data: {{\"channel\":\"far.away\",\"position\":\"{}\",\"previous\":\"{}\",{member}\"text\":\"m\"}}\n\n",
            at(offset),
            at(offset - 1)
        );
        assert_eq!(text_of(&mut events), expected);
    }
    is_empty(world, [events]);
}
