//! What the dialect `jsonrpc` needs beyond settings: its nodes, and streams that lead to it.

use super::build::{Build, Listener, Route, Wrong};
use super::dialects::{Dialect, Options};
use super::record::Record;
use crate::dialect::JsonRpcEndpointError;
use crate::net::Address;

/// As much as a node says at once on a link.
pub(super) const NODE_ANSWER_BYTES_MAX: usize = 32 << 20;

/// Whether a node is asked by HTTP.
pub(super) fn calls_nodes(record: &Record) -> bool {
    let of_routes = record.routes.iter().map(|r| r.settings.get("", "upstream"));
    let mut all = of_routes.chain([record.settings.get("jsonrpc", "upstream")]);
    all.any(|written| {
        let list = written.map(|written| written.value.list());
        list.is_some_and(|list| list.iter().any(|url| url.starts_with("http://")))
    })
}

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

/// Where the nodes are, in the order in which they are tried.
pub(super) fn read_upstream(options: &mut Options, wrong: &mut Wrong) {
    if options.jsonrpc_upstream.is_empty() {
        let message = "a gateway needs a node: write `upstream` = [\"ws://HOST:PORT\"] in [jsonrpc] or the route";
        wrong.say("upstream", message.to_owned());
    }
    for url in &options.jsonrpc_upstream {
        match url.parse() {
            Ok(endpoint) => options.jsonrpc.upstream.push(endpoint),
            Err(error) => {
                let error: JsonRpcEndpointError = error;
                wrong.say("upstream", error.to_string());
            }
        }
    }
}
