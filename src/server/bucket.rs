//! A token bucket in two words: rate and burst belong to whoever asks, so thousands of them are cheap.

/// How much has been used, and when that was true.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    /// Thousandths of a token in use.
    used: u32,
    /// The low 32 bits of the millisecond clock.
    at: u32,
}

impl Bucket {
    /// Takes one token; `false` when the bucket, which refills by `per_second` up to `burst`, is empty.
    /// A rate of zero means no limit.
    pub(crate) fn take(&mut self, now_ms: u64, per_second: u32, burst: u32) -> bool {
        self.take_per(now_ms, per_second, 1000, burst)
    }

    /// The same with a rate of `count` per `period_ms`.
    pub(crate) fn take_per(&mut self, now_ms: u64, count: u32, period_ms: u64, burst: u32) -> bool {
        if count == 0 {
            return true;
        }
        let elapsed = u64::from((now_ms as u32).wrapping_sub(self.at));
        let refilled = elapsed
            .saturating_mul(u64::from(count))
            .saturating_mul(1000)
            / period_ms.max(1);
        // Time that was too short for a thousandth of a token is not lost: the stamp stays.
        if refilled > 0 {
            self.used = self
                .used
                .saturating_sub(u32::try_from(refilled).unwrap_or(u32::MAX));
            self.at = now_ms as u32;
        }
        let max = burst.max(1).saturating_mul(1000);
        if self.used.saturating_add(1000) > max {
            return false;
        }
        self.used += 1000;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Bucket;

    #[test]
    fn burst_then_rate() {
        let mut bucket = Bucket::default();
        let start = 5_000_000_000;
        assert_eq!(
            (0..200).filter(|_| bucket.take(start, 20, 100)).count(),
            100
        );
        assert!(!bucket.take(start + 49, 20, 100));
        assert!(bucket.take(start + 50, 20, 100));
        assert_eq!(
            (0..200)
                .filter(|_| bucket.take(start + 1050, 20, 100))
                .count(),
            20
        );
        assert!(
            (0..1000).all(|_| Bucket::default().take(start, 0, 0)),
            "zero is no limit"
        );
    }

    #[test]
    fn asking_often_does_not_starve() {
        let mut bucket = Bucket::default();
        let taken = (0..10_000).filter(|ms| bucket.take(*ms, 20, 1)).count();
        assert!((198..=201).contains(&taken), "{taken}");
    }
}
