//! One test per bug that was found in calls to applications, named after what went wrong.

#![allow(clippy::unwrap_used)]

use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{Client, Deed, End, World};
use dunlin::ws::OpCode;
use dunlin::{Context, Handler, Message, Outcome, Ticket};

/// Each message, and the end, is a call; `host` of the call is the message.
struct Calling;

impl Calling {
    fn call(cx: &mut Context<'_>, host: &str) {
        cx.call(dunlin::hub::Call {
            target: format!("http://{host}/")
                .parse()
                .map(std::rc::Rc::new)
                .unwrap(),
            method: "POST",
            headers: Vec::new(),
            body: host.as_bytes().to_vec(),
            timeout_ms: 5_000,
        });
    }
}

impl Handler for Calling {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        Self::call(cx, &String::from_utf8_lossy(message.as_bytes()));
    }

    fn on_outcome(&mut self, cx: &mut Context<'_>, _: Ticket, outcome: Outcome<'_>) {
        cx.send_text(match outcome {
            Outcome::Answered(_) => "called",
            _ => "not called",
        });
    }
}

fn calling(change: impl FnOnce(&mut WorkerSettings)) -> World {
    let mut settings = WorkerSettings::default();
    change(&mut settings);
    let mut world = World::new(settings);
    let route = RouteSettings {
        messages_per_second: 0,
        ..RouteSettings::default()
    };
    world.route_with("/call", route, || Calling);
    world
}

/// A client that is held back because its calls wait for an application that is down.
fn held(world: &mut World) -> Client {
    world.app().down();
    let mut a = world.connect("/call");
    a.send_texts(["x", "x", "x", "x"]);
    assert_eq!(world.app().waiting(), 2);
    a
}

#[test]
fn a_held_client_that_owes_a_pong_does_not_keep_the_loop_busy() {
    let mut world = calling(|s| s.calls.queue_max = 1);
    world.app().down();
    let mut a = world.connect("/call");
    let mut b = world.connect("/call");
    b.answer_pings(false);
    world.advance_ms(30_000);
    assert_eq!(b.pings(), 1);
    a.send_texts(["x", "x"]);
    // It speaks, too late to be heard.
    b.send_text("x");
    world.advance_ms(120_000);
    assert!(!a.is_over() && !b.is_over());
    world.app().up();
    world.advance_ms(1_000);
    b.expect_text("called");
}

#[test]
fn a_held_client_in_the_middle_of_a_message_gets_its_whole_time() {
    let mut world = calling(|s| s.calls.queue_max = 1);
    world.app().down();
    let mut a = world.connect("/call");
    let mut b = world.connect("/call");
    b.send_frame(false, OpCode::Text, b"");
    a.send_texts(["x", "x"]);
    b.send_frame(true, OpCode::Continuation, b"x");
    world.advance_ms(120_000);
    assert!(!b.is_over());
    world.app().up();
    world.advance_ms(1_000);
    b.expect_text("called");
}

#[test]
fn a_held_client_that_finishes_late_gets_its_whole_time() {
    let mut world = calling(|s| s.calls.queue_max = 1);
    let mut b = world.connect("/call");
    world.app().down();
    b.send_texts(["x", "x"]);
    b.send_frame(false, OpCode::Text, b"");
    world.advance_ms(120_000);
    world.app().up();
    world.advance_ms(1_000);
    b.send_frame(true, OpCode::Continuation, b"x");
    assert_eq!(b.texts().len(), 3);
}

#[test]
fn a_held_client_that_is_told_to_go_goes_in_order() {
    let mut world = calling(|s| s.calls.queue_max = 1);
    let mut a = held(&mut world);
    world.drain();
    a.expect_close(1012);
    assert!(
        a.is_ended() && !a.is_reset(),
        "its close frame was not read"
    );
    assert_eq!(world.connections(), 0);
}

#[test]
fn an_application_that_cannot_be_tried_does_not_keep_the_loop_busy() {
    let mut world = calling(|s| s.calls.connections_max = 1);
    let app = world.app();
    app.down();
    let mut a = world.connect("/call");
    a.send_text("one");
    app.up();
    app.behave(|asked| {
        let after = if asked.body == "two" { 4_000 } else { 0 };
        dunlin::sim::Deed::status(200).after_ms(after)
    });
    let mut b = world.connect("/call");
    b.send_text("two");
    world.advance_ms(3_000);
    assert_eq!(a.next(), None);
    world.advance_ms(40_000);
    a.expect_text("called");
    b.expect_text("called");
}

#[test]
fn an_application_does_not_wait_for_idle_connections_to_another() {
    let mut world = calling(|s| s.calls.connections_max = 2);
    let mut a = world.connect("/call");
    for host in ["one", "two", "three", "four", "one"] {
        a.send_text(host);
        a.expect_text("called");
    }
    assert_eq!(world.app().attempts(), 5);
}

#[test]
fn a_held_client_whose_input_is_used_up_owns_no_buffer() {
    let mut world = calling(|s| s.calls.queue_max = 1);
    world.app().down();
    let mut a = world.connect("/call");
    a.send_text("x");
    // In pieces, so that it is gathered.
    a.send_frame(false, OpCode::Text, b"");
    a.send_frame(true, OpCode::Continuation, b"x");
    assert_eq!(world.app().waiting(), 2);
    world.check_idle();
}

/// A call on a connection that carried another one before; the application does these things with the tries, then it
/// answers. Says what the client was told, and how often the application was asked.
fn tried(first: &[End], then: &[End]) -> (String, usize) {
    let mut world = calling(|_| {});
    let mut deeds: Vec<Deed> = Vec::new();
    deeds.extend(first.iter().map(|end| Deed::broken(*end)));
    deeds.push(Deed::status(200));
    deeds.extend(then.iter().map(|end| Deed::broken(*end)));
    let mut deeds = deeds.into_iter();
    let asked = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = asked.clone();
    world.app().behave(move |_| {
        count.set(count.get() + 1);
        deeds.next().unwrap_or_else(|| Deed::status(200))
    });
    let mut a = world.connect("/call");
    a.send_text("x");
    if first.is_empty() {
        a.expect_text("called");
        asked.set(0);
        a.send_text("x");
    }
    let told = a.texts();
    assert_eq!(told.len(), 1, "{told:?}");
    (told[0].clone(), asked.get())
}

#[test]
fn an_idle_connection_that_was_just_closed_does_not_use_up_the_second_try() {
    let called = |tries| ("called".to_owned(), tries);
    let failed = |tries| ("not called".to_owned(), tries);
    let (closed, unread) = (End::Hangup, End::ResetUnread);
    // As at a restart: the idle connections end, then the one that lay in the listener's queue.
    assert_eq!(tried(&[], &[closed, unread]), called(3));
    assert_eq!(tried(&[], &[closed]), called(2));
    assert_eq!(tried(&[], &[closed, unread, unread]), failed(3));
    // Nobody has closed a new connection for being idle.
    assert_eq!(tried(&[unread], &[]), called(2));
    assert_eq!(tried(&[unread, unread], &[]), failed(2));
}
