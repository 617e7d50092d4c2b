//! The jobs of these tests, and the times at which things happen to them.

use std::time::Duration;

use cronplane::app::{App, Change, Changed, JobView, Moment, Precondition};
use cronplane::domain::ids::{JobKey, JobName, TeamName};
use cronplane::domain::job::{Deletion, Job, JobDefinition, Phase};
use cronplane::error::Result;
use cronplane::store::Store;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cloud::deployment;

pub(crate) const TEAM: &str = "platform";
pub(crate) const JOB: &str = "nightly-report";
/// What the names of the job's resources start with.
pub(crate) const BASE: &str = "cronplane_platform_nightly-report";
/// And those of its roles: IAM knows no regions.
pub(crate) const ROLE_BASE: &str = "cronplane_platform_nightly-report_us-west-2";

pub(crate) fn team() -> TeamName {
    TeamName::parse(TEAM).unwrap()
}

pub(crate) fn key() -> JobKey {
    JobKey::new(team(), JobName::parse(JOB).unwrap())
}

/// The smallest definition that works, and a subscriber.
pub(crate) fn definition() -> Value {
    json!({
        "name": JOB,
        "image": "busybox:1",
        "schedule": "rate(1 day)",
        "notifications": {"subscribers": [{"protocol": "email", "endpoint": "ops@example.com"}]},
    })
}

/// A job of this name as it is stored, before anything was made for it.
pub(crate) fn job_of(name: &str) -> Job {
    let mut wanted = definition();
    wanted["name"] = json!(name);
    Job {
        id: format!("id-of-{name}"),
        team: team(),
        definition: JobDefinition::read(wanted, &deployment()).unwrap(),
        generation: 1,
        observed_generation: 0,
        phase: Phase::Provisioning,
        reason: None,
        resources: Default::default(),
        pause: None,
        deletion: None,
        attempts: 0,
        created_at: at(0),
        updated_at: at(0),
        scheduled_since: at(0),
        former: Default::default(),
        past_clusters: Default::default(),
        unsettled: 0,
        recent_runs: Default::default(),
    }
}

/// So many seconds after the beginning of these tests' time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    let beginning: Timestamp = "2026-11-23T14:00:00Z".parse().unwrap();
    beginning + SignedDuration::from_secs(seconds)
}

/// A moment with as much time as a request has.
pub(crate) fn moment(seconds: i64) -> Moment {
    Moment { now: at(seconds), deadline: Instant::now() + Duration::from_secs(20) }
}

/// A moment with too little time to wait for anything: what fails is left to the sweeper.
pub(crate) fn short_moment(seconds: i64) -> Moment {
    Moment { now: at(seconds), deadline: Instant::now() + Duration::from_millis(450) }
}

pub(crate) async fn create(app: &App, moment: Moment) -> Result<JobView> {
    app.job_create(team(), definition(), moment).await
}

pub(crate) async fn delete(app: &App, moment: Moment) -> Result<Option<JobView>> {
    app.job_delete(&key(), Deletion::default(), moment).await
}

pub(crate) async fn put(app: &App, definition: Value, moment: Moment) -> Result<Changed> {
    app.job_change(&key(), Change::Replace(definition), &Precondition::None, moment).await
}

pub(crate) async fn patch(app: &App, patch: Value, moment: Moment) -> Result<Changed> {
    app.job_change(&key(), Change::Merge(patch), &Precondition::None, moment).await
}

/// Pauses the job in the table, as nobody, and nothing more.
pub(crate) async fn pause_stored(store: &Store, seconds: i64) -> Job {
    let known = store.job_get(&key()).await.unwrap().unwrap();
    let next = known.paused(None, None, at(seconds)).unwrap();
    store.job_redefine(&known, &next, at(seconds + 60), None).await.unwrap().unwrap()
}

/// The job as it is stored.
pub(crate) async fn stored(app: &App) -> Option<Job> {
    app.store.job_get(&key()).await.unwrap()
}

/// Sweeps again and again for an hour from `from`, long enough for a lease to run out and for the
/// pauses behind a few failures.
pub(crate) async fn sweep_for_an_hour(app: &App, from: i64) {
    for seconds in [61, 121, 182, 302, 602, 1202, 2402, 3602] {
        let swept = app.sweep(moment(from + seconds)).await.unwrap();
        assert_eq!(swept.failures, 0);
    }
}
