//! A job's containers and volumes as ECS's types.
//!
//! What a job adds to its main container is merged into what Cronplane sets: `domain::job` has
//! refused everything that would change that.

use aws_sdk_ecs::types::builders::ContainerDefinitionBuilder;
use aws_sdk_ecs::types::{
    ContainerCondition, ContainerDefinition, ContainerDependency, ContainerRestartPolicy,
    EfsAuthorizationConfig, EfsAuthorizationConfigIam, EfsTransitEncryption,
    EfsVolumeConfiguration, HealthCheck, KernelCapabilities, KeyValuePair, LinuxParameters,
    LogConfiguration, LogDriver, MountPoint, PortMapping, RepositoryCredentials, Secret,
    SystemControl, TransportProtocol, Ulimit, UlimitName, Volume,
};

use super::names::LOG_STREAM_PREFIX;
use crate::domain::job::{self, ContainerSettings, JobDefinition, Sidecar};
use crate::domain::task::MAIN_CONTAINER;
use crate::error::{Error, Result};

/// Where the containers of a job write.
pub(super) struct Logs<'a> {
    pub(super) region: &'a str,
    pub(super) group: &'a str,
}

/// The main container, then the sidecars.
pub(super) fn containers(
    definition: &JobDefinition,
    image: &str,
    logs: &Logs<'_>,
) -> Result<Vec<ContainerDefinition>> {
    let mut all = vec![main_container(definition, image, logs)?];
    for one in &definition.sidecars {
        all.push(sidecar(one, logs)?);
    }
    Ok(all)
}

pub(super) fn volumes(definition: &JobDefinition) -> Result<Vec<Volume>> {
    definition.volumes.iter().map(volume).collect()
}

fn main_container(
    definition: &JobDefinition,
    image: &str,
    logs: &Logs<'_>,
) -> Result<ContainerDefinition> {
    let environment = definition
        .environment
        .iter()
        .map(|(name, value)| KeyValuePair::builder().name(name).value(value).build())
        .collect();
    let secrets: Result<Vec<Secret>> = definition
        .secrets
        .iter()
        .map(|(name, reference)| {
            Secret::builder().name(name).value_from(reference).build().map_err(internal)
        })
        .collect();
    let mounts = definition.volumes.iter().filter_map(|volume| {
        let path = volume.mount_path.as_ref()?;
        Some(
            MountPoint::builder()
                .source_volume(&volume.name)
                .container_path(path)
                .read_only(volume.read_only)
                .build(),
        )
    });
    let container = ContainerDefinition::builder()
        .name(MAIN_CONTAINER)
        .image(image)
        .essential(true)
        .set_command(definition.command.clone())
        .set_entry_point(definition.entry_point.clone())
        .set_working_directory(definition.working_directory.clone())
        .set_environment(Some(environment))
        .set_secrets(some(secrets?))
        .set_mount_points(some(mounts.collect()))
        .set_health_check(definition.health_check.as_ref().map(health_check).transpose()?)
        .set_stop_timeout(definition.stop_timeout_seconds.map(whole));
    Ok(with_settings(container, &definition.extra_container_definition, logs)?.build())
}

fn sidecar(sidecar: &Sidecar, logs: &Logs<'_>) -> Result<ContainerDefinition> {
    let environment = sidecar
        .environment
        .iter()
        .map(|one| KeyValuePair::builder().name(&one.name).value(&one.value).build())
        .collect();
    let secrets: Result<Vec<Secret>> = sidecar
        .secrets
        .iter()
        .map(|one| {
            Secret::builder().name(&one.name).value_from(&one.value_from).build().map_err(internal)
        })
        .collect();
    let mounts = sidecar
        .mount_points
        .iter()
        .map(|one| {
            MountPoint::builder()
                .source_volume(&one.source_volume)
                .container_path(&one.container_path)
                .set_read_only(one.read_only)
                .build()
        })
        .collect();
    let restart_policy = sidecar.restart_policy.as_ref().map(|policy| {
        let codes = policy.ignored_exit_codes.iter().copied().map(whole).collect();
        ContainerRestartPolicy::builder()
            .enabled(policy.enabled)
            .set_ignored_exit_codes(some(codes))
            .set_restart_attempt_period(policy.restart_attempt_period.map(whole))
            .build()
            .map_err(internal)
    });
    let container = ContainerDefinition::builder()
        .name(&sidecar.name)
        .image(&sidecar.image)
        .essential(false)
        .set_command(sidecar.command.clone())
        .set_entry_point(sidecar.entry_point.clone())
        .set_working_directory(sidecar.working_directory.clone())
        .set_environment(some(environment))
        .set_secrets(some(secrets?))
        .set_mount_points(some(mounts))
        .set_restart_policy(restart_policy.transpose()?)
        .set_health_check(sidecar.health_check.as_ref().map(health_check).transpose()?)
        .set_stop_timeout(sidecar.stop_timeout.map(whole));
    Ok(with_settings(container, &sidecar.settings, logs)?.build())
}

