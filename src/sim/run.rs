//! One random life of a world: steps out of a [`Chooser`], oracles after each of them.
//!
//! 1. *Invariants* of worker and hub hold after every step, and memory stays within its limits.
//! 2. *Order*: what anybody receives is what the model says was due next.
//! 3. *A polite peer is never accused*: no close code, no end, that it or the drain did not cause.
//!    Where the house is small or full, somebody is turned away, and each time for a reason that was counted.
//! 4. *Quiet means done*: at rest, nothing lies unread, nothing waits to be sent, everything due was received,
//!    and no idle connection owns a buffer.
//! 5. *The empty house is empty*: when all have left, no session, channel, frame or account is left, and every
//!    `on_open` has had its one `on_close`.

use std::rc::Rc;

use super::actor::{Actor, Kind};
use super::app::{App, Diary, Entry};
use super::callbacks::Callbacks;
use super::chooser::Chooser;
use super::doors::Scarcity;
use super::house::House;
use super::model::Model;
use super::outages::Plan;
use super::peer::Received;
use super::socket::Faults;
use super::world::Inner;
use crate::hub::{SessionLimits, SlowPolicy, Target};
use crate::server::{On, RouteSettings};

/// A world that lives by itself.
#[derive(Debug)]
pub struct Run {
    pub(super) inner: Inner,
    pub(super) house: House,
    pub(super) scarcity: Scarcity,
    pub(super) chooser: Chooser,
    pub(super) actors: Vec<Actor>,
    diary: Rc<Diary>,
    pub(super) model: Model,
    pub(super) callbacks: Callbacks,
    pub(super) plan: Plan,
    next_id: u32,
    pub(super) draining: bool,
    /// Milliseconds that went by since everybody last had the time to act.
    unhurried_ms: u64,
    steps: u32,
    pub(super) verbose: bool,
    received: u64,
}

/// What a run did, to see that it did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// WebSockets that were opened.
    pub sessions: usize,
    /// Messages that clients received.
    pub received: u64,
    /// Messages that clients sent and the application heard.
    pub heard: u64,
    /// Frames dropped by the drop-oldest policy.
    pub dropped: u64,
    /// Sessions closed for being slow.
    pub slow: u64,
    /// HTTP requests answered by the application.
    pub requests: u64,
    /// Refusals of any kind.
    pub refused: u64,
    /// Calls to the application.
    pub calls: u64,
    /// Calls that were tried twice.
    pub calls_repeated: u64,
    /// Calls without an answer.
    pub calls_failed: u64,
    /// Sessions that were held back because of their calls.
    pub held: u64,
    /// Connections cut for want of memory.
    pub cut: u64,
    /// Connections that were one too many for their address.
    pub crowded: u64,
    /// Connections whose PROXY header was wrong, or from somebody who may send none.
    pub strangers: u64,
    /// Publications that were replaced by later ones.
    pub outdated: u64,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Poll,
    Deliver,
    Collect,
    Act,
    Connect,
    Stall,
    Window,
    Close,
    BreakOff,
    Wait,
    Deadline,
    Jump,
    WallClock,
    Quiet,
    Disturb,
}

/// By weight; the calm one first.
const STEPS: [(u32, Step); 15] = [
    (30, Step::Poll),
    (20, Step::Deliver),
    (14, Step::Collect),
    (24, Step::Act),
    (5, Step::Connect),
    (3, Step::Stall),
    (1, Step::Window),
    (1, Step::Close),
    (1, Step::BreakOff),
    (5, Step::Wait),
    (2, Step::Deadline),
    (1, Step::Jump),
    (1, Step::WallClock),
    (1, Step::Quiet),
    (3, Step::Disturb),
];

const ACTORS_MAX: usize = 10;
/// How long a slow but polite peer leaves its input lying.
const STALL_MS_MAX: u64 = 20_000;

