//! Chapter 4: the opening handshake, as the server and as the client.

use dunlin::ws::{
    AnswerError, Offer, Refusal, Subprotocols, UpgradeRequest, accept_key, check, check_response,
    client_key, wants_upgrade, write_request, write_switching_protocols,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

type Headers<'a> = Vec<(&'a str, &'a str)>;

/// The request of RFC 6455 §1.2, without its subprotocols.
fn headers() -> Headers<'static> {
    vec![
        ("Host", "server.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Origin", "http://example.com"),
        ("Sec-WebSocket-Version", "13"),
    ]
}

/// The request with other lines of this name: none, one or several.
fn with<'a>(name: &'a str, values: &[&'a str]) -> Headers<'a> {
    let mut headers: Headers<'a> = headers();
    headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    headers.extend(values.iter().map(|value| (name, *value)));
    headers
}

fn bytes<'a>(
    headers: &'a [(&'a str, &'a str)],
) -> impl Iterator<Item = (&'a str, &'a [u8])> + Clone {
    headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()))
}

fn request<'a>(
    method: &'a str,
    target: &'a str,
    headers: &'a [(&'a str, &'a str)],
) -> Result<Offer<'a>, Refusal> {
    check(UpgradeRequest {
        method,
        target,
        minor_version: 1,
        headers: bytes(headers),
    })
}

/// Checks a GET with these headers, and gives the subprotocols offered.
fn get(headers: &[(&str, &str)]) -> Result<Vec<String>, Refusal> {
    let offer = request("GET", "/chat", headers)?;
    assert_eq!(offer.key, KEY);
    Ok(offer.protocols().map(str::to_owned).collect())
}

fn nothing() -> Result<Vec<String>, Refusal> {
    Ok(Vec::new())
}

// §4.2.1 item 1: request line -----------------------------------------------------------------------------------

#[test]
fn s4_2_1_other_methods_are_405_and_name_get() {
    for method in ["POST", "HEAD", "get", "CONNECT", ""] {
        let refusal = request(method, "/chat", &headers()).unwrap_err();
        assert_eq!((refusal, refusal.status()), (Refusal::Method, 405));
        assert_eq!(refusal.headers(), [("Allow", "GET")]);
    }
}

#[test]
fn s4_2_1_http_1_0_is_505() {
    let headers = headers();
    let request = UpgradeRequest {
        method: "GET",
        target: "/",
        minor_version: 0,
        headers: bytes(&headers),
    };
    let refusal = check(request).unwrap_err();
    assert_eq!((refusal, refusal.status()), (Refusal::HttpVersion, 505));
}

#[test]
fn s4_2_1_paths_and_our_own_absolute_urls_are_targets() {
    let ours = [
        "/",
        "/chat?token=1",
        "http://server.example.com",
        "HTTPS://SERVER.example.com/chat",
        "ws://server.example.com?x",
    ];
    for target in ours {
        assert!(request("GET", target, &headers()).is_ok(), "{target}");
    }
}

#[test]
fn s4_2_1_other_targets_are_400() {
    for target in [
        "",
        "*",
        "chat",
        "server.example.com:80",
        "ftp://server.example.com/",
        "/a b",
        "/a#b",
        "/a\0",
    ] {
        assert_eq!(
            request("GET", target, &headers()),
            Err(Refusal::Target),
            "{target}"
        );
    }
    for target in [
        "http://other.example.com/",
        "http://server.example.com:80/",
        "http://u@server.example.com/",
        "http:///",
    ] {
        assert_eq!(
            request("GET", target, &headers()),
            Err(Refusal::Authority),
            "{target}"
        );
    }
}

// §4.2.1 item 2: Host -------------------------------------------------------------------------------------------

#[test]
fn s4_2_1_host_comes_once_with_or_without_port_at_any_place() {
    for host in [
        "server.example.com:2661",
        "localhost",
        "127.0.0.1:1",
        "[::1]:80",
        "a_b",
    ] {
        assert_eq!(get(&with("host", &[host])), nothing());
    }
}

