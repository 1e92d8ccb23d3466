//! One connection: a transport, what is known of its readiness, and the protocol it speaks at the moment.
//!
//! ```text
//!              accept
//!        │       │            ┌───────────────────────────────┐
//!        ▼       ▼            ▼                               │ keep-alive
//!   Http: (Proxy) ▶ Head ──▶ (Body) ──▶ handler ──▶ (Waiting) ──▶ answer ──▶ Closing ─▶ Linger
//!                │ 101, or 200 and a response that does not end (`responses.rs`)
//!                ▼
//!   Open:   ws::Closing::Open ── close sent ──▶ Sent ─────┐
//!                │                                        ▼ flushed
//!                └────────── close received ─▶ Received ─▶ Done ──▶ Linger ──▶ (dropped)
//!
//!   On a listener for values (`Worker::accept_values`) there is no HTTP and no closing handshake: it begins
//!   with Open, and whoever wants to close says so by ending. The latter holds for a response too.
//!
//!   Linger: our direction is ended; what still comes is read and thrown away until the peer ends too
//!           or the close time-out passes. A socket closed with unread input would send RST, and that
//!           destroys the answer or the close frame that is still under way.
//! ```

use std::sync::Arc;

use crate::http::{BodyReader, Head, HeadSeeker};
use crate::hub::{Params, Peer, Ticket};
use crate::token::Grant;
use crate::values::Values;
use crate::ws::{Closing, WebSocket};

use super::bucket::Bucket;
use super::links::Linked;
use super::polls::Poll;
use super::upstream::Upstream;
use super::wheel::Tick;

/// While more answers than this wait to be written, no further request of that connection is looked at.
const OUTPUT_BYTES_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Connection<T> {
    pub(crate) transport: T,
    /// Tells this connection from others that lived in its slot.
    pub(crate) generation: u32,
    /// The tick of the wheel entry that counts; 0: none is armed.
    pub(crate) armed: Tick,
    /// When bytes last went in either direction.
    pub(crate) life: Tick,
    /// The account of its address.
    pub(crate) account: u32,
    /// Readiness is memory: only `WouldBlock` clears these two.
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has ended its direction: the end must be read, however short the last read was.
    pub(crate) ended: bool,
    /// On the worker's ready queue.
    pub(crate) queued: bool,
    pub(crate) phase: Phase,
}

#[derive(Debug)]
pub(crate) enum Phase {
    Http(Box<Http>),
    Open(Open),
    Linger {
        since: Tick,
    },
    /// Not a client: a connection of ours to an application.
    Upstream(Box<Upstream>),
    /// A connection of ours to another server, that stays.
    Link(Box<Linked>),
}

/// What a connection keeps while it speaks HTTP.
#[derive(Debug)]
pub(crate) struct Http {
    /// The other end of the transport, or whom a PROXY header has named in its place.
    pub(crate) peer: Peer,
    /// For whom the peer asks: itself, unless it is a trusted proxy.
    pub(crate) client: Peer,
    pub(crate) listener: u16,
    pub(crate) stage: Stage,
    pub(crate) seeker: HeadSeeker,
    /// Bytes received and not used yet.
    pub(crate) input: Vec<u8>,
    /// There may be whole requests in `input`: the turn had enough before they were looked at.
    pub(crate) has_more: bool,
    /// Answers not yet written; the first `written` bytes are.
    pub(crate) output: Vec<u8>,
    pub(crate) written: usize,
    /// When the stage began: its time-out counts from here.
    pub(crate) since: Tick,
    /// Requests answered on this connection.
    pub(crate) answered: u32,
    /// Bytes of it that are counted into the memory budget.
    pub(crate) accounted: u32,
}

#[derive(Debug)]
pub(crate) enum Stage {
    /// A PROXY protocol header has to come first.
    Proxy,
    Head,
    Body(Box<Incoming>),
    Waiting {
        ticket: Ticket,
        head_only: bool,
        keep_alive: bool,
    },
    /// The last answer is under way; nothing more is read.
    Closing,
}

/// A request whose body is arriving.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) head: Head,
    pub(crate) route: u16,
    pub(crate) params: Params,
    pub(crate) grant: Option<Arc<Grant>>,
    pub(crate) reader: BodyReader,
    pub(crate) body: Vec<u8>,
}

