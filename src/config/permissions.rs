//! `[[key]]`: keys that allow some things and not others, and who may come with them.
//!
//! ```toml
//! [[key]]
//! key = "…"
//! user = "ann"                      # optional; `{user}` below stands for it
//! subscribe = ["news.*", "user.{user}.*"]
//! publish = ["chat"]
//! ```
//!
//! Such a key opens every route but those with keys of their own (setting `shared_keys`). Dialects that know channels ask what
//! it allows; the others want a right to all of them, and pages that look after the server the right `admin`.

use std::sync::Arc;

use super::build::{Build, Wrong};
use super::dialects::Dialect;
use super::document::{Item, Key, Table};
use super::record::{File, Origin, Record, unknown};
use super::table::RouteValues;
use super::value::{COVERED, Kind, Value, quoted};
use crate::hub::check_channel_name;
use crate::server::{Keys, Origins, RouteSettings};
use crate::token::{Action, Grant, Rights};

/// The list of tables.
pub(super) const KEY: &str = "key";
const USER: &str = "user";

/// One table of the list. No `Debug` of the key.
pub(crate) struct KeyRecord {
    pub(crate) key: String,
    user: Option<String>,
    rights: Rights,
    pub(crate) origin: Origin,
}

impl std::fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRecord({})", self.origin)
    }
}

impl KeyRecord {
    /// What it says, as it is written in TOML, with the key covered.
    pub(super) fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = vec![(KEY, quoted(COVERED))];
        entries.extend(self.user.iter().map(|user| (USER, quoted(user))));
        entries.extend(entries_of(&self.rights));
        entries
    }
}

/// The rights of some actions, as they are written in TOML.
pub(super) fn entries_of(rights: &Rights) -> impl Iterator<Item = (&'static str, String)> {
    Action::ALL.into_iter().filter_map(|action| {
        let patterns: Vec<String> = rights.written(action).collect();
        let list = Value::List(patterns).to_toml(Kind::List);
        (list != "[]").then_some((action.name(), list))
    })
}

/// Every key that allows some things.
pub(super) fn keys_with_grants(record: &Record) -> Vec<(String, Arc<Grant>)> {
    let all = record.keys.iter().map(|key| {
        let grant = Grant::new(key.user.as_deref().unwrap_or_default(), &key.rights);
        (key.key.clone(), Arc::new(grant))
    });
    all.collect()
}

impl File<'_> {
    pub(super) fn read_key(&mut self, at: usize, table: &Table) {
        let origin = self.origin(at);
        let Some(key) = self.string(at, table, KEY) else {
            return;
        };
        let key_at = table.get(KEY).map_or(at, |item| item.at);
        if key == COVERED {
            let message = format!(
                "{COVERED:?} stands for a key that --print-config did not show: put the key there"
            );
            return self.problem(key_at, message);
        }
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            let message = "a key is made of printable ASCII without spaces, and this one is not";
            return self.problem(key_at, message.to_owned());
        }
        if let Some(earlier) = self.key_called(&key) {
            let message = format!("the same key stands at {earlier} too");
            return self.problem(key_at, message);
        }
        let mut user = None;
        let mut rights = Rights::default();
        for (name, value) in table.entries() {
            match name.name.as_str() {
                KEY => {}
                USER => {
                    let Some(text) = self.string(at, table, USER) else {
                        return;
                    };
                    if let Err(why) = check_channel_name(&text) {
                        return self.problem(value.at, format!("`{USER}`: {why}"));
                    }
                    user = Some(text);
                }
                _ => {
                    if !self.read_right(&mut rights, name, value, &[KEY, USER], "[[key]]") {
                        return;
                    }
                }
            }
        }
        if rights.is_empty() {
            let message = "this key allows nothing: `subscribe`, `publish`, `presence`, `history` and \
                           `admin` are lists of channels; a key that opens everything stands in `keys`";
            return self.problem(at, message.to_owned());
        }
        if rights.name_a_user() && user.is_none() {
            let message =
                "`{user}` stands for the `user` of this key, and there is none".to_owned();
            return self.problem(at, message);
        }
        self.add_key(KeyRecord {
            key,
            user,
            rights,
            origin,
        });
    }

    /// One list of patterns; `false`: it was wrong, and has been told.
    pub(super) fn read_right(
        &mut self,
        rights: &mut Rights,
        key: &Key,
        value: &Item,
        others: &[&str],
        place: &str,
    ) -> bool {
        let name = key.name.as_str();
        let Some(action) = Action::ALL.into_iter().find(|a| a.name() == name) else {
            let mut names: Vec<&str> = Action::ALL.map(Action::name).to_vec();
            names.extend(others);
            let message = unknown("key", name, &names, &format!(" in {place}"));
            self.problem(key.at, message);
            return false;
        };
        let patterns = match Value::from_toml(Kind::List, name, &value.value) {
            Ok(patterns) => patterns.list(),
            Err(message) => {
                self.problem(value.at, message);
                return false;
            }
        };
        for pattern in patterns {
            if let Err(why) = rights.add(action, &pattern) {
                self.problem(value.at, format!("`{name}`: {pattern:?}: {why}"));
                return false;
            }
        }
        let admin = rights.written(Action::Admin).all(|pattern| pattern == "*");
        if !admin {
            let message = "`admin` knows no channels: it is [\"*\"] or nothing".to_owned();
            self.problem(value.at, message);
        }
        admin
    }
}

impl Build<'_> {
    /// Lets the keys of everybody in.
    pub(super) fn admit(&self, dialect: Dialect, mut keys: Keys) -> Keys {
        for (key, grant) in &self.keys {
            keys = keys.shared_grant(key, Arc::clone(grant));
        }
        #[cfg(feature = "jwt")]
        if let Some(verifier) = &self.verifier {
            keys = keys.tokens(Arc::clone(verifier));
        }
        dialect
            .needs()
            .iter()
            .fold(keys, |keys, action| keys.need(*action))
    }

    /// Where else a key may stand, and what has to go with that.
    pub(super) fn check_token_places(
        &self,
        dialect: Dialect,
        values: &RouteValues,
        settings: &mut RouteSettings,
        wrong: &mut Wrong,
    ) {
        if !values.key_cookie.is_empty() {
            let name = values.key_cookie.as_str();
            if !name.bytes().all(super::build::is_token_byte) {
                wrong.say("key_cookie", format!("{name:?} is no name of a cookie"));
            }
            settings.keys = std::mem::take(&mut settings.keys).cookie(name);
        }
        if values.key_in_message {
            if dialect != Dialect::PubSub {
                let message = format!(
                    "`key_in_message` needs a dialect with a message for it (pubsub), and {:?} has none",
                    dialect.name()
                );
                wrong.say("key_in_message", message);
            }
            settings.keys = std::mem::take(&mut settings.keys).in_message();
        }
    }
}

/// A browser sends cookies for whichever page asks.
pub(super) fn check_cookie(values_cookie: &str, origins: &Origins, wrong: &mut Wrong) {
    if !values_cookie.is_empty() && *origins == Origins::Any {
        let message = "`key_cookie` with `origins` = \"*\" would let every page that a user visits speak in that \
                       user's name: write the pages into `origins`";
        wrong.say("key_cookie", message.to_owned());
    }
}
