//! Masking: eight bytes at a time against the definition.
//!
//! Budget: a small frame costs 130 ns and more in the kernel, so below some 4 KiB masking must not show at all.

#![allow(missing_docs)]

mod common;

use common::{Bench, Contender};
use dunlin::ws::{mask, mask_bytewise};
use std::hint::black_box;

fn main() {
    let bench = Bench::from_args();
    let key = [0x37, 0xFA, 0x21, 0x3D];
    for len in [16, 125, 1024, 16 * 1024, 256 * 1024] {
        let mut buffers = [vec![0x5A_u8; len], vec![0x5A; len], vec![0x5A; len]];
        let [fast, shifted, naive] = &mut buffers;
        let contenders: Vec<Contender<'_>> = vec![
            (
                "fast",
                Box::new(|| mask(black_box(fast), black_box(key), 0)),
            ),
            (
                "offset 3",
                Box::new(|| mask(black_box(shifted), black_box(key), 3)),
            ),
            (
                "bytewise",
                Box::new(|| mask_bytewise(black_box(naive), black_box(key), 0)),
            ),
        ];
        bench.group(&format!("mask/{len}"), len, contenders);
    }
}
