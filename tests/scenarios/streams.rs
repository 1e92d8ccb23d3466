//! Sessions on a stream of values, and texts that differ in one place.

use dunlin::hub::SessionLimits;
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{Client, World};
use dunlin::{CloseCode, CloseInfo, ConnId, Context, Handler, Message};

/// Channels, closes, and a list of everybody for texts with a place of each one's own.
#[derive(Default)]
struct App {
    everybody: Vec<(ConnId, String)>,
}

impl Handler for App {
    fn on_open(&mut self, cx: &mut Context<'_>) {
        let id = cx.id().unwrap();
        self.everybody
            .push((id, format!("<{}>", self.everybody.len())));
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Message::Text(text) = message else {
            cx.send_text("\"binary\"");
            return;
        };
        match text.trim_matches('"').split_once(' ') {
            Some(("join", channel)) => assert!(cx.subscribe(channel).is_ok()),
            Some(("pub", text)) => {
                let text = format!("{{\"news\":{text}}}");
                cx.publish("news", Message::Text(&text)).unwrap();
            }
            Some(("patch", bytes)) => {
                let end = format!("|{}", "x".repeat(bytes.parse().unwrap()));
                let all = self.everybody.iter().map(|(id, own)| (*id, own.as_str()));
                // Everybody twice: the second is not the first.
                let all = all.clone().chain(all);
                cx.send_patched(all, "before", &end).unwrap();
            }
            Some(("close", _)) => cx.close(CloseCode::NORMAL, "as ordered"),
            Some(("big", bytes)) => {
                cx.send_text(&"x".repeat(bytes.parse().unwrap()));
            }
            _ => assert!(cx.send_text(text)),
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, close: CloseInfo<'_>) {
        let text = format!("\"gone {}\"", close.code.0);
        _ = cx.publish("news", Message::Text(&text));
    }
}

fn house(change: impl FnOnce(&mut RouteSettings)) -> World {
    let mut world = World::new(WorkerSettings::default());
    let mut route = RouteSettings {
        ping_after_ms: 1_000,
        ping_grace_ms: 1_000,
        ..RouteSettings::default()
    };
    change(&mut route);
    world.route_with("/", route, App::default);
    world
}

fn stream(world: &mut World) -> Client {
    world.open_values()
}

fn is_empty(mut world: World, clients: impl IntoIterator<Item = Client>) {
    for mut client in clients {
        assert_eq!(client.complaint(), None);
        client.reset();
    }
    world.advance_ms(60_000);
    world.check_invariants();
    assert_eq!(
        (world.connections(), world.sessions(), world.used_bytes()),
        (0, 0, 0)
    );
}

#[test]
fn values_come_and_go_without_a_handshake() {
    let mut world = house(|_| {});
    let mut client = stream(&mut world);
    assert_eq!(world.sessions(), 1, "it begins at once");
    client.send_bytes(b"{\"a\":1}[2] \"three\"\n4");
    assert_eq!(client.texts(), ["{\"a\":1}", "[2]", "\"three\""]);
    client.send_bytes(b"2\n");
    assert_eq!(
        client.texts(),
        ["42"],
        "a number ends when something follows"
    );
    client.cut_into(1);
    client.send_bytes(b" {\"b\":\"}\"} null ");
    assert_eq!(client.texts(), ["{\"b\":\"}\"}", "null"]);
    client.cut_into(usize::MAX);
    client.send_bytes(b"\"\xff\"");
    assert_eq!(
        client.texts(),
        ["\"binary\""],
        "what is no UTF-8 is no text"
    );
    world.advance_ms(30_000);
    assert_eq!(client.texts(), [""; 0], "and nobody is pinged");
    assert_eq!(world.sessions(), 1);
    is_empty(world, [client]);
}

#[test]
fn a_publication_reaches_frames_and_lines() {
    let mut world = house(|_| {});
    let mut lines = [stream(&mut world), stream(&mut world)];
    let mut frames = [world.connect("/"), world.connect("/")];
    for client in &mut lines {
        client.send_bytes(b"\"join news\"");
    }
    for client in &mut frames {
        client.send_text("join news");
    }
    frames[0].send_text("pub 1");
    lines[0].send_bytes(b"\"pub 2\"");
    for client in lines.iter_mut().chain(&mut frames) {
        assert_eq!(client.texts(), ["{\"news\":1}", "{\"news\":2}"]);
    }
    world.check_invariants();
    is_empty(world, lines.into_iter().chain(frames));
}

#[test]
fn a_stream_ends_by_its_end() {
    let mut world = house(|_| {});
    let mut watcher = world.connect("/");
    watcher.send_text("join news");
    let mut goes = stream(&mut world);
    goes.half_close();
    assert_eq!(watcher.texts(), ["\"gone 1000\""]);
    // The server closes: what it said before arrives, then the end.
    let mut sent_away = stream(&mut world);
    sent_away.send_bytes(b"\"last\" \"close now\" \"unheard\"");
    assert_eq!(sent_away.texts(), ["\"last\""]);
    assert!(sent_away.is_ended());
    assert_eq!(watcher.texts(), ["\"gone 1000\""]);
    let mut lost = stream(&mut world);
    lost.reset();
    assert_eq!(watcher.texts(), ["\"gone 1006\""]);
    is_empty(world, [watcher, goes, sent_away]);
}

#[test]
fn a_stream_has_the_limits_of_its_route() {
    let mut world = house(|route| {
        *route = route.clone().message_bytes_max(10);
        route.messages_per_second = 1;
        route.messages_burst = 2;
        route.message_timeout_ms = 5_000;
    });
    let mut long = stream(&mut world);
    long.send_bytes(b"[1,2,3,4] [1,2,3,4,5]");
    assert_eq!(long.texts(), ["[1,2,3,4]"]);
    assert!(long.is_ended());
    assert_eq!(world.refused("value_too_long"), 1);
    let mut fast = stream(&mut world);
    fast.send_bytes(b"1 2 3 ");
    assert_eq!(fast.texts(), ["1", "2"]);
    assert!(fast.is_ended());
    assert_eq!(world.refused("message_rate"), 1);
    let mut unfinished = stream(&mut world);
    unfinished.send_bytes(b"[1,");
    world.advance_ms(6_500);
    assert!(unfinished.is_ended());
    assert_eq!(world.refused("message_timeout"), 1);
    is_empty(world, [long, fast, unfinished]);
}

#[test]
fn a_stream_that_is_not_read_is_not_read_from_either() {
    let mut world = house(|route| route.messages_per_second = 0);
    let mut client = stream(&mut world);
    client.stop_reading();
    for _ in 0..100 {
        client.send_bytes(b"\"big 10000\" ");
        world.check_invariants();
    }
    assert!(world.queued_bytes() < 400_000, "{}", world.queued_bytes());
    client.resume_reading();
    world.run();
    let texts = client.texts();
    assert_eq!(texts.len(), 100);
    assert!(texts.iter().all(|text| text.len() == 10_000));
    is_empty(world, [client]);
}

#[test]
fn nobody_there_for_a_stream() {
    let mut world = World::new(WorkerSettings::default());
    world.route("/elsewhere", App::default);
    let mut client = stream(&mut world);
    world.run();
    assert!(client.is_over());
    assert_eq!(world.refused("not_found"), 1);
    client.reset();
    assert_eq!(world.connections(), 0);
}

/// What `patch` sends to client number `n`.
fn patched(n: usize, bytes: usize) -> String {
    format!("before<{n}>|{}", "x".repeat(bytes))
}

#[test]
fn a_text_with_one_place_of_each_ones_own() {
    // Short ends are copied; longer ones shared and gathered; very long ones written as they lie.
    for bytes in [0, 100, 510, 511, 3_000, 5_000, 70_000] {
        for window in [64 << 10, 700, 1] {
            let mut world = house(|route| {
                route.messages_per_second = 0;
                route.session = SessionLimits {
                    outbox_bytes_max: 1 << 20,
                    ..SessionLimits::default()
                };
            });
            let mut all = [world.connect("/"), stream(&mut world), world.connect("/")];
            if window == 1 && bytes > 600 {
                continue; // It would take for ever.
            }
            for client in &mut all {
                client.window(window);
            }
            all[0].send_texts(["one", &format!("patch {bytes}"), "two"]);
            world.run();
            world.check_invariants();
            for (n, client) in all.iter_mut().enumerate() {
                let own = patched(n, bytes);
                let mut expected = vec![own.clone(), own];
                if n == 0 {
                    expected.insert(0, "one".to_owned());
                    expected.push("two".to_owned());
                }
                assert_eq!(
                    client.texts(),
                    expected,
                    "{bytes} bytes, client {n}, window {window}"
                );
            }
            assert_eq!(world.queued_bytes(), 0);
            is_empty(world, all);
        }
    }
}

#[test]
fn a_shared_end_is_kept_once() {
    let mut world = house(|route| route.messages_per_second = 0);
    let mut all: Vec<Client> = (0..50).map(|_| world.connect("/")).collect();
    for client in &mut all {
        client.window(10);
        client.stop_reading();
    }
    all[0].send_text("patch 100000");
    let queued = world.queued_bytes();
    assert!((100_000..110_000).contains(&queued), "{queued}");
    world.check_invariants();
    // Some go in the middle of it.
    for client in all.drain(..25) {
        let mut client = client;
        client.reset();
    }
    world.check_invariants();
    for (n, client) in all.iter_mut().enumerate() {
        client.window(64 << 10);
        client.resume_reading();
        world.run();
        let own = patched(n + 25, 100_000);
        assert_eq!(client.texts(), [own.clone(), own]);
    }
    assert_eq!(world.queued_bytes(), 0);
    is_empty(world, all);
}
