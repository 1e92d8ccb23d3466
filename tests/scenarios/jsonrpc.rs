//! The JSON-RPC gateway in front of a node: its times as they are by default, slow consumers, and lives that chance
//! makes up.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use dunlin::dialect::{JsonRpc, JsonRpcOptions};
use dunlin::random::Random;
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{Client, NodeHandle, World};
use serde_json::{Value, json};

/// What the node does, and what it was asked.
#[derive(Default)]
struct Script {
    asked: Vec<String>,
    /// Names and kinds of the subscriptions of the one link.
    names: Vec<(String, String)>,
    made: u64,
    /// Answers to `test_hold`, until they are given.
    held: Vec<String>,
    refuses: bool,
}

impl Script {
    fn count(&self, method: &str) -> usize {
        self.asked.iter().filter(|asked| *asked == method).count()
    }

    fn hear(&mut self, text: &str) -> Vec<String> {
        let value: Value = serde_json::from_str(text).unwrap();
        let Value::Array(calls) = value else {
            return self.answer(&value).into_iter().collect();
        };
        let answers: Vec<String> = calls.iter().filter_map(|call| self.answer(call)).collect();
        vec![format!("[{}]", answers.join(","))]
    }

    fn answer(&mut self, call: &Value) -> Option<String> {
        let method = call["method"].as_str().unwrap().to_owned();
        let id = &call["id"];
        let first = &call["params"][0];
        self.asked.push(method.clone());
        let result = match method.as_str() {
            "eth_subscribe" if self.refuses => {
                return Some(
                    json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32005, "message": "no"}})
                        .to_string(),
                );
            }
            "eth_subscribe" => {
                self.made += 1;
                let name = format!("0xfeed{:x}", self.made);
                self.names
                    .push((name.clone(), first.as_str().unwrap().to_owned()));
                json!(name)
            }
            "eth_unsubscribe" => {
                let before = self.names.len();
                self.names.retain(|(name, _)| first != name);
                assert_eq!(
                    self.names.len() + 1,
                    before,
                    "a subscription that it has not"
                );
                json!(true)
            }
            "test_hold" => {
                let answer = json!({"jsonrpc": "2.0", "id": id, "result": first});
                self.held.push(answer.to_string());
                return None;
            }
            _ => call["params"].clone(),
        };
        Some(json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string())
    }
}

struct House {
    world: World,
    node: NodeHandle,
    script: Rc<RefCell<Script>>,
    head: u64,
}

impl House {
    fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    fn with(
        change: impl FnOnce(&mut JsonRpcOptions),
        settings: impl FnOnce(&mut RouteSettings),
    ) -> Self {
        let mut world = World::new(WorkerSettings::default());
        let mut options = JsonRpcOptions {
            upstream: vec!["ws://node:8546".parse().unwrap()],
            ..JsonRpcOptions::default()
        };
        change(&mut options);
        let mut route = RouteSettings {
            messages_per_second: 0,
            ..RouteSettings::default()
        };
        settings(&mut route);
        world.route_with("/", route, || JsonRpc::new(options));
        let node = world.node();
        let script = Rc::new(RefCell::new(Script::default()));
        node.behave({
            let script = script.clone();
            move |text| script.borrow_mut().hear(text)
        });
        Self {
            world,
            node,
            script,
            head: 100,
        }
    }

    fn wallet(&mut self) -> Wallet {
        Wallet {
            client: self.world.connect("/"),
            ids: 0,
        }
    }

    /// Tells every subscription of heads of another block.
    fn mine(&mut self, filler: &str) -> u64 {
        self.head += 1;
        let names: Vec<String> = self
            .script
            .borrow()
            .names
            .iter()
            .map(|(n, _)| n.clone())
            .collect();
        for name in names {
            let head = json!({"number": self.head, "extraData": filler});
            let params = json!({"subscription": name, "result": head});
            let news = json!({"jsonrpc": "2.0", "method": "eth_subscription", "params": params});
            self.node.say(&news.to_string());
        }
        self.head
    }

    fn down(&mut self) {
        let mut script = self.script.borrow_mut();
        script.names.clear();
        script.held.clear();
        drop(script);
        self.node.down();
    }

    fn count(&self, method: &str) -> usize {
        self.script.borrow().count(method)
    }

