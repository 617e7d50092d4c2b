//! Tokens of the deployment's provider, right and forged, over the API.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{Provider, audit_entries, callers};
use crate::cloud::Cloud;
use crate::http::{Answer, Api};
use crate::identity::{Key, Mood, hmac_token, message, public_forms};

const JOBS: &str = "/v1/teams/platform/jobs";

async fn get(api: &Api, token: &str) -> Answer {
    api.send_as(Some(&format!("Bearer {token}")), "GET", JOBS, &Value::Null).await
}

#[track_caller]
fn is_refused(api: &Api, answer: Answer) {
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
    answer.problem(401, "unauthorized");
    assert_eq!(api.cloud.take_calls(), []);
}

#[tokio::test]
async fn a_forged_token_lets_nobody_in() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let provider = Provider::start(algorithm).await;
        let api = provider.api_over(&Cloud::default()).await;
        let claims = provider.claims(json!({"cronplane": ["administrator"]}));
        let good = provider.key.token(&claims);
        get(&api, &good).await.of_status(200);
        api.cloud.take_calls();

        let (signed, signature) = good.rsplit_once('.').unwrap();
        for alg in ["none", "None", "NONE", ""] {
            for header in [json!({"alg": alg, "kid": "a"}), json!({"alg": alg})] {
                let unsigned = message(&header, &claims);
                is_refused(&api, get(&api, &format!("{unsigned}.")).await);
                is_refused(&api, get(&api, &format!("{unsigned}.{signature}")).await);
            }
        }
        is_refused(&api, get(&api, &format!("{signed}.")).await);
        for secret in public_forms(&provider.key) {
            for hmac in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                is_refused(&api, get(&api, &hmac_token("a", &claims, &secret, hmac)).await);
            }
        }
        // Another key under the name of the provider's, and the token's own.
        let forger = Key::new("a", algorithm);
        is_refused(&api, get(&api, &forger.token(&claims)).await);
        let mut header = forger.header();
        header["jwk"] = forger.jwk();
        is_refused(&api, get(&api, &forger.token_with(&header, &claims)).await);
        let now = jiff::Timestamp::now().as_second();
        for changes in [
            json!({"aud": "another"}),
            json!({"aud": null}),
            json!({"aud": []}),
            json!({"iss": "https://id.example.com"}),
            json!({"exp": now - 61}),
            json!({"exp": null}),
            json!({"nbf": now + 120}),
            json!({"sub": null}),
        ] {
            let token = provider.key.token(&provider.claims(changes));
            is_refused(&api, get(&api, &token).await);
        }
        assert_eq!(audit_entries(&api), 0);
    }
}

/// Where no provider was named nobody signs in with one.
#[tokio::test]
async fn without_a_provider_no_such_token_is_good() {
    let provider = Provider::start(Algorithm::ES256).await;
    let api = Api::new();
    let token = provider.key.token(&provider.claims(json!({"cronplane": ["administrator"]})));
    is_refused(&api, get(&api, &token).await);
}

/// A provider that does not answer makes nobody a stranger, and lets nobody in.
#[tokio::test]
async fn while_the_provider_is_away_the_answer_is_to_come_again() {
    let provider = Provider::start(Algorithm::ES256).await;
    let api = provider.api_over(&Cloud::default()).await;
    let token = provider.key.token(&provider.claims(json!({})));
    provider.idp.is(Mood::Broken);
    let answer = get(&api, &token).await;
    assert!(answer.headers.contains_key("retry-after"));
    let problem = answer.problem(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("provider"), "{problem}");
}

/// What Cronplane does by itself is told as nobody else's: whatever somebody is called, they are recognised
/// as what they signed in with.
#[tokio::test]
async fn nobody_signs_in_as_cronplane_itself() {
    let provider = Provider::start(Algorithm::ES256).await;
    let api = provider.api().await;
    let claims = json!({"sub": "cronplane", "name": "Cronplane", "cronplane": ["platform:owner"]});
    let named = format!("Bearer {}", provider.key.token(&provider.claims(claims)));
    let me = api.send_as(Some(&named), "GET", "/v1/me", &Value::Null).await.of_status(200);
    assert_eq!((&me["id"], &me["kind"]), (&json!("cronplane"), &json!("oidc")));
    let pause = format!("{JOBS}/nightly-report/pause");
    let paused = api.send_as(Some(&named), "POST", &pause, &Value::Null).await.of_status(200);
    assert_eq!(paused["status"]["pause"]["by"]["kind"], "oidc");
    let audit = "/v1/teams/platform/audit?principal=cronplane";
    let told = api.send_as(Some(&named), "GET", audit, &Value::Null).await.of_status(200);
    assert_eq!(told["items"][0]["principal"]["kind"], "oidc");
    let mut recognised = 0;
    for caller in callers(&api, &provider) {
        let answer = caller.asks(&api, "GET", "/v1/me", &Value::Null).await;
        if answer.status == 200 {
            recognised += 1;
            let kind = answer.json()["kind"].as_str().unwrap().to_owned();
            assert!(["stack_token", "team_token", "oidc"].contains(&&*kind), "{kind}");
        }
    }
    assert!(recognised > 10, "{recognised}");
}
