//! One JSON object, written in the order in which its fields are given.

use std::fmt::Write as _;

use crate::http::json_escape;

/// An object that grows.
#[derive(Debug)]
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self("{".to_owned())
    }

    fn key(&mut self, name: &str) -> &mut String {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push('"');
        json_escape(&mut self.0, name);
        self.0.push_str("\":");
        &mut self.0
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        let out = self.key(name);
        out.push('"');
        json_escape(out, value);
        out.push('"');
        self
    }

    pub(crate) fn number(&mut self, name: &str, value: u64) -> &mut Self {
        _ = write!(self.key(name), "{value}");
        self
    }

    /// A number, or null where there is none.
    pub(crate) fn maybe(&mut self, name: &str, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.number(name, value),
            None => self.null(name),
        }
    }

    pub(crate) fn null(&mut self, name: &str) -> &mut Self {
        self.key(name).push_str("null");
        self
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        _ = write!(self.key(name), "{value}");
        self
    }

    pub(crate) fn numbers(&mut self, name: &str, values: &[u64]) -> &mut Self {
        let values: Vec<_> = values.iter().map(u64::to_string).collect();
        _ = write!(self.key(name), "[{}]", values.join(","));
        self
    }

    pub(crate) fn object(&mut self, name: &str, value: Object) -> &mut Self {
        let value = value.end();
        self.key(name).push_str(&value);
        self
    }

    pub(crate) fn end(self) -> String {
        self.0 + "}"
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_json() {
        let mut inner = Object::new();
        inner.number("n", 1).maybe("none", None);
        let mut object = Object::new();
        object
            .text("a \"b\"", "line\n")
            .numbers("list", &[1, 2])
            .flag("yes", true)
            .object("inner", inner)
            .object("empty", Object::new());
        let value: serde_json::Value = serde_json::from_str(&object.end()).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"a \"b\"": "line\n", "list": [1, 2], "yes": true,
                "inner": {"n": 1, "none": null}, "empty": {}})
        );
    }
}
