//! Oracle: no panic, the hub's invariants hold after each step, every answer of a JSON dialect is JSON, a refused
//! publication reaches nobody and an accepted one as many as its answer says, an application hears of each session
//! `open`, then messages, then `close` exactly once, and an empty house is empty.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::dialect::fuzz::command(data));
