//! AWS's quotas: what an account or a region has only so many of, and jobs are made of.
//!
//! To add one: its row here, who takes it (`provision::Resource::takes`), and how its usage is found out
//! (`provision/quotas.rs`).

use std::collections::BTreeMap;

use super::schedule::EngineChoice;
use super::violation::{Violation, ViolationCode};

/// Something that there can be only so many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quota {
    Rules,
    Roles,
    Clusters,
    /// Of EventBridge Scheduler. There is room for so many that a job is made without a look at it.
    Schedules,
    /// Of one rule, not of the account: it never fills up, however many jobs there are.
    TargetsPerRule,
}

/// Where AWS can be asked for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaCode {
    /// Of the service, as Service Quotas has it.
    pub service: &'static str,
    pub code: &'static str,
    /// As the console calls the service and the quota.
    pub service_name: &'static str,
    pub name: &'static str,
}

/// How many of each quota a job takes.
pub type Needs = BTreeMap<Quota, u32>;

/// How much of a quota is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// By everybody who shares it.
    pub used: u32,
    /// Of these, by the jobs of this deployment; `None` where AWS tells only the number of all.
    pub used_by_jobs: Option<u32>,
    pub limit: u32,
    pub limit_source: LimitSource,
}

/// Who says how many there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitSource {
    /// Service Quotas, of this account and region.
    ServiceQuotas,
    /// The service itself, of this account.
    Account,
    /// AWS's documentation, of every account: nothing else is known.
    Default,
}

impl LimitSource {
    pub const ALL: [LimitSource; 3] =
        [LimitSource::ServiceQuotas, LimitSource::Account, LimitSource::Default];

    pub fn as_str(self) -> &'static str {
        match self {
            LimitSource::ServiceQuotas => "service_quotas",
            LimitSource::Account => "account",
            LimitSource::Default => "default",
        }
    }
}

impl Usage {
    /// How many more there can be.
    pub fn left(&self) -> u32 {
        self.limit.saturating_sub(self.used)
    }
}

impl Quota {
    pub const ALL: [Quota; 5] =
        [Quota::Rules, Quota::Roles, Quota::Clusters, Quota::Schedules, Quota::TargetsPerRule];

    pub fn as_str(self) -> &'static str {
        match self {
            Quota::Rules => "rules",
            Quota::Roles => "roles",
            Quota::Clusters => "clusters",
            Quota::Schedules => "schedules",
            Quota::TargetsPerRule => "targets_per_rule",
        }
    }

    /// What there can be only so many of, in words.
    pub fn what(self) -> &'static str {
        match self {
            Quota::Rules => "EventBridge rules on the default event bus of this region",
            Quota::Roles => "IAM roles of this account",
            Quota::Clusters => "ECS clusters of this account in this region",
            Quota::Schedules => "EventBridge Scheduler schedules of this account in this region",
            Quota::TargetsPerRule => "targets of one EventBridge rule",
        }
    }

    /// Source: the user guides of EventBridge ("Amazon EventBridge quotas"), IAM ("IAM and AWS STS
    /// quotas") and ECS ("Amazon ECS service quotas").
    pub fn code(self) -> Option<QuotaCode> {
        match self {
            Quota::Rules => Some(QuotaCode {
                service: "events",
                code: "L-244521F2",
                service_name: "Amazon EventBridge (CloudWatch Events)",
                name: "Number of rules",
            }),
            Quota::Roles => Some(QuotaCode {
                service: "iam",
                code: "L-FE177D64",
                service_name: "AWS Identity and Access Management (IAM)",
                name: "Roles per account",
            }),
            Quota::Clusters => Some(QuotaCode {
                service: "ecs",
                code: "L-21C621EB",
                service_name: "Amazon Elastic Container Service (Amazon ECS)",
                name: "Clusters per account",
            }),
            Quota::Schedules => Some(QuotaCode {
                service: "scheduler",
                code: "L-EE5D6FF0",
                service_name: "Amazon EventBridge Scheduler",
                name: "Number of schedules",
            }),
            Quota::TargetsPerRule => None,
        }
    }

    /// What an ordinary job takes in a deployment with this choice of engines: one in UTC that names neither a
    /// cluster nor an execution role nor secrets. `provision::needs` tells what a certain job does.
    pub fn per_job(self, choice: EngineChoice) -> u32 {
        let shares = choice == EngineChoice::Scheduler;
        match self {
            Quota::Rules | Quota::Roles if shares => 0,
            Quota::Rules | Quota::Roles => 2,
            Quota::Clusters => 1,
            Quota::Schedules => u32::from(shares),
            Quota::TargetsPerRule => 0,
        }
    }

    /// So many more ordinary jobs there is room for with this usage; `None` of what they don't use up.
    pub fn jobs_left(self, usage: &Usage, choice: EngineChoice) -> Option<u32> {
        usage.left().checked_div(self.per_job(choice))
    }

    /// What is wrong with a job that needs `count` more, if there is no room for it.
    pub fn one_too_many(self, usage: &Usage, count: u32) -> Option<Violation> {
        if count <= usage.left() {
            return None;
        }
        let ask = self.code().map_or_else(String::new, |code| {
            format!(
                ", or ask AWS for more in Service Quotas ({}, `{}`, {})",
                code.service_name, code.name, code.code
            )
        });
        let detail = format!(
            "the job needs {count} more {}: {} of {} are used. Delete what is not needed{ask}",
            self.what(),
            usage.used,
            usage.limit
        );
        Some(Violation::new("", ViolationCode::Forbidden, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(used: u32, limit: u32) -> Usage {
        Usage { used, used_by_jobs: None, limit, limit_source: LimitSource::Default }
    }

    #[test]
    fn a_job_is_one_too_many_if_not_all_that_it_needs_has_room() {
        for (used, needs, refused) in
            [(297, 2, false), (298, 2, false), (299, 2, true), (299, 1, false), (300, 1, true)]
        {
            let violation = Quota::Rules.one_too_many(&usage(used, 300), needs);
            assert_eq!(violation.is_some(), refused, "{used} {needs}");
        }
        // A limit that was lowered below what there is.
        assert!(Quota::Roles.one_too_many(&usage(1100, 1000), 1).is_some());
        let violation = Quota::Rules.one_too_many(&usage(299, 300), 2).unwrap();
        assert_eq!((&*violation.pointer, violation.code), ("", ViolationCode::Forbidden));
        for part in ["2 more", "rules", "299 of 300", "Service Quotas", "L-244521F2"] {
            assert!(violation.detail.contains(part), "{}", violation.detail);
        }
    }

    #[test]
    fn the_jobs_for_which_there_is_room_are_whole_ones() {
        let left =
            |quota: Quota, used, limit| quota.jobs_left(&usage(used, limit), EngineChoice::ByNeed);
        assert_eq!(left(Quota::Rules, 57, 300), Some(121));
        assert_eq!(left(Quota::Roles, 999, 1000), Some(0));
        assert_eq!(left(Quota::Clusters, 12_000, 10_000), Some(0));
        assert_eq!(left(Quota::Schedules, 10, 100), None);
        assert_eq!(left(Quota::TargetsPerRule, 1, 5), None);
        // What jobs share they don't use up.
        let shared = |quota: Quota| quota.jobs_left(&usage(10, 100), EngineChoice::Scheduler);
        assert_eq!([Quota::Rules, Quota::Roles].map(shared), [None, None]);
        assert_eq!([Quota::Clusters, Quota::Schedules].map(shared), [Some(90), Some(90)]);
    }
}
