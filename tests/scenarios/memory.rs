//! The memory budget: what counts, who is turned away, who is cut, and that all of it comes back.

use crate::world_with;
use dunlin::sim::{Client, Received, World};
use dunlin::ws::{OpCode, encode_frame};

const BUDGET: usize = 1 << 20;

fn world() -> World {
    world_with(
        |w| {
            w.hub.memory_budget_bytes = BUDGET;
            w.address.connections_max = 10_000;
        },
        |s| {
            s.messages_per_second = 0;
            s.ws = dunlin::ws::Limits::for_message_bytes(1 << 20);
            s.body_bytes_max = 1 << 20;
        },
    )
}

/// A client with so many bytes of a message that never ends.
fn unfinished(world: &mut World, bytes: usize) -> Client {
    let mut client = world.connect("/app");
    client.send_frame(false, OpCode::Binary, &vec![7; bytes]);
    client
}

fn used(world: &World) -> usize {
    world.used_bytes()
}

#[test]
fn an_unfinished_message_counts_with_what_has_arrived_and_comes_back() {
    let mut world = world();
    assert_eq!(used(&world), 0);
    let mut client = unfinished(&mut world, 100_000);
    let held = used(&world);
    assert!((100_000..=200_500).contains(&held), "{held}");
    client.send_frame(true, OpCode::Continuation, b"end");
    assert_eq!(client.received().len(), 1, "it comes back, whole");
    assert_eq!(used(&world), 0);
    // The same for one that is cut off in the middle, and for one whose end is a reset.
    let mut cut = unfinished(&mut world, 50_000);
    let mut reset = unfinished(&mut world, 50_000);
    assert!(used(&world) >= 100_000);
    cut.half_close();
    reset.reset();
    world.run();
    assert_eq!(used(&world), 0);
}

