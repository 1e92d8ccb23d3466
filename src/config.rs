//! Configuration: a TOML file, then the environment, then flags; the later one wins.
//!
//! | file | subject |
//! | --- | --- |
//! | `table.rs` | every setting: name, kind, field |
//! | `value.rs` | values as they are written |
//! | `document.rs` | a TOML file as a tree with places |
//! | `record.rs` | what was written and where; mistakes with file, line and column |
//! | `apis.rs` | back ends and keys of `apigw` (feature `apigw`) |
//! | `channels.rs` | options for some channels |
//! | `history.rs` | the log of histories (feature `history-log`) |
//! | `permissions.rs` | keys that allow some things: `[[key]]` |
//! | `token_keys.rs` | whose signed tokens are taken: `[tokens]`, `[[token_key]]` (feature `jwt`) |
//! | `build.rs` | the record put together: listeners and routes, checked |
//! | `nodes.rs`, `streams.rs` | nodes of `jsonrpc`; who is behind a stream of values |
//! | `origins.rs` | lists of origins |
//! | `processes.rs` | commands of `process`, routes for `exec` and `tail` (feature `process`) |
//! | `proxies.rs` | trusted proxies, listeners with a PROXY header |
//! | `dialects.rs` | dialects by name, default routes |
//! | `machine.rs` | defaults that depend on the machine |
//! | `print.rs` | the effective settings, as TOML |
//!
//! The rule: other rooms never know where a setting came from. Their settings structs are filled here, and the
//! defaults stay beside the fields.

#[cfg(feature = "apigw")]
mod apis;
mod build;
mod channels;
mod dialects;
mod document;
#[cfg(any(test, feature = "sim"))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "history-log")]
mod history;
mod machine;
mod nearest;
#[cfg(feature = "jsonrpc")]
mod nodes;
mod origins;
mod permissions;
mod print;
#[cfg(feature = "process")]
mod processes;
mod proxies;
mod pubsub;
mod record;
mod streams;
mod table;
#[cfg(feature = "jwt")]
mod token_keys;
mod value;

pub use build::{Listener, Route};
pub use dialects::Dialect;
pub(crate) use nearest::nearest;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::dialect::{
    Admin, Chat, Echo, Health, HieraChain, HieraChainOptions, MetricsPage, PubSub, Ready, Tapr,
    TaprOptions,
};
#[cfg(feature = "process")]
use crate::dialect::{ProcessPerClient, SharedProcess};
use crate::hub::{Handler, Target};
use crate::log;
use crate::net::Server;
use crate::server::{On, WorkerSettings};
#[cfg(feature = "process")]
use processes::ProcessMode;
use record::{Origin, Record};

/// Where settings are read from. No `Debug`: keys are among them.
#[derive(Clone, Default)]
pub struct Input {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `DUNLIN_` are ignored.
    pub environment: Vec<(String, String)>,
    /// Flags: as they are written, the setting they stand for (`listen`, `log.level`), the values.
    pub flags: Vec<(&'static str, &'static str, Vec<String>)>,
}

/// Whether the process gives up what it no longer needs once everything is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sandbox {
    /// As far as this build and this kernel can; what they cannot is said at start.
    #[default]
    On,
    /// No.
    Off,
    /// Wholly, or the server does not start.
    Required,
}

/// A configuration that was read and found good.
#[derive(Debug)]
pub struct Config {
    /// Limits and time-outs of the whole server.
    pub worker: WorkerSettings,
    /// The log.
    pub log: log::Settings,
    /// What the process gives up.
    pub sandbox: Sandbox,
    /// Where to listen; those without an address are switched off.
    pub listeners: Vec<Listener>,
    /// What is served, in the order of the start-up lines.
    pub routes: Vec<Route>,
    /// Where histories are logged, if they are.
    #[cfg(feature = "history-log")]
    pub history_log: Option<crate::net::HistoryLog>,
    hierachain: HieraChainOptions,
    tapr: TaprOptions,
    #[cfg(feature = "presence")]
    pubsub_callback: crate::dialect::PubSubCallback,
    record: Record,
}

impl Config {
    /// Reads and checks everything. Nothing is bound.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file.
    pub fn load(input: &Input) -> Result<Self, Vec<Problem>> {
        let mut record = Record::read(input);
        let mut problems = std::mem::take(&mut record.problems);
        // What does not make sense together is only worth telling when each part does.
        let built = if problems.is_empty() {
            build::build(record)
        } else {
            Err(Vec::new())
        };
        match built {
            Ok(config) => Ok(config),
            Err(more) => {
                problems.extend(more);
                Err(in_order(problems))
            }
        }
    }

    /// Host and port of every application, node and back end that is called.
    pub fn applications(&self) -> impl Iterator<Item = (&str, u16)> {
        let targets = self.tapr.callback.iter();
        #[cfg(feature = "presence")]
        let targets = targets.chain(&self.pubsub_callback.target);
        #[cfg(feature = "jsonrpc")]
        let targets = targets.chain(self.nodes_by_tcp());
        #[cfg(feature = "apigw")]
        let targets = targets.chain(self.back_ends());
        targets.map(|target: &Target| (target.host.as_str(), target.port))
    }

