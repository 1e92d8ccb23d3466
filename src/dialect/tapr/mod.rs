//! `tapr`: clients speak WebSocket, an application gets HTTP callbacks and answers by HTTP.
//!
//! | route | handler | does |
//! | --- | --- | --- |
//! | `/ws` | [`Tapr`] | WebSocket for clients; a plain GET gets 426 `Upgrade Required` |
//! | `GET /tapr/ws/conn/list` | [`Tapr::list`] | who is connected |
//! | `POST /tapr/ws/conn/send` | [`Tapr::send`] | a message to clients |
//! | `POST /tapr/ws/conn/close` | [`Tapr::close`] | the end for clients |
//! | `POST /tapr/ws/conn/debug` | [`Tapr::debug`] | answers success |
//!
//! ```text
//!   clients ──── WebSocket ────▶ /ws ──── POST open · message · close ────▶ application
//!           ◀─── payload ─────── /tapr/ws/conn/send ◀────── POST ──────────
//!
//!   upgrade ──▶ on_open: listed ──▶ callback open ──▶ callback message* ──▶ callback close
//!                                        ▲ every 30 s: was there a ping in the last 45 s? else 1008
//! ```
//!
//! | of the handshake | is |
//! | --- | --- |
//! | `X-Bfl-User` | the user; nobody's name is the empty one |
//! | cookie `auth_token` | the token; without one the connection is *public* and gets a random UUID for it |
//! | `Cookie` | passed on with every callback |
//! | `User-Agent` | shown by `list` |
//!
//! | client frame (text or binary) | what happens |
//! | --- | --- |
//! | an object whose `event` is `"ping"` | `{"event":"pong"}`, to the byte; the only sign of life that counts |
//! | another object, or `null` | callback `message` with it, as it was sent |
//! | anything else, and JSON nested deeper than 128 levels | callback `message` with `{}` |
//!
//! **How a session ends.** The control path closes with 1000, a missing ping with 1008, limits and the drain with
//! codes of their own. The client gets its close frame at once, and the application one `close` in every case.
//!
//! **Who is trusted.** The user's name is what a proxy in front has written into the header, so these sessions are
//! nobody's in the hub: a route that authenticates its users itself never delivers to them.

mod callback;
mod control;
mod registry;
#[cfg(feature = "signature")]
mod signature;

pub use control::TaprControl;

use std::cell::RefCell;
use std::rc::Rc;

use super::{bad_request, only};
use crate::http::Response;
use crate::hub::{
    CloseInfo, Context, Handler, Locals, Outcome, Reply, Request, Target, TargetError, Ticket,
    Upgrade,
};
use crate::ws::{CloseCode, Message};
use callback::Said;
use control::Verb;
use registry::{ConnUuid, Member, Registry};
#[cfg(feature = "signature")]
pub use signature::SignatureKeys;

/// How [`Tapr`] behaves.
#[derive(Debug, Clone)]
pub struct TaprOptions {
    /// Where callbacks go; see [`Tapr::callback_url`]. `None`: the application is told nothing.
    pub callback: Option<Target>,
    /// How long the application may take to answer a callback, in milliseconds. 2,000, the time its authors know.
    pub callback_timeout_ms: u64,
    /// How long a client may be without a ping event when it is looked at, in milliseconds; 0 for ever.
    /// 45,000: clients send one every 30 seconds.
    pub ping_timeout_ms: u64,
    /// Milliseconds between two looks at a client; 0: never. 30,000, so that a silent client is closed after 45 to
    /// 75 seconds.
    pub ping_check_ms: u64,
    /// Tell in `data` of the `close` callback how the session ended: `code`, `reason`, `connected_ms`,
    /// `messages_in`, `bytes_in`, `messages_out`, `bytes_out`. Off: applications know an empty object.
    pub verbose_close: bool,
    /// Send the JSON that the application answers to an `open` or `message` callback to that client, as text.
    /// Off: applications answer through `send`, and what they answer here means nothing.
    pub reply_from_callback: bool,
    /// Send the client's `X-Original-Forwarded-For` along with every callback. Off: applications do not expect it.
    pub forwarded_for: bool,
    /// A `close` without any selector closes every connection. On, because applications rely on it.
    pub close_all: bool,
    /// Serve the control paths to other machines too. Off: the application lives next door, and there is no key.
    pub control_from_anywhere: bool,
    /// Keys that sign every callback (feature `signature`), see [`SignatureKeys`]. None: callbacks are not signed.
    #[cfg(feature = "signature")]
    pub signature_keys: SignatureKeys,
    /// Longest answer of `list`. 64 MiB: about a quarter of a million connections.
    pub list_bytes_max: usize,
}

