//! Reads a JSON object field by field and collects everything that is wrong with it.
//!
//! A derived deserializer stops at the first error; a person who posts a job wants all of them at
//! once, each with its JSON pointer.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::violation::{Violation, ViolationCode, pointer_token};

/// So many violations are told at most: a body can hold a hundred thousand, and an answer can't.
pub const VIOLATIONS_MAX: usize = 100;

/// The fields of one object that have not been read yet.
pub struct Fields<'v> {
    map: Map<String, Value>,
    pointer: String,
    known: Vec<&'static str>,
    violations: &'v mut Vec<Violation>,
}

impl<'v> Fields<'v> {
    /// The fields of the object `value`, which stands at `pointer`. A value that is not an object
    /// is a violation, and reads as an empty one.
    pub fn of(value: Value, pointer: String, violations: &'v mut Vec<Violation>) -> Fields<'v> {
        let map = match value {
            Value::Object(map) => map,
            other => {
                push(violations, wrong_type(&pointer, "an object", &other));
                Map::new()
            }
        };
        Fields { map, pointer, known: Vec::new(), violations }
    }

    /// The pointer of the field `key` of this object.
    pub fn pointer(&self, key: &str) -> String {
        format!("{}/{}", self.pointer, pointer_token(key))
    }

    /// Records that `key` is wrong.
    pub fn violation(&mut self, key: &str, code: ViolationCode, detail: impl Into<String>) {
        let pointer = self.pointer(key);
        push(self.violations, Violation::new(pointer, code, detail));
    }

    /// Records that what stands at `path` below this object is wrong; `path` is made of reference
    /// tokens, as `command/0`.
    pub fn violation_at(&mut self, path: &str, code: ViolationCode, detail: impl Into<String>) {
        push(self.violations, Violation::new(format!("{}/{path}", self.pointer), code, detail));
    }

    /// Records that `key` is missing, unless its value was given but had the wrong type: that
    /// was told already.
    pub fn required<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        let pointer = self.pointer(key);
        let below = format!("{pointer}/");
        // At this field, below it, or that this is no object at all.
        let told = self.violations.iter().any(|known| {
            known.pointer == pointer
                || known.pointer.starts_with(&below)
                || (known.pointer == self.pointer && known.code == ViolationCode::Type)
        });
        if value.is_none() && !told {
            self.violation(key, ViolationCode::Required, format!("`{key}` is required"));
        }
        value
    }

    /// A value of any type; `null` reads as absent.
    pub fn value(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// A field that others know and that is not taken here, with the reason.
    pub fn refuse(&mut self, key: &str, why: &str) {
        if self.map.remove(key).is_some_and(|value| !value.is_null()) {
            self.violation(key, ViolationCode::NotAllowed, format!("is not taken: {why}"));
        }
    }

    pub fn string(&mut self, key: &'static str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) => Some(text),
            other => self.wrong(key, "a string", &other),
        }
    }

