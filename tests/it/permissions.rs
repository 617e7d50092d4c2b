//! What `template.yaml` allows the functions is what they call, no less and no more: the local
//! cloud asks nobody for permission, and AWS does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use cronplane::app::{
    Answered, App, AuditWanted, JobsWanted, KeyedRequest, LogsWanted, RunsWanted,
};
use cronplane::domain::deployment::Deployment;
use cronplane::domain::ids::RunId;
use cronplane::domain::job::{Deletion, Phase};
use cronplane::domain::schedule::EngineChoice;
use cronplane::events::apply_batch;
use serde_json::json;

use crate::audit::author;
use crate::cloud::{Cloud, Effect, arn, deployment};
use crate::fallback::stop_waiting;
use crate::job::{
    BASE, at, create, definition, delete, key, moment, patch, put, short_moment, stored,
    sweep_for_an_hour, team,
};
use crate::task::{self, snapshot, state};

/// Actions without a call of their own: others need them, or Lambda itself.
const IMPLIED: [&str; 4] =
    ["iam:CreateServiceLinkedRole", "iam:PassRole", "logs:CreateLogStream", "logs:PutLogEvents"];

/// A resource of the template, in parts: each of its policies' statements, and what stands before them.
fn parts(resource: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    let template = fs::read_to_string(path).unwrap();
    let (_, rest) = template.split_once(&format!("\n  {resource}:\n")).unwrap();
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("   "));
    let mut parts = vec![String::new()];
    for line in lines.filter(|line| !line.trim_start().starts_with('#')) {
        if line.trim_start().starts_with("- Sid: ") {
            parts.push(String::new());
        }
        let part = parts.last_mut().unwrap();
        part.push_str(line);
        part.push('\n');
    }
    parts
}

fn is_denial(part: &str) -> bool {
    part.lines().any(|line| line.trim() == "Effect: Deny")
}

/// The actions that these resources of the template allow, of the services that are called here.
fn allowed(resources: &[&str]) -> BTreeSet<String> {
    let mut actions = BTreeSet::new();
    for resource in resources {
        let code = parts(resource).into_iter().filter(|part| !is_denial(part)).collect::<String>();
        for word in code.split([' ', ',', '[', ']', '\n']) {
            let Some((service, action)) = word.split_once(':') else { continue };
            let is_called =
                ["dynamodb", "ecs", "events", "iam", "logs", "scheduler", "servicequotas", "sns"]
                    .contains(&service);
            // Not the keys of conditions, behind which a colon stands.
            if is_called && action.bytes().all(|one| one.is_ascii_alphabetic()) {
                actions.insert(word.to_owned());
            }
        }
    }
    assert!(!actions.is_empty());
    actions
}

/// Whoever may write into the table may neither change nor delete what stands in the audit log. A condition
/// with `ForAllValues` alone would hold where there is no key to look at.
#[test]
fn the_audit_log_is_only_ever_added_to() {
    for resource in ["ProvisionPolicy", "EventsRole"] {
        let parts = parts(resource);
        let denials: Vec<&String> = parts.iter().filter(|part| is_denial(part)).collect();
        let [denial] = denials[..] else { panic!("{resource}: {denials:?}") };
        let lines: Vec<&str> =
            denial.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let wanted = [
            "- Sid: AuditLogStays",
            "Effect: Deny",
            "Action: [dynamodb:UpdateItem, dynamodb:DeleteItem]",
            "Resource: !GetAtt Table.Arn",
            "Condition:",
            r##""ForAllValues:StringLike": { "dynamodb:LeadingKeys": "AUDIT#*" }"##,
            r##""Null": { "dynamodb:LeadingKeys": "false" }"##,
        ];
        assert_eq!(lines, wanted, "{resource}");
        assert!(allowed(&[resource]).contains("dynamodb:UpdateItem"), "{resource}");
    }
    // All that may write: the others have the first one's policy.
    for resource in ["HttpRole", "SweepRole"] {
        let text: String = parts(resource).concat();
        assert!(
            text.contains("ManagedPolicyArns: [!Ref ProvisionPolicy, !Ref SchedulePolicy]"),
            "{resource}"
        );
        for write in ["dynamodb:UpdateItem", "dynamodb:DeleteItem"] {
            assert!(!text.contains(write), "{resource} {write}");
        }
    }
}

