//! What a handler may do: send, subscribe, publish, close, ask for a timer, answer later.

mod asking;
mod users;

use super::channel::{Space, SubscribeError};
use super::publish::{Label, PublishError, Published};
use super::session::Life;
use super::{CloseOrder, ConnId, History, Hub, Joined, Start};
use crate::metrics::Metrics;
use crate::time::Now;
use crate::token::Grant;
use crate::ws::{CloseCode, Message};

/// The hub, as one call of a [`Handler`](super::Handler) sees it.
///
/// Methods without a target mean *this* session: the one the call is about. In
/// [`on_request`](super::Handler::on_request) there is none, and they answer `false`, `None` or
/// [`SubscribeError::Closed`].
#[derive(Debug)]
pub struct Context<'a> {
    pub(super) hub: &'a mut Hub,
    pub(super) route: u16,
    pub(super) session: Option<u32>,
    /// Of the request that the call is about, where there is no session.
    grant: Option<&'a Grant>,
}

/// A session counts its bad messages in one byte, and that is always enough.
pub(crate) const BAD_MESSAGES_COUNTED: u32 = 254;

impl<'a> Context<'a> {
    pub(crate) fn new(hub: &'a mut Hub, route: u16, session: Option<u32>) -> Self {
        Self {
            hub,
            route,
            session,
            grant: None,
        }
    }

    /// For a plain request, with what its key or token allows; `None`: everything.
    pub(crate) fn for_request(hub: &'a mut Hub, route: u16, grant: Option<&'a Grant>) -> Self {
        Self {
            hub,
            route,
            session: None,
            grant,
        }
    }

    /// This session's id.
    pub fn id(&self) -> Option<ConnId> {
        self.hub.conn_id(self.session?)
    }

    /// Whether this session is no WebSocket: a response that does not end, or a stream of values.
    pub fn is_stream(&self) -> bool {
        let session = self.session.and_then(|s| self.hub.sessions.get(s as usize));
        session.is_some_and(|session| session.encoding.is_stream())
    }

    /// The time of this turn.
    pub fn now(&self) -> Now {
        self.hub.now
    }

    /// Sends to this session. `false`: it takes nothing more (closed, or over its limits and being closed).
    pub fn send(&mut self, message: Message<'_>) -> bool {
        self.session.is_some_and(|s| self.hub.send(s, message))
    }

    /// Sends text to this session.
    pub fn send_text(&mut self, text: &str) -> bool {
        self.send(Message::Text(text))
    }

    /// Sends to another session. `false`: there is no such session, or it takes nothing more.
    pub fn send_to(&mut self, id: ConnId, message: Message<'_>) -> bool {
        self.hub
            .index_of(id)
            .is_some_and(|s| self.hub.send(s, message))
    }

    /// Sends to many sessions, encoded once; answers how many took it. One named twice gets it once.
    ///
    /// # Errors
    /// When the memory budget is used up; then nothing was queued anywhere.
    pub fn send_many(
        &mut self,
        ids: &[ConnId],
        message: Message<'_>,
    ) -> Result<usize, PublishError> {
        self.hub.send_many(ids, message)
    }

    /// Sends a text to many sessions that differs in one place only: `before`, each one's own words, `after`. The end
    /// is encoded once and shared, so that a large one costs each receiver only what is its own. Answers how many took
    /// it; one that is named twice gets it twice.
    ///
    /// # Errors
    /// When the memory budget is used up; then nothing was queued anywhere.
    pub fn send_patched<'i>(
        &mut self,
        receivers: impl IntoIterator<Item = (ConnId, &'i str)>,
        before: &str,
        after: &str,
    ) -> Result<usize, PublishError> {
        self.hub.send_patched(receivers, before, after)
    }

