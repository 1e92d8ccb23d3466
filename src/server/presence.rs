//! Telling handlers who has come into their channels and who has gone (feature `presence`).

use super::worker::Core;
use crate::hub::Context;

/// Changes of presence told in one round: each may be a message to many.
const PRESENCE_CHANGES_AT_ONCE: usize = 64;

impl Core {
    /// Who has come and who has gone: as many changes as there were, but only so many at once.
    pub(super) fn tell_presence(&mut self) {
        self.hub.tend_presence();
        for _ in 0..self.hub.presence_changes().min(PRESENCE_CHANGES_AT_ONCE) {
            let Some(told) = self.hub.next_presence_change() else {
                return;
            };
            if let Some(entry) = self.routes.get_mut(told.route as usize) {
                let mut cx = Context::new(&mut self.hub, told.route, told.session);
                entry
                    .handler
                    .on_presence(&mut cx, &told.channel, told.change());
            }
        }
    }
}
