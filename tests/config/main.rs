//! Configuration through the real program: order of force, mistakes, `check`, `--print-config`.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../program/mod.rs"]
mod program;

mod apigw;
mod gateway;
mod permissions;
mod settings;

use dunlin::config::{Config, Dialect, Input};
use dunlin::hub::{ChannelOptions, SlowPolicy};
use dunlin::net::{Client, ClientError, Received, http_request};
use program::{Ended, Served, TempFile, dunlin, run};

fn check(text: &str) -> Ended {
    let file = TempFile::new("check.toml", text);
    let mut ended = run(&mut dunlin(&["check", "--config", file.as_str()]));
    ended.err = ended.err.replace(file.as_str(), "FILE");
    ended
}

fn refused(text: &str) -> String {
    let ended = check(text);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(78), ""),
        "{ended:?}"
    );
    ended.err
}

/// The value of a setting with the comment behind it.
fn printed(ended: &Ended, name: &str) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let line = ended
        .out
        .lines()
        .find(|line| line.starts_with(&format!("{name} = ")))
        .unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn check_says_ok_and_binds_nothing() {
    let ended = check("listen = \"localhost:1\"\n");
    assert_eq!(
        (ended.code, ended.out.as_str(), ended.err.as_str()),
        (Some(0), "ok\n", "")
    );
    assert_eq!(check("").code, Some(0));
}

