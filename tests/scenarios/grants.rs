//! Keys that allow some things: who may what, and what the others are told.

use dunlin::dialect::{Admin, PubSub, PubSubOptions};
use dunlin::hub::{ChannelOptions, Position};
use dunlin::server::{Keys, RouteSettings, WorkerSettings};
use dunlin::sim::{Connect, Received, World};
use dunlin::token::{Action, Grant, Rights};

fn rights(all: &[(Action, &str)]) -> Rights {
    let mut rights = Rights::default();
    for (action, pattern) in all {
        rights.add(*action, pattern).unwrap();
    }
    rights
}

fn keys() -> Keys {
    let reader = rights(&[
        (Action::Subscribe, "news.*"),
        (Action::Subscribe, "user.{user}"),
    ]);
    let writer = rights(&[(Action::Publish, "news.*")]);
    Keys::new(["everything".to_owned()])
        .grant("reads", Grant::new("ann", &reader))
        .grant("writes", Grant::new("", &writer))
}

fn world_with(change: impl FnOnce(Keys) -> Keys, options: PubSubOptions) -> World {
    let mut world = World::new(WorkerSettings::default());
    let settings = RouteSettings {
        channels: vec![ChannelOptions::of("news.kept").history_messages_max(10)],
        keys: change(keys()),
        ..RouteSettings::default()
    };
    world.route_with("/ch/{channel}", settings.clone(), move || {
        PubSub::new(options)
    });
    world.route_with("/ch", settings, move || PubSub::new(options));
    world
}

fn world() -> World {
    let options = PubSubOptions::default();
    let mut world = world_with(|keys| keys, options);
    let admin = |path| Admin::at(path, options).unwrap();
    world.route("/v1/connections", || admin("/connections"));
    world
}

