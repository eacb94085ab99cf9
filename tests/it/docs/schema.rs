//! As much of JSON Schema as the documentation uses; a word that it does not know fails.

use std::collections::BTreeMap;

use serde_json::Value;

/// Schemas by name.
#[derive(Default)]
pub struct Schemas(pub BTreeMap<String, Value>);

impl Schemas {
    /// Checks a document against the schema of that name.
    pub fn check(&self, name: &str, value: &Value) -> Result<(), String> {
        let schema = self.0.get(name).ok_or_else(|| format!("no schema `{name}` is documented"))?;
        self.fits(schema, value, "$")
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        for (word, rule) in schema.as_object().ok_or("a schema is no object")? {
            match word.as_str() {
                "type" => {
                    let wanted: Vec<&str> = match rule {
                        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
                        word => word.as_str().into_iter().collect(),
                    };
                    if !wanted.contains(&kind(value)) {
                        return Err(format!("{at}: expected {wanted:?}, got {value}"));
                    }
                }
                "enum" => {
                    if !rule.as_array().is_some_and(|values| values.contains(value)) {
                        return Err(format!("{at}: {value} is none of {rule}"));
                    }
                }
                "required" => {
                    let names = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                    for name in names {
                        value.get(name).ok_or_else(|| format!("{at}: `{name}` is missing"))?;
                    }
                }
                "properties" => {
                    for (name, rule) in rule.as_object().into_iter().flatten() {
                        if let Some(member) = value.get(name) {
                            self.fits(rule, member, &format!("{at}.{name}"))?;
                        }
                    }
                }
                "additionalProperties" => {
                    let known = schema.get("properties").and_then(Value::as_object);
                    let others = value.as_object().into_iter().flatten();
                    for (name, member) in others.filter(|(name, _)| !known.is_some_and(|k| k.contains_key(*name))) {
                        if *rule == Value::Bool(false) {
                            return Err(format!("{at}: `{name}` is not documented"));
                        }
                        self.fits(rule, member, &format!("{at}.{name}"))?;
                    }
                }
                "items" => {
                    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.fits(rule, item, &format!("{at}[{number}]"))?;
                    }
                }
                "anyOf" => {
                    let mut fitting = rule.as_array().into_iter().flatten().map(|rule| self.fits(rule, value, at));
                    if !fitting.any(|fits| fits.is_ok()) {
                        return Err(format!("{at}: {value} fits none of {rule}"));
                    }
                }
                "$ref" => {
                    let (name, path) = rule.as_str().and_then(|text| text.split_once('#')).ok_or("an odd `$ref`")?;
                    let rule = self.0.get(name).and_then(|schema| schema.pointer(path));
                    self.fits(rule.ok_or_else(|| format!("{name}#{path} is not there"))?, value, at)?;
                }
                other => return Err(format!("`{other}` is not understood")),
            }
        }
        Ok(())
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[test]
fn a_document_that_differs_from_its_schema_is_noticed() {
    let schema = serde_json::json!({
        "type": "object", "additionalProperties": false, "required": ["a"],
        "properties": {"a": {"type": "array", "items": {"anyOf": [{"type": "null"}, {"enum": ["x"]}]}}}
    });
    let schemas = Schemas(BTreeMap::from([("s".to_owned(), schema)]));
    let check = |text: &str| schemas.check("s", &serde_json::from_str(text).unwrap());
    assert_eq!(check(r#"{"a":["x",null]}"#), Ok(()));
    for wrong in ["[]", "{}", r#"{"a":[],"b":1}"#, r#"{"a":["y"]}"#, r#"{"a":{}}"#, r#"{"a":[1]}"#] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}
