//! Oracle: a model predicts every delivery, invariants hold after every step, polite peers are never accused, quiet
//! means done, and the empty house is empty.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::sim::fuzz::world(data));
