//! HieraChain's clients that come back, by the real program over real sockets, with a client that nobody here wrote.
//! `tests/clients/install` installs it.
#![cfg(all(
    feature = "cli",
    feature = "hierachain-history",
    feature = "history-log"
))]
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;
use std::time::Duration;

use dunlin::net::{Client, Received, http_request};
use dunlin::ws::Message;

use support::{Child, Dunlin, Folder, client_file};

/// Lets the client live from event `first` to `last`, and answers what it knows at the end.
fn client(dunlin: &Dunlin, state: &str, first: u32, last: u32) -> String {
    let mut command = Command::new(client_file(".venv/bin/python"));
    command
        .arg("-u")
        .arg(client_file("hierachain_recovery.py"))
        .args([&dunlin.main, &dunlin.control, state])
        .args([first.to_string(), last.to_string()])
        .env("PYTHONUTF8", "1");
    let said = Child::start(&mut command).success();
    assert_eq!(said.matches("ok: ").count(), 2, "{said}");
    let (_, state) = said.split_once("state: ").unwrap();
    state.lines().next().unwrap().to_owned()
}

#[test]
fn pypi_websockets_misses_nothing_over_a_cut_and_a_restart() {
    let folder = Folder::new();
    let text = format!(
        "history_path = {:?}\n[[hierachain.channels]]\nmatch = \"s*\"\nhistory_messages_max = 1000\n",
        folder.0.join("log").display()
    );
    let config = folder.file("dunlin.toml", text.as_bytes());
    let flags = ["--config", config.to_str().unwrap()];
    let dunlin = Dunlin::start(&flags);
    let state = client(&dunlin, "[]", 0, 60);
    dunlin.stop();
    // Its positions go on meaning something, and what it asks for again from further back comes once.
    let dunlin = Dunlin::start(&flags);
    client(&dunlin, &state, 60, 100);
    dunlin.stop();
    // What came out of the log for two subscriptions is known to be the same.
    let dunlin = Dunlin::start(&flags);
    let mut reader = Client::connect(&dunlin.ws("/ws"), &[]).unwrap();
    reader.set_timeout(Some(Duration::from_secs(20))).unwrap();
    for event_type in ["", r#","event_type":"qc""#] {
        let command =
            format!(r#"{{"action":"subscribe","chain_name":"sc"{event_type},"rewind":"all"}}"#);
        reader.send(Message::Text(&command)).unwrap();
    }
    // Behind this one comes nothing that comes twice.
    let url = format!("http://{}/hierachain/publish", dunlin.control);
    let last = br#"{"chain_name":"sc","kind":"event","event_type":"qc","data":{"n": 100}}"#;
    let mut got = Vec::new();
    while got.last() != Some(&100) {
        let Received::Text(text) = reader.receive().unwrap() else {
            panic!("a text was expected");
        };
        match text.split_once("\"data\":{\"n\": ") {
            Some((_, n)) => got.push(n.split_once('}').unwrap().0.parse().unwrap()),
            None if text.contains("\"qc\"") => {
                assert_eq!(http_request("POST", &url, &[], last).unwrap().status, 200);
            }
            None => {}
        }
    }
    assert_eq!(got, (0..=100).collect::<Vec<u32>>());
    drop(reader);
    dunlin.stop();
}
