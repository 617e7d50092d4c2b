//! What the jobs of a team, and of a stack, share where EventBridge Scheduler carries all of them.

use std::collections::BTreeSet;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use cronplane::app::App;
use cronplane::domain::deployment::Deployment;
use cronplane::domain::job::{Deletion, Phase, ResourceKind};
use cronplane::domain::schedule::EngineChoice;
use cronplane::events::apply_batch;
use serde_json::{Value, json};

use super::{all_names, names};
use crate::cloud::{Cloud, Trouble, arn, deployment, wide_team};
use crate::failure_rule::{container, ended, put, rendered};
use crate::job::{
    BASE, ROLE_BASE, create, definition, delete, key, moment, patch, short_moment, stored,
    sweep_for_an_hour, team,
};

const TEAM_ROLES: [&str; 2] =
    ["role cronplane_platform_us-west-2_execution", "role cronplane_platform_us-west-2_schedules"];

fn app_with(cloud: &Cloud, engine: EngineChoice) -> App {
    cloud.app_of(Deployment { engine, ..deployment() })
}

fn shared() -> (Cloud, App) {
    let cloud = Cloud::default();
    let app = app_with(&cloud, EngineChoice::Scheduler);
    (cloud, app)
}

/// What a job has for itself.
fn of_job(base: &str) -> BTreeSet<String> {
    let job = base.rsplit('_').next().unwrap();
    BTreeSet::from([
        format!("cluster {base}"),
        format!("log group /cronplane/cronplane/platform/{job}"),
        format!("topic {base}_failure"),
        format!("task definition {base}:1"),
        format!("schedule {base}"),
    ])
}

fn own_roles() -> BTreeSet<String> {
    ["execution", "events"].map(|last| format!("role {ROLE_BASE}_{last}")).into()
}

#[tokio::test]
async fn a_second_job_of_a_team_takes_no_rule_and_no_role() {
    let (cloud, app) = shared();
    let view = create(&app, moment(0)).await.unwrap();
    assert_eq!(view.job.phase, Phase::Ready, "{:?}", view.job.reason);
    let mut expected = of_job(BASE);
    expected.extend(TEAM_ROLES.map(str::to_owned));
    assert_eq!(names(&cloud), expected);
    cloud.take_calls();

    let mut second = definition();
    second["name"] = json!("second");
    let second = app.job_create(team(), second, moment(10)).await.unwrap().job;
    assert_eq!(second.phase, Phase::Ready, "{:?}", second.reason);
    expected.extend(of_job("cronplane_platform_second"));
    assert_eq!(names(&cloud), expected);
    let writes = cloud.take_writes();
    assert!(writes.iter().all(|call| !call.starts_with("iam:")), "{writes:?}");
    assert!(writes.iter().all(|call| !call.starts_with("events:")), "{writes:?}");

    // The first goes, and the second keeps what both had.
    assert!(delete(&app, moment(20)).await.unwrap().is_none());
    assert!(TEAM_ROLES.iter().all(|role| names(&cloud).contains(*role)));
    let role = arn("iam", "").replace(&format!(":{}:", crate::cloud::REGION), "::");
    let target = &cloud.state().scheduler.schedules["cronplane_platform_second"].target;
    let name = "role/cronplane/cronplane_platform_us-west-2_schedules";
    assert_eq!(target.role_arn(), format!("{role}{name}"));
}

