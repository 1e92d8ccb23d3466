//! When things are due that are to happen at a rate.
//!
//! The rule: the schedule does not wait for the server. What is late is sent at once and its latency counts from the
//! moment it was due, so a server that stalls shows all of its stall (no "coordinated omission").

/// A row of moments, `rate` per second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    rate: u64,
    begun: u64,
    done: u64,
}

impl Pace {
    /// Begins now.
    pub(crate) fn new(rate: u64, now: u64) -> Self {
        Self {
            rate: rate.max(1),
            begun: now,
            done: 0,
        }
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> u64 {
        let since = u128::from(self.done) * 1_000_000_000 / u128::from(self.rate);
        self.begun
            .saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// The moment the next one was due, if that is past; it is then done.
    pub(crate) fn take(&mut self, now: u64) -> Option<u64> {
        let due = self.next();
        (due <= now).then(|| {
            self.done += 1;
            due
        })
    }

    /// So many have been done before their time, with the one before them.
    pub(crate) fn skip(&mut self, count: u64) {
        self.done += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_does_not_drift() {
        let mut pace = Pace::new(3, 100);
        let due: Vec<_> = std::iter::from_fn(|| pace.take(1_000_000_100)).collect();
        assert_eq!(due, [100, 333_333_433, 666_666_766, 1_000_000_100]);
        assert_eq!(pace.next(), 1_333_333_433);
    }
}
