//! Names to addresses, off the loop.
//!
//! Addresses and `localhost` need no look-up. For every other name a thread asks the system and wakes the
//! loop; its answer is used for half a minute, so that a moved application is found again without a restart. A name
//! that nobody knows is asked for again after one second, then two, and so on to that time: each question is a thread, and
//! calls that wait give rise to one twice a second.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

use crate::server::Want;

/// How long an answer of the system is believed, in milliseconds.
const BELIEVED_MS: u64 = 30_000;

/// How long a name is taken for unknown at first.
const UNKNOWN_MS: u64 = 1_000;

/// Looks names up for wants.
pub(crate) struct Resolver {
    waker: Arc<Waker>,
    answers: Arc<Answers>,
    /// The names come from the configuration, so there are few of them.
    known: Vec<Known>,
    /// Wants whose name is being looked up.
    waiting: Vec<Want>,
}

/// What was looked up and not taken yet. Locked for as long as an entry takes to come or all to go.
#[derive(Default)]
struct Answers(Mutex<Vec<(String, Vec<IpAddr>)>>);

impl Answers {
    fn put(&self, host: String, addresses: Vec<IpAddr>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((host, addresses));
    }

    fn take(&self) -> Vec<(String, Vec<IpAddr>)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all)
    }
}

struct Known {
    host: String,
    addresses: Vec<IpAddr>,
    at_ms: u64,
    /// Which of the addresses is tried next: one that does not answer must not hide the others.
    turn: usize,
    /// How often in a row nobody knew the name.
    unknown: u32,
}

impl Known {
    fn is_believed(&self, now_ms: u64) -> bool {
        let ms = match self.unknown.checked_sub(1) {
            None => BELIEVED_MS,
            Some(doubled) => (UNKNOWN_MS << doubled.min(8)).min(BELIEVED_MS),
        };
        now_ms.saturating_sub(self.at_ms) <= ms
    }
}

/// Whether the system is asked for this host. Addresses and `localhost` are known without it.
#[cfg(feature = "sandbox")]
pub(super) fn needs_look_up(host: &str) -> bool {
    host.parse::<IpAddr>().is_err() && !is_localhost(host)
}

fn is_localhost(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
}

