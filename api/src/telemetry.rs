//! Logs: one JSON object a line, which CloudWatch Logs takes apart by itself.

use tracing_subscriber::EnvFilter;

/// Sends every event of `tracing` to standard output. `RUST_LOG` chooses which; Cronplane's own
/// from `info` and others' from `warn` if it says nothing.
pub fn init() {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,cronplane=info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .init();
}
