//! What happens to tasks: how one is started, which run, how one stands, how one is stopped, what it
//! wrote.

mod launch;
mod logs;
mod tasks;

pub use launch::Order;
pub use logs::{LogLine, LogPage, LogPosition};
pub use tasks::DESCRIBE_MAX;

use crate::domain::dry_run::DryRun;

/// The clients of the services that run tasks and keep their output.
#[derive(Clone, Debug)]
pub struct Fleet {
    ecs: aws_sdk_ecs::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    dry_run: Option<DryRun>,
}

impl Fleet {
    pub fn new(ecs: aws_sdk_ecs::Client, logs: aws_sdk_cloudwatchlogs::Client) -> Fleet {
        Fleet { ecs, logs, dry_run: None }
    }

    /// One that notes in `dry_run` what it would change, and changes nothing.
    pub fn dry(&self, dry_run: DryRun) -> Fleet {
        Fleet { dry_run: Some(dry_run), ..self.clone() }
    }
}
