//! The small clock the benches share: closures in batches, minimum and median per operation, and ratios.
//!
//! The rule: what is compared is measured *interleaved in the same run*, so that a noisy machine disturbs both
//! alike, and the ratio is what to read. `cargo bench --bench NAME -- FILTER` runs the groups whose name contains
//! FILTER; under `cargo test` every closure runs once.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// What the command line asks for.
#[derive(Clone)]
pub(crate) struct Bench {
    filter: Option<String>,
    quick: bool,
    parts: usize,
}

/// One contender of a group: its name, and what it does.
pub(crate) type Contender<'a> = (&'a str, Box<dyn FnMut() + 'a>);

impl Bench {
    /// Reads the arguments that `cargo bench` and `cargo test` pass on.
    pub(crate) fn from_args() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        Self {
            quick: !args.iter().any(|arg| arg == "--bench"),
            filter: args.into_iter().find(|arg| !arg.starts_with('-')),
            parts: 1,
        }
    }

    /// One operation does the same thing so many times: the times printed are those of one of them.
    #[allow(dead_code)] // Not every bench counts in parts.
    pub(crate) fn per(&self, parts: usize) -> Self {
        Self {
            parts,
            ..self.clone()
        }
    }

    /// Measures the contenders of a group in turns. `bytes` are those one operation handles, 0 where that says
    /// nothing. The first contender is the base of the ratios.
    pub(crate) fn group(&self, name: &str, bytes: usize, mut contenders: Vec<Contender<'_>>) {
        if self
            .filter
            .as_ref()
            .is_some_and(|filter| !name.contains(filter.as_str()))
        {
            return;
        }
        if self.quick {
            contenders.iter_mut().for_each(|(_, operation)| operation());
            println!("{name}: ok");
            return;
        }
        let counts: Vec<u32> = contenders
            .iter_mut()
            .map(|(_, operation)| batch_size(operation))
            .collect();
        let mut samples = vec![Vec::with_capacity(ROUNDS); contenders.len()];
        for _ in 0..ROUNDS {
            for (((_, operation), count), samples) in
                contenders.iter_mut().zip(&counts).zip(&mut samples)
            {
                samples.push(nanoseconds(operation, *count));
            }
        }
        let mut base = None;
        for ((contender, _), samples) in contenders.iter().zip(&mut samples) {
            samples.sort_by(f64::total_cmp);
            let parts = self.parts as f64;
            let (least, median) = (samples[0] / parts, samples[samples.len() / 2] / parts);
            let ratio = median / *base.get_or_insert(median);
            let rate = if bytes == 0 {
                String::new()
            } else {
                format!("{:8.2} GB/s", bytes as f64 / parts / least)
            };
            println!(
                "{name:<28} {contender:<12} min {least:>10.1} ns  median {median:>10.1} ns  x{ratio:<6.2}{rate}"
            );
        }
    }
}

/// So many operations that a batch takes about a millisecond.
fn batch_size(operation: &mut impl FnMut()) -> u32 {
    let mut count = 1;
    while nanoseconds(operation, count) * f64::from(count) < BATCH.as_nanos() as f64
        && count < 1 << 24
    {
        count *= 2;
    }
    count
}

/// The time of one operation, over a batch of them.
fn nanoseconds(operation: &mut impl FnMut(), count: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        black_box(&mut *operation)();
    }
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

const BATCH: Duration = Duration::from_millis(1);
/// Batches per contender; odd, so that the median is one of them.
const ROUNDS: usize = 101;
