//! Reads a definition from the JSON of a request: what may be left out, and what stands for it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::bounds::{
    DESCRIPTION_MAX, EPHEMERAL_STORAGE_GIB, IMAGE_MAX, RETENTION_DAYS, check_arguments,
    check_cluster, check_count, check_environment, check_image, check_role, check_tags, check_text,
    checked,
};
use super::container::{
    Containers, HealthCheckKeys, SIDECARS_MAX, Sidecar, TIMEOUT_SECONDS, check_path,
    read_health_check, read_in, read_main, read_sidecar,
};
use super::definition::{Architecture, Capacity, Image, JobDefinition, LATEST};
use super::network::{GivenNetwork, given_network, read_network};
use super::secrets::check_secrets;
use super::subscribers::{GivenSubscribers, given_subscribers, read_subscribers};
use super::volumes::{Volume, read_volumes};
use crate::domain::deployment::Deployment;
use crate::domain::fargate_size::FargateSize;
use crate::domain::fields::Fields;
use crate::domain::ids::JobName;
use crate::domain::schedule::{Bounds, Schedule, Timing, refused_engine};
use crate::domain::violation::ViolationCode::{NotAllowed, Range, Required, Type};

const DEFAULT_RETENTION_DAYS: u32 = 30;

/// The fields as they were given, of the right JSON types and no more.
struct Unchecked {
    name: Option<String>,
    description: Option<String>,
    image: Option<Image>,
    command: Option<Vec<String>>,
    entry_point: Option<Vec<String>>,
    working_directory: Option<String>,
    environment: Option<BTreeMap<String, String>>,
    secrets: Option<BTreeMap<String, String>>,
    cpu: Option<u32>,
    memory: Option<u32>,
    network: Option<GivenNetwork>,
    cluster: Option<String>,
    task_role: Option<String>,
    execution_role: Option<String>,
    schedule: Option<String>,
    enabled: Option<bool>,
    log_retention_days: Option<u32>,
    tags: Option<BTreeMap<String, String>>,
    subscribers: Option<GivenSubscribers>,
}

fn read_unchecked(fields: &mut Fields<'_>) -> Unchecked {
    let name = fields.string("name");
    Unchecked {
        name: fields.required("name", name),
        description: fields.string("description"),
        image: read_image(fields),
        command: fields.strings("command"),
        entry_point: fields.strings("entry_point"),
        working_directory: fields.string("working_directory"),
        environment: fields.string_map("environment"),
        secrets: fields.string_map("secrets"),
        cpu: fields.integer("cpu"),
        memory: fields.integer("memory"),
        network: given_network(fields),
        cluster: fields.string("cluster"),
        task_role: fields.string("task_role"),
        execution_role: fields.string("execution_role"),
        schedule: {
            let schedule = fields.string("schedule");
            fields.required("schedule", schedule)
        },
        enabled: fields.boolean("enabled"),
        log_retention_days: fields.integer("log_retention_days"),
        tags: fields.string_map("tags"),
        subscribers: given_subscribers(fields),
    }
}

fn read_image(fields: &mut Fields<'_>) -> Option<Image> {
    let value = fields.value("image");
    match fields.required("image", value)? {
        Value::String(reference) => Some(Image::Reference(reference)),
        object @ Value::Object(_) => fields.nested("image", object, |image| {
            let repository = image.string("repository");
            let tag = image.string("tag");
            let repository = image.required("repository", repository);
            let tag = image.required("tag", tag);
            Some(Image::Repository { repository: repository?, tag: tag? })
        }),
        _ => {
            fields.violation(
                "image",
                Type,
                "must be a string, or an object with `repository` and `tag`",
            );
            None
        }
    }
}

