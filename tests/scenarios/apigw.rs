//! The dialect `apigw` with back ends that are away, slow or broken, and with an end of everything.

use dunlin::dialect::{ApiGateway, ApiGatewayOptions, BackEnds};
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{AppHandle, Client, Deed, End, World};
use dunlin::ws::OpCode;
use serde_json::{Value, json};

fn world_with(
    worker: impl FnOnce(&mut WorkerSettings),
    change: impl FnOnce(&mut ApiGatewayOptions),
) -> (World, AppHandle, ApiGateway) {
    let mut settings = WorkerSettings::default();
    worker(&mut settings);
    let mut world = World::new(settings);
    let mut options = ApiGatewayOptions {
        back_ends: BackEnds(vec!["/=http://app.sim:3000".parse().unwrap()]),
        ..ApiGatewayOptions::default()
    };
    change(&mut options);
    let gateway = ApiGateway::new(options);
    let route = RouteSettings {
        messages_per_second: 0,
        ..RouteSettings::default()
    };
    let handler = gateway.clone();
    world.route_with("/{api*}", route, || handler);
    let app = world.app();
    (world, app, gateway)
}

fn world() -> (World, AppHandle, ApiGateway) {
    world_with(|_| {}, |_| {})
}

fn call(seq: &str, method: &str, signal: &str) -> String {
    let headers = json!({"x-ca-seq": [seq], "x-ca-websocket_api_type": [signal]});
    json!({"method": method, "host": "h", "path": "/x", "headers": headers}).to_string()
}

/// Seq and status of the next answer.
#[track_caller]
fn answer(client: &mut Client) -> (String, u64) {
    let texts = client.texts();
    assert_eq!(texts.len(), 1, "{texts:?}");
    short(&texts[0])
}

#[track_caller]
fn short(text: &str) -> (String, u64) {
    let answer: Value = serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"));
    let seq = answer["header"]["x-ca-seq"].as_str().unwrap().to_owned();
    (seq, answer["status"].as_u64().unwrap())
}

fn is(seq: &str, status: u64) -> (String, u64) {
    (seq.to_owned(), status)
}

/// The connection of a device that its back end has registered.
fn registered(world: &mut World, name: &str) -> Client {
    let mut client = world.connect("/");
    client.send_text(&format!("RG#{name}"));
    client.send_text(&call("r", "POST", "REGISTER"));
    world.advance_ms(10);
    let texts = client.texts();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert_eq!(short(&texts[1]), is("r", 200));
    client
}

fn notify(name: &str) -> String {
    format!(
        "POST /notify HTTP/1.1\r\nHost: h\r\nX-Ca-DeviceId: {name}\r\nContent-Length: 2\r\n\r\nhi"
    )
}

