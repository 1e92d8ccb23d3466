//! What a script does with one peer. After each step the world runs until nothing moves any more.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use super::peer::{Answer, Peer, Received};
use super::world::Inner;
use crate::ws::{CloseCode, OpCode};

/// One client of a [`World`](super::World). It answers pings and close frames by itself.
#[derive(Debug)]
pub struct Client {
    inner: Rc<RefCell<Inner>>,
    index: usize,
}

impl Client {
    pub(crate) fn new(inner: Rc<RefCell<Inner>>, index: usize) -> Self {
        Self { inner, index }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    fn peer(&self) -> RefMut<'_, Peer> {
        RefMut::map(self.inner.borrow_mut(), |inner| {
            &mut inner.peers[self.index]
        })
    }

    fn then_run(&self, act: impl FnOnce(&mut Peer)) {
        act(&mut self.peer());
        self.inner.borrow_mut().run();
    }

    /// Sends a text message.
    pub fn send_text(&mut self, text: &str) {
        self.then_run(|peer| peer.send_frame(true, OpCode::Text, text.as_bytes()));
    }

    /// Sends a binary message.
    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.then_run(|peer| peer.send_frame(true, OpCode::Binary, bytes));
    }

    /// Sends many text messages at once: they may arrive in one segment.
    pub fn send_texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        self.then_run(|peer| {
            for text in texts {
                peer.send_frame(true, OpCode::Text, text.as_bytes());
            }
        });
    }

    /// Sends one frame as it is told, for messages in pieces.
    pub fn send_frame(&mut self, fin: bool, opcode: OpCode, payload: &[u8]) {
        self.then_run(|peer| peer.send_frame(fin, opcode, payload));
    }

    /// Sends a ping.
    pub fn ping(&mut self, payload: &[u8]) {
        self.send_frame(true, OpCode::Ping, payload);
    }

    /// What was agreed on, if permessage-deflate was.
    #[cfg(feature = "deflate")]
    pub fn deflate(&self) -> Option<crate::ws::deflate::Agreement> {
        self.peer().deflate.agreed
    }

    /// Compressed payload bytes received, and what they became.
    #[cfg(feature = "deflate")]
    pub fn inflated_bytes(&self) -> (u64, u64) {
        self.peer().deflate.inflater.bytes()
    }

    /// Begins to close.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.then_run(|peer| peer.send_close(CloseCode(code), reason));
    }

    /// Sends bytes as they are, whatever they mean.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.then_run(|peer| peer.out.extend(bytes));
    }

    /// A 101 that answers this key opens the WebSocket, whoever wrote the request.
    pub fn expect_upgrade_with(&mut self, key: &str) {
        self.peer().expect_upgrade(key);
    }

    /// Writes bytes into its window and leaves it at that: the server finds them when the world runs again.
    pub fn write_only(&mut self, bytes: &[u8]) {
        let mut peer = self.peer();
        peer.out.extend(bytes);
        peer.deliver(usize::MAX);
    }

    /// Writes a frame as [`write_only`](Self::write_only) writes bytes.
    pub fn write_frame(&mut self, fin: bool, opcode: OpCode, payload: &[u8]) {
        let mut peer = self.peer();
        peer.send_frame(fin, opcode, payload);
        peer.deliver(usize::MAX);
    }

    /// Ends its direction and leaves it at that, as [`write_only`](Self::write_only) does.
    pub fn end_only(&mut self) {
        let mut peer = self.peer();
        peer.ends = true;
        peer.deliver(usize::MAX);
    }

    /// Ends its direction behind everything it has sent, and goes on reading.
    pub fn half_close(&mut self) {
        self.then_run(|peer| peer.ends = true);
    }

    /// Resets the connection.
    pub fn reset(&mut self) {
        self.then_run(|peer| {
            peer.out.clear();
            peer.was_reset = true;
            peer.wire.borrow_mut().reset_by_peer();
        });
    }

    /// Stops reading: what the server sends piles up in the window, then in the server.
    pub fn stop_reading(&mut self) {
        self.peer().reading = false;
    }

    /// Reads again.
    pub fn resume_reading(&mut self) {
        self.then_run(|peer| peer.reading = true);
    }

    /// Takes one segment and stops reading again.
    pub fn read_once(&mut self) {
        self.then_run(|peer| {
            peer.reading = true;
            peer.collect(usize::MAX);
            peer.reading = false;
        });
    }

    /// From now on every segment has at most so many bytes, in both directions.
    pub fn cut_into(&mut self, bytes: usize) {
        self.peer().cut = bytes.max(1);
    }

    /// Lets at most so many bytes lie unread in its receive window.
    pub fn window(&mut self, bytes: usize) {
        self.then_run(|peer| peer.wire.borrow_mut().set_window(bytes));
    }

    /// Its socket promises, as real ones do, that a short read has taken everything.
    pub fn short_reads_drain(&mut self) {
        self.peer().wire.borrow_mut().faults.short_read_drains = true;
    }

    /// Whether it answers pings.
    pub fn answer_pings(&mut self, yes: bool) {
        self.peer().pongs = yes;
    }

    /// Whether it answers close frames, and ends when the server has ended.
    pub fn answer_closes(&mut self, yes: bool) {
        let mut peer = self.peer();
        peer.answers_close = yes;
        peer.hangs_up = yes;
    }

    /// The next message or close frame, if one has come.
    #[allow(clippy::should_implement_trait)] // A script reads better with `a.next()` than with an iterator.
    pub fn next(&mut self) -> Option<Received> {
        self.inner.borrow_mut().run();
        self.peer().inbox.pop_front()
    }

    /// All messages and close frames that have come.
    pub fn received(&mut self) -> Vec<Received> {
        self.inner.borrow_mut().run();
        self.peer().inbox.drain(..).collect()
    }

    /// All text messages that have come; a close frame ends the list.
    pub fn texts(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(Received::Text(text)) = self.next() {
            texts.push(text);
        }
        texts
    }

    /// Takes the next message, which must be this text.
    ///
    /// # Panics
    /// If it is something else, or has not come.
    #[track_caller]
    pub fn expect_text(&mut self, text: &str) {
        assert_eq!(self.next(), Some(Received::Text(text.to_owned())));
    }

    /// Takes the next message, which must be these bytes.
    ///
    /// # Panics
    /// If it is something else, or has not come.
    #[track_caller]
    pub fn expect_binary(&mut self, bytes: &[u8]) {
        assert_eq!(self.next(), Some(Received::Binary(bytes.to_vec())));
    }

    /// Takes the close frame, which must come next and have this code; answers its reason.
    ///
    /// # Panics
    /// If it is something else, or has not come.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        match self.next() {
            Some(Received::Close(got, reason)) if got == code => reason,
            other => panic!("expected a close frame with {code}, got {other:?}"),
        }
    }

    /// The next answer to a plain HTTP request, if it has come.
    pub fn answer(&mut self) -> Option<Answer> {
        self.inner.borrow_mut().run();
        self.peer().answers.pop_front()
    }

    /// What has come of an answer that is still arriving: its head, and of its body what is new since the last call.
    pub fn arriving(&mut self) -> Option<Answer> {
        self.inner.borrow_mut().run();
        self.peer().arriving()
    }

    /// How many pings have come.
    pub fn pings(&self) -> u32 {
        self.peer().pings_seen
    }

    /// The payloads of the pongs that have come since the last call.
    pub fn pongs(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.peer().pongs_seen)
    }

    /// The subprotocol that the server chose.
    pub fn subprotocol(&self) -> Option<String> {
        self.peer().subprotocol.clone()
    }

    /// The server has ended the connection, in order (both directions may still be on their way).
    pub fn is_ended(&self) -> bool {
        self.peer().ended
    }

    /// The connection was reset: by the server, or by this client.
    pub fn is_reset(&self) -> bool {
        self.peer().was_reset
    }

    /// The connection is over, one way or the other.
    pub fn is_over(&self) -> bool {
        self.peer().is_over()
    }

    /// What the server did that no server may do: a broken frame, an end inside one, bytes after the close.
    pub fn complaint(&self) -> Option<String> {
        self.peer().complaint.clone()
    }
}
