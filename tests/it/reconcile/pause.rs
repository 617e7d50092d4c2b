//! A job is paused and resumed, by somebody or when its time has come.

use std::collections::BTreeMap;

use cronplane::app::App;
use cronplane::domain::access::{Author, PrincipalKind};
use cronplane::domain::audit::{Outcome, Target};
use cronplane::domain::job::{Job, Pause, PausedBy, Phase};
use cronplane::domain::schedule::EngineChoice;
use serde_json::{Value, json};

use crate::audit::{author, entries};
use crate::cloud::{Cloud, Standing, Trouble, wide_team};
use crate::job::{
    BASE, at, create, definition, delete, key, moment, patch, put, stored, sweep_for_an_hour, team,
};
use crate::logged::Logged;

#[tokio::test]
async fn pause_and_resume_change_the_state_of_the_rule_and_nothing_else() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let created = create(&app, moment(0)).await.unwrap().job;
    let before = cloud.resources();
    cloud.take_calls();

    let paused = app.job_set_enabled(&key(), false, moment(100)).await.unwrap();
    assert_eq!(paused.next_starts, []);
    let paused = paused.job;
    assert!(!paused.definition.enabled);
    assert_eq!((paused.phase, paused.generation), (Phase::Ready, 2));
    assert_eq!(paused.observed_generation, 2);
    assert_eq!(cloud.take_writes(), ["events:PutRule"]);
    assert!(!cloud.state().events.rules[BASE].enabled);
    assert!(cloud.state().events.rules[&format!("{BASE}_failure")].enabled);
    let others = |mut all: BTreeMap<String, Standing>| {
        all.remove(&format!("rule {BASE}"));
        all
    };
    assert_eq!(others(cloud.resources()), others(before.clone()));

    let resumed = app.job_set_enabled(&key(), true, moment(200)).await.unwrap();
    assert_eq!(resumed.next_starts.len(), 5);
    let resumed = resumed.job;
    assert_eq!((resumed.phase, resumed.generation), (Phase::Ready, 3));
    // A rate counts from when its rule was switched on.
    assert_eq!(resumed.scheduled_since, at(200));
    assert_eq!(resumed.id, created.id);
    assert_eq!(cloud.resources(), before);
}

/// A pause that can't be carried through stops the schedule all the same.
#[tokio::test]
async fn a_pause_that_is_hindered_stops_the_schedule() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.fail("events:PutRule", 1, "LimitExceededException", "You have reached the quota.");
    let paused = app.job_set_enabled(&key(), false, moment(60)).await.unwrap().job;
    assert_eq!(paused.phase, Phase::Failed);
    assert!(paused.reason.unwrap().contains("quota"));
    assert!(!cloud.state().events.rules[BASE].enabled);
    sweep_for_an_hour(&app, 60).await;
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
    assert!(!cloud.state().events.rules[BASE].enabled);
}

/// A time of these tests, as a request writes it.
fn rfc3339(seconds: i64) -> Value {
    json!(at(seconds).to_string())
}

async fn pause(app: &App, body: Value, seconds: i64) -> Job {
    app.job_pause(&key(), body, moment(seconds)).await.unwrap().job
}

/// Resumes by itself at 1,000.
async fn with_paused(app: &App) -> Job {
    create(app, moment(0)).await.unwrap();
    pause(app, json!({"note": "the database moves", "resume_at": rfc3339(1000)}), 100).await
}

/// When the job is come back to, if at all.
fn due_at(cloud: &Cloud) -> Option<i64> {
    let state = cloud.state();
    let item = state.table.item("TEAM#platform", "JOB#nightly-report").unwrap();
    let due: i64 = item.get("due_at")?.as_n().unwrap().parse().unwrap();
    Some(due - at(0).as_second())
}

/// The team may have no images but these any more.
fn narrow(cloud: &Cloud, images: &[&str]) {
    let mut team = wide_team("platform");
    team.definition.guardrails.images = Some(images.iter().map(|one| (*one).to_owned()).collect());
    cloud.put_team(&team);
}

fn somebody() -> PausedBy {
    PausedBy::of(&author("pause_job"))
}

