//! Starts that a schedule rule leaves to Cronplane, as its target's input template has them
//! (`provision/schedule_rule.rs`).

use jiff::Timestamp;
use serde::Deserialize;

use crate::app::ScheduledStart;
use crate::domain::ids::{JobKey, JobName, TeamName};

#[derive(Deserialize)]
struct Message {
    team: TeamName,
    job: JobName,
    job_id: String,
    scheduled_time: Timestamp,
}

/// The start in the message `body`. The error says what keeps it from being one.
pub fn parse(body: &str) -> Result<ScheduledStart, String> {
    let message: Message = serde_json::from_str(body).map_err(|error| error.to_string())?;
    Ok(ScheduledStart {
        key: JobKey::new(message.team, message.job),
        job_id: message.job_id,
        scheduled_time: message.scheduled_time,
    })
}
