//! AWS's quotas: what is used of them is told, and a job that would be the one too many is refused before
//! anything of it is made.

use std::collections::BTreeSet;
use std::time::Instant;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::shared::IntoShared as _;
use cronplane::app::{App, Change, KeyedRequest, Precondition};
use cronplane::domain::deployment::Deployment;
use cronplane::domain::ids::{JobKey, JobName};
use cronplane::domain::job::JobDefinition;
use cronplane::domain::quota::{LimitSource, Needs, Quota, Usage};
use cronplane::domain::schedule::EngineChoice;
use cronplane::domain::violation::{Violation, ViolationCode};
use cronplane::error::{Error, Result};
use cronplane::provision::{Clients, Provisioner, needs};
use serde_json::{Value, json};

use crate::audit::{author, entries};
use crate::cloud::{Cloud, Cluster, REGION, Role, Rule, arn, deployment};
use crate::http::Api;
use crate::job::{create, definition, delete, job_of, key, moment, stored, team};
use crate::logged::Logged;

const RULES: (&str, &str) = ("events", "L-244521F2");
const CLUSTERS: (&str, &str) = ("ecs", "L-21C621EB");
const LOOKS: [&str; 4] = [
    "events:ListRules",
    "iam:GetAccountSummary",
    "ecs:ListClusters",
    "servicequotas:GetServiceQuota",
];

/// Somebody else's, so many of each.
fn foreign(cloud: &Cloud, rules: usize, roles: usize, clusters: usize) {
    let mut state = cloud.state();
    for number in 0..rules {
        state.events.rules.insert(format!("foreign-{number:04}"), Rule::default());
    }
    for number in 0..roles {
        state.iam.roles.insert(format!("foreign-{number:04}"), Role::default());
    }
    for number in 0..clusters {
        state.ecs.clusters.insert(format!("foreign-{number:04}"), Cluster::default());
    }
}

/// The smallest job of this name, with these fields besides.
fn named(name: &str, fields: &Value) -> Value {
    let mut wanted = json!({"name": name, "image": "busybox:1", "schedule": "rate(1 day)"});
    wanted.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    wanted
}

async fn post(app: &App, definition: Value, seconds: i64) -> Result<()> {
    app.job_create(team(), definition, moment(seconds)).await.map(drop)
}

/// What a job was refused for.
#[track_caller]
fn refused(answer: Result<()>) -> Vec<Violation> {
    match answer {
        Err(Error::Invalid(violations)) => {
            for one in &violations {
                assert_eq!((&*one.pointer, one.code), ("", ViolationCode::Forbidden), "{one}");
            }
            violations
        }
        other => panic!("{other:?}"),
    }
}

/// How often AWS was asked what is used, since the last time that this was asked.
fn looks(cloud: &Cloud) -> usize {
    cloud.take_calls().iter().filter(|call| LOOKS.contains(&call.operation)).count()
}

