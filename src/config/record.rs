//! What was written, and where: the file first, then the environment, then flags.
//!
//! Nothing is put together here. Each value is checked against its setting's kind, so that a mistake is
//! reported at the place where it was made; whether the values make sense together is decided later.

use std::fmt;
use std::path::{Path, PathBuf};

use super::channels::{CHANNELS, ChannelRecord, SECTIONS as CHANNELS_SECTIONS};
use super::dialects::{Dialect, MAIN, SECTIONS, missing_feature_of};
use super::document::{Item, Key, Table, Toml};
use super::permissions::{KEY, KeyRecord};
use super::table::{Global, RouteValues, global_settings, route_settings};
#[cfg(feature = "jwt")]
use super::token_keys::{TOKEN_KEY, TokenKeyRecord};
use super::value::{Kind, Value};
use super::{Input, Problem, nearest};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    Default,
    /// A default that depends on the machine, and on what of it.
    Machine(&'static str),
    File {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    Environment(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Machine(what) => write!(f, "default: {what}"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be a key.
        write!(f, "Written({})", self.origin)
    }
}

/// Values by table and name. There are a few dozen settings, so looking one up means looking through them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings(Vec<(&'static str, &'static str, Written)>);

impl Settings {
    pub(crate) fn get(&self, section: &str, name: &str) -> Option<&Written> {
        let mut all = self.0.iter();
        let found = all.find(|(s, n, _)| *n == name && *s == section);
        found.map(|(.., written)| written)
    }

    /// Where a setting was written, if it was.
    pub(crate) fn origin(&self, section: &str, name: &str) -> Origin {
        origin_of(self.get(section, name))
    }

    /// What is written later wins.
    pub(super) fn put(&mut self, section: &'static str, name: &'static str, written: Written) {
        self.0.retain(|(s, n, _)| (*s, *n) != (section, name));
        self.0.push((section, name, written));
    }
}

/// Where a value comes from that may not have been written.
pub(crate) fn origin_of(written: Option<&Written>) -> Origin {
    written.map_or(Origin::Default, |written| written.origin.clone())
}

#[derive(Debug)]
pub(crate) struct ListenerRecord {
    pub(crate) name: String,
    pub(crate) addresses: Vec<String>,
    /// Connections begin with a PROXY protocol header.
    pub(crate) proxy_protocol: bool,
    pub(crate) origin: Origin,
}

#[derive(Debug, Clone)]
pub(crate) struct RouteRecord {
    pub(crate) path: String,
    pub(crate) listener: String,
    pub(crate) dialect: Dialect,
    /// Of its own, all in the table `""`.
    pub(crate) settings: Settings,
    pub(crate) origin: Origin,
}

/// Everything that was written, by table and name.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) settings: Settings,
    pub(crate) listeners: Vec<ListenerRecord>,
    pub(crate) routes: Vec<RouteRecord>,
    pub(crate) channels: Vec<ChannelRecord>,
    pub(crate) keys: Vec<KeyRecord>,
    #[cfg(feature = "jwt")]
    pub(crate) token_keys: Vec<TokenKeyRecord>,
    pub(crate) problems: Vec<Problem>,
}

/// A setting of either table, as far as reading needs to know it.
#[derive(Clone, Copy)]
struct Known {
    name: &'static str,
    kind: Kind,
    /// Whether the field takes this value; it is tried on a scratch copy.
    fits: Fits,
}

#[derive(Clone, Copy)]
enum Fits {
    Global(fn(&mut Global, &Value) -> bool),
    Route(fn(&mut RouteValues, &Value) -> bool),
}

impl Known {
    fn check(self, value: Value) -> Result<Value, String> {
        let fits = match self.fits {
            Fits::Global(set) => set(&mut Global::default(), &value),
            Fits::Route(set) => set(&mut RouteValues::default(), &value),
        };
        fits.then_some(value)
            .ok_or_else(|| format!("`{}` is too large for this machine", self.name))
    }
}

/// The settings that may stand in a table.
fn known_in(section: &str) -> Vec<Known> {
    let global = global_settings().filter(|s| s.section == section);
    let mut known: Vec<Known> = global
        .map(|s| Known {
            name: s.name,
            kind: s.kind,
            fits: Fits::Global(s.set),
        })
        .collect();
    let of_all = if SECTIONS.contains(&section) {
        ["", "limits"]
    } else {
        [section; 2]
    };
    known.extend(of_routes([section, of_all[0], of_all[1]]));
    known
}

/// The settings that may stand in a route of this dialect.
fn known_in_route(dialect: Dialect) -> Vec<Known> {
    // The routes of these share one state, so their options are the server's and not a route's.
    let own = match dialect.section() {
        "hierachain" | "tapr" => "",
        section => section,
    };
    of_routes(["", "limits", own])
}

/// The settings of routes in any of these tables.
fn of_routes(sections: [&str; 3]) -> Vec<Known> {
    let route = route_settings().filter(|s| sections.contains(&s.section));
    route
        .map(|s| Known {
            name: s.name,
            kind: s.kind,
            fits: Fits::Route(s.set),
        })
        .collect()
}

fn find(known: &[Known], name: &str) -> Option<Known> {
    known.iter().find(|known| known.name == name).copied()
}

fn names_of(known: &[Known]) -> Vec<&'static str> {
    known.iter().map(|known| known.name).collect()
}

