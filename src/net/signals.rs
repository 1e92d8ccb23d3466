//! Signals as something to poll.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook_mio::v1_0::Signals as Source;

/// Signals that are waited for. Of those that end the server the first one begins a drain, the second one ends at once.
pub(crate) struct Signals(Source);

impl Signals {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Self::of(&[SIGTERM, SIGINT], registry, token)
    }

    /// The signal that says that a child has ended.
    #[cfg(feature = "process")]
    pub(super) fn of_children(registry: &Registry, token: Token) -> io::Result<Self> {
        Self::of(&[signal_hook::consts::SIGCHLD], registry, token)
    }

    fn of(signals: &[i32], registry: &Registry, token: Token) -> io::Result<Self> {
        let mut source = Source::new(signals)?;
        registry.register(&mut source, token, Interest::READABLE)?;
        Ok(Self(source))
    }

    /// How many have come since the last call.
    pub(crate) fn take(&mut self) -> usize {
        self.0.pending().count()
    }
}

/// From now on SIGINT ends this process at once and as a success: for a program that runs until it is
/// interrupted.
///
/// # Errors
/// When the system refuses the signal handler.
pub fn exit_on_interrupt() -> io::Result<()> {
    flag::register_conditional_shutdown(SIGINT, 0, Arc::new(AtomicBool::new(true))).map(drop)
}
