//! What a client wants to subscribe to, in one spelling: who means the same shares one subscription of the node.
//!
//! | kind | in one spelling |
//! | --- | --- |
//! | `newHeads`, `syncing` | `["newHeads"]` |
//! | `newPendingTransactions` | without its flag, or with `true` |
//! | `logs` | addresses and alternatives of topics in small letters, sorted, each once; what means "any" left out |
//! | `transactionReceipts` | hashes in small letters, sorted, each once |
//!
//! A filter that is not of the form we know goes to the node as it was written, which says what is wrong with it.

use serde_json::value::RawValue;

use super::super::members::{each_item, is_array, is_object, items, members_any_case, string};
use super::message::{error_tail, params_tail};

/// Most alternatives that are brought into one spelling: nodes take no more.
const ALTERNATIVES_MAX: usize = 1000;
/// Digits of an address and of a hash.
const ADDRESS: usize = 40;
const HASH: usize = 64;

/// The parameters of a subscription in one spelling.
///
/// # Errors
/// The end of the answer that a node would give.
pub(super) fn canonical(namespace: &str, params: Option<&RawValue>) -> Result<String, String> {
    let Some(params) = params.filter(|raw| is_array(raw)) else {
        return Err(params_tail("non-array args"));
    };
    let mut first = [None; 2];
    let mut count = 0;
    each_item(params, &mut |item| {
        if let Some(place) = first.get_mut(count) {
            *place = Some(item);
        }
        count += 1;
    });
    let [kind, argument] = first;
    let Some(kind) = kind.and_then(string) else {
        return Err(params_tail("expected subscription name as first argument"));
    };
    let most = match (namespace, &*kind) {
        ("eth", "newHeads" | "syncing") => 1,
        ("eth", "newPendingTransactions" | "logs" | "transactionReceipts") => 2,
        _ => {
            let message = format!("no {kind:?} subscription in {namespace} namespace");
            return Err(error_tail(-32601, &message));
        }
    };
    let written = argument.filter(|raw| raw.get() != "null");
    let argument = match &*kind {
        "newPendingTransactions" => match written.map(RawValue::get) {
            None | Some("false") => None,
            Some("true") => Some("true".to_owned()),
            Some(other) => {
                let kind = kind_of(other);
                return Err(params_tail(&format!(
                    "invalid argument 1: json: cannot unmarshal {kind} into Go value of type bool"
                )));
            }
        },
        "logs" if argument.is_none() => {
            return Err(params_tail("missing value for required argument 1"));
        }
        "logs" => Some(match written {
            None => "{}".to_owned(),
            Some(raw) => filter(raw).unwrap_or_else(|| raw.get().to_owned()),
        }),
        "transactionReceipts" => {
            written.map(|raw| receipts(raw).unwrap_or_else(|| raw.get().to_owned()))
        }
        _ => None,
    };
    if count > most {
        let message = format!("too many arguments, want at most {most}");
        return Err(params_tail(&message));
    }
    Ok(match argument {
        None => format!("[\"{kind}\"]"),
        Some(argument) => format!("[\"{kind}\",{argument}]"),
    })
}

/// The one argument of `eth_unsubscribe`.
///
/// # Errors
/// The end of the answer that a node would give.
pub(super) fn subscription_id(params: Option<&RawValue>) -> Result<String, String> {
    let mut count = 0;
    let mut first = None;
    if let Some(params) = params {
        let is_read = each_item(params, &mut |item| {
            first = first.or(Some(item));
            count += 1;
        });
        if !is_read {
            return Err(params_tail("non-array args"));
        }
    }
    let Some(first) = first else {
        return Err(params_tail("missing value for required argument 0"));
    };
    let id = match string(first) {
        Some(id) => id.into_owned(),
        // Go leaves it empty, and nobody has that id.
        None if first.get() == "null" => String::new(),
        None => {
            let kind = kind_of(first.get());
            return Err(params_tail(&format!(
                "invalid argument 0: json: cannot unmarshal {kind} into Go value of type rpc.ID"
            )));
        }
    };
    if count > 1 {
        return Err(params_tail("too many arguments, want at most 1"));
    }
    Ok(id)
}

/// What Go calls a value.
fn kind_of(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'"') => "string",
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "bool",
        _ => "number",
    }
}