fn need(rules: u32, roles: u32, clusters: u32) -> Needs {
    let all = [(Quota::Rules, rules), (Quota::Roles, roles), (Quota::Clusters, clusters)];
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_job_needs_what_is_made_for_it() {
    let role = "arn:aws:iam::111122223333:role/app-execution";
    for (fields, wanted) in [
        (json!({}), need(2, 2, 1)),
        (json!({"capacity": "spot_with_fallback"}), need(2, 2, 1)),
        (json!({"enabled": false}), need(2, 2, 1)),
        (json!({"cluster": "shared"}), need(2, 2, 0)),
        (json!({"execution_role": role}), need(2, 1, 1)),
        (json!({"execution_role": role, "cluster": "shared"}), need(2, 1, 0)),
    ] {
        let mut job = job_of("nightly-report");
        let definition = named("nightly-report", &fields);
        job.definition = JobDefinition::read(definition, &deployment()).unwrap();
        assert_eq!(needs(&job, &deployment()), wanted, "{fields}");
        let is_ordinary = fields == json!({});
        let ordinary: Needs = Quota::ALL
            .map(|quota| (quota, quota.per_job(EngineChoice::ByNeed)))
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert!(!is_ordinary || wanted == ordinary, "{ordinary:?}");
    }
}

/// With the engine `scheduler` jobs take what there is enough of; one with secrets has its own roles.
#[tokio::test]
async fn where_scheduler_carries_every_job_there_is_room_for_many() {
    let shared = Deployment { engine: EngineChoice::Scheduler, ..deployment() };
    let secret = json!({"secrets": {"TOKEN": arn("ssm", "parameter/app/token")}});
    for (fields, wanted) in [
        (json!({}), need(0, 0, 1)),
        (json!({"cluster": "shared"}), need(0, 0, 0)),
        (json!({"timezone": "Europe/Berlin"}), need(0, 0, 1)),
        (secret, need(0, 2, 1)),
    ] {
        let mut job = job_of("nightly-report");
        let definition = named("nightly-report", &fields);
        job.definition = JobDefinition::read(definition, &shared).unwrap();
        assert_eq!(needs(&job, &shared), wanted, "{fields}");
    }
    // A job that Scheduler carries by need takes one rule.
    let mut job = job_of("nightly-report");
    let definition = named("nightly-report", &json!({"timezone": "Europe/Berlin"}));
    job.definition = JobDefinition::read(definition, &deployment()).unwrap();
    assert_eq!(needs(&job, &deployment()), need(1, 2, 1));

    let cloud = Cloud::default();
    foreign(&cloud, 300, 1000, 0);
    cloud.state().scheduler.foreign = 150;
    let app = cloud.app_of(shared);
    for number in 0..3 {
        let definition = named(&format!("job-{number}"), &json!({}));
        app.job_create(team(), definition, moment(0)).await.unwrap();
    }
    let report = app.quota_report(moment(1)).await.unwrap();
    assert_eq!((report.limiting(), report.jobs), (Some((Quota::Clusters, 9_997)), 3));
    let usage = |quota| {
        let one = report.quotas.iter().find(|one| one.quota == quota).unwrap();
        let usage = one.usage.clone().unwrap();
        (usage.used, usage.used_by_jobs, one.jobs_left(report.engine))
    };
    assert_eq!(usage(Quota::Schedules), (153, Some(3), Some(9_999_847)));
    assert_eq!(usage(Quota::Rules), (300, Some(0), None));
}

/// That many are made, by what is there afterwards.
#[tokio::test]
async fn what_a_job_needs_is_what_comes_to_be() {
    let cloud = Cloud::default();
    cloud.state().ecs.clusters.insert("shared".to_owned(), Cluster::default());
    let app = cloud.app();
    let role = "arn:aws:iam::111122223333:role/app-execution";
    for fields in [json!({}), json!({"cluster": "shared"}), json!({"execution_role": role})] {
        let count = || {
            let state = cloud.state();
            [state.events.rules.len(), state.iam.roles.len(), state.ecs.clusters.len()]
        };
        let before = count();
        let name = format!("job-{}", before[0]);
        post(&app, named(&name, &fields), 0).await.unwrap();
        let key = JobKey::new(team(), JobName::parse(&name).unwrap());
        let job = app.store.job_get(&key).await.unwrap().unwrap();
        let needs = needs(&job, &deployment());
        let after = count();
        for (index, quota) in [Quota::Rules, Quota::Roles, Quota::Clusters].into_iter().enumerate()
        {
            let made = u32::try_from(after[index] - before[index]).unwrap();
            assert_eq!(made, needs.get(&quota).copied().unwrap_or_default(), "{fields} {quota:?}");
        }
    }
}

#[tokio::test]
async fn a_job_that_would_be_one_too_many_is_told_so_before_anything_is_made() {
    // Rules, roles, clusters of others; how many there can be; and what is full.
    let role = json!({"execution_role": "arn:aws:iam::111122223333:role/app-execution"});
    let shared = json!({"cluster": "foreign-0000"});
    for (fields, [rules, roles, clusters], full) in [
        (json!({}), [298, 998, 29], &[][..]),
        (json!({}), [299, 0, 0], &[Quota::Rules]),
        (json!({}), [300, 0, 0], &[Quota::Rules]),
        (json!({}), [0, 999, 0], &[Quota::Roles]),
        (role.clone(), [0, 999, 0], &[]),
        (role, [0, 1000, 0], &[Quota::Roles]),
        (json!({}), [0, 0, 30], &[Quota::Clusters]),
        (shared, [0, 0, 30], &[]),
        (json!({}), [299, 999, 30], &[Quota::Rules, Quota::Roles, Quota::Clusters]),
    ] {
        let what = format!("{fields} {rules} {roles} {clusters}");
        let cloud = Cloud::default();
        foreign(&cloud, rules, roles, clusters);
        cloud.state().quotas.applied.insert(CLUSTERS, 30.0);
        let app = cloud.app().on_behalf_of(author("create_job"));
        let wanted = named("hello", &fields);
        let before = cloud.resources().into_keys().collect::<BTreeSet<_>>();
        let key = JobKey::new(team(), JobName::parse("hello").unwrap());
        let replace = Change::Replace(wanted.clone());
        let request = KeyedRequest::new(&team(), "key", "POST", "/jobs", &wanted);
        let precondition = Precondition::None;
        // Whatever is answered to a dry run is answered to the request.
        let dry = app.job_create_dry(team(), wanted.clone(), moment(0)).await.map(drop);
        let put_dry = app.job_change_dry(&key, &replace, &precondition, moment(0)).await.map(drop);
        if full.is_empty() {
            dry.unwrap();
            put_dry.unwrap();
            post(&app, wanted, 0).await.unwrap();
            continue;
        }
        let put = app.job_change(&key, replace, &precondition, moment(0)).await.map(drop);
        let keyed = app.job_create_keyed(team(), wanted.clone(), &request, moment(0)).await;
        for answer in [dry, put_dry, put, keyed.map(drop), post(&app, wanted, 0).await] {
            let told = refused(answer);
            assert_eq!(told.len(), full.len(), "{what}: {told:?}");
            for (violation, quota) in told.iter().zip(full) {
                let code = quota.code().unwrap();
                for part in [quota.what(), code.code, code.name, "Service Quotas"] {
                    assert!(violation.detail.contains(part), "{what}: {violation}");
                }
            }
        }
        assert_eq!(cloud.resources().into_keys().collect::<BTreeSet<_>>(), before, "{what}");
        assert!(app.store.job_get(&key).await.unwrap().is_none(), "{what}");
        assert!(cloud.state().table.partition("IDEM#platform").is_empty(), "{what}");
        assert_eq!(entries(&cloud), [], "{what}");
    }
}

/// The rest of the wall: a job that is there is told to be there, and what has room goes on.
#[tokio::test]
async fn a_job_that_is_there_is_told_so_and_changed_though_nothing_is_left() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    cloud.state().quotas.applied.insert(RULES, 2.0);
    let again = create(&app, moment(100)).await.map(drop);
    assert!(matches!(again, Err(Error::AlreadyExists(_))), "{again:?}");
    let dry = app.job_create_dry(team(), definition(), moment(100)).await.map(drop);
    assert!(matches!(dry, Err(Error::AlreadyExists(_))), "{dry:?}");
    cloud.take_calls();
    crate::job::patch(&app, json!({"image": "busybox:2"}), moment(101)).await.unwrap();
    crate::job::put(&app, definition(), moment(102)).await.unwrap();
    assert_eq!(looks(&cloud), 0, "a change makes nothing that there is a quota of");
    assert!(matches!(refused(post(&app, named("other", &json!({})), 103).await)[..], [_]));
    assert!(delete(&app, moment(104)).await.unwrap().is_none());
    post(&app, named("other", &json!({})), 105).await.unwrap();
}