#[tokio::test]
async fn a_pause_keeps_who_said_so_and_why_until_the_job_is_on_again() {
    let cloud = Cloud::default();
    let app = cloud.app().on_behalf_of(author("pause_job"));
    create(&app, moment(0)).await.unwrap();
    assert_eq!(stored(&app).await.unwrap().known_pause(), None);
    let asked = json!({"note": "the database moves", "resume_at": rfc3339(5000)});
    let paused = pause(&app, asked.clone(), 10).await;
    let wanted = Pause {
        by: Some(somebody()),
        at: Some(at(10)),
        note: Some("the database moves".to_owned()),
        resume_at: Some(at(5000)),
        resume_refused: None,
    };
    assert_eq!(paused.known_pause(), Some(wanted.clone()));
    assert_eq!((paused.generation, paused.phase), (2, Phase::Ready));

    // The same again, or nothing, changes nothing, whoever says it and when.
    let other = cloud.app();
    for said in [asked, json!({})] {
        assert_eq!(pause(&other, said, 20).await, paused);
    }
    other.job_set_enabled(&key(), false, moment(21)).await.unwrap();
    assert_eq!(stored(&app).await.unwrap(), paused);
    // Another field of the definition is none of the pause's business.
    let patched = patch(&other, json!({"description": "new"}), moment(30)).await.unwrap().view.job;
    assert_eq!(patched.known_pause(), Some(wanted.clone()));
    let mut whole = definition();
    whole["enabled"] = json!(false);
    let replaced = put(&other, whole, moment(31)).await.unwrap().view.job;
    assert_eq!(replaced.known_pause(), Some(wanted));

    // Said anew, it is all that was said.
    cloud.take_calls();
    let changed = pause(&other, json!({"note": "it takes longer"}), 40).await;
    assert_eq!(cloud.take_writes(), [""; 0]);
    let note = Some("it takes longer".to_owned());
    let wanted = Pause { at: Some(at(40)), note, ..Pause::default() };
    assert_eq!(changed.known_pause(), Some(wanted));
    assert_eq!((changed.phase, changed.generation), (Phase::Ready, 5));
    assert_eq!(changed.observed_generation, 5);
    let nothing = pause(&app, json!({"note": null}), 50).await.known_pause().unwrap();
    assert_eq!((nothing.by, nothing.note), (Some(somebody()), None));

    // On again by whatever way, nothing of it is left.
    for resume in 0..3 {
        pause(&app, json!({"note": "again"}), 60).await;
        let resumed = match resume {
            0 => app.job_set_enabled(&key(), true, moment(70)).await.unwrap().job,
            1 => patch(&app, json!({"enabled": true}), moment(70)).await.unwrap().view.job,
            _ => put(&app, definition(), moment(70)).await.unwrap().view.job,
        };
        assert!(resumed.definition.enabled);
        assert_eq!((resumed.known_pause(), &resumed.pause), (None, &None), "{resume}");
        assert_eq!(stored(&app).await.unwrap().pause, None, "{resume}");
    }
}

/// Without a word of why, by whatever way.
#[tokio::test]
async fn a_definition_that_is_not_enabled_begins_a_pause() {
    let cloud = Cloud::default();
    let app = cloud.app().on_behalf_of(author("pause_job"));
    let mut off = definition();
    off["enabled"] = json!(false);
    let wanted =
        |seconds| Pause { by: Some(somebody()), at: Some(at(seconds)), ..Pause::default() };
    let created = app.job_create(team(), off.clone(), moment(1)).await.unwrap().job;
    assert_eq!(created.known_pause(), Some(wanted(1)));
    app.job_set_enabled(&key(), true, moment(2)).await.unwrap();
    let replaced = put(&app, off.clone(), moment(3)).await.unwrap().view.job;
    assert_eq!(replaced.known_pause(), Some(wanted(3)));
    app.job_set_enabled(&key(), true, moment(4)).await.unwrap();
    let patched = patch(&app, json!({"enabled": false}), moment(5)).await.unwrap().view.job;
    assert_eq!(patched.known_pause(), Some(wanted(5)));
    assert_eq!(stored(&app).await.unwrap().pause, Some(wanted(5)));
    delete(&app, moment(6)).await.unwrap();
    let put_new = put(&app, off, moment(7)).await.unwrap();
    assert!(put_new.created);
    assert_eq!(put_new.view.job.known_pause(), Some(wanted(7)));
    // One that was paused before anything of it was kept.
    let mut before = put_new.view.job;
    before.pause = None;
    assert_eq!(before.known_pause(), Some(Pause::default()));
}

