//! Sessions on a response that does not end: server-sent events and lines.

use std::cell::RefCell;
use std::rc::Rc;

use dunlin::http::Response;
use dunlin::hub::{Accept, SessionLimits, SlowPolicy, Stream, Upgrade};
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{Client, World};
use dunlin::{CloseCode, CloseInfo, Context, Handler, Message, Reply, Request};

/// What the application was told.
type Diary = Rc<RefCell<Vec<String>>>;

/// `GET ?events`, `?lines`: a stream of the channel `news`, with `?full` refused. `POST` publishes. A WebSocket is
/// subscribed too; `?close` closes everybody.
struct App {
    diary: Diary,
    sessions: Vec<dunlin::ConnId>,
}

impl Handler for App {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        if request.query("full").is_some() {
            return Upgrade::refuse(503, "full");
        }
        assert!(cx.subscribe("news").is_ok());
        Upgrade::Accept(Accept {
            headers: vec![("X-App".into(), "yes".into())],
            ..Accept::default()
        })
    }

    fn on_open(&mut self, cx: &mut Context<'_>) {
        self.sessions.extend(cx.id());
        self.diary
            .borrow_mut()
            .push(format!("open {}", cx.is_stream()));
        cx.send_text("welcome");
    }

    fn on_message(&mut self, _: &mut Context<'_>, message: Message<'_>) {
        self.diary
            .borrow_mut()
            .push(format!("said {}", message.len()));
    }

    fn on_close(&mut self, _: &mut Context<'_>, close: CloseInfo<'_>) {
        let line = format!("close {} {:?}", close.code.0, close.initiator);
        self.diary.borrow_mut().push(line);
    }

    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        if request.query("events").is_some() {
            return Reply::Stream(Stream::Events);
        }
        if request.query("lines").is_some() {
            return Reply::Stream(Stream::Lines);
        }
        if request.query("close").is_some() {
            for id in std::mem::take(&mut self.sessions) {
                cx.close_other(id, CloseCode::AWAY, "as \"ordered\"");
            }
        }
        let message = match std::str::from_utf8(request.body) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Binary(request.body),
        };
        let published = cx.publish("news", message).unwrap();
        Response::text(200, published.receivers.to_string()).into()
    }

    fn gap_marker(&self, missed: Option<u32>) -> Option<String> {
        missed.map(|missed| format!("gap {missed}"))
    }
}

fn house(change: impl FnOnce(&mut RouteSettings)) -> (World, Diary) {
    house_with(WorkerSettings::default(), change)
}

fn house_with(worker: WorkerSettings, change: impl FnOnce(&mut RouteSettings)) -> (World, Diary) {
    let mut world = World::new(worker);
    let mut route = RouteSettings::default();
    change(&mut route);
    let diary = Diary::default();
    let its = diary.clone();
    world.route_with("/ch", route, move || App {
        diary: its.clone(),
        sessions: Vec::new(),
    });
    (world, diary)
}

fn get(query: &str) -> String {
    format!("GET /ch?{query} HTTP/1.1\r\nHost: sim\r\n\r\n")
}

fn listen(world: &mut World, query: &str) -> Client {
    let mut client = world.open();
    client.send_bytes(get(query).as_bytes());
    client
}

fn publish(world: &mut World, body: &[u8]) -> String {
    let head = format!(
        "POST /ch HTTP/1.1\r\nHost: sim\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    world.request([head.as_bytes(), body].concat()).text()
}

/// What is new of a stream, without where it stands: that is drawn.
fn news(client: &mut Client) -> String {
    let text = client.arriving().map_or_else(String::new, |a| a.text());
    without_ids(&text)
}

fn without_ids(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !line.starts_with("id: ")).collect()
}

fn is_empty(mut world: World) {
    world.check_invariants();
    world.advance_ms(100_000); // Kept connections of plain requests go too.
    assert_eq!((world.connections(), world.sessions()), (0, 0));
    assert_eq!(world.used_bytes(), 0);
}

#[test]
fn a_stream_is_a_session() {
    let (mut world, diary) = house(|_| {});
    let mut events = listen(&mut world, "events");
    let first = events.arriving().unwrap();
    assert_eq!(first.status(), 200);
    for (name, value) in [
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-cache"),
        ("X-Accel-Buffering", "no"),
        ("Connection", "close"),
        ("X-App", "yes"),
    ] {
        assert_eq!(first.header(name), Some(value), "{name}");
    }
    assert_eq!(first.header("Content-Length"), None);
    assert_eq!(first.header("Transfer-Encoding"), None);
    assert_eq!(first.text(), "retry: 3000\n\ndata: welcome\n\n");
    let mut lines = listen(&mut world, "lines");
    let first = lines.arriving().unwrap();
    let media_type = first.header("Content-Type");
    assert_eq!(media_type, Some("text/plain; charset=utf-8"));
    assert_eq!(first.text(), "welcome\n");
    let mut socket = world.connect("/ch");
    socket.expect_text("welcome");
    assert_eq!(world.sessions(), 3);
    assert_eq!(publish(&mut world, b"a\nb"), "3");
    assert_eq!(publish(&mut world, b"\xff"), "3");
    assert_eq!(
        news(&mut events),
        "data: a\ndata: b\n\nevent: binary\ndata: /w==\n\n"
    );
    assert_eq!(news(&mut lines), "a\nb\n\u{fffd}\n");
    socket.expect_text("a\nb");
    socket.expect_binary(b"\xff");
    assert_eq!(*diary.borrow(), ["open true", "open true", "open false"]);
    for client in [&mut events, &mut lines, &mut socket] {
        client.half_close();
        assert_eq!(client.complaint(), None);
    }
    let closes = diary.borrow_mut().split_off(3);
    assert_eq!(
        closes,
        ["close 1000 Peer", "close 1000 Peer", "close 1006 Peer"]
    );
    is_empty(world);
}