#[tokio::test]
async fn the_roles_of_a_team_are_for_its_jobs_alone() {
    let (cloud, app) = shared();
    create(&app, moment(0)).await.unwrap();
    let roles = cloud.state().iam.roles.clone();
    let schedules = &roles["cronplane_platform_us-west-2_schedules"];
    assert!(schedules.boundary.is_some());
    assert!(!schedules.tags.contains_key("cronplane:job"));
    assert!(schedules.trust.contains("scheduler.amazonaws.com"));
    assert!(!schedules.trust.contains("events.amazonaws.com"));
    let policy: Value = serde_json::from_str(&schedules.policies["cronplane"]).unwrap();
    let statement = |sid: &str| {
        let all = policy["Statement"].as_array().unwrap();
        all.iter().find(|one| one["Sid"] == sid).unwrap().clone()
    };
    let family = arn("ecs", "task-definition/cronplane_platform_*:*");
    assert_eq!(statement("RunTask")["Resource"], family);
    assert_eq!(
        statement("PassRoles")["Resource"],
        json!([
            "arn:aws:iam::111122223333:role/cronplane/cronplane_platform_us-west-2_execution",
            "arn:aws:iam::111122223333:role/app-*",
        ])
    );
    let execution = &roles["cronplane_platform_us-west-2_execution"].policies["cronplane"];
    assert!(execution.contains("log-group:/cronplane/cronplane/platform/*:log-stream:*"));
    assert!(!execution.contains("secretsmanager") && !execution.contains("ssm:"));
}

#[tokio::test]
async fn a_job_with_secrets_has_roles_of_its_own() {
    let (cloud, app) = shared();
    let mut wanted = definition();
    wanted["secrets"] = json!({"TOKEN": arn("ssm", "parameter/app/token")});
    app.job_create(team(), wanted, moment(0)).await.unwrap();
    let mut expected = of_job(BASE);
    expected.extend(own_roles());
    assert_eq!(names(&cloud), expected);
    // Without them it has the team's, and its own for as long as it is there.
    patch(&app, json!({"secrets": null}), moment(10)).await.unwrap();
    let job = stored(&app).await.unwrap();
    assert_eq!(job.phase, Phase::Ready, "{:?}", job.reason);
    let role = job.resources[&ResourceKind::ExecutionRole].arn.clone().unwrap();
    assert!(role.ends_with("role/cronplane/cronplane_platform_us-west-2_execution"));
    let deletion = Deletion { delete_logs: true, ..Deletion::default() };
    assert!(app.job_delete(&key(), deletion, moment(20)).await.unwrap().is_none());
    assert_eq!(names(&cloud), TEAM_ROLES.map(str::to_owned).into());
}

#[tokio::test]
async fn the_roles_of_a_team_go_with_it() {
    let (cloud, app) = shared();
    create(&app, moment(0)).await.unwrap();
    app.team_delete(&team(), moment(1)).await.unwrap_err();
    let deletion = Deletion { delete_logs: true, ..Deletion::default() };
    assert!(app.job_delete(&key(), deletion, moment(2)).await.unwrap().is_none());
    // Its own count of jobs is what the fake's teams begin with.
    cloud.fail("iam:DeleteRole", 1, "DeleteConflict", "The role is in use.");
    app.team_delete(&team(), moment(3)).await.unwrap_err();
    assert_eq!(names(&cloud).len(), 2);
    // It is gone; asked again, what was left goes too.
    let again = app.team_delete(&team(), moment(4)).await.unwrap_err();
    assert!(again.to_string().contains("does not exist"), "{again}");
    assert!(names(&cloud).is_empty());
}

/// What was taken off it is not there, whatever its tags said.
#[tokio::test]
async fn a_role_that_was_half_taken_away_is_made_whole_by_the_next_job() {
    let (cloud, app) = shared();
    create(&app, moment(0)).await.unwrap();
    let whole = cloud.resources();
    let deletion = Deletion { delete_logs: true, ..Deletion::default() };
    app.job_delete(&key(), deletion, moment(2)).await.unwrap();
    cloud.fail("iam:DeleteRole", 1, "DeleteConflict", "The role is in use.");
    app.team_delete(&team(), moment(3)).await.unwrap_err();
    cloud.put_team(&wide_team("platform"));
    create(&app, moment(10)).await.unwrap();
    for role in TEAM_ROLES {
        assert_eq!(cloud.resources()[role], whole[role], "{role}");
    }
}

