//! Every name that Cronplane gives in AWS, made from stack, team and job.
//!
//! The separator is `_`, which neither a stack's name (CloudFormation allows letters, digits and
//! hyphens) nor a team's nor a job's can hold: no two jobs, and no two stacks, share a name.

use sha2::{Digest as _, Sha256};

use crate::domain::deployment::Deployment;
use crate::domain::ids::{JobKey, JobName, TeamName};

/// EventBridge rules, IAM roles and rule targets: at most 64 characters.
const SHORT_MAX: usize = 64;
/// Hexadecimal digits of the hash at the end of a name that was cut.
const HASH_DIGITS: usize = 10;

/// The IAM path of all roles that Cronplane makes.
pub const ROLE_PATH: &str = "/cronplane/";
/// Id of a rule's only target.
pub const TARGET_ID: &str = "main";
/// First part of every log stream's name: streams are `run/<container>/<task id>`.
pub const LOG_STREAM_PREFIX: &str = "run";

/// The names of the roles that a team's jobs share, of the execution role and of the schedule role. They have a part less
/// than those of a job's own roles.
pub fn team_roles(deployment: &Deployment, team: &TeamName) -> [String; 2] {
    let Deployment { stack, region, .. } = deployment;
    ["execution", "schedules"].map(|last| shortened(&format!("{stack}_{team}_{region}_{last}")))
}

/// The names of one job's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Task definition family, own cluster: `<stack>_<team>_<job>`, at most 226 characters.
    pub base: String,
    pub execution_role: String,
    pub events_role: String,
    /// Of the rule, and of the schedule of EventBridge Scheduler.
    pub schedule_rule: String,
    pub failure_rule: String,
    pub topic: String,
    pub log_group: String,
}

impl Names {
    pub fn of(deployment: &Deployment, key: &JobKey) -> Names {
        let stack = &deployment.stack;
        // IAM knows no regions: without it, the same stack in a second region would find the first
        // one's roles and take them for its own.
        let region = &deployment.region;
        let base = format!("{stack}_{}_{}", key.team, key.job);
        Names {
            execution_role: shortened(&format!("{base}_{region}_execution")),
            events_role: shortened(&format!("{base}_{region}_events")),
            schedule_rule: shortened(&base),
            failure_rule: shortened(&format!("{base}_failure")),
            topic: format!("{base}_failure"),
            log_group: format!("/cronplane/{stack}/{}/{}", key.team, key.job),
            base,
        }
    }

    /// Whether `started_by`, as ECS tells it of a task of this job, is the schedule rule, or the schedule
    /// of EventBridge Scheduler, which has the same name: ECS cuts that, and the task definition family
    /// says already whose task it is.
    pub fn is_schedule(&self, started_by: &str) -> bool {
        ["events-rule/", "chronos-schedule/"]
            .into_iter()
            .find_map(|engine| started_by.strip_prefix(engine))
            .is_some_and(|cut| !cut.is_empty() && self.schedule_rule.starts_with(cut))
    }
}

/// The job whose task definition family is `family`; `None` for one that is not of this stack.
pub fn job_of_family(deployment: &Deployment, family: &str) -> Option<JobKey> {
    let mut parts = family.split('_');
    let (stack, team, job) = (parts.next()?, parts.next()?, parts.next()?);
    if stack != deployment.stack || parts.next().is_some() {
        return None;
    }
    Some(JobKey::new(TeamName::parse(team).ok()?, JobName::parse(job).ok()?))
}

/// `name`, or where it is longer than 64 characters, its beginning and a hash of all of it.
fn shortened(name: &str) -> String {
    if name.len() <= SHORT_MAX {
        return name.to_owned();
    }
    // Stack, team and job are ASCII: any cut is between characters.
    let kept = &name[..SHORT_MAX - HASH_DIGITS - 1];
    format!("{kept}_{}", &hex_sha256(name.as_bytes())[..HASH_DIGITS])
}

/// The SHA-256 of `bytes`, in lower-case hexadecimal digits.
pub fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deployment::for_tests as deployment;

    fn key(team: &str, job: &str) -> JobKey {
        JobKey::new(TeamName::parse(team).unwrap(), JobName::parse(job).unwrap())
    }

    #[test]
    fn names_are_made_of_stack_team_and_job() {
        let names = Names::of(&deployment(), &key("platform", "hello"));
        assert_eq!(names.base, "cp_platform_hello");
        assert_eq!(names.execution_role, "cp_platform_hello_eu-west-1_execution");
        assert_eq!(names.failure_rule, "cp_platform_hello_failure");
        assert_eq!(names.log_group, "/cronplane/cp/platform/hello");
        for (started_by, expected) in [
            ("events-rule/cp_platform_hello", true),
            ("events-rule/cp_platform_hel", true),
            ("events-rule/cp_platform_help", false),
            ("events-rule/", false),
            ("chronos-schedule/cp_platform_hello", true),
            ("chronos-schedule/cp_platform_help", false),
            ("chronos-schedule/", false),
            ("ecs-svc/cp_platform_hello", false),
            ("", false),
        ] {
            assert_eq!(names.is_schedule(started_by), expected, "{started_by}");
        }
    }

    #[test]
    fn a_teams_roles_have_names_of_their_own() {
        let team = TeamName::parse("platform").unwrap();
        let names = team_roles(&deployment(), &team);
        assert_eq!(names, ["cp_platform_eu-west-1_execution", "cp_platform_eu-west-1_schedules"]);
        // Of a job that has the region's name too.
        let job = Names::of(&deployment(), &key("platform", "eu-west-1"));
        assert!(!names.contains(&job.execution_role) && !names.contains(&job.events_role));
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let first = Names::of(&deployment(), &key(&"t".repeat(32), &"j".repeat(64)));
        let second =
            Names::of(&deployment(), &key(&"t".repeat(32), &format!("{}k", "j".repeat(63))));
        let short = |names: &Names| {
            [
                names.execution_role.clone(),
                names.events_role.clone(),
                names.schedule_rule.clone(),
                names.failure_rule.clone(),
            ]
        };
        let mut all: Vec<String> = short(&first).into_iter().chain(short(&second)).collect();
        assert!(all.iter().all(|name| name.len() <= 64));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn the_family_tells_the_job_whole() {
        let deployment = deployment();
        for (team, job) in [("a", "b"), ("a-b", "c"), ("a", "b-c")] {
            let key = key(team, job);
            let names = Names::of(&deployment, &key);
            assert_eq!(job_of_family(&deployment, &names.base), Some(key));
        }
        for foreign in ["cp_a", "cp_a_b_c", "other_a_b", "cp", "", "cp_A_b", "cp__b"] {
            assert_eq!(job_of_family(&deployment, foreign), None, "{foreign}");
        }
    }
}
