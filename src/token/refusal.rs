//! Every way in which a key or a token is not good enough, each with one answer.

/// Why what a client presents is not taken. It carries nothing of what was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// It is none of the keys, and signed tokens are not known here.
    WrongKey,
    /// Longer than a token may be.
    TooLong,
    /// Not three parts of base64url, or not JSON in them, or JSON of another form.
    Malformed,
    /// A header that says more than this server knows (`crit`, RFC 7515 §4.1.11).
    Critical,
    /// No key goes by that `kid`, or it says none and several keys have one.
    UnknownKey,
    /// Another algorithm than that of the key, `none` among them.
    Algorithm,
    /// The signature is not that of the key.
    Signature,
    /// A claim that is not what RFC 7519 or this server wants of it.
    Claims,
    /// `exp` is over.
    Expired,
    /// It never ends, and here tokens must.
    Endless,
    /// `nbf` or `iat` is still to come.
    NotYet,
    /// `iss` is another.
    Issuer,
    /// `aud` names somebody else.
    Audience,
    /// Made before its user was shut out.
    Revoked,
}

impl TokenError {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::WrongKey,
        Self::TooLong,
        Self::Malformed,
        Self::Critical,
        Self::UnknownKey,
        Self::Algorithm,
        Self::Signature,
        Self::Claims,
        Self::Expired,
        Self::Endless,
        Self::NotYet,
        Self::Issuer,
        Self::Audience,
        Self::Revoked,
    ];

    /// The counter's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::WrongKey => "key_wrong",
            Self::TooLong => "token_too_long",
            Self::Malformed => "token_malformed",
            Self::Critical => "token_critical",
            Self::UnknownKey => "token_key",
            Self::Algorithm => "token_algorithm",
            Self::Signature => "token_signature",
            Self::Claims => "token_claims",
            Self::Expired => "token_expired",
            Self::Endless => "token_endless",
            Self::NotYet => "token_not_yet",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::Revoked => "token_revoked",
        }
    }

    /// What to tell the client; made of what RFC 6750 §3 allows in `error_description`.
    pub fn detail(self) -> &'static str {
        match self {
            Self::WrongKey => "the key is not one of this route's keys",
            Self::TooLong => {
                "the token is longer than tokens may be here (setting token_bytes_max)"
            }
            Self::Malformed => {
                "this is no signed token: it wants three parts of base64url, JSON in the first two, no member twice"
            }
            Self::Critical => "the token has a critical header that is not known here",
            Self::UnknownKey => "no key here goes by the kid of the token",
            Self::Algorithm => "the token is signed with another algorithm than that of its key",
            Self::Signature => "the signature of the token is wrong",
            Self::Claims => "a claim of the token is not of the form it must have",
            Self::Expired => "the token has expired",
            Self::Endless => {
                "the token has no exp, and tokens must end here (setting allow_without_exp)"
            }
            Self::NotYet => "the token is not valid yet",
            Self::Issuer => "the token is of an issuer who is not known here",
            Self::Audience => "the token is not meant for this server",
            Self::Revoked => "the tokens that this user had so far were revoked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_its_own_and_may_stand_in_a_header() {
        for (at, error) in TokenError::ALL.into_iter().enumerate() {
            let is_fine = |b: u8| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\';
            assert!(error.detail().bytes().all(is_fine), "{error:?}");
            assert!(
                error.detail().len() <= 123,
                "it has to fit into a close frame: {error:?}"
            );
            let others = &TokenError::ALL[..at];
            assert!(
                others
                    .iter()
                    .all(|o| o.name() != error.name() && o.detail() != error.detail())
            );
        }
    }
}
