//! What was typed.

use std::path::PathBuf;

use crate::Result;
use crate::cases::{CASES, Case};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Run,
    Instructions,
    Check,
    Render,
}

#[derive(Debug)]
pub struct Options {
    pub task: Task,
    pub folder: PathBuf,
    pub benches: PathBuf,
    pub quick: bool,
    pub repetitions: usize,
    pub seconds: f64,
    /// Only these; empty: all.
    pub servers: Vec<String>,
    filters: Vec<String>,
}

const USAGE: &str = "usage: compare run|instructions|check|render FOLDER BENCHES \
     [--quick] [--repetitions N] [--seconds S] [--server NAME]… [CASE]…";

impl Options {
    pub fn parse(arguments: Vec<String>) -> Result<Self> {
        let mut words = arguments.into_iter();
        let task = match words.next().as_deref() {
            Some("run") => Task::Run,
            Some("instructions") => Task::Instructions,
            Some("check") => Task::Check,
            Some("render") => Task::Render,
            _ => return Err(USAGE.into()),
        };
        let mut options = Self {
            task,
            folder: words.next().ok_or(USAGE)?.into(),
            benches: words.next().ok_or(USAGE)?.into(),
            quick: false,
            repetitions: 0,
            seconds: 0.0,
            servers: Vec::new(),
            filters: Vec::new(),
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => options.quick = true,
                "--repetitions" => options.repetitions = words.next().ok_or(USAGE)?.parse()?,
                "--seconds" => options.seconds = words.next().ok_or(USAGE)?.parse()?,
                "--server" => options.servers.push(words.next().ok_or(USAGE)?),
                flag if flag.starts_with('-') => return Err(USAGE.into()),
                _ if task == Task::Run => options.filters.push(word),
                _ => options.servers.push(word),
            }
        }
        // Without these two there is nothing to compare with.
        if task == Task::Run && !options.servers.is_empty() {
            options.servers.extend(["dunlin".into(), "raw".into()]);
        }
        let (repetitions, seconds) = if options.quick { (1, 1.0) } else { (5, 3.0) };
        if options.repetitions == 0 {
            options.repetitions = repetitions;
        }
        if options.seconds == 0.0 {
            options.seconds = seconds;
        }
        if task == Task::Run && options.cases().is_empty() {
            let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
            return Err(format!("no such case; there are {}", names.join(", ")).into());
        }
        Ok(options)
    }

    /// The case of that name; else all whose name contains the word.
    pub fn cases(&self) -> Vec<&'static Case> {
        let is_exact = |word: &String| CASES.iter().any(|case| case.name == word);
        let is_meant = |case: &&Case, word: &String| {
            case.name == word || (!is_exact(word) && case.name.contains(word.as_str()))
        };
        CASES
            .iter()
            .filter(|case| {
                self.filters.is_empty() || self.filters.iter().any(|word| is_meant(case, word))
            })
            .collect()
    }

    pub fn results(&self) -> PathBuf {
        self.benches.join("results.json")
    }
}
