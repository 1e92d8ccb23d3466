//! What must hold in a [`Run`]: after every step, at rest, and when all have left.

use super::actor::Kind;
use super::run::{OUTBOX_BYTES_MAX, OUTBOX_FRAMES_MAX, Run};
use crate::hub::SlowPolicy;

impl Run {
    /// What holds at any time.
    pub(super) fn sweep(&mut self) {
        self.absorb();
        self.inner.worker.check_invariants();
        for outbox in self.inner.worker.outboxes() {
            let within = outbox.route >= BULK_ROUTE
                || (outbox.tail_bytes <= OUTBOX_BYTES_MAX + CONTROL_BYTES
                    && outbox.frames <= OUTBOX_FRAMES_MAX + CONTROL_FRAMES);
            assert!(within, "more waits than may: {outbox:?}");
        }
        self.check_addresses();
        self.check_budget();
        for at in 0..self.actors.len() {
            self.judge(at);
        }
        let draining = self.draining;
        let inner = &self.inner;
        self.actors.retain(|actor| {
            let peer = &inner.peers[actor.peer];
            draining || !(actor.is_judged && peer.wire.borrow().gone)
        });
    }

    /// Whatever ended for a polite peer must have had a reason that it knows.
    fn judge(&mut self, at: usize) {
        let draining = self.draining;
        let tight = self.house.budget.is_some();
        let actor = &mut self.actors[at];
        let peer = &self.inner.peers[actor.peer];
        let id = actor.id;
        let cut_off = peer.is_over() && actor.got_close.is_none();
        // Who is refused when it comes has its close time-out from then on, not from when it stops reading.
        let patience = if actor.crowded || tight { 2_900 } else { 4_000 };
        let excused = actor.broke_off
            || actor.kind == Kind::Rude
            || actor.asked_late
            || actor.was_cut
            || (draining && cut_off)
            || (actor.stalled_longest >= patience
                && cut_off
                && (tight || actor.may_be_cut_for_stalling()));
        let due = !actor.due.is_empty() || actor.kind != Kind::Http;
        if !excused && tight && cut_off && due && !actor.refused && !actor.is_judged {
            // It had been told to go, or was in the middle of something.
            actor.is_judged = true;
            return self.charge_cut(at);
        }
        if !excused && let Some(complaint) = &peer.complaint {
            panic!("{id} ({:?}) complains: {complaint}", actor.kind);
        }
        if actor.is_judged {
            return;
        }
        if actor.is_polite()
            && let Some(code) = actor.got_close
        {
            let slow = actor.kind == Kind::Slow
                && actor.slow != SlowPolicy::DropOldest
                && !actor.is_bulk
                && code == 1013;
            let known = actor.codes.contains(&code)
                || slow
                || (draining && code == 1012)
                || code == 4000 // Somebody has kicked it.
                || (actor.was_cut && code == 1013);
            assert!(known, "{id} ({:?}) was closed with {code}", actor.kind);
        }
        if !peer.is_over() {
            return;
        }
        actor.is_judged = true;
        if excused || actor.refused {
            return;
        }
        match actor.kind {
            Kind::Polite | Kind::Slow => {
                assert!(
                    actor.got_close.is_some(),
                    "{id} ({:?}) was dropped without a close frame{}",
                    actor.kind,
                    if peer.was_reset { " (reset)" } else { "" }
                );
                // Everything that was queued before the end, unless the end was for being slow.
                let missing = self.model.missing(id);
                assert!(
                    actor.got_close == Some(1013) || missing == 0,
                    "{id} was closed in order, but {missing} messages are missing"
                );
            }
            Kind::Http => assert!(
                actor.due.is_empty() && !peer.was_reset,
                "{id}: the connection was ended with {} answers due",
                actor.due.len()
            ),
            Kind::Rude => {}
        }
    }

    /// Everybody reads and everything moves until it rests; then nothing may be left to do.
    pub(super) fn quiet(&mut self) {
        self.say("Quiet");
        for actor in self.actors.iter_mut().filter(|a| a.kind != Kind::Rude) {
            let peer = &mut self.inner.peers[actor.peer];
            peer.reading = true;
            peer.wire.borrow_mut().set_window(1 << 18);
            actor.stalled_since = None;
        }
        self.hurry();
        assert!(
            self.inner.worker.is_idle(),
            "the worker rests with work on its lists"
        );
        let mut somebody_refuses_to_read = false;
        for actor in &self.actors {
            let peer = &self.inner.peers[actor.peer];
            let wire = peer.wire.borrow();
            if wire.gone {
                continue;
            }
            if !peer.reading {
                somebody_refuses_to_read = true;
                continue;
            }
            let key = self.inner.keys[actor.peer];
            let held = self.inner.worker.is_held(key);
            let full = wire.to_client.bytes.len() >= wire.to_client.window;
            assert!(
                wire.to_server.bytes.is_empty()
                    || self.inner.worker.is_waiting(key)
                    || full
                    || held,
                "quiet, but {} bytes of {} lie unread",
                wire.to_server.bytes.len(),
                actor.id
            );
            if !actor.is_polite() || peer.is_over() || !peer.is_open() {
                continue;
            }
            let ponged = held
                || actor.last_ping.is_none()
                || actor.last_ping.as_ref() == peer.pongs_seen.last();
            assert!(
                ponged || !peer.closing.is_open() || peer.ends,
                "quiet, but the newest ping of {} is not answered",
                actor.id
            );
            let missing = self.model.missing(actor.id);
            assert!(missing == 0, "quiet, but {} misses {missing}", actor.id);
            assert!(
                actor.sent.is_empty() || held || !peer.closing.is_open() || peer.ends,
                "quiet, but {} was not heard",
                actor.id
            );
        }
        if !somebody_refuses_to_read {
            assert_eq!(
                self.inner.worker.hub().queued_frames(),
                0,
                "quiet, but frames wait"
            );
        }
        if let Some(what) = self.inner.worker.idle_buffers() {
            panic!("quiet, but {what}");
        }
        assert_eq!(
            self.model.channels(),
            self.inner.worker.hub().channels() - self.inner.worker.users(),
            "channels"
        );
    }

    /// All have left.
    pub(super) fn check_empty(&self) {
        let worker = &self.inner.worker;
        assert_eq!(worker.clients(), 0, "somebody has stayed");
        assert_eq!(worker.call_load(), (0, 0), "calls wait");
        if let Some(what) = self.callbacks.missing() {
            panic!("{what}");
        }
        if !self.draining {
            assert_eq!(
                worker.connections(),
                0,
                "a connection to the application stays"
            );
        }
        assert_eq!(worker.hub().sessions(), 0, "a session has stayed");
        assert_eq!(worker.hub().channels(), 0, "a channel has stayed");
        assert_eq!(worker.hub().queued_frames(), 0, "a frame has stayed");
        assert_eq!(worker.hub().queued_bytes(), 0, "bytes have stayed");
        assert_eq!(worker.hub().used_bytes(), 0, "memory is not given back");
        assert_eq!(self.model.open(), 0, "an on_close is missing");
        if let Some(what) = worker.leftovers() {
            panic!("the house is empty, but {what}");
        }
    }
}

/// The route with the default limits, see `Run::new`.
const BULK_ROUTE: u16 = 5;
/// What may come on top: what a short write left of replies, a gap marker, a ping, a pong.
const CONTROL_FRAMES: usize = 4;
/// The same in bytes, without what was left of replies.
const CONTROL_BYTES: usize = 400;
