//! What a team's jobs get where they name nothing themselves.

use serde_json::{Value, json};

use super::{JOBS, THE_JOB, api, errors, forbidden, job, send, set, team_of, with_job};

/// Nothing is granted but what stands here.
fn defaults() -> Value {
    json!({
        "defaults": {
            "network": {
                "subnets": ["subnet-0c"], "security_groups": ["sg-0c"], "assign_public_ip": true,
            },
            "cluster": "shared",
            "notifications": {
                "subscribers": [{"protocol": "email", "endpoint": "team@example.com"}],
            },
        },
        "guardrails": {"subnets": [], "security_groups": [], "public_ip": false},
    })
}

#[tokio::test]
async fn a_job_that_names_nothing_gets_its_teams_and_complies() {
    let api = api();
    set(&api, team_of(defaults()));
    let null = json!({"cluster": null, "network": null, "notifications": null});
    for (name, change) in [("a", json!({})), ("b", null), ("c", json!({"notifications": {}}))] {
        let (status, made) = send(&api, "POST", JOBS, job(name, &change)).await;
        assert_eq!(status, 201, "{made}");
        assert_eq!(made["cluster"], "shared");
        let network = json!({
            "subnets": ["subnet-0c"], "security_groups": ["sg-0c"], "assign_public_ip": true,
        });
        assert_eq!(made["network"], network);
        let subscribers = &made["notifications"]["subscribers"];
        assert_eq!(*subscribers, json!([{"protocol": "email", "endpoint": "team@example.com"}]));
        assert_eq!(made["status"]["compliance"]["compliant"], true);
        assert_eq!(made["status"]["phase"], "ready", "{made}");
    }
    // None is none.
    let none = json!({"notifications": {"subscribers": []}});
    let (_, made) = send(&api, "POST", JOBS, job("d", &none)).await;
    assert_eq!(made["notifications"]["subscribers"], json!([]));
    // Neither is the other network's part of it granted.
    let change = json!({"network": {"subnets": ["subnet-0a"]}});
    let (status, problem) = send(&api, "PATCH", &format!("{JOBS}/a"), change).await;
    let pointers = ["/network/subnets/0", "/network/assign_public_ip"];
    assert_eq!((status, errors(&problem)), (422, forbidden(&pointers)));
    // The address alone is not the network that is granted with it.
    let change = json!({"network": {"security_groups": []}});
    let (status, problem) = send(&api, "PATCH", &format!("{JOBS}/a"), change).await;
    let pointers = ["/network/security_groups", "/network/assign_public_ip"];
    assert_eq!((status, errors(&problem)), (422, forbidden(&pointers)));
}

/// A patch that says nothing of the cluster leaves a job in its own, whatever the team's has become since.
#[tokio::test]
async fn a_change_of_the_defaults_moves_no_job() {
    let api = with_job().await;
    let mut team = defaults();
    team["guardrails"] = json!({});
    set(&api, team_of(team));
    let (status, patched) = send(&api, "PATCH", THE_JOB, json!({"description": "x"})).await;
    assert_eq!((status, &patched["cluster"]), (200, &Value::Null), "{patched}");
    assert_eq!(patched["network"]["subnets"], json!(["subnet-0a", "subnet-0b"]));
    let subscribers = &patched["notifications"]["subscribers"];
    assert_eq!(*subscribers, json!([{"protocol": "email", "endpoint": "ops@example.com"}]));
    // Asked for, it moves.
    let (status, patched) = send(&api, "PATCH", THE_JOB, json!({"cluster": null})).await;
    assert_eq!((status, &patched["cluster"]), (200, &json!("shared")), "{patched}");
}

/// A default that is not there is told as one that the job names would be.
#[tokio::test]
async fn a_default_cluster_must_be_there() {
    let api = api();
    let mut team = defaults();
    team["defaults"]["cluster"] = json!("nowhere");
    set(&api, team_of(team));
    let (status, problem) = send(&api, "POST", JOBS, job("a", &json!({}))).await;
    assert_eq!(status, 422, "{problem}");
    assert_eq!(errors(&problem), [("/cluster".to_owned(), "does_not_exist".to_owned())]);
}
