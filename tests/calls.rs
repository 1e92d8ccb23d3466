//! Calls to an application over real sockets: order, failures, recovery, nothing lost.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use dunlin::hub::{Call, Target};
use dunlin::net::{Client, Handle, Received};
use dunlin::server::{CallSettings, On, RouteSettings, WorkerSettings};
use dunlin::{CloseInfo, Context, Handler, Message, Outcome, Server, Ticket};

/// Calls the application with every message and at the end, and tells the client how it went.
struct Forward {
    target: Rc<Target>,
}

impl Forward {
    fn call(&self, cx: &mut Context<'_>, body: String) {
        cx.call(Call {
            target: self.target.clone(),
            method: "POST",
            headers: vec![("Content-Type".into(), "text/plain".to_owned())],
            body: body.into_bytes(),
            timeout_ms: 1500,
        });
    }
}

impl Handler for Forward {
    fn on_open(&mut self, cx: &mut Context<'_>) {
        let id = cx.id().unwrap();
        self.call(cx, format!("{id} open"));
    }
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let text = std::str::from_utf8(message.as_bytes()).unwrap();
        let id = cx.id().unwrap();
        self.call(cx, format!("{id} {text}"));
    }
    fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
        let id = cx.id().unwrap();
        self.call(cx, format!("{id} close"));
    }
    fn on_outcome(&mut self, cx: &mut Context<'_>, _: Ticket, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Answered(answer) => {
                let body = String::from_utf8_lossy(answer.body);
                cx.send_text(&format!("{} {body}", answer.head.status()));
            }
            Outcome::Failed(error) => {
                cx.send_text(error.name());
            }
            _ => unreachable!(),
        }
    }
}

struct Running {
    port: u16,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(target: String, calls: CallSettings) -> Self {
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || {
            let settings = WorkerSettings {
                calls,
                drain_timeout_ms: 3_000,
                ..WorkerSettings::default()
            };
            let route = RouteSettings {
                messages_per_second: 0,
                ..RouteSettings::default()
            };
            let target = Rc::new(target.parse::<Target>().unwrap());
            let bound = Server::new()
                .settings(settings)
                .listen("127.0.0.1:0")
                .route_with("/ws", On::Every, route, || Forward { target })
                .bind()
                .unwrap();
            sender
                .send((bound.port(0).unwrap(), bound.handle()))
                .unwrap();
            bound.run().unwrap();
        });
        let (port, handle) = receiver.recv().unwrap();
        Self {
            port,
            handle,
            thread: Some(thread),
        }
    }

    fn client(&self) -> Client {
        let mut client = Client::connect(&format!("ws://127.0.0.1:{}/ws", self.port), &[]).unwrap();
        client.set_timeout(Some(Duration::from_secs(20))).unwrap();
        client
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn text(client: &mut Client) -> String {
    match client.receive().unwrap() {
        Received::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// What the application does with a request: the bytes it writes back, and whether it keeps the connection.
type Behave = Arc<dyn Fn(&str) -> (Vec<u8>, bool) + Send + Sync>;

fn ok(body: &str) -> (Vec<u8>, bool) {
    (
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
        true,
    )
}

struct App {
    port: u16,
    stop: Arc<AtomicBool>,
    seen: Receiver<String>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl App {
    fn start(port: u16, behave: Behave) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, open) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Mutex::new(Vec::new())),
        );
        let connections = Arc::new(AtomicUsize::new(0));
        let (sender, seen) = channel();
        let thread = std::thread::spawn({
            let (stop, open, connections) = (stop.clone(), open.clone(), connections.clone());
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    let stream = stream.unwrap();
                    connections.fetch_add(1, Ordering::AcqRel);
                    open.lock().unwrap().push(stream.try_clone().unwrap());
                    let (sender, behave) = (sender.clone(), behave.clone());
                    std::thread::spawn(move || serve(stream, &sender, &behave));
                }
            }
        });
        Self {
            port,
            stop,
            seen,
            open,
            connections,
            thread: Some(thread),
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    fn next(&self) -> String {
        self.seen.recv_timeout(Duration::from_secs(20)).unwrap()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes `incoming`
        for stream in self.open.lock().unwrap().drain(..) {
            _ = stream.shutdown(std::net::Shutdown::Both);
        }
        self.thread.take().unwrap().join().unwrap();
    }
}

