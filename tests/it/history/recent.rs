//! The runs that a job itself shows: the ten newest, whoever tells of them and in whatever order.

use std::collections::BTreeMap;

use cronplane::domain::job::{Deletion, Job, Phase};
use cronplane::domain::recent_runs::RECENT_RUNS_MAX;
use cronplane::domain::run::{Run, RunStatus, RunSummary, Trigger};
use cronplane::domain::schedule::EngineChoice;
use cronplane::error::Error;
use cronplane::store::{Insertion, Leased, Settled, Settlement, Store};
use proptest::prelude::*;

use super::{apply, apply_all, with_job};
use crate::cloud::{Cloud, Effect};
use crate::job::{JOB, TEAM, at, create, delete, job_of, key, moment, stored};
use crate::task::{STATES, snapshot, state};

fn seen(number: usize, status: &str, version: i64) -> RunSummary {
    // Two of each second.
    let created = i64::try_from(number / 2).unwrap();
    let event = state(&format!("{number:02}"), created, status, version);
    Run::of_task(&snapshot(&event), Trigger::Schedule).summary()
}

/// A store with the job in it, its cloud, and the job.
async fn with_stored_job() -> (Cloud, Store, Job) {
    let cloud = Cloud::default();
    let store = cloud.store();
    let job = job_of(JOB);
    store.job_insert(&job, at(60), &Insertion::default()).await.unwrap();
    (cloud, store, job)
}

async fn read(store: &Store) -> Job {
    store.job_get(&key()).await.unwrap().unwrap()
}

fn shown(job: &Job) -> Vec<&str> {
    job.recent_runs.runs().iter().map(|run| run.id.task_id()).collect()
}

/// States of fourteen runs: some of those that each goes through, and for some a close as `unknown`
/// in the last state that was seen of it.
fn states() -> impl Strategy<Value = Vec<RunSummary>> {
    let of_run =
        (prop::sample::subsequence((1..=STATES.len()).collect::<Vec<_>>(), 1..4), any::<bool>());
    prop::collection::vec(of_run, 14).prop_map(|runs| {
        let mut all = Vec::new();
        for (number, (versions, closed)) in runs.into_iter().enumerate() {
            for version in &versions {
                all.push(seen(number, STATES[version - 1], i64::try_from(*version).unwrap()));
            }
            let last = all.last().unwrap();
            if closed && !last.status.is_final() {
                all.push(RunSummary { status: RunStatus::Unknown, ..last.clone() });
            }
        }
        all
    })
}

/// The same, some of them twice, in any order, each with how the job was known to who took it in:
/// as it is, or as it was before all of them.
fn told() -> impl Strategy<Value = (Vec<RunSummary>, Vec<(RunSummary, bool)>)> {
    states().prop_flat_map(|states| {
        let again = prop::sample::subsequence(states.clone(), 0..=states.len());
        let all = again.prop_map({
            let states = states.clone();
            move |again| states.iter().cloned().chain(again).collect::<Vec<_>>()
        });
        let all = all.prop_shuffle().prop_flat_map(|all| {
            let stale = prop::collection::vec(any::<bool>(), all.len());
            stale.prop_map(move |stale| all.iter().cloned().zip(stale).collect::<Vec<_>>())
        });
        (Just(states), all)
    })
}

/// The ten newest runs, each in the state of the best evidence.
fn expected(states: &[RunSummary]) -> Vec<RunSummary> {
    let mut best: BTreeMap<&str, &RunSummary> = BTreeMap::new();
    for state in states {
        let known = best.entry(state.id.as_str()).or_insert(state);
        let rank = |run: &RunSummary| (run.stopped, run.version, run.status == RunStatus::Unknown);
        if rank(state) > rank(known) {
            *known = state;
        }
    }
    best.into_values().rev().take(RECENT_RUNS_MAX).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_order_and_repetition_leaves_the_same_ten_runs((states, told) in told()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let job = runtime.block_on(async {
            let (_, store, first) = with_stored_job().await;
            for (run, stale) in &told {
                let known = if *stale { first.clone() } else { read(&store).await };
                store.job_show_run(&known, run).await.unwrap();
            }
            read(&store).await
        });
        let expected = expected(&states);
        prop_assert_eq!(job.recent_runs.runs(), &expected[..]);
        let ended = expected.iter().find(|run| run.status.is_final());
        prop_assert_eq!(job.recent_runs.last_outcome(), ended.map(|run| run.status));
    }
}

