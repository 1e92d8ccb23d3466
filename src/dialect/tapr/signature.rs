//! A signature over each callback, so that an application can tell ours from anybody else's (feature `signature`).
//!
//! ```text
//!  X-Dunlin-Signature: t=1763640000,v1=<hex>[,v1=<hex>…]
//!      t   Unix seconds when the callback was made: refuse what is older than a few minutes
//!      v1  HMAC-SHA-256 (RFC 2104) with the key, over  t '.' body ; one for each key, so that keys can be changed
//! ```

use std::borrow::Cow;
use std::fmt::{self, Write};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The keys that sign callbacks. `Debug` does not show them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SignatureKeys(pub Vec<String>);

impl fmt::Debug for SignatureKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignatureKeys({})", self.0.len())
    }
}

const HEADER: &str = "X-Dunlin-Signature";

impl SignatureKeys {
    /// The header; `None` without a key.
    pub(in crate::dialect) fn header(
        &self,
        unix_seconds: u64,
        body: &[u8],
    ) -> Option<(Cow<'static, str>, String)> {
        let value = self.sign(unix_seconds, body)?;
        Some((HEADER.into(), value))
    }

    /// The header's value; `None` without a key.
    pub(super) fn sign(&self, unix_seconds: u64, body: &[u8]) -> Option<String> {
        let mut value = format!("t={unix_seconds}");
        for key in &self.0 {
            // HMAC takes keys of any length (RFC 2104 §3).
            let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
            mac.update(unix_seconds.to_string().as_bytes());
            mac.update(b".");
            mac.update(body);
            value.push_str(",v1=");
            for byte in mac.finalize().into_bytes() {
                _ = write!(value, "{byte:02x}");
            }
        }
        (!self.0.is_empty()).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_openssl() {
        // printf '1763640000.{"data":{}}' | openssl dgst -sha256 -hmac secret
        let keys = SignatureKeys(vec!["secret".to_owned(), "next".to_owned()]);
        let value = keys.sign(1_763_640_000, br#"{"data":{}}"#);
        assert_eq!(
            value.as_deref(),
            Some(
                "t=1763640000,v1=b26647ed5fde73d8e3b1f1442b6467e21c0e504b539797b5980e93c70ca53a2f,v1=1bf06f1a9225664cff5b8af0fd1360c8e63fb15fe16fc6832ad78dda35ceee59"
            )
        );
        assert_eq!(SignatureKeys::default().sign(1, b""), None);
        assert!(!format!("{keys:?}").contains("secret"));
    }
}
