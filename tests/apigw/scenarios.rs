//! AL-1 to AL-15; AL-16 is in `clients.rs`.

use std::thread;
use std::time::{Duration, Instant};

use dunlin::CloseCode;
use serde_json::{Value, json};

use crate::app::{Answer, App};
use crate::rig::{Rig, answer, call, closed, notify, path, say, signal, status, text};
use crate::support::Port;

const DEVICE: &str = "0a1b2c3d@12344133";

fn is(seq: &str, status: u64) -> (String, u64) {
    (seq.to_owned(), status)
}

#[test]
fn al_1_and_al_2_a_device_says_who_it_is_and_stays() {
    let rig = Rig::start(&Port::reserve());
    let mut client = rig.connect();
    say(&mut client, &format!("RG#{DEVICE}"));
    let registered = text(&mut client);
    let mut parts = registered.split('#');
    assert_eq!(parts.next(), Some("RO"));
    let credential = parts.next().unwrap();
    assert!(
        credential.bytes().all(|b| b.is_ascii_digit()),
        "{registered}"
    );
    assert_eq!((parts.next(), parts.next()), (Some("25000"), None));
    for _ in 0..3 {
        say(&mut client, "H1");
        assert_eq!(text(&mut client), format!("HO#{credential}"));
    }
    drop(client);
    rig.stop();
}

#[test]
fn al_3_a_registration_reaches_its_back_end_whole() {
    let port = Port::reserve();
    let app = App::start_as(&port, |_| Answer::Status(200, "{\"ok\":true}".to_owned()));
    let rig = Rig::start(&port);
    let (mut client, _) = rig.device(DEVICE);
    let request = json!({
        "method": "POST", "host": "api.example.com", "path": "/user/register",
        "querys": {"from": "a b"},
        "headers": {
            "accept": ["application/json; charset=utf-8"],
            "content-type": ["application/x-www-form-urlencoded; charset=utf-8"],
            "date": ["Wed, 09 May 2018 13:30:29 GMT"], "host": ["api.example.com"], "ca_version": ["1"],
            "user-agent": ["ALIYUN-ANDROID-DEMO"], "x-ca-key": ["12344133"], "x-ca-seq": ["0"],
            "x-ca-timestamp": ["1525872629832"], "x-ca-websocket_api_type": ["REGISTER"],
        },
        "isBase64": 0, "body": "password=123456789&username=xiaoming",
    });
    say(&mut client, &request.to_string());
    let asked = app.next();
    assert_eq!(asked.line, "POST /user/register?from=a%20b HTTP/1.1");
    assert_eq!(asked.text, "password=123456789&username=xiaoming");
    for (name, values) in request["headers"].as_object().unwrap() {
        if name != "host" {
            assert_eq!(asked.header(name), values[0].as_str(), "{name}");
        }
    }
    assert_eq!(asked.header("x-ca-deviceid"), Some(DEVICE));
    assert_eq!(asked.header("x-forwarded-host"), Some("api.example.com"));
    assert_eq!(asked.header("x-forwarded-for"), Some("127.0.0.1"));
    let host = format!("127.0.0.1:{}", port.number);
    assert_eq!(asked.header("host"), Some(host.as_str()));
    let answer = answer(&mut client);
    assert_eq!(
        (&answer["status"], &answer["body"]),
        (&json!(200), &json!("{\"ok\":true}"))
    );
    assert_eq!(answer["header"]["x-ca-seq"], "0");
    assert_eq!(
        answer["header"]["x-ca-request-id"].as_str(),
        asked.header("x-ca-request-id")
    );
    drop(client);
    rig.stop();
}

#[test]
fn al_4_a_registration_that_is_refused_is_none() {
    let port = Port::reserve();
    let app = App::start_as(&port, |_| Answer::Status(401, "who?".to_owned()));
    let rig = Rig::start(&port);
    let (mut client, _) = rig.device(DEVICE);
    say(&mut client, &signal("0", "REGISTER"));
    assert_eq!(status(&mut client), is("0", 401));
    assert_eq!(rig.notify(DEVICE, "x").status, 404);
    app.behave(|_| Answer::ok());
    say(&mut client, &signal("1", "REGISTER"));
    assert_eq!(status(&mut client), is("1", 200));
    app.behave(|_| Answer::Status(401, String::new()));
    say(&mut client, &signal("2", "REGISTER"));
    assert_eq!(status(&mut client), is("2", 401));
    assert_eq!(rig.notify(DEVICE, "x").status, 404);
    drop(client);
    rig.stop();
}

