//! What the office answers.
#![allow(clippy::unwrap_used)]
mod connections;
mod publish;

use super::*;
use crate::dialect::testing::{Got, House, Id};
use crate::dialect::{Chat, PubSub};

/// Pages by the end of their path, and two kinds of guests.
struct Office {
    house: House,
    pages: Vec<(&'static str, usize)>,
    ch: usize,
    chat: usize,
}

impl Office {
    fn new() -> Self {
        Self::with(House::new())
    }

    fn with(mut house: House) -> Self {
        let pages = PAGES.map(|(end, ..)| {
            let admin = Admin::at(end, PubSubOptions::default()).unwrap();
            (end, house.route(end, admin))
        });
        let ch = house.route("/ch/{channel}", PubSub::default());
        let chat = house.route("/chat/{group}", Chat::default());
        Self {
            house,
            pages: pages.into(),
            ch,
            chat,
        }
    }

    fn subscriber(&mut self, channel: &str) -> Id {
        self.house.join(self.ch, "/ch/x", &[("channel", channel)])
    }

    fn ask(
        &mut self,
        method: &str,
        page: &str,
        id: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let (end, query) = page.split_once('?').unwrap_or((page, ""));
        let route = self.pages.iter().find(|(e, _)| *e == end).unwrap().1;
        let target = format!("/x?{query}");
        self.house
            .request_with(route, method, &target, headers, &[("id", id)], body)
    }

    fn get(&mut self, page: &str) -> (u16, String) {
        said(self.ask("GET", page, "", &[], b""))
    }

    fn post(&mut self, page: &str, id: &str, body: &str) -> (u16, String) {
        said(self.ask("POST", page, id, &[], body.as_bytes()))
    }
}

fn said(response: Response) -> (u16, String) {
    (response.status, String::from_utf8(response.body).unwrap())
}

fn problem((status, text): (u16, String), expected: u16, detail: &str) {
    assert_eq!(status, expected, "{text}");
    assert!(text.contains(detail), "{text}");
}

/// The ids in a list, in order.
fn ids(json: &str) -> Vec<&str> {
    let parts = json.split("\"id\":\"").skip(1);
    parts.map(|part| part.split('"').next().unwrap()).collect()
}

#[test]
fn probes_answer_get_and_head_only() {
    let mut house = House::new();
    let health = house.route("/healthz", Health);
    let ready = house.route("/readyz", Ready);
    let metrics = house.route("/metrics", MetricsPage);
    assert_eq!(house.request(health, "GET", "/healthz", b"").body, b"ok");
    assert_eq!(house.request(ready, "GET", "/readyz", b"").body, b"ready");
    let page = house.request(metrics, "HEAD", "/metrics", b"");
    assert_eq!(
        page.headers,
        [("Content-Type".into(), "text/plain; version=0.0.4".into())]
    );
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("dunlin_sessions 0\n"), "{text}");
    for route in [health, ready, metrics] {
        let refused = house.request(route, "POST", "/", b"");
        assert_eq!(refused.status, 405);
        assert!(
            refused
                .headers
                .contains(&("Allow".into(), "GET, HEAD".into()))
        );
        assert_eq!(house.upgrade(route, "/", &[]).unwrap_err().status, 404);
    }
    house.hub.draining = true;
    let draining = house.request(ready, "GET", "/readyz", b"");
    assert_eq!(draining.status, 503);
    assert!(
        draining
            .headers
            .contains(&("Retry-After".into(), "1".into()))
    );
    assert_eq!(house.request(health, "GET", "/healthz", b"").body, b"ok");
}

#[test]
fn metrics_count_sessions_by_template() {
    let mut office = Office::new();
    let metrics = office.house.route("/metrics", MetricsPage);
    let a = office.subscriber("news");
    office.subscriber("news");
    office.house.leave(a);
    let text = said(office.house.request(metrics, "GET", "/metrics", b"")).1;
    for line in [
        "dunlin_route_sessions{route=\"/ch/{channel}\"} 1",
        concat!(
            "dunlin_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\",features=\""
        ),
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line}: {text}");
    }
    assert!(!text.contains("/chat/"), "nobody was ever there");
    // The text format: names are ours, each has its type once, before its values.
    let mut typed = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ") {
            let name = name.split(' ').next().unwrap();
            assert!(!typed.contains(&name), "{name} twice");
            typed.push(name);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(
                name.starts_with("dunlin_") && typed.contains(&name),
                "{line}"
            );
        }
    }
}

#[test]
fn every_page_has_its_methods_and_no_websocket() {
    let mut office = Office::new();
    for (end, _, methods) in PAGES {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            let response = office.ask(method, end, "0-0-0", &[], b"{}");
            assert_eq!(
                response.status == 405,
                !methods.contains(&method),
                "{method} {end}"
            );
            if response.status == 405 {
                let allow = ("Allow".into(), methods.join(", ").into());
                assert!(response.headers.contains(&allow), "{end}");
            }
        }
        let route = office.pages.iter().find(|(e, _)| *e == end).unwrap().1;
        assert_eq!(
            office.house.upgrade(route, "/", &[]).unwrap_err().status,
            404
        );
    }
    for nothing in [
        "/v1/connection",
        "/v1/connections/{name}",
        "/connections/",
        "/",
        "",
    ] {
        assert!(
            Admin::at(nothing, PubSubOptions::default()).is_none(),
            "{nothing}"
        );
    }
}
