//! sockudo-ws: its own handshake and stream over the bare socket, default configuration, messages fed and flushed at
//! batch boundaries as its documentation of `write_coalescing` says. Its SIMD is chosen at run time.

use std::io;

use sockudo_ws::{Config, Message, Role, WebSocketStream, handshake};

fn main() -> io::Result<()> {
    sockudo_ws::init_clock();
    peer::serve(|mut stream, mode, room| async move {
        if let Ok(upgraded) = handshake::server_handshake(&mut stream).await {
            let socket = WebSocketStream::from_raw_with_leftover(
                stream,
                Role::Server,
                Config::default(),
                upgraded.leftover,
            );
            // An error ends the connection: that is what clients that just go are.
            _ = peer::converse(socket, mode, &room, |message| {
                let is_data = |it: &Message| matches!(it, Message::Text(_) | Message::Binary(_));
                Ok(Some(message?).filter(is_data))
            })
            .await;
        }
    })
}
