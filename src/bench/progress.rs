//! What is shown while it runs: a bar on a terminal, a line now and then elsewhere, nothing when it is to be quiet.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use super::meter::Meter;
use crate::cli::say;

/// Without a terminal, a line this often.
const LINE_NS: u64 = 3_000_000_000;

/// Shows how far a run has come.
#[derive(Debug)]
pub(crate) enum Progress {
    Quiet,
    Lines { next: u64, said: bool },
    Bar(ProgressBar),
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines {
                next: LINE_NS,
                said: false,
            };
        }
        let bar = ProgressBar::new(1000);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// So many of so many connections are open.
    pub(crate) fn opening(&mut self, open: usize, wanted: usize) {
        let text = format!("opening {open} of {wanted} connections");
        match self {
            Self::Bar(bar) => {
                bar.set_position((open * 1000 / wanted.max(1)) as u64);
                bar.set_message(text);
            }
            Self::Lines { said, .. } if !*said && wanted > 0 => {
                *said = true;
                say(&format!("opening {wanted} connections"));
            }
            Self::Lines { .. } | Self::Quiet => {}
        }
    }

    /// What has been counted by now.
    pub(crate) fn show(&mut self, meter: &Meter, done: Option<(u64, u64)>, now: u64) {
        let is_due = match self {
            Self::Quiet => return,
            Self::Bar(_) => true,
            Self::Lines { next, .. } => now >= *next,
        };
        if !is_due {
            return;
        }
        let permille = match done {
            Some((done, wanted)) => Some(done.saturating_mul(1000) / wanted.max(1)),
            None => meter.elapsed_permille(now),
        };
        let columns = &meter.columns;
        // The last one is not full yet.
        let full = columns.len().saturating_sub(1);
        let last = &columns[full.saturating_sub(10)..full];
        let text = if last.is_empty() {
            "warming up".to_owned()
        } else {
            let each = last.iter().sum::<u64>() * 10 / last.len() as u64;
            let latency = meter.latency.value_at_quantile(0.99) / 1000;
            format!("{each} per second, p99 {latency} us")
        };
        match self {
            Self::Bar(bar) => {
                bar.set_position(permille.unwrap_or(0).min(1000));
                bar.set_message(text);
            }
            Self::Lines { next, .. } => {
                *next = now + LINE_NS;
                let percent = permille.map_or(String::new(), |p| format!("{:>3} %  ", p / 10));
                say(&format!("{percent}{text}"));
            }
            Self::Quiet => {}
        }
    }

    /// The terminal is free for the report.
    pub(crate) fn end(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
