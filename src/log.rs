//! The log: lines on stderr, written by a thread of their own.
//!
//! The rule: whoever logs never waits. A line is put into a bounded ring or, if that is full, only counted; a
//! stuck pipe behind stderr costs log lines and nothing else. The thread begins with the first line: a process that
//! has only one saves the C library the care for others in every system call. What peers sent is untrusted: control characters
//! are escaped, so that no line can imitate another one or reach the terminal.
//!
//! ```text
//! text  time=2026-11-20T10:30:53.557Z level=info kind=drain text="draining: 2 WebSockets …"
//! json  {"time":"2026-11-20T10:30:53.557Z","level":"info","kind":"drain","text":"draining: 2 …"}
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::server::Notice;
use crate::time::Now;

/// Lines that may wait for the writer. 1,024 take a burst of several turns; more would only be read later.
const RING_LINES: usize = 1024;
/// Lines of one kind per second; what is beyond is counted, and the count is said afterwards.
const LINES_PER_SECOND: u32 = 10;
const WINDOW_MS: u64 = 1000;
/// How long [`Log::finish`] waits for a pipe that may be stuck.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `key=value`, for people and for `grep`.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// How much is logged. Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Nothing.
    Off,
    /// What ends the server.
    Error,
    /// What an operator should look at.
    Warn,
    /// Start, stop, and every refusal with its reason. The default: refusals are what people ask about.
    #[default]
    Info,
}

impl Level {
    /// The level's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
        }
    }

    /// The level of the server's own notices.
    fn of(kind: &str) -> Self {
        match kind {
            "accept_failed" | "history_log" | "slow_consumer" | "connections_max" => Self::Warn,
            _ => Self::Info,
        }
    }
}

/// Format and level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// How lines look.
    pub format: Format,
    /// How much is logged.
    pub level: Level,
}

struct Line {
    unix_ms: u64,
    level: Level,
    kind: &'static str,
    text: String,
}

/// The sending half. It can be cloned and handed to the loop.
#[derive(Clone)]
pub struct Sink {
    ring: Arc<Ring>,
    level: Level,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl Sink {
    /// Logs one line, or counts it if the ring is full.
    pub fn line(&self, level: Level, kind: &'static str, text: String) {
        if level > self.level || level == Level::Off {
            return;
        }
        let line = Line {
            unix_ms: unix_ms(),
            level,
            kind,
            text,
        };
        self.ring.put(line);
    }

    /// Logs what the server has to say.
    pub fn notice(&self, notice: Notice) {
        self.line(Level::of(notice.kind), notice.kind, notice.text);
    }
}

/// Runs the writer.
type Start = Box<dyn FnOnce() + Send>;

/// What lies between the sinks and the writer. Its lock is held while a line is moved, never while one is
/// written. (A channel of the standard library does the same with 25 KiB of code.)
#[derive(Default)]
struct Ring {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Runs the writer, once there is something to write.
    start: Option<Start>,
    lines: VecDeque<Line>,
    /// Lines that found no room.
    dropped: u64,
    /// Nothing is to come any more.
    closed: bool,
    /// Everything is written, or there is nobody to write it.
    finished: bool,
}

impl Ring {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line in, or counts it.
    fn put(&self, line: Line) {
        let mut state = self.state();
        if state.closed || state.lines.len() == RING_LINES {
            state.dropped += 1;
            return;
        }
        state.lines.push_back(line);
        let start = state.start.take();
        // The writer only ever waits for the first one.
        if state.lines.len() == 1 {
            self.changed.notify_one();
        }
        drop(state);
        if let Some(start) = start
            && thread::Builder::new()
                .name("log".to_owned())
                .spawn(start)
                .is_err()
        {
            self.close();
            self.finish();
        }
    }

    /// The next line, if it comes within this time.
    fn take(&self, wait: Duration) -> Result<Option<Line>, Closed> {
        let mut state = self.state();
        if state.lines.is_empty() && !state.closed {
            let waited = self.changed.wait_timeout(state, wait);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        match state.lines.pop_front() {
            None if state.closed => Err(Closed),
            line => Ok(line),
        }
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    fn finish(&self) {
        self.state().finished = true;
        self.changed.notify_all();
    }
}

/// The ring is empty and stays so.
struct Closed;

/// The writer thread and the way to it.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
}

impl Log {
    /// A log whose writer starts with the first line. Without a thread (the system refuses one) lines are dropped.
    pub fn start(settings: Settings, colour: bool, out: impl Write + Send + 'static) -> Self {
        let ring = Arc::new(Ring::default());
        let mut writer = Writer {
            out,
            format: settings.format,
            colour: colour && settings.format == Format::Text,
            limiter: Limiter::default(),
            ring: ring.clone(),
        };
        ring.state().start = Some(Box::new(move || writer.run()));
        let level = settings.level;
        Self {
            sink: Sink { ring, level },
        }
    }

