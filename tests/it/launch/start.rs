//! A run is asked for, and its task started.

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ecs::types::{AssignPublicIp, LaunchType, PropagateTags};
use cronplane::app::{LogsWanted, RunsWanted};
use cronplane::domain::run::{Run, RunStatus, Trigger};
use cronplane::error::Error;
use serde_json::json;

use super::{
    end_tasks, is_anything_due, run, run_now, runs, sweep_the_rest, task_definition_arn, tasks,
};
use crate::cloud::{Cloud, State, arn};
use crate::history::{self, with_job};
use crate::job::{BASE, at, delete, key, moment, patch, stored};

/// RunTask is asked for what the schedule's target is, and for what the request changes.
#[tokio::test]
async fn a_run_is_the_jobs_task_with_what_the_request_changes() {
    let (cloud, app) = with_job().await;
    let overrides = json!({
        "command": ["sh", "-c", "true"],
        "environment": {"MODE": "full"},
        "memory": 1024,
    });
    let run = app.run_start(&key(), overrides, moment(10)).await.unwrap().run;
    assert_eq!((run.status, run.trigger), (RunStatus::Pending, Trigger::Manual));
    assert_eq!(run.created_at, at(10));
    assert!(run.id.as_str().starts_with("20261123T140010-"), "{}", run.id);
    assert_eq!(run.id.task_id().len(), 32);

    let state = cloud.state();
    let [input] = &state.ecs.runs[..] else { panic!("one task") };
    assert_eq!(input.cluster(), Some(&*arn("ecs", &format!("cluster/{BASE}"))));
    assert_eq!(input.task_definition(), Some(&*task_definition_arn()));
    assert_eq!(input.count(), Some(1));
    assert_eq!(input.launch_type(), Some(&LaunchType::Fargate));
    assert_eq!(input.group(), Some(&*format!("family:{BASE}")));
    assert_eq!(input.started_by(), Some(&*format!("cronplane/{}", run.id)));
    assert_eq!(input.client_token(), Some(run.id.as_str()));
    assert_eq!(input.propagate_tags(), Some(&PropagateTags::TaskDefinition));
    let network = input.network_configuration().unwrap().awsvpc_configuration().unwrap();
    assert_eq!(network.subnets(), ["subnet-0a", "subnet-0b"]);
    assert_eq!(network.security_groups(), ["sg-0a"]);
    assert_eq!(network.assign_public_ip(), Some(&AssignPublicIp::Enabled));
    let overrides = input.overrides().unwrap();
    assert_eq!((overrides.cpu(), overrides.memory()), (Some("256"), Some("1024")));
    let [main] = overrides.container_overrides() else { panic!("one container") };
    assert_eq!(main.name(), Some("main"));
    assert_eq!(main.command(), ["sh", "-c", "true"]);
    let [variable] = main.environment() else { panic!("one variable") };
    assert_eq!((variable.name(), variable.value()), (Some("MODE"), Some("full")));

    // What ECS answered was taken in.
    assert_eq!(run.task_arn.as_deref(), state.ecs.tasks[0].task_arn());
    assert_eq!((run.version, run.cpu, run.memory), (1, Some(256), Some(1024)));
    assert_eq!(run.launch, None);
    let told = json!({
        "containerOverrides": [{
            "name": "main",
            "command": ["sh", "-c", "true"],
            "environment": [{"name": "MODE", "value": "full"}],
        }],
        "cpu": "256",
        "memory": "1024",
    });
    assert_eq!(run.overrides, told);
}

#[tokio::test]
async fn without_overrides_nothing_is_overridden() {
    let (cloud, app) = with_job().await;
    run_now(&app, moment(10)).await.unwrap();
    let state = cloud.state();
    let overrides = state.ecs.runs[0].overrides().unwrap();
    assert_eq!((overrides.cpu(), overrides.memory()), (None, None));
    let [main] = overrides.container_overrides() else { panic!("one container") };
    assert!(main.command.is_none() && main.environment.is_none());
}

