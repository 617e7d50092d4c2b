//! The table: under which conditions something is written, and how lists are read.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use cronplane::domain::ids::{JobKey, JobName, RunId};
use cronplane::domain::job::{
    Deletion, Job, JobDefinition, JobFilter, JobOrder, PauseRequest, Phase, ResourceKind,
    ResourceState, ResourceStatus,
};
use cronplane::domain::run::{Run, RunStatus, Trigger};
use cronplane::error::Error;
use cronplane::store::{
    Applied, DUE_SHARDS, DueItem, Insertion, Leased, RunFilter, Settled, Settlement, Store,
};
use serde_json::json;

use crate::cloud::{Cloud, Effect, Request, deployment};
use crate::job::{JOB, TEAM, at, definition, job_of, key, pause_stored, team};
use crate::task::{snapshot, state};

fn job() -> Job {
    job_of(JOB)
}

fn run(id: &str, status: &str, version: i64) -> Run {
    Run::of_task(&snapshot(&state(id, 0, status, version)), Trigger::Schedule)
}

fn settlement(generation: u64) -> Settlement {
    let status = ResourceStatus { state: ResourceState::Ready, ..ResourceStatus::default() };
    Settlement {
        generation,
        phase: Phase::Ready,
        reason: None,
        resources: BTreeMap::from([(ResourceKind::Topic, status)]),
        attempts: 0,
        reached: true,
        former: Default::default(),
        due_at: None,
    }
}

/// A store with the job in it, and its cloud.
async fn with_job() -> (Cloud, Store) {
    let cloud = Cloud::default();
    let store = cloud.store();
    store.job_insert(&job(), at(60), &Insertion::default()).await.unwrap();
    (cloud, store)
}

/// The last request with a condition that arrived.
fn last_conditional(cloud: &Cloud) -> Request {
    let state = cloud.state();
    let mut requests = state.table.requests.iter().rev();
    requests.find(|request| request.condition.is_some()).unwrap().clone()
}

#[track_caller]
fn assert_condition(cloud: &Cloud, operation: &str, condition: &str) {
    let request = last_conditional(cloud);
    assert_eq!(request.operation, operation);
    assert_eq!(request.condition.as_deref(), Some(condition));
    let key = request.key.unwrap();
    let text = |name: &str| key[name].as_s().unwrap().clone();
    let keys = [
        (format!("TEAM#{TEAM}"), format!("JOB#{JOB}")),
        (format!("RUNS#{TEAM}#{JOB}"), "20261123T140000-0a".to_owned()),
    ];
    assert!(keys.contains(&(text("pk"), text("sk"))), "{key:?}");
}

/// The last write was a transaction: one of the job under this condition, which counts the jobs of its
/// team.
#[track_caller]
fn assert_counted(cloud: &Cloud, condition: &str, of_team: &str, update: &str) {
    let state = cloud.state();
    let [before @ .., job, team] = &state.table.requests[..] else { panic!("too few requests") };
    let written = [job, team].map(|request| {
        assert_eq!(request.operation, "TransactWriteItems");
        let key = request.key.as_ref().unwrap();
        let text = |name: &str| key[name].as_s().unwrap().clone();
        (text("pk"), text("sk"), request.condition.as_deref().unwrap())
    });
    let wanted = [
        (format!("TEAM#{TEAM}"), format!("JOB#{JOB}"), condition),
        ("TEAMS".to_owned(), TEAM.to_owned(), of_team),
    ];
    assert_eq!(written, wanted);
    assert_eq!(team.expression.as_deref(), Some(update));
    assert!(before.last().is_none_or(|request| request.operation != "TransactWriteItems"));
}

