//! `idle`: connections that say nothing.
//!
//! They are opened, kept for the duration, and their pings answered. With `--pid` the report says what each costs the
//! server in memory (the first 200 are opened before counting begins, because they pay for what all share) and what
//! it does meanwhile: the processor time of the interval should be next to nothing.

use super::meter::Meter;
use super::scenario::{Scenario, Stage};

/// The scenario.
#[derive(Debug)]
pub(crate) struct Idle {
    connections: usize,
}

impl Idle {
    pub(crate) fn new(connections: usize) -> Self {
        Self { connections }
    }
}

impl Scenario for Idle {
    fn connections(&self) -> usize {
        self.connections
    }

    fn begin(&mut self, stage: &mut Stage, now: u64) {
        // How long opening took is a figure of its own; see the engine.
        stage.meter.begin(now);
    }

    fn message(&mut self, meter: &mut Meter, _: usize, _: &[u8], _: u64, _: u64) {
        meter.other += 1;
    }

    fn tick(&mut self, _: &mut Stage, _: u64) -> u64 {
        u64::MAX
    }

    fn is_done(&self, stage: &Stage) -> bool {
        stage.meter.is_over() || stage.crowd.open == 0
    }
}
