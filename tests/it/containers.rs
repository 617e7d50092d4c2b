//! What a definition says of the task reaches ECS, and what it may not say is refused.

use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionInput;
use cronplane::domain::job::{JobDefinition, Phase, ResourceKind};
use cronplane::domain::team::Guardrails;
use cronplane::error::Error;
use serde_json::{Value, json};

use crate::cloud::{Cloud, Cluster, arn, deployment};
use crate::job::{BASE, ROLE_BASE, definition, delete, moment, patch, stored, team};

const TASK_ROLE: &str = "arn:aws:iam::111122223333:role/app-report";
const EXECUTION_ROLE: &str = "arn:aws:iam::111122223333:role/app-execution";

fn secret() -> String {
    arn("secretsmanager", "secret:app/db-AbC123")
}

/// A definition that says all that can be said of the task.
pub(crate) fn everything() -> Value {
    let mut wanted = definition();
    let more = json!({
        "working_directory": "/srv/report",
        "task_role": TASK_ROLE,
        "environment": {"MODE": "full"},
        "secrets": {
            "DB_PASSWORD": format!("{}:password::", secret()),
            "TOKEN": arn("ssm", "parameter/app/token"),
        },
        "cpu": 1024,
        "memory": 4096,
        "architecture": "arm64",
        "ephemeral_storage_gib": 100,
        "volumes": [
            {"name": "reports", "mount_path": "/mnt/reports", "read_only": true, "efs": {
                "file_system_id": "fs-0123456789abcdef0",
                "access_point_id": "fsap-0123456789abcdef0",
                "iam_authorization": true,
            }},
            {"name": "plain", "mount_path": "/mnt/plain", "efs": {
                "file_system_id": "fs-01234567", "root_directory": "/a", "transit_encryption": false,
            }},
            {"name": "shared"},
        ],
        "stop_timeout_seconds": 90,
        "health_check": {
            "command": ["CMD-SHELL", "test -f /tmp/ready"],
            "interval_seconds": 10, "timeout_seconds": 3, "retries": 4, "start_period_seconds": 20,
        },
        "extra_container_definition": {
            "cpu": 512,
            "memory": 2048,
            "memoryReservation": 1024,
            "portMappings": [{"containerPort": 8080, "protocol": "tcp"}],
            "repositoryCredentials": {"credentialsParameter": secret()},
            "linuxParameters": {
                "capabilities": {"add": ["SYS_PTRACE"], "drop": ["NET_RAW"]},
                "initProcessEnabled": true,
            },
            "dependsOn": [{"containerName": "proxy", "condition": "HEALTHY"}],
            "startTimeout": 30,
            "user": "1000:1000",
            "readonlyRootFilesystem": true,
            "interactive": false,
            "pseudoTerminal": false,
            "dockerLabels": {"team": "platform"},
            "ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 4096}],
            "systemControls": [{"namespace": "net.core.somaxconn", "value": "1024"}],
            "logConfiguration": {"logDriver": "awslogs", "options": {"mode": "non-blocking"}},
        },
        "sidecars": [{
            "name": "proxy",
            "image": "envoyproxy/envoy:v1.33.0",
            "command": ["--quiet"],
            "entryPoint": ["/envoy"],
            "workingDirectory": "/etc/envoy",
            "environment": [{"name": "LEVEL", "value": "info"}],
            "secrets": [{"name": "KEY", "valueFrom": arn("ssm", "parameter/app/key")}],
            "healthCheck": {"command": ["CMD", "/healthy"], "interval": 5},
            "mountPoints": [{"sourceVolume": "shared", "containerPath": "/shared", "readOnly": false}],
            "restartPolicy": {"enabled": true, "ignoredExitCodes": [0], "restartAttemptPeriod": 60},
            "stopTimeout": 5,
            "cpu": 256,
            "memoryReservation": 128,
        }],
    });
    wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    wanted
}

/// The definition with a merge patch: what is said of it.
fn patched(change: Value) -> Result<JobDefinition, Vec<(String, &'static str)>> {
    let read = |value| JobDefinition::read(value, &deployment());
    let known = read(everything()).unwrap();
    known.patched(&change, &deployment()).map_err(|violations| {
        violations.into_iter().map(|one| (one.pointer, one.code.as_str())).collect()
    })
}

async fn registered(wanted: Value) -> RegisterTaskDefinitionInput {
    let cloud = Cloud::default();
    let view = cloud.app().job_create(team(), wanted, moment(0)).await.unwrap();
    assert_eq!(view.job.phase, Phase::Ready, "{:?}", view.job.reason);
    cloud.state().ecs.task_definitions[0].input.clone()
}

