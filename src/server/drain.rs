//! Going down without hurting anybody: no new connection, idle ones closed, WebSockets told to come back
//! (1012) one after the other, so that their clients do not all reconnect in the same moment.
//!
//! ```text
//!   0 ─────────────────── 80 % ──────── 90 % ──────── 100 % of the drain's time
//!   each session's turn:   ·             ·              ·
//!   closed, or told in its protocol's words (`Handler::on_drain`)
//!                                        who was told and is still there is closed
//!                                                       cut
//! ```

use super::connection::{Fate, Phase, Stage};
use super::transport::Transport;
use super::wheel::tick_at;
use super::worker::{Core, Worker};
use crate::hub::Context;
use crate::time::Now;

/// A drain under way.
#[derive(Debug)]
pub(crate) struct Drain {
    since_ms: u64,
    until_ms: u64,
    /// The WebSockets that were open when it began: key and generation.
    open: Vec<(u32, u32)>,
    closed: usize,
    /// Those that were told by their handlers and end by themselves.
    told: Vec<(u32, u32)>,
    /// Milliseconds between two closes, in thousandths.
    pace_us: u64,
}

/// The closes are spread over this part of the drain time …
const SPREAD_PERCENT: u64 = 80;
/// … but nobody waits longer than this for the next one: three clients need no twenty-four seconds.
const PACE_US_MAX: u64 = 10_000;
/// Who was told in other words than a close has until then to end.
const TOLD_PERCENT: u64 = 90;

impl Drain {
    pub(crate) fn next_ms(&self, now_ms: u64) -> u64 {
        if self.closed < self.open.len() {
            now_ms + 10
        } else if self.told.is_empty() {
            self.until_ms
        } else {
            self.told_until_ms()
        }
    }

    fn told_until_ms(&self) -> u64 {
        self.since_ms + (self.until_ms - self.since_ms) * TOLD_PERCENT / 100
    }
}

impl<T: Transport> Worker<T> {
    /// Begins to drain. New connections and requests get 503 from now on; the caller stops accepting.
    pub fn drain(&mut self, now: Now) {
        if self.core.drain.is_some() {
            return;
        }
        let mut idle = Vec::new();
        let mut open = Vec::new();
        let mut answered = Vec::new();
        for (key, connection) in &mut self.connections {
            match &mut connection.phase {
                Phase::Http(http) => {
                    if matches!(http.stage, Stage::Proxy | Stage::Head) && http.input.is_empty() {
                        if http.unwritten().is_empty() {
                            idle.push(key as u32);
                        } else {
                            http.stage = Stage::Closing;
                            http.since = tick_at(now.ms);
                            answered.push(key as u32);
                        }
                    }
                }
                Phase::Open(_) => open.push((key as u32, connection.generation)),
                Phase::Linger { .. } | Phase::Upstream(_) | Phase::Link(_) => {}
            }
        }
        for key in idle {
            self.remove(key);
        }
        for key in answered {
            self.settle(key, Fate::Keep);
        }
        let timeout = self.core.settings.drain_timeout_ms;
        let spread_us = timeout * SPREAD_PERCENT * 10;
        let pace_us = (spread_us / (open.len() as u64).max(1)).min(PACE_US_MAX);
        let count = open.len();
        self.core.notice("drain", || {
            format!("draining: {count} WebSockets are told to reconnect elsewhere")
        });
        self.core.hub.draining = true;
        self.core.drain = Some(Drain {
            since_ms: now.ms,
            until_ms: now.ms + timeout,
            open,
            closed: 0,
            told: Vec::new(),
            pace_us,
        });
    }

    /// Whether a drain was begun.
    pub fn is_draining(&self) -> bool {
        self.core.drain.is_some()
    }

    /// Whether a drain has come to its end: nobody is left.
    pub fn is_drained(&self) -> bool {
        let clients = self.clients();
        let late = |drain: &Drain| self.core.now.ms >= drain.until_ms;
        self.core.drain.as_ref().is_some_and(|drain| {
            clients == 0
                && !self.core.hub.has_orders()
                && (self.core.calls.is_empty() && !self.core.has_processes() || late(drain))
        })
    }

    pub(crate) fn drain_step(&mut self) {
        let Some(mut drain) = self.core.drain.take() else {
            return;
        };
        let now = self.core.now.ms;
        let due = ((now - drain.since_ms) * 1000).checked_div(drain.pace_us);
        let due = due.map_or(drain.open.len(), |n| (n as usize + 1).min(drain.open.len()));
        while drain.closed < due {
            let (key, generation) = drain.open[drain.closed];
            drain.closed += 1;
            if self.is_told_of_the_drain(key, generation) {
                drain.told.push((key, generation));
            } else {
                self.close_for_the_drain(key, generation);
            }
        }
        if !drain.told.is_empty() && now >= drain.told_until_ms() {
            for (key, generation) in std::mem::take(&mut drain.told) {
                self.close_for_the_drain(key, generation);
            }
        }
        #[cfg(feature = "process")]
        if self.clients() == 0 && self.core.has_processes() {
            self.leave_processes();
        }
        if now >= drain.until_ms {
            let late: Vec<u32> = self.connections.iter().map(|(key, _)| key as u32).collect();
            for key in late {
                self.remove(key);
            }
            self.carry_out_orders();
            self.abandon_calls();
        }
        self.core.drain = Some(drain);
    }

    /// Whether the handler of an open session has told it in its protocol's own words.
    fn is_told_of_the_drain(&mut self, key: u32, generation: u32) -> bool {
        let connection = self.connections.get(key as usize);
        match connection.map(|connection| (connection.generation, &connection.phase)) {
            Some((own, Phase::Open(open))) if own == generation && open.closing.is_open() => {
                let (session, route) = (open.session, open.route);
                let mut cx = Context::new(&mut self.core.hub, route, Some(session));
                let entry = &mut self.core.routes[route as usize];
                entry.handler.on_drain(&mut cx)
            }
            _ => false,
        }
    }

    fn close_for_the_drain(&mut self, key: u32, generation: u32) {
        if let Some(connection) = self.connections.get_mut(key as usize)
            && connection.generation == generation
            && let Some((_, route)) = connection.session()
        {
            let code = self.core.routes[route as usize].settings.drain_code;
            let fate = self
                .core
                .close(connection, code, "this server is restarting", false);
            self.settle(key, fate);
        }
    }
}

impl Core {
    /// Whether there is a process that was started for a link.
    fn has_processes(&self) -> bool {
        #[cfg(feature = "process")]
        return self.dials.processes > 0;
        #[cfg(not(feature = "process"))]
        false
    }
}
