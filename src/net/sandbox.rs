//! What a server gives up once everything is open (Linux; feature `sandbox`).
//!
//! The rule: whoever takes this process over, through a bug of ours or of a crate, gets what the loop needs and no
//! more. So after addresses are bound and files are read, and before the first byte of a peer, four things are given
//! up for good, by this thread and those it starts:
//!
//! ```text
//! prctl      no_new_privs   no program that it starts gains rights (setuid, file capabilities)
//!            not dumpable   no core file with keys in it, no debugger of the same user
//! landlock   files          none to read, make or change but those of the policy (Linux 5.13)
//!            TCP ports      none to listen on, none to connect to but those of the policy (6.7)
//!            scopes         no abstract Unix sockets of others, no signals to others (6.12)
//! seccomp    system calls   those of the tables below; all others are answered as if the kernel had none
//! ```
//!
//! **Why ENOSYS, and not EPERM or death.** A C library asks newer kernels first and falls back when it is told that
//! there is no such call: glibc starts threads with `clone3`, whose flags lie in memory where no filter can look, and
//! takes the refusable `clone` only after ENOSYS. EPERM would end it there, and a filter that kills makes an update of
//! the C library cut ten thousand clients. An intruder gains nothing from living on: he can refuse service anyway.
//!
//! Each thread is held by itself: call [`Policy::enforce`] before another one is started.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter,
};

use super::resolver::needs_look_up;

/// What a process will still do.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// TCP ports it connects to.
    ports: Vec<u16>,
    /// It looks names up.
    names: bool,
    /// Unix sockets it removes when it ends.
    sockets: Vec<PathBuf>,
    /// Unix sockets of other servers that it connects to.
    links: Vec<PathBuf>,
    /// Folders in which it writes logs of histories.
    logs: Vec<PathBuf>,
    /// It starts programs.
    programs: bool,
}

impl Policy {
    /// It serves what it has bound, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// It calls an application at this host, a name or an address.
    #[must_use]
    pub fn calls(mut self, host: &str, port: u16) -> Self {
        self.ports.push(port);
        self.names |= needs_look_up(host);
        self
    }

    /// It connects to another server through the Unix socket at this path. To sockets in other folders it cannot, from
    /// Linux 7.1 on; before, the modes of sockets decide alone.
    #[must_use]
    pub fn links(mut self, socket: &Path) -> Self {
        self.links.push(socket.to_owned());
        self
    }

    /// It listens on a Unix socket at this path and removes it in the end. The right to remove is one of the folder
    /// and what is below it, so such a socket is best put into a folder of its own.
    #[must_use]
    pub fn removes(mut self, socket: &Path) -> Self {
        self.sockets.push(socket.to_owned());
        self
    }

    /// It keeps a log of histories in this folder: files are made, written and removed there, and not even read again.
    #[must_use]
    pub fn logs(mut self, folder: &Path) -> Self {
        self.logs.push(folder.to_owned());
        self
    }

    /// It starts programs. They inherit everything that is given up here, and what they need nobody can know: so only
    /// what harms no program remains, `no_new_privs` and not being dumpable.
    #[must_use]
    pub fn programs(mut self) -> Self {
        self.programs = true;
        self
    }

    /// Gives up, for good, what the policy does not need. What this kernel cannot take is told and left out.
    pub fn enforce(&self) -> Held {
        let mut held = Held::default();
        if let Err(error) = set_no_new_privs(true) {
            held.missing("no_new_privs", error);
        }
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            held.missing("not dumpable", error);
        }
        if self.programs {
            held.missing("files, ports, calls", "it starts programs");
            return held;
        }
        // The filter comes last: it allows none of what was done before it.
        match self.restrict() {
            Ok(LandlockStatus::Available { effective_abi, .. }) => {
                held.files = effective_abi >= ABI::V1;
                held.ports = effective_abi >= ABI::V4;
                if !held.ports {
                    held.missing("ports", "landlock is older than Linux 6.7");
                }
            }
            Ok(LandlockStatus::NotEnabled) => {
                held.missing("files, ports", "landlock is switched off")
            }
            Ok(_) => held.missing("files, ports", "this kernel has no landlock"),
            Err(error) => held.missing("files, ports", error),
        }
        match self.filter().and_then(|filter| apply_filter(&filter)) {
            Ok(()) => held.calls = true,
            Err(error) => held.missing("calls", error),
        }
        held
    }
}