#[test]
fn mistakes_have_a_place_and_a_way_out() {
    for (text, says) in [
        (
            "a = 1\nlisen = 1\n",
            "FILE:2:1: unknown key \"lisen\", did you mean \"listen\"?",
        ),
        (
            "[limits]\n  hedears_max = 9\n",
            "FILE:2:3: unknown key \"hedears_max\" in [limits], did you mean \"headers_max\"?",
        ),
        (
            "headers_max = 9\n",
            "FILE:1:1: unknown key \"headers_max\", it belongs to [limits]",
        ),
        ("[pubsub]\npresence = true\n", "it belongs to [chat]"),
        (
            "[pubsub]\nchanels = 1\n",
            "FILE:2:1: unknown key \"chanels\" in [pubsub], did you mean \"channels\"?",
        ),
        (
            "[[pubsub.channels]]\nmatch = \"a*b\"\nslow = \"close\"\n",
            "FILE:2:9: `match`: a `*` stands for the rest of a name, so it comes last",
        ),
        (
            "[[pubsub.channels]]\nmatch = \"a*\"\n",
            "FILE:1:1: nothing is said of these channels: one of slow, history_messages_max, history_bytes_max, history_ms_max, subscribe, publish, presence, join_leave, callback, history_durable is missing here",
        ),
        (
            "[[pubsub.channels]]\nslow = \"latest\"\n",
            "FILE:1:1: `match` is missing here",
        ),
        (
            "[[pubsub.channels]]\nmatch = \"a*\"\nslow = \"lates\"\n",
            "FILE:3:8: `slow` wants one of close, drop_oldest, latest, this is \"lates\", did you mean \"latest\"?",
        ),
        (
            "[[pubsub.channels]]\nmatch = \"a*\"\nslwo = \"latest\"\n",
            "FILE:3:1: unknown key \"slwo\" in [[pubsub.channels]], did you mean \"slow\"?",
        ),
        (
            "[[pubsub.channels]]\nmatch = \"a*\"\nslow = \"latest\"\n\
             [[pubsub.channels]]\nmatch = \"a*\"\nslow = \"close\"\n",
            "FILE:5:9: `match` = \"a*\" stands at FILE:1:1 too",
        ),
        (
            "[[pubsub.channels]]\nmatch = \"a*\"\nsubscribe = \"user\"\n",
            "FILE:3:13: `subscribe` wants one of anyone, users, nobody, this is \"user\", did you mean \"users\"?",
        ),
        (
            "[[pubsub.channels]]\nmatch = \"a*\"\npresence = 1\n",
            "FILE:3:12: `presence` wants true or false, this is a number",
        ),
        #[cfg(not(feature = "hierachain-history"))]
        (
            "[[hierachain.channels]]\nmatch = \"sc\"\nhistory_messages_max = 1\n",
            "FILE:1:14: \"channels\" in [hierachain] is not in this build: `cargo build --release --features hierachain-history` has it",
        ),
        #[cfg(feature = "hierachain-history")]
        (
            "[[hierachain.channels]]\nmatch = \"sc\"\nslow = \"latest\"\n",
            "FILE:3:1: `slow` says nothing of chains: it is one of history_messages_max, history_bytes_max, history_ms_max, history_durable here",
        ),
        #[cfg(feature = "hierachain-history")]
        (
            "[[hierachain.channels]]\nmatch = \"s\\u001Fc\"\nhistory_messages_max = 1\n",
            "FILE:2:9: `match`: no channel has control characters in its name",
        ),
        #[cfg(not(feature = "presence"))]
        (
            "[[pubsub.channels]]\nmatch = \"a*\"\npresence = true\n",
            "FILE:1:1: this build knows nobody in channels: build it with the feature `presence`",
        ),
        #[cfg(not(feature = "presence"))]
        (
            "[pubsub]\npresence_list_max = 1\n",
            "FILE:2:1: \"presence_list_max\" in [pubsub] is not in this build",
        ),
        #[cfg(feature = "presence")]
        (
            "[[pubsub.channels]]\nmatch = \"a*\"\ncallback = true\n",
            "FILE:1:1: `callback` = true needs somebody to be told: write its URL as `callback` in [pubsub]",
        ),
        #[cfg(feature = "presence")]
        (
            "[pubsub]\ncallback = \"ftp://a\"\n",
            "FILE:2:1: \"ftp://a\" is not a URL that can be called: write http://HOST:PORT/PATH",
        ),
        (
            "[pubsub.channels]\nmatch = \"a*\"\nslow = \"latest\"\n",
            "FILE:1:1: there may be several: write [[pubsub.channels]]",
        ),
        (
            "[[route]]\npath = \"/x\"\ndialect = \"pubsub\"\nchannels = []\n",
            "FILE:4:1: the routes of pubsub share their channels: write [[pubsub.channels]]",
        ),
        (
            "key = \"a\"\n",
            "FILE:1:7: there may be several: write [[key]]",
        ),
        ("[[key]]\nuser = \"a\"\n", "FILE:1:1: `key` is missing here"),
        (
            "[[key]]\nkey = \"a\"\nuser = \"ann\"\n",
            "FILE:1:1: this key allows nothing",
        ),
        (
            "[[key]]\nkey = \"a b\"\nsubscribe = [\"*\"]\n",
            "FILE:2:7: a key is made of printable ASCII",
        ),
        (
            "[[key]]\nkey = \"***\"\nsubscribe = [\"*\"]\n",
            "FILE:2:7: \"***\" stands for a key",
        ),
        (
            "[[key]]\nkey = \"a\"\nsubscrib = [\"*\"]\n",
            "FILE:3:1: unknown key \"subscrib\" in [[key]], did you mean \"subscribe\"?",
        ),
        (
            "[[key]]\nkey = \"a\"\nsubscribe = [\"a\", \"a*b\"]\n",
            "FILE:3:13: `subscribe`: \"a*b\": a `*` stands for the rest of a name, so it comes last",
        ),
        (
            "[[key]]\nkey = \"a\"\nuser = \"ann\"\nsubscribe = [\"u.{user}*\"]\n",
            "FILE:4:13: `subscribe`: \"u.{user}*\": a `*` right behind `{user}`",
        ),
        (
            "[[key]]\nkey = \"a\"\nsubscribe = [\"u.{user}\"]\n",
            "FILE:1:1: `{user}` stands for the `user` of this key, and there is none",
        ),
        (
            "[[key]]\nkey = \"a\"\nuser = \"\"\nsubscribe = [\"a\"]\n",
            "FILE:3:8: `user`: the channel name is empty",
        ),
        (
            "[[key]]\nkey = \"a\"\nadmin = [\"a\"]\n",
            "FILE:3:9: `admin` knows no channels",
        ),
        (
            "[[key]]\nkey = \"a\"\nsubscribe = [\"a\"]\n[[key]]\nkey = \"a\"\npublish = [\"a\"]\n",
            "FILE:5:7: the same key stands at FILE:1:1 too",
        ),
        (
            "keys = [\"a\"]\nkey_cookie = \"k\"\n",
            "FILE:2:1: `key_cookie` with `origins` = \"*\" would let every page",
        ),
        (
            "key_cookie = \"a b\"\norigins = [\"https://a.example\"]\n",
            "FILE:1:1: \"a b\" is no name of a cookie",
        ),
        (
            "[chat]\nkey_in_message = true\n",
            "FILE:2:1: `key_in_message` needs a dialect with a message for it (pubsub), and \"chat\" has none",
        ),
        ("[limist]\n", "did you mean \"limits\"?"),
        (
            "listen = [1]\n",
            "FILE:1:10: `listen` is a list of strings, and one of them is a number",
        ),
        (
            "listen = \"example.org:80\"\n",
            "FILE:1:1: \"example.org:80\" is not an address to listen on: write IP:PORT",
        ),
        (
            "connections_max = 0\n",
            "FILE:1:19: `connections_max` = 0 is not within 1 to",
        ),
        (
            "connections_max = -1\n",
            "`connections_max` = -1 is not within",
        ),
        (
            "drain_timeout_ms = 1.5\n",
            "wants milliseconds or a string with a unit",
        ),
        ("drain_timeout_ms = \"30 sec\"\n", "this is \"30 sec\""),
        (
            "[limits]\nslow = \"clsoe\"\n",
            "FILE:2:8: `slow` wants one of close, drop_oldest, latest, this is \"clsoe\", did you mean \"close\"?",
        ),
        ("listen = \"x\n", "FILE:1:"),
        (
            "[log]\nlevel = \"off\"\n\n[limits]\n[log]\n",
            "FILE:5:2: `log` is already a table, in line 1, column 2\n",
        ),
        (
            "tapr.listen = \"off\"\n  tapr.listen = []\n",
            "FILE:2:8: `listen` is already a string, in line 1, column 6\n",
        ),
        (
            "listen = [\"é\", 1979-05-27]\n",
            "FILE:1:16: a date, and no setting is one\n",
        ),
        (
            "listen = [\"x\",\n  y]\n",
            "FILE:2:3: string values must be quoted, expected literal string\n",
        ),
        (
            "route = [\n  \"x\"]\n",
            "FILE:2:3: `route` is a list of tables: write [[route]]\n",
        ),
        ("[[log]]\n", "FILE:1:1: `log` is a table: write [log]\n"),
        (
            "[[listen]]\n",
            "FILE:1:1: `listen` wants a list of strings, this is a list of tables\n",
        ),
        ("log = 1\n", "`log` is a table: write [log]"),
        ("route = 1\n", "write [[route]]"),
        (
            "[[route]]\npath = \"/x\"\n",
            "FILE:1:1: `dialect` is missing here",
        ),
        (
            "[[route]]\npath = \"/x\"\ndialect = \"ecko\"\n",
            "FILE:3:11: unknown dialect \"ecko\", did you mean \"echo\"?",
        ),
        (
            "[[route]]\npath = \"/x\"\ndialect = \"echo\"\npresence = true\n",
            "FILE:4:1: unknown key \"presence\" in a route of dialect \"echo\"",
        ),
        (
            "[[route]]\npath = \"x\"\ndialect = \"echo\"\n",
            "FILE:1:1: route template \"x\": it does not begin with '/'",
        ),
        (
            "[[route]]\npath = \"/chat/{room}\"\ndialect = \"chat\"\n",
            "/chat/{group}",
        ),
        (
            "[[route]]\npath = \"/c/{name}\"\ndialect = \"pubsub\"\n",
            "takes the channel from a variable of that name",
        ),
        (
            "[[route]]\npath = \"/x\"\ndialect = \"echo\"\n[[route]]\npath = \"/x\"\ndialect = \"chat\"\n",
            "FILE:4:1: ",
        ),
        (
            "[[route]]\npath = \"/x\"\ndialect = \"echo\"\nlistener = \"mian\"\n",
            "there is no listener \"mian\", did you mean \"main\"?",
        ),
        (
            "[[listener]]\nname = \"main\"\naddress = \"localhost:0\"\n",
            "FILE:1:1: there are two listeners \"main\"",
        ),
        ("[[listener]]\nname = \"b\"\n", "`address` is missing here"),
        (
            "origins = [\"example.org\"]\n",
            "FILE:1:1: `origins`: \"example.org\" is no origin: write \"https://example.org\"",
        ),
        ("origins = [\"*\", \"null\"]\n", "\"*\" stands alone"),
        (
            "keys = [\"a b\"]\n",
            "FILE:1:1: a key is made of printable ASCII",
        ),
        ("keys = [\"***\"]\n", "put the key there"),
        (
            "[chat]\nslow = \"drop_oldest\"\n",
            "FILE:2:1: `slow` = \"drop_oldest\" needs a dialect that can tell of the gap",
        ),
        (
            "[limits]\noutbox_bytes_max = 1000\n",
            "FILE:2:1: `outbox_bytes_max` = 1000 is smaller than `message_bytes_max`",
        ),
        (
            "listen = []\ncontrol = \"off\"\ntapr.listen = \"off\"\n",
            "there is no address to listen on",
        ),
        (
            "trusted_proxies = \"lopback\"\n",
            "FILE:1:1: `trusted_proxies`: \"lopback\" is no proxy to trust: write an address, a network \
             (\"10.0.0.0/8\"), \"loopback\" or \"unix\", did you mean \"loopback\"?",
        ),
        (
            "trusted_proxies = [\"10.0.0.1\", \"10.1.2.3/8\"]\n",
            "\"10.1.2.3/8\" is an address within its network, did you mean \"10.0.0.0/8\"?",
        ),
        ("trusted_proxies = \"0.0.0.0/0\"\n", "is everybody"),
        (
            "forwarded_header = \"x-forwarded-fro\"\n",
            "did you mean \"x-forwarded-for\"?",
        ),
        (
            "trusted_proxies = \"unix\"\nproxy_protocol = \"mian\"\n",
            "FILE:2:1: `proxy_protocol`: there is no listener \"mian\", did you mean \"main\"?",
        ),
        (
            "proxy_protocol = \"main\"\n",
            "FILE:1:1: `proxy_protocol` without `trusted_proxies`: nobody could connect",
        ),
        (
            "[[listener]]\nname = \"edge\"\naddress = \"localhost:0\"\nproxy_protocol = true\n",
            "FILE:1:1: `proxy_protocol` without `trusted_proxies`",
        ),
        (
            "[[listener]]\nname = \"edge\"\naddress = \"localhost:0\"\nproxy_protocol = \"yes\"\n",
            "FILE:4:18: `proxy_protocol` wants true or false",
        ),
        (
            "[[listener]]\nname = \"edge\"\naddress = \"localhost:0\"\nproxy_protocl = true\n",
            "did you mean \"proxy_protocol\"?",
        ),
        (
            "[limits]\naddress_dryrun = true\n",
            "did you mean \"address_dry_run\"?",
        ),
    ] {
        let err = refused(text);
        assert!(err.contains(says), "{text}\n{err}");
    }
}

