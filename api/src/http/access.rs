//! Who may do what: one table, by the operations of the OpenAPI document.
//!
//! `docs/SECURITY.md` has the same table for people; `tests/it/access.rs` holds the two together, and
//! walks every operation with every role.

use std::collections::HashMap;

use axum::http::Method;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, PathItem};

use crate::domain::access::Role;

/// The least role that an operation asks for, in the team that its path names.
///
/// An operation without a row is refused to everybody.
const TABLE: [(&str, Role); 31] = [
    ("list_jobs", Role::Viewer),
    ("get_job", Role::Viewer),
    ("preview_job_schedule", Role::Viewer),
    ("list_runs", Role::Viewer),
    ("get_run", Role::Viewer),
    ("get_run_logs", Role::Viewer),
    ("get_team", Role::Viewer),
    ("start_run", Role::Operator),
    ("stop_run", Role::Operator),
    ("pause_job", Role::Operator),
    ("resume_job", Role::Operator),
    ("test_notifications", Role::Operator),
    ("create_job", Role::Editor),
    ("replace_job", Role::Editor),
    ("update_job", Role::Editor),
    ("delete_job", Role::Editor),
    ("list_tokens", Role::Owner),
    ("get_token", Role::Owner),
    ("create_token", Role::Owner),
    ("revoke_token", Role::Owner),
    ("list_audit", Role::Owner),
    ("list_job_audit", Role::Owner),
    ("create_team", Role::Administrator),
    ("replace_team", Role::Administrator),
    ("update_team", Role::Administrator),
    ("delete_team", Role::Administrator),
    // Of the whole deployment: whose jobs use them up is no team's business.
    ("get_quotas", Role::Administrator),
    // Whoever was recognised: each is shown what is theirs.
    ("list_teams", Role::Viewer),
    ("who_am_i", Role::Viewer),
    // It is about nothing that there is.
    ("preview_schedule", Role::Viewer),
    // What a run has in place of the definition is a change of it for that run.
    (START_WITH_OVERRIDES, Role::Editor),
];

/// No operation of its own: `start_run` with a body that overrides something.
pub(super) const START_WITH_OVERRIDES: &str = "start_run with overrides";

/// The whole table: the id of each operation, and the least role that it asks for.
pub fn roles() -> impl Iterator<Item = (&'static str, Role)> {
    TABLE.into_iter()
}

/// The least role for `operation`; `None` if it has no row.
pub(super) fn least_role(operation: &str) -> Option<Role> {
    TABLE.iter().find(|(name, _)| *name == operation).map(|(_, role)| *role)
}

/// The operations by method and path, as the router matches it.
#[derive(Debug, Default)]
pub(super) struct Operations(HashMap<(Method, String), String>);

impl Operations {
    /// Those of `document`, whose paths stand below `prefix`.
    pub(super) fn of(document: &OpenApi, prefix: &str) -> Operations {
        let mut all = HashMap::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in operations(item) {
                if let Some(id) = &operation.operation_id {
                    all.insert((method, format!("{prefix}{path}")), id.clone());
                }
            }
        }
        Operations(all)
    }

    /// The id of the operation, if there is one. HEAD is answered where GET is.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<&str> {
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        self.0.get(&(method, path.to_owned())).map(String::as_str)
    }
}

fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let all = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}