/// Names in a route that are no settings.
const ROUTE_NAMES: [&str; 3] = ["path", "listener", "dialect"];
const TABLES: [&str; 12] = [
    "limits",
    "log",
    "calls",
    "hierachain",
    "pubsub",
    "chat",
    "echo",
    "tapr",
    "jsonrpc",
    "apigw",
    "process",
    "tokens",
];
const LISTS: [&str; 4] = ["listener", "route", KEY, "token_key"];
const LISTENER_NAMES: [&str; 3] = ["name", "address", "proxy_protocol"];

/// Variables that are not settings: of the clients, and the configuration file's own.
const OTHER_VARIABLES: [&str; 3] = ["DUNLIN_CONFIG", "DUNLIN_URL", "DUNLIN_KEY"];
const PREFIX: &str = "DUNLIN_";

impl Record {
    pub(crate) fn read(input: &Input) -> Self {
        let mut record = Self::default();
        record.read_manifest(&input.environment);
        if let Some(path) = &input.file {
            record.read_file(path);
        }
        record.read_environment(&input.environment);
        for (flag, name, value) in &input.flags {
            record.read_flag(flag, name, value);
        }
        record
    }

    /// The application's URL from the two variables that a manifest becomes; anything else overrides it.
    fn read_manifest(&mut self, environment: &[(String, String)]) {
        let value = |name| {
            let mut found = environment.iter().filter(|(n, _)| n == name);
            found.next().map_or("", |(_, value)| value.as_str())
        };
        let (port, path) = (value("WS_PORT"), value("WS_URL"));
        if !port.is_empty() && !path.is_empty() {
            let written = Written {
                value: Value::Text(format!("http://127.0.0.1:{port}{path}")),
                origin: Origin::Environment("WS_PORT and WS_URL".to_owned()),
            };
            self.settings.put("tapr", "callback", written);
        }
    }

