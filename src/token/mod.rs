//! Who may do what, and how a client proves who it is: keys, and the grants that stand behind them.
//!
//! | file | subject |
//! | --- | --- |
//! | `grant.rs` | [`Grant`]: a user, a time, and names of channels per [`Action`] |
//! | `gate.rs` | [`Gate`]: what opens a route |
//! | `refusal.rs` | [`TokenError`]: every way in which that fails, each with its one answer |
//!
//! **A leaf:** it is used by `hub` (which asks what a session may), by `server` (which asks who a request is from) and by
//! the front door (which reads keys), and knows nobody but `values`, the grammar of JSON. The time is a number that is
//! handed in.

mod gate;
mod grant;
mod refusal;

pub use gate::Gate;
pub use grant::{Action, Grant, PatternError, Rights};
pub use refusal::TokenError;
