//! Attacks by frames: floods, pieces, what is announced and never comes, what is wrong.

use std::thread;
use std::time::{Duration, Instant};

use dunlin::ws::OpCode;

use crate::arena::{Arena, Class};
use crate::raw::{Code, Raw, codes, frame, header, times};

/// Clients that flood at the same time.
pub(crate) const FLOODERS: u64 = 4;

pub(crate) const CLASSES: &[Class] = &[
    Class {
        name: "pings",
        attack: pings,
        ..NONE
    },
    Class {
        name: "pongs",
        attack: pongs,
        ..NONE
    },
    Class {
        name: "echoes that nobody reads",
        attack: unread_echoes,
        ..NONE
    },
    Class {
        name: "large echoes that nobody reads",
        attack: large_unread_echoes,
        ..NONE
    },
    Class {
        name: "greedy senders",
        attack: greedy,
        ..NONE
    },
    Class {
        name: "unknown commands",
        attack: commands,
        ..NONE
    },
    Class {
        name: "one-byte fragments",
        attack: small_fragments,
        ..NONE
    },
    Class {
        name: "empty fragments",
        attack: empty_fragments,
        ..NONE
    },
    Class {
        name: "unfinished messages",
        hurried: &[("LIMITS__MESSAGE_TIMEOUT_MS", "1500")],
        settings: &[("LIMITS__MESSAGE_TIMEOUT_MS", "5000")],
        attack: unfinished,
        ..NONE
    },
    Class {
        name: "bad frames",
        attack: bad,
        ..NONE
    },
];

/// No settings, no limits of its own.
pub(crate) const NONE: Class = Class {
    name: "",
    settings: &[],
    hurried: &[],
    files: 0,
    stuck_log: false,
    attack: |_| String::new(),
};

/// Some clients flood until their time is up; who is closed comes again. Answers bytes and how each of them ended.
pub(crate) fn flood(arena: &mut Arena, path: &str, chunk: &[u8], reads: bool) -> (u64, Vec<Code>) {
    let (address, until) = (arena.main(), arena.until());
    arena.attackers = FLOODERS;
    let flooder = || {
        let (mut taken, mut ends) = (0, Vec::new());
        while Instant::now() < until {
            let mut raw = Raw::open(&address, path);
            taken += raw.flood(chunk, until, reads);
            if Instant::now() < until {
                ends.push(raw.end().1);
            }
        }
        (taken, ends)
    };
    let flooders = thread::scope(|scope| {
        let threads: Vec<_> = (0..FLOODERS).map(|_| scope.spawn(flooder)).collect();
        thread::sleep(arena.pick(Duration::from_millis(300), Duration::from_secs(2)));
        arena.note_kernel();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect::<Vec<_>>()
    });
    let mut ends: Vec<Code> = Vec::new();
    let mut bytes = 0;
    for (taken, ended) in flooders {
        bytes += taken;
        ends.extend(ended);
    }
    (bytes, ends)
}

/// Floods that must end with this code, each time anew.
fn refused_flood(arena: &mut Arena, path: &str, chunk: &[u8], code: u16, what: &str) -> String {
    let (bytes, ends) = flood(arena, path, chunk, true);
    let wrong: Vec<Code> = ends
        .iter()
        .copied()
        .filter(|end| *end != Some(code) && end.is_some())
        .collect();
    arena.expect(wrong.is_empty(), || format!("ended with {}", codes(&wrong)));
    let told = ends.contains(&Some(code));
    arena.expect(told, || format!("nobody was told {code}"));
    format!(
        "{FLOODERS} clients again and again, {} MB of {what}: {}",
        bytes / 1_000_000,
        codes(&ends)
    )
}

fn pings(arena: &mut Arena) -> String {
    let chunk = times(200, &frame(OpCode::Ping, &[7; 125]));
    refused_flood(arena, "/echo", &chunk, 1008, "pings")
}

fn pongs(arena: &mut Arena) -> String {
    let chunk = times(200, &frame(OpCode::Pong, &[7; 125]));
    refused_flood(arena, "/echo", &chunk, 1008, "pongs")
}

