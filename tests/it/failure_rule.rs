//! The failure rule tells of every failed run and of nothing else, and what it tells is JSON.

use std::collections::BTreeMap;

use aws_sdk_eventbridge::types::Target;
use cronplane::domain::ids::{JobKey, JobName, TeamName};
use cronplane::domain::job::Phase;
use cronplane::domain::run::{Run, RunStatus, Trigger};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::cloud::{Cloud, REGION, deployment, wide_team};
use crate::history::with_job;
use crate::http::Api;
use crate::job::{BASE, JOB, create, definition, key, moment, sweep_for_an_hour};
use crate::task::{STATES, snapshot, state};

const STOP_CODES: [Option<&str>; 9] = [
    Some("TaskFailedToStart"),
    Some("EssentialContainerExited"),
    Some("UserInitiated"),
    Some("ServiceSchedulerInitiated"),
    Some("SpotInterruption"),
    Some("TerminationNotice"),
    Some("InfrastructureHealth"),
    // AWS adds codes, and promises none.
    Some("SomethingNew"),
    None,
];

/// Whether EventBridge matches `event` with `pattern`, as far as patterns are used here; what is not
/// understood panics.
///
/// Source: Amazon EventBridge User Guide, "Comparison operators for use in event patterns", and for
/// arrays the documentation of Event Ruler: the fields of one element are matched together, and
/// `exists: false` wants that no element has the field.
fn matches(pattern: &Map<String, Value>, event: &Map<String, Value>) -> bool {
    pattern.iter().all(|(name, wanted)| match wanted {
        Value::Array(any) if name == "$or" => {
            any.iter().any(|one| matches(one.as_object().unwrap(), event))
        }
        Value::Array(any) => any.iter().any(|one| value_matches(one, event.get(name))),
        Value::Object(wanted) => match event.get(name) {
            None => matches(wanted, &Map::new()),
            Some(Value::Object(found)) => matches(wanted, found),
            Some(Value::Array(elements)) => element_matches(wanted, elements),
            Some(other) => panic!("no object at {name}: {other}"),
        },
        other => panic!("no pattern: {other}"),
    })
}

fn element_matches(wanted: &Map<String, Value>, elements: &[Value]) -> bool {
    let (absent, present): (Map<_, _>, Map<_, _>) =
        wanted.clone().into_iter().partition(|(_, any)| *any == json!([{"exists": false}]));
    let mixed = present.values().any(|any| any.to_string().contains("exists"));
    assert!(!mixed, "what EventBridge makes of this is not known here: {wanted:?}");
    let elements: Vec<_> = elements.iter().map(|one| one.as_object().unwrap()).collect();
    let none_has = absent.keys().all(|name| elements.iter().all(|one| !one.contains_key(name)));
    none_has && (present.is_empty() || elements.iter().any(|one| matches(&present, one)))
}

fn value_matches(wanted: &Value, found: Option<&Value>) -> bool {
    let Value::Object(operator) = wanted else {
        return found == Some(wanted);
    };
    let (name, operand) = operator.iter().next().unwrap();
    assert_eq!(operator.len(), 1, "{wanted}");
    match (name.as_str(), operand) {
        ("exists", Value::Bool(exists)) => found.is_some() == *exists,
        ("prefix", Value::String(prefix)) => {
            found.and_then(Value::as_str).is_some_and(|text| text.starts_with(prefix))
        }
        // A field that is not there is not anything else either.
        ("anything-but", Value::Array(list)) => found.is_some_and(|found| !list.contains(found)),
        ("anything-but", one) => found.is_some_and(|found| found != one),
        _ => panic!("no operator: {wanted}"),
    }
}

/// What a create put: the failure rule's pattern, and the targets of both rules by the rule's name.
pub(crate) async fn put() -> (Map<String, Value>, BTreeMap<String, Target>) {
    let cloud = Cloud::default();
    create(&cloud.app(), moment(0)).await.unwrap();
    let state = cloud.state();
    let rules = state.events.rules.iter();
    let targets = rules.map(|(name, rule)| (name.clone(), rule.targets["main"].clone())).collect();
    let failure_rule = &state.events.rules[&format!("{BASE}_failure")];
    let pattern = serde_json::from_str(failure_rule.pattern.as_ref().unwrap()).unwrap();
    (pattern, targets)
}

