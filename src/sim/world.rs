//! The world: one worker, its peers and a virtual clock, and how they take turns.
//!
//! The driver here is as lazy as the real one: it calls `turn` when a poll would have returned, that is for
//! an edge, for a deadline, or because the last turn asked for another one. Work that nobody asked for stays
//! undone, and is found.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use super::application::AppHandle;
use super::client::Client;
use super::gateway::Application;
use super::node::{Node, NodeHandle};
use super::peer::{Answer, Peer};
use super::socket::{SimSocket, Wire};
use crate::hub::{self, Handler};
use crate::random::Random;
use crate::server::{On, Place, RouteSettings, Worker, WorkerSettings};
use crate::time::Now;

/// A worker over simulated sockets, and everybody who talks to it.
#[derive(Debug, Clone)]
pub struct World {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) worker: Worker<SimSocket>,
    pub(crate) now: Now,
    /// Where calls go.
    pub(crate) app: Application,
    /// Where links lead.
    pub(crate) node: Node,
    pub(crate) peers: Vec<Peer>,
    /// The worker's key of each peer's connection.
    pub(crate) keys: Vec<usize>,
    /// Peers whose wire may still move.
    pub(crate) live: Vec<usize>,
    /// The last turn asked for another one, or something happened that no edge tells.
    pub(crate) again: bool,
    random: Random,
    window: usize,
    spins: u32,
}

/// How a client connects, beyond the path.
#[derive(Debug, Clone)]
pub struct Connect {
    target: String,
    protocols: Vec<String>,
    headers: Vec<(String, String)>,
    from: hub::Peer,
    listener: u16,
    cut: usize,
    before: Vec<u8>,
    first: Vec<u8>,
    #[cfg(feature = "deflate")]
    deflate: Option<crate::ws::deflate::ClientOffer>,
}

impl Connect {
    /// To this path (and query).
    pub fn to(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            protocols: Vec::new(),
            headers: Vec::new(),
            from: local_peer(),
            listener: 0,
            cut: usize::MAX,
            before: Vec::new(),
            first: Vec::new(),
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }

    /// Offers permessage-deflate. What is agreed on is used: whole messages go out compressed where that helps.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(mut self, offer: crate::ws::deflate::ClientOffer) -> Self {
        self.deflate = Some(offer);
        self
    }

    /// Offers a subprotocol, behind those offered already.
    #[must_use]
    pub fn protocol(mut self, name: &str) -> Self {
        self.protocols.push(name.to_owned());
        self
    }

    /// Sends a header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Comes from this address, or through a Unix socket (`unix`); other text means this machine.
    #[must_use]
    pub fn from(mut self, ip: &str) -> Self {
        if ip == "unix" {
            self.from = hub::Peer::Unix;
        } else if let Ok(ip) = ip.parse::<IpAddr>() {
            self.from = hub::Peer::Tcp(SocketAddr::new(ip, 40_000));
        }
        self
    }

    /// Sends these bytes in front of the request, as a proxy does that speaks the PROXY protocol.
    #[must_use]
    pub fn introduced_by(mut self, bytes: &[u8]) -> Self {
        self.before = bytes.to_vec();
        self
    }

    /// Comes through listener number `listener` instead of 0.
    #[must_use]
    pub fn listener(mut self, listener: u16) -> Self {
        self.listener = listener;
        self
    }

    /// Sends, and takes, so many bytes at a time.
    #[must_use]
    pub fn cut_into(mut self, bytes: usize) -> Self {
        self.cut = bytes.max(1);
        self
    }

    /// Sends this text message directly behind the request, without waiting for the answer.
    #[must_use]
    pub fn then_text(mut self, text: &str) -> Self {
        let mut frame = Vec::new();
        crate::ws::encode_message(
            &mut frame,
            crate::ws::Message::Text(text),
            Some([1, 2, 3, 4]),
        );
        self.first.extend_from_slice(&frame);
        self
    }
}

impl From<&str> for Connect {
    fn from(target: &str) -> Self {
        Self::to(target)
    }
}

pub(crate) fn local_peer() -> hub::Peer {
    hub::Peer::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000))
}

impl World {
    /// An empty world.
    pub fn new(settings: WorkerSettings) -> Self {
        Self {
            inner: Rc::new(RefCell::new(Inner::new(settings, 1))),
        }
    }

