//! From what was written to what is served.
//!
//! A route's settings come in layers, and the later one wins: the defaults beside the fields, the dialect's
//! own, `[limits]` and the top of the file, the dialect's table, the route itself.

use std::sync::Arc;

#[cfg(feature = "apigw")]
use super::apis::{BACK_END_ANSWER_BYTES_MAX, calls_back_ends, read_apis};
use super::dialects::{CONTROL, DEFAULT_ROUTES, Dialect, MAIN, Options, SECTIONS, TAPR};
#[cfg(feature = "jsonrpc")]
use super::nodes::{NODE_ANSWER_BYTES_MAX, calls_nodes, read_upstream};
use super::origins::{origin_rules, origins};
use super::permissions::{check_cookie, keys_with_grants};
#[cfg(feature = "process")]
use super::processes::read_process;
use super::record::{Origin, Record, RouteRecord, Settings, Written};
use super::table::{Global, RouteValues, SAME_ORIGIN, global_settings, route_settings};
use super::value::COVERED;
use super::{Config, Problem, Sandbox, machine, nearest};
#[cfg(feature = "hierachain-history")]
use crate::dialect::HieraChain;
use crate::dialect::TaprOptions;
use crate::hub::{SlowPolicy, TargetError};
use crate::net::{Address, HAS_SANDBOX};
use crate::random::Random;
use crate::server::{Keys, On, RouteError, RouteSettings, Router};
use crate::token::Grant;
use crate::ws::Subprotocols;

/// A named listener with its addresses.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name in the configuration.
    pub name: String,
    /// Its number for [`Server::listen_as`](crate::net::Server::listen_as).
    pub number: u16,
    /// Where it listens; none: it is switched off.
    pub addresses: Vec<Address>,
    /// Nobody asked for it: if its port is taken, the server does without it.
    pub optional: bool,
    /// Its own table says that connections begin with a PROXY protocol header (`proxy_protocol` at the top of the
    /// file may say so too: [`ProxySettings::listeners`](crate::server::ProxySettings) has all of them).
    pub declares_proxy_protocol: bool,
}

/// A route, ready to be served.
#[derive(Debug, Clone)]
pub struct Route {
    /// The path template.
    pub path: String,
    /// The number of its listener.
    pub listener: u16,
    /// Who answers there.
    pub dialect: Dialect,
    /// Limits, keys, origins.
    pub settings: RouteSettings,
    pub(super) options: Options,
    pub(super) record: RouteRecord,
}

/// The values of the whole server.
pub(super) fn globals(record: &Record) -> Global {
    let mut global = Global::default();
    global.worker.connections_max = machine::connections_max();
    if let Some(bytes) = machine::memory_budget_bytes() {
        global.worker.hub.memory_budget_bytes = bytes;
    }
    for setting in global_settings() {
        if let Some(written) = record.settings.get(setting.section, setting.name) {
            (setting.set)(&mut global, &written.value);
        }
    }
    #[cfg(feature = "apigw")]
    if record.settings.get("calls", "answer_bytes_max").is_none() && calls_back_ends(record) {
        global.worker.calls.answer_bytes_max = BACK_END_ANSWER_BYTES_MAX;
    }
    #[cfg(feature = "jsonrpc")]
    if record.settings.get("calls", "answer_bytes_max").is_none() && calls_nodes(record) {
        global.worker.calls.answer_bytes_max = NODE_ANSWER_BYTES_MAX;
    }
    global
}

/// The values of every route of a dialect's table, before the route's own. `""`: of no dialect.
pub(super) fn values(record: &Record, section: &str) -> RouteValues {
    let mut values = RouteValues::default();
    Dialect::adjust(section, &mut values.settings);
    if section == "jsonrpc" {
        // As a node without a list: a page of this machine, and what is no browser. What a wallet signs is not for others.
        values.origins = vec!["http://localhost".to_owned()];
    }
    if section == "process" {
        // It starts programs, and pages of anywhere come by in a browser.
        values.origins = vec!["http://localhost".to_owned()];
    }
    for setting in route_settings() {
        if let Some(written) = written(record, section, setting.section, setting.name) {
            (setting.set)(&mut values, &written.value);
        }
    }
    values
}

