//! Networks: where tasks get their network interface.

use std::collections::BTreeSet;

use super::bounds::{SECURITY_GROUPS_MAX, SUBNETS_MAX};
use crate::domain::deployment::{Deployment, Network};
use crate::domain::fields::Fields;
use crate::domain::violation::ViolationCode::{Duplicate, Format, Range, Required};

/// A network as it was given, of the right JSON types and no more.
pub(in crate::domain) struct GivenNetwork {
    subnets: Option<Vec<String>>,
    security_groups: Option<Vec<String>>,
    assign_public_ip: Option<bool>,
}

pub(in crate::domain) fn given_network(fields: &mut Fields<'_>) -> Option<GivenNetwork> {
    fields.object("network", |network| GivenNetwork {
        subnets: network.strings("subnets"),
        security_groups: network.strings("security_groups"),
        assign_public_ip: network.boolean("assign_public_ip"),
    })
}

/// The network that stands at `network`, filled in from the deployment's.
pub(in crate::domain) fn read_network(
    fields: &mut Fields<'_>,
    given: Option<GivenNetwork>,
    deployment: &Deployment,
) -> Network {
    let default = &deployment.default_network;
    let network = match given {
        None => default.clone(),
        Some(given) => {
            // Security groups belong to a VPC: the deployment's go with the deployment's subnets
            // only.
            let own_subnets =
                given.subnets.as_ref().is_some_and(|subnets| *subnets != default.subnets);
            Network {
                subnets: given.subnets.unwrap_or_else(|| default.subnets.clone()),
                security_groups: given.security_groups.unwrap_or_else(|| {
                    if own_subnets { Vec::new() } else { default.security_groups.clone() }
                }),
                assign_public_ip: given.assign_public_ip.unwrap_or(default.assign_public_ip),
            }
        }
    };
    if network.subnets.is_empty() {
        fields.violation_at(
            "network/subnets",
            Required,
            "at least one subnet is needed, and there is none by default: name one",
        );
    }
    for (key, list, prefix, max) in [
        ("subnets", &network.subnets, "subnet-", SUBNETS_MAX),
        ("security_groups", &network.security_groups, "sg-", SECURITY_GROUPS_MAX),
    ] {
        if list.len() > max {
            fields.violation_at(
                &format!("network/{key}"),
                Range,
                format!("a task takes at most {max}, not {}", list.len()),
            );
        }
        let mut seen = BTreeSet::new();
        for (index, id) in list.iter().enumerate() {
            let at = format!("network/{key}/{index}");
            let is_id = id.strip_prefix(prefix).is_some_and(|rest| {
                (1..=64).contains(&rest.len())
                    && rest.bytes().all(|one| one.is_ascii_alphanumeric())
            });
            if !is_id {
                fields.violation_at(
                    &at,
                    Format,
                    format!("must be an id such as `{prefix}0123456789abcdef0`"),
                );
            } else if !seen.insert(id) {
                fields.violation_at(&at, Duplicate, format!("`{id}` is named twice"));
            }
        }
    }
    network
}
