//! Who is on the other side: headers of trusted proxies, the PROXY protocol, and limits that follow the client.

use std::cell::RefCell;
use std::rc::Rc;

use crate::world_with;
use dunlin::http::{ForwardedHeader, Response};
use dunlin::server::{Keys, RouteSettings, WorkerSettings};
use dunlin::sim::{Connect, World};
use dunlin::{Context, Handler, Message, Reply, Request, Upgrade};

/// Writes down where handshakes come from; a plain request is told where it comes from.
struct Door(Rc<RefCell<Vec<String>>>);

impl Handler for Door {
    fn on_upgrade(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        self.0.borrow_mut().push(request.peer.to_string());
        Upgrade::accept()
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        cx.send(message);
    }

    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Reply {
        Response::text(200, request.peer.to_string()).into()
    }
}

/// A world behind the proxies 10.0.0.0/8 and those of this machine; listener 1 wants PROXY headers.
fn house(change: impl FnOnce(&mut WorkerSettings)) -> (World, Rc<RefCell<Vec<String>>>) {
    let mut settings = WorkerSettings::default();
    settings.proxies.trusted = ["10.0.0.0/8", "loopback", "unix"]
        .map(|text| text.parse().unwrap())
        .to_vec();
    settings.proxies.listeners = vec![1];
    change(&mut settings);
    let mut world = World::new(settings);
    let seen = Rc::new(RefCell::new(Vec::new()));
    world.route("/door", || Door(seen.clone()));
    let keyed = RouteSettings {
        keys: Keys::new(["key".to_owned()]),
        ..RouteSettings::default()
    };
    world.route_with("/keyed", keyed, || Door(seen.clone()));
    (world, seen)
}

/// Through the proxy 10.0.0.1, for this client.
fn through(client: &str) -> Connect {
    Connect::to("/door")
        .from("10.0.0.1")
        .header("X-Forwarded-For", client)
}

fn get(more: &str) -> String {
    format!("GET /door HTTP/1.1\r\nHost: sim\r\n{more}\r\n")
}

/// A version 2 header for a client at 203.0.113.1:40000, with a TLV behind it.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xcb\0\x71\x01\xc6\x33\x64\x01\x9c\x40\x01\xbb\x04\0\x02ab";

