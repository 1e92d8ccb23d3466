//! One coarse timing wheel for every deadline of a worker.
//!
//! **Lazy.** Activity never touches the wheel: it only writes a number into the connection. When an entry
//! fires, its owner looks at that number and goes back to sleep if there is still time. An entry whose owner
//! has meanwhile armed an earlier one is recognised by its due tick and ignored.
//!
//! ```text
//!   cursor
//!     ▼
//!   [ ][e e][ ][ ][e] … [e e e]      512 slots of 64 ms: 33 s ahead;
//!                                    later ones wait in the slot they fall on and stay for another round
//! ```

/// A point in time in units of 64 ms; 0 is never one.
pub(crate) type Tick = u32;

/// Milliseconds per tick.
pub(crate) const TICK_MS: u64 = 64;

/// The tick that `ms` lies in.
pub(crate) fn tick_at(ms: u64) -> Tick {
    (ms / TICK_MS) as u32 + 1
}

/// The first tick that is certain to begin at or after `ms`.
pub(crate) fn tick_after(ms: u64) -> Tick {
    (ms.div_ceil(TICK_MS)) as u32 + 1
}

const SLOTS: usize = 512;

/// The wheel. `E` names who is to be woken.
#[derive(Debug)]
pub(crate) struct Wheel<E> {
    slots: Vec<Vec<(Tick, E)>>,
    /// Everything before this tick has fired.
    cursor: Tick,
    /// No entry is due before this tick.
    next: Tick,
    len: usize,
}

impl<E: Copy> Wheel<E> {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            cursor: 0,
            next: Tick::MAX,
            len: 0,
        }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Arms an entry; one in the past fires at the next [`advance`](Self::advance).
    pub(crate) fn insert(&mut self, due: Tick, entry: E) {
        let slot_of = due.max(self.cursor);
        self.slots[slot_of as usize % SLOTS].push((due, entry));
        self.next = self.next.min(slot_of);
        self.len += 1;
    }

    /// Moves everything that is due into `fired`, with its due tick.
    pub(crate) fn advance(&mut self, now_ms: u64, fired: &mut Vec<(Tick, E)>) {
        let now = tick_at(now_ms);
        if now < self.next {
            self.cursor = self.cursor.max(now);
            return;
        }
        let from = self.next.max(self.cursor);
        let rounds = (now - from + 1).min(SLOTS as u32);
        for step in 0..rounds {
            let slot = &mut self.slots[(from.wrapping_add(step)) as usize % SLOTS];
            let before = fired.len();
            slot.retain(|&(due, entry)| {
                let is_due = due <= now;
                if is_due {
                    fired.push((due, entry));
                }
                !is_due
            });
            self.len -= fired.len() - before;
            if slot.is_empty() && slot.capacity() > 64 {
                *slot = Vec::new();
            }
        }
        self.cursor = now;
        self.next = self.find_next();
    }

    /// The millisecond at which to call [`advance`](Self::advance) next.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        (self.len > 0).then(|| (u64::from(self.next) - 1) * TICK_MS)
    }

    fn find_next(&self) -> Tick {
        if self.len == 0 {
            return Tick::MAX;
        }
        // The nearest occupied slot: its entries may be a round further, then this wakes us once in vain.
        // What is left in the slot of this very tick is a round further for sure.
        (1..=SLOTS as u32)
            .map(|step| self.cursor.wrapping_add(step))
            .find(|tick| !self.slots[*tick as usize % SLOTS].is_empty())
            .unwrap_or(Tick::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::collections::BTreeMap;

    #[test]
    fn agrees_with_a_sorted_map() {
        let mut random = Random::seeded(5);
        let mut wheel = Wheel::new();
        let mut model: BTreeMap<(Tick, u32), ()> = BTreeMap::new();
        let mut now = 1_000_000;
        let mut fired = Vec::new();
        for id in 0..20_000 {
            let due = tick_after(now + random.below(if id % 10 == 0 { 200_000 } else { 40_000 }));
            wheel.insert(due, id);
            model.insert((due, id), ());
            if random.below(3) == 0 {
                let long = random.below(50) == 0;
                now += random.below(if long { 100_000 } else { 300 });
                fired.clear();
                wheel.advance(now, &mut fired);
                let mut expected = Vec::new();
                while let Some((&key, ())) = model.first_key_value()
                    && key.0 <= tick_at(now)
                {
                    model.pop_first();
                    expected.push(key);
                }
                fired.sort_unstable();
                assert_eq!(fired, expected);
                assert_eq!(wheel.len(), model.len());
                if let Some((first, _)) = model.first_key_value() {
                    let wake = wheel.next_ms().expect("something is armed");
                    assert!(
                        wake <= (u64::from(first.0) - 1) * TICK_MS,
                        "a deadline would be slept through"
                    );
                } else {
                    assert_eq!(wheel.next_ms(), None);
                }
            }
        }
    }

    #[test]
    fn fires_not_early_and_at_most_two_ticks_late() {
        for at in [0, 1, 63, 64, 65, 1000, 9_999] {
            let mut wheel = Wheel::new();
            wheel.insert(tick_after(at), ());
            let mut fired = Vec::new();
            wheel.advance(at.saturating_sub(1), &mut fired);
            assert!(at == 0 || fired.is_empty(), "{at} fired early");
            wheel.advance(at + 2 * TICK_MS, &mut fired);
            assert_eq!(fired.len(), 1, "{at} did not fire");
        }
    }
}
