//! `echo`: each message comes back.
//!
//! Without `--rate`, in windows: each connection sends `--pipeline` messages in one write, and when all of them are
//! back, the next window. So a server can take and answer them together, and its latency is that from the write of the
//! window to the read of each answer. With `--rate`, messages are due at fixed moments, one connection after the other.
//!
//! The windows are the same for all connections and made once: two of them, so that an answer that comes twice or not
//! at all shows even at the border. Their masking keys are random, but not fresh for each message: the server must
//! unmask all the same, and this end costs next to nothing. With `--deflate` there are two more, compressed, for the
//! connections that agreed to it.

use super::fault::Fault;
use super::meter::Meter;
use super::options::{Length, Options};
use super::pace::Pace;
use super::scenario::{Scenario, Stage};
use super::stamp::{Arrival, Run, Stamp, Template, Track};

/// Sends at one tick, at most, so that reading does not wait for a backlog.
const BATCH_MAX: usize = 4096;
/// How long the last answers are waited for when the time is up.
const DRAIN_NS: u64 = 5_000_000_000;

/// One connection's conversation.
#[derive(Debug, Default)]
struct Talk {
    track: Track,
    sent: u64,
    /// How many may be sent yet, when there is a count.
    left: u64,
    /// Of those sent, how many have not come back; of the last read, how many have.
    waiting: u64,
    fresh: u64,
    /// When the window went out.
    at: u64,
    heard: u64,
    is_dead: bool,
}

/// The scenario.
#[derive(Debug)]
pub(crate) struct Echo {
    connections: usize,
    run: Run,
    hint: usize,
    template: Template,
    depth: u64,
    rate: Option<u64>,
    pace: Option<Pace>,
    count: Option<u64>,
    talks: Vec<Talk>,
    /// Where each frame of the windows begins, and where the last one ends: plain, then compressed.
    frames: Vec<usize>,
    /// Whose turn it is, at a rate.
    turn: usize,
    /// Sent at a rate.
    sent: u64,
    /// Sent and not yet back, all connections together.
    waiting: u64,
    back: u64,
    /// Of a count, what nobody will send or get back, because its connection has ended.
    missed: u64,
    /// When the time was up.
    over_since: Option<u64>,
}

impl Echo {
    pub(crate) fn new(options: &Options, run: Run) -> Self {
        let template = Template::new(&run, options.payload, options.binary, options.filler);
        let count = match options.length {
            Length::Count(count) => Some(count),
            Length::For(_) => None,
        };
        Self {
            connections: options.connections,
            run,
            hint: 0,
            template,
            depth: options.pipeline,
            rate: options.rate,
            pace: None,
            count,
            talks: (0..options.connections).map(|_| Talk::default()).collect(),
            frames: Vec::new(),
            turn: 0,
            sent: 0,
            waiting: 0,
            back: 0,
            missed: 0,
            over_since: None,
        }
    }

    /// Makes the two windows, and with `--deflate` the same two compressed.
    fn make_windows(&mut self, stage: &mut Stage) {
        let mut windows = Vec::new();
        self.frames = vec![0];
        let kinds = if stage.crowd.agreed > 0 { 2 } else { 1 };
        for place in 0..kinds * 2 * self.depth {
            let mask = stage.crowd.mask_key();
            let stamp = Stamp {
                publisher: 0,
                number: place % (2 * self.depth),
                at: 0,
            };
            match &mut stage.crowd.deflate {
                Some(deflate) if place >= 2 * self.depth => {
                    deflate.encode(&mut windows, &mut self.template, stamp, mask);
                }
                _ => self.template.encode(&mut windows, stamp, mask),
            }
            self.frames.push(windows.len());
        }
        stage.crowd.windows = windows;
    }

    fn send_window(&mut self, stage: &mut Stage, at: usize, now: u64) {
        let talk = &mut self.talks[at];
        let size = match self.count {
            Some(_) => self.depth.min(talk.left),
            None => self.depth,
        };
        if size == 0 || stage.meter.is_over() {
            return;
        }
        let turn = 2 * self.depth;
        let kind = u64::from(stage.crowd.is_deflating(at));
        let first = (kind * turn + talk.sent % turn) as usize;
        let part = self.frames[first]..self.frames[first + size as usize];
        talk.sent += size;
        talk.left = talk.left.saturating_sub(size);
        talk.waiting = size;
        talk.at = now;
        self.waiting += size;
        stage.crowd.send_window(at, part);
    }

    /// Ends the measured interval if a count has been reached, or as much of it as can be.
    fn finish_count(&self, stage: &mut Stage, now: u64) {
        let done = self.back + self.missed;
        if self.count.is_some_and(|count| done >= count) {
            stage.meter.finish(now);
        }
    }

    /// The number of a message in a window, counted from the first message of its connection.
    fn unwound(&self, number: u64, next: u64) -> Option<u64> {
        let turn = 2 * self.depth;
        let ahead = (number + turn - next % turn) % turn;
        if ahead < self.depth {
            Some(next + ahead)
        } else {
            (next + ahead).checked_sub(turn)
        }
    }
}

impl Scenario for Echo {
    fn connections(&self) -> usize {
        self.connections
    }

