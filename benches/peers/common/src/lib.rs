//! What the peers on tokio share: the arguments, the runtime, and the two things a server does here.
//!
//! Every peer is called as `PEER PORT echo|fan [PAYLOAD]`, listens on 127.0.0.1 (port 0: any), prints the port and
//! serves until it is killed. PAYLOAD, the bytes of a message, is there for whom it helps. `echo-deflate` and
//! `fan-deflate` are the same with permessage-deflate: every message by itself, whatever its length, at level 1. The
//! choices are those of a careful user who wants throughput on one core:
//!
//! - a current-thread runtime, as dunlin is one thread; `TCP_NODELAY`;
//! - connections are `unconstrained` tasks, as the examples of fastwebsockets and tokio-websockets have it: tokio's
//!   budget would only add a test to every poll;
//! - where the library has a sink, messages that are ready are taken together, answered with `feed`, and flushed
//!   together (what the documentation of `Sink`, and yawc's own benchmark of its peers, do): one write for all;
//! - one task per connection for both directions, so no lock between two halves;
//! - fan-out: an unbounded queue of cheap clones (`Bytes`) per connection, taken out in batches.

use std::future::{Future, poll_fn};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How many messages are gathered before a flush, at most.
const BATCH: usize = 64;

/// What the server does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Back to who said it.
    Echo,
    /// To everybody, the speaker too.
    Fan,
}

/// Whether compressing was asked for.
pub fn wants_deflate() -> bool {
    let mode = std::env::args().nth(2);
    mode.is_some_and(|mode| mode.ends_with("-deflate"))
}

/// The arguments `PORT echo|fan`.
pub fn arguments() -> io::Result<(u16, Mode)> {
    let usage = || io::Error::other("usage: PORT echo|fan|echo-deflate|fan-deflate");
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().and_then(|port| port.parse().ok());
    let mode = match arguments.next().as_deref() {
        Some("echo" | "echo-deflate") => Mode::Echo,
        Some("fan" | "fan-deflate") => Mode::Fan,
        _ => return Err(usage()),
    };
    Ok((port.ok_or_else(usage)?, mode))
}

/// Accepts for ever, and runs `connection` for each.
pub fn serve<M, F, C>(connection: C) -> io::Result<()>
where
    M: 'static,
    F: Future<Output = ()> + Send + 'static,
    C: Fn(TcpStream, Mode, Arc<Room<M>>) -> F,
{
    let (port, mode) = arguments()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        println!("{}", listener.local_addr()?.port());
        let room = Arc::new(Room::default());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let connection = connection(stream, mode, room.clone());
            tokio::spawn(tokio::task::unconstrained(connection));
        }
    })
}

/// Everybody who is connected.
pub struct Room<M> {
    members: Mutex<Vec<UnboundedSender<M>>>,
}

impl<M> Default for Room<M> {
    fn default() -> Self {
        Self {
            members: Mutex::default(),
        }
    }
}

impl<M> Room<M> {
    /// A queue of what is said from now on, and where to put what only this member gets.
    pub fn join(&self) -> (UnboundedSender<M>, UnboundedReceiver<M>) {
        let (sender, receiver) = unbounded_channel();
        self.members().push(sender.clone());
        (sender, receiver)
    }

    /// Queues the message for every member; who is gone is forgotten.
    pub fn publish(&self, message: M)
    where
        M: Clone,
    {
        self.members()
            .retain(|member| member.send(message.clone()).is_ok());
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Vec<UnboundedSender<M>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one connection of a library whose WebSocket is a stream and a sink. `data` takes text and binary out of what
/// the stream brings; what it says `None` to, the library answers by itself.
pub async fn converse<S, M, E>(
    socket: S,
    mode: Mode,
    room: &Room<M>,
    data: impl Fn(S::Item) -> Result<Option<M>, E>,
) -> Result<(), E>
where
    S: Stream + Sink<M, Error = E> + Unpin,
    M: Clone,
{
    match mode {
        Mode::Echo => echo(socket, data).await,
        Mode::Fan => fan(socket, room, data).await,
    }
}

async fn echo<S, M, E>(
    mut socket: S,
    data: impl Fn(S::Item) -> Result<Option<M>, E>,
) -> Result<(), E>
where
    S: Stream + Sink<M, Error = E> + Unpin,
{
    let mut batch = Vec::new();
    while let Some(first) = socket.next().await {
        batch.extend(data(first)?);
        let mut is_over = false;
        // First all that is ready is taken, then all is answered: a stream may flush whenever it is asked for more.
        while batch.len() < BATCH && !is_over {
            match poll_fn(|cx| Poll::Ready(socket.poll_next_unpin(cx))).await {
                Poll::Ready(Some(item)) => batch.extend(data(item)?),
                Poll::Ready(None) => is_over = true,
                Poll::Pending => break,
            }
        }
        for message in batch.drain(..) {
            socket.feed(message).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

enum Turn<T> {
    Said(Option<T>),
    Deliver,
}

async fn fan<S, M, E>(
    mut socket: S,
    room: &Room<M>,
    data: impl Fn(S::Item) -> Result<Option<M>, E>,
) -> Result<(), E>
where
    S: Stream + Sink<M, Error = E> + Unpin,
    M: Clone,
{
    let (_, mut queue) = room.join();
    let mut batch = Vec::new();
    loop {
        let turn = poll_fn(|cx| {
            if queue.poll_recv_many(cx, &mut batch, BATCH).is_ready() {
                return Poll::Ready(Turn::Deliver);
            }
            socket.poll_next_unpin(cx).map(Turn::Said)
        });
        match turn.await {
            Turn::Said(None) => return Ok(()),
            Turn::Said(Some(item)) => {
                if let Some(message) = data(item)? {
                    room.publish(message);
                }
            }
            Turn::Deliver => {
                for message in batch.drain(..) {
                    socket.feed(message).await?;
                }
                socket.flush().await?;
            }
        }
    }
}
