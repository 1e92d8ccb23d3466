//! One test per bug that was found, named after what went wrong.

#![allow(clippy::unwrap_used)]

use dunlin::dialect::PubSub;
use dunlin::http::Response;
use dunlin::hub::{ChannelOptions, SlowPolicy};
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

    fn gap_marker(&self, missed: Option<u32>) -> Option<String> {
        missed.map(|missed| format!("gap {missed}"))
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

#[test]
fn a_close_frame_behind_the_command_to_close_is_read() {
    let mut world = chat(|_| {});
    let mut a = world.connect("/chat");
    a.answer_closes(false);
    // Text "close" and a close frame with 1000, masked with zeros, in one segment.
    a.send_bytes(b"\x81\x85\0\0\0\0close\x88\x82\0\0\0\0\x03\xE8");
    a.expect_close(1000);
    assert!(
        a.is_ended(),
        "the server waits for a close frame it has thrown away"
    );
}

#[test]
fn half_a_frame_behind_the_command_to_close_does_not_shift_the_rest() {
    let mut world = chat(|_| {});
    let mut a = world.connect("/chat");
    a.answer_closes(false);
    a.send_bytes(b"\x81\x85\0\0\0\0close\x81\x85\0\0\0\0ec");
    a.send_bytes(b"ho!");
    a.send_bytes(b"\x88\x82\0\0\0\0\x0F\xA0");
    a.expect_close(4000);
    assert!(a.is_ended());
    assert_eq!(
        world.refused_total(),
        0,
        "a peer that kept the rules was blamed"
    );
}

#[test]
fn a_rate_close_does_not_lose_the_rest_of_the_segment() {
    let mut world = chat(|s| (s.messages_per_second, s.messages_burst) = (1, 1));
    let mut a = world.connect("/chat");
    a.answer_closes(false);
    a.send_bytes(b"\x81\x81\0\0\0\0a\x81\x81\0\0\0\0b\x88\x82\0\0\0\0\x03\xE8");
    a.expect_text("a");
    a.expect_close(1008);
    assert!(a.is_ended());
}

#[test]
fn a_later_request_that_comes_byte_by_byte_is_timed_out() {
    let mut world = chat(|_| {});
    let mut a = world.open();
    a.send_bytes(b"GET /chat HTTP/1.1\r\nHost: sim\r\n\r\n");
    assert_eq!(a.answer().unwrap().status(), 200);
    world.advance_ms(1);
    for _ in 0..12 {
        a.send_bytes(b"G");
        world.advance_ms(1_000);
    }
    assert_eq!(a.answer().unwrap().status(), 408);
}

#[test]
fn a_reply_that_is_half_written_is_not_dropped_as_the_oldest() {
    let mut world = chat(|s| {
        s.session.slow = SlowPolicy::DropOldest;
        s.session.outbox_frames_max = 2;
    });
    let (mut a, mut b) = two(&mut world);
    a.stop_reading();
    a.window(10);
    a.send_text("a reply of some length");
    for n in 0..5 {
        b.send_text(&format!("pub news {n}"));
    }
    a.resume_reading();
    assert_eq!(a.complaint(), None, "the middle of a frame was dropped");
    let texts = a.texts();
    assert_eq!(texts.first().unwrap(), "a reply of some length");
    assert_eq!(texts.last().unwrap(), "4");
}

#[test]
fn a_gap_marker_that_was_dropped_itself_is_counted_on() {
    let mut world = chat(|s| {
        s.session.slow = SlowPolicy::DropOldest;
        s.session.outbox_frames_max = 2;
    });
    let (mut a, mut b) = two(&mut world);
    a.stop_reading();
    a.window(3);
    for n in 0..10 {
        b.send_text(&format!("pub news message {n}"));
    }
    a.window(1000);
    a.resume_reading();
    let texts = a.texts();
    let missed: usize = texts
        .iter()
        .filter_map(|t| t.strip_prefix("gap "))
        .map(|n| n.parse::<usize>().unwrap())
        .sum();
    let whole = texts.iter().filter(|t| !t.starts_with("gap")).count();
    assert_eq!(missed + whole, 10, "{texts:?}");
}

#[test]
fn a_paused_reader_that_makes_progress_is_not_cut() {
    let mut world = chat(|_| {});
    let mut a = world.connect("/chat");
    a.stop_reading();
    a.window(1000);
    for _ in 0..10 {
        a.send_text("big 20000");
    }
    // It stands still just long enough to be asked, and then reads a little every second.
    world.advance_ms(26_000);
    for _ in 0..60 {
        a.cut_into(500);
        world.advance_ms(1_000);
        a.read_once();
    }
    assert!(!a.is_over(), "it took what was written all the time");
    a.cut_into(1 << 20);
    a.resume_reading();
    assert_eq!(a.texts().len(), 10);
}

#[test]
fn a_message_that_waits_behind_our_own_pause_is_not_timed_out() {
    let mut world = chat(|s| s.message_timeout_ms = 5_000);
    let mut a = world.connect("/chat");
    a.stop_reading();
    a.window(1000);
    for _ in 0..4 {
        a.write_frame(true, OpCode::Text, b"big 20000");
    }
    a.write_frame(false, OpCode::Text, b"unfinished because ");
    world.run(); // More than 64 KiB of replies wait: nothing is read from it for now.
    a.send_frame(true, OpCode::Continuation, b"unread");
    world.advance_ms(20_000);
    a.resume_reading();
    assert_eq!(a.texts().last().unwrap(), "unfinished because unread");
}

#[test]
fn the_soft_limit_forgets_what_has_drained() {
    let mut world = chat(|s| {
        s.session.outbox_soft_bytes = 1_000;
        s.session.outbox_soft_ms = 5_000;
    });
    let (mut a, mut b) = two(&mut world);
    let long = format!("pub news {}", "x".repeat(700));
    a.stop_reading();
    a.window(1);
    b.send_texts([long.as_str(), long.as_str()]);
    a.window(800); // one of the two is through: below the limit
    world.advance_ms(20_000);
    b.send_text(&long);
    world.advance_ms(1_000);
    a.window(10_000);
    a.resume_reading();
    assert_eq!(a.texts().len(), 3);
    assert_eq!(world.refused("slow_consumer"), 0);
}

struct Users;

impl Handler for Users {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Message::Text(text) = message else { return };
        let space = cx.space_named("user");
        match text {
            "out" => assert!(cx.unsubscribe_in(space, "ann")),
            "in" => cx.set_user("ann").unwrap(),
            "join" => assert_eq!(cx.subscribe("news"), Ok(true)),
            _ => {
                let user = cx.user().map(str::to_owned);
                cx.send_text(&format!("{user:?}"));
            }
        }
    }
}