    /// A time in RFC 3339.
    pub fn timestamp(&mut self, key: &'static str) -> Option<Timestamp> {
        let text = self.string(key)?;
        let read = text.parse().ok();
        if read.is_none() {
            let detail = "must be a time in RFC 3339, such as 2026-11-23T14:00:00Z";
            self.violation(key, ViolationCode::Format, detail);
        }
        read
    }

    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        match self.value(key)? {
            Value::Bool(flag) => Some(flag),
            other => self.wrong(key, "true or false", &other),
        }
    }

    /// A whole number of 0 or more.
    pub fn integer(&mut self, key: &'static str) -> Option<u32> {
        let value = self.value(key)?;
        match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Some(number),
            None if value.is_number() => {
                let detail = format!("must be a whole number of 0 or more, not {value}");
                self.violation(key, ViolationCode::Type, detail);
                None
            }
            None => self.wrong(key, "a whole number of 0 or more", &value),
        }
    }

    /// Whole numbers of 0 or more.
    pub fn integers(&mut self, key: &'static str) -> Option<Vec<u32>> {
        let values = self.array(key, "an array of whole numbers")?;
        let mut integers = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
                Some(number) => integers.push(number),
                None => {
                    let pointer = format!("{}/{index}", self.pointer(key));
                    push(
                        self.violations,
                        wrong_type(&pointer, "a whole number of 0 or more", &value),
                    );
                }
            }
        }
        Some(integers)
    }

    pub fn strings(&mut self, key: &'static str) -> Option<Vec<String>> {
        let values = self.array(key, "an array of strings")?;
        let mut strings = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            match value {
                Value::String(text) => strings.push(text),
                other => {
                    let pointer = format!("{}/{index}", self.pointer(key));
                    push(self.violations, wrong_type(&pointer, "a string", &other));
                    // Keeps the indices of what follows true.
                    strings.push(String::new());
                }
            }
        }
        Some(strings)
    }

    /// An object whose values are all strings, in the order of its keys.
    pub fn string_map(&mut self, key: &'static str) -> Option<BTreeMap<String, String>> {
        let map = match self.value(key)? {
            Value::Object(map) => map,
            other => return self.wrong(key, "an object of strings", &other),
        };
        let mut strings = BTreeMap::new();
        for (name, value) in map {
            match value {
                Value::String(text) => {
                    strings.insert(name, text);
                }
                other => {
                    let pointer = format!("{}/{}", self.pointer(key), pointer_token(&name));
                    push(self.violations, wrong_type(&pointer, "a string", &other));
                }
            }
        }
        Some(strings)
    }

    /// An object, read by `read`; its unknown fields are violations.
    pub fn object<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> Option<T> {
        let value = self.value(key)?;
        let pointer = self.pointer(key);
        Some(read_object(value, pointer, self.violations, read))
    }

    /// Reads `value`, an object that stands at `key`, with `read`.
    pub fn nested<T>(
        &mut self,
        key: &str,
        value: Value,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> T {
        let pointer = self.pointer(key);
        read_object(value, pointer, self.violations, read)
    }

    /// An array of objects, each read by `read`.
    pub fn objects<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Fields<'_>) -> T,
    ) -> Option<Vec<T>> {
        let values = self.array(key, "an array of objects")?;
        let mut read_values = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            let pointer = format!("{}/{index}", self.pointer(key));
            read_values.push(read_object(value, pointer, self.violations, &mut read));
        }
        Some(read_values)
    }

    /// The names of the fields that were asked for so far.
    pub fn known(&self) -> &[&'static str] {
        &self.known
    }

    /// Every field that nobody asked for is a violation.
    pub fn finish(self) {
        let known = self.known.join("`, `");
        for name in self.map.keys() {
            push(
                self.violations,
                Violation::new(
                    format!("{}/{}", self.pointer, pointer_token(name)),
                    ViolationCode::UnknownField,
                    format!("`{name}` is not known here; known are `{known}`"),
                ),
            );
        }
    }

    fn array(&mut self, key: &'static str, wanted: &str) -> Option<Vec<Value>> {
        match self.value(key)? {
            Value::Array(values) => Some(values),
            other => self.wrong(key, wanted, &other),
        }
    }

    fn wrong<T>(&mut self, key: &str, wanted: &str, found: &Value) -> Option<T> {
        let pointer = self.pointer(key);
        push(self.violations, wrong_type(&pointer, wanted, found));
        None
    }
}

/// Reads the object `value` at `pointer` with `read`, unknown fields told.
pub fn read_object<T>(
    value: Value,
    pointer: String,
    violations: &mut Vec<Violation>,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> T {
    let mut fields = Fields::of(value, pointer, violations);
    let value = read(&mut fields);
    // What is no object at all was told; it has no unknown fields to tell.
    fields.finish();
    value
}

fn push(violations: &mut Vec<Violation>, violation: Violation) {
    // Of what has the wrong type only that is told: what stands in for it was not sent.
    let is_told =
        |known: &Violation| known.code == ViolationCode::Type && known.pointer == violation.pointer;
    if violations.len() < VIOLATIONS_MAX && !violations.iter().any(is_told) {
        violations.push(violation);
    }
}

fn wrong_type(pointer: &str, wanted: &str, found: &Value) -> Violation {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Violation::new(pointer, ViolationCode::Type, format!("must be {wanted}, not {found}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(violations: &[Violation]) -> Vec<(&str, &'static str)> {
        violations.iter().map(|one| (one.pointer.as_str(), one.code.as_str())).collect()
    }

    #[test]
    fn everything_wrong_is_told_with_its_pointer() {
        let mut violations = Vec::new();
        let value = json!({
            "name": 3,
            "command": ["a", 1, "b", null],
            "environment": {"A": "x", "a/b~c": 1},
            "subscribers": [{"protocol": "email"}, {"protocl": "email"}, 7],
            "surplus": true,
        });
        read_object(value, String::new(), &mut violations, |fields| {
            let name = fields.string("name");
            assert_eq!(fields.required("name", name), None);
            assert_eq!(fields.strings("command").map(|list| list.len()), Some(4));
            fields.string_map("environment");
            fields.objects("subscribers", |one| one.string("protocol"));
            let image = fields.string("image");
            fields.required("image", image);
        });
        assert_eq!(
            pointers(&violations),
            [
                ("/name", "type"),
                ("/command/1", "type"),
                ("/command/3", "type"),
                ("/environment/a~1b~0c", "type"),
                ("/subscribers/1/protocl", "unknown_field"),
                ("/subscribers/2", "type"),
                ("/image", "required"),
                ("/surplus", "unknown_field"),
            ]
        );
    }

    #[test]
    fn null_reads_as_absent() {
        let mut violations = Vec::new();
        read_object(json!({"cpu": null}), String::new(), &mut violations, |fields| {
            assert_eq!(fields.integer("cpu"), None);
        });
        assert_eq!(violations, []);
    }
}
