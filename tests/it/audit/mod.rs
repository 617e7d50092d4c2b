//! The audit log: no change without its entry, no entry without its change, and nothing secret in either.

mod faults;
mod list;
mod secrets;
mod writes;

use cronplane::domain::access::{Author, PrincipalKind, Role};
use cronplane::domain::audit::{Entry, Outcome};

use crate::cloud::Cloud;
use crate::http::secret;

/// Somebody who asks for this operation.
pub(crate) fn author(operation: &str) -> Author {
    Author {
        kind: PrincipalKind::TeamToken,
        id: format!("platform/{}", secret().id().as_str()),
        name: "the deploy pipeline".to_owned(),
        role: Some(Role::Owner),
        source_ip: Some("192.0.2.17".to_owned()),
        user_agent: Some("curl/8.5.0".to_owned()),
        request_id: format!("request of {operation}"),
        operation: operation.to_owned(),
    }
}

/// The administrator who asks for this operation.
fn administrator(operation: &str) -> Author {
    Author {
        kind: PrincipalKind::StackToken,
        id: "administrator".to_owned(),
        name: "the stack's administrator token".to_owned(),
        role: Some(Role::Administrator),
        ..author(operation)
    }
}

/// The entries of a team as they stand in the table, oldest first.
fn entries_of(cloud: &Cloud, team: &str) -> Vec<Entry> {
    let state = cloud.state();
    let items = state.table.partition(&format!("AUDIT#{team}"));
    items.into_iter().map(|item| serde_dynamo::from_item(item.clone()).unwrap()).collect()
}

pub(crate) fn entries(cloud: &Cloud) -> Vec<Entry> {
    entries_of(cloud, "platform")
}

fn accepted(cloud: &Cloud) -> usize {
    entries(cloud).iter().filter(|entry| entry.outcome == Outcome::Accepted).count()
}
