//! Reads containers from the JSON of a request: the bounds of each field, and what is not taken.

use std::collections::{BTreeMap, BTreeSet};

use super::super::bounds::{
    ENTRIES_MAX, SETTINGS_MAX, check_arguments, check_count, check_form, check_printable,
    check_text, check_variable_name, is_image_reference,
};
use super::super::secrets::{check_credentials, check_secret};
use super::{
    Capabilities, ContainerSettings, Dependency, DependencyCondition, HealthCheck, LinuxParameters,
    LogOptions, MountPoint, PortMapping, RepositoryCredentials, RestartPolicy, SIDECARS_MAX,
    Secret, Sidecar, SystemControl, TIMEOUT_SECONDS, TransportProtocol, Ulimit, Variable,
};
use crate::domain::deployment::Deployment;
use crate::domain::fields::Fields;
use crate::domain::task::MAIN_CONTAINER;
use crate::domain::violation::ViolationCode::{Duplicate, Format, NotAllowed, Range};
use crate::domain::violation::pointer_token;

/// "Don't specify less than 6 MiB of memory for your containers."
const MEMORY_MIN: u32 = 6;
/// The kernel's own limit for `nofile` on Fargate hosts.
const OPEN_FILES_MAX: u32 = 1_048_576;

/// What Cronplane sets in the main container, and where a job says it.
const SET_BY_FIELDS: [(&str, &str); 10] = [
    ("name", "the main container's name is `main`"),
    ("image", "set it by `image`"),
    ("command", "set it by `command`"),
    ("entryPoint", "set it by `entry_point`"),
    ("workingDirectory", "set it by `working_directory`"),
    ("environment", "set it by `environment`"),
    ("secrets", "set them by `secrets`"),
    ("healthCheck", "set it by `health_check`"),
    ("mountPoints", "set them by the `mount_path` of `volumes`"),
    ("stopTimeout", "set it by `stop_timeout_seconds`"),
];

/// Of the main container alone.
const NOT_OF_MAIN: [(&str, &str); 1] =
    [("restartPolicy", "the job's run ends when its main container does")];

/// Of every container.
const NOT_TAKEN: [(&str, &str); 15] = [
    (
        "essential",
        "the main container is the only essential one: the run ends when it does, and as it did",
    ),
    ("environmentFiles", "use `environment` and `secrets`"),
    ("firelensConfiguration", "the containers write to CloudWatch Logs, where the runs' logs are"),
    ("resourceRequirements", "Fargate has no GPU and no inference accelerator"),
    ("credentialSpecs", "they are for gMSA accounts, which Cronplane has not"),
    ("volumesFrom", "name the same volume in both containers"),
    ("links", "containers of a Fargate task reach each other on localhost"),
    ("hostname", "Fargate does not take it"),
    ("disableNetworking", "Fargate does not take it"),
    ("privileged", "Fargate does not take it"),
    ("dnsServers", "Fargate does not take it"),
    ("dnsSearchDomains", "Fargate does not take it"),
    ("extraHosts", "Fargate does not take it"),
    ("dockerSecurityOptions", "Fargate does not take it"),
    ("versionConsistency", "an image's digest is resolved as ECS does by default"),
];

/// Reads what a job adds to its main container.
pub(in crate::domain::job) fn read_main(
    fields: &mut Fields<'_>,
    deployment: &Deployment,
) -> ContainerSettings {
    for (key, why) in SET_BY_FIELDS.into_iter().chain(NOT_OF_MAIN) {
        fields.refuse(key, why);
    }
    read_settings(fields, deployment)
}