    /// Closes this session with a code and a reason (at most 123 bytes travel, RFC 6455 §5.5).
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        if let Some(session) = self.session {
            self.order_close(session, code, reason);
        }
    }

    /// Closes another session. `false`: there is no such session.
    pub fn close_other(&mut self, id: ConnId, code: CloseCode, reason: &str) -> bool {
        match self.hub.index_of(id) {
            Some(session) => {
                self.order_close(session, code, reason);
                true
            }
            None => false,
        }
    }

    fn order_close(&mut self, session: u32, code: CloseCode, reason: &str) {
        if let Some(entry) = self.hub.sessions.get_mut(session as usize) {
            if entry.is_open() {
                entry.life = Life::Leaving;
            }
            let generation = entry.generation;
            self.hub.closing.push(CloseOrder {
                session,
                generation,
                code,
                reason: reason.into(),
            });
        }
    }

    /// Bytes that wait to be sent to this session.
    pub fn buffered(&self) -> usize {
        self.session.map_or(0, |s| self.hub.outbox_bytes(s))
    }

    /// Bytes that wait to be sent to another session.
    pub fn buffered_of(&self, id: ConnId) -> usize {
        let session = self.hub.index_of(id);
        session.map_or(0, |session| self.hub.outbox_bytes(session))
    }

    /// Asks for [`on_drained`](super::Handler::on_drained), once, when nothing waits for another session any more, or
    /// at the end of this turn if nothing does. `false`: there is no such session.
    pub fn tell_when_drained(&mut self, id: ConnId) -> bool {
        let session = self.hub.index_of(id);
        session.inspect(|s| self.hub.await_drained(*s)).is_some()
    }

    /// Whether `id` is an open session.
    pub fn is_open(&self, id: ConnId) -> bool {
        self.hub.index_of(id).is_some()
    }

    /// This session's word, which belongs to the handler; 0 at first. See [`Locals`](super::Locals).
    pub fn word(&self) -> u64 {
        self.session
            .and_then(|s| self.hub.sessions.get(s as usize))
            .map_or(0, |s| s.word)
    }

    /// Sets this session's word.
    pub fn set_word(&mut self, word: u64) {
        if let Some(session) = self
            .session
            .and_then(|s| self.hub.sessions.get_mut(s as usize))
        {
            session.word = word;
        }
    }

    /// The name space of this route's handler.
    pub fn space(&self) -> Space {
        self.hub
            .routes
            .get(self.route as usize)
            .map_or(Space(0), |r| r.space)
    }

    /// Another name space, for a handler that keeps several kinds of channels.
    pub fn space_named(&mut self, name: &str) -> Space {
        self.hub.channels.space(name)
    }

    /// Subscribes this session to a channel; `Ok(false)` if it already was.
    ///
    /// # Errors
    /// When a limit is reached. Names that a client chose are checked with
    /// [`check_channel_name`](super::check_channel_name) first.
    pub fn subscribe(&mut self, channel: &str) -> Result<bool, SubscribeError> {
        self.subscribe_in(self.space(), channel)
    }

    /// Subscribes this session to a channel of another space.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub fn subscribe_in(&mut self, space: Space, channel: &str) -> Result<bool, SubscribeError> {
        let session = self.session.ok_or(SubscribeError::Closed)?;
        self.hub.subscribe(session, space, channel)
    }

    /// Subscribes this session to a channel from some position on: first what is kept behind it comes, then what is
    /// published. What is not kept any more is announced by the gap marker.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub fn subscribe_from(
        &mut self,
        channel: &str,
        start: Start,
    ) -> Result<Joined, SubscribeError> {
        let session = self.session.ok_or(SubscribeError::Closed)?;
        self.hub
            .subscribe_from(session, self.space(), channel, start)
    }

    /// At most so many of the publications that a channel keeps from there on, oldest first; `None`: there is no such
    /// channel, so it keeps none.
    pub fn history(
        &mut self,
        channel: &str,
        start: Start,
        messages_max: usize,
    ) -> Option<History<'_>> {
        self.hub.history(self.space(), channel, start, messages_max)
    }

    /// From now on this session is sent publications in envelopes that say where they stand: texts
    /// `{"position":"…","previous":"…","data":…}`, with the message itself if that is JSON, else `"text":"…"`, or
    /// `"base64":"…"` for a binary one. `previous` is missing at the beginning of a channel's life.
    ///
    /// `false`: its messages have no room for envelopes, for they are events.
    pub fn want_envelopes(&mut self) -> bool {
        let session = self.session;
        session.is_some_and(|session| self.hub.want_envelopes(session))
    }

    /// Unsubscribes this session; `false` if it was not subscribed.
    pub fn unsubscribe(&mut self, channel: &str) -> bool {
        self.unsubscribe_in(self.space(), channel)
    }

    /// Unsubscribes this session from a channel of another space.
    pub fn unsubscribe_in(&mut self, space: Space, channel: &str) -> bool {
        self.session
            .is_some_and(|s| self.hub.unsubscribe(s, space, channel))
    }

    /// Unsubscribes this session from every channel of `space` whose name `matches`; answers how many.
    pub fn unsubscribe_where(&mut self, space: Space, matches: impl FnMut(&str) -> bool) -> usize {
        self.session
            .map_or(0, |s| self.hub.unsubscribe_where(s, space, matches))
    }

    /// Sessions subscribed to a channel of this space.
    pub fn subscribers(&self, channel: &str) -> usize {
        self.subscribers_in(self.space(), channel)
    }

    /// Sessions subscribed to a channel of another space.
    pub fn subscribers_in(&self, space: Space, channel: &str) -> usize {
        self.hub.subscribers(space, channel)
    }

    /// The channels of a space that have subscribers, with their number, sorted by name.
    pub fn channels_in(&self, space: Space) -> Vec<(String, usize)> {
        let mut all: Vec<_> = self
            .hub
            .channels
            .in_space(space)
            .map(|(n, c)| (n.to_owned(), c))
            .collect();
        all.sort_unstable();
        all
    }

    /// Publishes to every subscriber of a channel, this session included if it is one.
    ///
    /// # Errors
    /// When the memory budget is used up; then nothing was queued anywhere.
    pub fn publish(
        &mut self,
        channel: &str,
        message: Message<'_>,
    ) -> Result<Published, PublishError> {
        self.publish_in(self.space(), &[channel], message)
    }

    /// As [`publish`](Self::publish), with a name for what has happened: readers of server-sent events have it as the
    /// event's type, those of envelopes as a member.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`PublishError::Event`] for a name that is empty, longer than 64 bytes, one of the
    /// server's own (`gap`, `close`), or has control characters.
    pub fn publish_event(
        &mut self,
        channel: &str,
        event: Option<&str>,
        message: Message<'_>,
    ) -> Result<Published, PublishError> {
        let label = Label::of(event);
        self.hub
            .publish_event(self.space(), &[channel], label, message, None)
    }

    /// Whether publications to a channel of this name are kept for those who come later.
    pub fn keeps(&self, channel: &str) -> bool {
        self.hub.channels.keeps(self.space(), channel)
    }

    /// Publishes to the union of several channels of a space: each session gets the message once.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_in(
        &mut self,
        space: Space,
        channels: &[&str],
        message: Message<'_>,
    ) -> Result<Published, PublishError> {
        self.hub.publish(space, channels, message, None)
    }

    /// Whether the memory budget has room for so many more bytes of messages: for publications that belong
    /// together and shall go out all or none.
    ///
    /// # Errors
    /// [`PublishError::Budget`].
    pub fn has_room(&mut self, bytes: usize) -> Result<(), PublishError> {
        self.hub.has_room(bytes)
    }

    /// As [`publish`](Self::publish), but not to this session.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_to_others(
        &mut self,
        channel: &str,
        message: Message<'_>,
    ) -> Result<Published, PublishError> {
        self.hub
            .publish(self.space(), &[channel], message, self.session)
    }

    /// Counts a bad message (not JSON, unknown command) of this session. Beyond the limit per minute the
    /// session is closed with 1008 and `false` comes back: answer nothing more.
    pub fn bad_message(&mut self) -> bool {
        let Some(index) = self.session else {
            return false;
        };
        self.hub.metrics.refuse("bad_message");
        let max = self.hub.session_limits(index).bad_messages_per_minute;
        let minute = (self.hub.now.ms / 60_000) as u8;
        let Some(session) = self.hub.sessions.get_mut(index as usize) else {
            return false;
        };
        if session.bad_minute != minute {
            session.bad_minute = minute;
            session.bad_messages = 0;
        }
        session.bad_messages = session.bad_messages.saturating_add(1);
        if max == 0 || u32::from(session.bad_messages) <= max.min(BAD_MESSAGES_COUNTED) {
            return true;
        }
        self.hub.metrics.refuse("bad_messages_per_minute");
        self.close(
            CloseCode::POLICY,
            &format!("more than {max} bad messages in a minute (setting bad_messages_per_minute)"),
        );
        false
    }

    /// Counts a refusal of the handler's own. `reason` comes from a fixed list in the source.
    pub fn count_refusal(&mut self, reason: &'static str) {
        self.hub.metrics.refuse(reason);
    }

    /// Sessions of this worker, all routes together.
    pub fn sessions(&self) -> usize {
        self.hub.sessions()
    }

    /// What this worker counted.
    pub fn metrics(&self) -> &Metrics {
        &self.hub.metrics
    }

    /// Counts and gauges as Prometheus text.
    pub fn metrics_text(&self) -> String {
        let mut text = self.hub.metrics.render(&[
            (
                "sessions",
                "Open WebSockets, those still draining included.",
                self.hub.sessions() as u64,
            ),
            (
                "channels",
                "Channels with a subscriber, or that keep publications.",
                self.hub.channels() as u64,
            ),
            #[cfg(feature = "wildcards")]
            (
                "patterns",
                "Patterns with a subscriber; they count as channels too.",
                self.hub.channels.patterns.len() as u64,
            ),
            #[cfg(feature = "presence")]
            (
                "presence_members",
                "Users and connections in channels that keep who is in.",
                self.hub.channels.presences.members() as u64,
            ),
            (
                "queued_frames",
                "Frames waiting in outboxes.",
                self.hub.queued_frames() as u64,
            ),
            (
                "queued_bytes",
                "Bytes waiting in outboxes.",
                self.hub.queued_bytes() as u64,
            ),
            (
                "memory_used_bytes",
                "Bytes that count into the memory budget.",
                self.hub.used_bytes() as u64,
            ),
            (
                "memory_budget_bytes",
                "The memory budget.",
                self.hub.memory_budget() as u64,
            ),
            (
                "histories",
                "Channels that keep publications, or have kept some.",
                self.hub.histories.len() as u64,
            ),
            (
                "history_bytes",
                "Bytes that count into the history budget.",
                self.hub.histories.bytes() as u64,
            ),
            (
                "calls",
                "Calls to applications that wait or are under way.",
                self.hub.calls.count as u64,
            ),
        ]);
        self.hub.push_route_gauges(&mut text);
        text
    }

    /// 16 random bytes.
    pub fn random16(&mut self) -> [u8; 16] {
        self.hub.random.bytes16()
    }
}
