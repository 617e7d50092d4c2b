//! What Cronplane is about, without I/O: jobs, schedules, Fargate sizes, runs and their identities.
//!
//! Nothing here knows AWS clients, HTTP or a clock; times and ids come in as values.

pub mod access;
pub mod audit;
pub mod console;
pub mod deployment;
pub mod dry_run;
pub mod fargate_size;
pub mod fields;
pub mod ids;
pub mod job;
pub mod oidc;
pub mod overrides;
pub mod quota;
pub mod rate;
pub mod recent_runs;
pub mod run;
pub mod schedule;
pub mod task;
pub mod team;
pub mod token;
pub mod violation;
