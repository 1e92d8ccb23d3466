//! One test per weakness that the attack program (`tests/attack/`) found in the real server, in the simulated world.

#![allow(clippy::unwrap_used)]

use dunlin::http::Response;
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{Client, World};
use dunlin::ws::{self, OpCode};
use dunlin::{Context, Handler, Message, Reply, Request};

/// Commands: `join X`, `pub X text`; anything else is echoed. A request is answered with its body.
struct Chat;

impl Handler for Chat {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Message::Text(text) = message else {
            return;
        };
        match text.split_once(' ') {
            Some(("join", channel)) => assert_eq!(cx.subscribe(channel), Ok(true)),
            Some(("pub", rest)) => {
                let (channel, text) = rest.split_once(' ').unwrap();
                cx.publish(channel, Message::Text(text)).unwrap();
            }
            _ => assert!(cx.send_text(text)),
        }
    }

    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Reply {
        let mut response = Response::new(200);
        response.body = request.body.to_vec();
        Reply::Now(response)
    }
}

fn world(change: impl FnOnce(&mut RouteSettings)) -> World {
    let mut world = World::new(WorkerSettings::default());
    let mut settings = RouteSettings {
        messages_per_second: 0,
        ..RouteSettings::default()
    };
    change(&mut settings);
    world.route_with("/chat", settings, || Chat);
    world
}

const GET: &[u8] = b"GET /chat HTTP/1.1\r\nHost: sim\r\n\r\n";

/// A reply of the largest size behind the end of another one made its own client a slow consumer (1013), though the
/// client had done nothing but pipeline, and read later.
#[test]
fn an_echo_behind_the_end_of_another_is_no_slow_consumer() {
    let mut world = world(|settings| {
        settings.session.outbox_bytes_max = 100_000;
        settings.session.outbox_soft_bytes = 100_000;
    });
    let mut client = world.connect("/chat");
    client.stop_reading();
    // All of the first reply but so little that the next message is still read.
    client.window(80_000);
    let texts: Vec<String> = (0..4).map(|n| n.to_string().repeat(100_000)).collect();
    client.send_texts(texts.iter().map(String::as_str));
    client.window(1 << 20);
    client.resume_reading();
    assert_eq!(world.refused("slow_consumer"), 0);
    assert_eq!(client.texts(), texts);
}

/// Thousands of pipelined requests in one read were all answered before anybody else had a turn.
#[test]
fn pipelined_requests_are_bounded_per_turn() {
    let mut world = world(|_| {});
    let mut greedy = world.open();
    greedy.window(1 << 20);
    let mut bystander = world.connect("/chat");
    greedy.write_only(&GET.repeat(5000));
    let before = world.metrics().requests_total;
    let mut turns = 0;
    while world.turn_after_ms(0) {
        turns += 1;
        let answered = world.metrics().requests_total - before;
        assert!(answered <= 1200 * turns, "{answered} in {turns} turns");
    }
    bystander.send_text("and I?");
    bystander.expect_text("and I?");
    let answered = std::iter::from_fn(|| greedy.answer()).count();
    assert_eq!(answered, 5000);
}

/// A turn was bounded in publications, not in deliveries: hundreds of publications in one read went to all subscribers
/// of a large channel in one turn.
#[test]
fn deliveries_are_bounded_per_turn() {
    const SUBSCRIBERS: u64 = 80;
    const PUBLICATIONS: u64 = 900;
    let mut world = world(|_| {});
    let mut crowd: Vec<Client> = (0..SUBSCRIBERS)
        .map(|_| {
            let mut client = world.connect("/chat");
            client.send_text("join news");
            client.window(1 << 20);
            client
        })
        .collect();
    let mut publisher = world.connect("/chat");
    let mut all = Vec::new();
    for n in 0..PUBLICATIONS {
        let text = format!("pub news {n}");
        ws::encode_frame(&mut all, OpCode::Text, text.as_bytes(), Some([1, 2, 3, 4]));
    }
    publisher.window(1 << 20);
    publisher.write_only(&all);
    let mut delivered = world.metrics().messages_sent_total;
    while world.turn_after_ms(0) {
        let now = world.metrics().messages_sent_total;
        let in_turn = now - delivered;
        assert!(in_turn <= (64 << 10) + SUBSCRIBERS, "{in_turn}");
        delivered = now;
    }
    world.run();
    for client in &mut crowd {
        let texts = client.texts();
        assert_eq!(texts.len() as u64, PUBLICATIONS);
        assert!(texts.iter().enumerate().all(|(n, t)| *t == n.to_string()));
    }
}

/// What a slow reader of answers had taken was kept until it had taken everything, which it never did.
#[test]
fn answers_that_were_taken_are_forgotten() {
    let mut world = world(|_| {});
    let mut client = world.open();
    client.stop_reading();
    client.window(5_000);
    let body = "x".repeat(10_000);
    let post = format!("POST /chat HTTP/1.1\r\nHost: sim\r\nContent-Length: 10000\r\n\r\n{body}");
    let mut most = 0;
    for _ in 0..400 {
        client.send_bytes(post.as_bytes());
        client.read_once();
        most = most.max(world.used_bytes());
    }
    let answered = world.metrics().requests_total;
    assert!(answered > 150, "it reads, if slowly: {answered}");
    assert!(most <= 512 << 10, "{most} bytes");
}

/// Those who came together time out together: ten thousand goodbyes were said in one turn.
#[test]
fn deadlines_are_bounded_per_turn() {
    const CROWD: u64 = 2000;
    let mut world = World::new(WorkerSettings {
        connections_max: 10_000,
        ..WorkerSettings::default()
    });
    world.route("/chat", || Chat);
    let mut crowd: Vec<Client> = (0..CROWD)
        .map(|_| {
            let mut client = world.open();
            client.send_bytes(b"GET /chat HTTP/1.1\r\nHos");
            client
        })
        .collect();
    let mut refused = 0;
    assert!(world.turn_after_ms(10_200));
    loop {
        let now = world.refused("request_timeout");
        assert!(now - refused <= 256, "{} in one turn", now - refused);
        refused = now;
        if !world.turn_after_ms(0) {
            break;
        }
    }
    assert_eq!(refused, CROWD);
    world.run();
    assert!(
        crowd
            .iter_mut()
            .all(|client| client.answer().is_some_and(|a| a.status() == 408))
    );
    assert_eq!(world.connections(), 0);
}

/// Hundreds of subscribers who went at the same moment were all forgotten before anybody else was heard.
#[test]
fn who_is_still_there_goes_past_those_who_leave() {
    const LEAVING: usize = 500;
    let mut world = world(|settings| settings.session.subscriptions_max = 50);
    let mut crowd: Vec<Client> = (0..LEAVING)
        .map(|n| {
            let mut client = world.connect("/chat");
            let commands: Vec<String> = (0..50).map(|at| format!("join {n} {at}")).collect();
            client.send_texts(commands.iter().map(String::as_str));
            client
        })
        .collect();
    let mut bystander = world.connect("/chat");
    crowd.iter_mut().for_each(Client::end_only);
    assert!(world.turn_after_ms(0));
    let left = world.sessions();
    assert!(left > LEAVING - 100, "they go in slices: {left} are left");
    bystander.write_frame(true, OpCode::Text, b"and I?");
    assert!(world.turn_after_ms(0));
    let left = world.sessions();
    assert!(left > LEAVING - 200, "{left} are left");
    let heard = world.metrics().messages_sent_total;
    assert_eq!(heard, 1, "it was heard in that very turn");
    world.run();
    bystander.expect_text("and I?");
    assert_eq!((world.sessions(), world.channels()), (1, 0));
}
