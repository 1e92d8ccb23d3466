//! Lives that chance makes up: readers of one channel by every transport, who are slow, cut off and come back, and an
//! oracle that knows what each of them must hear: everything, in order, once, or of what gap.

use dunlin::dialect::PubSub;
use dunlin::hub::{ChannelOptions, SessionLimits};
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{Chooser, Client, World};
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Socket,
    Events,
    Lines,
    Poll,
}

const KINDS: [Kind; 4] = [Kind::Socket, Kind::Events, Kind::Lines, Kind::Poll];

/// What a reader hears.
#[derive(Debug)]
enum Heard {
    /// The number of a publication, and where it stands.
    Message(u64, String),
    Gap(Option<u64>),
    /// Where it stands now.
    At(String),
}

struct Reader {
    kind: Kind,
    client: Option<Client>,
    /// The position that it gives when it comes back.
    at: String,
    /// The number that comes next.
    expected: u64,
    /// What it was told is missing; `None`: nobody knows how many.
    missing: Option<u64>,
    /// What came of an event or line.
    rest: String,
    /// A poll is under way.
    asks: bool,
}

impl Reader {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            client: None,
            at: String::new(),
            expected: 0,
            missing: Some(0),
            rest: String::new(),
            asks: false,
        }
    }

    fn come(&mut self, world: &mut World, chooser: &mut Chooser, published: u64) {
        let query = if self.at.is_empty() {
            // It begins here.
            self.expected = published;
            String::new()
        } else {
            format!("&since={}", self.at)
        };
        self.rest.clear();
        self.asks = false;
        if self.kind != Kind::Poll {
            self.missing = Some(0);
        }
        let accept = match self.kind {
            Kind::Socket => {
                let target = format!("/ch/news?positions{query}");
                self.client = Some(world.connect(target.as_str()));
                return;
            }
            Kind::Poll => {
                self.client = Some(world.open());
                return self.ask(chooser);
            }
            Kind::Events => "text/event-stream",
            Kind::Lines => "application/x-ndjson",
        };
        let mut client = world.open();
        client.cut_into(1 << chooser.below(12));
        client.window(1 << (4 + chooser.below(12)));
        let id = if self.kind == Kind::Events && !self.at.is_empty() && chooser.one_in(2) {
            format!("Last-Event-ID: {}\r\n", self.at)
        } else {
            String::new()
        };
        let request =
            format!("GET /ch/news?x{query} HTTP/1.1\r\nHost: h\r\nAccept: {accept}\r\n{id}\r\n");
        client.send_bytes(request.as_bytes());
        self.client = Some(client);
    }

    fn ask(&mut self, chooser: &mut Chooser) {
        let Some(client) = &mut self.client else {
            return;
        };
        let waits = chooser.below(2);
        let request = if self.at.is_empty() {
            "GET /ch/news?poll=0 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned()
        } else {
            format!(
                "GET /ch/news?poll={waits}&since={} HTTP/1.1\r\nHost: h\r\n\r\n",
                self.at
            )
        };
        client.send_bytes(request.as_bytes());
        self.asks = true;
    }

    /// A connection that was kept too long without a request is gone, and so is a reader that took nothing for too long.
    fn note_end(&mut self) {
        if self.client.as_ref().is_some_and(Client::is_over) {
            self.listen();
            self.client = None;
        }
    }

    fn listen(&mut self) {
        let Some(client) = &mut self.client else {
            return;
        };
        let mut heard = Vec::new();
        match self.kind {
            Kind::Socket => {
                for text in client.texts() {
                    heard.extend(read(&serde_json::from_str(&text).unwrap()));
                }
            }
            Kind::Poll => {
                if let Some(answer) = client.answer() {
                    assert!([200, 204].contains(&answer.status()), "{}", answer.text());
                    self.asks = false;
                    if answer.status() == 200 {
                        let body: Value = serde_json::from_slice(answer.body()).unwrap();
                        let messages = body["messages"].as_array().unwrap();
                        assert!(!messages.is_empty());
                        heard.extend(messages.iter().flat_map(read));
                    }
                    let tag = answer.header("ETag").unwrap();
                    heard.push(Heard::At(tag.trim_matches('"').to_owned()));
                }
            }
            Kind::Events | Kind::Lines => {
                if let Some(answer) = client.arriving() {
                    self.rest += &answer.text();
                }
                let end = if self.kind == Kind::Events {
                    "\n\n"
                } else {
                    "\n"
                };
                while let Some((one, rest)) = self.rest.split_once(end) {
                    heard.extend(match self.kind {
                        Kind::Events => read_event(one),
                        _ if one.is_empty() => None,
                        _ => read(&serde_json::from_str(one).unwrap()),
                    });
                    self.rest = rest.to_owned();
                }
            }
        }
        assert_eq!(client.complaint(), None);
        for one in heard {
            self.hear(one);
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::At(at) => self.at = at,
            Heard::Gap(missed) => {
                assert!(missed != Some(0), "no gap is a gap");
                self.missing = self.missing.zip(missed).map(|(a, b)| a + b);
            }
            Heard::Message(n, at) => {
                match self.missing {
                    Some(missed) => assert_eq!(n, self.expected + missed, "{:?}", self.kind),
                    None => assert!(n >= self.expected, "{:?}: {n} came again", self.kind),
                }
                self.expected = n + 1;
                self.missing = Some(0);
                self.at = at;
            }
        }
    }
}

