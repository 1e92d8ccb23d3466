//! Bodies of fuzz targets for the dialects: ordinary functions, so that a plain test runs them too.
//!
//! The rule: each names its oracle in the first line of its documentation, and panics when the oracle is violated.

#[cfg(feature = "apigw")]
mod apigw;
#[cfg(feature = "jsonrpc")]
mod jsonrpc;

#[cfg(feature = "jsonrpc")]
pub use jsonrpc::jsonrpc;

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::testing::{Asked, House, Id};
use super::{
    Chat, ChatOptions, Echo, EchoOptions, HieraChain, HieraChainMode, HieraChainOptions, Json,
    JsonHandler, PubSub, PubSubOptions, Tapr, TaprOptions,
};
#[cfg(feature = "presence")]
use crate::hub::ChannelOptions;
use crate::hub::{CallError, Context};
use crate::ws::Message;

/// Oracle: no panic, the hub's invariants hold after each step, every answer of a JSON dialect is JSON, a refused
/// publication reaches nobody and an accepted one as many as its answer says, an application hears of each session
/// `open`, then messages, then `close` exactly once, and an empty house is empty. What holds for `apigw` stands beside its
/// part of this.
///
/// The bytes are a row of steps. Each begins with one that says what happens and to whom; what follows up to the next
/// NUL is the message, the body or the name.
pub fn command(data: &[u8]) {
    let mut world = World::new();
    let mut rest = data;
    for _ in 0..STEPS_MAX {
        let [step, after @ ..] = rest else { break };
        let end = after.iter().position(|b| *b == 0).unwrap_or(after.len());
        let (payload, after) = after.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        world.step(*step, payload);
    }
    world.house.is_empty();
    world.listen();
    #[cfg(feature = "apigw")]
    world.apis.finish(&mut world.house);
    let all_told = world.told.values().all(|closed| *closed);
    assert!(all_told, "no close was told: {:?}", world.told);
}

/// A row of steps costs time, the house does not need more of them.
const STEPS_MAX: usize = 200;

struct World {
    house: House,
    /// Routes whose every answer is JSON.
    json: Vec<usize>,
    /// Route, target and variable of each kind of guest.
    doors: Vec<(usize, &'static str, &'static str)>,
    ingest: usize,
    ch: usize,
    ch_many: usize,
    tapr: usize,
    tapr_list: usize,
    tapr_send: usize,
    tapr_close: usize,
    #[cfg(feature = "apigw")]
    apis: apigw::Apis,
    guests: Vec<(Id, usize)>,
    /// Callbacks that the application has not answered.
    asked: Vec<Asked>,
    /// The sessions it was told of, and whether they are over.
    told: BTreeMap<String, bool>,
}