#[test]
fn every_cut_gives_the_same_stream() {
    let mut all = Vec::new();
    for cut in [1, 7, 1 << 20] {
        let (mut world, _) = house(|_| {});
        let mut client = world.open();
        client.cut_into(cut);
        client.window(if cut == 1 { 1 } else { 1 << 20 });
        client.send_bytes(get("events").as_bytes());
        for n in 0..50 {
            publish(&mut world, "x\r\n".repeat(n).as_bytes());
        }
        all.push(news(&mut client));
        client.reset();
        is_empty(world);
    }
    assert_eq!(all[0].matches("\n\n").count(), 52);
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
}

#[test]
fn what_stands_before_and_behind_the_request() {
    let (mut world, diary) = house(|_| {});
    // Pipelined behind another request: its answer comes first. What comes behind is no request any more.
    let mut client = world.open();
    client.send_bytes((get("") + &get("lines") + &get("") + "anything").as_bytes());
    assert_eq!(client.answer().unwrap().text(), "0");
    assert_eq!(news(&mut client), "welcome\n");
    client.send_bytes(&b"\x81\x85abcd".repeat(1000));
    assert_eq!(publish(&mut world, b"x"), "1");
    assert_eq!(news(&mut client), "x\n");
    assert_eq!(*diary.borrow(), ["open true"]);
    client.reset();
    // HTTP/1.0 gets the same, HEAD the head alone.
    let mut old = world.open();
    old.send_bytes(b"GET /ch?lines HTTP/1.0\r\n\r\n");
    assert_eq!(news(&mut old), "welcome\n");
    old.reset();
    let head = world.request("HEAD /ch?events HTTP/1.1\r\nHost: sim\r\n\r\n");
    assert_eq!(head.header("Content-Type"), Some("text/event-stream"));
    assert_eq!((head.status(), head.text().as_str()), (200, ""));
    assert_eq!(
        diary
            .borrow()
            .iter()
            .filter(|l| l.starts_with("open"))
            .count(),
        2
    );
    is_empty(world);
}

#[test]
fn a_stream_may_be_refused_like_a_handshake() {
    let (mut world, diary) = house(|_| {});
    let answer = world.request(get("events&full"));
    assert_eq!((answer.status(), world.refused("handler")), (503, 1));
    // The connection is kept: nothing of the request is under way.
    assert_eq!(answer.header("Connection"), None);
    world.drain();
    assert!(diary.borrow().is_empty());
    is_empty(world);

    let mut worker = WorkerSettings::default();
    worker.address.exempt_local = false;
    worker.address.handshakes_per_second = 1;
    worker.address.handshakes_burst = 2;
    let (mut world, _) = house_with(worker, |_| {});
    let mut clients = [listen(&mut world, "events"), listen(&mut world, "lines")];
    let answer = world.request(get("events"));
    assert_eq!(
        (answer.status(), answer.header("Retry-After")),
        (429, Some("1"))
    );
    for client in &mut clients {
        assert!(client.arriving().is_some());
        client.reset();
    }
    is_empty(world);
}

#[test]
fn a_quiet_stream_says_that_it_has_not_ended() {
    let (mut world, _) = house(|_| {});
    let mut events = listen(&mut world, "events");
    let mut lines = listen(&mut world, "lines");
    assert!(!news(&mut events).is_empty() && !news(&mut lines).is_empty());
    world.advance_ms(14_900);
    assert_eq!(
        (news(&mut events), news(&mut lines)),
        (String::new(), String::new())
    );
    world.advance_ms(300);
    assert_eq!(
        (news(&mut events), news(&mut lines)),
        (":\n\n".into(), "\n".into())
    );
    world.advance_ms(600_000);
    let said = news(&mut events);
    assert!((39..=41).contains(&said.matches(":\n\n").count()), "{said}");
    assert_eq!(world.sessions(), 2);
    for client in [&mut events, &mut lines] {
        client.reset();
    }
    is_empty(world);

    let (mut world, _) = house(|route| route.stream_keep_alive_ms = 0);
    let mut events = listen(&mut world, "events");
    news(&mut events);
    world.advance_ms(600_000);
    assert_eq!((news(&mut events), world.sessions()), (String::new(), 1));
    events.reset();
    is_empty(world);
}

