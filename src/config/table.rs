//! Every setting: its name, what it may be, and the field it fills.
//!
//! The rule: a default is written beside its field, never here. Reading, the environment, suggestions and
//! `--print-config` all go by these two tables, so a setting is added in one line.

pub(super) mod macros;

use std::path::PathBuf;

use self::macros::{choice, list, number, route_ms, switch, text};
use super::Sandbox;
use super::dialects::Options;
use super::value::{Kind, Value};
use crate::dialect::HieraChainMode;
use crate::http::ForwardedHeader;
use crate::hub::SlowPolicy;
use crate::log;
use crate::server::{RouteSettings, WorkerSettings};
use crate::ws::{CloseCode, Limits, Subprotocols};

/// One setting of an `S`.
pub(crate) struct Setting<S: 'static> {
    /// The table it stands in; empty: the top of the file.
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) get: fn(&S) -> Value,
    /// Answers false for a number that the field cannot hold.
    pub(crate) set: fn(&mut S, &Value) -> bool,
}

impl<S> std::fmt::Debug for Setting<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Setting({}.{})", self.section, self.name)
    }
}

/// What holds for the whole server.
#[derive(Debug, Clone)]
pub(crate) struct Global {
    pub(crate) listen: Vec<String>,
    pub(crate) control: Vec<String>,
    pub(crate) tapr: Vec<String>,
    /// Programs to serve, as `NAME=COMMAND`.
    #[cfg(feature = "process")]
    pub(crate) exec: Vec<String>,
    /// Files to follow, as `NAME=FILE`.
    #[cfg(feature = "process")]
    pub(crate) tail: Vec<String>,
    /// Read into `worker.proxies` once everything is known, as are the names of listeners.
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) proxy_protocol: Vec<String>,
    pub(crate) public_without_keys: bool,
    pub(crate) default_routes: bool,
    pub(crate) sandbox: Sandbox,
    #[cfg(feature = "presence")]
    pub(crate) pubsub_callback: crate::dialect::PubSubCallback,
    /// The application's URL as it was written.
    #[cfg(feature = "presence")]
    pub(crate) pubsub_callback_url: String,
    #[cfg(feature = "jwt")]
    pub(crate) tokens: super::token_keys::TokenSettings,
    pub(crate) worker: WorkerSettings,
    #[cfg(feature = "history-log")]
    pub(crate) history_log: crate::net::HistoryLog,
    pub(crate) log: log::Settings,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            // HieraChain's own port, so that its clients find the server where they look for it.
            listen: vec!["localhost:2661".to_owned()],
            // Publishing and metrics are nobody's business but this machine's.
            control: vec!["localhost:2662".to_owned()],
            // Where its applications look for it.
            tapr: vec!["localhost:40010".to_owned()],
            #[cfg(feature = "process")]
            exec: Vec::new(),
            #[cfg(feature = "process")]
            tail: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: Vec::new(),
            public_without_keys: false,
            default_routes: true,
            sandbox: Sandbox::default(),
            #[cfg(feature = "presence")]
            pubsub_callback: Default::default(),
            #[cfg(feature = "presence")]
            pubsub_callback_url: String::new(),
            #[cfg(feature = "jwt")]
            tokens: Default::default(),
            worker: WorkerSettings::default(),
            #[cfg(feature = "history-log")]
            history_log: crate::net::HistoryLog::at(""),
            log: log::Settings::default(),
        }
    }
}

/// What a route may have of its own. No `Debug`: it holds keys.
#[derive(Clone)]
pub(crate) struct RouteValues {
    pub(crate) keys: Vec<String>,
    pub(crate) keys_file: Option<PathBuf>,
    /// A query parameter that may carry the key, beside `token`; empty: none.
    pub(crate) key_parameter: String,
    /// The cookie that may carry the key; empty: none.
    pub(crate) key_cookie: String,
    /// It may come in the first message.
    pub(crate) key_in_message: bool,
    /// Keys with permissions (`[[key]]`) and signed tokens open it too.
    pub(crate) shared_keys: bool,
    /// 403 instead of 401 for a client without a good key.
    pub(crate) keys_forbid: bool,
    pub(crate) origins: Vec<String>,
    pub(crate) settings: RouteSettings,
    pub(crate) options: Options,
}

impl Default for RouteValues {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            keys_file: None,
            key_parameter: String::new(),
            key_cookie: String::new(),
            key_in_message: false,
            // They are written to be used, and allow no more than they say.
            shared_keys: true,
            // 401 says what is missing; 403 is for clients that were written against it.
            keys_forbid: false,
            origins: vec![ANY_ORIGIN.to_owned()],
            settings: RouteSettings::default(),
            options: Options::default(),
        }
    }
}

