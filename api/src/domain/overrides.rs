//! What one run has in place of its job's definition, or besides. How it is read from a request stands
//! in `job::run_request`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::fargate_size::FargateSize;
use super::task::MAIN_CONTAINER;

/// What one run has in place of the definition's own, or besides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Added to the definition's variables; one of the same name takes its place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<FargateSize>,
}

impl Overrides {
    /// As a request would give them.
    pub fn to_request(&self) -> Value {
        json!({
            "command": self.command,
            "environment": self.environment,
            "cpu": self.size.map(|size| size.cpu),
            "memory": self.size.map(|size| size.memory),
        })
    }

    /// In the shape in which ECS tells the overrides of a task.
    pub fn as_told(&self) -> Value {
        let mut main = Map::new();
        main.insert("name".to_owned(), json!(MAIN_CONTAINER));
        if let Some(command) = &self.command {
            main.insert("command".to_owned(), json!(command));
        }
        if !self.environment.is_empty() {
            let variables = self.environment.iter();
            let variables: Vec<Value> =
                variables.map(|(name, value)| json!({"name": name, "value": value})).collect();
            main.insert("environment".to_owned(), json!(variables));
        }
        let mut told = Map::new();
        told.insert("containerOverrides".to_owned(), json!([main]));
        if let Some(size) = self.size {
            told.insert("cpu".to_owned(), json!(size.cpu.to_string()));
            told.insert("memory".to_owned(), json!(size.memory.to_string()));
        }
        Value::Object(told)
    }
}
