//! Amazon DynamoDB: one table with the keys `pk` and `sk` and the sparse index `due`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::{DeleteItemInput, DeleteItemOutput};
use aws_sdk_dynamodb::operation::get_item::{GetItemInput, GetItemOutput};
use aws_sdk_dynamodb::operation::put_item::{PutItemInput, PutItemOutput};
use aws_sdk_dynamodb::operation::query::{QueryInput, QueryOutput};
use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsInput, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::operation::update_item::{UpdateItemInput, UpdateItemOutput};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_mocks::mock;
use serde_json::{Map, Value, json};

use super::expression::Terms;
use super::{Cloud, Refusal, State, TABLE, client, refusal};

pub(crate) type Item = HashMap<String, AttributeValue>;

/// A page of a Query ends behind the item with which it has so many bytes.
const PAGE_BYTES: usize = 1024 * 1024;

#[derive(Default)]
pub(crate) struct Table {
    items: BTreeMap<(String, String), Item>,
    /// Every request that came, oldest first.
    pub(crate) requests: Vec<Request>,
    /// The actions that transactions were made of, as IAM knows them.
    pub(crate) transacted: BTreeSet<&'static str>,
    /// So many of the next transactions find somebody else's at their first item.
    pub(crate) conflicts: usize,
}

/// What a request asked for, in the words of the API.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Request {
    pub(crate) operation: &'static str,
    pub(crate) key: Option<Item>,
    pub(crate) condition: Option<String>,
    /// The update, or the condition on the key of a Query.
    pub(crate) expression: Option<String>,
    pub(crate) filter: Option<String>,
    pub(crate) names: HashMap<String, String>,
    pub(crate) values: HashMap<String, AttributeValue>,
    pub(crate) consistent: bool,
}

impl Table {
    /// Every item but those of the audit log.
    pub(crate) fn without_audit(&self) -> BTreeMap<(String, String), Item> {
        let others = self.items.iter().filter(|((pk, _), _)| !pk.starts_with("AUDIT#"));
        others.map(|(key, item)| (key.clone(), item.clone())).collect()
    }

    pub(crate) fn item(&self, pk: &str, sk: &str) -> Option<&Item> {
        self.items.get(&(pk.to_owned(), sk.to_owned()))
    }

    /// The item, to be changed behind everybody's back.
    pub(crate) fn item_mut(&mut self, pk: &str, sk: &str) -> &mut Item {
        self.items.get_mut(&(pk.to_owned(), sk.to_owned())).unwrap()
    }

    /// Every item, by its keys.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    /// Takes an item away behind everybody's back.
    pub(crate) fn remove(&mut self, pk: &str, sk: &str) {
        self.items.remove(&(pk.to_owned(), sk.to_owned())).unwrap();
    }

    /// The items of a partition, by their sort keys.
    pub(crate) fn partition(&self, pk: &str) -> Vec<&Item> {
        let all = self.items.iter().filter(|((of, _), _)| of == pk);
        all.map(|(_, item)| item).collect()
    }

    /// The items of a partition, to be changed behind everybody's back.
    pub(crate) fn partition_mut(&mut self, pk: &str) -> impl Iterator<Item = &mut Item> {
        self.items.iter_mut().filter(move |((of, _), _)| of == pk).map(|(_, item)| item)
    }

    /// Puts an item behind everybody's back.
    pub(crate) fn put(&mut self, item: Item) {
        self.items.insert(key_of(&item), item);
    }

    fn get(&self, key: &Key) -> Item {
        self.items.get(key).cloned().unwrap_or_default()
    }

    /// The condition must hold for the item as it is.
    fn check(
        &self,
        key: &Key,
        condition: Option<&str>,
        terms: &Terms<'_>,
        tell: Option<&ReturnValuesOnConditionCheckFailure>,
    ) -> Result<(), Refusal> {
        let item = self.get(key);
        if condition.is_none_or(|condition| terms.holds(condition, &item)) {
            return Ok(());
        }
        let mut refused =
            refusal("ConditionalCheckFailedException", "The conditional request failed");
        if tell == Some(&ReturnValuesOnConditionCheckFailure::AllOld) && !item.is_empty() {
            refused.more = json!({"Item": json_of(&item)});
        }
        Err(refused)
    }
}

type Key = (String, String);

fn key_of(item: &Item) -> Key {
    let text = |name: &str| item[name].as_s().unwrap().clone();
    (text("pk"), text("sk"))
}

/// The key of a request has its two attributes and no others.
fn key_of_request(key: Option<&Item>) -> Key {
    let key = key.unwrap();
    assert_eq!(key.len(), 2, "{key:?}");
    key_of(key)
}

