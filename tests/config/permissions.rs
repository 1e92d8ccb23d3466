//! Keys and tokens that allow some things, by the real program.

use super::*;

#[test]
fn a_key_with_permissions_opens_no_more_than_they_say() {
    let text = "[[key]]\nkey = \"reads\"\nuser = \"ann\"\nsubscribe = [\"news.*\", \"user.{user}\"]\n\
                [[key]]\nkey = \"chats\"\nsubscribe = \"*\"\npublish = \"*\"\n\
                [[key]]\nkey = \"looks-after\"\nadmin = \"*\"\n\
                [[route]]\npath = \"/own/{channel}\"\ndialect = \"pubsub\"\nkeys = [\"own\"]\n\
                [[route]]\npath = \"/both/{channel}\"\ndialect = \"pubsub\"\nkeys = [\"own\"]\nshared_keys = true\n";
    let file = TempFile::new("permissions.toml", text);
    let served = Served::start(&["--config", file.as_str()]);
    let answer = |base: &str, target: &str| {
        let asked = format!(
            "{target}{}token=",
            if target.contains('?') { "&" } else { "?" }
        );
        ["reads", "chats", "looks-after", "own", "wrong"].map(|key| {
            let answer = http_request("GET", &format!("{base}{asked}{key}"), &[], b"");
            answer.unwrap().status
        })
    };
    let http = |listener| served.base(listener).replace("ws://", "http://");
    let (main, control) = (http("main"), http("control"));
    for (base, target, expected) in [
        (&main, "/ch/news.a?info", [200, 200, 200, 401, 401]),
        (&main, "/ch/user.ann?info", [200, 200, 200, 401, 401]),
        (&main, "/ch/weather?info", [403, 200, 200, 401, 401]),
        (&main, "/ws/status", [403, 200, 403, 401, 401]),
        (&main, "/own/news.a?info", [401, 401, 401, 200, 401]),
        (&main, "/both/news.a?info", [200, 200, 200, 200, 401]),
        (&control, "/metrics", [403, 403, 200, 401, 401]),
        (&control, "/v1/connections", [403, 403, 200, 401, 401]),
        (&control, "/healthz", [200; 5]),
    ] {
        assert_eq!(answer(base, target), expected, "{target}");
    }
}
