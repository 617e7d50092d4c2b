//! Requests that can be repeated: what a request with an idempotency key made is made once, and
//! answered again as it was.
//!
//! Source: draft-ietf-httpapi-idempotency-key-header.

use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::reconcile::later;
use super::{App, JobView, Moment, RunView};
use crate::domain::ids::{JobKey, JobName, TeamName};
use crate::error::{Error, Result};
use crate::provision::names::hex_sha256;
use crate::store::{Inserted, KeyRecord, Keyed, Made};

/// Longer than any request may take, so that a lock that ran out has nobody working under it.
const LOCK: SignedDuration = SignedDuration::from_secs(35);
/// How long a key is known.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// A larger answer is made anew when it is asked for again: DynamoDB is paid by the KB, and takes
/// 400 of them.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Times that a key is looked at while others use it too.
pub(super) const LOOKS_MAX: usize = 5;

/// A request and the idempotency key that it came with.
#[derive(Clone, Debug)]
pub struct KeyedRequest {
    pub(super) key: Keyed,
    fingerprint: String,
}

/// The answer to a request with an idempotency key.
#[derive(Debug)]
pub enum Answered<T> {
    /// Carried out now: what is answered is to be kept ([`App::keep_answer`]).
    Now(T),
    /// Carried out before, and too large to be kept: as it is now.
    Again(T),
    /// Carried out before: what was kept.
    Kept(String),
}

/// Where a request with a key stands.
pub(super) enum Standing {
    /// Nobody sent it before.
    New,
    Kept(String),
    /// It was carried out, and its answer not kept.
    Done(KeyRecord),
    /// Whoever carried it out died before the answer was kept; it is ours to finish now.
    Unfinished(KeyRecord),
}

impl KeyedRequest {
    /// `key` is the header's value, `path` the request's and `body` what was understood of it: the
    /// order of a body's fields makes no other request.
    pub fn new(team: &TeamName, key: &str, method: &str, path: &str, body: &Value) -> KeyedRequest {
        let request = format!("{method} {path}\n{}", sorted(body));
        KeyedRequest {
            key: Keyed { team: team.clone(), hash: hex_sha256(key.as_bytes()) },
            fingerprint: hex_sha256(request.as_bytes()),
        }
    }

    /// What is kept of the key while `made` is worked at.
    pub(super) fn record(&self, job: JobName, made: Made, moment: Moment) -> KeyRecord {
        KeyRecord {
            fingerprint: self.fingerprint.clone(),
            locked_until: Some(later(moment.now, LOCK).as_second()),
            job,
            made,
            answer: None,
            expires_at: later(moment.now, KEPT).as_second(),
        }
    }
}

