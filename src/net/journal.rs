//! The log of histories on disk: read before the first connection, written by a thread of its own (feature `history-log`).
//!
//! ```text
//!   loop ──▶ queue, bounded by the hub ──▶ thread: write, and once in `sync_ms` fdatasync
//!     ▲                                      │
//!     └── what still waits, what went wrong ─┘   (the waker, when something did)
//! ```
//!
//! **The loop touches no file.** A disk that is slow costs memory up to a bound and then places in the log; one that fails
//! costs places in the log; publications are told to nobody later for it. What could not be written is tried again
//! every second, in a new segment, so nothing stands behind a record that is half there.
//!
//! **A process begins a segment of its own** and changes no older one, but for cutting off what is torn at the end of
//! the last. Segments go whole: when everything in them is too old, or, the oldest first, when the log would have more bytes
//! than it may. The folder is locked while the server runs.

mod segments;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;

use self::segments::Segments;
use super::driver::unix_ms;
use crate::hub::Batch;
use crate::journal::whole_records;
use crate::server::{Notice, Transport, Worker};
use crate::time::Now;

/// Where histories are logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLog {
    /// The folder. It is made if it is not there, for this user alone.
    pub path: PathBuf,
    /// How long a publication may be written and not be safe from a crash of the machine, in milliseconds.
    pub sync_ms: u64,
    /// Most bytes of the whole log.
    pub disk_bytes_max: u64,
}

impl HistoryLog {
    /// A log in this folder: synced every 50 ms, of at most 128 MiB.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            sync_ms: 50,
            disk_bytes_max: 128 << 20,
        }
    }
}

/// What writing rests after it has failed.
const REST: Duration = Duration::from_secs(1);
/// How long the end waits for a disk that may be stuck.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);
const KIND: &str = "history_log";

/// The loop's end.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    /// Until the first batch: threads begin after the sandbox.
    writer: Option<Writer>,
    /// What is to be said at the beginning.
    notices: Vec<Notice>,
}

/// What lies between the loop and the thread. Locked while something is moved, never while something is written.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    /// Of these, and of those that the thread has taken and not yet written.
    waiting: usize,
    /// Publications that were given up.
    lost: u64,
    notices: Vec<String>,
    /// Nothing is to come any more.
    closed: bool,
    /// Everything is written, or was given up.
    finished: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal {
    /// Reads the log into the worker, whose routes are all there, and makes ready for more.
    pub(crate) fn open<T: Transport>(
        settings: &HistoryLog,
        worker: &mut Worker<T>,
        now: Now,
    ) -> io::Result<Self> {
        let (segments, notices) = Segments::open(settings, worker, now)?;
        Ok(Self {
            shared: Arc::default(),
            writer: Some(Writer {
                segments,
                sync: Duration::from_millis(settings.sync_ms),
                unsynced: None,
                failing: false,
                missing: 0,
                waker: None,
            }),
            notices,
        })
    }

    /// What is to be said at the beginning; the thread will wake the loop when it has something to say.
    pub(crate) fn begin(&mut self, waker: Arc<Waker>) -> Vec<Notice> {
        if let Some(writer) = &mut self.writer {
            writer.waker = Some(waker);
        }
        std::mem::take(&mut self.notices)
    }

    /// Before a turn: what was written meanwhile waits no more. Answers what went wrong.
    pub(crate) fn look<T: Transport>(&mut self, worker: &mut Worker<T>) -> Vec<Notice> {
        self.pass(worker, None)
    }

    /// After a turn: what it has kept is handed over. Likewise.
    pub(crate) fn turn<T: Transport>(&mut self, worker: &mut Worker<T>) -> Vec<Notice> {
        match worker.take_batch() {
            None => Vec::new(),
            batch => self.pass(worker, batch),
        }
    }

    fn pass<T: Transport>(&mut self, worker: &mut Worker<T>, batch: Option<Batch>) -> Vec<Notice> {
        if batch.is_some() {
            self.start();
        }
        let mut state = self.shared.state();
        if let Some(batch) = batch {
            state.waiting += batch.bytes.len();
            state.batches.push_back(batch);
            if state.batches.len() == 1 {
                self.shared.changed.notify_one();
            }
        }
        worker.note_journal(state.waiting, std::mem::take(&mut state.lost));
        let notices = std::mem::take(&mut state.notices);
        drop(state);
        notices.into_iter().map(notice).collect()
    }

    fn start(&mut self) {
        let Some(writer) = self.writer.take() else {
            return;
        };
        let shared = self.shared.clone();
        let thread = thread::Builder::new().name("dunlin-history".to_owned());
        if thread.spawn(move || writer.run(&shared)).is_err() {
            // Nobody writes: what waits is too much some time, and is counted then.
            let why = "histories are not logged: the system gives no thread".to_owned();
            self.shared.state().notices.push(why);
        }
    }

    /// The end: where every channel stands is written too, and all of it is made safe.
    pub(crate) fn finish<T: Transport>(&mut self, worker: &mut Worker<T>) -> Vec<Notice> {
        let last = worker.last_batch();
        let mut notices = self.pass(worker, last);
        if self.writer.is_some() {
            return notices; // There was never anything to write.
        }
        let mut state = self.shared.state();
        state.closed = true;
        self.shared.changed.notify_all();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, FINISH_TIMEOUT, |s| !s.finished);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !state.finished {
            let bytes = state.waiting;
            notices.push(notice(format!(
                "the disk takes too long: {bytes} bytes of histories may be missing in their log"
            )));
        }
        notices.extend(state.notices.drain(..).map(notice));
        notices
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_all();
    }
}

