//! How many calls a session may still make.

/// A rate, and how many in a row before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// 0: there is no rate.
    pub(super) per_second: u32,
    pub(super) burst: u32,
}

/// As many calls in a row as a session has saved up.
#[derive(Debug)]
pub(super) struct Allowance {
    calls: u32,
    since_ms: u64,
}

impl Allowance {
    pub(super) fn new(rate: Rate, now_ms: u64) -> Self {
        Self {
            calls: rate.burst,
            since_ms: now_ms,
        }
    }

    /// One call; `false`: it is one too many.
    pub(super) fn take(&mut self, rate: Rate, now_ms: u64) -> bool {
        let per_second = u64::from(rate.per_second);
        if per_second == 0 {
            return true;
        }
        let gained = now_ms.saturating_sub(self.since_ms) * per_second / 1000;
        if gained > 0 {
            let calls = u64::from(self.calls).saturating_add(gained);
            self.calls = calls.min(u64::from(rate.burst)) as u32;
            // What is left of a call's time is kept.
            self.since_ms += gained * 1000 / per_second;
        }
        let has = self.calls > 0;
        self.calls = self.calls.saturating_sub(1);
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_fills_up_again() {
        let rate = Rate {
            per_second: 3,
            burst: 2,
        };
        let mut allowance = Allowance::new(rate, 0);
        let mut take = |ms| allowance.take(rate, ms);
        assert_eq!(
            [take(0), take(0), take(0), take(333)],
            [true, true, false, false]
        );
        assert_eq!(
            [take(334), take(334), take(667), take(667)],
            [true, false, true, false]
        );
        assert_eq!([take(9000), take(9000), take(9000)], [true, true, false]);
    }
}
