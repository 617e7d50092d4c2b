//! The history: runs and their logs.

use jiff::{SignedDuration, Timestamp};

use super::App;
use super::jobs::{bad_cursor, checked_cursor};
use super::reconcile::later;
use crate::domain::console::{log_group_url, log_stream_url};
use crate::domain::ids::{JobKey, RunId};
use crate::domain::run::{Run, RunStatus, Trigger};
use crate::domain::task::{MAIN_CONTAINER, task_id};
use crate::error::{Error, Result};
use crate::fleet::{LogLine, LogPage, LogPosition};
use crate::provision::names::{LOG_STREAM_PREFIX, Names};
use crate::store::{RunFilter, encode_cursor};

/// So long before its task a run can have been asked for: it is tried for 15 minutes, and the last
/// try can come late.
const ASKED_BEFORE: SignedDuration = SignedDuration::from_mins(20);

/// A run, of which job it is, and where the console shows its output.
#[derive(Debug)]
pub struct RunView {
    pub job: JobKey,
    pub run: Run,
    pub console_url: String,
}

/// A page of runs.
#[derive(Debug)]
pub struct ListedRuns {
    pub items: Vec<RunView>,
    pub next: Option<String>,
}

/// Which runs a request wants.
#[derive(Debug, Default)]
pub struct RunsWanted {
    pub status: Option<RunStatus>,
    pub trigger: Option<Trigger>,
    /// Only the run of this task. `from` then says when the task was created: the run may have been
    /// asked for before that.
    pub task_arn: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub limit: usize,
    pub cursor: Option<String>,
}

/// Which lines a request wants.
#[derive(Debug)]
pub struct LogsWanted {
    /// By its name; the main one if none is named.
    pub container: Option<String>,
    /// From the end instead of from the beginning.
    pub tail: bool,
    pub limit: i32,
    pub cursor: Option<String>,
}

impl App {
    /// The runs of a job, newest first; those of a job that is gone as long as they are kept.
    ///
    /// Errors: `NotFound` for a job that never was or of which nothing is kept; `Invalid` for a
    /// cursor of another list.
    pub async fn run_list(&self, key: &JobKey, wanted: RunsWanted) -> Result<ListedRuns> {
        let is_empty = wanted
            .from
            .zip(wanted.to)
            .is_some_and(|(from, to)| RunId::second(from) > RunId::second(to));
        let earliest = match &wanted.task_arn {
            Some(_) => wanted.from.map(|from| later(from, -ASKED_BEFORE)),
            None => wanted.from,
        };
        let from = earliest.map(RunId::second).unwrap_or_default();
        let to = wanted.to.map(RunId::second).unwrap_or_default();
        let list = format!(
            "runs/{key}/{from}/{to}/{}/{}/{}",
            wanted.status.map(RunStatus::as_str).unwrap_or_default(),
            wanted.trigger.map(Trigger::as_str).unwrap_or_default(),
            wanted.task_arn.as_deref().unwrap_or_default(),
        );
        // A key outside the bounds of its list is an error to DynamoDB.
        let in_list = |id: &str| {
            RunId::parse(id).is_some()
                && id >= from.as_str()
                && (to.is_empty() || &id[..to.len().min(id.len())] <= to.as_str())
        };
        let after =
            wanted.cursor.map(|cursor| checked_cursor(&list, &cursor, in_list)).transpose()?;
        let filter = RunFilter {
            status: wanted.status,
            trigger: wanted.trigger,
            task_arn: wanted.task_arn,
            from: earliest,
            to: wanted.to,
        };
        let page = if is_empty {
            crate::store::Page { items: Vec::new(), last: None }
        } else {
            self.store.run_list(key, &filter, after.as_deref(), wanted.limit).await?
        };
        if page.items.is_empty() && page.last.is_none() && self.store.job_get(key).await?.is_none()
        {
            let any = self.store.run_list(key, &RunFilter::default(), None, 1).await?;
            if any.items.is_empty() {
                return Err(Error::NotFound(format!("job `{}`", key.job)));
            }
        }
        Ok(ListedRuns {
            items: page.items.into_iter().map(|run| self.run_view(key, run)).collect(),
            next: page.last.map(|last| encode_cursor(&list, &last)),
        })
    }

    /// Errors: `NotFound`.
    pub async fn run_get(&self, key: &JobKey, id: &RunId) -> Result<RunView> {
        let run = self.store.run_get(key, id).await?;
        let run = run.ok_or_else(|| Error::NotFound(format!("run `{id}`")))?;
        Ok(self.run_view(key, run))
    }

    /// Lines of one of the run's containers, and the cursor of the next ones: `None` once the run has
    /// ended and its last line was told.
    ///
    /// Errors: `NotFound`, also of the container; `Invalid` for a cursor of another list.
    pub async fn run_logs(
        &self,
        key: &JobKey,
        id: &RunId,
        wanted: LogsWanted,
    ) -> Result<(Vec<LogLine>, Option<String>)> {
        let container = wanted.container.as_deref().unwrap_or(MAIN_CONTAINER);
        let list = format!("logs/{key}/{id}/{container}");
        let position = match wanted.cursor {
            Some(cursor) => match checked_cursor(&list, &cursor, |_| true)?.as_str() {
                "" => LogPosition::Start,
                token => LogPosition::After(token.to_owned()),
            },
            None if wanted.tail => LogPosition::Tail,
            None => LogPosition::Start,
        };
        let run = self.run_get(key, id).await?.run;
        // Which there are is known once there is a task.
        if !run.containers.is_empty() && run.containers.iter().all(|one| one.name != container) {
            return Err(Error::NotFound(format!("container `{container}` of run `{id}`")));
        }
        let group = Names::of(&self.deployment, key).log_group;
        let page = match &run.task_arn {
            Some(arn) => {
                let stream = stream(container, arn);
                match self.fleet.logs(&group, &stream, &position, wanted.limit).await {
                    Err(Error::NotFound(_)) => return Err(bad_cursor()),
                    page => page?,
                }
            }
            // Nothing was written by what has not been started.
            None => LogPage { lines: Vec::new(), next: None, at_end: true },
        };
        let next = if page.at_end && run.status.is_final() {
            None
        } else {
            // A run that has written nothing yet is followed from its first line on.
            Some(encode_cursor(&list, page.next.as_deref().unwrap_or_default()))
        };
        Ok((page.lines, next))
    }

    pub(super) fn run_view(&self, key: &JobKey, run: Run) -> RunView {
        let group = Names::of(&self.deployment, key).log_group;
        let console_url = match &run.task_arn {
            Some(arn) => log_stream_url(&self.deployment, &group, &stream(MAIN_CONTAINER, arn)),
            None => log_group_url(&self.deployment, &group),
        };
        RunView { job: key.clone(), run, console_url }
    }
}

/// The log stream of a container of a task. Source: Amazon ECS Developer Guide, "Send Amazon ECS
/// logs to CloudWatch": `prefix/container/task-id`.
fn stream(container: &str, task_arn: &str) -> String {
    format!("{LOG_STREAM_PREFIX}/{container}/{}", task_id(task_arn))
}
