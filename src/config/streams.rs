//! Streams of values: who is behind them.

use super::build::{Build, Listener, Route};
use super::dialects::Dialect;
use crate::net::Address;

impl Build<'_> {
    /// A stream of values has no path: who listens for it is known from the listener.
    pub(super) fn check_streams(&mut self, listeners: &[Listener], routes: &[Route]) {
        for listener in listeners {
            let is_ipc = |address: &&Address| matches!(address, Address::Ipc(_));
            let Some(address) = listener.addresses.iter().find(is_ipc) else {
                continue;
            };
            let is_its_own = |route: &Route| {
                route.listener == listener.number
                    && route.path == "/"
                    && route.dialect == Dialect::JsonRpc
            };
            if !routes.iter().any(is_its_own) {
                let name = &listener.name;
                let message = format!(
                    "`{address}` of listener {name:?} has nobody behind it: what comes there is for a route with path \
                     \"/\", dialect \"jsonrpc\" and listener {name:?}"
                );
                let origin = self.origin_of_listener(Some(listener));
                self.problem(origin, message);
            }
        }
    }
}