/// The run is in the table before ECS is asked, as ECS will tell it; and the job shows it.
#[tokio::test]
async fn what_is_written_before_agrees_with_what_comes_of_it() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.run_failures.push_back(("RESOURCE:FARGATE", "later"));
    let overrides = json!({"command": ["true"], "cpu": 1024, "memory": 2048});
    let asked = app.run_start(&key(), overrides, moment(10)).await.unwrap().run;
    assert_eq!(asked.task_arn, None);
    let shown = stored(&app).await.unwrap().recent_runs.newest().cloned().unwrap();
    assert_eq!((shown.id, shown.status), (asked.id.clone(), RunStatus::Pending));
    let [item] = &history::run_items(&cloud)[..] else { panic!("one run") };
    let expires = at(10).as_second() + 400 * 86_400;
    assert_eq!(item["expires_at"].as_n().unwrap(), &expires.to_string());

    assert_eq!(app.sweep(moment(60)).await.unwrap().runs, 0);
    assert_eq!(app.sweep(moment(71)).await.unwrap().runs, 1);
    let started = run(&app, &asked.id).await;
    let expected = Run {
        task_arn: tasks(&cloud)[0].task_arn.clone(),
        version: 1,
        task_created_at: Some(at(0)),
        containers: started.containers.clone(),
        stopped_reason: None,
        capacity_provider: Some("FARGATE".to_owned()),
        launch: None,
        ..asked
    };
    assert_eq!(started, expected);
    let [item] = &history::run_items(&cloud)[..] else { panic!("one run") };
    assert_eq!(item["expires_at"].as_n().unwrap(), &expires.to_string());
}

#[tokio::test]
async fn a_paused_job_can_be_run_and_one_that_is_not_ready_can_not() {
    let (cloud, app) = with_job().await;
    app.job_set_enabled(&key(), false, moment(5)).await.unwrap();
    run_now(&app, moment(10)).await.unwrap();
    assert_eq!(tasks(&cloud).len(), 1);

    cloud.fail("ecs:RegisterTaskDefinition", 1, "ClientException", "No such thing.");
    patch(&app, json!({"image": "busybox:2"}), moment(20)).await.unwrap();
    let Err(Error::Conflict(detail)) = run_now(&app, moment(30)).await else { panic!("not ready") };
    assert!(detail.contains("is failed: task_definition: "), "{detail}");
    assert!(detail.contains("No such thing."), "{detail}");

    let deleting = delete(&app, moment(40)).await.unwrap();
    assert!(deleting.is_some(), "its task runs");
    let refused = run_now(&app, moment(50)).await;
    assert!(matches!(&refused, Err(Error::Conflict(detail)) if detail.contains("being deleted")));
    end_tasks(&cloud);
    assert!(delete(&app, moment(60)).await.unwrap().is_none());
    let refused = run_now(&app, moment(70)).await;
    assert!(matches!(refused, Err(Error::NotFound(_))));
    assert_eq!(runs(&app).await.len(), 1);
}

/// A job that names a cluster runs there; a run keeps to what was asked for, whatever becomes of the
/// definition before it is started.
#[tokio::test]
async fn a_run_is_of_the_definition_it_was_asked_for() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.clusters.insert("shared".to_owned(), Default::default());
    patch(&app, json!({"cluster": "shared"}), moment(1)).await.unwrap();
    cloud.state().ecs.run_failures.push_back(("RESOURCE:ENI", "later"));
    run_now(&app, moment(10)).await.unwrap();
    let change =
        json!({"network": {"subnets": ["subnet-0c"]}, "cluster": null, "image": "busybox:2"});
    patch(&app, change, moment(20)).await.unwrap();
    app.sweep(moment(71)).await.unwrap();
    let state = cloud.state();
    let [input] = &state.ecs.runs[..] else { panic!("one task") };
    assert_eq!(input.cluster(), Some(&*arn("ecs", "cluster/shared")));
    assert_eq!(input.task_definition(), Some(&*task_definition_arn()));
    let network = input.network_configuration().unwrap().awsvpc_configuration().unwrap();
    assert_eq!(network.subnets(), ["subnet-0a", "subnet-0b"]);
}

