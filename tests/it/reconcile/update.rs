//! A job is changed: what is not as it is wanted is made so, and nothing else is touched.

use std::collections::{BTreeMap, BTreeSet};

use cronplane::app::App;
use cronplane::domain::job::{Deletion, Job, JobDefinition, Phase};
use cronplane::error::Error;
use serde_json::{Value, json};

use super::{ROLE_DELAY, all_names, names, our_tags};
use crate::cloud::{
    Cloud, Cluster, Effect, Standing, Tags, TargetRefusal, Trouble, arn, deployment,
};
use crate::job::{
    BASE, ROLE_BASE, create, definition, delete, key, moment, patch, put, short_moment, stored,
    sweep_for_an_hour, team,
};
use crate::task;

const LOG_GROUP: &str = "log group /cronplane/cronplane/platform/nightly-report";

/// A cloud with a cluster that jobs can name.
fn cloud_with_shared() -> Cloud {
    let cloud = Cloud::default();
    let capacity_providers = vec!["FARGATE".to_owned(), "FARGATE_SPOT".to_owned()];
    let shared = Cluster { capacity_providers, ..Cluster::default() };
    cloud.state().ecs.clusters.insert("shared".to_owned(), shared);
    cloud
}

/// The names of the resources that are not as they were, or are new, or are gone.
fn changed_between(
    before: &BTreeMap<String, Standing>,
    after: &BTreeMap<String, Standing>,
) -> BTreeSet<String> {
    let all = before.keys().chain(after.keys());
    all.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// The image of the revision that the schedule starts.
fn started_image(cloud: &Cloud) -> String {
    let state = cloud.state();
    let target = &state.events.rules[BASE].targets["main"];
    let wanted = target.ecs_parameters().unwrap().task_definition_arn();
    let all = &state.ecs.task_definitions;
    let found = all.iter().find(|one| one.active && one.arn() == wanted).unwrap();
    found.input.container_definitions()[0].image().unwrap().to_owned()
}

/// All subscriptions of the topic are confirmed.
fn confirm(cloud: &Cloud) {
    for topic in cloud.state().sns.topics.values_mut() {
        for (number, subscription) in topic.subscriptions.iter_mut().enumerate() {
            subscription.2 = arn("sns", &format!("topic:{number}"));
        }
    }
}

fn endpoints(cloud: &Cloud) -> Vec<String> {
    let state = cloud.state();
    let topic = state.sns.topics.values().next().unwrap();
    topic.subscriptions.iter().map(|(_, endpoint, _)| endpoint.clone()).collect()
}

#[tokio::test]
async fn another_image_is_a_revision_and_its_target_and_no_other_write() {
    for replace in [true, false] {
        let cloud = Cloud::default();
        let app = cloud.app();
        let created = create(&app, moment(0)).await.unwrap().job;
        cloud.state().ecs.tasks.push(task::running(BASE, "0a"));
        let before = cloud.resources();
        cloud.take_calls();

        let change = json!({"image": "busybox:2"});
        let changed = if replace {
            let mut wanted = definition();
            wanted["image"] = json!("busybox:2");
            put(&app, wanted, moment(100)).await.unwrap()
        } else {
            patch(&app, change, moment(100)).await.unwrap()
        };
        assert!(!changed.created);
        let job = changed.view.job;
        assert_eq!((job.phase, job.generation), (Phase::Ready, 2));
        assert_eq!(job.observed_generation, 2);
        assert_eq!((&job.id, job.created_at), (&created.id, created.created_at));
        // A rate goes on counting from where it was.
        assert_eq!(job.scheduled_since, created.scheduled_since);
        assert_eq!(job, stored(&app).await.unwrap());

        let writes: Vec<&str> = cloud
            .take_calls()
            .iter()
            .filter(|call| call.writes)
            .map(|call| call.operation)
            .collect();
        let table = "dynamodb:UpdateItem";
        let elsewhere = ["ecs:RegisterTaskDefinition", "events:PutTargets"];
        // The intent and the lease come first, what was reached last.
        assert_eq!(writes, [table, table, elsewhere[0], elsewhere[1], table]);
        assert_eq!(started_image(&cloud), "busybox:2");
        let after = cloud.resources();
        let wanted = [format!("rule {BASE}"), format!("task definition {BASE}:2")];
        assert_eq!(changed_between(&before, &after), wanted.into());
        // The task that runs goes on, with the revision that it was started from.
        assert_eq!(cloud.state().ecs.tasks, [task::running(BASE, "0a")]);
        assert_eq!(app.sweep(moment(7200)).await.unwrap().jobs, 0);
    }
}

#[tokio::test]
async fn the_same_definition_again_writes_nothing() {
    let everything = json!({
        "name": "nightly-report",
        "description": "Says hello",
        "image": {"repository": "terraform-drift", "tag": "1.0.0"},
        "command": ["sh", "-c", "true"],
        "entry_point": ["/init"],
        "working_directory": "/srv",
        "environment": {"MODE": "full"},
        "secrets": {"TOKEN": arn("ssm", "parameter/app/token")},
        "cpu": 512,
        "memory": 1024,
        "architecture": "arm64",
        "ephemeral_storage_gib": 50,
        "volumes": [{"name": "data", "mount_path": "/data", "efs": {"file_system_id": "fs-01234567"}}],
        "stop_timeout_seconds": 60,
        "health_check": {"command": ["CMD", "true"], "start_period_seconds": 5},
        "extra_container_definition": {"user": "1000", "linuxParameters": {"initProcessEnabled": true}},
        "sidecars": [{"name": "proxy", "image": "envoy:1", "cpu": 64, "environment": [{"name": "A", "value": "b"}]}],
        "network": {"subnets": ["subnet-0f"], "assign_public_ip": false},
        "capacity": "spot",
        "platform_version": "1.4.0",
        "enable_execute_command": true,
        "enable_ecs_managed_tags": true,
        "cluster": "shared",
        "task_role": "arn:aws:iam::111122223333:role/app-report",
        "execution_role": "arn:aws:iam::111122223333:role/app-execution",
        "schedule": "cron(0 4 * * ? *)",
        "timezone": "Europe/Berlin",
        "start_date": "2026-12-01T00:00:00Z",
        "end_date": "2036-12-01T00:00:00Z",
        "flexible_window_minutes": 15,
        "spread": true,
        "enabled": false,
        "log_retention_days": 7,
        "tags": {"cost-center": "42"},
        "notifications": {"subscribers": [{"protocol": "email", "endpoint": "ops@example.com"}]},
    });
    let named = |field: &&str| everything.get(*field).is_none();
    assert_eq!(JobDefinition::field_names(&deployment()).iter().find(|field| named(field)), None);
    // The one that doesn't go with a window.
    let mut with_fallback = everything.clone();
    with_fallback["capacity"] = json!("spot_with_fallback");
    with_fallback.as_object_mut().unwrap().remove("flexible_window_minutes");
    for wanted in [definition(), everything, with_fallback] {
        let cloud = cloud_with_shared();
        let app = cloud.app();
        let created = app.job_create(team(), wanted.clone(), moment(0)).await.unwrap().job;
        cloud.take_calls();
        let same = put(&app, wanted.clone(), moment(100)).await.unwrap();
        assert_eq!(same.view.job, created);
        for change in [json!({}), json!({"unheard-of": null}), wanted] {
            let same = patch(&app, change, moment(100)).await.unwrap();
            assert_eq!(same.view.job, created);
            assert_eq!(same.view.job.version_tag(), created.version_tag());
        }
        let calls = cloud.take_calls();
        assert!(calls.iter().all(|call| !call.writes), "{calls:?}");
    }
}

/// Every field by itself: the calls that it takes, and the resources that are not as before.
#[tokio::test]
async fn a_field_reaches_its_resources_and_no_others() {
    let schedule_rule = format!("rule {BASE}");
    let revision = format!("task definition {BASE}:2");
    let of_task = ["ecs:RegisterTaskDefinition", "events:PutTargets"];
    let task_and_rule = [&*revision, &*schedule_rule];
    let execution_role = format!("role {ROLE_BASE}_execution");
    let events_role = format!("role {ROLE_BASE}_events");
    let cluster = format!("cluster {BASE}");
    let topic = format!("topic {BASE}_failure");
    let subscribers = json!({"subscribers": [
        {"protocol": "email", "endpoint": "ops@example.com"},
        {"protocol": "https", "endpoint": "https://hooks.example.com/x"},
    ]});
    let repository = json!({"repository": "terraform-drift", "tag": "1.0.0"});
    let network = json!({"subnets": ["subnet-0f"]});
    let role = json!("arn:aws:iam::111122223333:role/app-report");
    let of_target: &[&str] = &["events:PutTargets"];
    let with_policy = ["ecs:RegisterTaskDefinition", "events:PutTargets", "iam:PutRolePolicy"];
    let schedule = format!("schedule {BASE}");
    // The schedule first, then the rule goes; and the role has to know both.
    let to_scheduler: &[&str] = &[
        "events:DeleteRule",
        "events:RemoveTargets",
        "iam:PutRolePermissionsBoundary",
        "iam:PutRolePolicy",
        "iam:TagRole",
        "iam:UpdateAssumeRolePolicy",
        "scheduler:CreateSchedule",
    ];
    let of_scheduler: &[&str] = &[&events_role, &schedule_rule, &schedule];
    let fields: [(&str, Value, &[&str], &[&str]); 37] = [
        ("working_directory", json!("/srv"), &of_task, &task_and_rule),
        (
            "secrets",
            json!({"TOKEN": arn("ssm", "parameter/app/token")}),
            &with_policy,
            &[&execution_role, &revision, &schedule_rule],
        ),
        ("architecture", json!("arm64"), &of_task, &task_and_rule),
        ("ephemeral_storage_gib", json!(21), &of_task, &task_and_rule),
        ("volumes", json!([{"name": "scratch"}]), &of_task, &task_and_rule),
        ("stop_timeout_seconds", json!(2), &of_task, &task_and_rule),
        ("health_check", json!({"command": ["CMD", "true"]}), &of_task, &task_and_rule),
        ("extra_container_definition", json!({"user": "1"}), &of_task, &task_and_rule),
        ("sidecars", json!([{"name": "a", "image": "b"}]), &of_task, &task_and_rule),
        (
            "sidecars",
            json!([{"name": "a", "image": "111122223333.dkr.ecr.us-west-2.amazonaws.com/proxy:1"}]),
            &with_policy,
            &[&execution_role, &revision, &schedule_rule],
        ),
        ("capacity", json!("spot"), of_target, &[&schedule_rule]),
        ("platform_version", json!("1.4.0"), of_target, &[&schedule_rule]),
        (
            "enable_execute_command",
            json!(true),
            &with_policy,
            &[&events_role, &revision, &schedule_rule],
        ),
        ("enable_ecs_managed_tags", json!(true), of_target, &[&schedule_rule]),
        (
            "execution_role",
            json!("arn:aws:iam::111122223333:role/app-execution"),
            &with_policy,
            &[&events_role, &revision, &schedule_rule],
        ),
        ("capacity", json!("spot_with_fallback"), of_target, &[&schedule_rule]),
        ("description", json!("Says hello"), &["events:PutRule"], &[&schedule_rule]),
        ("image", json!("busybox:2"), &of_task, &task_and_rule),
        (
            "image",
            repository,
            &["ecs:RegisterTaskDefinition", "events:PutTargets", "iam:PutRolePolicy"],
            &[&execution_role, &revision, &schedule_rule],
        ),
        ("command", json!(["true"]), &of_task, &task_and_rule),
        ("entry_point", json!(["/init"]), &of_task, &task_and_rule),
        ("environment", json!({"MODE": "full"}), &of_task, &task_and_rule),
        ("memory", json!(1024), &of_task, &task_and_rule),
        ("network", network, &["events:PutTargets"], &[&schedule_rule]),
        (
            "cluster",
            json!("shared"),
            &["events:PutTargets", "iam:PutRolePolicy"],
            &[&events_role, &schedule_rule],
        ),
        (
            "task_role",
            role,
            &["ecs:RegisterTaskDefinition", "events:PutTargets", "iam:PutRolePolicy"],
            &[&events_role, &revision, &schedule_rule],
        ),
        ("schedule", json!("rate(2 days)"), &["events:PutRule"], &[&schedule_rule]),
        ("timezone", json!("Europe/Berlin"), to_scheduler, of_scheduler),
        ("start_date", json!("2027-01-01T00:00:00Z"), to_scheduler, of_scheduler),
        ("end_date", json!("2037-01-01T00:00:00Z"), to_scheduler, of_scheduler),
        ("flexible_window_minutes", json!(5), to_scheduler, of_scheduler),
        ("spread", json!(true), &["events:PutRule"], &[&schedule_rule]),
        ("enabled", json!(false), &["events:PutRule"], &[&schedule_rule]),
        ("log_retention_days", json!(7), &["logs:PutRetentionPolicy"], &[LOG_GROUP]),
        ("notifications", subscribers, &["sns:Subscribe"], &[&topic]),
        ("notifications", json!({"subscribers": []}), &["sns:Unsubscribe"], &[&topic]),
        // With `cpu` its memory: the pairs are checked together.
        ("cpu", json!(512), &of_task, &task_and_rule),
    ];
    // The name stays, and tags have a test of their own.
    let mut tested: BTreeSet<&str> = fields.iter().map(|(field, ..)| *field).collect();
    tested.extend(["name", "tags"]);
    assert_eq!(tested, JobDefinition::field_names(&deployment()).into_iter().collect());

    for (field, value, writes, resources) in fields {
        let cloud = cloud_with_shared();
        let app = cloud.app();
        create(&app, moment(0)).await.unwrap();
        confirm(&cloud);
        let before = cloud.resources();
        cloud.take_calls();
        let mut change = json!({field: value});
        if field == "cpu" {
            change["memory"] = json!(1024);
        }
        if field == "spread" {
            change["schedule"] = json!("cron(0 4 * * ? *)");
        }
        if field == "enable_execute_command" {
            change["task_role"] = json!("arn:aws:iam::111122223333:role/app-report");
        }
        let job = patch(&app, change, moment(100)).await.unwrap().view.job;
        assert_eq!((job.phase, job.observed_generation), (Phase::Ready, 2), "{field}");
        let mut written = cloud.take_writes();
        written.sort_unstable();
        assert_eq!(written, writes, "{field}");
        let expected: BTreeSet<String> = resources.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(changed_between(&before, &cloud.resources()), expected, "{field}");

        // What only a start from before the change needed goes when there can be none any more.
        let later: &[&str] = match field {
            "cluster" => &["ecs:DeleteCluster", "iam:PutRolePolicy"],
            "execution_role" => &["iam:PutRolePolicy"],
            _ => &[],
        };
        assert_eq!(app.sweep(moment(1800)).await.unwrap().jobs, 0, "{field}");
        assert_eq!(app.sweep(moment(1901)).await.unwrap().jobs, later.len().min(1), "{field}");
        let mut written = cloud.take_writes();
        written.sort_unstable();
        assert_eq!(written, later, "{field}");
        assert_eq!(names(&cloud).contains(&cluster), field != "cluster");
        assert_eq!(app.sweep(moment(7200)).await.unwrap().jobs, 0, "{field}");
        let job = stored(&app).await.unwrap();
        assert_eq!((job.phase, job.former), (Phase::Ready, Default::default()), "{field}");
    }
}

/// Between the change of a role's policy and that of the target, and for a task that is just being
/// started, what was granted before is granted still.
#[tokio::test]
async fn a_start_from_before_a_change_is_granted_what_it_needs() {
    let cloud = cloud_with_shared();
    let app = cloud.app();
    let role = |name: &str| format!("arn:aws:iam::111122223333:role/app-{name}");
    let secret = |name: &str| arn("ssm", &format!("parameter/app/{name}"));
    let image = |name: &str| format!("111122223333.dkr.ecr.us-west-2.amazonaws.com/{name}:1");
    let said = |name: &str, cluster: Value| {
        json!({
            "image": image(name), "task_role": role(name), "cluster": cluster,
            "secrets": {"TOKEN": secret(name)},
        })
    };
    let mut wanted = definition();
    for (key, value) in said("one", Value::Null).as_object().unwrap() {
        wanted[key] = value.clone();
    }
    app.job_create(team(), wanted, moment(0)).await.unwrap();
    let policy = |of: &str| {
        cloud.state().iam.roles[&format!("{ROLE_BASE}_{of}")].policies["cronplane"].clone()
    };
    let granted = |name: &str, cluster: &str| {
        let (events, execution) = (policy("events"), policy("execution"));
        let in_events = [role(name), arn("ecs", &format!("cluster/{cluster}\""))]
            .map(|one| events.contains(&one));
        let in_execution = [secret(name), arn("ecr", &format!("repository/{name}"))]
            .map(|one| execution.contains(&one));
        [in_events, in_execution].concat()
    };
    let (all, none) = (vec![true; 4], vec![false; 4]);
    assert_eq!((granted("one", BASE), granted("two", "shared")), (all.clone(), none.clone()));

    // The target can't be moved: it starts what it started before, for as long as that takes.
    cloud.fail("events:PutTargets", 1000, "ValidationException", "no");
    patch(&app, said("two", json!("shared")), moment(100)).await.unwrap();
    for seconds in [200, 4000, 8000] {
        app.sweep(moment(seconds)).await.unwrap();
        assert_eq!(stored(&app).await.unwrap().phase, Phase::Failed);
        assert_eq!((granted("one", BASE), granted("two", "shared")), (all.clone(), all.clone()));
        assert!(names(&cloud).contains(&format!("cluster {BASE}")));
    }
    cloud.mend();
    app.sweep(moment(12_000)).await.unwrap();
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
    assert_eq!((granted("one", BASE), granted("two", "shared")), (all.clone(), all.clone()));
    app.sweep(moment(12_000 + 1799)).await.unwrap();
    assert_eq!(granted("one", BASE), all);
    app.sweep(moment(12_000 + 1801)).await.unwrap();
    assert_eq!((granted("one", BASE), granted("two", "shared")), (none, all));
    assert!(!names(&cloud).contains(&format!("cluster {BASE}")));
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
}

#[tokio::test]
async fn a_new_schedule_counts_from_its_change_and_a_pause_from_its_end() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    let since = async |change: Value, seconds| {
        let job = patch(&app, change, moment(seconds)).await.unwrap().view.job;
        job.scheduled_since.as_second() - job.created_at.as_second()
    };
    assert_eq!(since(json!({"description": "x"}), 10).await, 0);
    assert_eq!(since(json!({"schedule": "rate(2 days)"}), 20).await, 20);
    assert_eq!(since(json!({"enabled": false}), 30).await, 20);
    assert_eq!(since(json!({"enabled": true}), 40).await, 40);
}

