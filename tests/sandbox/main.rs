//! Least privilege: everything that a server does still works, and what it has given up is gone.
//!
//! | file | subject |
//! | --- | --- |
//! | `serving.rs` | the real program inside its sandbox |
//! | `refused.rs` | forbidden calls, made by a process that has entered the same policy |
//! | `required.rs` | what happens where the kernel cannot |
//!
//! Where the kernel has neither landlock nor seccomp the tests say `SKIPPED` and prove nothing. `.ci/run` lets the
//! other tests of the program run inside the sandbox too, and all of these with both C libraries.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod refused;
mod required;
mod serving;
#[path = "../support/mod.rs"]
mod support;
