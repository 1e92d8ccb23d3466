//! The gateway in a house without a worker: what is said, what back ends are asked, and what becomes of it.

#![allow(clippy::unwrap_used)]

mod calls;
mod devices;
mod notify;
mod signed;

use serde_json::{Value, json};

use super::{ApiGateway, ApiGatewayOptions, BackEnds};
use crate::dialect::testing::{Asked, Got, House, Id};
use crate::http::Response;
use crate::hub::Ticket;

pub(super) struct Rig {
    pub(super) house: House,
    pub(super) gateway: ApiGateway,
    route: usize,
}

pub(super) fn options() -> ApiGatewayOptions {
    ApiGatewayOptions {
        back_ends: BackEnds(vec!["/=http://app:3000/base".parse().unwrap()]),
        ..ApiGatewayOptions::default()
    }
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(options())
    }

    pub(super) fn with(options: ApiGatewayOptions) -> Self {
        let mut house = House::new();
        let gateway = ApiGateway::new(options);
        let route = house.route("/{api*}", gateway.clone());
        Self {
            house,
            gateway,
            route,
        }
    }

    /// A connection that has said nothing.
    pub(super) fn stranger(&mut self) -> Id {
        self.house.join(self.route, "/", &[])
    }

    /// The connection of a device.
    #[track_caller]
    pub(super) fn device(&mut self, name: &str) -> Id {
        let id = self.stranger();
        self.house.text(id, &format!("RG#{name}"));
        let said = self.said(id);
        assert!(said.len() == 1 && said[0].starts_with("RO#"), "{said:?}");
        id
    }

    /// The connection of a device that its back end has registered.
    #[track_caller]
    pub(super) fn registered(&mut self, name: &str) -> Id {
        let id = self.device(name);
        self.call(
            id,
            "reg",
            "POST",
            "/register",
            json!({"x-ca-websocket_api_type": ["REGISTER"]}),
        );
        let asked = self.asked();
        self.house.answer(asked, 200, b"welcome");
        assert_eq!(self.status(id), ("reg".to_owned(), 200));
        id
    }

    /// A request without a body.
    pub(super) fn call(&mut self, id: Id, seq: &str, method: &str, path: &str, headers: Value) {
        let mut headers = headers;
        headers["x-ca-seq"] = json!([seq]);
        let text = json!({"method": method, "host": "api", "path": path, "headers": headers});
        self.house.text(id, &text.to_string());
    }

    /// The one request at a back end.
    #[track_caller]
    pub(super) fn asked(&mut self) -> Asked {
        let mut calls = self.house.calls();
        assert_eq!(calls.len(), 1, "requests at back ends");
        calls.remove(0)
    }

    /// Nothing was asked of a back end.
    #[track_caller]
    pub(super) fn nothing_asked(&mut self) {
        assert_eq!(self.house.calls().len(), 0);
    }

    /// What a connection has heard.
    pub(super) fn said(&mut self, id: Id) -> Vec<String> {
        let got = self.house.got(id);
        got.iter().map(|got: &Got| got.text().to_owned()).collect()
    }

    /// The one thing it has heard, an answer.
    #[track_caller]
    pub(super) fn answer(&mut self, id: Id) -> Value {
        let said = self.said(id);
        assert_eq!(said.len(), 1, "{said:?}");
        serde_json::from_str(&said[0]).unwrap()
    }

    /// The same, its seq and its status.
    #[track_caller]
    pub(super) fn status(&mut self, id: Id) -> (String, u64) {
        let answer = self.answer(id);
        let seq = answer["header"]["x-ca-seq"].as_str().unwrap_or("-");
        (seq.to_owned(), answer["status"].as_u64().unwrap())
    }

    /// A plain request.
    pub(super) fn http(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, Ticket> {
        self.house.asks(self.route, method, path, headers, body)
    }

    /// A plain notification that is put off.
    #[track_caller]
    pub(super) fn notify(&mut self, device: &str, body: &str) -> Ticket {
        let answer = self.http(
            "POST",
            "/notify",
            &[("X-Ca-Deviceid", device)],
            body.as_bytes(),
        );
        answer.expect_err("it waits for the device")
    }

    /// A plain notification that is refused.
    #[track_caller]
    pub(super) fn notify_refused(&mut self, device: &str) -> u16 {
        let answer = self.http("POST", "/notify", &[("X-Ca-Deviceid", device)], b"x");
        answer.expect("it is refused").status
    }

    /// The statuses of answers that were put off.
    pub(super) fn answers(&mut self) -> Vec<(Ticket, u16)> {
        let answers = self.house.answers().into_iter();
        answers.map(|(ticket, r)| (ticket, r.status)).collect()
    }

    #[track_caller]
    pub(super) fn refused(&self, reason: &str, times: u64) {
        assert_eq!(self.house.refused(reason), times, "{reason}");
    }

    /// Everybody goes, and nothing is left behind.
    #[track_caller]
    pub(super) fn everybody_leaves(mut self) {
        self.house.is_empty();
        assert!(self.gateway.is_quiet());
    }
}

/// A header of a back end's request.
pub(super) fn header<'a>(asked: &'a Asked, name: &str) -> Option<&'a str> {
    let mut lines = asked.call.headers.iter();
    let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}
