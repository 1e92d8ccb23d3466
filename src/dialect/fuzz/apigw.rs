//! The part of `command` that is about `apigw`.
//!
//! Oracle: whatever a device hears is a word of the protocol or an answer with a status and headers, every plain request
//! is answered once, and when everybody has gone nobody waits.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Asked, House};
use crate::dialect::{ApiGateway, ApiGatewayOptions, BackEnds};
use crate::hub::{CallError, Ticket};

pub(super) struct Apis {
    pub(super) route: usize,
    gateway: ApiGateway,
    /// Requests that the back end has not answered.
    asked: Vec<Asked>,
    /// Plain requests that were put off.
    waiting: BTreeSet<Ticket>,
}

impl Apis {
    pub(super) fn new(house: &mut House) -> Self {
        let back_end = "/=http://app:1".parse().expect("a back end");
        let gateway = ApiGateway::new(ApiGatewayOptions {
            back_ends: BackEnds(vec![back_end]),
            in_flight_max: 3,
            devices_max: 3,
            calls_burst: 20,
            calls_per_second: 1,
            notify_pending_max: 2,
            lifetime_ms: 100_000,
            ..ApiGatewayOptions::default()
        });
        Self {
            route: house.route("/apis", gateway.clone()),
            gateway,
            asked: Vec::new(),
            waiting: BTreeSet::new(),
        }
    }

    /// A request by plain HTTP: for the device `a`, or for the back end.
    pub(super) fn ask(&mut self, house: &mut House, is_notice: bool, body: &[u8]) {
        let (path, headers) = match is_notice {
            true => ("/notify", &[("x-ca-deviceid", "a")][..]),
            false => ("/x?y", &[][..]),
        };
        match house.asks(self.route, "POST", path, headers, body) {
            Ok(response) => assert!(matches!(response.status, 400 | 404 | 429 | 503)),
            Err(ticket) => assert!(self.waiting.insert(ticket)),
        }
        self.collect(house);
    }

    /// Keeps what the back end was asked; gives back what was meant for somebody else.
    pub(super) fn keep(&mut self, asked: Asked) -> Option<Asked> {
        if asked.route() != self.route {
            return Some(asked);
        }
        self.asked.push(asked);
        None
    }

    pub(super) fn take(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.asked)
    }

    /// What a device hears.
    pub(super) fn hear(&self, text: &str) {
        let is_word = ["RO#", "RF#", "HO#", "NF#"]
            .iter()
            .any(|word| text.starts_with(word));
        if is_word || ["OS", "CR"].contains(&text) {
            return;
        }
        let answer: Value = serde_json::from_str(text).expect("an answer is JSON");
        let status = answer["status"].as_u64().expect("a status");
        assert!((100..=999).contains(&status), "{text}");
        assert!(answer["header"]["x-ca-request-id"].is_string(), "{text}");
        assert!(answer["body"].is_string(), "{text}");
    }

    /// Plain requests that were answered.
    pub(super) fn collect(&mut self, house: &mut House) {
        for (ticket, _) in house.answers() {
            assert!(self.waiting.remove(&ticket), "{ticket:?} is answered twice");
        }
    }

    /// Everybody has gone, and back ends answer nothing any more.
    pub(super) fn finish(&mut self, house: &mut House) {
        for asked in self.take() {
            house.fail(asked, CallError::ShuttingDown);
        }
        house.pass(60_000);
        self.collect(house);
        assert!(self.waiting.is_empty(), "{:?} wait", self.waiting);
        assert!(
            self.gateway.is_quiet(),
            "somebody waits: {:?}",
            self.gateway
        );
    }
}