/// Reads a container beside the main one; `None` if it has no name or no image.
pub(in crate::domain::job) fn read_sidecar(
    fields: &mut Fields<'_>,
    deployment: &Deployment,
) -> Option<Sidecar> {
    let name = fields.string("name");
    let name = fields.required("name", name);
    if let Some(name) = &name {
        check_form(fields, "name", name, 255, is_container_name, "letters, digits, `_` and `-`");
        if name == MAIN_CONTAINER {
            fields.violation("name", NotAllowed, "`main` is the job's own container");
        }
    }
    let image = fields.string("image");
    let image = fields.required("image", image);
    if let Some(image) = &image {
        check_form(fields, "image", image, 255, is_image_reference, "a full image reference");
    }
    let command = read_strings(fields, "command");
    let entry_point = read_strings(fields, "entryPoint");
    let working_directory = fields.string("workingDirectory");
    if let Some(path) = &working_directory {
        check_path(fields, "workingDirectory", path);
    }
    let environment = read_environment(fields);
    let secrets = read_secrets(fields, deployment);
    let named: BTreeSet<&str> = environment.iter().map(|one| one.name.as_str()).collect();
    for (index, secret) in secrets.iter().enumerate() {
        if named.contains(secret.name.as_str()) {
            let at = format!("secrets/{index}/name");
            fields.violation_at(&at, Duplicate, "is a variable of `environment` too");
        }
    }
    let health_check = fields
        .object("healthCheck", |check| read_health_check(check, HealthCheckKeys::ECS))
        .flatten();
    let mount_points: Vec<Option<MountPoint>> = fields
        .objects("mountPoints", |mount| {
            let source_volume = mount.string("sourceVolume");
            let container_path = mount.string("containerPath");
            let read_only = mount.boolean("readOnly");
            if let Some(path) = &container_path {
                check_path(mount, "containerPath", path);
            }
            Some(MountPoint {
                source_volume: mount.required("sourceVolume", source_volume)?,
                container_path: mount.required("containerPath", container_path)?,
                read_only,
            })
        })
        .unwrap_or_default();
    check_count(fields, "mountPoints", mount_points.len(), SETTINGS_MAX, "mount points");
    let restart_policy = fields.object("restartPolicy", read_restart_policy).flatten();
    let stop_timeout = read_in(fields, "stopTimeout", TIMEOUT_SECONDS);
    let settings = read_settings(fields, deployment);
    Some(Sidecar {
        name: name?,
        image: image?,
        command,
        entry_point,
        working_directory,
        environment,
        secrets,
        health_check,
        mount_points: mount_points.into_iter().flatten().collect(),
        restart_policy,
        stop_timeout,
        settings,
    })
}

fn read_settings(fields: &mut Fields<'_>, deployment: &Deployment) -> ContainerSettings {
    for (key, why) in NOT_TAKEN {
        fields.refuse(key, why);
    }
    let memory = read_in(fields, "memory", (MEMORY_MIN, u32::MAX));
    let memory_reservation = read_in(fields, "memoryReservation", (MEMORY_MIN, u32::MAX));
    if let (Some(memory), Some(reservation)) = (memory, memory_reservation)
        && memory <= reservation
    {
        fields.violation("memory", Range, "must be greater than `memoryReservation`");
    }
    let user = fields.string("user");
    if let Some(user) = &user {
        check_text(fields, "user", user, 1, 255);
    }
    ContainerSettings {
        cpu: read_in(fields, "cpu", (1, u32::MAX)),
        memory,
        memory_reservation,
        port_mappings: {
            let ports = fields.objects("portMappings", read_port).unwrap_or_default();
            check_count(fields, "portMappings", ports.len(), SETTINGS_MAX, "ports");
            ports.into_iter().flatten().collect()
        },
        repository_credentials: fields
            .object("repositoryCredentials", |credentials| {
                let secret = credentials.string("credentialsParameter");
                let secret = credentials.required("credentialsParameter", secret)?;
                check_credentials(credentials, "credentialsParameter", &secret, deployment);
                Some(RepositoryCredentials { credentials_parameter: secret })
            })
            .flatten(),
        linux_parameters: fields.object("linuxParameters", read_linux_parameters),
        depends_on: {
            let others = fields.objects("dependsOn", read_dependency).unwrap_or_default();
            check_count(fields, "dependsOn", others.len(), SIDECARS_MAX, "containers");
            others.into_iter().flatten().collect()
        },
        start_timeout: read_in(fields, "startTimeout", TIMEOUT_SECONDS),
        user,
        readonly_root_filesystem: fields.boolean("readonlyRootFilesystem"),
        interactive: fields.boolean("interactive"),
        pseudo_terminal: fields.boolean("pseudoTerminal"),
        docker_labels: read_labels(fields),
        ulimits: read_ulimits(fields),
        system_controls: read_system_controls(fields),
        log_configuration: fields.object("logConfiguration", read_log_options),
    }
}

