//! Our tree beside the one that another reader built.
//!
//! The rule: both refuse, or both read the same values at the same places. Ours is stricter in two things, and says
//! which: dates, and dotted keys that add to a `[[list]]`.

use super::{Item, Mistake, Table, Toml};

/// What the other reader found, in plain words.
#[derive(Debug)]
pub enum Tree {
    /// Decoded.
    String(String),
    /// Digits as ours has them, and their base.
    Integer(String, u32),
    /// Whatever it is: no setting is one.
    Float,
    /// A date, which ours refuses.
    Date,
    /// A switch.
    Boolean(bool),
    /// Values with the bytes where they begin.
    List(Vec<(usize, Tree)>),
    /// Of any kind.
    Table(Vec<Entry>),
}

/// A key with its value; places are bytes of the text.
#[derive(Debug)]
pub struct Entry {
    /// Where the key begins.
    pub key_at: usize,
    /// Decoded.
    pub key: String,
    /// Where the value begins.
    pub at: usize,
    /// What it is.
    pub value: Tree,
}

/// Fails where the two differ and should not.
#[track_caller]
pub(crate) fn compare(
    ours: &Result<Table, Mistake>,
    theirs: &Result<Vec<Entry>, String>,
    text: &str,
) {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => same_table(ours, theirs, text),
        (Ok(_), Err(theirs)) => panic!("only the other refuses this: {theirs}\n{text}"),
        (Err(ours), Ok(_)) => assert!(is_stricter(ours), "only we refuse this: {ours:?}\n{text}"),
        (Err(_), Err(_)) => {}
    }
    if let Err(mistake) = ours {
        for at in [Some(mistake.at), mistake.first].into_iter().flatten() {
            assert!(text.is_char_boundary(at), "{mistake:?}\n{text}");
        }
    }
}

/// No setting is a date, and TOML does not let a dotted key add to what `[[…]]` wrote; the crate `toml` lets it.
fn is_stricter(mistake: &Mistake) -> bool {
    mistake.message == "a date, and no setting is one"
        || mistake.message.ends_with("is already a list of tables")
}

#[track_caller]
fn same_table(ours: &Table, theirs: &[Entry], text: &str) {
    assert_eq!(ours.entries().len(), theirs.len(), "{text}");
    for (key, item) in ours.entries() {
        let entry = theirs
            .iter()
            .find(|entry| entry.key == key.name)
            .unwrap_or_else(|| panic!("only we have {:?}\n{text}", key.name));
        assert_eq!(key.at, entry.key_at, "{}\n{text}", key.name);
        same(item, entry.at, &entry.value, text);
    }
}

#[track_caller]
fn same(ours: &Item, at: usize, theirs: &Tree, text: &str) {
    assert_eq!(ours.at, at, "{ours:?}\n{text}");
    match (&ours.value, theirs) {
        (Toml::String(ours), Tree::String(theirs)) => assert_eq!(ours, theirs, "{text}"),
        (Toml::Boolean(ours), Tree::Boolean(theirs)) => assert_eq!(ours, theirs, "{text}"),
        (Toml::Integer { digits, radix }, Tree::Integer(their_digits, their_radix)) => {
            assert_eq!((digits, radix), (their_digits, their_radix), "{text}");
        }
        (Toml::Float, Tree::Float) => {}
        (Toml::Array(ours) | Toml::Tables(ours), Tree::List(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{text}");
            for (ours, (at, theirs)) in ours.iter().zip(theirs) {
                same(ours, *at, theirs, text);
            }
        }
        (Toml::Table(ours), Tree::Table(theirs)) => same_table(ours, theirs, text),
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}\n{text}"),
    }
}