/// A request that is refused is told in the audit log as what goes beyond anything else is.
#[tokio::test]
async fn the_refusal_is_a_problem_without_a_pointer() {
    let api = Api::new();
    api.cloud.state().quotas.applied.insert(RULES, 1.0);
    let somebody = api.on_behalf_of(author("create_job"));
    let path = "/v1/teams/platform/jobs";
    let answer = somebody.send_json("POST", path, &[], named("hello", &json!({}))).await;
    let problem = answer.problem(422, "invalid");
    let [error] = &problem["errors"].as_array().unwrap()[..] else { panic!("{problem}") };
    assert_eq!((&error["pointer"], &error["code"]), (&json!(""), &json!("forbidden")));
    assert!(problem["detail"].as_str().unwrap().contains("0 of 1 are used"), "{problem}");
    let told = entries(&api.cloud);
    assert_eq!(told.len(), 1);
    assert!(told[0].reason.as_ref().unwrap().contains("EventBridge rules"), "{told:?}");
}

/// AWS is asked once a minute, as long as there is plenty.
#[tokio::test]
async fn what_aws_said_is_good_for_a_minute_and_what_was_made_since_is_counted() {
    let cloud = Cloud::default();
    let app = cloud.app();
    // Room for 13 jobs: with 20 places left or fewer each look is a new one.
    cloud.state().quotas.applied.insert(RULES, 26.0);
    let mut asked = Vec::new();
    for number in 0..14 {
        cloud.take_calls();
        let answer = post(&app, named(&format!("job-{number}"), &json!({})), number).await;
        let calls = cloud.take_calls();
        let rules = calls.iter().filter(|call| call.operation == "events:ListRules").count();
        asked.push(rules);
        assert_eq!(answer.is_err(), number == 13, "{number}: {answer:?}");
        let roles = calls.iter().filter(|call| call.operation == "iam:GetAccountSummary").count();
        assert_eq!(roles, usize::from(number == 0), "{number}: there is plenty of these");
    }
    // 26, 24, 22 and 20 are left before the first four.
    assert_eq!(asked[..5], [1, 0, 0, 0, 1]);
    assert!(asked[5..].iter().all(|one| *one == 1), "{asked:?}");
    // Clones of the app, as each request has one, know the same; a new instance knows nothing.
    let clone = app.on_behalf_of(author("create_job"));
    cloud.state().quotas.applied.insert(RULES, 200.0);
    looks(&cloud);
    post(&clone, named("clone", &json!({})), 20).await.unwrap();
    assert_eq!(looks(&cloud), 2, "rules, and how many there can be");
    post(&cloud.app(), named("another", &json!({})), 21).await.unwrap();
    assert_eq!(looks(&cloud), 5);
    // A minute after it was asked, and where the clock was set back.
    post(&app, named("late", &json!({})), 79).await.unwrap();
    assert_eq!(looks(&cloud), 3, "roles and clusters were asked at 0");
    post(&app, named("later", &json!({})), 80).await.unwrap();
    assert_eq!(looks(&cloud), 2);
    post(&app, named("earlier", &json!({})), 70).await.unwrap();
    assert_eq!(looks(&cloud), 5);
}