    /// Puts a handler on a route, with default settings.
    ///
    /// # Panics
    /// If the template is not one, or is served already.
    pub fn route<H: Handler + 'static>(&mut self, template: &str, make: impl FnOnce() -> H) {
        self.route_with(template, RouteSettings::default(), make);
    }

    /// Puts a handler on a route.
    ///
    /// # Panics
    /// If the template is not one, or is served already.
    pub fn route_with<H: Handler + 'static>(
        &mut self,
        template: &str,
        settings: RouteSettings,
        make: impl FnOnce() -> H,
    ) {
        let handler = Box::new(make());
        let added = self
            .inner
            .borrow_mut()
            .worker
            .route(template, On::Every, settings, handler);
        if let Err(error) = added {
            panic!("{error}");
        }
    }

    /// Connects a client: a path, or a [`Connect`] with more to say.
    ///
    /// # Panics
    /// If the handshake is refused.
    pub fn connect(&mut self, how: impl Into<Connect>) -> Client {
        match self.try_connect(how) {
            Ok(client) => client,
            Err(Some(answer)) => panic!(
                "the handshake was refused: {} {}",
                answer.status(),
                answer.text()
            ),
            Err(None) => panic!("the connection was dropped without an answer"),
        }
    }

    /// Connects a client that is to be refused; answers with what.
    ///
    /// # Panics
    /// If the handshake succeeds, or the connection is dropped without an answer.
    pub fn connect_refused(&mut self, how: impl Into<Connect>) -> Answer {
        match self.try_connect(how) {
            Ok(_) => panic!("the handshake was not refused"),
            Err(Some(answer)) => answer,
            Err(None) => panic!("the connection was dropped without an answer"),
        }
    }

    /// Connects a client.
    ///
    /// # Errors
    /// The refusal, or `None` if the connection was dropped without one.
    pub fn try_connect(&mut self, how: impl Into<Connect>) -> Result<Client, Option<Answer>> {
        let how = how.into();
        let client = self.begin(&how);
        let peer = client.index();
        self.inner.borrow_mut().run();
        let mut inner = self.inner.borrow_mut();
        let peer = &mut inner.peers[peer];
        let answer = peer.answers.pop_front();
        if peer.is_open() {
            drop(inner);
            Ok(client)
        } else {
            Err(answer)
        }
    }

    /// Accepts a connection and writes its handshake, of which nothing is delivered yet.
    fn begin(&mut self, how: &Connect) -> Client {
        let client = self.open_from(how.from, how.listener);
        let mut inner = self.inner.borrow_mut();
        let peer = &mut inner.peers[client.index()];
        peer.cut = how.cut;
        let protocols: Vec<&str> = how.protocols.iter().map(String::as_str).collect();
        let headers: Vec<(&str, &str)> = how
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        #[cfg(feature = "deflate")]
        {
            peer.deflate.offer = how.deflate;
        }
        peer.out.extend(&how.before);
        peer.ask_upgrade(&how.target, &protocols, &headers);
        peer.out.extend(&how.first);
        drop(inner);
        client
    }

    /// A connection that has said nothing yet.
    pub fn open(&mut self) -> Client {
        self.open_from(local_peer(), 0)
    }

    /// A client on a stream of values: what comes are its texts, a line each.
    pub fn open_values(&mut self) -> Client {
        let index = self.inner.borrow_mut().accept_values(hub::Peer::Unix, 0);
        Client::new(self.inner.clone(), index)
    }

    fn open_from(&mut self, from: hub::Peer, listener: u16) -> Client {
        let index = self.inner.borrow_mut().accept(from, listener);
        Client::new(self.inner.clone(), index)
    }

    /// Sends a plain HTTP request on a connection of its own; answers with the first answer.
    ///
    /// # Panics
    /// If there is none.
    pub fn request(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.open();
        client.send_bytes(request.as_ref());
        match client.answer() {
            Some(answer) => answer,
            None => panic!("no answer"),
        }
    }

    /// Sends a plain HTTP request from where `how` comes from; the request itself is `request`.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn request_from(&mut self, how: &Connect, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.open_from(how.from, how.listener);
        client.send_bytes(&[&how.before, request.as_ref()].concat());
        match client.answer() {
            Some(answer) => answer,
            None => panic!("no answer"),
        }
    }

    /// A connection from where `how` comes from that has said nothing yet.
    pub fn open_as(&mut self, how: &Connect) -> Client {
        self.open_from(how.from, how.listener)
    }

    /// What the server has told the log since it was asked last.
    pub fn take_notices(&mut self) -> Vec<crate::server::Notice> {
        self.inner.borrow_mut().worker.take_notices()
    }

    /// The application that calls go to.
    pub fn app(&self) -> AppHandle {
        AppHandle::new(self.inner.clone())
    }

    /// The server that links lead to.
    pub fn node(&self) -> NodeHandle {
        NodeHandle::new(self.inner.clone())
    }

    /// A publication comes from the home of a channel that lives elsewhere; see
    /// [`Worker::publication`](crate::server::Worker::publication).
    ///
    /// # Errors
    /// As there.
    pub fn publication(
        &mut self,
        space: &str,
        channel: &str,
        incoming: &hub::Incoming<'_>,
    ) -> Result<hub::Received, hub::PublishError> {
        let received = {
            let mut inner = self.inner.borrow_mut();
            inner.again = true;
            inner.worker.publication(space, channel, incoming)
        };
        self.run();
        received
    }

    /// Lets time go by, deadline by deadline; everybody acts meanwhile.
    pub fn advance_ms(&mut self, ms: u64) {
        self.inner.borrow_mut().advance(ms);
    }

    /// Stops the server's process for so long (SIGSTOP, a laptop's lid): peers go on writing as far as the
    /// windows allow, and the worker finds out afterwards.
    pub fn freeze_ms(&mut self, ms: u64) {
        let mut inner = self.inner.borrow_mut();
        inner.exchange();
        inner.tick(ms);
        inner.run();
    }

    /// Moves the clock, hands what was written to the worker and calls its turn once: for scripts that must not
    /// wait until nothing moves. `false`: there was no reason for a turn.
    pub fn turn_after_ms(&mut self, ms: u64) -> bool {
        let mut inner = self.inner.borrow_mut();
        inner.tick(ms);
        inner.poll()
    }

    /// Sweeps the invariants of worker and hub.
    ///
    /// # Panics
    /// When one is broken.
    pub fn check_invariants(&self) {
        self.inner.borrow().worker.check_invariants();
    }

    /// Checks that no connection with nothing unfinished owns a buffer.
    ///
    /// # Panics
    /// When one does.
    pub fn check_idle(&self) {
        if let Some(what) = self.inner.borrow().worker.idle_buffers() {
            panic!("{what}");
        }
    }

    /// Sets the machine's wall clock: the time in milliseconds since 1970.
    pub fn set_unix_ms(&mut self, unix_ms: u64) {
        self.inner.borrow_mut().now.unix_ms = unix_ms;
    }

    /// The virtual clock.
    pub fn now(&self) -> Now {
        self.inner.borrow().now
    }

    /// Lets everybody act until nothing moves any more.
    pub fn run(&mut self) {
        self.inner.borrow_mut().run();
    }

    /// Begins to drain, as at SIGTERM.
    pub fn drain(&mut self) {
        let mut inner = self.inner.borrow_mut();
        let now = inner.now;
        inner.worker.drain(now);
        inner.again = true;
        inner.run();
    }

    /// Whether a drain has come to its end.
    pub fn is_drained(&self) -> bool {
        self.inner.borrow().worker.is_drained()
    }

    /// Connections of any kind, as the worker counts them.
    pub fn connections(&self) -> usize {
        self.inner.borrow().worker.connections()
    }

    /// Sessions, as the hub counts them.
    pub fn sessions(&self) -> usize {
        self.inner.borrow().worker.hub().sessions()
    }

    /// Channels with a subscriber.
    pub fn channels(&self) -> usize {
        self.inner.borrow().worker.hub().channels()
    }

    /// Bytes that count into the memory budget.
    pub fn used_bytes(&self) -> usize {
        self.inner.borrow().worker.hub().used_bytes()
    }

    /// Bytes that wait in outboxes.
    pub fn queued_bytes(&self) -> usize {
        self.inner.borrow().worker.hub().queued_bytes()
    }

    /// All that was counted.
    pub fn metrics(&self) -> crate::metrics::Metrics {
        self.inner.borrow().worker.hub().metrics().clone()
    }

    /// How often the server refused something for this reason.
    pub fn refused(&self, reason: &str) -> u64 {
        self.inner.borrow().worker.hub().metrics().refused(reason)
    }

    /// How often the server refused anything.
    pub fn refused_total(&self) -> u64 {
        self.inner.borrow().worker.hub().metrics().refused_total()
    }
}

