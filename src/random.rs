//! Random numbers for ids, epochs and mask keys: the system's own, or a seeded row for the simulated world.

/// A source of random bytes.
#[derive(Debug)]
pub struct Random(Source);

#[derive(Debug)]
enum Source {
    /// The operating system's generator through a pool, so an id costs no system call.
    System {
        pool: Box<[u8; POOL_BYTES]>,
        used: usize,
    },
    /// Repeatable: the same seed gives the same row. Never for a real server.
    Seeded(u64),
}

const POOL_BYTES: usize = 512;

impl Random {
    /// The operating system's generator (RFC 6455 §5.3 wants strong mask keys).
    pub fn system() -> Self {
        Self(Source::System {
            pool: Box::new([0; POOL_BYTES]),
            used: POOL_BYTES,
        })
    }

    /// A repeatable row of numbers for tests and simulation.
    pub const fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        match &mut self.0 {
            Source::System { pool, used } => {
                if *used + 8 > POOL_BYTES {
                    // The system's generator does not fail once the system is up; if it ever does, going on
                    // with guessable ids would be worse than stopping.
                    getrandom::fill(&mut pool[..])
                        .expect("the operating system gives random bytes");
                    *used = 0;
                }
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&pool[*used..*used + 8]);
                pool[*used..*used + 8].fill(0);
                *used += 8;
                u64::from_ne_bytes(bytes)
            }
            Source::Seeded(state) => {
                // SplitMix64: every seed, zero too, gives a good row.
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                z ^ (z >> 31)
            }
        }
    }

    /// The next 128 bits as bytes.
    pub fn bytes16(&mut self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.next_u64().to_be_bytes());
        out[8..].copy_from_slice(&self.next_u64().to_be_bytes());
        out
    }

    /// A mask key for one client frame (RFC 6455 §5.3).
    pub fn mask_key(&mut self) -> [u8; 4] {
        (self.next_u64() as u32).to_be_bytes()
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            self.next_u64() % bound
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_repeat_and_the_system_does_not() {
        assert_eq!(Random::seeded(7).bytes16(), Random::seeded(7).bytes16());
        assert_ne!(Random::seeded(7).next_u64(), Random::seeded(8).next_u64());
        let mut system = Random::system();
        let row: Vec<u64> = (0..200).map(|_| system.next_u64()).collect();
        let mut sorted = row.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), row.len());
    }
}
