//! Oracle: what each session gets of a channel that keeps its publications follows what it got before, by the links of
//! its envelopes and by a list of all that was ever published, unless a gap marker stands between.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::hub::fuzz::history(data));
