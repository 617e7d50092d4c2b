//! A job is paused and resumed.

use std::collections::BTreeMap;

use cronplane::domain::job::Phase;

use crate::cloud::{Cloud, Standing};
use crate::job::{BASE, at, create, key, moment, stored, sweep_for_an_hour};

#[tokio::test]
async fn pause_and_resume_change_the_state_of_the_rule_and_nothing_else() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let created = create(&app, moment(0)).await.unwrap().job;
    let before = cloud.resources();
    cloud.take_calls();

    let paused = app.job_set_enabled(&key(), false, moment(100)).await.unwrap();
    assert_eq!(paused.next_starts, []);
    let paused = paused.job;
    assert!(!paused.definition.enabled);
    assert_eq!((paused.phase, paused.generation), (Phase::Ready, 2));
    assert_eq!(paused.observed_generation, 2);
    assert_eq!(cloud.take_writes(), ["events:PutRule"]);
    assert!(!cloud.state().events.rules[BASE].enabled);
    assert!(cloud.state().events.rules[&format!("{BASE}_failure")].enabled);
    let others = |mut all: BTreeMap<String, Standing>| {
        all.remove(&format!("rule {BASE}"));
        all
    };
    assert_eq!(others(cloud.resources()), others(before.clone()));

    let resumed = app.job_set_enabled(&key(), true, moment(200)).await.unwrap();
    assert_eq!(resumed.next_starts.len(), 5);
    let resumed = resumed.job;
    assert_eq!((resumed.phase, resumed.generation), (Phase::Ready, 3));
    // A rate counts from when its rule was switched on.
    assert_eq!(resumed.scheduled_since, at(200));
    assert_eq!(resumed.id, created.id);
    assert_eq!(cloud.resources(), before);
}

/// A pause that can't be carried through stops the schedule all the same.
#[tokio::test]
async fn a_pause_that_is_hindered_stops_the_schedule() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.fail("events:PutRule", 1, "LimitExceededException", "You have reached the quota.");
    let paused = app.job_set_enabled(&key(), false, moment(60)).await.unwrap().job;
    assert_eq!(paused.phase, Phase::Failed);
    assert!(paused.reason.unwrap().contains("quota"));
    assert!(!cloud.state().events.rules[BASE].enabled);
    sweep_for_an_hour(&app, 60).await;
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
    assert!(!cloud.state().events.rules[BASE].enabled);
}
