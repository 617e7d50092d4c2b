//! JSON without repeated keys, and not nested deeply.
//!
//! Of a key that stands twice in an object most parsers quietly take one. What is meant can't be
//! told, so it is refused like everything else that would be ignored.
//!
//! Whoever goes through a value (a parser, a patch, the audit log) goes down one call for each level: what
//! is deeper than any request is refused before anybody does.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Arrays and objects that stand in each other at most. The deepest request has six.
const DEPTH_MAX: usize = 32;

/// Parses `bytes`. Errors: what is no JSON, is nested too deeply, or has an object with a key twice.
pub(super) fn from_slice(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Unique { levels: DEPTH_MAX }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Reads a value that may be nested so many `levels` deep.
#[derive(Clone, Copy)]
struct Unique {
    levels: usize,
}

impl Unique {
    /// What reads the values of an array or object that stands here.
    fn below<E: Error>(self) -> Result<Unique, E> {
        let levels = self.levels.checked_sub(1);
        levels
            .map(|levels| Unique { levels })
            .ok_or_else(|| E::custom(format!("nested deeper than {DEPTH_MAX} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(below)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                let shown: String = key.chars().take(60).collect();
                return Err(A::Error::custom(format!("the key `{shown}` stands there twice")));
            }
            let value = entries.next_value_seed(below)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_key_twice_is_read_as_ever() {
        for text in [
            r#"{"a": [1, -2, 2.5, null, true, "x\u00e9\n", {}, []], "b": {"a": 1}}"#,
            "18446744073709551615",
            "[{\"a\": 1}, {\"a\": 2}]",
        ] {
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(from_slice(text.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn what_has_one_is_refused_as_is_what_is_no_json() {
        for text in [
            r#"{"a": 1, "a": 1}"#,
            r#"[{"b": {"a": 1, "c": 2, "a": 3}}]"#,
            r#"{"a": 1, "\u0061": 2}"#,
            "{} {}",
            "{",
            "",
            "NaN",
        ] {
            assert!(from_slice(text.as_bytes()).is_err(), "{text}");
        }
    }

    /// What is nested so deeply: arrays, objects, and the two by turns, either first.
    fn nested(depth: usize) -> [String; 4] {
        let (array, object) = (("[", "]"), ("{\"a\":", "}"));
        [[array, array], [object, object], [array, object], [object, array]].map(|kinds| {
            let kinds: Vec<_> = kinds.into_iter().cycle().take(depth).collect();
            let open: String = kinds.iter().map(|(open, _)| *open).collect();
            let close: String = kinds.iter().rev().map(|(_, close)| *close).collect();
            format!("{open}1{close}")
        })
    }

    #[test]
    fn what_is_nested_32_levels_deep_is_read_and_no_deeper() {
        for text in nested(32) {
            let expected: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(from_slice(text.as_bytes()).unwrap(), expected);
        }
        for depth in [33, 34, 129, 100_000] {
            for text in nested(depth) {
                let error = from_slice(text.as_bytes()).unwrap_err().to_string();
                assert!(error.starts_with("nested deeper than 32 levels"), "{depth}: {error}");
            }
        }
        // Also where it has no end, or nothing in it.
        for text in ["[".repeat(200), "{\"a\":".repeat(200), "[".repeat(33) + &"]".repeat(33)] {
            let error = from_slice(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("nested deeper than 32 levels"), "{error}");
        }
    }

    #[test]
    fn what_stands_beside_each_other_is_not_deeper() {
        let [arrays, objects, ..] = nested(31);
        let text = format!("[{arrays}, {objects}, {arrays}]");
        let expected: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(from_slice(text.as_bytes()).unwrap(), expected);
        let [arrays, ..] = nested(32);
        assert!(from_slice(format!("[1, {arrays}]").as_bytes()).is_err());
    }
}
