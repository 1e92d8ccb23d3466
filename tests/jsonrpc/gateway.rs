//! The program in front of a node, and clients that speak JSON-RPC by hand.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use dunlin::net::{Client, HttpAnswer, Received, http_request};
use dunlin::{CloseCode, Message};
use serde_json::{Value, json};

use crate::support::{Dunlin, Folder, PATIENCE, eventually};

pub(crate) struct Gateway {
    pub(crate) dunlin: Dunlin,
    /// Where programs of this machine may speak to it without HTTP.
    ipc: PathBuf,
    _folder: Folder,
}

impl Gateway {
    /// In front of these nodes, in this order.
    #[track_caller]
    pub(crate) fn start(upstream: &[String]) -> Self {
        Self::start_with(upstream, "")
    }

    /// With more keys in the dialect's table.
    #[track_caller]
    pub(crate) fn start_with(upstream: &[String], keys: &str) -> Self {
        Self::start_at(None, upstream, keys)
    }

    /// Listens at a port that the test has, too.
    #[track_caller]
    pub(crate) fn start_at(port: Option<u16>, upstream: &[String], keys: &str) -> Self {
        let folder = Folder::new();
        let upstream = json!(upstream);
        let ipc = folder.0.join("dunlin.ipc");
        let mut text = format!(
            "drain_timeout_ms = 100\n[jsonrpc]\nupstream = {upstream}\n{keys}\n\
             [[route]]\npath = \"/\"\ndialect = \"jsonrpc\"\n"
        );
        let known = port.map(|port| ("known", format!("127.0.0.1:{port}")));
        let listeners = [("ipc", format!("ipc:{}", ipc.display()))];
        for (name, address) in listeners.into_iter().chain(known) {
            text += &format!(
                "[[listener]]\nname = \"{name}\"\naddress = \"{address}\"\n\
                 [[route]]\npath = \"/\"\nlistener = \"{name}\"\ndialect = \"jsonrpc\"\n"
            );
        }
        let file = folder.file("dunlin.toml", text.as_bytes());
        let dunlin = Dunlin::start(&["--config", file.to_str().unwrap()]);
        Self {
            dunlin,
            ipc,
            _folder: folder,
        }
    }

    /// A client's URL.
    pub(crate) fn ws(&self) -> String {
        self.dunlin.ws("/")
    }

    pub(crate) fn http(&self) -> String {
        format!("http://{}/", self.dunlin.main)
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> Wallet {
        Wallet::connect(&self.ws())
    }

    #[track_caller]
    pub(crate) fn connect_ipc(&self) -> Stream {
        let stream = UnixStream::connect(&self.ipc).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Stream(BufReader::new(stream))
    }

    /// An HTTP request with a call.
    #[track_caller]
    pub(crate) fn post(&self, body: &str) -> HttpAnswer {
        let json = [("Content-Type", "application/json")];
        http_request("POST", &self.http(), &json, body.as_bytes()).unwrap()
    }

    /// A number on the metrics page; 0 if it is not there.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.dunlin.metric(name)
    }

    /// Waits until so many clients are connected.
    #[track_caller]
    pub(crate) fn await_sessions(&self, number: u64) {
        eventually("sessions", || {
            (self.metric("dunlin_sessions") == number).then_some(())
        });
    }

    /// The end, without a panic before it.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.dunlin.stop();
    }
}

/// A client on the Unix socket.
pub(crate) struct Stream(BufReader<UnixStream>);

impl Stream {
    #[track_caller]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// The next line; empty at the end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, text: &str) -> String {
        self.write(text.as_bytes());
        self.line()
    }
}

/// A client that keeps apart what it has asked for and what it is told.
pub(crate) struct Wallet {
    pub(crate) client: Client,
    asked: u64,
    /// News that came while something else was waited for, in their order.
    news: VecDeque<(String, Value)>,
}

impl Wallet {
    #[track_caller]
    pub(crate) fn connect(url: &str) -> Self {
        let mut client = Client::connect(url, &[]).unwrap();
        client.set_timeout(Some(PATIENCE)).unwrap();
        Self {
            client,
            asked: 0,
            news: VecDeque::new(),
        }
    }

