//! Containers, volumes and health checks in requests and answers.
//!
//! The containers have ECS's own shape and names, so that what stands in a task definition can be
//! taken over as it is. The types that only describe are read, and written, by `domain::job`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::job;

/// What the main container is given besides, in the shape of ECS's ContainerDefinition. It is merged
/// into what Cronplane sets, and cannot change that.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
pub(in crate::http) struct ExtraContainerDefinition {
    /// CPU units of the task's that are kept for this container.
    #[schema(minimum = 1)]
    cpu: Option<u32>,
    /// MiB; more than that kills the container.
    #[schema(minimum = 6)]
    memory: Option<u32>,
    /// MiB that are kept for the container.
    #[schema(minimum = 6)]
    memory_reservation: Option<u32>,
    port_mappings: Option<Vec<PortMapping>>,
    repository_credentials: Option<RepositoryCredentials>,
    linux_parameters: Option<LinuxParameters>,
    depends_on: Option<Vec<ContainerDependency>>,
    /// Seconds until a container that others depend on counts as failed.
    #[schema(minimum = 2, maximum = 120)]
    start_timeout: Option<u32>,
    user: Option<String>,
    readonly_root_filesystem: Option<bool>,
    interactive: Option<bool>,
    pseudo_terminal: Option<bool>,
    docker_labels: Option<BTreeMap<String, String>>,
    /// `nofile` only.
    #[schema(max_items = 1)]
    ulimits: Option<Vec<Ulimit>>,
    system_controls: Option<Vec<SystemControl>>,
    log_configuration: Option<LogConfiguration>,
}

