use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::domain::deployment::for_tests;
use crate::domain::team::TeamDefinition;

const ROLE: &str = "arn:aws:iam::111122223333:role/app-report";
const EXECUTION_ROLE: &str = "arn:aws:iam::111122223333:role/app-execution";
const SECRET: &str = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:app/db-AbC123";
const PARAMETER: &str = "arn:aws:ssm:eu-west-1:111122223333:parameter/app/token";

/// Guardrails that let everything through.
fn wide() -> Value {
    json!({
        "task_roles": ["*"], "execution_roles": ["*"], "clusters": ["*"], "secrets": ["*"],
        "file_systems": ["*"],
    })
}

/// Those with these in place of some.
fn guardrails(change: &Value) -> Guardrails {
    let mut wanted = wide();
    json_patch::merge(&mut wanted, change);
    let team = json!({"name": "data", "guardrails": wanted});
    TeamDefinition::read(team, &for_tests()).unwrap().1.guardrails
}

fn definition(change: &Value) -> JobDefinition {
    let mut wanted = json!({"name": "a", "image": "busybox:1", "schedule": "rate(1 day)"});
    json_patch::merge(&mut wanted, change);
    JobDefinition::read(wanted, &for_tests()).unwrap()
}

#[track_caller]
fn pointers(violations: &[Violation]) -> Vec<&str> {
    assert!(violations.iter().all(|one| one.code == Forbidden), "{violations:?}");
    violations.iter().map(|one| one.pointer.as_str()).collect()
}

/// A deployment with a default of everything that can have one.
fn with_defaults() -> Deployment {
    Deployment { default_cluster: Some("shared".to_owned()), ..for_tests() }
}

#[track_caller]
fn found(limits: &Value, change: &Value) -> Vec<String> {
    let violations = guardrails(limits).check(&definition(change), &with_defaults());
    pointers(&violations).into_iter().map(str::to_owned).collect()
}

