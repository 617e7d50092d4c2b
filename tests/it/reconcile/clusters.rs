//! A cluster that is neither ACTIVE nor gone.

use cronplane::domain::job::Phase;
use cronplane::error::Error;
use serde_json::json;

use crate::cloud::Cloud;
use crate::job::{
    BASE, create, definition, delete, moment, patch, stored, sweep_for_an_hour, team,
};

fn set_status(cloud: &Cloud, name: &str, status: Option<&'static str>) {
    cloud.state().ecs.clusters.get_mut(name).unwrap().status = status;
}

fn count(cloud: &Cloud, operation: &str) -> usize {
    cloud.take_calls().iter().filter(|call| call.operation == operation).count()
}

#[tokio::test]
async fn a_cluster_that_changes_is_waited_for_by_a_deletion_and_a_failed_one_goes() {
    for (status, passes) in [("PROVISIONING", true), ("DEPROVISIONING", true), ("FAILED", false)] {
        let cloud = Cloud::default();
        let app = cloud.app();
        create(&app, moment(0)).await.unwrap();
        set_status(&cloud, BASE, Some(status));
        let deleting = delete(&app, moment(10)).await.unwrap();
        if passes {
            let reason = deleting.unwrap().job.reason.unwrap();
            assert!(reason.contains(&format!("which is {status}")), "{reason}");
            assert!(!cloud.state().ecs.clusters[BASE].deleted);
            set_status(&cloud, BASE, None);
            assert!(delete(&app, moment(20)).await.unwrap().is_none());
        } else {
            assert!(deleting.is_none());
        }
        assert!(cloud.state().ecs.clusters[BASE].deleted, "{status}");
    }
}

#[tokio::test]
async fn a_cluster_that_is_there_is_not_made_again() {
    for (status, phase) in [
        ("PROVISIONING", Phase::Provisioning),
        ("DEPROVISIONING", Phase::Provisioning),
        ("FAILED", Phase::Failed),
    ] {
        let cloud = Cloud::default();
        let app = cloud.app();
        create(&app, moment(0)).await.unwrap();
        cloud.take_calls();
        set_status(&cloud, BASE, Some(status));
        patch(&app, json!({"tags": {"stage": "test"}}), moment(10)).await.unwrap();
        let job = stored(&app).await.unwrap();
        assert_eq!(job.phase, phase, "{status}");
        assert!(job.reason.unwrap().contains(status));
        assert_eq!(count(&cloud, "ecs:CreateCluster"), 0);
        set_status(&cloud, BASE, None);
        sweep_for_an_hour(&app, 10).await;
        assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
    }
}

#[tokio::test]
async fn a_named_cluster_that_is_being_made_is_there() {
    for (status, is_there) in [("PROVISIONING", true), ("DEPROVISIONING", false), ("FAILED", false)]
    {
        let cloud = Cloud::default();
        let app = cloud.app();
        cloud.state().ecs.clusters.insert("shared".to_owned(), Default::default());
        set_status(&cloud, "shared", Some(status));
        let mut wanted = definition();
        wanted["cluster"] = json!("shared");
        let created = app.job_create(team(), wanted, moment(0)).await;
        if !is_there {
            assert!(matches!(created, Err(Error::Invalid(_))), "{status}: {created:?}");
            continue;
        }
        assert_eq!(created.unwrap().job.phase, Phase::Provisioning);
        set_status(&cloud, "shared", None);
        sweep_for_an_hour(&app, 0).await;
        assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
    }
}

/// The first cluster of an account makes ECS's own role.
#[tokio::test]
async fn a_role_of_ecs_that_is_new_passes() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let message = "Unable to assume the service linked role. Please verify that the ECS service \
                   linked role exists.";
    cloud.fail("ecs:CreateCluster", 1, "InvalidParameterException", message);
    create(&app, moment(0)).await.unwrap();
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
}
