//! Defaults that depend on the machine.

use std::fs;
use std::path::Path;

use crate::net;

/// Descriptors that are not connections: listeners, the poller, the log, and some to spare.
const SPARE_FILES: usize = 64;
/// A limit of "infinity" would make the first refusal come from the kernel and not from us.
const FILES_MAX: usize = 1 << 20;

/// How many connections this process may have: its open files, raised to what the system allows.
pub(crate) fn connections_max() -> usize {
    net::raise_open_files_max()
        .min(FILES_MAX)
        .saturating_sub(SPARE_FILES)
        .max(1)
}

/// A quarter of the memory that this process's control group may use; `None` without such a limit.
pub(crate) fn memory_budget_bytes() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    smallest_limit(&groups, |path| fs::read_to_string(path).ok()).map(|bytes| {
        usize::try_from(bytes / 4)
            .unwrap_or(usize::MAX)
            .max(BUDGET_MIN)
    })
}

/// Below this nothing useful could be queued at all.
const BUDGET_MIN: usize = 64 << 10;
/// The old interface writes "no limit" as a number close to 2^63.
const NO_LIMIT: u64 = 1 << 50;

/// The limits of all groups this process is in, and of those around them; the smallest counts.
fn smallest_limit(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut smallest = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // Inside a container the group's path may be the host's: the root of the tree always counts.
        for ancestor in Path::new(group.trim_start_matches('/')).ancestors() {
            let limit = read(&Path::new(root).join(ancestor).join(file));
            let limit = limit
                .and_then(|text| text.trim().parse().ok())
                .filter(|n| *n < NO_LIMIT);
            smallest = match (smallest, limit) {
                (Some(a), Some(b)) => Some(std::cmp::min::<u64>(a, b)),
                (a, b) => a.or(b),
            };
        }
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_around_the_process_counts() {
        let files = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/system.slice/dunlin.service/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/system.slice/memory.max" => Some("268435456\n".to_owned()),
            "/sys/fs/cgroup/memory/memory.limit_in_bytes" => {
                Some("9223372036854771712\n".to_owned())
            }
            "/sys/fs/cgroup/memory/box/memory.limit_in_bytes" => Some("134217728\n".to_owned()),
            _ => None,
        };
        assert_eq!(
            smallest_limit("0::/system.slice/dunlin.service\n", files),
            Some(268_435_456)
        );
        assert_eq!(
            smallest_limit("4:memory:/box\n1:cpu:/\n", files),
            Some(134_217_728)
        );
        assert_eq!(smallest_limit("4:memory:/\n", files), None);
        assert_eq!(smallest_limit("nonsense", files), None);
    }
}
