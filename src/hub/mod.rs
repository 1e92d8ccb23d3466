//! The hub: sessions, channels, subscriptions, outboxes, and the [`Handler`] trait behind every route.
//!
//! Read [`Handler`] first, then [`Context`]: together they are all that application code sees. Below them,
//! one subject per file:
//!
//! | file | subject |
//! | --- | --- |
//! | `handler.rs` | the trait, what it is given and what it answers |
//! | `call.rs` | HTTP requests to an application |
//! | `link.rs` | connections that a handler keeps to another server |
//! | `program.rs` | links whose other end is a process (feature `process`) |
//! | `context.rs`, `context/` | what a handler may do |
//! | `orders.rs` | what handlers asked for, until the worker takes it |
//! | `limits.rs` | limits and their defaults |
//! | `session.rs` | [`ConnId`], the application's view of an open WebSocket |
//! | `channel.rs` | names → channels, subscriptions with swap-remove on both sides |
//! | `presence.rs` | who is in a channel (feature `presence`) |
//! | `options.rs` | what holds for some channels and not for others |
//! | `position.rs` | where a subscriber stands in a channel |
//! | `encoding.rs` | messages as they are, compressed, or as values in a stream |
//! | `history.rs` | what channels keep of their publications |
//! | `patterns.rs` | subscriptions to all channels whose names are alike (feature `wildcards`) |
//! | `incoming.rs` | publications of channels that live elsewhere |
//! | `journal.rs` | what is kept, on its way to a log and back (feature `history-log`) |
//! | `filter.rs` | sessions that want some of what is said (feature `filters`) |
//! | `follow.rs`, `follow/` | sessions that stand behind the head of a channel, and catch up |
//! | `frames.rs` | encoded-once frames, shared by count |
//! | `outboxes.rs`, `outbox.rs` | frame ids waiting for each session |
//! | `publish.rs` | fan-out, its limits |
//! | `slow.rs` | those for whom too much waits |
//! | `waiting.rs` | what waits to be written: replies, outboxes, the dirty list |
//! | `listing.rs` | sessions and channels in pages, for whoever looks after the server |
//! | `grants.rs` | what sessions may do, and how long |
//! | `locals.rs` | per-connection state of a handler, slab-indexed |
//!
//! **Never in here:** sockets, threads, clocks, files, serde_json, anything of `server`. Time is a value
//! that the worker sets before it calls; randomness comes from a source it was given.
//!
//! A session's life, as the hub sees it:
//!
//! ```text
//!            open()                end()                     remove()
//!   (none) ─────────▶ Open ───────────────▶ Ended ─────────────────────▶ (none)
//!                     │  receives, sends     │ no subscription, nothing new
//!                     │                      │ is queued; what was queued
//!                     └── on_open … on_close │ before still drains
//! ```

mod call;
mod channel;
mod context;
mod encoding;
#[cfg(feature = "filters")]
mod filter;
#[cfg(not(feature = "filters"))]
#[path = "filter/off.rs"]
mod filter;
mod follow;
mod frames;
#[cfg(any(test, feature = "sim"))]
#[doc(hidden)]
pub mod fuzz;
mod grants;
mod handler;
mod history;
mod incoming;
#[cfg(feature = "history-log")]
mod journal;
mod limits;
mod link;
mod listing;
mod locals;
mod options;
mod orders;
mod outbox;
mod outboxes;
#[cfg(feature = "wildcards")]
mod patterns;
#[cfg(not(feature = "wildcards"))]
#[path = "patterns/off.rs"]
mod patterns;
mod position;
#[cfg(feature = "presence")]
mod presence;
#[cfg(not(feature = "presence"))]
#[path = "presence/off.rs"]
mod presence;
#[cfg(feature = "process")]
mod program;
mod publish;
mod session;
mod slow;
mod waiting;

