//! Counters: plain numbers that one thread counts up, written as Prometheus text on demand.
//!
//! A label never carries a value a peer chose: reasons and codes come from fixed lists in the source.

use std::fmt::Write;

/// What a worker counted since its start.
#[derive(Debug, Default, Clone)]
pub struct Metrics {
    /// Connections accepted.
    pub connections_total: u64,
    /// Opening handshakes answered with 101.
    pub handshakes_total: u64,
    /// Responses that do not end, begun.
    pub streams_total: u64,
    /// Polls answered.
    pub polls_total: u64,
    /// Plain HTTP requests answered by a handler.
    pub requests_total: u64,
    /// Messages received from clients.
    pub messages_received_total: u64,
    /// Messages queued for clients, deliveries of publications included.
    pub messages_sent_total: u64,
    /// Bytes read from transports.
    pub received_bytes_total: u64,
    /// Bytes written to transports.
    pub sent_bytes_total: u64,
    /// Publications accepted.
    pub publications_total: u64,
    /// Rings that were let go because histories, channels or memory were used up.
    pub histories_evicted_total: u64,
    /// Publications that went to the history log.
    #[cfg(feature = "history-log")]
    pub history_logged_total: u64,
    /// Publications that should have, and are missing there: it was too slow, or failed.
    #[cfg(feature = "history-log")]
    pub history_log_lost_total: u64,
    /// Subscribers that gave a position and got everything behind it.
    pub recoveries_total: u64,
    /// Subscribers that gave a position and were told of a gap.
    pub recoveries_failed_total: u64,
    /// Publications of channels that live elsewhere that did not follow the one before.
    pub gaps_total: u64,
    /// How often a slow subscriber was left behind, to catch up from a history.
    pub fallbacks_total: u64,
    /// Connections to other servers that handlers asked for, every attempt.
    pub links_total: u64,
    /// Messages that came on them.
    pub link_messages_total: u64,
    /// Members who came into a channel that keeps who is in.
    #[cfg(feature = "presence")]
    pub presence_joined_total: u64,
    /// Members who left one.
    #[cfg(feature = "presence")]
    pub presence_left_total: u64,
    /// Frames dropped by the drop-oldest policy.
    pub frames_dropped_total: u64,
    /// Log lines that were not written: too many, or the log's reader was too slow.
    pub log_lines_dropped_total: u64,
    /// Connections on which permessage-deflate was agreed.
    #[cfg(feature = "deflate")]
    pub deflate_connections_total: u64,
    /// Payload bytes of compressed messages received, and the bytes they became.
    #[cfg(feature = "deflate")]
    pub deflate_received_bytes_total: u64,
    /// See there.
    #[cfg(feature = "deflate")]
    pub deflate_inflated_bytes_total: u64,
    /// How often a message was compressed: a publication counts once per window it does not fit into.
    #[cfg(feature = "deflate")]
    pub deflate_compressions_total: u64,
    /// Bytes that were queued less than without compression, each delivery of a publication counted.
    #[cfg(feature = "deflate")]
    pub deflate_saved_bytes_total: u64,
    /// Bytes kept of clients that keep their context.
    #[cfg(feature = "deflate")]
    pub deflate_window_bytes: u64,
    /// Requests of trusted proxies whose header names no client that can be read.
    pub forwarded_malformed_total: u64,
    refused: Labelled<&'static str>,
    /// What `address_dry_run` has let pass.
    would_refuse: Labelled<&'static str>,
    closed: Labelled<(u16, &'static str)>,
}

type Labelled<K> = Vec<(K, u64)>;

impl Metrics {
    /// Counts a refusal under its reason.
    pub fn refuse(&mut self, reason: &'static str) {
        bump(&mut self.refused, reason);
    }

    /// How often `reason` was counted.
    pub fn refused(&self, reason: &str) -> u64 {
        self.refused
            .iter()
            .find(|(r, _)| *r == reason)
            .map_or(0, |(_, n)| *n)
    }

    /// All refusals so far.
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().map(|(_, n)| n).sum()
    }

    /// Counts what would have been refused but for a dry run.
    pub fn refuse_dry(&mut self, reason: &'static str) {
        bump(&mut self.would_refuse, reason);
    }

