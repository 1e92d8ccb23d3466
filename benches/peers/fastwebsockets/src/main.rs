//! fastwebsockets: upgraded by hyper as in its own benchmark server. It has no sink, and its documentation knows no
//! batches for answers: `echo` reads a frame and writes a frame, as there. `fan` writes a batch into a buffer and
//! flushes it, which its `flush` is for ("if the underlying stream is buffered").

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, upgrade,
};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use peer::{Mode, Room};
use tokio::io::BufWriter;

/// A message that everybody gets.
type Said = (OpCode, Bytes);

const BATCH: usize = 64;

fn main() -> io::Result<()> {
    peer::serve(|stream, mode, room| async move {
        let service = service_fn(|request| serve(request, mode, room.clone()));
        // An error ends the connection: that is what clients that just go are.
        _ = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
    })
}

async fn serve(
    mut request: Request<Incoming>,
    mode: Mode,
    room: Arc<Room<Said>>,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade::upgrade(&mut request)?;
    tokio::spawn(tokio::task::unconstrained(async move {
        _ = match mode {
            Mode::Echo => echo(upgraded).await,
            Mode::Fan => fan(upgraded, &room).await,
        };
    }));
    Ok(response)
}

async fn echo(upgraded: upgrade::UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn fan(upgraded: upgrade::UpgradeFut, room: &Room<Said>) -> Result<(), WebSocketError> {
    let socket = upgraded.await?;
    let (reader, mut writer) = socket.split(|stream| {
        let (reader, writer) = tokio::io::split(stream);
        (reader, BufWriter::with_capacity(64 * 1024, writer))
    });
    let (own, mut queue) = room.join();
    tokio::spawn(tokio::task::unconstrained(async move {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            for (code, body) in batch.drain(..) {
                let frame = Frame::new(true, code, None, Payload::Borrowed(&body));
                writer.write_frame(frame).await?;
                if code == OpCode::Close {
                    return writer.flush().await;
                }
            }
            writer.flush().await?;
        }
        Ok::<_, WebSocketError>(())
    }));
    let mut reader = FragmentCollectorRead::new(reader);
    loop {
        // What the library has to answer (a pong, a close) goes the same way as the rest.
        let mut answer = |frame: Frame<'_>| {
            _ = own.send((frame.opcode, Bytes::copy_from_slice(&frame.payload)));
            async { Ok::<_, WebSocketError>(()) }
        };
        match reader.read_frame(&mut answer).await {
            Ok(frame) if frame.opcode == OpCode::Close => return Ok(()),
            Ok(frame) if matches!(frame.opcode, OpCode::Text | OpCode::Binary) => {
                room.publish((frame.opcode, Bytes::copy_from_slice(&frame.payload)));
            }
            Ok(_) => {}
            Err(why) => {
                _ = own.send((OpCode::Close, Bytes::new()));
                return Err(why);
            }
        }
    }
}
