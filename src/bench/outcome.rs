//! What a run has shown: plain numbers, worked out once for the text, the JSON object and the picture.

use super::fault::Faults;
use super::meter::{COLUMN_NS, Compressed, Memory};
use super::options::{Kind, Options};
use super::process::Usage;
use super::scenario::Stage;
use crate::cli::Exit;

/// From here on a side counts as saturated: in thousandths of a core.
const SATURATED_PERMILLE: u64 = 900;
/// From here on the report says that other programs were on the cores.
const SHARED_PERMILLE: u64 = 50;

/// Which side could do no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saturated {
    Server,
    Load,
    Both,
    Neither,
    Unknown,
}

impl Saturated {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Load => "load",
            Self::Both => "both",
            Self::Neither => "neither",
            Self::Unknown => "unknown",
        }
    }

    /// How the figures are to be read.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Server => "the server was saturated: the throughput is what it can do here",
            Self::Load => {
                "the load generator was saturated: read the CPU figures, not the throughput"
            }
            Self::Both => "both sides were saturated: read the CPU figures before the throughput",
            Self::Neither => {
                "neither side was saturated: they waited for each other, or for the schedule"
            }
            Self::Unknown => "with --pid PID of the server this says which side was saturated",
        }
    }
}

/// Latencies in nanoseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) min: u64,
    pub(crate) mean: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
    /// Latency at each percentile of a fine row, for pictures.
    pub(crate) curve: Vec<(f64, u64)>,
}

/// A run, told in numbers.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    /// Open when it began; in parallel in the scenario `connect`.
    pub(crate) connections: u64,
    pub(crate) opening_ns: u64,
    pub(crate) interval_ns: u64,
    pub(crate) messages: u64,
    pub(crate) deliveries: u64,
    pub(crate) connects: u64,
    pub(crate) bytes: u64,
    /// With `--deflate`: connections that agreed, and what came compressed.
    pub(crate) deflate: Option<(u64, Compressed)>,
    pub(crate) latency: Latency,
    /// How many latencies lie below each doubling of a microsecond and not below the one before.
    pub(crate) doublings: Vec<(u64, u64)>,
    /// `send`, `intended` or `connect`: what a latency counts from.
    pub(crate) latency_from: &'static str,
    /// What came in each column of so many nanoseconds.
    pub(crate) columns: Vec<u64>,
    pub(crate) column_ns: u64,
    pub(crate) lost: u64,
    pub(crate) duplicate: u64,
    pub(crate) out_of_order: u64,
    pub(crate) other: u64,
    pub(crate) publisher_deliveries: u64,
    pub(crate) faults: Faults,
    pub(crate) server: Option<Usage>,
    pub(crate) memory: Memory,
    pub(crate) load: Option<Usage>,
    pub(crate) spun_ns: u64,
    pub(crate) saturated: Saturated,
    pub(crate) all_are_gone: bool,
    pub(crate) failed: Vec<String>,
}

impl Outcome {
    pub(crate) fn of(options: &Options, stage: Stage) -> Self {
        let meter = &stage.meter;
        let (server, load) = meter.usage();
        let interval_ns = meter.interval_ns();
        let mut outcome = Self {
            kind: options.kind,
            url: options.target.url.clone(),
            connections: match options.kind {
                Kind::Connect => options.connections as u64,
                _ => stage.connections,
            },
            opening_ns: stage.opening_ns,
            interval_ns,
            messages: meter.messages,
            deliveries: meter.deliveries,
            connects: meter.connects,
            bytes: meter.bytes,
            deflate: options
                .deflate
                .then_some((stage.crowd.agreed, meter.compressed)),
            latency: latency(&meter.latency),
            doublings: doublings(&meter.latency),
            latency_from: match options.kind {
                Kind::Connect => "connect",
                Kind::Churn => "intended",
                _ if options.rate.is_some() => "intended",
                _ => "send",
            },
            columns: meter.columns.clone(),
            column_ns: COLUMN_NS,
            lost: meter.lost,
            duplicate: meter.duplicate,
            out_of_order: meter.out_of_order,
            other: meter.other,
            publisher_deliveries: meter.publisher_deliveries,
            faults: meter.faults.clone(),
            saturated: saturated(server.as_ref(), load.as_ref(), meter.spun_ns, interval_ns),
            server,
            memory: meter.memory.clone(),
            load,
            spun_ns: meter.spun_ns,
            all_are_gone: stage.all_are_gone,
            failed: Vec::new(),
        };
        outcome.check(options);
        outcome
    }

