//! A dry run tells what the request would come to and every call that it would make, and makes none.

use cronplane::app::{App, Change, Foreseen, JobView, Precondition};
use cronplane::domain::job::{Deletion, Job, Phase, ResourceState};
use cronplane::error::Error;
use serde_json::{Value, json};

use crate::cloud::{Cloud, Cluster, arn};
use crate::containers::everything;
use crate::job::{BASE, at, create, definition, delete, key, moment, patch, put, stored, team};
use crate::task;

/// A cloud with a cluster that jobs can name, and without the job.
fn cloud() -> Cloud {
    let cloud = Cloud::default();
    let capacity_providers = vec!["FARGATE".to_owned(), "FARGATE_SPOT".to_owned()];
    let shared = Cluster { capacity_providers, ..Cluster::default() };
    cloud.state().ecs.clusters.insert("shared".to_owned(), shared);
    cloud
}

/// The operations that were foreseen, in the order of their names: some are made at the same time.
fn operations<T>(foreseen: &Foreseen<T>) -> Vec<&'static str> {
    let mut operations: Vec<&str> = foreseen.calls.iter().map(|call| call.operation).collect();
    operations.sort_unstable();
    for call in &foreseen.calls {
        assert!(!call.resource.is_empty(), "{call:?}");
    }
    operations
}

/// No call since the last look changed anything, in the table or elsewhere.
#[track_caller]
fn assert_nothing_written(cloud: &Cloud) {
    let written: Vec<_> = cloud.take_calls().into_iter().filter(|call| call.writes).collect();
    assert_eq!(written, []);
}

fn written(cloud: &Cloud) -> Vec<&'static str> {
    let mut writes = cloud.take_writes();
    writes.sort_unstable();
    writes
}

/// A job without what only the real one has: its id, and the number of its revision.
fn compared(job: &Job) -> Job {
    let mut job = Job { id: String::new(), ..job.clone() };
    for status in job.resources.values_mut() {
        // The target names the revision.
        status.applied = None;
        if let Some((family, revision)) = status.arn.as_deref().and_then(|arn| arn.rsplit_once(':'))
            && revision.parse::<u32>().is_ok()
        {
            status.arn = Some(family.to_owned());
        }
    }
    job
}

async fn change_dry(app: &App, change: Change, seconds: i64) -> Foreseen<(JobView, bool)> {
    let moment = moment(seconds);
    app.job_change_dry(&key(), &change, &Precondition::None, moment).await.unwrap()
}

#[tokio::test]
async fn a_create_is_foreseen_call_for_call() {
    for (wanted, replace) in [(definition(), false), (definition(), true), (everything(), false)] {
        let cloud = cloud();
        let app = cloud.app();
        let foreseen = if replace {
            let dry = change_dry(&app, Change::Replace(wanted.clone()), 0).await;
            assert!(dry.outcome.1);
            Foreseen { outcome: dry.outcome.0, calls: dry.calls }
        } else {
            app.job_create_dry(team(), wanted.clone(), moment(0)).await.unwrap()
        };
        assert_nothing_written(&cloud);
        assert!(stored(&app).await.is_none());
        cloud.take_calls();
        let job = app.job_create(team(), wanted, moment(0)).await.unwrap().job;
        assert_eq!(operations(&foreseen), written(&cloud));
        assert_eq!(compared(&foreseen.outcome.job), compared(&job));
        assert_eq!(job.phase, Phase::Ready);
        assert_ne!(foreseen.outcome.job.id, job.id);
    }
}

