//! `GET /teams/{team}/jobs`: filters, order and pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cronplane::domain::job::{
    Job, JobDefinition, Phase, ResourceKind, ResourceState, ResourceStatus,
};
use cronplane::domain::recent_runs::{RECENT_RUNS_MAX, RecentRuns};
use cronplane::domain::run::{Run, Trigger};
use serde_json::{Value, json};

use super::client::{Api, JOBS, errors};
use crate::cloud::{arn, deployment};
use crate::job::{at, definition, job_of};
use crate::task::{self, snapshot, state};

/// The event of a task of a job: created so many seconds after the beginning.
fn event(job: &str, id: &str, created: i64, status: &str) -> Value {
    let mut event = state(id, created, status, 7);
    let family = format!("cronplane_platform_{job}");
    event["detail"]["taskDefinitionArn"] =
        json!(arn("ecs", &format!("task-definition/{family}:1")));
    event["detail"]["startedBy"] = json!(task::started_by(&family));
    event
}

fn ended(job: &str, id: &str, created: i64, exit_code: i64) -> Value {
    let mut event = event(job, id, created, "STOPPED");
    event["detail"]["containers"][0]["exitCode"] = json!(exit_code);
    event
}

/// Jobs that differ in everything that is filtered by.
async fn with_jobs() -> Api {
    let api = Api::new();
    for (name, enabled, tags) in [
        ("backup", true, json!({"team": "data", "a=b": "c"})),
        ("report", false, json!({"team": "data", "a": "b=c", "empty": ""})),
        ("report-daily", true, json!({"team": "web", "a:b": "x/y z"})),
        ("report2", true, json!({"Team": "data", "definition.enabled": ":tag0"})),
        ("zeta", true, json!({})),
    ] {
        let mut job = definition();
        job["name"] = json!(name);
        job["enabled"] = json!(enabled);
        job["tags"] = tags;
        if name == "report2" {
            api.cloud.fail("events:PutRule", 1, "LimitExceededException", "The quota is used up.");
        }
        api.post(JOBS, job).await.of_status(201);
    }
    for event in [
        ended("backup", "0a", 0, 0),
        ended("backup", "0b", 60, 1),
        // Goes on: the outcome is still that of the run before.
        event("backup", "0c", 120, "RUNNING"),
        ended("report", "0d", 0, 0),
        event("report-daily", "0e", 0, "RUNNING"),
        ended("zeta", "0f", 0, 1),
        ended("zeta", "0g", 60, 0),
    ] {
        api.ingest(&event).await;
    }
    let family = "cronplane_platform_zeta";
    api.cloud.state().ecs.tasks.push(task::running(family, "0h"));
    api.call("DELETE", &format!("{JOBS}/zeta")).await.of_status(202);
    api
}

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|job| job["name"].as_str().unwrap()).collect()
}

const ALL: &[&str] = &["backup", "report", "report-daily", "report2", "zeta"];

