//! One server, one case, once.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::cases::Work;
use crate::process::{LOAD_CORE, output_of, pinned};
use crate::server::{Role, Server, Started};

/// Where the programs are, and how long to measure.
pub struct Bench {
    /// The folder of dunlin-bench, and of what is written meanwhile.
    pub folder: PathBuf,
    pub seconds: f64,
    pub warmup: f64,
    pub quick: bool,
}

/// What one run came to.
#[derive(Debug, Default)]
pub struct Sample {
    /// By the keys of the case's metrics.
    pub figures: Vec<(&'static str, f64)>,
    /// Who was busy all the time, as the load generator saw it.
    pub saturated: Option<String>,
    /// What went wrong, in words; figures of such a run mean little.
    pub faults: Vec<String>,
}

const CONNECTIONS: usize = 100;
const DEFLATE_DEPTH: usize = 8;
/// Over the time that is asked for: opening, warming up, waiting for the last answers.
const PATIENCE: Duration = Duration::from_secs(60);
const START_PATIENCE: Duration = Duration::from_secs(10);
/// Starts of a server per sample.
const STARTS: usize = 15;

impl Bench {
    pub fn measure(&self, work: Work, server: &Server) -> Result<Sample> {
        match work {
            Work::Count(count) => Ok(Sample {
                figures: vec![("instructions", count.measure(server, &self.folder)? as f64)],
                ..Sample::default()
            }),
            Work::Start => self.start(server),
            _ => self.load(work, server),
        }
    }

    /// Has dunlin-bench load the server, and reads its report.
    fn load(&self, work: Work, server: &Server) -> Result<Sample> {
        let (role, payload, depth) = match work {
            Work::Echo { payload, depth } => (Role::Echo, payload, depth),
            Work::EchoDeflate { payload } => (Role::EchoDeflate, payload, DEFLATE_DEPTH),
            Work::Fan { .. } | Work::Offered { .. } => (Role::Fan, 200, 1),
            Work::FanDeflate { payload, deflate } => {
                let role = if deflate { Role::FanDeflate } else { Role::Fan };
                (role, payload, 1)
            }
            Work::Idle {
                subscribed: true, ..
            } => (Role::Subscribed, 125, 1),
            _ => (Role::Echo, 125, 1),
        };
        let started = server.start(role, payload, depth, &[])?;
        let mut words = self.words(work, &started);
        words.extend(["--json".into(), "--quiet".into(), "--pid".into()]);
        words.push(started.process.pid().to_string());
        let program = self.folder.join("dunlin-bench");
        let mut command = pinned(&program.to_string_lossy(), LOAD_CORE);
        command.args(&words);
        let patience = PATIENCE + Duration::from_secs_f64(self.seconds);
        // A run in which something went wrong is reported all the same.
        let (text, status) = output_of(&mut command, patience)?;
        let report: Value =
            serde_json::from_str(&text).map_err(|_| format!("dunlin-bench: {status}"))?;
        let mut sample = read(work, &report)?;
        if let Work::Idle { .. } = work {
            let rss = report["server"]["rss_end_bytes"].as_f64();
            sample.figures.extend(rss.map(|rss| ("rss_bytes", rss)));
        }
        started.stop()?;
        Ok(sample)
    }

