//! `dunlin bench`: loads a WebSocket server, this one or any other, and measures it.
//!
//! The rule: **the tool must not be what is measured.** One event loop on mio, no threads, no allocation per message;
//! frames are walked and not assembled; what is the same for all connections is written from one place. And the tool
//! must say what it measured: the interval, what a latency counts from, who was saturated, what went wrong.
//!
//! | file | subject |
//! | --- | --- |
//! | `options.rs` | what was typed |
//! | `target.rs` | URLs, local addresses, sockets |
//! | `engine.rs`, `crowd.rs`, `reader.rs` | the loop, its connections, what they receive |
//! | `scenario.rs` | what a load is to the engine |
//! | `echo.rs`, `fanout.rs`, `connect.rs`, `idle.rs`, `churn.rs` | the loads |
//! | `stamp.rs`, `filler.rs`, `pace.rs` | which message it is, what else is in it, when one is due |
//! | `deflate.rs` | permessage-deflate |
//! | `meter.rs`, `process.rs`, `fault.rs` | what is counted |
//! | `outcome.rs`, `summary.rs`, `report.rs`, `json.rs`, `plot.rs`, `progress.rs` | what is said |
//!
//! # Messages
//!
//! A message has exactly the bytes that were asked for and begins with a stamp: run, publisher, number, time. So a
//! receiver knows what is lost, twice or out of order even where the server wraps what it delivers. In `echo` without a
//! rate the stamp repeats every two windows and has no time; the connection knows it. The rest is one letter, or with
//! `--payload-kind json` (the default with `--deflate`) events as in `filler.rs`.
//!
//! # The JSON object
//!
//! `--json` prints one line on stdout. Integers, units in the names; `null` where there is nothing to say.
//! `report.schema.json` beside this file is the same for programs.
//!
//! | field | meaning |
//! | --- | --- |
//! | `scenario`, `url`, `payload_bytes`, `payload_kind`, `binary`, `pipeline`, `burst`, `publishers`, `publish`, `rate_per_second`, `count`, `duration_ms` | as asked for |
//! | `connections`, `opening_ms` | open when it began (subscribers, in `fanout`), and how long opening took |
//! | `interval_ms`, `interval_ns` | the measured interval, warm-up excluded |
//! | `messages` | sent and come back (`echo`, `churn`), published (`fanout`) in the interval |
//! | `deliveries`, `bytes` | received in the interval, and their payload |
//! | `connects` | opened and closed (`connect`), replaced (`churn`) |
//! | `…_per_second` | of these, over the interval |
//! | `latency_from` | `send`: the write; `intended`: when it was due; `connect`: the connect |
//! | `latency_us` | `count`, `min`, `mean`, `p50`, `p90`, `p99`, `p999`, `max` |
//! | `lost`, `duplicate`, `out_of_order` | of the whole run, by number and connection |
//! | `other_messages` | without our stamp: greetings, acknowledgements |
//! | `deflate` | with `--deflate`: `connections` (subscribers, in `fanout`) that agreed; of the interval's messages those that came compressed: `messages`, `compressed_bytes` (their payload on the wire), `inflated_bytes` |
//! | `publisher_deliveries` | what publishers heard of their own |
//! | `errors` | counts by name, `{}` if all is well: `connect_refused`, `status_503`, `handshake_…`, `close_code_1013`, `time_out`, `close_time_out`, `protocol_…`, `reset`, `ended_without_close`, `altered_message`, `no_local_port`, `no_file_descriptor`, `system_…` |
//! | `server` | with `--pid`: `cpu_ns`, `cpu_user_ns`, `cpu_system_ns`, `cpu_per_message_ns`, `cpu_per_delivery_ns`, `cpu_per_connection_ns`, `cpu_share_permille`, `wait_share_permille`, `busiest_thread_permille`, `threads`, `threads_ended`, `rss_start_bytes`, `rss_end_bytes`, `rss_peak_bytes`, `bytes_per_connection` |
//! | `load` | the same of this program; `spin_share_permille` is waiting for the next due moment, no work |
//! | `saturated` | `server`, `load`, `both`, `neither`, `unknown`: a thread at work for 90 % of the time in which it could have had a core |
//! | `per_100_ms` | what came in each tenth of a second |
//! | `exit` | the exit code |
//!
//! Processor time is that of all threads in the interval; user and system come in hundredths of a second. A process
//! that reads the clock of another sees it up to one scheduler tick late (4 ms), so let a run last seconds.
//! `bytes_per_connection` wants a fresh server: one that has had as many connections before takes no new memory.