#[test]
fn all_mistakes_are_told_in_the_order_of_the_file() {
    let err = refused("zzz = 1\n[limits]\nheaders_max = 1\n[log]\nlevel = \"x\"\n");
    let places: Vec<&str> = err
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(places, ["FILE:1:1", "FILE:3:15", "FILE:5:9"]);
}

#[test]
fn a_missing_file_is_66() {
    let ended = run(&mut dunlin(&["check", "--config", "/does/not/exist.toml"]));
    assert_eq!(ended.code, Some(66));
    assert!(
        ended
            .err
            .contains("configuration file /does/not/exist.toml: there is no such file"),
        "{ended:?}"
    );
    let ended = check("keys_file = \"/does/not/exist\"\n");
    assert_eq!(ended.code, Some(66));
    assert!(
        ended.err.starts_with("FILE:1:1: cannot read the keys file"),
        "{ended:?}"
    );
    let empty = TempFile::new("keys", "# none\n");
    let err = refused(&format!("keys_file = {:?}\n", empty.as_str()));
    assert!(err.contains("has no key in it"), "{err}");
}

#[test]
fn file_then_environment_then_flags() {
    let file = TempFile::new(
        "force.toml",
        "control = \"localhost:1\"\n[log]\nlevel = \"warn\"\n",
    );
    let args = ["--config", file.as_str(), "--print-config"];
    let place = format!("# {}:3:1", file.as_str());
    let only_file = run(&mut dunlin(&args));
    assert_eq!(
        printed(&only_file, "level"),
        format!("level = \"warn\" {place}")
    );
    assert_eq!(
        printed(&only_file, "listen"),
        "listen = [\"localhost:2661\"] # default"
    );

    let mut with = dunlin(&args);
    with.env("DUNLIN_LOG__LEVEL", "error")
        .env("DUNLIN_CONTROL", "localhost:2, localhost:3");
    let both = run(&mut with);
    assert_eq!(
        printed(&both, "level"),
        "level = \"error\" # environment variable DUNLIN_LOG__LEVEL"
    );
    let control =
        "control = [\"localhost:2\", \"localhost:3\"] # environment variable DUNLIN_CONTROL";
    assert_eq!(printed(&both, "control"), control);

    let all = run(with.args(["--log-level", "off", "--control", "localhost:4"]));
    assert_eq!(printed(&all, "level"), "level = \"off\" # flag --log-level");
    assert_eq!(
        printed(&all, "control"),
        "control = [\"localhost:4\"] # flag --control"
    );

    let ended = run(dunlin(&["--print-config"]).env("DUNLIN_CONFIG", file.as_str()));
    assert_eq!(
        printed(&ended, "level"),
        format!("level = \"warn\" {place}")
    );
}

