//! What the scripted node answers, and what it tells those who have subscribed.
//!
//! Besides the usual methods: `test_echo` gives back its params, `test_error` fails as it is told, `test_number` counts
//! how often it was asked.

use serde_json::{Value, json};

use crate::chain::{Change, TOKENS, matches, transaction, word};
use crate::line::Transport;
use crate::node::{Asked, State, Subscription};

/// JSON, or the code and the message of an error.
pub(crate) type Answer = Result<String, (i64, String)>;

pub(crate) const CHAIN_ID: &str = "0x539";
pub(crate) const VERSION: &str = "Scripted/v1.0.0-stable/linux-amd64/go1.24.0";
/// What the tokens have in all: 3,000,000.
pub(crate) const SUPPLY: u64 = 3_000_000;

/// In the order of keys that Go's node writes.
pub(crate) fn envelope(id: &Value, answer: Answer) -> String {
    match answer {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Err((code, message)) => {
            let message = Value::from(message);
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#
            )
        }
    }
}

fn text(value: &str) -> Answer {
    Ok(format!("\"{value}\""))
}

fn fails(code: i64, message: &str) -> Answer {
    Err((code, message.to_owned()))
}

pub(crate) fn answer(state: &mut State, asked: &Asked) -> Answer {
    if asked.params.is_object() {
        return fails(-32602, "non-array args");
    }
    let first = asked.params[0].clone();
    let first = first.as_str().unwrap_or_default();
    match asked.method.as_str() {
        "eth_chainId" => text(CHAIN_ID),
        "net_version" => text("1337"),
        "web3_clientVersion" => text(VERSION),
        "eth_blockNumber" => text(&format!("0x{:x}", state.chain.head().number)),
        "eth_accounts" => Ok("[]".to_owned()),
        "eth_syncing" => Ok("false".to_owned()),
        "eth_gasPrice" => text("0x3b9aca00"),
        "eth_getBlockByNumber" | "eth_getBlockByHash" => {
            let full = asked.params[1] == true;
            let block = state.chain.find(first);
            Ok(block.map_or("null".to_owned(), |block| block.json(full)))
        }
        "eth_getTransactionByHash" => {
            let found = state.chain.find_transaction(first);
            Ok(found.map_or("null".to_owned(), |(block, n)| block.transaction(n)))
        }
        "eth_getTransactionReceipt" => {
            let found = state.chain.find_transaction(first);
            Ok(found.map_or("null".to_owned(), |(block, n)| block.receipt(n).to_string()))
        }
        "eth_call" => {
            let to = asked.params[0]["to"].as_str().unwrap_or_default();
            let is_token = TOKENS.iter().any(|token| token.eq_ignore_ascii_case(to));
            let data = asked.params[0].get("data").or(asked.params[0].get("input"));
            let data = data.and_then(Value::as_str).unwrap_or_default();
            match data {
                "0x18160ddd" if is_token => text(&word(SUPPLY)),
                _ if is_token => Err((3, "execution reverted".to_owned())),
                _ => text("0x"),
            }
        }
        "eth_getLogs" => {
            let logs = state.chain.logs(&asked.params[0]);
            Ok(format!("[{}]", logs.join(",")))
        }
        "eth_subscribe" if asked.transport == Transport::Http => {
            fails(-32601, "notifications not supported")
        }
        "eth_subscribe" => subscribe(state, asked, first),
        "eth_unsubscribe" => {
            let before = state.subscriptions.len();
            state
                .subscriptions
                .retain(|one| one.line != asked.line || one.name != first);
            if state.subscriptions.len() < before {
                Ok("true".to_owned())
            } else {
                fails(-32000, "subscription not found")
            }
        }
        "test_echo" => Ok(asked.params.to_string()),
        "test_error" => Err((
            asked.params[0].as_i64().unwrap_or(-32000),
            asked.params[1].as_str().unwrap_or("as you wish").to_owned(),
        )),
        "test_number" => Ok(state.number().to_string()),
        other => Err((
            -32601,
            format!("the method {other} does not exist/is not available"),
        )),
    }
}

fn subscribe(state: &mut State, asked: &Asked, kind: &str) -> Answer {
    let known = [
        "newHeads",
        "logs",
        "newPendingTransactions",
        "syncing",
        "transactionReceipts",
    ];
    if !known.contains(&kind) {
        return Err((-32601, format!("no {kind:?} subscription in eth namespace")));
    }
    let more = asked.params[1].clone();
    if kind == "logs" {
        check_filter(&more)?;
    } else if asked.params.as_array().is_some_and(|all| all.len() > 2) {
        return fails(-32602, "too many arguments, want at most 2");
    }
    let name = state.new_name();
    state.subscriptions.push(Subscription {
        name: name.clone(),
        line: asked.line,
        kind: kind.to_owned(),
        more,
    });
    text(&name)
}

/// Addresses of 20 bytes, topics of 32, and not too many of them.
fn check_filter(filter: &Value) -> Result<(), (i64, String)> {
    let all = |value: &Value| match value {
        Value::Array(all) => all.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let is_hex = |value: &Value, bytes: usize| {
        value
            .as_str()
            .is_some_and(|text| text.len() == 2 + 2 * bytes)
    };
    let addresses = all(&filter["address"]);
    let topics = all(&filter["topics"]);
    if addresses.len() > 1000 || topics.len() > 4 {
        return Err((-32000, "exceed max addresses or topics".to_owned()));
    }
    let topics = topics.iter().flat_map(all).collect::<Vec<_>>();
    let is_good =
        addresses.iter().all(|one| is_hex(one, 20)) && topics.iter().all(|one| is_hex(one, 32));
    if !is_good {
        return Err((
            -32602,
            "invalid argument 1: hex string of a wrong length".to_owned(),
        ));
    }
    Ok(())
}

/// Tells of a block that came or went.
pub(crate) fn tell(state: &State, change: &Change) {
    let (block, removed) = match change {
        Change::Removed(block) => (block, true),
        Change::Added(block) => (block, false),
    };
    if !removed {
        state.notify("newHeads", |_| Some(block.header.clone()));
        state.notify("transactionReceipts", |which| {
            let wanted = which["transactionHashes"].as_array();
            let all: Vec<Value> = (0..block.transactions.len())
                .filter(|n| {
                    let hash = json!(block.transactions[*n]);
                    wanted.is_none_or(|w| w.is_empty() || w.contains(&hash))
                })
                .map(|n| block.receipt(n))
                .collect();
            (!all.is_empty()).then(|| Value::from(all).to_string())
        });
    }
    for log in &block.logs {
        state.notify("logs", |filter| {
            matches(filter, log).then(|| log.json(removed))
        });
    }
}

/// A transaction waits; answers its hash.
pub(crate) fn pend(state: &mut State) -> String {
    let name = state.new_name();
    let hash = format!("0x{:0>64}", &name[2..]);
    let place = r#""blockHash":null,"blockNumber":null,"transactionIndex":null"#;
    state.notify("newPendingTransactions", |full| {
        Some(if *full == true {
            transaction(&hash, place)
        } else {
            format!("\"{hash}\"")
        })
    });
    hash
}

/// The node falls behind, or has caught up.
pub(crate) fn sync(state: &mut State, behind: bool) {
    let head = state.chain.head().number;
    state.notify("syncing", |_| {
        Some(if behind {
            format!(
                r#"{{"syncing":true,"status":{{"startingBlock":"0x0","currentBlock":"0x{head:x}","highestBlock":"0x{:x}"}}}}"#,
                head + 100
            )
        } else {
            "false".to_owned()
        })
    });
}