#[tokio::test]
async fn tags_are_added_changed_and_removed_on_every_resource() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let mut wanted = definition();
    wanted["tags"] = json!({"cost-center": "42", "owner": "ops", "stage": "test"});
    app.job_create(team(), wanted.clone(), moment(0)).await.unwrap();
    // Others may have tagged it too: that is theirs.
    cloud.state().events.rules.get_mut(BASE).unwrap().tags.insert("audit".into(), "1".into());

    let tags_of = |more: &[(&str, &str)]| {
        let mut tags: Tags = our_tags();
        tags.extend(more.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())));
        tags
    };
    let check = |revision: usize, more: &[(&str, &str)]| {
        let newest = format!("task definition {BASE}:{revision}");
        let mut seen = BTreeSet::new();
        for (name, mut standing) in cloud.resources() {
            if name.starts_with("task definition") && name != newest {
                continue;
            }
            standing.tags.remove("cronplane:content");
            if name == format!("rule {BASE}") {
                assert_eq!(standing.tags.remove("audit").as_deref(), Some("1"));
            }
            assert_eq!(standing.tags, tags_of(more), "{name}");
            seen.insert(name.replace(&format!(":{revision}"), ":1"));
        }
        assert_eq!(seen, all_names());
    };
    check(1, &[("cost-center", "42"), ("owner", "ops"), ("stage", "test")]);

    let change = json!({"tags": {"cost-center": "43", "owner": null, "team": "a"}});
    cloud.take_calls();
    let changed = patch(&app, change, moment(100)).await.unwrap().view.job;
    assert_eq!(changed.phase, Phase::Ready);
    check(2, &[("cost-center", "43"), ("stage", "test"), ("team", "a")]);
    let writes: BTreeSet<&str> = cloud.take_writes().into_iter().collect();
    let others = ["events:PutRule", "iam:PutRolePolicy", "logs:PutRetentionPolicy"];
    assert!(others.iter().all(|one| !writes.contains(one)), "{writes:?}");
    assert_eq!(changed, stored(&app).await.unwrap());

    // What was taken off earlier is not taken off again: it may be somebody else's by now.
    cloud.state().events.rules.get_mut(BASE).unwrap().tags.insert("owner".into(), "b".into());
    wanted["tags"] = json!({});
    put(&app, wanted, moment(200)).await.unwrap();
    let others = cloud.state().events.rules.get_mut(BASE).unwrap().tags.remove("owner");
    assert_eq!(others.as_deref(), Some("b"));
    check(3, &[]);
}