/// A filter for logs; `None`: it is not of the form we know.
fn filter(raw: &RawValue) -> Option<String> {
    if !is_object(raw) {
        return None;
    }
    let [address, topics, from, to, hash] = members_any_case(
        raw.get(),
        ["address", "topics", "fromBlock", "toBlock", "blockHash"],
    )
    .ok()?;
    let set = |raw: Option<&'_ RawValue>| raw.is_some_and(|raw| raw.get() != "null");
    if set(from) || set(to) || set(hash) {
        // Nodes differ in what they make of these.
        return None;
    }
    let mut text = String::from("{");
    if let Some(raw) = address.filter(|_| set(address)) {
        let list = alternatives(raw, ADDRESS)?;
        if !list.is_empty() {
            text.push_str("\"address\":");
            push_list(&mut text, &list);
        }
    }
    if let Some(raw) = topics.filter(|_| set(topics)) {
        let positions = items(raw, ALTERNATIVES_MAX).ok()?;
        let mut all = Vec::new();
        for position in positions {
            all.push(topic(position)?);
        }
        // Positions at the end that take anything count: a log must have as many topics.
        if !all.is_empty() {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str("\"topics\":[");
            text.push_str(&all.join(","));
            text.push(']');
        }
    }
    text.push('}');
    Some(text)
}

/// One position: `null`, or the list of what may stand there.
fn topic(raw: &RawValue) -> Option<String> {
    // Nodes look no further than to a `null`, whatever stands beside it.
    let mut takes_anything = raw.get() == "null";
    let mut is_known = true;
    each_item(raw, &mut |item| {
        let is_null = item.get() == "null";
        takes_anything |= is_null;
        is_known &= is_null || hex(item, HASH).is_some();
    });
    if takes_anything {
        return is_known.then(|| "null".to_owned());
    }
    let mut text = String::new();
    let list = alternatives(raw, HASH)?;
    if list.is_empty() {
        return Some("null".to_owned());
    }
    push_list(&mut text, &list);
    Some(text)
}

fn receipts(raw: &RawValue) -> Option<String> {
    if !is_object(raw) {
        return None;
    }
    let [hashes] = members_any_case(raw.get(), ["transactionHashes"]).ok()?;
    let mut text = String::from("{");
    if let Some(raw) = hashes.filter(|raw| raw.get() != "null") {
        let list = alternatives(raw, HASH)?;
        if !list.is_empty() {
            text.push_str("\"transactionHashes\":");
            push_list(&mut text, &list);
        }
    }
    text.push('}');
    Some(text)
}

/// One value or a list of them, sorted, each once.
fn alternatives(raw: &RawValue, digits: usize) -> Option<Vec<String>> {
    if !is_array(raw) {
        return Some(vec![hex(raw, digits)?]);
    }
    let mut list: Vec<String> = Vec::new();
    for item in items(raw, ALTERNATIVES_MAX).ok()? {
        let value = hex(item, digits)?;
        if let Err(at) = list.binary_search(&value) {
            list.insert(at, value);
        }
    }
    Some(list)
}

/// So many hexadecimal digits, in small letters.
fn hex(raw: &RawValue, digits: usize) -> Option<String> {
    let text = string(raw)?.to_ascii_lowercase();
    let found = text.strip_prefix("0x")?;
    let is_hex = found.len() == digits && found.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then_some(text)
}