#[track_caller]
fn assert_allowed(cloud: &Cloud, resources: &[&str]) -> BTreeSet<String> {
    let calls = cloud.take_calls().into_iter();
    let mut called: BTreeSet<String> = calls.map(|call| call.operation.to_owned()).collect();
    // A transaction is allowed by what it is made of.
    if called.remove("dynamodb:TransactWriteItems") {
        let made_of = std::mem::take(&mut cloud.state().table.transacted);
        called.extend(made_of.into_iter().map(str::to_owned));
    }
    let allowed = allowed(resources);
    let denied: Vec<&String> = called.difference(&allowed).collect();
    assert!(denied.is_empty(), "{resources:?} do not allow {denied:?}");
    called
}

/// All that requests ask for, and all that can hinder it.
async fn every_request(cloud: &Cloud, app: &App) {
    // A create whose last write is lost finds everything there the next time.
    let other = Cloud::default();
    create(&other.app(), moment(0)).await.unwrap();
    let calls = other.take_calls();
    let last = calls.iter().rposition(|call| call.operation == "dynamodb:UpdateItem").unwrap();
    cloud.lose(last, Effect::None);
    create(app, short_moment(0)).await.unwrap();
    sweep_for_an_hour(app, 0).await;

    app.job_list(&team(), JobsWanted { limit: 10, ..JobsWanted::default() }, moment(4000))
        .await
        .unwrap();
    app.job_get(&key(), moment(4000)).await.unwrap();
    app.audit_list(&team(), AuditWanted { limit: 10, ..AuditWanted::default() }).await.unwrap();
    app.notification_test(&key(), moment(4000)).await.unwrap();
    app.quota_report(moment(4000)).await.unwrap();
    cloud.fail("events:PutRule", 1, "LimitExceededException", "The quota is used up.");
    app.job_set_enabled(&key(), false, moment(4000)).await.unwrap();
    app.job_set_enabled(&key(), true, moment(4001)).await.unwrap();
    app.ingest(&snapshot(&state("0a", 0, "RUNNING", 4)), at(4000)).await.unwrap();
    Box::pin(every_change(cloud, app)).await;
    let wanted = RunsWanted { limit: 10, ..RunsWanted::default() };
    app.run_list(&key(), wanted).await.unwrap();
    let run = RunId::parse("20261123T140000-0a").unwrap();
    let wanted = LogsWanted { container: None, tail: true, limit: 10, cursor: None };
    app.run_logs(&key(), &run, wanted).await.unwrap();
    Box::pin(every_start(cloud, app)).await;
    cloud.state().ecs.tasks.push(task::running(BASE, "0a"));
    let deletion = Deletion { stop_tasks: true, delete_logs: true };
    app.job_delete(&key(), deletion, moment(4002)).await.unwrap().unwrap();
    cloud.state().ecs.tasks.iter_mut().for_each(task::ended);
    assert!(delete(app, moment(4003)).await.unwrap().is_none());
}

/// Runs that are asked for, with and without a key, and stopped.
async fn every_start(cloud: &Cloud, app: &App) {
    let request = KeyedRequest::new(&team(), "key", "POST", "/runs", &json!({}));
    let Answered::Now(first) =
        app.run_start_keyed(&key(), json!({}), &request, moment(4001)).await.unwrap()
    else {
        panic!("nobody came before");
    };
    app.keep_answer(&request, "{}".to_owned()).await;
    app.run_stop(&key(), &first.run.id, json!({}), moment(4001)).await.unwrap();
    cloud.state().ecs.tasks.clear();
}