/// What passes is waited for, and what ECS said stands in the run meanwhile.
#[tokio::test]
async fn a_refusal_that_passes_is_tried_again_until_it_does() {
    for (code, message) in [
        (
            "ClientException",
            "ECS was unable to assume the role 'arn:aws:iam::1:role/x' that was ...",
        ),
        ("ThrottlingException", "Rate exceeded"),
        ("ServerException", "Service Unavailable. Please try again later."),
        ("ClientException", "Capacity is unavailable at this time. Please try again later"),
        ("LimitExceededException", "You've reached the limit on the number of vCPUs you can run"),
        ("LimitExceededException", "You’ve reached the limit on the number of vCPUs you can run"),
        (
            "InvalidParameterException",
            "Unable to assume the service linked role. Please verify that the ECS service linked role exists.",
        ),
        ("ClientException", "Cluster was not ACTIVE."),
    ] {
        let (cloud, app) = with_job().await;
        cloud.fail("ecs:RunTask", 3, code, message);
        let asked = run_now(&app, moment(10)).await.unwrap();
        assert_eq!(asked.status, RunStatus::Pending, "{code}");
        assert!(asked.stopped_reason.unwrap().contains(message), "{code}");
        for (seconds, started) in [(69, 0), (71, 0), (132, 0), (193, 1)] {
            app.sweep(moment(seconds)).await.unwrap();
            assert_eq!(tasks(&cloud).len(), started, "{code} {seconds}");
        }
        let run = run(&app, &asked.id).await;
        assert_eq!(run.stopped_reason, None, "{code}");
        assert!(run.task_arn.is_some());
    }
    for reason in ["RESOURCE:FARGATE", "RESOURCE:ENI", "Capacity is unavailable at this time."] {
        let (cloud, app) = with_job().await;
        cloud.state().ecs.run_failures.push_back((reason, "sorry"));
        let asked = run_now(&app, moment(10)).await.unwrap();
        assert_eq!(asked.status, RunStatus::Pending);
        assert!(asked.stopped_reason.unwrap().contains(reason));
        sweep_the_rest(&cloud, &app, 10).await;
        assert_eq!(run(&app, &asked.id).await.status, RunStatus::Succeeded, "{reason}");
        assert_eq!(tasks(&cloud).len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_that_does_not_pass_ends_the_run() {
    let refusals = [
        ("AccessDeniedException", "User: x is not authorized to perform: iam:PassRole on y"),
        ("InvalidParameterException", "The subnet ID 'subnet-0a' does not exist"),
        ("ClusterNotFoundException", "Cluster not found."),
        ("ConflictException", "The clientToken is in use."),
    ];
    for (code, message) in refusals {
        let (cloud, app) = with_job().await;
        cloud.fail("ecs:RunTask", 1, code, message);
        let ended = run_now(&app, moment(10)).await.unwrap();
        assert_eq!(ended.status, RunStatus::FailedToStart, "{code}");
        let reason = ended.stopped_reason.clone().unwrap();
        assert!(reason.contains(code) && reason.contains(message), "{reason}");
        assert_eq!((ended.stopped_at, ended.launch.clone()), (Some(at(10)), None));
        assert_eq!(run(&app, &ended.id).await, ended);
        let shown = stored(&app).await.unwrap().recent_runs.newest().cloned().unwrap();
        assert_eq!((shown.id, shown.status), (ended.id, RunStatus::FailedToStart));
        assert!(!is_anything_due(&cloud));
        sweep_the_rest(&cloud, &app, 10).await;
        assert_eq!(tasks(&cloud), []);
    }
    let (cloud, app) = with_job().await;
    cloud.state().ecs.run_failures.push_back(("MISSING", "no such thing"));
    let ended = run_now(&app, moment(10)).await.unwrap();
    assert_eq!(ended.status, RunStatus::FailedToStart);
    assert!(ended.stopped_reason.unwrap().contains("MISSING: no such thing"));
}

/// The revision that was asked for is deregistered, the job deleted and its cluster gone, all while
/// RunTask is on its way.
#[tokio::test]
async fn a_launch_in_flight_of_a_job_that_goes_ends() {
    let deregister = |state: &mut State, _: &str| {
        state.ecs.task_definitions.iter_mut().for_each(|one| one.active = false);
    };
    let delete_cluster = |state: &mut State, _: &str| {
        state.ecs.clusters.values_mut().for_each(|cluster| cluster.deleted = true);
    };
    for (meanwhile, reason) in [
        (deregister as fn(&mut State, &str), "TaskDefinition is inactive"),
        (delete_cluster, "Cluster not found."),
    ] {
        let (cloud, app) = with_job().await;
        cloud.state().ecs.meanwhile = Some(meanwhile);
        let ended = run_now(&app, moment(10)).await.unwrap();
        assert_eq!(ended.status, RunStatus::FailedToStart);
        assert!(ended.stopped_reason.unwrap().contains(reason));
        assert!(!is_anything_due(&cloud));
    }
}

/// After a quarter of an hour nobody wants it any more.
#[tokio::test]
async fn what_never_starts_is_given_up_after_a_quarter_of_an_hour() {
    let (cloud, app) = with_job().await;
    let busy = std::iter::repeat_n(("RESOURCE:FARGATE", "no capacity"), 100);
    cloud.state().ecs.run_failures.extend(busy);
    let asked = run_now(&app, moment(10)).await.unwrap();
    for minute in 1..15 {
        app.sweep(moment(10 + 60 * minute)).await.unwrap();
        assert_eq!(run(&app, &asked.id).await.status, RunStatus::Pending, "{minute}");
    }
    app.sweep(moment(10 + 60 * 15)).await.unwrap();
    let ended = run(&app, &asked.id).await;
    assert_eq!(ended.status, RunStatus::FailedToStart);
    let reason = ended.stopped_reason.unwrap();
    assert!(reason.contains("15 minutes") && reason.contains("RESOURCE:FARGATE"), "{reason}");
    assert!(!is_anything_due(&cloud));
    assert_eq!(tasks(&cloud), []);
}

/// Where nobody can say whether there is a task, the run is closed and nothing is started.
#[tokio::test]
async fn what_ecs_can_not_be_asked_about_is_closed_after_an_hour() {
    let (cloud, app) = with_job().await;
    cloud.fail("ecs:RunTask", 1, "ServerException", "later");
    let asked = run_now(&app, moment(10)).await.unwrap();
    cloud.fail("ecs:ListTasks", 1000, "AccessDeniedException", "not authorized");
    for minute in 1..60 {
        app.sweep(moment(10 + 60 * minute)).await.unwrap();
        assert_eq!(run(&app, &asked.id).await.status, RunStatus::Pending, "{minute}");
    }
    for minute in 60..=62 {
        app.sweep(moment(10 + 60 * minute)).await.unwrap();
    }
    let closed = run(&app, &asked.id).await;
    assert_eq!(closed.status, RunStatus::Unknown);
    assert!(closed.stopped_reason.unwrap().contains("not known"));
    assert!(!is_anything_due(&cloud));
    assert_eq!(tasks(&cloud), []);
}

/// What has ended is forgotten by ECS: that nothing is found says nothing then.
#[tokio::test]
async fn a_run_that_nobody_looked_after_for_an_hour_is_closed() {
    let (cloud, app) = with_job().await;
    cloud.fail("ecs:RunTask", 1, "ServerException", "later");
    let asked = run_now(&app, moment(10)).await.unwrap();
    app.sweep(moment(3610)).await.unwrap();
    assert_eq!(run(&app, &asked.id).await.status, RunStatus::Unknown);
    assert_eq!(tasks(&cloud), []);
    assert!(!is_anything_due(&cloud));
}

/// The answer of the table is lost, not the run.
#[tokio::test]
async fn a_run_whose_write_was_not_confirmed_goes_on() {
    let (cloud, app) = with_job().await;
    cloud.trouble(1, crate::cloud::Trouble::LostAfter);
    let run = run_now(&app, moment(10)).await.unwrap();
    assert_eq!(run.task_arn, tasks(&cloud)[0].task_arn);
    cloud.trouble(1, crate::cloud::Trouble::LostBefore);
    assert!(run_now(&app, moment(20)).await.is_err());
    assert_eq!((tasks(&cloud).len(), runs(&app).await.len()), (1, 1));
}

/// A deletion waits for a run that was asked for before it, and that run starts nothing any more.
#[tokio::test]
async fn a_deletion_waits_for_runs_that_are_being_started() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.run_failures.push_back(("RESOURCE:FARGATE", "later"));
    let asked = run_now(&app, moment(10)).await.unwrap();
    cloud.take_calls();
    let deleting = delete(&app, moment(20)).await.unwrap().unwrap();
    // First those that wait: one that gets its task in between is among the tasks.
    let calls: Vec<&str> = cloud.take_calls().iter().map(|call| call.operation).collect();
    let first = |operation| calls.iter().position(|call| *call == operation).unwrap();
    assert!(first("dynamodb:Query") < first("ecs:ListTasks"), "{calls:?}");
    assert!(first("ecs:DeregisterTaskDefinition") < first("dynamodb:Query"), "{calls:?}");
    assert_eq!(deleting.job.reason.as_deref(), Some("waiting for 1 task to end"));
    app.sweep(moment(51)).await.unwrap();
    assert!(stored(&app).await.is_some());
    app.sweep(moment(82)).await.unwrap();
    app.sweep(moment(113)).await.unwrap();
    assert!(stored(&app).await.is_none());
    let ended = run(&app, &asked.id).await;
    assert_eq!(ended.status, RunStatus::FailedToStart);
    assert!(ended.stopped_reason.unwrap().contains("the job was deleted"));
    assert_eq!(tasks(&cloud), []);
}

/// A job made anew under the name is another one: a run of the first is none of it.
#[tokio::test]
async fn a_run_of_an_earlier_job_of_the_name_is_not_started() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.run_failures.push_back(("RESOURCE:FARGATE", "later"));
    let asked = run_now(&app, moment(10)).await.unwrap();
    // Behind everybody's back: a deletion would have waited.
    let id = AttributeValue::S("another".to_owned());
    {
        let mut state = cloud.state();
        let job = state.table.item_mut("TEAM#platform", "JOB#nightly-report");
        job.insert("id".to_owned(), id);
    }
    app.sweep(moment(71)).await.unwrap();
    assert_eq!(run(&app, &asked.id).await.status, RunStatus::FailedToStart);
    assert_eq!(tasks(&cloud), []);
}

/// Two who set about a launch at once: one task, and one RunTask.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_launches_at_the_same_instant_start_one_task() {
    for _ in 0..10 {
        let (cloud, app) = with_job().await;
        cloud.state().ecs.run_failures.push_back(("RESOURCE:FARGATE", "later"));
        run_now(&app, moment(10)).await.unwrap();
        cloud.take_calls();
        let sweeps = (0..4).map(|_| {
            let app = app.clone();
            tokio::spawn(async move { app.sweep(moment(71)).await.unwrap() })
        });
        for swept in futures::future::join_all(sweeps).await {
            assert_eq!(swept.unwrap().failures, 0);
        }
        let calls = cloud.take_calls();
        let asked = calls.iter().filter(|call| call.operation == "ecs:RunTask");
        assert_eq!((tasks(&cloud).len(), asked.count()), (1, 1));
    }
}

