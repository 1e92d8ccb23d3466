//! Settings in one line each: a macro per kind of value.
//!
//! The names that they use (`Setting`, `Kind`, `Value`) are those of wherever they are used.

macro_rules! number {
    ($section:literal, $name:literal, $min:literal, $max:expr, $($field:tt)+) => {
        Setting {
            section: $section,
            name: $name,
            kind: Kind::Number($min, $max),
            get: |s| Value::number(s.$($field)+),
            set: |s, value| value.store(&mut s.$($field)+),
        }
    };
}

/// A time of routes, which is called like its field.
macro_rules! route_ms {
    ($name:ident, $min:literal) => {
        Setting {
            section: "limits",
            name: stringify!($name),
            kind: Kind::Number($min, MS),
            get: |s| Value::number(s.settings.$name),
            set: |s, value| value.store(&mut s.settings.$name),
        }
    };
}

macro_rules! switch {
    ($section:literal, $name:literal, $($field:tt)+) => {
        Setting {
            section: $section,
            name: $name,
            kind: Kind::Switch,
            get: |s| Value::Switch(s.$($field)+),
            set: |s, value| {
                s.$($field)+ = *value == Value::Switch(true);
                true
            },
        }
    };
}

macro_rules! list {
    ($section:literal, $name:literal, $kind:expr, $($field:tt)+) => {
        Setting {
            section: $section,
            name: $name,
            kind: $kind,
            get: |s| Value::List(s.$($field)+.clone()),
            set: |s, value| {
                s.$($field)+ = value.list();
                true
            },
        }
    };
}

macro_rules! text {
    ($section:literal, $name:literal, $($field:tt)+) => {
        Setting {
            section: $section,
            name: $name,
            kind: Kind::Text,
            get: |s| Value::Text(s.$($field)+.clone()),
            set: |s, value| {
                value.text().clone_into(&mut s.$($field)+);
                true
            },
        }
    };
}

/// Words that stand for values.
macro_rules! choice {
    ($section:literal, $name:literal, $($field:ident).+, $($word:literal = $value:path),+) => {
        Setting {
            section: $section,
            name: $name,
            kind: Kind::Choice(&[$($word),+]),
            get: |s| Value::Text(match s.$($field).+ { $($value => $word),+ }.to_owned()),
            set: |s, value| {
                let meant = match value.text() { $($word => Some($value),)+ _ => None };
                meant.map(|meant| s.$($field).+ = meant).is_some()
            },
        }
    };
}

pub(in crate::config) use {choice, list, number, route_ms, switch, text};
