//! Slow consumers: who is told what, and who is none.

use crate::{world, world_with};
use dunlin::hub::SlowPolicy;
use dunlin::sim::{Client, World};
use dunlin::ws::OpCode;

/// A client subscribed to `news` that stands still with one byte of a first message taken, and a publisher.
fn standing(world: &mut World) -> (Client, Client) {
    let mut slow = world.connect("/app");
    slow.send_text("join news");
    let mut publisher = world.connect("/app");
    slow.stop_reading();
    slow.window(1);
    publisher.send_text("pub news first");
    (slow, publisher)
}

#[test]
fn the_frame_limit_at_n_and_one_more() {
    for more in [0, 1] {
        let mut world = world_with(|_| {}, |s| s.messages_per_second = 0);
        let (mut slow, mut publisher) = standing(&mut world);
        // The first one is half written and still counts as waiting.
        for n in 0..1023 + more {
            publisher.send_text(&format!("pub news {n}"));
        }
        assert_eq!(world.refused("slow_consumer"), more);
        slow.window(1 << 16);
        slow.resume_reading();
        slow.expect_text("first");
        if more == 0 {
            assert_eq!(slow.texts().len(), 1023);
        } else {
            slow.expect_close(1013);
            assert!(slow.is_ended());
        }
        assert_eq!(slow.complaint(), None);
    }
}

#[test]
fn the_byte_limit_at_n_and_one_more() {
    for more in [0, 1] {
        let mut world = world_with(
            |_| {},
            |s| {
                s.session.outbox_bytes_max = 10_000;
                s.session.outbox_soft_bytes = 10_000;
            },
        );
        let (mut slow, mut publisher) = standing(&mut world);
        // 6 bytes of the first one wait; a message of 996 bytes is a frame of 1,000.
        for _ in 0..9 {
            publisher.send_text(&format!("pub news {}", "x".repeat(996)));
        }
        publisher.send_text(&format!(
            "pub news {}",
            "x".repeat(10_000 - 9_006 - 4 + more)
        ));
        assert_eq!(world.refused("slow_consumer"), more as u64);
        slow.window(1 << 16);
        slow.resume_reading();
        slow.expect_text("first");
        if more == 0 {
            assert_eq!(slow.texts().len(), 10);
        } else {
            slow.expect_close(1013);
        }
    }
}

#[test]
fn one_message_alone_is_never_too_much() {
    let mut world = world_with(
        |_| {},
        |s| {
            s.session.outbox_bytes_max = 1000;
            s.session.outbox_soft_bytes = 1000;
        },
    );
    let mut a = world.connect("/app");
    a.send_text("join news");
    a.stop_reading();
    a.window(10);
    let mut publisher = world.connect("/app");
    publisher.send_text(&format!("pub news {}", "x".repeat(50_000)));
    a.window(1 << 16);
    a.resume_reading();
    assert_eq!(a.texts()[0].len(), 50_000);
}

#[test]
fn the_soft_limit_is_enforced_after_its_time() {
    let mut world = world();
    let (mut slow, mut publisher) = standing(&mut world);
    publisher.send_text(&format!("pub news {}", "x".repeat(300_000)));
    world.advance_ms(9_000);
    publisher.send_text("pub news still fine");
    assert_eq!(world.refused("slow_consumer"), 0);
    world.advance_ms(1_500);
    publisher.send_text("pub news too long");
    assert_eq!(world.refused("slow_consumer"), 1);
    slow.window(1 << 16);
    slow.resume_reading();
    slow.expect_text("first");
    slow.expect_close(1013);
}

