//! What a process has used: processor time and memory, as Linux tells it in `/proc`.
//!
//! | from | what |
//! | --- | --- |
//! | `task/*/schedstat` | nanoseconds on a core and nanoseconds waiting for one, of each thread |
//! | `stat` | how much of it was user and how much system time, in hundredths of a second |
//! | `status` | resident memory, and how much of it is the process's own (anonymous) |
//!
//! The rule: a figure that cannot be had is absent, never zero. Threads that end during a run take their time with
//! them, so a server that starts a thread per connection is measured too low; a note in the report says so.

use std::collections::BTreeMap;
use std::{fs, io};

/// A process at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// Nanoseconds on a core and waiting for one, by thread.
    threads: BTreeMap<u32, (u64, u64)>,
    user_ns: u64,
    system_ns: u64,
    pub(crate) rss_bytes: u64,
    pub(crate) anonymous_bytes: u64,
}

/// What a process used between two moments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_ns: u64,
    pub(crate) user_ns: u64,
    pub(crate) system_ns: u64,
    /// Ready to run, but no core was free.
    pub(crate) waited_ns: u64,
    /// The thread that ran longest: how long, and how long it waited.
    pub(crate) busiest: (u64, u64),
    pub(crate) threads: u64,
    pub(crate) threads_ended: bool,
}

/// One hundredth of a second, the unit of `stat` on every Linux.
const TICK_NS: u64 = 10_000_000;

impl Snapshot {
    /// Of the process with this number, or `self`.
    ///
    /// # Errors
    /// There is no such process, or no `/proc`.
    pub(crate) fn take(process: &str) -> io::Result<Self> {
        let mut snapshot = Self::default();
        for entry in fs::read_dir(format!("/proc/{process}/task"))? {
            let path = entry?.path();
            // A thread may end while this looks at it.
            let Ok(text) = fs::read_to_string(path.join("schedstat")) else {
                continue;
            };
            let mut numbers = text.split_whitespace().filter_map(|n| n.parse().ok());
            let id = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            if let (Some(id), Some(ran), Some(waited)) = (id, numbers.next(), numbers.next()) {
                snapshot.threads.insert(id, (ran, waited));
            }
        }
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name may hold spaces and brackets, so count from its end.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut ticks = fields
            .split_whitespace()
            .skip(11)
            .map(|n| n.parse().unwrap_or(0));
        snapshot.user_ns = ticks.next().unwrap_or(0) * TICK_NS;
        snapshot.system_ns = ticks.next().unwrap_or(0) * TICK_NS;
        (snapshot.rss_bytes, snapshot.anonymous_bytes) = memory(process)?;
        Ok(snapshot)
    }

    /// What was used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Usage {
        let mut usage = Usage {
            user_ns: self.user_ns.saturating_sub(before.user_ns),
            system_ns: self.system_ns.saturating_sub(before.system_ns),
            threads: self.threads.len() as u64,
            threads_ended: before
                .threads
                .keys()
                .any(|id| !self.threads.contains_key(id)),
            ..Usage::default()
        };
        for (id, (ran, waited)) in &self.threads {
            let (ran_before, waited_before) = before.threads.get(id).copied().unwrap_or_default();
            let ran = ran.saturating_sub(ran_before);
            let waited = waited.saturating_sub(waited_before);
            usage.cpu_ns += ran;
            usage.waited_ns += waited;
            usage.busiest = usage.busiest.max((ran, waited));
        }
        usage
    }
}

/// Resident and anonymous memory in bytes.
///
/// # Errors
/// There is no such process, or no `/proc`.
pub(crate) fn memory(process: &str) -> io::Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let bytes = |name| field(name).unwrap_or(0) * 1024;
    Ok((bytes("VmRSS:"), bytes("RssAnon:")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_and_nobody_is_an_error() {
        let before = Snapshot::take("self").unwrap();
        let mut sum = 0_u64;
        // Until the scheduler's clock has moved, however fast the machine.
        let usage = loop {
            for i in 0..1_000_000_u64 {
                sum = std::hint::black_box(sum ^ i);
            }
            let usage = Snapshot::take("self").unwrap().since(&before);
            if usage.cpu_ns > 1_000_000 {
                break usage;
            }
        };
        assert!(usage.busiest.0 > 0 && usage.threads > 0);
        assert!(before.rss_bytes >= before.anonymous_bytes && before.anonymous_bytes > 0);
        assert!(Snapshot::take("0").is_err());
    }
}
