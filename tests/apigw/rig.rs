//! The program with a gateway, devices, and what back ends do.

use dunlin::net::{Client, HttpAnswer, Received, http_request};
use dunlin::{CloseCode, Message};
use serde_json::{Value, json};

use crate::app::{App, Callback};
use crate::support::{Dunlin, Folder, PATIENCE, Port};

pub(crate) struct Rig {
    pub(crate) dunlin: Dunlin,
    _config: Folder,
}

impl Rig {
    /// Its back end listens on this port.
    #[track_caller]
    pub(crate) fn start(port: &Port) -> Self {
        Self::start_with(port, &[])
    }

    /// With more settings of the dialect, by name.
    #[track_caller]
    pub(crate) fn start_with(port: &Port, settings: &[(&str, &str)]) -> Self {
        Self::start_as(port, settings, &[("DUNLIN_DRAIN_TIMEOUT_MS", "5s")])
    }

    /// And with more variables.
    #[track_caller]
    pub(crate) fn start_as(
        port: &Port,
        settings: &[(&str, &str)],
        variables: &[(&str, &str)],
    ) -> Self {
        let config = Folder::new();
        let file = config.file(
            "apigw.toml",
            b"[[route]]\npath = \"/{api*}\"\ndialect = \"apigw\"\n",
        );
        let back_ends = format!("/=http://127.0.0.1:{}", port.number);
        let named: Vec<(String, &str)> = [("back_ends", back_ends.as_str())]
            .iter()
            .chain(settings)
            .map(|(name, value)| (format!("DUNLIN_APIGW__{}", name.to_uppercase()), *value))
            .collect();
        let mut all: Vec<(&str, &str)> = named.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        all.extend(variables);
        let dunlin = Dunlin::start_with(&all, &["--config", file.to_str().unwrap()]);
        Self {
            dunlin,
            _config: config,
        }
    }

    /// Where devices connect.
    pub(crate) fn ws(&self) -> String {
        self.dunlin.ws("/")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.dunlin.main)
    }

    /// A connection that has said nothing.
    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        let mut client = Client::connect(&self.ws(), &[]).unwrap();
        client.set_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// The connection of a device, and its credential.
    #[track_caller]
    pub(crate) fn device(&self, name: &str) -> (Client, String) {
        let mut client = self.connect();
        say(&mut client, &format!("RG#{name}"));
        let answer = text(&mut client);
        let rest = answer
            .strip_prefix("RO#")
            .unwrap_or_else(|| panic!("{answer}"));
        let (credential, _) = rest.split_once('#').unwrap();
        (client, credential.to_owned())
    }

    /// The connection of a device that `app` has registered.
    #[track_caller]
    pub(crate) fn registered(&self, app: &App, name: &str) -> Client {
        let (mut client, _) = self.device(name);
        say(&mut client, &signal("r", "REGISTER"));
        assert_eq!(status(&mut client), ("r".to_owned(), 200));
        assert_eq!(app.next().header("x-ca-deviceid"), Some(name));
        client
    }

    /// A notification of a back end.
    #[track_caller]
    pub(crate) fn notify(&self, device: &str, body: &str) -> HttpAnswer {
        notify(&self.url("/notify"), device, body)
    }

    #[track_caller]
    pub(crate) fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> HttpAnswer {
        http_request(method, &self.url(path), headers, body).unwrap()
    }

    /// How often something was refused, or went wrong.
    #[track_caller]
    pub(crate) fn refused(&self, reason: &str) -> u64 {
        let name = format!("dunlin_refused_total{{reason=\"{reason}\"}}");
        self.dunlin.metric(&name)
    }

    /// The end, without a panic before it.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.dunlin.stop();
    }
}

#[track_caller]
pub(crate) fn notify(url: &str, device: &str, body: &str) -> HttpAnswer {
    http_request("POST", url, &[("X-Ca-DeviceId", device)], body.as_bytes()).unwrap()
}

/// A request without a body.
pub(crate) fn call(seq: &str, method: &str, path: &str) -> String {
    json!({"method": method, "host": "api.example.com", "path": path, "headers": {"x-ca-seq": [seq]}}).to_string()
}

pub(crate) fn signal(seq: &str, signal: &str) -> String {
    let headers = json!({"x-ca-seq": [seq], "x-ca-websocket_api_type": [signal]});
    json!({"method": "POST", "host": "api.example.com", "path": "/signal", "headers": headers})
        .to_string()
}

/// The next message, which must be a text.
#[track_caller]
pub(crate) fn text(client: &mut Client) -> String {
    match client.receive().unwrap() {
        Received::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// The next message, which must be an answer.
#[track_caller]
pub(crate) fn answer(client: &mut Client) -> Value {
    let text = text(client);
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

/// Its seq and its status.
#[track_caller]
pub(crate) fn status(client: &mut Client) -> (String, u64) {
    let answer = answer(client);
    let seq = answer["header"]["x-ca-seq"].as_str().unwrap_or("-");
    (seq.to_owned(), answer["status"].as_u64().unwrap())
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

/// The path of a request at the back end.
pub(crate) fn path(asked: &Callback) -> &str {
    asked.line.split(' ').nth(1).unwrap()
}
