//! Fan-out: one publication to many subscribers, queued, gathered and written, in memory.
//!
//! Budget: 0.23 µs per delivery was tried with sockets when batches are large; the kernel has most of that.

#![allow(missing_docs)]

mod common;
#[path = "common/wire.rs"]
mod wire;

use common::{Bench, Contender};
use dunlin::time::Now;
use dunlin::{Context, Handler, Message};
use std::hint::black_box;
use wire::{Wire, worker};

/// Everybody is in one room; what one says, all hear.
struct Room;

impl Handler for Room {
    fn on_open(&mut self, cx: &mut Context<'_>) {
        let joined = cx.subscribe("room");
        assert_eq!(joined, Ok(true));
    }
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let published = cx.publish("room", message);
        assert!(published.is_ok());
    }
}

const SUBSCRIBERS: usize = 1_000;

fn main() {
    let bench = Bench::from_args();
    for (len, batch) in [(125, 1), (125, 16), (1024, 16), (8192, 4)] {
        publish(&bench, len, batch);
    }
}

/// One of them says `batch` messages; turns until all are written. Nanoseconds are per delivery.
fn publish(bench: &Bench, len: usize, batch: usize) {
    let (mut worker, wires) = worker(SUBSCRIBERS, Box::new(Room));
    let input = Wire::message(len).repeat(batch);
    let mut now = Now::new(1_000_000, 0);
    let run = || {
        now.ms += 1;
        let (key, wire) = &wires[0];
        wire.send(&input);
        worker.ready(*key, true, false, false);
        while worker.turn(now) {}
        for (_, wire) in &wires {
            assert_eq!(
                black_box(wire.take()),
                batch * (len + 2 + 2 * usize::from(len > 125))
            );
        }
    };
    let contenders: Vec<Contender<'_>> = vec![("publish", Box::new(run))];
    bench.per(batch * SUBSCRIBERS).group(
        &format!("fanout {SUBSCRIBERS}x{batch}/{len}"),
        0,
        contenders,
    );
}
