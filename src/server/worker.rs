//! The worker: connections, the hub, the routes, and the turn that drives them.
//!
//! **The rule:** tell the worker what happened ([`accept`](Worker::accept), [`ready`](Worker::ready)), then
//! call [`turn`](Worker::turn) with the time. While it answers `true` there is work left: look for new
//! readiness without waiting and call again. When it answers `false`, sleep until something is ready or
//! [`next_deadline_ms`](Worker::next_deadline_ms) comes.
//!
//! A turn, in order:
//!
//! 1. **read**: ready connections in the order they became ready (those whose peers have gone a little later), one read
//!    each, bounded in number and bytes; messages go to handlers, replies to the reader are written at once;
//! 2. **timers**: after the reads, so that whoever answered in time is never called late because *we* slept;
//! 3. **orders**: closes, effects and late answers that handlers asked for;
//! 4. **calls**: requests to applications that can start are sent;
//! 5. **flush**: sessions with something in their outbox, a slice of them; the rest is carried over, so
//!    batches grow with load by themselves. Links to other servers come last: what the turn had to say goes out at once.

use std::collections::{HashMap, VecDeque};

use slab::Slab;

use super::addresses::Addresses;
use super::calls::Calls;
use super::connection::{Connection, Fate, Http, Phase, Stage};
use super::drain::Drain;
use super::links::Dials;
use super::ready::ReadyQueue;
use super::router::{On, RouteError, Router};
use super::settings::{RouteSettings, WorkerSettings};
use super::transport::Transport;
use super::wheel::{Entry, Tick, Wheel, tick_at};
use crate::http::{EncodeOptions, Response};
use crate::hub::{ConnId, Handler, Hub, Ticket};
use crate::metrics::Metrics;
use crate::random::Random;
use crate::time::Now;

/// Connections read per turn.
const READS_PER_TURN: usize = 64;
/// Bytes read per turn.
const READ_BYTES_PER_TURN: usize = 1 << 20;
/// Sessions flushed per turn.
const FLUSHES_PER_TURN: usize = 256;
/// Notices kept for the log until the driver fetches them; more are dropped and counted.
const NOTICES_MAX: usize = 256;

/// One thread's worth of server, over any kind of transport.
#[derive(Debug)]
pub struct Worker<T> {
    pub(crate) connections: Slab<Connection<T>>,
    pub(crate) core: Core,
}

/// Everything but the connections, so that one connection and the rest can be borrowed side by side.
pub(crate) struct Core {
    pub(crate) settings: WorkerSettings,
    pub(crate) hub: Hub,
    pub(crate) routes: Vec<Route>,
    pub(crate) router: Router,
    pub(crate) addresses: Addresses,
    pub(crate) calls: Calls,
    pub(crate) dials: Dials,
    /// Connections that are not read from until calls are done: key and generation.
    pub(crate) held: Vec<(u32, u32)>,
    pub(crate) wheel: Wheel,
    /// Connections whose time has come, and the tick it came with: a turn looks at some of them.
    pub(crate) overdue: VecDeque<(Tick, Entry)>,
    pub(crate) timers: Slab<Timer>,
    pub(crate) waiting: HashMap<Ticket, (u32, u32)>,
    pub(crate) ready: ReadyQueue,
    pub(crate) receive: Box<[u8]>,
    pub(crate) scratch: Vec<u8>,
    /// One for all connections; messages are lent from it.
    #[cfg(feature = "deflate")]
    pub(crate) inflater: crate::ws::deflate::Inflater,
    pub(crate) notices: Vec<Notice>,
    pub(crate) drain: Option<Drain>,
    pub(crate) now: Now,
    /// The `Date` header and the second it was made for.
    date: (u64, String),
    pub(super) generation: u32,
}

pub(crate) struct Route {
    pub(crate) settings: RouteSettings,
    pub(crate) handler: Box<dyn Handler>,
    /// Its handler has asked for calls: its sessions are held back while too many wait.
    pub(crate) calls: bool,
}

