//! Links and streams of values over real sockets: our own server in front of our own server, in four ways.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use dunlin::dialect::Echo;
use dunlin::hub::{Dial, LinkEvent, LinkId, LinkTarget};
use dunlin::net::{Client, Handle, Received};
use dunlin::{CloseInfo, ConnId, Context, Handler, Message, Server};

/// A link for each client.
struct Relay {
    target: Rc<LinkTarget>,
    links: HashMap<LinkId, ConnId>,
}

impl Handler for Relay {
    fn on_open(&mut self, cx: &mut Context<'_>) {
        let link = cx.dial(Dial::new(self.target.clone()));
        self.links.insert(link, cx.id().unwrap());
    }
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let link = self.links.iter().find(|(_, id)| Some(**id) == cx.id());
        if !link.is_some_and(|(link, _)| cx.link_send(*link, message)) {
            cx.send_text("\"no link\"");
        }
    }
    fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
        let link = self.links.iter().find(|(_, id)| Some(**id) == cx.id());
        if let Some((link, _)) = link {
            cx.link_close(*link);
        }
    }
    fn on_link(&mut self, cx: &mut Context<'_>, link: LinkId, event: LinkEvent<'_>) {
        let Some(client) = self.links.get(&link).copied() else {
            return;
        };
        match event {
            LinkEvent::Open => cx.send_to(client, Message::Text("\"open\"")),
            LinkEvent::Message(message) => cx.send_to(client, message),
            LinkEvent::Closed(end) => {
                self.links.remove(&link);
                cx.send_to(client, Message::Text(&format!("\"{}\"", end.name())))
            }
        };
    }
}

struct Running {
    port: u16,
    path: String,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Serves `handler` by TCP and by IPC.
    fn start<H: Handler + 'static>(name: &str, make: impl FnOnce() -> H + Send + 'static) -> Self {
        let folder = std::env::temp_dir().join(format!("dunlin-links-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name).to_str().unwrap().to_owned();
        let (sender, receiver) = std::sync::mpsc::channel();
        let ipc = format!("ipc:{path}");
        let thread = std::thread::spawn(move || {
            let server = Server::new().listen("127.0.0.1:0").listen(&ipc);
            let bound = server.route("/", make).bind().unwrap();
            sender
                .send((bound.port(0).unwrap(), bound.handle()))
                .unwrap();
            bound.run().unwrap();
        });
        let (port, handle) = receiver.recv().unwrap();
        Self {
            port,
            path,
            handle,
            thread: Some(thread),
        }
    }

    fn relay(name: &str, target: LinkTarget) -> Self {
        Self::start(name, move || Relay {
            target: Rc::new(target),
            links: HashMap::new(),
        })
    }

    fn websocket(&self) -> LinkTarget {
        let url = format!("http://127.0.0.1:{}/", self.port);
        LinkTarget::WebSocket(url.parse().unwrap())
    }

    fn values(&self) -> LinkTarget {
        LinkTarget::Values(self.path.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// Reads lines from a stream of values.
struct Lines {
    stream: UnixStream,
    bytes: Vec<u8>,
}

impl Lines {
    fn connect(path: &str) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).unwrap();
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    fn next(&mut self) -> String {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            let mut chunk = [0; 4096];
            let n = self.stream.read(&mut chunk).unwrap();
            assert!(n > 0, "the stream ended");
            self.bytes.extend(&chunk[..n]);
        }
    }
}

fn text(client: &mut Client) -> String {
    match client.receive().unwrap() {
        Received::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

fn connect(port: u16) -> Client {
    let mut client = Client::connect(&format!("ws://127.0.0.1:{port}/"), &[]).unwrap();
    client.set_timeout(Some(Duration::from_secs(60))).unwrap();
    client
}

#[test]
fn values_and_frames_on_both_sides() {
    let node = Running::start("node.ipc", Echo::default);
    for (name, target) in [("a.ipc", node.websocket()), ("b.ipc", node.values())] {
        let gateway = Running::relay(name, target);
        let mut frames = connect(gateway.port);
        let mut lines = Lines::connect(&gateway.path);
        assert_eq!(text(&mut frames), "\"open\"");
        assert_eq!(lines.next(), "\"open\"");
        let long = format!("[\"{}\"]", "x".repeat(700_000));
        for round in 0..20 {
            let value = format!("{{\"round\":{round}}}");
            frames.send(Message::Text(&value)).unwrap();
            lines.stream.write_all(value.as_bytes()).unwrap();
            assert_eq!(text(&mut frames), value);
            assert_eq!(lines.next(), value);
        }
        frames.send(Message::Text(&long)).unwrap();
        assert!(text(&mut frames) == long);
        lines.stream.write_all(long.as_bytes()).unwrap();
        assert!(lines.next() == long);
    }
}

#[test]
fn a_server_that_goes_is_told() {
    let node = Running::start("goes.ipc", Echo::default);
    let gateways = [
        Running::relay("c.ipc", node.websocket()),
        Running::relay("d.ipc", node.values()),
    ];
    let mut clients: Vec<Client> = gateways.iter().map(|g| connect(g.port)).collect();
    for client in &mut clients {
        assert_eq!(text(client), "\"open\"");
    }
    drop(node);
    for client in &mut clients {
        let end = text(client);
        assert!(
            ["\"link_broken\"", "\"link_closed\""].contains(&&*end),
            "{end}"
        );
    }
    // Nobody there at all.
    for gateway in &gateways {
        assert_eq!(text(&mut connect(gateway.port)), "\"link_unreachable\"");
    }
}
