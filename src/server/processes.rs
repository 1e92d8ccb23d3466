//! Links whose other end is a process: cutting its output, feeding its input, and ending it.
//!
//! A process ends in two ways at once: its output does (all its descendants have closed it), and the system says how it
//! exited. The handler is told when both are known, so that it has heard everything. A process that is not wanted any
//! more, or that goes on without an output, is ended step by step:
//!
//! ```text
//!            the link is closed, or only the output has ended
//!   running ───────────────────────────────▶ Asked: its input ends (all that was sent goes there before)
//!      │ output ended and exited              │ 100 ms ▶ SIGINT ▶ Interrupted
//!      ▼                                      │ 250 ms ▶ SIGTERM ▶ Terminated
//!   (dropped: Exited)                         │ 500 ms ▶ SIGKILL ▶ Killed
//!                                             ▼ output ended and exited, or killed and exited
//!                                          (dropped)
//! ```
//!
//! Those are websocketd's steps and times; each can be made longer. Signals go to the whole process group. While a process
//! is being ended its output is read and thrown away: one that waits for somebody to read would not notice the end.

use super::connection::{Connection, Fate, Phase};
use super::deadline::after;
use super::lines::Lines;
use super::links::{LinkState, Linked};
use super::note_write;
use super::transport::Transport;
use super::wheel::{Tick, tick_at};
use super::worker::{Core, Worker};
use crate::hub::{
    Context, Exit, Framing, LinkEnd, LinkEvent, LinkId, LinkTarget, Ordered, ProcessOrder, Program,
};
use crate::time::Now;
use crate::ws::Message;

/// What the worker keeps of a process.
#[derive(Debug)]
pub(super) struct Running {
    /// What cuts its output; `None`: nothing does.
    lines: Option<Lines>,
    hears: bool,
    stop: Stop,
    stop_wait_ms: u64,
    output_ended: bool,
    exit: Option<Exit>,
}

/// How far the ending of a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Asked,
    Interrupted,
    Terminated,
    Killed,
}

impl Stop {
    /// How long this step may take, what comes then, and the order that begins it.
    fn next(self) -> Option<(u64, Self, ProcessOrder)> {
        match self {
            Self::No | Self::Killed => None,
            Self::Asked => Some((100, Self::Interrupted, ProcessOrder::Interrupt)),
            Self::Interrupted => Some((250, Self::Terminated, ProcessOrder::Terminate)),
            Self::Terminated => Some((500, Self::Killed, ProcessOrder::Kill)),
        }
    }
}

impl Running {
    pub(super) fn new(program: &Program, line_bytes_max: usize) -> Self {
        let lines = match program.output {
            Framing::Lines { cut } => Some(Lines::new(line_bytes_max, cut)),
            Framing::Chunks => None,
        };
        Self {
            lines,
            hears: program.hears,
            stop: Stop::No,
            stop_wait_ms: program.stop_wait_ms,
            output_ended: false,
            exit: None,
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.lines.as_ref().map_or(0, Lines::buffered_bytes)
    }

    pub(super) fn due(&self, since: Tick) -> Option<Tick> {
        let (ms, ..) = self.stop.next()?;
        Some(after(since, ms.saturating_add(self.stop_wait_ms)))
    }

    fn is_over(&self) -> bool {
        self.exit.is_some() && (self.output_ended || self.stop == Stop::Killed)
    }

    fn fate(&self) -> Fate {
        match self.is_over() {
            true => Fate::Drop,
            false => Fate::Keep,
        }
    }
}

impl<T: Transport> Worker<T> {
    /// What whoever starts processes is to do next. To be asked for when wants are.
    pub fn next_process_order(&mut self) -> Option<Ordered> {
        self.core.dials.process_orders.pop_front()
    }

    /// The process of a link has ended.
    pub fn process_ended(&mut self, id: LinkId, exit: Exit, now: Now) {
        self.core.set_time(now);
        let Some(key) = self.core.hub.links().key(id) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return;
        };
        if let Phase::Link(linked) = &mut connection.phase
            && linked.id == id
            && let LinkState::Process(running) = &mut linked.state
        {
            running.exit = Some(exit);
            if linked.end != LinkEnd::Protocol {
                linked.end = LinkEnd::Exited(exit);
            }
            let fate = running.fate();
            self.settle(key, fate);
        }
    }

    /// Nobody is left who could want something of a process: a drain ends them as their handlers would.
    pub(super) fn leave_processes(&mut self) {
        for (_, connection) in &self.connections {
            if let Phase::Link(linked) = &connection.phase
                && linked.is_process()
            {
                self.core.hub.links().leave(linked.id);
            }
        }
    }
}

