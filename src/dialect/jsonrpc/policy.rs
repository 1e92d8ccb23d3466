//! What a client may call, and what is answered without asking the node.

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
}