#[tokio::test]
async fn a_change_is_foreseen_call_for_call() {
    let changes = [
        json!({}),
        json!({"image": "busybox:2"}),
        json!({"description": "x", "tags": {"stage": null, "owner": "ops"}}),
        json!({"cluster": "shared"}),
        json!({"capacity": "spot"}),
        json!({"enabled": false}),
        json!({"log_retention_days": 7, "notifications": null}),
        json!({"notifications": {"subscribers": [{"protocol": "sqs", "endpoint": arn("sqs", "a")}]}}),
        json!({"secrets": {"A": arn("ssm", "parameter/app/a")}, "cluster": null}),
        json!({"execution_role": "arn:aws:iam::111122223333:role/app-execution"}),
    ];
    let cloud = cloud();
    let app = cloud.app();
    let mut wanted = definition();
    wanted["tags"] = json!({"stage": "test"});
    app.job_create(team(), wanted, moment(0)).await.unwrap();
    for topic in cloud.state().sns.topics.values_mut() {
        topic.subscriptions[0].2 = arn("sns", "topic:1");
    }
    for (number, change) in (1..).zip(changes) {
        // Somebody took it away, and it is wanted again.
        cloud.state().ecs.clusters.get_mut("shared").unwrap().capacity_providers =
            vec!["FARGATE_SPOT".to_owned()];
        let before = stored(&app).await;
        cloud.take_calls();
        let foreseen = change_dry(&app, Change::Merge(change.clone()), 100 * number).await;
        assert_nothing_written(&cloud);
        assert_eq!(stored(&app).await, before, "{change}");
        cloud.take_calls();
        let real = patch(&app, change.clone(), moment(100 * number)).await.unwrap();
        assert_eq!(operations(&foreseen), written(&cloud), "{change}");
        assert!(!foreseen.outcome.1);
        assert_eq!(compared(&foreseen.outcome.0.job), compared(&real.view.job), "{change}");
        assert_eq!(foreseen.calls.is_empty(), change == json!({}), "{change}");
    }
}

#[tokio::test]
async fn a_pause_is_foreseen_call_for_call() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    for (seconds, enabled) in [(10, true), (20, false), (30, false), (40, true)] {
        cloud.take_calls();
        let foreseen = app.job_set_enabled_dry(&key(), enabled, moment(seconds)).await.unwrap();
        assert_nothing_written(&cloud);
        let real = app.job_set_enabled(&key(), enabled, moment(seconds)).await.unwrap();
        assert_eq!(operations(&foreseen), written(&cloud));
        assert_eq!(compared(&foreseen.outcome.job), compared(&real.job));
    }
}

/// With what is said of it, on a job that runs and on one that is paused already.
#[tokio::test]
async fn what_is_said_of_a_pause_is_foreseen() {
    let cloud = Cloud::default();
    let app = cloud.app().on_behalf_of(crate::audit::author("pause_job"));
    create(&app, moment(0)).await.unwrap();
    let first = json!({"note": "one", "resume_at": at(9000).to_string()});
    for (seconds, said) in
        [(10, first.clone()), (20, first), (30, json!({"note": "two"})), (40, json!({}))]
    {
        cloud.take_calls();
        let foreseen = app.job_pause_dry(&key(), said.clone(), moment(seconds)).await.unwrap();
        assert_nothing_written(&cloud);
        let real = app.job_pause(&key(), said, moment(seconds)).await.unwrap();
        assert_eq!(operations(&foreseen), written(&cloud));
        assert_eq!(compared(&foreseen.outcome.job), compared(&real.job));
        assert!(real.job.pause.is_some());
    }
    let wrong = app.job_pause_dry(&key(), json!({"note": ""}), moment(50)).await;
    assert!(matches!(wrong, Err(Error::Invalid(_))), "{wrong:?}");
}

#[tokio::test]
async fn a_deletion_is_foreseen_call_for_call() {
    for delete_logs in [false, true] {
        let cloud = Cloud::default();
        let app = cloud.app();
        create(&app, moment(0)).await.unwrap();
        let deletion = Deletion { stop_tasks: false, delete_logs };
        cloud.take_calls();
        let foreseen = app.job_delete_dry(&key(), deletion, moment(10)).await.unwrap();
        assert_nothing_written(&cloud);
        assert!(foreseen.outcome.is_none());
        assert!(app.job_delete(&key(), deletion, moment(10)).await.unwrap().is_none());
        assert_eq!(operations(&foreseen), written(&cloud));
    }
}