/// What was really given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// System calls that are not in the tables.
    pub calls: bool,
    /// Files.
    pub files: bool,
    /// TCP ports.
    pub ports: bool,
    missing: String,
}

impl Held {
    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// What is missing, and why; empty if nothing is.
    pub fn what_is_missing(&self) -> &str {
        &self.missing
    }

    fn missing(&mut self, what: &str, why: impl fmt::Display) {
        if !self.missing.is_empty() {
            self.missing.push_str("; ");
        }
        self.missing += &format!("{what}: {why}");
    }
}

/// `calls, files, ports`, or less with the reason.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.calls, "calls"),
            (self.files, "files"),
            (self.ports, "ports"),
        ];
        let held: Vec<&str> = all
            .iter()
            .filter_map(|(on, name)| on.then_some(*name))
            .collect();
        f.write_str(if held.is_empty() { "none" } else { "" })?;
        f.write_str(&held.join(", "))?;
        if !self.missing.is_empty() {
            write!(f, " (not {})", self.missing)?;
        }
        Ok(())
    }
}

// Files and ports.

/// What looking a name up reads. A rule holds for the file that is there when it is made: one that is replaced later,
/// by renaming another to its name, is not the file that may be read.
const NAME_FILES: &[&str] = &[
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf", // glibc: where to look at all
    "/etc/host.conf",     // glibc: in which order
    "/etc/gai.conf",      // glibc: which address first
];
/// glibc keeps ways of looking up in libraries that it opens when the first name is asked for.
const NAME_LIBRARIES: &[&str] = if cfg!(target_env = "gnu") {
    &[
        "/etc/ld.so.cache",
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
    ]
} else {
    &[]
};
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where the system's resolver keeps what `resolv.conf` is a link to; each program below it has a folder of its own.
const RUN: &str = "/run";
/// A long answer comes over TCP.
const DNS: u16 = 53;

