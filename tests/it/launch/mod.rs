//! Runs that a request asks for: one task each, whatever happens on the way.

mod claims;
mod faults;
mod keys;
mod start;
mod stop;
mod table;

use aws_sdk_ecs::types::Task;
use cronplane::app::{App, Moment, RunsWanted};
use cronplane::domain::ids::RunId;
use cronplane::domain::run::Run;
use cronplane::error::Result;
use serde_json::json;

use crate::cloud::Cloud;
use crate::history;
use crate::job::{BASE, key, moment};
use crate::task;

pub(super) async fn run_now(app: &App, moment: Moment) -> Result<Run> {
    app.run_start(&key(), json!({}), moment).await.map(|view| view.run)
}

/// The runs of the job, newest first.
pub(super) async fn runs(app: &App) -> Vec<Run> {
    history::runs(app, RunsWanted::default()).await
}

pub(super) async fn run(app: &App, id: &RunId) -> Run {
    app.run_get(&key(), id).await.unwrap().run
}

/// All tasks there ever were.
pub(super) fn tasks(cloud: &Cloud) -> Vec<Task> {
    cloud.state().ecs.tasks.clone()
}

/// Tasks that were to be stopped have, and all others have ended well.
pub(super) fn end_tasks(cloud: &Cloud) {
    for task in &mut cloud.state().ecs.tasks {
        if task.last_status() != Some("STOPPED") {
            task::ended(task);
        }
    }
}

/// Sweeps for an hour from `from`, long enough for a launch to be tried, given up and closed; tasks end
/// in the middle of it.
pub(super) async fn sweep_the_rest(cloud: &Cloud, app: &App, from: i64) {
    for minute in [1, 2, 3, 4, 6, 10, 16, 17, 28, 39, 62] {
        if minute == 28 {
            end_tasks(cloud);
        }
        let swept = app.sweep(moment(from + 60 * minute)).await.unwrap();
        assert_eq!(swept.failures, 0, "minute {minute}");
    }
}

/// Whether anything is left to be done for the job's runs.
pub(super) fn is_anything_due(cloud: &Cloud) -> bool {
    history::run_items(cloud).iter().any(|item| item.contains_key("due_at"))
}

pub(super) fn task_definition_arn() -> String {
    crate::cloud::arn("ecs", &format!("task-definition/{BASE}:1"))
}
