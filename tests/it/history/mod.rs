//! The runs of a job, and what becomes of their tasks' events.

mod events;
mod list;
mod order;
mod recent;
mod sweep;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use cronplane::app::{App, Moment, RunsWanted};
use cronplane::domain::run::{Run, RunSummary};
use cronplane::events::apply_batch;
use jiff::Timestamp;
use serde_json::Value;

use crate::cloud::{Cloud, Item};
use crate::job::{JOB, TEAM, at, create, key, moment, stored};

/// Applies events as one batch; the numbers of those that failed.
async fn apply(app: &App, bodies: &[String], now: Timestamp) -> Vec<usize> {
    let messages = bodies.iter().enumerate().map(|(number, body)| {
        let mut message = SqsMessage::default();
        message.message_id = Some(number.to_string());
        message.body = Some(body.clone());
        message
    });
    let mut batch = SqsEvent::default();
    batch.records = messages.collect();
    let failures = apply_batch(app, batch, Moment { now, ..moment(0) }).await.batch_item_failures;
    let numbers = failures.iter().map(|one| one.item_identifier.parse());
    numbers.collect::<Result<_, _>>().unwrap()
}

pub(super) async fn apply_all(app: &App, events: &[Value]) {
    let bodies: Vec<String> = events.iter().map(Value::to_string).collect();
    assert_eq!(apply(app, &bodies, at(0)).await, [0; 0]);
}

/// A cloud with the job in it, and its app.
pub(super) async fn with_job() -> (Cloud, App) {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.take_calls();
    (cloud, app)
}

pub(super) async fn only_run(app: &App) -> Run {
    let runs = runs(app, RunsWanted::default()).await;
    assert_eq!(runs.len(), 1);
    runs.into_iter().next().unwrap()
}

pub(super) async fn runs(app: &App, wanted: RunsWanted) -> Vec<Run> {
    let wanted = RunsWanted { limit: 100, ..wanted };
    let page = app.run_list(&key(), wanted).await.unwrap();
    page.items.into_iter().map(|view| view.run).collect()
}

/// The newest run that the job shows.
pub(super) async fn newest(app: &App) -> RunSummary {
    stored(app).await.unwrap().recent_runs.newest().unwrap().clone()
}

/// The items of the job's runs, as they stand in the table.
pub(super) fn run_items(cloud: &Cloud) -> Vec<Item> {
    let state = cloud.state();
    let items = state.table.partition(&format!("RUNS#{TEAM}#{JOB}"));
    items.into_iter().cloned().collect()
}

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}