#[test]
fn each_guardrail_lets_through_what_it_allows_and_refuses_the_rest() {
    let sidecar = |more: Value| {
        let mut sidecar = json!({"name": "proxy", "image": "proxy:1"});
        json_patch::merge(&mut sidecar, &more);
        json!({"sidecars": [sidecar]})
    };
    let login = json!({"repositoryCredentials": {"credentialsParameter": SECRET}});
    let efs = json!({"volumes": [
        {"name": "empty"},
        {"name": "files", "mount_path": "/files", "efs": {"file_system_id": "fs-01234567"}},
    ]});
    let own = json!({"image": {"repository": "app/report", "tag": "1"}});
    let registry = "111122223333.dkr.ecr.eu-west-1.amazonaws.com";
    let network = |network: Value| json!({"network": network});
    // The guardrail; the job; and where the job is refused, if it is.
    let cases: Vec<(Value, Value, &[&str])> = vec![
        (json!({"images": null}), json!({}), &[]),
        (json!({"images": []}), json!({}), &["/image"]),
        (json!({"images": ["busybox:*"]}), json!({}), &[]),
        (json!({"images": ["busybox"]}), json!({}), &["/image"]),
        (json!({"images": [format!("{registry}/app/*")]}), own.clone(), &[]),
        (json!({"images": [format!("{registry}/other/*")]}), own, &["/image"]),
        (json!({"images": ["busybox:*"]}), sidecar(json!({})), &["/sidecars/0/image"]),
        (json!({"images": ["busybox:*", "proxy:1"]}), sidecar(json!({})), &[]),
        (json!({"task_roles": [ROLE]}), json!({"task_role": ROLE}), &[]),
        (json!({"task_roles": []}), json!({"task_role": ROLE}), &["/task_role"]),
        (json!({"task_roles": ["*:role/app-other*"]}), json!({"task_role": ROLE}), &["/task_role"]),
        (json!({"task_roles": []}), json!({}), &[]),
        (
            json!({"execution_roles": ["*-execution"]}),
            json!({"execution_role": EXECUTION_ROLE}),
            &[],
        ),
        // The one list is not the other.
        (
            json!({"execution_roles": []}),
            json!({"task_role": ROLE, "execution_role": EXECUTION_ROLE}),
            &["/execution_role"],
        ),
        (json!({"execution_roles": []}), json!({}), &[]),
        (json!({"secrets": [PARAMETER]}), json!({"secrets": {"A": PARAMETER}}), &[]),
        (json!({"secrets": []}), json!({"secrets": {"a/b": PARAMETER}}), &["/secrets/a~1b"]),
        // A part of a secret is that secret, and what stands behind it opens no other.
        (json!({"secrets": [SECRET]}), json!({"secrets": {"A": format!("{SECRET}:key::")}}), &[]),
        (
            json!({"secrets": ["*:key::"]}),
            json!({"secrets": {"A": format!("{SECRET}:key::")}}),
            &["/secrets/A"],
        ),
        (
            json!({"secrets": [PARAMETER]}),
            sidecar(json!({"secrets": [
                {"name": "A", "valueFrom": PARAMETER}, {"name": "B", "valueFrom": SECRET},
            ]})),
            &["/sidecars/0/secrets/1/valueFrom"],
        ),
        (
            json!({"secrets": []}),
            sidecar(login.clone()),
            &["/sidecars/0/repositoryCredentials/credentialsParameter"],
        ),
        (
            json!({"secrets": []}),
            json!({"extra_container_definition": login}),
            &["/extra_container_definition/repositoryCredentials/credentialsParameter"],
        ),
        (json!({"secrets": ["*:app/*"]}), json!({"extra_container_definition": login}), &[]),
        (json!({"clusters": ["data-*"]}), json!({"cluster": "data-jobs"}), &[]),
        (json!({"clusters": []}), json!({"cluster": "data-jobs"}), &["/cluster"]),
        (json!({"clusters": []}), json!({}), &[]),
        // The default.
        (json!({"clusters": []}), json!({"cluster": "shared"}), &[]),
        (json!({"file_systems": ["fs-01234567"]}), efs.clone(), &[]),
        (json!({"file_systems": []}), efs, &["/volumes/1/efs/file_system_id"]),
        (json!({"subnets": []}), json!({}), &[]),
        (
            json!({"subnets": ["subnet-0b"]}),
            network(json!({"subnets": ["subnet-0a", "subnet-0b", "subnet-0c"]})),
            &["/network/subnets/2"],
        ),
        (json!({"subnets": null}), network(json!({"subnets": ["subnet-0c"]})), &[]),
        (json!({"security_groups": []}), json!({}), &[]),
        (
            json!({"security_groups": ["sg-0b"]}),
            network(json!({"security_groups": ["sg-0a", "sg-0c", "sg-0b"]})),
            &["/network/security_groups/1"],
        ),
        // The default group of the VPC is a group as well.
        (
            json!({"security_groups": ["sg-0b"]}),
            network(json!({"security_groups": []})),
            &["/network/security_groups"],
        ),
        (
            json!({"security_groups": []}),
            network(json!({"subnets": ["subnet-0c"]})),
            &["/network/security_groups"],
        ),
        (
            json!({"public_ip": false}),
            network(json!({"assign_public_ip": true})),
            &["/network/assign_public_ip"],
        ),
        (json!({"public_ip": true}), network(json!({"assign_public_ip": true})), &[]),
        (json!({"public_ip": false}), network(json!({"assign_public_ip": false})), &[]),
        (json!({"max_cpu": 512}), json!({"cpu": 512}), &[]),
        (json!({"max_cpu": 512}), json!({"cpu": 1024}), &["/cpu"]),
        // Chosen for the memory.
        (json!({"max_cpu": 512}), json!({"memory": 8192}), &["/cpu"]),
        (json!({"max_memory": 2048}), json!({"memory": 2048}), &[]),
        (json!({"max_memory": 1024}), json!({"cpu": 1024}), &["/memory"]),
        (json!({"max_ephemeral_storage_gib": 20}), json!({}), &[]),
        (
            json!({"max_ephemeral_storage_gib": 20}),
            json!({"ephemeral_storage_gib": 21}),
            &["/ephemeral_storage_gib"],
        ),
        (json!({"max_ephemeral_storage_gib": 30}), json!({"ephemeral_storage_gib": 30}), &[]),
        (json!({"min_interval_minutes": 60}), json!({"schedule": "rate(1 hour)"}), &[]),
        (
            json!({"min_interval_minutes": 60}),
            json!({"schedule": "rate(59 minutes)"}),
            &["/schedule"],
        ),
        (
            json!({"min_interval_minutes": 60}),
            json!({"schedule": "cron(0,30 4 1 1 ? *)"}),
            &["/schedule"],
        ),
        // Once, ever.
        (
            json!({"min_interval_minutes": 525_600}),
            json!({"schedule": "cron(0 0 1 1 ? 2100)"}),
            &[],
        ),
        (json!({"required_tags": {"a/b": "*"}}), json!({}), &["/tags/a~1b"]),
        (json!({"required_tags": {"a": "x*"}}), json!({"tags": {"a": "y"}}), &["/tags/a"]),
        (json!({"required_tags": {"a": "x*"}}), json!({"tags": {"A": "x"}}), &["/tags/a"]),
        (json!({"required_tags": {"a": "x*"}}), json!({"tags": {"a": "xy", "b": "c"}}), &[]),
        (json!({"required_tags": {"a": ""}}), json!({"tags": {"a": ""}}), &[]),
    ];
    for (limits, change, wanted) in cases {
        assert_eq!(found(&limits, &change), wanted, "{limits} {change}");
    }
}

