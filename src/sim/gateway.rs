//! The far side of calls: a fake HTTP application behind the worker, and the sockets that lead to it.
//!
//! ```text
//!   Worker::next_want ──▶ connecting ──connect_ms──▶ connected ──▶ request whole ──after_ms──▶ answer, in pieces
//!                            │ down: refused             │ the application ends or resets it at any time
//! ```
//!
//! It reads everything as soon as it comes, writes down what it has read in order of arrival, and does with each
//! request what it was told to: see [`Deed`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use super::deed::{Deed, End};
use super::socket::{Faults, SimSocket, Wire};

/// A request as the application has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The request method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The body; what is not UTF-8 in it is replaced.
    pub body: String,
    /// Which of the connections it came on; they are counted from 0.
    pub connection: usize,
    /// It is the first on that connection.
    pub is_first: bool,
    /// When it was whole.
    pub at_ms: u64,
}

/// What happened at the application, for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A request has come, whether it is read or not; this is what will become of it.
    Asked(Asked, Deed),
    /// A connection broke with this request on it. `begun`: the worker has read a byte of the answer.
    Broke { body: String, begun: bool },
    /// A connection with nothing on it was ended. A request may be under way to it that nobody will see.
    Closed,
}

type Behave = Box<dyn FnMut(&Asked) -> Deed>;

/// The application.
pub(crate) struct Application {
    connections: Vec<Connection>,
    made: usize,
    behave: Behave,
    pub(crate) log: Vec<Asked>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) is_down: bool,
    /// How long connecting takes, and failing to.
    pub(crate) connect_ms: u64,
    /// What it says on each new connection before it is asked anything.
    pub(crate) greeting: Vec<u8>,
    /// What sockets to it do to the worker.
    pub(crate) faults: Faults,
}

#[derive(Debug)]
struct Connection {
    number: usize,
    key: usize,
    wire: Rc<RefCell<Wire>>,
    /// When connecting ends; `None`: it has.
    connecting: Option<u64>,
    input: Vec<u8>,
    busy: Option<Busy>,
    /// It has carried a request.
    was_used: bool,
    /// The body of the last request that was answered, and the length of the answer.
    answered: Option<(String, usize)>,
}

/// A request that is being answered.
#[derive(Debug)]
struct Busy {
    body: String,
    deed: Deed,
    at_ms: u64,
    out: VecDeque<u8>,
    delivered: usize,
}

impl Application {
    pub(crate) fn new() -> Self {
        Self {
            connections: Vec::new(),
            made: 0,
            behave: Box::new(|_| Deed::status(200)),
            log: Vec::new(),
            seen: Vec::new(),
            is_down: false,
            connect_ms: 0,
            greeting: Vec::new(),
            faults: Faults::default(),
        }
    }

    pub(crate) fn behave(&mut self, behave: Behave) {
        self.behave = behave;
    }

    /// Connections that are made or being made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// All connections that were ever made.
    pub(crate) fn made(&self) -> usize {
        self.made
    }

    /// A socket for the worker; it says later under which key it has it.
    pub(crate) fn connect(&mut self, key: usize, now_ms: u64) -> SimSocket {
        let (socket, wire) = SimSocket::pair(64 << 10);
        wire.borrow_mut().faults = self.faults;
        wire.borrow_mut().begin_connecting();
        self.connections.push(Connection {
            number: self.made,
            key,
            wire,
            connecting: Some(now_ms + self.connect_ms),
            input: Vec::new(),
            busy: None,
            was_used: false,
            answered: None,
        });
        self.made += 1;
        socket
    }