/// Each of the writers has read the job before any of them wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_writers_at_once_lose_nothing() {
    let (cloud, store, job) = with_stored_job().await;
    cloud.take_calls();
    let writers: Vec<_> = (0..RECENT_RUNS_MAX)
        .map(|number| {
            let (store, job) = (store.clone(), job.clone());
            let run = seen(number, "RUNNING", 4);
            tokio::spawn(async move { store.job_show_run(&job, &run).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(
        shown(&read(&store).await),
        ["09", "08", "07", "06", "05", "04", "03", "02", "01", "00"]
    );
    // All but one were refused at least once, and none of them read the job again.
    let calls = cloud.take_calls();
    let updates = calls.iter().filter(|call| call.operation == "dynamodb:UpdateItem").count();
    assert!(updates > RECENT_RUNS_MAX, "{updates}");
    let reads = calls.iter().filter(|call| call.operation == "dynamodb:GetItem").count();
    assert_eq!(reads, 1);
}

#[tokio::test]
async fn a_writer_that_others_always_precede_gives_up_and_its_message_comes_again() {
    let (cloud, app) = with_job().await;
    apply_all(&app, &[state("0a", 0, "RUNNING", 4)]).await;
    let event = state("0b", 60, "RUNNING", 4).to_string();
    let (pk, sk) = (format!("TEAM#{TEAM}"), format!("JOB#{JOB}"));
    cloud.contend(10, &pk, &sk);
    assert_eq!(apply(&app, std::slice::from_ref(&event), at(0)).await, [0]);
    assert!(cloud.has_failed());
    assert_eq!(shown(&stored(&app).await.unwrap()), ["0a"]);
    cloud.contend(9, &pk, &sk);
    assert_eq!(apply(&app, &[event], at(0)).await, [0; 0]);
    assert!(cloud.has_failed());
    assert_eq!(shown(&stored(&app).await.unwrap()), ["0b", "0a"]);

    let job = stored(&app).await.unwrap();
    cloud.contend(10, &pk, &sk);
    let refused = app.store.job_show_run(&job, &seen(0, "RUNNING", 4)).await;
    assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
}

/// An event costs one read of the job and, where it is news, one write of it.
#[tokio::test]
async fn what_is_shown_already_is_not_written_again() {
    let (cloud, app) = with_job().await;
    let running = [state("0a", 0, "RUNNING", 4)];
    let operations =
        || -> Vec<&str> { cloud.take_calls().into_iter().map(|call| call.operation).collect() };
    apply_all(&app, &running).await;
    assert_eq!(operations(), ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]);
    apply_all(&app, &running).await;
    assert_eq!(operations(), ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:GetItem"]);

    // The SDK sends a request again whose answer was lost: it finds its own work done.
    let job = stored(&app).await.unwrap();
    let ended = seen(1, "STOPPED", 7);
    cloud.lose(0, Effect::Done);
    assert!(app.store.job_show_run(&job, &ended).await.is_err());
    app.store.job_show_run(&job, &ended).await.unwrap();
    assert_eq!(shown(&stored(&app).await.unwrap()), ["0a", "01"]);
}

/// Neither a reconcile nor a run that is shown undoes the other, and the definition's version stays.
#[tokio::test]
async fn a_run_that_is_shown_touches_nothing_else_of_the_job() {
    let (cloud, store, first) = with_stored_job().await;
    let due = |cloud: &Cloud| {
        let state = cloud.state();
        let item = state.table.item(&format!("TEAM#{TEAM}"), &format!("JOB#{JOB}")).unwrap();
        ["due_at", "due_shard", "lease_token", "lease_until"].map(|name| item.get(name).cloned())
    };
    let Leased::Held(leased) = store.job_lease(&key(), "mine", at(0), at(90)).await.unwrap() else {
        panic!("nobody else holds it");
    };
    let before = due(&cloud);
    store.job_show_run(&first, &seen(0, "RUNNING", 4)).await.unwrap();
    assert_eq!(due(&cloud), before);
    let job = read(&store).await;
    assert_eq!(Job { recent_runs: Default::default(), ..job.clone() }, *leased);
    assert_eq!(job.version_tag(), first.version_tag());

    let settlement = Settlement {
        generation: 1,
        phase: Phase::Ready,
        reason: None,
        resources: Default::default(),
        attempts: 0,
        reached: true,
        former: Default::default(),
        due_at: None,
    };
    assert_eq!(store.job_settle(&key(), "mine", &settlement).await.unwrap(), Settled::Done);
    // Who read the job before the reconcile shows its run after it.
    store.job_show_run(&job, &seen(1, "RUNNING", 4)).await.unwrap();
    crate::job::pause_stored(&store, 1).await;
    store.job_show_run(&job, &seen(2, "RUNNING", 4)).await.unwrap();
    let now = read(&store).await;
    assert_eq!(shown(&now), ["02", "01", "00"]);
    assert_eq!((now.generation, now.observed_generation), (2, 1));
    assert_eq!((now.phase, now.definition.enabled), (Phase::Provisioning, false));
    assert_eq!(now.updated_at, at(1));
}

#[tokio::test]
async fn a_run_brings_no_job_back() {
    let (_, store, job) = with_stored_job().await;
    store.job_show_run(&job, &seen(0, "RUNNING", 4)).await.unwrap();
    let job = read(&store).await;
    store.job_mark_deleted(&key(), Deletion::default(), at(1), at(61), None).await.unwrap();
    // While it is being deleted it still shows how its last runs end.
    store.job_show_run(&job, &seen(0, "STOPPED", 7)).await.unwrap();
    let deleting = read(&store).await;
    assert_eq!(deleting.recent_runs.last_outcome(), Some(RunStatus::Failed));
    assert_eq!((deleting.phase, deleting.generation), (Phase::Deleting, 2));
    store.job_lease(&key(), "mine", at(1), at(91)).await.unwrap();
    assert_eq!(store.job_delete(&key(), "mine", 2).await.unwrap(), Settled::Done);
    store.job_show_run(&deleting, &seen(1, "RUNNING", 4)).await.unwrap();
    assert_eq!(store.job_get(&key()).await.unwrap(), None);
}

/// It begins without runs; who has read the earlier one does not bring its runs back.
#[tokio::test]
async fn a_job_made_again_shows_only_what_is_told_from_then_on() {
    let (_, app) = with_job().await;
    apply_all(&app, &[state("0a", 0, "STOPPED", 7), state("0b", 60, "RUNNING", 4)]).await;
    let earlier = stored(&app).await.unwrap();
    delete(&app, moment(100)).await.unwrap();
    create(&app, moment(200)).await.unwrap();
    assert_eq!(shown(&stored(&app).await.unwrap()), [""; 0]);
    let late = seen(500, "RUNNING", 4);
    app.store.job_show_run(&earlier, &late).await.unwrap();
    assert_eq!(shown(&stored(&app).await.unwrap()), ["500"]);
    // A task of the earlier job tells its end only now: its family is this job's too.
    apply_all(&app, &[state("0b", 60, "STOPPED", 7)]).await;
    let job = stored(&app).await.unwrap();
    assert_ne!(job.id, earlier.id);
    assert_eq!(shown(&job), ["500", "0b"]);
}

/// A `rate` counts from the last start that its schedule made, also behind a run that it did not.
#[tokio::test]
async fn next_starts_count_from_the_newest_scheduled_run() {
    let (_, store, job) = with_stored_job().await;
    let slot = at(7200);
    let scheduled = RunSummary { scheduled_time: Some(slot), ..seen(0, "STOPPED", 7) };
    store.job_show_run(&job, &scheduled).await.unwrap();
    let external =
        RunSummary { trigger: Trigger::External, scheduled_time: None, ..seen(9, "STOPPED", 7) };
    store.job_show_run(&read(&store).await, &external).await.unwrap();
    let job = read(&store).await;
    assert_eq!(shown(&job), ["09", "00"]);
    // `rate(1 day)`
    assert_eq!(
        job.next_starts(at(7201), 2, EngineChoice::ByNeed),
        [at(7200 + 86_400), at(7200 + 2 * 86_400)]
    );
}
