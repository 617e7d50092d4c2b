//! DynamoDB's expressions, as far as the store uses them; what is not understood panics.
//!
//! Source: Amazon DynamoDB Developer Guide, "Condition and filter expressions, operators, and
//! functions" and "Using update expressions".

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;

use super::dynamodb::Item;
use super::{Refusal, refusal};

/// Of the words that DynamoDB reserves, those that the store has as attributes: in an expression
/// they need a name with `#`.
const RESERVED: [&str; 7] =
    ["cluster", "definition", "name", "state", "status", "trigger", "until"];

/// The names and values of one request, for all its expressions.
pub(super) struct Terms<'a> {
    names: Option<&'a HashMap<String, String>>,
    values: Option<&'a HashMap<String, AttributeValue>>,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Terms<'a> {
    pub(super) fn new(
        names: Option<&'a HashMap<String, String>>,
        values: Option<&'a HashMap<String, AttributeValue>>,
    ) -> Terms<'a> {
        Terms { names, values, used: RefCell::default() }
    }

    /// Whether `expression` holds for `item`; an item that does not exist has no attributes.
    pub(super) fn holds(&self, expression: &str, item: &Item) -> bool {
        let mut parser = Parser::of(expression, self, item);
        let holds = parser.any();
        parser.end();
        holds
    }

    /// `item` after the update `expression`.
    pub(super) fn updated(&self, expression: &str, item: &Item) -> Result<Item, Refusal> {
        let mut parser = Parser::of(expression, self, item);
        let mut updated = item.clone();
        let mut paths = BTreeSet::new();
        while let Some(clause) = parser.next() {
            loop {
                let path = parser.path();
                let value = match clause.as_str() {
                    "SET" => {
                        parser.expect("=");
                        let value = parser.sum();
                        Some(value.ok_or_else(|| {
                            invalid("The provided expression refers to an attribute that does not exist in the item")
                        })?)
                    }
                    "REMOVE" => None,
                    other => panic!("no clause of an update: {other}"),
                };
                put(&mut updated, &path, value)?;
                if !paths.insert(path) {
                    return Err(invalid("Two document paths overlap with each other"));
                }
                if !parser.skip(",") {
                    break;
                }
            }
        }
        Ok(updated)
    }

    /// What was given must have been used.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        let used = self.used.borrow();
        let names = self.names.into_iter().flat_map(HashMap::keys);
        let values = self.values.into_iter().flat_map(HashMap::keys);
        match names.chain(values).find(|given| !used.contains(*given)) {
            None => Ok(()),
            Some(unused) => Err(invalid(&format!(
                "Value provided in ExpressionAttributeNames or ExpressionAttributeValues unused \
                 in expressions: {unused}"
            ))),
        }
    }

    fn value(&self, name: &str) -> AttributeValue {
        self.used.borrow_mut().insert(name.to_owned());
        let value = self.values.and_then(|values| values.get(name));
        value.unwrap_or_else(|| panic!("no value {name}")).clone()
    }

    fn name(&self, word: &str) -> String {
        if !word.starts_with('#') {
            assert!(!RESERVED.contains(&word), "{word} is a reserved word");
            return word.to_owned();
        }
        self.used.borrow_mut().insert(word.to_owned());
        let name = self.names.and_then(|names| names.get(word));
        name.unwrap_or_else(|| panic!("no name {word}")).clone()
    }
}

fn invalid(message: &str) -> Refusal {
    refusal("ValidationException", message)
}

/// Sets or removes what is at `path`; all but the last part of it must be there.
fn put(item: &mut Item, path: &[String], value: Option<AttributeValue>) -> Result<(), Refusal> {
    let (last, parents) = path.split_last().unwrap();
    let mut map = item;
    for parent in parents {
        map = match map.get_mut(parent) {
            Some(AttributeValue::M(map)) => map,
            _ => {
                return Err(invalid(
                    "The document path provided in the update expression is invalid for update",
                ));
            }
        };
    }
    match value {
        Some(value) => drop(map.insert(last.clone(), value)),
        None => drop(map.remove(last)),
    }
    Ok(())
}

/// Reads an expression and evaluates it on the way.
struct Parser<'a> {
    words: Vec<String>,
    at: usize,
    terms: &'a Terms<'a>,
    item: &'a Item,
}

