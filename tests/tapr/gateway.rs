//! The program with what a test asks of it, and clients.

use dunlin::net::{Client, HttpAnswer, Received, http_request};
use dunlin::{CloseCode, Message};
use serde_json::{Value, json};

use crate::support::{Dunlin, PATIENCE, Port, eventually};

pub(crate) const SUCCESS: &str = r#"{"code":0,"message":"success"}"#;
pub(crate) const PING: &str = r#"{"event":"ping"}"#;
pub(crate) const PONG: &str = r#"{"event":"pong"}"#;

pub(crate) struct Gateway {
    pub(crate) dunlin: Dunlin,
}

impl Gateway {
    /// Its application listens on this port.
    #[track_caller]
    pub(crate) fn start(port: &Port) -> Self {
        Self::start_with(port, &[])
    }

    /// With more settings, as environment variables.
    #[track_caller]
    pub(crate) fn start_with(port: &Port, settings: &[(&str, &str)]) -> Self {
        let url = format!("http://127.0.0.1:{}/ws/message", port.number);
        let mut all = vec![("DUNLIN_TAPR__CALLBACK", url.as_str())];
        all.extend(settings);
        Self::start_as(&all)
    }

    #[track_caller]
    pub(crate) fn start_as(settings: &[(&str, &str)]) -> Self {
        let mut all = vec![("DUNLIN_DRAIN_TIMEOUT_MS", "5s")];
        all.extend(settings);
        let dunlin = Dunlin::start_with(&all, &[]);
        Self { dunlin }
    }

    /// A client's URL.
    pub(crate) fn ws(&self) -> String {
        format!("ws://{}/ws", self.dunlin.tapr)
    }

    /// The URL of a control path.
    pub(crate) fn url(&self, verb: &str) -> String {
        format!("http://{}/tapr/ws/conn/{verb}", self.dunlin.tapr)
    }

    /// A client with these headers.
    #[track_caller]
    pub(crate) fn connect(&self, headers: &[(&str, &str)]) -> Client {
        let mut client = Client::connect(&self.ws(), headers).unwrap();
        client.set_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// A client of a user; an empty token makes it a public one.
    #[track_caller]
    pub(crate) fn user(&self, user: &str, token: &str) -> Client {
        let cookie = format!("auth_token={token}");
        self.connect(&[("X-Bfl-User", user), ("Cookie", &cookie)])
    }

    /// A request on a control path.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, verb: &str, body: &[u8]) -> HttpAnswer {
        let json = [("Content-Type", "application/json")];
        http_request(method, &self.url(verb), &json, body).unwrap()
    }

    /// The answer to a request on a control path that must be understood as one.
    #[track_caller]
    pub(crate) fn post(&self, verb: &str, body: &str) -> String {
        let answer = self.ask("POST", verb, body.as_bytes());
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 200, "{text}");
        text
    }

    #[track_caller]
    pub(crate) fn send(&self, body: &Value) {
        assert_eq!(self.post("send", &body.to_string()), SUCCESS);
    }

    #[track_caller]
    pub(crate) fn close(&self, body: &Value) {
        assert_eq!(self.post("close", &body.to_string()), SUCCESS);
    }

    /// The list as its text.
    #[track_caller]
    pub(crate) fn list(&self) -> String {
        let answer = self.ask("GET", "list", b"");
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body).unwrap()
    }

    /// The users of the list, sorted by name.
    #[track_caller]
    pub(crate) fn users(&self) -> Vec<Value> {
        let list: Value = serde_json::from_str(&self.list()).unwrap();
        assert_eq!(
            (&list["code"], &list["message"]),
            (&json!(0), &json!("success"))
        );
        let mut users = list["data"].as_array().unwrap().clone();
        users.sort_by_key(|user| user["name"].to_string());
        users
    }

    /// The identifiers of the connections of `conns` or `public_conns` of a user.
    #[track_caller]
    pub(crate) fn ids(&self, user: &str, which: &str) -> Vec<String> {
        let users = self.users();
        let found = users.iter().find(|u| u["name"] == user);
        let conns = found.map_or(Vec::new(), |u| u[which].as_array().unwrap().clone());
        conns
            .iter()
            .map(|c| c["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A number on the metrics page; 0 if it is not there.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.dunlin.metric(name)
    }

    /// How often something was refused, or went wrong.
    #[track_caller]
    pub(crate) fn refused(&self, reason: &str) -> u64 {
        self.metric(&format!("dunlin_refused_total{{reason=\"{reason}\"}}"))
    }

    /// Waits until something was refused so often.
    #[track_caller]
    pub(crate) fn await_refused(&self, reason: &str, times: u64) {
        eventually(reason, || (self.refused(reason) >= times).then_some(()));
    }

    /// The end, without a panic before it.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.dunlin.stop();
    }
}

/// The next message, which must be a text.
#[track_caller]
pub(crate) fn text(client: &mut Client) -> String {
    match client.receive().unwrap() {
        Received::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// The next thing must be the end.
#[track_caller]
pub(crate) fn closed(client: &mut Client) -> (CloseCode, String) {
    match client.receive().unwrap() {
        Received::Closed(code, reason) => (code, reason),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn say(client: &mut Client, text: &str) {
    client.send(Message::Text(text)).unwrap();
}

/// Everything sent to a client before this has arrived when it comes back, and nothing else has.
#[track_caller]
pub(crate) fn hears_nothing(client: &mut Client) {
    say(client, PING);
    assert_eq!(text(client), PONG);
}
