//! The dialects by name: which there are, what they differ in, where they are served by default.

#[cfg(feature = "process")]
use super::processes::ProcessText;
#[cfg(feature = "process")]
use crate::dialect::ProcessOptions;
use crate::dialect::{
    Admin, ChatOptions, EchoOptions, HieraChainOptions, PubSubOptions, TaprOptions,
};
use crate::hub::SlowPolicy;
use crate::server::RouteSettings;
use crate::token::Action;
use crate::ws::Subprotocols;

/// A dialect, or one of the plain pages that belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// HieraChain's WebSocket.
    HieraChain,
    /// Who listens to which chain.
    HieraChainStatus,
    /// Where the chain process publishes.
    HieraChainPublish,
    /// Channels.
    PubSub,
    /// Every message comes back.
    Echo,
    /// Groups and pairs.
    Chat,
    /// Clients of an application that gets HTTP callbacks.
    Tapr,
    /// Where that application asks who is connected.
    TaprList,
    /// Where it sends messages to clients.
    TaprSend,
    /// Where it closes clients' connections.
    TaprClose,
    /// Where it finds out that the server is there.
    TaprDebug,
    /// A gateway in front of Ethereum nodes.
    JsonRpc,
    /// A gateway between devices and HTTP back ends.
    ApiGateway,
    /// What programs say.
    Process,
    /// `ok`.
    Health,
    /// `ready`, or not.
    Ready,
    /// Counters and gauges.
    Metrics,
    /// Connections, channels, publications: which of it is told by the path.
    Admin,
}

impl Dialect {
    /// All of them.
    pub(crate) const ALL: [Self; 18] = [
        Self::HieraChain,
        Self::HieraChainStatus,
        Self::HieraChainPublish,
        Self::PubSub,
        Self::Echo,
        Self::Chat,
        Self::Tapr,
        Self::TaprList,
        Self::TaprSend,
        Self::TaprClose,
        Self::TaprDebug,
        Self::JsonRpc,
        Self::ApiGateway,
        Self::Process,
        Self::Health,
        Self::Ready,
        Self::Metrics,
        Self::Admin,
    ];

