//! Oracle: any bytes are read as a log without a panic, and what was read is written again as the same bytes; of what was
//! written and cut a prefix comes back, and of what was spoiled in one place everything that does not touch it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::journal::fuzz::journal(data));