#[tokio::test]
async fn every_field_reaches_the_task_definition() {
    let revision = registered(everything()).await;
    let platform = revision.runtime_platform().unwrap();
    assert_eq!(platform.cpu_architecture().unwrap().as_str(), "ARM64");
    assert_eq!(platform.operating_system_family().unwrap().as_str(), "LINUX");
    assert_eq!(revision.ephemeral_storage().unwrap().size_in_gib(), 100);

    let [reports, plain, shared] = revision.volumes() else { panic!("three volumes") };
    let efs = reports.efs_volume_configuration().unwrap();
    assert_eq!(efs.file_system_id(), "fs-0123456789abcdef0");
    assert_eq!(efs.transit_encryption().unwrap().as_str(), "ENABLED");
    let authorization = efs.authorization_config().unwrap();
    assert_eq!(authorization.access_point_id(), Some("fsap-0123456789abcdef0"));
    assert_eq!(authorization.iam().unwrap().as_str(), "ENABLED");
    assert_eq!((reports.name(), efs.root_directory()), (Some("reports"), None));
    let efs = plain.efs_volume_configuration().unwrap();
    assert_eq!(efs.transit_encryption().unwrap().as_str(), "DISABLED");
    assert_eq!((efs.root_directory(), efs.authorization_config()), (Some("/a"), None));
    assert_eq!((shared.name(), shared.efs_volume_configuration()), (Some("shared"), None));

    let [main, proxy] = revision.container_definitions() else { panic!("two containers") };
    assert_eq!((main.name(), main.essential()), (Some("main"), Some(true)));
    assert_eq!(main.working_directory(), Some("/srv/report"));
    let secrets: Vec<(&str, &str)> =
        main.secrets().iter().map(|one| (one.name(), one.value_from())).collect();
    let (password, token) = (format!("{}:password::", secret()), arn("ssm", "parameter/app/token"));
    assert_eq!(secrets, [("DB_PASSWORD", &*password), ("TOKEN", &*token)]);
    let mounts: Vec<_> = main
        .mount_points()
        .iter()
        .map(|one| (one.source_volume().unwrap(), one.container_path().unwrap(), one.read_only()))
        .collect();
    assert_eq!(
        mounts,
        [("reports", "/mnt/reports", Some(true)), ("plain", "/mnt/plain", Some(false))]
    );
    assert_eq!(main.stop_timeout(), Some(90));
    let check = main.health_check().unwrap();
    assert_eq!(check.command(), ["CMD-SHELL", "test -f /tmp/ready"]);
    assert_eq!((check.interval(), check.timeout()), (Some(10), Some(3)));
    assert_eq!((check.retries(), check.start_period()), (Some(4), Some(20)));
    assert_eq!(
        (main.cpu(), main.memory(), main.memory_reservation()),
        (512, Some(2048), Some(1024))
    );
    let [port] = main.port_mappings() else { panic!("one port") };
    assert_eq!((port.container_port(), port.protocol().unwrap().as_str()), (Some(8080), "tcp"));
    assert_eq!(main.repository_credentials().unwrap().credentials_parameter(), secret());
    let linux = main.linux_parameters().unwrap();
    assert_eq!(linux.init_process_enabled(), Some(true));
    let capabilities = linux.capabilities().unwrap();
    assert_eq!(
        (capabilities.add(), capabilities.drop()),
        (&["SYS_PTRACE".to_owned()][..], &["NET_RAW".to_owned()][..])
    );
    let [dependency] = main.depends_on() else { panic!("one dependency") };
    assert_eq!(
        (dependency.container_name(), dependency.condition().as_str()),
        ("proxy", "HEALTHY")
    );
    assert_eq!((main.start_timeout(), main.user()), (Some(30), Some("1000:1000")));
    assert_eq!(main.readonly_root_filesystem(), Some(true));
    assert_eq!((main.interactive(), main.pseudo_terminal()), (Some(false), Some(false)));
    assert_eq!(main.docker_labels().unwrap()["team"], "platform");
    let [files] = main.ulimits() else { panic!("one limit") };
    assert_eq!(
        (files.name().as_str(), files.soft_limit(), files.hard_limit()),
        ("nofile", 1024, 4096)
    );
    let [control] = main.system_controls() else { panic!("one control") };
    assert_eq!((control.namespace(), control.value()), (Some("net.core.somaxconn"), Some("1024")));

    assert_eq!((proxy.name(), proxy.essential()), (Some("proxy"), Some(false)));
    assert_eq!(proxy.image(), Some("envoyproxy/envoy:v1.33.0"));
    assert_eq!(
        (proxy.command(), proxy.entry_point()),
        (&["--quiet".to_owned()][..], &["/envoy".to_owned()][..])
    );
    assert_eq!((proxy.working_directory(), proxy.stop_timeout()), (Some("/etc/envoy"), Some(5)));
    assert_eq!(proxy.environment()[0].name(), Some("LEVEL"));
    assert_eq!(
        (proxy.secrets()[0].name(), proxy.secrets()[0].value_from()),
        ("KEY", &*arn("ssm", "parameter/app/key"))
    );
    assert_eq!(proxy.health_check().unwrap().interval(), Some(5));
    let [mount] = proxy.mount_points() else { panic!("one mount") };
    assert_eq!((mount.source_volume(), mount.container_path()), (Some("shared"), Some("/shared")));
    let policy = proxy.restart_policy().unwrap();
    assert_eq!(
        (policy.enabled(), policy.ignored_exit_codes(), policy.restart_attempt_period()),
        (true, &[0][..], Some(60))
    );
    assert_eq!((proxy.cpu(), proxy.memory(), proxy.memory_reservation()), (256, None, Some(128)));
}

/// The log's options are merged, and what Cronplane set stands.
#[tokio::test]
async fn the_containers_write_where_the_logs_are_read() {
    let revision = registered(everything()).await;
    let group = "/cronplane/cronplane/platform/nightly-report";
    for (container, mode) in
        revision.container_definitions().iter().zip([Some("non-blocking"), None])
    {
        let log = container.log_configuration().unwrap();
        assert_eq!(log.log_driver().as_str(), "awslogs");
        let options = log.options().unwrap();
        assert_eq!(options["awslogs-group"], group);
        assert_eq!(options["awslogs-region"], "us-west-2");
        assert_eq!(options["awslogs-stream-prefix"], "run");
        assert_eq!(options.get("mode").map(String::as_str), mode);
    }
}

/// A stored definition reads back, and as a request, to the same.
#[test]
fn a_definition_survives_the_table_and_a_patch_of_nothing() {
    let known = JobDefinition::read(everything(), &deployment()).unwrap();
    assert_eq!(patched(json!({})).unwrap(), known);
    let item: std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue> =
        serde_dynamo::to_item(&known).unwrap();
    assert_eq!(serde_dynamo::from_item::<_, JobDefinition>(item).unwrap(), known);
    // One that was stored before these fields were.
    let old = json!({
        "name": "a", "image": "b", "environment": {}, "cpu": 256, "memory": 512,
        "network": {"subnets": ["subnet-0a"], "security_groups": [], "assign_public_ip": true},
        "schedule": "rate(1 day)", "enabled": true, "log_retention_days": 30, "tags": {}, "subscribers": [],
    });
    let old: JobDefinition = serde_json::from_value(old).unwrap();
    let small = json!({"name": "a", "image": "b", "schedule": "rate(1 day)",
        "network": {"subnets": ["subnet-0a"], "security_groups": [], "assign_public_ip": true}});
    assert_eq!(old, JobDefinition::read(small, &deployment()).unwrap());
}

/// A merge patch goes deep into what is added to the main container.
#[test]
fn a_patch_changes_one_thing_of_the_container() {
    let change = json!({"extra_container_definition": {"cpu": null, "linuxParameters": {"initProcessEnabled": false}}});
    let main = patched(change).unwrap().extra_container_definition;
    assert_eq!((main.cpu, main.memory), (None, Some(2048)));
    let linux = main.linux_parameters.unwrap();
    assert_eq!(linux.init_process_enabled, Some(false));
    assert_eq!(linux.capabilities.unwrap().add, ["SYS_PTRACE"]);
}

