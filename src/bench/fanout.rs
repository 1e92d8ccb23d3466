//! `fanout`: a publication goes to all who listen.
//!
//! ```text
//!   subscribers open ──▶ publishers open ──▶ roll call ──▶ publications ──▶ what is under way comes ──▶ done
//!                                            a publication that does not count, again every half second until
//!                                            every subscriber has heard one; not with --count
//! ```
//!
//! Without `--rate`, in lock-step: the next publication (or burst, in one write) leaves when all subscribers have the
//! one before, and latency counts from the write. With `--rate`, publications are due at fixed moments and latency
//! counts from those. A publication by POST is one request on a connection that is kept; a burst is pipelined.

use super::fault::Fault;
use super::meter::Meter;
use super::options::{Length, Options, Publish};
use super::pace::Pace;
use super::scenario::{Scenario, Stage};
use super::stamp::{Arrival, Run, Stamp, Template, Track};
use super::target::Target;
use crate::http::encode_request;

/// Bursts at one tick, at most, so that reading does not wait for a backlog.
const BATCH_MAX: usize = 64;
/// The first roll call is repeated for those who were not subscribed yet.
const ROLL_CALL_NS: u64 = 500_000_000;
/// How long the last deliveries are waited for when the time is up.
const DRAIN_NS: u64 = 10_000_000_000;
/// How long others may follow when something has ended for good: a server that dies ends one connection after the other.
const LAST_NS: u64 = 200_000_000;

/// How far it has come; the module's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Publishers,
    RollCall { again: u64, until: u64 },
    Publishing,
}

/// The scenario.
#[derive(Debug)]
pub(crate) struct Fanout {
    subscribers: usize,
    publishers: usize,
    publish: Publish,
    target: Option<Target>,
    run: Run,
    /// Whose messages are roll calls.
    roll: Run,
    hint: usize,
    roll_hint: usize,
    template: Template,
    roll_template: Template,
    step: Step,
    burst: u64,
    rate: Option<u64>,
    pace: Option<Pace>,
    count: Option<u64>,
    /// What each subscriber has seen of each publisher.
    tracks: Vec<Track>,
    /// Subscribers that count: open when publishing began and since.
    is_listening: Vec<bool>,
    listening: u64,
    has_heard: Vec<bool>,
    heard: u64,
    /// Publications of each publisher, and of all.
    sent: Vec<u64>,
    published: u64,
    /// Whose turn it is.
    turn: usize,
    /// Deliveries and answers that have not come.
    waiting: u64,
    unanswered: u64,
    /// When the last delivery came.
    last: u64,
    over_since: Option<u64>,
    /// When it was clear that nothing more can be published, or that what was does not arrive.
    gave_up: Option<u64>,
}

impl Fanout {
    pub(crate) fn new(options: &Options, run: Run, roll: Run) -> Self {
        let (subscribers, publishers) = (options.connections, options.publishers);
        Self {
            subscribers,
            publishers,
            publish: options.publish,
            target: options.publish_target.clone(),
            run,
            roll,
            hint: 0,
            roll_hint: 0,
            template: Template::new(&run, options.payload, options.binary, options.filler),
            roll_template: Template::new(&roll, options.payload, options.binary, options.filler),
            step: Step::Publishers,
            burst: options.burst,
            rate: options.rate,
            pace: None,
            count: match options.length {
                Length::Count(count) => Some(count),
                Length::For(_) => None,
            },
            tracks: vec![Track::default(); subscribers * publishers],
            is_listening: vec![false; subscribers],
            listening: 0,
            has_heard: vec![false; subscribers],
            heard: 0,
            sent: vec![0; publishers],
            published: 0,
            turn: 0,
            waiting: 0,
            unanswered: 0,
            last: 0,
            over_since: None,
            gave_up: None,
        }
    }

    /// Whether a publisher can be written to.
    fn is_ready(&self, stage: &Stage, publisher: usize) -> bool {
        let at = self.subscribers + publisher;
        stage.crowd.is_open(at) || stage.crowd.is_plain(at)
    }

    /// Writes one publication of `publisher` into its output.
    fn write(&mut self, stage: &mut Stage, publisher: usize, stamp: Stamp, is_roll: bool) {
        let template = if is_roll {
            &mut self.roll_template
        } else {
            &mut self.template
        };
        let at = self.subscribers + publisher;
        match (&self.publish, &self.target) {
            (Publish::Post, Some(target)) => {
                let out = stage.crowd.out(at);
                let body = template.message(stamp);
                let (host, path) = (&target.authority, &target.path);
                encode_request(out, "POST", host, path, [], body);
                self.unanswered += 1;
            }
            _ => stage.crowd.put(at, template, stamp),
        }
    }

