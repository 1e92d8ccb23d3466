//! A run as a picture: latency by percentile, and throughput over time.
//!
//! The rule: the file stands alone. No script, no font of its own, colours for a light and a dark page by
//! `prefers-color-scheme`, so a browser, a README or a printer can show it. Latencies have a logarithmic scale on both
//! axes: each step to the right leaves a tenth of what lies above.

use std::fmt::Write as _;

use super::options::{Kind, Options};
use super::outcome::Outcome;
use super::summary::{grouped, time};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 400.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 344.0;

/// Fewer nanoseconds than this are no column of their own: the last one is rarely whole.
const COLUMN_LEAST_NS: u64 = 50_000_000;

const STYLE: &str = "\
:root{color-scheme:light dark}\
svg{--ink:#1f2430;--soft:#6b7280;--grid:#e3e6ec;--page:#ffffff;--one:#0f6fc6;--two:#c2541b}\
@media(prefers-color-scheme:dark){svg{--ink:#e6e9ef;--soft:#9aa3b2;--grid:#333a47;--page:#161a21;--one:#5ab0f5;--two:#f2945c}}\
text{font:12px system-ui,sans-serif;fill:var(--soft)}\
.title{font-size:17px;font-weight:600;fill:var(--ink)}\
.head{font-size:13px;font-weight:600;fill:var(--ink)}\
.mark{font-weight:600;fill:var(--one)}\
.page{fill:var(--page)}\
.grid{stroke:var(--grid);stroke-width:1}\
.one{fill:none;stroke:var(--one);stroke-width:2.2;stroke-linejoin:round}\
.dot{fill:var(--one);stroke:var(--page);stroke-width:2}\
.two{fill:none;stroke:var(--two);stroke-width:2;stroke-linejoin:round}\
.area{fill:var(--two);opacity:.16}\
.end{text-anchor:end}\
.middle{text-anchor:middle}";

/// The picture of a run.
pub(crate) fn svg(outcome: &Outcome, options: &Options) -> String {
    let mut out = String::new();
    _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><style>{STYLE}</style>\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\"/>"
    );
    _ = write!(
        out,
        "<text class=\"title\" x=\"24\" y=\"34\">{}</text>",
        escaped(&title(outcome, options))
    );
    let throughput_x = if outcome.latency.count > 0 {
        latencies(&mut out, outcome);
        556.0
    } else {
        76.0
    };
    throughput(&mut out, outcome, throughput_x);
    out + "</svg>\n"
}

fn title(outcome: &Outcome, options: &Options) -> String {
    let connections = format!("{} connections", grouped(outcome.connections));
    let payload = format!("{} bytes", grouped(options.payload as u64));
    let rate = options
        .rate
        .map(|rate| format!("{} per second", grouped(rate)));
    match outcome.kind {
        Kind::Echo => {
            let pipeline = format!("{} in flight each", options.pipeline);
            let how = rate.unwrap_or(pipeline);
            format!("echo · {connections} · {payload} · {how}")
        }
        Kind::Fanout => {
            let how = rate.unwrap_or("one after the other".to_owned());
            let bursts = match options.burst {
                1 => String::new(),
                burst => format!("bursts of {burst}, "),
            };
            format!("fanout · {connections} · {payload} · {bursts}{how}")
        }
        Kind::Churn => {
            let how = rate.unwrap_or_default();
            format!("churn · {connections} · {payload} · replaced: {how}")
        }
        Kind::Connect => format!("connect · {} at a time", options.connections),
        Kind::Idle => format!("idle · {connections}"),
    }
}

/// A panel's place and what its axes mean.
struct Panel {
    left: f64,
    right: f64,
}

impl Panel {
    fn head(&self, out: &mut String, text: &str) {
        let x = self.left - 52.0;
        _ = write!(
            out,
            "<text class=\"head\" x=\"{x:.1}\" y=\"60\">{text}</text>"
        );
    }

