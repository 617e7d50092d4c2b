//! What is made for a job and taken away again, whatever happens on the way.

mod clusters;
mod create;
mod deletion;
mod lease;
mod pause;
mod scheduler;
mod shared;
mod strangers;
mod trouble;
mod update;

use std::collections::BTreeSet;

use crate::cloud::{Cloud, Tags};
use crate::job::{BASE, ROLE_BASE};

pub(super) const ROLE_DELAY: &str = "Provided role 'arn:aws:iam::111122223333:role/cronplane/x' cannot be \
                          assumed by principal 'events.amazonaws.com'.";

pub(super) fn names(cloud: &Cloud) -> BTreeSet<String> {
    cloud.resources().into_keys().collect()
}

/// The names of everything that a job has in AWS.
pub(super) fn all_names() -> BTreeSet<String> {
    BTreeSet::from([
        format!("cluster {BASE}"),
        "log group /cronplane/cronplane/platform/nightly-report".to_owned(),
        format!("role {ROLE_BASE}_execution"),
        format!("role {ROLE_BASE}_events"),
        format!("topic {BASE}_failure"),
        format!("task definition {BASE}:1"),
        format!("rule {BASE}"),
        format!("rule {BASE}_failure"),
    ])
}

pub(super) fn our_tags() -> Tags {
    [
        ("managed-by", "cronplane"),
        ("cronplane:stack", "cronplane"),
        ("cronplane:team", "platform"),
        ("cronplane:job", "nightly-report"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}
