//! Programs that a handler has started: links whose other end is a process of this machine.
//!
//! What to start comes from whoever configures the server, never from a client. The environment is given whole: nothing
//! of the server's own is inherited, so that no secret of it gets to a program by chance.

use std::fmt;

use super::LinkId;

/// A program to start: one process, which leads a process group of its own.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Program {
    /// Its name or path, then its arguments. No shell reads them.
    pub arguments: Vec<String>,
    /// All variables it gets. A name without slash is looked for in the folders of its `PATH`.
    pub environment: Vec<(String, String)>,
    /// Where it runs; `None`: where the server does.
    pub folder: Option<String>,
    /// What is sent on the link is its standard input. Otherwise it has none.
    pub hears: bool,
    /// How its output becomes messages.
    pub output: Framing,
    /// So much longer than usual each step of stopping it may take, in milliseconds.
    pub stop_wait_ms: u64,
}

impl Program {
    /// A program with these arguments (the first is its name), an empty environment, and lines as output.
    pub fn new(arguments: Vec<String>) -> Self {
        Self {
            arguments,
            environment: Vec::new(),
            folder: None,
            hears: true,
            output: Framing::Lines { cut: true },
            stop_wait_ms: 0,
        }
    }

    /// What it is called, without arguments: secrets may stand there.
    pub fn name(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither arguments nor environment: secrets live there.
        write!(f, "Program({:?})", self.name())
    }
}

/// How a program's output becomes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Each line is a message without its end (`\n` or `\r\n`): text, or binary if it is not UTF-8. The last line needs no
    /// end.
    Lines {
        /// A line that is longer than a message may be comes in pieces; otherwise it breaks the link.
        cut: bool,
    },
    /// Whatever a read returns is a binary message.
    Chunks,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code; 0 is success.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// Whether it says of itself that all went well.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "it ended with code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal} ended it"),
        }
    }
}

/// What whoever started a process is asked to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessOrder {
    /// SIGINT to its group.
    Interrupt,
    /// SIGTERM to its group.
    Terminate,
    /// SIGKILL to its group.
    Kill,
    /// Nobody wants to hear of it any more: it is reaped, now or when it ends.
    Forget {
        /// What is left of its group is killed before.
        kill: bool,
    },
}

/// An order, and the link whose process it is for.
pub type Ordered = (LinkId, ProcessOrder);