#[tokio::test]
async fn a_former_subscriber_is_unsubscribed_and_nobody_else() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let email = |name: &str| json!({"protocol": "email", "endpoint": name});
    let of = |names: &[&str]| json!({"notifications": {"subscribers": names.iter().map(|&name| email(name)).collect::<Vec<_>>()}});
    let mut wanted = definition();
    wanted["notifications"] = of(&["a@x.org", "b@x.org", "c@x.org"])["notifications"].clone();
    app.job_create(team(), wanted, moment(0)).await.unwrap();
    confirm(&cloud);
    {
        let mut state = cloud.state();
        let topic = state.sns.topics.values_mut().next().unwrap();
        // Nobody confirmed this one, which nobody can end.
        topic.subscriptions[1].2 = "PendingConfirmation".to_owned();
        // A person subscribed these, one of them by another way than the job's.
        for (protocol, endpoint) in [("email", "person@x.org"), ("email-json", "a@x.org")] {
            let arn = arn("sns", &format!("topic:{protocol}"));
            topic.subscriptions.push((protocol.to_owned(), endpoint.to_owned(), arn));
        }
    }
    cloud.take_calls();
    let job = patch(&app, of(&["c@x.org", "d@x.org"]), moment(100)).await.unwrap().view.job;
    assert_eq!(job.phase, Phase::Ready);
    assert_eq!(cloud.take_writes(), ["sns:Subscribe", "sns:Unsubscribe"]);
    assert_eq!(endpoints(&cloud), ["b@x.org", "c@x.org", "person@x.org", "a@x.org", "d@x.org"]);
    assert_eq!(cloud.state().sns.asked_to_confirm, ["a@x.org", "b@x.org", "c@x.org", "d@x.org"]);

    // Whom a person subscribed again is the person's, once the job was through with it.
    {
        let mut state = cloud.state();
        let topic = state.sns.topics.values_mut().next().unwrap();
        let again = ("email".to_owned(), "a@x.org".to_owned(), arn("sns", "topic:again"));
        topic.subscriptions.push(again);
    }
    patch(&app, of(&["d@x.org"]), moment(200)).await.unwrap();
    let left = endpoints(&cloud);
    assert_eq!(left, ["b@x.org", "person@x.org", "a@x.org", "d@x.org", "a@x.org"]);
}

