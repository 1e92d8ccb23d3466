//! The load tool as a program of its own: `dunlin-bench echo URL` is `dunlin bench echo URL`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    dunlin::bench::main()
}
