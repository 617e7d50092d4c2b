//! Two at the same job: the lease decides, and what comes meanwhile is not lost.

use cronplane::domain::job::Phase;
use cronplane::error::Error;

use super::{ROLE_DELAY, all_names, names};
use crate::cloud::{Cloud, TargetRefusal};
use crate::job::{BASE, create, delete, key, moment, stored};

/// While a create waits for IAM, the job is paused: the create goes on with the new intent.
#[tokio::test]
async fn an_intent_that_changes_during_a_reconcile_is_followed_by_it() {
    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.state().events.target_refusals.push_back(TargetRefusal {
        code: "ValidationException",
        message: ROLE_DELAY,
        as_entry: true,
    });
    let pause = async {
        let paused = app.job_set_enabled(&key(), false, moment(5)).await.unwrap();
        // The create holds the lease: the pause is stored, and not made by its own request.
        assert_eq!(paused.job.phase, Phase::Provisioning);
        assert!(cloud.state().events.rules[BASE].enabled);
    };
    let (created, ()) = tokio::join!(create(&app, moment(0)), pause);
    let job = created.unwrap().job;
    assert!(!job.definition.enabled);
    assert_eq!((job.phase, job.generation), (Phase::Ready, 2));
    assert_eq!(job.observed_generation, 2);
    assert_eq!(job, stored(&app).await.unwrap());
    assert!(!cloud.state().events.rules[BASE].enabled);
    assert_eq!(app.sweep(moment(3600)).await.unwrap().jobs, 0);
}

/// While a create waits for IAM, the job is deleted: the create takes away what it made.
#[tokio::test]
async fn a_deletion_during_a_create_is_followed_by_it() {
    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.state().events.target_refusals.push_back(TargetRefusal {
        code: "ValidationException",
        message: ROLE_DELAY,
        as_entry: false,
    });
    let delete = async {
        let deleting = delete(&app, moment(5)).await.unwrap().unwrap();
        assert_eq!(deleting.job.phase, Phase::Deleting);
    };
    let (created, ()) = tokio::join!(create(&app, moment(0)), delete);
    assert!(matches!(created, Err(Error::Conflict(_))), "{created:?}");
    assert!(stored(&app).await.is_none());
    assert_eq!(cloud.resources().len(), 1, "the log group");
}

/// A reconciler whose lease ran out, however that came, has lost the job to the next one.
#[tokio::test]
async fn a_lease_that_ran_out_is_taken_over() {
    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.state().events.target_refusals.push_back(TargetRefusal {
        code: "ValidationException",
        message: ROLE_DELAY,
        as_entry: true,
    });
    let take_over = async {
        // The lease lasts 90 seconds.
        assert_eq!(app.sweep(moment(89)).await.unwrap().jobs, 0);
        assert_eq!(app.sweep(moment(91)).await.unwrap().jobs, 1);
        assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
    };
    let (created, ()) = tokio::join!(create(&app, moment(0)), take_over);
    // It can't say how it ended, as it was not the one to end it.
    assert_eq!(created.unwrap().job.phase, Phase::Provisioning);
    let job = stored(&app).await.unwrap();
    assert_eq!((job.phase, job.observed_generation), (Phase::Ready, 1));
    assert_eq!(names(&cloud), all_names());
    assert_eq!(cloud.state().ecs.task_definitions.len(), 1);
}
