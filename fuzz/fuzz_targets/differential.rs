//! Oracle: our decoder and tungstenite's read the same messages and come to the same verdict; the differences are
//! listed.

#![no_main]

#[path = "../../tests/oracles/differential.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::differential(data));
