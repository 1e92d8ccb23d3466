//! Time: pings, time-outs, and a process that stood still.

use crate::{world, world_with};
use dunlin::sim::World;
use dunlin::ws::OpCode;

const HELLO: &[u8] = b"GET /app HTTP/1.1\r\nHost: sim\r\n\r\n";

#[test]
fn silence_is_asked_after_25_seconds_and_cut_10_later() {
    let mut world = world();
    let mut client = world.connect("/app");
    client.answer_pings(false);
    world.advance_ms(24_900);
    assert_eq!(client.pings(), 0);
    world.advance_ms(400);
    assert_eq!(client.pings(), 1);
    world.advance_ms(9_700);
    assert_eq!(world.sessions(), 1);
    world.advance_ms(400);
    assert_eq!((world.sessions(), world.refused("ping_timeout")), (0, 1));
    assert!(client.is_over());
}

#[test]
fn whoever_answers_stays_for_hours() {
    let mut world = world();
    let mut clients: Vec<_> = (0..10).map(|_| world.connect("/app")).collect();
    world.advance_ms(4 * 3_600_000);
    assert_eq!(world.sessions(), 10);
    // 25 s and the coarseness of the wheel.
    let pings = clients[0].pings();
    assert!((570..=576).contains(&pings), "{pings}");
    clients[0].send_text("hello");
    clients[0].expect_text("hello");
    assert_eq!(world.refused_total(), 0);
}

#[test]
fn any_traffic_is_life() {
    let mut world = world();
    let mut client = world.connect("/app");
    for _ in 0..30 {
        world.advance_ms(20_000);
        client.send_frame(true, OpCode::Pong, b"");
    }
    assert_eq!(client.pings(), 0);
}

#[test]
fn a_standstill_of_the_process_accuses_nobody() {
    for ms in [9_000, 11_000, 26_000, 36_000, 100_000, 3_600_000] {
        let mut world = world();
        let mut silent = world.connect("/app");
        let mut asked = world.connect("/app");
        let mut begun = world.connect("/app");
        let mut http = world.open();
        world.advance_ms(24_000);
        silent.send_text("just now");
        world.advance_ms(1_300); // `asked` has its ping, and its pong lies in the window when time stops.
        begun.send_frame(false, OpCode::Text, b"to be ");
        begun.write_frame(true, OpCode::Continuation, b"continued");
        http.write_only(HELLO);
        world.freeze_ms(ms);
        asked.send_text("alive");
        asked.expect_text("alive");
        begun.expect_text("to be continued");
        silent.expect_text("just now");
        assert!(!silent.is_over(), "{ms}");
        world.advance_ms(60_000);
        assert_eq!((world.sessions(), world.refused_total()), (3, 0), "{ms}");
    }
}

#[test]
fn the_wall_clock_decides_nothing() {
    let mut world = world();
    let mut client = world.connect("/app");
    world.set_unix_ms(0);
    world.advance_ms(20_000);
    world.set_unix_ms(4_000_000_000_000);
    world.advance_ms(3_000);
    assert_eq!(client.pings(), 0);
    let answer = world.request(HELLO);
    assert_eq!(answer.header("Date"), Some("Tue, 02 Oct 2096 07:06:43 GMT"));
    client.send_text("hello");
    client.expect_text("hello");
}

fn statuses(world: &mut World, pieces: &[&[u8]], pause_ms: u64) -> Vec<u16> {
    let mut client = world.open();
    for piece in pieces {
        client.send_bytes(piece);
        world.advance_ms(pause_ms);
    }
    std::iter::from_fn(|| client.answer().map(|a| a.status())).collect()
}

#[test]
fn a_handshake_has_ten_seconds_in_total() {
    // A byte now and then is no excuse.
    assert_eq!(
        statuses(&mut world(), &[b"GET ", b"/app ", b"HT", b"TP"], 3_000),
        [408]
    );
    assert_eq!(
        statuses(&mut world(), &[&HELLO[..9], &HELLO[9..]], 9_800),
        [200]
    );
    let mut world = world();
    let mut silent = world.open();
    world.advance_ms(9_900);
    assert!(!silent.is_over());
    world.advance_ms(300);
    assert!(silent.is_over(), "who says nothing gets no answer");
    assert!(silent.answer().is_none());
    assert_eq!(world.connections(), 0);
}

#[test]
fn a_body_has_ten_seconds() {
    let head = b"POST /app HTTP/1.1\r\nHost: sim\r\nContent-Length: 4\r\n\r\n";
    assert_eq!(
        statuses(&mut world(), &[head, b"a", b"b", b"c", b"d"], 2_400),
        [200]
    );
    assert_eq!(
        statuses(&mut world(), &[head, b"a", b"b", b"c", b"d"], 2_700),
        [408]
    );
}

#[test]
fn keep_alive_lasts_75_seconds() {
    let mut world = world();
    let mut client = world.open();
    client.send_bytes(HELLO);
    assert_eq!(client.answer().unwrap().status(), 200);
    world.advance_ms(74_900);
    client.send_bytes(HELLO);
    assert_eq!(client.answer().unwrap().status(), 200);
    world.advance_ms(75_300);
    assert!(client.is_ended() && !client.is_reset());
    assert_eq!(world.connections(), 0);
}

#[test]
fn an_unfinished_message_is_closed_after_30_seconds() {
    let mut world = world();
    let mut client = world.connect("/app");
    client.send_frame(false, OpCode::Text, b"once upon a ");
    for _ in 0..29 {
        world.advance_ms(1_000);
        client.send_frame(true, OpCode::Pong, b""); // Alive, but that is another matter.
    }
    assert_eq!(client.next(), None);
    world.advance_ms(1_300);
    client.expect_close(1008);
    assert_eq!(world.refused("message_timeout"), 1);
}

#[test]
fn the_next_message_has_its_own_time() {
    let mut world = world_with(|_| {}, |s| s.message_timeout_ms = 5_000);
    let mut client = world.connect("/app");
    for _ in 0..5 {
        client.send_frame(false, OpCode::Text, b"a");
        world.advance_ms(4_000);
        client.send_frame(true, OpCode::Continuation, b"b");
        client.expect_text("ab");
    }
}

#[test]
fn who_says_nothing_at_first_is_closed_where_a_word_is_wanted() {
    let mut world = world_with(|_| {}, |s| s.first_command_timeout_ms = 10_000);
    let mut silent = world.connect("/app");
    let mut pinging = world.connect("/app");
    let mut late = world.connect("/app");
    let mut half = world.connect("/app");
    half.send_frame(false, OpCode::Text, b"be");
    for _ in 0..9 {
        world.advance_ms(1_000);
        pinging.ping(b"no message");
    }
    late.send_text("at last");
    world.advance_ms(800);
    assert_eq!((world.sessions(), world.refused_total()), (4, 0));
    world.advance_ms(400);
    for client in [&mut silent, &mut pinging, &mut half] {
        let reason = client.expect_close(4401);
        assert!(reason.contains("first_command_timeout_ms"), "{reason}");
    }
    assert_eq!(world.refused("first_command_timeout"), 3);
    late.expect_text("at last");
    world.advance_ms(60_000);
    assert_eq!((world.sessions(), late.is_over()), (1, false));
}
