//! One test per bug that was found, named after what went wrong.

#![allow(clippy::unwrap_used)]

use dunlin::http::Response;
use dunlin::hub::SlowPolicy;
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{Client, Connect, Received, World};
use dunlin::ws::OpCode;
use dunlin::{CloseCode, Context, Handler, Message, Outcome, Reply, Request, Ticket, Upgrade};

/// Commands: `join X`, `pub X text`, `close`, `big N`; anything else is echoed.
#[derive(Default)]
struct Chat;

impl Handler for Chat {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Message::Text(text) = message else {
            cx.send(message);
            return;
        };
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "join" => assert_eq!(cx.subscribe(rest), Ok(true)),
            "pub" => {
                let (channel, text) = rest.split_once(' ').unwrap();
                cx.publish(channel, Message::Text(text)).unwrap();
            }
            "close" => cx.close(CloseCode(4000), ""),
            "big" => assert!(cx.send_text(&"x".repeat(rest.parse().unwrap()))),
            _ => assert!(cx.send_text(text)),
        }
    }

    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        match request.query("ms") {
            Some(ms) => Reply::Later(cx.timer(ms.parse().unwrap())),
            None => Reply::Now(Response::text(200, "x".repeat(request.body.len()))),
        }
    }

    fn on_outcome(&mut self, cx: &mut Context<'_>, ticket: Ticket, _: Outcome<'_>) {
        cx.reply(ticket, Response::text(200, "in time"));
    }

    fn gap_marker(&self, missed: u32) -> Option<String> {
        Some(format!("gap {missed}"))
    }
}

/// A world with the chat on `/chat`.
fn chat(change: impl FnOnce(&mut RouteSettings)) -> World {
    let mut world = World::new(WorkerSettings::default());
    let mut settings = RouteSettings {
        messages_per_second: 0,
        ..RouteSettings::default()
    };
    change(&mut settings);
    world.route_with("/chat", settings, Chat::default);
    world
}

/// Two clients, the first one subscribed to `news`.
fn two(world: &mut World) -> (Client, Client) {
    let mut a = world.connect("/chat");
    a.send_text("join news");
    (a, world.connect("/chat"))
}

#[test]
fn a_ping_that_is_due_while_something_waits_is_sent_all_the_same() {
    let mut world = chat(|_| {});
    let (mut a, mut b) = two(&mut world);
    a.stop_reading();
    a.window(1);
    b.send_text("pub news hello");
    world.advance_ms(26_000);
    a.window(1000);
    a.resume_reading();
    a.expect_text("hello");
    assert_eq!(a.pings(), 1);
    world.advance_ms(20_000);
    assert!(
        !a.is_over(),
        "it was never asked, and cut for not answering"
    );
}

#[test]
fn a_closing_peer_gets_what_is_still_queued_for_it() {
    let mut world = chat(|_| {});
    let (mut a, mut b) = two(&mut world);
    a.stop_reading();
    a.window(1);
    b.send_text("pub news hello");
    a.close(1000, "");
    world.advance_ms(1_000);
    a.resume_reading();
    assert_eq!(
        a.received(),
        [
            Received::Text("hello".into()),
            Received::Close(1000, String::new())
        ]
    );
    assert!(a.is_ended() && !a.is_reset());
    assert_eq!(world.refused("close_timeout"), 0);
}

#[test]
fn a_peer_that_ends_behind_its_close_frame_gets_what_is_still_queued_for_it() {
    let mut world = chat(|_| {});
    let (mut a, mut b) = two(&mut world);
    a.stop_reading();
    a.window(1);
    b.send_text("pub news hello");
    a.close(1000, "");
    a.half_close();
    a.resume_reading();
    assert_eq!(
        a.received(),
        [
            Received::Text("hello".into()),
            Received::Close(1000, String::new())
        ]
    );
    assert_eq!(a.complaint(), None);
}
