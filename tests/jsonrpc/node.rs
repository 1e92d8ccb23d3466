//! A scripted Ethereum node: HTTP and WebSocket on one port of the system's choice, and a Unix socket. It has a chain that
//! moves when the test says so, counts what it is asked, and does wrong on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chain::{Chain, Change, bytes};
use crate::line::{Line, Pieces, Socket, Transport, hear_messages, hear_values};
use crate::methods;
use crate::support::{Folder, PATIENCE, Port};

/// One call as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) id: Value,
    pub(crate) transport: Transport,
    /// The number of the connection, counted from the first one.
    pub(crate) line: u64,
    /// It was one of several in an array.
    pub(crate) batch: bool,
}

/// What the node does with a call.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    /// As a node does.
    Usual,
    /// The same, so much later. It answers others meanwhile.
    Late(Duration),
    /// Answers when it is told to: [`Node::release`].
    Hold,
    Never,
    Error(i64, String),
    /// This JSON is the result.
    Result(String),
    /// This is said in place of an answer.
    Junk(String),
    /// It mines a block before it answers: what a subscription has to tell is there before its name.
    MineFirst,
    /// Ends the connection.
    Cut,
    /// Answers HTTP with this status.
    Status(u16),
}

type Behave = Box<dyn Fn(&Asked) -> Deed + Send + Sync>;

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) name: String,
    pub(crate) line: u64,
    pub(crate) kind: String,
    pub(crate) more: Value,
}

pub(crate) struct State {
    pub(crate) chain: Chain,
    pub(crate) subscriptions: Vec<Subscription>,
    asked: Vec<Asked>,
    lines: BTreeMap<u64, Arc<Line>>,
    held: Vec<(Arc<Line>, String)>,
    pieces: Pieces,
    /// It reads nothing.
    deaf: bool,
    opened: u64,
    names: u64,
    numbers: u64,
}

impl State {
    pub(crate) fn new_name(&mut self) -> String {
        self.names += 1;
        // As Go's node writes them, without zeros in front.
        let digits = bytes(0xabcd_0000 + self.names, 16);
        format!("0x{}", digits[2..].trim_start_matches('0'))
    }