/// The entry of `origins` that allows every page.
pub(crate) const ANY_ORIGIN: &str = "*";
/// The entry of `origins` that allows only pages of the listener itself.
pub(crate) const SAME_ORIGIN: &str = "same";
/// The policies of `subprotocols` that are not lists.
const ECHO_FIRST: &str = "echo-first";
const NONE: &str = "none";
/// The words of `key_refusal_status`.
const UNAUTHORIZED: &str = "401";
const FORBIDDEN: &str = "403";

/// Thirty days: longer than any time-out makes sense, short enough for the wheel.
pub(super) const MS: u64 = 30 * 24 * 60 * 60 * 1000;
pub(super) const COUNT: u64 = u32::MAX as u64;
/// One message, body or outbox.
pub(super) const BYTES: u64 = 1 << 30;
/// What all of them take together.
pub(super) const TOTAL_BYTES: u64 = 1 << 40;

/// Settings of the whole server, those of features too.
pub(crate) fn global_settings() -> impl Iterator<Item = &'static Setting<Global>> {
    let all = GLOBAL.iter();
    #[cfg(feature = "jwt")]
    let all = all.chain(super::token_keys::SETTINGS);
    #[cfg(feature = "presence")]
    let all = all.chain(super::pubsub::GLOBAL);
    all
}

/// Settings of the whole server.
const GLOBAL: &[Setting<Global>] = &[
    list!("", "listen", Kind::List, listen),
    list!("", "control", Kind::List, control),
    list!("tapr", "listen", Kind::List, tapr),
    #[cfg(feature = "process")]
    list!("", "exec", Kind::List, exec),
    #[cfg(feature = "process")]
    list!("", "tail", Kind::List, tail),
    list!("", "trusted_proxies", Kind::List, trusted_proxies),
    choice!(
        "",
        "forwarded_header",
        worker.proxies.header,
        "x-forwarded-for" = ForwardedHeader::XForwardedFor,
        "forwarded" = ForwardedHeader::Forwarded,
        "off" = ForwardedHeader::Off
    ),
    list!("", "proxy_protocol", Kind::List, proxy_protocol),
    switch!("", "public_without_keys", public_without_keys),
    switch!("", "default_routes", default_routes),
    choice!(
        "",
        "sandbox",
        sandbox,
        "true" = Sandbox::On,
        "false" = Sandbox::Off,
        "required" = Sandbox::Required
    ),
    number!("", "connections_max", 1, COUNT, worker.connections_max),
    number!(
        "",
        "memory_budget_bytes",
        65_536,
        TOTAL_BYTES,
        worker.hub.memory_budget_bytes
    ),
    number!(
        "",
        "history_budget_bytes",
        0,
        TOTAL_BYTES,
        worker.hub.history_budget_bytes
    ),
    #[cfg(feature = "history-log")]
    super::history::PATH,
    #[cfg(feature = "history-log")]
    super::history::SYNC_MS,
    #[cfg(feature = "history-log")]
    super::history::DISK_BYTES_MAX,
    number!("", "drain_timeout_ms", 1, MS, worker.drain_timeout_ms),
    number!(
        "limits",
        "handshake_timeout_ms",
        1,
        MS,
        worker.handshake_timeout_ms
    ),
    number!(
        "limits",
        "request_timeout_ms",
        1,
        MS,
        worker.request_timeout_ms
    ),
    number!("limits", "reply_timeout_ms", 1, MS, worker.reply_timeout_ms),
    number!("limits", "keep_alive_ms", 1, MS, worker.keep_alive_ms),
    number!("limits", "close_timeout_ms", 1, MS, worker.close_timeout_ms),
    number!(
        "limits",
        "close_flush_timeout_ms",
        1,
        MS,
        worker.close_flush_timeout_ms
    ),
    number!(
        "limits",
        "head_bytes_max",
        256,
        1 << 20,
        worker.head.head_bytes_max
    ),
    number!(
        "limits",
        "target_bytes_max",
        64,
        1 << 20,
        worker.head.target_bytes_max
    ),
    number!("limits", "headers_max", 8, 1024, worker.head.headers_max),
    number!(
        "limits",
        "receive_buffer_bytes",
        4096,
        1 << 26,
        worker.receive_buffer_bytes
    ),
    number!("limits", "channels_max", 1, COUNT, worker.hub.channels_max),
    number!(
        "limits",
        "address_connections_max",
        0,
        COUNT,
        worker.address.connections_max
    ),
    number!(
        "limits",
        "address_handshakes_per_second",
        0,
        COUNT,
        worker.address.handshakes_per_second
    ),
    number!(
        "limits",
        "address_handshakes_burst",
        0,
        COUNT,
        worker.address.handshakes_burst
    ),
    number!(
        "limits",
        "address_auth_failures_per_minute",
        0,
        COUNT,
        worker.address.auth_failures_per_minute
    ),
    switch!(
        "limits",
        "address_exempt_local",
        worker.address.exempt_local
    ),
    switch!("limits", "address_dry_run", worker.address.dry_run),
    number!(
        "calls",
        "connections_max",
        1,
        1024,
        worker.calls.connections_max
    ),
    number!("calls", "queue_max", 1, COUNT, worker.calls.queue_max),
    number!(
        "calls",
        "queue_bytes_max",
        1,
        TOTAL_BYTES,
        worker.calls.queue_bytes_max
    ),
    number!(
        "calls",
        "answer_bytes_max",
        0,
        BYTES,
        worker.calls.answer_bytes_max
    ),
    number!(
        "calls",
        "connect_timeout_ms",
        1,
        MS,
        worker.calls.connect_timeout_ms
    ),
    number!("calls", "idle_ms", 1, MS, worker.calls.idle_ms),
    choice!(
        "log",
        "format",
        log.format,
        "text" = log::Format::Text,
        "json" = log::Format::Json
    ),
    choice!(
        "log",
        "level",
        log.level,
        "off" = log::Level::Off,
        "error" = log::Level::Error,
        "warn" = log::Level::Warn,
        "info" = log::Level::Info
    ),
];