fn with_settings(
    container: ContainerDefinitionBuilder,
    settings: &ContainerSettings,
    logs: &Logs<'_>,
) -> Result<ContainerDefinitionBuilder> {
    let ports = settings
        .port_mappings
        .iter()
        .map(|port| {
            PortMapping::builder()
                .container_port(whole(port.container_port))
                .set_protocol(port.protocol.map(|protocol| match protocol {
                    job::TransportProtocol::Tcp => TransportProtocol::Tcp,
                    job::TransportProtocol::Udp => TransportProtocol::Udp,
                }))
                .build()
        })
        .collect();
    let credentials = settings.repository_credentials.as_ref().map(|credentials| {
        RepositoryCredentials::builder()
            .credentials_parameter(&credentials.credentials_parameter)
            .build()
            .map_err(internal)
    });
    let linux = settings.linux_parameters.as_ref().map(|linux| {
        let capabilities = linux.capabilities.as_ref().map(|capabilities| {
            KernelCapabilities::builder()
                .set_add(some(capabilities.add.clone()))
                .set_drop(some(capabilities.drop.clone()))
                .build()
        });
        LinuxParameters::builder()
            .set_capabilities(capabilities)
            .set_init_process_enabled(linux.init_process_enabled)
            .build()
    });
    let depends_on: Result<Vec<ContainerDependency>> = settings
        .depends_on
        .iter()
        .map(|one| {
            ContainerDependency::builder()
                .container_name(&one.container_name)
                .condition(ContainerCondition::from(one.condition.as_str()))
                .build()
                .map_err(internal)
        })
        .collect();
    let ulimits: Result<Vec<Ulimit>> = settings
        .ulimits
        .iter()
        .map(|one| {
            Ulimit::builder()
                .name(UlimitName::from(one.name.as_str()))
                .soft_limit(whole(one.soft_limit))
                .hard_limit(whole(one.hard_limit))
                .build()
                .map_err(internal)
        })
        .collect();
    let controls = settings
        .system_controls
        .iter()
        .map(|one| SystemControl::builder().namespace(&one.namespace).value(&one.value).build())
        .collect();
    let labels = settings.docker_labels.clone().into_iter().collect();
    let container = match settings.cpu {
        Some(cpu) => container.cpu(whole(cpu)),
        None => container,
    };
    Ok(container
        .set_memory(settings.memory.map(whole))
        .set_memory_reservation(settings.memory_reservation.map(whole))
        .set_port_mappings(some(ports))
        .set_repository_credentials(credentials.transpose()?)
        .set_linux_parameters(linux)
        .set_depends_on(some(depends_on?))
        .set_start_timeout(settings.start_timeout.map(whole))
        .set_user(settings.user.clone())
        .set_readonly_root_filesystem(settings.readonly_root_filesystem)
        .set_interactive(settings.interactive)
        .set_pseudo_terminal(settings.pseudo_terminal)
        .set_docker_labels(
            Some(labels).filter(|labels: &std::collections::HashMap<_, _>| !labels.is_empty()),
        )
        .set_ulimits(some(ulimits?))
        .set_system_controls(some(controls))
        .log_configuration(log_configuration(settings, logs)?))
}

/// The job's own options, and over them where the log goes.
fn log_configuration(settings: &ContainerSettings, logs: &Logs<'_>) -> Result<LogConfiguration> {
    let own = settings.log_configuration.iter().flat_map(|log| &log.options);
    own.fold(LogConfiguration::builder(), |log, (name, value)| log.options(name, value))
        .log_driver(LogDriver::Awslogs)
        .options("awslogs-region", logs.region)
        .options("awslogs-group", logs.group)
        .options("awslogs-stream-prefix", LOG_STREAM_PREFIX)
        .build()
        .map_err(internal)
}

fn health_check(check: &job::HealthCheck) -> Result<HealthCheck> {
    HealthCheck::builder()
        .set_command(Some(check.command.clone()))
        .interval(whole(check.interval))
        .timeout(whole(check.timeout))
        .retries(whole(check.retries))
        .set_start_period(check.start_period.map(whole))
        .build()
        .map_err(internal)
}

fn volume(volume: &job::Volume) -> Result<Volume> {
    let efs = volume.efs.as_ref().map(|efs| {
        let authorization = (efs.iam_authorization || efs.access_point_id.is_some()).then(|| {
            EfsAuthorizationConfig::builder()
                .set_access_point_id(efs.access_point_id.clone())
                .iam(if efs.iam_authorization {
                    EfsAuthorizationConfigIam::Enabled
                } else {
                    EfsAuthorizationConfigIam::Disabled
                })
                .build()
        });
        EfsVolumeConfiguration::builder()
            .file_system_id(&efs.file_system_id)
            .set_root_directory(efs.root_directory.clone())
            .transit_encryption(if efs.transit_encryption {
                EfsTransitEncryption::Enabled
            } else {
                EfsTransitEncryption::Disabled
            })
            .set_authorization_config(authorization)
            .build()
            .map_err(internal)
    });
    Ok(Volume::builder().name(&volume.name).set_efs_volume_configuration(efs.transpose()?).build())
}

/// ECS's numbers; every one of a definition is small.
fn whole(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// An empty list is one that was not given.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn internal(error: aws_smithy_types::error::operation::BuildError) -> Error {
    Error::Internal(error.to_string())
}
