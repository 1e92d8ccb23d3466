//! What a history costs: a publication to a channel that keeps it beside one that does not; channels that are kept; and a
//! crowd that comes back at once.
//!
//! Budget: 1.10 of a publication without a history, per delivery.

#![allow(missing_docs)]

mod common;
#[path = "common/wire.rs"]
mod wire;

use common::{Bench, Contender};
use dunlin::hub::{ChannelOptions, Start, Upgrade};
use dunlin::server::RouteSettings;
use dunlin::time::Now;
use dunlin::{Context, Handler, Message, Request};
use std::hint::black_box;
use wire::{Wire, connect, worker_with};

/// Everybody is in one room, from the first message that it keeps; what one says, all hear. `NAME text` goes to another.
struct Room {
    name: &'static str,
}

impl Handler for Room {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, _: &Request<'_>) -> Upgrade {
        let joined = cx.subscribe_from(self.name, Start::All);
        assert!(joined.is_ok());
        Upgrade::accept()
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let published = cx.publish(self.name, message);
        assert!(published.is_ok());
    }
}

fn main() {
    let bench = Bench::from_args();
    for subscribers in [1, 100, 1_000] {
        publish(&bench, subscribers);
    }
    for length in [16, 128] {
        come_back(&bench, length);
    }
}

/// Rooms whose names begin with `kept` keep so many.
fn settings(messages_max: u32) -> RouteSettings {
    RouteSettings {
        ping_after_ms: 0,
        channels: vec![ChannelOptions::of("kept*").history_messages_max(messages_max)],
        ..RouteSettings::default()
    }
}

/// One of them says a message of 200 bytes; turns until it is written. Nanoseconds are per delivery.
fn publish(bench: &Bench, subscribers: usize) {
    let contender = |name: &'static str| {
        let (mut worker, wires) =
            worker_with(subscribers, Box::new(Room { name }), settings(100), &[]);
        let input = Wire::message(200);
        let mut now = Now::new(1_000_000, 0);
        move || {
            now.ms += 1;
            let (key, wire) = &wires[0];
            wire.send(&input);
            worker.ready(*key, true, false, false);
            while worker.turn(now) {}
            for (_, wire) in &wires {
                assert_eq!(black_box(wire.take()), 204);
            }
        }
    };
    let contenders: Vec<Contender<'_>> = vec![
        ("plain", Box::new(contender("plain"))),
        ("kept", Box::new(contender("kept"))),
    ];
    let name = format!("history publish {subscribers}x200");
    bench.per(subscribers).group(&name, 0, contenders);
}

/// A thousand connect, and get so many messages of 200 bytes that the room keeps. Nanoseconds are per client; those of
/// its handshake, which is all that the first contender does, are in them.
fn come_back(bench: &Bench, length: u32) {
    const CROWD: usize = 1_000;
    let contender = |name: &'static str, expected: usize| {
        move || {
            let room = Box::new(Room { name });
            let (mut worker, wires) = worker_with(1, room, settings(length), &[]);
            let (key, wire) = &wires[0];
            for _ in 0..length {
                wire.send(&Wire::message(200));
                worker.ready(*key, true, false, false);
                while worker.turn(Now::new(1_000_000, 0)) {}
            }
            for _ in 0..CROWD {
                let (_, wire) = connect(&mut worker, &[]);
                let written = black_box(wire.take());
                assert!(written > 100 + expected && written < 300 + expected);
            }
        }
    };
    let contenders: Vec<Contender<'_>> = vec![
        ("handshake", Box::new(contender("plain", 0))),
        (
            "and kept",
            Box::new(contender("kept", 204 * length as usize)),
        ),
    ];
    let name = format!("history come back {length}x200");
    bench.per(CROWD).group(&name, 0, contenders);
}
