//! Links: connections that a handler keeps to another server, made and driven by the worker on the same loop.
//!
//! A call is one request and one answer; a link stays and carries messages in both directions: a WebSocket on which
//! we are the client, or a Unix socket with a stream of JSON values. Every dialling is one attempt. Whether and when
//! another one follows, and where to, is the handler's to decide.
//!
//! ```text
//!   cx.dial() ──▶ dialling ──▶ on_link(Open) ──▶ on_link(Message)*  ──▶ on_link(Closed)
//!                    └────────────── it cannot be made ────────────────────┘    exactly once
//! ```

use std::fmt;
use std::rc::Rc;

use slab::Slab;

#[cfg(feature = "process")]
use super::{Exit, Program};
use super::{Hub, Target};
use crate::random::Random;
use crate::ws::{self, CloseCode, Message};

/// Names one link for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// The other end of a link, and what is spoken on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkTarget {
    /// A WebSocket (RFC 6455), we being the client.
    WebSocket(Target),
    /// A stream of JSON values through the Unix socket at this path, each of ours followed by a line feed.
    Values(String),
    /// A process that is started for it: text becomes a line of its input, binary goes there as it is.
    #[cfg(feature = "process")]
    Process(Program),
}

impl fmt::Display for LinkTarget {
    /// As it is written in a configuration, without path and query: secrets live there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket(target) => write!(f, "ws://{}", target.authority()),
            Self::Values(path) => write!(f, "unix:{path}"),
            #[cfg(feature = "process")]
            Self::Process(program) => write!(f, "process {}", program.name()),
        }
    }
}

/// One attempt to make a link.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Where to.
    pub target: Rc<LinkTarget>,
    /// Most bytes of one message or value that is received.
    pub message_bytes_max: usize,
    /// Most bytes that may wait to be written; then [`Context::link_send`](super::Context::link_send) says no.
    pub output_bytes_max: usize,
    /// From here to the end of the opening handshake, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Silence before a WebSocket is pinged, in milliseconds; 0: never.
    pub ping_after_ms: u64,
    /// Silence after the ping before the link is given up, in milliseconds.
    pub ping_grace_ms: u64,
}

impl Dial {
    /// With the usual limits.
    pub fn new(target: Rc<LinkTarget>) -> Self {
        Self {
            target,
            message_bytes_max: 32 << 20,
            output_bytes_max: 8 << 20,
            connect_timeout_ms: 5_000,
            ping_after_ms: 30_000,
            ping_grace_ms: 10_000,
        }
    }
}

/// What happened on a link.
#[derive(Debug, Clone, Copy)]
pub enum LinkEvent<'a> {
    /// It can be sent on.
    Open,
    /// A whole message, or a value (as text), or a line.
    Message(Message<'a>),
    /// It is gone, or could not be made. Nothing comes after this, and its id means nobody any more.
    Closed(LinkEnd),
}

/// Why a link is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEnd {
    /// No connection could be made.
    Unreachable,
    /// The other server did not switch protocols, but answered this status.
    Refused(u16),
    /// Connecting and shaking hands took too long.
    ConnectTimeout,
    /// It said nothing any more, not even to a ping.
    PingTimeout,
    /// It broke the protocol, or sent more than is allowed.
    Protocol,
    /// It closed the WebSocket with this code.
    Closed(CloseCode),
    /// The connection broke.
    Broken,
    /// We closed it.
    Ours,
    /// The process has ended, and all of its output was told.
    #[cfg(feature = "process")]
    Exited(Exit),
}

impl LinkEnd {
    /// The counter's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "link_unreachable",
            Self::Refused(_) => "link_refused",
            Self::ConnectTimeout => "link_connect_timeout",
            Self::PingTimeout => "link_ping_timeout",
            Self::Protocol => "link_protocol",
            Self::Closed(_) => "link_closed",
            Self::Broken => "link_broken",
            Self::Ours => "link_ended",
            #[cfg(feature = "process")]
            Self::Exited(_) => "process_ended",
        }
    }
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("no connection could be made"),
            Self::Refused(status) => write!(f, "it answered {status} and not 101"),
            Self::ConnectTimeout => f.write_str("connecting took too long"),
            Self::PingTimeout => f.write_str("it did not answer a ping"),
            Self::Protocol => f.write_str("it broke the protocol"),
            Self::Closed(code) => write!(f, "it closed with {code}"),
            Self::Broken => f.write_str("the connection broke"),
            Self::Ours => f.write_str("it was closed from here"),
            #[cfg(feature = "process")]
            Self::Exited(exit) => exit.fmt(f),
        }
    }
}

/// How far a link has come, as the hub sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkLife {
    Dialling,
    Open,
    /// The handler wants no more of it; what was sent before still goes out.
    Leaving,
}

/// What a message of ours becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// A masked frame.
    Frame,
    /// Itself and a line feed.
    Line,
    /// The same if it is text; binary is itself.
    #[cfg(feature = "process")]
    Input,
    /// Nothing: nobody hears it.
    #[cfg(feature = "process")]
    Nothing,
}