#[test]
fn a_back_end_that_is_away_is_told_at_once_and_is_asked_when_it_is_back() {
    for connect_ms in [0, 20] {
        let (mut world, app, _) = world();
        let mut client = world.connect("/");
        app.connect_ms(connect_ms);
        app.down();
        client.send_text(&call("1", "POST", ""));
        world.advance_ms(connect_ms + 1);
        assert_eq!(answer(&mut client), is("1", 502));
        assert_eq!(world.refused("call_unreachable"), 1);
        // While the endpoint rests, what comes waits for the next attempt.
        client.send_text(&call("2", "POST", ""));
        let mut other = world.open();
        other.send_bytes(b"GET /y HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.texts(), [""; 0]);
        world.advance_ms(100);
        assert_eq!(answer(&mut client), is("2", 502));
        assert_eq!(other.answer().unwrap().status(), 502);
        app.up();
        client.send_text(&call("3", "POST", ""));
        world.advance_ms(600);
        assert_eq!(answer(&mut client), is("3", 200));
        assert_eq!(app.waiting(), 0);
        client.close(1000, "");
    }
}

#[test]
fn a_slow_back_end_has_its_time_connecting_included() {
    let (mut world, app, _) = world();
    app.behave(|asked| match &*asked.method {
        "GET" => Deed::ok("slow").after_ms(8_900),
        _ => Deed::broken(End::Never),
    });
    let mut client = world.connect("/");
    for (seq, method) in [("1", "GET"), ("2", "PUT")] {
        client.send_text(&call(seq, method, ""));
    }
    world.advance_ms(8_890);
    assert_eq!(client.texts(), [""; 0]);
    world.advance_ms(20);
    assert_eq!(answer(&mut client), is("1", 200));
    world.advance_ms(200);
    assert_eq!(answer(&mut client), is("2", 504));
    // A connection that is never made is not waited for longer than the call has time.
    let (mut world, app, _) = world_with(|_| {}, |o| o.call_timeout_ms = 2_000);
    app.connect_ms(60_000);
    let mut client = world.connect("/");
    client.send_text(&call("1", "GET", ""));
    world.advance_ms(1_999);
    assert_eq!(client.texts(), [""; 0]);
    world.advance_ms(1);
    assert_eq!(answer(&mut client), is("1", 504));
    assert_eq!(app.waiting(), 0);
}

#[test]
fn who_waits_for_a_free_connection_waits_no_longer_than_its_time() {
    let (mut world, app, gateway) = world_with(
        |w| w.calls.connections_max = 2,
        |o| o.call_timeout_ms = 3_000,
    );
    app.behave(|_| Deed::ok("").after_ms(2_000));
    let mut client = world.connect("/");
    for seq in ["1", "2", "3", "4", "5"] {
        client.send_text(&call(seq, "GET", ""));
    }
    world.advance_ms(2_010);
    let first: Vec<_> = client.texts().iter().map(|text| short(text)).collect();
    assert_eq!(first, [is("1", 200), is("2", 200)]);
    world.advance_ms(900);
    assert_eq!(client.texts(), [""; 0]);
    // Two are under way and one has not begun: their time is the same.
    world.advance_ms(200);
    let mut rest: Vec<_> = client.texts().iter().map(|text| short(text)).collect();
    rest.sort();
    assert_eq!(rest, [is("3", 504), is("4", 504), is("5", 504)]);
    assert_eq!((app.waiting(), app.asked().len()), (0, 4));
    drop(client);
    world.advance_ms(100_000);
    assert!(gateway.is_quiet());
}

#[test]
fn a_slow_back_end_does_not_use_up_what_is_everybodys() {
    let (mut world, app, _) = world_with(
        |w| w.calls.connections_max = 8,
        |o| {
            let rows = ["/=http://fast.sim:1", "/slow=http://slow.sim:1/slow"];
            o.back_ends = BackEnds(rows.map(|row| row.parse().unwrap()).to_vec());
        },
    );
    app.behave(|asked| match &*asked.path {
        "/slow" => Deed::broken(End::Never),
        _ => Deed::ok(""),
    });
    let mut patient = world.connect("/");
    let mut other = world.connect("/");
    other.send_text(&call("0", "GET", ""));
    assert_eq!(answer(&mut other), is("0", 200));
    world.advance_ms(40_000);
    other.send_text("H1");
    other.texts();
    for seq in 0..20 {
        let request = call(&seq.to_string(), "GET", "").replace("/x", "/slow");
        patient.send_text(&request);
    }
    assert_eq!(app.connections(), 7);
    for seq in ["1", "2", "3"] {
        other.send_text(&call(seq, "POST", ""));
        assert_eq!(answer(&mut other), is(seq, 200));
    }
    world.advance_ms(9_100);
    assert_eq!(patient.texts().len(), 20);
    world.check_idle();
}

#[test]
fn what_is_not_idempotent_is_not_repeated_on_a_new_connection() {
    for (method, times) in [
        ("POST", 1),
        ("PATCH", 1),
        ("GET", 2),
        ("PUT", 2),
        ("DELETE", 2),
    ] {
        let (mut world, app, _) = world();
        app.behave(|_| Deed::broken(End::Reset));
        let mut client = world.connect("/");
        client.send_text(&call("1", method, ""));
        world.advance_ms(1_000);
        assert_eq!(answer(&mut client), is("1", 502), "{method}");
        assert_eq!(app.asked().len(), times, "{method}");
    }
    // An old one may have been closed before it was written to: that costs nothing.
    let (mut world, app, _) = world();
    let mut client = world.connect("/");
    client.send_text(&call("1", "POST", ""));
    assert_eq!(answer(&mut client), is("1", 200));
    app.hang_up();
    client.send_text(&call("2", "POST", ""));
    world.advance_ms(100);
    assert_eq!(answer(&mut client), is("2", 200));
}

#[test]
fn broken_answers_end_their_own_request() {
    let (mut world, app, _) = world();
    app.behave(|asked| match &*asked.method {
        "GET" => Deed::broken(End::Junk),
        "PUT" => Deed::broken(End::EndlessHead),
        "DELETE" => Deed::broken(End::Cut),
        _ => Deed::ok("fine"),
    });
    let mut client = world.connect("/");
    for (seq, method, status) in [
        ("1", "GET", 502),
        ("2", "POST", 200),
        ("3", "PUT", 502),
        ("4", "DELETE", 502),
        ("5", "POST", 200),
    ] {
        client.send_text(&call(seq, method, ""));
        world.advance_ms(100);
        assert_eq!(answer(&mut client), is(seq, status), "{method}");
    }
    let big = "x".repeat(65 << 10);
    app.behave(move |_| Deed::ok(&big));
    client.send_text(&call("6", "GET", ""));
    assert_eq!(
        answer(&mut client),
        is("6", 502),
        "an answer above answer_bytes_max"
    );
}

#[test]
fn al_11_a_client_that_is_told_to_go_closes_and_is_answered() {
    let (mut world, _, gateway) = world_with(|_| {}, |o| o.lifetime_ms = 60_000);
    let mut client = world.connect("/");
    client.send_text("RG#d");
    client.texts();
    world.advance_ms(50_000);
    client.send_text("H1");
    client.texts();
    world.advance_ms(10_100);
    client.expect_text("CR");
    client.close(1000, "Reconnect");
    client.expect_close(1000);
    world.advance_ms(60_000);
    assert!(gateway.is_quiet());
}

#[test]
fn al_15_heartbeats_keep_a_connection() {
    let (mut world, _, _) = world();
    let mut steady = world.connect("/");
    let mut silent = world.connect("/");
    steady.send_text("RG#a");
    silent.send_text("RG#b");
    for _ in 0..2 {
        world.advance_ms(25_000);
        steady.send_text("H1");
    }
    world.advance_ms(24_900);
    assert_eq!(silent.texts().len(), 1);
    world.advance_ms(300);
    assert_eq!(silent.expect_close(1008), "no heartbeat in time");
    assert_eq!(steady.texts().len(), 3);
    // Whoever has sent one while this process was suspended is heard before it is judged.
    let mut crowd = vec![steady];
    for name in 0..200 {
        let mut one = world.connect("/");
        one.send_text(&format!("RG#{name}"));
        crowd.push(one);
    }
    for one in &mut crowd {
        one.write_frame(true, OpCode::Text, b"H1");
    }
    world.freeze_ms(200_000);
    world.advance_ms(2_000);
    assert!(crowd.iter().all(|one| !one.is_over()));
    assert_eq!(world.refused("apigw_heartbeat"), 1);
}

#[test]
fn the_drain_is_told_in_the_clients_own_words() {
    let (mut world, app, gateway) = world();
    let mut polite = registered(&mut world, "polite");
    let mut busy = registered(&mut world, "busy");
    let mut deaf = registered(&mut world, "deaf");
    app.behave(|_| Deed::ok("").after_ms(500));
    busy.send_text(&call("1", "GET", ""));
    world.drain();
    world.advance_ms(100);
    for client in [&mut polite, &mut busy, &mut deaf] {
        client.expect_text("CR");
    }
    polite.close(1000, "Reconnect");
    polite.expect_close(1000);
    world.advance_ms(600);
    // What is under way is answered before it goes.
    assert_eq!(answer(&mut busy), is("1", 200));
    busy.close(1000, "Reconnect");
    busy.expect_close(1000);
    assert!(!world.is_drained());
    world.advance_ms(26_000);
    assert!(!deaf.is_over());
    world.advance_ms(500);
    deaf.expect_close(1012);
    assert!(world.is_drained());
    assert!(gateway.is_quiet());
}

#[test]
fn a_short_cut_time_ends_a_drain_earlier() {
    let (mut world, _, _) = world_with(|_| {}, |o| o.cut_ms = 2_000);
    let mut deaf = registered(&mut world, "deaf");
    world.drain();
    world.advance_ms(2_200);
    deaf.expect_text("CR");
    deaf.expect_close(1000);
    assert!(world.is_drained());
}

#[test]
fn notifications_reach_slow_readers_or_say_that_they_do_not() {
    let (mut world, _, gateway) = world();
    let mut device = registered(&mut world, "d");
    device.window(10);
    device.stop_reading();
    let mut back_end = world.open();
    back_end.send_bytes(notify("d").as_bytes());
    world.advance_ms(4_900);
    assert!(back_end.answer().is_none());
    world.advance_ms(200);
    assert_eq!(back_end.answer().unwrap().status(), 504);
    device.resume_reading();
    device.expect_text("NF#hi");
    device.send_text("NO");
    let mut back_end = world.open();
    back_end.send_bytes(notify("d").as_bytes());
    device.expect_text("NF#hi");
    device.send_text("NO");
    let answer = back_end.answer().unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (200, ""));
    // A back end that goes away meanwhile hurts nobody.
    let mut gone = world.open();
    gone.send_bytes(notify("d").as_bytes());
    gone.reset();
    device.expect_text("NF#hi");
    device.send_text("NO");
    device.reset();
    let refused = world.request(notify("d"));
    assert_eq!(refused.status(), 404);
    world.advance_ms(10_000);
    assert!(gateway.is_quiet());
}

