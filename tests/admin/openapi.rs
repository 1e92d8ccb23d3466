//! The OpenAPI file against the real server: every operation in it is asked for, every URL that is served stands in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Answer, Office, dunlin, run};

const FILE: &str = include_str!("../../src/dialect/admin/openapi.json");

struct Api(Value);

/// Method, path, the operation, the parameters of the path.
type Operation<'a> = (&'a str, &'a str, &'a Value, Vec<&'a Value>);

impl Api {
    fn new() -> Self {
        Self(serde_json::from_str(FILE).unwrap())
    }

    /// What a reference stands for, or the value itself.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(name) => {
                let found = self.0.pointer(name.strip_prefix('#').unwrap());
                self.resolve(found.unwrap_or_else(|| panic!("{name} is nowhere")))
            }
            None => value,
        }
    }

    fn operations(&self) -> Vec<Operation<'_>> {
        let mut found = Vec::new();
        for (path, item) in self.0["paths"].as_object().unwrap() {
            let list = |value: &'_ Value| {
                value["parameters"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
                    .len()
            };
            for (method, operation) in item.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                let shared = item["parameters"].as_array().into_iter().flatten();
                let own = operation["parameters"].as_array().into_iter().flatten();
                let all: Vec<&Value> = shared.chain(own).map(|p| self.resolve(p)).collect();
                assert_eq!(all.len(), list(item) + list(operation));
                found.push((method.as_str(), path.as_str(), operation, all));
            }
        }
        found
    }

    /// Holds a value against as much of JSON Schema as the file uses.
    fn check(&self, schema: &Value, value: &Value, place: &str) {
        let schema = self.resolve(schema);
        if let Some(either) = schema["oneOf"]
            .as_array()
            .filter(|_| schema["type"].is_null())
        {
            let fits = |s: &&Value| {
                let required = self.resolve(s)["required"].as_array().into_iter().flatten();
                required
                    .map(|r| r.as_str().unwrap())
                    .all(|r| value.get(r).is_some())
            };
            let [one] = either.iter().filter(fits).collect::<Vec<_>>()[..] else {
                panic!("{place}: {value}");
            };
            return self.check(one, value, place);
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        match &schema["type"] {
            Value::String(wanted) => assert_eq!(kind, wanted, "{place}"),
            Value::Array(some) => assert!(some.iter().any(|s| s == kind), "{place}: {kind}"),
            _ => {}
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            assert!(
                value.get(name).is_some(),
                "{place}: {name} is missing in {value}"
            );
        }
        if let (Some(properties), Some(members)) =
            (schema["properties"].as_object(), value.as_object())
        {
            for (name, member) in members {
                let place = format!("{place}.{name}");
                let property = properties
                    .get(name)
                    .unwrap_or_else(|| panic!("{place} is not documented"));
                self.check(property, member, &place);
            }
        }
        for (at, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&schema["items"], item, &format!("{place}[{at}]"));
        }
    }

    /// A documented status, with the body that goes with it.
    fn check_answer(&self, operation: &Value, answer: &Answer, place: &str) {
        let documented = operation["responses"].get(answer.status.to_string());
        let body = String::from_utf8_lossy(&answer.body);
        let documented = documented.unwrap_or_else(|| panic!("{place}: {} {body}", answer.status));
        let documented = self.resolve(documented);
        assert!(documented["description"].is_string(), "{place}");
        let Some(content) = documented["content"].as_object() else {
            assert!(answer.body.is_empty(), "{place}: {body}");
            return;
        };
        let kind = answer
            .header("Content-Type")
            .unwrap()
            .split(';')
            .next()
            .unwrap();
        let schema = &content
            .get(kind)
            .unwrap_or_else(|| panic!("{place}: {kind}"))["schema"];
        if kind.ends_with("json") {
            self.check(schema, &answer.json(), place);
        }
    }
}

/// The bodies that an operation's examples make: content type and bytes. An operation without a body has one, none.
fn bodies(api: &Api, operation: &Value) -> Vec<(Option<String>, Vec<u8>)> {
    let body = api.resolve(&operation["requestBody"]);
    let mut found = Vec::new();
    if body["required"] != true {
        found.push((None, Vec::new()));
    }
    for (kind, content) in body["content"].as_object().into_iter().flatten() {
        let many = content["examples"].as_object().into_iter().flatten();
        let examples = many.map(|(_, e)| &e["value"]).chain(content.get("example"));
        for example in examples {
            let bytes = match example.as_str() {
                Some(text) if !kind.ends_with("json") => text.as_bytes().to_vec(),
                _ => {
                    api.check(&content["schema"], example, "example");
                    example.to_string().into_bytes()
                }
            };
            found.push((Some(kind.clone()), bytes));
        }
    }
    found
}

