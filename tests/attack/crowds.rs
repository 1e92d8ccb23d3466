//! Attacks by number: who comes and goes, all at once, and a thousand who listen to nothing.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dunlin::ws::OpCode;

use crate::arena::{Arena, Class};
use crate::frames::{FLOODERS, NONE};
use crate::raw::{Code, Raw, codes, times, upgrade};

/// Handshakes under way at once.
const BATCH: usize = 200;
/// Publications per second, and the bytes of each: 1 MB/s.
const RATE: u32 = 250;
const PUBLICATION_BYTES: usize = 4000;
/// Healthy subscribers beside those who stand still.
const HEALTHY: usize = 4;

pub(crate) const CLASSES: &[Class] = &[
    Class {
        name: "connection churn",
        attack: churn,
        ..NONE
    },
    Class {
        name: "mass disconnect and reconnect",
        attack: masses,
        ..NONE
    },
    Class {
        name: "subscribers that never read",
        hurried: &[("LIMITS__CLOSE_TIMEOUT_MS", "1000")],
        attack: standing_still,
        ..NONE
    },
    Class {
        name: "pipelined publications",
        attack: pipelined,
        ..NONE
    },
];

fn churn(arena: &mut Arena) -> String {
    const PER_SECOND: u32 = 2000;
    const THREADS: u32 = 2;
    let (address, until) = (arena.main(), arena.until());
    arena.attackers = u64::from(THREADS);
    let start = Instant::now();
    let churner = || {
        let mut count = 0;
        while Instant::now() < until {
            Raw::open(&address, "/echo").reset();
            count += 1;
            let due = start + Duration::from_secs(1) * THREADS * count / PER_SECOND;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        count
    };
    let count: u32 = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(churner)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    format!("{count} times connected, shaken hands, reset: {rate:.0} per second")
}

/// That many subscribers, all of them through their handshake.
fn crowd(address: &str, path: &str, count: usize) -> Vec<Raw> {
    let mut crowd: Vec<Raw> = Vec::with_capacity(count);
    while crowd.len() < count {
        let first = crowd.len();
        for _ in 0..BATCH.min(count - first) {
            let mut raw = Raw::connect(address);
            raw.send(&upgrade(path)).unwrap();
            crowd.push(raw);
        }
        crowd[first..].iter_mut().for_each(Raw::opened);
    }
    crowd
}

fn masses(arena: &mut Arena) -> String {
    let (address, count) = (arena.main(), arena.pick(500, 5000));
    arena.attackers = count as u64;
    arena.each_kib_max = 4;
    let waves = 3;
    let mut slowest = Duration::ZERO;
    for _ in 0..waves {
        let start = Instant::now();
        let crowd = crowd(&address, "/ch/news", count);
        slowest = slowest.max(start.elapsed());
        arena.note_kernel();
        crowd.into_iter().for_each(Raw::reset);
    }
    format!(
        "{count} subscribers came and were reset, {waves} times; all in within {:.1} s",
        slowest.as_secs_f64()
    )
}

/// What a healthy subscriber heard: publications in order, and how old each was, in microseconds.
struct Heard {
    in_order: usize,
    faults: usize,
    ages: Vec<u64>,
}

/// Publishes numbers with their time for a while; answers how many, and what the healthy ones heard of them.
fn broadcast(address: &str, control: &str, time: Duration) -> (usize, Vec<Heard>) {
    let epoch = Instant::now();
    let mut healthy = crowd(address, "/ch/news", HEALTHY);
    let count = (time.as_secs_f64() * f64::from(RATE)) as usize;
    let heard = thread::scope(|scope| {
        let threads: Vec<_> = healthy
            .iter_mut()
            .map(|raw| {
                scope.spawn(|| {
                    let mut heard = Heard {
                        in_order: 0,
                        faults: 0,
                        ages: Vec::with_capacity(count),
                    };
                    while heard.in_order < count {
                        let Some((opcode, payload)) = raw.frame() else {
                            heard.faults += 1;
                            break;
                        };
                        if opcode != OpCode::Text as u8 {
                            continue;
                        }
                        let now = epoch.elapsed().as_micros() as u64;
                        let text = String::from_utf8_lossy(&payload);
                        let mut words = text.split(' ').map_while(|word| word.parse::<u64>().ok());
                        let (number, sent) = (words.next(), words.next());
                        heard.faults += usize::from(number != Some(heard.in_order as u64));
                        heard.in_order += 1;
                        heard.ages.push(now.saturating_sub(sent.unwrap_or(0)));
                    }
                    heard
                })
            })
            .collect();
        let mut publisher = Raw::connect(control);
        let pad = "x".repeat(PUBLICATION_BYTES);
        for n in 0..count {
            let due = epoch + Duration::from_secs(1) * n as u32 / RATE;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let body = format!("{n} {} {pad}", epoch.elapsed().as_micros());
            let head = format!(
                "POST /ch/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            publisher.send(&[head, body].concat().into_bytes()).unwrap();
            assert_eq!(
                publisher.answer().map(|a| a.0),
                Some(200),
                "publication {n}"
            );
        }
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    (count, heard)
}

fn p99(heard: &[Heard]) -> u64 {
    let mut ages: Vec<u64> = heard.iter().flat_map(|h| h.ages.iter().copied()).collect();
    ages.sort_unstable();
    ages.get(ages.len() * 99 / 100).copied().unwrap_or(0)
}

fn standing_still(arena: &mut Arena) -> String {
    let (address, control) = (arena.main(), arena.dunlin.control.clone());
    let count = arena.pick(50, 1000);
    let time = arena.pick(Duration::from_secs(2), Duration::from_secs(10));
    let (_, alone) = broadcast(&address, &control, arena.pick(time / 4, time / 2));
    let beside = beside_readers(arena, count, arena.pick(time / 4, time / 2));
    let mut still = crowd(&address, "/ch/news", count);
    arena.attackers = count as u64;
    // They share their frames: together they hold little more than one of them.
    arena.each_kib_max = 64;
    arena.note_kernel();
    let (published, heard) = thread::scope(|scope| {
        let broadcast = scope.spawn(|| broadcast(&address, &control, time));
        while !broadcast.is_finished() {
            thread::sleep(Duration::from_millis(200));
            arena.note_kernel();
        }
        broadcast.join().unwrap()
    });
    for (i, heard) in heard.iter().enumerate() {
        let all = heard.in_order == published && heard.faults == 0;
        arena.expect(all, || {
            format!(
                "healthy subscriber {i}: {} of {published}, {} faults",
                heard.in_order, heard.faults
            )
        });
    }
    // Now they read. Half of what they may have waiting is less than what was published.
    let ends: Vec<Code> = still.iter_mut().map(|raw| raw.end().1).collect();
    let known = ends.iter().all(|end| matches!(end, None | Some(1013)));
    arena.expect(known, || codes(&ends));
    format!(
        "{count} stood still while 1 MB/s was published, then read: {}; {HEALTHY} healthy ones: {published} \
         publications each, p99 {:.1} ms (beside as many who read {:.1}, alone {:.1})",
        codes(&ends),
        p99(&heard) as f64 / 1000.0,
        p99(&beside) as f64 / 1000.0,
        p99(&alone) as f64 / 1000.0,
    )
}

/// What the healthy ones hear beside a crowd that is healthy too.
fn beside_readers(arena: &Arena, count: usize, time: Duration) -> Vec<Heard> {
    let (address, control) = (arena.main(), arena.dunlin.control.clone());
    let readers = crowd(&address, "/ch/news", count);
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let (readers, enough) = (&readers, &enough);
        let reader = scope.spawn(move || drain(readers, enough));
        let (_, heard) = broadcast(&address, &control, time);
        enough.store(true, Ordering::Relaxed);
        _ = reader.join();
        heard
    })
}

/// Publications in one write, as many as the receive buffer takes: one read is thousands of them.
fn pipelined(arena: &mut Arena) -> String {
    let (address, until) = (arena.main(), arena.until());
    let count = arena.pick(50, 1000);
    let subscribers = crowd(&address, "/ch/news", count);
    arena.attackers = FLOODERS;
    // Frames of healthy subscribers; the budget bounds them. The slab keeps their buffers for the next burst.
    arena.each_kib_max = 16 << 10;
    arena.left_kib_max = 16 << 10;
    let request = b"POST /ch/news HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
    let chunk = times(4000, request);
    let enough = AtomicBool::new(false);
    let deaf = thread::scope(|scope| {
        let (subscribers, enough) = (&subscribers, &enough);
        let reader = scope.spawn(move || drain(subscribers, enough));
        let flooders: Vec<_> = (0..FLOODERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut raw = Raw::connect(&address);
                    let mut sink = raw.stream.try_clone().unwrap();
                    let reader = thread::spawn(move || {
                        std::io::copy(&mut sink, &mut std::io::sink()).unwrap_or(0)
                    });
                    while Instant::now() < until && raw.send(&chunk).is_ok() {}
                    _ = raw.stream.shutdown(std::net::Shutdown::Both);
                    _ = reader.join();
                })
            })
            .collect();
        for flooder in flooders {
            flooder.join().unwrap();
        }
        enough.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    arena.note_kernel();
    let published = arena.metric("dunlin_publications_total");
    let slow = arena.metric("dunlin_refused_total{reason=\"slow_consumer\"}");
    format!(
        "{FLOODERS} clients, {published} publications to {count} subscribers that read; {slow} of those were called slow, \
         {deaf} ended"
    )
}

/// Reads everything from all of them, as one program with many sockets would.
fn drain(crowd: &[Raw], enough: &AtomicBool) -> usize {
    let mut sink = vec![0; 256 << 10];
    for raw in crowd {
        raw.stream.set_nonblocking(true).unwrap();
    }
    let mut open: Vec<&TcpStream> = crowd.iter().map(|raw| &raw.stream).collect();
    while !enough.load(Ordering::Relaxed) {
        let mut idle = true;
        open.retain_mut(|stream| match std::io::Read::read(stream, &mut sink) {
            Ok(0) => false,
            Ok(_) => {
                idle = false;
                true
            }
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
        if idle {
            thread::sleep(Duration::from_millis(1));
        }
    }
    crowd.len() - open.len()
}
