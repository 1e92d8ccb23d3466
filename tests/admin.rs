//! The control listener's API through the real program: the OpenAPI file against the server, and what operators and
//! applications do with it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "admin/openapi.rs"]
mod openapi;
mod program;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use dunlin::Message;
use dunlin::net::{Client, Received};
use program::{DEADLINE, Served, dunlin, run};
use serde_json::Value;

/// A server with somebody to ask its control listener.
struct Office {
    served: Served,
    /// `localhost:PORT` of the control listener.
    control: String,
    main: String,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(": ")?;
            n.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    #[track_caller]
    fn json(&self) -> Value {
        let kind = self.header("Content-Type").unwrap_or_default();
        assert!(kind.starts_with("application/"), "{}", self.head);
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A problem (RFC 9457) of this status.
    #[track_caller]
    fn problem(&self, status: u16, detail: &str) {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        assert_eq!(
            self.header("Content-Type"),
            Some("application/problem+json")
        );
        let json = self.json();
        assert_eq!(json["status"], status);
        assert!(json["detail"].as_str().unwrap().contains(detail), "{text}");
    }
}

impl Office {
    fn start(args: &[&str]) -> Self {
        let served = Served::start(args);
        let place = |listener| served.base(listener).replace("ws://", "");
        Self {
            control: place("control"),
            main: place("main"),
            served,
        }
    }

    /// Sends bytes to the control listener and reads to the end.
    #[track_caller]
    fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.control).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(bytes).unwrap();
        read_answer(stream)
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {}\r\n", self.control);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes)
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, &[], b"");
        assert_eq!(answer.status, 200, "{}", answer.head);
        answer.json()
    }

    #[track_caller]
    fn post(&self, path: &str, body: &str) -> Answer {
        let json = [("Content-Type", "application/json")];
        self.ask("POST", path, &json, body.as_bytes())
    }

    fn client(&self, path: &str) -> Client {
        let mut client = Client::connect(&format!("ws://{}{path}", self.main), &[]).unwrap();
        client.set_timeout(Some(DEADLINE)).unwrap();
        client
    }

    /// A subscriber of a channel of its own, and its id.
    fn subscriber(&self, channel: &str) -> (Client, String) {
        let client = self.client(&format!("/ch/{channel}"));
        let list = self.get(&format!("/v1/connections?channel={channel}"));
        let id = list["connections"][0]["id"].as_str().unwrap().to_owned();
        (client, id)
    }
}

fn read_answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let at = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let body = bytes.split_off(at + 4);
    let head = String::from_utf8(bytes).unwrap();
    Answer {
        status: head[9..12].parse().unwrap(),
        head,
        body,
    }
}

