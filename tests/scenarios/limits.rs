//! Each limit at n and n + 1.

use crate::{App, world, world_with};
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{Client, Connect, Received, World};
use dunlin::ws::{Limits, OpCode};

#[test]
fn messages_per_second_and_burst() {
    let mut world = world_with(
        |_| {},
        |s| (s.messages_per_second, s.messages_burst) = (10, 50),
    );
    let mut client = world.connect("/app");
    client.send_texts(vec!["echo"; 50]);
    assert_eq!(client.texts().len(), 50);
    world.advance_ms(1_000);
    client.send_texts(vec!["echo"; 10]);
    assert_eq!(client.texts().len(), 10);
    client.send_text("one too many");
    client.expect_close(1008);
    assert_eq!(world.refused("message_rate"), 1);
}

#[test]
fn control_frames_per_second_and_burst() {
    let mut world = world();
    let mut client = world.connect("/app");
    for n in 0..100_u8 {
        client.ping(&[n]);
    }
    assert_eq!(client.pongs().len(), 100);
    world.advance_ms(1_000);
    for n in 0..20_u8 {
        client.ping(&[n]);
    }
    assert_eq!(client.pongs().len(), 20);
    client.ping(b"one too many");
    client.expect_close(1008);
    assert_eq!(world.refused("control_rate"), 1);
}

#[test]
fn silence_refills_a_burst_no_faster_than_the_rate() {
    let mut world = world_with(
        |_| {},
        |s| (s.messages_per_second, s.messages_burst) = (1, 100),
    );
    let mut client = world.connect("/app");
    client.send_texts(vec!["echo"; 100]);
    assert_eq!(client.texts().len(), 100);
    // Long enough for a ping, which tidies up; the bucket has twenty-seven tokens again.
    world.advance_ms(27_000);
    client.send_texts(vec!["echo"; 27]);
    assert_eq!(client.texts().len(), 27);
    client.send_text("one too many");
    client.expect_close(1008);
}

#[test]
fn more_bad_messages_than_can_be_counted_are_too_many() {
    let mut world = world_with(|_| {}, |s| s.session.bad_messages_per_minute = 1_000);
    let mut client = world.connect("/app");
    for _ in 0..3 {
        client.send_texts(vec!["bad"; 100]);
    }
    assert_eq!(client.texts().len(), 254);
    assert_eq!(world.refused("bad_messages_per_minute"), 1);
}

#[test]
fn closes_for_a_rate_name_the_setting_and_its_value() {
    let mut world = world_with(
        |_| {},
        |s| {
            (s.messages_per_second, s.messages_burst) = (7, 9);
            (s.control_per_second, s.control_burst) = (3, 4);
            s.session.bad_messages_per_minute = 2;
        },
    );
    let mut closed = |act: fn(&mut Client), says: [&str; 2]| {
        let mut client = world.connect("/app");
        act(&mut client);
        let Some(Received::Close(1008, reason)) = client.received().pop() else {
            panic!("not closed for {says:?}");
        };
        assert!(says.iter().all(|part| reason.contains(part)), "{reason}");
    };
    closed(
        |client| client.send_texts(vec!["echo"; 10]),
        ["7 messages per second", "messages_per_second"],
    );
    closed(
        |client| (0..5).for_each(|_| client.ping(b"")),
        ["3 control frames per second", "control_per_second"],
    );
    closed(
        |client| client.send_texts(vec!["bad"; 3]),
        ["2 bad messages in a minute", "bad_messages_per_minute"],
    );
    let notices = world.take_notices();
    for kind in ["message_rate", "control_rate"] {
        let told = notices.iter().find(|n| n.kind == kind).unwrap();
        assert!(told.text.contains("per second (setting"), "{}", told.text);
    }
}

#[test]
fn bad_messages_per_minute() {
    let mut world = world();
    let mut client = world.connect("/app");
    client.send_texts(vec!["bad"; 20]);
    assert_eq!(client.texts().len(), 20);
    client.send_text("bad");
    client.expect_close(1008);
}

#[test]
fn message_bytes() {
    let mut world = world_with(
        |_| {},
        |s| *s = RouteSettings::default().message_bytes_max(1000),
    );
    let mut client = world.connect("/app");
    client.send_text(&"x".repeat(1000));
    client.expect_text(&"x".repeat(1000));
    client.send_frame(false, OpCode::Text, &[b'x'; 999]);
    client.send_frame(true, OpCode::Continuation, b"y");
    assert_eq!(client.texts()[0].len(), 1000);
    client.send_frame(false, OpCode::Text, &[b'x'; 999]);
    client.send_frame(true, OpCode::Continuation, b"yy");
    client.expect_close(1009);
    let mut client = world.connect("/app");
    client.send_text(&"x".repeat(1001));
    client.expect_close(1009);
}

#[test]
fn an_announced_length_is_refused_at_the_header() {
    let mut world = world();
    let mut client = world.connect("/app");
    client.send_bytes(b"\x82\xFF\0\0\0\x01\0\0\0\0\0\0\0\0");
    client.expect_close(1009);
}

