//! Servers as processes: started on a core of their own, and never left behind.
//!
//! ```text
//!   start ── prints its port ──▶ listening ── stop: SIGTERM ──▶ ended
//!     │                              │                             ▲
//!     └── time is up: error          └── dropped, or ctrl-c: SIGKILL
//! ```

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::Result;

/// The server's core, and the load generator's.
pub const SERVER_CORE: usize = 0;
pub const LOAD_CORE: usize = 1;

/// Every process of ours that runs, by its id, so that a signal can end them all.
static RUNNING: Mutex<Vec<Child>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<Child>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ctrl-c ends everything that was started, and us.
pub fn end_all_on_signal() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // The lock is kept: nothing is started any more.
            let mut running = running();
            for child in running.iter_mut() {
                _ = child.kill();
                _ = child.wait();
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Whether processes can be pinned: two cores, and `taskset`.
pub fn can_pin() -> std::result::Result<(), &'static str> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        return Err("there is only one core");
    }
    let found = Command::new("taskset").arg("--version").output();
    found.map(drop).map_err(|_| "there is no taskset")
}

/// The command on that core, if it can be pinned.
pub fn pinned(program: &str, core: usize) -> Command {
    if can_pin().is_err() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string(), program]);
    command
}

/// A process that is killed when nobody holds it any more.
pub struct Process {
    pid: u32,
}

impl Process {
    /// Starts the command. What it says on its standard output is told, line by line.
    pub fn start(command: &mut Command) -> Result<(Self, mpsc::Receiver<String>)> {
        let mut running = running();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|why| format!("{}: {why}", command.get_program().to_string_lossy()))?;
        let pid = child.id();
        let output = child.stdout.take().ok_or("no standard output")?;
        running.push(child);
        drop(running);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(|line| line.ok()) {
                _ = sender.send(line);
            }
        });
        Ok((Self { pid }, lines))
    }

    /// The process as the system knows it. `taskset` and `valgrind` replace themselves, so it is the server's own.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks it to end, and waits.
    pub fn stop(self, patience: Duration) -> Result<ExitStatus> {
        let killed = Command::new("kill")
            .args(["-TERM", &self.pid.to_string()])
            .status();
        killed?;
        self.wait(patience)
    }

    /// Waits for its end; kills it when the time is up.
    pub fn wait(&self, patience: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.with_child(Child::try_wait)? {
                return Ok(status);
            }
            if Instant::now() > until {
                return Err(format!("process {} did not end in {patience:?}", self.pid).into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Resident bytes.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
        Ok(kilobytes.ok_or("no VmRSS in the status")? * 1024)
    }

    fn with_child<T>(&self, what: impl FnOnce(&mut Child) -> std::io::Result<T>) -> Result<T> {
        let mut running = running();
        let child = running.iter_mut().find(|child| child.id() == self.pid);
        Ok(what(child.ok_or("a process that nobody knows")?)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut running = running();
        if let Some(at) = running.iter().position(|child| child.id() == self.pid) {
            let mut child = running.swap_remove(at);
            _ = child.kill();
            _ = child.wait();
        }
    }
}

/// What a command prints, and whether it succeeds, if it ends within the time.
pub fn output_of(command: &mut Command, patience: Duration) -> Result<(String, ExitStatus)> {
    let (process, lines) = Process::start(command)?;
    let status = process.wait(patience)?;
    let text: Vec<String> = lines.iter().collect();
    Ok((text.join("\n"), status))
}