impl<'a> Parser<'a> {
    fn of(expression: &str, terms: &'a Terms<'a>, item: &'a Item) -> Parser<'a> {
        Parser { words: words(expression), at: 0, terms, item }
    }

    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> Option<String> {
        self.at += 1;
        self.words.get(self.at - 1).cloned()
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) {
        assert!(self.skip(word), "{word} expected at {} of {:?}", self.at, self.words);
    }

    fn end(&self) {
        assert!(self.peek().is_none(), "{:?} goes on", self.words);
    }

    fn any(&mut self) -> bool {
        let mut holds = self.all();
        while self.skip("OR") {
            // Both sides are read, whatever the first says.
            holds |= self.all();
        }
        holds
    }

    fn all(&mut self) -> bool {
        let mut holds = self.one();
        while self.skip("AND") {
            holds &= self.one();
        }
        holds
    }

    fn one(&mut self) -> bool {
        if self.skip("NOT") {
            return !self.one();
        }
        if self.skip("(") {
            let holds = self.any();
            self.expect(")");
            return holds;
        }
        match self.peek() {
            Some("attribute_exists") => self.call(1)[0].is_some(),
            Some("attribute_not_exists") => self.call(1)[0].is_none(),
            Some("begins_with") => match &self.call(2)[..] {
                [Some(AttributeValue::S(text)), Some(AttributeValue::S(start))] => {
                    text.starts_with(start)
                }
                _ => false,
            },
            _ => self.comparison(),
        }
    }

    fn call(&mut self, arguments: usize) -> Vec<Option<AttributeValue>> {
        self.next();
        self.expect("(");
        let mut read = vec![self.operand()];
        while self.skip(",") {
            read.push(self.operand());
        }
        self.expect(")");
        assert_eq!(read.len(), arguments);
        read
    }

    fn comparison(&mut self) -> bool {
        let left = self.operand();
        let operator = self.next().unwrap();
        if operator == "BETWEEN" {
            let low = self.operand();
            self.expect("AND");
            let high = self.operand();
            return order(&left, &low).is_some_and(Ordering::is_ge)
                && order(&left, &high).is_some_and(Ordering::is_le);
        }
        let right = self.operand();
        let order = order(&left, &right);
        match operator.as_str() {
            "=" => left.is_some() && (left == right || order == Some(Ordering::Equal)),
            // Also of an attribute that is not there.
            "<>" => left != right && order != Some(Ordering::Equal),
            "<" => order.is_some_and(Ordering::is_lt),
            "<=" => order.is_some_and(Ordering::is_le),
            ">" => order.is_some_and(Ordering::is_gt),
            ">=" => order.is_some_and(Ordering::is_ge),
            other => panic!("no operator: {other}"),
        }
    }

    /// An operand, or the sum or difference of two numbers.
    fn sum(&mut self) -> Option<AttributeValue> {
        let left = self.operand();
        let sign = match self.peek() {
            Some("+") => 1,
            Some("-") => -1,
            _ => return left,
        };
        self.next();
        let right = self.operand();
        let (AttributeValue::N(left), AttributeValue::N(right)) = (left?, right?) else {
            panic!("only numbers have sums: {:?}", self.words);
        };
        let sum = integer(&left) + sign * integer(&right);
        Some(AttributeValue::N(sum.to_string()))
    }

    /// What stands at a path, or a value of the request; or the first of the two that is there.
    fn operand(&mut self) -> Option<AttributeValue> {
        if self.peek().is_some_and(|word| word.starts_with(':')) {
            let name = self.next().unwrap();
            return Some(self.terms.value(&name));
        }
        if self.peek() == Some("if_not_exists") {
            let mut arguments = self.call(2);
            let otherwise = arguments.pop().flatten();
            return arguments.pop().flatten().or(otherwise);
        }
        let path = self.path();
        let mut found = self.item.get(&path[0])?;
        for part in &path[1..] {
            found = found.as_m().ok()?.get(part)?;
        }
        Some(found.clone())
    }

    fn path(&mut self) -> Vec<String> {
        let mut path = Vec::new();
        loop {
            let word = self.next().unwrap();
            let is_name =
                word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '#');
            assert!(is_name, "no attribute: {word} in {:?}", self.words);
            path.push(self.terms.name(&word));
            if !self.skip(".") {
                return path;
            }
        }
    }
}

