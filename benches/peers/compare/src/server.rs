//! The servers that are compared: which there are, and how each is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::process::{Process, SERVER_CORE, pinned};

/// Where the server under test comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dunlin,
    /// A program of this workspace; raw knows the length of what it gets.
    Peer,
    /// A script for Node.
    Node,
}

/// A server, and the words the tables have for it.
#[derive(Debug, Clone)]
pub struct Server {
    pub name: &'static str,
    kind: Kind,
    program: PathBuf,
}

/// What a server is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Every message back.
    Echo,
    /// Every message to everybody.
    Fan,
    /// Connections with one subscription and nothing said: dunlin's `/ch/{channel}`; for peers the same as `Fan`.
    Subscribed,
}

/// A server that listens.
pub struct Started {
    pub process: Process,
    pub port: u16,
    pub url: String,
}

/// Everything off that is not the work: no limit on the rate, room for 1 MiB messages of 100 connections at once.
const CONFIG: &str = r#"control = "off"
memory_budget_bytes = "2GiB"

[limits]
messages_per_second = 0
control_per_second = 1000000
message_bytes_max = "2MiB"
outbox_bytes_max = "16MiB"

[log]
level = "error"

[tapr]
listen = "off"
"#;

const START_PATIENCE: Duration = Duration::from_secs(20);
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// The configuration that dunlin is measured with, for the tables.
pub fn config() -> &'static str {
    CONFIG
}

/// All servers that have been built into `folder`, dunlin and raw first, and the names of those that have not.
pub fn all(folder: &Path, scripts: &Path) -> (Vec<Server>, Vec<&'static str>) {
    let names = [
        ("dunlin", Kind::Dunlin),
        ("raw", Kind::Peer),
        ("uws", Kind::Peer),
        ("fastwebsockets", Kind::Peer),
        ("tokio-websockets", Kind::Peer),
        ("tokio-tungstenite", Kind::Peer),
        ("sockudo-ws", Kind::Peer),
        ("yawc", Kind::Peer),
        ("hyperlane", Kind::Peer),
        ("ws", Kind::Node),
    ];
    let mut servers = Vec::new();
    let mut missing = Vec::new();
    for (name, kind) in names {
        let program = match kind {
            Kind::Dunlin => folder.join("dunlin"),
            Kind::Peer => folder.join(format!("peer-{name}")),
            Kind::Node => scripts.join("ws.mjs"),
        };
        let runs = match kind {
            Kind::Node => node_has(&program),
            _ => program.exists(),
        };
        if runs {
            servers.push(Server {
                name,
                kind,
                program,
            });
        } else {
            missing.push(name);
        }
    }
    (servers, missing)
}

/// Whether Node is there, and finds what the script imports.
fn node_has(script: &Path) -> bool {
    let check = Command::new("node").arg(script).arg("--version").output();
    check.is_ok_and(|output| output.status.success())
}

impl Server {
    pub fn is_dunlin(&self) -> bool {
        self.kind == Kind::Dunlin
    }

    /// A server with a protocol that is not ours.
    pub fn is_peer(&self) -> bool {
        !self.is_dunlin() && self.name != "raw"
    }

    /// The words after the command that runs it: the program and its arguments. Port 0 means any.
    fn words(&self, role: Role, port: u16, payload: usize) -> Result<Vec<String>> {
        let program = self.program.to_string_lossy().into_owned();
        Ok(match self.kind {
            Kind::Dunlin => {
                let file = self.program.with_file_name("compare.toml");
                fs::write(&file, format!("listen = [\"127.0.0.1:{port}\"]\n{CONFIG}"))?;
                vec![
                    program,
                    "--config".into(),
                    file.to_string_lossy().into_owned(),
                ]
            }
            Kind::Peer | Kind::Node => {
                let mode = if role == Role::Echo { "echo" } else { "fan" };
                let mut words = vec![program, port.to_string(), mode.into(), payload.to_string()];
                if self.kind == Kind::Node {
                    words.insert(0, "node".into());
                }
                words
            }
        })
    }

    /// Starts it, under `wrapper` if there is one, and waits until it says its port.
    pub fn start(&self, role: Role, payload: usize, wrapper: &[String]) -> Result<Started> {
        let words = [wrapper, &self.words(role, 0, payload)?].concat();
        let mut command = pinned(&words[0], SERVER_CORE);
        command.args(&words[1..]);
        let (process, lines) = Process::start(&mut command)?;
        let until = Instant::now() + START_PATIENCE;
        let port = loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = lines
                .recv_timeout(left)
                .map_err(|_| format!("{} did not say its port", self.name))?;
            if let Some(port) = self.port_in(&line) {
                break port;
            }
        };
        Ok(Started {
            url: format!("ws://127.0.0.1:{port}{}", self.path(role)),
            process,
            port,
        })
    }

    /// Starts it on that port, without waiting for anything.
    pub fn spawn(&self, port: u16) -> Result<Process> {
        let words = self.words(Role::Echo, port, 125)?;
        let mut command = pinned(&words[0], SERVER_CORE);
        command.args(&words[1..]);
        Ok(Process::start(&mut command)?.0)
    }

    pub fn path(&self, role: Role) -> &'static str {
        match (self.kind, role) {
            (Kind::Dunlin, Role::Echo) => "/echo",
            (Kind::Dunlin, Role::Fan) => "/chat/bench",
            (Kind::Dunlin, Role::Subscribed) => "/ch/x",
            _ => "/",
        }
    }

    /// Peers print a number; dunlin prints what it serves.
    fn port_in(&self, line: &str) -> Option<u16> {
        let digits = match self.kind {
            Kind::Dunlin => {
                let (_, rest) = line.split_once("ws://127.0.0.1:")?;
                rest.split_once('/')?.0
            }
            _ => line.trim(),
        };
        digits.parse().ok()
    }
}

impl Started {
    pub fn stop(self) -> Result<()> {
        self.process.stop(STOP_PATIENCE)?;
        Ok(())
    }
}