impl Wire {
    fn to(target: &LinkTarget) -> Self {
        match target {
            LinkTarget::WebSocket(_) => Self::Frame,
            LinkTarget::Values(_) => Self::Line,
            #[cfg(feature = "process")]
            LinkTarget::Process(program) if program.hears => Self::Input,
            #[cfg(feature = "process")]
            LinkTarget::Process(_) => Self::Nothing,
        }
    }
}

#[derive(Debug)]
struct Link {
    generation: u32,
    route: u16,
    life: LinkLife,
    wire: Wire,
    /// Nothing is read from it.
    paused: bool,
    /// On the list of those with something to do.
    dirty: bool,
    /// The server's key of the connection underneath, once there is one.
    key: Option<u32>,
    output_bytes_max: usize,
    output: Vec<u8>,
    written: usize,
}

impl Link {
    fn takes_messages(&self) -> bool {
        match self.life {
            LinkLife::Open => true,
            // A process that is about to be started shakes no hands: what it is to hear can wait for it.
            #[cfg(feature = "process")]
            LinkLife::Dialling => self.wire == Wire::Input,
            _ => false,
        }
    }
}

/// All links of a worker, and what waits to be written to them.
#[derive(Debug, Default)]
pub(crate) struct Links {
    slab: Slab<Link>,
    generation: u32,
    /// Links with something to write or to end, each at most once.
    dirty: Vec<u32>,
    /// Bytes that wait, of all of them.
    bytes: usize,
}

/// More room than this is given back once it is written.
const OUTPUT_CAPACITY_KEPT: usize = 64 << 10;

impl Links {
    pub(super) fn begin(&mut self, route: u16, dial: &Dial) -> LinkId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.slab.insert(Link {
            generation,
            route,
            life: LinkLife::Dialling,
            wire: Wire::to(&dial.target),
            paused: false,
            dirty: false,
            key: None,
            output_bytes_max: dial.output_bytes_max,
            output: Vec::new(),
            written: 0,
        });
        LinkId {
            index: index as u32,
            generation,
        }
    }

    fn get(&self, id: LinkId) -> Option<&Link> {
        let link = self.slab.get(id.index as usize)?;
        (link.generation == id.generation).then_some(link)
    }

    fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        let link = self.slab.get_mut(id.index as usize)?;
        (link.generation == id.generation).then_some(link)
    }

    pub(super) fn send(&mut self, id: LinkId, message: Message<'_>, random: &mut Random) -> bool {
        let Some(link) = self.get_mut(id) else {
            return false;
        };
        let waiting = link.output.len() - link.written;
        let is_too_much = waiting + message.len() > link.output_bytes_max;
        if !link.takes_messages() || waiting > 0 && is_too_much {
            return false;
        }
        let before = link.output.len();
        match link.wire {
            Wire::Frame => ws::encode_message(&mut link.output, message, Some(random.mask_key())),
            #[cfg(feature = "process")]
            Wire::Nothing => return false,
            #[cfg(feature = "process")]
            Wire::Input if matches!(message, Message::Binary(_)) => {
                link.output.extend_from_slice(message.as_bytes());
            }
            _ => {
                link.output.extend_from_slice(message.as_bytes());
                link.output.push(b'\n');
            }
        }
        self.bytes += link.output.len() - before;
        self.mark_dirty(id);
        true
    }

    pub(super) fn close(&mut self, id: LinkId) {
        self.leave(id);
    }

    /// The same, by the worker.
    pub(crate) fn leave(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id) {
            link.life = LinkLife::Leaving;
            self.mark_dirty(id);
        }
    }

    /// From now on nothing is read from it, or it is again.
    pub(super) fn pause(&mut self, id: LinkId, paused: bool) {
        if let Some(link) = self.get_mut(id)
            && std::mem::replace(&mut link.paused, paused)
            && !paused
        {
            self.mark_dirty(id);
        }
    }

    /// Whether nothing is to be read from it. One that is to be left is read to its end.
    pub(crate) fn is_paused(&self, id: LinkId) -> bool {
        self.get(id)
            .is_some_and(|link| link.paused && link.life != LinkLife::Leaving)
    }

    fn mark_dirty(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id)
            && !link.dirty
        {
            link.dirty = true;
            self.dirty.push(id.index);
        }
    }

    /// Bytes that wait to be written to all links.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The links with something to write or to end, and the server's keys of their connections.
    pub(crate) fn take_dirty(&mut self) -> Vec<(LinkId, Option<u32>)> {
        let mut all = Vec::with_capacity(self.dirty.len());
        for index in self.dirty.drain(..) {
            // It may be gone, and its slot have a new one that is not meant.
            if let Some(link) = self.slab.get_mut(index as usize)
                && link.dirty
            {
                link.dirty = false;
                let generation = link.generation;
                all.push((LinkId { index, generation }, link.key));
            }
        }
        all
    }

    /// A connection is being made for it. `false`: nobody wants it any more.
    pub(crate) fn set_key(&mut self, id: LinkId, key: u32) -> bool {
        let link = self.get_mut(id);
        link.is_some_and(|link| {
            link.key = Some(key);
            link.life != LinkLife::Leaving
        })
    }

    /// The opening handshake is through.
    pub(crate) fn set_open(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id)
            && link.life == LinkLife::Dialling
        {
            link.life = LinkLife::Open;
        }
    }

    /// Whether its handler has said that it wants no more of it.
    pub(crate) fn is_leaving(&self, id: LinkId) -> bool {
        self.get(id)
            .is_none_or(|link| link.life == LinkLife::Leaving)
    }

    /// What waits to be written.
    pub(crate) fn output(&self, id: LinkId) -> &[u8] {
        self.get(id)
            .and_then(|link| link.output.get(link.written..))
            .unwrap_or_default()
    }

    /// So much of it was written.
    pub(crate) fn advance(&mut self, id: LinkId, written: usize) {
        let Some(link) = self.get_mut(id) else {
            return;
        };
        link.written += written;
        if link.written == link.output.len() {
            link.output.clear();
            link.written = 0;
            link.output.shrink_to(OUTPUT_CAPACITY_KEPT);
        } else if link.written > link.output.len() / 2 {
            link.output.drain(..link.written);
            link.written = 0;
        }
        self.bytes -= written;
    }

    /// Appends what is no message of the handler's: a pong, a close frame.
    pub(crate) fn push_raw(&mut self, id: LinkId, encode: impl FnOnce(&mut Vec<u8>)) {
        if let Some(link) = self.get_mut(id) {
            let before = link.output.len();
            encode(&mut link.output);
            self.bytes += link.output.len() - before;
        }
    }

    /// The server's key of the connection underneath.
    #[cfg(feature = "process")]
    pub(crate) fn key(&self, id: LinkId) -> Option<u32> {
        self.get(id)?.key
    }

    /// Nobody takes what waits to be written.
    #[cfg(feature = "process")]
    pub(crate) fn discard(&mut self, id: LinkId) {
        let waiting = self.output(id).len();
        self.advance(id, waiting);
    }

    /// Forgets a link; answers the route whose handler has to be told. `None`: it is gone already.
    pub(crate) fn remove(&mut self, id: LinkId) -> Option<u16> {
        let route = self.get(id)?.route;
        let link = self.slab.try_remove(id.index as usize)?;
        self.bytes -= link.output.len() - link.written;
        Some(route)
    }

    pub(super) fn check_invariants(&self) {
        let waiting = self.slab.iter().map(|(_, l)| l.output.len() - l.written);
        assert_eq!(waiting.sum::<usize>(), self.bytes, "bytes of links are off");
        for (index, link) in &self.slab {
            assert!(
                !link.dirty || self.dirty.contains(&(index as u32)),
                "a link with something to do is not on the list"
            );
        }
    }
}