/// A whole number from `min` to `max`.
pub(in crate::domain) fn read_in(
    fields: &mut Fields<'_>,
    key: &'static str,
    (min, max): (u32, u32),
) -> Option<u32> {
    let number = fields.integer(key)?;
    if (min..=max).contains(&number) {
        return Some(number);
    }
    let detail = if max == u32::MAX {
        format!("must be {min} or more, not {number}")
    } else {
        format!("must be {min} to {max}, not {number}")
    };
    fields.violation(key, Range, detail);
    None
}

fn read_strings(fields: &mut Fields<'_>, key: &'static str) -> Option<Vec<String>> {
    let strings = fields.strings(key)?;
    check_arguments(fields, key, &strings);
    Some(strings)
}

fn read_environment(fields: &mut Fields<'_>) -> Vec<Variable> {
    let mut seen = BTreeSet::new();
    let variables: Vec<Option<Variable>> = fields
        .objects("environment", |one| {
            let name = one.string("name");
            let value = one.string("value");
            let name = one.required("name", name);
            let value = one.required("value", value)?;
            check_printable(one, "value", &value);
            let name = name?;
            check_variable_name(one, "name", &name);
            if !seen.insert(name.clone()) {
                one.violation("name", Duplicate, "is named twice");
            }
            Some(Variable { name, value })
        })
        .unwrap_or_default();
    check_count(fields, "environment", variables.len(), ENTRIES_MAX, "variables");
    variables.into_iter().flatten().collect()
}

fn read_secrets(fields: &mut Fields<'_>, deployment: &Deployment) -> Vec<Secret> {
    let mut seen = BTreeSet::new();
    let secrets: Vec<Option<Secret>> = fields
        .objects("secrets", |one| {
            let name = one.string("name");
            let value_from = one.string("valueFrom");
            let name = one.required("name", name);
            let value_from = one.required("valueFrom", value_from)?;
            check_secret(one, "valueFrom", &value_from, deployment);
            let name = name?;
            check_variable_name(one, "name", &name);
            if !seen.insert(name.clone()) {
                one.violation("name", Duplicate, "is named twice");
            }
            Some(Secret { name, value_from })
        })
        .unwrap_or_default();
    check_count(fields, "secrets", secrets.len(), ENTRIES_MAX, "secrets");
    secrets.into_iter().flatten().collect()
}

fn read_port(port: &mut Fields<'_>) -> Option<PortMapping> {
    let container_port = read_in(port, "containerPort", (1, 65_535));
    let container_port = port.required("containerPort", container_port)?;
    let protocol = port.string("protocol").and_then(|text| match text.as_str() {
        "tcp" => Some(TransportProtocol::Tcp),
        "udp" => Some(TransportProtocol::Udp),
        _ => {
            port.violation("protocol", NotAllowed, "must be `tcp` or `udp`");
            None
        }
    });
    // In an awsvpc network it is the same port, or not given.
    if let Some(host) = port.integer("hostPort")
        && host != container_port
    {
        port.violation("hostPort", NotAllowed, "must be `containerPort`, or left out");
    }
    Some(PortMapping { container_port, protocol })
}

fn read_linux_parameters(parameters: &mut Fields<'_>) -> LinuxParameters {
    for key in ["devices", "sharedMemorySize", "tmpfs", "maxSwap", "swappiness"] {
        parameters.refuse(key, "Fargate does not take it");
    }
    let init_process_enabled = parameters.boolean("initProcessEnabled");
    let capabilities = parameters.object("capabilities", |capabilities| {
        let add = capabilities.strings("add").unwrap_or_default();
        check_count(capabilities, "add", add.len(), CAPABILITIES.len(), "capabilities");
        for (index, one) in add.iter().enumerate() {
            if one != "SYS_PTRACE" {
                let at = format!("add/{index}");
                capabilities.violation_at(&at, NotAllowed, "Fargate adds `SYS_PTRACE` only");
            }
        }
        let drop = capabilities.strings("drop").unwrap_or_default();
        check_count(capabilities, "drop", drop.len(), CAPABILITIES.len(), "capabilities");
        for (index, one) in drop.iter().enumerate() {
            if !CAPABILITIES.contains(&one.as_str()) {
                let at = format!("drop/{index}");
                let detail = "must be a capability of Linux such as `NET_RAW`, or `ALL`";
                capabilities.violation_at(&at, NotAllowed, detail);
            }
        }
        Capabilities { add, drop }
    });
    LinuxParameters { capabilities, init_process_enabled }
}

/// Amazon ECS API Reference, KernelCapabilities, `drop`.
const CAPABILITIES: [&str; 38] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