fn serve(stream: TcpStream, seen: &Sender<String>, behave: &Behave) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = String::from_utf8(body).unwrap();
        let (answer, keep) = behave(&body);
        _ = seen.send(body);
        if writer.write_all(&answer).is_err() || !keep {
            _ = writer.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

#[test]
fn calls_of_a_session_keep_their_order_and_reuse_connections() {
    let app = App::start(0, Arc::new(|body| ok(body.split_once(' ').unwrap().1)));
    let server = Running::start(app.url(), CallSettings::default());
    let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    for n in 0..50 {
        for client in &mut clients {
            client.send(Message::Text(&n.to_string())).unwrap();
        }
    }
    for client in &mut clients {
        assert_eq!(text(client), "200 open");
        for n in 0..50 {
            assert_eq!(text(client), format!("200 {n}"));
        }
        client.close(dunlin::CloseCode::NORMAL, "").unwrap();
    }
    let mut by_session = std::collections::HashMap::<String, Vec<String>>::new();
    for _ in 0..20 * 52 {
        let call = app.next();
        let (id, what) = call.split_once(' ').unwrap();
        by_session
            .entry(id.to_owned())
            .or_default()
            .push(what.to_owned());
    }
    let mut expected = vec!["open".to_owned()];
    expected.extend((0..50).map(|n| n.to_string()));
    expected.push("close".to_owned());
    assert_eq!(by_session.len(), 20);
    for calls in by_session.values() {
        assert_eq!(*calls, expected);
    }
    assert!(app.connections.load(Ordering::Acquire) <= 32);
}

#[test]
fn nothing_is_lost_while_the_application_is_down() {
    let behave: Behave = Arc::new(|body| ok(body.split_once(' ').unwrap().1));
    let app = App::start(0, behave.clone());
    let (port, url) = (app.port, app.url());
    // So little may wait that the clients are held back.
    let server = Running::start(
        url,
        CallSettings {
            queue_max: 8,
            ..CallSettings::default()
        },
    );
    let mut clients: Vec<_> = (0..30).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(text(client), "200 open");
    }
    drop(app);
    for n in 0..20 {
        for client in &mut clients {
            client.send(Message::Text(&n.to_string())).unwrap();
        }
    }
    // The bystander is not disturbed: it is served although nobody answers the calls.
    let refused = dunlin::net::http_request(
        "GET",
        &format!("http://127.0.0.1:{}/ws", server.port),
        &[],
        b"",
    );
    assert_eq!(refused.unwrap().status, 426);
    let app = App::start(port, behave);
    for client in &mut clients {
        for n in 0..20 {
            assert_eq!(text(client), format!("200 {n}"));
        }
    }
    let calls: Vec<String> = (0..30 * 20).map(|_| app.next()).collect();
    let distinct: std::collections::HashSet<&String> = calls.iter().collect();
    assert_eq!(distinct.len(), calls.len(), "a call was made twice");
}

