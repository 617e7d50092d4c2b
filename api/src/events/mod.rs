//! The shapes of the events that arrive, and the functions they arrive at.

pub mod ecs_task;
pub mod failure;
pub mod start;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};

use crate::app::{App, Moment};

/// Applies a batch of messages from one of the queues: starts, failures, and the events of tasks. What could not
/// be applied is answered as a failure of its message alone: SQS brings it again, and after some times
/// to the dead-letter queue, while its neighbours are done with.
pub async fn apply_batch(app: &App, batch: SqsEvent, moment: Moment) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        let id = message.message_id.unwrap_or_default();
        let body = message.body.unwrap_or_default();
        // Who can put anything into a queue, its own policy says.
        let queue = message.event_source_arn.unwrap_or_default();
        let outcome = if queue == app.deployment.start_queue_arn {
            start_task(app, &body, moment).await
        } else if queue == app.deployment.alert_queue_arn {
            alert(app, &body).await
        } else {
            apply_state(app, &body, moment).await
        };
        if let Err(error) = outcome {
            tracing::error!(message = id, queue, error, "message not applied");
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            response.batch_item_failures.push(failure);
        }
    }
    response
}

async fn start_task(app: &App, body: &str, moment: Moment) -> Result<(), String> {
    let start = start::parse(body)?;
    let run = app.start_scheduled(&start, moment).await.map_err(|error| error.to_string())?;
    let id = run.map(|run| run.id.to_string());
    tracing::debug!(job = %start.key, run = id, "start");
    Ok(())
}

async fn alert(app: &App, body: &str) -> Result<(), String> {
    let found = failure::parse(body)?;
    let told = app.alert(&found).await.map_err(|error| error.to_string())?;
    tracing::debug!(of = ?found.of, told, "failure");
    Ok(())
}

async fn apply_state(app: &App, body: &str, moment: Moment) -> Result<(), String> {
    let task = ecs_task::parse(body)?;
    let ingested = app.ingest(&task, moment.now).await.map_err(|error| error.to_string())?;
    tracing::debug!(task = task.task_arn, ?ingested, "task event");
    Ok(())
}
