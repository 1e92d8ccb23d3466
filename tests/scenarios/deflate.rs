//! permessage-deflate, end to end: a mixed audience, what is shared, what is kept and what is refused.

use dunlin::server::RouteSettings;
use dunlin::sim::{Client, Connect, World};
use dunlin::ws::deflate::{ClientOffer, Compressor, HEADER, Settings};
use dunlin::ws::{Message, OpCode, encode_frame};

use super::{App, world_with};

/// Takes what it is offered.
fn deflating(route: &mut RouteSettings) {
    route.deflate = Settings {
        offered: true,
        min_bytes: 100,
        ..Settings::default()
    };
}

fn world() -> World {
    world_with(|_| {}, deflating)
}

fn with_deflate() -> Connect {
    Connect::to("/app").deflate(ClientOffer::default())
}

/// Keeps to ten bits what the server sends.
fn with_ten_bits() -> Connect {
    Connect::to("/app").deflate(ClientOffer {
        server_max_window_bits: Some(10),
        ..ClientOffer::default()
    })
}

fn text(n: usize, len: usize) -> String {
    let mut text = format!("message {n}: ");
    while text.len() < len {
        text.push_str("all work and no play makes Jack a dull boy; ");
    }
    text.truncate(len);
    text
}

fn inflated(client: &Client) -> u64 {
    client.inflated_bytes().1
}

#[test]
fn a_mixed_audience_hears_the_same_and_each_kind_is_compressed_once() {
    let mut world = world();
    let mut talker = world.connect("/app");
    let mut audience = Vec::new();
    for n in 0..30 {
        let mut client = match n % 3 {
            0 => world.connect("/app"),
            1 => world.connect(with_deflate()),
            _ => world.connect(with_ten_bits()),
        };
        client.send_text("join news");
        audience.push(client);
    }
    let compressions = |world: &World| world.metrics().deflate_compressions_total;
    // Below the threshold; within every window; beyond the small one.
    for (n, len, times) in [(1, 99, 0), (2, 100, 1), (3, 1000, 1), (4, 5000, 2)] {
        let before = compressions(&world);
        let said = text(n, len);
        talker.send_text(&format!("pub news {said}"));
        for client in &mut audience {
            client.expect_text(&said);
        }
        assert_eq!(compressions(&world) - before, times, "{len} bytes");
    }
    for (n, client) in audience.iter().enumerate() {
        let expected = if n % 3 == 0 { 0 } else { 100 + 1000 + 5000 };
        assert_eq!(inflated(client), expected, "client {n}");
    }
    assert!(world.metrics().deflate_saved_bytes_total > 20 * 4000);
    assert_eq!(world.metrics().deflate_connections_total, 20);
}

#[test]
fn order_is_kept_between_replies_and_publications_of_all_sizes() {
    let mut world = world();
    let mut plain = world.connect("/app");
    let mut mixed = world.connect(with_deflate());
    let mut slow = world.connect(with_deflate());
    for client in [&mut plain, &mut mixed, &mut slow] {
        client.send_text("join news");
    }
    slow.stop_reading();
    let mut expected = Vec::new();
    for n in 0..60 {
        let said = text(n, if n % 2 == 0 { 20 } else { 700 });
        plain.send_text(&format!("pub news {said}"));
        plain.expect_text(&said);
        mixed.expect_text(&said);
        expected.push(said);
        let own = text(1000 + n, if n % 3 == 0 { 600 } else { 30 });
        mixed.send_text(&own);
        mixed.expect_text(&own);
        slow.send_text(&own);
        expected.push(own);
    }
    slow.resume_reading();
    for said in expected {
        slow.expect_text(&said);
    }
}

#[test]
fn what_does_not_shrink_is_shared_with_those_who_get_it_plainly() {
    let mut world = world();
    let mut talker = world.connect("/app");
    let mut client = world.connect(with_deflate());
    client.send_text("join news");
    let mut state = 1_u64;
    let noise: String = (0..120)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'!' + (state >> 20) as u8 % 90)
        })
        .collect();
    talker.send_text(&format!("pub news {noise}"));
    client.expect_text(&noise);
    assert_eq!(inflated(&client), 0);
    assert_eq!(world.metrics().deflate_saved_bytes_total, 0);
}

#[test]
fn off_by_default_and_then_nobody_is_the_worse_for_offering() {
    let mut world = world_with(|_| {}, |_| {});
    let mut client = world.connect(with_deflate());
    assert_eq!(client.deflate(), None);
    client.send_text(&text(1, 1000));
    client.expect_text(&text(1, 1000));
    let mut other = world.connect("/app");
    other.send_bytes(&[0xC1, 0x80, 0, 0, 0, 0]);
    other.expect_close(1002);
}

#[test]
fn an_invalid_offer_gets_a_plain_101() {
    let mut world = world();
    for offer in [
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; what=ever",
        "permessage-deflate; server_max_window_bits",
        "permessage-bzip2",
        ";;;\"",
    ] {
        let mut client = world.connect(Connect::to("/app").header(HEADER, offer));
        // A peer that had not offered it itself would complain of an extension in the answer.
        client.send_text("hello");
        client.expect_text("hello");
    }
    assert_eq!(world.metrics().deflate_connections_total, 0);
}

