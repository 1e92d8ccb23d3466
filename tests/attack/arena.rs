//! One class of attack: a server of its own, a bystander, what was held before, at the worst and after, and the line that
//! says so.
//!
//! ```text
//!   start ─▶ warm up ─▶ baseline ─▶ attack ─▶ all sockets gone ─▶ as before? ─▶ SIGTERM, exit 0
//!                          │          │                │
//!   bystander              └── round trips all the time ──────────┘
//!   memory of the server               └─ every 5 ms ──┘
//! ```

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dunlin::net::http_request;
use dunlin::ws::OpCode;

use crate::bystander::Bystander;
use crate::gauge::{Kernel, descriptors, kernel, resident_kib};
use crate::line::Line;
use crate::raw::{Raw, frame};
use crate::support::{Dunlin, Folder, eventually};

/// More than this is a failure on any machine.
const WORST_US_MAX: u64 = 1_000_000;
/// What one attacker may make the server hold.
pub(crate) const ATTACKER_KIB_MAX: u64 = 2048;
/// What may stay behind afterwards, unless a class knows better.
const LEFT_KIB_MAX: u64 = 4096;
/// As the service sets it. Once glibc was given back a buffer of a megabyte, it takes all up to that size from its heap,
/// and how much of that it can give back is chance: 1 to 5 MiB stay after large messages. The same program over musl, as
/// it is shipped, has no such memory; this way glibc has none either, and what is measured is ours.
const GIVES_BACK: &str = "glibc.malloc.mmap_threshold=131072";
/// Pause between two looks at the server's memory.
const LOOK: Duration = Duration::from_millis(5);

/// One class of attack.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    /// Settings as environment variables without their prefix.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// More of them for the short form: time-outs that nobody has to wait for.
    pub(crate) hurried: &'static [(&'static str, &'static str)],
    /// Files that the server may open; 0: as many as this process.
    pub(crate) files: usize,
    /// Its stderr is a full pipe that nobody reads.
    pub(crate) stuck_log: bool,
    /// Attacks, and answers what was done.
    pub(crate) attack: fn(&mut Arena) -> String,
}

/// How it is run: the short or the long form, and under which limits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form {
    pub(crate) long: bool,
    /// MiB of private memory that the server may have.
    pub(crate) memory_mib: Option<u64>,
    /// The memory group it is put into.
    pub(crate) group: Option<String>,
    /// The core for the server (`taskset`).
    pub(crate) core: Option<String>,
}

/// What an attack runs in.
pub(crate) struct Arena {
    pub(crate) dunlin: Dunlin,
    pub(crate) form: Form,
    pub(crate) bystander: Bystander,
    /// How many share the blame for the memory.
    pub(crate) attackers: u64,
    /// KiB that each of them may cost.
    pub(crate) each_kib_max: u64,
    /// KiB that may stay behind: capacities of tables, and what the allocator keeps for the next time.
    pub(crate) left_kib_max: u64,
    /// Nobody expects an answer in time: the server was stopped.
    pub(crate) standstill: bool,
    /// What must hold and does not.
    pub(crate) faults: Vec<String>,
    /// Most that the kernel held for the server's sockets.
    pub(crate) kernel: Kernel,
    before: Held,
    peak_kib: Arc<AtomicU64>,
    enough: Arc<AtomicBool>,
    sampler: Option<JoinHandle<()>>,
    _stuck_log: Option<StuckLog>,
}

/// `O_NONBLOCK` on Linux.
const O_NONBLOCK: i32 = 0o4000;

/// A pipe in the file system that nobody reads.
struct StuckLog {
    folder: Folder,
    pipe: File,
}

impl StuckLog {
    fn new() -> Self {
        let folder = Folder::new();
        let path = folder.0.join("log");
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        // Both ends, or opening would wait for the other.
        let mut options = File::options();
        options.read(true).write(true).custom_flags(O_NONBLOCK);
        let pipe = options.open(path).unwrap();
        Self { folder, pipe }
    }

    /// From here on it takes nothing more. The server has started: what a process says before it serves may wait.
    fn fill(&mut self) {
        for size in [4096, 1] {
            while self.pipe.write(&[b'.'; 4096][..size]).is_ok() {}
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.0.join("log")
    }
}

/// What a server holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) kib: u64,
    pub(crate) files: usize,
}