#[test]
fn al_5_a_notification_arrives_unchanged_and_is_acknowledged() {
    let port = Port::reserve();
    let app = App::start(&port);
    let rig = Rig::start(&port);
    let mut client = rig.registered(&app, DEVICE);
    let body = "{\"from\":\"a#b\",\r\n \"message\":\"\u{4f60}\"}";
    let url = rig.url("/notify");
    let waiting = thread::spawn(move || notify(&url, DEVICE, body));
    assert_eq!(text(&mut client), format!("NF#{body}"));
    assert!(!waiting.is_finished());
    say(&mut client, "NO");
    let answered = waiting.join().unwrap();
    assert_eq!((answered.status, answered.body.as_slice()), (200, &b""[..]));
    assert_eq!(
        app.so_far().len(),
        0,
        "a notification is not for a back end"
    );
    drop(client);
    rig.stop();
}

#[test]
fn al_5_who_does_not_acknowledge_is_told_of() {
    let port = Port::reserve();
    let app = App::start(&port);
    let rig = Rig::start_with(&port, &[("notify_timeout_ms", "200")]);
    let mut client = rig.registered(&app, DEVICE);
    assert_eq!(rig.notify(DEVICE, "x").status, 504);
    assert_eq!(text(&mut client), "NF#x");
    drop(client);
    rig.stop();
    let rig = Rig::start_with(&port, &[("notify_wait", "false")]);
    let mut client = rig.registered(&app, DEVICE);
    assert_eq!(rig.notify(DEVICE, "y").status, 200);
    assert_eq!(text(&mut client), "NF#y");
    drop(client);
    rig.stop();
}

#[test]
fn al_6_nobody_is_notified_who_is_not_there() {
    let port = Port::reserve();
    let app = App::start(&port);
    let rig = Rig::start(&port);
    let refused = rig.notify("nobody", "x");
    assert_eq!(refused.status, 404);
    let problem: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem["detail"], "there is no such device here");
    let mut client = rig.registered(&app, DEVICE);
    client.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(closed(&mut client).0, CloseCode::NORMAL);
    assert_eq!(rig.notify(DEVICE, "x").status, 404);
    rig.stop();
}

#[test]
fn al_7_who_has_unregistered_hears_nothing_more() {
    let port = Port::reserve();
    let app = App::start(&port);
    let rig = Rig::start(&port);
    let mut client = rig.registered(&app, DEVICE);
    say(&mut client, &signal("1", "UNREGISTER"));
    assert_eq!(status(&mut client), is("1", 200));
    assert_eq!(app.next().header("x-ca-deviceid"), Some(DEVICE));
    assert_eq!(rig.notify(DEVICE, "x").status, 404);
    drop(client);
    rig.stop();
}

#[test]
fn al_8_requests_in_every_spelling() {
    let port = Port::reserve();
    let app = App::start(&port);
    let rig = Rig::start(&port);
    let mut client = rig.connect();
    let requests = [
        json!({"method": "POST", "path": "/a", "headers": {"x-ca-seq": "1", "X-A": "b"}, "isBase64": 1, "body": "aGk="}),
        json!({"method": "PUT", "path": "/b", "querys": {}, "headers": {"X-CA-SEQ": ["2"], "x-a": "[\"b\"]"}, "isBase64": 0, "body": "hi"}),
        json!({"method": "get", "path": "/c", "querys": null, "headers": {"x-ca-seq": 3, "x-a": ["b"]}, "body": null}),
    ];
    for (at, request) in requests.iter().enumerate() {
        say(&mut client, &request.to_string());
        let asked = app.next();
        assert_eq!(asked.header("x-a"), Some("b"));
        assert_eq!(asked.text, ["hi", "hi", ""][at]);
        assert_eq!(
            asked.line,
            ["POST /a", "PUT /b", "GET /c"][at].to_owned() + " HTTP/1.1"
        );
        assert_eq!(status(&mut client), is(&(at + 1).to_string(), 200));
    }
    drop(client);
    rig.stop();
}

