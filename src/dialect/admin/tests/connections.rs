use super::*;
use crate::hub::{HubLimits, SessionLimits};
use crate::ws::CloseCode;

#[test]
fn connections_are_listed_and_shown() {
    let mut office = Office::new();
    assert_eq!(
        office.get("/connections"),
        (200, "{\"connections\":[],\"next_cursor\":null}".into())
    );
    let route = office.ch;
    let a = office.subscriber("a\"b");
    office
        .house
        .join(office.chat, "/chat/x", &[("group", "room")]);
    office.post("/publish", "", r#"{"channel":"a\"b","data":"12345"}"#);
    let shown = format!(
        "{{\"id\":\"0-0-1\",\"route\":\"/ch/{{channel}}\",\"route_number\":{route},\"user\":null,\
         \"channels\":[{{\"space\":\"pubsub\",\"name\":\"a\\\"b\"}}],\"queued_bytes\":7}}"
    );
    let response = office.ask("GET", "/connections/{id}", "0-0-1", &[], b"");
    assert!(
        response
            .headers
            .contains(&("Cache-Control".into(), "no-store".into()))
    );
    assert_eq!(said(response), (200, shown.clone()));
    let (status, list) = office.get("/connections");
    assert_eq!(status, 200);
    assert!(
        list.starts_with(&format!("{{\"connections\":[{shown},{{\"id\":\"0-1-2\"")),
        "{list}"
    );
    for (query, found) in [
        ("route=/ch/%7Bchannel%7D", &["0-0-1"][..]),
        ("route=/chat/%7Bgroup%7D", &["0-1-2"]),
        ("channel=a%22b", &["0-0-1"]),
        ("channel=a%22b&space=chat", &[]),
        ("channel=a%22b&space=pubsub&user=", &["0-0-1"]),
        ("user=ann", &[]),
    ] {
        let (_, list) = office.get(&format!("/connections?{query}"));
        assert_eq!(ids(&list), found, "{query}");
        assert!(list.ends_with("\"next_cursor\":null}"), "{list}");
    }
    assert_eq!(office.house.got(a).len(), 1);
    office.house.leave(a);
    problem(
        said(office.ask("GET", "/connections/{id}", "0-0-1", &[], b"")),
        404,
        "no such connection",
    );
    office.house.is_empty();
}

#[test]
fn pages_follow_each_other() {
    let mut office = Office::new();
    for n in 0..25 {
        office.subscriber(if n % 2 == 0 { "even" } else { "odd" });
    }
    for (filter, total) in [("", 25), ("&channel=odd", 12)] {
        let mut seen: Vec<String> = Vec::new();
        let mut cursor = String::new();
        loop {
            let (status, list) =
                office.get(&format!("/connections?limit=6{filter}&cursor={cursor}"));
            assert_eq!(status, 200);
            seen.extend(ids(&list).into_iter().map(str::to_owned));
            let next = list
                .split("\"next_cursor\":")
                .nth(1)
                .unwrap()
                .trim_end_matches('}');
            if next == "null" {
                break;
            }
            assert_eq!(ids(&list).len(), 6);
            cursor = next.trim_matches('"').to_owned();
        }
        assert_eq!(seen.len(), total);
        seen.dedup();
        assert_eq!(seen.len(), total, "each once");
    }
    for (query, detail) in [
        ("limit=0", "`limit`"),
        ("limit=1001", "`limit`"),
        ("limit=-1", "`limit`"),
        ("limit=ten", "`limit`"),
        ("cursor=x", "`cursor`"),
        ("cursor=99999999999", "`cursor`"),
    ] {
        for page in ["/connections", "/channels"] {
            problem(office.get(&format!("{page}?{query}")), 400, detail);
        }
    }
    assert_eq!(office.get("/connections?limit=1000").0, 200);
    let (_, list) = office.get("/connections?cursor=4294967295");
    assert_eq!(ids(&list).len(), 0);
}

#[test]
fn nobody_is_subscribed_to_a_channel_that_never_speaks() {
    let mut office = Office::new();
    let guest = office.subscriber("news");
    let id = format!("0-{guest:x}-{:x}", guest + 1);
    for (channel, space, status) in [
        ("a.*", "pubsub", 400),
        (">", "pubsub", 400),
        ("a*", "pubsub", 200),
        ("a.*", "pubsub/patterns", 400),
    ] {
        let body = format!("{{\"channel\":\"{channel}\",\"space\":\"{space}\"}}");
        let answer = office.post("/connections/{id}/subscribe", &id, &body);
        assert_eq!(answer.0, status, "{channel} {space}: {}", answer.1);
    }
}

#[test]
fn a_page_has_so_many_bytes_and_no_more() {
    let mut office = Office::new();
    for n in 0..20 {
        let guest = office.subscriber("news");
        let id = format!("0-{guest:x}-{:x}", guest + 1);
        for channel in 0..120 {
            let body = format!("{{\"channel\":\"{}{n}-{channel}\"}}", "x".repeat(200));
            assert_eq!(
                office.post("/connections/{id}/subscribe", &id, &body).0,
                200
            );
        }
    }
    let (_, list) = office.get("/connections?limit=1000");
    assert!(list.len() < 320 << 10, "{}", list.len());
    assert!((8..20).contains(&ids(&list).len()), "{}", ids(&list).len());
    assert!(list.contains("\"next_cursor\":\""));
}

#[test]
fn channels_are_listed_without_users() {
    let mut office = Office::new();
    for channel in ["news", "news", "new", "sport"] {
        office.subscriber(channel);
    }
    office
        .house
        .join(office.chat, "/chat/x", &[("group", "newcomers")]);
    let (_, list) = office.get("/channels?prefix=new&space=pubsub");
    assert_eq!(
        list,
        "{\"channels\":[{\"space\":\"pubsub\",\"name\":\"news\",\"subscribers\":2},\
         {\"space\":\"pubsub\",\"name\":\"new\",\"subscribers\":1}],\"next_cursor\":null}"
    );
    let (_, list) = office.get("/channels?limit=2");
    assert!(list.ends_with("],\"next_cursor\":\"2\"}"), "{list}");
    let (_, list) = office.get("/channels?limit=2&cursor=2");
    assert!(list.contains("sport") && !list.contains("news"), "{list}");
    assert_eq!(
        office.get("/channels?space=nowhere").1.len(),
        "{\"channels\":[],\"next_cursor\":null}".len()
    );
}

#[test]
fn what_is_sent_arrives_as_it_came() {
    let mut office = Office::new();
    let a = office.subscriber("news");
    let b = office.subscriber("news");
    for (kind, body, got) in [
        (None, &b"hello"[..], Got::Text("hello".into())),
        (None, b"", Got::Text(String::new())),
        (None, b"\xff", Got::Binary(vec![0xff])),
        (
            Some("application/octet-stream"),
            b"x",
            Got::Binary(vec![b'x']),
        ),
        (
            Some("application/x-www-form-urlencoded"),
            b"a=b",
            Got::Text("a=b".into()),
        ),
    ] {
        let headers: Vec<_> = kind.iter().map(|kind| ("Content-Type", *kind)).collect();
        let answer = office.ask("POST", "/connections/{id}/send", "0-0-1", &headers, body);
        let queued = body.len() + 2;
        assert_eq!(
            said(answer),
            (
                200,
                format!("{{\"id\":\"0-0-1\",\"queued_bytes\":{queued}}}")
            )
        );
        assert_eq!(office.house.got(a), [got]);
    }
    assert_eq!(office.house.got(b), []);
    for unknown in ["0-0-2", "1-0-1", "0-7-1", "x", "", "0-0-1-1", "0/0/1"] {
        problem(
            office.post("/connections/{id}/send", unknown, "x"),
            404,
            "no such connection",
        );
    }
    assert_eq!(office.house.hub.metrics.refused("no_connection"), 7);
}

#[test]
fn the_memory_budget_refuses_what_is_sent() {
    let mut office = Office::with(House::with_budget(1000));
    let a = office.subscriber("news");
    let large = "x".repeat(600);
    assert_eq!(
        office.post("/connections/{id}/send", "0-0-1", &large).0,
        200
    );
    problem(
        office.post("/connections/{id}/send", "0-0-1", &large),
        503,
        "memory budget",
    );
    let aws = office.ask("POST", "/@connections/{id}", "0-0-1", &[], large.as_bytes());
    assert_eq!(aws.status, 503);
    assert_eq!(office.house.got(a).len(), 1);
}

#[test]
fn closing_has_a_code_and_a_reason() {
    let mut office = Office::new();
    let all: Vec<Id> = (0..4).map(|_| office.subscriber("news")).collect();
    let reason = "é".repeat(61);
    for (guest, body, code, reason) in [
        (0, "", 1000, ""),
        (1, "{}", 1000, ""),
        (2, "{\"code\":4000,\"reason\":\"b\\u0079e\"}", 4000, "bye"),
        (3, &format!("{{\"reason\":\"{reason}\"}}"), 1000, &reason),
    ] {
        let id = format!("0-{guest}-{}", guest + 1);
        let answer = format!("{{\"id\":\"{id}\",\"code\":{code},\"reason\":\"{reason}\"}}");
        assert_eq!(
            office.post("/connections/{id}/close", &id, body),
            (200, answer)
        );
        assert_eq!(office.house.closed(all[guest]), Some(CloseCode(code)));
        problem(
            office.post("/connections/{id}/close", &id, body),
            404,
            "no such",
        );
    }
    let last = office.subscriber("news");
    let (_, list) = office.get("/connections");
    let id = ids(&list)[0].to_owned();
    for code in [
        "0", "999", "1004", "1005", "1006", "1015", "2999", "5000", "65536", "-1", "1e3",
        "\"1000\"", "null",
    ] {
        let body = format!("{{\"code\":{code}}}");
        problem(
            office.post("/connections/{id}/close", &id, &body),
            400,
            "close code",
        );
    }
    for (body, detail) in [
        ("{\"reason\":7}", "must be a string"),
        ("{\"reason\":\"\\ud800\"}", "must be a string"),
        (
            &format!("{{\"reason\":\"{}\"}}", "x".repeat(124)),
            "at most 123",
        ),
        ("{\"code\":1000", "not JSON"),
        ("[]", "object"),
    ] {
        problem(
            office.post("/connections/{id}/close", &id, body),
            400,
            detail,
        );
    }
    let binary = office.ask("POST", "/connections/{id}/close", &id, &[], b"\xff");
    problem(said(binary), 400, "UTF-8");
    assert_eq!(office.house.closed(last), None);
    let gone = office.ask("DELETE", "/connections/{id}", &id, &[], b"");
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    assert_eq!(office.house.closed(last), Some(CloseCode::NORMAL));
    office.house.is_empty();
}

#[test]
fn a_connection_is_subscribed_from_outside() {
    let mut office = Office::new();
    let a = office.subscriber("news");
    let member = office
        .house
        .join(office.chat, "/chat/x", &[("group", "room")]);
    let channel = "{\"channel\":\"sport\"}";
    for (page, wanted, changed) in [
        ("subscribe", true, true),
        ("subscribe", true, false),
        ("unsubscribe", false, true),
        ("unsubscribe", false, false),
        ("subscribe", true, true),
    ] {
        assert_eq!(
            office.post(&format!("/connections/{{id}}/{page}"), "0-0-1", channel),
            (
                200,
                format!(
                    "{{\"id\":\"0-0-1\",\"space\":\"pubsub\",\"channel\":\"sport\",\
                     \"subscribed\":{wanted},\"changed\":{changed}}}"
                )
            )
        );
    }
    let in_chat = "{\"channel\":\"sport\",\"space\":\"pubsub\"}";
    assert_eq!(
        office
            .post("/connections/{id}/subscribe", "0-1-2", in_chat)
            .0,
        200
    );
    let (_, list) = office.get("/connections?channel=sport");
    assert_eq!(ids(&list), ["0-0-1", "0-1-2"]);
    office.post("/publish", "", "{\"channel\":\"sport\",\"data\":\"2:1\"}");
    assert_eq!(office.house.got(a), [Got::Text("2:1".into())]);
    assert_eq!(office.house.got(member), [Got::Text("2:1".into())]);
    for (body, detail) in [
        ("", "\\\"channel\\\""),
        ("{\"channel\":7}", "\\\"channel\\\""),
        ("{\"channel\":\"\"}", "empty"),
        ("{\"channel\":\"a\\u0007\"}", "control character"),
        ("{\"channel\":\"a\",\"space\":null}", "\\\"space\\\""),
        ("{\"channel\":\"a\",\"space\":\"nowhere\"}", "\\\"space\\\""),
        ("{\"channel\":\"a\",\"space\":\"user\"}", "\\\"space\\\""),
        ("{\"channel\":", "not JSON"),
    ] {
        for page in [
            "/connections/{id}/subscribe",
            "/connections/{id}/unsubscribe",
        ] {
            problem(office.post(page, "0-0-1", body), 400, detail);
        }
    }
    problem(
        office.post("/connections/{id}/subscribe", "0-9-9", channel),
        404,
        "no such",
    );
    office.house.is_empty();
}

#[test]
fn subscriptions_have_limits_from_outside_too() {
    let session = SessionLimits {
        subscriptions_max: 2,
        ..SessionLimits::default()
    };
    let hub = HubLimits {
        channels_max: 3,
        ..HubLimits::default()
    };
    let mut office = Office::with(House::with_limits(hub, session));
    office.subscriber("a");
    office.subscriber("b");
    let page = "/connections/{id}/subscribe";
    assert_eq!(office.post(page, "0-0-1", "{\"channel\":\"c\"}").0, 200);
    problem(
        office.post(page, "0-0-1", "{\"channel\":\"b\"}"),
        422,
        "too many subscriptions",
    );
    problem(
        office.post(page, "0-1-2", "{\"channel\":\"d\"}"),
        503,
        "too many channels",
    );
}

#[test]
fn an_aws_api_is_spoken() {
    let mut office = Office::new();
    let a = office.subscriber("news");
    let mut ask = |method: &str, id: &str, body: &[u8]| {
        let headers = [("Content-Type", "application/octet-stream")];
        office.ask(method, "/@connections/{id}", id, &headers, body)
    };
    assert_eq!(said(ask("POST", "0-0-1", b"hi")), (200, "{}".into()));
    assert_eq!(said(ask("GET", "0-0-1", b"")), (200, "{}".into()));
    assert_eq!(ask("POST", "0-0-1", &[b'x'; 131_072]).status, 200);
    let large = ask("POST", "0-0-1", &[b'x'; 131_073]);
    let kind = |kind: &'static str| ("x-amzn-ErrorType".into(), kind.into());
    assert!(large.status == 413 && large.headers.contains(&kind("PayloadTooLargeException")));
    assert_eq!(ask("DELETE", "0-0-1", b"").status, 204);
    for method in ["POST", "GET", "DELETE"] {
        let gone = ask(method, "0-0-1", b"");
        assert!(gone.headers.contains(&kind("GoneException")));
        assert_eq!(said(gone), (410, "{\"message\":null}".into()));
    }
    let got = office.house.got(a);
    assert_eq!((got.len(), got[0].text()), (2, "hi"));
    assert_eq!(office.house.closed(a), Some(CloseCode::NORMAL));
}
