//! The newest runs of a job, as its own entry shows them.

use serde::{Deserialize, Serialize};

use super::run::{RunStatus, RunSummary};

/// So many runs a job shows.
pub const RECENT_RUNS_MAX: usize = 10;

/// The newest runs of a job, each in the newest state that is known of it.
///
/// Whatever the order in which the states of runs are taken in, and however often, the same runs
/// in the same states remain: a run leaves only before ten that are newer, and then never comes
/// back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentRuns {
    /// Newest first, at most [`RECENT_RUNS_MAX`].
    runs: Vec<RunSummary>,
    /// Made of `runs`, to be filtered by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_outcome: Option<RunStatus>,
    /// Counts the changes: what was made of one state is written over that state only.
    version: u64,
}

impl RecentRuns {
    /// Newest first.
    pub fn runs(&self) -> &[RunSummary] {
        &self.runs
    }

    pub fn newest(&self) -> Option<&RunSummary> {
        self.runs.first()
    }

    /// How the newest of these runs that has ended did.
    pub fn last_outcome(&self) -> Option<RunStatus> {
        self.last_outcome
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// These runs after `run` was seen in this state; `None` if that is no news.
    pub fn with(&self, run: &RunSummary) -> Option<RecentRuns> {
        let mut runs = self.runs.clone();
        match runs.binary_search_by(|known| run.id.cmp(&known.id)) {
            Ok(at) if runs[at].evidence() >= run.evidence() => return None,
            Ok(at) => runs[at] = run.clone(),
            Err(RECENT_RUNS_MAX..) => return None,
            Err(at) => runs.insert(at, run.clone()),
        }
        runs.truncate(RECENT_RUNS_MAX);
        let last_outcome = runs.iter().map(|run| run.status).find(|status| status.is_final());
        Some(RecentRuns { runs, last_outcome, version: self.version + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::RunId;
    use crate::domain::run::Trigger;

    fn run(number: u32, status: RunStatus, stopped: u8, version: i64) -> RunSummary {
        let created_at = "2026-11-23T14:00:00Z".parse().unwrap();
        RunSummary {
            id: RunId::of_task(created_at, &format!("{number:02}")),
            status,
            trigger: Trigger::Schedule,
            scheduled_time: None,
            created_at,
            stopped_at: None,
            exit_code: None,
            stopped,
            version,
        }
    }

    fn of(seen: &[RunSummary]) -> RecentRuns {
        let none = RecentRuns::default();
        seen.iter().fold(none, |known, run| known.with(run).unwrap_or(known))
    }

    #[test]
    fn the_ten_newest_stay_newest_first() {
        let running = |number| run(number, RunStatus::Running, 0, 4);
        // 7 and 13 have no divisor in common: every number once, in no order.
        let seen: Vec<RunSummary> = (0..13).map(|number| running(number * 7 % 13)).collect();
        let recent = of(&seen);
        assert_eq!(recent.runs(), (3..13).rev().map(running).collect::<Vec<_>>());
        assert_eq!(recent.newest(), Some(&running(12)));
        // Older than all of them: nothing changes, whatever its state.
        assert_eq!(recent.with(&run(2, RunStatus::Failed, 1, 9)), None);
    }

    #[test]
    fn a_run_changes_by_better_evidence_only() {
        let states = [
            run(0, RunStatus::Pending, 0, 2),
            run(0, RunStatus::Running, 0, 4),
            // Closed as it was seen last.
            run(0, RunStatus::Unknown, 0, 4),
            run(0, RunStatus::Running, 0, 5),
            run(0, RunStatus::Failed, 1, 3),
            run(0, RunStatus::Failed, 1, 4),
        ];
        for (at, known) in states.iter().enumerate() {
            let recent = of(std::slice::from_ref(known));
            for (number, next) in states.iter().enumerate() {
                let wanted = (number > at).then(|| std::slice::from_ref(next));
                let changed = recent.with(next);
                assert_eq!(changed.as_ref().map(RecentRuns::runs), wanted, "{at} {number}");
                assert!(changed.is_none_or(|changed| changed.version() > recent.version()));
            }
        }
    }

    #[test]
    fn the_last_outcome_is_that_of_the_newest_run_that_ended() {
        let mut recent = of(&[run(0, RunStatus::Running, 0, 4)]);
        assert_eq!(recent.last_outcome(), None);
        for (seen, outcome) in [
            (run(1, RunStatus::Failed, 1, 7), RunStatus::Failed),
            (run(2, RunStatus::Pending, 0, 1), RunStatus::Failed),
            (run(0, RunStatus::Succeeded, 1, 7), RunStatus::Failed),
            (run(2, RunStatus::Unknown, 0, 1), RunStatus::Unknown),
            // It went on after all.
            (run(2, RunStatus::Running, 0, 2), RunStatus::Failed),
            (run(2, RunStatus::Succeeded, 1, 7), RunStatus::Succeeded),
        ] {
            recent = recent.with(&seen).unwrap();
            assert_eq!(recent.last_outcome(), Some(outcome), "{seen:?}");
        }
    }
}