#[test]
fn the_handler_sees_the_client_and_not_its_proxy() {
    let (mut world, seen) = house(|_| {});
    for (peer, list, expected) in [
        ("10.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("127.0.0.1", "198.51.100.66, 203.0.113.1", "203.0.113.1"),
        ("unix", "[2001:db8::1]:80, 10.9.9.9", "[2001:db8::1]:80"),
        ("10.0.0.1", "unknown", "10.0.0.1:40000"),
        ("10.0.0.1", "203.0.113.1, nonsense", "10.0.0.1:40000"),
        // Nobody else is believed.
        ("198.51.100.1", "203.0.113.1", "198.51.100.1:40000"),
    ] {
        let how = Connect::to("/door").from(peer);
        world.connect(how.clone().header("X-Forwarded-For", list));
        assert_eq!(seen.borrow_mut().pop().as_deref(), Some(expected), "{list}");
        let asked = get(&format!("X-Forwarded-For: {list}\r\n"));
        assert_eq!(world.request_from(&how, asked).text(), expected, "{list}");
    }
    assert_eq!(world.metrics().forwarded_malformed_total, 2);
}

#[test]
fn the_header_that_is_believed_can_be_chosen() {
    let both =
        "X-Forwarded-For: 203.0.113.1\r\nForwarded: for=\"[2001:db8::7]:4711\";proto=https\r\n";
    for (header, expected) in [
        (ForwardedHeader::XForwardedFor, "203.0.113.1"),
        (ForwardedHeader::Forwarded, "[2001:db8::7]:4711"),
        (ForwardedHeader::Off, "10.0.0.1:40000"),
    ] {
        let (mut world, _) = house(|s| s.proxies.header = header);
        let how = Connect::to("/door").from("10.0.0.1");
        assert_eq!(world.request_from(&how, get(both)).text(), expected);
    }
}

#[test]
fn each_request_on_a_proxys_connection_has_a_client_of_its_own() {
    let (mut world, _) = house(|s| s.address.connections_max = 1);
    let mut proxy = world.open_as(&through(""));
    for n in 1..=3 {
        for _ in 0..2 {
            let asked = get(&format!("X-Forwarded-For: 203.0.113.{n}\r\n"));
            proxy.send_bytes(asked.as_bytes());
            assert_eq!(proxy.answer().unwrap().text(), format!("203.0.113.{n}"));
        }
    }
    proxy.send_bytes(get("").as_bytes());
    assert_eq!(proxy.answer().unwrap().text(), "10.0.0.1:40000");
}

#[test]
fn connections_are_counted_for_the_client() {
    let (mut world, _) = house(|s| s.address.connections_max = 2);
    let mut first = world.connect(through("203.0.113.1"));
    world.connect(through("203.0.113.1"));
    let refused = world.connect_refused(through("203.0.113.1"));
    assert_eq!(refused.status(), 429);
    assert!(refused.text().contains("2 connections already"));
    assert!(refused.text().contains("`address_connections_max`"));
    assert_eq!(refused.header("Retry-After"), Some("5"));
    world.connect(through("203.0.113.2"));
    // The same client without the proxy has the same account.
    let direct = Connect::to("/door").from("203.0.113.1");
    assert_eq!(world.connect_refused(direct.clone()).status(), 429);
    first.reset();
    world.connect(direct);
    // The proxy itself, and who it does not name, is not limited.
    for _ in 0..5 {
        world.connect(through("unknown"));
        world.connect(Connect::to("/door").from("10.0.0.1"));
    }
    assert_eq!(world.refused("address_connections_max"), 2);
}

#[test]
fn a_refused_handshake_gives_its_place_back() {
    let (mut world, _) = house(|s| s.address.connections_max = 1);
    for _ in 0..5 {
        let wrong = Connect::to("/keyed?token=wrong").from("10.0.0.1");
        let refused = world.connect_refused(wrong.header("X-Forwarded-For", "203.0.113.1"));
        assert_eq!(refused.status(), 401);
        world.advance_ms(6_000);
    }
    let mut client = world.connect(through("203.0.113.1"));
    client.close(1000, "");
    world.connect(through("203.0.113.1"));
}

#[test]
fn handshakes_are_counted_for_the_client_and_told_when_to_come_back() {
    let (mut world, _) = house(|s| {
        (s.address.handshakes_per_second, s.address.handshakes_burst) = (1, 3);
    });
    for _ in 0..3 {
        world.connect(through("203.0.113.1"));
    }
    let refused = world.connect_refused(through("203.0.113.1"));
    let said = (refused.status(), refused.header("Retry-After"));
    assert_eq!(said, (429, Some("1")));
    let text = refused.text();
    assert!(text.contains("more than 1 handshakes per second"), "{text}");
    assert!(text.contains("3 of them in a row"), "{text}");
    assert!(text.contains("`address_handshakes_per_second`"), "{text}");
    world.connect(through("203.0.113.2"));
    // Whoever comes when it was told to is let in.
    world.advance_ms(1_000);
    world.connect(through("203.0.113.1"));
    let notices = world.take_notices();
    let told = notices.iter().find(|n| n.kind == "address_handshakes");
    let told = &told.unwrap().text;
    assert!(told.contains("from 203.0.113.1: 429"), "{told}");
    assert!(told.contains("more than 1 handshakes per second"), "{told}");
}

#[test]
fn failed_authentications_are_counted_for_the_client() {
    let (mut world, _) = house(|s| s.address.auth_failures_per_minute = 2);
    let guess = |world: &mut World, client: &str| {
        let asked = format!(
            "POST /keyed HTTP/1.1\r\nHost: sim\r\nX-API-Key: guess\r\nX-Forwarded-For: {client}\r\n\r\n"
        );
        let answer = world.request_from(&Connect::to("").from("10.0.0.1"), asked);
        let retry = answer.header("Retry-After").map(str::to_owned);
        (answer.status(), retry)
    };
    for _ in 0..2 {
        assert_eq!(guess(&mut world, "203.0.113.1"), (401, None));
    }
    // Two in a minute are one in thirty seconds.
    let refused = (429, Some("30".to_owned()));
    assert_eq!(guess(&mut world, "203.0.113.1"), refused);
    assert_eq!(guess(&mut world, "198.51.100.7, 203.0.113.1"), refused);
    assert_eq!(guess(&mut world, "203.0.113.2").0, 401);
    // A handshake is charged to the same account.
    let wrong = Connect::to("/keyed?token=guess").from("unix");
    let refused = world.connect_refused(wrong.header("X-Forwarded-For", "203.0.113.1"));
    assert_eq!(refused.status(), 429);
    assert!(
        refused
            .text()
            .contains("`address_auth_failures_per_minute`")
    );
    world.advance_ms(30_000);
    assert_eq!(guess(&mut world, "203.0.113.1").0, 401);
    // The proxy's own health check is not limited.
    for _ in 0..5 {
        assert_eq!(guess(&mut world, "unknown").0, 401);
    }
}

#[test]
fn a_dry_run_counts_and_tells_and_refuses_nobody() {
    let (mut world, _) = house(|s| {
        s.address.connections_max = 1;
        (s.address.handshakes_per_second, s.address.handshakes_burst) = (1, 1);
        s.address.auth_failures_per_minute = 1;
        s.address.dry_run = true;
    });
    for _ in 0..3 {
        world.connect(through("203.0.113.1"));
        world.connect(Connect::to("/door").from("198.51.100.1"));
        let wrong = Connect::to("/keyed?token=guess").from("198.51.100.2");
        assert_eq!(world.connect_refused(wrong).status(), 401);
    }
    let metrics = world.metrics();
    for (reason, times) in [
        ("address_connections_max", 4),
        ("address_handshakes", 6),
        ("auth_failures", 2),
    ] {
        assert_eq!(metrics.would_refuse(reason), times, "{reason}");
        assert_eq!(world.refused(reason), 0, "{reason}");
    }
    let page = metrics.render(&[]);
    let line = "dunlin_would_refuse_total{reason=\"auth_failures\"} 2";
    assert!(page.lines().any(|l| l == line), "{page}");
    let notices = world.take_notices();
    let told = |n: &&dunlin::server::Notice| n.text.contains("would refuse 203.0.113.1");
    assert!(notices.iter().any(|n| told(&n)), "{notices:?}");
}

#[test]
fn a_proxy_header_in_front_of_the_first_request() {
    for (header, expected) in [
        (BINARY, "203.0.113.1:40000"),
        (
            b"PROXY TCP4 203.0.113.1 198.51.100.1 40000 443\r\n",
            "203.0.113.1:40000",
        ),
        (b"PROXY TCP6 2001:db8::1 ::1 7 443\r\n", "[2001:db8::1]:7"),
        (b"PROXY UNKNOWN\r\n", "10.0.0.1:40000"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "10.0.0.1:40000"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\x02xx", "10.0.0.1:40000"),
    ] {
        for cut in [1, 7, 1000] {
            let (mut world, seen) = house(|_| {});
            let how = Connect::to("/door").from("10.0.0.1").listener(1);
            let how = how.introduced_by(header);
            assert_eq!(world.request_from(&how, get("")).text(), expected);
            let mut client = world.connect(how.cut_into(cut).then_text("first"));
            client.expect_text("first");
            assert_eq!(seen.borrow_mut().pop().as_deref(), Some(expected));
        }
    }
}

#[test]
fn a_unix_socket_is_local_only_to_this_machines_proxy() {
    let header = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8"[..], &[b'x'; 216]].concat();
    for (proxy, expected) in [
        ("unix", "unix"),
        ("127.0.0.1", "unix"),
        ("10.0.0.1", "10.0.0.1:40000"),
    ] {
        let (mut world, _) = house(|_| {});
        let how = Connect::to("/door").from(proxy).listener(1);
        let answer = world.request_from(&how.introduced_by(&header), get(""));
        assert_eq!(answer.text(), expected, "{proxy}");
    }
}

#[test]
fn behind_a_proxy_header_only_another_proxy_is_believed() {
    let (mut world, _) = house(|_| {});
    let asked = get("X-Forwarded-For: 203.0.113.66\r\n");
    let how = Connect::to("/door").from("10.0.0.1").listener(1);
    let client = how.clone().introduced_by(BINARY);
    assert_eq!(
        world.request_from(&client, &asked).text(),
        "203.0.113.1:40000"
    );
    let inner = how.introduced_by(b"PROXY TCP4 10.0.0.2 198.51.100.1 40000 443\r\n");
    assert_eq!(world.request_from(&inner, &asked).text(), "203.0.113.66");
}

#[test]
fn limits_follow_the_client_of_a_proxy_header() {
    let (mut world, _) = house(|s| s.address.connections_max = 1);
    let how = Connect::to("/door").from("10.0.0.1").listener(1);
    let how = how.introduced_by(BINARY);
    let mut first = world.connect(how.clone());
    let refused = world.connect_refused(how.clone());
    assert_eq!(refused.status(), 429);
    first.reset();
    world.connect(how);
    assert_eq!(world.refused("address_connections_max"), 1);
}

#[test]
fn who_is_no_trusted_proxy_is_closed_on_a_proxy_listener() {
    let (mut world, _) = house(|_| {});
    let mut stranger = world.open_as(&Connect::to("/").from("203.0.113.9").listener(1));
    stranger.send_bytes(BINARY);
    assert!(stranger.is_over() && stranger.answer().is_none());
    assert_eq!(world.refused("proxy_protocol_peer"), 1);
    assert_eq!(world.connections(), 0);
    let notices = world.take_notices();
    let told = &notices.last().unwrap().text;
    assert!(told.contains("203.0.113.9") && told.contains("`trusted_proxies`"));
    // On the other listener it is a client like any other.
    world.connect(Connect::to("/door").from("203.0.113.9"));
}

#[test]
fn what_is_no_proxy_header_is_closed_without_an_answer() {
    for (bytes, reason) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "proxy_header_missing"),
        (b"PROXY TCP9 a b 1 2\r\n", "proxy_header_line"),
        (b"\r\n\r\n\0\r\nQUIT\n\x31", "proxy_header_version"),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            "proxy_header_too_long",
        ),
    ] {
        let (mut world, _) = house(|_| {});
        let mut proxy = world.open_as(&Connect::to("/").from("10.0.0.1").listener(1));
        proxy.send_bytes(bytes);
        assert!(proxy.is_over() && proxy.answer().is_none(), "{reason}");
        assert_eq!(world.refused(reason), 1, "{reason}");
        assert_eq!(world.connections(), 0);
    }
    // Where none is expected, a PROXY header is a bad request.
    let (mut world, _) = house(|_| {});
    let how = Connect::to("/door").from("10.0.0.1").introduced_by(BINARY);
    assert_eq!(world.request_from(&how, get("")).status(), 400);
}

