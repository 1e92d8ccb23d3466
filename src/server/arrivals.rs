//! How connections come: those that clients open, and the place that every connection gets.

use super::connection::{Connection, Fate, Http, Phase, Stage};
use super::transport::Transport;
use super::wheel::tick_at;
use super::worker::Worker;
use crate::hub::Peer;
use crate::time::Now;

/// Connections over the limit that are being told so at the same time.
const REFUSALS_AT_ONCE: usize = 32;

impl<T: Transport> Worker<T> {
    /// The key that the next accepted connection will have.
    pub fn next_key(&self) -> usize {
        self.connections.vacant_key()
    }

    /// Takes a new connection that came through listener number `listener`. One that is over a limit is
    /// taken too, to be told so (503 or 429) and closed.
    pub fn accept(&mut self, transport: T, listener: u16, peer: Peer, now: Now) -> usize {
        self.accept_as(transport, listener, peer, now, false)
    }

    /// As [`accept`](Self::accept), for a connection that carries JSON values, one after the other, instead of HTTP.
    /// It belongs to the listener's route at `/`, whose handler's `on_open` comes first: there is no request. One that
    /// is over a limit is dropped.
    pub fn accept_values(&mut self, transport: T, listener: u16, peer: Peer, now: Now) -> usize {
        self.accept_as(transport, listener, peer, now, true)
    }

    fn accept_as(
        &mut self,
        transport: T,
        listener: u16,
        peer: Peer,
        now: Now,
        is_values: bool,
    ) -> usize {
        self.core.set_time(now);
        self.core.hub.metrics.connections_total += 1;
        let trusted = self.core.settings.proxies.trusts(peer);
        let (account, over) = self.core.addresses.arrive(peer, trusted, now.ms);
        let clients = self.clients();
        let mut http = Http::new(peer, listener, tick_at(now.ms));
        let (introduction, stranger) = self.core.introduces_itself(listener, peer);
        if introduction {
            http.stage = Stage::Proxy;
        }
        let key = self.insert(transport, account, Phase::Http(Box::new(http)), now);
        if stranger {
            self.remove(key as u32);
            return key;
        }
        let refusal = self.core.refusal_at_accept(peer, clients, over);
        if is_values {
            if let Some(refusal) = &refusal {
                self.core.hub.metrics.refuse(refusal.reason);
            }
            if refusal.is_some() || !self.open_values(key as u32, listener) {
                self.remove(key as u32);
                return key;
            }
            self.settle(key as u32, Fate::Keep);
            return key;
        }
        if let Some(refusal) = refusal
            && let Some(connection) = self.connections.get_mut(key)
        {
            if let Phase::Http(http) = &mut connection.phase {
                self.core.refuse_unread(http, refusal);
            }
            if self.core.write_http(connection) == Fate::Drop {
                self.remove(key as u32);
                return key;
            }
            self.core.account(&mut connection.phase);
        }
        self.rearm(key as u32);
        key
    }

    pub(super) fn insert(&mut self, transport: T, account: u32, phase: Phase, now: Now) -> usize {
        self.core.set_time(now);
        self.core.generation = self.core.generation.wrapping_add(1);
        self.connections.insert(Connection {
            transport,
            generation: self.core.generation,
            armed: 0,
            life: tick_at(now.ms),
            account,
            readable: false,
            writable: true,
            ended: false,
            queued: false,
            phase,
        })
    }

    /// Connections that came from outside.
    pub fn clients(&self) -> usize {
        self.connections.len() - self.core.calls.made() - self.core.dials.made
    }

    /// Whether the worker holds so many refused connections beside its limit that the next one is better
    /// left in the kernel's queue.
    pub fn is_overfull(&self) -> bool {
        self.clients() >= self.core.settings.connections_max + REFUSALS_AT_ONCE
    }
}