    /// How often `reason` was counted in a dry run.
    pub fn would_refuse(&self, reason: &str) -> u64 {
        let found = self.would_refuse.iter().find(|(r, _)| *r == reason);
        found.map_or(0, |(_, n)| *n)
    }

    /// Counts a closed WebSocket: the close code that ended it and the side that began.
    /// Codes of applications (3000–4999) are counted together by their thousand.
    pub fn close(&mut self, code: u16, side: &'static str) {
        let code = if (3000..=4999).contains(&code) && !OWN_CODES.contains(&code) {
            code / 1000 * 1000
        } else {
            code
        };
        bump(&mut self.closed, (code, side));
    }

    #[cfg(feature = "deflate")]
    fn render_deflate(&self, out: &mut String) {
        for (name, help, kind, value) in [
            (
                "deflate_connections_total",
                "Connections on which permessage-deflate was agreed.",
                "counter",
                self.deflate_connections_total,
            ),
            (
                "deflate_received_bytes_total",
                "Payload bytes of compressed messages received.",
                "counter",
                self.deflate_received_bytes_total,
            ),
            (
                "deflate_inflated_bytes_total",
                "What compressed messages became.",
                "counter",
                self.deflate_inflated_bytes_total,
            ),
            (
                "deflate_compressions_total",
                "Messages compressed.",
                "counter",
                self.deflate_compressions_total,
            ),
            (
                "deflate_saved_bytes_total",
                "Bytes queued less than without compression.",
                "counter",
                self.deflate_saved_bytes_total,
            ),
            (
                "deflate_window_bytes",
                "Bytes kept of clients that keep their context.",
                "gauge",
                self.deflate_window_bytes,
            ),
        ] {
            write_value(out, name, help, kind, value);
        }
    }

    /// The Prometheus text format 0.0.4; `gauges` are values known only to the caller.
    pub fn render(&self, gauges: &[(&str, &str, u64)]) -> String {
        let mut out = String::with_capacity(4096);
        _ = writeln!(
            out,
            "# HELP dunlin_build_info The program: its version, and the features it was built with.\n\
             # TYPE dunlin_build_info gauge\n\
             dunlin_build_info{{version=\"{}\",features=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION"),
            features(",")
        );
        for (name, help, value) in gauges {
            write_value(&mut out, name, help, "gauge", *value);
        }
        for (name, help, value) in [
            (
                "connections_total",
                "Connections accepted.",
                self.connections_total,
            ),
            (
                "handshakes_total",
                "Opening handshakes answered with 101.",
                self.handshakes_total,
            ),
            (
                "streams_total",
                "Responses that do not end, begun.",
                self.streams_total,
            ),
            ("polls_total", "Polls answered.", self.polls_total),
            (
                "http_requests_total",
                "Plain HTTP requests answered by a handler.",
                self.requests_total,
            ),
            (
                "messages_received_total",
                "Messages received from clients.",
                self.messages_received_total,
            ),
            (
                "messages_sent_total",
                "Messages queued for clients.",
                self.messages_sent_total,
            ),
            (
                "received_bytes_total",
                "Bytes read from transports.",
                self.received_bytes_total,
            ),
            (
                "sent_bytes_total",
                "Bytes written to transports.",
                self.sent_bytes_total,
            ),
            (
                "publications_total",
                "Publications accepted.",
                self.publications_total,
            ),
            (
                "histories_evicted_total",
                "Histories let go for want of room.",
                self.histories_evicted_total,
            ),
            (
                "recoveries_total",
                "Subscribers that gave a position and got all behind it.",
                self.recoveries_total,
            ),
            (
                "recoveries_failed_total",
                "Subscribers that gave a position and were told of a gap.",
                self.recoveries_failed_total,
            ),
            (
                "gaps_total",
                "Publications from elsewhere that did not follow the one before.",
                self.gaps_total,
            ),
            (
                "fallbacks_total",
                "Slow subscribers left behind to catch up from a history.",
                self.fallbacks_total,
            ),
            (
                "links_total",
                "Attempts to link to other servers.",
                self.links_total,
            ),
            (
                "link_messages_total",
                "Messages received on links.",
                self.link_messages_total,
            ),
            #[cfg(feature = "presence")]
            (
                "presence_joined_total",
                "Members who came into channels that keep who is in.",
                self.presence_joined_total,
            ),
            #[cfg(feature = "presence")]
            (
                "presence_left_total",
                "Members who left them.",
                self.presence_left_total,
            ),
            (
                "frames_dropped_total",
                "Frames dropped by the drop-oldest policy.",
                self.frames_dropped_total,
            ),
            (
                "forwarded_malformed_total",
                "Requests of trusted proxies that name no client that can be read.",
                self.forwarded_malformed_total,
            ),
            (
                "log_lines_dropped_total",
                "Log lines not written.",
                self.log_lines_dropped_total,
            ),
        ] {
            write_value(&mut out, name, help, "counter", value);
        }
        #[cfg(feature = "history-log")]
        for (name, help, value) in [
            (
                "history_logged_total",
                "Publications handed to the history log.",
                self.history_logged_total,
            ),
            (
                "history_log_lost_total",
                "Publications missing in the history log, which was too slow or failed.",
                self.history_log_lost_total,
            ),
        ] {
            write_value(&mut out, name, help, "counter", value);
        }
        #[cfg(feature = "deflate")]
        self.render_deflate(&mut out);
        _ = writeln!(
            out,
            "# HELP dunlin_refused_total Refusals by reason.\n# TYPE dunlin_refused_total counter"
        );
        for (reason, count) in &self.refused {
            _ = writeln!(out, "dunlin_refused_total{{reason=\"{reason}\"}} {count}");
        }
        if !self.would_refuse.is_empty() {
            _ = writeln!(
                out,
                "# HELP dunlin_would_refuse_total What a dry run let pass, by reason.\n\
                 # TYPE dunlin_would_refuse_total counter"
            );
        }
        for (reason, count) in &self.would_refuse {
            _ = writeln!(
                out,
                "dunlin_would_refuse_total{{reason=\"{reason}\"}} {count}"
            );
        }
        _ = writeln!(
            out,
            "# HELP dunlin_closes_total Closed WebSockets.\n# TYPE dunlin_closes_total counter"
        );
        for ((code, side), count) in &self.closed {
            _ = writeln!(
                out,
                "dunlin_closes_total{{code=\"{code}\",side=\"{side}\"}} {count}"
            );
        }
        out
    }
}

