#![allow(clippy::unwrap_used)]
use super::*;
use crate::dialect::testing::{Got, House, Id};
use crate::hub::{ChannelOptions, HubLimits, SessionLimits};
use crate::ws::CloseCode;

pub(super) struct Chain {
    pub(super) house: House,
    pub(super) ws: usize,
    status: usize,
    ingest: usize,
}

impl Chain {
    fn new(options: HieraChainOptions) -> Self {
        Self::in_house(House::new(), options)
    }

    fn in_house(house: House, options: HieraChainOptions) -> Self {
        Self::with_channels(house, options, &[])
    }

    pub(super) fn with_channels(
        mut house: House,
        options: HieraChainOptions,
        channels: &[ChannelOptions],
    ) -> Self {
        let chain = HieraChain::new(options);
        let status = house.route("/ws/status", chain.status());
        let ingest = house.route("/hierachain/publish", chain.ingest());
        let ws = house.route_with("/ws", chain, channels);
        Self {
            house,
            ws,
            status,
            ingest,
        }
    }

    /// A session in server mode, its welcome read.
    pub(super) fn server(&mut self, chain: &str) -> Id {
        let id = self
            .house
            .join(self.ws, &format!("/ws?chain_name={chain}"), &[]);
        assert_eq!(self.texts(id).len(), 1);
        id
    }

