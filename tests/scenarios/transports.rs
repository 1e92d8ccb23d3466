//! Lives that chance makes up: readers of one channel by every transport, who are slow, cut off and come back, and an
//! oracle that knows what each of them must hear: everything, in order, once, or of what gap. With the feature `filters` some
//! of them want some of it.

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

/// What a publication is called (`""`: nothing), and how it is tagged.
type Label = (&'static str, &'static [&'static str]);

const LABELS: [Label; 6] = [
    ("", &[]),
    ("a", &[]),
    ("b", &["x"]),
    ("a", &["x", "y"]),
    ("c", &["z"]),
    ("", &["y"]),
];

/// A publication, and where it stands.
struct Said {
    label: Label,
    at: String,
}

/// What a reader asks for, and whether it gets a publication.
#[derive(Debug, Clone, Copy)]
struct Wish {
    query: &'static str,
    wants: fn(Label) -> bool,
}

const EVERYTHING: Wish = Wish {
    query: "",
    wants: |_| true,
};

#[cfg(feature = "filters")]
const WISHES: [Wish; 4] = [
    EVERYTHING,
    Wish {
        query: "&types=a",
        wants: |(name, _)| name == "a",
    },
    Wish {
        query: "&tags=y,q",
        wants: |(_, tags)| tags.contains(&"y"),
    },
    Wish {
        query: "&tags=x,z&types=b,c,a",
        wants: |(name, tags)| !name.is_empty() && (tags.contains(&"x") || tags.contains(&"z")),
    },
];
#[cfg(not(feature = "filters"))]
const WISHES: [Wish; 1] = [EVERYTHING];

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
    wish: Wish,
    client: Option<Client>,
    /// The position that it gives when it comes back.
    at: String,
    /// The number that comes next.
    expected: u64,
    /// What it was told is missing; `None`: nobody knows how many.
    missing: Option<u64>,
    /// How often it was told so.
    gaps: u32,
    /// What came of an event or line.
    rest: String,
    /// A poll is under way.
    asks: bool,
}

impl Reader {
    fn new(kind: Kind, wish: Wish) -> Self {
        Self {
            kind,
            wish,
            client: None,
            at: String::new(),
            expected: 0,
            missing: Some(0),
            gaps: 0,
            rest: String::new(),
            asks: false,
        }
    }

    fn come(&mut self, world: &mut World, chooser: &mut Chooser, published: u64) {
        let query = if self.at.is_empty() {
            // It begins here.
            self.expected = published;
            self.wish.query.to_owned()
        } else {
            format!("&since={}{}", self.at, self.wish.query)
        };
        self.rest.clear();
        self.asks = false;
        // One that does not want all may have been told, and then where it stands behind that. Being told twice is no fault.
        if self.kind != Kind::Poll && self.wish.query.is_empty() {
            (self.missing, self.gaps) = (Some(0), 0);
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
        client.cut_into(1 << (3 + chooser.below(9)));
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
        let query = self.wish.query;
        let request = if self.at.is_empty() {
            format!("GET /ch/news?poll=0{query} HTTP/1.1\r\nHost: h\r\n\r\n")
        } else {
            format!(
                "GET /ch/news?poll={waits}&since={}{query} HTTP/1.1\r\nHost: h\r\n\r\n",
                self.at
            )
        };
        client.send_bytes(request.as_bytes());
        self.asks = true;
    }

    /// A connection that was kept too long without a request is gone, and so is a reader that took nothing for too long.
    fn note_end(&mut self, said: &[Said]) {
        if self.client.as_ref().is_some_and(Client::is_over) {
            self.listen(said);
            self.client = None;
        }
    }

    fn listen(&mut self, said: &[Said]) {
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
            self.hear(one, said);
        }
    }

    fn hear(&mut self, heard: Heard, said: &[Said]) {
        match heard {
            Heard::At(at) => {
                // What it was told is missing lies in front of that, and is not told again.
                let n = said.iter().position(|one| one.at == at);
                if let Some(n) = n.filter(|_| !self.wish.query.is_empty() && self.gaps > 0) {
                    self.check_missing(n as u64 + 1, said);
                    self.expected = self.expected.max(n as u64 + 1);
                    (self.missing, self.gaps) = (Some(0), 0);
                }
                self.at = at;
            }
            Heard::Gap(missed) => {
                assert!(missed != Some(0), "no gap is a gap");
                self.missing = self.missing.zip(missed).map(|(a, b)| a + b);
                self.gaps += 1;
            }
            Heard::Message(n, at) => {
                let is_wanted = (self.wish.wants)(said[n as usize].label);
                assert!(is_wanted, "{:?} {}: {n}", self.kind, self.wish.query);
                assert!(n >= self.expected, "{:?}: {n} came again", self.kind);
                self.check_missing(n, said);
                self.expected = n + 1;
                (self.missing, self.gaps) = (Some(0), 0);
                self.at = at;
            }
        }
    }

    /// The next that it wants is `next`: what it has not got in front of that, it was told of.
    fn check_missing(&self, next: u64, said: &[Said]) {
        let Some(missing) = self.missing else {
            return;
        };
        let (kind, query, expected) = (self.kind, self.wish.query, self.expected);
        if query.is_empty() {
            return assert_eq!(next, expected + missing, "{kind:?}");
        }
        // Of what is missing some would not have been for it, and what is not for it is missing nowhere else.
        let wanted = |n: &u64| (self.wish.wants)(said[*n as usize].label);
        let lost: Vec<u64> = (expected..next).filter(wanted).collect();
        let reach = match (lost.first(), lost.last()) {
            (Some(first), Some(last)) if self.gaps == 1 => last - first + 1,
            _ => lost.len() as u64,
        };
        assert!(reach <= missing, "{kind:?} {query}: {lost:?} but {missing}");
    }
}

fn read(json: &Value) -> Option<Heard> {
    match (json["type"].as_str(), json["position"].as_str()) {
        (Some("gap"), _) => Some(Heard::Gap(json["missed"].as_u64())),
        // It stands there when it has been told of the gap in front of that.
        (Some("subscribed"), Some(_)) if json["recovered"] == false => None,
        (Some("subscribed"), Some(at)) => Some(Heard::At(at.to_owned())),
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
        (_, Some(id), Some(data)) => Some(Heard::Message(number(data), id.to_owned())),
        (None, Some(id), None) => Some(Heard::At(id.to_owned())),
        (None, None, None) => None,
        _ => panic!("{text}"),
    }
}

/// How a publication is called that. Without the feature `filters` nobody takes tags.
fn headers((name, tags): Label) -> String {
    let mut headers = String::new();
    if !name.is_empty() {
        headers += &format!("X-EventSource-Event: {name}\r\n");
    }
    if !tags.is_empty() && cfg!(feature = "filters") {
        headers += &format!("X-Tags: {}\r\n", tags.join(", "));
    }
    headers
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
    let kinds = (0..6).map(|n| KINDS[n % 4]);
    let mut readers: Vec<Reader> = kinds
        .map(|kind| Reader::new(kind, WISHES[chooser.index(WISHES.len())]))
        .collect();
    let mut published = 0;
    let mut said: Vec<Said> = Vec::new();
    for _ in 0..300 {
        let at = chooser.index(readers.len());
        let reader = &mut readers[at];
        reader.note_end(&said);
        match chooser.below(12) {
            0..=4 => {
                let most = if chooser.one_in(10) { 60 } else { 3 };
                for _ in 0..=chooser.below(most) {
                    let padding = "x".repeat(chooser.size(10));
                    let body = format!("m{published} {padding}");
                    let label = LABELS[chooser.index(LABELS.len())];
                    let request = format!(
                        "POST /ch/news HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n{body}",
                        headers(label),
                        body.len()
                    );
                    let answer = world.request(request);
                    assert_eq!(answer.status(), 200);
                    let json: Value = serde_json::from_slice(answer.body()).unwrap();
                    let at = json["position"].as_str().unwrap().to_owned();
                    said.push(Said { label, at });
                    published += 1;
                }
            }
            5 | 6 if reader.client.is_none() => reader.come(&mut world, &mut chooser, published),
            5 => {
                reader.listen(&said);
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
            _ => reader.listen(&said),
        }
        world.check_invariants();
    }
    // Everybody comes, and reads to the end.
    for reader in &mut readers {
        reader.note_end(&said);
        if let Some(client) = &mut reader.client {
            client.resume_reading();
            client.cut_into(1 << 20);
            client.window(1 << 20);
        } else {
            reader.come(&mut world, &mut chooser, published);
        }
        for _ in 0..100 {
            world.run();
            reader.listen(&said);
            if reader.kind == Kind::Poll && reader.expected < published && !reader.asks {
                reader.ask(&mut chooser);
            }
        }
        reader.check_missing(published, &said);
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
