//! Calls to applications: who waits for which endpoint, in which order, and when to connect again.
//!
//! Calls of one session form a **lane**: one is under way, the others wait behind it. Lanes whose first call
//! may start wait at their **endpoint** (host and port), which has idle connections, connections that are
//! being made, and after a failure a moment before which it is not tried again.
//!
//! ```text
//!   handler ── Effect::Call ──▶ lane ──first of its lane──▶ endpoint.waiting
//!                                ▲                               │ an idle connection, else a new one
//!                                │ next                          ▼ (at most `connections_max` in all)
//!                              ended ◀── answered or failed ── under way
//! ```
//!
//! A connection that cannot be made costs no call: they wait, and the endpoint is tried again after 50 ms,
//! doubling to 500 ms. (Those that somebody waits for do not: they have a time, and end with the first attempt that fails.)
//! A request that was sent is not sent again, with one exception: when the connection ended
//! before the first byte of an answer. Which of two things that means depends on the connection:
//!
//! ```text
//!   broke without a byte of an answer, on a connection that ...   most likely                          then
//!   had been idle or had carried a call before (once)             it was closed before we wrote        again, for nothing
//!   was new                                                       it was left unread, going down       again, once
//! ```
//!
//! The first is no fault of the call: HTTP clients that keep connections (curl, Go's) try such a request again without
//! counting it. Counted it would use up the second, and an application that is restarted does both in a row: it closes
//! its idle connections, then the queue of its listener. Each is granted once, on a connection that is newer than the
//! event, for the others of that time may be about to end as well. So an application that ends connections after having
//! read may see a call three times at most, rather than an application that did not, never (RFC 9110 §9.2.2 leaves that
//! choice to the client).

use std::collections::{HashMap, VecDeque};

use super::settings::CallSettings;
use crate::hub::{Call, CallError, ConnId, Ticket};

/// A call that waits or is under way.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) ticket: Ticket,
    pub(crate) route: u16,
    pub(crate) session: Option<ConnId>,
    pub(crate) call: Call,
    /// It has a lane of its own.
    pub(crate) apart: bool,
    /// Somebody waits for its answer, and not longer than until then.
    pub(crate) until_ms: Option<u64>,
    /// What it has been granted already.
    pub(crate) tries: Tries,
}

/// Which of its ways out a call has used up, each after a connection that ended without a byte of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tries {
    /// It went out on a connection that had been used or idle before.
    stale: bool,
    /// It went out on a new one, or for a second time on an old one.
    repeated: bool,
}

impl Tries {
    /// Its connection broke: whether it may go out again.
    pub(crate) fn again(&mut self, was_new: bool) -> bool {
        let way = if was_new || self.stale {
            &mut self.repeated
        } else {
            &mut self.stale
        };
        !std::mem::replace(way, true)
    }
}

/// What is made one after the other: the calls of a session, or a single call of none or apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Lane {
    Session(ConnId),
    Single(Ticket),
}

impl Lane {
    fn of(queued: &Queued) -> Self {
        match queued.session {
            Some(session) if !queued.apart => Self::Session(session),
            _ => Self::Single(queued.ticket),
        }
    }
}

/// A connection to another server that somebody outside the worker has to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// To be handed back with the connection.
    pub id: WantId,
    /// Where to.
    pub place: Place,
}

impl Want {
    #[cfg(test)]
    pub(crate) fn for_tests(host: &str, port: u16) -> Self {
        let host = host.to_owned();
        Self {
            id: WantId(WantFor::Calls(0)),
            place: Place::Tcp { host, port },
        }
    }

    /// The host and the port of a TCP place.
    pub fn host_and_port(&self) -> (&str, u16) {
        match &self.place {
            Place::Tcp { host, port } => (host, *port),
            _ => ("", 0),
        }
    }
}

/// What a connection is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantId(pub(super) WantFor);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WantFor {
    /// Calls to this endpoint.
    Calls(u32),
    /// A link that was dialled.
    Link(u32),
}

impl WantId {
    /// For a link, and not for calls.
    pub fn is_link(self) -> bool {
        matches!(self.0, WantFor::Link(_))
    }

    pub(super) fn link(dialled: u32) -> Self {
        Self(WantFor::Link(dialled))
    }
}

/// Where a connection is to be made to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A TCP port.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The Unix socket at this path.
    Unix(String),
    /// The process of this link, to be started: the connection leads to its input and output.
    #[cfg(feature = "process")]
    Process(crate::hub::LinkId, std::rc::Rc<crate::hub::LinkTarget>),
}