/// Of a job that has tags and a subscriber: to others, to another cluster, and back.
async fn every_change(cloud: &Cloud, app: &App) {
    cloud.state().ecs.clusters.insert("shared".to_owned(), Default::default());
    for topic in cloud.state().sns.topics.values_mut() {
        for subscription in &mut topic.subscriptions {
            subscription.2 = arn("sns", "topic:1");
        }
    }
    let mut wanted = definition();
    wanted["tags"] = json!({"stage": "test"});
    put(app, wanted, moment(4001)).await.unwrap();
    patch(app, json!({"tags": {"stage": null}}), moment(4001)).await.unwrap();
    let change = json!({
        "image": {"repository": "terraform-drift", "tag": "1.0.0"},
        "task_role": "arn:aws:iam::111122223333:role/app-report",
        "cluster": "shared",
        "log_retention_days": 7,
        "notifications": null,
    });
    let changed = patch(app, change, moment(4001)).await.unwrap();
    assert_eq!(changed.view.job.phase, Phase::Ready);
    put(app, definition(), moment(4001)).await.unwrap();
    // To Scheduler and back.
    for minutes in [json!(5), json!(6), json!(null)] {
        let change = json!({"flexible_window_minutes": minutes});
        Box::pin(patch(app, change, moment(4001))).await.unwrap();
    }
    cloud.state().ecs.clusters.get_mut(BASE).unwrap().capacity_providers.clear();
    patch(app, json!({"capacity": "spot"}), moment(4001)).await.unwrap();
}

#[tokio::test]
async fn the_api_and_the_sweeper_may_call_what_they_call_and_no_more() {
    let cloud = Cloud::default();
    let app = cloud.app();
    Box::pin(every_request(&cloud, &app.on_behalf_of(author("update_job")))).await;
    let granted = ["HttpRole", "ProvisionPolicy", "SchedulePolicy"];
    let called = assert_allowed(&cloud, &granted);
    let allowed = allowed(&granted);
    let unused: Vec<&String> =
        allowed.difference(&called).filter(|action| !IMPLIED.contains(&action.as_str())).collect();
    assert!(unused.is_empty(), "nothing calls {unused:?}");
}

#[tokio::test]
async fn the_sweeper_may_call_what_it_calls() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let granted = ["SweepRole", "ProvisionPolicy", "SchedulePolicy"];
    cloud.fail("iam:CreateRole", 2, "ServiceFailure", "later");
    create(&app, short_moment(0)).await.unwrap();
    app.ingest(&snapshot(&state("0a", 0, "RUNNING", 4)), at(0)).await.unwrap();
    cloud.state().ecs.tasks.push(task::running(BASE, "0a"));
    sweep_for_an_hour(&app, 0).await;
    // A run that is given up, and told.
    cloud.fail("ecs:RunTask", 1000, "ClientException", "Capacity is unavailable at this time.");
    app.run_start(&key(), json!({}), moment(3700)).await.unwrap();
    // A pause whose time comes, which the audit log tells.
    let resume_at = at(3800).to_string();
    app.job_pause(&key(), json!({"resume_at": resume_at}), moment(3700)).await.unwrap();
    cloud.take_calls();
    sweep_for_an_hour(&app, 3700).await;
    assert!(stored(&app).await.unwrap().definition.enabled);
    assert!(assert_allowed(&cloud, &granted).contains("events:PutEvents"));
    let deletion = Deletion { stop_tasks: true, delete_logs: true };
    app.job_delete(&key(), deletion, moment(8000)).await.unwrap();
    cloud.state().ecs.tasks.iter_mut().for_each(task::ended);
    cloud.take_calls();
    sweep_for_an_hour(&app, 8000).await;
    assert_allowed(&cloud, &granted);
    assert!(cloud.resources().is_empty());
}

