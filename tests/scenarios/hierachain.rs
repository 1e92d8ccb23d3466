//! HieraChain's clients that come back (feature `hierachain-history`): nothing is missed without a word, nothing comes
//! twice.

use std::collections::{BTreeMap, BTreeSet};

use dunlin::dialect::{HieraChain, HieraChainMode};
use dunlin::hub::ChannelOptions;
use dunlin::random::Random;
use dunlin::server::{Keys, RouteSettings, WorkerSettings};
use dunlin::sim::{Client, World};
use dunlin::token::{Action, Grant, Rights};
use serde_json::Value;

/// Chains `sc` and `all` keep so many, `brief` 3, all others nothing.
fn house(kept: u32, route: impl FnOnce(&mut RouteSettings)) -> World {
    let mut world = World::new(WorkerSettings::default());
    let chains = [
        ChannelOptions::of("sc").history_messages_max(kept),
        ChannelOptions::of("all").history_messages_max(kept),
        ChannelOptions::of("brief*").history_messages_max(3),
    ];
    let mut settings = RouteSettings {
        channels: HieraChain::channels_of(&chains, HieraChainMode::Auto),
        ..RouteSettings::default()
    };
    settings.messages_per_second = 0;
    route(&mut settings);
    world.route_with("/ws", settings, HieraChain::default);
    world.route("/publish", || HieraChain::default().ingest());
    world
}

