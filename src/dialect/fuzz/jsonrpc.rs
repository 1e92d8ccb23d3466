//! The body of the target for the gateway: clients on one side, a node that says anything on the other.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::testing::{Asked, Dialled, House, Id};
use super::super::{JsonRpc, JsonRpcOptions};
use crate::hub::{CallError, LinkEnd, Ticket};
use crate::ws::Message;

/// Oracle: no panic, the hub's invariants hold after each step, whatever a client gets is an answer with an id that it
/// has used (as often, at most, as it has used it) or news of a subscription that was answered before and not ended,
/// a request is answered at most once, and when everybody has gone and the time is over, nothing is under way.
///
/// The bytes are a row of steps. Each begins with one that says what happens and to whom; what follows up to the next
/// NUL is what is said. A `#` in the words of the node stands for the id of one of its questions, in those of a client
/// for its last subscription.
pub fn jsonrpc(data: &[u8]) {
    let mut world = World::new();
    let mut rest = data;
    for _ in 0..STEPS_MAX {
        let [step, after @ ..] = rest else { break };
        let end = after.iter().position(|b| *b == 0).unwrap_or(after.len());
        let (payload, after) = after.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        world.step(*step, payload);
    }
    world.end();
}

/// A row of steps costs time, the house does not need more of them.
const STEPS_MAX: usize = 100;
const CLIENTS_MAX: usize = 8;

struct World {
    house: House,
    gateway: JsonRpc,
    route: usize,
    clients: Vec<Client>,
    node: Option<Dialled>,
    dialled: Vec<Dialled>,
    /// Ids under which the node was asked.
    questions: Vec<String>,
    calls: Vec<Asked>,
    requests: Vec<Ticket>,
}

struct Client {
    id: Id,
    /// How often it has used each id, less the answers that came.
    open: BTreeMap<String, i64>,
    subscriptions: Vec<String>,
}

impl World {
    fn new() -> Self {
        let mut house = House::new();
        let gateway = JsonRpc::new(JsonRpcOptions {
            upstream: ["ws://a:1", "ipc:/b", "http://c:3"]
                .map(|url| url.parse().expect("an endpoint"))
                .into(),
            in_flight_max: 5,
            subscriptions_max: 4,
            feeds_max: 6,
            batch_max: 6,
            batch_bytes_max: 200,
            calls_burst: 40,
            calls_per_second: 10,
            deny: vec!["debug_*".to_owned()],
            head_number: true,
            gap_heads_max: 2,
            ..JsonRpcOptions::default()
        });
        let route = house.route("/", gateway.clone());
        Self {
            house,
            gateway,
            route,
            clients: Vec::new(),
            node: None,
            dialled: Vec::new(),
            questions: Vec::new(),
            calls: Vec::new(),
            requests: Vec::new(),
        }
    }

    fn step(&mut self, step: u8, payload: &[u8]) {
        let who = usize::from(step & 0x1f);
        match step >> 5 {
            0 if self.clients.len() < CLIENTS_MAX => {
                let id = self.house.upgrade_with(self.route, "/", &[], &[]);
                self.clients.push(Client {
                    id: id.expect("everybody is let in"),
                    open: BTreeMap::new(),
                    subscriptions: Vec::new(),
                });
            }
            1 | 2 => self.says(who, payload),
            3 | 4 => self.node_says(who, payload),
            5 => self.ask(payload),
            6 => self.move_node(who),
            7 if who < CLIENTS_MAX && who < self.clients.len() => {
                let client = self.clients.swap_remove(who);
                self.house.leave(client.id);
            }
            7 if who >= 24 => self.answer_call(who, payload),
            7 => self.house.pass(1 << who),
            _ => {}
        }
        self.look();
    }

