//! Cronplane: a serverless HTTP control plane for scheduled containers on AWS Fargate.
//!
//! `docs/ARCHITECTURE.md` walks through the layers; `tests/it/layering.rs` holds them apart.

// Tests may stop at the first thing that is not as it should be.
#![cfg_attr(test, expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic"))]

pub mod app;
pub mod config;
pub mod domain;
pub mod error;
pub mod events;
pub mod fleet;
pub mod http;
pub mod identity;
pub mod provision;
pub mod store;
pub mod telemetry;
