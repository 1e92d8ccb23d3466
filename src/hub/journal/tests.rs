use super::*;
use crate::hub::{ChannelOptions, Context, HubLimits, SessionLimits, Start};
use crate::journal::{Records, SEGMENT_HEADER_BYTES};
use crate::random::Random;
use crate::time::Now;

const SALT: u64 = 0x0bad_5eed_dead_beef;
const DAY_MS: u64 = 1_700_000_000_000;

fn hub_with(seed: u64, unix_ms: u64, limits: HubLimits) -> Hub {
    let mut hub = Hub::new(0, limits, Random::seeded(seed));
    hub.add_route(SessionLimits::default(), "test", "/test");
    for options in [
        ChannelOptions::of("*")
            .history_messages_max(100)
            .history_ms_max(60_000),
        ChannelOptions::of("few*").history_messages_max(2),
        ChannelOptions::of("memory*").history_durable(false),
        ChannelOptions::of("none*").history_messages_max(0),
    ] {
        assert!(hub.add_channel_options(0, &options));
    }
    hub.now = Now::new(0, unix_ms);
    hub
}

fn hub(seed: u64) -> Hub {
    hub_with(seed, DAY_MS, HubLimits::default())
}

fn publish(hub: &mut Hub, channel: &str, text: &str) -> Position {
    let space = Context::new(hub, 0, None).space();
    let published = hub.publish(space, &[channel], Message::Text(text), None);
    hub.check_invariants();
    published.unwrap().position
}

