//! What opens a route: keys that are known here, and tokens that somebody else has signed.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

#[cfg(feature = "jwt")]
use super::Verifier;
use super::{Action, Grant, TokenError};

/// Keys and tokens. Without any of them it is open to all.
#[derive(Clone, Default)]
pub struct Gate {
    keys: Vec<Key>,
    needs: Vec<Action>,
    #[cfg(feature = "jwt")]
    verifier: Option<Arc<Verifier>>,
}

#[derive(Clone)]
struct Key {
    key: String,
    /// `None`: it opens everything.
    grant: Option<Arc<Grant>>,
}

impl Gate {
    /// A key; without a grant it opens everything. An empty one opens nothing.
    pub fn add_key(&mut self, key: String, grant: Option<Arc<Grant>>) {
        if !key.is_empty() {
            self.keys.push(Key { key, grant });
        }
    }

    /// What a grant must allow with all channels to be let through.
    pub fn need(&mut self, action: Action) {
        self.needs.push(action);
    }

    /// Whether a grant allows as much.
    pub fn is_enough(&self, grant: &Grant) -> bool {
        self.needs.iter().all(|action| grant.may_all(*action, ""))
    }

    /// Takes signed tokens.
    #[cfg(feature = "jwt")]
    pub fn set_verifier(&mut self, verifier: Arc<Verifier>) {
        self.verifier = Some(verifier);
    }

    /// Whether nothing is asked of anybody.
    pub fn is_open(&self) -> bool {
        #[cfg(feature = "jwt")]
        if self.verifier.is_some() {
            return false;
        }
        self.keys.is_empty()
    }

    /// How many keys it has.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// What stands behind something that a client presents, at a second since 1970. `None`: everything. Comparing takes
    /// the same time wherever the difference is, and whichever key it is. `sparing`: no signature is checked, because whoever
    /// asks has presented too much that was wrong.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn judge(
        &self,
        presented: &str,
        unix_seconds: u64,
        sparing: bool,
    ) -> Result<Option<Arc<Grant>>, TokenError> {
        let mut found = None;
        for (at, key) in self.keys.iter().enumerate() {
            if bool::from(key.key.as_bytes().ct_eq(presented.as_bytes())) {
                found = Some(at);
            }
        }
        if let Some(key) = found.and_then(|at| self.keys.get(at)) {
            return Ok(key.grant.clone());
        }
        #[cfg(feature = "jwt")]
        if let Some(verifier) = self.verifier.as_ref().filter(|_| !sparing) {
            let grant = verifier.verify(presented, unix_seconds)?;
            return Ok(Some(Arc::new(grant)));
        }
        _ = (unix_seconds, sparing);
        Err(TokenError::WrongKey)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the keys themselves.
        write!(f, "Gate({})", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Rights;

    #[test]
    fn a_key_has_its_grant() {
        let mut gate = Gate::default();
        assert!(gate.is_open());
        gate.add_key(String::new(), None);
        assert!(gate.is_open(), "an empty key is none");
        gate.add_key("all".to_owned(), None);
        let grant = Arc::new(Grant::new("ann", &Rights::default()));
        gate.add_key("ann's".to_owned(), Some(grant));
        assert!(!gate.is_open());
        assert_eq!(gate.judge("all", 0, false), Ok(None));
        let found = gate.judge("ann's", 0, false);
        assert!(
            matches!(&found, Ok(Some(g)) if g.user() == Some("ann") && !g.may(Action::Publish, "a"))
        );
        for wrong in ["", "al", "alll", "ann"] {
            assert!(gate.judge(wrong, 0, false).is_err(), "{wrong}");
        }
        assert_eq!(format!("{gate:?}"), "Gate(2)");
    }
}
