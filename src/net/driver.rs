//! The loop: wait for readiness, accept, tell the worker, let it turn.
//!
//! One clock read per turn, no wait while there is work left, and no wake-up without a deadline.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll, Token, Waker};

use super::listener::Listener;
use super::resolver::Resolver;
use super::socket::Socket;
#[cfg(feature = "process")]
use crate::hub::{LinkId, LinkTarget};
use crate::server::{Notice, Place, WantId, Worker};
use crate::time::Now;

/// Connections accepted from one listener per turn, so that a rush does not starve those who are in.
const ACCEPTS_PER_TURN: usize = 64;
/// How long accepting rests when the machine has no descriptor or memory for another socket. Under
/// edge-triggered polling no new event comes by itself.
const ACCEPT_REST_MS: u64 = 100;
const EVENTS: usize = 1024;

const WAKER: Token = Token(usize::MAX);
#[cfg(feature = "signals")]
const SIGNALS: Token = Token(usize::MAX - 1);
/// Listener tokens lie above every connection key (those are 31 bits), those of processes between them.
const LISTENERS: usize = usize::MAX / 2;
#[cfg(feature = "process")]
const PROCESSES: usize = LISTENERS / 2 + 1;

/// What drives a worker over real sockets.
pub(crate) struct Driver {
    pub(crate) worker: Worker<Socket>,
    pub(crate) on_notice: Box<dyn FnMut(Notice)>,
    poll: Poll,
    listeners: Vec<Entry>,
    clock: Clock,
    waker: Arc<Waker>,
    command: Arc<AtomicU8>,
    resolver: Resolver,
    /// Accepting rests until then.
    resume_ms: Option<u64>,
    #[cfg(feature = "signals")]
    signals: Option<super::signals::Signals>,
    #[cfg(feature = "process")]
    children: super::process::Children,
    #[cfg(feature = "history-log")]
    pub(crate) journal: Option<super::journal::Journal>,
}

struct Entry {
    listener: Listener,
    number: u16,
    /// Readiness is memory here too: only `WouldBlock` clears it.
    ready: bool,
}

/// Ends a running server from another thread.
#[derive(Debug, Clone)]
pub struct Handle {
    waker: Arc<Waker>,
    command: Arc<AtomicU8>,
}

const RUN: u8 = 0;
const DRAIN: u8 = 1;
const STOP: u8 = 2;

impl Handle {
    /// Begins to drain: nothing new is accepted, WebSockets are closed with 1012, `run` returns when
    /// everybody is gone or the drain time is over.
    pub fn drain(&self) {
        self.send(DRAIN);
    }

    /// Ends at once; open connections are cut.
    pub fn stop(&self) {
        self.send(STOP);
    }

    fn send(&self, command: u8) {
        self.command.fetch_max(command, Ordering::Release);
        // If the loop is gone there is nothing left to end.
        _ = self.waker.wake();
    }
}

impl Driver {
    pub(crate) fn new(worker: Worker<Socket>, bound: Vec<(u16, Listener)>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut listeners = Vec::new();
        for (at, (number, mut listener)) in bound.into_iter().enumerate() {
            listener.register(poll.registry(), Token(LISTENERS + at))?;
            listeners.push(Entry {
                listener,
                number,
                ready: false,
            });
        }
        Ok(Self {
            worker,
            on_notice: Box::new(drop),
            poll,
            listeners,
            clock: Clock::new(),
            resolver: Resolver::new(waker.clone()),
            waker,
            command: Arc::new(AtomicU8::new(RUN)),
            resume_ms: None,
            #[cfg(feature = "signals")]
            signals: None,
            #[cfg(feature = "process")]
            children: super::process::Children::new(PROCESSES),
            #[cfg(feature = "history-log")]
            journal: None,
        })
    }

    pub(crate) fn listeners(&self) -> impl Iterator<Item = (u16, &Listener)> {
        self.listeners
            .iter()
            .map(|entry| (entry.number, &entry.listener))
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle {
            waker: self.waker.clone(),
            command: self.command.clone(),
        }
    }

    /// From now on SIGTERM and SIGINT drain, and the second one stops.
    #[cfg(feature = "signals")]
    pub(crate) fn watch_signals(&mut self) -> io::Result<()> {
        self.signals = Some(super::signals::Signals::new(self.poll.registry(), SIGNALS)?);
        Ok(())
    }