impl Run {
    /// A world whose life follows from these choices.
    pub fn new(mut chooser: Chooser) -> Self {
        let house = House::choose(&mut chooser);
        let settings = house.settings(&mut chooser);
        let mut inner = Inner::new(settings, 7);
        let diary = Rc::new(Diary::default());
        let limits = SessionLimits {
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            outbox_soft_bytes: OUTBOX_BYTES_MAX / 2,
            outbox_soft_ms: 3_000,
            outbox_frames_max: OUTBOX_FRAMES_MAX,
            ..SessionLimits::default()
        };
        // Rates are off: how often a seed lets a peer act says nothing about a real client.
        let route = RouteSettings {
            session: limits,
            messages_per_second: 0,
            control_per_second: 0,
            #[cfg(feature = "deflate")]
            deflate: crate::ws::deflate::Settings {
                offered: true,
                min_bytes: chooser.index(40),
                window_bits: 15 - chooser.index(7) as u8,
                ..Default::default()
            },
            ..RouteSettings::default()
        };
        let mut feed = route.clone();
        feed.session.slow = SlowPolicy::DropOldest;
        let mut last = route.clone();
        last.session.slow = SlowPolicy::Latest;
        let mut bulk = route.clone();
        bulk.session = SessionLimits::default();
        // In the order of these, routes are numbered.
        for (template, settings) in [
            ("/work/{id}", route.clone()),
            ("/feed/{id}", feed),
            ("/last/{id}", last),
            ("/http/{id}", route.clone()),
            ("/call/{id}", route),
            ("/bulk/{id}", bulk),
        ] {
            let mut app = App::new(diary.clone(), settings.session.slow);
            if template.starts_with("/call") {
                app = app.calling(Target {
                    host: "app".to_owned(),
                    port: 80,
                    path: "/".to_owned(),
                });
            }
            let added = inner
                .worker
                .route(template, On::Every, settings, Box::new(app));
            debug_assert!(added.is_ok());
        }
        let mut run = Self {
            inner,
            house,
            scarcity: Scarcity::default(),
            chooser,
            actors: Vec::new(),
            diary,
            model: Model::default(),
            callbacks: Callbacks::default(),
            plan: Plan::default(),
            next_id: 0,
            draining: false,
            unhurried_ms: 0,
            steps: 0,
            verbose: false,
            received: 0,
        };
        run.follow_plan();
        run
    }

    /// Prints every step to standard error.
    #[must_use]
    pub fn verbose(mut self, yes: bool) -> Self {
        self.verbose = yes;
        self
    }

    /// The step at hand: what to look for when a run has failed.
    pub fn step_number(&self) -> u32 {
        self.steps
    }

    /// Lives so many steps (or until fuzz bytes are used up), then lets everybody leave.
    ///
    /// # Panics
    /// When an oracle is violated.
    pub fn live(&mut self, steps: u32) -> Summary {
        self.say(&format!("{:?}", self.house));
        for _ in 0..steps {
            if self.chooser.is_used_up() {
                break;
            }
            self.step();
        }
        self.say("the end");
        self.quiet();
        if self.chooser.one_in(4) {
            self.drain();
        }
        self.leave();
        let metrics = self.inner.worker.hub().metrics().clone();
        let (calls, calls_repeated, calls_failed) = self.callbacks.counts();
        Summary {
            calls,
            calls_repeated,
            calls_failed,
            held: metrics.refused("calls_held_back"),
            cut: metrics.refused("memory_cut"),
            crowded: metrics.refused("address_connections_max"),
            strangers: metrics.refused("proxy_protocol_peer")
                + metrics.refused("proxy_header_missing")
                + metrics.refused("proxy_header_line"),
            outdated: self.model.outdated(),
            sessions: self.model.opened(),
            received: self.received,
            heard: metrics.messages_received_total,
            dropped: metrics.frames_dropped_total,
            slow: metrics.refused("slow_consumer"),
            requests: metrics.requests_total,
            refused: metrics.refused_total(),
        }
    }

    pub(super) fn say(&self, what: &str) {
        if self.verbose {
            eprintln!("{:5} {:9} ms  {what}", self.steps, self.inner.now.ms);
        }
    }