pub(super) fn read_definition(
    fields: &mut Fields<'_>,
    deployment: &Deployment,
) -> Option<JobDefinition> {
    let given = read_unchecked(fields);
    let name = given.name.and_then(|name| checked(fields, "name", JobName::parse(&name)));
    let schedule =
        given.schedule.and_then(|text| checked(fields, "schedule", Schedule::parse(&text)));
    let bounds = Bounds::of_fields(fields);
    let timing = schedule.map(|schedule| Timing { schedule, bounds });
    if let Some(timing) = &timing {
        let misfits = timing.misfits().into_iter().chain(refused_engine(timing, deployment.engine));
        for misfit in misfits {
            fields.violation(misfit.field.unwrap_or("schedule"), misfit.code, misfit.detail);
        }
    }
    if let Some(description) = &given.description {
        check_text(fields, "description", description, 0, DESCRIPTION_MAX);
    }
    if let Some(image) = &given.image {
        check_image(fields, image);
        let length = image.reference(deployment).len();
        if matches!(image, Image::Repository { .. }) && length > IMAGE_MAX {
            fields.violation_at(
                "image",
                Range,
                format!("with its registry it has {length} characters; ECS takes {IMAGE_MAX}"),
            );
        }
    }
    for (key, list) in [("command", &given.command), ("entry_point", &given.entry_point)] {
        check_arguments(fields, key, list.as_deref().unwrap_or_default());
    }
    if let Some(path) = &given.working_directory {
        check_path(fields, "working_directory", path);
    }
    let environment = given.environment.unwrap_or_default();
    check_environment(fields, &environment);
    let secrets = given.secrets.unwrap_or_default();
    check_secrets(fields, &secrets, &environment, deployment);
    let size = match FargateSize::choose(given.cpu, given.memory) {
        Ok(size) => size,
        Err(wrong) => {
            fields.violation_at(wrong.pointer.trim_start_matches('/'), wrong.code, wrong.detail);
            FargateSize::SMALLEST
        }
    };
    let architecture =
        read_one_of(fields, "architecture", &Architecture::ALL, Architecture::as_str);
    let capacity = read_one_of(fields, "capacity", &Capacity::ALL, Capacity::as_str);
    let window = timing.as_ref().and_then(|timing| timing.bounds.flexible_window_minutes);
    if window.is_some() && capacity.is_started_by_cronplane() {
        let detail = "is not taken with the `capacity` `spot_with_fallback`, whose starts Cronplane makes, and gives \
                      up 15 minutes after their time";
        fields.violation("flexible_window_minutes", NotAllowed, detail);
    }
    let volumes = read_volumes(fields);
    let ephemeral_storage_gib = read_in(fields, "ephemeral_storage_gib", EPHEMERAL_STORAGE_GIB);
    let platform_version = read_platform_version(fields);
    let stop_timeout_seconds = read_in(fields, "stop_timeout_seconds", TIMEOUT_SECONDS);
    let health_check = fields
        .object("health_check", |check| read_health_check(check, HealthCheckKeys::OURS))
        .flatten();
    let extra_container_definition = fields
        .object("extra_container_definition", |extra| read_main(extra, deployment))
        .unwrap_or_default();
    let sidecars = read_sidecars(fields, deployment);
    let containers = Containers {
        main: &extra_container_definition,
        main_is_checked: health_check.is_some(),
        sidecars: &sidecars,
        volumes: volumes.iter().flatten().map(|one| one.name.as_str()).collect(),
    };
    containers.check(fields, size);
    let network = read_network(fields, given.network, deployment);
    if let Some(cluster) = &given.cluster {
        // That it is none of Cronplane's own is the guardrails' to say.
        check_cluster(fields, "cluster", cluster);
    }
    for (key, role) in [("task_role", &given.task_role), ("execution_role", &given.execution_role)]
    {
        if let Some(role) = role {
            check_role(fields, key, role, deployment);
        }
    }
    let enable_execute_command = fields.boolean("enable_execute_command").unwrap_or(false);
    if enable_execute_command && given.task_role.is_none() {
        // Amazon ECS Developer Guide, "Monitor Amazon ECS containers with ECS Exec".
        let detail = "wants a `task_role` that may open channels of SSM (ssmmessages:*)";
        fields.violation("enable_execute_command", Required, detail);
    }
    let read_only = sidecars
        .iter()
        .flatten()
        .map(|one| &one.settings)
        .chain([&extra_container_definition])
        .any(|settings| settings.readonly_root_filesystem == Some(true));
    if enable_execute_command && read_only {
        let detail =
            "ECS Exec writes into the containers: it does not go with `readonlyRootFilesystem`";
        fields.violation("enable_execute_command", NotAllowed, detail);
    }
    for (index, volume) in volumes.iter().enumerate() {
        let efs = volume.as_ref().and_then(|volume| volume.efs.as_ref());
        if efs.is_some_and(|efs| efs.iam_authorization) && given.task_role.is_none() {
            // Amazon ECS API Reference, EFSAuthorizationConfig, `iam`: it is the task role that is let in.
            let at = format!("volumes/{index}/efs/iam_authorization");
            fields.violation_at(&at, Required, "wants a `task_role`, which EFS lets in");
        }
    }
    let enable_ecs_managed_tags = fields.boolean("enable_ecs_managed_tags").unwrap_or(false);
    let log_retention_days = given.log_retention_days.unwrap_or(DEFAULT_RETENTION_DAYS);
    if !RETENTION_DAYS.contains(&log_retention_days) {
        let offered: Vec<String> = RETENTION_DAYS.iter().map(|days| days.to_string()).collect();
        fields.violation(
            "log_retention_days",
            Range,
            format!("CloudWatch Logs keeps logs for {} days", offered.join(", ")),
        );
    }
    let tags = given.tags.unwrap_or_default();
    check_tags(fields, "tags", &tags);
    let subscribers = match given.subscribers {
        Some(given) => read_subscribers(fields, given, deployment),
        None => deployment.default_subscribers.clone(),
    };
    // One that could not be read is told; the others would stand at other indices than in the request.
    let sidecars = sidecars.into_iter().collect::<Option<Vec<Sidecar>>>();
    let volumes = volumes.into_iter().collect::<Option<Vec<Volume>>>();
    Some(JobDefinition {
        name: name?,
        description: given.description,
        image: given.image?,
        command: given.command,
        entry_point: given.entry_point,
        working_directory: given.working_directory,
        environment,
        secrets,
        size,
        architecture,
        ephemeral_storage_gib,
        volumes: volumes?,
        stop_timeout_seconds,
        health_check,
        extra_container_definition,
        sidecars: sidecars?,
        network,
        capacity,
        platform_version,
        enable_execute_command,
        enable_ecs_managed_tags,
        cluster: given.cluster.or_else(|| deployment.default_cluster.clone()),
        task_role: given.task_role,
        execution_role: given.execution_role,
        timing: timing?,
        enabled: given.enabled.unwrap_or(true),
        log_retention_days,
        tags,
        subscribers,
    })
}

