//! Where a random run takes its choices from.

use crate::random::Random;

/// A row of choices: endless from a seed, or as long as some fuzz bytes last and zero from then on.
///
/// Choice 0 is always the calm one, so that a run whose bytes are used up comes to rest.
#[derive(Debug)]
pub struct Chooser(Source);

#[derive(Debug)]
enum Source {
    Seed(Random),
    Bytes { bytes: Vec<u8>, at: usize },
}

impl Chooser {
    /// Choices that follow from a seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(Source::Seed(Random::seeded(seed)))
    }

    /// Choices out of these bytes, then zeros.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Source::Bytes {
            bytes: bytes.to_vec(),
            at: 0,
        })
    }

    /// A number below `bound`; 0 when `bound` is 0 or 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        match &mut self.0 {
            Source::Seed(random) => random.below(bound),
            Source::Bytes { bytes, at } => {
                // As few bytes as the bound needs: then a fuzzer's small change stays a small change.
                let mut value = 0_u64;
                let mut rest = bound - 1;
                while rest > 0 {
                    value = value << 8 | u64::from(bytes.get(*at).copied().unwrap_or(0));
                    *at += 1;
                    rest >>= 8;
                }
                value % bound
            }
        }
    }

    /// The same for sizes.
    pub fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }

    /// A size from 1 to 2 to the power of `bits`, small ones as often as large ones.
    pub fn size(&mut self, bits: u32) -> usize {
        let most = 1 << self.below(u64::from(bits) + 1);
        1 + self.index(most)
    }

    /// True once in `n` times; never when the bytes are used up.
    pub fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == n - 1
    }

    /// One of these, by weight.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u32, T)]) -> Option<T> {
        let sum: u32 = choices.iter().map(|(weight, _)| *weight).sum();
        let mut at = self.below(u64::from(sum)) as u32;
        for (weight, choice) in choices {
            if at < *weight {
                return Some(*choice);
            }
            at -= weight;
        }
        None
    }

    /// Whether fuzz bytes are used up; a seed never is.
    pub fn is_used_up(&self) -> bool {
        match &self.0 {
            Source::Seed(_) => false,
            Source::Bytes { bytes, at } => *at >= bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_used_up_give_the_calm_choice() {
        let mut chooser = Chooser::from_bytes(&[7, 1, 2]);
        assert_eq!(chooser.below(5), 2);
        assert_eq!(chooser.below(1000), 0x0102);
        assert!(chooser.is_used_up());
        assert_eq!((chooser.below(9), chooser.one_in(1)), (0, true));
        assert!(!chooser.one_in(2));
        assert_eq!(chooser.weighted(&[(3, 'a'), (1, 'b')]), Some('a'));
    }

    #[test]
    fn seeds_repeat() {
        let row = |seed| {
            let mut chooser = Chooser::from_seed(seed);
            (0..50).map(|_| chooser.below(1 << 40)).collect::<Vec<_>>()
        };
        assert_eq!(row(3), row(3));
        assert_ne!(row(3), row(4));
    }
}