    /// Writes to every connection, whether anything was asked on it or not.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        for connection in self.connections.iter().filter(|c| c.connecting.is_none()) {
            let mut out: VecDeque<u8> = bytes.iter().copied().collect();
            connection.wire.borrow_mut().deliver(&mut out, usize::MAX);
        }
    }

    /// Stops listening and resets everything.
    pub(crate) fn down(&mut self) {
        self.is_down = true;
        for at in 0..self.connections.len() {
            if self.connections[at].connecting.is_none() {
                self.break_off(at, true);
            }
        }
    }

    /// Ends connection `at`.
    pub(crate) fn break_off(&mut self, at: usize, reset: bool) {
        let Some(connection) = self.connections.get_mut(at) else {
            return;
        };
        let mut wire = connection.wire.borrow_mut();
        if wire.reset || wire.to_server.ended {
            return; // It is broken off already.
        }
        // A reset destroys what the worker has not read, of the answer before as well.
        let lost = if reset { wire.to_server.bytes.len() } else { 0 };
        if let Some(busy) = connection.busy.take() {
            self.seen.push(Seen::Broke {
                body: busy.body,
                begun: busy.delivered > lost,
            });
        } else if let Some((body, length)) = connection.answered.take()
            && lost > 0
        {
            self.seen.push(Seen::Broke {
                body,
                begun: length > lost,
            });
        } else {
            self.seen.push(Seen::Closed);
        }
        connection.input.clear();
        connection.connecting = None;
        if reset {
            wire.reset_by_peer();
        } else {
            wire.end_by_peer();
        }
    }

    /// What the sockets have to report: keys and edges.
    pub(crate) fn edges(&mut self) -> Vec<(usize, super::socket::Edge)> {
        let all = self.connections.iter();
        all.filter_map(|c| Some((c.key, c.wire.borrow_mut().take_edge()?)))
            .collect()
    }

    /// When it has something to do.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        let due = |c: &Connection| match (&c.connecting, &c.busy) {
            (Some(ms), _) => Some(*ms),
            (None, Some(busy)) if busy.deed.end != End::Never => Some(busy.at_ms),
            _ => None,
        };
        let all = self.connections.iter();
        all.filter(|c| !c.wire.borrow().gone).filter_map(due).min()
    }

    /// Reads and writes what it can; `true` if anything moved.
    pub(crate) fn exchange(&mut self, now_ms: u64) -> bool {
        let mut moved = false;
        for at in 0..self.connections.len() {
            moved |= self.act(at, now_ms);
        }
        self.connections.retain(|c| !c.wire.borrow().gone);
        moved
    }

    fn act(&mut self, at: usize, now_ms: u64) -> bool {
        let connection = &mut self.connections[at];
        if let Some(until) = connection.connecting {
            if until > now_ms {
                return false;
            }
            connection.connecting = None;
            let mut wire = connection.wire.borrow_mut();
            if self.is_down {
                wire.reset_by_peer();
            } else {
                wire.end_connecting();
                let mut greeting: VecDeque<u8> = self.greeting.iter().copied().collect();
                wire.deliver(&mut greeting, usize::MAX);
            }
            return true;
        }
        let mut got = Vec::new();
        {
            let mut wire = connection.wire.borrow_mut();
            wire.collect(usize::MAX, &mut got);
            if wire.reset || wire.to_server.ended {
                return !got.is_empty();
            }
        }
        let mut moved = !got.is_empty();
        connection.input.extend(got);
        if connection.busy.is_none()
            && let Some((mut asked, used)) = parse(&connection.input)
        {
            moved = true;
            connection.input.drain(..used);
            (asked.connection, asked.at_ms) = (connection.number, now_ms);
            asked.is_first = !std::mem::replace(&mut connection.was_used, true);
            let deed = (self.behave)(&asked);
            connection.busy = Some(Busy {
                body: asked.body.clone(),
                at_ms: now_ms + deed.after_ms,
                out: deed.bytes().into(),
                delivered: 0,
                deed: deed.clone(),
            });
            if deed.end != End::ResetUnread {
                self.log.push(asked.clone());
            }
            self.seen.push(Seen::Asked(asked, deed));
        }
        moved | self.answer(at, now_ms)
    }

    fn answer(&mut self, at: usize, now_ms: u64) -> bool {
        let connection = &mut self.connections[at];
        let Some(busy) = &mut connection.busy else {
            return false;
        };
        if busy.at_ms > now_ms || busy.deed.end == End::Never {
            return false;
        }
        let mut wire = connection.wire.borrow_mut();
        let sent = wire.deliver(&mut busy.out, busy.deed.piece);
        busy.delivered += sent;
        if wire.gone || !busy.out.is_empty() {
            return sent > 0;
        }
        drop(wire);
        let (end, ends) = (busy.deed.end, busy.deed.ends_connection());
        if end == End::Answer
            && let Some(busy) = connection.busy.take()
        {
            connection.answered = Some((busy.body, busy.delivered));
        }
        if ends {
            self.break_off(at, matches!(end, End::Reset | End::ResetUnread));
        }
        true
    }
}

/// A whole request and its length.
fn parse(input: &[u8]) -> Option<(Asked, usize)> {
    let head = input.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&input[..head]).into_owned();
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let length = lines
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("Content-Length"))
        .and_then(|(_, value)| value.parse::<usize>().ok())
        .unwrap_or(0);
    let body = input.get(head..head + length)?;
    let asked = Asked {
        method: words.next().unwrap_or_default().to_owned(),
        path: words.next().unwrap_or_default().to_owned(),
        body: String::from_utf8_lossy(body).into_owned(),
        connection: 0,
        is_first: false,
        at_ms: 0,
    };
    Some((asked, head + length))
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application")
            .field("connections", &self.connections)
            .field("is_down", &self.is_down)
            .finish_non_exhaustive()
    }
}
