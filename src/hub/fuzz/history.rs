//! The body of the fuzz target `history`: channels that keep what was published, and sessions that begin anywhere in
//! them, read as slowly as they like, leave and come back.

use std::collections::{BTreeMap, HashMap};

use super::super::follow::Joined;
#[cfg(feature = "filters")]
use super::super::publish::Label;
use super::super::{ChannelOptions, Context, Hub, HubLimits, Position, SessionLimits, Start};
#[cfg(feature = "filters")]
use super::super::{Filter, Tags};
use super::Bytes;
use crate::random::Random;
use crate::time::Now;
use crate::ws::{CloseCode, FrameHeader, Message, OpCode};

/// Oracle: what each session gets of a channel follows what it got before, by the links of its envelopes and by a list
/// of all that was ever published, unless a marker stands between; nothing comes twice; who reads on has it all; rings
/// hold no more than they may. With the feature `filters` some want some of it: then what they do not want is nowhere missing.
///
/// Bytes 0 to 5 are the limits, the rest are deeds.
pub fn history(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut drive = Drive::new(&mut bytes);
    for _ in 0..DEEDS_MAX {
        if bytes.0.is_empty() {
            break;
        }
        drive.step(&mut bytes);
        drive.hub.check_invariants();
    }
    drive.end();
}

const DEEDS_MAX: usize = 300;
const SESSIONS_MAX: u8 = 5;
/// The first keeps a few, the second more, the third for a short time, the last nothing.
const CHANNELS: [&str; 4] = ["few", "more", "brief", "none"];

struct Drive {
    hub: Hub,
    /// All that was published to each channel, with its position; a new life begins a new list.
    published: HashMap<&'static str, Vec<(Position, String)>>,
    readers: BTreeMap<u32, Reader>,
    /// Positions that clients have seen somewhere, to come back with.
    seen: Vec<Position>,
    number: u32,
}

/// One session's side.
#[derive(Default)]
struct Reader {
    wire: Vec<u8>,
    has_envelopes: bool,
    /// It listens to all channels by a pattern, whether it is subscribed to them or not.
    hears_all: bool,
    /// What it wants of them all: see [`is_wanted`].
    wish: u8,
    /// The newest it got of each channel.
    newest: HashMap<&'static str, u32>,
    /// Where it stands in each channel it is subscribed to.
    stands: HashMap<&'static str, Stand>,
    /// It was told to go: what is missing then is no gap.
    is_closed: bool,
}

#[derive(Clone, Copy)]
struct Stand {
    at: Position,
    /// A marker came since: the next one may be any that is newer.
    after_gap: bool,
}

impl Drive {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let limits = HubLimits {
            channels_max: 2 + bytes.below(4),
            memory_budget_bytes: 4_096 << bytes.below(6),
            history_budget_bytes: 512 << bytes.below(6),
            ..HubLimits::default()
        };
        let mut hub = Hub::new(3, limits, Random::seeded(7));
        let session = SessionLimits {
            outbox_bytes_max: 64 + 8 * usize::from(bytes.next()),
            outbox_soft_bytes: 32 + 4 * usize::from(bytes.next()),
            outbox_soft_ms: 1_000,
            outbox_frames_max: 1 + bytes.below(12),
            ..SessionLimits::default()
        };
        hub.add_route(session, "fuzz", "/fuzz");
        for options in [
            ChannelOptions::of("few").history_messages_max(3),
            ChannelOptions::of("more")
                .history_messages_max(40)
                .history_bytes_max(1_000),
            ChannelOptions::of("brief")
                .history_messages_max(10)
                .history_ms_max(2_000),
        ] {
            assert!(hub.add_channel_options(0, &options));
        }
        hub.now = Now::new(1_000, 0);
        Self {
            hub,
            published: HashMap::new(),
            readers: BTreeMap::new(),
            seen: Vec::new(),
            number: 0,
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let (deed, index) = (bytes.next(), u32::from(bytes.next() % SESSIONS_MAX));
        let channel = CHANNELS[bytes.below(4)];
        match deed % 16 {
            0..=1 => self.open(bytes),
            2..=4 => self.subscribe(index, channel, bytes),
            5 => self.unsubscribe(index, channel),
            6..=9 => self.publish(channel, bytes),
            10 => {
                _ = self.hub.send(index, Message::Text("private"));
            }
            11..=12 => {
                let most = usize::from(bytes.next());
                self.flush(index, most);
            }
            13 => self.judge(bytes),
            14 => {
                self.hub.now.ms += 100 * (1 + u64::from(bytes.next() % 16));
                self.hub.expire_histories();
            }
            _ => self.leave(index, bytes),
        }
    }

