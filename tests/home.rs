//! Channels that live elsewhere: whatever their home does, nobody has a hole that nobody tells of.
//!
//! The home numbers publications and sends them here; on the way they are lost, doubled and put in another order, and the
//! home itself loses its memory: it goes back to an older state and counts on from there, or begins anew. Clients read
//! slowly, are reset, and come back with what they have seen.
//!
//! `DUNLIN_HOME_SEED=n` replays one seed, `DUNLIN_HOME_SEEDS=n` lives more.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use dunlin::dialect::PubSub;
use dunlin::hub::{ChannelOptions, Incoming, Position, Received};
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{Chooser, Client, World};
use dunlin::ws::Message;

const SEEDS: u64 = 300;
const STEPS: u32 = 120;

/// Whoever numbers the publications.
struct Home {
    /// All of this life, oldest first, with what each says.
    all: Vec<(Position, String)>,
    beginning: Position,
    /// Every position that was ever given, with what stands there and what it is called.
    ever: HashMap<Position, (String, Option<&'static str>)>,
    number: u32,
}

impl Home {
    fn new(chooser: &mut Chooser) -> Self {
        Self {
            all: Vec::new(),
            beginning: Position {
                epoch: chooser.below(u64::from(u32::MAX)) as u32,
                offset: 0,
                tag: chooser.below(u64::from(u32::MAX)) as u32,
            },
            ever: HashMap::new(),
            number: 0,
        }
    }

    fn head(&self) -> Position {
        self.all.last().map_or(self.beginning, |(at, _)| *at)
    }

    fn previous(&self, at: usize) -> Position {
        at.checked_sub(1)
            .map_or(self.beginning, |at| self.all[at].0)
    }