    /// The name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::HieraChain => "hierachain",
            Self::HieraChainStatus => "hierachain-status",
            Self::HieraChainPublish => "hierachain-publish",
            Self::PubSub => "pubsub",
            Self::Echo => "echo",
            Self::Chat => "chat",
            Self::Tapr => "tapr",
            Self::TaprList => "tapr-list",
            Self::TaprSend => "tapr-send",
            Self::TaprClose => "tapr-close",
            Self::TaprDebug => "tapr-debug",
            Self::JsonRpc => "jsonrpc",
            Self::ApiGateway => "apigw",
            Self::Process => "process",
            Self::Health => "health",
            Self::Ready => "ready",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }

    /// The feature that a dialect needs and this build does not have.
    pub(crate) fn missing_feature(self) -> Option<&'static str> {
        missing_feature_of(self.section(), "")
    }

    /// The table its settings stand in.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::HieraChain | Self::HieraChainStatus | Self::HieraChainPublish => "hierachain",
            Self::Health | Self::Ready | Self::Metrics | Self::Admin => "",
            _ if self.is_tapr_control() => "tapr",
            _ => self.name(),
        }
    }

    /// Whether a browser or a WebSocket client has something to do there.
    pub fn speaks_websocket(self) -> bool {
        matches!(
            self,
            Self::HieraChain
                | Self::PubSub
                | Self::Echo
                | Self::Chat
                | Self::Tapr
                | Self::JsonRpc
                | Self::ApiGateway
                | Self::Process
        )
    }

    /// Whether it is where an application drives its clients' connections, which no web page may do.
    pub(crate) fn is_tapr_control(self) -> bool {
        matches!(
            self,
            Self::TaprList | Self::TaprSend | Self::TaprClose | Self::TaprDebug
        )
    }

    /// What a limited key must allow with all channels, because the dialect itself does not ask.
    pub(crate) fn needs(self) -> &'static [Action] {
        match self {
            Self::PubSub => &[],
            Self::HieraChainPublish | Self::Metrics | Self::Admin => &[Action::Admin],
            _ if self.is_tapr_control() => &[Action::Admin],
            Self::HieraChain | Self::HieraChainStatus => &[Action::Subscribe],
            // Whoever is there may speak.
            _ => &[Action::Subscribe, Action::Publish],
        }
    }

    /// A probe carries no key, and what it is answered tells nobody anything.
    pub(crate) fn is_probe(self) -> bool {
        matches!(self, Self::Health | Self::Ready)
    }

    /// Where a dialect wants something else than the defaults of all routes.
    pub(crate) fn adjust(section: &str, settings: &mut RouteSettings) {
        match section {
            // A publication is copied to nobody, but it waits in the outbox of every slow subscriber.
            "hierachain" | "pubsub" => {
                *settings = settings.clone().message_bytes_max(64 << 10);
            }
            // Load tools and conformance suites send as fast as they can, and that is what an echo is for.
            "echo" => settings.messages_per_second = 0,
            // What its applications may send at once, and room for it on its way to a client.
            "tapr" => {
                settings.body_bytes_max = 4 << 20;
                settings.session.outbox_bytes_max = 8 << 20;
            }
            // A node's own limits, which wallets and libraries know. Answers may be as large as messages, and a page that
            // is loaded asks hundreds of things at once: the dialect has a limit that is told, and not a close, for it.
            "jsonrpc" => {
                *settings = settings.clone().message_bytes_max(32 << 20);
                settings.body_bytes_max = 5 << 20;
                settings.session.outbox_bytes_max = 32 << 20;
                settings.session.outbox_soft_bytes = 8 << 20;
                settings.session.outbox_frames_max = 4096;
                settings.messages_per_second = 500;
                settings.messages_burst = 5000;
                settings.ping_after_ms = 30_000;
                settings.ping_grace_ms = 30_000;
                settings.subprotocols = Subprotocols::None;
            }
            // The dialect has a word of its own for who asks too much, and it comes before a close.
            "apigw" => {
                settings.messages_per_second = 500;
                settings.messages_burst = 5000;
            }
            // Lines are short and many. Of a log one wants the end: who is slow misses the middle, and is told.
            "process" => {
                settings.session.outbox_frames_max = 16 << 10;
                settings.session.slow = SlowPolicy::DropOldest;
            }
            _ => {}
        }
    }

    /// Which variables a path template must have for this dialect, or why these are wrong.
    pub(crate) fn check_path(self, path: &str) -> Result<(), String> {
        let has = |name: &str| path.contains(&format!("{{{name}}}"));
        let any = path.contains('{');
        match self {
            Self::PubSub if any && !has("channel") => Err(format!(
                "dialect \"pubsub\" takes the channel from a variable of that name, as in \
                 \"/ch/{{channel}}\", and {path:?} has none"
            )),
            Self::Chat if !(has("group") || has("a") && has("b")) => Err(format!(
                "dialect \"chat\" takes the room from the path, as in \"/chat/{{group}}\" or \
                 \"/pair/{{a}}/{{b}}\", and {path:?} has neither"
            )),
            Self::Admin if Admin::at(path, PubSubOptions::default()).is_none() => Err(format!(
                "dialect \"admin\" tells by the end of a path what to serve there, as in \
                 \"/v1/connections/{{id}}/close\", and {path:?} ends like nothing it knows"
            )),
            _ => Ok(()),
        }
    }
}

/// The feature that a setting of a table needs and this build does not have.
pub(crate) fn missing_feature_of(section: &str, name: &str) -> Option<&'static str> {
    match (section, name) {
        ("apigw", _) if !cfg!(feature = "apigw") => Some("apigw"),
        ("tokens", _) if !cfg!(feature = "jwt") => Some("jwt"),
        ("jsonrpc", _) if !cfg!(feature = "jsonrpc") => Some("jsonrpc"),
        ("hierachain", "channels") if !cfg!(feature = "hierachain-history") => {
            Some("hierachain-history")
        }
        ("", "history_path" | "history_sync_ms" | "history_disk_bytes_max")
            if !cfg!(feature = "history-log") =>
        {
            Some("history-log")
        }
        ("process", _) | ("", "exec" | "tail") if !cfg!(feature = "process") => Some("process"),
        ("pubsub", _) if !cfg!(feature = "presence") && OF_PRESENCE.contains(&name) => {
            Some("presence")
        }
        _ => None,
    }
}

