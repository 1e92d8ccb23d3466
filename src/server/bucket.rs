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

    /// Milliseconds until the next token: for one who was just told that there is none.
    pub(crate) fn wait_ms(&self, now_ms: u64, count: u32, period_ms: u64, burst: u32) -> u64 {
        let max = burst.max(1).saturating_mul(1000);
        let missing = u64::from(self.used.saturating_add(1000).saturating_sub(max));
        let per_token = u64::from(count).saturating_mul(1000).max(1);
        let wait = missing.saturating_mul(period_ms).div_ceil(per_token);
        let passed = (now_ms as u32).wrapping_sub(self.at);
        wait.saturating_sub(u64::from(passed))
    }

    /// Whether nothing of it is in use any more: such a one says as much as none.
    pub(crate) fn is_full(&self, now_ms: u64, per_second: u32) -> bool {
        let elapsed = u64::from((now_ms as u32).wrapping_sub(self.at));
        per_second == 0 || elapsed.saturating_mul(u64::from(per_second)) >= u64::from(self.used)
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
    fn two_words_are_enough() {
        assert_eq!(size_of::<Bucket>(), 8);
    }

    #[test]
    fn the_wait_ends_with_a_token_and_not_before() {
        for (count, period_ms, burst) in [
            (2, 1000, 10),
            (10, 60_000, 10),
            (7, 60_000, 1),
            (3, 1000, 4),
        ] {
            let mut bucket = Bucket::default();
            let mut now = 5_000_000_000;
            for _ in 0..100 {
                while bucket.take_per(now, count, period_ms, burst) {}
                let wait = bucket.wait_ms(now, count, period_ms, burst);
                assert!(wait > 0);
                let mut early = bucket;
                assert!(!early.take_per(now + wait - 1, count, period_ms, burst));
                now += wait;
                assert!(bucket.take_per(now, count, period_ms, burst), "{count}");
                now += wait / 3;
            }
        }
    }

    #[test]
    fn full_is_who_could_spend_the_whole_burst() {
        let mut bucket = Bucket::default();
        let start = 5_000_000_000;
        assert!(bucket.is_full(start, 1));
        while bucket.take(start, 1, 50) {}
        assert!(!bucket.is_full(start + 49_999, 1));
        assert!(bucket.is_full(start + 50_000, 1));
    }

    #[test]
    fn asking_often_does_not_starve() {
        let mut bucket = Bucket::default();
        let taken = (0..10_000).filter(|ms| bucket.take(*ms, 20, 1)).count();
        assert!((198..=201).contains(&taken), "{taken}");
    }
}