/// The same, called something and tagged (in a build with filters).
fn publish_called(
    hub: &mut Hub,
    channel: &str,
    text: &str,
    event: Option<&str>,
    tags: &[&'static str],
) -> Position {
    let space = Context::new(hub, 0, None).space();
    #[cfg(feature = "filters")]
    let tags = &Tags::new(tags.iter().copied()).unwrap_or_default();
    let label = Label {
        event,
        #[cfg(feature = "filters")]
        tags: Some(tags),
    };
    #[cfg(not(feature = "filters"))]
    let _ = tags;
    let published = hub.publish_event(space, &[channel], label, Message::Text(text), None);
    hub.check_invariants();
    published.unwrap().position
}

/// What a publication says, and what it is called, if it is called anything.
fn described(text: &str, event: Option<&str>, tags: &str) -> String {
    match (event, tags) {
        (None, "") => text.to_owned(),
        (event, tags) => format!("{text} ({} {tags})", event.unwrap_or("-")),
    }
}

/// What stands behind a start, as [`described`], with what the reader is told.
fn read(hub: &mut Hub, channel: &str, start: Start) -> (Option<bool>, Vec<(Position, String)>) {
    let space = Context::new(hub, 0, None).space();
    let Some(history) = hub.history(space, channel, start, 1_000) else {
        return (None, Vec::new());
    };
    let recovered = history.recovered;
    let said = history.publications.iter().map(|kept| {
        let text = match kept.message {
            Message::Text(text) => text.to_owned(),
            Message::Binary(bytes) => format!("{bytes:?}"),
        };
        (kept.position, text)
    });
    let mut said: Vec<(Position, String)> = said.collect();
    // What they are called stands in the ring, whose newest they are.
    let id = hub.channels.find(space, channel).unwrap();
    let ring = hub.channels.get(id).unwrap().ring.as_ref().unwrap();
    let frames = ring.frames().skip(ring.len() - said.len());
    for (frame, (_, text)) in frames.zip(&mut said) {
        *text = described(text, hub.frames.event(frame), hub.frames.tags(frame));
    }
    (recovered, said)
}

fn segment(batches: &[Batch]) -> Vec<u8> {
    let mut bytes = Salt::new(SALT).segment_header().to_vec();
    for batch in batches {
        bytes.extend_from_slice(&batch.bytes);
    }
    bytes
}

/// A restart: another process, with other random numbers, and so many ms later.
fn restarted(segment: &[u8], seed: u64, after_ms: u64, limits: HubLimits) -> Hub {
    let mut hub = hub_with(seed, DAY_MS + after_ms, limits);
    if let Ok(records) = Records::of(segment) {
        for record in records {
            hub.restore(&record);
            hub.check_invariants();
        }
    }
    hub
}

/// Two channels, some publications each, some of them called something, and what was logged of them.
fn lived() -> (Vec<(&'static str, Position, String)>, Vec<u8>) {
    let mut hub = hub(1);
    hub.keep_journal(Salt::new(SALT));
    let mut all = Vec::new();
    for n in 0..7 {
        let channel = ["news", "sport"][n % 3 / 2];
        let text = format!("{channel} {n}");
        let (event, tags): (_, &[_]) = [
            (Some("goal"), &["home", "red"][..]),
            (None, &[]),
            (Some("card"), &[]),
            (None, &["red"]),
        ][n % 4];
        let position = publish_called(&mut hub, channel, &text, event, tags);
        let tags = match cfg!(feature = "filters") {
            true => tags.join(","),
            false => String::new(),
        };
        all.push((channel, position, described(&text, event, &tags)));
    }
    let batch = hub.take_batch().unwrap();
    assert_eq!(batch.records, 7);
    assert!(hub.take_batch().is_none());
    (all, segment(&[batch]))
}

/// Whatever became of the log: what is restored of each channel is a piece of what was published, without a hole; who
/// has seen any of it is given exactly what follows, or told of a gap, also when the channel has gone on.
fn check_restart(all: &[(&'static str, Position, String)], log: &[u8], what: &str) -> usize {
    let mut hub = restarted(log, 2, 10, HubLimits::default());
    let mut restored = 0;
    for channel in ["news", "sport"] {
        let published: Vec<(Position, String)> = all
            .iter()
            .filter(|(name, ..)| *name == channel)
            .map(|(_, position, text)| (*position, text.clone()))
            .collect();
        let (_, kept) = read(&mut hub, channel, Start::All);
        restored += kept.len();
        let begin = kept.first().map_or(published.len(), |first| {
            published.iter().position(|p| p == first).expect(what)
        });
        let end = begin + kept.len();
        assert_eq!(published.get(begin..end), Some(&kept[..]), "{what}");
        // It goes on.
        let new = publish(&mut hub, channel, "new");
        for (at, (position, _)) in published.iter().enumerate() {
            let (recovered, given) = read(&mut hub, channel, Start::Position(*position));
            if recovered == Some(true) {
                let was_there = !kept.is_empty() && at + 1 >= begin && at < end;
                assert!(was_there, "{what}: {position} was lost");
                let mut expected = published[at + 1..end].to_vec();
                expected.push((new, "new".to_owned()));
                assert_eq!(given, expected, "{what}");
            } else {
                let is_there = !kept.is_empty() && at + 1 >= begin && at < end;
                assert!(!is_there, "{what}: {position} is there");
            }
        }
    }
    restored
}

#[test]
fn what_was_kept_is_kept_across_a_restart() {
    let (all, log) = lived();
    assert_eq!(check_restart(&all, &log, "whole"), 7);
}

#[test]
fn cut_at_any_byte_nobody_misses_anything_in_silence() {
    let (all, log) = lived();
    for cut in 0..log.len() {
        let restored = check_restart(&all, &log[..cut], &format!("cut at {cut}"));
        assert!(restored < 7);
    }
}

#[test]
fn spoiled_at_any_byte_nobody_misses_anything_in_silence() {
    let (all, log) = lived();
    for at in 0..log.len() {
        for bits in [1, 0x80, 0xff] {
            let mut spoiled = log.clone();
            spoiled[at] ^= bits;
            let restored = check_restart(&all, &spoiled, &format!("{bits:x} at {at}"));
            assert!(restored < 7);
        }
    }
}

#[test]
fn a_stretch_that_is_missing_leaves_the_newest_piece() {
    let (all, log) = lived();
    let (mut at, mut ends) = (SEGMENT_HEADER_BYTES, Vec::new());
    while at < log.len() {
        at += crate::journal::whole_records(&log[at..], 0);
        ends.push(at);
    }
    // The third of the log without any one record, and with the last one of them moved to the front.
    for gone in 0..7_usize {
        let begin = gone
            .checked_sub(1)
            .map_or(SEGMENT_HEADER_BYTES, |n| ends[n]);
        let without = [&log[..begin], &log[ends[gone]..]].concat();
        check_restart(&all, &without, &format!("without {gone}"));
        let moved = [
            &log[..SEGMENT_HEADER_BYTES],
            &log[begin..ends[gone]],
            &without[SEGMENT_HEADER_BYTES..],
        ];
        check_restart(&all, &moved.concat(), &format!("{gone} in front"));
    }
}

#[test]
fn a_lost_end_gives_the_next_publications_other_tags() {
    let (all, log) = lived();
    let (_, lost, _) = all.iter().rfind(|(name, ..)| *name == "news").unwrap();
    // The end was not written before the machine went down: the channel counts on from where the log ends.
    let mut hub = restarted(&log[..log.len() - 1], 2, 10, HubLimits::default());
    let again = publish(&mut hub, "news", "another");
    assert_eq!((again.epoch, again.offset), (lost.epoch, lost.offset));
    assert_ne!(again.tag, lost.tag);
    // Who has seen what was lost does not get the next one as if nothing had happened.
    publish(&mut hub, "news", "the next");
    let (recovered, given) = read(&mut hub, "news", Start::Position(*lost));
    assert_eq!(recovered, Some(false));
    assert!(given.iter().any(|(_, text)| text == "another"));
}

#[test]
fn what_holds_now_bounds_what_comes_back() {
    let mut before = hub(1);
    before.keep_journal(Salt::new(SALT));
    for n in 0..5 {
        before.now = Now::new(n * 20_000, DAY_MS + n * 20_000);
        for channel in ["news", "few", "memory", "none"] {
            publish(&mut before, channel, &format!("{n}"));
        }
    }
    let batch = before.take_batch().unwrap();
    assert_eq!(
        batch.records, 10,
        "neither what is not kept nor what is kept in memory alone"
    );
    assert_eq!(batch.until_unix_ms, DAY_MS + 80_000 + 60_000);
    let log = segment(&[batch]);
    let texts = |hub: &mut Hub, channel| {
        let (_, kept) = read(hub, channel, Start::All);
        kept.into_iter().map(|(_, text)| text).collect::<String>()
    };
    // Age counts by the calendar, across the restart and after it.
    let mut after = restarted(&log, 2, 110_000, HubLimits::default());
    assert_eq!(texts(&mut after, "news"), "34");
    assert_eq!(texts(&mut after, "few"), "34");
    assert_eq!(texts(&mut after, "memory"), "");
    after.now = Now::new(11_000, DAY_MS + 121_000);
    after.expire_histories();
    after.check_invariants();
    assert_eq!(texts(&mut after, "news"), "4");
    assert_eq!(read(&mut after, "news", Start::Age(42_000)).1.len(), 1);
    assert_eq!(read(&mut after, "news", Start::Age(40_000)).1.len(), 0);
    // All too old: the position goes on meaning something.
    let head = publish(&mut before, "news", "5");
    let log = [log, before.take_batch().unwrap().bytes].concat();
    let mut after = restarted(&log, 2, 1_000_000, HubLimits::default());
    assert_eq!(
        read(&mut after, "news", Start::Position(head)),
        (Some(true), vec![])
    );
    // The budget: the most recently written stay.
    let limits = HubLimits {
        history_budget_bytes: 600,
        ..HubLimits::default()
    };
    let mut after = restarted(&log, 2, 10, limits);
    assert_eq!(texts(&mut after, "few"), "");
    assert_eq!(texts(&mut after, "news"), "5");
    // Another calendar: nothing is from the future.
    let mut after = restarted(&log, 2, 0, HubLimits::default());
    assert_eq!(texts(&mut after, "news"), "012345");
}

#[test]
fn a_log_that_is_too_slow_has_a_place_missing_and_publications_go_on() {
    let limits = HubLimits {
        memory_budget_bytes: 80_000,
        ..HubLimits::default()
    };
    let mut before = hub_with(1, DAY_MS, limits);
    before.keep_journal(Salt::new(SALT));
    let text = "x".repeat(1_000);
    let used = before.used_bytes();
    let mut last = publish(&mut before, "few", &text);
    for _ in 0..30 {
        last = publish(&mut before, "few", &text);
    }
    let waits = before.journal_bytes();
    assert!((8_000..=11_000).contains(&waits), "{waits}");
    assert!(before.used_bytes() >= used + waits, "it counts");
    let lost = before.metrics.history_log_lost_total;
    assert_eq!(before.metrics.history_logged_total + lost, 31);
    assert!(lost > 15);
    let early = before.take_batch().unwrap();
    before.note_journal_waiting(early.bytes.len());
    publish(&mut before, "few", &text);
    assert_eq!(
        before.metrics.history_log_lost_total,
        lost + 1,
        "it still waits"
    );
    before.note_journal_waiting(0);
    let newest = publish(&mut before, "few", "again");
    let late = before.take_batch().unwrap();
    let mut after = restarted(&segment(&[early, late]), 2, 10, limits);
    assert_eq!(
        read(&mut after, "few", Start::All).1,
        [(newest, "again".to_owned())]
    );
    assert_eq!(
        read(&mut after, "few", Start::Position(last)).0,
        Some(false)
    );
    // One message alone may be larger than all that may wait.
    publish(&mut before, "few", &"y".repeat(12_000));
    assert_eq!(before.take_batch().map(|batch| batch.records), Some(1));
}

#[test]
fn where_channels_stand_is_said_at_the_beginning_and_at_the_end() {
    let mut before = hub(1);
    before.keep_journal(Salt::new(SALT));
    let head = publish(&mut before, "news", "hello");
    publish(&mut before, "memory", "hello");
    drop(before.take_batch());
    before.log_heads();
    let heads = before.take_batch().unwrap();
    assert_eq!(heads.records, 1);
    // Of the publications nothing is left.
    let mut after = restarted(&segment(&[heads]), 2, 10, HubLimits::default());
    assert_eq!(
        read(&mut after, "news", Start::Position(head)),
        (Some(true), vec![])
    );
    after.keep_journal(Salt::new(SALT));
    let heads = after.take_batch().unwrap();
    assert_eq!(heads.records, 1, "the older log may be removed then");
    let next = publish(&mut after, "news", "hello again");
    assert_eq!((next.epoch, next.offset), (head.epoch, head.offset + 1));
    let next_batch = after.take_batch().unwrap();
    let mut third = restarted(&segment(&[heads, next_batch]), 3, 10, HubLimits::default());
    let (recovered, given) = read(&mut third, "news", Start::Position(head));
    assert_eq!(
        (recovered, given),
        (Some(true), vec![(next, "hello again".to_owned())])
    );
}

#[test]
fn a_new_life_of_a_channel_follows_an_old_one_in_the_log() {
    let mut before = hub(1);
    before.keep_journal(Salt::new(SALT));
    let old = publish(&mut before, "news", "old");
    // Let go for want of room, and begun anew.
    assert!(before.let_go_of_one());
    let new = publish(&mut before, "news", "new");
    assert_ne!(old.epoch, new.epoch);
    let log = segment(&[before.take_batch().unwrap()]);
    let mut after = restarted(&log, 2, 10, HubLimits::default());
    assert_eq!(
        read(&mut after, "news", Start::All).1,
        [(new, "new".to_owned())]
    );
    assert_eq!(
        read(&mut after, "news", Start::Position(old)).0,
        Some(false)
    );
}

/// What was published before a restart matches as what comes now does, and nobody is told of a gap.
#[cfg(feature = "filters")]
#[test]
fn who_filters_gets_what_matches_of_what_a_restart_brings_back() {
    use crate::hub::Filter;

    let (all, log) = lived();
    let mut hub = restarted(&log, 2, 10, HubLimits::default());
    publish(&mut hub, "news", "without a name");
    publish_called(&mut hub, "news", "new", Some("goal"), &[]);
    let goals = Filter::default().types(["goal"]).unwrap();
    let red = Filter::default().tags(["red"]).unwrap();
    for (filter, mark, expected) in [(goals, "(goal", vec!["new (goal )"]), (red, "red)", vec![])] {
        let space = Context::new(&mut hub, 0, None).space();
        let session = hub.open(0, 0);
        assert_eq!(hub.filter(session, space, filter), Ok(()));
        hub.subscribe_from(session, space, "news", Start::All)
            .unwrap();
        let mut got = Vec::new();
        while hub.follows(session) {
            hub.feed(session);
            hub.place_gap_marker(session, |missed| panic!("a gap of {missed:?}"));
            for frame in hub.outbox_frames(session) {
                let (_, payload) = message_in(frame).unwrap();
                got.push(String::from_utf8(payload.to_vec()).unwrap());
            }
            let waiting = hub.outbox_bytes(session);
            hub.outbox_advance(session, waiting);
            hub.check_invariants();
        }
        let of_before = all.iter().filter(|(channel, ..)| *channel == "news");
        let of_before = of_before.map(|(.., said)| &**said);
        let wanted = of_before.chain(expected).filter(|said| said.contains(mark));
        let wanted: Vec<&str> = wanted
            .map(|said| said.split(" (").next().unwrap())
            .collect();
        assert!(wanted.len() > 1, "{wanted:?}");
        assert_eq!(got, wanted);
    }
}

/// They are kept as long as what they are of, and count as they did.
#[test]
fn names_come_back_with_their_bytes() {
    let mut before = hub(1);
    before.keep_journal(Salt::new(SALT));
    for n in 0..3 {
        publish_called(&mut before, "few", &format!("{n}"), Some("goal"), &["red"]);
    }
    let log = segment(&[before.take_batch().unwrap()]);
    let after = restarted(&log, 2, 10, HubLimits::default());
    assert_eq!(after.histories.bytes(), before.histories.bytes());
    assert_eq!(after.frames.bytes(), before.frames.bytes());
}

/// As those that are numbered here.
#[test]
fn what_another_home_calls_its_publications_comes_back_too() {
    use crate::hub::{Incoming, Received};

    let mut before = hub(1);
    before.keep_journal(Salt::new(SALT));
    let space = Context::new(&mut before, 0, None).space();
    let first = Position {
        epoch: 9,
        offset: 1,
        tag: 3,
    };
    let second = first.next(4);
    let beginning = Position { offset: 0, ..first };
    for (at, previous, event) in [(first, beginning, None), (second, first, Some("goal"))] {
        let incoming = Incoming::of(at, previous, Message::Text("m")).event(event);
        #[cfg(feature = "filters")]
        let tags = Tags::new(["red"]).unwrap();
        #[cfg(feature = "filters")]
        let incoming = incoming.tags(&tags);
        // Its ring began with another life.
        let received = before.receive(space, "news", &incoming).unwrap();
        let is_first = event.is_none();
        assert_eq!(matches!(received, Received::Gap(0)), is_first);
        before.check_invariants();
    }
    let log = segment(&[before.take_batch().unwrap()]);
    let expected = read(&mut before, "news", Start::All);
    let mut after = restarted(&log, 2, 10, HubLimits::default());
    assert_eq!(read(&mut after, "news", Start::All), expected);
    let tags = match cfg!(feature = "filters") {
        true => "red",
        false => "",
    };
    let said = expected.1.iter().map(|(_, text)| text.clone());
    let described = [
        described("m", None, tags),
        described("m", Some("goal"), tags),
    ];
    assert!(said.eq(described));
}
