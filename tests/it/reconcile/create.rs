//! A job is created: everything is made, once.

use std::collections::BTreeMap;

use cronplane::domain::job::{Phase, ResourceState};
use cronplane::error::Error;
use cronplane::store::Settlement;
use serde_json::{Value, json};

use super::{all_names, names, our_tags};
use crate::cloud::{Cloud, Cluster, arn};
use crate::job::{BASE, ROLE_BASE, at, create, definition, delete, key, moment, stored, team};

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_create_makes_everything_that_a_job_needs() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let mut wanted = definition();
    wanted["tags"] = json!({"cost-center": "42"});
    wanted["task_role"] = json!("arn:aws:iam::111122223333:role/app-report");
    wanted["log_retention_days"] = json!(7);
    wanted["command"] = json!(["sh", "-c", "true"]);
    wanted["environment"] = json!({"MODE": "full"});
    let view = app.job_create(team(), wanted, moment(0)).await.unwrap();

    assert_eq!(view.job.phase, Phase::Ready);
    assert_eq!(view.job.observed_generation, 1);
    assert_eq!(view.job, stored(&app).await.unwrap());
    let arns: BTreeMap<&str, String> = view
        .job
        .resources
        .iter()
        .map(|(kind, status)| {
            assert_eq!(status.state, ResourceState::Ready);
            (kind.as_str(), status.arn.clone().unwrap())
        })
        .collect();
    let role = |name: &str| format!("arn:aws:iam::111122223333:role/cronplane/{ROLE_BASE}_{name}");
    let wanted = BTreeMap::from([
        ("cluster", arn("ecs", &format!("cluster/{BASE}"))),
        ("log_group", arn("logs", "log-group:/cronplane/cronplane/platform/nightly-report")),
        ("execution_role", role("execution")),
        ("events_role", role("events")),
        ("topic", arn("sns", &format!("{BASE}_failure"))),
        ("task_definition", arn("ecs", &format!("task-definition/{BASE}:1"))),
        ("schedule_rule", arn("events", &format!("rule/{BASE}"))),
        ("failure_rule", arn("events", &format!("rule/{BASE}_failure"))),
    ]);
    assert_eq!(arns, wanted);

    assert_eq!(names(&cloud), all_names());
    for (name, resource) in cloud.resources() {
        let mut tags = resource.tags;
        // What the revision holds, so that a lost answer makes no second one.
        let content = tags.remove("cronplane:content");
        assert_eq!(content.is_some(), name.starts_with("task definition"), "{name}");
        assert_eq!(tags.remove("cost-center").as_deref(), Some("42"), "{name}");
        assert_eq!(tags, our_tags(), "{name}");
    }

    let state = cloud.state();
    let group = state.logs.groups.values().next().unwrap();
    assert_eq!(group.retention_days, Some(7));

    let revision = &state.ecs.task_definitions[0].input;
    assert_eq!(revision.execution_role_arn(), Some(&*role("execution")));
    assert_eq!(revision.task_role_arn(), Some("arn:aws:iam::111122223333:role/app-report"));
    assert_eq!((revision.cpu(), revision.memory()), (Some("256"), Some("512")));
    let [main] = revision.container_definitions() else {
        panic!("one container");
    };
    assert_eq!((main.name(), main.image()), (Some("main"), Some("busybox:1")));
    assert_eq!(main.command(), ["sh", "-c", "true"]);
    assert_eq!(main.environment()[0].name(), Some("MODE"));
    assert_eq!(main.essential(), Some(true));
    let logs = main.log_configuration().unwrap().options().unwrap();
    assert_eq!(logs["awslogs-group"], "/cronplane/cronplane/platform/nightly-report");
    assert_eq!(logs["awslogs-stream-prefix"], "run");
    assert_eq!(logs["awslogs-region"], "us-west-2");

    let rule = &state.events.rules[BASE];
    assert_eq!(rule.schedule.as_deref(), Some("rate(1 day)"));
    assert!(rule.enabled);
    let target = &rule.targets["main"];
    assert_eq!(target.arn(), arns["cluster"]);
    assert_eq!(target.role_arn(), Some(&*role("events")));
    let ecs = target.ecs_parameters().unwrap();
    assert_eq!(ecs.task_definition_arn(), arns["task_definition"]);
    assert_eq!(ecs.group(), Some(&*format!("family:{BASE}")));
    let network = ecs.network_configuration().unwrap().awsvpc_configuration();
    let network = network.unwrap();
    assert_eq!(network.subnets(), ["subnet-0a", "subnet-0b"]);
    assert_eq!(network.security_groups(), ["sg-0a"]);
    assert_eq!(network.assign_public_ip().unwrap().as_str(), "ENABLED");
    let retry = target.retry_policy().unwrap();
    assert!(retry.maximum_event_age_in_seconds().unwrap() <= 3600);
    let dead_letters = arn("sqs", "schedule-dead-letters");
    for rule in state.events.rules.values() {
        let queue = rule.targets["main"].dead_letter_config().unwrap().arn();
        assert_eq!(queue, Some(&*dead_letters));
    }
    let told = &state.events.rules[&format!("{BASE}_failure")];
    assert!(told.enabled && told.schedule.is_none());
    assert_eq!(told.targets["main"].arn(), arns["topic"]);
    assert_eq!(told.targets["main"].role_arn(), None);

    for role in state.iam.roles.values() {
        assert_eq!(role.path, "/cronplane/");
        assert_eq!(role.boundary.as_deref(), Some("arn:aws:iam::111122223333:policy/boundary"));
        assert_eq!(role.policies.len(), 1);
    }
    let events_role = &state.iam.roles[&format!("{ROLE_BASE}_events")];
    let trust = json_of(&events_role.trust);
    let trust = &trust["Statement"][0];
    assert_eq!(trust["Principal"]["Service"], "events.amazonaws.com");
    assert_eq!(trust["Condition"]["StringEquals"]["aws:SourceArn"], *arns["schedule_rule"]);
    let policy = json_of(&events_role.policies["cronplane"]);
    let statement = |sid: &str| {
        let all = policy["Statement"].as_array().unwrap();
        all.iter().find(|one| one["Sid"] == sid).unwrap().clone()
    };
    assert_eq!(statement("RunTask")["Resource"], arn("ecs", &format!("task-definition/{BASE}:*")));
    assert_eq!(
        statement("RunTask")["Condition"]["ArnEquals"]["ecs:cluster"],
        json!([arns["cluster"]])
    );
    assert_eq!(
        statement("PassRoles")["Resource"],
        json!([role("execution"), "arn:aws:iam::111122223333:role/app-report"])
    );
    assert_eq!(
        statement("PassRoles")["Condition"]["StringEquals"]["iam:PassedToService"],
        "ecs-tasks.amazonaws.com"
    );
    assert_eq!(statement("TagTask")["Condition"]["StringEquals"]["ecs:CreateAction"], "RunTask");

    let topic = state.sns.topics.values().next().unwrap();
    let policy = json_of(&topic.attributes["Policy"]);
    let policy = &policy["Statement"][0];
    assert_eq!(policy["Principal"]["Service"], "events.amazonaws.com");
    assert_eq!(policy["Condition"]["ArnEquals"]["aws:SourceArn"], *arns["failure_rule"]);
    assert_eq!(state.sns.asked_to_confirm, ["ops@example.com"]);
}

