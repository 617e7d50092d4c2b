//! What of a job its team's guardrails forbid.

use super::Guardrails;
use super::images::matches_image;
use crate::domain::deployment::{Deployment, Network, matches_pattern};
use crate::domain::fargate_size::FargateSize;
use crate::domain::fields::VIOLATIONS_MAX;
use crate::domain::job::{
    ContainerSettings, Efs, JobDefinition, OWN_CLUSTER, RepositoryCredentials, Sidecar, Volume,
    secret_in_environment, secret_resource,
};
use crate::domain::overrides::Overrides;
use crate::domain::violation::ViolationCode::Forbidden;
use crate::domain::violation::{Violation, pointer_token};

/// So many patterns are told of a list.
const PATTERNS_TOLD: usize = 5;
/// So many characters are told of a pattern, or of a text that matches none.
const CHARACTERS_TOLD: usize = 200;

impl Guardrails {
    /// What of `definition` may not be, each with the pointer of its field; empty if it complies.
    /// `deployment` is the team's ([`Deployment::of_team`]).
    pub fn check(&self, definition: &JobDefinition, deployment: &Deployment) -> Vec<Violation> {
        // Every field is named, so that a new one can't be forgotten: it is looked at below, or it stands
        // here with the reason why not.
        let JobDefinition {
            image: _, // with the sidecars' below
            environment,
            secrets,
            size,
            ephemeral_storage_gib,
            volumes,
            extra_container_definition,
            sidecars,
            network,
            cluster,
            task_role,
            execution_role,
            timing,
            tags,
            // The job's own: what the containers do inside their bounds.
            name: _,
            description: _,
            command: _,
            entry_point: _,
            working_directory: _,
            stop_timeout_seconds: _,
            health_check: _,
            architecture: _,
            capacity: _,
            platform_version: _,
            log_retention_days: _,
            enabled: _,
            // Opens a shell for those whom IAM lets, with what the container has anyway.
            enable_execute_command: _,
            enable_ecs_managed_tags: _,
            // They hear of failures and can do nothing; queues and functions must let the topic in.
            subscribers: _,
        } = definition;
        let mut found = Found { violations: Vec::new(), guardrails: self };
        for (index, image) in definition.images(deployment).iter().enumerate() {
            let at = match index {
                0 => "/image".to_owned(),
                index => format!("/sidecars/{}/image", index - 1),
            };
            if let Some(images) = &self.images {
                found.listed(&at, image, "images", images, matches_image);
            }
        }
        if let Some(role) = task_role {
            found.listed("/task_role", role, "task_roles", &self.task_roles, matches_pattern);
        }
        if let Some(role) = execution_role {
            let roles = &self.execution_roles;
            found.listed("/execution_role", role, "execution_roles", roles, matches_pattern);
        }
        for (name, value) in environment {
            let at = format!("/environment/{}", pointer_token(name));
            found.variable(&at, name, value, deployment);
        }
        for (name, reference) in secrets {
            found.secret(&format!("/secrets/{}", pointer_token(name)), reference);
        }
        found.settings("/extra_container_definition", extra_container_definition);
        for (index, sidecar) in sidecars.iter().enumerate() {
            found.sidecar(&format!("/sidecars/{index}"), sidecar, deployment);
        }
        for (index, volume) in volumes.iter().enumerate() {
            let Volume { efs, name: _, mount_path: _, read_only: _ } = volume;
            if let Some(efs) = efs {
                let Efs {
                    file_system_id,
                    // Parts of the file system, and how it is spoken to.
                    root_directory: _,
                    access_point_id: _,
                    transit_encryption: _,
                    iam_authorization: _,
                } = efs;
                let at = format!("/volumes/{index}/efs/file_system_id");
                let granted = &self.file_systems;
                found.listed(&at, file_system_id, "file_systems", granted, matches_pattern);
            }
        }
        if let Some(cluster) = cluster {
            found.cluster(cluster, deployment);
        }
        found.network(network, &deployment.default_network);
        found.size(*size);
        if let (Some(max), Some(gib)) = (self.max_ephemeral_storage_gib, ephemeral_storage_gib)
            && *gib > max
        {
            let at = "/ephemeral_storage_gib";
            found.above(at, &format!("{gib} GiB"), "max_ephemeral_storage_gib", max);
        }
        if let (Some(min), Some(minutes)) =
            (self.min_interval_minutes, timing.schedule.shortest_interval())
            && minutes < i64::from(min)
        {
            let detail = format!(
                "two of its starts are {minutes} minutes apart: the team's guardrails \
                 (`min_interval_minutes`) want {min} at least"
            );
            found.push("/schedule", detail);
        }
        for (key, pattern) in &self.required_tags {
            let at = format!("/tags/{}", pointer_token(key));
            match tags.get(key) {
                None => {
                    let detail = "is required by the team's guardrails `required_tags`";
                    found.push(&at, format!("the tag `{key}` {detail}"));
                }
                Some(value) if !matches_pattern(pattern, value) => {
                    let detail = format!(
                        "the team's guardrails `required_tags` want a value that matches `{}`, \
                         not `{value}`",
                        shortened(pattern)
                    );
                    found.push(&at, detail);
                }
                Some(_) => {}
            }
        }
        found.violations
    }

