//! How many requests somebody may send: a token bucket, kept as the time at which it would be full again
//! (the "theoretical arrival time" of the generic cell rate algorithm, ITU-T I.371).
//!
//! Each instance of the function has a bucket for each principal and settles it now and then with the one
//! in the table, which all share: what one instance has let through, the others learn with that.

use std::time::Duration;

use jiff::Timestamp;

/// How often an instance settles a bucket, at most.
const SETTLE_EVERY_MICROS: i64 = 1_000_000;

/// What a principal may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a second, in the long run. At least 1.
    pub per_second: u32,
    /// Requests that may come at once, after a pause. At least 1.
    pub burst: u32,
}

impl RateLimit {
    /// Microseconds of the bucket that a request takes.
    pub fn cost_micros(self) -> i64 {
        1_000_000 / i64::from(self.per_second.max(1))
    }

    fn depth_micros(self) -> i64 {
        self.cost_micros().saturating_mul(i64::from(self.burst.max(1)))
    }
}

/// A principal's bucket, as an instance knows it.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// When it would be full again, in microseconds of the epoch. Full is what lies behind.
    full_at: i64,
    /// Requests that were let through and that the table does not know of.
    unsettled: u32,
    settled_at: i64,
}

impl Bucket {
    /// A full one. What others have taken out of it is learnt with the first settlement.
    pub fn new(now: Timestamp) -> Bucket {
        let now = now.as_microsecond();
        Bucket { full_at: now, unsettled: 0, settled_at: now }
    }

    /// Takes a request out. Errors: it is empty, for so long.
    pub fn take(&mut self, limit: RateLimit, now: Timestamp) -> Result<(), Duration> {
        let now = now.as_microsecond();
        let after = self.full_at.max(now).saturating_add(limit.cost_micros());
        let wait = after.saturating_sub(now).saturating_sub(limit.depth_micros());
        if wait > 0 {
            return Err(Duration::from_micros(wait.unsigned_abs()));
        }
        self.full_at = after;
        self.unsettled += 1;
        Ok(())
    }

    /// Begins a settlement if one is due: the number of requests that the table is to be told.
    pub fn begin_settlement(&mut self, now: Timestamp) -> Option<u32> {
        let now = now.as_microsecond();
        if self.unsettled == 0 || now.saturating_sub(self.settled_at) < SETTLE_EVERY_MICROS {
            return None;
        }
        self.settled_at = now;
        Some(std::mem::take(&mut self.unsettled))
    }

    /// Takes what the table says, now that it knows of those requests.
    pub fn settle(&mut self, limit: RateLimit, full_at: i64) {
        // What came in between is only here.
        let unsettled = limit.cost_micros().saturating_mul(i64::from(self.unsettled));
        self.full_at = full_at.saturating_add(unsettled);
    }

    /// The table could not be told of so many requests; it is tried again with the next ones.
    pub fn not_settled(&mut self, requests: u32) {
        self.unsettled = self.unsettled.saturating_add(requests);
    }

    /// Whether to forget it loses next to nothing: it is full, as far as is known here.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.full_at <= now.as_microsecond()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: RateLimit = RateLimit { per_second: 10, burst: 5 };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap()
    }

    fn let_through(bucket: &mut Bucket, millis: i64, requests: usize) -> usize {
        (0..requests).filter(|_| bucket.take(LIMIT, at(millis)).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_and_then_as_many_as_the_rate_says() {
        let mut bucket = Bucket::new(at(0));
        assert_eq!(let_through(&mut bucket, 0, 20), 5);
        assert_eq!(bucket.take(LIMIT, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(LIMIT, at(60)), Err(Duration::from_millis(40)));
        assert_eq!(let_through(&mut bucket, 100, 20), 1);
        assert_eq!(let_through(&mut bucket, 400, 20), 3);
        // A long pause saves up no more than a burst.
        assert_eq!(let_through(&mut bucket, 1_000_000, 20), 5);
    }

    #[test]
    fn what_is_refused_takes_nothing_out() {
        let mut bucket = Bucket::new(at(0));
        let_through(&mut bucket, 0, 500);
        assert_eq!(let_through(&mut bucket, 100, 2), 1);
    }

    #[test]
    fn a_settlement_is_due_once_a_second_and_only_for_something() {
        let mut bucket = Bucket::new(at(0));
        assert_eq!(bucket.begin_settlement(at(5_000)), None);
        assert_eq!(let_through(&mut bucket, 5_000, 3), 3);
        assert_eq!(bucket.begin_settlement(at(5_000)), Some(3));
        assert_eq!(let_through(&mut bucket, 5_900, 1), 1);
        assert_eq!(bucket.begin_settlement(at(5_999)), None);
        assert_eq!(bucket.begin_settlement(at(6_000)), Some(1));
        bucket.not_settled(1);
        assert_eq!(bucket.begin_settlement(at(6_999)), None);
        assert_eq!(bucket.begin_settlement(at(7_000)), Some(1));
    }

    #[test]
    fn what_others_took_is_gone_after_a_settlement() {
        let mut bucket = Bucket::new(at(0));
        assert_eq!(let_through(&mut bucket, 1_000, 1), 1);
        assert_eq!(bucket.begin_settlement(at(1_000)), Some(1));
        // One more came while the table was asked.
        assert_eq!(let_through(&mut bucket, 1_000, 1), 1);
        // The others have taken two, so that with the first here three of five are gone.
        bucket.settle(LIMIT, at(1_300).as_microsecond());
        assert_eq!(let_through(&mut bucket, 1_000, 20), 1);
        assert!(!bucket.is_idle(at(1_400)) && bucket.is_idle(at(1_500)));
    }

    proptest! {
        /// Whatever comes when: in no span of time is more let through than a burst and what the rate
        /// gives for the span.
        #[test]
        fn never_more_than_the_burst_and_the_rate(gaps in prop::collection::vec(0_i64..400, 1..200)) {
            let mut bucket = Bucket::new(at(0));
            let mut now = 0;
            let mut passed = Vec::new();
            for gap in gaps {
                now += gap;
                if bucket.take(LIMIT, at(now)).is_ok() {
                    passed.push(now);
                }
            }
            for (from, first) in passed.iter().enumerate() {
                for (to, last) in passed.iter().enumerate().skip(from) {
                    let count = i64::try_from(to - from + 1).unwrap();
                    prop_assert!(count <= 5 + (last - first) / 100, "{count} in {} ms", last - first);
                }
            }
        }
    }
}
