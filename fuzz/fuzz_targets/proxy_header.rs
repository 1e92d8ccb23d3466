#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::http::fuzz::proxy_header(data));
