//! A job is deleted: everything goes, once its tasks have ended.

use std::collections::{BTreeMap, BTreeSet};

use cronplane::domain::job::{Deletion, Phase, ResourceKind, ResourceState};
use cronplane::error::Error;

use super::{all_names, names, our_tags};
use crate::cloud::Cloud;
use crate::job::{BASE, create, delete, key, moment, stored};
use crate::task;

#[tokio::test]
async fn made_and_deleted_twice_over_nothing_is_made_twice_and_nothing_is_left() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let mut ids = BTreeSet::new();
    for round in 1..=2 {
        let start = 1000 * round;
        let view = create(&app, moment(start)).await.unwrap();
        assert_eq!(view.job.phase, Phase::Ready);
        ids.insert(view.job.id);
        let expected: BTreeSet<String> =
            all_names().into_iter().map(|name| name.replace(":1", &format!(":{round}"))).collect();
        assert_eq!(names(&cloud), expected);
        assert!(delete(&app, moment(start + 100)).await.unwrap().is_none());
        assert!(stored(&app).await.is_none());
        let left = cloud.resources();
        let [(name, group)] = &left.into_iter().collect::<Vec<_>>()[..] else {
            panic!("more than the log group is left");
        };
        assert_eq!(name, "log group /cronplane/cronplane/platform/nightly-report");
        assert_eq!(group.tags, our_tags());
        let again = delete(&app, moment(start + 200)).await;
        assert!(matches!(again, Err(Error::NotFound(_))), "{again:?}");
    }
    assert_eq!(ids.len(), 2);
    assert_eq!(cloud.state().ecs.task_definitions.len(), 2);
    assert_eq!(app.sweep(moment(9000)).await.unwrap().jobs, 0);
}

#[tokio::test]
async fn the_log_group_goes_when_it_is_asked_for() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    let deletion = Deletion { delete_logs: true, stop_tasks: false };
    let gone = app.job_delete(&key(), deletion, moment(60)).await.unwrap();
    assert!(gone.is_none());
    assert_eq!(cloud.resources(), BTreeMap::new());
}

#[tokio::test]
async fn a_deletion_waits_for_running_tasks() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.state().ecs.tasks.push(task::running(BASE, "0a"));
    let before = names(&cloud);

    let waiting = delete(&app, moment(60)).await.unwrap().unwrap();
    assert_eq!(waiting.job.phase, Phase::Deleting);
    assert_eq!(waiting.job.reason.as_deref(), Some("waiting for 1 task to end"));
    assert_eq!(waiting.next_starts, []);
    // What starts tasks is gone first of all.
    let left: BTreeSet<String> = names(&cloud);
    let gone: Vec<&String> = before.difference(&left).collect();
    assert_eq!(gone, [&format!("rule {BASE}"), &format!("task definition {BASE}:1")]);
    let state = |kind| waiting.job.resources[&kind].state;
    assert_eq!(state(ResourceKind::ScheduleRule), ResourceState::Removed);
    assert_eq!(state(ResourceKind::Topic), ResourceState::Ready);
    assert_eq!(cloud.state().ecs.tasks[0].desired_status(), Some("RUNNING"));

    // What a deletion began is not taken back.
    for enabled in [true, false] {
        let refused = app.job_set_enabled(&key(), enabled, moment(70)).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }
    let refused = create(&app, moment(70)).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");

    app.sweep(moment(200)).await.unwrap();
    assert!(stored(&app).await.is_some());
    // It is being stopped, and still writes its last lines.
    task::ending(&mut cloud.state().ecs.tasks[0]);
    app.sweep(moment(400)).await.unwrap();
    assert!(stored(&app).await.is_some());
    task::ended(&mut cloud.state().ecs.tasks[0]);
    app.sweep(moment(600)).await.unwrap();
    assert!(stored(&app).await.is_none());
    assert_eq!(cloud.resources().len(), 1);
}

#[tokio::test]
async fn a_deletion_stops_running_tasks_when_it_is_asked_to() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    // More than one page of them.
    for number in 0..101 {
        let task = task::running(BASE, &format!("{number:032x}"));
        cloud.state().ecs.tasks.push(task);
    }
    delete(&app, moment(60)).await.unwrap().unwrap();
    assert!(!cloud.take_writes().contains(&"ecs:StopTask"));
    // Asked for later, it still counts.
    let deletion = Deletion { stop_tasks: true, delete_logs: false };
    let waiting = app.job_delete(&key(), deletion, moment(70)).await.unwrap();
    let reason = waiting.unwrap().job.reason.unwrap();
    assert_eq!(reason, "waiting for 101 tasks to end");
    for task in &mut cloud.state().ecs.tasks {
        assert_eq!(task.desired_status(), Some("STOPPED"));
        assert_eq!(task.stopped_reason(), Some("The job is being deleted"));
        task::ended(task);
    }
    // And asked for without it, it is not taken back.
    assert!(delete(&app, moment(80)).await.unwrap().is_none());
    assert!(stored(&app).await.is_none());
}
