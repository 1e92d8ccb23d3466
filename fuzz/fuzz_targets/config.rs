//! Oracle: another reader of TOML agrees on every document, every mistake has a place in the text, and what is
//! accepted prints as a file that is accepted too and prints the same.

#![no_main]

#[path = "../../tests/oracles/config.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::config(data));
