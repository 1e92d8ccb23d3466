//! The body of this room's fuzz target: the hub, driven by bytes as the worker drives it, beside a model.
//!
//! | file | subject |
//! | --- | --- |
//! | `fuzz.rs` | the bytes as deeds, done to both |
//! | `fuzz/model.rs` | what the hub should hold: vectors, copied bytes, no sharing |
//! | `fuzz/history.rs` | the target `history`: channels that keep what was published |
//! | `fuzz/wire.rs` | what a client may see, knowing nothing of queues |

mod history;
mod model;
mod wire;

use std::collections::HashMap;

use super::session::Life;
use super::{ChannelOptions, ConnId, Context, Hub, HubLimits, SessionLimits, SlowPolicy};
use crate::random::Random;
use crate::time::Now;
use crate::ws::{CloseCode, Message, OpCode, encode_frame};
pub use history::history;
use model::Model;

/// Oracle: a naive model predicts every queue byte for byte, every answer and every counter; each client gets what was
/// accepted for it in order, nothing twice, and nothing less unless its policy says so and its marker tells.
///
/// Bytes 0 to 10 are the limits, the rest are deeds. What the limits leave over of the first two are policies of channels.
pub fn hub_model(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut drive = Drive::new(&mut bytes);
    for _ in 0..DEEDS_MAX {
        if bytes.0.is_empty() {
            break;
        }
        drive.step(&mut bytes);
        drive.compare();
    }
    drive.end();
}

const DEEDS_MAX: usize = 300;
const SESSIONS_MAX: u8 = 6;
const CHANNELS: [&str; 5] = ["a.x", "a.y", "b.x", "b", "b.x.y"];
/// Patterns, and which of the channels they have.
const PATTERNS: [(&str, &[&str]); 4] = [
    ("a.*", &["a.x", "a.y"]),
    ("*.x", &["a.x", "b.x"]),
    ("b.>", &["b.x", "b.x.y"]),
    (">", &CHANNELS),
];
const USERS: [&str; 2] = ["an", "binh"];
const POLICIES: [SlowPolicy; 3] = [
    SlowPolicy::Close,
    SlowPolicy::DropOldest,
    SlowPolicy::Latest,
];

/// Which channels have a policy of their own: three by the first number, two by the second, and zero gives none.
fn policies([first, second]: [usize; 2]) -> HashMap<&'static str, SlowPolicy> {
    let digits = [first, first / 4, first / 16, second, second / 4];
    let all = CHANNELS.into_iter().zip(digits);
    let own = all.filter_map(|(name, digit)| {
        let digit = (digit % 4).checked_sub(1)?;
        Some((name, POLICIES[digit]))
    });
    own.collect()
}

/// Choices; zero when they have run out.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: u8) -> usize {
        usize::from(self.next() % bound.max(1))
    }
}

/// The hub and its model, side by side.
struct Drive {
    hub: Hub,
    model: Model,
    /// Number of the next message; each is another.
    number: u32,
}

