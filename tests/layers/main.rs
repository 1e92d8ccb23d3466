//! The walls between the rooms: reads every file of `src/` and checks what each may know.
//!
//! A broken wall is reported as `file:line` and the rule it breaks. The checker itself is tested on snippets, one
//! that keeps each rule and one that breaks it.

#![allow(clippy::unwrap_used)]

mod rules;
mod scan;
mod snippets;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use scan::Source;

#[test]
fn every_wall_stands() {
    let mut broken = Vec::new();
    let house = house();
    for (file, source) in &house {
        for (line, why) in rules::check(file, source) {
            broken.push(format!("{file}:{line}: {why}"));
        }
    }
    let used: Vec<String> = house
        .values()
        .flat_map(|source| &source.paths)
        .map(|path| path.segments[0].clone())
        .collect();
    let cargo_toml = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for why in rules::check_dependencies(&cargo_toml, &used) {
        broken.push(format!("Cargo.toml:1: {why}"));
    }
    assert!(
        broken.is_empty(),
        "{} broken:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

#[test]
fn every_file_of_the_house_is_read() {
    let house = house();
    let mut on_disk = Vec::new();
    walk(&root().join("src"), &mut on_disk);
    let unread: Vec<_> = on_disk
        .iter()
        .map(|path| name(path))
        .filter(|file| !house.contains_key(file))
        .collect();
    assert!(unread.is_empty(), "no `mod` line leads to {unread:?}");
    assert!(house.contains_key("src/lib.rs") && house.contains_key("src/main.rs"));
    let paths: usize = house.values().map(|source| source.paths.len()).sum();
    assert!(
        paths > 500,
        "only {paths} paths found: the reader is broken"
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `src/hub/mod.rs`, with slashes.
fn name(path: &Path) -> String {
    let inside = path.strip_prefix(root()).unwrap();
    inside.to_string_lossy().replace('\\', "/")
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// Every file that the roots lead to.
fn house() -> BTreeMap<String, Source> {
    let mut house = BTreeMap::new();
    for file in ["src/lib.rs", "src/main.rs", "src/bin/dunlin-bench.rs"] {
        read(&root().join(file), &[], false, &mut house);
    }
    house
}

/// Reads a file and the files of its modules. A module is test code if its `mod` line is.
fn read(file: &Path, module: &[String], in_test: bool, house: &mut BTreeMap<String, Source>) {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let source = Source::read(&text, module, in_test);
    let folder = file.parent().unwrap();
    let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
    let is_folder_itself = ["lib", "main", "mod"].contains(&&stem[..]);
    let below = if is_folder_itself {
        folder.to_owned()
    } else {
        folder.join(stem)
    };
    for declared in &source.modules {
        let next = match &declared.file {
            Some(file) => folder.join(file),
            None => {
                let flat = below.join(format!("{}.rs", declared.name));
                let nested = below.join(&declared.name).join("mod.rs");
                if flat.exists() { flat } else { nested }
            }
        };
        let mut path = module.to_vec();
        path.push(declared.name.clone());
        read(&next, &path, in_test || declared.in_test, house);
    }
    house.insert(name(file), source);
}