/// In the wheel, this bit marks the key of a timer; without it, an entry is the key of a connection.
pub(super) const TIMER: Entry = 1 << 31;

#[derive(Debug)]
pub(crate) struct Timer {
    pub(super) due: Tick,
    pub(super) ticket: Ticket,
    pub(super) route: u16,
    pub(super) session: Option<ConnId>,
}

/// Something an operator may want to read; the driver passes it to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Which kind of event: log lines are limited per kind.
    pub kind: &'static str,
    /// What happened, without secrets: no query string, no header value.
    pub text: String,
}

impl<T: Transport> Worker<T> {
    /// A worker without routes. `random` seeds ids and epochs.
    pub fn new(settings: WorkerSettings, random: Random) -> Self {
        let hub = Hub::new(0, settings.hub, random);
        Self {
            connections: Slab::new(),
            core: Core {
                hub,
                routes: Vec::new(),
                router: Router::default(),
                addresses: Addresses::new(settings.address),
                calls: Calls::new(settings.calls),
                dials: Dials::default(),
                held: Vec::new(),
                wheel: Wheel::new(),
                overdue: VecDeque::new(),
                timers: Slab::new(),
                waiting: HashMap::new(),
                ready: ReadyQueue::default(),
                receive: vec![0; settings.receive_buffer_bytes.max(4096)].into_boxed_slice(),
                scratch: Vec::new(),
                #[cfg(feature = "deflate")]
                inflater: Default::default(),
                notices: Vec::new(),
                drain: None,
                now: Now::default(),
                date: (u64::MAX, String::new()),
                generation: 0,
                settings,
            },
        }
    }

    /// Adds a route.
    ///
    /// # Errors
    /// A template that is not one, or that matches the same paths as another on one of the listeners; options for
    /// channels that have no such names, or other ones than a route that shares them.
    pub fn route(
        &mut self,
        template: &str,
        on: On,
        settings: RouteSettings,
        handler: Box<dyn Handler>,
    ) -> Result<(), RouteError> {
        if self.core.routes.len() >= usize::from(u16::MAX) {
            return Err(RouteError::TooMany);
        }
        self.core
            .router
            .add(template, on, self.core.routes.len() as u16)?;
        let hub = &mut self.core.hub;
        let route = hub.add_route(settings.session, handler.space(), template);
        hub.set_gate(route, settings.keys.gate().clone());
        for options in &settings.channels {
            let bad = |why| Err(RouteError::BadChannels(options.names.clone(), why));
            if let Err(why) = options.check_internal() {
                return bad(why);
            }
            if !hub.add_channel_options(route, options) {
                return bad("another route with the same channels says something else of them");
            }
        }
        self.core.routes.push(Route {
            settings,
            handler,
            calls: false,
        });
        Ok(())
    }

