//! Proxies over real sockets: both versions of the PROXY protocol and forwarded headers, written by hand, by curl
//! (version 1) and by HAProxy (both versions and `X-Forwarded-For`).
//!
//! curl and HAProxy come with `tests/clients/install`; where one is missing its test says so and ends
//! (`DUNLIN_HAPROXY` names a HAProxy that is not in the path).
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use dunlin::http::Response;
use dunlin::hub::Accept;
use dunlin::net::{Address, Handle};
use dunlin::server::{On, RouteSettings, WorkerSettings};
use dunlin::{Context, Handler, Message, Reply, Request, Server, Upgrade};

/// Tells everybody where it comes from: in the body, or in a header of the 101.
struct Door;

impl Handler for Door {
    fn on_upgrade(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        let peer = ("X-Peer".into(), request.peer.to_string().into());
        Upgrade::Accept(Accept {
            headers: vec![peer],
            ..Accept::default()
        })
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        cx.send(message);
    }

    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Reply {
        Response::text(200, request.peer.to_string()).into()
    }
}

/// A server with a plain listener, one for PROXY headers, and a Unix socket.
struct House {
    plain: u16,
    proxied: u16,
    unix: PathBuf,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl House {
    fn start(trusted: &[&str]) -> Self {
        let mut settings = WorkerSettings::default();
        settings.proxies.trusted = trusted.iter().map(|text| text.parse().unwrap()).collect();
        settings.proxies.listeners = vec![1];
        settings.address.connections_max = 1;
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || {
            let path = std::env::temp_dir().join(format!(
                "dunlin-proxies-{}-{:?}.sock",
                std::process::id(),
                std::thread::current().id()
            ));
            let bound = Server::new()
                .settings(settings)
                .listen_as(0, "127.0.0.1:0")
                .listen_as(1, "127.0.0.1:0")
                .listen_as(2, &Address::Unix(path.clone()).to_string())
                .route_with("/door", On::Every, RouteSettings::default(), || Door)
                .bind()
                .unwrap();
            let ports = [0, 1].map(|n| bound.port(n).unwrap());
            sender.send((ports, path, bound.handle())).unwrap();
            bound.run().unwrap();
        });
        let ([plain, proxied], unix, handle) = receiver.recv().unwrap();
        Self {
            plain,
            proxied,
            unix,
            handle,
            thread: Some(thread),
        }
    }

    fn plain(&self) -> TcpStream {
        connect(self.plain)
    }

