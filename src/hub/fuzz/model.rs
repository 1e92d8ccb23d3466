//! What the hub should hold, as plainly as it can be said: a vector per session, every frame a copy of its own.

mod queue;
mod reach;

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::super::session::Life;
use super::super::{Hub, HubLimits, SessionLimits, SlowPolicy};
use super::wire::Wire;
use crate::ws::{CloseCode, Message, encode_close, encode_message};

pub(super) struct Model {
    limits: HubLimits,
    routes: Vec<SessionLimits>,
    /// Policies of channels that have one.
    policies: HashMap<&'static str, SlowPolicy>,
    pub(super) sessions: Vec<Option<Session>>,
    channels: HashMap<String, Channel>,
    suspects: Vec<(u32, u32)>,
    reply: Option<(u32, Vec<u8>)>,
    frames: u32,
    births: u32,
    pub(super) now_ms: u64,
    sent: u64,
    published: u64,
    dropped: u64,
    refused: BTreeMap<&'static str, u64>,
}

pub(super) struct Session {
    pub(super) route: u16,
    pub(super) life: Life,
    birth: u32,
    channels: Vec<String>,
    user: Option<String>,
    pub(super) queue: VecDeque<Frame>,
    /// Bytes of the first frame that are on the wire.
    written: usize,
    /// More than one whole frame waits, or did until now.
    outbox: Option<Outbox>,
    pub(super) wire: Wire,
}

#[derive(Default)]
struct Outbox {
    missed: u32,
    marked: u32,
    soft_since: Option<u64>,
    suspected: bool,
}

#[derive(Clone)]
pub(super) struct Frame {
    /// Equal numbers are one frame in the hub.
    number: u32,
    bytes: Vec<u8>,
    messages: u32,
    private: bool,
    epoch: Option<u32>,
    /// Of the channel, if it has one.
    slow: Option<SlowPolicy>,
}

/// One life of a channel.
#[derive(Default)]
struct Channel {
    offset: u64,
    epoch: Option<u32>,
}

impl Session {
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    fn bytes(&self) -> usize {
        self.queue
            .iter()
            .map(|frame| frame.bytes.len())
            .sum::<usize>()
            - self.written
    }

    fn first_unsent(&self) -> usize {
        usize::from(self.written > 0)
    }

    fn is_nothing(&self) -> bool {
        self.queue.is_empty() && self.outbox.is_none()
    }
}

fn encoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode_message(&mut out, Message::Text(text), None);
    out
}

impl Model {
    pub(super) fn new(
        limits: HubLimits,
        routes: Vec<SessionLimits>,
        policies: HashMap<&'static str, SlowPolicy>,
    ) -> Self {
        Self {
            limits,
            routes,
            policies,
            sessions: Vec::new(),
            channels: HashMap::new(),
            suspects: Vec::new(),
            reply: None,
            frames: 0,
            births: 0,
            now_ms: 1_000,
            sent: 0,
            published: 0,
            dropped: 0,
            refused: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, index: u32) -> Option<&Session> {
        self.sessions.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Session> {
        self.sessions.get_mut(index as usize)?.as_mut()
    }

    fn limits(&self, index: u32) -> SessionLimits {
        let route = self.get(index).map_or(0, |session| session.route);
        self.routes[usize::from(route)]
    }

    fn refuse(&mut self, why: &'static str) {
        *self.refused.entry(why).or_default() += 1;
    }

    pub(super) fn open(&mut self, index: u32, route: u16) {
        let at = index as usize;
        self.sessions
            .resize_with(self.sessions.len().max(at + 1), || None);
        assert!(self.sessions[at].is_none(), "the slot is somebody's");
        self.births += 1;
        self.sessions[at] = Some(Session {
            route,
            life: Life::Open,
            birth: self.births,
            channels: Vec::new(),
            user: None,
            queue: VecDeque::new(),
            written: 0,
            outbox: None,
            wire: Wire::default(),
        });
    }

    /// Bytes of all frames, those that are one counted once.
    fn queued(&self) -> (usize, usize) {
        let frames = self.sessions.iter().flatten().flat_map(|s| &s.queue);
        let distinct: BTreeMap<u32, usize> = frames.map(|f| (f.number, f.bytes.len())).collect();
        (distinct.len(), distinct.values().sum())
    }

    fn frame(&mut self, bytes: Vec<u8>) -> Frame {
        self.frames += 1;
        Frame {
            number: self.frames,
            bytes,
            messages: 0,
            private: false,
            epoch: None,
            slow: None,
        }
    }

    pub(super) fn close(&mut self, index: u32, slow: bool) {
        let Some(session) = self.get_mut(index) else {
            return;
        };
        session.life = Life::Ended;
        session.channels.clear();
        session.user = None;
        if slow && !session.is_nothing() {
            session.outbox.get_or_insert_default().missed = 0;
            session.queue.truncate(session.first_unsent());
        }
        if slow {
            session.wire.cut_at = Some(session.wire.accepted.len());
        }
        self.bury();
        let mut frame = Vec::new();
        encode_close(&mut frame, CloseCode::TRY_LATER, "", None);
        self.push_raw(index, &frame, None);
    }

    pub(super) fn remove(&mut self, index: u32) {
        if let Some(session) = self.sessions.get_mut(index as usize) {
            *session = None;
        }
        self.bury();
    }

    /// Everything that can be asked of the hub.
    pub(super) fn compare(&self, hub: &mut Hub) {
        for index in 0..self.sessions.len() as u32 {
            let ours = hub.outbox_frames(index);
            assert!(ours.eq(self.frames(index)), "what waits for {index}");
            let bytes = self.get(index).map_or(0, Session::bytes);
            assert_eq!(hub.outbox_bytes(index), bytes);
            assert_eq!(hub.outbox_is_empty(index), bytes == 0);
            let life = self.get(index).map(|s| s.life);
            assert_eq!(hub.is_leaving(index), life != Some(Life::Open));
            assert_eq!(hub.is_open(index), life.is_some_and(|l| l != Life::Ended));
        }
        let living = self.living();
        assert_eq!(hub.channels(), living.len());
        let space = hub.channels.space("fuzz");
        for name in super::CHANNELS {
            let sessions = self.sessions.iter().flatten();
            let subscribed = sessions.filter(|s| s.channels.iter().any(|own| own == name));
            assert_eq!(hub.subscribers(space, name), subscribed.count(), "{name}");
        }
        assert_eq!(hub.sessions(), self.sessions.iter().flatten().count());
        assert_eq!((hub.queued_frames(), hub.queued_bytes()), self.queued());
        let metrics = hub.metrics();
        let counted = (
            metrics.messages_sent_total,
            metrics.publications_total,
            metrics.frames_dropped_total,
        );
        assert_eq!(counted, (self.sent, self.published, self.dropped));
        for (why, count) in &self.refused {
            assert_eq!(metrics.refused(why), *count, "{why}");
        }
    }
}
