//! `connect`: connections that come, shake hands, and go.
//!
//! ```text
//!   each of N places:  connect ─▶ upgrade, as a browser asks ─▶ 101 ─▶ close frame ─▶ its answer ─▶ end ─┐
//!                         ▲                                                                             │
//!                         └─────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Latency is the time from the beginning of the connect to the 101. One connection counts when it is over, so the
//! processor time per connection has the whole of its life in it.

use super::meter::Meter;
use super::options::{Length, Options};
use super::scenario::{Scenario, Stage};
use crate::ws::CloseCode;

/// The scenario.
#[derive(Debug)]
pub(crate) struct Connect {
    places: usize,
    count: Option<u64>,
    begun: u64,
    done: u64,
    /// Which of them have been open.
    was_open: Vec<bool>,
    has_stopped: bool,
    in_a_row: u64,
}

/// So many failures in a row, and the run ends: there is nobody.
const FAILED_MAX: u64 = 100;

impl Connect {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            places: options.connections,
            count: match options.length {
                Length::Count(count) => Some(count),
                Length::For(_) => None,
            },
            begun: 0,
            done: 0,
            was_open: vec![false; options.connections],
            has_stopped: false,
            in_a_row: 0,
        }
    }

    fn next(&mut self, stage: &mut Stage, at: usize, now: u64) {
        let is_enough = self.count.is_some_and(|count| self.begun >= count);
        if !is_enough && !self.has_stopped && !stage.meter.is_over() && self.in_a_row < FAILED_MAX {
            self.begun += 1;
            stage.crowd.open(at, now);
        }
    }
}

impl Scenario for Connect {
    fn connections(&self) -> usize {
        0
    }

    fn begin(&mut self, stage: &mut Stage, now: u64) {
        stage.meter.begin(now);
        for at in 0..self.places {
            self.next(stage, at, now);
        }
    }

    fn opened(&mut self, stage: &mut Stage, at: usize, now: u64) {
        self.was_open[at] = true;
        let dialled = stage.crowd.members[at].dialled;
        stage.meter.record(now.saturating_sub(dialled), 1, now);
        stage.crowd.close(at, CloseCode::NORMAL, now);
    }

    fn message(&mut self, meter: &mut Meter, _: usize, _: &[u8], _: u64, _: u64) {
        meter.other += 1;
    }

    fn free(&mut self, stage: &mut Stage, at: usize, now: u64) {
        self.done += 1;
        if std::mem::take(&mut self.was_open[at]) {
            self.in_a_row = 0;
            if stage.meter.is_measuring() {
                stage.meter.connects += 1;
            }
        } else {
            self.in_a_row += 1;
        }
        if self.count.is_some_and(|count| self.done >= count) {
            stage.meter.finish(now);
        }
        self.next(stage, at, now);
    }

    fn stop(&mut self) {
        self.has_stopped = true;
    }

    fn tick(&mut self, _: &mut Stage, _: u64) -> u64 {
        u64::MAX
    }

    fn is_done(&self, stage: &Stage) -> bool {
        stage.meter.is_over() || self.in_a_row >= FAILED_MAX
    }

    fn is_alone(&self, stage: &Stage) -> bool {
        self.in_a_row >= FAILED_MAX || stage.meter.connects == 0
    }

    fn progress(&self) -> Option<(u64, u64)> {
        Some((self.done, self.count?))
    }
}
