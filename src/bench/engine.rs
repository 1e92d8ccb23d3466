//! The loop of the load tool: polls, reads, and calls the scenario.
//!
//! ```text
//!   open so many ──▶ scenario.begin ──▶ ┌ poll ─▶ read, write ─▶ tick ─┐ ──▶ close all ──▶ report
//!                                       └────────── until done ◀───────┘
//! ```
//!
//! The rule: the loop never sleeps past the moment when something is due. The poll counts in milliseconds, so in the
//! last one it is asked without waiting, again and again; that time is not counted as work of this end.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::crowd::{Crowd, State, answer_reader};
use super::fault::Fault;
use super::meter::{Meter, Moment};
use super::options::Options;
use super::progress::Progress;
use super::reader::Incoming;
use super::scenario::{Scenario, Stage};
use crate::ws::{self, CloseCode};

/// Read at once. Larger than what a socket usually holds, so that one read empties it.
const READ_BYTES: usize = 256 << 10;
/// Connections that may be on their way at once: fewer than most listeners let wait.
const OPENING_MAX: usize = 256;
/// With nothing open and so many failed, the rest will fail too.
const FAILED_MAX: usize = 10;
/// Connections after which memory is looked at the first time in the scenario `idle`.
pub(crate) const FIRST_OPEN: usize = 200;
/// How often memory is looked at and progress shown.
const HOUSEKEEPING_NS: u64 = 100_000_000;
const SWEEP_NS: u64 = 1_000_000_000;
const EVENTS_MAX: usize = 1024;
/// What an empty poll takes, at most; if it took longer, somebody else was on the core.
const SPIN_MAX_NS: u64 = 5_000;

/// Drives one scenario.
pub(crate) struct Engine<'a, S> {
    pub(crate) stage: Stage,
    scenario: S,
    poll: Poll,
    events: Events,
    ready: Vec<Ready>,
    buffer: Vec<u8>,
    progress: &'a mut Progress,
    housekeeping: u64,
    swept: u64,
    /// Whether memory counts from the first connections on.
    counts_memory: bool,
}

/// What the poll told of one connection.
#[derive(Debug, Clone, Copy)]
struct Ready {
    at: usize,
    readable: bool,
    writable: bool,
    /// The server has ended its direction: read to the end.
    is_last: bool,
}