#[test]
fn latest_keeps_the_newest_of_each_channel_and_all_replies() {
    let mut world = world_with(
        |_| {},
        |s| {
            s.session.slow = SlowPolicy::Latest;
            s.session.outbox_frames_max = 8;
            s.messages_per_second = 0;
        },
    );
    let (mut slow, mut publisher) = standing(&mut world);
    slow.send_text("join sport");
    slow.send_text("a reply");
    for n in 0..20 {
        publisher.send_text(&format!("pub news {n}"));
        if n % 5 == 0 {
            publisher.send_text(&format!("pub sport {n}"));
        }
    }
    assert_eq!(world.refused("slow_consumer"), 0);
    slow.window(1 << 16);
    slow.resume_reading();
    slow.expect_text("first");
    let got = slow.texts();
    assert!(got.len() <= 9, "{got:?}");
    assert_eq!(got[0], "a reply", "what is no publication stays");
    let of = |channel: u32| {
        let last = if channel == 0 { "19" } else { "15" };
        got.iter().position(|text| text == last)
    };
    assert!(
        of(0) > of(1) && of(1).is_some(),
        "the newest of both: {got:?}"
    );
    let numbers: Vec<u32> = got[1..]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    assert!(numbers.is_sorted(), "in order: {got:?}");
    assert_eq!(
        world.metrics().frames_dropped_total as usize,
        24 + 1 - got.len()
    );
    // A reader that keeps up gets everything.
    for n in 0..20 {
        publisher.send_text(&format!("pub news {n}"));
    }
    assert_eq!(slow.texts().len(), 20);
    assert_eq!(world.queued_bytes(), 0);
}

#[test]
fn latest_closes_who_cannot_take_even_that() {
    let mut world = world_with(
        |_| {},
        |s| {
            s.session.slow = SlowPolicy::Latest;
            s.session.outbox_frames_max = 4;
        },
    );
    let (mut slow, mut publisher) = standing(&mut world);
    for n in 0..5 {
        slow.send_text(&format!("join c{n}"));
    }
    for n in 0..5 {
        publisher.send_text(&format!("pub c{n} x"));
    }
    assert_eq!(world.refused("slow_consumer"), 1);
    slow.window(1 << 16);
    slow.resume_reading();
    slow.expect_text("first");
    slow.expect_close(1013);
}

#[test]
fn drop_oldest_says_how_many_are_missing() {
    let mut world = world_with(
        |_| {},
        |s| {
            s.session.slow = SlowPolicy::DropOldest;
            s.session.outbox_frames_max = 5;
        },
    );
    let (mut slow, mut publisher) = standing(&mut world);
    for n in 0..20 {
        publisher.send_text(&format!("pub news {n}"));
    }
    slow.window(1 << 16);
    slow.resume_reading();
    assert_eq!(slow.texts(), ["first", "gap 16", "16", "17", "18", "19"]);
    publisher.send_text("pub news next");
    slow.expect_text("next");
    assert_eq!(world.refused("slow_consumer"), 0);
}

#[test]
fn a_slow_member_costs_the_others_nothing() {
    let mut world = world_with(|_| {}, |s| s.messages_per_second = 0);
    let (_slow, mut publisher) = standing(&mut world);
    let mut others: Vec<Client> = (0..5)
        .map(|_| {
            let mut other = world.connect("/app");
            other.send_text("join news");
            other
        })
        .collect();
    for n in 0..2_000 {
        publisher.send_text(&format!("pub news {n}"));
    }
    for other in &mut others {
        let texts = other.texts();
        assert_eq!((texts.len(), texts[1_999].as_str()), (2_000, "1999"));
    }
    world.advance_ms(6_000);
    assert_eq!((world.sessions(), world.refused("slow_consumer")), (6, 1));
    assert_eq!(world.queued_bytes(), 0);
}

#[test]
fn ten_thousand_commands_without_reading_get_ten_thousand_replies() {
    let mut world = world_with(|_| {}, |s| s.messages_per_second = 0);
    let mut client = world.connect("/app");
    client.stop_reading();
    let texts: Vec<String> = (0..10_000)
        .map(|n| format!("{n} {}", "x".repeat(90)))
        .collect();
    client.send_texts(texts.iter().map(String::as_str));
    assert!(world.queued_bytes() < 400_000, "{}", world.queued_bytes());
    world.advance_ms(20_000);
    client.resume_reading();
    assert_eq!(client.texts(), texts);
    assert_eq!((world.refused_total(), world.queued_bytes()), (0, 0));
}

#[test]
fn short_replies_do_not_run_into_the_frame_limit() {
    let mut world = world_with(|_| {}, |s| s.messages_per_second = 0);
    let mut client = world.connect("/app");
    client.stop_reading();
    client.window(1);
    let texts: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    for some in texts.chunks(100) {
        client.send_texts(some.iter().map(String::as_str));
    }
    client.window(1 << 16);
    client.resume_reading();
    assert_eq!(client.texts(), texts);
    assert_eq!(world.refused_total(), 0);
}

