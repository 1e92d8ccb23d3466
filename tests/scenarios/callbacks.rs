//! The dialect `tapr` over a simulated application: the exact sequence of callbacks, however a session ends.

use dunlin::dialect::{Tapr, TaprOptions};
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{AppHandle, Asked, Client, Connect, Deed, End, World};
use dunlin::ws::OpCode;
use serde_json::Value;

fn world() -> (World, AppHandle) {
    let mut world = World::new(WorkerSettings::default());
    let tapr = Tapr::new(TaprOptions {
        callback: Tapr::callback_url("3010", "/websocket/message").unwrap(),
        verbose_close: true,
        ..TaprOptions::default()
    });
    world.route("/tapr/ws/conn/send", || tapr.send());
    world.route("/tapr/ws/conn/close", || tapr.close());
    let mut settings = RouteSettings::default();
    settings.session.outbox_bytes_max = 20_000;
    settings.ws.message_bytes_max = 10_000;
    world.route_with("/ws", settings, || tapr);
    let app = world.app();
    (world, app)
}

fn user(world: &mut World, name: &str) -> Client {
    world.connect(Connect::to("/ws").header("X-Bfl-User", name))
}

fn control(world: &mut World, verb: &str, body: &str) {
    let answer = world.request(format!(
        "POST /tapr/ws/conn/{verb} HTTP/1.1\r\nHost: sim\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(answer.text(), r#"{"code":0,"message":"success"}"#);
}

/// A callback as one word: `open`, the number of a message, or the code of the end.
fn word(asked: &Asked) -> (String, String) {
    assert_eq!(
        (&*asked.method, &*asked.path),
        ("POST", "/websocket/message")
    );
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    let word = match body["action"].as_str().unwrap() {
        "message" => body["data"]["n"].to_string(),
        "close" => format!("close {}", body["data"]["code"]),
        open => open.to_owned(),
    };
    (body["user_name"].as_str().unwrap().to_owned(), word)
}

fn words(app: &AppHandle, user: &str) -> Vec<String> {
    let words = app.asked().iter().map(word).collect::<Vec<_>>();
    let own = words.into_iter().filter(|(name, _)| name == user);
    own.map(|(_, word)| word).collect()
}

type Ending = fn(&mut World, &mut Client);

/// How a session may end, and the code that the application is told.
const ENDINGS: [(&str, u16, Ending); 11] = [
    ("the client closes", 1000, |_, c| c.close(1000, "bye")),
    ("the client closes and is gone", 4001, |_, c| {
        c.answer_closes(false);
        c.close(4001, "");
    }),
    ("the client ends its direction", 1006, |_, c| c.half_close()),
    ("RST", 1006, |_, c| c.reset()),
    ("no ping event", 1008, |world, _| world.advance_ms(76_000)),
    ("no pong", 1006, |world, c| {
        c.answer_pings(false);
        world.advance_ms(40_000);
    }),
    ("the control path", 1000, |world, _| {
        control(world, "close", r#"{"users":["ann"]}"#);
        control(world, "close", "{}");
    }),
    (
        "the control path, and the client does not answer",
        1000,
        |world, c| {
            c.answer_closes(false);
            control(world, "close", r#"{"users":["ann"]}"#);
        },
    ),
    ("a slow consumer", 1013, |world, c| {
        c.window(100);
        c.stop_reading();
        let payload = "x".repeat(8_000);
        for _ in 0..4 {
            let send = format!(r#"{{"payload":"{payload}","users":["ann"]}}"#);
            control(world, "send", &send);
        }
    }),
    ("a broken frame", 1002, |_, c| {
        c.send_bytes(b"\x83\x80\0\0\0\0")
    }),
    ("a message too large", 1009, |_, c| {
        c.send_text(&"x".repeat(10_001))
    }),
];

/// What happens to the application: before the session, before its end and after it.
type Outage = fn(&AppHandle, u32);

/// What the application does meanwhile.
const APPS: [(&str, Outage); 5] = [
    ("healthy", |_, _| {}),
    ("slow", |app, stage| {
        if stage == 0 {
            app.connect_ms(50);
            app.behave(|_| Deed::ok("{}").after_ms(700));
        }
    }),
    ("down, and up again", |app, stage| match stage {
        0 => app.down(),
        _ => app.up(),
    }),
    ("down at the end", |app, stage| match stage {
        0 => {}
        1 => app.down(),
        _ => app.up(),
    }),
    ("answering junk", |app, stage| {
        if stage == 0 {
            let ends = [End::Junk, End::EndlessHead, End::Cut, End::Answer];
            let mut n = 0;
            app.behave(move |_| {
                n += 1;
                Deed::broken(ends[n % ends.len()])
            });
        }
    }),
];

#[test]
fn each_session_has_one_open_its_messages_and_one_close() {
    for (state, app_does) in APPS {
        for (how, code, end) in ENDINGS {
            let (mut world, app) = world();
            app_does(&app, 0);
            let mut ann = user(&mut world, "ann");
            ann.send_texts([r#"{"n":0}"#, r#"{"event":"ping"}"#, r#"{"n":1}"#]);
            ann.send_frame(false, OpCode::Text, br#"{"n""#);
            ann.send_frame(true, OpCode::Continuation, b":2}");
            app_does(&app, 1);
            end(&mut world, &mut ann);
            world.advance_ms(1_000);
            app_does(&app, 2);
            // Whoever is gone does not come back with the time-outs that are left.
            world.advance_ms(40_000);
            let close = format!("close {code}");
            let expected = ["open", "0", "1", "2", &close];
            assert_eq!(
                words(&app, "ann"),
                expected,
                "{how}; the application is {state}"
            );
            assert_eq!((world.sessions(), app.waiting()), (0, 0), "{how}");
        }
    }
}

#[test]
fn the_drain_tells_of_each_session_once() {
    for (state, app_does) in APPS {
        let (mut world, app) = world();
        app_does(&app, 0);
        let names = ["ann", "bob", "cid"];
        let mut clients = names.map(|name| user(&mut world, name));
        for client in &mut clients {
            client.send_text(r#"{"n":7}"#);
        }
        app_does(&app, 1);
        clients[1].stop_reading();
        clients[2].reset();
        world.drain();
        world.advance_ms(1_000);
        app_does(&app, 2);
        world.advance_ms(20_000);
        for (name, close) in names.iter().zip(["close 1012", "close 1012", "close 1006"]) {
            let told = words(&app, name);
            assert_eq!(
                told,
                ["open", "7", close],
                "{name}; the application is {state}"
            );
        }
        assert!(world.is_drained(), "the application is {state}");
    }
}

#[test]
fn a_callback_is_repeated_only_if_nothing_of_an_answer_came() {
    let (mut world, app) = world();
    let mut first = true;
    app.behave(move |asked| {
        let is_close = asked.body.contains(r#""action":"close""#);
        if is_close && std::mem::take(&mut first) {
            Deed::broken(End::Reset).after_ms(100)
        } else {
            Deed::status(200)
        }
    });
    let mut ann = user(&mut world, "ann");
    ann.send_text(r#"{"n":0}"#);
    ann.close(1000, "");
    world.advance_ms(2_000);
    assert_eq!(
        words(&app, "ann"),
        ["open", "0", "close 1000", "close 1000"]
    );
    // It is the same one: an application can tell.
    let calls = app.calls();
    assert_eq!(calls[2], calls[3]);
}