#[tokio::test]
async fn a_job_is_resumed_when_its_time_has_come() {
    let cloud = Cloud::default();
    let app = cloud.app();
    with_paused(&app.on_behalf_of(author("pause_job"))).await;
    assert_eq!(due_at(&cloud), Some(1000));
    cloud.take_calls();
    assert_eq!(app.sweep(moment(999)).await.unwrap().jobs, 0);
    assert!(!cloud.state().events.rules[BASE].enabled);

    let swept = app.sweep(moment(1000)).await.unwrap();
    assert_eq!((swept.jobs, swept.failures), (1, 0));
    assert_eq!(cloud.take_writes(), ["events:PutRule"]);
    assert!(cloud.state().events.rules[BASE].enabled);
    let job = stored(&app).await.unwrap();
    assert!(job.definition.enabled);
    assert_eq!((job.phase, job.generation, job.observed_generation), (Phase::Ready, 3, 3));
    assert_eq!((&job.pause, job.scheduled_since), (&None, at(1000)));
    assert_eq!(job.next_starts(at(1000), 5, EngineChoice::ByNeed).len(), 5);
    assert_eq!(due_at(&cloud), None);
    assert_eq!(app.sweep(moment(1060)).await.unwrap().jobs, 0);

    let told = entries(&cloud);
    let [_, _, entry] = &told[..] else { panic!("{told:?}") };
    assert_eq!((entry.at, entry.outcome), (at(1000), Outcome::Accepted));
    let request_id = entry.author.request_id.clone();
    assert_eq!(entry.author, Author::cronplane("resume_job", request_id.clone()));
    assert!(!request_id.is_empty());
    assert_eq!(entry.target, Target::job(&key()));
    let changes: Vec<(&str, Option<&Value>)> =
        entry.changes.iter().map(|one| (&*one.pointer, one.after.as_ref())).collect();
    let wanted =
        [("/enabled", Some(&json!(true))), ("/pause/note", None), ("/pause/resume_at", None)];
    assert_eq!(changes, wanted);
}

/// The sweeper was down for a year: nothing is made up for, and the phase of a rate begins then.
#[tokio::test]
async fn a_time_long_past_is_as_good_as_one_that_just_came() {
    let cloud = Cloud::default();
    let app = cloud.app();
    with_paused(&app).await;
    let year = 365 * 24 * 3600;
    app.sweep(moment(year)).await.unwrap();
    let job = stored(&app).await.unwrap();
    assert_eq!((job.definition.enabled, job.scheduled_since), (true, at(year)));
    assert!(cloud.state().ecs.tasks.is_empty());
    assert_eq!(crate::history::run_items(&cloud), []);
}

/// Of all that a job is come back to for, what comes first, and the rest after it.
#[tokio::test]
async fn a_job_is_due_for_the_first_of_all_reasons() {
    // For 30 minutes behind the last change a start of before gets what it needs; to resume is one as well.
    for (resume_at, order) in [(2000, [2000, 3800]), (4000, [2800, 4000])] {
        let cloud = Cloud::default();
        let app = cloud.app();
        create(&app, moment(0)).await.unwrap();
        let change = json!({"task_role": "arn:aws:iam::111122223333:role/app-report"});
        patch(&app, change, moment(500)).await.unwrap();
        patch(&app, json!({"task_role": null}), moment(1000)).await.unwrap();
        assert_eq!(due_at(&cloud), Some(2800));
        pause(&app, json!({"resume_at": rfc3339(resume_at)}), 1000).await;
        for due in order {
            assert_eq!(due_at(&cloud), Some(due), "{resume_at}");
            assert_eq!(app.sweep(moment(due)).await.unwrap().failures, 0);
        }
        let job = stored(&app).await.unwrap();
        assert!(job.definition.enabled && job.former.grants.is_none(), "{resume_at}");
        assert_eq!(due_at(&cloud), None, "{resume_at}");
    }
}