#[test]
fn fragments_per_message() {
    let limits = Limits {
        message_bytes_max: 1000,
        frame_bytes_max: 1000,
        fragments_max: 10,
    };
    let mut world = world_with(|_| {}, |s| s.ws = limits);
    for (fragments, closed) in [(10, false), (11, true)] {
        let mut client = world.connect("/app");
        client.send_frame(false, OpCode::Text, b"0");
        for n in 2..=fragments {
            client.send_frame(n == fragments, OpCode::Continuation, b"0");
        }
        if closed {
            client.expect_close(1008);
        } else {
            client.expect_text("0000000000");
        }
    }
}

#[test]
fn connections_overall() {
    let mut world = world_with(|s| s.connections_max = 3, |_| {});
    let mut clients: Vec<_> = (0..3).map(|_| world.connect("/app")).collect();
    let refused = world.connect_refused("/app");
    assert_eq!(refused.status(), 503);
    assert!(refused.header("Retry-After").is_some());
    clients[0].close(1000, "");
    world.connect("/app");
    assert_eq!(world.refused("connections_max"), 1);
}

#[test]
fn connections_per_address() {
    let mut world = world_with(|s| s.address.connections_max = 2, |_| {});
    let from = |ip| Connect::to("/app").from(ip);
    let mut a = world.connect(from("203.0.113.1"));
    world.connect(from("203.0.113.1"));
    let refused = world.connect_refused(from("203.0.113.1"));
    assert_eq!(
        (refused.status(), refused.header("Retry-After")),
        (429, Some("5"))
    );
    world.connect(from("203.0.113.2"));
    for _ in 0..5 {
        world.connect(from("127.0.0.1"));
    }
    a.reset();
    world.connect(from("203.0.113.1"));
    // IPv6 hosts own a /64.
    world.connect(from("2001:db8::1"));
    world.connect(from("2001:db8::2"));
    assert_eq!(world.connect_refused(from("2001:db8::3")).status(), 429);
    world.connect(from("2001:db8:0:1::3"));
}

#[test]
fn handshakes_per_address_and_second() {
    let mut world = world_with(
        |s| (s.address.handshakes_per_second, s.address.handshakes_burst) = (2, 10),
        |_| {},
    );
    let from = || Connect::to("/app").from("203.0.113.1");
    for _ in 0..10 {
        world.connect(from());
    }
    assert_eq!(world.connect_refused(from()).status(), 429);
    world.advance_ms(500);
    world.connect(from());
    assert_eq!(world.connect_refused(from()).status(), 429);
    assert_eq!(world.refused("address_handshakes"), 2);
}

#[test]
fn failed_authentications_per_address_and_minute() {
    let mut world = World::new(WorkerSettings::default());
    let settings = RouteSettings {
        keys: dunlin::server::Keys::new(["key".to_owned()]),
        ..RouteSettings::default()
    };
    world.route_with("/app", settings, App::default);
    let wrong = || Connect::to("/app?token=wrong").from("203.0.113.1");
    for _ in 0..10 {
        assert_eq!(world.connect_refused(wrong()).status(), 401);
    }
    assert_eq!(world.connect_refused(wrong()).status(), 429);
    world.connect(Connect::to("/app?token=key").from("203.0.113.1"));
    world.advance_ms(6_100);
    assert_eq!(world.connect_refused(wrong()).status(), 401);
}

#[test]
fn body_bytes() {
    let mut world = world_with(|_| {}, |s| s.body_bytes_max = 10);
    let post = |length: usize| {
        let body = "x".repeat(length);
        format!("POST /app HTTP/1.1\r\nHost: sim\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    assert_eq!(world.request(post(10)).status(), 200);
    assert_eq!(world.request(post(11)).status(), 413);
    let chunked = "POST /app HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n";
    assert_eq!(world.request(chunked).status(), 413);
}

#[test]
fn head_target_and_header_lines() {
    let mut world = world();
    let get = |target: &str, lines: usize| {
        let lines: String = (0..lines).map(|n| format!("X{n}: y\r\n")).collect();
        format!("GET {target} HTTP/1.1\r\nHost: sim\r\n{lines}\r\n")
    };
    let long = |bytes: usize| format!("/app?{}", "q".repeat(bytes - 5));
    assert_eq!(world.request(get(&long(4096), 0)).status(), 200);
    assert_eq!(world.request(get(&long(4097), 0)).status(), 414);
    assert_eq!(world.request(get("/app", 63)).status(), 200);
    assert_eq!(world.request(get("/app", 64)).status(), 431);
}

#[test]
fn subscriptions_per_session() {
    struct Join;
    impl dunlin::Handler for Join {
        fn on_message(&mut self, cx: &mut dunlin::Context<'_>, message: dunlin::Message<'_>) {
            let dunlin::Message::Text(name) = message else {
                return;
            };
            let answer = match cx.subscribe(name) {
                Ok(_) => "ok".to_owned(),
                Err(error) => error.to_string(),
            };
            cx.send_text(&answer);
        }
    }
    let mut world = World::new(WorkerSettings::default());
    let mut settings = RouteSettings::default();
    settings.session.subscriptions_max = 3;
    world.route_with("/", settings, || Join);
    let mut client = world.connect("/");
    client.send_texts(["a", "b", "c", "c", "d"]);
    let texts = client.texts();
    assert_eq!(texts[..4], ["ok", "ok", "ok", "ok"]);
    assert!(texts[4].contains("at most 3"), "{texts:?}");
    client.close(1000, "");
    assert_eq!(world.channels(), 0);
}