    /// A session in guide mode with one subscription.
    pub(super) fn guide(&mut self, chain: &str) -> Id {
        let id = self.house.join(self.ws, "/ws", &[]);
        self.house.text(
            id,
            &format!(r#"{{"action":"subscribe","chain_name":"{chain}"}}"#),
        );
        assert_eq!(self.house.got(id), []);
        id
    }

    pub(super) fn texts(&mut self, id: Id) -> Vec<String> {
        self.house
            .got(id)
            .iter()
            .map(|got| got.text().to_owned())
            .collect()
    }

    pub(super) fn says(&mut self, id: Id, text: &str) -> Vec<String> {
        self.house.text(id, text);
        self.texts(id)
    }

    pub(super) fn publish(&mut self, body: &str) -> (u16, String) {
        let answer =
            self.house
                .request(self.ingest, "POST", "/hierachain/publish", body.as_bytes());
        (answer.status, String::from_utf8(answer.body).unwrap())
    }

    pub(super) fn block(&mut self, chain: &str) -> String {
        self.publish(&format!(
            r#"{{"chain_name":"{chain}","kind":"block","data":{{}}}}"#
        ))
        .1
    }

    fn status(&mut self) -> String {
        let answer = self.house.request(self.status, "GET", "/ws/status", b"");
        String::from_utf8(answer.body).unwrap()
    }
}

pub(super) fn error(message: &str) -> Vec<String> {
    vec![format!("{{\"type\":\"error\",\"message\":\"{message}\"}}")]
}

#[test]
fn hc_1_the_welcome_comes_first_and_names_the_session() {
    let mut chain = Chain::new(HieraChainOptions::default());
    let a = chain.house.join(chain.ws, "/ws?chain_name=s%22c", &[]);
    let welcome = chain.texts(a).remove(0);
    let (head, rest) = welcome.split_at(r#"{"type":"connected","connection_id":""#.len());
    let (id, rest) = rest.split_at(32);
    assert_eq!(head, r#"{"type":"connected","connection_id":""#);
    assert!(
        id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "{id}"
    );
    assert_eq!(
        rest,
        r#"","message":"Connected to HieraChain WebSocket","chain_name":"s\"c"}"#
    );
    let info = chain.says(a, r#"{"type":"get_connection_info"}"#).remove(0);
    assert_eq!(
        info,
        format!(
            "{{\"type\":\"connection_info\",\"data\":{{\"connection_id\":\"{id}\",\"chain_name\":\"s\\\"c\",\
             \"event_types\":[],\"subscribed_at\":\"2026-11-20T10:30:53.557000\",\"metadata\":{{}}}}}}"
        )
    );
}

#[test]
fn hc_4_server_mode_typed_delivery_is_on_top_of_the_chain() {
    let mut chain = Chain::new(HieraChainOptions::default());
    let a = chain.server("sc");
    chain.says(
        a,
        r#"{"type":"subscribe","chain_name":"sc","event_types":["qc",7,null,"qc"]}"#,
    );
    for (event_type, delivered) in [("qc", 1), ("zz", 0), ("7", 0)] {
        let body = format!(
            r#"{{"chain_name":"sc","kind":"event","event_type":"{event_type}","data":{{}}}}"#
        );
        assert_eq!(
            chain.publish(&body),
            (200, format!("{{\"delivered\":{delivered}}}"))
        );
    }
    assert_eq!(chain.block("sc"), "{\"delivered\":1}");
    let got = chain.texts(a);
    assert_eq!(
        got[0],
        r#"{"type":"event","chain_name":"sc","data":{},"optimized":true,"timestamp":"2026-11-20T10:30:53.557000","event_type":"qc"}"#
    );
    assert!(
        got[1].starts_with(r#"{"type":"block_added","chain_name":"sc","#) && got.len() == 2,
        "{got:?}"
    );
    // Without the list the typed delivery ends, and the information says so.
    chain.says(a, r#"{"type":"subscribe","chain_name":"sc"}"#);
    let info = chain.says(a, r#"{"type":"get_connection_info"}"#).remove(0);
    assert!(
        info.contains(r#""chain_name":"sc","event_types":[],"#),
        "{info}"
    );
    let typed = chain.publish(r#"{"chain_name":"sc","kind":"event","event_type":"qc","data":{}}"#);
    assert_eq!(typed.1, "{\"delivered\":0}");
}

#[test]
fn hc_5_a_refused_subscription_changes_nothing() {
    let limits = SessionLimits {
        subscriptions_max: 3,
        bad_messages_per_minute: 0,
        ..SessionLimits::default()
    };
    let mut chain = Chain::in_house(
        House::with_limits(HubLimits::default(), limits),
        HieraChainOptions::default(),
    );
    let a = chain.server("sc");
    chain.says(
        a,
        r#"{"type":"subscribe","chain_name":"sc","event_types":["x","y"]}"#,
    );
    let before = chain.says(a, r#"{"type":"get_connection_info"}"#);
    let too_many = (0..129)
        .map(|n| n.to_string())
        .collect::<Vec<_>>()
        .join(",");
    for (chain_name, event_types, why) in [
        (r#""new""#, r#"["p","q","r"]"#, "Failed to subscribe"),
        (r#""a\u0000""#, "[]", "Failed to subscribe"),
        (r#""\ud800""#, "[]", "Failed to subscribe"),
        (r#""sc""#, r#"["\ud800"]"#, "Failed to subscribe"),
        ("[]", "[]", "An internal error occurred"),
        ("{}", "[]", "An internal error occurred"),
        (r#""sc""#, r#"["x",{"y":1}]"#, "An internal error occurred"),
        (r#""sc""#, r#"["x",""]"#, "Failed to subscribe"),
        (r#""sc""#, &format!("[{too_many}]"), "Failed to subscribe"),
    ] {
        let text = format!(
            r#"{{"type":"subscribe","chain_name":{chain_name},"event_types":{event_types}}}"#
        );
        assert_eq!(chain.says(a, &text), error(why), "{text}");
        assert_eq!(chain.says(a, r#"{"type":"get_connection_info"}"#), before);
        chain.house.hub.check_invariants();
    }
    assert_eq!(chain.block("sc"), "{\"delivered\":1}");
    assert_eq!(chain.house.hub.channels(), 3);
}

#[test]
fn hc_5_no_message_closes_the_connection_until_there_are_too_many() {
    let mut chain = Chain::new(HieraChainOptions::default());
    let a = chain.server("sc");
    for _ in 0..20 {
        assert_eq!(chain.says(a, "nonsense"), error("Invalid JSON"));
    }
    assert_eq!(chain.house.closed(a), None);
    assert_eq!(chain.says(a, "nonsense"), [""; 0]);
    assert_eq!(chain.house.closed(a), Some(CloseCode::POLICY));
    assert_eq!(chain.house.hub.metrics().refused("bad_message"), 21);
}

#[test]
fn hc_5_depth_is_bounded() {
    let mut chain = Chain::new(HieraChainOptions::default());
    let a = chain.server("sc");
    let ping = |depth| {
        format!(
            r#"{{"type":"ping","timestamp":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert!(chain.says(a, &ping(127))[0].starts_with(r#"{"type":"pong""#));
    assert_eq!(chain.says(a, &ping(128)), error("Invalid JSON"));
    let data = format!(r#"{{"x":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    let body = format!(r#"{{"chain_name":"sc","kind":"block","data":{data}}}"#);
    assert_eq!(chain.publish(&body).0, 400);
}

#[test]
fn hc_6_undecided_sessions_stay_so_until_a_key_tells() {
    let mut chain = Chain::new(HieraChainOptions::default());
    let a = chain.house.join(chain.ws, "/ws", &[]);
    assert_eq!(chain.says(a, "{}"), error("Unknown message type: "));
    assert_eq!(chain.says(a, "nonsense"), error("Invalid JSON"));
    chain.house.binary(a, b"{}");
    assert_eq!(chain.texts(a), error("An internal error occurred"));
    assert_eq!(
        chain.says(a, r#"{"type":"x","action":"y"}"#),
        error("Unknown action: y")
    );
    assert_eq!(
        chain.says(a, r#"{"type":"ping"}"#),
        error("Unknown action: "),
        "decided for good"
    );
    let b = chain.house.join(chain.ws, "/ws", &[]);
    let got = chain.says(b, r#"{"type":"y"}"#);
    assert_eq!(got.len(), 2);
    assert!(
        got[0].starts_with(r#"{"type":"connected""#) && got[0].ends_with(r#""chain_name":"all"}"#)
    );
    assert_eq!(got[1..], error("Unknown message type: y"));
}

#[test]
fn the_mode_can_be_fixed() {
    let mut chain = Chain::new(HieraChainOptions {
        mode: HieraChainMode::Guide,
        ..Default::default()
    });
    let a = chain.house.join(chain.ws, "/ws?chain_name=sc", &[]);
    assert_eq!(
        chain.says(a, r#"{"type":"ping"}"#),
        error("Unknown action: ")
    );
    chain.house.text(a, "[]");
    assert_eq!(
        chain.texts(a),
        error("A message must be a JSON object sent as text")
    );
    let mut chain = Chain::new(HieraChainOptions {
        mode: HieraChainMode::Server,
        ..Default::default()
    });
    let b = chain.house.join(chain.ws, "/ws", &[]);
    assert!(chain.texts(b)[0].ends_with(r#""chain_name":"all"}"#));
    assert_eq!(
        chain.says(b, r#"{"action":"ping"}"#),
        error("Unknown message type: ")
    );
}

#[test]
fn hc_8_a_publication_arrives_once_however_many_subscriptions_match() {
    let mut chain = Chain::new(HieraChainOptions::default());
    let a = chain.guide("sc");
    for command in [
        r#"{"action":"subscribe","chain_name":"sc"}"#,
        r#"{"action":"subscribe","chain_name":"sc","event_type":"qc"}"#,
        r#"{"action":"subscribe","chain_name":"all"}"#,
        r#"{"action":"subscribe","chain_name":"all","event_type":"qc"}"#,
    ] {
        assert_eq!(chain.says(a, command), [""; 0]);
    }
    for body in [
        r#"{"chain_name":"sc","kind":"event","data":{"event":"qc"}}"#,
        r#"{"chain_name":"all","kind":"event","event_type":"qc","data":{}}"#,
        r#"{"chain_name":"all","kind":"block","data":{}}"#,
    ] {
        assert_eq!(chain.publish(body), (200, "{\"delivered\":1}".into()));
        assert_eq!(chain.texts(a).len(), 1);
    }
}

#[test]
fn hc_9_unsubscribing_by_pair_by_chain_and_of_everything() {
    let mut chain = Chain::new(HieraChainOptions::default());
    let a = chain.guide("sc");
    chain.says(
        a,
        r#"{"action":"subscribe","chain_name":"sc","event_type":"qc"}"#,
    );
    chain.says(
        a,
        r#"{"action":"subscribe","chain_name":"orders","event_type":"qc"}"#,
    );
    assert_eq!(chain.house.hub.channels(), 3);
    let invalid = chain.says(a, r#"{"action":"unsubscribe","event_type":"qc"}"#);
    assert_eq!(invalid, error("Invalid subscription"), "of which chain?");
    chain.says(
        a,
        r#"{"action":"unsubscribe","chain_name":"sc","event_type":"qc"}"#,
    );
    assert_eq!(
        chain.block("sc"),
        "{\"delivered\":1}",
        "the whole chain is still subscribed"
    );
    chain.says(a, r#"{"action":"unsubscribe","chain_name":"sc"}"#);
    assert_eq!(
        (chain.block("sc"), chain.house.hub.channels()),
        ("{\"delivered\":0}".into(), 1)
    );
    chain.says(a, r#"{"action":"unsubscribe"}"#);
    assert_eq!(chain.house.hub.channels(), 0);
    assert!(chain.status().contains(r#""chains":{},"#));
}

#[test]
fn guide_mode_names_the_limit_that_refuses() {
    let limits = SessionLimits {
        subscriptions_max: 1,
        ..SessionLimits::default()
    };
    let mut chain = Chain::in_house(
        House::with_limits(HubLimits::default(), limits),
        HieraChainOptions::default(),
    );
    let a = chain.guide("sc");
    let refused = chain.says(a, r#"{"action":"subscribe","chain_name":"orders"}"#);
    assert_eq!(
        refused,
        error(
            "Invalid subscription: too many subscriptions: at most 1 per connection (setting subscriptions_max)"
        )
    );
    assert!(chain.status().contains(r#""chains":{"sc":1},"#));
}

#[test]
fn hc_10_pong_in_unix_seconds() {
    let mut chain = Chain::new(HieraChainOptions::default());
    let a = chain.guide("sc");
    let pong = chain.says(a, r#"{"action":"ping"}"#);
    assert_eq!(pong, [r#"{"type":"pong","timestamp":1795170653}"#]);
}

#[test]
fn hc_13_keep_alive_goes_on_while_the_session_is_there() {
    let mut chain = Chain::new(HieraChainOptions {
        ping_ms: 1000,
        ..Default::default()
    });
    let a = chain.server("sc");
    let b = chain.server("sc");
    chain.house.pass(1000);
    assert_eq!(
        chain.texts(a),
        [r#"{"type":"ping","timestamp":"2026-11-20T10:30:54.557000"}"#]
    );
    chain.house.leave(b);
    chain.house.pass(2000);
    assert_eq!(chain.texts(a).len(), 2);
    let mut quiet = Chain::new(HieraChainOptions {
        ping_ms: 0,
        ..Default::default()
    });
    let c = quiet.server("sc");
    quiet.house.pass(100_000);
    assert_eq!(quiet.house.got(c), []);
}

#[test]
fn hc_15_over_the_limit_is_refused_before_the_upgrade() {
    let mut chain = Chain::new(HieraChainOptions {
        max_connections: 2,
        ..Default::default()
    });
    let a = chain.server("sc");
    chain.guide("sc");
    let refused = chain.house.upgrade(chain.ws, "/ws", &[]).unwrap_err();
    assert_eq!(refused.status, 503);
    assert!(
        refused
            .headers
            .iter()
            .any(|(name, _)| name == "Retry-After")
    );
    assert_eq!(
        chain.house.hub.metrics().refused("hierachain_connections"),
        1
    );
    assert!(
        chain
            .status()
            .contains(r#""total_connections":2,"max_connections":2"#)
    );
    chain.house.leave(a);
    chain.server("sc");
    chain.house.is_empty();
    assert!(
        chain
            .status()
            .contains(r#""total_connections":0,"chains":{}"#)
    );
}

#[test]
fn an_ingest_reaches_both_vocabularies_or_neither() {
    let budget = HubLimits {
        memory_budget_bytes: 400,
        ..HubLimits::default()
    };
    let mut chain = Chain::in_house(
        House::with_limits(budget, SessionLimits::default()),
        HieraChainOptions::default(),
    );
    let a = chain.server("sc");
    let b = chain.guide("sc");
    let body = format!(
        r#"{{"chain_name":"sc","kind":"block","data":{{"x":"{}"}}}}"#,
        "x".repeat(150)
    );
    let (status, why) = chain.publish(&body);
    assert_eq!(status, 503);
    assert!(why.contains("memory budget"), "{why}");
    assert_eq!(
        (chain.texts(a), chain.texts(b)),
        (vec![], vec![]),
        "one of the two had room"
    );
    chain.house.leave(b);
    assert_eq!(chain.publish(&body), (200, "{\"delivered\":1}".into()));
}

#[test]
fn ingest_refuses_what_is_not_a_publication() {
    let mut chain = Chain::new(HieraChainOptions::default());
    let a = chain.server("sc");
    let b = chain.guide("all");
    let long = format!(
        r#"{{"chain_name":"{}","kind":"block","data":{{}}}}"#,
        "x".repeat(256)
    );
    for body in [
        "",
        "[]",
        r#"{"chain_name":7,"kind":"block","data":{}}"#,
        r#"{"chain_name":"sc","data":{}}"#,
        r#"{"chain_name":"sc","kind":7,"data":{}}"#,
        r#"{"chain_name":"sc","kind":"block","data":"{}"}"#,
        r#"{"chain_name":"sc","kind":"block","data":null}"#,
        r#"{"chain_name":"sc","kind":"block","event_type":"qc","data":{}}"#,
        r#"{"chain_name":"sc","kind":"event","event_type":null,"data":{}}"#,
        r#"{"chain_name":"sc","kind":"event","event_type":"","data":{}}"#,
        r#"{"chain_name":"s\nc","kind":"event","data":{}}"#,
        &long,
    ] {
        let (status, json) = chain.publish(body);
        assert_eq!(status, 400, "{body}");
        assert!(json.contains("\"detail\":\""), "{json}");
    }
    assert_eq!(
        chain
            .house
            .request(chain.ingest, "POST", "/", &[0xFF])
            .status,
        400
    );
    let refused = chain.house.request(chain.ingest, "PUT", "/", b"");
    assert!(refused.status == 405 && refused.headers.contains(&("Allow".into(), "POST".into())));
    assert_eq!((chain.texts(a), chain.texts(b)), (vec![], vec![]));
    for route in [chain.status, chain.ingest] {
        assert_eq!(
            chain.house.upgrade(route, "/", &[]).unwrap_err().status,
            404
        );
    }
    let long = format!("/ws?chain_name={}", "x".repeat(256));
    assert_eq!(
        chain
            .house
            .upgrade(chain.ws, &long, &[])
            .unwrap_err()
            .status,
        400
    );
}

#[test]
fn details_kept_elsewhere_are_a_reference_in_server_mode() {
    let mut chain = Chain::new(HieraChainOptions::default());
    let a = chain.server("sc");
    let reference = |cid: &str| {
        format!(
            r#"{{"_offchain":true,"cid":"{cid}","note":"Fetch via REST API with resolve_cid=true"}}"#
        )
    };
    let long = "é".repeat(25);
    let shown = format!("{}...{}", "é".repeat(12), "é".repeat(12));
    let whole = "x".repeat(24);
    for (data, expected) in [
        (
            format!(r#"{{"details_cid":"{whole}","details":"x" }}"#),
            format!(
                r#"{{"details_cid":"{whole}","details":{} }}"#,
                reference(&whole)
            ),
        ),
        (
            format!(r#"{{"details":{{"a":[1]}},"details_cid":"{long}"}}"#),
            format!(
                r#"{{"details":{},"details_cid":"{long}"}}"#,
                reference(&shown)
            ),
        ),
        (
            r#"{"details_cid":"q\""}"#.into(),
            format!(
                r#"{{"details_cid":"q\"","details":{}}}"#,
                reference("q\\\"")
            ),
        ),
        (
            r#"{"details_cid":"","details":1}"#.into(),
            r#"{"details_cid":"","details":1}"#.into(),
        ),
        (
            r#"{"details_cid":null,"details":1}"#.into(),
            r#"{"details_cid":null,"details":1}"#.into(),
        ),
    ] {
        let body = format!(r#"{{"chain_name":"sc","kind":"event","data":{data}}}"#);
        assert_eq!(chain.publish(&body).1, "{\"delivered\":1}");
        let got = chain.texts(a).remove(0);
        let opening =
            format!(r#"{{"type":"event","chain_name":"sc","data":{expected},"optimized":true,"#);
        assert!(got.starts_with(&opening), "{got}\n{opening}");
    }
}

#[test]
fn binary_is_no_command() {
    let mut chain = Chain::new(HieraChainOptions::default());
    let a = chain.server("sc");
    chain.house.binary(a, br#"{"type":"ping"}"#);
    let expected = Got::Text(error("An internal error occurred").remove(0));
    assert_eq!(chain.house.got(a), [expected]);
}

#[cfg(not(feature = "hierachain-history"))]
#[test]
fn positions_need_their_feature() {
    let mut chain = Chain::new(HieraChainOptions::default());
    let (a, b) = (chain.house.join(chain.ws, "/ws", &[]), chain.server("x"));
    let why = "this build has no positions: build it with the feature `hierachain-history`";
    for member in ["\"since\":\"x\"", "\"rewind\":1", "\"positions\":true"] {
        let said = chain.says(
            a,
            &format!(r#"{{"action":"subscribe","chain_name":"sc",{member}}}"#),
        );
        assert_eq!(said, error(&format!("Invalid subscription: {why}")));
        let said = chain.says(
            b,
            &format!(r#"{{"type":"subscribe","chain_name":"sc",{member}}}"#),
        );
        assert_eq!(said, error(&format!("Failed to subscribe: {why}")));
    }
    assert_eq!(chain.block("sc"), "{\"delivered\":0}");
    // What is no member of `subscribe` is passed over, as ever.
    let said = chain.says(
        a,
        r#"{"action":"subscribe","chain_name":"sc","other":1,"Since":2}"#,
    );
    assert_eq!(said, [""; 0]);
    assert_eq!(chain.block("sc"), "{\"delivered\":1}");
}
