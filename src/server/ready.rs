//! Who has something to be done, in the order in which it came up.
//!
//! **Those who have hung up wait for those who have not.** A thousand clients may go at the same moment, and each of them
//! costs what all its subscriptions cost. So they stand in a queue of their own, of which each turn takes some; whoever
//! is still there goes past them.
//!
//! ```text
//!   ready ──▶ its peer is there ────────▶ present ──┐ three of four
//!         └─▶ its peer has ended ──────▶ leaving ──┴─ one of four, and the first one   ──▶ worked on
//! ```

use std::collections::VecDeque;

/// Keys of connections, each at most once; the connection knows that it is here.
#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    present: VecDeque<u32>,
    leaving: VecDeque<u32>,
    /// Taken in this turn.
    taken: u32,
}

/// Of so many connections one is from the queue of those that leave.
const LEAVING_EVERY: u32 = 4;

impl ReadyQueue {
    pub(crate) fn begin_turn(&mut self) {
        self.taken = 0;
    }

    /// `leaves`: its peer has ended its direction.
    pub(crate) fn push(&mut self, key: u32, leaves: bool) {
        let queue = match leaves {
            true => &mut self.leaving,
            false => &mut self.present,
        };
        queue.push_back(key);
    }

    pub(crate) fn pop(&mut self) -> Option<u32> {
        let first = self.taken.is_multiple_of(LEAVING_EVERY);
        self.taken += 1;
        let (one, other) = match first {
            true => (&mut self.leaving, &mut self.present),
            false => (&mut self.present, &mut self.leaving),
        };
        one.pop_front().or_else(|| other.pop_front())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.present.is_empty() && self.leaving.is_empty()
    }

    pub(crate) fn contains(&self, key: u32) -> bool {
        self.present.contains(&key) || self.leaving.contains(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_waits_for_the_others_but_not_for_ever() {
        let mut queue = ReadyQueue::default();
        (0..10).for_each(|key| queue.push(key, key >= 5));
        let mut taken = Vec::new();
        // Turns of two: the first of each is one that leaves.
        while !queue.is_empty() {
            queue.begin_turn();
            taken.extend([queue.pop(), queue.pop()].into_iter().flatten());
        }
        assert_eq!(taken, [5, 0, 6, 1, 7, 2, 8, 3, 9, 4]);
        assert_eq!(queue.pop(), None);
    }
}
