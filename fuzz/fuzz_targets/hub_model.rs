//! Oracle: a naive model predicts every queue byte for byte, every answer and every counter; each client gets what
//! was accepted for it in order, nothing twice, and nothing less unless its policy says so and its marker tells.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::hub::fuzz::hub_model(data));
