//! What channels keep, on its way to a log and back (feature `history-log`): see `hub/journal.rs`.

use super::transport::Transport;
use super::worker::Worker;
use crate::hub::{Batch, Restored};
use crate::journal::{Record, Salt};
use crate::time::Now;

impl<T: Transport> Worker<T> {
    /// Takes back what was logged before; everything in its turn, before the first connection.
    pub(crate) fn restore(&mut self, record: &Record<'_>, now: Now) -> Restored {
        self.core.set_time(now);
        self.core.hub.restore(record)
    }

    /// Channels with a history, and publications in all of them.
    pub(crate) fn restored(&self) -> (usize, usize) {
        (self.core.hub.channels(), self.core.hub.kept())
    }

    /// From now on, what is kept is to be logged.
    pub(crate) fn keep_journal(&mut self, salt: Salt) {
        self.core.hub.keep_journal(salt);
    }

    /// Takes what is to be logged, after each turn.
    pub(crate) fn take_batch(&mut self) -> Option<Batch> {
        self.core.hub.take_batch()
    }

    /// So many bytes of what was taken wait to be written, and so many publications of it were given up.
    pub(crate) fn note_journal(&mut self, waiting: usize, lost: u64) {
        self.core.hub.note_journal_waiting(waiting);
        self.core.hub.metrics.history_log_lost_total += lost;
    }

    /// The last batch before the end: where every channel stands.
    pub(crate) fn last_batch(&mut self) -> Option<Batch> {
        self.core.hub.log_heads();
        self.core.hub.take_batch()
    }
}