pub use call::{Answered, Call, CallError, Target, TargetError};
pub use channel::{NameError, Space, SubscribeError, check_channel_name, is_pattern};
pub use context::Context;
pub(crate) use encoding::check_event;
#[cfg(feature = "filters")]
pub use filter::{Filter, Tags, WordsError};
pub use follow::Joined;
#[cfg(feature = "hierachain-history")]
pub use follow::Placed;
pub use frames::FrameId;
pub use grants::AuthError;
pub use handler::{
    Accept, CloseInfo, Effect, Handler, Initiator, Outcome, Params, Peer, Reply, Request, Stream,
    Ticket, Upgrade,
};
pub(crate) use history::HistoryOptions;
pub use history::{History, Kept, Start};
pub use incoming::{Incoming, Received};
#[cfg(feature = "history-log")]
pub(crate) use journal::{Batch, Restored};
pub use limits::{HubLimits, SessionLimits};
pub(crate) use link::Links;
pub use link::{Dial, LinkEnd, LinkEvent, LinkId, LinkTarget};
pub use listing::{ChannelView, SLOTS_PER_PAGE, SessionFilter, SessionView};
pub use locals::Locals;
pub use options::{ChannelOptions, Who};
pub(crate) use orders::{CallLoad, CloseOrder};
#[cfg(feature = "wildcards")]
pub use patterns::{PATTERN_SEGMENTS_MAX, check_pattern};
pub use position::{NoPosition, Position};
#[cfg(all(feature = "presence", any(test, feature = "sim")))]
pub(crate) use presence::NO_ROUTE;
#[cfg(feature = "presence")]
pub use presence::{Member, PresenceChange, PresenceView};
#[cfg(feature = "process")]
pub use program::{Exit, Framing, Ordered, ProcessOrder, Program};
pub use publish::{PublishError, Published};
pub use session::ConnId;
pub use slow::SlowPolicy;

use std::collections::{HashMap, HashSet, VecDeque};

use channel::Channels;
use encoding::{Encoder, Encoding};
use filter::Filters;
use follow::Following;
use frames::Frames;
use grants::Grants;
use history::Histories;
use outboxes::{Outboxes, Waiting, Waits};
use session::{Life, Marks, Session};
use slab::Slab;
use waiting::ReplyBuffer;

use crate::http::Response;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::time::Now;
use crate::token::Gate;

/// Sessions, channels and queued frames of one worker.
#[derive(Debug)]
pub struct Hub {
    limits: HubLimits,
    routes: Vec<RouteEntry>,
    sessions: Slab<Session>,
    /// Every session's slot is and was below this.
    slots: u32,
    /// Only of sessions for which more than one frame waits.
    outboxes: Outboxes,
    channels: Channels,
    histories: Histories,
    /// What is kept is logged.
    #[cfg(feature = "history-log")]
    journal: Option<Box<journal::Journal>>,
    /// By session, the channels that it follows.
    followed: HashMap<u32, Vec<Following>>,
    filters: Filters,
    frames: Frames,
    encoder: Encoder,
    /// Sessions with something new in their outbox, each at most once.
    dirty: VecDeque<u32>,
    /// Sessions that a handler has asked to close.
    closing: Vec<CloseOrder>,
    /// Sessions whose outbox has gone beyond a limit, with their generation.
    suspects: Vec<(u32, u32)>,
    /// Somewhere the policy is [`SlowPolicy::Latest`].
    outdates: bool,
    /// Frames encoded and bytes in them since this turn began.
    turn_frames: usize,
    turn_bytes: usize,
    /// Frames put into outboxes likewise.
    turn_deliveries: usize,
    /// What connections hold of their own: unfinished messages, requests, answers. The worker counts it.
    pub(crate) held_bytes: usize,
    effects: Vec<Effect>,
    /// Calls that wait or are under way, counted from the moment a handler asks.
    pub(crate) calls: CallLoad,
    links: Links,
    /// Sessions whose handlers want to know when nothing waits for them any more.
    awaited: HashSet<u32>,
    /// Those of them for which that has come true, with their generation.
    drained: Vec<(u32, u32)>,
    answers: Vec<(Ticket, Response)>,
    /// Only of sessions that have one.
    grants: Grants,
    reply: ReplyBuffer,
    generation: u32,
    tickets: u64,
    stamp: u32,
    worker: u16,
    /// The worker is told to end.
    pub(crate) draining: bool,
    /// The time of this turn.
    pub(crate) now: Now,
    /// What was counted.
    pub(crate) metrics: Metrics,
    pub(crate) random: Random,
}

#[derive(Debug)]
struct RouteEntry {
    limits: SessionLimits,
    space: Space,
    template: Box<str>,
    /// What its clients have to show.
    gate: Gate,
    /// Sessions it has.
    sessions: u32,
    /// It had a session once.
    was_used: bool,
}

