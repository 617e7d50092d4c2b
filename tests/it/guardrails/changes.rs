//! Every way in which a definition is given, with every place in it that a guardrail is about.

use serde_json::{Value, json};

use super::{
    JOBS, ROLE, THE_JOB, api, assert_only_told, errors, forbidden, items, job, narrowed, send, set,
    team_of, with_job,
};
use crate::cloud::arn;
use crate::job::definition;

const EXECUTION_ROLE: &str = "arn:aws:iam::111122223333:role/app-execution";

/// Guardrails, a change that they forbid, and where.
fn cases() -> Vec<(Value, Value, &'static str)> {
    let parameter = arn("ssm", "parameter/app/token");
    let secret = arn("secretsmanager", "secret:app/db-AbC123");
    let login = json!({"repositoryCredentials": {"credentialsParameter": secret}});
    let sidecar = |key: &str, value: Value| {
        let mut sidecar = json!({"name": "proxy", "image": "busybox:2"});
        sidecar[key] = value;
        json!({"sidecars": [sidecar]})
    };
    let images = json!({"images": ["busybox:*"]});
    let secrets = json!({"secrets": []});
    let network = |network: Value| json!({"network": network});
    vec![
        (images.clone(), json!({"image": "nginx:1"}), "/image"),
        (images.clone(), json!({"image": {"repository": "busybox", "tag": "1"}}), "/image"),
        (images, sidecar("image", json!("nginx:1")), "/sidecars/0/image"),
        (json!({"task_roles": []}), json!({"task_role": ROLE}), "/task_role"),
        (json!({"task_roles": ["*:role/app-x"]}), json!({"task_role": ROLE}), "/task_role"),
        (
            json!({"execution_roles": []}),
            json!({"execution_role": EXECUTION_ROLE}),
            "/execution_role",
        ),
        (json!({"clusters": ["data-*"]}), json!({"cluster": "shared"}), "/cluster"),
        (json!({"subnets": []}), network(json!({"subnets": ["subnet-0c"]})), "/network/subnets/0"),
        (
            json!({"security_groups": []}),
            network(json!({"security_groups": ["sg-0c"]})),
            "/network/security_groups/0",
        ),
        (
            json!({"security_groups": []}),
            network(json!({"security_groups": []})),
            "/network/security_groups",
        ),
        (
            json!({"public_ip": false}),
            network(json!({"subnets": ["subnet-0c"], "assign_public_ip": true})),
            "/network/assign_public_ip",
        ),
        (secrets.clone(), json!({"secrets": {"A": parameter}}), "/secrets/A"),
        (
            secrets.clone(),
            sidecar("secrets", json!([{"name": "A", "valueFrom": parameter}])),
            "/sidecars/0/secrets/0/valueFrom",
        ),
        (
            secrets.clone(),
            json!({"extra_container_definition": login}),
            "/extra_container_definition/repositoryCredentials/credentialsParameter",
        ),
        (
            secrets,
            sidecar("repositoryCredentials", login["repositoryCredentials"].clone()),
            "/sidecars/0/repositoryCredentials/credentialsParameter",
        ),
        (
            json!({"file_systems": ["fs-89abcdef"]}),
            json!({"volumes": [
                {"name": "files", "mount_path": "/files", "efs": {"file_system_id": "fs-01234567"}},
            ]}),
            "/volumes/0/efs/file_system_id",
        ),
        (json!({"max_cpu": 256}), json!({"cpu": 512, "memory": 1024}), "/cpu"),
        (json!({"max_memory": 512}), json!({"memory": 1024}), "/memory"),
        (
            json!({"max_ephemeral_storage_gib": 20}),
            json!({"ephemeral_storage_gib": 21}),
            "/ephemeral_storage_gib",
        ),
        (json!({"min_interval_minutes": 60}), json!({"schedule": "rate(59 minutes)"}), "/schedule"),
        (
            json!({"required_tags": {"owner": "*"}}),
            json!({"tags": {"stage": "test"}}),
            "/tags/owner",
        ),
        (
            json!({"required_tags": {"owner": "team-*"}}),
            json!({"tags": {"owner": "me"}}),
            "/tags/owner",
        ),
    ]
}