    fn open(&mut self, bytes: &mut Bytes<'_>) {
        if self.readers.len() < usize::from(SESSIONS_MAX) {
            let index = self.hub.open(100, 0);
            let how = bytes.next();
            let has_envelopes = how.is_multiple_of(2);
            if has_envelopes {
                self.hub.want_envelopes(index);
            }
            #[cfg(feature = "filters")]
            let wish = self.filter(index, how / 2 % 4);
            #[cfg(not(feature = "filters"))]
            let wish = 0;
            #[cfg(feature = "wildcards")]
            let hears_all = how >= 200 && {
                let space = Context::new(&mut self.hub, 0, None).space();
                let pattern = ["*", ">"][usize::from(how >= 228)];
                self.hub.subscribe_pattern(index, space, pattern).is_ok()
            };
            #[cfg(not(feature = "wildcards"))]
            let hears_all = false;
            let reader = Reader {
                has_envelopes,
                hears_all,
                wish,
                ..Reader::default()
            };
            self.readers.insert(index, reader);
        }
    }

    /// Answers what it wants: everything, if there is no room for a filter.
    #[cfg(feature = "filters")]
    fn filter(&mut self, index: u32, wish: u8) -> u8 {
        let any = Filter::default();
        let filter = match wish {
            0 => return 0,
            1 => any.types(["a"]),
            2 => any.tags(["y"]),
            _ => any.types(["a", "b"]).and_then(|any| any.tags(["q", "x"])),
        };
        let filter = filter.expect("these are words");
        let space = Context::new(&mut self.hub, 0, None).space();
        let is_taken = self.hub.filter(index, space, filter).is_ok();
        wish * u8::from(is_taken)
    }

    fn subscribe(&mut self, index: u32, channel: &'static str, bytes: &mut Bytes<'_>) {
        let start = match bytes.next() % 6 {
            0 => Start::Now,
            1 => Start::All,
            2 => Start::Newest(u32::from(bytes.next() % 8)),
            3 => Start::Age(u64::from(bytes.next()) * 100),
            _ => self.position(channel, bytes),
        };
        self.read_what_a_pattern_gave(index);
        let space = Context::new(&mut self.hub, 0, None).space();
        let Ok(joined) = self.hub.subscribe_from(index, space, channel, start) else {
            return;
        };
        let Some(reader) = self.readers.get_mut(&index) else {
            panic!("nobody was subscribed");
        };
        if let Some(stand) = reader.stands.get(channel) {
            assert_eq!(
                joined.recovered, None,
                "it goes on as it was: {:?}",
                stand.at
            );
            return;
        }
        let Joined {
            position,
            recovered,
        } = joined;
        let stand = match (start, recovered) {
            (Start::Position(asked), Some(true)) => {
                assert_eq!(position, asked, "it begins where it said");
                asked
            }
            (Start::Position(asked), Some(false)) => {
                assert_ne!(position, asked);
                position
            }
            (Start::Position(_), None) => panic!("it asked and got no answer"),
            (_, Some(_)) => panic!("it did not ask"),
            _ => position,
        };
        let lost = recovered == Some(false);
        reader.stands.insert(
            channel,
            Stand {
                // Nothing may come before the marker has.
                at: if lost { NOWHERE } else { stand },
                after_gap: false,
            },
        );
    }

