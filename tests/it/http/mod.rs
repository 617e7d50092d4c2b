//! The API as a client sees it: the real router, whole requests and answers.

mod client;
mod idempotency;
mod job_list;
mod jobs;
mod launch;
mod logs;
mod pause;
mod requests;
mod runs;
mod update;

pub(crate) use client::{Answer, Api, TOKEN, bearer, doors, errors, secret, token};