impl Inner {
    pub(crate) fn new(settings: WorkerSettings, seed: u64) -> Self {
        Self {
            worker: Worker::new(settings, Random::seeded(seed)),
            now: Now::new(1_000_000, 1_790_000_000_000),
            app: Application::new(),
            node: Node::new(),
            peers: Vec::new(),
            keys: Vec::new(),
            live: Vec::new(),
            again: false,
            random: Random::seeded(!seed),
            window: 64 << 10,
            spins: 0,
        }
    }

    pub(crate) fn accept(&mut self, from: hub::Peer, listener: u16) -> usize {
        let (socket, wire) = SimSocket::pair(self.window);
        let key = self.worker.accept(socket, listener, from, self.now);
        self.take_in(wire, key)
    }

    pub(crate) fn accept_values(&mut self, from: hub::Peer, listener: u16) -> usize {
        let (socket, wire) = SimSocket::pair(self.window);
        let key = self.worker.accept_values(socket, listener, from, self.now);
        let index = self.take_in(wire, key);
        self.peers[index].read_values();
        index
    }

    fn take_in(&mut self, wire: Rc<RefCell<Wire>>, key: usize) -> usize {
        self.again = true;
        self.peers.push(Peer::new(wire, self.random.next_u64()));
        self.keys.push(key);
        self.live.push(self.peers.len() - 1);
        self.peers.len() - 1
    }

