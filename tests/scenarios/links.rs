//! Links to other servers: made, used, lost, given up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use dunlin::hub::{ConnId, Dial, LinkEnd, LinkEvent, LinkId, LinkTarget};
use dunlin::server::WorkerSettings;
use dunlin::sim::{Client, NodeHandle, Received, World};
use dunlin::{CloseInfo, Context, Handler, Message};

/// A link for each client: what the client says goes there, what comes back goes to the client.
struct Relay {
    dial: Dial,
    links: HashMap<LinkId, ConnId>,
    diary: Rc<RefCell<Vec<String>>>,
    /// It pauses behind each message, until the client wants the next one.
    one_by_one: bool,
}

impl Relay {
    fn of(&self, client: Option<ConnId>) -> Option<LinkId> {
        let found = self.links.iter().find(|(_, c)| Some(**c) == client);
        found.map(|(link, _)| *link)
    }
}

impl Handler for Relay {
    fn on_open(&mut self, cx: &mut Context<'_>) {
        let link = cx.dial(self.dial.clone());
        self.links.insert(link, cx.id().unwrap());
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Some(link) = self.of(cx.id()) else {
            cx.send_text("no link");
            return;
        };
        if message == Message::Text("enough") {
            cx.link_close(link);
        } else if message == Message::Text("one by one") {
            self.one_by_one = true;
        } else if message == Message::Text("next") {
            cx.link_pause(link, false);
        } else if message == Message::Text("tell me") {
            cx.send(Message::Binary(&[0; 1000]));
            assert!(cx.id().is_some_and(|id| cx.tell_when_drained(id)));
            cx.send_text("told later");
        } else if !cx.link_send(link, message) {
            cx.send_text("not sent");
        }
    }

    fn on_drained(&mut self, cx: &mut Context<'_>) {
        assert_eq!(cx.buffered(), 0);
        self.diary.borrow_mut().push("drained".to_owned());
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
        if let Some(link) = self.of(cx.id()) {
            cx.link_close(link);
        }
    }

    fn on_link(&mut self, cx: &mut Context<'_>, link: LinkId, event: LinkEvent<'_>) {
        let client = self.links.get(&link).copied().unwrap();
        let text = match event {
            LinkEvent::Open => "open".to_owned(),
            LinkEvent::Message(message) => {
                cx.link_pause(link, self.one_by_one);
                format!("got {}", String::from_utf8_lossy(message.as_bytes()))
            }
            LinkEvent::Closed(end) => {
                self.links.remove(&link);
                end.name().to_owned()
            }
        };
        self.diary.borrow_mut().push(text.clone());
        cx.send_to(client, Message::Text(&text));
    }
}

struct House {
    world: World,
    node: NodeHandle,
    diary: Rc<RefCell<Vec<String>>>,
}

fn house(target: LinkTarget, change: impl FnOnce(&mut Dial)) -> House {
    let mut world = World::new(WorkerSettings::default());
    let mut dial = Dial::new(Rc::new(target));
    change(&mut dial);
    let diary = Rc::new(RefCell::new(Vec::new()));
    let relay = Relay {
        dial,
        links: HashMap::new(),
        diary: diary.clone(),
        one_by_one: false,
    };
    world.route("/", || relay);
    let node = world.node();
    House { world, node, diary }
}

fn websocket() -> LinkTarget {
    LinkTarget::WebSocket("http://node:8546/eth?x=1".parse().unwrap())
}

fn values() -> LinkTarget {
    LinkTarget::Values("/run/node.ipc".to_owned())
}

fn texts(client: &mut Client) -> Vec<String> {
    client.texts()
}

fn heard(node: &NodeHandle) -> Vec<String> {
    let all = node.heard().into_iter();
    all.map(|received| match received {
        Received::Text(text) => text,
        other => format!("{other:?}"),
    })
    .collect()
}

fn leaves_nothing(mut house: House, mut client: Client) {
    client.reset();
    house.world.advance_ms(60_000);
    house.world.check_invariants();
    assert_eq!(house.world.connections(), 0);
    assert_eq!(house.world.used_bytes(), 0);
}

