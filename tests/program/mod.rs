//! Runs the real program: starts it, waits for its lines with a deadline, ends it.
#![allow(clippy::unwrap_used, dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Long enough for a machine with better things to do; nothing here waits for it to pass.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The program with no settings from around the test.
pub(crate) fn dunlin(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// What a program that ends by itself said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs to the end.
pub(crate) fn run(command: &mut Command) -> Ended {
    let mut running = Running::start(command);
    let status = running.wait();
    Ended {
        code: status.code(),
        out: running.rest_of_out(),
        err: running.rest_of_err(),
    }
}

/// A program that is running; it is killed with the test.
pub(crate) struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// The next line of stdout.
    pub(crate) fn line(&self) -> String {
        self.out.recv_timeout(DEADLINE).expect("a line on stdout")
    }

    /// The next line of stderr with this text in it.
    pub(crate) fn err_line(&self, with: &str) -> String {
        loop {
            let line = self
                .err
                .recv_timeout(DEADLINE)
                .unwrap_or_else(|_| panic!("{with:?} on stderr"));
            if line.contains(with) {
                return line;
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the program did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn rest_of_out(&self) -> String {
        self.out.iter().map(|line| line + "\n").collect()
    }

    pub(crate) fn rest_of_err(&self) -> String {
        self.err.iter().map(|line| line + "\n").collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A running server and the lines it printed.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) lines: Vec<String>,
}

impl Served {
    /// Starts `dunlin` on ports that the system chooses.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut all = Vec::new();
        for listener in ["--listen", "--control", "--tapr"] {
            all.extend([listener, "localhost:0"]);
        }
        all.extend(args);
        Self::start_with(&mut dunlin(&all))
    }

    pub(crate) fn start_with(command: &mut Command) -> Self {
        let running = Running::start(command);
        let mut lines = Vec::new();
        // The lines end with an empty one after the part to paste; the log says that it serves.
        let until = running.err_line("kind=start");
        assert!(until.contains("serves"), "{until}");
        while let Ok(line) = running.out.try_recv() {
            lines.push(line);
        }
        while !lines.iter().any(|line| line.contains("-d hello")) {
            lines.push(running.line());
        }
        Self { running, lines }
    }

    /// The whole URL of a path on a listener (`main`, `control`, `tapr`).
    pub(crate) fn url(&self, listener: &str, path: &str) -> String {
        let mut group = self
            .lines
            .iter()
            .skip_while(|line| !line.starts_with(&format!("{listener} on ")));
        group.next().expect("the listener");
        let urls = group
            .take_while(|line| line.starts_with("  "))
            .filter_map(|l| l.split_whitespace().next());
        urls.map(str::to_owned)
            .find(|url| url.ends_with(path))
            .unwrap_or_else(|| panic!("{path}: {:?}", self.lines))
    }

    /// `ws://localhost:PORT` of a listener.
    pub(crate) fn base(&self, listener: &str) -> String {
        let url = self.url(listener, "/ch");
        url.replace("http://", "ws://")
            .trim_end_matches("/ch")
            .to_owned()
    }

    /// A subscriber that is certain to be subscribed.
    pub(crate) fn sub(&self, channel: &str) -> Running {
        let running = Running::start(&mut dunlin(&[
            "sub",
            "-v",
            "--url",
            &self.base("main"),
            channel,
        ]));
        running.err_line("subscribed to");
        running
    }
}

static FILES: AtomicU32 = AtomicU32::new(0);

/// A file that is gone with the test.
pub(crate) struct TempFile(pub(crate) PathBuf);

impl TempFile {
    pub(crate) fn path(name: &str) -> Self {
        let n = FILES.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("dunlin-{}-{n}-{name}", std::process::id())))
    }

    pub(crate) fn new(name: &str, text: &str) -> Self {
        let file = Self::path(name);
        std::fs::File::create(&file.0)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        file
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}