impl Hub {
    pub(crate) fn has_dirty_links(&self) -> bool {
        self.links.has_dirty()
    }

    /// What waits to be written to links.
    pub(crate) fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    /// Whether nothing is to be read from a link.
    pub(crate) fn is_link_paused(&self, id: LinkId) -> bool {
        self.links.is_paused(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial(target: LinkTarget) -> Dial {
        Dial {
            output_bytes_max: 8,
            ..Dial::new(Rc::new(target))
        }
    }

    #[test]
    fn a_link_takes_messages_while_it_is_open_and_within_its_limit() {
        let mut links = Links::default();
        let mut random = Random::seeded(1);
        let id = links.begin(3, &dial(LinkTarget::Values("/x".to_owned())));
        let mut send = |links: &mut Links, text| links.send(id, Message::Text(text), &mut random);
        assert!(!send(&mut links, "1"), "it is not open yet");
        assert!(links.set_key(id, 7));
        links.set_open(id);
        assert!(send(&mut links, "[1,2,3,4,5]"), "one alone may be larger");
        assert!(!send(&mut links, "1"));
        assert_eq!(links.output(id), b"[1,2,3,4,5]\n");
        links.advance(id, 8);
        assert!(send(&mut links, "true"));
        assert_eq!(links.output(id), b",5]\ntrue\n");
        links.check_invariants();
        assert_eq!(links.take_dirty(), [(id, Some(7))]);
        assert!(!links.has_dirty());
        links.close(id);
        assert!(!send(&mut links, "2") && links.is_leaving(id) && links.has_dirty());
        assert_eq!(links.remove(id), Some(3));
        let next = links.begin(4, &dial(LinkTarget::Values("/x".to_owned())));
        assert_eq!(next.index, id.index, "the same slot …");
        assert_eq!(links.remove(id), None, "… is another link");
        assert_eq!(links.take_dirty(), []);
        links.check_invariants();
    }

    #[test]
    fn what_a_websocket_is_sent_is_masked() {
        let mut links = Links::default();
        let target = "http://a/".parse().expect("a target");
        let id = links.begin(0, &dial(LinkTarget::WebSocket(target)));
        links.set_open(id);
        assert!(links.send(id, Message::Text("hi"), &mut Random::seeded(1)));
        assert_eq!(links.output(id)[..2], [0x81, 0x82]);
        assert_eq!(links.output(id).len(), 8);
    }
}