    fn call_the_roll(&mut self, stage: &mut Stage) {
        let stamp = Stamp {
            publisher: 0,
            number: 0,
            at: 0,
        };
        self.write(stage, 0, stamp, true);
        stage.crowd.flush(self.subscribers);
    }

    fn start(&mut self, stage: &mut Stage, now: u64) {
        self.step = Step::Publishing;
        for at in 0..self.subscribers {
            self.is_listening[at] = stage.crowd.is_open(at);
            self.listening += u64::from(self.is_listening[at]);
        }
        self.last = now;
        stage.meter.begin(now);
        match self.rate {
            // The rate is one of publications; they leave in bursts.
            Some(rate) => self.pace = Some(Pace::new(rate, now)),
            None => self.go_on(stage, now),
        }
    }

    /// In lock-step: the next burst, if the one before is everywhere.
    fn go_on(&mut self, stage: &mut Stage, now: u64) {
        if self.waiting > 0 || self.unanswered > 0 || self.step != Step::Publishing {
            return;
        }
        if self.count.is_some_and(|count| self.published >= count) {
            stage.meter.finish(now);
        } else if self.pace.is_none() && !stage.meter.is_over() && self.gave_up.is_none() {
            let now = stage.now();
            self.publish_burst(stage, |_| now);
        }
    }

    /// The next publisher's next publications, in one write; `due` says when each was.
    fn publish_burst(&mut self, stage: &mut Stage, mut due: impl FnMut(u64) -> u64) {
        let alive = (0..self.publishers)
            .map(|i| (self.turn + i) % self.publishers)
            .find(|&publisher| self.is_ready(stage, publisher));
        let Some(publisher) = alive else {
            self.gave_up = Some(stage.now());
            return;
        };
        self.turn = publisher + 1;
        let left = self.count.map_or(self.burst, |c| c - self.published);
        let burst = self.burst.min(left);
        for i in 0..burst {
            let stamp = Stamp {
                publisher: publisher as u32,
                number: self.sent[publisher],
                at: due(i),
            };
            self.write(stage, publisher, stamp, false);
            self.sent[publisher] += 1;
        }
        self.published += burst;
        if self.waiting == 0 {
            self.last = stage.now();
        }
        self.waiting += burst * self.listening;
        if stage.meter.is_measuring() {
            stage.meter.messages += burst;
        }
        stage.crowd.flush(self.subscribers + publisher);
    }

    /// What a subscriber has not got of what was sent.
    fn lost_to(&self, at: usize) -> u64 {
        let tracks = &self.tracks[at * self.publishers..(at + 1) * self.publishers];
        let each = tracks.iter().zip(&self.sent);
        each.map(|(track, sent)| track.lost(*sent)).sum()
    }
}

impl Scenario for Fanout {
    fn connections(&self) -> usize {
        self.subscribers
    }

    fn begin(&mut self, stage: &mut Stage, now: u64) {
        for publisher in 0..self.publishers {
            let at = self.subscribers + publisher;
            match self.publish {
                Publish::Ws => stage.crowd.open(at, now),
                Publish::Post => stage.crowd.open_plain(at, now),
            }
        }
    }

    fn opened(&mut self, stage: &mut Stage, _: usize, now: u64) {
        if self.step != Step::Publishers
            || !(0..self.publishers).all(|publisher| self.is_ready(stage, publisher))
        {
            return;
        }
        if self.count.is_some() {
            self.start(stage, now);
            return;
        }
        self.step = Step::RollCall {
            again: now + ROLL_CALL_NS,
            until: now + stage.timeout_ns,
        };
        self.call_the_roll(stage);
    }