/// A subscription that is gone by the time is no error.
#[tokio::test]
async fn a_subscription_that_ended_by_itself_hinders_nothing() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    confirm(&cloud);
    cloud.fail("sns:Unsubscribe", 1, "NotFound", "Subscription does not exist");
    let change = json!({"notifications": null});
    let job = patch(&app, change, moment(100)).await.unwrap().view.job;
    assert_eq!(job.phase, Phase::Ready);
}

#[tokio::test]
async fn the_own_cluster_goes_when_no_task_is_in_it_any_more() {
    let cloud = cloud_with_shared();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.state().ecs.tasks.push(task::running(BASE, "0a"));
    cloud.take_calls();

    let refused = patch(&app, json!({"cluster": "none"}), moment(50)).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert_eq!(stored(&app).await.unwrap().generation, 1);

    let job = patch(&app, json!({"cluster": "shared"}), moment(100)).await.unwrap().view.job;
    assert_eq!((job.phase, job.reason), (Phase::Ready, None));
    // The schedule starts tasks in the new one already.
    let target = cloud.state().events.rules[BASE].targets["main"].clone();
    assert_eq!(target.arn(), arn("ecs", "cluster/shared"));
    let role = cloud.state().iam.roles[&format!("{ROLE_BASE}_events")].clone();
    assert!(role.policies["cronplane"].contains(&arn("ecs", "cluster/shared")));
    let writes = cloud.take_writes();
    assert!(!writes.contains(&"ecs:StopTask"), "{writes:?}");
    assert!(!writes.contains(&"ecs:DeregisterTaskDefinition"), "{writes:?}");

    // Nothing hinders the job, and what is left is told.
    for seconds in [1901, 2000, 4000] {
        app.sweep(moment(seconds)).await.unwrap();
        let job = stored(&app).await.unwrap();
        assert_eq!(job.phase, Phase::Ready);
        let reason = job.reason.unwrap();
        assert!(reason.contains("former cluster") && reason.contains("a task runs"), "{reason}");
        assert!(names(&cloud).contains(&format!("cluster {BASE}")));
    }
    assert_eq!(cloud.state().ecs.tasks, [task::running(BASE, "0a")]);
    task::ended(&mut cloud.state().ecs.tasks[0]);
    sweep_for_an_hour(&app, 4000).await;
    let job = stored(&app).await.unwrap();
    assert_eq!((job.phase, job.reason, job.attempts), (Phase::Ready, None, 0));
    assert!(!names(&cloud).contains(&format!("cluster {BASE}")));

    // And back.
    let job = patch(&app, json!({"cluster": null}), moment(9000)).await.unwrap().view.job;
    assert_eq!(job.phase, Phase::Ready);
    let mut all = all_names();
    all.insert("cluster shared".to_owned());
    assert_eq!(names(&cloud), all);
    let target = cloud.state().events.rules[BASE].targets["main"].clone();
    assert_eq!(target.arn(), arn("ecs", &format!("cluster/{BASE}")));
    assert_eq!(cloud.resources()[&format!("cluster {BASE}")].tags, our_tags());
    assert!(delete(&app, moment(9100)).await.unwrap().is_none());
    assert_eq!(names(&cloud), BTreeSet::from([LOG_GROUP.to_owned(), "cluster shared".to_owned()]));
}

