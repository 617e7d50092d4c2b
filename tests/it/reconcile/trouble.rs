//! What AWS refuses, and what it does not answer.

use std::collections::{BTreeMap, BTreeSet};

use cronplane::domain::job::{Job, Phase, ResourceKind, ResourceState};

use super::{ROLE_DELAY, names};
use crate::cloud::{Cloud, Effect, Standing, TargetRefusal};
use crate::job::{BASE, create, delete, moment, short_moment, stored, sweep_for_an_hour};

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

/// The job and its resources, without what is different each time.
fn outcome(cloud: &Cloud, job: Option<Job>) -> (Option<Job>, BTreeMap<String, Standing>) {
    let job = job.map(|job| Job { id: String::new(), ..job });
    (job, cloud.resources())
}

/// Every call of a create fails once, before and after it has its effect. The calls are counted,
/// not listed: what a later create calls is in it.
#[tokio::test]
async fn whatever_call_of_a_create_is_lost_it_ends_the_same() {
    let clean = Cloud::default();
    let app = clean.app();
    create(&app, moment(0)).await.unwrap();
    let calls = clean.take_calls();
    let wanted = outcome(&clean, stored(&app).await);
    assert!(calls.len() > 20, "{calls:?}");

    for effect in [Effect::None, Effect::Done] {
        for (number, call) in calls.iter().enumerate() {
            let cloud = Cloud::default();
            let app = cloud.app();
            cloud.lose(number, effect);
            let answer = create(&app, short_moment(0)).await;
            assert!(cloud.has_failed());
            if stored(&app).await.is_none() {
                assert_eq!(call.operation, "dynamodb:PutItem");
                assert!(answer.is_err());
                assert_eq!(names(&cloud), BTreeSet::new());
                create(&app, moment(0)).await.unwrap();
            }
            sweep_for_an_hour(&app, 0).await;
            assert_eq!(outcome(&cloud, stored(&app).await), wanted, "{call:?} {effect:?}");
            let state = cloud.state();
            assert_eq!(state.ecs.task_definitions.len(), 1, "{call:?} {effect:?}");
            assert_eq!(state.sns.asked_to_confirm.len(), 1, "{call:?} {effect:?}");
        }
    }
}

#[tokio::test]
async fn whatever_call_of_a_deletion_is_lost_it_ends_the_same() {
    let clean = Cloud::default();
    let app = clean.app();
    create(&app, moment(0)).await.unwrap();
    clean.take_calls();
    delete(&app, moment(10)).await.unwrap();
    let calls = clean.take_calls();
    let wanted = outcome(&clean, None);
    assert!(calls.len() > 15, "{calls:?}");

    for effect in [Effect::None, Effect::Done] {
        for (number, call) in calls.iter().enumerate() {
            let cloud = Cloud::default();
            let app = cloud.app();
            create(&app, moment(0)).await.unwrap();
            cloud.lose(number, effect);
            let answer = delete(&app, short_moment(10)).await;
            assert!(cloud.has_failed());
            if stored(&app).await.is_some_and(|job| job.deletion.is_none()) {
                assert!(answer.is_err(), "{call:?}");
                delete(&app, moment(20)).await.unwrap();
            }
            sweep_for_an_hour(&app, 20).await;
            assert_eq!(outcome(&cloud, stored(&app).await), wanted, "{call:?} {effect:?}");
        }
    }
}
