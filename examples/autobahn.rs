//! The server the Autobahn testsuite talks to (`tests/autobahn`): an echo whose limits leave room for its largest
//! messages and its longest bursts. `cargo run --release --example autobahn 127.0.0.1:9001`; with port 0 the system
//! chooses one. The address is printed once clients can connect. With `--features deflate` it offers permessage-deflate.

use dunlin::hub::{HubLimits, SessionLimits};
use dunlin::server::{On, RouteSettings, WorkerSettings};
use dunlin::{Context, Handler, Message, Server};

/// Four times the suite's largest message.
const BYTES_MAX: usize = 64 << 20;

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        cx.send(message);
    }
}

fn main() -> Result<(), dunlin::ServerError> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let worker = WorkerSettings {
        hub: HubLimits {
            memory_budget_bytes: 4 * BYTES_MAX,
            ..HubLimits::default()
        },
        ..WorkerSettings::default()
    };
    let route = RouteSettings {
        session: SessionLimits {
            outbox_bytes_max: BYTES_MAX,
            outbox_soft_bytes: BYTES_MAX,
            ..SessionLimits::default()
        },
        messages_per_second: 0,
        control_per_second: 0,
        ping_after_ms: 0,
        // Every message, however small: the suite looks at what is compressed.
        #[cfg(feature = "deflate")]
        deflate: dunlin::ws::deflate::Settings {
            offered: true,
            min_bytes: 0,
            ..Default::default()
        },
        ..RouteSettings::default()
    }
    .message_bytes_max(BYTES_MAX);
    let bound = Server::new()
        .settings(worker)
        .listen(&address)
        .route_with("/", On::Every, route, || Echo)
        .bind()?;
    for (_, address) in bound.addresses() {
        println!("{address}");
    }
    bound.run()
}
