//! The settings of a gateway in front of Ethereum nodes.

use dunlin::config::{Config, Dialect, Input};

use crate::program::TempFile;
use crate::{check, refused};

/// A gateway to a node with these lines of its route, and this address beside the usual ones.
fn gateway(route: &str, listen: &str) -> String {
    format!(
        "listen = [\"localhost:2661\"{listen}]\n[[route]]\npath = \"/\"\ndialect = \"jsonrpc\"\n\
         upstream = [\"ws://127.0.0.1:8546\"]\n{route}\n"
    )
}

#[test]
fn a_stream_of_values_needs_somebody_behind_it() {
    let ipc = ", \"ipc:/tmp/dunlin-x.ipc\"";
    assert_eq!(check(&gateway("", ipc)).code, Some(0));
    let elsewhere = gateway("", ipc).replace("path = \"/\"", "path = \"/eth\"");
    let err = refused(&elsewhere);
    assert!(
        err.contains("`ipc:/tmp/dunlin-x.ipc` of listener \"main\" has nobody behind it"),
        "{err}"
    );
}

#[test]
fn et_15_origins_of_a_gateway_are_rules() {
    let of = |text: &str| {
        let file = TempFile::new("origins.toml", text);
        let input = Input {
            file: Some(file.as_str().into()),
            ..Input::default()
        };
        let config = Config::load(&input).unwrap();
        let route = config.routes.iter().find(|r| r.dialect == Dialect::JsonRpc);
        format!("{:?}", route.unwrap().settings.origins)
    };
    assert_eq!(of(&gateway("", "")), "Rules([\"http://localhost\"])");
    let own = "origins = [\"https://app\", \"other.example:8443\"]";
    assert_eq!(
        of(&gateway(own, "")),
        "Rules([\"https://app\", \"other.example:8443\"])"
    );
    assert_eq!(of(&gateway("origins = [\"*\"]", "")), "Any");
    let err = refused(&gateway("origins = [\"https://app/x\"]", ""));
    assert!(err.contains("is no rule for origins"), "{err}");
}

#[test]
fn a_gateway_needs_nodes_that_can_be_reached() {
    let route = "[[route]]\npath = \"/\"\ndialect = \"jsonrpc\"\n";
    let err = refused(route);
    assert!(err.starts_with("FILE:1:1: a gateway needs a node"), "{err}");
    for (url, why) in [
        ("wss://node/", "this build has no TLS"),
        ("https://node/", "this build has no TLS"),
        ("node:8546", "write ws://HOST:PORT/PATH"),
        ("ipc:geth.ipc", "the path of a socket begins with /"),
    ] {
        let err = refused(&format!("{route}upstream = \"{url}\"\n"));
        assert!(err.starts_with("FILE:4:1: ") && err.contains(why), "{err}");
        let err = refused(&format!("[jsonrpc]\nupstream = [\"{url}\"]\n{route}"));
        assert!(err.starts_with("FILE:2:1: ") && err.contains(why), "{err}");
    }
}

#[test]
fn a_gateway_has_the_limits_of_a_node() {
    let text = "[jsonrpc]\nupstream = [\"ws://[::1]:8546\", \"ipc:/x/geth.ipc\", \"http://node\"]\n\
                [[route]]\npath = \"/\"\ndialect = \"jsonrpc\"\n";
    let file = TempFile::new("limits.toml", text);
    let input = Input {
        file: Some(file.as_str().into()),
        ..Input::default()
    };
    let config = Config::load(&input).unwrap();
    let is_gateway = |r: &&dunlin::config::Route| r.dialect == Dialect::JsonRpc;
    let settings = &config.routes.iter().find(is_gateway).unwrap().settings;
    assert_eq!(settings.ws.message_bytes_max, 32 << 20);
    assert_eq!(settings.body_bytes_max, 5 << 20);
    assert_eq!(
        (settings.ping_after_ms, settings.ping_grace_ms),
        (30_000, 30_000)
    );
    assert_eq!(config.worker.calls.answer_bytes_max, 32 << 20);
    let called: Vec<_> = config.applications().collect();
    assert_eq!(called, [("::1", 8546), ("node", 80)]);
    let sockets: Vec<_> = config.sockets().collect();
    assert_eq!(sockets, [std::path::Path::new("/x/geth.ipc")]);
    let config = Config::load(&Input::default()).unwrap();
    assert_eq!(config.worker.calls.answer_bytes_max, 64 << 10);
}
