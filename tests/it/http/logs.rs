//! `/teams/{team}/jobs/{job}/runs/{run}/logs`

use serde_json::{Value, json};

use super::client::{Api, THE_JOB};
use crate::job::{JOB, at};
use crate::task::state;

/// Gives the stream of the run `id` these lines, one a second.
fn write_lines(api: &Api, id: &str, lines: impl Iterator<Item = String>) {
    write_lines_of(api, "main", id, lines);
}

fn write_lines_of(api: &Api, container: &str, id: &str, lines: impl Iterator<Item = String>) {
    let mut state = api.cloud.state();
    let group = state.logs.groups.values_mut().next().unwrap();
    let stream = group.streams.entry(format!("run/{container}/{id}")).or_default();
    for line in lines {
        let second = at(stream.len() as i64);
        stream.push((second.as_millisecond(), line));
    }
}

fn messages(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_runs_log_is_read_page_by_page() {
    let api = Api::with_job().await;
    api.ingest(&state("0a", 0, "STOPPED", 7)).await;
    let logs = format!("{THE_JOB}/runs/20261123T140000-0a/logs");

    // A run that wrote nothing.
    let nothing = api.get(&logs).await.of_status(200);
    assert_eq!(nothing, json!({"items": [], "next": null}));

    write_lines(&api, "0a", (0..25).map(|number| format!("line {number}")));
    let whole = api.get(&logs).await.of_status(200);
    assert_eq!(
        whole["items"][1],
        json!({"timestamp": "2026-11-23T14:00:01Z", "message": "line 1", "truncated": false})
    );
    assert_eq!(whole["items"].as_array().unwrap().len(), 25);
    for limit in [1, 7, 24, 25, 26] {
        // CloudWatch Logs can answer nothing in the middle.
        api.cloud.state().logs.empty_pages = 2;
        let mut read = Vec::new();
        let mut path = format!("{logs}?limit={limit}");
        loop {
            let page = api.get(&path).await.of_status(200);
            let lines = messages(&page);
            assert!(lines.len() <= limit);
            read.extend(lines);
            match page["next"].as_str() {
                Some(next) => path = format!("{logs}?limit={limit}&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(read, messages(&whole), "{limit}");
    }
    let bad = format!("logs/platform/{JOB}/20261123T140000-0a\nnonsense");
    let cursor = cronplane::store::encode_cursor("logs", &bad);
    api.get(&format!("{logs}?cursor={cursor}")).await.problem(400, "bad_request");
}

#[tokio::test]
async fn a_tail_is_the_last_lines_in_their_order() {
    let api = Api::with_job().await;
    api.ingest(&state("0a", 0, "STOPPED", 7)).await;
    write_lines(&api, "0a", (0..25).map(|number| format!("line {number}")));
    let logs = format!("{THE_JOB}/runs/20261123T140000-0a/logs");
    for empty_pages in [0, 1] {
        for tail in [1, 3, 25, 26] {
            api.cloud.state().logs.empty_pages = empty_pages;
            let page = api.get(&format!("{logs}?tail={tail}")).await.of_status(200);
            let first = 25_usize.saturating_sub(tail);
            let wanted: Vec<String> = (first..25).map(|number| format!("line {number}")).collect();
            assert_eq!(messages(&page), wanted, "{tail}");
            assert_eq!(page["next"], Value::Null);
        }
    }
}

#[tokio::test]
async fn the_log_of_a_run_that_goes_on_is_followed() {
    let api = Api::with_job().await;
    api.ingest(&state("0a", 0, "RUNNING", 4)).await;
    let logs = format!("{THE_JOB}/runs/20261123T140000-0a/logs");
    let follow = async |path: String| {
        let page = api.get(&path).await.of_status(200);
        let next = page["next"].as_str().map(|next| format!("{logs}?cursor={next}"));
        (messages(&page), next)
    };
    // Also from before the first line.
    let (lines, next) = follow(logs.clone()).await;
    assert_eq!(lines, [""; 0]);
    write_lines(&api, "0a", ["one".to_owned(), "two".to_owned()].into_iter());
    let (lines, next) = follow(next.unwrap()).await;
    assert_eq!(lines, ["one", "two"]);
    let (lines, next) = follow(next.unwrap()).await;
    assert_eq!(lines, [""; 0]);
    write_lines(&api, "0a", ["three".to_owned()].into_iter());
    api.ingest(&state("0a", 0, "STOPPED", 7)).await;
    let (lines, next) = follow(next.unwrap()).await;
    assert_eq!(lines, ["three"]);
    let (lines, next) = match next {
        Some(next) => follow(next).await,
        None => (Vec::new(), None),
    };
    assert_eq!((lines, next), (Vec::new(), None));

    // And from its tail on.
    api.ingest(&state("0b", 60, "RUNNING", 4)).await;
    write_lines(&api, "0b", (0..9).map(|number| format!("line {number}")));
    let logs = format!("{THE_JOB}/runs/20261123T140100-0b/logs");
    let page = api.get(&format!("{logs}?tail=2")).await.of_status(200);
    assert_eq!(messages(&page), ["line 7", "line 8"]);
    write_lines(&api, "0b", ["line 9".to_owned()].into_iter());
    let next = page["next"].as_str().unwrap();
    let page = api.get(&format!("{logs}?cursor={next}")).await.of_status(200);
    assert_eq!(messages(&page), ["line 9"]);
}

/// Lambda takes an answer of 6 MB; JSON makes six characters of a control character.
#[tokio::test]
async fn a_page_of_a_log_stays_far_below_what_lambda_takes() {
    let api = Api::with_job().await;
    api.ingest(&state("0a", 0, "STOPPED", 7)).await;
    let line = |number: usize| format!("{number} {}", "\u{1}".repeat(4000));
    write_lines(&api, "0a", (0..600).map(line));
    write_lines(&api, "0a", ["\u{1}".repeat(1024 * 1024 - 1)].into_iter());
    let logs = format!("{THE_JOB}/runs/20261123T140000-0a/logs");

    let mut read = Vec::new();
    let mut path = format!("{logs}?limit=10000");
    let mut pages = 0;
    loop {
        let answer = api.get(&path).await;
        assert!(answer.text.len() < 5 * 1024 * 1024, "{}", answer.text.len());
        let page = answer.of_status(200);
        pages += 1;
        read.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => path = format!("{logs}?limit=10000&cursor={next}"),
            None => break,
        }
    }
    assert!((2..20).contains(&pages), "{pages}");
    assert_eq!(read.len(), 601);
    for (number, read) in read[..600].iter().enumerate() {
        assert_eq!(read["message"], line(number));
        assert_eq!(read["truncated"], false);
    }
    // One line alone can be too long for an answer.
    assert_eq!(read[600]["truncated"], true);
    let tail = api.get(&format!("{logs}?tail=600")).await;
    assert!(tail.text.len() < 5 * 1024 * 1024);
    assert_eq!(tail.of_status(200)["items"].as_array().unwrap().last(), read.last());
}

#[tokio::test]
async fn a_sidecars_log_is_read_by_its_name() {
    let api = Api::with_job().await;
    let mut event = state("0a", 0, "RUNNING", 4);
    let containers = event["detail"]["containers"].as_array_mut().unwrap();
    let mut sidecar = containers[0].clone();
    sidecar["name"] = json!("proxy");
    containers.push(sidecar);
    api.ingest(&event).await;
    write_lines(&api, "0a", ["of main".to_owned()].into_iter());
    write_lines_of(&api, "proxy", "0a", ["of the proxy".to_owned()].into_iter());
    let logs = format!("{THE_JOB}/runs/20261123T140000-0a/logs");
    for (query, wanted) in
        [("", "of main"), ("?container=main", "of main"), ("?container=proxy", "of the proxy")]
    {
        let page = api.get(&format!("{logs}{query}")).await.of_status(200);
        assert_eq!(messages(&page), [wanted], "{query}");
    }
    // The place in one log is none in another.
    let page = api.get(&format!("{logs}?container=proxy")).await.of_status(200);
    let next = page["next"].as_str().unwrap();
    api.get(&format!("{logs}?container=proxy&cursor={next}")).await.of_status(200);
    api.get(&format!("{logs}?cursor={next}")).await.problem(400, "bad_request");
    api.get(&format!("{logs}?container=nobody")).await.problem(404, "not_found");
}