/// ListTasks can be behind: the client token makes a second call the first one.
#[tokio::test]
async fn a_second_call_for_a_task_that_is_not_listed_yet_starts_none() {
    let (cloud, app) = with_job().await;
    cloud.trouble(2, crate::cloud::Trouble::LostAfter);
    let asked = run_now(&app, moment(10)).await.unwrap();
    assert_eq!((asked.task_arn, tasks(&cloud).len()), (None, 1));
    cloud.state().ecs.lists_late = true;
    app.sweep(moment(71)).await.unwrap();
    let started = run(&app, &asked.id).await;
    assert_eq!(started.task_arn, tasks(&cloud)[0].task_arn);
    assert_eq!(tasks(&cloud).len(), 1);
}

/// The call of another version of the functions for the same run: ECS refuses it, as there is a task.
#[tokio::test]
async fn a_task_that_another_call_of_the_same_token_started_is_the_runs() {
    for in_trouble in [false, true] {
        let (cloud, app) = with_job().await;
        cloud.trouble(2, crate::cloud::Trouble::LostAfter);
        let asked = run_now(&app, moment(10)).await.unwrap();
        cloud.state().ecs.lists_late = true;
        {
            let mut state = cloud.state();
            let run = state.table.item_mut("RUNS#platform#nightly-report", asked.id.as_str());
            let AttributeValue::M(launch) = run.get_mut("launch").unwrap() else { panic!("a map") };
            let AttributeValue::M(overrides) = launch.get_mut("overrides").unwrap() else {
                panic!("a map")
            };
            let command = AttributeValue::L(vec![AttributeValue::S("true".to_owned())]);
            overrides.insert("command".to_owned(), command);
        }
        if in_trouble {
            cloud.fail("ecs:DescribeTasks", 1, "AccessDeniedException", "not authorized");
            app.sweep(moment(71)).await.unwrap();
            assert_eq!(run(&app, &asked.id).await.status, RunStatus::Pending);
        }
        app.sweep(moment(132)).await.unwrap();
        let started = run(&app, &asked.id).await;
        assert_eq!(started.status, RunStatus::Pending);
        assert_eq!((started.task_arn, tasks(&cloud).len()), (tasks(&cloud)[0].task_arn.clone(), 1));
    }
}