pub(crate) fn container(name: &str, exit_code: Option<i32>) -> Value {
    match exit_code {
        Some(exit_code) => json!({"name": name, "lastStatus": "STOPPED", "exitCode": exit_code}),
        None => json!({"name": name, "lastStatus": "STOPPED"}),
    }
}

/// The event of a task at `status` that ended, or ends, in this way.
pub(crate) fn ended(status: &str, stop_code: Option<&str>, containers: Vec<Value>) -> Value {
    let mut event = state("0a", 0, status, 7);
    let detail = event["detail"].as_object_mut().unwrap();
    detail.insert("containers".to_owned(), Value::Array(containers));
    detail.remove("stopCode");
    if let Some(code) = stop_code {
        detail.insert("stopCode".to_owned(), json!(code));
    }
    event
}

#[track_caller]
fn assert_told_as_shown(pattern: &Map<String, Value>, event: &Value) {
    let shown = Run::of_task(&snapshot(event), Trigger::Schedule).status;
    let told = matches(pattern, event.as_object().unwrap());
    assert_eq!(told, shown.is_failure(), "{shown:?}: {}", event["detail"]);
}

#[tokio::test]
async fn what_the_history_calls_a_failure_is_told_and_nothing_else() {
    let (pattern, _) = put().await;
    let exit_codes = [None, Some(0), Some(1), Some(137), Some(143), Some(255), Some(-1)];
    for stop_code in STOP_CODES {
        for status in STATES {
            let mut containers = vec![Vec::new()];
            for main in exit_codes {
                containers.push(vec![container("main", main)]);
                if main.is_some() {
                    for sidecar in exit_codes {
                        let sidecar = container("log-router", sidecar);
                        let main = container("main", main);
                        containers.push(vec![main.clone(), sidecar.clone()]);
                        containers.push(vec![sidecar, main]);
                    }
                }
            }
            for containers in containers {
                assert_told_as_shown(&pattern, &ended(status, stop_code, containers));
            }
        }
    }
}

#[tokio::test]
async fn failures_of_every_revision_and_in_every_cluster_are_told_and_of_no_other_job() {
    let (pattern, _) = put().await;
    let family = format!("task-definition/{BASE}");
    for (other, told) in [
        (format!("{family}:1"), true),
        (format!("{family}:27"), true),
        (format!("{family}-two:1"), false),
        (format!("task-definition/x{BASE}:1"), false),
    ] {
        let mut event =
            ended("STOPPED", Some("EssentialContainerExited"), vec![container("main", Some(1))]);
        event["detail"]["taskDefinitionArn"] = json!(crate::cloud::arn("ecs", &other));
        event["detail"]["clusterArn"] = json!(crate::cloud::arn("ecs", "cluster/any"));
        assert_eq!(matches(&pattern, event.as_object().unwrap()), told, "{other}");
    }
}

#[tokio::test]
async fn a_test_of_the_notifications_is_told() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    let mut other = definition();
    other["name"] = json!("other");
    app.job_create(crate::job::team(), other, moment(0)).await.unwrap();
    app.notification_test(&key(), moment(0)).await.unwrap();
    let state = cloud.state();
    let entry = &state.events.put[0];
    let event = json!({
        "source": entry.source(),
        "detail-type": entry.detail_type(),
        "detail": serde_json::from_str::<Value>(entry.detail().unwrap()).unwrap(),
    });
    for (name, told) in [(BASE, true), ("cronplane_platform_other", false)] {
        let rule = &state.events.rules[&format!("{name}_failure")];
        let pattern = serde_json::from_str(rule.pattern.as_ref().unwrap()).unwrap();
        assert_eq!(matches(&pattern, event.as_object().unwrap()), told);
        let message = rendered(&rule.targets["main"], &event);
        assert_eq!(message["event"], event);
    }
}