    #[track_caller]
    pub(crate) fn say(&mut self, text: &str) {
        self.client.send(Message::Text(text)).unwrap();
    }

    /// The next message, which must be a text.
    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        match self.client.receive().unwrap() {
            Received::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    /// The answer to a text.
    #[track_caller]
    pub(crate) fn ask(&mut self, text: &str) -> String {
        self.say(text);
        self.text()
    }

    /// Asks, and does not wait.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> u64 {
        self.asked += 1;
        let id = self.asked;
        let call = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.say(&call.to_string());
        id
    }

    /// The next answer, whatever news come before it.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Value {
        loop {
            let value: Value = serde_json::from_str(&self.text()).unwrap();
            if value.get("id").is_some() {
                return value;
            }
            self.keep(value);
        }
    }

    fn keep(&mut self, mut value: Value) {
        assert_eq!(value["method"], "eth_subscription", "{value}");
        let params = value["params"].take();
        let name = params["subscription"].as_str().unwrap().to_owned();
        self.news.push_back((name, params["result"].clone()));
    }

    /// What a call comes to, which must be a success.
    #[track_caller]
    pub(crate) fn result(&mut self, method: &str, params: &Value) -> Value {
        let id = self.call(method, params);
        let mut answer = self.answer();
        assert_eq!(answer["id"], id, "{answer}");
        assert!(answer.get("result").is_some(), "{answer}");
        answer["result"].take()
    }

    /// The code and the message of a call that must fail.
    #[track_caller]
    pub(crate) fn error(&mut self, method: &str, params: &Value) -> (i64, String) {
        let id = self.call(method, params);
        let answer = self.answer();
        assert_eq!(answer["id"], id, "{answer}");
        error(&answer)
    }

    /// Subscribes; answers the subscription's name.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, params: &Value) -> String {
        let name = self.result("eth_subscribe", params);
        let name = name.as_str().unwrap().to_owned();
        let digits = name.strip_prefix("0x").unwrap();
        assert!((1..=32).contains(&digits.len()), "{name}");
        assert!(!digits.starts_with('0'), "{name}");
        name
    }

    #[track_caller]
    pub(crate) fn heads(&mut self) -> String {
        self.subscribe(&json!(["newHeads"]))
    }

    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, name: &str) {
        assert_eq!(self.result("eth_unsubscribe", &json!([name])), true);
    }

    /// The next news: of which subscription, and what.
    #[track_caller]
    pub(crate) fn news(&mut self) -> (String, Value) {
        while self.news.is_empty() {
            let value: Value = serde_json::from_str(&self.text()).unwrap();
            self.keep(value);
        }
        self.news.pop_front().unwrap()
    }

    /// The next news must be of this subscription, and a head; its number.
    #[track_caller]
    pub(crate) fn head(&mut self, name: &str) -> u64 {
        let (of, head) = self.news();
        assert_eq!(of, name);
        number(&head["number"])
    }

    /// Everything sent before this has arrived when it comes back, and nothing was.
    #[track_caller]
    pub(crate) fn hears_nothing(&mut self) {
        let echoed = json!(["still", "here"]);
        assert_eq!(self.result("test_echo", &echoed), echoed);
        assert_eq!(self.news, []);
    }

    /// The next thing must be the end.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> (CloseCode, String) {
        match self.client.receive().unwrap() {
            Received::Closed(code, reason) => (code, reason),
            other => panic!("{other:?}"),
        }
    }
}

/// The code and the message of an answer that is an error.
#[track_caller]
pub(crate) fn error(answer: &Value) -> (i64, String) {
    let error = &answer["error"];
    let message = error["message"].as_str();
    let message = message.unwrap_or_else(|| panic!("{answer}"));
    (error["code"].as_i64().unwrap(), message.to_owned())
}

/// A quantity.
#[track_caller]
pub(crate) fn number(value: &Value) -> u64 {
    let text = value.as_str().unwrap();
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}
