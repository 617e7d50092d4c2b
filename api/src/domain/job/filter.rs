//! Which jobs of a team are wanted, and in which order.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Phase;
use super::bounds::{is_tag_key, is_tag_value};
use crate::domain::ids::JobName;
use crate::domain::run::RunStatus;

/// Tags that one list can be filtered by.
pub const TAG_FILTERS_MAX: usize = 5;

/// Between the key and the value of a wanted tag: no tag holds it.
const TAG_SEPARATOR: char = ',';

/// Which jobs of a team are wanted, and in which order. What is left out filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobFilter {
    pub phase: Option<Phase>,
    pub enabled: Option<bool>,
    pub last_outcome: Option<RunStatus>,
    /// The tags that a job must have, all of them, by their keys; `None` is any value.
    pub tags: BTreeMap<String, Option<String>>,
    /// Whether they keep to their team's guardrails, which the table can't tell.
    pub compliant: Option<bool>,
    /// What the names begin with: as the beginning of a name it has the form of one.
    pub name_prefix: Option<JobName>,
    pub order: JobOrder,
}

impl JobFilter {
    /// Whether it lets all jobs through whose names begin as wanted.
    pub fn is_of_names_only(&self) -> bool {
        self.phase.is_none()
            && self.enabled.is_none()
            && self.last_outcome.is_none()
            && self.tags.is_empty()
            && self.compliant.is_none()
    }

    /// What the names of the wanted jobs begin with.
    pub fn prefix(&self) -> &str {
        self.name_prefix.as_ref().map_or("", JobName::as_str)
    }
}

/// The order of a list of jobs: that of the table. Another one would need an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum JobOrder {
    #[default]
    Name,
    NameDescending,
}

impl JobOrder {
    pub const ALL: [JobOrder; 2] = [JobOrder::Name, JobOrder::NameDescending];

    pub fn as_str(self) -> &'static str {
        match self {
            JobOrder::Name => "name",
            JobOrder::NameDescending => "-name",
        }
    }
}

/// Reads a wanted tag, `<key>` for any value or `<key>,<value>` for this one, which can be empty:
/// `team`, `team,data`, `team,`. The error says what is wrong with it.
pub fn read_wanted_tag(text: &str) -> Result<(String, Option<String>), String> {
    let (key, value) = match text.split_once(TAG_SEPARATOR) {
        Some((key, value)) => (key, Some(value)),
        None => (text, None),
    };
    if is_tag_key(key) && value.is_none_or(is_tag_value) {
        return Ok((key.to_owned(), value.map(str::to_owned)));
    }
    Err(format!("must be the key of a tag, or its key and value as `key,value`, not `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wanted_tag_is_a_key_or_a_key_and_a_value() {
        let long = "k".repeat(128);
        let value = "v".repeat(256);
        for (text, key, value) in [
            ("team", "team", None),
            ("team,data", "team", Some("data")),
            ("team,", "team", Some("")),
            // What tags hold besides letters.
            ("a:b=c/d @+-._", "a:b=c/d @+-._", None),
            ("a=b,c=d:e", "a=b", Some("c=d:e")),
            ("größe,ä", "größe", Some("ä")),
            (&long, &*long, None),
            (&format!("k,{value}"), "k", Some(&*value)),
        ] {
            let wanted = (key.to_owned(), value.map(str::to_owned));
            assert_eq!(read_wanted_tag(text), Ok(wanted), "{text}");
        }
        for bad in ["", ",", ",data", "a,b,c", "a#b", "a\n", "k,\u{0}", &(long + "k")] {
            assert!(read_wanted_tag(bad).is_err(), "{bad}");
        }
        assert!(read_wanted_tag(&format!("k,{value}v")).is_err());
    }
}
