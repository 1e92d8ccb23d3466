//! Out of file descriptors: nobody is accepted for a while, everybody who is in is served, and those who wait
//! in the kernel's queue get their turn when others leave.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use dunlin::Message;
use dunlin::net::{Client, Received, http_request};
use support::{Dunlin, PATIENCE, eventually};

/// Files that the server may open.
const FILES: usize = 64;

#[test]
fn those_who_wait_get_their_turn() {
    let mut command = Command::new("sh");
    let limit = format!("ulimit -n {FILES} && exec \"$0\" \"$@\"");
    command.args(["-c", &limit, env!("CARGO_BIN_EXE_dunlin")]);
    let limits = [("DUNLIN_CONNECTIONS_MAX", "1000")];
    let dunlin = Dunlin::start_by(command, &limits, &[]);
    let mut bystander = Client::connect(&dunlin.ws("/echo"), &[]).unwrap();
    bystander.set_timeout(Some(PATIENCE)).unwrap();
    let metrics = format!("http://{}/metrics", dunlin.control);

    // More than there are descriptors. The kernel completes their TCP handshakes, so each may send its request.
    let request = "GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut crowd: Vec<TcpStream> = (0..2 * FILES)
        .map(|_| {
            let mut stream = TcpStream::connect(&dunlin.main).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    let is_answered = |stream: &mut TcpStream, patience: Duration| {
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut head = [0; 12];
        match stream.read_exact(&mut head) {
            Ok(()) => {
                assert_eq!(&head, b"HTTP/1.1 101");
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                false
            }
            Err(error) => panic!("a client that waited was cut: {error}"),
        }
    };
    // The first ones are in; how many, only the server knows. The last one is not.
    assert!(is_answered(&mut crowd[0], PATIENCE));
    assert!(!is_answered(
        crowd.last_mut().unwrap(),
        Duration::from_millis(300)
    ));

    // Who is in is served.
    for n in 0..50 {
        let text = n.to_string();
        bystander.send(Message::Text(&text)).unwrap();
        assert_eq!(bystander.receive().unwrap(), Received::Text(text));
    }

    // Who waits gets a turn when others leave.
    let mut rest = crowd.split_off(FILES);
    drop(crowd);
    for stream in rest.iter_mut().take(FILES / 2) {
        assert!(is_answered(stream, PATIENCE), "nobody let it in");
    }
    drop(rest);

    // It is counted, and it is over.
    let text = eventually("the metrics are served", || {
        let answer = http_request("GET", &metrics, &[], b"").ok()?;
        (answer.status == 200).then(|| String::from_utf8(answer.body).unwrap())
    });
    let line = "dunlin_refused_total{reason=\"accept_failed\"}";
    assert!(text.lines().any(|l| l.starts_with(line)), "{text}");
    dunlin.stop();
}
