//! What the dialect `apigw` needs beyond settings: its back ends and keys, and one gateway for all routes that say the
//! same.

use super::Config;
use super::build::Wrong;
use super::dialects::{Dialect, Options};
use super::record::Record;
use super::table::macros::{list, number, switch};
use super::table::{BYTES, COUNT, MS, RouteValues, Setting};
use super::value::{COVERED, Kind, Value};
use crate::dialect::{ApiGateway, ApiGatewayOptions, AppKeyError, BackEndError};
use crate::hub::Target;

/// The settings of a route that devices come to.
pub(super) const SETTINGS: &[Setting<RouteValues>] = &[
    list!(
        "apigw",
        "back_ends",
        Kind::List,
        options.apigw_text.back_ends
    ),
    list!(
        "apigw",
        "app_keys",
        Kind::Secrets,
        options.apigw_text.app_keys
    ),
    number!(
        "apigw",
        "call_timeout_ms",
        1,
        MS,
        options.apigw.call_timeout_ms
    ),
    number!("apigw", "keep_alive_ms", 1, MS, options.apigw.keep_alive_ms),
    number!(
        "apigw",
        "keep_alive_misses",
        1,
        1000,
        options.apigw.keep_alive_misses
    ),
    number!("apigw", "lifetime_ms", 0, MS, options.apigw.lifetime_ms),
    number!("apigw", "cut_ms", 0, MS, options.apigw.cut_ms),
    number!("apigw", "takeover_ms", 0, MS, options.apigw.takeover_ms),
    switch!(
        "apigw",
        "takeover_keeps_registration",
        options.apigw.takeover_keeps_registration
    ),
    number!(
        "apigw",
        "calls_per_second",
        0,
        COUNT,
        options.apigw.calls_per_second
    ),
    number!("apigw", "calls_burst", 1, COUNT, options.apigw.calls_burst),
    number!(
        "apigw",
        "in_flight_max",
        1,
        COUNT,
        options.apigw.in_flight_max
    ),
    number!("apigw", "devices_max", 1, COUNT, options.apigw.devices_max),
    number!(
        "apigw",
        "call_headers_max",
        1,
        10_000,
        options.apigw.call_headers_max
    ),
    number!(
        "apigw",
        "call_target_bytes_max",
        1,
        BYTES,
        options.apigw.call_target_bytes_max
    ),
    list!(
        "apigw",
        "notify_paths",
        Kind::List,
        options.apigw.notify_paths
    ),
    list!(
        "apigw",
        "register_paths",
        Kind::List,
        options.apigw.register_paths
    ),
    switch!("apigw", "notify_wait", options.apigw.notify_wait),
    number!(
        "apigw",
        "notify_timeout_ms",
        1,
        MS,
        options.apigw.notify_timeout_ms
    ),
    number!(
        "apigw",
        "notify_pending_max",
        1,
        COUNT,
        options.apigw.notify_pending_max
    ),
    switch!(
        "apigw",
        "notify_from_anywhere",
        options.apigw.notify_from_anywhere
    ),
    number!(
        "apigw",
        "signature_age_ms",
        0,
        MS,
        options.apigw.signature_age_ms
    ),
    number!("apigw", "nonces_max", 1, COUNT, options.apigw.nonces_max),
];

/// Back ends and keys as they were written.
#[derive(Debug, Clone, Default)]
pub(crate) struct ApigwText {
    pub(crate) back_ends: Vec<String>,
    pub(crate) app_keys: Vec<String>,
}

/// The largest answer of a back end, where nothing else was said: as large as a message may be.
pub(super) const BACK_END_ANSWER_BYTES_MAX: usize = 1 << 20;

/// Whether there is a gateway.
pub(super) fn calls_back_ends(record: &Record) -> bool {
    record
        .routes
        .iter()
        .any(|r| r.dialect == Dialect::ApiGateway)
}

/// Where requests go, and who may make them.
pub(super) fn read_apis(options: &mut Options, wrong: &mut Wrong) {
    let (text, apigw) = (&options.apigw_text, &mut options.apigw);
    if text.back_ends.is_empty() {
        let message = "a gateway needs a back end: write `back_ends` = [\"/=http://HOST:PORT\"] in [apigw] or the route";
        wrong.say("back_ends", message.to_owned());
    }
    for row in &text.back_ends {
        match row.parse() {
            Ok(row) => apigw.back_ends.0.push(row),
            Err(error) => {
                let error: BackEndError = error;
                wrong.say("back_ends", format!("`back_ends`: {error}"));
            }
        }
    }
    for key in &text.app_keys {
        match key.parse() {
            Ok(key) => apigw.app_keys.0.push(key),
            Err(_) if key == COVERED => {
                let message = format!(
                    "{COVERED:?} stands for a key that --print-config did not show: put the key there"
                );
                wrong.say("app_keys", message);
            }
            Err(error) => {
                let error: AppKeyError = error;
                wrong.say("app_keys", format!("`app_keys`: {error}"));
            }
        }
    }
    for (name, paths) in [
        ("notify_paths", &apigw.notify_paths),
        ("register_paths", &apigw.register_paths),
    ] {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#%".contains(&byte);
        let is_path = |path: &&String| path.starts_with('/') && path.bytes().all(is_plain);
        if let Some(path) = paths.iter().find(|path| !is_path(path)) {
            let message = format!(
                "`{name}`: {path:?} is no path: it begins with / and has neither escapes nor a query"
            );
            wrong.say(name, message);
        }
    }
}

/// The gateways of all routes: those that are to do the same share one, and with it their devices.
#[derive(Default)]
pub(super) struct ApiGateways<'c>(Vec<(&'c ApiGatewayOptions, ApiGateway)>);

impl<'c> ApiGateways<'c> {
    pub(super) fn of(&mut self, options: &'c ApiGatewayOptions) -> ApiGateway {
        if let Some((_, known)) = self.0.iter().find(|(known, _)| *known == options) {
            return known.clone();
        }
        let gateway = ApiGateway::new(options.clone());
        self.0.push((options, gateway.clone()));
        gateway
    }
}

impl Config {
    /// The back ends of all gateways.
    pub(super) fn back_ends(&self) -> impl Iterator<Item = &Target> {
        let routes = self.routes.iter();
        let routes = routes.filter(|r| r.dialect == Dialect::ApiGateway);
        let rows = routes.flat_map(|route| &route.options.apigw.back_ends.0);
        rows.map(|row| row.target())
    }
}
