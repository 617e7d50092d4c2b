//! What was changed, field by field, without what may be secret.

use serde_json::{Map, Value};

use super::FieldChange;
use crate::domain::violation::pointer_token;

/// Changes of one entry; of more only the number is told.
const CHANGES_MAX: usize = 200;
/// Of all changes of one entry together, as JSON: DynamoDB takes 400 KB an item, and a page of the log is
/// read 100 entries at a time.
const CHANGES_BYTES_MAX: usize = 56 * 1024;
/// Characters of one value.
pub(super) const VALUE_MAX: usize = 1024;
/// What stands for a part that is left out.
const MASK: &str = "***";

/// What holds values of any kind, passwords among them: variables, arguments, options of the log driver,
/// labels.
const FREE: [&str; 5] = ["environment", "command", "entrypoint", "options", "dockerlabels"];
/// A name with one of these in it is of something secret.
const SECRET: [&str; 12] = [
    "accesskey",
    "apikey",
    "authorization",
    "bearer",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "secret",
    "token",
];

/// What is different in `after`, with pointers into both. `null` is nothing, as is what is not there.
///
/// Objects are compared field by field, lists as a whole unless both have as many objects.
pub fn changes(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    walk(&mut Vec::new(), Some(before), Some(after), &mut found);
    bounded(found)
}

fn walk(
    path: &mut Vec<String>,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<FieldChange>,
) {
    let before = before.filter(|value| !value.is_null());
    let after = after.filter(|value| !value.is_null());
    if before == after || (is_empty(before) && is_empty(after)) {
        return;
    }
    let mut step = |name: String, before: Option<&Value>, after: Option<&Value>| {
        path.push(name);
        walk(path, before, after, found);
        path.pop();
    };
    let is_object = |value: Option<&Value>| value.is_none_or(Value::is_object);
    if is_object(before) && is_object(after) {
        let fields = |value: Option<&Value>| value.and_then(Value::as_object).cloned();
        let (before, after) =
            (fields(before).unwrap_or_default(), fields(after).unwrap_or_default());
        for (name, value) in &before {
            step(name.clone(), Some(value), after.get(name));
        }
        for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            step(name.clone(), None, Some(value));
        }
        return;
    }
    if let Some(length) = objects(before, after) {
        for index in 0..length {
            let element = |value: Option<&Value>| value.and_then(|list| list.get(index)).cloned();
            step(index.to_string(), element(before).as_ref(), element(after).as_ref());
        }
        return;
    }
    found.push(change(path, before, after));
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None => true,
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    }
}

/// How many objects both lists have; nothing is a list of nothings.
fn objects(before: Option<&Value>, after: Option<&Value>) -> Option<usize> {
    let length = |value: Option<&Value>| {
        let list = value?.as_array()?;
        list.iter().all(Value::is_object).then_some(list.len())
    };
    match (before, after) {
        (Some(_), Some(_)) => length(before).filter(|known| length(after) == Some(*known)),
        _ => length(before.or(after)),
    }
}

fn change(path: &[String], before: Option<&Value>, after: Option<&Value>) -> FieldChange {
    let pointer: String = path.iter().map(|name| format!("/{}", pointer_token(name))).collect();
    if is_secret(path) {
        return FieldChange { pointer, before: None, after: None, masked: true };
    }
    let mut masked = false;
    let mut shown = |value: Option<&Value>| {
        value.map(|value| short(without_secrets(&mut path.to_vec(), value, &mut masked)))
    };
    let (before, after) = (shown(before), shown(after));
    FieldChange { pointer, before, after, masked }
}

/// Whether what stands at `path` may be secret.
fn is_secret(path: &[String]) -> bool {
    // What an administrator lets a team name is patterns, and who widened them is what the log is for.
    if path.first().is_some_and(|first| first == "guardrails") {
        return false;
    }
    let plain: Vec<String> = path
        .iter()
        .map(|name| name.chars().filter(|one| one.is_alphanumeric()).collect::<String>())
        .map(|name| name.to_lowercase())
        .collect();
    // A list of variables, as ECS has them, names each in a field of its own.
    if let [.., list, index, name] = &plain[..]
        && list == "environment"
        && name == "name"
        && index.bytes().all(|one| one.is_ascii_digit())
    {
        return plain[..plain.len() - 3].iter().any(|name| is_secret_name(name));
    }
    plain.iter().any(|name| is_secret_name(name))
}

fn is_secret_name(plain: &str) -> bool {
    FREE.contains(&plain) || SECRET.iter().any(|part| plain.contains(part))
}

