//! Replays the transcripts of `tests/data/dialect`; the README there explains their lines.

use std::collections::VecDeque;

use super::testing::{Asked, Dialled, Got, House, Id};
use super::{
    ApiGateway, ApiGatewayOptions, BackEnds, Chat, ChatOptions, Echo, Health, HieraChain,
    HieraChainMode, HieraChainOptions, JsonRpc, JsonRpcOptions, MetricsPage, PubSub, PubSubOptions,
    Tapr,
};
use crate::http::{Response, percent_decode};
use crate::hub::LinkEnd;

macro_rules! transcripts {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            Replay::run(include_str!(concat!("../../tests/data/dialect/", stringify!($name), ".txt")));
        }
    )*};
}

transcripts! {
    echo chat chat_presence pubsub hierachain_server hierachain_guide hierachain_guide_acks hierachain_http
    tapr jsonrpc apigw
}

struct Replay {
    house: House,
    /// Path template and number of each route.
    routes: Vec<(&'static str, usize)>,
    sessions: Vec<(String, Id, Vec<Got>)>,
    current: usize,
    answer: Option<Response>,
    /// The node behind the gateway, what it was asked and the id of the last thing it was asked.
    node: Option<Dialled>,
    asked: Vec<String>,
    question: String,
    /// What the back end was asked, and what of it is being answered.
    requests: VecDeque<Asked>,
    request: Option<Asked>,
}

impl Replay {
    fn run(script: &str) {
        let options: Vec<_> = script
            .lines()
            .filter_map(|line| line.strip_prefix("% "))
            .collect();
        let mut replay = Self::new(&options);
        for (number, line) in script.lines().enumerate() {
            replay.line(line, &format!("line {}: {line}", number + 1));
        }
        for at in 0..replay.sessions.len() {
            replay.current = at;
            let left = replay.received().clone();
            assert_eq!(left, [], "{} at the end", replay.sessions[at].0);
        }
        replay.house.is_empty();
    }

    fn new(options: &[&str]) -> Self {
        let has = |name| options.contains(&name);
        let mut house = House::new();
        let mode = match (has("hierachain.guide"), has("hierachain.server")) {
            (true, _) => HieraChainMode::Guide,
            (_, true) => HieraChainMode::Server,
            _ => HieraChainMode::Auto,
        };
        let chain = HieraChain::new(HieraChainOptions {
            mode,
            acks: has("hierachain.acks"),
            ..HieraChainOptions::default()
        });
        let tapr = Tapr::default();
        let presence = has("chat.presence");
        let pubsub = PubSubOptions {
            clients_publish: has("pubsub.clients_publish"),
            ..Default::default()
        };
        let gateway = JsonRpc::new(JsonRpcOptions {
            upstream: vec!["ws://node:8546".parse().expect("an endpoint")],
            ..JsonRpcOptions::default()
        });
        let devices = ApiGateway::new(ApiGatewayOptions {
            back_ends: BackEnds(vec!["/=http://app:3000".parse().expect("a back end")]),
            ..ApiGatewayOptions::default()
        });
        let routes = vec![
            ("/apis", house.route("/apis", devices)),
            ("/", house.route("/", gateway)),
            ("/echo", house.route("/echo", Echo::default())),
            (
                "/chat/{group}",
                house.route("/chat/{group}", Chat::new(ChatOptions { presence })),
            ),
            (
                "/pair/{a}/{b}",
                house.route("/pair/{a}/{b}", Chat::new(ChatOptions { presence })),
            ),
            (
                "/ch/{channel}",
                house.route("/ch/{channel}", PubSub::new(pubsub)),
            ),
            ("/ch", house.route("/ch", PubSub::new(pubsub))),
            ("/ws/status", house.route("/ws/status", chain.status())),
            (
                "/hierachain/publish",
                house.route("/hierachain/publish", chain.ingest()),
            ),
            ("/ws", house.route("/ws", chain)),
            (
                "/tapr/ws/conn/list",
                house.route("/tapr/ws/conn/list", tapr.list()),
            ),
            (
                "/tapr/ws/conn/send",
                house.route("/tapr/ws/conn/send", tapr.send()),
            ),
            (
                "/tapr/ws/conn/close",
                house.route("/tapr/ws/conn/close", tapr.close()),
            ),
            (
                "/tapr/ws/conn/debug",
                house.route("/tapr/ws/conn/debug", tapr.debug()),
            ),
            ("/tapr", house.route("/tapr", tapr)),
            ("/healthz", house.route("/healthz", Health)),
            ("/metrics", house.route("/metrics", MetricsPage)),
        ];
        Self {
            house,
            routes,
            sessions: Vec::new(),
            current: 0,
            answer: None,
            node: None,
            asked: Vec::new(),
            question: String::new(),
            requests: VecDeque::new(),
            request: None,
        }
    }