    /// Who listens by a pattern reads on before it comes to a channel, and before it leaves: what it is given of it from some
    /// position on it may have heard before.
    fn read_what_a_pattern_gave(&mut self, index: u32) {
        if self.readers.get(&index).is_some_and(|r| r.hears_all) {
            self.flush(index, usize::MAX);
        }
    }

    /// One that somebody has seen, or like it.
    fn position(&mut self, channel: &str, bytes: &mut Bytes<'_>) -> Start {
        let all = self.published.get(channel);
        let newest = all.and_then(|all| all.len().checked_sub(1 + bytes.below(6)));
        let newest = newest.and_then(|at| Some(all?.get(at)?.0));
        let other = self
            .seen
            .get(usize::from(bytes.next()) % self.seen.len().max(1));
        let mut position = newest.or(other.copied()).unwrap_or(NOWHERE);
        match bytes.next() % 16 {
            0 => position.tag ^= 1,
            1 => position.offset = position.offset.wrapping_add(1),
            2 => position.epoch ^= 1,
            3 => position = other.copied().unwrap_or(position),
            _ => {}
        }
        Start::Position(position)
    }

    fn unsubscribe(&mut self, index: u32, channel: &str) {
        self.read_what_a_pattern_gave(index);
        let space = Context::new(&mut self.hub, 0, None).space();
        let was = self.hub.unsubscribe(index, space, channel);
        if let Some(reader) = self.readers.get_mut(&index) {
            let stood = reader.stands.remove(channel).is_some();
            assert_eq!(was, stood && !reader.is_closed);
        }
        // It is read before anything else happens, so that what came of one subscription is not taken for the next.
        self.flush(index, usize::MAX);
    }

    fn publish(&mut self, channel: &'static str, bytes: &mut Bytes<'_>) {
        let how = bytes.next();
        self.number += 1;
        let padding = match how {
            255 => 3_000,
            250..=254 => 300,
            small => usize::from(small % 32),
        };
        let text = format!("{channel} {} {}", self.number, ".".repeat(padding));
        let space = Context::new(&mut self.hub, 0, None).space();
        let message = Message::Text(&text);
        #[cfg(feature = "filters")]
        let published = {
            let (event, tags) = label_of(self.number);
            let tags = Tags::new(tags.iter().copied()).unwrap_or_default();
            let tags = Some(&tags);
            let label = Label { event, tags };
            self.hub
                .publish_event(space, &[channel], label, message, None)
        };
        #[cfg(not(feature = "filters"))]
        let published = self.hub.publish(space, &[channel], message, None);
        let Ok(published) = published else {
            return;
        };
        let position = published.position;
        let all = self.published.entry(channel).or_default();
        if let Some((last, _)) = all.last()
            && (last.epoch, last.offset + 1) != (position.epoch, position.offset)
        {
            assert_ne!(last.epoch, position.epoch, "an offset was left out");
            assert_eq!(position.offset, 1, "a life begins with its first");
            all.clear();
        }
        all.push((position, text));
        self.seen.push(position);
    }

    /// As the worker does it.
    fn flush(&mut self, index: u32, most: usize) {
        let mut left = most;
        loop {
            if let Some(frame) = self.hub.lone_frame(index) {
                let frame = frame
                    .get(..frame.len().min(left))
                    .unwrap_or_default()
                    .to_vec();
                self.write(index, &frame);
                left -= frame.len();
            }
            self.hub.feed(index);
            self.hub
                .place_gap_marker(index, |missed| Some(format!("gap {missed:?}")));
            while left > 0 && !self.hub.outbox_is_empty(index) {
                let front = self.hub.outbox_frames(index).next().unwrap_or_default();
                let front = front
                    .get(..front.len().min(left))
                    .unwrap_or_default()
                    .to_vec();
                assert!(!front.is_empty(), "a frame without bytes waits");
                self.write(index, &front);
                left -= front.len();
            }
            let goes_on = self.hub.follows(index) && left > 0;
            if !goes_on {
                break;
            }
        }
        if !self.hub.outbox_is_empty(index) || self.hub.follows(index) {
            self.hub.mark_dirty(index);
        }
        self.read(index);
    }