#[derive(Debug)]
struct Endpoint {
    host: String,
    port: u16,
    waiting: VecDeque<Lane>,
    /// Worker keys of connections that have nothing to do; the one used last is used first.
    idle: Vec<u32>,
    /// Counts the calls that had to go out again. Connections begun before the last of them carry no more calls.
    epoch: u32,
    connecting: usize,
    /// Connections to it, those that are being made included.
    connections: usize,
    failures: u32,
    retry_ms: u64,
}

impl Endpoint {
    /// No connection is made to it for a moment, which grows with each failure.
    fn rest(&mut self, now_ms: u64) {
        let backoff = BACKOFF_MS_MIN << self.failures.min(8);
        self.failures += 1;
        self.retry_ms = now_ms + backoff.min(BACKOFF_MS_MAX);
    }
}

/// All calls of a worker.
#[derive(Debug)]
pub(crate) struct Calls {
    settings: CallSettings,
    endpoints: Vec<Endpoint>,
    /// The calls of each lane that are not under way.
    lanes: HashMap<Lane, VecDeque<Queued>>,
    wants: VecDeque<Want>,
    /// Worker keys of idle connections that carry no more calls.
    retired: Vec<u32>,
    /// Connections to applications, those that are being made included.
    connections: usize,
    /// Counts how often what could start was started: a connection of this round is a new one.
    round: u32,
    /// Hosts whose last connection could not be made, for whoever looks their addresses up.
    unreachable: Vec<String>,
    /// Those of them that the worker holds already.
    made: usize,
    /// When the first of those that wait may have waited for too long; `None`: none of them has a time.
    expiry_ms: Option<u64>,
    /// Calls that will not be made, and why; nobody was told yet.
    given_up: Vec<(Queued, CallError)>,
}

const BACKOFF_MS_MIN: u64 = 50;
const BACKOFF_MS_MAX: u64 = 500;

impl Calls {
    pub(crate) fn new(settings: CallSettings) -> Self {
        Self {
            settings,
            endpoints: Vec::new(),
            lanes: HashMap::new(),
            wants: VecDeque::new(),
            retired: Vec::new(),
            connections: 0,
            round: 0,
            unreachable: Vec::new(),
            made: 0,
            expiry_ms: None,
            given_up: Vec::new(),
        }
    }

    pub(crate) fn settings(&self) -> &CallSettings {
        &self.settings
    }

