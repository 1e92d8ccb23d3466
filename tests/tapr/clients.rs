//! A real application and real clients, each as a process of its own.

use std::process::Command;

use dunlin::net::http_request;
use serde_json::{Value, json};

use crate::app::App;
use crate::gateway::{Gateway, hears_nothing, say};
use crate::support::{Child, Folder, Port, client_file as file};

fn node(script: &str) -> Command {
    file("node_modules/ws");
    let mut command = Command::new("node");
    command.arg(file(script));
    command
}

fn python(script: &str) -> Command {
    let mut command = Command::new(file(".venv/bin/python"));
    command.arg("-u").arg(file(script)).env("PYTHONUTF8", "1");
    command
}

/// The application in Node.
struct NodeApp {
    child: Child,
    port: u16,
}

impl NodeApp {
    fn start(port: &Port, gateway: &Gateway) -> Self {
        let control = format!("http://{}", gateway.dunlin.tapr);
        let mut command = node("tapr_app.mjs");
        let mut child = Child::start(command.arg(port.number.to_string()).arg(control));
        child.line("application ready");
        Self {
            child,
            port: port.number,
        }
    }

    /// What is to happen to callbacks.
    fn script(&self, script: &Value) {
        let url = format!("http://127.0.0.1:{}/script", self.port);
        let answer = http_request("POST", &url, &[], script.to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 200);
    }

    /// The next callback that says this.
    fn callback(&mut self, part: &str) -> Value {
        loop {
            let line = self.child.line("callback ");
            if line.contains(part) {
                return serde_json::from_str(line.strip_prefix("callback ").unwrap()).unwrap();
            }
        }
    }
}

/// Runs a script that checks for itself; each line `ok: …` was counted by whoever wrote it.
#[track_caller]
fn checks(mut command: Command, ok: usize) {
    let said = Child::start(&mut command).success();
    assert_eq!(said.matches("ok: ").count(), ok, "{said}");
    assert!(said.contains("done: "), "{said}");
}

#[test]
fn a_node_application_with_npm_ws() {
    let port = Port::reserve();
    let gateway = Gateway::start(&port);
    let mut app = NodeApp::start(&port, &gateway);
    let mut command = node("tapr_ws.mjs");
    command.arg(gateway.ws());
    checks(command, 5);
    let open = app.callback("open");
    assert_eq!(
        (&open["user_name"], &open["token"]),
        (&json!("alice"), &json!("t"))
    );
    assert_eq!(open["cookie"], "auth_token=t; a=b");
    assert_eq!(
        app.callback("\"action\":\"close\"")["conn_id"],
        open["conn_id"]
    );
    // Open, ask, shout, bye, close: the pings were not passed on.
    assert_eq!(app.child.count("callback "), 5, "{:?}", app.child.seen);
    gateway.stop();
}

#[test]
fn a_node_application_with_pypi_websockets() {
    let port = Port::reserve();
    let gateway = Gateway::start(&port);
    let mut app = NodeApp::start(&port, &gateway);
    let mut command = python("tapr_websockets.py");
    command.arg(gateway.ws());
    checks(command, 5);
    assert_eq!(app.callback("\"action\":\"close\"")["user_name"], "bob");
    assert_eq!(app.child.count("callback "), 5, "{:?}", app.child.seen);
    gateway.stop();
}