/// What was written for a setting, closest to the dialect first.
pub(super) fn written<'r>(
    record: &'r Record,
    section: &str,
    home: &str,
    name: &str,
) -> Option<&'r Written> {
    let of_dialect = SECTIONS.contains(&section);
    let own = record.settings.get(section, name).filter(|_| of_dialect);
    own.or_else(|| record.settings.get(home, name))
}

pub(super) fn build(record: Record) -> Result<Config, Vec<Problem>> {
    let mut global = globals(&record);
    let mut build = Build {
        record: &record,
        problems: Vec::new(),
        keys: keys_with_grants(&record),
        #[cfg(feature = "jwt")]
        verifier: None,
    };
    #[cfg(feature = "jwt")]
    {
        build.verifier = build.verifier(&global.tokens);
    }
    let listeners = build.listeners(&global);
    let tapr = build.tapr();
    #[cfg(feature = "presence")]
    let pubsub_callback = build.pubsub_callback(&global);
    build.proxies(&mut global, &listeners);
    let routes = build.routes(&global, &listeners);
    build.check_streams(&listeners, &routes);
    if build.problems.is_empty() && !global.public_without_keys {
        build.refuse_public(&listeners, &routes);
    }
    if global.sandbox == Sandbox::Required && !HAS_SANDBOX {
        let message = "`sandbox` = \"required\", and there is none in this build: \
                       on Linux, `cargo build --release --features sandbox` has it";
        build.problem(record.settings.origin("", "sandbox"), message.to_owned());
    }
    let problems = build.problems;
    if !problems.is_empty() {
        return Err(problems);
    }
    let hierachain = values(&record, "hierachain").options.hierachain;
    let (worker, log, sandbox) = (global.worker, global.log, global.sandbox);
    #[cfg(feature = "history-log")]
    let history_log = Some(global.history_log).filter(|log| !log.path.as_os_str().is_empty());
    let config = Config {
        #[cfg(feature = "history-log")]
        history_log,
        worker,
        log,
        sandbox,
        listeners,
        routes,
        hierachain,
        tapr,
        #[cfg(feature = "presence")]
        pubsub_callback,
        record,
    };
    // Templates are the router's own business: it is asked.
    let mut router = Router::default();
    for (number, route) in config.routes.iter().enumerate() {
        let on = On::Listeners(vec![route.listener]);
        let number = u16::try_from(number).map_err(|_| RouteError::TooMany);
        if let Err(error) = number.and_then(|number| router.add(&route.path, on, number)) {
            return Err(vec![config.route_problem(&error)]);
        }
    }
    Ok(config)
}

impl Config {
    fn route_problem(&self, error: &RouteError) -> Problem {
        let template = match error {
            RouteError::BadTemplate(path, _) | RouteError::Duplicate(path) => path,
            RouteError::BadChannels(..) | RouteError::TooMany => {
                return Problem::at(Origin::Default, error.to_string());
            }
        };
        // The last one is the one that came too late; one of the file can be changed there.
        let routes = || {
            self.routes
                .iter()
                .filter(|r| r.path == *template)
                .map(|r| &r.record.origin)
        };
        let origin = routes()
            .rfind(|o| **o != Origin::Default)
            .or_else(|| routes().next_back());
        Problem::at(
            origin.cloned().unwrap_or(Origin::Default),
            error.to_string(),
        )
    }
}

pub(super) struct Build<'r> {
    pub(super) record: &'r Record,
    problems: Vec<Problem>,
    /// Keys with a grant.
    pub(super) keys: Vec<(String, Arc<Grant>)>,
    /// What checks signed tokens.
    #[cfg(feature = "jwt")]
    pub(super) verifier: Option<Arc<crate::token::Verifier>>,
}

