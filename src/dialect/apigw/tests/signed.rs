//! AL-14 and what else a signature has to say.

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;

use super::{Rig, options};
use crate::dialect::apigw::request::BASE64;
use crate::dialect::apigw::{ApiGatewayOptions, AppKeys};
use crate::dialect::testing::START_UNIX_MS;
use crate::ws::CloseCode;

fn rig() -> Rig {
    let keys = ["12344133=secret123", "other=secret"];
    Rig::with(ApiGatewayOptions {
        app_keys: AppKeys(keys.map(|key| key.parse().unwrap()).to_vec()),
        ..options()
    })
}

/// A request as clients sign it: every header that begins with `x-ca-`.
struct Signed {
    method: &'static str,
    path: &'static str,
    headers: Vec<(String, String)>,
    body: &'static str,
}

impl Signed {
    fn new(path: &'static str, nonce: &str) -> Self {
        let time = START_UNIX_MS.to_string();
        let headers = [
            ("x-ca-key", "12344133"),
            ("x-ca-nonce", nonce),
            ("x-ca-seq", "1"),
            ("x-ca-timestamp", &time),
        ];
        Self {
            method: "POST",
            path,
            headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
            body: "",
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    fn sign(mut self, secret: &str) -> Self {
        let fixed = ["accept", "content-md5", "content-type", "date"];
        let fixed = fixed.map(|name| self.header(name)).join("\n");
        let mut named = self.headers.clone();
        named.retain(|(name, _)| name.starts_with("x-ca-"));
        named.sort();
        let lines: String = named.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        let text = format!("{}\n{fixed}\n{lines}{}", self.method, self.path);
        let mac = if self.header("x-ca-signature-method") == "HmacSHA1" {
            let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
            mac.update(text.as_bytes());
            BASE64.encode(mac.finalize().into_bytes())
        } else {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            mac.update(text.as_bytes());
            BASE64.encode(mac.finalize().into_bytes())
        };
        let names: Vec<_> = named.into_iter().map(|(name, _)| name).collect();
        self.headers.push(("x-ca-signature".to_owned(), mac));
        self.headers
            .push(("x-ca-signature-headers".to_owned(), names.join(",")));
        self
    }

    fn json(&self) -> String {
        let headers: serde_json::Map<String, Value> = self
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), json!([value])))
            .collect();
        json!({"method": self.method, "path": self.path, "headers": headers, "body": self.body})
            .to_string()
    }

    fn lines(&self) -> Vec<(&str, &str)> {
        self.headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect()
    }
}

#[test]
fn al_14_requests_are_signed() {
    let mut rig = rig();
    let id = rig.stranger();
    rig.house
        .text(id, &Signed::new("/a", "1").sign("secret123").json());
    let asked = rig.asked();
    rig.house.answer(asked, 200, b"");
    assert_eq!(rig.status(id), ("1".to_owned(), 200));
    let sha1 = Signed::new("/a", "2").with("x-ca-signature-method", "HmacSHA1");
    rig.house.text(id, &sha1.sign("secret123").json());
    let asked = rig.asked();
    rig.house.answer(asked, 200, b"");
    assert_eq!(rig.status(id), ("1".to_owned(), 200));
    let late = (START_UNIX_MS - 900_001).to_string();
    let just = (START_UNIX_MS - 900_000).to_string();
    let tampered =
        |name: &str, value: &str| Signed::new("/a", "3").sign("secret123").with(name, value);
    for (request, status) in [
        (Signed::new("/a", "1").sign("secret123"), 403),
        (Signed::new("/a", "3").sign("secret"), 403),
        (
            Signed::new("/a", "3")
                .with("x-ca-key", "nobody")
                .sign("secret123"),
            403,
        ),
        (
            Signed::new("/a", "3")
                .with("x-ca-key", "other")
                .sign("secret123"),
            403,
        ),
        (Signed::new("/a", "3"), 400),
        (tampered("x-ca-seq", "2"), 403),
        (tampered("x-ca-key", ""), 400),
        (tampered("x-ca-signature", "?"), 400),
        (tampered("x-ca-signature-method", "none"), 400),
        // What would make it mean something else has to be covered.
        (tampered("x-ca-websocket_api_type", "REGISTER"), 400),
        (tampered("x-ca-deviceid", "d"), 400),
        (
            Signed::new("/a", "3")
                .with("x-ca-timestamp", "")
                .sign("secret123"),
            400,
        ),
        (
            Signed::new("/a", "3")
                .with("x-ca-timestamp", "now")
                .sign("secret123"),
            400,
        ),
        (
            Signed::new("/a", "3")
                .with("x-ca-timestamp", &late)
                .sign("secret123"),
            400,
        ),
        (
            Signed::new("/a", "3")
                .with("content-md5", "x")
                .sign("secret123"),
            403,
        ),
    ] {
        rig.house.text(id, &request.json());
        let answer = rig.answer(id);
        assert_eq!(answer["status"], status, "{}", request.json());
        assert!(answer["header"]["x-ca-error-message"].is_string());
        assert_eq!(answer["header"]["x-ca-seq"], request.header("x-ca-seq"));
    }
    rig.nothing_asked();
    let just = Signed::new("/a", "3").with("x-ca-timestamp", &just);
    rig.house.text(id, &just.sign("secret123").json());
    rig.asked();
    // Whoever goes on guessing is closed.
    for _ in 0..5 {
        rig.house
            .text(id, &Signed::new("/a", "4").sign("guess").json());
    }
    assert_eq!(rig.house.closed(id), None);
    rig.house
        .text(id, &Signed::new("/a", "4").sign("guess").json());
    assert_eq!(rig.house.closed(id), Some(CloseCode::POLICY));
}

