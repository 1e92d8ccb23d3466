//! What a device's message is.
//!
//! Words have two letters, those that carry something a `#` behind them. What begins with `{` is a request.

use crate::ws::Message;

/// The longest name of a device. The original's are 32 hexadecimal digits, `@` and the key of an app.
pub(super) const DEVICE_BYTES_MAX: usize = 255;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// `RG#` and a name for the device.
    Register(&'a str),
    /// `RG` with something that cannot be a name, and why.
    BadRegister(&'static str),
    /// `H1`
    Heartbeat,
    /// `NO`
    Acknowledged,
    /// A request as JSON.
    Call(&'a str),
    /// Nothing at all, which clients ignore too.
    Nothing,
    /// None of these, and why.
    Unknown(&'static str),
}

/// Reads a message.
pub(super) fn read(message: Message<'_>) -> Said<'_> {
    let Message::Text(text) = message else {
        return Said::Unknown("binary messages are not part of this protocol");
    };
    match text {
        "" => Said::Nothing,
        "H1" => Said::Heartbeat,
        "NO" => Said::Acknowledged,
        _ if text.trim_start().starts_with('{') => Said::Call(text),
        _ => match text.strip_prefix("RG") {
            Some(rest) => device(rest),
            None => Said::Unknown("this is neither a request nor a word of this protocol"),
        },
    }
}

fn device(rest: &str) -> Said<'_> {
    let Some(name) = rest.strip_prefix('#') else {
        return Said::BadRegister("RG wants # and a device id");
    };
    // It goes into a header line, and stands between two # elsewhere.
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if name.is_empty() {
        Said::BadRegister("the device id is empty")
    } else if name.len() > DEVICE_BYTES_MAX {
        Said::BadRegister("the device id is too long")
    } else if !name.bytes().all(is_plain) {
        Said::BadRegister("a device id is made of visible ASCII without #")
    } else {
        Said::Register(name)
    }
}

/// The key of the app that a device belongs to by its name.
pub(super) fn app_of(device: &str) -> Option<&str> {
    device.split_once('@').map(|(_, app)| app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_exact() {
        let text = |text| read(Message::Text(text));
        assert_eq!(text(""), Said::Nothing);
        assert_eq!(text("H1"), Said::Heartbeat);
        assert_eq!(text("NO"), Said::Acknowledged);
        assert_eq!(
            text("RG#ffd3234343dae324342@12344133"),
            Said::Register("ffd3234343dae324342@12344133")
        );
        assert_eq!(text("{}"), Said::Call("{}"));
        assert_eq!(text(" \n{"), Said::Call(" \n{"));
        for bad in [
            "RG",
            "RG#",
            "RG#a#b",
            "RG#a b",
            "RG#\u{e9}",
            "RG#a\n",
            "RGx",
        ] {
            assert!(matches!(text(bad), Said::BadRegister(_)), "{bad}");
        }
        let long = format!("RG#{}", "a".repeat(DEVICE_BYTES_MAX));
        assert!(matches!(text(&long), Said::Register(_)));
        let longer = format!("{long}a");
        assert!(matches!(text(&longer), Said::BadRegister(_)));
        for bad in ["H1 ", "h1", "NO#", "H2", "[]", "x", "rg#a", "RO#1#2"] {
            assert!(matches!(text(bad), Said::Unknown(_)), "{bad}");
        }
        assert!(matches!(read(Message::Binary(b"H1")), Said::Unknown(_)));
    }

    #[test]
    fn devices_name_their_app() {
        assert_eq!(app_of("0a1b2c3d@12344133"), Some("12344133"));
        assert_eq!(app_of("a@b@c"), Some("b@c"));
        assert_eq!(app_of("0a1b2c3d"), None);
    }
}
