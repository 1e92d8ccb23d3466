//! `apigw`: a two-way API gateway in the way of Alibaba Cloud's. Devices call HTTP back ends through one WebSocket, and
//! back ends send notifications to devices.
//!
//! | file | subject |
//! | --- | --- |
//! | `words.rs` | what a device's message is |
//! | `request.rs` | an API request, as JSON and as plain HTTP |
//! | `back_ends.rs` | host and path → URL |
//! | `gateway.rs` | what the routes share: devices, requests under way |
//! | `devices.rs` | who is here: `RG`, takeover, heartbeats, `OS`, `CR` |
//! | `forward.rs` | a request to its back end, the answer back; `REGISTER` and `UNREGISTER` |
//! | `notify.rs` | a back end's word to a device |
//! | `answer.rs` | answers as JSON and as plain HTTP |
//! | `signature.rs` | who has signed a request |
//!
//! ```text
//!   devices ── RG, H1, NO, requests as JSON ──▶ ┌─────────┐ ── HTTP, side by side ──▶ back ends
//!           ◀─ RO, HO, NF, answers with seq ─── │ gateway │ ◀─ answers ──────────────
//!   others  ── the same requests by HTTP ─────▶ └─────────┘ ◀─ POST notify path ─────
//! ```
//!
//! A connection's life. A device is *registered* on a connection when its back end has answered 200 to `REGISTER` there:
//!
//! ```text
//!   open ──RG──▶ known ──REGISTER, 200──▶ registered: gets NF
//!    │  COMMON      ▲ └──UNREGISTER, 200──────┘ │
//!    │              │                           │ another connection says RG for the same device,
//!    │              │ RG again                  │ the lifetime is over, the server goes down: CR
//!    ▼              └───────────────────────────┤ too many requests: OS
//!   no frame for 3 intervals: closed            ▼
//!                                            told to reconnect, closed after a grace time
//! ```
//!
//! | frame of a client | answer |
//! | --- | --- |
//! | `RG#DEVICE` | `RO#CREDENTIAL#INTERVAL`, or `RF#` and why not |
//! | `H1` | `HO#CREDENTIAL` |
//! | `NO` | none: it acknowledges the oldest notification |
//! | `{…}` | `{"status":…,"header":{"x-ca-seq":…},"body":…}`, in any order |
//! | anything else | status 400 in that form, without a seq, and it counts as a bad message |
//!
//! What is wrong with a request is told in its answer, in the header `x-ca-error-message`, and never by dropping the
//! connection.

mod answer;
mod back_ends;
mod devices;
mod forward;
mod gateway;
mod notify;
mod request;
mod signature;
mod words;

pub use back_ends::{BackEnd, BackEndError, BackEnds};
pub use signature::{AppKey, AppKeyError, AppKeys};

use std::cell::RefCell;
use std::rc::Rc;

use super::allowance::Rate;
use crate::hub::{CloseInfo, Context, Handler, Outcome, Reply, Request, Ticket, Upgrade};
use crate::ws::Message;
use gateway::Gateway;

/// How [`ApiGateway`] behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiGatewayOptions {
    /// Where requests go.
    pub back_ends: BackEnds,
    /// How long a back end may take, connecting included, in milliseconds. 9,000: a device's own library gives up after
    /// 10 seconds, and shall be told before.
    pub call_timeout_ms: u64,
    /// What devices are told in `RO`: the time between two heartbeats, in milliseconds. 25,000, as the original's.
    pub keep_alive_ms: u64,
    /// A connection without any frame for so many of those times is closed. 3.
    pub keep_alive_misses: u32,
    /// How long a connection may live before it is told `CR`, in milliseconds; 0: for ever.
    pub lifetime_ms: u64,
    /// How long a connection may stay after `OS`, or after `CR` at the end of its life, in milliseconds. 30,000.
    pub cut_ms: u64,
    /// The same for one whose device has another connection now. 10,000.
    pub takeover_ms: u64,
    /// The new connection of a device is registered as the old one was. Off: each connection is registered by its back
    /// end, so that knowing the name of a device is not enough to hear what is meant for it.
    pub takeover_keeps_registration: bool,
    /// Requests per second of one connection; 0 switches the rate off. 100.
    pub calls_per_second: u32,
    /// Requests in a row before the rate counts. 500.
    pub calls_burst: u32,
    /// Requests of one connection that may wait for an answer. 100.
    pub in_flight_max: usize,
    /// Devices that are known at a time. 100,000.
    pub devices_max: usize,
    /// Header lines in a request that comes as JSON. 64.
    pub call_headers_max: usize,
    /// Longest path and query of such a request. 4 KiB.
    pub call_target_bytes_max: usize,
    /// Where back ends notify devices.
    pub notify_paths: Vec<String>,
    /// Where devices may register and unregister; none: wherever their back ends answer 200.
    pub register_paths: Vec<String>,
    /// Answer a back end when the device has acknowledged, and not at once. On.
    pub notify_wait: bool,
    /// How long that may take, in milliseconds. 5,000.
    pub notify_timeout_ms: u64,
    /// Notifications of one device that may wait to be acknowledged. 64.
    pub notify_pending_max: usize,
    /// Other machines may notify devices although nothing is signed. Off.
    pub notify_from_anywhere: bool,
    /// Keys of those who may call; with any, each request must be signed. None.
    pub app_keys: AppKeys,
    /// How far the clock of whoever has signed may be off, in milliseconds; 0: for ever. 900,000, as the original's.
    pub signature_age_ms: u64,
    /// Numbers used once that are remembered. 65,536.
    pub nonces_max: usize,
}