    /// What could start was started. Connections that are idle now have been idle.
    pub(crate) fn next_round(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    pub(crate) fn round(&self) -> u32 {
        self.round
    }

    /// Connections to applications that the worker holds.
    pub(crate) fn made(&self) -> usize {
        self.made
    }

    /// The worker has been given a transport for a want.
    pub(crate) fn note_made(&mut self) {
        self.made += 1;
    }

    /// The worker has dropped such a transport.
    pub(crate) fn note_dropped(&mut self) {
        self.made -= 1;
    }

    /// Whether no call waits or is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// A handler asks for a call.
    pub(crate) fn push(&mut self, queued: Queued) {
        let lane = Lane::of(&queued);
        let endpoint = self.endpoint(&queued.call);
        self.expiry_ms = self.expiry_ms.into_iter().chain(queued.until_ms).min();
        match self.lanes.get_mut(&lane) {
            Some(waiting) => waiting.push_back(queued),
            None => {
                self.lanes.insert(lane, VecDeque::from([queued]));
                self.endpoints[endpoint as usize].waiting.push_back(lane);
            }
        }
    }

    /// The next call that can start now, with the idle connection it goes out on; asks for connections
    /// where there is none. `None`: nothing can start.
    pub(crate) fn start(&mut self, now_ms: u64) -> Option<(u32, Queued)> {
        let share = self.share();
        for at in 0..self.endpoints.len() {
            let endpoint = &mut self.endpoints[at];
            while let Some(lane) = endpoint.waiting.front().copied() {
                let Some(key) = endpoint.idle.pop() else {
                    break;
                };
                endpoint.waiting.pop_front();
                if let Some(queued) = self.lanes.get_mut(&lane).and_then(VecDeque::pop_front) {
                    return Some((key, queued));
                }
                endpoint.idle.push(key);
            }
            while endpoint.waiting.len() > endpoint.connecting
                && self.connections < self.settings.connections_max
                && endpoint.connections < share
                && now_ms >= endpoint.retry_ms
                // After a failure one attempt is enough to find out.
                && (endpoint.failures == 0 || endpoint.connecting == 0)
            {
                endpoint.connecting += 1;
                endpoint.connections += 1;
                self.connections += 1;
                self.wants.push_back(Want {
                    id: WantId(WantFor::Calls(at as u32)),
                    place: Place::Tcp {
                        host: endpoint.host.clone(),
                        port: endpoint.port,
                    },
                });
            }
        }
        self.make_room(now_ms);
        None
    }

    /// Most connections to one endpoint: for each of the others one is left, of a quarter of all, so that one that is slow
    /// does not make everybody wait.
    fn share(&self) -> usize {
        let max = self.settings.connections_max;
        let others = self.endpoints.len().saturating_sub(1);
        max - others.min(max / 4)
    }

    /// Where all connections are in use, idle ones go for an endpoint that has none.
    fn make_room(&mut self, now_ms: u64) {
        let waits = |e: &Endpoint| {
            !e.waiting.is_empty() && e.connecting == 0 && e.idle.is_empty() && now_ms >= e.retry_ms
        };
        if self.connections >= self.settings.connections_max
            && self.retired.is_empty()
            && self.endpoints.iter().any(waits)
        {
            let idle = self.endpoints.iter_mut().find(|e| !e.idle.is_empty());
            // The one that has been idle for the longest time.
            self.retired.extend(idle.map(|e| e.idle.remove(0)));
        }
    }

    /// Whether there are idle connections to be closed.
    pub(crate) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// When an endpoint may be tried again, if somebody waits for it. While all connections are in use, or its
    /// share of them, there is no such time: the end of one of them is waited for.
    fn next_retry_ms(&self) -> Option<u64> {
        if self.connections >= self.settings.connections_max {
            return None;
        }
        let share = self.share();
        let waiting = self
            .endpoints
            .iter()
            .filter(|e| !e.waiting.is_empty() && e.connecting == 0 && e.connections < share);
        waiting.map(|e| e.retry_ms).min()
    }

    pub(crate) fn next_want(&mut self) -> Option<Want> {
        self.wants.pop_front()
    }

    /// A connection has been made.
    pub(crate) fn note_connected(&mut self, endpoint: u32) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint as usize) {
            endpoint.connecting -= 1;
            endpoint.failures = 0;
            endpoint.retry_ms = 0;
        }
    }

    /// A connection could not be made.
    pub(crate) fn note_refused(&mut self, endpoint: u32, now_ms: u64) {
        self.connections -= 1;
        if let Some(endpoint) = self.endpoints.get_mut(endpoint as usize) {
            endpoint.connecting -= 1;
            endpoint.connections -= 1;
            endpoint.rest(now_ms);
            self.unreachable.push(endpoint.host.clone());
        }
        self.give_up(endpoint as usize, CallError::Unreachable, |_| true);
    }

    /// When there is something to look at here.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        let retry = self.next_retry_ms();
        retry.into_iter().chain(self.expiry_ms).min()
    }

    /// Gives up what has waited for too long.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        if self.expiry_ms.is_none_or(|at| at > now_ms) {
            return;
        }
        let mut next = None;
        for at in 0..self.endpoints.len() {
            self.give_up(at, CallError::Timeout, |until| {
                let is_over = until <= now_ms;
                if !is_over {
                    next = Some(next.map_or(until, |next: u64| next.min(until)));
                }
                is_over
            });
        }
        self.expiry_ms = next;
    }

    /// Takes away what waits at an endpoint and has a time of which `is_over` says so.
    fn give_up(&mut self, at: usize, why: CallError, mut is_over: impl FnMut(u64) -> bool) {
        let Some(endpoint) = self.endpoints.get_mut(at) else {
            return;
        };
        endpoint.waiting.retain(|lane| {
            let first = self.lanes.get(lane).and_then(VecDeque::front);
            let is_given_up = first
                .and_then(|first| first.until_ms)
                .is_some_and(&mut is_over);
            if is_given_up && let Some(alone) = self.lanes.remove(lane) {
                let given_up = alone.into_iter().map(|queued| (queued, why));
                self.given_up.extend(given_up);
            }
            !is_given_up
        });
    }

    pub(crate) fn has_given_up(&self) -> bool {
        !self.given_up.is_empty()
    }

    pub(crate) fn take_given_up(&mut self) -> Vec<(Queued, CallError)> {
        std::mem::take(&mut self.given_up)
    }

    pub(crate) fn take_unreachable(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unreachable)
    }

    /// Which connections of an endpoint are new at the moment.
    pub(crate) fn epoch(&self, endpoint: u32) -> u32 {
        self.endpoints.get(endpoint as usize).map_or(0, |e| e.epoch)
    }

    /// Takes the idle connections that are to be closed.
    pub(crate) fn take_retired(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.retired)
    }

    /// A connection has nothing to do.
    pub(crate) fn note_idle(&mut self, endpoint: u32, key: u32) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint as usize) {
            endpoint.idle.push(key);
        }
    }

    /// A made connection is gone.
    pub(crate) fn note_gone(&mut self, endpoint: u32, key: u32) {
        self.connections -= 1;
        if let Some(endpoint) = self.endpoints.get_mut(endpoint as usize) {
            endpoint.idle.retain(|idle| *idle != key);
            endpoint.connections -= 1;
        }
    }

    /// The call is over: the next one of its lane may start.
    pub(crate) fn end(&mut self, queued: &Queued) {
        let lane = Lane::of(queued);
        let next = self
            .lanes
            .get(&lane)
            .and_then(VecDeque::front)
            .map(|next| next.call.clone());
        match next {
            Some(call) => {
                let endpoint = self.endpoint(&call);
                self.endpoints[endpoint as usize].waiting.push_back(lane);
            }
            None => {
                self.lanes.remove(&lane);
            }
        }
    }

    /// Host and port of an endpoint.
    pub(crate) fn address(&self, endpoint: u32) -> (&str, u16) {
        let endpoint = self.endpoints.get(endpoint as usize);
        endpoint.map_or(("", 0), |e| (&e.host, e.port))
    }

    /// No connection is made to an endpoint for a moment.
    pub(crate) fn rest(&mut self, endpoint: u32, now_ms: u64) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint as usize) {
            endpoint.rest(now_ms);
        }
    }

    /// The call could not go out on the connection it was given: it is the next one again, on another connection.
    pub(crate) fn put_back(&mut self, queued: Queued) {
        let lane = Lane::of(&queued);
        let endpoint = self.endpoint(&queued.call);
        self.lanes.entry(lane).or_default().push_front(queued);
        let endpoint = &mut self.endpoints[endpoint as usize];
        endpoint.waiting.push_front(lane);
    }

    /// The call has to go out again, before the others of its lane.
    pub(crate) fn repeat(&mut self, queued: Queued) {
        let lane = Lane::of(&queued);
        let endpoint = self.endpoint(&queued.call);
        self.lanes.entry(lane).or_default().push_front(queued);
        let endpoint = &mut self.endpoints[endpoint as usize];
        endpoint.waiting.push_front(lane);
        endpoint.epoch += 1;
        self.retired.append(&mut endpoint.idle);
    }

    /// Takes every call that is not under way: nobody will make it any more.
    pub(crate) fn abandon(&mut self) -> Vec<Queued> {
        for endpoint in &mut self.endpoints {
            endpoint.waiting.clear();
        }
        self.lanes
            .drain()
            .flat_map(|(_, waiting)| waiting)
            .collect()
    }

    fn endpoint(&mut self, call: &Call) -> u32 {
        let target = &call.target;
        if let Some(at) = self
            .endpoints
            .iter()
            .position(|e| e.host == target.host && e.port == target.port)
        {
            return at as u32;
        }
        let at = self.endpoints.len() as u32;
        self.endpoints.push(Endpoint {
            host: target.host.clone(),
            port: target.port,
            waiting: VecDeque::new(),
            idle: Vec::new(),
            epoch: 0,
            connecting: 0,
            connections: 0,
            failures: 0,
            retry_ms: 0,
        });
        at
    }

    pub(crate) fn check_invariants(&self) {
        for endpoint in &self.endpoints {
            for lane in &endpoint.waiting {
                let waiting = self.lanes.get(lane).is_some_and(|calls| !calls.is_empty());
                assert!(waiting, "a lane waits at an endpoint with nothing to send");
            }
        }
        assert!(self.connections <= self.settings.connections_max);
        let sum: usize = self.endpoints.iter().map(|e| e.connections).sum();
        assert_eq!(sum, self.connections, "connections to no endpoint");
    }
}