/// A role that was changed by hand, or by another version, is put right by the next job.
#[tokio::test]
async fn a_role_that_says_otherwise_is_written_again() {
    let (cloud, app) = shared();
    create(&app, moment(0)).await.unwrap();
    let before = cloud.resources();
    {
        let mut state = cloud.state();
        let role = state.iam.roles.get_mut("cronplane_platform_us-west-2_schedules").unwrap();
        role.tags.insert("cronplane:content".to_owned(), "of another version".to_owned());
        role.policies.clear();
    }
    let mut second = definition();
    second["name"] = json!("second");
    app.job_create(team(), second, moment(10)).await.unwrap();
    let after = cloud.resources();
    for role in TEAM_ROLES {
        assert_eq!(after[role], before[role]);
    }
}

/// From the engine of before to Scheduler and back, whatever call is lost.
#[tokio::test]
async fn jobs_move_with_their_deployment() {
    let cloud = Cloud::default();
    let by_need = app_with(&cloud, EngineChoice::ByNeed);
    create(&by_need, moment(0)).await.unwrap();
    cloud.take_calls();
    let scheduler = app_with(&cloud, EngineChoice::Scheduler);
    patch(&scheduler, json!({"description": "moved"}), moment(10)).await.unwrap();
    let calls = cloud.take_calls();
    // A task that was started before has the role with which it was.
    let mut expected = of_job(BASE);
    expected.remove(&format!("task definition {BASE}:1"));
    expected.insert(format!("task definition {BASE}:2"));
    expected.extend(TEAM_ROLES.map(str::to_owned));
    expected.extend(own_roles());
    let standing = |cloud: &Cloud| {
        let mut found = names(cloud);
        found.remove(&format!("task definition {BASE}:1"));
        found
    };
    assert_eq!(standing(&cloud), expected);
    let job = stored(&scheduler).await.unwrap();
    assert!(!job.resources.contains_key(&ResourceKind::FailureRule));

    for trouble in [Trouble::LostBefore, Trouble::LostAfter] {
        for (number, call) in calls.iter().enumerate() {
            let cloud = Cloud::default();
            create(&app_with(&cloud, EngineChoice::ByNeed), moment(0)).await.unwrap();
            cloud.take_calls();
            let app = app_with(&cloud, EngineChoice::Scheduler);
            cloud.trouble(number, trouble);
            let change = json!({"description": "moved"});
            if patch(&app, change.clone(), short_moment(10)).await.is_err() {
                patch(&app, change, moment(10)).await.unwrap();
            }
            sweep_for_an_hour(&app, 10).await;
            assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
            assert_eq!(standing(&cloud), expected, "{trouble:?} {call:?}");
        }
    }

    patch(&by_need, json!({"description": "moved back"}), moment(20)).await.unwrap();
    let mut expected = all_names();
    expected.remove(&format!("task definition {BASE}:1"));
    expected.extend([2, 3].map(|revision| format!("task definition {BASE}:{revision}")));
    expected.extend(TEAM_ROLES.map(str::to_owned));
    let found = standing(&cloud);
    assert!(found.is_subset(&expected), "{found:?}");
    assert!(found.contains(&format!("rule {BASE}")));
    assert!(found.contains(&format!("rule {BASE}_failure")));
    assert!(!found.contains(&format!("schedule {BASE}")));
}

/// Failed messages of the batch that brings `event`.
async fn found(app: &App, event: &Value) -> usize {
    let mut message = SqsMessage::default();
    message.message_id = Some("1".to_owned());
    message.event_source_arn = Some(arn("sqs", "alerts"));
    message.body = Some(event.to_string());
    let mut batch = SqsEvent::default();
    batch.records = vec![message];
    apply_batch(app, batch, moment(100)).await.batch_item_failures.len()
}

fn failure() -> Value {
    ended("STOPPED", Some("EssentialContainerExited"), vec![container("main", Some(1))])
}