fn read(json: &Value) -> Option<Heard> {
    match (json["type"].as_str(), json["position"].as_str()) {
        (Some("gap"), _) => Some(Heard::Gap(json["missed"].as_u64())),
        (Some("subscribed"), Some(at)) => {
            // What was not recovered is said by the marker, too.
            Some(Heard::At(at.to_owned()))
        }
        (None, Some(at)) => {
            let text = json["text"].as_str().unwrap();
            Some(Heard::Message(number(text), at.to_owned()))
        }
        _ => panic!("{json}"),
    }
}

fn read_event(text: &str) -> Option<Heard> {
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    match (field("event"), field("id"), field("data")) {
        (Some("gap"), _, Some(data)) => read(&serde_json::from_str(data).unwrap()),
        (None, Some(id), Some(data)) => Some(Heard::Message(number(data), id.to_owned())),
        (None, Some(id), None) => Some(Heard::At(id.to_owned())),
        (None, None, None) => None,
        _ => panic!("{text}"),
    }
}

/// `m17` and padding.
fn number(text: &str) -> u64 {
    let digits = text.strip_prefix('m').unwrap().split(' ').next().unwrap();
    digits.parse().unwrap()
}

fn live(seed: u64) {
    let mut chooser = Chooser::from_seed(seed);
    let mut world = World::new(WorkerSettings::default());
    let settings = RouteSettings {
        channels: vec![
            ChannelOptions::of("news").history_messages_max(1 + chooser.below(30) as u32),
        ],
        session: SessionLimits {
            outbox_frames_max: 1 + chooser.index(80),
            outbox_bytes_max: 2048 << chooser.below(4),
            ..SessionLimits::default()
        },
        ..RouteSettings::default()
    };
    world.route_with("/ch/{channel}", settings, PubSub::default);
    let mut readers: Vec<Reader> = (0..6).map(|n| Reader::new(KINDS[n % 4])).collect();
    let mut published = 0;
    for _ in 0..300 {
        let at = chooser.index(readers.len());
        let reader = &mut readers[at];
        reader.note_end();
        match chooser.below(12) {
            0..=4 => {
                let most = if chooser.one_in(10) { 60 } else { 3 };
                for _ in 0..=chooser.below(most) {
                    let padding = "x".repeat(chooser.size(10));
                    let body = format!("m{published} {padding}");
                    let request = format!(
                        "POST /ch/news HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    assert_eq!(world.request(request).status(), 200);
                    published += 1;
                }
            }
            5 | 6 if reader.client.is_none() => reader.come(&mut world, &mut chooser, published),
            5 => {
                reader.listen();
                if let Some(mut client) = reader.client.take() {
                    client.reset();
                }
            }
            7 => {
                if let Some(client) = &mut reader.client {
                    client.stop_reading();
                }
            }
            8 => {
                if let Some(client) = &mut reader.client {
                    client.resume_reading();
                }
            }
            9 => {
                // Nobody who reads is away for longer than it may be.
                for reader in &mut readers {
                    if let Some(client) = &mut reader.client {
                        client.resume_reading();
                    }
                }
                world.advance_ms(chooser.below(30_000));
            }
            10 if reader.kind == Kind::Poll && !reader.asks => reader.ask(&mut chooser),
            _ => reader.listen(),
        }
        world.check_invariants();
    }
    // Everybody comes, and reads to the end.
    for reader in &mut readers {
        reader.note_end();
        if let Some(client) = &mut reader.client {
            client.resume_reading();
            client.cut_into(1 << 20);
            client.window(1 << 20);
        } else {
            reader.come(&mut world, &mut chooser, published);
        }
        for _ in 0..100 {
            world.run();
            reader.listen();
            if reader.kind == Kind::Poll && reader.expected < published && !reader.asks {
                reader.ask(&mut chooser);
            }
        }
        let missing = reader.missing.map(|missing| reader.expected + missing);
        assert!(
            missing.is_none_or(|next| next == published),
            "{:?} expects {} and misses {:?}, of {published}",
            reader.kind,
            reader.expected,
            reader.missing
        );
        if let Some(client) = &mut reader.client {
            client.reset();
        }
    }
    world.check_invariants();
    world.advance_ms(100_000);
    assert_eq!((world.connections(), world.sessions()), (0, 0));
}

#[test]
fn lives_that_chance_makes_up() {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("DUNLIN_SEED") {
        Some(seed) => seed..seed + 1,
        // `tests/world.rs` takes the same number for lives of another kind, which are shorter.
        None => 0..number("DUNLIN_SEEDS").map_or(16, |seeds| seeds / 10),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| live(seed));
        assert!(outcome.is_ok(), "DUNLIN_SEED={seed}");
    }
}
