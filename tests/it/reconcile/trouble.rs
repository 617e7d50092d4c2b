//! What AWS refuses, and what it does not answer.

use std::collections::{BTreeMap, BTreeSet};

use cronplane::domain::job::{Job, Phase, ResourceKind, ResourceState};
use cronplane::error::Error;

use super::{ROLE_DELAY, all_names, names};
use crate::cloud::{Call, Cloud, Standing, TargetRefusal, Trouble};
use crate::job::{BASE, TEAM, create, delete, moment, short_moment, stored, sweep_for_an_hour};

/// A role that was made a moment ago is refused for a while.
#[tokio::test]
async fn the_delay_of_iam_is_waited_for() {
    for as_entry in [false, true] {
        let cloud = Cloud::default();
        let app = cloud.app();
        cloud.state().events.target_refusals.push_back(TargetRefusal {
            code: "ValidationException",
            message: ROLE_DELAY,
            as_entry,
        });
        let job = create(&app, moment(0)).await.unwrap().job;
        assert_eq!((job.phase, job.reason), (Phase::Ready, None), "{as_entry}");
        assert_eq!(cloud.state().events.rules[BASE].targets.len(), 1);
    }
}

/// It is waited for as long as the request has time, and by the sweeper after that.
#[tokio::test]
async fn a_delay_of_iam_that_outlasts_the_request_is_left_to_the_sweeper() {
    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.state().events.target_refusals.push_back(TargetRefusal {
        code: "ValidationException",
        message: ROLE_DELAY,
        as_entry: true,
    });
    let job = create(&app, short_moment(0)).await.unwrap().job;
    assert_eq!((job.phase, job.attempts), (Phase::Provisioning, 1));
    assert!(job.reason.unwrap().starts_with("schedule_rule: "));
    let status = &job.resources[&ResourceKind::ScheduleRule];
    assert_eq!(status.state, ResourceState::Pending);
    assert_eq!(app.sweep(moment(29)).await.unwrap().jobs, 0);
    assert_eq!(app.sweep(moment(31)).await.unwrap().jobs, 1);
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
}

#[tokio::test]
async fn another_validation_error_is_not_retried() {
    for as_entry in [false, true] {
        let cloud = Cloud::default();
        let app = cloud.app();
        cloud.state().events.target_refusals.push_back(TargetRefusal {
            code: "ValidationException",
            message: "Parameter NetworkConfiguration is not valid.",
            as_entry,
        });
        let job = create(&app, moment(0)).await.unwrap().job;
        assert_eq!(job.phase, Phase::Failed);
        let reason = job.reason.unwrap();
        assert!(reason.contains("NetworkConfiguration is not valid"), "{reason}");
        let calls = cloud.take_calls();
        let puts = calls.iter().filter(|call| call.operation == "events:PutTargets");
        assert_eq!(puts.count(), 2, "one for each rule");
    }
}

#[tokio::test]
async fn a_refusal_that_a_person_has_to_mend_is_tried_less_and_less_often() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let denied = "User: x is not authorized to perform: iam:CreateRole on resource: y";
    cloud.fail("iam:CreateRole", 1000, "AccessDenied", denied);
    let job = create(&app, moment(0)).await.unwrap().job;
    assert_eq!(job.phase, Phase::Failed);
    assert!(job.reason.unwrap().contains("AccessDenied"));
    let mut swept = Vec::new();
    for minute in 1..=180 {
        if app.sweep(moment(60 * minute)).await.unwrap().jobs == 1 {
            swept.push(minute);
        }
    }
    let pauses: Vec<i64> = swept.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert_eq!(pauses.last(), Some(&60));
}

/// The job, how many jobs its team has, and the job's resources, without what is different each time.
fn outcome(cloud: &Cloud, job: Option<Job>) -> (Option<Job>, String, BTreeMap<String, Standing>) {
    let job = job.map(|job| Job { id: String::new(), ..job });
    let jobs = cloud.state().table.item("TEAMS", TEAM).unwrap()["jobs"].as_n().unwrap().clone();
    (job, jobs, cloud.resources())
}

/// What hinders a job is told in it, unless it is the table that could not be written.
#[track_caller]
fn assert_told(job: Option<&Job>, call: &Call, trouble: Trouble) {
    if let Some(job) = job
        && !call.operation.starts_with("dynamodb:")
        && job.phase != Phase::Ready
    {
        let reason = job.reason.as_deref().unwrap_or_default();
        let told = match trouble {
            Trouble::LostBefore | Trouble::LostAfter => "no answer",
            Trouble::Throttled => "Rate exceeded",
            Trouble::Broken => "Service Unavailable",
            Trouble::Denied => "not authorized",
        };
        assert!(reason.contains(told), "{call:?} {trouble:?}: {reason}");
    }
}