    /// Runs until drained or stopped.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        #[cfg(feature = "history-log")]
        if let Some(journal) = &mut self.journal {
            let notices = journal.begin(self.waker.clone());
            notices.into_iter().for_each(&mut self.on_notice);
        }
        let ended = self.serve();
        #[cfg(feature = "history-log")]
        if let Some(journal) = &mut self.journal {
            let notices = journal.finish(&mut self.worker);
            notices.into_iter().for_each(&mut self.on_notice);
        }
        ended
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut more = false;
        let mut now = self.clock.now();
        // By a signal, by a handle, by the resolver: before the first poll too.
        let mut told = true;
        #[cfg(feature = "process")]
        let mut exited = false;
        loop {
            let timeout = self.timeout(more, now);
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                // A debugger or a signal: whatever was ready is still ready, the next poll tells.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
                Err(error) => return Err(error),
            }
            now = self.clock.now();
            for event in &events {
                let Token(token) = event.token();
                #[cfg(feature = "process")]
                if (PROCESSES..LISTENERS).contains(&token) {
                    exited |= self.children.ready(event.token());
                    continue;
                }
                if token < LISTENERS {
                    let ended = event.is_read_closed() || event.is_error();
                    let readable = event.is_readable() || ended;
                    let writable =
                        event.is_writable() || event.is_write_closed() || event.is_error();
                    self.worker.ready(token, readable, writable, ended);
                } else if let Some(entry) = self.listeners.get_mut(token - LISTENERS) {
                    entry.ready = true;
                } else {
                    told = true;
                }
            }
            if std::mem::take(&mut told) {
                self.obey(now);
            }
            #[cfg(feature = "process")]
            if std::mem::take(&mut exited) {
                for (link, exit) in self.children.exits() {
                    self.worker.process_ended(link, exit, now);
                }
            }
            let accepting = self.accept(now);
            let before = self.worker.connections();
            #[cfg(feature = "history-log")]
            if let Some(journal) = &mut self.journal {
                let notices = journal.look(&mut self.worker);
                notices.into_iter().for_each(&mut self.on_notice);
            }
            more = self.worker.turn(now) || accepting;
            #[cfg(feature = "history-log")]
            if let Some(journal) = &mut self.journal {
                let notices = journal.turn(&mut self.worker);
                notices.into_iter().for_each(&mut self.on_notice);
            }
            self.connect_wanted(now);
            more |= self.worker.has_work();
            #[cfg(feature = "process")]
            {
                while let Some(order) = self.worker.next_process_order() {
                    self.children.obey(order, &mut self.on_notice);
                }
                more |= self.children.read_errors(&mut self.on_notice);
            }
            if self.worker.connections() < before && self.resume_ms.take().is_some() {
                more = true; // Somebody has left: there is room to accept again.
            }
            if self.worker.has_notices() {
                for notice in self.worker.take_notices() {
                    (self.on_notice)(notice);
                }
            }
            if self.worker.is_drained() || self.command.load(Ordering::Acquire) == STOP {
                return Ok(());
            }
        }
    }

    /// Begins the connections to applications that the worker wants.
    fn connect_wanted(&mut self, now: Now) {
        let mut ready = self.resolver.take(now.ms);
        while let Some(want) = self.worker.next_want() {
            match &want.place {
                Place::Unix(path) => {
                    let socket = Socket::connect_unix(path);
                    self.connect(want.id, socket, now);
                }
                #[cfg(feature = "process")]
                Place::Process(link, target) => {
                    let socket = self.start(*link, target);
                    self.connect(want.id, socket, now);
                }
                Place::Tcp { .. } => ready.extend(self.resolver.resolve(want, now.ms)),
            }
        }
        for (want, addr) in ready {
            let nowhere = || io::ErrorKind::NotFound.into();
            let socket = addr.ok_or_else(nowhere).and_then(Socket::connect);
            self.connect(want.id, socket, now);
        }
        for host in self.worker.take_unreachable() {
            self.resolver.note_failed(&host);
        }
    }

    #[cfg(feature = "process")]
    fn start(&mut self, link: LinkId, target: &LinkTarget) -> io::Result<Socket> {
        let LinkTarget::Process(program) = target else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let started = self.children.start(link, program, self.poll.registry());
        started.inspect_err(|error| {
            let text = format!("cannot start {}: {error}", program.name());
            (self.on_notice)(Notice {
                kind: "process_start",
                text,
            });
        })
    }

    fn connect(&mut self, want: WantId, socket: io::Result<Socket>, now: Now) {
        let key = Token(self.worker.next_key());
        let registered = socket.and_then(|mut socket| {
            socket.register(self.poll.registry(), key)?;
            Ok(socket)
        });
        match registered {
            Ok(socket) => {
                self.worker.connected(want, socket, now);
            }
            Err(_) => self.worker.not_connected(want, now),
        }
    }

    /// How long the poll may wait. `now` is when the turn began: a turn is shorter than the wheel's tick.
    fn timeout(&self, more: bool, now: Now) -> Option<Duration> {
        if more {
            return Some(Duration::ZERO);
        }
        let next = match (self.worker.next_deadline_ms(), self.resume_ms) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        Some(Duration::from_millis(next.saturating_sub(now.ms)))
    }

    /// What a handle or a signal has asked for.
    fn obey(&mut self, now: Now) {
        #[cfg(feature = "signals")]
        if let Some(signals) = &mut self.signals {
            for _ in 0..signals.take() {
                let next = if self.command.load(Ordering::Acquire) == RUN {
                    DRAIN
                } else {
                    STOP
                };
                self.command.fetch_max(next, Ordering::AcqRel);
            }
        }
        if self.command.load(Ordering::Acquire) == DRAIN && !self.worker.is_draining() {
            self.listeners.clear();
            self.worker.drain(now);
        }
    }

    /// Accepts a slice from each listener; answers whether more may be waiting.
    fn accept(&mut self, now: Now) -> bool {
        if self.resume_ms.is_some_and(|at| now.ms < at) {
            return false;
        }
        self.resume_ms = None;
        let mut more = false;
        for entry in &mut self.listeners {
            let mut accepted = 0;
            while entry.ready {
                if accepted == ACCEPTS_PER_TURN {
                    more = true;
                    break;
                }
                accepted += 1;
                if self.worker.is_overfull() {
                    self.resume_ms = Some(now.ms + ACCEPT_REST_MS);
                    return false;
                }
                match entry.listener.accept() {
                    Ok((mut socket, peer)) => {
                        let key = self.worker.next_key();
                        if socket.register(self.poll.registry(), Token(key)).is_ok() {
                            if entry.listener.is_for_values() {
                                self.worker.accept_values(socket, entry.number, peer, now);
                            } else {
                                self.worker.accept(socket, entry.number, peer, now);
                            }
                        } else {
                            self.worker.metrics().refuse("register_failed");
                        }
                    }
                    Err(error) => match error.kind() {
                        io::ErrorKind::WouldBlock => entry.ready = false,
                        // This one went away before we got to it; the next may be fine.
                        io::ErrorKind::Interrupted
                        | io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset => {}
                        _ => {
                            self.worker.metrics().refuse("accept_failed");
                            let text = format!("accepting rests for {ACCEPT_REST_MS} ms: {error}");
                            (self.on_notice)(Notice {
                                kind: "accept_failed",
                                text,
                            });
                            self.resume_ms = Some(now.ms + ACCEPT_REST_MS);
                            return false;
                        }
                    },
                }
            }
        }
        more
    }
}

/// The only place that asks what time it is. The calendar is asked about once a second: in between it goes with the
/// steady clock, so that a turn costs one look.
struct Clock {
    start: Instant,
    /// The steady time of the last look at the calendar, and what it said.
    asked: Now,
}

/// So long the calendar is believed to go on by itself.
const CALENDAR_MS: u64 = 1000;

impl Clock {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            asked: Now::new(0, unix_ms()),
        }
    }

    fn now(&mut self) -> Now {
        let elapsed = self.start.elapsed();
        let ms = elapsed.as_secs() * 1000 + u64::from(elapsed.subsec_millis());
        let since = ms - self.asked.ms;
        if since >= CALENDAR_MS {
            self.asked = Now::new(ms, unix_ms());
            return self.asked;
        }
        Now::new(ms, self.asked.unix_ms + since)
    }
}

/// What clocks say before the loop begins.
#[cfg(feature = "history-log")]
pub(super) fn now_at_start() -> Now {
    Now::new(0, unix_ms())
}

pub(super) fn unix_ms() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    unix.unwrap_or_default().as_millis() as u64
}
