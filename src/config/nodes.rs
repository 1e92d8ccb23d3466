//! What the dialect `jsonrpc` needs beyond settings: its nodes, and one gateway for all routes that say the same.

use std::path::Path;

use super::Config;
use super::build::Wrong;
use super::dialects::{Dialect, Options};
use super::record::Record;
use super::table::macros::{list, number, switch};
use super::table::{BYTES, COUNT, MS, RouteValues, Setting};
use super::value::{Kind, Value};
use crate::dialect::{JsonRpc, JsonRpcEndpoint, JsonRpcEndpointError, JsonRpcOptions};
use crate::hub::{LinkTarget, Target};

/// The settings of a route in front of nodes.
pub(super) const SETTINGS: &[Setting<RouteValues>] = &[
    list!("jsonrpc", "upstream", Kind::List, options.jsonrpc_upstream),
    number!(
        "jsonrpc",
        "call_timeout_ms",
        1,
        MS,
        options.jsonrpc.call_timeout_ms
    ),
    number!("jsonrpc", "linger_ms", 0, MS, options.jsonrpc.linger_ms),
    number!("jsonrpc", "away_ms_max", 0, MS, options.jsonrpc.away_ms_max),
    number!(
        "jsonrpc",
        "in_flight_max",
        1,
        COUNT,
        options.jsonrpc.in_flight_max
    ),
    number!(
        "jsonrpc",
        "calls_per_second",
        0,
        COUNT,
        options.jsonrpc.calls_per_second
    ),
    number!(
        "jsonrpc",
        "calls_burst",
        1,
        COUNT,
        options.jsonrpc.calls_burst
    ),
    number!("jsonrpc", "feeds_max", 1, COUNT, options.jsonrpc.feeds_max),
    number!(
        "jsonrpc",
        "batch_max",
        1,
        100_000,
        options.jsonrpc.batch_max
    ),
    number!(
        "jsonrpc",
        "batch_bytes_max",
        1,
        BYTES,
        options.jsonrpc.batch_bytes_max
    ),
    list!("jsonrpc", "allow", Kind::List, options.jsonrpc.allow),
    list!("jsonrpc", "deny", Kind::List, options.jsonrpc.deny),
    number!(
        "jsonrpc",
        "gap_heads_max",
        0,
        1000,
        options.jsonrpc.gap_heads_max
    ),
    switch!("jsonrpc", "head_number", options.jsonrpc.head_number),
];

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

/// The gateways of all routes: those that are to do the same share one, and with it one link to the node.
#[derive(Default)]
pub(super) struct Gateways<'c>(Vec<(&'c JsonRpcOptions, JsonRpc)>);

impl<'c> Gateways<'c> {
    pub(super) fn of(&mut self, options: &'c JsonRpcOptions) -> JsonRpc {
        if let Some((_, known)) = self.0.iter().find(|(known, _)| *known == options) {
            return known.clone();
        }
        let gateway = JsonRpc::new(options.clone());
        self.0.push((options, gateway.clone()));
        gateway
    }
}

impl Config {
    /// The nodes that are reached by TCP.
    pub(super) fn nodes_by_tcp(&self) -> impl Iterator<Item = &Target> {
        self.nodes().filter_map(|node| match node {
            JsonRpcEndpoint::Http(target) => Some(&**target),
            JsonRpcEndpoint::Link(target) => match &**target {
                LinkTarget::WebSocket(target) => Some(target),
                _ => None,
            },
        })
    }

    /// The Unix socket of every node that has one.
    pub(super) fn sockets_of_nodes(&self) -> impl Iterator<Item = &Path> {
        self.nodes().filter_map(|node| match node {
            JsonRpcEndpoint::Link(target) => match &**target {
                LinkTarget::Values(path) => Some(Path::new(path)),
                _ => None,
            },
            JsonRpcEndpoint::Http(_) => None,
        })
    }

    fn nodes(&self) -> impl Iterator<Item = &JsonRpcEndpoint> {
        let routes = self.routes.iter().filter(|r| r.dialect == Dialect::JsonRpc);
        routes.flat_map(|route| &route.options.jsonrpc.upstream)
    }
}
