//! A publication to a channel that nobody is in, while there are patterns (feature `wildcards`), in memory.
//!
//! Budget: patterns that do not have the channel cost nothing that grows with their number. The worst that clients can
//! do is to have all combinations of one literal and `*`, so that a publication looks at every node on its way.

#![allow(missing_docs)]

mod common;
#[path = "common/wire.rs"]
mod wire;

use common::{Bench, Contender};
use dunlin::time::Now;
use dunlin::{Context, Handler, Message};
use wire::{Wire, worker};

/// The first session publishes; each of the others listens by so many patterns.
struct Board {
    sessions: usize,
    pattern: fn(usize, usize) -> String,
    per_session: usize,
}

impl Handler for Board {
    fn on_open(&mut self, cx: &mut Context<'_>) {
        for number in 0..self.per_session {
            let pattern = (self.pattern)(self.sessions, number);
            // The first listens too, or a hub without patterns would be another.
            let subscribed = cx.subscribe_pattern(&pattern);
            assert_eq!(subscribed, Ok(true), "{pattern}");
        }
        self.sessions += 1;
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let published = cx.publish(CHANNEL, message).map(|p| p.receivers);
        assert_eq!(published, Ok(0));
    }
}

const CHANNEL: &str = "a.a.a.a.a.a.a.a";
const BATCH: usize = 32;

fn elsewhere(session: usize, number: usize) -> String {
    format!("a.a.{session}.{number}.*")
}

/// All of seven segments, each `a` or `*` but not all `a`, with an end that the channel does not have.
fn worst(_: usize, number: usize) -> String {
    let segment = |at: usize| if number >> at & 1 == 1 { "a." } else { "*." };
    (0..7).map(segment).chain(["b"]).collect()
}

fn main() {
    let bench = Bench::from_args();
    let input = Wire::message(125).repeat(BATCH);
    let boards = [
        ("none", 1, 0, elsewhere as fn(usize, usize) -> String),
        ("one", 1, 1, elsewhere),
        ("10,000", 100, 100, elsewhere),
        ("worst", 1, 127, worst),
    ];
    let contenders = boards.map(|(name, sessions, per_session, pattern)| {
        let board = Board {
            sessions: 0,
            pattern,
            per_session,
        };
        let (mut worker, wires) = worker(sessions, Box::new(board));
        let input = input.clone();
        let mut now = Now::new(1_000_000, 0);
        let run = move || {
            now.ms += 1;
            let (key, wire) = &wires[0];
            wire.send(&input);
            worker.ready(*key, true, false, false);
            while worker.turn(now) {}
        };
        let run: Box<dyn FnMut()> = Box::new(run);
        (name, run) as Contender<'_>
    });
    let name = "a publication beside patterns";
    bench.per(BATCH).group(name, 0, contenders.into());
}
