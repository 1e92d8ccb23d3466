//! Sessions that want some of what their channels say (feature `filters`), by every transport: live, from what is kept, and
//! when they are slow.

use dunlin::dialect::{PubSub, PubSubOptions};
use dunlin::hub::{ChannelOptions, Filter, SlowPolicy, Tags};
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{Answer, Client, World};
use dunlin::{Context, Handler, Message, Request, Upgrade};
use serde_json::Value;

/// `/ch/{channel}` and `/ch`: `news*` keeps so many, all others nothing.
fn house_with(kept: u32, change: impl FnOnce(&mut RouteSettings)) -> World {
    let mut world = World::new(WorkerSettings::default());
    let mut route = RouteSettings {
        channels: vec![ChannelOptions::of("news*").history_messages_max(kept)],
        ..RouteSettings::default()
    };
    change(&mut route);
    let options = PubSubOptions::default();
    world.route_with("/ch/{channel}", route, move || PubSub::new(options));
    world.route_with("/ch", RouteSettings::default(), PubSub::default);
    world
}

fn house() -> World {
    house_with(100, |_| {})
}

fn post(world: &mut World, channel: &str, headers: &str, body: &str) -> Answer {
    world.request(format!(
        "POST /ch/{channel} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// Publishes under a name (`""`: none) with tags (`""`: none); answers how many it was queued for.
fn say(world: &mut World, channel: &str, event: &str, tags: &str, body: &str) -> u64 {
    let mut headers = String::new();
    if !event.is_empty() {
        headers += &format!("X-EventSource-Event: {event}\r\n");
    }
    if !tags.is_empty() {
        headers += &format!("X-Tags: {tags}\r\n");
    }
    let answer = post(world, channel, &headers, body);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let json: Value = serde_json::from_slice(answer.body()).unwrap();
    json["receivers"].as_u64().unwrap()
}

/// Six publications: 1 and 4 are goals, 1 and 2 are red, 5 has no name, 6 nothing.
fn say_six(world: &mut World, channel: &str) -> Vec<u64> {
    [
        ("goal", "red"),
        ("card", "red, blue"),
        ("card", "blue"),
        ("goal", ""),
        ("", "blue"),
        ("", ""),
    ]
    .iter()
    .zip(1..)
    .map(|((event, tags), n)| say(world, channel, event, tags, &format!("m{n}")))
    .collect()
}

const QUERIES: [(&str, &str); 6] = [
    ("types=goal", "14"),
    ("types=goal,card", "1234"),
    ("tags=red", "12"),
    ("tags=%20red%20,blue", "1235"),
    ("types=card&tags=blue,green", "23"),
    ("types=offside", ""),
];

/// The numbers in `m1`, `m2`, … of what came.
fn numbers(text: &str) -> String {
    let digit = |piece: &str| piece.chars().next().filter(char::is_ascii_digit);
    text.split('m').skip(1).filter_map(digit).collect()
}

fn open(world: &mut World, target: &str, accept: &str) -> Client {
    let mut client = world.open();
    let accept = match accept {
        "" => String::new(),
        accept => format!("Accept: {accept}\r\n"),
    };
    let request = format!("GET /ch/{target} HTTP/1.1\r\nHost: sim\r\n{accept}\r\n");
    client.send_bytes(request.as_bytes());
    client
}

fn body(client: &mut Client) -> String {
    client.arriving().map_or_else(String::new, |a| a.text())
}

/// A reader by each transport that goes on, and what each of them has got.
fn readers(world: &mut World, target: &str) -> Vec<Client> {
    let sep = if target.contains('?') { '&' } else { '?' };
    vec![
        world.connect(format!("/ch/{target}").as_str()),
        world.connect(format!("/ch/{target}{sep}positions").as_str()),
        open(world, target, "text/event-stream"),
        open(world, target, ""),
        open(world, target, "application/x-ndjson"),
    ]
}

fn got(readers: &mut [Client]) -> Vec<String> {
    let of = |(at, client): (usize, &mut Client)| match at {
        0 | 1 => client.texts().join("\n"),
        _ => body(client),
    };
    readers.iter_mut().enumerate().map(of).collect()
}

fn is_empty(mut world: World, mut clients: Vec<Client>) {
    for client in &mut clients {
        client.reset();
    }
    world.check_invariants();
    world.advance_ms(100_000);
    assert_eq!((world.connections(), world.sessions()), (0, 0));
    world.check_invariants();
}

#[test]
fn every_transport_gets_what_matches_and_nothing_else() {
    for channel in ["news", "plain"] {
        for (query, expected) in QUERIES {
            let mut world = house();
            let mut clients = readers(&mut world, &format!("{channel}?{query}"));
            let mut all = world.connect(format!("/ch/{channel}").as_str());
            let receivers = say_six(&mut world, channel);
            for text in got(&mut clients) {
                assert_eq!(numbers(&text), expected, "{query}: {text}");
                assert!(
                    !text.contains("previous") && !text.contains("gap"),
                    "{text}"
                );
            }
            assert_eq!(all.texts(), ["m1", "m2", "m3", "m4", "m5", "m6"]);
            for (n, receivers) in (1..).zip(receivers) {
                let matches = expected.contains(&n.to_string());
                assert_eq!(receivers, if matches { 6 } else { 1 }, "{query}: m{n}");
            }
            clients.push(all);
            is_empty(world, clients);
        }
    }
}

#[test]
fn every_transport_gets_what_matches_of_what_is_kept() {
    for (query, expected) in QUERIES {
        let mut world = house();
        say_six(&mut world, "news");
        let mut clients = readers(&mut world, &format!("news?rewind=all&{query}"));
        for text in got(&mut clients) {
            assert_eq!(numbers(&text), expected, "{query}: {text}");
            assert!(
                !text.contains("previous") && !text.contains("gap"),
                "{text}"
            );
        }
        // They are live, and what comes is for all or for none of them.
        say_six(&mut world, "news");
        for text in got(&mut clients) {
            assert_eq!(numbers(&text), expected, "{query}: {text}");
        }
        let mut poll = open(&mut world, &format!("news?poll=0&rewind=all&{query}"), "");
        let answer = poll.answer().unwrap();
        assert_eq!(answer.status(), if expected.is_empty() { 204 } else { 200 });
        assert_eq!(numbers(&answer.text()), [expected, expected].concat());
        clients.push(poll);
        is_empty(world, clients);
    }
}

#[test]
fn envelopes_of_others_keep_their_links() {
    let mut world = house();
    let mut linked = world.connect("/ch/news?positions");
    let mut some = world.connect("/ch/news?positions&types=goal");
    let mut lines = open(&mut world, "news?types=goal", "application/x-ndjson");
    say_six(&mut world, "news");
    let linked_texts = linked.texts();
    assert_eq!(
        linked_texts
            .iter()
            .filter(|t| t.contains("\"previous\":"))
            .count(),
        5
    );
    let some_texts = some.texts();
    let goal: Value = serde_json::from_str(&linked_texts[4]).unwrap();
    let position = goal["position"].as_str().unwrap();
    assert_eq!(
        some_texts[2],
        format!("{{\"position\":\"{position}\",\"event\":\"goal\",\"text\":\"m4\"}}")
    );
    assert_eq!(body(&mut lines).lines().last(), Some(&*some_texts[2]));
    is_empty(world, vec![linked, some, lines]);
}

#[test]
fn a_poll_goes_on_waiting_when_something_else_comes() {
    let mut world = house_with(3, |_| {});
    let mut client = open(&mut world, "news?poll&types=goal", "");
    for _ in 0..3 {
        assert_eq!(say(&mut world, "news", "card", "", "x"), 0);
        world.advance_ms(1_000);
    }
    assert!(client.answer().is_none());
    assert_eq!(say(&mut world, "news", "goal", "", "m1"), 1);
    let answer = client.answer().unwrap();
    assert_eq!(
        (answer.status(), numbers(&answer.text())),
        (200, "1".to_owned())
    );
    let tag = |answer: &Answer| answer.header("ETag").unwrap().trim_matches('"').to_owned();
    let mut at = tag(&answer);
    // What it does not want moves it on, so that it is still inside of what is kept when that has long gone.
    for n in 0..5 {
        let mut poll = |waits: u8| {
            let request = format!(
                "GET /ch/news?poll={waits}&types=goal&since={at} HTTP/1.1\r\nHost: sim\r\n\r\n"
            );
            client.send_bytes(request.as_bytes());
        };
        poll(n % 2);
        for _ in 0..2 {
            say(&mut world, "news", "card", "", "x");
        }
        world.advance_ms(26_000);
        let answer = client.answer().unwrap();
        assert_eq!(answer.status(), 204, "{}", answer.text());
        if n % 2 == 1 {
            assert_ne!(tag(&answer), at);
        }
        at = tag(&answer);
    }
    let request = format!("GET /ch/news?poll&types=goal&since={at} HTTP/1.1\r\nHost: sim\r\n\r\n");
    client.send_bytes(request.as_bytes());
    say(&mut world, "news", "goal", "", "m2");
    let answer = client.answer().unwrap();
    let json: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(json["messages"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(numbers(&answer.text()), "2", "{json}");
    assert_eq!(json["position"], tag(&answer));
    is_empty(world, vec![client]);
}

#[test]
fn nobody_stalls_behind_much_that_does_not_match() {
    let mut world = house_with(2_000, |_| {});
    for n in 0..1_500 {
        let event = if n == 1_400 { "goal" } else { "card" };
        let body = if n == 1_400 { "m1" } else { "x" };
        say(&mut world, "news", event, "", body);
    }
    let mut clients = readers(&mut world, "news?rewind=all&types=goal");
    for text in got(&mut clients) {
        assert_eq!(numbers(&text), "1", "{text}");
    }
    for (types, status) in [("goal", 200), ("offside", 204)] {
        for waits in [0, 1] {
            let target = format!("news?poll={waits}&rewind=all&types={types}");
            let mut client = open(&mut world, &target, "");
            if waits == 1 && status == 204 {
                assert!(client.answer().is_none());
                world.advance_ms(26_000);
            }
            let answer = client.answer().unwrap();
            assert_eq!(answer.status(), status, "{target}: {}", answer.text());
            // It has seen all there is: the next one finds nothing, and no gap.
            let at = answer.header("ETag").unwrap().trim_matches('"').to_owned();
            let mut next = open(
                &mut world,
                &format!("news?poll=0&types={types}&since={at}"),
                "",
            );
            let answer = next.answer().unwrap();
            assert_eq!(answer.status(), 204, "{target}: {}", answer.text());
            clients.extend([client, next]);
        }
    }
    world.check_invariants();
    say(&mut world, "news", "goal", "", "m2");
    for (at, text) in got(&mut clients).into_iter().enumerate().take(5) {
        assert!(numbers(&text).ends_with('2'), "{at}: {text}");
    }
    is_empty(world, clients);
}

#[test]
fn events_say_where_a_quiet_reader_stands() {
    let mut world = house_with(3, |_| {});
    let mut events = open(&mut world, "news?types=goal", "text/event-stream");
    for _ in 0..10 {
        say(&mut world, "news", "card", "", "x");
    }
    world.advance_ms(20_000);
    let text = body(&mut events);
    let at = text.split("id: ").last().unwrap().trim().to_owned();
    assert!(text.ends_with(&format!("id: {at}\n\n")), "{text}");
    events.reset();
    // It comes back, and nothing is missing.
    say(&mut world, "news", "goal", "", "m1");
    let mut events = world.open();
    events.send_bytes(
        format!("GET /ch/news?types=goal HTTP/1.1\r\nHost: sim\r\nAccept: text/event-stream\r\nLast-Event-ID: {at}\r\n\r\n").as_bytes(),
    );
    let text = body(&mut events);
    assert!(!text.contains("gap") && numbers(&text) == "1", "{text}");
    // Without a filter it is a comment as ever.
    let mut all = open(&mut world, "news", "text/event-stream");
    world.advance_ms(20_000);
    assert!(body(&mut all).ends_with("\n\n:\n\n"));
    is_empty(world, vec![events, all]);
}

#[test]
fn what_is_gone_is_said_and_counted_as_a_whole() {
    let mut world = house_with(3, |_| {});
    let mut events = open(&mut world, "news?types=goal", "text/event-stream");
    say(&mut world, "news", "goal", "", "m1");
    let text = body(&mut events);
    let at = text
        .split("id: ")
        .last()
        .unwrap()
        .split('\n')
        .next()
        .unwrap();
    let at = at.to_owned();
    events.reset();
    for _ in 0..6 {
        say(&mut world, "news", "card", "", "x");
    }
    // Three of them are not kept any more, and whether a goal was among them nobody knows.
    let mut socket = world.connect(format!("/ch/news?types=goal&since={at}").as_str());
    let texts = socket.texts();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("\"recovered\":false"));
    assert_eq!(texts[1], "{\"type\":\"gap\",\"missed\":3}");
    is_empty(world, vec![socket]);
}

/// A session that stands still with one byte of a first message taken.
fn standing(world: &mut World, target: &str) -> Client {
    let mut slow = world.connect(target);
    slow.stop_reading();
    slow.window(1);
    slow
}

fn resumed(slow: &mut Client) -> Vec<String> {
    slow.window(1 << 16);
    slow.resume_reading();
    slow.texts()
}

#[test]
fn a_slow_reader_is_told_of_what_it_would_have_got() {
    let mut world = house_with(0, |route| {
        route.session.slow = SlowPolicy::DropOldest;
        route.session.outbox_frames_max = 4;
    });
    let mut slow = standing(&mut world, "/ch/plain?types=goal");
    for n in 0..20 {
        let event = if n % 2 == 0 { "goal" } else { "card" };
        say(&mut world, "plain", event, "", &format!("{n}"));
    }
    // Ten goals: one is on its way, three and the marker are left, six are missed.
    let texts = resumed(&mut slow);
    assert_eq!(texts[0], "0");
    let gap: Value = serde_json::from_str(&texts[1]).unwrap();
    let missed = gap["missed"].as_u64().unwrap();
    let rest: Vec<u64> = texts[2..].iter().map(|t| t.parse().unwrap()).collect();
    assert_eq!(rest.first(), Some(&(2 * (missed + 1))), "{texts:?}");
    assert!(rest.windows(2).all(|two| two[1] == two[0] + 2));
    assert_eq!(rest.last(), Some(&18));
    is_empty(world, vec![slow]);
}

#[test]
fn what_does_not_match_outdates_nothing() {
    let mut world = house_with(0, |route| {
        route.session.slow = SlowPolicy::Latest;
        route.session.outbox_frames_max = 4;
    });
    let mut slow = standing(&mut world, "/ch/plain?tags=red");
    for n in 0..20 {
        say(&mut world, "plain", "", "red", &format!("red {n}"));
        say(&mut world, "plain", "", "blue", "blue");
    }
    for _ in 0..20 {
        say(&mut world, "plain", "", "blue", "blue");
    }
    let texts = resumed(&mut slow);
    assert_eq!(texts[0], "red 0");
    assert_eq!(texts.last().unwrap(), "red 19");
    assert!(!texts.iter().any(|text| text == "blue"));
    assert_eq!(world.refused("slow_consumer"), 0);
    is_empty(world, vec![slow]);
}

#[test]
fn a_slow_reader_catches_up_with_what_matches() {
    let mut world = house_with(1_000, |route| route.session.outbox_frames_max = 8);
    let mut slow = standing(&mut world, "/ch/news?types=goal");
    for n in 0..600 {
        let event = if n % 3 == 0 { "goal" } else { "card" };
        say(&mut world, "news", event, "", &format!("{n}"));
    }
    let expected: Vec<String> = (0..600).step_by(3).map(|n| n.to_string()).collect();
    assert_eq!(resumed(&mut slow), expected);
    assert_eq!(say(&mut world, "news", "card", "", "x"), 0);
    assert_eq!(say(&mut world, "news", "goal", "", "on"), 1);
    slow.expect_text("on");
    is_empty(world, vec![slow]);
}

#[test]
fn what_is_wrong_is_said() {
    let mut world = house();
    let long = "x".repeat(65);
    let many = ["a"; 17].join(",");
    for query in [
        "types=",
        "tags=",
        "types=goal,,card",
        "tags=red,",
        "tags=a%00b",
        "types=a%0Ab",
        "types=gap",
        "types=close",
        "tags=tor%C3%B6",
        &format!("types={long}"),
        &format!("tags={long}"),
        &format!("types={many}"),
        &format!("tags={many}"),
    ] {
        for accept in ["text/event-stream", "*/*", "application/x-ndjson"] {
            let mut client = open(&mut world, &format!("news?{query}"), accept);
            let answer = client.answer().unwrap();
            assert_eq!(answer.status(), 400, "{query}");
            let text = answer.text();
            let word = if query.starts_with("tags") {
                "`tags`: "
            } else {
                "`types`: "
            };
            assert!(text.contains(word), "{query}: {text}");
        }
    }
    let most = format!("news?types={}&tags={}", &many[2..], &many[2..]);
    let mut client = open(&mut world, &most, "text/event-stream");
    assert_eq!(client.arriving().unwrap().status(), 200);
    let nine = ["a"; 9].join(",");
    let wrong = ["", "a,,b", "a b", "tor\u{f6}", "a,", &long, &nine];
    for tags in wrong {
        let answer = post(&mut world, "news", &format!("X-Tags: {tags}\r\n"), "x");
        assert_eq!(answer.status(), 400, "{tags}");
        assert!(answer.text().contains("`X-Tags`: "), "{}", answer.text());
    }
    for tags in [
        "[]",
        "[\"\"]",
        "\"a\"",
        "[1]",
        "null",
        &format!("[\"{long}\"]"),
    ] {
        let body = format!("{{\"channel\":\"news\",\"data\":1,\"tags\":{tags}}}");
        let answer = world.request(format!(
            "POST /ch HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(answer.status(), 400, "{tags}");
        assert!(answer.text().contains("\\\"tags\\\""), "{}", answer.text());
    }
    assert!(!body(&mut client).contains("data"), "nothing was published");
    is_empty(world, vec![client]);
}

#[test]
fn tags_come_in_several_lines_and_in_lists() {
    let mut world = house();
    let mut red = world.connect("/ch/news?tags=red");
    let mut blue = world.connect("/ch/news?tags=blue");
    let answer = post(
        &mut world,
        "news",
        "X-Tags: red\r\nX-Tags: green, blue\r\n",
        "one",
    );
    assert!(
        answer.text().contains("\"receivers\":2"),
        "{}",
        answer.text()
    );
    let body = "{\"batch\":[{\"channel\":\"news\",\"data\":\"two\",\"tags\":[\"blue\"]},{\"channels\":[\"news\"],\"data\":\"three\",\"event\":\"x\"}]}";
    let answer = world.request(format!(
        "POST /ch HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(red.texts(), ["one"]);
    assert_eq!(blue.texts(), ["one", "two"]);
    is_empty(world, vec![red, blue]);
}

/// `filter A`: types; `lift`; `pub NAME TEXT`; `user TEXT`: to all of this user's; `self TEXT`.
struct Own;

impl Handler for Own {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        cx.set_user("zoe").unwrap();
        cx.subscribe("room").unwrap();
        if request.query("positions").is_some() {
            cx.want_envelopes();
        }
        Upgrade::accept()
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Message::Text(text) = message else { return };
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "filter" => cx.filter(Filter::default().types([rest]).unwrap()).unwrap(),
            "lift" => cx.filter(Filter::default()).unwrap(),
            "pub" => {
                let (name, text) = rest.split_once(' ').unwrap();
                let tags = Tags::new(["x"]).unwrap();
                let published = cx.publish_tagged("room", Some(name), &tags, Message::Text(text));
                assert!(published.is_ok());
            }
            "user" => assert_eq!(cx.send_to_user("zoe", Message::Text(rest)), Ok(1)),
            "many" => {
                let id = cx.id().unwrap();
                assert_eq!(cx.send_many(&[id], Message::Text(rest)), Ok(1));
            }
            "self" => assert!(cx.send_text(rest)),
            _ => unreachable!(),
        }
    }
}

#[test]
fn what_a_session_is_told_is_not_filtered() {
    let mut world = World::new(WorkerSettings::default());
    world.route("/own", || Own);
    let mut client = world.connect("/own");
    for text in [
        "filter goal",
        "pub card 1",
        "user 2",
        "many 3",
        "self 4",
        "pub goal 5",
        "filter card",
        "pub goal 6",
        "pub card 7",
        "lift",
        "pub goal 8",
    ] {
        client.send_text(text);
        world.check_invariants();
    }
    assert_eq!(client.texts(), ["2", "3", "4", "5", "7", "8"]);
    // A slot that was used before has no filter of its predecessor's.
    client.send_text("filter none");
    client.reset();
    world.check_invariants();
    let mut next = world.connect("/own?positions");
    next.send_text("pub goal 9");
    next.send_text("pub goal 10");
    let texts = next.texts();
    assert!(
        texts[0].ends_with("\"event\":\"goal\",\"data\":9}"),
        "{texts:?}"
    );
    assert!(texts[1].contains("\"previous\""), "{texts:?}");
    next.send_text("filter goal");
    next.send_text("pub goal 11");
    assert!(!next.texts()[0].contains("previous"));
    is_empty(world, vec![next]);
}

#[cfg(feature = "wildcards")]
#[test]
fn a_pattern_may_have_a_filter() {
    let mut world = house();
    let mut clients = readers(&mut world, "news.*?tags=red&types=goal,card");
    let mut linked = world.connect("/ch/news.*?positions");
    for (channel, expected) in [("news.eu", 6), ("news.us", 6), ("other.eu", 0)] {
        let receivers = say_six(&mut world, channel);
        assert_eq!(
            receivers,
            [expected, expected, 1, 1, 1, 1].map(|n| n.min(expected))
        );
    }
    // Again, so that each has something to follow.
    say_six(&mut world, "news.us");
    for text in got(&mut clients) {
        assert_eq!(numbers(&text), "121212", "{text}");
        assert!(
            !text.contains("previous") && !text.contains("id: "),
            "{text}"
        );
    }
    assert!(linked.texts().last().unwrap().contains("\"previous\":"));
    world.advance_ms(20_000);
    assert!(
        got(&mut clients)[2].ends_with(":\n\n"),
        "no position is one of many channels"
    );
    let mut poll = open(&mut world, "news.*?poll&types=goal", "");
    say(&mut world, "news.eu", "card", "", "x");
    assert!(poll.answer().is_none());
    say(&mut world, "news.eu", "goal", "", "m7");
    let answer = poll.answer().unwrap();
    assert_eq!(
        (numbers(&answer.text()), answer.header("ETag")),
        ("7".into(), None)
    );
    clients.extend([linked, poll]);
    is_empty(world, clients);
}

#[test]
fn a_filter_finds_room_or_is_refused() {
    let mut world = World::new(WorkerSettings {
        hub: dunlin::hub::HubLimits {
            memory_budget_bytes: 1,
            ..dunlin::hub::HubLimits::default()
        },
        ..WorkerSettings::default()
    });
    world.route_with("/ch/{channel}", RouteSettings::default(), PubSub::default);
    let mut client = open(&mut world, "news?types=goal", "text/event-stream");
    let answer = client.answer().unwrap();
    assert_eq!(answer.status(), 503, "{}", answer.text());
    is_empty(world, vec![client]);
}
