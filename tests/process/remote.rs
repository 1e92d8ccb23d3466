//! A log of another machine, through the system's `ssh` and a server of its own on this one.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::machine::eventually;
use crate::rig::{Rig, append, text};

const SSHD: &str = "/usr/sbin/sshd";

/// A server for this user alone, who has one key.
struct Sshd {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Sshd {
    /// `None`: there is none on this machine.
    fn start() -> Option<Self> {
        if !Path::new(SSHD).exists() {
            return None;
        }
        let folder = std::env::temp_dir().join(format!("dunlin-ssh-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // Where it wants an empty folder for itself, if it is started by root.
        _ = fs::create_dir_all("/run/sshd");
        for name in ["host", "user"] {
            let path = folder.join(name);
            let mut keygen = Command::new("ssh-keygen");
            keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&path);
            assert!(keygen.status().unwrap().success());
        }
        fs::copy(folder.join("user.pub"), folder.join("authorized")).unwrap();
        // It takes no port 0; whoever takes the free one before it does makes us try again.
        eventually("an SSH server listens", || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            let mut child = Command::new(SSHD)
                .args(["-D", "-e", "-f", "/dev/null", "-h"])
                .arg(folder.join("host"))
                .args(["-o", &format!("ListenAddress=127.0.0.1:{port}")])
                .args([
                    "-o",
                    "UsePAM=no",
                    "-o",
                    "StrictModes=no",
                    "-o",
                    "PidFile=none",
                ])
                .args(["-o", "PermitRootLogin=yes", "-o"])
                .arg(format!(
                    "AuthorizedKeysFile={}",
                    folder.join("authorized").display()
                ))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            for _ in 0..200 {
                if listens() {
                    let folder = folder.clone();
                    return Some(Self {
                        child,
                        folder,
                        port,
                    });
                }
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            _ = child.kill();
            _ = child.wait();
            None
        })
        .into()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_log_of_another_machine_comes_by_ssh() {
    let Some(sshd) = Sshd::start() else {
        println!("SKIPPED: there is no {SSHD} here (Debian's package openssh-server)");
        eprintln!("SKIPPED: there is no {SSHD} here (Debian's package openssh-server)");
        return;
    };
    let user = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap();
    let log = sshd.folder.join("messages");
    append(log.to_str().unwrap(), "before\n");
    let command = format!(
        "ssh -T -F none -i {} -p {} -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
         {}@127.0.0.1 tail -n 1 -F {}",
        sshd.folder.join("user").display(),
        sshd.port,
        user.trim(),
        log.display()
    );
    let lines = format!(
        "mode = \"shared\"\ncommand = \"{command}\"\nquit_word = \"quit\"\nquit_reply = \"close connect\""
    );
    let rig = Rig::route("/logs", &lines);
    let mut viewer = rig.connect("/logs");
    assert_eq!(text(&mut viewer), "before");
    append(log.to_str().unwrap(), "after\n");
    assert_eq!(text(&mut viewer), "after");
    crate::rig::say(&mut viewer, "quit");
    let end = crate::rig::to_the_end(&mut viewer);
    assert_eq!(end, (vec!["close connect".to_owned()], 1000));
}