fn push_list(text: &mut String, list: &[String]) {
    text.push_str("[\"");
    text.push_str(&list.join("\",\""));
    text.push_str("\"]");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    fn key(text: &str) -> String {
        match canonical("eth", Some(raw(text))) {
            Ok(key) => key,
            Err(tail) => tail,
        }
    }

    fn hex(digit: &str, digits: usize) -> String {
        format!("\"0x{}\"", digit.repeat(digits))
    }

    #[test]
    fn one_spelling_for_what_means_the_same() {
        let (a, b) = (hex("a", ADDRESS), hex("B", ADDRESS));
        let small = b.to_ascii_lowercase();
        let logs = |filter: &str| key(&format!("[\"logs\", {filter}]"));
        let expected = format!("[\"logs\",{{\"address\":[{a},{small}]}}]");
        assert_eq!(logs(&format!("{{\"address\":[{b},{a}]}}")), expected);
        assert_eq!(
            logs(&format!(
                "{{\"topics\":[],\"address\":[{a},{small},{b}], \"fromBlock\":null}}"
            )),
            expected
        );
        assert_eq!(
            logs(&format!("{{\"address\":{a}}}")),
            format!("[\"logs\",{{\"address\":[{a}]}}]")
        );
        let (t, u) = (hex("1", HASH), hex("2", HASH));
        assert_eq!(
            logs(&format!(
                "{{\"topics\":[{t},null,[{u},{t},{u}],[],[{t},null]]}}"
            )),
            format!("[\"logs\",{{\"topics\":[[{t}],null,[{t},{u}],null,null]}}]")
        );
        for any in ["{}", "null", "{\"address\":[]}", "{\"topics\":null}"] {
            assert_eq!(logs(any), "[\"logs\",{}]");
        }
        assert_eq!(
            key(r#"["newPendingTransactions", false]"#),
            r#"["newPendingTransactions"]"#
        );
        assert_eq!(
            key(r#"["newPendingTransactions",null]"#),
            r#"["newPendingTransactions"]"#
        );
        assert_eq!(
            key(r#"["newPendingTransactions" ,true]"#),
            r#"["newPendingTransactions",true]"#
        );
        assert_eq!(key(r#"["new\u0048eads"]"#), r#"["newHeads"]"#);
        assert_eq!(key(r#"["syncing"]"#), r#"["syncing"]"#);
        let receipts = format!(r#"["transactionReceipts",{{"transactionHashes":[{u},{t}]}}]"#);
        let expected = format!(r#"["transactionReceipts",{{"transactionHashes":[{t},{u}]}}]"#);
        assert_eq!(key(&receipts), expected);
        assert_eq!(
            key(r#"["transactionReceipts"]"#),
            r#"["transactionReceipts"]"#
        );
    }

    #[test]
    fn what_we_do_not_know_is_the_nodes_to_judge() {
        for filter in [
            r#"{"address": "0x12"}"#,
            r#"{"address":7}"#,
            r#"{"topics":"x"}"#,
            r#"{"topics":[[null, 7]]}"#,
            r#"{"topics":[7]}"#,
            r#"{"fromBlock":"0x1"}"#,
            "[ ]",
            "\"x\"",
        ] {
            assert_eq!(
                key(&format!("[\"logs\",{filter}]")),
                format!("[\"logs\",{filter}]")
            );
        }
        let many = vec![hex("a", ADDRESS); ALTERNATIVES_MAX + 1].join(",");
        let filter = format!("[\"logs\",{{\"address\":[{many}]}}]");
        assert_eq!(key(&filter), filter);
    }

    #[test]
    fn wrong_arguments_are_told_in_a_nodes_words() {
        for (params, expected) in [
            ("{}", r#"-32602,"message":"non-array args""#),
            (
                "[]",
                r#"-32602,"message":"expected subscription name as first argument""#,
            ),
            (
                "[7]",
                r#"-32602,"message":"expected subscription name as first argument""#,
            ),
            (
                r#"["foo"]"#,
                r#"-32601,"message":"no \"foo\" subscription in eth namespace""#,
            ),
            (
                r#"["newHeads",{}]"#,
                r#"-32602,"message":"too many arguments, want at most 1""#,
            ),
            (
                r#"["logs",{},1]"#,
                r#"-32602,"message":"too many arguments, want at most 2""#,
            ),
            (
                r#"["logs"]"#,
                r#"-32602,"message":"missing value for required argument 1""#,
            ),
            (
                r#"["newPendingTransactions","x"]"#,
                r#"-32602,"message":"invalid argument 1: json: cannot unmarshal string into Go value of type bool""#,
            ),
        ] {
            assert_eq!(
                key(params),
                format!(",\"error\":{{\"code\":{expected}}}"),
                "{params}"
            );
        }
        assert!(canonical("eth", None).is_err());
        assert!(
            canonical("net", Some(raw(r#"["newHeads"]"#))).is_err_and(
                |tail| tail.contains(r#"no \"newHeads\" subscription in net namespace"#)
            )
        );
    }

    #[test]
    fn the_argument_of_unsubscribe() {
        let id = |text: &str| match subscription_id(Some(raw(text))) {
            Ok(id) => id,
            Err(tail) => tail,
        };
        assert_eq!(id(r#"["0x1"]"#), "0x1");
        assert_eq!(id("[null]"), "");
        for (params, expected) in [
            ("[]", "missing value for required argument 0"),
            ("{}", "non-array args"),
            ("[\"0x1\",2]", "too many arguments, want at most 1"),
            (
                "[1]",
                "invalid argument 0: json: cannot unmarshal number into Go value of type rpc.ID",
            ),
            ("[{}]", "cannot unmarshal object"),
            ("[[]]", "cannot unmarshal array"),
            ("[true]", "cannot unmarshal bool"),
        ] {
            assert!(id(params).contains(expected), "{params}: {}", id(params));
        }
        assert!(subscription_id(None).is_err());
    }
}
