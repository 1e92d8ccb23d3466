//! Who may do what, and how a client proves who it is: keys and tokens, and the grants that stand behind them.
//!
//! ```text
//!   what a client presents ──▶ Gate ──▶ one of the static keys? ──▶ its grant, or full rights
//!                                │ no
//!                                ▼
//!                             Verifier (feature `jwt`): parts ▶ header ▶ key by `kid` ▶ signature ▶ claims ──▶ Grant
//! ```
//!
//! | file | subject |
//! | --- | --- |
//! | `grant.rs` | [`Grant`]: a user, a time, and names of channels per [`Action`] |
//! | `gate.rs` | [`Gate`]: what opens a route |
//! | `refusal.rs` | [`TokenError`]: every way in which that fails, each with its one answer |
//! | `verifier.rs` | signed tokens (RFC 7515, RFC 7519), checked from the outside in (feature `jwt`) |
//! | `key.rs` | keys that check signatures: algorithm, material, where it is read from (feature `jwt`) |
//! | `claims.rs` | what a token says, as a grant (feature `jwt`) |
//! | `json.rs` | one JSON object, strictly: no member twice (feature `jwt`) |
//!
//! **A leaf:** it is used by `hub` (which asks what a session may), by `server` (which asks who a request is from) and by
//! the front door (which reads keys), and knows nobody but `values`, the grammar of JSON. The time is a number that is
//! handed in.

#[cfg(feature = "jwt")]
mod claims;
#[cfg(all(feature = "jwt", any(test, feature = "sim")))]
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod grant;
#[cfg(feature = "jwt")]
mod json;
#[cfg(feature = "jwt")]
mod key;
mod refusal;
#[cfg(feature = "jwt")]
mod verifier;

pub use gate::Gate;
pub use grant::{Action, Grant, PatternError, Rights};
#[cfg(feature = "jwt")]
pub use key::{Algorithm, KeyError, VerifyingKey};
pub use refusal::TokenError;
#[cfg(feature = "jwt")]
pub use verifier::{Verifier, VerifierError};
