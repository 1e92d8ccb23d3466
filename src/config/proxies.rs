//! Trusted proxies and the listeners they introduce clients on.

use super::build::{Build, Listener};
use super::nearest;
use super::record::Origin;
use super::table::Global;
use crate::server::{TrustedProxy, TrustedProxyError};

impl Build<'_> {
    /// Reads the networks, and finds the listeners by name.
    pub(super) fn proxies(&mut self, global: &mut Global, listeners: &[Listener]) {
        let settings = &self.record.settings;
        let trusted_at = settings.origin("", "trusted_proxies");
        let declared_at = settings.origin("", "proxy_protocol");
        let proxies = &mut global.worker.proxies;
        for text in &global.trusted_proxies {
            match text.parse() {
                Ok(proxy) => proxies.trusted.push(proxy),
                Err(error) => {
                    let error: TrustedProxyError = error;
                    let near = nearest(text, &TrustedProxy::WORDS);
                    let hint = near.map_or_else(String::new, |n| format!(", did you mean {n:?}?"));
                    let message = format!("`trusted_proxies`: {error}{hint}");
                    self.problem(trusted_at.clone(), message);
                }
            }
        }
        let names: Vec<&str> = listeners.iter().map(|l| l.name.as_str()).collect();
        for name in &global.proxy_protocol {
            match listeners.iter().find(|l| l.name == *name) {
                Some(listener) => proxies.listeners.push(listener.number),
                None => {
                    let near = nearest(name, &names);
                    let hint = near.map_or_else(
                        || format!(": there are {}", names.join(", ")),
                        |near| format!(", did you mean {near:?}?"),
                    );
                    let message = format!("`proxy_protocol`: there is no listener {name:?}{hint}");
                    self.problem(declared_at.clone(), message);
                }
            }
        }
        let own = listeners.iter().filter(|l| l.declares_proxy_protocol);
        proxies.listeners.extend(own.clone().map(|l| l.number));
        if !proxies.listeners.is_empty() && global.trusted_proxies.is_empty() {
            let origin = match declared_at {
                Origin::Default => self.origin_of_listener(own.clone().next()),
                written => written,
            };
            let message = "`proxy_protocol` without `trusted_proxies`: nobody could connect, because only trusted \
                           proxies are believed"
                .to_owned();
            self.problem(origin, message);
        }
    }

    pub(super) fn origin_of_listener(&self, listener: Option<&Listener>) -> Origin {
        let named = |name: &str| self.record.listeners.iter().find(|l| l.name == name);
        let record = listener.and_then(|l| named(&l.name));
        record.map_or(Origin::Default, |record| record.origin.clone())
    }
}
