//! Going down: everybody is told, nobody waits longer than the time that was set.

use crate::{world, world_with};
use dunlin::CloseCode;

#[test]
fn websockets_are_told_one_after_the_other() {
    let mut world = world();
    let mut clients: Vec<_> = (0..50).map(|_| world.connect("/app")).collect();
    world.drain();
    let told =
        |clients: &mut Vec<dunlin::sim::Client>| clients.iter_mut().filter(|c| c.is_over()).count();
    assert_eq!(told(&mut clients), 1);
    world.advance_ms(100);
    let some = told(&mut clients);
    assert!((8..=14).contains(&some), "{some} of 50 after 100 of 500 ms");
    world.advance_ms(500);
    for client in &mut clients {
        client.expect_close(1012);
    }
    assert!(world.is_drained());
}

#[test]
fn who_does_not_answer_is_cut_in_the_end() {
    let mut world = world();
    let mut stubborn = world.connect("/app");
    stubborn.stop_reading();
    stubborn.answer_closes(false);
    let mut waiting = world.open();
    waiting.send_bytes(b"GET /app?never=1 HTTP/1.1\r\nHost: sim\r\n\r\n");
    world.drain();
    world.advance_ms(29_000);
    assert!(!world.is_drained());
    world.advance_ms(1_100);
    assert!(world.is_drained());
    assert!(waiting.is_over());
}

#[test]
fn newcomers_get_503() {
    let mut world = world();
    let mut client = world.connect("/app");
    let mut begun = world.open();
    begun.send_bytes(b"GET /app HTTP/1.1\r\n");
    client.answer_closes(false);
    world.drain();
    let refused = world.connect_refused("/app");
    assert_eq!(
        (refused.status(), refused.header("Retry-After")),
        (503, Some("1"))
    );
    // A handshake that was under way is refused as well: a second wave would only be closed again.
    begun.send_bytes(
        b"Host: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(begun.answer().unwrap().status(), 503);
    client.expect_close(1012);
}

#[test]
fn idle_connections_go_at_once_and_requests_are_finished() {
    let mut world = world();
    let mut idle = world.open();
    let mut busy = world.open();
    busy.send_bytes(b"POST /app HTTP/1.1\r\nHost: sim\r\nContent-Length: 2\r\n\r\no");
    world.drain();
    assert!(idle.is_ended() && idle.answer().is_none());
    busy.send_bytes(b"k");
    let answer = busy.answer().unwrap();
    assert_eq!(
        (answer.text().as_str(), answer.header("Connection")),
        ("ok", Some("close"))
    );
    assert!(world.is_drained());
}

#[test]
fn a_route_may_close_with_another_code() {
    let mut world = world_with(|_| {}, |s| s.drain_code = CloseCode::AWAY);
    let mut client = world.connect("/app");
    client.send_texts(["one", "two"]);
    world.drain();
    client.expect_text("one");
    client.expect_text("two");
    client.expect_close(1001);
    assert!(world.is_drained());
}