    /// How often this was asked.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn say(&self, line: &Line, text: &str) {
        line.say(text, self.pieces);
    }

    /// Tells those who have subscribed to it.
    pub(crate) fn notify(&self, kind: &str, mut result: impl FnMut(&Value) -> Option<String>) {
        for one in self.subscriptions.iter().filter(|one| one.kind == kind) {
            if let (Some(line), Some(result)) = (self.lines.get(&one.line), result(&one.more)) {
                let name = &one.name;
                let text = format!(
                    r#"{{"jsonrpc":"2.0","method":"eth_subscription","params":{{"subscription":"{name}","result":{result}}}}}"#
                );
                self.say(line, &text);
            }
        }
    }

    fn tell(&mut self, changes: &[Change]) {
        for change in changes {
            methods::tell(self, change);
        }
    }

    fn mine(&mut self) -> u64 {
        let change = self.chain.mine();
        self.tell(&[change]);
        self.chain.head().number
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    behave: Mutex<Arc<Behave>>,
    stopping: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that fails while it looks is to fail with its own words.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Node {
    port: Port,
    folder: Folder,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::start_as(|_| Deed::Usual)
    }

    pub(crate) fn start_as(behave: impl Fn(&Asked) -> Deed + Send + Sync + 'static) -> Self {
        let mut node = Self::asleep();
        node.behave(behave);
        node.revive();
        node
    }

    /// A node that does not listen yet.
    pub(crate) fn asleep() -> Self {
        let state = State {
            chain: Chain::new(),
            subscriptions: Vec::new(),
            asked: Vec::new(),
            lines: BTreeMap::new(),
            held: Vec::new(),
            pieces: Pieces::Whole,
            deaf: false,
            opened: 0,
            names: 0,
            numbers: 0,
        };
        let usual: Behave = Box::new(|_| Deed::Usual);
        Self {
            port: Port::reserve(),
            folder: Folder::new(),
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Condvar::new(),
                behave: Mutex::new(Arc::new(usual)),
                stopping: AtomicBool::new(false),
            }),
            threads: Vec::new(),
        }
    }

    pub(crate) fn ws(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port.number)
    }

    pub(crate) fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number)
    }

    fn path(&self) -> PathBuf {
        self.folder.0.join("node.ipc")
    }

    pub(crate) fn ipc(&self) -> String {
        format!("ipc:{}", self.path().display())
    }

    /// From now on it behaves like this.
    pub(crate) fn behave(&self, behave: impl Fn(&Asked) -> Deed + Send + Sync + 'static) {
        *self.shared.behave.lock().unwrap() = Arc::new(Box::new(behave));
    }

    /// From now on it cuts what it says like this.
    pub(crate) fn cut_into(&self, pieces: Pieces) {
        self.shared.lock().pieces = pieces;
    }

    /// Reads nothing, or reads again.
    pub(crate) fn set_deaf(&self, deaf: bool) {
        self.shared.lock().deaf = deaf;
        self.shared.changed.notify_all();
    }

    /// Mines a block; answers its number.
    pub(crate) fn mine(&self) -> u64 {
        self.shared.lock().mine()
    }

    /// Mines blocks of which nobody hears.
    pub(crate) fn silently_mine(&self, number: u64) {
        let mut state = self.shared.lock();
        for _ in 0..number {
            state.chain.mine();
        }
    }

    /// The last `depth` blocks are replaced, and one comes on top. Answers the number of that one.
    pub(crate) fn reorganise(&self, depth: usize) -> u64 {
        let mut state = self.shared.lock();
        let changes = state.chain.reorganise(depth);
        state.tell(&changes);
        state.chain.head().number
    }

    /// A transaction waits.
    pub(crate) fn pend(&self) -> String {
        let mut state = self.shared.lock();
        methods::pend(&mut state)
    }

    /// It falls behind, or has caught up.
    pub(crate) fn sync(&self, behind: bool) {
        methods::sync(&mut self.shared.lock(), behind);
    }

    /// Looks at its chain.
    pub(crate) fn chain<T>(&self, look: impl FnOnce(&Chain) -> T) -> T {
        look(&self.shared.lock().chain)
    }

    /// Says something to everybody on a WebSocket or on the Unix socket.
    pub(crate) fn say(&self, text: &str) {
        let state = self.shared.lock();
        for line in state.lines.values() {
            state.say(line, text);
        }
    }

    /// The same with bytes as they are.
    pub(crate) fn write(&self, bytes: &[u8]) {
        for line in self.shared.lock().lines.values() {
            line.write(bytes);
        }
    }

    /// Closes every WebSocket with this code, or cuts every connection.
    pub(crate) fn hang_up(&self, code: Option<u16>) {
        for line in self.shared.lock().lines.values() {
            match code {
                Some(code) => line.close(code),
                None => line.cut(),
            }
        }
    }

    /// Gives the answers that were held back, in the order that is made of it.
    pub(crate) fn release(&self, backwards: bool) {
        let mut state = self.shared.lock();
        let mut held = std::mem::take(&mut state.held);
        if backwards {
            held.reverse();
        }
        for (line, text) in held {
            state.say(&line, &text);
        }
    }

    /// Waits until so many answers are held back.
    #[track_caller]
    pub(crate) fn await_held(&self, number: usize) {
        self.wait("held answers", |state| state.held.len() >= number);
    }

    /// Everything it was asked, of one method.
    pub(crate) fn asked(&self, method: &str) -> Vec<Asked> {
        let state = self.shared.lock();
        let found = state.asked.iter().filter(|asked| asked.method == method);
        found.cloned().collect()
    }

    /// How often it was asked that.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.asked(method).len()
    }

    /// Waits until it was asked that so often.
    #[track_caller]
    pub(crate) fn await_count(&self, method: &str, number: usize) {
        self.wait(method, |state| {
            state.asked.iter().filter(|a| a.method == method).count() >= number
        });
    }

    /// What it calls them.
    pub(crate) fn subscription_names(&self) -> Vec<String> {
        let state = self.shared.lock();
        state.subscriptions.iter().map(|s| s.name.clone()).collect()
    }

    /// Waits until there are so many subscriptions.
    #[track_caller]
    pub(crate) fn await_subscriptions(&self, number: usize) {
        self.wait("subscriptions", |s| s.subscriptions.len() == number);
    }

    /// How many connections were ever made, plain HTTP aside.
    pub(crate) fn opened(&self) -> u64 {
        self.shared.lock().opened
    }

    #[track_caller]
    fn wait(&self, what: &str, is: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while !is(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            let asked: Vec<_> = state.asked.iter().map(|a| &a.method).collect();
            assert!(!left.is_zero(), "in vain: {what}. Asked were {asked:?}");
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Goes down at once: whoever is connected is cut off, whoever comes is refused. The chain stays.
    pub(crate) fn kill(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.lock().deaf = false;
        self.shared.changed.notify_all();
        if !self.threads.is_empty() {
            // Wakes who accepts; the listeners are closed with it.
            _ = TcpStream::connect(("127.0.0.1", self.port.number));
            _ = UnixStream::connect(self.path());
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        _ = std::fs::remove_file(self.path());
        let mut state = self.shared.lock();
        for line in std::mem::take(&mut state.lines).into_values() {
            line.cut();
        }
        state.subscriptions.clear();
        state.held.clear();
    }

    /// Comes up, at the same address as before.
    pub(crate) fn revive(&mut self) {
        self.shared.stopping.store(false, Ordering::Release);
        let tcp = self.port.listen();
        let unix = UnixListener::bind(self.path()).unwrap();
        let shared = self.shared.clone();
        self.threads.push(spawn(move || {
            let accept = || Some(Socket::Tcp(tcp.accept().ok()?.0));
            accept_all(&shared, accept, serve_port);
        }));
        let shared = self.shared.clone();
        self.threads.push(spawn(move || {
            let accept = || Some(Socket::Unix(unix.accept().ok()?.0));
            accept_all(&shared, accept, |shared, socket| {
                serve(shared, socket, Transport::Ipc);
            });
        }));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn accept_all(
    shared: &Arc<Shared>,
    mut accept: impl FnMut() -> Option<Socket>,
    serve: fn(&Arc<Shared>, Socket),
) {
    while let Some(socket) = accept() {
        if shared.stopping.load(Ordering::Acquire) {
            break;
        }
        socket.limit_writing();
        let shared = shared.clone();
        // They end when they are cut off.
        spawn(move || serve(&shared, socket));
    }
}

/// Plain requests one after the other, or a WebSocket.
fn serve_port(shared: &Arc<Shared>, socket: Socket) {
    let mut reader = BufReader::new(socket.copy());
    let line = Arc::new(Line::new(0, Transport::Http, &socket));
    while let Some((headers, length)) = read_head(&mut reader) {
        let key = headers.iter().find(|(name, _)| name == "sec-websocket-key");
        if let Some((_, key)) = key {
            let accept = dunlin::ws::accept_key(key);
            let accept = String::from_utf8(accept.to_vec()).unwrap();
            line.write(
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                )
                .as_bytes(),
            );
            assert!(reader.buffer().is_empty(), "frames before the handshake");
            serve(shared, socket, Transport::WebSocket);
            return;
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            break;
        }
        hear(shared, &line, &String::from_utf8(body).unwrap());
    }
    socket.end();
}

fn read_head(reader: &mut BufReader<Socket>) -> Option<(Vec<(String, String)>, usize)> {
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        let mut text = String::new();
        if reader.read_line(&mut text).unwrap_or(0) == 0 {
            return None;
        }
        let text = text.trim_end();
        if text.is_empty() {
            return Some((headers, length));
        }
        if let Some((name, value)) = text.split_once(": ") {
            let name = name.to_lowercase();
            if name == "content-length" {
                length = value.parse().unwrap();
            }
            headers.push((name, value.to_owned()));
        }
    }
}

/// A connection that stays.
fn serve(shared: &Arc<Shared>, socket: Socket, transport: Transport) {
    let line = {
        let mut state = shared.lock();
        if shared.stopping.load(Ordering::Acquire) {
            return socket.end();
        }
        state.opened += 1;
        let line = Arc::new(Line::new(state.opened, transport, &socket));
        state.lines.insert(line.id, line.clone());
        line
    };
    shared.changed.notify_all();
    let hear = |text: String| {
        let deaf = |state: &mut State| state.deaf;
        drop(shared.changed.wait_while(shared.lock(), deaf).unwrap());
        hear(shared, &line, &text);
    };
    match transport {
        Transport::Ipc => hear_values(socket.copy(), hear),
        _ => hear_messages(socket.copy(), &line, hear),
    }
    socket.end();
    let mut state = shared.lock();
    state.lines.remove(&line.id);
    state.subscriptions.retain(|one| one.line != line.id);
    drop(state);
    shared.changed.notify_all();
}

/// Does what a text asks for. The answer to a subscription is written before anybody else can mine.
fn hear(shared: &Arc<Shared>, line: &Arc<Line>, text: &str) {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        let state = shared.lock();
        state.say(
            line,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}"#,
        );
        return line.cut();
    };
    let batch = value.is_array();
    let calls = match value {
        Value::Array(calls) => calls,
        one => vec![one],
    };
    let behave = shared.behave.lock().unwrap().clone();
    let mut state = shared.lock();
    let mut answers = Vec::new();
    let mut whole = Deed::Usual;
    for call in calls {
        let asked = Asked {
            method: call["method"].as_str().unwrap_or_default().to_owned(),
            params: call["params"].clone(),
            id: call["id"].clone(),
            transport: line.transport,
            line: line.id,
            batch,
        };
        state.asked.push(asked.clone());
        let result = match behave(&asked) {
            Deed::Error(code, message) => Err((code, message)),
            Deed::Result(json) => Ok(json),
            deed => {
                let result = methods::answer(&mut state, &asked);
                if matches!(deed, Deed::MineFirst) {
                    state.mine();
                } else if !matches!(deed, Deed::Usual) {
                    whole = deed;
                }
                result
            }
        };
        if call.get("id").is_some() {
            answers.push(methods::envelope(&asked.id, result));
        }
    }
    shared.changed.notify_all();
    let text = if batch {
        format!("[{}]", answers.join(","))
    } else {
        answers.concat()
    };
    match whole {
        _ if answers.is_empty() => {}
        Deed::Hold => state.held.push((line.clone(), text)),
        Deed::Never => {}
        Deed::Late(pause) => {
            let (shared, line) = (shared.clone(), line.clone());
            spawn(move || {
                std::thread::sleep(pause);
                shared.lock().say(&line, &text);
            });
        }
        Deed::Junk(junk) => state.say(line, &junk),
        Deed::Cut => line.cut(),
        Deed::Status(status) => line.say_status(status),
        _ => state.say(line, &text),
    }
}