/// Settings of routes, of every dialect.
pub(crate) fn route_settings() -> impl Iterator<Item = &'static Setting<RouteValues>> {
    let all = ROUTE.iter().chain(super::pubsub::ROUTE);
    #[cfg(feature = "process")]
    let all = all.chain(super::processes::SETTINGS);
    #[cfg(feature = "apigw")]
    let all = all.chain(super::apis::SETTINGS);
    #[cfg(feature = "jsonrpc")]
    let all = all.chain(super::nodes::SETTINGS);
    all
}

/// Settings of routes. Those of `""` and `"limits"` hold for every route unless a dialect's table or the route
/// itself says otherwise; the others are a dialect's own.
const ROUTE: &[Setting<RouteValues>] = &[
    list!("", "keys", Kind::Secrets, keys),
    Setting {
        section: "",
        name: "keys_file",
        kind: Kind::Text,
        get: |s| {
            let path = s.keys_file.as_ref();
            Value::Text(path.map(|p| p.display().to_string()).unwrap_or_default())
        },
        set: |s, value| {
            let path = value.text();
            s.keys_file = (!path.is_empty()).then(|| path.into());
            true
        },
    },
    text!("", "key_parameter", key_parameter),
    text!("", "key_cookie", key_cookie),
    switch!("", "key_in_message", key_in_message),
    switch!("", "shared_keys", shared_keys),
    Setting {
        section: "",
        name: "key_refusal_status",
        kind: Kind::Choice(&[UNAUTHORIZED, FORBIDDEN]),
        get: |s| {
            let status = if s.keys_forbid {
                FORBIDDEN
            } else {
                UNAUTHORIZED
            };
            Value::Text(status.to_owned())
        },
        set: |s, value| {
            s.keys_forbid = value.text() == FORBIDDEN;
            true
        },
    },
    list!("", "origins", Kind::List, origins),
    #[cfg(feature = "deflate")]
    switch!("", "deflate", settings.deflate.offered),
    #[cfg(feature = "deflate")]
    number!(
        "",
        "deflate_min_bytes",
        0,
        BYTES,
        settings.deflate.min_bytes
    ),
    #[cfg(feature = "deflate")]
    number!("", "deflate_level", 1, 9, settings.deflate.level),
    #[cfg(feature = "deflate")]
    number!(
        "",
        "deflate_window_bits",
        9,
        15,
        settings.deflate.window_bits
    ),
    #[cfg(feature = "deflate")]
    switch!(
        "",
        "deflate_decline_takeover_clients",
        settings.deflate.decline_takeover
    ),
    Setting {
        section: "limits",
        name: "message_bytes_max",
        kind: Kind::Number(1, BYTES),
        get: |s| Value::number(s.settings.ws.message_bytes_max),
        set: |s, value| {
            let mut bytes = 0;
            let fits = value.store(&mut bytes);
            s.settings.ws = Limits::for_message_bytes(bytes);
            fits
        },
    },
    route_ms!(message_timeout_ms, 1),
    route_ms!(first_command_timeout_ms, 0),
    number!(
        "limits",
        "messages_per_second",
        0,
        COUNT,
        settings.messages_per_second
    ),
    number!(
        "limits",
        "messages_burst",
        0,
        COUNT,
        settings.messages_burst
    ),
    number!(
        "limits",
        "control_per_second",
        1,
        COUNT,
        settings.control_per_second
    ),
    number!("limits", "control_burst", 1, COUNT, settings.control_burst),
    number!(
        "limits",
        "bad_messages_per_minute",
        0,
        254,
        settings.session.bad_messages_per_minute
    ),
    number!(
        "limits",
        "body_bytes_max",
        0,
        BYTES,
        settings.body_bytes_max
    ),
    number!(
        "limits",
        "outbox_bytes_max",
        1,
        BYTES,
        settings.session.outbox_bytes_max
    ),
    number!(
        "limits",
        "outbox_frames_max",
        1,
        COUNT,
        settings.session.outbox_frames_max
    ),
    number!(
        "limits",
        "outbox_soft_bytes",
        1,
        BYTES,
        settings.session.outbox_soft_bytes
    ),
    number!(
        "limits",
        "outbox_soft_ms",
        1,
        MS,
        settings.session.outbox_soft_ms
    ),
    choice!(
        "limits",
        "slow",
        settings.session.slow,
        "close" = SlowPolicy::Close,
        "drop_oldest" = SlowPolicy::DropOldest,
        "latest" = SlowPolicy::Latest
    ),
    number!(
        "limits",
        "subscriptions_max",
        1,
        COUNT,
        settings.session.subscriptions_max
    ),
    route_ms!(ping_after_ms, 0),
    route_ms!(ping_grace_ms, 1),
    route_ms!(stream_keep_alive_ms, 0),
    route_ms!(stream_retry_ms, 0),
    route_ms!(poll_timeout_ms, 0),
    Setting {
        section: "limits",
        name: "drain_code",
        kind: Kind::Choice(&["1012", "1001"]),
        get: |s| Value::Text(s.settings.drain_code.to_string()),
        set: |s, value| {
            let away = value.text() == "1001";
            s.settings.drain_code = if away {
                CloseCode::AWAY
            } else {
                CloseCode::RESTART
            };
            true
        },
    },
    Setting {
        section: "limits",
        name: "subprotocols",
        kind: Kind::WordOrList(&[ECHO_FIRST, NONE]),
        get: |s| match &s.settings.subprotocols {
            Subprotocols::EchoFirst => Value::Text(ECHO_FIRST.to_owned()),
            Subprotocols::None => Value::Text(NONE.to_owned()),
            Subprotocols::List(list) => Value::List(list.clone()),
        },
        set: |s, value| {
            s.settings.subprotocols = match value {
                Value::Text(word) if word == NONE => Subprotocols::None,
                Value::Text(_) => Subprotocols::EchoFirst,
                _ => Subprotocols::List(value.list()),
            };
            true
        },
    },
    choice!(
        "hierachain",
        "mode",
        options.hierachain.mode,
        "auto" = HieraChainMode::Auto,
        "guide" = HieraChainMode::Guide,
        "server" = HieraChainMode::Server
    ),
    switch!("hierachain", "acks", options.hierachain.acks),
    number!(
        "hierachain",
        "max_connections",
        1,
        COUNT,
        options.hierachain.max_connections
    ),
    number!("hierachain", "ping_ms", 0, MS, options.hierachain.ping_ms),
    switch!("chat", "presence", options.chat.presence),
    switch!("echo", "retype_utf8", options.echo.retype_utf8),
    text!("tapr", "callback", options.tapr_callback),
    number!(
        "tapr",
        "callback_timeout_ms",
        1,
        MS,
        options.tapr.callback_timeout_ms
    ),
    number!(
        "tapr",
        "ping_timeout_ms",
        0,
        MS,
        options.tapr.ping_timeout_ms
    ),
    number!("tapr", "ping_check_ms", 0, MS, options.tapr.ping_check_ms),
    switch!("tapr", "verbose_close", options.tapr.verbose_close),
    switch!(
        "tapr",
        "reply_from_callback",
        options.tapr.reply_from_callback
    ),
    switch!("tapr", "forwarded_for", options.tapr.forwarded_for),
    #[cfg(feature = "signature")]
    list!(
        "tapr",
        "signature_keys",
        Kind::Secrets,
        options.tapr.signature_keys.0
    ),
    switch!("tapr", "close_all", options.tapr.close_all),
    switch!(
        "tapr",
        "control_from_anywhere",
        options.tapr.control_from_anywhere
    ),
];