pub(super) fn client(cloud: &Cloud) -> Client {
    client!(
        aws_sdk_dynamodb,
        [
            cloud.read("dynamodb:GetItem", mock!(Client::get_item), get_item),
            cloud.write("dynamodb:PutItem", mock!(Client::put_item), put_item),
            cloud.write("dynamodb:UpdateItem", mock!(Client::update_item), update_item,),
            cloud.write("dynamodb:DeleteItem", mock!(Client::delete_item), delete_item,),
            cloud.write(
                "dynamodb:TransactWriteItems",
                mock!(Client::transact_write_items),
                transact_write_items,
            ),
            cloud.read("dynamodb:Query", mock!(Client::query), query),
        ]
    )
}

fn get_item(state: &mut State, input: &GetItemInput) -> Result<GetItemOutput, Refusal> {
    assert_eq!(input.table_name(), Some(TABLE));
    state.table.requests.push(Request {
        operation: "GetItem",
        key: input.key().cloned(),
        consistent: input.consistent_read() == Some(true),
        ..Request::default()
    });
    let found = state.table.items.get(&key_of_request(input.key()));
    Ok(GetItemOutput::builder().set_item(found.cloned()).build())
}

fn put_item(state: &mut State, input: &PutItemInput) -> Result<PutItemOutput, Refusal> {
    assert_eq!(input.table_name(), Some(TABLE));
    let item = input.item().unwrap();
    let key = key_of(item);
    let names = input.expression_attribute_names();
    let values = input.expression_attribute_values();
    state.table.requests.push(Request {
        operation: "PutItem",
        key: Some(item.clone()),
        condition: input.condition_expression().map(str::to_owned),
        names: names.cloned().unwrap_or_default(),
        values: values.cloned().unwrap_or_default(),
        ..Request::default()
    });
    let terms = Terms::new(names, values);
    let tell = input.return_values_on_condition_check_failure();
    state.table.check(&key, input.condition_expression(), &terms, tell)?;
    terms.finish()?;
    let old = state.table.items.insert(key, item.clone());
    let old = old.filter(|_| input.return_values() == Some(&ReturnValue::AllOld));
    Ok(PutItemOutput::builder().set_attributes(old).build())
}

fn update_item(state: &mut State, input: &UpdateItemInput) -> Result<UpdateItemOutput, Refusal> {
    assert_eq!(input.table_name(), Some(TABLE));
    let key = key_of_request(input.key());
    let names = input.expression_attribute_names();
    let values = input.expression_attribute_values();
    let update = input.update_expression().unwrap();
    state.table.requests.push(Request {
        operation: "UpdateItem",
        key: input.key().cloned(),
        condition: input.condition_expression().map(str::to_owned),
        expression: Some(update.to_owned()),
        names: names.cloned().unwrap_or_default(),
        values: values.cloned().unwrap_or_default(),
        ..Request::default()
    });
    let terms = Terms::new(names, values);
    let mut item = state.table.get(&key);
    // An update of what does not exist makes it.
    item.extend(input.key().unwrap().clone());
    let tell = input.return_values_on_condition_check_failure();
    may_change("dynamodb:UpdateItem", &key.0)?;
    state.table.check(&key, input.condition_expression(), &terms, tell)?;
    let updated = terms.updated(update, &item)?;
    terms.finish()?;
    if key_of(&updated) != key {
        return Err(refusal(
            "ValidationException",
            "Cannot update attribute pk. This attribute is part of the key",
        ));
    }
    state.table.items.insert(key, updated.clone());
    let told = input.return_values() == Some(&ReturnValue::AllNew);
    Ok(UpdateItemOutput::builder().set_attributes(told.then_some(updated)).build())
}

fn delete_item(state: &mut State, input: &DeleteItemInput) -> Result<DeleteItemOutput, Refusal> {
    assert_eq!(input.table_name(), Some(TABLE));
    let key = key_of_request(input.key());
    let names = input.expression_attribute_names();
    let values = input.expression_attribute_values();
    state.table.requests.push(Request {
        operation: "DeleteItem",
        key: input.key().cloned(),
        condition: input.condition_expression().map(str::to_owned),
        names: names.cloned().unwrap_or_default(),
        values: values.cloned().unwrap_or_default(),
        ..Request::default()
    });
    let terms = Terms::new(names, values);
    let tell = input.return_values_on_condition_check_failure();
    may_change("dynamodb:DeleteItem", &key.0)?;
    state.table.check(&key, input.condition_expression(), &terms, tell)?;
    terms.finish()?;
    state.table.items.remove(&key);
    Ok(DeleteItemOutput::builder().build())
}