fn write_value(out: &mut String, name: &str, help: &str, kind: &str, value: u64) {
    _ = writeln!(
        out,
        "# HELP dunlin_{name} {help}\n# TYPE dunlin_{name} {kind}\ndunlin_{name} {value}"
    );
}

/// The features of this build.
pub(crate) fn features(separator: &str) -> String {
    let all = [
        (cfg!(feature = "cli"), "cli"),
        (cfg!(feature = "deflate"), "deflate"),
        (cfg!(feature = "presence"), "presence"),
        (cfg!(feature = "jwt"), "jwt"),
        (cfg!(feature = "history-log"), "history-log"),
        (cfg!(feature = "hierachain-history"), "hierachain-history"),
        (cfg!(feature = "sandbox"), "sandbox"),
        (cfg!(feature = "signals"), "signals"),
        (cfg!(feature = "sim"), "sim"),
        (cfg!(feature = "bench"), "bench"),
    ];
    let mut text = String::new();
    for (_, name) in all.into_iter().filter(|(on, _)| *on) {
        if !text.is_empty() {
            text.push_str(separator);
        }
        text.push_str(name);
    }
    text
}

const OWN_CODES: [u16; 4] = [4401, 4403, 4408, 4429];

/// The lists are short (their keys come from the source), so a walk beats a hash.
fn bump<K: PartialEq>(list: &mut Labelled<K>, key: K) {
    match list.iter_mut().find(|(k, _)| *k == key) {
        Some((_, n)) => *n += 1,
        None => list.push((key, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_renders() {
        let mut m = Metrics::default();
        m.refuse("head_too_long");
        m.refuse("head_too_long");
        m.close(1000, "peer");
        m.close(4999, "peer");
        m.close(4000, "peer");
        m.close(4401, "server");
        assert_eq!(m.refused("head_too_long"), 2);
        let text = m.render(&[("connections", "Open connections.", 3)]);
        for line in [
            "dunlin_connections 3",
            "dunlin_refused_total{reason=\"head_too_long\"} 2",
            "dunlin_closes_total{code=\"4000\",side=\"peer\"} 2",
            "dunlin_closes_total{code=\"4401\",side=\"server\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