    /// Everybody has left: when it has been quiet for long, nothing of it is left but the link.
    fn ends_empty(mut self) {
        self.world.advance_ms(120_000);
        self.world.check_invariants();
        self.world.check_idle();
        assert_eq!(self.script.borrow().names, []);
        assert_eq!(self.world.sessions(), 0);
        assert_eq!(self.world.used_bytes(), 0);
        assert_eq!(self.world.connections(), self.node.connections());
    }
}

struct Wallet {
    client: Client,
    ids: u64,
}

impl Wallet {
    fn call(&mut self, method: &str, params: &Value) -> u64 {
        self.ids += 1;
        let call = json!({"jsonrpc": "2.0", "id": self.ids, "method": method, "params": params});
        self.client.send_text(&call.to_string());
        self.ids
    }

    /// The one message that has come.
    #[track_caller]
    fn one(&mut self) -> Value {
        let texts = self.client.texts();
        let [text] = &texts[..] else {
            panic!("{texts:?}");
        };
        serde_json::from_str(text).unwrap()
    }

    #[track_caller]
    fn heads(&mut self) -> String {
        self.call("eth_subscribe", &json!(["newHeads"]));
        self.one()["result"].as_str().unwrap().to_owned()
    }

    /// The numbers of the heads that have come, all for this subscription.
    #[track_caller]
    fn heard(&mut self, name: &str) -> Vec<u64> {
        let texts = self.client.texts().into_iter();
        texts
            .map(|text| {
                let news: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(news["params"]["subscription"], name, "{text}");
                news["params"]["result"]["number"].as_u64().unwrap()
            })
            .collect()
    }
}

#[test]
fn et_3_the_last_one_leaves_thirty_seconds_behind() {
    let mut house = House::new();
    let mut first = house.wallet();
    first.heads();
    let mut second = house.wallet();
    second.heads();
    first.client.close(1000, "");
    house.world.advance_ms(100_000);
    assert_eq!(house.count("eth_unsubscribe"), 0);
    second.client.close(1000, "");
    house.world.advance_ms(29_000);
    assert_eq!(house.count("eth_unsubscribe"), 0);
    // Somebody looks in, which begins it anew.
    let mut third = house.wallet();
    let name = third.heads();
    house.world.advance_ms(20_000);
    let head = house.mine("");
    assert_eq!(third.heard(&name), [head]);
    third.client.reset();
    house.world.advance_ms(29_000);
    assert_eq!(house.count("eth_unsubscribe"), 0);
    house.world.advance_ms(3_000);
    assert_eq!(house.count("eth_unsubscribe"), 1);
    assert_eq!(house.count("eth_subscribe"), 1);
    house.ends_empty();
}

#[test]
fn a_call_is_waited_for_for_twenty_five_seconds() {
    let mut house = House::new();
    let mut wallet = house.wallet();
    wallet.call("test_hold", &json!([1]));
    house.world.advance_ms(24_000);
    assert_eq!(wallet.client.texts(), [""; 0]);
    let answer = house.script.borrow_mut().held.remove(0);
    house.node.say(&answer);
    assert_eq!(wallet.one()["result"], 1);
    let id = wallet.call("test_hold", &json!([2]));
    house.world.advance_ms(28_000);
    let answer = wallet.one();
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(id), &json!(-32002))
    );
    // Too late.
    let answer = house.script.borrow_mut().held.remove(0);
    house.node.say(&answer);
    assert_eq!(wallet.client.texts(), [""; 0]);
    wallet.client.close(1000, "");
    house.ends_empty();
}

#[test]
fn et_9_a_minute_without_a_node_is_too_long() {
    let mut house = House::new();
    let mut wallet = house.wallet();
    wallet.heads();
    let attempts = house.node.attempts();
    house.down();
    house.world.advance_ms(55_000);
    assert_eq!(wallet.client.received(), []);
    let attempts = house.node.attempts() - attempts;
    assert!((5..20).contains(&attempts), "{attempts} attempts");
    // It is found out at the next attempt.
    house.world.advance_ms(40_000);
    wallet.client.expect_close(1013);
    assert_eq!(house.world.sessions(), 0);
    house.node.up();
    house.ends_empty();
}