fn read_dependency(one: &mut Fields<'_>) -> Option<Dependency> {
    let container_name = one.string("containerName");
    let condition = one.string("condition");
    let container_name = one.required("containerName", container_name);
    let condition = one.required("condition", condition)?;
    let known = DependencyCondition::ALL.into_iter().find(|(name, _)| *name == condition);
    if known.is_none() {
        one.violation("condition", NotAllowed, "must be START, COMPLETE, SUCCESS or HEALTHY");
    }
    Some(Dependency { container_name: container_name?, condition: known?.1 })
}

fn read_labels(fields: &mut Fields<'_>) -> BTreeMap<String, String> {
    let labels = fields.string_map("dockerLabels").unwrap_or_default();
    check_count(fields, "dockerLabels", labels.len(), ENTRIES_MAX, "labels");
    for (name, value) in &labels {
        let at = format!("dockerLabels/{}", pointer_token(name));
        check_printable(fields, &at, name);
        check_printable(fields, &at, value);
    }
    labels
}

fn read_ulimits(fields: &mut Fields<'_>) -> Vec<Ulimit> {
    let ulimits: Vec<Option<Ulimit>> = fields
        .objects("ulimits", |one| {
            let name = one.string("name");
            let soft = read_in(one, "softLimit", (1, OPEN_FILES_MAX));
            let hard = read_in(one, "hardLimit", (1, OPEN_FILES_MAX));
            let name = one.required("name", name);
            let soft = one.required("softLimit", soft);
            let hard = one.required("hardLimit", hard);
            let (name, soft_limit, hard_limit) = (name?, soft?, hard?);
            if name != "nofile" {
                one.violation("name", NotAllowed, "Fargate lets only `nofile` be set");
            }
            if soft_limit > hard_limit {
                one.violation("softLimit", Range, "must not be above `hardLimit`");
            }
            Some(Ulimit { name, soft_limit, hard_limit })
        })
        .unwrap_or_default();
    if ulimits.len() > 1 {
        fields.violation("ulimits", Duplicate, "Fargate lets only `nofile` be set, once");
    }
    ulimits.into_iter().flatten().collect()
}

fn read_system_controls(fields: &mut Fields<'_>) -> Vec<SystemControl> {
    let controls: Vec<Option<SystemControl>> = fields
        .objects("systemControls", |one| {
            let namespace = one.string("namespace");
            let value = one.string("value");
            let namespace = one.required("namespace", namespace);
            let value = one.required("value", value)?;
            let namespace = namespace?;
            // Amazon ECS API Reference, SystemControl.
            let good = namespace.starts_with("net.")
                || namespace.starts_with("fs.mqueue.")
                || [
                    "kernel.msgmax",
                    "kernel.msgmnb",
                    "kernel.msgmni",
                    "kernel.sem",
                    "kernel.shmall",
                    "kernel.shmmax",
                    "kernel.shmmni",
                    "kernel.shm_rmid_forced",
                ]
                .contains(&namespace.as_str());
            if !good {
                let detail = "must be one of `net.*`, `fs.mqueue.*` or the kernel's IPC parameters";
                one.violation("namespace", NotAllowed, detail);
            }
            check_printable(one, "value", &value);
            Some(SystemControl { namespace, value })
        })
        .unwrap_or_default();
    check_count(fields, "systemControls", controls.len(), SETTINGS_MAX, "parameters");
    controls.into_iter().flatten().collect()
}