impl Held {
    fn by(process: u32) -> Self {
        Self {
            kib: resident_kib(process),
            files: descriptors(process),
        }
    }
}

impl Arena {
    /// Starts the server and makes it touch what it touches once.
    fn new(class: &Class, form: &Form) -> Self {
        let mut settings: Vec<(String, String)> = vec![(
            "DUNLIN_DRAIN_TIMEOUT_MS".to_owned(),
            "2000".to_owned(), // Nobody who stays is waited for.
        )];
        let hurried = if form.long { &[] } else { class.hurried };
        for (name, value) in class.settings.iter().chain(hurried) {
            settings.push((format!("DUNLIN_{name}"), (*value).to_owned()));
        }
        if let Some(mib) = form.memory_mib {
            // In a memory group it finds this out by itself.
            let budget = (mib * 1024 * 1024 / 4).to_string();
            settings.push(("DUNLIN_MEMORY_BUDGET_BYTES".to_owned(), budget));
        }
        let mut script = String::new();
        if let Some(group) = &form.group {
            script += &format!("echo $$ >'{group}/cgroup.procs' && ");
        }
        if class.files > 0 {
            script += &format!("ulimit -n {} && ", class.files);
        }
        if let Some(mib) = form.memory_mib {
            script += &format!("ulimit -d {} && ", mib * 1024);
        }
        script += "exec ";
        if let Some(core) = &form.core {
            script += &format!("taskset -c {core} ");
        }
        script += "\"$0\" \"$@\"";
        let mut stuck_log = class.stuck_log.then(StuckLog::new);
        if let Some(log) = &stuck_log {
            script += &format!(" 2>'{}'", log.path().display());
        }
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_dunlin")]);
        command.env("GLIBC_TUNABLES", GIVES_BACK);
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let level = if class.stuck_log { "info" } else { "error" };
        let dunlin = Dunlin::start_by(command, &settings, &["--log-level", level]);
        let process = dunlin.child.id();
        warm_up(&dunlin);
        if let Some(log) = &mut stuck_log {
            log.fill();
        }
        let bystander = Bystander::start(&dunlin.ws("/echo?token=secret"), process);
        eventually("the bystander is heard", || {
            (bystander.count() > 0).then_some(())
        });
        // Only the bystander is left of the warming up.
        let files = eventually("the warming up is over", || {
            let files = descriptors(process);
            thread::sleep(Duration::from_millis(20));
            (descriptors(process) == files).then_some(files)
        });
        let before = Held {
            files,
            ..Held::by(process)
        };
        let (peak_kib, enough) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let shared = (peak_kib.clone(), enough.clone());
        let sampler = thread::spawn(move || {
            while !shared.1.load(Ordering::Relaxed) {
                shared.0.fetch_max(resident_kib(process), Ordering::Relaxed);
                thread::sleep(LOOK);
            }
        });
        Self {
            dunlin,
            form: form.clone(),
            bystander,
            attackers: 1,
            each_kib_max: ATTACKER_KIB_MAX,
            left_kib_max: LEFT_KIB_MAX,
            standstill: false,
            faults: Vec::new(),
            kernel: Kernel::default(),
            before,
            peak_kib,
            enough,
            sampler: Some(sampler),
            _stuck_log: stuck_log,
        }
    }

    /// `short` or `long`, as the form is.
    pub(crate) fn pick<T>(&self, short: T, long: T) -> T {
        if self.form.long { long } else { short }
    }

    /// Until when a flood lasts.
    pub(crate) fn until(&self) -> Instant {
        Instant::now() + self.pick(Duration::from_millis(500), Duration::from_secs(4))
    }

    /// The public listener.
    pub(crate) fn main(&self) -> String {
        self.dunlin.main.clone()
    }

