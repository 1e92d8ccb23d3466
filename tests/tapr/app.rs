//! The application: an HTTP server whose behaviour the test decides per callback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use serde_json::Value;

use crate::support::{PATIENCE, Port};

/// One callback as it came.
#[derive(Debug, Clone)]
pub(crate) struct Callback {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Callback {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter();
        let found = found.find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn string(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap().to_owned()
    }

    pub(crate) fn conn(&self) -> String {
        self.string("conn_id")
    }

    pub(crate) fn action(&self) -> String {
        self.string("action")
    }

    /// `action`, and of a message its `n`.
    pub(crate) fn short(&self) -> String {
        let json = self.json();
        match &json["data"]["n"] {
            Value::Null => self.action(),
            n => n.to_string(),
        }
    }
}

/// What the application does with a callback.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Status(u16, String),
    /// The same, so much later.
    Late(Duration),
    /// Reads on and never says anything.
    Never,
    /// Ends the connection.
    Cut,
    Junk,
    /// One header after the other, for ever.
    EndlessHead,
}

impl Answer {
    pub(crate) fn ok() -> Self {
        Self::Status(200, String::new())
    }
}

type Behave = Box<dyn Fn(&Callback) -> Answer + Send + Sync>;

struct Shared {
    behave: Mutex<Arc<Behave>>,
    stopping: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    calls: AtomicUsize,
}

pub(crate) struct App {
    number: u16,
    shared: Arc<Shared>,
    seen: Receiver<Callback>,
    thread: Option<JoinHandle<Vec<JoinHandle<()>>>>,
}

impl App {
    /// Answers 200 to everything.
    pub(crate) fn start(port: &Port) -> Self {
        Self::start_as(port, |_| Answer::ok())
    }

    pub(crate) fn start_as(
        port: &Port,
        behave: impl Fn(&Callback) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = port.listen();
        let shared = Arc::new(Shared {
            behave: Mutex::new(Arc::new(Box::new(behave))),
            stopping: AtomicBool::new(false),
            open: Mutex::new(Vec::new()),
            calls: AtomicUsize::new(0),
        });
        let (sender, seen) = channel();
        let thread = spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared, &sender)
        });
        Self {
            number: port.number,
            shared,
            seen,
            thread: Some(thread),
        }
    }

    /// From now on it behaves like this.
    pub(crate) fn behave(&self, behave: impl Fn(&Callback) -> Answer + Send + Sync + 'static) {
        *self.shared.behave.lock().unwrap() = Arc::new(Box::new(behave));
    }

    /// The next callback.
    #[track_caller]
    pub(crate) fn next(&self) -> Callback {
        self.seen.recv_timeout(PATIENCE).expect("a callback")
    }

    /// The next callbacks, until none comes for long.
    pub(crate) fn callbacks(&self) -> impl Iterator<Item = Callback> {
        std::iter::from_fn(|| self.seen.recv_timeout(PATIENCE / 4).ok())
    }

    /// The callbacks that have come until now.
    pub(crate) fn so_far(&self) -> Vec<Callback> {
        self.seen.try_iter().collect()
    }

    /// How many callbacks were made, those that were taken from here included.
    pub(crate) fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::Acquire)
    }

    /// Goes down as a good server does: takes nothing new, answers what it has read. Gives what was not looked at.
    pub(crate) fn stop(mut self) -> Vec<Callback> {
        self.end();
        self.so_far()
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.shared.stopping.store(true, Ordering::Release);
        // Wakes who accepts; the listener is closed with it.
        _ = TcpStream::connect(("127.0.0.1", self.number));
        let serving = thread.join().unwrap();
        for stream in self.shared.open.lock().unwrap().drain(..) {
            // Whoever waits for a request gets an end, whoever writes an answer may do so.
            _ = stream.shutdown(Shutdown::Read);
        }
        for thread in serving {
            thread.join().unwrap();
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.end();
    }
}

fn accept(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    seen: &Sender<Callback>,
) -> Vec<JoinHandle<()>> {
    let mut serving = Vec::new();
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::Acquire) {
            break;
        }
        let stream = stream.unwrap();
        let copy = stream.try_clone().unwrap();
        shared.open.lock().unwrap().push(copy);
        let (shared, seen) = (shared.clone(), seen.clone());
        serving.push(spawn(move || serve(stream, &shared, &seen)));
    }
    serving
}

/// Serves one connection to its end.
fn serve(stream: TcpStream, shared: &Shared, seen: &Sender<Callback>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(callback) = request(&mut reader) {
        let behave = shared.behave.lock().unwrap().clone();
        let answer = behave(&callback);
        shared.calls.fetch_add(1, Ordering::AcqRel);
        _ = seen.send(callback);
        let late = matches!(answer, Answer::Late(_));
        match answer {
            Answer::Late(pause) => std::thread::sleep(pause),
            Answer::Never => {
                _ = reader.read_to_end(&mut Vec::new());
                break;
            }
            Answer::Cut => break,
            Answer::Junk => {
                _ = writer.write_all(b"\x16\x03\x01 who is there?\r\n\r\n");
                break;
            }
            Answer::EndlessHead => {
                _ = writer.write_all(b"HTTP/1.1 200 OK\r\n");
                // Slowly enough to leave the processor to others.
                let more = b"X-More: and more\r\n".repeat(50);
                while writer.write_all(&more).is_ok() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                break;
            }
            Answer::Status(..) => {}
        }
        let (status, body) = match answer {
            Answer::Status(status, body) => (status, body),
            _ => (200, String::new()),
        };
        let last = shared.stopping.load(Ordering::Acquire) || late;
        let connection = if last { "Connection: close\r\n" } else { "" };
        let length = body.len();
        let text =
            format!("HTTP/1.1 {status} x\r\n{connection}Content-Length: {length}\r\n\r\n{body}");
        if writer.write_all(text.as_bytes()).is_err() || last {
            break;
        }
    }
    _ = writer.shutdown(Shutdown::Both);
}

/// Reads one request; `None` at the end.
fn request(reader: &mut BufReader<TcpStream>) -> Option<Callback> {
    let mut read = || {
        let mut line = String::new();
        let n = reader.read_line(&mut line).unwrap_or(0);
        (n > 0).then(|| line.trim_end().to_owned())
    };
    let line = read()?;
    let mut headers = Vec::new();
    loop {
        let line = read()?;
        let Some((name, value)) = line.split_once(": ").or_else(|| line.split_once(':')) else {
            break;
        };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut callback = Callback {
        line,
        headers,
        text: String::new(),
    };
    let length = callback.header("content-length").unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    callback.text = String::from_utf8(body).unwrap();
    Some(callback)
}
