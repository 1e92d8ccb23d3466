//! Real clients, unmodified: each as a process of its own, with dunlin between it and the node. The same is asked of it
//! without dunlin, so that what differs is known to be ours.

use std::path::PathBuf;
use std::process::Command;

use dunlin::net::http_request;
use serde_json::{Value, json};

use crate::chain::TOKENS;
use crate::gateway::{Gateway, number};
use crate::node::Node;
use crate::support::{Child, Port, eventually};

fn file(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing. Run tests/clients/install first.",
        path.display()
    );
    path
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Ethers,
    Viem,
    Web3,
    Web3Py,
    Alloy,
}

/// How a client takes it when its connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Back {
    /// It connects and subscribes again by itself.
    Whole,
    /// What uses it has to subscribe again, and says so with another name in front.
    Anew,
}

impl Who {
    fn command(self, url: &str, token: &str) -> Command {
        let mut command = match self {
            Self::Ethers | Self::Viem | Self::Web3 => {
                let (package, script) = match self {
                    Self::Ethers => ("node_modules/ethers", "eth_ethers.mjs"),
                    Self::Viem => ("node_modules/viem", "eth_viem.mjs"),
                    _ => ("node_modules/web3", "eth_web3.mjs"),
                };
                file(package);
                let mut command = Command::new("node");
                command.arg(file(script));
                command
            }
            Self::Web3Py => {
                let mut command = Command::new(file(".venv/bin/python"));
                command.arg("-u").arg(file("eth_web3.py"));
                command
            }
            Self::Alloy => Command::new(file("alloy/target/debug/alloy-client")),
        };
        command.args([url, token]);
        command
    }

    fn back(self) -> Back {
        match self {
            Self::Viem | Self::Alloy => Back::Whole,
            _ => Back::Anew,
        }
    }

    /// Subscriptions of one client; viem has two for the heads.
    fn subscriptions(self) -> usize {
        if self == Self::Viem { 3 } else { 2 }
    }

    /// What it says when everything it has subscribed to is there and somebody listens.
    fn ready(self) -> Option<&'static str> {
        match self {
            Self::Ethers => Some("past "),
            Self::Web3 | Self::Web3Py => Some("ready"),
            // The node's subscriptions say it all.
            Self::Viem | Self::Alloy => None,
        }
    }

    /// Whether it passes on that a log was taken back. ethers tells only who asks for that very log.
    fn tells_removed(self) -> bool {
        self != Self::Ethers
    }
}

/// What stands between a client and the node.
trait Between {
    fn url(&self) -> String;
    /// The node's subscriptions for so many of the client's.
    fn shared(&self, subscriptions: usize) -> usize;
    /// Every client is cut off, then everything is as before.
    fn restart(&mut self, node: &mut Node);
}

struct Nothing(String);

impl Between for Nothing {
    fn url(&self) -> String {
        self.0.clone()
    }

    fn shared(&self, subscriptions: usize) -> usize {
        subscriptions
    }

    fn restart(&mut self, node: &mut Node) {
        node.kill();
        node.revive();
    }
}

struct Dunlin {
    port: Port,
    gateway: Option<Gateway>,
    upstream: String,
}

impl Dunlin {
    #[track_caller]
    fn start(upstream: String) -> Self {
        let mut dunlin = Self {
            port: Port::reserve(),
            gateway: None,
            upstream,
        };
        dunlin.begin();
        dunlin
    }

    #[track_caller]
    fn begin(&mut self) {
        let upstream = [self.upstream.clone()];
        let gateway = Gateway::start_at(Some(self.port.number), &upstream, "linger_ms = 100");
        self.gateway = Some(gateway);
    }

    #[track_caller]
    fn end(&mut self) {
        self.gateway.take().unwrap().stop();
    }
}

impl Between for Dunlin {
    fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port.number)
    }

    /// One for the heads, one for the logs.
    fn shared(&self, _: usize) -> usize {
        2
    }

    #[track_caller]
    fn restart(&mut self, node: &mut Node) {
        self.end();
        node.await_subscriptions(0);
        self.begin();
    }
}

/// A client's whole life: questions, heads, logs, a reorganisation, a lost connection, and leaving in good order.
#[track_caller]
fn live(who: Who, node: &mut Node, between: &mut impl Between) {
    let mut client = Child::start(&mut who.command(&between.url(), TOKENS[0]));
    client.sooner_or_later("chain 1337");
    client.sooner_or_later("supply 3000000");
    let shared = between.shared(who.subscriptions());
    node.await_subscriptions(shared);
    if let Some(ready) = who.ready() {
        client.line(ready);
    }
    // The gateway's answer may still be on its way when the node has given its own; the first head says that it is there.
    let first = node.mine();
    client.sooner_or_later(&format!("head {first} there"));
    client.sooner_or_later(&format!("log {first} 0 there"));
    client.sooner_or_later(&format!("log {first} 1 there"));
    assert_eq!(client.count(" 2 "), 0, "a token that nobody asked for");

    let head = node.reorganise(1);
    assert_eq!(head, first + 1);
    if who.tells_removed() {
        client.sooner_or_later(&format!("log {first} 0 removed"));
    }
    client.sooner_or_later(&format!("head {head} there"));
    client.sooner_or_later(&format!("log {head} 1 there"));
    if who == Who::Viem {
        // It asks for every block whose head it has seen.
        client.sooner_or_later(&format!("block {head} of 3"));
    }

    between.restart(node);
    if who.back() == Back::Anew {
        client.line("back");
        client.line(who.ready().unwrap());
    }
    node.await_subscriptions(shared);
    // So that everybody sees that something is missing.
    node.silently_mine(3);
    let last = node.mine();
    client.sooner_or_later(&format!("head {last} there"));
    client.sooner_or_later("back");
    client.line("left at ");
    node.await_subscriptions(0);
    client.line("done: ");
    let name = format!("{who:?}");
    assert!(client.end().success(), "{name}: {:?}", client.seen);
    assert_eq!(client.count("Error:"), 0, "{:?}", client.seen);
    println!("{}", client.seen.join("\n"));
}