#[test]
fn a_bomb_is_refused_and_what_it_cost_is_given_back() {
    let mut world = world_with(
        |_| {},
        |route| {
            deflating(route);
            *route = route.clone().message_bytes_max(100_000);
        },
    );
    let mut client = world.connect(with_deflate());
    let mut frame = Vec::new();
    let zeros = vec![b'0'; 100_001];
    Compressor::default().encode_message(&mut frame, Message::Binary(&zeros), 15, 9, Some([1; 4]));
    client.send_bytes(&frame);
    client.expect_close(1009);
    assert_eq!(world.metrics().refused("inflated_too_big"), 1);
    let mut client = world.connect(with_deflate());
    let mut frame = Vec::new();
    encode_frame(&mut frame, OpCode::Text, &[0xFF; 9], Some([1; 4]));
    frame[0] |= 0x40;
    client.send_bytes(&frame);
    client.expect_close(1007);
    assert_eq!(world.metrics().refused("deflate"), 1);
}

/// A client that may keep its context.
fn keeping() -> Connect {
    Connect::to("/app").deflate(ClientOffer {
        client_keeps_context: true,
        ..ClientOffer::default()
    })
}

#[test]
fn the_context_of_clients_lives_inside_the_memory_budget_and_goes_with_them() {
    let budget = 200_000;
    let mut world = world_with(|worker| worker.hub.memory_budget_bytes = budget, deflating);
    let kept = |world: &World| world.metrics().deflate_window_bytes as usize;
    let mut clients: Vec<_> = (0..6).map(|_| world.connect(keeping())).collect();
    // Later, when memory is short, nobody new would be taken in.
    let mut over = world.connect(keeping());
    let mut other = world.connect(with_deflate());
    let said = text(1, 40_000);
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(kept(&world), n * 32_768, "nothing before the first message");
        client.send_text(&said);
        client.expect_text(&said);
    }
    over.send_text(&said);
    over.expect_text(&said);
    over.expect_close(1013);
    assert_eq!(world.metrics().refused("deflate_memory"), 1);
    // Those who keep none are served on.
    other.send_text(&said);
    other.expect_text(&said);
    assert_eq!(kept(&world), 6 * 32_768);
    clients.truncate(1);
    for client in &mut clients {
        client.close(1000, "");
        client.expect_close(1000);
    }
    other.send_text(&said);
    assert_eq!(kept(&world), 5 * 32_768);
}

#[test]
fn who_keeps_a_context_holds_memory_as_anybody_does() {
    let budget = 200_000;
    let mut world = world_with(|worker| worker.hub.memory_budget_bytes = budget, deflating);
    let mut modest = world.connect(with_deflate());
    let mut other = world.connect(with_deflate());
    let mut clients: Vec<_> = (0..5).map(|_| world.connect(keeping())).collect();
    let said = text(1, 40_000);
    for client in &mut clients {
        client.send_text(&said);
        client.expect_text(&said);
    }
    // Less than each of them has.
    modest.send_frame(false, OpCode::Text, &[b'x'; 10_000]);
    assert_eq!(world.refused("memory_cut"), 0);
    other.send_frame(false, OpCode::Text, &[b'x'; 12_000]);
    assert_eq!(world.refused("memory_cut"), 1);
    modest.send_frame(true, OpCode::Continuation, b"end");
    modest.expect_text(&("x".repeat(10_000) + "end"));
    other.send_frame(true, OpCode::Continuation, b"end");
    other.expect_text(&("x".repeat(12_000) + "end"));
    let told = clients.iter_mut().filter_map(|client| client.next());
    assert_eq!(told.count(), 1, "one of them was cut");
    assert_eq!(world.used_bytes(), 4 * 32_768);
}

#[test]
fn a_route_may_decline_clients_that_keep_their_context() {
    let mut world = world_with(
        |_| {},
        |route| {
            deflating(route);
            route.deflate.decline_takeover = true;
        },
    );
    assert_eq!(world.connect(keeping()).deflate(), None);
    let agreed = world.connect(with_deflate()).deflate().unwrap();
    assert_eq!(
        agreed.to_string(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    );
}

#[test]
fn several_routes_share_one_compression() {
    let mut world = world_with(|_| {}, deflating);
    let mut settings = RouteSettings::default();
    deflating(&mut settings);
    settings.deflate.min_bytes = 0;
    world.route_with("/other", settings, App::default);
    let mut here = world.connect(with_deflate());
    let mut there = world.connect(Connect::to("/other").deflate(ClientOffer::default()));
    here.send_text("join news");
    there.send_text("join news");
    let before = world.metrics().deflate_compressions_total;
    here.send_text(&format!("pub news {}", text(1, 900)));
    here.expect_text(&text(1, 900));
    assert!(world.metrics().deflate_compressions_total <= before + 1);
}

#[test]
fn a_read_full_of_bombs_does_not_keep_others_waiting() {
    let mut world = world_with(
        |_| {},
        |route| {
            deflating(route);
            route.messages_per_second = 0;
        },
    );
    let mut frame = Vec::new();
    let zeros = vec![b'0'; 1 << 20];
    Compressor::default().encode_message(&mut frame, Message::Binary(&zeros), 15, 9, Some([1; 4]));
    assert!(frame.len() < 2000);
    let mut bomber = world.connect(with_deflate());
    let mut other = world.connect("/app");
    bomber.stop_reading();
    // As many as fit into one read: each is within the limit.
    bomber.write_only(&frame.repeat(8));
    other.write_frame(true, OpCode::Text, b"hello");
    let inflated = |world: &World| world.metrics().deflate_inflated_bytes_total;
    world.turn_after_ms(1);
    assert!(inflated(&world) <= 2 << 20, "{}", inflated(&world));
    world.turn_after_ms(1);
    assert!(inflated(&world) <= 4 << 20, "{}", inflated(&world));
    other.expect_text("hello");
    bomber.resume_reading();
    world.run();
    assert_eq!(inflated(&world), 8 << 20);
    assert_eq!(bomber.received().len(), 8);
}
