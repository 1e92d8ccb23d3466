//! `jsonrpc`: a gateway in front of Ethereum nodes. Clients speak JSON-RPC 2.0 by WebSocket, HTTP or a Unix socket.
//!
//! | file | subject |
//! | --- | --- |
//! | `message.rs` | what a client's message is; how answers and errors are written |
//! | `gateway.rs` | what the routes share, the way of an answer |
//! | `judge.rs` | what becomes of a call |
//! | `jobs.rs` | calls and batches on their way |
//! | `pending.rs` | what the node was asked, and until when |
//! | `upstream.rs` | the link to the node: dialling, back-off, endpoints in order |
//! | `feeds.rs` | subscriptions of the node, shared by clients |
//! | `gap.rs` | heads that were missed while the link was away |
//! | `filter.rs` | what is subscribed to, in one spelling |
//! | `policy.rs` | what may be called, how often, and what is answered from before |
//! | `side_door.rs` | plain HTTP |
//!
//! ```text
//!   clients ──── WebSocket, HTTP, IPC ────▶ ┌─────────┐ ──── one link ────▶ node
//!           ◀─── answers under their ids ── │ gateway │ ◀─── answers under ours
//!           ◀─── news under their ids ───── └─────────┘ ◀─── one subscription for all who want the same
//! ```
//!
//! **What a client may rely on.** Whatever it asks with an id is answered once, by the node or by an error that says
//! why not. The order of answers is open, as it is on a node, but within a batch. When the node goes away and comes
//! back, subscriptions keep their ids; what happened meanwhile is not sent again (but heads, with `gap_heads_max`). When it stays away too long, or does
//! not renew a subscription, clients are closed with 1013: their libraries know what to do then.

mod endpoint;
mod feeds;
mod filter;
mod gap;
mod gateway;
mod jobs;
mod judge;
mod message;
mod pending;
mod policy;
mod side_door;
mod upstream;

pub use endpoint::{JsonRpcEndpoint, JsonRpcEndpointError};

use std::cell::RefCell;
use std::rc::Rc;

use super::allowance::Rate;
use crate::hub::{
    CloseInfo, ConnId, Context, Handler, LinkEvent, LinkId, Outcome, Reply, Request, Ticket,
};
use crate::ws::{CloseCode, Message};
use gateway::{Gateway, Heard};
use message::{PARSE_ERROR, answer, error_tail};

/// How [`JsonRpc`] behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonRpcOptions {
    /// Nodes in the order in which they are tried.
    pub upstream: Vec<JsonRpcEndpoint>,
    /// How long a call may take, in milliseconds. 25,000: less than a client that waits for an HTTP answer gets.
    pub call_timeout_ms: u64,
    /// How long a subscription of the node is kept when its last client has left, in milliseconds. 30,000: a page that
    /// is loaded again finds it.
    pub linger_ms: u64,
    /// Messages of one session that may wait for an answer. 100.
    pub in_flight_max: usize,
    /// Calls per second of one session; 0 switches the rate off. 200.
    pub calls_per_second: u32,
    /// Calls in a row before the rate counts. 2,000: two of the largest batches.
    pub calls_burst: u32,
    /// Subscriptions of one session. 128.
    pub subscriptions_max: usize,
    /// Different subscriptions of all sessions together. 4,096.
    pub feeds_max: usize,
    /// Calls in a batch. 1,000, as on a node.
    pub batch_max: usize,
    /// Bytes of a batch's answer; what does not fit is answered with an error. 25,000,000, as on a node.
    pub batch_bytes_max: usize,
    /// How long clients are kept while there is no node, in milliseconds; 0: for ever. 60,000.
    pub away_ms_max: u64,
    /// Methods that may be called, `eth_*` for all that begin so. None: all.
    pub allow: Vec<String>,
    /// Methods that may not be called, whatever is allowed.
    pub deny: Vec<String>,
    /// Heads that are asked for and told when the link was away, at most; 0: none, clients see a number jump. 0.
    pub gap_heads_max: u64,
    /// Answer `eth_blockNumber` from the latest head while somebody is subscribed to heads. Off: a node may know a
    /// later one.
    pub head_number: bool,
}

