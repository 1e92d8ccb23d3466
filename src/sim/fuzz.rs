//! The body of the fuzz target.

use super::{Chooser, Run};

/// Oracle: a model predicts every delivery, invariants hold after every step, polite peers are never accused,
/// quiet means done, and the empty house is empty.
pub fn world(data: &[u8]) {
    Run::new(Chooser::from_bytes(data)).live(2_000);
}