/// What the functions' roles are denied: entries of the audit log are put, and neither changed nor deleted.
fn may_change(operation: &str, pk: &str) -> Result<(), Refusal> {
    let changes = ["dynamodb:UpdateItem", "dynamodb:DeleteItem"].contains(&operation);
    if changes && pk.starts_with("AUDIT#") {
        let message =
            format!("User: x is not authorized to perform: {operation} on resource: {pk}");
        return Err(refusal("AccessDeniedException", message));
    }
    Ok(())
}

/// All or nothing; what kept it from being done is told action by action.
fn transact_write_items(
    state: &mut State,
    input: &TransactWriteItemsInput,
) -> Result<TransactWriteItemsOutput, Refusal> {
    let actions = input.transact_items();
    assert!(!actions.is_empty() && actions.len() <= 100);
    let mut keys = BTreeSet::new();
    let mut reasons = Vec::new();
    // What becomes of each item: nothing where it is deleted.
    let mut effects: Vec<(Key, Option<Item>)> = Vec::new();
    for action in actions {
        let mut update_of = None;
        let (operation, table, key, condition, names, values, tell) =
            if let Some(put) = action.put() {
                effects.push((key_of(put.item()), Some(put.item().clone())));
                (
                    "dynamodb:PutItem",
                    put.table_name(),
                    put.item(),
                    put.condition_expression(),
                    put.expression_attribute_names(),
                    put.expression_attribute_values(),
                    put.return_values_on_condition_check_failure(),
                )
            } else if let Some(update) = action.update() {
                update_of = Some(update.update_expression());
                (
                    "dynamodb:UpdateItem",
                    update.table_name(),
                    update.key(),
                    update.condition_expression(),
                    update.expression_attribute_names(),
                    update.expression_attribute_values(),
                    update.return_values_on_condition_check_failure(),
                )
            } else if let Some(delete) = action.delete() {
                effects.push((key_of_request(Some(delete.key())), None));
                (
                    "dynamodb:DeleteItem",
                    delete.table_name(),
                    delete.key(),
                    delete.condition_expression(),
                    delete.expression_attribute_names(),
                    delete.expression_attribute_values(),
                    delete.return_values_on_condition_check_failure(),
                )
            } else if let Some(check) = action.condition_check() {
                assert_eq!(check.key().len(), 2);
                (
                    "dynamodb:ConditionCheckItem",
                    check.table_name(),
                    check.key(),
                    Some(check.condition_expression()),
                    check.expression_attribute_names(),
                    check.expression_attribute_values(),
                    check.return_values_on_condition_check_failure(),
                )
            } else {
                panic!("there is no such action: {action:?}")
            };
        assert_eq!(table, TABLE);
        state.table.transacted.insert(operation);
        may_change(operation, &key_of(key).0)?;
        state.table.requests.push(Request {
            operation: "TransactWriteItems",
            key: Some(key.clone()),
            condition: condition.map(str::to_owned),
            expression: update_of.map(str::to_owned),
            names: names.cloned().unwrap_or_default(),
            values: values.cloned().unwrap_or_default(),
            ..Request::default()
        });
        if !keys.insert(key_of(key)) {
            return Err(refusal(
                "ValidationException",
                "Transaction request cannot include multiple operations on one item",
            ));
        }
        let terms = Terms::new(names, values);
        let held = state.table.check(&key_of(key), condition, &terms, tell);
        if let (Some(update), Ok(())) = (update_of, &held) {
            let key = key_of_request(Some(key));
            let mut item = state.table.get(&key);
            item.extend(action.update().unwrap().key().clone());
            effects.push((key, Some(terms.updated(update, &item)?)));
        }
        // What a condition that does not hold kept from being read may well be used.
        if held.is_ok() {
            terms.finish()?;
        }
        reasons.push(match held {
            Ok(()) => json!({"Code": "None"}),
            Err(refused) => {
                let mut reason = json!({"Code": "ConditionalCheckFailed"});
                if let Some(item) = refused.more.get("Item") {
                    reason["Item"] = item.clone();
                }
                reason
            }
        });
    }
    if state.table.conflicts > 0 {
        state.table.conflicts -= 1;
        reasons = vec![json!({"Code": "None"}); actions.len()];
        reasons[0] = json!({"Code": "TransactionConflict"});
    }
    let codes: Vec<&str> = reasons.iter().map(|reason| reason["Code"].as_str().unwrap()).collect();
    if codes.iter().any(|code| *code != "None") {
        let codes = codes.join(", ");
        let mut refused = refusal(
            "TransactionCanceledException",
            format!(
                "Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
            ),
        );
        refused.more = json!({"CancellationReasons": reasons});
        return Err(refused);
    }
    for (key, item) in effects {
        match item {
            Some(item) => state.table.items.insert(key, item),
            None => state.table.items.remove(&key),
        };
    }
    Ok(TransactWriteItemsOutput::builder().build())
}

