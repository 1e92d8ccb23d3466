//! Attacks by way of the machine: a server that is stopped, a log that nobody reads, files that are used up, keys that
//! are guessed, names that are used up.
//!
//! Clocks that jump are not here: the time of a machine is not a test's to set. The simulated world has them.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use dunlin::ws::OpCode;

use crate::arena::{Arena, Class};
use crate::frames::{FLOODERS, NONE, flood};
use crate::raw::{Code, Raw, codes, frame, times, upgrade};
use crate::support::eventually;

/// Subscriptions that one session may have.
const SUBSCRIPTIONS: usize = 128;

pub(crate) const CLASSES: &[Class] = &[
    Class {
        name: "a stopped server",
        settings: &[
            ("LIMITS__PING_AFTER_MS", "1000"),
            ("LIMITS__PING_GRACE_MS", "2500"),
        ],
        attack: stopped,
        ..NONE
    },
    Class {
        name: "a stuck log",
        stuck_log: true,
        attack: stuck_log,
        ..NONE
    },
    Class {
        name: "descriptors used up",
        settings: &[("CONNECTIONS_MAX", "1000")],
        files: 64,
        attack: descriptors,
        ..NONE
    },
    Class {
        name: "guessed keys",
        settings: &[
            ("KEYS", "secret"),
            ("LIMITS__ADDRESS_EXEMPT_LOCAL", "false"),
        ],
        attack: guessed_keys,
        ..NONE
    },
    Class {
        name: "channel names",
        hurried: &[("LIMITS__CHANNELS_MAX", "5000")],
        attack: channel_names,
        ..NONE
    },
    Class {
        name: "subscriptions",
        attack: subscriptions,
        ..NONE
    },
];

