//! What was written, and where: the file first, then the environment, then flags.
//!
//! Nothing is put together here. Each value is checked against its setting's kind, so that a mistake is
//! reported at the place where it was made; whether the values make sense together is decided later.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::dialects::{Dialect, MAIN, SECTIONS};
use super::table::{GLOBAL, Global, ROUTE, RouteValues};
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

#[derive(Debug)]
pub(crate) struct ListenerRecord {
    pub(crate) name: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) origin: Origin,
}

#[derive(Debug, Clone)]
pub(crate) struct RouteRecord {
    pub(crate) path: String,
    pub(crate) listener: String,
    pub(crate) dialect: Dialect,
    pub(crate) settings: BTreeMap<&'static str, Written>,
    pub(crate) origin: Origin,
}

/// Everything that was written, by table and name.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) settings: BTreeMap<(&'static str, &'static str), Written>,
    pub(crate) listeners: Vec<ListenerRecord>,
    pub(crate) routes: Vec<RouteRecord>,
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
fn known_in(section: &str) -> impl Iterator<Item = Known> {
    let global = GLOBAL
        .iter()
        .filter(move |s| s.section == section)
        .map(|s| Known {
            name: s.name,
            kind: s.kind,
            fits: Fits::Global(s.set),
        });
    let dialect = SECTIONS.contains(&section);
    let route = ROUTE
        .iter()
        .filter(move |s| {
            s.section == section || dialect && (s.section.is_empty() || s.section == "limits")
        })
        .map(|s| Known {
            name: s.name,
            kind: s.kind,
            fits: Fits::Route(s.set),
        });
    global.chain(route)
}

/// The settings that may stand in a route of this dialect.
fn known_in_route(dialect: Dialect) -> impl Iterator<Item = Known> {
    // The routes of these share one state, so their options are the server's and not a route's.
    let own = match dialect.section() {
        "hierachain" | "tapr" => "",
        section => section,
    };
    ROUTE
        .iter()
        .filter(move |s| s.section.is_empty() || s.section == "limits" || s.section == own)
        .map(|s| Known {
            name: s.name,
            kind: s.kind,
            fits: Fits::Route(s.set),
        })
}

