//! The settings of the dialect `pubsub`, but for those by channel (`channels.rs`).

#[cfg(feature = "presence")]
use super::build::Build;
#[cfg(all(feature = "presence", feature = "signature"))]
use super::table::macros::list;
#[cfg(feature = "presence")]
use super::table::macros::text;
use super::table::macros::{number, switch};
#[cfg(feature = "presence")]
use super::table::{COUNT, Global, MS};
use super::table::{RouteValues, Setting};
#[cfg(all(feature = "presence", feature = "signature"))]
use super::value::COVERED;
use super::value::{Kind, Value};
#[cfg(feature = "presence")]
use crate::dialect::PubSubCallback;
#[cfg(feature = "presence")]
use crate::hub::TargetError;

/// What its routes have together: they share their channels.
#[cfg(feature = "presence")]
pub(super) const GLOBAL: &[Setting<Global>] = &[
    text!("pubsub", "callback", pubsub_callback_url),
    number!(
        "pubsub",
        "callback_timeout_ms",
        1,
        MS,
        pubsub_callback.timeout_ms
    ),
    number!(
        "pubsub",
        "callback_grace_ms",
        0,
        MS,
        pubsub_callback.grace_ms
    ),
    number!(
        "pubsub",
        "callbacks_max",
        1,
        COUNT,
        pubsub_callback.callbacks_max
    ),
    #[cfg(feature = "signature")]
    list!(
        "pubsub",
        "signature_keys",
        Kind::Secrets,
        pubsub_callback.signature_keys.0
    ),
    number!(
        "pubsub",
        "presence_grace_ms",
        0,
        MS,
        worker.hub.presence_grace_ms
    ),
    number!(
        "pubsub",
        "presence_leaving_max",
        0,
        COUNT,
        worker.hub.presence_leaving_max
    ),
];

/// What each route may have of its own.
pub(super) const ROUTE: &[Setting<RouteValues>] = &[
    switch!("pubsub", "clients_publish", options.pubsub.clients_publish),
    number!(
        "pubsub",
        "channels_max",
        1,
        100_000,
        options.pubsub.channels_max
    ),
    number!("pubsub", "batch_max", 1, 100_000, options.pubsub.batch_max),
    switch!("pubsub", "nchan_statuses", options.pubsub.nchan_statuses),
    #[cfg(feature = "presence")]
    number!(
        "pubsub",
        "presence_list_max",
        0,
        100_000,
        options.pubsub.presence_list_max
    ),
    #[cfg(feature = "presence")]
    number!(
        "pubsub",
        "presence_info_bytes_max",
        2,
        65_536,
        options.pubsub.presence_info_bytes_max
    ),
];

#[cfg(feature = "presence")]
impl Build<'_> {
    /// Who is told of channels, and whether that goes with what is said of channels.
    pub(super) fn pubsub_callback(&mut self, global: &Global) -> PubSubCallback {
        let mut callback = global.pubsub_callback.clone();
        let origin = |name| self.record.settings.origin("pubsub", name);
        let url = &global.pubsub_callback_url;
        if url.is_empty() {
            let mut channels = self.record.channels.iter();
            if let Some(asks) = channels.find(|c| c.options.callback == Some(true)) {
                let message = "`callback` = true needs somebody to be told: \
                               write its URL as `callback` in [pubsub]";
                self.problem(asks.origin.clone(), message.to_owned());
            }
            return callback;
        }
        match url.parse() {
            Ok(target) => callback.target = Some(target),
            Err(error) => {
                let error: TargetError = error;
                let at = origin("callback");
                self.problem(at, error.to_string());
            }
        }
        #[cfg(feature = "signature")]
        if callback.signature_keys.0.iter().any(|key| key == COVERED) {
            let message = format!(
                "{COVERED:?} stands for a key that --print-config did not show: put the key there"
            );
            let at = origin("signature_keys");
            self.problem(at, message);
        }
        callback
    }
}