#[test]
fn s4_2_1_host_missing_repeated_empty_or_malformed_is_400() {
    assert_eq!(get(&with("Host", &[])), Err(Refusal::HostMissing));
    assert_eq!(get(&with("Host", &["a", "a"])), Err(Refusal::HostRepeated));
    for host in ["", " ", "a, b", "http://a", "u@a", "a:b"] {
        assert_eq!(
            get(&with("Host", &[host])),
            Err(Refusal::HostInvalid),
            "{host}"
        );
    }
}

// §4.2.1 items 3 and 4: Upgrade and Connection ------------------------------------------------------------------

#[test]
fn s4_2_1_upgrade_is_a_list_of_tokens_in_any_case() {
    for values in [
        &["WebSocket"][..],
        &["WEBSOCKET"],
        &["h2c, websocket"],
        &["h2c", "websocket"],
        &[" ,websocket\t,"],
    ] {
        assert_eq!(get(&with("Upgrade", values)), nothing());
        assert!(wants_upgrade(bytes(&with("upgrade", values))));
    }
    for values in [
        &[][..],
        &[""],
        &["h2c"],
        &["websockets"],
        &["web socket"],
        &["websocket2, xwebsocket"],
    ] {
        assert_eq!(get(&with("Upgrade", values)), Err(Refusal::Upgrade));
        assert!(!wants_upgrade(bytes(&with("upgrade", values))));
    }
}

#[test]
fn s4_2_1_connection_is_a_list_of_tokens_over_any_lines() {
    let lists: [&[&str]; 5] = [
        &["upgrade"],
        &["keep-alive, Upgrade"],
        &["keep-alive", "Upgrade"],
        &["Upgrade", "close"],
        &["UPGRADE,"],
    ];
    for values in lists {
        assert_eq!(get(&with("Connection", values)), nothing());
    }
    for values in [
        &[][..],
        &[""],
        &["keep-alive"],
        &["notupgrade"],
        &["upgrade2"],
        &["keep-alive upgrade"],
    ] {
        assert_eq!(get(&with("Connection", values)), Err(Refusal::Connection));
    }
}

// §4.2.1 item 5: key --------------------------------------------------------------------------------------------

#[test]
fn s4_2_1_a_key_of_16_bytes_and_white_space_around_it() {
    assert_eq!(
        get(&with(
            "sec-websocket-key",
            &[" dGhlIHNhbXBsZSBub25jZQ== \t"]
        )),
        nothing()
    );
}

#[test]
fn s4_2_1_key_missing_repeated_or_malformed_is_400() {
    assert_eq!(
        get(&with("Sec-WebSocket-Key", &[])),
        Err(Refusal::KeyMissing)
    );
    assert_eq!(
        get(&with("Sec-WebSocket-Key", &[KEY, KEY])),
        Err(Refusal::KeyRepeated)
    );
    let malformed = [
        "",
        "dGhlIHNhbXBsZSBub25j",     // 15 bytes
        "dGhlIHNhbXBsZSBub25jZWU=", // 17 bytes
        "dGhlIHNhbXBsZSBub25jZR==", // stray bits
        "dGhlIHNhbXBsZSBub25jZQ",   // no padding
        "not base64 at all!!!!!!!",
    ];
    for key in malformed {
        let refusal = get(&with("Sec-WebSocket-Key", &[key])).unwrap_err();
        assert_eq!(
            (refusal, refusal.status()),
            (Refusal::KeyInvalid, 400),
            "{key}"
        );
    }
}

// §4.2.1 item 6, §4.4: version ----------------------------------------------------------------------------------