/// The events that were put of the job's runs, as its rule and another job's get them, oldest first.
pub(crate) fn told(cloud: &Cloud) -> Vec<Value> {
    let state = cloud.state();
    let rule = &state.events.rules[&format!("{BASE}_failure")];
    let pattern: Value = serde_json::from_str(rule.pattern.as_ref().unwrap()).unwrap();
    let entries = state.events.put.iter().map(|entry| {
        let event = json!({
            "source": entry.source(),
            "detail-type": entry.detail_type(),
            "detail": serde_json::from_str::<Value>(entry.detail().unwrap()).unwrap(),
        });
        assert!(matches(pattern.as_object().unwrap(), event.as_object().unwrap()), "{event}");
        let mut other = event.clone();
        other["detail"]["job"] = json!("other");
        assert!(!matches(pattern.as_object().unwrap(), other.as_object().unwrap()));
        assert_whole(&rendered(&rule.targets["main"], &event), &event);
        event["detail"].clone()
    });
    entries.collect()
}

#[track_caller]
pub(crate) fn assert_tells(detail: &Value, run: &Run) {
    let url = format!("https://api.example.com/v1/teams/platform/jobs/{JOB}/runs/{}", run.id);
    let wanted = json!({
        "team": "platform",
        "job": JOB,
        "run": run.id,
        "runUrl": url,
        "status": run.status,
        "message": run.stopped_reason,
        "scheduled_time": run.scheduled_time,
        "taskArn": "none",
        "createdAt": run.created_at,
    });
    assert_eq!(*detail, wanted);
}

/// ECS makes no event of what it did not start.
#[tokio::test]
async fn a_run_that_ends_without_a_task_is_told_once() {
    // Refused.
    let api = Api::with_job().await;
    let (cloud, app) = (&api.cloud, api.cloud.app());
    let refusal = "User: x is not authorized to perform: iam:PassRole on \"y\"";
    cloud.fail("ecs:RunTask", 1, "AccessDeniedException", refusal);
    let run = app.run_start(&key(), json!({}), moment(10)).await.unwrap().run;
    assert_eq!(run.status, RunStatus::FailedToStart);
    let [detail] = &told(cloud)[..] else { panic!("one event") };
    assert_tells(detail, &run);
    assert!(detail["message"].as_str().unwrap().contains(refusal));
    let url = detail["runUrl"].as_str().unwrap();
    let found = api.get(url.strip_prefix("https://api.example.com").unwrap()).await.json();
    assert_eq!(found["id"], run.id.as_str());

    // Given up, in a sweep; and closed, as nobody knows.
    for (code, message, status) in [
        ("ClientException", "Capacity is unavailable at this time.", RunStatus::FailedToStart),
        ("ServerException", "later", RunStatus::Unknown),
    ] {
        let (cloud, app) = with_job().await;
        cloud.fail("ecs:RunTask", 1000, code, message);
        let id = app.run_start(&key(), json!({}), moment(10)).await.unwrap().run.id;
        assert_eq!(told(&cloud), [Value::Null; 0]);
        if status == RunStatus::Unknown {
            app.sweep(moment(3700)).await.unwrap();
        } else {
            sweep_for_an_hour(&app, 10).await;
        }
        let run = app.run_get(&key(), &id).await.unwrap().run;
        assert_eq!(run.status, status);
        let [detail] = &told(&cloud)[..] else { panic!("one event") };
        assert_tells(detail, &run);
    }
}

#[tokio::test]
async fn a_run_that_somebody_stopped_before_its_task_is_not_told() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.run_failures.push_back(("RESOURCE:FARGATE", "later"));
    let id = app.run_start(&key(), json!({}), moment(10)).await.unwrap().run.id;
    app.run_stop(&key(), &id, json!({}), moment(75)).await.unwrap();
    assert_eq!(app.run_get(&key(), &id).await.unwrap().run.status, RunStatus::Stopped);
    assert_eq!(told(&cloud), [Value::Null; 0]);
}

/// A run that has ended is not come back to: it ends once it was told.
#[tokio::test]
async fn a_failure_that_can_not_be_told_is_told_later() {
    let (cloud, app) = with_job().await;
    cloud.fail("ecs:RunTask", 2, "InvalidParameterException", "No such subnet.");
    cloud.fail("events:PutEvents", 1, "AccessDeniedException", "not authorized");
    let run = app.run_start(&key(), json!({}), moment(10)).await.unwrap().run;
    assert_eq!(run.status, RunStatus::Pending);
    assert_eq!(told(&cloud), [Value::Null; 0]);
    sweep_for_an_hour(&app, 10).await;
    let ended = app.run_get(&key(), &run.id).await.unwrap().run;
    assert_eq!(ended.status, RunStatus::FailedToStart);
    let [detail] = &told(&cloud)[..] else { panic!("one event") };
    assert_tells(detail, &ended);
}

