//! What the scenarios have in common, and what the engine calls them for.

use std::time::Instant;

use super::crowd::Crowd;
use super::meter::Meter;

/// Everything a scenario acts on.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The zero of all times, which are nanoseconds.
    pub(crate) begun: Instant,
    pub(crate) crowd: Crowd,
    pub(crate) meter: Meter,
    pub(crate) timeout_ns: u64,
    /// How many were open when the scenario began, and how long opening them took.
    pub(crate) connections: u64,
    pub(crate) opening_ns: u64,
    /// Whether nobody was left when the scenario was done.
    pub(crate) all_are_gone: bool,
}

impl Stage {
    /// Reads the clock.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }
}

/// One kind of load.
///
/// For each connection: `opened`, any number of `message`s and `has_read`s, `ended` if it ends without our doing,
/// and `free` when its place is free again.
pub(crate) trait Scenario {
    /// How many connections the engine opens before `begin`.
    fn connections(&self) -> usize;

    /// They are open.
    fn begin(&mut self, stage: &mut Stage, now: u64);

    /// Connection `at` is open, or connected if it is one for POST.
    fn opened(&mut self, _stage: &mut Stage, _at: usize, _now: u64) {}

    /// A message has come. Nothing is sent here; that is for `has_read`.
    fn message(&mut self, meter: &mut Meter, at: usize, start: &[u8], length: u64, now: u64);

    /// All messages of one read have been told.
    fn has_read(&mut self, _stage: &mut Stage, _at: usize, _now: u64) {}

    /// A POST on connection `at` was answered.
    fn answered(&mut self, _stage: &mut Stage, _at: usize, _status: u16, _now: u64) {}

    /// Connection `at` could not be opened, or the server has ended it; the fault has been counted.
    fn ended(&mut self, _stage: &mut Stage, _at: usize, _now: u64) {}

    /// Place `at` is free.
    fn free(&mut self, _stage: &mut Stage, _at: usize, _now: u64) {}

    /// Does what is due; answers when something will be.
    fn tick(&mut self, stage: &mut Stage, now: u64) -> u64;

    /// Once a second: gives up on what has waited too long.
    fn sweep(&mut self, _stage: &mut Stage, _now: u64) {}

    /// Nothing more is to come.
    fn is_done(&self, stage: &Stage) -> bool;

    /// The connections are about to be closed; nothing is to be opened again.
    fn stop(&mut self) {}

    /// Whether nobody is there any more.
    fn is_alone(&self, stage: &Stage) -> bool {
        stage.crowd.open == 0
    }

    /// Counts what has not come. Called once, before the connections are closed.
    fn count_lost(&mut self, _stage: &mut Stage) {}

    /// Done and wanted, when the run has a count.
    fn progress(&self) -> Option<(u64, u64)> {
        None
    }
}
