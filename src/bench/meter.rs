//! What is measured, and when.
//!
//! ```text
//!   Waiting ──begin──▶ Warming ──warm-up over──▶ Measuring ──duration over, or finish──▶ Over
//!                         └── with a count: no warm-up, measured from the first message to the last
//! ```
//!
//! The rule: throughput, latencies and processor time are those of the same interval. What is lost, twice or out of
//! order counts whenever it happens.

use hdrhistogram::Histogram;

use super::fault::Faults;
use super::options::Length;
use super::process::{Snapshot, Usage, memory};

/// One column of the throughput over time.
pub(crate) const COLUMN_NS: u64 = 100_000_000;
/// A latency is kept up to ten minutes, with three digits.
const LATENCY_MAX_NS: u64 = 600_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Warming { until: u64 },
    Measuring,
    Over,
}

/// Measures one run.
#[derive(Debug)]
pub(crate) struct Meter {
    phase: Phase,
    length: Length,
    warmup_ns: u64,
    since: u64,
    /// When it is over, or was.
    until: u64,
    server: Option<String>,
    before: Snapshots,
    after: Snapshots,
    pub(crate) memory: Memory,
    pub(crate) latency: Histogram<u64>,
    /// What came in each tenth of a second.
    pub(crate) columns: Vec<u64>,
    /// Messages sent and answered, or published; connections in the scenario `connect`.
    pub(crate) messages: u64,
    /// Messages received.
    pub(crate) deliveries: u64,
    /// Bytes of messages received.
    pub(crate) bytes: u64,
    /// What of these came compressed.
    pub(crate) compressed: Compressed,
    /// Connections opened, and those replaced, inside the interval.
    pub(crate) connects: u64,
    /// Messages that are none of ours: greetings, acknowledgements.
    pub(crate) other: u64,
    /// What publishers heard of their own.
    pub(crate) publisher_deliveries: u64,
    pub(crate) lost: u64,
    pub(crate) duplicate: u64,
    pub(crate) out_of_order: u64,
    pub(crate) faults: Faults,
    /// Time spent looking at an empty poll because something was due within the millisecond.
    pub(crate) spun_ns: u64,
    spun_before: u64,
}

#[derive(Debug, Default)]
struct Snapshots {
    own: Option<Snapshot>,
    server: Option<Snapshot>,
}

/// What came compressed: how many messages, their payload on the wire, and what came out.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Compressed {
    pub(crate) messages: u64,
    pub(crate) wire_bytes: u64,
    pub(crate) bytes: u64,
}

/// The server's memory.
#[derive(Debug, Default, Clone)]
pub(crate) struct Memory {
    pub(crate) start: Option<u64>,
    pub(crate) end: Option<u64>,
    pub(crate) peak: Option<u64>,
    /// Anonymous, and open connections: before and after they were opened.
    pub(crate) before_opening: Option<(u64, u64)>,
    pub(crate) after_opening: Option<(u64, u64)>,
}

impl Meter {
    pub(crate) fn new(length: Length, warmup_ns: u64, server: Option<u32>) -> Self {
        let latency = Histogram::new_with_max(LATENCY_MAX_NS, 3);
        Self {
            phase: Phase::Waiting,
            length,
            warmup_ns,
            since: 0,
            until: u64::MAX,
            server: server.map(|pid| pid.to_string()),
            before: Snapshots::default(),
            after: Snapshots::default(),
            memory: Memory::default(),
            latency: latency.expect("the bounds are in order and three digits are allowed"),
            columns: Vec::new(),
            messages: 0,
            deliveries: 0,
            bytes: 0,
            compressed: Compressed::default(),
            connects: 0,
            other: 0,
            publisher_deliveries: 0,
            lost: 0,
            duplicate: 0,
            out_of_order: 0,
            faults: Faults::default(),
            spun_ns: 0,
            spun_before: 0,
        }
    }

    /// A message came compressed.
    pub(crate) fn has_inflated(&mut self, wire_bytes: u64, bytes: u64) {
        if self.is_measuring() {
            self.compressed.messages += 1;
            self.compressed.wire_bytes += wire_bytes;
            self.compressed.bytes += bytes;
        }
    }