/// A network that the administrator set complies with whatever he forbids besides; a part of it, with its
/// public address, does not.
#[test]
fn the_default_network_complies_as_it_is() {
    let mut deployment = for_tests();
    deployment.default_network = Network {
        subnets: vec!["subnet-0a".to_owned(), "subnet-0b".to_owned()],
        security_groups: Vec::new(),
        assign_public_ip: true,
    };
    let guardrails = guardrails(&json!({"public_ip": false, "subnets": [], "security_groups": []}));
    let read = |network: Value| {
        let wanted =
            json!({"name": "a", "image": "a", "schedule": "rate(1 day)", "network": network});
        JobDefinition::read(wanted, &deployment).unwrap()
    };
    let found = |network: Value| {
        let violations = guardrails.check(&read(network), &deployment);
        pointers(&violations).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(found(Value::Null), [""; 0]);
    assert_eq!(found(json!({"assign_public_ip": false})), [""; 0]);
    assert_eq!(found(json!({"subnets": ["subnet-0a"], "assign_public_ip": false})), [""; 0]);
    assert_eq!(found(json!({"subnets": ["subnet-0a"]})), ["/network/assign_public_ip"]);
}

#[test]
fn a_cluster_of_cronplanes_own_is_nobodys() {
    let mut wanted = definition(&json!({}));
    let deployment = with_defaults();
    for name in ["cp_other_report", "cp_data_a", "CP_other_report"] {
        wanted.cluster = Some(name.to_owned());
        let violations = guardrails(&json!({})).check(&wanted, &deployment);
        assert_eq!(pointers(&violations), ["/cluster"], "{name}");
        // Neither by default.
        let by_default = Deployment { default_cluster: wanted.cluster.clone(), ..for_tests() };
        let violations = guardrails(&json!({})).check(&wanted, &by_default);
        assert_eq!(pointers(&violations), ["/cluster"], "{name}");
    }
    wanted.cluster = Some("cp-other".to_owned());
    assert_eq!(guardrails(&json!({})).check(&wanted, &deployment), []);
}

#[test]
fn a_new_team_is_granted_nothing_and_told_who_grants() {
    let wanted = definition(&json!({
        "task_role": ROLE,
        "execution_role": EXECUTION_ROLE,
        "cluster": "shared",
        "secrets": {"A": SECRET},
    }));
    let violations = Guardrails::default().check(&wanted, &for_tests());
    assert_eq!(pointers(&violations), ["/task_role", "/execution_role", "/secrets/A", "/cluster"]);
    for (violation, list) in
        violations.iter().zip(["task_roles", "execution_roles", "secrets", "clusters"])
    {
        let who = format!("an administrator has to add it to the team's guardrails `{list}`");
        assert!(violation.detail.ends_with(&who), "{violation}");
        assert!(violation.detail.contains("nothing of this kind is yet"), "{violation}");
    }
    assert_eq!(Guardrails::default().check(&definition(&json!({})), &for_tests()), []);
}

#[test]
fn a_refusal_says_what_is_allowed() {
    let many: Vec<String> = (1..=7).map(|number| format!("app:{number}")).collect();
    let violations =
        guardrails(&json!({"images": many})).check(&definition(&json!({})), &for_tests());
    let detail = &violations[0].detail;
    assert!(detail.starts_with("`busybox:1` is not granted to the team, but `app:1`,"), "{detail}");
    assert!(detail.contains("`app:5` and 2 more: an administrator"), "{detail}");
}

#[test]
fn secrets_in_the_environment_are_refused_wherever_they_stand() {
    let change = json!({
        "environment": {"DB_PASSWORD": "hunter2", "MODE": "full", "API_KEY": ""},
        "sidecars": [{"name": "proxy", "image": "proxy:1", "environment": [
            {"name": "LEVEL", "value": "info"}, {"name": "TOKEN", "value": "hunter2"},
        ]}],
    });
    let violations = guardrails(&json!({})).check(&definition(&change), &for_tests());
    let wanted = ["/environment/DB_PASSWORD", "/sidecars/0/environment/1/value"];
    assert_eq!(pointers(&violations), wanted);
    assert!(violations.iter().all(|one| !one.detail.contains("hunter2")), "{violations:?}");
    assert!(violations.iter().all(|one| one.detail.contains("`secrets`")), "{violations:?}");
    let allowed = Deployment { allow_secret_environment: true, ..for_tests() };
    assert_eq!(guardrails(&json!({})).check(&definition(&change), &allowed), []);
}

#[test]
fn overrides_are_held_to_the_size_that_comes_out() {
    let limits = guardrails(&json!({"max_cpu": 1024, "max_memory": 4096}));
    let job = definition(&json!({"cpu": 2048, "memory": 4096}));
    let refused = |overrides: Value| {
        let told = job.read_overrides(overrides, &limits, &for_tests()).err().unwrap_or_default();
        told.into_iter().map(|one| (one.pointer, one.code.as_str())).collect::<Vec<_>>()
    };
    let forbidden = |pointer: &str| (pointer.to_owned(), "forbidden");
    // The job itself is too large by now: its runs are as its schedule's.
    assert_eq!(refused(json!({})), []);
    assert_eq!(refused(json!({"command": ["true"], "environment": {"MODE": "x"}})), []);
    assert_eq!(refused(json!({"cpu": 1024, "memory": 4096})), []);
    assert_eq!(refused(json!({"cpu": 1024})), []);
    assert_eq!(refused(json!({"memory": 8192})), [forbidden("/cpu"), forbidden("/memory")]);
    assert_eq!(refused(json!({"memory": 4096})), [forbidden("/cpu")]);
    assert_eq!(refused(json!({"environment": {"TOKEN": "x"}})), [forbidden("/environment/TOKEN")]);
    // With what is wrong besides.
    let told = refused(json!({"cpu": 4096, "memory": 8192, "environment": {"TOKEN": "x"}}));
    let wanted = [forbidden("/environment/TOKEN"), forbidden("/cpu"), forbidden("/memory")];
    assert_eq!(told, wanted);
}

/// Each field of a definition with a value that some guardrail refuses, or the reason why none does.
/// Whoever adds a field has to say which.
#[test]
fn no_field_is_forgotten() {
    let not_looked_at = [
        ("name", "is unique in the team, and every AWS name begins with stack and team"),
        ("description", "is text"),
        ("command", "what the container does inside its bounds"),
        ("entry_point", "what the container does inside its bounds"),
        ("working_directory", "inside the container"),
        ("architecture", "costs no more and opens nothing"),
        ("stop_timeout_seconds", "has bounds of its own"),
        ("health_check", "what the container does inside its bounds"),
        ("capacity", "costs less or the same"),
        ("platform_version", "has bounds of its own"),
        ("enable_execute_command", "opens a shell for those whom IAM lets"),
        ("enable_ecs_managed_tags", "adds the cluster's name"),
        ("timezone", "moves the starts, and brings none nearer to another on the clock"),
        ("start_date", "takes starts away"),
        ("end_date", "takes starts away"),
        ("flexible_window_minutes", "moves a start by less than a day"),
        ("spread", "moves all starts alike"),
        ("enabled", "a job that may start may be paused"),
        ("log_retention_days", "has bounds of its own"),
        ("notifications", "subscribers hear of failures and can do nothing"),
    ];
    let looked_at = [
        ("image", json!("busybox:1")),
        ("environment", json!({"TOKEN": "x"})),
        ("secrets", json!({"A": SECRET})),
        ("cpu", json!(1024)),
        ("memory", json!(4096)),
        ("ephemeral_storage_gib", json!(100)),
        ("volumes", json!([{"name": "a", "efs": {"file_system_id": "fs-01234567"}}])),
        (
            "extra_container_definition",
            json!({"repositoryCredentials": {"credentialsParameter": SECRET}}),
        ),
        ("sidecars", json!([{"name": "b", "image": "proxy:1"}])),
        ("network", json!({"subnets": ["subnet-0c"], "assign_public_ip": true})),
        ("cluster", json!("data-jobs")),
        ("task_role", json!(ROLE)),
        ("execution_role", json!(EXECUTION_ROLE)),
        ("schedule", json!("rate(1 minute)")),
        ("tags", json!({"a": "b"})),
    ];
    let strict = Guardrails {
        images: Some(Vec::new()),
        subnets: Some(Vec::new()),
        security_groups: Some(Vec::new()),
        public_ip: false,
        max_cpu: Some(256),
        max_memory: Some(512),
        max_ephemeral_storage_gib: Some(20),
        min_interval_minutes: Some(60),
        required_tags: [("a".to_owned(), "x".to_owned())].into(),
        ..Guardrails::default()
    };
    for (field, value) in &looked_at {
        let wanted = definition(&json!({*field: value}));
        let violations = strict.check(&wanted, &for_tests());
        let below =
            |one: &&str| *one == format!("/{field}") || one.starts_with(&format!("/{field}/"));
        assert!(pointers(&violations).iter().any(below), "{field}: {violations:?}");
    }
    let listed = looked_at.iter().map(|(field, _)| *field);
    let listed: Vec<&str> = listed.chain(not_looked_at.map(|(field, _)| field)).collect();
    let all: BTreeSet<&str> = JobDefinition::field_names(&for_tests()).into_iter().collect();
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), all);
    assert_eq!(listed.len(), all.len(), "a field is in both lists");
}

/// Far more than can be told, and fast: every job of a list is looked at.
#[test]
fn what_is_told_is_bounded() {
    let mut wanted = definition(&json!({}));
    for number in 0..500 {
        wanted.environment.insert(format!("PASSWORD_{number}"), "x".to_owned());
    }
    let violations = Guardrails::default().check(&wanted, &for_tests());
    assert_eq!(violations.len(), VIOLATIONS_MAX);
}
