//! An application that is down, slow, hanging or mad: its clients stay, and nobody else notices.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dunlin::Message;
use dunlin::net::{Client, Received};

use crate::app::{Answer, App, Callback};
use crate::gateway::{Gateway, hears_nothing, say, text};
use crate::support::{PATIENCE, Port};

/// What was told of each connection, in the order it came.
pub(crate) fn by_connection(callbacks: &[Callback]) -> HashMap<String, Vec<String>> {
    let mut by: HashMap<String, Vec<String>> = HashMap::new();
    for callback in callbacks {
        by.entry(callback.conn())
            .or_default()
            .push(callback.short());
    }
    by
}

/// `open`, the numbers below `n`, `close`.
pub(crate) fn whole_life(n: usize) -> Vec<String> {
    let mut life = vec!["open".to_owned()];
    life.extend((0..n).map(|n| n.to_string()));
    life.push("close".to_owned());
    life
}

fn talk(clients: &mut [Client], numbers: std::ops::Range<usize>) {
    for n in numbers {
        for client in &mut *clients {
            say(client, &format!("{{\"n\":{n}}}"));
        }
    }
}

#[test]
fn tp_13_clients_stay_while_the_application_is_down_and_it_misses_nothing() {
    let port = Port::reserve();
    let gateway = Gateway::start(&port);
    let mut clients: Vec<_> = (0..10).map(|_| gateway.user("alice", "t")).collect();
    talk(&mut clients, 0..5);
    for client in &mut clients {
        hears_nothing(client);
    }
    gateway.await_refused("call_connect", 2);
    // Two of them leave before anybody has heard of them.
    clients.truncate(8);
    let before = Instant::now();
    let app = App::start(&port);
    let mut seen = vec![app.next()];
    let recovery = before.elapsed();
    assert!(recovery < Duration::from_secs(1), "back after {recovery:?}");
    talk(&mut clients, 5..10);
    for client in &mut clients {
        hears_nothing(client);
    }
    drop(clients);
    seen.extend((1..8 * 12 + 2 * 7).map(|_| app.next()));
    let lives = by_connection(&seen);
    assert_eq!(lives.len(), 10);
    assert_eq!(
        lives
            .values()
            .filter(|life| **life == whole_life(10))
            .count(),
        8
    );
    assert_eq!(
        lives
            .values()
            .filter(|life| **life == whole_life(5))
            .count(),
        2
    );
    gateway.stop();
    assert_eq!(app.stop().len(), 0);
}

#[test]
fn tp_13_a_callback_that_takes_too_long_is_given_up_and_the_next_one_comes() {
    let port = Port::reserve();
    let app = App::start_as(&port, |callback| match callback.short().as_str() {
        "1" => Answer::Never,
        "3" => Answer::Late(Duration::from_millis(600)),
        _ => Answer::ok(),
    });
    let gateway = Gateway::start_with(&port, &[("DUNLIN_TAPR__CALLBACK_TIMEOUT_MS", "300ms")]);
    let mut clients: Vec<_> = (0..10).map(|_| gateway.user("alice", "t")).collect();
    talk(&mut clients, 0..5);
    for client in &mut clients {
        hears_nothing(client);
    }
    drop(clients);
    let seen: Vec<_> = (0..10 * 7).map(|_| app.next()).collect();
    let lives = by_connection(&seen);
    assert_eq!(lives.len(), 10);
    for life in lives.values() {
        assert_eq!(*life, whole_life(5));
    }
    gateway.await_refused("call_timeout", 20);
    assert_eq!(gateway.refused("tapr_callback_failed"), 20);
    gateway.stop();
    assert_eq!(app.stop().len(), 0);
}

