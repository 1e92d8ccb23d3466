//! What happens where the kernel cannot: said at start, or no start.
//!
//! Landlock takes sixteen layers. Who has so many already cannot have another one, whatever kernel it is.

use std::process::Command;

use landlock::{AccessFs, Ruleset, RulesetAttr, RulesetStatus};

use crate::serving::start_line;
use crate::support::{Child, Dunlin};

/// As many layers as there can be, around this thread and what it starts; they only forbid to make block devices.
fn layers() -> bool {
    for _ in 0..16 {
        let rules = Ruleset::default().handle_access(AccessFs::MakeBlock);
        let status = rules.and_then(|rules| rules.create()?.restrict_self());
        match status {
            Ok(status) if status.ruleset != RulesetStatus::NotEnforced => {}
            Ok(_) => return false,
            Err(_) => return true,
        }
    }
    true
}

/// The program, which shall not serve outside a whole sandbox.
fn start() -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    // What the tests are told by variables is none of the program's settings.
    command.env_clear().args(["--sandbox", "required"]);
    command.args(["--listen", "127.0.0.1:0", "--control", "off"]);
    Child::start(command.args(["--tapr", "off"]))
}

#[test]
fn required_means_required() {
    if !layers() {
        eprintln!("SKIPPED: this kernel has no landlock");
        return;
    }
    let mut child = start();
    let end = child.end();
    let said = child.seen.join("\n");
    assert_eq!(end.code(), Some(71), "{said}");
    assert!(
        said.contains("\"required\", but sandbox: calls (not files, ports: "),
        "{said}"
    );

    // Otherwise it takes what there is.
    let mut dunlin = Dunlin::start(&[]);
    let line = start_line(&mut dunlin);
    assert!(
        line.contains("; sandbox: calls (not files, ports: "),
        "{line}"
    );
    dunlin.stop();
}

#[test]
fn required_starts_where_everything_is_there() {
    let mut child = start();
    // Either it serves, or it says why not: nothing in between.
    child.line("sandbox: calls");
    child.terminate();
    let end = child.end();
    let said = child.seen.join("\n");
    let serves = said.contains("serves");
    assert_eq!(end.code(), Some(if serves { 0 } else { 71 }), "{said}");
    if !serves {
        eprintln!("SKIPPED: {said}");
    }
}
