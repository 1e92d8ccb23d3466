//! What the dialect `process` needs beyond settings: its command, and routes for `exec` and `tail`.

use super::build::{Build, Wrong};
use super::dialects::{Dialect, MAIN, Options};
use super::record::{Origin, RouteRecord, Settings, Written};
use super::table::macros::{choice, list, number, switch, text};
use super::table::{BYTES, Global, MS, RouteValues, Setting};
use super::value::{Kind, Value};
use crate::dialect::{InvalidUtf8, LongLines, Restart, split_command};
use crate::server::RouteSettings;

/// The settings of a route that starts processes.
pub(super) const SETTINGS: &[Setting<RouteValues>] = &[
    choice!(
        "process",
        "mode",
        options.process_text.mode,
        "per_connection" = ProcessMode::PerConnection,
        "shared" = ProcessMode::Shared
    ),
    text!("process", "command", options.process_text.command),
    switch!("process", "shell", options.process_text.shell),
    text!("process", "folder", options.process.folder),
    list!(
        "process",
        "pass_environment",
        Kind::List,
        options.process_text.pass_environment
    ),
    switch!("process", "binary", options.process.binary),
    choice!(
        "process",
        "invalid_utf8",
        options.process.invalid_utf8,
        "replace" = InvalidUtf8::Replace,
        "binary" = InvalidUtf8::Binary
    ),
    choice!(
        "process",
        "long_lines",
        options.process.long_lines,
        "cut" = LongLines::Cut,
        "close" = LongLines::Close
    ),
    number!("process", "forks_max", 1, 65_536, options.process.forks_max),
    text!("process", "quit_word", options.process.quit_word),
    text!("process", "quit_reply", options.process.quit_reply),
    number!("process", "keep_lines", 0, 1000, options.process.keep_lines),
    number!(
        "process",
        "keep_bytes",
        0,
        BYTES,
        options.process.keep_bytes
    ),
    switch!("process", "clients_write", options.process.clients_write),
    choice!(
        "process",
        "restart",
        options.process.restart,
        "always" = Restart::Always,
        "on_failure" = Restart::OnFailure,
        "never" = Restart::Never
    ),
    number!("process", "linger_ms", 0, MS, options.process.linger_ms),
    number!(
        "process",
        "stop_wait_ms",
        0,
        MS,
        options.process.stop_wait_ms
    ),
];

/// Whether clients share a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ProcessMode {
    /// Each has its own.
    #[default]
    PerConnection,
    /// All have one.
    Shared,
}

/// The settings of a process as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessText {
    pub(crate) mode: ProcessMode,
    pub(crate) command: String,
    /// A shell reads the command.
    pub(crate) shell: bool,
    /// Variables of our own environment that it gets.
    pub(crate) pass_environment: Vec<String>,
}

impl Default for ProcessText {
    fn default() -> Self {
        Self {
            mode: ProcessMode::default(),
            command: String::new(),
            shell: false,
            // Where programs and libraries are found; websocketd's choice.
            pass_environment: vec!["PATH".to_owned(), "LD_LIBRARY_PATH".to_owned()],
        }
    }
}

/// The program of a route.
pub(super) fn read_process(options: &mut Options, settings: &RouteSettings, wrong: &mut Wrong) {
    let (text, process) = (&options.process_text, &mut options.process);
    if text.command.is_empty() {
        let message =
            "a process needs a command: write `command` = \"PROGRAM ARGUMENTS\" in the route";
        wrong.say("command", message.to_owned());
        return;
    }
    if text.shell {
        process.arguments = ["/bin/sh", "-c", &text.command].map(str::to_owned).to_vec();
    } else {
        match split_command(&text.command) {
            Ok(words) => process.arguments = words,
            Err(error) => wrong.say("command", format!("`command`: {error}")),
        }
    }
    let own = text.pass_environment.iter();
    process.inherited = own
        .filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)))
        .collect();
    process.line_bytes_max = settings.ws.message_bytes_max;
}

impl Build<'_> {
    /// The routes of `exec` and `tail`.
    pub(super) fn flagged_routes(&mut self, global: &Global) -> Vec<RouteRecord> {
        let mut routes: Vec<RouteRecord> = Vec::new();
        for (setting, texts) in [("exec", &global.exec), ("tail", &global.tail)] {
            let origin = self.record.settings.origin("", setting);
            for text in texts {
                let route = match text.split_once('=') {
                    Some((name, what)) if is_name(name) && !what.trim().is_empty() => {
                        flagged_route(setting, name, what, &origin)
                    }
                    _ => {
                        let example = match setting {
                            "exec" => "exec = [\"count=seq 10\"] is served at /exec/count",
                            _ => "tail = [\"log=/var/log/syslog\"] is served at /tail/log",
                        };
                        let message = format!(
                            "`{setting}`: {text:?} is not of the form NAME=…, the name being letters, digits, `.`, `-` \
                             and `_`: {example}"
                        );
                        self.problem(origin.clone(), message);
                        continue;
                    }
                };
                if routes.iter().any(|known| known.path == route.path) {
                    let message = format!("`{setting}`: there are two for {}", route.path);
                    self.problem(origin.clone(), message);
                    continue;
                }
                routes.push(route);
            }
        }
        routes
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !name.is_empty() && name.bytes().all(is_plain) && ![".", ".."].contains(&name)
}

fn flagged_route(setting: &str, name: &str, what: &str, origin: &Origin) -> RouteRecord {
    let mut settings = Settings::default();
    let mut put = |name, value: &str| {
        let value = Value::Text(value.to_owned());
        let origin = origin.clone();
        settings.put("", name, Written { value, origin });
    };
    if setting == "exec" {
        put("command", what);
    } else {
        // The system's own follows a file through rotation and truncation, and takes up the place where it was.
        put("command", &format!("tail -n 10 -F -- {}", quoted(what)));
        put("mode", "shared");
        put("restart", "always");
    }
    RouteRecord {
        path: format!("/{setting}/{name}"),
        listener: MAIN.to_owned(),
        dialect: Dialect::Process,
        settings,
        // A route of the file with this path is meant instead of it, as with those that are always there.
        origin: Origin::Default,
    }
}

/// As one word of a command line.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
