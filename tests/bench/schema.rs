//! Holds a report against `src/bench/report.schema.json`: as much of JSON Schema as that file uses.

use serde_json::Value;

const SCHEMA: &str = include_str!("../../src/bench/report.schema.json");

/// Every field is described, and every described field is there.
#[track_caller]
pub(crate) fn check(report: &Value) {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    hold(&schema, report, "report");
}

#[track_caller]
fn hold(schema: &Value, value: &Value, at: &str) {
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    let of = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&of.into()), "{at} is {value}, not {types:?}");
    if let Some(values) = schema["enum"].as_array() {
        assert!(values.contains(value), "{at} is {value}, not of {values:?}");
    }
    if let Value::Array(values) = value {
        values.iter().for_each(|v| hold(&schema["items"], v, at));
    }
    let (Value::Object(fields), Some(known)) = (value, schema["properties"].as_object()) else {
        return;
    };
    for (name, value) in fields {
        let known = known.get(name);
        let schema = known.unwrap_or_else(|| panic!("{at} has {name}, the schema has not"));
        hold(schema, value, &format!("{at}.{name}"));
    }
    for name in known.keys() {
        assert!(fields.contains_key(name), "{at} has no {name}");
    }
}
