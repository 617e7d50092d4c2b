//! What the stack's failure rule finds: task events, and events of Cronplane's own.

use serde::Deserialize;
use serde_json::Value;

use crate::app::{FailureOf, FoundFailure};
use crate::domain::ids::{JobKey, JobName, TeamName};

#[derive(Deserialize)]
struct Event {
    source: String,
    detail: Detail,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    task_definition_arn: Option<String>,
    team: Option<TeamName>,
    job: Option<JobName>,
}

/// The failure in the event `body`. The error says what keeps it from being one.
pub fn parse(body: &str) -> Result<FoundFailure, String> {
    let event: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let read = Event::deserialize(&event).map_err(|error| error.to_string())?;
    let Detail { task_definition_arn, team, job } = read.detail;
    let of = match (read.source.as_str(), task_definition_arn, team, job) {
        ("aws.ecs", Some(arn), ..) => {
            let revision = arn.rsplit('/').next().unwrap_or_default();
            let family = revision.split(':').next().unwrap_or_default();
            FailureOf::Family(family.to_owned())
        }
        (_, _, Some(team), Some(job)) => FailureOf::Job(JobKey::new(team, job)),
        (source, ..) => return Err(format!("an event of {source} that names no job")),
    };
    Ok(FoundFailure { of, event })
}