    /// Notes a fault unless it holds.
    pub(crate) fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(what());
        }
    }

    /// Looks at the kernel's memory; a class calls it when it should be at its worst.
    pub(crate) fn note_kernel(&mut self) {
        let port = self.dunlin.main.rsplit_once(':').unwrap().1;
        if let Some(found) = kernel(port) {
            self.kernel.most_kib = self.kernel.most_kib.max(found.most_kib);
            self.kernel.all_kib = self.kernel.all_kib.max(found.all_kib);
        }
    }

    /// The server's private memory now.
    pub(crate) fn kib(&self) -> u64 {
        resident_kib(self.dunlin.child.id())
    }

    /// A value in `/metrics`.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let url = format!("http://{}/metrics?token=secret", self.dunlin.control);
        let answer = http_request("GET", &url, &[], b"").unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        let found = text.lines().find_map(|l| l.strip_prefix(line));
        found.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Runs one class and ends its server.
    pub(crate) fn run(class: &Class, form: &Form) -> Line {
        let start = Instant::now();
        let mut arena = Self::new(class, form);
        let process = arena.dunlin.child.id();
        arena.bystander.take();
        thread::sleep(arena.pick(Duration::from_millis(200), Duration::from_secs(1)));
        let baseline = arena.bystander.take();
        let sent = (class.attack)(&mut arena);
        let attacked = arena.bystander.take();

        let files = arena.before.files;
        let after = settled(process, files);
        arena.enough.store(true, Ordering::Relaxed);
        if let Some(sampler) = arena.sampler.take() {
            _ = sampler.join();
        }
        let peak_kib = arena.peak_kib.load(Ordering::Relaxed);
        let before = arena.before;
        let (each_max, left_max) = (arena.each_kib_max, arena.left_kib_max);
        arena.expect(after.files <= files, || {
            format!("{} descriptors became {}", files, after.files)
        });
        let grown = peak_kib.saturating_sub(before.kib);
        let each = grown / arena.attackers;
        arena.expect(each <= each_max, || {
            format!("{each} KiB per attacker, at most {each_max}")
        });
        let left = after.kib.saturating_sub(before.kib);
        arena.expect(left <= left_max, || format!("{left} KiB stayed behind"));
        let ended = arena.bystander.end();
        arena.expect(ended.is_ok(), || ended.unwrap_err());
        let worst = attacked.net_worst;
        let in_time = worst <= WORST_US_MAX || arena.standstill;
        arena.expect(in_time, || format!("the bystander waited for {worst} us"));
        let measured = attacked.count > 0 || arena.standstill;
        arena.expect(measured, || "the bystander heard nothing".to_owned());
        let Self {
            dunlin,
            faults,
            kernel,
            attackers,
            standstill,
            ..
        } = arena;
        // Exit code 0: nothing has panicked.
        dunlin.stop();
        Line {
            name: class.name,
            sent,
            baseline,
            attacked,
            before,
            peak_kib,
            after,
            kernel,
            attackers,
            standstill,
            seconds: start.elapsed().as_secs_f64(),
            faults,
        }
    }
}

/// What is only set up once does not count for attackers: the receive buffer, the scratch buffer, tables.
fn warm_up(dunlin: &Dunlin) {
    let message = frame(OpCode::Binary, &[0; 60_000]);
    let mut crowd: Vec<Raw> = (0..8)
        .map(|_| Raw::open(&dunlin.main, "/echo?token=secret"))
        .collect();
    for _ in 0..8 {
        for raw in &mut crowd {
            raw.send(&message).unwrap();
        }
        for raw in &mut crowd {
            assert_eq!(raw.frame().map(|f| f.1.len()), Some(60_000));
        }
    }
    for mut raw in crowd {
        raw.send(&frame(OpCode::Close, &[3, 232])).unwrap();
        assert_eq!(raw.end().1, Some(1000));
    }
    // A name with every listener's path through routing and metrics.
    for address in [&dunlin.main, &dunlin.control] {
        let url = format!("http://{address}/nowhere");
        assert!(http_request("GET", &url, &[], b"").is_ok());
    }
    drop(TcpStream::connect(&dunlin.main).unwrap());
}

/// What a process holds when its descriptors are back at `files`. Whoever is asked to close has its closing time-out.
fn settled(process: u32, files: usize) -> Held {
    let deadline = Instant::now() + Duration::from_secs(20);
    while descriptors(process) > files && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    Held::by(process)
}
