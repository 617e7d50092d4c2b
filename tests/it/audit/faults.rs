//! Whatever becomes of a call, and whoever else writes: what is changed is told, and what is told was
//! changed.

use std::time::Duration;

use cronplane::app::{App, KeyedRequest, Moment};
use cronplane::domain::audit::Outcome;
use cronplane::domain::ids::RunId;
use cronplane::domain::job::Deletion;
use cronplane::domain::run::RunStatus;
use cronplane::error::{Error, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{accepted, author, entries};
use crate::cloud::{Cloud, Trouble};
use crate::history::run_items;
use crate::job::{
    BASE, at, create, definition, key, moment, patch, put, stored, sweep_for_an_hour, team,
};
use crate::task::{self, snapshot, state};

const RUN: &str = "20261123T140000-0a";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Write {
    Create,
    CreateKeyed,
    PutNew,
    Put,
    Patch,
    Pause,
    PauseAgain,
    Resume,
    Delete,
    DeleteMore,
    Run,
    RunKeyed,
    Stop,
    StopWaiting,
    Test,
}

const WRITES: [Write; 15] = [
    Write::Create,
    Write::CreateKeyed,
    Write::PutNew,
    Write::Put,
    Write::Patch,
    Write::Pause,
    Write::PauseAgain,
    Write::Resume,
    Write::Delete,
    Write::DeleteMore,
    Write::Run,
    Write::RunKeyed,
    Write::Stop,
    Write::StopWaiting,
    Write::Test,
];

/// Time for every call, and none to wait for another try.
fn hurried(seconds: i64) -> Moment {
    Moment { now: at(seconds), deadline: Instant::now() + Duration::from_millis(100) }
}

fn other_image() -> Value {
    let mut other = definition();
    other["image"] = json!("busybox:2");
    other
}

/// The run that there is, without a call.
fn only_run(cloud: &Cloud) -> RunId {
    let items = run_items(cloud);
    let [run] = &items[..] else { panic!("{} runs", items.len()) };
    RunId::parse(run["id"].as_s().unwrap()).unwrap()
}

impl Write {
    /// A cloud in which it can be asked for, and an app of somebody.
    async fn made(self) -> (Cloud, App) {
        let cloud = Cloud::default();
        let app = cloud.app();
        if !matches!(self, Write::Create | Write::CreateKeyed | Write::PutNew) {
            create(&app, moment(0)).await.unwrap();
        }
        match self {
            Write::Resume | Write::PauseAgain => {
                app.job_set_enabled(&key(), false, moment(1)).await.unwrap();
            }
            Write::Stop | Write::Delete | Write::DeleteMore => {
                app.ingest(&snapshot(&state("0a", 0, "RUNNING", 4)), at(0)).await.unwrap();
                cloud.state().ecs.tasks.push(task::running(BASE, "0a"));
            }
            Write::StopWaiting => {
                cloud.state().ecs.run_failures.push_back(("RESOURCE:FARGATE", "later"));
                app.run_start(&key(), json!({}), moment(1)).await.unwrap();
            }
            _ => {}
        }
        if self == Write::DeleteMore {
            app.job_delete(&key(), Deletion::default(), moment(2)).await.unwrap();
        }
        cloud.take_calls();
        (cloud, app.on_behalf_of(author("x")))
    }

    async fn ask(self, cloud: &Cloud, app: &App, moment: Moment) -> Result<()> {
        let keyed = |path| KeyedRequest::new(&team(), "key", "POST", path, &json!({}));
        match self {
            Write::Create => app.job_create(team(), definition(), moment).await.map(drop),
            Write::CreateKeyed => {
                let request = keyed("/jobs");
                app.job_create_keyed(team(), definition(), &request, moment).await.map(drop)
            }
            Write::PutNew => put(app, definition(), moment).await.map(drop),
            Write::Put => put(app, other_image(), moment).await.map(drop),
            Write::Patch => patch(app, json!({"image": "busybox:2"}), moment).await.map(drop),
            Write::Pause => app.job_set_enabled(&key(), false, moment).await.map(drop),
            Write::PauseAgain => {
                let resume_at = at(100_000).to_string();
                let body = json!({"note": "it takes longer", "resume_at": resume_at});
                app.job_pause(&key(), body, moment).await.map(drop)
            }
            Write::Resume => app.job_set_enabled(&key(), true, moment).await.map(drop),
            Write::Delete => app.job_delete(&key(), Deletion::default(), moment).await.map(drop),
            Write::DeleteMore => {
                let more = Deletion { stop_tasks: true, delete_logs: true };
                app.job_delete(&key(), more, moment).await.map(drop)
            }
            Write::Run => app.run_start(&key(), json!({}), moment).await.map(drop),
            Write::RunKeyed => {
                let request = keyed("/runs");
                app.run_start_keyed(&key(), json!({}), &request, moment).await.map(drop)
            }
            Write::Stop => {
                let id = RunId::parse(RUN).unwrap();
                app.run_stop(&key(), &id, json!({"reason": "enough"}), moment).await.map(drop)
            }
            Write::StopWaiting => {
                let id = only_run(cloud);
                app.run_stop(&key(), &id, json!({"reason": "enough"}), moment).await.map(drop)
            }
            Write::Test => app.notification_test(&key(), moment).await.map(drop),
        }
    }

    /// Whether it is done.
    async fn is_done(self, cloud: &Cloud, app: &App) -> bool {
        let job = stored(app).await;
        let definition = job.as_ref().map(|job| &job.definition);
        match self {
            Write::Create | Write::CreateKeyed | Write::PutNew => job.is_some(),
            Write::Put | Write::Patch => job.unwrap().generation == 2,
            Write::Pause => !definition.unwrap().enabled,
            Write::PauseAgain => job.unwrap().resume_at().is_some(),
            Write::Resume => definition.unwrap().enabled,
            Write::Delete => job.is_none_or(|job| job.deletion.is_some()),
            Write::DeleteMore => job.is_none_or(|job| job.deletion.unwrap().stop_tasks),
            Write::Run | Write::RunKeyed => run_items(cloud).len() == 1,
            Write::Stop | Write::StopWaiting => {
                let id = only_run(cloud);
                let run = app.run_get(&key(), &id).await.unwrap().run;
                run.stop_requested.is_some() || run.status == RunStatus::Stopped
            }
            Write::Test => !cloud.state().events.put.is_empty(),
        }
    }

    /// Every call of it in every trouble.
    async fn in_trouble(self) {
        let (cloud, app) = Box::pin(self.made()).await;
        Box::pin(self.ask(&cloud, &app, hurried(10))).await.unwrap();
        let calls = cloud.take_calls();
        assert!(self.is_done(&cloud, &app).await, "{self:?}");
        assert_eq!(entries(&cloud).len(), 1, "{self:?}");
        let mut happened = 0;
        for (number, call) in calls.iter().enumerate() {
            for trouble in Trouble::ALL {
                let what = format!("{self:?}: {call:?} {trouble:?}");
                let (cloud, app) = Box::pin(self.made()).await;
                cloud.trouble(number, trouble);
                let answer = Box::pin(self.ask(&cloud, &app, hurried(10))).await;
                // The last ones don't come to it where there is no time left.
                happened += usize::from(cloud.has_failed());
                cloud.mend();
                let told = entries(&cloud);
                let taken_back = told.iter().filter(|one| one.outcome == Outcome::Denied).count();
                let standing = accepted(&cloud) - taken_back;
                let is_done = self.is_done(&cloud, &app).await;
                if self == Write::Test {
                    // What is sent is told before; it can't be both at once.
                    assert!(standing == 1 || !is_done, "{what}");
                } else {
                    assert_eq!(standing, usize::from(is_done), "{what}: {answer:?} {told:?}");
                }
                assert!(answer.is_err() || is_done, "{what}: {answer:?}");
                // Cronplane brings it to its end by itself, and that is no change of anybody's.
                app.sweep(Moment { now: at(100), ..hurried(100) }).await.unwrap();
                assert_eq!(entries(&cloud), told, "{what}");
                if is_done || self == Write::Test {
                    continue;
                }
                Box::pin(self.ask(&cloud, &app, hurried(200))).await.unwrap();
                assert_eq!(entries(&cloud).len(), told.len() + 1, "{what}");
            }
        }
        assert!(happened * 10 >= calls.len() * Trouble::ALL.len() * 9, "{self:?}: {happened}");
    }
}

#[tokio::test]
async fn whatever_call_of_a_create_is_in_trouble_it_is_told_if_it_is_done() {
    for write in &WRITES[..3] {
        Box::pin(write.in_trouble()).await;
    }
}

#[tokio::test]
async fn whatever_call_of_a_change_is_in_trouble_it_is_told_if_it_is_done() {
    for write in &WRITES[3..8] {
        Box::pin(write.in_trouble()).await;
    }
}

#[tokio::test]
async fn whatever_call_of_a_deletion_is_in_trouble_it_is_told_if_it_is_done() {
    for write in &WRITES[8..10] {
        Box::pin(write.in_trouble()).await;
    }
}

#[tokio::test]
async fn whatever_call_about_a_run_is_in_trouble_it_is_told_if_it_is_done() {
    for write in &WRITES[10..] {
        Box::pin(write.in_trouble()).await;
    }
}

/// Those who meet at one job: each change that is stored has its entry, and those who came too late none.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_changes_at_once_as_many_are_told_as_there_are_generations() {
    let cloud = Cloud::default();
    let app = cloud.app().on_behalf_of(author("replace_job"));
    create(&app, moment(0)).await.unwrap();
    let changes = (0..50).map(|number| {
        let app = app.clone();
        tokio::spawn(async move {
            let mut wanted = definition();
            wanted["description"] = json!(format!("number {number}"));
            put(&app, wanted, hurried(10)).await.map(drop)
        })
    });
    let changes: Vec<_> = changes.collect();
    let mut done = 0;
    for change in changes {
        match change.await.unwrap() {
            Ok(()) => done += 1,
            Err(Error::Busy(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    let job = stored(&app).await.unwrap();
    let told = entries(&cloud);
    assert!(done > 1);
    assert_eq!(told.len() as u64, job.generation);
    assert_eq!(told.len(), done + 1);
    let last = job.definition.description.unwrap();
    let shown = |entry: &cronplane::domain::audit::Entry| {
        let change = entry.changes.iter().find(|change| change.pointer == "/description");
        change.and_then(|change| change.after.clone())
    };
    assert!(told.iter().filter_map(shown).any(|after| after == json!(last)));
    // What stood before is what the change was made from: each is the successor of one.
    let mut before: Vec<Value> = told
        .iter()
        .flat_map(|entry| &entry.changes)
        .filter(|change| change.pointer == "/description")
        .map(|change| change.before.clone().unwrap_or(Value::Null))
        .collect();
    let count = before.len();
    before.sort_by_key(Value::to_string);
    before.dedup();
    assert_eq!(before.len(), count);
}

/// A transaction of others at the same items is waited for, a few times; then nothing is written.
#[tokio::test]
async fn a_conflict_of_transactions_passes_and_leaves_one_entry() {
    let (cloud, app) = Write::Pause.made().await;
    cloud.state().table.conflicts = 3;
    app.job_set_enabled(&key(), false, moment(10)).await.unwrap();
    assert_eq!(entries(&cloud).len(), 1);
    cloud.state().table.conflicts = 1000;
    let refused = patch(&app, json!({"image": "busybox:2"}), moment(20)).await;
    let Err(Error::Busy(what)) = refused else { panic!("{refused:?}") };
    assert!(what.starts_with("job `nightly-report`"), "{what}");
    assert_eq!(entries(&cloud).len(), 1);
    assert_eq!(stored(&app).await.unwrap().generation, 2);
    cloud.state().table.conflicts = 0;
    sweep_for_an_hour(&app, 20).await;
    assert_eq!(entries(&cloud).len(), 1);
}

/// Nobody can change or delete an entry, this code included.
#[tokio::test]
async fn an_entry_is_put_once_and_stays() {
    let (cloud, app) = Write::Pause.made().await;
    Write::Pause.ask(&cloud, &app, moment(10)).await.unwrap();
    let told = entries(&cloud);
    let mut other = told[0].clone();
    other.reason = Some("another".to_owned());
    app.store.audit_put(&other).await.unwrap();
    let job = stored(&app).await.unwrap();
    let next = job.redefined(job.definition.clone(), at(20));
    let refused = app.store.job_redefine(&job, &next, at(80), Some(&other)).await;
    assert!(matches!(refused, Err(Error::Internal(_))), "{refused:?}");
    assert_eq!(stored(&app).await.unwrap().generation, job.generation);
    assert_eq!(entries(&cloud), told);
}

/// Those who ask for the same at once: it is done once, and told once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_ask_for_the_same_at_once_one_is_told() {
    let once = [
        Write::Create,
        Write::CreateKeyed,
        Write::PutNew,
        Write::Put,
        Write::Pause,
        Write::PauseAgain,
        Write::Resume,
        Write::Delete,
        Write::DeleteMore,
        Write::RunKeyed,
        Write::Stop,
        Write::StopWaiting,
    ];
    for write in once {
        let (cloud, app) = Box::pin(write.made()).await;
        let asked = (0..10).map(|_| {
            let (cloud, app) = (cloud.clone(), app.clone());
            tokio::spawn(async move { write.ask(&cloud, &app, hurried(10)).await })
        });
        let asked: Vec<_> = asked.collect();
        let mut done = 0;
        for one in asked {
            done += usize::from(one.await.unwrap().is_ok());
        }
        assert!(done >= 1, "{write:?}");
        assert!(write.is_done(&cloud, &app).await, "{write:?}");
        assert_eq!(entries(&cloud).len(), 1, "{write:?}");
    }
}