#[tokio::test]
async fn what_the_rule_of_the_stack_finds_is_told_as_a_rule_of_the_job_would() {
    let (cloud, app) = shared();
    create(&app, moment(0)).await.unwrap();
    let (_, targets) = put().await;
    let target = targets[&format!("{BASE}_failure")].clone();
    let event = failure();
    assert_eq!(found(&app, &event).await, 0);
    let published = cloud.state().sns.published.clone();
    let [(topic, message)] = &published[..] else { panic!("{published:?}") };
    assert_eq!(*topic, format!("{BASE}_failure"));
    assert_eq!(serde_json::from_str::<Value>(message).unwrap(), rendered(&target, &event));

    // The test of the notifications goes the same way.
    app.notification_test(&key(), moment(10)).await.unwrap();
    let put = cloud.state().events.put.last().unwrap().clone();
    let event = json!({
        "source": put.source(), "detail-type": put.detail_type(),
        "detail": serde_json::from_str::<Value>(put.detail().unwrap()).unwrap(),
    });
    assert_eq!(found(&app, &event).await, 0);
    assert_eq!(cloud.state().sns.published.len(), 2);
}

#[tokio::test]
async fn a_failure_that_can_not_be_published_comes_again() {
    let (cloud, app) = shared();
    create(&app, moment(0)).await.unwrap();
    cloud.fail("sns:Publish", 1, "InternalError", "later");
    assert_eq!(found(&app, &failure()).await, 1);
    assert_eq!(found(&app, &failure()).await, 0);
    assert_eq!(cloud.state().sns.published.len(), 1);
    assert_eq!(found(&app, &json!({"source": "aws.ecs", "detail": {}})).await, 1);
}

#[tokio::test]
async fn a_job_with_a_rule_of_its_own_is_told_once() {
    let cloud = Cloud::default();
    let app = app_with(&cloud, EngineChoice::ByNeed);
    create(&app, moment(0)).await.unwrap();
    assert_eq!(found(&app, &failure()).await, 0);
    assert!(cloud.state().sns.published.is_empty());

    // Until it is taken away it tells; while somebody is at that, both do.
    let shared = app_with(&cloud, EngineChoice::Scheduler);
    assert_eq!(found(&shared, &failure()).await, 0);
    assert!(cloud.state().sns.published.is_empty());
    shared.store.job_lease(&key(), "token", moment(5).now, moment(95).now).await.unwrap();
    assert_eq!(found(&shared, &failure()).await, 0);
    assert_eq!(cloud.state().sns.published.len(), 1);

    // One that could not be made tells nothing, and one that is being taken away perhaps.
    let cloud = Cloud::default();
    let app = app_with(&cloud, EngineChoice::ByNeed);
    cloud.fail("events:PutTargets", 100, "LimitExceededException", "The quota is used up.");
    create(&app, short_moment(0)).await.unwrap();
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Failed);
    assert_eq!(found(&app, &failure()).await, 0);
    assert_eq!(cloud.state().sns.published.len(), 1);
    cloud.mend();
    sweep_for_an_hour(&app, 0).await;
    let shared = app_with(&cloud, EngineChoice::Scheduler);
    cloud.fail("events:DeleteRule", 100, "AccessDeniedException", "not now");
    patch(&shared, json!({"image": "busybox:2"}), short_moment(4000)).await.unwrap();
    assert_eq!(stored(&shared).await.unwrap().phase, Phase::Failed);
    assert_eq!(found(&shared, &failure()).await, 0);
    assert_eq!(cloud.state().sns.published.len(), 2);

    // Of a job that is gone, and of other stacks' tasks, there is nobody to tell.
    let (cloud, app) = self::shared();
    assert_eq!(found(&app, &failure()).await, 0);
    let mut other = failure();
    other["detail"]["taskDefinitionArn"] = json!(arn("ecs", "task-definition/other_a_b:1"));
    assert_eq!(found(&app, &other).await, 0);
    assert!(cloud.state().sns.published.is_empty());
}
