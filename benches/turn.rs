//! The turn: one pass of the loop over connections that echo, in memory, without a system call.
//!
//! Budget: a small message costs the kernel one read and one write, 1 to 2 µs; our own part should stay well below.

#![allow(missing_docs)]

mod common;
#[path = "common/wire.rs"]
mod wire;

use common::{Bench, Contender};
use dunlin::time::Now;
use dunlin::{Context, Handler, Message};
use std::hint::black_box;
use wire::{Wire, worker};

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        cx.send(message);
    }
}

const CONNECTIONS: usize = 100;

fn main() {
    let bench = Bench::from_args();
    for (len, pipelined) in [(125, 1), (125, 32), (1024, 32), (16_384, 1)] {
        echo(&bench, len, pipelined);
    }
    idle(&bench);
}

/// Each connection sends `pipelined` messages; turns until nothing is left to do. Nanoseconds are per message.
fn echo(bench: &Bench, len: usize, pipelined: usize) {
    let (mut worker, wires) = worker(CONNECTIONS, Box::new(Echo));
    let input = Wire::message(len).repeat(pipelined);
    let messages = CONNECTIONS * pipelined;
    let mut now = Now::new(1_000_000, 0);
    let run = || {
        now.ms += 1;
        for (key, wire) in &wires {
            wire.send(&input);
            worker.ready(*key, true, false, false);
        }
        while worker.turn(now) {}
        for (_, wire) in &wires {
            assert_eq!(
                black_box(wire.take()),
                pipelined * (len + 2 + 2 * usize::from(len > 125))
            );
        }
    };
    let contenders: Vec<Contender<'_>> = vec![("echo", Box::new(run))];
    bench.per(messages).group(
        &format!("turn {CONNECTIONS}x{pipelined}/{len}"),
        len * messages,
        contenders,
    );
}

/// A turn in which nothing happens, with timers to look at.
fn idle(bench: &Bench) {
    let (mut worker, _wires) = worker(CONNECTIONS, Box::new(Echo));
    let mut now = Now::new(1_000_000, 0);
    let run = || {
        now.ms += 1;
        black_box(worker.turn(now));
    };
    let contenders: Vec<Contender<'_>> = vec![("idle", Box::new(run))];
    bench.group("turn idle", 0, contenders);
}