#[test]
fn the_environment_is_checked_like_the_file() {
    for (name, value, says) in [
        ("DUNLIN_LISTN", "x", "did you mean \"DUNLIN_LISTEN\"?"),
        (
            "DUNLIN_LIMITS__HEADERS_MAX",
            "many",
            "`headers_max` wants a whole number, this is \"many\"",
        ),
        ("DUNLIN_PUBLIC_WITHOUT_KEYS", "yes", "wants true or false"),
    ] {
        let ended = run(dunlin(&["check"]).env(name, value));
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(
            ended
                .err
                .contains(&format!("environment variable {name}: ")),
            "{ended:?}"
        );
        assert!(ended.err.contains(says), "{ended:?}");
    }
    // Kubernetes puts these beside every process once a service is called `dunlin`.
    let mut linked = dunlin(&["check"]);
    linked
        .env("DUNLIN_SERVICE_HOST", "10.0.0.1")
        .env("DUNLIN_PORT_2661_TCP", "tcp://10.0.0.1:2661");
    assert_eq!(run(&mut linked).code, Some(0));
}

#[test]
fn print_config_can_be_read_again() {
    let keys = TempFile::new("keys", "geheim\n");
    let text = format!(
        "listen = [\"localhost:0\", \"127.0.0.1:0\"]\ntrusted_proxies = [\"10.0.0.0/8\", \"unix\"]\n\
         forwarded_header = \"forwarded\"\nproxy_protocol = \"tapr\"\nkeys_file = {:?}\norigins = [\"https://a.example\", \"null\"]\n\
         [limits]\nmessage_bytes_max = \"128KiB\"\nsubprotocols = [\"b\", \"a\"]\n[pubsub]\nping_after_ms = \"1m\"\n\
         [[pubsub.channels]]\nmatch = \"ticks.*\"\nslow = \"latest\"\nsubscribe = \"users\"\npublish = false\n[[pubsub.channels]]\nmatch = \"\\\"x\"\nslow = \"close\"\n\
         [[key]]\nkey = \"k1\"\nuser = \"ann\"\nsubscribe = [\"a\", \"u.{{user}}.*\"]\nadmin = \"*\"\n\
         [hierachain]\nmode = \"guide\"\n[chat]\npresence = true\n[echo]\nmessages_per_second = 100\n\
         [[listener]]\nname = \"edge\"\naddress = \"unix:/tmp/x y.sock\"\nproxy_protocol = true\n\
         [[route]]\npath = \"/room/{{channel}}\"\nlistener = \"edge\"\ndialect = \"pubsub\"\nslow = \"drop_oldest\"\n\
         drain_code = 1001\nclients_publish = true\nkeys = [\"k\"]\n\
         [[route]]\npath = \"/echo\"\ndialect = \"chat\"\n",
        keys.as_str()
    );
    let text = text.replace(
        "dialect = \"chat\"",
        "dialect = \"echo\"\nretype_utf8 = true",
    );
    #[cfg(feature = "hierachain-history")]
    let text = text
        + "[[hierachain.channels]]\nmatch = \"sc*\"\nhistory_messages_max = 10\nhistory_durable = false\n";
    let file = TempFile::new("first.toml", &text);
    let first = run(&mut dunlin(&["--config", file.as_str(), "--print-config"]));
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(
        first.out.contains("keys = [\"***\"]"),
        "a key of a route is covered: {}",
        first.out
    );
    assert!(!first.out.contains("geheim"));
    // The covered key is the one thing that has to be put in again.
    let again = TempFile::new("again.toml", &first.out.replace("\"***\"", "\"k\""));
    let checked = run(&mut dunlin(&["check", "--config", again.as_str()]));
    assert_eq!(
        (checked.code, checked.out.as_str()),
        (Some(0), "ok\n"),
        "{checked:?}"
    );
    let second = run(&mut dunlin(&["--config", again.as_str(), "--print-config"]));
    let values = |ended: &Ended| -> Vec<String> {
        let lines = ended
            .out
            .lines()
            .map(|line| line.split(" # ").next().unwrap().trim().to_owned());
        lines.collect()
    };
    assert_eq!(values(&first), values(&second));

    let defaults = run(&mut dunlin(&["--print-config"]));
    let file = TempFile::new("defaults.toml", &defaults.out);
    let again = run(&mut dunlin(&["--config", file.as_str(), "--print-config"]));
    assert_eq!(values(&defaults), values(&again));
    assert!(
        defaults.out.contains("[echo]\nmessages_per_second = 0 "),
        "{}",
        defaults.out
    );
}