/// A pause that AWS does not follow is tried again, and ends when it is to end all the same.
#[tokio::test]
async fn a_job_that_is_hindered_is_resumed_in_time() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.fail("events:PutRule", 1000, "LimitExceededException", "You have reached the quota.");
    let asked = json!({"resume_at": rfc3339(200)});
    let mut now = 100;
    let paused = pause(&app, asked, now).await;
    assert_eq!(paused.phase, Phase::Failed);
    while stored(&app).await.unwrap().pause.is_some() {
        let due = due_at(&cloud).unwrap();
        assert!((now + 1..=200).contains(&due), "{now} {due}");
        now = due;
        app.sweep(moment(now)).await.unwrap();
    }
    assert_eq!(now, 200);
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Failed);
    cloud.mend();
    sweep_for_an_hour(&app, now).await;
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
    assert!(cloud.state().events.rules[BASE].enabled);
}

/// What does not comply when its time comes stays off, and says why, until somebody resumes it.
#[tokio::test]
async fn a_job_that_does_not_comply_is_not_resumed() {
    let (logged, _guard) = Logged::listen("warn");
    let cloud = Cloud::default();
    let app = cloud.app();
    with_paused(&app.on_behalf_of(author("pause_job"))).await;
    narrow(&cloud, &["nginx:*"]);
    cloud.take_calls();
    assert_eq!(app.sweep(moment(1000)).await.unwrap().failures, 0);
    assert_eq!(cloud.take_writes(), [""; 0]);
    let job = stored(&app).await.unwrap();
    assert_eq!((job.definition.enabled, job.phase), (false, Phase::Ready));
    let pause_now = job.known_pause().unwrap();
    let reason = pause_now.resume_refused.clone().unwrap();
    assert!(reason.contains("guardrails") && reason.contains("/image"), "{reason}");
    let wanted = Pause {
        by: Some(somebody()),
        at: Some(at(100)),
        note: Some("the database moves".to_owned()),
        resume_at: None,
        resume_refused: Some(reason.clone()),
    };
    assert_eq!(pause_now, wanted);
    assert!(logged.text().contains("not resumed, though its time has come"), "{}", logged.text());
    let told = entries(&cloud);
    let [.., entry] = &told[..] else { panic!("{told:?}") };
    assert_eq!((entry.outcome, &entry.reason), (Outcome::Denied, &Some(reason)));
    assert_eq!(entry.author.kind, PrincipalKind::Cronplane);
    let changed: Vec<&str> = entry.changes.iter().map(|one| &*one.pointer).collect();
    assert_eq!(changed, ["/pause/resume_at"]);

    // It is not tried again, whatever becomes of the guardrails.
    assert_eq!(due_at(&cloud), None);
    narrow(&cloud, &["busybox:*"]);
    sweep_for_an_hour(&app, 1000).await;
    assert!(!stored(&app).await.unwrap().definition.enabled);
    assert_eq!(entries(&cloud), told);
    // A pause that is said anew has its own time, and no reason of before.
    let again = json!({"note": "the database moves", "resume_at": rfc3339(6000)});
    let again = pause(&app, again, 5000).await.known_pause().unwrap();
    assert_eq!((again.resume_at, again.resume_refused), (Some(at(6000)), None));
    app.sweep(moment(6000)).await.unwrap();
    assert!(stored(&app).await.unwrap().definition.enabled);
}

#[tokio::test]
async fn a_schedule_with_nothing_left_to_start_is_not_resumed() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let mut once = definition();
    once["schedule"] = json!("cron(0 15 23 11 ? 2026)");
    app.job_create(team(), once, moment(0)).await.unwrap();
    pause(&app, json!({"resume_at": rfc3339(3601)}), 100).await;
    app.sweep(moment(3601)).await.unwrap();
    let pause = stored(&app).await.unwrap().known_pause().unwrap();
    assert_eq!(pause.resume_refused.as_deref(), Some("its schedule has nothing left to start"));
    let told = entries(&cloud);
    let [entry] = &told[..] else { panic!("{told:?}") };
    assert_eq!(entry.outcome, Outcome::Denied);
}