/// The longest names that CloudFormation and Cronplane allow.
/// What the stack's own rule in the template finds is what the rules of all its jobs find.
#[tokio::test]
async fn the_rule_of_the_stack_finds_what_the_rules_of_its_jobs_find() {
    let template = include_str!("../../template.yaml");
    let (_, rest) = template.split_once("\n  FailureRule:\n").unwrap();
    let (_, rest) = rest.split_once("      EventPattern:\n").unwrap();
    let (text, _) = rest.split_once("      Targets:\n").unwrap();
    let deployment = deployment();
    let text = text
        .replace("!Sub ", "")
        .replace("${AWS::Partition}", &deployment.partition)
        .replace("${AWS::Region}", &deployment.region)
        .replace("${AWS::AccountId}", &deployment.account)
        .replace("${AWS::StackName}", &deployment.stack);
    let pattern: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(pattern, cronplane::provision::stack_pattern(&deployment));
    // And that is a job's, but for whose task or event it is.
    let (of_job, _) = put().await;
    let ours = format!("task-definition/{BASE}:");
    let mut alike = Value::Object(of_job).to_string().replace(&ours, "task-definition/cronplane_");
    alike =
        alike.replace(&format!(",\"detail\":{{\"team\":[\"platform\"],\"job\":[\"{JOB}\"]}}"), "");
    assert_eq!(serde_json::from_str::<Value>(&alike).unwrap(), pattern);
}

#[tokio::test]
async fn the_pattern_fits_whatever_the_names_are() {
    let cloud = Cloud::default();
    let mut deployment = deployment();
    deployment.stack = "S".repeat(128);
    let app = cloud.app_of(deployment);
    let team = TeamName::parse(&"t".repeat(32)).unwrap();
    cloud.put_team(&wide_team(team.as_str()));
    let mut wanted = definition();
    wanted["name"] = json!("j".repeat(64));
    let job = app.job_create(team.clone(), wanted, moment(0)).await.unwrap().job;
    assert_eq!((job.phase, job.reason), (Phase::Ready, None));
    let lengths: Vec<usize> = {
        let state = cloud.state();
        let patterns = state.events.rules.values().filter_map(|rule| rule.pattern.as_ref());
        patterns.map(String::len).collect()
    };
    let [length] = lengths[..] else { panic!("one pattern") };
    // In the longest region of the partition with the longest name.
    let longer = "aws-us-gov".len() - "aws".len() + "ap-southeast-99".len() - REGION.len();
    assert!(length + 3 * longer <= 2048, "{length}");
    // And it is found again to be taken away.
    let key = JobKey::new(team, JobName::parse(&"j".repeat(64)).unwrap());
    app.job_delete(&key, Default::default(), moment(10)).await.unwrap();
    assert!(cloud.state().events.rules.is_empty());
}

/// The value at a JSON path of the form `$.a.b`.
fn at_path<'e>(event: &'e Value, path: &str) -> Option<&'e Value> {
    let parts = path.strip_prefix("$.").unwrap().split('.');
    let mut parts = parts;
    parts.try_fold(event, |value, part| value.get(part))
}

