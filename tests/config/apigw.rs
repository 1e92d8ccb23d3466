//! The settings of a gateway between devices and HTTP back ends.

use dunlin::config::{Config, Dialect, Input};

use crate::program::{TempFile, dunlin, run};
use crate::{check, printed, refused};

const ROUTE: &str = "[[route]]\npath = \"/{api*}\"\ndialect = \"apigw\"\n";

/// A gateway with these lines of its route.
fn gateway(route: &str) -> String {
    format!("{ROUTE}back_ends = [\"/=http://127.0.0.1:3000\"]\n{route}\n")
}

fn load(text: &str) -> Config {
    let file = TempFile::new("apigw.toml", text);
    let input = Input {
        file: Some(file.as_str().into()),
        ..Input::default()
    };
    Config::load(&input).unwrap()
}

#[test]
fn a_gateway_needs_back_ends_that_can_be_reached() {
    assert_eq!(check(&gateway("")).code, Some(0));
    let err = refused(ROUTE);
    assert!(
        err.starts_with("FILE:1:1: a gateway needs a back end: write `back_ends`"),
        "{err}"
    );
    for (row, why) in [
        ("/=https://app/", "this build has no TLS"),
        ("/=app:3000", "write HOST/PATH=http://HOST:PORT/PATH"),
        ("http://app:3000", "write HOST/PATH=http://HOST:PORT/PATH"),
        ("/=http://app/?x=1", "has no query"),
        ("api:80/=http://app/", "a host has no port here"),
    ] {
        let err = refused(&format!("{ROUTE}back_ends = [\"{row}\"]\n"));
        assert!(err.starts_with("FILE:4:1: ") && err.contains(why), "{err}");
        let err = refused(&format!("[apigw]\nback_ends = [\"{row}\"]\n{ROUTE}"));
        assert!(err.starts_with("FILE:2:1: ") && err.contains(why), "{err}");
    }
}

#[test]
fn keys_and_paths_are_checked_and_keys_are_not_shown() {
    let err = refused(&gateway("app_keys = [\"nothing\"]"));
    assert!(
        err.starts_with("FILE:5:1: `app_keys`: an app key is written KEY=SECRET"),
        "{err}"
    );
    assert!(!err.contains("nothing"), "{err}");
    let err = refused(&gateway("app_keys = [\"***\"]"));
    assert!(err.contains("stands for a key"), "{err}");
    for bad in ["notify", "/a?b", "/%41", "/a b"] {
        let err = refused(&gateway(&format!("notify_paths = [\"{bad}\"]")));
        assert!(err.starts_with("FILE:5:1: `notify_paths`: "), "{err}");
        let err = refused(&gateway(&format!("register_paths = [\"{bad}\"]")));
        assert!(err.starts_with("FILE:5:1: `register_paths`: "), "{err}");
    }
    let text = gateway("app_keys = [\"12344133=secret123\"]\nkeep_alive_ms = \"10s\"");
    let file = TempFile::new("print.toml", &text);
    let ended = run(&mut dunlin(&["--print-config", "--config", file.as_str()]));
    assert!(!ended.out.contains("secret123"), "{}", ended.out);
    assert!(printed(&ended, "app_keys").starts_with("app_keys = [] # default"));
    assert!(
        ended.out.contains("\napp_keys = [\"***\"] "),
        "{}",
        ended.out
    );
    assert!(
        ended.out.contains("\nkeep_alive_ms = 10000 "),
        "{}",
        ended.out
    );
}

#[test]
fn an_unknown_key_is_told_with_the_nearest() {
    let err = refused(&gateway("takover_ms = 1"));
    assert!(err.contains("did you mean \"takeover_ms\"?"), "{err}");
    let err = refused(&gateway("keep_alive_ms = 0"));
    assert!(
        err.starts_with("FILE:5:17: `keep_alive_ms` = 0 is not within 1 to "),
        "{err}"
    );
}

#[test]
fn back_ends_are_called_and_their_answers_may_be_as_large_as_messages() {
    let config = load(
        "[apigw]\nback_ends = [\"/=http://[::1]:3000\", \"api/v1=http://inner/x\"]\n\
         [[route]]\npath = \"/{api*}\"\ndialect = \"apigw\"\n",
    );
    let called: Vec<_> = config.applications().collect();
    assert_eq!(called, [("::1", 3000), ("inner", 80)]);
    assert_eq!(config.worker.calls.answer_bytes_max, 1 << 20);
    let route = config
        .routes
        .iter()
        .find(|r| r.dialect == Dialect::ApiGateway);
    let settings = &route.unwrap().settings;
    assert_eq!(
        (settings.messages_per_second, settings.messages_burst),
        (500, 5000)
    );
    let own = load(&(gateway("") + "[calls]\nanswer_bytes_max = \"2KiB\"\n"));
    assert_eq!(own.worker.calls.answer_bytes_max, 2 << 10);
}

#[test]
fn the_environment_says_it_too() {
    let file = TempFile::new("env.toml", ROUTE);
    let mut command = dunlin(&["--print-config", "--config", file.as_str()]);
    command.env(
        "DUNLIN_APIGW__BACK_ENDS",
        "/=http://127.0.0.1:1,/b=http://127.0.0.1:2",
    );
    command.env("DUNLIN_APIGW__LIFETIME_MS", "1h");
    let ended = run(&mut command);
    assert_eq!(
        printed(&ended, "back_ends"),
        "back_ends = [\"/=http://127.0.0.1:1\", \"/b=http://127.0.0.1:2\"] # environment variable DUNLIN_APIGW__BACK_ENDS"
    );
    assert!(printed(&ended, "lifetime_ms").starts_with("lifetime_ms = 3600000 "));
}
