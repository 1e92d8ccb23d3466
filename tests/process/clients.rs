//! One process per client: what websocketd's users rely on, and where we are better.

use dunlin::Message;
use dunlin::net::{ClientError, Received};

use crate::machine::{children, eventually, number, state};
use crate::rig::{Rig, say, text, to_the_end};

#[test]
fn ts_1_a_script_counts_and_ends_with_1000() {
    let rig = Rig::flags(&[
        "--exec",
        "count=sh -c 'for i in 1 2 3 4 5; do echo $i; sleep 0.01; done'",
    ]);
    let expected = ["1", "2", "3", "4", "5"].map(str::to_owned).to_vec();
    assert_eq!(
        to_the_end(&mut rig.connect("/exec/count")),
        (expected, 1000)
    );
    rig.has_no_children();
}

#[test]
fn ts_2_a_script_echoes() {
    let rig = Rig::flags(&["--exec", "echo=cat"]);
    let mut client = rig.connect("/exec/echo");
    say(&mut client, "hello");
    say(&mut client, "a\nb");
    say(&mut client, "");
    // The other kind of message is not for it.
    client.send(Message::Binary(b"binary")).unwrap();
    say(&mut client, "last");
    let got: Vec<String> = (0..5).map(|_| text(&mut client)).collect();
    assert_eq!(got, ["hello", "a", "b", "", "last"]);
}

#[test]
fn ts_3_and_ts_12_the_request_is_the_environment() {
    let rig = Rig::route("/env/{name}", "command = \"env\"");
    let headers = [
        ("X-Twice", "one"),
        ("X-Twice", "two"),
        ("X_Under", "no"),
        ("Proxy", "http://evil"),
        ("User-Agent", "the tests"),
    ];
    let mut client = rig.try_connect("/env/a%0Ab%20c?q=%41&r", &headers).unwrap();
    let (lines, code) = to_the_end(&mut client);
    assert_eq!(code, 1000);
    let value = |name: &str| {
        let mut all = lines.iter().filter_map(|line| line.split_once('='));
        all.find(|(n, _)| *n == name).map(|(_, value)| value)
    };
    let port = rig
        .served
        .base("main")
        .rsplit_once(':')
        .unwrap()
        .1
        .to_owned();
    for (name, expected) in [
        (
            "SERVER_SOFTWARE",
            concat!("dunlin/", env!("CARGO_PKG_VERSION")),
        ),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REMOTE_HOST", "127.0.0.1"),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", &*port),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", "/"),
        ("PATH_INFO", "/env/a b c"),
        ("PATH_TRANSLATED", "/env/a b c"),
        ("QUERY_STRING", "q=%41&r"),
        ("REQUEST_URI", "/env/a%0Ab%20c?q=%41&r"),
        ("AUTH_TYPE", ""),
        ("CONTENT_LENGTH", ""),
        ("CONTENT_TYPE", ""),
        ("REMOTE_IDENT", ""),
        ("REMOTE_USER", ""),
        ("HTTP_X_TWICE", "one, two"),
        ("HTTP_USER_AGENT", "the tests"),
        ("HTTP_SEC_WEBSOCKET_VERSION", "13"),
    ] {
        assert_eq!(value(name), Some(expected), "{name}: {lines:#?}");
    }
    assert!(value("REMOTE_PORT").unwrap().parse::<u16>().is_ok());
    assert!(value("UNIQUE_ID").unwrap().parse::<u64>().is_ok());
    for absent in ["HTTP_X_UNDER", "HTTP_PROXY", "HTTPS", "HOME", "DUNLIN_KEY"] {
        assert_eq!(value(absent), None, "{absent}");
    }
    assert!(lines.iter().all(|line| line.contains('=')), "{lines:#?}");
}

