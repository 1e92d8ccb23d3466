//! What a started server gives up: the policy of its configuration, and how to say what came of it.

use crate::config::{Config, Sandbox};
use crate::net::Bound;

/// Gives up what the configuration does not need and answers it in words, for the log. An error: the configuration
/// requires more than there is.
///
/// Called between binding and serving, before a second thread is started.
pub(super) fn enter(config: &Config, bound: &Bound) -> Result<String, String> {
    if config.sandbox == Sandbox::Off {
        return Ok("no sandbox: switched off".to_owned());
    }
    let (text, is_complete) = enforce(config, bound);
    if config.sandbox == Sandbox::Required && !is_complete {
        return Err(format!(
            "`sandbox` = \"required\", but {text} (`sandbox` = true takes what there is)"
        ));
    }
    Ok(text)
}

#[cfg(all(
    feature = "sandbox",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
fn enforce(config: &Config, bound: &Bound) -> (String, bool) {
    use crate::net::{Address, sandbox::Policy};

    let mut policy = Policy::new();
    for (host, port) in config.applications() {
        policy = policy.calls(host, port);
    }
    for path in config.sockets() {
        policy = policy.links(path);
    }
    #[cfg(feature = "history-log")]
    if let Some(log) = &config.history_log {
        policy = policy.logs(&log.path);
    }
    if config.starts_programs() {
        policy = policy.programs();
    }
    for (_, address) in bound.addresses() {
        if let Address::Unix(path) | Address::Ipc(path) = address {
            policy = policy.removes(&path);
        }
    }
    let held = policy.enforce();
    (format!("sandbox: {held}"), held.is_complete())
}

/// The default program has no room for it, and its crates no place in the default tree.
#[cfg(not(all(
    feature = "sandbox",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
fn enforce(_: &Config, _: &Bound) -> (String, bool) {
    ("no sandbox: not in this build".to_owned(), false)
}
