//! `process`: the output of a program as a stream of messages, and messages as its input.
//!
//! Two modes, two handlers. [`ProcessPerClient`] is websocketd's contract: each WebSocket gets a process of its own, lines
//! become text messages and text messages lines. [`SharedProcess`] is the `tail -f` streamer: one process for all viewers,
//! who get each line once.
//!
//! | | [`ProcessPerClient`] | [`SharedProcess`] |
//! | --- | --- | --- |
//! | starts | with its client | with the first viewer, and again after a failure |
//! | ends | with its client: end of input, SIGINT, SIGTERM, SIGKILL | some time after the last viewer |
//! | its end | closes its client with 1000 | closes its viewers with 1000, unless it is restarted |
//! | its input | what its client says | nothing, or what its viewers say |
//! | a slow client | makes the process wait | misses lines and is told (the route's policy) |
//! | a latecomer | – | gets the last lines first |
//!
//! | code | when |
//! | --- | --- |
//! | 1000 | the process has ended, or the client has said the quit word |
//! | 1009 | a line is longer than a message may be, where long lines are not cut |
//! | 1011 | the process could not be started |
//! | 1013 | the process does not read its input, or there is no memory |
//! | HTTP 429 | as many processes run as may |
//!
//! **What is started comes from the configuration, never from a client.** Clients choose what it reads: its input and, in
//! [`ProcessPerClient`], its environment, where everything they have sent stands under the names that CGI gave it.
//!
//! | file | subject |
//! | --- | --- |
//! | `clients.rs` | one process per client |
//! | `shared.rs` | one process for all |
//! | `environment.rs` | a request as environment variables |
//! | `command.rs` | a command line as words |

mod clients;
mod command;
mod environment;
mod shared;
#[cfg(test)]
mod tests;

pub use clients::ProcessPerClient;
pub use command::{CommandError, split_command};
pub use shared::SharedProcess;

use std::rc::Rc;

use crate::hub::{ConnId, Context, Dial, Framing, LinkEnd, LinkTarget, Program};
use crate::ws::{CloseCode, Message};

/// How [`ProcessPerClient`] and [`SharedProcess`] behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessOptions {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// Where it runs; empty: where the server does.
    pub folder: String,
    /// Variables of the server's own environment that it gets.
    pub inherited: Vec<(String, String)>,
    /// Output and input are bytes and not lines.
    pub binary: bool,
    /// What becomes of a line that is not UTF-8, and could therefore not travel as text.
    pub invalid_utf8: InvalidUtf8,
    /// What becomes of a line that is longer than `line_bytes_max`.
    pub long_lines: LongLines,
    /// Most bytes of a line.
    pub line_bytes_max: usize,
    /// Most processes at a time; of a shared one there is one. 256: each is more than a connection.
    pub forks_max: usize,
    /// A client that says a text with this in it is answered `quit_reply` and closed; empty: there is no such word.
    pub quit_word: String,
    /// The answer; empty: none.
    pub quit_reply: String,
    /// Lines of a shared process that latecomers get. 10, as `tail` shows.
    pub keep_lines: usize,
    /// Bytes of them.
    pub keep_bytes: usize,
    /// What viewers say goes to a shared process. Off: who may watch is often not who may speak.
    pub clients_write: bool,
    /// When a shared process is started again.
    pub restart: Restart,
    /// How long a shared process goes on without viewers.
    pub linger_ms: u64,
    /// So much longer than usual a process may take for each step of being ended.
    pub stop_wait_ms: u64,
}

impl Default for ProcessOptions {
    fn default() -> Self {
        Self {
            arguments: Vec::new(),
            folder: String::new(),
            inherited: Vec::new(),
            binary: false,
            invalid_utf8: InvalidUtf8::Replace,
            long_lines: LongLines::Cut,
            line_bytes_max: 64 << 10,
            forks_max: 256,
            quit_word: String::new(),
            quit_reply: String::new(),
            keep_lines: 10,
            keep_bytes: 64 << 10,
            clients_write: false,
            restart: Restart::OnFailure,
            linger_ms: 60_000,
            stop_wait_ms: 0,
        }
    }
}

/// What becomes of a line that is not UTF-8 (RFC 6455 §5.6: text is).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidUtf8 {
    /// What is wrong in it is replaced by U+FFFD.
    Replace,
    /// The line travels as a binary message.
    Binary,
}

/// What becomes of a line that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongLines {
    /// It comes in pieces.
    Cut,
    /// It ends the process, and the WebSocket with 1009.
    Close,
}

/// When a shared process that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// However it ended.
    Always,
    /// If it did not end with code 0.
    OnFailure,
    /// When the next viewer comes.
    Never,
}

/// So many bytes may wait for a process that does not read.
const INPUT_BYTES_MAX: usize = 1 << 20;

impl ProcessOptions {
    /// The program in this environment.
    fn dial(&self, environment: Vec<(String, String)>, hears: bool) -> Dial {
        let output = match self.binary {
            true => Framing::Chunks,
            false => Framing::Lines {
                cut: self.long_lines == LongLines::Cut,
            },
        };
        let program = Program {
            environment,
            folder: (!self.folder.is_empty()).then(|| self.folder.clone()),
            hears,
            output,
            stop_wait_ms: self.stop_wait_ms,
            ..Program::new(self.arguments.clone())
        };
        Dial {
            message_bytes_max: self.line_bytes_max,
            output_bytes_max: INPUT_BYTES_MAX,
            ..Dial::new(Rc::new(LinkTarget::Process(program)))
        }
    }

    /// What the process has said, as it travels.
    fn outgoing(&self, said: Message<'_>, deliver: impl FnOnce(Message<'_>)) {
        match said {
            Message::Binary(line) if !self.binary && self.invalid_utf8 == InvalidUtf8::Replace => {
                deliver(Message::Text(&String::from_utf8_lossy(line)));
            }
            said => deliver(said),
        }
    }

    /// Whether the process is to hear this: bytes if it speaks bytes, lines if it speaks lines. The other kind is
    /// ignored, as websocketd does.
    fn hears(&self, message: Message<'_>) -> bool {
        matches!(message, Message::Binary(_)) == self.binary
    }

    /// Answers and closes a client that wants to quit. `true`: it does.
    fn quits(&self, cx: &mut Context<'_>, message: Message<'_>) -> bool {
        let quits = match message {
            Message::Text(text) => !self.quit_word.is_empty() && text.contains(&self.quit_word),
            Message::Binary(_) => false,
        };
        if quits {
            if !self.quit_reply.is_empty() {
                cx.send_text(&self.quit_reply);
            }
            cx.close(CloseCode::NORMAL, "");
        }
        quits
    }
}

/// The process has more to read than it does.
const NOT_READ: &str = "the process does not read what it is told";

/// Closes a client whose process is gone.
fn close_after(cx: &mut Context<'_>, client: ConnId, end: LinkEnd) {
    let (code, reason) = match end {
        LinkEnd::Exited(exit) if exit.is_success() => {
            (CloseCode::NORMAL, "the process has ended".to_owned())
        }
        LinkEnd::Exited(exit) => (CloseCode::NORMAL, format!("the process has ended: {exit}")),
        LinkEnd::Protocol => (
            CloseCode::TOO_BIG,
            "the process has said a line that is too long".to_owned(),
        ),
        LinkEnd::Unreachable => (
            CloseCode::INTERNAL,
            "the process could not be started".to_owned(),
        ),
        _ => (CloseCode::NORMAL, String::new()),
    };
    cx.close_other(client, code, &reason);
}
