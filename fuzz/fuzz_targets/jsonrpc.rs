//! Oracle: no panic, the hub's invariants hold after each step, whatever a client gets is an answer with an id that it
//! has used or news of a subscription of its own, a request is answered at most once, and in the end nothing is under way.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin::dialect::fuzz::jsonrpc(data));