#[test]
fn s4_4_another_or_no_version_is_426_and_names_13() {
    for values in [
        &[][..],
        &[""],
        &["8"],
        &["7"],
        &["14"],
        &["013"],
        &["13, 8"],
        &["thirteen"],
    ] {
        let refusal = get(&with("Sec-WebSocket-Version", values)).unwrap_err();
        assert_eq!((refusal, refusal.status()), (Refusal::Version, 426));
        assert_eq!(
            refusal.headers(),
            [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        );
    }
}

#[test]
fn s4_4_a_repeated_version_is_400() {
    let refusal = get(&with("Sec-WebSocket-Version", &["13", "13"])).unwrap_err();
    assert_eq!((refusal, refusal.status()), (Refusal::VersionRepeated, 400));
}

// §4.1: no body -------------------------------------------------------------------------------------------------

#[test]
fn s4_1_a_body_cannot_be_announced() {
    assert_eq!(get(&with("Content-Length", &["0"])), nothing());
    for values in [
        &["1"][..],
        &[""],
        &["0", "5"],
        &["5", "0"],
        &["0, 0"],
        &["-0"],
    ] {
        assert_eq!(
            get(&with("Content-Length", values)),
            Err(Refusal::ContentLength)
        );
    }
    for coding in ["chunked", "identity", ""] {
        assert_eq!(
            get(&with("Transfer-Encoding", &[coding])),
            Err(Refusal::TransferEncoding)
        );
    }
}

// §4.2.1 items 8 and 9, §4.2.2 item 5: subprotocols and extensions ----------------------------------------------

#[test]
fn s4_2_1_offers_are_one_list_over_lines_duplicates_and_gaps() {
    let offered =
        |values: &[&str]| get(&with("Sec-WebSocket-Protocol", values)).map(|list| list.join(" "));
    assert_eq!(
        offered(&["chat, superchat"]),
        Ok("chat superchat".to_owned())
    );
    assert_eq!(offered(&["a,b", "c"]), Ok("a b c".to_owned()));
    assert_eq!(offered(&["a, a"]), Ok("a a".to_owned()));
    assert_eq!(offered(&[" , a ,,"]), Ok("a".to_owned()));
    assert_eq!(offered(&[""]), Ok(String::new()));
    for malformed in ["a b", "a/b", "\"a\"", "a, b c", "a;b", "caf\u{e9}"] {
        assert_eq!(offered(&[malformed]), Err(Refusal::Protocol));
    }
}

#[test]
fn s4_2_2_one_offered_subprotocol_is_chosen_or_none() {
    let headers = with("Sec-WebSocket-Protocol", &["a, b"]);
    let offer = request("GET", "/", &headers).unwrap();
    let list =
        |names: &[&str]| Subprotocols::List(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(
        list(&["b", "a"]).choose(&offer),
        Some("b"),
        "the server's preference"
    );
    assert_eq!(list(&["x", "a"]).choose(&offer), Some("a"));
    assert_eq!(
        list(&["x", "A"]).choose(&offer),
        None,
        "names have their case"
    );
    assert_eq!(list(&[]).choose(&offer), None);
    assert_eq!(Subprotocols::EchoFirst.choose(&offer), Some("a"));
    assert_eq!(Subprotocols::None.choose(&offer), None);
    let headers = super::handshake::headers();
    let empty = request("GET", "/", &headers).unwrap();
    assert_eq!(Subprotocols::EchoFirst.choose(&empty), None);
    assert_eq!(list(&["a"]).choose(&empty), None);
}

#[test]
fn s4_2_1_unknown_extensions_are_no_reason_to_refuse() {
    for value in [
        "permessage-deflate; client_max_window_bits",
        "x-unknown",
        "",
        ";;;",
    ] {
        assert_eq!(get(&with("Sec-WebSocket-Extensions", &[value])), nothing());
    }
}

// §4.2.2: the answer --------------------------------------------------------------------------------------------

#[test]
fn s4_2_2_the_accept_value_of_the_example() {
    assert_eq!(accept_key(KEY), ACCEPT.as_bytes());
}

#[test]
fn s4_2_2_the_answer_to_the_letter() {
    let mut out = b"kept".to_vec();
    write_switching_protocols(&mut out, KEY, Some("chat"), [("Server", "dunlin")]);
    let expected = "keptHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
        Server: dunlin\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn s4_2_2_every_refusal_has_a_status_a_sentence_and_a_label() {
    let all = [
        Refusal::Method,
        Refusal::HttpVersion,
        Refusal::Target,
        Refusal::Authority,
        Refusal::HostMissing,
        Refusal::HostRepeated,
        Refusal::HostInvalid,
        Refusal::Upgrade,
        Refusal::Connection,
        Refusal::Version,
        Refusal::VersionRepeated,
        Refusal::KeyMissing,
        Refusal::KeyRepeated,
        Refusal::KeyInvalid,
        Refusal::ContentLength,
        Refusal::TransferEncoding,
        Refusal::Protocol,
    ];
    let labels: std::collections::HashSet<&str> = all.iter().map(Refusal::name).collect();
    assert_eq!(labels.len(), all.len());
    for refusal in all {
        assert!([400, 405, 426, 505].contains(&refusal.status()));
        assert!(refusal.to_string().len() > 20);
    }
}

// §4.1: the client ----------------------------------------------------------------------------------------------

fn answer<'a>() -> Headers<'a> {
    vec![
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, upgrade"),
        ("sec-websocket-accept", ACCEPT),
    ]
}

/// Checks a 101 with these lines in place of those of the same name.
fn answered(name: &str, values: &[&str]) -> Result<Option<String>, AnswerError> {
    let mut headers = answer();
    headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    headers.extend(values.iter().map(|value| (name, *value)));
    check_response(101, bytes(&headers), KEY, &["chat", "superchat"])
}

#[test]
fn s4_1_a_good_answer_opens() {
    assert_eq!(check_response(101, bytes(&answer()), KEY, &[]), Ok(None));
    assert_eq!(
        answered("Sec-WebSocket-Protocol", &["superchat"]),
        Ok(Some("superchat".to_owned()))
    );
    assert_eq!(
        answered("Sec-WebSocket-Protocol", &[]),
        Ok(None),
        "none although offered"
    );
    assert_eq!(answered("Sec-WebSocket-Extensions", &[""]), Ok(None));
}

#[test]
fn s4_1_another_status_does_not() {
    for status in [200, 301, 400, 401, 426, 503] {
        let result = check_response(status, bytes(&answer()), KEY, &[]);
        assert_eq!(result, Err(AnswerError::Status(status)));
    }
}

#[test]
fn s4_1_each_missing_or_wrong_line_has_its_error() {
    assert_eq!(answered("Upgrade", &[]), Err(AnswerError::Upgrade));
    assert_eq!(answered("Upgrade", &["h2c"]), Err(AnswerError::Upgrade));
    assert_eq!(answered("Connection", &[]), Err(AnswerError::Connection));
    assert_eq!(
        answered("Connection", &["notupgrade"]),
        Err(AnswerError::Connection)
    );
    for accepts in [
        &[][..],
        &[""],
        &["s3pPLMBiTxaQ9kYGzzhZRbK+xOO="],
        &[KEY],
        &[ACCEPT, ACCEPT],
    ] {
        assert_eq!(
            answered("Sec-WebSocket-Accept", accepts),
            Err(AnswerError::Accept)
        );
    }
    let deflate = ["permessage-deflate"];
    assert_eq!(
        answered("Sec-WebSocket-Extensions", &deflate),
        Err(AnswerError::Extension)
    );
    for protocols in [
        &["other"][..],
        &["Chat"],
        &["chat, superchat"],
        &["chat", "superchat"],
        &[""],
    ] {
        assert_eq!(
            answered("Sec-WebSocket-Protocol", protocols),
            Err(AnswerError::Subprotocol)
        );
    }
}

#[test]
fn s4_1_our_request_passes_our_check() {
    let key = client_key([7; 16]);
    let mut out = Vec::new();
    write_request(
        &mut out,
        "[::1]:2661",
        "/ch/news?x=1",
        &key,
        &["a", "b"],
        &[("Origin", "http://h")],
    );
    let head = String::from_utf8(out).unwrap();
    let mut lines = head.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
    assert_eq!(lines.next(), Some("GET /ch/news?x=1 HTTP/1.1"));
    let headers: Headers<'_> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    let offer = request("GET", "/ch/news?x=1", &headers).unwrap();
    assert_eq!(offer.key, key);
    assert_eq!(offer.protocols().collect::<Vec<_>>(), ["a", "b"]);
}
