//! What each peer address may do: connections at once, handshakes per second, failed authentications.
//!
//! The table is bounded: addresses without a connection are forgotten after a minute of quiet, and earlier
//! when there are too many of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use slab::Slab;

use super::bucket::Bucket;
use super::settings::AddressLimits;
use crate::hub::Peer;

/// Stands for "not limited".
pub(crate) const EXEMPT: u32 = u32::MAX;

/// Addresses remembered beyond those that are connected.
const QUIET_ADDRESSES_MAX: usize = 8192;
const FORGET_AFTER_MS: u64 = 60_000;

/// Per-address accounts.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    limits: AddressLimits,
    /// std's keyed hasher: peers choose their addresses.
    by_ip: HashMap<IpAddr, u32>,
    slab: Slab<Account>,
    connected: usize,
}

#[derive(Debug)]
struct Account {
    ip: IpAddr,
    connections: u32,
    handshakes: Bucket,
    failures: Bucket,
    seen_ms: u64,
}

impl Addresses {
    pub(crate) fn new(limits: AddressLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// A connection came; `Err` if its address has as many as it may (the account is charged all the same:
    /// call [`leave`](Self::leave) for it too).
    pub(crate) fn arrive(&mut self, peer: Peer, now_ms: u64) -> (u32, bool) {
        let Peer::Tcp(addr) = peer else {
            return (EXEMPT, true);
        };
        if self.limits.exempt_local && peer.is_local() {
            return (EXEMPT, true);
        }
        let ip = account_address(addr.ip());
        let key = match self.by_ip.get(&ip) {
            Some(key) => *key,
            None => {
                self.forget(now_ms);
                let account = Account {
                    ip,
                    connections: 0,
                    handshakes: Bucket::default(),
                    failures: Bucket::default(),
                    seen_ms: now_ms,
                };
                let key = self.slab.insert(account) as u32;
                self.by_ip.insert(ip, key);
                key
            }
        };
        let Some(account) = self.slab.get_mut(key as usize) else {
            return (EXEMPT, true);
        };
        self.connected += usize::from(account.connections == 0);
        account.connections += 1;
        account.seen_ms = now_ms;
        let max = self.limits.connections_max;
        (key, max == 0 || account.connections <= max)
    }

    /// A connection of this account is gone.
    pub(crate) fn leave(&mut self, key: u32, now_ms: u64) {
        if let Some(account) = self.slab.get_mut(key as usize) {
            account.connections -= 1;
            account.seen_ms = now_ms;
            self.connected -= usize::from(account.connections == 0);
        }
    }

    /// Whether one more opening handshake is within the rate.
    pub(crate) fn handshake(&mut self, key: u32, now_ms: u64) -> bool {
        let limits = self.limits;
        self.slab.get_mut(key as usize).is_none_or(|a| {
            a.handshakes.take(
                now_ms,
                limits.handshakes_per_second,
                limits.handshakes_burst,
            )
        })
    }

    /// Counts a failed authentication; `false` when there were too many in a minute.
    pub(crate) fn auth_failure(&mut self, key: u32, now_ms: u64) -> bool {
        let max = self.limits.auth_failures_per_minute;
        self.slab
            .get_mut(key as usize)
            .is_none_or(|a| a.failures.take_per(now_ms, max, 60_000, max))
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn connected(&self) -> usize {
        self.connected
    }

    fn forget(&mut self, now_ms: u64) {
        let quiet = self.slab.len() - self.connected;
        if quiet < QUIET_ADDRESSES_MAX {
            return;
        }
        let age = |account: &Account| now_ms.saturating_sub(account.seen_ms);
        // If no one is old enough, half of the quiet ones go, the quietest first.
        let mut ages: Vec<u64> = self
            .slab
            .iter()
            .filter(|(_, a)| a.connections == 0)
            .map(|(_, a)| age(a))
            .collect();
        let middle = ages.len() / 2;
        let (_, median, _) = ages.select_nth_unstable(middle);
        let limit = (*median).min(FORGET_AFTER_MS);
        let by_ip = &mut self.by_ip;
        self.slab.retain(|_, account| {
            let keep = account.connections > 0 || age(account) < limit;
            if !keep {
                by_ip.remove(&account.ip);
            }
            keep
        });
    }
}

/// IPv6 hosts own a whole /64, so that is what they are counted by.
fn account_address(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let s = ip.segments();
            IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> Peer {
        Peer::Tcp((ip.parse::<IpAddr>().expect("an address"), 1).into())
    }

    #[test]
    fn connections_are_counted_per_address_and_v6_network() {
        let mut addresses = Addresses::new(AddressLimits {
            connections_max: 2,
            ..AddressLimits::default()
        });
        let (a, ok) = addresses.arrive(peer("2001:db8::1"), 0);
        assert!(ok && addresses.arrive(peer("2001:db8::ffff"), 0) == (a, true));
        assert_eq!(addresses.arrive(peer("2001:db8::2"), 0), (a, false));
        assert!(addresses.arrive(peer("2001:db8:0:1::2"), 0).1);
        assert_eq!(addresses.arrive(peer("127.0.0.1"), 0), (EXEMPT, true));
        assert_eq!(addresses.connected(), 2);
        for _ in 0..3 {
            addresses.leave(a, 0);
        }
        assert_eq!(addresses.connected(), 1);
        assert!(addresses.arrive(peer("2001:db8::2"), 0).1);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut addresses = Addresses::new(AddressLimits::default());
        for n in 0..50_000_u32 {
            let ip = IpAddr::V4(std::net::Ipv4Addr::from(0x0a00_0000 + n));
            let (key, _) = addresses.arrive(Peer::Tcp((ip, 1).into()), u64::from(n));
            addresses.leave(key, u64::from(n));
            assert!(addresses.slab.len() <= QUIET_ADDRESSES_MAX + 1);
            assert_eq!(addresses.slab.len(), addresses.by_ip.len());
        }
    }

    #[test]
    fn failed_authentications_run_out() {
        let mut addresses = Addresses::new(AddressLimits::default());
        let (key, _) = addresses.arrive(peer("192.0.2.1"), 0);
        assert_eq!(
            (0..30)
                .filter(|_| addresses.auth_failure(key, 1000))
                .count(),
            10
        );
        assert!(
            addresses.auth_failure(key, 8_000),
            "one more after six seconds"
        );
    }
}