    /// One step, chosen by weight, and the oracles that hold at any time.
    fn step(&mut self) {
        self.steps += 1;
        self.note_crowds();
        let step = self.chooser.weighted(&STEPS).unwrap_or(Step::Poll);
        let at = match step {
            Step::Stall | Step::Window => {
                let kinds = [(3, Kind::Slow), (1, Kind::Http)];
                let kind = self.chooser.weighted(&kinds).unwrap_or(Kind::Slow);
                self.one_of(kind)
            }
            _ => self.chooser.index(self.actors.len()),
        };
        match step {
            Step::Poll => {
                self.inner.poll();
            }
            Step::Connect => self.connect(),
            Step::Wait => {
                let ms = 1 + self.chooser.below(300);
                self.wait(ms);
            }
            Step::Deadline => {
                self.hurry();
                let due = self.inner.worker.next_deadline_ms();
                let now = self.inner.now.ms;
                if let Some(ms) = due.and_then(|due| due.checked_sub(now)) {
                    // As epoll, which wakes a little late rather than early.
                    let late = self.chooser.below(3);
                    self.wait_hurried(ms + late);
                }
            }
            Step::Jump => self.jump(),
            Step::WallClock => {
                self.inner.now.unix_ms = 1_000_000_000_000 + self.chooser.below(1 << 40);
            }
            Step::Quiet => self.quiet(),
            Step::Disturb => self.disturb(),
            _ => self.peer_step(step, at),
        }
        self.sweep();
    }

    fn one_of(&mut self, kind: Kind) -> usize {
        let all = self.actors.iter().enumerate();
        let of_kind: Vec<usize> = all
            .filter(|(_, a)| a.kind == kind)
            .map(|(at, _)| at)
            .collect();
        let at = self.chooser.index(of_kind.len());
        of_kind.get(at).copied().unwrap_or(0)
    }

    fn peer_step(&mut self, step: Step, at: usize) {
        let Some(actor) = self.actors.get_mut(at) else {
            return;
        };
        let peer = &mut self.inner.peers[actor.peer];
        let chooser = &mut self.chooser;
        match step {
            Step::Deliver => {
                let most = chooser.size(12);
                peer.deliver(most);
            }
            Step::Collect => {
                let most = chooser.size(14);
                peer.collect(most);
            }
            Step::Act => actor.act(peer, chooser, self.next_id, self.inner.now.ms),
            Step::Close => actor.close(peer, chooser),
            Step::BreakOff if chooser.one_in(3) => actor.break_off(peer, chooser),
            Step::Stall if matches!(actor.kind, Kind::Slow | Kind::Http) => {
                peer.reading = !peer.reading;
                if peer.reading {
                    actor.stalled_before = actor.stalled_since.take();
                } else {
                    let window = chooser.size(9).max(actor.window_min());
                    peer.wire.borrow_mut().set_window(window);
                    let since = actor.stalled_before.take();
                    actor.stalled_since = since.or(Some(self.inner.now.ms));
                }
            }
            Step::Window if actor.kind != Kind::Polite => {
                let window = chooser.size(17).max(actor.window_min());
                peer.wire.borrow_mut().set_window(window);
            }
            _ => {}
        }
        if self.verbose {
            let text = format!("{step:?} {:?} {}", self.actors[at].kind, self.actors[at].id);
            self.say(&text);
        }
    }