/// `value` of `path`, its secret parts left out.
fn without_secrets(path: &mut Vec<String>, value: &Value, masked: &mut bool) -> Value {
    if is_secret(path) && !is_empty(Some(value)) {
        *masked = true;
        return Value::from(MASK);
    }
    let mut part = |name: String, value: &Value| {
        path.push(name);
        let shown = without_secrets(path, value, masked);
        path.pop();
        shown
    };
    match value {
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(name, value)| (name.clone(), part(name.clone(), value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(list) => {
            let list = list.iter().enumerate();
            Value::Array(list.map(|(index, value)| part(index.to_string(), value)).collect())
        }
        Value::String(text) => Value::from(without_url_secrets(text, masked)),
        other => other.clone(),
    }
}

/// A URL up to its host: user, path and query can each be what lets one in.
fn without_url_secrets(text: &str, masked: &mut bool) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host == authority && matches!(behind, "" | "/") {
        return text.to_owned();
    }
    *masked = true;
    format!("{scheme}://{host}/{MASK}")
}

/// `value`, or its first characters if it is long.
fn short(value: Value) -> Value {
    match value {
        Value::String(text) => Value::from(cut(&text, VALUE_MAX)),
        other => {
            let text = other.to_string();
            if text.chars().count() > VALUE_MAX {
                Value::from(cut(&text, VALUE_MAX))
            } else {
                other
            }
        }
    }
}

/// The first `max` characters of `text`, and a note if there are more.
pub(super) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some((end, _)) => {
            format!("{}… (cut: {} characters)", &text[..end], text.chars().count())
        }
    }
}

