//! Child processes: starting, hearing that one has ended, signals, reaping. Nothing here waits for anybody.
//!
//! Standard input and output are the two directions of one socket pair, so that a process is a [`Socket`] like every other
//! connection: one descriptor, half-close for the end of its input, and a kernel buffer that makes it block when nobody
//! reads. Lines of standard error go to the log.
//!
//! ```text
//!   spawn ──▶ running ──SIGCHLD, it has exited──▶ exited (not reaped: its number stays its own) ──Forget──▶ reaped
//!                └── Forget ──▶ forgotten ──SIGCHLD──▶ reaped
//! ```
//!
//! **A process is reaped only when its link is gone.** Until then its number cannot become a stranger's, so a signal for
//! what is left of its group never reaches anybody else.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use mio::unix::pipe::Receiver;
use mio::{Interest, Registry, Token};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

use super::signals::Signals;
use super::socket::Socket;
use crate::hub::{Exit, LinkId, Ordered, ProcessOrder, Program};
use crate::server::Notice;

/// A line of standard error is cut at this.
const ERROR_LINE_BYTES_MAX: usize = 1024;
/// So much of one process's standard error is read per turn.
const ERROR_BYTES_PER_TURN: usize = 16 << 10;

/// The processes that were started for links.
pub(super) struct Children {
    /// A few, or `forks_max` of a route at most: looking for one means looking through them.
    all: Vec<Running>,
    /// SIGCHLD; listened for from the first process on.
    signals: Option<Signals>,
    /// Token of SIGCHLD; those of standard errors lie above.
    first: usize,
    next: usize,
}

struct Running {
    link: LinkId,
    name: String,
    child: Child,
    errors: Option<Errors>,
    exited: bool,
    /// Nobody wants to hear of it.
    forgotten: bool,
}

/// A standard error that is read.
struct Errors {
    token: Token,
    pipe: Receiver,
    ready: bool,
    line: Vec<u8>,
}

impl Children {
    /// `first`: the token of SIGCHLD; every one above it is a standard error's.
    pub(super) fn new(first: usize) -> Self {
        Self {
            all: Vec::new(),
            signals: None,
            first,
            next: first,
        }
    }

    /// Starts a program. What comes back leads to its input and output.
    pub(super) fn start(
        &mut self,
        link: LinkId,
        program: &Program,
        registry: &Registry,
    ) -> io::Result<Socket> {
        if self.signals.is_none() {
            self.signals = Some(Signals::of_children(registry, Token(self.first))?);
        }
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let theirs = OwnedFd::from(theirs);
        let mut command = Command::new(program.name());
        command
            .args(program.arguments.iter().skip(1))
            .env_clear()
            .envs(program.environment.iter().map(|(n, v)| (n, v)))
            .process_group(0)
            .stdin(match program.hears {
                true => Stdio::from(theirs.try_clone()?),
                false => Stdio::null(),
            })
            .stdout(theirs)
            .stderr(Stdio::piped());
        if let Some(folder) = &program.folder {
            command.current_dir(folder);
        }
        let mut child = command.spawn()?;
        // With it goes our copy of the process's end: it alone decides when its output ends.
        drop(command);
        self.next += 1;
        let token = Token(self.next);
        let errors = child.stderr.take().map(Receiver::from);
        let errors = errors.and_then(|mut pipe| {
            // If it cannot be watched the process does without: it writes to a pipe that is closed.
            pipe.set_nonblocking(true).ok()?;
            registry
                .register(&mut pipe, token, Interest::READABLE)
                .ok()?;
            Some(Errors {
                token,
                pipe,
                ready: false,
                line: Vec::new(),
            })
        });
        self.all.push(Running {
            link,
            name: program.name().to_owned(),
            child,
            errors,
            exited: false,
            forgotten: false,
        });
        Ok(mio::net::UnixStream::from_std(ours).into())
    }

