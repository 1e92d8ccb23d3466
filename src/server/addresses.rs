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

/// The limit that an address has met, with the milliseconds until its bucket has a token again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Connections,
    Handshakes(u64),
    AuthFailures(u64),
}

/// Stands for "not limited".
pub(crate) const EXEMPT: u32 = u32::MAX;

/// Addresses remembered beyond those that are connected.
const QUIET_ADDRESSES_MAX: usize = 8192;
const FORGET_AFTER_MS: u64 = 60_000;
const MINUTE_MS: u64 = 60_000;

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

    /// A connection came; the second answer says if its address has as many as it may (the account is charged all
    /// the same: call [`leave`](Self::leave) for it too). A trusted proxy is not limited: it is many.
    pub(crate) fn arrive(&mut self, peer: Peer, trusted: bool, now_ms: u64) -> (u32, Option<Over>) {
        let key = self.account(peer, trusted, now_ms);
        let Some(account) = self.slab.get_mut(key as usize) else {
            return (EXEMPT, None);
        };
        self.connected += usize::from(account.connections == 0);
        account.connections += 1;
        let max = self.limits.connections_max;
        let over = max != 0 && account.connections > max;
        (key, over.then_some(Over::Connections))
    }

    /// The account of an address, to be charged at once: without a connection it may be forgotten when the next
    /// address comes.
    pub(crate) fn account(&mut self, peer: Peer, trusted: bool, now_ms: u64) -> u32 {
        let Peer::Tcp(addr) = peer else {
            return EXEMPT;
        };
        if trusted || (self.limits.exempt_local && peer.is_local()) {
            return EXEMPT;
        }
        let ip = account_address(addr.ip());
        if let Some(key) = self.by_ip.get(&ip) {
            if let Some(account) = self.slab.get_mut(*key as usize) {
                account.seen_ms = now_ms;
            }
            return *key;
        }
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

    /// A connection of this account is gone.
    pub(crate) fn leave(&mut self, key: u32, now_ms: u64) {
        if let Some(account) = self.slab.get_mut(key as usize) {
            account.connections -= 1;
            account.seen_ms = now_ms;
            self.connected -= usize::from(account.connections == 0);
        }
    }

    /// Counts an opening handshake; answers if it is above the rate.
    pub(crate) fn handshake(&mut self, key: u32, now_ms: u64) -> Option<Over> {
        let (rate, burst) = (
            self.limits.handshakes_per_second,
            self.limits.handshakes_burst,
        );
        let bucket = &mut self.slab.get_mut(key as usize)?.handshakes;
        let within = bucket.take(now_ms, rate, burst);
        (!within).then(|| Over::Handshakes(bucket.wait_ms(now_ms, rate, 1000, burst)))
    }

    /// Counts a failed authentication; answers if there were too many in a minute.
    pub(crate) fn auth_failure(&mut self, key: u32, now_ms: u64) -> Option<Over> {
        let max = self.limits.auth_failures_per_minute;
        let bucket = &mut self.slab.get_mut(key as usize)?.failures;
        let within = bucket.take_per(now_ms, max, MINUTE_MS, max);
        (!within).then(|| Over::AuthFailures(bucket.wait_ms(now_ms, max, MINUTE_MS, max)))
    }

    /// Whether the next failure would be one too many.
    pub(crate) fn is_out_of_failures(&self, key: u32, now_ms: u64) -> bool {
        let max = self.limits.auth_failures_per_minute;
        let account = self.slab.get(key as usize);
        account.is_some_and(|account| {
            let mut failures = account.failures;
            !failures.take_per(now_ms, max, MINUTE_MS, max)
        })
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn connected(&self) -> usize {
        self.connected
    }

    /// `accounts` are those of all connections.
    pub(crate) fn check_invariants(&self, accounts: impl Iterator<Item = u32>) {
        let mut left: Vec<(usize, u32)> = Vec::new();
        left.extend(
            self.slab
                .iter()
                .map(|(key, account)| (key, account.connections)),
        );
        for account in accounts.filter(|account| *account != EXEMPT) {
            let found = left.iter_mut().find(|(key, _)| *key == account as usize);
            let (_, connections) = found.expect("a connection is charged to nobody");
            assert!(
                *connections > 0,
                "an address has more than it is charged for"
            );
            *connections -= 1;
        }
        let all = left.iter().all(|(_, connections)| *connections == 0);
        assert!(all, "an address is charged for who is gone");
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
        let mut arrive = |ip| addresses.arrive(peer(ip), false, 0);
        let (a, over) = arrive("2001:db8::1");
        assert_eq!(over, None);
        assert_eq!(arrive("2001:db8::ffff"), (a, None));
        assert_eq!(arrive("2001:db8::2"), (a, Some(Over::Connections)));
        assert_eq!(arrive("2001:db8:0:1::2").1, None);
        assert_eq!(arrive("127.0.0.1"), (EXEMPT, None));
        let proxy = addresses.arrive(peer("2001:db8::3"), true, 0);
        assert_eq!(proxy, (EXEMPT, None));
        assert_eq!(addresses.connected(), 2);
        for _ in 0..3 {
            addresses.leave(a, 0);
        }
        assert_eq!(addresses.connected(), 1);
        assert_eq!(addresses.arrive(peer("2001:db8::2"), false, 0).1, None);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut addresses = Addresses::new(AddressLimits::default());
        for n in 0..50_000_u32 {
            let ip = IpAddr::V4(std::net::Ipv4Addr::from(0x0a00_0000 + n));
            let (key, _) = addresses.arrive(Peer::Tcp((ip, 1).into()), false, u64::from(n));
            addresses.leave(key, u64::from(n));
            assert!(addresses.slab.len() <= QUIET_ADDRESSES_MAX + 1);
            assert_eq!(addresses.slab.len(), addresses.by_ip.len());
        }
    }

    #[test]
    fn failed_authentications_run_out() {
        let mut addresses = Addresses::new(AddressLimits::default());
        let (key, _) = addresses.arrive(peer("192.0.2.1"), false, 0);
        let refused = Some(Over::AuthFailures(6_000));
        for n in 0..30 {
            let expected = refused.filter(|_| n >= 10);
            assert_eq!(addresses.auth_failure(key, 1000), expected);
        }
        let one_more = addresses.auth_failure(key, 8_000);
        assert_eq!(one_more, None, "one more after six seconds");
    }
}