#[test]
fn every_documented_operation_answers_as_documented() {
    let office = Office::start(&[]);
    let api = Api::new();
    let mut asked = 0;
    for (method, path, operation, parameters) in api.operations() {
        let method = method.to_uppercase();
        let mut reached = BTreeSet::new();
        for (kind, body) in bodies(&api, operation) {
            // Without and with what is optional, with an id that is somebody's and with the example's.
            for (with_optional, is_known) in [(false, true), (true, true), (false, false)] {
                let (_client, id) = office.subscriber("mine");
                let mut target = path.to_owned();
                let mut query = Vec::new();
                let mut headers: Vec<(&str, &str)> = Vec::new();
                headers.extend(kind.iter().map(|kind| ("Content-Type", kind.as_str())));
                for parameter in &parameters {
                    let name = parameter["name"].as_str().unwrap();
                    let example = match &parameter["example"] {
                        Value::String(text) => text.clone(),
                        number => number.to_string(),
                    };
                    match parameter["in"].as_str().unwrap() {
                        "path" if is_known => target = target.replace(&format!("{{{name}}}"), &id),
                        "path" => target = target.replace(&format!("{{{name}}}"), &example),
                        "query" if with_optional => {
                            query
                                .push(format!("{name}={}", dunlin::http::percent_encode(&example)));
                        }
                        "header" if with_optional => {
                            headers.push((name, parameter["example"].as_str().unwrap()));
                        }
                        _ => {}
                    }
                }
                if !query.is_empty() {
                    target = format!("{target}?{}", query.join("&"));
                }
                let answer = office.ask(&method, &target, &headers, &body);
                api.check_answer(operation, &answer, &format!("{method} {target}"));
                reached.insert(answer.status);
                asked += 1;
            }
        }
        let wants_id = path.contains("{id}");
        assert!(
            reached.iter().any(|status| *status < 300),
            "{method} {path}: {reached:?}"
        );
        assert_eq!(
            reached.contains(&404),
            wants_id,
            "{method} {path}: {reached:?}"
        );
        if operation["responses"].get("415").is_some() {
            let target = path.replace("{id}", "0-0-1");
            let answer = office.ask(&method, &target, &[("Content-Type", "text/plain")], b"{}");
            assert_eq!(answer.status, 415, "{method} {path}");
            api.check_answer(operation, &answer, path);
        }
        if operation["responses"].get("413").is_some() {
            let target = path.replace("{id}", "0-0-1");
            let answer = office.ask(&method, &target, &[], &vec![b' '; (1 << 20) + 1]);
            assert_eq!(answer.status, 413, "{method} {path}");
            api.check_answer(operation, &answer, path);
        }
    }
    assert!(asked > 40, "{asked}");
}

#[test]
fn what_is_not_documented_is_not_served() {
    let office = Office::start(&[]);
    let api = Api::new();
    let mut methods: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (method, path, ..) in api.operations() {
        methods.entry(path).or_default().push(method.to_uppercase());
    }
    for (path, documented) in &methods {
        let answer = office.ask("TRACE", &path.replace("{id}", "0-0-1"), &[], b"");
        answer.problem(405, "");
        let allowed = answer
            .header("Allow")
            .unwrap()
            .split(", ")
            .filter(|m| *m != "HEAD");
        let allowed: BTreeSet<&str> = allowed.collect();
        let documented: BTreeSet<&str> = documented.iter().map(String::as_str).collect();
        assert_eq!(allowed, documented, "{path}");
    }
    // The effective configuration knows every URL.
    let config = run(&mut dunlin(&["--print-config"]));
    let served: BTreeSet<&str> = config
        .out
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"")?.split('"').next())
        .filter(|path| path.starts_with("/v1/"))
        .collect();
    let documented: BTreeSet<&str> = methods
        .keys()
        .copied()
        .filter(|path| path.starts_with("/v1/"))
        .collect();
    assert_eq!(served, documented);
    assert!(served.len() >= 9, "{served:?}");
}

#[test]
fn the_file_is_what_is_served_and_uses_all_it_defines() {
    let office = Office::start(&[]);
    let api = Api::new();
    assert_eq!(office.get("/v1/openapi.json"), api.0);
    for (kind, all) in api.0["components"].as_object().unwrap() {
        for name in all.as_object().unwrap().keys() {
            let reference = format!("\"#/components/{kind}/{name}\"");
            assert!(
                kind == "securitySchemes" || FILE.contains(&reference),
                "{reference} is unused"
            );
        }
    }
    let names: BTreeSet<&str> = api
        .operations()
        .into_iter()
        .map(|(_, _, operation, _)| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(
        names.len(),
        api.operations().len(),
        "each operation has its own name"
    );
}