    fn says(&mut self, who: usize, payload: &[u8]) {
        let count = self.clients.len().max(1);
        let Some(client) = self.clients.get_mut(who % count) else {
            return;
        };
        // A `#` stands for the subscription it has had last.
        let last = client.subscriptions.last().map_or("0x0", String::as_str);
        let replaced;
        let payload = match std::str::from_utf8(payload) {
            Ok(text) => {
                replaced = text.replace('#', last);
                replaced.as_bytes()
            }
            Err(_) => payload,
        };
        for id in ids_in(payload) {
            *client.open.entry(id).or_default() += 1;
        }
        // What is no request, or no JSON, is answered without an id.
        *client.open.entry("null".to_owned()).or_default() += 1000;
        let message = match std::str::from_utf8(payload) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Binary(payload),
        };
        self.house.says(client.id, message);
    }

    /// A request by HTTP.
    fn ask(&mut self, payload: &[u8]) {
        let headers = [("Content-Type", "application/json")];
        match self.house.asks(self.route, "POST", "/", &headers, payload) {
            Ok(response) => {
                let text = String::from_utf8(response.body).expect("an answer is text");
                assert_eq!(response.status, 200);
                assert!(text.is_empty() || is_answer(&text), "{text}");
            }
            Err(ticket) => self.requests.push(ticket),
        }
    }

    fn node_says(&mut self, who: usize, payload: &[u8]) {
        let Some(node) = self.node.clone() else {
            return;
        };
        let at = who.min(self.questions.len().saturating_sub(1));
        let question = self.questions.get(at).map_or("0", String::as_str);
        let text = String::from_utf8_lossy(payload).replace('#', question);
        self.house.link_says(&node, &text);
    }

    fn move_node(&mut self, how: usize) {
        if how.is_multiple_of(2) {
            if let Some(node) = self.dialled.pop() {
                self.house.link_opens(&node);
                self.node = Some(node);
            }
        } else if let Some(node) = self.dialled.pop().or_else(|| self.node.take()) {
            let end = [LinkEnd::Broken, LinkEnd::Unreachable][how / 2 % 2];
            self.questions.clear();
            self.house.link_ends(&node, end);
        }
    }

    fn answer_call(&mut self, how: usize, payload: &[u8]) {
        if self.calls.is_empty() {
            return;
        }
        let asked = self.calls.remove(0);
        match how % 4 {
            0 | 1 => {
                let own = std::str::from_utf8(&asked.call.body).ok();
                let own = own.and_then(|text| ids_in(text.as_bytes()).into_iter().next());
                let text = String::from_utf8_lossy(payload);
                let text = text.replace('#', &own.unwrap_or_default());
                self.house.answer(asked, 200, text.as_bytes());
            }
            2 => self.house.answer(asked, 500, payload),
            _ => self.house.fail(asked, CallError::Broken),
        }
    }

    /// Everybody reads what came.
    fn look(&mut self) {
        let dialled = self.house.dialled();
        self.dialled.extend(dialled);
        assert!(self.dialled.len() + usize::from(self.node.is_some()) <= 1);
        let calls = self.house.calls();
        self.calls.extend(calls);
        if let Some(node) = &self.node {
            for text in self.house.link_sent(node) {
                let asked: Value = serde_json::from_str(&text).expect("a question is JSON");
                assert!(asked["jsonrpc"] == "2.0" || asked.is_array(), "{text}");
                self.questions.extend(ids_in(text.as_bytes()));
            }
        }
        for (ticket, response) in self.house.answers() {
            let at = self.requests.iter().position(|open| *open == ticket);
            self.requests
                .swap_remove(at.expect("a request is answered once"));
            let text = String::from_utf8(response.body).expect("an answer is text");
            assert!(is_answer(&text), "{text}");
        }
        for client in &mut self.clients {
            for got in self.house.got(client.id) {
                client.hear(got.text());
            }
        }
        let house = &self.house;
        self.clients
            .retain(|client| house.closed(client.id).is_none());
    }

    fn end(mut self) {
        self.house.is_empty();
        // Everything times out, and a link that is still being dialled fails.
        for _ in 0..4 {
            self.house.pass(300_000);
            for node in std::mem::take(&mut self.dialled) {
                self.house.link_ends(&node, LinkEnd::Unreachable);
            }
            self.look();
        }
        assert!(self.gateway.is_quiet(), "something is still under way");
        assert!(self.requests.is_empty(), "a request was not answered");
    }
}

