//! The line that says what became of a class.

use std::fmt;

use crate::arena::Held;
use crate::bystander::Summary;
use crate::gauge::Kernel;

/// A bystander may lose this much by an attack (microseconds). A goal for a machine that does nothing else; it is
/// reported, not asserted.
const GOAL_WORST_US: u64 = 20_000;

/// What became of one class.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) sent: String,
    pub(crate) baseline: Summary,
    pub(crate) attacked: Summary,
    pub(crate) before: Held,
    pub(crate) peak_kib: u64,
    pub(crate) after: Held,
    pub(crate) kernel: Kernel,
    pub(crate) attackers: u64,
    pub(crate) standstill: bool,
    pub(crate) seconds: f64,
    pub(crate) faults: Vec<String>,
}

impl Line {
    /// The verdict in words.
    fn verdict(&self) -> String {
        if !self.faults.is_empty() {
            return format!("FAILS: {}", self.faults.join("; "));
        }
        let over = self
            .attacked
            .net_worst
            .saturating_sub(self.baseline.net_worst);
        if over > GOAL_WORST_US && !self.standstill {
            return format!("holds, but {} ms over the baseline", over / 1000);
        }
        "holds".to_owned()
    }
}

/// Milliseconds with one digit.
struct Ms(u64);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 1000, self.0 / 100 % 10)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grown = self.peak_kib.saturating_sub(self.before.kib);
        let (b, a) = (&self.baseline, &self.attacked);
        write!(
            f,
            "{}: {} | bystander worst {} ms, {} net (p99 {}, {} net); before {}, {} net | memory +{grown} KiB, \
             {} each, {:+} after | kernel {} KiB, {} at most one | descriptors {} → {} | {:.1} s | {}",
            self.name,
            self.sent,
            Ms(a.worst),
            Ms(a.net_worst),
            Ms(a.p99),
            Ms(a.net_p99),
            Ms(b.worst),
            Ms(b.net_worst),
            grown / self.attackers,
            self.after.kib as i64 - self.before.kib as i64,
            self.kernel.all_kib,
            self.kernel.most_kib,
            self.before.files,
            self.after.files,
            self.seconds,
            self.verdict(),
        )
    }
}