#[test]
fn al_9_the_fast_answer_comes_first() {
    let port = Port::reserve();
    // The slow ones wait for the fast one to have been answered, not for a time.
    let gate = std::sync::Arc::new(std::sync::Barrier::new(3));
    let own = gate.clone();
    let app = App::start_as(&port, move |asked| {
        if path(asked) == "/slow" {
            own.wait();
        }
        Answer::Status(200, path(asked).to_owned())
    });
    let rig = Rig::start(&port);
    let mut client = rig.connect();
    for (seq, path) in [("1", "/slow"), ("2", "/fast"), ("3", "/slow")] {
        say(&mut client, &call(seq, "GET", path));
    }
    let first = answer(&mut client);
    assert_eq!(
        (&first["header"]["x-ca-seq"], &first["body"]),
        (&json!("2"), &json!("/fast"))
    );
    gate.wait();
    let mut rest = [status(&mut client), status(&mut client)];
    rest.sort();
    assert_eq!(rest, [is("1", 200), is("3", 200)]);
    drop((client, app));
    rig.stop();
}

#[test]
fn al_10_what_is_no_device_is_refused_in_words() {
    let rig = Rig::start(&Port::reserve());
    let mut client = rig.connect();
    for bad in ["RG#", "RG", "RG#a#b", "RG#\u{e9}"] {
        say(&mut client, bad);
        let refused = text(&mut client);
        assert!(refused.starts_with("RF#") && refused.len() > 3, "{refused}");
    }
    say(&mut client, &format!("RG#{DEVICE}"));
    assert!(text(&mut client).starts_with("RO#"));
    assert_eq!(rig.refused("apigw_device"), 4);
    drop(client);
    rig.stop();
}