#[test]
fn a_public_address_without_keys_is_refused_with_the_lines_to_add() {
    for args in [
        ["--listen", "*:0"],
        ["--listen", "0.0.0.0:0"],
        ["--control", "192.0.2.1:0"],
    ] {
        let ended = run(&mut dunlin(&args));
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(78), ""),
            "{ended:?}"
        );
        assert!(ended.err.contains(args[1]), "{ended:?}");
        assert!(
            ended.err.contains("\npublic_without_keys = true\n"),
            "{ended:?}"
        );
        let line = ended
            .err
            .lines()
            .find(|line| line.starts_with("keys = ["))
            .unwrap();
        // The line works as it stands.
        let file = TempFile::new("public.toml", line);
        let mut command = dunlin(&["check", "--config", file.as_str()]);
        assert_eq!(run(command.args(args)).code, Some(0), "{line}");
    }
    assert_eq!(
        check("listen = \"*:0\"\npublic_without_keys = true\n").code,
        Some(0)
    );
    let one_open = "listen = \"*:0\"\nkeys = [\"k\"]\n[[route]]\npath = \"/open\"\ndialect = \"echo\"\nkeys = []\n";
    let err = refused(one_open);
    assert!(
        err.starts_with(
            "FILE:1:1: *:0 can be reached from other machines, and /open would be open"
        ),
        "{err}"
    );
    let edge = "[[listener]]\nname = \"edge\"\naddress = \"*:0\"\n[[route]]\npath = \"/x\"\nlistener = \"edge\"\ndialect = \"echo\"\n";
    let err = refused(edge);
    assert!(err.starts_with("FILE:1:1: *:0 can be reached"), "{err}");
}