#[test]
fn messages_go_both_ways() {
    for target in [websocket(), values()] {
        let mut house = house(target.clone(), |_| {});
        house.node.behave(|text| vec![format!("[{text}]")]);
        let mut client = house.world.connect("/");
        assert_eq!(texts(&mut client), ["open"], "{target}");
        client.send_text("1 ");
        client.send_text("{\"a\":[2]}");
        let sent = if matches!(target, LinkTarget::WebSocket(_)) {
            "1 "
        } else {
            "1"
        };
        let expected = [format!("got [{sent}]"), "got [{\"a\":[2]}]".to_owned()];
        assert_eq!(texts(&mut client), expected);
        house.node.say("\"by itself\"");
        assert_eq!(texts(&mut client), ["got \"by itself\""]);
        house.world.check_invariants();
        client.send_text("enough");
        assert_eq!(texts(&mut client), ["link_ended"]);
        assert_eq!(house.node.connections(), 0);
        leaves_nothing(house, client);
    }
}

#[test]
fn et_16_two_in_one_read_and_one_in_two() {
    let mut house = house(values(), |_| {});
    let mut client = house.world.connect("/");
    house.node.say_bytes(b"{\"id\":1}{\"id\":2}\n[3");
    assert_eq!(
        texts(&mut client),
        ["open", "got {\"id\":1}", "got {\"id\":2}"]
    );
    house.node.say_bytes(b",\"}\"] ");
    assert_eq!(texts(&mut client), ["got [3,\"}\"]"]);
    house.node.cut(1);
    house.node.say_bytes(b" {\"id\":\"4\\\"\"} 5 ");
    assert_eq!(texts(&mut client), ["got {\"id\":\"4\\\"\"}", "got 5"]);
    leaves_nothing(house, client);
}

#[test]
fn a_websocket_byte_by_byte() {
    let mut house = house(websocket(), |_| {});
    house.node.cut(1);
    house.node.behave(|text| vec![text.repeat(200)]);
    let mut client = house.world.connect("/");
    client.send_text("ab");
    assert_eq!(
        texts(&mut client),
        ["open".to_owned(), format!("got {}", "ab".repeat(200))]
    );
    leaves_nothing(house, client);
}

#[test]
fn why_there_is_no_link_is_told_once() {
    // Nobody listens, known at once or later.
    for ms in [0, 700] {
        let mut house = house(websocket(), |_| {});
        house.node.down();
        house.node.connect_ms(ms);
        let mut client = house.world.connect("/");
        house.world.advance_ms(ms);
        assert_eq!(texts(&mut client), ["link_unreachable"]);
        leaves_nothing(house, client);
    }
    // Another status.
    let mut refused = house(websocket(), |_| {});
    refused.node.refuse(Some(403));
    let mut client = refused.world.connect("/");
    assert_eq!(texts(&mut client), ["link_refused"]);
    leaves_nothing(refused, client);
    // No answer to the handshake.
    let mut silent = house(websocket(), |dial| dial.connect_timeout_ms = 2_000);
    silent.node.silent(true);
    let mut client = silent.world.connect("/");
    silent.world.advance_ms(1_000);
    assert_eq!(texts(&mut client), [""; 0]);
    silent.world.advance_ms(1_300);
    assert_eq!(texts(&mut client), ["link_connect_timeout"]);
    leaves_nothing(silent, client);
    // No WebSocket server.
    let mut other = house(websocket(), |_| {});
    let mut client = other.world.connect("/");
    other.node.say_bytes(b"\x81\x01"); // then nothing of that length
    other.node.say_bytes(b"\xff");
    assert_eq!(texts(&mut client), ["open", "link_protocol"]);
    assert_eq!(heard(&other.node), ["Close(1007, \"\")"]);
    leaves_nothing(other, client);
}

#[test]
fn a_link_that_ends_is_told_once() {
    let mut house = house(websocket(), |_| {});
    let mut client = house.world.connect("/");
    house.node.close(1012);
    assert_eq!(texts(&mut client), ["open", "link_closed"]);
    client.send_text("hello?");
    assert_eq!(texts(&mut client), ["no link"]);
    for end in [NodeHandle::hang_up, NodeHandle::down] {
        let mut client = house.world.connect("/");
        end(&house.node);
        assert_eq!(texts(&mut client), ["open", "link_broken"]);
        client.reset();
    }
    assert_eq!(house.world.refused("link_broken"), 2);
    assert_eq!(house.world.metrics().links_total, 3);
    let counted = house
        .diary
        .borrow()
        .iter()
        .filter(|t| t.starts_with("link_"))
        .count();
    assert_eq!(counted, 3);
    leaves_nothing(house, client);
}