    fn message(&mut self, meter: &mut Meter, at: usize, start: &[u8], length: u64, now: u64) {
        let Some(stamp) = self.run.find(start, &mut self.hint) else {
            if self.roll.find(start, &mut self.roll_hint).is_none() {
                meter.other += 1;
            } else if at < self.subscribers && !std::mem::replace(&mut self.has_heard[at], true) {
                self.heard += 1;
            }
            return;
        };
        if at >= self.subscribers {
            meter.publisher_deliveries += 1;
            return;
        }
        let place = at * self.publishers + stamp.publisher as usize;
        let Some(track) = self.tracks.get_mut(place) else {
            meter.other += 1;
            return;
        };
        match track.see(stamp.number) {
            Arrival::Next => {}
            Arrival::Late => meter.out_of_order += 1,
            Arrival::Again => {
                meter.duplicate += 1;
                return;
            }
        }
        self.waiting = self.waiting.saturating_sub(1);
        self.last = now;
        if meter.is_measuring() {
            meter.deliveries += 1;
            meter.bytes += length;
            meter.record(now.saturating_sub(stamp.at), 1, now);
        }
    }

    fn has_read(&mut self, stage: &mut Stage, _: usize, now: u64) {
        if let Step::RollCall { .. } = self.step
            && self.heard >= stage.crowd.open.min(self.subscribers) as u64
            && self.unanswered == 0
        {
            self.start(stage, now);
        } else {
            self.go_on(stage, now);
        }
    }

    fn answered(&mut self, stage: &mut Stage, at: usize, status: u16, now: u64) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if !(200..300).contains(&status) {
            stage.meter.faults.add(Fault::Status(status));
            self.gave_up.get_or_insert(now);
        }
        self.has_read(stage, at, now);
    }

    fn ended(&mut self, stage: &mut Stage, at: usize, now: u64) {
        if at >= self.subscribers {
            self.gave_up.get_or_insert(now);
        } else if std::mem::take(&mut self.is_listening[at]) {
            let lost = self.lost_to(at);
            stage.meter.lost += lost;
            self.waiting = self.waiting.saturating_sub(lost);
            self.listening -= 1;
        }
    }

    fn tick(&mut self, stage: &mut Stage, now: u64) -> u64 {
        match self.step {
            Step::Publishers => return u64::MAX,
            Step::RollCall { until, .. } if now >= until => {
                // Whoever has not heard anything by now is counted by what it loses.
                self.start(stage, now);
            }
            Step::RollCall { again, until } if now >= again => {
                self.step = Step::RollCall {
                    again: now + ROLL_CALL_NS,
                    until,
                };
                self.call_the_roll(stage);
                return now + ROLL_CALL_NS;
            }
            Step::RollCall { again, .. } => return again,
            Step::Publishing => {}
        }
        if stage.meter.is_over() {
            self.over_since.get_or_insert(now);
            return u64::MAX;
        }
        let Some(mut pace) = self.pace else {
            // A subscriber that ended may have been the last one waited for.
            self.go_on(stage, now);
            return u64::MAX;
        };
        for _ in 0..BATCH_MAX {
            if self.gave_up.is_some() || self.count.is_some_and(|count| self.published >= count) {
                return u64::MAX;
            }
            let Some(due) = pace.take(now) else {
                self.pace = Some(pace);
                return pace.next();
            };
            // The rest of a burst is due with its first, or the rate would not hold.
            let others = self.burst.min(
                self.count
                    .map_or(self.burst, |count| count - self.published),
            );
            self.publish_burst(stage, |_| due);
            pace.skip(others.saturating_sub(1));
        }
        self.pace = Some(pace);
        now
    }

    fn sweep(&mut self, stage: &mut Stage, now: u64) {
        let is_waiting = self.waiting > 0 || self.unanswered > 0;
        let is_late = now.saturating_sub(self.last) > stage.timeout_ns;
        if self.step == Step::Publishing && is_waiting && is_late && self.gave_up.is_none() {
            stage.meter.faults.add(Fault::TimeOut);
            self.gave_up = Some(now);
        }
    }

    fn is_done(&self, stage: &Stage) -> bool {
        let is_late = |since: u64| stage.now() - since > DRAIN_NS.min(stage.timeout_ns);
        let is_over =
            stage.meter.is_over() && (self.waiting == 0 || self.over_since.is_some_and(is_late));
        let has_given_up = |since: u64| stage.now() - since > LAST_NS;
        is_over || self.gave_up.is_some_and(has_given_up) || stage.crowd.open == 0
    }

    fn count_lost(&mut self, stage: &mut Stage) {
        let listening = (0..self.subscribers).filter(|&at| self.is_listening[at]);
        stage.meter.lost += listening.map(|at| self.lost_to(at)).sum::<u64>();
    }

    fn progress(&self) -> Option<(u64, u64)> {
        Some((self.published, self.count?))
    }
}
