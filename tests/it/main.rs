//! The integration tests, one binary: the real code over a fake of AWS at the SDK's clients.

// The JSON of a whole job, in one `json!`.
#![recursion_limit = "256"]
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod access;
mod audit;
mod cloud;
mod containers;
mod dry_run;
mod job;
mod logged;
mod task;

mod examples;
mod failure_rule;
mod fallback;
mod guardrails;
mod history;
mod http;
mod identity;
mod launch;
mod layering;
mod openapi;
mod permissions;
mod previews;
mod quotas;
mod rate;
mod reconcile;
mod store;
mod teams_api;
mod tokens;