/// What a connection keeps while its WebSocket is open or closing. Idle ones own no buffer.
#[derive(Debug)]
pub(crate) struct Open {
    /// Used for frames only: values are cut by [`Extra::values`], and of the reader of a response nothing is heard.
    pub(crate) ws: WebSocket,
    pub(crate) wire: Wire,
    pub(crate) session: u32,
    pub(crate) route: u16,
    pub(crate) closing: Closing,
    /// While open: when a ping of ours went out that no byte has answered yet (0: there is none); on a response, when
    /// something went out to show that it has not ended, of which nothing was taken yet; of a poll, when it began.
    /// Afterwards: when the closing handshake began.
    pub(crate) since: Tick,
    /// Nothing is read until the outbox has drained.
    pub(crate) paused: bool,
    /// Nothing is read until calls to the application are done.
    pub(crate) held: bool,
    pub(crate) extra: Option<Box<Extra>>,
}

/// What an open connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// WebSocket frames in both directions.
    Frames,
    /// JSON values in both directions.
    Values,
    /// The body of a response, and nothing in the other direction.
    Response,
    /// Nothing yet: there will be one answer ([`Extra::poll`]).
    Poll,
}

/// What a connection needs only while something is going on. It goes when it has nothing left to say.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// When the unfinished message began; 0: there is none.
    pub(crate) message_since: Tick,
    /// By when the first message has to be here; 0: it is, or need not be.
    pub(crate) first_due: Tick,
    /// Messages that came of late.
    pub(crate) messages: Bucket,
    /// Control frames that came of late.
    pub(crate) controls: Bucket,
    /// While closing: when the peer last took bytes of what is queued; 0: none yet.
    pub(crate) taken: Tick,
    /// The payload of the newest ping that could not be answered yet, because a frame was half written or the transport
    /// full: at most one pong is pending.
    pub(crate) pong: Option<Vec<u8>>,
    /// Input that was read and must wait until the outbox has drained.
    pub(crate) backlog: Vec<u8>,
    /// What cuts the stream, if it carries values.
    pub(crate) values: Option<Box<Values>>,
    /// The request that it is, if it is one.
    pub(crate) poll: Option<Box<Poll>>,
    /// Bytes of this connection that are counted into the memory budget.
    pub(crate) accounted: u32,
}

impl<T> Connection<T> {
    /// An open WebSocket with nothing unfinished: its one deadline is that of silence, and nothing was put off.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        matches!(&self.phase, Phase::Open(open)
        if open.since == 0
            && open.closing.is_open()
            && !open.paused
            && open.extra.as_ref().is_none_or(|extra| {
                extra.message_since == 0
                        && extra.first_due == 0
                        && extra.pong.is_none()
                        && extra.backlog.is_empty()
                        && extra.accounted == 0
            }))
    }

    pub(crate) fn session(&self) -> Option<(u32, u16)> {
        match &self.phase {
            Phase::Open(open) => Some((open.session, open.route)),
            _ => None,
        }
    }
}

impl Open {
    /// Whether it is not read from because of calls. Who was told to go is: its close frame has to be heard, and
    /// what it says before that causes no more calls.
    pub(crate) fn is_held(&self) -> bool {
        self.held && self.closing.is_open()
    }

    /// Whether a ping is still to be answered. Nothing is said any more to who is told to go.
    pub(crate) fn has_pending_pong(&self) -> bool {
        let extra = self.extra.as_ref();
        self.closing.is_open() && extra.is_some_and(|extra| extra.pong.is_some())
    }

    /// While closing: when the peer last took a part in it, as far as it is on it to take what is queued.
    pub(crate) fn last_taken(&self) -> Tick {
        let taken = self.extra.as_ref().map_or(0, |extra| extra.taken);
        taken.max(self.since)
    }

    /// Keeps input for later. What the last message was lent from is not kept: later may be long.
    pub(crate) fn put_off(&mut self, input: &[u8]) {
        self.ws.release();
        if !input.is_empty() {
            let extra = self.extra.get_or_insert_default();
            extra.backlog.extend_from_slice(input);
        }
    }

