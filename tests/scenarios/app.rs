//! Calls to an application: their order, what becomes of them when it misbehaves, and who must not notice.

use std::collections::BTreeMap;
use std::rc::Rc;

use dunlin::hub::{Call, Target};
use dunlin::server::{CallSettings, RouteSettings, WorkerSettings};
use dunlin::sim::{AppHandle, Deed, End, Framing, World};
use dunlin::ws::OpCode;
use dunlin::{CloseInfo, Context, Handler, Message, Outcome, Ticket};

/// Calls the application for everything that happens, and tells the client how each call went.
struct Forward(Rc<Target>);

impl Forward {
    fn call(&self, cx: &mut Context<'_>, what: &str) {
        let id = cx.id().unwrap();
        cx.call(Call {
            target: self.0.clone(),
            method: "POST",
            headers: vec![("Content-Type".into(), "text/plain".to_owned())],
            body: format!("{id} {what}").into_bytes(),
            timeout_ms: TIMEOUT_MS,
        });
    }
}

impl Handler for Forward {
    fn on_open(&mut self, cx: &mut Context<'_>) {
        self.call(cx, "open");
    }
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        self.call(cx, &String::from_utf8_lossy(message.as_bytes()));
    }
    fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
        self.call(cx, "close");
    }
    fn on_outcome(&mut self, cx: &mut Context<'_>, _: Ticket, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Answered(answer) => {
                let body = String::from_utf8_lossy(answer.body);
                cx.send_text(&format!("{} {body}", answer.head.status()));
            }
            Outcome::Failed(error) => {
                cx.send_text(error.name());
            }
            _ => unreachable!(),
        }
    }
}

const TIMEOUT_MS: u64 = 1_500;

fn world_with(change: impl FnOnce(&mut CallSettings)) -> (World, AppHandle) {
    let mut settings = WorkerSettings::default();
    change(&mut settings.calls);
    let mut world = World::new(settings);
    let route = RouteSettings {
        messages_per_second: 0,
        ..RouteSettings::default()
    };
    let target = "http://app.sim:3000/hook".parse().unwrap();
    world.route_with("/ws", route, || Forward(Rc::new(target)));
    let app = world.app();
    (world, app)
}

fn world() -> (World, AppHandle) {
    world_with(|_| {})
}

/// What was called, by session, without the session.
fn by_session(app: &AppHandle) -> Vec<Vec<String>> {
    let mut sessions = BTreeMap::<String, Vec<String>>::new();
    for call in app.calls() {
        let (id, what) = call.split_once(' ').unwrap();
        let calls = sessions.entry(id.to_owned()).or_default();
        calls.push(what.to_owned());
    }
    sessions.into_values().collect()
}

#[test]
fn open_comes_before_messages_and_close_after_them() {
    let (mut world, app) = world();
    app.connect_ms(20);
    app.behave(|asked| {
        // The later, the faster: who did not wait would overtake.
        let n = asked.body.split(' ').nth(1).and_then(|n| n.parse().ok());
        let after = n.map_or(200, |n: u64| 100 - n);
        let framing = [Framing::Length, Framing::Chunked, Framing::Close][after as usize % 3];
        let answer = Deed::ok("well").after_ms(after);
        Deed {
            framing,
            piece: 7,
            ..answer
        }
    });
    let mut clients: Vec<_> = (0..5).map(|_| world.connect("/ws")).collect();
    for n in 0..20 {
        for client in &mut clients {
            client.send_text(&n.to_string());
        }
    }
    for (at, client) in clients.iter_mut().enumerate() {
        match at % 3 {
            0 => client.close(1000, ""),
            1 => client.half_close(),
            _ => client.reset(),
        }
    }
    world.advance_ms(5_000);
    let mut expected = vec!["open".to_owned()];
    expected.extend((0..20).map(|n| n.to_string()));
    expected.push("close".to_owned());
    assert_eq!(by_session(&app), vec![expected; 5]);
    assert_eq!((app.waiting(), world.sessions()), (0, 0));
    world.advance_ms(31_000);
    assert_eq!(app.connections(), 0, "idle connections are not kept");
    assert_eq!(app.asked()[0].path, "/hook");
}