impl Policy {
    /// Landlock, as much of it as this kernel has. What a rule is made for and is not there needs none.
    fn restrict(&self) -> Result<LandlockStatus, RulesetError> {
        let abi = ABI::V9;
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?;
        let mut ports = self.ports.clone();
        if self.names {
            let read: BitFlags<AccessFs> = AccessFs::ReadFile.into();
            let replaced = std::fs::canonicalize(RESOLV_CONF).ok().and_then(folder);
            rules = rules
                .add_rules(path_beneath_rules(NAME_FILES, read))?
                .add_rules(path_beneath_rules(NAME_LIBRARIES, read))?
                .add_rules(path_beneath_rules(replaced, read))?;
            ports.push(DNS);
        }
        let removing = self.sockets.iter().map(|path| folder_of(path));
        rules = rules.add_rules(path_beneath_rules(removing, AccessFs::RemoveFile))?;
        let logging =
            AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::RemoveFile;
        rules = rules.add_rules(path_beneath_rules(&self.logs, logging))?;
        // A server that starts anew makes its socket anew: the folder counts.
        let linking = self.links.iter().map(|path| folder_of(path));
        rules = rules.add_rules(path_beneath_rules(linking, AccessFs::ResolveUnix))?;
        for port in ports {
            rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
        }
        Ok(rules.restrict_self()?.landlock)
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The folder that `resolv.conf` is replaced in, if it is one of the system's resolver.
fn folder(resolv_conf: PathBuf) -> Option<PathBuf> {
    let folder = resolv_conf.parent()?;
    let inside = folder.starts_with(RUN) && folder != Path::new(RUN);
    inside.then(|| folder.to_owned())
}

// System calls.

/// An argument (by its place, from 0) and these bits of it must be this.
type Test = (u8, u32, u32);
/// A call, and the ways it may be made: each is a list of tests that all must hold. None: in any way.
type Call = (libc::c_long, &'static [&'static [Test]]);

const ANY: &[&[Test]] = &[];
const WHOLE: u32 = u32::MAX;

const fn bits(flags: libc::c_int) -> u32 {
    flags as u32
}

/// What every server does.
const SERVING: &[Call] = &[
    // The loop: wait, and register what was accepted.
    (libc::SYS_epoll_pwait, ANY),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_epoll_wait, ANY),
    (libc::SYS_epoll_ctl, ANY),
    // Connections: from accept to close. `read` and `write` are also the waker's and, of `write`, the log's.
    (libc::SYS_accept4, ANY),
    (libc::SYS_recvfrom, ANY),
    (libc::SYS_sendto, ANY),
    (libc::SYS_read, ANY),
    (libc::SYS_write, ANY),
    (libc::SYS_writev, ANY),
    (libc::SYS_shutdown, ANY),
    (libc::SYS_close, ANY),
    // Time, where the kernel's page of it (vdso) is not to be had; random ids.
    (libc::SYS_clock_gettime, ANY),
    (libc::SYS_getrandom, ANY),
    // Memory, by either C library. Nothing becomes code: see `LIBRARIES`.
    (libc::SYS_brk, ANY),
    (libc::SYS_mmap, &[&[(2, bits(libc::PROT_EXEC), 0)]]),
    (libc::SYS_mprotect, &[&[(2, bits(libc::PROT_EXEC), 0)]]),
    (libc::SYS_mremap, ANY),
    (libc::SYS_munmap, ANY),
    (libc::SYS_madvise, ANY),
    // Threads of this process (log, look-ups): they share its memory, and no name space is made. glibc asks for
    // `clone3` before, see above.
    (libc::SYS_clone, &[&[(0, THREAD | NEW_SPACES, THREAD)]]),
    (libc::SYS_set_robust_list, ANY),
    (libc::SYS_rseq, ANY),
    (libc::SYS_prctl, &[&[(0, WHOLE, bits(libc::PR_SET_NAME))]]),
    (libc::SYS_sched_getaffinity, ANY), // the size of a thread's stack, by glibc
    (libc::SYS_sched_yield, ANY),
    (libc::SYS_sigaltstack, ANY), // std: the stack on which an overflow of the stack is told
    (libc::SYS_futex, ANY),       // locks, conditions
    (libc::SYS_gettid, ANY),
    (libc::SYS_getpid, ANY),
    // Signals: the handlers are installed, but they return, and who ends by a panic changes them once more.
    (libc::SYS_rt_sigaction, ANY),
    (libc::SYS_rt_sigprocmask, ANY),
    (libc::SYS_rt_sigreturn, ANY),
    (libc::SYS_restart_syscall, ANY), // by the kernel, after SIGSTOP and SIGCONT
    // The end of a thread, and of all.
    (libc::SYS_exit, ANY),
    (libc::SYS_exit_group, ANY),
];

const THREAD: u32 = bits(libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD);
const NEW_SPACES: u32 = bits(
    libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET,
);

/// The type of a socket without the flags beside it.
const SOCKET_TYPE: u32 = 0xf;
const STREAM: Test = (1, SOCKET_TYPE, bits(libc::SOCK_STREAM));
const DATAGRAM: Test = (1, SOCKET_TYPE, bits(libc::SOCK_DGRAM));
const IPV4: Test = (0, WHOLE, bits(libc::AF_INET));
const IPV6: Test = (0, WHOLE, bits(libc::AF_INET6));
const UNIX: Test = (0, WHOLE, bits(libc::AF_UNIX));

/// What calling an application takes: no socket but those of TCP.
const CALLING: &[Call] = &[
    (libc::SYS_socket, &[&[IPV4, STREAM], &[IPV6, STREAM]]),
    (libc::SYS_connect, ANY),
    (libc::SYS_getsockname, ANY), // whether a socket is connected to itself; glibc: which address is nearest
    (
        libc::SYS_setsockopt,
        &[&[
            (1, WHOLE, bits(libc::IPPROTO_TCP)),
            (2, WHOLE, bits(libc::TCP_NODELAY)),
        ]],
    ),
];

/// What a connection through a Unix socket takes.
const LINKING: &[Call] = &[
    (libc::SYS_socket, &[&[UNIX, STREAM]]),
    (libc::SYS_connect, ANY),
];

/// Opening for nothing but reading.
const READ_ONLY: u32 = bits(libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE)
    & !bits(libc::O_DIRECTORY);

