//! The attack program: each class of attack against the real program, one after the other, on loopback and bounded in
//! time, with one line of figures for each.
//!
//! ```sh
//! cargo test --test attack -- --nocapture      # the short form: every class, bounds that hold on a busy machine
//! tests/attack/run                             # the long form, release build, then again with little memory
//! tests/attack/run pings                       # only classes whose name contains this
//! ```
//!
//! How to read a line: *net* is a round trip without the time in which the server or the bystander wanted to run and had no
//! core, because attackers and other programs had it: attackers of the real world bring their own. *memory* is resident
//! private memory (`RssAnon`), *kernel* what `ss -m` says of the server's sockets. A class fails if an answer or a code is
//! wrong, a publication is lost, the bystander waits for a second, an attacker costs more than it may, or descriptors or
//! memory stay behind. More than 20 ms over the baseline is said, not asserted.
//!
//! Clocks that jump cannot be done to a real program; `tests/world.rs` and `tests/scenarios/` have them.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod arena;
mod bystander;
mod crowds;
#[cfg(feature = "deflate")]
mod deflated;
mod frames;
mod gauge;
mod heads;
mod line;
mod machine;
mod raw;
#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::io::{self, Write};

use arena::{Arena, Class, Form};

/// To the terminal even when the test passes.
fn say(text: &str) {
    _ = writeln!(io::stderr(), "{text}");
}

fn classes() -> Vec<&'static Class> {
    let mut all: Vec<&Class> = Vec::new();
    all.extend(frames::CLASSES);
    all.extend(heads::CLASSES);
    all.extend(crowds::CLASSES);
    all.extend(machine::CLASSES);
    #[cfg(feature = "deflate")]
    all.extend(deflated::CLASSES);
    all
}

/// Runs them all before it fails, so that one look shows everything.
fn run(form: &Form) {
    dunlin::net::raise_open_files_max();
    let only = env::var("DUNLIN_ATTACK_ONLY").unwrap_or_default();
    let mut failed = Vec::new();
    for class in classes() {
        if !class.name.contains(&only) {
            continue;
        }
        let line = Arena::run(class, form);
        say(&format!("attack: {line}"));
        if !line.faults.is_empty() {
            failed.push(class.name);
        }
    }
    assert!(failed.is_empty(), "does not hold: {failed:?}");
}

#[test]
fn short_form() {
    run(&Form::default());
}

#[test]
#[ignore = "takes minutes: tests/attack/run"]
fn long_form() {
    let number = |name: &str| env::var(name).ok().map(|v| v.parse().unwrap());
    run(&Form {
        long: true,
        memory_mib: number("DUNLIN_ATTACK_MEMORY_MIB"),
        group: env::var("DUNLIN_ATTACK_GROUP").ok(),
        core: env::var("DUNLIN_ATTACK_CORE").ok(),
    });
}