#[test]
fn plain_http_is_signed_too() {
    let mut rig = rig();
    let signed = Signed::new("/a", "1").sign("secret123");
    rig.http("POST", "/a", &signed.lines(), b"").unwrap_err();
    rig.asked();
    assert_eq!(
        rig.http("POST", "/a", &signed.lines(), b"").unwrap().status,
        403
    );
    assert_eq!(rig.http("POST", "/a", &[], b"").unwrap().status, 400);
    // Browsers ask before they sign.
    assert_eq!(rig.http("OPTIONS", "/a", &[], b"").unwrap().status, 400);
    let asks = [("Access-Control-Request-Method", "POST")];
    rig.http("OPTIONS", "/a", &asks, b"").unwrap_err();
    rig.asked();
    rig.refused("apigw_signature", 1);
    rig.refused("apigw_signature_missing", 2);
}

#[test]
fn a_body_is_covered_by_its_digest() {
    let mut rig = rig();
    let digest = BASE64.encode(Md5::digest(b"{}"));
    let signed = || {
        Signed::new("/a", "")
            .with("x-ca-nonce", "")
            .with("content-md5", &digest)
    };
    let signed = signed().sign("secret123");
    rig.http("POST", "/a", &signed.lines(), b"{}").unwrap_err();
    assert_eq!(
        rig.http("POST", "/a", &signed.lines(), b"[]")
            .unwrap()
            .status,
        403
    );
}

#[test]
fn an_app_notifies_devices_of_its_own() {
    let mut rig = rig();
    let register = |rig: &mut Rig, name: &str, key: &str, secret: &str, expected: u64| {
        let id = rig.device(name);
        let nonce = format!("{name}{key}");
        let request = Signed::new("/register", &nonce)
            .with("x-ca-key", key)
            .with("x-ca-websocket_api_type", "REGISTER");
        rig.house.text(id, &request.sign(secret).json());
        if expected == 200 {
            let asked = rig.asked();
            rig.house.answer(asked, 200, b"");
        }
        assert_eq!(rig.status(id), ("1".to_owned(), expected), "{name}");
        id
    };
    let named = register(&mut rig, "d@12344133", "12344133", "secret123", 200);
    let unnamed = register(&mut rig, "e", "other", "secret", 200);
    register(&mut rig, "f@12344133", "other", "secret", 403);
    let mut notify = |device: &str, key: &str, secret: &str| {
        let nonce = format!("n{device}{key}");
        let request = Signed::new("/notify", &nonce)
            .with("x-ca-key", key)
            .with("x-ca-deviceid", device);
        let answer = rig.http("POST", "/notify", &request.sign(secret).lines(), b"x");
        answer.map_or(0, |refused| refused.status)
    };
    assert_eq!(notify("d@12344133", "12344133", "secret123"), 0);
    assert_eq!(notify("d@12344133", "other", "secret"), 404);
    assert_eq!(notify("e", "other", "secret"), 0);
    assert_eq!(notify("e", "12344133", "secret123"), 404);
    assert_eq!(notify("f@12344133", "12344133", "secret123"), 404);
    assert_eq!(
        rig.http("POST", "/notify", &[("x-ca-deviceid", "e")], b"x")
            .unwrap()
            .status,
        400
    );
    assert_eq!(
        (rig.said(named), rig.said(unnamed)),
        (vec!["NF#x".to_owned()], vec!["NF#x".to_owned()])
    );
    rig.refused("apigw_foreign_device", 1);
}
