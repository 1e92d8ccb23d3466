//! Signed tokens: when they end, what follows them, who is shut out (feature `jwt`).

use std::sync::Arc;

use dunlin::dialect::{Admin, PubSub, PubSubOptions};
use dunlin::server::{Keys, RouteSettings, WorkerSettings};
use dunlin::sim::{Client, Connect, Received, World};
use dunlin::token::fuzz::{SECRET, sign, verifier};

const HEADER: &str = r#"{"alg":"HS256"}"#;
/// How long clocks may differ.
const LEEWAY: u64 = 10;

struct House {
    world: World,
    /// When the world began, in seconds.
    start: u64,
}

impl House {
    fn new() -> Self {
        Self::with(|keys| keys)
    }

    fn with(change: impl FnOnce(Keys) -> Keys) -> Self {
        let mut world = World::new(WorkerSettings::default());
        let keys = Keys::new(["key".to_owned()]).tokens(Arc::new(verifier()));
        let settings = RouteSettings {
            keys: change(keys),
            ..RouteSettings::default()
        };
        let options = PubSubOptions::default();
        world.route_with("/ch/{channel}", settings, || PubSub::new(options));
        let path = "/v1/users/{user}/revoke";
        world.route(path, || Admin::at(path, options).unwrap());
        let start = 1_800_000_000;
        world.set_unix_ms(start * 1000);
        Self { world, start }
    }

    fn now(&self) -> u64 {
        self.world.now().unix_seconds()
    }

    /// A token of `user` that ends so many seconds from now.
    fn token(&self, user: &str, seconds: u64) -> String {
        self.token_with(user, seconds, "")
    }

    fn token_with(&self, user: &str, seconds: u64, more: &str) -> String {
        let (exp, iat) = (self.now() + seconds, self.now());
        let claims = format!(
            r#"{{"sub":"{user}","exp":{exp},"iat":{iat},"dunlin":{{"subscribe":["news","user.{{user}}"],"publish":["news"]}}{more}}}"#
        );
        sign(SECRET, HEADER, &claims)
    }

    fn connect(&mut self, token: &str) -> Client {
        self.world.connect(&*format!("/ch/news?token={token}"))
    }

    fn revoke(&mut self, user: &str) -> String {
        let asked = format!(
            "POST /v1/users/{user}/revoke HTTP/1.1\r\nHost: sim\r\nContent-Length: 0\r\n\r\n"
        );
        let answer = self.world.request(asked);
        assert_eq!(answer.status(), 200);
        answer.text()
    }
}