/// What may be written is decided by the table, not by what was read before.
#[tokio::test]
async fn every_write_has_its_condition() {
    let (cloud, store) = with_job().await;
    assert_counted(
        &cloud,
        "attribute_not_exists(pk)",
        "attribute_exists(pk)",
        "SET jobs = jobs + :one",
    );

    store.job_lease(&key(), "mine", at(0), at(90)).await.unwrap();
    assert_condition(
        &cloud,
        "UpdateItem",
        "attribute_exists(pk) AND (attribute_not_exists(lease_until) OR lease_until <= :now \
         OR lease_token = :token)",
    );
    store.job_settle(&key(), "mine", &settlement(1)).await.unwrap();
    assert_condition(&cloud, "UpdateItem", "lease_token = :token AND generation = :generation");
    store.job_settle(&key(), "mine", &settlement(7)).await.unwrap();
    assert_condition(&cloud, "UpdateItem", "lease_token = :token");

    pause_stored(&store, 1).await;
    let known = store.job_get(&key()).await.unwrap().unwrap();
    let next = known.redefined(job().definition, at(2));
    store.job_redefine(&known, &next, at(62), None).await.unwrap();
    assert_condition(
        &cloud,
        "UpdateItem",
        "#id = :id AND generation = :known AND attribute_not_exists(deletion)",
    );
    store.job_mark_deleted(&key(), Deletion::default(), at(2), at(62), None).await.unwrap();
    assert_condition(&cloud, "UpdateItem", "#id = :id AND generation = :generation");
    // Why it is refused is asked of the item.
    assert_eq!(store.job_delete(&key(), "mine", 4).await.unwrap(), Settled::Lost);
    assert_condition(&cloud, "UpdateItem", "lease_token = :token");
    store.job_lease(&key(), "mine", at(3), at(93)).await.unwrap();
    assert_eq!(store.job_delete(&key(), "mine", 4).await.unwrap(), Settled::Done);
    let condition = "lease_token = :token AND generation = :generation";
    assert_counted(&cloud, condition, "jobs >= :one", "SET jobs = jobs - :one");

    let running = run("0a", "RUNNING", 4);
    store.run_apply(&key(), &running, at(9000), at(600), false).await.unwrap();
    let newer = "stopped < :stopped OR (stopped = :stopped AND #version < :version)";
    assert_condition(&cloud, "PutItem", &format!("attribute_not_exists(pk) OR {newer}"));
    store.run_apply(&key(), &running, at(9000), at(600), true).await.unwrap();
    assert_condition(&cloud, "PutItem", &format!("attribute_exists(pk) AND ({newer})"));
    store.run_postpone(&key(), &running.id, at(1200)).await.unwrap();
    assert_condition(&cloud, "UpdateItem", "attribute_exists(due_at)");
    store.run_close_unknown(&key(), &running, "gone").await.unwrap();
    assert_condition(&cloud, "UpdateItem", "stopped = :stopped AND #version = :version");
    store.job_show_run(&job(), &running.summary()).await.unwrap();
    assert_condition(
        &cloud,
        "UpdateItem",
        "#id = :id AND (attribute_not_exists(recent_runs) OR recent_runs.#version = :known)",
    );

    let state = cloud.state();
    let writes = state.table.requests.iter().filter(|request| request.operation != "GetItem");
    for write in writes {
        assert!(write.condition.is_some(), "{write:?}");
    }
}

#[tokio::test]
async fn what_is_stored_reads_back() {
    let (cloud, store) = with_job().await;
    assert_eq!(store.job_get(&key()).await.unwrap(), Some(job()));
    let ended = run("0a", "STOPPED", 7);
    store.run_apply(&key(), &ended, at(9000), at(600), false).await.unwrap();
    assert_eq!(store.run_get(&key(), &ended.id).await.unwrap(), Some(ended));

    let state = cloud.state();
    // What decides over a job is read as it is now.
    let reads = state.table.requests.iter().filter(|request| request.operation == "GetItem");
    let jobs = reads.filter(|read| read.key.as_ref().unwrap()["sk"].as_s().unwrap() != JOB);
    assert!(jobs.clone().any(|read| read.consistent));
    let item = state.table.item(&format!("TEAM#{TEAM}"), &format!("JOB#{JOB}")).unwrap();
    assert_eq!(item["due_at"], AttributeValue::N(at(60).as_second().to_string()));
}