#[test]
fn what_a_definition_may_not_say_is_refused_where_it_stands() {
    let main = |value: Value| json!({"extra_container_definition": value});
    // A sidecar beside the one that is there, and `main` that waits for nothing.
    let sidecar = |mut value: Value| {
        for (key, given) in [("name", "other"), ("image", "busybox:1")] {
            let object = value.as_object_mut().unwrap();
            object.entry(key).or_insert_with(|| json!(given));
        }
        json!({"sidecars": [value], "extra_container_definition": {"dependsOn": null}})
    };
    let volume = |value: Value| {
        let mut volumes = vec![json!({"name": "shared"})];
        volumes.push(value);
        json!({"volumes": volumes})
    };
    let efs = |mut value: Value| {
        let object = value.as_object_mut().unwrap();
        object.entry("file_system_id").or_insert_with(|| json!("fs-01234567"));
        volume(json!({"name": "x", "efs": value}))
    };
    let shell = json!(["CMD-SHELL", "true"]);
    let foreign = "arn:aws:secretsmanager:us-west-2:999999999999:secret:app/db-AbC123";
    let elsewhere = "arn:aws:ssm:eu-west-1:111122223333:parameter/app/token";
    let not_granted = arn("secretsmanager", "secret:admin/root-AbC123");
    let extra = "/extra_container_definition";
    let mut cases: Vec<(Value, String, &str)> = Vec::new();
    let mut case = |change: Value, pointer: &str, code: &'static str| {
        cases.push((change, pointer.to_owned(), code));
    };
    case(json!({"working_directory": "srv"}), "/working_directory", "format");
    case(json!({"secrets": {"A": "plain"}}), "/secrets/A", "format");
    case(json!({"secrets": {"A": foreign}}), "/secrets/A", "format");
    case(json!({"secrets": {"A": elsewhere}}), "/secrets/A", "format");
    case(json!({"secrets": {"A": not_granted}}), "/secrets/A", "forbidden");
    case(json!({"secrets": {"a=b": secret()}}), "/secrets/a=b", "format");
    case(json!({"secrets": {"MODE": secret()}}), "/secrets/MODE", "duplicate");
    case(
        json!({"secrets": {"SCHEDULED_TIME": secret()}}),
        "/secrets/SCHEDULED_TIME",
        "not_allowed",
    );
    case(json!({"architecture": "ARM64"}), "/architecture", "not_allowed");
    case(json!({"ephemeral_storage_gib": 20}), "/ephemeral_storage_gib", "range");
    case(json!({"ephemeral_storage_gib": 201}), "/ephemeral_storage_gib", "range");
    case(json!({"stop_timeout_seconds": 1}), "/stop_timeout_seconds", "range");
    case(json!({"stop_timeout_seconds": 121}), "/stop_timeout_seconds", "range");
    case(json!({"capacity": "SPOT"}), "/capacity", "not_allowed");
    case(json!({"platform_version": "1.0.0"}), "/platform_version", "not_allowed");
    case(json!({"platform_version": "1.3.0"}), "/platform_version", "not_allowed");
    case(json!({"enable_execute_command": true}), "/enable_execute_command", "not_allowed");
    let shell_wanted = json!({
        "enable_execute_command": true, "task_role": null, "volumes": [{"name": "shared"}],
        "extra_container_definition": {"readonlyRootFilesystem": null},
    });
    case(shell_wanted, "/enable_execute_command", "required");
    case(json!({"task_role": null}), "/volumes/0/efs/iam_authorization", "required");
    case(
        json!({"execution_role": "arn:aws:iam::111122223333:role/admin"}),
        "/execution_role",
        "forbidden",
    );
    case(json!({"execution_role": "app-execution"}), "/execution_role", "format");
    for (key, value) in [
        ("interval_seconds", 4),
        ("interval_seconds", 301),
        ("timeout_seconds", 1),
        ("timeout_seconds", 61),
        ("retries", 0),
        ("retries", 11),
        ("start_period_seconds", 301),
    ] {
        let change = json!({"health_check": {"command": shell, key: value}});
        case(change, &format!("/health_check/{key}"), "range");
    }
    for command in [json!([]), json!(["true"]), json!(["CMD"]), json!(["CMD-SHELL", "a", "b"])] {
        case(json!({"health_check": {"command": command}}), "/health_check/command", "format");
    }
    case(json!({"health_check": {"command": null}}), "/health_check/command", "required");

    case(volume(json!({"name": "a b"})), "/volumes/1/name", "format");
    case(volume(json!({"name": "shared"})), "/volumes/1/name", "duplicate");
    case(volume(json!({"mount_path": "/x"})), "/volumes/1/name", "required");
    case(volume(json!({"name": "x", "mount_path": "x"})), "/volumes/1/mount_path", "format");
    case(
        json!({"volumes": [{"name": "shared", "mount_path": "/x"}, {"name": "b", "mount_path": "/x"}]}),
        "/volumes/1/mount_path",
        "duplicate",
    );
    case(efs(json!({"file_system_id": "vol-1"})), "/volumes/1/efs/file_system_id", "format");
    case(
        efs(json!({"access_point_id": "fs-01234567"})),
        "/volumes/1/efs/access_point_id",
        "format",
    );
    case(
        efs(json!({"access_point_id": "fsap-01234567", "root_directory": "/a"})),
        "/volumes/1/efs/root_directory",
        "not_allowed",
    );
    case(
        efs(json!({"iam_authorization": true, "transit_encryption": false})),
        "/volumes/1/efs/transit_encryption",
        "not_allowed",
    );
    let many: Vec<Value> = (0..21).map(|one| json!({"name": format!("v{one}")})).collect();
    case(
        json!({"volumes": many, "sidecars": [], "extra_container_definition": null}),
        "/volumes",
        "range",
    );

    // What Cronplane sets, or has a field of its own for.
    for key in [
        "name",
        "image",
        "command",
        "entryPoint",
        "workingDirectory",
        "environment",
        "secrets",
        "healthCheck",
        "mountPoints",
        "stopTimeout",
        "restartPolicy",
    ] {
        case(main(json!({key: "x"})), &format!("{extra}/{key}"), "not_allowed");
    }
    for key in [
        "essential",
        "environmentFiles",
        "firelensConfiguration",
        "resourceRequirements",
        "credentialSpecs",
        "volumesFrom",
        "links",
        "hostname",
        "disableNetworking",
        "privileged",
        "dnsServers",
        "dnsSearchDomains",
        "extraHosts",
        "dockerSecurityOptions",
        "versionConsistency",
    ] {
        case(main(json!({key: "x"})), &format!("{extra}/{key}"), "not_allowed");
        case(sidecar(json!({key: "x"})), &format!("/sidecars/0/{key}"), "not_allowed");
    }
    for option in
        ["awslogs-group", "awslogs-region", "awslogs-stream-prefix", "awslogs-create-group", "tag"]
    {
        let change = main(json!({"logConfiguration": {"options": {option: "x"}}}));
        case(change, &format!("{extra}/logConfiguration/options/{option}"), "not_allowed");
    }
    case(
        main(json!({"logConfiguration": {"logDriver": "splunk"}})),
        &format!("{extra}/logConfiguration/logDriver"),
        "not_allowed",
    );
    case(
        main(json!({"logConfiguration": {"options": {"mode": "x"}}})),
        &format!("{extra}/logConfiguration/options/mode"),
        "not_allowed",
    );
    case(
        main(json!({"logConfiguration": {"options": {"max-buffer-size": "1x"}}})),
        &format!("{extra}/logConfiguration/options/max-buffer-size"),
        "format",
    );
    case(main(json!({"cpu": 800})), "/sidecars/0/cpu", "range");
    case(main(json!({"cpu": 0})), &format!("{extra}/cpu"), "range");
    case(main(json!({"memory": 1024})), &format!("{extra}/memory"), "range");
    case(
        main(json!({"memory": 5, "memoryReservation": null})),
        &format!("{extra}/memory"),
        "range",
    );
    case(main(json!({"memory": 4097})), &format!("{extra}/memoryReservation"), "range");
    case(
        main(json!({"memory": null, "memoryReservation": 4000})),
        "/sidecars/0/memoryReservation",
        "range",
    );
    case(
        main(json!({"portMappings": [{"containerPort": 0}]})),
        &format!("{extra}/portMappings/0/containerPort"),
        "range",
    );
    case(
        main(json!({"portMappings": [{"containerPort": 80, "hostPort": 81}]})),
        &format!("{extra}/portMappings/0/hostPort"),
        "not_allowed",
    );
    case(
        main(json!({"portMappings": [{"containerPort": 80, "protocol": "sctp"}]})),
        &format!("{extra}/portMappings/0/protocol"),
        "not_allowed",
    );
    case(
        main(json!({"repositoryCredentials": {"credentialsParameter": not_granted}})),
        &format!("{extra}/repositoryCredentials/credentialsParameter"),
        "forbidden",
    );
    case(
        main(json!({"linuxParameters": {"capabilities": {"add": ["SYS_ADMIN"]}}})),
        &format!("{extra}/linuxParameters/capabilities/add/0"),
        "not_allowed",
    );
    let parameter = arn("ssm", "parameter/app/key");
    for reference in [parameter, format!("{}:key::", secret())] {
        let change = main(json!({"repositoryCredentials": {"credentialsParameter": reference}}));
        let pointer = format!("{extra}/repositoryCredentials/credentialsParameter");
        case(change, &pointer, "format");
    }
    let change = main(json!({"linuxParameters": {"capabilities": {"drop": ["NET_RAWS"]}}}));
    case(change, &format!("{extra}/linuxParameters/capabilities/drop/0"), "not_allowed");
    let options = json!({"mode": "blocking", "max-buffer-size": "1m"});
    let change = main(json!({"logConfiguration": {"options": options}}));
    let pointer = format!("{extra}/logConfiguration/options/max-buffer-size");
    case(change, &pointer, "not_allowed");
    let on_proxy = |condition: &str| json!({"containerName": "proxy", "condition": condition});
    let change = main(json!({"dependsOn": [on_proxy("START"), on_proxy("HEALTHY")]}));
    case(change, &format!("{extra}/dependsOn/1/containerName"), "duplicate");
    case(
        main(json!({"linuxParameters": {"tmpfs": []}})),
        &format!("{extra}/linuxParameters/tmpfs"),
        "not_allowed",
    );
    case(
        main(json!({"dependsOn": [{"containerName": "nobody", "condition": "START"}]})),
        &format!("{extra}/dependsOn/0/containerName"),
        "does_not_exist",
    );
    case(
        main(json!({"dependsOn": [{"containerName": "proxy", "condition": "RUNNING"}]})),
        &format!("{extra}/dependsOn/0/condition"),
        "not_allowed",
    );
    case(
        main(json!({"dependsOn": [{"containerName": "main", "condition": "START"}]})),
        &format!("{extra}/dependsOn/0/containerName"),
        "not_allowed",
    );
    case(main(json!({"startTimeout": 1})), &format!("{extra}/startTimeout"), "range");
    case(main(json!({"user": ""})), &format!("{extra}/user"), "range");
    case(
        main(json!({"ulimits": [{"name": "core", "softLimit": 1, "hardLimit": 1}]})),
        &format!("{extra}/ulimits/0/name"),
        "not_allowed",
    );
    case(
        main(json!({"ulimits": [{"name": "nofile", "softLimit": 2, "hardLimit": 1}]})),
        &format!("{extra}/ulimits/0/softLimit"),
        "range",
    );
    case(
        main(json!({"systemControls": [{"namespace": "kernel.panic", "value": "1"}]})),
        &format!("{extra}/systemControls/0/namespace"),
        "not_allowed",
    );
    case(main(json!({"unheard": 1})), &format!("{extra}/unheard"), "unknown_field");

    case(sidecar(json!({"name": "main"})), "/sidecars/0/name", "not_allowed");
    case(sidecar(json!({"name": "a b"})), "/sidecars/0/name", "format");
    case(sidecar(json!({"image": "A B"})), "/sidecars/0/image", "format");
    case(
        sidecar(json!({"healthCheck": {"command": ["x"]}})),
        "/sidecars/0/healthCheck/command",
        "format",
    );
    case(
        sidecar(json!({"healthCheck": {"command": shell, "interval": 1}})),
        "/sidecars/0/healthCheck/interval",
        "range",
    );
    case(
        sidecar(json!({"mountPoints": [{"sourceVolume": "none", "containerPath": "/x"}]})),
        "/sidecars/0/mountPoints/0/sourceVolume",
        "does_not_exist",
    );
    case(
        sidecar(json!({"mountPoints": [{"sourceVolume": "shared", "containerPath": "x"}]})),
        "/sidecars/0/mountPoints/0/containerPath",
        "format",
    );
    case(
        sidecar(json!({"secrets": [{"name": "A", "valueFrom": not_granted}]})),
        "/sidecars/0/secrets/0/valueFrom",
        "forbidden",
    );
    case(
        sidecar(json!({"environment": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]})),
        "/sidecars/0/environment/1/name",
        "duplicate",
    );
    case(
        sidecar(
            json!({"environment": [{"name": "A", "value": "1"}], "secrets": [{"name": "A", "valueFrom": secret()}]}),
        ),
        "/sidecars/0/secrets/0/name",
        "duplicate",
    );
    case(
        sidecar(json!({"restartPolicy": {"enabled": true, "restartAttemptPeriod": 59}})),
        "/sidecars/0/restartPolicy/restartAttemptPeriod",
        "range",
    );
    case(sidecar(json!({"stopTimeout": 121})), "/sidecars/0/stopTimeout", "range");
    case(
        sidecar(json!({"dependsOn": [{"containerName": "main", "condition": "SUCCESS"}]})),
        "/sidecars/0/dependsOn/0/condition",
        "not_allowed",
    );
    case(
        json!({"sidecars": [{"name": "x", "image": "b"}], "extra_container_definition": {"dependsOn": [{"containerName": "x", "condition": "HEALTHY"}]}}),
        &format!("{extra}/dependsOn/0/condition"),
        "required",
    );
    let nine: Vec<Value> =
        (0..10).map(|one| json!({"name": format!("s{one}"), "image": "b"})).collect();
    case(
        json!({"sidecars": nine, "extra_container_definition": {"dependsOn": null}}),
        "/sidecars",
        "range",
    );
    let twins = json!([{"name": "x", "image": "b"}, {"name": "x", "image": "b"}]);
    case(
        json!({"sidecars": twins, "extra_container_definition": {"dependsOn": null}}),
        "/sidecars/1/name",
        "duplicate",
    );
    let fifo = arn("sqs", "alerts.fifo");
    for (protocol, endpoint) in [
        ("sqs", "alerts"),
        ("sqs", &*fifo),
        ("lambda", "arn:aws:lambda:us-west-2:1:function:x"),
        ("lambda", "arn:aws:sqs:us-west-2:111122223333:x"),
        ("sqs", "arn:aws-cn:sqs:us-west-2:111122223333:x"),
    ] {
        let change = json!({"notifications": {"subscribers": [{"protocol": protocol, "endpoint": endpoint}]}});
        case(change, "/notifications/subscribers/0/endpoint", "format");
    }

    for (change, pointer, code) in cases {
        let told = patched(change.clone()).err();
        assert_eq!(told, Some(vec![(pointer, code)]), "{change}");
    }
}