fn post(path: &str, key: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: sim\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[test]
fn a_key_opens_what_it_allows() {
    let mut world = world();
    for (target, status) in [
        ("/ch/news.a?token=reads", 101),
        ("/ch/news.?token=reads", 101),
        ("/ch/user.ann?token=reads", 101),
        ("/ch/news?token=reads", 403),
        ("/ch/user.bob?token=reads", 403),
        ("/ch/user.%7Buser%7D?token=reads", 403),
        ("/ch/news.a?token=writes", 403),
        ("/ch/anything?token=everything", 101),
        ("/ch/news.a?token=read", 401),
        ("/ch/news.a", 401),
    ] {
        if status == 101 {
            world.connect(target);
        } else {
            let refused = world.connect_refused(target);
            assert_eq!(refused.status(), status, "{target}");
            let challenge = refused
                .head()
                .header("www-authenticate")
                .unwrap()
                .to_owned();
            let expected = match status {
                403 => "Bearer error=\"insufficient_scope\"",
                _ if target.contains("token") => {
                    "Bearer error=\"invalid_token\", error_description=\"the key is not one of this route's keys\""
                }
                _ => "Bearer",
            };
            assert_eq!(challenge, expected, "{target}");
        }
    }
    assert_eq!(world.refused("permission"), 4);
    assert_eq!(world.refused("key_wrong"), 1);
    assert_eq!(world.refused("key_missing"), 1);
}

#[test]
fn publishing_takes_the_right_to_publish() {
    let mut world = world();
    let mut reader = world.connect("/ch/news.a?token=reads");
    assert_eq!(
        world.request(post("/ch/news.a", "reads", "no")).status(),
        403
    );
    assert_eq!(
        world.request(post("/ch/weather", "writes", "no")).status(),
        403
    );
    let both = r#"{"channels":["news.a","weather"],"data":"no"}"#;
    let refused = world.request(post("/ch", "writes", both));
    assert_eq!(
        refused.status(),
        403,
        "a request is carried out whole or not at all"
    );
    assert_eq!(
        world.request(post("/ch/news.a", "writes", "yes")).status(),
        200
    );
    reader.expect_text("yes");
    let one = r#"{"channels":["news.a"],"data":"yes too"}"#;
    assert_eq!(world.request(post("/ch", "writes", one)).status(), 200);
    reader.expect_text("yes too");
}

#[test]
fn what_is_known_of_a_channel_is_told_to_those_who_use_it() {
    let mut world = world();
    for (channel, key, status) in [
        ("news.a", "reads", 200),
        ("news.a", "writes", 200),
        ("weather", "reads", 403),
        ("weather", "everything", 200),
    ] {
        let asked = format!("GET /ch/{channel}?info&token={key} HTTP/1.1\r\nHost: sim\r\n\r\n");
        assert_eq!(world.request(asked).status(), status, "{channel} {key}");
    }
}

#[test]
fn speaking_over_the_socket_takes_the_right_to_publish() {
    let options = PubSubOptions {
        clients_publish: true,
        ..PubSubOptions::default()
    };
    let mut world = world_with(|keys| keys, options);
    let mut reader = world.connect("/ch/news.a?token=reads");
    let mut speaker = world.connect("/ch/news.a?token=everything");
    reader.send_text("no");
    assert!(reader.texts()[0].contains("does not allow to publish"));
    speaker.send_text("yes");
    reader.expect_text("yes");
    speaker.expect_text("yes");
}

#[test]
fn a_session_belongs_to_the_user_of_its_key() {
    let mut world = world();
    world.connect("/ch/news.a?token=reads");
    world.connect("/ch/news.b?token=reads");
    world.connect("/ch/news.b?token=everything");
    let listed = world.request("GET /v1/connections?user=ann HTTP/1.1\r\nHost: sim\r\n\r\n");
    assert_eq!(
        listed.text().matches("\"id\"").count(),
        2,
        "{}",
        listed.text()
    );
}

#[test]
fn a_key_may_be_shown_in_five_places() {
    let mut world = world_with(|keys| keys.cookie("session"), PubSubOptions::default());
    let to = || Connect::to("/ch/news.a");
    world.connect(to().header("Authorization", "bearer reads"));
    world.connect(to().header("X-API-Key", "reads"));
    world.connect(to().header("Cookie", "a=b; session=reads"));
    let client = world.connect(to().protocol("bearer.reads").protocol("news.v1"));
    assert_eq!(
        client.subprotocol().as_deref(),
        Some("news.v1"),
        "never the token"
    );
    let client = world.connect(to().protocol("bearer.reads"));
    assert_eq!(client.subprotocol(), None, "never the token");
    // The first one that is there decides.
    let wrong = to()
        .header("Authorization", "Bearer wrong")
        .header("Cookie", "session=reads");
    assert_eq!(world.connect_refused(wrong).status(), 401);
    let other = to().header("Cookie", "session=");
    assert_eq!(world.connect_refused(other).status(), 401);
}

#[test]
fn a_key_may_come_in_the_first_message() {
    let mut world = world_with(Keys::in_message, PubSubOptions::default());
    let mut client = world.connect("/ch/news.a");
    assert_eq!(
        world
            .request(post("/ch/news.a", "writes", "too early"))
            .status(),
        200
    );
    client.send_text(r#"{"type":"auth","token":"reads"}"#);
    client.expect_text(r#"{"type":"auth","user":"ann","expires":null}"#);
    assert_eq!(
        world
            .request(post("/ch/news.a", "writes", "heard"))
            .status(),
        200
    );
    client.expect_text("heard");
    // A plain request has no second chance.
    let plain = "GET /ch/news.a?info HTTP/1.1\r\nHost: sim\r\n\r\n";
    assert_eq!(world.request(plain).status(), 401);
}

#[test]
fn whoever_owes_a_key_gets_nothing_and_has_ten_seconds() {
    for (message, reason) in [
        (Some("hello"), "first message"),
        (
            Some(r#"{"type":"auth","token":"wrong"}"#),
            "not one of this route's keys",
        ),
        (Some(r#"{"type":"auth","token":7}"#), "first message"),
        (None, "no message within"),
    ] {
        let mut world = world_with(Keys::in_message, PubSubOptions::default());
        let mut client = world.connect("/ch/news.a");
        if let Some(message) = message {
            client.send_text(message);
        } else {
            world.advance_ms(9_900);
            assert!(!client.is_over());
            world.advance_ms(400);
        }
        let why = client.expect_close(4401);
        assert!(why.contains(reason), "{message:?}: {why}");
    }
    let mut world = world_with(Keys::in_message, PubSubOptions::default());
    let mut client = world.connect("/ch/weather");
    client.send_text(r#"{"type":"auth","token":"reads"}"#);
    client.expect_text(r#"{"type":"auth","user":"ann","expires":null}"#);
    client.expect_close(4403); // It is known, and may not.
}

#[test]
fn failures_in_messages_count_for_the_address() {
    let mut world = world_with(Keys::in_message, PubSubOptions::default());
    for _ in 0..12 {
        let mut client = world.connect(Connect::to("/ch/news.a").from("203.0.113.1"));
        client.send_text(r#"{"type":"auth","token":"wrong"}"#);
        let codes = [4401, 4429];
        assert!(matches!(client.next(), Some(Received::Close(code, _)) if codes.contains(&code)));
    }
    assert_eq!(world.refused("auth_failures"), 2);
    let refused = world.connect_refused(Connect::to("/ch/a?token=wrong").from("203.0.113.1"));
    assert_eq!(refused.status(), 429);
}

#[test]
fn what_was_said_before_one_came_takes_the_right_to_history() {
    let mut world = world();
    let mut positions = Vec::new();
    for body in ["one", "two", "three"] {
        let answer = world.request(post("/ch/news.kept", "everything", body));
        let text = answer.text();
        let (_, rest) = text.split_once("\"position\":\"").unwrap();
        positions.push(rest.split_once('"').unwrap().0.to_owned());
    }
    for rewind in ["all", "1", "1h"] {
        let target = format!("/ch/news.kept?token=reads&rewind={rewind}");
        assert_eq!(world.connect_refused(target.as_str()).status(), 403);
    }
    // Whoever has been there goes on from there.
    let target = format!("/ch/news.kept?token=reads&since={}", positions[1]);
    let texts = world.connect(target.as_str()).texts();
    assert!(texts.len() == 2 && texts[1].contains("three"), "{texts:?}");
    // Whoever has not makes positions up, and is told of a gap.
    let mut guessed: Position = positions[0].parse().unwrap();
    guessed.tag ^= 1;
    let mut beginning = guessed;
    beginning.offset = 0;
    for made_up in [guessed, beginning] {
        for header in [None, Some(("Last-Event-ID", made_up.to_string()))] {
            let target = format!("/ch/news.kept?token=reads&since={made_up}");
            let texts = match &header {
                None => world.connect(target.as_str()).texts(),
                Some((name, value)) => {
                    let request = format!(
                        "GET /ch/news.kept?token=reads&poll=0 HTTP/1.1\r\nHost: h\r\n{name}: {value}\r\nConnection: close\r\n\r\n"
                    );
                    vec![world.request(request).text()]
                }
            };
            let all = texts.concat();
            assert!(!all.contains("one") && !all.contains("three"), "{all}");
        }
        let target = format!("/ch/news.kept?token=everything&since={made_up}");
        let all = world.connect(target.as_str()).texts().concat();
        assert!(all.contains("one") && all.contains("three"), "{all}");
    }
}

#[test]
fn a_stream_takes_the_right_to_subscribe() {
    let mut world = world();
    let get = |method: &str, target: &str| {
        format!("{method} {target} HTTP/1.1\r\nHost: sim\r\nAccept: text/event-stream\r\n\r\n")
    };
    for (method, target, status) in [
        ("GET", "/ch/weather?token=reads", 403),
        ("GET", "/ch/news.a", 401),
    ] {
        assert_eq!(
            world.request(get(method, target)).status(),
            status,
            "{method} {target}"
        );
    }
    let mut reader = world.open();
    reader.send_bytes(get("GET", "/ch/news.a?token=reads").as_bytes());
    assert_eq!(world.sessions(), 1);
    assert_eq!(
        world
            .request(post("/ch/news.a", "writes", "heard"))
            .status(),
        200
    );
    let listed = world.request("GET /v1/connections?user=ann HTTP/1.1\r\nHost: sim\r\n\r\n");
    assert_eq!(
        listed.text().matches("\"id\"").count(),
        1,
        "{}",
        listed.text()
    );
}

#[test]
fn a_browser_that_asks_first_is_allowed_nothing() {
    let mut world = world();
    let asks = |target: &str| {
        format!(
            "OPTIONS {target} HTTP/1.1\r\nHost: sim\r\nOrigin: https://a.example\r\n\
             Access-Control-Request-Method: POST\r\n\r\n"
        )
    };
    assert_eq!(world.request(asks("/ch/news.a")).status(), 200);
    // A handler that does not look at the method.
    struct Tells;
    impl dunlin::Handler for Tells {
        fn on_message(&mut self, _: &mut dunlin::Context<'_>, _: dunlin::Message<'_>) {}
        fn on_request(
            &mut self,
            cx: &mut dunlin::Context<'_>,
            request: &dunlin::Request<'_>,
        ) -> dunlin::Reply {
            let may = Action::ALL.iter().any(|action| cx.may_all(*action, ""));
            let text = format!("{may} {:?}", request.user());
            dunlin::http::Response::text(200, text).into()
        }
    }
    let settings = RouteSettings {
        keys: keys(),
        ..RouteSettings::default()
    };
    world.route_with("/tells", settings, || Tells);
    assert_eq!(world.request(asks("/tells")).text(), "false None");
    let get = |key| format!("GET /tells?token={key} HTTP/1.1\r\nHost: sim\r\n\r\n");
    assert_eq!(world.request(get("everything")).text(), "true None");
    assert_eq!(world.request(get("reads")).text(), "false Some(\"ann\")");
}

#[test]
fn what_a_route_needs_it_needs_of_messages_too() {
    struct Asks;
    impl dunlin::Handler for Asks {
        fn on_message(&mut self, cx: &mut dunlin::Context<'_>, message: dunlin::Message<'_>) {
            let key = String::from_utf8_lossy(message.as_bytes()).into_owned();
            let told = match cx.authenticate(&key) {
                Ok(_) => "in".to_owned(),
                Err(why) => why.to_string(),
            };
            cx.send_text(&told);
        }
    }
    let mut world = World::new(WorkerSettings::default());
    let all = rights(&[(Action::Subscribe, "*")]);
    let settings = RouteSettings {
        keys: keys()
            .grant("hears all", Grant::new("ann", &all))
            .need(Action::Subscribe)
            .in_message(),
        ..RouteSettings::default()
    };
    world.route_with("/asks", settings, || Asks);
    assert_eq!(world.connect_refused("/asks?token=reads").status(), 403);
    world.connect("/asks?token=hears%20all");
    let mut client = world.connect("/asks");
    client.send_text("reads");
    client.expect_text("what the token allows is too little for this route");
    client.send_text("hears all");
    client.expect_text("in");
    client.send_text("reads");
    client.expect_text("what the token allows is too little for this route");
    assert_eq!(world.refused("permission"), 3);
}
