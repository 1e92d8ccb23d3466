//! Oracle: byte by byte equals whole, and an accepted head passes an independent, naive check of its lines.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::http::fuzz::http_head(data));