    fn write(&mut self, index: u32, bytes: &[u8]) {
        self.hub.outbox_advance(index, bytes.len());
        if let Some(reader) = self.readers.get_mut(&index) {
            reader.wire.extend_from_slice(bytes);
        }
    }

    /// What came, held against what was published.
    fn read(&mut self, index: u32) {
        let Some(reader) = self.readers.get_mut(&index) else {
            return;
        };
        while let Ok(Some((header, taken))) = FrameHeader::parse(&reader.wire) {
            let whole = taken + header.len as usize;
            let Some(payload) = reader.wire.get(taken..whole) else {
                return;
            };
            let text = String::from_utf8_lossy(payload).into_owned();
            reader.wire.drain(..whole);
            // Behind its end a channel may have begun another life.
            if reader.is_closed || header.opcode == OpCode::Close || text == "private" {
                continue;
            }
            if text.starts_with("gap ") {
                for stand in reader.stands.values_mut() {
                    stand.after_gap = true;
                }
                continue;
            }
            assert_eq!(text.starts_with('{'), reader.has_envelopes, "{text}");
            let named = member(&text, "channel").map(str::to_owned);
            let (links, body) = if reader.has_envelopes {
                unwrap(&text)
            } else {
                (None, text)
            };
            let mut words = body.split(' ');
            let channel = words.next().expect("a channel's name stands in front");
            let number = words.next().and_then(|number| number.parse().ok());
            let number: u32 = number.expect("and a number behind it");
            assert!(is_wanted(reader.wish, number), "{body:.40}");
            let is_named = reader.hears_all && reader.has_envelopes;
            assert_eq!(named.as_deref(), is_named.then_some(channel), "{body:.40}");
            let known = CHANNELS.into_iter().find(|name| *name == channel);
            let before = known.and_then(|known| reader.newest.insert(known, number));
            // What came of a subscription that has ended meanwhile is nobody's business.
            let Some((channel, stand)) =
                reader.stands.iter_mut().find(|(name, _)| **name == channel)
            else {
                // Unless it hears it by a pattern: then nothing comes twice.
                let is_newer = before.is_none_or(|before| before < number);
                assert!(
                    is_newer || !reader.hears_all,
                    "{body:.40} behind {before:?}"
                );
                continue;
            };
            let all = &self.published[channel];
            let Some(at) = all.iter().position(|(_, text)| *text == body) else {
                panic!("{body:.40} was never published in this life of {channel}");
            };
            let position = all[at].0;
            if let Some((said, previous)) = links {
                assert_eq!(said, position, "an envelope says where it stands");
                let before = at.checked_sub(1).map(|at| all[at].0);
                let before = before.filter(|_| reader.wish == 0);
                assert_eq!(previous, before, "and what it follows");
            }
            let follows = unread(all, stand.at)
                .and_then(|from| all.get(from..at))
                .is_some_and(|between| !between.iter().any(|one| wants(reader.wish, one)));
            let is_newer = stand.at.epoch != position.epoch || stand.at.offset < position.offset;
            assert!(
                follows || stand.after_gap && is_newer,
                "{channel}: {position} came behind {}, gap {}",
                stand.at,
                stand.after_gap
            );
            *stand = Stand {
                at: position,
                after_gap: false,
            };
        }
    }

    fn judge(&mut self, bytes: &mut Bytes<'_>) {
        let mut suspects: Vec<u32> = self.hub.take_suspects().iter().map(|s| s.0).collect();
        suspects.sort_unstable();
        for index in suspects {
            self.flush(index, usize::from(bytes.next()));
            if self.hub.judge(index) {
                self.close(index, true);
            }
            self.hub.mark_dirty(index);
        }
    }

    fn close(&mut self, index: u32, slow: bool) {
        if self.hub.is_open(index) {
            self.hub.end(index);
            self.hub.push_close(index, CloseCode::TRY_LATER, "", slow);
            if let Some(reader) = self.readers.get_mut(&index) {
                reader.is_closed = true;
            }
        }
    }

