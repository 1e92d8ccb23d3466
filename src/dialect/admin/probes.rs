//! Pages that other programs look at all the time: alive, ready, how much.

use super::{READ, no_websocket, only};
use crate::http::Response;
use crate::hub::{Context, Handler, Reply, Request, Upgrade};
use crate::ws::Message;

/// Answers `ok` while the event loop turns.
#[derive(Debug, Clone, Copy, Default)]
pub struct Health;

impl Handler for Health {
    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Reply {
        only(request, READ)
            .unwrap_or_else(|| Response::text(200, "ok").header("Cache-Control", "no-store"))
            .into()
    }

    fn on_upgrade(&mut self, _: &mut Context<'_>, _: &Request<'_>) -> Upgrade {
        no_websocket()
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
}

/// Answers `ready` until the server drains.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ready;

impl Handler for Ready {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        if let Some(refusal) = only(request, READ) {
            return refusal.into();
        }
        let response = if cx.is_draining() {
            Response::problem(503, "this server is shutting down").header("Retry-After", "1")
        } else {
            Response::text(200, "ready")
        };
        response.header("Cache-Control", "no-store").into()
    }

    fn on_upgrade(&mut self, _: &mut Context<'_>, _: &Request<'_>) -> Upgrade {
        no_websocket()
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
}

/// Counters and gauges of this worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct MetricsPage;

impl Handler for MetricsPage {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        if let Some(refusal) = only(request, READ) {
            return refusal.into();
        }
        let mut response = Response::new(200).header("Content-Type", "text/plain; version=0.0.4");
        response.body = cx.metrics_text().into_bytes();
        response.into()
    }

    fn on_upgrade(&mut self, _: &mut Context<'_>, _: &Request<'_>) -> Upgrade {
        no_websocket()
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
}
