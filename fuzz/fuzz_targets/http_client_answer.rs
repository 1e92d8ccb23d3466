//! Oracle: cut anywhere equals whole, a naive reading in three steps agrees, the limits hold, and an accepted
//! answer that is written down again with its length is read as the same one.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::http::fuzz::http_client_answer(data));