/// Tasks of the job in a cluster that it named once, and of others there.
#[tokio::test]
async fn a_deletion_looks_after_the_tasks_in_former_clusters() {
    let cloud = cloud_with_shared();
    let app = cloud.app();
    let mut wanted = definition();
    wanted["cluster"] = json!("shared");
    app.job_create(team(), wanted, moment(0)).await.unwrap();
    for family in [BASE, "somebody-elses"] {
        let mut task = task::running(family, "0a");
        task.cluster_arn = Some(arn("ecs", "cluster/shared"));
        cloud.state().ecs.tasks.push(task);
    }
    let job = patch(&app, json!({"cluster": null}), moment(100)).await.unwrap().view.job;
    assert_eq!(job.phase, Phase::Ready);
    let mut task = task::running(BASE, "0b");
    task.task_definition_arn = Some(arn("ecs", &format!("task-definition/{BASE}:1")));
    cloud.state().ecs.tasks.push(task);

    let waiting = delete(&app, moment(200)).await.unwrap().unwrap();
    assert_eq!(waiting.job.reason.as_deref(), Some("waiting for 2 tasks to end"));
    task::ended(&mut cloud.state().ecs.tasks[2]);
    let waiting = delete(&app, moment(210)).await.unwrap().unwrap();
    assert_eq!(waiting.job.reason.as_deref(), Some("waiting for 1 task to end"));
    let deletion = Deletion { stop_tasks: true, delete_logs: true };
    app.job_delete(&key(), deletion, moment(220)).await.unwrap().unwrap();
    let desired = |number: usize| {
        let state = cloud.state();
        state.ecs.tasks[number].desired_status().unwrap().to_owned()
    };
    assert_eq!((desired(0), desired(1)), ("STOPPED".to_owned(), "RUNNING".to_owned()));
    task::ended(&mut cloud.state().ecs.tasks[0]);
    sweep_for_an_hour(&app, 220).await;
    assert!(stored(&app).await.is_none());
    assert_eq!(names(&cloud), BTreeSet::from(["cluster shared".to_owned()]));
}

