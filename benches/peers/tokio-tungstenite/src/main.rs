//! tokio-tungstenite: its own `accept_async`, its default configuration (128 KiB to read, 128 KiB to write), messages
//! fed and flushed in batches.

use std::io;

fn main() -> io::Result<()> {
    peer::serve(|stream, mode, room| async move {
        if let Ok(socket) = tokio_tungstenite::accept_async(stream).await {
            // An error ends the connection: that is what clients that just go are.
            _ = peer::converse(socket, mode, &room, |message| {
                message.is_text() || message.is_binary()
            })
            .await;
        }
    })
}