/// AL-16: what the Java library does, step by step, each time it reconnects.
#[test]
fn al_16_a_device_comes_back_whenever_it_is_told_to_go() {
    let (mut world, app, gateway) = world_with(|_| {}, |o| o.lifetime_ms = 100_000);
    let mut last = String::new();
    for _ in 0..5 {
        let mut client = world.connect("/");
        client.send_text("RG#0a1b2c3d@12344133");
        let words = client.texts();
        let [word] = &words[..] else {
            panic!("{words:?}")
        };
        let mut parts = word.split('#');
        assert_eq!(parts.next(), Some("RO"));
        let credential = parts.next().unwrap().to_owned();
        assert_eq!((parts.next(), parts.next()), (Some("25000"), None));
        assert_ne!(credential, last);
        client.send_text(&call("0", "POST", "REGISTER"));
        assert_eq!(answer(&mut client), is("0", 200));
        loop {
            world.advance_ms(25_000);
            client.send_text("H1");
            let words = client.texts();
            if words[0] == "CR" {
                break;
            }
            assert_eq!(words, [format!("HO#{credential}")]);
        }
        last = credential;
        world.advance_ms(1_000);
        client.close(1000, "Reconnect");
        client.expect_close(1000);
    }
    assert_eq!(app.asked().len(), 5);
    assert!(gateway.is_quiet());
}