    fn leave(&mut self, index: u32, bytes: &mut Bytes<'_>) {
        match bytes.next() % 4 {
            0 => self.close(index, false),
            1 => self.close(index, true),
            _ => {
                self.hub.remove(index);
                self.readers.remove(&index);
            }
        }
    }

    /// Everybody reads on: whoever is still subscribed has come to the head, or was told.
    fn end(&mut self) {
        while let Some((index, _)) = self.hub.next_dirty() {
            self.flush(index, usize::MAX);
        }
        self.hub.check_invariants();
        for (index, reader) in &self.readers {
            assert!(self.hub.outbox_is_empty(*index) && !self.hub.follows(*index));
            for (channel, stand) in reader.stands.iter().filter(|_| !reader.is_closed) {
                let all = self.published.get(channel).map_or(&[][..], Vec::as_slice);
                let at = stand.at;
                let rest = unread(all, at).and_then(|from| all.get(from..));
                let has_all = rest.is_some_and(|rest| !rest.iter().any(|o| wants(reader.wish, o)));
                let is_new = at.offset == 0 || stand.after_gap;
                assert!(has_all || is_new, "{channel}: {at} and not {rest:?}");
            }
        }
        let readers: Vec<u32> = self.readers.keys().copied().collect();
        for index in readers {
            self.hub.remove(index);
        }
        self.hub.check_invariants();
        // What is kept goes when room is needed, and then nothing is left.
        self.hub.evict_for(0);
        self.hub.check_invariants();
        let left = (
            self.hub.sessions(),
            self.hub.channels(),
            self.hub.queued_frames(),
        );
        assert_eq!(left, (0, 0, 0));
    }
}

/// What each sixth publication is called, and how it is tagged.
fn label_of(number: u32) -> (Option<&'static str>, &'static [&'static str]) {
    match number % 6 {
        0 => (None, &[]),
        1 => (Some("a"), &[]),
        2 => (Some("b"), &["x"]),
        3 => (Some("a"), &["x", "y"]),
        4 => (None, &["y"]),
        _ => (Some("c"), &["z"]),
    }
}

/// Whether the filter of that number lets a publication through.
fn is_wanted(wish: u8, number: u32) -> bool {
    let (event, tags) = label_of(number);
    match wish {
        0 => true,
        1 => event == Some("a"),
        2 => tags.contains(&"y"),
        _ => matches!(event, Some("a" | "b")) && tags.contains(&"x"),
    }
}

fn wants(wish: u8, (_, text): &(Position, String)) -> bool {
    let number = text
        .split(' ')
        .nth(1)
        .and_then(|number| number.parse().ok());
    is_wanted(wish, number.expect("a number stands behind the name"))
}

/// The first of all publications of this life that lies behind a position; `None`: it is none of this life.
fn unread(all: &[(Position, String)], at: Position) -> Option<usize> {
    let is_beginning = at.offset == 0 && all.first().is_some_and(|(p, _)| p.epoch == at.epoch);
    let known = all.iter().position(|(position, _)| *position == at);
    known.map(|known| known + 1).or(is_beginning.then_some(0))
}

/// Of a life that never was.
const NOWHERE: Position = Position {
    epoch: 0,
    offset: u64::MAX,
    tag: 0,
};

/// Where an envelope says that it stands, what it follows, and what is in it.
fn unwrap(envelope: &str) -> (Option<(Position, Option<Position>)>, String) {
    let member = |name| member(envelope, name);
    let position = member("position").and_then(|p| p.parse().ok());
    let position = position.expect("every envelope says where it stands");
    let previous = member("previous").map(|p| p.parse().expect("a position"));
    let body = member("text").expect("these are no JSON").to_owned();
    (Some((position, previous)), body)
}

/// A member that is a string.
fn member<'a>(envelope: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = envelope.split_once(&format!("\"{name}\":\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_deeds() {
        let mut random = Random::seeded(5);
        for _ in 0..600 {
            let data: Vec<u8> = (0..900).map(|_| random.next_u64() as u8).collect();
            history(&data);
        }
    }
}