    fn proxied(&self) -> TcpStream {
        connect(self.proxied)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.handle.stop();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn get(more: &str) -> String {
    format!("GET /door HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n")
}

fn upgrade(more: &str) -> String {
    format!(
        "GET /door HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// Everything until the end.
fn all(stream: &mut impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The head of an answer whose connection stays.
fn head(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xcb\0\x71\x01\xc6\x33\x64\x01\x9c\x40\x01\xbb\x04\0\x02ab";

#[test]
fn proxy_headers_byte_by_byte_and_at_once() {
    let house = House::start(&["loopback"]);
    let line = b"PROXY TCP4 203.0.113.1 198.51.100.1 40000 443\r\n";
    for header in [BINARY, line] {
        let asked = [header, get("").as_bytes()].concat();
        for step in [1, asked.len()] {
            let mut stream = house.proxied();
            for piece in asked.chunks(step) {
                stream.write_all(piece).unwrap();
            }
            let said = all(&mut stream);
            assert!(said.ends_with("\r\n\r\n203.0.113.1:40000"), "{said}");
        }
    }
}

#[test]
fn forwarded_headers_over_tcp_and_unix_sockets() {
    let house = House::start(&["loopback", "unix"]);
    let asked = get("X-Forwarded-For: 198.51.100.66, 203.0.113.1, 127.0.0.1\r\n");
    let mut tcp = house.plain();
    tcp.write_all(asked.as_bytes()).unwrap();
    assert!(all(&mut tcp).ends_with("\r\n\r\n203.0.113.1"));
    let mut unix = UnixStream::connect(&house.unix).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    unix.write_all(asked.as_bytes()).unwrap();
    assert!(all(&mut unix).ends_with("\r\n\r\n203.0.113.1"));
}

#[test]
fn strangers_are_not_believed() {
    let house = House::start(&["192.0.2.0/24"]);
    let mut stream = house.plain();
    let me = stream.local_addr().unwrap();
    let asked = get("X-Forwarded-For: 203.0.113.1\r\n");
    stream.write_all(asked.as_bytes()).unwrap();
    assert!(all(&mut stream).ends_with(&format!("\r\n\r\n{me}")));
    // On the other listener it is closed; that may be a reset, because nobody reads what it says.
    let mut stream = house.proxied();
    _ = stream.write_all(BINARY);
    let mut said = Vec::new();
    _ = stream.read_to_end(&mut said);
    assert_eq!(said, b"");
}

#[test]
fn curl_speaks_version_1() {
    let house = House::start(&["loopback"]);
    let url = format!("http://127.0.0.1:{}/door", house.proxied);
    let ran = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(["--haproxy-protocol", "--write-out", " %{local_port}", &url])
        .output();
    let Ok(ran) = ran else {
        eprintln!("skipped: there is no curl");
        return;
    };
    let said = String::from_utf8(ran.stdout).unwrap();
    let (peer, port) = said.split_once(' ').unwrap_or_else(|| {
        panic!("{said:?} {}", String::from_utf8_lossy(&ran.stderr));
    });
    assert_eq!(peer, format!("127.0.0.1:{port}"));
}

/// HAProxy on a socket that is bound already, so that no port has to be guessed.
struct HaProxy {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl HaProxy {
    /// `None`: this machine has none.
    fn start(house: &House) -> Option<Self> {
        let program = std::env::var("DUNLIN_HAPROXY").unwrap_or_else(|_| "haproxy".to_owned());
        let folder = std::env::temp_dir().join(format!("dunlin-haproxy-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join("haproxy.cfg");
        let (plain, proxied) = (house.plain, house.proxied);
        let text = format!(
            "defaults\n mode http\n timeout connect 60s\n timeout client 60s\n timeout server 60s\n\
             frontend front\n bind fd@0\n\
             \x20http-request set-src hdr(x-test-source)\n use_backend %[hdr(x-test-backend)]\n\
             backend v1\n server dunlin 127.0.0.1:{proxied} send-proxy\n\
             backend v2\n server dunlin 127.0.0.1:{proxied} send-proxy-v2\n\
             backend v2more\n server dunlin 127.0.0.1:{proxied} send-proxy-v2 proxy-v2-options crc32c,unique-id\n\
             backend header\n option forwardfor\n server dunlin 127.0.0.1:{plain}\n"
        );
        std::fs::write(&config, text).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Not with -q: that closes the socket it is handed.
        let child = Command::new(&program)
            .args(["-db", "-f"])
            .arg(&config)
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .spawn();
        match child {
            Ok(child) => Some(Self {
                child,
                port,
                folder,
            }),
            Err(error) => {
                eprintln!("skipped: there is no {program}: {error}");
                _ = std::fs::remove_dir_all(&folder);
                None
            }
        }
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn haproxy_speaks_both_versions_and_writes_the_header() {
    let house = House::start(&["loopback"]);
    let Some(haproxy) = HaProxy::start(&house) else {
        return;
    };
    let ask = |backend: &str, source: &str, more: &str| {
        format!("X-Test-Backend: {backend}\r\nX-Test-Source: {source}\r\n{more}")
    };
    for (n, backend) in ["v1", "v2", "v2more", "header"].into_iter().enumerate() {
        let source = format!("203.0.113.{}", n + 1);
        // What the client claims stands in front of what the proxy says.
        let claim = "X-Forwarded-For: 198.51.100.66\r\n";
        let mut stream = connect(haproxy.port);
        let asked = get(&ask(backend, &source, claim));
        stream.write_all(asked.as_bytes()).unwrap();
        let said = all(&mut stream);
        let (_, peer) = said.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            peer.split(':').next(),
            Some(&source[..]),
            "{backend}: {said}"
        );

        // A WebSocket, and the limit of one connection per address. From another one: HAProxy may still hold the
        // connection of the request.
        let source = format!("198.51.100.{}", n + 1);
        let asked = upgrade(&ask(backend, &source, ""));
        let mut open = connect(haproxy.port);
        open.write_all(asked.as_bytes()).unwrap();
        let said = head(&mut open);
        assert!(said.starts_with("HTTP/1.1 101 "), "{backend}: {said}");
        let line = said
            .lines()
            .find(|l| l.to_ascii_lowercase().starts_with("x-peer:"));
        assert!(line.unwrap().contains(&source), "{backend}: {said}");
        let mut second = connect(haproxy.port);
        second.write_all(asked.as_bytes()).unwrap();
        let said = head(&mut second).to_ascii_lowercase();
        assert!(said.starts_with("http/1.1 429 "), "{backend}: {said}");
        assert!(said.contains("retry-after: 5"), "{backend}: {said}");
        let other = upgrade(&ask(backend, &format!("192.0.2.{}", n + 1), ""));
        let mut third = connect(haproxy.port);
        third.write_all(other.as_bytes()).unwrap();
        assert!(head(&mut third).starts_with("HTTP/1.1 101 "), "{backend}");
    }
}
