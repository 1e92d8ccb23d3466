//! All cases and all servers in turns, and what is written down.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Instant;

use serde_json::{Map, json};

use crate::Result;
use crate::cases::{Case, Work};
use crate::instructions::{self, COUNTS};
use crate::measure::{Bench, Sample};
use crate::options::Options;
use crate::process::can_pin;
use crate::render;
use crate::results::Results;
use crate::server::Server;

/// What the load generator and the compare program want to open besides.
const SPARE_FILES: u64 = 100;

const LOCK: &str = include_str!("../../Cargo.lock");

/// Measures the cases that are asked for; each is written down as soon as it is complete.
pub fn run(options: &Options, servers: &[Server]) -> Result<()> {
    if let Err(why) = can_pin() {
        println!("nothing is pinned: {why}; figures wobble more");
    }
    let bench = Bench {
        folder: options.folder.clone(),
        seconds: options.seconds,
        warmup: if options.quick { 0.3 } else { 1.0 },
        quick: options.quick,
    };
    let begun = Instant::now();
    for case in options.cases() {
        if let Some(why) = cannot(case) {
            println!("SKIPPED: {}: {why}", case.name);
            continue;
        }
        println!(
            "=== {}: {} ({} s)",
            case.name,
            case.title,
            begun.elapsed().as_secs()
        );
        let samples = measure(case, servers, options, &bench);
        let mut results = Results::read(&options.results())?;
        describe(&mut results, servers)?;
        let benches = options.benches.to_string_lossy();
        let about = json!({
            "date": output("date", &["-u", "+%Y-%m-%d"]),
            "dunlin": output("git", &["-C", &benches, "rev-parse", "--short", "HEAD"]),
            "quick": options.quick,
            "repetitions": repetitions(case, options),
            "pinned": can_pin().is_ok() && !matches!(case.work, Work::Start),
        });
        results.set(case.name, about, &samples);
        results.write()?;
        write_page(options, &results)?;
    }
    Ok(())
}

type Samples = Vec<(&'static str, Vec<std::result::Result<Sample, String>>)>;

/// A B C A B C …: a disturbance hits all of them.
fn measure(case: &Case, servers: &[Server], options: &Options, bench: &Bench) -> Samples {
    let mut samples: Samples = servers
        .iter()
        .filter(|server| match case.work {
            Work::Count(_) => server.can_be_counted(),
            Work::EchoDeflate { .. } | Work::FanDeflate { .. } => {
                server.can_deflate() || (server.name == "raw" && case.name == "deflate-off-fan")
            }
            // A write per frame and socket is far from a million a second.
            Work::Offered { .. } => server.name != "raw",
            _ => true,
        })
        .map(|server| (server.name, Vec::new()))
        .collect();
    let repetitions = repetitions(case, options);
    for repetition in 1..=repetitions {
        for (name, samples) in &mut samples {
            let Some(server) = servers.iter().find(|server| server.name == *name) else {
                continue;
            };
            let sample = bench
                .measure(case.work, server)
                .map_err(|why| why.to_string());
            let text = match &sample {
                Ok(sample) => describe_sample(case, sample),
                Err(why) => format!("failed: {why}"),
            };
            println!("  {repetition}/{repetitions} {name}: {text}");
            samples.push(sample);
        }
    }
    samples
}

fn describe_sample(case: &Case, sample: &Sample) -> String {
    let mut words = Vec::new();
    for metric in case.metrics {
        let figure = sample.figures.iter().find(|(key, _)| *key == metric.key);
        if let Some((_, figure)) = figure {
            words.push(format!(
                "{} {}",
                render::show(*figure, metric.unit),
                metric.title
            ));
        }
    }
    words.extend(sample.saturated.iter().map(|who| format!("busy: {who}")));
    words.extend(sample.faults.iter().cloned());
    words.join(", ")
}

/// Counting gives the same every time.
fn repetitions(case: &Case, options: &Options) -> usize {
    match case.work {
        Work::Count(_) => 1,
        _ => options.repetitions,
    }
}

/// Why a case cannot be measured here.
fn cannot(case: &Case) -> Option<String> {
    match case.work {
        Work::Count(_) if !instructions::can_count() => {
            Some("there is no valgrind to count with".to_owned())
        }
        Work::Idle { connections, .. } => {
            let limit = open_files();
            let wanted = connections as u64 + SPARE_FILES;
            (limit < wanted).then(|| format!("{wanted} open files are wanted, {limit} allowed"))
        }
        _ => None,
    }
}

fn open_files() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|rest| rest.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX)
}

/// The machine and the versions.
fn describe(results: &mut Results, servers: &[Server]) -> Result<()> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |rest| rest.trim_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    results.root["machine"] = json!({
        "cpu": model,
        "cores": cores,
        "kernel": output("uname", &["-r"]),
        "rustc": output("rustc", &["--version"]),
    });
    let before = results.root["servers"].as_object().cloned();
    let mut versions: BTreeMap<String, _> = before.unwrap_or_default().into_iter().collect();
    for server in servers {
        versions.insert(server.name.to_owned(), json!(server.version(LOCK)));
    }
    let ordered: Map<_, _> = render::NAMES
        .into_iter()
        .filter_map(|name| versions.remove_entry(name))
        .collect();
    results.root["servers"] = ordered.into();
    Ok(())
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "unknown".to_owned())
}

/// The tables and the plots.
pub fn write_page(options: &Options, results: &Results) -> Result<()> {
    fs::write(options.benches.join("README.md"), render::page(results))?;
    let plots = options.benches.join("plots");
    fs::create_dir_all(&plots)?;
    for (name, chart) in render::plots(results) {
        fs::write(plots.join(name), chart.svg())?;
    }
    Ok(())
}

/// Instruction counts, printed.
pub fn count(options: &Options, servers: &[Server]) -> Result<()> {
    for count in &COUNTS {
        for server in servers.iter().filter(|server| server.can_be_counted()) {
            match count.measure(server, &options.folder) {
                Ok(instructions) => println!("{}: {}: {instructions}", count.title, server.name),
                Err(why) => println!("{}: {}: {why}", count.title, server.name),
            }
        }
    }
    Ok(())
}