    /// What of a run's overrides may not be. A size counts as it comes out, whichever of CPU and memory
    /// was given; without one the run is of the job's, however large that is.
    pub fn check_overrides(
        &self,
        overrides: &Overrides,
        deployment: &Deployment,
    ) -> Vec<Violation> {
        let Overrides { environment, size, command: _ } = overrides;
        let mut found = Found { violations: Vec::new(), guardrails: self };
        for (name, value) in environment {
            let at = format!("/environment/{}", pointer_token(name));
            found.variable(&at, name, value, deployment);
        }
        if let Some(size) = size {
            found.size(*size);
        }
        found.violations
    }
}

/// What was found so far.
struct Found<'a> {
    violations: Vec<Violation>,
    guardrails: &'a Guardrails,
}

impl Found<'_> {
    fn push(&mut self, at: &str, detail: impl Into<String>) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation::new(at, Forbidden, detail));
        }
    }

    /// `text` must match one of `granted`, the list of guardrails that is called `list`.
    fn listed(
        &mut self,
        at: &str,
        text: &str,
        list: &str,
        granted: &[String],
        matches: impl Fn(&str, &str) -> bool,
    ) {
        if !granted.iter().any(|pattern| matches(pattern, text)) {
            self.push(at, not_granted(text, list, granted));
        }
    }

    fn variable(&mut self, at: &str, name: &str, value: &str, deployment: &Deployment) {
        if let Some(why) = secret_in_environment(name, value)
            && !deployment.allow_secret_environment
        {
            self.push(at, why);
        }
    }

    /// Whatever part of it is meant, it is the secret that is granted.
    fn secret(&mut self, at: &str, reference: &str) {
        let arn = secret_resource(reference).map(|(_, arn)| arn);
        let arn = arn.as_deref().unwrap_or(reference);
        self.listed(at, arn, "secrets", &self.guardrails.secrets, matches_pattern);
    }

    fn sidecar(&mut self, at: &str, sidecar: &Sidecar, deployment: &Deployment) {
        let Sidecar {
            image: _, // with the main container's
            environment,
            secrets,
            settings,
            // As of the main container.
            name: _,
            command: _,
            entry_point: _,
            working_directory: _,
            health_check: _,
            restart_policy: _,
            stop_timeout: _,
            // Of the job's volumes.
            mount_points: _,
        } = sidecar;
        for (index, one) in environment.iter().enumerate() {
            let at = format!("{at}/environment/{index}/value");
            self.variable(&at, &one.name, &one.value, deployment);
        }
        for (index, one) in secrets.iter().enumerate() {
            self.secret(&format!("{at}/secrets/{index}/valueFrom"), &one.value_from);
        }
        self.settings(at, settings);
    }

    fn settings(&mut self, at: &str, settings: &ContainerSettings) {
        let ContainerSettings {
            repository_credentials,
            // Shares of the task's size, which is bounded.
            cpu: _,
            memory: _,
            memory_reservation: _,
            // Inside the container and the task, in the bounds that Fargate has.
            port_mappings: _,
            linux_parameters: _,
            depends_on: _,
            start_timeout: _,
            user: _,
            readonly_root_filesystem: _,
            interactive: _,
            pseudo_terminal: _,
            docker_labels: _,
            ulimits: _,
            system_controls: _,
            // How lines are read; where they go is Cronplane's, and there are no secrets among them.
            log_configuration: _,
        } = settings;
        if let Some(RepositoryCredentials { credentials_parameter }) = repository_credentials {
            let at = format!("{at}/repositoryCredentials/credentialsParameter");
            self.secret(&at, credentials_parameter);
        }
    }

    fn cluster(&mut self, cluster: &str, deployment: &Deployment) {
        if deployment.is_own_cluster(cluster) {
            self.push("/cluster", OWN_CLUSTER);
        } else if deployment.default_cluster.as_deref() != Some(cluster) {
            let granted = &self.guardrails.clusters;
            self.listed("/cluster", cluster, "clusters", granted, matches_pattern);
        }
    }

    fn network(&mut self, network: &Network, default: &Network) {
        let Network { subnets, security_groups, assign_public_ip } = network;
        let guardrails = self.guardrails;
        if let Some(granted) = &guardrails.subnets {
            for (index, id) in subnets.iter().enumerate() {
                if !default.subnets.contains(id) {
                    let at = format!("/network/subnets/{index}");
                    self.listed(&at, id, "subnets", granted, matches_pattern);
                }
            }
        }
        if let Some(granted) = &guardrails.security_groups {
            for (index, id) in security_groups.iter().enumerate() {
                if !default.security_groups.contains(id) {
                    let at = format!("/network/security_groups/{index}");
                    self.listed(&at, id, "security_groups", granted, matches_pattern);
                }
            }
            // None is the default group of the subnets' VPC, which is none of those that are granted.
            let as_default = default.security_groups.is_empty()
                && subnets.iter().all(|id| default.subnets.contains(id));
            if security_groups.is_empty() && !as_default {
                let group = "the default group of the VPC, which is taken where none is named,";
                self.push(
                    "/network/security_groups",
                    format!("{group} {}", not_among("security_groups", granted)),
                );
            }
        }
        if *assign_public_ip && !guardrails.public_ip && network != default {
            let detail = "the team's guardrails (`public_ip`) let no task have a public address, but \
                          in the network that it has by default, unchanged";
            self.push("/network/assign_public_ip", detail);
        }
    }

    fn size(&mut self, FargateSize { cpu, memory }: FargateSize) {
        if let Some(max) = self.guardrails.max_cpu
            && cpu > max
        {
            self.above("/cpu", &format!("{cpu} CPU units"), "max_cpu", max);
        }
        if let Some(max) = self.guardrails.max_memory
            && memory > max
        {
            self.above("/memory", &format!("{memory} MiB"), "max_memory", max);
        }
    }

    fn above(&mut self, at: &str, found: &str, limit: &str, max: u32) {
        let detail =
            format!("{found} are more than the team's guardrails allow: `{limit}` is {max}");
        self.push(at, detail);
    }
}

/// What is said of `text`, which matches no pattern of the list.
fn not_granted(text: &str, list: &str, granted: &[String]) -> String {
    format!("`{}` {}", shortened(text), not_among(list, granted))
}

fn not_among(list: &str, granted: &[String]) -> String {
    let who = format!("an administrator has to add it to the team's guardrails `{list}`");
    if granted.is_empty() {
        return format!("is not granted to the team, as nothing of this kind is yet: {who}");
    }
    let told: Vec<String> =
        granted.iter().take(PATTERNS_TOLD).map(|one| format!("`{}`", shortened(one))).collect();
    let more = match granted.len() - told.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("is not granted to the team, but {}{more}: {who}", told.join(", "))
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= CHARACTERS_TOLD {
        return text.to_owned();
    }
    let start: String = text.chars().take(CHARACTERS_TOLD).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests;