/// The time that applications know: two seconds.
#[test]
fn tp_13_the_time_for_a_callback_is_two_seconds() {
    let port = Port::reserve();
    let app = App::start_as(&port, |_| Answer::Never);
    let gateway = Gateway::start(&port);
    let before = Instant::now();
    let mut client = gateway.user("alice", "t");
    assert_eq!(app.next().action(), "open");
    say(&mut client, r#"{"n":1}"#);
    assert_eq!(app.next().short(), "1");
    let waited = before.elapsed();
    assert!(waited >= Duration::from_millis(1900), "{waited:?}");
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    hears_nothing(&mut client);
    app.behave(|_| Answer::ok());
    drop(client);
    assert_eq!(app.next().action(), "close");
    gateway.stop();
}

#[test]
fn tp_13_an_application_that_answers_500_is_told_everything() {
    let port = Port::reserve();
    let app = App::start_as(&port, |_| Answer::Status(500, "oh".into()));
    let gateway = Gateway::start(&port);
    let mut clients: Vec<_> = (0..10).map(|_| gateway.user("alice", "t")).collect();
    talk(&mut clients, 0..5);
    for client in &mut clients {
        hears_nothing(client);
    }
    drop(clients);
    let seen: Vec<_> = (0..10 * 7).map(|_| app.next()).collect();
    for life in by_connection(&seen).values() {
        assert_eq!(*life, whole_life(5));
    }
    gateway.await_refused("tapr_callback_status", 70);
    gateway.stop();
    assert_eq!(app.stop().len(), 0);
}

/// The best and the worst of a bystander's round trips while 20 clients keep a bad application busy.
fn bystander(misbehave: impl Fn() -> Answer + Send + Sync + 'static, sign: &str) {
    let port = Port::reserve();
    let app = App::start_as(&port, move |_| misbehave());
    let gateway = Gateway::start_with(&port, &[("DUNLIN_TAPR__CALLBACK_TIMEOUT_MS", "500ms")]);
    let mut clients: Vec<_> = (0..20).map(|_| gateway.user("alice", "t")).collect();
    let url = gateway.dunlin.ws("/echo");
    let mut echo = Client::connect(&url, &[]).unwrap();
    echo.set_timeout(Some(PATIENCE)).unwrap();
    let mut worst = Duration::ZERO;
    for n in 0..200 {
        if n % 10 == 0 {
            talk(&mut clients, n..n + 1);
        }
        let said = format!("round {n}");
        let before = Instant::now();
        echo.send(Message::Text(&said)).unwrap();
        assert_eq!(echo.receive().unwrap(), Received::Text(said));
        worst = worst.max(before.elapsed());
    }
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    // It was the bad time that this was measured in.
    gateway.await_refused(sign, 1);
    assert!(app.calls() >= 20, "{} calls", app.calls());
    for client in &mut clients {
        hears_nothing(client);
    }
    // And it ends when the application is well again.
    app.behave(|_| Answer::ok());
    let mut late = gateway.user("late", "t");
    say(&mut late, r#"{"n":77}"#);
    let deadline = Instant::now() + PATIENCE;
    while app.next().short() != "77" {
        assert!(Instant::now() < deadline);
    }
    drop((clients, late));
    println!("{sign}: the worst of 200 round trips took {worst:?}");
    drop(gateway);
}

#[test]
fn a_bystander_does_not_notice_an_application_that_hangs() {
    bystander(|| Answer::Never, "call_timeout");
}

#[test]
fn a_bystander_does_not_notice_an_application_that_cuts() {
    bystander(|| Answer::Cut, "call_broken");
}

#[test]
fn a_bystander_does_not_notice_an_application_that_sends_junk() {
    bystander(|| Answer::Junk, "call_bad_answer");
}

#[test]
fn a_bystander_does_not_notice_an_application_with_an_endless_head() {
    bystander(|| Answer::EndlessHead, "call_bad_answer");
}

/// What is too much of an answer is not read to its end.
#[test]
fn an_answer_beyond_the_limit_ends_its_call_only() {
    let port = Port::reserve();
    let app = App::start_as(&port, |callback| match callback.short().as_str() {
        "1" => Answer::Status(200, "x".repeat(1025)),
        _ => Answer::Status(200, format!("\"{}\"", "x".repeat(1022))),
    });
    let settings = [
        ("DUNLIN_CALLS__ANSWER_BYTES_MAX", "1KiB"),
        ("DUNLIN_TAPR__REPLY_FROM_CALLBACK", "true"),
    ];
    let gateway = Gateway::start_with(&port, &settings);
    let mut client = gateway.user("alice", "t");
    assert_eq!(text(&mut client).len(), 1024);
    talk(std::slice::from_mut(&mut client), 1..3);
    assert_eq!(text(&mut client).len(), 1024, "the answer to the second");
    assert_eq!(gateway.refused("call_bad_answer"), 1);
    drop(client);
    let shorts: Vec<_> = (0..4).map(|_| app.next().short()).collect();
    assert_eq!(shorts, ["open", "1", "2", "close"]);
    gateway.stop();
}