#[tokio::test]
async fn a_job_is_inserted_once() {
    let (_, store) = with_job().await;
    let other = Job { id: "another".to_owned(), ..job() };
    let refused = store.job_insert(&other, at(60), &Insertion::default()).await;
    assert!(matches!(refused, Err(Error::AlreadyExists(_))), "{refused:?}");
    assert_eq!(store.job_get(&key()).await.unwrap(), Some(job()));
    // Sent again, it finds its own work done, and is counted once.
    store.job_insert(&job(), at(60), &Insertion::default()).await.unwrap();
    assert_eq!(store.team_get(&team()).await.unwrap().unwrap().jobs, 1);
}

#[tokio::test]
async fn a_lease_has_one_holder() {
    let (_, store) = with_job().await;
    let missing = JobKey::new(team(), JobName::parse("other").unwrap());
    assert_eq!(store.job_lease(&missing, "a", at(0), at(90)).await.unwrap(), Leased::Gone);
    let lease = async |token: &str, now| match store
        .job_lease(&key(), token, at(now), at(now + 90))
        .await
        .unwrap()
    {
        Leased::Held(_) => true,
        Leased::Busy => false,
        Leased::Gone => panic!("the job is there"),
    };
    assert!(lease("a", 0).await);
    assert!(!lease("b", 0).await);
    assert!(!lease("b", 89).await);
    // The SDK sends a request again whose answer was lost.
    assert!(lease("a", 0).await);
    assert!(lease("b", 90).await);
    assert!(!lease("a", 90).await);
    assert_eq!(store.job_settle(&key(), "a", &settlement(1)).await.unwrap(), Settled::Lost);
    assert_eq!(store.job_settle(&key(), "b", &settlement(1)).await.unwrap(), Settled::Done);
    assert!(lease("c", 91).await);
}

/// What is wanted is written over what was read, and over nothing else.
#[tokio::test]
async fn a_definition_is_written_once_over_the_one_that_was_read() {
    let (cloud, store) = with_job().await;
    store.job_lease(&key(), "mine", at(0), at(90)).await.unwrap();
    store.job_show_run(&job(), &run("0a", "RUNNING", 4).summary()).await.unwrap();
    let known = store.job_get(&key()).await.unwrap().unwrap();
    let redefined = |image: &str, seconds| {
        let mut wanted = definition();
        wanted["image"] = json!(image);
        known.redefined(JobDefinition::read(wanted, &deployment()).unwrap(), at(seconds))
    };
    let next = redefined("busybox:2", 10);
    cloud.lose(0, Effect::Done);
    assert!(store.job_redefine(&known, &next, at(70), None).await.is_err());
    // The SDK sends a request again whose answer was lost.
    let stored = store.job_redefine(&known, &next, at(70), None).await.unwrap().unwrap();
    assert_eq!((stored.generation, &stored.definition), (2, &next.definition));
    assert_eq!(Some(stored), store.job_get(&key()).await.unwrap());
    // Who read the same and wants something else comes too late; so does who wants it later.
    for late in [redefined("busybox:3", 10), redefined("busybox:2", 11)] {
        assert_eq!(store.job_redefine(&known, &late, at(70), None).await.unwrap(), None);
    }
    // Another job of the name is another one.
    let other = Job { id: "another".to_owned(), ..store.job_get(&key()).await.unwrap().unwrap() };
    let next = other.redefined(job().definition, at(20));
    assert_eq!(store.job_redefine(&other, &next, at(80), None).await.unwrap(), None);
    // Neither the lease nor the runs were touched.
    assert_eq!(store.job_lease(&key(), "other", at(20), at(110)).await.unwrap(), Leased::Busy);
    let now = store.job_get(&key()).await.unwrap().unwrap();
    assert_eq!(now.recent_runs.runs().len(), 1);
    store.job_mark_deleted(&key(), Deletion::default(), at(30), at(90), None).await.unwrap();
    let deleting = store.job_get(&key()).await.unwrap().unwrap();
    let next = deleting.redefined(job().definition, at(40));
    assert_eq!(store.job_redefine(&deleting, &next, at(100), None).await.unwrap(), None);
}