    /// When the unfinished message began.
    pub(crate) fn message_since(&self) -> Option<Tick> {
        self.extra
            .as_ref()
            .map(|extra| extra.message_since)
            .filter(|since| *since != 0)
    }

    /// By when its first message has to be here.
    pub(crate) fn first_due(&self) -> Option<Tick> {
        let due = self.extra.as_ref().map(|extra| extra.first_due);
        due.filter(|due| *due != 0)
    }

    /// Writes down since when a message is unfinished; `completed`: one before it has been finished.
    #[inline]
    pub(crate) fn note_message(&mut self, completed: bool, now: Tick) {
        if self.extra.is_some() || self.ws.is_mid_message() {
            self.note_since(completed, now);
        }
    }

    #[inline(never)]
    fn note_since(&mut self, completed: bool, now: Tick) {
        let values = self.extra.as_ref().and_then(|extra| extra.values.as_ref());
        let unfinished = match values {
            Some(values) => values.is_mid_value(),
            None => self.ws.is_mid_message(),
        };
        if unfinished || self.extra.is_some() {
            let extra = self.extra.get_or_insert_default();
            if completed {
                extra.first_due = 0;
            }
            let since = &mut extra.message_since;
            if !unfinished {
                *since = 0;
            } else if completed || *since == 0 {
                *since = now;
            }
        }
    }

    /// What says nothing any more can go. Most buckets are full again after a silence; one with a slow rate is not,
    /// and who is silent now and then would have a new burst each time.
    pub(crate) fn tidy(&mut self, now_ms: u64, messages_per_second: u32, control_per_second: u32) {
        if let Some(extra) = &self.extra
            && extra.messages.is_full(now_ms, messages_per_second)
            && extra.controls.is_full(now_ms, control_per_second)
            && extra.pong.is_none()
            && extra.backlog.is_empty()
            && extra.message_since == 0
            && extra.first_due == 0
            && extra.accounted == 0
            && extra.values.is_none()
            && extra.poll.is_none()
        {
            self.extra = None;
        }
    }
}

impl Extra {
    /// Whether one more message is within its rate; a rate of zero needs no memory.
    pub(crate) fn message_is_within(
        extra: &mut Option<Box<Self>>,
        now_ms: u64,
        per_second: u32,
        burst: u32,
    ) -> bool {
        per_second == 0
            || extra
                .get_or_insert_default()
                .messages
                .take(now_ms, per_second, burst)
    }

    /// Whether one more control frame is within its rate.
    pub(crate) fn control_is_within(
        extra: &mut Option<Box<Self>>,
        now_ms: u64,
        per_second: u32,
        burst: u32,
    ) -> bool {
        per_second == 0
            || extra
                .get_or_insert_default()
                .controls
                .take(now_ms, per_second, burst)
    }
}

impl Http {
    pub(crate) fn new(peer: Peer, listener: u16, since: Tick) -> Self {
        Self {
            peer,
            client: peer,
            listener,
            stage: Stage::Head,
            seeker: HeadSeeker::default(),
            input: Vec::new(),
            has_more: false,
            output: Vec::new(),
            written: 0,
            since,
            answered: 0,
            accounted: 0,
        }
    }

    /// Whether what comes next is read.
    pub(crate) fn is_reading(&self) -> bool {
        matches!(self.stage, Stage::Proxy | Stage::Head | Stage::Body(_))
    }

    /// More answers wait to be written than may: no further request is looked at.
    pub(crate) fn is_stalled(&self) -> bool {
        self.unwritten().len() > OUTPUT_BYTES_MAX
    }

    /// Lets go of what was written, once it is more than what was not. Whoever never takes the last byte would
    /// otherwise be remembered everything that was ever said to him.
    pub(crate) fn forget_written(&mut self) {
        if self.written > self.unwritten().len() {
            self.output.drain(..self.written);
            self.written = 0;
        }
    }

    pub(crate) fn unwritten(&self) -> &[u8] {
        self.output.get(self.written..).unwrap_or_default()
    }
}

/// What is to become of a connection after it was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Keep,
    Drop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_connection_is_small() {
        // A socket is a file descriptor.
        assert!(
            size_of::<Connection<i32>>() <= 64,
            "{}",
            size_of::<Connection<i32>>()
        );
    }
}