#[test]
fn routes_replace_the_default_ones_and_add_to_them() {
    let socket = TempFile::path("edge.sock");
    let text = format!(
        "listen = \"localhost:0\"\ncontrol = \"localhost:0\"\ntapr.listen = \"off\"\n\
         [[listener]]\nname = \"edge\"\naddress = \"unix:{}\"\n\
         [[route]]\npath = \"/echo\"\ndialect = \"echo\"\nmessage_bytes_max = 5\nkeys = [\"geheim\"]\nkey_parameter = \"api\"\n\
         [[route]]\npath = \"/more\"\ndialect = \"echo\"\norigins = [\"https://a.example\"]\nsubprotocols = [\"b\", \"a\"]\n\
         [[route]]\npath = \"/more\"\nlistener = \"edge\"\ndialect = \"echo\"\n",
        socket.as_str()
    );
    let file = TempFile::new("routes.toml", &text);
    let served = Served::start_with(&mut dunlin(&["-c", file.as_str()]));
    assert!(
        served
            .lines
            .iter()
            .any(|line| line.starts_with("edge on unix:")),
        "{:?}",
        served.lines
    );
    let echo = served.url("main", "/echo");
    assert!(Client::connect(&echo, &[]).is_err(), "it has a key now");
    let mut client = Client::connect(&format!("{echo}?api=geheim"), &[]).unwrap();
    client.send(dunlin::Message::Text("12345")).unwrap();
    assert_eq!(
        client.receive().unwrap(),
        Received::Text("12345".to_owned())
    );
    client.send(dunlin::Message::Text("123456")).unwrap();
    assert!(matches!(
        client.receive().unwrap(),
        Received::Closed(dunlin::CloseCode::TOO_BIG, _)
    ));
    let more = served.url("main", "/more");
    assert!(Client::connect(&more, &[("Origin", "https://b.example")]).is_err());
    assert!(Client::connect(&more, &[("Origin", "https://a.example")]).is_ok());
    assert!(
        Client::connect(&served.url("main", "/websocket"), &[]).is_ok(),
        "the others stay"
    );
}

