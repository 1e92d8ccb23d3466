//! What a user of the library may rely on.

use dunlin::http::Response;
use dunlin::server::WorkerSettings;
use dunlin::sim::{Chooser, Connect, World};
use dunlin::ws::OpCode;
use dunlin::{CloseInfo, Context, Handler, Initiator, Locals, Message, Reply, Request, Upgrade};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Open,
    Message,
    Close(u16, bool),
}

type Calls = Rc<RefCell<HashMap<u32, Vec<Call>>>>;

struct Recorder {
    calls: Calls,
    numbers: Locals<u32>,
}

impl Recorder {
    fn note(&self, cx: &Context<'_>, call: Call) {
        let number = *self.numbers.get(cx).unwrap();
        self.calls
            .borrow_mut()
            .entry(number)
            .or_default()
            .push(call);
    }
}

impl Handler for Recorder {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        let number = request.param_as("n").unwrap();
        assert!(self.numbers.insert(cx, number).is_none());
        Upgrade::accept()
    }
    fn on_open(&mut self, cx: &mut Context<'_>) {
        self.note(cx, Call::Open);
        cx.subscribe("all").unwrap();
    }
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        self.note(cx, Call::Message);
        cx.publish("all", message).unwrap();
    }
    fn on_close(&mut self, cx: &mut Context<'_>, close: CloseInfo<'_>) {
        assert!(!cx.send_text("too late"));
        self.note(
            cx,
            Call::Close(close.code.0, close.initiator == Initiator::Peer),
        );
        self.numbers.remove(cx);
    }
}

#[test]
fn lib_2_open_messages_one_close_over_1000_random_disconnects() {
    let calls = Calls::default();
    let mut world = World::new(WorkerSettings::default());
    let recorder = Recorder {
        calls: calls.clone(),
        numbers: Locals::default(),
    };
    let route = dunlin::server::RouteSettings {
        messages_per_second: 0,
        ..Default::default()
    };
    world.route_with("/{n}", route, || recorder);
    let mut chooser = Chooser::from_seed(2);
    let mut here = Vec::new();
    for n in 0..1000_u32 {
        here.push((n, world.connect(format!("/{n}").as_str()), 0_usize));
        let at = chooser.index(here.len());
        let (_, talker, said) = &mut here[at];
        talker.send_text("hello");
        *said += 1;
        if here.len() > 20 || n == 999 {
            let leave = if n == 999 { here.len() } else { 1 };
            for _ in 0..leave {
                let (number, mut client, said) = here.swap_remove(chooser.index(here.len()));
                let expected = match chooser.index(6) {
                    0 => {
                        client.close(3000, "");
                        Call::Close(3000, true)
                    }
                    1 => {
                        client.half_close();
                        Call::Close(1006, true)
                    }
                    2 => {
                        client.send_bytes(b"\x81\x05hello");
                        Call::Close(1002, false)
                    }
                    3 => {
                        client.write_frame(true, OpCode::Close, b"");
                        client.reset();
                        Call::Close(1006, true)
                    }
                    4 => {
                        client.close(1005, "");
                        Call::Close(1005, true)
                    }
                    _ => {
                        client.reset();
                        Call::Close(1006, true)
                    }
                };
                let calls = &calls.borrow()[&number];
                assert_eq!(calls.len(), said + 2);
                assert_eq!(calls[0], Call::Open);
                assert!(calls[1..=said].iter().all(|c| *c == Call::Message));
                assert_eq!(calls[said + 1], expected);
            }
        }
    }
    assert_eq!(
        (world.sessions(), world.channels(), world.connections()),
        (0, 0, 0)
    );
    assert_eq!(calls.borrow().len(), 1000);
}

#[test]
fn lib_4_a_handshake_is_refused_with_status_headers_and_body_of_its_own() {
    struct Door;
    impl Handler for Door {
        fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
            cx.subscribe("inside").unwrap();
            cx.send_text("never seen");
            if request.header("X-Ticket") == Some("valid") {
                let mut accept = dunlin::Accept::default();
                accept.headers.push(("X-Seat".into(), "12".into()));
                return Upgrade::Accept(accept);
            }
            Upgrade::Refuse(Response::text(402, "buy a ticket").header("X-Price", "3"))
        }
        fn on_open(&mut self, cx: &mut Context<'_>) {
            cx.send_text("welcome");
        }
        fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
        fn on_close(&mut self, _: &mut Context<'_>, close: CloseInfo<'_>) {
            assert_eq!(close.code.0, 1000, "nobody was refused in on_close");
        }
    }
    let mut world = World::new(WorkerSettings::default());
    world.route("/", || Door);
    let refused = world.connect_refused("/");
    assert_eq!(refused.status(), 402);
    assert_eq!(refused.header("X-Price"), Some("3"));
    assert_eq!(refused.text(), "buy a ticket");
    assert_eq!(
        (world.sessions(), world.channels(), world.queued_bytes()),
        (0, 0, 0)
    );
    let mut inside = world.connect(Connect::to("/").header("X-Ticket", "valid"));
    inside.expect_text("never seen");
    inside.expect_text("welcome");
    inside.close(1000, "");
    assert_eq!(world.channels(), 0);
}

