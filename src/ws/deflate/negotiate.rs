//! What both ends agree on: offers and answers in `Sec-WebSocket-Extensions`.
//!
//! The rule: a server looks at the offers in their order and takes the first one that it can meet. One that is
//! invalid, or that asks for what cannot be done here, is passed over: the answer is then a plain 101, never an
//! error (RFC 7692 §5). A client that gets an answer to something it did not offer fails the connection
//! (RFC 6455 §4.1, RFC 7692 §7.1).

use std::fmt;

use super::super::client::AnswerError;
use super::super::token::{self, trim};
use super::{NAME, WINDOW_BITS_MAX, WINDOW_BITS_MIN};

/// What a server offers on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether offers are looked at.
    pub offered: bool,
    /// Messages below this go out as they are: a small one hardly shrinks without the context of others.
    pub min_bytes: usize,
    /// zlib's level, 1 to 9: time against size.
    pub level: u8,
    /// The largest window in either direction, as a power of two. A client's is memory here, if it keeps its
    /// context; it is limited only if the client offers to be.
    pub window_bits: u8,
    /// Offers of clients that may keep their context are declined: then no connection costs memory.
    pub decline_takeover: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            offered: false,
            min_bytes: 512,
            level: 1,
            window_bits: WINDOW_BITS_MAX,
            decline_takeover: false,
        }
    }
}

/// What was agreed on, as this end sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// The largest window that we may compress with.
    pub send_bits: u8,
    /// The largest window that the peer compresses with.
    pub receive_bits: u8,
    /// The peer's messages may refer to those before.
    pub peer_keeps_context: bool,
    /// What stands in the answer.
    answer: Parameters,
}

impl fmt::Display for Agreement {
    /// The extension as the server answers it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.answer.fmt(f)
    }
}

/// Answers a client's offers: the values of all `Sec-WebSocket-Extensions` lines. `None`: no extension.
pub fn negotiate<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    settings: &Settings,
) -> Option<Agreement> {
    lines
        .into_iter()
        .filter(|_| settings.offered)
        .flat_map(Extensions)
        .filter(|offer| offer.name == Some(NAME))
        .find_map(|offer| accept(&offer.parameters(From::Client)?, settings))
}

/// The answer to one offer, if it can be met.
fn accept(offer: &Parameters, settings: &Settings) -> Option<Agreement> {
    if settings.decline_takeover && !offer.client_no_context_takeover {
        return None;
    }
    let own = settings.window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
    let send_bits = offer.server_bits.unwrap_or(WINDOW_BITS_MAX).min(own);
    if send_bits < WINDOW_BITS_MIN {
        return None; // Eight bits: nobody here can promise that.
    }
    // RFC 7692 §7.1.2.2: named in the answer only if it was offered; the number in the offer binds the client anyway.
    let (receive_bits, client_bits) = match offer.client_bits {
        None => (WINDOW_BITS_MAX, None),
        Some(hint) => {
            let hint = hint.unwrap_or(WINDOW_BITS_MAX);
            (hint.min(own), (own < hint).then_some(Some(own)))
        }
    };
    Some(Agreement {
        send_bits,
        receive_bits: receive_bits.max(WINDOW_BITS_MIN),
        peer_keeps_context: !offer.client_no_context_takeover,
        answer: Parameters {
            // May be said unasked (RFC 7692 §7.1.1.1), and spares the client the memory of our context.
            server_no_context_takeover: true,
            client_no_context_takeover: offer.client_no_context_takeover,
            server_bits: offer.server_bits.map(|_| send_bits),
            client_bits,
        },
    })
}

/// What a client offers. [`fmt::Display`] gives the header's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientOffer {
    /// The server is asked to compress each message by itself.
    pub server_no_context_takeover: bool,
    /// The server is asked for a window of at most so many bits.
    pub server_max_window_bits: Option<u8>,
    /// Our messages may refer to those before. Ours never do, but the server cannot know that.
    pub client_keeps_context: bool,
}

impl ClientOffer {
    /// Ours can keep to any window from nine bits on.
    fn parameters(&self) -> Parameters {
        Parameters {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: !self.client_keeps_context,
            server_bits: self.server_max_window_bits,
            client_bits: Some(None),
        }
    }

