//! One process for all viewers.
//!
//! ```text
//!            first viewer                     no viewer for linger_ms
//!   Resting ─────────────▶ Running ─────────────────────────────────▶ Stopping ──gone──▶ Resting
//!      ▲                    │   ▲                                         (or Running again, if somebody came)
//!      │ ended in order:    │   │ after 500 ms, doubling to 30 s
//!      │ viewers are closed ▼   │
//!      └────────────────── ended ──failed──▶ Waiting
//! ```

use std::collections::{BTreeSet, VecDeque};

use super::{NOT_READ, ProcessOptions, Restart, close_after};
use crate::hub::{
    CloseInfo, ConnId, Context, Handler, LinkEnd, LinkEvent, LinkId, Outcome, Request, Ticket,
    Upgrade,
};
use crate::ws::{CloseCode, Message};

const BACKOFF_MS_MIN: u64 = 500;
const BACKOFF_MS_MAX: u64 = 30_000;
/// Whoever ran for so long did not fail at once: the back-off begins anew.
pub(super) const STEADY_MS: u64 = 10_000;

/// A process whose output goes to everybody.
#[derive(Debug)]
pub struct SharedProcess {
    options: ProcessOptions,
    state: State,
    viewers: BTreeSet<ConnId>,
    /// The channel of its viewers; empty until the first one comes.
    channel: String,
    kept: Kept,
    /// The timer that ends it, if nobody has come by then.
    linger: Option<Ticket>,
    /// Failures without a steady run between them.
    failures: u32,
    /// When it was last started.
    since_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Resting,
    Running(LinkId),
    Stopping,
    /// Until this timer it is not started again.
    Waiting(Ticket),
}

/// The last messages, for latecomers.
#[derive(Debug, Default)]
struct Kept {
    messages: VecDeque<(bool, Box<[u8]>)>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, message: Message<'_>, options: &ProcessOptions) {
        let bytes = message.as_bytes();
        let is_binary = matches!(message, Message::Binary(_));
        self.bytes += bytes.len();
        self.messages.push_back((is_binary, bytes.into()));
        while self.messages.len() > options.keep_lines || self.bytes > options.keep_bytes {
            let Some((_, oldest)) = self.messages.pop_front() else {
                return;
            };
            self.bytes -= oldest.len();
        }
    }

    fn each(&self) -> impl Iterator<Item = Message<'_>> {
        self.messages
            .iter()
            .map(|(is_binary, bytes)| match std::str::from_utf8(bytes) {
                Ok(text) if !is_binary => Message::Text(text),
                _ => Message::Binary(bytes),
            })
    }
}

impl SharedProcess {
    /// A handler that starts one process for all its clients.
    pub fn new(options: ProcessOptions) -> Self {
        Self {
            options,
            state: State::Resting,
            viewers: BTreeSet::new(),
            channel: String::new(),
            kept: Kept::default(),
            linger: None,
            failures: 0,
            since_ms: 0,
        }
    }

    fn start(&mut self, cx: &mut Context<'_>) {
        let inherited = self.options.inherited.clone();
        let link = cx.dial(self.options.dial(inherited, self.options.clients_write));
        self.state = State::Running(link);
        self.since_ms = cx.now().ms;
    }

    fn tell(&mut self, cx: &mut Context<'_>, said: Message<'_>) {
        let Self {
            options,
            kept,
            channel,
            ..
        } = self;
        let mut lost = None;
        options.outgoing(said, |message| {
            kept.push(message, options);
            lost = cx.publish(channel, message).err();
        });
        if let Some(why) = lost {
            // Who has missed a line is told, and may come back for the last ones.
            let reason = why.to_string();
            for viewer in &self.viewers {
                cx.close_other(*viewer, CloseCode::TRY_LATER, &reason);
            }
        }
    }

    fn end(&mut self, cx: &mut Context<'_>, end: LinkEnd) {
        self.state = State::Resting;
        let is_stopped = end == LinkEnd::Ours;
        let has_failed = !matches!(end, LinkEnd::Exited(exit) if exit.is_success());
        let again = match self.options.restart {
            _ if is_stopped || end == LinkEnd::Protocol => false,
            Restart::Always => true,
            Restart::OnFailure => has_failed,
            Restart::Never => false,
        };
        if is_stopped {
            if !self.viewers.is_empty() {
                self.start(cx); // They came while it was being ended.
            }
        } else if again && !self.viewers.is_empty() {
            if cx.now().ms - self.since_ms >= STEADY_MS {
                self.failures = 0;
            }
            let backoff = BACKOFF_MS_MIN << self.failures.min(8);
            self.failures += 1;
            self.state = State::Waiting(cx.timer_apart(backoff.min(BACKOFF_MS_MAX)));
        } else {
            self.kept = Kept::default();
            self.failures = 0;
            for viewer in &self.viewers {
                close_after(cx, *viewer, end);
            }
        }
    }
}

impl Handler for SharedProcess {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, _: &Request<'_>) -> Upgrade {
        if self.channel.is_empty() {
            self.channel = format!("{:032x}", u128::from_be_bytes(cx.random16()));
        }
        Upgrade::accept()
    }

    fn on_open(&mut self, cx: &mut Context<'_>) {
        for message in self.kept.each() {
            cx.send(message);
        }
        if let Err(error) = cx.subscribe(&self.channel) {
            cx.close(CloseCode::TRY_LATER, &error.to_string());
            return;
        }
        self.viewers.extend(cx.id());
        self.linger = None;
        if self.state == State::Resting {
            self.start(cx);
        }
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let is_heard = self.options.clients_write && self.options.hears(message);
        if self.options.quits(cx, message) || !is_heard {
            return;
        }
        let is_told = matches!(self.state, State::Running(link) if cx.link_send(link, message));
        if !is_told {
            cx.count_refusal("process_input");
            cx.close(CloseCode::TRY_LATER, NOT_READ);
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
        let was_here = cx.id().is_some_and(|id| self.viewers.remove(&id));
        if was_here && self.viewers.is_empty() {
            self.linger = Some(cx.timer_apart(self.options.linger_ms));
        }
    }

    fn on_outcome(&mut self, cx: &mut Context<'_>, ticket: Ticket, _: Outcome<'_>) {
        if self.state == State::Waiting(ticket) {
            self.state = State::Resting;
            if !self.viewers.is_empty() {
                self.start(cx);
            }
        }
        if self.linger == Some(ticket) {
            self.linger = None;
            self.kept = Kept::default();
            if let State::Running(link) = self.state {
                cx.link_close(link);
                self.state = State::Stopping;
            }
        }
    }

    fn on_link(&mut self, cx: &mut Context<'_>, _: LinkId, event: LinkEvent<'_>) {
        match event {
            LinkEvent::Open => {}
            LinkEvent::Message(said) => self.tell(cx, said),
            LinkEvent::Closed(end) => self.end(cx, end),
        }
    }

    /// Where a viewer was too slow for the lines in between.
    fn gap_marker(&self, missed: Option<u32>) -> Option<String> {
        Some(match missed {
            Some(1) => "[1 line was dropped here]".to_owned(),
            Some(n) => format!("[{n} lines were dropped here]"),
            None => "[lines were dropped here]".to_owned(),
        })
    }

    /// Of its own: other routes have channels of these names as well, and options for some of them.
    fn space(&self) -> &str {
        "process"
    }
}
