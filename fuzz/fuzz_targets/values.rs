//! Oracle: our scanner and serde_json find the same values in the same bytes, whole and cut; the differences are listed.

#![no_main]

#[path = "../../tests/oracles/values.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::values(data));
