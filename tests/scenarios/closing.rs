//! RFC 6455 §7: who closes, who echoes, and when the TCP connection ends.

use crate::{world, world_with};
use dunlin::sim::{Client, World};
use dunlin::ws::OpCode;

#[test]
fn every_legal_code_is_echoed() {
    let mut world = world();
    let legal = (1000..=1003)
        .chain(1007..=1014)
        .chain((3000..=4999).step_by(97));
    for code in legal.chain([3000, 3999, 4000, 4999]) {
        let mut client = world.connect("/app");
        client.close(code, "bye");
        client.expect_close(code);
        assert!(client.is_ended() && !client.is_reset(), "{code}");
    }
    assert_eq!((world.sessions(), world.connections()), (0, 0));
}

#[test]
fn an_empty_close_is_echoed_empty() {
    let mut world = world();
    let mut client = world.connect("/app");
    client.close(1005, "");
    client.expect_close(1005);
    assert!(client.is_ended());
}

#[test]
fn illegal_codes_are_1002() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535_u16] {
        let mut world = world();
        let mut client = world.connect("/app");
        client.send_frame(true, OpCode::Close, &code.to_be_bytes());
        client.expect_close(1002);
        assert!(client.is_ended(), "{code}");
    }
}

#[test]
fn the_server_closes_and_waits_for_the_echo() {
    let mut world = world();
    let mut client = world.connect("/app");
    client.answer_closes(false);
    client.send_text("close 4321");
    assert_eq!(client.expect_close(4321), "as ordered");
    assert!(!client.is_ended(), "the client has not answered yet");
    client.send_frame(true, OpCode::Close, &4321_u16.to_be_bytes());
    assert!(client.is_ended());
    world.advance_ms(5_200);
    assert_eq!(world.connections(), 0);
    assert_eq!(world.refused_total(), 0);
}

#[test]
fn a_client_that_never_answers_a_close_is_cut_after_five_seconds() {
    let mut world = world();
    let mut client = world.connect("/app");
    client.answer_closes(false);
    client.send_text("close 1000");
    client.expect_close(1000);
    world.advance_ms(4_900);
    assert_eq!(world.connections(), 1);
    world.advance_ms(300);
    assert_eq!(
        (world.connections(), world.refused("close_timeout")),
        (0, 1)
    );
    assert!(client.is_over());
}

#[test]
fn a_client_that_never_ends_its_direction_is_cut_after_five_seconds() {
    let mut world = world();
    let mut client = world.connect("/app");
    client.answer_closes(false);
    client.close(1000, "");
    client.expect_close(1000);
    assert!(client.is_ended());
    world.advance_ms(4_800);
    assert_eq!((world.sessions(), world.connections()), (0, 1));
    world.advance_ms(400);
    assert_eq!(world.connections(), 0);
}

#[test]
fn what_was_queued_goes_out_before_the_close_frame() {
    let mut world = world();
    let mut client = world.connect("/app");
    client.stop_reading();
    client.window(10);
    client.send_texts(["one", "big 5000", "two", "close 1000", "three"]);
    client.window(100);
    client.resume_reading();
    client.expect_text("one");
    client.expect_text(&"x".repeat(5000));
    client.expect_text("two");
    client.expect_close(1000);
    assert_eq!(client.complaint(), None);
}

#[test]
fn data_after_the_close_frame_changes_nothing() {
    let mut world = world();
    let mut client = world.connect("/app");
    client.answer_closes(false);
    client.close(1000, "");
    client.send_text("too late");
    client.send_bytes(b"garbage");
    client.expect_close(1000);
    assert_eq!(client.next(), None);
    assert_eq!(world.refused_total(), 0);
}

#[test]
fn breaches_of_the_protocol_have_their_code() {
    for (code, bytes) in [
        (1002, &b"\x81\x05hello"[..]),
        (1002, b"\xC1\x80\0\0\0\0"),
        (1002, b"\x83\x80\0\0\0\0"),
        (1002, b"\x09\x80\0\0\0\0"),
        (1002, b"\x80\x80\0\0\0\0"),
        (1002, b"\x89\xFE\0\x7E\0\0\0\0"),
        (1002, b"\x81\xFE\0\x01\0\0\0\0x"),
        (1002, b"\x88\x81\0\0\0\0\x03"),
        (1007, b"\x81\x81\0\0\0\0\xFF"),
        (1007, b"\x88\x83\0\0\0\0\x03\xE8\xFF"),
        (1009, b"\x81\xFF\0\0\0\0\0\x10\0\x01\0\0\0\0"),
    ] {
        for cut in [1, 1 << 20] {
            let mut world = world();
            let mut client = world.connect("/app");
            client.send_text("before");
            client.cut_into(cut);
            client.send_bytes(bytes);
            client.expect_text("before");
            client.expect_close(code);
            assert!(client.is_ended() && !client.is_reset());
            assert_eq!(world.sessions(), 0);
        }
    }
}