#[test]
fn a_channel_that_takes_the_slot_of_a_user_is_not_that_user() {
    let mut world = World::new(WorkerSettings::default());
    world.route("/", || Users);
    let mut a = world.connect("/");
    a.send_texts(["in", "who", "out", "join", "who"]);
    a.expect_text("Some(\"ann\")");
    a.expect_text("None");
}

#[test]
fn the_channel_of_a_user_is_no_subscription_of_the_client() {
    let mut world = World::new(WorkerSettings::default());
    let mut settings = RouteSettings::default();
    settings.session.subscriptions_max = 1;
    world.route_with("/", settings, || Users);
    let mut a = world.connect("/");
    a.send_texts(["in", "join", "who"]);
    a.expect_text("Some(\"ann\")");
}

#[test]
fn a_route_without_pings_needs_no_deadline() {
    let mut world = chat(|s| s.ping_after_ms = 0);
    let mut a = world.connect("/chat");
    world.advance_ms(200_000);
    world.check_invariants();
    a.send_text("still here");
    a.expect_text("still here");
    assert_eq!(a.pings(), 0);
}

#[test]
fn an_answer_that_was_due_in_time_is_given_after_a_standstill() {
    let mut world = chat(|_| {});
    let mut a = world.open();
    a.send_bytes(b"GET /chat?ms=1000 HTTP/1.1\r\nHost: sim\r\n\r\n");
    world.freeze_ms(60_000);
    assert_eq!(a.answer().unwrap().text(), "in time");
}

#[test]
fn a_request_that_was_there_in_time_is_answered_after_a_standstill() {
    let mut world = chat(|_| {});
    // More connections than one turn reads.
    let mut all: Vec<Client> = (0..200).map(|_| world.open()).collect();
    for a in &mut all {
        a.write_only(b"GET /chat HTTP/1.1\r\nHost: sim\r\n\r\n");
    }
    world.freeze_ms(60_000);
    for a in &mut all {
        assert_eq!(a.answer().map(|answer| answer.status()), Some(200));
    }
}