    /// Something happened to a token of these. `true`: [`exits`](Self::exits) has news.
    pub(super) fn ready(&mut self, token: Token) -> bool {
        if token.0 == self.first {
            return true;
        }
        for running in &mut self.all {
            if let Some(errors) = &mut running.errors
                && errors.token == token
            {
                errors.ready = true;
            }
        }
        false
    }

    /// The processes that have exited since the last time.
    pub(super) fn exits(&mut self) -> Vec<(LinkId, Exit)> {
        if let Some(signals) = &mut self.signals {
            signals.take();
        }
        let mut exits = Vec::new();
        for running in self.all.iter_mut().filter(|running| !running.exited) {
            if let Some(exit) = running.exit() {
                running.exited = true;
                exits.push((running.link, exit));
            }
        }
        self.reap();
        exits
    }

    /// Carries out an order of the worker.
    pub(super) fn obey(&mut self, (link, order): Ordered, say: &mut dyn FnMut(Notice)) {
        let Some(running) = self.all.iter_mut().find(|running| running.link == link) else {
            return;
        };
        match order {
            ProcessOrder::Interrupt => running.signal(Signal::INT),
            ProcessOrder::Terminate => running.signal(Signal::TERM),
            ProcessOrder::Kill => running.signal(Signal::KILL),
            ProcessOrder::Forget { kill } => {
                if kill {
                    running.signal(Signal::KILL);
                }
                running.forgotten = true;
                if let Some(errors) = &mut running.errors {
                    errors.read(&running.name, say);
                }
                self.reap();
            }
        }
    }

    fn reap(&mut self) {
        self.all.retain_mut(|running| {
            if running.forgotten && running.exited {
                // It has exited, so this does not wait, and there is nobody to tell what came of it.
                _ = running.child.try_wait();
            }
            !(running.forgotten && running.exited)
        });
    }

    /// Reads what processes say on standard error; `true`: there may be more.
    pub(super) fn read_errors(&mut self, say: &mut dyn FnMut(Notice)) -> bool {
        let mut more = false;
        for running in &mut self.all {
            if let Some(errors) = &mut running.errors
                && errors.ready
            {
                more |= errors.read(&running.name, say);
            }
        }
        more
    }
}

impl Drop for Children {
    /// The server ends, and nothing it has started outlives it.
    fn drop(&mut self) {
        for running in &mut self.all {
            running.signal(Signal::KILL);
            _ = running.child.wait();
        }
    }
}

impl Running {
    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }

    /// How it has exited, if it has. It is not reaped by this.
    fn exit(&self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.pid()?), options).ok()??;
        let code = status.exit_status().map(Exit::Code);
        code.or_else(|| status.terminating_signal().map(Exit::Signal))
    }

    /// To its whole group, or to itself if it has left that.
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid()
            && kill_process_group(pid, signal).is_err()
        {
            // Nobody is there: that was the aim.
            _ = kill_process(pid, signal);
        }
    }
}

impl Errors {
    /// Tells each line; `true`: there may be more.
    fn read(&mut self, name: &str, say: &mut dyn FnMut(Notice)) -> bool {
        let mut chunk = [0; 4096];
        let mut taken = 0;
        while taken < ERROR_BYTES_PER_TURN {
            match self.pipe.read(&mut chunk) {
                Ok(0) => {
                    self.ready = false;
                    self.tell(name, say);
                    return false;
                }
                Ok(n) => {
                    taken += n;
                    for byte in chunk.iter().take(n) {
                        if *byte == b'\n' {
                            self.tell(name, say);
                        } else if self.line.len() < ERROR_LINE_BYTES_MAX {
                            self.line.push(*byte);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.ready = false;
                    return false;
                }
            }
        }
        true
    }

    fn tell(&mut self, name: &str, say: &mut dyn FnMut(Notice)) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
        if !line.is_empty() {
            say(Notice {
                kind: "process_stderr",
                text: format!("process {name}: {line}"),
            });
        }
    }
}
