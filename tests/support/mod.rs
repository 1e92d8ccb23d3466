//! What tests with real processes share: children that never outlive their test, the program itself, and waiting by
//! reading rather than by sleeping.

// Each test target uses its own part of this.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child as StdChild, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// How long anything may take that should take no time. Generous, because the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Calls `attempt` until it gives something, without hurry and not for ever.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A process of its own group, whose lines on stdout and stderr are read as they come; killed with all that it
/// started when it goes out of scope.
pub(crate) struct Child {
    process: StdChild,
    name: String,
    lines: Receiver<String>,
    ended: bool,
    /// Every line so far, for assertions and for the reader of a failed test.
    pub(crate) seen: Vec<String>,
}

impl Child {
    /// Starts a program. One that is missing fails the test with the way out.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = Path::new(command.get_program()).file_name().unwrap();
        let name = name.to_string_lossy().into_owned();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut process = command.spawn().unwrap_or_else(|error| {
            panic!("cannot run {name}: {error}. Run tests/clients/install first.")
        });
        let (sender, lines) = channel();
        forward(process.stdout.take().unwrap(), sender.clone());
        forward(process.stderr.take().unwrap(), sender);
        Self {
            process,
            name,
            lines,
            ended: false,
            seen: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for a line that contains `part`, unless it was there already: what goes to stdout and what goes to
    /// stderr may change places.
    #[track_caller]
    pub(crate) fn sooner_or_later(&mut self, part: &str) {
        if self.count(part) == 0 {
            self.line(part);
        }
    }

    /// Whether it has said this by now.
    pub(crate) fn so_far(&mut self, part: &str) -> bool {
        self.seen.extend(self.lines.try_iter());
        self.count(part) > 0
    }

    /// Waits for the next line that contains `part` and gives it whole. Only the order within stdout and within stderr
    /// is certain.
    #[track_caller]
    pub(crate) fn line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("no line {part:?} in time")),
                Err(RecvTimeoutError::Disconnected) => {
                    self.fail(&format!("ended without a line {part:?}"))
                }
            }
        }
    }

    /// Waits for the end of the process and reads the rest of its lines.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => {
                    self.ended = true;
                    return self.process.wait().unwrap();
                }
                Err(RecvTimeoutError::Timeout) => self.fail("does not end"),
            }
        }
    }

    /// Waits for the end, which must be a success, and gives everything the process said.
    #[track_caller]
    pub(crate) fn success(mut self) -> String {
        let status = self.end();
        if !status.success() {
            self.fail(&format!("{status}"));
        }
        self.seen.join("\n")
    }

    /// How many lines so far contain `part`.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.seen.iter().filter(|line| line.contains(part)).count()
    }

    /// Sends SIGTERM to the process alone.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal to the process alone.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, &self.process.id().to_string());
    }

    #[track_caller]
    fn fail(&mut self, why: &str) -> ! {
        self.seen.extend(self.lines.try_iter());
        panic!("{}: {why}. It said:\n{}", self.name, self.seen.join("\n"));
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if thread::panicking() {
            self.seen.extend(self.lines.try_iter());
            println!("{} said:\n{}", self.name, self.seen.join("\n"));
        }
        if !self.ended {
            // The whole group: browsers are many processes.
            signal("KILL", &format!("-{}", self.process.id()));
            _ = self.process.wait();
        }
    }
}

fn signal(name: &str, target: &str) {
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$0\" -- \"$1\"", name, target])
        .stderr(Stdio::null());
    _ = kill.status();
}

fn forward(stream: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line);
            if lines.send(text.trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// The program, serving its default routes on ports of the system's choice.
pub(crate) struct Dunlin {
    pub(crate) child: Child,
    /// `127.0.0.1:PORT` of the public listener.
    pub(crate) main: String,
    /// `127.0.0.1:PORT` of the control listener.
    pub(crate) control: String,
    /// `127.0.0.1:PORT` of the listener for an application and its clients.
    pub(crate) tapr: String,
}

impl Dunlin {
    #[track_caller]
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with(&[], flags)
    }

    /// With settings as environment variables.
    #[track_caller]
    pub(crate) fn start_with(settings: &[(&str, &str)], flags: &[&str]) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_dunlin")), settings, flags)
    }

    /// By a command that becomes the program.
    #[track_caller]
    pub(crate) fn start_by(
        mut command: Command,
        settings: &[(&str, &str)],
        flags: &[&str],
    ) -> Self {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("DUNLIN_") || ["WS_PORT", "WS_URL"].contains(&&*text) {
                command.env_remove(name);
            }
        }
        command
            .envs(settings.iter().copied())
            .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"])
            .args(["--tapr", "127.0.0.1:0"])
            .args(flags);
        let mut child = Child::start(&mut command);
        let address = |line: String| line.rsplit_once(' ').unwrap().1.to_owned();
        // It is bound before it prints.
        let main = address(child.line("main on "));
        let control = address(child.line("control on "));
        let tapr = address(child.line("tapr on "));
        Self {
            child,
            main,
            control,
            tapr,
        }
    }

    /// A number on the metrics page; 0 if it is not there.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let url = format!("http://{}/metrics", self.control);
        let page = dunlin::net::http_request("GET", &url, &[], b"").unwrap();
        let page = String::from_utf8(page.body).unwrap();
        let mut found = page
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.next().map_or(0, |number| number.parse().unwrap())
    }

    /// The URL of a WebSocket route of the public listener.
    pub(crate) fn ws(&self, path: &str) -> String {
        format!("ws://{}{path}", self.main)
    }

    /// SIGTERM, and a clean end.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.child.terminate();
        let status = self.child.end();
        assert_eq!(
            (status.code(), status.signal()),
            (Some(0), None),
            "the server said:\n{}",
            self.child.seen.join("\n")
        );
    }
}

/// A port that belongs to the test whether a server of its own listens there or not: nobody else is given it, and who
/// connects meanwhile is refused.
pub(crate) struct Port {
    _reserved: Socket,
    pub(crate) number: u16,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        let number = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self {
            _reserved: socket,
            number,
        }
    }

    /// Listens there. A child that is just being started may still have the listener that was closed before.
    #[track_caller]
    pub(crate) fn listen(&self) -> TcpListener {
        eventually("a free port", || {
            TcpListener::bind(("127.0.0.1", self.number)).ok()
        })
    }
}

/// A folder that is gone when the test is.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dunlin-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A file with this content.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of `tests/clients`, which its `install` may have to put there.
#[track_caller]
pub(crate) fn client_file(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing. Run tests/clients/install first.",
        path.display()
    );
    path
}

/// Serves one page to whoever asks; its address.
pub(crate) fn serve(page: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let content = std::fs::read(client_file(page)).unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    let answer = [head.as_bytes(), &content].concat();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            // Browsers open connections ahead and may say nothing on them: a thread each.
            thread::spawn(move || {
                _ = stream.set_read_timeout(Some(PATIENCE));
                if stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {
                    _ = stream.write_all(&answer);
                }
            });
        }
    });
    address
}

/// A headless browser on a page, with a profile of its own.
pub(crate) fn chromium(profile: &Folder, url: &str) -> Child {
    let mut command = Command::new("chromium");
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-sync"])
        .args(["--disable-component-update", "--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", profile.0.display()))
        .arg(url);
    Child::start(&mut command)
}