#[test]
fn a_drain_does_not_wait_for_idle_keep_alive_connections() {
    let mut world = chat(|_| {});
    let mut a = world.open();
    a.send_bytes(b"GET /chat?ms=1000 HTTP/1.1\r\nHost: sim\r\n\r\n");
    world.drain();
    world.advance_ms(1_500);
    let answer = a.answer().unwrap();
    assert_eq!(answer.header("Connection"), Some("close"));
    assert!(world.is_drained());
}

#[test]
fn a_drain_does_not_wait_for_a_connection_that_has_its_answer() {
    let mut world = chat(|_| {});
    let mut a = world.open();
    a.stop_reading();
    a.window(10);
    a.send_bytes(b"GET /chat HTTP/1.1\r\nHost: sim\r\n\r\n");
    world.drain();
    a.resume_reading();
    assert_eq!(a.answer().unwrap().status(), 200);
    assert!(world.is_drained());
}

/// `kick` closes every other session.
#[derive(Default)]
struct Kick {
    ids: Vec<dunlin::ConnId>,
    heard: usize,
}

impl Handler for Kick {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, _: &Request<'_>) -> Upgrade {
        self.ids.push(cx.id().unwrap());
        Upgrade::accept()
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        if message == Message::Text("kick") {
            let me = cx.id();
            for id in self.ids.iter().filter(|id| Some(**id) != me) {
                cx.close_other(*id, CloseCode(4000), "kicked");
            }
        } else {
            self.heard += 1;
            assert_eq!(self.heard, 1, "a session that was told to go was heard");
        }
    }
}

#[test]
fn a_kicked_session_is_not_heard_any_more() {
    let mut world = World::new(WorkerSettings::default());
    world.route("/", Kick::default);
    let mut a = world.connect("/");
    let mut b = world.connect("/");
    b.send_text("once");
    a.write_frame(true, OpCode::Text, b"kick");
    b.write_frame(true, OpCode::Text, b"again");
    b.expect_close(4000);
}

#[test]
fn an_early_goodbye_ends_before_the_first_message() {
    struct Goodbye;
    impl Handler for Goodbye {
        fn on_open(&mut self, cx: &mut Context<'_>) {
            cx.close(CloseCode(4000), "");
        }
        fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {
            panic!("heard after the close");
        }
    }
    let mut world = World::new(WorkerSettings::default());
    world.route("/", || Goodbye);
    let mut a = world.connect(Connect::to("/").then_text("hello"));
    a.expect_close(4000);
}

#[test]
fn the_end_of_requests_gives_the_last_answer_its_time() {
    let mut world = chat(|s| s.body_bytes_max = 1 << 20);
    let mut a = world.open();
    a.stop_reading();
    a.window(1000);
    let body = "x".repeat(20_000);
    let request =
        format!("POST /chat HTTP/1.1\r\nHost: sim\r\nContent-Length: 20000\r\n\r\n{body}");
    a.send_bytes(request.as_bytes());
    world.advance_ms(20_000);
    a.half_close();
    world.advance_ms(2_000);
    a.resume_reading();
    assert_eq!(a.complaint(), None);
    assert_eq!(a.answer().unwrap().body().len(), 20_000);
}

#[test]
fn a_burst_within_one_turn_does_not_make_readers_slow() {
    let mut world = chat(|_| {});
    let (mut a, mut b) = two(&mut world);
    let texts: Vec<String> = (0..3_000).map(|n| format!("pub news {n}")).collect();
    b.send_texts(texts.iter().map(String::as_str));
    assert_eq!(a.texts().len(), 3_000);
}

#[test]
fn a_deadline_one_round_of_the_wheel_away_does_not_wake_at_once() {
    // 512 slots of 64 ms. An idle keep-alive connection is due after 75 s: two rounds and a bit.
    let mut world = chat(|_| {});
    let mut a = world.open();
    a.send_bytes(b"GET /chat HTTP/1.1\r\nHost: sim\r\n\r\n");
    let mut wakes = 0;
    for _ in 0..70_000 {
        wakes += usize::from(world.turn_after_ms(1));
    }
    assert!(wakes < 20, "woken {wakes} times in 70 s for nothing");
    assert!(!a.is_over());
}

