//! sockudo-ws: its own handshake and stream over the bare socket, default configuration, messages fed and flushed at
//! batch boundaries as its documentation of `write_coalescing` says. Its SIMD is chosen at run time. With compression:
//! level 1, no context kept, no threshold. Its handshake over a bare socket agrees to no extension, so the request is
//! read here and answered with its own functions, as its integration into axum does it.

use std::io;

use peer::{Mode, Room};
use sockudo_ws::deflate::negotiate_server_deflate;
use sockudo_ws::{
    CompressedWebSocketStream, Config, DeflateConfig, Error, Message, Role, WebSocketStream,
    handshake,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn main() -> io::Result<()> {
    sockudo_ws::init_clock();
    let deflate = peer::wants_deflate();
    peer::serve(move |mut stream, mode, room| async move {
        // An error ends the connection: that is what clients that just go are.
        if deflate {
            _ = compressed(stream, mode, &room).await;
        } else if let Ok(upgraded) = handshake::server_handshake(&mut stream).await {
            let socket = WebSocketStream::from_raw_with_leftover(
                stream,
                Role::Server,
                Config::default(),
                upgraded.leftover,
            );
            _ = peer::converse(socket, mode, &room, data).await;
        }
    })
}

fn data(message: Result<Message, Error>) -> Result<Option<Message>, Error> {
    let is_data = |it: &Message| matches!(it, Message::Text(_) | Message::Binary(_));
    Ok(Some(message?).filter(is_data))
}

async fn compressed(mut stream: TcpStream, mode: Mode, room: &Room<Message>) -> Result<(), Error> {
    let policy = DeflateConfig {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        compression_level: 1,
        compression_threshold: 0,
        ..DeflateConfig::default()
    };
    let mut head = Vec::new();
    let (answer, agreed, taken) = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        let Some((request, taken)) = handshake::parse_request(&head)? else {
            continue;
        };
        let Some(agreed) = request
            .extensions
            .and_then(|offers| negotiate_server_deflate(offers, &policy))
        else {
            return Ok(());
        };
        let key = handshake::generate_accept_key(request.key);
        let extension = agreed.to_response_header();
        let answer = handshake::build_response(&key, None, Some(&extension));
        break (answer, agreed.config, taken);
    };
    stream.write_all(&answer).await?;
    let leftover = head.split_off(taken).into();
    let socket = CompressedWebSocketStream::server_with_leftover(
        stream,
        Config::default(),
        agreed,
        Some(leftover),
    );
    peer::converse(socket, mode, room, data).await
}
