//! The ten-line server of the README: `cargo run --example echo`, then talk to ws://127.0.0.1:8080/echo.

use dunlin::{Context, Handler, Message, Server};

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        cx.send(message);
    }
}

fn main() -> Result<(), dunlin::ServerError> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    Server::new().listen(&address).route("/echo", || Echo).run()
}
