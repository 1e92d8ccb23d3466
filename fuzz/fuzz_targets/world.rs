#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::sim::fuzz::world(data));
