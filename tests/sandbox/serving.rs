//! The real program inside its sandbox.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};

use dunlin::Message;
use dunlin::net::{Client, Received, http_request};

use crate::support::{Dunlin, Folder, PATIENCE, eventually};

/// What the log says first. stderr may come before the lines of stdout that were waited for, or after them.
pub(crate) fn start_line(dunlin: &mut Dunlin) -> String {
    dunlin.child.sooner_or_later("kind=start");
    let mut seen = dunlin.child.seen.iter();
    seen.find(|line| line.contains("kind=start"))
        .unwrap()
        .clone()
}

/// Whether the server has given everything up; says it loudly if the kernel does not let it.
fn is_inside(dunlin: &mut Dunlin) -> bool {
    let line = start_line(dunlin);
    let inside = line.contains("sandbox: calls, files, ports\"");
    if !inside {
        eprintln!("SKIPPED: this kernel cannot: {line}");
    }
    inside
}

/// A name of this machine's hosts file, so that a look-up needs no network, with its address.
fn local_name() -> Option<(String, IpAddr)> {
    let hosts = fs::read_to_string("/etc/hosts").ok()?;
    hosts.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        let name = words.find(|name| *name != "localhost")?;
        (address.is_loopback()).then(|| (name.to_owned(), address))
    })
}

/// An application that answers everything with 200 and tells which actions it was told of.
fn application(address: IpAddr) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, sender) = (stream.unwrap(), sender.clone());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let mut length = 0;
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        let line = line.to_ascii_lowercase();
                        if let Some(n) = line.strip_prefix("content-length:") {
                            length = n.trim().parse().unwrap();
                        }
                        if line == "\r\n" {
                            break;
                        }
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(answer).unwrap();
                    _ = sender.send(String::from_utf8(body).unwrap());
                }
            });
        }
    });
    (port, receiver)
}

fn echo(client: &mut Client, text: &str) {
    client.send(Message::Text(text)).unwrap();
    assert_eq!(client.receive().unwrap(), Received::Text(text.to_owned()));
}

#[track_caller]
fn status(dunlin: &Dunlin, path: &str) -> u16 {
    let url = format!("http://{}{path}", dunlin.control);
    http_request("GET", &url, &[], b"").unwrap().status
}

#[test]
fn a_server_that_calls_nobody_serves_and_drains() {
    let folder = Folder::new();
    let socket = folder.0.join("edge.sock");
    let address = format!("unix:{}", socket.display());
    let mut dunlin = Dunlin::start(&["--listen", &address]);
    // Both addresses stand in one line: `main on 127.0.0.1:PORT, unix:PATH`.
    let line = dunlin
        .child
        .seen
        .iter()
        .find_map(|l| l.strip_prefix("main on "));
    dunlin.main = line.unwrap().split(',').next().unwrap().to_owned();
    is_inside(&mut dunlin);
    let mut client = Client::connect(&dunlin.ws("/echo"), &[]).unwrap();
    client.set_timeout(Some(PATIENCE)).unwrap();
    echo(&mut client, "hello");
    // Larger than any buffer that is there at the start: the allocator asks for memory.
    echo(&mut client, &"x".repeat(1 << 20));
    assert_eq!(status(&dunlin, "/metrics"), 200);

    let mut unix = UnixStream::connect(&socket).unwrap();
    unix.write_all(b"GET /ws/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    unix.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    // The first refusal starts the thread of the log, inside.
    assert_eq!(status(&dunlin, "/nothing"), 404);
    dunlin.child.sooner_or_later("no_route");

    // SIGTERM: the client is told, the end is clean, the socket is removed.
    dunlin.child.terminate();
    loop {
        match client.receive().unwrap() {
            Received::Closed(code, _) => break assert_eq!(code.to_string(), "1012"),
            other => println!("{other:?}"),
        }
    }
    drop(client);
    dunlin.child.sooner_or_later("kind=drain");
    let end = dunlin.child.end();
    assert_eq!(end.code(), Some(0), "{end}: {:?}", dunlin.child.seen);
    assert_eq!(dunlin.child.count("dunlin has stopped"), 1);
    assert!(!socket.exists(), "the socket is gone with the server");
}

#[test]
fn every_thread_is_inside() {
    let mut dunlin = Dunlin::start(&["--sandbox", "true"]);
    let inside = is_inside(&mut dunlin);
    assert_eq!(status(&dunlin, "/nothing"), 404);
    dunlin.child.sooner_or_later("no_route");
    let process = format!("/proc/{}", dunlin.child.id());
    let threads: Vec<_> = fs::read_dir(format!("{process}/task")).unwrap().collect();
    assert!(threads.len() >= 2, "the loop and the log");
    for thread in threads {
        let path = thread.unwrap().path().join("status");
        let text = fs::read_to_string(path).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim_start_matches(':').trim().to_owned())
        };
        assert_eq!(value("NoNewPrivs").as_deref(), Some("1"), "{text}");
        if inside {
            assert_eq!(value("Seccomp").as_deref(), Some("2"), "{text}");
        }
    }
    // What cannot be dumped belongs to root in /proc, whoever runs it.
    assert_eq!(fs::metadata(process + "/environ").unwrap().uid(), 0);
    dunlin.stop();
}