impl World {
    fn new() -> Self {
        let mut house = House::new();
        let auto = HieraChain::default();
        let guide = HieraChain::new(HieraChainOptions {
            mode: HieraChainMode::Guide,
            acks: true,
            max_connections: 3,
            ..HieraChainOptions::default()
        });
        let status = house.route("/ws/status", auto.status());
        let ingest = house.route("/hierachain/publish", auto.ingest());
        let auto = house.route("/ws", auto);
        let guide = house.route("/guide", guide);
        let sum = house.route("/sum", Json::new(Sum));
        let echo = house.route("/echo", Echo::new(EchoOptions { retype_utf8: true }));
        let chat = house.route("/chat/{group}", Chat::new(ChatOptions { presence: true }));
        #[cfg(not(feature = "presence"))]
        let ch = house.route("/ch/{channel}", PubSub::default());
        // Who is in is held against who is subscribed after every step.
        #[cfg(feature = "presence")]
        let ch = house.route_with(
            "/ch/{channel}",
            PubSub::default(),
            &[ChannelOptions::of("*").presence(true).callback(true)],
        );
        let loud = PubSubOptions {
            clients_publish: true,
            ..PubSubOptions::default()
        };
        let loud = house.route("/loud/{channel}", PubSub::new(loud));
        let ch_many = house.route("/ch", PubSub::default());
        let tapr = Tapr::new(TaprOptions {
            callback: Tapr::callback_url("1", "/").ok().flatten(),
            verbose_close: true,
            reply_from_callback: true,
            ..TaprOptions::default()
        });
        let tapr_list = house.route("/tapr/ws/conn/list", tapr.list());
        let tapr_send = house.route("/tapr/ws/conn/send", tapr.send());
        let tapr_close = house.route("/tapr/ws/conn/close", tapr.close());
        let tapr = house.route("/tapr", tapr);
        #[cfg(feature = "apigw")]
        let apis = apigw::Apis::new(&mut house);
        Self {
            house,
            json: vec![status, auto, guide, sum, tapr],
            doors: vec![
                (auto, "/ws", ""),
                (auto, "/ws?chain_name=sc", ""),
                (guide, "/guide", ""),
                (sum, "/sum", ""),
                (echo, "/echo", ""),
                (chat, "/chat/x", "group"),
                (ch, "/ch/x", "channel"),
                (loud, "/loud/x", "channel"),
                (tapr, "/tapr", ""),
                #[cfg(feature = "apigw")]
                (apis.route, "/apis", ""),
                #[cfg(feature = "presence")]
                (ch, "/ch/x?presence", "channel"),
                #[cfg(feature = "presence")]
                (ch, "/ch/x?member=%7B%22a%22:1%7D", "channel"),
            ],
            ingest,
            ch,
            ch_many,
            tapr,
            tapr_list,
            tapr_send,
            tapr_close,
            #[cfg(feature = "apigw")]
            apis,
            guests: Vec::new(),
            asked: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: u8, payload: &[u8]) {
        let what = step >> 5;
        let who = usize::from(step & 0x1f);
        match (what, std::str::from_utf8(payload)) {
            (0, Ok(name)) => self.join(who, name),
            (1 | 2, Ok(text)) => self.says(who, Message::Text(text)),
            (1..=3, _) => self.says(who, Message::Binary(payload)),
            #[cfg(feature = "apigw")]
            (4, _) if who >= 30 => self.apis.ask(&mut self.house, who == 30, payload),
            (4, _) if who & 3 == 1 => self.control(self.tapr_send, "POST", payload),
            (4, _) if who & 3 == 2 => self.control(self.tapr_close, "POST", payload),
            (4, _) if who & 3 == 3 => self.control(self.tapr_list, "GET", payload),
            (4, _) => self.publish(self.ingest, &[], payload, "\"delivered\":"),
            (5, Ok(name)) => self.publish(self.ch, &[("channel", name)], payload, "\"receivers\":"),
            (6, _) => self.publish(self.ch_many, &[], payload, "\"receivers\":"),
            (7, _) if who < 8 => self.leave(who),
            (7, _) if who >= 28 => self.answer(who, payload),
            (7, _) => self.house.pass(1000 * who as u64),
            _ => {}
        }
        self.read();
        self.listen();
    }

    fn join(&mut self, who: usize, name: &str) {
        let (route, target, variable) = self.doors[who % self.doors.len()];
        let cookie = format!("auth_token={name}");
        let mut headers = vec![("X-Bfl-User", name), ("Cookie", &cookie)];
        // What cannot be written into a header line never reaches a handler.
        if route != self.tapr || !name.bytes().all(|b| matches!(b, b' '..=b'~')) {
            headers.clear();
        }
        let params = [(variable, name)];
        if self.guests.len() < 16
            && let Ok(id) = self.house.upgrade_with(route, target, &headers, &params)
        {
            self.guests.push((id, route));
        }
    }

    fn says(&mut self, who: usize, message: Message<'_>) {
        if let Some((id, _)) = self.guests.get(who % self.guests.len().max(1)) {
            self.house.says(*id, message);
        }
    }

    fn leave(&mut self, who: usize) {
        if who < self.guests.len() {
            let (id, _) = self.guests.swap_remove(who);
            self.house.leave(id);
        }
    }

    /// A publication, and whether it does what its answer says.
    fn publish(&mut self, route: usize, params: &[(&str, &str)], body: &[u8], count: &str) {
        self.read();
        let answer = self
            .house
            .request_with(route, "POST", "/", &[], params, body);
        let json = String::from_utf8(answer.body).expect("an answer is UTF-8");
        assert!(is_json(&json), "{json}");
        let reached: usize = self
            .guests
            .iter()
            .map(|(id, _)| self.house.got(*id).len())
            .sum();
        let said: usize = match answer.status {
            200 => json.split(count).skip(1).map(leading_number).sum(),
            400 | 503 => 0,
            other => panic!("{other}: {json}"),
        };
        assert_eq!(reached, said, "{json}");
    }

    /// A request of the application: one that is refused reaches nobody, and nobody gets a message twice.
    fn control(&mut self, route: usize, method: &str, body: &[u8]) {
        self.read();
        let answer = self.house.request_with(route, method, "/", &[], &[], body);
        assert_eq!(answer.status, 200);
        let answer: Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
        let done = match answer["code"].as_u64() {
            Some(0) => true,
            Some(400 | 503) => false,
            _ => panic!("{answer}"),
        };
        assert_eq!(done, answer["message"] == "success", "{answer}");
        for (id, at) in &self.guests {
            if *at != self.tapr {
                continue;
            }
            let got = self.house.got(*id);
            let most = usize::from(done && route == self.tapr_send);
            assert!(got.len() <= most, "{answer}: {got:?}");
            assert!(got.iter().all(|got| is_json(got.text())), "{got:?}");
            assert!(done || self.house.closed(*id).is_none(), "{answer}");
        }
    }

    /// The application hears what happened.
    fn listen(&mut self) {
        for asked in self.house.calls() {
            #[cfg(feature = "apigw")]
            let Some(asked) = self.apis.keep(asked) else {
                continue;
            };
            // What a client has said stands there as it came, a lone `\ud800` too: RFC 8259 §8.2 leaves that to the reader.
            let body: BTreeMap<String, &RawValue> =
                serde_json::from_slice(&asked.call.body).expect("a body is JSON");
            let text = |name: &str| -> String {
                serde_json::from_str(body[name].get()).expect("a text of ours")
            };
            let (id, action) = (text("conn_id"), text("action"));
            let before = self.told.get(&id).copied();
            let expected = (action != "open").then_some(false);
            assert_eq!(before, expected, "{body:?}");
            self.told.insert(id, action == "close");
            self.asked.push(asked);
        }
    }

    /// The application answers everything it was asked, or nothing of it.
    fn answer(&mut self, how: usize, body: &[u8]) {
        #[cfg(feature = "apigw")]
        self.asked.extend(self.apis.take());
        for asked in std::mem::take(&mut self.asked) {
            match how {
                28 | 29 => self.house.answer(asked, 200, body),
                30 => self.house.answer(asked, 500, body),
                _ => self.house.fail(asked, CallError::Timeout),
            }
        }
    }

    /// Everybody reads what came.
    fn read(&mut self) {
        for (id, route) in &self.guests {
            for got in self.house.got(*id) {
                if self.json.contains(route) {
                    assert!(is_json(got.text()), "{got:?}");
                }
                #[cfg(feature = "apigw")]
                if *route == self.apis.route {
                    self.apis.hear(got.text());
                }
            }
        }
        #[cfg(feature = "apigw")]
        self.apis.collect(&mut self.house);
        let house = &self.house;
        self.guests.retain(|(id, _)| house.closed(*id).is_none());
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn leading_number(text: &str) -> usize {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..digits)
        .and_then(|n| n.parse().ok())
        .expect("a number")
}

struct Sum;

impl JsonHandler for Sum {
    type In = Vec<f64>;
    type Out = f64;
    type State = f64;

    fn on_message(&mut self, _: &mut Context<'_>, sum: &mut f64, numbers: Vec<f64>) -> Option<f64> {
        *sum += numbers.iter().sum::<f64>();
        Some(*sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn steps(rows: &[(u8, &str)]) -> Vec<u8> {
        rows.iter()
            .flat_map(|(step, text)| [&[*step], text.as_bytes(), &[0]].concat())
            .collect()
    }

    #[test]
    fn a_row_of_everything() {
        command(&steps(&[
            (0, ""),
            (1, ""),
            (2, ""),
            (3, ""),
            (4, ""),
            (5, "room"),
            (6, "news"),
            (7, "news"),
            (0x20, r#"{"action":"subscribe","chain_name":"sc"}"#),
            (
                0x22,
                r#"{"action":"subscribe","chain_name":"all","event_type":"qc"}"#,
            ),
            (
                0x21,
                r#"{"type":"subscribe","chain_name":"sc","event_types":["qc"]}"#,
            ),
            (0x23, "[1, 2.5]"),
            (0x65, "hi"),
            (
                0x80,
                r#"{"chain_name":"sc","kind":"event","event_type":"qc","data":{}}"#,
            ),
            (
                0x80,
                r#"{"chain_name":"sc","kind":"event","data":{"event":"qc","details_cid":"x"}}"#,
            ),
            (0xa0, "news"),
            (0xc0, r#"{"channels":["news","other"],"data":7}"#),
            (0xe9, ""),
            (0xe0, ""),
            (8, "alice"),
            (8, "bob"),
            (0x27, r#"{"event":"ping"}"#),
            (0x28, r#"{"event":"x"}"#),
            (0x81, r#"{"users":["alice","bob"],"payload":{}}"#),
            (0x83, ""),
            (0xfc, r#"{"reply":1}"#),
            (0x82, r#"{"users":["bob"]}"#),
            (0xff, ""),
            (0x82, "{}"),
        ]));
    }

    /// Words that make a random row say something.
    const WORDS: [&str; 58] = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\"a\"",
        "\"all\"",
        "\"sc\"",
        "\"qc\"",
        "\"type\":",
        "\"action\":",
        "\"subscribe\"",
        "\"unsubscribe\"",
        "\"ping\"",
        "\"chain_name\":",
        "\"event_type\":",
        "\"event_types\":",
        "\"kind\":",
        "\"event\"",
        "\"block\"",
        "\"data\":",
        "\"details_cid\":",
        "\"details\":",
        "\"batch\":",
        "\"channel\":",
        "\"channels\":",
        "\"get_stats\"",
        "\"get_connection_info\"",
        "\"timestamp\":",
        "null",
        "1e999",
        "\\u0000",
        "\\ud800",
        "é",
        " ",
        "7",
        "\"users\":",
        "\"tokens\":",
        "\"conn_id\":",
        "\"conns\":",
        "\"payload\":",
        "\"users_access_type\":",
        "\"event\":\"ping\"",
        "a",
        "[\"a\",\"\"]",
        "{\"users\":[\"a\"],\"payload\":",
        "{\"tokens\":[\"a\"]",
        "{\"event\":",
        "{\"type\":",
        "{\"action\":\"subscribe\",\"chain_name\":",
        "RG#a",
        "H1",
        "NO",
        "{\"method\":\"POST\",\"path\":\"/x\",\"headers\":{\"x-ca-seq\":\"1\"",
        ",\"x-ca-websocket_api_type\":\"REGISTER\"}}",
        "\"querys\":",
    ];

    #[test]
    fn random_rows() {
        for seed in 0..400 {
            let mut random = Random::seeded(seed);
            let mut data = Vec::new();
            for _ in 0..60 {
                data.push(random.next_u64() as u8);
                for _ in 0..random.below(12) {
                    data.extend_from_slice(
                        WORDS[random.below(WORDS.len() as u64) as usize].as_bytes(),
                    );
                }
                if random.below(8) == 0 {
                    data.push(random.next_u64() as u8);
                }
                data.push(0);
            }
            command(&data);
        }
    }
}
