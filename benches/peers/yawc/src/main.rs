//! yawc: upgraded by hyper as in its own echo server, with what its own benchmark calls tuned: 128 KiB to read, a
//! write boundary of 64 KiB, no compression, messages fed and flushed in batches. UTF-8 is checked, as everybody
//! else here does (and as RFC 6455 §8.1 wants it). With compression: its options for low latency (level 1), no context
//! kept in either direction, and so one pool of deflate states for all connections as its documentation advises; on
//! zlib-rs, the fastest it can be built with.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use peer::{Mode, Room};
use yawc::{DeflatePool, Frame, OpCode, Options, WebSocket};

/// Deflate states that wait for a message: one thread needs one.
const POOL: usize = 4;

fn main() -> io::Result<()> {
    let options = Options::default()
        .with_utf8()
        .with_limits(16 * 1024 * 1024, 32 * 1024 * 1024)
        .with_read_buffer_capacity(128 * 1024)
        .with_backpressure_boundary(64 * 1024);
    let options = if peer::wants_deflate() {
        options
            .with_low_latency_compression()
            .server_no_context_takeover()
            .client_no_context_takeover()
            .with_compression_threshold(0)
            .with_deflate_pool(DeflatePool::new(POOL))
    } else {
        options.without_compression()
    };
    peer::serve(move |stream, mode, room| {
        let options = options.clone();
        async move {
            let service =
                service_fn(|request| upgrade(request, mode, room.clone(), options.clone()));
            // An error ends the connection: that is what clients that just go are.
            _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
                .await;
        }
    })
}

async fn upgrade(
    request: Request<Incoming>,
    mode: Mode,
    room: Arc<Room<Frame>>,
    options: Options,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let Ok((response, upgraded)) = WebSocket::upgrade_with_options(request, options) else {
        let mut refusal = Response::new(Empty::new());
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(refusal);
    };
    tokio::spawn(tokio::task::unconstrained(async move {
        if let Ok(socket) = upgraded.await {
            _ = peer::converse(socket, mode, &room, |frame| {
                Ok(Some(frame).filter(|it| matches!(it.opcode(), OpCode::Text | OpCode::Binary)))
            })
            .await;
        }
    }));
    Ok(response)
}
