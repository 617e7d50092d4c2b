//! The use cases: what a request, an event or the clock makes happen.

mod alerts;
mod audit;
mod compliance;
mod dry_run;
mod idempotency;
mod ingest;
mod jobs;
mod keys;
mod launch;
mod pause;
mod quotas;
mod rates;
mod reconcile;
mod runs;
mod scheduled;
mod sweep;
mod teams;
mod tokens;

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::access::Author;
use crate::domain::deployment::Deployment;
use crate::fleet::Fleet;
use crate::provision::Provisioner;
use crate::store::Store;

pub use alerts::{FailureOf, FoundFailure};
pub use audit::{AuditWanted, ListedEntries};
pub use compliance::NotComplying;
pub use dry_run::Foreseen;
pub use idempotency::{Answered, KeyedRequest};
pub use ingest::Ingested;
pub use jobs::{Change, Changed, JobView, JobsWanted, ListedJobs, Precondition};
pub use keys::StoredKeys;
pub use launch::Stop;
pub use quotas::{QuotaReport, QuotaUse};
pub use runs::{ListedRuns, LogsWanted, RunView, RunsWanted};
pub use scheduled::ScheduledStart;
pub use sweep::Swept;
pub use teams::{ChangedTeam, ListedTeams};
pub use tokens::{ListedTokens, Recognised};

/// Everything that the use cases work with.
#[derive(Clone, Debug)]
pub struct App {
    pub store: Store,
    pub provisioner: Provisioner,
    pub fleet: Fleet,
    pub deployment: Deployment,
    /// On whose behalf this app changes things, for the audit log; `None` for Cronplane's own work.
    pub author: Option<Author>,
}

impl App {
    /// This app, for a request of `author`.
    pub fn on_behalf_of(&self, author: Author) -> App {
        App { author: Some(author), ..self.clone() }
    }
}

/// When something happens and how long it may take: time comes in as a value.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Timestamp,
    /// When the caller must have its answer.
    pub deadline: Instant,
}

impl Moment {
    /// This moment, to the millisecond as AWS tells times too, and `time` from it.
    pub fn begin(time: Duration) -> Moment {
        let now = Timestamp::now();
        Moment {
            now: Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now),
            deadline: Instant::now() + time,
        }
    }
}
