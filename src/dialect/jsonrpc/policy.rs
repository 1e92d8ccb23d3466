//! What a client may call, how often, and what is answered without asking the node.

use serde_json::value::RawValue;

use super::JsonRpcOptions;
use super::message::Call;

/// Answers that stay the same while the node does.
pub(super) const KEPT: [&str; 3] = ["eth_chainId", "net_version", "web3_clientVersion"];

/// The place of an answer that may be kept.
pub(super) fn kept(call: &Call<'_>) -> Option<u8> {
    if !call.params.is_none_or(is_empty) {
        return None;
    }
    let at = KEPT.iter().position(|name| *name == call.method)?;
    u8::try_from(at).ok()
}

/// Whether an array has nothing in it.
pub(super) fn is_empty(params: &RawValue) -> bool {
    let inner = params.get().strip_prefix('[');
    inner.is_some_and(|inner| inner.trim_start() == "]")
}

/// Whether a method may be called: what is denied may not, and where anything is allowed only that may.
pub(super) fn is_allowed(options: &JsonRpcOptions, method: &str) -> bool {
    let names = |list: &[String]| list.iter().any(|pattern| fits(pattern, method));
    !names(&options.deny) && (options.allow.is_empty() || names(&options.allow))
}

/// `debug_*` means every method that begins so.
fn fits(pattern: &str, method: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => method.starts_with(prefix),
        None => pattern == method,
    }
}

/// How many calls a session may still make: as many in a row as it has saved up.
#[derive(Debug)]
pub(super) struct Allowance {
    calls: u32,
    since_ms: u64,
}

impl Allowance {
    pub(super) fn new(options: &JsonRpcOptions, now_ms: u64) -> Self {
        Self {
            calls: options.calls_burst,
            since_ms: now_ms,
        }
    }

    /// One call; `false`: it is one too many.
    pub(super) fn take(&mut self, options: &JsonRpcOptions, now_ms: u64) -> bool {
        let rate = u64::from(options.calls_per_second);
        if rate == 0 {
            return true;
        }
        let gained = now_ms.saturating_sub(self.since_ms) * rate / 1000;
        if gained > 0 {
            let calls = u64::from(self.calls).saturating_add(gained);
            self.calls = calls.min(u64::from(options.calls_burst)) as u32;
            // What is left of a call's time is kept.
            self.since_ms += gained * 1000 / rate;
        }
        let has = self.calls > 0;
        self.calls = self.calls.saturating_sub(1);
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_methods() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut options = JsonRpcOptions::default();
        assert!(is_allowed(&options, "debug_trace"));
        options.deny = list(&["debug_*", "admin_peers"]);
        for (method, expected) in [
            ("debug_trace", false),
            ("debug_", false),
            ("admin_peers", false),
            ("admin_peersX", true),
            ("eth_call", true),
        ] {
            assert_eq!(is_allowed(&options, method), expected, "{method}");
        }
        options.allow = list(&["eth_*", "debug_trace"]);
        assert!(is_allowed(&options, "eth_call"));
        assert!(!is_allowed(&options, "debug_trace"));
        assert!(!is_allowed(&options, "net_version"));
    }

    #[test]
    fn an_allowance_fills_up_again() {
        let options = JsonRpcOptions {
            calls_per_second: 3,
            calls_burst: 2,
            ..JsonRpcOptions::default()
        };
        let mut allowance = Allowance::new(&options, 0);
        let mut take = |ms| allowance.take(&options, ms);
        assert_eq!(
            [take(0), take(0), take(0), take(333)],
            [true, true, false, false]
        );
        assert_eq!(
            [take(334), take(334), take(667), take(667)],
            [true, false, true, false]
        );
        assert_eq!([take(9000), take(9000), take(9000)], [true, true, false]);
    }
}
