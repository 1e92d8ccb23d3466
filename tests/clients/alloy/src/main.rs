//! alloy: subscribes to heads and logs; reconnects and subscribes again by itself, so that whoever waits for the next
//! head does not even notice.

use std::error::Error;
use std::time::Duration;

use alloy_primitives::B256;
use alloy_pubsub::{PubSubConnect, PubSubFrontend, RawSubscription};
use alloy_rpc_client::RpcClient;
use alloy_transport_ws::WsConnect;
use serde_json::{Value, json};

type Fallible<T> = Result<T, Box<dyn Error>>;

fn number(value: &Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    digits.map_or(0, |digits| u64::from_str_radix(digits, 16).unwrap_or(0))
}

/// Subscribes, as `Provider::subscribe` does.
async fn subscribe(
    client: &RpcClient,
    frontend: &PubSubFrontend,
    params: Value,
) -> Fallible<(B256, RawSubscription)> {
    let mut call = client.request::<Value, B256>("eth_subscribe", params);
    call.set_is_subscription();
    let name = call.await?;
    Ok((name, frontend.get_subscription(name).await?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, token] = &arguments[..] else {
        return Err("usage: alloy-client URL TOKEN".into());
    };
    // In a hurry: all of it is seconds otherwise.
    let connect = WsConnect::new(url)
        .with_max_retries(100)
        .with_retry_interval(Duration::from_millis(100))
        .with_keepalive_interval(Duration::from_millis(500));
    let frontend = connect.into_service().await?;
    let client = RpcClient::new(frontend.clone(), true);

    let chain: Value = client.request_noparams("eth_chainId").await?;
    println!("chain {}", number(&chain));
    let call = json!([{"to": token, "input": "0x18160ddd"}, "latest"]);
    let supply: Value = client.request("eth_call", call).await?;
    println!("supply {}", number(&supply));

    let (heads, mut head) = subscribe(&client, &frontend, json!(["newHeads"])).await?;
    let filter = json!(["logs", {"address": [token]}]);
    let (logs, mut log) = subscribe(&client, &frontend, filter).await?;
    let mut last = 0;
    loop {
        tokio::select! {
            head = head.recv() => {
                let head: Value = serde_json::from_str(head?.get())?;
                println!("head {} there", number(&head["number"]));
                // The test lets many blocks pass while nobody is connected.
                let before = std::mem::replace(&mut last, number(&head["number"]));
                if before > 0 && last > before + 1 {
                    break;
                }
            }
            log = log.recv() => {
                let log: Value = serde_json::from_str(log?.get())?;
                let state = if log["removed"] == true { "removed" } else { "there" };
                println!("log {} {} {state}", number(&log["blockNumber"]), number(&log["logIndex"]));
            }
        }
    }
    println!("back");
    frontend.unsubscribe(heads)?;
    frontend.unsubscribe(logs)?;
    let block: Value = client.request_noparams("eth_blockNumber").await?;
    println!("left at {}", number(&block));
    println!("done: alloy");
    Ok(())
}
