//! Timers: what a million connections cost that are alive and say nothing now.
//!
//! Budget: 2 ms of processor time per second at 1,000,000 connections. A connection that gives signs of life is looked at
//! once per silence time (25 s by default), finds that there is still time, and is armed anew: 40,000 looks per second.

#![allow(missing_docs)]

#[path = "common/wire.rs"]
mod wire;

use std::time::{Duration, Instant};

use dunlin::server::RouteSettings;
use dunlin::time::Now;
use dunlin::{Context, Handler, Message};
use wire::{Wire, worker_with};

struct Silent;

impl Handler for Silent {
    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
}

/// Milliseconds of silence after which a client is asked whether it is still there.
const PING_AFTER_MS: u64 = 25_000;
/// Who says something does so within this time of the others.
const SPREAD_MS: u64 = 10_000;
const OPENED: Now = Now::new(1_000_000, 0);

fn main() {
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    for connections in if is_bench {
        &[10_000, 100_000, 1_000_000][..]
    } else {
        &[1_000]
    } {
        looks(*connections, is_bench);
    }
}

/// Everybody says something, a few at a time as the days are; later everybody says something again. Then time passes
/// until each has been looked at, as they come, and is found alive. Nobody is pinged.
fn looks(connections: usize, is_bench: bool) {
    let route = RouteSettings {
        ping_after_ms: PING_AFTER_MS,
        ..RouteSettings::default()
    };
    let (mut worker, wires) = worker_with(connections, Box::new(Silent), route, &[]);
    let word = Wire::message(1);
    let at = |ms: u64| Now::new(OPENED.ms + ms, ms);
    let all_speak = |worker: &mut dunlin::server::Worker<wire::Socket>, from: u64| {
        for (n, (key, wire)) in wires.iter().enumerate() {
            wire.send(&word);
            worker.ready(*key, true, false, false);
            while worker.turn(at(from + n as u64 * SPREAD_MS / connections as u64)) {}
        }
    };
    // All were opened at once, so all are looked at at once, after 25 s; from then on they are spread.
    all_speak(&mut worker, 10_000);
    while worker.turn(at(25_200)) {}
    all_speak(&mut worker, 25_200);
    let mut idle = Duration::ZERO;
    let mut looking = Duration::ZERO;
    for ms in (35_200..46_000).step_by(8) {
        let start = Instant::now();
        while worker.turn(at(ms)) {}
        looking += start.elapsed();
    }
    for ms in (46_000..50_000).step_by(8) {
        let start = Instant::now();
        while worker.turn(at(ms)) {}
        idle += start.elapsed();
    }
    let written: usize = wires.iter().map(|(_, wire)| wire.take()).sum();
    assert_eq!(written, 0, "nobody was pinged");
    if is_bench {
        let per_look = looking.as_nanos() as f64 / connections as f64;
        let per_second = per_look * connections as f64 / (PING_AFTER_MS as f64 / 1000.0) / 1e6;
        let turns = idle.as_nanos() as f64 / 500.0;
        println!(
            "timers {connections:>9}: {per_look:6.1} ns per look, {per_second:6.3} ms per second when each is alive; a turn with nothing due {turns:.0} ns"
        );
    } else {
        println!("timers {connections}: ok");
    }
}