#[test]
fn a_proxy_header_and_the_head_have_one_deadline() {
    let (mut world, _) = house(|s| s.handshake_timeout_ms = 10_000);
    let how = Connect::to("/").from("10.0.0.1").listener(1);
    let mut silent = world.open_as(&how);
    let mut half = world.open_as(&how);
    half.send_bytes(&BINARY[..20]);
    let mut late = world.open_as(&how);
    world.advance_ms(9_000);
    late.send_bytes(BINARY);
    late.send_bytes(b"GET /door HT");
    assert!(!silent.is_over() && !half.is_over() && !late.is_over());
    world.advance_ms(1_200);
    assert!(silent.is_over() && silent.answer().is_none());
    assert!(half.is_over() && half.answer().is_none());
    assert_eq!(late.answer().unwrap().status(), 408);
    assert_eq!(world.refused("proxy_header_timeout"), 1);
}

#[test]
fn a_drain_ends_proxies_that_have_not_spoken() {
    let (mut world, _) = house(|_| {});
    let silent = world.open_as(&Connect::to("/").from("10.0.0.1").listener(1));
    world.drain();
    assert!(silent.is_over() && world.connections() == 0);
}

#[test]
fn limits_of_a_handler_are_told_to_the_log() {
    struct Full;
    impl Handler for Full {
        fn on_upgrade(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
            let status = request.query("status").unwrap().parse().unwrap();
            Upgrade::refuse(status, "all 3 seats are taken (setting `seats`)")
        }
        fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
    }
    let mut world = World::new(WorkerSettings::default());
    world.route("/full", || Full);
    for (status, told) in [(503, true), (429, true), (403, false)] {
        let target = format!("/full?status={status}");
        assert_eq!(world.connect_refused(&target[..]).status(), status);
        let text = world.take_notices().pop().unwrap().text;
        assert_eq!(text.contains("setting `seats`"), told, "{text}");
    }
}

#[test]
fn refusals_of_the_whole_server_name_their_setting() {
    let mut world = world_with(|s| s.connections_max = 1, |_| {});
    world.connect("/app");
    let refused = world.connect_refused("/app");
    assert_eq!(refused.header("Retry-After"), Some("5"));
    let text = refused.text();
    assert!(text.contains("1 connections already (setting `connections_max`)"));
    let notices = world.take_notices();
    let told = &notices.last().unwrap().text;
    assert!(
        told.contains("503") && told.contains("`connections_max`"),
        "{told}"
    );

    let mut world = world_with(|s| s.drain_timeout_ms = 7_000, |_| {});
    let mut waiting = world.open();
    waiting.send_bytes(b"GET /app HTTP/1.1\r\n");
    world.drain();
    waiting.send_bytes(
        b"Host: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    );
    let refused = waiting.answer().unwrap();
    assert_eq!(refused.header("Retry-After"), Some("1"));
    assert!(
        refused
            .text()
            .contains("within 7000 ms (setting `drain_timeout_ms`)")
    );
}
