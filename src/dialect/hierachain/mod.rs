//! `hierachain`: blocks and events of chains, in the two vocabularies that its clients speak.
//!
//! | route | handler | does |
//! | --- | --- | --- |
//! | `/ws` | [`HieraChain`] | WebSocket; a plain request gets 404 `{"detail":"Not Found"}` |
//! | `GET /ws/status` | [`HieraChain::status`] | who listens to what |
//! | `POST /hierachain/publish` | [`HieraChain::ingest`] | the chain process publishes |
//!
//! ```text
//!                   ┌─ ?chain_name=… ──────────────────▶ Server ── welcome, keep-alive pings
//!   upgrade ─ Auto ─┤                      key "type" ─────▲
//!                   └─▶ Undecided ── first command ──┤
//!                                          key "action" ───▶ Guide ── answers only what it must
//! ```
//!
//! | | server mode (`type`, the program) | guide mode (`action`, the document) |
//! | --- | --- | --- |
//! | subscribe | one chain and a list of event types; replaces the last one | adds a chain, or one event type of it |
//! | unsubscribe | back to chain `all` | one pair, one chain, or everything |
//! | chain `all` | no chain | every chain |
//! | a block | `block_added` of the chain | `new_block` to who has the whole chain |
//! | an event | `event`, see below | `new_event` to who has the whole chain or that event type |
//! | ping | pong with the client's own `timestamp` | pong with Unix seconds |
//!
//! **How an event finds its listeners.** With an explicit `event_type` it is a *typed* publication: in server mode it
//! reaches the sessions that listed this type for this chain, with `event_type` at the end, and nobody else. Without
//! one it is *chain-wide*: in server mode it reaches every session of the chain, whatever types that listed. In guide
//! mode both kinds reach the whole-chain subscriptions and the subscriptions to its type, which is the explicit
//! `event_type`, else `data.event_type`, else `data.event`. A session gets each publication once, however many of its
//! subscriptions match.
//!
//! **Who comes back** with the last position of each of its subscriptions gets what came behind it: `recovery.rs` (feature
//! `hierachain-history`).
//!
//! Each subscription is a channel of the space `hierachain`: `s` or `g` for the mode, the chain, and for a typed one
//! a control character and the type, so that no chain is ever mistaken for a typed subscription.

mod commands;
mod guide;
mod ingest;
#[cfg(not(feature = "hierachain-history"))]
#[path = "no_recovery.rs"]
mod recovery;
#[cfg(feature = "hierachain-history")]
mod recovery;
mod server;
mod state;
mod status;

pub use ingest::HieraChainIngest;
pub use status::HieraChainStatus;

use std::cell::RefCell;
use std::rc::Rc;

#[cfg(feature = "hierachain-history")]
use super::gap_marker;
use super::unavailable;
use crate::http::Response;
use crate::hub::{
    CloseInfo, Context, Handler, Outcome, Reply, Request, Ticket, Upgrade, check_channel_name,
};
use crate::ws::Message;
use state::{Member, Mode, Shared};

/// How [`HieraChain`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HieraChainOptions {
    /// Which vocabulary is spoken. `Auto`: both kinds of clients exist and can be told apart.
    pub mode: HieraChainMode,
    /// In guide mode, confirm with `subscribed` and `unsubscribed`. Off: the guide lists four kinds of messages, and
    /// these are not among them.
    pub acks: bool,
    /// Most sessions of this dialect. 1,000, the limit its clients know.
    pub max_connections: usize,
    /// Milliseconds between two keep-alive messages of server mode; 0 switches them off.
    /// 30,000, the interval its clients know.
    pub ping_ms: u64,
}

impl Default for HieraChainOptions {
    fn default() -> Self {
        Self {
            mode: HieraChainMode::Auto,
            acks: false,
            max_connections: 1000,
            ping_ms: 30_000,
        }
    }
}

/// The vocabulary of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HieraChainMode {
    /// Server mode for a handshake with `chain_name`; else the first command decides.
    #[default]
    Auto,
    /// What the guide describes: `action`.
    Guide,
    /// What the program does: `type`.
    Server,
}

