use super::*;

#[test]
fn a_form_is_no_json() {
    let mut office = Office::new();
    let a = office.subscriber("news");
    let body = b"{\"channel\":\"news\",\"data\":1}";
    for page in [
        "/publish",
        "/connections/{id}/close",
        "/connections/{id}/subscribe",
        "/connections/{id}/unsubscribe",
    ] {
        for kind in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "text/plain;application/json",
            "",
            "application/jsonp",
        ] {
            for body in [&body[..], b""] {
                let answer = office.ask("POST", page, "0-0-1", &[("Content-Type", kind)], body);
                assert!(
                    answer
                        .headers
                        .contains(&("Accept-Post".into(), "application/json".into()))
                );
                problem(said(answer), 415, "application/json");
            }
        }
    }
    let twice = [
        ("Content-Type", "application/json"),
        ("Content-Type", "text/plain"),
    ];
    problem(
        said(office.ask("POST", "/publish", "", &twice, body)),
        415,
        "",
    );
    assert_eq!(
        (office.house.got(a), office.house.closed(a)),
        (vec![], None)
    );
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/cloudevents+json",
    ] {
        let answer = office.ask("POST", "/publish", "", &[("Content-Type", kind)], body);
        assert_eq!(answer.status, 200, "{kind}");
    }
}

#[test]
fn a_publication_with_a_key_is_made_once() {
    let mut office = Office::new();
    let a = office.subscriber("news");
    let publish = |office: &mut Office, key: &str, body: &str| {
        office.ask(
            "POST",
            "/publish",
            "",
            &[("Idempotency-Key", key)],
            body.as_bytes(),
        )
    };
    let body = "{\"channel\":\"news\",\"data\":1}";
    let replayed = ("Idempotency-Replayed".into(), "true".into());
    let first = publish(&mut office, "k", body);
    assert!(first.status == 200 && !first.headers.contains(&replayed));
    let second = publish(&mut office, "k", body);
    assert!(second.status == 200 && second.headers.contains(&replayed));
    assert_eq!(first.body, second.body);
    assert_eq!(office.house.got(a).len(), 1);
    problem(
        said(publish(
            &mut office,
            "k",
            "{\"channel\":\"news\",\"data\":2}",
        )),
        422,
        "another body",
    );
    assert_eq!(office.house.got(a).len(), 0);
    // What was refused may be sent again.
    problem(
        said(publish(&mut office, "r", "{\"channel\":\"\"}")),
        400,
        "empty",
    );
    assert_eq!(publish(&mut office, "r", body).status, 200);
    for bad in ["", &"x".repeat(256)] {
        problem(
            said(publish(&mut office, bad, body)),
            400,
            "Idempotency-Key",
        );
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")];
    problem(
        said(office.ask("POST", "/publish", "", &twice, body.as_bytes())),
        400,
        "once",
    );
    office.house.got(a);
    office.house.pass(599_999);
    assert!(publish(&mut office, "k", body).headers.contains(&replayed));
    office.house.pass(1);
    assert!(!publish(&mut office, "k", body).headers.contains(&replayed));
    assert_eq!(office.house.got(a).len(), 1);
}

#[test]
fn keys_are_forgotten_beyond_their_number_and_their_bytes() {
    let mut office = Office::new();
    let mut is_new = |key: &str, body: &str| {
        let headers = [("Idempotency-Key", key)];
        let answer = office.ask("POST", "/publish", "", &headers, body.as_bytes());
        assert_eq!(answer.status, 200);
        !answer
            .headers
            .iter()
            .any(|(name, _)| name == "Idempotency-Replayed")
    };
    let small = "{\"channel\":\"news\",\"data\":1}";
    for n in 0..1024 {
        assert!(is_new(&n.to_string(), small));
    }
    assert!(!is_new("0", small), "the last that there is room for");
    assert!(is_new("1024", small));
    assert!(is_new("0", small), "one too many");
    assert!(!is_new("2", small));
    // Answers of some 60 KiB: seventeen are more than a mebibyte.
    let names: Vec<String> = (0..1000).map(|n| format!("\"{n:0>12}\"")).collect();
    let large = format!("{{\"channels\":[{}],\"data\":1}}", names.join(","));
    for n in 0..17 {
        assert!(is_new(&format!("large {n}"), &large));
    }
    assert!(!is_new("large 16", &large));
    assert!(is_new("large 0", &large));
    assert!(is_new("1024", small), "older than the large ones");
}
