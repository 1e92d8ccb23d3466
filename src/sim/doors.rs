//! Oracles of houses that turn somebody away: nobody without a reason, and nobody taken for somebody else.

use super::actor::Kind;
use super::house::{Caller, is_same, is_stranger};
use super::run::Run;
use crate::hub::Peer as From;

/// What the polite were told or suffered for want of memory.
#[derive(Debug, Default)]
pub(super) struct Scarcity {
    /// 503 in place of what was due.
    refused: u64,
    /// 1013 for it, or an end without a word.
    cut: u64,
}

impl Run {
    /// Who shares its address with as many as it may have may be refused. In a step nobody comes but at its beginning, so
    /// there are never more than then.
    pub(super) fn note_crowds(&mut self) {
        let Some(max) = self.house.per_address else {
            return;
        };
        for at in 0..self.actors.len() {
            let client = self.actors[at].caller.client;
            let others = self.actors.iter().filter(|other| {
                let gone = self.inner.peers[other.peer].wire.borrow().gone;
                other.id != self.actors[at].id && !gone && is_same(other.caller.client, client)
            });
            let crowded = others.count() >= max as usize;
            self.actors[at].crowded |= crowded;
        }
    }

    /// A session was opened for `peer`, as the handler was told.
    pub(super) fn check_opened(&self, id: u32, peer: From) -> Result<(), String> {
        let Some(actor) = self.actors.iter().find(|actor| actor.id == id) else {
            return Ok(()); // Somebody rude has used a number of its own.
        };
        let Caller {
            client, is_wrong, ..
        } = &actor.caller;
        if *is_wrong {
            return Err(format!("{id} was let in with {:?}", actor.caller));
        }
        if !is_same(*client, peer) {
            return Err(format!("{id} was taken for {peer}: {:?}", actor.caller));
        }
        Ok(())
    }

    /// No address has more sessions than connections are allowed to it.
    pub(super) fn check_addresses(&self) {
        let Some(max) = self.house.per_address else {
            return;
        };
        let open = |other: &&super::actor::Actor| {
            let peer = &self.inner.peers[other.peer];
            peer.is_open() && !peer.is_over() && !peer.wire.borrow().gone
        };
        for actor in self.actors.iter().filter(open) {
            let client = actor.caller.client;
            let same = |other: &&super::actor::Actor| is_same(other.caller.client, client);
            let sessions = self.actors.iter().filter(open).filter(same).count();
            assert!(
                !is_stranger(client) || sessions <= max as usize,
                "{client} has {sessions} sessions, {max} are allowed"
            );
        }
    }

    /// Somebody was refused with this status.
    pub(super) fn hear_refusal(&mut self, at: usize, status: u16) {
        let actor = &mut self.actors[at];
        actor.refused = true;
        actor.due.clear();
        actor.last_request_sent = true;
        if actor.kind == Kind::Rude {
            return;
        }
        let (id, crowded) = (actor.id, actor.crowded);
        match status {
            429 => assert!(
                crowded && is_stranger(actor.caller.client),
                "{id} was refused with 429, but there is nobody else: {:?}",
                actor.caller
            ),
            503 if self.draining => {}
            503 if self.house.budget.is_some() => {
                self.scarcity.refused += 1;
                self.check_scarcity();
            }
            _ => panic!("{id} was refused with {status}"),
        }
    }

    /// Somebody polite was ended, with 1013 or without a word, where memory may be the reason.
    pub(super) fn charge_cut(&mut self, at: usize) {
        let actor = &mut self.actors[at];
        if !std::mem::replace(&mut actor.was_cut, true) && actor.kind != Kind::Rude {
            self.scarcity.cut += 1;
            self.check_scarcity();
        }
    }

    /// Nobody is told that memory is short but by a server that has counted it.
    fn check_scarcity(&self) {
        let metrics = self.inner.worker.hub().metrics();
        let cut = metrics.refused("memory_cut") + metrics.refused("deflate_memory");
        let refused = metrics.refused("memory_budget");
        let Scarcity {
            refused: told,
            cut: ended,
        } = &self.scarcity;
        assert!(
            *ended <= cut && told + ended <= cut + refused,
            "{ended} were cut and {told} refused, but counted are {cut} and {refused}"
        );
    }

    /// What waits and what is kept is within the budget when the worker rests. Only calls that wait may be more:
    /// nobody's end gives their bodies back.
    pub(super) fn check_budget(&self) {
        let Some(budget) = self.house.budget else {
            return;
        };
        if self.inner.again || !self.inner.worker.is_idle() {
            return;
        }
        let used = self.inner.worker.hub().used_bytes();
        let calls = self.inner.worker.call_load().1;
        assert!(
            used <= budget.max(calls),
            "{used} bytes are used, of a budget of {budget}"
        );
    }
}