/// Whatever way it is asked for, it is refused and nothing is done; and only the guardrail is why.
#[tokio::test]
async fn what_a_guardrail_forbids_comes_in_no_way() {
    let api = with_job().await;
    let other = format!("{JOBS}/other");
    for (limits, change, pointer) in cases() {
        let whole = job("other", &change);
        let mut unnamed = whole.clone();
        unnamed.as_object_mut().unwrap().remove("name");
        let ways = [
            ("POST", JOBS, whole, 201),
            ("PUT", &*other, unnamed.clone(), 201),
            ("PUT", THE_JOB, unnamed, 200),
            ("PATCH", THE_JOB, change.clone(), 200),
        ];
        for (method, path, body, status) in ways {
            let what = format!("{method} {path} {limits} {change}");
            let dry = format!("{path}?dry_run=true");
            set(&api, narrowed(&limits));
            api.cloud.take_calls();
            let before = items(&api);
            for path in [path, &dry] {
                let (refused, problem) = send(&api, method, path, body.clone()).await;
                assert_eq!(refused, 422, "{what}: {problem}");
                assert_eq!(errors(&problem), forbidden(&[pointer]), "{what}");
            }
            if method == "POST" {
                let keyed =
                    api.send_json(method, path, &[("idempotency-key", "k")], body.clone()).await;
                assert_eq!((keyed.status, errors(&keyed.json())), (422, forbidden(&[pointer])));
            }
            assert_only_told(&api, &before);
            set(&api, narrowed(&json!({})));
            let (allowed, foreseen) = send(&api, method, &dry, body).await;
            assert_eq!((allowed, &foreseen["status"]), (200, &json!(status)), "{what}: {foreseen}");
            let compliance = json!({"compliant": true, "violations": []});
            assert_eq!(foreseen["answer"]["status"]["compliance"], compliance, "{what}");
        }
    }
}