impl Client {
    fn hear(&mut self, text: &str) {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"));
        if value["method"] == "eth_subscription" {
            let id = value["params"]["subscription"].as_str().expect("an id");
            assert!(self.subscriptions.iter().any(|own| own == id), "{text}");
            assert!(value["params"].get("result").is_some(), "{text}");
            return;
        }
        assert!(is_answer(text), "{text}");
        for id in ids_in(text.as_bytes()) {
            let open = self.open.entry(id.clone()).or_default();
            *open -= 1;
            assert!(*open >= 0, "{id} was not asked: {text}");
        }
        let answers = match &value {
            Value::Array(answers) => answers.as_slice(),
            answer => std::slice::from_ref(answer),
        };
        for answer in answers {
            // It may be a subscription's id; anything else is no harm.
            self.subscriptions
                .extend(answer["result"].as_str().map(str::to_owned));
        }
    }
}

/// The ids of a message as they are written, one for each item of a batch.
fn ids_in(bytes: &[u8]) -> Vec<String> {
    use serde_json::value::RawValue;
    let mut first = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
    let Some(Ok(raw)) = first.next() else {
        return Vec::new();
    };
    let id = |raw: &RawValue| {
        let [id] = super::super::members::members_any_case(raw.get(), ["id"]).ok()?;
        id.map(|raw| raw.get().to_owned())
    };
    if raw.get().starts_with('[') {
        let mut ids = Vec::new();
        super::super::members::each_item(raw, &mut |item| ids.extend(id(item)));
        ids
    } else {
        id(raw).into_iter().collect()
    }
}

/// One answer, or a list of them.
fn is_answer(text: &str) -> bool {
    let one = |value: &Value| {
        let has = |name| value.get(name).is_some();
        value["jsonrpc"] == "2.0" && has("id") && (has("result") != has("error"))
    };
    match serde_json::from_str(text) {
        Ok(Value::Array(all)) => !all.is_empty() && all.iter().all(one),
        Ok(value) => one(&value),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const WORDS: [&str; 44] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "#",
        "1",
        "null",
        "0x1",
        " ",
        "\"0x1\"",
        "\"jsonrpc\":\"2.0\"",
        "\"id\":",
        "\"id\":1,",
        "\"method\":",
        "\"params\":[",
        "\"result\":",
        "\"error\":{}",
        "\"subscription\":",
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"eth_a\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"eth_chainId\",\"params\":[]}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"eth_b\",\"params\":null}",
        "{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"eth_subscribe\",\"params\":[\"newHeads\"]}",
        "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"eth_subscribe\",\"params\":[\"syncing\"]}",
        "{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"eth_subscribe\",\"params\":[\"newHeads\"]}",
        "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"eth_subscribe\",\"params\":[\"logs\",{}]}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_blockNumber\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"debug_x\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"eth_unsubscribe\",\"params\":[\"#\"]}",
        "{\"jsonrpc\":\"2.0\",\"id\":#,\"result\":\"0x1\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":#,\"result\":\"0x1\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":#,\"result\":\"0x2\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":#,\"result\":{\"a\":[1]}}",
        "{\"jsonrpc\":\"2.0\",\"id\":#,\"error\":{\"code\":1}}",
        "{\"method\":\"eth_subscription\",\"params\":{\"subscription\":\"0x1\",\"result\":{\"number\":\"0x5\"}}}",
        "{\"method\":\"eth_subscription\",\"params\":{\"subscription\":\"0x2\",\"result\":[]}}",
        "{\"method\":\"eth_subscription\",\"params\":{\"subscription\":\"0x1\",\"result\":{\"number\":\"0x5\"}}}",
        "[{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"eth_a\"},",
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"eth_subscribe\",\"params\":[\"newHeads\"]}]",
        "'",
        "\\ud800",
        "é",
    ];

    #[test]
    fn random_rows() {
        for seed in 0..600 {
            let mut random = Random::seeded(seed);
            let mut data = Vec::new();
            for _ in 0..80 {
                // Mostly words that belong to the step.
                let step = random.next_u64() as u8;
                data.push(step);
                let count = [1, 1, 1, 1, 2, 5][random.below(6) as usize];
                for _ in 0..count {
                    let from = match step >> 5 {
                        1 | 2 | 5 if count < 5 => 21 + random.below(10),
                        3 | 4 if count < 5 => 31 + random.below(8),
                        _ => random.below(WORDS.len() as u64),
                    };
                    data.extend_from_slice(WORDS[from as usize].as_bytes());
                }
                data.push(0);
            }
            jsonrpc(&data);
        }
    }
}
