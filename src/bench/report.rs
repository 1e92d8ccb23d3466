//! A run as one JSON object; the module's page says what each field means.

use super::filler::Filler;
use super::json::Object;
use super::options::{Kind, Length, Options, Publish};
use super::outcome::Outcome;
use super::process::Usage;

/// The object of `--json`, in one line.
pub(crate) fn json(outcome: &Outcome, options: &Options) -> String {
    let mut report = Object::new();
    report
        .text("version", env!("CARGO_PKG_VERSION"))
        .text("scenario", outcome.kind.name())
        .text("url", &outcome.url)
        .number("connections", outcome.connections)
        .number("opening_ms", outcome.opening_ns / 1_000_000)
        .number("payload_bytes", options.payload as u64)
        .text(
            "payload_kind",
            match options.filler {
                Filler::X => "x",
                Filler::Json => "json",
            },
        )
        .flag("binary", options.binary)
        .number("pipeline", options.pipeline)
        .number("burst", options.burst)
        .number("publishers", options.publishers as u64)
        .text(
            "publish",
            match options.publish {
                Publish::Ws => "ws",
                Publish::Post => "post",
            },
        )
        .maybe("rate_per_second", options.rate);
    match options.length {
        Length::Count(count) => report.number("count", count).null("duration_ms"),
        Length::For(ns) => report.null("count").number("duration_ms", ns / 1_000_000),
    };
    report
        .number("interval_ms", outcome.interval_ns / 1_000_000)
        .number("interval_ns", outcome.interval_ns)
        .number("messages", outcome.messages)
        .number("deliveries", outcome.deliveries)
        .number("connects", outcome.connects)
        .number("bytes", outcome.bytes)
        .number("messages_per_second", outcome.per_second(outcome.messages))
        .number(
            "deliveries_per_second",
            outcome.per_second(outcome.deliveries),
        )
        .number("connects_per_second", outcome.per_second(outcome.connects))
        .number("bytes_per_second", outcome.per_second(outcome.bytes))
        .text("latency_from", outcome.latency_from)
        .object("latency_us", latency(outcome))
        .number("lost", outcome.lost)
        .number("duplicate", outcome.duplicate)
        .number("out_of_order", outcome.out_of_order)
        .number("other_messages", outcome.other)
        .number("publisher_deliveries", outcome.publisher_deliveries);
    match outcome.deflate {
        Some((connections, compressed)) => {
            let mut deflate = Object::new();
            deflate
                .number("connections", connections)
                .number("messages", compressed.messages)
                .number("compressed_bytes", compressed.wire_bytes)
                .number("inflated_bytes", compressed.bytes);
            report.object("deflate", deflate)
        }
        None => report.null("deflate"),
    };
    let mut errors = Object::new();
    for (name, count) in outcome.faults.iter() {
        errors.number(&name, count);
    }
    report.object("errors", errors);
    match &outcome.server {
        Some(usage) => report.object("server", server(outcome, usage, options)),
        None => report.null("server"),
    };
    match &outcome.load {
        Some(usage) => report.object("load", load(outcome, usage)),
        None => report.null("load"),
    };
    report
        .text("saturated", outcome.saturated.name())
        .numbers("per_100_ms", &outcome.columns)
        .number("exit", outcome.exit() as u64);
    report.end() + "\n"
}

fn latency(outcome: &Outcome) -> Object {
    let latency = &outcome.latency;
    let mut object = Object::new();
    object.number("count", latency.count);
    for (name, ns) in [
        ("min", latency.min),
        ("mean", latency.mean),
        ("p50", latency.p50),
        ("p90", latency.p90),
        ("p99", latency.p99),
        ("p999", latency.p999),
        ("max", latency.max),
    ] {
        object.number(name, ns / 1000);
    }
    object
}

fn server(outcome: &Outcome, usage: &Usage, options: &Options) -> Object {
    let memory = &outcome.memory;
    let per = |kinds: &[Kind], count| {
        let is_meant = kinds.contains(&outcome.kind);
        is_meant.then(|| outcome.cpu_each(count)).flatten()
    };
    let mut object = Object::new();
    object
        .maybe("pid", options.pid.map(u64::from))
        .number("cpu_ns", usage.cpu_ns)
        .number("cpu_user_ns", usage.user_ns)
        .number("cpu_system_ns", usage.system_ns)
        .maybe(
            "cpu_per_message_ns",
            per(&[Kind::Echo, Kind::Fanout], outcome.messages),
        )
        .maybe(
            "cpu_per_delivery_ns",
            per(&[Kind::Echo, Kind::Fanout], outcome.deliveries),
        )
        .maybe(
            "cpu_per_connection_ns",
            per(&[Kind::Connect, Kind::Churn], outcome.connects),
        )
        .number("cpu_share_permille", outcome.permille(usage.cpu_ns))
        .number("wait_share_permille", outcome.permille(usage.waited_ns))
        .maybe("busiest_thread_permille", outcome.server_busy_permille())
        .number("threads", usage.threads)
        .flag("threads_ended", usage.threads_ended)
        .maybe("rss_start_bytes", memory.start)
        .maybe("rss_end_bytes", memory.end)
        .maybe("rss_peak_bytes", memory.peak)
        .maybe("bytes_per_connection", outcome.bytes_per_connection());
    object
}

fn load(outcome: &Outcome, usage: &Usage) -> Object {
    let mut object = Object::new();
    object
        .number("cpu_ns", usage.cpu_ns)
        .number("cpu_share_permille", outcome.permille(usage.cpu_ns))
        .number("wait_share_permille", outcome.permille(usage.waited_ns))
        .number("spin_share_permille", outcome.permille(outcome.spun_ns));
    object
}
