//! Attacks before any WebSocket is open: heads that drip, never end or are wrong, bodies that crawl, answers that nobody
//! takes.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::arena::{Arena, Class};
use crate::frames::{FLOODERS, NONE};
use crate::raw::{Raw, times};

/// Half-open handshakes per batch: less than the listener lets wait.
const BATCH: usize = 500;

pub(crate) const CLASSES: &[Class] = &[
    Class {
        name: "half-open handshakes",
        hurried: &[("LIMITS__HANDSHAKE_TIMEOUT_MS", "4000")],
        attack: half_open,
        ..NONE
    },
    Class {
        name: "dripping heads",
        hurried: &[("LIMITS__HANDSHAKE_TIMEOUT_MS", "1000")],
        attack: dripping,
        ..NONE
    },
    Class {
        name: "endless heads",
        attack: endless,
        ..NONE
    },
    Class {
        name: "bad requests",
        attack: bad,
        ..NONE
    },
    Class {
        name: "crawling bodies",
        hurried: &[("LIMITS__REQUEST_TIMEOUT_MS", "1000")],
        attack: crawling,
        ..NONE
    },
    Class {
        name: "answers byte by byte",
        hurried: &[("LIMITS__CLOSE_TIMEOUT_MS", "1000")],
        attack: sipping,
        ..NONE
    },
];

/// How the answers begin: statuses and how many there were of each.
fn statuses(statuses: &[Option<u16>]) -> String {
    let ends: Vec<_> = statuses.to_vec();
    crate::raw::codes(&ends)
}

