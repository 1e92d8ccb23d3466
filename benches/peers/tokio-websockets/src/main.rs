//! tokio-websockets: frames of any size and no limits, as its own echo server has it; messages fed and flushed in
//! batches, with a flush threshold above one batch of 1 KiB messages so that the batch is one write.

use std::io;

use tokio_websockets::{Config, Limits, ServerBuilder};

fn main() -> io::Result<()> {
    peer::serve(|stream, mode, room| async move {
        let config = Config::default()
            .frame_size(usize::MAX)
            .flush_threshold(64 * 1024);
        let accepted = ServerBuilder::new()
            .config(config)
            .limits(Limits::unlimited())
            .accept(stream)
            .await;
        if let Ok((_, socket)) = accepted {
            // An error ends the connection: that is what clients that just go are.
            _ = peer::converse(socket, mode, &room, |message| {
                Ok(Some(message?).filter(|it| it.is_text() || it.is_binary()))
            })
            .await;
        }
    })
}
