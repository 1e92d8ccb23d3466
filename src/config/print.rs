//! The effective settings as TOML that can be read again.
//!
//! What holds for all routes stands in `[limits]`, what a dialect does differently in its table, what a route
//! does differently in the route: each value once, at the place where it would have to be changed.

use std::fmt::Write;

use super::Config;
use super::build::{globals, values, written};
use super::channels::{CHANNELS, SECTIONS as CHANNELS_SECTIONS};
use super::dialects::{CONTROL, MAIN, SECTIONS, TAPR};
use super::permissions::KEY;
use super::record::{Origin, Record, origin_of};
use super::table::{global_settings, route_settings};
use super::value::quoted;

pub(super) fn print(config: &Config) -> String {
    let record = &config.record;
    let mut out = String::new();
    let (global, base) = (globals(record), values(record, ""));
    for section in ["", "log", "limits", "calls", "tokens"] {
        if section == "tokens" && !cfg!(feature = "jwt") {
            continue;
        }
        heading(&mut out, section);
        for setting in global_settings().filter(|s| s.section == section) {
            let origin = match record.settings.get(section, setting.name) {
                Some(written) => written.origin.clone(),
                None => default_origin(section, setting.name, &global.worker.hub),
            };
            let value = (setting.get)(&global).to_toml(setting.kind);
            entry(&mut out, setting.name, &value, &origin);
        }
        for setting in route_settings().filter(|s| s.section == section) {
            let origin = record.settings.origin(section, setting.name);
            let value = (setting.get)(&base).to_toml(setting.kind);
            entry(&mut out, setting.name, &value, &origin);
        }
    }
    for section in SECTIONS {
        heading(&mut out, section);
        for setting in global_settings().filter(|s| s.section == section) {
            let origin = record.settings.origin(section, setting.name);
            let value = (setting.get)(&global).to_toml(setting.kind);
            entry(&mut out, setting.name, &value, &origin);
        }
        let of_dialect = values(record, section);
        for setting in route_settings() {
            let value = (setting.get)(&of_dialect);
            let own = setting.section == section;
            let differs =
                ["", "limits"].contains(&setting.section) && value != (setting.get)(&base);
            if own || differs {
                let origin = origin_of(written(record, section, setting.section, setting.name));
                entry(
                    &mut out,
                    setting.name,
                    &value.to_toml(setting.kind),
                    &origin,
                );
            }
        }
        if CHANNELS_SECTIONS.contains(&section) {
            for channels in record.channels.iter().filter(|c| c.section == section) {
                _ = write!(out, "\n[[{section}.{CHANNELS}]]\n");
                for (name, value) in channels.entries() {
                    entry(&mut out, name, &value, &channels.origin);
                }
            }
        }
    }
    for key in &record.keys {
        _ = write!(out, "\n[[{KEY}]]\n");
        for (name, value) in key.entries() {
            entry(&mut out, name, &value, &key.origin);
        }
    }
    #[cfg(feature = "jwt")]
    for key in &record.token_keys {
        _ = write!(out, "\n[[{}]]\n", super::token_keys::TOKEN_KEY);
        for (name, value) in key.entries() {
            entry(&mut out, name, &value, &key.origin);
        }
    }
    listeners(&mut out, config, record);
    routes(&mut out, config);
    out
}

fn default_origin(section: &str, name: &str, hub: &crate::hub::HubLimits) -> Origin {
    let fixed = crate::hub::HubLimits::default().memory_budget_bytes;
    match name {
        _ if !section.is_empty() => Origin::Default,
        "connections_max" => Origin::Machine("open files of this process - 64"),
        "memory_budget_bytes" if hub.memory_budget_bytes != fixed => {
            Origin::Machine("a quarter of this process's memory limit")
        }
        _ => Origin::Default,
    }
}

fn listeners(out: &mut String, config: &Config, record: &Record) {
    for listener in config
        .listeners
        .iter()
        .filter(|l| ![MAIN, CONTROL, TAPR].contains(&l.name.as_str()))
    {
        let origin = record
            .listeners
            .iter()
            .find(|l| l.name == listener.name)
            .map(|l| &l.origin);
        let origin = origin.unwrap_or(&Origin::Default);
        let addresses: Vec<String> = listener
            .addresses
            .iter()
            .map(|a| quoted(&a.to_string()))
            .collect();
        out.push_str("\n[[listener]]\n");
        entry(out, "name", &quoted(&listener.name), origin);
        entry(
            out,
            "address",
            &format!("[{}]", addresses.join(", ")),
            origin,
        );
        if listener.declares_proxy_protocol {
            entry(out, "proxy_protocol", "true", origin);
        }
    }
}

fn routes(out: &mut String, config: &Config) {
    for route in &config.routes {
        let record = &route.record;
        out.push_str("\n[[route]]\n");
        entry(out, "path", &quoted(&record.path), &record.origin);
        entry(out, "listener", &quoted(&record.listener), &record.origin);
        entry(
            out,
            "dialect",
            &quoted(record.dialect.name()),
            &record.origin,
        );
        for setting in route_settings() {
            if let Some(written) = record.settings.get("", setting.name) {
                let value = written.value.to_toml(setting.kind);
                entry(out, setting.name, &value, &written.origin);
            }
        }
    }
}

fn heading(out: &mut String, section: &str) {
    if !section.is_empty() {
        _ = write!(out, "\n[{section}]\n");
    }
}

fn entry(out: &mut String, name: &str, value: &str, origin: &Origin) {
    let mut comment = String::new();
    crate::log::escape(&mut comment, &origin.to_string());
    _ = writeln!(out, "{:<40} # {comment}", format!("{name} = {value}"));
}
