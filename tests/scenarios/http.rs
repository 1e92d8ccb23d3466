//! Plain HTTP: what a route answers, in order, now or later.

use crate::{world, world_with};

fn get(query: &str) -> String {
    format!("GET /app{query} HTTP/1.1\r\nHost: sim\r\n\r\n")
}

#[test]
fn keep_alive_and_close() {
    let mut world = world();
    let mut client = world.open();
    for _ in 0..3 {
        client.send_bytes(get("").as_bytes());
        let answer = client.answer().unwrap();
        assert_eq!((answer.status(), answer.header("Connection")), (200, None));
    }
    client.send_bytes(b"GET /app HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().unwrap().header("Connection"), Some("close"));
    assert!(client.is_ended() && !client.is_reset());
    let old = world.request("GET /app HTTP/1.0\r\n\r\n");
    assert_eq!(old.header("Connection"), Some("close"));
    assert_eq!(world.connections(), 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for cut in [1, 10, 1 << 20] {
        let mut world = world();
        let mut client = world.open();
        client.cut_into(cut);
        let mut all = String::new();
        for n in 0..20 {
            let body = "b".repeat(n);
            all += &if n % 2 == 0 {
                format!("POST /app HTTP/1.1\r\nHost: sim\r\nContent-Length: {n}\r\n\r\n{body}")
            } else {
                format!(
                    "POST /app HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n{n:x}\r\n{body}\r\n0\r\n\r\n"
                )
            };
        }
        client.send_bytes(all.as_bytes());
        for n in 0..20 {
            assert_eq!(client.answer().unwrap().body().len(), n);
        }
    }
}

#[test]
fn pipelined_requests_wait_for_an_answer_that_comes_later() {
    let mut world = world();
    let mut client = world.open();
    client.send_bytes((get("?ms=2000") + &get("") + &get("?ms=1000") + &get("")).as_bytes());
    assert!(client.answer().is_none());
    world.advance_ms(2_200);
    assert_eq!(client.answer().unwrap().text(), "later");
    assert_eq!(client.answer().unwrap().text(), "");
    assert!(client.answer().is_none());
    world.advance_ms(1_200);
    assert_eq!(client.answer().unwrap().text(), "later");
    assert_eq!(client.answer().unwrap().text(), "");
}

#[test]
fn an_answer_that_never_comes_is_504_after_30_seconds() {
    let mut world = world();
    let mut client = world.open();
    client.send_bytes(get("?never=1").as_bytes());
    world.advance_ms(29_900);
    assert!(client.answer().is_none());
    world.advance_ms(400);
    assert_eq!(client.answer().unwrap().status(), 504);
    assert!(client.is_ended());
    assert_eq!(world.refused("reply_timeout"), 1);
}

#[test]
fn an_answer_for_somebody_who_has_left_goes_nowhere() {
    let mut world = world();
    let mut gone = world.open();
    gone.send_bytes(get("?ms=1000").as_bytes());
    gone.reset();
    world.advance_ms(40_000);
    assert_eq!(world.connections(), 0);
    // The same slot has a new tenant by now.
    let mut early = world.open();
    early.send_bytes(get("?ms=1000").as_bytes());
    early.reset();
    let mut tenant = world.open();
    world.advance_ms(2_000);
    assert!(tenant.answer().is_none());
    tenant.send_bytes(get("").as_bytes());
    assert_eq!(tenant.answer().unwrap().text(), "");
}

#[test]
fn half_closed_requests_are_answered() {
    let mut world = world();
    let mut client = world.open();
    client.send_bytes(get("?ms=1000").as_bytes());
    client.half_close();
    world.advance_ms(1_200);
    assert_eq!(client.answer().unwrap().text(), "later");
    assert_eq!(world.connections(), 0);
}

#[test]
fn answers_that_are_not_read_stop_the_requests() {
    let mut world = world_with(|_| {}, |_| {});
    let mut client = world.open();
    client.stop_reading();
    let body = "x".repeat(10_000);
    let post = format!("POST /app HTTP/1.1\r\nHost: sim\r\nContent-Length: 10000\r\n\r\n{body}");
    client.send_bytes(post.repeat(60).as_bytes());
    client.resume_reading();
    for n in 0..60 {
        assert_eq!(
            client
                .answer()
                .unwrap_or_else(|| panic!("{n}"))
                .body()
                .len(),
            10_000
        );
    }
}

#[test]
fn head_and_expect() {
    let mut world = world();
    let mut client = world.open();
    client.send_bytes(
        b"POST /app HTTP/1.1\r\nHost: sim\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
    );
    assert!(client.answer().is_none());
    client.send_bytes(b"ok");
    assert_eq!(client.answer().unwrap().text(), "ok");
}

#[test]
fn a_route_that_speaks_websocket_says_so() {
    struct Silent;
    impl dunlin::Handler for Silent {
        fn on_message(&mut self, _: &mut dunlin::Context<'_>, _: dunlin::Message<'_>) {}
    }
    let mut world = world();
    world.route("/silent", || Silent);
    let answer = world.request("GET /silent HTTP/1.1\r\nHost: sim\r\n\r\n");
    assert_eq!(
        (answer.status(), answer.header("Sec-WebSocket-Version")),
        (426, Some("13"))
    );
}
