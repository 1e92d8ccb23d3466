//! The body of this room's fuzz target.

use std::path::Path;
use std::str;

use super::build;
pub use super::document::beside::{Entry, Tree};
use super::document::{Item, Table, Toml, beside};
use super::record::{Origin, Record};
use super::{Config, Problem};

/// Oracle: another reader of TOML agrees on every document, every mistake has a place in the text, and what is accepted
/// prints as a file that is accepted too and prints the same.
///
/// The bytes are a file; `theirs` is the other reader.
pub fn config(data: &[u8], theirs: fn(&str) -> Result<Vec<Entry>, String>) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    beside::compare(&Table::parse(text), &theirs(text), text);
    match load(text) {
        Some(Err(problems)) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in &problems {
                assert_has_a_place(problem, text);
            }
        }
        Some(Ok(config)) => {
            let printed = uncovered(&config.print());
            let again = match load(&printed) {
                Some(Ok(again)) => uncovered(&again.print()),
                Some(Err(problems)) => panic!("{problems:?}\n{printed}"),
                None => return,
            };
            let (Ok(one), Ok(other)) = (Table::parse(&printed), Table::parse(&again)) else {
                panic!("what is printed is no TOML\n{printed}\n{again}");
            };
            assert!(same_table(&one, &other), "{printed}\n{again}");
        }
        None => {}
    }
}

/// As [`Config::load`] with a file and nothing else. `None`: it names another file, and a fuzzer would name a device.
fn load(text: &str) -> Option<Result<Config, Vec<Problem>>> {
    let mut record = Record::default();
    record.read_text(Path::new("fuzz.toml"), text);
    let problems = std::mem::take(&mut record.problems);
    if !problems.is_empty() {
        return Some(Err(problems));
    }
    #[cfg(feature = "jwt")]
    if record.token_keys.iter().any(|key| key.file.is_some()) {
        return None;
    }
    let sections = ["", "hierachain", "pubsub", "chat", "echo", "tapr", "limits"];
    let of_all = sections.map(|section| record.settings.get(section, "keys_file"));
    let of_routes = record
        .routes
        .iter()
        .map(|r| r.settings.get("", "keys_file"));
    if of_all
        .into_iter()
        .chain(of_routes)
        .any(|file| file.is_some())
    {
        return None;
    }
    Some(build::build(record))
}

/// A place that an editor can go to: the end of a line is one, the end of the file too.
fn assert_has_a_place(problem: &Problem, text: &str) {
    let Origin::File { line, column, .. } = &problem.origin else {
        panic!("a mistake without a place: {problem}\n{text}");
    };
    let the_line = text.split('\n').nth(line - 1);
    let columns = the_line.map(|line| line.chars().count() + 1);
    assert!(
        *column >= 1 && columns.is_some_and(|columns| *column <= columns),
        "no such place: {problem}\n{text}"
    );
}

/// Keys are covered when they are printed; they are the one thing that has to be put in again.
fn uncovered(printed: &str) -> String {
    let (mut out, mut keys) = (String::new(), 0);
    for line in printed.split_inclusive('\n') {
        if line.starts_with("keys = ") || line.starts_with("signature_keys = ") {
            out += &line.replace("\"***\"", "\"k\"");
        } else if line.starts_with("secret = ") {
            out += &line.replace("***", &"s".repeat(32));
        } else if line.starts_with("key = ") {
            // No two of these may be the same.
            keys += 1;
            out += &line.replace("\"***\"", &format!("\"k{keys}\""));
        } else {
            out += line;
        }
    }
    out
}

fn same_table(one: &Table, other: &Table) -> bool {
    one.entries().len() == other.entries().len()
        && one.entries().iter().zip(other.entries()).all(
            |((key, item), (other_key, other_item))| {
                key.name == other_key.name && same(item, other_item)
            },
        )
}

fn same(one: &Item, other: &Item) -> bool {
    match (&one.value, &other.value) {
        (Toml::String(one), Toml::String(other)) => one == other,
        (Toml::Boolean(one), Toml::Boolean(other)) => one == other,
        (Toml::Integer { digits: one, .. }, Toml::Integer { digits: other, .. }) => one == other,
        (Toml::Array(one) | Toml::Tables(one), Toml::Array(other) | Toml::Tables(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(a, b))
        }
        (Toml::Table(one), Toml::Table(other)) => same_table(one, other),
        _ => false,
    }
}
