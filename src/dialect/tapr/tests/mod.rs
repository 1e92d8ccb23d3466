//! The acceptance scenarios (`tp_…`) and what goes beyond them; here what they share.
#![allow(clippy::unwrap_used)]

mod clients;
mod control;

use super::*;
use crate::dialect::testing::{Got, House, Id};
use crate::hub::{CallError, HubLimits, Peer, SessionLimits};
use serde_json::{Value, json};

struct Gateway {
    house: House,
    ws: usize,
    list: usize,
    send: usize,
    close: usize,
    debug: usize,
}

impl Gateway {
    fn new(options: TaprOptions) -> Self {
        Self::in_house(House::new(), options)
    }

    fn in_house(mut house: House, options: TaprOptions) -> Self {
        let tapr = Tapr::new(options);
        Self {
            list: house.route("/tapr/ws/conn/list", tapr.list()),
            send: house.route("/tapr/ws/conn/send", tapr.send()),
            close: house.route("/tapr/ws/conn/close", tapr.close()),
            debug: house.route("/tapr/ws/conn/debug", tapr.debug()),
            ws: house.route("/ws", tapr),
            house,
        }
    }

    /// A client with these headers.
    fn join(&mut self, headers: &[(&str, &str)]) -> Id {
        self.house
            .upgrade_with(self.ws, "/ws", headers, &[])
            .unwrap()
    }

    /// A user with a token.
    fn user(&mut self, user: &str, token: &str) -> Id {
        self.join(&[
            ("X-Bfl-User", user),
            ("Cookie", &format!("auth_token={token}")),
        ])
    }

    /// A user without one.
    fn public(&mut self, user: &str) -> Id {
        self.join(&[("X-Bfl-User", user)])
    }

    /// A user with a token, and the id of the connection.
    fn named(&mut self, user: &str, token: &str) -> (Id, String) {
        let id = self.user(user, token);
        let open = self.bodies().pop().unwrap();
        let open: Value = serde_json::from_str(&open).unwrap();
        (id, open["conn_id"].as_str().unwrap().to_owned())
    }

    fn says(&mut self, id: Id, text: &str) {
        self.house.text(id, text);
    }

    /// Takes the callbacks asked for since the last time, and answers each.
    fn bodies(&mut self) -> Vec<String> {
        let mut bodies = Vec::new();
        for asked in self.house.calls() {
            assert_eq!(asked.call.method, "POST");
            bodies.push(String::from_utf8(asked.call.body.clone()).unwrap());
            self.house.answer(asked, 200, b"");
        }
        bodies
    }

    /// The same, read: `action`, and what is in `data`.
    fn actions(&mut self) -> Vec<(String, Value)> {
        let bodies = self.bodies().into_iter();
        bodies
            .map(|body| {
                let mut body: Value = serde_json::from_str(&body).unwrap();
                let action = body["action"].as_str().unwrap().to_owned();
                (action, body["data"].take())
            })
            .collect()
    }

    fn control(&mut self, route: usize, method: &str, body: &str) -> String {
        let answer = self.house.request(route, method, "/", body.as_bytes());
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body).unwrap()
    }

    fn send(&mut self, body: &str) -> String {
        self.control(self.send, "POST", body)
    }

    fn close(&mut self, body: &str) -> String {
        self.control(self.close, "POST", body)
    }

    fn list(&mut self) -> Value {
        let json = self.control(self.list, "GET", "");
        serde_json::from_str(&json).unwrap()
    }

    fn texts(&mut self, id: Id) -> Vec<String> {
        let got = self.house.got(id);
        got.iter().map(|got| got.text().to_owned()).collect()
    }

    /// How many messages each of them got.
    fn counts<const N: usize>(&mut self, ids: [Id; N]) -> [usize; N] {
        ids.map(|id| self.house.got(id).len())
    }
}

fn options() -> TaprOptions {
    TaprOptions {
        callback: Tapr::callback_url("3010", "/websocket/message").unwrap(),
        ..TaprOptions::default()
    }
}

const SUCCESS: &str = r#"{"code":0,"message":"success"}"#;

fn data(object: Value) -> (String, Value) {
    ("message".into(), object)
}