/// Each call of a create in turn is lost before and after its effect, throttled, answered with a
/// fault, and denied. The calls are counted, not listed: what a later create calls is in it.
#[tokio::test]
async fn whatever_becomes_of_a_call_of_a_create_it_ends_the_same() {
    let clean = Cloud::default();
    let app = clean.app();
    create(&app, moment(0)).await.unwrap();
    let calls = clean.take_calls();
    let wanted = outcome(&clean, stored(&app).await);
    assert_eq!(wanted.1, "1");
    assert!(calls.len() > 20, "{calls:?}");

    for trouble in Trouble::ALL {
        for (number, call) in calls.iter().enumerate() {
            let cloud = Cloud::default();
            let app = cloud.app();
            cloud.trouble(number, trouble);
            let answer = create(&app, short_moment(0)).await;
            assert!(cloud.has_failed());
            let job = stored(&app).await;
            assert_told(job.as_ref(), call, trouble);
            if job.is_none() {
                // The team is read, and the job written.
                let is_write = |call: &Call| call.operation == "dynamodb:TransactWriteItems";
                let written = calls.iter().position(is_write).unwrap();
                assert!([0, written].contains(&number), "{call:?}");
                assert_eq!(calls[0].operation, "dynamodb:GetItem");
                assert!(answer.is_err());
                assert_eq!(names(&cloud), BTreeSet::new());
                create(&app, moment(0)).await.unwrap();
            }
            sweep_for_an_hour(&app, 0).await;
            assert_eq!(outcome(&cloud, stored(&app).await), wanted, "{call:?} {trouble:?}");
            let state = cloud.state();
            assert_eq!(state.ecs.task_definitions.len(), 1, "{call:?} {trouble:?}");
            assert_eq!(state.sns.asked_to_confirm.len(), 1, "{call:?} {trouble:?}");
        }
    }
}

#[tokio::test]
async fn whatever_becomes_of_a_call_of_a_deletion_it_ends_the_same() {
    let clean = Cloud::default();
    let app = clean.app();
    create(&app, moment(0)).await.unwrap();
    clean.take_calls();
    delete(&app, moment(10)).await.unwrap();
    let calls = clean.take_calls();
    let wanted = outcome(&clean, None);
    assert_eq!(wanted.1, "0");
    assert!(calls.len() > 15, "{calls:?}");

    for trouble in Trouble::ALL {
        for (number, call) in calls.iter().enumerate() {
            let cloud = Cloud::default();
            let app = cloud.app();
            create(&app, moment(0)).await.unwrap();
            cloud.trouble(number, trouble);
            let answer = delete(&app, short_moment(10)).await;
            assert!(cloud.has_failed());
            let job = stored(&app).await;
            if job.as_ref().is_some_and(|job| job.deletion.is_none()) {
                assert!(answer.is_err(), "{call:?}");
                delete(&app, moment(20)).await.unwrap();
            } else {
                assert_told(job.as_ref(), call, trouble);
            }
            sweep_for_an_hour(&app, 20).await;
            assert_eq!(outcome(&cloud, stored(&app).await), wanted, "{call:?} {trouble:?}");
        }
    }
}

/// Two at the same instant, of which only one has the lease: everything is made once.
#[tokio::test]
async fn two_reconciles_at_the_same_instant_make_everything_once() {
    for trouble in [None].into_iter().chain(Trouble::ALL.map(Some)) {
        // Not made yet, and with something left to do for the sweeper.
        let cloud = Cloud::default();
        let app = cloud.app();
        cloud.fail("iam:CreateRole", 1, "ServiceFailure", "later");
        let job = create(&app, short_moment(0)).await.unwrap().job;
        assert_eq!(job.phase, Phase::Provisioning);
        if let Some(trouble) = trouble {
            cloud.trouble(12, trouble);
        }
        let (first, second) = tokio::join!(app.sweep(moment(31)), app.sweep(moment(31)));
        // One that finds the other at it has nothing to do, and neither fails for it.
        let failures = [first, second].map(|swept| swept.map_or(1, |swept| swept.failures));
        assert!(trouble.is_some() || failures == [0, 0], "{failures:?}");
        sweep_for_an_hour(&app, 100).await;
        let job = stored(&app).await.unwrap();
        assert_eq!((job.phase, job.reason), (Phase::Ready, None), "{trouble:?}");
        assert_eq!(names(&cloud), all_names(), "{trouble:?}");
        let state = cloud.state();
        assert_eq!(state.ecs.task_definitions.len(), 1, "{trouble:?}");
        assert_eq!(state.sns.asked_to_confirm.len(), 1, "{trouble:?}");
    }
}

/// A create and a deletion of the same name at the same time: in the end the job is there whole, or
/// nothing of it is.
#[tokio::test]
async fn a_create_and_a_deletion_in_a_race_end_as_one_of_the_two() {
    let mut ended = BTreeSet::new();
    for wait in 0..24_u32 {
        let cloud = Cloud::default();
        let app = cloud.app();
        let deletion = async {
            // So many turns behind the create: somewhere between its first call and its last.
            for _ in 0..wait / 2 {
                tokio::task::yield_now().await;
            }
            delete(&app, moment(1)).await
        };
        // Whoever is first by a call: now the one, now the other.
        let creation = create(&app, moment(0));
        let (created, deleted) = if wait % 2 == 0 {
            tokio::join!(creation, deletion)
        } else {
            let (deleted, created) = tokio::join!(biased; deletion, creation);
            (created, deleted)
        };
        sweep_for_an_hour(&app, 10).await;
        let job = stored(&app).await;
        match (&job, &deleted) {
            // It came before there was anything to delete.
            (Some(job), Err(Error::NotFound(_))) => {
                assert_eq!(job.phase, Phase::Ready, "{wait}");
                assert!(created.is_ok(), "{wait}");
                assert_eq!(names(&cloud), all_names(), "{wait}");
            }
            (None, Ok(_)) => {
                let log_group = "log group /cronplane/cronplane/platform/nightly-report";
                let left = names(&cloud);
                assert!(left.iter().all(|name| name == log_group), "{wait}: {left:?}");
            }
            other => panic!("{wait}: {other:?}"),
        }
        ended.insert(job.is_some());
    }
    assert_eq!(ended.len(), 2, "the race was never tried both ways");
}