    /// A line across, and what it stands for.
    fn across(&self, out: &mut String, y: f64, text: &str) {
        let (left, right) = (self.left, self.right);
        _ = write!(
            out,
            "<line class=\"grid\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
            left - 8.0,
            y + 4.0
        );
    }

    /// A line down, and what it stands for.
    fn down(&self, out: &mut String, x: f64, text: &str) {
        _ = write!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
             <text class=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{text}</text>",
            BOTTOM + 18.0
        );
    }

    fn below(&self, out: &mut String, text: &str) {
        let x = f64::midpoint(self.left, self.right);
        let y = BOTTOM + 40.0;
        _ = write!(
            out,
            "<text class=\"middle\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        );
    }

    fn x(&self, share: f64) -> f64 {
        self.left + share * (self.right - self.left)
    }
}

fn y(share: f64) -> f64 {
    BOTTOM - share * (BOTTOM - TOP)
}

fn latencies(out: &mut String, outcome: &Outcome) {
    let panel = Panel {
        left: 76.0,
        right: 452.0,
    };
    panel.head(out, "Latency by percentile");
    let latency = &outcome.latency;
    // Nines: 0 at the least, 1 at 90 %, 2 at 99 %.
    let nines = latency
        .curve
        .last()
        .map_or(1.0, |(quantile, _)| -(1.0 - quantile).log10());
    let is_wide = (latency.max.max(1) as f64 / latency.min.max(1) as f64) > 300.0;
    let (low, high) = scale(latency.min, latency.max);
    let share = |ns: u64| ((ns.max(1) as f64).log10() - low) / (high - low);
    let mut step = low.floor() as i32;
    while f64::from(step) <= high {
        let factors: &[f64] = if is_wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        for factor in factors {
            let value = factor * 10_f64.powi(step);
            let at = (value.log10() - low) / (high - low);
            if (-0.001..=1.001).contains(&at) {
                panel.across(out, y(at), &round_time(value));
            }
        }
        step += 1;
    }
    for (nine, text) in (0..).zip(["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]) {
        let at = f64::from(nine) / nines;
        if at <= 1.001 {
            panel.down(out, panel.x(at), text);
        }
    }
    let points = latency.curve.iter().map(|(quantile, ns)| {
        let nine = -(1.0 - quantile).log10();
        (panel.x(nine / nines), y(share(*ns)))
    });
    _ = write!(out, "<polyline class=\"one\" points=\"{}\"/>", row(points));
    for (text, nine, ns) in [
        ("p50", 0.301, latency.p50),
        ("p99", 2.0, latency.p99),
        ("p99.9", 3.0, latency.p999),
    ] {
        if nine / nines > 1.001 {
            continue;
        }
        let (x, y) = (panel.x(nine / nines), y(share(ns)));
        // The curve only rises, so below it to the right is room.
        _ = write!(
            out,
            "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>\
             <text class=\"mark\" x=\"{:.1}\" y=\"{:.1}\">{text} {}</text>",
            x + 5.0,
            y + 19.0,
            time(ns)
        );
    }
    panel.below(
        out,
        match outcome.latency_from {
            "intended" => "percentile, counted from the moment each message was due",
            "connect" => "percentile, counted from the connect to the 101",
            _ => "percentile, counted from the write",
        },
    );
}

/// The decades, or parts of them, that hold all latencies.
fn scale(min: u64, max: u64) -> (f64, f64) {
    let round = |value: f64, up: bool| {
        let decade = value.floor();
        let steps = [0.0, 2_f64.log10(), 5_f64.log10(), 1.0].map(|step| decade + step);
        let found = if up {
            steps.into_iter().find(|step| *step >= value)
        } else {
            steps.into_iter().rev().find(|step| *step <= value)
        };
        found.unwrap_or(value)
    };
    let low = round((min.max(1) as f64).log10(), false);
    let high = round((max.max(1) as f64).log10(), true);
    (low, high.max(low + 0.3))
}

/// 1 us, 2 ms, 5 s: round values only.
fn round_time(ns: f64) -> String {
    match ns {
        ns if ns < 999.0 => format!("{ns:.0} ns"),
        ns if ns < 999_999.0 => format!("{:.0} us", ns / 1e3),
        ns if ns < 999_999_999.0 => format!("{:.0} ms", ns / 1e6),
        ns => format!("{:.0} s", ns / 1e9),
    }
}

fn throughput(out: &mut String, outcome: &Outcome, left: f64) {
    let panel = Panel {
        left,
        right: WIDTH - 28.0,
    };
    let (what, count) = match outcome.kind {
        Kind::Fanout => ("Deliveries", outcome.deliveries),
        Kind::Connect => ("Connections", outcome.connects),
        _ => ("Messages", outcome.messages),
    };
    let mean = grouped(outcome.per_second(count));
    panel.head(out, &format!("{what} per second, {mean} on average"));
    let rates = rates(outcome);
    let most = rates.iter().map(|(_, rate)| *rate).fold(1.0, f64::max);
    let step = nice_step(most / 4.0);
    let top = (most * 1.05 / step).ceil() * step;
    let mut value = 0.0;
    while value <= top * 1.001 {
        panel.across(out, y(value / top), &short(value));
        value += step;
    }
    let seconds = outcome.interval_ns as f64 / 1e9;
    let second = nice_step(seconds / 6.0);
    let mut at = 0.0;
    while at <= seconds * 1.001 {
        panel.down(out, panel.x(at / seconds), &trimmed(at));
        at += second;
    }
    let mut points = Vec::new();
    let mut from = 0.0;
    for (until, rate) in rates {
        points.push((panel.x(from / seconds), y(rate / top)));
        points.push((panel.x(until / seconds), y(rate / top)));
        from = until;
    }
    let line = row(points.iter().copied());
    let (first, last) = (panel.left, panel.x(from / seconds));
    _ = write!(
        out,
        "<polygon class=\"area\" points=\"{first:.1},{BOTTOM} {line}{last:.1},{BOTTOM}\"/>\
         <polyline class=\"two\" points=\"{line}\"/>"
    );
    panel.below(out, "seconds");
}

/// Until when, in seconds, and how many per second.
fn rates(outcome: &Outcome) -> Vec<(f64, f64)> {
    let mut rates = Vec::new();
    for (i, count) in (0..).zip(&outcome.columns) {
        let from = i * outcome.column_ns;
        let width = outcome
            .interval_ns
            .saturating_sub(from)
            .min(outcome.column_ns);
        if width >= COLUMN_LEAST_NS || i == 0 {
            let seconds = width.max(1) as f64 / 1e9;
            rates.push((from as f64 / 1e9 + seconds, *count as f64 / seconds));
        }
    }
    rates
}

/// The next of 1, 2, 5, 10 … that is not less.
fn nice_step(least: f64) -> f64 {
    let decade = 10_f64.powf(least.max(1e-9).log10().floor());
    let found = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|step| step * decade >= least * 0.999);
    found.unwrap_or(10.0) * decade
}

/// 250k, 1.5M.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => trimmed(v / 1e6) + "M",
        v if v >= 1e3 => trimmed(v / 1e3) + "k",
        v => trimmed(v),
    }
}

/// At most two digits behind the point, and none that say nothing.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn row(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut out = String::new();
    for (x, y) in points {
        _ = write!(out, "{x:.1},{y:.1} ");
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(nice_step(230.0).round(), 500.0);
        assert_eq!(nice_step(1.0).round(), 1.0);
        assert_eq!(short(250_000.0), "250k");
        assert_eq!(short(1_500_000.0), "1.5M");
        assert_eq!(trimmed(0.0), "0");
        assert_eq!(round_time(1e6), "1 ms");
        let (low, high) = scale(30_000, 8_110_000);
        assert_eq!(10_f64.powf(low).round(), 20_000.0);
        assert_eq!(10_f64.powf(high).round(), 10_000_000.0);
    }
}