/// Without dunlin.
#[track_caller]
fn alone(who: Who) {
    let mut node = Node::start();
    let mut nothing = Nothing(node.ws());
    live(who, &mut node, &mut nothing);
}

/// Through dunlin, which is stopped and started again while the client lives.
#[track_caller]
fn through(who: Who, target: fn(&Node) -> String) {
    let mut node = Node::start();
    let mut dunlin = Dunlin::start(target(&node));
    live(who, &mut node, &mut dunlin);
    dunlin.end();
}

#[test]
fn et_12_ethers() {
    through(Who::Ethers, Node::ws);
}

#[test]
fn et_12_viem() {
    through(Who::Viem, Node::ws);
}

#[test]
fn et_12_web3() {
    through(Who::Web3, Node::ws);
}

#[test]
fn et_12_web3_py() {
    through(Who::Web3Py, Node::ws);
}

#[test]
fn et_12_alloy() {
    through(Who::Alloy, Node::ws);
}

/// The node's Unix socket behind it makes no difference to a client.
#[test]
fn et_12_ethers_with_a_unix_socket_behind() {
    through(Who::Ethers, Node::ipc);
}

/// A development node that somebody else has written, in a process of its own.
struct Ganache {
    child: Child,
    url: String,
    from: String,
    token: String,
}

impl Ganache {
    #[track_caller]
    fn start() -> Self {
        file("node_modules/ganache");
        let mut command = Command::new("node");
        let mut child = Child::start(command.arg(file("eth_ganache.mjs")));
        let mut said = |what: &str| child.line(what)[what.len()..].to_owned();
        let (from, token, port) = (said("from "), said("token "), said("port "));
        Self {
            child,
            url: format!("127.0.0.1:{port}"),
            from,
            token,
        }
    }

    #[track_caller]
    fn ask(&self, method: &str, params: &Value) -> Value {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let url = format!("http://{}/", self.url);
        let json = [("Content-Type", "application/json")];
        let answer = http_request("POST", &url, &json, call.to_string().as_bytes()).unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(answer["result"].is_string(), "{answer}");
        answer["result"].clone()
    }

    /// A transaction is a block; its number.
    #[track_caller]
    fn mine(&self) -> u64 {
        let transaction = json!([{"from": self.from, "to": self.token, "gas": "0x20000"}]);
        self.ask("eth_sendTransaction", &transaction);
        number(&self.ask("eth_blockNumber", &json!([])))
    }
}

/// The same life in front of it, as far as it goes: it never takes a block back.
#[track_caller]
fn on_ganache(who: Who) {
    let mut ganache = Ganache::start();
    let mut dunlin = Dunlin::start(format!("ws://{}", ganache.url));
    let mut client = Child::start(&mut who.command(&dunlin.url(), &ganache.token));
    for life in 0..2 {
        if life == 0 {
            client.line("supply 3000000");
        } else if who.back() == Back::Anew {
            client.line("back");
        }
        if let Some(ready) = who.ready() {
            client.line(ready);
        }
        for _ in 0..2 {
            ganache.child.line("eth_subscribe");
        }
        let mut head = ganache.mine();
        if who.ready().is_some() {
            client.sooner_or_later(&format!("head {head} there"));
        } else {
            // The node was asked, but nobody says when the client has heard its answer.
            let before = client.count("head ");
            eventually("a head", || {
                client.so_far("");
                if client.count("head ") > before {
                    return Some(());
                }
                head = ganache.mine();
                None
            });
        }
        if life == 0 {
            client.sooner_or_later(&format!("head {head} there"));
            client.sooner_or_later(&format!("log {head} 0 there"));
            client.sooner_or_later(&format!("log {head} 1 there"));
            if who == Who::Viem {
                client.sooner_or_later(&format!("block {head} of 1"));
            }
            dunlin.end();
            for _ in 0..3 {
                ganache.mine();
            }
            dunlin.begin();
        }
    }
    client.sooner_or_later("left at ");
    client.sooner_or_later("done: ");
    assert!(client.end().success(), "{who:?}: {:?}", client.seen);
    dunlin.end();
}

#[test]
fn ganache_with_ethers() {
    on_ganache(Who::Ethers);
}

#[test]
fn ganache_with_viem() {
    on_ganache(Who::Viem);
}

#[test]
fn ganache_with_web3() {
    on_ganache(Who::Web3);
}

#[test]
fn ganache_with_web3_py() {
    on_ganache(Who::Web3Py);
}

#[test]
fn ganache_with_alloy() {
    on_ganache(Who::Alloy);
}

#[test]
fn ethers_without_dunlin() {
    alone(Who::Ethers);
}

#[test]
fn viem_without_dunlin() {
    alone(Who::Viem);
}

#[test]
fn web3_without_dunlin() {
    alone(Who::Web3);
}

#[test]
fn web3_py_without_dunlin() {
    alone(Who::Web3Py);
}

#[test]
fn alloy_without_dunlin() {
    alone(Who::Alloy);
}
