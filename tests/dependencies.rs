//! The dependency tree of the default build stays small: few crates, and nothing that needs a C compiler or a macro
//! expander.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

/// A lean set of crates came to 38; the seven without which nothing works bring 19.
const CRATES_MAX: usize = 40;

/// The lines of `cargo tree`, one crate each, without the root and without duplicates.
fn tree(edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "none"])
        .args(["--edges", edges, "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree failed: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("dunlin "))
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect()
}

#[test]
fn the_default_build_has_few_crates() {
    let crates = tree("normal");
    assert!(crates.iter().any(|name| name.starts_with("mio ")));
    println!("{} crates: {crates:?}", crates.len());
    assert!(
        crates.len() <= CRATES_MAX,
        "{} crates, at most {CRATES_MAX}: {crates:#?}",
        crates.len()
    );
}

#[test]
fn the_default_build_expands_no_macros_and_compiles_no_c() {
    let crates = tree("normal,build");
    assert!(crates.iter().any(|name| name.starts_with("mio ")));
    let heavy: Vec<_> = crates
        .iter()
        .filter(|line| {
            let name = line.split(' ').next().unwrap_or_default();
            line.contains("(proc-macro)")
                || ["cc", "cmake", "pkg-config", "bindgen"].contains(&name)
        })
        .collect();
    assert!(heavy.is_empty(), "not in the default build: {heavy:?}");
}
