//! hyperlane: the handshake, the loop and the frames as its own tests write them, without its limits and time-outs
//! (`low_security`). An answer is sent frame by frame: it has no other way. It cannot say which port it got, so a
//! free one is found first.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, LazyLock, OnceLock};

use hyperlane::{
    CONNECTION, Context, HttpVersion, RequestConfig, ResponseBody, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, Server, ServerConfig, ServerHook, Status, Stream, UPGRADE, WEBSOCKET,
    WebSocketFrame,
};
use peer::{Mode, Room};

static MODE: OnceLock<Mode> = OnceLock::new();
/// The frames of a message, for everybody.
static ROOM: LazyLock<Room<Arc<Vec<ResponseBody>>>> = LazyLock::new(Room::default);

struct WebSocket;

impl ServerHook for WebSocket {
    async fn new(_: &mut Stream, _: &mut Context) -> Self {
        Self
    }

    async fn handle(self, stream: &mut Stream, context: &mut Context) -> Status {
        let Some(key) = context.get_request().try_get_header_back(SEC_WEBSOCKET_KEY) else {
            return Status::Reject;
        };
        let answer = context
            .get_mut_response()
            .set_version(HttpVersion::Http1_1)
            .set_status_code(101)
            .set_header(UPGRADE, WEBSOCKET)
            .set_header(CONNECTION, UPGRADE)
            .set_header(
                SEC_WEBSOCKET_ACCEPT,
                WebSocketFrame::generate_accept_key(&key),
            )
            .set_body(Vec::new())
            .build();
        // An error ends the connection: that is what clients that just go are.
        if stream.try_send(answer).await.is_ok() {
            match MODE.get() {
                Some(Mode::Fan) => fan(stream).await,
                _ => echo(stream).await,
            }
        }
        stream.set_closed(true);
        Status::Reject
    }
}

async fn echo(stream: &mut Stream) {
    while let Ok(body) = stream.try_get_websocket_request().await {
        let frames = WebSocketFrame::create_frame_list(&body);
        if stream.try_send_list(&frames).await.is_err() {
            return;
        }
    }
}

async fn fan(stream: &mut Stream) {
    let (_, mut queue) = ROOM.join();
    loop {
        tokio::select! {
            said = stream.try_get_websocket_request() => {
                let Ok(body) = said else { return };
                ROOM.publish(Arc::new(WebSocketFrame::create_frame_list(&body)));
            }
            frames = queue.recv() => {
                let Some(frames) = frames else { return };
                if stream.try_send_list(frames.iter()).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn main() -> io::Result<()> {
    let (port, mode) = peer::arguments()?;
    MODE.get_or_init(|| mode);
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let mut config = ServerConfig::default();
        config.set_address(free.to_string()).set_nodelay(Some(true));
        let mut server = Server::default();
        server
            .server_config(config)
            .request_config(RequestConfig::low_security())
            .route::<WebSocket>("/");
        let control = server
            .run()
            .await
            .map_err(|why| io::Error::other(format!("{why:?}")))?;
        println!("{}", free.port());
        control.wait().await;
        Ok(())
    })
}