#[test]
fn at_most_one_pong_is_pending_and_it_is_the_newest() {
    let mut world = world();
    let (mut slow, _publisher) = standing(&mut world);
    for n in 0..50_u8 {
        slow.ping(&[n]);
    }
    slow.window(1 << 16);
    slow.resume_reading();
    slow.expect_text("first");
    assert_eq!(slow.pongs(), [[49]]);
}

#[test]
fn a_ping_between_fragments_is_answered_at_once() {
    let mut world = world();
    let mut client = world.connect("/app");
    client.send_frame(false, OpCode::Text, b"one ");
    client.ping(b"between");
    assert_eq!(client.pongs(), [b"between"]);
    client.send_frame(true, OpCode::Continuation, b"two");
    client.expect_text("one two");
}

#[test]
fn a_refused_publication_is_queued_for_nobody() {
    struct Publish;
    impl dunlin::Handler for Publish {
        fn on_open(&mut self, cx: &mut dunlin::Context<'_>) {
            cx.subscribe("news").unwrap();
        }
        fn on_message(&mut self, cx: &mut dunlin::Context<'_>, message: dunlin::Message<'_>) {
            let answer = cx.publish("news", message).is_ok().to_string();
            cx.send_text(&answer);
        }
    }
    let mut settings = dunlin::server::WorkerSettings::default();
    settings.hub.memory_budget_bytes = 1000;
    let mut world = World::new(settings);
    world.route("/", || Publish);
    let mut slow = world.connect("/");
    slow.stop_reading();
    slow.window(1);
    let mut publisher = world.connect("/");
    let long = "x".repeat(600);
    publisher.send_text(&long);
    publisher.expect_text(&long);
    publisher.expect_text("true");
    publisher.send_text(&long);
    publisher.expect_text("false");
    slow.window(1 << 16);
    slow.resume_reading();
    assert_eq!(slow.texts(), [long.as_str()]);
}

#[test]
fn a_burst_of_publications_is_served_in_slices_to_the_end() {
    for drains in [false, true] {
        let mut world = world_with(|_| {}, |s| s.messages_per_second = 0);
        let mut reader = world.connect("/app");
        reader.send_text("join news");
        let mut publisher = world.connect("/app");
        if drains {
            publisher.short_reads_drain();
        }
        let texts: Vec<String> = (0..5_000).map(|n| format!("pub news {n}")).collect();
        publisher.send_texts(texts.iter().map(String::as_str));
        let got = reader.texts();
        assert_eq!((got.len(), got[4_999].as_str()), (5_000, "4999"));
        assert_eq!(world.refused_total(), 0);
    }
}

#[test]
fn commands_behind_a_pause_are_served_when_the_replies_have_drained() {
    let mut world = world_with(|_| {}, |s| s.messages_per_second = 0);
    let mut client = world.connect("/app");
    client.short_reads_drain();
    client.stop_reading();
    client.window(1);
    let mut texts = vec!["big 30000"; 100];
    texts.push("last");
    client.send_texts(texts);
    // More room than one flush fills: the pause ends while sessions are flushed, not when an edge comes.
    client.window(4 << 20);
    client.resume_reading();
    let got = client.texts();
    assert_eq!((got.len(), got[100].as_str()), (101, "last"));
}

#[test]
fn a_pong_goes_between_two_of_the_frames_that_never_end() {
    for bytes in [100, 6_000] {
        let mut world = world_with(|_| {}, |s| s.messages_per_second = 0);
        let (mut slow, mut publisher) = standing(&mut world);
        slow.window(10 * bytes);
        let text = format!("pub news {}", "x".repeat(bytes));
        let some = vec![text.as_str(); 20];
        publisher.send_texts(some.iter().copied());
        slow.ping(b"old");
        slow.ping(b"new");
        // Whatever it takes, more comes.
        for _ in 0..3 {
            publisher.send_texts(some.iter().copied());
            slow.read_once();
            assert!(world.queued_bytes() > 0, "something always waits");
        }
        assert_eq!(slow.pongs(), [b"new"]);
        slow.resume_reading();
        assert_eq!(slow.texts().len(), 81);
        assert_eq!((slow.complaint(), world.refused_total()), (None, 0));
    }
}