#[test]
fn et_9_what_comes_back_in_time_is_as_before() {
    for ms in [100, 5_000, 20_000] {
        let mut house = House::new();
        let mut wallets: Vec<Wallet> = (0..5).map(|_| house.wallet()).collect();
        let names: Vec<String> = wallets.iter_mut().map(Wallet::heads).collect();
        house.down();
        house.world.advance_ms(ms);
        house.node.up();
        house.world.advance_ms(35_000);
        assert_eq!(house.count("eth_subscribe"), 2, "after {ms}");
        let head = house.mine("");
        for (wallet, name) in wallets.iter_mut().zip(&names) {
            assert_eq!(wallet.heard(name), [head]);
            wallet.client.close(1000, "");
        }
        house.ends_empty();
    }
}

/// Who does not read is closed; what the others hear is not late for it, and kept in memory once.
#[test]
fn a_slow_client_costs_the_others_nothing() {
    let mut house = House::new();
    let mut slow = house.wallet();
    slow.heads();
    slow.client.stop_reading();
    let mut wallets: Vec<Wallet> = (0..50).map(|_| house.wallet()).collect();
    let names: Vec<String> = wallets.iter_mut().map(Wallet::heads).collect();
    let filler = "a".repeat(8 << 10);
    for _ in 0..300 {
        let head = house.mine(&filler);
        for (wallet, name) in wallets.iter_mut().zip(&names) {
            assert_eq!(wallet.heard(name), [head]);
        }
    }
    house.world.advance_ms(20_000);
    assert_eq!(house.world.sessions(), 50);
    assert_eq!(house.world.refused("slow_consumer"), 1);
    assert_eq!(house.world.queued_bytes(), 0);
    for wallet in &mut wallets {
        wallet.client.close(1000, "");
    }
    drop(slow);
    house.ends_empty();
}

/// A hundred clients that read nothing: the head that waits for all of them is there once.
#[test]
fn a_head_that_waits_for_many_is_kept_once() {
    let mut house = House::new();
    let mut wallets: Vec<Wallet> = (0..100).map(|_| house.wallet()).collect();
    for wallet in &mut wallets {
        wallet.heads();
        wallet.client.window(0);
        wallet.client.stop_reading();
    }
    let before = house.world.used_bytes();
    let filler = "a".repeat(16 << 10);
    for _ in 0..3 {
        house.mine(&filler);
    }
    let grown = house.world.used_bytes() - before;
    assert!(grown >= 3 * filler.len(), "nothing waits: {grown}");
    assert!(
        grown < 20 * filler.len(),
        "{grown} bytes for three heads of 16 KiB"
    );
    for wallet in &mut wallets {
        wallet.client.reset();
    }
    house.ends_empty();
}

/// A client of a life that chance makes up, and what it is owed.
struct Guest {
    wallet: Wallet,
    /// Requests that are not answered yet; those for a subscription.
    asked: BTreeMap<u64, &'static str>,
    subscriptions: BTreeSet<String>,
    /// The subscription that a request wants to end.
    ending: BTreeMap<u64, String>,
    /// Heads that must have come, oldest first, for all subscriptions.
    owed: VecDeque<(String, u64)>,
}

impl Guest {
    /// Reads what has come; everything of it must be expected.
    fn read(&mut self) {
        for text in self.wallet.client.texts() {
            let value: Value = serde_json::from_str(&text).unwrap();
            let Some(id) = value.get("id") else {
                let name = value["params"]["subscription"].as_str().unwrap().to_owned();
                let number = value["params"]["result"]["number"].as_u64().unwrap();
                let at = self.owed.iter().position(|owed| owed.0 == name);
                let at = at.unwrap_or_else(|| panic!("not expected: {text}"));
                assert_eq!(self.owed.remove(at), Some((name, number)));
                continue;
            };
            let id = id.as_u64().unwrap();
            let what = self
                .asked
                .remove(&id)
                .unwrap_or_else(|| panic!("twice: {text}"));
            match (what, value["result"].as_str()) {
                ("eth_subscribe", Some(name)) => {
                    assert!(self.subscriptions.insert(name.to_owned()), "a name twice");
                }
                ("eth_unsubscribe", _) => {
                    let name = self.ending.remove(&id).unwrap();
                    assert_eq!(value["result"], true, "{text}");
                    assert!(self.subscriptions.remove(&name));
                }
                _ => {}
            }
        }
    }
}

