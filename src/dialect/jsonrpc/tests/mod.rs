//! The gateway in a house: clients on one side, a node whose words the test writes on the other.

mod calls;
mod feeds;
mod http;
mod outages;

use super::{JsonRpc, JsonRpcEndpoint, JsonRpcOptions};
use crate::dialect::testing::{Dialled, House, Id};
use crate::hub::LinkEnd;
use crate::ws::CloseCode;

/// Nodes at these URLs.
fn endpoints(urls: &[&str]) -> Vec<JsonRpcEndpoint> {
    let parse = |url: &&str| url.parse().expect("an endpoint");
    urls.iter().map(parse).collect()
}

struct Rig {
    house: House,
    route: usize,
    gateway: JsonRpc,
    node: Option<Dialled>,
}

impl Rig {
    fn new() -> Self {
        Self::with(options())
    }

    fn with(options: JsonRpcOptions) -> Self {
        let mut house = House::new();
        let gateway = JsonRpc::new(options);
        let route = house.route("/", gateway.clone());
        Self {
            house,
            route,
            gateway,
            node: None,
        }
    }

    /// With a node that is there.
    fn open() -> Self {
        Self::open_with(options())
    }

    fn open_with(options: JsonRpcOptions) -> Self {
        let mut rig = Self::with(options);
        let client = rig.join();
        rig.says(client, r#"{"jsonrpc":"2.0","method":"net_listening"}"#);
        rig.node_opens();
        assert_eq!(
            rig.asked(),
            [r#"{"jsonrpc":"2.0","method":"net_listening"}"#]
        );
        rig.house.leave(client);
        rig
    }

    fn join(&mut self) -> Id {
        self.house.join(self.route, "/", &[])
    }

    fn says(&mut self, client: Id, text: &str) {
        self.house.text(client, text);
    }

    /// What a client got since the last time; everything is text.
    fn got(&mut self, client: Id) -> Vec<String> {
        let got = self.house.got(client);
        got.iter().map(|got| got.text().to_owned()).collect()
    }

    /// The one message a client got.
    #[track_caller]
    fn one(&mut self, client: Id) -> String {
        let mut got = self.got(client);
        assert_eq!(got.len(), 1, "{got:?}");
        got.remove(0)
    }

    /// What a client says, and the one answer.
    #[track_caller]
    fn reply(&mut self, client: Id, text: &str) -> String {
        self.says(client, text);
        self.one(client)
    }

    /// The node that is dialled is there.
    #[track_caller]
    fn node_opens(&mut self) {
        let mut dialled = self.house.dialled();
        assert_eq!(dialled.len(), 1, "{dialled:?}");
        let node = dialled.remove(0);
        self.house.link_opens(&node);
        self.node = Some(node);
    }

    /// What the node was asked since the last time.
    fn asked(&mut self) -> Vec<String> {
        let node = self.node.as_ref().expect("a node");
        self.house.link_sent(node)
    }

    /// The one thing that the node was asked, with the id under which.
    #[track_caller]
    fn question(&mut self) -> (String, String) {
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        (own_id(&asked[0]), asked[0].clone())
    }

    fn node_says(&mut self, text: &str) {
        let node = self.node.clone().expect("a node");
        self.house.link_says(&node, text);
    }

    fn node_answers(&mut self, id: &str, result: &str) {
        self.node_says(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
        ));
    }

    fn node_goes(&mut self) {
        let node = self.node.take().expect("a node");
        self.house.link_ends(&node, LinkEnd::Broken);
    }

    /// Subscribes to heads; the subscription's id. The node is asked, or was before.
    #[track_caller]
    fn subscribes(&mut self, client: Id) -> String {
        self.says(client, HEADS);
        if let Some(asked) = self.asked().first() {
            self.node_answers(&own_id(asked), "\"0xfeed\"");
        }
        id_in(&self.one(client))
    }

    fn head(&mut self, number: u32) {
        self.node_says(&news("0xfeed", &format!(r#"{{"number":"{number:#x}"}}"#)));
    }

    /// Everybody goes, everything times out, and nothing stays behind.
    #[track_caller]
    fn ends(mut self) {
        self.house.is_empty();
        self.house.pass(600_000);
        assert!(self.gateway.is_quiet());
    }
}

fn options() -> JsonRpcOptions {
    JsonRpcOptions {
        upstream: vec!["ws://node:8546".parse().expect("an endpoint")],
        ..JsonRpcOptions::default()
    }
}

const HEADS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;

fn call(id: &str, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":[]}}"#)
}

fn result(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn error(id: &str, code: i32, message: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#)
}

fn news(id: &str, result: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"eth_subscription","params":{{"subscription":"{id}","result":{result}}}}}"#
    )
}

/// The id under which the gateway asks.
#[track_caller]
fn own_id(question: &str) -> String {
    let rest = question.split_once("\"id\":").expect("an id").1;
    rest.chars().take_while(char::is_ascii_digit).collect()
}

/// The subscription's id in an answer to a client.
#[track_caller]
fn id_in(answer: &str) -> String {
    let rest = answer.strip_prefix(r#"{"jsonrpc":"2.0","id":1,"result":"0x"#);
    let id = rest
        .and_then(|rest| rest.strip_suffix("\"}"))
        .unwrap_or_else(|| panic!("{answer}"));
    assert!(id.len() <= 32 && !id.starts_with('0'), "{id}");
    format!("0x{id}")
}