    fn publish(&mut self, chooser: &mut Chooser) -> Letter {
        self.number += 1;
        let previous = self.head();
        let position = Position {
            offset: previous.offset + 1,
            tag: chooser.below(u64::from(u32::MAX)) as u32,
            ..previous
        };
        let text = format!("m{}", self.number);
        let event = [None, Some("goal"), Some("\u{e9}t\u{e9}")][chooser.below(3) as usize];
        self.all.push((position, text.clone()));
        self.ever.insert(position, (text.clone(), event));
        Letter {
            position,
            previous,
            text,
            event,
        }
    }
}

/// A publication on its way.
#[derive(Clone)]
struct Letter {
    position: Position,
    previous: Position,
    text: String,
    event: Option<&'static str>,
}

/// A client that believes nothing.
struct Reader {
    client: Option<Client>,
    /// The last publication that it got, or where it was told that it begins.
    stands: Option<Position>,
    /// It was told of a gap since.
    told: bool,
    got: u32,
    named: u32,
    gaps: u32,
}

impl Reader {
    fn read(&mut self, home: &Home) {
        let Some(client) = &mut self.client else {
            return;
        };
        for text in client.texts() {
            if text.contains("\"type\":\"gap\"") {
                self.told = true;
                self.gaps += 1;
                continue;
            }
            let position: Position = member(&text, "position").unwrap().parse().unwrap();
            if text.contains("\"type\":\"subscribed\"") {
                let recovered = text.contains("\"recovered\":true");
                let asked = self.stands.is_some();
                assert_eq!(asked, text.contains("\"recovered\":"), "{text}");
                if recovered {
                    assert_eq!(self.stands, Some(position), "it goes on where it stood");
                } else {
                    // What it begins with belongs to nothing that it has seen. If it asked, it is told by a marker too.
                    self.stands = Some(position);
                    self.told = !asked;
                }
                continue;
            }
            let previous = member(&text, "previous").map(|p| p.parse::<Position>().unwrap());
            let body = member(&text, "text").unwrap();
            let event = member(&text, "event");
            let (said, called) = home.ever.get(&position).expect("it was published there");
            assert_eq!((&body, event.as_deref()), (said, *called), "and is this");
            self.named += u32::from(called.is_some());
            let links = match previous {
                Some(previous) => self.stands == Some(previous),
                None => self
                    .stands
                    .is_some_and(|s| s.offset == 0 && s.epoch == position.epoch),
            };
            assert!(
                links || self.told,
                "{position} came behind {:?} without a word",
                self.stands
            );
            self.stands = Some(position);
            self.told = false;
            self.got += 1;
        }
    }
}

fn member(json: &str, name: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{name}\":\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

#[derive(Default, Debug)]
struct Summary {
    got: u32,
    /// Of these, those that are called something.
    named: u32,
    gaps: u32,
    repeated: u32,
    recovered: u64,
    not_recovered: u64,
    fallen_back: u64,
}

fn live(seed: u64) -> Summary {
    let mut chooser = Chooser::from_seed(seed);
    let mut world = World::new(WorkerSettings::default());
    let mut settings = RouteSettings::default();
    settings.session.outbox_frames_max = 4 + chooser.below(12) as usize;
    settings.messages_per_second = 0;
    match chooser.below(3) {
        0 => {}
        1 => settings
            .channels
            .push(ChannelOptions::of("*").history_messages_max(2 + chooser.below(6) as u32)),
        _ => settings
            .channels
            .push(ChannelOptions::of("*").history_messages_max(100)),
    }
    world.route_with("/ch/{channel}", settings, PubSub::default);
    let mut home = Home::new(&mut chooser);
    let mut post: Vec<Letter> = Vec::new();
    let mut readers: Vec<Reader> = (0..3)
        .map(|_| Reader {
            client: None,
            stands: None,
            told: false,
            got: 0,
            named: 0,
            gaps: 0,
        })
        .collect();
    let mut summary = Summary::default();
    for _ in 0..STEPS {
        let who = chooser.below(3) as usize;
        match chooser.below(20) {
            0..=6 => {
                let letter = home.publish(&mut chooser);
                post.push(letter);
            }
            // The oldest arrives, mostly; or another one, or one that stays on its way too.
            7..=12 if !post.is_empty() => {
                let at = if chooser.below(6) == 0 {
                    chooser.below(post.len() as u64) as usize
                } else {
                    0
                };
                let letter = if chooser.below(8) == 0 {
                    post[at].clone()
                } else {
                    post.remove(at)
                };
                summary.repeated += u32::from(deliver(&mut world, &letter));
            }
            13 if !post.is_empty() && chooser.below(3) == 0 => {
                post.remove(0);
            }
            // It is restored from an older state and counts on from there; what was on its way still is.
            14 if chooser.below(4) == 0 => {
                let keep = chooser.below(home.all.len() as u64 + 1) as usize;
                home.all.truncate(keep);
            }
            15 if chooser.below(6) == 0 => {
                home.all.clear();
                home.beginning.epoch = chooser.below(u64::from(u32::MAX)) as u32;
            }
            16 => readers[who].read(&home),
            17 => {
                if let Some(client) = &mut readers[who].client {
                    if chooser.below(2) == 0 {
                        client.stop_reading();
                        client.window(1 + chooser.below(200) as usize);
                    } else {
                        client.window(1 << 20);
                        client.resume_reading();
                    }
                }
            }
            18 => {
                let reader = &mut readers[who];
                reader.read(&home);
                if let Some(client) = &mut reader.client {
                    client.reset();
                }
                reader.client = None;
            }
            _ => {
                let reader = &mut readers[who];
                if reader.client.is_none() {
                    let query = reader
                        .stands
                        .map_or("positions".to_owned(), |s| format!("since={s}"));
                    reader.client = Some(world.connect(format!("/ch/x?{query}").as_str()));
                }
            }
        }
        world.check_invariants();
    }
    // All that is on its way arrives, and one more behind it, so that whoever has missed something finds out.
    for letter in std::mem::take(&mut post) {
        deliver(&mut world, &letter);
    }
    let last = home.publish(&mut chooser);
    deliver(&mut world, &last);
    for reader in &mut readers {
        let Some(client) = &mut reader.client else {
            continue;
        };
        client.window(1 << 20);
        client.resume_reading();
        world.run();
        reader.read(&home);
        assert_eq!(
            reader.stands,
            Some(last.position),
            "all have come to the end"
        );
        assert_eq!(reader.client.as_mut().unwrap().complaint(), None);
    }
    for reader in &readers {
        summary.got += reader.got;
        summary.named += reader.named;
        summary.gaps += reader.gaps;
    }
    assert_eq!(home.previous(home.all.len() - 1), last.previous);
    let metrics = world.metrics();
    summary.recovered = metrics.recoveries_total;
    summary.not_recovered = metrics.recoveries_failed_total;
    summary.fallen_back = metrics.fallbacks_total;
    world.check_idle();
    summary
}

/// Answers whether it was known already.
fn deliver(world: &mut World, letter: &Letter) -> bool {
    let message = Message::Text(&letter.text);
    let incoming = Incoming::of(letter.position, letter.previous, message).event(letter.event);
    world.publication("pubsub", "x", &incoming) == Ok(Received::Repeated)
}

#[test]
fn no_hole_without_a_word() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    if let Some(seed) = number("DUNLIN_HOME_SEED") {
        println!("{:?}", live(seed));
        return;
    }
    let mut all = Summary::default();
    let seeds = number("DUNLIN_HOME_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        let one = std::panic::catch_unwind(|| live(seed));
        let one =
            one.unwrap_or_else(|_| panic!("seed {seed}: replay it with DUNLIN_HOME_SEED={seed}"));
        all.got += one.got;
        all.named += one.named;
        all.gaps += one.gaps;
        all.repeated += one.repeated;
        all.recovered += one.recovered;
        all.not_recovered += one.not_recovered;
        all.fallen_back += one.fallen_back;
    }
    println!("{all:?}");
    if seeds < SEEDS {
        return;
    }
    assert!(all.got > 5_000 && all.gaps > 300 && all.repeated > 100);
    assert!(all.named > all.got / 2 && all.named < all.got);
    assert!(all.recovered > 200 && all.not_recovered > 100 && all.fallen_back > 30);
}

#[test]
fn a_publication_that_is_no_successor_is_nobodys() {
    let mut world = World::new(WorkerSettings::default());
    world.route_with("/ch/{channel}", RouteSettings::default(), PubSub::default);
    let mut reader = world.connect("/ch/x");
    let at = |epoch, offset| Position {
        epoch,
        offset,
        tag: 7,
    };
    for (previous, position) in [
        (at(1, 1), at(1, 1)),
        (at(1, 1), at(1, 3)),
        (at(1, 1), at(2, 2)),
        (at(1, u64::MAX), at(1, 0)),
    ] {
        let incoming = Incoming::of(position, previous, Message::Text("x"));
        let received = world.publication("pubsub", "x", &incoming);
        assert_eq!(received, Ok(Received::Malformed));
    }
    assert_eq!(world.refused("position_malformed"), 4);
    assert_eq!(reader.texts(), [""; 0]);
    // Its name would be a line of its own in a stream, or the server's word.
    let incoming = Incoming::of(at(1, 1), at(1, 0), Message::Text("x"));
    let long = "e".repeat(65);
    for event in ["", "a\nb", "\u{85}", "gap", "close", &long] {
        let received = world.publication("pubsub", "x", &incoming.event(Some(event)));
        assert_eq!(received, Ok(Received::Malformed), "{event:?}");
    }
    assert_eq!(world.refused("event_malformed"), 6);
    assert_eq!(reader.texts(), [""; 0]);
    for (space, channel) in [("pubsub", "nobody"), ("no space", "x")] {
        let received = world.publication(space, channel, &incoming);
        assert_eq!(received, Ok(Received::Unheard));
    }
    world.check_idle();
}

/// Names and tags that another home gives are looked at as those are that are given here: live, and in what is kept.
#[cfg(feature = "filters")]
#[test]
fn who_filters_gets_what_matches_of_another_home() {
    use dunlin::hub::Tags;

    let mut world = World::new(WorkerSettings::default());
    world.route_with("/ch/{channel}", RouteSettings::default(), PubSub::default);
    let mut live: Vec<(Client, &str)> = [("types=goal", "14"), ("tags=red", "12"), ("", "1234")]
        .map(|(query, expected)| (world.connect(format!("/ch/x?{query}").as_str()), expected))
        .into();
    let at = |offset| Position {
        epoch: 7,
        offset,
        tag: offset as u32,
    };
    for (n, event, words, receivers) in [
        (1, Some("goal"), &["red"][..], 3),
        (2, Some("card"), &["blue", "red"], 2),
        (3, None, &["blue"], 1),
        (4, Some("goal"), &[], 2),
    ] {
        let tags = Tags::new(words.iter().copied()).unwrap_or_default();
        let text = n.to_string();
        let incoming = Incoming::of(at(n), at(n - 1), Message::Text(&text));
        let received = world.publication("pubsub", "x", &incoming.event(event).tags(&tags));
        // The first of all is of another life than that in which the readers stand.
        let expected = match n {
            1 => Received::Gap(receivers),
            _ => Received::Delivered(receivers),
        };
        assert_eq!(received, Ok(expected), "{n}");
    }
    for (client, expected) in &mut live {
        let texts = client.texts();
        assert!(texts[0].contains("\"type\":\"gap\""), "{texts:?}");
        assert_eq!(texts[1..].concat(), *expected);
    }
    // Whoever comes later finds them in the ring.
    for (query, expected) in [("tags=blue", "23"), ("types=goal&tags=red", "1")] {
        let path = format!("/ch/x?rewind=all&{query}");
        let texts = world.connect(path.as_str()).texts();
        assert_eq!(texts.concat(), expected);
    }
    for (client, _) in &mut live {
        client.reset();
    }
    world.check_invariants();
}