/// `value` with the keys of all its objects in order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(&String, &Value)> = map.iter().collect();
            pairs.sort_unstable_by_key(|(key, _)| *key);
            let pairs = pairs.into_iter().map(|(key, value)| (key.clone(), sorted(value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

impl App {
    /// Where `request` stands.
    ///
    /// Errors: `IdempotencyMismatch`; `Busy` while somebody is at it.
    pub(super) async fn standing(
        &self,
        request: &KeyedRequest,
        moment: Moment,
    ) -> Result<Standing> {
        let Some(record) = self.store.key_get(&request.key, moment.now).await? else {
            return Ok(Standing::New);
        };
        if record.fingerprint != request.fingerprint {
            return Err(Error::IdempotencyMismatch);
        }
        let busy = || Error::Busy("a request with this Idempotency-Key".to_owned());
        match (&record.answer, record.locked_until) {
            (Some(answer), _) => Ok(Standing::Kept(answer.clone())),
            (None, None) => Ok(Standing::Done(record)),
            (None, Some(until)) if until > moment.now.as_second() => Err(busy()),
            (None, Some(_)) => {
                let until = later(moment.now, LOCK);
                if self.store.key_take_over(&request.key, &record, until).await? {
                    Ok(Standing::Unfinished(record))
                } else {
                    Err(busy())
                }
            }
        }
    }

    /// Keeps what was answered to `request`. That it could not be kept is no error: the same request
    /// is then answered from what it made.
    pub async fn keep_answer(&self, request: &KeyedRequest, answer: String) {
        let answer = Some(answer).filter(|answer| answer.len() <= ANSWER_BYTES_MAX);
        let kept = self.store.key_answer(&request.key, &request.fingerprint, answer).await;
        if let Err(error) = kept {
            tracing::warn!(%error, "the answer to a request with an Idempotency-Key is not kept");
        }
    }

    /// Creates a job as [`App::job_create`] does, once for the key of `request`.
    ///
    /// Errors: those of `job_create`; `IdempotencyMismatch`; `Busy` while the first request of the
    /// key goes on; `Conflict` if what it made is gone.
    pub async fn job_create_keyed(
        &self,
        team: TeamName,
        definition: Value,
        request: &KeyedRequest,
        moment: Moment,
    ) -> Result<Answered<JobView>> {
        for _ in 0..LOOKS_MAX {
            match self.standing(request, moment).await? {
                Standing::Kept(answer) => return Ok(Answered::Kept(answer)),
                Standing::Done(record) => {
                    return self.job_made(&team, &record, moment).await.map(Answered::Again);
                }
                Standing::Unfinished(record) => {
                    return self.job_made(&team, &record, moment).await.map(Answered::Now);
                }
                Standing::New => {}
            }
            let rules = self.rules(&team).await?;
            let job = self.job_prepare(&rules, definition.clone(), moment).await?;
            let made = Made::Job(job.id.clone());
            let record = request.record(job.definition.name.clone(), made, moment);
            let keyed = Some((&request.key, &record));
            if self.job_insert(&rules.team, &job, keyed, moment).await? == Inserted::Done {
                return self.job_finish(&rules, job, moment).await.map(Answered::Now);
            }
        }
        Err(Error::Busy("a request with this Idempotency-Key".to_owned()))
    }

    /// The job that an earlier request made, as far as it has come; what is unfinished goes on.
    async fn job_made(
        &self,
        team: &TeamName,
        record: &KeyRecord,
        moment: Moment,
    ) -> Result<JobView> {
        let name = &record.job;
        let gone = || {
            Error::Conflict(format!(
                "job `{name}`, which a request with this Idempotency-Key made, was deleted since"
            ))
        };
        let job = self.store.job_get(&JobKey::new(team.clone(), name.clone())).await?;
        let job = job
            .filter(|job| record.made == Made::Job(job.id.clone()) && job.deletion.is_none())
            .ok_or_else(gone)?;
        let rules = self.rules_if_any(team).await?;
        let job = self.finished(job, moment).await.ok_or_else(gone)?;
        Ok(self.view_with_subscriptions(job, rules.as_ref(), moment).await)
    }

    /// The run that an earlier request made, started if it was not.
    pub(super) async fn run_made(
        &self,
        key: &JobKey,
        record: &KeyRecord,
        moment: Moment,
    ) -> Result<RunView> {
        let run = match &record.made {
            Made::Run(id) => self.store.run_get(key, id).await?,
            Made::Job(_) => None,
        };
        let run = run.ok_or_else(|| {
            Error::Conflict(
                "the run that a request with this Idempotency-Key made is not kept any more"
                    .to_owned(),
            )
        })?;
        let run = Box::pin(self.launch(key, run, moment)).await?;
        Ok(self.run_view(key, run))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_fields_makes_no_other_request_and_all_else_does() {
        let team = TeamName::parse("platform").unwrap();
        let request = |team: &TeamName, key, method, path, body| {
            let request = KeyedRequest::new(team, key, method, path, &body);
            (request.key, request.fingerprint)
        };
        let body = json!({"a": 1, "b": {"c": [1, 2], "d": null}});
        let same = json!({"b": {"d": null, "c": [1, 2]}, "a": 1});
        let first = request(&team, "k", "POST", "/x", body.clone());
        assert_eq!(request(&team, "k", "POST", "/x", same), first);
        for other in [
            request(&TeamName::parse("other").unwrap(), "k", "POST", "/x", body.clone()),
            request(&team, "K", "POST", "/x", body.clone()),
            request(&team, "k", "PUT", "/x", body.clone()),
            request(&team, "k", "POST", "/y", body),
            request(&team, "k", "POST", "/x", json!({"a": 1, "b": {"c": [2, 1], "d": null}})),
            request(&team, "k", "POST", "/x", json!({"a": 1, "b": {"c": [1, 2]}})),
        ] {
            assert_ne!(other, first);
        }
    }
}