#[track_caller]
fn text(client: &mut Client) -> String {
    match client.receive().unwrap() {
        Received::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_hundred_and_fifty_connections_are_listed_in_pages() {
    let office = Office::start(&[]);
    let clients: Vec<Client> = (0..250)
        .map(|n| office.client(if n % 5 == 0 { "/ch/few" } else { "/ch/many" }))
        .collect();
    let mut seen = Vec::new();
    let mut sizes = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = office.get(&format!("/v1/connections?limit=100&cursor={cursor}"));
        let list = page["connections"].as_array().unwrap();
        sizes.push(list.len());
        for connection in list {
            assert_eq!(connection["route"], "/ch/{channel}");
            assert_eq!(connection["channels"][0]["space"], "pubsub");
            seen.push(connection["id"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(sizes, [100, 100, 50]);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 250);
    for (query, found) in [
        ("channel=few", 50),
        ("channel=few&route=/ch/{channel}", 50),
        ("channel=few&space=pubsub", 50),
        ("channel=few&space=hierachain", 0),
        ("channel=many&limit=1000", 200),
        ("route=%2Fecho", 0),
        ("user=nobody", 0),
        ("channel=none", 0),
    ] {
        let page = office.get(&format!("/v1/connections?{query}"));
        assert_eq!(
            page["connections"].as_array().unwrap().len(),
            found,
            "{query}"
        );
        assert!(page["next_cursor"].is_null());
    }
    let channels = office.get("/v1/channels?prefix=ma");
    assert_eq!(
        channels["channels"],
        serde_json::json!([{"space": "pubsub", "name": "many", "subscribers": 200}])
    );
    let metrics = office.ask("GET", "/metrics", &[], b"");
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(
        metrics.contains("dunlin_route_sessions{route=\"/ch/{channel}\"} 250\n"),
        "{metrics}"
    );
    assert!(metrics.contains("dunlin_build_info{version="), "{metrics}");
    drop(clients);
}

#[test]
fn a_connection_is_sent_to_subscribed_and_closed() {
    let office = Office::start(&[]);
    let (mut client, id) = office.subscriber("mine");
    let one = format!("/v1/connections/{id}");
    assert_eq!(office.get(&one)["id"], id.as_str());
    assert_eq!(
        office
            .ask("POST", &format!("{one}/send"), &[], "tàu".as_bytes())
            .status,
        200
    );
    assert_eq!(text(&mut client), "tàu");
    let binary = [("Content-Type", "application/octet-stream")];
    assert_eq!(
        office
            .ask("POST", &format!("{one}/send"), &binary, b"raw")
            .status,
        200
    );
    assert_eq!(client.receive().unwrap(), Received::Binary(b"raw".to_vec()));

    let answer = office.post(&format!("{one}/subscribe"), "{\"channel\":\"yours\"}");
    assert_eq!(answer.json()["changed"], true);
    let published = office.post(
        "/v1/publish",
        "{\"channels\":[\"yours\",\"nobody\"],\"data\":{\"n\":1}}",
    );
    assert_eq!(published.json()["results"][0]["receivers"], 1);
    assert_eq!(text(&mut client), "{\"n\":1}");
    office.post(&format!("{one}/unsubscribe"), "{\"channel\":\"yours\"}");
    let published = office.post(
        "/v1/publish",
        "{\"batch\":[{\"channel\":\"yours\",\"data\":1},{\"channel\":\"mine\",\"data\":\"last\"}]}",
    );
    assert_eq!(published.json()["results"][0]["receivers"], 0);
    assert_eq!(text(&mut client), "last");

    let closed = office.post(
        &format!("{one}/close"),
        "{\"code\":4000,\"reason\":\"signed in elsewhere\"}",
    );
    assert_eq!(closed.json()["code"], 4000);
    let bye = Received::Closed(dunlin::CloseCode(4000), "signed in elsewhere".to_owned());
    assert_eq!(client.receive().unwrap(), bye);
    office
        .ask("GET", &one, &[], b"")
        .problem(404, "no such connection");

    // The next one may live in the same place; the old id is not its name.
    let (mut next, id) = office.subscriber("mine");
    office
        .ask("DELETE", &one, &[], b"")
        .problem(404, "no such connection");
    let deleted = office.ask("DELETE", &format!("/v1/connections/{id}"), &[], b"");
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    assert_eq!(
        next.receive().unwrap(),
        Received::Closed(dunlin::CloseCode::NORMAL, String::new())
    );
    assert_eq!(
        office.get("/v1/connections")["connections"],
        serde_json::json!([])
    );
}

#[test]
fn a_publication_is_not_made_twice() {
    let office = Office::start(&[]);
    let (mut client, _) = office.subscriber("news");
    let publish = |body: &str| {
        let headers = [
            ("Idempotency-Key", "order-17"),
            ("Content-Type", "application/json"),
        ];
        office.ask("POST", "/v1/publish", &headers, body.as_bytes())
    };
    let first = publish("{\"channel\":\"news\",\"data\":1}");
    let again = publish("{\"channel\":\"news\",\"data\":1}");
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(first.header("Idempotency-Replayed"), None);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    publish("{\"channel\":\"news\",\"data\":2}").problem(422, "another body");
    office.post("/v1/publish", "{\"channel\":\"news\",\"data\":\"end\"}");
    assert_eq!(
        (text(&mut client), text(&mut client)),
        ("1".to_owned(), "end".to_owned())
    );
}

#[test]
fn bad_input_gets_a_clear_answer_and_nothing_happens() {
    let office = Office::start(&[]);
    let (mut client, id) = office.subscriber("news");
    let publish = "{\"channel\":\"news\",\"data\":1}";
    let close = format!("/v1/connections/{id}/close");
    let send = format!("/v1/connections/{id}/send");

    let large = vec![b'x'; (1 << 20) + 1];
    office.ask("POST", &send, &[], &large).problem(413, "body");
    // Announced is enough: nothing is waited for.
    let head = format!(
        "POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        1_u64 << 40
    );
    office.raw(head.as_bytes()).problem(413, "body");
    for bad in [
        "",
        "{",
        "[]",
        "7",
        "nonsense",
        &publish[..20],
        "{\"channel\":\"news\"}",
        "{\"data\":1}",
    ] {
        office.post("/v1/publish", bad).problem(400, "");
    }
    office
        .post(
            "/v1/publish",
            &format!("{{\"channel\":\"news\",\"data\":{}}}", "[".repeat(1000)),
        )
        .problem(400, "nested");
    let many: Vec<String> = (0..100_000).map(|n| format!("\"u{n}\"")).collect();
    let many = format!("{{\"channels\":[{}],\"data\":1}}", many.join(","));
    office.post("/v1/publish", &many).problem(400, "1000");
    for unknown in ["0-ff-1", "nonsense", "%20", "0-0-1-1", "%F0%9F%92%A9"] {
        for (method, tail) in [
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/send"),
            ("POST", "/close"),
            ("POST", "/subscribe"),
            ("POST", "/unsubscribe"),
        ] {
            let path = format!("/v1/connections/{unknown}{tail}");
            office
                .ask(method, &path, &[], b"")
                .problem(404, "no such connection");
        }
    }
    office
        .ask("GET", "/v1/connections/%ff", &[], b"")
        .problem(400, "escape");
    office.ask("GET", "/v1/nothing", &[], b"").problem(404, "");
    for kind in [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "text/plain",
    ] {
        for path in ["/v1/publish", &close] {
            let form = office.ask("POST", path, &[("Content-Type", kind)], publish.as_bytes());
            form.problem(415, "application/json");
        }
    }
    let wrong = office.ask("PUT", &send, &[], b"x");
    wrong.problem(405, "POST");
    assert_eq!(wrong.header("Allow"), Some("POST"));
    for path in [
        "/v1/publish",
        &send,
        &close,
        "/v1/connections",
        "/readyz",
        "/metrics",
        "/@connections/0-0-1",
    ] {
        let method = if path.contains("/v1/") && path != "/v1/connections" {
            "POST"
        } else {
            "GET"
        };
        let port = office.control.split(':').nth(1).unwrap();
        let foreign = format!("evil.example:{port}");
        office
            .ask(method, path, &[("Host", &foreign)], publish.as_bytes())
            .problem(421, "localhost");
        let origin = [("Origin", "https://evil.example")];
        office
            .ask(method, path, &origin, publish.as_bytes())
            .problem(403, "origin");
        office
            .ask(method, path, &[("Origin", "null")], publish.as_bytes())
            .problem(403, "origin");
    }
    // A body that stops half way is given up without an answer to it.
    let mut stream = TcpStream::connect(&office.control).unwrap();
    write!(
        stream,
        "POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{{",
        publish.len()
    )
    .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));

    // Nobody was closed, nothing was published; a real one still is.
    client
        .set_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(client.receive().is_err());
    client.set_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(office.post("/v1/publish", publish).status, 200);
    assert_eq!(text(&mut client), "1");
    assert!(office.ask("POST", "/ch/news", &[], b"x").status == 200);
    let on_main = format!("http://{}/v1/connections", office.main);
    assert_eq!(
        dunlin::net::http_request("GET", &on_main, &[], b"")
            .unwrap()
            .status,
        404
    );
}

#[test]
fn keys_close_everything_but_the_probes() {
    let office = Office::start(&["--key", "geheim"]);
    for path in [
        "/v1/connections",
        "/v1/openapi.json",
        "/v1/channels",
        "/@connections/x",
        "/prod/@connections/x",
    ] {
        office.ask("GET", path, &[], b"").problem(401, "key");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(office.ask("GET", path, &[], b"").status, 200);
    }
    let key = [("Authorization", "Bearer geheim")];
    assert_eq!(office.ask("GET", "/v1/connections", &key, b"").status, 200);
}

#[test]
fn ready_until_the_drain() {
    let mut office = Office::start(&[]);
    assert_eq!(office.ask("GET", "/readyz", &[], b"").body, b"ready");
    // Whoever has begun to ask is answered.
    let mut asking = TcpStream::connect(&office.control).unwrap();
    asking.set_read_timeout(Some(DEADLINE)).unwrap();
    asking
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n")
        .unwrap();
    // Behind this answer the server has read the line above.
    assert_eq!(office.ask("GET", "/healthz", &[], b"").status, 200);
    let open = office.client("/echo");
    office.served.running.signal("-TERM");
    office.served.running.err_line("kind=drain");
    asking.write_all(b"\r\n").unwrap();
    let answer = read_answer(asking);
    answer.problem(503, "shutting down");
    assert_eq!(answer.header("Retry-After"), Some("1"));
    drop(open);
    assert_eq!(office.served.running.wait().code(), Some(0));
}

#[test]
fn conns_and_close_from_the_command_line() {
    let office = Office::start(&[]);
    let url = format!("http://{}", office.control);
    let list = |args: &[&str]| {
        let mut all = vec!["conns", "--url", &url];
        all.extend(args);
        run(&mut dunlin(&all))
    };
    let empty = list(&[]);
    assert_eq!(
        (empty.code, empty.out.as_str()),
        (Some(0), "ID  ROUTE  USER  QUEUED  CHANNELS\n")
    );
    let (mut client, id) = office.subscriber("t%C3%A0u");
    let mut echo = office.client("/echo");
    let all = list(&[]);
    assert_eq!((all.code, all.err.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = all
        .out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines.contains(&vec![&id, "/ch/{channel}", "-", "0", "tàu"]),
        "{lines:?}"
    );
    let one = list(&["--channel", "tàu", "--json"]);
    let json: Value = serde_json::from_str(&one.out).unwrap();
    assert_eq!(json["id"], id.as_str());
    assert_eq!(list(&["--user", "ann", "--json"]).out, "");

    let closed = run(&mut dunlin(&[
        "close",
        "--url",
        &url,
        &id,
        "4001",
        "say \"bye\"",
    ]));
    assert_eq!(
        (closed.code, closed.out.as_str(), closed.err.as_str()),
        (Some(0), "", "")
    );
    let bye = Received::Closed(dunlin::CloseCode(4001), "say \"bye\"".to_owned());
    assert_eq!(client.receive().unwrap(), bye);
    let again = run(&mut dunlin(&["close", "--url", &url, &id]));
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(
        again.err.contains("404") && again.err.contains("no such connection"),
        "{again:?}"
    );

    let rest = list(&["--json"]);
    let json: Value = serde_json::from_str(&rest.out).unwrap();
    let id = json["id"].as_str().unwrap();
    for (code, exit, says) in [
        ("1005", 1, "close code"),
        ("70000", 1, "close code"),
        ("x", 64, "no close code"),
    ] {
        let refused = run(&mut dunlin(&["close", "--url", &url, id, code]));
        assert_eq!(refused.code, Some(exit), "{refused:?}");
        assert!(refused.err.contains(says), "{refused:?}");
    }
    echo.send(Message::Text("still here")).unwrap();
    assert_eq!(text(&mut echo), "still here");
    // The environment names the server too.
    let closed = run(dunlin(&["close", "-v", id]).env("DUNLIN_URL", &url));
    assert_eq!(closed.code, Some(0), "{closed:?}");
    assert!(closed.out.contains("\"code\":1000"), "{closed:?}");
    assert_eq!(
        echo.receive().unwrap(),
        Received::Closed(dunlin::CloseCode::NORMAL, String::new())
    );

    // The wrong listener, no server.
    let main = run(&mut dunlin(&[
        "conns",
        "--url",
        &format!("http://{}", office.main),
    ]));
    assert_eq!(main.code, Some(1), "{main:?}");
    assert!(
        main.err.contains("404") && main.err.contains("is this the control listener?"),
        "{main:?}"
    );
    let nobody = run(&mut dunlin(&["conns", "--url", "http://127.0.0.1:9"]));
    assert_eq!(nobody.code, Some(69), "{nobody:?}");
    assert!(nobody.err.contains("is the server running?"), "{nobody:?}");
}

#[test]
fn conns_follows_the_cursor_and_shows_its_key() {
    let office = Office::start(&["--key", "geheim"]);
    let url = format!("http://{}", office.control);
    let key = [("Authorization", "Bearer geheim")];
    // Names so long that a page ends by its bytes.
    let channel = "x".repeat(250);
    let _clients: Vec<Client> = (0..800)
        .map(|_| Client::connect(&format!("ws://{}/ch/{channel}", office.main), &key).unwrap())
        .collect();
    let page = office.ask("GET", "/v1/connections?limit=1000", &key, b"");
    assert!(!page.json()["next_cursor"].is_null());
    let mut command = dunlin(&["conns", "--url", &url]);
    let listed = run(command.env("DUNLIN_KEY", "geheim"));
    assert_eq!((listed.code, listed.out.lines().count()), (Some(0), 801));
    let refused = run(&mut dunlin(&["conns", "--url", &url]));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("401"), "{refused:?}");
}