#[tokio::test]
async fn a_deletion_that_waits_is_foreseen_with_what_it_waits_for() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.state().ecs.tasks.push(task::running(BASE, "0a"));
    for stop_tasks in [false, true] {
        let deletion = Deletion { stop_tasks, delete_logs: false };
        cloud.take_calls();
        let foreseen = app.job_delete_dry(&key(), deletion, moment(10)).await.unwrap();
        assert_nothing_written(&cloud);
        let view = foreseen.outcome.as_ref().unwrap();
        assert_eq!(view.job.phase, Phase::Deleting);
        assert_eq!(view.job.reason.as_deref(), Some("waiting for 1 task to end"));
        let stops = operations(&foreseen).iter().filter(|one| **one == "ecs:StopTask").count();
        assert_eq!(stops, usize::from(stop_tasks));
        assert!(!operations(&foreseen).contains(&"ecs:DeleteCluster"));
    }
    assert_eq!(stored(&app).await.unwrap().deletion, None);
}

#[tokio::test]
async fn a_test_of_the_notifications_is_foreseen() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    // It ran out unconfirmed.
    cloud.state().sns.topics.values_mut().for_each(|topic| topic.subscriptions.clear());
    cloud.take_calls();
    let foreseen = app.notification_test_dry(&key()).await.unwrap();
    assert_nothing_written(&cloud);
    app.notification_test(&key(), moment(0)).await.unwrap();
    assert_eq!(operations(&foreseen), written(&cloud));
    assert_eq!(operations(&foreseen), ["events:PutEvents", "sns:Subscribe"]);
}

/// What would be refused is refused, and what would stand in the way is told.
#[tokio::test]
async fn a_dry_run_is_refused_where_the_request_would_be() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let patched = Change::Merge(json!({"image": "busybox:2"}));
    let dry = app.job_change_dry(&key(), &patched, &Precondition::None, moment(0)).await;
    assert!(matches!(dry, Err(Error::NotFound(_))), "{dry:?}");
    let dry = app.job_delete_dry(&key(), Deletion::default(), moment(0)).await;
    assert!(matches!(dry, Err(Error::NotFound(_))), "{dry:?}");
    let mut wanted = definition();
    wanted["cluster"] = json!("nowhere");
    let dry = app.job_create_dry(team(), wanted, moment(0)).await;
    assert!(matches!(dry, Err(Error::Invalid(_))), "{dry:?}");

    create(&app, moment(0)).await.unwrap();
    let dry = app.job_create_dry(team(), definition(), moment(0)).await;
    assert!(matches!(dry, Err(Error::AlreadyExists(_))), "{dry:?}");
    let stale = Precondition::Match(vec!["another.1".to_owned()]);
    let dry = app.job_change_dry(&key(), &patched, &stale, moment(0)).await;
    assert!(matches!(dry, Err(Error::StaleVersion(_))), "{dry:?}");
    assert!(delete(&app, moment(1)).await.unwrap().is_none());

    // Somebody else has a topic of the name.
    assert!(stored(&app).await.is_none());
    let topic = crate::cloud::Topic::default();
    cloud.state().sns.topics.insert(format!("{BASE}_failure"), topic);
    let foreseen = app.job_create_dry(team(), definition(), moment(4)).await.unwrap();
    let job = foreseen.outcome.job;
    assert_eq!(job.phase, Phase::Failed);
    assert!(job.reason.unwrap().contains("was not made by Cronplane"));
    let failed = job.resources.values().filter(|one| one.state == ResourceState::Failed);
    assert_eq!(failed.count(), 1);
}

/// A change that an earlier request left unfinished is part of what the next one would do.
#[tokio::test]
async fn what_is_unfinished_is_foreseen_as_well() {
    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.fail("ecs:RegisterTaskDefinition", 1, "ClientException", "no");
    let job = create(&app, moment(0)).await.unwrap().job;
    assert_eq!(job.phase, Phase::Failed);
    cloud.take_calls();
    let foreseen = change_dry(&app, Change::Replace(definition()), 10).await;
    put(&app, definition(), moment(10)).await.unwrap();
    let real = written(&cloud);
    assert_eq!(operations(&foreseen), real);
    assert!(real.contains(&"ecs:RegisterTaskDefinition") && !real.contains(&"iam:CreateRole"));
}

#[test]
fn the_value_of_a_call_tells_the_resource() {
    let dry_run = cronplane::domain::dry_run::DryRun::default();
    dry_run.clone().note("ecs:StopTask", "arn:task");
    let calls: Vec<Value> =
        dry_run.calls().iter().map(|call| json!([call.operation, call.resource])).collect();
    assert_eq!(calls, [json!(["ecs:StopTask", "arn:task"])]);
}
