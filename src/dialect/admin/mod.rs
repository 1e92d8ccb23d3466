//! `admin`: what an operator's tools ask for.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /healthz` on [`Health`] | 200, `ok` |
//! | `GET /metrics` on [`MetricsPage`] | 200, Prometheus text format 0.0.4 |
//! | `HEAD` | the same head |
//! | another method | 405 with `Allow` |
//! | a WebSocket | 404: nothing is spoken here |

use crate::http::Response;
use crate::hub::{Context, Handler, Reply, Request, Upgrade};
use crate::ws::Message;

use super::only;

/// Answers `ok` while the event loop turns.
#[derive(Debug, Clone, Copy, Default)]
pub struct Health;

impl Handler for Health {
    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Reply {
        only(request, &["GET", "HEAD"])
            .unwrap_or_else(|| Response::text(200, "ok").header("Cache-Control", "no-store"))
            .into()
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
        if let Some(refusal) = only(request, &["GET", "HEAD"]) {
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

fn no_websocket() -> Upgrade {
    Upgrade::refuse(
        404,
        "this URL answers plain HTTP requests, it does not speak WebSocket",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dialect::testing::House;

    #[test]
    fn health_and_metrics_answer_get_and_head_only() {
        let mut house = House::new();
        let health = house.route("/healthz", Health);
        let metrics = house.route("/metrics", MetricsPage);
        assert_eq!(house.request(health, "GET", "/healthz", b"").body, b"ok");
        let page = house.request(metrics, "HEAD", "/metrics", b"");
        assert_eq!(
            page.headers,
            [("Content-Type".into(), "text/plain; version=0.0.4".into())]
        );
        assert!(
            String::from_utf8(page.body)
                .unwrap()
                .contains("dunlin_sessions 0\n")
        );
        for route in [health, metrics] {
            let refused = house.request(route, "POST", "/", b"");
            assert_eq!(refused.status, 405);
            assert!(
                refused
                    .headers
                    .contains(&("Allow".into(), "GET, HEAD".into()))
            );
            assert_eq!(house.upgrade(route, "/", &[]).unwrap_err().status, 404);
        }
    }
}
