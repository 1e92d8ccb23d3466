//! What somebody hears who is over a limit: the rule, its value, and when to come back.

use super::addresses::Over;
use super::connection::Http;
use super::worker::Core;
use crate::http::{Head, Response};
use crate::hub::Peer;

/// A refusal that will not last: 429 or 503.
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The counter's label.
    pub(super) reason: &'static str,
    /// The rule and the setting, with its value.
    pub(super) detail: String,
    pub(super) retry_after_s: u64,
}

/// Where no bucket says when there is room again.
const RETRY_AFTER_S: u64 = 5;

impl Refusal {
    pub(super) fn response(&self) -> Response {
        Response::problem(self.status, &self.detail)
            .header("Retry-After", self.retry_after_s.to_string())
    }
}

impl Core {
    /// Why a connection that has just come is not wanted, if it is not.
    pub(super) fn refusal_at_accept(
        &mut self,
        peer: Peer,
        clients: usize,
        over: Option<Over>,
    ) -> Option<Refusal> {
        let max = self.settings.connections_max;
        if clients >= max {
            return Some(Refusal {
                status: 503,
                reason: "connections_max",
                detail: format!(
                    "this server has {max} connections already (setting `connections_max`)"
                ),
                retry_after_s: RETRY_AFTER_S,
            });
        }
        if let Some(over) = over
            && let Err(refusal) = self.refuse_address(peer, over)
        {
            return Some(refusal);
        }
        self.drain.is_some().then(|| self.draining())
    }

    pub(super) fn draining(&self) -> Refusal {
        Refusal {
            status: 503,
            reason: "draining",
            detail: format!(
                "this server is shutting down, within {} ms (setting `drain_timeout_ms`): connect \
                 again in a moment",
                self.settings.drain_timeout_ms
            ),
            retry_after_s: 1,
        }
    }

    /// For somebody who came when memory was short.
    pub(super) fn short_of_memory(&self) -> Refusal {
        Refusal {
            status: 503,
            reason: "memory_budget",
            detail: format!(
                "the server is short of memory, of which it may use {} bytes (setting \
                 `memory_budget_bytes`): try again later",
                self.hub.memory_budget()
            ),
            retry_after_s: RETRY_AFTER_S,
        }
    }

    /// Whether one more opening handshake is taken. The connection becomes the client's for whom it is made.
    pub(super) fn admit(&mut self, http: &Http, account: &mut u32) -> Result<(), Refusal> {
        self.admit_poll()?;
        if http.client != http.peer {
            self.hand_over(account, http.client)?;
        }
        match self.addresses.handshake(*account, self.now.ms) {
            None => Ok(()),
            Some(over) => self.refuse_address(http.client, over),
        }
    }

    /// Whether one more poll is taken. There is one for each few messages, so they are no handshakes and have no rate.
    pub(super) fn admit_poll(&mut self) -> Result<(), Refusal> {
        if self.drain.is_some() {
            return Err(self.draining());
        }
        if self.is_short_of_memory() {
            return Err(self.short_of_memory());
        }
        Ok(())
    }

    /// The connection is a client's now and no longer its proxy's.
    pub(super) fn hand_over(&mut self, account: &mut u32, client: Peer) -> Result<(), Refusal> {
        let trusted = self.settings.proxies.trusts(client);
        let before = *account;
        let over;
        (*account, over) = self.addresses.arrive(client, trusted, self.now.ms);
        self.addresses.leave(before, self.now.ms);
        match over {
            None => Ok(()),
            Some(over) => self.refuse_address(client, over),
        }
    }

    /// An address is over a limit. With `address_dry_run` that is only counted and told.
    pub(super) fn refuse_address(&mut self, peer: Peer, over: Over) -> Result<(), Refusal> {
        let limits = self.settings.address;
        let (reason, detail) = match over {
            Over::Connections => (
                "address_connections_max",
                format!(
                    "your address has {} connections already (setting `address_connections_max`)",
                    limits.connections_max
                ),
            ),
            Over::Handshakes(_) => (
                "address_handshakes",
                format!(
                    "more than {} handshakes per second from your address, {} of them in a row (settings \
                     `address_handshakes_per_second`, `address_handshakes_burst`)",
                    limits.handshakes_per_second, limits.handshakes_burst
                ),
            ),
            Over::AuthFailures(_) => (
                "auth_failures",
                format!(
                    "more than {} failed authentications per minute from your address (setting \
                     `address_auth_failures_per_minute`)",
                    limits.auth_failures_per_minute
                ),
            ),
        };
        if limits.dry_run {
            self.hub.metrics.refuse_dry(reason);
            self.notice(reason, || {
                format!("would refuse {peer} but for `address_dry_run`: {reason}: {detail}")
            });
            return Ok(());
        }
        let retry_after_s = match over {
            Over::Connections => RETRY_AFTER_S,
            Over::Handshakes(ms) | Over::AuthFailures(ms) => ms.div_ceil(1000).max(1),
        };
        Err(Refusal {
            status: 429,
            reason,
            detail,
            retry_after_s,
        })
    }

    /// Refuses a connection of which no request was read.
    pub(super) fn refuse_unread(&mut self, http: &mut Http, refusal: Refusal) {
        let (peer, reason) = (http.peer, refusal.reason);
        self.hub.metrics.refuse(reason);
        self.notice(reason, || {
            format!(
                "refused a connection from {peer}: {} ({reason}): {}",
                refusal.status, refusal.detail
            )
        });
        self.answer(http, refusal.response(), false, false);
    }

    /// Refuses a request.
    pub(super) fn refuse_for(&mut self, http: &mut Http, head: &Head, refusal: &Refusal) {
        let why = Some(refusal.detail.as_str());
        self.refuse(http, head, refusal.response(), refusal.reason, why);
    }
}
