//! Which subprotocol a server picks out of an offer.
//!
//! The rule: exactly one token out of the offer, or none. Clients abort on anything else. RFC 6455 §4.2.2 item 5.

use super::handshake::Offer;

/// The subprotocol policy of a route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Subprotocols {
    /// The first of these, in the server's order of preference, that was offered.
    List(Vec<String>),
    /// Whatever the client offered first.
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
                .find_map(|preferred| offer.protocols().find(|offered| offered == preferred)),
            Self::EchoFirst => offer.protocols().next(),
            Self::None => None,
        }
    }
}