/// Names in a route that are no settings.
const ROUTE_NAMES: [&str; 3] = ["path", "listener", "dialect"];
const TABLES: [&str; 8] = [
    "limits",
    "log",
    "calls",
    "hierachain",
    "pubsub",
    "chat",
    "echo",
    "tapr",
];
const LISTS: [&str; 2] = ["listener", "route"];

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
            self.settings.insert(("tapr", "callback"), written);
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
        let mut file = File {
            path,
            text: &text,
            record: self,
        };
        match DeTable::parse(&text) {
            Ok(table) => file.read(table.get_ref()),
            Err(error) => {
                let at = error.span().unwrap_or(0..0);
                file.problem(at, error.message().trim().to_owned());
            }
        }
    }

    fn read_environment(&mut self, environment: &[(String, String)]) {
        let all: Vec<(&'static str, Known)> = std::iter::once("")
            .chain(TABLES)
            .flat_map(|section| known_in(section).map(move |known| (section, known)))
            .collect();
        let variable = |section: &str, name: &str| {
            let path = if section.is_empty() {
                name.to_owned()
            } else {
                format!("{section}__{name}")
            };
            format!("{PREFIX}{}", path.to_ascii_uppercase())
        };
        for (name, text) in environment {
            if !name.starts_with(PREFIX)
                || OTHER_VARIABLES.contains(&name.as_str())
                || is_link(name)
            {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            let found = all
                .iter()
                .find(|(section, known)| variable(section, known.name) == *name);
            let Some((section, known)) = found else {
                let names: Vec<String> = all.iter().map(|(s, k)| variable(s, k.name)).collect();
                let message = unknown("setting", name, names.iter().map(String::as_str), "");
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
        let Some(known) = known_in(section).find(|known| known.name == name) else {
            return;
        };
        let origin = Origin::Flag(flag);
        match known.kind {
            Kind::List | Kind::Secrets => {
                let value = Value::List(values.to_vec());
                self.settings
                    .insert((section, known.name), Written { value, origin });
            }
            _ => {
                let text = values.last().map(String::as_str).unwrap_or_default();
                self.take(section, known, text, origin);
            }
        }
    }

    fn take(&mut self, section: &'static str, known: Known, text: &str, origin: Origin) {
        match Value::from_text(known.kind, known.name, text).and_then(|v| known.check(v)) {
            Ok(value) => {
                self.settings
                    .insert((section, known.name), Written { value, origin });
            }
            Err(message) => self.problems.push(Problem::at(origin, message)),
        }
    }
}

/// Kubernetes and container links put variables of this form beside every process when a service is called
/// `dunlin`.
fn is_link(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    rest == "PORT" || rest == "NAME" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}

/// A file while it is read.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
    record: &'a mut Record,
}

impl File<'_> {
    fn origin(&self, at: Range<usize>) -> Origin {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        Origin::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }

    fn problem(&mut self, at: Range<usize>, message: String) {
        let problem = Problem::at(self.origin(at), message);
        self.record.problems.push(problem);
    }

    fn read(&mut self, top: &DeTable<'_>) {
        for (key, value) in top.iter() {
            let name: &str = key.get_ref();
            if let Some(section) = TABLES.into_iter().find(|table| *table == name) {
                match value.get_ref() {
                    DeValue::Table(table) => self.read_section(section, table),
                    _ => self.problem(value.span(), format!("`{name}` is a table: write [{name}]")),
                }
            } else if LISTS.contains(&name) {
                self.read_list(name, value);
            } else {
                self.read_setting("", key, value);
            }
        }
    }

    fn read_section(&mut self, section: &'static str, table: &DeTable<'_>) {
        for (key, value) in table.iter() {
            self.read_setting(section, key, value);
        }
    }

    fn read_setting(
        &mut self,
        section: &'static str,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let name: &str = key.get_ref();
        let Some(known) = known_in(section).find(|known| known.name == name) else {
            let mut names: Vec<&str> = known_in(section).map(|known| known.name).collect();
            if section.is_empty() {
                names.extend(TABLES);
                names.extend(LISTS);
            }
            let place = if section.is_empty() {
                String::new()
            } else {
                format!(" in [{section}]")
            };
            let message = unknown("key", name, names, &place);
            self.problem(key.span(), message);
            return;
        };
        match Value::from_toml(known.kind, name, value.get_ref()).and_then(|v| known.check(v)) {
            Ok(value) => {
                let origin = self.origin(key.span());
                self.record
                    .settings
                    .insert((section, known.name), Written { value, origin });
            }
            Err(message) => self.problem(value.span(), message),
        }
    }

    fn read_list(&mut self, name: &str, value: &Spanned<DeValue<'_>>) {
        let tables = value.get_ref().as_array().map(|items| {
            let tables = items
                .iter()
                .filter_map(|item| Some((item.span(), item.get_ref().as_table()?)));
            tables.collect::<Vec<_>>()
        });
        let Some(tables) = tables else {
            self.problem(
                value.span(),
                format!("there may be several: write [[{name}]]"),
            );
            return;
        };
        for (at, table) in tables {
            if name == "route" {
                self.read_route(at, table);
            } else {
                self.read_listener(at, table);
            }
        }
    }

    /// A string that must be there.
    fn string(&mut self, at: Range<usize>, table: &DeTable<'_>, name: &str) -> Option<String> {
        match table.get(name).map(|value| (value.span(), value.get_ref())) {
            Some((_, DeValue::String(text))) => Some(text.to_string()),
            Some((at, _)) => {
                self.problem(at, format!("`{name}` wants a string"));
                None
            }
            None => {
                self.problem(at, format!("`{name}` is missing here"));
                None
            }
        }
    }

    fn read_listener(&mut self, at: Range<usize>, table: &DeTable<'_>) {
        for (key, _) in table.iter() {
            if !["name", "address"].contains(&&**key.get_ref()) {
                let message = unknown(
                    "key",
                    key.get_ref(),
                    ["name", "address"],
                    " in [[listener]]",
                );
                self.problem(key.span(), message);
            }
        }
        let origin = self.origin(at.clone());
        let Some(name) = self.string(at.clone(), table, "name") else {
            return;
        };
        let Some(address) = table.get("address") else {
            self.problem(at, "`address` is missing here".to_owned());
            return;
        };
        match Value::from_toml(Kind::List, "address", address.get_ref()) {
            Ok(value) => {
                let addresses = value.list();
                self.record.listeners.push(ListenerRecord {
                    name,
                    addresses,
                    origin,
                });
            }
            Err(message) => self.problem(address.span(), message),
        }
    }

    fn read_route(&mut self, at: Range<usize>, table: &DeTable<'_>) {
        let origin = self.origin(at.clone());
        let path = self.string(at.clone(), table, "path");
        let dialect = self.string(at.clone(), table, "dialect");
        let listener = match table.get("listener") {
            Some(_) => self.string(at.clone(), table, "listener"),
            None => Some(MAIN.to_owned()),
        };
        let (Some(path), Some(dialect), Some(listener)) = (path, dialect, listener) else {
            return;
        };
        let Some(dialect) = Dialect::ALL.into_iter().find(|d| d.name() == dialect) else {
            let at = table.get("dialect").map_or(at, Spanned::span);
            let message = unknown("dialect", &dialect, Dialect::ALL.map(Dialect::name), "");
            self.problem(at, message);
            return;
        };
        let mut settings = BTreeMap::new();
        for (key, value) in table.iter() {
            let name: &str = key.get_ref();
            if ROUTE_NAMES.contains(&name) {
                continue;
            }
            let Some(known) = known_in_route(dialect).find(|known| known.name == name) else {
                let names = known_in_route(dialect)
                    .map(|known| known.name)
                    .chain(ROUTE_NAMES);
                let place = format!(" in a route of dialect {:?}", dialect.name());
                let message = unknown("key", name, names, &place);
                self.problem(key.span(), message);
                continue;
            };
            match Value::from_toml(known.kind, name, value.get_ref()).and_then(|v| known.check(v)) {
                Ok(value) => {
                    let origin = self.origin(key.span());
                    settings.insert(known.name, Written { value, origin });
                }
                Err(message) => self.problem(value.span(), message),
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

/// What to say about a name that is none, with the nearest one or the table where it belongs.
pub(crate) fn unknown<'n>(
    what: &str,
    name: &str,
    names: impl IntoIterator<Item = &'n str>,
    place: &str,
) -> String {
    let mut message = format!("unknown {what} {name:?}{place}");
    let elsewhere = || {
        let global = GLOBAL.iter().map(|s| (s.section, s.name));
        let route = ROUTE.iter().map(|s| (s.section, s.name));
        global.chain(route).find(|(_, n)| *n == name)
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
