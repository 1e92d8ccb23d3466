//! The log of histories with the real program: ended, killed, started again, and with a disk that takes nothing.
#![cfg(all(feature = "cli", feature = "history-log"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dunlin::net::{Client, Received, http_request};

use support::{Child, Dunlin, Folder, eventually};

/// A folder with a configuration and a place for the log.
struct Place {
    folder: Folder,
    config: String,
}

impl Place {
    fn new(settings: &str) -> Self {
        let folder = Folder::new();
        let log = folder.0.join("log");
        let text = format!(
            "history_path = {:?}\n{settings}\n\
             [[pubsub.channels]]\nmatch = \"news\"\nhistory_messages_max = 10_000\n\
             [[pubsub.channels]]\nmatch = \"memory\"\nhistory_messages_max = 10\nhistory_durable = false\n",
            log.display()
        );
        let config = folder.file("dunlin.toml", text.as_bytes());
        let config = config.display().to_string();
        Self { folder, config }
    }

    fn log(&self) -> impl AsRef<Path> {
        self.folder.0.join("log")
    }

    fn start(&self) -> Dunlin {
        Dunlin::start(&["--config", &self.config])
    }
}

/// Publishes; answers where that stands, if there was an answer.
fn try_publish(control: &str, channel: &str, body: &str) -> Option<String> {
    try_publish_with(control, channel, &[], body)
}