#[test]
fn it_can_be_switched_off() {
    let mut dunlin = Dunlin::start(&["--sandbox", "false"]);
    let line = start_line(&mut dunlin);
    assert!(line.contains("; no sandbox: switched off"), "{line}");
    let path = format!("/proc/{}/status", dunlin.child.id());
    let text = fs::read_to_string(path).unwrap();
    // As whoever started this test has it.
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let filters = |text: &str| {
        let mut lines = text.lines().map(str::to_owned);
        lines.find(|line| line.starts_with("Seccomp_filters:"))
    };
    assert_eq!(filters(&text), filters(&own));
    dunlin.stop();
}

#[test]
fn an_application_is_called_by_name() {
    let Some((name, address)) = local_name() else {
        eprintln!("SKIPPED: the hosts file names no address of this machine beside localhost");
        return;
    };
    let (port, told) = application(address);
    let url = format!("http://{name}:{port}/message");
    let mut dunlin = Dunlin::start_with(&[("DUNLIN_TAPR__CALLBACK", &url)], &[]);
    is_inside(&mut dunlin);
    let mut client = Client::connect(&format!("ws://{}/ws", dunlin.tapr), &[]).unwrap();
    client.send(Message::Text("{\"data\":{\"n\":1}}")).unwrap();
    let next = |action: &str| {
        let body = told.recv_timeout(PATIENCE).expect(action);
        assert!(body.contains(action), "{body}");
    };
    next("open");
    next("message");
    drop(client);
    next("close");
    dunlin.stop();
}

#[test]
fn a_thousand_connections_come_and_go() {
    dunlin::net::raise_open_files_max();
    let mut dunlin = Dunlin::start_with(&[("DUNLIN_CONNECTIONS_MAX", "2000")], &[]);
    is_inside(&mut dunlin);
    for _ in 0..2 {
        let connect = |_| Client::connect(&dunlin.ws("/echo"), &[]).unwrap();
        let mut crowd: Vec<Client> = (0..1000).map(connect).collect();
        for client in &mut crowd {
            client.set_timeout(Some(PATIENCE)).unwrap();
            client.send(Message::Text("here")).unwrap();
        }
        for client in &mut crowd {
            assert_eq!(client.receive().unwrap(), Received::Text("here".to_owned()));
        }
        drop(crowd);
        eventually("everybody is gone", || {
            let url = format!("http://{}/metrics", dunlin.control);
            let answer = http_request("GET", &url, &[], b"").ok()?;
            let text = String::from_utf8(answer.body).ok()?;
            text.lines()
                .any(|line| line == "dunlin_sessions 0")
                .then_some(())
        });
    }
    dunlin.stop();
}