#[tokio::test]
async fn a_job_in_a_named_cluster_has_none_of_its_own() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let mut wanted = definition();
    wanted["cluster"] = json!("shared");
    let refused = app.job_create(team(), wanted.clone(), moment(0)).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert!(stored(&app).await.is_none());

    let shared = Cluster::default();
    cloud.state().ecs.clusters.insert("shared".to_owned(), shared);
    let view = app.job_create(team(), wanted, moment(0)).await.unwrap();
    assert_eq!(view.job.phase, Phase::Ready);
    assert!(!names(&cloud).contains(&format!("cluster {BASE}")));
    let target = cloud.state().events.rules[BASE].targets["main"].clone();
    assert_eq!(target.arn(), arn("ecs", "cluster/shared"));

    assert!(delete(&app, moment(60)).await.unwrap().is_none());
    assert!(names(&cloud).contains("cluster shared"));
}

#[tokio::test]
async fn creating_again_is_refused_without_a_write() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    let before = cloud.resources();
    cloud.take_calls();
    let again = create(&app, moment(60)).await;
    assert!(matches!(again, Err(Error::AlreadyExists(_))), "{again:?}");
    assert_eq!(cloud.take_writes(), [""; 0]);
    assert_eq!(cloud.resources(), before);
}

/// What it did is not known: all is put once more, and is as it was.
#[tokio::test]
async fn after_a_reconciler_that_died_nothing_is_taken_for_granted() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    let before = cloud.resources();
    cloud.store().job_lease(&key(), "dead", at(0), at(90)).await.unwrap();
    cloud.state().events.rules.get_mut(BASE).unwrap().enabled = false;
    assert_eq!(app.sweep(moment(89)).await.unwrap().jobs, 0);
    assert_eq!(app.sweep(moment(91)).await.unwrap().jobs, 1);
    assert_eq!(cloud.resources(), before);
    let job = stored(&app).await.unwrap();
    assert_eq!((job.phase, job.observed_generation, job.unsettled), (Phase::Ready, 1, 0));
    // Once, and not again.
    cloud.take_calls();
    app.job_set_enabled(&key(), false, moment(100)).await.unwrap();
    assert_eq!(cloud.take_writes(), ["events:PutRule"]);
}

#[tokio::test]
async fn an_unchanged_job_costs_no_call() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.take_calls();

    // Nothing is due.
    assert_eq!(app.sweep(moment(3600)).await.unwrap().jobs, 0);
    // A reconciler that left it unfinished makes it due, whatever it had done.
    let store = cloud.store();
    store.job_lease(&key(), "hindered", at(0), at(90)).await.unwrap();
    let settlement = Settlement {
        generation: 1,
        phase: Phase::Provisioning,
        reason: None,
        resources: stored(&app).await.unwrap().resources,
        attempts: 1,
        reached: false,
        former: Default::default(),
        due_at: Some(at(90)),
    };
    store.job_settle(&key(), "hindered", &settlement).await.unwrap();
    assert_eq!(app.sweep(moment(89)).await.unwrap().jobs, 0);
    assert_eq!(app.sweep(moment(91)).await.unwrap().jobs, 1);
    let calls = cloud.take_calls();
    let elsewhere = calls.iter().filter(|call| !call.operation.starts_with("dynamodb:"));
    assert_eq!(elsewhere.count(), 0);
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
    assert_eq!(app.sweep(moment(7200)).await.unwrap().jobs, 0);

    // What is already as it is asked for is no change of intent.
    for (enabled, writes) in [(true, false), (false, true), (false, false), (true, true)] {
        let view = app.job_set_enabled(&key(), enabled, moment(7200)).await.unwrap();
        assert_eq!(view.job.phase, Phase::Ready);
        assert_eq!(!cloud.take_writes().is_empty(), writes, "{enabled}");
    }
}
