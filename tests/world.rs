//! Random lives of a simulated world: each seed decides everything, and a failure names seed and step.
//!
//! `DUNLIN_SEED=n` replays one seed and prints every step; `DUNLIN_SEEDS=n` runs more of them, from `DUNLIN_FROM=n` on if
//! that is set.

#![allow(clippy::unwrap_used)]

use dunlin::sim::{Chooser, Run, Summary};

const SEEDS: u64 = 256;
const STEPS: u32 = 1_500;

fn live(seed: u64, verbose: bool) -> Summary {
    let mut run = Run::new(Chooser::from_seed(seed)).verbose(verbose);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.live(STEPS)));
    match result {
        Ok(summary) => summary,
        Err(_) => panic!(
            "seed {seed} failed at step {}: replay it with DUNLIN_SEED={seed}",
            run.step_number()
        ),
    }
}

/// Every fourth seed, from `first` on.
fn quarter(first: u64) {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    if let Some(seed) = number("DUNLIN_SEED") {
        if seed % 4 == first {
            println!("{:?}", live(seed, true));
        }
        return;
    }
    let mut all = Summary::default();
    let seeds = number("DUNLIN_SEEDS").unwrap_or(SEEDS);
    let from = number("DUNLIN_FROM").unwrap_or(0);
    for seed in (from..from + seeds).filter(|seed| seed % 4 == first) {
        let one = live(seed, false);
        all.sessions += one.sessions;
        all.received += one.received;
        all.heard += one.heard;
        all.dropped += one.dropped;
        all.slow += one.slow;
        all.requests += one.requests;
        all.refused += one.refused;
        all.calls += one.calls;
        all.calls_repeated += one.calls_repeated;
        all.calls_failed += one.calls_failed;
        all.held += one.held;
        all.cut += one.cut;
        all.crowded += one.crowded;
        all.strangers += one.strangers;
        all.outdated += one.outdated;
    }
    println!("{all:?}");
    // A world in which nothing happens finds nothing.
    if seeds < SEEDS {
        return;
    }
    assert!(all.sessions > 1_000 && all.received > 50_000 && all.heard > 5_000);
    assert!(all.dropped > 500 && all.slow > 40 && all.requests > 1_000 && all.refused > 200);
    assert!(all.calls > 2_000 && all.calls_repeated > 100 && all.calls_failed > 300);
    assert!(all.held > 200 && all.cut > 20 && all.crowded > 20);
    assert!(all.strangers > 10 && all.outdated > 50);
}

#[test]
fn seeds_0() {
    quarter(0);
}

#[test]
fn seeds_1() {
    quarter(1);
}

#[test]
fn seeds_2() {
    quarter(2);
}

#[test]
fn seeds_3() {
    quarter(3);
}
