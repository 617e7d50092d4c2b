//! The shapes of the events that arrive, and the functions they arrive at.

pub mod ecs_task;
pub mod start;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};

use crate::app::{App, Moment};

/// Applies a batch of messages from one of the queues: starts, and the events of tasks. What could not
/// be applied is answered as a failure of its message alone: SQS brings it again, and after some times
/// to the dead-letter queue, while its neighbours are done with.
pub async fn apply_batch(app: &App, batch: SqsEvent, moment: Moment) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        let id = message.message_id.unwrap_or_default();
        let body = message.body.unwrap_or_default();
        // Only rules of this stack's jobs can put anything into the queue of starts.
        let is_start = message.event_source_arn.as_ref() == Some(&app.deployment.start_queue_arn);
        let outcome = if is_start {
            start_task(app, &body, moment).await
        } else {
            apply_state(app, &body, moment).await
        };
        if let Err(error) = outcome {
            tracing::error!(message = id, is_start, error, "message not applied");
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

async fn apply_state(app: &App, body: &str, moment: Moment) -> Result<(), String> {
    let task = ecs_task::parse(body)?;
    let ingested = app.ingest(&task, moment.now).await.map_err(|error| error.to_string())?;
    tracing::debug!(task = task.task_arn, ?ingested, "task event");
    Ok(())
}