#[test]
fn a_request_counts_until_its_answer_is_read() {
    let mut world = world();
    let mut client = world.open();
    client.send_bytes(b"POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    client.send_bytes(&[b'x'; 150_000]);
    assert!(used(&world) >= 150_000);
    client.stop_reading();
    client.window(1000);
    client.send_bytes(&[b'x'; 50_000]);
    assert!(used(&world) >= 190_000, "now it is the answer");
    client.window(1 << 20);
    client.resume_reading();
    assert_eq!(client.answer().unwrap().body().len(), 200_000);
    assert_eq!(used(&world), 0);
}

#[test]
fn nobody_new_is_taken_in_when_seven_eighths_are_used() {
    let mut world = world();
    let mut holders: Vec<Client> = Vec::new();
    let mut bystander = world.connect("/app");
    while used(&world) <= BUDGET - BUDGET / 8 {
        holders.push(unfinished(&mut world, 10_000));
    }
    let answer = world.connect_refused("/app");
    assert_eq!(answer.status(), 503);
    assert!(answer.header("retry-after").is_some());
    let answer = world.request("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(answer.status(), 503, "no body either");
    let answer = world.request("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status(), 200, "a request without one is served");
    assert_eq!(world.refused("memory_budget"), 2);
    bystander.send_text("still here");
    bystander.expect_text("still here");
    // Some have had enough: there is room again.
    for mut holder in holders.drain(..20) {
        holder.reset();
    }
    let mut newcomer = world.connect("/app");
    newcomer.send_text("hello");
    newcomer.expect_text("hello");
    assert_eq!(world.refused("memory_cut"), 0);
}

#[test]
fn those_who_hold_most_are_cut_and_nobody_else() {
    let mut world = world();
    let mut modest = unfinished(&mut world, 20_000);
    let mut greedy: Vec<Client> = (0..4).map(|_| world.connect("/app")).collect();
    // Together more than there is.
    for client in &mut greedy {
        client.write_only(&frame_head(600_000));
        client.write_only(&vec![1; 300_000]);
    }
    world.run();
    let cut = world.refused("memory_cut");
    assert!(cut >= 1, "{cut}");
    assert!(used(&world) <= BUDGET);
    let mut closed = 0;
    for client in &mut greedy {
        if client.is_ended() {
            assert!(client.expect_close(1013).contains("memory"));
            closed += 1;
        }
        assert_eq!(client.complaint(), None);
    }
    assert_eq!(closed, cut);
    modest.send_frame(true, OpCode::Continuation, b"end");
    assert_eq!(modest.received().len(), 1, "the modest one is served");
}

/// The head of a masked binary frame of so many bytes (the key is zero).
fn frame_head(len: u64) -> Vec<u8> {
    let mut head = vec![0x82, 0xFF];
    head.extend_from_slice(&len.to_be_bytes());
    head.extend_from_slice(&[0; 4]);
    head
}

#[test]
fn a_publication_is_refused_before_anybody_is_cut_for_it() {
    let mut world = world_with(
        |w| w.hub.memory_budget_bytes = 50_000,
        |s| s.messages_per_second = 0,
    );
    let mut holder = world.connect("/app");
    holder.send_frame(false, OpCode::Binary, &[1; 15_000]);
    let before = used(&world);
    assert!(before >= 15_000);
    // A request with a body of its own fits; what it publishes does not.
    world.route_with("/pub", Default::default(), || Publisher);
    let mut body = b"POST /pub HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n".to_vec();
    body.extend_from_slice(&[b'x'; 10_000]);
    assert_eq!(world.request(&body).status(), 503);
    assert_eq!(world.refused("memory_budget"), 1);
    assert_eq!(world.refused("memory_cut"), 0);
    assert_eq!(used(&world), before);
}

/// Publishes the body four times over.
struct Publisher;

impl dunlin::Handler for Publisher {
    fn on_message(&mut self, _: &mut dunlin::Context<'_>, _: dunlin::Message<'_>) {}

    fn on_request(
        &mut self,
        cx: &mut dunlin::Context<'_>,
        request: &dunlin::Request<'_>,
    ) -> dunlin::Reply {
        let status = match cx.publish("any", dunlin::Message::Binary(&request.body.repeat(4))) {
            Ok(_) => 200,
            Err(_) => 503,
        };
        dunlin::Reply::Now(dunlin::http::Response::new(status))
    }
}

#[test]
fn what_is_read_behind_a_message_is_little_when_its_answer_has_to_wait() {
    const MESSAGE: usize = 1 << 20;
    for pieces in [1, 256] {
        let mut world = world_with(|_| {}, |s| s.messages_per_second = 0);
        let mut client = world.connect("/app");
        client.stop_reading();
        client.window(1000);
        // A message, or its fragments, then more than the receive buffer holds, in one go.
        let mut bytes = Vec::new();
        let piece = vec![7; MESSAGE / pieces];
        for n in 0..pieces {
            let begins = bytes.len();
            let opcode = if n == 0 {
                OpCode::Binary
            } else {
                OpCode::Continuation
            };
            encode_frame(&mut bytes, opcode, &piece, Some([1, 2, 3, 4]));
            if n + 1 < pieces {
                bytes[begins] &= 0x7F;
            }
        }
        let (first, last) = bytes.split_at(bytes.len() - 10);
        client.send_bytes(first);
        client.send_bytes(&[last, &bytes, &bytes].concat());
        let held = used(&world);
        assert!(held < MESSAGE + (80 << 10), "{held}");
        client.window(8 * MESSAGE);
        client.resume_reading();
        assert_eq!(client.received().len(), 3);
        assert_eq!((used(&world), world.refused_total()), (0, 0));
    }
}

#[test]
fn who_cannot_give_back_what_it_holds_is_dropped_for_it_and_nobody_else() {
    let mut world = world();
    let mut modest = unfinished(&mut world, 20_000);
    let mut reader = world.connect("/app");
    reader.stop_reading();
    reader.window(1);
    // Half of a frame is on the wire: it cannot be taken back for a close frame.
    reader.send_text("big 700000");
    let mut other = unfinished(&mut world, 100_000);
    let mut last = unfinished(&mut world, 100_000);
    assert_eq!(world.refused("memory_cut"), 0);
    last.send_frame(false, OpCode::Continuation, &[7; 150_000]);
    assert_eq!(world.refused("memory_cut"), 1);
    assert!(used(&world) < BUDGET - 450_000, "{}", used(&world));
    reader.resume_reading();
    assert!(reader.is_over());
    for client in [&mut modest, &mut other, &mut last] {
        client.send_frame(true, OpCode::Continuation, b"end");
        assert!(matches!(client.next(), Some(Received::Binary(_))));
    }
    assert_eq!(world.refused("slow_consumer"), 0, "it is counted once");
}

#[test]
fn a_request_whose_answers_are_not_read_is_dropped_for_them() {
    let mut world = world();
    let mut modest = unfinished(&mut world, 20_000);
    let mut others: Vec<Client> = (0..3).map(|_| world.connect("/app")).collect();
    let mut reader = world.open();
    reader.stop_reading();
    reader.window(1);
    let mut request = b"POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n".to_vec();
    request.extend_from_slice(&[b'x'; 500_000]);
    reader.send_bytes(&request);
    for other in &mut others {
        other.send_frame(false, OpCode::Binary, &[7; 200_000]);
    }
    assert_eq!(world.refused("memory_cut"), 1);
    for client in others.iter_mut().chain([&mut modest]) {
        client.send_frame(true, OpCode::Continuation, b"end");
        assert!(matches!(client.next(), Some(Received::Binary(_))));
    }
    assert_eq!(used(&world), 0);
}

#[test]
fn what_many_wait_for_is_held_by_each_of_them_in_part() {
    let mut world = world();
    let mut readers: Vec<Client> = (0..5).map(|_| world.connect("/app")).collect();
    for reader in &mut readers {
        reader.send_text("join news");
        reader.stop_reading();
        reader.window(1);
    }
    let mut publisher = world.connect("/app");
    for _ in 0..6 {
        publisher.send_text(&format!("pub news {}", "x".repeat(100_000)));
    }
    assert!((600_000..601_000).contains(&used(&world)));
    let mut greedy = world.connect("/app");
    greedy.write_only(&frame_head(600_000));
    greedy.write_only(&vec![1; 500_000]);
    world.run();
    greedy.expect_close(1013);
    assert_eq!(world.refused("memory_cut"), 1);
    for reader in &mut readers {
        reader.window(1 << 16);
        reader.resume_reading();
        assert_eq!(reader.texts().len(), 6);
    }
}

#[test]
fn the_budget_is_kept_however_many_it_takes() {
    let mut world = world();
    let mut holders: Vec<Client> = (0..40).map(|_| unfinished(&mut world, 8_000)).collect();
    // All of them in one turn.
    for holder in &mut holders {
        holder.write_only(b"\x00\xFE\x6d\x60\0\0\0\0");
        holder.write_only(&[1; 28_000]);
    }
    world.run();
    assert!(used(&world) <= BUDGET, "{}", used(&world));
    let cut = world.refused("memory_cut");
    assert!(cut > 16 && cut < 40, "{cut}");
    let ended = holders.iter().filter(|holder| holder.is_ended()).count();
    assert_eq!(ended as u64, cut);
    for holder in holders.iter_mut().filter(|holder| holder.is_ended()) {
        assert!(holder.expect_close(1013).contains("memory"));
    }
}