    pub(crate) fn tick(&mut self, ms: u64) {
        self.now.ms += ms;
        self.now.unix_ms += ms;
    }

    /// Every peer writes and reads what it can; `true` if anything moved.
    pub(crate) fn exchange(&mut self) -> bool {
        let mut moved = false;
        for at in 0..self.live.len() {
            let peer = &mut self.peers[self.live[at]];
            moved |= peer.deliver(usize::MAX);
            moved |= peer.collect(usize::MAX);
        }
        self.forget_dead();
        moved | self.app.exchange(self.now.ms) | self.node.exchange(self.now.ms)
    }

    fn forget_dead(&mut self) {
        let peers = &self.peers;
        self.live.retain(|index| {
            let peer = &peers[*index];
            !(peer.is_over() && peer.wire.borrow().gone)
        });
    }

    /// What a poll with no time-out would bring, and a turn if that is a reason for one.
    pub(crate) fn poll(&mut self) -> bool {
        let mut woken = self.again;
        for at in 0..self.live.len() {
            let index = self.live[at];
            let edge = self.peers[index].wire.borrow_mut().take_edge();
            if let Some(edge) = edge {
                self.worker
                    .ready(self.keys[index], edge.readable, edge.writable, edge.ended);
                woken = true;
            }
        }
        let edges = self.app.edges().into_iter().chain(self.node.edges());
        for (key, edge) in edges.collect::<Vec<_>>() {
            self.worker
                .ready(key, edge.readable, edge.writable, edge.ended);
            woken = true;
        }
        let due = self.is_due();
        if !woken && !due {
            return false;
        }
        // Waking for a deadline, finding nothing, and not moving the deadline either: a loop that burns.
        self.spins = if woken { 0 } else { self.spins + 1 };
        assert!(self.spins < 8, "the worker asks to be woken for nothing");
        self.again = self.worker.turn(self.now);
        self.connect_wanted();
        true
    }

    /// Begins the connections that the worker wants. Some failures are known at once.
    fn connect_wanted(&mut self) {
        while let Some(want) = self.worker.next_want() {
            // No program runs in this world.
            #[cfg(feature = "process")]
            if let Place::Process(..) = want.place {
                self.worker.not_connected(want.id, self.now);
                self.again |= self.worker.has_work();
                continue;
            }
            let key = self.worker.next_key();
            let is_unix = matches!(want.place, Place::Unix(_));
            let socket = if want.id.is_link() {
                self.node.connect(key, is_unix, self.now.ms)
            } else if self.app.is_down && self.app.connect_ms == 0 {
                None
            } else {
                Some(self.app.connect(key, self.now.ms))
            };
            match socket {
                Some(socket) => {
                    self.worker.connected(want.id, socket, self.now);
                }
                None => self.worker.not_connected(want.id, self.now),
            }
            // Whoever was told may have something to say.
            self.again |= self.worker.has_work();
        }
        self.worker.take_unreachable();
        // As in the network, what was written arrives whatever the worker's clock does next.
        self.app.exchange(self.now.ms);
        self.node.exchange(self.now.ms);
    }

    /// When somebody has something to do that nobody else gives rise to.
    pub(crate) fn next_event_ms(&self) -> Option<u64> {
        let all = [
            self.worker.next_deadline_ms(),
            self.app.next_ms(),
            self.node.next_ms(),
        ];
        all.into_iter().flatten().min()
    }

    pub(crate) fn is_due(&self) -> bool {
        let deadline = self.worker.next_deadline_ms();
        deadline.is_some_and(|due| due <= self.now.ms) && !self.worker.is_drained()
    }

    /// Everybody acts until nothing moves any more.
    pub(crate) fn run(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let moved = self.exchange();
            let turned = self.poll();
            if !moved && !turned {
                self.spins = 0;
                return;
            }
        }
        panic!("the world never comes to rest");
    }

    /// Lets time go by, deadline by deadline.
    pub(crate) fn advance(&mut self, ms: u64) {
        let until = self.now.ms + ms;
        self.run();
        while let Some(due) = self.next_event_ms().filter(|due| *due <= until)
            && !self.worker.is_drained()
        {
            let step = due.saturating_sub(self.now.ms);
            self.tick(step);
            self.run();
        }
        let step = until.saturating_sub(self.now.ms);
        self.tick(step);
        self.run();
    }
}

/// More rounds than any script needs, byte by byte.
const ROUNDS_MAX: usize = 1_000_000;