    /// Something to log to.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Logs one line.
    pub fn line(&self, level: Level, kind: &'static str, text: String) {
        self.sink.line(level, kind, text);
    }

    /// Waits until every line is written, or a second. What a [`Sink`] gets later is not written.
    pub fn finish(self) {
        let ring = &self.sink.ring;
        ring.close();
        let mut state = ring.state();
        // Not one line: there is no writer to wait for. (It holds the ring, so it must go, or neither would.)
        if state.start.take().is_some() {
            return;
        }
        let waited = ring
            .changed
            .wait_timeout_while(state, FINISH_TIMEOUT, |s| !s.finished);
        drop(waited);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.sink.ring.close();
        self.sink.ring.state().start = None;
    }
}

struct Writer<W> {
    out: W,
    format: Format,
    colour: bool,
    limiter: Limiter,
    ring: Arc<Ring>,
}

impl<W: Write> Writer<W> {
    fn run(&mut self) {
        loop {
            let wait = self.limiter.next_report_ms(unix_ms());
            let taken = self
                .ring
                .take(wait.map_or(Duration::MAX, Duration::from_millis));
            let now = unix_ms();
            match taken {
                Ok(Some(line)) => {
                    self.report(now);
                    if self.limiter.allows(line.kind, now) {
                        self.write(&line);
                    }
                }
                Ok(None) => self.report(now),
                Err(Closed) => {
                    self.report(u64::MAX);
                    return self.ring.finish();
                }
            }
        }
    }

    /// Says what was left out, where that is due.
    fn report(&mut self, now_ms: u64) {
        while let Some((kind, count)) = self.limiter.take_report(now_ms) {
            let text = format!("{count} more lines of this kind were left out");
            self.write(&Line {
                unix_ms: unix_ms(),
                level: Level::of(kind),
                kind,
                text,
            });
        }
        let dropped = std::mem::take(&mut self.ring.state().dropped);
        if dropped > 0 {
            let text = format!("{dropped} lines were dropped: stderr is not read fast enough");
            self.write(&Line {
                unix_ms: unix_ms(),
                level: Level::Warn,
                kind: "log",
                text,
            });
        }
    }

    fn write(&mut self, line: &Line) {
        let text = render(line, self.format, self.colour);
        // Nobody is left to tell.
        _ = self.out.write_all(text.as_bytes());
    }
}

fn render(line: &Line, format: Format, colour: bool) -> String {
    let time = Now::new(0, line.unix_ms).iso_micros();
    // Three digits of a second, and the zone.
    let time = time.get(..23).unwrap_or(&time);
    let (level, kind) = (line.level.name(), line.kind);
    let mut out = String::with_capacity(80 + line.text.len());
    _ = match format {
        Format::Json => write!(
            out,
            "{{\"time\":\"{time}Z\",\"level\":\"{level}\",\"kind\":\"{kind}\",\"text\":\""
        ),
        Format::Text if colour => {
            let paint = if line.level == Level::Info {
                "32"
            } else {
                "33"
            };
            write!(
                out,
                "time={time}Z level=\x1b[{paint}m{level}\x1b[0m kind={kind} text=\""
            )
        }
        Format::Text => write!(out, "time={time}Z level={level} kind={kind} text=\""),
    };
    escape(&mut out, &line.text);
    out.push_str(if format == Format::Json {
        "\"}\n"
    } else {
        "\"\n"
    });
    out
}

/// Appends untrusted text for the inside of quotes, of a JSON string as of a text line. Everything that moves
/// a cursor, hides text or turns its direction is escaped.
pub(crate) fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unprintable(c) => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
}

/// Control characters, line separators, and the marks that reorder text (CVE-2021-42574).
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Counts lines per kind.
#[derive(Debug, Default)]
struct Limiter {
    windows: Vec<Window>,
}

#[derive(Debug)]
struct Window {
    kind: &'static str,
    since_ms: u64,
    written: u32,
    left_out: u64,
}

impl Limiter {
    fn allows(&mut self, kind: &'static str, now_ms: u64) -> bool {
        let at = self
            .windows
            .iter()
            .position(|w| w.kind == kind)
            .unwrap_or_else(|| {
                self.windows.push(Window {
                    kind,
                    since_ms: now_ms,
                    written: 0,
                    left_out: 0,
                });
                self.windows.len() - 1
            });
        let Some(window) = self.windows.get_mut(at) else {
            return true;
        };
        // A clock that was set back begins a new window too.
        if now_ms.abs_diff(window.since_ms) >= WINDOW_MS {
            window.since_ms = now_ms;
            window.written = 0;
        }
        if window.written < LINES_PER_SECOND {
            window.written += 1;
            return true;
        }
        window.left_out += 1;
        false
    }

