//! Names and identities: teams, jobs, runs.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest team name, in characters. With [`JOB_NAME_MAX`] and CloudFormation's 128 for a stack
/// name it keeps every task definition family (at most 255) whole, so that the family of any
/// event names the job.
pub const TEAM_NAME_MAX: usize = 32;
/// Longest job name, in characters.
pub const JOB_NAME_MAX: usize = 64;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $max:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Takes `text` if it is `[a-z][a-z0-9-]*` and not too long; the error says what is
            /// wrong with it.
            pub fn parse(text: &str) -> Result<$type, String> {
                check_name(text, $max).map(|()| $type(text.to_owned()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<$type, String> {
                check_name(&text, $max).map(|()| $type(text))
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a team: `[a-z][a-z0-9-]*`, at most [`TEAM_NAME_MAX`] characters.
    TeamName,
    TEAM_NAME_MAX
);
name!(
    /// The name of a job, unique in its team: `[a-z][a-z0-9-]*`, at most [`JOB_NAME_MAX`]
    /// characters.
    JobName,
    JOB_NAME_MAX
);

fn check_name(text: &str, max: usize) -> Result<(), String> {
    let mut characters = text.chars();
    let starts_well = characters.next().is_some_and(|first| first.is_ascii_lowercase());
    let goes_on_well =
        characters.all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-');
    if !starts_well || !goes_on_well {
        return Err(
            "must start with a lower-case letter and go on with lower-case letters, digits and \
             hyphens"
                .to_owned(),
        );
    }
    if text.len() > max {
        return Err(format!("must have at most {max} characters, not {}", text.len()));
    }
    Ok(())
}

/// A job, by its team and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobKey {
    pub team: TeamName,
    pub job: JobName,
}

impl JobKey {
    pub fn new(team: TeamName, job: JobName) -> JobKey {
        JobKey { team, job }
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.team, self.job)
    }
}

/// The identity of a run: when its task was created, in whole seconds, and the task's id, as in
/// `20261123T140900-c13b4cb40f1f4fe4a2971f76ae5a47ad`. Of a run that Cronplane starts it is the time
/// of the request, or of the start that the schedule promised, and an id of our own: it has to be known
/// before there is a task.
///
/// The first kind is in every event of the task, so that any event alone gives the same id; the
/// second comes back in the task's `startedBy`. Ids sort by time and stand in a URL as they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// The id of the run of task `task_id`, which ECS created at `created_at`.
    pub fn of_task(created_at: Timestamp, task_id: &str) -> RunId {
        RunId(format!("{}-{task_id}", RunId::second(created_at)))
    }

    /// The id of a run that was asked for at `asked_at`, or promised for then; `unique` is hexadecimal and
    /// nobody else's.
    pub fn of_request(asked_at: Timestamp, unique: &str) -> RunId {
        RunId(format!("{}-{unique}", RunId::second(asked_at)))
    }

    /// Takes `text` if it has the form of a run id.
    pub fn parse(text: &str) -> Option<RunId> {
        let (second, task_id) = text.split_once('-')?;
        let digits = second.replacen('T', "", 1);
        let good = second.len() == 15
            && second.as_bytes()[8] == b'T'
            && digits.len() == 14
            && digits.bytes().all(|one| one.is_ascii_digit())
            && is_task_id(task_id);
        good.then(|| RunId(text.to_owned()))
    }

    /// The part that all runs created in the second of `at` start with.
    pub fn second(at: Timestamp) -> String {
        at.strftime("%Y%m%dT%H%M%S").to_string()
    }

    /// The part behind the second.
    pub fn task_id(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, task_id)| task_id)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = String;

    fn try_from(text: String) -> Result<RunId, String> {
        RunId::parse(&text).ok_or_else(|| format!("`{text}` is no run id"))
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> String {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` can be the id of an ECS task: 32 hexadecimal digits, or a UUID with hyphens in
/// accounts that never took up the long ARN format.
pub fn is_task_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|one| one.is_ascii_alphanumeric() || one == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "nightly-report", "a1", "a-"] {
            assert!(JobName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "-a", "A", "a_b", "a.b", "ä", "a b", "a#b"] {
            assert!(JobName::parse(bad).is_err(), "{bad}");
        }
        assert!(JobName::parse(&"a".repeat(64)).is_ok());
        assert!(JobName::parse(&"a".repeat(65)).is_err());
        assert!(TeamName::parse(&"a".repeat(33)).is_err());
    }

    #[test]
    fn run_ids_sort_by_time_and_read_back() {
        let early: Timestamp = "2020-01-23T17:57:34.402Z".parse().unwrap();
        let late: Timestamp = "2020-01-23T17:57:35Z".parse().unwrap();
        let first = RunId::of_task(early, "ff");
        let second = RunId::of_task(late, "00");
        assert_eq!(first.as_str(), "20200123T175734-ff");
        assert!(first < second);
        assert_eq!(RunId::parse(first.as_str()), Some(first.clone()));
        assert_eq!(first.task_id(), "ff");
        for bad in [
            "",
            "20200123T175734",
            "20200123T175734-",
            "2020-01-23T17:57:34-ff",
            "x-y",
            "20200123T175734-a/b",
            "20200123T17573T-ff",
        ] {
            assert_eq!(RunId::parse(bad), None, "{bad}");
        }
    }
}
