//! Oracle: the cut must not matter, an answer stays whatever follows, and what a proxy encodes is read back.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::http::fuzz::proxy_header(data));