/// What looking a name up takes beside that: questions over UDP, and the files that landlock lets through.
const NAMES: &[Call] = &[
    (libc::SYS_socket, &[&[IPV4, DATAGRAM], &[IPV6, DATAGRAM]]),
    (libc::SYS_setsockopt, ANY), // musl: both families on one socket; glibc: errors of a route
    #[cfg(not(target_env = "gnu"))]
    (libc::SYS_bind, ANY), // musl binds where it asks from; a TCP port landlock refuses
    (libc::SYS_sendmsg, ANY),
    (libc::SYS_sendmmsg, ANY),
    (libc::SYS_recvmsg, ANY),
    (libc::SYS_recvmmsg, ANY),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_poll, ANY),
    (libc::SYS_ppoll, ANY),
    (libc::SYS_ioctl, &[&[(1, WHOLE, FIONREAD)]]),
    (libc::SYS_fcntl, ANY),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, &[&[(1, READ_ONLY, 0)]]),
    (libc::SYS_openat, &[&[(2, READ_ONLY, 0)]]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_stat, ANY),
    (libc::SYS_fstat, ANY),
    (libc::SYS_newfstatat, ANY),
    (libc::SYS_lseek, ANY),
    (libc::SYS_pread64, ANY),
    (libc::SYS_readv, ANY),
    (libc::SYS_uname, ANY), // glibc: the domain of this machine
];

const FIONREAD: u32 = libc::FIONREAD as u32;

/// What opening a library takes: code, but never memory that can be written and run at once.
const LIBRARIES: &[Call] = &[
    (libc::SYS_mmap, &[&[(2, bits(libc::PROT_WRITE), 0)]]),
    (libc::SYS_mprotect, &[&[(2, bits(libc::PROT_WRITE), 0)]]),
];

/// What removing a Unix socket takes.
const REMOVING: &[Call] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, ANY),
    (libc::SYS_unlinkat, &[&[(2, WHOLE, 0)]]),
];

/// Opening for nothing but writing a file that was not there.
const NEW_FILE: u32 = bits(libc::O_ACCMODE | libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC);
const WRITE_ONLY: u32 = bits(libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL);

/// What a log of histories takes: a new file now and then, written, made safe, and removed when it is old.
const LOGGING: &[Call] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, &[&[(1, NEW_FILE, WRITE_ONLY)]]),
    (libc::SYS_openat, &[&[(2, NEW_FILE, WRITE_ONLY)]]),
    (libc::SYS_fdatasync, ANY),
    (libc::SYS_fsync, ANY), // of the folder, when it has a new name
    (libc::SYS_ftruncate, ANY),
];

impl Policy {
    /// The tables that this policy takes together.
    fn tables(&self) -> impl Iterator<Item = &'static [Call]> {
        let all = [
            (true, SERVING),
            (!self.ports.is_empty(), CALLING),
            (!self.links.is_empty(), LINKING),
            (self.names, NAMES),
            (self.names && cfg!(target_env = "gnu"), LIBRARIES),
            (!self.sockets.is_empty(), REMOVING),
            (!self.logs.is_empty(), LOGGING),
            (!self.logs.is_empty(), REMOVING),
        ];
        all.into_iter()
            .filter_map(|(on, table)| on.then_some(table))
    }

    fn filter(&self) -> Result<BpfProgram, seccompiler::Error> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        let mut unconditional = Vec::new();
        for (number, ways) in self.tables().flatten() {
            let known = rules.entry(*number).or_default();
            for way in *ways {
                known.push(rule(way)?);
            }
            if ways.is_empty() {
                unconditional.push(*number);
            }
        }
        // An abort ends this process and may reach no other one.
        let own = [(0, WHOLE, std::process::id())];
        rules.entry(libc::SYS_tgkill).or_default().push(rule(&own)?);
        // A call that one table allows in any way is not narrowed by another.
        for number in unconditional {
            rules.insert(number, Vec::new());
        }
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Errno(bits(libc::ENOSYS)),
            SeccompAction::Allow,
            std::env::consts::ARCH.try_into()?,
        )?;
        Ok(filter.try_into()?)
    }
}

fn rule(way: &[Test]) -> Result<SeccompRule, BackendError> {
    let conditions = way.iter().map(|&(argument, mask, value)| {
        let test = SeccompCmpOp::MaskedEq(mask.into());
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, test, value.into())
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}
