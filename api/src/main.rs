//! The one binary behind all functions: its role is the name of the handler.
//!
//! | `_HANDLER` | role |
//! |---|---|
//! | `http` | the API, behind API Gateway |
//! | `events` | from SQS: task events into the history; starts that a schedule leaves to Cronplane |
//! | `sweep` | every minute: what is unfinished |
//!
//! Where there is no Lambda runtime it serves the API on `CRONPLANE_LISTEN`, 127.0.0.1:8080 if
//! that is not set.

use std::env;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_lambda_events::sqs::SqsEvent;
use cronplane::app::{App, Moment, StoredKeys};
use cronplane::config::Config;
use cronplane::fleet::Fleet;
use cronplane::http::Doors;
use cronplane::identity::{Oidc, https_connector};
use cronplane::provision::{Clients, Provisioner};
use cronplane::store::Store;
use cronplane::{events, http, telemetry};
use lambda_http::lambda_runtime::{self, Context, LambdaEvent, service_fn};
use serde_json::{Value, json};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Left of a function's time for what comes after a sweep or a batch.
const RESERVE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    telemetry::init();
    let shared = aws_config::defaults(BehaviorVersion::latest())
        // A call that hangs must not take the whole request with it.
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(2))
                .operation_attempt_timeout(Duration::from_secs(6))
                .operation_timeout(Duration::from_secs(15))
                .build(),
        )
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .load()
        .await;
    let region = shared.region().ok_or("no AWS region is set")?.as_ref().to_owned();
    let config = Config::from_env(&region)?;
    let ecs = aws_sdk_ecs::Client::new(&shared);
    let logs = aws_sdk_cloudwatchlogs::Client::new(&shared);
    let app = App {
        store: Store::new(aws_sdk_dynamodb::Client::new(&shared), config.table),
        provisioner: Provisioner::new(Clients {
            ecs: ecs.clone(),
            events: aws_sdk_eventbridge::Client::new(&shared),
            iam: aws_sdk_iam::Client::new(&shared),
            logs: logs.clone(),
            scheduler: aws_sdk_scheduler::Client::new(&shared),
            sns: aws_sdk_sns::Client::new(&shared),
            quotas: aws_sdk_servicequotas::Client::new(&shared),
            dry_run: None,
        }),
        fleet: Fleet::new(ecs, logs),
        deployment: config.deployment,
        author: None,
    };
    let store = app.store.clone();
    let oidc = config.oidc.map(|config| {
        let keys = StoredKeys { store, issuer: config.issuer.clone() };
        Oidc::new(config, https_connector(), Some(Arc::new(keys)))
    });
    let rate_limit = config.rate_limit;
    // Only the functions that serve requests have it.
    let doors =
        config.admin_token_sha256.map(|hash| Doors { admin_token_sha256: hash, oidc, rate_limit });
    let doors = doors.ok_or("CRONPLANE_ADMIN_TOKEN_SHA256 is not set");
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return serve(http::router(app, doors?)).await;
    }
    match env::var("_HANDLER").unwrap_or_default().as_str() {
        "http" => lambda_http::run(http::router(app, doors?)).await,
        "events" => lambda_runtime::run(service_fn(|event| apply(&app, event))).await,
        "sweep" => lambda_runtime::run(service_fn(|event| sweep(&app, event))).await,
        other => Err(format!("the handler must be http, events or sweep, not `{other}`").into()),
    }
}

async fn apply(app: &App, event: LambdaEvent<SqsEvent>) -> Result<Value, AnyError> {
    let moment = Moment::begin(time_left(&event.context));
    let response = events::apply_batch(app, event.payload, moment).await;
    Ok(serde_json::to_value(response)?)
}

/// What a function has left of its time, but for the reserve.
fn time_left(context: &Context) -> Duration {
    let time = context.deadline().duration_since(SystemTime::now());
    time.unwrap_or_default().saturating_sub(RESERVE)
}

async fn sweep(app: &App, event: LambdaEvent<Value>) -> Result<Value, AnyError> {
    let swept = app.sweep(Moment::begin(time_left(&event.context))).await?;
    tracing::info!(jobs = swept.jobs, runs = swept.runs, failures = swept.failures, "swept");
    if swept.failures > 0 {
        // Each was logged and is due again; failing makes the alarm tell of it.
        return Err(format!("{} of what was due could not be settled", swept.failures).into());
    }
    Ok(json!({"jobs": swept.jobs, "runs": swept.runs}))
}

/// The API on a port, for quick work.
async fn serve(router: axum::Router) -> Result<(), AnyError> {
    let address = env::var("CRONPLANE_LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    tracing::info!(address, "serving");
    axum::serve(listener, router)
        .with_graceful_shutdown(async {
            if let Err(error) = tokio::signal::ctrl_c().await {
                tracing::error!(%error, "signals can't be waited for");
            }
        })
        .await?;
    Ok(())
}
