//! `/quotas`: how many jobs AWS has room for.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::Params;
use super::problem::{CommonProblems, Problem};
use crate::app;
use crate::domain::quota;
use crate::domain::schedule::EngineChoice;

/// How much of AWS's quotas is used, and for how many more jobs there is room.
#[derive(Serialize, ToSchema)]
pub(super) struct QuotaReport {
    quotas: Vec<QuotaUse>,
    /// The jobs of all teams, those that are being deleted among them.
    #[schema(example = 29)]
    jobs: u32,
    /// So many more jobs there is room for: the least `jobs_left` of all quotas. Null if none is known.
    #[schema(required, example = 121)]
    jobs_left: Option<u32>,
    /// The quota that is full first.
    #[schema(required)]
    limiting: Option<QuotaName>,
}

/// One of AWS's quotas.
#[derive(Serialize, ToSchema)]
pub(super) struct QuotaUse {
    name: QuotaName,
    /// What there can be only so many of.
    #[schema(example = "EventBridge rules on the default event bus of this region")]
    description: &'static str,
    /// By everybody with whom the account or the region is shared. Null where it could not be found out.
    #[schema(required, example = 57)]
    used: Option<u32>,
    /// Of these, what the jobs of this deployment use, by its name. Null where AWS tells only the number of
    /// all.
    #[schema(required, example = 56)]
    used_by_jobs: Option<u32>,
    /// How many there can be.
    #[schema(required, example = 300)]
    limit: Option<u32>,
    #[schema(required)]
    limit_source: Option<LimitSource>,
    /// What one more job takes that is in UTC and names neither a cluster, an execution role nor secrets.
    #[schema(example = 2)]
    per_job: u32,
    /// So many more of such jobs there is room for. Null where it is not known, and of a quota that jobs don't
    /// use up.
    #[schema(required, example = 121)]
    jobs_left: Option<u32>,
    /// With so many jobs in all it is full, if nobody else takes of it.
    #[schema(required, example = 150)]
    full_at_jobs: Option<u32>,
    /// The service in Service Quotas, where more can be asked for; null of what can't be raised.
    #[schema(required, example = "events")]
    service_code: Option<&'static str>,
    /// The quota in Service Quotas.
    #[schema(required, example = "L-244521F2")]
    quota_code: Option<&'static str>,
    /// Why `used` could not be found out; null where it could.
    #[schema(required)]
    reason: Option<String>,
}

/// A quota of AWS.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum QuotaName {
    Rules,
    Roles,
    Clusters,
    /// Of EventBridge Scheduler.
    Schedules,
    /// Each rule of Cronplane's has one, however many jobs there are.
    TargetsPerRule,
}

/// Who says how many there can be.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LimitSource {
    /// Service Quotas, of this account and region.
    ServiceQuotas,
    /// The service itself, of this account.
    Account,
    /// AWS's documentation: Service Quotas has no value of this account's, or did not answer.
    Default,
}

/// See how much of AWS's quotas is used
///
/// Asks AWS now. What it shares with others counts in full: all rules on the default event bus, all roles of
/// the account, all clusters, all schedules. A job that would be one too many is refused when it is made.
#[utoipa::path(
    get,
    path = "/quotas",
    operation_id = "get_quotas",
    tag = "deployment",
    responses((status = 200, description = "Each quota, and which of them is full first", body = QuotaReport),
              CommonProblems),
)]
pub(super) async fn get(
    State(api): State<Api>,
    params: Params,
) -> Result<Json<QuotaReport>, Problem> {
    params.finish()?;
    Ok(Json(QuotaReport::of(api.app.quota_report(api.moment()).await?)))
}

impl QuotaReport {
    fn of(report: app::QuotaReport) -> QuotaReport {
        let limiting = report.limiting();
        let (jobs, engine) = (report.jobs, report.engine);
        let quotas = report.quotas.into_iter().map(|one| QuotaUse::of(one, jobs, engine));
        QuotaReport {
            quotas: quotas.collect(),
            jobs,
            jobs_left: limiting.map(|(_, left)| left),
            limiting: limiting.map(|(quota, _)| QuotaName::of(quota)),
        }
    }
}

impl QuotaUse {
    /// `jobs` are those that there are.
    fn of(one: app::QuotaUse, jobs: u32, engine: EngineChoice) -> QuotaUse {
        let jobs_left = one.jobs_left(engine);
        let code = one.quota.code();
        let (usage, reason) = match one.usage {
            Ok(usage) => (Some(usage), None),
            Err(reason) => (None, Some(reason)),
        };
        let usage = usage.as_ref();
        QuotaUse {
            name: QuotaName::of(one.quota),
            description: one.quota.what(),
            used: usage.map(|usage| usage.used),
            used_by_jobs: usage.and_then(|usage| usage.used_by_jobs),
            limit: usage.map(|usage| usage.limit),
            limit_source: usage.map(|usage| LimitSource::of(usage.limit_source)),
            per_job: one.quota.per_job(engine),
            jobs_left,
            full_at_jobs: jobs_left.map(|left| jobs.saturating_add(left)),
            service_code: code.map(|code| code.service),
            quota_code: code.map(|code| code.code),
            reason,
        }
    }
}

impl QuotaName {
    fn of(quota: quota::Quota) -> QuotaName {
        match quota {
            quota::Quota::Rules => QuotaName::Rules,
            quota::Quota::Roles => QuotaName::Roles,
            quota::Quota::Clusters => QuotaName::Clusters,
            quota::Quota::Schedules => QuotaName::Schedules,
            quota::Quota::TargetsPerRule => QuotaName::TargetsPerRule,
        }
    }
}

impl LimitSource {
    fn of(source: quota::LimitSource) -> LimitSource {
        match source {
            quota::LimitSource::ServiceQuotas => LimitSource::ServiceQuotas,
            quota::LimitSource::Account => LimitSource::Account,
            quota::LimitSource::Default => LimitSource::Default,
        }
    }
}