    /// The transport of connection `key` has become readable or writable; `ended`: the peer has ended its
    /// direction. Unknown keys are ignored: the connection may be gone already.
    pub fn ready(&mut self, key: usize, readable: bool, writable: bool, ended: bool) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.readable |= readable;
        connection.writable |= writable;
        connection.ended |= ended;
        if !connection.queued {
            connection.queued = true;
            self.core.ready.push(key as u32, connection.ended);
        }
    }

    /// Does a bounded amount of work. `true`: there is more to do right now.
    pub fn turn(&mut self, now: Now) -> bool {
        self.core.set_time(now);
        self.core.hub.begin_turn();
        self.core.hub.expire_histories();
        self.read_slice();
        self.fire_timers();
        self.carry_out_orders();
        self.start_calls();
        self.release_held();
        self.flush_slice();
        self.flush_links();
        self.drain_step();
        let is_short = self.shed();
        #[cfg(feature = "deflate")]
        self.core.hub.note_encoded();
        is_short || self.has_work()
    }

    /// Whether there is something to do right now. What happens outside a turn can give rise to it: a connection that
    /// was wanted and cannot be made.
    pub fn has_work(&self) -> bool {
        !self.core.ready.is_empty()
            || !self.core.overdue.is_empty()
            || self.core.hub.has_dirty()
            || self.core.hub.has_orders()
            || self.core.hub.has_dirty_links()
            || self.core.calls.has_given_up()
    }

    /// When to call [`turn`](Self::turn) even if nothing becomes ready.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let drain = self
            .core
            .drain
            .as_ref()
            .map(|d| d.next_ms(self.core.now.ms));
        let calls = self.core.calls.next_ms();
        let expiry = self.core.hub.next_expiry_ms();
        [self.core.wheel.next_ms(), drain, calls, expiry]
            .into_iter()
            .flatten()
            .min()
    }

    /// Connections of any kind.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// The hub.
    pub fn hub(&self) -> &Hub {
        &self.core.hub
    }

    /// What was counted.
    pub fn metrics(&mut self) -> &mut Metrics {
        &mut self.core.hub.metrics
    }

    /// Takes what there is to log.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.core.notices)
    }

    /// Whether there is something to log.
    pub fn has_notices(&self) -> bool {
        !self.core.notices.is_empty()
    }

    /// The transport of a connection, for the driver and the simulated world.
    pub fn transport_mut(&mut self, key: usize) -> Option<&mut T> {
        self.connections.get_mut(key).map(|c| &mut c.transport)
    }

    fn read_slice(&mut self) {
        let mut bytes = 0;
        self.core.ready.begin_turn();
        for _ in 0..READS_PER_TURN {
            let Some(key) = self.core.ready.pop() else {
                return;
            };
            let Some(connection) = self.connections.get_mut(key as usize) else {
                continue;
            };
            connection.queued = false;
            let (fate, read) = self.core.work(connection, key);
            bytes += read;
            self.settle(key, fate);
            if bytes > READ_BYTES_PER_TURN || self.core.hub.turn_is_full() {
                return;
            }
        }
    }

    fn flush_slice(&mut self) {
        for _ in 0..FLUSHES_PER_TURN {
            let Some((session, link)) = self.core.hub.next_dirty() else {
                return;
            };
            let Some(connection) = self.connections.get_mut(link as usize) else {
                continue;
            };
            debug_assert_eq!(connection.session().map(|s| s.0), Some(session));
            let fate = self.core.flush(connection, link);
            self.settle(link, fate);
        }
    }

    /// After a connection was worked on: drop it, or make sure that somebody will look at it again.
    #[inline]
    pub(crate) fn settle(&mut self, key: u32, fate: Fate) {
        // Signs of life only move a deadline further away, and whoever wakes for the old one sees that.
        if fate == Fate::Keep
            && let Some(connection) = self.connections.get(key as usize)
            && connection.armed != 0
            && !connection.readable
            && connection.is_calm()
        {
            return;
        }
        self.settle_slowly(key, fate);
    }

    fn settle_slowly(&mut self, key: u32, fate: Fate) {
        match fate {
            Fate::Drop => self.remove(key),
            Fate::Keep => {
                if let Some(connection) = self.connections.get_mut(key as usize) {
                    self.core.account(&mut connection.phase);
                    if !connection.queued && self.core.wants_work(connection) {
                        connection.queued = true;
                        self.core.ready.push(key, connection.ended);
                    }
                }
                self.rearm(key);
            }
        }
    }

    pub(super) fn rearm(&mut self, key: u32) {
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return;
        };
        let Some(due) = self.core.deadline(connection) else {
            return;
        };
        if connection.armed == 0 || due < connection.armed {
            connection.armed = due;
            self.core.wheel.insert(due, key);
        }
    }

    pub(crate) fn remove(&mut self, key: u32) {
        if let Some(connection) = self.connections.try_remove(key as usize) {
            self.core.forget(connection, key);
        }
    }

    /// Sweeps the invariants of worker and hub; the simulated world calls it after every step.
    ///
    /// # Panics
    /// When one is broken: that is a bug of ours.
    pub fn check_invariants(&self) {
        self.core.hub.check_invariants();
        self.core.calls.check_invariants();
        let accounts = self.connections.iter().map(|(_, c)| c.account);
        self.core.addresses.check_invariants(accounts);
        let (mut sessions, mut held) = (0, 0);
        for (key, connection) in &self.connections {
            let key = key as u32;
            let (holds, accounted) = connection.phase.held_bytes();
            assert_eq!(holds, accounted as usize, "memory is held uncounted");
            held += holds;
            if let Some((session, _)) = connection.session() {
                sessions += 1;
                assert_eq!(
                    self.core.hub.link(session),
                    Some(key),
                    "session and connection differ"
                );
            }
            // The other way round it may be the entry of one that had this key before: it is looked at in vain.
            assert!(
                !connection.queued || self.core.ready.contains(key),
                "the ready queue and its flag differ"
            );
            if let Some(due) = self.core.deadline(connection) {
                assert!(
                    connection.armed != 0 && connection.armed <= due,
                    "a connection would sleep through its deadline"
                );
            }
            if let Phase::Http(http) = &connection.phase
                && let Stage::Waiting { ticket, .. } = http.stage
            {
                assert!(
                    self.core.waiting.contains_key(&ticket),
                    "a request waits for nothing"
                );
            }
        }
        assert_eq!(held, self.core.hub.held_bytes, "the sum of memory is off");
        assert_eq!(
            sessions,
            self.core.hub.sessions(),
            "a session has outlived its connection"
        );
    }
}

