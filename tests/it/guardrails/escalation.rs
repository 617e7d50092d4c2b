//! Ways to get more than is granted: each one fails.

use serde_json::{Value, json};

use super::{
    JOBS, ROLE, RUNS, THE_JOB, assert_only_told, errors, forbidden, items, job, narrowed, send,
    set, team_of, with_job,
};
use crate::cloud::{Role, Tags, arn};
use crate::http::Api;
use crate::job::ROLE_BASE;

const ADMIN: &str = "arn:aws:iam::111122223333:role/admin";

/// The job with `change` comes in by no way; the codes with which it is refused.
async fn refused(api: &Api, change: &Value) -> Vec<(String, String)> {
    api.cloud.take_calls();
    let before = items(api);
    let (status, problem) = send(api, "PATCH", THE_JOB, change.clone()).await;
    assert_eq!(status, 422, "{change}: {problem}");
    let told = errors(&problem);
    let mut whole = job("other", change);
    let (status, problem) = send(api, "POST", JOBS, whole.clone()).await;
    assert_eq!((status, errors(&problem)), (422, told.clone()), "{change}");
    whole.as_object_mut().unwrap().remove("name");
    let (status, problem) = send(api, "PUT", THE_JOB, whole).await;
    assert_eq!((status, errors(&problem)), (422, told.clone()), "{change}");
    assert_only_told(api, &before);
    told
}

/// A role that is more than the team has: of the administrators, of another path, of another account.
#[tokio::test]
async fn a_role_that_was_not_granted_is_not_passed() {
    let api = with_job().await;
    set(&api, narrowed(&json!({"task_roles": [ROLE], "execution_roles": [ROLE]})));
    for (role, code) in [
        (ADMIN, "forbidden"),
        ("arn:aws:iam::111122223333:role/app-other", "forbidden"),
        ("arn:aws:iam::111122223333:role/app-report2", "forbidden"),
        ("arn:aws:iam::111122223333:role/app-report/x", "forbidden"),
        ("arn:aws:iam::111122223333:role/x/app-report", "forbidden"),
        ("arn:aws:iam::111122223333:role/APP-report", "forbidden"),
        ("arn:aws:iam::999999999999:role/app-report", "format"),
        ("arn:aws:iam::111122223333:role/*", "format"),
        ("arn:aws:iam::111122223333:user/app-report", "format"),
        ("arn:aws:iam::111122223333:role/app-report\n", "format"),
        ("app-report", "format"),
    ] {
        for field in ["task_role", "execution_role"] {
            let told = refused(&api, &json!({field: role})).await;
            assert!(
                told.iter().all(|one| *one == (format!("/{field}"), code.to_owned())),
                "{told:?}"
            );
        }
    }
    // The role that Cronplane made for another job is not one to be named.
    let made = format!("arn:aws:iam::111122223333:role/{ROLE_BASE}_execution");
    assert_eq!(refused(&api, &json!({"task_role": made})).await.len(), 2);
    let (status, _) = send(&api, "PATCH", THE_JOB, json!({"task_role": ROLE})).await;
    assert_eq!(status, 200);
}

/// Neither by another name, nor deeper in the definition.
#[tokio::test]
async fn a_role_comes_in_by_no_other_field() {
    let api = with_job().await;
    for key in [
        "taskRoleArn",
        "task_role_arn",
        "TaskRoleArn",
        "taskRole",
        "executionRoleArn",
        "execution_role_arn",
        "roleArn",
        "overrides",
        "containerDefinitions",
    ] {
        for (change, pointer) in [
            (json!({key: ADMIN}), format!("/{key}")),
            (
                json!({"extra_container_definition": {key: ADMIN}}),
                format!("/extra_container_definition/{key}"),
            ),
            (
                json!({"sidecars": [{"name": "a", "image": "a", key: ADMIN}]}),
                format!("/sidecars/0/{key}"),
            ),
            (
                json!({"extra_container_definition": {"logConfiguration": {key: ADMIN}}}),
                format!("/extra_container_definition/logConfiguration/{key}"),
            ),
        ] {
            let told = refused(&api, &change).await;
            assert_eq!(told, [(pointer, "unknown_field".to_owned())], "{change}");
        }
    }
}