/// Clients, the node and the network do what they like. Every head reaches everybody who is subscribed, in order and
/// once, while the node is there; every call is answered once; and in the end nothing is left.
fn live(seed: u64) {
    let mut random = Random::seeded(seed);
    let linger = [0, 500, 30_000][random.below(3) as usize];
    let mut house = House::with(
        |options| {
            options.linger_ms = linger;
            options.away_ms_max = 0;
        },
        |_| {},
    );
    let mut guests: Vec<Guest> = Vec::new();
    let mut is_down = false;
    for _ in 0..200 {
        let who = random.below(guests.len().max(1) as u64) as usize;
        match random.below(16) {
            0 | 1 if guests.len() < 12 => {
                let mut wallet = house.wallet();
                if random.below(3) == 0 {
                    wallet.client.cut_into(1 + random.below(40) as usize);
                }
                guests.push(Guest {
                    wallet,
                    asked: BTreeMap::new(),
                    subscriptions: BTreeSet::new(),
                    ending: BTreeMap::new(),
                    owed: VecDeque::new(),
                });
            }
            2 if !guests.is_empty() => {
                let mut guest = guests.swap_remove(who);
                if random.below(2) == 0 {
                    guest.wallet.client.reset();
                } else {
                    guest.wallet.client.close(1000, "");
                }
            }
            3..=5 if !guests.is_empty() => {
                let guest = &mut guests[who];
                let id = guest.wallet.call("eth_subscribe", &json!(["newHeads"]));
                guest.asked.insert(id, "eth_subscribe");
            }
            6 if !guests.is_empty() => {
                let guest = &mut guests[who];
                let free = |name: &&String| !guest.ending.values().any(|other| other == *name);
                if let Some(name) = guest.subscriptions.iter().find(free).cloned() {
                    let id = guest.wallet.call("eth_unsubscribe", &json!([name]));
                    guest.asked.insert(id, "eth_unsubscribe");
                    guest.ending.insert(id, name);
                }
            }
            7 | 8 if !guests.is_empty() => {
                let method = ["test_echo", "test_hold"][random.below(2) as usize];
                let guest = &mut guests[who];
                let id = guest
                    .wallet
                    .call(method, &json!(["x".repeat(random.below(300) as usize)]));
                guest.asked.insert(id, "call");
            }
            9 => {
                let mut held = std::mem::take(&mut house.script.borrow_mut().held);
                while !held.is_empty() {
                    let at = random.below(held.len() as u64) as usize;
                    house.node.say(&held.swap_remove(at));
                }
            }
            10 if !is_down && random.below(3) == 0 => {
                house.down();
                is_down = true;
            }
            10 | 11 if is_down => {
                house.node.up();
                is_down = false;
            }
            11 => house
                .node
                .cut([1, 3, 50, usize::MAX][random.below(4) as usize]),
            12 => house.world.advance_ms(random.below(3_000)),
            13 => house.world.advance_ms(random.below(40_000)),
            _ => {
                guests.iter_mut().for_each(Guest::read);
                // Whoever is on the list hears of it, if the node has somebody to tell it to.
                if !house.script.borrow().names.is_empty() {
                    let head = house.head + 1;
                    for guest in &mut guests {
                        let owed = guest.subscriptions.iter().map(|name| (name.clone(), head));
                        guest.owed.extend(owed);
                    }
                }
                house.mine("");
            }
        }
        house.world.run();
        guests.iter_mut().for_each(Guest::read);
        for guest in &guests {
            assert_eq!(guest.owed, [], "heads that did not come");
        }
        let names = house.script.borrow().names.len();
        assert!(names <= 1, "{names} subscriptions for one thing");
        house.world.check_invariants();
    }
    // Time-outs end what nobody has answered.
    house.node.up();
    house.node.cut(usize::MAX);
    house.world.advance_ms(60_000);
    for mut guest in guests {
        guest.read();
        assert_eq!(guest.asked, BTreeMap::new(), "calls without an answer");
        guest.wallet.client.close(1000, "");
    }
    house.ends_empty();
}

#[test]
fn lives_that_chance_makes_up() {
    for seed in 0..64 {
        let outcome = std::panic::catch_unwind(|| live(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
