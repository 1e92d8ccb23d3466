//! Replays the committed fuzz corpus: each file of `fuzz/corpus/<target>/` through the body of that name, and some
//! mutations of it, so that the oracles work in every `cargo test`.

#![allow(clippy::unwrap_used)]

mod oracles;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The body of a fuzz target, by the name of its corpus folder.
fn body(target: &str) -> fn(&[u8]) {
    match target {
        "command" => dunlin::dialect::fuzz::command,
        #[cfg(feature = "cli")]
        "config" => oracles::config::config,
        #[cfg(not(feature = "cli"))]
        "config" => |_| {},
        "differential" => oracles::differential::differential,
        #[cfg(feature = "deflate")]
        "deflate" => dunlin::ws::fuzz::deflate,
        // Without the feature there is nothing to run.
        #[cfg(not(feature = "deflate"))]
        "deflate" => |_| {},
        "frame_header" => dunlin::ws::fuzz::frame_header,
        "frame_stream" => dunlin::ws::fuzz::frame_stream,
        "handshake" => dunlin::ws::fuzz::handshake,
        "http_body" => dunlin::http::fuzz::http_body,
        "http_client_answer" => dunlin::http::fuzz::http_client_answer,
        "http_head" => dunlin::http::fuzz::http_head,
        "history" => dunlin::hub::fuzz::history,
        "hub_model" => dunlin::hub::fuzz::hub_model,
        #[cfg(feature = "history-log")]
        "journal" => dunlin::journal::fuzz::journal,
        #[cfg(not(feature = "history-log"))]
        "journal" => |_| {},
        "proxy_header" => dunlin::http::fuzz::proxy_header,
        "jsonrpc" => dunlin::dialect::fuzz::jsonrpc,
        #[cfg(feature = "jwt")]
        "token" => oracles::token::token,
        #[cfg(not(feature = "jwt"))]
        "token" => |_| {},
        "unmask" => dunlin::ws::fuzz::unmask,
        "values" => oracles::values::values,
        "world" => dunlin::sim::fuzz::world,
        other => panic!("fuzz/corpus/{other} has no body here: add it to this match"),
    }
}

/// Mutations per corpus file: fewer where one run is a whole life.
fn mutations(target: &str) -> u32 {
    match target {
        "world" => 20,
        // Each makes several compressors of a third of a megabyte.
        "deflate" => 40,
        // Hundreds of deeds, each with a sweep behind it.
        "history" | "hub_model" => 50,
        _ => 200,
    }
}

#[test]
fn every_corpus_file_passes_its_target() {
    for (folder, files) in corpus() {
        let run = body(&folder);
        for file in files {
            let data = fs::read(&file).unwrap();
            replay(&file, &data, run);
        }
    }
}

#[test]
fn mutations_of_corpus_files_pass_too() {
    for (folder, files) in corpus() {
        let run = body(&folder);
        let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        let mut random = Random(0x2545_F491_4F6C_DD1D);
        for (file, seed) in files.iter().zip(&seeds) {
            for _ in 0..mutations(&folder) {
                let mut data = seed.clone();
                for _ in 0..1 + random.below(3) {
                    mutate(&mut data, &seeds, &mut random);
                }
                replay(file, &data, run);
            }
        }
    }
}

#[test]
fn every_target_has_a_corpus_and_a_body() {
    let sources = entries(&fuzz().join("fuzz_targets"));
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let targets: BTreeSet<String> = sources.iter().map(stem).collect();
    let folders: BTreeSet<String> = corpus().into_iter().map(|(folder, _)| folder).collect();
    assert_eq!(targets, folders);
}

/// Runs a body; a failure names the file and shows the bytes, which are the reproduction.
fn replay(file: &Path, data: &[u8], run: fn(&[u8])) {
    let result = std::panic::catch_unwind(|| run(data));
    assert!(
        result.is_ok(),
        "{} or a mutation of it failed: {}",
        file.display(),
        data.escape_ascii()
    );
}

/// Each folder of the corpus with its files, none empty.
fn corpus() -> Vec<(String, Vec<PathBuf>)> {
    let folders = entries(&fuzz().join("corpus"));
    assert!(!folders.is_empty(), "no corpus");
    let named = folders.into_iter().map(|folder| {
        let files = entries(&folder);
        assert!(!files.is_empty(), "{} is empty", folder.display());
        (
            folder.file_name().unwrap().to_string_lossy().into_owned(),
            files,
        )
    });
    named.collect()
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut entries: Vec<PathBuf> = read.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// One small change of the kind fuzzers make.
fn mutate(data: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(data.len() + 1);
    match random.below(6) {
        0 => data.truncate(at),
        1 => data.insert(at, random.next() as u8),
        2 if at < data.len() => drop(data.remove(at)),
        3 if at < data.len() => data[at] ^= 1 << random.below(8),
        4 if at < data.len() => {
            data[at] = [0x00, 0x7E, 0x7F, 0x80, 0xFF, b',', b' '][random.below(7)]
        }
        _ => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            data.extend_from_slice(&other[from..]);
        }
    }
}

/// xorshift64 (Marsaglia): the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