/// The link in a failure's message is made of the task, which can be created long after the run was
/// asked for.
#[tokio::test]
async fn a_run_is_found_by_its_task_and_the_tasks_creation() {
    let (cloud, app) = with_job().await;
    let busy = std::iter::repeat_n(("RESOURCE:FARGATE", "no capacity"), 12);
    cloud.state().ecs.run_failures.extend(busy);
    let asked = run_now(&app, moment(10)).await.unwrap();
    for minute in 1..15 {
        cloud.state().ecs.now = 10 + 60 * minute;
        app.sweep(moment(10 + 60 * minute)).await.unwrap();
    }
    let task = &tasks(&cloud)[0];
    let created = at(10 + 60 * 12);
    assert_eq!(task.created_at().unwrap().secs(), created.as_second());
    let found = |from, to| {
        let task_arn = task.task_arn.clone();
        let wanted = RunsWanted { task_arn, from: Some(from), to: Some(to), ..Default::default() };
        history::runs(&app, wanted)
    };
    let [run] = &found(created, created).await[..] else { panic!("one run") };
    assert_eq!(run.id, asked.id);
    // Not at any time, and none of another time that has no such task.
    assert_eq!(found(at(9000), at(9000)).await, []);
    assert_eq!(found(at(5), at(9)).await, []);
    assert_eq!(found(created, at(9)).await, []);
    let by_time = RunsWanted { from: Some(created), ..Default::default() };
    assert_eq!(history::runs(&app, by_time).await, []);
}

