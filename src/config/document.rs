//! A TOML document as a tree of tables, arrays and scalars, each with its place in the text.
//!
//! The rule: the grammar is `toml_parser`'s, what is built from its events is ours. The crate `toml` builds a
//! tree for any type that serde knows and makes the static program 33 KB larger; the tests hold the two side
//! by side. Dates are refused: no setting is one, and whoever keeps them has to know the calendar.
//!
//! A table may be written in pieces, and what may still be added depends on how it came to be:
//!
//! ```text
//!          ┌───────────┐  a key a.b = 1   ┌────────┐
//!  [a.b] ─▶│  Passed   │─────────────────▶│ Dotted │◀─ a.b = 1
//!          └─────┬─────┘                  └────────┘  more dotted keys, [a.c], never [a]
//!                │ [a], once
//!          ┌─────▼─────┐                  ┌────────┐
//!    [a] ─▶│  Opened   │                  │ Inline │◀─ a = { … }
//!  [[a]] ─▶└───────────┘                  └────────┘  nothing
//!           [a.c], never [a] or a.b = 1
//! ```

#[cfg(any(test, feature = "sim"))]
pub(super) mod beside;
mod builder;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

/// A value and the byte of the text where it begins; a table begins with its header.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) at: usize,
    pub(crate) value: Toml,
}

/// What may stand behind a key.
#[derive(Debug)]
pub(crate) enum Toml {
    String(String),
    /// Digits without underscores, maybe with a sign, and their base.
    Integer {
        digits: String,
        radix: u32,
    },
    Float,
    Boolean(bool),
    Array(Vec<Item>),
    /// What `[[key]]` makes; all are tables.
    Tables(Vec<Item>),
    Table(Table),
}

/// Keys with their values in the order of the text. There are a few dozen, so looking one up means looking
/// through them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<(Key, Item)>,
    made: Made,
}

/// One part of a dotted key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) at: usize,
    pub(crate) name: String,
}

/// How a table came to be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// By its own header; the top of the file needs none.
    #[default]
    Opened,
    /// On the way to the table of a header.
    Passed,
    /// On the way to a dotted key's value.
    Dotted,
    Inline,
}

/// Why a text is no document, and where.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) at: usize,
    pub(crate) message: String,
    /// The other place, if it takes two to be wrong.
    pub(crate) first: Option<usize>,
}

impl Table {
    /// Reads a whole document.
    ///
    /// # Errors
    /// The first mistake.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        builder::parse(text)
    }

    pub(crate) fn entries(&self) -> &[(Key, Item)] {
        &self.entries
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Item> {
        let index = self.position(name)?;
        self.entries.get(index).map(|(_, item)| item)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|(key, _)| key.name == name)
    }

    fn insert(&mut self, key: Key, item: Item) -> Result<(), Mistake> {
        if let Some((first, old)) = self.entries.iter().find(|(k, _)| k.name == key.name) {
            return Err(clash(&key, first.at, old.value.type_name()));
        }
        self.entries.push((key, item));
        Ok(())
    }

    /// The table at the end of a path; those that are missing on the way are made so.
    fn descend(&mut self, path: &[Key], made: Made) -> Result<&mut Self, Mistake> {
        let mut table = self;
        for key in path {
            let index = table.position(&key.name).unwrap_or(table.entries.len());
            if index == table.entries.len() {
                let (at, entries) = (key.at, Vec::new());
                let value = Toml::Table(Self { entries, made });
                table.entries.push((key.clone(), Item { at, value }));
            }
            let (first, item) = &mut table.entries[index];
            let what = item.value.type_name();
            table = match &mut item.value {
                Toml::Table(inner) => match (inner.made, made) {
                    (Made::Inline, _) | (Made::Opened, Made::Dotted) => {
                        return Err(clash(key, first.at, what));
                    }
                    _ => {
                        if made == Made::Dotted {
                            inner.made = made;
                        }
                        inner
                    }
                },
                // Headers go on in the last table of a list; each has a header of its own, so dotted keys do not.
                Toml::Tables(tables) if made != Made::Dotted => {
                    match tables.last_mut().map(|last| &mut last.value) {
                        Some(Toml::Table(last)) => last,
                        _ => return Err(clash(key, first.at, what)),
                    }
                }
                _ => return Err(clash(key, first.at, what)),
            };
        }
        Ok(table)
    }
}

impl Toml {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer { .. } => "a number",
            Self::Float => "a number with a point",
            Self::Boolean(_) => "true or false",
            Self::Array(_) => "a list",
            Self::Tables(_) => "a list of tables",
            Self::Table(table) if table.made == Made::Inline => "an inline table",
            Self::Table(_) => "a table",
        }
    }
}

/// A key that has a value which does not let anything be added.
fn clash(key: &Key, first: usize, what: &str) -> Mistake {
    Mistake {
        at: key.at,
        message: format!("`{}` is already {what}", key.name),
        first: Some(first),
    }
}

impl Mistake {
    fn at(at: usize, message: String) -> Self {
        let first = None;
        Self { at, message, first }
    }
}
