//! The examples are jobs as they stand there, but for the account and the region.

use std::fs;
use std::path::Path;

use cronplane::domain::job::Phase;
use serde_json::Value;

use crate::cloud::{ACCOUNT, Cloud, Cluster, REGION, arn, deployment};
use crate::job::{moment, team};

#[tokio::test]
async fn every_example_becomes_a_job_that_is_ready() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("111122223333", ACCOUNT).replace("eu-west-1", REGION);
        let wanted: Value = serde_json::from_str(&text).unwrap();

        let mut deployment = deployment();
        deployment.passable_roles = vec![format!("arn:aws:iam::{ACCOUNT}:role/jobs/*")];
        deployment.readable_secrets =
            vec![arn("secretsmanager", "secret:reports/*"), arn("ssm", "parameter/reports/*")];
        let cloud = Cloud::default();
        if let Some(cluster) = wanted["cluster"].as_str() {
            cloud.state().ecs.clusters.insert(cluster.to_owned(), Cluster::default());
        }
        let app = cloud.app_of(deployment);
        let job = app.job_create(team(), wanted, moment(0)).await.unwrap().job;
        assert_eq!((job.phase, job.reason), (Phase::Ready, None), "{path:?}");
        names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    // One for each kind of use.
    for kind in [
        "hello",
        "detect-terraform-drift",
        "spot-batch",
        "arm-report",
        "sidecar",
        "efs-archive",
        "morning-report",
    ] {
        assert!(names.iter().any(|name| name == kind), "{kind}");
    }
}
