//! Forbidden calls, made by a process that has entered the same policy.
//!
//! Each test runs this test program once more, for the one test that is named: what is given up there is gone for that
//! process, not for the others.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chroot, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use dunlin::net::sandbox::Policy;
use rustix::process::{DumpableBehavior, Pid, dumpable_behavior, test_kill_process};
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::Folder;

/// A folder that whoever starts such a process removes; it could not do that itself.
const SCRATCH: &str = "SCRATCH";

const ENOSYS: i32 = 38;
const EACCES: i32 = 13;

/// Runs a test of this file in a process of its own.
#[track_caller]
fn alone(test: &str) {
    let folder = Folder::new();
    let output = Command::new(std::env::current_exe().unwrap())
        .env(SCRATCH, &folder.0)
        .args(["--exact", &format!("refused::{test}"), "--ignored"])
        .args(["--nocapture", "--test-threads", "1"])
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    eprint!("{err}");
    assert!(output.status.success(), "{test}:\n{out}\n{err}");
    assert!(out.contains("1 passed"), "{test} was not found:\n{out}");
}

/// Enters; false, and loudly, where the kernel cannot.
fn enter(policy: &Policy) -> bool {
    let held = policy.enforce();
    let all = held.calls && held.files && held.ports;
    if !all {
        eprintln!("SKIPPED: {held}");
    }
    assert_eq!(all, held.is_complete());
    all
}

#[track_caller]
fn refused<T>(what: &str, with: i32, attempt: io::Result<T>) {
    match attempt {
        Ok(_) => panic!("{what} was possible"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(with), "{what}: {error}"),
    }
}

fn socket(domain: i32, kind: Type) -> io::Result<Socket> {
    Socket::new(Domain::from(domain), kind, None)
}

/// A TCP socket at an address of this machine.
fn bind(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn connect(addr: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.connect(&addr.into())
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(SCRATCH).unwrap()).join(name)
}

#[test]
fn a_server_that_calls_nobody() {
    alone("calls_nobody");
}

#[test]
#[ignore = "gives up the rights of the whole process: run by the test above"]
fn calls_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(here).unwrap();
    let (victim, made) = (scratch("victim"), scratch("made"));
    fs::write(&victim, "x").unwrap();
    let parent = Pid::from_raw(std::os::unix::process::parent_id().cast_signed());
    if !enter(&Policy::new()) {
        return;
    }
    // Files: none is read, made, changed, removed or even looked at by its name.
    refused("reading /etc/shadow", ENOSYS, fs::read("/etc/shadow"));
    refused("reading /etc/hosts", ENOSYS, fs::read("/etc/hosts"));
    refused("reading memory", ENOSYS, fs::read("/proc/self/mem"));
    refused("a listing", ENOSYS, fs::read_dir("/"));
    refused("writing", ENOSYS, fs::write(&made, "x"));
    refused("removing", ENOSYS, fs::remove_file(&victim));
    refused("renaming", ENOSYS, fs::rename(&victim, &made));
    refused("a link", ENOSYS, fs::hard_link(&victim, &made));
    refused("a symbolic link", ENOSYS, symlink(&victim, &made));
    refused("a folder", ENOSYS, fs::create_dir(&made));
    let all = fs::Permissions::from_mode(0o4777);
    refused("permissions", ENOSYS, fs::set_permissions(&victim, all));
    refused("another root", ENOSYS, chroot("/"));
    refused("another folder", ENOSYS, std::env::set_current_dir("/"));
    // Programs: neither beside this one nor instead of it.
    refused("a program", ENOSYS, Command::new("/bin/true").spawn());
    refused(
        "execve",
        ENOSYS,
        Err::<(), _>(Command::new("/bin/true").exec()),
    );
    // Sockets: those that were there, and none of any other kind.
    refused("bind", ENOSYS, bind(([127, 0, 0, 1], 0).into()));
    refused("connect", ENOSYS, connect(here));
    refused("listen", ENOSYS, TcpListener::bind("127.0.0.1:0"));
    for (what, domain, kind) in [
        ("AF_PACKET", 17, Type::RAW),
        ("AF_NETLINK", 16, Type::RAW),
        ("AF_UNIX", 1, Type::STREAM),
        ("AF_VSOCK", 40, Type::STREAM),
        ("a raw socket", 2, Type::RAW),
        ("UDP", 2, Type::DGRAM),
    ] {
        refused(what, ENOSYS, socket(domain, kind));
    }
    // Others.
    let kill = test_kill_process(parent.unwrap())
        .map_err(|error| io::Error::from_raw_os_error(error.raw_os_error()));
    refused("kill", ENOSYS, kill);
    // What was there before is served, by threads too.
    let accept = move || listener.accept().unwrap().0.write_all(b"served");
    std::thread::spawn(accept).join().unwrap().unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "served");
}