#[tokio::test]
async fn a_run_gets_no_more_than_a_job_may_have() {
    let api = with_job().await;
    set(&api, narrowed(&json!({"max_cpu": 512, "max_memory": 2048})));
    api.cloud.take_calls();
    for (overrides, wanted) in [
        (json!({"cpu": 1024, "memory": 2048}), forbidden(&["/cpu"])),
        (json!({"cpu": 512, "memory": 4096}), forbidden(&["/memory"])),
        (json!({"cpu": 16384, "memory": 122_880}), forbidden(&["/cpu", "/memory"])),
        (json!({"environment": {"API_KEY": "x"}}), forbidden(&["/environment/API_KEY"])),
        (json!({"environment": {"X": "ASIAIOSFODNN7EXAMPLE"}}), forbidden(&["/environment/X"])),
    ] {
        for query in ["", "?dry_run=true"] {
            let (status, problem) =
                send(&api, "POST", &format!("{RUNS}{query}"), overrides.clone()).await;
            assert_eq!((status, errors(&problem)), (422, wanted.clone()), "{overrides}");
        }
        let keyed =
            api.send_json("POST", RUNS, &[("idempotency-key", "k")], overrides.clone()).await;
        assert_eq!((keyed.status, errors(&keyed.json())), (422, wanted), "{overrides}");
    }
    let before = items(&api);
    for key in [
        "task_role",
        "taskRoleArn",
        "execution_role",
        "executionRoleArn",
        "image",
        "secrets",
        "cluster",
        "network",
        "containerOverrides",
        "ephemeral_storage_gib",
    ] {
        let (status, problem) = send(&api, "POST", RUNS, json!({key: ADMIN})).await;
        let wanted = [(format!("/{key}"), "unknown_field".to_owned())];
        assert_eq!((status, &errors(&problem)[..]), (422, &wanted[..]), "{key}");
    }
    assert_only_told(&api, &before);
    assert!(api.cloud.state().ecs.tasks.is_empty());
    let (status, _) = send(&api, "POST", RUNS, json!({"cpu": 512, "memory": 2048})).await;
    assert_eq!(status, 201);
}

/// What another team has: its jobs' clusters, its secrets, and where its logs are.
#[tokio::test]
async fn nothing_of_another_team_is_reached() {
    let api = with_job().await;
    let other = job("report", &json!({}));
    assert_eq!(send(&api, "POST", "/v1/teams/other/jobs", other).await.0, 201);
    let own = "cronplane_other_report";
    assert!(api.cloud.state().ecs.clusters.contains_key(own));
    set(
        &api,
        narrowed(&json!({
            "secrets": [arn("ssm", "parameter/app/platform/*")], "clusters": ["*"],
        })),
    );
    // Not even where every cluster is granted, and not the job's own neither.
    for cluster in [own, "cronplane_platform_nightly-report", "cronplane_x"] {
        let told = refused(&api, &json!({"cluster": cluster})).await;
        assert_eq!(told, forbidden(&["/cluster"]));
    }
    let foreign = arn("ssm", "parameter/app/other/token");
    let near = arn("ssm", "parameter/app/platform");
    for secret in [&foreign, &near] {
        let told = refused(&api, &json!({"secrets": {"A": secret}})).await;
        assert_eq!(told, forbidden(&["/secrets/A"]));
        let sidecar = json!({"sidecars": [
            {"name": "a", "image": "a", "secrets": [{"name": "A", "valueFrom": secret}]},
        ]});
        let told = refused(&api, &sidecar).await;
        assert_eq!(told, forbidden(&["/sidecars/0/secrets/0/valueFrom"]));
    }
    let logs = |at: &str, log: Value| match at {
        "main" => json!({"extra_container_definition": {"logConfiguration": log}}),
        _ => json!({"sidecars": [{"name": "a", "image": "a", "logConfiguration": log}]}),
    };
    for at in ["main", "sidecar"] {
        for log in [
            json!({"options": {"awslogs-group": "/cronplane/cronplane/other/report"}}),
            json!({"options": {"awslogs-region": "eu-west-1"}}),
            json!({"options": {"awslogs-stream-prefix": "run"}}),
            json!({"options": {"awslogs-create-group": "true"}}),
            json!({"options": {"AWSLOGS-GROUP": "/cronplane/cronplane/other/report"}}),
            json!({"options": {"log-group": "x"}}),
            json!({"logDriver": "splunk", "options": {}}),
            json!({"secretOptions": [{"name": "token", "valueFrom": foreign}]}),
        ] {
            let told = refused(&api, &logs(at, log.clone())).await;
            assert!(told.iter().all(|(_, code)| code == "not_allowed"), "{log}: {told:?}");
        }
    }
    // Files of an S3 bucket and what Firelens may do are not containers' to take.
    for key in ["environmentFiles", "firelensConfiguration", "volumesFrom", "credentialSpecs"] {
        let told = refused(&api, &json!({"extra_container_definition": {key: "x"}})).await;
        let pointer = format!("/extra_container_definition/{key}");
        assert_eq!(told, [(pointer, "not_allowed".to_owned())]);
    }
}