#[test]
fn lib_5_state_belongs_to_one_connection() {
    #[derive(Default)]
    struct Counter {
        seen: Locals<u64>,
    }
    impl Handler for Counter {
        fn on_open(&mut self, cx: &mut Context<'_>) {
            assert!(self.seen.insert(cx, 0).is_none(), "a slot was not cleaned");
        }
        fn on_message(&mut self, cx: &mut Context<'_>, _: Message<'_>) {
            let seen = self.seen.get_mut(cx).unwrap();
            *seen += 1;
            let text = seen.to_string();
            cx.send_text(&text);
        }
        fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
            assert!(self.seen.remove(cx).is_some());
        }
        fn on_request(&mut self, _: &mut Context<'_>, _: &Request<'_>) -> Reply {
            Reply::Now(Response::text(200, self.seen.len().to_string()))
        }
    }
    let mut world = World::new(WorkerSettings::default());
    world.route("/", Counter::default);
    let mut a = world.connect("/");
    let mut b = world.connect("/");
    a.send_texts(["", "", ""]);
    b.send_text("");
    assert_eq!(a.texts(), ["1", "2", "3"]);
    assert_eq!(b.texts(), ["1"]);
    a.reset();
    let mut c = world.connect("/");
    c.send_text("");
    b.send_text("");
    assert_eq!(
        (c.texts(), b.texts()),
        (vec!["1".to_owned()], vec!["2".to_owned()])
    );
    let count = world.request("GET / HTTP/1.1\r\nHost: sim\r\n\r\n").text();
    assert_eq!(count, "2");
}

#[test]
fn lib_6_a_long_text_in_fragments_with_a_ping_between() {
    let mut world = crate::world();
    let mut client = world.connect("/app");
    // As cocos2d-x sends 200,000 bytes: a first frame of 65,536 and continuations.
    let text: String = ('a'..='z').cycle().take(200_000).collect();
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(65_536).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let opcode = if at == 0 {
            OpCode::Text
        } else {
            OpCode::Continuation
        };
        client.send_frame(at + 1 == pieces.len(), opcode, piece);
        if at == 1 {
            client.ping(b"between");
        }
    }
    assert_eq!(client.pongs(), [b"between"]);
    client.expect_text(&text);
    assert_eq!(client.next(), None);
}

#[test]
fn hl_1_whatever_is_sent_comes_back_as_it_was() {
    let mut world = crate::world();
    for cut in [1, 1000, 1 << 20] {
        let mut client = world.connect("/app");
        client.cut_into(cut);
        client.send_text("text");
        client.expect_text("text");
        client.send_binary(b"plain ascii");
        client.expect_binary(b"plain ascii");
        client.send_binary(b"\xFF\0");
        client.expect_binary(b"\xFF\0");
        client.send_text("");
        client.expect_text("");
        client.send_binary(b"");
        client.expect_binary(b"");
        let long = "\u{e9}".repeat(35_000);
        client.send_text(&long);
        client.expect_text(&long);
    }
}

#[test]
fn hl_7_a_member_that_does_not_read_is_dropped_and_the_others_hear_on() {
    let mut world = World::new(WorkerSettings::default());
    let route = dunlin::server::RouteSettings {
        messages_per_second: 0,
        ..Default::default()
    };
    world.route_with("/chat", route, || crate::App);
    let mut members: Vec<_> = (0..3).map(|_| world.connect("/chat")).collect();
    for member in &mut members {
        member.send_text("join room");
    }
    members[2].stop_reading();
    members[2].window(1);
    for n in 0..1_100 {
        members[0].send_text(&format!("pub room {n}"));
    }
    assert_eq!(members[0].texts().len(), 1_100);
    assert_eq!(members[1].texts().len(), 1_100);
    assert_eq!(world.refused("slow_consumer"), 1);
    world.advance_ms(5_500);
    assert_eq!(world.sessions(), 2);
}

/// Publishes something that is called what it is told, and says what became of it.
struct Caller;

impl Handler for Caller {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Message::Text(name) = message else { return };
        let published = cx.publish_event("room", Some(name), Message::Text("x"));
        let answer = published.map_or_else(|why| why.to_string(), |_| "published".into());
        cx.send_text(&answer);
    }
}

/// A name with a line feed would be a line of its own in a stream of events: whoever says it could say what others read.
#[test]
fn a_publication_is_not_called_what_a_stream_cannot_hold() {
    let mut world = World::new(WorkerSettings::default());
    world.route("/call", || Caller);
    let mut client = world.connect("/call");
    let long = "x".repeat(65);
    for (name, answer) in [
        ("goal", "published"),
        (
            "a\n\ndata: b",
            "the name of an event has no control characters",
        ),
        (&long, "the name of an event has 1 to 64 bytes"),
        (
            "gap",
            "the server itself says `gap` and `close`: call the event something else",
        ),
    ] {
        client.send_text(name);
        client.expect_text(answer);
    }
}