    /// The traffic begins.
    pub(crate) fn begin(&mut self, now: u64) {
        match self.length {
            Length::For(_) if self.warmup_ns > 0 => {
                let until = now + self.warmup_ns;
                self.phase = Phase::Warming { until };
            }
            _ => self.measure(now),
        }
    }

    fn measure(&mut self, now: u64) {
        self.phase = Phase::Measuring;
        self.before = self.snapshots();
        self.spun_before = self.spun_ns;
        self.since = now;
        if let Length::For(duration_ns) = self.length {
            self.until = now + duration_ns;
        }
    }

    /// Everything that was to be counted has been.
    pub(crate) fn finish(&mut self, now: u64) {
        match self.phase {
            Phase::Over => return,
            Phase::Measuring => {}
            Phase::Waiting | Phase::Warming { .. } => self.since = now,
        }
        self.after = self.snapshots();
        self.spun_ns -= self.spun_before;
        self.until = now;
        self.phase = Phase::Over;
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: u64) {
        match self.phase {
            Phase::Warming { until } if now >= until => self.measure(now),
            Phase::Measuring if now >= self.until => self.finish(now),
            _ => {}
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn wake(&self) -> u64 {
        match self.phase {
            Phase::Warming { until } => until,
            Phase::Measuring => self.until,
            Phase::Waiting | Phase::Over => u64::MAX,
        }
    }

    pub(crate) fn is_measuring(&self) -> bool {
        self.phase == Phase::Measuring
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// How much of the interval has passed, in thousandths; of a count, the scenario knows.
    pub(crate) fn elapsed_permille(&self, now: u64) -> Option<u64> {
        match (self.phase, self.length) {
            (Phase::Measuring, Length::For(duration_ns)) => {
                Some(now.saturating_sub(self.since).saturating_mul(1000) / duration_ns.max(1))
            }
            _ => None,
        }
    }

    /// The interval in nanoseconds.
    pub(crate) fn interval_ns(&self) -> u64 {
        self.until.saturating_sub(self.since)
    }

    /// So many came with this latency.
    #[inline]
    pub(crate) fn record(&mut self, latency_ns: u64, count: u64, now: u64) {
        if !self.is_measuring() {
            return;
        }
        // Saturating, so it cannot fail for being too long.
        self.latency
            .saturating_record_n(latency_ns.clamp(1, LATENCY_MAX_NS), count);
        let column = (now.saturating_sub(self.since) / COLUMN_NS) as usize;
        if column >= self.columns.len() {
            self.columns.resize(column + 1, 0);
        }
        self.columns[column] += count;
    }

    fn snapshots(&self) -> Snapshots {
        let server = self.server.as_deref();
        Snapshots {
            own: Snapshot::take("self").ok(),
            server: server.and_then(|process| Snapshot::take(process).ok()),
        }
    }

    /// The server's memory right now, with so many connections open.
    pub(crate) fn look_at_memory(&mut self, moment: Moment, connections: usize) {
        let Some((rss, anonymous)) = self.server.as_deref().and_then(|p| memory(p).ok()) else {
            return;
        };
        let seen = Some((anonymous, connections as u64));
        match moment {
            Moment::Start => {
                self.memory.start = Some(rss);
                self.memory.before_opening = seen;
            }
            Moment::FirstOpen => self.memory.before_opening = seen,
            Moment::Open => self.memory.after_opening = seen,
            Moment::Meanwhile => {}
            Moment::End => self.memory.end = Some(rss),
        }
        self.memory.peak = self.memory.peak.max(Some(rss));
    }

    /// What the server and this program used in the interval.
    pub(crate) fn usage(&self) -> (Option<Usage>, Option<Usage>) {
        let between = |before: &Option<Snapshot>, after: &Option<Snapshot>| {
            Some(after.as_ref()?.since(before.as_ref()?))
        };
        (
            between(&self.before.server, &self.after.server),
            between(&self.before.own, &self.after.own),
        )
    }
}

/// When memory is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    Start,
    /// Some connections are open, so what is only set up for the first of them is there.
    FirstOpen,
    Open,
    Meanwhile,
    End,
}
