//! What the simulated world asks a worker.

use super::connection::{Extra, Phase, Stage};
use super::transport::Transport;
use super::worker::Worker;

/// How much waits for a session.
#[derive(Debug)]
pub(crate) struct OutboxSize {
    pub(crate) route: u16,
    pub(crate) frames: usize,
    /// All but the first, of which a part may be on the wire, and the largest, which may be as large as the
    /// route allows.
    pub(crate) tail_bytes: usize,
}

impl<T: Transport> Worker<T> {
    /// The outbox of every session that is open.
    pub(crate) fn outboxes(&self) -> Vec<OutboxSize> {
        let open = self.connections.iter().filter_map(|(_, connection)| {
            let (session, route) = connection.session()?;
            let hub = &self.core.hub;
            let sizes = || hub.outbox_frames(session).map(<[u8]>::len);
            hub.is_open(session).then(|| OutboxSize {
                route,
                frames: sizes().count(),
                tail_bytes: sizes().skip(1).sum::<usize>() - sizes().skip(1).max().unwrap_or(0),
            })
        });
        open.collect()
    }

    /// Nothing is on the lists of things to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.core.ready.is_empty() && !self.core.hub.has_dirty() && !self.core.hub.has_orders()
    }

    /// Whether connection `key` waits for an answer that a handler has put off.
    pub(crate) fn is_waiting(&self, key: usize) -> bool {
        self.connections.get(key).is_some_and(|connection| {
            matches!(&connection.phase, Phase::Http(http) if matches!(http.stage, Stage::Waiting { .. }))
        })
    }

    /// Calls that wait or are under way, and the bytes of their bodies.
    pub(crate) fn call_load(&self) -> (usize, usize) {
        (self.core.hub.calls.count, self.core.hub.calls.bytes)
    }

    /// Whether connection `key` is not read from until calls are done.
    pub(crate) fn is_held(&self, key: usize) -> bool {
        let connection = self.connections.get(key);
        connection.is_some_and(|c| matches!(&c.phase, Phase::Open(open) if open.held))
    }

    /// Users with a session.
    pub(crate) fn users(&self) -> usize {
        self.core.hub.users()
    }

    /// A buffer that belongs to a connection with nothing unfinished, if there is one.
    pub(crate) fn idle_buffers(&self) -> Option<String> {
        self.connections.iter().find_map(|(key, connection)| {
            let idle = match &connection.phase {
                Phase::Http(http) => {
                    (http.output.capacity() > 0 && http.unwritten().is_empty())
                        || (http.input.capacity() > 0 && http.input.is_empty())
                }
                Phase::Open(open) => {
                    let empty = self.core.hub.outbox_is_empty(open.session);
                    let kept = |extra: &Extra| extra.pong.is_some() || extra.backlog.capacity() > 0;
                    // What waits until it is released is its own.
                    let backlog = |extra: &Extra| !extra.backlog.is_empty();
                    let waits = open.is_held() && open.extra.as_deref().is_some_and(backlog);
                    (empty && !waits && open.extra.as_deref().is_some_and(kept))
                        || (!waits && !open.ws.is_mid_message() && open.ws.buffered_bytes() > 0)
                }
                Phase::Linger { .. } | Phase::Upstream(_) | Phase::Link(_) => false,
            };
            idle.then(|| {
                format!(
                    "connection {key} owns a buffer that it does not need: {:?}",
                    connection.phase
                )
            })
        })
    }

    /// What an empty worker still holds, if anything. Timers run out by themselves, unless it was drained.
    pub(crate) fn leftovers(&self) -> Option<String> {
        let core = &self.core;
        let addresses = core.addresses.connected();
        let held = [
            (core.waiting.len(), "put-off answers"),
            (addresses, "connected addresses"),
            (usize::from(!core.calls.is_empty()), "calls"),
            (
                if core.drain.is_some() {
                    0
                } else {
                    core.held.len()
                },
                "connections that are held back",
            ),
            (
                if core.drain.is_some() {
                    0
                } else {
                    core.timers.len()
                },
                "timers",
            ),
            (
                if core.drain.is_some() {
                    0
                } else {
                    core.wheel.len()
                },
                "wheel entries",
            ),
        ];
        let found = held.into_iter().find(|(n, _)| *n > 0);
        found.map(|(n, what)| format!("{n} {what} are left"))
    }
}