/// The log of a run that has no task yet is empty and followed; its stream is named by the task.
#[tokio::test]
async fn the_log_is_the_tasks() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.run_failures.push_back(("RESOURCE:FARGATE", "later"));
    let asked = run_now(&app, moment(10)).await.unwrap();
    let logs = async |cursor| {
        let wanted = LogsWanted { container: None, tail: false, limit: 10, cursor };
        app.run_logs(&key(), &asked.id, wanted).await
    };
    let (lines, next) = logs(None).await.unwrap();
    assert_eq!(lines, []);
    let view = app.run_get(&key(), &asked.id).await.unwrap();
    assert!(
        view.console_url
            .ends_with("log-group/$252Fcronplane$252Fcronplane$252Fplatform$252Fnightly-report")
    );

    app.sweep(moment(71)).await.unwrap();
    let task_arn = tasks(&cloud)[0].task_arn.clone().unwrap();
    let (_, task_id) = task_arn.rsplit_once('/').unwrap();
    write_line(&cloud, &format!("run/main/{task_id}"), "hello");
    let (lines, _) = logs(next).await.unwrap();
    assert_eq!(lines[0].message, "hello");
    let view = app.run_get(&key(), &asked.id).await.unwrap();
    assert!(view.console_url.ends_with(&format!("run$252Fmain$252F{task_id}")));

    // One that never got a task has written nothing, and is not followed.
    cloud.fail("ecs:RunTask", 1, "AccessDeniedException", "no");
    let ended = run_now(&app, moment(100)).await.unwrap();
    let wanted = LogsWanted { container: None, tail: false, limit: 10, cursor: None };
    let (lines, next) = app.run_logs(&key(), &ended.id, wanted).await.unwrap();
    assert_eq!((lines, next), (Vec::new(), None));
}

fn write_line(cloud: &Cloud, stream: &str, line: &str) {
    let mut state = cloud.state();
    let group = state.logs.groups.values_mut().next().unwrap();
    let line = (1_700_000_000_000, line.to_owned());
    group.streams.entry(stream.to_owned()).or_default().push(line);
}
