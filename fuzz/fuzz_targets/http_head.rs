#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::http::fuzz::http_head(data));