/// A container beside the main one, in the shape of ECS's ContainerDefinition. It is never essential:
/// the run ends when the main container does, and as it did.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
pub(in crate::http) struct Sidecar {
    /// Not `main`, and unique in the job.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,255}$", example = "proxy")]
    name: String,
    /// A full image reference.
    #[schema(max_length = 255, example = "envoyproxy/envoy:v1.33.0")]
    image: String,
    command: Option<Vec<String>>,
    entry_point: Option<Vec<String>>,
    working_directory: Option<String>,
    environment: Option<Vec<Variable>>,
    secrets: Option<Vec<ContainerSecret>>,
    health_check: Option<ContainerHealthCheck>,
    mount_points: Option<Vec<MountPoint>>,
    restart_policy: Option<RestartPolicy>,
    /// Seconds from the request to stop until the kill.
    #[schema(minimum = 2, maximum = 120)]
    stop_timeout: Option<u32>,
    #[schema(minimum = 1)]
    cpu: Option<u32>,
    #[schema(minimum = 6)]
    memory: Option<u32>,
    #[schema(minimum = 6)]
    memory_reservation: Option<u32>,
    port_mappings: Option<Vec<PortMapping>>,
    repository_credentials: Option<RepositoryCredentials>,
    linux_parameters: Option<LinuxParameters>,
    depends_on: Option<Vec<ContainerDependency>>,
    #[schema(minimum = 2, maximum = 120)]
    start_timeout: Option<u32>,
    user: Option<String>,
    readonly_root_filesystem: Option<bool>,
    interactive: Option<bool>,
    pseudo_terminal: Option<bool>,
    docker_labels: Option<BTreeMap<String, String>>,
    #[schema(max_items = 1)]
    ulimits: Option<Vec<Ulimit>>,
    system_controls: Option<Vec<SystemControl>>,
    log_configuration: Option<LogConfiguration>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct PortMapping {
    #[schema(minimum = 1, maximum = 65535)]
    container_port: u32,
    /// `containerPort`, or left out: the network is the task's own.
    host_port: Option<u32>,
    protocol: Option<TransportProtocol>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
enum TransportProtocol {
    Tcp,
    Udp,
}

/// The secret with which a private registry is logged in to.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct RepositoryCredentials {
    /// ARN of a secret of Secrets Manager.
    credentials_parameter: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct LinuxParameters {
    capabilities: Option<Capabilities>,
    init_process_enabled: Option<bool>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct Capabilities {
    /// `SYS_PTRACE` only.
    add: Option<Vec<String>>,
    drop: Option<Vec<String>>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct ContainerDependency {
    container_name: String,
    condition: DependencyCondition,
}

#[derive(ToSchema)]
#[schema(rename_all = "UPPERCASE")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
enum DependencyCondition {
    Start,
    Complete,
    Success,
    Healthy,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct Ulimit {
    /// `nofile`
    name: String,
    #[schema(minimum = 1, maximum = 1048576)]
    soft_limit: u32,
    #[schema(minimum = 1, maximum = 1048576)]
    hard_limit: u32,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct SystemControl {
    #[schema(example = "net.ipv4.tcp_keepalive_time")]
    namespace: String,
    value: String,
}

/// Options of the `awslogs` driver, besides those that say where the log goes.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct LogConfiguration {
    /// `awslogs`, or left out.
    log_driver: Option<String>,
    /// `awslogs-datetime-format`, `awslogs-multiline-pattern`, `mode`, `max-buffer-size`.
    options: Option<BTreeMap<String, String>>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct Variable {
    name: String,
    value: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct ContainerSecret {
    name: String,
    /// ARN of a secret of Secrets Manager, or of a parameter of Systems Manager.
    value_from: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct ContainerHealthCheck {
    /// `["CMD", ...]` or `["CMD-SHELL", "..."]`.
    command: Vec<String>,
    #[schema(minimum = 5, maximum = 300, default = 30)]
    interval: Option<u32>,
    #[schema(minimum = 2, maximum = 60, default = 5)]
    timeout: Option<u32>,
    #[schema(minimum = 1, maximum = 10, default = 3)]
    retries: Option<u32>,
    #[schema(maximum = 300)]
    start_period: Option<u32>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct MountPoint {
    /// The name of one of the job's `volumes`.
    source_volume: String,
    container_path: String,
    read_only: Option<bool>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the OpenAPI document; domain::job reads and writes it")]
struct RestartPolicy {
    enabled: bool,
    #[schema(max_items = 50)]
    ignored_exit_codes: Option<Vec<u32>>,
    /// Seconds that the container must have run to be started again.
    #[schema(minimum = 60, maximum = 1800)]
    restart_attempt_period: Option<u32>,
}

/// A command that says whether the main container is healthy.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the request in the OpenAPI document; domain::job reads it")]
pub(in crate::http) struct HealthCheckRequest {
    /// `["CMD", program, ...]`, or `["CMD-SHELL", command]`.
    #[schema(example = json!(["CMD-SHELL", "test -f /tmp/ready"]))]
    command: Vec<String>,
    /// From one check to the next.
    #[schema(minimum = 5, maximum = 300, default = 30)]
    interval_seconds: Option<u32>,
    /// What a check may take.
    #[schema(minimum = 2, maximum = 60, default = 5)]
    timeout_seconds: Option<u32>,
    /// Checks in a row that must fail.
    #[schema(minimum = 1, maximum = 10, default = 3)]
    retries: Option<u32>,
    /// From the container's start, in which failures don't count.
    #[schema(maximum = 300)]
    start_period_seconds: Option<u32>,
}

/// A command that says whether the main container is healthy.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct HealthCheck {
    command: Vec<String>,
    interval_seconds: u32,
    timeout_seconds: u32,
    retries: u32,
    #[schema(required)]
    start_period_seconds: Option<u32>,
}

impl HealthCheck {
    pub(in crate::http) fn of(check: job::HealthCheck) -> HealthCheck {
        HealthCheck {
            command: check.command,
            interval_seconds: check.interval,
            timeout_seconds: check.timeout,
            retries: check.retries,
            start_period_seconds: check.start_period,
        }
    }
}

/// An EFS file system, or without `efs`, empty space of the task's own that its containers share.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the request in the OpenAPI document; domain::job reads it")]
pub(in crate::http) struct VolumeRequest {
    /// What a sidecar's `sourceVolume` names.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,255}$", example = "reports")]
    name: String,
    /// Where the main container has it. Left out, only the sidecars that mount it do.
    #[schema(example = "/mnt/reports")]
    mount_path: Option<String>,
    /// Whether the main container may only read it.
    #[schema(default = false)]
    read_only: Option<bool>,
    efs: Option<EfsRequest>,
}

/// A file system of Amazon EFS.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the request in the OpenAPI document; domain::job reads it")]
pub(in crate::http) struct EfsRequest {
    #[schema(example = "fs-0123456789abcdef0")]
    file_system_id: String,
    /// Left out, the file system's root, or the access point's own.
    root_directory: Option<String>,
    #[schema(example = "fsap-0123456789abcdef0")]
    access_point_id: Option<String>,
    #[schema(default = true)]
    transit_encryption: Option<bool>,
    /// Whether the task role is what EFS lets in.
    #[schema(default = false)]
    iam_authorization: Option<bool>,
}

/// An EFS file system, or without `efs`, empty space of the task's own that its containers share.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Volume {
    name: String,
    #[schema(required)]
    mount_path: Option<String>,
    read_only: bool,
    #[schema(required)]
    efs: Option<Efs>,
}

/// A file system of Amazon EFS.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Efs {
    file_system_id: String,
    #[schema(required)]
    root_directory: Option<String>,
    #[schema(required)]
    access_point_id: Option<String>,
    transit_encryption: bool,
    iam_authorization: bool,
}

impl Volume {
    pub(in crate::http) fn of(volume: job::Volume) -> Volume {
        Volume {
            name: volume.name,
            mount_path: volume.mount_path,
            read_only: volume.read_only,
            efs: volume.efs.map(|efs| Efs {
                file_system_id: efs.file_system_id,
                root_directory: efs.root_directory,
                access_point_id: efs.access_point_id,
                transit_encryption: efs.transit_encryption,
                iam_authorization: efs.iam_authorization,
            }),
        }
    }
}