    /// The arguments of dunlin-bench.
    fn words(&self, work: Work, started: &Started) -> Vec<String> {
        let url = started.url.as_str();
        let seconds = format!("{}ms", (self.seconds * 1000.0) as u64);
        let warmup = format!("{}ms", (self.warmup * 1000.0) as u64);
        let text = match work {
            Work::Echo { payload, depth } => format!(
                "echo {url} --connections {CONNECTIONS} --payload {payload} --pipeline {depth} \
                 --duration {seconds} --warmup {warmup}"
            ),
            Work::Fan { subscribers, burst } => format!(
                "fanout {url} --connections {subscribers} --burst {burst} --payload 200 \
                 --duration {seconds} --warmup {warmup}"
            ),
            Work::EchoDeflate { payload } => format!(
                "echo {url} --connections {CONNECTIONS} --payload {payload} --pipeline {DEFLATE_DEPTH} --deflate \
                 --duration {seconds} --warmup {warmup}"
            ),
            Work::FanDeflate { payload, deflate } => {
                let flag = if deflate { "--deflate" } else { "" };
                format!(
                    "fanout {url} --connections 1000 --burst 16 --payload {payload} --payload-kind json {flag} \
                     --duration {seconds} --warmup {warmup}"
                )
            }
            Work::Offered { subscribers, rate } => format!(
                "fanout {url} --connections {subscribers} --rate {rate} --payload 200 \
                 --duration {seconds} --warmup {warmup}"
            ),
            Work::Connect => {
                let count = if self.quick { 2_000 } else { 20_000 };
                format!("connect {url} --connections 32 --count {count}")
            }
            Work::Idle { connections, .. } => {
                format!("idle {url} --connections {connections} --duration {seconds}")
            }
            Work::Start | Work::Count(_) => String::new(),
        };
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// From exec to the first answer, several times.
    fn start(&self, server: &Server) -> Result<Sample> {
        let mut times = Vec::new();
        let mut resident = Vec::new();
        let starts = if self.quick { 3 } else { STARTS };
        for _ in 0..starts {
            let port = free_port()?;
            let before = Instant::now();
            let process = server.spawn(port)?;
            first_answer(port, server.path(Role::Echo), before + START_PATIENCE)?;
            times.push(before.elapsed().as_nanos() as f64 / 1000.0);
            resident.push(process.resident()? as f64);
        }
        Ok(Sample {
            figures: vec![
                ("start_us", median(&mut times)),
                ("rss_bytes", median(&mut resident)),
            ],
            ..Sample::default()
        })
    }
}

/// The figures of a report, and what was wrong with the run.
fn read(work: Work, report: &Value) -> Result<Sample> {
    let server = &report["server"];
    let number = |value: &Value, name: &str| -> Result<f64> {
        let number = value[name].as_f64();
        number.ok_or_else(|| format!("no {name} in the report").into())
    };
    let mut figures = match work {
        Work::Echo { .. } | Work::EchoDeflate { .. } => {
            vec![("cpu_ns", number(server, "cpu_per_message_ns")?)]
        }
        Work::Fan { .. } | Work::FanDeflate { .. } => {
            vec![("cpu_ns", number(server, "cpu_per_delivery_ns")?)]
        }
        Work::Offered { .. } => vec![
            ("per_second", number(report, "deliveries_per_second")?),
            ("p99_us", number(&report["latency_us"], "p99")?),
            ("cpu_ns", number(server, "cpu_per_delivery_ns")?),
        ],
        Work::Connect => vec![("cpu_ns", number(server, "cpu_per_connection_ns")?)],
        Work::Idle { .. } => vec![("bytes", number(server, "bytes_per_connection")?)],
        Work::Start | Work::Count(_) => Vec::new(),
    };
    let mut faults = Vec::new();
    for name in ["lost", "duplicate", "out_of_order"] {
        let count = report[name].as_u64().unwrap_or(0);
        if count > 0 {
            faults.push(format!("{count} {}", name.replace('_', " ")));
        }
    }
    if let Some(errors) = report["errors"].as_object() {
        faults.extend(errors.iter().map(|(name, count)| format!("{count} {name}")));
    }
    let deflate = &report["deflate"];
    if deflate.is_object() {
        let (agreed, all) = (&deflate["connections"], &report["connections"]);
        if agreed != all {
            faults.push(format!("{agreed} of {all} connections compress"));
        }
        let bytes = number(deflate, "compressed_bytes")? / number(deflate, "messages")?;
        figures.extend(bytes.is_finite().then_some(("wire_bytes", bytes)));
        let share = number(deflate, "messages")? / number(report, "deliveries")?;
        if share < 0.99 {
            let percent = share * 100.0;
            faults.push(format!("{percent:.0} % of the messages came compressed"));
        }
    }
    let saturated = report["saturated"].as_str().map(str::to_owned);
    Ok(Sample {
        figures,
        saturated,
        faults,
    })
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Tries until the server upgrades a connection.
fn first_answer(port: u16, path: &str, until: Instant) -> Result<()> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    let mut socket = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(socket) => break socket,
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_micros(50)),
            Err(why) => return Err(why.into()),
        }
    };
    socket.set_read_timeout(Some(START_PATIENCE))?;
    socket.write_all(head.as_bytes())?;
    let mut answer = [0; 12];
    socket.read_exact(&mut answer)?;
    if answer == *b"HTTP/1.1 101" {
        Ok(())
    } else {
        Err(format!("answered {}", String::from_utf8_lossy(&answer)).into())
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}
