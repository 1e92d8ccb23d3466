//! Who is in a channel, and callbacks for channels, by the real program over real sockets, with a client that nobody
//! here wrote. `tests/clients/install` installs it.
#![cfg(all(feature = "cli", feature = "presence"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use dunlin::net::Client;
use support::{Child, Dunlin, Folder, PATIENCE};

/// An application that says yes to everything and passes on what it was told.
fn application() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, sender) = (stream.unwrap(), sender.clone());
            thread::spawn(move || {
                while let Some(body) = request(&stream) {
                    let answer = "HTTP/1.1 204 No Content\r\n\r\n";
                    if (&stream).write_all(answer.as_bytes()).is_err() || sender.send(body).is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    (port, receiver)
}

/// The body of the next request; `None`: there is none.
fn request(stream: &TcpStream) -> Option<String> {
    // The caller waits for the answer before it asks again, so nothing is lost with the buffer.
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}

fn start(text: &str) -> (Dunlin, Folder) {
    let folder = Folder::new();
    let file = folder.file("dunlin.toml", text.as_bytes());
    let dunlin = Dunlin::start(&["--config", file.to_str().unwrap()]);
    (dunlin, folder)
}

#[test]
fn pypi_websockets_sees_who_is_in() {
    let key = |user: &str, presence: &str| {
        format!("[[key]]\nkey = \"{user}\"\nuser = \"{user}\"\nsubscribe = \"*\"\n{presence}")
    };
    let keys = [
        key("ann", "presence = \"*\"\n"),
        key("bob", ""),
        key("zoe", ""),
    ];
    let rule = "[[pubsub.channels]]\nmatch = \"room.*\"\npresence = true\nsubscribe = \"users\"\n";
    let (dunlin, _folder) = start(&format!("{}{rule}", keys.concat()));
    let clients = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut command = Command::new(clients.join(".venv/bin/python"));
    command
        .arg("-u")
        .arg(clients.join("presence_websockets.py"))
        .args([&dunlin.main.to_string(), "room.1"])
        .env("PYTHONUTF8", "1");
    let said = Child::start(&mut command).success();
    assert_eq!(said.matches("ok: ").count(), 4, "{said}");
    assert!(said.contains("done: websockets"), "{said}");
    dunlin.stop();
}

#[test]
fn an_application_is_told_of_channels() {
    let (port, told) = application();
    let (dunlin, _folder) = start(&format!(
        "[pubsub]\ncallback = \"http://127.0.0.1:{port}/hook\"\ncallback_grace_ms = 50\n\
         [[pubsub.channels]]\nmatch = \"live.*\"\ncallback = true\n"
    ));
    let next = || told.recv_timeout(PATIENCE).unwrap();
    let quiet = Client::connect(&dunlin.ws("/ch/quiet"), &[]).unwrap();
    let one = Client::connect(&dunlin.ws("/ch/live.1"), &[]).unwrap();
    let ends = |event: &str| format!("\"name\":\"channel_{event}\",\"channel\":\"live.1\"}}]}}");
    let body = next();
    assert!(body.ends_with(&ends("occupied")), "{body}");
    drop(one);
    let body = next();
    assert!(body.ends_with(&ends("vacated")), "{body}");
    drop(quiet);
    dunlin.stop();
}
