//! What the crate `toml` makes of a document, in the words of our comparison. A module of whoever has them.

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};

use super::{Entry, Tree};

pub(super) fn read(text: &str) -> Result<Vec<Entry>, String> {
    match DeTable::parse(text) {
        Ok(table) => Ok(entries(table.get_ref())),
        Err(error) => Err(error.to_string()),
    }
}

fn entries(table: &DeTable<'_>) -> Vec<Entry> {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| Entry {
        key_at: key.span().start,
        key: AsRef::<str>::as_ref(key.get_ref()).to_owned(),
        at: value.span().start,
        value: tree(value.get_ref()),
    };
    table.iter().map(entry).collect()
}

fn tree(value: &DeValue<'_>) -> Tree {
    match value {
        DeValue::String(text) => Tree::String(text.clone().into_owned()),
        DeValue::Integer(number) => Tree::Integer(number.as_str().to_owned(), number.radix()),
        DeValue::Float(_) => Tree::Float,
        DeValue::Boolean(on) => Tree::Boolean(*on),
        DeValue::Datetime(_) => Tree::Date,
        DeValue::Array(items) => {
            let items = items.iter().map(|i| (i.span().start, tree(i.get_ref())));
            Tree::List(items.collect())
        }
        DeValue::Table(table) => Tree::Table(entries(table)),
    }
}
