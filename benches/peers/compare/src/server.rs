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
    /// The same two with permessage-deflate.
    EchoDeflate,
    FanDeflate,
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

/// What is added for compression: as all others here, every message whatever its length, at level 1 (the default).
const DEFLATE_CONFIG: &str = "deflate = true\ndeflate_min_bytes = 0\n";

const START_PATIENCE: Duration = Duration::from_secs(20);
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// In the order of the tables.
pub const NAMES: [&str; 10] = [
    "dunlin",
    "raw",
    "uws",
    "fastwebsockets",
    "tokio-websockets",
    "tokio-tungstenite",
    "sockudo-ws",
    "yawc",
    "hyperlane",
    "ws",
];

/// The configuration that dunlin is measured with, for the tables.
pub fn config() -> &'static str {
    CONFIG
}

/// All servers that have been built into `folder`, dunlin and raw first, and the names of those that have not.
pub fn all(folder: &Path, scripts: &Path) -> (Vec<Server>, Vec<&'static str>) {
    let mut servers = Vec::new();
    let mut missing = Vec::new();
    for name in NAMES {
        let kind = match name {
            "dunlin" => Kind::Dunlin,
            "ws" => Kind::Node,
            _ => Kind::Peer,
        };
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
    /// Whether callgrind can run it: Node compiles while it runs.
    pub fn can_be_counted(&self) -> bool {
        self.kind != Kind::Node
    }

    /// Whether it can compress: dunlin in a program of its own, which has the feature.
    pub fn can_deflate(&self) -> bool {
        match self.kind {
            Kind::Dunlin => self.deflating().exists(),
            _ => ["uws", "sockudo-ws", "yawc", "ws"].contains(&self.name),
        }
    }

    fn deflating(&self) -> PathBuf {
        self.program.with_file_name("dunlin-deflate")
    }

    /// What it calls itself, or what the lock file has.
    pub fn version(&self, lock: &str) -> String {
        let said = match self.kind {
            Kind::Dunlin => Command::new(&self.program).arg("--version").output(),
            Kind::Node => Command::new("node")
                .arg(&self.program)
                .arg("--version")
                .output(),
            Kind::Peer => return locked(self.name, lock),
        };
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let said = said.unwrap_or_default();
        let line = said.lines().next().unwrap_or("unknown");
        line.trim_start_matches("dunlin ").to_owned()
    }

    /// The words after the command that runs it: the program and its arguments. Port 0 means any.
    fn words(&self, role: Role, port: u16, payload: usize, depth: usize) -> Result<Vec<String>> {
        let compresses = matches!(role, Role::EchoDeflate | Role::FanDeflate);
        let program = match self.kind {
            Kind::Dunlin if compresses => self.deflating(),
            _ => self.program.clone(),
        };
        let program = program.to_string_lossy().into_owned();
        Ok(match self.kind {
            Kind::Dunlin => {
                let file = self.program.with_file_name("compare.toml");
                let deflate = if compresses { DEFLATE_CONFIG } else { "" };
                let text = format!("listen = [\"127.0.0.1:{port}\"]\n{deflate}{CONFIG}");
                fs::write(&file, text)?;
                vec![
                    program,
                    "--config".into(),
                    file.to_string_lossy().into_owned(),
                ]
            }
            Kind::Peer | Kind::Node => {
                let mode = match role {
                    Role::Echo => "echo",
                    Role::EchoDeflate => "echo-deflate",
                    Role::FanDeflate => "fan-deflate",
                    Role::Fan | Role::Subscribed => "fan",
                };
                // The load generator has two windows, which it sends in turns.
                let cycle = 2 * depth;
                let mut words = vec![program, port.to_string(), mode.into()];
                words.extend([payload.to_string(), cycle.to_string()]);
                if self.kind == Kind::Node {
                    words.insert(0, "node".into());
                }
                words
            }
        })
    }

    /// Starts it, under `wrapper` if there is one, and waits until it says its port.
    pub fn start(
        &self,
        role: Role,
        payload: usize,
        depth: usize,
        wrapper: &[String],
    ) -> Result<Started> {
        let mut own = self.words(role, 0, payload, depth)?;
        let counted = self
            .program
            .with_file_name(format!("peer-{}-counted", self.name));
        if !wrapper.is_empty() && counted.exists() {
            // Built for the very machine, it may have instructions that valgrind does not know.
            own[0] = counted.to_string_lossy().into_owned();
        }
        let words = [wrapper, &own].concat();
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

    /// Starts it on that port, without waiting for anything, and without pinning it: `taskset` takes its time.
    pub fn spawn(&self, port: u16) -> Result<Process> {
        let words = self.words(Role::Echo, port, 125, 1)?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        Ok(Process::start(&mut command)?.0)
    }

    pub fn path(&self, role: Role) -> &'static str {
        match (self.kind, role) {
            (Kind::Dunlin, Role::Echo | Role::EchoDeflate) => "/echo",
            (Kind::Dunlin, Role::Fan | Role::FanDeflate) => "/chat/bench",
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

/// The version of a package in a lock file.
fn locked(name: &str, lock: &str) -> String {
    match name {
        "raw" => "(no protocol)".to_owned(),
        "uws" => "(the sources in libuwebsockets-sys 0.0.10)".to_owned(),
        _ => {
            let package = format!("name = \"{name}\"\nversion = \"");
            let rest = lock.split_once(&package).map(|(_, rest)| rest);
            let version = rest.and_then(|rest| rest.split('"').next());
            version.unwrap_or("unknown").to_owned()
        }
    }
}
