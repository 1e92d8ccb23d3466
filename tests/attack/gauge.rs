//! What can be read about a process from outside: its memory, the kernel's memory for its sockets, its descriptors, and
//! how long it had to wait for a core.

use std::fs;
use std::process::Command;

/// KiB of private memory that are resident (`RssAnon`): what a server allocated and touched.
pub(crate) fn resident_kib(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("RssAnon:"));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Open files.
pub(crate) fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// Nanoseconds that a task wanted to run and had no core. On a machine that does other work too, this is most of every
/// delay, and no fault of the server.
pub(crate) fn waited_ns(schedstat: &str) -> u64 {
    let text = fs::read_to_string(schedstat).unwrap_or_default();
    let second = text.split_whitespace().nth(1);
    second.and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// What the kernel holds for the sockets of one server.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Kernel {
    /// KiB of the socket that holds most.
    pub(crate) most_kib: u64,
    /// KiB of all of them.
    pub(crate) all_kib: u64,
}

/// Received and not read, queued and not acknowledged, and set aside, per socket whose own end is `port`; `None` without
/// the tool `ss`.
pub(crate) fn kernel(port: &str) -> Option<Kernel> {
    let filter = format!("sport = :{port}");
    let output = Command::new("ss")
        .args(["-tmnHO", "state", "all", &filter])
        .output()
        .ok()?;
    let mut found = Kernel::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((_, rest)) = line.split_once("skmem:(") else {
            continue;
        };
        let field = |name: &str| -> u64 {
            let fields = rest.split([',', ')']);
            let mut values = fields.filter_map(|field| field.strip_prefix(name)?.parse().ok());
            values.next().unwrap_or(0)
        };
        let bytes = field("r") + field("w") + field("f");
        found.most_kib = found.most_kib.max(bytes.div_ceil(1024));
        found.all_kib += bytes.div_ceil(1024);
    }
    Some(found)
}
