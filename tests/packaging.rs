//! What is packaged beside the program says what it should.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

/// What systemd may think of the unit: from 0 (nothing is exposed) to 10.
const EXPOSURE_MAX: f64 = 1.5;

#[test]
fn the_unit_exposes_little() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/dunlin.service");
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--no-pager"]);
    let Ok(output) = analyze.arg(&unit).output() else {
        eprintln!("SKIPPED: there is no systemd-analyze to ask");
        return;
    };
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    // A name that it does not know is left out, and with it what the name was for.
    assert!(!err.contains("ignoring"), "{err}");
    assert!(output.status.success(), "{out}\n{err}");
    // `→ Overall exposure level for dunlin.service: 1.1 OK`
    let level = out.split("exposure level for dunlin.service: ").nth(1);
    let level = level.and_then(|text| text.split_whitespace().next());
    let level: f64 = level.expect(&out).parse().unwrap();
    println!("exposure: {level}");
    assert!(level <= EXPOSURE_MAX, "{out}");
}