    /// A kind whose second is over, with the lines that it lost; asked until it answers `None`.
    fn take_report(&mut self, now_ms: u64) -> Option<(&'static str, u64)> {
        let window = self
            .windows
            .iter_mut()
            .find(|w| w.left_out > 0 && now_ms.abs_diff(w.since_ms) >= WINDOW_MS)?;
        Some((window.kind, std::mem::take(&mut window.left_out)))
    }

    /// How long until a report is due, if there is one to come.
    fn next_report_ms(&self, now_ms: u64) -> Option<u64> {
        let waiting = self.windows.iter().filter(|w| w.left_out > 0);
        waiting
            .map(|w| WINDOW_MS.saturating_sub(now_ms.abs_diff(w.since_ms)))
            .min()
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.as_millis() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io;
    use std::sync::Mutex;

    use super::*;

    fn line(text: &str) -> Line {
        Line {
            unix_ms: 784_111_777_557,
            level: Level::Info,
            kind: "origin",
            text: text.to_owned(),
        }
    }

    #[test]
    fn text_and_json_escape_what_peers_sent() {
        let nasty = "a\"b\\c\nd\x1b[31m\u{85}\u{202e}é";
        assert_eq!(
            render(&line(nasty), Format::Text, false),
            "time=1994-11-06T08:49:37.557Z level=info kind=origin \
             text=\"a\\\"b\\\\c\\nd\\u001b[31m\\u0085\\u202eé\"\n"
        );
        let json = render(&line(nasty), Format::Json, false);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["text"], nasty);
        assert_eq!(value["time"], "1994-11-06T08:49:37.557Z");
        assert_eq!(json.matches('\n').count(), 1);
    }

    #[test]
    fn ten_lines_a_second_and_kind_and_the_rest_is_counted() {
        let mut limiter = Limiter::default();
        let written = (0..25).filter(|_| limiter.allows("origin", 100)).count();
        assert_eq!(written, 10);
        assert!(
            limiter.allows("drain", 100),
            "another kind has its own second"
        );
        assert_eq!(limiter.next_report_ms(400), Some(700));
        assert_eq!(limiter.take_report(1099), None);
        assert_eq!(limiter.take_report(1100), Some(("origin", 15)));
        assert_eq!(limiter.take_report(1100), None);
        assert_eq!(limiter.next_report_ms(1100), None);
        assert!(limiter.allows("origin", 1100));
        assert!(limiter.allows("origin", 50), "the clock was set back");
    }

    /// Collects what is written; while `stuck` is held, writing blocks.
    #[derive(Clone, Default)]
    struct Pipe {
        stuck: Arc<Mutex<()>>,
        text: Arc<Mutex<String>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _stuck = self.stuck.lock().unwrap();
            self.text
                .lock()
                .unwrap()
                .push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_pipe_costs_lines_and_never_time() {
        let pipe = Pipe::default();
        let log = Log::start(Settings::default(), false, pipe.clone());
        let stuck = pipe.stuck.lock().unwrap();
        for n in 0..3 * RING_LINES {
            log.line(Level::Info, "many", format!("line {n}"));
        }
        drop(stuck);
        log.finish();
        let text = pipe.text.lock().unwrap();
        let dropped: u64 = text
            .lines()
            .filter(|l| l.contains("lines were dropped"))
            .map(|l| {
                l.split("text=\"")
                    .nth(1)
                    .unwrap()
                    .split(' ')
                    .next()
                    .unwrap()
            })
            .map(|n| n.parse::<u64>().unwrap())
            .sum();
        assert!(dropped >= 2000, "{text}");
        assert!(text.contains("kind=many text=\"line 0\""), "{text}");
        assert!(text.contains("kind=many text=\"line 9\""), "{text}");
        assert!(!text.contains("kind=many text=\"line 10\""), "{text}");
        assert!(
            text.contains("more lines of this kind were left out"),
            "{text}"
        );
    }

    #[test]
    fn the_level_decides() {
        let pipe = Pipe::default();
        let settings = Settings {
            level: Level::Warn,
            ..Settings::default()
        };
        let log = Log::start(settings, false, pipe.clone());
        log.sink().notice(Notice {
            kind: "accept_failed",
            text: "rests".to_owned(),
        });
        log.sink().notice(Notice {
            kind: "origin",
            text: "refused".to_owned(),
        });
        log.finish();
        let text = pipe.text.lock().unwrap();
        assert!(
            text.contains("level=warn kind=accept_failed text=\"rests\""),
            "{text}"
        );
        assert!(!text.contains("refused"), "{text}");
    }
}