/// As many of the changes as an entry has room for, and how many more there are.
fn bounded(mut found: Vec<FieldChange>) -> Vec<FieldChange> {
    let mut bytes = 0;
    let room = found.iter().take_while(|change| {
        let length = |value: &Option<Value>| value.as_ref().map_or(0, |one| one.to_string().len());
        bytes += change.pointer.len() + length(&change.before) + length(&change.after) + 64;
        bytes <= CHANGES_BYTES_MAX
    });
    let kept = room.count().min(CHANGES_MAX);
    let more = found.len() - kept;
    if more > 0 {
        found.truncate(kept);
        let note = format!("{more} more changes are not told");
        let after = Some(Value::from(note));
        found.push(FieldChange { pointer: String::new(), before: None, after, masked: false });
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(pointer: &str, before: Value, after: Value) -> FieldChange {
        let given = |value: Value| Some(value).filter(|value| !value.is_null());
        FieldChange {
            pointer: pointer.to_owned(),
            before: given(before),
            after: given(after),
            masked: false,
        }
    }

    fn hidden(pointer: &str) -> FieldChange {
        FieldChange { masked: true, ..change(pointer, Value::Null, Value::Null) }
    }

    #[test]
    fn objects_are_walked_and_lists_told_as_a_whole() {
        let before = json!({
            "a": 1, "b": {"c": [1, 2], "d": null, "x/y~z": true}, "same": [1],
            "image": "busybox:1", "none": null, "list": [{"n": 1}, {"n": 2}], "empty": {},
        });
        let after = json!({
            "a": 2, "b": {"c": [2, 1], "d": "new"}, "same": [1],
            "image": {"repository": "r", "tag": "1"}, "list": [{"n": 1}, {"n": 3}], "added": {"e": 5},
        });
        let told = changes(&before, &after);
        let wanted = [
            change("/a", json!(1), json!(2)),
            change("/b/c", json!([1, 2]), json!([2, 1])),
            change("/b/d", Value::Null, json!("new")),
            change("/b/x~1y~0z", json!(true), Value::Null),
            change("/image", json!("busybox:1"), json!({"repository": "r", "tag": "1"})),
            change("/list/1/n", json!(2), json!(3)),
            change("/added/e", Value::Null, json!(5)),
        ];
        assert_eq!(told, wanted);
        assert_eq!(changes(&after, &after), []);
        // Of different lengths, and of objects on one side only.
        let told = changes(&json!({"l": [{"n": 1}]}), &json!({"l": [{"n": 1}, {"n": 2}]}));
        assert_eq!(told, [change("/l", json!([{"n": 1}]), json!([{"n": 1}, {"n": 2}]))]);
        let told = changes(&json!({"l": [1]}), &json!({"l": [{"n": 1}]}));
        assert_eq!(told, [change("/l", json!([1]), json!([{"n": 1}]))]);
        // What was created has no before, what was emptied is told as such.
        let told = changes(&Value::Null, &json!({"l": [{"n": 1}], "e": [], "z": 0}));
        let wanted = [change("/l/0/n", Value::Null, json!(1)), change("/z", Value::Null, json!(0))];
        assert_eq!(told, wanted);
        let told = changes(&json!({"s": ["a"]}), &json!({"s": []}));
        assert_eq!(told, [change("/s", json!(["a"]), json!([]))]);
    }

    #[test]
    fn what_may_be_secret_is_told_without_its_value() {
        for (before, after, pointer) in [
            (
                json!({"environment": {"A": "x"}}),
                json!({"environment": {"A": "y"}}),
                "/environment/A",
            ),
            (json!({"environment": {"name": "x"}}), json!({}), "/environment/name"),
            (
                json!({"sidecars": [{"environment": [{"name": "A", "value": "x"}]}]}),
                json!({"sidecars": [{"environment": [{"name": "A", "value": "y"}]}]}),
                "/sidecars/0/environment/0/value",
            ),
            (
                json!({"sidecars": [{"environment": [{"name": "A", "value": "x"}]}]}),
                json!({"sidecars": [{"environment": [{"name": "A", "value": "x"}, {"name": "B"}]}]}),
                "/sidecars/0/environment",
            ),
            (json!({"command": ["x"]}), json!({"command": ["y"]}), "/command"),
            (json!({"entry_point": ["x"]}), json!({}), "/entry_point"),
            (json!({"s": [{"entryPoint": ["x"]}]}), json!({"s": [{}]}), "/s/0/entryPoint"),
            (json!({"health_check": {"command": ["x"]}}), json!({}), "/health_check/command"),
            (json!({"x": {"options": {"a": "x"}}}), json!({}), "/x/options/a"),
            (json!({"dockerLabels": {"a": "x"}}), json!({}), "/dockerLabels/a"),
            (json!({"tags": {"DB_Pass-Word": "x"}}), json!({}), "/tags/DB_Pass-Word"),
            (json!({"secrets": {"A": "x"}}), json!({"secrets": {"A": "y"}}), "/secrets/A"),
            (json!({"apiKey": {"deep": "x"}}), json!({}), "/apiKey/deep"),
        ] {
            assert_eq!(changes(&before, &after), [hidden(pointer)], "{before}");
        }
        // The name of a variable is none of its values, and a guardrail is no secret.
        let named = |name: &str| json!({"environment": [{"name": name, "value": "x"}]});
        let told = changes(&named("A"), &named("B"));
        assert_eq!(told, [change("/environment/0/name", json!("A"), json!("B"))]);
        let told = changes(&json!({}), &json!({"guardrails": {"secrets": ["arn:aws:ssm:*"]}}));
        assert_eq!(told, [change("/guardrails/secrets", Value::Null, json!(["arn:aws:ssm:*"]))]);
    }

    #[test]
    fn a_list_that_is_told_as_a_whole_hides_its_secret_parts() {
        let side = |name: &str| json!({"name": name, "command": ["x"], "environment": [{"name": "A", "value": "x"}]});
        let [told] = &changes(&json!([side("a")]), &json!([side("a"), side("b")]))[..] else {
            panic!("one change");
        };
        assert!(told.masked);
        let hidden = |name: &str| json!({"name": name, "command": "***", "environment": "***"});
        assert_eq!(told.before, Some(json!([hidden("a")])));
        assert_eq!(told.after, Some(json!([hidden("a"), hidden("b")])));
    }

    #[test]
    fn a_url_is_told_up_to_its_host() {
        for (url, wanted) in [
            ("https://example.com", "https://example.com"),
            ("https://example.com/", "https://example.com/"),
            ("https://example.com/services/x", "https://example.com/***"),
            ("https://example.com?x", "https://example.com/***"),
            ("https://me:x@example.com:8443", "https://example.com:8443/***"),
            ("ops@example.com", "ops@example.com"),
        ] {
            let told = changes(&json!({}), &json!({"endpoint": url}));
            assert_eq!(told[0].after, Some(json!(wanted)), "{url}");
            assert_eq!(told[0].masked, wanted.ends_with(MASK), "{url}");
        }
    }

    #[test]
    fn an_entry_has_room_for_so_much() {
        let long = json!("ü".repeat(1025));
        let told =
            changes(&json!({}), &json!({"a": long, "b": vec!["x"; 300], "c": "x".repeat(1024)}));
        let text = |index: usize| told[index].after.as_ref().unwrap().as_str().unwrap();
        assert_eq!(text(0), format!("{}… (cut: 1025 characters)", "ü".repeat(1024)));
        assert!(text(1).ends_with("… (cut: 1201 characters)"), "{}", text(1));
        assert_eq!(text(2), "x".repeat(1024));

        let many = |count: usize| {
            let fields = (0..count).map(|index| (format!("f{index}"), json!(index)));
            changes(&json!({}), &Value::Object(fields.collect()))
        };
        assert_eq!(many(200).len(), 200);
        let told = many(250);
        assert_eq!(told.len(), 201);
        assert_eq!(told[200], change("", Value::Null, json!("50 more changes are not told")));

        let fields = (0..150).map(|index| (format!("f{index}"), json!("x".repeat(1000))));
        let told = changes(&json!({}), &Value::Object(fields.collect()));
        let bytes = serde_json::to_string(&told).unwrap().len();
        assert!((50 * 1024..64 * 1024).contains(&bytes), "{bytes}");
        let more = 150 - (told.len() - 1);
        let note = json!(format!("{more} more changes are not told"));
        assert_eq!(told.last().unwrap().after, Some(note));
    }
}