impl Build<'_> {
    pub(super) fn problem(&mut self, origin: Origin, message: String) {
        self.problems.push(Problem::at(origin, message));
    }

    #[cfg(feature = "jwt")]
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What holds for all routes is wrong once, not once per route.
    fn problem_once(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn listeners(&mut self, global: &Global) -> Vec<Listener> {
        let mut listeners: Vec<Listener> = Vec::new();
        let record = self.record;
        let fixed = [
            (
                MAIN,
                &global.listen,
                false,
                record.settings.origin("", "listen"),
            ),
            (
                CONTROL,
                &global.control,
                false,
                record.settings.origin("", "control"),
            ),
            (
                TAPR,
                &global.tapr,
                false,
                record.settings.origin("tapr", "listen"),
            ),
        ];
        let more = record.listeners.iter().map(|l| {
            let (name, proxied) = (l.name.as_str(), l.proxy_protocol);
            (name, &l.addresses, proxied, l.origin.clone())
        });
        for (name, texts, declares_proxy_protocol, origin) in fixed.into_iter().chain(more) {
            if listeners.iter().any(|l| l.name == name) {
                let message = format!("there are two listeners {name:?}");
                self.problem(origin, message);
                continue;
            }
            let mut addresses = Vec::new();
            for text in texts.iter().filter(|text| *text != "off") {
                match text.parse() {
                    Ok(address) => addresses.push(address),
                    Err(error) => {
                        let error: crate::net::AddressError = error;
                        self.problem(origin.clone(), error.to_string());
                    }
                }
            }
            let number = listeners.len() as u16;
            listeners.push(Listener {
                name: name.to_owned(),
                number,
                addresses,
                optional: name == TAPR && origin == Origin::Default,
                declares_proxy_protocol,
            });
        }
        if self.problems.is_empty() && listeners.iter().all(|l| l.addresses.is_empty()) {
            let message = "there is no address to listen on: set `listen`".to_owned();
            self.problem(record.settings.origin("", "listen"), message);
        }
        listeners
    }

    fn tapr(&mut self) -> TaprOptions {
        let Options {
            mut tapr,
            tapr_callback: url,
            ..
        } = values(self.record, "tapr").options;
        if !url.is_empty() {
            match url.parse() {
                Ok(target) => tapr.callback = Some(target),
                Err(error) => {
                    let error: TargetError = error;
                    let message = format!(
                        "{error}, or switch callbacks off with `callback` = \"\" in [tapr]"
                    );
                    let origin = self.record.settings.origin("tapr", "callback");
                    self.problem(origin, message);
                }
            }
        }
        #[cfg(feature = "signature")]
        if tapr.signature_keys.0.iter().any(|key| key == COVERED) {
            let message = format!(
                "{COVERED:?} stands for a key that --print-config did not show: put the key there"
            );
            let origin = self.record.settings.origin("tapr", "signature_keys");
            self.problem(origin, message);
        }
        tapr
    }

    fn routes(&mut self, global: &Global, listeners: &[Listener]) -> Vec<Route> {
        let mut records: Vec<RouteRecord> = Vec::new();
        if global.default_routes {
            records.extend(
                DEFAULT_ROUTES
                    .iter()
                    .map(|(path, listener, dialect)| RouteRecord {
                        path: (*path).to_owned(),
                        listener: (*listener).to_owned(),
                        dialect: *dialect,
                        settings: Settings::default(),
                        origin: Origin::Default,
                    }),
            );
        }
        #[cfg(feature = "process")]
        records.extend(self.flagged_routes(global));
        for own in &self.record.routes {
            let same = |r: &&mut RouteRecord| {
                r.origin == Origin::Default && r.path == own.path && r.listener == own.listener
            };
            match records.iter_mut().find(same) {
                Some(replaced) => *replaced = own.clone(),
                None => records.push(own.clone()),
            }
        }
        let mut routes = Vec::new();
        for record in records {
            let Some(listener) = listeners.iter().find(|l| l.name == record.listener) else {
                let names: Vec<&str> = listeners.iter().map(|l| l.name.as_str()).collect();
                let near = nearest(&record.listener, &names);
                let hint = near.map_or_else(
                    || ": define it with [[listener]]".to_owned(),
                    |near| format!(", did you mean {near:?}?"),
                );
                let message = format!("there is no listener {:?}{hint}", record.listener);
                self.problem(record.origin.clone(), message);
                continue;
            };
            if let Err(message) = record.dialect.check_path(&record.path) {
                self.problem(record.origin.clone(), message);
            }
            if let Some(route) = self.route(record, listener) {
                routes.push(route);
            }
        }
        routes
    }

    fn route(&mut self, record: RouteRecord, listener: &Listener) -> Option<Route> {
        let section = record.dialect.section();
        let mut values = values(self.record, section);
        if record.dialect.is_probe() {
            // A probe carries no key, and what it is told tells nobody anything.
            values.keys.clear();
            values.keys_file = None;
            values.shared_keys = false;
        }
        if listener.name == CONTROL
            || record.dialect == Dialect::Admin
            || record.dialect.is_tapr_control()
        {
            values.origins = vec![SAME_ORIGIN.to_owned()];
        }
        for setting in route_settings() {
            if let Some(written) = record.settings.get("", setting.name) {
                (setting.set)(&mut values, &written.value);
            }
        }
        // The place to blame for a value: the route's own line, or the one that holds for all.
        let record_of_all = self.record;
        let blame = |name: &str| {
            let own = record.settings.get("", name);
            let of_all = || written(record_of_all, section, "", name);
            let of_limits = || written(record_of_all, section, "limits", name);
            let written = own.or_else(of_all).or_else(of_limits);
            written.map_or_else(|| record.origin.clone(), |written| written.origin.clone())
        };
        let mut wrong = Wrong::default();
        let own = |name: &str| record.settings.get("", name).is_some();
        let mut keys = std::mem::take(&mut values.keys);
        // Keys of the route's own are not opened to the keys of everybody.
        if let Some(path) = values
            .keys_file
            .as_ref()
            .filter(|_| own("keys_file") || !own("keys"))
        {
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) => {
                    let mut missing = Problem::file("keys file", path, &error);
                    missing.origin = blame("keys_file");
                    self.problem_once(missing);
                    return None;
                }
            };
            let read = keys_in(&text);
            if read.is_empty() {
                let path = path.display();
                wrong.say(
                    "keys_file",
                    format!("the keys file {path} has no key in it"),
                );
            }
            if own("keys_file") && !own("keys") {
                keys.clear();
            }
            keys.extend(read);
        }
        check_keys(&keys, &mut wrong);
        let mut settings = std::mem::take(&mut values.settings);
        settings.keys = Keys::new(keys);
        // Keys of the route's own are not opened to the keys of everybody, unless it says so.
        if values.shared_keys && (own("shared_keys") || !(own("keys") || own("keys_file"))) {
            settings.keys = self.admit(record.dialect, settings.keys);
        }
        self.check_token_places(record.dialect, &values, &mut settings, &mut wrong);
        if values.keys_forbid {
            settings.keys = settings.keys.forbid();
        }
        if !values.key_parameter.is_empty() {
            settings.keys = settings.keys.parameter(&values.key_parameter);
        }
        let read = match record.dialect {
            Dialect::JsonRpc | Dialect::Process => origin_rules,
            _ => origins,
        };
        match read(&values.origins) {
            Ok(origins) => {
                check_cookie(&values.key_cookie, &origins, &mut wrong);
                settings.origins = origins;
            }
            Err(message) => wrong.say("origins", message),
        }
        let channels = self.record.channels.iter();
        let channels = channels.filter(|c| c.section == section);
        let channels: Vec<_> = channels.map(|c| c.options.clone()).collect();
        #[cfg(feature = "hierachain-history")]
        if record.dialect == Dialect::HieraChain {
            // Its routes share their sessions' vocabulary.
            let shared = self::values(self.record, section).options.hierachain;
            settings.channels = HieraChain::channels_of(&channels, shared.mode);
        }
        if record.dialect == Dialect::PubSub {
            settings.channels = channels;
        }
        check_settings(record.dialect, &settings, &mut wrong);
        #[cfg(feature = "jsonrpc")]
        if record.dialect == Dialect::JsonRpc {
            read_upstream(&mut values.options, &mut wrong);
            values.options.jsonrpc.subscriptions_max = settings.session.subscriptions_max;
        }
        #[cfg(feature = "apigw")]
        if record.dialect == Dialect::ApiGateway {
            read_apis(&mut values.options, &mut wrong);
        }
        #[cfg(feature = "process")]
        if record.dialect == Dialect::Process {
            read_process(&mut values.options, &settings, &mut wrong);
        }
        let fine = wrong.0.is_empty();
        for (name, message) in wrong.0 {
            self.problem_once(Problem::at(blame(name), message));
        }
        fine.then(|| Route {
            path: record.path.clone(),
            listener: listener.number,
            dialect: record.dialect,
            settings,
            options: values.options,
            record,
        })
    }

    /// A public address without keys would let everybody who reaches this machine publish and read.
    fn refuse_public(&mut self, listeners: &[Listener], routes: &[Route]) {
        for listener in listeners {
            let Some(address) = listener.addresses.iter().find(|a| a.is_public()) else {
                continue;
            };
            let open: Vec<&str> = routes
                .iter()
                .filter(|r| r.listener == listener.number && r.settings.keys.is_empty())
                .filter(|r| !r.dialect.is_probe())
                .map(|r| r.path.as_str())
                .collect();
            let Some(first) = open.first() else { continue };
            let more = match open.len() {
                1 => String::new(),
                n => format!(" and {} more routes", n - 1),
            };
            let key = suggested_key();
            let message = format!(
                "{address} can be reached from other machines, and {first}{more} would be open to all of them.\n\
                 Add a key at the top of the configuration file (clients send it as \
                 `Authorization: Bearer KEY` or `?token=KEY`):\n\n\
                 keys = [\"{key}\"]\n\n\
                 or pass it as --key {key}\n\
                 or, if everybody is meant to use them:\n\n\
                 public_without_keys = true\n"
            );
            let origin = match listener.name.as_str() {
                MAIN => self.record.settings.origin("", "listen"),
                CONTROL => self.record.settings.origin("", "control"),
                TAPR => self.record.settings.origin("tapr", "listen"),
                name => {
                    let record = self.record.listeners.iter().find(|l| l.name == name);
                    record.map_or(Origin::Default, |l| l.origin.clone())
                }
            };
            self.problem(origin, message);
        }
    }
}

