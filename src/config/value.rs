//! Values as they are written: in TOML, in the environment, behind a flag.

use std::borrow::Cow;

use super::document::Toml;

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From the first to the second, both included.
    Number(u64, u64),
    Switch,
    Text,
    Choice(&'static [&'static str]),
    List,
    /// A list that is never printed.
    Secrets,
    /// One of these words, or a list.
    WordOrList(&'static [&'static str]),
}

/// A value of some [`Kind`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Number(u64),
    Switch(bool),
    Text(String),
    List(Vec<String>),
}

impl Value {
    pub(crate) fn number(field: impl TryInto<u64>) -> Self {
        Self::Number(field.try_into().unwrap_or(u64::MAX))
    }

    /// Writes a number into a field; false if it does not fit.
    pub(crate) fn store<T: TryFrom<u64>>(&self, field: &mut T) -> bool {
        match self {
            Self::Number(n) => match T::try_from(*n) {
                Ok(value) => {
                    *field = value;
                    true
                }
                Err(_) => false,
            },
            _ => false,
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    pub(crate) fn list(&self) -> Vec<String> {
        match self {
            Self::List(list) => list.clone(),
            Self::Text(text) => vec![text.clone()],
            _ => Vec::new(),
        }
    }

    /// A value out of a file.
    pub(crate) fn from_toml(kind: Kind, name: &str, value: &Toml) -> Result<Self, String> {
        match (kind, value) {
            (Kind::Number(..), Toml::Integer { digits, radix }) => {
                let number = u64::from_str_radix(digits, *radix).ok();
                let prefix = match radix {
                    2 => "0b",
                    8 => "0o",
                    16 => "0x",
                    _ => "",
                };
                Self::checked_number(kind, name, number, &format!("{prefix}{digits}"))
            }
            (Kind::Number(..), Toml::String(text)) => Self::from_text(kind, name, text),
            (Kind::Switch, Toml::Boolean(on)) => Ok(Self::Switch(*on)),
            // `drain_code = 1012` reads like a number.
            (Kind::Choice(_), Toml::Integer { digits, .. }) => Self::from_text(kind, name, digits),
            // `sandbox = true`: a switch with a third word.
            (Kind::Choice(words), Toml::Boolean(on)) if words.contains(&"true") => {
                Self::from_text(kind, name, &on.to_string())
            }
            (Kind::Text | Kind::Choice(_) | Kind::WordOrList(_), Toml::String(text)) => {
                Self::from_text(kind, name, text)
            }
            // One address is written without brackets by everybody, once.
            (Kind::List, Toml::String(text)) => Ok(Self::List(vec![text.clone()])),
            (Kind::List | Kind::Secrets | Kind::WordOrList(_), Toml::Array(items)) => {
                let items = items.iter().map(|item| match &item.value {
                    Toml::String(text) => Ok(text.clone()),
                    other => Err(format!(
                        "`{name}` is a list of strings, and one of them is {}",
                        other.type_name()
                    )),
                });
                Ok(Self::List(items.collect::<Result<_, _>>()?))
            }
            (_, other) => Err(format!(
                "`{name}` wants {}, this is {}",
                wanted(kind, name),
                other.type_name()
            )),
        }
    }

    /// A value out of the environment or behind a flag; lists are separated by commas.
    pub(crate) fn from_text(kind: Kind, name: &str, text: &str) -> Result<Self, String> {
        let refused = || {
            Err(format!(
                "`{name}` wants {}, this is {text:?}",
                wanted(kind, name)
            ))
        };
        match kind {
            Kind::Number(..) => {
                let Some(number) = parse_number(name, text) else {
                    return refused();
                };
                Self::checked_number(kind, name, Some(number), text)
            }
            Kind::Switch => match text {
                "true" | "1" => Ok(Self::Switch(true)),
                "false" | "0" => Ok(Self::Switch(false)),
                _ => refused(),
            },
            Kind::Text => Ok(Self::Text(text.to_owned())),
            Kind::Choice(words) if words.contains(&text) => Ok(Self::Text(text.to_owned())),
            Kind::Choice(words) => {
                let near = super::nearest(text, words);
                let hint = near
                    .map(|n| format!(", did you mean {n:?}?"))
                    .unwrap_or_default();
                Err(format!(
                    "`{name}` wants {}, this is {text:?}{hint}",
                    wanted(kind, name)
                ))
            }
            Kind::WordOrList(words) if words.contains(&text) => Ok(Self::Text(text.to_owned())),
            Kind::List | Kind::Secrets | Kind::WordOrList(_) => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                Ok(Self::List(items.map(str::to_owned).collect()))
            }
        }
    }

    fn checked_number(
        kind: Kind,
        name: &str,
        number: Option<u64>,
        text: &str,
    ) -> Result<Self, String> {
        match (kind, number) {
            (Kind::Number(min, max), Some(n)) if (min..=max).contains(&n) => Ok(Self::Number(n)),
            (Kind::Number(min, max), _) => {
                Err(format!("`{name}` = {text} is not within {min} to {max}"))
            }
            _ => Err(format!("`{name}` is no number")),
        }
    }

    /// As TOML, with secrets covered.
    pub(crate) fn to_toml(&self, kind: Kind) -> String {
        match self {
            Self::Number(n) => n.to_string(),
            Self::Switch(on) => on.to_string(),
            // The two words of a switch stay what they are in TOML.
            Self::Text(text) if matches!(kind, Kind::Choice(_)) && is_switch(text) => text.clone(),
            Self::Text(text) => quoted(text),
            Self::List(list) => {
                let item = |text: &String| match kind {
                    Kind::Secrets => Cow::Borrowed(COVERED_TOML),
                    _ => Cow::Owned(quoted(text)),
                };
                format!("[{}]", list.iter().map(item).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// What stands in the place of a secret.
pub(crate) const COVERED: &str = "***";
const COVERED_TOML: &str = "\"***\"";

/// A TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    crate::log::escape(&mut out, text);
    out.push('"');
    out
}

fn is_switch(text: &str) -> bool {
    ["true", "false"].contains(&text)
}

fn wanted(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Number(..) if name.ends_with("_ms") => {
            "milliseconds or a string with a unit (\"250ms\", \"30s\", \"5m\", \"1h\")".to_owned()
        }
        Kind::Number(..) if is_bytes(name) => {
            "bytes or a string with a unit (\"64KiB\", \"1MiB\", \"2GiB\")".to_owned()
        }
        Kind::Number(..) => "a whole number".to_owned(),
        Kind::Switch => "true or false".to_owned(),
        Kind::Text => "a string".to_owned(),
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        Kind::List | Kind::Secrets => "a list of strings".to_owned(),
        Kind::WordOrList(words) => format!("one of {} or a list of strings", words.join(", ")),
    }
}

fn is_bytes(name: &str) -> bool {
    name.ends_with("_bytes") || name.ends_with("_bytes_max")
}

/// Digits, and where the name has a unit that unit or a larger one. No fractions: they would be the only
/// floating-point numbers of the program.
fn parse_number(name: &str, text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b'_')
        .count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.replace('_', "").parse().ok()?;
    let factor = match unit.trim() {
        "" => 1,
        "ms" if name.ends_with("_ms") => 1,
        "s" if name.ends_with("_ms") => 1000,
        "m" | "min" if name.ends_with("_ms") => 60_000,
        "h" if name.ends_with("_ms") => 3_600_000,
        "B" if is_bytes(name) => 1,
        "KiB" if is_bytes(name) => 1 << 10,
        "MiB" if is_bytes(name) => 1 << 20,
        "GiB" if is_bytes(name) => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_have_the_unit_of_their_name() {
        let ms = |text| parse_number("close_timeout_ms", text);
        assert_eq!(ms("250"), Some(250));
        assert_eq!(ms("250ms"), Some(250));
        assert_eq!(ms("30 s"), Some(30_000));
        assert_eq!(ms("2h"), Some(7_200_000));
        let bytes = |text| parse_number("body_bytes_max", text);
        assert_eq!(bytes("64KiB"), Some(65_536));
        assert_eq!(bytes("1_000"), Some(1000));
        for bad in [
            "",
            "s",
            "-1",
            "1.5s",
            "30KiB",
            "99999999999999999999",
            "9999999999999999h",
        ] {
            assert_eq!(ms(bad), None, "{bad}");
        }
        assert_eq!(bytes("30s"), None);
        assert_eq!(bytes("64kb"), None);
        assert_eq!(parse_number("headers_max", "64B"), None);
    }

    #[test]
    fn secrets_are_never_written() {
        let keys = Value::List(vec!["geheim".to_owned(), "auch".to_owned()]);
        assert_eq!(keys.to_toml(Kind::Secrets), r#"["***", "***"]"#);
        assert_eq!(keys.to_toml(Kind::List), r#"["geheim", "auch"]"#);
    }
}