/// A dry run looks, and makes nothing that would count.
#[tokio::test]
async fn a_dry_run_counts_nothing() {
    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.state().quotas.applied.insert(RULES, 24.0);
    for _ in 0..20 {
        app.job_create_dry(team(), definition(), moment(0)).await.unwrap();
    }
    assert_eq!(looks(&cloud), 5);
    create(&app, moment(1)).await.unwrap();
    assert_eq!(looks(&cloud), 0);
}

/// What can't be found out keeps no job from being made; it is logged, and not asked again at once.
#[tokio::test]
async fn a_job_is_made_though_nobody_knows_whether_there_is_room() {
    for (operation, code) in [
        ("events:ListRules", "AccessDeniedException"),
        ("events:ListRules", "InternalException"),
        ("iam:GetAccountSummary", "AccessDenied"),
        ("ecs:ListClusters", "ServerException"),
        ("servicequotas:GetServiceQuota", "AccessDeniedException"),
        ("servicequotas:GetServiceQuota", "TooManyRequestsException"),
    ] {
        let (logged, _guard) = Logged::listen("warn");
        let cloud = Cloud::default();
        let app = cloud.app();
        cloud.fail(operation, 2, code, "no");
        create(&app, moment(0)).await.unwrap();
        assert!(stored(&app).await.is_some(), "{operation} {code}");
        let text = logged.text();
        assert!(text.contains(operation) && text.contains("quota"), "{operation} {code}: {text}");
        cloud.mend();
        looks(&cloud);
        post(&app, named("second", &json!({})), 30).await.unwrap();
        assert_eq!(looks(&cloud), 0, "{operation} {code}");
        post(&app, named("third", &json!({})), 61).await.unwrap();
        assert_eq!(looks(&cloud), 5, "{operation} {code}");
    }
    // Where the limit alone is not known, that of the documentation holds.
    let cloud = Cloud::default();
    foreign(&cloud, 299, 0, 0);
    cloud.fail("servicequotas:GetServiceQuota", 2, "AccessDeniedException", "no");
    assert_eq!(refused(create(&cloud.app(), moment(0)).await.map(drop)).len(), 1);
}