/// The entry of a list, or of a map, that has this number: its key, and its value.
type Entry = fn(usize) -> (String, Value);

/// The lists and maps that a definition can hold: where each stands, how many entries it may have, and
/// what they are.
fn lists() -> Vec<(String, usize, Entry)> {
    fn text(number: usize) -> (String, Value) {
        (format!("K{number}"), json!(format!("v{number}")))
    }
    fn id(prefix: &str, number: usize) -> (String, Value) {
        (String::new(), json!(format!("{prefix}{number:08}")))
    }
    fn named(object: Value) -> (String, Value) {
        (String::new(), object)
    }
    fn variable(number: usize) -> (String, Value) {
        named(json!({"name": format!("K{number}"), "value": ""}))
    }
    fn reference(number: usize) -> (String, Value) {
        (format!("K{number}"), json!(arn("ssm", "parameter/app/a")))
    }
    fn ulimit(_: usize) -> (String, Value) {
        named(json!({"name": "nofile", "softLimit": 1, "hardLimit": 1}))
    }
    fn other(number: usize) -> (String, Value) {
        named(json!({"containerName": format!("s{number}"), "condition": "START"}))
    }
    fn mount(number: usize) -> (String, Value) {
        named(json!({"sourceVolume": "shared", "containerPath": format!("/m{number}")}))
    }
    fn secret(number: usize) -> (String, Value) {
        let (name, reference) = reference(number);
        named(json!({"name": name, "valueFrom": reference}))
    }
    fn subscriber(number: usize) -> (String, Value) {
        named(json!({"protocol": "email", "endpoint": format!("a{number}@example.com")}))
    }
    fn sidecar(number: usize) -> (String, Value) {
        named(json!({"name": format!("s{number}"), "image": "b"}))
    }
    fn system_control(number: usize) -> (String, Value) {
        named(json!({"namespace": format!("net.a{number}"), "value": "1"}))
    }
    let volume = |number: usize| named(json!({"name": format!("v{number}")}));
    let mut lists: Vec<(String, usize, Entry)> = vec![
        ("/command".to_owned(), 1000, text),
        ("/entry_point".to_owned(), 1000, text),
        ("/environment".to_owned(), 1000, text),
        ("/secrets".to_owned(), 1000, reference),
        ("/volumes".to_owned(), 20, volume),
        ("/health_check/command".to_owned(), 1000, |number| {
            named(json!(if number == 0 { "CMD" } else { "x" }))
        }),
        ("/sidecars".to_owned(), 9, sidecar),
        ("/network/subnets".to_owned(), 16, |number| id("subnet-", number)),
        ("/network/security_groups".to_owned(), 5, |number| id("sg-", number)),
        ("/tags".to_owned(), 45, text),
        ("/notifications/subscribers".to_owned(), 20, subscriber),
        ("/sidecars/0/command".to_owned(), 1000, text),
        ("/sidecars/0/entryPoint".to_owned(), 1000, text),
        ("/sidecars/0/environment".to_owned(), 1000, variable),
        ("/sidecars/0/secrets".to_owned(), 1000, secret),
        ("/sidecars/0/mountPoints".to_owned(), 100, mount),
        ("/sidecars/0/healthCheck/command".to_owned(), 1000, |number| {
            named(json!(if number == 0 { "CMD" } else { "x" }))
        }),
        ("/sidecars/0/restartPolicy/ignoredExitCodes".to_owned(), 50, |number| {
            named(json!(number))
        }),
    ];
    for container in ["/extra_container_definition", "/sidecars/0"] {
        let settings: [(&str, usize, Entry); 7] = [
            ("portMappings", 100, |number| named(json!({"containerPort": number + 1}))),
            ("linuxParameters/capabilities/add", 38, |_| named(json!("SYS_PTRACE"))),
            ("linuxParameters/capabilities/drop", 38, |_| named(json!("NET_RAW"))),
            ("dependsOn", 9, other),
            ("dockerLabels", 1000, text),
            ("ulimits", 1, ulimit),
            ("systemControls", 100, system_control),
        ];
        for (key, max, entry) in settings {
            lists.push((format!("{container}/{key}"), max, entry));
        }
    }
    lists
}