/// What the `awslogs` driver takes besides where the log goes. Source: Amazon ECS API Reference,
/// LogConfiguration, `options`.
fn read_log_options(log: &mut Fields<'_>) -> LogOptions {
    if let Some(driver) = log.string("logDriver")
        && driver != "awslogs"
    {
        log.violation("logDriver", NotAllowed, "is `awslogs`: the runs' logs are read from there");
    }
    log.refuse("secretOptions", "the `awslogs` driver has none");
    let options = log.string_map("options").unwrap_or_default();
    for (name, value) in &options {
        let at = format!("options/{}", pointer_token(name));
        match name.as_str() {
            "awslogs-datetime-format" | "awslogs-multiline-pattern" => {
                check_text(log, &at, value, 1, 1024);
            }
            "mode" if !matches!(value.as_str(), "blocking" | "non-blocking") => {
                log.violation_at(&at, NotAllowed, "must be `blocking` or `non-blocking`");
            }
            "mode" => {}
            "max-buffer-size" => {
                let digits = value.trim_end_matches(['k', 'm', 'g']);
                let good = value.len() <= digits.len() + 1
                    && (1..=9).contains(&digits.len())
                    && digits.bytes().all(|byte| byte.is_ascii_digit());
                if !good {
                    log.violation_at(&at, Format, "must be a size such as `25m`");
                }
            }
            "awslogs-group"
            | "awslogs-region"
            | "awslogs-stream-prefix"
            | "awslogs-create-group" => {
                log.violation_at(&at, NotAllowed, "is set by Cronplane, which reads the log there");
            }
            _ => {
                let detail = "the `awslogs` driver takes awslogs-datetime-format, \
                              awslogs-multiline-pattern, mode and max-buffer-size";
                log.violation_at(&at, NotAllowed, detail);
            }
        }
    }
    if options.contains_key("max-buffer-size")
        && options.get("mode").is_some_and(|mode| mode == "blocking")
    {
        let detail = "is the buffer of the mode `non-blocking`";
        log.violation_at("options/max-buffer-size", NotAllowed, detail);
    }
    if options.contains_key("awslogs-datetime-format")
        && options.contains_key("awslogs-multiline-pattern")
    {
        let detail = "goes not with awslogs-multiline-pattern";
        log.violation_at("options/awslogs-datetime-format", NotAllowed, detail);
    }
    LogOptions { options }
}

fn read_restart_policy(policy: &mut Fields<'_>) -> Option<RestartPolicy> {
    let enabled = policy.boolean("enabled");
    // Amazon ECS API Reference, ContainerRestartPolicy.
    let restart_attempt_period = read_in(policy, "restartAttemptPeriod", (60, 1800));
    let ignored_exit_codes = policy.integers("ignoredExitCodes").unwrap_or_default();
    check_count(policy, "ignoredExitCodes", ignored_exit_codes.len(), 50, "exit codes");
    Some(RestartPolicy {
        enabled: policy.required("enabled", enabled)?,
        ignored_exit_codes,
        restart_attempt_period,
    })
}

/// What the parts of a health check are called.
pub(in crate::domain::job) struct HealthCheckKeys {
    interval: &'static str,
    timeout: &'static str,
    start_period: &'static str,
}

impl HealthCheckKeys {
    /// As ECS has them.
    const ECS: HealthCheckKeys =
        HealthCheckKeys { interval: "interval", timeout: "timeout", start_period: "startPeriod" };
    /// As the fields of a job are named, with the unit.
    pub(in crate::domain::job) const OURS: HealthCheckKeys = HealthCheckKeys {
        interval: "interval_seconds",
        timeout: "timeout_seconds",
        start_period: "start_period_seconds",
    };
}

/// Bounds and defaults: Amazon ECS API Reference, HealthCheck.
pub(in crate::domain::job) fn read_health_check(
    check: &mut Fields<'_>,
    keys: HealthCheckKeys,
) -> Option<HealthCheck> {
    let command = read_strings(check, "command");
    let command = check.required("command", command);
    let interval = read_in(check, keys.interval, (5, 300)).unwrap_or(30);
    let timeout = read_in(check, keys.timeout, (2, 60)).unwrap_or(5);
    let retries = read_in(check, "retries", (1, 10)).unwrap_or(3);
    let start_period = read_in(check, keys.start_period, (0, 300));
    let command = command?;
    let good = match command.first().map(String::as_str) {
        Some("CMD") => command.len() > 1,
        Some("CMD-SHELL") => command.len() == 2,
        _ => false,
    };
    if !good {
        let detail = "must be `[\"CMD\", program, ...]` or `[\"CMD-SHELL\", command]`";
        check.violation("command", Format, detail);
    }
    Some(HealthCheck { command, interval, timeout, retries, start_period })
}

pub(in crate::domain::job) fn check_path(fields: &mut Fields<'_>, key: &str, path: &str) {
    if !path.starts_with('/') || path.len() > 1024 || path.chars().any(char::is_control) {
        fields.violation_at(key, Format, "must be an absolute path of at most 1,024 characters");
    }
}

fn is_container_name(text: &str) -> bool {
    text.bytes().all(|one| one.is_ascii_alphanumeric() || matches!(one, b'-' | b'_'))
}
