//! Which subprotocol a server picks out of an offer.
//!
//! The rule: exactly one token out of the offer, or none. Clients abort on anything else. RFC 6455 §4.2.2 item 5.

use super::handshake::Offer;
use super::token;

/// What a subprotocol begins with that is a token of the client. Browsers can set no header for a WebSocket, so this is
/// how their pages keep a token out of the URL: `new WebSocket(url, ["news.v1", "bearer." + token])`.
pub const BEARER_SUBPROTOCOL: &str = "bearer.";

/// The subprotocols in these header lines, as far as they are tokens: for looking at a request that was not checked yet.
pub fn offered_subprotocols<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> impl Iterator<Item = &'a str> {
    let lines = headers.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"));
    lines.flat_map(|(_, value)| token::elements(value).filter_map(token::token))
}

/// The subprotocol policy of a route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Subprotocols {
    /// The first of these, in the server's order of preference, that was offered.
    List(Vec<String>),
    /// Whatever the client offered first. A token ([`BEARER_SUBPROTOCOL`]) is no protocol, and never answered.
    EchoFirst,
    /// None, whatever was offered.
    #[default]
    None,
}

impl Subprotocols {
    /// The subprotocol to answer with, borrowed from the offer. Names compare with their case.
    pub fn choose<'o>(&self, offer: &Offer<'o>) -> Option<&'o str> {
        match self {
            Self::List(preferred) => preferred
                .iter()
                .find_map(|preferred| offer.choices().find(|offered| offered == preferred)),
            Self::EchoFirst => offer.choices().next(),
            Self::None => None,
        }
    }
}
