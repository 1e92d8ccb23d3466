//! Oracle: the fast way equals RFC 6455 §5.3 byte by byte, at every offset and alignment, whole and in any pieces,
//! and twice is the original.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::ws::fuzz::unmask(data));