/// A team of before teams were made: its jobs can't be changed either.
#[tokio::test]
async fn a_job_without_a_team_is_not_resumed() {
    let cloud = Cloud::default();
    let app = cloud.app();
    with_paused(&app).await;
    cloud.state().table.remove("TEAMS", "platform");
    assert_eq!(app.sweep(moment(1000)).await.unwrap().failures, 0);
    let pause = stored(&app).await.unwrap().known_pause().unwrap();
    assert!(pause.resume_refused.unwrap().contains("no team `platform`"));
    assert_eq!(due_at(&cloud), None);
}

#[tokio::test]
async fn a_job_that_is_being_deleted_is_not_resumed() {
    let cloud = Cloud::default();
    let app = cloud.app();
    with_paused(&app).await;
    cloud.state().ecs.tasks.push(crate::task::running(BASE, "0a"));
    assert!(delete(&app, moment(200)).await.unwrap().is_some());
    app.sweep(moment(2000)).await.unwrap();
    let job = stored(&app).await.unwrap();
    assert_eq!((job.definition.enabled, job.phase), (false, Phase::Deleting));
    assert_eq!(entries(&cloud), []);
}

/// Several sweeps at once, and somebody who says something else at that very moment: once, or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_at_the_time_one_resumes_the_job() {
    for _ in 0..20 {
        let cloud = Cloud::default();
        let app = cloud.app();
        with_paused(&app).await;
        let sweeps = (0..4).map(|_| {
            let app = app.clone();
            tokio::spawn(async move { app.sweep(moment(1000)).await.map(drop) })
        });
        let sweeps: Vec<_> = sweeps.collect();
        let longer = json!({"resume_at": rfc3339(9000)});
        let longer = app.job_pause(&key(), longer, moment(1000)).await.unwrap();
        for sweep in sweeps {
            sweep.await.unwrap().unwrap();
        }
        sweep_for_an_hour(&app, 1000).await;
        // Whoever paused it for longer is never overruled: it is paused, by a pause that came first or after.
        assert_eq!(longer.job.resume_at(), Some(at(9000)));
        let job = stored(&app).await.unwrap();
        assert_eq!((job.resume_at(), job.phase), (Some(at(9000)), Phase::Ready));
        assert!(!cloud.state().events.rules[BASE].enabled);
        assert!(entries(&cloud).len() <= 1);
    }
}

/// Every call of the sweep that resumes a job, or refuses to, in every trouble.
#[tokio::test]
async fn whatever_call_of_a_resumption_is_in_trouble_it_is_done_and_told_once() {
    for refused in [false, true] {
        let made = async || {
            let cloud = Cloud::default();
            let app = cloud.app();
            with_paused(&app).await;
            if refused {
                narrow(&cloud, &[]);
            }
            cloud.take_calls();
            (cloud, app)
        };
        let (clean, app) = made().await;
        app.sweep(moment(1000)).await.unwrap();
        // The four shards of the index are not the job's.
        let calls = clean.take_calls();
        let skipped = calls.iter().take_while(|call| call.operation == "dynamodb:Query").count();
        assert!(calls.len() > skipped + 4, "{calls:?}");
        for (number, call) in calls.iter().enumerate().skip(skipped) {
            for trouble in Trouble::ALL {
                let what = format!("{refused}: {call:?} {trouble:?}");
                let (cloud, app) = made().await;
                cloud.trouble(number, trouble);
                app.sweep(moment(1000)).await.unwrap();
                assert!(cloud.has_failed(), "{what}");
                sweep_for_an_hour(&app, 1000).await;
                let job = stored(&app).await.unwrap();
                assert_eq!(job.definition.enabled, !refused, "{what}");
                assert_eq!((job.phase, job.generation), (Phase::Ready, 3), "{what}");
                assert_eq!(cloud.state().events.rules[BASE].enabled, !refused, "{what}");
                let outcomes: Vec<Outcome> =
                    entries(&cloud).iter().map(|entry| entry.outcome).collect();
                let wanted = if refused { Outcome::Denied } else { Outcome::Accepted };
                assert_eq!(outcomes, [wanted], "{what}");
                assert_eq!(due_at(&cloud), None, "{what}");
            }
        }
    }
}