#[tokio::test]
async fn a_deletion_takes_the_own_cluster_that_an_update_left_behind() {
    let cloud = cloud_with_shared();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.state().ecs.tasks.push(task::running(BASE, "0a"));
    patch(&app, json!({"cluster": "shared"}), moment(100)).await.unwrap();
    let waiting = delete(&app, moment(200)).await.unwrap().unwrap();
    assert_eq!(waiting.job.reason.as_deref(), Some("waiting for 1 task to end"));
    task::ended(&mut cloud.state().ecs.tasks[0]);
    assert!(delete(&app, moment(210)).await.unwrap().is_none());
    assert_eq!(names(&cloud), BTreeSet::from([LOG_GROUP.to_owned(), "cluster shared".to_owned()]));
}

/// What AWS refuses for good leaves the job running as it did.
#[tokio::test]
async fn an_update_that_is_refused_keeps_the_schedule_on_what_was() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.fail("ecs:RegisterTaskDefinition", 1, "ClientException", "Invalid image.");
    let job = patch(&app, json!({"image": "busybox:2"}), moment(100)).await.unwrap().view.job;
    assert_eq!((job.phase, job.observed_generation), (Phase::Failed, 1));
    assert!(job.reason.unwrap().contains("Invalid image"));
    assert_eq!(started_image(&cloud), "busybox:1");
    // The same again is an attempt, not a change.
    let job = patch(&app, json!({"image": "busybox:2"}), moment(110)).await.unwrap().view.job;
    assert_eq!((job.phase, job.generation), (Phase::Ready, 2));
    assert_eq!(started_image(&cloud), "busybox:2");
}