#[test]
fn a_server_with_an_application_at_an_address() {
    alone("calls_an_address");
}

#[test]
#[ignore = "gives up the rights of the whole process: run by the test above"]
fn calls_an_address() {
    let application = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = |listener: &TcpListener| listener.local_addr().unwrap();
    if !enter(&Policy::new().calls("127.0.0.1", port(&application).port())) {
        return;
    }
    connect(port(&application)).unwrap();
    refused("another port", EACCES, connect(port(&other)));
    refused("bind", ENOSYS, bind(([127, 0, 0, 1], 0).into()));
    refused("UDP", ENOSYS, socket(2, Type::DGRAM));
    refused("AF_UNIX", ENOSYS, socket(1, Type::STREAM));
    refused("AF_PACKET", ENOSYS, socket(17, Type::RAW));
    refused("reading /etc/hosts", ENOSYS, fs::read("/etc/hosts"));
    refused("a program", ENOSYS, Command::new("/bin/true").spawn());
}

#[test]
fn a_server_with_an_application_by_name() {
    alone("calls_a_name");
}

#[test]
#[ignore = "gives up the rights of the whole process: run by the test above"]
fn calls_a_name() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = other.local_addr().unwrap();
    let victim = scratch("named");
    fs::write(&victim, "x").unwrap();
    if !enter(&Policy::new().calls("application.example", 8080)) {
        return;
    }
    // What a look-up reads, and nothing beside it, whoever may read it otherwise.
    assert!(!fs::read("/etc/hosts").unwrap().is_empty());
    refused("reading /etc/passwd", EACCES, fs::read("/etc/passwd"));
    refused("reading /etc/shadow", EACCES, fs::read("/etc/shadow"));
    refused("its memory", EACCES, fs::read("/proc/self/mem"));
    refused("a folder of libraries", EACCES, fs::read_dir("/usr/lib"));
    let append = fs::File::options().append(true).open("/etc/hosts");
    refused("writing", ENOSYS, append);
    refused("writing", ENOSYS, fs::write(&victim, "y"));
    refused("removing", ENOSYS, fs::remove_file(&victim));
    refused("a program", ENOSYS, Command::new("/bin/true").spawn());
    // Questions go by UDP.
    socket(2, Type::DGRAM).unwrap();
    refused("AF_NETLINK", ENOSYS, socket(16, Type::RAW));
    refused("AF_UNIX", ENOSYS, socket(1, Type::STREAM));
    refused("another port", EACCES, connect(other));
    let with = if cfg!(target_env = "gnu") {
        ENOSYS
    } else {
        EACCES
    };
    refused("bind", with, bind(([127, 0, 0, 1], 0).into()));
}

#[test]
fn a_server_with_a_unix_socket() {
    alone("removes_a_socket");
}

#[test]
#[ignore = "gives up the rights of the whole process: run by the test above"]
fn removes_a_socket() {
    let (own, other) = (scratch("own"), scratch("other"));
    for folder in [&own, &other] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), "x").unwrap();
    }
    if !enter(&Policy::new().removes(&own.join("file"))) {
        return;
    }
    fs::remove_file(own.join("file")).unwrap();
    refused("another", EACCES, fs::remove_file(other.join("file")));
    refused("a folder", ENOSYS, fs::remove_dir(&own));
    refused("making", ENOSYS, fs::write(own.join("file"), "x"));
}

#[test]
fn a_server_with_a_link() {
    alone("links_through_a_unix_socket");
}

#[test]
#[ignore = "gives up the rights of the whole process: run by the test above"]
fn links_through_a_unix_socket() {
    let path = scratch("node.ipc");
    let _node = std::os::unix::net::UnixListener::bind(&path).unwrap();
    if !enter(&Policy::new().links(&path)) {
        return;
    }
    std::os::unix::net::UnixStream::connect(&path).unwrap();
    refused("TCP", ENOSYS, socket(2, Type::STREAM));
    refused("a datagram", ENOSYS, socket(1, Type::DGRAM));
}

#[test]
fn a_server_that_starts_programs() {
    alone("starts_programs");
}

#[test]
#[ignore = "gives up the rights of the whole process: run by the test above"]
fn starts_programs() {
    let held = Policy::new().programs().enforce();
    assert_eq!((held.calls, held.files, held.ports), (false, false, false));
    assert!(held.to_string().contains("it starts programs"), "{held}");
    // A program starts, and gains nothing by being started.
    let output = Command::new("grep")
        .args(["NoNewPrivs", "/proc/self/status"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "NoNewPrivs:\t1"
    );
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
}