#[tokio::test]
async fn jobs_are_found_by_their_filters() {
    let api = with_jobs().await;
    for (query, wanted) in [
        ("", ALL),
        ("order=name", ALL),
        ("phase=ready", &["backup", "report", "report-daily"][..]),
        ("phase=failed", &["report2"]),
        ("phase=deleting", &["zeta"]),
        ("phase=provisioning", &[]),
        ("enabled=true", &["backup", "report-daily", "report2", "zeta"]),
        ("enabled=false", &["report"]),
        ("last_outcome=failed", &["backup"]),
        ("last_outcome=succeeded", &["report", "zeta"]),
        ("last_outcome=timed_out", &[]),
        ("tag=team", &["backup", "report", "report-daily"]),
        ("tag=team,data", &["backup", "report"]),
        // Keys are compared as they are written.
        ("tag=Team,data", &["report2"]),
        ("tag=team,dat", &[]),
        ("tag=team,", &[]),
        ("tag=empty,", &["report"]),
        ("tag=empty", &["report"]),
        ("tag=nothing", &[]),
        // Neither `=` nor `:` divides a key from its value.
        ("tag=a%3Db", &["backup"]),
        ("tag=a=b", &["backup"]),
        ("tag=a%3Db,c", &["backup"]),
        ("tag=a,b%3Dc", &["report"]),
        ("tag=a", &["report"]),
        ("tag=a:b", &["report-daily"]),
        ("tag=a:b,x/y%20z", &["report-daily"]),
        ("tag=a:b,x/y+z", &["report-daily"]),
        // What looks like a part of an expression is a key and a value like any other.
        ("tag=definition.enabled,:tag0", &["report2"]),
        ("name_prefix=report", &["report", "report-daily", "report2"]),
        ("name_prefix=report-", &["report-daily"]),
        ("name_prefix=r", &["report", "report-daily", "report2"]),
        ("name_prefix=reports", &[]),
        ("tag=team,data&last_outcome=failed", &["backup"]),
        ("tag=team,data&tag=empty", &["report"]),
        ("tag=team,data&tag=a%3Db,c", &["backup"]),
        ("tag=team,data&tag=empty,x", &[]),
        ("phase=ready&enabled=true", &["backup", "report-daily"]),
        ("enabled=true&last_outcome=succeeded", &["zeta"]),
        ("name_prefix=report&enabled=true", &["report-daily", "report2"]),
        ("name_prefix=report&tag=team&enabled=true&phase=ready", &["report-daily"]),
    ] {
        for (order, reverse) in [("", false), ("order=-name", true)] {
            if query.contains("order") && reverse {
                continue;
            }
            let mut wanted = wanted.to_vec();
            if reverse {
                wanted.reverse();
            }
            let page = api.get(&format!("{JOBS}?{query}&{order}")).await.of_status(200);
            assert_eq!(names(&page), wanted, "{query}&{order}");
            assert_eq!(page["next"], Value::Null, "{query}&{order}");
        }
    }
    // Another team's are not among them.
    let page = api.get("/v1/teams/other/jobs?tag=team,data").await.of_status(200);
    assert_eq!(names(&page), [""; 0]);
}

/// All pages of a list, one after the other.
async fn all_pages(api: &Api, query: &str, limit: usize) -> Vec<String> {
    let mut listed = Vec::new();
    let mut path = format!("{JOBS}?{query}&limit={limit}");
    for _ in 0..20 {
        let page = api.get(&path).await.of_status(200);
        assert!(page["items"].as_array().unwrap().len() <= limit, "{query} {limit}");
        listed.extend(names(&page).into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => path = format!("{JOBS}?{query}&limit={limit}&cursor={next}"),
            None => return listed,
        }
    }
    panic!("{query} {limit} has no end");
}