/// The job and its resources, without what is different each time; and how often was made what
/// leaves nothing behind when it is made twice.
fn outcome(
    cloud: &Cloud,
    job: Option<Job>,
) -> (Option<Job>, BTreeMap<String, Standing>, [usize; 2]) {
    let job = job.map(|job| Job { id: String::new(), ..job });
    let resources = cloud.resources();
    let state = cloud.state();
    let made = [state.ecs.task_definitions.len(), state.sns.asked_to_confirm.len()];
    (job, resources, made)
}

/// The job before and after; nothing of it is wanted in the same way.
fn thoroughly_changed() -> (Value, Value) {
    let mut before = definition();
    before["tags"] = json!({"cost-center": "42", "owner": "ops"});
    let change = json!({
        "description": "Says hello",
        "image": {"repository": "terraform-drift", "tag": "1.0.0"},
        "network": {"subnets": ["subnet-0f"]},
        "task_role": "arn:aws:iam::111122223333:role/app-report",
        "schedule": "rate(2 days)",
        "log_retention_days": 7,
        "tags": {"cost-center": "43", "owner": null, "stage": "test"},
        "notifications": {"subscribers": [{"protocol": "email", "endpoint": "new@example.com"}]},
    });
    (before, change)
}

/// A cloud with the job in it, everything confirmed.
async fn made(definition: &Value) -> (Cloud, App) {
    let cloud = cloud_with_shared();
    let app = cloud.app();
    app.job_create(team(), definition.clone(), moment(0)).await.unwrap();
    confirm(&cloud);
    cloud.take_calls();
    (cloud, app)
}

/// Each call of an update in turn is lost before and after its effect, throttled, answered with a
/// fault, and denied.
async fn whatever_becomes_of_a_call_it_ends_the_same(before: Value, change: Value) {
    let (clean, app) = made(&before).await;
    patch(&app, change.clone(), moment(10)).await.unwrap();
    let calls = clean.take_calls();
    sweep_for_an_hour(&app, 10).await;
    let wanted = outcome(&clean, stored(&app).await);
    assert_eq!(wanted.0.as_ref().unwrap().phase, Phase::Ready);
    assert!(calls.len() > 5, "{calls:?}");

    for trouble in Trouble::ALL {
        for (number, call) in calls.iter().enumerate() {
            let (cloud, app) = made(&before).await;
            cloud.trouble(number, trouble);
            let answer = patch(&app, change.clone(), short_moment(10)).await;
            assert!(cloud.has_failed());
            if stored(&app).await.unwrap().generation == 1 {
                assert!(answer.is_err(), "{call:?}");
                patch(&app, change.clone(), moment(10)).await.unwrap();
            }
            sweep_for_an_hour(&app, 10).await;
            assert_eq!(outcome(&cloud, stored(&app).await), wanted, "{call:?} {trouble:?}");
        }
    }
}

#[tokio::test]
async fn whatever_call_of_an_update_is_lost_it_ends_the_same() {
    let (before, change) = thoroughly_changed();
    whatever_becomes_of_a_call_it_ends_the_same(before, change).await;
}

#[tokio::test]
async fn whatever_call_of_a_move_to_a_named_cluster_is_lost_it_ends_the_same() {
    let change = json!({"cluster": "shared"});
    whatever_becomes_of_a_call_it_ends_the_same(definition(), change).await;
}

#[tokio::test]
async fn whatever_call_of_a_move_to_the_own_cluster_is_lost_it_ends_the_same() {
    let mut before = definition();
    before["cluster"] = json!("shared");
    whatever_becomes_of_a_call_it_ends_the_same(before, json!({"cluster": null})).await;
}

#[tokio::test]
async fn whatever_call_of_a_new_schedule_is_lost_it_ends_the_same() {
    let change = json!({"schedule": "rate(2 days)", "enabled": false});
    whatever_becomes_of_a_call_it_ends_the_same(definition(), change).await;
}

#[tokio::test]
async fn whatever_call_of_a_move_to_scheduler_is_lost_it_ends_the_same() {
    let change = json!({"flexible_window_minutes": 5, "image": "busybox:2"});
    whatever_becomes_of_a_call_it_ends_the_same(definition(), change).await;
}

#[tokio::test]
async fn whatever_call_of_a_move_to_a_rule_is_lost_it_ends_the_same() {
    let mut before = definition();
    before["flexible_window_minutes"] = json!(5);
    let change = json!({"flexible_window_minutes": null, "image": "busybox:2"});
    whatever_becomes_of_a_call_it_ends_the_same(before, change).await;
}

