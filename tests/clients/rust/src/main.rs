use tokio_tungstenite::{connect_async, tungstenite::Message};
use futures_util::{StreamExt};
use futures_util::SinkExt; // changed: added; the document's `write.send` needs this trait in scope

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = &std::env::args().nth(1).ok_or("usage: hierachain-client URL")?; // changed: was "ws://localhost:2661/ws"
    let (ws_stream, _) = connect_async(url).await?;
    let (mut write, mut read) = ws_stream.split();

    // Subscribe to chain
    let msg = serde_json::json!({
        "action": "subscribe",
        "chain_name": "supply_chain"
    });
    write.send(Message::Text(msg.to_string())).await?;

    // Listen
    while let Some(msg) = read.next().await {
        if let Message::Text(text) = msg? {
            let data: serde_json::Value = serde_json::from_str(&text)?;
            println!("Received: {:?}", data);
        }
    }

    Ok(())
}
