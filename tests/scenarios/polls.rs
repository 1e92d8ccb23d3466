//! Channels by plain HTTP: polls that wait and polls that do not, and events and lines that go on where they were.

use dunlin::dialect::{PubSub, PubSubOptions};
use dunlin::hub::ChannelOptions;
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{Answer, Client, World};

/// `/ch/{channel}`: `news` keeps 5, all others nothing.
fn house() -> World {
    house_with(PubSubOptions::default(), |_| {})
}

fn house_with(options: PubSubOptions, change: impl FnOnce(&mut RouteSettings)) -> World {
    let mut world = World::new(WorkerSettings::default());
    let mut route = RouteSettings {
        channels: vec![ChannelOptions::of("news").history_messages_max(5)],
        ..RouteSettings::default()
    };
    change(&mut route);
    world.route_with("/ch/{channel}", route, move || PubSub::new(options));
    world
}

fn get(target: &str, headers: &str) -> String {
    format!("GET /ch/{target} HTTP/1.1\r\nHost: sim\r\n{headers}\r\n")
}

fn post_with(world: &mut World, channel: &str, body: &str, headers: &str) -> Answer {
    world.request(format!(
        "POST /ch/{channel} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// Publishes, and answers where that stands.
fn publish(world: &mut World, channel: &str, body: &str) -> String {
    let answer = post_with(world, channel, body, "").text();
    let (_, position) = answer.split_once("\"position\":\"").unwrap();
    position.split_once('"').unwrap().0.to_owned()
}

/// Where the next poll goes on.
fn cursor(answer: &Answer) -> String {
    answer.header("ETag").unwrap().trim_matches('"').to_owned()
}

fn is_empty(mut world: World) {
    world.check_invariants();
    world.advance_ms(100_000);
    assert_eq!((world.connections(), world.sessions()), (0, 0));
    world.check_invariants();
}

#[test]
fn a_poll_waits_for_the_next_message_and_goes_on_without_loss() {
    let mut world = house();
    let mut client = world.open();
    client.send_bytes(get("news?poll=1", "").as_bytes());
    assert!(client.answer().is_none() && client.arriving().is_none());
    assert_eq!(world.sessions(), 1);
    world.advance_ms(5_000);
    let first = publish(&mut world, "news", "one");
    let answer = client.answer().unwrap();
    assert_eq!((answer.status(), cursor(&answer)), (200, first.clone()));
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    assert_eq!(
        answer.text(),
        format!(
            "{{\"messages\":[{{\"position\":\"{first}\",\"text\":\"one\"}}],\"position\":\"{first}\"}}"
        )
    );
    assert_eq!(world.sessions(), 0, "it is over with its answer");
    // Between two polls: two messages, one of them JSON, are one answer, on the same connection.
    let second = publish(&mut world, "news", "two");
    let third = publish(&mut world, "news", "{\"n\":3}");
    client.send_bytes(get(&format!("news?poll&since={first}"), "").as_bytes());
    let answer = client.answer().unwrap();
    assert_eq!(cursor(&answer), third);
    assert_eq!(
        answer.text(),
        format!(
            "{{\"messages\":[{{\"position\":\"{second}\",\"previous\":\"{first}\",\"text\":\"two\"}},\
             {{\"position\":\"{third}\",\"previous\":\"{second}\",\"data\":{{\"n\":3}}}}],\"position\":\"{third}\"}}"
        )
    );
    // Nothing new: 204 when the time is up, and the cursor stays.
    client.send_bytes(get(&format!("news?poll&since={third}"), "").as_bytes());
    world.advance_ms(24_900);
    assert!(client.answer().is_none());
    world.advance_ms(300);
    let answer = client.answer().unwrap();
    assert_eq!((answer.status(), cursor(&answer)), (204, third));
    is_empty(world);
}

#[test]
fn fb_3_polls_over_a_quiet_and_a_busy_channel_lose_nothing() {
    let mut world = house();
    let mut client = world.open();
    let mut at = String::new();
    let mut got = Vec::new();
    let (mut polls, mut sent) = (0, 0);
    while got.len() < 40 {
        client.send_bytes(get(&format!("news?poll&{at}"), "").as_bytes());
        // Now and then something comes while it waits, and now and then in between.
        if polls % 3 == 0 {
            publish(&mut world, "news", &format!("m{sent}"));
            sent += 1;
        }
        let answer = client.answer().unwrap_or_else(|| {
            world.advance_ms(26_000);
            client.answer().unwrap()
        });
        at = format!("since={}", cursor(&answer));
        got.extend(
            answer
                .text()
                .split("\"text\":\"")
                .skip(1)
                .map(|text| text.split('"').next().unwrap().to_owned()),
        );
        assert!(!answer.text().contains("gap"), "{}", answer.text());
        for _ in 0..polls % 5 {
            publish(&mut world, "news", &format!("m{sent}"));
            sent += 1;
        }
        polls += 1;
    }
    let expected: Vec<String> = (0..got.len()).map(|n| format!("m{n}")).collect();
    assert_eq!(got, expected);
    is_empty(world);
}

#[test]
fn a_poll_that_does_not_wait_is_answered_at_once() {
    let mut world = house();
    let mut client = world.open();
    // Before the first message: the beginning is a place too, also of a channel that nobody holds.
    client.send_bytes(get("news?poll=0", "").as_bytes());
    let answer = client.answer().unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (204, ""));
    let beginning = cursor(&answer);
    client.send_bytes(get(&format!("news?poll=0&since={beginning}"), "").as_bytes());
    assert_eq!(
        client.answer().unwrap().status(),
        204,
        "no gap where nothing was"
    );
    let first = publish(&mut world, "news", "one");
    let tag = format!("If-None-Match: \"{beginning}\"\r\n");
    client.send_bytes(get("news?poll=0", &tag).as_bytes());
    let answer = client.answer().unwrap();
    assert_eq!((answer.status(), cursor(&answer)), (200, first.clone()));
    let tag = format!("If-None-Match: W/\"{first}\"\r\n");
    client.send_bytes(get("news?poll=0", &tag).as_bytes());
    let answer = client.answer().unwrap();
    assert_eq!((answer.status(), cursor(&answer)), (304, first.clone()));
    // What is kept, from the start.
    client.send_bytes(get("news?poll=0&rewind=all", "").as_bytes());
    assert_eq!(
        client.answer().unwrap().text().matches("\"text\"").count(),
        1
    );
    let bad = world.request(get("news?poll=0&since=soon", ""));
    assert_eq!(bad.status(), 400);
    is_empty(world);
}

#[test]
fn a_gap_is_said_and_what_is_kept_comes_behind_it() {
    let mut world = house();
    let first = publish(&mut world, "news", "m0");
    for n in 1..10 {
        publish(&mut world, "news", &format!("m{n}"));
    }
    let answer = world.request(get(&format!("news?poll&since={first}"), ""));
    let text = answer.text();
    assert!(
        text.starts_with("{\"messages\":[{\"type\":\"gap\",\"missed\":4},{\"position\":"),
        "{text}"
    );
    assert_eq!(text.matches("\"text\":\"m").count(), 5);
    assert!(text.contains("\"text\":\"m9\"}],"), "{text}");
    let next = cursor(&answer);
    let answer = world.request(get(&format!("news?poll=0&since={next}"), ""));
    assert_eq!(answer.status(), 204);
    // From another life altogether.
    let answer = world.request(get("news?poll&since=00000001.7.00000002", ""));
    assert!(
        answer
            .text()
            .starts_with("{\"messages\":[{\"type\":\"gap\",\"missed\":null},")
    );
    is_empty(world);
}

#[test]
fn without_a_history_a_poll_gets_what_comes_while_it_waits() {
    let mut world = house();
    let mut clients = [world.open(), world.open()];
    for client in &mut clients {
        client.send_bytes(get("brief?poll&since=00000001.7.00000002", "").as_bytes());
        assert!(client.answer().is_none(), "there is nothing to go on from");
    }
    publish(&mut world, "brief", "now");
    for client in &mut clients {
        let answer = client.answer().unwrap();
        assert_eq!((answer.status(), answer.header("ETag")), (200, None));
        assert!(
            answer.text().contains("\"text\":\"now\"}]}"),
            "{}",
            answer.text()
        );
    }
    is_empty(world);
}

#[test]
fn a_poll_may_be_ended_by_either_side() {
    let mut world = house();
    // The client goes.
    let mut client = world.open();
    client.send_bytes(get("news?poll", "").as_bytes());
    assert_eq!(world.sessions(), 1);
    client.half_close();
    assert_eq!((world.sessions(), world.connections()), (0, 0));
    let mut client = world.open();
    client.send_bytes(get("news?poll", "").as_bytes());
    client.reset();
    assert_eq!((world.sessions(), world.connections()), (0, 0));
    // The server goes.
    let mut client = world.open();
    client.send_bytes(get("news?poll", "").as_bytes());
    world.drain();
    world.advance_ms(1_000);
    let answer = client.answer().unwrap();
    assert_eq!(
        (answer.status(), answer.header("Connection")),
        (503, Some("close"))
    );
    assert_eq!(answer.header("Retry-After"), Some("1"));
    assert!(world.is_drained());
}

#[test]
fn what_comes_behind_a_poll_waits_for_its_answer() {
    for cut in [1, 1 << 20] {
        let mut world = house();
        let mut client = world.open();
        client.cut_into(cut);
        let both = get("news?poll", "")
            + &get("news?info", "")
            + &get("news?poll=0", "")
            + &get("news?poll", "");
        client.send_bytes(both.as_bytes());
        assert!(client.answer().is_none());
        publish(&mut world, "news", "x");
        assert!(client.answer().unwrap().text().contains("\"text\":\"x\""));
        assert!(
            client
                .answer()
                .unwrap()
                .text()
                .contains("\"subscribers\":0")
        );
        assert_eq!(client.answer().unwrap().status(), 204);
        assert!(client.answer().is_none());
        assert_eq!(world.sessions(), 1);
        client.reset();
        is_empty(world);
    }
    // Answers to what came before it are not held up by a poll, however slowly they are taken.
    let mut world = house();
    let mut client = world.open();
    client.window(10);
    client.send_bytes(
        (get("news?info", "") + &get("news?info", "") + &get("news?poll", "")).as_bytes(),
    );
    for _ in 0..2 {
        assert_eq!(client.answer().unwrap().status(), 200);
    }
    assert!(client.answer().is_none());
    publish(&mut world, "news", "x");
    assert_eq!(client.answer().unwrap().status(), 200);
    is_empty(world);
    // Thousands of polls that do not wait, in one write.
    let mut world = house();
    let mut client = world.open();
    client.send_bytes(get("news?poll=0", "").repeat(3_000).as_bytes());
    for _ in 0..3_000 {
        assert_eq!(client.answer().unwrap().status(), 204);
    }
    // More than a request may be long, behind one that waits.
    client.send_bytes((get("news?poll", "") + &"x".repeat(100_000)).as_bytes());
    assert!(world.used_bytes() < 300_000, "{}", world.used_bytes());
    publish(&mut world, "news", "x");
    assert_eq!(client.answer().unwrap().status(), 200);
    assert_eq!(client.answer().unwrap().status(), 414);
    client.reset();
    is_empty(world);
}

#[test]
fn a_crowd_of_polls_is_one_publication() {
    let mut world = house();
    let mut clients: Vec<Client> = (0..300)
        .map(|_| {
            let mut client = world.open();
            client.send_bytes(get("news?poll", "").as_bytes());
            client
        })
        .collect();
    let answer = post_with(&mut world, "news", "x", "").text();
    assert!(answer.contains("\"receivers\":300"), "{answer}");
    for client in &mut clients {
        assert_eq!(client.answer().unwrap().status(), 200);
    }
    assert_eq!(world.sessions(), 0);
    is_empty(world);
}

/// What has come of a stream, without what comes before everything.
fn events(client: &mut Client) -> String {
    let text = client.arriving().map_or_else(String::new, |a| a.text());
    match text.starts_with("retry: 3000\n") {
        true => text.split_once("\n\n").unwrap().1.to_owned(),
        false => text,
    }
}

fn listen(world: &mut World, headers: &str) -> Client {
    let mut client = world.open();
    let accept = "Accept: text/event-stream\r\n";
    client.send_bytes(get("news", &format!("{accept}{headers}")).as_bytes());
    client
}

#[test]
fn fb_2_who_comes_back_with_the_last_id_gets_what_it_missed() {
    let mut world = house();
    let mut client = listen(&mut world, "");
    let head = client.arriving().unwrap();
    let begins = head.text();
    let begins = begins
        .strip_prefix("retry: 3000\nid: ")
        .unwrap()
        .trim_end()
        .to_owned();
    assert_eq!(head.header("ETag").unwrap(), format!("\"{begins}\""));
    client.reset();
    // Away before the first message, and back.
    let mut all = vec![begins.clone()];
    for n in 0..3 {
        all.push(publish(&mut world, "news", &format!("m{n}")));
    }
    let told = |range: std::ops::Range<usize>| -> String {
        range
            .map(|n| format!("id: {}\ndata: m{n}\n\n", all[n + 1]))
            .collect()
    };
    for (seen, expected) in [(0, 0..3), (1, 1..3), (3, 3..3)] {
        let mut client = listen(&mut world, &format!("Last-Event-ID: {}\r\n", all[seen]));
        assert_eq!(events(&mut client), told(expected));
        client.reset();
    }
    // The header is newer than the URL.
    let mut client = world.open();
    let headers = format!("Accept: text/event-stream\r\nLast-Event-ID: {}\r\n", all[2]);
    client.send_bytes(get(&format!("news?since={}", all[1]), &headers).as_bytes());
    assert_eq!(events(&mut client), told(2..3));
    // Too old: the gap is said, and what is kept comes behind it.
    for n in 3..10 {
        publish(&mut world, "news", &format!("m{n}"));
    }
    client.reset();
    for (id, missed) in [(all[1].as_str(), "4"), ("what-another-server-said", "null")] {
        let mut client = listen(&mut world, &format!("Last-Event-ID: {id}\r\n"));
        let head = client.arriving().unwrap();
        // Should it be cut here, it must not come back from behind the gap.
        let text = head.text();
        let text = text.strip_prefix("retry: 3000\n\n").unwrap();
        assert_eq!(head.header("ETag"), None);
        let gap = format!("event: gap\ndata: {{\"type\":\"gap\",\"missed\":{missed}}}\n\nid: ");
        assert!(text.starts_with(&gap), "{text}");
        assert_eq!(text.matches("data: m").count(), 5);
        client.reset();
    }
    is_empty(world);
}

#[test]
fn fb_5_every_transport_sees_one_sequence() {
    let mut world = house();
    let mut socket = world.connect("/ch/news?positions");
    let mut events = listen(&mut world, "");
    let mut lines = world.open();
    lines.send_bytes(get("news", "Accept: application/x-ndjson\r\n").as_bytes());
    let mut more = world.open();
    more.send_bytes(get("news?positions", "").as_bytes());
    for n in 0..20 {
        post_with(
            &mut world,
            "news",
            &format!("m{n}"),
            "X-EventSource-Event: tick\r\n",
        );
    }
    let of_socket = socket.texts();
    let head = lines.arriving().unwrap();
    assert_eq!(head.header("Content-Type"), Some("application/x-ndjson"));
    let text = head.text();
    let of_lines: Vec<&str> = text.lines().collect();
    assert_eq!(of_socket, of_lines, "envelopes are envelopes");
    let more = more.arriving().unwrap();
    assert_eq!(
        (more.header("Content-Type"), more.text()),
        (Some("application/x-ndjson"), text.clone())
    );
    let of_events = events.arriving().unwrap().text();
    let of_events: Vec<&str> = of_events.split("\n\n").skip(1).collect();
    for (n, envelope) in of_socket.iter().skip(1).enumerate() {
        let position = envelope.split('"').nth(3).unwrap();
        assert_eq!(
            of_events[n],
            format!("id: {position}\nevent: tick\ndata: m{n}")
        );
        assert!(
            envelope.contains(",\"event\":\"tick\",\"text\":\"m"),
            "{envelope}"
        );
    }
    for client in [&mut socket, &mut events, &mut lines] {
        client.reset();
    }
    world.advance_ms(1_000);
}

#[test]
fn a_name_of_an_event_is_kept_with_it() {
    let mut world = house();
    let body = "{\"channel\":\"news\",\"data\":\"1:0\",\"event\":\"goal\"}";
    world.route_with("/ch", RouteSettings::default(), PubSub::default);
    let many = world.request(format!(
        "POST /ch HTTP/1.1\r\nHost: sim\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(many.status(), 200, "{}", many.text());
    let answer = world.request(get("news?poll&rewind=all", "")).text();
    assert!(
        answer.contains("\"event\":\"goal\",\"text\":\"1:0\"}"),
        "{answer}"
    );
    let mut client = world.open();
    client.send_bytes(get("news?rewind=1", "Accept: text/event-stream\r\n").as_bytes());
    assert!(events(&mut client).ends_with("event: goal\ndata: 1:0\n\n"));
    client.reset();
    for bad in ["", &"x".repeat(65), "a\tb", "gap", "close"] {
        let answer = post_with(
            &mut world,
            "news",
            "x",
            &format!("X-EventSource-Event: {bad}\r\n"),
        );
        assert_eq!(answer.status(), 400, "{bad:?}");
    }
    let long = "x".repeat(64);
    let answer = post_with(
        &mut world,
        "news",
        "x",
        &format!("X-EventSource-Event: {long}\r\n"),
    );
    assert_eq!(answer.status(), 200);
    is_empty(world);
}

#[test]
fn statuses_as_nchan_has_them() {
    let options = PubSubOptions {
        nchan_statuses: true,
        ..PubSubOptions::default()
    };
    let mut world = house_with(options, |_| {});
    assert_eq!(post_with(&mut world, "news", "x", "").status(), 202);
    let mut client = listen(&mut world, "");
    assert_eq!(post_with(&mut world, "news", "x", "").status(), 201);
    client.reset();
    is_empty(world);
}

#[test]
fn a_poll_has_an_edge_in_time() {
    let mut world = house_with(PubSubOptions::default(), |route| {
        route.poll_timeout_ms = 1_000
    });
    let mut client = world.open();
    client.send_bytes(get("news?poll", "").as_bytes());
    world.advance_ms(990);
    assert!(client.answer().is_none());
    world.advance_ms(200);
    assert_eq!(client.answer().unwrap().status(), 204);
    is_empty(world);
}

#[cfg(not(feature = "filters"))]
#[test]
fn a_build_that_cannot_filter_says_so() {
    let mut world = house();
    world.route_with("/ch", RouteSettings::default(), PubSub::default);
    let body = "{\"channel\":\"news\",\"data\":1,\"tags\":[\"red\"]}";
    let requests = [
        get("news?types=goal", "Accept: text/event-stream\r\n"),
        get("news?tags=red", ""),
        get("news?poll=0&tags", ""),
        "POST /ch/news HTTP/1.1\r\nHost: sim\r\nX-Tags: red\r\nContent-Length: 0\r\n\r\n".into(),
        format!(
            "POST /ch HTTP/1.1\r\nHost: sim\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    ];
    for request in requests {
        let answer = world.request(&request);
        assert_eq!(answer.status(), 400, "{request}");
        let text = answer.text();
        assert!(text.contains("feature `filters`"), "{text}");
    }
    let refused = world.connect_refused("/ch/news?types=goal");
    assert_eq!(refused.status(), 400);
    is_empty(world);
}
