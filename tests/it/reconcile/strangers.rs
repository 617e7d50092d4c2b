//! What has a name of ours and is not ours is left alone.

use aws_sdk_ecs::types::Tag;
use cronplane::domain::job::{Deletion, Phase, ResourceKind, ResourceState};
use serde_json::json;

use super::{all_names, names, our_tags};
use crate::cloud::{Cloud, Cluster, LogGroup, Role, Rule, State, Tags, Topic};
use crate::job::{
    BASE, ROLE_BASE, create, definition, key, moment, stored, sweep_for_an_hour, team,
};
use crate::task;

/// Puts a stranger's resource with these tags where the job's resource of `kind` would be.
fn occupy(state: &mut State, kind: ResourceKind, tags: Tags) -> String {
    match kind {
        ResourceKind::Cluster => {
            let cluster = Cluster { tags, ..Cluster::default() };
            state.ecs.clusters.insert(BASE.to_owned(), cluster);
            format!("cluster {BASE}")
        }
        ResourceKind::LogGroup => {
            let name = "/cronplane/cronplane/platform/nightly-report";
            let group = LogGroup { tags, ..LogGroup::default() };
            state.logs.groups.insert(name.to_owned(), group);
            format!("log group {name}")
        }
        ResourceKind::ExecutionRole | ResourceKind::EventsRole => {
            let last = if kind == ResourceKind::EventsRole { "events" } else { "execution" };
            let name = format!("{ROLE_BASE}_{last}");
            state.iam.roles.insert(name.clone(), Role { tags, ..Role::default() });
            format!("role {name}")
        }
        ResourceKind::Topic => {
            let name = format!("{BASE}_failure");
            let topic = Topic { tags, ..Topic::default() };
            state.sns.topics.insert(name.clone(), topic);
            format!("topic {name}")
        }
        ResourceKind::TaskDefinition => {
            let mut input = task::registration(BASE);
            let tag = |(key, value)| Tag::builder().key(key).value(value).build();
            input.tags = Some(tags.into_iter().map(tag).collect());
            state.ecs.register(&input);
            format!("task definition {BASE}:1")
        }
        ResourceKind::ScheduleRule | ResourceKind::FailureRule => {
            let last = if kind == ResourceKind::FailureRule { "_failure" } else { "" };
            let name = format!("{BASE}{last}");
            let rule = Rule { enabled: true, tags, ..Rule::default() };
            state.events.rules.insert(name.clone(), rule);
            format!("rule {name}")
        }
        ResourceKind::Schedule => unreachable!("what is in the stack's group is the stack's"),
    }
}

/// Nobody's tags, and ours but for one: of another job, another team, another stack or another tool.
fn tags_of_strangers() -> Vec<Tags> {
    let mut all = vec![Tags::new()];
    for name in our_tags().keys() {
        let mut tags = our_tags();
        tags.insert(name.clone(), "other".to_owned());
        all.push(tags.clone());
        tags.remove(name);
        all.push(tags);
    }
    all
}

#[tokio::test]
async fn what_is_not_ours_is_neither_taken_over_nor_deleted() {
    for (kind, tags) in ResourceKind::ALL
        .into_iter()
        .filter(|kind| *kind != ResourceKind::Schedule)
        .flat_map(|kind| tags_of_strangers().into_iter().map(move |tags| (kind, tags)))
    {
        let cloud = Cloud::default();
        let app = cloud.app();
        let name = occupy(&mut cloud.state(), kind, tags);
        let before = cloud.resources();

        let job = create(&app, moment(0)).await.unwrap().job;
        assert_eq!(job.phase, Phase::Failed, "{kind:?}");
        assert_eq!(job.observed_generation, 0, "{kind:?}");
        let reason = job.reason.unwrap();
        assert!(
            reason.starts_with(kind.as_str()) && reason.contains("was not made by Cronplane"),
            "{reason}"
        );
        let status = &job.resources[&kind];
        assert_eq!(status.state, ResourceState::Failed, "{kind:?}");
        assert!(status.reason.is_some() && status.arn.is_none(), "{status:?}");
        assert_eq!(cloud.resources()[&name], before[&name], "{kind:?}");

        // It is tried again, and comes to the same.
        assert_eq!(app.sweep(moment(61)).await.unwrap().jobs, 1);
        assert_eq!(stored(&app).await.unwrap().phase, Phase::Failed);
        assert_eq!(cloud.resources()[&name], before[&name], "{kind:?}");

        let deletion = Deletion { delete_logs: true, stop_tasks: true };
        let left = app.job_delete(&key(), deletion, moment(90)).await.unwrap();
        assert!(left.is_none(), "{kind:?}");
        assert_eq!(cloud.resources(), before, "{kind:?}");
    }
}

/// A family that a stranger registered under the job's name: its tasks are the stranger's.
#[tokio::test]
async fn a_deletion_stops_no_tasks_of_a_stranger() {
    let cloud = Cloud::default();
    let app = cloud.app();
    occupy(&mut cloud.state(), ResourceKind::TaskDefinition, Tags::new());
    occupy(&mut cloud.state(), ResourceKind::Cluster, Tags::new());
    cloud.state().ecs.tasks.push(task::running(BASE, "0a"));
    create(&app, moment(0)).await.unwrap();
    let deletion = Deletion { delete_logs: true, stop_tasks: true };
    let left = app.job_delete(&key(), deletion, moment(90)).await.unwrap();
    assert_eq!(cloud.state().ecs.tasks[0].desired_status(), Some("RUNNING"));
    assert!(left.is_none());
}

/// And that of a stranger, whose rule has the job's name, is not the job's to stop.
#[tokio::test]
async fn a_pause_stops_no_schedule_of_a_stranger() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let name = occupy(&mut cloud.state(), ResourceKind::ScheduleRule, Tags::new());
    let before = cloud.resources();
    let mut wanted = definition();
    wanted["enabled"] = json!(false);
    let job = app.job_create(team(), wanted, moment(0)).await.unwrap().job;
    assert_eq!(job.phase, Phase::Failed);
    assert_eq!(cloud.resources()[&name], before[&name]);
}

#[tokio::test]
async fn what_a_person_mended_is_made_without_being_asked() {
    let cloud = Cloud::default();
    let app = cloud.app();
    occupy(&mut cloud.state(), ResourceKind::Topic, Tags::new());
    create(&app, moment(0)).await.unwrap();
    cloud.state().sns.topics.clear();
    sweep_for_an_hour(&app, 0).await;
    let job = stored(&app).await.unwrap();
    assert_eq!((job.phase, job.attempts), (Phase::Ready, 0));
    assert_eq!(job.reason, None);
    assert_eq!(names(&cloud), all_names());
}