#[test]
fn ts_4_a_client_quits() {
    let lines = "command = \"cat\"\nquit_word = \"quit\"\nquit_reply = \"close connect\"";
    let rig = Rig::route("/logs", lines);
    let mut client = rig.connect("/logs");
    say(&mut client, "hello");
    assert_eq!(text(&mut client), "hello");
    say(&mut client, "please quit now");
    assert_eq!(
        to_the_end(&mut client),
        (vec!["close connect".to_owned()], 1000)
    );
    rig.has_no_children();
}

#[test]
fn ts_5_a_client_goes_and_its_process_hears_of_it_in_order() {
    let folder = std::env::temp_dir().join(format!("dunlin-ts5-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let notes = folder.join("notes");
    // It notes everything and goes on, until it is killed.
    let script = format!(
        "trap 'echo INT >>{0}' INT; trap 'echo TERM >>{0}' TERM; echo $$; cat; echo EOF >>{0}; \
         while :; do sleep 0.01; done",
        notes.display()
    );
    let quoted = script.replace('\'', "'\\''");
    let rig = Rig::flags(&["--exec", &format!("stubborn=sh -c '{quoted}'")]);
    let mut client = rig.connect("/exec/stubborn");
    let pid: u32 = text(&mut client).parse().unwrap();
    assert!(state(pid).is_some());
    drop(client);
    eventually("it is gone", || state(pid).is_none().then_some(()));
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "EOF\nINT\nTERM\n");
    rig.has_no_children();
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn ts_6_a_slow_client_makes_its_process_wait_and_costs_little_memory() {
    let rig = Rig::flags(&[
        "--exec",
        "flood=yes 0123456789012345678901234567890123456789",
    ]);
    let mut client = rig.connect("/exec/flood");
    assert!(text(&mut client).starts_with("0123"));
    let child = eventually("it runs", || children(rig.pid()).first().copied());
    let (mut last, mut still) = (0, 0);
    let written = eventually("it waits", || {
        let now = number(child, "io", "wchar:")?;
        still = if now == last { still + 1 } else { 0 };
        last = now;
        (still > 100).then_some(now)
    });
    // What lies in the kernel's buffers and in ours.
    assert!(
        written < 16 << 20,
        "it has written {written} bytes that nobody reads"
    );
    let resident = number(rig.pid(), "status", "VmRSS:").unwrap();
    assert!(resident < 64 << 10, "{resident} kB");
    for _ in 0..500_000 {
        let line = text(&mut client);
        assert_eq!(line, "0123456789012345678901234567890123456789");
    }
    assert!(
        number(child, "io", "wchar:").unwrap() > written,
        "it goes on"
    );
    drop(client);
    rig.has_no_children();
}

#[test]
fn ts_7_what_is_no_utf_8_is_replaced_or_binary() {
    let command = r#"command = 'printf "a\\377b\\nfine\\n"'"#;
    let rig = Rig::route("/x", command);
    let (texts, _) = to_the_end(&mut rig.connect("/x"));
    assert_eq!(texts, ["a\u{fffd}b", "fine"]);
    let rig = Rig::route("/x", &format!("{command}\ninvalid_utf8 = \"binary\""));
    let mut client = rig.connect("/x");
    assert_eq!(
        client.receive().unwrap(),
        Received::Binary(b"a\xffb".to_vec())
    );
    assert_eq!(text(&mut client), "fine");
}

#[test]
fn ts_8_a_last_line_without_end_is_delivered() {
    let rig = Rig::flags(&["--exec", "last=printf 'one\\r\\ntwo'"]);
    let (texts, code) = to_the_end(&mut rig.connect("/exec/last"));
    assert_eq!(
        (texts, code),
        (vec!["one".to_owned(), "two".to_owned()], 1000)
    );
}

#[test]
fn ts_10_no_more_processes_run_than_may() {
    let rig = Rig::route("/cat", "command = \"cat\"\nforks_max = 2");
    let mut clients = vec![rig.connect("/cat"), rig.connect("/cat")];
    for client in &mut clients {
        say(client, "here");
        assert_eq!(text(client), "here");
    }
    match rig.try_connect("/cat", &[]) {
        Err(ClientError::Refused(status, _)) => assert_eq!(status, 429),
        other => panic!("{:?}", other.map(drop)),
    }
    clients.pop();
    // A process counts until it is gone.
    let mut again = eventually("there is room again", || rig.try_connect("/cat", &[]).ok());
    say(&mut again, "again");
    assert_eq!(text(&mut again), "again");
}

#[test]
fn bytes_pass_through_in_both_directions() {
    let rig = Rig::route("/raw", "command = \"cat\"\nbinary = true");
    let mut client = rig.connect("/raw");
    let sent: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    client.send(Message::Binary(&sent)).unwrap();
    let mut got = Vec::new();
    while got.len() < sent.len() {
        match client.receive().unwrap() {
            Received::Binary(bytes) => got.extend(bytes),
            other => panic!("{other:?}"),
        }
    }
    assert!(got == sent, "something has changed on the way");
}

#[test]
fn a_line_that_is_too_long_is_cut_or_the_end() {
    let lines =
        "shell = true\ncommand = 'head -c 250 /dev/zero | tr \"\\000\" x'\nmessage_bytes_max = 100";
    let rig = Rig::route("/x", lines);
    let (texts, code) = to_the_end(&mut rig.connect("/x"));
    let lengths: Vec<usize> = texts.iter().map(String::len).collect();
    assert_eq!((lengths, code), (vec![100, 100, 50], 1000));
    let rig = Rig::route("/x", &format!("{lines}\nlong_lines = \"close\""));
    assert_eq!(to_the_end(&mut rig.connect("/x")), (Vec::new(), 1009));
}

#[test]
fn a_program_that_is_not_there_is_told_and_logged() {
    let rig = Rig::flags(&["--exec", "gone=/no/such/program"]);
    assert_eq!(
        to_the_end(&mut rig.connect("/exec/gone")),
        (Vec::new(), 1011)
    );
    let line = rig.served.running.err_line("kind=process_start");
    assert!(line.contains("/no/such/program"), "{line}");
}

#[test]
fn what_a_process_says_on_standard_error_is_logged() {
    let rig = Rig::flags(&[
        "--exec",
        "err=sh -c 'echo to the log >&2; echo to the client'",
    ]);
    let (texts, _) = to_the_end(&mut rig.connect("/exec/err"));
    assert_eq!(texts, ["to the client"]);
    let line = rig.served.running.err_line("kind=process_stderr");
    assert!(line.contains("to the log"), "{line}");
}

#[test]
fn a_page_of_elsewhere_starts_no_program() {
    let rig = Rig::flags(&["--exec", "cat=cat"]);
    match rig.try_connect("/exec/cat", &[("Origin", "https://example.org")]) {
        Err(ClientError::Refused(status, _)) => assert_eq!(status, 403),
        other => panic!("{:?}", other.map(drop)),
    }
    assert!(
        rig.try_connect("/exec/cat", &[("Origin", "http://localhost:8000")])
            .is_ok()
    );
}

#[test]
fn a_drain_ends_processes_as_their_clients_would() {
    let mut rig = Rig::flags(&["--exec", "cat=cat"]);
    let mut client = rig.connect("/exec/cat");
    say(&mut client, "here");
    assert_eq!(text(&mut client), "here");
    let child = eventually("it runs", || children(rig.pid()).first().copied());
    rig.served.running.signal("-TERM");
    assert_eq!(to_the_end(&mut client), (Vec::new(), 1012));
    assert!(rig.served.running.wait().success());
    assert!(state(child).is_none());
}

#[test]
fn a_command_for_a_shell_is_refused_with_the_way_out() {
    let ended = crate::program::run(&mut crate::program::dunlin(&[
        "check",
        "--exec",
        "two=cat x | grep y",
    ]));
    assert_eq!(ended.code, Some(78));
    assert!(ended.err.contains("for a shell"), "{}", ended.err);
    let ended = crate::program::run(&mut crate::program::dunlin(&["check", "--exec", "a b=cat"]));
    assert!(ended.err.contains("NAME="), "{}", ended.err);
}