#[test]
fn answers_that_are_none_end_their_call_only() {
    let app = App::start(
        0,
        Arc::new(|body| match body.split_once(' ').unwrap().1 {
            "junk" => (b"what?\r\n\r\n".to_vec(), true),
            "huge" => (
                b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec(),
                true,
            ),
            "cut" => (
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel".to_vec(),
                false,
            ),
            "reset" => (Vec::new(), false),
            "slow" => {
                std::thread::sleep(Duration::from_secs(3));
                ok("late")
            }
            "error" => (
                b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
                true,
            ),
            "until the end" => (b"HTTP/1.0 200 OK\r\n\r\nall".to_vec(), false),
            "close" => (
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nc".to_vec(),
                false,
            ),
            other => ok(other),
        }),
    );
    let server = Running::start(app.url(), CallSettings::default());
    let mut client = server.client();
    assert_eq!(text(&mut client), "200 open");
    let expected = [
        ("junk", "call_bad_answer"),
        ("a", "200 a"),
        ("huge", "call_bad_answer"),
        ("cut", "call_broken"),
        ("slow", "call_timeout"),
        ("error", "500 "),
        ("until the end", "200 all"),
        ("close", "200 c"),
        ("b", "200 b"),
    ];
    for (message, _) in expected {
        client.send(Message::Text(message)).unwrap();
    }
    for (message, answer) in expected {
        assert_eq!(text(&mut client), answer, "{message}");
    }
    // A kept-alive connection that ends without a byte costs nothing, a new one that does once more, and that is all.
    client.send(Message::Text("reset")).unwrap();
    assert_eq!(text(&mut client), "call_broken");
    let resets = std::iter::repeat_with(|| app.next()).take(expected.len() + 1 + 3);
    assert_eq!(resets.filter(|call| call.ends_with(" reset")).count(), 3);
}

#[test]
fn the_drain_waits_for_the_last_calls() {
    let app = App::start(0, Arc::new(|body| ok(body.split_once(' ').unwrap().1)));
    let mut server = Running::start(app.url(), CallSettings::default());
    let mut clients: Vec<_> = (0..10).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(text(client), "200 open");
    }
    server.handle.drain();
    for client in &mut clients {
        let closed = client.receive().unwrap();
        assert!(
            matches!(closed, Received::Closed(dunlin::CloseCode::RESTART, _)),
            "{closed:?}"
        );
    }
    server.thread.take().unwrap().join().unwrap();
    server.thread = Some(std::thread::spawn(|| {}));
    let closes = (0..20)
        .map(|_| app.next())
        .filter(|call| call.ends_with(" close"))
        .count();
    assert_eq!(closes, 10);
}

/// An application that is going down leaves connections in its queue that it never reads from.
#[test]
fn a_call_that_nobody_read_goes_out_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/hook");
    let server = Running::start(url, CallSettings::default());
    let mut client = server.client();
    let (unread, _) = listener.accept().unwrap();
    assert!(unread.peek(&mut [0; 16]).unwrap() > 0);
    // What waits behind it has to go on waiting. It has been read once something later is answered.
    client.send(Message::Text("a")).unwrap();
    let url = format!("http://127.0.0.1:{}/ws", server.port);
    let later = dunlin::net::http_request("GET", &url, &[], b"");
    assert_eq!(later.unwrap().status, 426);
    drop(listener);
    drop(unread); // with a request that nobody has read
    let app = App::start(port, Arc::new(|body| ok(body.split_once(' ').unwrap().1)));
    assert_eq!(text(&mut client), "200 open");
    assert_eq!(text(&mut client), "200 a");
    assert!(app.next().ends_with(" open"));
    assert!(app.next().ends_with(" a"));
}

/// Where one connection has ended like this, the others of that time may be about to.
#[test]
fn a_call_goes_out_again_on_a_connection_that_is_newer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/hook");
    let server = Running::start(url, CallSettings::default());
    let mut first = server.client();
    let (unread, _) = listener.accept().unwrap();
    assert!(unread.peek(&mut [0; 16]).unwrap() > 0);
    let mut second = server.client();
    let (mut idle, _) = listener.accept().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"open") {
        let mut byte = [0];
        idle.read_exact(&mut byte).unwrap();
        request.extend(byte);
    }
    idle.write_all(&ok("open").0).unwrap();
    assert_eq!(text(&mut second), "200 open");
    drop(listener);
    drop(unread);
    assert_eq!(idle.peek(&mut [0; 16]).unwrap(), 0, "it was used again");
    drop(idle);
    let app = App::start(port, Arc::new(|body| ok(body.split_once(' ').unwrap().1)));
    assert_eq!(text(&mut first), "200 open");
    assert!(app.next().ends_with(" open"));
}
