//! Where channels come in that live elsewhere: in a store that several servers share, or on a server upstream.

use super::transport::Transport;
use super::worker::Worker;
use crate::hub::{Incoming, PublishError, Received};

impl<T: Transport> Worker<T> {
    /// A publication of a channel that lives elsewhere has come from there. `space` is that of the routes whose clients
    /// subscribe to it ([`Handler::space`](crate::hub::Handler::space)). Call [`turn`](Self::turn) then.
    ///
    /// # Errors
    /// When the memory budget is used up, or there are too many channels: nobody has got it, and the next one is a gap.
    pub fn publication(
        &mut self,
        space: &str,
        channel: &str,
        incoming: &Incoming<'_>,
    ) -> Result<Received, PublishError> {
        self.core.hub.receive_in(space, channel, incoming)
    }
}
