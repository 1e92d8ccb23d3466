//! `[[pubsub.channels]]` and `[[hierachain.channels]]`: what holds for some channels, or chains, and not for others.
//!
//! The list stands in the dialect's table and not in a route, because the dialect's routes share their channels. An
//! option is named and written like the setting of routes that it takes the place of. Of chains only what they keep may be
//! said (feature `hierachain-history`): the dialect has no word for the rest.

use super::document::{Item, Toml};
use super::record::{File, Origin, unknown};
use super::table::{COUNT, MS, TOTAL_BYTES};
use super::value::{Kind, Value, quoted};
use crate::hub::{ChannelOptions, SlowPolicy, Who};

/// The key in the table of the dialect.
pub(super) const CHANNELS: &str = "channels";
/// The tables of dialects that have such a list.
pub(super) const SECTIONS: &[&str] = &[
    "pubsub",
    #[cfg(feature = "hierachain-history")]
    HIERACHAIN,
];
#[cfg(feature = "hierachain-history")]
const HIERACHAIN: &str = "hierachain";
const MATCH: &str = "match";

/// One option: its name, what it may be, and the field it fills.
struct Known {
    name: &'static str,
    kind: Kind,
    /// `None`: nothing is said.
    get: fn(&ChannelOptions) -> Option<Value>,
    /// Answers false for a number that the field cannot hold.
    set: fn(&mut ChannelOptions, &Value) -> bool,
}

/// Words that stand for values.
macro_rules! choice {
    ($field:ident, $($word:literal = $value:path),+) => {
        Known {
            name: stringify!($field),
            kind: Kind::Choice(&[$($word),+]),
            get: |o| o.$field.map(|v| Value::Text(match v { $($value => $word),+ }.to_owned())),
            set: |o, value| {
                o.$field = match value.text() { $($word => Some($value),)+ _ => None };
                o.$field.is_some()
            },
        }
    };
}

/// A number from one to another, both included.
macro_rules! number {
    ($field:ident, $min:expr, $max:expr) => {
        Known {
            name: stringify!($field),
            kind: Kind::Number($min, $max),
            get: |o| o.$field.map(Value::number),
            set: |o, value| value.store(o.$field.insert(0)),
        }
    };
}

/// True or false.
macro_rules! switch {
    ($field:ident) => {
        Known {
            name: stringify!($field),
            kind: Kind::Switch,
            get: |o| o.$field.map(Value::Switch),
            set: |o, value| {
                o.$field = Some(*value == Value::Switch(true));
                true
            },
        }
    };
}

/// Every option, in one line each. What is said here and there is the same word.
const OPTIONS: &[Known] = &[
    choice!(
        slow,
        "close" = SlowPolicy::Close,
        "drop_oldest" = SlowPolicy::DropOldest,
        "latest" = SlowPolicy::Latest
    ),
    number!(history_messages_max, 0, COUNT),
    number!(history_bytes_max, 1, TOTAL_BYTES),
    number!(history_ms_max, 1, MS),
    choice!(
        subscribe,
        "anyone" = Who::Anyone,
        "users" = Who::Users,
        "nobody" = Who::Nobody
    ),
    switch!(publish),
    switch!(presence),
    switch!(join_leave),
    switch!(callback),
    switch!(history_durable),
];

fn option_names(section: &str) -> Vec<&'static str> {
    let names = OPTIONS.iter().map(|known| known.name);
    names.filter(|name| is_option(section, name)).collect()
}

/// Whether it may be said of what the section's dialect has.
#[cfg(feature = "hierachain-history")]
fn is_option(section: &str, name: &str) -> bool {
    section != HIERACHAIN || name.starts_with("history_")
}

#[cfg(not(feature = "hierachain-history"))]
const fn is_option(_: &str, _: &str) -> bool {
    true
}

/// One table of the list.
#[derive(Debug)]
pub(crate) struct ChannelRecord {
    /// The table in which the list stands.
    pub(crate) section: &'static str,
    pub(crate) options: ChannelOptions,
    pub(crate) origin: Origin,
}

impl ChannelRecord {
    /// What it says, as it is written in TOML.
    pub(super) fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = vec![(MATCH, quoted(&self.options.names))];
        entries.extend(OPTIONS.iter().filter_map(|known| {
            let value = (known.get)(&self.options)?;
            Some((known.name, value.to_toml(known.kind)))
        }));
        entries
    }
}

impl File<'_> {
    pub(super) fn read_channels(&mut self, section: &'static str, value: &Item) {
        let (Toml::Tables(items) | Toml::Array(items)) = &value.value else {
            let message = format!("there may be several: write [[{section}.{CHANNELS}]]");
            return self.problem(value.at, message);
        };
        for item in items {
            self.read_channels_of_a_name(section, item);
        }
    }

    fn read_channels_of_a_name(&mut self, section: &'static str, item: &Item) {
        let Toml::Table(table) = &item.value else {
            let message =
                format!("`{CHANNELS}` is a list of tables: write [[{section}.{CHANNELS}]]");
            return self.problem(item.at, message);
        };
        let Some(names) = self.string(item.at, table, MATCH) else {
            return;
        };
        let mut options = ChannelOptions::of(names);
        let names_at = table.get(MATCH).map_or(item.at, |item| item.at);
        if let Err(why) = options.check() {
            return self.problem(names_at, format!("`{MATCH}`: {why}"));
        }
        for (key, value) in table.entries() {
            if key.name == MATCH {
                continue;
            }
            let Some(known) = OPTIONS.iter().find(|known| known.name == key.name) else {
                let place = format!(" in [[{section}.{CHANNELS}]]");
                let known = [&[MATCH], &option_names(section)[..]].concat();
                let message = unknown("key", &key.name, &known, &place);
                return self.problem(key.at, message);
            };
            if !is_option(section, known.name) {
                let names = option_names(section).join(", ");
                let message = format!(
                    "`{}` says nothing of chains: it is one of {names} here",
                    known.name
                );
                return self.problem(key.at, message);
            }
            match Value::from_toml(known.kind, known.name, &value.value) {
                Ok(said) if (known.set)(&mut options, &said) => {}
                Ok(_) => {
                    let message = format!("`{}` is too large for this machine", known.name);
                    return self.problem(value.at, message);
                }
                Err(message) => return self.problem(value.at, message),
            }
        }
        if options == ChannelOptions::of(&options.names) {
            let names = option_names(section).join(", ");
            let message =
                format!("nothing is said of these channels: one of {names} is missing here");
            return self.problem(item.at, message);
        }
        if let Err(why) = options.check() {
            return self.problem(item.at, why.to_owned());
        }
        let origin = self.origin(item.at);
        if let Some(earlier) = self.channels_called(section, &options.names) {
            let message = format!("`{MATCH}` = {:?} stands at {earlier} too", options.names);
            return self.problem(names_at, message);
        }
        self.add_channels(ChannelRecord {
            section,
            options,
            origin,
        });
    }
}
