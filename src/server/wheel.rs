//! One coarse timing wheel for every deadline of a worker.
//!
//! **Lazy.** Activity never touches the wheel: it only writes a number into the connection. When an entry
//! fires, its owner looks at that number and goes back to sleep if there is still time.
//!
//! **An entry is only a name**, four bytes. When it is due is written once, at its owner; an entry whose owner has
//! meanwhile armed another tick, or is gone, is recognised by that and thrown away.
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

/// Names who is to be woken.
pub(crate) type Entry = u32;

/// The wheel.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Vec<Entry>>,
    /// Everything before this tick has fired.
    cursor: Tick,
    /// No entry is due before this tick.
    next: Tick,
    len: usize,
}

impl Wheel {
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

    /// Arms an entry; one in the past fires at the next [`advance`](Self::advance). The caller writes `due` where
    /// `advance` will be told it again.
    pub(crate) fn insert(&mut self, due: Tick, entry: Entry) {
        let slot_of = due.max(self.cursor);
        self.slots[slot_of as usize % SLOTS].push(entry);
        self.next = self.next.min(slot_of);
        self.len += 1;
    }

    /// Moves everything that is due into `fired`, with its due tick, which `due_of` knows; 0: nothing is armed. One
    /// that was armed twice for the same tick may come twice.
    pub(crate) fn advance(
        &mut self,
        now_ms: u64,
        due_of: impl Fn(Entry) -> Tick,
        fired: &mut Vec<(Tick, Entry)>,
    ) {
        let now = tick_at(now_ms);
        if now < self.next {
            self.cursor = self.cursor.max(now);
            return;
        }
        let from = self.next.max(self.cursor);
        let rounds = (now - from + 1).min(SLOTS as u32);
        for step in 0..rounds {
            let at = (from.wrapping_add(step)) as usize % SLOTS;
            let slot = &mut self.slots[at];
            let before = slot.len();
            slot.retain(|&entry| match due_of(entry) {
                0 => false,
                due if due <= now => {
                    fired.push((due, entry));
                    false
                }
                due => due as usize % SLOTS == at,
            });
            self.len -= before - slot.len();
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
        let mut dues = Vec::new();
        let mut model: BTreeMap<(Tick, u32), ()> = BTreeMap::new();
        let mut now = 1_000_000;
        let mut fired = Vec::new();
        for id in 0..20_000 {
            let due = tick_after(now + random.below(if id % 10 == 0 { 200_000 } else { 40_000 }));
            wheel.insert(due, id);
            dues.push(due);
            model.insert((due, id), ());
            if random.below(3) == 0 {
                let long = random.below(50) == 0;
                now += random.below(if long { 100_000 } else { 300 });
                fired.clear();
                wheel.advance(now, |id| dues[id as usize], &mut fired);
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
            let due = tick_after(at);
            wheel.insert(due, 0);
            let mut fired = Vec::new();
            wheel.advance(at.saturating_sub(1), |_| due, &mut fired);
            assert!(at == 0 || fired.is_empty(), "{at} fired early");
            wheel.advance(at + 2 * TICK_MS, |_| due, &mut fired);
            assert_eq!(fired.len(), 1, "{at} did not fire");
        }
    }

    #[test]
    fn what_its_owner_no_longer_means_is_thrown_away() {
        let mut wheel = Wheel::new();
        let mut fired = Vec::new();
        let (soon, late) = (tick_after(1000), tick_after(9000));
        wheel.insert(late, 7);
        wheel.insert(soon, 7);
        // The owner means `soon`; then it is gone.
        wheel.advance(1200, |_| soon, &mut fired);
        assert_eq!((fired.as_slice(), wheel.len()), (&[(soon, 7)][..], 1));
        wheel.advance(9200, |_| 0, &mut fired);
        assert_eq!((fired.len(), wheel.len(), wheel.next_ms()), (1, 0, None));
        // Armed a round further meanwhile: that is another slot's, or another round's, business.
        let (round, other) = (late + SLOTS as u32, late + 3);
        wheel.insert(late + 200, 1);
        wheel.insert(late + 200, 2);
        let due_of = |id| if id == 1 { round + 200 } else { other + 200 };
        wheel.advance(u64::from(late + 201) * TICK_MS, due_of, &mut fired);
        assert_eq!((fired.len(), wheel.len()), (1, 1), "one stays, one goes");
    }
}
