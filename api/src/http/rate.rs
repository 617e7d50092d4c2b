//! How many requests a principal may send.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use tokio::time::timeout;

use super::Api;
use super::problem::Problem;
use crate::domain::access::{Principal, PrincipalKind};
use crate::domain::rate::{Bucket, RateLimit};

/// Principals whose buckets an instance keeps.
const BUCKETS_MAX: usize = 10_000;
/// For a settlement; without its answer the instance's own bucket goes on.
const SETTLEMENT_TIME: Duration = Duration::from_secs(1);

type Buckets = HashMap<(PrincipalKind, String), Bucket>;

/// The buckets of those who ask.
pub(super) struct Rates {
    limit: Option<RateLimit>,
    buckets: Mutex<Buckets>,
}

impl Rates {
    pub(super) fn new(limit: Option<RateLimit>) -> Rates {
        Rates { limit, buckets: Mutex::default() }
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Api {
    /// The answer to a request of `principal`, which `answer` gives: or 429 if it is one too many. The
    /// table is told beside it, as nothing runs any more once a function has answered.
    pub(super) async fn limited(
        &self,
        principal: &Principal,
        answer: impl Future<Output = Response>,
    ) -> Response {
        let Some(limit) = self.rates.limit else {
            return answer.await;
        };
        let (taken, due) = self.rate_taken(principal, limit);
        let answer = async {
            match taken {
                Ok(()) => answer.await,
                Err(wait) => Problem::rate_limited(limit.per_second, wait).into_response(),
            }
        };
        match due {
            None => answer.await,
            Some(requests) => tokio::join!(answer, self.settle_rate(principal, limit, requests)).0,
        }
    }

    fn rate_taken(
        &self,
        principal: &Principal,
        limit: RateLimit,
    ) -> (Result<(), Duration>, Option<u32>) {
        let now = self.moment().now;
        let mut buckets = self.rates.buckets();
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| !bucket.is_idle(now));
        }
        let key = (principal.kind, principal.id.clone());
        let bucket = buckets.entry(key).or_insert_with(|| Bucket::new(now));
        let taken = bucket.take(limit, now);
        (taken, bucket.begin_settlement(now))
    }

    async fn settle_rate(&self, principal: &Principal, limit: RateLimit, requests: u32) {
        let told = self.app.rate_take(principal, limit, requests, self.moment());
        let told = timeout(SETTLEMENT_TIME, told).await;
        let mut buckets = self.rates.buckets();
        let key = (principal.kind, principal.id.clone());
        let Some(bucket) = buckets.get_mut(&key) else {
            return;
        };
        match told {
            Ok(Ok(full_at)) => bucket.settle(limit, full_at),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the table was not told how many requests a principal sent");
                bucket.not_settled(requests);
            }
            Err(_) => {
                tracing::warn!("the table was not told in time how many requests a principal sent");
                bucket.not_settled(requests);
            }
        }
    }
}
