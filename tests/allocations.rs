//! In steady state no message allocates: not one that is echoed, not one that is delivered to many, alone or in bursts.
//! And what channels take, empty, with a subscriber, and with what they keep.
//!
//! One test, because the counter is the process's.

#![allow(clippy::unwrap_used, dead_code)]

use std::alloc::System;

use dunlin::dialect::Echo;
use dunlin::hub::ChannelOptions;
use dunlin::server::RouteSettings;
use dunlin::time::Now;
use dunlin::{Context, Handler, Message};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use wire::{Wire, worker, worker_with};

#[path = "../benches/common/wire.rs"]
mod wire;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Everybody is in one room; what one says, all hear.
struct Room;

impl Handler for Room {
    fn on_open(&mut self, cx: &mut Context<'_>) {
        assert_eq!(cx.subscribe("room"), Ok(true));
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        cx.publish("room", message).unwrap();
    }
}

/// Lets every one of `speakers` connections say `input` in `rounds` rounds, after as many to get warm; checks that
/// `written` bytes went out each time, and answers what was allocated.
fn run(
    handler: Box<dyn Handler>,
    connections: usize,
    speakers: usize,
    input: &[u8],
    written: usize,
) -> Stats {
    let (mut worker, wires) = worker(connections, handler);
    let mut now = Now::new(1_000_000, 0);
    let mut round = || {
        now = Now::new(now.ms + 30, now.unix_ms + 30);
        for (key, wire) in wires.iter().take(speakers) {
            wire.send(input);
            worker.ready(*key, true, false, false);
        }
        while worker.turn(now) {}
        let out: usize = wires.iter().map(|(_, wire)| wire.take()).sum();
        assert_eq!(out, written);
    };
    for _ in 0..ROUNDS {
        round();
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..ROUNDS {
        round();
    }
    region.change()
}

/// Each round takes thirty milliseconds of the worker's time.
const ROUNDS: usize = 100;

#[test]
fn no_message_allocates_in_steady_state() {
    let allocated = |stats: Stats| {
        (
            stats.allocations,
            stats.reallocations,
            stats.bytes_allocated,
        )
    };
    let header = |len: usize| 2 + 2 * usize::from(len > 125);
    for (len, batch) in [(125, 1), (125, 32), (1024, 32), (16_384, 8)] {
        let input = Wire::message(len).repeat(batch);
        let written = 20 * batch * (len + header(len));
        let stats = run(Box::new(Echo::default()), 20, 20, &input, written);
        assert_eq!(allocated(stats), (0, 0, 0), "echo of {batch} x {len} bytes");
    }
    for (len, batch) in [(200, 1), (200, 4), (200, 5), (200, 16), (2000, 16)] {
        let input = Wire::message(len).repeat(batch);
        let written = 100 * batch * (len + header(len));
        let stats = run(Box::new(Room), 100, 1, &input, written);
        assert_eq!(
            allocated(stats),
            (0, 0, 0),
            "{batch} x {len} bytes to a hundred"
        );
    }
    channels_take_what_they_keep();
    // The counter counts.
    let region = Region::new(ALLOCATOR);
    drop(vec![1; 100]);
    assert_eq!(region.change().allocations, 1);
}

/// Says the same 125 bytes to channel after channel.
struct Rooms {
    next: usize,
}

const ROOMS: usize = 1_000;

impl Handler for Rooms {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let name = format!("kept.{:05}", self.next % ROOMS);
        self.next += 1;
        cx.publish(&name, message).unwrap();
    }
}

/// Bytes asked of the allocator, for channels with a name of 10 bytes and messages of 125, room that tables have left
/// included: at most 650 for one that keeps a message, and 300 for each further one. The budget counts 96 beside what is
/// encoded.
fn channels_take_what_they_keep() {
    let settings = RouteSettings {
        channels: vec![ChannelOptions::of("kept.*").history_messages_max(100)],
        ..RouteSettings::default()
    };
    let (mut worker, wires) = worker_with(1, Box::new(Rooms { next: 0 }), settings, &[]);
    let (key, wire) = &wires[0];
    let region = Region::new(ALLOCATOR);
    let mut publish = |times: usize| {
        for _ in 0..times * ROOMS {
            wire.send(&Wire::message(125));
            worker.ready(*key, true, false, false);
            while worker.turn(Now::new(1_000_000, 0)) {}
        }
        let held = region.change();
        (held.bytes_allocated - held.bytes_deallocated) / ROOMS
    };
    let one = publish(1);
    let twenty = publish(19);
    let each = (twenty - one) / 19;
    println!("a channel that keeps a message takes {one} bytes, each further message {each}");
    assert!(one <= 650, "{one} bytes for a channel");
    assert!(each <= 300, "{each} bytes for a message");
}
