//! What happens to tasks: how one is started, which run, how one stands, how one is stopped, what it
//! wrote.

mod launch;
mod logs;
mod tasks;

pub use launch::Order;
pub use logs::{LogLine, LogPage, LogPosition};
pub use tasks::DESCRIBE_MAX;

/// The clients of the services that run tasks and keep their output.
#[derive(Clone, Debug)]
pub struct Fleet {
    ecs: aws_sdk_ecs::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
}

impl Fleet {
    pub fn new(ecs: aws_sdk_ecs::Client, logs: aws_sdk_cloudwatchlogs::Client) -> Fleet {
        Fleet { ecs, logs }
    }
}
