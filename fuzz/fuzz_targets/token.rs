//! Oracle: nothing is taken without the right signature, what is taken has not ended and allows what it says, and objects
//! are read like serde_json reads them.

#![no_main]

#[path = "../../tests/oracles/token.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::token(data));