/// Whoever read the job before it was paused for longer, resumed or deleted comes too late to resume it.
#[tokio::test]
async fn a_pause_is_written_and_taken_away_with_the_definition_it_belongs_to() {
    let (cloud, store) = with_job().await;
    let asked = |seconds| {
        let resume_at = Some(at(seconds));
        PauseRequest { note: Some("why".to_owned()), resume_at }
    };
    let known = store.job_get(&key()).await.unwrap().unwrap();
    assert_eq!(known.pause, None);
    let next = known.paused(Some(&asked(1000)), None, at(10)).unwrap();
    let paused = store.job_redefine(&known, &next, at(70), None).await.unwrap().unwrap();
    let pause = paused.pause.clone().unwrap();
    assert_eq!((pause.resume_at, pause.at), (Some(at(1000)), Some(at(10))));
    assert_eq!(pause.note.as_deref(), Some("why"));
    assert_eq!((paused.generation, paused.definition.enabled), (2, false));
    assert_eq!(paused.scheduled_since, at(0));
    assert_eq!(Some(paused.clone()), store.job_get(&key()).await.unwrap());
    // The same definition, and another time: that alone is another state.
    let longer = paused.paused(Some(&asked(2000)), None, at(20)).unwrap();
    cloud.lose(0, Effect::Done);
    assert!(store.job_redefine(&paused, &longer, at(80), None).await.is_err());
    // The SDK sends a request again whose answer was lost; somebody else's of that moment is not it.
    let other = paused.paused(Some(&asked(3000)), None, at(20)).unwrap();
    assert_eq!(store.job_redefine(&paused, &other, at(80), None).await.unwrap(), None);
    let longer = store.job_redefine(&paused, &longer, at(80), None).await.unwrap().unwrap();
    assert_eq!(longer.resume_at(), Some(at(2000)));
    let late = paused.resumed(at(1000)).unwrap();
    assert_eq!(store.job_redefine(&paused, &late, at(1060), None).await.unwrap(), None);
    let late = paused.not_resumed("no", at(1000));
    assert_eq!(store.job_redefine(&paused, &late, at(1060), None).await.unwrap(), None);
    let resumed = longer.resumed(at(1000)).unwrap();
    let resumed = store.job_redefine(&longer, &resumed, at(1060), None).await.unwrap().unwrap();
    assert_eq!((&resumed.pause, resumed.definition.enabled), (&None, true));
    assert_eq!((resumed.generation, resumed.scheduled_since), (4, at(1000)));
    let item = |name: &str| {
        let state = cloud.state();
        let item = state.table.item(&format!("TEAM#{TEAM}"), &format!("JOB#{JOB}")).unwrap();
        item.contains_key(name)
    };
    assert!(!item("pause"), "it is taken out of the item");
    let paused = pause_stored(&store, 2000).await;
    assert!(item("pause"));
    store.job_mark_deleted(&key(), Deletion::default(), at(2010), at(2070), None).await.unwrap();
    let late = paused.resumed(at(2020)).unwrap();
    assert_eq!(store.job_redefine(&paused, &late, at(2080), None).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_settled_is_that_generation_only() {
    let (_, store) = with_job().await;
    store.job_lease(&key(), "mine", at(0), at(90)).await.unwrap();
    pause_stored(&store, 1).await;
    assert_eq!(store.job_settle(&key(), "mine", &settlement(1)).await.unwrap(), Settled::Changed);
    let job = store.job_get(&key()).await.unwrap().unwrap();
    // What is known of the resources is kept, and nothing is called reached.
    assert_eq!(job.resources, settlement(1).resources);
    assert_eq!((job.phase, job.observed_generation), (Phase::Provisioning, 0));

    let hindered = Settlement {
        phase: Phase::Failed,
        reason: Some("why".to_owned()),
        attempts: 3,
        reached: false,
        former: Default::default(),
        due_at: Some(at(120)),
        ..settlement(2)
    };
    assert_eq!(store.job_settle(&key(), "mine", &hindered).await.unwrap(), Settled::Done);
    let job = store.job_get(&key()).await.unwrap().unwrap();
    assert_eq!((job.phase, job.reason.as_deref()), (Phase::Failed, Some("why")));
    assert_eq!((job.attempts, job.observed_generation), (3, 0));
    assert_eq!(due(&store, 120).await.len(), 1);

    store.job_lease(&key(), "next", at(120), at(210)).await.unwrap();
    assert_eq!(store.job_settle(&key(), "next", &settlement(2)).await.unwrap(), Settled::Done);
    let job = store.job_get(&key()).await.unwrap().unwrap();
    assert_eq!((job.phase, job.reason), (Phase::Ready, None));
    assert_eq!((job.attempts, job.observed_generation), (0, 2));
    assert_eq!(due(&store, 9000).await, []);
}

#[tokio::test]
async fn a_job_is_taken_out_by_its_holder_at_its_generation_only() {
    let (cloud, store) = with_job().await;
    store.job_lease(&key(), "mine", at(0), at(90)).await.unwrap();
    assert_eq!(store.job_delete(&key(), "other", 1).await.unwrap(), Settled::Lost);
    assert_eq!(store.job_delete(&key(), "mine", 2).await.unwrap(), Settled::Changed);
    assert!(store.job_get(&key()).await.unwrap().is_some());
    cloud.lose(0, Effect::Done);
    assert!(store.job_delete(&key(), "mine", 1).await.is_err());
    // Sent again, it finds its own work done.
    assert_eq!(store.job_delete(&key(), "mine", 1).await.unwrap(), Settled::Done);
    assert_eq!(store.job_get(&key()).await.unwrap(), None);
}

#[tokio::test]
async fn a_deletion_only_ever_adds() {
    let (_, store) = with_job().await;
    let mark = async |stop_tasks, delete_logs| {
        let deletion = Deletion { stop_tasks, delete_logs };
        let job = store.job_mark_deleted(&key(), deletion, at(9), at(69), None).await.unwrap();
        let deletion = job.deletion.unwrap();
        (deletion.stop_tasks, deletion.delete_logs, job.generation)
    };
    assert_eq!(mark(false, false).await, (false, false, 2));
    assert_eq!(mark(false, false).await, (false, false, 2));
    assert_eq!(mark(true, false).await, (true, false, 3));
    assert_eq!(mark(false, true).await, (true, true, 4));
    assert_eq!(mark(false, false).await, (true, true, 4));
}

#[tokio::test]
async fn better_evidence_replaces_worse() {
    let (_, store) = with_job().await;
    let apply = async |status: &str, version, only_known| {
        let run = run("0a", status, version);
        store.run_apply(&key(), &run, at(9000), at(600), only_known).await.unwrap()
    };
    assert_eq!(apply("RUNNING", 4, true).await, Applied::Ignored);
    assert_eq!(apply("RUNNING", 4, false).await, Applied::Written(None));
    assert_eq!(apply("RUNNING", 4, false).await, Applied::Ignored);
    assert_eq!(apply("PENDING", 2, false).await, Applied::Ignored);
    assert_eq!(apply("DEACTIVATING", 5, true).await, Applied::Written(None));
    // A task that has stopped has stopped, whatever the number says.
    assert_eq!(apply("STOPPED", 3, false).await, Applied::Written(None));
    assert_eq!(apply("DEPROVISIONING", 9, false).await, Applied::Ignored);
    assert_eq!(apply("STOPPED", 4, true).await, Applied::Written(None));
    assert_eq!(apply("STOPPED", 4, true).await, Applied::Ignored);
}

#[tokio::test]
async fn a_run_is_closed_only_as_it_was_seen() {
    let (_, store) = with_job().await;
    let seen = run("0a", "RUNNING", 4);
    store.run_apply(&key(), &seen, at(9000), at(600), false).await.unwrap();
    let ended = run("0a", "STOPPED", 7);
    store.run_apply(&key(), &ended, at(9000), at(600), false).await.unwrap();
    store.run_close_unknown(&key(), &seen, "gone").await.unwrap();
    store.run_postpone(&key(), &seen.id, at(600)).await.unwrap();
    assert_eq!(store.run_get(&key(), &seen.id).await.unwrap(), Some(ended));
    assert_eq!(due(&store, 9000).await, [DueItem::Job(key())]);
}

/// What is due in all shards, whatever the order.
async fn due(store: &Store, seconds: i64) -> Vec<DueItem> {
    let mut all = Vec::new();
    for shard in 0..DUE_SHARDS {
        all.extend(store.due(shard, at(seconds), 100).await.unwrap());
    }
    all
}

#[tokio::test]
async fn what_is_due_is_found_the_longest_due_first() {
    let cloud = Cloud::default();
    let store = cloud.store();
    for number in 0..40 {
        let run = run(&format!("{number:02x}"), "RUNNING", 4);
        store.run_apply(&key(), &run, at(9000), at(100 - number), false).await.unwrap();
    }
    assert_eq!(due(&store, 60).await, []);
    assert_eq!(due(&store, 61).await.len(), 1);
    let mut found = 0;
    let mut used = 0;
    for shard in 0..DUE_SHARDS {
        let all = store.due(shard, at(100), 100).await.unwrap();
        // The later its number, the earlier a run of this test is due.
        let ids: Vec<&RunId> = all
            .iter()
            .map(|item| match item {
                DueItem::Run(of, id) if *of == key() => id,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(ids.is_sorted_by(|one, other| one > other), "{ids:?}");
        let some = store.due(shard, at(100), 2).await.unwrap();
        assert_eq!(some, all[..all.len().min(2)]);
        found += all.len();
        used += usize::from(!all.is_empty());
    }
    assert_eq!((found, used), (40, usize::from(DUE_SHARDS)));
}

#[tokio::test]
async fn a_page_of_jobs_ends_where_dynamodb_ends_it() {
    let cloud = Cloud::default();
    let store = cloud.store();
    let names: Vec<String> = (0..30).map(|number| format!("job-{number:02}")).collect();
    for name in &names {
        let mut job = job_of(name);
        // Some 25 of these are the megabyte of a page.
        let large = "x".repeat(40_000);
        job.definition.environment.insert("LARGE".to_owned(), large);
        store.job_insert(&job, at(60), &Insertion::default()).await.unwrap();
    }
    let all = JobFilter::default();
    let first = store.job_list(&team(), &all, None, 100).await.unwrap();
    assert!((10..30).contains(&first.items.len()), "{}", first.items.len());
    let last = first.last.unwrap();
    let second = store.job_list(&team(), &all, Some(&last), 100).await.unwrap();
    assert_eq!(second.last, None);
    let listed: Vec<&str> =
        first.items.iter().chain(&second.items).map(|job| job.definition.name.as_str()).collect();
    assert_eq!(listed, names);
    let state = cloud.state();
    let mut queries = state.table.requests.iter().filter(|one| one.operation == "Query");
    assert!(queries.all(|query| query.consistent));
}

/// What a filter gathers from several pages of the table is no more than one of them: a function's
/// answer has its bound too.
#[tokio::test]
async fn a_page_of_large_jobs_that_a_filter_gathers_is_not_larger() {
    let cloud = Cloud::default();
    let store = cloud.store();
    let mut large = Vec::new();
    for number in 0..120 {
        let mut job = job_of(&format!("job-{number:03}"));
        if number % 8 == 0 {
            job.definition.tags.insert("large".to_owned(), String::new());
            job.definition.environment.insert("LARGE".to_owned(), "x".repeat(120_000));
            large.push(job.definition.name.clone());
        }
        store.job_insert(&job, at(60), &Insertion::default()).await.unwrap();
    }
    for order in JobOrder::ALL {
        let tags = BTreeMap::from([("large".to_owned(), None)]);
        let filter = JobFilter { tags, order, ..JobFilter::default() };
        let mut listed = Vec::new();
        let mut after = None;
        loop {
            let page = store.job_list(&team(), &filter, after.as_deref(), 30).await.unwrap();
            // Eight of these are less than a megabyte, and nine more.
            assert!(page.items.len() <= 8, "{}", page.items.len());
            listed.extend(page.items.into_iter().map(|job| job.definition.name));
            after = page.last;
            if after.is_none() {
                break;
            }
        }
        if order == JobOrder::NameDescending {
            listed.reverse();
        }
        assert_eq!(listed, large, "{order:?}");
    }
}

/// A filter that lets nothing through does not make one request read all jobs of a team.
#[tokio::test]
async fn a_filter_of_jobs_reads_some_pages_and_no_more() {
    let cloud = Cloud::default();
    let store = cloud.store();
    for number in 0..60 {
        store
            .job_insert(&job_of(&format!("job-{number:02}")), at(60), &Insertion::default())
            .await
            .unwrap();
    }
    cloud.take_calls();
    let none = JobFilter { enabled: Some(false), ..JobFilter::default() };
    let mut after = None;
    let mut queries = Vec::new();
    loop {
        let page = store.job_list(&team(), &none, after.as_deref(), 2).await.unwrap();
        assert_eq!(page.items, []);
        queries.push(cloud.take_calls().len());
        after = page.last;
        if after.is_none() {
            break;
        }
    }
    // Pages of three, eight at a time.
    assert_eq!(queries, [8, 8, 5]);
}

/// What tags hold is never read as an expression.
#[tokio::test]
async fn a_filter_has_its_values_beside_its_expression() {
    let cloud = Cloud::default();
    let tag = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
    let filter = JobFilter {
        phase: Some(Phase::Ready),
        enabled: Some(true),
        last_outcome: Some(RunStatus::Failed),
        tags: BTreeMap::from([tag("a.b = :c", Some("d")), tag("x) OR (y", None)]),
        ..JobFilter::default()
    };
    cloud.store().job_list(&team(), &filter, None, 10).await.unwrap();
    let state = cloud.state();
    let query = state.table.requests.last().unwrap();
    assert_eq!(
        query.filter.as_deref(),
        Some(
            "phase = :phase AND #definition.#enabled = :enabled \
             AND recent_runs.last_outcome = :last_outcome \
             AND #definition.#tags.#tag0 = :tag0 AND attribute_exists(#definition.#tags.#tag1)"
        )
    );
    assert_eq!((&*query.names["#tag0"], &*query.names["#tag1"]), ("a.b = :c", "x) OR (y"));
    assert_eq!(query.values[":tag0"], AttributeValue::S("d".to_owned()));
    assert_eq!(query.values[":last_outcome"], AttributeValue::S("failed".to_owned()));
}

/// A filter that lets nothing through does not make one request read a whole history.
#[tokio::test]
async fn a_filter_reads_some_pages_and_no_more() {
    let (cloud, store) = with_job().await;
    for number in 0..30 {
        let run = run(&format!("{number:02x}"), "RUNNING", 4);
        store.run_apply(&key(), &run, at(9000), at(600), false).await.unwrap();
    }
    cloud.take_calls();
    let none = RunFilter { status: Some(RunStatus::TimedOut), ..RunFilter::default() };
    let page = store.run_list(&key(), &none, None, 2).await.unwrap();
    assert_eq!(page.items, []);
    let queries = cloud.take_calls().len();
    assert!((2..=10).contains(&queries), "{queries}");
    let mut last = page.last;
    let mut requests = 1;
    while let Some(after) = last {
        last = store.run_list(&key(), &none, Some(&after), 2).await.unwrap().last;
        requests += 1;
    }
    assert!(requests <= 3, "{requests}");
}

/// The runs of one job are not those of another whose name begins alike.
#[tokio::test]
async fn the_runs_of_a_job_are_its_own() {
    let (_, store) = with_job().await;
    let other = JobKey::new(team(), JobName::parse(&format!("{JOB}-two")).unwrap());
    store.run_apply(&other, &run("0a", "RUNNING", 4), at(9000), at(600), false).await.unwrap();
    let page = store.run_list(&key(), &RunFilter::default(), None, 10).await.unwrap();
    assert_eq!((page.items.len(), page.last), (0, None));
    let page = store.run_list(&other, &RunFilter::default(), None, 10).await.unwrap();
    assert_eq!(page.items.len(), 1);
}
