//! What the routes of one `HieraChain` share: its members, what they listen to, and the counts of both.

use std::collections::BTreeMap;

use super::HieraChainOptions;
use crate::hub::Locals;

/// Shared by the WebSocket route and the status route.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: HieraChainOptions,
    pub(super) members: Locals<Member>,
    pub(super) tally: Tally,
}

impl Shared {
    pub(super) fn new(options: HieraChainOptions) -> Self {
        Self {
            options,
            members: Locals::default(),
            tally: Tally::default(),
        }
    }
}

/// Which vocabulary a session speaks. It never changes once it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing heard yet that would tell.
    Undecided,
    /// `type`.
    Server,
    /// `action`.
    Guide,
}

impl Mode {
    /// The first letter of this mode's channels: messages of the two modes differ, so they never share one.
    pub(super) const fn letter(self) -> char {
        match self {
            Self::Guide => 'g',
            Self::Server | Self::Undecided => 's',
        }
    }
}

/// One session.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: [u8; 16],
    pub(super) mode: Mode,
    /// What it is subscribed to, each once.
    pub(super) topics: Vec<Topic>,
    /// Server mode: since when, in milliseconds since 1970.
    pub(super) since_unix_ms: u64,
    /// Server mode: the chain as the client wrote it, as JSON; empty for `all` by default.
    pub(super) chain_json: Box<str>,
    /// Server mode: the event types as the client wrote them, items of a JSON array.
    pub(super) types_json: Box<str>,
}

impl Member {
    pub(super) fn new(id: [u8; 16], mode: Mode, now_unix_ms: u64) -> Self {
        Self {
            id,
            mode,
            topics: Vec::new(),
            since_unix_ms: now_unix_ms,
            chain_json: "".into(),
            types_json: "".into(),
        }
    }

    /// The id as it is shown: 32 hexadecimal digits.
    pub(super) fn id_hex(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.id))
    }
}

/// A chain, or one type of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) chain: Box<str>,
    pub(super) event_type: Option<Box<str>>,
}

impl Topic {
    pub(super) fn new(chain: &str, event_type: Option<&str>) -> Self {
        Self {
            chain: chain.into(),
            event_type: event_type.map(Into::into),
        }
    }

    /// The channel that carries it.
    pub(super) fn channel(&self, mode: Mode) -> String {
        channel(mode, &self.chain, self.event_type.as_deref())
    }
}

/// The channel of a chain, or of one type of its events.
pub(super) fn channel(mode: Mode, chain: &str, event_type: Option<&str>) -> String {
    let letter = mode.letter();
    match event_type {
        None => format!("{letter}{chain}"),
        // A control character cannot stand in either part.
        Some(event_type) => format!("{letter}{chain}{TYPE_MARK}{event_type}"),
    }
}

/// What stands between a chain and a type of its events in a channel's name.
pub(super) const TYPE_MARK: char = '\u{1f}';

/// How many sessions listen to each chain and to each type of its events. Kept here, because the hub's channels
/// count a session once for each of its subscriptions to a chain.
#[derive(Debug, Default)]
pub(super) struct Tally {
    chains: Counts,
    /// By chain and type, as in a channel's name.
    pairs: Counts,
}

/// Sessions by the name of what they listen to. What nobody listens to is forgotten: the names are the clients'
/// choice.
#[derive(Debug, Default)]
struct Counts(BTreeMap<Box<str>, usize>);

impl Counts {
    fn add(&mut self, name: &str) {
        match self.0.get_mut(name) {
            Some(count) => *count += 1,
            None => _ = self.0.insert(name.into(), 1),
        }
    }

    fn drop(&mut self, name: &str) {
        if let Some(count) = self.0.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(name);
            }
        }
    }
}

impl Tally {
    /// A session that has these others has one more topic now. Counting all of them anew would cost a client with many
    /// as much for each command as all its commands together may.
    pub(super) fn add(&mut self, topic: &Topic, others: &[Topic]) {
        if !others.iter().any(|other| other.chain == topic.chain) {
            self.chains.add(&topic.chain);
        }
        if topic.event_type.is_some() {
            self.pairs.add(&topic.channel(Mode::Server));
        }
    }

    /// A session has one topic less, and still has these others.
    pub(super) fn remove(&mut self, topic: &Topic, others: &[Topic]) {
        if !others.iter().any(|other| other.chain == topic.chain) {
            self.chains.drop(&topic.chain);
        }
        if topic.event_type.is_some() {
            self.pairs.drop(&topic.channel(Mode::Server));
        }
    }

    /// A session has these topics now.
    pub(super) fn enter(&mut self, topics: &[Topic]) {
        let chains = distinct_chains(topics);
        chains.into_iter().for_each(|chain| self.chains.add(chain));
        pairs(topics).for_each(|pair| self.pairs.add(&pair));
    }

    /// A session has these topics no longer.
    pub(super) fn leave(&mut self, topics: &[Topic]) {
        let chains = distinct_chains(topics);
        chains.into_iter().for_each(|chain| self.chains.drop(chain));
        pairs(topics).for_each(|pair| self.pairs.drop(&pair));
    }

    /// Chains by name with the number of their sessions.
    pub(super) fn chains(&self) -> impl Iterator<Item = (&str, usize)> {
        self.chains
            .0
            .iter()
            .map(|(chain, count)| (&**chain, *count))
    }

    /// Pairs of chain and event type that somebody listens to.
    pub(super) fn pairs(&self) -> usize {
        self.pairs.0.len()
    }
}

fn distinct_chains(topics: &[Topic]) -> Vec<&str> {
    let mut chains: Vec<&str> = topics.iter().map(|topic| &*topic.chain).collect();
    chains.sort_unstable();
    chains.dedup();
    chains
}

fn pairs(topics: &[Topic]) -> impl Iterator<Item = String> {
    let typed = topics.iter().filter(|topic| topic.event_type.is_some());
    typed.map(|topic| topic.channel(Mode::Server))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn one_topic_more_or_less_counts_as_all_of_them_anew() {
        let mut random = Random::seeded(3);
        let (mut tally, mut topics) = (Tally::default(), Vec::new());
        for _ in 0..2_000 {
            let chain = ["a", "b", "c"][random.below(3) as usize];
            let event_type = [None, Some("x"), Some("y")][random.below(3) as usize];
            let topic = Topic::new(chain, event_type);
            match topics.iter().position(|other| *other == topic) {
                Some(at) => {
                    topics.remove(at);
                    tally.remove(&topic, &topics);
                }
                None => {
                    tally.add(&topic, &topics);
                    topics.push(topic);
                }
            }
            let mut anew = Tally::default();
            anew.enter(&topics);
            assert!(tally.chains().eq(anew.chains()), "{topics:?}");
            assert_eq!(tally.pairs.0, anew.pairs.0, "{topics:?}");
        }
    }
}