impl Default for ApiGatewayOptions {
    fn default() -> Self {
        Self {
            back_ends: BackEnds::default(),
            call_timeout_ms: 9_000,
            keep_alive_ms: 25_000,
            keep_alive_misses: 3,
            lifetime_ms: 0,
            cut_ms: 30_000,
            takeover_ms: 10_000,
            takeover_keeps_registration: false,
            calls_per_second: 100,
            calls_burst: 500,
            in_flight_max: 100,
            devices_max: 100_000,
            call_headers_max: 64,
            call_target_bytes_max: 4096,
            notify_paths: vec!["/notify".to_owned()],
            register_paths: Vec::new(),
            notify_wait: true,
            notify_timeout_ms: 5_000,
            notify_pending_max: 64,
            notify_from_anywhere: false,
            app_keys: AppKeys::default(),
            signature_age_ms: 900_000,
            nonces_max: 65_536,
        }
    }
}

impl ApiGatewayOptions {
    fn rate(&self) -> Rate {
        Rate {
            per_second: self.calls_per_second,
            burst: self.calls_burst,
        }
    }
}

/// The handler of a route, for devices and for plain HTTP. Clones share one state.
///
/// ```
/// use dunlin::dialect::{ApiGateway, ApiGatewayOptions, BackEnds};
/// let gateway = ApiGateway::new(ApiGatewayOptions {
///     back_ends: BackEnds(vec!["/=http://127.0.0.1:3000".parse()?]),
///     ..ApiGatewayOptions::default()
/// });
/// let route: (&str, Box<dyn dunlin::Handler>) = ("/{api*}", Box::new(gateway));
/// # _ = route;
/// # Ok::<(), dunlin::dialect::BackEndError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ApiGateway {
    gateway: Rc<RefCell<Gateway>>,
}

impl ApiGateway {
    /// A gateway with these options.
    pub fn new(options: ApiGatewayOptions) -> Self {
        Self {
            gateway: Rc::new(RefCell::new(Gateway::new(options))),
        }
    }

    /// Whether nobody waits for anything.
    #[cfg(any(test, feature = "sim"))]
    #[doc(hidden)]
    pub fn is_quiet(&self) -> bool {
        self.gateway.borrow().is_quiet()
    }
}

impl Handler for ApiGateway {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        self.gateway.borrow_mut().enter(cx, request);
        Upgrade::accept()
    }

    fn on_open(&mut self, cx: &mut Context<'_>) {
        self.gateway.borrow_mut().opened(cx);
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        self.gateway.borrow_mut().hear(cx, message);
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
        self.gateway.borrow_mut().leave(cx);
    }

    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        self.gateway.borrow_mut().on_request(cx, request)
    }

    fn on_outcome(&mut self, cx: &mut Context<'_>, ticket: Ticket, outcome: Outcome<'_>) {
        self.gateway.borrow_mut().on_outcome(cx, ticket, outcome);
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> bool {
        self.gateway.borrow_mut().on_drain(cx)
    }

    fn space(&self) -> &str {
        "apigw"
    }
}

#[cfg(test)]
mod tests;
