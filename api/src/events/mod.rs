//! The shapes of the events that arrive, and the functions they arrive at.

pub mod ecs_task;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use jiff::Timestamp;

use crate::app::App;

/// Applies a batch of task events from the queue. What could not be applied is answered as a
/// failure of its message alone: SQS brings it again, and after some times to the dead-letter
/// queue, while its neighbours are done with.
pub async fn apply_batch(app: &App, batch: SqsEvent, now: Timestamp) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        let id = message.message_id.unwrap_or_default();
        let body = message.body.unwrap_or_default();
        let outcome = match ecs_task::parse(&body) {
            Ok(task) => app.ingest(&task, now).await.map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(ingested) => tracing::debug!(message = id, ?ingested, "task event"),
            Err(error) => {
                tracing::error!(message = id, error, "task event not applied");
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = id;
                response.batch_item_failures.push(failure);
            }
        }
    }
    response
}
