//! What single settings do, by the real program.

use super::*;

#[test]
fn pubsub_takes_64_kib_and_echo_a_mebibyte() {
    let served = Served::start(&[]);
    let long = "x".repeat(64 * 1024 + 1);
    let mut echo = Client::connect(&served.url("main", "/echo"), &[]).unwrap();
    echo.send(dunlin::Message::Text(&long)).unwrap();
    assert_eq!(echo.receive().unwrap(), Received::Text(long.clone()));
    let mut chain = Client::connect(&served.url("main", "/ws"), &[]).unwrap();
    chain.send(dunlin::Message::Text(&long)).unwrap();
    assert!(matches!(
        chain.receive().unwrap(),
        Received::Closed(dunlin::CloseCode::TOO_BIG, _)
    ));
}

#[test]
fn the_application_is_found_by_the_variables_of_a_manifest() {
    let print = |file: &str, variables: &[(&str, &str)]| {
        let file = TempFile::new("tapr.toml", file);
        let mut command = dunlin(&["--config", file.as_str(), "--print-config"]);
        let mut ended = run(command.envs(variables.iter().copied()));
        // Another dialect may have a key of the same name.
        if let Some(at) = ended.out.find("\n[tapr]\n") {
            ended.out.drain(..at);
        }
        printed(&ended, "callback").replace(file.as_str(), "FILE")
    };
    let port = ("WS_PORT", "3010");
    let both = [port, ("WS_URL", "/ws/message")];
    assert_eq!(
        print("", &both),
        "callback = \"http://127.0.0.1:3010/ws/message\" # environment variable WS_PORT and WS_URL"
    );
    // One of them alone, or empty, is none.
    assert_eq!(print("", &[port]), "callback = \"\" # default");
    assert_eq!(
        print("", &[port, ("WS_URL", "")]),
        "callback = \"\" # default"
    );
    let own = "[tapr]\ncallback = \"http://app:1/x\"\n";
    assert_eq!(
        print(own, &both),
        "callback = \"http://app:1/x\" # FILE:2:1"
    );
    assert_eq!(
        print(own, &[both[0], both[1], ("DUNLIN_TAPR__CALLBACK", "")]),
        "callback = \"\" # environment variable DUNLIN_TAPR__CALLBACK"
    );

    let mut command = dunlin(&["check"]);
    let ended = run(command.envs([port, ("WS_URL", "message")]));
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(
        ended.err.starts_with(
            "environment variable WS_PORT and WS_URL: \"http://127.0.0.1:3010message\" is not a URL"
        ),
        "{ended:?}"
    );
    let err = refused("[tapr]\ncallback = \"https://app/\"\n");
    assert!(err.starts_with("FILE:2:1: \"https://app/\""), "{err}");
    assert!(err.contains("`callback` = \"\""), "the way out: {err}");
    let err = refused("[[route]]\npath = \"/x\"\ndialect = \"tapr\"\nping_timeout_ms = 1\n");
    assert!(err.contains("unknown key \"ping_timeout_ms\""), "{err}");
}

#[test]
fn the_sandbox_is_a_switch_with_a_third_word() {
    let printed_with = |text: &str| {
        let file = TempFile::new("sandbox.toml", text);
        let args = ["check", "--print-config", "--config", file.as_str()];
        let mut ended = run(&mut dunlin(&args));
        ended.out = ended.out.replace(file.as_str(), "FILE");
        printed(&ended, "sandbox")
    };
    assert_eq!(printed_with(""), "sandbox = true # default");
    assert_eq!(printed_with("sandbox = true"), "sandbox = true # FILE:1:1");
    assert_eq!(
        printed_with("sandbox = false"),
        "sandbox = false # FILE:1:1"
    );
    let wants = "`sandbox` wants one of true, false, required, this is ";
    assert_eq!(refused("sandbox = 1"), format!("FILE:1:11: {wants}\"1\"\n"));
    let required = "sandbox = \"required\"";
    if dunlin::net::HAS_SANDBOX {
        assert_eq!(printed_with(required), "sandbox = \"required\" # FILE:1:1");
    } else {
        let said = refused(required);
        assert!(said.starts_with("FILE:1:1: "), "{said}");
        assert!(said.contains("--features sandbox"), "{said}");
    }
    let ended = run(&mut dunlin(&["check", "--sandbox", "of"]));
    assert_eq!(ended.code, Some(78));
    assert!(
        ended.err.contains("flag --sandbox: `sandbox` wants"),
        "{}",
        ended.err
    );
}

#[test]
fn options_of_channels_reach_every_route_of_pubsub_and_no_other() {
    let text = "[[pubsub.channels]]\nmatch = \"ticks.*\"\nslow = \"latest\"\n\
                [[pubsub.channels]]\nmatch = \"log\"\nslow = \"drop_oldest\"\n\
                [[route]]\npath = \"/room/{channel}\"\ndialect = \"pubsub\"\n";
    let file = TempFile::new("channels.toml", text);
    let input = Input {
        file: Some(file.as_str().into()),
        ..Input::default()
    };
    let config = Config::load(&input).unwrap();
    let expected = [
        ChannelOptions::of("ticks.*").slow(SlowPolicy::Latest),
        ChannelOptions::of("log").slow(SlowPolicy::DropOldest),
    ];
    for route in &config.routes {
        let is_pubsub = route.dialect == Dialect::PubSub;
        let expected = if is_pubsub { &expected[..] } else { &[] };
        assert_eq!(route.settings.channels, expected, "{}", route.path);
    }
    let routes = config.routes.iter();
    assert_eq!(routes.filter(|r| r.dialect == Dialect::PubSub).count(), 5);
}
