//! The tables of `benches/README.md`.

use std::fmt::Write;

use serde_json::Value;

use crate::cases::{CASES, Case, Goal, Metric, Unit, Work};
use crate::results::Results;
use crate::server;

/// The page around the tables, as far as it does not change with the figures.
const HEAD: &str = include_str!("head.md");

/// The columns: every server, in this order, that has a figure.
pub const NAMES: [&str; 10] = server::NAMES;

/// The sections, and which cases stand in each.
type Section = (&'static str, fn(&Work) -> bool);
const SECTIONS: [Section; 6] = [
    ("Echo", |work| matches!(work, Work::Echo { .. })),
    ("Fan-out", |work| {
        matches!(work, Work::Fan { .. } | Work::Offered { .. })
    }),
    ("Deflate", |work| {
        matches!(work, Work::EchoDeflate { .. } | Work::FanDeflate { .. })
    }),
    ("Connections", |work| {
        matches!(work, Work::Connect | Work::Idle { .. })
    }),
    ("Start", |work| matches!(work, Work::Start)),
    ("Instructions", |work| matches!(work, Work::Count(_))),
];

/// How one goal was met.
pub struct Verdict {
    /// `≤ 1.02 × raw`.
    pub goal: String,
    /// dunlin's ratio, or its figure where the goal is one; nothing without a reference.
    pub value: Option<f64>,
    pub is_met: Option<bool>,
    is_ratio: bool,
}

/// The whole page.
pub fn page(results: &Results) -> String {
    let mut page = HEAD.replace("{config}", server::config().trim_end());
    for (title, belongs) in SECTIONS {
        let cases: Vec<&Case> = CASES.iter().filter(|case| belongs(&case.work)).collect();
        let measured = |case: &&&Case| results.case(case.name).is_object();
        if !cases.iter().any(|case| measured(&case)) {
            continue;
        }
        _ = write!(page, "\n## {title}\n\n");
        _ = writeln!(
            page,
            "![dunlin beside the others](plots/{}.svg)\n",
            title.to_lowercase()
        );
        let names: Vec<&str> = NAMES
            .into_iter()
            .filter(|name| cases.iter().any(|case| has_figure(results, case, name)))
            .collect();
        _ = writeln!(
            page,
            "| case | {} | goal: dunlin is at | met | busy |",
            names.join(" | ")
        );
        _ = writeln!(page, "|{}", " --- |".repeat(names.len() + 4));
        for case in cases.iter().filter(measured) {
            for metric in case.metrics {
                row(&mut page, results, case, metric, &names);
            }
        }
        notes(&mut page, results, &cases);
    }
    machine(&mut page, results);
    page
}

fn has_figure(results: &Results, case: &Case, name: &str) -> bool {
    let mut metrics = case.metrics.iter();
    metrics.any(|metric| results.figure(case.name, name, metric.key).is_some())
}

fn row(page: &mut String, results: &Results, case: &Case, metric: &Metric, names: &[&str]) {
    let title = if case.metrics.len() > 1 || metric.unit != Unit::Nanoseconds {
        format!("{}: {}", case.title, metric.title)
    } else {
        case.title.to_owned()
    };
    let quick = if results.case(case.name)["quick"] == Value::Bool(true) {
        " (quick)"
    } else {
        ""
    };
    _ = write!(page, "| `{}` {title}{quick}", case.name);
    for name in names {
        let figure = results.figure(case.name, name, metric.key);
        let text = figure.map_or("–".to_owned(), |figure| show(figure, metric.unit));
        _ = write!(page, " | {text}");
    }
    let verdicts = verdicts(results, case, metric);
    let goals: Vec<String> = verdicts.iter().map(Verdict::text).collect();
    let met: Vec<&str> = verdicts
        .iter()
        .map(|verdict| match verdict.is_met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "?",
        })
        .collect();
    let busy = results.case(case.name)["servers"]["dunlin"]["saturated"].as_str();
    _ = writeln!(
        page,
        " | {} | {} | {} |",
        goals.join("<br>"),
        met.join("<br>"),
        busy.unwrap_or("–")
    );
}

impl Verdict {
    fn text(&self) -> String {
        match self.value {
            Some(value) if self.is_ratio => format!("{}: {value:.2}", self.goal),
            Some(_) => self.goal.clone(),
            None => format!("{}: no reference", self.goal),
        }
    }
}