#[test]
fn a_silent_link_is_pinged_and_given_up() {
    let mut house = house(websocket(), |dial| {
        dial.ping_after_ms = 30_000;
        dial.ping_grace_ms = 10_000;
    });
    let mut client = house.world.connect("/");
    house.world.advance_ms(100_000);
    let pings = house.node.pings();
    assert!((2..=4).contains(&pings), "{pings}");
    assert_eq!(texts(&mut client), ["open"], "they were answered");
    house.node.silent(true);
    house.world.advance_ms(42_500);
    assert_eq!(texts(&mut client), ["link_ping_timeout"]);
    leaves_nothing(house, client);
}

#[test]
fn more_than_may_wait_or_come_is_refused() {
    let mut house = house(websocket(), |dial| {
        dial.output_bytes_max = 100_000;
        dial.message_bytes_max = 1_000;
    });
    house.node.connect_ms(1_000);
    let mut client = house.world.connect("/");
    client.send_text("early");
    assert_eq!(texts(&mut client), ["not sent"], "it is not open yet");
    house.world.advance_ms(1_000);
    assert_eq!(texts(&mut client), ["open"]);
    house.node.say(&"x".repeat(1_000));
    assert_eq!(texts(&mut client).len(), 1);
    house.node.say(&"x".repeat(1_001));
    assert_eq!(texts(&mut client), ["link_protocol"]);
    assert_eq!(heard(&house.node), ["Close(1009, \"\")"]);
    leaves_nothing(house, client);
}

#[test]
fn a_client_that_goes_takes_its_link_with_it() {
    let mut house = house(websocket(), |_| {});
    let mut client = house.world.connect("/");
    client.send_text("last words");
    client.close(1000, "");
    assert_eq!(heard(&house.node), ["last words", "Close(1000, \"\")"]);
    assert_eq!(house.node.connections(), 0);
    // … also while it is being made.
    house.node.connect_ms(1_000);
    let mut early = house.world.connect("/");
    early.close(1000, "");
    house.world.advance_ms(2_000);
    let diary = house.diary.borrow().clone();
    assert_eq!(diary, ["open", "link_ended", "link_ended"]);
    assert_eq!(house.world.refused_total(), 0);
    leaves_nothing(house, client);
}

#[test]
fn a_drain_does_not_wait_for_links() {
    let mut house = house(websocket(), |_| {});
    let mut client = house.world.connect("/");
    house.world.drain();
    house.world.advance_ms(100);
    assert!(house.world.is_drained());
    assert_eq!(texts(&mut client)[0], "open");
    assert_eq!(LinkEnd::Ours.name(), "link_ended");
}

#[test]
fn a_paused_link_says_nothing_more_until_it_is_wanted() {
    for target in [websocket(), values()] {
        let mut house = house(target.clone(), |_| {});
        let mut client = house.world.connect("/");
        assert_eq!(texts(&mut client), ["open"], "{target}");
        client.send_text("one by one");
        client.send_text("enter");
        assert!(texts(&mut client).is_empty());
        for text in ["1", "2", "3"] {
            house.node.say(text);
        }
        assert_eq!(texts(&mut client), ["got 1"], "{target}");
        // However long that takes: it is we who do not listen.
        house.world.advance_ms(120_000);
        assert!(texts(&mut client).is_empty(), "{target}");
        for text in ["got 2", "got 3"] {
            client.send_text("next");
            assert_eq!(texts(&mut client), [text], "{target}");
        }
        // One that is left is heard to its end, and nobody waits for it.
        house.node.say("4");
        client.send_text("enough");
        assert_eq!(
            texts(&mut client).last().map(String::as_str),
            Some("link_ended")
        );
        leaves_nothing(house, client);
    }
}

#[test]
fn a_handler_is_told_once_when_nothing_waits_any_more() {
    let mut house = house(websocket(), |_| {});
    let mut client = house.world.connect("/");
    assert_eq!(texts(&mut client), ["open"]);
    let drained = |house: &House| {
        let diary = house.diary.borrow();
        diary.iter().filter(|line| *line == "drained").count()
    };
    // Nothing waits for it: that is told as well.
    client.send_text("tell me");
    house.world.advance_ms(100);
    assert_eq!(drained(&house), 1);
    client.stop_reading();
    for _ in 0..200 {
        client.send_text("tell me");
    }
    house.world.advance_ms(100);
    let before = drained(&house);
    client.send_text("tell me");
    house.world.advance_ms(100);
    assert_eq!(drained(&house), before, "it does not read");
    client.resume_reading();
    house.world.advance_ms(100);
    assert_eq!(drained(&house), before + 1);
    leaves_nothing(house, client);
}