impl Resolver {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            answers: Arc::default(),
            known: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// The address for a want; `None`: it is being looked up, [`take`](Self::take) hands it out later.
    pub(crate) fn resolve(
        &mut self,
        want: Want,
        now_ms: u64,
    ) -> Option<(Want, Option<SocketAddr>)> {
        let (host, port) = want.host_and_port();
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some((want, Some(SocketAddr::new(ip, port))));
        }
        let known = self.known.iter().find(|known| known.host == host);
        if known.is_none_or(|known| !known.is_believed(now_ms)) {
            let host = host.to_owned();
            if is_localhost(&host) {
                let both = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                self.learn(host, both, now_ms);
            } else {
                let is_asked = |other: &Want| other.host_and_port().0 == host;
                if !self.waiting.iter().any(is_asked) {
                    self.ask(host);
                }
                self.waiting.push(want);
                return None;
            }
        }
        Some(self.choose(want))
    }

    /// The wants whose names have been looked up meanwhile.
    pub(crate) fn take(&mut self, now_ms: u64) -> Vec<(Want, Option<SocketAddr>)> {
        let mut ready = Vec::new();
        for (host, addresses) in self.answers.take() {
            self.learn(host.clone(), addresses, now_ms);
            let (found, rest) = std::mem::take(&mut self.waiting)
                .into_iter()
                .partition(|want| want.host_and_port().0 == host);
            self.waiting = rest;
            let found: Vec<Want> = found;
            ready.extend(found.into_iter().map(|want| self.choose(want)));
        }
        ready
    }

    fn learn(&mut self, host: String, addresses: Vec<IpAddr>, now_ms: u64) {
        let before = self.known.iter().find(|known| known.host == host);
        let unknown = match addresses.is_empty() {
            true => before.map_or(0, |known| known.unknown).saturating_add(1),
            false => 0,
        };
        self.known.retain(|known| known.host != host);
        self.known.push(Known {
            unknown,
            host,
            addresses,
            at_ms: now_ms,
            turn: 0,
        });
    }

    fn choose(&self, want: Want) -> (Want, Option<SocketAddr>) {
        let (host, port) = want.host_and_port();
        let known = self.known.iter().find(|known| known.host == host);
        let addr = known.and_then(|known| {
            let ip = known
                .addresses
                .get(known.turn % known.addresses.len().max(1))?;
            Some(SocketAddr::new(*ip, port))
        });
        (want, addr)
    }

    /// A connection to this host could not be made: its next address is tried next time.
    pub(crate) fn note_failed(&mut self, host: &str) {
        if let Some(known) = self.known.iter_mut().find(|known| known.host == host) {
            known.turn += 1;
        }
    }

    fn ask(&self, host: String) {
        let (answers, waker) = (self.answers.clone(), self.waker.clone());
        let name = host.clone();
        let look_up = move || {
            let addresses = (name.as_str(), 0).to_socket_addrs();
            let addresses = addresses.map(|all| all.map(|addr| addr.ip()).collect());
            // If the loop is gone nobody wants to know.
            answers.put(name, addresses.unwrap_or_default());
            _ = waker.wake();
        };
        let thread = std::thread::Builder::new().name("dunlin-dns".to_owned());
        if thread.spawn(look_up).is_err() {
            // No thread to be had: as if the name were unknown for now.
            self.answers.put(host, Vec::new());
            _ = self.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(host: &str) -> Want {
        Want::for_tests(host, 80)
    }

    #[test]
    fn addresses_and_localhost_need_no_look_up() {
        let poll = mio::Poll::new().expect("a poll");
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(0)).expect("a waker"));
        let mut resolver = Resolver::new(waker);
        let mut resolved = |host: &str| {
            let (_, addr) = resolver.resolve(want(host), 0).expect("at once");
            let text = addr.expect("an address").to_string();
            resolver.note_failed(host);
            text
        };
        assert_eq!(resolved("192.0.2.1"), "192.0.2.1:80");
        assert_eq!(resolved("::1"), "[::1]:80");
        assert_eq!(resolved("localhost"), "127.0.0.1:80");
        assert_eq!(
            resolved("localhost"),
            "[::1]:80",
            "the other one has its turn"
        );
        assert_eq!(resolved("localhost"), "127.0.0.1:80");
    }

    #[test]
    fn the_thread_wakes_the_loop_with_its_answer() {
        let mut poll = mio::Poll::new().expect("a poll");
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(0)).expect("a waker"));
        let mut resolver = Resolver::new(waker);
        // No name of any system, so nobody is asked over the network.
        let name = "no\0name";
        assert!(resolver.resolve(want(name), 0).is_none());
        assert!(resolver.resolve(want(name), 0).is_none(), "asked once");
        let mut events = mio::Events::with_capacity(1);
        poll.poll(&mut events, None).expect("it is woken");
        let ready = resolver.take(0);
        assert_eq!(ready.len(), 2);
        assert!(ready.iter().all(|(_, addr)| addr.is_none()));
        let again = resolver
            .resolve(want(name), 1)
            .expect("believed for a while");
        assert!(again.1.is_none());
    }

    #[test]
    fn an_unknown_name_is_asked_for_less_and_less_often() {
        let mut poll = mio::Poll::new().expect("a poll");
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(0)).expect("a waker"));
        let mut resolver = Resolver::new(waker);
        let mut events = mio::Events::with_capacity(1);
        let name = "no\0name";
        let mut asked_ms = Vec::new();
        // As often as calls that wait give rise to.
        for now_ms in (0..120_000).step_by(500) {
            if resolver.resolve(want(name), now_ms).is_none() {
                asked_ms.push(now_ms);
                poll.poll(&mut events, None).expect("it is woken");
                assert_eq!(resolver.take(now_ms).len(), 1);
            }
            resolver.note_failed(name);
        }
        let expected = [0, 1_500, 4_000, 8_500, 17_000, 33_500, 64_000, 94_500];
        assert_eq!(asked_ms, expected);
        // Who is found is believed, and forgiven.
        resolver.learn(name.to_owned(), vec![Ipv4Addr::LOCALHOST.into()], 120_000);
        assert!(resolver.resolve(want(name), 150_000).is_some());
        resolver.learn(name.to_owned(), Vec::new(), 151_000);
        assert!(resolver.resolve(want(name), 152_500).is_none());
    }
}
