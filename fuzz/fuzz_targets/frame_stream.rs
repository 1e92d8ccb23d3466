//! Oracle: whole equals chunked equals byte by byte, a naive decoder agrees, and memory follows what was received.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::ws::fuzz::frame_stream(data));
