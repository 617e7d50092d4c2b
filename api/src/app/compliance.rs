//! Whether jobs keep to their team's guardrails: when they are changed, and whenever they are shown.
//!
//! Nothing of it is stored: it is computed from the guardrails as they are now, so that it is never
//! behind. A job that does not comply any more goes on as it is; it can't be changed or resumed but to
//! one that does.

use jiff::Timestamp;

use super::App;
use crate::domain::deployment::Deployment;
use crate::domain::ids::{JobKey, JobName, TeamName};
use crate::domain::job::{JobDefinition, JobFilter};
use crate::domain::schedule::{Bounds, Timing};
use crate::domain::team::Team;
use crate::domain::violation::{Violation, ViolationCode};
use crate::error::Result;

/// Jobs that are told at most.
const NOT_COMPLYING_MAX: usize = 100;
/// Jobs that are read at a time; a page of the table has 1 MB anyway.
const PAGE: usize = 500;

/// What holds for the jobs of a team.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) team: Team,
    /// The deployment as the team's jobs find it.
    pub(super) deployment: Deployment,
}

/// The jobs of a team that its guardrails would not let be made.
#[derive(Debug, PartialEq)]
pub struct NotComplying {
    /// Each with what is wrong with it, by name.
    pub jobs: Vec<(JobName, Vec<Violation>)>,
    /// Whether there are more than those told.
    pub more: bool,
}

/// That a schedule starts nothing after `now`, and what of it is why.
pub(super) fn never_starts(timing: &Timing, now: Timestamp) -> Violation {
    let bounds = Bounds { end_date: None, ..timing.bounds.clone() };
    let endless = Timing { schedule: timing.schedule.clone(), bounds };
    if endless.starts_again(now) {
        let detail = "there is no start between now and this";
        return Violation::new("/end_date", ViolationCode::Range, detail);
    }
    let detail = "never starts: no date from now on is meant by it";
    Violation::new("/schedule", ViolationCode::Range, detail)
}

impl Rules {
    /// What of `definition` the team's guardrails forbid; nothing if it complies.
    pub(super) fn forbidden(&self, definition: &JobDefinition) -> Vec<Violation> {
        self.team.definition.guardrails.check(definition, &self.deployment)
    }

    /// What stands against a definition that is wanted from `now` on, besides its form. `key` is the job
    /// that it is to be of, `known` what that has now.
    pub(super) fn against(
        &self,
        definition: &JobDefinition,
        key: Option<&JobKey>,
        known: Option<&JobDefinition>,
        now: Timestamp,
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        if let Some(key) = key
            && definition.name != key.job
        {
            let detail = format!("a job keeps its name: `{}`", key.job);
            violations.push(Violation::new("/name", ViolationCode::NotAllowed, detail));
        }
        // A schedule that never starts anything is a mistake that nothing else would tell; and so is to switch
        // one on that has come to its end.
        let timing = &definition.timing;
        let is_news = |known: &JobDefinition| {
            known.timing != *timing || (definition.enabled && !known.enabled)
        };
        if known.is_none_or(is_news) && !timing.starts_again(now) {
            violations.push(never_starts(timing, now));
        }
        violations.extend(self.forbidden(definition));
        violations
    }
}

impl App {
    /// What holds for the jobs of the team. Errors: `NotFound`.
    pub(super) async fn rules(&self, team: &TeamName) -> Result<Rules> {
        Ok(self.rules_of(self.team(team).await?))
    }

    /// As [`App::rules`]; `None` if there is no such team, whose jobs can still be taken away.
    pub(super) async fn rules_if_any(&self, team: &TeamName) -> Result<Option<Rules>> {
        Ok(self.store.team_get(team).await?.map(|team| self.rules_of(team)))
    }

    pub(super) fn rules_of(&self, team: Team) -> Rules {
        Rules { deployment: self.deployment.of_team(&team), team }
    }

    /// The jobs that do not comply with the guardrails of `team`, which may be ones that it is to have.
    pub async fn not_complying(&self, team: &Team) -> Result<NotComplying> {
        let rules = self.rules_of(team.clone());
        let mut jobs = Vec::new();
        let mut after = None;
        loop {
            let all = JobFilter::default();
            let page = self.store.job_list(&team.name, &all, after.as_deref(), PAGE).await?;
            for job in page.items {
                let violations = rules.forbidden(&job.definition);
                if violations.is_empty() {
                    continue;
                }
                if jobs.len() == NOT_COMPLYING_MAX {
                    return Ok(NotComplying { jobs, more: true });
                }
                jobs.push((job.definition.name, violations));
            }
            after = page.last;
            if after.is_none() {
                return Ok(NotComplying { jobs, more: false });
            }
        }
    }
}