/// The WebSocket route. Clones share one state, and so do the handlers that [`status`](Self::status) and
/// [`ingest`](Self::ingest) make.
///
/// ```
/// use dunlin::dialect::{HieraChain, HieraChainOptions};
/// let chain = HieraChain::new(HieraChainOptions::default());
/// let routes: [(&str, Box<dyn dunlin::Handler>); 3] = [
///     ("/ws/status", Box::new(chain.status())),
///     ("/hierachain/publish", Box::new(chain.ingest())),
///     ("/ws", Box::new(chain)),
/// ];
/// # _ = routes;
/// ```
#[derive(Debug, Clone)]
pub struct HieraChain {
    shared: Rc<RefCell<Shared>>,
}

impl Default for HieraChain {
    fn default() -> Self {
        Self::new(HieraChainOptions::default())
    }
}

impl HieraChain {
    /// The WebSocket route with these options.
    pub fn new(options: HieraChainOptions) -> Self {
        Self {
            shared: Rc::new(RefCell::new(Shared::new(options))),
        }
    }

    /// The handler that tells who listens to what.
    pub fn status(&self) -> HieraChainStatus {
        HieraChainStatus::new(self.shared.clone())
    }

    /// The handler that takes publications of the chain process.
    pub fn ingest(&self) -> HieraChainIngest {
        HieraChainIngest::new()
    }
}

impl Handler for HieraChain {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        let mut shared = self.shared.borrow_mut();
        let max = shared.options.max_connections;
        if shared.members.len() >= max {
            cx.count_refusal("hierachain_connections");
            let detail = format!(
                "all {max} connections are taken (setting `max_connections` in [hierachain])"
            );
            return Upgrade::Refuse(unavailable(&detail));
        }
        let chain = request.query("chain_name");
        let mode = match (shared.options.mode, &chain) {
            (HieraChainMode::Guide, _) => Mode::Guide,
            (HieraChainMode::Auto, None) => Mode::Undecided,
            _ => Mode::Server,
        };
        let mut member = Member::new(cx.random16(), mode, cx.now().unix_ms);
        if let Some(chain) = chain.filter(|_| mode == Mode::Server) {
            if let Err(why) = check_channel_name(&chain) {
                return Upgrade::refuse(400, &format!("chain_name: {why}"));
            }
            let selection = server::Selection::whole_chain(&chain);
            if let Err(why) = server::select(&mut shared.tally, cx, &mut member, selection) {
                return Upgrade::Refuse(unavailable(&why.to_string()));
            }
        }
        shared.members.insert(cx, member);
        Upgrade::accept()
    }

    fn on_open(&mut self, cx: &mut Context<'_>) {
        let shared = self.shared.borrow();
        if let Some(member) = shared.members.get(cx).filter(|m| m.mode == Mode::Server) {
            server::welcome(&shared.options, cx, member);
        }
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        commands::on_message(&mut self.shared.borrow_mut(), cx, message);
    }

    fn on_outcome(&mut self, cx: &mut Context<'_>, _: Ticket, _: Outcome<'_>) {
        // The keep-alive is the only effect this dialect ever asks for.
        server::keep_alive(&self.shared.borrow().options, cx);
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
        let mut shared = self.shared.borrow_mut();
        if let Some(member) = shared.members.remove(cx) {
            shared.tally.leave(&member.topics);
        }
    }

    fn on_request(&mut self, _: &mut Context<'_>, _: &Request<'_>) -> Reply {
        Response::json(404, "{\"detail\":\"Not Found\"}").into()
    }

    #[cfg(feature = "hierachain-history")]
    fn gap_marker_of_placed(&self, missed: Option<u32>) -> Option<String> {
        Some(gap_marker(missed))
    }

    fn space(&self) -> &str {
        SPACE
    }
}

/// The name space of all three handlers.
const SPACE: &str = "hierachain";
/// The chain that means none in server mode and every one in guide mode.
const ALL: &str = "all";

#[cfg(all(test, feature = "hierachain-history"))]
mod recovery_tests;
#[cfg(test)]
mod tests;