fn query(state: &mut State, input: &QueryInput) -> Result<QueryOutput, Refusal> {
    assert_eq!(input.table_name(), Some(TABLE));
    let names = input.expression_attribute_names();
    let values = input.expression_attribute_values();
    let key_condition = input.key_condition_expression().unwrap();
    let consistent = input.consistent_read() == Some(true);
    state.table.requests.push(Request {
        operation: "Query",
        expression: Some(key_condition.to_owned()),
        filter: input.filter_expression().map(str::to_owned),
        names: names.cloned().unwrap_or_default(),
        values: values.cloned().unwrap_or_default(),
        consistent,
        ..Request::default()
    });
    let terms = Terms::new(names, values);
    let mut items: Vec<Item> = match input.index_name() {
        None => state.table.items.values().cloned().collect(),
        Some("due") if !consistent => due(state),
        Some(_) => {
            return Err(refusal(
                "ValidationException",
                "Consistent reads are not supported on global secondary indexes",
            ));
        }
    };
    // An expression is read also where there is nothing to hold it against.
    terms.holds(key_condition, &Item::new());
    items.retain(|item| terms.holds(key_condition, item));
    if input.scan_index_forward() == Some(false) {
        items.reverse();
    }
    if let Some(start) = input.exclusive_start_key() {
        if !terms.holds(key_condition, start) {
            return Err(refusal(
                "ValidationException",
                "The provided starting key is outside query boundaries based on provided conditions",
            ));
        }
        let start = key_of_request(Some(start));
        let backward = input.scan_index_forward() == Some(false);
        items.retain(|item| match backward {
            true => key_of(item) < start,
            false => key_of(item) > start,
        });
    }
    let limit = input.limit().map_or(usize::MAX, |limit| limit as usize);
    let mut bytes = 0;
    let mut page = Vec::new();
    let mut last = None;
    for item in items {
        bytes += size_of(&item);
        page.push(item);
        if page.len() == limit || bytes >= PAGE_BYTES {
            // Also when nothing comes behind it.
            let (pk, sk) = key_of(page.last().unwrap());
            last = Some(HashMap::from([
                ("pk".to_owned(), AttributeValue::S(pk)),
                ("sk".to_owned(), AttributeValue::S(sk)),
            ]));
            break;
        }
    }
    // A filter is applied to what was read.
    if let Some(filter) = input.filter_expression() {
        terms.holds(filter, &Item::new());
        page.retain(|item| terms.holds(filter, item));
    }
    terms.finish()?;
    Ok(QueryOutput::builder()
        .count(page.len() as i32)
        .set_items(Some(page))
        .set_last_evaluated_key(last)
        .build())
}

/// The index: the keys of the items that have its attributes, by their time.
fn due(state: &State) -> Vec<Item> {
    let attributes = ["pk", "sk", "due_shard", "due_at"];
    let all = state.table.items.values();
    let mut found: Vec<Item> = all
        .filter(|item| attributes.iter().all(|name| item.contains_key(*name)))
        .map(|item| {
            let pairs = attributes.iter();
            pairs.map(|name| ((*name).to_owned(), item[*name].clone())).collect()
        })
        .collect();
    found.sort_by_key(|item| item["due_at"].as_n().unwrap().parse::<i64>().unwrap());
    found
}

/// Source: Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats".
fn size_of(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + size_of_value(value)).sum()
}

fn size_of_value(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        // One byte for two digits, and one more.
        AttributeValue::N(number) => number.len().div_ceil(2) + 1,
        AttributeValue::Bool(_) | AttributeValue::Null(_) => 1,
        AttributeValue::M(map) => 3 + size_of(map) + map.len(),
        AttributeValue::L(list) => 3 + list.iter().map(|one| 1 + size_of_value(one)).sum::<usize>(),
        other => panic!("the store has no {other:?}"),
    }
}

/// An item in the JSON of the API.
pub(super) fn json_of(item: &Item) -> Value {
    let pairs = item.iter().map(|(name, value)| (name.clone(), json_of_value(value)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

fn json_of_value(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::Bool(flag) => json!({"BOOL": flag}),
        AttributeValue::Null(_) => json!({"NULL": true}),
        AttributeValue::M(map) => json!({"M": json_of(map)}),
        AttributeValue::L(list) => {
            json!({"L": list.iter().map(json_of_value).collect::<Vec<_>>()})
        }
        other => panic!("the store has no {other:?}"),
    }
}