impl Drive {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let (channels, budget) = (usize::from(bytes.next()), usize::from(bytes.next()));
        let limits = HubLimits {
            channels_max: 1 + channels % 6,
            memory_budget_bytes: 256 << (budget % 12),
            ..HubLimits::default()
        };
        let policies = policies([channels / 6, budget / 12]);
        let mut hub = Hub::new(3, limits, Random::seeded(7));
        let mut routes = Vec::new();
        for slow in POLICIES {
            let limits = SessionLimits {
                outbox_bytes_max: 16 + 4 * usize::from(bytes.next()),
                outbox_soft_bytes: 8 + 4 * usize::from(bytes.next()),
                outbox_soft_ms: 1_000,
                outbox_frames_max: 1 + bytes.below(12),
                slow,
                subscriptions_max: 3,
                ..SessionLimits::default()
            };
            hub.add_route(limits, "fuzz", "/fuzz");
            routes.push(limits);
        }
        for (name, slow) in &policies {
            assert!(hub.add_channel_options(0, &ChannelOptions::of(*name).slow(*slow)));
        }
        hub.now = Now::new(1_000, 0);
        let model = Model::new(limits, routes, policies);
        let number = 0;
        Self { hub, model, number }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let (deed, index) = (bytes.next(), bytes.next() % SESSIONS_MAX);
        let index = u32::from(index);
        match deed % 20 {
            0 => self.open(bytes),
            1..=2 => match bytes.next() {
                #[cfg(feature = "wildcards")]
                at @ 200.. => self.subscribe_pattern(index, PATTERNS[usize::from(at % 4)].0),
                at => self.subscribe(index, CHANNELS[usize::from(at % 5)]),
            },
            3 => match bytes.next() {
                #[cfg(feature = "wildcards")]
                at @ 200.. => self.unsubscribe_pattern(index, PATTERNS[usize::from(at % 4)].0),
                at => self.unsubscribe(index, CHANNELS[usize::from(at % 5)]),
            },
            4..=7 => self.publish(index, bytes),
            8..=9 => self.send(index, bytes),
            10 => self.send_many(index, bytes),
            11 => self.control(index),
            12..=13 => {
                let most = usize::from(bytes.next());
                self.flush(index, most);
            }
            14 => self.flush_all(),
            15 => self.judge(bytes),
            16 => self.replies(index, bytes),
            17 => {
                self.hub.now.ms += 100 * (1 + u64::from(bytes.next() % 16));
                self.model.now_ms = self.hub.now.ms;
            }
            18 => self.set_user(index, USERS[bytes.below(2)]),
            _ => self.leave(index, bytes),
        }
    }

    fn open(&mut self, bytes: &mut Bytes<'_>) {
        let route = bytes.below(3) as u16;
        if self.model.sessions.iter().flatten().count() < usize::from(SESSIONS_MAX) {
            let index = self.hub.open(100, route);
            self.model.open(index, route);
        }
    }

    fn subscribe(&mut self, index: u32, channel: &str) {
        let space = Context::new(&mut self.hub, 0, None).space();
        let ours = self.hub.subscribe(index, space, channel);
        assert_eq!(ours.ok(), self.model.subscribe(index, channel), "{ours:?}");
    }

    /// To the model it is one more name among a session's channels.
    #[cfg(feature = "wildcards")]
    fn subscribe_pattern(&mut self, index: u32, pattern: &str) {
        let space = Context::new(&mut self.hub, 0, None).space();
        let ours = self.hub.subscribe_pattern(index, space, pattern);
        assert_eq!(ours.ok(), self.model.subscribe(index, pattern), "{ours:?}");
    }

    #[cfg(feature = "wildcards")]
    fn unsubscribe_pattern(&mut self, index: u32, pattern: &str) {
        let ours = Context::new(&mut self.hub, 0, Some(index)).unsubscribe_pattern(pattern);
        assert_eq!(ours, self.model.unsubscribe(index, pattern));
    }

    fn unsubscribe(&mut self, index: u32, channel: &str) {
        let space = Context::new(&mut self.hub, 0, None).space();
        let ours = self.hub.unsubscribe(index, space, channel);
        assert_eq!(ours, self.model.unsubscribe(index, channel));
    }

    fn set_user(&mut self, index: u32, user: &str) {
        let ours = self.hub.set_user(index, user);
        assert_eq!(ours.is_ok(), self.model.set_user(index, user), "{ours:?}");
        let theirs = self.model.get(index).and_then(|s| s.user());
        assert_eq!(self.hub.user(index), theirs);
    }

    /// Some text that is like no other, and of all sizes that matter.
    fn text(&mut self, bytes: &mut Bytes<'_>) -> String {
        self.number += 1;
        let padding = match bytes.next() {
            // Longer than what is copied when it has to wait, longer than a pooled buffer, and long enough for
            // the second form of the length.
            255 => 70_000,
            254 => 5_000,
            253 => 130,
            small => usize::from(small % 64),
        };
        let number = self.number;
        format!("m{number}{}", ".".repeat(padding))
    }

    fn publish(&mut self, index: u32, bytes: &mut Bytes<'_>) {
        let how = bytes.next();
        let text = self.text(bytes);
        let names: Vec<&str> = (0..5)
            .filter(|at| how >> at & 1 == 1)
            .map(|at| CHANNELS[at])
            .collect();
        let but = (how & 0x20 != 0).then_some(index);
        let space = Context::new(&mut self.hub, 0, None).space();
        let message = Message::Text(&text);
        let ours = self.hub.publish(space, &names, message, but);
        self.model.publish(&names, &text, self.number, but, ours);
    }

    fn send(&mut self, index: u32, bytes: &mut Bytes<'_>) {
        let text = self.text(bytes);
        let ours = self.hub.send(index, Message::Text(&text));
        assert_eq!(ours, self.model.send(index, &text, self.number));
    }

    fn send_many(&mut self, index: u32, bytes: &mut Bytes<'_>) {
        let text = self.text(bytes);
        let mut ids: Vec<ConnId> = Vec::new();
        // One of them maybe twice.
        let others = [bytes.next() % SESSIONS_MAX, bytes.next() % SESSIONS_MAX];
        let indices: Vec<u32> = [index, others[0].into(), others[1].into()].to_vec();
        for index in &indices {
            ids.extend(self.hub.conn_id(*index));
        }
        let ours = self.hub.send_many(&ids, Message::Text(&text)).ok();
        assert_eq!(ours, self.model.send_many(&indices, &text, self.number));
    }

    /// A ping goes behind everything that waits and is never dropped for being old.
    fn control(&mut self, index: u32) {
        self.number += 1;
        let payload = format!("p{}", self.number);
        let encode = |out: &mut Vec<u8>| encode_frame(out, OpCode::Ping, payload.as_bytes(), None);
        self.hub.push_raw(index, encode);
        let mut frame = Vec::new();
        encode_frame(&mut frame, OpCode::Ping, payload.as_bytes(), None);
        self.model.push_raw(index, &frame, Some(self.number));
    }

    /// As the worker does it: the marker first, then what the transport takes.
    fn flush(&mut self, index: u32, most: usize) {
        let mut left = most;
        // One frame alone is offered as it lies, before anything else is looked at.
        if let Some(frame) = self.hub.lone_frame(index) {
            let written = frame.len().min(left);
            left -= written;
            if written > 0 {
                self.hub.outbox_advance(index, written);
                self.model.advance(index, written);
            }
        }
        self.hub
            .place_gap_marker(index, |missed| missed.map(wire::marker));
        self.model.place_gap_marker(index);
        while left > 0 && !self.hub.outbox_is_empty(index) {
            let mut out = Vec::new();
            let gathered = self.hub.gather(index, usize::MAX, 100, 300, &mut out);
            let front = self.hub.outbox_frames(index).next().map(<[u8]>::to_vec);
            let front = front.unwrap_or_default();
            let bytes = if gathered > 0 { out } else { front };
            assert!(self.model.waiting(index).starts_with(&bytes));
            let written = bytes.len().min(left);
            left -= written;
            assert!(written > 0, "a frame without bytes waits");
            self.hub.outbox_advance(index, written);
            self.model.advance(index, written);
        }
        if !self.hub.outbox_is_empty(index) {
            self.hub.mark_dirty(index);
        }
    }

    fn flush_all(&mut self) {
        while let Some((index, link)) = self.hub.next_dirty() {
            assert_eq!(link, 100);
            self.flush(index, usize::MAX);
        }
        for (index, session) in self.model.sessions.iter().enumerate() {
            let rests = session.as_ref().is_none_or(|s| s.queue.is_empty());
            assert!(rests, "{index} has something to write and nobody knows");
        }
    }

    /// The transports take some more and then nothing; who has too much then is judged.
    fn judge(&mut self, bytes: &mut Bytes<'_>) {
        // In what order, nobody is promised.
        let mut suspects: Vec<u32> = self.hub.take_suspects().iter().map(|s| s.0).collect();
        suspects.sort_unstable();
        assert_eq!(suspects, self.model.take_suspects());
        for index in suspects {
            self.flush(index, usize::from(bytes.next()));
            assert_eq!(self.hub.is_over(index), self.model.is_over(index));
            let is_slow = self.hub.judge(index);
            assert_eq!(is_slow, self.model.judge(index), "{index}");
            if is_slow {
                self.close(index, true);
            }
            // The worker looks at it again when its transport can be written to.
            self.hub.mark_dirty(index);
        }
    }

    /// A connection is read: what is sent to it meanwhile goes out in one write, of which the transport takes a part.
    fn replies(&mut self, index: u32, bytes: &mut Bytes<'_>) {
        if self.model.get(index).is_none() {
            return;
        }
        self.hub.begin_replies(index);
        self.model.begin_replies(index);
        for _ in 0..1 + bytes.next() % 4 {
            match bytes.next() % 4 {
                0 => self.publish(index, bytes),
                1 => self.control(index),
                _ => self.send(index, bytes),
            }
            self.compare();
        }
        assert_eq!(self.hub.replies(), self.model.replies());
        let all = self.hub.replies().len();
        let taken = all.min(usize::from(bytes.next()) * 2);
        self.hub.end_replies(taken);
        self.model.end_replies(taken);
        // What is left is marked by the worker when the transport can be written to again.
        self.hub.mark_dirty(index);
    }

    fn leave(&mut self, index: u32, bytes: &mut Bytes<'_>) {
        match bytes.next() % 4 {
            0 => {
                self.hub.remove(index);
                self.model.remove(index);
            }
            1 => self.close(index, false),
            2 => self.close(index, true),
            _ => {
                let mut cx = Context::new(&mut self.hub, 0, Some(index));
                cx.close(CloseCode::NORMAL, "");
                let orders = self.hub.take_close_orders();
                assert_eq!(orders.len(), usize::from(self.model.get(index).is_some()));
                if let Some(session) = self.model.get_mut(index)
                    && session.life == Life::Open
                {
                    session.life = Life::Leaving;
                }
            }
        }
    }

    /// Once per session, as the worker does.
    fn close(&mut self, index: u32, slow: bool) {
        if !self.hub.is_open(index) {
            return;
        }
        self.hub.end(index);
        self.hub.push_close(index, CloseCode::TRY_LATER, "", slow);
        self.model.close(index, slow);
    }

    fn compare(&mut self) {
        self.hub.check_invariants();
        self.model.compare(&mut self.hub);
    }

    /// Everybody reads on, and leaves.
    fn end(&mut self) {
        self.flush_all();
        self.compare();
        assert_eq!(self.hub.queued_frames(), 0, "frames stay");
        assert_eq!(self.hub.queued_bytes(), 0, "bytes stay");
        for (index, session) in self.model.sessions.iter().enumerate() {
            if let Some(session) = session {
                session.wire.check();
                self.hub.remove(index as u32);
            }
        }
        self.hub.check_invariants();
        assert_eq!((self.hub.sessions(), self.hub.channels()), (0, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_deeds_in_every_mixture_of_policies() {
        let mut random = Random::seeded(11);
        for _ in 0..400 {
            let mut data: Vec<u8> = (0..800).map(|_| random.next_u64() as u8).collect();
            // A budget that many frames fit into, and few who share them.
            data[1] = (data[1] / 12).min(20) * 12 + 11;
            hub_model(&data);
        }
    }
}
