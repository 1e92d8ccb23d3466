//! Oracle: cut anywhere equals whole, the output stays within the limit, and what is encoded is decoded again.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::http::fuzz::http_body(data));