    /// Reads the answer: the values of all `Sec-WebSocket-Extensions` lines. `Ok(None)`: the server declined.
    ///
    /// # Errors
    /// [`AnswerError::Extension`]: the answer is malformed, or says what this offer does not allow.
    pub fn check<'a>(
        &self,
        lines: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Agreement>, AnswerError> {
        let mut answers = lines.into_iter().flat_map(Extensions);
        let Some(answer) = answers.next() else {
            return Ok(None);
        };
        let parameters = answer.parameters(From::Server);
        let (Some(NAME), Some(answer), None) = (answer.name, parameters, answers.next()) else {
            return Err(AnswerError::Extension);
        };
        let asked = self.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
        let receive_bits = answer.server_bits.unwrap_or(WINDOW_BITS_MAX);
        let send_bits = answer.client_bits.flatten().unwrap_or(WINDOW_BITS_MAX);
        if receive_bits > asked
            || self.server_no_context_takeover && !answer.server_no_context_takeover
            || send_bits < WINDOW_BITS_MIN
        {
            return Err(AnswerError::Extension);
        }
        Ok(Some(Agreement {
            send_bits,
            receive_bits: receive_bits.max(WINDOW_BITS_MIN),
            peer_keeps_context: !answer.server_no_context_takeover,
            answer,
        }))
    }
}

impl fmt::Display for ClientOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parameters().fmt(f)
    }
}

/// Who wrote the parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Client,
    Server,
}

/// The four parameters. RFC 7692 §7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_bits: Option<u8>,
    /// Named; and with a number, which a client may leave out.
    client_bits: Option<Option<u8>>,
}

impl Parameters {
    /// Takes in one parameter. `None`: it is unknown, repeated, or has another value than it may.
    fn add(&mut self, name: &str, value: Option<&str>, from: From) -> Option<()> {
        let bits = value.map(window_bits);
        match (name, bits) {
            ("server_no_context_takeover", None) if !self.server_no_context_takeover => {
                self.server_no_context_takeover = true;
            }
            ("client_no_context_takeover", None) if !self.client_no_context_takeover => {
                self.client_no_context_takeover = true;
            }
            ("server_max_window_bits", Some(Some(bits))) if self.server_bits.is_none() => {
                self.server_bits = Some(bits);
            }
            ("client_max_window_bits", Some(Some(bits))) if self.client_bits.is_none() => {
                self.client_bits = Some(Some(bits));
            }
            // RFC 7692 §7.1.2.2: without a number in an offer only.
            ("client_max_window_bits", None)
                if self.client_bits.is_none() && from == From::Client =>
            {
                self.client_bits = Some(None);
            }
            _ => return None,
        }
        Some(())
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        match self.client_bits {
            Some(Some(bits)) => write!(f, "; client_max_window_bits={bits}"),
            Some(None) => f.write_str("; client_max_window_bits"),
            None => Ok(()),
        }
    }
}

/// 8 to 15, in decimal and without leading zeros. RFC 7692 §7.1.2.
fn window_bits(value: &str) -> Option<u8> {
    (8..=WINDOW_BITS_MAX).find(|bits| bits.to_string() == value)
}

/// The elements of one header value. RFC 6455 §9.1: `token *( ";" token [ "=" ( token | quoted-string ) ] )`.
struct Extensions<'a>(&'a [u8]);

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        loop {
            let (element, rest) = split_outside_quotes(self.0, b',')?;
            self.0 = rest;
            let (name, parameters) = split_outside_quotes(element, b';').unwrap_or_default();
            if !trim(element).is_empty() {
                return Some(Extension {
                    name: token::token(trim(name)),
                    // Behind a semicolon something has to follow.
                    has_parameters: name.len() < element.len(),
                    parameters,
                });
            }
        }
    }
}

/// One extension with its parameters.
struct Extension<'a> {
    /// `None`: what stands there is no name.
    name: Option<&'a str>,
    has_parameters: bool,
    parameters: &'a [u8],
}

impl Extension<'_> {
    /// The parameters, if all of them are right.
    fn parameters(&self, from: From) -> Option<Parameters> {
        let mut read = Parameters::default();
        if !self.has_parameters {
            return Some(read);
        }
        let mut rest = self.parameters;
        loop {
            let (parameter, behind) = split_outside_quotes(rest, b';').unwrap_or_default();
            let (name, value) = match parameter.iter().position(|&byte| byte == b'=') {
                Some(at) => {
                    let (name, value) = parameter.split_at_checked(at)?;
                    (name, Some(unquoted(trim(value.get(1..)?))?))
                }
                None => (parameter, None),
            };
            read.add(token::token(trim(name))?, value.as_deref(), from)?;
            if parameter.len() == rest.len() {
                return Some(read);
            }
            rest = behind;
        }
    }
}

/// A token, or a quoted string that is one after unescaping. RFC 6455 §9.1.
fn unquoted(value: &[u8]) -> Option<String> {
    let Some(rest) = value.strip_prefix(b"\"") else {
        return token::token(value).map(str::to_owned);
    };
    let mut text = Vec::new();
    let mut bytes = rest.strip_suffix(b"\"")?.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => text.push(*bytes.next()?),
            b'"' => return None,
            _ => text.push(byte),
        }
    }
    token::token(&text).map(str::to_owned)
}

