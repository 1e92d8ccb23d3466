//! SIGTERM and SIGINT as something to poll.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals as Source;

/// The signals that end the server: the first one begins a drain, the second one ends at once.
pub(crate) struct Signals(Source);

impl Signals {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let mut source = Source::new([SIGTERM, SIGINT])?;
        registry.register(&mut source, token, Interest::READABLE)?;
        Ok(Self(source))
    }

    /// How many have come since the last call.
    pub(crate) fn take(&mut self) -> usize {
        self.0.pending().count()
    }
}
