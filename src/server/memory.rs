//! The memory budget: what connections hold, in one sum, and what happens when it is used up.
//!
//! Counted are all bytes that a peer can make the server keep for longer than a turn: queued frames (a shared one once),
//! windows of compressing clients, bodies of calls, and what each connection holds of its own: an unfinished message,
//! input that waits, a request's bytes, an answer that is not read. The first three are counted where they are kept;
//! the last is measured when a connection was worked on and written down in it, so that the sum costs nothing to ask.
//!
//! ```text
//!   used:   0 ──────────────────────────── 7/8 ───────── budget ──────────▶
//!           everything is served           no handshake,  publications are refused,
//!                                          no body (503)  those who hold most are cut (1013, 503)
//! ```
//!
//! What channels keep for latecomers is counted too, and gives way first: before anybody is refused or cut, histories go,
//! the least recently used first.
//!
//! What an idle connection takes (about 120 bytes) is not counted: `connections_max` bounds it.

use super::connection::{Connection, Extra, Fate, Http, Open, Phase, Stage};
use super::transport::Transport;
use super::worker::{Core, Worker};
use crate::hub::ConnId;
use crate::ws::CloseCode;

/// Connections cut in one turn; the rest waits for the next, when what these have given back is known.
const CUTS_PER_TURN: usize = 16;
/// A close frame and the rest of a short frame before it.
const LAST_WORD_BYTES_MAX: usize = 4 << 10;

impl Open {
    fn held_bytes(&self) -> usize {
        let extra = |extra: &Extra| {
            let pong = extra.pong.as_ref().map_or(0, |pong| pong.capacity());
            let values = extra.values.as_ref();
            extra.backlog.capacity()
                + pong
                + values.map_or(0, |values| values.buffered_bytes())
                + extra.poll.as_ref().map_or(0, |poll| poll.held_bytes())
        };
        self.ws.buffered_bytes() + self.extra.as_deref().map_or(0, extra)
    }
}

impl Http {
    fn held_bytes(&self) -> usize {
        let body = match &self.stage {
            Stage::Body(incoming) => incoming.body.capacity(),
            _ => 0,
        };
        self.input.capacity() + self.output.capacity() + body
    }
}

impl Phase {
    /// What it holds, and what is written down of that. (An open connection that holds something has extra state.)
    pub(super) fn held_bytes(&self) -> (usize, u32) {
        match self {
            Self::Http(http) => (http.held_bytes(), http.accounted),
            Self::Open(open) => match &open.extra {
                Some(extra) => (open.held_bytes(), extra.accounted),
                None => (0, 0),
            },
            Self::Link(linked) => (linked.held_bytes(), linked.accounted),
            // Lingering connections hold nothing, and those for calls are few and bounded by their settings.
            Self::Linger { .. } | Self::Upstream(_) => (0, 0),
        }
    }
}

impl Core {
    /// Writes down what a connection holds now.
    pub(super) fn account(&mut self, phase: &mut Phase) {
        let (held, before) = phase.held_bytes();
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        if held == before {
            return;
        }
        self.hub.held_bytes = self.hub.held_bytes + held as usize - before as usize;
        match phase {
            Phase::Http(http) => http.accounted = held,
            Phase::Open(open) => {
                if let Some(extra) = &mut open.extra {
                    extra.accounted = held;
                }
            }
            Phase::Link(linked) => linked.accounted = held,
            Phase::Linger { .. } | Phase::Upstream(_) => {}
        }
    }

    /// What this phase held is given back: it ends.
    pub(super) fn release_memory(&mut self, phase: &Phase) {
        self.hub.held_bytes -= phase.held_bytes().1 as usize;
    }

    /// So much of the budget is used that nobody new is taken in.
    pub(super) fn is_short_of_memory(&mut self) -> bool {
        let budget = self.hub.memory_budget();
        self.hub.evict_for(budget - budget / 8);
        self.hub.used_bytes() > budget - budget / 8
    }
}

impl<T: Transport> Worker<T> {
    /// Cuts those who hold most until the budget is kept, at most [`CUTS_PER_TURN`] of them; `true`: that was not
    /// enough. Whoever was cut and still holds most is dropped the next time, so this comes to an end. The only place
    /// that looks at all connections, and only when there is no other way.
    pub(super) fn shed(&mut self) -> bool {
        let budget = self.core.hub.memory_budget();
        self.core.hub.evict_for(budget);
        if !self.core.is_out_of_memory() {
            return false;
        }
        let mut holders: Vec<(usize, u32)> = Vec::new();
        for (key, connection) in &self.connections {
            let bytes = self.core.held_by(&connection.phase);
            if bytes > 0 {
                holders.push((bytes, key as u32));
            }
        }
        holders.sort_unstable_by(|a, b| b.cmp(a));
        for &(bytes, key) in holders.iter().take(CUTS_PER_TURN) {
            if !self.core.is_out_of_memory() {
                return false;
            }
            if let Some(connection) = self.connections.get_mut(key as usize) {
                let fate = self.core.cut(connection, bytes);
                self.settle(key, fate);
            }
        }
        !holders.is_empty() && self.core.is_out_of_memory()
    }
}

impl Core {
    fn is_out_of_memory(&self) -> bool {
        self.hub.used_bytes() > self.hub.memory_budget()
    }

    /// What the end of a connection would give back. Of a frame that waits for others too, that is its share.
    fn held_by(&self, phase: &Phase) -> usize {
        match phase {
            Phase::Open(open) => self.hub.held_for(open.session) + phase.held_bytes().0,
            Phase::Http(http) => http.held_bytes(),
            // Connections of our own are not cut.
            Phase::Linger { .. } | Phase::Upstream(_) | Phase::Link(_) => 0,
        }
    }

    /// Ends a connection for what it holds, and takes that from it at once. Its last word still goes out, unless it
    /// would have to wait behind what cannot be taken back: the rest of a frame, or answers, that it does not read.
    fn cut<T: Transport>(&mut self, connection: &mut Connection<T>, bytes: usize) -> Fate {
        self.hub.metrics.refuse("memory_cut");
        let budget = self.hub.memory_budget();
        match &mut connection.phase {
            Phase::Http(http) => {
                let peer = http.peer;
                self.notice("memory_cut", || {
                    format!("ended a request of {peer} that held {bytes} bytes: the memory budget of {budget} is used up")
                });
                let asks = matches!(http.stage, Stage::Head | Stage::Body(_));
                if !asks || !http.unwritten().is_empty() {
                    return Fate::Drop;
                }
                http.input = Vec::new();
                let refusal = self.short_of_memory();
                self.answer(http, refusal.response(), false, false);
                self.write_http(connection)
            }
            Phase::Open(open) => {
                let id = self.hub.conn_id(open.session);
                self.notice("memory_cut", || {
                    let id = id.map(|id: ConnId| id.to_string()).unwrap_or_default();
                    format!("closed session {id}, which held {bytes} bytes: the memory budget of {budget} is used up")
                });
                if !open.closing.is_open() {
                    return Fate::Drop; // It was told to go and does not.
                }
                let reason = "the server is short of memory";
                self.begin_close(open, CloseCode::TRY_LATER, reason, true);
                self.stop_hearing(open);
                if self.hub.held_for(open.session) > LAST_WORD_BYTES_MAX {
                    return Fate::Drop;
                }
                Fate::Keep
            }
            Phase::Linger { .. } | Phase::Upstream(_) | Phase::Link(_) => Fate::Keep,
        }
    }
}