#[test]
fn a_reset_and_an_end_without_a_close_frame_end_the_session() {
    let mut world = world_with(|_| {}, |_| {});
    let mut a = world.connect("/app");
    let mut b = world.connect("/app");
    a.send_text("join news");
    b.send_text("join news");
    a.reset();
    b.half_close();
    assert_eq!(
        (world.sessions(), world.channels(), world.connections()),
        (0, 0, 0)
    );
}

/// A client with so many bytes on its way to it, and a close frame behind them, that has taken nothing of it yet.
fn leaving(world: &mut World, bytes: usize) -> Client {
    let mut client = world.connect("/app");
    client.stop_reading();
    client.window(1);
    client.send_texts([format!("big {bytes}").as_str(), "close 1000"]);
    client
}

#[test]
fn who_reads_slowly_gets_what_was_queued_before_the_close() {
    let mut world = world();
    let mut client = leaving(&mut world, 100_000);
    client.window(10_000);
    for _ in 0..10 {
        world.advance_ms(2_500);
        client.read_once();
    }
    client.resume_reading();
    client.expect_text(&"x".repeat(100_000));
    client.expect_close(1000);
    assert!(client.is_ended() && !client.is_reset());
    assert_eq!((world.connections(), world.refused_total()), (0, 0));
}

#[test]
fn who_stops_reading_is_cut_five_seconds_after_the_last_byte() {
    let mut world = world();
    let mut client = leaving(&mut world, 100_000);
    client.window(10_000);
    world.advance_ms(4_000);
    client.read_once();
    world.advance_ms(4_800);
    assert_eq!(world.connections(), 1);
    world.advance_ms(400);
    assert_eq!(
        (world.connections(), world.refused("close_timeout")),
        (0, 1)
    );
}

#[test]
fn who_takes_a_byte_now_and_then_is_cut_after_thirty_seconds() {
    let mut world = world();
    let mut client = leaving(&mut world, 100_000);
    for _ in 0..29 {
        world.advance_ms(1_000);
        client.read_once();
    }
    assert_eq!((world.connections(), world.refused_total()), (1, 0));
    world.advance_ms(1_200);
    assert_eq!(
        (world.connections(), world.refused("close_timeout")),
        (0, 1)
    );
}

#[test]
fn who_has_got_everything_has_five_seconds_for_its_own_close_frame() {
    let mut world = world();
    let mut client = leaving(&mut world, 20_000);
    client.answer_closes(false);
    world.advance_ms(4_000);
    client.window(1 << 16);
    client.resume_reading();
    client.expect_text(&"x".repeat(20_000));
    client.expect_close(1000);
    // What it says instead is no reason to wait for longer.
    for _ in 0..4 {
        world.advance_ms(1_200);
        client.send_text("still here");
    }
    assert_eq!(world.connections(), 1);
    world.advance_ms(400);
    assert_eq!(
        (world.connections(), world.refused("close_timeout")),
        (0, 1)
    );
}

#[test]
fn who_talks_without_end_instead_of_closing_is_cut_too() {
    // So many of them that a turn never has read all that they say.
    const TALKERS: usize = 8;
    let mut world = world_with(|w| w.receive_buffer_bytes = 4096, |_| {});
    let mut talkers: Vec<Client> = (0..TALKERS).map(|_| world.connect("/app")).collect();
    for talker in &mut talkers {
        talker.answer_closes(false);
        talker.send_text("close 1000");
        talker.expect_close(1000);
    }
    let words = b"\x82\x80\0\0\0\0".repeat(10_000);
    let mut talk = |world: &mut World, seconds: usize| {
        for _ in 0..seconds {
            for talker in &mut talkers {
                talker.write_only(&words);
            }
            world.turn_after_ms(1_000);
        }
    };
    talk(&mut world, 34);
    assert_eq!((world.connections(), world.refused_total()), (TALKERS, 0));
    talk(&mut world, 2);
    assert_eq!(world.connections(), 0);
    assert_eq!(world.refused("close_timeout"), TALKERS as u64);
}

/// As PyPI's websocket-client does.
#[test]
fn a_client_that_answers_our_answer_is_not_reset() {
    let mut world = world();
    let mut client = world.connect("/app");
    client.answer_closes(false);
    client.short_reads_drain();
    client.close(1000, "");
    client.expect_close(1000);
    assert!(client.is_ended(), "the server ends its direction first");
    assert_eq!(world.connections(), 1, "and hears the client to its end");
    client.send_frame(true, OpCode::Close, &1000_u16.to_be_bytes());
    assert!(!client.is_reset());
    client.half_close();
    assert_eq!((world.connections(), world.refused_total()), (0, 0));
}
