//! What can go wrong with a connection, by name, and what the program's exit code says about it.
//!
//! The rule: a fault is counted under its name and never hidden in a latency.

use std::collections::BTreeMap;
use std::io;

use crate::cli::Exit;

/// Why a connection failed, or ended before we closed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Nobody listens.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection ended without a close frame.
    Ended,
    /// Not open within `--timeout`.
    ConnectTimeOut,
    /// Open, but what was sent did not come back, or was not delivered, within `--timeout`.
    TimeOut,
    /// No answer to our close frame.
    CloseTimeOut,
    /// No local port left for another connection to this address.
    NoPort,
    /// No file descriptor left.
    NoFile,
    /// The handshake, or a publication by POST, was answered with this status.
    Status(u16),
    /// The answer to the handshake broke a rule. RFC 6455 §4.1.
    Answer(&'static str),
    /// The server closed with this code.
    Close(u16),
    /// A frame broke a rule. RFC 6455 §5.
    Protocol(&'static str),
    /// A message came back with another length.
    Altered,
    /// Anything else the system said.
    System(io::ErrorKind),
}

impl Fault {
    /// What an error of a socket means.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted => Self::Reset,
            io::ErrorKind::TimedOut => Self::ConnectTimeOut,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Self::NoPort,
            _ if error.raw_os_error() == Some(EMFILE) => Self::NoFile,
            kind => Self::System(kind),
        }
    }

    /// The key in the report.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Refused => "connect_refused".to_owned(),
            Self::Reset => "reset".to_owned(),
            Self::Ended => "ended_without_close".to_owned(),
            Self::ConnectTimeOut => "connect_time_out".to_owned(),
            Self::TimeOut => "time_out".to_owned(),
            Self::CloseTimeOut => "close_time_out".to_owned(),
            Self::NoPort => "no_local_port".to_owned(),
            Self::NoFile => "no_file_descriptor".to_owned(),
            Self::Status(status) => format!("status_{status}"),
            Self::Answer(name) => format!("handshake_{name}"),
            Self::Close(code) => format!("close_code_{code}"),
            Self::Protocol(name) => format!("protocol_{name}"),
            Self::Altered => "altered_message".to_owned(),
            Self::System(kind) => format!("system_{}", kind.to_string().replace(' ', "_")),
        }
    }

    /// Whether it says that there is no server, rather than one that refuses.
    fn means_gone(self) -> bool {
        matches!(
            self,
            Self::Refused | Self::Reset | Self::Ended | Self::ConnectTimeOut
        )
    }
}

/// Too many open files of this process; the same number on every Unix.
const EMFILE: i32 = 24;

/// Faults by name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Faults(BTreeMap<Fault, u64>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    /// Names and counts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (String, u64)> {
        self.0.iter().map(|(fault, count)| (fault.name(), *count))
    }

    /// How the program ends: with nobody there any more, the server is what is missing.
    pub(crate) fn exit(&self, all_are_gone: bool) -> Exit {
        if self.0.is_empty() {
            Exit::Ok
        } else if all_are_gone && self.0.keys().any(|fault| fault.means_gone()) {
            Exit::Unavailable
        } else if self.0.keys().all(|fault| *fault == Fault::NoFile) {
            Exit::System
        } else {
            Exit::Refused
        }
    }
}