impl Default for JsonRpcOptions {
    fn default() -> Self {
        Self {
            upstream: Vec::new(),
            call_timeout_ms: 25_000,
            linger_ms: 30_000,
            in_flight_max: 100,
            calls_per_second: 200,
            calls_burst: 2000,
            subscriptions_max: 128,
            feeds_max: 4096,
            batch_max: 1000,
            batch_bytes_max: 25_000_000,
            away_ms_max: 60_000,
            allow: Vec::new(),
            deny: Vec::new(),
            gap_heads_max: 0,
            head_number: false,
        }
    }
}

impl JsonRpcOptions {
    fn rate(&self) -> Rate {
        Rate {
            per_second: self.calls_per_second,
            burst: self.calls_burst,
        }
    }
}

/// The handler of a route, for all transports. Clones share one state and one link.
///
/// ```
/// use dunlin::dialect::{JsonRpc, JsonRpcOptions};
/// let gateway = JsonRpc::new(JsonRpcOptions {
///     upstream: vec!["ws://127.0.0.1:8546".parse()?, "http://127.0.0.1:8545".parse()?],
///     ..JsonRpcOptions::default()
/// });
/// let routes: [(&str, Box<dyn dunlin::Handler>); 2] =
///     [("/", Box::new(gateway.clone())), ("/rpc", Box::new(gateway))];
/// # _ = routes;
/// # Ok::<(), dunlin::dialect::JsonRpcEndpointError>(())
/// ```
#[derive(Debug, Clone)]
pub struct JsonRpc {
    gateway: Rc<RefCell<Gateway>>,
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Session {
        member: u32,
        id: ConnId,
    },
    /// An HTTP request.
    Request(Ticket),
}

impl Asker {
    /// Whether it still waits, as far as can be told.
    fn is_there(self, cx: &Context<'_>) -> bool {
        match self {
            Self::Session { id, .. } => cx.is_open(id),
            Self::Request(_) => true,
        }
    }
}

impl JsonRpc {
    /// A gateway with these options.
    pub fn new(options: JsonRpcOptions) -> Self {
        Self {
            gateway: Rc::new(RefCell::new(Gateway::new(options))),
        }
    }

    /// Whether no question is under way.
    #[cfg(any(test, feature = "sim"))]
    #[doc(hidden)]
    pub fn is_quiet(&self) -> bool {
        self.gateway.borrow().is_quiet()
    }
}

impl Handler for JsonRpc {
    fn on_open(&mut self, cx: &mut Context<'_>) {
        self.gateway.borrow_mut().enter(cx);
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let mut gateway = self.gateway.borrow_mut();
        let Some(asker) = gateway.asker(cx) else {
            return;
        };
        match gateway.hear(cx, asker, message.as_bytes()) {
            Heard::Answer(text) => _ = cx.send_text(&text),
            Heard::Later | Heard::Nothing => {}
            Heard::Broken(why) => {
                cx.send_text(&answer("null", &error_tail(PARSE_ERROR, &why)));
                cx.close(CloseCode::NORMAL, "");
            }
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
        self.gateway.borrow_mut().leave(cx);
    }

    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        side_door::on_request(&mut self.gateway.borrow_mut(), cx, request)
    }

    fn on_outcome(&mut self, cx: &mut Context<'_>, ticket: Ticket, outcome: Outcome<'_>) {
        self.gateway.borrow_mut().on_outcome(cx, ticket, outcome);
    }

    fn on_link(&mut self, cx: &mut Context<'_>, link: LinkId, event: LinkEvent<'_>) {
        self.gateway.borrow_mut().on_link(cx, link, event);
    }

    fn space(&self) -> &str {
        "jsonrpc"
    }
}

#[cfg(test)]
mod tests;