fn publish(world: &mut World, body: &str) {
    let length = body.len();
    let answer = world.request(format!(
        "POST /publish HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

fn block(world: &mut World, chain: &str, n: u32) {
    let body = format!(r#"{{"chain_name":"{chain}","kind":"block","data":{{"n":{n}}}}}"#);
    publish(world, &body);
}

fn event(world: &mut World, chain: &str, event_type: &str, n: u32) {
    let body = format!(
        r#"{{"chain_name":"{chain}","kind":"event","event_type":"{event_type}","data":{{"n":{n}}}}}"#
    );
    publish(world, &body);
}

fn said(client: &mut Client) -> Vec<Value> {
    let texts = client.texts();
    texts
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

/// The numbers of what was published, without what was said of it.
fn numbers(messages: &[Value]) -> Vec<u64> {
    messages
        .iter()
        .filter_map(|m| m["data"]["n"].as_u64())
        .collect()
}

/// A chain and a type of its events, or "".
type Subscription = (String, String);

fn named(place: &Value) -> Subscription {
    let text = |key: &str| place[key].as_str().unwrap_or_default().to_owned();
    (text("chain_name"), text("event_type"))
}

/// A client as they should be: it keeps the last position of each subscription that this connection has confirmed, and
/// gives it back. It checks that what it gets follows something that it had.
#[derive(Default)]
struct Careful {
    subscriptions: Vec<Subscription>,
    confirmed: BTreeSet<Subscription>,
    stands: BTreeMap<Subscription, String>,
    /// What came last in each that is confirmed.
    newest: BTreeMap<Subscription, u64>,
    /// All positions that it has heard of.
    heard: BTreeSet<String>,
    got: Vec<u64>,
    gaps: u32,
    /// It does not say all its commands at once. If it is dropped between two confirmations, what came by the first
    /// subscription comes by the second again.
    in_turns: bool,
}

impl Careful {
    fn new(subscriptions: &[(&str, &str)]) -> Self {
        let owned = subscriptions
            .iter()
            .map(|(c, t)| ((*c).to_owned(), (*t).to_owned()));
        Self {
            subscriptions: owned.collect(),
            ..Self::default()
        }
    }

    /// What it says when it comes, in the guide's words.
    fn commands(&mut self) -> Vec<String> {
        self.confirmed.clear();
        self.newest.clear();
        let command = |subscription: &Subscription| {
            let (chain, event_type) = subscription;
            let mut text = format!(r#"{{"action":"subscribe","chain_name":"{chain}""#);
            if !event_type.is_empty() {
                text += &format!(r#","event_type":"{event_type}""#);
            }
            match self.stands.get(subscription) {
                Some(position) => text + &format!(r#","since":"{position}"}}"#),
                None => text + r#","positions":true}"#,
            }
        };
        self.subscriptions.iter().map(command).collect()
    }

    fn hear(&mut self, messages: &[Value]) {
        for message in messages {
            let places = message["positions"].as_array();
            match message["type"].as_str().unwrap() {
                "subscribed" => {
                    for place in places.unwrap() {
                        assert_ne!(place["recovered"], false);
                        let at = place["position"].as_str().unwrap().to_owned();
                        self.heard.insert(at.clone());
                        self.confirmed.insert(named(place));
                        self.stands.insert(named(place), at);
                    }
                }
                "gap" => self.gaps += 1,
                "new_block" | "new_event" => {
                    let n = message["data"]["n"].as_u64().unwrap();
                    self.got.push(n);
                    let mine = |place: &&Value| self.confirmed.contains(&named(place));
                    let mine: Vec<_> = places.unwrap().iter().filter(mine).collect();
                    assert!(!mine.is_empty(), "{message}");
                    for place in &mine {
                        let at = place["position"].as_str().unwrap();
                        match place["previous"].as_str() {
                            Some(previous) => assert!(self.heard.contains(previous), "{message}"),
                            None => assert!(at.contains(".1."), "{message}"),
                        }
                        self.stands.insert(named(place), at.to_owned());
                        let before = self.newest.insert(named(place), n);
                        assert!(self.in_turns || before < Some(n), "{before:?}: {message}");
                    }
                    for place in places.unwrap() {
                        let at = place["position"].as_str().unwrap();
                        self.heard.insert(at.to_owned());
                    }
                }
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn who_is_dropped_among_many_blocks_gets_all_of_them() {
    let mut world = house(1_000, |_| {});
    let mut careful = Careful::new(&[("sc", "")]);
    let mut n = 0;
    for _ in 0..5 {
        let mut client = world.connect("/ws");
        for command in careful.commands() {
            client.send_text(&command);
        }
        for _ in 0..40 {
            block(&mut world, "sc", n);
            n += 1;
        }
        careful.hear(&said(&mut client));
        client.stop_reading();
        for _ in 0..40 {
            block(&mut world, "sc", n);
            n += 1;
        }
        // What was on its way is lost.
        client.reset();
        block(&mut world, "sc", n);
        n += 1;
    }
    let mut client = world.connect("/ws");
    client.send_text(&careful.commands()[0]);
    careful.hear(&said(&mut client));
    let all: Vec<u64> = (0..u64::from(n)).collect();
    assert_eq!((careful.got, careful.gaps), (all, 0));
    world.check_idle();
}

#[test]
fn what_is_not_kept_any_more_is_announced_in_both_vocabularies() {
    let mut world = house(5, |_| {});
    for (target, subscribe, chain) in [
        ("/ws", r#"{"action":"subscribe","chain_name":"sc""#, "sc"),
        (
            "/ws?chain_name=all",
            r#"{"type":"subscribe","chain_name":"sc""#,
            "sc",
        ),
    ] {
        let mut client = world.connect(target);
        client.send_text(&format!("{subscribe},\"positions\":true}}"));
        block(&mut world, chain, 1);
        let messages = said(&mut client);
        let last = messages.last().unwrap();
        let at = last["positions"][0]["position"]
            .as_str()
            .unwrap()
            .to_owned();
        client.reset();
        for n in 2..=9 {
            block(&mut world, chain, n);
        }
        let mut client = world.connect(target);
        client.texts();
        client.send_text(&format!("{subscribe},\"since\":\"{at}\"}}"));
        let messages = said(&mut client);
        assert_eq!(messages[0]["type"], "subscribed");
        assert_eq!(messages[0]["positions"][0]["recovered"], false);
        assert_eq!(messages[1].to_string(), r#"{"missed":3,"type":"gap"}"#);
        assert_eq!(numbers(&messages), [5, 6, 7, 8, 9]);
        // It goes on.
        block(&mut world, chain, 10);
        assert_eq!(numbers(&said(&mut client)), [10]);
        client.reset();
    }
    world.check_idle();
}

#[test]
fn two_subscriptions_of_the_same_get_it_once() {
    let mut world = house(100, |_| {});
    let both = [("sc", ""), ("sc", "qc")];
    let mut careful = Careful::new(&both);
    let mut client = world.connect("/ws");
    for command in careful.commands() {
        client.send_text(&command);
    }
    event(&mut world, "sc", "qc", 0);
    event(&mut world, "sc", "zz", 1);
    careful.hear(&said(&mut client));
    assert_eq!(careful.got, [0, 1]);
    client.reset();
    event(&mut world, "sc", "qc", 2);
    block(&mut world, "sc", 3);
    event(&mut world, "sc", "qc", 4);
    // One after the other, so that the second is caught up in when the first is live again; and both in one segment.
    for at_once in [false, true] {
        let before = careful.stands.clone();
        let mut client = world.connect("/ws");
        let commands = careful.commands();
        if at_once {
            client.send_texts(commands.iter().map(String::as_str));
        } else {
            for command in &commands {
                client.send_text(command);
            }
        }
        careful.got.clear();
        careful.hear(&said(&mut client));
        assert_eq!(careful.got, [2, 3, 4], "{at_once}");
        careful.stands = before;
        client.reset();
    }
    // Who has heard of the chain only from now on is given what the type missed.
    let mut client = world.connect("/ws");
    client.send_text(r#"{"action":"subscribe","chain_name":"sc","positions":true}"#);
    client.send_text(&careful.commands()[1]);
    assert_eq!(numbers(&said(&mut client)), [2, 4]);
    world.check_idle();
}

#[test]
fn who_reads_slowly_catches_up_or_is_closed_and_comes_back() {
    let limits = |route: &mut RouteSettings| {
        route.session.outbox_bytes_max = 4_000;
        route.session.outbox_soft_bytes = 2_000;
        route.session.outbox_frames_max = 20;
    };
    // One subscription of one channel is given again what waited for it.
    let mut world = house(1_000, limits);
    let mut slow = world.connect("/ws");
    slow.send_text(r#"{"type":"subscribe","chain_name":"sc","positions":true}"#);
    let mut plain = world.connect("/ws?chain_name=sc");
    for client in [&mut slow, &mut plain] {
        client.texts();
        client.stop_reading();
        client.window(1);
    }
    for n in 0..200 {
        block(&mut world, "sc", n);
        world.check_invariants();
    }
    assert_eq!(
        world.refused("slow_consumer"),
        1,
        "who has not asked is closed as ever"
    );
    slow.window(1 << 20);
    slow.resume_reading();
    let all: Vec<u64> = (0..200).collect();
    assert_eq!(numbers(&said(&mut slow)), all);
    slow.reset();
    plain.reset();
    // Several are closed, and come back.
    let mut careful = Careful::new(&[("sc", ""), ("sc", "qc")]);
    let mut client = world.connect("/ws");
    client.send_texts(careful.commands().iter().map(String::as_str));
    careful.hear(&said(&mut client));
    client.stop_reading();
    client.window(1);
    for n in 0..200 {
        event(&mut world, "sc", ["qc", "zz"][n as usize % 2], n);
        world.check_invariants();
    }
    assert_eq!(world.refused("slow_consumer"), 2);
    client.reset();
    let mut client = world.connect("/ws");
    client.send_texts(careful.commands().iter().map(String::as_str));
    careful.hear(&said(&mut client));
    assert_eq!(careful.got, all);
    world.check_idle();
}

#[test]
fn server_mode_recovers_the_chain_and_its_types() {
    let mut world = house(100, |_| {});
    let subscribe = r#"{"type":"subscribe","chain_name":"sc","event_types":["qc","zz"]"#;
    let mut client = world.connect("/ws");
    client.send_text(&format!("{subscribe},\"positions\":true}}"));
    block(&mut world, "sc", 0);
    event(&mut world, "sc", "qc", 1);
    let messages = said(&mut client);
    let places = messages[1]["positions"].as_array().unwrap();
    assert_eq!(messages[0]["type"], "connected");
    let names: Vec<_> = places.iter().map(named).collect();
    let named_of = |event_type: &str| ("sc".to_owned(), event_type.to_owned());
    assert_eq!(names, [named_of(""), named_of("qc"), named_of("zz")]);
    let mut stands: BTreeMap<Subscription, Value> =
        places.iter().map(|p| (named(p), p.clone())).collect();
    for message in &messages[2..] {
        let places = message["positions"].as_array().unwrap();
        assert_eq!(
            places.len(),
            1,
            "a publication has one place in server mode"
        );
        stands.insert(named(&places[0]), places[0].clone());
    }
    client.reset();
    event(&mut world, "sc", "zz", 2);
    block(&mut world, "sc", 3);
    event(&mut world, "sc", "qc", 4);
    event(&mut world, "sc", "other", 5);
    let list = Value::from_iter(stands.into_values()).to_string();
    let mut client = world.connect("/ws");
    client.send_text(&format!("{subscribe},\"since\":{list}}}"));
    let messages = said(&mut client);
    let mut acknowledged = messages[1]["positions"].as_array().unwrap().iter();
    assert!(acknowledged.all(|place| place["recovered"] == true));
    let mut got = numbers(&messages);
    got.sort_unstable();
    assert_eq!(got, [2, 3, 4], "each once");
    event(&mut world, "sc", "qc", 6);
    assert_eq!(numbers(&said(&mut client)), [6]);
    world.check_idle();
}

#[test]
fn what_was_said_before_one_came_takes_the_right_to_history() {
    let key = |histories: &[&str]| {
        let mut rights = Rights::default();
        rights.add(Action::Subscribe, "*").unwrap();
        for chain in histories {
            rights.add(Action::History, chain).unwrap();
        }
        Grant::new("", &rights)
    };
    let keys = Keys::new([])
        .grant("none", key(&[]))
        .grant("one", key(&["sc"]))
        .grant("every", key(&["*"]));
    let mut world = house(100, |route| route.keys = keys);
    for n in 1..=2 {
        block(&mut world, "sc", n);
    }
    for (key, chain, may) in [
        ("none", "sc", false),
        ("one", "sc", true),
        ("one", "all", false),
        ("every", "sc", true),
        ("every", "all", true),
    ] {
        let target = format!("/ws?token={key}");
        let mut client = world.connect(target.as_str());
        let subscribe = format!(r#"{{"action":"subscribe","chain_name":"{chain}""#);
        client.send_text(&format!(r#"{subscribe},"rewind":"all"}}"#));
        let messages = said(&mut client);
        if may {
            assert_eq!(numbers(&messages), [1, 2], "{key} {chain}");
        } else {
            let why = "Invalid subscription: your key or token does not allow to read what was said in this chain before";
            assert_eq!(messages[0]["message"], why);
            assert_eq!(messages.len(), 1);
        }
        // A position that nobody has given out opens nothing else.
        client.send_text(&format!(r#"{subscribe},"since":"00000001.1.00000001"}}"#));
        let messages = said(&mut client);
        assert_eq!(messages[0]["positions"][0]["recovered"], false);
        assert_eq!(messages[1]["type"], "gap");
        assert_eq!(numbers(&messages).len(), if may { 2 } else { 0 });
        client.reset();
    }
    assert_eq!(world.refused("permission"), 2);
    world.check_idle();
}

#[test]
fn lives_that_chance_makes_up() {
    for seed in 0..60 {
        life(seed, seed % 3 == 0);
    }
}

/// Clients with subscriptions that overlap come, are dropped and come back while chains are busy. With enough that is kept
/// each gets all that is for it, once, and in the order of each of its subscriptions.
fn life(seed: u64, in_turns: bool) {
    let mut random = Random::seeded(seed);
    let mut world = house(10_000, |_| {});
    let all: &[(&str, &str)] = &[
        ("sc", ""),
        ("sc", "qc"),
        ("sc", "zz"),
        ("all", ""),
        ("all", "qc"),
    ];
    let mut clients: Vec<(Careful, Option<Client>)> = Vec::new();
    let mut published: Vec<(&str, &str)> = Vec::new();
    for _ in 0..4 {
        let mut mine: Vec<_> = all.to_vec();
        while mine.len() > 1 && random.below(3) > 0 {
            mine.remove(random.below(mine.len() as u64) as usize);
        }
        let mut careful = Careful::new(&mine);
        careful.in_turns = in_turns;
        clients.push((careful, None));
    }
    // All are there at the beginning, so that all is for them.
    for (careful, client) in &mut clients {
        let mut came = world.connect("/ws");
        for command in careful.commands() {
            came.send_text(&command);
        }
        careful.hear(&said(&mut came));
        *client = Some(came);
    }
    for _ in 0..150 {
        match random.below(8) {
            0..=4 => {
                let n = published.len() as u32;
                let chain = ["sc", "sc", "other"][random.below(3) as usize];
                let event_type = ["", "qc", "zz", "none"][random.below(4) as usize];
                match event_type {
                    "" => block(&mut world, chain, n),
                    event_type => event(&mut world, chain, event_type, n),
                }
                published.push((chain, event_type));
            }
            5 => {
                let (careful, client) = &mut clients[random.below(4) as usize];
                if let Some(mut client) = client.take() {
                    if random.below(2) == 0 {
                        careful.hear(&said(&mut client));
                    }
                    client.reset();
                }
            }
            6 => {
                let (careful, client) = &mut clients[random.below(4) as usize];
                if client.is_none() {
                    let mut came = world.connect("/ws");
                    let commands = careful.commands();
                    if random.below(2) == 0 {
                        came.window(1 + random.below(2_000) as usize);
                        came.stop_reading();
                    }
                    if in_turns {
                        commands.iter().for_each(|command| came.send_text(command));
                    } else {
                        came.send_texts(commands.iter().map(String::as_str));
                    }
                    *client = Some(came);
                }
            }
            _ => {
                let (careful, client) = &mut clients[random.below(4) as usize];
                if let Some(client) = client {
                    client.window(1 << 20);
                    client.resume_reading();
                    careful.hear(&said(client));
                }
            }
        }
        world.check_invariants();
    }
    for (careful, client) in &mut clients {
        let mut came = client.take().unwrap_or_else(|| {
            let mut came = world.connect("/ws");
            let commands = careful.commands();
            came.send_texts(commands.iter().map(String::as_str));
            came
        });
        came.window(1 << 20);
        came.resume_reading();
        careful.hear(&said(&mut came));
        let is_for = |(chain, event_type): &(&str, &str), subscription: &Subscription| {
            (subscription.0 == *chain || subscription.0 == "all")
                && (subscription.1.is_empty() || subscription.1 == *event_type)
        };
        let mut expected = Vec::new();
        for (n, what) in published.iter().enumerate() {
            if careful.subscriptions.iter().any(|s| is_for(what, s)) {
                expected.push(n as u64);
            }
        }
        let mut got = careful.got.clone();
        got.sort_unstable();
        if in_turns {
            got.dedup();
        }
        assert_eq!(
            (&got, careful.gaps),
            (&expected, 0),
            "seed {seed}: {:?}",
            careful.subscriptions
        );
        came.reset();
    }
    world.check_idle();
}