    fn connect(&mut self) {
        if self.actors.len() >= ACTORS_MAX {
            return;
        }
        let chooser = &mut self.chooser;
        let caller = self.house.caller(chooser);
        let kinds = [
            (4, Kind::Polite),
            (5, Kind::Slow),
            (2, Kind::Http),
            (2, Kind::Rude),
        ];
        let mut kind = chooser.weighted(&kinds).unwrap_or(Kind::Polite);
        if caller.is_wrong {
            kind = Kind::Rude;
        }
        let policies = [
            (2, SlowPolicy::Close),
            (3, SlowPolicy::DropOldest),
            (1, SlowPolicy::Latest),
        ];
        let slow = chooser.weighted(&policies).unwrap_or_default();
        let is_bulk = kind == Kind::Http || (kind != Kind::Rude && chooser.one_in(6));
        // Large messages byte by byte would take for ever.
        let least = if is_bulk { 10 } else { 0 };
        let faults = Faults {
            read_max: 1 << (least + chooser.below(17 - least)),
            write_max: 1 << (least + chooser.below(17 - least)),
            interrupt_every: [0, 0, 2, 3, 7][chooser.index(5)],
            short_read_drains: chooser.one_in(3),
            chatty: chooser.one_in(3),
        };
        let index = self.inner.accept(caller.from, caller.listener);
        let is_calling = !is_bulk && self.chooser.one_in(3);
        let now = self.inner.now.ms;
        let mut actor = Actor::new(index, self.next_id, kind, caller, now);
        if !is_calling {
            actor.slow = slow;
        }
        actor.is_bulk = is_bulk;
        actor.is_calling = is_calling;
        self.next_id += 1;
        let peer = &mut self.inner.peers[index];
        peer.wire.borrow_mut().faults = faults;
        if !is_bulk && self.chooser.one_in(4) {
            peer.cut = 1 + self.chooser.index(20);
        }
        actor.begin(peer, &mut self.chooser);
        self.say(&format!("Connect {actor:?}, {faults:?}"));
        self.actors.push(actor);
        self.note_crowds();
    }

    /// A little time goes by; nobody has to act.
    fn wait(&mut self, ms: u64) {
        if self.unhurried_ms + ms > 2_000 {
            self.hurry();
        }
        self.unhurried_ms += ms;
        self.inner.tick(ms);
    }

    /// Time goes by after everybody had the time to act: none of the polite ones is to blame for it.
    fn wait_hurried(&mut self, ms: u64) {
        self.resume_before(ms);
        self.hurry();
        self.inner.tick(ms);
        self.unhurried_ms = ms.min(1_000);
    }

    /// The server's process is stopped for a while. What peers say meanwhile lies in the windows.
    fn jump(&mut self) {
        let ms = self.chooser.below(120_000);
        self.say(&format!("Jump {ms} ms"));
        self.resume_before(ms);
        self.hurry();
        for at in 0..self.actors.len() {
            let actor = &mut self.actors[at];
            let peer = &mut self.inner.peers[actor.peer];
            if self.chooser.one_in(3) {
                actor.act(peer, &mut self.chooser, self.next_id, self.inner.now.ms);
                actor.finish(peer);
            }
        }
        for _ in 0..100 {
            self.inner.exchange();
        }
        self.inner.tick(ms);
        self.inner.poll();
        self.unhurried_ms = 0;
    }

    /// Polite peers do what is due: they finish what they have begun, deliver, and read unless they are slow.
    pub(super) fn hurry(&mut self) {
        self.unhurried_ms = 0;
        for actor in &mut self.actors {
            actor.stalled_before = None;
            if actor.kind != Kind::Rude {
                actor.finish(&mut self.inner.peers[actor.peer]);
            }
        }
        self.inner.run();
        self.absorb();
    }

    /// Slow peers that would otherwise have slept for too long wake up.
    fn resume_before(&mut self, ms: u64) {
        let now = self.inner.now.ms;
        for actor in &mut self.actors {
            if let Some(since) = actor.stalled_since
                && now + ms > since + STALL_MS_MAX
            {
                actor.stalled_since = None;
                self.inner.peers[actor.peer].reading = true;
            }
        }
        for actor in self.actors.iter().filter(|a| a.kind != Kind::Rude) {
            let peer = &self.inner.peers[actor.peer];
            if peer.reading && ms > 1000 {
                peer.wire.borrow_mut().set_window(1 << 18);
            }
        }
    }