/// The order of two values of the same type that have one.
fn order(left: &Option<AttributeValue>, right: &Option<AttributeValue>) -> Option<Ordering> {
    match (left.as_ref()?, right.as_ref()?) {
        (AttributeValue::S(left), AttributeValue::S(right)) => Some(left.cmp(right)),
        (AttributeValue::N(left), AttributeValue::N(right)) => {
            Some(integer(left).cmp(&integer(right)))
        }
        _ => None,
    }
}

fn integer(number: &str) -> i64 {
    let parsed = number.parse();
    parsed.unwrap_or_else(|_| panic!("only whole numbers are compared: {number}"))
}

/// The expression in words, operators and punctuation.
fn words(expression: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_alphanumeric() || "_#:".contains(first) {
            rest[1..]
                .find(|one: char| !one.is_ascii_alphanumeric() && one != '_')
                .map_or(rest.len(), |end| end + 1)
        } else if ["<>", "<=", ">="].iter().any(|two| rest.starts_with(two)) {
            2
        } else {
            assert!("=<>+-().,".contains(first), "no part of an expression: {rest}");
            1
        };
        let (word, after) = rest.split_at(length);
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: i64) -> AttributeValue {
        AttributeValue::N(value.to_string())
    }

    fn item() -> Item {
        let inner = HashMap::from([("id".to_owned(), AttributeValue::S("b".to_owned()))]);
        HashMap::from([
            ("n".to_owned(), number(10)),
            ("s".to_owned(), AttributeValue::S("text".to_owned())),
            ("m".to_owned(), AttributeValue::M(inner)),
        ])
    }

    #[test]
    fn conditions_hold_as_dynamodb_has_it() {
        let names = HashMap::from([("#id".to_owned(), "id".to_owned())]);
        let values = HashMap::from([
            (":two".to_owned(), number(2)),
            (":ten".to_owned(), number(10)),
            (":b".to_owned(), AttributeValue::S("b".to_owned())),
        ]);
        for (expression, holds) in [
            ("n = :ten", true),
            ("n > :two", true),
            ("n BETWEEN :two AND :ten AND s <> :b", true),
            ("s > :two OR n < :two", false),
            ("missing <> :two", true),
            ("missing = :two OR missing < :two", false),
            ("m.#id = :b", true),
            ("m.missing = :b", false),
            ("attribute_exists(m.#id) AND NOT attribute_exists(n.#id)", true),
            ("attribute_not_exists(pk) OR (n < :two AND n = :ten)", true),
            ("(n = :two OR n = :ten) AND begins_with(m.#id, :b)", true),
            ("n = :ten OR n = :two AND s = :b", true),
        ] {
            let terms = Terms::new(Some(&names), Some(&values));
            assert_eq!(terms.holds(expression, &item()), holds, "{expression}");
        }
    }

    #[test]
    fn updates_read_the_item_as_it_was() {
        let values = HashMap::from([(":one".to_owned(), number(1))]);
        let terms = Terms::new(None, Some(&values));
        let updated = terms.updated("SET n = n + :one, k = n, m.id = :one REMOVE s, none", &item());
        let updated = updated.unwrap();
        assert_eq!(updated["n"], number(11));
        assert_eq!(updated["k"], number(10));
        let counted = "SET n = if_not_exists(n, :one) + :one, k = if_not_exists(k, :one) + :one";
        let counted = terms.updated(counted, &item()).unwrap();
        assert_eq!((&counted["n"], &counted["k"]), (&number(11), &number(2)));
        assert_eq!(updated["m"].as_m().unwrap()["id"], number(1));
        assert!(!updated.contains_key("s"));
        for wrong in ["SET none.id = :one", "SET k = none", "SET k = :one REMOVE k"] {
            assert!(terms.updated(wrong, &item()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_given_must_be_used() {
        let values = HashMap::from([(":one".to_owned(), number(1))]);
        assert!(Terms::new(None, Some(&values)).finish().is_err());
    }

    #[test]
    #[should_panic(expected = "reserved word")]
    fn reserved_words_need_a_name() {
        Terms::new(None, None).holds("attribute_exists(status)", &item());
    }
}