fn commands(arena: &mut Arena) -> String {
    let chunk = times(200, &frame(OpCode::Text, br#"{"type":"no such command"}"#));
    refused_flood(arena, "/ws", &chunk, 1008, "unknown commands")
}

fn small_fragments(arena: &mut Arena) -> String {
    let mut chunk = Vec::new();
    let mut piece = frame(OpCode::Continuation, b"x");
    piece[0] &= 0x7F;
    let mut first = frame(OpCode::Text, b"x");
    first[0] &= 0x7F;
    chunk.extend(first);
    chunk.extend(times(40_000, &piece));
    refused_flood(arena, "/echo", &chunk, 1008, "fragments of one byte")
}

fn empty_fragments(arena: &mut Arena) -> String {
    let mut piece = frame(OpCode::Continuation, b"");
    piece[0] &= 0x7F;
    let mut chunk = frame(OpCode::Text, b"");
    chunk[0] &= 0x7F;
    chunk.extend(times(40_000, &piece));
    refused_flood(arena, "/echo", &chunk, 1008, "empty fragments")
}

fn unread_echoes(arena: &mut Arena) -> String {
    unread(arena, 1024)
}

fn large_unread_echoes(arena: &mut Arena) -> String {
    unread(arena, 1 << 20)
}

/// Clients that say much and read nothing; in the end they read, and nothing of what was taken is missing.
fn unread(arena: &mut Arena, bytes: usize) -> String {
    let message = frame(OpCode::Binary, &vec![7; bytes]);
    let (address, until) = (arena.main(), arena.until());
    let mut greedy: Vec<Raw> = (0..FLOODERS)
        .map(|_| Raw::open(&address, "/echo"))
        .collect();
    let chunk = times((64 << 10) / message.len().min(64 << 10), &message);
    arena.attackers = FLOODERS;
    let taken: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = greedy
            .iter_mut()
            .map(|raw| scope.spawn(|| raw.flood(&chunk, until, false)))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    arena.note_kernel();
    // What was said only in part gets no answer; the rest does, in spite of the long time.
    for (i, (raw, taken)) in greedy.iter_mut().zip(&taken).enumerate() {
        let sent = taken / message.len() as u64;
        for n in 0..sent {
            let echo = raw.frame();
            let is_whole = matches!(&echo, Some((0x2, payload)) if payload.len() == bytes);
            if !is_whole {
                let got =
                    echo.map(|(opcode, payload)| (opcode, payload.escape_ascii().to_string()));
                arena
                    .faults
                    .push(format!("client {i}, echo {n} of {sent}: {got:?}"));
                break;
            }
        }
    }
    format!(
        "{FLOODERS} clients, {} KB each before the server stopped reading; then all was read",
        taken.iter().sum::<u64>() / FLOODERS / 1000
    )
}

fn greedy(arena: &mut Arena) -> String {
    let chunk = times(64, &frame(OpCode::Binary, &[7; 1024]));
    let (bytes, ends) = flood(arena, "/echo", &chunk, true);
    arena.expect(ends.is_empty(), || format!("ended with {}", codes(&ends)));
    format!(
        "{FLOODERS} clients, {} MB of messages of 1 KiB",
        bytes / 1_000_000
    )
}

fn unfinished(arena: &mut Arena) -> String {
    let (address, count) = (arena.main(), arena.pick(200, 2000));
    let mut crowd: Vec<Raw> = (0..count)
        .map(|_| {
            let mut raw = Raw::open(&address, "/echo");
            raw.send(&header(0x82, 1 << 20)).unwrap();
            raw
        })
        .collect();
    arena.attackers = count;
    // Memory follows what arrives, not what is announced.
    arena.each_kib_max = 8;
    arena.note_kernel();
    let ends: Vec<Code> = crowd.iter_mut().map(|raw| raw.end().1).collect();
    arena.expect(ends.iter().all(|end| *end == Some(1008)), || codes(&ends));
    format!(
        "{count} clients announced 1 MiB each and sent nothing: {}",
        codes(&ends)
    )
}

/// What is wrong, and the code that says so (RFC 6455 §5.2, §5.5, §7.4, §8.1).
fn kinds() -> Vec<(Vec<u8>, u16)> {
    let text = |payload: &[u8]| frame(OpCode::Text, payload);
    let patched = |mut frame: Vec<u8>, first: u8| {
        frame[0] = first;
        frame
    };
    let mut kinds = Vec::new();
    for bit in [0x10, 0x20, 0x40, 0x70] {
        kinds.push((patched(text(b"x"), 0x81 | bit), 1002));
    }
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        kinds.push((patched(text(b"x"), 0x80 | opcode), 1002));
    }
    kinds.push((vec![0x81, 0x01, b'x'], 1002)); // not masked
    kinds.push((vec![0x82, 0xFE, 0, 5, 0, 0, 0, 0], 1002)); // lengths not in their shortest form
    kinds.push((header(0x82, 5), 1002));
    kinds.push((header(0x82, 1 << 63), 1002));
    for len in [(1 << 20) + 1, 1 << 32, (1 << 63) - 1] {
        kinds.push((header(0x82, len), 1009));
    }
    kinds.push((header(0x89, 126), 1002)); // control frames: too long, in pieces
    kinds.push((patched(frame(OpCode::Ping, b"x"), 0x09), 1002));
    kinds.push((frame(OpCode::Continuation, b"x"), 1002)); // of nothing
    let begun = patched(text(b"x"), 0x01);
    kinds.push(([begun, text(b"y")].concat(), 1002)); // a message within a message
    let broken: [&[u8]; 4] = [b"\xFF", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"\xC0\xAF"];
    for payload in broken {
        kinds.push((text(payload), 1007));
    }
    kinds.push((frame(OpCode::Close, b"x"), 1002)); // close frames: one byte, codes, text
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
        kinds.push((frame(OpCode::Close, &code.to_be_bytes()), 1002));
    }
    kinds.push((frame(OpCode::Close, b"\x03\xE8\xFF"), 1007));
    kinds
}

fn bad(arena: &mut Arena) -> String {
    let (address, until, kinds) = (arena.main(), arena.until(), kinds());
    let mut sent = 0;
    let mut wrong = Vec::new();
    while sent < kinds.len() || Instant::now() < until {
        let (bytes, code) = &kinds[sent % kinds.len()];
        let mut raw = Raw::open(&address, "/echo");
        raw.send(bytes).unwrap();
        let end = raw.end();
        if end != (0, Some(*code)) {
            wrong.push(format!("{}: {end:?}, not {code}", bytes.escape_ascii()));
        }
        sent += 1;
    }
    arena.faults.append(&mut wrong);
    format!("{sent} times one of {} kinds", kinds.len())
}