/// A service that takes every call and answers none.
#[derive(Debug)]
struct Silence;

impl HttpConnector for Silence {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(std::future::pending())
    }
}

/// AWS that does not answer delays a job for some seconds, and keeps none from being made.
#[tokio::test]
async fn a_look_that_takes_too_long_is_given_up() {
    let (logged, _guard) = Logged::listen("warn");
    let silent = aws_sdk_servicequotas::Config::builder()
        .behavior_version(aws_sdk_servicequotas::config::BehaviorVersion::latest())
        .region(aws_sdk_servicequotas::config::Region::new(REGION))
        .allow_no_auth()
        .http_client(http_client_fn(|_, _| Silence.into_shared()))
        .build();
    let cloud = Cloud::default();
    let quotas = aws_sdk_servicequotas::Client::from_conf(silent);
    let provisioner = Provisioner::new(Clients { quotas, ..cloud.clients() });
    let app = App { provisioner, ..cloud.app() };
    let begun = Instant::now();
    create(&app, moment(0)).await.unwrap();
    let taken = begun.elapsed().as_secs_f64();
    assert!((2.5..8.0).contains(&taken), "{taken}");
    assert!(logged.text().contains("Timeout"), "{}", logged.text());
    // The next one does not wait.
    post(&app, named("second", &json!({})), 1).await.unwrap();
    assert!(begun.elapsed().as_secs_f64() - taken < 2.5);
}

async fn usage_of(app: &App, quota: Quota) -> Usage {
    let report = app.quota_report(moment(0)).await.unwrap();
    let found = report.quotas.into_iter().find(|one| one.quota == quota);
    found.unwrap().usage.unwrap()
}

#[tokio::test]
async fn all_pages_are_counted_and_limits_are_those_of_the_account() {
    let cloud = Cloud::default();
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    foreign(&cloud, 248, 5, 199);
    let usage =
        |used, used_by_jobs, limit, limit_source| Usage { used, used_by_jobs, limit, limit_source };
    let of = LimitSource::Default;
    assert_eq!(usage_of(&app, Quota::Rules).await, usage(250, Some(2), 300, of));
    assert_eq!(usage_of(&app, Quota::Clusters).await, usage(200, Some(1), 10_000, of));
    assert_eq!(usage_of(&app, Quota::Roles).await, usage(7, None, 1000, of));
    assert_eq!(usage_of(&app, Quota::TargetsPerRule).await, usage(1, Some(1), 5, of));
    // It is true of the rules that there are.
    assert!(cloud.state().events.rules.values().all(|rule| rule.targets.len() <= 1));

    cloud.state().iam.roles_quota = Some(5000);
    cloud.state().quotas.applied.extend([(RULES, 2000.0), (CLUSTERS, 12_000.0)]);
    let of = LimitSource::ServiceQuotas;
    assert_eq!(usage_of(&app, Quota::Rules).await, usage(250, Some(2), 2000, of));
    assert_eq!(usage_of(&app, Quota::Clusters).await, usage(200, Some(1), 12_000, of));
    let of = LimitSource::Account;
    assert_eq!(usage_of(&app, Quota::Roles).await, usage(7, None, 5000, of));
    // Another stack's, also one whose name begins with this one's, are none of this one's jobs.
    foreign(&cloud, 0, 0, 0);
    for name in ["cronplane2_platform_hello", "cronplane-2_platform_hello", "cronplane-Sweep"] {
        cloud.state().events.rules.insert(name.to_owned(), Rule::default());
    }
    assert_eq!(usage_of(&app, Quota::Rules).await.used_by_jobs, Some(2));
    // Of two regions AWS says that there are fewer.
    let small = Deployment { region: "eu-south-1".to_owned(), ..deployment() };
    cloud.state().quotas.applied.clear();
    assert_eq!(usage_of(&cloud.app_of(small), Quota::Rules).await.limit, 100);
}