    fn read_file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.problems
                    .push(Problem::file("configuration file", path, &error));
                return;
            }
        };
        self.read_text(path, &text);
    }

    /// A file that has been read; `path` is what messages call it.
    pub(super) fn read_text(&mut self, path: &Path, text: &str) {
        let mut file = File {
            path,
            text,
            record: self,
        };
        match Table::parse(text) {
            Ok(table) => file.read(&table),
            Err(mistake) => {
                let mut message = mistake.message;
                if let Some(Origin::File { line, column, .. }) =
                    mistake.first.map(|at| file.origin(at))
                {
                    message += &format!(", in line {line}, column {column}");
                }
                file.problem(mistake.at, message);
            }
        }
    }

    fn read_environment(&mut self, environment: &[(String, String)]) {
        let is_setting = |name: &str| {
            name.starts_with(PREFIX) && !OTHER_VARIABLES.contains(&name) && !is_link(name)
        };
        let own = environment.iter().filter(|(name, _)| is_setting(name));
        let own: Vec<&(String, String)> = own.collect();
        if own.is_empty() {
            return; // Hundreds of names are only put together for somebody who sets one.
        }
        let mut all = Vec::new();
        for section in [""].into_iter().chain(TABLES) {
            for known in known_in(section) {
                all.push((variable(section, known.name), section, known));
            }
        }
        for (name, text) in own {
            let origin = Origin::Environment(name.clone());
            let Some((_, section, known)) = all.iter().find(|(own, ..)| own == name) else {
                let names: Vec<&str> = all.iter().map(|(own, ..)| own.as_str()).collect();
                let message = unknown("setting", name, &names, "");
                self.problems.push(Problem::at(origin, message));
                continue;
            };
            self.take(section, *known, text, origin);
        }
    }

    fn read_flag(&mut self, flag: &'static str, name: &str, values: &[String]) {
        let (table, name) = name.split_once('.').unwrap_or(("", name));
        let mut sections = [""].into_iter().chain(TABLES);
        let section = sections.find(|s| *s == table).unwrap_or_default();
        let Some(known) = find(&known_in(section), name) else {
            return;
        };
        let origin = Origin::Flag(flag);
        match known.kind {
            Kind::List | Kind::Secrets => {
                let value = Value::List(values.to_vec());
                self.settings
                    .put(section, known.name, Written { value, origin });
            }
            _ => {
                let text = values.last().map(String::as_str).unwrap_or_default();
                self.take(section, known, text, origin);
            }
        }
    }

    fn take(&mut self, section: &'static str, known: Known, text: &str, origin: Origin) {
        match Value::from_text(known.kind, known.name, text).and_then(|v| known.check(v)) {
            Ok(value) => self
                .settings
                .put(section, known.name, Written { value, origin }),
            Err(message) => self.problems.push(Problem::at(origin, message)),
        }
    }
}

/// The variable of a setting.
fn variable(section: &str, name: &str) -> String {
    let mut variable = match section {
        "" => format!("{PREFIX}{name}"),
        _ => format!("{PREFIX}{section}__{name}"),
    };
    variable.make_ascii_uppercase();
    variable
}

/// Kubernetes and container links put variables of this form beside every process when a service is called
/// `dunlin`.
fn is_link(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    rest == "PORT" || rest == "NAME" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}

/// A file while it is read.
pub(super) struct File<'a> {
    path: &'a Path,
    text: &'a str,
    record: &'a mut Record,
}