/// What stands before the first separator that is not inside quotes, and what behind. `None`: nothing is left.
fn split_outside_quotes(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    let mut quoted = false;
    let mut escaped = false;
    let end = bytes.iter().position(|&byte| {
        let ends = byte == separator && !quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        ends
    });
    let end = end.unwrap_or(bytes.len());
    let rest = bytes.get(end + 1..).unwrap_or_default();
    Some((bytes.get(..end)?, rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PLAIN: Settings = Settings {
        offered: true,
        min_bytes: 0,
        level: 1,
        window_bits: 15,
        decline_takeover: false,
    };
    /// What every answer of ours begins with.
    const OURS: &str = "permessage-deflate; server_no_context_takeover";

    fn answer_with(settings: &Settings, lines: &[&str]) -> Option<String> {
        let agreed = negotiate(lines.iter().map(|line| line.as_bytes()), settings);
        agreed.map(|agreed| agreed.to_string())
    }

    fn agreed(settings: &Settings, line: &str) -> (u8, u8, bool) {
        let agreed = negotiate([line.as_bytes()], settings).unwrap();
        (
            agreed.send_bits,
            agreed.receive_bits,
            agreed.peer_keeps_context,
        )
    }

    #[test]
    fn offers_and_their_answers() {
        // What stands behind `OURS`; None: a plain 101.
        let table: &[(&[&str], Option<&str>)] = &[
            (&[], None),
            (&[""], None),
            (&["permessage-deflate"], Some("")),
            // RFC 7692 §7.1.
            (
                &["permessage-deflate; client_max_window_bits; server_max_window_bits=10"],
                Some("; server_max_window_bits=10"),
            ),
            (
                &[
                    "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits",
                ],
                Some("; server_max_window_bits=10"),
            ),
            // §7.1.1.1, §7.1.1.2
            (
                &["permessage-deflate; server_no_context_takeover"],
                Some(""),
            ),
            (
                &["permessage-deflate; client_no_context_takeover"],
                Some("; client_no_context_takeover"),
            ),
            (&["permessage-deflate; client_max_window_bits"], Some("")),
            (&["permessage-deflate; client_max_window_bits=10"], Some("")),
            // Eight bits are more than can be promised; the client's own eight are no trouble.
            (&["permessage-deflate; server_max_window_bits=8"], None),
            (&["permessage-deflate; client_max_window_bits=8"], Some("")),
            (
                &["permessage-deflate; server_max_window_bits=8, permessage-deflate"],
                Some(""),
            ),
            (
                &[
                    "permessage-deflate; server_max_window_bits=8",
                    "permessage-deflate; server_max_window_bits=9",
                ],
                Some("; server_max_window_bits=9"),
            ),
            // Others' extensions, and lists over several lines.
            (&["x-webkit-deflate-frame, permessage-bzip2; a=1"], None),
            (&["foo", "bar, permessage-deflate"], Some("")),
            (&[" , ,permessage-deflate ,"], Some("")),
            (&["x; y=\"a, permessage-deflate; b\", z"], None),
            // Wrong in itself: the next one is looked at.
            (&["permessage-deflate; foo"], None),
            (&["permessage-deflate; foo=1, permessage-deflate"], Some("")),
            (
                &["permessage-deflate; client_max_window_bits; client_max_window_bits"],
                None,
            ),
            (
                &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
                None,
            ),
            (
                &["permessage-deflate; server_max_window_bits=10; server_max_window_bits=10"],
                None,
            ),
            (
                &["permessage-deflate; server_no_context_takeover=true"],
                None,
            ),
            (
                &["permessage-deflate; client_no_context_takeover=\"\""],
                None,
            ),
            (&["permessage-deflate; server_max_window_bits"], None),
            (&["permessage-deflate; server_max_window_bits=7"], None),
            (&["permessage-deflate; server_max_window_bits=16"], None),
            (&["permessage-deflate; server_max_window_bits=010"], None),
            (&["permessage-deflate; server_max_window_bits=+9"], None),
            (&["permessage-deflate; server_max_window_bits=ten"], None),
            (&["permessage-deflate; server_max_window_bits="], None),
            (&["permessage-deflate; client_max_window_bits=16"], None),
            (&["permessage-deflate; client_max_window_bits="], None),
            (&["permessage-deflate;"], None),
            (&["permessage-deflate; ; client_max_window_bits"], None),
            (&["permessage-deflate; client_max_window_bits;"], None),
            (&["permessage-deflate client_max_window_bits"], None),
            (&["Permessage-Deflate"], None),
            (&["\"permessage-deflate\""], None),
            // Quoted values: a token after unescaping. RFC 6455 §9.1.
            (
                &["permessage-deflate; server_max_window_bits=\"11\""],
                Some("; server_max_window_bits=11"),
            ),
            (
                &["permessage-deflate; server_max_window_bits=\"1\\1\""],
                Some("; server_max_window_bits=11"),
            ),
            (&["permessage-deflate; server_max_window_bits=\"11"], None),
            (
                &["permessage-deflate; server_max_window_bits=\"1\"1\""],
                None,
            ),
            (
                &["permessage-deflate; server_max_window_bits=\" 11\""],
                None,
            ),
            (
                &["permessage-deflate; server_max_window_bits=\"11\\\""],
                None,
            ),
            (
                &["permessage-deflate; server_max_window_bits=\"8,9\", permessage-deflate"],
                Some(""),
            ),
            (
                &["permessage-deflate\t;\tserver_max_window_bits = 12 "],
                Some("; server_max_window_bits=12"),
            ),
        ];
        for (lines, expected) in table {
            let expected = expected.map(|behind| format!("{OURS}{behind}"));
            assert_eq!(answer_with(&PLAIN, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_route_limits_the_windows_and_may_want_no_context() {
        assert_eq!(
            negotiate([&b"permessage-deflate"[..]], &Settings::default()),
            None
        );
        let small = Settings {
            window_bits: 11,
            ..PLAIN
        };
        let answer = |line| answer_with(&small, &[line]);
        assert_eq!(answer("permessage-deflate").unwrap(), OURS);
        assert_eq!(
            answer("permessage-deflate; client_max_window_bits; server_max_window_bits=13")
                .unwrap(),
            format!("{OURS}; server_max_window_bits=11; client_max_window_bits=11")
        );
        assert_eq!(
            answer("permessage-deflate; client_max_window_bits=10").unwrap(),
            OURS
        );
        assert_eq!(agreed(&small, "permessage-deflate"), (11, 15, true));
        assert_eq!(
            agreed(&small, "permessage-deflate; client_max_window_bits"),
            (11, 11, true)
        );
        assert_eq!(
            agreed(&PLAIN, "permessage-deflate; client_max_window_bits=8"),
            (15, 9, true)
        );
        let strict = Settings {
            decline_takeover: true,
            ..PLAIN
        };
        assert_eq!(answer_with(&strict, &["permessage-deflate"]), None);
        let both = "permessage-deflate, permessage-deflate; client_no_context_takeover";
        assert_eq!(
            answer_with(&strict, &[both]).unwrap(),
            format!("{OURS}; client_no_context_takeover")
        );
        assert_eq!(agreed(&strict, both), (15, 15, false));
    }

    #[test]
    fn a_client_takes_what_it_offered_and_nothing_else() {
        let offer = ClientOffer::default();
        assert_eq!(
            offer.to_string(),
            "permessage-deflate; client_no_context_takeover; client_max_window_bits"
        );
        let asking = ClientOffer {
            server_no_context_takeover: true,
            server_max_window_bits: Some(10),
            client_keeps_context: false,
        };
        assert_eq!(
            asking.to_string(),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10; client_max_window_bits"
        );
        let check = |offer: &ClientOffer, lines: &[&str]| {
            let agreed = offer.check(lines.iter().map(|line| line.as_bytes()));
            agreed.map(|agreed| agreed.map(|a| (a.send_bits, a.receive_bits, a.peer_keeps_context)))
        };
        assert_eq!(check(&offer, &[]), Ok(None));
        assert_eq!(check(&offer, &[" "]), Ok(None));
        assert_eq!(
            check(&offer, &["permessage-deflate"]),
            Ok(Some((15, 15, true)))
        );
        assert_eq!(
            check(
                &offer,
                &["permessage-deflate; client_max_window_bits=9; server_max_window_bits=8"]
            ),
            Ok(Some((9, 9, true)))
        );
        let full = "permessage-deflate; server_no_context_takeover; server_max_window_bits=10";
        assert_eq!(check(&asking, &[full]), Ok(Some((15, 10, false))));
        for bad in [
            &["x-webkit-deflate-frame"][..],
            &["permessage-deflate, permessage-deflate"],
            &["permessage-deflate", "foo"],
            &["permessage-deflate; foo"],
            &["permessage-deflate; client_max_window_bits"],
            &["permessage-deflate; client_max_window_bits=8"],
            &["permessage-deflate; server_max_window_bits=16"],
            &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
        ] {
            assert_eq!(check(&offer, bad), Err(AnswerError::Extension), "{bad:?}");
        }
        for bad in [
            "permessage-deflate",
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=11",
            "permessage-deflate; server_max_window_bits=10",
        ] {
            assert_eq!(check(&asking, &[bad]), Err(AnswerError::Extension), "{bad}");
        }
    }
}
