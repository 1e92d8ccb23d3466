//! Who listens to what: `GET /ws/status`, and the `stats` of server mode.
//!
//! One object for the readers of both vocabularies: the guide's members at the top, the program's under `stats`.
//! A chain without listeners is not listed, and no more than [`CHAINS_LISTED_MAX`] are.

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

use super::state::{Shared, Tally};
use super::{HieraChainOptions, SPACE};
use crate::dialect::members::push_string;
use crate::dialect::only;
use crate::http::Response;
use crate::hub::{Context, Handler, Reply, Request, Upgrade};
use crate::ws::Message;

/// Answers `GET /ws/status`; made by [`HieraChain::status`](super::HieraChain::status).
#[derive(Debug, Clone)]
pub struct HieraChainStatus {
    shared: Rc<RefCell<Shared>>,
}

impl HieraChainStatus {
    pub(super) fn new(shared: Rc<RefCell<Shared>>) -> Self {
        Self { shared }
    }
}

impl Handler for HieraChainStatus {
    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Reply {
        if let Some(refusal) = only(request, &["GET", "HEAD"]) {
            return refusal.into();
        }
        let Shared {
            options,
            members,
            tally,
        } = &*self.shared.borrow();
        let mut json = format!(
            "{{\"status\":\"running\",\"total_connections\":{},\"chains\":",
            members.len()
        );
        push_chains(&mut json, tally);
        json.push_str(",\"stats\":");
        push_stats(&mut json, options, tally, members.len());
        json.push('}');
        Response::json(200, json)
            .header("Cache-Control", "no-store")
            .into()
    }

    fn on_upgrade(&mut self, _: &mut Context<'_>, _: &Request<'_>) -> Upgrade {
        Upgrade::refuse(
            404,
            "this URL answers plain HTTP requests, it does not speak WebSocket",
        )
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}

    fn space(&self) -> &str {
        SPACE
    }
}

/// Appends the program's statistics.
pub(super) fn push_stats(
    json: &mut String,
    options: &HieraChainOptions,
    tally: &Tally,
    connections: usize,
) {
    let max = options.max_connections;
    _ = write!(
        json,
        "{{\"total_connections\":{connections},\"max_connections\":{max},\"chains\":"
    );
    push_chains(json, tally);
    _ = write!(json, ",\"event_types_count\":{}}}", tally.pairs());
}

fn push_chains(json: &mut String, tally: &Tally) {
    json.push('{');
    for (at, (chain, sessions)) in tally.chains().take(CHAINS_LISTED_MAX).enumerate() {
        if at > 0 {
            json.push(',');
        }
        push_string(json, chain);
        _ = write!(json, ":{sessions}");
    }
    json.push('}');
}

/// Clients choose the names, and any of them may ask for this list: it has to end somewhere.
const CHAINS_LISTED_MAX: usize = 1000;