fn half_open(arena: &mut Arena) -> String {
    let (address, wanted) = (arena.main(), arena.pick(1_000, 10_000));
    // Both ends are files; the server has some of its own.
    let files = dunlin::net::raise_open_files_max();
    let count = wanted.min(files.saturating_sub(500));
    let before = arena.kib();
    let mut crowd = Vec::with_capacity(count);
    while crowd.len() < count {
        for _ in 0..BATCH.min(count - crowd.len()) {
            let mut raw = Raw::connect(&address);
            raw.send(b"GET /echo HTTP/1.1\r\nHost: x\r\nUpg").unwrap();
            crowd.push(raw);
        }
        // They are accepted in slices; who asks behind them knows that they are in.
        let mut behind = Raw::connect(&address);
        behind
            .send(b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        assert_eq!(behind.answer().map(|a| a.0), Some(404));
    }
    let each = arena.kib().saturating_sub(before) * 1024;
    arena.attackers = count as u64;
    arena.each_kib_max = 2;
    arena.note_kernel();
    let ends: Vec<Option<u16>> = crowd
        .iter_mut()
        .map(|raw| raw.answer().map(|answer| answer.0))
        .collect();
    arena.expect(ends.iter().all(|end| *end == Some(408)), || statuses(&ends));
    format!(
        "{count} clients with half a head ({} bytes of the server for each): {}",
        each / count as u64,
        statuses(&ends)
    )
}

/// Many clients send `start` and then a byte of `rest` again and again; each hears `status` in the end.
fn drip(arena: &mut Arena, start: &[u8], rest: u8, status: u16) -> String {
    let (address, count) = (arena.main(), arena.pick(100, 500));
    let mut crowd: Vec<Raw> = (0..count).map(|_| Raw::connect(&address)).collect();
    arena.attackers = count;
    arena.each_kib_max = 16;
    for raw in &mut crowd {
        raw.send(start).unwrap();
        raw.stream
            .set_read_timeout(Some(Duration::from_micros(1)))
            .unwrap();
    }
    let mut drops = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    // Until all of them have something to read.
    let mut told = vec![false; crowd.len()];
    while told.iter().any(|told| !told) && Instant::now() < deadline {
        for (raw, told) in crowd.iter_mut().zip(&mut told) {
            if !*told {
                _ = raw.stream.write(&[rest]);
                drops += 1;
                *told = !matches!(raw.stream.peek(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock);
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    arena.note_kernel();
    for raw in &crowd {
        raw.stream
            .set_read_timeout(Some(crate::support::PATIENCE))
            .unwrap();
    }
    let ends: Vec<Option<u16>> = crowd
        .iter_mut()
        .map(|raw| raw.answer().map(|answer| answer.0))
        .collect();
    arena.expect(ends.iter().all(|end| *end == Some(status)), || {
        statuses(&ends)
    });
    format!("{count} clients, {drops} single bytes: {}", statuses(&ends))
}

fn dripping(arena: &mut Arena) -> String {
    drip(
        arena,
        b"GET /echo HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b'x',
        408,
    )
}

fn crawling(arena: &mut Arena) -> String {
    let head = b"POST /ch/news HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
    drip(arena, head, b'x', 408)
}

fn endless(arena: &mut Arena) -> String {
    let (address, until) = (arena.main(), arena.until());
    arena.attackers = FLOODERS;
    let chunk = [
        &b"GET /echo HTTP/1.1\r\nHost: x\r\n"[..],
        &times(2000, b"X-More: and more\r\n"),
    ]
    .concat();
    let flooder = || {
        let (mut bytes, mut ends) = (0, Vec::new());
        while Instant::now() < until {
            let mut raw = Raw::connect(&address);
            bytes += chunk.len();
            // It is refused while this is under way.
            _ = raw.send(&chunk);
            ends.push(raw.answer().map(|answer| answer.0));
        }
        (bytes, ends)
    };
    let (mut bytes, mut ends) = (0, Vec::new());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..FLOODERS).map(|_| scope.spawn(flooder)).collect();
        for thread in threads {
            let (taken, ended) = thread.join().unwrap();
            bytes += taken;
            ends.extend(ended);
        }
    });
    arena.expect(ends.iter().all(|end| *end == Some(431)), || statuses(&ends));
    format!(
        "{FLOODERS} clients again and again, {} MB of heads: {}",
        bytes / 1_000_000,
        statuses(&ends)
    )
}

/// What is wrong, and the status that says so.
fn kinds() -> Vec<(Vec<u8>, u16)> {
    let get = |more: &str| format!("GET /echo HTTP/1.1\r\nHost: x\r\n{more}\r\n").into_bytes();
    let post = |more: &str| format!("POST /ch/news HTTP/1.1\r\nHost: x\r\n{more}").into_bytes();
    let long = |n| "a".repeat(n);
    vec![
        (get(&"X-Header: 1\r\n".repeat(100)), 431),
        (get(&format!("X-Long: {}\r\n", long(9000))), 431),
        (
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", long(5000)).into_bytes(),
            414,
        ),
        (post("Content-Length: 99999999999\r\n\r\n"), 413),
        (post("Content-Length: 1048577\r\n\r\n"), 413),
        (post("Content-Length: 18446744073709551616\r\n\r\n"), 413),
        (post("Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400),
        (
            post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400,
        ),
        (post("Transfer-Encoding: gzip\r\n\r\n"), 501),
        (post("Transfer-Encoding: chunked\r\n\r\nXYZ\r\n"), 400),
        (
            post("Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n"),
            413,
        ),
        (
            post(&format!(
                "Transfer-Encoding: chunked\r\n\r\n1;{}",
                long(20_000)
            )),
            400,
        ),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03\r\n\r\n".to_vec(),
            400,
        ), // TLS
        (
            b"GET /echo HTTP/1.1\r\nHost: x\r\n folded: x\r\n\r\n".to_vec(),
            400,
        ),
        (b"GET /echo HTTP/1.1\r\nHost : x\r\n\r\n".to_vec(), 400),
        (b"GET /echo HTTP/1.1\r\n\r\n".to_vec(), 400),
        (b"GET /echo HTTP/3.0\r\nHost: x\r\n\r\n".to_vec(), 505),
        (get("Upgrade: websocket\r\nConnection: Upgrade\r\n"), 426),
    ]
}

fn bad(arena: &mut Arena) -> String {
    let (address, until, kinds) = (arena.main(), arena.until(), kinds());
    let mut sent = 0;
    let mut wrong = Vec::new();
    while sent < kinds.len() || (Instant::now() < until && wrong.is_empty()) {
        let (bytes, status) = &kinds[sent % kinds.len()];
        let mut raw = Raw::connect(&address);
        raw.send(bytes).unwrap();
        let answer = raw.answer().map(|answer| answer.0);
        if answer != Some(*status) {
            let text = bytes[..bytes.len().min(120)].escape_ascii();
            wrong.push(format!("{text}: {answer:?}, not {status}"));
        }
        sent += 1;
    }
    arena.faults.append(&mut wrong);
    format!("{sent} times one of {} kinds", kinds.len())
}

/// Clients that ask for much in one go and take the answers a byte at a time.
fn sipping(arena: &mut Arena) -> String {
    let (address, count) = (arena.main(), arena.pick(20, 100));
    let time = arena.pick(Duration::from_secs(2), Duration::from_secs(20));
    // The answers of the first fill what the kernel takes; the last one is behind them.
    let request = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut crowd: Vec<Raw> = (0..count)
        .map(|_| {
            let raw = Raw::connect(&address);
            // A small window, so that little is taken off the server's hands.
            _ = socket2::SockRef::from(&raw.stream).set_recv_buffer_size(2048);
            raw
        })
        .collect();
    for raw in &mut crowd {
        raw.stream
            .set_write_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        raw.stream
            .set_read_timeout(Some(Duration::from_micros(1)))
            .unwrap();
        _ = raw.send(&[times(4000, request), last.to_vec()].concat());
    }
    arena.attackers = count;
    // Their requests waited in buffers of the size that an allocator likes to keep.
    arena.left_kib_max = 16 << 10;
    let start = Instant::now();
    let mut ended = 0;
    let mut first_end = None;
    let mut sips = 0_u64;
    while !crowd.is_empty() && start.elapsed() < time {
        crowd.retain_mut(|raw| {
            let is_there = match raw.stream.read(&mut [0]) {
                Ok(n) => n > 0,
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            };
            sips += 1;
            ended += usize::from(!is_there);
            is_there
        });
        if ended > 0 {
            first_end.get_or_insert(start.elapsed());
        }
        thread::sleep(Duration::from_millis(20));
        if sips / count == 20 {
            arena.note_kernel();
        }
    }
    let left = crowd.len();
    for raw in crowd {
        raw.reset();
    }
    format!(
        "{count} clients asked 4,001 times at once and took {sips} bytes in {:.0} s: {ended} were cut, the first after \
         {:.1} s, {left} were still served",
        start.elapsed().as_secs_f64(),
        first_end.map_or(0.0, |t| t.as_secs_f64()),
    )
}