    /// Holds the run against its thresholds.
    fn check(&mut self, options: &Options) {
        if let Some(most) = options.fail_p99_ns
            && self.latency.p99 > most
        {
            self.failed.push(format!(
                "p99 is {} us, above {} us",
                self.latency.p99 / 1000,
                most / 1000
            ));
        }
        if options.fail_lost && self.lost > 0 {
            self.failed
                .push(format!("{} messages were lost", self.lost));
        }
    }

    /// Server down beats thresholds missed beats single failures.
    pub(crate) fn exit(&self) -> Exit {
        match self.faults.exit(self.all_are_gone) {
            Exit::Unavailable => Exit::Unavailable,
            _ if !self.failed.is_empty() => Exit::Threshold,
            other => other,
        }
    }

    /// So many of these per second.
    pub(crate) fn per_second(&self, count: u64) -> u64 {
        let per = u128::from(count) * 1_000_000_000 / u128::from(self.interval_ns.max(1));
        u64::try_from(per).unwrap_or(u64::MAX)
    }

    /// A time as a share of the interval, in thousandths of one core.
    pub(crate) fn permille(&self, ns: u64) -> u64 {
        permille(ns, self.interval_ns)
    }

    /// How busy the server's busiest thread was, in thousandths of the time in which it could have had a core.
    pub(crate) fn server_busy_permille(&self) -> Option<u64> {
        let usage = self.server.as_ref()?;
        Some(busy_permille(usage, 0, self.interval_ns).min(1000))
    }

    /// The server's processor time for each of so many.
    pub(crate) fn cpu_each(&self, count: u64) -> Option<u64> {
        self.server.as_ref()?.cpu_ns.checked_div(count)
    }

    /// What one open connection costs the server in memory of its own. A server that has had as many before takes
    /// what it has, and then there is nothing to say.
    pub(crate) fn bytes_per_connection(&self) -> Option<u64> {
        let (before, open_before) = self.memory.before_opening?;
        let (after, open) = self.memory.after_opening?;
        after
            .saturating_sub(before)
            .checked_div(open.saturating_sub(open_before))
            .filter(|bytes| *bytes > 0)
    }

    /// How much of the time this program or the server wanted a core that others had, if that matters.
    pub(crate) fn shared_permille(&self) -> Option<u64> {
        let waited = |usage: &Option<Usage>| usage.as_ref().map_or(0, |usage| usage.waited_ns);
        let most = self.permille(waited(&self.server).max(waited(&self.load)));
        (most >= SHARED_PERMILLE).then_some(most)
    }
}

fn permille(ns: u64, interval_ns: u64) -> u64 {
    ns.saturating_mul(1000) / interval_ns.max(1)
}

/// How much of the time in which it could have had a core the busiest thread was at work, less what was no work.
fn busy_permille(usage: &Usage, idle_ns: u64, interval_ns: u64) -> u64 {
    let (ran, waited) = usage.busiest;
    permille(
        ran.saturating_sub(idle_ns),
        interval_ns.saturating_sub(waited),
    )
}

fn latency(histogram: &hdrhistogram::Histogram<u64>) -> Latency {
    if histogram.is_empty() {
        return Latency::default();
    }
    let at = |quantile| histogram.value_at_quantile(quantile);
    // In even steps of the logarithm, as far as there are values and up to 99.99 %.
    let steps = (histogram.len() as f64).log10().clamp(1.0, 4.0) * 40.0;
    let curve = (0..=steps as u32).map(|step| {
        let quantile = 1.0 - 10_f64.powf(-f64::from(step) / 40.0);
        (quantile, at(quantile))
    });
    Latency {
        count: histogram.len(),
        min: histogram.min(),
        mean: histogram.mean() as u64,
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: histogram.max(),
        curve: curve.collect(),
    }
}

/// The rows of a histogram, from the first that is not empty to the last.
fn doublings(histogram: &hdrhistogram::Histogram<u64>) -> Vec<(u64, u64)> {
    let mut rows = Vec::new();
    let mut below = 1000;
    let mut before = 0;
    while !histogram.is_empty() && before < histogram.max() {
        let count = histogram.count_between(before, below - 1);
        if count > 0 || !rows.is_empty() {
            rows.push((below, count));
        }
        (before, below) = (below, below * 2);
    }
    rows
}

fn saturated(
    server: Option<&Usage>,
    load: Option<&Usage>,
    spun_ns: u64,
    interval_ns: u64,
) -> Saturated {
    let (Some(server), Some(load)) = (server, load) else {
        return Saturated::Unknown;
    };
    let is = |usage, idle_ns| busy_permille(usage, idle_ns, interval_ns) >= SATURATED_PERMILLE;
    match (is(server, 0), is(load, spun_ns)) {
        (true, true) => Saturated::Both,
        (true, false) => Saturated::Server,
        (false, true) => Saturated::Load,
        (false, false) => Saturated::Neither,
    }
}