fn auth(token: &str) -> String {
    format!(r#"{{"type":"auth","token":"{token}"}}"#)
}

#[test]
fn a_session_ends_with_its_token() {
    let mut house = House::new();
    let token = house.token("ann", 60);
    let mut client = house.connect(&token);
    house.world.advance_ms((60 + LEEWAY) * 1000 - 100);
    assert!(!client.is_over());
    house.world.advance_ms(400);
    let why = client.expect_close(4401);
    assert_eq!(why, "the token has expired");
    assert_eq!(house.world.refused("token_expired"), 1);
    assert_eq!(house.world.sessions(), 0);
    let refused = house
        .world
        .connect_refused(&*format!("/ch/news?token={token}"));
    assert_eq!(refused.status(), 401);
    assert!(
        refused.text().contains("the token has expired"),
        "{}",
        refused.text()
    );
}

#[test]
fn the_last_second_is_exact_at_the_door() {
    let mut house = House::new();
    let token = house.token("ann", 60);
    house
        .world
        .set_unix_ms((house.start + 60 + LEEWAY) * 1000 - 1);
    house.connect(&token);
    house.world.set_unix_ms((house.start + 60 + LEEWAY) * 1000);
    let refused = house
        .world
        .connect_refused(&*format!("/ch/news?token={token}"));
    let challenge = refused.head().header("www-authenticate").unwrap();
    assert_eq!(
        challenge,
        "Bearer error=\"invalid_token\", error_description=\"the token has expired\""
    );
}

#[test]
fn a_stream_ends_with_its_token() {
    let mut house = House::new();
    let token = house.token("ann", 60);
    let mut reader = house.world.open();
    let asked = format!(
        "GET /ch/news?token={token} HTTP/1.1\r\nHost: sim\r\nAccept: text/event-stream\r\n\r\n"
    );
    reader.send_bytes(asked.as_bytes());
    assert_eq!(house.world.sessions(), 1);
    house.world.advance_ms((60 + LEEWAY) * 1000 - 100);
    assert_eq!(house.world.sessions(), 1);
    house.world.advance_ms(400);
    assert_eq!(house.world.sessions(), 0);
    assert!(reader.is_ended());
}

#[test]
fn a_poll_ends_with_its_token() {
    let mut house = House::new();
    let token = house.token("ann", 5);
    let mut reader = house.world.open();
    let asked = format!("GET /ch/news?poll&token={token} HTTP/1.1\r\nHost: sim\r\n\r\n");
    reader.send_bytes(asked.as_bytes());
    assert_eq!(house.world.sessions(), 1);
    house.world.advance_ms((5 + LEEWAY) * 1000 - 100);
    assert!(reader.answer().is_none());
    house.world.advance_ms(400);
    assert_eq!(house.world.sessions(), 0);
    assert_eq!(reader.answer().map(|answer| answer.status()), Some(401));
}

#[test]
fn a_token_that_follows_keeps_the_session() {
    let mut house = House::new();
    let first = house.token("ann", 60);
    let mut client = house.connect(&first);
    house.world.advance_ms(30_000);
    let next = house.token("ann", 90);
    client.send_text(&auth(&next));
    let expires = house.now() + 90;
    client.expect_text(&format!(
        r#"{{"type":"auth","user":"ann","expires":{expires}}}"#
    ));
    house.world.advance_ms((90 + LEEWAY) * 1000 - 100);
    assert!(!client.is_over());
    house.world.advance_ms(400);
    client.expect_close(4401);
}

#[test]
fn what_follows_must_be_for_the_same_user_and_no_shorter() {
    let mut house = House::new();
    let first = house.token("ann", 60);
    let mut client = house.connect(&first);
    for (token, why) in [
        (house.token("bob", 90), "for another user"),
        (house.token("ann", 59), "ends before"),
        ("key".to_owned(), "for another user"),
        (format!("{first}x"), "signature of the token is wrong"),
        (
            sign(b"another secret, of thirty-two bytes", HEADER, "{}"),
            "signature of the token is wrong",
        ),
    ] {
        client.send_text(&auth(&token));
        let text = client.texts().pop().unwrap();
        assert!(
            text.starts_with(r#"{"type":"error""#) && text.contains(why),
            "{text}"
        );
    }
    assert!(!client.is_over());
    // The first one counts.
    house.world.advance_ms((60 + LEEWAY) * 1000 + 300);
    client.expect_close(4401);
}

#[test]
fn what_follows_must_still_allow_what_is_heard() {
    let mut house = House::new();
    let first = house.token("ann", 60);
    let mut client = house.connect(&first);
    let claims = format!(
        r#"{{"sub":"ann","exp":{},"channels":["other"]}}"#,
        house.now() + 90
    );
    client.send_text(&auth(&sign(SECRET, HEADER, &claims)));
    assert!(
        matches!(client.next(), Some(Received::Text(_))),
        "it is taken"
    );
    client.expect_close(4403);
}

#[test]
fn a_flood_does_not_outlive_its_token() {
    let mut house = House::new();
    let token = house.token("ann", 5);
    let mut client = house.connect(&token);
    for _ in 0..40 {
        client.send_text("never mind");
        house.world.advance_ms(500);
    }
    assert!(client.is_over());
    assert_eq!(house.world.sessions(), 0);
}

#[test]
fn a_token_in_the_first_message_ends_too() {
    for seconds in [1, 60] {
        let mut house = House::with(Keys::in_message);
        let mut client = house.world.connect("/ch/news");
        house.world.advance_ms(3_000);
        let token = house.token("ann", seconds);
        client.send_text(&auth(&token));
        assert_eq!(client.texts().len(), 1);
        house.world.advance_ms((seconds + LEEWAY) * 1000 - 200);
        assert!(!client.is_over(), "{seconds}");
        house.world.advance_ms(500);
        client.expect_close(4401);
    }
}

#[test]
fn a_clock_that_is_set_is_believed() {
    let mut house = House::new();
    let token = house.token("ann", 3600);
    let mut client = house.connect(&token);
    // An hour back: it ends an hour later.
    house.world.advance_ms(1_800_000);
    house.world.set_unix_ms(house.start * 1000);
    house.world.advance_ms(1_800_000 + LEEWAY * 1000 + 500);
    assert!(!client.is_over());
    house.world.advance_ms(1_800_000);
    client.expect_close(4401);
    // A distant end is looked at once a day.
    let token = house.token("ann", 3 * 24 * 3600);
    let client = house.connect(&token);
    house
        .world
        .set_unix_ms((house.now() + 4 * 24 * 3600) * 1000);
    house.world.advance_ms(24 * 3600 * 1000 + 500);
    assert!(client.is_over());
}

#[test]
fn who_is_shut_out_stays_out_with_what_he_has() {
    let mut house = House::new();
    let old = house.token("ann", 3600);
    let bobs = house.token("bob", 3600);
    let mut ann = house.connect(&old);
    let bob = house.connect(&bobs);
    let since = house.now();
    let told = house.revoke("ann");
    assert_eq!(
        told,
        format!("{{\"closed\":1,\"since\":{since},\"user\":\"ann\"}}")
    );
    ann.expect_close(4403);
    assert!(!bob.is_over());
    let refused = house
        .world
        .connect_refused(&*format!("/ch/news?token={old}"));
    assert_eq!(refused.status(), 401);
    assert_eq!(house.world.refused("token_revoked"), 1);
    // One of the same second may be from before; one without `iat` too.
    let same_second = house.token("ann", 3600);
    house
        .world
        .connect_refused(&*format!("/ch/news?token={same_second}"));
    let silent = format!(
        r#"{{"sub":"ann","exp":{},"channels":["news"]}}"#,
        since + 3600
    );
    house.world.connect_refused(&*format!(
        "/ch/news?token={}",
        sign(SECRET, HEADER, &silent)
    ));
    house.world.advance_ms(1000);
    let new = house.token("ann", 3600);
    house.connect(&new);
    house.connect(&bobs);
}

#[test]
fn every_wrong_token_is_counted_for_its_address_and_told_to_nobody() {
    let mut house = House::new();
    let wrong = format!("{}x", house.token("ann", 60));
    let from = || Connect::to(&format!("/ch/news?token={wrong}")).from("203.0.113.1");
    for _ in 0..10 {
        assert_eq!(house.world.connect_refused(from()).status(), 401);
    }
    assert_eq!(house.world.connect_refused(from()).status(), 429);
    // Checking costs a signature: nothing more is checked for this address, not even a good one.
    let good = house.token("ann", 60);
    let good = Connect::to(&format!("/ch/news?token={good}")).from("203.0.113.1");
    assert_eq!(house.world.connect_refused(good).status(), 429);
    house
        .world
        .connect(Connect::to("/ch/news?token=key").from("203.0.113.1"));
    for notice in house.world.take_notices() {
        assert!(
            !notice.text.contains("eyJ") && !notice.text.contains("ann"),
            "{}",
            notice.text
        );
    }
}