/// One answer has what is wrong with the form and what the guardrails forbid; of what is malformed nothing
/// more is said.
#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let api = with_job().await;
    set(&api, narrowed(&json!({"images": [], "max_cpu": 256, "task_roles": [], "clusters": []})));
    let wrong = json!({
        "image": "NGINX", "cpu": 512, "memory": 1025, "task_role": "x", "cluster": "shared",
        "description": "x".repeat(513), "schedule": "cron(0 0 30 2 ? *)", "surplus": 1,
    });
    let mut wanted: Vec<(String, String)> = [
        ("/image", "format"),
        ("/memory", "range"),
        ("/task_role", "format"),
        ("/cluster", "forbidden"),
        ("/description", "range"),
        ("/schedule", "range"),
        ("/surplus", "unknown_field"),
    ]
    .map(|(pointer, code)| (pointer.to_owned(), code.to_owned()))
    .into();
    wanted.sort();
    for (method, path) in
        [("POST", JOBS), ("PUT", THE_JOB), ("PATCH", THE_JOB), ("PATCH", "x?dry_run=true")]
    {
        let path = path.replace('x', THE_JOB);
        let (status, problem) = send(&api, method, &path, job_of(&wrong, method)).await;
        let mut found = errors(&problem);
        found.sort();
        assert_eq!((status, &found), (422, &wanted), "{method} {path}");
    }
    // A name that is not the job's is told with it.
    let renamed = json!({"name": "b", "image": "nginx:1"});
    let (_, problem) = send(&api, "PATCH", THE_JOB, renamed).await;
    let wanted = [("/name", "not_allowed"), ("/image", "forbidden")];
    assert_eq!(errors(&problem), wanted.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

fn job_of(change: &Value, method: &str) -> Value {
    match method {
        "PATCH" => change.clone(),
        "PUT" => {
            let mut value = job("nightly-report", change);
            value.as_object_mut().unwrap().remove("name");
            value
        }
        _ => job("other", change),
    }
}

/// Also what the deployment allows: nothing is granted to a team but by an administrator.
#[tokio::test]
async fn a_new_team_passes_no_role_and_reads_no_secret() {
    let api = api();
    set(&api, team_of(json!({})));
    let wanted = job(
        "other",
        &json!({
            "task_role": ROLE,
            "execution_role": EXECUTION_ROLE,
            "secrets": {"A": arn("ssm", "parameter/app/token")},
            "cluster": "shared",
            "volumes": [{"name": "files", "efs": {"file_system_id": "fs-01234567"}}],
        }),
    );
    let (status, problem) = send(&api, "POST", JOBS, wanted.clone()).await;
    let pointers = [
        "/task_role",
        "/execution_role",
        "/secrets/A",
        "/volumes/0/efs/file_system_id",
        "/cluster",
    ];
    assert_eq!((status, errors(&problem)), (422, forbidden(&pointers)));
    for one in problem["errors"].as_array().unwrap() {
        assert!(
            one["detail"].as_str().unwrap().contains("an administrator has to add it"),
            "{one}"
        );
    }
    // What needs no grant it can do at once.
    assert_eq!(send(&api, "POST", JOBS, definition()).await.0, 201);
    set(&api, narrowed(&json!({})));
    assert_eq!(send(&api, "POST", JOBS, wanted).await.0, 201);
}

/// Guardrails narrow what the deployment allows, and open nothing.
#[tokio::test]
async fn a_grant_does_not_widen_what_the_deployment_allows() {
    let api = with_job().await;
    let admin = "arn:aws:iam::111122223333:role/admin";
    let secret = arn("ssm", "parameter/admin/token");
    set(&api, narrowed(&json!({"task_roles": [admin], "secrets": [secret]})));
    let change = json!({"task_role": admin, "secrets": {"A": secret}});
    let (status, problem) = send(&api, "PATCH", THE_JOB, change).await;
    assert_eq!((status, errors(&problem)), (422, forbidden(&["/secrets/A", "/task_role"])));
    let details = problem["errors"].to_string();
    assert!(details.contains("ReadableSecrets") && details.contains("PassableRoles"), "{details}");
}

#[tokio::test]
async fn a_secret_in_the_environment_is_refused_unless_the_deployment_allows_it() {
    let api = with_job().await;
    let change = json!({"environment": {"DB_PASSWORD": "hunter2"}});
    let key = json!({"sidecars": [{"name": "proxy", "image": "busybox", "environment": [
        {"name": "GREETING", "value": "AKIAIOSFODNN7EXAMPLE"},
    ]}]});
    for (change, pointer) in
        [(&change, "/environment/DB_PASSWORD"), (&key, "/sidecars/0/environment/0/value")]
    {
        for (method, path) in [("POST", JOBS), ("PUT", THE_JOB), ("PATCH", THE_JOB)] {
            let (status, problem) = send(&api, method, path, job_of(change, method)).await;
            assert_eq!((status, errors(&problem)), (422, forbidden(&[pointer])), "{method}");
            let text = problem.to_string();
            assert!(!text.contains("hunter2") && !text.contains("AKIAIOS"), "{text}");
        }
    }
    let empty = json!({"environment": {"DB_PASSWORD": ""}});
    assert_eq!(send(&api, "PATCH", THE_JOB, empty).await.0, 200);
    let mut deployment = crate::cloud::deployment();
    deployment.allow_secret_environment = true;
    let app = api.cloud.app_of(deployment);
    assert!(crate::job::patch(&app, change, crate::job::moment(10)).await.is_ok());
    assert!(crate::job::patch(&app, key, crate::job::moment(20)).await.is_ok());
}