    fn line(&mut self, line: &str, place: &str) {
        let (sign, rest) = line.split_once(' ').unwrap_or((line, ""));
        match sign {
            "" | "#" | "%" => {}
            "@" => self.choose(rest, place),
            ">" => self.house.text(self.sessions[self.current].1, rest),
            ">x" => self
                .house
                .binary(self.sessions[self.current].1, &bytes(rest)),
            "<" | "<x" => {
                let queue = self.received();
                assert!(!queue.is_empty(), "{place}\nnothing came");
                match (queue.remove(0), sign) {
                    (Got::Text(text), "<") => assert!(fits(&text, rest), "{place}\ncame: {text}"),
                    (Got::Binary(got), "<x") => assert_eq!(got, bytes(rest), "{place}"),
                    (other, _) => panic!("{place}\ncame: {other:?}"),
                }
            }
            "<." => assert_eq!(*self.received(), [], "{place}"),
            "!" => {
                let closed = self
                    .house
                    .closed(self.sessions[self.current].1)
                    .map(|code| code.0.to_string());
                assert_eq!(closed.as_deref(), Some(rest), "{place}");
            }
            "-" => self.house.leave(self.sessions[self.current].1),
            "?" => {
                let (status, target) = rest.split_once(' ').expect(place);
                let refused = self.upgrade(target).expect_err(place);
                assert_eq!(refused.status.to_string(), status, "{place}");
            }
            "=" => {
                let (method, rest) = rest.split_once(' ').expect(place);
                let (target, body) = rest.split_once(' ').unwrap_or((rest, ""));
                let (route, params) = self.find(target);
                let params: Vec<_> = params.iter().map(|(k, v)| (*k, v.as_str())).collect();
                let answer =
                    self.house
                        .request_with(route, method, target, &[], &params, body.as_bytes());
                self.answer = Some(answer);
            }
            ":" => {
                let answer = self.answer.take().expect(place);
                let (status, expected) = rest.split_once(' ').unwrap_or((rest, "§"));
                let body = String::from_utf8_lossy(&answer.body);
                assert_eq!(answer.status.to_string(), status, "{place}\ncame: {body}");
                assert!(fits(&body, expected), "{place}\ncame: {body}");
            }
            "^" => {
                let dialled = self.house.dialled().pop().expect(place);
                self.house.link_opens(&dialled);
                self.node = Some(dialled);
            }
            "^-" => {
                let node = self.node.take().expect(place);
                self.house.link_ends(&node, LinkEnd::Broken);
            }
            "^>" => {
                let text = rest.replace('#', &self.question);
                let node = self.node.clone().expect(place);
                self.house.link_says(&node, &text);
            }
            "^<" => {
                let asked = self.asked();
                assert!(!asked.is_empty(), "{place}\nthe node was asked nothing");
                let asked = asked.remove(0);
                let id = asked.split_once("\"id\":").map_or("", |(_, rest)| rest);
                self.question = id.chars().take_while(char::is_ascii_digit).collect();
                let expected = rest.replace('#', &self.question);
                assert!(
                    fits(&asked, &expected),
                    "{place}\nthe node was asked: {asked}"
                );
            }
            "^." => assert_eq!(*self.asked(), [""; 0], "{place}"),
            "&<" => {
                self.requests.extend(self.house.calls());
                let asked = self.requests.pop_front().expect(place);
                let call = &asked.call;
                let mut lines = call.headers.iter();
                let device = lines.find(|(name, _)| name == "x-ca-deviceid");
                let device = device.map_or("-", |(_, value)| value.as_str());
                let body = String::from_utf8_lossy(&call.body);
                let came = format!("{} {} {device} {body}", call.method, call.target.path);
                assert!(
                    fits(came.trim_end(), rest),
                    "{place}\nthe back end was asked: {came}"
                );
                self.request = Some(asked);
            }
            "&>" => {
                let (status, body) = rest.split_once(' ').unwrap_or((rest, ""));
                let asked = self.request.take().expect(place);
                self.house
                    .answer(asked, status.parse().expect(place), body.as_bytes());
            }
            "&." => assert!(self.house.calls().is_empty(), "{place}"),
            "~" => self.house.pass(rest.parse().expect(place)),
            _ => panic!("{place}\nno such line"),
        }
    }

