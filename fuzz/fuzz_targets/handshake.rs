//! Oracle: what is accepted satisfies a naive re-check, and the answer opens the connection at the other end.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::ws::fuzz::handshake(data));
