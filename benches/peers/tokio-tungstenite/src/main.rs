//! tokio-tungstenite: its own `accept_async`, messages fed and flushed in batches. It clears its read buffer before
//! every read, so whoever says little reads into 16 KiB: the default of 128 KiB costs a small message three times its
//! price. Long messages get the default.

use std::io;

use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Messages up to this length count as short.
const SHORT: usize = 4 * 1024;

fn main() -> io::Result<()> {
    let payload = std::env::args().nth(3).and_then(|it| it.parse().ok());
    let config = if payload.is_some_and(|bytes: usize| bytes <= SHORT) {
        WebSocketConfig::default().read_buffer_size(16 * 1024)
    } else {
        WebSocketConfig::default()
    };
    peer::serve(move |stream, mode, room| async move {
        if let Ok(socket) = accept_async_with_config(stream, Some(config)).await {
            // An error ends the connection: that is what clients that just go are.
            _ = peer::converse(socket, mode, &room, |message| {
                Ok(Some(message?).filter(|it| it.is_text() || it.is_binary()))
            })
            .await;
        }
    })
}