impl Hub {
    /// An empty hub for worker number `worker`.
    pub fn new(worker: u16, limits: HubLimits, random: Random) -> Self {
        // What is kept leaves at least half of the budget to what is under way.
        let limits = HubLimits {
            history_budget_bytes: limits
                .history_budget_bytes
                .min(limits.memory_budget_bytes / 2),
            ..limits
        };
        Self {
            limits,
            routes: Vec::new(),
            sessions: Slab::new(),
            slots: 0,
            outboxes: Outboxes::default(),
            channels: Channels::new(limits.presence_leaving_max),
            histories: Histories::default(),
            #[cfg(feature = "history-log")]
            journal: None,
            followed: HashMap::new(),
            filters: Filters::default(),
            frames: Frames::default(),
            encoder: Encoder::default(),
            dirty: VecDeque::new(),
            closing: Vec::new(),
            suspects: Vec::new(),
            outdates: false,
            turn_frames: 0,
            turn_bytes: 0,
            turn_deliveries: 0,
            held_bytes: 0,
            effects: Vec::new(),
            calls: CallLoad::default(),
            links: Links::default(),
            awaited: HashSet::new(),
            drained: Vec::new(),
            answers: Vec::new(),
            grants: Grants::default(),
            reply: ReplyBuffer::default(),
            generation: 0,
            tickets: 0,
            stamp: 0,
            worker,
            draining: false,
            now: Now::default(),
            metrics: Metrics::default(),
            random,
        }
    }

    /// Registers a route: its limits, the name space its channels live in, its path template. Answers its number.
    pub(crate) fn add_route(&mut self, limits: SessionLimits, space: &str, template: &str) -> u16 {
        let space = self.channels.space(space);
        self.outdates |= limits.slow == SlowPolicy::Latest;
        self.routes.push(RouteEntry {
            limits,
            space,
            template: template.into(),
            gate: Gate::default(),
            sessions: 0,
            was_used: false,
        });
        (self.routes.len() - 1) as u16
    }

    /// Says what holds for some of the channels of a route's name space. `false`: another route of that space says
    /// something else about the same names.
    pub(crate) fn add_channel_options(&mut self, route: u16, options: &ChannelOptions) -> bool {
        let space = self.routes.get(route as usize).map(|route| route.space);
        self.outdates |= options.slow == Some(SlowPolicy::Latest);
        space.is_none_or(|space| self.channels.add_rule(space, options, route).is_ok())
    }

    /// Sessions that are open or still draining.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Channels with at least one subscriber, or that keep publications.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Bytes of all frames that wait or are kept; a frame shared by many outboxes counts once.
    pub fn queued_bytes(&self) -> usize {
        self.frames.bytes()
    }

    /// What counts into the memory budget, and is used of it.
    pub fn used_bytes(&self) -> usize {
        #[cfg(feature = "deflate")]
        let windows = self.window_bytes();
        #[cfg(not(feature = "deflate"))]
        let windows = 0;
        let kept = self.histories.bytes_beside_frames();
        #[cfg(feature = "history-log")]
        let kept = kept + self.journal_bytes();
        self.frames.bytes()
            + kept
            + windows
            + self.held_bytes
            + self.calls.bytes
            + self.links.bytes()
            + self.grants.bytes()
            + self.filters.bytes()
            + self.channels.presences.bytes()
    }

    /// The memory budget in bytes.
    pub fn memory_budget(&self) -> usize {
        self.limits.memory_budget_bytes
    }

    /// Frames that wait somewhere.
    pub fn queued_frames(&self) -> usize {
        self.frames.len()
    }

