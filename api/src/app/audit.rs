//! The audit log: what is written of a request, and who reads it.

use jiff::SignedDuration;
use uuid::Uuid;

use super::jobs::{checked_cursor, digest};
use super::reconcile::later;
use super::{App, Moment};
use crate::domain::audit::{AuditFilter, Entry, FieldChange, Outcome, Target};
use crate::domain::ids::TeamName;
use crate::error::Result;
use crate::store::encode_cursor;

/// Which entries a request wants.
#[derive(Debug, Default)]
pub struct AuditWanted {
    pub filter: AuditFilter,
    pub limit: usize,
    pub cursor: Option<String>,
}

/// A page of entries.
#[derive(Debug)]
pub struct ListedEntries {
    pub items: Vec<Entry>,
    pub next: Option<String>,
}

impl App {
    /// The entry that tells of what is done now; `None` for Cronplane's own work, which is nobody's.
    pub(super) fn entry(
        &self,
        team: &TeamName,
        target: Target,
        changes: Vec<FieldChange>,
        moment: Moment,
    ) -> Option<Entry> {
        let author = self.author.clone()?;
        let kept_for = SignedDuration::from_hours(24 * i64::from(self.deployment.audit_days));
        let kept_until = later(moment.now, kept_for);
        let unique = Uuid::new_v4().to_string();
        let outcome = Outcome::Accepted;
        let entry =
            Entry::new(moment.now, kept_until, &unique, team.clone(), author, target, outcome);
        Some(Entry { changes, ..entry })
    }

    /// The entry of what was denied, and why.
    pub(super) fn entry_of_denied(
        &self,
        team: &TeamName,
        target: Target,
        reason: &str,
        moment: Moment,
    ) -> Option<Entry> {
        let entry = self.entry(team, target, Vec::new(), moment)?;
        Some(entry.denied(reason))
    }

    /// Writes down what this app's author tried and may not do, and why. Whether there is such a team is not
    /// asked: how long it takes would tell it.
    pub async fn audit_denied(
        &self,
        team: &TeamName,
        target: Target,
        reason: &str,
        moment: Moment,
    ) -> Result<()> {
        match self.entry_of_denied(team, target, reason, moment) {
            Some(entry) => self.store.audit_put(&entry).await,
            None => Ok(()),
        }
    }

    /// The entries of a team's log that are wanted, newest first; those of a job are its name's, whether
    /// there is one now or not.
    ///
    /// Errors: `Invalid` for a cursor of another list.
    pub async fn audit_list(&self, team: &TeamName, wanted: AuditWanted) -> Result<ListedEntries> {
        let filter = &wanted.filter;
        let list = format!("audit/{team}/{}", digest(filter)?);
        // A key outside the bounds of its list is an error to DynamoDB.
        let in_list = |id: &str| filter.may_be(id);
        let after =
            wanted.cursor.map(|cursor| checked_cursor(&list, &cursor, in_list)).transpose()?;
        if filter.is_empty() {
            return Ok(ListedEntries { items: Vec::new(), next: None });
        }
        let page = self.store.audit_list(team, filter, after.as_deref(), wanted.limit).await?;
        Ok(ListedEntries {
            items: page.items,
            next: page.last.map(|last| encode_cursor(&list, &last)),
        })
    }
}
