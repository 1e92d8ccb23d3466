//! A thousand clients whose messages all become callbacks: the order of each is kept, none is lost, none comes twice,
//! whether the application is there all the time or not.

use std::io::{Write, stderr};
use std::time::Instant;

use dunlin::net::{Client, raise_open_files_max};

use crate::app::{App, Callback};
use crate::failures::{by_connection, whole_life};
use crate::gateway::{Gateway, say};
use crate::support::{Port, eventually};

const CLIENTS: usize = 1_000;
const MESSAGES: usize = 10;

fn connect(gateway: &Gateway) -> Vec<Client> {
    let files = raise_open_files_max();
    assert!(files >= CLIENTS + 100, "{files} open files are too few");
    (0..CLIENTS)
        .map(|n| gateway.user(&format!("user-{n}"), "t"))
        .collect()
}

fn talk(clients: &mut [Client], numbers: std::ops::Range<usize>) {
    for n in numbers {
        for client in &mut *clients {
            say(client, &format!("{{\"event\":\"count\",\"n\":{n}}}"));
        }
    }
}

/// Takes callbacks until there are so many, and finds every life whole.
fn all_lives(gateway: &Gateway, app: &App, mut seen: Vec<Callback>) {
    let expected = CLIENTS * (MESSAGES + 2);
    let mut callbacks = app.callbacks();
    while seen.len() < expected
        && let Some(callback) = callbacks.next()
    {
        seen.push(callback);
    }
    let ends = [
        "call_timeout",
        "call_broken",
        "call_bad_answer",
        "slow_consumer",
        "message_rate",
        "ping_timeout",
    ]
    .map(|reason| (reason, gateway.refused(reason)));
    let calls = gateway.metric("dunlin_calls");
    let there = seen.len();
    assert_eq!(
        there, expected,
        "{calls} calls are still to be made; {ends:?}"
    );
    let lives = by_connection(&seen);
    assert_eq!(lives.len(), CLIENTS);
    let life = whole_life(MESSAGES);
    let wrong = lives.iter().find(|(_, l)| **l != life);
    assert_eq!(
        wrong, None,
        "a callback was lost, came twice or out of order"
    );
}

fn say_how_long(what: &str, since: Instant) {
    _ = writeln!(stderr(), "load: {what} took {:?}", since.elapsed());
}

#[test]
fn ten_messages_of_a_thousand_clients_arrive_once_and_in_order() {
    let port = Port::reserve();
    let app = App::start(&port);
    let gateway = Gateway::start(&port);
    let begin = Instant::now();
    let mut clients = connect(&gateway);
    talk(&mut clients, 0..MESSAGES);
    drop(clients);
    all_lives(&gateway, &app, Vec::new());
    say_how_long("1,000 clients with 10 callbacks each", begin);
    for reason in ["call_timeout", "call_broken", "call_bad_answer"] {
        assert_eq!(gateway.refused(reason), 0, "{reason}");
    }
    gateway.stop();
    assert_eq!(app.stop().len(), 0, "callbacks came twice");
}

#[test]
fn the_same_while_the_application_goes_down_and_comes_back() {
    let port = Port::reserve();
    let app = App::start(&port);
    let gateway = Gateway::start(&port);
    let begin = Instant::now();
    let mut clients = connect(&gateway);
    talk(&mut clients, 0..3);
    // In the middle of it.
    let mut seen: Vec<Callback> = (0..CLIENTS / 2).map(|_| app.next()).collect();
    seen.extend(app.stop());
    let heard = seen.len();
    assert!(
        heard < CLIENTS * 4,
        "all {heard} callbacks were there already"
    );
    talk(&mut clients, 3..MESSAGES);
    // The queue is full: sessions are held back with messages that nobody reads, and nobody is reached.
    let refused = gateway.refused("call_connect");
    let state = || {
        let read = gateway.metric("dunlin_messages_received_total");
        (read, gateway.metric("dunlin_calls"))
    };
    let mut before = state();
    let (read, waiting) = eventually("a full queue", || {
        let now = state();
        let same = std::mem::replace(&mut before, now) == now;
        (same && gateway.refused("call_connect") >= refused + 3).then_some(now)
    });
    assert!(gateway.refused("calls_held_back") > 0);
    assert!(read < (CLIENTS * MESSAGES) as u64, "all were read");
    // It was more than 1,024 until they were held back, and is more than half of it as long as they are. What had
    // been read of a session in one go comes on top of it.
    assert!(
        (512..1024 + 64 * MESSAGES as u64).contains(&waiting),
        "{waiting} calls wait"
    );
    // Who is held back is connected all the same.
    assert_eq!(gateway.users().len(), CLIENTS);

    let back = Instant::now();
    let app = App::start(&port);
    seen.push(app.next());
    let recovery = back.elapsed();
    assert!(recovery.as_millis() < 2000, "back after {recovery:?}");
    drop(clients);
    all_lives(&gateway, &app, seen);
    say_how_long("the same with the application away in between", begin);
    gateway.stop();
    assert_eq!(app.stop().len(), 0, "callbacks came twice");
}