#[tokio::test]
async fn the_history_may_call_what_it_calls_and_no_more() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.take_calls();
    for (status, version) in [("RUNNING", 4), ("PENDING", 2), ("STOPPED", 7), ("STOPPED", 7)] {
        let mut message = SqsMessage::default();
        message.body = Some(state("0a", 0, status, version).to_string());
        let mut batch = SqsEvent::default();
        batch.records = vec![message];
        let answer = apply_batch(&app, batch, moment(0)).await;
        assert!(answer.batch_item_failures.is_empty());
    }
    // Starts: on demand for want of Spot; on Spot, and stopped by somebody meanwhile; too late.
    patch(&app, json!({"capacity": "spot_with_fallback"}), moment(1)).await.unwrap();
    cloud.take_calls();
    for (number, now) in [1, 1, 5000].into_iter().enumerate() {
        cloud.state().ecs.no_spot = number == 0;
        cloud.state().ecs.meanwhile = (number == 1).then_some(stop_waiting);
        let target = cloud.state().events.rules[BASE].targets["main"].clone();
        let template = target.input_transformer().unwrap().input_template().to_owned();
        let slot = at(number as i64).to_string();
        let mut message = SqsMessage::default();
        message.event_source_arn = Some(deployment().start_queue_arn);
        message.body = Some(template.replace("<time>", &slot));
        let mut batch = SqsEvent::default();
        batch.records = vec![message];
        let answer = apply_batch(&app, batch, moment(now)).await;
        assert!(answer.batch_item_failures.is_empty());
    }
    let called_before = assert_allowed(&cloud, &["EventsRole"]);
    // A failure that the stack's rule found, of a job that has none of its own.
    let shared = Deployment { engine: EngineChoice::Scheduler, ..deployment() };
    patch(&cloud.app_of(shared.clone()), json!({"description": "moved"}), moment(2)).await.unwrap();
    cloud.take_calls();
    let mut message = SqsMessage::default();
    message.event_source_arn = Some(shared.alert_queue_arn.clone());
    message.body = Some(state("0a", 0, "STOPPED", 7).to_string());
    let mut batch = SqsEvent::default();
    batch.records = vec![message];
    let answer = apply_batch(&cloud.app_of(shared), batch, moment(3)).await;
    assert!(answer.batch_item_failures.is_empty());
    let mut called = assert_allowed(&cloud, &["EventsRole"]);
    called.extend(called_before);
    let allowed = allowed(&["EventsRole"]);
    // RunTask needs it for the tags that the task gets.
    let implied = |action: &str| IMPLIED.contains(&action) || action == "ecs:TagResource";
    let unused: Vec<&String> =
        allowed.difference(&called).filter(|action| !implied(action)).collect();
    assert!(unused.is_empty(), "nothing calls {unused:?}");
}

/// Each role may put the events that its function puts, and no others.
#[tokio::test]
async fn events_are_put_of_the_kinds_that_are_allowed() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    app.notification_test(&key(), moment(4000)).await.unwrap();
    cloud.fail("ecs:RunTask", 1, "InvalidParameterException", "No such subnet.");
    app.run_start(&key(), json!({}), moment(10)).await.unwrap();
    let state = cloud.state();
    let kinds: Vec<&str> = state.events.put.iter().filter_map(|one| one.detail_type()).collect();
    let [test, failed] = kinds[..] else { panic!("two events") };
    assert!(state.events.put.iter().all(|one| one.source() == Some("cronplane.cronplane")));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    let template = fs::read_to_string(path).unwrap();
    for (role, kinds) in [
        ("HttpRole", format!("[{test}, {failed}]")),
        ("EventsRole", failed.to_owned()),
        ("SweepRole", failed.to_owned()),
    ] {
        let (_, rest) = template.split_once(&format!("\n  {role}:\n")).unwrap();
        let (_, rest) = rest.split_once("events:PutEvents\n").unwrap();
        let (_, rest) = rest.split_once("StringEquals:\n").unwrap();
        let conditions: Vec<&str> = rest.lines().take(2).map(str::trim).collect();
        let wanted = [
            "events:source: !Sub cronplane.${AWS::StackName}".to_owned(),
            format!("events:detail-type: {kinds}"),
        ];
        assert_eq!(conditions, wanted, "{role}");
    }
}

/// A job in a cluster that it names needs nothing more.
#[tokio::test]
async fn a_named_cluster_needs_no_other_permission() {
    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.state().ecs.clusters.insert("shared".to_owned(), Default::default());
    let mut wanted = definition();
    wanted["cluster"] = json!("shared");
    app.job_create(team(), wanted, moment(0)).await.unwrap();
    delete(&app, moment(60)).await.unwrap();
    assert_allowed(&cloud, &["HttpRole", "ProvisionPolicy", "SchedulePolicy"]);
}