fn try_publish_with(
    control: &str,
    channel: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<String> {
    let url = format!("http://{control}/ch/{channel}");
    let answer = http_request("POST", &url, headers, body.as_bytes()).ok()?;
    assert_eq!(answer.status, 200);
    let text = String::from_utf8(answer.body).unwrap();
    let (_, rest) = text.split_once("\"position\":\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

fn publish(dunlin: &Dunlin, channel: &str, body: &str) -> String {
    try_publish(&dunlin.control, channel, body).unwrap()
}

fn publish_with(dunlin: &Dunlin, channel: &str, headers: &[(&str, &str)], body: &str) -> String {
    try_publish_with(&dunlin.control, channel, headers, body).unwrap()
}

/// What curl reads of a channel as server-sent events up to one that says `last`: each as its event and what it says.
fn events(dunlin: &Dunlin, target: &str, header: &str, last: &str) -> Vec<String> {
    let mut command = Command::new("curl");
    command
        .args([
            "-sSN",
            "--max-time",
            "60",
            "-H",
            "Accept: text/event-stream",
        ])
        .args(["-H", header])
        .arg(format!("http://{}/ch/{target}", dunlin.main));
    let mut curl = Child::start(&mut command);
    curl.line(&format!("data: {last}"));
    let of_event = |line: &&String| line.starts_with("event:") || line.starts_with("data:");
    curl.seen.iter().filter(of_event).cloned().collect()
}

/// What a subscriber gets who comes back with a position, up to `last`, which must come.
fn since(dunlin: &Dunlin, channel: &str, position: &str, last: &str) -> Vec<String> {
    read(dunlin, channel, &format!("since={position}"), last)
}

fn read(dunlin: &Dunlin, channel: &str, query: &str, last: &str) -> Vec<String> {
    let url = dunlin.ws(&format!("/ch/{channel}?{query}"));
    let mut client = Client::connect(&url, &[]).unwrap();
    // Shorter than the time between two pings, which would make it wait for ever.
    client.set_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut got = Vec::new();
    loop {
        let text = match client.receive() {
            Ok(Received::Text(text)) => text,
            other => panic!("{other:?} behind {got:?}"),
        };
        match text.split_once("\"text\":\"") {
            Some((_, body)) => got.push(body.trim_end_matches("\"}").to_owned()),
            None if text.contains("\"subscribed\"") => {}
            None => got.push(text),
        }
        if got.last().is_some_and(|text| text == last) {
            return got;
        }
    }
}

/// The texts of what a reader of envelopes with this query gets, up to `last`.
#[cfg(feature = "filters")]
fn texts(dunlin: &Dunlin, query: &str, last: &str) -> Vec<String> {
    let got = read(dunlin, "news", query, last);
    assert!(!got.iter().any(|text| is_gap(text)), "{got:?}");
    got
}

fn is_gap(text: &str) -> bool {
    text.contains("\"gap\"")
}

#[test]
fn a_restart_keeps_epoch_and_history() {
    let place = Place::new("");
    let first = place.start();
    let positions: Vec<String> = (1..=3)
        .map(|n| publish(&first, "news", &format!("m{n}")))
        .collect();
    let forgotten = publish(&first, "memory", "m1");
    first.stop();
    let second = place.start();
    let next = publish(&second, "news", "m4");
    assert_eq!(next[..8], positions[0][..8], "the epoch goes on");
    assert!(next[8..].starts_with(".4."), "{next}");
    assert_eq!(
        since(&second, "news", &positions[0], "m4"),
        ["m2", "m3", "m4"]
    );
    assert_eq!(since(&second, "news", &positions[2], "m4"), ["m4"]);
    publish(&second, "memory", "m2");
    let got = since(&second, "memory", &forgotten, "m2");
    assert!(is_gap(&got[0]), "{got:?}");
    assert_eq!(second.metric("dunlin_history_logged_total"), 1);
    second.stop();
    // A third time: what the second has not written itself is still there.
    let third = place.start();
    publish(&third, "news", "m5");
    assert_eq!(
        since(&third, "news", &positions[1], "m5"),
        ["m3", "m4", "m5"]
    );
    third.stop();
}

#[test]
fn what_publications_are_called_comes_back_with_them() {
    let place = Place::new("");
    let mut server = place.start();
    let first = publish(&server, "news", "who knows");
    publish_with(&server, "news", &[("X-EventSource-Event", "goal")], "1:0");
    publish_with(&server, "news", &[("X-EventSource-Event", "été")], "warm");
    publish(&server, "news", "m4");
    let since = format!("Last-Event-ID: {first}");
    let mut expected = vec![
        "event: goal",
        "data: 1:0",
        "event: été",
        "data: warm",
        "data: m4",
    ];
    server.stop();
    server = place.start();
    assert_eq!(events(&server, "news", &since, "m4"), expected);
    let envelopes = read(&server, "news", &format!("since={first}"), "m4");
    let goal = ",\"event\":\"goal\",\"text\":\"1:0\"}";
    assert_eq!(envelopes, ["1:0", "warm", "m4"]);
    let poll = format!("http://{}/ch/news?poll=0&since={first}", server.main);
    let poll = http_request("GET", &poll, &[], b"").unwrap();
    let poll = String::from_utf8(poll.body).unwrap();
    assert!(poll.contains(goal), "{poll}");
    // And killed, when it was written.
    publish_with(&server, "news", &[("X-EventSource-Event", "again")], "m5");
    eventually("the log is written", || {
        let files = std::fs::read_dir(place.log()).unwrap();
        let mut logs = files.filter_map(|file| std::fs::read(file.unwrap().path()).ok());
        let is_in = |log: Vec<u8>| log.windows(7).any(|part| part == b"againm5");
        logs.any(is_in).then_some(())
    });
    server.child.signal("KILL");
    server.child.end();
    server = place.start();
    expected.extend(["event: again", "data: m5"]);
    assert_eq!(events(&server, "news", &since, "m5"), expected);
    server.stop();
}

/// Who wants some of what a channel says gets that of what was said before a restart too, by name and by tag, and is told
/// of no gap.
#[cfg(feature = "filters")]
#[test]
fn readers_with_a_filter_get_what_matches_of_before_a_restart() {
    let place = Place::new("");
    let before = place.start();
    let first = publish(&before, "news", "who knows");
    for (event, tags, text) in [
        ("goal", "home, final", "1:0"),
        ("card", "final", "yellow"),
        ("goal", "away", "1:1"),
    ] {
        let headers = [("X-EventSource-Event", event), ("X-Tags", tags)];
        publish_with(&before, "news", &headers, text);
    }
    publish_with(&before, "news", &[("X-Tags", "home")], "tea");
    before.stop();
    let after = place.start();
    let headers = [("X-EventSource-Event", "goal"), ("X-Tags", "home,final")];
    publish_with(&after, "news", &headers, "2:1");
    let since = format!("Last-Event-ID: {first}");
    let goals = ["1:0", "1:1", "2:1"].map(|text| ["event: goal".into(), format!("data: {text}")]);
    assert_eq!(
        events(&after, "news?types=goal", &since, "2:1"),
        goals.concat()
    );
    for (query, expected) in [
        ("tags=home", &["1:0", "tea", "2:1"][..]),
        ("tags=final", &["1:0", "yellow", "2:1"]),
        ("types=goal&tags=away,final", &["1:0", "1:1", "2:1"]),
    ] {
        let query = format!("since={first}&{query}");
        assert_eq!(texts(&after, &query, "2:1"), expected, "{query}");
    }
    after.stop();
}

#[test]
fn killed_at_any_moment_nobody_misses_anything_in_silence() {
    let place = Place::new("history_sync_ms = 5");
    // Of each publication its position, and everything that was ever answered for, in order.
    let mut known: Vec<(String, String)> = Vec::new();
    for life in 0..4 {
        let mut server = place.start();
        let head = publish(&server, "news", &format!("{life} begins"));
        known.push((head, format!("{life} begins")));
        // Of each life a beginning is there: what was not written when it was killed is its end, whoever was told of it.
        let last = known.last().unwrap().1.clone();
        let kept = read(&server, "news", "rewind=all", &last);
        for earlier in 0..life {
            let own = known
                .iter()
                .filter(|k| k.1.starts_with(&format!("{earlier} ")));
            let is_kept: Vec<bool> = own.map(|(_, text)| kept.contains(text)).collect();
            assert!(
                is_kept[0] && is_kept.is_sorted_by(|a, b| a >= b),
                "{is_kept:?}"
            );
        }
        // Who comes back with any position is given all of it that follows, or told of a gap if what it saw is lost.
        for at in (0..known.len() - 1).step_by(1 + known.len() / 20) {
            let got = since(&server, "news", &known[at].0, &last);
            if !kept.contains(&known[at].1) {
                assert!(is_gap(&got[0]), "life {life}, from {at}: {got:?}");
                continue;
            }
            let begin = 1 + kept.iter().position(|text| *text == known[at].1).unwrap();
            assert_eq!(got, kept[begin..], "life {life}, from {at}");
        }
        let control = server.control.clone();
        let publisher = std::thread::spawn(move || {
            let mut mine = Vec::new();
            for n in 0.. {
                let text = format!("{life} {n}");
                let Some(position) = try_publish(&control, "news", &text) else {
                    break;
                };
                mine.push((position, text));
            }
            mine
        });
        let count = 20 * (life + 1);
        eventually("publications", || {
            (server.metric("dunlin_history_logged_total") > count).then_some(())
        });
        server.child.signal("KILL");
        server.child.end();
        known.extend(publisher.join().unwrap());
    }
}

#[test]
fn two_servers_do_not_share_a_log() {
    let place = Place::new("");
    let first = place.start();
    let mut second = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    second
        .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"])
        .args(["--tapr", "127.0.0.1:0", "--config", &place.config])
        .env_clear();
    let ended = second.output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(71), "{err}");
    assert!(err.contains("another server keeps its log there"), "{err}");
    assert!(err.contains("`history_path`"), "{err}");
    publish(&first, "news", "m1");
    first.stop();
}

#[test]
fn a_disk_that_takes_nothing_keeps_nobody_from_being_served() {
    let place = Place::new("memory_budget_bytes = 262144");
    // No file of this process may have a single byte; what that is told by is ignored, as a full disk would tell nothing.
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_dunlin"));
    let mut server = Dunlin::start_by(shell, &[], &["--config", &place.config]);
    let first = publish(&server, "news", "first");
    server.child.sooner_or_later("publications go on");
    let text = "x".repeat(2_000);
    for _ in 0..30 {
        publish(&server, "news", &text);
    }
    assert!(server.metric("dunlin_history_log_lost_total") > 5);
    publish(&server, "news", "last");
    let got = since(&server, "news", &first, "last");
    assert_eq!(got.len(), 31, "it is kept in memory all the same");
    assert!(!is_gap(&got[0]));
    server.stop();
    let left = std::fs::read_dir(place.log()).unwrap().count();
    assert_eq!(left, 0, "no file without anything in it");
    // The next one has a disk. What was promised to nobody is not there, and who saw it is told.
    let next = place.start();
    publish(&next, "news", "new");
    let got = since(&next, "news", &first, "new");
    assert!(is_gap(&got[0]), "{got:?}");
    next.stop();
}