/// A definition in which everything is said that can be, with a list in place of the one at `pointer`.
fn with_list(pointer: &str, count: usize, entry: Entry) -> Value {
    let mut wanted = whole();
    let found = wanted.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}"));
    *found = match found {
        Value::Array(_) => (0..count).map(|number| entry(number).1).collect(),
        _ => (0..count).map(entry).collect(),
    };
    wanted
}

/// As [`everything`], and what that leaves to defaults.
fn whole() -> Value {
    let mut wanted = everything();
    let read = JobDefinition::read(wanted.clone(), &deployment()).unwrap();
    wanted["command"] = json!(["a"]);
    wanted["entry_point"] = json!(["a"]);
    wanted["tags"] = json!({"a": "b"});
    wanted["network"] = read.to_request()["network"].clone();
    // A sidecar has all that the main container can be given.
    let settings = wanted["extra_container_definition"].as_object().unwrap().clone();
    let sidecar = wanted["sidecars"][0].as_object_mut().unwrap();
    for (key, value) in settings {
        sidecar.entry(key).or_insert(value);
    }
    sidecar["dependsOn"] = json!([]);
    wanted
}

/// A list that is as long as it may be is not refused for it, one that is longer by one is.
#[test]
fn every_list_has_a_bound() {
    for (pointer, max, entry) in lists() {
        let refused = |count: usize| -> Vec<(String, &'static str)> {
            let told = JobDefinition::read(with_list(&pointer, count, entry), &deployment());
            let told = told.err().unwrap_or_default().into_iter();
            let told = told.map(|one| (one.pointer, one.code.as_str()));
            told.filter(|(at, _)| *at == pointer).collect()
        };
        assert_eq!(refused(max), [], "{pointer}");
        let code = if pointer.ends_with("/ulimits") { "duplicate" } else { "range" };
        assert_eq!(refused(max + 1), [(pointer.clone(), code)]);
    }
}

