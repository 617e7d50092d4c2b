//! The tags that say whose a resource is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use crate::domain::deployment::Deployment;
use crate::domain::ids::{JobKey, TeamName};
use crate::domain::job::{MANAGED_BY_TAG, MANAGED_TAG_PREFIX};
use crate::error::{Error, Result};

const MANAGED_BY: &str = "cronplane";

/// The tags of resources: the definition's own and ours.
#[derive(Clone, Debug)]
pub(super) struct Tags {
    all: BTreeMap<String, String>,
    ours: BTreeMap<String, String>,
    former: Vec<String>,
}

impl Tags {
    pub(super) fn of(
        deployment: &Deployment,
        key: &JobKey,
        own: &BTreeMap<String, String>,
        former: &BTreeSet<String>,
    ) -> Tags {
        let mut ours = Tags::of_team(deployment, &key.team).ours;
        ours.insert(format!("{MANAGED_TAG_PREFIX}job"), key.job.to_string());
        let mut all = own.clone();
        all.extend(ours.clone());
        Tags { all, ours, former: former.iter().cloned().collect() }
    }

    /// Those of what the jobs of a team share.
    pub(super) fn of_team(deployment: &Deployment, team: &TeamName) -> Tags {
        let ours = BTreeMap::from([
            (MANAGED_BY_TAG.to_owned(), MANAGED_BY.to_owned()),
            (format!("{MANAGED_TAG_PREFIX}stack"), deployment.stack.clone()),
            (format!("{MANAGED_TAG_PREFIX}team"), team.to_string()),
        ]);
        Tags { all: ours.clone(), ours, former: Vec::new() }
    }

    /// Every tag, made into a service's own type.
    pub(super) fn map<T>(&self, make: impl Fn(&str, &str) -> T) -> Vec<T> {
        self.all.iter().map(|(key, value)| make(key, value)).collect()
    }

    /// Every tag, made into a service's own type whose builder can refuse.
    pub(super) fn try_map<T, E: Display>(
        &self,
        make: impl Fn(&str, &str) -> std::result::Result<T, E>,
    ) -> Result<Vec<T>> {
        self.all
            .iter()
            .map(|(key, value)| make(key, value))
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| Error::Internal(error.to_string()))
    }

    /// The keys that earlier definitions had and that are to be taken off; `None` if there are none.
    pub(super) fn former(&self) -> Option<Vec<String>> {
        Some(self.former.clone()).filter(|keys| !keys.is_empty())
    }

    pub(super) fn as_map(&self) -> &BTreeMap<String, String> {
        &self.all
    }

    /// Whether a resource with the tags `found` was made for this job.
    pub(super) fn own<'t>(
        &self,
        found: impl IntoIterator<Item = (Option<&'t str>, Option<&'t str>)>,
    ) -> bool {
        let found: BTreeMap<&str, &str> =
            found.into_iter().filter_map(|(key, value)| Some((key?, value?))).collect();
        self.ours.iter().all(|(key, value)| found.get(key.as_str()) == Some(&value.as_str()))
    }
}