/// Whatever came of a change before its answer was lost: taken back, nothing of it is left.
#[tokio::test]
async fn a_change_taken_back_after_a_lost_call_is_taken_back_in_aws() {
    let (before, mut change) = thoroughly_changed();
    change["enabled"] = json!(false);
    let (clean, app) = made(&before).await;
    patch(&app, change.clone(), moment(10)).await.unwrap();
    let calls = clean.take_calls();

    // All but the revisions: there are as many as were tried.
    let standing = |cloud: &Cloud| {
        let mut all = cloud.resources();
        all.retain(|name, _| {
            !name.starts_with("task definition") && *name != format!("rule {BASE}")
        });
        // A subscriber that was ended is asked again: its subscription is another one.
        all.remove(&format!("topic {BASE}_failure"));
        all
    };
    for effect in [Effect::None, Effect::Done] {
        for (number, call) in calls.iter().enumerate() {
            let (cloud, app) = made(&before).await;
            let wanted = standing(&cloud);
            cloud.lose(number, effect);
            drop(patch(&app, change.clone(), short_moment(10)).await);
            // A subscription that nobody confirms can't be ended, and runs out by itself.
            confirm(&cloud);
            put(&app, before.clone(), short_moment(15)).await.unwrap();
            sweep_for_an_hour(&app, 15).await;
            let job = stored(&app).await.unwrap();
            assert_eq!((job.phase, &job.reason), (Phase::Ready, &None), "{call:?} {effect:?}");
            assert_eq!(job.observed_generation, job.generation);
            assert_eq!(started_image(&cloud), "busybox:1", "{call:?} {effect:?}");
            assert_eq!(standing(&cloud), wanted, "{call:?} {effect:?}");
            assert_eq!(endpoints(&cloud), ["ops@example.com"], "{call:?} {effect:?}");
            let state = cloud.state();
            let rule = &state.events.rules[BASE];
            assert!(rule.enabled, "{call:?} {effect:?}");
            assert_eq!(rule.schedule.as_deref(), Some("rate(1 day)"), "{call:?} {effect:?}");
        }
    }
}

/// While an update waits for IAM, another one comes: the first goes on with what the second wants.
#[tokio::test]
async fn an_update_during_a_reconcile_is_followed_by_it() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.state().events.target_refusals.push_back(TargetRefusal {
        code: "ValidationException",
        message: ROLE_DELAY,
        as_entry: true,
    });
    let second = async {
        let change = json!({"image": "busybox:3", "tags": {"stage": "test"}});
        let changed = patch(&app, change, moment(15)).await.unwrap();
        // The first holds the lease: the second is stored, and not made by its own request.
        assert_eq!(changed.view.job.phase, Phase::Provisioning);
        assert_eq!(changed.view.job.generation, 3);
    };
    let first = patch(&app, json!({"image": "busybox:2"}), moment(10));
    let (first, ()) = tokio::join!(first, second);
    let job = first.unwrap().view.job;
    assert_eq!((job.phase, job.generation, job.observed_generation), (Phase::Ready, 3, 3));
    assert_eq!(job, stored(&app).await.unwrap());
    assert_eq!(started_image(&cloud), "busybox:3");
    for (name, standing) in cloud.resources() {
        let old = name.starts_with("task definition") && !name.ends_with(":3");
        assert_eq!(standing.tags.contains_key("stage"), !old, "{name}");
    }
    assert_eq!(app.sweep(moment(3600)).await.unwrap().jobs, 0);
}

/// While an update waits for IAM, the job is deleted: the update takes it away.
#[tokio::test]
async fn a_deletion_during_an_update_is_followed_by_it() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.state().events.target_refusals.push_back(TargetRefusal {
        code: "ValidationException",
        message: ROLE_DELAY,
        as_entry: false,
    });
    let delete = async {
        let deleting = delete(&app, moment(15)).await.unwrap().unwrap();
        assert_eq!(deleting.job.phase, Phase::Deleting);
        let refused = patch(&app, json!({"image": "busybox:3"}), moment(16)).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    };
    let update = patch(&app, json!({"image": "busybox:2"}), moment(10));
    let (updated, ()) = tokio::join!(update, delete);
    assert!(matches!(updated, Err(Error::NotFound(_))), "{updated:?}");
    assert!(stored(&app).await.is_none());
    assert_eq!(names(&cloud), BTreeSet::from([LOG_GROUP.to_owned()]));
}

/// Truly at the same time, again and again: it ends as one of the two, with nothing in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_update_and_a_deletion_in_a_race_end_as_one_of_the_two() {
    for round in 0..30 {
        let cloud = Cloud::default();
        let app = cloud.app();
        create(&app, moment(0)).await.unwrap();
        let (one, other) = (app.clone(), app.clone());
        let mut wanted = definition();
        wanted["image"] = json!("busybox:2");
        let replace = round % 2 == 0;
        let update = tokio::spawn(async move {
            match replace {
                true => put(&one, wanted, moment(10)).await,
                false => patch(&one, json!({"image": "busybox:2"}), moment(10)).await,
            }
        });
        let deletion = tokio::spawn(async move { delete(&other, moment(10)).await });
        let updated = update.await.unwrap();
        deletion.await.unwrap().unwrap();
        sweep_for_an_hour(&app, 10).await;
        match stored(&app).await {
            // The update came when the job was gone, and made it anew.
            Some(job) => {
                assert!(updated.unwrap().created && replace);
                assert_eq!((job.phase, job.generation), (Phase::Ready, 1));
                assert_eq!(names(&cloud).len(), all_names().len());
                assert_eq!(started_image(&cloud), "busybox:2");
            }
            None => {
                let clean = match &updated {
                    Ok(changed) => !changed.created,
                    Err(error) => matches!(error, Error::Conflict(_) | Error::NotFound(_)),
                };
                assert!(clean, "{updated:?}");
                assert_eq!(names(&cloud), BTreeSet::from([LOG_GROUP.to_owned()]));
            }
        }
    }
}