    fn begin(&mut self, stage: &mut Stage, now: u64) {
        let open: Vec<_> = (0..self.connections)
            .filter(|&at| stage.crowd.is_open(at))
            .collect();
        for (i, &at) in open.iter().enumerate() {
            let (n, i) = (open.len() as u64, i as u64);
            // At a rate nobody has a share of its own: whose turn it is, sends.
            let count = self.count.filter(|_| self.rate.is_none()).unwrap_or(0);
            self.talks[at].left = count / n + u64::from(i < count % n);
            self.talks[at].heard = now;
        }
        self.make_windows(stage);
        stage.meter.begin(now);
        if let Some(rate) = self.rate {
            self.pace = Some(Pace::new(rate, now));
            return;
        }
        for at in open {
            let now = stage.now();
            self.send_window(stage, at, now);
        }
    }

    fn message(&mut self, meter: &mut Meter, at: usize, start: &[u8], length: u64, now: u64) {
        let talk = &self.talks[at];
        let next = talk.track.next();
        let arrival = if self.template.has_stamp() {
            let Some(stamp) = self.run.find(start, &mut self.hint) else {
                meter.other += 1;
                return;
            };
            let number = match self.pace {
                Some(_) => Some(stamp.number),
                None => self.unwound(stamp.number, next),
            };
            let track = &mut self.talks[at].track;
            let arrival = number.map_or(Arrival::Again, |number| track.see(number));
            if self.pace.is_some() && arrival != Arrival::Again {
                meter.record(now.saturating_sub(stamp.at), 1, now);
            }
            arrival
        } else if talk.fresh < talk.waiting {
            self.talks[at].track.see(next)
        } else {
            Arrival::Again
        };
        if length != self.template.len() as u64 {
            meter.faults.add(Fault::Altered);
        }
        match arrival {
            Arrival::Next => {}
            Arrival::Late => meter.out_of_order += 1,
            Arrival::Again => {
                meter.duplicate += 1;
                return;
            }
        }
        self.talks[at].fresh += 1;
    }

    fn has_read(&mut self, stage: &mut Stage, at: usize, now: u64) {
        let Some(talk) = self.talks.get_mut(at) else {
            return;
        };
        let fresh = std::mem::take(&mut talk.fresh);
        if fresh == 0 || talk.is_dead {
            return;
        }
        talk.heard = now;
        talk.waiting = talk.waiting.saturating_sub(fresh);
        self.waiting = self.waiting.saturating_sub(fresh);
        self.back += fresh;
        if stage.meter.is_measuring() {
            stage.meter.messages += fresh;
            stage.meter.deliveries += fresh;
            stage.meter.bytes += fresh * self.template.len() as u64;
        }
        if self.pace.is_none() {
            stage.meter.record(now.saturating_sub(talk.at), fresh, now);
            if talk.waiting == 0 {
                self.send_window(stage, at, now);
            }
        }
        self.finish_count(stage, now);
    }

    fn ended(&mut self, stage: &mut Stage, at: usize, now: u64) {
        if let Some(talk) = self.talks.get_mut(at)
            && !std::mem::replace(&mut talk.is_dead, true)
        {
            self.waiting = self.waiting.saturating_sub(talk.waiting);
            self.missed += talk.left + talk.waiting;
            self.finish_count(stage, now);
        }
    }

    fn tick(&mut self, stage: &mut Stage, now: u64) -> u64 {
        if stage.meter.is_over() {
            self.over_since.get_or_insert(now);
            return u64::MAX;
        }
        let Some(pace) = &mut self.pace else {
            return u64::MAX;
        };
        for _ in 0..BATCH_MAX {
            if self.count.is_some_and(|count| self.sent >= count) {
                return u64::MAX;
            }
            let Some(due) = pace.take(now) else {
                return pace.next();
            };
            let alive = (0..self.talks.len())
                .map(|i| (self.turn + i) % self.talks.len())
                .find(|&at| stage.crowd.is_open(at));
            let Some(at) = alive else {
                return u64::MAX;
            };
            self.turn = at + 1;
            let talk = &mut self.talks[at];
            let stamp = Stamp {
                publisher: 0,
                number: talk.sent,
                at: due,
            };
            if talk.waiting == 0 {
                talk.heard = now;
            }
            talk.sent += 1;
            talk.waiting += 1;
            self.sent += 1;
            self.waiting += 1;
            stage.crowd.put(at, &mut self.template, stamp);
            stage.crowd.flush(at);
        }
        now
    }

    fn sweep(&mut self, stage: &mut Stage, now: u64) {
        for (at, talk) in self.talks.iter().enumerate() {
            let is_late = now.saturating_sub(talk.heard) > stage.timeout_ns;
            if talk.waiting > 0 && is_late && stage.crowd.is_open(at) {
                stage.crowd.broken.push((at, Fault::TimeOut));
            }
        }
    }

    fn is_done(&self, stage: &Stage) -> bool {
        let is_late = |since: u64| stage.now() - since > DRAIN_NS.min(stage.timeout_ns);
        stage.crowd.open == 0
            || (stage.meter.is_over()
                && (self.waiting == 0 || self.over_since.is_some_and(is_late)))
    }

    fn count_lost(&mut self, stage: &mut Stage) {
        for talk in &self.talks {
            stage.meter.lost += talk.track.lost(talk.sent);
        }
    }

    fn progress(&self) -> Option<(u64, u64)> {
        Some((self.back, self.count?))
    }
}