/// The server stands still, as in a suspended machine. Whoever has answered is not cut for it.
fn stopped(arena: &mut Arena) -> String {
    arena.standstill = true;
    let address = arena.main();
    let times: &[u64] = arena.pick(&[3], &[3, 35]);
    let mut crowd: Vec<Raw> = (0..20).map(|_| Raw::open(&address, "/echo")).collect();
    arena.attackers = crowd.len() as u64;
    let mut pings = 0;
    // Each answers pings, before and after.
    let mut serve = |crowd: &mut [Raw], time: Duration| {
        let end = Instant::now() + time;
        while Instant::now() < end {
            for raw in &mut *crowd {
                raw.stream.set_nonblocking(true).unwrap();
                let mut byte = [0; 2];
                let is_there = match raw.stream.peek(&mut byte) {
                    Ok(n) => n > 0,
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                };
                let has_ping = is_there && byte[0] == 0x89;
                raw.stream.set_nonblocking(false).unwrap();
                if has_ping {
                    assert_eq!(raw.frame(), Some((0x9, Vec::new())));
                    raw.send(&frame(OpCode::Pong, b"")).unwrap();
                    pings += 1;
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
    };
    for seconds in times {
        serve(&mut crowd, Duration::from_millis(1500));
        arena.dunlin.child.signal("STOP");
        // Half of them say something meanwhile, all answer what they are asked.
        for raw in &mut crowd[..10] {
            raw.send(&frame(OpCode::Text, b"meanwhile")).unwrap();
        }
        serve(&mut crowd, Duration::from_secs(*seconds));
        arena.dunlin.child.signal("CONT");
        for raw in &mut crowd[..10] {
            loop {
                match raw.frame() {
                    Some((0x1, text)) if text == b"meanwhile" => break,
                    Some((0x9, _)) => raw.send(&frame(OpCode::Pong, b"")).unwrap(),
                    other => {
                        arena.faults.push(format!("after {seconds} s: {other:?}"));
                        break;
                    }
                }
            }
        }
        serve(&mut crowd, Duration::from_millis(3000));
    }
    let mut lost = 0;
    for raw in &mut crowd {
        let sent = raw.send(&frame(OpCode::Text, b"still here"));
        let mut answer = raw.frame();
        while answer.as_ref().is_some_and(|a| a.0 == 0x9) {
            answer = raw.frame();
        }
        lost += usize::from(sent.is_err() || answer != Some((0x1, b"still here".to_vec())));
    }
    arena.expect(lost == 0, || format!("{lost} were cut"));
    format!("stood still for {times:?} s: {pings} pings answered, {lost} of 20 were cut")
}

/// Refusals write to the log, and nobody reads it.
fn stuck_log(arena: &mut Arena) -> String {
    let (address, until) = (arena.main(), arena.until());
    arena.attackers = FLOODERS;
    let chunk = times(
        500,
        b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nGET /ws/status?x HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    let bytes: u64 = thread::scope(|scope| {
        let flooder = || {
            let mut bytes = 0;
            while Instant::now() < until {
                let mut raw = Raw::connect(&address);
                raw.stream.set_nonblocking(false).unwrap();
                if raw.send(&chunk).is_err() {
                    continue;
                }
                bytes += chunk.len() as u64;
                for _ in 0..1000 {
                    if raw.answer().is_none() {
                        break;
                    }
                }
                // And one that is malformed.
                let mut raw = Raw::connect(&address);
                _ = raw.send(b"nonsense\r\n\r\n");
                _ = raw.answer();
            }
            bytes
        };
        let threads: Vec<_> = (0..FLOODERS).map(|_| scope.spawn(flooder)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    let dropped = arena.metric("dunlin_log_lines_dropped_total");
    let refused = arena.metric("dunlin_refused_total{reason=\"no_route\"}");
    format!(
        "{} MB of requests, {refused} refusals, {dropped} lines dropped",
        bytes / 1_000_000
    )
}

fn descriptors(arena: &mut Arena) -> String {
    let (address, until) = (arena.main(), arena.until());
    let mut waves = 0;
    arena.attackers = 128;
    while Instant::now() < until {
        let mut crowd: Vec<Raw> = (0..128).map(|_| Raw::connect(&address)).collect();
        for raw in &mut crowd {
            _ = raw.send(&upgrade("/echo"));
        }
        crowd[0].opened();
        thread::sleep(Duration::from_millis(150));
        waves += 1;
        crowd.into_iter().for_each(Raw::reset);
    }
    // The next one is served.
    let mut next = Raw::open(&address, "/echo");
    next.send(&frame(OpCode::Text, b"hello")).unwrap();
    let answer = next.frame();
    arena.expect(answer == Some((0x1, b"hello".to_vec())), || {
        format!("the next one got {answer:?}")
    });
    let failed = arena.metric("dunlin_refused_total{reason=\"accept_failed\"}");
    format!("{waves} times 128 clients where 64 files are allowed; accepting rested {failed} times")
}

fn guessed_keys(arena: &mut Arena) -> String {
    let (address, until) = (arena.main(), arena.until());
    arena.attackers = FLOODERS;
    let guess = |n: u64, from: u64| {
        // A good key from another address is not in the way of a guesser.
        let source = format!("127.0.0.{}", from + 2);
        let mut raw = Raw::connect_from(&source, &address);
        _ = raw.send(&upgrade(&format!("/echo?token=guess{n}")));
        raw.answer().map(|answer| answer.0)
    };
    let statuses: Vec<Option<u16>> = thread::scope(|scope| {
        let guesser = |from| {
            let mut statuses = Vec::new();
            while Instant::now() < until {
                statuses.push(guess(statuses.len() as u64, from));
            }
            statuses
        };
        let threads: Vec<_> = (0..FLOODERS)
            .map(|from| scope.spawn(move || guesser(from)))
            .collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    let known = statuses.iter().all(|s| matches!(s, Some(401 | 429)));
    arena.expect(known, || codes(&statuses));
    let judged = statuses.iter().filter(|s| **s == Some(401)).count() as u64;
    arena.expect(judged <= 11 * FLOODERS, || {
        format!("{judged} guesses were judged")
    });
    drop(Raw::open(&address, "/echo?token=secret"));
    format!(
        "{} guesses from {FLOODERS} addresses: {}",
        statuses.len(),
        codes(&statuses)
    )
}

/// Everybody subscribes to as much as they may, until there are no channels left. Twice: what stays behind of the first
/// time serves the second.
fn channel_names(arena: &mut Arena) -> String {
    let channels = arena.pick(5_000, 100_000);
    let clients = channels / SUBSCRIPTIONS + 1;
    let before = arena.kib();
    let first = name_channels(arena, channels, "first");
    let full = arena.kib().saturating_sub(before);
    drop(first);
    eventually("the first ones are gone", || {
        (arena.metric("dunlin_channels ") == 0).then_some(())
    });
    let kept = arena.kib().saturating_sub(before);
    let second = name_channels(arena, channels, "second");
    let again = arena.kib().saturating_sub(before);
    drop(second);
    arena.attackers = clients as u64;
    // Names are small pieces, of which glibc gives back nothing while the last one stays. Over musl it is 0.6 MiB.
    arena.left_kib_max = 32 << 10;
    arena.expect(again <= full + full / 4 + 1024, || {
        format!("{full} KiB the first time, {again} the second")
    });
    format!(
        "{clients} clients, {SUBSCRIPTIONS} subscriptions each: {channels} channels of {} bytes, the next ones refused; \
         when all had gone {kept} KiB were kept, and a second time all took {again} instead of {full}",
        full * 1024 / channels as u64
    )
}

/// All channels there may be, and some that may not.
fn name_channels(arena: &mut Arena, channels: usize, word: &str) -> Vec<Raw> {
    // Fewer than what ends a session for bad messages.
    const TOO_MANY: usize = 10;
    let address = arena.main();
    let names: Vec<usize> = (0..channels + TOO_MANY).collect();
    let mut crowd: Vec<Raw> = Vec::new();
    for names in names.chunks(SUBSCRIPTIONS) {
        let mut raw = Raw::open(&address, "/ws");
        let mut commands = Vec::new();
        for n in names {
            let text = format!(r#"{{"action":"subscribe","chain_name":"{word}-{n}"}}"#);
            commands.extend(frame(OpCode::Text, text.as_bytes()));
        }
        commands.extend(frame(OpCode::Ping, b"done"));
        raw.send(&commands).unwrap();
        crowd.push(raw);
    }
    let mut refused = 0;
    for raw in &mut crowd {
        loop {
            match raw.frame() {
                Some((0xA, _)) => break,
                Some((0x1, text)) => {
                    refused += usize::from(text.windows(5).any(|w| w == b"error"));
                }
                other => {
                    arena.faults.push(format!("a subscriber got {other:?}"));
                    break;
                }
            }
        }
    }
    let open = arena.metric("dunlin_channels ");
    arena.expect(open == channels as u64, || format!("{open} channels"));
    arena.expect(refused == TOO_MANY, || format!("{refused} were refused"));
    crowd
}

fn subscriptions(arena: &mut Arena) -> String {
    let pair = |n: usize| {
        let on = format!(r#"{{"action":"subscribe","chain_name":"chain-{n}"}}"#);
        let off = format!(r#"{{"action":"unsubscribe","chain_name":"chain-{n}"}}"#);
        [
            frame(OpCode::Text, on.as_bytes()),
            frame(OpCode::Text, off.as_bytes()),
        ]
        .concat()
    };
    let chunk: Vec<u8> = (0..300).flat_map(pair).collect();
    let (bytes, ends) = flood(arena, "/ws", &chunk, true);
    let known = |end: &Code| end.is_none() || *end == Some(1008);
    arena.expect(ends.iter().all(known), || codes(&ends));
    format!(
        "{FLOODERS} clients again and again, {} MB of commands: {}",
        bytes / 1_000_000,
        codes(&ends)
    )
}
