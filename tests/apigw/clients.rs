//! A real back end and real devices, each as a process of its own.

use std::process::Command;

use crate::rig::Rig;
use crate::support::{Child, Port, client_file as file};

fn python(script: &str) -> Command {
    let mut command = Command::new(file(".venv/bin/python"));
    command.arg("-u").arg(file(script)).env("PYTHONUTF8", "1");
    command
}

/// The back end in Python, which signs with these.
fn back_end(port: &Port, rig: &Rig, key: &[&str]) -> Child {
    let mut command = python("apigw_app.py");
    command.arg(port.number.to_string()).arg(rig.url(""));
    let mut child = Child::start(command.args(key));
    child.line("back end ready");
    child
}

/// Runs a script that checks for itself; each line `ok: …` was counted by whoever wrote it.
#[track_caller]
fn checks(mut command: Command, ok: usize) -> String {
    let said = Child::start(&mut command).success();
    assert_eq!(said.matches("ok: ").count(), ok, "{said}");
    assert!(said.contains("done: "), "{said}");
    said
}

#[test]
fn a_device_in_python_with_a_back_end_in_python() {
    let port = Port::reserve();
    let rig = Rig::start(&port);
    let mut app = back_end(&port, &rig, &[]);
    let mut command = python("apigw_websockets.py");
    command.arg(rig.ws()).arg(rig.url(""));
    checks(command, 8);
    app.sooner_or_later("greeted ffd3234343dae324342@12344133 200");
    app.sooner_or_later("unregister ffd3234343dae324342@12344133");
    rig.stop();
}

#[test]
fn two_devices_in_node_talk_through_a_back_end() {
    let port = Port::reserve();
    let rig = Rig::start(&port);
    let _app = back_end(&port, &rig, &[]);
    file("node_modules/ws");
    let mut command = Command::new("node");
    command.arg(file("apigw_ws.mjs")).arg(rig.ws());
    checks(command, 5);
    rig.stop();
}

/// AL-16: the Java library's state machine, with signatures on both sides, through three lives and into a fourth.
#[test]
fn al_16_the_java_library_comes_back_whenever_it_is_told_to_go() {
    let port = Port::reserve();
    let rig = Rig::start_with(
        &port,
        &[
            ("app_keys", "12344133=secret123"),
            ("register_paths", "/register,/unregister"),
            ("keep_alive_ms", "300"),
            ("keep_alive_misses", "100"),
            ("lifetime_ms", "2s"),
        ],
    );
    let mut app = back_end(&port, &rig, &["12344133", "secret123"]);
    let mut command = Command::new("java");
    command
        .arg("-XX:TieredStopAtLevel=1")
        .arg(file("ApiGatewayDevice.java"))
        .args([&rig.ws(), "12344133", "secret123", "3", "100"]);
    let said = checks(command, 5);
    assert!(said.contains("ok: 4 registrations, "), "{said}");
    app.sooner_or_later("unregister ");
    assert_eq!(app.count("register "), 5, "{:?}", app.seen);
    for reason in ["apigw_signature", "apigw_heartbeat", "bad_message"] {
        assert_eq!(rig.refused(reason), 0, "{reason}");
    }
    rig.stop();
}