#[test]
fn al_11_too_much_and_too_long() {
    let port = Port::reserve();
    let _app = App::start(&port);
    let settings = [
        ("calls_per_second", "1"),
        ("calls_burst", "1"),
        ("cut_ms", "300"),
    ];
    let rig = Rig::start_with(&port, &settings);
    let mut greedy = rig.connect();
    say(&mut greedy, &call("1", "GET", "/"));
    assert_eq!(status(&mut greedy), is("1", 200));
    say(&mut greedy, &call("2", "GET", "/"));
    assert_eq!(text(&mut greedy), "OS");
    assert_eq!(status(&mut greedy), is("2", 429));
    let mut deaf = rig.connect();
    for seq in ["1", "2"] {
        say(&mut deaf, &call(seq, "GET", "/"));
    }
    // Clients of the original go by themselves …
    greedy.close(CloseCode::NORMAL, "Reconnect").unwrap();
    assert_eq!(closed(&mut greedy).0, CloseCode::NORMAL);
    // … and who does not is cut.
    let mut heard = Vec::new();
    let end = loop {
        match deaf.receive().unwrap() {
            dunlin::net::Received::Text(text) => heard.push(text),
            dunlin::net::Received::Closed(code, _) => break code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end, CloseCode::POLICY);
    assert!(
        heard.len() == 3 && heard.contains(&"OS".to_owned()),
        "{heard:?}"
    );
    rig.stop();
    let rig = Rig::start_with(&port, &[("lifetime_ms", "300"), ("cut_ms", "300")]);
    let mut client = rig.connect();
    assert_eq!(text(&mut client), "CR");
    client.close(CloseCode::NORMAL, "Reconnect").unwrap();
    assert_eq!(closed(&mut client).0, CloseCode::NORMAL);
    let mut deaf = rig.connect();
    assert_eq!(text(&mut deaf), "CR");
    assert_eq!(closed(&mut deaf).0, CloseCode::NORMAL);
    rig.stop();
}

#[test]
fn al_12_the_newer_connection_of_a_device_takes_over() {
    let port = Port::reserve();
    let app = App::start(&port);
    let rig = Rig::start_with(&port, &[("takeover_ms", "300"), ("notify_wait", "false")]);
    let mut old = rig.registered(&app, DEVICE);
    let (mut new, _) = rig.device(DEVICE);
    assert_eq!(text(&mut old), "CR");
    assert_eq!(
        rig.notify(DEVICE, "x").status,
        404,
        "it has not registered yet"
    );
    say(&mut new, &signal("1", "REGISTER"));
    assert_eq!(status(&mut new), is("1", 200));
    assert_eq!(rig.notify(DEVICE, "hello").status, 200);
    assert_eq!(text(&mut new), "NF#hello");
    assert_eq!(closed(&mut old).0, CloseCode::NORMAL);
    assert_eq!(rig.notify(DEVICE, "again").status, 200);
    assert_eq!(text(&mut new), "NF#again");
    drop(new);
    rig.stop();
}

#[test]
fn al_13_a_device_cannot_be_pretended() {
    let port = Port::reserve();
    let app = App::start(&port);
    let rig = Rig::start(&port);
    let (mut client, _) = rig.device(DEVICE);
    let headers = json!({"x-ca-seq": "1", "X-Ca-DeviceId": ["other", "more"], "x-ca-websocket_api_type": "REGISTER"});
    let request = json!({"method": "POST", "path": "/r", "headers": headers});
    say(&mut client, &request.to_string());
    let asked = app.next();
    let said: Vec<_> = asked
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-ca-deviceid"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(said, [DEVICE]);
    assert_eq!(
        rig.http("GET", "/", &[("X-Ca-DeviceId", "other")], b"")
            .status,
        200
    );
    assert_eq!(app.next().header("x-ca-deviceid"), None);
    drop(client);
    rig.stop();
}

#[test]
fn al_14_what_is_not_signed_well_is_refused() {
    let port = Port::reserve();
    let app = App::start(&port);
    let rig = Rig::start_with(
        &port,
        &[
            ("app_keys", "12344133=secret123"),
            ("signature_age_ms", "0"),
        ],
    );
    let (mut client, _) = rig.device(DEVICE);
    // The published example, which is old.
    let request = |signature: &str| {
        json!({
            "method": "POST", "host": "api", "path": "/register",
            "headers": {
                "accept": ["application/json; charset=utf-8"],
                "content-type": ["application/x-www-form-urlencoded; charset=utf-8"],
                "date": ["Wed, 09 May 2018 13:30:29 GMT"],
                "x-ca-key": ["12344133"], "x-ca-nonce": ["c9f15cbf-f4ac-4a6c-b54d-f51abf4b5b44"],
                "x-ca-seq": ["0"], "x-ca-timestamp": ["1525872629832"],
                "x-ca-websocket_api_type": ["REGISTER"], "x-ca-signature": [signature],
                "x-ca-signature-headers": ["x-ca-key,x-ca-nonce,x-ca-seq,x-ca-timestamp,x-ca-websocket_api_type"],
            },
            "isBase64": 0, "body": "username=xiaoming&password=123456789",
        })
        .to_string()
    };
    say(&mut client, &request("AAAA"));
    let refused = answer(&mut client);
    assert_eq!(
        (&refused["status"], &refused["header"]["x-ca-seq"]),
        (&json!(403), &json!("0"))
    );
    assert_eq!(
        refused["header"]["x-ca-error-message"],
        "the signature does not fit"
    );
    say(&mut client, &call("1", "GET", "/"));
    assert_eq!(status(&mut client), is("1", 400));
    assert_eq!(rig.http("GET", "/", &[], b"").status, 400);
    assert_eq!(rig.notify(DEVICE, "x").status, 400);
    say(
        &mut client,
        &request("/6+1h0bU3Mgck3jYsFjI+EXnooMJAJehmNgX3lh1RBE="),
    );
    assert_eq!(status(&mut client), is("0", 200));
    assert_eq!(path(&app.next()), "/register");
    assert_eq!(app.calls(), 1, "what is refused reaches no back end");
    drop(client);
    rig.stop();
}

#[test]
fn al_15_silence_ends_a_connection() {
    let rig = Rig::start_with(&Port::reserve(), &[("keep_alive_ms", "400")]);
    let (mut steady, credential) = rig.device("steady");
    let (mut silent, _) = rig.device("silent");
    let begun = Instant::now();
    let silent = thread::spawn(move || (closed(&mut silent), begun.elapsed()));
    while !silent.is_finished() {
        say(&mut steady, "H1");
        assert_eq!(text(&mut steady), format!("HO#{credential}"));
        thread::sleep(Duration::from_millis(20));
    }
    let ((code, reason), after) = silent.join().unwrap();
    assert_eq!(
        (code, reason.as_str()),
        (CloseCode::POLICY, "no heartbeat in time")
    );
    assert!(after >= Duration::from_millis(1_100), "{after:?}");
    say(&mut steady, "H1");
    text(&mut steady);
    drop(steady);
    rig.stop();
}