/// What became of the goals of a figure.
pub fn verdicts(results: &Results, case: &Case, metric: &Metric) -> Vec<Verdict> {
    let of = |name: &str| results.figure(case.name, name, metric.key);
    let dunlin = of("dunlin");
    let peers = || {
        NAMES
            .into_iter()
            .filter(|name| !["dunlin", "raw"].contains(name))
    };
    let ratio = |limit: f64, to: Option<f64>, name: String| {
        let value = dunlin.zip(to).map(|(dunlin, to)| dunlin / to);
        Verdict {
            goal: format!("≤ {limit} × {name}"),
            value,
            is_met: value.map(|value| value <= limit),
            is_ratio: true,
        }
    };
    let absolute = |sign: &str, limit: f64, is_met: Option<bool>| Verdict {
        goal: format!("{sign} {}", show(limit, metric.unit)),
        value: dunlin,
        is_met,
        is_ratio: false,
    };
    let verdict = |goal: &Goal| match *goal {
        Goal::Raw(limit) => ratio(limit, of("raw"), "raw".into()),
        Goal::Uws(limit) => ratio(limit, of("uws"), "uws".into()),
        Goal::BestPeer(limit) => {
            let figures = peers().filter_map(|name| Some((name, of(name)?)));
            let best = figures.min_by(|a, b| a.1.total_cmp(&b.1));
            let name = best.map_or("the best peer", |(name, _)| name);
            ratio(limit, best.map(|(_, figure)| figure), name.into())
        }
        Goal::Itself(limit, other) => {
            let figure = results.figure(other, "dunlin", metric.key);
            ratio(limit, figure, "uncompressed".into())
        }
        Goal::AtMost(limit) => absolute("≤", limit, dunlin.map(|value| value <= limit)),
        Goal::AtLeast(limit) => absolute("≥", limit, dunlin.map(|value| value >= limit)),
    };
    metric.goals.iter().map(verdict).collect()
}

/// What went wrong while it was measured: a figure beside it means little.
fn notes(page: &mut String, results: &Results, cases: &[&Case]) {
    let mut notes = Vec::new();
    for case in cases {
        let Some(servers) = results.case(case.name)["servers"].as_object() else {
            continue;
        };
        for (name, entry) in servers {
            let faults = entry["faults"].as_array();
            let faults: Vec<&str> = faults
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if !faults.is_empty() {
                notes.push(format!("- `{}`, {name}: {}", case.name, faults.join("; ")));
            }
        }
    }
    if !notes.is_empty() {
        _ = write!(page, "\nWhat went wrong:\n\n{}\n", notes.join("\n"));
    }
}

fn machine(page: &mut String, results: &Results) {
    let word = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let machine = &results.root["machine"];
    _ = write!(
        page,
        "\n## Where and when\n\n{}, {} cores, Linux {}, {}.",
        word(&machine["cpu"]),
        machine["cores"],
        word(&machine["kernel"]),
        word(&machine["rustc"])
    );
    if let Some(servers) = results.root["servers"].as_object() {
        let versions: Vec<String> = servers
            .iter()
            .map(|(name, version)| format!("{name} {}", word(version)))
            .collect();
        _ = write!(page, " Versions: {}.", versions.join(" · "));
    }
    _ = write!(
        page,
        "\n\n| case | measured | dunlin at | repetitions | pinned |\n|{}\n",
        " --- |".repeat(5)
    );
    for case in CASES {
        let about = results.case(case.name);
        if about.is_object() {
            let quick = if about["quick"] == Value::Bool(true) {
                ", quick"
            } else {
                ""
            };
            let pinned = if about["pinned"] == Value::Bool(true) {
                "yes"
            } else {
                "no"
            };
            _ = writeln!(
                page,
                "| `{}` | {}{quick} | {} | {} | {pinned} |",
                case.name,
                word(&about["date"]),
                word(&about["dunlin"]),
                about["repetitions"],
            );
        }
    }
}

/// A figure with its unit, three digits that mean something.
pub fn show(figure: f64, unit: Unit) -> String {
    match unit {
        Unit::Nanoseconds => format!("{} µs", digits(figure / 1e3)),
        Unit::Microseconds => format!("{} ms", digits(figure / 1e3)),
        Unit::Bytes if figure >= 1e6 => format!("{} MB", digits(figure / 1e6)),
        Unit::Bytes => format!("{} B", grouped(figure)),
        Unit::PerSecond => format!("{}/s", grouped(figure)),
        Unit::Instructions => grouped(figure),
    }
}

fn digits(value: f64) -> String {
    match value {
        v if v >= 100.0 => grouped(v),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

fn grouped(value: f64) -> String {
    let text = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in text.chars().enumerate() {
        if at > 0 && (text.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Names and ratios to dunlin, for the plots: what a figure of each server is beside dunlin's.
pub fn ratios(results: &Results, case: &Case, metric: &Metric) -> Vec<(&'static str, f64)> {
    let Some(dunlin) = results.figure(case.name, "dunlin", metric.key) else {
        return Vec::new();
    };
    let of = |name| results.figure(case.name, name, metric.key);
    NAMES
        .into_iter()
        .filter_map(|name| Some((name, of(name)? / dunlin)))
        .filter(|(_, ratio)| ratio.is_finite())
        .collect()
}

/// The plots: file name, and the groups of bars in it.
pub fn plots(results: &Results) -> Vec<(String, crate::plot::Chart)> {
    let mut charts = Vec::new();
    for (title, belongs) in SECTIONS {
        let mut groups = Vec::new();
        for case in CASES.iter().filter(|case| belongs(&case.work)) {
            let Some(metric) = case.metrics.iter().find(|it| it.unit != Unit::PerSecond) else {
                continue;
            };
            let bars = ratios(results, case, metric);
            if bars.len() > 1 {
                groups.push((case.title.to_owned(), bars));
            }
        }
        if !groups.is_empty() {
            let chart = crate::plot::Chart {
                title: format!("{title}: what each takes, dunlin = 1"),
                groups,
            };
            charts.push((format!("{}.svg", title.to_lowercase()), chart));
        }
    }
    charts
}
