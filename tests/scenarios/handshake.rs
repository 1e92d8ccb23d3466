//! RFC 6455 §4, end to end: what arrives at the socket, what goes out of it.

use crate::{App, world, world_with};
use dunlin::server::{Keys, Origins, RouteSettings, WorkerSettings};
use dunlin::sim::{Connect, World};
use dunlin::ws::Subprotocols;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// An upgrade request with these lines instead of, or beside, the usual ones.
fn request(lines: &[&str]) -> String {
    let mut all = String::from("GET /app HTTP/1.1\r\n");
    for line in lines {
        all += &format!("{line}\r\n");
    }
    all + "\r\n"
}

fn usual() -> Vec<&'static str> {
    vec![
        "Host: sim",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
}

/// The first bytes that come back.
fn status_of(world: &mut World, request: &str) -> u16 {
    let mut client = world.open();
    client.expect_upgrade_with(KEY);
    client.send_bytes(request.as_bytes());
    let answer = client.answer().unwrap();
    assert_eq!(client.complaint(), None);
    assert_eq!(
        answer.status() == 101,
        !client.is_over(),
        "a refusal closes"
    );
    answer.status()
}

#[test]
fn the_example_of_section_1_2() {
    let mut world = world();
    let mut client = world.open();
    client.expect_upgrade_with(KEY);
    client.send_bytes(request(&usual()).as_bytes());
    let answer = client.answer().unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(
        answer.header("Sec-WebSocket-Accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(answer.header("Upgrade"), Some("websocket"));
    assert_eq!(answer.header("Connection"), Some("Upgrade"));
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), None);
}

#[test]
fn header_case_order_and_white_space() {
    let mut lines = usual();
    lines.reverse();
    assert_eq!(status_of(&mut world(), &request(&lines)), 101);
    let lower: Vec<String> = usual()
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let value = if name.ends_with("Key") {
                value.to_owned()
            } else {
                value.to_uppercase()
            };
            format!("{}:  \t{value} ", name.to_lowercase())
        })
        .collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    assert_eq!(status_of(&mut world(), &request(&lower)), 101);
    let mut firefox = usual();
    firefox[2] = "Connection: keep-alive, Upgrade";
    assert_eq!(status_of(&mut world(), &request(&firefox)), 101);
}

#[test]
fn byte_by_byte_and_with_frames_directly_behind() {
    for cut in [1, 2, 3, 7, 1 << 20] {
        let mut world = world();
        let mut client = world.connect(Connect::to("/app").cut_into(cut).then_text("first"));
        client.expect_text("first");
        client.send_text("second");
        client.expect_text("second");
    }
}

#[test]
fn eight_kib_of_cookies_fit_and_one_byte_more_does_not() {
    let mut lines = usual();
    let room = 8192 - request(&usual()).len() - "Cookie: \r\n".len();
    let cookie = format!("Cookie: {}", "c".repeat(room));
    lines.push(&cookie);
    assert_eq!(request(&lines).len(), 8192);
    assert_eq!(status_of(&mut world(), &request(&lines)), 101);
    let cookie = format!("Cookie: {}", "c".repeat(room + 1));
    lines.pop();
    lines.push(&cookie);
    assert_eq!(status_of(&mut world(), &request(&lines)), 431);
}

#[test]
fn what_is_refused_with_which_status() {
    let replaced = |at: usize, line: &'static str| {
        let mut lines = usual();
        lines[at] = line;
        request(&lines)
    };
    let beside = |line: &'static str| {
        let mut lines = usual();
        lines.push(line);
        request(&lines)
    };
    for (status, request) in [
        (426, replaced(3, "Sec-WebSocket-Version: 8")),
        (400, replaced(4, "Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1")),
        (400, replaced(0, "X-Host: sim")),
        (400, beside("Host: sim")),
        (400, beside("Content-Length: 5")),
        (400, beside("Transfer-Encoding: chunked")),
        (400, beside("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")),
        (400, beside(" folded")),
        (405, request(&usual()).replace("GET", "POST")),
        (404, request(&usual()).replace("/app", "/else")),
        (505, request(&usual()).replace("HTTP/1.1", "HTTP/1.0")),
        (505, request(&usual()).replace("HTTP/1.1", "HTTP/2.0")),
        (400, request(&usual()).replace("\r\n", "\n")),
    ] {
        assert_eq!(status_of(&mut world(), &request), status, "{request}");
    }
}

#[test]
fn a_wrong_version_is_told_the_right_one() {
    let mut world = world();
    let mut lines = usual();
    lines[3] = "Sec-WebSocket-Version: 7";
    let answer = world.request(request(&lines));
    assert_eq!(answer.header("Sec-WebSocket-Version"), Some("13"));
}

#[test]
fn extensions_are_ignored() {
    let mut world = world();
    let offer = Connect::to("/app").header(
        "Sec-WebSocket-Extensions",
        "permessage-deflate, x-unheard-of; a=1",
    );
    let mut client = world.connect(offer);
    client.send_text("plain");
    client.expect_text("plain");
}

#[test]
fn lib_8_subprotocols_by_policy() {
    let list = |names: &[&str]| Subprotocols::List(names.iter().map(|n| (*n).to_owned()).collect());
    for (policy, chosen) in [
        (list(&["b", "a"]), Some("b")),
        (list(&["c", "a"]), Some("a")),
        (list(&["c"]), None),
        (Subprotocols::EchoFirst, Some("a")),
        (Subprotocols::None, None),
    ] {
        let mut world = world_with(|_| {}, |s| s.subprotocols = policy.clone());
        let client = world.connect(Connect::to("/app").protocol("a").protocol("b"));
        assert_eq!(client.subprotocol().as_deref(), chosen, "{policy:?}");
        // One that was not offered is never chosen.
        assert_eq!(world.connect("/app").subprotocol(), None, "{policy:?}");
    }
}

#[test]
fn origins_and_keys() {
    let mut world = World::new(WorkerSettings::default());
    let pages = RouteSettings {
        origins: Origins::List(vec!["https://example.org".to_owned()]),
        ..RouteSettings::default()
    };
    world.route_with("/pages", pages, App::default);
    let keys = RouteSettings {
        keys: Keys::new(["open sesame".to_owned()]),
        ..RouteSettings::default()
    };
    world.route_with("/keys", keys, App::default);
    world.connect("/pages");
    world.connect(Connect::to("/pages").header("Origin", "https://example.org"));
    let refused =
        world.connect_refused(Connect::to("/pages").header("Origin", "https://evil.example"));
    assert_eq!(refused.status(), 403);
    assert_eq!(world.connect_refused("/keys").status(), 401);
    assert_eq!(world.connect_refused("/keys?token=wrong").status(), 401);
    world.connect("/keys?token=open%20sesame");
    world.connect(Connect::to("/keys").header("Authorization", "Bearer open sesame"));
}

#[test]
fn nothing_of_a_request_comes_back_in_a_refusal() {
    let mut world = world();
    let refused = world
        .connect_refused(Connect::to("/secret-path?token=secret").header("X-Secret", "secret"));
    assert_eq!(refused.status(), 404);
    assert!(!refused.text().contains("secret"));
    assert!(
        refused
            .head()
            .headers()
            .all(|(_, v)| !v.windows(6).any(|w| w == b"secret"))
    );
}