impl Core {
    /// Writes what waits for a process, and begins to end it when its link is to be left.
    pub(super) fn flush_process<T: Transport>(&mut self, connection: &mut Connection<T>) -> Fate {
        let Phase::Link(linked) = &mut connection.phase else {
            return Fate::Keep;
        };
        let LinkState::Process(running) = &mut linked.state else {
            return Fate::Keep;
        };
        let is_leaving = self.hub.links().is_leaving(linked.id);
        if is_leaving && running.stop == Stop::No {
            running.stop = Stop::Asked;
            linked.since = tick_at(self.now.ms);
            linked.backlog = Vec::new();
        }
        while connection.writable {
            let output = self.hub.links().output(linked.id);
            if output.is_empty() {
                break;
            }
            let taken = connection.transport.write(output);
            match note_write(taken, &mut connection.writable) {
                Ok(taken) => {
                    self.hub.links().advance(linked.id, taken);
                    self.hub.metrics.sent_bytes_total += taken as u64;
                }
                // Nobody reads it any more; what the process has still said is to be heard.
                Err(_) => self.hub.links().discard(linked.id),
            }
        }
        if running.stop != Stop::No
            && running.hears
            && self.hub.links().output(linked.id).is_empty()
        {
            running.hears = false;
            // An error means that there is nobody who could be told.
            _ = connection.transport.close_write();
        }
        running.fate()
    }

    /// Works through what a process has said.
    pub(super) fn consume_output(&mut self, linked: &mut Linked, data: &[u8]) -> Fate {
        let LinkState::Process(running) = &mut linked.state else {
            return Fate::Keep;
        };
        let mut input = data;
        while !input.is_empty() {
            if running.stop != Stop::No || self.hub.links().is_leaving(linked.id) {
                return Fate::Keep;
            }
            let message = match &mut running.lines {
                None => Message::Binary(std::mem::take(&mut input)),
                Some(lines) => match lines.next(&mut input) {
                    Ok(Some(line)) => line_as_message(line),
                    Ok(None) => return Fate::Keep,
                    Err(_) => {
                        // Its handler hears so when the process has been ended.
                        linked.end = LinkEnd::Protocol;
                        running.stop = Stop::Asked;
                        linked.since = tick_at(self.now.ms);
                        return Fate::Keep;
                    }
                },
            };
            self.hub.metrics.link_messages_total += 1;
            let mut cx = Context::new(&mut self.hub, linked.route, None);
            let handler = &mut self.routes[linked.route as usize].handler;
            handler.on_link(&mut cx, linked.id, LinkEvent::Message(message));
            let is_paused = self.hub.is_link_paused(linked.id);
            if !input.is_empty() && (is_paused || self.hub.turn_is_full()) {
                linked.backlog.extend_from_slice(input);
                return Fate::Keep;
            }
        }
        Fate::Keep
    }

    /// The output of a process has ended, or cannot be read any more.
    pub(super) fn end_output<T: Transport>(&mut self, connection: &mut Connection<T>) -> Fate {
        connection.readable = false;
        let Phase::Link(linked) = &mut connection.phase else {
            return Fate::Keep;
        };
        let LinkState::Process(running) = &mut linked.state else {
            return Fate::Keep;
        };
        if running.output_ended {
            return running.fate();
        }
        running.output_ended = true;
        if running.stop == Stop::No
            && let Some(line) = running.lines.as_mut().and_then(Lines::rest)
        {
            self.hub.metrics.link_messages_total += 1;
            let mut cx = Context::new(&mut self.hub, linked.route, None);
            let handler = &mut self.routes[linked.route as usize].handler;
            let event = LinkEvent::Message(line_as_message(line));
            handler.on_link(&mut cx, linked.id, event);
        }
        if running.exit.is_none() && running.stop == Stop::No {
            // It most likely exits right now. If it does not, nobody would ever hear of it again.
            running.stop = Stop::Asked;
            linked.since = tick_at(self.now.ms);
        }
        running.fate()
    }

    /// A step of ending it has taken its time.
    pub(super) fn process_deadline(&mut self, linked: &mut Linked) -> Fate {
        let LinkState::Process(running) = &mut linked.state else {
            return Fate::Keep;
        };
        if let Some((_, stop, order)) = running.stop.next() {
            running.stop = stop;
            linked.since = tick_at(self.now.ms);
            self.dials.process_orders.push_back((linked.id, order));
        }
        running.fate()
    }

    /// A link's connection is gone. Its process may be there still.
    pub(super) fn forget_process(&mut self, linked: &Linked) {
        let LinkTarget::Process(_) = &*linked.dial.target else {
            return;
        };
        self.dials.processes -= 1;
        let kill = match &linked.state {
            LinkState::Process(running) => running.exit.is_none() || running.stop != Stop::No,
            _ => true,
        };
        let order = ProcessOrder::Forget { kill };
        self.dials.process_orders.push_back((linked.id, order));
    }
}

fn line_as_message(line: &[u8]) -> Message<'_> {
    match std::str::from_utf8(line) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(line),
    }
}