impl File<'_> {
    pub(super) fn origin(&self, at: usize) -> Origin {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        Origin::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }

    pub(super) fn problem(&mut self, at: usize, message: String) {
        let problem = Problem::at(self.origin(at), message);
        self.record.problems.push(problem);
    }

    fn read(&mut self, top: &Table) {
        for (key, value) in top.entries() {
            let name = key.name.as_str();
            if let Some(section) = TABLES.into_iter().find(|table| *table == name) {
                match &value.value {
                    Toml::Table(table) => self.read_section(section, table),
                    _ => self.problem(value.at, format!("`{name}` is a table: write [{name}]")),
                }
            } else if LISTS.contains(&name) {
                self.read_list(name, value);
            } else {
                self.read_setting("", key, value);
            }
        }
    }

    /// Where options for channels of these names stand already.
    pub(super) fn channels_called(&self, section: &str, names: &str) -> Option<Origin> {
        let mut all = self.record.channels.iter();
        let same = all.find(|known| known.section == section && known.options.names == names);
        same.map(|known| known.origin.clone())
    }

    pub(super) fn add_key(&mut self, key: KeyRecord) {
        self.record.keys.push(key);
    }

    #[cfg(feature = "jwt")]
    pub(super) fn add_token_key(&mut self, key: TokenKeyRecord) {
        self.record.token_keys.push(key);
    }

    /// Where a key stands already.
    pub(super) fn key_called(&self, key: &str) -> Option<Origin> {
        let mut all = self.record.keys.iter();
        let same = all.find(|known| known.key == key);
        same.map(|known| known.origin.clone())
    }

    pub(super) fn add_channels(&mut self, channels: ChannelRecord) {
        self.record.channels.push(channels);
    }

    fn read_section(&mut self, section: &'static str, table: &Table) {
        for (key, value) in table.entries() {
            if key.name == CHANNELS && CHANNELS_SECTIONS.contains(&section) {
                self.read_channels(section, value);
                continue;
            }
            self.read_setting(section, key, value);
        }
    }

    fn read_setting(&mut self, section: &'static str, key: &Key, value: &Item) {
        let name = key.name.as_str();
        let all = known_in(section);
        let Some(known) = find(&all, name) else {
            let mut names = names_of(&all);
            if section.is_empty() {
                names.extend(TABLES);
                names.extend(LISTS);
            } else if CHANNELS_SECTIONS.contains(&section) {
                names.push(CHANNELS);
            }
            let place = if section.is_empty() {
                String::new()
            } else {
                format!(" in [{section}]")
            };
            let message = match missing_feature_of(section, name) {
                Some(feature) => not_in_this_build(&format!("{name:?}{place}"), feature),
                None => unknown("key", name, &names, &place),
            };
            self.problem(key.at, message);
            return;
        };
        if let Some(written) = self.value(known, key, value) {
            self.record.settings.put(section, known.name, written);
        }
    }

    /// A setting's value, if it may be that.
    fn value(&mut self, known: Known, key: &Key, value: &Item) -> Option<Written> {
        let read = Value::from_toml(known.kind, known.name, &value.value);
        match read.and_then(|value| known.check(value)) {
            Ok(value) => Some(Written {
                value,
                origin: self.origin(key.at),
            }),
            Err(message) => {
                self.problem(value.at, message);
                None
            }
        }
    }

    fn read_list(&mut self, name: &str, value: &Item) {
        let (Toml::Tables(items) | Toml::Array(items)) = &value.value else {
            let message = format!("there may be several: write [[{name}]]");
            return self.problem(value.at, message);
        };
        for item in items {
            let Toml::Table(table) = &item.value else {
                let message = format!("`{name}` is a list of tables: write [[{name}]]");
                self.problem(item.at, message);
                continue;
            };
            let at = item.at;
            match name {
                "route" => self.read_route(at, table),
                KEY => self.read_key(at, table),
                #[cfg(feature = "jwt")]
                TOKEN_KEY => self.read_token_key(at, table),
                #[cfg(not(feature = "jwt"))]
                "token_key" => {
                    self.problem(at, not_in_this_build("[[token_key]]", "jwt"));
                }
                _ => self.read_listener(at, table),
            }
        }
    }

    /// A string that must be there.
    pub(super) fn string(&mut self, at: usize, table: &Table, name: &str) -> Option<String> {
        match table.get(name) {
            Some(Item {
                value: Toml::String(text),
                ..
            }) => Some(text.clone()),
            Some(other) => {
                self.problem(other.at, format!("`{name}` wants a string"));
                None
            }
            None => {
                self.problem(at, format!("`{name}` is missing here"));
                None
            }
        }
    }

    fn read_listener(&mut self, at: usize, table: &Table) {
        for (key, _) in table.entries() {
            let name = key.name.as_str();
            if !LISTENER_NAMES.contains(&name) {
                let message = unknown("key", name, &LISTENER_NAMES, " in [[listener]]");
                self.problem(key.at, message);
            }
        }
        let origin = self.origin(at);
        let Some(name) = self.string(at, table, "name") else {
            return;
        };
        let Some(address) = table.get("address") else {
            self.problem(at, "`address` is missing here".to_owned());
            return;
        };
        let proxy_protocol = match table.get("proxy_protocol") {
            None => false,
            Some(item) => match Value::from_toml(Kind::Switch, "proxy_protocol", &item.value) {
                Ok(value) => value == Value::Switch(true),
                Err(message) => return self.problem(item.at, message),
            },
        };
        match Value::from_toml(Kind::List, "address", &address.value) {
            Ok(value) => {
                let addresses = value.list();
                self.record.listeners.push(ListenerRecord {
                    name,
                    addresses,
                    proxy_protocol,
                    origin,
                });
            }
            Err(message) => self.problem(address.at, message),
        }
    }

    fn read_route(&mut self, at: usize, table: &Table) {
        let origin = self.origin(at);
        let path = self.string(at, table, "path");
        let dialect = self.string(at, table, "dialect");
        let listener = match table.get("listener") {
            Some(_) => self.string(at, table, "listener"),
            None => Some(MAIN.to_owned()),
        };
        let (Some(path), Some(dialect), Some(listener)) = (path, dialect, listener) else {
            return;
        };
        let Some(dialect) = Dialect::ALL.into_iter().find(|d| d.name() == dialect) else {
            let at = table.get("dialect").map_or(at, |item| item.at);
            let message = unknown("dialect", &dialect, &Dialect::ALL.map(Dialect::name), "");
            self.problem(at, message);
            return;
        };
        if let Some(feature) = dialect.missing_feature() {
            let name = dialect.name();
            let message = not_in_this_build(&format!("dialect {name:?}"), feature);
            let at = table.get("dialect").map_or(at, |item| item.at);
            return self.problem(at, message);
        }
        let all = known_in_route(dialect);
        let mut settings = Settings::default();
        for (key, value) in table.entries() {
            let name = key.name.as_str();
            if ROUTE_NAMES.contains(&name) {
                continue;
            }
            let Some(known) = find(&all, name) else {
                let mut names = names_of(&all);
                names.extend(ROUTE_NAMES);
                let place = format!(" in a route of dialect {:?}", dialect.name());
                let section = dialect.section();
                let message = if name == CHANNELS && CHANNELS_SECTIONS.contains(&section) {
                    format!(
                        "the routes of {section} share their channels: write [[{section}.{CHANNELS}]]"
                    )
                } else {
                    unknown("key", name, &names, &place)
                };
                self.problem(key.at, message);
                continue;
            };
            if let Some(written) = self.value(known, key, value) {
                settings.put("", known.name, written);
            }
        }
        self.record.routes.push(RouteRecord {
            path,
            listener,
            dialect,
            settings,
            origin,
        });
    }
}

/// What to say about something that another build has.
fn not_in_this_build(what: &str, feature: &str) -> String {
    format!("{what} is not in this build: `cargo build --release --features {feature}` has it")
}

/// What to say about a name that is none, with the nearest one or the table where it belongs.
pub(super) fn unknown(what: &str, name: &str, names: &[&str], place: &str) -> String {
    let mut message = format!("unknown {what} {name:?}{place}");
    let elsewhere = || {
        let global = global_settings().map(|s| (s.section, s.name));
        let route = route_settings().map(|s| (s.section, s.name));
        route.chain(global).find(|(_, n)| *n == name)
    };
    if let Some(near) = nearest(name, names) {
        message += &format!(", did you mean {near:?}?");
    } else if let ("key", Some((section, _))) = (what, elsewhere()) {
        message += &match section {
            "" => ", it belongs to the top of the file, before the first [table]".to_owned(),
            _ => format!(", it belongs to [{section}]"),
        };
    }
    message
}
