//! Previews of schedules over the API.

use serde_json::{Value, json};

use crate::http::Api;

const PREVIEW: &str = "/v1/schedules/preview";

async fn preview(request: Value) -> (u16, Value) {
    let api = Api::new();
    let answer = api.post(PREVIEW, request).await;
    // It is computed, and nothing asked nor done.
    assert_eq!(api.cloud.take_calls(), []);
    (answer.status, answer.json())
}

#[tokio::test]
async fn a_schedule_is_told_with_its_next_starts() {
    let request = json!({
        "expression": "cron(0 4 ? * MON-FRI *)", "after": "2026-11-27T04:00:00Z", "count": 2,
    });
    let wanted = json!({
        "valid": true,
        "error": null,
        "suggestion": null,
        "description": "At 04:00 UTC, Monday through Friday",
        "canonical": "cron(0 4 ? * 2-6 *)",
        "engine": "rule",
        "next": ["2026-11-30T04:00:00Z", "2026-12-01T04:00:00Z"],
        "local": ["2026-11-30T04:00:00+00:00", "2026-12-01T04:00:00+00:00"],
        "approximate": false,
        "notes": [],
    });
    assert_eq!(preview(request).await, (200, wanted));
    let (_, many) = preview(json!({"expression": "cron(* * * * ? *)", "count": 100})).await;
    assert_eq!(many["next"].as_array().unwrap().len(), 100);
    let (_, rate) = preview(json!({"expression": "rate(5 minutes)"})).await;
    assert_eq!((&rate["approximate"], rate["next"].as_array().unwrap().len()), (&json!(true), 10));
}

#[tokio::test]
async fn one_that_is_not_valid_is_told_with_what_was_meant() {
    let (status, told) = preview(json!({"expression": "0 4 * * 1-5"})).await;
    assert_eq!((status, &told["valid"], &told["next"]), (200, &json!(false), &json!([])));
    assert_eq!(told["suggestion"], "cron(0 4 ? * 2-6 *)");
    assert!(told["error"].as_str().unwrap().contains("this is Linux cron"));
    // It is what a job would be refused with.
    let mut job = crate::job::definition();
    job["schedule"] = json!("0 4 * * 1-5");
    let refused = Api::new().post("/v1/teams/platform/jobs", job).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["errors"][0]["detail"], told["error"]);
    let (_, told) = preview(json!({"expression": "whenever"})).await;
    assert_eq!((&told["valid"], &told["suggestion"]), (&json!(false), &Value::Null));
}

#[tokio::test]
async fn a_request_that_is_not_one_is_refused() {
    let (status, problem) = preview(json!({"expression": 5, "count": 0, "zone": "UTC"})).await;
    assert_eq!(status, 422);
    assert_eq!(problem["errors"].as_array().unwrap().len(), 3, "{problem}");
}