    /// The Unix socket of every node that has one.
    pub fn sockets(&self) -> impl Iterator<Item = &Path> {
        let none = std::iter::empty();
        #[cfg(feature = "jsonrpc")]
        let none = none.chain(self.sockets_of_nodes());
        none
    }

    /// Whether programs are started.
    pub fn starts_programs(&self) -> bool {
        self.routes.iter().any(|r| r.dialect == Dialect::Process)
    }

    /// The effective settings as TOML, each with a comment that says where it came from.
    pub fn print(&self) -> String {
        print::print(self)
    }

    /// The server that this configuration describes.
    pub fn server(&self) -> Server {
        let mut server = self.routes();
        for listener in &self.listeners {
            for address in &listener.addresses {
                let address = address.to_string();
                server = if listener.optional {
                    server.listen_if_free(listener.number, &address)
                } else {
                    server.listen_as(listener.number, &address)
                };
            }
        }
        server
    }

    /// The same without addresses.
    fn routes(&self) -> Server {
        let chain = HieraChain::new(self.hierachain);
        let tapr = Tapr::new(self.tapr.clone());
        #[cfg(feature = "jsonrpc")]
        let mut gateways = nodes::Gateways::default();
        #[cfg(feature = "apigw")]
        let mut api_gateways = apis::ApiGateways::default();
        let mut server = Server::new().settings(self.worker.clone());
        #[cfg(feature = "history-log")]
        if let Some(log) = &self.history_log {
            server = server.history_log(log.clone());
        }
        for route in &self.routes {
            let (path, settings) = (route.path.as_str(), route.settings.clone());
            let on = On::Listeners(vec![route.listener]);
            let options = &route.options;
            let handler: Box<dyn Handler> = match route.dialect {
                Dialect::HieraChain => Box::new(chain.clone()),
                Dialect::HieraChainStatus => Box::new(chain.status()),
                Dialect::HieraChainPublish => Box::new(chain.ingest()),
                Dialect::PubSub => {
                    let pubsub = PubSub::new(options.pubsub);
                    #[cfg(feature = "presence")]
                    let pubsub = pubsub.callback(self.pubsub_callback.clone());
                    Box::new(pubsub)
                }
                Dialect::Echo => Box::new(Echo::new(options.echo)),
                Dialect::Chat => Box::new(Chat::new(options.chat)),
                Dialect::Tapr => Box::new(tapr.clone()),
                Dialect::TaprList => Box::new(tapr.list()),
                Dialect::TaprSend => Box::new(tapr.send()),
                Dialect::TaprClose => Box::new(tapr.close()),
                Dialect::TaprDebug => Box::new(tapr.debug()),
                #[cfg(feature = "jsonrpc")]
                Dialect::JsonRpc => Box::new(gateways.of(&options.jsonrpc)),
                // Refused when it was read.
                #[cfg(not(feature = "jsonrpc"))]
                Dialect::JsonRpc => continue,
                #[cfg(feature = "apigw")]
                Dialect::ApiGateway => Box::new(api_gateways.of(&options.apigw)),
                #[cfg(not(feature = "apigw"))]
                Dialect::ApiGateway => continue,
                #[cfg(feature = "process")]
                Dialect::Process => match options.process_text.mode {
                    ProcessMode::PerConnection => {
                        Box::new(ProcessPerClient::new(options.process.clone()))
                    }
                    ProcessMode::Shared => Box::new(SharedProcess::new(options.process.clone())),
                },
                #[cfg(not(feature = "process"))]
                Dialect::Process => continue,
                Dialect::Health => Box::new(Health),
                Dialect::Ready => Box::new(Ready),
                Dialect::Metrics => Box::new(MetricsPage),
                Dialect::Admin => match Admin::at(path, options.pubsub) {
                    Some(admin) => Box::new(admin),
                    // Paths were checked when the routes were put together.
                    None => continue,
                },
            };
            server = server.route_boxed(path, on, settings, handler);
        }
        server
    }
}

/// Problems by origin. They come nearly in this order, so each is soon in its place.
fn in_order(problems: Vec<Problem>) -> Vec<Problem> {
    let mut ordered: Vec<Problem> = Vec::with_capacity(problems.len());
    for problem in problems {
        let at = ordered.partition_point(|earlier| earlier.origin <= problem.origin);
        ordered.insert(at, problem);
    }
    ordered
}

/// Something that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    origin: Origin,
    message: String,
    /// A file is not there at all.
    pub is_missing_file: bool,
}

impl Problem {
    fn at(origin: Origin, message: String) -> Self {
        Self {
            origin,
            message,
            is_missing_file: false,
        }
    }

    fn file(what: &str, path: &Path, error: &io::Error) -> Self {
        let is_missing_file = error.kind() == io::ErrorKind::NotFound;
        let why = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
            _ => error.to_string(),
        };
        let message = format!("cannot read the {what} {}: {why}", path.display());
        Self {
            origin: Origin::Default,
            message,
            is_missing_file,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default | Origin::Machine(_) => f.write_str(&self.message),
            origin => write!(f, "{origin}: {}", self.message),
        }
    }
}
