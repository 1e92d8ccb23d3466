//! User-space instructions per message, counted by callgrind.
//!
//! A server runs twice under valgrind and serves more messages the second time: what the two totals differ by, over
//! what the numbers of messages differ by, is the cost of one, without start-up and handshakes. Time and noisy
//! neighbours do not matter here; what the kernel does is not counted. Valgrind does not know AVX-512 and SHA-NI, so
//! a program that asks the processor for them runs its fallback.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::driver::Driver;
use crate::server::{Role, Server};

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    pub name: &'static str,
    pub title: &'static str,
    role: Role,
    connections: usize,
    payload: usize,
    depth: usize,
    /// Messages of the two runs; publications for `Fan`.
    messages: [usize; 2],
}

pub const COUNTS: [Count; 4] = [
    Count {
        name: "instructions-echo-125",
        title: "echo 125 B, one outstanding",
        role: Role::Echo,
        connections: 100,
        payload: 125,
        depth: 1,
        messages: [1_000, 6_000],
    },
    Count {
        name: "instructions-echo-125-32",
        title: "echo 125 B, 32 outstanding",
        role: Role::Echo,
        connections: 20,
        payload: 125,
        depth: 32,
        messages: [1_280, 12_800],
    },
    Count {
        name: "instructions-echo-1k-32",
        title: "echo 1 KiB, 32 outstanding",
        role: Role::Echo,
        connections: 20,
        payload: 1024,
        depth: 32,
        messages: [1_280, 12_800],
    },
    Count {
        name: "instructions-fan-200",
        title: "fan-out 200 B to 100, per delivery",
        role: Role::Fan,
        connections: 100,
        payload: 200,
        depth: 1,
        messages: [20, 220],
    },
];

/// Whether there is anything to count with.
pub fn can_count() -> bool {
    let found = Command::new("valgrind").arg("--version").output();
    found.is_ok_and(|output| output.status.success())
}

impl Count {
    /// Instructions per message of this server.
    pub fn measure(&self, server: &Server, folder: &Path) -> Result<u64> {
        let file = folder.join(format!("callgrind-{}.out", std::process::id()));
        let [few, many] = self.messages;
        let (few_messages, few_total) = self.run(server, few, &file)?;
        let (many_messages, many_total) = self.run(server, many, &file)?;
        fs::remove_file(&file)?;
        let messages = (many_messages - few_messages) as u64;
        Ok(many_total.saturating_sub(few_total).div_ceil(messages))
    }

    /// The messages and the instructions of one run.
    fn run(&self, server: &Server, messages: usize, file: &Path) -> Result<(usize, u64)> {
        let wrapper = [
            "valgrind".to_owned(),
            "--quiet".into(),
            "--tool=callgrind".into(),
            format!("--callgrind-out-file={}", file.display()),
        ];
        let started = server.start(self.role, self.payload, self.depth, &wrapper)?;
        let path = server.path(self.role);
        let mut driver = Driver::connect(
            started.port,
            path,
            self.connections,
            self.payload,
            self.depth,
        )?;
        let messages = match self.role {
            Role::Echo => driver.echo(messages)?,
            _ => driver.fan(messages)?,
        };
        driver.close()?;
        started.stop()?;
        let text = fs::read_to_string(file)?;
        let total = text.lines().find_map(|line| {
            let rest = line
                .strip_prefix("totals:")
                .or(line.strip_prefix("summary:"));
            rest?.trim().parse().ok()
        });
        Ok((messages, total.ok_or("callgrind wrote no totals")?))
    }
}
