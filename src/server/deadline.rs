//! When a connection must be looked at again, and what happens then.

use super::connection::{Connection, Fate, Phase, Stage, Wire};
use super::transport::Transport;
use super::wheel::{Entry, TICK_MS, Tick, tick_after, tick_at};
use super::worker::{Core, TIMER, Timer, Worker};
use crate::hub::{Context, Outcome};

/// Connections whose deadline is acted upon in one turn. Thousands may have come at once, and their time is up together.
const DEADLINES_PER_TURN: usize = 128;

/// The tick that is at least `ms` after `since`.
pub(super) fn after(since: Tick, ms: u64) -> Tick {
    since
        .saturating_add(u32::try_from(ms.div_ceil(TICK_MS)).unwrap_or(u32::MAX))
        .saturating_add(1)
}

impl<T: Transport> Worker<T> {
    /// Fires the timers of handlers, then the deadlines of connections: as many as fit into a turn.
    pub(super) fn fire_timers(&mut self) {
        let mut fired: Vec<(Tick, Entry)> = Vec::new();
        let (connections, timers) = (&self.connections, &self.core.timers);
        let due_of = |entry: Entry| match entry & TIMER {
            0 => connections.get(entry as usize).map_or(0, |c| c.armed),
            _ => timers.get((entry & !TIMER) as usize).map_or(0, |t| t.due),
        };
        self.core
            .wheel
            .advance(self.core.now.ms, due_of, &mut fired);
        if fired.is_empty() && self.core.overdue.is_empty() {
            return;
        }
        // After a standstill much is due at once: in its order, and what the application wanted to do before
        // anybody's time is up.
        fired.sort_by_key(|(due, _)| *due);
        for (_, who) in &fired {
            if who & TIMER != 0
                && let Some(timer) = self.core.timers.try_remove((who & !TIMER) as usize)
            {
                self.core.fire_timer(&timer);
            }
        }
        self.carry_out_orders();
        fired.retain(|(_, who)| who & TIMER == 0);
        self.core.overdue.extend(fired);
        for _ in 0..DEADLINES_PER_TURN {
            let Some((due, who)) = self.core.overdue.pop_front() else {
                break;
            };
            // One that was dropped meanwhile, or has armed anew, is not meant any more.
            if let Some(connection) = self.connections.get_mut(who as usize)
                && connection.armed == due
            {
                connection.armed = 0;
                let fate = self.core.on_deadline(connection, who);
                self.settle(who, fate);
            }
        }
        if self.core.overdue.is_empty() {
            self.core.overdue = Default::default();
        }
    }
}

impl Core {
    fn fire_timer(&mut self, timer: &Timer) {
        let session = match timer.session {
            // The session may be gone by now, and its slot may have a new tenant.
            Some(id) => match self.hub.index_of(id) {
                Some(index) => Some(index),
                None => return,
            },
            None => None,
        };
        // The hub's own timers belong to no route.
        let Some(route) = self.routes.get_mut(timer.route as usize) else {
            return self.hub.end_timer(timer.ticket);
        };
        let mut cx = Context::new(&mut self.hub, timer.route, session);
        route
            .handler
            .on_outcome(&mut cx, timer.ticket, Outcome::Elapsed);
    }

    /// A connection's nearest deadline, computed from what it remembers; `None`: it may stay as it is.
    pub(super) fn deadline<T>(&self, connection: &Connection<T>) -> Option<Tick> {
        let s = &self.settings;
        match &connection.phase {
            Phase::Http(http) => {
                let ms = match http.stage {
                    // One time for both: the header in front is a part of the handshake.
                    Stage::Proxy => s.handshake_timeout_ms,
                    Stage::Head if http.answered == 0 => s.handshake_timeout_ms,
                    // While its answers wait to be read, its requests are not looked at.
                    Stage::Head | Stage::Body(_) if http.is_stalled() => s.keep_alive_ms,
                    Stage::Head if http.input.is_empty() => s.keep_alive_ms,
                    Stage::Head | Stage::Body(_) => s.request_timeout_ms,
                    Stage::Waiting { .. } => s.reply_timeout_ms,
                    Stage::Closing => s.close_timeout_ms,
                };
                Some(after(http.since, ms))
            }
            Phase::Upstream(upstream) => Some(self.upstream_due(upstream)),
            // It is we who do not listen.
            Phase::Link(linked) if linked.is_open() && self.hub.is_link_paused(linked.id()) => None,
            Phase::Link(linked) => linked.due(connection.life, s.close_timeout_ms),
            Phase::Linger { since } => Some(after(*since, s.close_timeout_ms)),
            Phase::Open(open) => {
                if !open.closing.is_open() {
                    // A slow reader gets what was queued before the close, as long as it reads; but not for ever.
                    let next = after(open.last_taken(), s.close_timeout_ms);
                    if self.hub.outbox_is_empty(open.session) {
                        return Some(next);
                    }
                    return Some(next.min(after(open.since, s.close_flush_timeout_ms)));
                }
                let grant = self.hub.grant_due_ms(open.session).map(tick_after);
                let route = &self.routes[open.route as usize].settings;
                if open.wire == Wire::Poll {
                    let due = after(open.since, route.poll_timeout_ms);
                    return Some(grant.map_or(due, |grant| grant.min(due)));
                }
                if open.held {
                    return grant; // It is we who do not listen. Its time begins again when it is released.
                }
                let ask_after_ms = match open.wire {
                    Wire::Frames => route.ping_after_ms,
                    Wire::Values | Wire::Poll => 0,
                    Wire::Response => route.stream_keep_alive_ms,
                };
                let silence = if ask_after_ms == 0 {
                    None
                } else if open.since != 0 {
                    Some(after(open.since, route.ping_grace_ms))
                } else {
                    Some(after(connection.life, ask_after_ms))
                };
                // While it is not read from, it cannot finish its message.
                let message = open
                    .message_since()
                    .filter(|_| !open.paused)
                    .map(|since| after(since, route.message_timeout_ms));
                let first = open.first_due();
                [silence, message, first, grant].into_iter().flatten().min()
            }
        }
    }

    /// The wheel has woken a connection. Most of the time it has been alive meanwhile and sleeps on.
    pub(super) fn on_deadline<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        _key: u32,
    ) -> Fate {
        if self
            .deadline(connection)
            .is_none_or(|due| due > tick_at(self.now.ms))
        {
            return Fate::Keep;
        }
        match &connection.phase {
            Phase::Http(_) => self.http_deadline(connection),
            Phase::Open(_) => self.open_deadline(connection),
            Phase::Upstream(_) => self.upstream_deadline(connection),
            Phase::Link(_) => self.link_deadline(connection),
            Phase::Linger { .. } => Fate::Drop,
        }
    }
}