#[test]
fn a_slow_call_delays_its_own_session_only() {
    let (mut world, app) = world();
    let mut slow = world.connect("/ws");
    let mut quick = world.connect("/ws");
    slow.expect_text("200 ");
    quick.expect_text("200 ");
    app.behave(|asked| match asked.body.ends_with("slow") {
        true => Deed::ok("slow").after_ms(1_000),
        false => Deed::ok("quick"),
    });
    slow.send_texts(["slow", "next"]);
    for _ in 0..10 {
        quick.send_text("quick");
        quick.expect_text("200 quick");
    }
    assert_eq!(slow.next(), None);
    world.advance_ms(1_001);
    assert_eq!(slow.texts(), ["200 slow", "200 quick"]);
}

#[test]
fn nothing_is_lost_while_the_application_is_down() {
    for connect_ms in [0, 5] {
        let (mut world, app) = world();
        app.connect_ms(connect_ms);
        let mut clients: Vec<_> = (0..10).map(|_| world.connect("/ws")).collect();
        world.advance_ms(10);
        app.down();
        for n in 0..5 {
            for client in &mut clients {
                client.send_text(&n.to_string());
            }
        }
        let before = app.attempts();
        world.advance_ms(10_000);
        if connect_ms > 0 {
            let attempts = app.attempts() - before;
            assert!((15..=40).contains(&attempts), "{attempts} in 10 seconds");
        }
        app.up();
        world.advance_ms(1_000);
        for client in &mut clients {
            assert_eq!(client.texts(), ["200 "; 6]);
        }
        let expected = ["open", "0", "1", "2", "3", "4"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(by_session(&app), vec![expected; 10]);
    }
}

#[test]
fn an_application_that_does_not_accept_is_tried_again() {
    let (mut world, app) = world();
    app.connect_ms(60_000);
    let mut client = world.connect("/ws");
    world.advance_ms(4_000);
    assert_eq!((app.attempts(), app.waiting()), (1, 1));
    app.connect_ms(10);
    world.advance_ms(2_000);
    client.expect_text("200 ");
    assert_eq!(app.attempts(), 2);
}

#[test]
fn each_kind_of_answer_ends_its_own_call_and_the_next_one_goes_on() {
    let (mut world, app) = world();
    let mut client = world.connect("/ws");
    client.expect_text("200 ");
    app.behave(|asked| {
        let what = asked.body.split(' ').nth(1).unwrap_or_default();
        let framed = |framing, keep| Deed {
            framing,
            keep,
            ..Deed::ok("all")
        };
        match what {
            "late" => Deed::ok("late").after_ms(TIMEOUT_MS + 500),
            "never" => Deed::broken(End::Never),
            "500" => Deed::status(500),
            "204" => Deed::status(204),
            "chunked" => framed(Framing::Chunked, true),
            "until-the-end" => framed(Framing::Close, false),
            "close" => framed(Framing::Length, false),
            "junk" => Deed::broken(End::Junk),
            "endless" => Deed::broken(End::EndlessHead),
            "cut" => Deed::broken(End::Cut),
            "reset" => Deed::broken(End::Reset),
            "hangup" => Deed::broken(End::Hangup),
            "unread" => Deed::broken(End::ResetUnread),
            _ => Deed::ok("ok"),
        }
    });
    for (what, outcome) in [
        ("late", "call_timeout"),
        ("never", "call_timeout"),
        ("500", "500 "),
        ("204", "204 "),
        ("chunked", "200 all"),
        ("until-the-end", "200 all"),
        ("close", "200 all"),
        ("junk", "call_bad_answer"),
        ("endless", "call_bad_answer"),
        ("cut", "call_broken"),
        ("reset", "call_broken"),
        ("hangup", "call_broken"),
        ("unread", "call_broken"),
    ] {
        client.send_texts([what, "next"]);
        world.advance_ms(TIMEOUT_MS + 300);
        assert_eq!(client.texts(), [outcome, "200 ok"], "{what}");
        let calls = app.calls();
        let asked = calls.iter().filter(|call| call.ends_with(what)).count();
        // Again only where no byte of an answer had come: for nothing on the old connection, once on a new one.
        let expected = match what {
            "reset" | "hangup" => 3,
            "unread" => 0,
            _ => 1,
        };
        assert_eq!(asked, expected, "{what}");
    }
    assert_eq!(app.waiting(), 0);
}

#[test]
fn a_connection_that_the_application_ends_while_idle_costs_nothing() {
    let (mut world, app) = world();
    let mut client = world.connect("/ws");
    client.expect_text("200 ");
    for n in 0..5 {
        app.hang_up();
        client.send_text(&n.to_string());
        client.expect_text("200 ");
    }
    assert_eq!((app.calls().len(), app.attempts()), (6, 6));
}

#[test]
fn who_causes_too_many_calls_is_held_back_and_released() {
    let (mut world, app) = world_with(|s| s.queue_max = 4);
    let mut client = world.connect("/ws");
    client.expect_text("200 ");
    let mut bystander = world.open();
    app.down();
    let texts: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    client.send_texts(texts.iter().map(String::as_str));
    client.send_text("50");
    // Five wait; the others have not been read. Ten minutes with unanswered pings are no reason to part.
    assert_eq!(app.waiting(), 5);
    for _ in 0..4 {
        world.advance_ms(150_000);
    }
    assert!(!client.is_over());
    bystander.send_bytes(b"GET /ws HTTP/1.1\r\nHost: sim\r\n\r\n");
    assert!(bystander.answer().is_some() || bystander.is_over());
    app.up();
    world.advance_ms(1_000);
    assert_eq!(client.texts().len(), 51);
    let mut expected = vec!["open".to_owned()];
    expected.extend((0..=50).map(|n| n.to_string()));
    assert_eq!(by_session(&app), [expected]);
    world.check_idle();
    world.advance_ms(100_000);
    assert!(!client.is_over(), "it is pinged and answers");
}

#[test]
fn the_drain_waits_for_the_last_calls() {
    let (mut world, app) = world();
    let clients: Vec<_> = (0..10).map(|_| world.connect("/ws")).collect();
    app.behave(|_| Deed::ok("").after_ms(1_000));
    world.drain();
    world.advance_ms(500);
    assert!(clients.iter().all(|client| client.is_over()));
    assert!(!world.is_drained());
    world.advance_ms(1_000);
    assert!(world.is_drained());
    assert!(
        by_session(&app)
            .iter()
            .all(|calls| *calls == ["open", "close"])
    );
}

#[test]
fn the_drain_gives_up_calls_at_its_deadline() {
    let (mut world, app) = world();
    let mut client = world.connect("/ws");
    client.expect_text("200 ");
    app.down();
    client.send_text("lost");
    world.drain();
    world.advance_ms(29_900);
    assert!(!world.is_drained());
    world.advance_ms(200);
    assert!(world.is_drained());
    assert_eq!(app.waiting(), 0);
    assert_eq!(world.refused("call_shutting_down"), 2);
}

#[test]
fn what_the_application_says_unasked_is_nobodys_answer() {
    const FORGED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    let (mut world, app) = world();
    app.behave(|_| Deed::ok("real"));
    let mut client = world.connect("/ws");
    client.expect_text("200 real");
    // Found by itself.
    app.say_unasked(FORGED);
    world.run();
    assert_eq!(app.connections(), 0);
    world.advance_ms(100);
    client.send_text("one");
    client.expect_text("200 real");
    // So many others have something to say that a call starts before that connection is looked at.
    let mut crowd: Vec<_> = (0..100).map(|_| world.connect("/ws")).collect();
    for other in &mut crowd {
        other.expect_text("200 real");
    }
    world.advance_ms(31_000);
    client.send_text("two");
    client.expect_text("200 real");
    assert_eq!(app.connections(), 1);
    let attempts = app.attempts();
    client.write_frame(true, OpCode::Text, b"three");
    for other in &mut crowd {
        other.write_frame(true, OpCode::Ping, b"");
    }
    app.say_unasked(FORGED);
    world.advance_ms(1_000);
    client.expect_text("200 real");
    assert_eq!(client.next(), None);
    assert_eq!(world.refused("call_unasked"), 2);
    assert_eq!((app.attempts(), app.waiting()), (attempts + 1, 0));
}

#[test]
fn an_application_that_greets_each_connection_does_not_keep_the_loop_busy() {
    let (mut world, app) = world();
    app.connect_ms(1);
    app.greet(b"220 hello\r\n");
    let mut client = world.connect("/ws");
    world.advance_ms(1_000);
    assert_eq!(client.next(), None, "it is no answer");
    assert!((2..=30).contains(&app.attempts()), "{}", app.attempts());
    app.greet(b"");
    world.advance_ms(1_000);
    client.expect_text("200 ");
    assert_eq!(app.calls().len(), 1);
}
