//! How many requests somebody may send, over the API and two instances of it.
//!
//! The API goes by the clock. One request a second is the least that a limit can be, so that a test which
//! takes its time is given some back: each says how many that can be.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use cronplane::domain::access::Role;
use cronplane::domain::rate::RateLimit;
use cronplane::http::Doors;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::http::{Answer, Api, TOKEN, doors, token};

const TEAMS: &str = "/v1/teams";
/// Behind it a settlement is due.
const A_SECOND: Duration = Duration::from_millis(1050);

/// Since when a test sends requests.
struct Clock(Instant);

impl Clock {
    fn start() -> Clock {
        Clock(Instant::now())
    }

    /// The requests that came back since, at one a second.
    fn more(&self) -> usize {
        usize::try_from(self.0.elapsed().as_secs()).unwrap()
    }

    /// So many, or those that came back besides.
    fn about(&self, requests: usize) -> RangeInclusive<usize> {
        requests..=requests + self.more()
    }
}

#[track_caller]
fn is_in(passed: usize, wanted: &RangeInclusive<usize>) {
    assert!(wanted.contains(&passed), "{passed}, not {wanted:?}");
}

/// An instance of the function with a limit.
fn instance(cloud: &Cloud, per_second: u32, burst: u32) -> Api {
    let rate_limit = Some(RateLimit { per_second, burst });
    Api::over(cloud.clone(), cloud.app(), Doors { rate_limit, ..doors() })
}

fn administrator() -> String {
    format!("Bearer {TOKEN}")
}

async fn get(api: &Api, who: &str) -> Answer {
    api.send_as(Some(who), "GET", TEAMS, &Value::Null).await
}

/// Of so many requests, one after another, those that were let through.
async fn let_through(api: &Api, who: &str, requests: usize) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        let answer = get(api, who).await;
        assert!([200, 429].contains(&answer.status), "{}", answer.text);
        passed += usize::from(answer.status == 200);
    }
    passed
}

/// What the table has of somebody: when the bucket is full again, in microseconds of the epoch.
fn full_at(cloud: &Cloud, principal: &str) -> Option<i64> {
    let state = cloud.state();
    let item = state.table.item(&format!("RATE#{principal}"), "RATE")?;
    assert!(item.contains_key("expires_at"), "a bucket that nobody uses goes");
    Some(item["full_at"].as_n().unwrap().parse().unwrap())
}

#[tokio::test]
async fn behind_the_burst_one_is_told_when_to_come_again() {
    // A second is as good as none among so many.
    let api = instance(&Cloud::default(), 1, 50);
    let clock = Clock::start();
    assert_eq!(let_through(&api, &administrator(), 50).await, 50);
    // Those that came back meanwhile, if any.
    let_through(&api, &administrator(), clock.more()).await;
    api.cloud.take_calls();
    let answer = get(&api, &administrator()).await;
    assert_eq!(answer.headers["retry-after"], "1");
    let problem = answer.problem(429, "rate_limited");
    assert_eq!(problem["detail"], "more than the 1 requests a second that you may send");
    // Whatever it would have been: nothing is looked at, and nothing written.
    for (method, path, body) in [
        ("POST", TEAMS, json!({"name": "new"})),
        ("DELETE", "/v1/teams/platform", Value::Null),
        ("GET", "/v1/nothing", Value::Null),
        ("PURGE", TEAMS, Value::Null),
    ] {
        let answer = api.send_as(Some(&administrator()), method, path, &body).await;
        answer.problem(429, "rate_limited");
    }
    assert_eq!(api.cloud.take_calls(), []);
    // What asks for no token is not limited.
    for path in ["/healthz", "/openapi.json"] {
        assert_eq!(api.send_as(None, "GET", path, &Value::Null).await.status, 200);
    }
    // With time one passes again, and no more than the rate gives.
    tokio::time::sleep(A_SECOND).await;
    is_in(let_through(&api, &administrator(), 5).await, &(1..=clock.more()));
}

#[tokio::test]
async fn everybody_has_a_bucket_of_their_own() {
    let api = instance(&Cloud::default(), 1, 3);
    let one = api.holder("platform", Role::Viewer, 50);
    let other = api.holder("platform", Role::Viewer, 51);
    for who in [&one, &other, &administrator()] {
        let clock = Clock::start();
        let passed = let_through(&api, who, 6).await;
        is_in(passed, &clock.about(3));
    }
}

/// Whoever guesses takes nothing from anybody, and is not told that it was too much.
#[tokio::test]
async fn who_is_not_recognised_counts_for_nobody() {
    let api = instance(&Cloud::default(), 1, 3);
    let who = api.holder("platform", Role::Viewer, 50);
    let unknown = crate::http::bearer(&token("platform", Role::Viewer, 51).0);
    for authorization in [None, Some("Bearer x"), Some("Basic x"), Some(&unknown)] {
        for _ in 0..5 {
            let answer = api.send_as(authorization, "GET", TEAMS, &Value::Null).await;
            answer.problem(401, "unauthorized");
        }
    }
    for who in [&who, &administrator()] {
        let clock = Clock::start();
        let passed = let_through(&api, who, 6).await;
        is_in(passed, &clock.about(3));
    }
}

