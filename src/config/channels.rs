//! `[[pubsub.channels]]`: what holds for some channels and not for others.
//!
//! The list stands in the dialect's table and not in a route, because the dialect's routes share their channels. An
//! option is named and written like the setting of routes that it takes the place of.

use super::document::{Item, Toml};
use super::record::{File, Origin, unknown};
use super::table::{RouteValues, Setting, route_settings};
use super::value::{Value, quoted};
use crate::hub::{ChannelOptions, SlowPolicy};

/// The key in the table of the dialect.
pub(super) const CHANNELS: &str = "channels";
/// The dialect's table.
pub(super) const SECTION: &str = "pubsub";
const MATCH: &str = "match";
const SLOW: &str = "slow";

/// One table of the list.
#[derive(Debug)]
pub(crate) struct ChannelRecord {
    pub(crate) options: ChannelOptions,
    pub(crate) origin: Origin,
}

impl ChannelRecord {
    /// What it says, as it is written in TOML.
    pub(super) fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = vec![(MATCH, quoted(&self.options.names))];
        if let (Some(slow), Some(setting)) = (self.options.slow, slow_setting()) {
            let mut values = RouteValues::default();
            values.settings.session.slow = slow;
            entries.push((SLOW, (setting.get)(&values).to_toml(setting.kind)));
        }
        entries
    }
}

/// The setting of routes that `slow` stands in the place of.
fn slow_setting() -> Option<&'static Setting<RouteValues>> {
    route_settings().find(|setting| setting.name == SLOW)
}

fn slow_of(value: &Toml) -> Result<Option<SlowPolicy>, String> {
    let Some(setting) = slow_setting() else {
        return Ok(None);
    };
    let value = Value::from_toml(setting.kind, SLOW, value)?;
    let mut values = RouteValues::default();
    (setting.set)(&mut values, &value);
    Ok(Some(values.settings.session.slow))
}

impl File<'_> {
    pub(super) fn read_channels(&mut self, value: &Item) {
        let (Toml::Tables(items) | Toml::Array(items)) = &value.value else {
            let message = format!("there may be several: write [[{SECTION}.{CHANNELS}]]");
            return self.problem(value.at, message);
        };
        for item in items {
            self.read_channels_of_a_name(item);
        }
    }

    fn read_channels_of_a_name(&mut self, item: &Item) {
        let Toml::Table(table) = &item.value else {
            let message =
                format!("`{CHANNELS}` is a list of tables: write [[{SECTION}.{CHANNELS}]]");
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
            match key.name.as_str() {
                MATCH => {}
                SLOW => match slow_of(&value.value) {
                    Ok(slow) => options.slow = slow,
                    Err(message) => return self.problem(value.at, message),
                },
                name => {
                    let place = format!(" in [[{SECTION}.{CHANNELS}]]");
                    let message = unknown("key", name, &[MATCH, SLOW], &place);
                    return self.problem(key.at, message);
                }
            }
        }
        if options == ChannelOptions::of(&options.names) {
            let message = format!("nothing is said of these channels: `{SLOW}` is missing here");
            return self.problem(item.at, message);
        }
        let origin = self.origin(item.at);
        if let Some(earlier) = self.channels_called(&options.names) {
            let message = format!("`{MATCH}` = {:?} stands at {earlier} too", options.names);
            return self.problem(names_at, message);
        }
        self.add_channels(ChannelRecord { options, origin });
    }
}