/// Walks a definition in which everything is said: a list or a map that is added without a bound fails
/// here.
#[test]
fn every_list_and_map_is_among_those_with_a_bound() {
    fn walk(value: &Value, pointer: &str, found: &mut Vec<(String, bool)>) {
        match value {
            Value::Array(values) => {
                found.push((pointer.to_owned(), true));
                values.iter().take(1).for_each(|one| walk(one, &format!("{pointer}/0"), found));
            }
            Value::Object(fields) => {
                found.push((pointer.to_owned(), false));
                for (key, one) in fields {
                    walk(one, &format!("{pointer}/{key}"), found);
                }
            }
            _ => {}
        }
    }
    let whole = whole();
    let missing = JobDefinition::field_names(&deployment())
        .into_iter()
        .filter(|name| whole.get(name).is_none())
        .collect::<Vec<_>>();
    // None of these is a list.
    let plain = [
        "description",
        "cluster",
        "execution_role",
        "enabled",
        "log_retention_days",
        "timezone",
        "flexible_window_minutes",
        "start_date",
        "end_date",
        "spread",
        "capacity",
        "platform_version",
        "enable_execute_command",
        "enable_ecs_managed_tags",
    ];
    assert_eq!(missing, plain);
    let known: Vec<String> = lists().into_iter().map(|(pointer, ..)| pointer).collect();
    let mut found = Vec::new();
    walk(&whole, "", &mut found);
    let mut lists = 0;
    for (pointer, is_array) in found {
        // An object that takes whatever key is a map.
        let takes_any = || {
            let mut wanted = whole.clone();
            let object = wanted.pointer_mut(&pointer).unwrap().as_object_mut().unwrap();
            object.insert("zz".to_owned(), json!(arn("ssm", "parameter/app/a")));
            let told = JobDefinition::read(wanted, &deployment()).err().unwrap_or_default();
            told.iter().all(|one| one.pointer != format!("{pointer}/zz"))
        };
        if is_array || takes_any() {
            lists += 1;
            assert!(known.contains(&pointer), "{pointer} has no bound");
        }
    }
    assert_eq!(lists, known.len());
}

/// Everything at once, each where it stands, also behind a sidecar that can't be read.
#[test]
fn all_that_is_wrong_is_told() {
    let told = patched(json!({
        "extra_container_definition": {"privileged": true, "dependsOn": null},
        "sidecars": [{"image": "a"}, {"name": "b", "image": "a", "mountPoints": [{"sourceVolume": "none", "containerPath": "/x"}]}],
    }));
    let expected = [
        (format!("/extra_container_definition/{}", "privileged"), "not_allowed"),
        ("/sidecars/0/name".to_owned(), "required"),
        ("/sidecars/1/mountPoints/0/sourceVolume".to_owned(), "does_not_exist"),
    ];
    assert_eq!(told.unwrap_err(), expected);
}

/// Containers that wait for each other never start.
#[test]
fn a_ring_of_dependencies_is_refused() {
    let on = |name: &str| json!([{"containerName": name, "condition": "START"}]);
    let ring = json!({
        "sidecars": [
            {"name": "a", "image": "b", "dependsOn": on("b")},
            {"name": "b", "image": "b", "dependsOn": on("a")},
            {"name": "c", "image": "b", "dependsOn": on("a")},
        ],
        "extra_container_definition": {"dependsOn": on("c")},
    });
    let told = patched(ring).unwrap_err();
    let pointers: Vec<&str> = told.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(
        pointers,
        ["/sidecars/0/dependsOn/0/containerName", "/sidecars/1/dependsOn/0/containerName"]
    );
}

