//! The requests of a principal, as all instances count them together.

use super::{App, Moment};
use crate::domain::access::Principal;
use crate::domain::rate::RateLimit;
use crate::error::Result;

impl App {
    /// Tells the table of so many requests of `principal`: when its bucket is full again, in microseconds
    /// of the epoch.
    pub async fn rate_take(
        &self,
        principal: &Principal,
        limit: RateLimit,
        requests: u32,
        moment: Moment,
    ) -> Result<i64> {
        let micros = limit.cost_micros().saturating_mul(i64::from(requests));
        self.store.rate_take(principal.kind, &principal.id, micros, moment.now).await
    }
}