fn notice(text: String) -> Notice {
    Notice { kind: KIND, text }
}

/// The thread's end.
struct Writer {
    segments: Segments,
    sync: Duration,
    /// The oldest write that is not safe yet.
    unsynced: Option<Instant>,
    failing: bool,
    /// Publications given up since that began.
    missing: u64,
    waker: Option<Arc<Waker>>,
}

impl Writer {
    fn run(mut self, shared: &Shared) {
        loop {
            let (batches, closed) = self.take(shared);
            for batch in batches {
                self.write(shared, &batch);
                shared.state().waiting -= batch.bytes.len();
            }
            if self.unsynced.is_some_and(|t| t.elapsed() >= self.sync) || closed {
                self.unsynced = None;
                if let Err(error) = self.segments.sync() {
                    self.note_failure(shared, &error);
                }
            }
            self.segments.forget_old(unix_ms());
            if closed && shared.state().batches.is_empty() {
                // Whoever waits for it may open the log again.
                drop(self);
                shared.state().finished = true;
                return shared.changed.notify_all();
            }
        }
    }

    /// What there is to write, once there is something, or a sync or a segment is due.
    fn take(&self, shared: &Shared) -> (VecDeque<Batch>, bool) {
        let sync = self
            .unsynced
            .map(|since| self.sync.saturating_sub(since.elapsed()));
        let old = self.segments.next_old_ms();
        let old = old.map(|at| Duration::from_millis(at.saturating_sub(unix_ms()).max(1)));
        let wait = [sync, old].into_iter().flatten().min();
        let mut state = shared.state();
        if state.batches.is_empty() && !state.closed {
            let waited = shared
                .changed
                .wait_timeout(state, wait.unwrap_or(Duration::MAX));
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        (std::mem::take(&mut state.batches), state.closed)
    }

    /// Writes a batch, and tries again until it is written or the server ends.
    fn write(&mut self, shared: &Shared, batch: &Batch) {
        let mut rest = batch.bytes.as_slice();
        while !rest.is_empty() {
            let whole = whole_records(rest, self.segments.room());
            let (now, later) = rest.split_at(whole.max(1).min(rest.len()));
            match self.segments.write(now, batch.until_unix_ms, unix_ms()) {
                Ok(()) => {
                    rest = later;
                    self.unsynced.get_or_insert_with(Instant::now);
                    if std::mem::take(&mut self.failing) {
                        let text = match std::mem::take(&mut self.missing) {
                            0 => "histories are logged again".to_owned(),
                            n => format!("histories are logged again, without {n} publications"),
                        };
                        self.say(shared, text, 0);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    // It is more than the whole log may have.
                    rest = later;
                    self.note_lost(shared, 1, &error);
                }
                Err(error) => {
                    self.note_failure(shared, &error);
                    if self.rest(shared) {
                        let mut lost = 0;
                        while !rest.is_empty() {
                            lost += 1;
                            rest = rest.split_at(whole_records(rest, 0).max(1)).1;
                        }
                        return self.note_lost(shared, lost, &error);
                    }
                }
            }
        }
    }

    /// Waits before the next attempt; `true`: there is none, for the server ends.
    fn rest(&self, shared: &Shared) -> bool {
        let state = shared.state();
        let waited = shared
            .changed
            .wait_timeout_while(state, REST, |state| !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    fn note_failure(&mut self, shared: &Shared, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            let text = format!(
                "cannot write to {}: {error}; publications go on, and what finds no room is not logged",
                self.segments.folder().display()
            );
            self.say(shared, text, 0);
        }
    }

    fn note_lost(&mut self, shared: &Shared, count: u64, error: &io::Error) {
        self.missing += count;
        let text = format!("{count} publications are not in the log of histories: {error}");
        self.say(shared, text, count);
    }

    fn say(&self, shared: &Shared, text: String, lost: u64) {
        let mut state = shared.state();
        state.lost += lost;
        // Nobody may be there to take them.
        if state.notices.len() < 16 {
            state.notices.push(text);
        }
        drop(state);
        if let Some(waker) = &self.waker {
            _ = waker.wake();
        }
    }
}