/// Two instances don't know of each other until they settle with the table; from then on they let through
/// no more together than one would.
#[tokio::test]
async fn instances_share_a_bucket_once_they_have_settled() {
    let cloud = Cloud::default();
    let [a, b] = [(); 2].map(|()| instance(&cloud, 1, 6));
    let who = a.holder("platform", Role::Viewer, 50);
    let principal = format!("team_token#{}", token("platform", Role::Viewer, 50).1.principal_id());
    let clock = Clock::start();
    let first = let_through(&a, &who, 10).await;
    is_in(first, &clock.about(6));
    // This one has nearly all of its own left.
    assert_eq!(let_through(&b, &who, 1).await, 1);
    assert_eq!(full_at(&cloud, &principal), None, "within a second nothing is told");
    tokio::time::sleep(A_SECOND).await;
    // The one that came back, with which it tells the table of all of them.
    assert_eq!(let_through(&a, &who, 1).await, 1);
    let told = full_at(&cloud, &principal).unwrap();
    assert_eq!(let_through(&b, &who, 1).await, 1);
    assert_eq!(full_at(&cloud, &principal).unwrap() - told, 2_000_000);
    // It had four left, had it not been told: now that nine are gone, the next one comes in three seconds.
    let more = let_through(&b, &who, 10).await;
    is_in(more, &(0..=clock.more().saturating_sub(3)));
    let more = let_through(&a, &who, 10).await;
    is_in(first + 1 + more, &(7..=6 + clock.more()));
    // Each tells at most once a second.
    if clock.more() < 2 {
        assert_eq!(full_at(&cloud, &principal), Some(told + 2_000_000));
    }
}

/// A bucket is one of the deployment's principals: another kind with the same id is another one.
#[tokio::test]
async fn what_is_told_is_told_once_a_second_and_of_the_right_one() {
    let cloud = Cloud::default();
    let api = instance(&cloud, 100, 1000);
    let who = api.holder("platform", Role::Viewer, 50);
    let principal = format!("team_token#{}", token("platform", Role::Viewer, 50).1.principal_id());
    assert_eq!(let_through(&api, &who, 20).await, 20);
    tokio::time::sleep(A_SECOND).await;
    cloud.take_calls();
    let before = jiff::Timestamp::now().as_microsecond();
    assert_eq!(let_through(&api, &who, 5).await, 5);
    let updates = cloud.take_calls().into_iter();
    let updates = updates.filter(|call| call.operation == "dynamodb:UpdateItem").count();
    assert_eq!(updates, 1, "within a second");
    // 21 requests of 10 ms each, from when they were told.
    let told = full_at(&cloud, &principal).unwrap() - 210_000;
    let now = jiff::Timestamp::now().as_microsecond();
    // The time of a request is one in milliseconds.
    assert!((before - 1000..=now).contains(&told), "{before} {told} {now}");
    assert_eq!(full_at(&cloud, "stack_token#administrator"), None);
}

/// The table is not needed to answer: what it was not told it is told later.
#[tokio::test]
async fn while_the_table_fails_the_instances_own_bucket_goes_on() {
    let cloud = Cloud::default();
    let api = instance(&cloud, 1, 6);
    let principal = "stack_token#administrator";
    let clock = Clock::start();
    assert_eq!(let_through(&api, &administrator(), 2).await, 2);
    tokio::time::sleep(A_SECOND).await;
    cloud.fail("dynamodb:UpdateItem", 1, "InternalServerError", "no answer");
    assert_eq!(let_through(&api, &administrator(), 1).await, 1);
    assert!(cloud.has_failed());
    assert_eq!(full_at(&cloud, principal), None);
    // Six of them and what came back since, less the three: its own bucket still counts.
    let more = let_through(&api, &administrator(), 10).await;
    is_in(more, &(4..=3 + clock.more()));
    tokio::time::sleep(A_SECOND).await;
    let before = jiff::Timestamp::now().as_microsecond();
    assert_eq!(let_through(&api, &administrator(), 1).await, 1);
    let told = full_at(&cloud, principal).unwrap() - before;
    // All of them, none lost.
    let all = i64::try_from(2 + 1 + more + 1).unwrap() * 1_000_000;
    assert!((all - 500_000..=all + 500_000).contains(&told), "{told} of {all}");
}

#[tokio::test]
async fn without_a_limit_nobody_is_counted() {
    let api = Api::new();
    assert_eq!(let_through(&api, &administrator(), 300).await, 300);
    assert_eq!(full_at(&api.cloud, "stack_token#administrator"), None);
}