    fn choose(&mut self, rest: &str, place: &str) {
        if let Some((name, target)) = rest.split_once(' ') {
            let id = self.upgrade(target).expect(place);
            self.sessions.push((name.to_owned(), id, Vec::new()));
        }
        let name = rest.split(' ').next();
        self.current = self
            .sessions
            .iter()
            .position(|(n, ..)| Some(n.as_str()) == name)
            .expect(place);
    }

    fn upgrade(&mut self, target: &str) -> Result<Id, Response> {
        let (route, params) = self.find(target);
        let params: Vec<_> = params.iter().map(|(k, v)| (*k, v.as_str())).collect();
        self.house.upgrade(route, target, &params)
    }

    fn asked(&mut self) -> &mut Vec<String> {
        let node = self.node.as_ref().expect("a node");
        self.asked.append(&mut self.house.link_sent(node));
        &mut self.asked
    }

    fn received(&mut self) -> &mut Vec<Got> {
        let (_, id, queue) = &mut self.sessions[self.current];
        queue.append(&mut self.house.got(*id));
        queue
    }

    /// The route of a target, and its decoded variables.
    fn find(&self, target: &str) -> (usize, Vec<(&'static str, String)>) {
        let path = target.split('?').next().unwrap_or_default();
        let matched = self.routes.iter().find_map(|(template, route)| {
            let mut params = Vec::new();
            let (mut parts, mut wanted) = (path.split('/'), template.split('/'));
            loop {
                match (parts.next(), wanted.next()) {
                    (None, None) => return Some((*route, params)),
                    (Some(part), Some(name)) if name.starts_with('{') => {
                        params.push((
                            name.trim_matches(['{', '}']),
                            percent_decode(part)?.into_owned(),
                        ));
                    }
                    (Some(part), Some(literal)) if part == literal => {}
                    _ => return None,
                }
            }
        });
        matched.unwrap_or_else(|| panic!("no route for {target}"))
    }
}

/// Whether `text` is `pattern`, where each `§` stands for any characters.
fn fits(text: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split('§');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    false
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |c: &u8| (*c as char).to_digit(16).expect("a hexadecimal digit") as u8;
    hex.as_bytes()
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, c| byte << 4 | digit(c)))
        .collect()
}

#[test]
fn wildcards_stand_for_any_characters() {
    for (text, pattern, expected) in [
        ("abc", "abc", true),
        ("abc", "ab", false),
        ("abc", "§", true),
        ("abc", "a§c", true),
        ("abc", "a§b", false),
        ("abcabc", "a§b§c", true),
        ("", "", true),
    ] {
        assert_eq!(fits(text, pattern), expected, "{text} {pattern}");
    }
}
