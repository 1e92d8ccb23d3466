//! Signed tokens (RFC 7515 §5.2, RFC 7519 §7.2), checked from the outside in.
//!
//! ```text
//!   length ─▶ three parts ─▶ header ─▶ `crit`? ─▶ key by `kid` ─▶ its `alg`? ─▶ signature ─▶ claims ─▶ Grant
//!   TooLong   Malformed      Malformed  Critical   UnknownKey      Algorithm     Signature    Expired, NotYet, …
//! ```
//!
//! **Nothing of what a token says about itself is believed before its signature**, but for the name of the key, which
//! only chooses among those that are configured: the algorithm is the key's, and one that the token names must be the
//! same. There is at most one key for each name and algorithm, so a token costs one signature.

use std::fmt;

use super::json::{self, Object};
use super::{Algorithm, Grant, Rights, TokenError, VerifyingKey, claims, key};

/// Checks signed tokens. `Debug` shows no key.
///
/// ```
/// use dunlin::token::{Verifier, VerifyingKey};
///
/// let key = VerifyingKey::secret(b"at least thirty-two bytes of it, please")?;
/// let verifier = Verifier::new(vec![key])?.audiences(["wss://news.example"]);
/// assert!(verifier.verify("not.a.token", 1_795_170_653).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Verifier {
    keys: Vec<VerifyingKey>,
    bytes_max: usize,
    expected: Expected,
}

/// What claims are held against.
#[derive(Clone, Default)]
pub(super) struct Expected {
    pub(super) issuers: Vec<String>,
    pub(super) audiences: Vec<String>,
    pub(super) leeway_s: u64,
    /// A token need not end.
    pub(super) endless: bool,
    /// What every token allows.
    pub(super) rights: Rights,
}

/// Most keys of one verifier.
const KEYS_MAX: usize = 64;

impl Verifier {
    /// Tokens up to so many bytes: half of what a head may have.
    pub const BYTES_MAX: usize = 4096;
    /// Clocks may differ by so many seconds.
    pub const LEEWAY_S: u64 = 10;

    /// Checks with these keys.
    ///
    /// # Errors
    /// Without a key, with too many, or with two for the same tokens.
    pub fn new(keys: Vec<VerifyingKey>) -> Result<Self, VerifierError> {
        if keys.is_empty() {
            return Err(VerifierError::NoKey);
        }
        if keys.len() > KEYS_MAX {
            return Err(VerifierError::TooManyKeys);
        }
        for (at, key) in keys.iter().enumerate() {
            let same = |other: &VerifyingKey| {
                (other.kid(), other.algorithm()) == (key.kid(), key.algorithm())
            };
            if keys.iter().take(at).any(same) {
                return Err(VerifierError::SameKid(key.algorithm()));
            }
        }
        let expected = Expected {
            leeway_s: Self::LEEWAY_S,
            ..Expected::default()
        };
        Ok(Self {
            keys,
            bytes_max: Self::BYTES_MAX,
            expected,
        })
    }

    /// Takes tokens of these issuers only.
    pub fn issuers<S: Into<String>>(mut self, issuers: impl IntoIterator<Item = S>) -> Self {
        self.expected.issuers = issuers.into_iter().map(Into::into).collect();
        self
    }

    /// Takes tokens only that are for one of these names.
    pub fn audiences<S: Into<String>>(mut self, audiences: impl IntoIterator<Item = S>) -> Self {
        self.expected.audiences = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// How many seconds clocks may differ.
    pub fn leeway_s(mut self, seconds: u64) -> Self {
        self.expected.leeway_s = seconds;
        self
    }

    /// Takes longer tokens, or only shorter ones.
    pub fn bytes_max(mut self, bytes: usize) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Takes tokens that never end.
    pub fn allow_without_exp(mut self) -> Self {
        self.expected.endless = true;
        self
    }

    /// What every token allows, beside what it says itself.
    pub fn rights(mut self, rights: Rights) -> Self {
        self.expected.rights = rights;
        self
    }

    /// What a token allows at a second since 1970.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn verify(&self, token: &str, unix_seconds: u64) -> Result<Grant, TokenError> {
        if token.len() > self.bytes_max {
            return Err(TokenError::TooLong);
        }
        let mut parts = token.splitn(3, '.');
        let (Some(header), Some(payload), Some(signature)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let key = self.key(&decode(header)?)?;
        // A fourth part would be no base64url.
        let signature = decode(signature)?;
        let signed = token
            .get(..header.len() + 1 + payload.len())
            .unwrap_or_default();
        if !key.verifies(signed.as_bytes(), &signature) {
            return Err(TokenError::Signature);
        }
        claims::grant(&decode(payload)?, &self.expected, unix_seconds)
    }

    /// The key for a header.
    fn key(&self, header: &[u8]) -> Result<&VerifyingKey, TokenError> {
        let header = Object::parse(header).map_err(|_| TokenError::Malformed)?;
        if header.get("crit").is_some() {
            return Err(TokenError::Critical);
        }
        let algorithm = header.get("alg").and_then(json::string);
        let algorithm = algorithm.ok_or(TokenError::Malformed)?;
        let kid = match header.get("kid") {
            None => None,
            Some(value) => Some(json::string(value).ok_or(TokenError::Malformed)?),
        };
        let keys = || self.keys.iter();
        let named = |key: &&VerifyingKey| key.kid().is_some() && key.kid() == kid.as_deref();
        let nameless = |key: &&VerifyingKey| key.kid().is_none();
        let candidates: Vec<&VerifyingKey> = if keys().any(|key| named(&key)) {
            keys().filter(named).collect()
        } else if keys().any(|key| nameless(&key)) {
            keys().filter(nameless).collect()
        } else if kid.is_none() && self.keys.len() == 1 {
            keys().collect()
        } else {
            return Err(TokenError::UnknownKey);
        };
        let algorithm = Algorithm::named(&algorithm);
        let mut fitting = candidates.into_iter();
        fitting
            .find(|key| Some(key.algorithm()) == algorithm)
            .ok_or(TokenError::Algorithm)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifier").field(&self.keys).finish()
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    key::base64url(part).ok_or(TokenError::Malformed)
}

/// Why keys do not make a verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifierError {
    /// There is none.
    NoKey,
    /// More than 64.
    TooManyKeys,
    /// Two of this algorithm have the same `kid`, or both have none.
    SameKid(Algorithm),
}

impl fmt::Display for VerifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("there is no key for tokens"),
            Self::TooManyKeys => write!(f, "there are more than {KEYS_MAX} keys for tokens"),
            Self::SameKid(algorithm) => write!(
                f,
                "two {} keys are for the same tokens: give each a `kid` of its own",
                algorithm.name()
            ),
        }
    }
}

impl std::error::Error for VerifierError {}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
