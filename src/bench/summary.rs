//! A run for a person: the figures, a histogram, and how to read them.

use std::fmt::Write as _;

use super::meter::Compressed;
use super::options::{Kind, Options};
use super::outcome::Outcome;

/// The text on stdout.
pub(crate) fn text(outcome: &Outcome, options: &Options) -> String {
    let mut out = String::new();
    let name = outcome.kind.name();
    let seconds = outcome.interval_ns as f64 / 1e9;
    _ = writeln!(
        out,
        "{name} {}: {} connections, {seconds:.2} s",
        outcome.url,
        grouped(outcome.connections)
    );
    let mut row = |what: &str, value: String| {
        _ = writeln!(out, "  {what:<12} {value}");
    };
    let rate = |count: u64, what: &str| {
        format!(
            "{} {what}, {} per second",
            grouped(count),
            grouped(outcome.per_second(count))
        )
    };
    match outcome.kind {
        Kind::Echo => row("messages", rate(outcome.messages, "there and back")),
        Kind::Fanout => {
            row("published", rate(outcome.messages, "publications"));
            row("delivered", rate(outcome.deliveries, "deliveries"));
        }
        Kind::Connect => row("connections", rate(outcome.connects, "opened and closed")),
        Kind::Idle => row(
            "opening",
            format!("{:.0} ms", outcome.opening_ns as f64 / 1e6),
        ),
        Kind::Churn => {
            row("replaced", rate(outcome.connects, "connections"));
            row("messages", rate(outcome.messages, "there and back"));
        }
    }
    if outcome.bytes > 0 {
        let per_second = outcome.bytes as f64 / seconds.max(1e-9) / 1e6;
        row(
            "payload",
            format!("{} bytes each, {per_second:.1} MB/s", options.payload),
        );
    }
    if let Some((connections, compressed)) = outcome.deflate {
        row("deflate", deflate(outcome, connections, compressed));
    }
    let latency = &outcome.latency;
    if latency.count > 0 {
        row(
            "latency",
            format!(
                "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
                time(latency.p50),
                time(latency.p90),
                time(latency.p99),
                time(latency.p999),
                time(latency.max)
            ),
        );
        row("", counted_from(outcome.latency_from).to_owned());
    }
    if let Some(usage) = &outcome.server {
        let (what, count) = match outcome.kind {
            Kind::Echo => ("message", outcome.messages),
            Kind::Fanout => ("delivery", outcome.deliveries),
            Kind::Connect | Kind::Churn => ("connection", outcome.connects),
            Kind::Idle => ("", 0),
        };
        let each = outcome.cpu_each(count);
        let each = each.map_or(String::new(), |ns| {
            format!(", {:.3} us per {what}", ns as f64 / 1e3)
        });
        row(
            "server CPU",
            format!(
                "{:.3} s ({:.2} user, {:.2} system), {:.1} % of a core{each}",
                usage.cpu_ns as f64 / 1e9,
                usage.user_ns as f64 / 1e9,
                usage.system_ns as f64 / 1e9,
                outcome.permille(usage.cpu_ns) as f64 / 10.0
            ),
        );
        let memory = &outcome.memory;
        if let (Some(start), Some(peak), Some(end)) = (memory.start, memory.peak, memory.end) {
            let each = outcome.bytes_per_connection();
            // Elsewhere a server that has run before takes memory it has.
            let each = each.filter(|_| outcome.kind == Kind::Idle);
            let each = each.map_or(String::new(), |b| {
                format!(", {} bytes per connection", grouped(b))
            });
            row(
                "memory",
                format!(
                    "{} at the start, {} at most, {} at the end{each}",
                    bytes(start),
                    bytes(peak),
                    bytes(end)
                ),
            );
        }
    }
    if let Some(usage) = &outcome.load {
        row(
            "this end",
            format!(
                "{:.1} % of a core",
                outcome.permille(usage.cpu_ns.saturating_sub(outcome.spun_ns)) as f64 / 10.0
            ),
        );
    }
    let counted = [
        ("lost", outcome.lost),
        ("twice", outcome.duplicate),
        ("out of order", outcome.out_of_order),
        ("not ours", outcome.other),
        ("heard by publishers", outcome.publisher_deliveries),
    ];
    let counted: Vec<_> = counted
        .iter()
        .filter(|(what, count)| *count > 0 || ["lost", "twice", "out of order"].contains(what))
        .map(|(what, count)| format!("{} {what}", grouped(*count)))
        .collect();
    if !matches!(outcome.kind, Kind::Connect | Kind::Idle) {
        row("received", counted.join(", "));
    }
    let faults: Vec<_> = outcome
        .faults
        .iter()
        .map(|(name, count)| format!("{} {name}", grouped(count)))
        .collect();
    row(
        "errors",
        if faults.is_empty() {
            "none".to_owned()
        } else {
            faults.join(", ")
        },
    );
    row("saturated", outcome.saturated.sentence().to_owned());
    if let Some(permille) = outcome.shared_permille() {
        row(
            "",
            format!(
                "other programs had the cores {} % of the time: take the figures with care",
                permille / 10
            ),
        );
    }
    if outcome.server.as_ref().is_some_and(|s| s.threads_ended) {
        row(
            "",
            "threads of the server ended meanwhile: its CPU time is too low".to_owned(),
        );
    }
    for why in &outcome.failed {
        row("FAILED", why.clone());
    }
    out + &histogram(outcome)
}

/// Who compressed, and how much shorter it made what came.
fn deflate(outcome: &Outcome, connections: u64, compressed: Compressed) -> String {
    if connections == 0 {
        return "DECLINED by the server: nothing was compressed".to_owned();
    }
    let who = if connections == outcome.connections {
        "all connections".to_owned()
    } else {
        let all = grouped(outcome.connections);
        format!("{} of {all} connections", grouped(connections))
    };
    if compressed.messages == 0 {
        return format!("{who}, and every message came uncompressed");
    }
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64 * 100.0;
    format!(
        "{who}; {:.0} % of the messages came compressed, {:.1} MB for {:.1} MB ({:.0} %)",
        share(compressed.messages, outcome.deliveries).min(100.0),
        compressed.wire_bytes as f64 / 1e6,
        compressed.bytes as f64 / 1e6,
        share(compressed.wire_bytes, compressed.bytes)
    )
}

fn counted_from(from: &str) -> &'static str {
    match from {
        "send" => "from the write to the read (closed loop: a stall delays what would follow)",
        "intended" => "from the moment each was due (a stall counts in full)",
        _ => "from the connect to the 101",
    }
}

/// Rows of bars, one for each doubling of the latency.
fn histogram(outcome: &Outcome) -> String {
    let most = outcome.doublings.iter().map(|(_, count)| *count).max();
    let mut out = String::new();
    for (below, count) in &outcome.doublings {
        let share = *count as f64 / outcome.latency.count.max(1) as f64;
        let length = (*count as f64 / most.unwrap_or(1).max(1) as f64 * 40.0).ceil() as usize;
        _ = writeln!(
            out,
            "  {:>11}  {:<40} {:>6.2} %",
            format!("< {}", time(*below)),
            "█".repeat(length),
            share * 100.0
        );
    }
    out
}

/// `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time with three digits and its unit.
pub(crate) fn time(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000_000 => (ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let digits = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

fn bytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(time(950), "0.95 us");
        assert_eq!(time(35_400), "35.4 us");
        assert_eq!(time(2_000_000_000), "2.00 s");
    }
}