#[tokio::test]
async fn the_report_says_how_much_is_used_and_what_is_full_first() {
    let api = Api::with_job().await;
    let other = named("hello", &json!({}));
    assert_eq!(api.post("/v1/teams/other/jobs", other).await.status, 201);
    foreign(&api.cloud, 53, 10, 0);
    api.cloud.state().quotas.applied.insert(RULES, 300.0);
    let report = api.get("/v1/quotas").await.of_status(200);
    let rules = json!({
        "name": "rules", "description": "EventBridge rules on the default event bus of this region",
        "used": 57, "used_by_jobs": 4, "limit": 300, "limit_source": "service_quotas",
        "per_job": 2, "jobs_left": 121, "full_at_jobs": 123,
        "service_code": "events", "quota_code": "L-244521F2", "reason": null,
    });
    assert_eq!(report["quotas"][0], rules);
    let names: Vec<&str> = report["quotas"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["rules", "roles", "clusters", "schedules", "targets_per_rule"]);
    let roles = &report["quotas"][1];
    assert_eq!((&roles["used"], &roles["used_by_jobs"]), (&json!(14), &Value::Null));
    assert_eq!((&roles["jobs_left"], &roles["full_at_jobs"]), (&json!(493), &json!(495)));
    let targets = &report["quotas"][4];
    assert_eq!((&targets["used"], &targets["limit"]), (&json!(1), &json!(5)));
    assert_eq!((&targets["per_job"], &targets["jobs_left"]), (&json!(0), &Value::Null));
    assert_eq!((&report["jobs"], &report["jobs_left"]), (&json!(2), &json!(121)));
    assert_eq!(report["limiting"], "rules");

    // The account's roles are used up by others.
    foreign(&api.cloud, 0, 990, 0);
    let report = api.get("/v1/quotas").await.of_status(200);
    assert_eq!((&report["limiting"], &report["jobs_left"]), (&json!("roles"), &json!(3)));
    // What can't be found out is told as that, and the rest all the same.
    api.cloud.fail("iam:GetAccountSummary", 1, "AccessDenied", "not yours to see");
    let report = api.get("/v1/quotas").await.of_status(200);
    let roles = &report["quotas"][1];
    for field in ["used", "used_by_jobs", "limit", "limit_source", "jobs_left", "full_at_jobs"] {
        assert_eq!(roles[field], Value::Null, "{field}");
    }
    assert!(roles["reason"].as_str().unwrap().contains("not yours to see"), "{roles}");
    assert_eq!((&report["limiting"], &report["jobs_left"]), (&json!("rules"), &json!(121)));
    api.cloud.state().iam.tells_no_roles = true;
    let report = api.get("/v1/quotas").await.of_status(200);
    assert!(report["quotas"][1]["reason"].as_str().unwrap().contains("IAM did not tell"));
    for operation in ["events:ListRules", "ecs:ListClusters", "scheduler:ListSchedules"] {
        api.cloud.fail(operation, 1, "ServerException", "no");
    }
    let report = api.get("/v1/quotas").await.of_status(200);
    assert_eq!((&report["limiting"], &report["jobs_left"]), (&Value::Null, &Value::Null));
    api.get("/v1/quotas?x=1").await.problem(400, "bad_request");
    let writes = api.cloud.take_calls().iter().filter(|call| call.writes).count();
    assert!(writes > 0, "the other job was made");
    api.get("/v1/quotas").await.of_status(200);
    assert!(api.cloud.take_calls().iter().all(|call| !call.writes));
}

/// Jobs of all teams are counted, however many teams there are.
#[tokio::test]
async fn the_jobs_of_all_teams_are_counted() {
    let cloud = Cloud::default();
    for number in 0..230 {
        let mut team = crate::cloud::wide_team(&format!("team-{number:03}"));
        team.jobs = 2;
        cloud.put_team(&team);
    }
    let app = cloud.app();
    create(&app, moment(0)).await.unwrap();
    assert_eq!(app.quota_report(moment(0)).await.unwrap().jobs, 461);
    assert!(stored(&app).await.is_some_and(|job| job.key() == key()));
}
