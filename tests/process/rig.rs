//! The real program with processes to serve.

use std::io::Write;

use dunlin::Message;
use dunlin::net::{Client, Received};

use crate::machine::{children, eventually};
use crate::program::{Served, TempFile};

pub(crate) struct Rig {
    pub(crate) served: Served,
    _config: Option<TempFile>,
}

impl Rig {
    /// With these flags.
    pub(crate) fn flags(flags: &[&str]) -> Self {
        Self {
            served: Served::start(flags),
            _config: None,
        }
    }

    /// With one route of dialect `process` at `path` and these lines in it.
    pub(crate) fn route(path: &str, lines: &str) -> Self {
        let text = format!("[[route]]\npath = \"{path}\"\ndialect = \"process\"\n{lines}\n");
        let config = TempFile::new("process.toml", &text);
        Self {
            served: Served::start(&["--config", config.as_str()]),
            _config: Some(config),
        }
    }

    pub(crate) fn connect(&self, path: &str) -> Client {
        self.try_connect(path, &[]).unwrap()
    }

    pub(crate) fn try_connect(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Client, dunlin::net::ClientError> {
        let url = self.served.base("main") + path;
        Client::connect(&url, headers)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.served.running.id()
    }

    /// Waits until the server has no child, not even a zombie.
    pub(crate) fn has_no_children(&self) {
        let pid = self.pid();
        eventually("no child is left", || {
            children(pid).is_empty().then_some(())
        });
    }
}

pub(crate) fn text(client: &mut Client) -> String {
    match client.receive().unwrap() {
        Received::Text(text) => text,
        other => panic!("text was expected: {other:?}"),
    }
}

/// All texts until the close, and its code.
pub(crate) fn to_the_end(client: &mut Client) -> (Vec<String>, u16) {
    let mut texts = Vec::new();
    loop {
        match client.receive().unwrap() {
            Received::Text(text) => texts.push(text),
            Received::Closed(code, _) => return (texts, code.0),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn say(client: &mut Client, text: &str) {
    client.send(Message::Text(text)).unwrap();
}

/// Adds lines to a file.
pub(crate) fn append(path: &str, lines: &str) {
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.append(true).create(true).open(path).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}
