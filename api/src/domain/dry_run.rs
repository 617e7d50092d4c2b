//! What would be done, noted instead of done.

use std::sync::{Arc, Mutex, PoisonError};

/// A call that changes something in AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsCall {
    /// The API operation, such as `ecs:RegisterTaskDefinition`.
    pub operation: &'static str,
    /// The ARN of what it is about, or its name where it has none yet.
    pub resource: String,
}

/// The calls of one dry run, in the order in which they would be made; clones share them.
#[derive(Clone, Debug, Default)]
pub struct DryRun(Arc<Mutex<Vec<AwsCall>>>);

impl DryRun {
    pub fn note(&self, operation: &'static str, resource: &str) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(AwsCall { operation, resource: resource.to_owned() });
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<AwsCall> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
