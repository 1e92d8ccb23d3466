//! What was measured, kept in a file: `results.json` beside the tables.
//!
//! ```text
//! { "machine": {"cpu": …, "kernel": …, "cores": …},
//!   "servers": {"dunlin": "0.1.0", …},
//!   "cases": {"echo-125": {
//!       "date": …, "dunlin": commit, "quick": false, "repetitions": 5, "pinned": true,
//!       "servers": {"dunlin": {
//!           "cpu_ns": {"median": …, "samples": […]},
//!           "saturated": "server", "faults": []}}}} }
//! ```
//!
//! A case that is measured again replaces itself, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::Result;
use crate::measure::{Sample, median};

pub struct Results {
    file: PathBuf,
    pub root: Value,
}

impl Results {
    /// What the file says, or nothing yet.
    pub fn read(file: &Path) -> Result<Self> {
        let root = match fs::read_to_string(file) {
            Ok(text) => serde_json::from_str(&text)?,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => json!({}),
            Err(why) => return Err(why.into()),
        };
        Ok(Self {
            file: file.to_owned(),
            root,
        })
    }

    pub fn write(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.root)?;
        fs::write(&self.file, text + "\n")?;
        Ok(())
    }

    /// Replaces a case: the samples of each server, or why there are none.
    pub fn set(
        &mut self,
        case: &str,
        about: Value,
        servers: &[(&'static str, Vec<std::result::Result<Sample, String>>)],
    ) {
        let mut entries = Map::new();
        for (name, samples) in servers {
            entries.insert((*name).to_owned(), entry(samples));
        }
        let mut about = about;
        about["servers"] = Value::Object(entries);
        self.root["cases"][case] = about;
    }

    /// The median of a figure.
    pub fn figure(&self, case: &str, server: &str, key: &str) -> Option<f64> {
        self.root["cases"][case]["servers"][server][key]["median"].as_f64()
    }

    pub fn case(&self, case: &str) -> &Value {
        &self.root["cases"][case]
    }
}

fn entry(samples: &[std::result::Result<Sample, String>]) -> Value {
    let mut entry = Map::new();
    let mut faults: Vec<String> = Vec::new();
    let good: Vec<&Sample> = samples.iter().filter_map(|it| it.as_ref().ok()).collect();
    for why in samples.iter().filter_map(|it| it.as_ref().err()) {
        faults.push(why.clone());
    }
    for sample in &good {
        faults.extend(sample.faults.iter().cloned());
    }
    if let Some(first) = good.first() {
        for (key, _) in &first.figures {
            let mut values: Vec<f64> = good
                .iter()
                .flat_map(|sample| &sample.figures)
                .filter(|(other, _)| other == key)
                .map(|(_, value)| *value)
                .collect();
            let samples = values.clone();
            entry.insert(
                (*key).to_owned(),
                json!({"median": median(&mut values), "samples": samples}),
            );
        }
        if let Some(saturated) = &first.saturated {
            entry.insert("saturated".to_owned(), json!(saturated));
        }
    }
    faults.sort();
    faults.dedup();
    entry.insert("faults".to_owned(), json!(faults));
    Value::Object(entry)
}