#[tokio::test]
async fn the_pages_of_a_filtered_list_are_the_list() {
    let api = with_jobs().await;
    for filter in ["", "enabled=true", "tag=team", "name_prefix=report", "name_prefix=re&tag=team"]
    {
        for order in ["order=name", "order=-name"] {
            let query = format!("{filter}&{order}");
            let page = api.get(&format!("{JOBS}?{query}")).await.of_status(200);
            let wanted = names(&page);
            assert!(!wanted.is_empty());
            for limit in [1, 2, 3, 4, 5, 100] {
                assert_eq!(all_pages(&api, &query, limit).await, wanted, "{query} {limit}");
            }
        }
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_the_filters_and_the_order_that_it_was_given_for() {
    let api = with_jobs().await;
    let lists = [
        "",
        "order=-name",
        "name_prefix=report",
        "name_prefix=re",
        "phase=ready",
        "enabled=true",
        "last_outcome=succeeded",
        "tag=team",
        "tag=team,data",
        "tag=team,data&enabled=true",
        "tag=a,b%3Dc",
    ];
    for list in lists {
        let first = api.get(&format!("{JOBS}?{list}&limit=1")).await.of_status(200);
        let next = first["next"].as_str().unwrap_or_else(|| panic!("{list} has one page"));
        for other in lists {
            let answer = api.get(&format!("{JOBS}?{other}&cursor={next}")).await;
            if other == list {
                answer.of_status(200);
                continue;
            }
            let problem = answer.problem(400, "bad_request");
            let wanted = [("cursor".to_owned(), "format".to_owned())];
            assert_eq!(errors(&problem), wanted, "{list} {other}");
        }
    }
    // The same list, told otherwise; and another size of its pages.
    let first = api.get(&format!("{JOBS}?tag=team&enabled=true&limit=1")).await.of_status(200);
    let next = first["next"].as_str().unwrap();
    let again = format!("{JOBS}?order=name&enabled=true&tag=team&limit=7&cursor={next}");
    let rest = api.get(&again).await.of_status(200);
    assert_eq!(names(&rest), ["report-daily"]);
}

/// A key outside the bounds of its list is an error to DynamoDB: a cursor that was made up must not
/// get that far.
#[tokio::test]
async fn a_cursor_leads_nowhere_outside_its_list() {
    let api = with_jobs().await;
    let list = format!("{JOBS}?name_prefix=report");
    let first = api.get(&format!("{list}&limit=1")).await.of_status(200);
    let cursor = URL_SAFE_NO_PAD.decode(first["next"].as_str().unwrap()).unwrap();
    let cursor = String::from_utf8(cursor).unwrap();
    let (of, name) = cursor.split_once('\n').unwrap();
    assert_eq!(name, "report");
    for (name, status) in [("report", 200), ("reports", 200), ("backup", 400), ("zeta", 400)] {
        let cursor = URL_SAFE_NO_PAD.encode(format!("{of}\n{name}"));
        let answer = api.get(&format!("{list}&cursor={cursor}")).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
    }
}

/// One request fills a page: how each job's newest runs went, and when the next one is.
#[tokio::test]
async fn an_item_of_the_list_is_the_job_with_its_newest_runs() {
    let api = Api::new();
    let mut job = definition();
    job["name"] = json!("hello");
    api.post(JOBS, job).await.of_status(201);
    let empty = api.get(JOBS).await.of_status(200);
    let status = &empty["items"][0]["status"];
    assert_eq!(status["recent_runs"], json!([]));
    assert_eq!((&status["last_run"], &status["last_outcome"]), (&Value::Null, &Value::Null));

    for number in 0..12 {
        api.ingest(&ended("hello", &format!("{number:02}"), 60 * number, number % 2)).await;
    }
    api.ingest(&event("hello", "12", 720, "RUNNING")).await;
    let tag = api.get(&format!("{JOBS}/hello")).await.headers["etag"].clone();
    assert!(tag.to_str().unwrap().ends_with(".1\""), "{tag:?}");
    let page = api.get(JOBS).await.of_status(200);
    let status = &page["items"][0]["status"];
    let runs = status["recent_runs"].as_array().unwrap();
    let told: Vec<(&str, &str)> = runs
        .iter()
        .map(|run| {
            let id = run["id"].as_str().unwrap();
            (id.rsplit('-').next().unwrap(), run["status"].as_str().unwrap())
        })
        .collect();
    let wanted = [
        ("12", "running"),
        ("11", "failed"),
        ("10", "succeeded"),
        ("09", "failed"),
        ("08", "succeeded"),
        ("07", "failed"),
        ("06", "succeeded"),
        ("05", "failed"),
        ("04", "succeeded"),
        ("03", "failed"),
    ];
    assert_eq!(told, wanted);
    assert_eq!(
        runs[1],
        json!({
            "id": "20261123T141100-11",
            "status": "failed",
            "trigger": "schedule",
            "scheduled_time": "2020-01-23T17:57:00Z",
            "created_at": "2026-11-23T14:11:00Z",
            "stopped_at": "2026-11-23T14:12:20Z",
            "exit_code": 1,
        })
    );
    assert_eq!(status["last_run"], runs[0]);
    assert_eq!(status["last_outcome"], "failed");
    assert_eq!(status["next_starts"].as_array().unwrap().len(), 5);
    let shown = api.get(&format!("{JOBS}/hello")).await.of_status(200);
    assert_eq!(shown["status"]["recent_runs"], status["recent_runs"]);
}

/// A job as it stands after a while: all resources, ten runs, a definition of this size.
fn grown(number: usize, environment_bytes: usize, runs: &RecentRuns) -> Job {
    let mut job = job_of(&format!("job-{number:03}"));
    let mut wanted = definition();
    wanted["name"] = json!(job.definition.name);
    wanted["description"] = json!("Says \"hello\" ".repeat(20));
    wanted["enabled"] = json!(!number.is_multiple_of(3));
    wanted["tags"] = json!({"cost-center": "4711", "owner": "platform@example.com"});
    job.definition = JobDefinition::read(wanted, &deployment()).unwrap();
    // Of what is written longer in JSON than it is, the longest.
    let quotes = "\"".repeat(environment_bytes);
    job.definition.environment.insert("QUOTES".to_owned(), quotes);
    job.phase = Phase::Ready;
    for kind in ResourceKind::ALL {
        let status = ResourceStatus {
            arn: Some(arn("ecs", &format!("{}/{}", kind.as_str(), "n".repeat(80)))),
            state: ResourceState::Ready,
            applied: Some("0".repeat(64)),
            ..ResourceStatus::default()
        };
        job.resources.insert(kind, status);
    }
    job.recent_runs = runs.clone();
    job
}

/// As many runs as a job shows, each with everything that is known of a run.
fn ten_runs() -> RecentRuns {
    (0..RECENT_RUNS_MAX).fold(RecentRuns::default(), |known, number| {
        let created = i64::try_from(number).unwrap() * 86_400;
        let event = state(&format!("{number:032x}"), created, "STOPPED", 7);
        let run = Run::of_task(&snapshot(&event), Trigger::Schedule);
        known.with(&run.summary()).unwrap()
    })
}

/// A function's answer has at most 6 MB, the body in it as a string.
#[tokio::test]
async fn pages_of_many_and_of_large_jobs_lose_nothing_and_stay_small() {
    const ANSWER_BYTES: usize = 6 * 1024 * 1024;
    let runs = ten_runs();
    for (jobs, environment_bytes, first_page) in
        [(130, 500, 100..=100), (100, 20_000, 30..=55), (24, 200_000, 3..=6)]
    {
        let api = Api::new();
        let mut all = Vec::new();
        for number in 0..jobs {
            let job = grown(number, environment_bytes, &runs);
            all.push((job.definition.name.to_string(), job.definition.enabled));
            api.app
                .store
                .job_insert(&job, at(60), &cronplane::store::Insertion::default())
                .await
                .unwrap();
        }
        for (query, every) in [("", true), ("enabled=true", false)] {
            for order in ["order=name", "order=-name"] {
                let mut listed = Vec::new();
                let mut path = format!("{JOBS}?{query}&{order}&limit=100");
                loop {
                    let answer = api.get(&path).await;
                    let bytes = serde_json::to_string(&answer.text).unwrap().len();
                    assert!(bytes < ANSWER_BYTES, "{bytes} bytes, {environment_bytes} each");
                    let page = answer.of_status(200);
                    let items = page["items"].as_array().unwrap();
                    let told = |job: &Value| job["status"]["recent_runs"].as_array().unwrap().len();
                    assert!(items.iter().all(|job| told(job) == RECENT_RUNS_MAX));
                    if listed.is_empty() && every {
                        assert!(first_page.contains(&items.len()), "{}", items.len());
                    }
                    listed.extend(names(&page).into_iter().map(str::to_owned));
                    match page["next"].as_str() {
                        Some(next) => {
                            path = format!("{JOBS}?{query}&{order}&limit=100&cursor={next}");
                        }
                        None => break,
                    }
                }
                if order == "order=-name" {
                    listed.reverse();
                }
                let wanted: Vec<&String> = all
                    .iter()
                    .filter(|(_, enabled)| every || *enabled)
                    .map(|(name, _)| name)
                    .collect();
                assert_eq!(listed.iter().collect::<Vec<_>>(), wanted, "{query} {order}");
            }
        }
    }
}
