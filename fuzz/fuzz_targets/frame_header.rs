//! Oracle: encode and parse are each other's inverse, in both directions, and a prefix asks for more.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::ws::fuzz::frame_header(data));