#[test]
fn a_reader_that_has_vanished_is_noticed() {
    let (mut world, diary) = house(|_| {});
    let mut client = listen(&mut world, "events");
    news(&mut client);
    // Nothing is taken any more, not even by its system.
    client.window(0);
    client.stop_reading();
    world.advance_ms(15_000 + 9_700);
    assert_eq!(world.sessions(), 1);
    world.advance_ms(600);
    assert_eq!((world.sessions(), world.refused("ping_timeout")), (0, 1));
    assert_eq!(diary.borrow().last().unwrap(), "close 1006 Server");
    // One that takes a little now and then lives.
    let mut client = listen(&mut world, "lines");
    client.window(1);
    client.stop_reading();
    for _ in 0..20 {
        world.advance_ms(9_000);
        client.read_once();
    }
    assert_eq!(world.sessions(), 1);
    client.reset();
    is_empty(world);
}

#[test]
fn a_slow_reader_is_bounded_by_the_policy() {
    for (slow, refused) in [(SlowPolicy::Close, 1), (SlowPolicy::DropOldest, 0)] {
        let (mut world, diary) = house(|route| {
            route.session = SessionLimits {
                outbox_frames_max: 8,
                slow,
                ..SessionLimits::default()
            };
        });
        let mut healthy = listen(&mut world, "events");
        let mut client = listen(&mut world, "events");
        news(&mut client);
        client.window(0);
        client.stop_reading();
        for n in 0..20 {
            publish(&mut world, format!("{n}").as_bytes());
        }
        assert_eq!(world.refused("slow_consumer"), refused);
        assert!(world.used_bytes() < 1024, "{}", world.used_bytes());
        client.window(1 << 20);
        client.resume_reading();
        let text = match client.answer() {
            Some(whole) => without_ids(&whole.text()),
            None => news(&mut client),
        };
        if refused == 1 {
            let end = "event: close\ndata: {\"code\":1013,\"reason\":\"slow consumer";
            assert!(text.contains(end), "{text}");
            assert!(client.is_ended());
            assert!(diary.borrow().contains(&"close 1013 Server".to_owned()));
        } else {
            let end = "event: gap\ndata: gap 12\n\n";
            assert!(text.contains(end), "{text}");
            assert!(text.ends_with("data: 18\n\ndata: 19\n\n"), "{text}");
        }
        assert_eq!(news(&mut healthy).matches("data: ").count(), 21);
        healthy.reset();
        client.reset();
        is_empty(world);
    }
}

#[test]
fn a_close_is_the_last_event_and_the_end() {
    let (mut world, diary) = house(|_| {});
    let mut events = listen(&mut world, "events");
    let mut lines = listen(&mut world, "lines");
    events.cut_into(1);
    news(&mut events);
    news(&mut lines);
    publish(&mut world, b"last");
    world.request(get("close"));
    // A close goes behind what was queued before it, and nothing behind the close.
    let end = "data: last\n\nevent: close\ndata: {\"code\":1001,\"reason\":\"as ordered\"}\n\n";
    assert_eq!(without_ids(&events.answer().unwrap().text()), end);
    assert_eq!(lines.answer().unwrap().text(), "last\n");
    for client in [&events, &lines] {
        assert!(client.is_ended() && !client.is_reset());
    }
    assert_eq!(
        diary
            .borrow()
            .iter()
            .filter(|l| *l == "close 1001 Server")
            .count(),
        2
    );
    is_empty(world);
}

#[test]
fn a_drain_tells_streams_too() {
    let (mut world, diary) = house(|_| {});
    let mut clients = [listen(&mut world, "events"), listen(&mut world, "lines")];
    world.drain();
    world.advance_ms(1_000);
    let [events, lines] = &mut clients;
    let text = events.answer().unwrap().text();
    assert!(text.ends_with(
        "event: close\ndata: {\"code\":1012,\"reason\":\"this server is restarting\"}\n\n"
    ));
    assert_eq!(lines.answer().unwrap().text(), "welcome\n");
    assert!(world.is_drained());
    assert_eq!(
        diary
            .borrow()
            .iter()
            .filter(|l| *l == "close 1012 Server")
            .count(),
        2
    );
}

#[test]
fn who_talks_on_a_stream_is_told_to_go() {
    let (mut world, _) =
        house(|route| (route.messages_per_second, route.messages_burst) = (10, 20));
    let mut client = listen(&mut world, "events");
    for _ in 0..20 {
        client.send_bytes(b"x");
    }
    assert_eq!(world.refused("message_rate"), 0);
    client.send_bytes(b"x");
    assert_eq!(world.refused("message_rate"), 1);
    assert!(
        client
            .answer()
            .unwrap()
            .text()
            .contains("event: close\ndata: {\"code\":1008,")
    );
    is_empty(world);
}

#[test]
fn an_idle_stream_owns_no_buffer() {
    let (mut world, _) = house(|_| {});
    let mut clients: Vec<Client> = (0..50).map(|_| listen(&mut world, "events")).collect();
    assert_eq!(publish(&mut world, &[b'x'; 10_000]), "50");
    world.advance_ms(40_000);
    assert_eq!(world.used_bytes(), 0);
    world.check_invariants();
    for client in &mut clients {
        client.reset();
    }
    is_empty(world);
}