/// Settings of `pubsub` that belong to the feature `presence`.
const OF_PRESENCE: [&str; 8] = [
    "callback",
    "callback_timeout_ms",
    "callback_grace_ms",
    "callbacks_max",
    "presence_grace_ms",
    "presence_leaving_max",
    "presence_list_max",
    "presence_info_bytes_max",
];

/// The tables that belong to a dialect.
pub(crate) const SECTIONS: [&str; 8] = [
    "hierachain",
    "pubsub",
    "chat",
    "echo",
    "tapr",
    "jsonrpc",
    "apigw",
    "process",
];

/// Every dialect's own options.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) hierachain: HieraChainOptions,
    pub(crate) pubsub: PubSubOptions,
    pub(crate) chat: ChatOptions,
    pub(crate) echo: EchoOptions,
    pub(crate) tapr: TaprOptions,
    /// The application's URL as it was written.
    pub(crate) tapr_callback: String,
    #[cfg(feature = "jsonrpc")]
    pub(crate) jsonrpc: crate::dialect::JsonRpcOptions,
    /// The nodes' URLs as they were written.
    #[cfg(feature = "jsonrpc")]
    pub(crate) jsonrpc_upstream: Vec<String>,
    #[cfg(feature = "apigw")]
    pub(crate) apigw: crate::dialect::ApiGatewayOptions,
    /// Back ends and keys as they were written.
    #[cfg(feature = "apigw")]
    pub(crate) apigw_text: super::apis::ApigwText,
    #[cfg(feature = "process")]
    pub(crate) process: ProcessOptions,
    /// Command and mode as they were written.
    #[cfg(feature = "process")]
    pub(crate) process_text: ProcessText,
}

/// The listeners that are always there.
pub(crate) const MAIN: &str = "main";
/// See [`MAIN`].
pub(crate) const CONTROL: &str = "control";
/// See [`MAIN`].
pub(crate) const TAPR: &str = "tapr";

/// What is served without configuration: path, listener, dialect.
pub(crate) const DEFAULT_ROUTES: &[(&str, &str, Dialect)] = &[
    ("/ws", MAIN, Dialect::HieraChain),
    ("/ws/status", MAIN, Dialect::HieraChainStatus),
    ("/ch/{channel}", MAIN, Dialect::PubSub),
    ("/ch", MAIN, Dialect::PubSub),
    ("/echo", MAIN, Dialect::Echo),
    // Where hyperlane's documented client looks for it.
    ("/websocket", MAIN, Dialect::Echo),
    ("/chat/{group}", MAIN, Dialect::Chat),
    ("/pair/{a}/{b}", MAIN, Dialect::Chat),
    ("/hierachain/publish", CONTROL, Dialect::HieraChainPublish),
    ("/ch/{channel}", CONTROL, Dialect::PubSub),
    ("/ch", CONTROL, Dialect::PubSub),
    ("/healthz", CONTROL, Dialect::Health),
    ("/readyz", CONTROL, Dialect::Ready),
    ("/metrics", CONTROL, Dialect::Metrics),
    ("/ws", TAPR, Dialect::Tapr),
    ("/tapr/ws/conn/list", TAPR, Dialect::TaprList),
    ("/tapr/ws/conn/send", TAPR, Dialect::TaprSend),
    ("/tapr/ws/conn/close", TAPR, Dialect::TaprClose),
    ("/tapr/ws/conn/debug", TAPR, Dialect::TaprDebug),
    ("/v1/openapi.json", CONTROL, Dialect::Admin),
    ("/v1/connections", CONTROL, Dialect::Admin),
    ("/v1/connections/{id}", CONTROL, Dialect::Admin),
    ("/v1/connections/{id}/send", CONTROL, Dialect::Admin),
    ("/v1/connections/{id}/close", CONTROL, Dialect::Admin),
    ("/v1/connections/{id}/subscribe", CONTROL, Dialect::Admin),
    ("/v1/connections/{id}/unsubscribe", CONTROL, Dialect::Admin),
    ("/v1/publish", CONTROL, Dialect::Admin),
    ("/v1/channels", CONTROL, Dialect::Admin),
    ("/v1/users/{user}/revoke", CONTROL, Dialect::Admin),
    // Where SDKs for an AWS WebSocket API look for it, without and with a stage.
    ("/@connections/{id}", CONTROL, Dialect::Admin),
    ("/{stage}/@connections/{id}", CONTROL, Dialect::Admin),
];