/// A team can't give itself a cluster of Cronplane's by default.
#[test]
fn a_default_is_none_of_cronplanes_own() {
    let read = |cluster: &str| {
        let team = json!({"name": "platform", "defaults": {"cluster": cluster}});
        cronplane::domain::team::TeamDefinition::read(team, &crate::cloud::deployment())
    };
    let told = read("cronplane_other_report").unwrap_err();
    assert_eq!((told.len(), told[0].pointer.as_str()), (1, "/defaults/cluster"));
    assert_eq!(told[0].code.as_str(), "forbidden");
    assert!(read("cronplane-shared").is_ok());
}

/// Names of a job's AWS things hold stack and team. What another stack has under the very same name is
/// left alone, and the job says so.
#[tokio::test]
async fn a_job_takes_nothing_over_by_its_name() {
    let api = super::api();
    let name = format!("{ROLE_BASE}_events");
    let tags = Tags::from([
        ("managed-by".to_owned(), "cronplane".to_owned()),
        ("cronplane:stack".to_owned(), "another".to_owned()),
        ("cronplane:team".to_owned(), "platform".to_owned()),
        ("cronplane:job".to_owned(), "nightly-report".to_owned()),
    ]);
    let role = Role { tags, ..Role::default() };
    api.cloud.state().iam.roles.insert(name.clone(), role);
    let before = api.cloud.resources()[&format!("role {name}")].clone();
    let (status, made) = send(&api, "POST", JOBS, crate::job::definition()).await;
    assert_eq!((status, &made["status"]["phase"]), (201, &json!("failed")), "{made}");
    let reason = made["status"]["reason"].as_str().unwrap();
    assert!(reason.contains("was not made by Cronplane"), "{reason}");
    let deleted = api.send_json("DELETE", THE_JOB, &[], json!({})).await;
    assert!([202, 204].contains(&deleted.status), "{}", deleted.text);
    assert_eq!(api.cloud.resources()[&format!("role {name}")], before);
}

/// A reference that begins as what is allowed is not yet allowed.
#[tokio::test]
async fn an_image_that_only_looks_like_an_allowed_one_is_refused() {
    let api = with_job().await;
    let ecr = "111122223333.dkr.ecr.us-west-2.amazonaws.com";
    let digest = format!("sha256:{}", "0f".repeat(32));
    let images = [format!("{ecr}/app/*"), "busybox*".to_owned(), "proxy:1.*".to_owned()];
    set(&api, narrowed(&json!({"images": images})));
    for image in [
        json!(format!("example.com/{ecr}/app/x:1")),
        json!(format!("{ecr}.example.com/app/x:1")),
        json!(format!("{ecr}/application/x:1")),
        json!("busybox.example.com/x:1"),
        json!("docker.io/library/busybox:1"),
        json!(format!("proxy:1.0@{digest}")),
        json!({"repository": "other/x", "tag": "1"}),
    ] {
        let told = refused(&api, &json!({"image": image})).await;
        assert_eq!(told, forbidden(&["/image"]), "{image}");
    }
    for image in [
        json!(format!("{ecr}/app/x@{digest}")),
        json!("proxy:1.0"),
        json!({"repository": "app/x", "tag": "1"}),
    ] {
        let (status, told) = send(&api, "PATCH", THE_JOB, json!({"image": image})).await;
        assert_eq!(status, 200, "{image}: {told}");
    }
}

/// The guardrails are those of the job's own team, whatever another one is granted.
#[tokio::test]
async fn what_one_team_is_granted_is_not_the_others() {
    let api = with_job().await;
    set(&api, team_of(json!({})));
    let wanted = job("a", &json!({"task_role": ROLE}));
    assert_eq!(send(&api, "POST", "/v1/teams/other/jobs", wanted.clone()).await.0, 201);
    let (status, problem) = send(&api, "POST", JOBS, wanted).await;
    assert_eq!((status, errors(&problem)), (422, forbidden(&["/task_role"])));
}
