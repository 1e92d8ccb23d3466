//! `echo`: every message comes back as it was.
//!
//! | client sends | gets |
//! | --- | --- |
//! | text, also empty | the same text |
//! | binary, also empty | the same bytes, as binary |
//! | with [`EchoOptions::retype_utf8`] | the same bytes: text where they are UTF-8, else binary |

use crate::hub::{Context, Handler};
use crate::ws::Message;

/// How [`Echo`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EchoOptions {
    /// Choose text or binary by what the bytes are, as hyperlane does, and not by what the client sent.
    /// Off: a client that sends binary expects binary, whatever is in it.
    pub retype_utf8: bool,
}

/// Sends every message back.
///
/// ```
/// use dunlin::dialect::{Echo, EchoOptions};
/// let plain = Echo::default();
/// let as_hyperlane = Echo::new(EchoOptions { retype_utf8: true });
/// # _ = (plain, as_hyperlane);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Echo {
    options: EchoOptions,
}

impl Echo {
    /// An echo with these options.
    pub fn new(options: EchoOptions) -> Self {
        Self { options }
    }
}

impl Handler for Echo {
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let answer = match (message, self.options.retype_utf8) {
            (Message::Binary(bytes), true) => match std::str::from_utf8(bytes) {
                Ok(text) => Message::Text(text),
                Err(_) => message,
            },
            _ => message,
        };
        cx.send(answer);
    }

    fn space(&self) -> &str {
        "echo"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::testing::{Got, House};

    #[test]
    fn hl_1_same_bytes_and_type_back() {
        let mut house = House::new();
        let route = house.route("/echo", Echo::default());
        let client = house.join(route, "/echo", &[]);
        let long = "x".repeat(70_000);
        for text in ["hello", "", "tàu hỏa", &long] {
            house.text(client, text);
            assert_eq!(house.got(client), [Got::Text(text.into())]);
        }
        for bytes in [&b"ascii"[..], b"", &[0xFF, 0x00]] {
            house.binary(client, bytes);
            assert_eq!(house.got(client), [Got::Binary(bytes.into())]);
        }
    }

    #[test]
    fn retype_utf8_goes_by_the_bytes() {
        let mut house = House::new();
        let route = house.route("/echo", Echo::new(EchoOptions { retype_utf8: true }));
        let client = house.join(route, "/echo", &[]);
        house.binary(client, b"ascii");
        house.binary(client, &[0xFF]);
        house.text(client, "text");
        house.binary(client, b"");
        assert_eq!(
            house.got(client),
            [
                Got::Text("ascii".into()),
                Got::Binary(vec![0xFF]),
                Got::Text("text".into()),
                Got::Text(String::new())
            ]
        );
    }
}
