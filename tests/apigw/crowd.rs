//! Many devices at once.

use std::thread;

use dunlin::Message;

use crate::app::{Answer, App};
use crate::rig::{Rig, answer, call, notify, say, signal, status, text};
use crate::support::Port;

/// Devices, and notifications for each of them.
const DEVICES: usize = 200;
const NOTES: usize = 5;

#[test]
fn each_device_gets_its_own_notifications_in_order() {
    let port = Port::reserve();
    let _app = App::start(&port);
    let rig = Rig::start(&port);
    let mut devices: Vec<_> = (0..DEVICES)
        .map(|n| rig.device(&format!("device-{n}")).0)
        .collect();
    for device in &mut devices {
        say(device, &signal("0", "REGISTER"));
    }
    for device in &mut devices {
        assert_eq!(status(device), ("0".to_owned(), 200));
    }
    let url = rig.url("/notify");
    let senders: Vec<_> = (0..4)
        .map(|part| {
            let url = url.clone();
            thread::spawn(move || {
                for round in 0..NOTES {
                    for n in (part..DEVICES).step_by(4) {
                        let answer = notify(&url, &format!("device-{n}"), &format!("{n}.{round}"));
                        assert_eq!(answer.status, 200);
                    }
                }
            })
        })
        .collect();
    let listeners: Vec<_> = devices
        .chunks_mut(1)
        .zip(0..)
        .map(|(device, n)| (device.first_mut().unwrap(), n))
        .collect();
    thread::scope(|scope| {
        let mut all = listeners;
        while !all.is_empty() {
            let own: Vec<_> = all.drain(..all.len().min(DEVICES / 8)).collect();
            scope.spawn(move || {
                let mut own = own;
                for round in 0..NOTES {
                    // Senders go through the devices in the order of their numbers, and so do these.
                    for (device, n) in &mut own {
                        assert_eq!(text(device), format!("NF#{n}.{round}"));
                        say(device, "NO");
                    }
                }
            });
        }
    });
    for sender in senders {
        sender.join().unwrap();
    }
    drop(devices);
    rig.stop();
}

#[test]
fn a_hundred_calls_at_once_and_each_has_its_answer() {
    let port = Port::reserve();
    let app = App::start_as(&port, |asked| Answer::Status(200, asked.line.clone()));
    let rig = Rig::start(&port);
    let mut devices: Vec<_> = (0..10).map(|_| rig.connect()).collect();
    for (at, device) in devices.iter_mut().enumerate() {
        for n in 0..100 {
            let request = call(&n.to_string(), "POST", &format!("/{at}/{n}"));
            device.send(Message::Text(&request)).unwrap();
        }
    }
    for (at, device) in devices.iter_mut().enumerate() {
        let mut seen = [false; 100];
        for _ in 0..100 {
            let answer = answer(device);
            let n: usize = answer["header"]["x-ca-seq"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(answer["body"], format!("POST /{at}/{n} HTTP/1.1"));
            assert!(!std::mem::replace(&mut seen[n], true), "{n} came twice");
        }
    }
    assert_eq!(app.calls(), 1000);
    drop(devices);
    rig.stop();
}