/// What is wrong with a route, by the setting that is to blame.
#[derive(Default)]
pub(super) struct Wrong(Vec<(&'static str, String)>);

impl Wrong {
    pub(super) fn say(&mut self, name: &'static str, message: String) {
        self.0.push((name, message));
    }
}

/// One key per line; empty lines and comments aside.
fn keys_in(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn check_keys(keys: &[String], wrong: &mut Wrong) {
    for key in keys {
        if key == COVERED {
            let message = format!(
                "{COVERED:?} stands for a key that --print-config did not show: put the key there"
            );
            wrong.say("keys", message);
        } else if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            let message =
                "a key is made of printable ASCII without spaces, and one here is not".to_owned();
            wrong.say("keys", message);
        }
    }
}

/// Settings that do not go together, or not with the dialect.
fn check_settings(dialect: Dialect, settings: &RouteSettings, wrong: &mut Wrong) {
    let session = &settings.session;
    let tells_of_gaps = dialect == Dialect::Process && session.slow == SlowPolicy::DropOldest;
    if session.slow != SlowPolicy::Close && dialect != Dialect::PubSub && !tells_of_gaps {
        let message = if session.slow == SlowPolicy::DropOldest {
            "`slow` = \"drop_oldest\" needs a dialect that can tell of the gap (pubsub), and"
        } else {
            "`slow` = \"latest\" needs a dialect whose messages replace each other (pubsub), and"
        };
        wrong.say("slow", format!("{message} {:?} cannot", dialect.name()));
    }
    if session.outbox_bytes_max < settings.ws.message_bytes_max && dialect.speaks_websocket() {
        let message = format!(
            "`outbox_bytes_max` = {} is smaller than `message_bytes_max` = {}: \
             the largest message could never be delivered",
            session.outbox_bytes_max, settings.ws.message_bytes_max
        );
        wrong.say("outbox_bytes_max", message);
    }
    if let Subprotocols::List(list) = &settings.subprotocols
        && list
            .iter()
            .any(|name| name.is_empty() || !name.bytes().all(is_token_byte))
    {
        let message = "a subprotocol is a token: letters, digits, `-._`".to_owned();
        wrong.say("subprotocols", message);
    }
}

fn suggested_key() -> String {
    let bytes = Random::system().bytes16();
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