impl<'a, S: Scenario> Engine<'a, S> {
    pub(crate) fn new(
        options: &Options,
        scenario: S,
        progress: &'a mut Progress,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        Ok(Self {
            stage: Stage {
                begun: Instant::now(),
                crowd: Crowd::new(registry, options, options.connections),
                meter: Meter::new(options.length, options.warmup_ns, options.pid),
                timeout_ns: options.timeout_ns(),
                connections: 0,
                opening_ns: 0,
                all_are_gone: false,
            },
            scenario,
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            ready: Vec::with_capacity(EVENTS_MAX),
            buffer: vec![0; READ_BYTES],
            progress,
            housekeeping: 0,
            swept: 0,
            counts_memory: options.counts_memory(),
        })
    }

    /// The whole run. What it has measured is in the stage afterwards.
    pub(crate) fn run(mut self) -> io::Result<Stage> {
        self.stage.meter.look_at_memory(Moment::Start, 0);
        let begun = self.stage.now();
        self.open_all()?;
        let open = self.stage.crowd.open;
        self.stage.opening_ns = self.stage.now() - begun;
        self.stage.connections = open as u64;
        self.stage.meter.look_at_memory(Moment::Open, open);
        if open > 0 || self.scenario.connections() == 0 {
            let now = self.stage.now();
            self.scenario.begin(&mut self.stage, now);
            self.settle();
            while !self.scenario.is_done(&self.stage) {
                self.turn()?;
            }
            let now = self.stage.now();
            self.stage.meter.finish(now);
            self.scenario.count_lost(&mut self.stage);
        }
        let open = self.stage.crowd.open;
        self.stage.all_are_gone = self.scenario.is_alone(&self.stage);
        self.stage.meter.look_at_memory(Moment::End, open);
        self.close_all()?;
        self.progress.end();
        Ok(self.stage)
    }

    fn open_all(&mut self) -> io::Result<()> {
        let wanted = self.scenario.connections();
        let mut next = 0;
        // The first ones alone, so that what is only set up for them does not count for each.
        let mut limit = if self.counts_memory {
            FIRST_OPEN.min(wanted)
        } else {
            wanted
        };
        loop {
            while next < limit && self.stage.crowd.opening < OPENING_MAX {
                let now = self.stage.now();
                self.stage.crowd.open(next, now);
                next += 1;
            }
            self.settle();
            let (open, opening) = (self.stage.crowd.open, self.stage.crowd.opening);
            if opening == 0 && next >= limit {
                if limit >= wanted || open == 0 {
                    return Ok(());
                }
                self.stage.meter.look_at_memory(Moment::FirstOpen, open);
                limit = wanted;
                continue;
            }
            if open == 0 && next - opening >= FAILED_MAX.min(wanted) {
                limit = next;
            }
            self.progress.opening(open, wanted);
            self.pass(self.stage.now() + HOUSEKEEPING_NS, false)?;
            self.sweep();
        }
    }

    /// One pass of the loop.
    fn turn(&mut self) -> io::Result<()> {
        let now = self.stage.now();
        self.stage.meter.tick(now);
        let due = self.scenario.tick(&mut self.stage, now);
        self.settle();
        if now >= self.housekeeping {
            self.housekeeping = now + HOUSEKEEPING_NS;
            let open = self.stage.crowd.open;
            self.stage.meter.look_at_memory(Moment::Meanwhile, open);
            self.progress
                .show(&self.stage.meter, self.scenario.progress(), now);
            self.sweep();
        }
        let other = self.stage.meter.wake().min(self.housekeeping);
        self.pass(due.min(other), due <= other)
    }

    fn sweep(&mut self) {
        let now = self.stage.now();
        if now >= self.swept + SWEEP_NS.min(self.stage.timeout_ns) {
            self.swept = now;
            self.stage.crowd.sweep(now);
            self.scenario.sweep(&mut self.stage, now);
            self.settle();
        }
    }

    fn close_all(&mut self) -> io::Result<()> {
        let now = self.stage.now();
        for at in 0..self.stage.crowd.members.len() {
            match self.stage.crowd.members[at].state {
                State::Connecting | State::Upgrading(_) => self.stage.crowd.remove(at),
                _ => self.stage.crowd.close(at, CloseCode::NORMAL, now),
            }
        }
        // A connection that fails now has nothing more to say.
        self.scenario.stop();
        while !self.stage.crowd.is_empty() {
            self.settle();
            self.pass(self.stage.now() + HOUSEKEEPING_NS, false)?;
            let now = self.stage.now();
            self.stage.crowd.sweep(now);
            self.settle();
        }
        Ok(())
    }

    /// Waits until something happens, or `wake`; then reads and writes. A `precise` moment is not slept past.
    fn pass(&mut self, wake: u64, precise: bool) -> io::Result<()> {
        let asleep = self.stage.now();
        let mut timeout = Duration::from_nanos(wake.saturating_sub(asleep));
        if precise {
            timeout = Duration::from_millis(timeout.as_millis() as u64);
        }
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        self.ready.extend(self.events.iter().map(|event| Ready {
            at: event.token().0,
            readable: event.is_readable(),
            writable: event.is_writable(),
            is_last: event.is_read_closed() || event.is_error(),
        }));
        if self.ready.is_empty() && timeout.is_zero() {
            let spun = self.stage.now().saturating_sub(asleep);
            self.stage.meter.spun_ns += spun.min(SPIN_MAX_NS);
        }
        let mut ready = std::mem::take(&mut self.ready);
        for one in ready.drain(..) {
            self.handle(one);
            self.settle();
        }
        self.ready = ready;
        Ok(())
    }

    fn handle(&mut self, ready: Ready) {
        let at = ready.at;
        if matches!(self.state(at), Some(State::Connecting)) {
            let now = self.stage.now();
            match self.stage.crowd.connected(at, now) {
                Ok(true) if self.stage.crowd.is_plain(at) => {
                    self.scenario.opened(&mut self.stage, at, now);
                }
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => return self.end(at, fault, now),
            }
        }
        if ready.writable {
            self.stage.crowd.flush(at);
        }
        if ready.readable || ready.is_last {
            self.read(at, ready.is_last);
        }
    }

    fn state(&self, at: usize) -> Option<&State> {
        self.stage.crowd.members.get(at).map(|m| &m.state)
    }

    fn read(&mut self, at: usize, is_last: bool) {
        loop {
            if matches!(self.state(at), None | Some(State::Gone | State::Connecting)) {
                return;
            }
            let Some(stream) = &mut self.stage.crowd.members[at].stream else {
                return;
            };
            let result = stream.read(&mut self.buffer);
            let now = self.stage.now();
            match result {
                Ok(0) => return self.end(at, Fault::Ended, now),
                Ok(length) => {
                    self.take(at, length, now);
                    // What is left would have filled the buffer: epoll(7), question 9.
                    if length < READ_BYTES && !is_last {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.end(at, Fault::of(&error), now),
            }
        }
    }

    /// The first `length` bytes of the buffer have come on connection `at`.
    fn take(&mut self, at: usize, length: usize, now: u64) {
        let buffer = std::mem::take(&mut self.buffer);
        let bytes = &buffer[..length];
        match self.state(at) {
            Some(State::Upgrading(_)) => match self.stage.crowd.answer(at, bytes, now) {
                Ok(None) => {}
                Ok(Some(rest)) => {
                    self.scenario.opened(&mut self.stage, at, now);
                    if !rest.is_empty() {
                        self.frames(at, &rest, now);
                    }
                }
                Err(fault) => self.end(at, fault, now),
            },
            Some(State::Open | State::Closing) => self.frames(at, bytes, now),
            Some(State::Plain(_)) => self.answers(at, bytes, now),
            _ => {}
        }
        self.buffer = buffer;
    }

    fn frames(&mut self, at: usize, bytes: &[u8], now: u64) {
        let is_open = self.stage.crowd.is_open(at);
        let (scenario, meter) = (&mut self.scenario, &mut self.stage.meter);
        let mut close = None;
        let mut pings = Vec::new();
        let crowd = &mut self.stage.crowd;
        let (member, deflate) = (&mut crowd.members[at], &mut crowd.deflate);
        let mut spoiled = Ok(());
        let result = member.reader.read(bytes, |incoming| match incoming {
            Incoming::Message { start, length } if is_open => {
                scenario.message(meter, at, start, length, now);
            }
            Incoming::Compressed(payload) if is_open && spoiled.is_ok() => {
                let Some(deflate) = deflate else { return };
                match deflate.unpack(payload) {
                    Ok((start, length)) => {
                        meter.has_inflated(payload.len() as u64, length);
                        scenario.message(meter, at, start, length, now);
                    }
                    Err(error) => spoiled = Err(error),
                }
            }
            Incoming::Message { .. } | Incoming::Compressed(_) => {}
            Incoming::Ping(payload) => pings.push(payload.to_vec()),
            Incoming::Close(code) => close = Some(code),
        });
        for payload in pings {
            self.stage.crowd.pong(at, &payload);
        }
        if let Err(error) = result.and(spoiled) {
            return self.end(at, Fault::Protocol(error.name()), now);
        }
        if is_open {
            self.scenario.has_read(&mut self.stage, at, now);
        }
        let Some(code) = close else {
            return;
        };
        self.stage.crowd.members[at].has_heard_close = true;
        if self.stage.crowd.is_open(at) {
            self.stage.meter.faults.add(Fault::Close(code));
            let echo = ws::echo_code(CloseCode(code));
            self.stage.crowd.close(at, echo, now);
            self.scenario.ended(&mut self.stage, at, now);
        }
    }

    fn answers(&mut self, at: usize, mut bytes: &[u8], now: u64) {
        while let State::Plain(reader) = &mut self.stage.crowd.members[at].state
            && !bytes.is_empty()
        {
            let taken = match reader.read(bytes) {
                Ok(taken) => taken,
                Err(error) => return self.end(at, Fault::Answer(error.name()), now),
            };
            bytes = bytes.get(taken..).unwrap_or_default();
            if reader.is_done() {
                let answer = std::mem::replace(&mut **reader, answer_reader()).into_answer();
                let status = answer.map_or(0, |answer| answer.head.status());
                self.scenario.answered(&mut self.stage, at, status, now);
            }
        }
    }

    /// Works off the list of what has broken meanwhile.
    fn settle(&mut self) {
        while let Some((at, fault)) = self.stage.crowd.broken.pop() {
            let now = self.stage.now();
            self.end(at, fault, now);
        }
    }

    /// Connection `at` is at its end. A fault it is only if we have not closed it.
    fn end(&mut self, at: usize, fault: Fault, now: u64) {
        match self.state(at) {
            None | Some(State::Gone) => return,
            Some(State::Closing) => {
                // Whoever has answered our close frame has done its part, even if it waits for our end of TCP.
                if fault == Fault::CloseTimeOut && !self.stage.crowd.members[at].has_heard_close {
                    self.stage.meter.faults.add(fault);
                }
                self.stage.crowd.remove(at);
            }
            Some(_) => {
                self.stage.crowd.remove(at);
                self.stage.meter.faults.add(fault);
                self.scenario.ended(&mut self.stage, at, now);
            }
        }
        self.scenario.free(&mut self.stage, at, now);
    }
}
