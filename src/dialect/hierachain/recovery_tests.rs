#![allow(clippy::unwrap_used)]
use super::recovery::SINCE_MAX;
use super::tests::{Chain, error};
use super::*;
use crate::dialect::testing::House;
use crate::hub::{ChannelOptions, HubLimits, SessionLimits};

/// Chains `sc` and `all` keep 3.
fn kept() -> Chain {
    let limits = SessionLimits {
        bad_messages_per_minute: 0,
        ..SessionLimits::default()
    };
    let house = House::with_limits(HubLimits::default(), limits);
    let chains = ["sc", "all"].map(|chain| ChannelOptions::of(chain).history_messages_max(3));
    let channels = HieraChain::channels_of(&chains, HieraChainMode::Auto);
    Chain::with_channels(house, HieraChainOptions::default(), &channels)
}

fn positions(text: &str) -> Vec<String> {
    let parts = text.split("\"position\":\"").skip(1);
    parts
        .map(|part| part.split_once('"').unwrap().0.to_owned())
        .collect()
}

/// With the positions left out, which are drawn.
fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for (at, position) in positions(text.clone().as_str()).iter().enumerate() {
        text = text.replace(position, &format!("P{at}"));
    }
    text
}

#[test]
fn who_asks_for_nothing_is_told_nothing() {
    let mut chain = kept();
    let (a, b, c) = (chain.guide("sc"), chain.server("sc"), chain.guide("sc"));
    let said = chain.says(
        c,
        r#"{"action":"subscribe","chain_name":"sc","positions":true}"#,
    );
    assert_eq!(
        said.iter().map(|s| plain(s)).collect::<Vec<_>>(),
        [
            r#"{"type":"subscribed","chain_name":"sc","positions":[{"chain_name":"sc","position":"P0"}]}"#
        ]
    );
    assert_eq!(chain.block("sc"), r#"{"delivered":3}"#);
    let block = r#"{"type":"new_block","chain_name":"sc","data":{}"#;
    assert_eq!(chain.texts(a), [format!("{block}}}")]);
    assert!(chain.texts(b)[0].ends_with(r#""timestamp":"2026-11-20T10:30:53.557000"}"#));
    let got = plain(&chain.texts(c)[0]);
    let places = r#","positions":[{"chain_name":"sc","position":"P0"},{"chain_name":"all","position":"P1"}]}"#;
    assert_eq!(got, [block, places].concat());
    // `false` says nothing, and so does what is no member of `subscribe`.
    for quiet in [
        r#"{"action":"subscribe","chain_name":"sc","positions":false,"other":1}"#,
        r#"{"action":"unsubscribe","chain_name":"x","since":1,"positions":true}"#,
    ] {
        assert_eq!(chain.says(a, quiet), [""; 0]);
    }
    assert_eq!(
        chain.says(a, r#"{"action":"ping","rewind":"all"}"#).len(),
        1
    );
    chain.block("sc");
    assert_eq!(chain.texts(a), [format!("{block}}}")]);
}

#[test]
fn what_is_wrong_is_said_and_changes_nothing() {
    let mut chain = kept();
    let good = "4f1c2a90.17.7a0d55e1";
    let many =
        vec![format!(r#"{{"chain_name":"sc","position":"{good}"}}"#); SINCE_MAX + 1].join(",");
    let since = "`since` is a position, or a list of objects as they stand in `positions`";
    let both = "either `since` or `rewind` says where to begin, not both";
    let rewind = "`rewind` is a number of messages, a time like 30s, 5m or 1h, or `all`";
    let form = "`since`: a position is given back as it was received, like 4f1c2a90.17.7a0d55e1";
    for (members, why) in [
        (format!(r#""since":"{good}","rewind":1"#), both),
        (r#""since":"17""#.to_owned(), form),
        (r#""since":"""#.to_owned(), form),
        (r#""since":7"#.to_owned(), since),
        (r#""since":null"#.to_owned(), since),
        (r#""since":{}"#.to_owned(), since),
        (r#""since":["x"]"#.to_owned(), since),
        (format!(r#""since":[{{"position":"{good}"}}]"#), since),
        (r#""since":[{"chain_name":"sc"}]"#.to_owned(), since),
        (
            format!(r#""since":[{{"chain_name":"sc","event_type":7,"position":"{good}"}}]"#),
            since,
        ),
        (
            r#""since":[{"chain_name":"sc","position":"x"}]"#.to_owned(),
            form,
        ),
        (format!(r#""since":[{many}]"#), since),
        (r#""rewind":"soon""#.to_owned(), rewind),
        (r#""rewind":-1"#.to_owned(), rewind),
        (r#""rewind":1.5"#.to_owned(), rewind),
        (r#""rewind":true"#.to_owned(), rewind),
        (r#""rewind":99999999999"#.to_owned(), rewind),
        (
            r#""positions":"yes""#.to_owned(),
            "`positions` is true or false",
        ),
        (
            r#""positions":1,"since":7"#.to_owned(),
            "`positions` is true or false",
        ),
    ] {
        let (a, b) = (chain.house.join(chain.ws, "/ws", &[]), chain.server("x"));
        let said = chain.says(
            a,
            &format!(r#"{{"action":"subscribe","chain_name":"sc",{members}}}"#),
        );
        assert_eq!(
            said,
            error(&format!("Invalid subscription: {why}")),
            "{members}"
        );
        let said = chain.says(
            b,
            &format!(r#"{{"type":"subscribe","chain_name":"sc",{members}}}"#),
        );
        assert_eq!(
            said,
            error(&format!("Failed to subscribe: {why}")),
            "{members}"
        );
        assert_eq!(chain.block("sc"), r#"{"delivered":0}"#);
        assert_eq!(chain.block("x"), r#"{"delivered":1}"#);
        assert_eq!((chain.house.closed(a), chain.house.closed(b)), (None, None));
        chain.house.leave(a);
        chain.house.leave(b);
    }
    let b = chain.server("x");
    let several =
        format!(r#"{{"type":"subscribe","chain_name":"sc","event_types":["q"],"since":"{good}"}}"#);
    let why =
        "`since` is one position, and this command is not one subscription: give a list of them";
    assert_eq!(
        chain.says(b, &several),
        error(&format!("Failed to subscribe: {why}"))
    );
}

#[test]
fn a_position_of_another_chain_is_a_gap() {
    let mut chain = kept();
    chain.block("sc");
    let other = "00000000.17.00000000";
    let a = chain.house.join(chain.ws, "/ws", &[]);
    let said = chain.says(
        a,
        &format!(r#"{{"action":"subscribe","chain_name":"sc","since":"{other}"}}"#),
    );
    assert!(said[0].ends_with(r#","recovered":false}]}"#), "{said:?}");
    assert_eq!(said[1], r#"{"type":"gap","missed":null}"#);
    assert!(said[2].starts_with(r#"{"type":"new_block","#) && said.len() == 3);
    assert_eq!(chain.house.closed(a), None);
    // A list may speak of others too; what it does not speak of begins now.
    let b = chain.house.join(chain.ws, "/ws", &[]);
    let said = chain.says(
        b,
        &format!(
            r#"{{"action":"subscribe","chain_name":"sc","since":[{{"chain_name":"x","position":"{other}"}},{{"chain_name":"sc","event_type":"q","position":"{other}"}}]}}"#
        ),
    );
    assert!(said[0].ends_with(r#""}]}"#) && said.len() == 1, "{said:?}");
}

#[test]
fn rewind_gives_what_is_kept_in_both_vocabularies() {
    let mut chain = kept();
    for n in 1..=5 {
        let body = format!(r#"{{"chain_name":"sc","kind":"block","data":{{"n":{n}}}}}"#);
        assert_eq!(chain.publish(&body), (200, r#"{"delivered":0}"#.into()));
        chain.house.pass(1000);
    }
    for (rewind, first) in [
        ("2", 4),
        ("\"1\"", 5),
        ("\"all\"", 3),
        ("\"1h\"", 3),
        ("0", 6),
        ("\"2s\"", 4),
    ] {
        for command in [
            r#"{"action":"subscribe","chain_name":"sc""#,
            r#"{"action":"subscribe","chain_name":"all""#,
            r#"{"type":"subscribe","chain_name":"sc","event_types":["q"]"#,
        ] {
            let a = chain.house.join(chain.ws, "/ws", &[]);
            let said = chain.says(a, &format!("{command},\"rewind\":{rewind}}}"));
            let skip = said
                .iter()
                .position(|s| s.contains("\"subscribed\""))
                .unwrap();
            assert!(!said[skip].contains("recovered"));
            let got: Vec<bool> = said[skip + 1..]
                .iter()
                .zip(first..)
                .map(|(s, n)| s.contains(&format!("\"data\":{{\"n\":{n}}}")))
                .collect();
            assert_eq!(got, vec![true; 6 - first], "{command} {rewind}: {said:?}");
            chain.house.leave(a);
        }
    }
}

#[test]
fn a_subscription_that_is_there_goes_on_or_begins_anew() {
    let mut chain = kept();
    let a = chain.guide("sc");
    chain.block("sc");
    chain.texts(a);
    let ask = r#"{"action":"subscribe","chain_name":"sc","positions":true}"#;
    let first = positions(&chain.says(a, ask)[0]);
    chain.block("sc");
    let block = chain.texts(a).remove(0);
    assert_eq!(positions(&chain.says(a, ask)[0])[0], positions(&block)[0]);
    // Once more from where it was.
    let since = format!(
        r#"{{"action":"subscribe","chain_name":"sc","since":"{}"}}"#,
        first[0]
    );
    let said = chain.says(a, &since);
    assert_eq!(said[1..], [block]);
    // What is subscribed to later without a word of positions has them too.
    assert_eq!(
        chain.says(a, r#"{"action":"subscribe","chain_name":"x"}"#),
        [""; 0]
    );
    chain.block("x");
    assert_eq!(positions(&chain.texts(a)[0]).len(), 2, "x and all");
}

#[test]
fn options_of_chains_become_options_of_channels() {
    let chains = [
        ChannelOptions::of("sc").history_messages_max(1),
        ChannelOptions::of("o*"),
    ];
    let names = |mode| {
        let channels = HieraChain::channels_of(&chains, mode);
        assert!(
            channels
                .iter()
                .all(|options| options.check_internal().is_ok())
        );
        channels
            .into_iter()
            .map(|options| options.names)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(HieraChainMode::Server), ["ssc", "ssc\u{1f}*", "so*"]);
    assert_eq!(names(HieraChainMode::Guide), ["gsc", "gsc\u{1f}*", "go*"]);
    assert_eq!(names(HieraChainMode::Auto).len(), 6);
}
