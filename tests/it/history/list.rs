//! The list of a job's runs.

use cronplane::app::RunsWanted;
use cronplane::domain::ids::{JobName, RunId};
use cronplane::domain::run::{Run, RunStatus, Trigger};
use cronplane::error::Error;
use serde_json::json;

use super::{apply_all, runs, with_job};
use crate::job::{BASE, at, delete, key, moment};
use crate::task::state;

fn ids(runs: Vec<Run>) -> Vec<RunId> {
    runs.into_iter().map(|run| run.id).collect()
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_filtered() {
    let (_, app) = with_job().await;
    let mut external = state("0c", 7200, "STOPPED", 7);
    external["detail"]["startedBy"] = json!("somebody");
    external["detail"]["containers"][0]["exitCode"] = json!(0);
    let events = [
        state("0a", 0, "STOPPED", 7),
        state("0b", 3600, "RUNNING", 4),
        external,
        state("0d", 7200, "STOPPED", 7),
    ];
    apply_all(&app, &events).await;
    let ids = |runs: Vec<Run>| -> Vec<String> {
        runs.iter().map(|run| run.id.task_id().to_owned()).collect()
    };
    let all = || RunsWanted::default();
    assert_eq!(ids(runs(&app, all()).await), ["0d", "0c", "0b", "0a"]);
    let status = |status| RunsWanted { status: Some(status), ..all() };
    assert_eq!(ids(runs(&app, status(RunStatus::Failed)).await), ["0d", "0a"]);
    assert_eq!(ids(runs(&app, status(RunStatus::Running)).await), ["0b"]);
    assert_eq!(ids(runs(&app, status(RunStatus::Stopped)).await), [""; 0]);
    let trigger = RunsWanted { trigger: Some(Trigger::External), ..all() };
    assert_eq!(ids(runs(&app, trigger).await), ["0c"]);
    // Both ends are within, and a part of a second does not matter.
    for (from, to, wanted) in [
        (Some(3600), None, &["0d", "0c", "0b"][..]),
        (None, Some(3600), &["0b", "0a"]),
        (Some(1), Some(7199), &["0b"]),
        (Some(7200), Some(7200), &["0d", "0c"]),
        (Some(7201), None, &[]),
        (Some(3600), Some(0), &[]),
    ] {
        let between = RunsWanted { from: from.map(at), to: to.map(at), ..all() };
        assert_eq!(ids(runs(&app, between).await), wanted, "{from:?} {to:?}");
    }
    let by_task = RunsWanted {
        task_arn: Some(format!("arn:aws:ecs:us-west-2:111122223333:task/{BASE}/0b")),
        from: Some(at(3600)),
        to: Some(at(3600)),
        ..all()
    };
    assert_eq!(ids(runs(&app, by_task).await), ["0b"]);
    let all_at_once = RunsWanted {
        status: Some(RunStatus::Failed),
        trigger: Some(Trigger::Schedule),
        from: Some(at(1)),
        ..all()
    };
    assert_eq!(ids(runs(&app, all_at_once).await), ["0d"]);
}

#[tokio::test]
async fn the_pages_of_a_list_are_the_list() {
    let (_, app) = with_job().await;
    let mut events = Vec::new();
    for number in 0..25 {
        let mut event = state(&format!("{number:02x}"), 60 * number, "STOPPED", 7);
        let exit_code = i64::from(number % 5 == 0);
        event["detail"]["containers"][0]["exitCode"] = json!(exit_code);
        events.push(event);
    }
    apply_all(&app, &events).await;
    for status in [None, Some(RunStatus::Failed)] {
        for limit in [1, 2, 3, 5, 24, 25, 26] {
            let whole = RunsWanted { status, ..RunsWanted::default() };
            let wanted: Vec<RunId> = ids(runs(&app, whole).await);
            let mut listed = Vec::new();
            let mut cursor = None;
            let mut pages = 0;
            loop {
                let page = RunsWanted { status, limit, cursor, ..RunsWanted::default() };
                let page = app.run_list(&key(), page).await.unwrap();
                assert!(page.items.len() <= limit);
                pages += 1;
                listed.extend(page.items.into_iter().map(|view| view.run.id));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(listed, wanted, "{status:?} {limit}");
            // The last page says so, where nothing is filtered out behind it.
            assert!(status.is_some() || pages == wanted.len().div_ceil(limit), "{limit}: {pages}");
        }
    }
}

#[tokio::test]
async fn a_job_that_never_was_has_no_list_and_one_that_ran_has() {
    let (_, app) = with_job().await;
    assert_eq!(runs(&app, RunsWanted::default()).await, []);
    let mut other = key();
    other.job = JobName::parse("other").unwrap();
    let wanted = RunsWanted { limit: 1, ..RunsWanted::default() };
    let missing = app.run_list(&other, wanted).await;
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");

    apply_all(&app, &[state("0a", 0, "STOPPED", 7)]).await;
    delete(&app, moment(100)).await.unwrap();
    assert_eq!(runs(&app, RunsWanted::default()).await.len(), 1);
    // Of what is kept, none is of this time.
    let wanted = RunsWanted { from: Some(at(9000)), ..RunsWanted::default() };
    assert_eq!(runs(&app, wanted).await, []);
}