impl Default for TaprOptions {
    fn default() -> Self {
        Self {
            callback: None,
            callback_timeout_ms: 2000,
            ping_timeout_ms: 45_000,
            ping_check_ms: 30_000,
            verbose_close: false,
            reply_from_callback: false,
            forwarded_for: false,
            close_all: true,
            control_from_anywhere: false,
            #[cfg(feature = "signature")]
            signature_keys: SignatureKeys::default(),
            list_bytes_max: 64 << 20,
        }
    }
}

/// The WebSocket route. Clones share one state, and so do the handlers of the control paths that it makes.
///
/// ```
/// use dunlin::dialect::{Tapr, TaprOptions};
/// let tapr = Tapr::new(TaprOptions {
///     callback: Tapr::callback_url("3010", "/websocket/message")?,
///     ..TaprOptions::default()
/// });
/// let routes: [(&str, Box<dyn dunlin::Handler>); 5] = [
///     ("/tapr/ws/conn/list", Box::new(tapr.list())),
///     ("/tapr/ws/conn/send", Box::new(tapr.send())),
///     ("/tapr/ws/conn/close", Box::new(tapr.close())),
///     ("/tapr/ws/conn/debug", Box::new(tapr.debug())),
///     ("/ws", Box::new(tapr)),
/// ];
/// # _ = routes;
/// # Ok::<(), dunlin::hub::TargetError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tapr {
    shared: Rc<RefCell<Shared>>,
}

#[derive(Debug)]
struct Shared {
    app: App,
    members: Locals<Rc<Member>>,
    registry: Registry,
}

/// The application, and how it is dealt with.
#[derive(Debug)]
struct App {
    options: TaprOptions,
    /// All calls share it.
    target: Option<Rc<Target>>,
}

impl Default for Tapr {
    fn default() -> Self {
        Self::new(TaprOptions::default())
    }
}

impl Tapr {
    /// The WebSocket route with these options.
    pub fn new(options: TaprOptions) -> Self {
        Self {
            shared: Rc::new(RefCell::new(Shared {
                app: App {
                    target: options.callback.clone().map(Rc::new),
                    options,
                },
                members: Locals::default(),
                registry: Registry::default(),
            })),
        }
    }

    /// The application's URL from its port and its path, which is how a manifest names it: on this machine. `None`
    /// if one of the two is empty, which switches callbacks off.
    ///
    /// # Errors
    /// When the two do not make a URL.
    pub fn callback_url(port: &str, path: &str) -> Result<Option<Target>, TargetError> {
        if port.is_empty() || path.is_empty() {
            return Ok(None);
        }
        format!("http://127.0.0.1:{port}{path}").parse().map(Some)
    }

    /// The handler that tells who is connected.
    pub fn list(&self) -> TaprControl {
        TaprControl::new(self.shared.clone(), Verb::List)
    }

    /// The handler that sends a message to clients.
    pub fn send(&self) -> TaprControl {
        TaprControl::new(self.shared.clone(), Verb::Send)
    }

    /// The handler that closes connections.
    pub fn close(&self) -> TaprControl {
        TaprControl::new(self.shared.clone(), Verb::Close)
    }

    /// The handler that answers success.
    pub fn debug(&self) -> TaprControl {
        TaprControl::new(self.shared.clone(), Verb::Debug)
    }

    fn arm(options: &TaprOptions, cx: &mut Context<'_>) {
        if options.ping_timeout_ms > 0 && options.ping_check_ms > 0 {
            cx.timer(options.ping_check_ms);
        }
    }

    /// Looks whether a client has kept the ping rule.
    fn check_ping(options: &TaprOptions, cx: &mut Context<'_>, member: &Member) {
        let now = cx.now().ms;
        if cx.is_held_back() {
            // Its ping may wait where it has not been read: it gets the whole time again.
            member.alive_ms.set(now);
        }
        if now.saturating_sub(member.alive_ms.get()) > options.ping_timeout_ms {
            cx.count_refusal("tapr_ping_timeout");
            cx.close(CloseCode::POLICY, "no ping event in time");
        } else {
            Self::arm(options, cx);
        }
    }
}

