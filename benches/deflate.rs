//! permessage-deflate: what compressing once for all subscribers costs beside not compressing at all, and what an echo
//! costs that inflates and compresses each message. In memory, without a system call.
//!
//! Budget: a publication of 2,000 bytes to 1,000 subscribers at most 1.15 times what it costs uncompressed. The bytes
//! that are not written are not counted here: with sockets the compressed one has less to do.

#![allow(missing_docs)]

mod common;
#[path = "common/wire.rs"]
mod wire;

use common::{Bench, Contender};
use dunlin::server::RouteSettings;
use dunlin::time::Now;
use dunlin::ws::deflate::{Compressor, Settings};
use dunlin::ws::{self, Message};
use dunlin::{Context, Handler};
use std::hint::black_box;
use wire::worker_with;

/// Everybody is in one room; what one says, all hear.
struct Room;

impl Handler for Room {
    fn on_open(&mut self, cx: &mut Context<'_>) {
        let joined = cx.subscribe("room");
        assert_eq!(joined, Ok(true));
    }
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let published = cx.publish("room", message);
        assert!(published.is_ok());
    }
}

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        cx.send(message);
    }
}

const SUBSCRIBERS: usize = 1_000;
const CONNECTIONS: usize = 100;
/// A client that compresses each message by itself.
const OFFER: &[(&str, &str)] = &[(
    "Sec-WebSocket-Extensions",
    "permessage-deflate; client_no_context_takeover",
)];

fn main() {
    let bench = Bench::from_args();
    for (len, batch) in [(2000, 1), (2000, 16), (16_384, 4)] {
        publish(&bench, len, batch);
    }
    for len in [125, 1024, 16_384] {
        echo(&bench, len);
        compress(&bench, len);
    }
}

/// JSON of the kind that is published, of about so many bytes, with something new in each record.
fn json(len: usize) -> String {
    let mut text = String::from("[");
    let mut n = 1_u64;
    while text.len() < len {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text += &format!(
            "{{\"id\":\"{:016x}\",\"height\":{},\"type\":\"transfer\",\"amount\":{}}},",
            n,
            n >> 44,
            n >> 50
        );
    }
    text.truncate(len - 1);
    text.push(']');
    text
}

fn plain(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    ws::encode_message(&mut frame, Message::Text(text), Some([7; 4]));
    frame
}

fn deflated(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut compressor = Compressor::default();
    compressor.encode_message(&mut frame, Message::Text(text), 15, 6, Some([7; 4]));
    frame
}

/// With the extension, from `min_bytes` on.
fn settings(min_bytes: usize) -> RouteSettings {
    RouteSettings {
        deflate: Settings {
            offered: true,
            min_bytes,
            ..Settings::default()
        },
        ..RouteSettings::default()
    }
}

/// One of them says `batch` messages; turns until all are written. Nanoseconds are per delivery.
fn publish(bench: &Bench, len: usize, batch: usize) {
    let text = json(len);
    let input = plain(&text).repeat(batch);
    let mut run = Vec::new();
    for (name, offer) in [("plain", &[][..]), ("deflate", OFFER)] {
        let (mut worker, wires) = worker_with(SUBSCRIBERS, Box::new(Room), settings(512), offer);
        let mut now = Now::new(1_000_000, 0);
        let input = input.clone();
        let operation = move || {
            now.ms += 1;
            let (key, wire) = &wires[0];
            wire.send(&input);
            worker.ready(*key, true, false, false);
            while worker.turn(now) {}
            for (_, wire) in &wires {
                assert!(black_box(wire.take()) > batch * len / 10);
            }
        };
        run.push((name, Box::new(operation) as Box<dyn FnMut()>));
    }
    let contenders: Vec<Contender<'_>> = run;
    bench.per(batch * SUBSCRIBERS).group(
        &format!("deflate publish {SUBSCRIBERS}x{batch}/{len}"),
        0,
        contenders,
    );
}

/// Each connection sends one message. Nanoseconds are per message.
fn echo(bench: &Bench, len: usize) {
    let text = json(len);
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for (name, offer, input, min_bytes) in [
        ("plain", &[][..], plain(&text), 512),
        ("deflate", OFFER, deflated(&text), 512),
        ("all of it", OFFER, deflated(&text), 0),
    ] {
        let (mut worker, wires) =
            worker_with(CONNECTIONS, Box::new(Echo), settings(min_bytes), offer);
        let mut now = Now::new(1_000_000, 0);
        let operation = move || {
            now.ms += 1;
            for (key, wire) in &wires {
                wire.send(&input);
                worker.ready(*key, true, false, false);
            }
            while worker.turn(now) {}
            for (_, wire) in &wires {
                assert!(black_box(wire.take()) > 0);
            }
        };
        contenders.push((name, Box::new(operation)));
    }
    bench
        .per(CONNECTIONS)
        .group(&format!("deflate echo {CONNECTIONS}/{len}"), 0, contenders);
}

/// One message compressed, and how much of it is left.
fn compress(bench: &Bench, len: usize) {
    let text = json(len);
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for (name, level) in [("level 1", 1), ("level 6", 6)] {
        let mut compressor = Compressor::default();
        let mut out = Vec::new();
        compressor.encode_message(&mut out, Message::Text(&text), 15, level, None);
        println!("{len} bytes at {name}: {} %", out.len() * 100 / len);
        let text = text.clone();
        let operation = move || {
            out.clear();
            compressor.encode_message(&mut out, Message::Text(&text), 15, level, None);
            black_box(&out);
        };
        contenders.push((name, Box::new(operation)));
    }
    bench.group(&format!("deflate compress {len}"), len, contenders);
}