#[test]
fn a_ping_is_not_dropped_as_the_oldest_message() {
    let mut world = chat(|s| {
        s.session.slow = SlowPolicy::DropOldest;
        s.session.outbox_frames_max = 4;
    });
    let (mut a, mut b) = two(&mut world);
    a.stop_reading();
    a.window(1);
    b.send_text("pub news first");
    world.advance_ms(26_000);
    for n in 0..10 {
        b.send_text(&format!("pub news {n}"));
    }
    a.window(1000);
    a.resume_reading();
    assert_eq!(a.texts(), ["first", "gap 8", "8", "9"]);
    assert_eq!(a.pings(), 1);
    world.advance_ms(20_000);
    assert!(!a.is_over());
}

#[test]
fn a_mistyped_path_does_not_cost_the_connection() {
    let mut world = chat(|_| {});
    let mut a = world.open();
    a.send_bytes(b"GET /nope HTTP/1.1\r\nHost: sim\r\n\r\n");
    assert_eq!(a.answer().unwrap().status(), 404);
    assert!(!a.is_ended());
    // What may still be under way behind a refusal is not guessed at.
    a.send_bytes(b"POST /nope HTTP/1.1\r\nHost: sim\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(a.answer().unwrap().status(), 404);
    assert!(a.is_ended());
}

#[test]
fn a_message_whose_reply_paused_its_reader_does_not_stay_in_memory() {
    let mut world = chat(|_| {});
    let mut a = world.connect("/chat");
    a.stop_reading();
    a.window(1);
    a.send_text("big 60000");
    a.send_frame(false, OpCode::Text, b"big ");
    a.send_frame(true, OpCode::Continuation, b"20000");
    a.window(1 << 16);
    a.resume_reading();
    assert_eq!(a.texts().len(), 2);
    world.check_idle();
}

#[test]
fn requests_that_wait_behind_unread_answers_are_not_timed_out() {
    let mut world = chat(|_| {});
    let mut a = world.open();
    a.stop_reading();
    let body = "x".repeat(10_000);
    let post = format!("POST /chat HTTP/1.1\r\nHost: sim\r\nContent-Length: 10000\r\n\r\n{body}");
    let all = post.repeat(40);
    a.send_bytes(&all.as_bytes()[..all.len() - 10]);
    world.advance_ms(20_000);
    a.resume_reading();
    a.send_bytes(&all.as_bytes()[all.len() - 10..]);
    for _ in 0..40 {
        assert_eq!(a.answer().unwrap().status(), 200);
    }
}

#[test]
fn a_last_answer_is_not_cut_while_it_is_being_read() {
    let mut world = chat(|_| {});
    let mut a = world.open();
    a.stop_reading();
    let body = "x".repeat(200_000);
    let head = "POST /chat HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: 200000";
    a.send_bytes(format!("{head}\r\n\r\n{body}").as_bytes());
    a.cut_into(10_000);
    for _ in 0..25 {
        world.advance_ms(1_000);
        a.read_once();
    }
    assert_eq!(a.complaint(), None);
    assert_eq!(a.answer().unwrap().body().len(), 200_000);
}

#[test]
fn what_is_taken_back_is_not_given_again_before_there_is_room() {
    let mut world = World::new(WorkerSettings::default());
    let mut settings = RouteSettings {
        channels: vec![ChannelOptions::of("news").history_messages_max(10)],
        ..RouteSettings::default()
    };
    settings.session.outbox_bytes_max = 2048;
    world.route_with("/ch/{channel}", settings, PubSub::default);
    let mut slow = world.connect("/ch/news");
    slow.stop_reading();
    slow.window(1);
    // Half of what may wait is free behind the first one, and the second one does not go in there.
    let sizes = [900, 1500, 100];
    for size in sizes {
        let body = "x".repeat(size);
        let post = format!(
            "POST /ch/news HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n{body}"
        );
        assert_eq!(world.request(post).status(), 200, "the loop comes to rest");
    }
    slow.window(1 << 16);
    slow.resume_reading();
    let got: Vec<usize> = slow.texts().iter().map(String::len).collect();
    assert_eq!(got, sizes);
}

#[test]
fn a_close_frame_in_pieces_keeps_no_room() {
    let mut world = World::new(WorkerSettings::default());
    world.route("/chat", Chat::default);
    let mut slow = world.connect("/chat");
    slow.stop_reading();
    slow.window(1);
    slow.send_text("big 200");
    // Masked with zeros: 3999, cut behind its first byte. Our own close frame waits for its reader.
    for piece in [&[0x88, 0x82, 0, 0, 0, 0, 0x0F][..], &[0x9F]] {
        slow.send_bytes(piece);
    }
    assert_eq!(world.connections(), 1);
    world.check_idle();
}