/// TP-13 with an application that somebody else has written: slow, failing, ended and started again.
#[test]
fn tp_13_a_node_application_may_fail_and_come_back() {
    let port = Port::reserve();
    let gateway = Gateway::start_with(&port, &[("DUNLIN_TAPR__CALLBACK_TIMEOUT_MS", "300")]);
    let mut app = NodeApp::start(&port, &gateway);
    let mut client = gateway.user("alice", "t");
    app.callback("open");
    app.script(&json!({"status": 500}));
    say(&mut client, r#"{"n":1}"#);
    app.callback("\"n\":1");
    app.script(&json!({"delay_ms": 1500}));
    say(&mut client, r#"{"n":2}"#);
    app.callback("\"n\":2");
    gateway.await_refused("call_timeout", 1);
    drop(app);
    say(&mut client, r#"{"n":3}"#);
    say(&mut client, r#"{"n":4}"#);
    gateway.await_refused("call_connect", 1);
    let mut app = NodeApp::start(&port, &gateway);
    assert_eq!(app.callback("")["data"], json!({"n": 3}));
    assert_eq!(app.callback("")["data"], json!({"n": 4}));
    hears_nothing(&mut client);
    drop(client);
    assert_eq!(app.callback("")["action"], "close");
    assert_eq!(gateway.refused("tapr_callback_status"), 1);
    gateway.stop();
}

/// A fiftieth of the time, on both sides: five minutes are six seconds.
const HURRY: u32 = 50;

fn bytetrade_core(gateway: &Gateway, arguments: &[&str]) -> Child {
    file("node_modules/@bytetrade/core");
    let mut command = Command::new("node");
    command
        .arg("--import")
        .arg(file("prelude.mjs"))
        .arg(file("tapr_core.mjs"))
        .args(arguments)
        .env("CLIENT_URL", gateway.ws())
        .env("CLIENT_HURRY", HURRY.to_string());
    Child::start(&mut command)
}

#[test]
fn tp_17_the_client_of_bytetrade_core_stays_for_five_minutes() {
    let port = Port::reserve();
    let app = App::start(&port);
    let (timeout, check) = ((45_000 / HURRY).to_string(), (30_000 / HURRY).to_string());
    let hurry = [
        ("DUNLIN_TAPR__PING_TIMEOUT_MS", timeout.as_str()),
        ("DUNLIN_TAPR__PING_CHECK_MS", check.as_str()),
    ];
    let gateway = Gateway::start_with(&port, &hurry);
    let mut client = bytetrade_core(&gateway, &["10"]);
    let done = client.line("done: ");
    assert_eq!(
        done, "done: 10 pongs, 1 opened, 0 reconnects",
        "{:?}",
        client.seen
    );
    assert!(client.end().success());
    assert_eq!(app.next().action(), "open");
    assert_eq!(
        app.next().json()["data"],
        json!({"event": "login", "data": {"id": 1}})
    );
    assert_eq!(app.next().action(), "close");
    assert_eq!(gateway.refused("tapr_ping_timeout"), 0);
    gateway.stop();
}

/// The same client with another pong in mind, so that the test above is known to be able to fail.
#[test]
fn tp_17_the_client_of_bytetrade_core_gives_up_for_a_single_blank() {
    let gateway = Gateway::start_as(&[]);
    let mut client = bytetrade_core(&gateway, &["10", r#"{"event": "pong"}"#]);
    client.line("reconnect");
    drop(client);
    drop(gateway);
}

/// TP-19, and what a page can do to the control paths: nothing.
#[test]
fn tp_19_a_browser_opens_and_drives_nothing() {
    let port = Port::reserve();
    let app = App::start(&port);
    let gateway = Gateway::start(&port);
    let profile = Folder::new();
    let page = format!(
        "file://{}?ws={}&control=http://{}/tapr/ws/conn",
        file("tapr.html").display(),
        gateway.ws(),
        gateway.dunlin.tapr
    );
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args(["--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", profile.0.display()))
        .arg(page);
    let browser = Child::start(&mut command);
    let open = app.next();
    assert_eq!(open.action(), "open");
    assert_eq!(
        app.next().json()["data"],
        json!({"event": "opened", "data": {"protocol": "a"}})
    );
    gateway.send(&json!({"payload": {"a": 1}, "conn_id": open.conn()}));
    assert_eq!(
        app.next().json()["data"],
        json!({"event": "heard", "data": {"text": "{\"a\":1}"}})
    );
    // It is still connected after it has tried to close everybody, with a form and with JSON.
    assert_eq!(app.next().json()["data"]["event"], "tried");
    assert_eq!(gateway.refused("origin"), 2);
    drop(browser);
    assert_eq!(app.next().action(), "close");
    gateway.stop();
}
