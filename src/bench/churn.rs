//! `churn`: connections that talk a little while some of them are replaced all the time.
//!
//! At the rate of `--rate` a connection closes as it should, and another one is opened in its place. At the rate of
//! `--trickle` messages are sent on the others and come back; their latency shows what those who stay notice of those
//! who come and go.

use super::fault::Fault;
use super::meter::Meter;
use super::options::Options;
use super::pace::Pace;
use super::scenario::{Scenario, Stage};
use super::stamp::{Arrival, Run, Stamp, Template, Track};
use crate::ws::CloseCode;

/// Steps at one tick, at most, so that reading does not wait for a backlog.
const BATCH_MAX: usize = 1024;
/// How long the last answers are waited for when the time is up.
const DRAIN_NS: u64 = 5_000_000_000;

/// One place and who holds it.
#[derive(Debug, Default)]
struct Place {
    track: Track,
    sent: u64,
    waiting: u64,
    heard: u64,
}

/// The scenario.
#[derive(Debug)]
pub(crate) struct Churn {
    connections: usize,
    replaced_per_second: u64,
    messages_per_second: u64,
    run: Run,
    hint: usize,
    template: Template,
    places: Vec<Place>,
    /// The paces of replacing and of messages.
    paces: Option<(Pace, Pace)>,
    turn: usize,
    next: usize,
    over_since: Option<u64>,
    has_stopped: bool,
    /// Attempts to open that have failed, without one between them that has not.
    in_a_row: u64,
}

/// So many failures in a row, and nothing is opened any more: there is nobody.
const FAILED_MAX: u64 = 100;

impl Churn {
    pub(crate) fn new(options: &Options, run: Run) -> Self {
        let places = 0..options.connections;
        Self {
            connections: options.connections,
            replaced_per_second: options.rate.unwrap_or(1),
            messages_per_second: options.trickle,
            template: Template::new(&run, options.payload, options.binary, options.filler),
            run,
            hint: 0,
            places: places.map(|_| Place::default()).collect(),
            paces: None,
            turn: 0,
            next: 0,
            over_since: None,
            has_stopped: false,
            in_a_row: 0,
        }
    }

    /// Closes the next connection on which no answer is awaited.
    fn replace(&mut self, stage: &mut Stage, now: u64) {
        let found = (0..self.connections)
            .map(|i| (self.turn + i) % self.connections)
            .find(|&at| stage.crowd.is_open(at) && self.places[at].waiting == 0);
        if let Some(at) = found {
            self.turn = at + 1;
            stage.crowd.close(at, CloseCode::NORMAL, now);
        }
    }

    /// Sends a message that was due at `due` on the next open connection.
    fn send(&mut self, stage: &mut Stage, due: u64, now: u64) {
        let found = (0..self.connections)
            .map(|i| (self.next + i) % self.connections)
            .find(|&at| stage.crowd.is_open(at));
        let Some(at) = found else {
            return;
        };
        self.next = at + 1;
        let place = &mut self.places[at];
        if place.waiting == 0 {
            place.heard = now;
        }
        let stamp = Stamp {
            publisher: 0,
            number: place.sent,
            at: due,
        };
        place.sent += 1;
        place.waiting += 1;
        let mask = stage.crowd.mask_key();
        self.template.encode(stage.crowd.out(at), stamp, mask);
        stage.crowd.flush(at);
    }

    fn waiting(&self) -> bool {
        self.places.iter().any(|place| place.waiting > 0)
    }
}

impl Scenario for Churn {
    fn connections(&self) -> usize {
        self.connections
    }

    fn begin(&mut self, stage: &mut Stage, now: u64) {
        stage.meter.begin(now);
        self.paces = Some((
            Pace::new(self.replaced_per_second, now),
            Pace::new(self.messages_per_second, now),
        ));
    }

    fn opened(&mut self, stage: &mut Stage, _: usize, _: u64) {
        self.in_a_row = 0;
        if stage.meter.is_measuring() {
            stage.meter.connects += 1;
        }
    }

    fn message(&mut self, meter: &mut Meter, at: usize, start: &[u8], length: u64, now: u64) {
        let Some(stamp) = self.run.find(start, &mut self.hint) else {
            meter.other += 1;
            return;
        };
        let place = &mut self.places[at];
        match place.track.see(stamp.number) {
            Arrival::Next => {}
            Arrival::Late => meter.out_of_order += 1,
            Arrival::Again => {
                meter.duplicate += 1;
                return;
            }
        }
        if length != self.template.len() as u64 {
            meter.faults.add(Fault::Altered);
        }
        place.waiting = place.waiting.saturating_sub(1);
        place.heard = now;
        if meter.is_measuring() {
            meter.messages += 1;
            meter.deliveries += 1;
            meter.bytes += length;
            meter.record(now.saturating_sub(stamp.at), 1, now);
        }
    }

    fn ended(&mut self, _: &mut Stage, _: usize, _: u64) {
        self.in_a_row += 1;
    }

    fn free(&mut self, stage: &mut Stage, at: usize, now: u64) {
        let place = std::mem::take(&mut self.places[at]);
        stage.meter.lost += place.track.lost(place.sent);
        let may_open = !self.has_stopped && self.in_a_row < FAILED_MAX;
        if self.paces.is_some() && may_open && !stage.meter.is_over() {
            stage.crowd.open(at, now);
        }
    }

    fn stop(&mut self) {
        self.has_stopped = true;
    }

    fn tick(&mut self, stage: &mut Stage, now: u64) -> u64 {
        if stage.meter.is_over() {
            self.over_since.get_or_insert(now);
            return u64::MAX;
        }
        let Some((mut replacing, mut talking)) = self.paces else {
            return u64::MAX;
        };
        for _ in 0..BATCH_MAX {
            let (replace, talk) = (replacing.take(now), talking.take(now));
            if replace.is_some() {
                self.replace(stage, now);
            }
            if let Some(due) = talk {
                self.send(stage, due, now);
            }
            if replace.is_none() && talk.is_none() {
                break;
            }
        }
        self.paces = Some((replacing, talking));
        replacing.next().min(talking.next())
    }

    fn sweep(&mut self, stage: &mut Stage, now: u64) {
        for (at, place) in self.places.iter().enumerate() {
            let is_late = now.saturating_sub(place.heard) > stage.timeout_ns;
            if place.waiting > 0 && is_late && stage.crowd.is_open(at) {
                stage.crowd.broken.push((at, Fault::TimeOut));
            }
        }
    }

    fn is_done(&self, stage: &Stage) -> bool {
        let is_late = |since: u64| stage.now() - since > DRAIN_NS.min(stage.timeout_ns);
        let is_over =
            stage.meter.is_over() && (!self.waiting() || self.over_since.is_some_and(is_late));
        is_over || (stage.crowd.open == 0 && stage.crowd.opening == 0)
    }

    fn count_lost(&mut self, stage: &mut Stage) {
        for place in &mut self.places {
            stage.meter.lost += place.track.lost(place.sent);
            *place = Place::default();
        }
    }
}