impl Core {
    pub(super) fn set_time(&mut self, now: Now) {
        self.now = now;
        self.hub.now = now;
    }

    /// Keeps a line for the log.
    pub(crate) fn notice(&mut self, kind: &'static str, text: impl FnOnce() -> String) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(Notice { kind, text: text() });
        } else {
            self.hub.metrics.log_lines_dropped_total += 1;
        }
    }

    /// Encodes an answer behind what is still to be written.
    pub(crate) fn answer(
        &mut self,
        http: &mut Http,
        response: Response,
        head_only: bool,
        keep_alive: bool,
    ) {
        // A connection that is kept would outlive the drain.
        let keep_alive = keep_alive && self.drain.is_none();
        self.note_date();
        let options = EncodeOptions {
            head_only,
            close: !keep_alive,
            date: Some(&self.date.1),
        };
        response.encode(&mut http.output, options);
        http.answered += 1;
        http.since = tick_at(self.now.ms);
        http.seeker = Default::default();
        http.stage = if keep_alive {
            Stage::Head
        } else {
            Stage::Closing
        };
    }

    /// Encodes the head of an answer whose body ends with the connection.
    pub(crate) fn push_head(&mut self, out: &mut Vec<u8>, response: &Response) {
        self.note_date();
        response.encode_until_close(out, Some(&self.date.1));
    }

    fn note_date(&mut self) {
        let second = self.now.unix_ms / 1000;
        if self.date.0 != second {
            self.date = (second, self.now.http_date());
        }
    }

    /// Gives back everything a dropped connection held.
    fn forget<T>(&mut self, connection: Connection<T>, key: u32) {
        self.addresses.leave(connection.account, self.now.ms);
        self.release_memory(&connection.phase);
        match connection.phase {
            Phase::Open(open) => {
                self.end_abnormally(&open);
                self.hub.remove(open.session);
            }
            Phase::Http(http) => {
                if let Stage::Waiting { ticket, .. } = http.stage {
                    self.waiting.remove(&ticket);
                }
            }
            Phase::Upstream(upstream) => self.forget_upstream(*upstream, key),
            Phase::Link(linked) => self.forget_link(&linked),
            Phase::Linger { .. } => {}
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("routes", &self.routes.len())
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}