#[tokio::test]
async fn the_execution_role_reads_exactly_the_job_s_secrets() {
    let cloud = Cloud::default();
    cloud.app().job_create(team(), everything(), moment(0)).await.unwrap();
    let state = cloud.state();
    let role = &state.iam.roles[&format!("{ROLE_BASE}_execution")];
    let policy: Value = serde_json::from_str(&role.policies["cronplane"]).unwrap();
    let statements: Vec<&Value> = policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["Sid"] != "WriteLogs")
        .collect();
    // That of the registry is the database's: it stands there once.
    let secrets = json!([secret()]);
    let parameters = json!([arn("ssm", "parameter/app/key"), arn("ssm", "parameter/app/token")]);
    let decrypt = |sid: &str, service: &str, key: &str, arns: &Value| {
        json!({
            "Sid": sid,
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": arn("kms", "key/*"),
            "Condition": {"StringEquals": {
                "kms:ViaService": format!("{service}.us-west-2.amazonaws.com"),
                format!("kms:EncryptionContext:{key}"): arns,
            }},
        })
    };
    let allow = |sid: &str, action: &str, arns: &Value| json!({"Sid": sid, "Effect": "Allow", "Action": action, "Resource": arns});
    let expected = [
        allow("Secrets", "secretsmanager:GetSecretValue", &secrets),
        decrypt("DecryptSecrets", "secretsmanager", "SecretARN", &secrets),
        allow("Parameters", "ssm:GetParameters", &parameters),
        decrypt("DecryptParameters", "ssm", "PARAMETER_ARN", &parameters),
    ];
    assert_eq!(statements, expected.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_named_execution_role_is_used_and_neither_made_nor_taken_away() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let mut wanted = definition();
    wanted["execution_role"] = json!(EXECUTION_ROLE);
    let job = app.job_create(team(), wanted, moment(0)).await.unwrap().job;
    assert_eq!(job.phase, Phase::Ready);
    let own = format!("{ROLE_BASE}_execution");
    assert_eq!(job.resources[&ResourceKind::ExecutionRole].arn.as_deref(), Some(EXECUTION_ROLE));
    assert!(!cloud.state().iam.roles.contains_key(&own));
    let revision = cloud.state().ecs.task_definitions[0].input.clone();
    assert_eq!(revision.execution_role_arn(), Some(EXECUTION_ROLE));
    let passed = |cloud: &Cloud| {
        let state = cloud.state();
        let policy = &state.iam.roles[&format!("{ROLE_BASE}_events")].policies["cronplane"];
        let policy: Value = serde_json::from_str(policy).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        statements.iter().find(|one| one["Sid"] == "PassRoles").unwrap()["Resource"].clone()
    };
    assert_eq!(passed(&cloud), json!([EXECUTION_ROLE]));

    // To one of its own and back: that stays while tasks of it may run, and goes with the job.
    patch(&app, json!({"execution_role": null}), moment(100)).await.unwrap();
    assert!(cloud.state().iam.roles.contains_key(&own));
    // A start that was on its way is started with the other one still.
    let own_arn = format!("arn:aws:iam::111122223333:role/cronplane/{own}");
    assert_eq!(passed(&cloud), json!([own_arn, EXECUTION_ROLE]));
    crate::job::sweep_for_an_hour(&app, 100).await;
    assert_eq!(passed(&cloud), json!([own_arn]));
    patch(&app, json!({"execution_role": EXECUTION_ROLE}), moment(4000)).await.unwrap();
    assert!(cloud.state().iam.roles.contains_key(&own));
    assert_eq!(passed(&cloud), json!([own_arn, EXECUTION_ROLE]));
    crate::job::sweep_for_an_hour(&app, 4000).await;
    assert_eq!(passed(&cloud), json!([EXECUTION_ROLE]));
    assert!(delete(&app, moment(9000)).await.unwrap().is_none());
    assert!(cloud.state().iam.roles.is_empty());
}

#[tokio::test]
async fn spot_is_a_strategy_and_wants_a_cluster_that_has_it() {
    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.state().ecs.clusters.insert("plain".to_owned(), Cluster::default());
    let mut wanted = definition();
    wanted["capacity"] = json!("spot");
    wanted["cluster"] = json!("plain");
    match app.job_create(team(), wanted.clone(), moment(0)).await {
        Err(Error::Invalid(violations)) => assert_eq!(violations[0].pointer, "/capacity"),
        other => panic!("{other:?}"),
    }
    assert!(stored(&app).await.is_none());

    wanted["cluster"] = Value::Null;
    app.job_create(team(), wanted, moment(0)).await.unwrap();
    let target = |cloud: &Cloud| {
        let target = cloud.state().events.rules[BASE].targets["main"].clone();
        target.ecs_parameters().unwrap().clone()
    };
    let ecs = target(&cloud);
    assert_eq!(ecs.launch_type(), None);
    let [item] = ecs.capacity_provider_strategy() else { panic!("one provider") };
    assert_eq!(item.capacity_provider(), "FARGATE_SPOT");
    assert_eq!(cloud.state().ecs.clusters[BASE].capacity_providers, ["FARGATE", "FARGATE_SPOT"]);

    // The cluster that the job is moved to is looked at, and so is that of a job that is moved.
    let moved = patch(&app, json!({"cluster": "plain"}), moment(100)).await;
    assert!(matches!(moved, Err(Error::Invalid(_))), "{moved:?}");
    patch(&app, json!({"capacity": "on_demand", "cluster": "plain"}), moment(200)).await.unwrap();
    let ecs = target(&cloud);
    assert_eq!(ecs.launch_type().unwrap().as_str(), "FARGATE");
    assert!(ecs.capacity_provider_strategy().is_empty());
    let changed = patch(&app, json!({"capacity": "spot_with_fallback"}), moment(300)).await;
    assert!(matches!(changed, Err(Error::Invalid(_))), "{changed:?}");
}

/// Somebody took the providers off the job's own cluster, before the job wanted them.
#[tokio::test]
async fn a_cluster_of_our_own_gets_spot_when_it_is_wanted() {
    let cloud = Cloud::default();
    let app = cloud.app();
    app.job_create(team(), definition(), moment(0)).await.unwrap();
    cloud.state().ecs.clusters.get_mut(BASE).unwrap().capacity_providers.clear();
    cloud.take_calls();
    let job = patch(&app, json!({"capacity": "spot"}), moment(100)).await.unwrap().view.job;
    assert_eq!(job.phase, Phase::Ready);
    assert_eq!(cloud.take_writes(), ["ecs:PutClusterCapacityProviders", "events:PutTargets"]);
    assert_eq!(cloud.state().ecs.clusters[BASE].capacity_providers, ["FARGATE", "FARGATE_SPOT"]);
}

/// A cluster that others made and changed is not ours to change.
#[tokio::test]
async fn a_named_cluster_that_loses_spot_is_told() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let spot =
        Cluster { capacity_providers: vec!["FARGATE_SPOT".to_owned()], ..Cluster::default() };
    cloud.state().ecs.clusters.insert("shared".to_owned(), spot);
    let mut wanted = definition();
    wanted["capacity"] = json!("spot");
    wanted["cluster"] = json!("shared");
    app.job_create(team(), wanted, moment(0)).await.unwrap();
    cloud.state().ecs.clusters.get_mut("shared").unwrap().capacity_providers.clear();
    cloud
        .store()
        .job_lease(&crate::job::key(), "dead", crate::job::at(0), crate::job::at(90))
        .await
        .unwrap();
    app.sweep(moment(100)).await.unwrap();
    let job = stored(&app).await.unwrap();
    assert_eq!(job.phase, Phase::Failed);
    assert!(job.reason.unwrap().contains("FARGATE_SPOT"));
}

#[tokio::test]
async fn a_start_is_as_the_definition_says() {
    let cloud = Cloud::default();
    let mut wanted = definition();
    wanted["task_role"] = json!(TASK_ROLE);
    wanted["enable_execute_command"] = json!(true);
    wanted["enable_ecs_managed_tags"] = json!(true);
    wanted["platform_version"] = json!("1.4.0");
    cloud.app().job_create(team(), wanted, moment(0)).await.unwrap();
    let target = cloud.state().events.rules[BASE].targets["main"].clone();
    let ecs = target.ecs_parameters().unwrap();
    assert!(ecs.enable_execute_command() && ecs.enable_ecs_managed_tags());
    assert_eq!(ecs.platform_version(), Some("1.4.0"));
    // Whose a task is must be told by its tags: what stops it may stop no other.
    assert_eq!(ecs.propagate_tags().unwrap().as_str(), "TASK_DEFINITION");
}

#[tokio::test]
async fn a_queue_and_a_function_are_subscribed() {
    let cloud = Cloud::default();
    let mut wanted = definition();
    let (queue, function) = (arn("sqs", "alerts"), arn("lambda", "function:alert:live"));
    wanted["notifications"] = json!({"subscribers": [
        {"protocol": "sqs", "endpoint": queue}, {"protocol": "lambda", "endpoint": function},
    ]});
    cloud.app().job_create(team(), wanted, moment(0)).await.unwrap();
    let state = cloud.state();
    let topic = state.sns.topics.values().next().unwrap();
    let told: Vec<(&str, &str)> = topic
        .subscriptions
        .iter()
        .map(|(protocol, endpoint, _)| (&**protocol, &**endpoint))
        .collect();
    assert_eq!(told, [("sqs", &*queue), ("lambda", &*function)]);
}

/// The largest set of secrets that is taken makes a policy that IAM takes.
#[tokio::test]
async fn a_role_has_room_for_the_secrets_that_are_taken() {
    let with = |count: usize| {
        let mut wanted = definition();
        // A long name, as every character counts.
        let arn =
            |number: usize| arn("ssm", &format!("parameter/app/{}/{number:03}", "p".repeat(90)));
        let secrets = (0..count).map(|number| (format!("S{number}"), json!(arn(number))));
        wanted["secrets"] = Value::Object(secrets.collect());
        let registry = "111122223333.dkr.ecr.us-west-2.amazonaws.com";
        let images = (0..9).map(|number| json!({"name": format!("c{number}"), "image": format!("{registry}/{}-{number}:1", "r".repeat(180))}));
        wanted["sidecars"] = images.collect();
        wanted
    };
    let read = |count| JobDefinition::read(with(count), &deployment());
    let most = (1..100).take_while(|count| read(*count).is_ok()).last().unwrap();
    assert!(most > 10, "{most}");
    let refused = read(most + 1).unwrap_err();
    assert_eq!((&*refused[0].pointer, refused[0].code.as_str()), ("/secrets", "range"));
    // Whoever names a role says himself what it may.
    let mut named = with(most + 1);
    named["execution_role"] = json!(EXECUTION_ROLE);
    assert!(JobDefinition::read(named, &deployment()).is_ok());

    let cloud = Cloud::default();
    cloud.app().job_create(team(), with(most), moment(0)).await.unwrap();
    let state = cloud.state();
    let policy = &state.iam.roles[&format!("{ROLE_BASE}_execution")].policies["cronplane"];
    assert!(policy.len() <= 10_240, "{}", policy.len());
    assert!(policy.len() > 8_000, "{}", policy.len());
}

/// All that a job wanted before has no room beside what it wants now: that goes first.
#[tokio::test]
async fn secrets_that_are_all_replaced_find_room() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let with = |letter: &str| {
        let arn =
            |number: usize| arn("ssm", &format!("parameter/app/{}/{number:03}", letter.repeat(40)));
        let secrets = (0..30).map(|number| (format!("S{number}"), json!(arn(number))));
        json!({"secrets": Value::Object(secrets.collect())})
    };
    let mut wanted = definition();
    wanted["secrets"] = with("a")["secrets"].clone();
    app.job_create(team(), wanted, moment(0)).await.unwrap();
    let policy = || {
        let state = cloud.state();
        state.iam.roles[&format!("{ROLE_BASE}_execution")].policies["cronplane"].clone()
    };
    assert!(policy().len() > 6_000);
    let job = patch(&app, with("b"), moment(100)).await.unwrap().view.job;
    assert_eq!((job.phase, job.former), (Phase::Ready, Default::default()));
    assert!(policy().len() <= 10_240);
    assert!(policy().contains(&"b".repeat(40)) && !policy().contains(&"a".repeat(40)));
}

/// What AWS can't be rid of is remembered, but not for ever more.
#[tokio::test]
async fn a_job_that_aws_does_not_follow_is_not_changed_without_end() {
    let cloud = Cloud::default();
    let app = cloud.app();
    app.job_create(team(), definition(), moment(0)).await.unwrap();
    cloud.fail("events:PutTargets", 100_000, "ValidationException", "no");
    let mut refused = None;
    for number in 0..20_i64 {
        let urls = (0..20).map(|one| {
            let endpoint = format!("https://x.org/{number}/{one}/{}", "x".repeat(1900));
            json!({"protocol": "https", "endpoint": endpoint})
        });
        let subscribers: Vec<Value> = urls.collect();
        // Another image as well, so that there is a target to be put.
        let change = json!({"image": format!("busybox:{number}"), "notifications": {"subscribers": subscribers}});
        match patch(&app, change, moment(100 + number)).await {
            Ok(_) => {}
            other => {
                refused = Some(other);
                break;
            }
        }
    }
    match refused {
        Some(Err(Error::Conflict(reason))) => {
            assert!(reason.contains("changed too often"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
}

/// What one run asks for has to go with what the job's containers are given.
#[test]
fn overrides_go_with_the_definition() {
    let known = JobDefinition::read(everything(), &deployment()).unwrap();
    let read = |overrides| known.read_overrides(overrides, &Guardrails::default(), &deployment());
    let wrong = |overrides: Value| -> Vec<(String, &'static str)> {
        let told = read(overrides).unwrap_err();
        told.into_iter().map(|one| (one.pointer, one.code.as_str())).collect()
    };
    let secret = json!({"environment": {"TOKEN": "x", "OTHER": "y"}});
    assert_eq!(wrong(secret), [("/environment/TOKEN".to_owned(), "duplicate")]);
    // The containers keep 768 units, and one of them may have 2 GiB.
    let small = json!({"cpu": 256, "memory": 1024});
    assert_eq!(wrong(small), [("/cpu".to_owned(), "range"), ("/memory".to_owned(), "range")]);
    assert!(read(json!({"cpu": 1024, "memory": 2048})).is_ok());
    assert!(read(json!({"environment": {"MODE": "x"}})).is_ok());
}

/// Far more than can be taken is refused as fast as a few: nobody waits for the check of thousands.
#[test]
fn thousands_of_sidecars_are_refused_at_once() {
    let sidecars = (0..2900).map(|number| {
        let on = json!([{"containerName": format!("a{:04}", number + 1), "condition": "START"}]);
        json!({"name": format!("a{number:04}"), "image": "x", "dependsOn": on})
    });
    let mut wanted = definition();
    wanted["sidecars"] = sidecars.collect();
    assert!(wanted.to_string().len() < 256 * 1024);
    let began = std::time::Instant::now();
    let told = JobDefinition::read(wanted, &deployment()).unwrap_err();
    assert!(told.iter().any(|one| one.pointer == "/sidecars"), "{told:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}