impl Handler for Tapr {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        let mut shared = self.shared.borrow_mut();
        let member = match newcomer(&shared.app.options, cx, request) {
            Ok(member) => member,
            Err(why) => return Upgrade::Refuse(bad_request(cx, why)),
        };
        shared.members.insert(cx, Rc::new(member));
        Upgrade::accept()
    }

    fn on_open(&mut self, cx: &mut Context<'_>) {
        let Shared {
            app,
            members,
            registry,
        } = &mut *self.shared.borrow_mut();
        if let Some(member) = members.get(cx) {
            registry.join(member);
            callback::open(app, cx, member);
            Self::arm(&app.options, cx);
        }
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let shared = self.shared.borrow();
        let Some(member) = shared.members.get(cx) else {
            return;
        };
        let text = match message {
            Message::Text(text) => text.into(),
            // What is not UTF-8 is replaced: the text around it still reaches the application.
            Message::Binary(bytes) => String::from_utf8_lossy(bytes),
        };
        member.received.count(message.len());
        match callback::data(&text) {
            Said::Ping => {
                member.alive_ms.set(cx.now().ms);
                if cx.send_text(PONG) {
                    member.sent.count(PONG.len());
                }
            }
            Said::Data(data) => callback::message(&shared.app, cx, member, data),
        }
    }

    fn on_outcome(&mut self, cx: &mut Context<'_>, _: Ticket, outcome: Outcome<'_>) {
        let shared = self.shared.borrow();
        let member = shared.members.get(cx).map(|member| &**member);
        match outcome {
            // The only timer there is.
            Outcome::Elapsed => {
                if let Some(member) = member {
                    Self::check_ping(&shared.app.options, cx, member);
                }
                return;
            }
            Outcome::Answered(answered) => {
                callback::answered(&shared.app, cx, member, answered);
            }
            Outcome::Failed(_) => cx.count_refusal("tapr_callback_failed"),
        }
        if let Some(member) = member
            && cx.is_held_back()
        {
            // It was not read from because of its callbacks: the time until now does not count against it.
            member.alive_ms.set(cx.now().ms);
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, close: CloseInfo<'_>) {
        let mut shared = self.shared.borrow_mut();
        if let Some(member) = shared.members.remove(cx) {
            shared.registry.leave(&member);
            callback::close(&shared.app, cx, &member, close);
        }
    }

    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Reply {
        only(request, &["GET", "HEAD"])
            .unwrap_or_else(|| {
                Response::text(426, "Upgrade Required")
                    .header("Upgrade", "websocket")
                    .header("Sec-WebSocket-Version", "13")
            })
            .into()
    }

    fn space(&self) -> &str {
        SPACE
    }
}

/// Who asks for a WebSocket, or why this cannot be told.
fn newcomer(
    options: &TaprOptions,
    cx: &mut Context<'_>,
    request: &Request<'_>,
) -> Result<Member, &'static str> {
    let session = cx.id().ok_or("there is no session")?;
    let head = request.head;
    let mut users = head.header_all(USER);
    let user = users.next().unwrap_or_default();
    // Two of them: who says that the proxy's own is the first?
    if users.next().is_some() {
        return Err("there is more than one X-Bfl-User header");
    }
    let user = plain(user).ok_or("X-Bfl-User is not UTF-8 without control characters")?;
    let cookies: Vec<_> = head.header_all("Cookie").collect();
    // Cookies in other encodings are replaced: they may well be there for somebody else.
    let cookie = String::from_utf8_lossy(&cookies.join(&b"; "[..])).into_owned();
    let cookie = plain(cookie.as_bytes()).ok_or("a cookie has control characters")?;
    let id = ConnUuid::new(cx.random16());
    let given = head.cookie("auth_token").filter(|token| !token.is_empty());
    let random = || ConnUuid::new(cx.random16()).to_string();
    let token = given.map_or_else(random, Into::into);
    let mut member = Member::new(session, id, user, &token, cx.now().ms);
    member.public = given.is_none();
    member.cookie = cookie.into();
    let text = |name| {
        let value = head.header_all(name).next().unwrap_or_default();
        String::from_utf8_lossy(value).into_owned().into_boxed_str()
    };
    member.user_agent = text("User-Agent");
    if options.forwarded_for {
        member.forwarded_for = text(FORWARDED_FOR);
    }
    Ok(member)
}

/// A header's value, if it can be passed on as it is.
fn plain(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    (!text.contains(|c: char| c.is_ascii_control())).then_some(text)
}

/// The name space of all handlers.
const SPACE: &str = "tapr";
/// Clients compare it byte by byte.
const PONG: &str = r#"{"event":"pong"}"#;
/// Who the client is, written by the proxy in front.
const USER: &str = "X-Bfl-User";
/// Where the client comes from, written by the proxies in front.
const FORWARDED_FOR: &str = "X-Original-Forwarded-For";

#[cfg(test)]
mod tests;
