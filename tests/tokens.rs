//! Signed tokens that somebody else makes, against the real program: npm `jose` signs, npm `ws` and Node's `fetch` present.
//!
//! `tests/clients/install` installs what is needed; what is missing fails the test and says so.

#![cfg(all(feature = "cli", feature = "jwt"))]
#![allow(clippy::unwrap_used)]

mod program;

use std::path::PathBuf;
use std::process::Command;

use dunlin::net::http_request;
use program::{Running, Served, TempFile, dunlin, run};

fn node(arguments: &[&str]) -> Command {
    let clients = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    for needed in ["node_modules/ws", "node_modules/jose"] {
        let path = clients.join(needed);
        let path = path.display();
        assert!(
            clients.join(needed).exists(),
            "{path} is missing. Run tests/clients/install first."
        );
    }
    let mut command = Command::new("node");
    command.arg(clients.join("tokens_jose.mjs")).args(arguments);
    command
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = PathBuf::from(TempFile::path("tokens").as_str());
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn tokens_of_jose() {
    let folder = Folder::new();
    let dir = folder.0.display().to_string();
    let made = run(&mut node(&["keys", &dir]));
    assert_eq!(made.code, Some(0), "{made:?}");
    let key = |algorithm: &str, file: &str| {
        let file = folder.file(file);
        format!("[[token_key]]\nalgorithm = \"{algorithm}\"\nfile = {file:?}\n")
    };
    let text = format!(
        "origins = [\"https://a.example\"]\nkey_cookie = \"session\"\n\
         [tokens]\naudiences = [\"dunlin\"]\nleeway_ms = 0\n[pubsub]\nkey_in_message = true\n{}{}{}{}",
        key("HS256", "HS256.secret"),
        key("ES256", "ES256.pem"),
        key("EdDSA", "set.json"),
        key("RS256", "set.json"),
    );
    let file = TempFile::new("tokens.toml", &text);
    let mut served = Served::start(&["--config", file.as_str()]);
    let ws = served.base("main");
    let http = ws.replace("ws://", "http://");
    let mut client = Running::start(&mut node(&["use", &ws, &http, &dir]));
    let status = client.wait();
    let (out, err) = (client.rest_of_out(), client.rest_of_err());
    assert_eq!(status.code(), Some(0), "{out}\n{err}");
    assert_eq!(out.matches("ok: ").count(), 8, "{out}");
    // Whoever may nothing but listen gets nothing else; and the log knows of no token.
    let control = served.base("control").replace("ws://", "http://");
    let metrics = http_request("GET", &format!("{control}/metrics"), &[], b"").unwrap();
    assert_eq!(metrics.status, 401);
    served.running.signal("-TERM");
    served.running.wait();
    let log = served.running.rest_of_err();
    assert!(log.contains("token_expired"), "{log}");
    assert!(!log.contains("eyJ"), "{log}");
}

#[test]
fn mistakes_have_a_place() {
    let ec = "-----BEGIN PUBLIC KEY-----\n\
              MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAED367dJ8i73Cth+CYHeP8Gaqbm0jq\n\
              9dIrycrD3PzwoE7UT49ZYofDUoPi0pFibLI19314H7gm6qWlxLg3Mt5J2A==\n\
              -----END PUBLIC KEY-----\n";
    let pem = TempFile::new("ec.pem", ec);
    let private = TempFile::new("private.pem", &ec.replace("PUBLIC", "PRIVATE"));
    let secret = "secret = \"0123456789012345678901234567890123456789\"\n";
    for (text, says) in [
        (
            "algorithm = \"HS265\"\nsecret = \"x\"\n",
            "FILE:2:13: unknown algorithm \"HS265\", did you mean \"HS256\"?",
        ),
        ("secret = \"x\"\n", "FILE:1:1: `algorithm` is missing here"),
        (
            "algorithm = \"HS256\"\n",
            "FILE:1:1: `file` (or `secret` for HS256) is missing here",
        ),
        (
            "algorithm = \"HS256\"\nsecert = \"x\"\n",
            "FILE:3:1: unknown key \"secert\" in [[token_key]], did you mean \"secret\"?",
        ),
        (
            "algorithm = \"HS256\"\nsecret = \"short\"\n",
            "FILE:1:1: the secret has 5 bytes, and HS256 wants at least 32",
        ),
        (
            "algorithm = \"HS256\"\nsecret = \"***\"\n",
            "FILE:3:10: \"***\" stands for a secret",
        ),
        (
            "algorithm = \"ES256\"\nsecret = \"x\"\n",
            "FILE:3:10: `secret` is for HS256",
        ),
        (
            "algorithm = \"ES256\"\nfile = \"/does/not/exist\"\n",
            "FILE:1:1: cannot read the key /does/not/exist: ",
        ),
        (
            "algorithm = \"ES256\"\nfile = \"PRIVATE\"\n",
            "this is a private key",
        ),
        (
            "algorithm = \"RS256\"\nfile = \"PEM\"\n",
            "there is no key of this algorithm in it",
        ),
        (
            "algorithm = \"HS256\"\nSECRET[[token_key]]\nalgorithm = \"HS256\"\nSECRET",
            "FILE:4:1: two HS256 keys are for the same tokens",
        ),
        (
            "algorithm = \"HS256\"\nSECRET[tokens]\nsubscribe = [\"a*b\"]\n",
            "FILE:5:1: `subscribe`: \"a*b\": a `*` stands",
        ),
        (
            "algorithm = \"HS256\"\nSECRET[tokens]\naudience = \"x\"\n",
            "FILE:5:1: unknown key \"audience\" in [tokens], did you mean \"audiences\"?",
        ),
    ] {
        let text = text
            .replace("SECRET", secret)
            .replace("PEM", pem.as_str())
            .replace("PRIVATE", private.as_str());
        let file = TempFile::new("wrong.toml", &format!("[[token_key]]\n{text}"));
        let ended = run(&mut dunlin(&["check", "--config", file.as_str()]));
        let err = ended.err.replace(file.as_str(), "FILE");
        assert_eq!(ended.code, Some(78), "{text}\n{err}");
        assert!(err.contains(says), "{text}\n{err}");
        assert!(!err.contains("0123456789"), "{err}");
    }
}

#[test]
fn what_is_printed_can_be_read_again_and_shows_no_secret() {
    let secret = "geheim-geheim-geheim-geheim-geheim";
    let text = format!(
        "[tokens]\nissuers = [\"us\"]\nleeway_ms = \"5s\"\nsubscribe = [\"user.{{user}}.*\"]\nallow_without_exp = true\n\
         [[token_key]]\nalgorithm = \"HS256\"\nkid = \"one\"\nsecret = \"{secret}\"\n"
    );
    let file = TempFile::new("first.toml", &text);
    let first = run(&mut dunlin(&["--config", file.as_str(), "--print-config"]));
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(!first.out.contains("geheim"), "{}", first.out);
    let again = TempFile::new(
        "again.toml",
        &first.out.replace("\"***\"", &format!("{secret:?}")),
    );
    let second = run(&mut dunlin(&["--config", again.as_str(), "--print-config"]));
    let values = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .map(|line| line.split(" # ").next().unwrap().trim());
        lines.map(str::to_owned).collect()
    };
    assert_eq!(values(&first.out), values(&second.out));
    assert!(first.out.contains("subscribe = [\"user.{user}.*\"]"));
}