/// One of `all`, by its name; the default if nothing is given.
fn read_one_of<T: Copy + Default>(
    fields: &mut Fields<'_>,
    key: &'static str,
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
) -> T {
    let Some(text) = fields.string(key) else {
        return T::default();
    };
    let found = all.iter().copied().find(|one| name_of(*one) == text);
    if found.is_none() {
        let names: Vec<&str> = all.iter().map(|one| name_of(*one)).collect();
        let detail = format!("must be one of `{}`", names.join("`, `"));
        fields.violation(key, NotAllowed, detail);
    }
    found.unwrap_or_default()
}

/// Amazon ECS Developer Guide, "Fargate platform versions for Amazon ECS". 1.3.0 is retired: nothing can
/// be started on it any more.
fn read_platform_version(fields: &mut Fields<'_>) -> String {
    let version = fields.string("platform_version").unwrap_or_else(|| LATEST.to_owned());
    if ![LATEST, "1.4.0"].contains(&version.as_str()) {
        let detail = "must be `LATEST` or `1.4.0`, which is the only one that AWS has not retired";
        fields.violation("platform_version", NotAllowed, detail);
    }
    version
}

/// `None` for one that has no name or no image, so that the others keep their indices.
fn read_sidecars(fields: &mut Fields<'_>, deployment: &Deployment) -> Vec<Option<Sidecar>> {
    let sidecars =
        fields.objects("sidecars", |one| read_sidecar(one, deployment)).unwrap_or_default();
    check_count(fields, "sidecars", sidecars.len(), SIDECARS_MAX, "sidecars");
    sidecars
}