#[test]
fn a_missing_key_is_401_or_where_clients_want_it_403() {
    let text = "keys = [\"geheim\"]\n[hierachain]\nkey_refusal_status = 403\n";
    let file = TempFile::new("forbidden.toml", text);
    let served = Served::start(&["-c", file.as_str()]);
    let status = |url: String| http_request("GET", &url, &[], b"").unwrap().status;
    assert_eq!(status(served.url("main", "/ws/status")), 403);
    assert_eq!(status(served.url("control", "/metrics")), 401);
    let refused = Client::connect(&served.url("main", "/ws"), &[("X-API-Key", "falsch")]);
    assert!(matches!(refused, Err(ClientError::Refused(403, _))));
    assert!(Client::connect(&served.url("main", "/ws"), &[("X-API-Key", "geheim")]).is_ok());
}

#[test]
fn default_routes_can_be_left_out() {
    let text = "listen = \"localhost:0\"\ncontrol = \"off\"\ntapr.listen = \"off\"\ndefault_routes = false\n\
                [[route]]\npath = \"/ch/{channel}\"\ndialect = \"pubsub\"\nclients_publish = true\n";
    let file = TempFile::new("few.toml", text);
    let served = Served::start_with(&mut dunlin(&["-c", file.as_str()]));
    let url = served
        .url("main", "/ch/{channel}")
        .replace("{channel}", "a");
    let mut client = Client::connect(&url, &[]).unwrap();
    client.send(dunlin::Message::Text("hi")).unwrap();
    assert_eq!(
        client.receive().unwrap(),
        Received::Text("hi".to_owned()),
        "subscribers may speak"
    );
    let ws = url
        .replace("ws://", "http://")
        .replace("/ch/a", "/ws/status");
    assert_eq!(http_request("GET", &ws, &[], b"").unwrap().status, 404);
}
