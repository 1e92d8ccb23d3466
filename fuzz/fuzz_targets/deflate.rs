//! Oracle: whole equals chunked equals byte by byte, nothing is larger than the limit, what the peer's context
//! costs is bounded; and what we compress inflates to what it was.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::ws::fuzz::deflate(data));