/// What an input transformer makes of an event: EventBridge puts values in as they are, without
/// escapes, and the event where it is asked for.
pub(crate) fn rendered(target: &Target, event: &Value) -> Value {
    let transformer = target.input_transformer().unwrap();
    let mut text = transformer.input_template().to_owned();
    assert!(text.len() <= 8192, "{}", text.len());
    for (name, path) in transformer.input_paths_map().unwrap() {
        // A path that leads nowhere makes no variable.
        let value = match at_path(event, path) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        text = text.replace(&format!("<{name}>"), &value);
    }
    let text = text.replace("<aws.events.event.json>", &event.to_string());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn assert_whole(message: &Value, event: &Value) {
    assert_eq!(message["event"], *event);
    assert_eq!(message["team"], "platform");
    assert_eq!(message["job"], JOB);
    assert_eq!(message["region"], REGION);
    assert_eq!(message["stack"], "cronplane");
    assert_eq!(
        message["logs"],
        "https://us-west-2.console.aws.amazon.com/cloudwatch/home?region=us-west-2#logsV2:\
         log-groups/log-group/$252Fcronplane$252Fcronplane$252Fplatform$252Fnightly-report"
    );
    assert_eq!(message.as_object().unwrap().len(), 7);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_message_is_json_whatever_the_event_holds(
        reason in "[\\PC\"\\\\\n\r\t<>{}]{0,80}",
        exit_code in prop::option::of(any::<i32>()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_, targets) = runtime.block_on(put());
        let mut event = ended("STOPPED", Some("TaskFailedToStart"), vec![container("main", exit_code)]);
        event["detail"]["stoppedReason"] = json!(reason);
        event["detail"]["containers"][0]["reason"] = json!(reason);
        let message = rendered(&targets[&format!("{BASE}_failure")], &event);
        assert_whole(&message, &event);
    }
}

/// The link in the message leads to the run.
#[tokio::test]
async fn the_link_of_a_message_finds_the_run() {
    let api = Api::with_job().await;
    let event = state("0a", 0, "STOPPED", 7);
    api.ingest(&event).await;
    api.ingest(&state("0b", 0, "STOPPED", 7)).await;
    let target = {
        let state = api.cloud.state();
        state.events.rules[&format!("{BASE}_failure")].targets["main"].clone()
    };
    let message = rendered(&target, &event);
    let link = message["run"].as_str().unwrap();
    let path = link.strip_prefix("https://api.example.com").unwrap();
    let found = api.get(path).await.json();
    let items = found["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{found}");
    assert_eq!(items[0]["task_arn"], event["detail"]["taskArn"]);
}

#[tokio::test]
async fn a_schedule_gives_the_task_the_time_that_it_meant() {
    let (_, targets) = put().await;
    let event = json!({
        "version": "0",
        "source": "aws.events",
        "detail-type": "Scheduled Event",
        "time": "2026-11-23T14:05:00Z",
        "detail": {},
    });
    let wanted = json!({"containerOverrides": [{
        "name": "main",
        "environment": [{"name": "SCHEDULED_TIME", "value": "2026-11-23T14:05:00Z"}],
    }]});
    assert_eq!(rendered(&targets[BASE], &event), wanted);
}

/// The matcher itself, on the examples of EventBridge's documentation.
#[test]
fn patterns_match_as_eventbridge_has_it() {
    let event = json!({
        "source": "aws.ecs",
        "detail": {
            "code": 1,
            "list": [{"name": "a", "exit": 0}, {"name": "b", "exit": 1}, {"name": "c"}],
        },
    });
    for (pattern, told) in [
        (json!({"source": ["aws.ec2", "aws.ecs"]}), true),
        (json!({"source": [{"prefix": "aws."}], "detail": {"code": [2]}}), false),
        (json!({"detail": {"code": [{"anything-but": [1, 2]}]}}), false),
        (json!({"detail": {"code": [{"anything-but": 2}]}}), true),
        (json!({"detail": {"none": [{"anything-but": 2}]}}), false),
        (json!({"detail": {"none": [{"anything-but": 2}, {"exists": false}]}}), true),
        (json!({"none": {"deeper": [{"exists": false}]}}), true),
        (json!({"detail": {"code": [{"exists": true}]}}), true),
        (json!({"detail": {"list": {"name": ["a"], "exit": [1]}}}), false),
        (json!({"detail": {"list": {"name": ["b"], "exit": [{"anything-but": 0}]}}}), true),
        (json!({"detail": {"list": {"name": ["c"], "exit": [{"anything-but": 0}]}}}), false),
        (json!({"detail": {"list": {"name": ["c"], "exit": [{"exists": false}]}}}), false),
        (json!({"detail": {"list": {"other": [{"exists": false}]}}}), true),
        (json!({"$or": [{"source": ["x"]}, {"detail": {"code": [1]}}]}), true),
        (json!({"source": ["x"], "$or": [{"detail": {"code": [1]}}]}), false),
    ] {
        let pattern = pattern.as_object().unwrap();
        assert_eq!(matches(pattern, event.as_object().unwrap()), told, "{pattern:?}");
    }
}