    /// What was counted so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Opens a session for the server's connection `link` on route `route`.
    pub(crate) fn open(&mut self, link: u32, route: u16) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        if let Some(entry) = self.routes.get_mut(route as usize) {
            entry.sessions += 1;
            entry.was_used = true;
        }
        let session = Session::new(self.generation, link, route);
        let index = self.sessions.insert(session) as u32;
        self.slots = self.slots.max(index + 1);
        index
    }

    /// As [`open`](Self::open), for a stream of values.
    pub(crate) fn open_for_values(&mut self, link: u32, route: u16) -> u32 {
        self.open_encoded(link, route, Encoding::VALUES)
    }

    /// As [`open`](Self::open), for a response that does not end.
    pub(crate) fn open_for_stream(&mut self, link: u32, route: u16, stream: Stream) -> u32 {
        let encoding = match stream {
            Stream::Events => Encoding::EVENTS,
            Stream::Lines => Encoding::VALUES,
            Stream::Envelopes => Encoding::ENVELOPE_LINES,
            Stream::Poll { .. } => Encoding::ITEMS,
        };
        self.open_encoded(link, route, encoding)
    }

    fn open_encoded(&mut self, link: u32, route: u16, encoding: Encoding) -> u32 {
        let index = self.open(link, route);
        if let Some(session) = self.sessions.get_mut(index as usize) {
            session.encoding = encoding;
        }
        index
    }

    /// Ends a session for its application: unsubscribes it and refuses anything new for it.
    /// What is queued stays queued. Ending twice changes nothing.
    pub(crate) fn end(&mut self, index: u32) {
        if let Some(session) = self.sessions.get_mut(index as usize) {
            session.life = Life::Ended;
            let subscriptions = std::mem::take(&mut session.subscriptions);
            self.channels.leave_all(&mut self.sessions, subscriptions);
        }
        self.end_following(index, None);
    }

    /// Forgets a session and gives back the frames that waited for it.
    pub(crate) fn remove(&mut self, index: u32) {
        self.end(index);
        self.awaited.remove(&index);
        self.grants.remove(index);
        self.filters.remove(index);
        if let Some(mut session) = self.sessions.try_remove(index as usize) {
            if let Some(entry) = self.routes.get_mut(session.route as usize) {
                entry.sessions -= 1;
            }
            if let Waiting::Lone(frame) = session.waits.get() {
                self.frames.release(frame);
            } else if let Some(mut outbox) = self.outboxes.remove(&mut session.waits) {
                while let Some(frame) = outbox.pop() {
                    self.frames.release(frame);
                }
            }
        }
        #[cfg(feature = "deflate")]
        self.windows().remove(index);
        if self.reply.to == Some(index) {
            self.reply.to = None;
            self.reply.clear();
        }
    }

    /// The session's public id.
    pub(crate) fn conn_id(&self, index: u32) -> Option<ConnId> {
        let session = self.sessions.get(index as usize)?;
        Some(ConnId {
            worker: self.worker,
            index,
            generation: session.generation,
        })
    }

    /// The slab index behind a public id, if that very session is still open.
    pub(crate) fn index_of(&self, id: ConnId) -> Option<u32> {
        let session = self.sessions.get(id.index as usize)?;
        (session.generation == id.generation && id.worker == self.worker && session.is_open())
            .then_some(id.index)
    }

    /// The server's key of a session's connection.
    pub(crate) fn link(&self, index: u32) -> Option<u32> {
        Some(self.sessions.get(index as usize)?.link)
    }

    /// The route a session has come by.
    pub(crate) fn route_of(&self, index: u32) -> Option<u16> {
        Some(self.sessions.get(index as usize)?.route)
    }

    pub(crate) fn is_open(&self, index: u32) -> bool {
        self.sessions
            .get(index as usize)
            .is_some_and(Session::is_open)
    }

    /// A close order for it is under way: nothing more is queued for it or taken from it.
    pub(crate) fn is_leaving(&self, index: u32) -> bool {
        self.sessions
            .get(index as usize)
            .is_none_or(|s| s.life != Life::Open)
    }

    /// Writes down whether the worker reads from a session at the moment.
    pub(crate) fn set_held_back(&mut self, index: u32, held_back: bool) {
        if let Some(session) = self.sessions.get_mut(index as usize) {
            session.marks.set(Marks::HELD_BACK, held_back);
        }
    }

    /// A ticket nobody had before.
    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Sweeps the hub's invariants; the simulated world calls it after every step.
    ///
    /// # Panics
    /// When one is broken: that is a bug of ours.
    pub fn check_invariants(&self) {
        self.channels.check_invariants(&self.sessions);
        let counted: u32 = self.routes.iter().map(|route| route.sessions).sum();
        assert!(
            self.routes.is_empty() || counted as usize == self.sessions.len(),
            "sessions and routes differ"
        );
        let (mut queued, mut outboxes) = (0, 0);
        for (index, session) in &self.sessions {
            queued += match session.waits.get() {
                Waiting::Nothing => 0,
                Waiting::Lone(frame) => {
                    assert!(!self.frames.get(frame).is_empty(), "a frame is gone");
                    1
                }
                Waiting::Queue(_) => {
                    outboxes += 1;
                    let outbox = self.outboxes.get(session.waits);
                    outbox
                        .expect("an outbox is gone")
                        .check_invariants(&self.frames)
                }
            };
            assert!(
                session.is_open() || session.subscriptions.is_empty(),
                "an ended session is subscribed"
            );
            assert!(
                !session.dirty || self.dirty.contains(&(index as u32)),
                "a dirty session is not on the dirty list"
            );
        }
        let rings = self.channels.iter().filter_map(|(_, c)| c.ring.as_ref());
        let kept: usize = rings.map(|ring| ring.len()).sum();
        assert_eq!(
            self.frames.references(),
            queued + kept,
            "frame references and outbox and history entries differ"
        );
        self.check_histories();
        self.check_following();
        self.check_filters();
        assert_eq!(self.outboxes.len(), outboxes, "an outbox is nobody's");
        self.outboxes.check_invariants();
        self.links.check_invariants();
        let is_session = |session| self.sessions.contains(session as usize);
        self.grants.check_invariants(is_session);
    }
}