mod churn;
mod connect;
mod crowd;
mod deflate;
mod echo;
mod engine;
mod fanout;
mod fault;
mod filler;
mod idle;
mod json;
mod meter;
mod options;
mod outcome;
mod pace;
mod plot;
mod process;
mod progress;
mod reader;
mod report;
mod scenario;
mod stamp;
mod summary;
mod target;

use std::io;
use std::process::ExitCode;

use crate::cli::{Exit, say, show};
use crate::net::raise_open_files_max;
use crate::random::Random;
use engine::Engine;
use options::{Asked, HELP, Kind, Options};
use outcome::Outcome;
use process::Snapshot;
use progress::Progress;
use scenario::Stage;
use stamp::Run;

/// The program `dunlin-bench`.
pub fn main() -> ExitCode {
    crate::cli::on_panic();
    run(lexopt::Parser::from_env()).into()
}

/// What `dunlin bench` does with the words behind it.
pub(crate) fn run(parser: lexopt::Parser) -> Exit {
    let options = match Options::parse(parser) {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Help) => {
            show(HELP);
            return Exit::Ok;
        }
        Ok(Asked::Version) => {
            show(&format!("dunlin-bench {}\n", env!("CARGO_PKG_VERSION")));
            return Exit::Ok;
        }
        Err(message) => {
            say(&format!(
                "dunlin-bench: {message}\nTry `dunlin-bench --help`."
            ));
            return Exit::Usage;
        }
    };
    let files = raise_open_files_max();
    if options.files() > files {
        say(&format!(
            "dunlin-bench: {} connections need {} open files and this system allows {files}: raise `ulimit -Hn` or \
             take fewer --connections",
            options.connections,
            options.files()
        ));
        return Exit::System;
    }
    if let Some(pid) = options.pid
        && let Err(error) = Snapshot::take(&pid.to_string())
    {
        say(&format!(
            "dunlin-bench: --pid {pid} cannot be looked at: {error}"
        ));
        return Exit::Usage;
    }
    let stage = match load(&options) {
        Ok(stage) => stage,
        Err(error) => {
            say(&format!("dunlin-bench: {error}"));
            return Exit::System;
        }
    };
    tell(&options, Outcome::of(&options, stage))
}

/// Runs the scenario.
fn load(options: &Options) -> io::Result<Stage> {
    let mut random = Random::system();
    let (run, roll) = (Run::new(random.next_u64()), Run::new(random.next_u64()));
    let mut progress = Progress::new(options.quiet);
    let progress = &mut progress;
    match options.kind {
        Kind::Echo => Engine::new(options, echo::Echo::new(options, run), progress)?.run(),
        Kind::Fanout => {
            Engine::new(options, fanout::Fanout::new(options, run, roll), progress)?.run()
        }
        Kind::Connect => Engine::new(options, connect::Connect::new(options), progress)?.run(),
        Kind::Idle => Engine::new(options, idle::Idle::new(options.connections), progress)?.run(),
        Kind::Churn => Engine::new(options, churn::Churn::new(options, run), progress)?.run(),
    }
}

/// Says what has come out.
fn tell(options: &Options, outcome: Outcome) -> Exit {
    let mut exit = outcome.exit();
    if let Some(file) = &options.plot
        && let Err(error) = std::fs::write(file, plot::svg(&outcome, options))
    {
        say(&format!("dunlin-bench: {}: {error}", file.display()));
        exit = Exit::System;
    }
    if options.json {
        show(&report::json(&outcome, options));
    } else {
        show(&summary::text(&outcome, options));
    }
    if exit == Exit::Unavailable {
        let faults: Vec<_> = outcome.faults.iter().map(|(name, _)| name).collect();
        say(&format!(
            "dunlin-bench: no server at {} ({}): is it running, and is this its address?",
            options.target.url,
            faults.join(", ")
        ));
    }
    exit
}