    /// Takes the diary and everybody's inbox to the model.
    pub(super) fn absorb(&mut self) {
        let entries = self.diary.take();
        if let Err(wrong) = self.absorb_calls(&entries) {
            panic!("{wrong}");
        }
        for entry in entries {
            if self.verbose {
                self.say(&format!("  {entry:?}"));
            }
            if let Entry::Opened { id, peer, .. } = &entry
                && let Err(wrong) = self.check_opened(*id, *peer)
            {
                panic!("{wrong}");
            }
            if let Err(wrong) = self.model.apply(entry) {
                panic!("{wrong}");
            }
        }
        for at in 0..self.actors.len() {
            self.listen(at);
        }
    }

    fn listen(&mut self, at: usize) {
        let actor = &mut self.actors[at];
        let peer = &mut self.inner.peers[actor.peer];
        if let Some(since) = actor.stalled_since {
            let stalled = self.inner.now.ms - since;
            actor.stalled_longest = actor.stalled_longest.max(stalled);
        }
        let mut short = false;
        while let Some(got) = peer.inbox.pop_front() {
            self.received += 1;
            match got {
                Received::Close(code, reason) => {
                    actor.got_close = Some(code);
                    short |= reason.contains("memory");
                }
                message => {
                    if let Err(wrong) = self.model.receive(actor.id, &message) {
                        panic!("{wrong}");
                    }
                }
            }
        }
        if let Some(session) = self.model.session(actor.id)
            && !actor.misbehaved
        {
            while let Some(heard) = session.heard.pop_front() {
                assert_eq!(
                    Some(heard),
                    actor.sent.pop_front(),
                    "what {} said was not heard as it was said",
                    actor.id
                );
            }
        }
        let mut refused = None;
        while let Some(answer) = peer.answers.pop_front() {
            let status = answer.status();
            if actor.kind != Kind::Http {
                refused = Some(status).filter(|status| *status != 101);
                continue;
            }
            let owed = actor.due.pop_front();
            if matches!(status, 429 | 503) {
                refused = Some(status);
                break;
            }
            let Some(owed) = owed else {
                panic!("{}: an answer that nobody asked for: {answer:?}", actor.id);
            };
            actor.answered_at = self.inner.now.ms;
            let text = answer.text();
            let fits = status == owed.status
                && owed.bytes.is_none_or(|bytes| bytes == answer.body().len())
                && owed.text.as_ref().is_none_or(|owed| *owed == text);
            assert!(fits, "{}: {status} {text:?} instead of {owed:?}", actor.id);
        }
        if let Some(status) = refused {
            self.hear_refusal(at, status);
        }
        if short {
            self.charge_cut(at);
        }
    }

    fn drain(&mut self) {
        self.say("Drain");
        self.draining = true;
        self.inner.worker.drain(self.inner.now);
        self.inner.again = true;
        for _ in 0..1_000 {
            self.sweep();
            if self.inner.worker.is_drained() {
                break;
            }
            self.hurry();
            let due = self.inner.next_event_ms();
            let ms = due.map_or(1_000, |due| due.saturating_sub(self.inner.now.ms).max(1));
            self.inner.tick(ms);
            self.inner.poll();
        }
        assert!(self.inner.worker.is_drained(), "the drain has no end");
    }

    /// Everybody leaves, each in its way; then the house must be empty.
    fn leave(&mut self) {
        for at in 0..self.actors.len() {
            let actor = &mut self.actors[at];
            let peer = &mut self.inner.peers[actor.peer];
            if self.chooser.one_in(2) {
                actor.finish(peer);
                actor.close(peer, &mut self.chooser);
            } else {
                actor.break_off(peer, &mut self.chooser);
            }
        }
        self.heal();
        // Ten minutes are longer than any time-out.
        for _ in 0..10_000 {
            self.inner.run();
            self.sweep();
            match self.inner.next_event_ms() {
                Some(due) if !self.inner.worker.is_drained() => {
                    let ms = due.saturating_sub(self.inner.now.ms).max(1);
                    self.inner.tick(ms);
                }
                _ => break,
            }
        }
        self.check_empty();
    }
}

/// Of the routes' sessions: small, so that it is reached.
pub(super) const OUTBOX_BYTES_MAX: usize = 1 << 10;
pub(super) const OUTBOX_FRAMES_MAX: usize = 20;
